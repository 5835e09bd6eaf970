//! When one person's message may leave: not before his turn, not in quiet hours, and not after its grace.
//!
//! The turn is a pure function of rule, person, due time and now, so it is the same at the walk, when it comes, and
//! after a restart. Whether there is a consent then is not asked here.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::quiet::{self, Night};
use super::spread;
use crate::domain::id::OpenId;
use crate::domain::occurrence::SkipReason;
use crate::domain::recipient::Profile;
use crate::domain::rule::{AtNight, Rule};
use crate::domain::zone::Zone;

/// Over how long at least messages leave that waited for the end of quiet hours, each person in his place.
const RELEASED_OVER: Duration = Duration::from_secs(30);

/// The time within which one message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The first instant at which its request may start.
    pub at: DateTime<Utc>,
    /// The last one.
    pub deadline: DateTime<Utc>,
    /// Where quiet hours come between, the time after them.
    pub after_night: Option<Span>,
    /// Whether quiet hours moved it to here.
    pub moved: bool,
}

/// A span of instants, both ends within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub at: DateTime<Utc>,
    /// Its last one.
    pub deadline: DateTime<Utc>,
}

/// Of whom a turn is asked.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// He keeps his place in what is spread.
    pub openid: &'a OpenId,
    /// By whose clock quiet hours are read.
    pub zone: Zone,
}

impl<'a> Person<'a> {
    /// A recipient of `rule`.
    #[must_use]
    pub fn new(rule: &Rule, openid: &'a OpenId, profile: &Profile) -> Self {
        Self { openid, zone: profile.time_zone.unwrap_or(rule.zone) }
    }
}

