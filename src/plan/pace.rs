//! Whether an audience can be served before its messages expire, at the rate that its app allows.
//!
//! How a rate is kept is the sender's business; here it is only foreseen.

use std::time::Duration;

use super::words;
use crate::domain::language::Said;

/// An audience that takes longer than the rule's grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow {
    /// How many recipients.
    pub n: u64,
    /// Requests begun in a second, at most.
    pub per_second: u32,
    /// How long they take at that rate.
    pub takes: Duration,
    /// How late a message may leave.
    pub grace: Duration,
    /// Over how long they are spread.
    pub spread: Duration,
}

/// Whether `n` messages at `per_second` take longer than a rule's `grace` and `spread`.
#[must_use]
pub fn too_slow(n: u64, per_second: u32, grace: Duration, spread: Duration) -> Option<TooSlow> {
    let takes = Duration::from_secs(n.div_ceil(u64::from(per_second.max(1))));
    (takes > grace.saturating_add(spread)).then_some(TooSlow { n, per_second, takes, grace, spread })
}

impl TooSlow {
    /// A sentence about it.
    #[must_use]
    pub fn said(&self) -> Said {
        let Self { n, per_second, takes, grace, spread } = *self;
        let takes = words::span(takes);
        let has = if spread.is_zero() {
            let grace = words::span(grace);
            Said::new(format!("`grace` is {}", grace.en), format!("`grace` 只有 {}", grace.zh))
        } else {
            let both = words::span(grace.saturating_add(spread));
            Said::new(
                format!("`spread` and `grace` together are {}", both.en),
                format!("`spread` 加 `grace` 只有 {}", both.zh),
            )
        };
        Said::new(
            format!(
                "{n} recipients at {per_second} a second take {}, but {}: the last ones would expire",
                takes.en, has.en
            ),
            format!("{n} 人按每秒 {per_second} 条要发 {}，而 {}：后面的人会因过期收不到", takes.zh, has.zh),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_fits_into_its_grace_or_not() {
        let half_hour = Duration::from_mins(30);
        for (n, per_second, slow) in
            [(0, 1, false), (1800, 1, false), (1801, 1, true), (180_000, 100, false), (180_001, 100, true)]
        {
            assert_eq!(
                too_slow(n, per_second, half_hour, Duration::ZERO).is_some(),
                slow,
                "{n} at {per_second}"
            );
            let both = too_slow(n, per_second, half_hour / 2, half_hour / 2);
            assert_eq!(both.is_some(), slow, "{n} at {per_second}, half of it spread");
        }
    }
}
