//! `tixing send`: one message now, through the same books, or none and the reason.

use std::sync::Arc;

use serde_json::{Value, json};
use tixing::admin::answer::{Exit, Frame};
use tixing::admin::control::Control;
use tixing::admin::desk::Desk;
use tixing::admin::request::{Lang, Request};
use tixing::daemon::Shared;
use tixing::sandbox::{Api, Fault, What};
use tixing::store::Store;

use super::appointments::{HOUR, SHOWN};
use super::power::Power;
use super::{BILL, EIGHT, HABIT, World, openid};

impl World {
    /// The one object, and how the command ends.
    pub(super) async fn by_hand(&self, name: &str, dry_run: bool) -> (Value, Exit) {
        self.by_hand_of("water", name, None, dry_run).await.expect("one object")
    }

    /// The one object, and how the command ends; or why it was refused.
    async fn by_hand_of(
        &self,
        rule: &str,
        name: &str,
        appointment: Option<&str>,
        dry_run: bool,
    ) -> Result<(Value, Exit), (Option<String>, Exit)> {
        let running = self.running.as_ref().unwrap();
        let store: Arc<dyn Store> = Arc::<Power>::clone(&running.power);
        let control: Arc<dyn Control> = Arc::<Shared>::clone(&running.shared);
        let desk = Desk::new(store, running.shared.current().clone(), self.clock.clone(), Some(control));
        let (rule, who) = (rule.to_owned(), openid(name).as_str().to_owned());
        let appointment = appointment.map(str::to_owned);
        let (reveal, lang) = (false, Lang::En);
        let mut answer = desk.run(Request::Send { rule, who, appointment, dry_run, reveal, lang });
        let mut rows = Vec::new();
        loop {
            // It waits for the outcome, so time has to pass meanwhile.
            let frame = tokio::select! {
                biased;
                frame = answer.next() => frame.expect("an end"),
                () = self.pass(1) => continue,
            };
            match frame {
                Frame::Line(line) => rows.push(serde_json::from_str(&line).unwrap()),
                Frame::Note(note) => panic!("{note}"),
                Frame::End(end) => {
                    return rows.pop().map(|row| (row, end.exit)).ok_or((end.message, end.exit));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_by_hand_takes_one_consent_and_a_dry_run_none() {
    let mut world = World::new().await;
    // Neither its nights nor its spread nor its audience keeps an operator's word back.
    let night = "quiet: { from: \"00:00\", to: \"23:59\", then: skip }";
    world.rule("water", &[EIGHT, night, "spread: 1h", "to: { tags: [nobody] }"]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    let (row, exit) = world.by_hand("ann", true).await;
    assert_eq!(
        (exit, &row["state"], &row["available"]),
        (Exit::Done, &json!("would_send"), &json!(2)),
        "{row}"
    );
    assert_eq!((&row["data"], &row["in_audience"]), (&json!({"thing1": "water"}), &json!(false)));
    assert_eq!(
        (world.balance("ann", HABIT).as_str(), world.occurrences().len()),
        ("2 granted = 2 available", 0)
    );
    assert_eq!(world.platform.totals().begun, 0);
    for n in 1..=2 {
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!(
            (exit, &row["state"], &row["reason"]),
            (Exit::Done, &json!("sent"), &Value::Null),
            "{row}"
        );
        assert!(row["msgid"].is_string() && row["id"].is_string(), "{row}");
        assert_eq!((world.cards("ann"), world.occurrences().len()), (n, n));
        world.pass(2).await;
    }
    assert_eq!(world.balance("ann", HABIT), "2 granted = 2 consumed");
    assert_eq!(world.story("water"), "done: 1 = 1 sent; done: 1 = 1 sent");
    let listed = world.asks(Request::OccurrencesList { rule: None }).await;
    assert!(listed.iter().all(|row| row["by_hand"] == true), "{listed:?}");
    // Nothing is left to pay a third with.
    let (row, exit) = world.by_hand("ann", false).await;
    assert_eq!(
        (exit, &row["state"], &row["reason"]),
        (Exit::NotInOrder, &json!("skipped"), &json!("no_consent"))
    );
    assert_eq!(world.occurrences().len(), 2, "what is not opened leaves nothing");
    world.at("07:30").await;
    let told = world.explains("water", "ann", "2026-03-02T07:30:00+08:00").await;
    assert_eq!(told["outcome"], "sent", "{told}");
    let steps = told["steps"].to_string();
    for (part, is_said) in
        [("sent it by hand", true), ("a minute at most", true), ("30 minutes)", false), ("turn is at", false)]
    {
        assert_eq!(steps.contains(part), is_said, "{part}: {told:#}");
    }
    world.ends().await;
}

/// The first 43101 makes a standing acceptance suspect, the second ends it, and both are told as what they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_a_long_term_template_says_how_its_acceptance_is() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "template: bill"]).await;
    world.start().await;
    world.grant("ann", BILL, 1).await;
    world.faults(vec![Fault::new(Api::Send, What::Errcode { code: 43101, msg: "refused".to_owned() })]);
    let now = ["stands, but is suspect: one more 43101 ends it", "no standing acceptance is left"];
    for (said, at, cure) in [(now[0], "07:30", "Nothing before the next"), (now[1], "07:40", "tap subscribe")]
    {
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!((exit, &row["state"]), (Exit::NotInOrder, &json!("refused")), "{row}");
        let why = row["why"].as_str().unwrap();
        assert!(why.contains(said) && !why.contains("void"), "{row}");
        world.at(at).await;
        let told = world.explains("water", "ann", &format!("2026-03-02T{at}:00+08:00")).await;
        let why = told["why"].as_str().unwrap();
        assert!(why.contains(said) && !why.contains("void"), "{told:#}");
        assert!(told["cure"].as_str().unwrap().contains(cure), "{told:#}");
    }
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_time_and_a_message_by_hand_of_one_second_both_leave() {
    let mut world = World::new().await;
    let to_ann = format!("to: {{ openids: [{}] }}", openid("ann").as_str());
    world.rule("water", &[EIGHT, "grace: 10m", &to_ann]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world.grant("bob", HABIT, 1).await;
    world.at("08:00").await;
    let (row, exit) = world.by_hand("bob", false).await;
    assert_eq!((exit, &row["due_at"]), (Exit::Done, &json!("2026-03-02T00:00:00Z")), "{row}");
    world.expect_within(10, "water", "done: 1 = 1 sent; done: 1 = 1 sent").await;
    let told = world.explains("water", "ann", "2026-03-02T08:00:00+08:00").await;
    assert_eq!((&told["outcome"], told["certain"].as_bool()), (&json!("sent"), Some(true)), "{told}");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_arrive_says_why() {
    let code = |code| Fault::new(Api::Send, What::Errcode { code, msg: "refused".to_owned() });
    let destroyed = Fault::new(Api::Send, What::DestroyAfter);
    // What the platform does; state, reason, and the account after it.
    let table = [
        (code(43101), "refused", json!("43101"), "2 granted = 1 available, 1 voided, suspect"),
        (code(47003), "failed", json!("47003"), "2 granted = 2 available"),
        (destroyed, "in_doubt", Value::Null, "2 granted = 1 available, 1 in doubt"),
    ];
    for (fault, state, reason, balance) in table {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.faults(vec![fault]);
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!(
            (exit, &row["state"], &row["reason"]),
            (Exit::NotInOrder, &json!(state), &reason),
            "{row}"
        );
        assert_eq!((world.balance("ann", HABIT).as_str(), world.platform.totals().begun), (balance, 1));
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_a_rule_or_a_person_stops_it_before_a_consent_is_taken() {
    let pause = |app: Option<&str>, rule: Option<&str>| Request::Pause {
        app: app.map(str::to_owned),
        rule: rule.map(str::to_owned),
        reason: Some("holidays".to_owned()),
    };
    let table = [
        (Some(pause(None, None)), "on_hold", "holidays"),
        (Some(pause(Some("main"), None)), "app_paused", "holidays"),
        (Some(pause(None, Some("water"))), "rule_paused", "holidays"),
        (None, "muted", "muted"),
    ];
    for (request, reason, why) in table {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.grant("ann", HABIT, 1).await;
        match request {
            Some(request) => drop(world.asks(request).await),
            None => world.person("ann", |profile| profile.muted = true).await,
        }
        for dry_run in [true, false] {
            let (row, exit) = world.by_hand("ann", dry_run).await;
            let state = if dry_run { "would_skip" } else { "skipped" };
            assert_eq!(
                (exit, &row["state"], &row["reason"]),
                (Exit::NotInOrder, &json!(state), &json!(reason)),
                "{row}"
            );
            assert!(row["why"].as_str().unwrap().contains(why), "{row}");
        }
        let (row, _) = world.by_hand("bob", false).await;
        if reason == "muted" {
            assert_eq!(row["reason"], "unknown_recipient");
        }
        assert_eq!(
            (world.balance("ann", HABIT).as_str(), world.occurrences().len()),
            ("1 granted = 1 available", 0)
        );
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_rule_of_appointments_it_tells_of_one_of_the_persons() {
    let mut world = World::of_visits(&[HOUR, SHOWN]).await;
    world.rule("water", &[EIGHT]).await;
    world.visit("a", &["ann"], "03 09:00").await;
    for (rule, name, appointment, refused, said) in [
        ("visit", "ann", None, Exit::Usage, "name one of this person's with --appointment"),
        ("visit", "bob", Some("a"), Exit::BadData, "has no appointment `visit` `a`"),
        ("visit", "ann", Some("b"), Exit::BadData, "has no appointment `visit` `b`"),
        ("water", "ann", Some("a"), Exit::Usage, "reminds of no appointments"),
    ] {
        let (why, exit) = world.by_hand_of(rule, name, appointment, true).await.expect_err("refused");
        assert_eq!(exit, refused);
        assert!(why.as_ref().is_some_and(|why| why.contains(said)), "{why:?}");
    }
    let (row, exit) = world.by_hand_of("visit", "ann", Some("a"), true).await.expect("a row");
    let text = json!({"thing1": "03 09:00 Li"});
    assert_eq!((exit, &row["state"], &row["data"]), (Exit::Done, &json!("would_send"), &text), "{row}");
    assert_eq!((&row["appointment"]["id"], world.occurrences().len()), (&json!("a"), 0));
    let (row, exit) = world.by_hand_of("visit", "ann", Some("a"), false).await.expect("a row");
    assert_eq!(
        (exit, &row["state"], world.texts("ann")),
        (Exit::Done, &json!("sent"), vec!["03 09:00 Li".to_owned()])
    );
    assert_eq!(world.balance("ann", HABIT), "5 granted = 4 available, 1 consumed");
    // The reminder of the plan comes all the same.
    world.restart().await;
    world.at("03 08:00").await;
    world.expect("visit", "done: 1 = 1 sent; done: 1 = 1 sent").await;
    let visits = world.texts("ann").into_iter().filter(|text| text == "03 09:00 Li");
    assert_eq!(visits.count(), 2);
    // When it is over nothing reminds of it.
    world.at("03 09:30").await;
    let (row, exit) = world.by_hand_of("visit", "ann", Some("a"), false).await.expect("a row");
    assert_eq!((exit, &row["reason"]), (Exit::NotInOrder, &json!("appointment_over")));
    world.ends().await;
}
