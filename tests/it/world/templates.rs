//! Templates that are changed on the platform under a running daemon: what does not fit any more is held before a message
//! of it is refused, over restarts, and goes on when it fits again, is edited, or an operator says so.

use std::time::Duration;

use tixing::admin::request::Request;
use tixing::domain::id::{AppName, TemplateId};
use tixing::sandbox::{self, Api, Fault, Field, What};

use super::{HABIT, World, openid};

const SEVEN_IN_THE_EVENING: &str = r#"when: { cron: "0 19 * * *" }"#;
const ROOMS: &str = "TPLrooms";

fn template(id: &str, kind: sandbox::TemplateKind, fields: &[(&str, &[&str])]) -> sandbox::Template {
    let field = |(key, values): &(&str, &[&str])| Field {
        enum_values: values.iter().map(ToString::to_string).collect(),
        ..Field::new(key, "what")
    };
    let fields = fields.iter().map(field).collect();
    sandbox::Template { id: id.to_owned(), title: id.to_owned(), kind, fields }
}

fn one_time(id: &str, fields: &[(&str, &[&str])]) -> sandbox::Template {
    template(id, sandbox::TemplateKind::OneTime, fields)
}

/// The templates as the world begins.
fn usual() -> Vec<sandbox::Template> {
    vec![
        one_time(HABIT, &[("thing1", &[])]),
        template(super::BILL, sandbox::TemplateKind::LongTerm, &[("thing1", &[])]),
        one_time(ROOMS, &[("enum_string1", &["客厅", "厨房"])]),
    ]
}

/// The same with `HABIT` like this, or gone.
fn with_habit(habit: Option<sandbox::Template>) -> Vec<sandbox::Template> {
    habit.into_iter().chain(usual().into_iter().skip(1)).collect()
}

impl World {
    /// The housekeeping looks at the templates, as it does each minute.
    async fn looks(&self) {
        let shared = &self.running.as_ref().unwrap().shared;
        shared.templates().look(&shared.current().get(), self.clock.now()).await.unwrap();
    }

    /// Lets the hours pass after which the housekeeping asks again, and the minute after which it believes that a template
    /// is gone.
    async fn asks_for_templates(&self) {
        self.clock.advance(Duration::from_hours(6));
        self.looks().await;
        self.clock.advance(Duration::from_mins(1));
        self.looks().await;
    }

    fn pulls(&self) -> impl Future<Output = Vec<serde_json::Value>> {
        self.asks(Request::Templates { app: None })
    }
}

/// A rule at seven in the evening of these lines, and `ann` with a consent; it is a bit past seven in the morning.
async fn world_of(lines: &[&str]) -> World {
    let mut world = World::new().await;
    let rooms = format!("habit: {{ id: {HABIT}, kind: one_time, fields: [thing1] }}\n      ");
    world.templates =
        Some(format!("{rooms}rooms: {{ id: {ROOMS}, kind: one_time, fields: [enum_string1] }}"));
    world.platform.set_templates(usual());
    world.rule("water", &[&[SEVEN_IN_THE_EVENING], lines].concat()).await;
    world.start().await;
    let id = if lines.iter().any(|line| line.contains("rooms")) { ROOMS } else { HABIT };
    world.grant("ann", id, 1).await;
    world.clock.advance(Duration::from_mins(2));
    world.looks().await;
    assert_eq!(world.held(), [""; 0], "as it is on the platform it fits");
    world
}

