//! Held for later: who has his turn when, and what may happen to him until then.

use chrono::TimeDelta;
use tixing::domain::id::RuleId;
use tixing::plan::spread;

use super::{EIGHT, HABIT, World, instant, openid};

const SPREAD: &str = "spread: 10m";
const NAMES: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];

/// How long after the due time `name` has his turn under the rule `water`.
fn offset(name: &str) -> TimeDelta {
    let water = RuleId::parse("water").unwrap();
    spread::offset(&water, &openid(name), std::time::Duration::from_mins(10))
}

/// The one of all names who has his turn last, and the one who has it first.
fn last_and_first() -> (&'static str, &'static str) {
    let last = NAMES.into_iter().max_by_key(|name| offset(name)).unwrap();
    let first = NAMES.into_iter().min_by_key(|name| offset(name)).unwrap();
    assert!(offset(first) > TimeDelta::seconds(5) && offset(last) > TimeDelta::minutes(7), "names that fit");
    (last, first)
}

/// Moves the clock to so many seconds after the turn of `name`, where it is not there yet.
async fn forward(world: &World, name: &str, seconds: i64) {
    if world.runs() {
        world.calm().await;
    }
    let rest = instant("08:00") + offset(name) + TimeDelta::seconds(seconds) - world.clock.now();
    world.clock.advance(rest.to_std().unwrap_or_default());
}

async fn world_of(names: &[&str], lines: &[&str]) -> World {
    let mut world = World::new().await;
    world.rule("water", lines).await;
    world.start().await;
    for name in names {
        world.grant(name, HABIT, 1).await;
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_has_his_turn_and_takes_his_consent_only_then() {
    for restarts in [0, 1] {
        let mut world = world_of(&NAMES, &[EIGHT, SPREAD, "grace: 60s"]).await;
        world.at("08:00").await;
        world.expect("water", "open: 8 = 8 held").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
        for _ in 0..restarts {
            // The second start of a crash finds by the index what the first has held.
            world.pass(150).await;
            world.restart().await;
        }
        let rest = instant("08:10:02") - world.clock.now();
        world.pass(u32::try_from(rest.num_seconds()).unwrap()).await;
        world.expect("water", "done: 8 = 8 sent").await;
        for name in NAMES {
            let turn = instant("08:00") + offset(name);
            let [send] = &world.sends_to(name)[..] else { panic!("{name}: {}", world.told()) };
            let late = send.at - turn;
            assert!(late >= TimeDelta::zero() && late <= TimeDelta::minutes(1), "{name}: {late}");
            assert_eq!(world.balance(name, HABIT), "1 granted = 1 consumed");
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_counts_is_what_is_so_when_the_turn_comes() {
    let (last, first) = last_and_first();
    // What happens to the last one between the due time and his turn, and what his books say then.
    let table = [
        ("a consent comes", "done: 2 = 1 sent, 1 no_consent", "1 granted = 1 consumed"),
        ("another rule takes it", "done: 2 = 2 no_consent", "1 granted = 1 consumed"),
        ("he is muted", "done: 2 = 1 no_consent, 1 muted", "1 granted = 1 available"),
        ("the daemon is away too long", "done: 2 = 1 expired, 1 no_consent", "1 granted = 1 available"),
        ("the daemon is away", "done: 2 = 1 sent, 1 no_consent", "1 granted = 1 consumed"),
    ];
    for (what, story, balance) in table {
        let mut world = world_of(&[], &[EIGHT, SPREAD, "grace: 60s"]).await;
        world.person(first, |_| {}).await;
        world.person(last, |_| {}).await;
        if what != "a consent comes" {
            world.grant(last, HABIT, 1).await;
        }
        world.at("08:00").await;
        world.expect("water", "open: 2 = 2 held").await;
        forward(&world, first, 0).await;
        world.expect_within(5, "water", "open: 2 = 1 held, 1 no_consent").await;
        match what {
            "a consent comes" => world.grant(last, HABIT, 1).await,
            "another rule takes it" => {
                world.rule("other", &["when: { cron: \"2 8 * * *\" }"]).await;
                world.at("08:02").await;
                world.until("it was taken", |world| world.cards(last) == 1).await;
            }
            "he is muted" => world.person(last, |profile| profile.muted = true).await,
            _ => {
                world.kill().await;
                forward(&world, last, if what == "the daemon is away" { 30 } else { 90 }).await;
                world.start().await;
            }
        }
        forward(&world, last, 0).await;
        world.expect_within(5, "water", story).await;
        assert_eq!(world.balance(last, HABIT), balance, "{what}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_goes_takes_what_is_held_with_it() {
    for restarts in [false, true] {
        let mut world = world_of(&NAMES, &[EIGHT, SPREAD]).await;
        world.at("08:00").await;
        world.expect("water", "open: 8 = 8 held").await;
        if restarts {
            world.kill().await;
            world.no_rule("water").await;
            world.start().await;
        } else {
            world.no_rule("water").await;
        }
        world.expect_within(5, "water", "cancelled: 8 = 8 cancelled").await;
        world.at("08:11").await;
        assert_eq!(world.platform.totals().accepted, 0);
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available");
        world.ends().await;
    }
}
