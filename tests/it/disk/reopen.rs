//! What the ledger does when its disk fails: it promises nothing, keeps what it was told of attempts, and
//! comes back by itself with everything that was promised.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tixing::clock::Clock;
use tixing::domain::consent::{Grant, Manner, Source};
use tixing::domain::delivery::State;
use tixing::domain::id::{AppId, DeliveryId, OpenId, ReportId, RuleId, TemplateId};
use tixing::domain::occurrence::{Due, OccurrenceState};
use tixing::domain::rule::OnDoubt;
use tixing::domain::template::TemplateKind;
use tixing::domain::zone::Zone;
use tixing::flow::recovery::recover;
use tixing::store::ledger::Ledger;
use tixing::store::{
    Additions, Answer, Choice, End, Health, Mark, Member, NewOccurrence, Opened, Opening, Piece,
    PieceOutcome, Report, ReportOutcome, Settlement, Store, Unavailable, Walk, Want,
};

use super::{Act, Disk, Fault};

/// How long the ledger has to come back.
const PATIENCE: Duration = Duration::from_secs(30);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000 + seconds)
}

fn app() -> AppId {
    AppId::parse("wx0123456789abcdef").unwrap()
}

fn template() -> TemplateId {
    TemplateId::parse("TPL").unwrap()
}

fn openid() -> OpenId {
    OpenId::parse("oDisk-somebody").unwrap()
}

/// A ledger on a disk that fails.
struct Bench {
    disk: Disk,
    store: Ledger,
    n_reports: u32,
}

