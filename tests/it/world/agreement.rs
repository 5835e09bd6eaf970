//! What `next` and `explain` foretell is what then happens, and what `explain` says of it afterwards.
//!
//! The repository's own configuration and schedules are loaded and run for a week of sandbox time, with
//! people who have consents, run out of them, refused, are muted, lack fields, or are not meant. The
//! week begins on the 1st of a month and holds a class, so that every example is due in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tixing::admin::answer::{Exit, Frame};
use tixing::admin::desk::Desk;
use tixing::admin::request::{Lang, Request};
use tixing::domain::recipient::FieldValue;

use super::*;

/// One more schedule beside the examples: it wants the same consents as `drink-water`, and shows a field.
const GREETING: &str = "timezone: Asia/Shanghai\nrules:\n  greeting:\n    template: habit\n    \
                        when: { cron: \"0 12 * * *\" }\n    to: { tags: [greet] }\n    \
                        data: { thing1: \"你好{{ fields.nick }}\", time2: \"{{ due | local('%H:%M') }}\" }\n    \
                        overflow: { thing1: fail }\n";
/// Sunday evening before Monday 1 March 2027, in Beijing.
const START: &str = "2027-02-28T21:00:00+08:00";
const WEEK_S: u64 = 7 * 86_400;

/// A person: tags, fields, and how many consents of which template.
struct Somebody {
    name: &'static str,
    tags: &'static [&'static str],
    fields: &'static [(&'static str, &'static str)],
    consents: &'static [(&'static str, u32)],
    muted: bool,
}

const fn somebody(
    name: &'static str,
    tags: &'static [&'static str],
    fields: &'static [(&'static str, &'static str)],
    consents: &'static [(&'static str, u32)],
) -> Somebody {
    Somebody { name, tags, fields, consents, muted: false }
}

const PEOPLE: &[Somebody] = &[
    somebody("ample", &["habit"], &[], &[("habit", 12)]),
    somebody("short", &["habit"], &[], &[("habit", 3)]),
    somebody("none", &["habit", "greet"], &[("nick", "x")], &[]),
    somebody("other", &["x"], &[], &[("habit", 5), ("class", 1), ("bill", 1)]),
    Somebody {
        muted: true,
        ..somebody("muted", &["habit", "piano"], &[("campus", "east")], &[("habit", 5), ("class", 1)])
    },
    somebody("refuser", &["habit"], &[], &[("habit", 2)]),
    somebody("both", &["habit", "greet"], &[("nick", "小王")], &[("habit", 7)]),
    somebody("nameless", &["greet"], &[], &[("habit", 9)]),
    somebody(
        "longname",
        &["greet"],
        &[("nick", "一二三四五六七八九十一二三四五六七八九十")],
        &[("habit", 9)],
    ),
    somebody("east", &["piano"], &[("campus", "east")], &[("class", 1)]),
    somebody(
        "teacher",
        &["钢琴"],
        &[("campus", "east"), ("teacher", "一位名字特别特别特别特别特别长的老师")],
        &[("class", 2)],
    ),
    somebody("west", &["piano"], &[("campus", "west")], &[("class", 1)]),
    somebody("nowhere", &["piano"], &[], &[("class", 1)]),
    somebody("eastnone", &["piano"], &[("campus", "east")], &[]),
    somebody("owes", &[], &[("amount_due", "128.5")], &[("bill", 1)]),
    somebody("paid", &[], &[("amount_due", "0")], &[("bill", 1)]),
    somebody("owesnone", &[], &[("amount_due", "30")], &[]),
    somebody("rich", &[], &[("amount_due", "123456789012")], &[("bill", 1)]),
];

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Templates of the example configuration by their names there: id and field keys.
fn templates(config: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let line = |line: &str| {
        let (name, rest) = line.trim().split_once(": { id: ")?;
        let (id, rest) = rest.split_once(',')?;
        let fields = rest.split_once("fields: [")?.1.split_once(']')?.0;
        let fields = fields.split(", ").map(str::to_owned).collect();
        Some((name.to_owned(), (id.to_owned(), fields)))
    };
    config.lines().filter_map(line).collect()
}

