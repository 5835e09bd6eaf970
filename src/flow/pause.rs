//! Whether an app may send now: it pauses when its platform cannot be reached, refuses it, or asks to slow down.
//!
//! When its wait is over, one request alone tries; its answer ends the pause or begins the next. An operator's word ends the
//! wait, not the trial. Where nothing is there to try with, nobody is told of a pause any more: the next message tries. What
//! becomes of a single delivery is not decided here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tracing::{info, warn};

use crate::domain::id::{AppName, RuleId};
use crate::domain::message::Reply;
use crate::plan::cure;
use crate::store::Occurrence;
use crate::wechat::{Sent, TokenError, TokenState};

/// The first pause of an app whose platform cannot be reached or refuses the app; each further one is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(500);
/// So many answers in a row that say nothing pause an app: what is sent then is in doubt, message by message.
const MAX_UNANSWERED: u32 = 8;
/// What to do about what they left in doubt.
const UNANSWERED_CURE: &str = "what was sent meanwhile is in `tixing doubt list`";
/// The longest pause of an app whose platform cannot be reached or refuses the app.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// What the flows of an app say of it to those who ask: above all why it does not send, which is empty while it does.
#[derive(Clone, Debug, Default)]
pub struct Pauses(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    reason: Option<String>,
    /// Whether it is that the day's messages are used up.
    used_up: bool,
    /// An operator wants it to be tried at once.
    again: bool,
    held: Vec<HeldOccurrence>,
    /// Occurrences that the sender has held; the fan-out tells it when they go on, also where it never saw them held.
    by_sender: BTreeSet<u64>,
    /// People whom walks have passed over since the start, since the `where` of the rule is undefined for them.
    n_undefined: u64,
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

    /// Whether the day's messages are used up, so that nothing can leave before a time that is known.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        let told = self.told();
        told.used_up && told.reason.is_some()
    }

    /// Occurrences of it that are held, in the order in which they were opened.
    #[must_use]
    pub fn held(&self) -> Vec<HeldOccurrence> {
        self.told().held.clone()
    }

    /// How many people walks have passed over since the start, since the `where` of the rule is undefined for them.
    #[must_use]
    pub fn n_undefined(&self) -> u64 {
        self.told().n_undefined
    }

    pub(super) fn count_undefined(&self, n: u64) {
        self.told().n_undefined += n;
    }

    /// Lets an app that pauses try at once; from here on it says no reason, until one is found anew.
    pub fn try_again(&self) {
        let mut told = self.told();
        told.again = true;
        told.reason = None;
    }

    fn set(&self, reason: Option<String>) {
        let mut told = self.told();
        told.reason = reason;
        told.used_up = false;
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

    /// The sender's hold of an occurrence is in the books.
    pub(super) fn held_by_sender(&self, occurrence: u64) {
        self.told().by_sender.insert(occurrence);
    }

    /// Whether the sender has held an occurrence since this was last asked of it.
    pub(super) fn was_held_by_sender(&self, occurrence: u64) -> bool {
        self.told().by_sender.remove(&occurrence)
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
    /// Answers in a row that did not say what became of their message.
    n_unanswered: u32,
    /// Requests that have started.
    n_started: u64,
}

/// The code of a day's quota that is used up.
const USED_UP: i64 = 45_009;

/// Which request of an app an answer is of, in the order of their starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nth(u64);

/// Nothing starts before its end, and then one request alone tries.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: DateTime<Utc>,
    n: u32,
    cause: Cause,
    /// The last request that failed for it.
    shown_by: Nth,
}

