//! Whether rules fit their templates as the platform lists them, and when its list is asked for.
//!
//! The list has a quota of its own that nobody knows (reference page of `gettemplate`, read 2026-11-22), so a few calls a day must do.
//! What is not known holds nothing, and one list that lacks a template which was there before does not either. A list that
//! holds something may be short for a moment: the next one is near, and further away each time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::constant;
use crate::domain::id::TemplateId;
use crate::domain::rejection::Mismatch;
use crate::domain::rule::Rule;
use crate::domain::template::{Described, FieldKey, TemplateKind};

/// Asked again so long after an answer.
const AGAIN: TimeDelta = TimeDelta::hours(6);
/// The same, while a rule is held by the last one: as long after it as it is held by then, not less than the first and
/// not more than the second.
const AGAIN_HELD: (TimeDelta, TimeDelta) = (TimeDelta::minutes(2), TimeDelta::hours(1));
/// Asked again so long after a question without an answer.
const AGAIN_UNTOLD: TimeDelta = TimeDelta::minutes(30);
/// Asked again so long after an answer that leaves a template open: one that was there before and is not, or a new one.
const AGAIN_OPEN: TimeDelta = TimeDelta::minutes(1);
/// Most questions in one day of Beijing that may follow sooner than an hour on another: lists that change all the time do
/// not use up the quota.
const MAX_SOON: u32 = 24;
/// The longest value that is told of, in characters, and the most of them.
const MAX_TOLD: (usize, usize) = (40, 8);

/// What is known of one template of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The platform's list has it.
    Listed(Described),
    /// It had it before, and did not the last time.
    Missed(Described),
    /// It does not have it.
    Gone,
    /// Nobody can tell: it is, or may be, listed in a form that is not understood.
    Odd,
}

/// What one list says of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has it.
    Listed(Described),
    /// It has it, in a form that is not understood.
    Unreadable,
    /// It does not have it.
    Absent,
    /// Nothing: it says nothing of any template, or has some of which nobody knows which they are.
    Nothing,
}

impl Seen {
    /// What is known after another list.
    #[must_use]
    pub fn next(before: Option<Self>, told: Told) -> Self {
        match (told, before) {
            (Told::Listed(described), _) => Self::Listed(described),
            (Told::Unreadable, _) => Self::Odd,
            // It is still what it was, as far as anybody knows, and to ask again at once would tell no more.
            (Told::Nothing, Some(Self::Listed(described) | Self::Missed(described))) => {
                Self::Listed(described)
            }
            (Told::Nothing, _) => Self::Odd,
            (Told::Absent, Some(Self::Listed(described))) => Self::Missed(described),
            (Told::Absent, Some(Self::Missed(_) | Self::Gone | Self::Odd) | None) => Self::Gone,
        }
    }
}

/// What is known of the templates of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// When it was asked for last, with an answer.
    pub told_at: Option<DateTime<Utc>>,
    /// When it was asked for last.
    pub asked_at: Option<DateTime<Utc>>,
    /// How many times it was asked for on the day of that, as far as this run of the daemon knows.
    pub n_asked: u32,
    /// Those that the configuration had then.
    pub templates: BTreeMap<TemplateId, Seen>,
}

impl Account {
    /// It is asked for.
    pub fn asks(&mut self, now: DateTime<Utc>) {
        let is_same_day = self.asked_at.is_some_and(|asked_at| day(asked_at) == day(now));
        self.n_asked = if is_same_day { self.n_asked.saturating_add(1) } else { 1 };
        self.asked_at = Some(now);
    }
}

/// The day by which the platform counts: Beijing's, 8 h ahead of UTC all year.
fn day(at: DateTime<Utc>) -> NaiveDate {
    (at + TimeDelta::hours(8)).date_naive()
}

/// Whether the templates of an app are to be asked for; `wanted` are those of the configuration.
#[must_use]
pub fn is_due(account: &Account, wanted: &BTreeSet<TemplateId>, holds: Holds, now: DateTime<Utc>) -> bool {
    if wanted.is_empty() {
        return false;
    }
    let Some(asked_at) = account.asked_at.or(account.told_at) else { return true };
    let is_open = |id: &TemplateId| matches!(account.templates.get(id), None | Some(Seen::Missed(_)));
    let pause = match (account.told_at == Some(asked_at), holds) {
        (false, _) => AGAIN_UNTOLD,
        (true, _) if wanted.iter().any(is_open) => AGAIN_OPEN,
        (true, Holds::Since(since)) => {
            let (least, most) = AGAIN_HELD;
            (asked_at - since).clamp(least, most)
        }
        (true, Holds::Nothing) => AGAIN,
    };
    let too_many = account.n_asked >= MAX_SOON && day(asked_at) == day(now);
    let pause = if too_many { pause.max(AGAIN_HELD.1) } else { pause };
    // A clock that was set back must not keep it from being asked for.
    now - asked_at >= pause || asked_at - now >= pause
}

/// Whether rules are held by what was heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// At least one; the newest since then.
    Since(DateTime<Utc>),
    /// None.
    Nothing,
}

