//! What a look at a sample of the books found.
//!
//! The proof of all of them at once is [`Fsck`](super::Fsck)'s.

/// Violations that one look tells; more are only more of the same.
const MAX_TOLD: usize = 100;

/// A piece of the books, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Records that were looked at.
    pub looked: u64,
    /// What is wrong, a code and a sentence each; no sentence names a person.
    pub violations: Vec<(&'static str, String)>,
    /// Whether everything has been looked at since the round began; the next piece begins another.
    pub ends_round: bool,
}

impl Audit {
    pub(in crate::store) fn tell(&mut self, code: &'static str, text: String) {
        if self.violations.len() < MAX_TOLD {
            self.violations.push((code, text));
        }
    }
}
