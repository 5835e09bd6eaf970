//! What people say: reports once, twice and against each other, and acceptances that stand.

use tixing::admin::control::Control as _;
use tixing::flow::intake::ReportError;
use tixing::flow::intake::ungranted::What;
use tixing::sandbox::Answer;

use tixing::domain::consent::Manner;

use super::{BILL, EIGHT, HABIT, World, template as template_id};

/// Why parts of a report granted nothing.
fn whys(out: &tixing::flow::intake::ReportOut) -> Vec<&'static str> {
    out.ignored.iter().map(|ignored| ignored.why).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_once_while_reminders_leave() {
    let mut world = World::new().await;
    world.rule("water", &[r#"when: { cron: "* * * * *" }"#]).await;
    world.start().await;
    world.tap("ann", HABIT, Answer::Accept);
    let first = world.report_as("one", "ann", HABIT, "accept", 0).await.unwrap();
    assert!(!first.duplicate && first.balances.values().sum::<u64>() == 1);
    world.at("07:01").await;
    world.expect("water", "done: 1 = 1 sent").await;
    // The same again, later and older: current balances, and no second consent, also after a restart.
    let again = world.report_as("one", "ann", HABIT, "accept", 90).await.unwrap();
    assert!(again.duplicate && again.balances.values().sum::<u64>() == 0);
    let other = world.report_as("one", "ann", HABIT, "reject", 0).await;
    assert_eq!(other.unwrap_err(), ReportError::Conflict);
    world.restart().await;
    assert!(world.report_as("one", "ann", HABIT, "accept", 0).await.unwrap().duplicate);
    assert!(!world.report_as("one", "bob", HABIT, "reject", 0).await.unwrap().duplicate, "his own one");
    world.at("07:02").await;
    world.expect("water", "done: 1 = 1 sent; done: 2 = 1 no_consent, 1 refused").await;
    assert_eq!(world.balance("ann", HABIT), "1 granted = 1 consumed");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_a_hundred_are_kept_and_what_is_used_makes_room() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 100).await;
    let full = world.report("ann", HABIT, "accept").await.unwrap();
    assert_eq!((whys(&full), full.balances.values().sum::<u64>()), (vec!["full"], 100));
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    let room = world.report("ann", HABIT, "accept").await.unwrap();
    assert_eq!((whys(&room), room.balances.values().sum::<u64>()), (vec![], 100));
    assert_eq!(world.balance("ann", HABIT), "101 granted = 100 available, 1 consumed");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_besides_accept_grants_nothing_and_says_why() {
    let mut world = World::new().await;
    world.start().await;
    let table = [
        (HABIT, "acceptWithAudio", "1 granted = 1 available", vec![]),
        (HABIT, "acceptWithAlert", "2 granted = 2 available", vec![]),
        (HABIT, "acceptWithForcePush", "3 granted = 3 available", vec![]),
        (HABIT, "reject", "3 granted = 3 available", vec![]),
        (HABIT, "ban", "3 granted = 3 available", vec!["not_granted"]),
        (HABIT, "filter", "3 granted = 3 available", vec!["not_granted"]),
        (HABIT, "maybe", "3 granted = 3 available", vec!["unknown_status"]),
        ("TPLnobody", "accept", "3 granted = 3 available", vec!["unknown_template"]),
    ];
    for (template, status, balance, why) in table {
        let out = world.report("ann", template, status).await.unwrap();
        assert_eq!((whys(&out), world.balance("ann", HABIT).as_str()), (why, balance), "{status}");
        // Each is one message; how it was accepted is told as it was said last.
        let with = world.me("ann").await.manners.get(&template_id(HABIT)).copied();
        let said = match status {
            "acceptWithAudio" => Manner::Audio,
            "acceptWithAlert" => Manner::Alert,
            _ => Manner::ForcePush,
        };
        assert_eq!(with, Some(said), "{status}");
    }
    world.report("ann", HABIT, "accept").await.unwrap();
    assert_eq!(world.me("ann").await.manners, [].into(), "plainly again");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_acceptance_carries_many_messages_until_it_is_ended() {
    let mut world = World::new().await;
    world.rule("bill", &[EIGHT, "template: bill"]).await;
    world.start().await;
    world.grant("ann", BILL, 1).await;
    let mut story = Vec::new();
    for day in ["02", "03", "04"] {
        world.at(&format!("{day} 08:00")).await;
        story.push("done: 1 = 1 sent");
        world.expect("bill", &story.join("; ")).await;
    }
    world.tap("ann", BILL, Answer::Reject);
    world.report("ann", BILL, "reject").await.unwrap();
    world.at("05 08:00").await;
    story.push("done: 1 = 1 refused");
    world.expect("bill", &story.join("; ")).await;
    assert_eq!((world.cards("ann"), world.sends_to("ann").len()), (3, 3));
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_comes_or_goes_during_the_walk_is_booked_as_it_is() {
    let mut world = World::new().await;
    world.rule("bill", &[EIGHT, "template: bill"]).await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", BILL, 1).await;
    world.person("bob", |_| {}).await;
    // Between the look at an account and its booking: one ends, another begins.
    world.before_booking("ann", BILL, "reject");
    world.before_booking("bob", HABIT, "accept");
    world.at("08:00").await;
    world.expect("bill", "done: 2 = 1 no_consent, 1 refused").await;
    world.expect("water", "done: 2 = 2 no_consent").await;
    assert_eq!(world.balance("bob", HABIT), "1 granted = 1 available");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standing_acceptance_survives_one_denial_and_not_a_second() {
    let mut world = World::new().await;
    world.rule("bill", &[EIGHT, "template: bill"]).await;
    world.start().await;
    world.grant("ann", BILL, 1).await;
    world.turns_off("ann", BILL);
    world.at("08:00").await;
    world.expect("bill", "done: 1 = 1 refused").await;
    assert_eq!(world.balance("ann", BILL), "1 granted = 1 available, suspect");
    world.at("03 08:00").await;
    world.expect("bill", "done: 1 = 1 refused; done: 1 = 1 refused").await;
    assert_eq!(world.balance("ann", BILL), "1 granted = 1 voided, suspect");
    world.at("04 08:00").await;
    world.expect("bill", "done: 1 = 1 refused; done: 1 = 1 refused; done: 1 = 1 no_consent").await;
    assert_eq!(world.sends_to("ann").len(), 2);
    world.ends().await;
}

/// What grants nothing leaves a trace: a banned template is the operator's affair, and nobody else would tell him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_and_grants_nothing_is_counted() {
    let world = {
        let mut world = World::new().await;
        world.start().await;
        world
    };
    let counts = |world: &World| -> Vec<(What, u64)> {
        let counts = world.running.as_ref().unwrap().shared.memory().ungranted().counts();
        counts.into_iter().map(|((_, what), counted)| (what, counted.n)).collect()
    };
    for (report, status) in
        [("r1", "accept"), ("r2", "reject"), ("r3", "filter"), ("r4", "dance"), ("r4", "dance")]
    {
        world.report_as(report, "ann", HABIT, status, 0).await.unwrap();
    }
    world.report_as("r5", "ann", "NOBODYS", "ban", 0).await.unwrap();
    assert!(world.status().needs_attention.is_empty(), "{:?}", world.status().needs_attention);
    let first = counts(&world);
    let habit = |status| What::Status(template_id(HABIT), status);
    assert_eq!(first, [(habit("filter"), 1), (habit("other"), 1)], "once each, and what is configured");
    for (report, name) in [("r6", "ann"), ("r7", "ann"), ("r8", "bob"), ("r9", "cid")] {
        // A forger gains nothing but a wrong balance for himself.
        assert!(world.status().needs_attention.is_empty(), "{:?}", world.status().needs_attention);
        let out = world.report_as(report, name, HABIT, "ban", 0).await.unwrap();
        assert_eq!(whys(&out), ["not_granted"]);
    }
    let told = world.status().needs_attention;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("app main: WeChat bans template habit (") && told[0].contains(HABIT),
        "{told:?}"
    );
    world.clock.advance(std::time::Duration::from_hours(24));
    assert!(world.status().needs_attention.is_empty(), "a day later");
    world.ends().await;
}
