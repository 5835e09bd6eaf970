//! What common schedules read like, and that no two different ones read alike.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;
use crate::domain::when::civil_time;

fn cron(text: &str) -> Cron {
    Cron::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn common_schedules_read_naturally() {
    let table = [
        ("0 10,15 * * MON-FRI", "every weekday at 10:00 and 15:00", "每个工作日 10:00 和 15:00"),
        ("0 9 * * *", "every day at 09:00", "每天 09:00"),
        ("30 8,12,18 * * *", "every day at 08:30, 12:30 and 18:30", "每天 08:30、12:30 和 18:30"),
        ("* * * * *", "every minute", "每分钟"),
        ("*/15 * * * *", "every 15 minutes", "每 15 分钟"),
        ("0 * * * *", "every hour on the hour", "每小时整点"),
        ("5 * * * *", "every hour at minute 5", "每小时的第 5 分"),
        ("5,35,50 * * * *", "at minutes 5, 35 and 50 of every hour", "每小时的第 5、35 和 50 分"),
        ("*/7 * * * *", "at minutes 0, 7, 14, … and 56 of every hour", "每小时的第 0、7、14、…、56 分"),
        ("0 */2 * * *", "every day, every 2 hours from 00:00 to 22:00", "每天 00:00 至 22:00 每 2 小时一次"),
        ("0 9-17 * * *", "every day, every hour from 09:00 to 17:00", "每天 09:00 至 17:00 每小时一次"),
        (
            "*/15 9-17 * * 1-5",
            "every weekday, every 15 minutes from 09:00 to 17:45",
            "每个工作日，09:00 至 17:45 每 15 分钟",
        ),
        ("0 9 * * SAT,SUN", "every Saturday and Sunday at 09:00", "每周六和周日 09:00"),
        ("0 9 * * 0", "every Sunday at 09:00", "每周日 09:00"),
        ("0 9 * * 1,3,5", "every Monday, Wednesday and Friday at 09:00", "每周一、周三和周五 09:00"),
        ("0 9 * * 1-4", "every Monday to Thursday at 09:00", "每周一至周四 09:00"),
        ("0 9 * * 5-7", "every Friday to Sunday at 09:00", "每周五至周日 09:00"),
        ("0 9 1 * *", "on the 1st of every month at 09:00", "每月 1 日 09:00"),
        ("0 9 1,15 * *", "on the 1st and 15th of every month at 09:00", "每月 1 日和 15 日 09:00"),
        ("0 9 1-7 * *", "on the 1st to 7th of every month at 09:00", "每月 1 日至 7 日 09:00"),
        (
            "0 9 */2 * *",
            "on the 1st, 3rd, 5th, … and 31st of every month at 09:00",
            "每月 1 日、3 日、5 日、…、31 日 09:00",
        ),
        (
            "0 9 31 * *",
            "on the 31st of every month that has it at 09:00",
            "每月 31 日（没有这一天的月份跳过）09:00",
        ),
        ("0 9 1 10 *", "on 1 October of every year at 09:00", "每年 10 月 1 日 09:00"),
        ("0 9 29 2 *", "on 29 February of every leap year at 09:00", "每个闰年 2 月 29 日 09:00"),
        (
            "0 9 1 1,4,7,10 *",
            "on the 1st of January, April, July and October at 09:00",
            "每年 1 月、4 月、7 月和 10 月的 1 日 09:00",
        ),
        ("0 9 * 6-8 1-5", "every weekday in June to August at 09:00", "每年 6 月至 8 月的每个工作日 09:00"),
        ("0 9 * 12 *", "every day in December at 09:00", "每年 12 月的每一天 09:00"),
        (
            "0 9 13 * FRI",
            "on the 13th of every month and every Friday (either is enough) at 09:00",
            "每月 13 日，以及每周五（符合其一即可）09:00",
        ),
        (
            "0 9 13 6 FRI",
            "on the 13th and every Friday in June (either is enough) at 09:00",
            "每年 6 月的 13 日，以及每周五（符合其一即可）09:00",
        ),
        ("0 9 */1 * FRI", "every day at 09:00", "每天 09:00"),
        ("@daily", "every day at 00:00", "每天 00:00"),
        ("0 9 L * *", "on the last day of every month at 09:00", "每月最后一天 09:00"),
        ("0 9 LW * *", "on the last weekday of every month at 09:00", "每月最后一个工作日 09:00"),
        (
            "0 9 1,15W * *",
            "on the 1st and weekday nearest to the 15th of every month at 09:00",
            "每月 1 日和离 15 日最近的工作日 09:00",
        ),
        ("0 9 * * FRI#2", "on the 2nd Friday of the month at 09:00", "每月第 2 个周五 09:00"),
        (
            "0 9 * 6 MON,FRI#L",
            "every Monday and on the last Friday of the month in June at 09:00",
            "每年 6 月的每周一和最后一个周五 09:00",
        ),
        (
            "0 9 13 * +FRI",
            "on the 13th of every month and every Friday (both must hold) at 09:00",
            "每月 13 日，以及每周五（须同时符合）09:00",
        ),
        ("*/15 * * * * *", "every 15 seconds", "每 15 秒"),
        ("* * * * * *", "every second", "每秒"),
        ("30 * * * * *", "every minute at second 30", "每分钟的第 30 秒"),
        ("30 0 9 * * *", "every day at 09:00:30", "每天 09:00:30"),
        (
            "*/20 * 9 * * *",
            "every day, every 20 seconds from 09:00 to 09:59:40",
            "每天 09:00 至 09:59:40 每 20 秒",
        ),
        (
            "0 */10 8,12-14 * * *",
            "every day, at minutes 0, 10, 20, … and 50 of the hours 8 and 12 to 14",
            "每天 8 和 12 至 14 点的第 0、10、20、…、50 分",
        ),
        (
            "1,2 3-50 * * * *",
            "at minutes 3 to 50 of every hour, at seconds 1 and 2",
            "每小时的第 3 至 50 分的第 1 和 2 秒",
        ),
    ];
    for (text, en, zh) in table {
        let said = when(&When::from(cron(text)));
        assert_eq!((said.en.as_str(), said.zh.as_str()), (en, zh), "{text}");
    }
}

#[test]
fn single_times_are_listed_or_counted() {
    let times =
        |texts: &[&str]| -> When { texts.iter().map(|text| civil_time(text).expect("a time")).collect() };
    let table = [
        (&["2027-03-05 18:00"][..], "once, on 5 March 2027 at 18:00", "一次：2027 年 3 月 5 日 18:00"),
        (
            &["2027-03-05 18:00", "2027-03-12 18:00:30"],
            "2 times: 5 March 2027 at 18:00 and 12 March 2027 at 18:00:30",
            "共 2 次：2027 年 3 月 5 日 18:00 和 2027 年 3 月 12 日 18:00:30",
        ),
    ];
    for (texts, en, zh) in table {
        let said = when(&times(texts));
        assert_eq!((said.en.as_str(), said.zh.as_str()), (en, zh), "{texts:?}");
    }
    let first = NaiveDate::from_ymd_opt(2027, 1, 1).and_then(|day| day.and_hms_opt(9, 0, 0)).expect("a time");
    let many: When = (0..52).map(|week| first + chrono::TimeDelta::weeks(week)).collect();
    let said = when(&many);
    assert_eq!(
        said.en,
        "52 times, the first on 1 January 2027 at 09:00, the last on 24 December 2027 at 09:00"
    );
    assert_eq!(said.zh, "共 52 次，最早 2027 年 1 月 1 日 09:00，最晚 2027 年 12 月 24 日 09:00");
}

#[test]
fn spans_are_told_in_their_units() {
    let table = [
        (60, "1 minute", "1 分钟"),
        (1800, "30 minutes", "30 分钟"),
        (5400, "1 hour 30 minutes", "1 小时 30 分钟"),
        (86_400, "1 day", "1 天"),
        (0, "0 seconds", "0 秒"),
        (90_061, "1 day 1 hour 1 minute 1 second", "1 天 1 小时 1 分钟 1 秒"),
    ];
    for (seconds, en, zh) in table {
        let said = span(Duration::from_secs(seconds));
        assert_eq!((said.en.as_str(), said.zh.as_str()), (en, zh), "{seconds}");
    }
}

/// One date for each date of the year on each weekday, leap days included.
static DATES: LazyLock<Vec<NaiveDate>> = LazyLock::new(|| {
    let start = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a day");
    let all = (0..28 * 366).map(|n| start + chrono::TimeDelta::days(n));
    let named: HashMap<_, _> = all.map(|date| ((date.month(), date.day(), date.weekday()), date)).collect();
    assert_eq!(named.len(), 366 * 7);
    named.into_values().collect()
});

/// Whether it is due on each of [`DATES`], and its times of a day.
type Meaning = (Vec<bool>, Vec<u32>);

/// What an expression means.
fn meaning(cron: &Cron) -> Meaning {
    let days = DATES.iter().map(|date| cron.has_day(*date)).collect();
    let mut times = Vec::new();
    let mut from = 0;
    while let Some(time) = cron.time_from(from) {
        times.push(time);
        from = time + 1;
    }
    (days, times)
}

/// One field: few values, so that expressions meet often.
fn field(max: u32, from: u32) -> impl Strategy<Value = String> {
    let value = from..=max;
    let item = prop_oneof![
        3 => Just("*".to_owned()),
        3 => value.clone().prop_map(|v| v.to_string()),
        2 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        2 => (1..=max - from).prop_map(|n| format!("*/{n}")),
        1 => (value.clone(), value).prop_map(|(a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            if b - a >= 2 { format!("{a}-{b}/2") } else { a.to_string() }
        }),
    ];
    proptest::collection::vec(item, 1..=3).prop_map(|items| items.join(","))
}

fn expression() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![3 => Just("0".to_owned()), 1 => field(59, 0)];
    let with = |plain: BoxedStrategy<String>, letters: &'static [&'static str]| {
        let letters = proptest::sample::subsequence(letters, 1..=2).prop_map(|some| some.join(","));
        prop_oneof![3 => plain.clone(), 1 => letters.clone(), 1 => (plain, letters).prop_map(|(a, b)| format!("{a},{b}"))]
    };
    let day = with(field(31, 1).boxed(), &["L", "LW", "1W", "15W", "31W"]);
    let weekday = with(field(6, 0).boxed(), &["1#1", "1#5", "5#2", "0#L", "5#L"]);
    let weekday = (weekday, any::<bool>())
        .prop_map(|(days, both)| if both && !days.starts_with('*') { format!("+{days}") } else { days });
    (seconds, field(59, 0), field(23, 0), day, field(12, 1), weekday)
        .prop_map(|(s, m, h, d, mo, w)| format!("{s} {m} {h} {d} {mo} {w}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(72))]
    #[test]
    fn different_times_never_read_alike(texts in proptest::collection::vec(expression(), 10..20)) {
        let mut known: HashMap<String, (String, Meaning)> = HashMap::new();
        for text in texts {
            let Ok(cron) = Cron::parse(&text) else { continue };
            let said = when(&When::from(cron.clone()));
            prop_assert_eq!(&said, &when(&When::from(cron.clone())));
            prop_assert!(!said.en.is_empty() && !said.zh.is_empty());
            let means = meaning(&cron);
            for words in [said.en, said.zh] {
                if let Some((other, meant)) = known.get(&words) {
                    prop_assert!(*meant == means, "`{}` and `{}` both read: {}", text, other, words);
                }
                known.insert(words, (text.clone(), means.clone()));
            }
        }
    }
}

/// Every pair of masks of small fields, taken apart: each field's words determine the field.
#[test]
fn each_field_is_told_exactly() {
    let mut seen: HashMap<String, Vec<u32>> = HashMap::new();
    for mask in 1_u32..1 << 12 {
        let values: Vec<u32> = (0..12).filter(|bit| mask >> bit & 1 == 1).collect();
        let said = list::of_numbers(&values, |n| Said::new(n.to_string(), n.to_string()));
        for words in [format!("en {}", said.en), format!("zh {}", said.zh)] {
            if let Some(other) = seen.insert(words, values.clone()) {
                panic!("{values:?} and {other:?} read: {said}");
            }
        }
    }
    let mut seen: HashMap<String, u32> = HashMap::new();
    for weekdays in 1_u32..1 << 7 {
        let list: Vec<String> =
            (0..7).filter(|bit| weekdays >> bit & 1 == 1).map(|day| day.to_string()).collect();
        let said = when(&When::from(cron(&format!("0 9 * * {}", list.join(",")))));
        for words in [said.en, said.zh] {
            assert_eq!(seen.insert(words.clone(), weekdays), None, "{words}");
        }
    }
}