impl Bench {
    fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Disk) -> Self {
        let store = Ledger::start(disk.place(), Clock::by_hand(at(0))).unwrap();
        Self { disk, store, n_reports: 0 }
    }

    fn a_report(&mut self) -> Report {
        self.n_reports += 1;
        let grant = Grant { accepted_at: at(0), source: Source::Backend, bound: None };
        Report {
            app: app(),
            openid: openid(),
            id: ReportId::parse(&format!("report-{}", self.n_reports)).unwrap(),
            content: [0; 32],
            now: at(0),
            tapped_at: at(0),
            adds: Additions::default(),
            answers: vec![Answer {
                template: template(),
                kind: TemplateKind::OneTime,
                choice: Choice::Accept(grant),
                manner: Manner::Plain,
            }],
        }
    }

    /// What a caller of the hook is told: durable, or nothing promised.
    async fn told(&self, report: Report) -> Result<ReportOutcome, Unavailable> {
        let decided = self.store.report(report).await?;
        self.store.wait(decided.number).await?;
        Ok(decided.value)
    }

    async fn granted(&mut self) {
        let report = self.a_report();
        assert_eq!(self.told(report).await, Ok(ReportOutcome::Booked(Vec::new())));
    }

    /// One delivery that has a grant.
    async fn reserved(&mut self, due: i64) -> DeliveryId {
        let rule = RuleId::parse("drink").unwrap();
        let from = self.store.start_rule(app(), rule.clone(), at(0)).await.unwrap().value;
        let new = NewOccurrence {
            due: Due { at: at(due), civil: at(due).naive_utc(), fold: 0 },
            zone: Zone::parse("Asia/Shanghai").unwrap(),
            whose: tixing::domain::occurrence::Whose::Everybody,
            deadline: at(due + 1800),
            missed: None,
        };
        let opening = Opening {
            app: app(),
            rule,
            template: template(),
            kind: TemplateKind::OneTime,
            from,
            to: at(due),
            occurrences: vec![new],
            snapshot: [1; 32],
            snapshot_bytes: b"snapshot".to_vec(),
            priority: 0,
            on_doubt: OnDoubt::Hold,
        };
        let Opened::Moved(numbers) = self.store.open(opening).await.unwrap().value else { panic!("stale") };
        let piece = Piece {
            occurrence: numbers[0],
            after: None,
            position: None,
            walk: Walk::Ends,
            members: vec![Member { openid: openid(), want: Want::Reserve, behind: Vec::new() }],
            without_consent: BTreeMap::new(),
            expired: 0,
            now: at(due),
        };
        let PieceOutcome::Booked(reserved) = self.store.chunk(piece).await.unwrap().value else {
            panic!("stale")
        };
        reserved[0].id
    }

    async fn marked(&self, id: DeliveryId) -> Mark {
        let decided = self.store.mark(vec![id], at(0)).await.unwrap();
        self.store.wait(decided.number).await.unwrap();
        decided.value.into_iter().next().flatten().unwrap()
    }

    fn state(&self, id: DeliveryId) -> State {
        self.store.delivery(id).unwrap().unwrap().state
    }

    async fn until(&self, wanted: impl Fn(&Health) -> bool) -> Health {
        let mut health = self.store.health();
        let seen = tokio::time::timeout(PATIENCE, health.wait_for(|health| wanted(health))).await;
        let seen = seen.unwrap_or_else(|_late| panic!("{:?}", self.store.health().borrow()));
        seen.unwrap().clone()
    }

    async fn works(&self) {
        self.until(|health| *health == Health::Works).await;
    }

    async fn has_failed(&self) {
        self.until(|health| matches!(health, Health::Failed { .. })).await;
    }

    async fn in_order(&self) {
        let proved = self.despite_a_failure(async || self.store.fsck().await).await;
        assert_eq!(proved.value.violations, []);
    }

    /// What `ask` answers when the ledger works: a failure that struck may be noticed by this very call only.
    async fn despite_a_failure<T>(&self, ask: impl AsyncFn() -> Result<T, Unavailable>) -> T {
        let asked = async {
            loop {
                self.works().await;
                match ask().await {
                    Ok(answer) => break answer,
                    Err(Unavailable) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("it works again")
    }
}

fn accepted(mark: Mark) -> Settlement {
    Settlement { mark, started_at: Some(at(1)), end: End::Accepted { msgid: Some(7) }, now: at(2) }
}

/// Fails at the sync, at the write before it, at a read, or when it is opened again; with and without what was
/// written in between.
#[tokio::test]
async fn what_was_promised_survives_a_failing_disk_and_what_was_not_may_be_told_again() {
    for act in [Act::Sync, Act::Apply] {
        for kept in [0, 1, usize::MAX] {
            let mut bench = Bench::new();
            bench.granted().await;
            bench.disk.break_by(Fault { act, after: 0, kept });
            let report = bench.a_report();
            assert_eq!(bench.told(report.clone()).await, Err(Unavailable), "{act:?} {kept}");
            bench.has_failed().await;
            assert_eq!(bench.told(report.clone()).await, Err(Unavailable), "no write is taken");
            assert_eq!(bench.store.account(&app(), &template(), &openid()).unwrap_err(), Unavailable);
            // It is tried, and every try leaves no handle behind.
            bench.until(|health| matches!(health, Health::Failed { n_tries: 2.., .. })).await;
            bench.disk.mend();
            bench.works().await;
            assert_eq!(bench.disk.n_open(), 1);
            assert_eq!(bench.store.n_failures(), 1);
            let told = bench.told(report.clone()).await.unwrap();
            assert!(matches!(told, ReportOutcome::Booked(_) | ReportOutcome::Duplicate), "{told:?}");
            assert_eq!(bench.told(report).await, Ok(ReportOutcome::Duplicate));
            let view = bench.store.account(&app(), &template(), &openid()).unwrap().unwrap();
            assert_eq!(view.account.available(), 2, "{act:?} {kept}");
            bench.in_order().await;
        }
    }
}

#[tokio::test]
async fn a_number_from_before_a_failure_is_never_durable_later() {
    let mut bench = Bench::new();
    bench.granted().await;
    let report = bench.a_report();
    bench.disk.break_by(Fault { act: Act::Sync, after: 0, kept: 0 });
    let decided = bench.store.report(report).await.unwrap();
    bench.has_failed().await;
    bench.disk.mend();
    bench.works().await;
    for _ in 0..3 {
        bench.granted().await;
    }
    assert_eq!(bench.store.wait(decided.number).await, Err(Unavailable));
}

#[tokio::test]
async fn an_error_of_a_read_is_an_error_of_the_store() {
    let mut bench = Bench::new();
    bench.granted().await;
    bench.disk.break_by(Fault { act: Act::Read, after: 0, kept: usize::MAX });
    assert_eq!(bench.store.account(&app(), &template(), &openid()).unwrap_err(), Unavailable);
    bench.has_failed().await;
    bench.disk.mend();
    bench.works().await;
    bench.granted().await;
}

/// How an attempt ended while the disk was away is booked first when it is back.
#[tokio::test]
async fn a_settlement_is_kept_until_it_is_durable() {
    // Settled before the failure and not yet synced, or while the store was away; lost with the disk, or not.
    for during in [false, true] {
        for kept in [0, usize::MAX] {
            let mut bench = Bench::new();
            bench.granted().await;
            let id = bench.reserved(10).await;
            let mark = bench.marked(id).await;
            bench.disk.break_by(Fault { act: Act::Sync, after: 0, kept });
            if during {
                let report = bench.a_report();
                assert_eq!(bench.told(report).await, Err(Unavailable));
                bench.has_failed().await;
                drop(bench.store.settle(vec![accepted(mark)]));
            } else {
                drop(bench.store.settle(vec![accepted(mark)]));
                bench.has_failed().await;
            }
            bench.disk.mend();
            bench.works().await;
            assert_eq!(bench.state(id), State::Sent, "{during} {kept}");
            // Durable: a crash takes nothing of it back.
            bench.store.close();
            bench.disk.crash(0);
            let again = Bench::on(bench.disk.clone());
            assert_eq!(again.state(id), State::Sent, "{during} {kept}");
            again.in_order().await;
        }
    }
}

/// A mark that nobody was told of is no attempt: nothing was sent.
#[tokio::test]
async fn a_mark_that_was_lost_in_a_failure_leaves_no_doubt() {
    for kept in [0, usize::MAX] {
        let mut bench = Bench::new();
        bench.granted().await;
        let id = bench.reserved(10).await;
        bench.store.wait(bench.store.decided()).await.unwrap();
        bench.disk.break_by(Fault { act: Act::Sync, after: 0, kept });
        let decided = bench.store.mark(vec![id], at(10)).await.unwrap();
        assert_eq!(bench.store.wait(decided.number).await, Err(Unavailable));
        bench.has_failed().await;
        // As the one who sends does it with marks that never became durable.
        let mark = decided.value.into_iter().next().flatten().unwrap();
        let not_started = Settlement { mark, started_at: None, end: End::NotStarted, now: at(11) };
        drop(bench.store.settle(vec![not_started]));
        bench.disk.mend();
        bench.works().await;
        assert_eq!(bench.state(id), State::Reserved, "{kept}");
        assert_eq!(bench.store.recover(at(12)).await.unwrap().value, 0);
        bench.in_order().await;
    }
}

#[tokio::test]
async fn another_store_in_its_place_is_not_taken_for_it() {
    let other = Bench::new();
    other.store.close();
    let mut bench = Bench::new();
    bench.granted().await;
    let ours = bench.disk.copy();
    bench.disk.break_by(Fault { act: Act::Sync, after: 0, kept: usize::MAX });
    let report = bench.a_report();
    assert_eq!(bench.told(report).await, Err(Unavailable));
    bench.has_failed().await;
    bench.disk.replace_by(&other.disk);
    bench.disk.mend();
    bench
        .until(|health| matches!(health, Health::Failed { why, .. } if why.contains("another store is in its place")))
        .await;
    bench.disk.replace_by(&ours);
    bench.works().await;
    assert_eq!(bench.store.account(&app(), &template(), &openid()).unwrap().unwrap().account.available(), 1);
}

/// With little room nothing is taken on, and what is under way is ended.
/// What was under way at the end of the last run is in doubt on the disk, before a start goes on to marks.
#[tokio::test]
async fn a_start_waits_until_its_recovery_is_durable() {
    let mut bench = Bench::new();
    bench.granted().await;
    let id = bench.reserved(10).await;
    let _left_unsettled = bench.marked(id).await;
    let held = bench.disk.hold_syncs();
    let mut recovered = std::pin::pin!(recover(&bench.store, at(20)));
    let moment = Duration::from_millis(2);
    let mut looks = 0;
    while looks < 5 {
        assert!(tokio::time::timeout(moment, &mut recovered).await.is_err(), "it went on before the sync");
        looks += u32::from(bench.state(id) == State::InDoubt);
    }
    drop(held);
    assert_eq!(recovered.await, Ok(1));
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_no_failed_one() {
    let mut bench = Bench::new();
    bench.granted().await;
    let id = bench.reserved(10).await;
    let mark = bench.marked(id).await;
    bench.disk.leave_room(999);
    // The group that finds it is the last that is taken.
    bench.granted().await;
    bench.until(|health| matches!(health, Health::Short(room) if room.free == 999)).await;
    let report = bench.a_report();
    assert_eq!(bench.told(report.clone()).await, Err(Unavailable));
    assert!(bench.store.mark(Vec::new(), at(0)).await.is_err());
    let settled = bench.store.settle(vec![accepted(mark)]).await.unwrap();
    bench.store.wait(settled.number).await.unwrap();
    assert_eq!(bench.state(id), State::Sent);
    bench.disk.leave_room(1000);
    // Calls that come all the time and write nothing do not keep the writer from looking.
    let chatter = async {
        loop {
            let _nothing = bench.store.stop_occurrence(999, OccurrenceState::Held, None).await;
            Clock::system().sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = chatter => {}
        () = bench.works() => {}
    }
    assert_eq!(bench.told(report).await, Ok(ReportOutcome::Booked(Vec::new())));
    assert_eq!(bench.store.n_failures(), 0);
    bench.in_order().await;
}

/// The last sync is one more chance to fail, and nobody is left then to wait for another disk.
#[test]
fn a_failure_while_it_is_closed_is_its_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for act in [Act::Apply, Act::Sync] {
        let mut bench = Bench::new();
        runtime.block_on(bench.granted());
        bench.disk.break_by(Fault { act, after: 0, kept: 0 });
        // Not waited for: it is written with the last sync.
        let report = bench.a_report();
        drop(bench.store.report(report));
        let (disk, store) = (bench.disk.clone(), bench.store);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let closing = std::thread::Builder::new().spawn(move || {
            store.close();
            tell.send(())
        });
        told.recv_timeout(PATIENCE).expect("it is closed");
        closing.unwrap().join().unwrap().unwrap();
        assert_eq!(disk.n_open(), 0, "{act:?}");
    }
}

/// Every call fails once: whatever was promised before is there after it.
#[tokio::test]
async fn each_act_of_a_day_may_fail() {
    for act in [Act::Apply, Act::Sync, Act::Read] {
        for kept in [0, 1, usize::MAX] {
            for after in 0.. {
                let mut bench = Bench::new();
                bench.disk.break_by(Fault { act, after, kept });
                let mut promised = 0;
                for _ in 0..3 {
                    let report = bench.a_report();
                    promised += u64::from(bench.told(report).await.is_ok());
                }
                let struck = bench.disk.mend();
                let ask = async || bench.store.account(&app(), &template(), &openid());
                let view = bench.despite_a_failure(ask).await;
                let available = view.map_or(0, |view| view.account.available());
                assert!(available >= promised, "{act:?} {after} {kept}: {available} of {promised}");
                bench.in_order().await;
                if !struck {
                    assert!(after > 2, "{act:?} was hardly tried");
                    break;
                }
            }
        }
    }
}
