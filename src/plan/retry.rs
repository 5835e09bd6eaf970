//! What follows from an answer of the platform: an end, another attempt, or doubt.
//!
//! The classes and waits follow the platform's error codes (guide, `api_sendmessage`, read 2026-11-22).
//! What the end means for the grant is the delivery table's business ([`step`]), also that a delivery once
//! answered −1 can only end as sent or in doubt.
//!
//! [`step`]: crate::domain::delivery::step

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::delivery::{Event, Past};
use crate::domain::message::Reply;

/// How often a delivery is tried again after −1, which the platform may have processed all the same.
pub const MAX_BUSY_RETRIES: u32 = 3;
/// First wait after −1; each further one is twice as long.
const BUSY_MS: i64 = 1000;
/// First wait after 43108 and 44990; each further one is twice as long, up to [`MAX_LIMITED_MS`].
const LIMITED_MS: i64 = 1000;
const MAX_LIMITED_MS: i64 = 4000;
/// First wait without a connection, or while the app cannot send; each further one is twice as long, up to [`MAX_AWAY_MS`].
///
/// This does not decide how often an app that cannot send is tried: it lets one message at a time try.
const AWAY_MS: i64 = 500;
const MAX_AWAY_MS: i64 = 60_000;
/// No delivery waits so long for its own sake: it waits for the day's quota of its app.
const LONG_MS: i64 = 90_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Quotas end with the day of Beijing, which is 8 h ahead of UTC all year.
const BEIJING_MS: i64 = 8 * 60 * MINUTE_MS;

/// What a delivery went through, the attempt that was just answered included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Attempts that began, this one included.
    pub n_attempts: u32,
    /// How many earlier ones were answered −1.
    pub n_busy: u32,
    /// What the delivery remembered before this attempt.
    pub past: Past,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The platform took it.
    Accept {
        /// The platform's number of the message, where it gave one.
        msgid: Option<u64>,
    },
    /// The platform knows no consent.
    Refuse,
    /// A definite failure of this message.
    Fail {
        /// The platform's code.
        errcode: i64,
    },
    /// Try again; the grant stays.
    Wait {
        /// When: at most a millisecond past the deadline, where it then expires.
        at: DateTime<Utc>,
        /// What the delivery remembers from now on.
        past: Past,
    },
    /// Nobody knows what became of it.
    Doubt,
}

impl Decision {
    /// The event of the delivery table.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::Accept { .. } => Event::Accept,
            Self::Refuse => Event::Refuse,
            Self::Fail { .. } => Event::Fail,
            Self::Wait { .. } => Event::Wait,
            Self::Doubt => Event::Doubt,
        }
    }
}

/// Whether one that waits until `at` does so for its app, whose messages of the day are used up.
#[must_use]
pub fn is_for_app(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at - now > TimeDelta::milliseconds(LONG_MS)
}

/// Milliseconds until the next boundary of a clock that is so far ahead of UTC.
fn until_next(now: DateTime<Utc>, span: i64, ahead: i64) -> i64 {
    span - (now.timestamp_millis() + ahead).rem_euclid(span)
}

