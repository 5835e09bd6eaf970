//! What WeChat pushes: each event again, late, in any order, and what it does to the books once.

use chrono::{DateTime, TimeDelta, Utc};
use tixing::admin::control::Control as _;
use tixing::admin::request::Request;
use tixing::domain::consent::Manner;
use tixing::domain::id::{AppName, TemplateId};
use tixing::flow::intake::ReportError;
use tixing::flow::intake::appointments::Asking;
use tixing::sandbox::{Answer, Api, Fault, What as Fail};
use tixing::store::Reach;
use tixing::wechat::push::{Answered, Event, Sent, What};

use super::{BILL, EIGHT, HABIT, World, openid};

impl World {
    /// The platform tells `what` that happened at `created_at`, as often as it likes.
    pub(super) async fn pushes(&self, created_at: DateTime<Utc>, what: &What) {
        let intake = &self.running.as_ref().unwrap().intake;
        let created_at = DateTime::from_timestamp(created_at.timestamp(), 0).unwrap();
        for _ in 0..3 {
            let event = Event { created_at, what: what.clone() };
            intake.event(&AppName::parse("main").unwrap(), event).await.unwrap();
        }
    }
}

fn answers(id: &str, status: &str) -> Vec<Answered> {
    vec![Answered { template: TemplateId::parse(id).unwrap(), status: status.to_owned() }]
}

fn changed(name: &str, status: &str) -> What {
    What::Changed { openid: openid(name), answers: answers(HABIT, status) }
}

