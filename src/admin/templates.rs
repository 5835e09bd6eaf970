//! Which templates the platform has for an app, as operators ask for them.
//!
//! The daemon asks, because it has the secrets; a command that has them too asks by itself and uses the same
//! shape. What the daemon hears it holds against its rules at once; nothing is written and nothing is compared here.

use serde::{Deserialize, Serialize};

use super::answer::{Exit, Failure, Lines};
use super::desk::Desk;
use super::who;
use crate::domain::config::App;
use crate::domain::id::{AppName, TemplateId};
use crate::domain::template::{Described, DescribedField, FieldKey, TemplateKind};
use crate::wechat::{Client, Listed, TemplatesError, TokenError};

/// One template of the account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Name of the app.
    pub app: String,
    /// The platform's id of the template.
    pub id: String,
    /// Its name in the configuration, if it has one.
    pub name: Option<String>,
    /// As people see it.
    pub title: String,
    /// `one_time`, `long_term`.
    pub kind: String,
    /// In their order.
    pub fields: Vec<FieldRow>,
    /// Whether it is of the newer kind, which cannot be used.
    #[serde(default)]
    pub service_card: bool,
}

/// One field.
#[derive(Debug, Serialize, Deserialize)]
pub struct FieldRow {
    /// Its key.
    pub key: String,
    /// What stands before it on the card.
    pub label: String,
}

impl Row {
    /// A template of `app`.
    #[must_use]
    pub fn of(app: &App, template: &Described) -> Self {
        let named = app.templates.values().find(|named| named.id == template.id);
        let field = |field: &DescribedField| FieldRow {
            key: field.key.as_str().to_owned(),
            label: field.label.clone(),
        };
        Self {
            app: app.name.to_string(),
            id: template.id.to_string(),
            name: named.map(|named| named.name.to_string()),
            title: template.title.clone(),
            kind: template.kind.as_str().to_owned(),
            fields: template.fields.iter().map(field).collect(),
            service_card: template.is_service_card(),
        }
    }

    /// Reads it back; `None` when it is of another version.
    #[must_use]
    pub fn described(self) -> Option<Described> {
        let kind = [TemplateKind::OneTime, TemplateKind::LongTerm];
        let kind = kind.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let field = |FieldRow { key, label }| {
            Some(DescribedField { key: FieldKey::parse(&key).ok()?, label, values: Vec::new() })
        };
        let fields = self.fields.into_iter().map(field).collect::<Option<Vec<_>>>()?;
        Some(Described { id: TemplateId::parse(&self.id).ok()?, title: self.title, kind, fields })
    }
}

/// Asks the platform; with the templates, a sentence on those that are left out.
///
/// # Errors
/// 78 when the platform refuses the app, 75 when trying again can help.
pub async fn ask(app: &App, client: &Client) -> Result<(Vec<Described>, Option<String>), Failure> {
    told(app, client.templates().await)
}

fn told(
    app: &App,
    listed: Result<Listed, TemplatesError>,
) -> Result<(Vec<Described>, Option<String>), Failure> {
    let listed = listed.map_err(|error| failure(&app.name, &error))?;
    let n_odd = listed.odd.len() + listed.n_nameless;
    let note = (n_odd > 0).then(|| {
        let (n, app) = (n_odd, &app.name);
        format!(
            "{n} more templates of app {app} are left out: this version does not know their kind or fields"
        )
    });
    Ok((listed.templates, note))
}

fn failure(app: &AppName, error: &TemplatesError) -> Failure {
    let exit = match error {
        TemplatesError::NoToken(TokenError::Denied { .. }) | TemplatesError::Refused { .. } => Exit::Config,
        TemplatesError::NoToken(TokenError::Unavailable { .. } | TokenError::Refused { .. })
        | TemplatesError::Unavailable { .. } => Exit::Store,
    };
    Failure::new(exit, format!("app {app}: {error}"))
}

impl Desk {
    pub(super) async fn templates(&self, app: Option<&str>, lines: &Lines) -> Result<Exit, Failure> {
        let live = self.live();
        let app = who::app(&live.config, app)?;
        let Some(client) = live.clients.get(&app.name) else {
            return Err(Failure::new(Exit::NoDaemon, "no daemon runs here to ask the platform"));
        };
        let listed = client.templates().await;
        // The files may be others by now.
        let live_now = self.live();
        let app_now = live_now.config.apps.get(&app.name).filter(|now| now.appid == app.appid);
        if let (Some(control), Some(app)) = (self.control(), app_now) {
            control.templates().hear(&live_now, app, listed.as_ref(), self.clock().reckoned()).await?;
        }
        let (templates, note) = told(app, listed)?;
        for template in &templates {
            lines.row(&Row::of(app, template)).await?;
        }
        if let Some(note) = note {
            lines.note(note).await?;
        }
        Ok(Exit::Done)
    }
}
