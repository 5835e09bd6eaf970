//! `calendar`: the days of one calendar in a year, from the files alone.

use chrono::{Datelike as _, NaiveDate};
use serde::Serialize;

use super::args;
use super::print::{Printer, say};
use super::{broken_pipe, load_failure};
use crate::admin::answer::{Exit, Failure};
use crate::clock::Clock;
use crate::domain::config::Config;
use crate::domain::language::{Language, Said};
use crate::domain::when::Calendar;
use crate::rules;

/// One day that belongs to the calendar, or was taken out of it.
#[derive(Serialize)]
struct DayRow {
    date: String,
    weekday: String,
    #[serde(rename = "in")]
    belongs: bool,
    /// `weekly`, `add` or `remove`.
    why: &'static str,
}

/// Prints the days of the calendar that `args` name: for programs all of them, for people those that no week has.
///
/// # Errors
/// 65: there is no such calendar. 78: a calendar has mistakes.
pub(super) fn run(
    config: &Config,
    args: &args::Calendar,
    printer: &mut Printer,
    language: Language,
) -> Result<Exit, Failure> {
    let calendars = rules::load_calendars(config).map_err(|found| load_failure(&found, language))?.value;
    let calendar = calendars.iter().find(|calendar| calendar.name.to_string() == args.name);
    let Some(calendar) = calendar else {
        let known: Vec<String> = calendars.iter().map(|calendar| calendar.name.to_string()).collect();
        let mut why = Said::new(
            format!("there is no calendar `{}`", args.name),
            format!("没有名为 `{}` 的日历", args.name),
        );
        if !known.is_empty() {
            why = Said::new(
                format!("{why}; there are: {}", known.join(", ")),
                format!("{}；现有：{}", why.zh, known.join("、")),
            );
        }
        return Err(Failure::data(why.to(language)));
    };
    let year = args.year.unwrap_or_else(|| Clock::system().now().with_timezone(&config.zone.tz()).year());
    let rows = days(calendar, year);
    if args.output.json {
        for row in &rows {
            line(row, printer)?;
        }
    } else {
        broken_pipe(say(summary(calendar, year, &rows).to(language)))?;
        for row in rows.iter().filter(|row| row.why != "weekly") {
            line(row, printer)?;
        }
    }
    broken_pipe(printer.end())?;
    Ok(Exit::Done)
}

fn line(row: &DayRow, printer: &mut Printer) -> Result<(), Failure> {
    broken_pipe(printer.line(&serde_json::to_string(row).expect("texts become JSON")))
}

/// Days of a year that belong to it, and those of its weeks that were taken out.
fn days(calendar: &Calendar, year: i32) -> Vec<DayRow> {
    let first = NaiveDate::from_ymd_opt(year, 1, 1);
    let all = first.into_iter().flat_map(|day| day.iter_days()).take_while(|day| day.year() == year);
    let row = |date: NaiveDate| {
        let weekly = calendar.weekly >> date.weekday().num_days_from_sunday() & 1 == 1;
        let why = match (calendar.has(date), weekly) {
            (true, true) => "weekly",
            (true, false) => "add",
            (false, true) => "remove",
            (false, false) => return None,
        };
        Some(DayRow {
            date: date.to_string(),
            weekday: date.weekday().to_string(),
            belongs: why != "remove",
            why,
        })
    };
    all.filter_map(row).collect()
}

fn summary(calendar: &Calendar, year: i32, rows: &[DayRow]) -> Said {
    let n = |what: &str| rows.iter().filter(|row| row.why == what).count();
    let (added, removed) = (n("add"), n("remove"));
    let (all, name) = (n("weekly") + added, &calendar.name);
    Said::new(
        format!("{name} has {all} days in {year}; {added} are added to its weeks, {removed} are taken out"),
        format!("{name} 在 {year} 年有 {all} 天；在每周之外增加 {added} 天，去掉 {removed} 天"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::CalendarName;

    #[test]
    fn days_say_why_they_belong() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a date");
        let calendar = Calendar {
            name: CalendarName::parse("c").expect("a name"),
            weekly: 0b011_1110,
            add: vec![day("2026-01-04"), day("2026-01-05")],
            remove: vec![day("2026-01-01"), day("2026-01-03")],
        };
        let rows = days(&calendar, 2026);
        let first: Vec<_> = rows.iter().take(4).map(|row| (row.date.clone(), row.belongs, row.why)).collect();
        let row = |text: &str, belongs, why| (text.to_owned(), belongs, why);
        let expected = [
            row("2026-01-01", false, "remove"),
            row("2026-01-02", true, "weekly"),
            row("2026-01-04", true, "add"),
            row("2026-01-05", true, "weekly"),
        ];
        assert_eq!(first, expected);
        assert_eq!(
            summary(&calendar, 2026, &rows).en,
            "c has 261 days in 2026; 1 are added to its weeks, 1 are taken out"
        );
        assert_eq!(days(&calendar, 400_000).len(), 0);
    }
}
