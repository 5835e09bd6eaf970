//! Whether an app may send now: it pauses when its platform cannot be reached, refuses it, or asks to slow down.
//!
//! When a pause is over, one request alone tries; its answer ends the pause or begins the next. What
//! becomes of a single delivery is not decided here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use crate::domain::id::{AppName, RuleId};
use crate::domain::message::Reply;
use crate::store::Occurrence;

/// The longest pause of an app whose platform cannot be reached or refuses the app.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Why an app does not send, for those who ask; empty while it does.
#[derive(Clone, Debug, Default)]
pub struct Pauses(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    reason: Option<String>,
    held: Vec<HeldOccurrence>,
}

/// An occurrence that is held until a person releases it or its deadline has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOccurrence {
    /// Its number in the books.
    pub number: u64,
    /// Its rule.
    pub rule: RuleId,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// Why it is held.
    pub reason: String,
}

impl Pauses {
    /// Why it does not send.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.told().reason.clone()
    }

    /// Occurrences of it that are held, in the order in which they were opened.
    #[must_use]
    pub fn held(&self) -> Vec<HeldOccurrence> {
        self.told().held.clone()
    }

    fn set(&self, reason: Option<String>) {
        self.told().reason = reason;
    }

    pub(super) fn hold<'a>(&self, occurrences: impl Iterator<Item = &'a Occurrence>) {
        let held = occurrences.map(|occurrence| HeldOccurrence {
            number: occurrence.number,
            rule: occurrence.rule.clone(),
            due_at: occurrence.due_at,
            reason: occurrence.reason.clone().unwrap_or_default(),
        });
        self.told().held = held.collect();
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gate of one app.
#[derive(Debug)]
pub(super) struct Gate {
    app: AppName,
    told: Pauses,
    pause: Option<Pause>,
}

/// Nothing starts before its end, and then one request alone tries.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: DateTime<Utc>,
    n: u32,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The platform is away or refuses the app: only a request that succeeds shows that this is over.
    Broken,
    /// The platform asked to wait until the end of the pause.
    Asked,
}

impl Gate {
    /// A gate that is open; `told` hears why it is not.
    pub(super) fn new(app: AppName, told: Pauses) -> Self {
        Self { app, told, pause: None }
    }

    /// Whether nothing may start.
    pub(super) fn is_shut(&self, now: DateTime<Utc>) -> bool {
        self.pause.is_some_and(|pause| now < pause.until)
    }

    /// Whether one request alone tries, or none.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// How many requests may run at the same time, of `in_flight` at best. When the wait that the platform
    /// asked for is over, it is told no more, also while there is nothing to send.
    pub(super) fn slots(&self, in_flight: usize, now: DateTime<Utc>) -> usize {
        match self.pause {
            Some(pause) if now < pause.until => 0,
            Some(pause) => {
                if pause.cause == Cause::Asked {
                    self.told.set(None);
                }
                1
            }
            None => in_flight,
        }
    }

    /// When to look again.
    pub(super) fn until(&self) -> Option<DateTime<Utc>> {
        self.pause.map(|pause| pause.until)
    }

    /// Slows the app down when the answer concerns all of it; `stated` is when its delivery is tried again.
    pub(super) fn hear(&mut self, reply: &Reply, stated: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        let n = self.pause.map_or(0, |pause| pause.n);
        let not_before = self.pause.map_or(now, |pause| pause.until);
        match reply {
            Reply::NotConnected | Reply::NoToken | Reply::TokenRefused { .. } | Reply::AppBad { .. } => {
                let wait = (Duration::from_millis(500) * 2_u32.saturating_pow(n.min(7))).min(MAX_PAUSE);
                self.told.set(Some(why(reply)));
                if n == 0 {
                    warn!(app = %self.app, "Sending for app {} pauses: {}", self.app, why(reply));
                }
                // Requests that were in flight together count as one failure.
                if !self.is_shut(now) {
                    let until = (now + wait).max(not_before);
                    self.pause = Some(Pause { until, n: n + 1, cause: Cause::Broken });
                }
            }
            Reply::RateLimited { .. } | Reply::QuotaUsedUp => {
                let until = stated.unwrap_or(now + MAX_PAUSE).max(not_before);
                warn!(app = %self.app, until = %until, "The platform asks app {} to slow down", self.app);
                self.told.set(Some(format!("the platform asks to slow down until {until}")));
                self.pause = Some(Pause { until, n, cause: Cause::Asked });
            }
            Reply::Accepted { .. }
            | Reply::NoConsent
            | Reply::Busy
            | Reply::Concurrent
            | Reply::RecipientBad { .. }
            | Reply::MessageBad { .. }
            | Reply::TemplateBad { .. }
            | Reply::UnknownCode { .. } => {
                if self.is_paused() && !self.is_shut(now) {
                    info!(app = %self.app, "Sending for app {} goes on", self.app);
                    self.pause = None;
                    self.told.set(None);
                }
            }
            Reply::Unanswered => {}
        }
    }
}

/// Why an app pauses, for people.
fn why(reply: &Reply) -> String {
    match reply {
        Reply::NotConnected => "the platform cannot be reached".to_owned(),
        Reply::NoToken => "no access token can be had; see the log".to_owned(),
        Reply::TokenRefused { errcode } => format!("its access token is refused (errcode {errcode})"),
        Reply::AppBad { errcode } => format!("the platform refuses the app (errcode {errcode})"),
        Reply::Accepted { .. }
        | Reply::NoConsent
        | Reply::Busy
        | Reply::Concurrent
        | Reply::RateLimited { .. }
        | Reply::QuotaUsedUp
        | Reply::RecipientBad { .. }
        | Reply::MessageBad { .. }
        | Reply::TemplateBad { .. }
        | Reply::UnknownCode { .. }
        | Reply::Unanswered => "the platform asks to wait".to_owned(),
    }
}
