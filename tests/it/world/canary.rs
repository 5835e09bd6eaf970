//! A canary: of a large occurrence one message goes first, and what is wrong with all of them costs one consent.

use std::time::Duration;

use tixing::admin::control::Control as _;
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World, field};

const OF_EACH: &str = "data: { thing1: \"{{ fields.nick }}\" }";

fn answers(code: i32, msg: &str) -> Fault {
    Fault::new(Api::Send, What::Errcode { code, msg: msg.to_owned() })
}

fn slow() -> Fault {
    Fault::new(Api::Send, What::Delay(Duration::from_secs(2))).after()
}

fn lost() -> Fault {
    Fault::new(Api::Send, What::DestroyBefore)
}

/// So many people and a rule at eight with these lines, whose messages take two seconds each.
async fn world_of(n: usize, lines: &[&str]) -> World {
    let mut world = World::with_limits("in_flight: 8").await;
    world.rule("water", &[&[EIGHT, "grace: 20m"], lines].concat()).await;
    world.start().await;
    if lines.contains(&OF_EACH) {
        for n in 0..n {
            world.person(&format!("p{n:03}"), |profile| field(profile, "nick", "somebody")).await;
        }
    }
    world.crowd(n).await;
    world
}

impl World {
    pub(super) fn begun(&self) -> u64 {
        self.platform.totals().begun
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_goes_first_and_an_ok_lets_all_others_go() {
    // Of 40 whose rule wants it, of 1,010 by itself; of 200 by itself there is none.
    for (n, lines, canary) in [
        (40, &["canary: true"][..], true),
        (1010, &[], true),
        (200, &[], false),
        (1010, &["canary: false"], false),
    ] {
        let world = world_of(n, lines).await;
        world.faults(vec![slow()]);
        world.at("08:00").await;
        world.until("the first", |world| world.begun() > 0).await;
        world.calm().await;
        assert_eq!(world.begun() == 1, canary, "{n} {lines:?}: {}", world.begun());
        world.faults(Vec::new());
        world.expect_within(20, "water", &format!("done: {n} = {n} sent")).await;
        assert_eq!(world.begun(), u64::try_from(n).unwrap(), "{n}");
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_wrong_for_everybody_costs_one() {
    for (code, msg) in
        [(40037, "invalid template_id"), (47003, "argument invalid! data.thing1.value invalid")]
    {
        let world = world_of(300, &[]).await;
        world.faults(vec![answers(code, msg)]);
        world.at("08:00").await;
        world.until("the hold", |world| !world.running.as_ref().unwrap().shared.status().in_order()).await;
        world.pass(5).await;
        assert_eq!(world.begun(), 1, "{code}");
        assert!(world.story("water").ends_with(" reserved, 1 failed"), "{}", world.story("water"));
        world.faults(vec![slow()]);
        // Released, it begins with one again.
        world.asks(Request::Release { rule: Some("water".to_owned()), lost_since: None }).await;
        world.until("the next", |world| world.begun() == 2).await;
        world.calm().await;
        assert_eq!(world.begun(), 2, "{code}");
        world.faults(Vec::new());
        world.expect_within(20, "water", "done: 300 = 299 sent, 1 failed").await;
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_person_is_answered_takes_the_next_and_five_are_enough() {
    let invalid = "argument invalid! data.thing1.value invalid";
    for (code, msg, lines, end) in [
        (43101, "user refuse to accept the msg", &["canary: true"][..], "refused"),
        (40003, "invalid openid", &["canary: true"], "failed"),
        (47003, invalid, &["canary: true", OF_EACH], "failed"),
    ] {
        for n in [1, 4, 5] {
            let world = world_of(30, lines).await;
            // The five in a row of 47003 hold the rule.
            if code == 47003 && n == 5 {
                world.stop_here().await;
                continue;
            }
            world.faults(vec![answers(code, msg).at_most(n), slow()]);
            world.at("08:00").await;
            world.until("those who were asked first", |world| world.begun() > n).await;
            world.calm().await;
            let alone = n + 1;
            assert_eq!(world.begun() == alone, n < 5, "{code} {n}: {}", world.begun());
            world.faults(Vec::new());
            let ended = match end {
                "refused" => format!("done: 30 = {} sent, {n} refused", 30 - n),
                _ => format!("done: 30 = {} sent, {n} failed", 30 - n),
            };
            world.expect_within(20, "water", &ended).await;
            world.stop_here().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_five_are_tried_and_the_rest_waits_for_a_person() {
    let world = world_of(30, &["canary: true"]).await;
    world.faults(vec![lost().at_most(4)]);
    world.at("08:00").await;
    world.expect_within(20, "water", "done: 30 = 26 sent, 4 in_doubt").await;
    world.ends().await;
    for restarts in [false, true] {
        let mut world = world_of(30, &["canary: true"]).await;
        world.faults(vec![lost()]);
        if restarts {
            world.faults(vec![lost().at_most(2), slow()]);
            world.at("08:00").await;
            world.until("the third", |world| world.begun() == 3).await;
            world.calm().await;
            assert_eq!(world.begun(), 3);
            world.kill().await;
            // Before the start: the fourth may leave at once.
            world.faults(vec![lost()]);
            world.start().await;
        } else {
            world.at("08:00").await;
        }
        world.until("the hold", |world| world.story("water").starts_with("held")).await;
        world.pass(5).await;
        assert_eq!(world.story("water"), "held: 30 = 25 reserved, 5 in_doubt");
        assert_eq!(world.begun(), 5);
        let status = world.running.as_ref().unwrap().shared.status();
        assert!(
            status.held_rules[0].1.contains("the first 5 messages had no answer"),
            "{:?}",
            status.held_rules
        );
        world.faults(Vec::new());
        world.asks(Request::Release { rule: None, lost_since: None }).await;
        world.expect_within(20, "water", "done: 30 = 25 sent, 5 in_doubt").await;
        assert_eq!(world.balance("p029", HABIT), "1 granted = 1 consumed");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_to_be_tried_again_is_waited_for() {
    for code in [43108, 44990, -1] {
        let world = world_of(30, &["canary: true"]).await;
        world.faults(vec![answers(code, "later").at_most(2)]);
        world.at("08:00").await;
        world.expect_within(20, "water", "done: 30 = 30 sent").await;
        let sends = world.platform.sends();
        let first: Vec<&str> = sends.iter().take(3).map(|send| send.openid.as_str()).collect();
        assert!(first.iter().all(|openid| *openid == first[0]), "{code}: {first:?}");
        assert_eq!(sends.len(), 32, "{code}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spread_and_quiet_hours_have_a_canary_when_the_first_are_let_go() {
    let world = world_of(30, &["canary: true", "spread: 1m"]).await;
    world.faults(vec![slow().at_most(1)]);
    world.at("08:00").await;
    world
        .until("the first", |world| {
            world.begun() == 1 || {
                world.clock.advance(Duration::from_millis(200));
                false
            }
        })
        .await;
    world.calm().await;
    assert_eq!(world.begun(), 1);
    world.expect_within(90, "water", "done: 30 = 30 sent").await;
    world.ends().await;
}
