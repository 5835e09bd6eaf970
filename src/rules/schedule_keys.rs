//! The keys of a schedule file, each with its meaning, default and example.
//!
//! A key becomes usable by giving it a meaning and a shape here, in place of its entry under `later`.

use super::audience_entry::{MAX_CONDITION, MAX_OPENIDS};
use super::calendars::MAX_DAYS;
use super::keys::{Absent, Key, keys};
use super::pattern;
use super::quiet_entry::THEN;
use super::relative_entry::IF_LATE;
use super::rule_entry::{MAX_FIELDS, MAX_MAX, MAX_TEXT, MISSED, ON_DOUBT, OVERFLOW};
use super::schedule_file::MAX_RULES;
use super::schema::{
    at, date_or_name, duration_or_none, exactly_one, map, name, named, of_appointments, one_or_set, openid,
    or_nothing, set, short_text, switch, tag, text, texts, to, whole, with_starting, words,
    zone_or_recipient,
};
use super::when_entry::{DST, FOLD, FORMS, MAX_EXCEPT, MAX_TIMES};
use crate::domain::language::Phrase;
use crate::domain::recipient::MAX_TAGS;
use crate::domain::rule::MAX_PRIORITY;

keys! {
    /// A schedule file.
    FILE = [
        Key {
            name: "app",
            about: "The app of tixing.yaml that all rules of this file send for.",
            example: r#""clinic""#,
            absent: Absent::Means("the only app of tixing.yaml; with several, each rule names its own."),
            shape: name,
        },
        Key {
            name: "timezone",
            about: "The zone of the due times in this file, by its IANA name; `recipient` is each recipient's own, or that \
                    of tixing.yaml where he has none.",
            example: r#""Asia/Shanghai""#,
            absent: Absent::Means("the zone of tixing.yaml."),
            shape: zone_or_recipient,
        },
        Key {
            name: "rules",
            about: "The reminder rules by id. An id is unique over all files and stays as long as its rule lives: \
                    a new id is a new rule.",
            example: r#"{ "drink-water": { "template": "habit", "when": { "cron": "0 10 * * *" },
                "data": { "thing1": "喝水时间到", "time2": "{{ due | local('%H:%M') }}" } } }"#,
            absent: Absent::Mistake,
            shape: || {
                let about = "One rule: what is sent, when, and to whom.";
                or_nothing(named(pattern::NAME, map(&RULE), about, 0..=MAX_RULES))
            },
        },
    ], later: &[];

    /// One rule.
    RULE = [
        Key {
            name: "template",
            about: "What is sent: the name of a template of the app in tixing.yaml.",
            example: r#""habit""#,
            absent: Absent::Mistake,
            shape: name,
        },
        Key {
            name: "when",
            about: "When it is due: exactly one form.",
            example: r#"{ "cron": "0 10,15 * * MON-FRI" }"#,
            absent: Absent::Mistake,
            shape: || of_appointments(with_starting(exactly_one(map(&WHEN), &FORMS))),
        },
        Key {
            name: "data",
            about: "A text for each field of the template. Within {{ … }}: `due`, `ref`, `tags`, `fields.NAME`, \
                    `rule.id`; of appointments `appointment.at`, `appointment.id`, `appointment.NAME`.",
            example: r#"{ "thing1": "喝水时间到", "time2": "{{ due | local('%H:%M') }}" }"#,
            absent: Absent::Mistake,
            shape: || texts(short_text(0..=MAX_TEXT), "The text of one field.", 1..=MAX_FIELDS),
        },
        Key {
            name: "page",
            about: "The page that a tap opens. Its path is constant; what follows `?` may hold {{ … }}.",
            example: r#""pages/habit/index?ref={{ ref }}""#,
            absent: Absent::Means("a tap opens nothing."),
            shape: text,
        },
        Key {
            name: "to",
            about: "Who gets it, of those who have a consent; several keys mean all of them at once.",
            example: r#"{ "tags": ["habit"], "where": "fields.city == 'Shanghai'" }"#,
            absent: Absent::Default(r#""all""#),
            shape: || to(map(&TO)),
        },
        Key {
            name: "app",
            about: "The app of tixing.yaml that this rule sends for.",
            example: r#""clinic""#,
            absent: Absent::Means("the app of the file."),
            shape: name,
        },
        Key {
            name: "timezone",
            about: "The zone of this rule's due times, by its IANA name; `recipient` is each recipient's own, or that of \
                    tixing.yaml where he has none.",
            example: r#""recipient""#,
            absent: Absent::Means("the zone of the file."),
            shape: zone_or_recipient,
        },
        Key {
            name: "enabled",
            about: "`false` puts the rule to rest; it stays in the file.",
            example: "false",
            absent: Absent::Default("true"),
            shape: switch,
        },
        Key {
            name: "grace",
            about: "How late a message may still leave, from 60 s to 31 days: a number and one of s, m, h, d, w.",
            example: r#""2 hours""#,
            absent: Absent::Default(r#""30m""#),
            shape: || pattern::texts(&pattern::duration(60), "a number and a unit, from 60s to 31d"),
        },
        Key {
            name: "spread",
            about: "Over how long the messages leave after the due time; each person keeps his place in it. He needs his \
                    consent only when his turn comes. A number and one of s, m, h, d, w; 0 for all at once.",
            example: r#""10m""#,
            absent: Absent::Default("0"),
            shape: duration_or_none,
        },
        Key {
            name: "quiet",
            about: "Hours of each day in which nothing leaves, by the recipient's clock, or the rule's where he has no \
                    time zone of his own. He needs his consent only when it leaves.",
            example: r#"{ "from": "22:00", "to": "08:00", "then": "hold" }"#,
            absent: Absent::Means("messages leave at any hour."),
            shape: || map(&QUIET),
        },
        Key {
            name: "missed",
            about: "What becomes of occurrences found late, but within grace: send the `latest`, `all` up to \
                    `max`, or `skip` them.",
            example: r#""all""#,
            absent: Absent::Default(r#""latest""#),
            shape: || words(&MISSED),
        },
        Key {
            name: "max",
            about: "How many missed occurrences `missed: all` sends, the newest ones.",
            example: "5",
            absent: Absent::Default("3"),
            shape: || whole(1..=MAX_MAX),
        },
        Key {
            name: "overflow",
            about: "What becomes of a value that is too long for its field: `cut` it, or `fail`, which leaves \
                    that person out.",
            example: r#"{ "thing1": "fail" }"#,
            absent: Absent::Means("`thing` fields are cut, all others fail."),
            shape: || texts(words(&OVERFLOW), "One field of `data`.", 0..=MAX_FIELDS),
        },
        Key {
            name: "if_late",
            about: "Of a rule of appointments, for those to whom an appointment belongs only since after the due time: \
                    `skip` them, or `send` at once.",
            example: r#""send""#,
            absent: Absent::Default(r#""skip""#),
            shape: || words(&IF_LATE),
        },
        Key {
            name: "canary",
            about: "Whether one message goes first, and all others when the platform has taken it: a rule that is wrong for \
                    everybody costs one consent. At most 5 people are tried.",
            example: "true",
            absent: Absent::Means("only for more than 1,000 people; how many they are shows from about 200 on."),
            shape: switch,
        },
        Key {
            name: "priority",
            about: "Where somebody has fewer consents than rules want at one moment, the higher one gets it; then the one \
                    due earlier, then the rule id.",
            example: "10",
            absent: Absent::Default("0"),
            shape: || whole(0..=MAX_PRIORITY),
        },
        Key {
            name: "on_doubt",
            about: "What becomes of a message whose request had no answer: `hold` it in doubt, or `resend` it after a minute \
                    with another consent, at most twice. With `resend` a person may get it more than once.",
            example: r#""resend""#,
            absent: Absent::Default(r#""hold""#),
            shape: || words(&ON_DOUBT),
        },
    ], later: &[
    (
        "was",
        Phrase::new(
            "delete it, and keep the old id: a new id is a new rule",
            "请删掉，并沿用原来的 id：换了 id 就是另一条规则",
        ),
    ),
    ];

    /// `quiet` of a rule.
    QUIET = [
        Key {
            name: "from",
            about: "The time of day at which they begin. In quotes.",
            example: r#""22:00""#,
            absent: Absent::Mistake,
            shape: || pattern::texts(pattern::TIME, "HH:MM or HH:MM:SS"),
        },
        Key {
            name: "to",
            about: "The time of day at which they are over; before `from` it is on the next day. In quotes.",
            example: r#""08:00""#,
            absent: Absent::Mistake,
            shape: || pattern::texts(pattern::TIME, "HH:MM or HH:MM:SS"),
        },
        Key {
            name: "then",
            about: "What becomes of a message whose time is within: `hold` it until they are over, or `skip` it.",
            example: r#""skip""#,
            absent: Absent::Default(r#""hold""#),
            shape: || words(&THEN),
        },
    ], later: &[];

    /// `when` of a rule.
    WHEN = [
        Key {
            name: "cron",
            about: "Minute, hour, day of the month, month, day of the week; a sixth field before them has seconds. \
                    Lists, ranges, steps, English names of months and weekdays, L, LW and 15W in the days of the month, \
                    FRI#2, FRI#L and a leading + in the days of the week, and @daily and the like. In quotes.",
            example: r#""0 10,15 * * MON-FRI""#,
            absent: Absent::Means("another form says it."),
            shape: || pattern::texts(&pattern::cron(), "five fields such as 0 9 * * MON-FRI, or six, or @daily"),
        },
        Key {
            name: "at",
            about: "A date and time, or a list of them, each YYYY-MM-DD HH:MM or with seconds. In quotes.",
            example: r#"["2027-03-05 18:00", "2027-03-12 18:00"]"#,
            absent: Absent::Means("another form says it."),
            shape: || at(&map(&SINGLE), MAX_TIMES),
        },
        Key {
            name: "fold",
            about: "Which time is meant where the clock shows a time of `at` twice; one time alone says it as \
                    { at: …, fold: second }.",
            example: r#""second""#,
            absent: Absent::Default(r#""first""#),
            shape: || words(&FOLD),
        },
        Key {
            name: "every",
            about: "How long after the one before, beginning with `starting`: 30m and 24h count time that passes, \
                    1 day and 2 weeks keep the time of day.",
            example: r#""2 weeks""#,
            absent: Absent::Means("another form says it."),
            shape: || pattern::texts(&pattern::period(), "a number and a unit, such as 30m, 24h, 1 day, 2 weeks"),
        },
        Key {
            name: "starting",
            about: "The first time of `every`, YYYY-MM-DD HH:MM or with seconds. In quotes.",
            example: r#""2027-03-01 09:00""#,
            absent: Absent::Means("`every` is a mistake."),
            shape: || pattern::texts(&pattern::civil_time(), "YYYY-MM-DD HH:MM or YYYY-MM-DD HH:MM:SS"),
        },
        Key {
            name: "before",
            about: "How long before each appointment of the kind `of`: 30m and 24h count time that passes, 1 day and \
                    2 weeks are days of the calendar.",
            example: r#""1 day""#,
            absent: Absent::Means("another form says it."),
            shape: || pattern::texts(&pattern::period(), "a number and a unit, such as 30m, 24h, 1 day, 2 weeks"),
        },
        Key {
            name: "after",
            about: "How long after each appointment of the kind `of`, as `before`.",
            example: r#""2 weeks""#,
            absent: Absent::Means("another form says it."),
            shape: || pattern::texts(&pattern::period(), "a number and a unit, such as 30m, 24h, 1 day, 2 weeks"),
        },
        Key {
            name: "same_day",
            about: "On the day of each appointment of the kind `of`, at `time`.",
            example: "true",
            absent: Absent::Means("another form says it."),
            shape: || serde_json::json!({ "enum": [true, "true"] }),
        },
        Key {
            name: "of",
            about: "The kind of appointments that `before`, `after` and `same_day` go by.",
            example: r#""visit""#,
            absent: Absent::Means("those forms are a mistake."),
            shape: || pattern::texts(pattern::KIND, "a kind of appointments"),
        },
        Key {
            name: "time",
            about: "The time of day of `same_day`, or where `before` and `after` count days. In quotes.",
            example: r#""20:00""#,
            absent: Absent::Means("the time of day of the appointment; for `same_day` it is a mistake."),
            shape: || pattern::texts(pattern::TIME, "HH:MM or HH:MM:SS"),
        },
        Key {
            name: "from",
            about: "Not due before this date, or date and time.",
            example: r#""2027-03-01""#,
            absent: Absent::Means("it begins at once."),
            shape: || pattern::texts(&pattern::civil_bound(), "YYYY-MM-DD, or YYYY-MM-DD HH:MM"),
        },
        Key {
            name: "until",
            about: "Not due after this date, or date and time; a date is the end of that day.",
            example: r#""2027-06-30""#,
            absent: Absent::Means("it goes on."),
            shape: || pattern::texts(&pattern::civil_bound(), "YYYY-MM-DD, or YYYY-MM-DD HH:MM"),
        },
        Key {
            name: "except",
            about: "Days on which it is not due: dates, and names of calendars.",
            example: r#"["2027-10-01", "workdays"]"#,
            absent: Absent::Means("no day is left out."),
            shape: || one_or_set(&date_or_name(), MAX_EXCEPT),
        },
        Key {
            name: "only",
            about: "Names of calendars, files in schedules/calendars without `.yaml`: due only on days of one of them.",
            example: r#"["workdays"]"#,
            absent: Absent::Means("each day counts."),
            shape: || one_or_set(&name(), MAX_EXCEPT),
        },
        Key {
            name: "dst",
            about: "What becomes of times that a clock change skips or repeats. `auto`: a time that is skipped is due \
                    right after, one that is repeated the first time; with `*` first in minute or hour it follows \
                    the clock. `skip`: nothing for a skipped time. `wall`: it follows the clock. `shift`: later by as \
                    much as the clock skips.",
            example: r#""shift""#,
            absent: Absent::Default(r#""auto""#),
            shape: || words(&DST),
        },
    ], later: &[
    ];

    /// One time of `at`, when it says more than its text.
    SINGLE = [
        Key {
            name: "at",
            about: "The date and time, YYYY-MM-DD HH:MM or with seconds. In quotes.",
            example: r#""2026-11-01 01:30""#,
            absent: Absent::Mistake,
            shape: || pattern::texts(&pattern::civil_time(), "YYYY-MM-DD HH:MM or YYYY-MM-DD HH:MM:SS"),
        },
        Key {
            name: "fold",
            about: "Which time is meant where the clock shows it twice.",
            example: r#""second""#,
            absent: Absent::Means("`fold` beside `at` says it."),
            shape: || words(&FOLD),
        },
    ], later: &[];

    /// A calendar.
    CALENDAR = [
        Key {
            name: "weekly",
            about: "The days of each week that belong to it.",
            example: r#""MON-FRI""#,
            absent: Absent::Means("only the days of `add` do."),
            shape: || pattern::texts(&pattern::weekdays(), "such as MON-FRI or MON,WED,SAT"),
        },
        Key {
            name: "add",
            about: "Days that belong to it besides, such as make-up work days.",
            example: r#"["2026-10-10"]"#,
            absent: Absent::Means("no day is added."),
            shape: || set(&pattern::texts(&pattern::civil_date(), "YYYY-MM-DD"), 0..=MAX_DAYS),
        },
        Key {
            name: "remove",
            about: "Days that do not, such as holidays; weekends within them may be named too.",
            example: r#"["2026-10-01", "2026-10-02"]"#,
            absent: Absent::Means("no day is removed."),
            shape: || set(&pattern::texts(&pattern::civil_date(), "YYYY-MM-DD"), 0..=MAX_DAYS),
        },
    ], later: &[];

    /// `to` of a rule.
    TO = [
        Key {
            name: "all",
            about: "Everybody; the other keys still choose.",
            example: "true",
            absent: Absent::Means("the other keys choose."),
            shape: || serde_json::json!({ "enum": [true, "true"] }),
        },
        Key {
            name: "tags",
            about: "Has any of these tags.",
            example: r#"["habit", "习惯"]"#,
            absent: Absent::Means("tags do not matter."),
            shape: || set(&tag(), 1..=MAX_TAGS),
        },
        Key {
            name: "all_tags",
            about: "Has all of these tags.",
            example: r#"["habit", "morning"]"#,
            absent: Absent::Means("tags do not matter."),
            shape: || set(&tag(), 1..=MAX_TAGS),
        },
        Key {
            name: "openids",
            about: "Is one of these; a larger circle is a tag.",
            example: r#"["oXXXXXXXXXXXXXXXXXXXXXXXXXXX"]"#,
            absent: Absent::Means("the openid does not matter."),
            shape: || set(&openid(), 1..=MAX_OPENIDS),
        },
        Key {
            name: "where",
            about: "A condition on `fields`, `tags` and `ref`; what a person does not have makes it false.",
            example: r#""fields.city == 'Shanghai'""#,
            absent: Absent::Means("no condition."),
            shape: || short_text(1..=MAX_CONDITION),
        },
    ], later: &[];
}
