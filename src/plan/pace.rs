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
}

/// Whether `n` messages at `per_second` take longer than `grace`.
#[must_use]
pub fn too_slow(n: u64, per_second: u32, grace: Duration) -> Option<TooSlow> {
    let takes = Duration::from_secs(n.div_ceil(u64::from(per_second.max(1))));
    (takes > grace).then_some(TooSlow { n, per_second, takes, grace })
}

impl TooSlow {
    /// A sentence about it.
    #[must_use]
    pub fn said(&self) -> Said {
        let Self { n, per_second, takes, grace } = *self;
        let (takes, grace) = (words::span(takes), words::span(grace));
        Said::new(
            format!(
                "{n} recipients at {per_second} a second take {}, but `grace` is {}: the last ones would expire",
                takes.en, grace.en
            ),
            format!(
                "{n} 人按每秒 {per_second} 条要发 {}，而 `grace` 只有 {}：后面的人会因过期收不到",
                takes.zh, grace.zh
            ),
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
            assert_eq!(too_slow(n, per_second, half_hour).is_some(), slow, "{n} at {per_second}");
        }
    }
}
