//! Which occurrence of each rule is the last one: of it the phone shows who got nothing.
//!
//! Numbers are found once and kept up, so that a rule that is due every few seconds hides none that is due once a month. What
//! became of an occurrence is not kept here: it changes, and is read when it is shown.

use std::collections::BTreeMap;

use crate::domain::id::RuleId;
use crate::domain::occurrence::OccurrenceState;
use crate::store::{Occurrence, Unavailable};

/// Occurrences that the first look goes back at most; three weeks of the sample rule.
const MAX_BACK: u64 = 100_000;

/// The last ones by rule.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    /// Up to this number nothing changes any more.
    looked: u64,
    of: BTreeMap<RuleId, u64>,
}

impl Lasts {
    /// Looks at what `page` reads after a number, up to its end; answers the number of each rule's last.
    pub(super) fn look(
        &mut self,
        newest: u64,
        page: impl Fn(u64) -> Result<Vec<Occurrence>, Unavailable>,
    ) -> Result<BTreeMap<RuleId, u64>, Unavailable> {
        self.looked = self.looked.max(newest.saturating_sub(MAX_BACK));
        let (mut after, mut is_settled) = (self.looked, true);
        loop {
            let read = page(after)?;
            let Some(last) = read.last() else { return Ok(self.of.clone()) };
            after = last.number;
            for one in &read {
                // What was never walked was nobody's, and a repetition is part of what it repeats.
                if one.state != OccurrenceState::Missed && one.walked && one.repeats.is_none() {
                    self.of.insert(one.rule.clone(), one.number);
                }
                is_settled &= one.walked || is_over(one.state);
                if is_settled {
                    self.looked = one.number;
                }
            }
        }
    }
}

/// Whether an occurrence that was not walked will not be.
fn is_over(state: OccurrenceState) -> bool {
    match state {
        OccurrenceState::Open | OccurrenceState::Held => false,
        OccurrenceState::Done | OccurrenceState::Missed | OccurrenceState::Cancelled => true,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use chrono::DateTime;

    use super::*;
    use crate::domain::id::{AppId, TemplateId};
    use crate::domain::occurrence::{Counts, Whose};
    use crate::domain::rule::OnDoubt;
    use crate::domain::template::TemplateKind;
    use crate::domain::zone::Zone;

    fn occurrence(number: u64, rule: &str, state: OccurrenceState, walked: bool) -> Occurrence {
        let at = DateTime::UNIX_EPOCH;
        Occurrence {
            number,
            app: AppId::parse("wx0123456789abcdef").unwrap(),
            rule: RuleId::parse(rule).unwrap(),
            template: TemplateId::parse("T").unwrap(),
            kind: TemplateKind::OneTime,
            due_at: at,
            civil: at.naive_utc(),
            fold: 0,
            zone: Zone::SHANGHAI,
            deadline: at,
            state,
            reason: None,
            n: 1,
            position: None,
            walked,
            counts: Counts::default(),
            snapshot: [0; 32],
            about: None,
            whose: Whose::Everybody,
            priority: 0,
            on_doubt: OnDoubt::Hold,
            repeats: None,
        }
    }

    #[test]
    fn a_rare_rule_is_seen_behind_a_frequent_one_and_nothing_is_read_twice() {
        use OccurrenceState::{Cancelled, Done, Held, Missed, Open};
        let mut all = vec![occurrence(1, "rare", Done, true), occurrence(2, "gone", Missed, false)];
        all.extend((3..2000).map(|n| occurrence(n, "often", Done, true)));
        all.push(occurrence(2000, "rare", Cancelled, false));
        let (mut lasts, n_read) = (Lasts::default(), Cell::new(0));
        let look = |lasts: &mut Lasts, all: &[Occurrence]| {
            n_read.set(0);
            let page = |after: u64| {
                let page: Vec<Occurrence> =
                    all.iter().filter(|one| one.number > after).take(500).cloned().collect();
                n_read.set(n_read.get() + page.len());
                Ok(page)
            };
            let of = lasts.look(all.last().unwrap().number, page).unwrap();
            let of: Vec<(String, u64)> =
                of.into_iter().map(|(rule, number)| (rule.as_str().to_owned(), number)).collect();
            (of, n_read.get())
        };
        let named = |rare: u64, often: u64| vec![("often".to_owned(), often), ("rare".to_owned(), rare)];
        assert_eq!(look(&mut lasts, &all), (named(1, 1999), 2000));
        assert_eq!(look(&mut lasts, &all), (named(1, 1999), 0));
        // One that is not walked yet is looked at again, with what follows.
        all.extend([occurrence(2001, "rare", Held, false), occurrence(2002, "often", Done, true)]);
        assert_eq!(look(&mut lasts, &all), (named(1, 2002), 2));
        all[2000] = occurrence(2001, "rare", Open, true);
        assert_eq!(look(&mut lasts, &all), (named(2001, 2002), 2));
        assert_eq!(look(&mut lasts, &all).1, 0);
    }
}
