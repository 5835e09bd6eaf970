//! `when` of a rule: exactly one form, what bounds it, and what it means.
//!
//! Forms and keys that a later version carries out are known here by name only, so that none of them is
//! ever silently ignored. What is well written and probably not meant is told here as far as the text alone shows it.

use std::sync::Arc;

use chrono::NaiveDateTime;

use super::calendars::Calendars;
use super::problem::shape::{self, Thing};
use super::problem::{Problem, rule, when as of_when};
use super::relative_entry;
use super::schedule_keys;
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::id::CalendarName;
use crate::domain::language::Phrase;
use crate::domain::when::{
    Calendar, CivilError, Cron, CronCode, Dst, Every, Except, Form, Pass, Period, Single, When, civil_date,
    civil_time,
};
use crate::domain::zone::Zone;
use crate::plan::recurrence::{self, Showing};

/// The most civil times of one `at`.
pub(super) const MAX_TIMES: usize = 1000;
/// The most days and calendars of one `except` or `only`.
pub(super) const MAX_EXCEPT: usize = 1000;
/// So many due times a day are not told of: one an hour.
const MANY_A_DAY: u64 = 24;

/// The forms, of which a rule has one.
pub(super) const FORMS: [&str; 6] = ["cron", "at", "every", "before", "after", "same_day"];

/// What becomes of times that a clock change skips or repeats.
pub(super) const DST: [(&str, Dst); 4] =
    [("auto", Dst::Auto), ("skip", Dst::Skip), ("wall", Dst::Wall), ("shift", Dst::Shift)];
/// Which of two times is meant.
pub(super) const FOLD: [(&str, Pass); 2] = [("first", Pass::First), ("second", Pass::Second)];

const EXAMPLE: &str = "when: { cron: \"0 10 * * MON-FRI\" }";
const STARTING_EXAMPLE: &str = "starting: \"2027-01-31 09:00\"";
const AT_EXAMPLE: &str = "at: \"2027-01-31 09:00\"";

/// Reads `when` of a rule in `zone`; `None` when there is a mistake, which was reported.
pub(super) fn read(node: &Node, zone: Zone, calendars: &Calendars, walk: &mut Walk<'_>) -> Option<When> {
    let map = walk.map(node, Wanted { of: Thing::Key("when"), example: EXAMPLE }, &schedule_keys::WHEN)?;
    let n_errors = walk.found.n_errors();
    let dst = map.get("dst").and_then(|node| walk.one_of(node, "dst", &DST));
    let form = form(node, map, walk);
    let from = map.get("from").and_then(|node| bound(node, "from", walk));
    let until = map.get("until").and_then(|node| bound(node, "until", walk));
    let except = map.get("except").map_or_else(Except::default, |node| except(node, calendars, walk));
    let only = map.get("only").map_or_else(Vec::new, |node| only(node, calendars, walk));
    let when = When { dst: dst.unwrap_or_default(), from, until, except, only, ..When::from(form?) };
    if walk.found.n_errors() > n_errors {
        return None;
    }
    judge(node.spot, map, &when, zone, walk);
    (walk.found.n_errors() == n_errors).then_some(when)
}

