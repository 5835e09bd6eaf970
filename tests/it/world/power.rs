//! A store whose power can be cut, at once or after so many writes: what a crash leaves behind.
//!
//! It forwards to the real engine and decides nothing. After the cut nothing is written, read or
//! promised any more, while platform and daemon go on for as long as the test lets them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use tixing::domain::consent::Account;
use tixing::domain::delivery::State;
use tixing::domain::drift::Drift;
use tixing::domain::hold::Hold;
use tixing::domain::id::{
    AppId, AppointmentId, DeliveryId, Kind, OpenId, Ref, ReportId, RuleId, TemplateId, UnionId,
};
use tixing::domain::occurrence::OccurrenceState;
use tixing::domain::recipient::{Profile, Recipient};
use tixing::domain::zone::Zone;
use tixing::store::{
    AccountKey, AccountView, Again, AppointmentChange, AppointmentKey, Asked, Audit, ByHand, Changed,
    Closing, Cursor, Delivery, DoubtWord, Dump, Dumped, Erased, Figures, Fsck, Granted, Health, HoldEnd,
    ImportPiece, KeptAppointment, KeptReceipt, Mark, Number, Occurrence, Opened, OpenedByHand, Opening,
    OperatorGrant, Pending, Piece, PieceOutcome, Progress, Put, Reads, Receipt, ReceiptOutcome, Refusal,
    Refused, Release, Reminded, Reminders, Repeated, Report, ReportOutcome, Settlement, Store, Unavailable,
    Wait, Wake, Walked,
};
use tokio::sync::watch;

use crate::disk::Disk;

/// The store with its switch.
#[derive(Debug)]
pub(crate) struct Power {
    inner: Mutex<Inner>,
    /// Writes asked for, upkeep among them.
    n_calls: AtomicU64,
    /// Occurrences that looks at all that are open have read.
    n_looked: AtomicU64,
    progress: watch::Sender<Progress>,
    health: watch::Sender<Health>,
}

#[derive(Debug)]
struct Inner {
    store: Option<Arc<dyn Store>>,
    /// Writes of the flows that still pass; `None` without end.
    left: Option<usize>,
    /// What the cut does to the disk: how many batches that were not synced it has nevertheless.
    disk: Option<(Disk, usize)>,
    /// What was written, by the name of the call.
    written: Vec<&'static str>,
    /// Reports that arrive right before a walk of their template is booked.
    in_between: Vec<(TemplateId, Report)>,
    /// Calls about appointments from when a change was ordered on.
    steps: Vec<&'static str>,
    /// Changes that are made right before the call of this number among them.
    changes: Option<(usize, Vec<AppointmentChange>)>,
    /// Whether what is held is released right behind its hold.
    releases: bool,
    /// The app of which no `ref` can be read.
    unreadable: Option<AppId>,
}

impl Inner {
    /// First the disk: a store that is dropped syncs what it has.
    fn cut(&mut self) {
        if let Some((disk, kept)) = self.disk.take() {
            disk.power_off(kept);
        }
        self.store = None;
    }
}

