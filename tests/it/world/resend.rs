//! `on_doubt: resend`: what has no answer is sent again, with a consent of its own, once for each doubt.

use std::time::Duration;

use serde_json::{Value, json};
use tixing::admin::request::{Lang, Request};
use tixing::domain::delivery::State;
use tixing::sandbox::{Api, Fault, What};
use tixing::store::{DoubtWord, Store};

use super::{BILL, EIGHT, HABIT, World, openid};

const RESEND: &str = "on_doubt: resend";
const ONE_IN_DOUBT: &str = "done: 1 = 1 in_doubt";
const SENT_AGAIN: &str = "done: 1 = 1 in_doubt; done: 1 = 1 sent";

fn silent() -> Fault {
    Fault::new(Api::Send, What::DestroyBefore)
}

/// Ann's message of eight o'clock has no answer, and the platform answers again.
async fn ann_in_doubt(lines: &[&str], n: u32) -> World {
    let mut world = World::new().await;
    world.rule("water", lines).await;
    world.start().await;
    world.grant("ann", HABIT, n).await;
    world.faults(vec![silent()]);
    world.at("08:00").await;
    world.expect("water", ONE_IN_DOUBT).await;
    world.faults(Vec::new());
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_answer_is_sent_again_with_a_second_consent() {
    for restarts in [0, 1] {
        let mut world = ann_in_doubt(&[EIGHT, "grace: 3h", RESEND], 3).await;
        for _ in 0..restarts {
            world.restart().await;
        }
        // A receipt has a minute to come.
        world.at("08:00:50").await;
        assert_eq!(world.story("water"), ONE_IN_DOUBT);
        world.at("08:01:20").await;
        world.expect("water", SENT_AGAIN).await;
        assert_eq!(world.balance("ann", HABIT), "3 granted = 1 available, 1 in doubt, 1 consumed");
        assert_eq!((world.sends_to("ann").len(), world.cards("ann")), (2, 1));
        let [first, second] = &world.deliveries()[..] else { panic!("{}", world.told()) };
        assert_eq!(second.0.repeats.map(|repeats| (repeats.of, repeats.nth)), Some((first.1.id, 2)));
        let told = world.explains("water", "ann", "2026-03-02T08:01:00+08:00").await;
        assert_eq!(told["outcome"], "sent", "{told}");
        let steps = told["steps"].to_string();
        for words in ["in doubt since", "on_doubt: resend", &second.1.id.to_string()] {
            assert!(steps.contains(words), "{words}: {steps}");
        }
        for request in
            [Request::OccurrencesList { rule: None }, Request::DeliveriesList { rule: None, reveal: false }]
        {
            let rows = world.asks(request).await;
            assert_eq!(
                (&rows[0]["repeats"], &rows[1]["repeats"]),
                (&Value::Null, &json!(first.1.id.to_string()))
            );
        }
        let shown = world
            .asks(Request::DoubtShow { id: first.1.id.to_string(), reveal: false, lang: Lang::Zh })
            .await
            .remove(0);
        assert_eq!(shown["repeated_as"], second.1.id.to_string(), "{shown}");
        assert_eq!(shown["why"], "请求已经发出，没有得到确定的答复", "{shown}");
        // It ages as any other, and is never repeated again.
        world.at("10:59").await;
        assert_eq!(world.story("water"), SENT_AGAIN);
        let first = first.1.id;
        let settled = world.power().settle_doubt(first, DoubtWord::Failed, world.clock.now()).await.unwrap();
        assert!(settled.value);
        assert_eq!(world.balance("ann", HABIT), "3 granted = 2 available, 1 consumed");
        assert_eq!(world.sends_to("ann").len(), 2);
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_never_answers_takes_three_consents_of_a_person() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "grace: 3h", RESEND]).await;
    world.start().await;
    world.grant("ann", HABIT, 5).await;
    world.faults(vec![silent()]);
    world.at("08:00").await;
    world.pass(200).await;
    let three = [ONE_IN_DOUBT; 3].join("; ");
    world.expect("water", &three).await;
    world.at("10:00").await;
    assert_eq!(world.story("water"), three);
    assert_eq!(world.balance("ann", HABIT), "5 granted = 2 available, 3 in doubt");
    world.ends().await;
}