/// The turn of a person in what is due at `due_at`, as it looks at `now`; nothing leaves after `end`.
///
/// What is late leaves when it is found; where that is in quiet hours, they decide.
///
/// # Errors
/// [`SkipReason::Quiet`]: his time is in quiet hours, and it is not worth while to hold it.
pub fn turn(
    rule: &Rule,
    person: Person<'_>,
    due_at: DateTime<Utc>,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Turn, SkipReason> {
    let offset = spread::offset(&rule.id, person.openid, rule.spread);
    // A reminder that was opened late has its grace from then on; its end says when that was, at the earliest.
    let begins = end.checked_sub_signed(longest(rule)).map_or(due_at, |begins| begins.max(due_at));
    let span = Span {
        at: later(due_at, offset),
        deadline: later(later(begins, offset), delta(rule.grace)).min(end),
    };
    outside_nights(rule, person, span, end, now)
}

/// The turn of what was held until `at`, as it looks at `now`; nothing leaves after `end`.
///
/// # Errors
/// As [`turn`].
pub fn held(
    rule: &Rule,
    person: Person<'_>,
    at: DateTime<Utc>,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Turn, SkipReason> {
    let span = Span { at, deadline: later(at, delta(rule.grace)).min(end) };
    outside_nights(rule, person, span, end, now)
}

/// Since when what is held until `at` could be sent, where rules want one consent: the end of the quiet hours behind
/// which each has its place, so that nobody's place decides.
#[must_use]
pub fn since(rule: &Rule, person: Person<'_>, at: DateTime<Utc>) -> DateTime<Utc> {
    let Some(hours) = rule.quiet else { return at };
    let morning = at - place(rule, person);
    let before = morning - TimeDelta::milliseconds(1);
    match quiet::night(&hours, person.zone, before) {
        Some(night) if night.from <= before && night.to == morning => morning,
        Some(_) | None => at,
    }
}

/// How long after the end of quiet hours he has his place.
fn place(rule: &Rule, person: Person<'_>) -> TimeDelta {
    spread::offset(&rule.id, person.openid, rule.spread.max(RELEASED_OVER))
}

/// The end of all turns of what begins at `begins`.
#[must_use]
pub fn end(rule: &Rule, begins: DateTime<Utc>) -> DateTime<Utc> {
    later(begins, longest(rule))
}

fn outside_nights(
    rule: &Rule,
    person: Person<'_>,
    span: Span,
    end: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Turn, SkipReason> {
    let Span { at, deadline } = span;
    let whole = Turn { at, deadline, after_night: None, moved: false };
    let Some(hours) = rule.quiet else { return Ok(whole) };
    // What is too late anyway is not moved.
    let leaves = if now <= deadline { at.max(now) } else { at };
    let Some(night) = quiet::night(&hours, person.zone, leaves) else { return Ok(whole) };
    let behind = || after(rule, person, night, end);
    match hours.then {
        _ if leaves < night.from && deadline < night.from => Ok(whole),
        then if leaves < night.from => {
            let deadline = night.from - TimeDelta::milliseconds(1);
            let after_night = if then == AtNight::Hold { behind() } else { None };
            Ok(match after_night.filter(|_| now > deadline) {
                Some(Span { at, deadline }) => Turn { at, deadline, after_night: None, moved: true },
                None => Turn { at, deadline, after_night, moved: false },
            })
        }
        AtNight::Skip => Err(SkipReason::Quiet),
        AtNight::Hold => match behind() {
            Some(Span { at, deadline }) => Ok(Turn { at, deadline, after_night: None, moved: true }),
            None => Err(SkipReason::Quiet),
        },
    }
}

/// The time after a night; `None` when that is too late for it.
fn after(rule: &Rule, person: Person<'_>, night: Night, end: DateTime<Utc>) -> Option<Span> {
    let hours = rule.quiet?;
    // Not all of them at once.
    let staggered = later(night.to, place(rule, person));
    let next = quiet::night(&hours, person.zone, night.to);
    let at = if next.is_some_and(|next| staggered >= next.from) { night.to } else { staggered };
    let until = next.map_or(end, |next| next.from - TimeDelta::milliseconds(1));
    (at <= end).then(|| Span { at, deadline: later(at, delta(rule.grace)).min(end).min(until) })
}

/// How long after its due time a message of the rule may leave at most.
fn longest(rule: &Rule) -> TimeDelta {
    let by_day = delta(rule.spread.saturating_add(rule.grace));
    let by_night = rule.quiet.filter(|quiet| quiet.then == AtNight::Hold).map(|quiet| {
        // Found at the end of its grace, held over the night, and its grace anew.
        let behind = rule.spread.max(RELEASED_OVER).saturating_add(rule.grace);
        quiet::longest(&quiet) + delta(behind)
    });
    by_day.checked_add(&by_night.unwrap_or_default()).unwrap_or(TimeDelta::MAX)
}

fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}

fn later(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveTime;

    use super::*;
    use crate::domain::id::RuleId;
    use crate::domain::rule::Quiet;
    use crate::plan::tests_support::rule;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn by_night(then: AtNight) -> Rule {
        let time = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("a time of day");
        let quiet = Some(Quiet { from: time(22), to: time(8), then });
        Rule { quiet, grace: Duration::from_mins(30), id: RuleId::parse("r").expect("an id"), ..rule() }
    }

    /// The turn in Shanghai of what is due and looked at then; times of day in UTC: its night is 14:00–00:00.
    fn at(rule: &Rule, due_at: &str, now: &str) -> Result<Turn, SkipReason> {
        let openid = OpenId::parse("oSomebody-00001").expect("an openid");
        let person = Person { openid: &openid, zone: Zone::SHANGHAI };
        let due_at = utc(due_at);
        turn(rule, person, due_at, end(rule, due_at), utc(now))
    }

    #[test]
    fn a_message_waits_for_the_end_of_the_night_or_does_not_leave() {
        let (hold, skip) = (by_night(AtNight::Hold), by_night(AtNight::Skip));
        for day in ["2026-11-27T13:20:00Z", "2026-11-27T00:00:00Z"] {
            let plain = Turn {
                at: utc(day),
                deadline: utc(day) + TimeDelta::minutes(30),
                after_night: None,
                moved: false,
            };
            assert_eq!((at(&hold, day, day), at(&skip, day, day)), (Ok(plain), Ok(plain)), "{day}");
        }
        for night in ["2026-11-27T14:00:00Z", "2026-11-27T23:59:59Z"] {
            let turn = at(&hold, night, night).expect("held");
            let morning = utc("2026-11-28T00:00:00Z");
            let after = turn.at - morning;
            assert!(TimeDelta::zero() <= after && after < TimeDelta::seconds(30), "{night}: {turn:?}");
            assert_eq!((turn.deadline, turn.moved), (turn.at + TimeDelta::minutes(30), true), "{night}");
            assert_eq!(at(&skip, night, night), Err(SkipReason::Quiet), "{night}");
        }
    }

    #[test]
    fn what_is_late_does_not_leave_in_the_night_either() {
        let (hold, skip) = (by_night(AtNight::Hold), by_night(AtNight::Skip));
        let (due, morning) = ("2026-11-27T13:50:00Z", utc("2026-11-28T00:00:00Z"));
        let in_time = at(&hold, due, due).expect("leaves");
        let last = utc("2026-11-27T13:59:59.999Z");
        assert_eq!((in_time.at, in_time.deadline, in_time.moved), (utc(due), last, false));
        let after = in_time.after_night.expect("the morning after");
        assert!(after.at >= morning && after.deadline == after.at + TimeDelta::minutes(30));
        let found = at(&hold, due, "2026-11-27T14:05:00Z").expect("held");
        assert_eq!((found.at, found.deadline, found.moved), (after.at, after.deadline, true));
        let skipped = at(&skip, due, due).expect("leaves");
        assert_eq!((skipped.deadline, skipped.after_night), (last, None));
        assert_eq!(at(&skip, due, "2026-11-27T14:05:00Z"), Err(SkipReason::Quiet));
    }

    #[test]
    fn nothing_is_held_beyond_its_end() {
        let rule = by_night(AtNight::Hold);
        let openid = OpenId::parse("oSomebody-00001").expect("an openid");
        let person = Person { openid: &openid, zone: Zone::SHANGHAI };
        let due_at = utc("2026-11-27T15:00:00Z");
        let visit = utc("2026-11-27T23:00:00Z");
        assert_eq!(turn(&rule, person, due_at, visit, due_at), Err(SkipReason::Quiet));
        let later = utc("2026-11-28T01:00:00Z");
        assert!(turn(&rule, person, due_at, later, due_at).is_ok_and(|turn| turn.deadline <= later));
    }

    #[test]
    fn those_who_waited_leave_one_by_one() {
        let rule = by_night(AtNight::Hold);
        let due_at = utc("2026-11-27T15:00:00Z");
        let mut seconds = std::collections::BTreeSet::new();
        for n in 0..200 {
            let openid = OpenId::parse(&format!("oSomebody-{n:05}")).expect("an openid");
            let person = Person { openid: &openid, zone: Zone::SHANGHAI };
            let turn = turn(&rule, person, due_at, end(&rule, due_at), due_at).expect("held");
            assert_eq!(since(&rule, person, turn.at), utc("2026-11-28T00:00:00Z"), "the same for all");
            let again = held(&rule, person, turn.at, end(&rule, due_at), turn.at).expect("its turn");
            assert_eq!((again.at, again.deadline), (turn.at, turn.deadline), "the same when it comes");
            seconds.insert(turn.at.timestamp());
        }
        assert!(seconds.len() > 25, "{} seconds", seconds.len());
    }
}