impl Power {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let inner = Inner {
            store: Some(store),
            left: None,
            disk: None,
            written: Vec::new(),
            in_between: Vec::new(),
            steps: Vec::new(),
            changes: None,
            releases: false,
            unreadable: None,
        };
        let progress = watch::Sender::new(Progress::Durable(Number(0)));
        let health = watch::Sender::new(Health::Works);
        let (n_calls, n_looked) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { inner: Mutex::new(inner), n_calls, n_looked, progress, health }
    }

    /// Cuts the power instead of the write after the next `n`.
    pub(crate) fn cut_after(&self, n: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.left = Some(n);
        inner.written.clear();
    }

    /// Lets the cut take from `disk` what was not synced, but for the first `kept` batches.
    pub(crate) fn and_of(&self, disk: Disk, kept: usize) {
        self.inner.lock().unwrap().disk = Some((disk, kept));
    }

    /// Cuts the power now.
    pub(crate) fn cut(&self) {
        self.inner.lock().unwrap().cut();
        self.tell();
    }

    fn tell(&self) {
        self.progress.send_replace(Progress::Failed);
        self.health.send_replace(Health::Failed { why: "the power is cut".into(), n_tries: 0 });
    }

    /// Lets `report` arrive between a walk's look at the accounts of `template` and its booking.
    pub(crate) fn before_booking(&self, template: TemplateId, report: Report) {
        self.inner.lock().unwrap().in_between.push((template, report));
    }

    /// Releases whatever is held from now on, before anybody can look at it.
    pub(crate) fn release_at_once(&self) {
        self.inner.lock().unwrap().releases = true;
    }

    /// Lets every look for a `ref` of this app fail.
    pub(crate) fn fail_refs_of(&self, app: Option<AppId>) {
        self.inner.lock().unwrap().unreadable = app;
    }

    /// Makes these changes, one after the other, right before the call of this number about appointments: a look at them,
    /// an opening, a step of a cursor.
    pub(crate) fn before_call(&self, n: usize, changes: Vec<AppointmentChange>) {
        let mut inner = self.inner.lock().unwrap();
        inner.steps.clear();
        inner.changes = Some((n, changes));
    }

    /// What the changes were made before; `None` when they were not made. With the calls before that.
    pub(crate) fn made_before(&self) -> Option<Vec<&'static str>> {
        let inner = self.inner.lock().unwrap();
        inner.changes.is_none().then(|| inner.steps.clone())
    }

    fn step(&self, name: &'static str) {
        let (store, changes) = {
            let mut inner = self.inner.lock().unwrap();
            if inner.changes.is_some() {
                inner.steps.push(name);
            }
            let n = inner.steps.len();
            let Some((_, changes)) = inner.changes.take_if(|(before, _)| n > *before) else { return };
            (inner.store.clone(), changes)
        };
        for (store, change) in
            store.iter().flat_map(|store| changes.iter().map(move |change| (store, change)))
        {
            let mut pending = std::pin::pin!(store.change_appointment(change.clone()));
            // Also where a thread of the runtime asks: it may not wait there, and the store has a thread of its own.
            let mut task = std::task::Context::from_waker(std::task::Waker::noop());
            while pending.as_mut().poll(&mut task).is_pending() {
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.inner.lock().unwrap().store.is_none()
    }

    /// How many occurrences were read by looks at all that are open.
    pub(crate) fn n_looked(&self) -> u64 {
        self.n_looked.load(Ordering::Relaxed)
    }

    /// How many writes were asked for.
    pub(crate) fn n_calls(&self) -> u64 {
        self.n_calls.load(Ordering::Relaxed)
    }

    /// Waits until everything asked for so far is decided or refused; asks to end nothing, which is always taken.
    pub(crate) async fn rest(&self, now: DateTime<Utc>) {
        if let Ok(store) = self.store() {
            let _works_or_not = store.close(Vec::new(), Closing::Expired, now).await;
        }
    }

    /// The calls that wrote since [`Power::cut_after`].
    pub(crate) fn written(&self) -> Vec<&'static str> {
        self.inner.lock().unwrap().written.clone()
    }

    fn store(&self) -> Result<Arc<dyn Store>, Unavailable> {
        self.inner.lock().unwrap().store.clone().ok_or(Unavailable)
    }

    /// The store, for a write that counts.
    fn spend(&self, name: &'static str) -> Option<Arc<dyn Store>> {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock().unwrap();
        if let Some(left) = &mut inner.left {
            let Some(less) = left.checked_sub(1) else {
                inner.cut();
                drop(inner);
                self.tell();
                return None;
            };
            *left = less;
        }
        inner.written.push(name);
        inner.store.clone()
    }
}

macro_rules! forward {
    ($(write $name:ident($($arg:ident: $of:ty),*) -> $out:ty;)* ; $(upkeep $uname:ident($($uarg:ident: $uof:ty),*) -> $uout:ty;)* ; $(read $rname:ident($($rarg:ident: $rof:ty),*) -> $rout:ty;)*) => {
        $(fn $name(&self, $($arg: $of),*) -> Pending<$out> {
            self.spend(stringify!($name)).map_or_else(|| Pending::ready(None), |store| store.$name($($arg),*))
        })*
        $(fn $uname(&self, $($uarg: $uof),*) -> Pending<$uout> {
            self.n_calls.fetch_add(1, Ordering::Relaxed);
            self.store().map_or_else(|_| Pending::ready(None), |store| store.$uname($($uarg),*))
        })*
        $(fn $rname(&self, $($rarg: $rof),*) -> Result<$rout, Unavailable> {
            self.store()?.$rname($($rarg),*)
        })*
    };
}

