//! What the dialect takes, refuses and means.

use super::*;

#[test]
fn faults_name_their_place_and_their_cure() {
    use CronCode::{NeverFires, Syntax};
    let table = [
        ("5/10 * * * *", Syntax, 0, "5-59/10"),
        ("0 22-2 * * *", Syntax, 2, "`22-23,0-2`"),
        ("0 9 * * FRI-MON", Syntax, 8, "`FRI-SAT,SUN-MON`"),
        ("0 9 * * sat-sun", Syntax, 8, "`SAT,SUN`"),
        ("0 9 * 11-2 *", Syntax, 6, "`11-DEC,JAN-2`"),
        ("*/90 * * * *", Syntax, 2, "up to 59"),
        ("0 0-6/8 * * *", Syntax, 6, "up to 6"),
        ("*/0 * * * *", Syntax, 2, "from 1"),
        ("*/ * * * *", Syntax, 2, "from 1"),
        ("60 * * * *", Syntax, 0, "0–59"),
        ("0 24 * * *", Syntax, 2, "0–23"),
        ("0 9 0 * *", Syntax, 4, "1–31"),
        ("0 9 * 13 *", Syntax, 6, "JAN–DEC"),
        ("0 9 * * 8", Syntax, 8, "SUN–SAT"),
        ("0 9,,10 * * *", Syntax, 4, "0–23"),
        ("? 9 * * *", Syntax, 0, "0–59"),
        ("0 -9 * * *", Syntax, 2, "0–23"),
        ("0 +9 * * *", Syntax, 2, "0–23"),
        ("0 009 * * *", Syntax, 2, "0–23"),
        ("每 9 * * *", Syntax, 0, "0–59"),
        ("0 9 * *", Syntax, 7, "minute, hour"),
        ("0 0 9 * * * 2026", Syntax, 12, "minute, hour"),
        ("", Syntax, 0, "minute, hour"),
        ("@reboot", Syntax, 0, "five fields"),
        (" @dayly", Syntax, 1, "@daily"),
        ("@daily *", Syntax, 8, "minute, hour"),
        ("0 9 L-3 * *", Syntax, 4, "`L`"),
        ("0 9 WL * *", Syntax, 4, "`LW`"),
        ("0 9 1-5W * *", Syntax, 6, "`15W`"),
        ("0 9 32W * *", Syntax, 4, "1–31"),
        ("0 9 W * *", Syntax, 4, "`15W`"),
        ("0 9 L/2 * *", Syntax, 4, "1–31"),
        ("0 9 * * 5#6", Syntax, 10, "`5#L`"),
        ("0 9 * * FRI#0", Syntax, 12, "`FRI#L`"),
        ("0 9 * * FRI#", Syntax, 12, "`FRI#1` to `FRI#5`"),
        ("0 9 * * #2", Syntax, 8, "SUN–SAT"),
        ("0 9 * * MON-FRI#2", Syntax, 8, "SUN–SAT"),
        ("0 9 * * friL", Syntax, 8, "`FRI#L`"),
        ("0 9 * * 1,5L", Syntax, 10, "`5#L`"),
        ("0 9 * * L", Syntax, 8, "`SAT`"),
        ("0 9 * * +", Syntax, 9, "SUN–SAT"),
        ("0 9 * * 1,+2", Syntax, 10, "SUN–SAT"),
        ("0 9 +1 * *", Syntax, 4, "1–31"),
        ("0 9 L L *", Syntax, 6, "JAN–DEC"),
        ("0 9 8 * +1#1", NeverFires, 4, "delete the `+`"),
        ("0 9 LW * +SAT", NeverFires, 4, "delete the `+`"),
        ("0 9 31W 4 *", NeverFires, 4, "one of the months"),
        ("0 9 30 2 *", NeverFires, 4, "one of the months"),
        ("0 9 31 4,6 ?", NeverFires, 4, "one of the months"),
    ];
    for (text, code, at, help) in table {
        let error = Cron::parse(text).expect_err(text);
        assert_eq!((error.code, error.at), (code, at), "{text}: {error:?}");
        assert!(error.help.en.contains(help), "{text}: {error:?}");
    }
}

