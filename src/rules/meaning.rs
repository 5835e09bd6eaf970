//! What well-written rules mean together, at some instant and for the people there are.
//!
//! The loader refuses what cannot be carried out; here is what can, and is probably not meant: times that
//! have passed, clocks that skip a due time, days on which one consent is wanted too often, people and
//! fields that nobody has. It is asked for by `check` only: a running daemon takes such files over.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::diagnostic::{Diagnostic, Findings};
use super::names::nearest;
use super::problem::{Problem, meaning};
use super::source::{Source, Spot};
use crate::domain::census::Census;
use crate::domain::config::Config;
use crate::domain::id::{AppName, FieldName, RuleId, TemplateId};
use crate::domain::occurrence::Due;
use crate::domain::rule::{AtNight, OnDoubt, Rule};
use crate::domain::when::{Form, Period};
use crate::plan::crowding::{self, MAX_A_DAY};
use crate::plan::pace;
use crate::plan::quiet;
use crate::plan::recurrence::{self, Window};

/// How far ahead clock changes are told: each change of a year, and a little more.
const CHANGES_AHEAD: TimeDelta = TimeDelta::days(400);

/// Due times that are looked at for the question whether any is outside quiet hours.
const DUES_AHEAD: usize = 400;

/// What rules are held against.
#[derive(Clone, Debug)]
pub struct View {
    /// The instant from which "ahead" counts.
    pub now: DateTime<Utc>,
    /// The people of each app, as far as they are known; an app that is left out is not judged by them.
    pub people: BTreeMap<AppName, Census>,
}

/// A rule without mistakes, and where its parts stand.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) rule: Arc<Rule>,
    /// Which of the files.
    pub(super) file: usize,
    pub(super) key: Spot,
    pub(super) when: Spot,
    /// `to`, where there is one.
    pub(super) to: Option<Spot>,
    /// `on_doubt`, where there is one.
    pub(super) on_doubt: Option<Spot>,
    /// Fields of the recipient that its texts and its condition look at.
    pub(super) asked: Vec<(FieldName, Spot)>,
}

/// Judges enabled rules, which stand in `sources`.
pub(super) fn judge(
    placed: &[Placed],
    sources: &[&Source],
    config: &Config,
    view: &View,
    found: &mut Findings,
) {
    let mut report = |place: &Placed, spot: Spot, problem: Problem| {
        if let Some(source) = sources.get(place.file) {
            found.add(Diagnostic::new(source, spot, problem));
        }
    };
    for place in placed {
        due_times(place, view, &mut report);
        if place.rule.on_doubt == OnDoubt::Resend {
            report(place, place.on_doubt.unwrap_or(place.key), meaning::at_least_once());
        }
        people(place, config, view, &mut report);
    }
    let mut by_template: BTreeMap<(&AppName, &TemplateId), Vec<&Placed>> = BTreeMap::new();
    for place in placed {
        by_template.entry((&place.rule.app, &place.rule.template.id)).or_default().push(place);
    }
    for together in by_template.values() {
        crowd(together, view, &mut report);
    }
}

/// Due times that will not come, or not as they are written.
fn due_times(place: &Placed, view: &View, report: &mut impl FnMut(&Placed, Spot, Problem)) {
    let Placed { rule, when, .. } = place;
    if matches!(rule.when.form, Form::Relative(_)) {
        return;
    }
    if recurrence::next(&rule.when, rule.zone, view.now).is_none() {
        return report(place, *when, meaning::past());
    }
    let at_night = |due: &Due| {
        let night = rule.quiet.and_then(|quiet| quiet::night(&quiet, rule.zone, due.at));
        night.is_some_and(|night| night.from <= due.at)
    };
    let skips = rule.quiet.is_some_and(|quiet| quiet.then == AtNight::Skip);
    if skips && recurrence::next_dues(rule, view.now, DUES_AHEAD).iter().all(at_night) {
        report(place, *when, meaning::always_quiet());
    }
    // A rule of each minute or hour follows the clock, and that is what it says.
    let follows = match &rule.when.form {
        Form::Cron(cron) => cron.is_wild(),
        Form::Every(every) => matches!(every.period, Period::Elapsed(_)),
        Form::At(_) | Form::Relative(_) => false,
    };
    if follows {
        return;
    }
    let window = Window { after: view.now, until: view.now + CHANGES_AHEAD };
    if let Some(touched) = recurrence::touched(&rule.when, rule.zone, window).first() {
        report(place, *when, meaning::clock_change(touched, rule.zone));
    }
}

