//! An app that pauses by itself, and the one message that tries whether its cause has passed: there may be none that waits, one
//! alone, or many.

use std::time::Duration;

use tixing::admin::answer::Exit;
use tixing::admin::control::Control as _;
use tixing::admin::request::Request;
use tixing::sandbox::{Acceptance, Api, Fault, What};

use super::{APPID, EIGHT, HABIT, LOOK, PATIENCE, World, openid};

/// Why an app pauses by itself.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// The platform answers with this code.
    Code(i32),
    /// It refuses every access token.
    Tokens,
    /// Nobody listens there.
    Away,
    /// It answers nothing.
    Silent,
}

const CAUSES: [Cause; 4] = [Cause::Code(48001), Cause::Tokens, Cause::Away, Cause::Silent];

impl World {
    async fn breaks(&mut self, cause: Cause) {
        match cause {
            Cause::Code(code) => self.faults(vec![code_for(code)]),
            Cause::Tokens => self.platform.refuse_tokens(APPID, Acceptance::Refused),
            Cause::Away => {
                self.calm().await;
                self.platform_gone().await;
            }
            Cause::Silent => self.faults(vec![Fault::new(Api::Send, What::DestroyBefore)]),
        }
    }

    async fn is_mended(&mut self, cause: Cause) {
        match cause {
            Cause::Code(_) | Cause::Silent => self.faults(Vec::new()),
            Cause::Tokens => self.platform.refuse_tokens(APPID, Acceptance::Ruled),
            Cause::Away => self.platform_back().await,
        }
    }

    async fn resumes(&self) {
        self.asks(Request::Resume { app: Some("main".to_owned()), rule: None }).await;
    }

    /// Waits until `seen` while the clock stands still.
    async fn without_time(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        let mut changes = self.platform.changes();
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if seen(self) {
                return;
            }
            let _change = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        panic!("waited in vain for {what}\n{}", self.told());
    }

    /// Lets time pass by small steps until `seen`; answers whether it was within so many milliseconds.
    async fn soon(&self, milliseconds: u32, seen: impl Fn(&Self) -> bool) -> bool {
        let mut changes = self.platform.changes();
        for _ in 0..milliseconds / 20 {
            for _ in 0..50 {
                if seen(self) {
                    return true;
                }
                let _change = tokio::time::timeout(LOOK, changes.changed()).await;
            }
            self.clock.advance(Duration::from_millis(20));
        }
        seen(self)
    }
}

fn code_for(code: i32) -> Fault {
    Fault::new(Api::Send, What::Errcode { code, msg: "as ordered".to_owned() })
}