fn arrived(name: &str, msgid: impl Into<Option<u64>>, errcode: i64) -> What {
    let msgid = msgid.into();
    let message = Sent { template: TemplateId::parse(HABIT).unwrap(), msgid, errcode };
    What::Sent { openid: openid(name), messages: vec![message] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_popups_tell_is_held_against_the_reports_and_counts_no_consent() {
    let mut world = World::new().await;
    world.start().await;
    let tells = async |world: &World, name: &str| {
        let asked = What::Asked { openid: openid(name), answers: answers(HABIT, "accept") };
        world.pushes(world.clock.now(), &asked).await;
    };
    let rows = async |world: &World| world.asks(Request::Status).await[0]["popups"].take();
    world.report("early", HABIT, "accept").await.unwrap();
    tells(&world, "ann").await;
    world.report("ann", HABIT, "accept").await.unwrap();
    tells(&world, "lost").await;
    world.report_as("silent", "silent", HABIT, "accept", 0).await.unwrap();
    // The same report again is no second tap, and a refusal none at all.
    assert!(world.report_as("silent", "silent", HABIT, "accept", 60).await.unwrap().duplicate);
    world.report("ann", HABIT, "reject").await.unwrap();
    let now = rows(&world).await;
    assert_eq!((&now[0]["met"], &now[0]["unreported"], &now[0]["untold"]), (&1.into(), &0.into(), &0.into()));
    world.at("03 07:00:01").await;
    let then = rows(&world).await;
    assert_eq!(
        then,
        serde_json::json!([{"app": "main", "template": HABIT, "met": 1, "unreported": 1, "untold": 2,
            "last_unreported_at": "2026-03-01T23:00:00Z"}])
    );
    for (name, balance) in
        [("ann", "1 granted = 1 available"), ("silent", "1 granted = 1 available"), ("lost", "nothing")]
    {
        assert_eq!(world.balance(name, HABIT), balance, "{name}");
    }
    world.ends().await;
}

/// However somebody is erased, nothing is remembered of what he accepted; what was counted by then stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_popups_told_of_the_erased_is_forgotten() {
    let mut world = World::new().await;
    world.start().await;
    let tells = async |world: &World, name: &str, at: DateTime<Utc>| {
        let asked = What::Asked { openid: openid(name), answers: answers(HABIT, "accept") };
        world.pushes(at, &asked).await;
    };
    let rows = async |world: &World| world.asks(Request::Status).await[0]["popups"].take();
    let (first, all) = (world.clock.now(), ["backend", "session", "event", "operator", "nobody"]);
    for name in all {
        tells(&world, name, first).await;
        world.report(name, HABIT, "accept").await.unwrap();
    }
    world.pass(2).await;
    for name in all {
        tells(&world, name, world.clock.now()).await;
    }
    world.pass(2).await;
    let main = AppName::parse("main").unwrap();
    let erased_at = world.clock.now();
    let intake = &world.running.as_ref().unwrap().intake;
    let asking = Asking { id: "w1", at: erased_at };
    intake.erase(&main, &openid("backend"), Reach::This, Some(asking)).await.unwrap();
    intake.erase(&main, &openid("session"), Reach::This, None).await.unwrap();
    world.pushes(erased_at, &What::Left { openid: openid("event") }).await;
    let who = openid("operator").as_str().to_owned();
    world.asks(Request::PeopleErase { app: None, who, all_apps: false, reveal: false }).await;
    // What is told late of a time before it is not heard either.
    tells(&world, "backend", first + TimeDelta::seconds(1)).await;
    world.pass(2).await;
    world.report("backend", HABIT, "accept").await.unwrap();
    tells(&world, "backend", world.clock.now()).await;
    world.at("03 07:00:30").await;
    let told = rows(&world).await.take();
    assert_eq!(
        (&told[0]["met"], &told[0]["unreported"], &told[0]["untold"]),
        (&6.into(), &1.into(), &0.into()),
        "who came back is compared as anybody: {told}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_counts_once_and_only_as_what_it_is() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        world.grant(name, HABIT, 3).await;
    }
    // By reports alone consents are granted here: a tap that the platform tells of too is none more.
    world
        .pushes(world.clock.now(), &What::Asked { openid: openid("ann"), answers: answers(HABIT, "accept") })
        .await;
    world
        .pushes(world.clock.now(), &What::Asked { openid: openid("ann"), answers: answers(HABIT, "reject") })
        .await;
    world.pushes(world.clock.now(), &changed("ann", "accept")).await;
    world
        .pushes(
            world.clock.now(),
            &What::Changed { openid: openid("ann"), answers: answers("NOBODYS", "reject") },
        )
        .await;
    assert_eq!(world.balance("ann", HABIT), "3 granted = 3 available");

    world.pass(2).await;
    let refused_at = world.clock.now();
    world.pushes(refused_at, &changed("bob", "reject")).await;
    assert_eq!(world.balance("bob", HABIT), "3 granted = 3 voided");
    world.pass(2).await;
    world.report("bob", HABIT, "accept").await.unwrap();
    // Again, much later: what he accepted since stands.
    world.pushes(refused_at, &changed("bob", "reject")).await;
    assert_eq!(world.balance("bob", HABIT), "4 granted = 1 available, 3 voided");

    let left_at = world.clock.now();
    world.pushes(left_at, &What::Left { openid: openid("cid") }).await;
    assert_eq!(world.balance("cid", HABIT), "nothing");
    world.pass(2).await;
    world.report("cid", HABIT, "accept").await.unwrap();
    world.pushes(left_at, &What::Left { openid: openid("cid") }).await;
    assert_eq!(world.balance("cid", HABIT), "1 granted = 1 available", "who came back is not erased again");

    world.at("08:00:30").await;
    world.expect("water", "done: 5 = 5 sent").await;
    let msgid = world.delivery("water", "dan").msgid.unwrap();
    world.pushes(world.clock.now(), &arrived("dan", msgid, 43004)).await;
    assert_eq!(world.delivery("water", "dan").state.as_str(), "undelivered");
    world.pushes(world.clock.now(), &arrived("eve", world.delivery("water", "eve").msgid.unwrap(), 0)).await;
    assert_eq!(world.delivery("water", "eve").state.as_str(), "sent");
    world.stop_here().await;
}

/// Some receipts name no message: each settles one that is in doubt, and its copies none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_without_a_number_settles_one_in_doubt_once() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.rule("tea", &[r#"when: { cron: "0 9 * * *" }"#]).await;
    world.rule("soup", &[r#"when: { cron: "0 10 * * *" }"#]).await;
    world.start().await;
    world.grant("ann", HABIT, 3).await;
    world.faults(vec![Fault::new(Api::Send, Fail::DestroyAfter)]);
    for hour in ["08", "09", "10"] {
        world.at(&format!("{hour}:00:30")).await;
    }
    let story = |world: &World| ["water", "tea", "soup"].map(|rule| world.story(rule));
    let (doubt, sent, lost) = ("done: 1 = 1 in_doubt", "done: 1 = 1 sent", "done: 1 = 1 undelivered");
    world.expect("soup", doubt).await;
    assert_eq!(story(&world), [doubt; 3]);
    // By WeChat's clock, which is ahead; ours comes there between the copies.
    let told_at = world.clock.now() + TimeDelta::seconds(2);
    for _ in 0..3 {
        world.pushes(told_at, &arrived("ann", None, 0)).await;
        world.pass(1).await;
    }
    assert_eq!(story(&world), [sent, doubt, doubt], "the oldest, and once");
    assert_eq!(world.delivery("water", "ann").msgid(), None, "no number is made up");
    world.restart().await;
    world.pushes(told_at, &arrived("ann", None, 0)).await;
    assert_eq!(story(&world), [sent, doubt, doubt], "also after a start");
    // What happened in the same second and is not the same is of another message, and so is the second of one event.
    world.pushes(told_at, &arrived("ann", None, 43004)).await;
    assert_eq!(story(&world), [sent, lost, doubt]);
    let message = Sent { template: TemplateId::parse(HABIT).unwrap(), msgid: None, errcode: 0 };
    let twice = What::Sent { openid: openid("ann"), messages: vec![message.clone(), message] };
    world.pushes(told_at, &twice).await;
    assert_eq!(story(&world), [sent, lost, sent]);
    assert_eq!(world.balance("ann", HABIT), "3 granted = 3 consumed");
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_punished_app_pauses_until_a_person_lets_it_go_on() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    let punished = |kind: &str| What::Punished { kind: kind.to_owned(), detail: "x".to_owned() };
    let told_at = world.clock.now();
    world.pushes(told_at, &punished("1")).await;
    assert_eq!(world.paused(), None, "a warning stops nothing");
    let told = world.status().needs_attention;
    assert!(told.len() == 1 && told[0].contains("wxa_punish_event 1: a warning"), "{told:?}");
    world.restart().await;
    assert_eq!(world.status().needs_attention, told, "over a restart, too");
    world.pushes(told_at, &punished("2")).await;
    let reason = world.paused().unwrap();
    assert!(reason.contains("paused by WeChat since") && reason.contains("functions are banned"), "{reason}");
    world.restart().await;
    assert_eq!(world.paused(), Some(reason), "it is in the books");
    world.at("08:00:30").await;
    assert_eq!(world.cards("ann"), 0);
    let brake = world.running.as_ref().unwrap().shared.brake().clone();
    for pause in brake.pauses() {
        brake.resume(&pause.scope).await.unwrap();
    }
    world.pushes(told_at, &punished("2")).await;
    assert_eq!(world.paused(), None, "the same event again is no new one");
    world.expect("water", "done: 1 = 1 sent").await;
    world.pushes(world.clock.now(), &punished("4")).await;
    assert!(world.paused().is_some());
    let scope = brake.pauses().first().unwrap().scope.clone();
    brake.pause(scope, Some("lunch".to_owned()), world.clock.now()).await.unwrap();
    assert!(world.paused().unwrap().contains("an operator"), "his reason is not told as WeChat's");
    world.pass(1).await;
    world.pushes(world.clock.now(), &punished("6")).await;
    let reason = world.paused().unwrap();
    assert!(reason.contains("by WeChat") && reason.contains("does not know"), "{reason}");
    world.ends().await;
}

/// A long-term acceptance carries every message until its person refuses; the panel's event says so too, by either source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_on_the_panel_ends_a_long_term_acceptance_whoever_tells_of_it() {
    for source in ["reports", "events"] {
        let mut world = World::new().await;
        world.consents_from(source);
        world.rule("bill", &[EIGHT, "template: bill"]).await;
        world.start().await;
        world.pass(2).await;
        let asked = |name: &str, status| What::Asked { openid: openid(name), answers: answers(BILL, status) };
        for name in ["ann", "bob"] {
            world.tap(name, BILL, Answer::AcceptWithAudio);
            match source {
                "reports" => drop(world.report(name, BILL, "acceptWithAudio").await.unwrap()),
                _ => world.pushes(world.clock.now(), &asked(name, "acceptWithAudio")).await,
            }
            let bill = TemplateId::parse(BILL).unwrap();
            assert_eq!(world.me(name).await.manners, [(bill, Manner::Audio)].into(), "{source}");
        }
        let mut story = Vec::new();
        for day in ["02", "03"] {
            world.at(&format!("{day} 08:00:30")).await;
            story.push("done: 2 = 2 sent");
            world.expect("bill", &story.join("; ")).await;
        }
        assert_eq!(world.balance("ann", BILL), "1 granted = 1 available", "a message takes nothing");
        let refused_at = world.clock.now();
        world.tap("ann", BILL, Answer::Reject);
        world.pushes(refused_at, &asked("ann", "reject")).await;
        assert_eq!(world.balance("ann", BILL), "1 granted = 1 voided", "{source}");
        assert_eq!(world.me("ann").await.manners, [].into());
        // What he accepted before, and is told only now, is over; what he accepts since stands.
        world.pass(10).await;
        if source == "reports" {
            let late = world.report_as("late", "ann", BILL, "accept", 60).await.unwrap();
            assert_eq!(late.ignored.first().map(|ignored| ignored.why), Some("refused_since"));
        } else {
            world.pushes(refused_at - chrono::TimeDelta::seconds(60), &asked("ann", "accept")).await;
        }
        assert_eq!(world.balance("ann", BILL), "1 granted = 1 voided", "{source}");
        world.at("04 08:00:30").await;
        story.push("done: 2 = 1 sent, 1 refused");
        world.expect("bill", &story.join("; ")).await;
        world.tap("ann", BILL, Answer::Accept);
        match source {
            "reports" => drop(world.report("ann", BILL, "accept").await.unwrap()),
            _ => world.pushes(world.clock.now(), &asked("ann", "accept")).await,
        }
        // The same refusal once more is no new one.
        world.pushes(refused_at, &asked("ann", "reject")).await;
        world.at("05 08:00:30").await;
        story.push("done: 2 = 2 sent");
        world.expect("bill", &story.join("; ")).await;
        assert_eq!((world.cards("ann"), world.cards("bob")), (3, 4));
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_events_grant_reports_do_not_and_a_switch_counts_nothing_twice() {
    let mut world = World::new().await;
    world.consents_from("events");
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    let asked = |status| What::Asked { openid: openid("ann"), answers: answers(HABIT, status) };
    let foreign = What::Asked { openid: openid("fay"), answers: answers("NOBODYS", "accept") };
    world.pushes(world.clock.now(), &foreign).await;
    assert!(!world.knows(&openid("fay")).await, "nothing of it concerns anybody here");
    // Nothing was the source before them, so what was accepted before the first start counts too.
    let bobs = What::Asked { openid: openid("bob"), answers: answers(HABIT, "accept") };
    world.pushes(world.clock.now() - chrono::TimeDelta::seconds(60), &bobs).await;
    assert_eq!(world.balance("bob", HABIT), "1 granted = 1 available");
    world.pass(2).await;
    let tapped_at = world.clock.now();
    // By a clock ahead of ours, also where it comes again when ours is there.
    for _ in 0..3 {
        world.pushes(tapped_at + chrono::TimeDelta::seconds(2), &asked("accept")).await;
        world.pass(1).await;
    }
    let report = world.report("ann", HABIT, "accept").await.unwrap();
    assert_eq!(report.ignored.first().map(|ignored| ignored.why), Some("not_granted"));
    assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
    world.pushes(world.clock.now(), &asked("reject")).await;
    assert_eq!(
        world.balance("ann", HABIT),
        "1 granted = 1 available",
        "one tap less is not one consent less"
    );

    world.consents_from("reports");
    world.pass(2).await;
    world.restart().await;
    let late = world.report_as("late", "ann", HABIT, "accept", 3600).await.unwrap();
    assert_eq!(
        late.ignored.first().map(|ignored| ignored.why),
        Some("not_granted"),
        "tapped before the switch"
    );
    world.pushes(tapped_at + chrono::TimeDelta::seconds(2), &asked("accept")).await;
    assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
    world.pass(2).await;
    assert!(!matches!(world.report("ann", HABIT, "accept").await, Err(ReportError::Conflict)));
    assert_eq!(world.balance("ann", HABIT), "2 granted = 2 available");

    world.consents_from("events");
    world.pass(2).await;
    world.restart().await;
    world.pushes(world.clock.now() - chrono::TimeDelta::seconds(60), &bobs).await;
    assert_eq!(world.balance("bob", HABIT), "1 granted = 1 available", "before it was switched back");
    world.pass(2).await;
    world.pushes(world.clock.now(), &bobs).await;
    assert_eq!(world.balance("bob", HABIT), "2 granted = 2 available");
    world.stop_here().await;
}

/// What nobody knows, or is more than anybody has seen, is an answer owed all the same: else it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_without_a_name_changes_nothing_and_one_of_many_items_is_booked_whole() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.grant("ann", BILL, 1).await;
    world.pass(2).await;
    world.pushes(world.clock.now(), &What::Other { name: String::new() }).await;
    assert_eq!(world.balance("ann", HABIT), "2 granted = 2 available");
    let nobodys = |n: usize| answers(&format!("NOBODYS{n}"), "reject");
    let mut many: Vec<Answered> = (0..150).flat_map(nobodys).collect();
    many.extend(answers(HABIT, "reject"));
    many.splice(3..3, answers(BILL, "reject"));
    world.pushes(world.clock.now(), &What::Changed { openid: openid("ann"), answers: many }).await;
    assert_eq!(world.balance("ann", HABIT), "2 granted = 2 voided", "in the last piece");
    assert_eq!(world.balance("ann", BILL), "1 granted = 1 voided", "in the first one");
    world.ends().await;
}
