//! How many requests of an app have started within the last second, and how many may.

use std::collections::VecDeque;
use std::time::Duration;

use crate::plan::rate::Rate;

const SECOND: Duration = Duration::from_secs(1);

/// The pace of one app; instants are of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Starts within the last second.
    starts: VecDeque<Duration>,
    /// How many that may be.
    rate: Rate,
}

impl Pace {
    /// Whether one more may start.
    pub(super) fn lets(&mut self, per_second: Option<u32>, now: Duration) -> bool {
        let n = self.n(now);
        self.rate.allowed(per_second, now).is_none_or(|allowed| n < allowed)
    }

    /// One starts.
    pub(super) fn starts(&mut self, now: Duration) {
        self.starts.push_back(now);
    }

    /// The platform says that it is too fast; answers what is allowed from now on, where that has changed.
    pub(super) fn complain(&mut self, per_second: Option<u32>, now: Duration) -> Option<u32> {
        let n = self.n(now);
        self.rate.complain(n, per_second, now)
    }

    /// Nothing starts before `until`, so what is allowed grows from then on.
    pub(super) fn rests(&mut self, until: Duration) {
        self.rate.rests(until);
    }

    /// How long until fewer have started within a second.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        let start = self.starts.front()?;
        Some((*start + SECOND).saturating_sub(now).max(Duration::from_millis(1)))
    }

    fn n(&mut self, now: Duration) -> u32 {
        while self.starts.front().is_some_and(|start| now.saturating_sub(*start) >= SECOND) {
            self.starts.pop_front();
        }
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }
}