/// What follows from `reply`.
///
/// `jitter` is any random number; it only ever lengthens a wait, so that many deliveries do not come back
/// at once. A delivery that was answered −1 keeps [`Past::Busy`] whatever follows. Everything that waits
/// does so until its deadline, but for −1, which is tried again [`MAX_BUSY_RETRIES`] times.
#[must_use]
pub fn decide(
    reply: &Reply,
    tried: Tried,
    now: DateTime<Utc>,
    deadline: DateTime<Utc>,
    jitter: u64,
) -> Decision {
    let past = match tried.past {
        Past::Untried | Past::Tried => Past::Tried,
        Past::Busy => Past::Busy,
    };
    let wait = |ms: i64, spread_ms: i64, past: Past| {
        let extra = i64::try_from(jitter % spread_ms.max(1).unsigned_abs()).unwrap_or(0);
        let at = now + TimeDelta::milliseconds(ms + extra);
        Decision::Wait { at: at.min(deadline + TimeDelta::milliseconds(1)), past }
    };
    let doubled = |first: i64, times: u32, most: i64| (first << times.min(20)).min(most);
    let n_before = tried.n_attempts.saturating_sub(1);
    match reply {
        Reply::Accepted { msgid } => Decision::Accept { msgid: *msgid },
        Reply::NoConsent => Decision::Refuse,
        Reply::Busy if tried.n_busy >= MAX_BUSY_RETRIES => Decision::Doubt,
        Reply::Busy => {
            let ms = doubled(BUSY_MS, tried.n_busy, i64::MAX);
            wait(ms, ms / 2, Past::Busy)
        }
        Reply::Concurrent => {
            let ms = doubled(LIMITED_MS, n_before, MAX_LIMITED_MS);
            wait(ms, ms / 4, past)
        }
        Reply::RateLimited { errcode: 45_011 } => wait(until_next(now, MINUTE_MS, 0), 5000, past),
        Reply::RateLimited { errcode: _ } => {
            let ms = doubled(LIMITED_MS, n_before, MAX_LIMITED_MS);
            wait(ms, ms / 4, past)
        }
        Reply::QuotaUsedUp => wait(until_next(now, DAY_MS, BEIJING_MS), MINUTE_MS, past),
        Reply::NotConnected
        | Reply::NoToken
        | Reply::TokenRefused { errcode: _ }
        | Reply::AppBad { errcode: _ } => {
            let ms = doubled(AWAY_MS, n_before, MAX_AWAY_MS);
            wait(ms, ms / 4, past)
        }
        Reply::RecipientBad { errcode }
        | Reply::MessageBad { errcode, key: _ }
        | Reply::TemplateBad { errcode }
        | Reply::UnknownCode { errcode } => Decision::Fail { errcode: *errcode },
        Reply::Unanswered => Decision::Doubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{Effect, State, step};

    /// 2026-11-22 12:34:56.500 in UTC.
    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_795_350_896_500).expect("in range")
    }

    /// The outcome in short: `wait 1000 Busy`, or the event.
    fn outcome(reply: &Reply, tried: Tried, jitter: u64) -> String {
        match decide(reply, tried, now(), now() + TimeDelta::days(2), jitter) {
            Decision::Wait { at, past } => format!("wait {} {past:?}", (at - now()).num_milliseconds()),
            Decision::Fail { errcode } => format!("fail {errcode}"),
            Decision::Accept { msgid } => format!("accept {msgid:?}"),
            end @ (Decision::Refuse | Decision::Doubt) => format!("{:?}", end.event()),
        }
    }

    fn tried(n_attempts: u32, n_busy: u32, past: Past) -> Tried {
        Tried { n_attempts, n_busy, past }
    }

    #[test]
    fn every_reply_has_its_consequence() {
        let (first, second, busy) =
            (tried(1, 0, Past::Untried), tried(2, 0, Past::Tried), tried(2, 1, Past::Busy));
        let table = [
            (Reply::Accepted { msgid: Some(7) }, first, "accept Some(7)"),
            (Reply::Accepted { msgid: None }, busy, "accept None"),
            (Reply::NoConsent, first, "Refuse"),
            (Reply::NoConsent, busy, "Refuse"),
            (Reply::Busy, first, "wait 1000 Busy"),
            (Reply::Busy, busy, "wait 2000 Busy"),
            (Reply::Busy, tried(3, 2, Past::Busy), "wait 4000 Busy"),
            (Reply::Busy, tried(4, 3, Past::Busy), "Doubt"),
            (Reply::Busy, tried(9, 0, Past::Tried), "wait 1000 Busy"),
            (Reply::Concurrent, first, "wait 1000 Tried"),
            (Reply::Concurrent, second, "wait 2000 Tried"),
            (Reply::Concurrent, busy, "wait 2000 Busy"),
            (Reply::Concurrent, tried(90, 0, Past::Tried), "wait 4000 Tried"),
            (Reply::RateLimited { errcode: 44_990 }, first, "wait 1000 Tried"),
            (Reply::RateLimited { errcode: 44_990 }, tried(90, 0, Past::Tried), "wait 4000 Tried"),
            (Reply::RateLimited { errcode: 45_011 }, first, "wait 3500 Tried"),
            (Reply::QuotaUsedUp, first, "wait 12303500 Tried"), // until 16:00 in UTC
            (Reply::TokenRefused { errcode: 40_001 }, first, "wait 500 Tried"),
            (Reply::NoToken, second, "wait 1000 Tried"),
            (Reply::AppBad { errcode: 48_001 }, busy, "wait 1000 Busy"),
            (Reply::AppBad { errcode: 48_001 }, tried(8, 0, Past::Tried), "wait 60000 Tried"),
            (Reply::NotConnected, first, "wait 500 Tried"),
            (Reply::NotConnected, second, "wait 1000 Tried"),
            (Reply::NotConnected, tried(8, 0, Past::Tried), "wait 60000 Tried"),
            (Reply::NotConnected, tried(u32::MAX, 0, Past::Tried), "wait 60000 Tried"),
            (Reply::RecipientBad { errcode: 40_003 }, first, "fail 40003"),
            (Reply::MessageBad { errcode: 47_003, key: None }, first, "fail 47003"),
            (Reply::TemplateBad { errcode: 40_037 }, second, "fail 40037"),
            (Reply::UnknownCode { errcode: 85_107 }, first, "fail 85107"),
            (Reply::Unanswered, first, "Doubt"),
        ];
        for (reply, tried, expected) in table {
            assert_eq!(outcome(&reply, tried, 0), expected, "{reply:?} after {tried:?}");
        }
    }

    #[test]
    fn jitter_only_lengthens_and_the_deadline_bounds() {
        let first = tried(1, 0, Past::Untried);
        for reply in [Reply::Busy, Reply::Concurrent, Reply::RateLimited { errcode: 44_990 }] {
            for jitter in [0, 1, 499, u64::MAX] {
                let Decision::Wait { at, .. } =
                    decide(&reply, first, now(), now() + TimeDelta::days(1), jitter)
                else {
                    panic!("{reply:?} waits")
                };
                let wait = (at - now()).num_milliseconds();
                assert!((1000..=5000).contains(&wait), "{reply:?}: {wait}");
            }
        }
        let deadline = now() + TimeDelta::minutes(30);
        let late = decide(&Reply::QuotaUsedUp, first, now(), deadline, 5);
        let past_it = deadline + TimeDelta::milliseconds(1);
        assert_eq!(late, Decision::Wait { at: past_it, past: Past::Tried });
    }

    #[test]
    fn what_follows_is_legal_and_a_busy_one_ends_as_sent_or_in_doubt() {
        let replies = [
            Reply::Accepted { msgid: None },
            Reply::NoConsent,
            Reply::Busy,
            Reply::NotConnected,
            Reply::MessageBad { errcode: 47_003, key: None },
            Reply::Unanswered,
        ];
        for reply in replies {
            for tried in [tried(1, 0, Past::Untried), tried(4, 3, Past::Busy)] {
                let decision = decide(&reply, tried, now(), now() + TimeDelta::days(1), 0);
                let (state, effect) =
                    step(State::Attempting, tried.past, decision.event()).expect("legal while attempting");
                if tried.past == Past::Busy {
                    let kept = [(State::InDoubt, Effect::Keep), (State::Waiting, Effect::Keep)];
                    let sent = (State::Sent, Effect::Consume);
                    assert!(
                        kept.contains(&(state, effect)) || sent == (state, effect),
                        "{reply:?}: {state:?}"
                    );
                }
            }
        }
    }
}
