//! Rules of the recipients' own time: each at his clock, once a civil day, whichever way he moves.

use std::collections::BTreeMap;

use tixing::domain::zone::Zone;

use super::{EIGHT, HABIT, World, instant};

const OWN: &str = "timezone: recipient";

/// A world at seven in Beijing on the Monday, with these people and their zones; all have consents.
async fn world_of(people: &[(&str, Option<&str>)]) -> World {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, OWN]).await;
    world.start().await;
    for (name, zone) in people {
        lives(&mut world, name, *zone).await;
        world.grant(name, HABIT, 5).await;
    }
    world
}

async fn lives(world: &mut World, name: &str, zone: Option<&str>) {
    world.person(name, |profile| profile.time_zone = zone.and_then(|zone| Zone::parse(zone).ok())).await;
}

/// When `name` got his messages, by the clock in Beijing.
fn got(world: &World, name: &str) -> Vec<String> {
    let sends = world.sends_to(name);
    sends.iter().map(|send| super::beijing(send.at).format("%d %H:%M").to_string()).collect()
}

/// Moves the clock on, an hour at a time, so that nothing is found late.
async fn until(world: &World, text: &str) {
    let end = instant(text);
    while world.clock.now() < end {
        world.calm().await;
        let half = 1800 - world.clock.now().timestamp().rem_euclid(1800);
        let step = (end - world.clock.now()).min(chrono::TimeDelta::seconds(half));
        world.clock.advance(step.to_std().unwrap());
        world.pass(2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_has_his_own_eight_o_clock() {
    for restarts in [false, true] {
        let people = [
            ("ann", None),
            ("bob", Some("Asia/Tokyo")),
            ("cid", Some("Asia/Bangkok")),
            ("dan", Some("Asia/Shanghai")),
            ("eve", Some("America/New_York")),
            ("fay", Some("Asia/Kolkata")),
        ];
        let mut world = world_of(&people).await;
        until(&world, "08:30").await;
        if restarts {
            world.restart().await;
        }
        until(&world, "03 10:00").await;
        let expected: BTreeMap<&str, &[&str]> = [
            ("ann", &["02 08:00", "03 08:00"][..]),
            ("bob", &["03 07:00"]),
            ("cid", &["02 09:00", "03 09:00"]),
            ("dan", &["02 08:00", "03 08:00"]),
            ("eve", &["02 21:00"]),
            ("fay", &["02 10:30"]),
        ]
        .into();
        for (name, times) in expected {
            assert_eq!(got(&world, name), times, "{name}: {}", world.told());
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_is_reminded_once_a_civil_day() {
    let (tokyo, bangkok, honolulu) = ("Asia/Tokyo", "Asia/Bangkok", "Pacific/Honolulu");
    // Where he lived, where he moves at half past eight in Beijing on the 2nd, and when he is reminded.
    let table = [
        // He had the 2nd at eight, and does not have it again an hour later.
        ("ann", None, Some(bangkok), vec!["02 08:00", "03 09:00", "04 09:00"]),
        // He has not had the 2nd; it is his by the clock that he had then.
        ("bob", Some(bangkok), Some(tokyo), vec!["02 09:00", "03 07:00", "04 07:00"]),
        ("cid", Some(bangkok), None, vec!["02 09:00", "03 08:00", "04 08:00"]),
        // The 2nd has begun in Tokyo, so it is his by that clock to its end; he had it at seven.
        ("dan", Some(tokyo), Some(honolulu), vec!["04 02:00"]),
        // In Honolulu it is still the 1st; where he goes, the 2nd has begun.
        ("eve", Some(honolulu), Some(tokyo), vec!["03 02:00", "03 07:00", "04 07:00"]),
    ];
    let people: Vec<(&str, Option<&str>)> = table.iter().map(|(name, from, ..)| (*name, *from)).collect();
    let mut world = world_of(&people).await;
    until(&world, "08:30").await;
    for (name, _, to, _) in &table {
        lives(&mut world, name, *to).await;
    }
    world.restart().await;
    until(&world, "04 12:00").await;
    for (name, from, to, times) in &table {
        assert_eq!(got(&world, name), *times, "{name}, {from:?} to {to:?}: {}", world.told());
    }
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_that_is_new_begins_where_it_is_found() {
    let mut world = world_of(&[("ann", None)]).await;
    until(&world, "09:10").await;
    // Bangkok has had its eight o'clock; whoever comes from there now was not missed then.
    lives(&mut world, "bob", Some("Asia/Bangkok")).await;
    world.grant("bob", HABIT, 1).await;
    until(&world, "03 08:59").await;
    assert_eq!(got(&world, "bob"), [""; 0]);
    until(&world, "03 09:10").await;
    assert_eq!(got(&world, "bob"), ["03 09:00"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_goes_over_to_everybodys_own_time_does_not_say_a_day_twice() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    for (name, zone) in [("ann", None), ("bob", Some("Asia/Bangkok"))] {
        lives(&mut world, name, zone).await;
        world.grant(name, HABIT, 5).await;
    }
    until(&world, "08:10").await;
    world.rule("water", &[EIGHT, OWN]).await;
    until(&world, "03 12:00").await;
    assert_eq!(got(&world, "ann"), ["02 08:00", "03 08:00"]);
    assert_eq!(got(&world, "bob"), ["02 08:00", "03 09:00"]);
    world.rule("water", &[EIGHT, "timezone: Asia/Bangkok"]).await;
    until(&world, "04 12:00").await;
    assert_eq!(got(&world, "ann"), ["02 08:00", "03 08:00", "04 09:00"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_that_share_an_instant_all_open() {
    // More zones at one instant than one batch opens.
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, OWN]).await;
    world.start().await;
    let nine = "2026-03-02T01:00:00Z".parse().unwrap();
    let civil = |zone: &Zone| chrono::DateTime::<chrono::Utc>::with_timezone(&nine, &zone.tz()).naive_local();
    let eight = "2026-03-02T08:00:00".parse().unwrap();
    let zones: Vec<Zone> = Zone::names().filter_map(|name| Zone::parse(name).ok()).collect();
    let zones: Vec<Zone> = zones.into_iter().filter(|zone| civil(zone) == eight).take(30).collect();
    let more: Vec<Zone> = Zone::names()
        .filter_map(|name| Zone::parse(name).ok())
        .filter(|zone| civil(zone) == eight + chrono::TimeDelta::hours(1))
        .take(30)
        .collect();
    assert!(zones.len() + more.len() > 24, "{} and {}", zones.len(), more.len());
    for (n, zone) in zones.iter().chain(&more).enumerate() {
        let name = format!("n{n:02}");
        lives(&mut world, &name, Some(zone.name())).await;
        world.grant(&name, HABIT, 1).await;
    }
    until(&world, "10:00").await;
    for (n, zone) in zones.iter().chain(&more).enumerate() {
        let time = if n < zones.len() { "02 09:00" } else { "02 08:00" };
        assert_eq!(got(&world, &format!("n{n:02}")), [time], "{zone}");
    }
    world.ends().await;
}
