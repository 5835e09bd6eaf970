//! What the desk needs of a running daemon; without one there is no [`Control`].
//!
//! The daemon implements it; the desk only puts what it says into the shapes that operators rely on.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use chrono::{DateTime, Utc};

use crate::domain::config::Basis;
use crate::domain::id::{AppName, RuleId};
use crate::domain::language::Said;
use crate::domain::occurrence::Due;
use crate::domain::zone::Zone;
use crate::flow::books::Books;
use crate::flow::brake::Brake;
use crate::flow::intake::memory::Memory;
use crate::flow::pause::HeldOccurrence;
use crate::flow::templates::Templates;
use crate::plan::quota::Quota;
use crate::rules::{Diagnostic, Severity};

/// A running daemon, as far as operators steer it.
pub trait Control: fmt::Debug + Send + Sync + 'static {
    /// Reads the files and takes them over, or refuses them; one at a time, a second call waits.
    ///
    /// When it returns with `ok`, the new set is live.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>>;

    /// What was found of the books.
    fn books(&self) -> &Books;

    /// What operators have paused.
    fn brake(&self) -> &Brake;

    /// The templates as the platform lists them.
    fn templates(&self) -> &Templates;

    /// What is kept of people in memory alone.
    fn memory(&self) -> &Memory;

    /// Occurrences that are held until a person releases them or their deadline has passed.
    fn held(&self) -> Vec<HeldOccurrence>;

    /// People whom walks have passed over since the start, since a rule's `where` is undefined for them, by app.
    fn undefined(&self) -> BTreeMap<AppName, u64>;

    /// Lets an app try at once that pauses by itself; all apps when none is named.
    fn try_again(&self, app: Option<&AppName>);

    /// Makes those who walk look: something was released.
    fn look(&self);

    /// How the daemon is now. Cheap; called by `status`, `/readyz` and `/metrics`.
    fn status(&self) -> StatusParts;
}

/// How a reload went.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// Whether the new set is live; else the old one stays.
    pub ok: bool,
    /// What was found, errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// Rules that are new.
    pub added: Vec<RuleId>,
    /// Rules that are different.
    pub changed: Vec<RuleId>,
    /// Rules that are gone or disabled.
    pub removed: Vec<RuleId>,
    /// When the new and the changed ones are due for the first time.
    pub first_due: Vec<FirstDue>,
    /// Settings that changed and need a restart, each a key of `tixing.yaml`.
    pub needs_restart: Vec<&'static str>,
    /// What the rules that are in force after it were made from.
    pub in_force: Basis,
}

impl Reloaded {
    /// A sentence on why the files are not in force; `None` when they are.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let errors = self.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        let first = errors.clone().next().filter(|_| !self.ok)?;
        let more = match errors.count() {
            1 => String::new(),
            n => format!("; {} more: `tixing check`", n - 1),
        };
        let Diagnostic { file, line, column, code, message, .. } = first;
        let what = match self.in_force {
            Basis::Files => "the last reload was refused, what was in force stays",
            Basis::Nothing => {
                "the schedule files cannot be used, and there is no good set from before: no rule is in force"
            }
        };
        Some(format!("{what}: {file}:{line}:{column}: [{code}] {message}{more}"))
    }
}

/// When a rule that a reload brought is due for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstDue {
    /// The rule.
    pub rule: RuleId,
    /// Its zone.
    pub zone: Zone,
    /// The due time; `None` when there is none any more.
    pub due: Option<Due>,
    /// When it is due, in words.
    pub words: Said,
}

/// What only the daemon knows of itself.
#[derive(Clone, Debug)]
pub struct StatusParts {
    /// Reports are taken and reminders are sent.
    pub ready: bool,
    /// Why nothing is sent, when an operator or a restore holds everything.
    pub hold: Option<String>,
    /// Sentences on what needs a person.
    pub needs_attention: Vec<String>,
    /// Each app's state.
    pub apps: BTreeMap<AppName, AppState>,
    /// What is left of the day's quota of apps of which it is asked for, and when that was said.
    pub quotas: BTreeMap<AppName, (Quota, DateTime<Utc>)>,
    /// Rules that are held, and why.
    pub held_rules: Vec<(RuleId, String)>,
    /// Whether the wall clock can be believed.
    pub clock: ClockState,
    /// Which zone data decides, such as `2026b, system`.
    pub zone_data: String,
    /// The last reload, or the start.
    pub reload: Reloaded,
    /// Counts reloads from 1.
    pub generation: u64,
    /// Where the hook listens.
    pub hook: Option<SocketAddr>,
}

/// How an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppState {
    /// Messages are sent.
    Sending,
    /// Nothing is sent, for this reason; it is probed, and goes on by itself.
    Paused(String),
}

/// Whether the wall clock can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockState {
    /// It can.
    Ok,
    /// It is before the build date or the high-water mark, or has jumped.
    Behind,
}