/// What a rule asks of people, against the people there are.
fn people(place: &Placed, config: &Config, view: &View, report: &mut impl FnMut(&Placed, Spot, Problem)) {
    let Placed { rule, key, to, asked, .. } = place;
    let census = view.people.get(&rule.app).filter(|census| census.recipients > 0);
    let Some(census) = census else { return };
    if census.is_whole() {
        let known: Vec<String> = census.fields.keys().map(|field| field.as_str().to_owned()).collect();
        for (field, spot) in asked.iter().filter(|(field, _)| !census.fields.contains_key(field)) {
            let meant = nearest(field.as_str(), known.iter().map(String::as_str));
            report(place, *spot, meaning::unseen_field(field.as_str(), &known, meant));
        }
        let known: Vec<String> = census.tags.keys().map(|tag| tag.as_str().to_owned()).collect();
        let tags = rule.audience.tags.iter().chain(&rule.audience.all_tags);
        for tag in tags.filter(|tag| !census.tags.contains_key(tag)) {
            let meant = nearest(tag.as_str(), known.iter().map(String::as_str));
            report(place, to.unwrap_or(*key), meaning::unseen_tag(tag.as_str(), &known, meant));
        }
    }
    let rate = config.apps.get(&rule.app).and_then(|app| app.per_second);
    let n = census.at_most(&rule.audience);
    if let Some(slow) = rate.and_then(|rate| pace::too_slow(n, rate, rule.grace, rule.spread)) {
        report(place, *key, meaning::too_slow(&slow));
    }
}

