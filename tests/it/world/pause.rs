//! An operator pauses and resumes: a rule, an app, everything; while much is under way, and over restarts.

use std::time::Duration;

use tixing::admin::control::{AppState, Control as _};
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World};

const ONCE: &str = "done: 1 = 1 sent";
const UNTOUCHED: &str = "2 granted = 2 available";

/// What is named on the command line.
#[derive(Clone, Copy, Debug)]
enum Named {
    Everything,
    App,
    Rule,
}

impl Named {
    fn of(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Everything => (None, None),
            Self::App => (Some("main".to_owned()), None),
            Self::Rule => (None, Some("water".to_owned())),
        }
    }
}

impl World {
    async fn pause(&self, named: Named) {
        let (app, rule) = named.of();
        self.asks(Request::Pause { app, rule, reason: Some("holidays".to_owned()) }).await;
    }

    async fn resume(&self, named: Named) {
        let (app, rule) = named.of();
        self.asks(Request::Resume { app, rule }).await;
    }

    /// What `status` says of hold, app and rule, and whether all is in order.
    fn said(&self) -> (Option<String>, AppState, Vec<String>, bool) {
        let status = self.running.as_ref().unwrap().shared.status();
        let held = status.held_rules.iter().map(|(rule, reason)| format!("{rule}: {reason}")).collect();
        let in_order = status.in_order();
        (status.hold, status.apps.into_values().next().unwrap(), held, in_order)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_takes_no_consent_and_goes_on_or_expires() {
    let told = "paused by an operator since 2026-03-01T23:00:00Z: holidays".to_owned();
    for named in [Named::Everything, Named::App, Named::Rule] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 10m"]).await;
        world.rule("tea", &[EIGHT, "grace: 10m", "template: bill"]).await;
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.pause(named).await;
        world.pause(named).await;
        let expected = match named {
            Named::Everything => (Some(told.clone()), AppState::Sending, vec![], false),
            Named::App => {
                let told = format!("{told}; `tixing resume --app main` ends it");
                (None, AppState::Paused(told), vec![], false)
            }
            Named::Rule => (None, AppState::Sending, vec![format!("water: {told}")], false),
        };
        assert_eq!(world.said(), expected);
        world.at("08:00").await;
        world.until("the occurrence", |world| world.story("water").starts_with("open")).await;
        world.pass(5).await;
        assert_eq!((world.platform.totals().begun, world.balance("ann", HABIT).as_str()), (0, UNTOUCHED));
        // It is the same after a restart.
        world.restart().await;
        assert_eq!(world.said(), expected);
        world.pass(5).await;
        assert_eq!(world.platform.totals().begun, 0);
        world.resume(named).await;
        assert!(world.said().3);
        world.expect_within(10, "water", ONCE).await;
        // And on the next day nobody resumes it in time.
        world.pause(named).await;
        world.at("03 08:00").await;
        world.until("the occurrence", |world| world.story("water").contains("open")).await;
        world.at("03 08:10:02").await;
        world.expect_within(10, "water", &format!("{ONCE}; done: 1 = 1 expired")).await;
        assert_eq!(world.balance("ann", HABIT), "2 granted = 1 available, 1 consumed");
        world.resume(named).await;
        world.pass(5).await;
        assert_eq!(world.platform.totals().accepted, 1, "{named:?}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_in_a_burst_is_in_force_before_the_next_request() {
    for named in [Named::Everything, Named::App, Named::Rule] {
        let mut world = World::with_limits("in_flight: 2").await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.crowd(20).await;
        world.faults(vec![Fault::new(Api::Send, What::Delay(Duration::from_secs(2))).after()]);
        world.at("08:00").await;
        world.until("some requests", |world| world.platform.totals().begun >= 2).await;
        world.pause(named).await;
        let begun = world.platform.totals().begun;
        world.pass(10).await;
        assert_eq!(world.platform.totals().begun, begun, "{named:?}: none after the pause was answered");
        world.kill().await;
        world.start().await;
        world.pass(5).await;
        assert_eq!(world.platform.totals().begun, begun, "{named:?}: nor after a crash");
        world.resume(named).await;
        world.faults(Vec::new());
        world.expect_within(20, "water", "done: 20 = 20 sent").await;
        world.ends().await;
    }
}

/// What is held for its turn takes no consent during a pause either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_turn_comes_during_a_pause_takes_no_consent() {
    for named in [Named::Everything, Named::App, Named::Rule] {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "spread: 10m"]).await;
        world.start().await;
        world.crowd(40).await;
        world.at("08:03").await;
        world
            .until("some to be sent and some held", |world| {
                let story = world.story("water");
                story.contains(" sent") && story.contains(" held") && !story.contains("reserved")
            })
            .await;
        world.pause(named).await;
        world.calm().await;
        let before = world.story("water");
        world.at("08:11").await;
        world.pass(5).await;
        assert_eq!(world.story("water"), before, "{named:?}");
        world.resume(named).await;
        world.expect_within(10, "water", "done: 40 = 40 sent").await;
        world.ends().await;
    }
}