impl Pause {
    /// Whether it is over when the platform looked at the message of this request.
    fn ends_with(&self, nth: Nth, now: DateTime<Utc>) -> bool {
        match self.cause {
            // One that started before may have been answered before this began.
            Cause::Broken => nth > self.shown_by,
            Cause::Silent => true,
            Cause::NoToken | Cause::Asked => now >= self.until,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The platform is away or refuses the app: only a request that succeeds shows that this is over.
    Broken,
    /// The platform does not say what becomes of messages: any answer shows that this is over.
    Silent,
    /// No access token can be had: one that can shows that this is over.
    NoToken,
    /// The platform asked to wait until the end of the pause.
    Asked,
}

impl Gate {
    /// A gate that is open; `told` hears why it is not.
    pub(super) fn new(app: AppName, told: Pauses) -> Self {
        // What was told by a sender before, which ended with its store, is not known of this one.
        told.set(None);
        Self { app, told, pause: None, n_unanswered: 0, n_started: 0 }
    }

    /// Whether an operator wants the app to try now; then the wait is over.
    pub(super) fn is_hurried(&mut self, now: DateTime<Utc>) -> bool {
        let again = std::mem::take(&mut self.told.told().again);
        if let Some(pause) = &mut self.pause
            && again
        {
            pause.until = pause.until.min(now);
            pause.n = 0;
        }
        again
    }

    /// Whether an access token alone would show that the pause is over.
    pub(super) fn lacks_token(&self) -> bool {
        self.pause.is_some_and(|pause| pause.cause == Cause::NoToken)
    }

    /// Another secret may be in force: without an access token it is asked for at once.
    pub(super) fn is_reloaded(&mut self, now: DateTime<Utc>) {
        if let Some(pause) = self.pause.as_mut().filter(|pause| pause.cause == Cause::NoToken) {
            pause.until = pause.until.min(now);
            pause.n = 0;
        }
    }

    /// The day's messages were used up before the start: until when, and what the platform said then.
    pub(super) fn was_used_up(&mut self, said: String, (until, now): (DateTime<Utc>, DateTime<Utc>)) {
        let words = Words { said, ..Words::new("", None, None, None) };
        self.is_used_up(&words, (Some(until), now));
    }

    fn is_used_up(&mut self, words: &Words, when: (Option<DateTime<Utc>>, DateTime<Utc>)) {
        let cure = cure::of_app(USED_UP, None);
        self.waits("the day's quota of messages is used up", &cure, words, when);
        self.told.told().used_up = true;
    }

    /// There is an access token again.
    pub(super) fn has_token(&mut self) {
        if self.lacks_token() {
            self.goes_on();
        }
    }

    fn goes_on(&mut self) {
        info!(app = %self.app, "Sending for app {} goes on", self.app);
        self.pause = None;
        self.told.set(None);
    }

    /// Whether nothing may start.
    pub(super) fn is_shut(&self, now: DateTime<Utc>) -> bool {
        self.pause.is_some_and(|pause| now < pause.until)
    }

    /// Whether one request alone tries, or none.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// How many requests may run at the same time, of `in_flight` at best.
    pub(super) fn slots(&self, in_flight: usize, now: DateTime<Utc>) -> usize {
        match self.pause {
            Some(pause) if now < pause.until => 0,
            Some(_) => 1,
            None => in_flight,
        }
    }

    /// A request starts.
    pub(super) fn starts(&mut self) -> Nth {
        self.n_started += 1;
        Nth(self.n_started)
    }

    /// The wait may be over, and nothing is there to try with: it is told no more, and the next message tries. `fails` says
    /// whether no access token could be had when it was asked for last.
    pub(super) fn idles(&self, fails: bool, now: DateTime<Utc>) {
        // Without an access token it tries all the same.
        if !self.is_shut(now) && !self.lacks_token() && !fails {
            self.told.set(None);
        }
    }

    /// When to look again.
    pub(super) fn until(&self) -> Option<DateTime<Utc>> {
        self.pause.map(|pause| pause.until)
    }

    /// No access token can be had, or none that is not refused: no request was made.
    pub(super) fn hear_of_token(&mut self, reply: &Reply, words: &Words, now: DateTime<Utc>) {
        self.hear(reply, Nth(self.n_started), words, None, now);
    }

    /// Slows the app down when the answer concerns all of it; `stated` is when its delivery is tried again.
    pub(super) fn hear(
        &mut self,
        reply: &Reply,
        nth: Nth,
        words: &Words,
        stated: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) {
        self.n_unanswered = if *reply == Reply::Unanswered { self.n_unanswered.saturating_add(1) } else { 0 };
        match reply {
            Reply::NotConnected | Reply::TokenRefused { .. } | Reply::AppBad { .. } => {
                self.fails(Cause::Broken, nth, words, now);
            }
            Reply::NoToken => self.fails(Cause::NoToken, nth, words, now),
            Reply::RateLimited { .. } => {
                self.waits("the platform asks to slow down", "it goes on by itself", words, (stated, now));
            }
            Reply::QuotaUsedUp => self.is_used_up(words, (stated, now)),
            Reply::Accepted { .. }
            | Reply::NoConsent
            | Reply::Busy
            | Reply::Concurrent
            | Reply::RecipientBad { .. }
            | Reply::MessageBad { .. }
            | Reply::TemplateBad { .. }
            | Reply::UnknownCode { .. } => {
                if self.pause.is_some_and(|pause| pause.ends_with(nth, now)) {
                    self.goes_on();
                }
            }
            // Each costs a consent until a receipt or a person settles it.
            Reply::Unanswered if self.n_unanswered >= MAX_UNANSWERED => {
                self.fails(Cause::Silent, nth, words, now);
            }
            Reply::Unanswered => {}
        }
    }

    fn waits(
        &mut self,
        what: &str,
        cure: &str,
        words: &Words,
        (stated, now): (Option<DateTime<Utc>>, DateTime<Utc>),
    ) {
        let (n, not_before) = self.pause.map_or((0, now), |pause| (pause.n, pause.until));
        let until = stated.unwrap_or(now + MAX_PAUSE);
        if self.pause.is_some_and(|pause| pause.cause == Cause::Asked && pause.until >= until) {
            // It waits for longer already, and has told why.
            return;
        }
        let until = until.max(not_before);
        let at = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let app = &self.app;
        let why = format!(
            "{what}: nothing is sent until {at} ({}); {cure}; `tixing resume --app {app}` tries at once",
            words.said
        );
        warn!(app = %self.app, until = %until, "Sending for app {} waits: {why}", self.app);
        self.told.set(Some(why));
        self.pause = Some(Pause { until, n, cause: Cause::Asked, shown_by: Nth(self.n_started) });
    }

    fn fails(&mut self, cause: Cause, nth: Nth, words: &Words, now: DateTime<Utc>) {
        let (n, not_before) = self.pause.map_or((0, now), |pause| (pause.n, pause.until));
        // Asked earlier, the cache of access tokens would only say the same again.
        let wait = words.asked_again_in.unwrap_or(MIN_PAUSE * 2_u32.saturating_pow(n.min(7)));
        let wait = wait.clamp(MIN_PAUSE, MAX_PAUSE);
        let app = &self.app;
        let when = match words.asked_again_in {
            // The platform wants the next question so late.
            Some(wait) if wait > MAX_PAUSE => format!("in {} minutes", wait.as_secs().div_ceil(60)),
            Some(_) | None => "at least once a minute".to_owned(),
        };
        let why =
            format!("{}; it is tried again {when}, and at once by `tixing resume --app {app}`", words.told());
        // The platform said until when nothing is taken, and a request that was on its way knows no better.
        let waits = self.pause.is_some_and(|pause| pause.cause == Cause::Asked && now < pause.until);
        if !waits {
            if self.told.reason().is_none() {
                warn!(app = %app, wechat.rid = words.rid, "Sending for app {app} pauses: {why}");
            }
            self.told.set(Some(why));
        }
        match &mut self.pause {
            // Requests that were in flight together count as one failure.
            Some(pause) if now < pause.until => {
                pause.shown_by = pause.shown_by.max(nth);
                // Neither an access token nor any answer shows that this is over.
                if cause == Cause::Broken && pause.cause != Cause::Asked {
                    pause.cause = cause;
                }
            }
            Some(_) | None => {
                let until = (now + wait).max(not_before);
                self.pause = Some(Pause { until, n: n + 1, cause, shown_by: nth });
            }
        }
    }
}

/// What is wrong where access tokens are refused: also those that nobody used before, or those that had worked.
fn refused(state: &TokenState) -> &'static str {
    if matches!(state, TokenState::Failing { error: TokenError::Refused { .. }, .. }) {
        "every access token is refused"
    } else {
        "access tokens that worked are refused one after the other"
    }
}

/// What an answer says, for people.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// What happened.
    what: &'static str,
    /// Code, text and number of the request.
    said: String,
    rid: Option<String>,
    /// What to do.
    cure: Option<String>,
    /// When the next access token is asked for.
    asked_again_in: Option<Duration>,
}