impl World {
    /// The repository's example, with the platform, the folders and the socket of this world.
    async fn of_the_examples() -> (Self, BTreeMap<String, String>) {
        let text = fs::read_to_string(example("tixing.example.yaml")).unwrap();
        let known = templates(&text);
        assert!(known.len() >= 3, "{known:?}");
        let templates = known.values().map(|(id, fields)| sandbox::Template {
            id: id.clone(),
            title: id.clone(),
            kind: sandbox::TemplateKind::OneTime,
            fields: fields.iter().map(|key| sandbox::Field::new(key, key)).collect(),
        });
        let app = sandbox::App { appid: APPID.to_owned(), secret: SECRET.to_owned() };
        let options = sandbox::Options::new(vec![app], templates.collect());
        let start = DateTime::parse_from_rfc3339(START).unwrap().to_utc();
        let mut world = Self::around(options, start).await;
        let put_in = [
            ("wx0123456789abcdef", APPID),
            ("\n  clinic:", "\n  main:\n    base_url: {base_url}"),
            ("apps: [clinic]", "apps: [main]"),
            ("sled:/var/lib/tixing/store", "sled:store"),
            ("127.0.0.1:8080", "127.0.0.1:0"),
            ("/run/tixing/admin.sock", "admin.sock"),
        ];
        let config = put_in.into_iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "the example has no `{from}`");
            text.replacen(from, to, 1)
        });
        world.config = Some(config);
        let schedules = world.folder.path().join("schedules");
        fs::create_dir(schedules.join("calendars")).unwrap();
        for folder in ["", "calendars"] {
            for entry in fs::read_dir(example("schedules").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    fs::copy(&path, schedules.join(folder).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        fs::write(schedules.join("greeting.yaml"), GREETING).unwrap();
        (world, known.into_iter().map(|(name, (id, _))| (name, id)).collect())
    }

    /// Moves the clock to an instant.
    async fn goes_to(&self, at: DateTime<Utc>) {
        self.calm().await;
        self.clock.advance((at - self.clock.now()).to_std().unwrap());
        self.calm().await;
    }

    /// The rows that an operator gets through the running daemon's desk.
    pub(super) async fn asks(&self, request: Request) -> Vec<Value> {
        let (exit, message, rows) = self.asks_and_ends(request).await;
        assert_eq!(exit, Exit::Done, "{message:?}");
        rows
    }

    /// The same, however it ends.
    pub(super) async fn asks_and_ends(&self, request: Request) -> (Exit, Option<String>, Vec<Value>) {
        let running = self.running.as_ref().unwrap();
        let store: Arc<dyn Store> = Arc::<Power>::clone(&running.power);
        let control: Arc<dyn Control> = Arc::<Shared>::clone(&running.shared);
        let desk = Desk::new(store, running.shared.current().clone(), self.clock.clone(), Some(control));
        let mut answer = desk.run(request);
        let mut rows = Vec::new();
        while let Some(frame) = answer.next().await {
            match frame {
                Frame::Line(line) => rows.push(serde_json::from_str(&line).unwrap()),
                Frame::Note(note) => panic!("{note}"),
                Frame::End(end) => return (end.exit, end.message, rows),
            }
        }
        panic!("an answer has an end")
    }

    pub(super) async fn explains(&self, rule: &str, name: &str, at: &str) -> Value {
        let (rule, who, at) = (rule.to_owned(), openid(name).as_str().to_owned(), Some(at.to_owned()));
        let request = Request::Explain { rule, who, at, reveal: false, lang: Lang::En };
        let mut rows = self.asks(request).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }
}

pub(super) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("no {key}: {row}"))
}

/// A due time of a rule.
type Key = (String, String);