fn form(node: &Node, map: Map<'_>, walk: &mut Walk<'_>) -> Option<Form> {
    let mut forms = FORMS.into_iter().filter(|name| map.entry(name).is_some());
    let form = match (forms.next(), forms.next()) {
        (None, _) => {
            walk.report(node.spot, rule::no_form());
            None
        }
        (Some(one), Some(other)) => {
            let spot = map.entry(other).map_or(node.spot, |(key, _)| key.spot);
            walk.report(spot, rule::two_forms(one, other));
            // All are looked into, so that their own mistakes show.
            let _looked_at = (cron(map, walk), at(map, walk), every(map, walk));
            None
        }
        (Some("cron"), None) => cron(map, walk),
        (Some("at"), None) => at(map, walk),
        (Some("every"), None) => every(map, walk),
        (Some(name), None) => relative_entry::read(name, map, walk),
    };
    if ["before", "after", "same_day"].into_iter().all(|name| map.entry(name).is_none()) {
        relative_entry::without_form(map, walk);
    }
    if let (Some((key, node)), None) = (map.entry("fold"), map.entry("at")) {
        let _looked_at = walk.one_of(node, "fold", &FOLD);
        let why = Phrase::new("it belongs to `at`", "它要和 `at` 一起用");
        walk.report(key.spot, shape::no_effect("fold", why));
    }
    if let (Some((key, node)), None) = (map.entry("starting"), map.entry("every")) {
        let _looked_at = starting(node, walk);
        let why = Phrase::new("it belongs to `every`", "它要和 `every` 一起用");
        walk.report(key.spot, shape::no_effect("starting", why));
    }
    form
}

fn cron(map: Map<'_>, walk: &mut Walk<'_>) -> Option<Form> {
    let node = map.get("cron")?;
    let text = walk.text(node, Wanted { of: Thing::Key("cron"), example: "cron: \"0 10 * * MON-FRI\"" })?;
    match Cron::parse(text) {
        Ok(cron) => {
            if cron.has_numeric_weekday() {
                walk.report(node.spot, of_when::numeric_weekday());
            }
            if cron.has_either_day() {
                walk.report(node.spot, of_when::either_day());
            }
            let rare = cron.rare_days();
            if !rare.is_empty() {
                walk.report(node.spot, of_when::rare_days(&rare));
            }
            Some(Form::Cron(cron))
        }
        Err(error) => {
            let (message, help) = (error.message, error.help);
            let problem = match error.code {
                CronCode::Syntax => rule::bad_cron(text, message, help),
                CronCode::NeverFires => rule::never_fires(message, help),
            };
            walk.report(node.spot_in(error.at), problem);
            None
        }
    }
}

fn at(map: Map<'_>, walk: &mut Walk<'_>) -> Option<Form> {
    let node = map.get("at")?;
    let pass = map.get("fold").and_then(|node| walk.one_of(node, "fold", &FOLD)).unwrap_or_default();
    let items = match &node.value {
        Value::List(list) => &**list,
        Value::Text(_) | Value::Map(_) => std::slice::from_ref(node),
        Value::Nothing | Value::Broken => {
            walk.wrong_shape(
                node,
                Wanted { of: Thing::Key("at"), example: AT_EXAMPLE },
                Phrase::new("a date and time, or a list of them", "一个日期时间，或者它们的列表"),
            );
            return None;
        }
    };
    if items.is_empty() {
        walk.report(node.spot, shape::empty_list(Thing::Key("at")));
    }
    if items.len() > MAX_TIMES {
        walk.report(node.spot, shape::too_many(Thing::Key("at"), MAX_TIMES));
        return None;
    }
    let mut times: Vec<Single> = Vec::with_capacity(items.len());
    for item in items {
        let Some((single, spot, text)) = single(item, pass, walk) else { continue };
        if times.contains(&single) {
            walk.report(spot, shape::repeated(Thing::Key("at"), text));
        } else {
            times.push(single);
        }
    }
    let whole = times.len() == items.len() && !times.is_empty();
    times.sort_unstable();
    whole.then_some(Form::At(times))
}

