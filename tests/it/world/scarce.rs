//! Somebody has fewer consents than rules want at one moment: higher priority, then earlier due, then rule id.

use tixing::admin::request::Request;
use tixing::domain::delivery::State;
use tixing::domain::occurrence::{Counts, OccurrenceState, SkipReason};

use super::{EIGHT, HABIT, World};

/// Holds what is due in it until nine; the places behind it differ from rule to rule.
const NIGHT: &str = r#"quiet: { from: "07:30", to: "09:00" }"#;
const HALF_PAST: &str = "when: { cron: \"30 8 * * *\" }";
const NINE: &str = "when: { cron: \"0 9 * * *\" }";
const ALL: &str = "done: 40 = 40 sent";
const NOTHING: &str = "done: 40 = 40 no_consent";

/// Lines of two rules, and which of them gets the only consent of each person.
const TABLE: &[([&[&str]; 2], usize)] = &[
    // By rule id: `tea` comes before `water`.
    ([&[EIGHT], &[EIGHT]], 0),
    ([&[EIGHT, "priority: 1"], &[EIGHT, "priority: 2"]], 1),
    ([&[EIGHT, "priority: 2"], &[EIGHT, "priority: 1"]], 0),
    ([&[EIGHT], &[EIGHT, "priority: 1000"]], 1),
    // Found late together, the one due earlier goes first, whatever its id.
    ([&["when: { at: [\"2026-03-02 08:00\"] }"], &["when: { at: [\"2026-03-02 07:59\"] }"]], 1),
    // Only who is in both audiences is wanted twice.
    ([&[EIGHT, "to: { openids: [oNobodyNobodyNobody] }"], &[EIGHT]], 1),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_two_gets_the_only_consent_of_everybody() {
    for ([tea, water], first) in TABLE {
        let mut world = World::with_limits("in_flight: 4").await;
        world.rule("tea", tea).await;
        world.rule("water", water).await;
        world.start().await;
        world.crowd(80).await;
        world.stop().await;
        world.at("08:00:01").await;
        world.start().await;
        let (all, nothing) = ("done: 80 = 80 sent", "done: 80 = 80 no_consent");
        let stories = match (first, tea.len() > 1 && tea[1].starts_with("to:")) {
            (_, true) => ["done: 0", all],
            (0, _) => [all, nothing],
            (_, _) => [nothing, all],
        };
        for (rule, story) in ["tea", "water"].into_iter().zip(stories) {
            world.expect_within(60, rule, story).await;
        }
        if stories.contains(&nothing) {
            let (first, second) = if *first == 0 { ("tea", "water") } else { ("water", "tea") };
            let told = world.explains(second, "p007", "2026-03-02T00:00:01Z").await;
            let steps = told["steps"].to_string();
            assert!(steps.contains(&format!("went to: `{first}`")), "{steps}");
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gets_his_own_share_whoever_walks_faster() {
    // The higher one is slow: its audience waits for its sends. The lower one is for everybody as well.
    let mut world = World::with_limits("in_flight: 4, per_second: 20").await;
    world.rule("alarm", &[EIGHT, "priority: 5", "grace: 3h"]).await;
    world.rule("basic", &[EIGHT, "grace: 3h"]).await;
    world.start().await;
    world.crowd(300).await;
    // Two of them have two.
    world.grant("p010", HABIT, 1).await;
    world.grant("p290", HABIT, 1).await;
    world.at("08:00").await;
    world.expect_within(120, "basic", "done: 300 = 2 sent, 298 no_consent").await;
    world.expect_within(120, "alarm", "done: 300 = 300 sent").await;
    for who in ["p010", "p290"] {
        world.expect_balance(who, HABIT, "2 granted = 2 consumed").await;
    }
    world.ends().await;
}

/// Lines of two rules of which at least one is held until nine, and which of them gets the only consent of each person.
const HELD: &[([&[&str]; 2], usize)] = &[
    ([&[EIGHT, NIGHT], &[EIGHT, NIGHT]], 0),
    ([&[EIGHT, NIGHT], &[EIGHT, NIGHT, "priority: 1"]], 1),
    ([&[EIGHT, NIGHT, "priority: 2"], &[EIGHT, NIGHT, "priority: 1"]], 0),
    // Due earlier, and held by then: what counts first is the priority.
    ([&[EIGHT, NIGHT], &[HALF_PAST, NIGHT, "priority: 1"]], 1),
    ([&[HALF_PAST, NIGHT], &[EIGHT, NIGHT]], 1),
    // Their places are spread over different times behind the same end.
    ([&[EIGHT, NIGHT], &[EIGHT, NIGHT, "priority: 1", "spread: 2m"]], 1),
    // A walk that begins when the other is let go, both ways.
    ([&[NINE], &[EIGHT, NIGHT, "priority: 1"]], 1),
    ([&[NINE, "priority: 1"], &[EIGHT, NIGHT]], 0),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_to_one_moment_takes_its_consent_in_that_order_too() {
    for away in [false, true] {
        for ([tea, water], first) in HELD {
            let mut world = World::with_limits("in_flight: 4").await;
            world.rule("tea", tea).await;
            world.rule("water", water).await;
            world.start().await;
            world.crowd(40).await;
            for time in ["08:00", "08:30", "08:59:59"] {
                world.at(time).await;
            }
            if away {
                // Both are let go together by the next start.
                world.stop().await;
                world.clock.advance(std::time::Duration::from_mins(3));
                world.start().await;
                world.pass(5).await;
            } else {
                world.pass(150).await;
            }
            let (first, second) = if *first == 0 { ("tea", "water") } else { ("water", "tea") };
            world.expect_within(60, first, ALL).await;
            world.expect_within(60, second, NOTHING).await;
            let due = world.occurrences().into_iter().find(|o| o.rule.as_str() == second).unwrap().due_at;
            let told = world.explains(second, "p007", &due.to_rfc3339()).await;
            let steps = told["steps"].to_string();
            assert!(steps.contains(&format!("went to: `{first}`")), "{steps}");
            world.ends().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_send_leaves_what_is_held_to_the_next() {
    // What keeps the higher one from sending, its story then, and when it may go on.
    let table = [
        ("paused", "open: 40 = 40 held", "done: 40 = 40 expired"),
        ("removed", "cancelled: 40 = 40 cancelled", "cancelled: 40 = 40 cancelled"),
        ("too late", "done: 40 = 40 expired", "done: 40 = 40 expired"),
    ];
    for (what, story, in_the_end) in table {
        let mut world = World::with_limits("in_flight: 4").await;
        let late = if what == "too late" { "grace: 1m" } else { "grace: 10m" };
        world.rule("alarm", &[EIGHT, NIGHT, "priority: 5", late]).await;
        world.rule("basic", &[EIGHT, NIGHT, "grace: 10m"]).await;
        world.start().await;
        world.crowd(40).await;
        world.at("08:00").await;
        world.at("08:58").await;
        let (app, rule) = (None, Some("alarm".to_owned()));
        match what {
            "paused" => {
                drop(world.asks(Request::Pause { app: app.clone(), rule: rule.clone(), reason: None }).await);
            }
            "removed" => world.no_rule("alarm").await,
            _ => {
                world.stop().await;
                world.clock.advance(std::time::Duration::from_mins(5));
                world.start().await;
            }
        }
        world.at("09:04").await;
        world.expect_within(60, "basic", ALL).await;
        world.at("09:20").await;
        world.expect_within(60, "alarm", story).await;
        if what == "paused" {
            drop(world.asks(Request::Resume { app, rule }).await);
        }
        world.expect_within(60, "alarm", in_the_end).await;
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_visits_that_are_held_to_one_moment_each_has_its_order_and_few_looks() {
    for (away, n) in [(false, 40), (true, 200)] {
        let mut world = World::with_limits("in_flight: 16").await;
        let when = "when: { before: 2h, of: visit }";
        world.rule("tea", &[when, NIGHT]).await;
        world.rule("water", &[when, NIGHT, "priority: 1"]).await;
        world.start().await;
        world.crowd(n).await;
        for visit in 0..n {
            let who = format!("p{visit:03}");
            world.visit(&who, &[&who], "10:00").await;
        }
        let n_of = |world: &World, rule: &str, state: OccurrenceState, count: fn(&Counts) -> u64| {
            let all = world.occurrences().into_iter();
            all.filter(|o| o.rule.as_str() == rule && o.state == state && count(&o.counts) == 1).count()
        };
        world.at("08:00").await;
        world
            .until("all are held", |world| {
                ["tea", "water"]
                    .map(|rule| n_of(world, rule, OccurrenceState::Open, |c| c.in_state(State::Held)))
                    == [n; 2]
            })
            .await;
        if away {
            world.stop().await;
            world.clock.advance(std::time::Duration::from_hours(1) + std::time::Duration::from_mins(1));
            world.start().await;
        } else {
            world.at("08:59:59").await;
            world.pass(33).await;
        }
        let without = |counts: &Counts| counts.skipped.get(&SkipReason::NoConsent).copied().unwrap_or(0);
        world
            .until("the first gets all", |world| {
                n_of(world, "water", OccurrenceState::Done, |counts| counts.in_state(State::Sent)) == n
                    && n_of(world, "tea", OccurrenceState::Done, without) == n
            })
            .await;
        let n_looked = usize::try_from(world.power().n_looked()).unwrap();
        // One look after each would be hundreds for each.
        assert!(!away || n_looked < 60 * 2 * n, "{n_looked} looks at {} that were held", 2 * n);
        world.ends().await;
    }
}
