//! What `next` and `explain` foretell of reminders of appointments is what then happens, and what `explain` says of it
//! afterwards.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::agreement::text;
use super::appointments::{HOUR, SHOWN};
use super::{EIGHT, HABIT, World, instant, tag};

const DAY_S: u64 = 86_400;

/// Visit, to whom it belongs, when.
const VISITS: &[(&str, &[&str], &str)] = &[
    ("a", &["ann", "bob", "none", "muted", "outside"], "10:00"),
    ("b", &["ann"], "10:30"),
    ("c", &["ann", "bob"], "12:00"),
    // Its reminder is due in the same second as another rule, and she has a consent for each.
    ("d", &["cleo"], "09:00"),
    ("e", &["ann"], "09:00"),
];

impl World {
    async fn visits(&mut self) {
        let reminder = [HOUR, SHOWN, "to: { tags: [in] }"];
        self.rule("visit", &reminder).await;
        self.rule("morning", &[EIGHT, "to: { tags: [early] }"]).await;
        self.start().await;
        for (name, consents, tags) in [
            ("ann", 3, &["in"][..]),
            ("bob", 5, &["in", "early"]),
            ("none", 0, &["in"]),
            ("muted", 2, &["in"]),
            ("outside", 2, &["early"]),
            ("cleo", 2, &["in", "early"]),
            ("idle", 2, &["in"]),
        ] {
            let describe = |profile: &mut tixing::domain::recipient::Profile| {
                profile.muted = name == "muted";
                for one in tags {
                    tag(profile, one);
                }
            };
            self.person(name, describe).await;
            self.grant(name, HABIT, consents).await;
        }
        for (id, who, at) in VISITS {
            self.visit(id, who, at).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_and_explain_agree_with_what_happens_to_appointments() {
    let mut world = World::new().await;
    world.visits().await;
    let mut ahead = world.asks(Request::Next { rule: None, span_s: DAY_S / 2, at: None }).await;
    let told: Vec<(&str, &str, Value)> = ahead
        .iter()
        .map(|row| (text(row, "rule"), text(row, "due_at"), row["appointment"]["id"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("morning", "2026-03-02T00:00:00Z", Value::Null),
            ("visit", "2026-03-02T00:00:00Z", json!("d")),
            ("visit", "2026-03-02T00:00:00Z", json!("e")),
            ("visit", "2026-03-02T01:00:00Z", json!("a")),
            ("visit", "2026-03-02T01:30:00Z", json!("b")),
            ("visit", "2026-03-02T03:00:00Z", json!("c")),
        ]
    );
    assert_eq!(ahead[1]["appointment"], json!({"kind": "visit", "id": "d", "at": "2026-03-02T01:00:00Z"}));
    assert_eq!(ahead[0].get("appointment"), None, "a rule that goes by the clock has none");
    let fares = |row: &Value| (row["would_send"].as_u64().unwrap(), row["would_skip"].clone());
    let all: Vec<_> = ahead.iter().map(fares).collect();
    assert_eq!(
        all,
        [
            (3, json!({})),
            (1, json!({})),
            (1, json!({})),
            (2, json!({"muted": 1, "no_consent": 1})),
            (1, json!({})),
            (1, json!({"no_consent": 1})),
        ]
    );
    let mut foretold: Vec<(String, &str, Value)> = Vec::new();
    // One by one, each of the appointments' people.
    for row in ahead.iter().filter(|row| text(row, "rule") == "visit") {
        let id = text(&row["appointment"], "id");
        let who = VISITS.iter().find(|(known, ..)| *known == id).unwrap().1;
        let (mut sends, mut skips) = (0, BTreeMap::<String, u64>::new());
        for name in who {
            let said = world.explains("visit", name, text(row, "due_at")).await;
            match (text(&said, "outcome"), said["reason"].as_str()) {
                ("would_send", _) => sends += 1,
                ("would_skip", Some("not_in_audience")) => {}
                ("would_skip", Some(reason)) => *skips.entry(reason.to_owned()).or_default() += 1,
                other => panic!("{other:?}: {said:#}"),
            }
            foretold.push((text(row, "due_at").to_owned(), name, said.clone()));
            if said["outcome"] == "would_send" {
                assert_eq!(said["due_at"], row["due_at"], "{name} {id}: {said:#}");
                assert!(said.to_string().contains(&format!("`visit` `{id}`")), "{said:#}");
            }
        }
        assert_eq!((sends, json!(skips)), fares(row), "{row}");
    }
    // Who has no appointment has nothing to be reminded of.
    let idle = world.explains("visit", "idle", "2026-03-02T08:00:00+08:00").await;
    assert_eq!((text(&idle, "outcome"), text(&idle, "reason")), ("would_skip", "no_appointment"), "{idle:#}");
    assert_eq!(idle["due_at"], Value::Null, "{idle:#}");

    for at in ["08:00", "09:00", "09:30", "11:00"] {
        world.at(at).await;
        let due = ahead
            .iter()
            .filter(|row| {
                text(row, "due_at").parse::<chrono::DateTime<chrono::Utc>>().unwrap() <= instant(at)
            })
            .count();
        world
            .until(&format!("everything due until {at}"), |world| {
                let all = world.occurrences();
                all.len() == due && all.iter().all(|o| o.state.as_str() == "done" && o.counts.open() == 0)
            })
            .await;
    }
    let mut happened: Vec<(String, String, (u64, Value))> = world
        .asks(Request::OccurrencesList { rule: None })
        .await
        .iter()
        .map(|row| {
            let fared = (row["sent"].as_u64().unwrap(), row["skipped"].clone());
            (text(row, "rule").to_owned(), text(row, "due_at").to_owned(), fared)
        })
        .collect();
    let mut expected: Vec<_> = ahead
        .drain(..)
        .map(|row| (text(&row, "rule").to_owned(), text(&row, "due_at").to_owned(), fares(&row)))
        .collect();
    let by_text = |row: &(String, String, (u64, Value))| format!("{row:?}");
    happened.sort_by_key(by_text);
    expected.sort_by_key(by_text);
    assert_eq!(happened, expected);
    for (at, name, before) in foretold {
        let then = world.explains("visit", name, &at).await;
        let outcome = match (text(&before, "outcome"), before["reason"].as_str()) {
            ("would_send", _) => "sent",
            (_, Some("not_in_audience")) => "not_in_audience",
            (_, _) => "skipped",
        };
        assert_eq!(text(&then, "outcome"), outcome, "{name}\nbefore: {before:#}\nthen: {then:#}");
        assert_eq!(then["reason"], before["reason"], "{name}: {then:#}");
    }
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_tells_why_a_reminder_of_an_appointment_did_not_come() {
    let mut world = World::of_visits(&[HOUR, SHOWN]).await;
    let then = "2026-03-02T08:30:00+08:00";
    let told = |row: &Value| (text(row, "outcome").to_owned(), text(row, "reason").to_owned());
    let pair = |outcome: &str, reason: &str| (outcome.to_owned(), reason.to_owned());
    // Cancelled while it waited for another try.
    world.faults(vec![
        Fault::new(Api::Send, What::Errcode { code: 45011, msg: "as ordered".to_owned() }).at_most(1),
    ]);
    world.visit("moved", &["ann"], "09:00").await;
    world.at("08:00").await;
    world.expect("visit", "open: 1 = 1 waiting").await;
    world.visit("moved", &["ann"], "12:00").await;
    world.expect("visit", "cancelled: 1 = 1 cancelled").await;
    // Put when its reminder had been due.
    world.at("08:30").await;
    world.visit("late", &["bob"], "09:20").await;
    world.pass(2).await;
    assert_eq!(told(&world.explains("visit", "ann", then).await), pair("cancelled", "appointment_changed"));
    let late = world.explains("visit", "bob", then).await;
    assert_eq!(told(&late), pair("not_opened", "put_late"), "{late:#}");
    assert!(text(&late, "why").contains("2026-03-02 08:30"), "{late:#}");
    // The next one is the moved one's.
    let next = world.explains("visit", "ann", "2026-03-02T10:00:00+08:00").await;
    assert_eq!((text(&next, "outcome"), text(&next, "due_at")), ("would_send", "2026-03-02T03:00:00Z"));
    // Came due while nobody looked.
    world.visit("down", &["bob"], "13:00").await;
    world.stop().await;
    world.clock.advance(std::time::Duration::from_hours(4));
    world.start().await;
    world.expect("visit", "cancelled: 1 = 1 cancelled; missed 1; missed 1").await;
    let missed = world.explains("visit", "bob", "2026-03-02T12:30:00+08:00").await;
    assert_eq!(told(&missed), pair("missed", "grace"), "{missed:#}");
    assert_eq!(text(&missed, "due_at"), "2026-03-02T04:00:00Z", "{missed:#}");
    world.ends().await;
}
