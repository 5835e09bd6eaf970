//! Who speaks: a person by his session, or a backend by its key.
//!
//! Both proofs are checked whole before anything of the body is looked at, and all refusals are one
//! answer. Two proofs at once are none: a reader in between could have believed the other one.

use chrono::{DateTime, Utc};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::problem::Problem;
use super::session::{Session, SessionKey};
use super::signature::{self, Keys, Proof, Signed};
use crate::domain::config::App;
use crate::domain::id::AppName;
use crate::flow::live::Live;

/// Who proved to be speaking.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// A person, to the app of his session.
    Session(Session),
    /// A backend.
    Backend(Proof),
}

/// What proofs are checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks<'a> {
    /// The generation in force.
    pub(super) live: &'a Live,
    /// The keys of backends.
    pub(super) keys: &'a Keys,
    /// The key of sessions.
    pub(super) session_key: &'a SessionKey,
    /// When the request came by the wall clock, which those who sign go by.
    pub(super) now: DateTime<Utc>,
    /// The same as the books date it, which sessions go by: they end with erasures.
    pub(super) reckoned: DateTime<Utc>,
}

impl<'a> Checks<'a> {
    /// Who sent `headers` with `signed`.
    ///
    /// # Errors
    /// 401.
    pub(super) fn identify(&self, headers: &HeaderMap, signed: &Signed<'_>) -> Result<Identity, Problem> {
        let bearer = headers.contains_key(AUTHORIZATION);
        let identity = match (bearer, signature::is_signed(headers)) {
            (true, false) => self.session(headers).map(Identity::Session),
            (false, true) => signature::verify(headers, signed, self.keys, self.now).map(Identity::Backend),
            (true, true) | (false, false) => None,
        };
        identity.ok_or_else(Problem::identity)
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let value = signature::only(headers, AUTHORIZATION.as_str())?;
        let (scheme, text) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let appid = |name: &AppName| self.live.config.apps.get(name).map(|app| &app.appid);
        Session::open(text, self.session_key, appid, self.reckoned)
    }

    /// The app that `identity` speaks to, where the request names `asked`.
    ///
    /// # Errors
    /// 401 when it may not speak to that app, whether or not there is one; 422 when none was named and there are several.
    pub(super) fn app(&self, identity: &Identity, asked: &Asked) -> Result<&'a App, Problem> {
        let app = match (identity, asked) {
            (Identity::Session(session), Asked::Nothing) => self.live.app(Some(&session.app)),
            (Identity::Session(session), Asked::App(name)) => {
                self.live.app(Some(name)).filter(|app| app.name == session.app)
            }
            (Identity::Backend(proof), Asked::App(name)) => {
                self.live.app(Some(name)).filter(|app| proof.apps.contains(&app.name))
            }
            (Identity::Backend(proof), Asked::Nothing) => {
                let only = self.live.app(None).ok_or_else(no_app)?;
                proof.apps.contains(&only.name).then_some(only)
            }
            (Identity::Session(_) | Identity::Backend(_), Asked::Nonsense) => None,
        };
        app.ok_or_else(Problem::identity)
    }

    /// The app that somebody without an identity means.
    ///
    /// # Errors
    /// 422.
    pub(super) fn open_app(&self, asked: &Asked) -> Result<&App, Problem> {
        match asked {
            Asked::Nothing => self.live.app(None).ok_or_else(no_app),
            Asked::App(name) => self.live.app(Some(name)).ok_or_else(unknown_app),
            Asked::Nonsense => Err(unknown_app()),
        }
    }
}

fn no_app() -> Problem {
    Problem::app("`?app=` is needed: there are several apps")
}

fn unknown_app() -> Problem {
    Problem::app("`?app=` names no app")
}

/// What `?app=` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is not there.
    Nothing,
    /// This app.
    App(AppName),
    /// No name, or two.
    Nonsense,
}

impl Asked {
    /// Reads the query; other parameters mean nothing here. Names need no percent-encoding.
    pub(super) fn read(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let mut names = pairs.filter_map(|pair| match pair.split_once('=') {
            Some(("app", name)) => Some(name),
            None if pair == "app" => Some(""),
            Some(_) | None => None,
        });
        match (names.next().map(AppName::parse), names.next()) {
            (None, _) => Self::Nothing,
            (Some(Ok(name)), None) => Self::App(name),
            (Some(Ok(_) | Err(_)), _) => Self::Nonsense,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_asked_for_once_and_by_its_name() {
        let clinic = || Asked::App(AppName::parse("clinic").unwrap());
        let table = [
            (None, Asked::Nothing),
            (Some(""), Asked::Nothing),
            (Some("apps=clinic&x"), Asked::Nothing),
            (Some("app=clinic"), clinic()),
            (Some("x=1&app=clinic&y"), clinic()),
            (Some("app=clinic&app=clinic"), Asked::Nonsense),
            (Some("app=clinic&app=school"), Asked::Nonsense),
            (Some("app="), Asked::Nonsense),
            (Some("app"), Asked::Nonsense),
            (Some("app=Clinic"), Asked::Nonsense),
            (Some("app=%63linic"), Asked::Nonsense),
        ];
        for (query, asked) in table {
            assert_eq!(Asked::read(query), asked, "{query:?}");
        }
    }
}
