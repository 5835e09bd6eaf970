//! What an operator has paused: everything, one app, or one rule.

use chrono::{DateTime, Utc};

use super::id::{AppId, RuleId};

/// The longest reason, in characters.
pub const MAX_REASON: usize = 120;

/// What does not send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Nothing is sent at all.
    Everything,
    /// One mini program.
    App(AppId),
    /// One rule, of whichever app.
    Rule(RuleId),
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// An operator's.
    Operator,
    /// The platform's, which punishes the mini program; an operator ends it all the same.
    Platform,
}

/// A word that something does not send until an operator takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What.
    pub scope: Scope,
    /// Who said so.
    pub by: By,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, if he said so.
    pub reason: Option<String>,
}

impl Pause {
    /// Whether it keeps a message of this app and rule from being sent.
    #[must_use]
    pub fn covers(&self, app: &AppId, rule: &RuleId) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::App(paused) => paused == app,
            Scope::Rule(paused) => paused == rule,
        }
    }

    /// Whether it keeps every message of this app from being sent.
    #[must_use]
    pub fn covers_app(&self, app: &AppId) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::App(paused) => paused == app,
            Scope::Rule(_) => false,
        }
    }
}

/// For people: `paused by an operator since 2026-03-01T00:00:00Z: holidays`.
impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let by = match self.by {
            By::Operator => "an operator",
            By::Platform => "WeChat",
        };
        write!(f, "paused by {by} since {since}")?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}