/// Whether a rule fits its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As far as anybody knows its messages are taken.
    Fits,
    /// They would be refused.
    Misfits(Mismatch),
    /// Nothing is known of its template.
    Unknown,
}

/// Holds a rule against what is known of its template.
#[must_use]
pub fn fit(rule: &Rule, seen: Option<&Seen>) -> Fit {
    let template = match seen {
        None | Some(Seen::Odd) => return Fit::Unknown,
        Some(Seen::Gone) => return Fit::Misfits(Mismatch::Gone),
        Some(Seen::Listed(template) | Seen::Missed(template)) => template,
    };
    if template.is_service_card() {
        return Fit::Misfits(Mismatch::ServiceCard);
    }
    match (rule.template.kind, template.kind) {
        (TemplateKind::LongTerm, TemplateKind::OneTime) => return Fit::Misfits(Mismatch::OneTime),
        // Each message takes an acceptance then, which is too careful, and refused by nobody.
        (TemplateKind::OneTime, TemplateKind::OneTime | TemplateKind::LongTerm)
        | (TemplateKind::LongTerm, TemplateKind::LongTerm) => {}
    }
    let keys: BTreeSet<&str> = template.fields.iter().map(|field| field.key.as_str()).collect();
    let own: BTreeSet<&str> = rule.data.keys().map(FieldKey::as_str).collect();
    if keys != own {
        let told = |keys: &BTreeSet<&str>, others: &BTreeSet<&str>| {
            keys.difference(others).map(|key| (*key).to_owned()).collect()
        };
        return Fit::Misfits(Mismatch::Fields { lacks: told(&keys, &own), strange: told(&own, &keys) });
    }
    let wrong = template.fields.iter().find_map(|field| {
        let value = constant::whole(rule.data.get(&field.key)?)?;
        let is_wrong = !field.values.is_empty() && !field.values.contains(&value);
        is_wrong.then(|| {
            let (longest, most) = MAX_TOLD;
            let cut = |value: &String| value.chars().take(longest).collect::<String>();
            Mismatch::Value {
                key: field.key.as_str().to_owned(),
                value: cut(&value),
                allowed: field.values.iter().take(most).map(cut).collect(),
            }
        })
    });
    wrong.map_or(Fit::Fits, Fit::Misfits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::DescribedField;
    use crate::plan::tests_support::rule;

    fn described(kind: TemplateKind, fields: &[(&str, &[&str])]) -> Described {
        let field = |(key, values): &(&str, &[&str])| DescribedField {
            key: FieldKey::parse(key).unwrap(),
            label: String::new(),
            values: values.iter().map(ToString::to_string).collect(),
        };
        let id = TemplateId::parse("TEMPLATE").unwrap();
        Described { id, title: String::new(), kind, fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn a_rule_is_held_against_the_keys_and_values_of_its_template() {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let fields = |lacks: &[&str], strange: &[&str]| {
            Fit::Misfits(Mismatch::Fields { lacks: keys(lacks), strange: keys(strange) })
        };
        let value = |value: &str, allowed: &[&str]| {
            let (key, value) = ("enum_string2".to_owned(), value.to_owned());
            Fit::Misfits(Mismatch::Value { key, value, allowed: keys(allowed) })
        };
        let (once, standing) = (TemplateKind::OneTime, TemplateKind::LongTerm);
        let both: &[(&str, &[&str])] = &[("thing1", &[]), ("enum_string2", &["客厅", "厨房"])];
        let table = [
            (once, once, both, "客厅", Fit::Fits),
            (once, once, both, " 厨房\n", Fit::Fits),
            (once, once, both, "卧室", value("卧室", &["客厅", "厨房"])),
            (once, once, both, "{{ fields.room }}", Fit::Fits),
            (once, once, both, "卧{{ fields.room }}", Fit::Fits),
            (once, once, &[("thing1", &[]), ("enum_string2", &[])], "卧室", Fit::Fits),
            (once, once, &[("thing1", &[])], "x", fields(&[], &["enum_string2"])),
            (once, once, &[("thing1", &[]), ("time3", &[])], "x", fields(&["time3"], &["enum_string2"])),
            (once, once, &[], "x", Fit::Misfits(Mismatch::ServiceCard)),
            (standing, standing, both, "客厅", Fit::Fits),
            (once, standing, both, "客厅", Fit::Fits),
            (standing, once, both, "客厅", Fit::Misfits(Mismatch::OneTime)),
        ];
        for (says, is, on_platform, room, wanted) in table {
            let mut rule = rule();
            rule.template.kind = says;
            for (key, text) in [("thing1", "x"), ("enum_string2", room)] {
                rule.data.insert(FieldKey::parse(key).unwrap(), text.to_owned());
            }
            let listed = Seen::Listed(described(is, on_platform));
            assert_eq!(fit(&rule, Some(&listed)), wanted, "{room} {on_platform:?}");
            assert_eq!(fit(&rule, None), Fit::Unknown);
            assert_eq!(fit(&rule, Some(&Seen::Odd)), Fit::Unknown);
            assert_eq!(fit(&rule, Some(&Seen::Gone)), Fit::Misfits(Mismatch::Gone));
        }
    }

    #[test]
    fn a_template_is_gone_when_two_lists_in_a_row_lack_it() {
        let one = || described(TemplateKind::OneTime, &[]);
        let lacks = || Told::Absent;
        let has = || Told::Listed(one());
        let table = [
            (None, has(), Seen::Listed(one())),
            (None, lacks(), Seen::Gone),
            (None, Told::Nothing, Seen::Odd),
            (Some(Seen::Listed(one())), lacks(), Seen::Missed(one())),
            (Some(Seen::Missed(one())), lacks(), Seen::Gone),
            (Some(Seen::Missed(one())), has(), Seen::Listed(one())),
            (Some(Seen::Gone), lacks(), Seen::Gone),
            (Some(Seen::Gone), has(), Seen::Listed(one())),
            (Some(Seen::Gone), Told::Nothing, Seen::Odd),
            (Some(Seen::Listed(one())), Told::Nothing, Seen::Listed(one())),
            (Some(Seen::Listed(one())), Told::Unreadable, Seen::Odd),
            (Some(Seen::Missed(one())), Told::Nothing, Seen::Listed(one())),
            (Some(Seen::Odd), lacks(), Seen::Gone),
        ];
        for (before, listed, wanted) in table {
            assert_eq!(Seen::next(before.clone(), listed.clone()), wanted, "{before:?}, then {listed:?}");
        }
    }

    #[test]
    fn they_are_asked_for_a_few_times_a_day() {
        let id = |text: &str| TemplateId::parse(text).unwrap();
        let at = |minutes: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let known = |seen: Seen, told: Option<i64>, asked: i64| Account {
            told_at: told.map(at),
            asked_at: Some(at(asked)),
            n_asked: 1,
            templates: BTreeMap::from([(id("A"), seen)]),
        };
        let listed = || Seen::Listed(described(TemplateKind::OneTime, &[]));
        let missed = || Seen::Missed(described(TemplateKind::OneTime, &[]));
        let table = [
            ("never asked", Account::default(), "A", Holds::Nothing, 0),
            ("answered", known(listed(), Some(0), 0), "A", Holds::Nothing, 360),
            (
                "answered, and something is held by it",
                known(listed(), Some(0), 0),
                "A",
                Holds::Since(at(0)),
                2,
            ),
            ("gone for minutes", known(Seen::Gone, Some(0), 0), "A", Holds::Since(at(-8)), 8),
            ("gone for hours", known(Seen::Gone, Some(0), 0), "A", Holds::Since(at(-300)), 60),
            ("held by a clock that went back", known(Seen::Gone, Some(0), 0), "A", Holds::Since(at(9)), 2),
            ("missed once", known(missed(), Some(0), 0), "A", Holds::Nothing, 1),
            ("new in the configuration", known(listed(), Some(0), 0), "B", Holds::Nothing, 1),
            ("no answer", known(listed(), None, 0), "A", Holds::Nothing, 30),
            ("no answer for another time", known(missed(), Some(-360), 0), "A", Holds::Since(at(-9)), 30),
            ("an odd one is no reason", known(Seen::Odd, Some(0), 0), "A", Holds::Nothing, 360),
        ];
        for (what, account, wanted, holds, minutes) in table {
            let wanted = BTreeSet::from([id(wanted)]);
            let due = |minutes| is_due(&account, &wanted, holds, at(minutes));
            assert!(due(minutes) && (minutes == 0 || !due(minutes - 1)), "{what}");
            assert!(due(-10_000), "{what}: also when the clock went back");
        }
        assert!(
            !is_due(&Account::default(), &BTreeSet::new(), Holds::Nothing, at(0)),
            "there is nothing to ask for"
        );
    }

    #[test]
    fn what_is_held_is_looked_at_soon_then_each_hour_and_never_too_often() {
        let id = TemplateId::parse("A").unwrap();
        let wanted = BTreeSet::from([id.clone()]);
        let at = |minutes: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let looks = |holds: fn(DateTime<Utc>, i64) -> (Seen, Holds), until: i64| {
            let mut account = Account::default();
            let mut looks = Vec::new();
            for minute in 0..=until {
                let (seen, holds) = holds(account.asked_at.unwrap_or_default(), minute);
                account.templates.insert(id.clone(), seen);
                if is_due(&account, &wanted, holds, at(minute)) {
                    account.asks(at(minute));
                    account.told_at = account.asked_at;
                    looks.push(minute);
                }
            }
            looks
        };
        let held = looks(|_, _| (Seen::Gone, Holds::Since(DateTime::UNIX_EPOCH)), 240);
        assert_eq!(held, [0, 2, 4, 8, 16, 32, 64, 124, 184], "it takes minutes where it is back in minutes");
        // Each list lacks another one.
        let day = looks(|asked_at, _| (Seen::Gone, Holds::Since(asked_at)), 24 * 60 - 1).len();
        assert!(day < 72, "{day} looks in a day, and in the two that it touches");
    }
}
