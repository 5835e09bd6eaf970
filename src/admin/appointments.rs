//! Appointments for operators: lists, one with its reminders, and its deletion.
//!
//! A row has the shape of an import's line with its app before it, so a revealed list is a file that can be imported. A
//! list under a running daemon is a walk over books that change.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::answer::{Exit, Failure, Lines};
use super::desk::Desk;
use super::instant::utc;
use super::who::{self, Reveal, Shown, app_name, short};
use crate::domain::config::{App, Config};
use crate::domain::id::{AppointmentId, Kind};
use crate::domain::recipient::{FieldValue, Fields};
use crate::store::{AppointmentChange, AppointmentKey, Changed, KeptAppointment, Standing};

/// Appointments read at once.
const PAGE: usize = 256;

#[derive(Serialize)]
struct Row<'a> {
    app: String,
    kind: &'a str,
    id: &'a str,
    at: String,
    recipients: Vec<String>,
    fields: BTreeMap<&'a str, Value>,
}

impl<'a> Row<'a> {
    fn of(config: &Config, key: &'a AppointmentKey, kept: &'a KeptAppointment, shown: &Shown) -> Self {
        Self {
            app: app_name(config, &key.app),
            kind: key.kind.as_str(),
            id: key.id.as_str(),
            at: utc(kept.at),
            recipients: kept.joined.keys().map(|openid| shown.openid(openid)).collect(),
            fields: values(&kept.fields),
        }
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    /// The newest of each rule and each time it had.
    reminders: Vec<ReminderRow>,
}

#[derive(Serialize)]
struct ReminderRow {
    rule: String,
    due_at: String,
    /// The time that the appointment had.
    of: String,
    state: &'static str,
}

pub(super) fn values(fields: &Fields) -> BTreeMap<&str, Value> {
    let value = |value: &FieldValue| match value {
        FieldValue::Text(text) => Value::from(text.as_str()),
        FieldValue::Whole(whole) => Value::from(*whole),
        FieldValue::Real(real) => Value::from(*real),
        FieldValue::Bool(bool) => Value::from(*bool),
    };
    fields.iter().map(|(name, field)| (name.as_str(), value(field))).collect()
}

/// Which appointments a list has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) who: Option<&'a str>,
}

