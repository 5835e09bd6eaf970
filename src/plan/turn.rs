//! When one person's message may leave: not before his turn, and not after its grace.
//!
//! The turn is a pure function of rule, person and due time, so it is the same at the walk, when it comes, and after
//! a restart. Whether there is a consent then is not asked here.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::spread;
use crate::domain::id::OpenId;
use crate::domain::rule::Rule;

/// The time within which one message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The first instant at which its request may start.
    pub at: DateTime<Utc>,
    /// The last one.
    pub deadline: DateTime<Utc>,
}

/// The turn of `openid` in what is due at `due_at`; nothing leaves after `end`.
#[must_use]
pub fn turn(rule: &Rule, openid: &OpenId, due_at: DateTime<Utc>, end: DateTime<Utc>) -> Turn {
    let offset = spread::offset(&rule.id, openid, rule.spread);
    // A reminder that was opened late has its grace from then on; its end says when that was, at the earliest.
    let begins = end.checked_sub_signed(longest(rule)).map_or(due_at, |begins| begins.max(due_at));
    Turn { at: later(due_at, offset), deadline: deadline(rule, later(begins, offset), end) }
}

/// The last instant for a message whose turn is at `at`; nothing leaves after `end`.
#[must_use]
pub fn deadline(rule: &Rule, at: DateTime<Utc>, end: DateTime<Utc>) -> DateTime<Utc> {
    later(at, delta(rule.grace)).min(end)
}

/// The end of all turns of what begins at `begins`.
#[must_use]
pub fn end(rule: &Rule, begins: DateTime<Utc>) -> DateTime<Utc> {
    later(begins, longest(rule))
}

/// How long after its due time a message of the rule may leave at most.
fn longest(rule: &Rule) -> TimeDelta {
    delta(rule.spread.saturating_add(rule.grace))
}

fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}

fn later(at: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
