//! The access token as the whole daemon lives with it: lost in the middle of a run, not to be had, taken by another program.
//!
//! What many callers at once make of it is told in the client's own tests; here it is what becomes of people's messages.

use std::time::Duration;

use tixing::admin::control::Control;
use tixing::domain::delivery::State;
use tixing::domain::id::AppName;
use tixing::sandbox::{Acceptance, Api, Fault, What};
use tixing::store::Reach;
use tixing::wechat::push::{Answered, Event, What as What_};

use super::{APPID, EIGHT, HABIT, World, openid, template};

fn slow(seconds: u64) -> Fault {
    Fault::new(Api::Send, What::Delay(Duration::from_secs(seconds))).after()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_access_token_costs_one_fetch_and_one_repeat() {
    type Breaks = fn(&World);
    let table: [(&str, Breaks); 2] = [
        ("revoked", |world| assert!(world.platform.revoke_tokens(APPID) > 0)),
        ("expired", |world| world.platform.expire_tokens(APPID)),
    ];
    for (what, breaks) in table {
        let mut world = World::with_limits("in_flight: 4").await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.crowd(40).await;
        world.faults(vec![slow(1)]);
        world.at("08:00").await;
        world.until("some", |world| world.platform.totals().begun >= 4).await;
        world.clock.advance(Duration::from_secs(1));
        world.until("some sent", |world| world.platform.totals().begun >= 8).await;
        let before = world.platform.totals().token_calls;
        breaks(&world);
        world.expect_within(60, "water", "done: 40 = 40 sent").await;
        let totals = world.platform.totals();
        assert_eq!(totals.token_calls, before + 1, "{what}: one fetch for all");
        let refused: u64 = totals.refused.values().sum();
        // Those in flight, and those that were marked ahead under the dead one.
        assert!((1..=8).contains(&refused) && totals.begun == 40 + refused, "{what}: {totals:?}");
        world.ends().await;
    }
}

/// The question for templates does not reach the platform, so it finds no dead token before the message does.
fn no_templates() -> Fault {
    Fault::new(Api::Templates, What::DestroyBefore)
}

/// A request is repeated under a new access token only if it may still be made when there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_repeat_who_was_erased_or_refused_while_it_waited() {
    for what in ["nothing", "erased", "refused", "his visit is off"] {
        let mut world = World::new().await;
        world.rule("water", &["when: { before: 1h, of: visit }"]).await;
        world.faults(vec![no_templates()]);
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.visit("A1", &["ann"], "09:00").await;
        // The first request finds its token dead, and the next token, not that of the start, is long in coming.
        world.token_dies().await;
        let slow_token = Fault::new(Api::Token, What::Delay(Duration::from_secs(8)));
        world.faults(vec![slow_token, no_templates()]);
        world.at("08:00").await;
        world.until("a refusal of the token", |world| !world.platform.totals().refused.is_empty()).await;
        let (app, ann, now) = (AppName::parse("main").unwrap(), openid("ann"), world.clock.now());
        let intake = world.running.as_ref().unwrap().intake.clone();
        match what {
            "erased" => intake.erase(&app, &ann, Reach::This, None).await.unwrap(),
            "refused" => {
                let refused = Answered { template: template(HABIT), status: "reject".to_owned() };
                let what = What_::Changed { openid: ann.clone(), answers: vec![refused] };
                intake.event(&app, Event { created_at: now, what }).await.unwrap();
            }
            "his visit is off" => world.no_visit("A1").await,
            _ => {}
        }
        world.pass(30).await;
        let cards = usize::from(what == "nothing");
        assert_eq!(world.cards("ann"), cards, "{what}: {}", world.told());
        if what == "erased" {
            // Whose the first request was only the platform knows.
            world.stop().await;
        } else {
            world.stop_here().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_whose_token_is_refused_for_ever_waits_and_goes_on_by_itself() {
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(20).await;
    world.platform.refuse_tokens(APPID, Acceptance::Refused);
    let before = world.platform.totals();
    world.at("08:00").await;
    world.until("a pause", |world| world.paused().is_some()).await;
    let asked = world.platform.totals();
    assert!(asked.token_calls - before.token_calls <= 3, "{asked:?}");
    world.pass(150).await;
    let asked = world.platform.totals();
    assert!(asked.token_calls <= 8 && asked.begun <= 16, "{asked:?}");
    let marked = world.deliveries().iter().filter(|(_, d)| d.state == State::Attempting).count();
    assert_eq!(marked, 0, "nothing is marked while nothing can be sent");
    assert!(world.paused().is_some_and(|why| why.contains("token")), "{:?}", world.paused());
    world.platform.refuse_tokens(APPID, Acceptance::Ruled);
    world.expect_within(180, "water", "done: 20 = 20 sent").await;
    assert_eq!(world.paused(), None);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_no_token_can_be_had_is_told_before_anything_is_due() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    let wrong = What::Errcode { code: 40125, msg: "invalid appsecret".to_owned() };
    world.faults(vec![Fault::new(Api::Token, wrong), no_templates()]);
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    // As each minute does; where no token can be had, nothing is asked.
    let shared = &world.running.as_ref().unwrap().shared;
    shared.templates().look(&shared.current().get(), world.clock.now()).await.unwrap();
    world.until("a pause", |world| world.paused().is_some()).await;
    assert!(world.paused().is_some_and(|why| why.contains("AppSecret")), "{:?}", world.paused());
    assert!(!world.running.as_ref().unwrap().shared.status().in_order());
    world.faults(vec![no_templates()]);
    // It is asked for again within a minute.
    world.pass(65).await;
    world.until("that it goes on", |world| world.paused().is_none()).await;
    // No message has proved it yet, and nothing more is learnt by asking.
    let before = world.platform.totals().token_calls;
    world.pass(300).await;
    assert_eq!(world.platform.totals().token_calls, before, "what is had is not asked for again");
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_until_the_deadline_everything_expires_untouched() {
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT, "grace: 3m"]).await;
    world.faults(vec![Fault::new(
        Api::Token,
        What::Errcode { code: 40125, msg: "invalid appsecret".to_owned() },
    )]);
    world.start().await;
    world.crowd(9).await;
    world.at("08:00").await;
    world.expect("water", "open: 9 = 9 reserved").await;
    world.until("a pause", |world| world.paused().is_some()).await;
    world.pass(100).await;
    assert_eq!(world.story("water"), "open: 9 = 9 reserved");
    world.at("08:03:01").await;
    world.expect_within(5, "water", "done: 9 = 9 expired").await;
    assert_eq!(world.balance("p000", HABIT), "1 granted = 1 available");
    assert_eq!(world.platform.totals().begun, 0);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_call_that_fails_for_ten_minutes_costs_no_message_and_no_report() {
    let table = [
        ("busy", What::Errcode { code: -1, msg: "system error".to_owned() }),
        ("bad gateway", What::Status { code: 502, body: "bad gateway".to_owned() }),
        ("garbage", What::Garbage),
        ("cut", What::Truncate),
        ("reset", What::DestroyBefore),
    ];
    for (what, fault) in table {
        let mut world = World::with_limits("in_flight: 4").await;
        world.rule("water", &[EIGHT, "grace: 30m"]).await;
        world.faults(vec![Fault::new(Api::Token, fault)]);
        world.start().await;
        world.crowd(9).await;
        world.at("08:00").await;
        world.until("a pause", |world| world.paused().is_some()).await;
        for minute in 1..=10 {
            world.at(&format!("08:{minute:02}")).await;
            world.grant("bob", HABIT, 1).await;
        }
        assert_eq!(world.balance("bob", HABIT), "10 granted = 10 available", "{what}: reports are taken");
        assert!(world.story("water").starts_with("open: 9 = 9 reserved"), "{what}: {}", world.story("water"));
        let asked = world.platform.totals();
        assert!(asked.begun == 0 && asked.token_calls <= 24, "{what}: {asked:?}");
        world.faults(Vec::new());
        world.expect_within(70, "water", "done: 9 = 9 sent").await;
        assert_eq!((world.platform.totals().begun, world.paused()), (9, None), "{what}");
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_that_keeps_taking_the_token_is_named_in_status() {
    let mut world = World::new().await;
    world.rule("water", &[r#"when: { cron: "*/10 8 * * *" }"#]).await;
    world.start().await;
    world.grant("ann", HABIT, 6).await;
    let named = |world: &World| -> Vec<String> {
        let status = world.running.as_ref().unwrap().shared.status();
        let told = status.needs_attention.into_iter();
        told.filter(|text| text.contains("another program keeps taking its access token")).collect()
    };
    let mut sent = Vec::new();
    for taken in 0..=5 {
        world.at(&format!("08:{taken}0")).await;
        sent.push("done: 1 = 1 sent");
        world.expect("water", &sent.join("; ")).await;
        // The first to use the token of the start; each taken one costs one fetch and one more call.
        let totals = world.platform.totals();
        assert_eq!((totals.begun, totals.token_calls), (2 * taken + 1, taken + 1));
        assert_eq!(named(&world).len(), usize::from(taken >= 3), "{taken}: {:?}", named(&world));
        assert_eq!(world.paused(), None, "it sends");
        world.token_dies().await;
    }
    assert!(named(&world)[0].starts_with("app main: another program"), "{:?}", named(&world));
    assert!(named(&world)[0].contains("5 in a row"), "{:?}", named(&world));
    world.at("10:49").await;
    assert_eq!(named(&world).len(), 1);
    world.at("10:51").await;
    assert_eq!(named(&world), Vec::<String>::new(), "it has stopped");
    world.ends().await;
}

/// Each taken token costs a fetch, so there is an end to it within a minute; what stops the app then is no broken token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_taken_one_after_the_other_stop_the_app_for_a_moment_and_it_says_why() {
    let mut world = World::with_limits("in_flight: 1, per_second: 1").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(8).await;
    world.at("08:00").await;
    for _ in 0..8 {
        if world.paused().is_some() {
            break;
        }
        world.token_dies().await;
        world.pass(1).await;
    }
    let why = world.paused().expect("it has stopped");
    assert!(
        why.starts_with("access tokens that worked are refused one after the other (errcode 40001"),
        "{why}"
    );
    assert!(why.contains("another program"), "{why}");
    world.expect_within(180, "water", "done: 8 = 8 sent").await;
    assert_eq!(world.paused(), None);
    world.ends().await;
}