/// A world that has paused at eight with `n` people, each of whom has a second consent.
async fn paused_by(cause: Cause, n: usize, lines: &[&str]) -> World {
    let mut world = World::new().await;
    world.rule("water", &[&[EIGHT][..], lines].concat()).await;
    world.start().await;
    world.grant("ann", HABIT, 4).await;
    world.crowd(n.saturating_sub(1)).await;
    world.breaks(cause).await;
    world.at("08:00").await;
    world.until(&format!("a pause by {cause:?}"), |world| world.paused().is_some()).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nothing_waits_the_end_of_the_wait_ends_what_is_told_and_the_next_message_tries() {
    for cause in CAUSES {
        let mut world = paused_by(cause, 8, &["grace: 60s"]).await;
        world.pass(62).await;
        world.until("the end", |world| world.story("water").starts_with("done")).await;
        world.pass(62).await;
        assert_eq!(world.paused(), None, "{cause:?}: nothing waits");
        assert!(world.running.as_ref().unwrap().shared.status().in_order(), "{cause:?}");
        let before = world.begun();
        // One alone tries, and the pause is back with its answer.
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!(exit, Exit::NotInOrder, "{cause:?}: {row}");
        assert_ne!(row["reason"], "app_paused", "{cause:?}: {row}");
        let tried = world.begun() - before;
        // A refused access token is tried once more under the next one.
        assert!(tried <= 4, "{cause:?}: {tried} requests");
        world.pass(62).await;
        world.is_mended(cause).await;
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!((exit, row["state"].as_str()), (Exit::Done, Some("sent")), "{cause:?}: {row}");
        assert_eq!(world.paused(), None, "{cause:?}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resume_ends_what_is_told_at_once_and_the_next_message_tries() {
    for cause in CAUSES {
        let mut world = paused_by(cause, 8, &["grace: 60s"]).await;
        if !matches!(cause, Cause::Silent) {
            world.pass(61).await;
        }
        world.until("the end", |world| world.story("water").starts_with("done")).await;
        assert!(world.paused().is_some(), "{cause:?}");
        world.resumes().await;
        assert_eq!(world.paused(), None, "{cause:?}");
        world.pass(1).await;
        // It is as broken as before: one message shows it.
        let (row, _) = world.by_hand("ann", true).await;
        assert_eq!(row["state"], "would_send", "{cause:?}: {row}");
        let before = world.begun();
        world.by_hand("ann", false).await;
        let tried = world.begun() - before;
        assert!(tried <= 9, "{cause:?}: {tried} requests of one message in a minute");
        world.is_mended(cause).await;
        world.resumes().await;
        let (row, exit) = world.by_hand("ann", false).await;
        assert_eq!((exit, row["state"].as_str()), (Exit::Done, Some("sent")), "{cause:?}: {row}");
        world.ends().await;
    }
}

/// Whoever is in flight with those that fail, and started later, says that the app sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_answer_that_comes_after_those_that_fail_ends_the_pause() {
    // The first to start.
    let broken = code_for(48001).openid(openid("p000").as_str());
    for (fault, n) in [(Fault::new(Api::Send, What::DestroyBefore), 8), (broken, 1)] {
        let mut world = World::with_limits("in_flight: 12").await;
        world.rule("water", &[EIGHT, "grace: 3h"]).await;
        world.start().await;
        world.crowd(40).await;
        let late = Fault::new(Api::Send, What::Delay(Duration::from_millis(100))).after();
        world.faults(vec![fault.clone().at_most(n), late]);
        world.at("08:00").await;
        world.without_time("a pause", |world| world.paused().is_some()).await;
        assert!(world.soon(400, |world| world.paused().is_none()).await, "{fault:?}: {:?}", world.paused());
        assert!(world.soon(80, |world| world.begun() > 12).await, "{fault:?}: others follow");
        world.faults(Vec::new());
        world.pass(3).await;
        let left = if n == 1 { "done: 40 = 40 sent" } else { "done: 40 = 32 sent, 8 in_doubt" };
        world.expect_within(70, "water", left).await;
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_app_leaves_soon_after_the_cause_has_passed() {
    // People, and for how many seconds the app cannot send.
    for (n, seconds) in [(1, 1), (1, 20), (8, 1), (20, 3)] {
        for code in [48001, 40164] {
            let mut world = paused_by(Cause::Code(code), n, &["grace: 60s"]).await;
            world.pass(seconds).await;
            world.is_mended(Cause::Code(code)).await;
            world.expect_within(40, "water", &format!("done: {n} = {n} sent")).await;
            assert_eq!((world.paused(), world.cards("ann")), (None, 1), "{code}, {n}, {seconds} s");
            world.stop_here().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_message_of_a_broken_app_is_tried_no_more_often_than_a_crowd() {
    for n in [1, 2, 30] {
        let mut world = paused_by(Cause::Code(48001), n, &["grace: 1h"]).await;
        world.pass(60).await;
        // All that were in flight, and one alone after half a second, one, two, four …
        let first = world.begun();
        let in_flight = u64::try_from(n.min(8)).unwrap();
        assert!((in_flight + 5..=in_flight + 6).contains(&first), "{n}: {first} in the first minute");
        for second in 0..600 {
            world.pass(1).await;
            assert!(world.paused().is_some(), "{n}, {second}: it is told while something waits");
        }
        let then = world.begun() - first;
        assert!((9..=10).contains(&then), "{n}: {then} in ten minutes");
        world.is_mended(Cause::Code(48001)).await;
        world.expect_within(70, "water", &format!("done: {n} = {n} sent")).await;
        world.stop_here().await;
    }
}
