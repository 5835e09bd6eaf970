//! When a rule is due for one recipient: by its zone, or by his own where the rule says so.
//!
//! For those who ask about one person. Opening occurrences zone by zone is the scheduler's, and both go by
//! [`Recipient::zone_on`].

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};

use super::recurrence::{self, Window};
use crate::domain::occurrence::Due;
use crate::domain::recipient::Recipient;
use crate::domain::rule::Rule;
use crate::domain::when::Relative;
use crate::domain::zone::Zone;

/// Due times of a zone that are looked at, and not his, before none is found: he moved, and each civil day has one zone.
const MAX_OTHERS: usize = 3000;

/// The zone by whose clock a civil day of the rule is the recipient's; somebody unknown has none of his own.
#[must_use]
pub fn zone_on(rule: &Rule, recipient: Option<&Recipient>, day: NaiveDate) -> Zone {
    match recipient.filter(|_| rule.own_time) {
        Some(recipient) => recipient.zone_on(day, rule.zone),
        None => rule.zone,
    }
}

/// The first due time after `after` that is the recipient's, and by whose clock.
#[must_use]
pub fn next(rule: &Rule, recipient: Option<&Recipient>, after: DateTime<Utc>) -> Option<(Due, Zone)> {
    let window = Window { after, until: DateTime::<Utc>::MAX_UTC };
    let of_zone = |zone: Zone| {
        let mut dues = recurrence::dues(&rule.when, zone, window).take(MAX_OTHERS);
        dues.find(|due| zone_on(rule, recipient, due.civil.date()) == zone).map(|due| (due, zone))
    };
    zones(rule, recipient).into_iter().filter_map(of_zone).min_by_key(|(due, _)| due.at)
}

/// The last due time at or before `until` that is the recipient's, and by whose clock.
#[must_use]
pub fn last(rule: &Rule, recipient: Option<&Recipient>, until: DateTime<Utc>) -> Option<(Due, Zone)> {
    let of_zone = |zone: Zone| {
        let mut until = until;
        for _ in 0..MAX_OTHERS {
            let due = recurrence::last(&rule.when, zone, until)?;
            if zone_on(rule, recipient, due.civil.date()) == zone {
                return Some((due, zone));
            }
            until = due.at - chrono::TimeDelta::seconds(1);
        }
        None
    };
    zones(rule, recipient).into_iter().filter_map(of_zone).max_by_key(|(due, _)| due.at)
}

/// When a rule reminds the recipient of an appointment at `at`, and by whose clock.
///
/// Days of the calendar are counted by his own, where the rule is of the recipients' own time.
#[must_use]
pub fn reminder(
    rule: &Rule,
    relative: &Relative,
    recipient: Option<&Recipient>,
    at: DateTime<Utc>,
) -> Option<(Due, Zone)> {
    let by_clock = |zone: Zone| Some((recurrence::reminder(&rule.when, relative, zone, at)?, zone));
    if !counts_days(rule, relative) {
        return by_clock(rule.zone);
    }
    let is_his = |(due, zone): &(Due, Zone)| zone_on(rule, recipient, due.civil.date()) == *zone;
    let his = zones(rule, recipient).into_iter().filter_map(by_clock).filter(is_his);
    // Who moves over a date line may have neither day by the clock that it belongs to.
    his.min_by_key(|(due, _)| due.at).or_else(|| by_clock(now_his(rule, recipient)))
}

/// Whether the reminders of one appointment may be due at several times, by the clocks of those it belongs to.
#[must_use]
pub fn counts_days(rule: &Rule, relative: &Relative) -> bool {
    rule.own_time && !relative.is_elapsed()
}

/// The zone that the recipient has, else the rule's.
fn now_his(rule: &Rule, recipient: Option<&Recipient>) -> Zone {
    recipient.and_then(|recipient| recipient.profile.time_zone).unwrap_or(rule.zone)
}

/// The rule as it is read by that clock.
#[must_use]
pub fn by_clock(rule: &Arc<Rule>, zone: Zone) -> Arc<Rule> {
    if zone == rule.zone { Arc::clone(rule) } else { Arc::new(Rule { zone, ..Rule::clone(rule) }) }
}

/// All zones that may be his: the rule's alone, or those he has and had.
#[must_use]
pub fn zones(rule: &Rule, recipient: Option<&Recipient>) -> Vec<Zone> {
    let Some(recipient) = recipient.filter(|_| rule.own_time) else { return vec![rule.zone] };
    let had = recipient.moves.iter().map(|one| one.from);
    let mut zones: Vec<Zone> =
        had.chain([recipient.profile.time_zone]).map(|zone| zone.unwrap_or(rule.zone)).collect();
    zones.sort_unstable_by_key(|zone| zone.name());
    zones.dedup();
    zones
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests_support::rule;

    #[test]
    fn who_moves_goes_from_one_clock_to_the_other() {
        let instant = |text: &str| -> DateTime<Utc> { text.parse().expect("an instant") };
        let zone = |name: &str| Zone::parse(name).expect("a zone");
        let mut recipient = Recipient::new(instant("2026-03-01T00:00:00Z"));
        recipient.set_zone(Some(zone("Asia/Bangkok")), instant("2026-03-10T01:00:00Z"));
        let own = Rule { own_time: true, ..rule() };
        // Ten o'clock: of the 10th in Beijing, from the 11th on in Bangkok.
        let times = ["2026-03-10T02:00:00Z", "2026-03-11T03:00:00Z", "2026-03-12T03:00:00Z"];
        let mut after = instant("2026-03-10T01:30:00Z");
        for time in times {
            let (due, _) = next(&own, Some(&recipient), after).expect("there is one");
            assert_eq!(due.at, instant(time));
            assert_eq!(
                last(&own, Some(&recipient), due.at),
                Some((due, zone_on(&own, Some(&recipient), due.civil.date())))
            );
            after = due.at;
        }
        assert_eq!(
            last(&own, Some(&recipient), instant("2026-03-11T02:30:00Z")).map(|(due, _)| due.at),
            Some(instant(times[0]))
        );
        let plain = next(&rule(), Some(&recipient), instant(times[0])).map(|(due, _)| due.at);
        assert_eq!(plain, Some(instant("2026-03-11T02:00:00Z")), "the rule's own zone");
        let unknown = next(&own, None, instant(times[0])).map(|(due, _)| due.at);
        assert_eq!(unknown, Some(instant("2026-03-11T02:00:00Z")), "nobody knows his zone");
    }
}
