//! Every code of the platform's table, one row each: what becomes of the message, its consent, its recipient, the rule and the
//! app.
//!
//! The codes are those of the official pages and of what developers report, read on 2026-11-22. What they are classed as is
//! said in `wechat::errcode`; here stands what follows, seen from outside.

use tixing::admin::control::Control as _;
use tixing::admin::request::{Lang, Request};
use tixing::domain::id::AppName;
use tixing::sandbox::{Api, Fault, What};

use tixing::store::Store as _;

use super::{APPID, EIGHT, HABIT, World, appid, openid};

/// What follows for the message and its consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Sent,
    /// Refused by the person; the consent is void.
    Refused,
    /// It fails and gives its consent back.
    Fails,
    /// It is tried again and keeps its consent.
    Waits,
}

/// What follows for its rule and its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Nothing,
    /// The rule is held.
    RuleHeld,
    /// The app pauses, with this word in its reason.
    AppPaused(&'static str),
}

use Message::{Fails, Refused, Sent, Waits};
use Others::{AppPaused, Nothing, RuleHeld};

const TOKEN: Others = AppPaused("another program");
const SLOW: Others = AppPaused("asks to slow down");
const ACCOUNT: Others = AppPaused("the account is restricted");
const MISTAKE: Others = AppPaused("a mistake of tixing");
const ADMIN: Others = AppPaused("administrator");

/// Code, what follows, and how many requests that took at once.
const CODES: [(i32, Message, Others, usize); 58] = [
    (0, Sent, Nothing, 1),
    (-1, Waits, Nothing, 1),
    // Once more under a new access token.
    (40001, Waits, TOKEN, 2),
    (40014, Waits, TOKEN, 2),
    (42001, Waits, TOKEN, 2),
    (43101, Refused, Nothing, 1),
    (43108, Waits, Nothing, 1),
    (43117, Waits, Nothing, 1),
    (44990, Waits, SLOW, 1),
    (45011, Waits, SLOW, 1),
    (45009, Waits, AppPaused("quota of messages is used up: nothing is sent until 2026-03-02T16:0"), 1),
    // The person.
    (40003, Fails, Nothing, 1),
    (50002, Fails, Nothing, 1),
    // The message; which value, `of_each` and `constant` below say.
    (40033, Fails, Nothing, 1),
    (40035, Fails, Nothing, 1),
    (40097, Fails, Nothing, 1),
    (44002, Fails, Nothing, 1),
    (45168, Fails, Nothing, 1),
    (47001, Fails, Nothing, 1),
    (47002, Fails, Nothing, 1),
    (47003, Fails, Nothing, 1),
    // The rule: its template and its page.
    (40036, Fails, RuleHeld, 1),
    (40037, Fails, RuleHeld, 1),
    (41030, Fails, RuleHeld, 1),
    (43104, Fails, RuleHeld, 1),
    (43106, Fails, RuleHeld, 1),
    (43107, Fails, RuleHeld, 1),
    (43116, Fails, RuleHeld, 1),
    (48011, Fails, RuleHeld, 1),
    // The app.
    (40002, Waits, MISTAKE, 1),
    (40013, Waits, AppPaused("correct `appid`"), 1),
    (40125, Waits, AppPaused("AppSecret"), 1),
    (40164, Waits, AppPaused("add 203.0.113.7 to"), 1),
    (40243, Waits, AppPaused("frozen"), 1),
    (41001, Waits, MISTAKE, 1),
    (41002, Waits, AppPaused("correct `appid`"), 1),
    (41004, Waits, AppPaused("AppSecret"), 1),
    (43002, Waits, MISTAKE, 1),
    (43003, Waits, MISTAKE, 1),
    (48001, Waits, AppPaused("permission"), 1),
    (48004, Waits, ACCOUNT, 1),
    (50004, Waits, ACCOUNT, 1),
    (50007, Waits, ACCOUNT, 1),
    (61004, Waits, AppPaused("add 203.0.113.7 to"), 1),
    (61007, Waits, AppPaused("permission"), 1),
    (89501, Waits, ADMIN, 1),
    (89502, Waits, ADMIN, 1),
    (89503, Waits, ADMIN, 1),
    (89504, Waits, ADMIN, 1),
    (89505, Waits, ADMIN, 1),
    (89506, Waits, ADMIN, 1),
    (89507, Waits, ADMIN, 1),
    // What nobody knows.
    (85107, Fails, Nothing, 1),
    (40249, Fails, Nothing, 1),
    (40252, Fails, Nothing, 1),
    (200_011, Fails, Nothing, 1),
    (404, Fails, Nothing, 1),
    (-2, Fails, Nothing, 1),
];

