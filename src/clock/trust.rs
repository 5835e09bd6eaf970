//! Whether the wall clock can be believed: it is compared with the monotonic clock at each look, and with
//! the latest instant it ever showed.
//!
//! A pure decision: readings come in, a standing comes out. A clock that is merely unsynchronised is
//! believed; one before the build date or before what it showed already is not, until it has caught up, and
//! one that jumped far ahead not at once, as time synchronisation may be about to take it back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How far the wall clock may go back, such as by time synchronisation, before nothing is sent.
const MAX_BACK: TimeDelta = TimeDelta::minutes(5);
/// The farthest jump ahead that is believed at once: a suspended machine, a corrected clock.
const MAX_AHEAD: TimeDelta = TimeDelta::hours(6);
/// How long a farther one is not believed.
const DOUBTED_FOR: Duration = Duration::from_mins(2);
/// The least difference between the two clocks that is a step; slewing (at most 0.5 ms a second) is far below.
const STEP: TimeDelta = TimeDelta::milliseconds(500);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The wall clock.
    pub(super) wall: DateTime<Utc>,
    /// The monotonic clock.
    pub(super) elapsed: Duration,
}

/// Whether the wall clock can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Believed,
    /// It shows a time that has long been; until then nothing is sent.
    Behind {
        /// The latest instant that is known to have been.
        until: DateTime<Utc>,
    },
    /// It has just jumped ahead by so much.
    Jumped {
        /// How far.
        by: TimeDelta,
    },
}

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether it can be believed.
    pub standing: Standing,
    /// How often it was stepped.
    pub n_steps: u64,
    /// By how much the last time.
    pub last_step: TimeDelta,
}

/// What a judgement rests on.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// No instant before this is now.
    high: DateTime<Utc>,
    last: Option<Reading>,
    /// The last reading that was believed.
    anchor: Option<Reading>,
    /// When a jump was first seen, by the monotonic clock.
    jumped_at: Option<Duration>,
    trust: Trust,
}

impl Judge {
    /// Knows that `high` has been.
    pub(super) fn new(high: DateTime<Utc>) -> Self {
        let trust = Trust { standing: Standing::Believed, n_steps: 0, last_step: TimeDelta::zero() };
        Self { high, last: None, anchor: None, jumped_at: None, trust }
    }

    /// Judges another reading.
    pub(super) fn look(&mut self, now: Reading) -> Trust {
        if let Some(last) = self.last.replace(now) {
            let step = apart(last, now);
            if step.abs() > STEP {
                self.trust.n_steps += 1;
                self.trust.last_step = step;
            }
        }
        let caught_up = match self.trust.standing {
            Standing::Behind { .. } => now.wall >= self.high,
            Standing::Believed | Standing::Jumped { .. } => {
                self.high.checked_sub_signed(MAX_BACK).is_none_or(|least| now.wall >= least)
            }
        };
        let ahead = self.anchor.map(|anchor| apart(anchor, now)).filter(|ahead| *ahead > MAX_AHEAD);
        self.trust.standing = match ahead {
            _ if !caught_up => {
                self.jumped_at = None;
                Standing::Behind { until: self.high }
            }
            Some(by) if now.elapsed < *self.jumped_at.get_or_insert(now.elapsed) + DOUBTED_FOR => {
                Standing::Jumped { by }
            }
            Some(_) | None => {
                self.believe(now);
                Standing::Believed
            }
        };
        self.trust
    }

    fn believe(&mut self, now: Reading) {
        self.high = self.high.max(now.wall);
        self.anchor = Some(now);
        self.jumped_at = None;
    }

    /// Takes a reading as right, on the word of an operator.
    pub(super) fn accept(&mut self, now: Reading) -> Trust {
        self.high = now.wall;
        self.last = Some(now);
        self.believe(now);
        self.trust.standing = Standing::Believed;
        self.trust
    }

    /// The latest instant that was believed; `None` when none was.
    pub(super) fn mark(&self) -> Option<DateTime<Utc>> {
        self.anchor.map(|_| self.high)
    }

    /// What time it is, as far as can be told: a wall clock that is not believed is replaced by the latest
    /// known instant and the time that went by since.
    pub(super) fn reckon(&self, now: Reading) -> DateTime<Utc> {
        match (self.trust.standing, self.anchor) {
            (Standing::Believed, _) => now.wall,
            (Standing::Behind { .. } | Standing::Jumped { .. }, Some(anchor)) => {
                anchor.wall + passed(anchor, now)
            }
            (Standing::Behind { .. } | Standing::Jumped { .. }, None) => self.high,
        }
    }
}

