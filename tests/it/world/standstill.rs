//! While a reminder, a rule, an app or everything does not send, `explain` names that and its way out, whatever would be so
//! without it; and afterwards it does not pretend to know what it was.

use std::time::Duration;

use serde_json::Value;
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::agreement::text;
use super::{EIGHT, HABIT, World, openid};

const DUE: &str = "2026-03-02T08:00:00+08:00";
const TOMORROW: &str = "2026-03-03T08:00:00+08:00";

fn answers(api: Api, code: i32, msg: &str) -> Fault {
    Fault::new(api, What::Errcode { code, msg: msg.to_owned() })
}

impl World {
    async fn paused_by_an_operator(&self, app: Option<&str>, rule: Option<&str>) {
        let (app, rule) = (app.map(str::to_owned), rule.map(str::to_owned));
        self.asks(Request::Pause { app, rule, reason: Some("holidays".to_owned()) }).await;
    }
}

/// Looks whether the sentence and its way out name these, and whether the last of it is among the steps, too.
fn says(told: &Value, outcome: &str, why: &[&str], cure: &[&str]) {
    assert_eq!(text(told, "outcome"), outcome, "{told:#}");
    for part in why {
        assert!(text(told, "why").contains(part), "{part}: {told:#}");
    }
    assert!(why.last().is_some_and(|last| told["steps"].to_string().contains(last)), "{told:#}");
    for part in cure {
        assert!(text(told, "cure").contains(part), "{part}: {told:#}");
    }
    for untrue in ["leave shortly", "in a moment", "is tried again at 2", "come to this person yet"] {
        assert!(!text(told, "why").contains(untrue) && !text(told, "cure").contains(untrue), "{told:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_reminder_is_told_with_its_release() {
    let mut world = World::with_limits("in_flight: 8").await;
    world.rule("water", &[EIGHT, "grace: 20m", "canary: true"]).await;
    world.start().await;
    world.crowd(30).await;
    world.faults(vec![Fault::new(Api::Send, What::DestroyBefore)]);
    world.at("08:00").await;
    world.until("the hold", |world| world.story("water").starts_with("held")).await;
    world.until("it to be told", |world| !world.status().held_rules.is_empty()).await;
    let told = world.explains("water", "p029", DUE).await;
    let why = ["It has its consent", "This reminder is held: ", "the first 5 messages had no answer"];
    says(&told, "reserved", &why, &["tixing release --rule water"]);
    // The next one is another, and nothing holds it.
    let told = world.explains("water", "p029", TOMORROW).await;
    assert_eq!(text(&told, "outcome"), "would_skip", "its consent is taken: {told:#}");
    assert!(!told["steps"].to_string().contains("held"), "{told:#}");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_pauses_by_itself_is_told_with_its_reason() {
    let said = "invalid ip 203.0.113.7, not in whitelist";
    for (api, code, outcome, word) in [
        (Api::Token, 40125, "reserved", "AppSecret"),
        (Api::Token, 40164, "reserved", "203.0.113.7"),
        (Api::Send, 48001, "waiting", "permission"),
        (Api::Send, 45009, "waiting", "quota of messages is used up"),
    ] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT]).await;
        world.faults(vec![answers(api, code, said)]);
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.at("08:00").await;
        world.until("a pause", |world| world.paused().is_some()).await;
        world.until(outcome, |world| world.story("water") == format!("open: 1 = 1 {outcome}")).await;
        let told = world.explains("water", "ann", DUE).await;
        let why = ["App `main` does not send: ", word, &format!("errcode {code}")];
        says(&told, outcome, &why, &["tixing resume --app main"]);
        let told = world.explains("water", "ann", TOMORROW).await;
        let why = ["would get it", "but as things are now nothing leaves", word];
        says(&told, "would_send", &why, &["tixing resume --app main"]);
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_pause_is_told_with_his_reason() {
    for (app, rule, cure) in [
        (None, None, "tixing resume."),
        (Some("main"), None, "tixing resume --app main"),
        (None, Some("water"), "tixing resume --rule water"),
    ] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 10m"]).await;
        world.rule("slow", &[EIGHT, "spread: 10m"]).await;
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.paused_by_an_operator(app, rule).await;
        let told = world.explains("water", "ann", DUE).await;
        says(&told, "would_send", &["would get it", "nothing leaves", "holidays"], &[cure]);
        world.at("08:00").await;
        world.until("the occurrence", |world| world.story("water").starts_with("open")).await;
        let told = world.explains("water", "ann", DUE).await;
        says(&told, "open", &["has not come to this person", "paused by an operator", "holidays"], &[cure]);
        // Afterwards nobody knows what it was.
        world.at("08:10:02").await;
        world.expect_within(10, "water", "done: 1 = 1 expired").await;
        let told = world.explains("water", "ann", DUE).await;
        says(
            &told,
            "expired",
            &["not sent before its deadline 2026-03-02 08:10", "was paused or held"],
            &["longer `grace`", "paused or held"],
        );
        world.stop_here().await;
    }
}

/// What has its consent, or waits for its turn, when the rule is paused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_turn_says_that_it_is_paused_too() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "spread: 10m"]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world.at("08:00").await;
    world.expect("water", "open: 1 = 1 held").await;
    let told = world.explains("water", "ann", DUE).await;
    assert!(text(&told, "why").contains("then it takes a consent and leaves"), "{told:#}");
    world.paused_by_an_operator(None, Some("water")).await;
    let told = world.explains("water", "ann", DUE).await;
    says(&told, "held", &["It is held until", "only if", "holidays"], &["tixing resume --rule water"]);
    world.at("08:10:01").await;
    let told = world.explains("water", "ann", DUE).await;
    says(&told, "held", &["takes no consent", "holidays"], &["tixing resume --rule water"]);
    world.at("08:41").await;
    world.expect_within(10, "water", "done: 1 = 1 expired").await;
    let told = world.explains("water", "ann", DUE).await;
    says(&told, "expired", &["not sent before its deadline", "no consent was taken"], &["paused or held"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_the_platform_refuses_is_told_with_the_code() {
    let mut world = World::with_limits("in_flight: 1").await;
    world.rule("water", &[EIGHT, "grace: 10m"]).await;
    world.start().await;
    world.crowd(3).await;
    world.faults(vec![answers(Api::Send, 40037, "invalid template_id")]);
    world.at("08:00").await;
    world.until("the hold", |world| !world.held().is_empty()).await;
    world.expect("water", "open: 3 = 2 reserved, 1 failed").await;
    let names = ["p000", "p001", "p002"];
    let reserved =
        |world: &World| names.into_iter().find(|name| world.balance(name, HABIT).ends_with("1 reserved"));
    let name = reserved(&world).unwrap();
    let told = world.explains("water", name, DUE).await;
    let release = ["tixing release --rule water"];
    says(&told, "reserved", &["Rule `water` does not send: held since", "errcode 40037"], &release);
    // What was opened before an edit is held as it was.
    world.rule("water", &[EIGHT, "grace: 10m", "data: { thing1: \"喝茶\" }"]).await;
    let told = world.explains("water", name, DUE).await;
    says(&told, "reserved", &["errcode 40037"], &["was edited since", release[0]]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_hold_what_came_due_and_what_waits_names_the_hold() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "grace: 10m"]).await;
    world.rule("later", &["when: { cron: \"0 9 * * *\" }"]).await;
    world.rule("slow", &[EIGHT, "spread: 10m"]).await;
    world.start().await;
    world.grant("ann", HABIT, 3).await;
    world.platform_gone().await;
    world.at("08:00").await;
    world.until("what is tried again", |world| world.story("water").contains("waiting")).await;
    let told = world.explains("water", "ann", DUE).await;
    assert_eq!(text(&told, "outcome"), "waiting");
    world.put_on_hold().await;
    world.platform_back().await;
    let hold = ["Everything is on hold: the store is an older copy of itself"];
    let cure = ["tixing release --lost-since TIME", "in doubt"];
    let told = world.explains("water", "ann", DUE).await;
    says(&told, "waiting", &hold, &cure);
    let told = world.explains("slow", "ann", DUE).await;
    says(&told, "held", &hold, &cure);
    world.at("09:30").await;
    let told = world.explains("later", "ann", "2026-03-02T09:00:00+08:00").await;
    says(&told, "not_opened", &hold, &cure);
    world.ends().await;
}

/// A burst that a pause cuts off: those who are left are told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_left_of_a_burst_is_told_of_the_pause() {
    let mut world = World::with_limits("in_flight: 1").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(4).await;
    world.faults(vec![Fault::new(Api::Send, What::Delay(Duration::from_secs(2))).after()]);
    world.at("08:00").await;
    world.until("a request", |world| world.platform.totals().begun > 0).await;
    world.paused_by_an_operator(Some("main"), None).await;
    let under_way = world.platform.totals().begun;
    world.pass(5).await;
    assert_eq!(world.platform.totals().begun, under_way);
    for name in ["p000", "p001", "p002", "p003"] {
        let told = world.explains("water", name, DUE).await;
        if text(&told, "outcome") != "sent" {
            says(&told, "reserved", &["holidays"], &["tixing resume --app main"]);
        }
    }
    world.asks(Request::Resume { app: Some("main".to_owned()), rule: None }).await;
    world.faults(Vec::new());
    world.expect_within(20, "water", "done: 4 = 4 sent").await;
    world.ends().await;
}

/// What was his went with him, and nobody says of it more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_who_was_erased_nothing_is_claimed() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    let who = openid("ann").as_str().to_owned();
    world.asks(Request::PeopleErase { app: None, who, all_apps: false, reveal: false }).await;
    let told = world.explains("water", "ann", DUE).await;
    says(&told, "erased", &["This person was erased at 2026-03-02T00:00:0"], &["begins anew"]);
    let told = world.explains("water", "ann", TOMORROW).await;
    says(&told, "would_skip", &["This person was erased at 2026-03-02T00:00:0"], &["begins anew"]);
    world.ends().await;
}
