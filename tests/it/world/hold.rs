//! Everything is on hold: the books may be older than what was done. Nothing moves but the hook, over restarts; and what
//! may have been sent is in doubt when it is released.

use std::sync::Arc;

use tixing::admin::answer::{Exit, Frame};
use tixing::admin::control::Control;
use tixing::admin::desk::Desk;
use tixing::admin::request::{Lang, Request};
use tixing::daemon::Shared;
use tixing::store::{Health, Store};

use super::power::Power;
use super::{EIGHT, HABIT, World};
use crate::disk::{Act, Disk, Fault};

/// A record of a hold as an older copy of the folder makes it.
const HOLD: [u8; 3] = [1, 0, 1];

impl World {
    /// Pulls the plug and puts everything on hold.
    pub(super) async fn put_on_hold(&mut self) {
        let kept = self.power().keep("hold", HOLD.to_vec()).await.unwrap();
        self.power().wait(kept.number).await.unwrap();
        self.restart().await;
    }

    /// What an operator's request comes to; its notes are for people.
    async fn tries(&self, request: Request) -> Result<Vec<serde_json::Value>, String> {
        let running = self.running.as_ref().unwrap();
        let store: Arc<dyn Store> = Arc::<Power>::clone(&running.power);
        let control: Arc<dyn Control> = Arc::<Shared>::clone(&running.shared);
        let desk = Desk::new(store, running.shared.current().clone(), self.clock.clone(), Some(control));
        let mut answer = desk.run(request);
        let mut rows = Vec::new();
        while let Some(frame) = answer.next().await {
            match frame {
                Frame::Line(line) => rows.push(serde_json::from_str(&line).unwrap()),
                Frame::Note(_) => {}
                Frame::End(end) if end.exit == Exit::Done => {}
                Frame::End(end) => return Err(end.message.unwrap_or_default()),
            }
        }
        Ok(rows)
    }

    async fn lost_since(&self, since: &str) -> Vec<String> {
        let request = Request::Release { rule: None, lost_since: Some(since.to_owned()) };
        let rows = self.tries(request).await.unwrap();
        let told = |row: &serde_json::Value| {
            format!("{} {} {}", row["rule"].as_str().unwrap(), row["due_at"].as_str().unwrap(), row["n"])
        };
        rows.iter().map(told).collect()
    }

    /// How many deliveries of a rule are open.
    fn open(&self, rule: &str) -> u64 {
        let of = self.occurrences().into_iter().filter(|o| o.rule.as_str() == rule);
        of.map(|o| o.counts.open()).sum()
    }

