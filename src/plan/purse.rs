//! What somebody's grants of one template carry, due time after due time: what was given for an appointment waits for it,
//! as it does when the time comes.

use chrono::{DateTime, Utc};

/// Grants at hand, for a look ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Purse {
    any: u64,
    kept: Vec<(u64, DateTime<Utc>)>,
}

impl Purse {
    /// So many grants that any message may take.
    #[must_use]
    pub fn of_any(n: u64) -> Self {
        Self { any: n, kept: Vec::new() }
    }

    /// The same, and some for messages about one appointment each, by its name's hash, until it is over.
    #[must_use]
    pub fn new(any: u64, mut kept: Vec<(u64, DateTime<Utc>)>) -> Self {
        kept.sort_unstable();
        Self { any, kept }
    }

    /// Takes one for a message due at `at`, about `own` where it is about an appointment; false without one.
    pub fn spend(&mut self, own: Option<u64>, at: DateTime<Utc>) -> bool {
        let its = self.kept.iter().position(|(name, _)| Some(*name) == own);
        let over = || self.kept.iter().position(|(_, until)| *until < at);
        match its {
            None if self.any > 0 => self.any -= 1,
            None => match over() {
                Some(index) => drop(self.kept.remove(index)),
                None => return false,
            },
            Some(index) => drop(self.kept.remove(index)),
        }
        true
    }

    /// How many wait for appointments to come.
    #[must_use]
    pub fn n_kept(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).expect("in range")
    }

    #[test]
    fn what_waits_for_an_appointment_is_spent_on_it_or_after_it() {
        let (a, b, c) = (1, 2, 3);
        let mut purse = Purse::new(1, vec![(b, at(200)), (a, at(100))]);
        assert!(purse.spend(None, at(10)));
        assert!(!purse.spend(None, at(10)), "the others wait");
        assert!(!purse.spend(Some(c), at(100)));
        assert!(purse.spend(Some(b), at(11)));
        assert!(purse.spend(None, at(101)), "the appointment is over");
        assert!(!purse.spend(Some(a), at(102)));
    }
}
