//! Rules that the platform refuses as they are written: held after one message, over restarts, until they are edited or
//! released; and messages that are refused for one person's sake, which hold nobody.

use tixing::admin::control::{Control as _, StatusParts};
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World, field};

const SAME_FOR_ALL: &str = "data: { thing1: \"喝水\" }";
const OF_EACH: &str = "data: { thing1: \"{{ fields.nick }}\" }";

fn answers(code: i32, msg: &str) -> Fault {
    Fault::new(Api::Send, What::Errcode { code, msg: msg.to_owned() })
}

impl World {
    pub(super) fn status(&self) -> StatusParts {
        self.running.as_ref().unwrap().shared.status()
    }

    /// Why rules are held, as `status` says it.
    pub(super) fn held(&self) -> Vec<String> {
        let held = self.status().held_rules;
        held.iter().map(|(rule, reason)| format!("{rule}: {reason}")).collect()
    }
}

/// `n` people with a consent each and a rule at eight whose text is `data`; one message at a time.
async fn world_of(n: usize, data: &str) -> World {
    let mut world = World::with_limits("in_flight: 1").await;
    world.rule("water", &[EIGHT, "grace: 10m", data]).await;
    world.start().await;
    for n in 0..n {
        let nick = format!("nick{n}");
        world.person(&format!("p{n:03}"), |profile| field(profile, "nick", &nick)).await;
    }
    world.crowd(n).await;
    world
}