/// One time of `at`, with its place and its text: a text, or `{ at: …, fold: … }`.
fn single<'n>(item: &'n Node, pass: Pass, walk: &mut Walk<'_>) -> Option<(Single, Spot, &'n str)> {
    let wanted = Wanted { of: Thing::Key("at"), example: AT_EXAMPLE };
    let (node, pass) = match &item.value {
        Value::Map(_) => {
            let map = walk.map(item, wanted, &schedule_keys::SINGLE)?;
            let pass = map.get("fold").and_then(|node| walk.one_of(node, "fold", &FOLD)).unwrap_or(pass);
            let Some(node) = map.get("at") else {
                walk.missing(item.spot, "at", wanted.of, AT_EXAMPLE);
                return None;
            };
            (node, pass)
        }
        Value::Text(_) | Value::List(_) | Value::Nothing | Value::Broken => (item, pass),
    };
    let text = walk.text(node, wanted)?;
    match civil_time(text) {
        Ok(civil) => Some((Single { civil, pass }, node.spot, text)),
        Err(error) => {
            walk.report(node.spot, no_time(text, error));
            None
        }
    }
}

fn every(map: Map<'_>, walk: &mut Walk<'_>) -> Option<Form> {
    let (key, node) = map.entry("every")?;
    let text = walk.text(node, Wanted { of: Thing::Key("every"), example: "every: 2 weeks" });
    let period = text.and_then(|text| match values::period(text) {
        Ok(period) => Some(period),
        Err(why) => {
            walk.report(node.spot, rule::bad_duration(Thing::Key("every"), text, why));
            None
        }
    });
    let Some(node) = map.get("starting") else {
        walk.missing(key.spot, "starting", Thing::Key("when"), STARTING_EXAMPLE);
        return None;
    };
    let starting = starting(node, walk)?;
    period.map(|period| Form::Every(Every { period, starting }))
}

fn starting(node: &Node, walk: &mut Walk<'_>) -> Option<NaiveDateTime> {
    let text = walk.text(node, Wanted { of: Thing::Key("starting"), example: STARTING_EXAMPLE })?;
    match civil_time(text) {
        Ok(starting) => Some(starting),
        Err(error) => {
            walk.report(node.spot, no_time(text, error));
            None
        }
    }
}

/// `from` or `until`: a date or a time. A date as an end is its last second.
fn bound(node: &Node, key: &'static str, walk: &mut Walk<'_>) -> Option<NaiveDateTime> {
    let example = if key == "from" { "from: 2027-03-01" } else { "until: 2027-06-30" };
    let text = walk.text(node, Wanted { of: Thing::Key(key), example })?;
    match civil_date(text) {
        Ok(day) if key == "from" => day.and_hms_opt(0, 0, 0),
        Ok(day) => day.and_hms_opt(23, 59, 59),
        Err(error) if error.of_the_form => {
            walk.report(node.spot, no_time(text, error));
            None
        }
        Err(_) => match civil_time(text) {
            Ok(time) => Some(time),
            Err(error) => {
                let problem = if error.of_the_form { no_time(text, error) } else { of_when::bad_bound(text) };
                walk.report(node.spot, problem);
                None
            }
        },
    }
}

fn except(node: &Node, calendars: &Calendars, walk: &mut Walk<'_>) -> Except {
    let wanted = Wanted { of: Thing::Key("except"), example: "except: [2027-10-01]" };
    let mut except = Except::default();
    for (text, spot) in texts(node, wanted, walk) {
        match civil_date(text) {
            Ok(day) => except.days.push(day),
            Err(error) if error.of_the_form => walk.report(spot, no_time(text, error)),
            Err(_) if CalendarName::parse(text).is_err() => walk.report(spot, of_when::bad_exception(text)),
            Err(_) => except.calendars.extend(calendars.named(text, spot, walk)),
        }
    }
    except.days.sort_unstable();
    except
}

fn only(node: &Node, calendars: &Calendars, walk: &mut Walk<'_>) -> Vec<Arc<Calendar>> {
    let wanted = Wanted { of: Thing::Key("only"), example: "only: [workdays]" };
    let mut only = Vec::new();
    for (text, spot) in texts(node, wanted, walk) {
        if walk.name(text, spot, CalendarName::parse).is_some() {
            only.extend(calendars.named(text, spot, walk));
        }
    }
    only
}

