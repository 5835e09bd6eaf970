//! Whom an operator means, and how that person is shown back to him.
//!
//! A mask is found by walking the recipients, page by page; there is no index of masks, because the
//! few commands that name a person are typed by hand.

use super::answer::{Exit, Failure};
use super::desk::Desk;
use super::mask::Masks;
use crate::domain::config::{App, Config};
use crate::domain::id::{AppId, AppName, OpenId, Ref, TemplateId, UnionId};
use crate::domain::template::Template;

/// Recipients read at once while a mask is looked for.
const PAGE: usize = 512;

/// Whom a command names.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) openid: OpenId,
    /// He was named by his openid, so it may be shown.
    pub(super) by_openid: bool,
}

/// Whether an operator wants to see openids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reveal {
    /// As masks, but for the one that the command named.
    Named,
    /// All in clear.
    All,
}

impl From<bool> for Reveal {
    /// From the wire, where it is `reveal: true`.
    fn from(reveal: bool) -> Self {
        if reveal { Self::All } else { Self::Named }
    }
}

/// How openids show in one answer.
#[derive(Debug)]
pub(super) struct Shown {
    masks: Masks,
    reveal: Reveal,
    named: Option<OpenId>,
}

impl Shown {
    /// A unionid, in clear only where all is: nobody is named by it.
    pub(super) fn unionid(&self, unionid: &UnionId) -> String {
        if self.reveal == Reveal::All { unionid.as_str().to_owned() } else { self.masks.of_person(unionid) }
    }

    pub(super) fn openid(&self, openid: &OpenId) -> String {
        if self.reveal == Reveal::All || self.named.as_ref() == Some(openid) {
            openid.as_str().to_owned()
        } else {
            self.masks.of(openid)
        }
    }
}

impl Desk {
    /// How openids show: in clear when all are revealed, or for the one that the command named.
    pub(super) async fn shown(&self, reveal: Reveal, person: Option<&Person>) -> Result<Shown, Failure> {
        let named = person.filter(|person| person.by_openid).map(|person| person.openid.clone());
        Ok(Shown { masks: self.masks().await?, reveal, named })
    }

    /// The person in `app` whom `text` names: by openid, ref or mask. An openid need not be known yet.
    ///
    /// A recipient's own openid goes before a `ref` of the same text.
    pub(super) async fn person(&self, app: &App, text: &str) -> Result<Person, Failure> {
        if Masks::is_mask(text) {
            return self.unmask(app, text).await;
        }
        let openid = OpenId::parse(text).ok();
        if let Some(openid) = &openid
            && self.store().recipient(&app.appid, openid)?.is_some()
        {
            return Ok(Person { openid: openid.clone(), by_openid: true });
        }
        if let Ok(reference) = Ref::parse(text)
            && let Some(openid) = self.store().by_ref(&app.appid, &reference)?
        {
            return Ok(Person { openid, by_openid: false });
        }
        openid.map(|openid| Person { openid, by_openid: true }).ok_or_else(|| {
            Failure::data(format!(
                "nobody in app `{}` has the ref `{}`, and it is no openid; give an openid, a ref, or a mask as lists show it",
                app.name,
                short(text)
            ))
        })
    }

    async fn unmask(&self, app: &App, mask: &str) -> Result<Person, Failure> {
        let masks = self.masks().await?;
        // The walk wants a template for its hints, which are not used here.
        let template = app.templates.values().next().map(|template| template.id.clone());
        let template = template.unwrap_or_else(|| TemplateId::parse("none").expect("it is a template id"));
        let mut found: Option<OpenId> = None;
        let mut after: Option<OpenId> = None;
        loop {
            let page = self.store().walk(&app.appid, &template, after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.openid.clone());
            for walked in page {
                if masks.of(&walked.openid) == mask
                    && let Some(_other) = found.replace(walked.openid)
                {
                    return Err(Failure::data(format!(
                        "two recipients show as {mask}; name one by openid or ref"
                    )));
                }
            }
            tokio::task::yield_now().await;
        }
        let openid = found
            .ok_or_else(|| Failure::data(format!("no recipient of app `{}` shows as {mask}", app.name)))?;
        Ok(Person { openid, by_openid: false })
    }
}

/// The app that a command means: the named one, or the only one.
///
/// # Errors
/// 65 for an unknown name, 64 when there are several and none is named, 78 when there is none.
pub fn app<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a App, Failure> {
    let names = || config.apps.keys().map(AppName::as_str).collect::<Vec<_>>().join(", ");
    match name {
        Some(text) => config.apps.values().find(|app| app.name.as_str() == text).ok_or_else(|| {
            Failure::data(format!("no app `{}` in tixing.yaml; it has: {}", short(text), names()))
        }),
        None => match config.apps.len() {
            1 => Ok(config.apps.values().next().expect("there is one")),
            0 => Err(Failure::new(Exit::Config, "tixing.yaml has no app")),
            _ => Err(Failure::new(Exit::Usage, format!("several apps; name one with --app: {}", names()))),
        },
    }
}

/// The template of `app` that `text` names, by its name or by the platform's id.
///
/// # Errors
/// 65, with the names that there are.
pub fn template<'a>(app: &'a App, text: &str) -> Result<&'a Template, Failure> {
    let named = app.templates.values().find(|t| t.name.as_str() == text);
    named.or_else(|| app.templates.values().find(|t| t.id.as_str() == text)).ok_or_else(|| {
        let names: Vec<&str> = app.templates.values().map(|t| t.name.as_str()).collect();
        Failure::data(format!(
            "no template `{}` in app `{}`; it has: {}",
            short(text),
            app.name,
            names.join(", ")
        ))
    })
}

/// The name of an app by its appid, or the appid when it is not configured any more.
pub(super) fn app_name(config: &Config, appid: &AppId) -> String {
    let app = config.apps.values().find(|app| app.appid == *appid);
    app.map_or_else(|| appid.to_string(), |app| app.name.to_string())
}

/// A text from outside, fit for a message: at most 64 characters, none of them control characters.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
    if text.chars().count() > 64 {
        short.push('…');
    }
    short
}