/// One id that does not exist would make the whole of `wx.requestSubscribeMessage` fail (20001).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_is_gone_is_not_asked_for() {
    let mut world = world_of(&[]).await;
    let lamps = ["template: rooms", "data: { enum_string1: 客厅 }", r#"when: { cron: "0 20 * * *" }"#];
    world.rule("lamps", &lamps).await;
    // Seven in the evening passes while the rule is held, and who is quick sends that one.
    world.grant("ann", HABIT, 4).await;
    let asks = async |world: &World| {
        let intake = &world.running.as_ref().unwrap().intake;
        intake.ask_for(&AppName::parse("main").unwrap(), &openid("ann")).await.unwrap()
    };
    let (habit, rooms) = (TemplateId::parse(HABIT).unwrap(), TemplateId::parse(ROOMS).unwrap());
    // The first is covered for days.
    assert_eq!(asks(&world).await, [rooms.clone(), habit.clone()]);
    world.platform.set_templates(with_habit(None));
    world.asks_for_templates().await;
    assert_eq!(world.held().len(), 1);
    assert_eq!(asks(&world).await, std::slice::from_ref(&rooms));
    world.restart().await;
    assert_eq!(asks(&world).await, std::slice::from_ref(&rooms), "also after a start");
    world.platform.set_templates(usual());
    world.asks_for_templates().await;
    assert_eq!(asks(&world).await, [rooms.clone(), habit.clone()]);
    world.platform.set_templates(with_habit(None));
    world.asks_for_templates().await;
    assert_eq!(asks(&world).await, std::slice::from_ref(&rooms));
    world.asks(Request::Release { rule: Some("water".to_owned()), lost_since: None }).await;
    assert_eq!(asks(&world).await, [rooms, habit], "an operator knows better");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_any_more_is_held_before_a_message_is_refused_and_goes_on_when_it_fits() {
    let rooms = ["template: rooms", "data: { enum_string1: 客厅 }"];
    let with_rooms = |values: &[&str]| {
        let mut all = usual();
        all[2] = one_time(ROOMS, &[("enum_string1", values)]);
        all
    };
    let table: [(&[&str], Vec<sandbox::Template>, &str); 6] = [
        (
            &[],
            with_habit(None),
            "the platform has its template no more, as far as the account lists them: it was deleted or banned",
        ),
        (
            &[],
            with_habit(Some(one_time(HABIT, &[("thing1", &[]), ("time2", &[])]))),
            "its template has other fields on the platform: time2 is needed",
        ),
        (
            &[],
            with_habit(Some(one_time(HABIT, &[("thing2", &[])]))),
            "its template has other fields on the platform: thing2 is needed; thing1 is unknown there",
        ),
        (
            &[],
            with_habit(Some(one_time(HABIT, &[]))),
            "its template is of the newer kind (新版一次性订阅, a service card), which cannot be sent by this call",
        ),
        (
            &rooms,
            with_rooms(&["卧室", "厨房"]),
            "`enum_string1` takes certain values alone, and `客厅` is none of them: 卧室, 厨房",
        ),
        (&rooms, with_rooms(&["卧室", "客厅"]), ""),
    ];
    for (lines, changed, told) in table {
        let world = &mut world_of(&[lines, &["grace: 3h"]].concat()).await;
        world.platform.set_templates(changed);
        world.asks_for_templates().await;
        let held = world.held();
        if told.is_empty() {
            assert_eq!(held, [""; 0]);
        } else {
            let [held] = <[String; 1]>::try_from(held).unwrap();
            let (_since, why) = held.split_once("Z: ").unwrap();
            assert!(held.starts_with("water: held since 2026-03-0") && why == told, "{held}");
            let attention = world.status().needs_attention.join("; ");
            assert!(
                attention.contains(told) && attention.contains("`tixing release --rule water`"),
                "{attention}"
            );
        }
        // The platform is away: what is held stays so on what is kept.
        world.faults(vec![Fault::new(Api::Templates, What::DestroyBefore)]);
        world.restart().await;
        world.at("19:00").await;
        if told.is_empty() {
            world.expect("water", "done: 1 = 1 sent").await;
            continue;
        }
        assert_eq!(world.held().len(), 1, "{told}");
        world.expect("water", "open: 0").await;
        world.faults(Vec::new());
        world.platform.set_templates(usual());
        world.clock.advance(Duration::from_mins(61));
        world.looks().await;
        assert_eq!(world.held(), [""; 0], "{told}");
        world.expect_within(90, "water", "done: 1 = 1 sent").await;
        assert_eq!(world.sends_to("ann").len(), 1, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_question_without_an_answer_nor_one_list_that_lacks_it_holds_anything() {
    let code = |code| What::Errcode { code, msg: "as ordered".to_owned() };
    let says = |body: &str| What::Status { code: 200, body: body.to_owned() };
    for what in [
        code(45009),
        code(40001),
        What::DestroyBefore,
        What::Garbage,
        What::Truncate,
        says("{}"),
        says(r#"{"errcode":0,"errmsg":"ok"}"#),
        says(r#"{"errcode":0,"data":[{"priTmplId":"TPLhabit","type":9}]}"#),
    ] {
        let world = world_of(&[]).await;
        world.faults(vec![Fault::new(Api::Templates, what.clone())]);
        world.asks_for_templates().await;
        assert!(!world.platform.struck().is_empty(), "{what:?} was asked for");
        assert_eq!(world.held(), [""; 0], "{what:?}");
        world.at("19:00").await;
        world.expect("water", "done: 1 = 1 sent").await;
        world.stop_here().await;
    }
    let world = world_of(&[]).await;
    world.platform.set_templates(with_habit(None));
    world.clock.advance(Duration::from_hours(6));
    world.looks().await;
    assert_eq!(world.held(), [""; 0], "it was not there once");
    world.platform.set_templates(usual());
    world.clock.advance(Duration::from_mins(1));
    world.looks().await;
    world.at("19:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_are_short_for_minutes_hold_for_minutes() {
    let world = world_of(&[]).await;
    world.platform.set_templates(with_habit(None));
    world.asks_for_templates().await;
    assert_eq!(world.held().len(), 1, "two lists in a row lack it");
    for (minutes, is_back) in [(1, false), (1, false), (1, true), (1, true)] {
        if is_back {
            world.platform.set_templates(usual());
        }
        world.clock.advance(Duration::from_mins(minutes));
        world.looks().await;
    }
    assert_eq!(world.held(), [""; 0], "two minutes after the last short one it is there");
    world.at("19:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_held_against_what_was_heard_and_asks_nobody() {
    let mut world = world_of(&[]).await;
    let two = one_time(HABIT, &[("thing1", &[]), ("time2", &[])]);
    world.platform.set_templates(with_habit(Some(two)));
    world.asks_for_templates().await;
    assert_eq!(world.held().len(), 1);
    world.faults(vec![Fault::new(Api::Templates, What::DestroyBefore)]);
    world.templates = Some(format!("habit: {{ id: {HABIT}, kind: one_time, fields: [thing1, time2] }}"));
    let right = [SEVEN_IN_THE_EVENING, "data: { thing1: x, time2: \"08:00\" }"];
    world.rule("water", &right).await;
    assert_eq!(world.held(), [""; 0], "it fits now");
    world.templates = Some(format!("habit: {{ id: {HABIT}, kind: one_time, fields: [thing1, time3] }}"));
    world.rule("water", &[SEVEN_IN_THE_EVENING, "data: { thing1: x, time3: \"08:00\" }"]).await;
    let held = world.held();
    assert!(held.len() == 1 && held[0].ends_with("time2 is needed; time3 is unknown there"), "{held:?}");
    world.templates = Some(format!("habit: {{ id: {HABIT}, kind: one_time, fields: [thing1, time2] }}"));
    world.rule("water", &right).await;
    assert_eq!(world.platform.struck().len(), 0, "nobody was asked");
    world.at("19:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_releases_is_sent_until_something_else_does_not_fit() {
    let mut world = world_of(&[]).await;
    world.grant("ann", HABIT, 2).await;
    // The platform takes the messages all the same.
    let hears = |world: &World, fields: &[(&str, &[&str])]| {
        world.platform.set_templates(with_habit(Some(one_time(HABIT, fields))));
    };
    hears(&world, &[("thing1", &[]), ("time2", &[])]);
    assert_eq!(world.pulls().await.len(), 3);
    assert_eq!(world.held().len(), 1, "who pulls them makes the daemon look");
    world.asks(Request::Release { rule: Some("water".to_owned()), lost_since: None }).await;
    assert_eq!(world.held(), [""; 0]);
    world.restart().await;
    world.asks_for_templates().await;
    assert_eq!(world.held(), [""; 0], "an operator knows, over a restart too");
    world.platform.set_templates(usual());
    world.at("19:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    hears(&world, &[("thing1", &[]), ("date3", &[])]);
    world.pulls().await;
    assert_eq!(world.held().len(), 1, "of this he knows nothing");
    world.asks(Request::Release { rule: None, lost_since: None }).await;
    world.at("03 19:00").await;
    world.expect("water", "done: 1 = 1 sent; done: 1 = 1 failed").await;
    // It is as he said, sent all the same; and then the platform itself says what is wrong for everybody.
    let held = world.held();
    assert!(held.len() == 1 && held[0].contains("the platform refuses `date3`"), "{held:?}");
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_opened_before_an_edit_is_held_too_where_it_does_not_fit() {
    let mut world = world_of(&["grace: 12h"]).await;
    world.asks(Request::Pause { app: None, rule: Some("water".to_owned()), reason: None }).await;
    world.at("19:00").await;
    world.rule("water", &[SEVEN_IN_THE_EVENING, "grace: 12h", "data: { thing1: another }"]).await;
    let two = one_time(HABIT, &[("thing1", &[]), ("time2", &[])]);
    world.platform.set_templates(with_habit(Some(two)));
    world.pulls().await;
    world.asks(Request::Resume { app: None, rule: Some("water".to_owned()) }).await;
    world.calm().await;
    assert_eq!((world.held().len(), world.sends_to("ann").len()), (1, 0), "{:?}", world.held());
    world.restart().await;
    world.pass(70).await;
    assert_eq!(world.sends_to("ann").len(), 0);
    world.platform.set_templates(usual());
    world.pulls().await;
    world.expect_within(90, "water", "done: 1 = 1 sent").await;
    assert_eq!(world.held(), [""; 0]);
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_never_had_anything_holds_nothing() {
    let mut world = World::new().await;
    world.platform.set_templates(Vec::new());
    world.rule("water", &[SEVEN_IN_THE_EVENING]).await;
    world.start().await;
    for _ in 0..3 {
        world.looks().await;
        world.clock.advance(Duration::from_hours(6));
    }
    assert_eq!(world.held(), [""; 0]);
    world.stop_here().await;
}