impl Desk {
    pub(super) async fn appointments_list(
        &self,
        choice: Choice<'_>,
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let app = choice.app.map(|name| who::app(&live.config, Some(name))).transpose()?;
        let kind = choice.kind.map(kind_of).transpose()?;
        if let Some(text) = choice.who {
            let app = app.map_or_else(|| who::app(&live.config, None), Ok)?;
            return self.appointments_of(&live.config, app, kind.as_ref(), (text, reveal), lines).await;
        }
        let shown = self.shown(reveal, None).await?;
        let mut after: Option<AppointmentKey> = None;
        loop {
            let page = self.store().all_appointments(after.as_ref(), PAGE)?;
            self.synced().await?;
            let Some((last, _)) = page.last() else { return Ok(Exit::Done) };
            after = Some(last.clone());
            for (key, kept) in &page {
                let is_chosen = kept.state == Standing::Stands
                    && app.is_none_or(|app| app.appid == key.app)
                    && kind.as_ref().is_none_or(|kind| *kind == key.kind);
                if is_chosen {
                    lines.row(&Row::of(&live.config, key, kept, &shown)).await?;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn appointments_of(
        &self,
        config: &Config,
        app: &App,
        kind: Option<&Kind>,
        (text, reveal): (&str, Reveal),
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let person = self.person(app, text).await?;
        let shown = self.shown(reveal, Some(&person)).await?;
        let mut after = None;
        loop {
            let page = self.store().appointments_of(&app.appid, &person.openid, after.as_ref(), PAGE)?;
            for (of, id) in page.iter().filter(|(of, _)| kind.is_none_or(|kind| kind == of)) {
                let key = AppointmentKey { app: app.appid.clone(), kind: of.clone(), id: id.clone() };
                let kept = self.store().appointment(&key)?;
                self.synced().await?;
                if let Some(kept) = kept.filter(|kept| kept.joined.contains_key(&person.openid)) {
                    lines.row(&Row::of(config, &key, &kept, &shown)).await?;
                }
            }
            if page.len() < PAGE {
                return Ok(Exit::Done);
            }
            after = page.last().cloned();
        }
    }

    pub(super) async fn appointments_show(
        &self,
        app: Option<&str>,
        name: (&str, &str),
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let key = named(who::app(&live.config, app)?, name)?;
        let kept = self.store().appointment(&key)?.filter(|kept| kept.state == Standing::Stands);
        let mut reminders = Vec::new();
        for number in self.store().reminders(&key)? {
            let Some(occurrence) = self.store().occurrence(number)? else { continue };
            let Some(about) = &occurrence.about else { continue };
            reminders.push(ReminderRow {
                rule: occurrence.rule.to_string(),
                due_at: utc(occurrence.due_at),
                of: utc(about.at),
                state: occurrence.state.as_str(),
            });
        }
        self.synced().await?;
        let kept = kept.ok_or_else(|| unknown(&key))?;
        let shown = self.shown(reveal, None).await?;
        lines.row(&Whole { row: Row::of(&live.config, &key, &kept, &shown), reminders }).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn appointments_delete(
        &self,
        app: Option<&str>,
        name: (&str, &str),
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let app = who::app(&live.config, app)?;
        let key = named(app, name)?;
        let change = AppointmentChange { key: key.clone(), to: None, request: None, now: self.now() };
        let decided = self.store().change_appointment(change).await?;
        self.store().wait(decided.number).await?;
        match decided.value {
            Changed::Booked { .. } => {}
            Changed::Same | Changed::Unknown | Changed::TooLarge | Changed::Replayed => {
                return Err(unknown(&key));
            }
        }
        let (kind, id) = (key.kind.as_str(), key.id.as_str());
        tracing::info!(app = %app.name, "Appointment {kind}/{id} of app {} deleted by an operator", app.name);
        lines
            .row(&serde_json::json!({ "app": app.name.as_str(), "kind": kind, "id": id, "state": "deleted" }))
            .await?;
        Ok(Exit::Done)
    }
}

fn unknown(key: &AppointmentKey) -> Failure {
    Failure::data(format!("there is no appointment {}/{}", key.kind, key.id))
}

fn kind_of(text: &str) -> Result<Kind, Failure> {
    Kind::parse(text).map_err(|bad| Failure::data(format!("the kind `{}` is {bad}", short(text))))
}

fn named(app: &App, (kind, id): (&str, &str)) -> Result<AppointmentKey, Failure> {
    let kind = kind_of(kind)?;
    let id =
        AppointmentId::parse(id).map_err(|bad| Failure::data(format!("the id `{}` is {bad}", short(id))))?;
    Ok(AppointmentKey { app: app.appid.clone(), kind, id })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::request::{ImportKind, Request};
    use super::super::tests::{ANNA, BO, Got, World, world_of};
    use super::*;

    const RULES: &str = "timezone: Asia/Shanghai\nrules:\n  near:\n    template: visit\n    when: { before: 1h, of: visit }\n    \
                         data: { thing1: \"{{ appointment.id }}\" }\n";

    async fn list(world: &World, kind: Option<&str>, who: Option<&str>, reveal: bool) -> Got {
        let (kind, who) = (kind.map(str::to_owned), who.map(str::to_owned));
        world.ask(Request::AppointmentsList { app: None, kind, who, reveal }).await
    }

    fn ids(got: &Got) -> Vec<String> {
        got.rows
            .iter()
            .map(|row| format!("{}/{}", row["kind"].as_str().unwrap(), row["id"].as_str().unwrap()))
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn they_are_put_listed_shown_and_deleted() {
        let world = world_of(RULES);
        world.people().await;
        let lines = [
            format!(
                r#"{{"kind":"visit","id":"A1","openid":"{ANNA}","at":"2026-03-02T09:00:00+08:00","fields":{{"doctor":"李"}}}}"#
            ),
            format!(
                r#"{{"kind":"visit","id":"A2","recipients":["{ANNA}","{BO}"],"at":"2026-03-03T09:00:00+08:00"}}"#
            ),
            format!(
                r#"{{"kind":"bill","id":"A1","openid":"{BO}","at":"2026-03-04T09:00:00Z","fields":{{"paid":false,"n":3}}}}"#
            ),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let put = world.import(ImportKind::Appointments, 0, &lines).await;
        assert_eq!(put.rows, [json!({"imported": 3, "granted": 0, "changed": 3})]);
        let again = world.import(ImportKind::Appointments, 0, &lines).await;
        assert_eq!(again.rows, [json!({"imported": 3, "granted": 0, "changed": 0})], "put again as they are");
        // A revealed list is a file that can be imported.
        let revealed = list(&world, None, None, true).await;
        assert_eq!(
            revealed.rows[1],
            json!({"app": "clinic", "kind": "visit", "id": "A1", "at": "2026-03-02T01:00:00Z", "recipients": [ANNA],
                "fields": {"doctor": "李"}})
        );
        let file: Vec<String> = revealed.rows.iter().map(ToString::to_string).collect();
        let file: Vec<&str> = file.iter().map(String::as_str).collect();
        let same = world.import(ImportKind::Appointments, 0, &file).await;
        assert_eq!(same.rows, [json!({"imported": 3, "granted": 0, "changed": 0})]);
        // Masked elsewhere, but for whom the command names.
        for (kind, who, expected) in [
            (None, None, &["bill/A1", "visit/A1", "visit/A2"][..]),
            (Some("visit"), None, &["visit/A1", "visit/A2"]),
            (None, Some("4711"), &["visit/A1", "visit/A2"]),
            (Some("bill"), Some(BO), &["bill/A1"]),
            (Some("class"), Some(BO), &[]),
        ] {
            let got = list(&world, kind, who, false).await;
            assert_eq!(ids(&got), expected, "{kind:?} {who:?}");
            let text: String = got.rows.iter().map(ToString::to_string).collect();
            assert!(!text.contains(ANNA), "{text}");
            assert_eq!(text.contains(BO), who == Some(BO) && !expected.is_empty(), "{text}");
        }
        let name = |id: &str| (None, "visit".to_owned(), id.to_owned());
        let show = async |id: &str| {
            let (app, kind, id) = name(id);
            world.ask(Request::AppointmentsShow { app, kind, id, reveal: false }).await
        };
        let shown = show("A1").await;
        assert_eq!((shown.rows.len(), &shown.rows[0]["reminders"]), (1, &json!([])));
        let (app, kind, id) = name("A1");
        let gone = world.ask(Request::AppointmentsDelete { app, kind, id }).await;
        assert_eq!(gone.rows, [json!({"app": "clinic", "kind": "visit", "id": "A1", "state": "deleted"})]);
        for id in ["A1", "none", "not an id"] {
            let (app, kind, name) = name(id);
            let twice = world.ask(Request::AppointmentsDelete { app, kind, id: name }).await;
            assert_eq!((twice.exit, show(id).await.exit), (Exit::BadData, Exit::BadData), "{id}");
        }
        assert_eq!(ids(&list(&world, None, None, false).await), ["bill/A1", "visit/A2"]);
    }
}
