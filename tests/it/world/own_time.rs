//! Rules of the recipients' own time: each at his clock, once a civil day, whichever way he moves.

use std::collections::BTreeMap;

use tixing::admin::request::Request;
use tixing::domain::delivery::State;
use tixing::domain::zone::Zone;
use tixing::store::Store as _;

use super::agreement::text;
use super::{EIGHT, HABIT, World, instant, openid};

const OWN: &str = "timezone: recipient";
/// So long that nothing is lost where a loaded machine finds it after the clock was moved on.
pub(super) const PATIENT: &str = "grace: 12h";

/// A world at seven in Beijing on the Monday, with these people and their zones; all have consents.
async fn world_of(people: &[(&str, Option<&str>)]) -> World {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, OWN, PATIENT]).await;
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

/// When what `name` got was due, by the clock in Beijing.
fn got(world: &World, name: &str) -> Vec<String> {
    let mut dues = Vec::new();
    for occurrence in world.occurrences() {
        let deliveries = world.power().deliveries(Some(occurrence.number), None, 1000).unwrap();
        let his = deliveries.iter().filter(|one| one.openid == openid(name) && one.state == State::Sent);
        dues.extend(his.map(|_| super::beijing(occurrence.due_at).format("%d %H:%M").to_string()));
    }
    assert_eq!(dues.len(), world.cards(name), "{name}: {}", world.told());
    dues
}

