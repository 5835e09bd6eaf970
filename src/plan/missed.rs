//! What becomes of due times that are found late: opened, or recorded as missed.
//!
//! Grace decides first, always; the rule's policy chooses among those that grace leaves. Who is told,
//! and that each is judged once, is the scheduler's business.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::occurrence::Due;
use crate::domain::rule::MissedPolicy;

/// How late a due time may be found under `missed: skip`.
pub const SKIP_AFTER: TimeDelta = TimeDelta::seconds(60);

/// What becomes of a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its occurrence is opened.
    Open,
    /// It is recorded as missed.
    Missed,
}

/// Judges all due times found since the cursor; the order stays.
///
/// `dues` must be complete and ascending: where a window gave [`MAX_OCCURRENCES`], the next windows are
/// joined first, else `latest` opens one of each. A due time exactly `grace` ago is still in time.
///
/// [`MAX_OCCURRENCES`]: super::recurrence::MAX_OCCURRENCES
#[must_use]
pub fn judge(dues: &[Due], grace: Duration, policy: MissedPolicy, now: DateTime<Utc>) -> Vec<(Due, Verdict)> {
    let grace = TimeDelta::from_std(grace).unwrap_or(TimeDelta::MAX);
    let (allowed, newest) = match policy {
        MissedPolicy::Latest => (grace, 1),
        MissedPolicy::All { max } => (grace, usize::try_from(max).unwrap_or(usize::MAX)),
        MissedPolicy::Skip => (grace.min(SKIP_AFTER), usize::MAX),
    };
    let in_time = |due: &Due| now - due.at <= allowed;
    let mut to_drop = dues.iter().filter(|due| in_time(due)).count().saturating_sub(newest);
    let judged = dues.iter().map(|due| {
        if !in_time(due) {
            return (*due, Verdict::Missed);
        }
        let verdict = if to_drop > 0 { Verdict::Missed } else { Verdict::Open };
        to_drop = to_drop.saturating_sub(1);
        (*due, verdict)
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: MissedPolicy, grace_min: u64, late_s: &[i64]) -> String {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let due = |late: &i64| {
            let at = now - TimeDelta::seconds(*late);
            Due { at, civil: at.naive_utc(), fold: 0 }
        };
        let dues: Vec<Due> = late_s.iter().map(due).collect();
        let judged = judge(&dues, Duration::from_mins(grace_min), policy, now);
        assert!(judged.iter().map(|(due, _)| due).eq(&dues), "the order stays");
        let letter = |(_, verdict): &(Due, Verdict)| match verdict {
            Verdict::Open => 'o',
            Verdict::Missed => 'm',
        };
        judged.iter().map(letter).collect()
    }

    #[test]
    fn grace_goes_first_and_the_policy_chooses_among_the_rest() {
        const DAY: i64 = 86_400;
        let all = |max| MissedPolicy::All { max };
        let table = [
            (
                "three days down, back in time",
                MissedPolicy::Latest,
                30,
                &[3 * DAY, 2 * DAY, DAY, 600][..],
                "mmmo",
            ),
            ("three days down, back too late", MissedPolicy::Latest, 30, &[2 * DAY, DAY, 7200], "mmm"),
            ("exactly grace is in time", MissedPolicy::Latest, 30, &[1800], "o"),
            ("a second more is late", MissedPolicy::Latest, 30, &[1801], "m"),
            ("five hourly ones", all(3), 600, &[18_000, 14_400, 10_800, 7200, 3600], "mmooo"),
            ("grace leaves fewer than max", all(3), 60, &[18_000, 14_400, 3600], "mmo"),
            ("skip within a minute", MissedPolicy::Skip, 30, &[61, 60, 1], "moo"),
            ("nothing is due", MissedPolicy::Latest, 30, &[], ""),
        ];
        for (what, policy, grace, late, expected) in table {
            assert_eq!(check(policy, grace, late), expected, "{what}");
        }
    }
}