/// Days on which the rules of one template want more of a person than he gives.
fn crowd(together: &[&Placed], view: &View, report: &mut impl FnMut(&Placed, Spot, Problem)) {
    let rules: Vec<&Rule> = together.iter().map(|place| &*place.rule).collect();
    let Some(crowded) = crowding::crowded(&rules, view.now) else { return };
    let over: Option<&RuleId> = crowded.rules.get(MAX_A_DAY);
    let place = together.iter().find(|place| Some(&place.rule.id) == over);
    if let Some(place) = place {
        let names: Vec<String> = crowded.rules.iter().map(ToString::to_string).collect();
        report(place, place.key, meaning::crowded(place.rule.template.name.as_str(), crowded.day, &names));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Beside, check_with, tests_support::folder};
    use super::*;
    use crate::domain::recipient::{FieldValue, Profile};

    /// A file, and codes and places of what is found in it.
    type Case<'a> = (String, &'a [(&'a str, u32, u32)]);

    /// Checks these rules, in two files, at the beginning of March 2026 in front of three people.
    fn found(limits: &str, first: &str, second: &str) -> Vec<(String, u32, u32)> {
        let config = format!(
            "apps:\n  a:\n    appid: wx0123456789abcdef\n    secret: {{ env: S }}\n    limits: {{ {limits} }}\n    templates:\n      \
             t: {{ id: TEMPLATE, kind: one_time, fields: [thing1, phrase2] }}\nstore: sled:store\n"
        );
        let folder = folder(&config, &[("1.yaml", first), ("2.yaml", second)]);
        let mut census = Census::default();
        for city in ["Shanghai", "Beijing", "Shanghai"] {
            let mut profile = Profile::default();
            profile.tags.insert(crate::domain::id::Tag::parse("habit").expect("a tag"));
            let name = FieldName::parse("city").expect("a name");
            profile.fields.insert(name, FieldValue::Text(city.to_owned()));
            census.add(&profile);
        }
        census.recipients = 100_000;
        let people = BTreeMap::from([(AppName::parse("a").expect("a name"), census)]);
        let now = "2026-03-01T00:00:00Z".parse().expect("an instant");
        let view = View { now, people };
        let beside = Beside { view: Some(&view), ..Beside::default() };
        let report = check_with(&folder.path().join("tixing.yaml"), beside);
        let found = report.diagnostics.0.iter();
        found.map(|found| (found.code.to_owned(), found.line, found.column)).collect()
    }

    #[test]
    fn what_is_meant_is_judged_where_it_stands() {
        let rule = |when: &str, more: &str| {
            format!(
                "rules:\n  r:\n    template: t\n    when: {when}\n    data: {{ thing1: \"x\", phrase2: \"好\" }}\n{more}"
            )
        };
        let daily = "{ cron: \"0 9 * * *\" }";
        let table: Vec<Case<'_>> = vec![
            (rule(daily, ""), &[]),
            (rule("{ at: \"2026-02-28 09:00\" }", ""), &[("past", 4, 11)]),
            (rule("{ at: [\"2026-02-28 09:00\", \"2026-03-28 09:00\"] }", ""), &[]),
            (
                rule("{ cron: \"30 2 * * *\" }", "    timezone: America/New_York\n"),
                &[("clock_change", 4, 11)],
            ),
            (
                rule("{ cron: \"*/30 * * * *\" }", "    timezone: America/New_York\n"),
                &[("many_a_day", 4, 13)],
            ),
            (rule("{ cron: \"*/30 8-9 * * *\" }", "    timezone: America/New_York\n"), &[]),
            (rule("{ every: 90m, starting: \"2026-03-01 00:00\" }", "    timezone: America/New_York\n"), &[]),
            (rule("{ every: 30m, starting: \"2026-03-01 00:00\" }", ""), &[("many_a_day", 4, 13)]),
            (
                rule("{ every: 1d, starting: \"2026-03-01 02:30\" }", "    timezone: America/New_York\n"),
                &[("clock_change", 4, 11)],
            ),
            (rule("{ cron: \"0 9 * * *\", until: 2026-02-28 }", ""), &[("past", 4, 11)]),
            (
                rule("{ cron: \"30 2 * * *\", dst: skip }", "    timezone: America/New_York\n"),
                &[("clock_change", 4, 11)],
            ),
            (
                rule(daily, "    quiet: { from: \"08:00\", to: \"10:00\", then: skip }\n"),
                &[("always_quiet", 4, 11)],
            ),
            (rule(daily, "    quiet: { from: \"08:00\", to: \"10:00\" }\n"), &[]),
            (
                rule(
                    "{ cron: \"0 9,10 * * *\" }",
                    "    quiet: { from: \"08:00\", to: \"10:00\", then: skip }\n",
                ),
                &[],
            ),
            (rule(daily, "    on_doubt: resend\n"), &[("at_least_once", 6, 15)]),
            (rule(daily, "    on_doubt: hold\n"), &[]),
            (rule("{ cron: \"0 9 * * 1-5\" }", ""), &[("numeric_weekday", 4, 19)]),
            (rule("{ cron: \"0 9 13 * FRI\" }", ""), &[("either_day", 4, 19)]),
            (rule("{ cron: \"0 9 30 * *\" }", ""), &[("rare_days", 4, 19)]),
            (rule("{ cron: \"0 9 L * *\", dst: wall }", ""), &[]),
            (rule("{ at: \"2026-03-28 09:00\", fold: second }", ""), &[("no_effect", 4, 37)]),
            (rule("{ cron: \"0 9 * * *\", fold: second }", ""), &[("no_effect", 4, 32)]),
            (rule("{ every: 2h, starting: \"2026-03-01 00:00\", dst: wall }", ""), &[("no_effect", 4, 54)]),
            (rule(daily, "    to: { tags: [habbit] }\n"), &[("unseen_tag", 6, 9)]),
            (rule(daily, "    to: { where: \"fields.citty == 'Shanghai'\" }\n"), &[("unseen_field", 6, 19)]),
            (rule(daily, "    to: { where: \"fields.city == 'Shanghai'\" }\n"), &[]),
            (rule(daily, "    page: \"pages/a?b={{ fields.town }}\"\n"), &[("unseen_field", 6, 25)]),
            (rule(daily, "    to: { where: \"1 == 1\" }\n"), &[("constant_condition", 6, 18)]),
            (rule(daily, "    to: { where: \"'a' == 'b'\" }\n"), &[("constant_condition", 6, 18)]),
            (rule(daily, "    to: { tags: [habit], all_tags: [habit] }\n"), &[("no_effect", 6, 11)]),
            (rule(daily, "    to: { all: true, tags: [habit] }\n"), &[("no_effect", 6, 11)]),
            (rule(daily, "    to: { where: \"\" }\n"), &[("no_value", 6, 18)]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(code, l, c)| ((*code).to_owned(), *l, *c)).collect();
            assert_eq!(found("in_flight: 8", &text, "rules: {}\n"), expected, "{text}");
        }
        let slow = rule(daily, "");
        assert_eq!(found("per_second: 10", &slow, "rules: {}\n"), [("too_slow".to_owned(), 2, 3)]);
        assert_eq!(found("per_second: 100", &slow, "rules: {}\n"), []);
    }

    #[test]
    fn values_that_no_recipient_can_make_fit_are_told() {
        let text = |thing: &str, phrase: &str| {
            format!(
                "rules:\n  r:\n    template: t\n    when: {{ cron: \"0 9 * * *\" }}\n    data:\n      thing1: \"{thing}\"\n      \
                 phrase2: \"{phrase}\"\n"
            )
        };
        let long = "一二三四五六七八九十一二三四五六七八九十";
        let table: Vec<Case<'_>> = vec![
            (text("{{ fields.city }}：好", "{{ fields.city }}"), &[]),
            (text(&format!("{long}{{{{ fields.city }}}}二"), "好"), &[("always_cut", 6, 15)]),
            (text("x", "{{ fields.city }} OK"), &[("does_not_fit", 7, 16)]),
            (text("x", "{{ fields.city }}一二三四五六"), &[("does_not_fit", 7, 16)]),
            (text("x", "{% if fields.city == 'a' %}OK{% else %}好{% endif %}"), &[]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(code, l, c)| ((*code).to_owned(), *l, *c)).collect();
            assert_eq!(found("in_flight: 8", &text, "rules: {}\n"), expected, "{text}");
        }
    }

    #[test]
    fn a_fourth_rule_of_a_day_is_told_across_files() {
        let rules = |names: &[&str]| {
            let rule = |name: &&str| {
                format!(
                    "  {name}: {{ template: t, when: {{ cron: \"0 9 * * *\" }}, data: {{ thing1: x, phrase2: 好 }} }}\n"
                )
            };
            format!("rules:\n{}", names.iter().map(rule).collect::<String>())
        };
        assert_eq!(found("in_flight: 8", &rules(&["a", "b"]), &rules(&["c"])), []);
        assert_eq!(
            found("in_flight: 8", &rules(&["a", "b"]), &rules(&["c", "d", "e"])),
            [("crowded".to_owned(), 3, 3)]
        );
    }
}
