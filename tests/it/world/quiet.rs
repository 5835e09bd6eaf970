//! Quiet hours: what waits for their end, what does not leave, and what they catch on its way.

use chrono::TimeDelta;
use tixing::domain::delivery::State;
use tixing::domain::zone::Zone;

use super::{EIGHT, HABIT, World, instant};

const HELD: &str = r#"quiet: { from: "07:30", to: "09:00" }"#;
const SKIPPED: &str = r#"quiet: { from: "07:30", to: "09:00", then: skip }"#;
const NAMES: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];

async fn world_of(limits: &'static str, lines: &[&str]) -> World {
    let mut world = World::with_limits(limits).await;
    world.rule("water", lines).await;
    world.start().await;
    for name in NAMES {
        world.grant(name, HABIT, 1).await;
    }
    world
}

/// Whether everybody got his one message, and each at an instant for which `may` holds.
fn everybody(world: &World, may: impl Fn(chrono::DateTime<chrono::Utc>) -> bool) {
    for name in NAMES {
        let [send] = &world.sends_to(name)[..] else { panic!("{name}: {}", world.told()) };
        assert!(may(send.at), "{name} at {}", send.at);
        assert_eq!(world.balance(name, HABIT), "1 granted = 1 consumed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_at_night_waits_for_the_morning_without_a_consent() {
    for restarts in [false, true] {
        let mut world = world_of("in_flight: 8", &[EIGHT, HELD, "grace: 60s"]).await;
        world.at("08:00").await;
        world.expect("water", "open: 5 = 5 held").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
        if restarts {
            world.restart().await;
        }
        world.at("08:59:59").await;
        world.expect("water", "open: 5 = 5 held").await;
        world.pass(35).await;
        world.expect("water", "done: 5 = 5 sent").await;
        everybody(&world, |at| (instant("09:00")..instant("09:00:32")).contains(&at));
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shall_be_skipped_does_not_leave() {
    let world = world_of("in_flight: 8", &[EIGHT, SKIPPED]).await;
    world.at("08:00").await;
    world.expect("water", "done: 5 = 5 quiet").await;
    assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_night_is_the_recipients() {
    let mut world = world_of("in_flight: 8", &[EIGHT, SKIPPED]).await;
    // 19:00 in New York, where 08:00 in Beijing is in quiet hours; and the other way round in Honolulu, at 14:00.
    for (name, zone) in [("ann", "America/New_York"), ("bob", "Pacific/Honolulu"), ("cid", "Asia/Tokyo")] {
        world.person(name, |profile| profile.time_zone = Zone::parse(zone).ok()).await;
    }
    world.at("08:00").await;
    world.expect("water", "done: 5 = 3 sent, 2 quiet").await;
    let sent: Vec<&str> = NAMES.into_iter().filter(|name| world.cards(name) == 1).collect();
    assert_eq!(sent, ["ann", "bob", "cid"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_that_begins_meanwhile_stops_what_has_not_left() {
    for (then, waits) in [("then: hold", State::Reserved), ("then: skip", State::Expired)] {
        // One a second, so at most four of the five leave before it.
        let quiet = format!(r#"quiet: {{ from: "08:00:03", to: "09:00", {then} }}"#);
        let world = world_of("per_second: 1", &[EIGHT, &quiet]).await;
        world.at("08:00").await;
        world.pass(10).await;
        let count = |world: &World, state: State| -> u64 {
            world.occurrences().iter().map(|occurrence| occurrence.counts.in_state(state)).sum()
        };
        let n_sent = |world: &World| world.platform.totals().accepted;
        let stands = |world: &World| count(world, State::Sent) + count(world, waits) == 5;
        world.until("all have left, or wait", stands).await;
        let n = n_sent(&world);
        assert!(n < 5, "{}", world.told());
        world.at("08:59:59").await;
        assert!(stands(&world) && n_sent(&world) == n, "{}", world.told());
        world.pass(40).await;
        if waits == State::Reserved {
            world.expect("water", "done: 5 = 5 sent").await;
        }
        let by_day = |at| at < instant("08:00:03") || at >= instant("09:00");
        for name in NAMES {
            assert!(world.sends_to(name).iter().all(|send| by_day(send.at)), "{}", world.told());
        }
        assert_eq!(n_sent(&world), if waits == State::Reserved { 5 } else { n });
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_late_does_not_leave_at_night_either() {
    for (then, by_night, in_the_morning) in [
        ("then: hold", "open: 5 = 5 held", "done: 5 = 5 sent"),
        ("then: skip", "done: 5 = 5 quiet", "done: 5 = 5 quiet"),
    ] {
        let quiet = format!(r#"quiet: {{ from: "08:05", to: "09:00", {then} }}"#);
        let mut world = world_of("in_flight: 8", &[EIGHT, &quiet]).await;
        world.at("07:59").await;
        world.kill().await;
        world.clock.advance((instant("08:10") - world.clock.now()).to_std().unwrap());
        world.start().await;
        world.expect_within(5, "water", by_night).await;
        world.at("08:59:59").await;
        world.pass(40).await;
        world.expect("water", in_the_morning).await;
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_is_reserved_when_the_daemon_dies_waits_too() {
    let quiet = r#"quiet: { from: "08:00:02", to: "09:00" }"#;
    let mut world = world_of("in_flight: 1, per_second: 1", &[EIGHT, quiet]).await;
    world.at("08:00").await;
    world.until("the first", |world| NAMES.iter().any(|name| world.cards(name) == 1)).await;
    world.kill().await;
    world.clock.advance(TimeDelta::minutes(10).to_std().unwrap());
    world.start().await;
    world.pass(3).await;
    // What was marked is in doubt, which the night does not change.
    let waits: Vec<&str> =
        NAMES.into_iter().filter(|name| world.balance(name, HABIT) == "1 granted = 1 reserved").collect();
    assert!(!waits.is_empty(), "{}", world.told());
    world.at("08:59:59").await;
    assert!(waits.iter().all(|name| world.cards(name) == 0), "{}", world.told());
    world.pass(45).await;
    for name in waits {
        let [send] = &world.sends_to(name)[..] else { panic!("{name}: {}", world.told()) };
        assert!(send.at >= instant("09:00"), "{name} at {}", send.at);
    }
    world.ends().await;
}
