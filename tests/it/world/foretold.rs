//! What `next`, `explain` and `upcoming` foretell of quiet hours and of each recipient's own time is what then happens.

use tixing::admin::request::Request;
use tixing::domain::zone::Zone;

use super::agreement::text;
use super::own_time::{PATIENT, until};
use super::{EIGHT, HABIT, World, instant};

const PEOPLE: [(&str, Option<&str>); 5] = [
    ("ann", None),
    ("bob", Some("Asia/Tokyo")),
    ("cid", Some("Asia/Bangkok")),
    ("dan", Some("Asia/Shanghai")),
    ("eve", Some("America/New_York")),
];

/// Each rule at eight, with what is beside it.
const RULES: [(&str, &[&str]); 4] = [
    ("own", &[EIGHT, "timezone: recipient"]),
    ("quiet", &[EIGHT, r#"quiet: { from: "08:00", to: "09:30", then: skip }"#]),
    ("hold", &[EIGHT, r#"quiet: { from: "07:30", to: "08:30" }"#]),
    ("both", &[EIGHT, "timezone: recipient", r#"quiet: { from: "22:00", to: "08:01", then: skip }"#]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_explain_and_upcoming_agree_with_what_happens() {
    let mut world = World::new().await;
    for (id, lines) in RULES {
        let lines: Vec<&str> = lines.iter().copied().chain([PATIENT]).collect();
        world.rule(id, &lines).await;
    }
    world.start().await;
    for (name, zone) in PEOPLE {
        world.person(name, |profile| profile.time_zone = zone.and_then(|zone| Zone::parse(zone).ok())).await;
        world.grant(name, HABIT, 9).await;
    }
    let ahead = world.asks(Request::Next { rule: None, span_s: 86_400 - 3600, at: None }).await;
    // Each due time, with how many get it and how many not.
    let mut rows: Vec<_> = ahead
        .iter()
        .map(|row| {
            let skips = row["would_skip"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
            let row =
                (text(row, "rule").to_owned(), text(row, "local").to_owned(), row["would_send"].as_u64());
            (row.0, row.1, row.2.unwrap(), skips)
        })
        .collect();
    rows.sort();
    let row = |rule: &str, local: &str, sends, skips: u64| (rule.to_owned(), local.to_owned(), sends, skips);
    assert_eq!(
        rows,
        [
            row("both", "2026-03-02T08:00:00+07:00", 0, 1),
            row("both", "2026-03-02T08:00:00+08:00", 0, 2),
            row("both", "2026-03-02T08:00:00-05:00", 0, 1),
            row("hold", "2026-03-02T08:00:00+08:00", 5, 0),
            row("own", "2026-03-02T08:00:00+07:00", 1, 0),
            row("own", "2026-03-02T08:00:00+08:00", 2, 0),
            row("own", "2026-03-02T08:00:00-05:00", 1, 0),
            // In Beijing and, at nine, in Tokyo it is night.
            row("quiet", "2026-03-02T08:00:00+08:00", 2, 3),
        ]
    );
    let mut foretold = Vec::new();
    for (name, _) in PEOPLE {
        for (rule, _) in RULES {
            let said = world.explains(rule, name, "2026-03-02T07:00:01+08:00").await;
            let gets = text(&said, "outcome") == "would_send";
            assert!(gets || said["reason"] == "quiet", "{said:#}");
            foretold.push((rule, name, gets, text(&said, "due_at").to_owned()));
        }
    }
    let horizon = instant("03 06:00");
    for (name, _) in PEOPLE {
        let me = world.me(name).await;
        let mut soon: Vec<(String, String)> = me
            .upcoming
            .iter()
            .filter(|one| one.due_at <= horizon)
            .map(|one| (one.rule.to_string(), tixing::admin::instant::utc(one.due_at)))
            .collect();
        soon.sort();
        let mine = foretold.iter().filter(|(_, who, gets, due)| {
            let due = due.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
            *who == name && *gets && due <= horizon
        });
        let mut expected: Vec<(String, String)> =
            mine.map(|(rule, _, _, due)| ((*rule).to_owned(), due.clone())).collect();
        expected.sort();
        assert_eq!(soon, expected, "{name}");
    }
    until(&world, "03 06:00").await;
    for (name, _) in PEOPLE {
        let expected = foretold.iter().filter(|(_, who, gets, due)| {
            *who == name && *gets && due.parse::<chrono::DateTime<chrono::Utc>>().unwrap() <= horizon
        });
        assert_eq!(world.cards(name), expected.count(), "{name}: {}", world.told());
    }
    world.ends().await;
}
