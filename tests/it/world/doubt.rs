//! Sends without a definite answer, and a platform that is not there.

use tixing::admin::control::{AppState, Control as _};
use tixing::admin::request::{DoubtVerdict, Lang, Request};
use tixing::domain::delivery::State;
use tixing::sandbox::{Api, Fault, What};
use tixing::store::{DoubtWord, Store};

use super::{EIGHT, HABIT, World};

async fn world_of_ann(lines: &[&str]) -> World {
    let mut world = World::new().await;
    world.rule("water", lines).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_definite_answer_is_in_doubt_and_never_sent_again() {
    let fault = |what| Fault::new(Api::Send, what);
    let bad_gateway = What::Status { code: 502, body: "bad gateway".to_owned() };
    let table = [
        (fault(What::DestroyBefore), 0),
        (fault(What::DestroyAfter), 1),
        (fault(What::Truncate).after(), 1),
        (fault(What::Garbage).after(), 1),
        (fault(What::Garbage), 0),
        (fault(bad_gateway), 0),
    ];
    for (fault, cards) in table {
        let mut world = world_of_ann(&[EIGHT, "grace: 3h"]).await;
        world.faults(vec![fault.clone()]);
        world.at("08:00").await;
        world.expect("water", "done: 1 = 1 in_doubt").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 in doubt");
        world.faults(Vec::new());
        world.at("09:00").await;
        world.restart().await;
        world.at("10:00").await;
        assert_eq!((world.sends_to("ann").len(), world.cards("ann")), (1, cards), "{fault:?}");
        let doubts = world.power().doubts(10).unwrap();
        assert_eq!(doubts.iter().map(|doubt| doubt.state).collect::<Vec<_>>(), [State::InDoubt]);
        let (word, story, balance) = match cards {
            0 => (DoubtWord::Failed, "done: 1 = 1 failed", "1 granted = 1 available"),
            _ => (DoubtWord::Sent, "done: 1 = 1 sent", "1 granted = 1 consumed"),
        };
        let settle = |word| world.power().settle_doubt(doubts[0].id, word, world.clock.now());
        assert!(settle(word).await.unwrap().value);
        assert!(!settle(DoubtWord::Failed).await.unwrap().value, "only once");
        assert_eq!((world.story("water").as_str(), world.balance("ann", HABIT).as_str()), (story, balance));
        assert_eq!(world.power().doubts(10).unwrap(), []);
        world.ends().await;
    }
}

/// A gateway in front of the platform that answers fast and says nothing would put a whole audience in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_never_says_what_becomes_of_messages_costs_a_few() {
    let mut world = World::with_limits("in_flight: 4").await;
    // An audience whose walk goes on may be a large one, whose canary would stop it sooner.
    world.rule("water", &[EIGHT, "grace: 3h", "canary: false"]).await;
    world.start().await;
    world.crowd(200).await;
    world.faults(vec![Fault::new(Api::Send, What::Status { code: 502, body: "bad gateway".to_owned() })]);
    world.at("08:00").await;
    world.until("the pause", |world| world.paused().is_some()).await;
    world.pass(10).await;
    let n = world.platform.totals().begun;
    // Eight in a row, three that were in flight with the last, and one alone after half a second, one, two, four.
    assert!((8..=16).contains(&n), "{n}");
    let AppState::Paused(why) =
        world.running.as_ref().unwrap().shared.status().apps.into_values().next().unwrap()
    else {
        panic!("it sends")
    };
    assert!(why.contains("does not say what becomes of messages"), "{why}");
    assert!(why.contains("tixing doubt list"), "{why}");
    world.faults(Vec::new());
    world.at("08:10").await;
    world.until("the end", |world| world.story("water").starts_with("done")).await;
    let n = world.power().doubts(300).unwrap().len();
    world.expect("water", &format!("done: 200 = {} sent, {n} in_doubt", 200 - n)).await;
    assert!((8..=17).contains(&n), "{n}");
    assert!(world.running.as_ref().unwrap().shared.status().in_order());
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_is_asked_again_until_the_deadline() {
    // When the platform is back, what becomes of it, and the account.
    let table = [
        (Some("08:10"), "done: 1 = 1 sent", "1 granted = 1 consumed"),
        (None, "done: 1 = 1 expired", "1 granted = 1 available"),
    ];
    for (back, story, balance) in table {
        let mut world = world_of_ann(&[EIGHT, "grace: 30m"]).await;
        world.calm().await;
        world.platform_gone().await;
        world.at("08:00").await;
        world.until("a pause", |world| world.paused().is_some()).await;
        if let Some(back) = back {
            world.at(back).await;
            world.platform_back().await;
            world.expect_within(120, "water", story).await;
            assert_eq!(world.paused(), None);
        } else {
            world.pass(20).await;
            world.at("08:30:01").await;
            world.expect_within(120, "water", story).await;
            world.platform_back().await;
        }
        assert_eq!(world.balance("ann", HABIT), balance);
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_in_doubt_is_shown_and_all_of_a_rule_are_settled_at_once() {
    let table = [
        (DoubtVerdict::Sent, "done: 3 = 3 sent", "1 granted = 1 consumed"),
        (DoubtVerdict::Failed, "done: 3 = 3 failed", "1 granted = 1 available"),
    ];
    for (verdict, story, balance) in table {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT]).await;
        world.rule("tea", &[EIGHT, "to: { tags: [nobody] }"]).await;
        world.start().await;
        for name in ["ann", "bob", "cid"] {
            world.grant(name, HABIT, 1).await;
        }
        world.faults(vec![Fault::new(Api::Send, What::Garbage)]);
        world.at("08:00").await;
        world.expect("water", "done: 3 = 3 in_doubt").await;
        let id = world.power().doubts(10).unwrap()[0].id.to_string();
        let shown =
            world.asks(Request::DoubtShow { id: id.clone(), reveal: false, lang: Lang::En }).await.remove(0);
        assert_eq!(
            (&shown["id"], &shown["rule"], &shown["attempts"]),
            (&id.into(), &"water".into(), &1.into())
        );
        assert_eq!(shown["presumed_at"], "2026-03-05T00:00:00Z", "{shown}");
        assert!(shown["openid"].as_str().unwrap().starts_with('~'), "{shown}");
        for (rule, n) in [("tea", 0), ("water", 3), ("water", 0)] {
            let settle = Request::DoubtSettleRule { rule: rule.to_owned(), verdict };
            assert_eq!(world.asks(settle).await[0]["n"], n, "{rule}");
        }
        assert_eq!((world.story("water").as_str(), world.balance("ann", HABIT).as_str()), (story, balance));
        world.ends().await;
    }
}
