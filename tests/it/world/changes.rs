//! Changes of appointments at every step of the look at them, and in every state of a delivery.

use std::collections::BTreeSet;
use std::time::Duration;

use tixing::domain::id::{AppointmentId, Kind, RuleId};
use tixing::sandbox::{Api, Fault, What};
use tixing::store::{AppointmentChange, AppointmentKey, Store as _};

use super::appointments::{HOUR, SHOWN, a_visit};
use super::{HABIT, World, appid, instant};

/// How much time passes between two looks: the longest `spread` here is 60 of them.
const STEP: Duration = Duration::from_secs(10);
/// Whose visit at 09:00 becomes what, change by change: a time, or nothing. `new` has none before; with `eve` comes `fay`.
const CHANGES: [(&str, &[Option<&str>]); 8] = [
    ("moved", &[Some("11:00")]),
    ("gone", &[None]),
    ("back", &[Some("12:00"), Some("09:00")]),
    ("again", &[None, Some("09:00")]),
    ("same", &[Some("09:00")]),
    ("eve", &[Some("09:00")]),
    ("new", &[Some("09:00")]),
    ("left", &[]),
];

/// The changes of one visit, as of now.
fn changes(world: &World, (name, to): (&str, &[Option<&str>])) -> Vec<AppointmentChange> {
    let (kind, id) = (Kind::parse("visit").unwrap(), AppointmentId::parse(name).unwrap());
    let key = AppointmentKey { app: appid(), kind, id };
    let who = if name == "eve" { &["eve", "fay"][..] } else { &[name] };
    let change = |time: Option<&str>| AppointmentChange {
        key: key.clone(),
        to: time.map(|time| a_visit(who, instant(time))),
        request: None,
        now: world.clock.now(),
    };
    to.iter().copied().map(change).collect()
}

/// A world with the visits as they are before the changes, a minute before their reminders are due.
async fn before(lines: &[&str], faults: Vec<Fault>) -> World {
    let mut world = World::new().await;
    world.faults(faults);
    world.rule("visit", lines).await;
    world.start().await;
    for (name, _) in CHANGES.into_iter().chain([("fay", &[][..])]) {
        world.grant(name, HABIT, 2).await;
    }
    for (name, _) in CHANGES.into_iter().filter(|(name, _)| *name != "new") {
        world.visit(name, &[name], "09:00").await;
    }
    world.at("07:59").await;
    world
}

/// What everybody has got: for which times, in the order of [`CHANGES`] and `fay`.
fn got(world: &World) -> Vec<String> {
    let all = CHANGES.into_iter().map(|(name, _)| name).chain(["fay"]);
    let times = |name: &str| world.texts(name).concat().replace(" Li", "").replace("02 ", " ");
    all.map(|name| format!("{name}{}", times(name))).collect()
}

/// Expects this of the reminders for 09:00, and then of the whole day, that the moved one comes
/// for its new time and nobody gets anything else.
async fn ends_with(world: World, expected: [&str; 9], told: &str) {
    for _ in 0..70 {
        if got(&world) == expected {
            break;
        }
        world.clock.advance(STEP);
        world.calm().await;
    }
    world
        .until(&format!("{expected:?}, {told}, not {:?}", got(&world)), |world| got(world) == expected)
        .await;
    for time in ["08:58", "09:00"] {
        world.at(time).await;
    }
    let mut expected = expected.map(str::to_owned);
    expected[0] += " 11:00";
    world.at("10:00").await;
    for _ in 0..70 {
        if got(&world) == expected {
            break;
        }
        world.clock.advance(STEP);
        world.calm().await;
    }
    world
        .until(&format!("{expected:?}, {told}, not {:?}", got(&world)), |world| got(world) == expected)
        .await;
    world.at("11:30").await;
    world.at("12:30").await;
    assert_eq!(got(&world), expected, "{told}: {}", world.told());
    world.ends().await;
}

