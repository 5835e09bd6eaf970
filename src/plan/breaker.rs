//! When so much of an occurrence is refused that something else than people must be behind it.
//!
//! Field reports know waves of 43101 in mass sends, where every message of a while is refused although people did consent.
//! Each refusal costs its recipient a grant, so an occurrence that meets such a wave is better held.

use std::collections::VecDeque;

/// How many replies are looked back at.
const LAST: usize = 200;
/// Fewer refusals are people.
const AT_LEAST: usize = 20;
/// More than one reply in so many is too much.
const ONE_IN: usize = 5;

/// The newest replies of one occurrence.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    /// Whether each was a refusal, the newest last.
    last: VecDeque<bool>,
    n_refused: usize,
}

impl Breaker {
    /// Takes one reply in; answers how many of how many were refused when that is too much.
    pub fn hear(&mut self, refused: bool) -> Option<(usize, usize)> {
        self.last.push_back(refused);
        self.n_refused += usize::from(refused);
        if self.last.len() > LAST {
            self.n_refused -= usize::from(self.last.pop_front().unwrap_or_default());
        }
        let (n, of) = (self.n_refused, self.last.len());
        (n >= AT_LEAST && n * ONE_IN > of).then_some((n, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of these replies it breaks.
    fn breaks(replies: impl Iterator<Item = bool>) -> Option<usize> {
        let mut breaker = Breaker::default();
        replies.enumerate().find_map(|(n, refused)| breaker.hear(refused).map(|_| n + 1))
    }

    #[test]
    fn more_than_a_fifth_and_at_least_twenty() {
        assert_eq!(breaks((0..200).map(|_| true)), Some(20));
        assert_eq!(breaks((0..5000).map(|n| n % 5 == 4)), None, "a fifth is not more than a fifth");
        // Nineteen are people, whatever their share.
        assert_eq!(breaks((0..500).map(|n| n < 19)), None);
        // Of the first eighty 20 are a quarter, of the first hundred they are a fifth.
        assert_eq!(breaks((0..500).map(|n| n % 4 == 3)), Some(80));
        // What came before the last two hundred does not count.
        assert_eq!(breaks((0..2000).map(|n| n > 1000)), Some(1001 + 41));
        assert_eq!(breaks((0..2000).map(|n| n % 250 < 15)), None);
    }
}