    fn hold(&self) -> Option<String> {
        self.running.as_ref().unwrap().shared.status().hold
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_hold_nothing_moves_and_a_release_books_what_may_have_been_sent() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT, "grace: 10m"]).await;
    world.rule("night", &[EIGHT, r#"quiet: { from: "07:30", to: "10:00", then: hold }"#]).await;
    world.rule("noon", &[EIGHT, r#"quiet: { from: "07:30", to: "12:00", then: hold }"#]).await;
    world.rule("later", &[r#"when: { cron: "*/20 9 * * *" }"#, "grace: 10m"]).await;
    world.rule("gone", &[EIGHT, "grace: 10m"]).await;
    world.start().await;
    for name in ["ann", "bob"] {
        world.grant(name, HABIT, 7).await;
    }
    world.person("cleo", |_| {}).await;
    world.platform_gone().await;
    world.at("08:00").await;
    world.until("what is tried again", |world| world.open("water") == 2 && world.open("gone") == 2).await;
    world.expect("night", "open: 3 = 3 held").await;
    world.expect("noon", "open: 3 = 3 held").await;

    world.put_on_hold().await;
    world.platform_back().await;
    let status = world.running.as_ref().unwrap().shared.status();
    assert!(status.ready && !status.in_order(), "{status:?}");
    assert!(world.hold().unwrap().starts_with("the store is an older copy"), "{:?}", world.hold());
    assert!(status.needs_attention[0].ends_with("`tixing release --lost-since TIME` ends it"), "{status:?}");
    // Files may change, which ends nothing; the hook works.
    world.no_rule("gone").await;
    world.grant("cleo", HABIT, 1).await;
    world.at("09:50").await;
    world.restart().await;
    world.at("10:30").await;
    world.pass(3).await;
    assert_eq!(world.platform.totals().begun, 0, "{}", world.told());
    for (rule, n_open) in [("water", 2), ("gone", 2), ("night", 3), ("noon", 3), ("later", 0)] {
        assert_eq!(world.open(rule), n_open, "{rule}");
    }
    assert_eq!(world.story("later"), "");

    assert_eq!(
        world.lost_since("2026-03-02T00:30:00Z").await,
        [
            "gone 2026-03-02T00:00:00Z 2",
            "night 2026-03-02T00:00:00Z 2",
            "water 2026-03-02T00:00:00Z 2",
            "later 2026-03-02T01:00:00Z 3",
            "later 2026-03-02T01:20:00Z 2",
            "later 2026-03-02T01:40:00Z 2",
        ]
    );
    assert_eq!(world.hold(), None);
    world.expect("water", "done: 3 = 2 in_doubt, 1 no_consent").await;
    world.expect("gone", "done: 3 = 2 in_doubt, 1 no_consent").await;
    world.expect("night", "done: 3 = 2 in_doubt, 1 no_consent").await;
    world.expect("noon", "open: 3 = 3 held").await;
    assert_eq!(world.balance("ann", HABIT), "7 granted = 1 available, 6 in doubt");
    // Of what is in doubt without a request, none is claimed.
    let mut without = 0;
    for doubt in world.asks(Request::DoubtList { reveal: false }).await {
        let id = doubt["id"].as_str().unwrap().to_owned();
        let show = Request::DoubtShow { id, reveal: false, lang: Lang::En };
        let shown = world.asks(show).await.remove(0);
        if shown["attempts"] == 0 {
            let why = shown["why"].as_str().unwrap();
            assert!(why.contains("restored or are older") && !why.contains("marked"), "{shown}");
            assert!(shown["first_started_at"].is_null(), "{shown}");
            without += 1;
        }
    }
    assert!(without > 4, "{without}");
    let told = world.explains("later", "ann", "2026-03-02T09:20:00+08:00").await;
    assert_eq!(told["outcome"], "in_doubt", "{told}");
    assert!(told["steps"].to_string().contains("one may have left all the same"), "{told}");
    // Whose time has not come was sent by nobody.
    world.at("12:00").await;
    world.expect_within(40, "noon", "done: 3 = 2 sent, 1 no_consent").await;
    assert_eq!((world.cards("ann"), world.cards("bob"), world.cards("cleo")), (1, 1, 0));
    world.at("03 08:00").await;
    world.expect_within(20, "water", "done: 3 = 2 in_doubt, 1 no_consent; done: 3 = 3 no_consent").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_cut_off_goes_on() {
    // Each write of it may be the last.
    for left in 0.. {
        let mut world = World::new().await;
        world.rule("water", &[EIGHT, "grace: 10m"]).await;
        world.rule("tea", &[r#"when: { cron: "0 9,10 * * *" }"#]).await;
        world.start().await;
        for name in ["ann", "bob"] {
            world.grant(name, HABIT, 3).await;
        }
        world.platform_gone().await;
        world.at("08:00").await;
        world.until("what is tried again", |world| world.open("water") == 2).await;
        world.put_on_hold().await;
        world.at("10:30").await;
        world.platform_back().await;
        world.power().cut_after(left);
        let since = Some("2026-03-02T00:30:00Z".to_owned());
        let cut = world.tries(Request::Release { rule: None, lost_since: since.clone() }).await.is_err();
        world.restart().await;
        world.pass(3).await;
        if cut && world.hold().is_some() {
            world.tries(Request::Release { rule: None, lost_since: since }).await.unwrap();
        }
        world.expect("water", "done: 2 = 2 in_doubt").await;
        world.expect("tea", "done: 2 = 2 in_doubt; done: 2 = 2 in_doubt").await;
        assert_eq!(world.platform.totals().begun, 0, "{}", world.told());
        world.ends().await;
        if !cut {
            assert!(left > 4, "it takes some writes");
            break;
        }
    }
}

/// Reminders of appointments, and of each person's own clock, that came due on hold; those put meanwhile are among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_of_appointments_and_by_each_clock_is_in_doubt() {
    let mut world = World::new().await;
    world.rule("visit", &["when: { before: 1h, of: visit }", "grace: 10m"]).await;
    world.rule("own", &[r#"when: { cron: "30 8 * * *" }"#, "timezone: recipient", "grace: 10m"]).await;
    world.start().await;
    let tokyo = tixing::domain::zone::Zone::parse("Asia/Tokyo").unwrap();
    world.person("bob", |profile| profile.time_zone = Some(tokyo)).await;
    for name in ["ann", "bob", "cleo", "dan"] {
        world.grant(name, HABIT, 5).await;
    }
    world.visit("A", &["ann"], "09:00").await;
    world.visit("D", &["dan"], "10:00").await;
    world.at("07:10").await;
    world.put_on_hold().await;
    world.at("08:05").await;
    // What backends tell while it lasts is in the books; what is moved is due at its new time.
    world.visit("C", &["cleo"], "09:30").await;
    world.visit("D", &["dan"], "12:00").await;
    world.at("09:45").await;
    assert_eq!(world.platform.totals().begun, 0);
    assert_eq!(
        world.lost_since("2026-03-01T23:10:00Z").await,
        [
            "own 2026-03-01T23:30:00Z 1",
            "visit 2026-03-02T00:00:00Z 1",
            "own 2026-03-02T00:30:00Z 3",
            "visit 2026-03-02T00:30:00Z 1",
        ]
    );
    world.pass(3).await;
    assert_eq!(world.platform.totals().begun, 0, "{}", world.told());
    // Put again as it is, or moved away and back, it is not sent either.
    world.visit("A", &["ann"], "09:00").await;
    world.visit("C", &["cleo"], "09:40").await;
    world.visit("C", &["cleo"], "09:30").await;
    world.pass(3).await;
    assert_eq!(world.platform.totals().begun, 0, "{}", world.told());
    world.at("11:00").await;
    world.until("the moved one", |world| world.cards("dan") == 1).await;
    world.at("03 08:30").await;
    world.until("the next day", |world| ["ann", "cleo"].iter().all(|name| world.cards(name) == 1)).await;
    world.ends().await;
}

/// What comes due meanwhile of a rule that was written meanwhile has a record too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_is_new_during_the_hold_counts_from_then_on() {
    for by_restart in [false, true] {
        let mut world = World::new().await;
        world.rule("water", &[r#"when: { cron: "0 20 * * *" }"#]).await;
        world.start().await;
        world.grant("ann", HABIT, 2).await;
        world.put_on_hold().await;
        let hourly = r#"when: { cron: "0,30 8-9 * * *" }"#;
        if by_restart {
            world.stop().await;
            world.rule("new", &[hourly]).await;
            world.at("08:10").await;
            world.start().await;
        } else {
            world.at("08:10").await;
            world.rule("new", &[hourly]).await;
        }
        world.at("08:45").await;
        assert_eq!(world.story("new"), "", "nothing is opened on hold");
        let lost = world.lost_since("2026-03-02T00:00:00Z").await;
        assert_eq!(lost, ["new 2026-03-02T00:30:00Z 1"], "{by_restart}");
        assert_eq!(world.platform.totals().begun, 0);
        world.at("09:00").await;
        world.expect("new", "done: 1 = 1 in_doubt; done: 1 = 1 sent").await;
        world.ends().await;
    }
}

/// Damage shows when what is damaged is read, which may be long after the start; what is left is not all there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_found_damaged_later_puts_everything_on_hold_too() {
    let mut world = World::new().await;
    let disk = Disk::new();
    world.disk = Some(disk.clone());
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.at("07:59").await;
    disk.damage_by(Fault { act: Act::Read, after: 0, kept: usize::MAX });
    assert!(world.report("ann", HABIT, "accept").await.is_err());
    world.until("the failure", |world| world.power().n_failures() > 0).await;
    assert!(disk.mend());
    world.until("the hold", |world| world.hold().is_some()).await;
    assert!(world.hold().unwrap().contains("damaged"), "{:?}", world.hold());
    world.until("the store", |world| *world.power().health().borrow() == Health::Works).await;
    world.report("ann", HABIT, "accept").await.unwrap();
    world.at("08:10").await;
    world.pass(5).await;
    assert_eq!((world.story("water").as_str(), world.platform.totals().begun), ("", 0));
    world.restart().await;
    assert!(world.hold().is_some(), "until a person ends it");
    assert_eq!(world.lost_since("2026-03-01T00:00:00Z").await, ["water 2026-03-02T00:00:00Z 1"]);
    world.expect("water", "done: 1 = 1 in_doubt").await;
    assert_eq!(world.hold(), None);
    world.ends().await;
}

/// An appointment that the books lack is put again after the release: whether its reminder was sent nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_of_an_appointment_that_comes_back_later_is_not_sent_again() {
    let mut world = World::new().await;
    let lines = ["when: { before: 1h, of: visit }", "if_late: send", "data: { thing1: x }", "grace: 2h"];
    world.rule("visit", &lines).await;
    world.start().await;
    world.grant("ann", HABIT, 5).await;
    world.put_on_hold().await;
    world.at("09:30").await;
    assert!(world.lost_since("2026-03-01T23:10:00Z").await.is_empty());
    world.visit("A", &["ann"], "10:20").await;
    world.at("09:50").await;
    assert_eq!((world.story("visit").as_str(), world.platform.totals().begun), ("", 0));
    // Of what came due since then it is known.
    world.visit("B", &["ann"], "10:40").await;
    world.expect_within(5, "visit", "done: 1 = 1 sent").await;
    world.restart().await;
    world.pass(3).await;
    assert_eq!(world.cards("ann"), 1);
    world.ends().await;
}

/// It went to one of two reminders, and that one is in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_that_two_wanted_is_in_doubt_for_the_one_whose_turn_it_was() {
    let mut world = World::new().await;
    world.rule("alpha", &[EIGHT]).await;
    world.rule("zeta", &[EIGHT, "priority: 5"]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world.put_on_hold().await;
    world.at("08:01").await;
    assert_eq!(world.lost_since("2026-03-02T07:59:00+08:00").await, ["zeta 2026-03-02T00:00:00Z 1"]);
    world.stop_here().await;
}