#[test]
fn spellings_of_the_same_times_are_equal() {
    let same = [
        ("0 9 * * 1-5", "0 9 * * MON-fri"),
        ("0 9 * * 0", "0 9 * * 7"),
        ("0 9 * * 5-7", "0 9 * * FRI,SAT,SUN"),
        ("0 9 ? * 1", "0 9 * * 1"),
        ("0 9 * jan,JUL *", " 0  9 * 1,7 * "),
        ("*/20 * * * *", "0-59/20 * * * *"),
        ("0 0 9 * * *", "0 9 * * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        (" @midnight ", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("0 9 l,15w * 5#l", "0 9 15W,L * FRI#L"),
        ("0 9 lw * 7#2", "0 9 LW * SUN#2"),
    ];
    for (a, b) in same {
        let (a, b) = (Cron::parse(a).expect(a), Cron::parse(b).expect(b));
        let masks = |c: &Cron| (c.seconds, c.minutes, c.hours, c.days, c.months, c.weekdays);
        let both = |c: &Cron| c.join;
        assert_eq!((masks(&a), both(&a)), (masks(&b), both(&b)), "{} {}", a.as_str(), b.as_str());
    }
}

#[test]
fn only_a_leading_star_is_wild_and_29_february_exists() {
    let wild = |text| Cron::parse(text).expect(text).is_wild();
    assert!(wild("*/5 2 * * *") && wild("0 * * * *"));
    assert!(!wild("0,30 2 * * *") && !wild("*/10 59 1 * * *"));
    assert!(Cron::parse("0 9 29 2 *").is_ok() && Cron::parse("0 9 30 2 1").is_ok());
}

#[test]
fn times_of_a_day_are_walked_in_order() {
    let cron = Cron::parse("10,40 5,35 8,20 * * *").expect("good");
    let mut seen = Vec::new();
    let mut from = 0;
    while let Some(time) = cron.time_from(from) {
        seen.push((time / 3600, time / 60 % 60, time % 60));
        from = time + 1;
    }
    let expected = [8, 20].map(|h| [5, 35].map(|m| [10, 40].map(|s| (h, m, s))));
    assert_eq!(seen, expected.as_flattened().as_flattened());
    let seconds = |(hour, minute, second): (u32, u32, u32)| hour * 3600 + minute * 60 + second;
    assert_eq!(cron.first_and_last_time(), (seconds((8, 5, 10)), seconds((20, 35, 40))));
    let all = Cron::parse("* * * * * *").expect("good");
    assert_eq!(all.first_and_last_time(), (0, seconds((23, 59, 59))));
}

/// Days of a month by a rule that is written again with dates: letters against the calendar.
#[test]
fn letters_mean_days_of_the_calendar() {
    type Means<'a> = &'a dyn Fn(NaiveDate) -> bool;
    let start = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a day");
    let weekend = |day: NaiveDate| day.weekday().number_from_monday() > 5;
    let last = |day: NaiveDate| day.with_day(day.num_days_in_month().into()).expect("a day");
    // As people say it: the nearest of the weekdays of that month.
    let nearest = move |to: NaiveDate| {
        let month =
            to.iter_days().take(3).chain(to.pred_opt()).chain(to.pred_opt().and_then(|day| day.pred_opt()));
        let near = month.filter(|day| day.month() == to.month() && !weekend(*day));
        near.min_by_key(|day| (*day - to).num_days().abs()).expect("a weekday is near")
    };
    let table: [(&str, Means<'_>); 10] = [
        ("0 0 L * *", &|day| day == last(day)),
        ("0 0 LW * *", &|day| day == nearest(last(day))),
        ("0 0 15W * *", &|day| day == nearest(day.with_day(15).expect("a day"))),
        ("0 0 1W * *", &|day| day == nearest(day.with_day(1).expect("a day"))),
        ("0 0 31W * *", &|day| day.with_day(31).is_some_and(|to| day == nearest(to))),
        ("0 0 * * FRI#2", &|day| day.weekday() == chrono::Weekday::Fri && (8..15).contains(&day.day())),
        ("0 0 * * 0#5", &|day| day.weekday() == chrono::Weekday::Sun && day.day() > 28),
        ("0 0 * * MON#L", &|day| day.weekday() == chrono::Weekday::Mon && (last(day) - day).num_days() < 7),
        ("0 0 13 * FRI", &|day| day.day() == 13 || day.weekday() == chrono::Weekday::Fri),
        ("0 0 13 * +FRI", &|day| day.day() == 13 && day.weekday() == chrono::Weekday::Fri),
    ];
    for (text, means) in table {
        let cron = Cron::parse(text).expect(text);
        for day in start.iter_days().take(28 * 366) {
            assert_eq!(cron.has_day(day), means(day), "{text} {day}");
        }
    }
}

#[test]
fn what_is_probably_not_meant_is_seen() {
    let cron = |text| Cron::parse(text).expect(text);
    let numeric = |text| cron(text).has_numeric_weekday();
    assert!(numeric("0 9 * * 1-5") && numeric("0 9 * * MON,3#2") && numeric("0 9 1 * +0"));
    assert!(!numeric("0 9 * * MON-FRI/2") && !numeric("0 9 * * */2") && !numeric("0 9 * * FRI#2"));
    assert!(cron("0 9 13 * 5").has_either_day() && !cron("0 9 13 * +5").has_either_day());
    let rare = |text| cron(text).rare_days();
    assert_eq!(rare("0 9 29-31 * *"), [29, 30, 31]);
    assert_eq!(rare("0 9 31 1,3 *"), [0; 0]);
    assert_eq!(rare("0 9 28,31 * *"), [0; 0]);
    assert_eq!(rare("0 9 31,L * *"), [0; 0]);
    assert_eq!(rare("0 9 29 2 *"), [29]);
    assert_eq!(cron("0,30 9-17 * * *").times_a_day(), 18);
}