impl Words {
    /// What became of a send; `state` is that of its app's access token.
    pub(super) fn of(sent: &Sent, state: &TokenState) -> Self {
        match &sent.reply {
            Reply::NoToken => Self::of_token(state),
            Reply::NotConnected => {
                Self::new("the platform cannot be reached", None, sent.errmsg.as_deref(), None)
            }
            Reply::TokenRefused { .. } => Self::answered(refused(state), sent),
            Reply::Accepted { .. }
            | Reply::NoConsent
            | Reply::Busy
            | Reply::Concurrent
            | Reply::RateLimited { .. }
            | Reply::QuotaUsedUp
            | Reply::RecipientBad { .. }
            | Reply::MessageBad { .. }
            | Reply::TemplateBad { .. }
            | Reply::AppBad { .. }
            | Reply::UnknownCode { .. } => Self::answered("the platform refuses the app", sent),
            Reply::Unanswered => Self {
                cure: Some(UNANSWERED_CURE.to_owned()),
                ..Self::answered("the platform does not say what becomes of messages", sent)
            },
        }
    }

    /// Why there is no access token.
    pub(super) fn of_token(state: &TokenState) -> Self {
        let TokenState::Failing { error, retry_in } = state else {
            return Self::new("no access token can be had", None, None, None);
        };
        let words = match error {
            TokenError::Denied { errcode, errmsg } => {
                Self::new("the platform gives no access token", Some(*errcode), Some(errmsg), None)
            }
            TokenError::Unavailable { why } => Self::new("no access token can be had", None, Some(why), None),
            TokenError::Refused { errcode } => Self::new(refused(state), Some(*errcode), None, None),
        };
        Self { asked_again_in: Some(*retry_in), ..words }
    }

