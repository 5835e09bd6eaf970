//! The disk fails while people report and messages leave: nothing is promised or sent, and when it is back
//! everything goes on by itself.

use std::cell::Cell;
use std::time::Duration;

use tixing::admin::control::Control as _;
use tixing::domain::delivery::State;
use tixing::domain::id::{AppName, TemplateId};
use tixing::flow::intake::ReportError;
use tixing::sandbox::{Answer, Api, Fault as Misfortune, What as Instead};
use tixing::store::{Health, Store};
use tixing::wechat::push::{Answered, Event, Sent, What};

use super::{EIGHT, HABIT, World};
use crate::disk::{Act, Disk, Fault};

async fn world() -> World {
    let mut world = World::new().await;
    world.disk = Some(Disk::new());
    world.rule("water", &[EIGHT, "grace: 3h"]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world
}

impl World {
    fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// Whether the daemon runs and its store works.
    fn is_well(&self) -> bool {
        let running = self.running.as_ref().unwrap();
        assert!(!running.stop.is_closed(), "the daemon ended by itself\n{}", self.told());
        *running.power.health().borrow() == Health::Works
    }

    /// Waits until the store says that it failed.
    async fn store_fails(&self) {
        self.until("the store to fail", |world| {
            matches!(&*world.power().health().borrow(), Health::Failed { .. })
        })
        .await;
    }

    /// Mends the disk, and waits until the store has opened it again; whether it was broken.
    async fn disk_is_back(&self) -> bool {
        let struck = self.disk().mend();
        self.until("the store to work", |world| {
            let power = world.power();
            (!struck || power.n_failures() > 0) && *power.health().borrow() == Health::Works
        })
        .await;
        struck
    }
}

/// What came due while the disk was away is sent when it is back, within its grace, and missed after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_the_disk_is_away() {
    for (back_at, story) in [("08:20", "done: 1 = 1 sent"), ("11:01", "missed 1")] {
        let world = world().await;
        world.at("07:59").await;
        world.disk().break_by(Fault { act: Act::Sync, after: 0, kept: 0 });
        world.tap("ann", HABIT, Answer::Accept);
        let told = world.report_as("in-vain", "ann", HABIT, "accept", 0).await;
        assert!(matches!(told, Err(ReportError::Unavailable(_))), "{told:?}");
        world.store_fails().await;
        world.at("08:00").await;
        world.pass(5).await;
        assert_eq!(world.sends_to("ann").len(), 0);
        let told = world.report_as("in-vain", "ann", HABIT, "accept", 0).await;
        assert!(matches!(told, Err(ReportError::Unavailable(_))), "{told:?}");
        world.at(back_at).await;
        world.disk_is_back().await;
        world.expect("water", story).await;
        let told = world.report_as("in-vain", "ann", HABIT, "accept", 0).await.unwrap();
        assert!(!told.duplicate, "what was refused was not booked");
        world.ends().await;
    }
}

/// An answer that comes while the disk is away is kept, and booked when it is back: no doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_kept_while_the_disk_is_away() {
    let mut world = world().await;
    world.grant("bob", HABIT, 1).await;
    world.faults(vec![
        Misfortune::new(Api::Send, Instead::Delay(Duration::from_secs(3)))
            .openid(super::openid("ann").as_str()),
    ]);
    world.at("08:00").await;
    world.expect("water", "open: 2 = 1 attempting, 1 sent").await;
    world.disk().break_by(Fault { act: Act::Apply, after: 0, kept: 0 });
    let told = world.report("bob", HABIT, "reject").await;
    assert!(told.is_err(), "{told:?}");
    world.store_fails().await;
    world.pass(4).await;
    world.disk_is_back().await;
    world.expect("water", "done: 2 = 2 sent").await;
    assert_eq!(world.delivery("water", "ann").state, State::Sent);
    world.ends().await;
}

/// No answer rests on what a power cut would take back: neither to a report, nor to its copy, nor that another
/// one has its id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_before_the_sync() {
    let world = world().await;
    world.calm().await;
    // The writer is held up in a sync of something else, so that all three come into one group.
    let held = world.disk().hold_syncs();
    let before = world.power().decided();
    let answered = Cell::new(0);
    let counted = async |report: &str, name: &str, status: &str| {
        let answer = world.report_as(report, name, HABIT, status, 0).await;
        answered.set(answered.get() + 1);
        answer
    };
    let decided = |n: u64| world.power().decided().0 >= before.0 + n;
    let moment = Duration::from_millis(2);
    let mut other = Box::pin(counted("other", "bob", "accept"));
    while !decided(1) {
        assert!(tokio::time::timeout(moment, &mut other).await.is_err(), "answered before any sync");
    }
    let (first, copy, conflict) = {
        let mut answers = std::pin::pin!(async {
            tokio::join!(
                counted("first", "ann", "accept"),
                counted("first", "ann", "accept"),
                counted("first", "ann", "reject"),
            )
        });
        let (mut looks, mut gone) = (0, false);
        while looks < 5 {
            let waited = tokio::time::timeout(moment, &mut answers).await;
            assert!(waited.is_err() && answered.get() == 0, "answered before the sync");
            // They wait for the writer; its sync ends, and the next is held up again.
            if !std::mem::replace(&mut gone, true) {
                held.let_one_go();
            }
            looks += u32::from(decided(4));
        }
        drop(held);
        answers.await
    };
    let other = other.await;
    assert!(!other.unwrap().duplicate && !first.unwrap().duplicate);
    assert!(copy.unwrap().duplicate);
    assert!(matches!(conflict, Err(ReportError::Conflict)), "{conflict:?}");
    world.ends().await;
}