/// By how much the wall clock went ahead of the monotonic one between two readings.
fn apart(from: Reading, to: Reading) -> TimeDelta {
    (to.wall - from.wall) - passed(from, to)
}

fn passed(from: Reading, to: Reading) -> TimeDelta {
    TimeDelta::from_std(to.elapsed.saturating_sub(from.elapsed)).unwrap_or(TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2027-03-{text}Z").parse().expect("an instant")
    }

    #[test]
    fn a_clock_is_believed_or_not() {
        const OK: &str = "believed";
        // Seconds since the start by the monotonic clock, the wall clock, and what is thought of it. What has been is 02T08:00.
        type Looks = &'static [(u64, &'static str, &'static str)];
        let table: [Looks; 9] = [
            // Time goes by; NTP steps it a little (T50).
            &[
                (0, "02T08:00:00", OK),
                (60, "02T08:01:00", OK),
                (61, "02T08:00:59", OK),
                (62, "02T08:01:02", OK),
            ],
            // An hour back (T48), and caught up.
            &[
                (0, "02T09:00:00", OK),
                (1, "02T08:00:01", "behind"),
                (3540, "02T08:59:59", "behind"),
                (3541, "02T09:00:00", OK),
            ],
            // Less than five minutes back.
            &[(0, "02T09:00:00", OK), (1, "02T08:55:01", OK), (2, "02T08:54:59", "behind")],
            // An hour ahead (T49), 40 minutes asleep (T51).
            &[(0, "02T09:00:00", OK), (1, "02T10:00:01", OK), (2, "02T10:40:02", OK)],
            // Seven hours ahead, for two minutes, and then it is so.
            &[
                (0, "02T09:00:00", OK),
                (1, "02T16:00:01", "jumped"),
                (120, "02T16:02:00", "jumped"),
                (121, "02T16:02:01", OK),
            ],
            // Seven hours ahead, and taken back by time synchronisation.
            &[(0, "02T09:00:00", OK), (1, "02T16:00:01", "jumped"), (60, "02T09:01:00", OK)],
            // A start with a clock that has not been set (T60), and then it is.
            &[(0, "01T00:00:00", "behind"), (9, "01T00:00:09", "behind"), (10, "09T09:00:00", OK)],
            // A start after a week away is no jump.
            &[(0, "09T09:00:00", OK), (1, "09T09:00:01", OK)],
            // Back and far ahead.
            &[
                (0, "02T09:00:00", OK),
                (1, "02T08:00:00", "behind"),
                (2, "03T08:00:00", "jumped"),
                (3, "02T09:00:03", OK),
            ],
        ];
        for looks in table {
            let mut judge = Judge::new(at("02T08:00:00"));
            for (elapsed, wall, expected) in looks {
                let reading = Reading { wall: at(wall), elapsed: Duration::from_secs(*elapsed) };
                let found = match judge.look(reading).standing {
                    Standing::Believed => OK,
                    Standing::Behind { .. } => "behind",
                    Standing::Jumped { .. } => "jumped",
                };
                assert_eq!(found, *expected, "at {elapsed} s of {looks:?}");
            }
        }
    }

    #[test]
    fn what_is_not_believed_is_reckoned_and_marks_nothing() {
        let mut judge = Judge::new(at("02T08:00:00"));
        let reading = |elapsed, wall| Reading { wall: at(wall), elapsed: Duration::from_secs(elapsed) };
        judge.look(reading(0, "01T00:00:00"));
        assert_eq!((judge.mark(), judge.reckon(reading(5, "01T00:00:05"))), (None, at("02T08:00:00")));
        let trust = judge.look(reading(10, "02T09:00:00"));
        assert_eq!((judge.mark(), trust.n_steps), (Some(at("02T09:00:00")), 1));
        let trust = judge.look(reading(20, "20T09:00:10"));
        assert_eq!((trust.n_steps, trust.last_step), (2, TimeDelta::days(18)));
        assert_eq!(judge.mark(), Some(at("02T09:00:00")), "it may be taken back");
        assert_eq!(judge.reckon(reading(25, "20T09:00:15")), at("02T09:00:15"));
        assert_eq!(judge.accept(reading(30, "20T09:00:20")).standing, Standing::Believed);
        assert_eq!(judge.mark(), Some(at("20T09:00:20")));
        judge.look(reading(40, "02T09:00:40"));
        judge.accept(reading(41, "02T09:00:41"));
        assert_eq!(judge.mark(), Some(at("02T09:00:41")), "the operator's word counts, also back");
        assert_eq!(judge.look(reading(42, "02T09:00:42")).standing, Standing::Believed);
    }
}
