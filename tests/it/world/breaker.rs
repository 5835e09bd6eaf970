//! A wave of refusals: an occurrence that nearly everybody refuses is held before it costs everybody's consent.

use tixing::admin::control::Control as _;
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World};

/// In flight, and as many marked.
const IN_FLIGHT: u64 = 4;

fn refused() -> Fault {
    let msg = "user refuse to accept the msg".to_owned();
    Fault::new(Api::Send, What::Errcode { code: 43101, msg })
}

/// An occurrence of 60 people that is held at the twentieth refusal; how many of them refused by then.
async fn held(world: &mut World) -> u64 {
    world.rule("water", &[EIGHT, "grace: 20m"]).await;
    world.start().await;
    world.crowd(60).await;
    world.faults(vec![refused()]);
    world.at("08:00").await;
    world.until("the hold", |world| world.story("water").starts_with("held")).await;
    world.pass(3).await;
    let n = world.platform.totals().refused[&43101];
    assert!((20..20 + IN_FLIGHT).contains(&n), "{n}: what was in flight when it broke, and nothing more");
    assert_eq!(world.story("water"), format!("held: 60 = {} reserved, {n} refused", 60 - n));
    world.until("it to be told", |world| !world.running.as_ref().unwrap().shared.held().is_empty()).await;
    let status = world.running.as_ref().unwrap().shared.status();
    assert!(!status.in_order());
    let (rule, reason) = &status.held_rules[0];
    assert_eq!(rule.as_str(), "water");
    assert_eq!(
        reason,
        "its reminder of 2026-03-02T00:00:00Z is held: 20 of the last 20 messages were refused (43101)"
    );
    assert!(
        status.needs_attention[0].contains("tixing release --rule water"),
        "{:?}",
        status.needs_attention
    );
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_of_refusals_holds_the_occurrence_until_it_is_released() {
    for restarts in [false, true] {
        let mut world = World::with_limits("in_flight: 4").await;
        let n = held(&mut world).await;
        if restarts {
            world.restart().await;
            world.pass(5).await;
            assert_eq!(world.platform.totals().refused[&43101], n);
        }
        world.faults(Vec::new());
        world.until("it to be told", |world| !world.running.as_ref().unwrap().shared.held().is_empty()).await;
        let released =
            world.asks(Request::Release { rule: Some("water".to_owned()), lost_since: None }).await;
        assert_eq!(released[0]["due_at"], "2026-03-02T00:00:00Z");
        world.expect_within(20, "water", &format!("done: 60 = {} sent, {n} refused", 60 - n)).await;
        assert!(world.running.as_ref().unwrap().shared.status().in_order());
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_deadline_ends_the_hold_and_the_consents_stay() {
    let mut world = World::with_limits("in_flight: 4").await;
    let n = held(&mut world).await;
    world.faults(Vec::new());
    world.at("08:20:02").await;
    world.expect_within(20, "water", &format!("done: 60 = {n} refused, {} expired", 60 - n)).await;
    assert_eq!(world.platform.totals().accepted, 0);
    let kept = (0..60).filter(|n| world.balance(&format!("p{n:03}"), HABIT) == "1 granted = 1 available");
    assert_eq!(u64::try_from(kept.count()).unwrap(), 60 - n);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_refusals_are_people() {
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(100).await;
    // Nineteen at most refuse.
    world.faults(vec![refused().at_most(19)]);
    world.at("08:00").await;
    world.expect_within(20, "water", "done: 100 = 81 sent, 19 refused").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_before_anybody_saw_the_hold_leaves_nothing_behind() {
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(240).await;
    world.faults(vec![refused()]);
    world.running.as_ref().unwrap().power.release_at_once();
    world.at("08:00").await;
    world.expect_within(60, "water", "done: 240 = 240 refused").await;
    world.ends().await;
}
