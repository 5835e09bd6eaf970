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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complaint_halves_the_rate_and_it_grows_again_to_the_ceiling() {
    for (limits, ceiling) in [("in_flight: 16, per_second: 8", Some(8)), ("in_flight: 16", None)] {
        let mut world = World::with_limits(limits).await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.crowd(80).await;
        // Whoever is asked too much answers so; it waits for a second or so.
        world.faults(vec![
            Fault::new(Api::Send, What::Errcode { code: 44990, msg: "too fast".to_owned() }).at_most(1),
        ]);
        world.at("08:00").await;
        world.until("the complaint", |world| world.paused().is_some()).await;
        for _ in 0..200 {
            world.calm().await;
            world.clock.advance(Duration::from_millis(100));
            if world.story("water") == "done: 80 = 80 sent" {
                break;
            }
        }
        world.expect("water", "done: 80 = 80 sent").await;
        let deliveries = world.deliveries();
        let mut at: Vec<_> = deliveries.iter().map(|(_, is)| is.first_started_at.unwrap()).collect();
        at.sort_unstable();
        // Starts in each second after the pause, in which one tried.
        let first = at.iter().find(|start| **start - at[0] >= TimeDelta::milliseconds(900)).unwrap();
        let mut seconds = [0_u32; 12];
        for start in at.iter().filter(|start| *start >= first) {
            let second = usize::try_from((*start - *first).num_seconds()).unwrap();
            seconds[second.min(11)] += 1;
        }
        let before = u32::try_from(at.iter().filter(|start| *start < first).count()).unwrap();
        let half = (ceiling.unwrap_or(before) / 2).max(1);
        let what = format!("{before} before: {seconds:?}");
        assert!(seconds[0] <= half + 1 && seconds[1] <= half + 2 && seconds[2] <= half + 3, "{what}");
        assert!(seconds[3] >= seconds[0] && seconds[4] > half, "it grows: {what}");
        assert!(seconds.iter().take(11).all(|n| *n <= ceiling.unwrap_or(80)), "{what}");
        world.ends().await;
    }
}
