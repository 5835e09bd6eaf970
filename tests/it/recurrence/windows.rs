//! Random rules of every form in all zones, in windows of 40 days between 1970 and 2100, half of them on a change of
//! the clock: what the evaluator says against the second reading, cut anywhere, and from any start.
//!
//! `TIXING_WINDOWS` says how many there are; a failure names its seed, and `TIXING_WINDOW=17` looks at one again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use tixing::domain::id::CalendarName;
use tixing::domain::when::{Calendar, Cron, Dst, Every, Except, Form, Pass, Period, Single, When};
use tixing::domain::zone::Zone;
use tixing::plan::recurrence::{Window, dues, last, next};

use super::brute::{self, Days, Due, MonthDay, Rule, Times, WeekDay};
use crate::said;

/// Windows of a plain run.
const WINDOWS: u64 = 500;
const DAY: i64 = 86_400;
/// The span of a window.
const SPAN: i64 = 40 * DAY;
const YEAR_2100: i64 = 4_102_444_800;
/// So many threads look at windows.
const LOOKERS: usize = 2;

/// Chances, by a seed.
struct Luck(u64);

impl Luck {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From `low` to `high`.
    fn within(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.number() % u64::try_from(high - low + 1).unwrap()).unwrap()
    }

    fn small(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.within(low.into(), high.into())).unwrap()
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.within(1, n) == 1
    }

    fn any<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.number() % u64::try_from(list.len()).unwrap()).unwrap()]
    }
}

/// A field of cron: its text, and what it allows.
fn field(luck: &mut Luck, low: u32, high: u32) -> (String, Vec<u32>) {
    match luck.within(0, 9) {
        0 => ("*".to_owned(), (low..=high).collect()),
        1 => {
            let step = luck.small(1, (high - low).min(30));
            (format!("*/{step}"), (low..=high).filter(|value| (value - low).is_multiple_of(step)).collect())
        }
        2 => {
            let (a, b) = (luck.small(low, high), luck.small(low, high));
            let (a, b) = (a.min(b), a.max(b));
            (format!("{a}-{b}"), (a..=b).collect())
        }
        3 | 4 => {
            let list: BTreeSet<u32> = (0..luck.within(2, 4)).map(|_| luck.small(low, high)).collect();
            let text: Vec<String> = list.iter().map(u32::to_string).collect();
            (text.join(","), list.into_iter().collect())
        }
        _ => {
            let value = luck.small(low, high);
            (value.to_string(), vec![value])
        }
    }
}

fn month_days(luck: &mut Luck) -> (String, Option<Vec<MonthDay>>) {
    match luck.within(0, 9) {
        0..=4 => (luck.any(&["*", "?"]).to_owned(), None),
        5 => ("L".to_owned(), Some(vec![MonthDay::Last])),
        6 => ("LW,2".to_owned(), Some(vec![MonthDay::LastWeekday, MonthDay::Plain(2)])),
        7 => {
            let (a, b) = (luck.small(1, 31), luck.small(1, 28));
            (format!("{a}W,{b}W"), Some(vec![MonthDay::Nearest(a), MonthDay::Nearest(b)]))
        }
        _ => {
            let (mut text, days) = field(luck, 1, 31);
            if text == "*" {
                "1-31".clone_into(&mut text);
            }
            (text, Some(days.into_iter().map(MonthDay::Plain).collect()))
        }
    }
}

fn week_days(luck: &mut Luck) -> (String, Option<Vec<WeekDay>>) {
    const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let (one, other) = (luck.small(0, 6), luck.small(0, 6));
    let name = |day: u32| NAMES[usize::try_from(day).unwrap()];
    match luck.within(0, 9) {
        0..=4 => ("*".to_owned(), None),
        5 => {
            let n = luck.small(1, 5);
            (format!("{}#{n},{other}", name(one)), Some(vec![WeekDay::Nth(one, n), WeekDay::Every(other)]))
        }
        6 => (format!("{one}#L"), Some(vec![WeekDay::Last(one)])),
        7 => ("MON-FRI".to_owned(), Some((1..=5).map(WeekDay::Every).collect())),
        _ => (name(one).to_owned(), Some(vec![WeekDay::Every(one)])),
    }
}