    fn answered(what: &'static str, sent: &Sent) -> Self {
        Self::new(what, sent.errcode, sent.errmsg.as_deref(), sent.rid.clone())
    }

    fn new(what: &'static str, errcode: Option<i64>, errmsg: Option<&str>, rid: Option<String>) -> Self {
        let said = match (errcode, errmsg) {
            (Some(errcode), Some(errmsg)) => format!("errcode {errcode}: {errmsg}"),
            (Some(errcode), None) => format!("errcode {errcode}"),
            (None, Some(errmsg)) => errmsg.to_owned(),
            (None, None) => String::new(),
        };
        let said = rid.as_ref().map_or_else(|| said.clone(), |rid| format!("{said}, rid {rid}"));
        let cure = errcode.map(|errcode| cure::of_app(errcode, errmsg));
        Self { what, said, rid, cure, asked_again_in: None }
    }

    /// Code, text and number of the request.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    fn told(&self) -> String {
        let said = if self.said.is_empty() { String::new() } else { format!(" ({})", self.said) };
        let cure = self.cure.as_ref().map_or_else(String::new, |cure| format!("; {cure}"));
        format!("{}{said}{cure}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::message::Reply;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_795_350_896_500 + ms).expect("in range")
    }

    fn words() -> Words {
        Words::new("as ordered", None, None, None)
    }

    fn gate() -> Gate {
        Gate::new(AppName::parse("main").expect("valid"), Pauses::default())
    }

