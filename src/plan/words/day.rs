//! The days of a recurrence in words: of the week, of the month, of some months.

use super::list::{self, glued};
use crate::domain::language::Said;
use crate::domain::when::{Allowed, AllowedDays, AllowedWeekdays};

/// The days that days of the month, days of the week and months allow; `None` when it is every day.
pub(super) fn days(allowed: &Allowed) -> Option<Said> {
    let Allowed { days, weekdays, months, .. } = allowed;
    let all_year = months.len() == 12;
    if !all_year {
        return Some(some_months(allowed));
    }
    match (days, weekdays) {
        (None, None) => None,
        (None, Some(weekdays)) => Some(on_weekdays(weekdays, "每月")),
        (Some(days), None) => {
            let listed = of_month(days);
            let mut said = Said::new(format!("on the {listed} of every month"), glued(&["每月", &listed.zh]));
            let AllowedDays { plain, nearest, last, last_weekday } = days;
            if plain.iter().chain(nearest).all(|day| *day > 28) && !last && !last_weekday {
                said.en.push_str(" that has it");
                said.zh.push_str("（没有这一天的月份跳过）");
            }
            Some(said)
        }
        (Some(days), Some(weekdays)) => {
            let (days, weekdays, join) = (of_month(days), on_weekdays(weekdays, "每月"), join(allowed));
            Some(Said::new(
                format!("on the {days} of every month and {weekdays} ({join})"),
                glued(&["每月", &days.zh, "，以及", &weekdays.zh, "（", &join.zh, "）"]),
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

/// How the two day fields go together.
fn join(allowed: &Allowed) -> Said {
    if allowed.both {
        Said::new("both must hold", "须同时符合")
    } else {
        Said::new("either is enough", "符合其一即可")
    }
}

/// `1st and 15th`, `last day`, `weekday nearest to the 15th`.
fn of_month(days: &AllowedDays) -> Said {
    let AllowedDays { plain, nearest, last, last_weekday } = days;
    let mut words = Vec::new();
    if !plain.is_empty() {
        words.push(list::of_numbers(plain, ordinal));
    }
    words.extend(nearest.iter().map(|day| {
        let day = ordinal(*day);
        Said::new(format!("weekday nearest to the {day}"), glued(&["离 ", &day.zh, "最近的工作日"]))
    }));
    words.extend(last_weekday.then(|| Said::new("last weekday", "最后一个工作日")));
    words.extend(last.then(|| Said::new("last day", "最后一天")));
    list::of(&words)
}

fn some_months(allowed: &Allowed) -> Said {
    let Allowed { days, weekdays, months, .. } = allowed;
    let only = days.as_ref().map(|AllowedDays { plain, nearest, last, last_weekday }| {
        let others = *last || *last_weekday || !nearest.is_empty();
        if others { &[] } else { plain.as_slice() }
    });
    if let (Some([day]), None, [month]) = (only, weekdays, months.as_slice()) {
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
            let weekdays = on_weekdays(weekdays, "");
            Said::new(format!("{weekdays} in {months}"), format!("{in_months}{}", weekdays.zh))
        }
        (Some(days), None) => {
            let days = of_month(days);
            Said::new(format!("on the {days} of {months}"), glued(&[&in_months, &days.zh]))
        }
        (Some(days), Some(weekdays)) => {
            let (days, weekdays, join) = (of_month(days), on_weekdays(weekdays, ""), join(allowed));
            Said::new(
                format!("on the {days} and {weekdays} in {months} ({join})"),
                glued(&[&in_months, &days.zh, "，以及", &weekdays.zh, "（", &join.zh, "）"]),
            )
        }
    }
}

/// `every weekday`, `every Monday and Friday`, `on the 2nd Friday of the month`.
fn on_weekdays(weekdays: &AllowedWeekdays, each_month: &str) -> Said {
    let AllowedWeekdays { every, nth, last } = weekdays;
    let certain = nth.iter().flat_map(|(n, days)| {
        days.iter().map(move |day| {
            let day = weekday(*day);
            Said::new(format!("{} {day}", ordinal(*n)), format!("第 {n} 个{}", day.zh))
        })
    });
    let last = last.iter().map(|day| {
        let day = weekday(*day);
        Said::new(format!("last {day}"), format!("最后一个{}", day.zh))
    });
    let certain: Vec<Said> = certain.chain(last).collect();
    if certain.is_empty() {
        return on_each(every);
    }
    let certain = list::of(&certain);
    let certain = Said::new(format!("on the {certain} of the month"), format!("{each_month}{}", certain.zh));
    if every.is_empty() {
        return certain;
    }
    let each = on_each(every);
    Said::new(format!("{each} and {certain}"), format!("{}和{}", each.zh, certain.zh))
}

/// `every weekday`, `every Monday and Friday`; the week begins on Monday.
fn on_each(weekdays: &[u32]) -> Said {
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