impl Store for Power {
    fn wait(&self, number: Number) -> Wait {
        match self.store() {
            Ok(store) => store.wait(number),
            Err(cut) => Box::pin(std::future::ready(Err(cut))),
        }
    }

    /// So that who reads is not idle to who looks for that.
    fn reads(&self) -> Reads {
        Reads::AtOnce
    }

    fn decided(&self) -> Number {
        self.store().map_or(Number(0), |store| store.decided())
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.store().map_or_else(|_cut| self.health.subscribe(), |store| store.health())
    }

    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome> {
        let Some(store) = self.spend("chunk") else { return Pending::ready(None) };
        let mut inner = self.inner.lock().unwrap();
        if !inner.in_between.is_empty() {
            let walked = store.occurrence(piece.occurrence).unwrap().unwrap().template;
            for (_, report) in inner.in_between.extract_if(.., |(template, _)| *template == walked) {
                drop(store.report(report));
            }
        }
        store.chunk(piece)
    }

    fn stop_occurrence(
        &self,
        occurrence: u64,
        state: OccurrenceState,
        reason: Option<String>,
    ) -> Pending<()> {
        let Some(store) = self.spend("stop_occurrence") else { return Pending::ready(None) };
        let stopped = store.stop_occurrence(occurrence, state, reason);
        if state == OccurrenceState::Held && self.inner.lock().unwrap().releases {
            drop(store.stop_occurrence(occurrence, OccurrenceState::Open, None));
        }
        stopped
    }

    fn remind(&self, reminders: Reminders) -> Pending<Reminded> {
        self.step(if reminders.reminders.is_empty() { "cursor" } else { "remind" });
        self.spend("remind").map_or_else(|| Pending::ready(None), |store| store.remind(reminders))
    }

    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable> {
        if self.inner.lock().unwrap().unreadable.as_ref() == Some(app) {
            return Err(Unavailable);
        }
        self.store()?.by_ref(app, reference)
    }

    fn newest_change(&self) -> Result<u64, Unavailable> {
        self.step("newest");
        self.store()?.newest_change()
    }

    fn appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Unavailable> {
        self.step("one");
        self.store()?.appointment(key)
    }

    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable> {
        let all = self.store()?.unfinished()?;
        self.n_looked.fetch_add(u64::try_from(all.len()).unwrap(), Ordering::Relaxed);
        Ok(all)
    }

