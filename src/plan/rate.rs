//! How fast an app may send: what its configuration allows at most, and less after the platform has complained.
//!
//! The platform's limits are not documented, so they are found out: a complaint halves the rate, and while there is none it
//! grows by the same step each second, up to the ceiling, or where there is none for ever.
//! How long one message waits is decided in `retry`.

use std::time::Duration;

/// Complaints so shortly after one another are one: what was on the way together.
const ONE_COMPLAINT: Duration = Duration::from_secs(1);
/// In so many seconds half of the rate is grown again.
const GROWS_IN: u32 = 30;

/// The rate of one app, in messages a second. Instants are of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    lowered: Option<Lowered>,
}

/// A rate that was complained of.
#[derive(Clone, Copy, Debug)]
struct Lowered {
    /// What was allowed right after.
    to: u32,
    /// What it grows by in a second.
    step: u32,
    at: Duration,
}

impl Rate {
    /// How many may start within a second, of `ceiling` at most; `None` where nothing limits it.
    #[must_use]
    pub fn allowed(&self, ceiling: Option<u32>, now: Duration) -> Option<u32> {
        self.lowered.map(|lowered| lowered.grown(now)).into_iter().chain(ceiling).min()
    }

    /// The platform complains, after so many starts within the last second; answers what is allowed from now on, where that
    /// has changed.
    pub fn complain(&mut self, n_started: u32, ceiling: Option<u32>, now: Duration) -> Option<u32> {
        if self.lowered.is_some_and(|lowered| now.saturating_sub(lowered.at) < ONE_COMPLAINT) {
            return None;
        }
        let was = self.allowed(ceiling, now).map_or(n_started, |allowed| allowed.min(n_started.max(1)));
        let to = (was / 2).max(1);
        self.lowered = Some(Lowered { to, step: to.div_ceil(GROWS_IN), at: now });
        Some(to)
    }

    /// Nothing starts before `until`: a lowered rate grows from then on.
    pub fn rests(&mut self, until: Duration) {
        if let Some(lowered) = &mut self.lowered {
            lowered.at = lowered.at.max(until);
        }
    }
}

impl Lowered {
    fn grown(&self, now: Duration) -> u32 {
        let seconds = u32::try_from(now.saturating_sub(self.at).as_secs()).unwrap_or(u32::MAX);
        self.to.saturating_add(self.step.saturating_mul(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_complaint_halves_and_each_second_adds_the_same() {
        let mut rate = Rate::default();
        assert_eq!(rate.allowed(Some(100), s(5)), Some(100));
        assert_eq!(rate.complain(100, Some(100), s(10)), Some(50));
        assert_eq!(rate.complain(100, Some(100), s(10)), None, "what was on the way together");
        let grown = [(10, 50), (11, 52), (12, 54), (20, 70), (34, 98), (35, 100), (900, 100)];
        for (at, allowed) in grown {
            assert_eq!(rate.allowed(Some(100), s(at)), Some(allowed), "at {at}");
        }
        // While it rests it does not grow.
        let mut resting = rate;
        assert_eq!(resting.complain(100, Some(100), s(900)), Some(50));
        resting.rests(s(960));
        for (at, allowed) in [(900, 50), (959, 50), (960, 50), (961, 52), (985, 100)] {
            assert_eq!(resting.allowed(Some(100), s(at)), Some(allowed), "at {at}");
        }
        // Half of what was really sent, also where more was allowed.
        assert_eq!(rate.complain(20, Some(100), s(900)), Some(10));
        assert_eq!(rate.complain(10, Some(100), s(901)), Some(5));
        for at in 902..910 {
            rate.complain(1, Some(100), s(at));
        }
        assert_eq!(rate.allowed(Some(100), s(909)), Some(1), "one a second at least");
        assert_eq!(rate.allowed(Some(100), s(912)), Some(4));
    }

    #[test]
    fn without_a_ceiling_it_grows_for_ever() {
        let mut rate = Rate::default();
        assert_eq!(rate.allowed(None, s(0)), None);
        assert_eq!(rate.complain(60, None, s(0)), Some(30));
        for (at, allowed) in [(0, 30), (30, 60), (90, 120), (u64::MAX / 2, u32::MAX)] {
            assert_eq!(rate.allowed(None, s(at)), Some(allowed), "at {at}");
        }
        assert_eq!(rate.complain(0, None, s(95)), Some(1), "a complaint out of the blue");
    }

    #[test]
    fn a_ceiling_that_is_lowered_holds_at_once() {
        let mut rate = Rate::default();
        rate.complain(100, Some(100), s(0));
        assert_eq!(rate.allowed(Some(10), s(1)), Some(10));
        assert_eq!(rate.allowed(Some(1000), s(100)), Some(250), "below it, it grows on");
    }
}