/// A random expression, read both ways; `None` when it never fires.
fn cron(luck: &mut Luck) -> Option<(Form, Times)> {
    let with_seconds = luck.one_in(40);
    let (second, seconds) = if with_seconds { field(luck, 0, 59) } else { ("0".to_owned(), vec![0]) };
    // Every minute of 40 days takes long to look at; seconds go with one hour.
    let sparse = with_seconds || !luck.one_in(6);
    let (minute, minutes) =
        if sparse { field(luck, 0, 59) } else { luck.any(&[("*/15", 15), ("*", 1)]).spread() };
    // Clocks change in these hours.
    let hours_of = luck.any(&[(0, 3), (0, 3), (0, 23), (22, 23)]);
    let (hour, hours) = if with_seconds {
        let hour = luck.small(0, 3);
        (hour.to_string(), vec![hour])
    } else if luck.one_in(3) {
        field(luck, 0, 23)
    } else {
        let (text, hours) = field(luck, hours_of.0, hours_of.1);
        if text.starts_with('*') {
            (format!("{}-{}", hours_of.0, hours_of.1), (hours_of.0..=hours_of.1).collect())
        } else {
            (text, hours)
        }
    };
    let (month, months) =
        if luck.one_in(4) { field(luck, 1, 12) } else { ("*".to_owned(), (1..=12).collect()) };
    let (day, days) = month_days(luck);
    let (weekday, weekdays) = week_days(luck);
    let both = weekdays.is_some() && luck.one_in(2);
    let plus = if both { "+" } else { "" };
    let text = format!("{second} {minute} {hour} {day} {month} {plus}{weekday}");
    let wild = minute.starts_with('*') || hour.starts_with('*');
    let parsed = Cron::parse(&text);
    if parsed.as_ref().is_err_and(|error| error.code == tixing::domain::when::CronCode::NeverFires) {
        return None;
    }
    let table = |values: &[u32]| (0..60).map(|value| values.contains(&value)).collect();
    let (seconds, minutes, hours) = (table(&seconds), table(&minutes), table(&hours));
    let times = Times::Cron { seconds, minutes, hours, months, days, weekdays, both, wild };
    Some((Form::Cron(parsed.unwrap_or_else(|error| panic!("{text}: {error}"))), times))
}

/// A step from 0, as a field.
trait Spread {
    fn spread(self) -> (String, Vec<u32>);
}

impl Spread for (&str, usize) {
    fn spread(self) -> (String, Vec<u32>) {
        (self.0.to_owned(), (0..60).step_by(self.1).collect())
    }
}

fn civil(seconds: i64) -> NaiveDateTime {
    DateTime::from_timestamp(seconds, 0).unwrap().naive_utc()
}