fn cases() -> [(i32, &'static str, &'static str, &'static str); 8] {
    [
        (
            40037,
            SAME_FOR_ALL,
            "invalid template_id",
            "its template (errcode 40037: invalid template_id, rid ",
        ),
        (41030, OF_EACH, "invalid page", "its page (errcode 41030: invalid page, rid "),
        (43107, OF_EACH, "banned", "its template (errcode 43107: banned, rid "),
        (43116, OF_EACH, "banned", "its template (errcode 43116: banned, rid "),
        (43104, OF_EACH, "no", "its template (errcode 43104: no, rid "),
        (40036, OF_EACH, "long", "its template (errcode 40036: long, rid "),
        (
            47003,
            SAME_FOR_ALL,
            "argument invalid! data.thing1.value invalid",
            "`thing1`, which is the same for everybody (errcode 47003: argument invalid! data.thing1.value invalid, rid ",
        ),
        (
            45168,
            SAME_FOR_ALL,
            "keyword in blacklist data.thing1.value",
            "`thing1`, which is the same for everybody (errcode 45168: keyword in blacklist data.thing1.value, rid ",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_wrong_for_everybody_is_held_after_one_message() {
    for (code, data, msg, told) in cases() {
        let mut world = world_of(4, data).await;
        world.faults(vec![answers(code, msg)]);
        world.at("08:00").await;
        world.until("the hold", |world| !world.held().is_empty()).await;
        let held = world.held();
        let begins = format!("water: held since 2026-03-02T00:00:00Z: the platform refuses {told}");
        assert!(held[0].starts_with(&begins) && held.len() == 1, "{held:?} is not {begins}");
        world.expect("water", "open: 4 = 3 reserved, 1 failed").await;
        world.pass(5).await;
        // It is the same after a crash, and the others keep their consents.
        world.restart().await;
        assert_eq!(world.held(), held);
        let attention = world.status().needs_attention.join("; ");
        assert!(attention.contains("tixing release --rule water"), "{attention}");
        assert!(!world.status().in_order());
        world.pass(5).await;
        assert_eq!(
            (world.platform.totals().begun, world.story("water").as_str()),
            (1, "open: 4 = 3 reserved, 1 failed"),
            "{code}"
        );
        world.faults(Vec::new());
        world.at("08:10:02").await;
        world.expect_within(10, "water", "done: 4 = 1 failed, 3 expired").await;
        for n in 0..4 {
            assert_eq!(world.balance(&format!("p{n:03}"), HABIT), "1 granted = 1 available", "{code}");
        }
        // It is held on the next day too, and takes no consent.
        world.at("03 08:00").await;
        world.expect_within(5, "water", "done: 4 = 1 failed, 3 expired; open: 0").await;
        let released =
            world.asks(Request::Release { rule: Some("water".to_owned()), lost_since: None }).await;
        assert_eq!(
            (released[0]["rule"].as_str(), released[0]["state"].as_str()),
            (Some("water"), Some("open"))
        );
        assert!(world.status().in_order());
        world.expect_within(10, "water", "done: 4 = 1 failed, 3 expired; done: 4 = 4 sent").await;
        world.restart().await;
        assert_eq!(world.held(), [""; 0], "a release is kept too");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_ends_the_hold_for_what_is_opened_after_it() {
    let mut world = world_of(3, SAME_FOR_ALL).await;
    world.rule("tea", &["when: { cron: \"5 8 * * *\" }"]).await;
    world.faults(vec![answers(47003, "argument invalid! data.thing1.value invalid")]);
    world.at("08:00").await;
    world.until("the hold", |world| world.held().len() == 1).await;
    world.expect("water", "open: 3 = 2 reserved, 1 failed").await;
    // Another rule's edit changes nothing.
    world.rule("tea", &["when: { cron: \"5 9 * * *\" }"]).await;
    assert_eq!(world.held().len(), 1);
    world.faults(Vec::new());
    world.rule("water", &[EIGHT, "grace: 10m", "data: { thing1: \"喝茶\" }"]).await;
    assert_eq!(world.held(), [""; 0]);
    assert!(world.status().in_order());
    for _ in 0..2 {
        // What was opened before has the text that was refused.
        world.pass(5).await;
        assert_eq!(world.story("water"), "open: 3 = 2 reserved, 1 failed");
        world.restart().await;
    }
    world.at("08:10:02").await;
    world.expect_within(10, "water", "done: 3 = 1 failed, 2 expired").await;
    world.no_rule("tea").await;
    world.at("03 08:00").await;
    world.expect_within(10, "water", "done: 3 = 1 failed, 2 expired; done: 3 = 3 sent").await;
    // Written again as it was, it gets another try.
    world.rule("water", &[EIGHT, "grace: 10m", SAME_FOR_ALL]).await;
    assert_eq!(world.held(), [""; 0]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_for_one_person_holds_nobody() {
    let invalid = "argument invalid! data.thing1.value invalid";
    for (code, data, msg) in [
        (47003, OF_EACH, invalid),
        (45168, OF_EACH, "keyword in blacklist"),
        // No value is named.
        (45168, SAME_FOR_ALL, "keyword in blacklist"),
        (40097, SAME_FOR_ALL, "invalid args"),
        (40003, SAME_FOR_ALL, "invalid openid"),
        (50002, SAME_FOR_ALL, "user limited"),
        (85107, SAME_FOR_ALL, "what nobody knows"),
    ] {
        let world = world_of(9, data).await;
        world.faults(vec![answers(code, msg).at_most(4)]);
        world.at("08:00").await;
        world.expect_within(20, "water", "done: 9 = 5 sent, 4 failed").await;
        assert!(world.status().in_order(), "{code}");
        assert_eq!(world.balance("p000", HABIT), "1 granted = 1 available", "{code}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_people_in_a_row_who_are_refused_for_the_same_value_hold_the_rule() {
    let invalid = "argument invalid! data.thing1.value invalid";
    let world = world_of(9, OF_EACH).await;
    world.faults(vec![answers(47003, invalid)]);
    world.at("08:00").await;
    world.until("the hold", |world| !world.held().is_empty()).await;
    world.pass(3).await;
    assert_eq!(world.story("water"), "open: 9 = 4 reserved, 5 failed");
    assert!(
        world.held()[0].contains("refuses `thing1` of 5 people in a row (errcode 47003"),
        "{:?}",
        world.held()
    );
    world.faults(Vec::new());
    world.asks(Request::Release { rule: None, lost_since: None }).await;
    world.expect_within(20, "water", "done: 9 = 4 sent, 5 failed").await;
    world.ends().await;
}