    const OK: Reply = Reply::Accepted { msgid: None };
    const BROKEN: Reply = Reply::AppBad { errcode: 48_001 };

    #[test]
    fn a_good_answer_ends_a_pause_where_it_is_newer_than_its_cause() {
        let slow = Reply::RateLimited { errcode: 44_990 };
        // What begins the pause, of the request with which number; then an answer, of which, after how many milliseconds;
        // and whether it is over.
        let table = [
            (&BROKEN, 5, &OK, 4, 100, false),
            (&BROKEN, 5, &OK, 6, 100, true),
            (&BROKEN, 5, &OK, 4, 600, false),
            (&BROKEN, 5, &OK, 6, 600, true),
            (&BROKEN, 5, &Reply::NoConsent, 6, 100, true),
            (&BROKEN, 5, &Reply::Unanswered, 6, 100, false),
            (&BROKEN, 5, &BROKEN, 6, 100, false),
            (&Reply::NotConnected, 5, &OK, 6, 100, true),
            (&Reply::Unanswered, 5, &OK, 4, 100, true),
            (&Reply::Unanswered, 5, &OK, 6, 600, true),
            (&slow, 5, &OK, 6, 100, false),
            (&slow, 5, &OK, 6, 1100, true),
            (&Reply::QuotaUsedUp, 5, &OK, 6, 900, false),
            (&Reply::NoToken, 5, &OK, 6, 100, false),
        ];
        for (cause, by, answer, of, ms, over) in table {
            let mut gate = gate();
            let nth: Vec<Nth> = (0..9).map(|_| gate.starts()).collect();
            let stated = Some(at(1000));
            for _ in 0..MAX_UNANSWERED {
                gate.hear(cause, nth[by], &words(), stated, at(0));
            }
            assert!(gate.is_shut(at(100)) && gate.told.reason().is_some(), "{cause:?}");
            gate.hear(answer, nth[of], &words(), None, at(ms));
            assert_eq!(!gate.is_paused(), over, "{cause:?} by {by}, then {answer:?} of {of} after {ms} ms");
            assert_eq!(gate.told.reason().is_none(), over);
        }
    }

    #[test]
    fn the_newest_of_those_that_failed_together_is_what_has_to_be_outlived() {
        let mut gate = gate();
        let nth: Vec<Nth> = (0..4).map(|_| gate.starts()).collect();
        gate.hear(&BROKEN, nth[0], &words(), None, at(0));
        gate.hear(&BROKEN, nth[2], &words(), None, at(1));
        gate.hear(&OK, nth[1], &words(), None, at(2));
        assert!(gate.is_shut(at(3)));
        gate.hear(&OK, nth[3], &words(), None, at(3));
        assert!(!gate.is_paused());
    }

    #[test]
    fn what_is_told_ends_with_the_wait_where_nothing_tries_and_with_an_operators_word() {
        let table = [(&BROKEN, true), (&Reply::Unanswered, true), (&Reply::NoToken, false)];
        for (cause, ends) in table {
            let mut gate = gate();
            let nth = gate.starts();
            for _ in 0..MAX_UNANSWERED {
                gate.hear(cause, nth, &words(), None, at(0));
            }
            gate.idles(true, at(500));
            gate.idles(false, at(400));
            assert!(gate.told.reason().is_some(), "{cause:?}");
            gate.idles(false, at(500));
            assert_eq!(gate.told.reason().is_none(), ends, "{cause:?}");
            // One alone tries, and the pause is back with its answer.
            assert_eq!(gate.slots(8, at(500)), 1, "{cause:?}");
            let nth = gate.starts();
            gate.hear(cause, nth, &words(), None, at(500));
            assert!(gate.told.reason().is_some() && gate.slots(8, at(1499)) == 0, "{cause:?}");
            gate.told.try_again();
            assert!(gate.told.reason().is_none() && gate.is_hurried(at(600)), "{cause:?}");
            assert_eq!(gate.slots(8, at(600)), 1, "{cause:?}");
        }
    }
}
