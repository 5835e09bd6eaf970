//! One message before all others: what is wrong with a large occurrence costs one consent, not ten thousand.
//!
//! It decides who may go and what an end means; what becomes of the candidate's own message, and of a rule that the platform
//! rejects, is decided elsewhere.

use crate::domain::delivery::State;
use crate::domain::id::DeliveryId;
use crate::domain::occurrence::Counts;
use crate::domain::rule::Canary as Wish;

/// So many candidates at most.
pub const MAX_CANDIDATES: u32 = 5;
/// An audience above this has a canary, where its rule does not say.
pub const LARGE: u64 = 1000;

/// Whether an occurrence begins with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// All may go.
    None,
    /// One goes first, if none has yet.
    First {
        /// How many were tried before.
        tried: u32,
        /// Whether any of them had an answer.
        answered: bool,
    },
}

impl Trial {
    /// That of an occurrence whose audience is so large, as far as it is known; `counts` say what has become of it so far.
    #[must_use]
    pub fn of(wish: Wish, audience: Option<u64>, counts: &Counts) -> Self {
        let wanted = match wish {
            Wish::Never => false,
            Wish::Always => true,
            // Whose walk goes on may come to any size.
            Wish::Automatic => audience.is_none_or(|audience| audience > LARGE),
        };
        let n = |states: &[State]| states.iter().map(|state| counts.in_state(*state)).sum::<u64>();
        let went_well = n(&[State::Sent, State::Undelivered, State::PresumedSent]) > 0;
        let answered = n(&[State::Refused, State::Failed]);
        let tried = u32::try_from(answered + n(&[State::InDoubt])).unwrap_or(u32::MAX);
        if wanted && !went_well && tried < MAX_CANDIDATES {
            Self::First { tried, answered: answered > 0 }
        } else {
            Self::None
        }
    }
}

/// How a candidate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The platform took it.
    Accepted,
    /// Refused or failed: the person's fault, or nobody knows whose.
    Answered,
    /// No answer.
    Unanswered,
    /// It left before it was tried.
    Untried,
}

/// The canary of one occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    tried: u32,
    answered: bool,
    state: Going,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// The next one may go.
    Next,
    /// This one is on its way, or waits to be tried again.
    Out(DeliveryId),
    /// All may go.
    Settled,
}

/// What follows from the end of a candidate for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The next one goes, or all do.
    GoesOn,
    /// As many as may be tried had no answer at all: nobody knows what all others would cost.
    Stop,
}

impl Canary {
    /// Before the next candidate.
    #[must_use]
    pub fn begin(tried: u32, answered: bool) -> Self {
        Self { tried, answered, state: Going::Next }
    }

    /// Whether this delivery may go now.
    #[must_use]
    pub fn lets(&self, id: DeliveryId) -> bool {
        match self.state {
            Going::Next | Going::Settled => true,
            Going::Out(out) => out == id,
        }
    }

    /// Whether all may go.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state == Going::Settled
    }

    /// All may go.
    pub fn settle(&mut self) {
        self.state = Going::Settled;
    }

    /// This delivery goes.
    pub fn goes(&mut self, id: DeliveryId) {
        match self.state {
            Going::Next | Going::Out(_) => self.state = Going::Out(id),
            Going::Settled => {}
        }
    }

    /// This delivery has ended, or has left.
    pub fn ends(&mut self, id: DeliveryId, end: End) -> Follows {
        if self.state != Going::Out(id) {
            return Follows::GoesOn;
        }
        self.state = Going::Next;
        match end {
            End::Untried => return Follows::GoesOn,
            End::Accepted => self.state = Going::Settled,
            End::Answered => (self.tried, self.answered) = (self.tried + 1, true),
            End::Unanswered => self.tried += 1,
        }
        if self.is_settled() || self.tried < MAX_CANDIDATES {
            return Follows::GoesOn;
        }
        self.state = Going::Settled;
        if self.answered { Follows::GoesOn } else { Follows::Stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u8) -> DeliveryId {
        DeliveryId { occurrence: 1, chunk: 0, slot }
    }

    /// Who goes while each ends so: `0 1 2 all`, or `stop` in place of `all`.
    fn story(ends: &[End]) -> String {
        let mut canary = Canary::begin(0, false);
        let mut told = Vec::new();
        for (slot, end) in (0..).zip(ends) {
            assert!(canary.lets(id(slot)) && !canary.is_settled());
            canary.goes(id(slot));
            assert!(canary.lets(id(slot)) && !canary.lets(id(slot + 1)), "one at a time");
            assert_eq!(
                canary.ends(id(slot + 1), End::Accepted),
                Follows::GoesOn,
                "another's end says nothing"
            );
            told.push(slot.to_string());
            if canary.ends(id(slot), *end) == Follows::Stop {
                told.push("stop".to_owned());
            }
        }
        if canary.is_settled() && told.last().is_none_or(|last| last != "stop") {
            told.push("all".to_owned());
        }
        told.join(" ")
    }

    #[test]
    fn one_goes_first_and_at_most_five() {
        use End::{Accepted, Answered, Unanswered, Untried};
        let table: [(&[End], &str); 8] = [
            (&[Accepted], "0 all"),
            (&[Answered, Accepted], "0 1 all"),
            (&[Unanswered, Accepted], "0 1 all"),
            (&[Answered; 4], "0 1 2 3"),
            (&[Answered; 5], "0 1 2 3 4 all"),
            (&[Unanswered; 5], "0 1 2 3 4 stop"),
            (&[Unanswered, Unanswered, Answered, Unanswered, Unanswered], "0 1 2 3 4 all"),
            (&[Untried, Untried, Untried, Untried, Untried, Untried], "0 1 2 3 4 5"),
        ];
        for (ends, expected) in table {
            assert_eq!(story(ends), expected, "{ends:?}");
        }
    }

    #[test]
    fn who_has_a_canary() {
        let counts = |states: &[(State, u64)]| Counts {
            audience: 2000,
            by_state: states.iter().copied().collect(),
            skipped: [].into(),
        };
        let first = |tried, answered| Trial::First { tried, answered };
        let table = [
            (Wish::Automatic, Some(1000), counts(&[]), Trial::None),
            (Wish::Automatic, Some(1001), counts(&[]), first(0, false)),
            (Wish::Automatic, None, counts(&[]), first(0, false)),
            (Wish::Always, Some(1), counts(&[]), first(0, false)),
            (Wish::Never, Some(5000), counts(&[]), Trial::None),
            (Wish::Always, None, counts(&[(State::Sent, 1)]), Trial::None),
            (Wish::Always, None, counts(&[(State::PresumedSent, 1)]), Trial::None),
            (Wish::Always, None, counts(&[(State::Failed, 1), (State::InDoubt, 2)]), first(3, true)),
            (Wish::Always, None, counts(&[(State::InDoubt, 2)]), first(2, false)),
            (Wish::Always, None, counts(&[(State::InDoubt, 5)]), Trial::None),
            (Wish::Always, None, counts(&[(State::Waiting, 9)]), first(0, false)),
        ];
        for (wish, audience, counts, expected) in table {
            assert_eq!(Trial::of(wish, audience, &counts), expected, "{wish:?} {audience:?} {counts:?}");
        }
    }
}