/// One text, or the texts of a list, each with its place and none twice.
fn texts<'n>(node: &'n Node, wanted: Wanted<'_>, walk: &mut Walk<'_>) -> Vec<(&'n str, Spot)> {
    let items = match &node.value {
        Value::List(list) => &**list,
        Value::Text(_) | Value::Map(_) | Value::Nothing | Value::Broken => std::slice::from_ref(node),
    };
    let mut texts: Vec<(&str, Spot)> = Vec::new();
    if items.is_empty() {
        walk.report(node.spot, shape::empty_list(wanted.of));
    }
    if items.len() > MAX_EXCEPT {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_EXCEPT));
        return texts;
    }
    for item in items {
        let Some(text) = walk.text(item, wanted) else { continue };
        if texts.iter().any(|(other, _)| *other == text) {
            walk.report(item.spot, shape::repeated(wanted.of, text));
        } else {
            texts.push((text, item.spot));
        }
    }
    texts
}

fn no_time(text: &str, error: CivilError) -> Problem {
    let CivilError { of_the_form, message, help } = error;
    if of_the_form { rule::impossible_date(message, help) } else { rule::bad_time(text, message, help) }
}

/// What its parts mean together: never due, too often, or at times that the clock does not show.
fn judge(spot: Spot, map: Map<'_>, when: &When, zone: Zone, walk: &mut Walk<'_>) {
    let at = |key: &str| map.entry(key).map_or(spot, |(key, _)| key.spot);
    let n_errors = walk.found.n_errors();
    match &when.form {
        Form::At(times) => {
            let mut second = map
                .entry("fold")
                .map(|(key, _)| key.spot)
                .filter(|_| times.iter().all(|time| recurrence::showing(time.civil, zone) != Showing::Twice));
            for time in times {
                let problem = match (recurrence::showing(time.civil, zone), when.dst) {
                    (Showing::NoSuchDay, _) => of_when::no_such_day(time.civil, zone),
                    (Showing::Skipped(instead), Dst::Skip | Dst::Wall) => {
                        of_when::skipped_time(time.civil, instead, zone)
                    }
                    (Showing::Skipped(_), Dst::Auto | Dst::Shift) | (Showing::Once | Showing::Twice, _) => {
                        continue;
                    }
                };
                second = None;
                walk.report(at("at"), problem);
            }
            if let Some(spot) = second {
                let why =
                    Phrase::new("the clock shows none of these times twice", "这些时间时钟都只走过一次");
                walk.report(spot, shape::no_effect("fold", why));
            }
        }
        Form::Every(Every { period: Period::Elapsed(step), .. }) => {
            if let (true, Some((key, _))) = (when.dst != Dst::Auto, map.entry("dst")) {
                let why =
                    Phrase::new("`every` counts elapsed time here", "这里的 `every` 按实际经过的时间计算");
                walk.report(key.spot, shape::no_effect("dst", why));
            }
            let n = 86_400 / step.as_secs().max(1);
            if n > MANY_A_DAY {
                walk.report(at("every"), of_when::many_a_day(n));
            }
        }
        Form::Cron(cron) => {
            let n = u64::from(cron.times_a_day());
            if n > MANY_A_DAY {
                walk.report(at("cron"), of_when::many_a_day(n));
            }
        }
        Form::Every(_) | Form::Relative(_) => {}
    }
    if let (Some(from), Some(until)) = (when.from, when.until)
        && until < from
    {
        return walk.report(at("until"), of_when::ends_before_it_begins());
    }
    if walk.found.n_errors() > n_errors {
        return;
    }
    if let Some(never) = recurrence::never(when, zone) {
        let key = match never {
            recurrence::Never::Bounds if when.until.is_some() => "until",
            recurrence::Never::Bounds => "from",
            recurrence::Never::Only => "only",
            recurrence::Never::Except => "except",
        };
        walk.report(at(key), of_when::never(never));
    }
}