    fn appointments(
        &self,
        of: (&AppId, &Kind),
        window: (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Unavailable> {
        self.step("by time");
        self.store()?.appointments(of, window, after, limit)
    }

    fn changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Unavailable> {
        self.step("by change");
        self.store()?.changes(app, kind, after, limit)
    }

    forward! {
        write report(report: Report) -> ReportOutcome;
        write put_recipient(app: AppId, openid: OpenId, profile: Profile, asked: Asked) -> Put;
        write identify(app: AppId, openid: OpenId, unionid: UnionId) -> ();
        write mute(app: AppId, openid: OpenId, muted: bool, asked: Asked) -> u64;
        write mark_recipient(app: AppId, openid: OpenId, bad_since: Option<DateTime<Utc>>) -> ();
        write grant(grant: OperatorGrant) -> Granted;
        write import(piece: ImportPiece) -> u64;
        write refuse(refusal: Refusal) -> Refused;
        write erase(app: AppId, openid: OpenId, asked: Asked) -> Erased;
        write open(opening: Opening) -> Opened;
        write open_by_hand(asked: ByHand) -> OpenedByHand;
        write repeat(id: DeliveryId, again: Again, now: DateTime<Utc>) -> Repeated;
        write change_appointment(change: AppointmentChange) -> Changed;
        write release(releases: Vec<Release>, now: DateTime<Utc>) -> Vec<Option<State>>;
        write mark(ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Vec<Option<Mark>>;
        write settle(settlements: Vec<Settlement>) -> Vec<State>;
        write close(ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Vec<bool>;
        write settle_doubt(id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> bool;
        write receipt(receipt: Receipt) -> ReceiptOutcome;
        write end_hold(now: DateTime<Utc>) -> HoldEnd;
        write presume(before: DateTime<Utc>, now: DateTime<Utc>) -> u64;
        ;
        upkeep start_rule(app: AppId, rule: RuleId, now: DateTime<Utc>) -> DateTime<Utc>;
        upkeep recover(now: DateTime<Utc>) -> u64;
        upkeep keep_snapshot(hash: [u8; 32], bytes: Vec<u8>) -> ();
        upkeep keep(name: &str, value: Vec<u8>) -> ();
        upkeep retire(now: DateTime<Utc>) -> u64;
        upkeep retire_appointments(before: DateTime<Utc>, now: DateTime<Utc>) -> u64;
        upkeep sweep(now: DateTime<Utc>) -> u64;
        upkeep audit() -> Audit;
        upkeep fsck() -> Fsck;
        upkeep dump(now: DateTime<Utc>) -> Option<Dump>;
        upkeep dump_on(dump: &Dump) -> Dumped;
        ;
        read hold() -> Option<Hold>;
        read kept(name: &str) -> Option<Vec<u8>>;
        read recipient(app: &AppId, openid: &OpenId) -> Option<Recipient>;
        read is_booked(app: &AppId, openid: &OpenId, id: &ReportId) -> bool;
        read erased_at(app: &AppId, openid: &OpenId) -> Option<DateTime<Utc>>;
        read person(unionid: &UnionId, after: Option<&(AppId, OpenId)>, limit: usize) -> Vec<(AppId, OpenId)>;
        read walk(app: &AppId, template: &TemplateId, after: Option<&OpenId>, limit: usize) -> Vec<Walked>;
        read walk_zone(
            of: (&AppId, Zone),
            template: &TemplateId,
            after: Option<&OpenId>,
            limit: usize
        ) -> Vec<Walked>;
        read zones(app: &AppId, now: DateTime<Utc>) -> Vec<Zone>;
        read account(app: &AppId, template: &TemplateId, openid: &OpenId) -> Option<AccountView>;
        read bare_account(app: &AppId, template: &TemplateId, openid: &OpenId) -> Option<Account>;
        read accounts(after: Option<&AccountKey>, limit: usize) -> Vec<(AccountKey, AccountView)>;
        read receipts(app: &AppId, template: &TemplateId, openid: &OpenId) -> Vec<KeptReceipt>;
        read cursor(app: &AppId, rule: &RuleId) -> Option<DateTime<Utc>>;
        read reminder_cursor(app: &AppId, rule: &RuleId) -> Option<Cursor>;
        read all_appointments(after: Option<&AppointmentKey>, limit: usize) -> Vec<(AppointmentKey, KeptAppointment)>;
        read appointments_of(app: &AppId, openid: &OpenId, after: Option<&(Kind, AppointmentId)>, limit: usize) -> Vec<(Kind, AppointmentId)>;
        read reminders(key: &AppointmentKey) -> Vec<u64>;
        read occurrence(number: u64) -> Option<Occurrence>;
        read newest_occurrence() -> Option<u64>;
        read occurrences(rule: Option<&RuleId>, after: Option<u64>, limit: usize) -> Vec<Occurrence>;
        read snapshot(hash: &[u8; 32]) -> Option<Vec<u8>>;
        read deliveries(occurrence: Option<u64>, after: Option<DeliveryId>, limit: usize) -> Vec<Delivery>;
        read delivery(id: DeliveryId) -> Option<Delivery>;
        read delivery_to(occurrence: u64, openid: &OpenId) -> Option<Delivery>;
        read wakes(after: Option<&Wake>, until: DateTime<Utc>, limit: usize) -> Vec<Wake>;
        read doubts(limit: usize) -> Vec<Delivery>;
        read imported(digest: &[u8; 32]) -> u64;
        read drift() -> Vec<Drift>;
        read figures() -> Figures;
    }
}
