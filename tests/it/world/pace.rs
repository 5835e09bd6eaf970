//! How fast messages leave, how many at a time, and whose turn it is.

use std::time::Duration;

use chrono::TimeDelta;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World, tag};

fn slow(ms: u64) -> Fault {
    Fault::new(Api::Send, What::Delay(Duration::from_millis(ms))).after()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_has_more_starts_than_the_limit() {
    let mut world = World::with_limits("in_flight: 8, per_second: 5").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(23).await;
    world.at("08:00").await;
    for _ in 0..40 {
        world.calm().await;
        world.clock.advance(Duration::from_millis(150));
    }
    world.expect_within(10, "water", "done: 23 = 23 sent").await;
    // By the books: on a loaded machine a request may arrive a step of the clock after its start.
    let mut at: Vec<_> = world.deliveries().iter().map(|(_, is)| is.first_started_at.unwrap()).collect();
    at.sort_unstable();
    assert!(at.windows(6).all(|six| six[5] - six[0] >= TimeDelta::seconds(1)), "{at:?}");
    assert!(at[22] - at[0] <= TimeDelta::seconds(9), "it is used: {at:?}");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_in_flight_than_allowed() {
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(40).await;
    world.faults(vec![slow(1000)]);
    world.at("08:00").await;
    world.expect_within(60, "water", "done: 40 = 40 sent").await;
    assert_eq!(world.platform.totals().in_flight_max, 4);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_rule_does_not_wait_for_a_large_ones_drain() {
    let mut world = World::with_limits("in_flight: 2").await;
    world.rule("large", &[EIGHT]).await;
    world.rule("small", &[r#"when: { cron: "1 8 * * *" }"#, "to: { tags: [few] }"]).await;
    world.start().await;
    world.crowd(300).await;
    world.person("zoe", |profile| tag(profile, "few")).await;
    world.grant("zoe", HABIT, 2).await;
    world.faults(vec![slow(1000)]);
    world.at("08:00").await;
    world.pass(60).await;
    let large = world.platform.sends().len();
    world.expect_within(10, "small", "done: 1 = 1 sent").await;
    assert!(large < 290, "{large} of the large one went first");
    world.faults(Vec::new());
    world.expect_within(30, "large", "done: 301 = 301 sent").await;
    world.ends().await;
}
