//! Days on which one template is wanted more often than people accept it.
//!
//! One tap grants one message, and one question asks for three templates at most; a person whom four
//! rules of one template reach on one day needs four taps, and the later reminders are skipped. Who is
//! reached is not asked here: two rules count together when nothing keeps them apart for certain.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::id::{OpenId, RuleId};
use crate::domain::rule::Rule;
use crate::plan::recurrence;

/// How many rules may want the same consent on one day before it is told.
pub const MAX_A_DAY: usize = 3;
/// How many days are looked at: a month has every shape of a week in it.
const DAYS_AHEAD: usize = 31;

/// A day that is too full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// The first such day, in the rules' own zones.
    pub day: NaiveDate,
    /// The rules that are due then, in the order they were given; more than [`MAX_A_DAY`].
    pub rules: Vec<RuleId>,
}

/// The first of the [`DAYS_AHEAD`] days after `now` on which more than [`MAX_A_DAY`] of the rules are due.
///
/// The rules are those of one app and one template.
#[must_use]
pub fn crowded(rules: &[&Rule], now: DateTime<Utc>) -> Option<Crowded> {
    if rules.len() <= MAX_A_DAY {
        return None;
    }
    let today = now.naive_utc().date();
    today.iter_days().skip(1).take(DAYS_AHEAD).find_map(|day| {
        let due: Vec<&Rule> = rules
            .iter()
            .copied()
            .filter(|rule| recurrence::is_stated_on(&rule.when, rule.zone, day))
            .collect();
        let together = together(&due);
        (together.len() > MAX_A_DAY)
            .then(|| Crowded { day, rules: together.into_iter().map(|rule| rule.id.clone()).collect() })
    })
}

/// Those of `rules` that can reach one and the same person, as far as the lists of openids tell.
fn together<'a>(rules: &[&'a Rule]) -> Vec<&'a Rule> {
    let open = rules.iter().filter(|rule| rule.audience.openids.is_empty()).count();
    let mut named: HashMap<&OpenId, usize> = HashMap::new();
    for openid in rules.iter().flat_map(|rule| &rule.audience.openids) {
        *named.entry(openid).or_default() += 1;
    }
    let fullest = named.values().max().copied().unwrap_or(0);
    if open + fullest > MAX_A_DAY { rules.to_vec() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::when::Cron;
    use crate::plan::tests_support;

    fn rule(cron: &str) -> Rule {
        Rule { when: Cron::parse(cron).expect("a cron expression").into(), ..tests_support::rule() }
    }

    #[test]
    fn a_day_with_four_rules_is_told() {
        let now = "2026-11-02T00:00:00Z".parse::<DateTime<Utc>>().expect("an instant");
        let mut rules: Vec<Rule> =
            ["0 8 * * *", "0 9 * * *", "*/5 * * * *", "0 10 * * SAT"].map(rule).to_vec();
        let told = |rules: &[Rule]| {
            crowded(&rules.iter().collect::<Vec<_>>(), now).map(|c| (c.day.to_string(), c.rules.len()))
        };
        assert_eq!(told(&rules), Some(("2026-11-07".to_owned(), 4)));
        assert_eq!(told(&rules[..3]), None);
        for (n, rule) in rules.iter_mut().enumerate() {
            let openid = format!("oPERSON00000{n}");
            rule.audience.openids = vec![OpenId::parse(&openid).expect("an openid")];
        }
        assert_eq!(told(&rules), None);
        rules[3].audience.openids.clear();
        rules[2].audience.openids.clear();
        rules[1].audience.openids.clear();
        assert_eq!(told(&rules), Some(("2026-11-07".to_owned(), 4)));
    }
}