/// What happens before the minute is over, and how the rule goes on.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Muted,
    Unknown,
    Settled(DoubtWord),
    Paused,
    AppPaused,
    Edited,
    Removed,
    OnHold,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_leave_any_more_is_not_sent_again() {
    let short = [EIGHT, "grace: 60s", RESEND];
    let whole = [EIGHT, "grace: 3h", RESEND];
    let night = [EIGHT, "grace: 3h", RESEND, r#"quiet: { from: "08:00:30", to: "12:00", then: skip }"#];
    let plain = [EIGHT, "grace: 3h"];
    let (doubt, one) = (ONE_IN_DOUBT, "1 granted = 1 in doubt");
    let left = "2 granted = 1 available, 1 in doubt";
    let (over, hour) = ("its time was over, its rule or person was gone", "It is sent again at");
    // The rule, Ann's consents, what happens, what is so an hour later, and what `explain` says of it.
    let table: [(&[&str], u32, Then, [&str; 3]); 13] = [
        (&whole, 1, Then::Nothing, [doubt, one, "there was no second consent"]),
        (&plain, 2, Then::Nothing, [doubt, left, ", and is not sent again"]),
        (&short, 2, Then::Nothing, [doubt, left, over]),
        (&night, 2, Then::Nothing, [doubt, left, "it was in quiet hours"]),
        (&whole, 2, Then::Muted, [doubt, left, "this person was muted by then"]),
        (&whole, 2, Then::Unknown, [doubt, left, "WeChat does not know this openid"]),
        (
            &whole,
            2,
            Then::Settled(DoubtWord::Sent),
            ["done: 1 = 1 sent", "2 granted = 1 available, 1 consumed", "It was sent"],
        ),
        (
            &whole,
            2,
            Then::Settled(DoubtWord::Failed),
            ["done: 1 = 1 failed", "2 granted = 2 available", "An operator settled it: nothing had left"],
        ),
        (&whole, 2, Then::Paused, [doubt, left, hour]),
        (&whole, 2, Then::AppPaused, [doubt, left, hour]),
        (&whole, 2, Then::Edited, [doubt, left, over]),
        (&whole, 2, Then::Removed, [doubt, left, over]),
        (&whole, 2, Then::OnHold, [doubt, left, hour]),
    ];
    for (lines, n, then, [story, balance, why]) in table {
        let mut world = ann_in_doubt(lines, n).await;
        let id = world.delivery("water", "ann").id;
        match then {
            Then::Nothing => {}
            Then::Muted => world.person("ann", |profile| profile.muted = true).await,
            Then::Unknown => {
                let (app, now) = (super::appid(), world.clock.now());
                world.power().mark_recipient(app, openid("ann"), Some(now)).await.unwrap();
            }
            Then::Settled(word) => {
                assert!(world.power().settle_doubt(id, word, world.clock.now()).await.unwrap().value);
            }
            Then::Paused | Then::AppPaused => {
                let app = matches!(then, Then::AppPaused).then(|| "main".to_owned());
                let rule = matches!(then, Then::Paused).then(|| "water".to_owned());
                world.asks(Request::Pause { app, rule, reason: None }).await;
            }
            Then::Edited => world.rule("water", &[EIGHT, "grace: 3h"]).await,
            Then::Removed => world.no_rule("water").await,
            Then::OnHold => {
                world.put_on_hold().await;
            }
        }
        world.at("09:00").await;
        world.pass(2).await;
        assert_eq!(
            (world.story("water").as_str(), world.balance("ann", HABIT).as_str()),
            (story, balance),
            "{then:?}"
        );
        assert_eq!(world.sends_to("ann").len(), 1, "{then:?}");
        let told = world.explains("water", "ann", "2026-03-02T08:30:00+08:00").await;
        assert!(!why.is_empty() && told["steps"].to_string().contains(why), "{then:?}, {why}: {told}");
        if matches!(then, Then::Paused | Then::AppPaused) {
            let app = matches!(then, Then::AppPaused).then(|| "main".to_owned());
            let rule = matches!(then, Then::Paused).then(|| "water".to_owned());
            world.asks(Request::Resume { app, rule }).await;
            world.expect_within(20, "water", SENT_AGAIN).await;
        }
        world.stop_here().await;
    }
}

/// So many in a row pause the app, and nothing but what is repeated could show that it answers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_without_an_answer_is_sent_again_though_the_app_pauses() {
    // Whether another rule's message keeps failing meanwhile, and so keeps the pause told.
    for other in [false, true] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 3h", RESEND]).await;
        world.rule("tea", &[r#"when: { cron: "30 0 8 * * *" }"#, "grace: 3h", "template: bill"]).await;
        world.start().await;
        world.crowd(12).await;
        world.crowd(12).await;
        world.faults(vec![silent()]);
        let mut story = "done: 12 = 12 in_doubt".to_owned();
        if other {
            world.grant("cid", BILL, 1).await;
            story = "done: 13 = 12 in_doubt, 1 no_consent".to_owned();
        }
        world.at("08:00").await;
        world.expect_within(25, "water", &story).await;
        let broken = Fault::new(Api::Send, What::Errcode { code: 48001, msg: "as ordered".to_owned() });
        world.faults(vec![broken.openid(openid("cid").as_str())]);
        world.at("08:00:50").await;
        assert_eq!(world.story("water"), story, "a receipt has a minute to come");
        world.until("a pause, or none", |world| world.paused().is_some() == other).await;
        story += &"; done: 1 = 1 sent".repeat(12);
        world.expect_within(60, "water", &story).await;
        assert_eq!(world.balance("p003", HABIT), "2 granted = 1 in doubt, 1 consumed");
        world.faults(Vec::new());
        world.pass(65).await;
        assert_eq!(world.paused(), None);
        assert_eq!(world.sends_to("p003").len(), 2);
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_the_end_of_quiet_hours_where_they_hold() {
    let quiet = r#"quiet: { from: "08:00:30", to: "08:20", then: hold }"#;
    let world = ann_in_doubt(&[EIGHT, "grace: 3h", RESEND, quiet], 2).await;
    world.at("08:19").await;
    world.pass(2).await;
    assert_eq!(world.story("water"), ONE_IN_DOUBT);
    world.at("08:20").await;
    world.expect_within(60, "water", SENT_AGAIN).await;
    world.ends().await;
}

/// A cut at each write of a run in which two messages have no answer: each doubt is repeated once at most, and paid for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_any_write_repeats_no_doubt_twice() {
    let mut again = 0;
    for n in 0.. {
        let mut world = World::with_limits("in_flight: 2").await;
        world.rule("water", &[EIGHT, "grace: 3h", RESEND]).await;
        world.start().await;
        for name in ["ann", "bob", "cid"] {
            world.grant(name, HABIT, 4).await;
        }
        world.calm().await;
        let to = |name: &str| silent().openid(openid(name).as_str());
        world.faults(vec![to("ann").at_most(1), to("bob").at_most(2)]);
        world.power().cut_after(n);
        world.at("08:00").await;
        let over = |world: &World| {
            world
                .deliveries()
                .iter()
                .all(|(_, delivery)| !delivery.state.is_open() && !delivery.is_to_be_repeated())
        };
        for _ in 0..240 {
            if world.power().is_cut() || world.story("water").starts_with("done") && over(&world) {
                break;
            }
            world.calm().await;
            world.clock.advance(Duration::from_secs(1));
        }
        let whole = !world.power().is_cut();
        let written = world.power().written();
        world.calm().await;
        world.kill().await;
        world.clock.advance(Duration::from_secs(5));
        world.start().await;
        for _ in 0..300 {
            world.calm().await;
            if world.story("water").starts_with("done") && over(&world) {
                break;
            }
            world.clock.advance(Duration::from_secs(1));
        }
        assert!(over(&world), "after {n} writes: {}", world.told());
        // Each has a message that is known to have been taken, or three without an answer.
        for name in ["ann", "bob", "cid"] {
            let his = world.deliveries().into_iter().filter(|(_, delivery)| delivery.openid == openid(name));
            let states: Vec<State> = his.map(|(_, delivery)| delivery.state).collect();
            let (last, before) = states.split_last().unwrap();
            let told = world.told();
            assert!(before.iter().all(|state| *state == State::InDoubt), "{name} after {n} writes: {told}");
            assert!(*last == State::Sent || states.len() == 3, "{name} after {n} writes: {states:?}\n{told}");
            again += states.len() - 1;
        }
        // The audit: each doubt repeated once, a grant with each message, no more messages than deliveries.
        world.ends().await;
        if whole {
            for call in ["mark", "settle", "repeat"] {
                assert!(written.contains(&call), "no cut after {call}: {written:?}");
            }
            assert!(again > 3 * n, "{again} repetitions after {n} cuts");
            break;
        }
    }
}