/// Nor is WeChat, which tells nothing again that was answered `success`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_answered_before_its_sync() {
    let world = world().await;
    let template = TemplateId::parse(HABIT).unwrap();
    let (main, ann, bob) = (AppName::parse("main").unwrap(), super::openid("ann"), super::openid("bob"));
    let answers = vec![Answered { template: template.clone(), status: "reject".to_owned() }];
    let bill = TemplateId::parse(super::BILL).unwrap();
    let standing = vec![Answered { template: bill, status: "reject".to_owned() }];
    let messages = vec![Sent { template, msgid: Some(7), errcode: 0 }];
    let intake = &world.running.as_ref().unwrap().intake;
    for what in [
        What::Changed { openid: ann.clone(), answers },
        What::Sent { openid: ann, messages },
        What::Left { openid: bob },
        What::Asked { openid: super::openid("cid"), answers: standing },
        What::Punished { kind: "4".to_owned(), detail: String::new() },
    ] {
        world.calm().await;
        let held = world.disk().hold_syncs();
        let before = world.power().decided();
        let told = Event { created_at: world.clock.now(), what: what.clone() };
        let mut answer = Box::pin(intake.event(&main, told));
        let mut looks = 0;
        while looks < 5 {
            let waited = tokio::time::timeout(Duration::from_millis(2), &mut answer).await;
            assert!(waited.is_err(), "answered before its sync: {what:?}");
            looks += u32::from(world.power().decided() > before);
        }
        drop(held);
        answer.await.unwrap();
    }
    world.ends().await;
}

/// A rule that comes back counts from then on, also when the power goes right after the admin was told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_was_answered_is_on_the_disk() {
    let mut world = world().await;
    world.at("07:50").await;
    world.no_rule("water").await;
    world.at("08:10").await;
    world.rule("water", &[EIGHT, "grace: 3h"]).await;
    world.power().and_of(world.disk().clone(), 0);
    world.kill().await;
    world.disk().mend();
    world.start().await;
    world.at("09:00").await;
    assert_eq!((world.story("water"), world.cards("ann")), (String::new(), 0), "due before it came back");
    world.ends().await;
}

/// Every write of a run fails once, with and without what was not synced: nobody gets two, nobody is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_may_fail_at_any_write() {
    for (act, kept) in [(Act::Apply, usize::MAX), (Act::Sync, 0), (Act::Sync, usize::MAX)] {
        for after in 0.. {
            let mut world = world().await;
            world.grant("bob", HABIT, 1).await;
            world.at("07:59").await;
            world.disk().break_by(Fault { act, after, kept });
            world.at("08:00").await;
            world.calm().await;
            let struck = world.disk_is_back().await;
            world.expect("water", "done: 2 = 2 sent").await;
            assert_eq!((world.cards("ann"), world.cards("bob")), (1, 1), "{act:?} {kept} {after}");
            world.ends().await;
            if !struck {
                assert!(after > 0, "{act:?} was hardly tried");
                break;
            }
        }
    }
}

/// Whichever part of the daemon meets a failing read first, the others end by it, and none of them ends the daemon.
#[tokio::test]
async fn the_disk_may_fail_at_any_read() {
    for after in 0.. {
        let mut world = world().await;
        world.grant("bob", HABIT, 1).await;
        world.at("07:59").await;
        world.disk().break_by(Fault { act: Act::Read, after, kept: usize::MAX });
        world.at("08:00").await;
        world.calm().await;
        let struck = world.disk().mend();
        world.until("the daemon to go on", World::is_well).await;
        world.expect("water", "done: 2 = 2 sent").await;
        assert!(world.is_well(), "{after}");
        world.ends().await;
        if !struck {
            assert!(after > 10, "reads were hardly tried: {after}");
            break;
        }
    }
}

/// What a failed sync took is gone, and the books that are left are still the newest there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_has_lost_makes_no_older_copy() {
    let mut world = world().await;
    world.calm().await;
    world.disk().break_by(Fault { act: Act::Sync, after: 0, kept: 0 });
    world.tap("ann", HABIT, Answer::Accept);
    let told = world.report_as("in-vain", "ann", HABIT, "accept", 0).await;
    assert!(matches!(told, Err(ReportError::Unavailable(_))), "{told:?}");
    world.store_fails().await;
    world.kill().await;
    assert!(world.disk().mend() && world.disk().n_lost() > 0);
    world.start().await;
    assert_eq!(world.power().hold().unwrap(), None);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.ends().await;
}

/// Books that do not balance are told, and nothing else changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_are_off_are_told() {
    let mut world = world().await;
    let told = |world: &World| {
        let status = world.running.as_ref().unwrap().shared.status();
        let books = status.needs_attention.iter().find(|text| text.starts_with("the books are off")).cloned();
        (books, status.in_order())
    };
    world.calm().await;
    assert_eq!(told(&world), (None, true));
    world.stop().await;
    let mut content = world.disk().content();
    let account = content.keys().find(|key| key.first() == Some(&b'c')).unwrap().clone();
    let mut record = content[&account].to_vec();
    // The second of its fields says how many were granted.
    record[2] += 1;
    content.insert(account, record.as_slice().into());
    world.disk = Some(Disk::with(content));
    world.start().await;
    world.until("the books to be looked at", |world| told(world).0.is_some()).await;
    let (books, in_order) = told(&world);
    assert!(books.as_ref().unwrap().contains("was granted 3, its buckets hold 2"), "{books:?}");
    assert!(!in_order);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    world.stop().await;
}