fn key(row: &Value) -> Key {
    (text(row, "rule").to_owned(), text(row, "due_at").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_explain_and_what_happens_agree_for_a_week() {
    let (mut world, ids) = World::of_the_examples().await;
    world.start().await;
    for one in PEOPLE {
        world
            .person(one.name, |profile| {
                profile.muted = one.muted;
                for name in one.tags {
                    tag(profile, name);
                }
                for (name, value) in one.fields {
                    let value = value
                        .parse()
                        .map_or_else(|_| FieldValue::Text((*value).to_owned()), FieldValue::Real);
                    profile.fields.insert(FieldName::parse(name).unwrap(), value);
                }
            })
            .await;
        for (template, n) in one.consents {
            world.grant(one.name, &ids[*template], *n).await;
        }
    }
    // A rejection keeps the balance, and is the reason once that is used up.
    world.tap("refuser", &ids["habit"], Answer::Reject);
    world.report("refuser", &ids["habit"], "reject").await.unwrap();

    let ahead = world.asks(Request::Next { rule: None, span_s: WEEK_S, at: None }).await;
    let due: BTreeSet<Key> = ahead.iter().map(key).collect();
    let rules: BTreeSet<&str> = due.iter().map(|(rule, _)| rule.as_str()).collect();
    assert_eq!(
        rules,
        BTreeSet::from(["clock-in", "drink-water", "greeting", "monthly-bill", "piano-spring"])
    );
    let mut foretold: BTreeMap<(Key, &str), Value> = BTreeMap::new();
    for row in &ahead {
        let (rule, due_at) = key(row);
        let mut sends = 0;
        let mut skips: BTreeMap<String, u64> = BTreeMap::new();
        for one in PEOPLE {
            let told = world.explains(&rule, one.name, &due_at).await;
            assert_eq!((text(&told, "due_at"), &told["certain"]), (due_at.as_str(), &Value::Bool(false)));
            match text(&told, "outcome") {
                "would_send" => sends += 1,
                "would_skip" if text(&told, "reason") == "not_in_audience" => {}
                "would_skip" => *skips.entry(text(&told, "reason").to_owned()).or_default() += 1,
                other => panic!("{other}: {told}"),
            }
            foretold.insert(((rule.clone(), due_at.clone()), one.name), told);
        }
        assert_eq!(row["would_send"], sends, "{row}");
        assert_eq!(row["would_skip"], serde_json::to_value(skips).unwrap(), "{row}");
    }
    let reasons: BTreeSet<&str> = foretold.values().filter_map(|told| told["reason"].as_str()).collect();
    let all = ["missing_field", "muted", "no_consent", "not_in_audience", "overflow", "refused"];
    assert_eq!(reasons, BTreeSet::from(all), "the week shows every reason");

    // The week, due time by due time.
    let instants: BTreeSet<DateTime<Utc>> = due.iter().map(|(_, at)| at.parse().unwrap()).collect();
    for at in &instants {
        world.goes_to(*at).await;
        let opened = due.iter().filter(|(_, due)| due.parse::<DateTime<Utc>>().unwrap() <= *at).count();
        let done = |world: &World| {
            let all = world.occurrences();
            all.len() == opened && all.iter().all(|o| o.state.as_str() == "done" && o.counts.open() == 0)
        };
        world.until(&format!("everything due until {at}"), done).await;
    }
    world.goes_to(DateTime::parse_from_rfc3339(START).unwrap().to_utc() + TimeDelta::days(7)).await;

    let happened = world.asks(Request::OccurrencesList { rule: None }).await;
    assert_eq!(happened.iter().map(key).collect::<BTreeSet<_>>(), due);
    let by_key: BTreeMap<Key, &Value> = happened.iter().map(|row| (key(row), row)).collect();
    for row in &ahead {
        let then = by_key[&key(row)];
        assert_eq!((&then["sent"], &then["skipped"]), (&row["would_send"], &row["would_skip"]), "{then}");
        assert_eq!(then["state"], "done", "{then}");
    }
    let mut n_sent: BTreeMap<&str, usize> = BTreeMap::new();
    for (((rule, due_at), name), before) in &foretold {
        let told = world.explains(rule, name, due_at).await;
        let outcome = match (text(before, "outcome"), before["reason"].as_str()) {
            ("would_send", _) => "sent",
            (_, Some("not_in_audience")) => "not_in_audience",
            (_, _) => "skipped",
        };
        assert_eq!(text(&told, "outcome"), outcome, "{name} before: {before:#}\nafterwards: {told:#}");
        assert_eq!(told["reason"], before["reason"], "{name}: {told:#}");
        *n_sent.entry(*name).or_default() += usize::from(outcome == "sent");
    }
    for (name, n) in n_sent {
        assert_eq!(world.cards(name), n, "{name}");
    }
    assert_eq!(world.power().fsck().await.unwrap().value.violations, []);

    // Monday after: down at ten, back at ten past three. The one was missed, the other is late and sent.
    world.grant("short", &ids["habit"], 1).await;
    world.stop().await;
    let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    world.clock.advance((at("2027-03-08T15:10:00+08:00") - world.clock.now()).to_std().unwrap());
    world.start().await;
    let settled = |world: &World| world.deliveries().iter().all(|(_, delivery)| !delivery.state.is_open());
    world.until("the late one", |world| world.cards("short") == 4 && settled(world)).await;
    let missed = world.explains("drink-water", "short", "2027-03-08T10:00:00+08:00").await;
    assert_eq!((text(&missed, "outcome"), text(&missed, "reason")), ("missed", "grace"), "{missed:#}");
    assert!(text(&missed, "why").contains("`grace` of 30 minutes"), "{missed:#}");
    let late = world.explains("drink-water", "short", "2027-03-08T15:09:00+08:00").await;
    assert_eq!((text(&late, "outcome"), text(&late, "due_at")), ("sent", "2027-03-08T07:00:00Z"), "{late:#}");
    world.stop().await;
}
