//! What the platform answers, and what becomes of the message, its consent and the app.

use std::time::Duration;

use chrono::TimeDelta;
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World};

fn answers(code: i32) -> Fault {
    Fault::new(Api::Send, What::Errcode { code, msg: "as ordered".to_owned() })
}

fn slow(seconds: u64) -> Fault {
    Fault::new(Api::Send, What::Delay(Duration::from_secs(seconds))).after()
}

/// A world with a rule at eight and `ann`, who has `n` consents.
async fn world_of_ann(lines: &[&str], n: u32) -> World {
    let mut world = World::new().await;
    world.rule("water", lines).await;
    world.start().await;
    world.grant("ann", HABIT, n).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_end_a_message_give_its_consent_back() {
    for code in [40003, 47003, 40037, 43104, 40033, 41030, 45168, 85107] {
        let world = world_of_ann(&[EIGHT], 1).await;
        world.faults(vec![answers(code)]);
        world.at("08:00").await;
        world.expect("water", "done: 1 = 1 failed").await;
        assert_eq!(world.delivery("water", "ann").errcode, Some(i64::from(code)));
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available", "{code}");
        assert_eq!(world.sends_to("ann").len(), 1, "{code}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_ask_to_wait_are_tried_again() {
    for code in [43108, 43117, 44990, 45011, 48001, 40164] {
        let world = world_of_ann(&[EIGHT], 1).await;
        world.faults(vec![answers(code).at_most(2)]);
        world.at("08:00").await;
        world.expect("water", "open: 1 = 1 waiting").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 reserved", "{code}");
        world.expect_within(300, "water", "done: 1 = 1 sent").await;
        assert_eq!(world.sends_to("ann").len(), 3, "{code}");
        assert_eq!((world.balance("ann", HABIT).as_str(), world.paused()), ("1 granted = 1 consumed", None));
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_is_tried_again_three_times_and_then_nobody_knows() {
    let table = [
        (1, "done: 1 = 1 sent", "1 granted = 1 consumed", 2),
        (3, "done: 1 = 1 sent", "1 granted = 1 consumed", 4),
        (9, "done: 1 = 1 in_doubt", "1 granted = 1 in doubt", 4),
    ];
    for (n, story, balance, sends) in table {
        let world = world_of_ann(&[EIGHT], 1).await;
        world.faults(vec![answers(-1).at_most(n)]);
        world.at("08:00").await;
        world.expect_within(60, "water", story).await;
        assert_eq!((world.balance("ann", HABIT).as_str(), world.sends_to("ann").len()), (balance, sends));
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_that_was_processed_is_the_one_named_risk_of_a_repeat() {
    let mut world = world_of_ann(&[EIGHT], 1).await;
    world.tap("ann", HABIT, tixing::sandbox::Answer::Accept);
    world.faults(vec![answers(-1).after().at_most(1)]);
    world.at("08:00").await;
    world.expect_within(60, "water", "done: 1 = 1 sent").await;
    assert_eq!((world.cards("ann"), world.balance("ann", HABIT).as_str()), (2, "1 granted = 1 consumed"));
    world.repeats_allowed = 1;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_busy_no_other_answer_gives_the_consent_back() {
    for code in [43101, 47003, 40003] {
        let world = world_of_ann(&[EIGHT], 1).await;
        world.faults(vec![answers(-1).at_most(1), answers(code)]);
        world.at("08:00").await;
        world.expect_within(60, "water", "done: 1 = 1 in_doubt").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 in doubt", "{code}");
        world.ends().await;
    }
    let world = world_of_ann(&[EIGHT, "grace: 2m"], 1).await;
    world.faults(vec![answers(-1).at_most(1), answers(44990)]);
    world.at("08:00").await;
    world.expect_within(200, "water", "done: 1 = 1 in_doubt").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_denial_costs_one_consent_and_the_second_all_from_before_it() {
    let mut world = world_of_ann(&[EIGHT], 4).await;
    world.turns_off("ann", HABIT);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 refused").await;
    assert_eq!(world.delivery("water", "ann").errcode, Some(43101));
    assert_eq!(world.balance("ann", HABIT), "4 granted = 3 available, 1 voided, suspect");
    // The second one is on its way while a new consent comes.
    world.faults(vec![slow(10)]);
    world.at("03 08:00").await;
    world.until("the second one", |world| world.sends_to("ann").len() == 2).await;
    world.clock.advance(Duration::from_secs(5));
    world.grant("ann", HABIT, 1).await;
    world.at("03 08:00:10").await;
    world.expect("water", "done: 1 = 1 refused; done: 1 = 1 refused").await;
    assert_eq!(world.balance("ann", HABIT), "5 granted = 1 available, 4 voided, suspect");
    // A late report of a tap from before the denial grants nothing.
    let out = world.report_as("late", "ann", HABIT, "accept", 3600).await.unwrap();
    assert_eq!(out.ignored.iter().map(|ignored| ignored.why).collect::<Vec<_>>(), ["refused_since"]);
    world.faults(Vec::new());
    world.at("04 08:00").await;
    world.expect("water", "done: 1 = 1 refused; done: 1 = 1 refused; done: 1 = 1 sent").await;
    assert_eq!(world.balance("ann", HABIT), "5 granted = 1 consumed, 4 voided");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ok_clears_the_suspicion_and_nothing_else_does() {
    let mut world = world_of_ann(&[EIGHT], 4).await;
    world.faults(vec![answers(43101).at_most(1)]);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 refused").await;
    world.grant("ann", HABIT, 1).await;
    assert_eq!(world.balance("ann", HABIT), "5 granted = 4 available, 1 voided, suspect");
    world.at("03 08:00").await;
    world.expect_balance("ann", HABIT, "5 granted = 3 available, 1 consumed, 1 voided").await;
    world.faults(vec![answers(43101).at_most(1)]);
    world.at("04 08:00").await;
    world.expect_balance("ann", HABIT, "5 granted = 2 available, 1 consumed, 2 voided, suspect").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reserved_consent_that_died_is_not_sent() {
    let mut world = World::new().await;
    for rule in ["a", "b", "c"] {
        world.rule(rule, &[EIGHT]).await;
    }
    world.start().await;
    world.grant("ann", HABIT, 3).await;
    world.turns_off("ann", HABIT);
    world.faults(vec![slow(1)]);
    world.at("08:00").await;
    let all =
        |world: &World, start: &str| ["a", "b", "c"].iter().all(|rule| world.story(rule).starts_with(start));
    world.until("three reservations", |world| all(world, "open: 1 = 1")).await;
    world.pass(5).await;
    world.until("an end", |world| all(world, "done")).await;
    let told = ["a", "b", "c"].map(|rule| world.story(rule));
    let n = |story: &str| told.iter().filter(|told| *told == story).count();
    assert_eq!((n("done: 1 = 1 refused"), n("done: 1 = 1 cancelled")), (2, 1), "{told:?}");
    assert_eq!(world.sends_to("ann").len(), 2);
    assert_eq!(world.balance("ann", HABIT), "3 granted = 3 voided, suspect");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reminders_to_one_person_never_overlap() {
    let mut world = World::new().await;
    for rule in ["a", "b", "c"] {
        world.rule(rule, &[EIGHT]).await;
    }
    world.start().await;
    world.grant("ann", HABIT, 3).await;
    world.faults(vec![slow(2)]);
    world.at("08:00").await;
    for rule in ["a", "b", "c"] {
        world.expect_within(20, rule, "done: 1 = 1 sent").await;
    }
    assert_eq!(world.platform.totals().refused.get(&43108), None);
    let at: Vec<_> = world.sends_to("ann").iter().map(|send| send.at).collect();
    assert!(at.windows(2).all(|two| two[1] - two[0] >= TimeDelta::seconds(2)), "{at:?}");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_speaks_of_the_moment_it_was_asked() {
    let mut world = world_of_ann(&[EIGHT], 2).await;
    world.faults(vec![answers(43101).at_most(1), answers(44990).at_most(1), answers(43101).at_most(1)]);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 refused").await;
    world.at("03 08:00").await;
    world.expect("water", "done: 1 = 1 refused; open: 1 = 1 waiting").await;
    // Tapped between the two attempts: the second one was asked with it there, and denied.
    world.clock.advance(Duration::from_millis(500));
    world.grant("ann", HABIT, 1).await;
    world.expect_within(60, "water", "done: 1 = 1 refused; done: 1 = 1 refused").await;
    assert_eq!(world.balance("ann", HABIT), "3 granted = 3 voided, suspect");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_is_tried_no_more_often_for_restarts() {
    let mut world = world_of_ann(&[EIGHT], 1).await;
    world.faults(vec![answers(-1)]);
    world.at("08:00").await;
    for n in 1..=3 {
        world.until("another attempt", |world| world.sends_to("ann").len() == n).await;
        world.expect("water", "open: 1 = 1 waiting").await;
        world.restart().await;
    }
    world.expect_within(60, "water", "done: 1 = 1 in_doubt").await;
    assert_eq!(world.sends_to("ann").len(), 4);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_waits_for_the_day_of_beijing_or_for_the_deadline() {
    let world = world_of_ann(&[EIGHT, "grace: 30m"], 1).await;
    world.faults(vec![answers(45009)]);
    world.at("08:00").await;
    world.expect("water", "open: 1 = 1 waiting").await;
    assert!(world.paused().is_some());
    world.at("08:30").await;
    assert_eq!(world.story("water"), "open: 1 = 1 waiting");
    world.at("08:31").await;
    world.expect("water", "done: 1 = 1 expired").await;
    assert_eq!(
        (world.balance("ann", HABIT).as_str(), world.sends_to("ann").len()),
        ("1 granted = 1 available", 1)
    );
    // The app itself waits for the next day, and tells so.
    assert!(world.paused().is_some_and(|why| why.contains("until 2026-03-02T16:0")), "{:?}", world.paused());
    world.at("03 00:01:01").await;
    world.until("an app that is told no more to wait", |world| world.paused().is_none()).await;
    world.ends().await;

    let world = world_of_ann(&[EIGHT, "grace: 20h"], 1).await;
    world.faults(vec![answers(45009).at_most(1)]);
    world.at("08:00").await;
    world.expect("water", "open: 1 = 1 waiting").await;
    world.at("23:59:59").await;
    assert_eq!(world.sends_to("ann").len(), 1);
    world.at("03 00:00:00").await;
    world.expect_within(70, "water", "done: 1 = 1 sent").await;
    world.ends().await;
}

/// Nor does a restart forget it: the app is told as one that waits, and goes on when an operator says so, or with the day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_known_after_a_restart() {
    for resumed in [true, false] {
        let mut world = world_of_ann(&[EIGHT, "grace: 30h"], 1).await;
        world.rule("tea", &[r#"when: { cron: "0 9 2 3 *" }"#, "grace: 30h"]).await;
        world.faults(vec![answers(45009)]);
        world.at("08:00").await;
        world.expect("water", "open: 1 = 1 waiting").await;
        world.restart().await;
        world.until("a pause", |world| world.paused().is_some()).await;
        let why = world.paused().unwrap();
        assert!(
            why.contains("quota of messages is used up")
                && why.contains("until 2026-03-02T16:0")
                && why.contains("errcode 45009: "),
            "{why}"
        );
        world.grant("bob", HABIT, 1).await;
        world.at("09:00").await;
        world.expect("tea", "open: 2 = 1 reserved, 1 no_consent").await;
        assert_eq!(world.sends_to("ann").len() + world.sends_to("bob").len(), 1, "nothing is sent today");
        world.faults(Vec::new());
        if resumed {
            world.asks(Request::Resume { app: Some("main".to_owned()), rule: None }).await;
            world.expect_within(5, "tea", "done: 2 = 1 sent, 1 no_consent").await;
        } else {
            world.at("03 00:00:00").await;
        }
        world.expect_within(90, "water", "done: 1 = 1 sent").await;
        world.expect_within(90, "tea", "done: 2 = 1 sent, 1 no_consent").await;
        assert_eq!(world.paused(), None);
        world.ends().await;
    }
}

/// Also where nothing waits for it any more, until the operator says that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_outlives_what_it_made_expire() {
    let mut world = world_of_ann(&[EIGHT, "grace: 2m"], 1).await;
    world.faults(vec![answers(45009)]);
    world.at("08:00").await;
    world.expect("water", "open: 1 = 1 waiting").await;
    world.at("08:03").await;
    world.expect_within(5, "water", "done: 1 = 1 expired").await;
    world.restart().await;
    world.until("a pause", |world| world.paused().is_some()).await;
    world.asks(Request::Resume { app: Some("main".to_owned()), rule: None }).await;
    world.pass(2).await;
    world.until("none", |world| world.paused().is_none()).await;
    world.restart().await;
    world.calm().await;
    assert_eq!(world.paused(), None);
    world.ends().await;
}

/// What ends an operator's pause of everything is no word about an app that he keeps paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_quota_is_not_forgotten_for_an_app_that_stays_paused() {
    let mut world = world_of_ann(&[EIGHT, "grace: 2m"], 1).await;
    world.faults(vec![answers(45009)]);
    world.at("08:00").await;
    world.expect("water", "open: 1 = 1 waiting").await;
    let main = || Some("main".to_owned());
    world.asks(Request::Pause { app: main(), rule: None, reason: None }).await;
    let why = world.paused().unwrap();
    for part in
        ["paused by an operator", "resume --app main` ends it", "quota", "resume --app main` tries at once"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    world.asks(Request::Resume { app: None, rule: None }).await;
    world.pass(2).await;
    world.restart().await;
    let begun = world.begun();
    world.until("the quota", |world| world.paused().is_some_and(|why| why.contains("quota"))).await;
    world.asks(Request::Resume { app: main(), rule: None }).await;
    world.pass(1).await;
    assert!(world.begun() <= begun + 1, "one tries");
    world.ends().await;
}