const SAID: &str = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist";

fn answers(api: Api, code: i32) -> Fault {
    Fault::new(api, What::Errcode { code, msg: SAID.to_owned() })
}

async fn world_of_ann() -> World {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "grace: 5m"]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_has_its_end_in_the_books() {
    for (code, message, others, n) in CODES {
        let world = world_of_ann().await;
        if code != 0 {
            world.faults(vec![answers(Api::Send, code)]);
        }
        world.at("08:00").await;
        let (story, balance) = match message {
            Sent => ("done: 1 = 1 sent", "1 granted = 1 consumed"),
            Refused => ("done: 1 = 1 refused", "1 granted = 1 voided, suspect"),
            Fails => ("done: 1 = 1 failed", "1 granted = 1 available"),
            Waits => ("open: 1 = 1 waiting", "1 granted = 1 reserved"),
        };
        world.until(&format!("{code}: {story}"), |world| world.story("water") == story).await;
        assert_eq!(world.balance("ann", HABIT), balance, "{code}");
        assert_eq!(world.platform.sends().len(), n, "{code}");
        let ann = world.power().recipient(&appid(), &openid("ann")).unwrap().unwrap();
        assert_eq!(ann.bad_since.is_some(), matches!(code, 40003 | 50002), "{code}: the recipient");
        let status = world.running.as_ref().unwrap().shared.status();
        let (held, paused) = (status.held_rules.clone(), world.paused());
        match others {
            Nothing => assert!(status.in_order(), "{code}: {:?}", status.needs_attention),
            RuleHeld => {
                assert_eq!((held.len(), paused), (1, None), "{code}");
                assert!(held[0].1.contains(&format!("errcode {code}: {SAID}, rid ")), "{code}: {held:?}");
            }
            AppPaused(word) => {
                let paused = paused.unwrap_or_else(|| panic!("{code}: the app sends"));
                assert!(paused.contains(word) && held.is_empty(), "{code}: {paused}");
                assert!(paused.contains(&format!("errcode {code}")), "{code}: {paused}");
                let told = format!("app main does not send: {paused}");
                assert!(status.needs_attention.contains(&told), "{code}: {:?}", status.needs_attention);
            }
        }
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_in_place_of_an_access_token_pauses_the_app_and_nothing_is_sent() {
    let table = [
        (40013, "correct `appid`"),
        (40125, "AppSecret"),
        (40164, "add 203.0.113.7 to"),
        (40243, "frozen"),
        (50004, "restricted"),
        (50007, "restricted"),
        (89503, "administrator"),
        (89507, "administrator"),
    ];
    for (code, word) in table {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 5m"]).await;
        // Before the first access token is fetched.
        world.faults(vec![answers(Api::Token, code)]);
        world.start().await;
        world.grant("ann", HABIT, 1).await;
        world.at("08:00").await;
        world.until("a pause", |world| world.paused().is_some()).await;
        let paused = world.paused().unwrap();
        assert!(paused.contains(word) && paused.contains(&format!("errcode {code}: {SAID}")), "{paused}");
        assert!(paused.contains("tixing resume --app main"), "{paused}");
        world.expect("water", "open: 1 = 1 reserved").await;
        assert_eq!(world.platform.totals().begun, 0);
        world.at("08:05:02").await;
        world.expect_within(5, "water", "done: 1 = 1 expired").await;
        assert_eq!(world.balance("ann", HABIT), "1 granted = 1 available", "{code}");
        // Where the cause has passed, it shows although there is nothing to send. Of an administrator's word the platform
        // wants to be asked in minutes, or an hour.
        world.faults(Vec::new());
        if word == "administrator" {
            assert!(paused.contains(" minutes, and at once by"), "{paused}");
            world.pass(70).await;
            assert!(world.paused().is_some(), "{code}");
            world.asks(Request::Resume { app: Some("main".to_owned()), rule: None }).await;
        }
        for _ in 0..70 {
            world.pass(1).await;
            if world.paused().is_none() {
                break;
            }
        }
        assert_eq!(world.paused(), None, "{code}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_pauses_tries_at_once_when_it_is_told_to() {
    for (code, app) in [(48001, Some("main")), (40164, None), (45009, Some("main"))] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 20m"]).await;
        world.start().await;
        world.crowd(12).await;
        world.faults(vec![answers(Api::Send, code)]);
        world.at("08:00").await;
        world.until("a pause", |world| world.paused().is_some()).await;
        world.pass(200).await;
        let before = world.platform.totals().begun;
        world.faults(Vec::new());
        world.asks(Request::Resume { app: app.map(str::to_owned), rule: None }).await;
        world.expect_within(4, "water", "done: 12 = 12 sent").await;
        assert_eq!(world.platform.totals().begun, before + 12, "{code}");
        assert!(world.paused().is_none(), "{code}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_the_platform_refuses_is_tried_each_minute_by_one_message() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(12).await;
    world.faults(vec![answers(Api::Send, 48004)]);
    world.at("08:00").await;
    world.until("a pause", |world| world.paused().is_some()).await;
    world.pass(120).await;
    let begun = world.platform.totals().begun;
    world.pass(300).await;
    let tried = world.platform.totals().begun - begun;
    assert!((5..=7).contains(&tried), "{tried} in five minutes");
    world.faults(Vec::new());
    world.expect_within(140, "water", "done: 12 = 12 sent").await;
    assert!(world.paused().is_none());
    world.ends().await;
}

/// What is heard of somebody.
#[derive(Clone, Copy, Debug)]
enum Heard {
    Login,
    Report,
    Put,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_platform_does_not_know_is_passed_over_until_something_new_is_heard_of_him() {
    for heard in [Heard::Login, Heard::Report, Heard::Put] {
        for lines in [&[EIGHT][..], &[EIGHT, "spread: 1m"]] {
            let mut world = World::new().await;
            world.rule("water", lines).await;
            world.start().await;
            world.grant("ann", HABIT, 3).await;
            world.grant("bob", HABIT, 3).await;
            world.faults(vec![answers(Api::Send, 40003).openid(openid("ann").as_str())]);
            world.at("08:00").await;
            world.expect_within(70, "water", "done: 2 = 1 sent, 1 failed").await;
            world.faults(Vec::new());
            world.restart().await;
            let explain = Request::Explain {
                rule: "water".to_owned(),
                who: openid("ann").as_str().to_owned(),
                at: None,
                reveal: false,
                lang: Lang::En,
            };
            let told = &world.asks(explain).await[0];
            assert_eq!(told["reason"], "bad_recipient", "{told}");
            let next = Request::Next { rule: None, span_s: 86_400, at: None };
            assert_eq!(world.asks(next).await[0]["would_skip"]["bad_recipient"], 1);
            world.at("03 08:00").await;
            let passed = "done: 2 = 1 sent, 1 failed; done: 2 = 1 sent, 1 bad_recipient";
            world.expect_within(70, "water", passed).await;
            assert_eq!(world.balance("ann", HABIT), "3 granted = 3 available");
            match heard {
                Heard::Login => {
                    let code = world.platform.login_code(APPID, openid("ann").as_str());
                    let intake = &world.running.as_ref().unwrap().intake;
                    intake.login(&AppName::parse("main").unwrap(), &code).await.unwrap();
                }
                Heard::Report => drop(world.report("ann", HABIT, "reject").await.unwrap()),
                Heard::Put => world.person("ann", |_| {}).await,
            }
            world.at("04 08:00").await;
            world.expect_within(70, "water", &format!("{passed}; done: 2 = 2 sent")).await;
            world.ends().await;
        }
    }
}