/// Moves the clock on, an hour at a time, so that nothing is found late.
pub(super) async fn until(world: &World, text: &str) {
    let end = instant(text);
    while world.clock.now() < end {
        world.calm().await;
        let half = 1800 - world.clock.now().timestamp().rem_euclid(1800);
        let step = (end - world.clock.now()).min(chrono::TimeDelta::seconds(half));
        world.clock.advance(step.to_std().unwrap());
        world.pass(2).await;
    }
    let all_over = |world: &World| {
        let all = world.occurrences();
        all.iter().all(|one| one.counts.open() == one.counts.in_state(State::Held) && one.walked)
    };
    world.until("what is due is over", all_over).await;
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
    world.rule("water", &[EIGHT, PATIENT]).await;
    world.start().await;
    for (name, zone) in [("ann", None), ("bob", Some("Asia/Bangkok"))] {
        lives(&mut world, name, zone).await;
        world.grant(name, HABIT, 5).await;
    }
    until(&world, "08:10").await;
    world.rule("water", &[EIGHT, OWN, PATIENT]).await;
    until(&world, "03 12:00").await;
    assert_eq!(got(&world, "ann"), ["02 08:00", "03 08:00"]);
    assert_eq!(got(&world, "bob"), ["02 08:00", "03 09:00"]);
    world.rule("water", &[EIGHT, "timezone: Asia/Bangkok", PATIENT]).await;
    until(&world, "04 12:00").await;
    assert_eq!(got(&world, "ann"), ["02 08:00", "03 08:00", "04 09:00"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_that_share_an_instant_all_open() {
    // More zones at one instant than one batch opens.
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, OWN, PATIENT]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appointment_of_several_people_reminds_each_by_his_own_clock() {
    let evening = [
        r#"when: { before: 1 day, of: visit, time: "20:00" }"#,
        OWN,
        PATIENT,
        // The audit asks for the occurrence's own civil time: hers who is first.
        r#"page: "p/i?rule=visit&due=20260302T200000""#,
        r#"data: { thing1: "{{ appointment.at | local('%d %H:%M') }} {{ due | local('%H:%M') }}" }"#,
    ];
    for (restarts, goes) in [(false, false), (true, false), (false, true)] {
        let mut world = World::new().await;
        world.rule("visit", &evening).await;
        world.start().await;
        let people = [
            ("ann", None),
            ("bob", Some("Asia/Tokyo")),
            ("eve", Some("America/New_York")),
            ("fay", Some("Asia/Tokyo")),
        ];
        for (name, zone) in people {
            lives(&mut world, name, zone).await;
            world.grant(name, HABIT, 2).await;
        }
        world.visit("a", &["ann", "bob", "eve"], "04 10:00").await;
        until(&world, "03 08:59").await;
        assert_eq!(world.story("visit"), "");
        until(&world, "03 09:05").await;
        // It opened for her who is first, and holds the others.
        world.expect("visit", "open: 3 = 2 held, 1 sent").await;
        if restarts {
            world.restart().await;
        }
        if goes {
            world.no_visit("a").await;
        } else {
            // Whoever comes before his own time is not late.
            world.visit("a", &["ann", "bob", "eve", "fay"], "04 10:00").await;
        }
        until(&world, "03 18:55").await;
        assert_eq!((world.cards("ann"), world.cards("bob"), world.cards("fay")), (0, 0, 0));
        if !goes {
            world.at("03 19:00").await;
            world.until("both", |world| world.cards("bob") == 1 && world.cards("fay") == 1).await;
            assert_eq!(world.cards("ann"), 0, "{}", world.told());
            world.at("03 20:00").await;
            world.until("the last", |world| world.cards("ann") == 1).await;
        }
        until(&world, "03 21:00").await;
        let told = |name: &str| -> Vec<String> {
            let sends = world.sends_to(name);
            sends.iter().map(|send| send.data["thing1"].clone()).collect()
        };
        assert_eq!(told("eve"), ["03 21:00 20:00"]);
        if goes {
            assert_eq!((world.cards("ann"), world.cards("bob")), (0, 0), "{}", world.told());
        } else {
            assert_eq!(
                (told("ann"), told("bob")),
                (vec!["04 10:00 20:00".to_owned()], vec!["04 11:00 20:00".to_owned()])
            );
            assert_eq!(told("fay"), ["04 11:00 20:00"]);
        }
        world.ends().await;
    }
}

/// Whoever belongs to it only since after the time by his own clock is late, whenever the others are due; also one whose
/// zone nobody had before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_his_own_time_is_late_although_the_others_are_not_due_yet() {
    let evening = [
        r#"when: { before: 1 day, of: visit, time: "20:00" }"#,
        OWN,
        PATIENT,
        r#"data: { thing1: "{{ due | local('%d %H:%M') }}" }"#,
    ];
    for (late, added) in [("skip", false), ("skip", true), ("send", false), ("send", true)] {
        let mut world = World::new().await;
        // The audit asks for the occurrence's own civil time.
        let first = if late == "send" { "20260301T200000" } else { "20260302T200000" };
        let page = format!("page: \"p/i?rule=visit&due={first}\"");
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        until(&world, "02 09:30").await;
        // Hers was due before this rule was known: nothing but the change itself leads to it.
        world.rule("visit", &[&evening[..], &[&page, &format!("if_late: {late}")]].concat()).await;
        lives(&mut world, "ann", None).await;
        world.grant("ann", HABIT, 2).await;
        if added {
            world.visit("a", &["ann"], "03 10:00").await;
        }
        until(&world, "02 10:00").await;
        lives(&mut world, "eve", Some("America/New_York")).await;
        world.grant("eve", HABIT, 2).await;
        // For her it was due at nine.
        world.visit("a", &["ann", "eve"], "03 10:00").await;
        if late == "send" {
            world.until("hers", |world| world.cards("eve") == 1).await;
            assert_eq!(world.sends_to("eve")[0].data["thing1"], "01 20:00");
        }
        let next = world.asks(Request::Next { rule: None, span_s: 86_400, at: None }).await;
        until(&world, "02 21:00").await;
        let of_her = u8::from(late == "send").into();
        assert_eq!((world.cards("ann"), world.cards("eve")), (1, of_her), "{late} {added}: {}", world.told());
        // What is open already is not to come.
        let is_to_come = next.iter().any(|row| row["due_at"] == "2026-03-02T12:00:00Z");
        assert_eq!(is_to_come, late == "skip", "{late} {added}: {next:?}");
        let told = world.explains("visit", "eve", "2026-03-02T21:00:00+08:00").await;
        let wanted = if late == "send" { ("sent", None) } else { ("not_opened", Some("put_late")) };
        assert_eq!((text(&told, "outcome"), told["reason"].as_str()), wanted, "{told:#}");
        world.ends().await;
    }
}