/// No token, so nothing is sent: whatever was opened is at most reserved.
fn no_token() -> Vec<Fault> {
    vec![Fault::new(Api::Token, What::Errcode { code: -1, msg: "busy".to_owned() })]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_between_any_two_steps_of_a_look_is_never_lost() {
    let expected = [
        "moved",
        "gone",
        "back 09:00",
        "again 09:00",
        "same 09:00",
        "eve 09:00",
        "new 09:00",
        "left 09:00",
        "fay 09:00",
    ];
    let mut met = BTreeSet::new();
    for n in 0.. {
        let world = before(&[HOUR, SHOWN, "if_late: send", "grace: 20m"], no_token()).await;
        world.clock.advance(Duration::from_secs(59));
        world.calm().await;
        world.clock.advance(Duration::from_millis(999));
        world.calm().await;
        let all = CHANGES.iter().flat_map(|change| {
            // As of the due time itself.
            changes(&world, *change)
                .into_iter()
                .map(|change| AppointmentChange { now: instant("08:00"), ..change })
        });
        world.power().before_call(n, all.collect());
        world.at("08:00").await;
        let visit = RuleId::parse("visit").unwrap();
        let has_looked = |world: &World| {
            let cursor = world.power().reminder_cursor(&appid(), &visit).unwrap();
            cursor.is_some_and(|cursor| cursor.at >= instant("08:00"))
        };
        world.until("a look", |world| world.power().made_before().is_some() || has_looked(world)).await;
        world.calm().await;
        // When there is no such call any more, each has had its turn.
        let Some(steps) = world.power().made_before() else { break };
        met.insert(*steps.last().unwrap());
        world.pass(2).await;
        assert_eq!(world.platform.sends().len(), 0, "before the platform can be reached");
        world.faults(Vec::new());
        let told = format!("changed before the last of {steps:?}");
        ends_with(world, expected, &told).await;
    }
    assert_eq!(met, ["by change", "by time", "cursor", "newest", "one", "remind"].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_meets_each_state_of_a_delivery() {
    let untried = [
        "moved",
        "gone",
        "back 09:00",
        "again 09:00",
        "same 09:00",
        "eve 09:00",
        "new 09:00",
        "left 09:00",
        "fay 09:00",
    ];
    // Tried once, there is no other one under the same name, for ever.
    let tried =
        ["moved", "gone", "back", "again", "same 09:00", "eve 09:00", "new 09:00", "left 09:00", "fay 09:00"];
    // What is on its way cannot be called back.
    let on_its_way = [
        "moved 09:00",
        "gone 09:00",
        "back 09:00",
        "again 09:00",
        "same 09:00",
        "eve 09:00",
        "new 09:00",
        "left 09:00",
        "fay 09:00",
    ];
    let busy = Fault::new(Api::Send, What::Errcode { code: -1, msg: "busy".to_owned() }).at_most(7);
    let slow = Fault::new(Api::Send, What::Delay(Duration::from_secs(5))).after().at_most(7);
    for (state, spread, faults, expected) in [
        ("held", "spread: 10m", vec![], untried),
        ("reserved", "missed: latest", no_token(), untried),
        ("waiting", "missed: latest", vec![busy], tried),
        ("attempting", "missed: latest", vec![slow], on_its_way),
    ] {
        let world = before(&[HOUR, SHOWN, "if_late: send", "grace: 20m", spread], faults).await;
        world.at("08:00").await;
        world
            .until(state, |world| {
                let deliveries = world.deliveries();
                deliveries.len() == 7
                    && deliveries.iter().all(|(_, delivery)| delivery.state.as_str() == state)
            })
            .await;
        if state == "attempting" {
            // A mark alone can be called back.
            world.until("all requests", |world| world.platform.totals().begun == 7).await;
        }
        for change in CHANGES {
            for change in changes(&world, change) {
                world.power().change_appointment(change).await.unwrap();
            }
        }
        world.pass(2).await;
        world.faults(Vec::new());
        ends_with(world, expected, state).await;
    }
}
