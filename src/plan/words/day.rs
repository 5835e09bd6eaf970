//! The days of a recurrence in words: of the week, of the month, of some months.

use super::list::{self, glued};
use crate::domain::language::Said;
use crate::domain::when::Allowed;

/// The days that days of the month, days of the week and months allow; `None` when it is every day.
pub(super) fn days(allowed: &Allowed) -> Option<Said> {
    let Allowed { days, weekdays, months, .. } = allowed;
    let all_year = months.len() == 12;
    if !all_year {
        return Some(some_months(days.as_deref(), weekdays.as_deref(), months));
    }
    match (days, weekdays) {
        (None, None) => None,
        (None, Some(weekdays)) => Some(on_weekdays(weekdays)),
        (Some(days), None) => {
            let listed = list::of_numbers(days, ordinal);
            let mut said = Said::new(format!("on the {listed} of every month"), glued(&["每月", &listed.zh]));
            if days.iter().all(|day| *day > 28) {
                said.en.push_str(" that has it");
                said.zh.push_str("（没有这一天的月份跳过）");
            }
            Some(said)
        }
        (Some(days), Some(weekdays)) => {
            let (days, weekdays) = (list::of_numbers(days, ordinal), on_weekdays(weekdays));
            Some(Said::new(
                format!("on the {days} of every month and {weekdays} (either is enough)"),
                glued(&["每月", &days.zh, "，以及", &weekdays.zh, "（符合其一即可）"]),
            ))
        }
    }
}

/// The English name of a month, 1–12.
pub(super) fn month_en(month: u32) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    (1..).zip(NAMES).find_map(|(number, name)| (number == month).then_some(name)).unwrap_or("no month")
}

fn some_months(days: Option<&[u32]>, weekdays: Option<&[u32]>, months: &[u32]) -> Said {
    if let (Some([day]), None, [month]) = (days, weekdays, months) {
        let leap = (*day, *month) == (29, 2);
        let (en, zh) = if leap { ("leap year", "每个闰年") } else { ("year", "每年") };
        return Said::new(
            format!("on {day} {} of every {en}", month_en(*month)),
            format!("{zh} {month} 月 {day} 日"),
        );
    }
    let months = list::of_numbers(months, |month| Said::new(month_en(month), format!("{month} 月")));
    let in_months = glued(&["每年", &months.zh, "的"]);
    match (days, weekdays) {
        (None, None) => Said::new(format!("every day in {months}"), format!("{in_months}每一天")),
        (None, Some(weekdays)) => {
            let weekdays = on_weekdays(weekdays);
            Said::new(format!("{weekdays} in {months}"), format!("{in_months}{}", weekdays.zh))
        }
        (Some(days), None) => {
            let days = list::of_numbers(days, ordinal);
            Said::new(format!("on the {days} of {months}"), glued(&[&in_months, &days.zh]))
        }
        (Some(days), Some(weekdays)) => {
            let (days, weekdays) = (list::of_numbers(days, ordinal), on_weekdays(weekdays));
            Said::new(
                format!("on the {days} and {weekdays} in {months} (either is enough)"),
                glued(&[&in_months, &days.zh, "，以及", &weekdays.zh, "（符合其一即可）"]),
            )
        }
    }
}

/// `every weekday`, `every Monday and Friday`; the week begins on Monday.
fn on_weekdays(weekdays: &[u32]) -> Said {
    // Sunday is 0 in the expression and the last day of a week as people say it.
    let mut days: Vec<u32> = weekdays.iter().map(|day| if *day == 0 { 7 } else { *day }).collect();
    days.sort_unstable();
    if days == [1, 2, 3, 4, 5] {
        return Said::new("every weekday", "每个工作日");
    }
    let listed = list::of_numbers(&days, weekday);
    Said::new(format!("every {listed}"), format!("每{}", listed.zh))
}

fn weekday(day: u32) -> Said {
    match day {
        1 => Said::new("Monday", "周一"),
        2 => Said::new("Tuesday", "周二"),
        3 => Said::new("Wednesday", "周三"),
        4 => Said::new("Thursday", "周四"),
        5 => Said::new("Friday", "周五"),
        6 => Said::new("Saturday", "周六"),
        _ => Said::new("Sunday", "周日"),
    }
}

fn ordinal(day: u32) -> Said {
    let ending = match (day / 10, day % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    Said::new(format!("{day}{ending}"), format!("{day} 日"))
}