/// A random rule about a window, read both ways.
fn rule(luck: &mut Luck, start: i64, change: Option<i64>) -> Option<(When, Rule)> {
    // A civil time in the window, or beside the change of the clock, to the minute or a round one.
    let near = |luck: &mut Luck| {
        let minutes = luck.any(&[1, 1, 15, 30]);
        let at = match change {
            Some(change) if !luck.one_in(3) => change + luck.within(-30, 30) * 3600,
            Some(_) | None => start + luck.within(-DAY, SPAN + DAY),
        };
        civil(at.div_euclid(60 * minutes) * 60 * minutes)
    };
    let (form, times) = match luck.within(0, 9) {
        0..=5 => cron(luck)?,
        6 | 7 => {
            let list: BTreeSet<(NaiveDateTime, bool)> =
                (0..luck.within(1, 30)).map(|_| (near(luck), luck.one_in(4))).collect();
            let pass = |second| if second { Pass::Second } else { Pass::First };
            let singles = list.iter().map(|(civil, second)| Single { civil: *civil, pass: pass(*second) });
            (Form::At(singles.collect()), Times::At(list.iter().copied().collect()))
        }
        8 => {
            let (n, starting) = (luck.small(1, 40), near(luck) - TimeDelta::days(luck.within(0, 800)));
            (
                Form::Every(Every { period: Period::Days(n), starting }),
                Times::Days { starting, step: n.into() },
            )
        }
        _ => {
            let starting = near(luck) - TimeDelta::days(luck.any(&[0, 1, 400]));
            let step = luck.any(&[900, 1800, 3600, 5400, 7 * 3600, DAY, 31 * DAY]) + luck.any(&[0, 0, 60, 7]);
            let period = Period::Elapsed(Duration::from_secs(u64::try_from(step).unwrap()));
            (Form::Every(Every { period, starting }), Times::Elapsed { starting, step })
        }
    };
    let dst = luck.any(&[Dst::Auto, Dst::Auto, Dst::Skip, Dst::Wall, Dst::Shift]);
    let from = luck.one_in(6).then(|| near(luck));
    let until = luck.one_in(6).then(|| near(luck));
    let days = |luck: &mut Luck| -> BTreeSet<NaiveDate> {
        (0..luck.within(0, 8)).map(|_| near(luck).date()).collect()
    };
    let except = if luck.one_in(6) { days(luck) } else { BTreeSet::new() };
    let only = luck.one_in(6).then(|| {
        let weekdays: Vec<u32> = (0..7).filter(|_| luck.one_in(2)).collect();
        let add = days(luck);
        let remove = days(luck).difference(&add).copied().collect();
        Days { weekdays, add, remove }
    });
    let calendar = |only: &Days| {
        Arc::new(Calendar {
            name: CalendarName::parse("c").unwrap(),
            weekly: only.weekdays.iter().fold(0, |mask, day| mask | 1 << day),
            add: only.add.iter().copied().collect(),
            remove: only.remove.iter().copied().collect(),
        })
    };
    let when = When {
        form,
        dst,
        from,
        until,
        except: Except { days: except.iter().copied().collect(), calendars: Vec::new() },
        only: only.iter().map(calendar).collect(),
    };
    Some((when, Rule { times, dst, from, until, except, only }))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn evaluated(when: &When, zone: Zone, after: i64, until: i64) -> Vec<Due> {
    let window = Window { after: at(after), until: at(until) };
    dues(when, zone, window).map(|due| (due.at.timestamp(), due.civil, due.fold)).collect()
}

/// Looks at the window of a seed; what is wrong with it.
fn look(seed: u64, zones: &[&str]) -> Result<usize, String> {
    let mut luck = Luck(seed);
    let zone = Zone::parse(luck.any(zones)).unwrap();
    let mut start = luck.within(0, YEAR_2100 - SPAN);
    let change = if luck.one_in(2) { brute::first_change(zone, start, YEAR_2100 - SPAN) } else { None };
    if let Some(change) = change {
        start = (change - luck.any(&[0, 1, 3600, 20 * DAY, SPAN - 60]) - luck.within(0, 2) * 1800).max(0);
    }
    let Some((when, rule)) = rule(&mut luck, start, change) else { return Ok(0) };
    let end = start + SPAN;
    let expected = rule.dues(zone, start, end);
    let found = evaluated(&when, zone, start, end);
    let told = |what: &str, more: String| {
        Err(format!(
            "seed {seed}, {what}: {when:?} in {zone} from {start}\n{more}\nagain: TIXING_WINDOW={seed} cargo test --locked --test it windows"
        ))
    };
    if found != expected {
        let first =
            found.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
        let part = |list: &[Due]| format!("{:?}", list.iter().skip(first).take(3).collect::<Vec<_>>());
        return told(
            "another reading",
            format!("{first} agree, then {}, not {}", part(&found), part(&expected)),
        );
    }
    if !found.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return told("not ascending", String::new());
    }
    let mut cuts = vec![luck.within(start, end), change.unwrap_or(start).clamp(start, end)];
    cuts.extend(found.get(found.len() / 2).map(|due| due.0));
    for cut in cuts {
        let parts = [evaluated(&when, zone, start, cut), evaluated(&when, zone, cut, end)].concat();
        if parts != found {
            return told("parts differ from the whole", format!("cut at {cut}"));
        }
        // From any start: the next one is the next one, the last one the last one.
        let n = found.partition_point(|due| due.0 <= cut);
        let following = next(&when, zone, at(cut)).map(|due| due.at.timestamp());
        let expected = found.get(n).map(|due| due.0);
        if expected.is_some() && following != expected || following.is_some_and(|at| at <= cut) {
            return told("another next one", format!("after {cut}: {following:?}, not {expected:?}"));
        }
        let before = n.checked_sub(1).map(|n| found[n].0);
        let latest = last(&when, zone, at(cut)).map(|due| due.at.timestamp());
        if before.is_some() && latest != before {
            return told("another last one", format!("until {cut}: {latest:?}, not {before:?}"));
        }
    }
    Ok(found.len())
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was looked at is for people, with --nocapture")]
fn every_window_is_as_a_second_reading_has_it() {
    let zones: Vec<&str> = Zone::names().collect();
    let one = said("TIXING_WINDOW");
    let seeds = one.map_or_else(|| 0..said("TIXING_WINDOWS").unwrap_or(WINDOWS), |seed| seed..seed + 1);
    let (begin, n_dues) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LOOKERS {
            scope.spawn(|| {
                loop {
                    let seed = begin.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match look(seed, &zones) {
                        Ok(n) => drop(n_dues.fetch_add(u64::try_from(n).unwrap(), Ordering::Relaxed)),
                        Err(text) => failures.lock().unwrap().push(text),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!(
        "windows of the seeds {seeds:?} in {} zones, {} due times",
        zones.len(),
        n_dues.load(Ordering::Relaxed)
    );
    assert!(
        failures.is_empty(),
        "{} windows, the first:\n{}",
        failures.len(),
        failures[..failures.len().min(3)].join("\n")
    );
}
