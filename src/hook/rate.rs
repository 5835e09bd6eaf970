//! How often somebody may do something: token buckets, bounded in number.
//!
//! A bucket is one number, the time at which it will be full again. Those that were used least
//! recently are forgotten first; a forgotten bucket is a full one, so a flood of fresh names can at
//! most give somebody his whole burst again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Mutex;
use std::time::Duration;

/// Most buckets of one kind: two halves of 50,000 small entries are a few megabytes.
const BUCKETS: usize = 100_000;

/// Buckets of one kind, one for each key.
#[derive(Debug)]
pub(super) struct Buckets {
    burst: u32,
    refill: Duration,
    half: usize,
    hasher: RandomState,
    full_at: Mutex<Halves>,
}

/// The buckets used since the last turn, and those of the turn before.
#[derive(Debug, Default)]
struct Halves {
    young: HashMap<u64, Duration>,
    old: HashMap<u64, Duration>,
}

impl Buckets {
    /// Buckets that hold `burst` tokens and refill all of them in `period`.
    pub(super) fn new(burst: u32, period: Duration) -> Self {
        Self::bounded(burst, period, BUCKETS)
    }

    fn bounded(burst: u32, period: Duration, most: usize) -> Self {
        let refill = period / burst;
        Self { burst, refill, half: most / 2, hasher: RandomState::new(), full_at: Mutex::default() }
    }

    /// Takes a token of `key` at `now`, a time of one monotonic clock.
    ///
    /// # Errors
    /// How long until there is one; nothing was taken.
    pub(super) fn take(&self, key: impl Hash, now: Duration) -> Result<(), Duration> {
        // A keyed hash stands for the key: nobody can choose two names that share a bucket.
        let key = self.hasher.hash_one(key);
        let mut halves = self.full_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Halves { young, old } = &mut *halves;
        let known = young.get(&key).or_else(|| old.get(&key)).copied();
        let full_at = known.unwrap_or_default().max(now) + self.refill;
        let empty_until = full_at.saturating_sub(self.refill * self.burst);
        if empty_until > now {
            return Err(empty_until.saturating_sub(now));
        }
        if young.len() >= self.half && !young.contains_key(&key) {
            *old = std::mem::take(young);
        }
        young.insert(key, full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_for_each_refill() {
        let buckets = Buckets::new(10, 60 * SECOND);
        for _ in 0..10 {
            assert_eq!(buckets.take("a", SECOND), Ok(()));
        }
        assert_eq!(buckets.take("a", SECOND), Err(6 * SECOND));
        assert_eq!(buckets.take("b", SECOND), Ok(()), "somebody else");
        assert_eq!(buckets.take("a", 6 * SECOND), Err(SECOND), "a refusal takes nothing");
        assert_eq!(buckets.take("a", 7 * SECOND), Ok(()));
        assert_eq!(buckets.take("a", 7 * SECOND), Err(6 * SECOND));
    }

    #[test]
    fn a_flood_of_names_is_forgotten_oldest_first_and_what_is_used_stays() {
        let buckets = Buckets::bounded(1, 3600 * SECOND, 100);
        assert_eq!(buckets.take("first", SECOND), Ok(()));
        for name in 0..49 {
            assert_eq!(buckets.take(name, SECOND), Ok(()));
        }
        assert!(buckets.take("first", SECOND).is_err(), "still known");
        for name in 100..10_000 {
            assert_eq!(buckets.take(name, SECOND), Ok(()));
            let halves = buckets.full_at.lock().unwrap();
            assert!(halves.young.len() + halves.old.len() <= 100);
        }
        assert_eq!(buckets.take("first", SECOND), Ok(()), "long forgotten");
    }
}
