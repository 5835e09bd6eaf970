//! Somebody has fewer consents than rules want at one moment: higher priority, then earlier due, then rule id.

use super::{EIGHT, HABIT, World};

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
