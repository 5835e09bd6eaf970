//! The keys of a schedule file, each with its meaning, default and example.
//!
//! A key becomes usable by giving it a meaning and a shape here, in place of its entry under `later`.

use super::audience_entry::{MAX_CONDITION, MAX_OPENIDS};
use super::keys::{Absent, Key, keys};
use super::pattern;
use super::rule_entry::{MAX_FIELDS, MAX_MAX, MAX_TEXT, MISSED, OVERFLOW};
use super::schedule_file::MAX_RULES;
use super::schema::{
    at, exactly_one, map, name, named, openid, or_nothing, set, short_text, switch, tag, text, texts, to,
    whole, words, zone,
};
use super::when_entry::MAX_TIMES;
use crate::domain::language::Phrase;
use crate::domain::recipient::MAX_TAGS;

const APPOINTMENTS: Phrase =
    Phrase::new("use `cron` or `at`; appointments come later", "改用 `cron` 或 `at`；预约功能以后才有");
const OF_APPOINTMENTS: Phrase = Phrase::new(
    "it belongs to appointments, which come later; delete it",
    "它属于预约功能，以后才有；请删掉",
);

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
            about: "The zone of the due times in this file, by its IANA name.",
            example: r#""Asia/Shanghai""#,
            absent: Absent::Means("the zone of tixing.yaml."),
            shape: zone,
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
            shape: || exactly_one(map(&WHEN), &["cron", "at"]),
        },
        Key {
            name: "data",
            about: "A text for each field of the template. Within {{ … }}: `due`, `ref`, `tags`, `fields.NAME`, \
                    `rule.id`.",
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
            about: "The zone of this rule's due times, by its IANA name.",
            example: r#""Asia/Shanghai""#,
            absent: Absent::Means("the zone of the file."),
            shape: zone,
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
    ], later: &[    (
        "quiet",
        Phrase::new("delete it, and choose due times outside the night", "请删掉；把时间安排在夜间以外"),
    ),
    (
        "spread",
        Phrase::new(
            "delete it; `limits` of the app hold the rate down",
            "请删掉；发送速度由应用的 `limits` 控制",
        ),
    ),
    ("priority", Phrase::new("delete it; the earlier due time goes first", "请删掉；时间早的先发")),
    (
        "if_late",
        Phrase::new(
            "delete it; it belongs to appointments, which come later",
            "请删掉；它属于预约功能，以后才有",
        ),
    ),
    (
        "on_doubt",
        Phrase::new(
            "delete it; a send in doubt is held and never sent again",
            "请删掉；结果不明的发送会先搁置，不会重发",
        ),
    ),
    (
        "canary",
        Phrase::new(
            "delete it; try the rule with `to: { openids: [ … ] }` first",
            "请删掉；可先用 `to: { openids: [ … ] }` 试发",
        ),
    ),
    (
        "was",
        Phrase::new(
            "delete it, and keep the old id: a new id is a new rule",
            "请删掉，并沿用原来的 id：换了 id 就是另一条规则",
        ),
    ),
    ];

    /// `when` of a rule.
    WHEN = [
        Key {
            name: "cron",
            about: "Minute, hour, day of the month, month, day of the week; a sixth field before them has seconds. \
                    Lists, ranges, steps and English names of months and weekdays. In quotes.",
            example: r#""0 10,15 * * MON-FRI""#,
            absent: Absent::Means("another form says it."),
            shape: || pattern::texts(&pattern::cron(), "five fields such as 0 9 * * MON-FRI, or six"),
        },
        Key {
            name: "at",
            about: "A date and time, or a list of them, each YYYY-MM-DD HH:MM or with seconds. In quotes.",
            example: r#"["2027-03-05 18:00", "2027-03-12 18:00"]"#,
            absent: Absent::Means("another form says it."),
            shape: || at(MAX_TIMES),
        },
    ], later: &[    (
        "every",
        Phrase::new(
            "use `cron`, for example `cron: \"0 */2 * * *\"`",
            "改用 `cron`，例如 `cron: \"0 */2 * * *\"`",
        ),
    ),
    ("before", APPOINTMENTS),
    ("after", APPOINTMENTS),
    ("same_day", APPOINTMENTS),
    ("starting", Phrase::new("it belongs to `every`; delete it", "它要和 `every` 一起用；请删掉")),
    ("of", OF_APPOINTMENTS),
    ("time", OF_APPOINTMENTS),
    (
        "from",
        Phrase::new(
            "delete it, and set `enabled: true` when the rule should begin",
            "请删掉；到该开始时再写 `enabled: true`",
        ),
    ),
    (
        "until",
        Phrase::new(
            "delete it, and set `enabled: false` when the rule should end",
            "请删掉；到该结束时再写 `enabled: false`",
        ),
    ),
    (
        "except",
        Phrase::new(
            "delete it; list the due times in `at` if holidays matter",
            "请删掉；要避开节假日，可用 `at` 逐个列出时间",
        ),
    ),
    (
        "only",
        Phrase::new(
            "delete it; list the due times in `at` if workdays matter",
            "请删掉；只要工作日的话，可用 `at` 逐个列出时间",
        ),
    ),
    (
        "dst",
        Phrase::new(
            "delete it; `auto`, the default, is what is done",
            "请删掉；现在总是按默认的 `auto` 处理",
        ),
    ),
    ];

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
