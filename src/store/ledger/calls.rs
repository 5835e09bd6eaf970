//! The calls of the store as the ledger takes them: each handed to the writer, or read from the open tree.
//!
//! Only how many keys a call may touch and when it may end is said here; what it means is in the file of its records.

use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::state::OpenTree;
use super::writer::{Call, Writer};
use super::{
    Doing, Ends, Ledger, Takes, appointments, audit, by_hand, consents, deliveries, dump, erasure, fsck,
    holds, keys, occurrences, persons, receipts, releases, repeats, upkeep,
};
use crate::domain::consent::Account;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::drift::Drift;
use crate::domain::hold::Hold;
use crate::domain::id::{
    AppId, AppointmentId, DeliveryId, Kind, OpenId, Ref, ReportId, RuleId, TemplateId, UnionId,
};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::{MAX_MOVES, Profile, Recipient};
use crate::domain::zone::Zone;
use crate::store::{
    AccountKey, AccountView, Again, AppointmentChange, AppointmentKey, Asked, Audit, ByHand, Changed,
    Closing, Cursor, Delivery, DoubtWord, Dump, Dumped, Erased, Figures, Fsck, Granted, Health, HoldEnd,
    ImportPiece, KeptAppointment, KeptReceipt, Mark, Number, Occurrence, Opened, OpenedByHand, Opening,
    OperatorGrant, Pending, Piece, PieceOutcome, Progress, Put, Reads, Receipt, ReceiptOutcome, Refusal,
    Refused, Release, Reminded, Reminders, Repeated, Report, ReportOutcome, Settlement, Store, Unavailable,
    Wait, Wake, Walked, wait_durable,
};

impl Store for Ledger {
    fn wait(&self, number: Number) -> Wait {
        let before = self.shared.wanted.fetch_max(number.0, Ordering::AcqRel);
        match &self.doing {
            // A full queue has a writer at work, which looks at `wanted` when it has emptied it.
            Doing::Thread(calls, _) if before < number.0 => {
                let _busy = calls.try_send(Call::Wake);
            }
            Doing::Thread(..) => {}
            // An urgent call was wanted before it was waited for.
            Doing::Here(writer) if !number.is_within(self.durable()) => self.here(writer, Writer::sync),
            Doing::Here(_) => {}
        }
        Box::pin(wait_durable(self.progress.clone(), number))
    }

    fn decided(&self) -> Number {
        Number(self.shared.decided.load(Ordering::Acquire))
    }

    fn reads(&self) -> Reads {
        match self.doing {
            Doing::Thread(..) => Reads::Block,
            Doing::Here(_) => Reads::AtOnce,
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    fn report(&self, report: Report) -> Pending<ReportOutcome> {
        self.write(2 * report.answers.len() + 6 + MAX_MOVES, Takes::Room, Ends::Urgent, move |desk| {
            consents::report(desk, report)
        })
    }

    fn put_recipient(&self, app: AppId, openid: OpenId, profile: Profile, asked: Asked) -> Pending<Put> {
        self.write(7 + MAX_MOVES, Takes::Room, Ends::Urgent, move |desk| {
            consents::put_recipient(desk, &app, &openid, profile, asked)
        })
    }

    fn mark_recipient(&self, app: AppId, openid: OpenId, bad_since: Option<DateTime<Utc>>) -> Pending<()> {
        self.write(2, Takes::Nothing, Ends::Whenever, move |desk| {
            consents::mark_recipient(desk, &app, &openid, bad_since)
        })
    }

    fn identify(&self, app: AppId, openid: OpenId, unionid: UnionId) -> Pending<()> {
        self.write(3, Takes::Room, Ends::Whenever, move |desk| {
            persons::identify(desk, &app, &openid, unionid)
        })
    }

    fn mute(&self, app: AppId, openid: OpenId, muted: bool, asked: Asked) -> Pending<u64> {
        self.write(2, Takes::Room, Ends::Urgent, move |desk| {
            persons::mute_one(desk, &app, &openid, muted, &asked.reach)
        })
    }

    fn grant(&self, grant: OperatorGrant) -> Pending<Granted> {
        self.write(4, Takes::Room, Ends::Urgent, move |desk| consents::grant(desk, &grant))
    }

    fn import(&self, piece: ImportPiece) -> Pending<u64> {
        self.write((6 + MAX_MOVES) * piece.rows.len() + 1, Takes::Room, Ends::Urgent, move |desk| {
            consents::import(desk, piece)
        })
    }

    fn refuse(&self, refusal: Refusal) -> Pending<Refused> {
        self.write(4, Takes::Room, Ends::Urgent, move |desk| consents::refuse(desk, &refusal))
    }

    fn erase(&self, app: AppId, openid: OpenId, asked: Asked) -> Pending<Erased> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| erasure::erase(desk, &app, &openid, asked))
    }

    fn change_appointment(&self, change: AppointmentChange) -> Pending<Changed> {
        self.write(appointments::CHANGE_KEYS, Takes::Room, Ends::Urgent, move |desk| {
            appointments::put(desk, change)
        })
    }

    fn start_rule(&self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> Pending<DateTime<Utc>> {
        self.write(3, Takes::Room, Ends::Whenever, move |desk| {
            occurrences::start_rule(desk, &app, &rule, now)
        })
    }

    fn keep_snapshot(&self, hash: [u8; 32], bytes: Vec<u8>) -> Pending<()> {
        self.write(occurrences::PIECES_TOGETHER, Takes::Room, Ends::Whenever, move |desk| {
            occurrences::keep_snapshot(desk, &hash, &bytes)
        })
    }

    fn open(&self, opening: Opening) -> Pending<Opened> {
        let keys = 4 * opening.occurrences.len() + occurrences::PIECES_TOGETHER + 2;
        self.write(keys, Takes::Room, Ends::Whenever, move |desk| occurrences::open(desk, opening))
    }

    fn open_by_hand(&self, asked: ByHand) -> Pending<OpenedByHand> {
        let keys = by_hand::KEYS + occurrences::PIECES_TOGETHER;
        self.write(keys, Takes::Room, Ends::Urgent, move |desk| by_hand::open(desk, asked))
    }

    fn remind(&self, reminders: Reminders) -> Pending<Reminded> {
        let keys = 3 * reminders.reminders.len() + occurrences::PIECES_TOGETHER + 3;
        self.write(keys, Takes::Room, Ends::Whenever, move |desk| appointments::remind(desk, &reminders))
    }

    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome> {
        self.write(piece.members.len() + 9, Takes::Room, Ends::Whenever, move |desk| {
            occurrences::piece(desk, piece)
        })
    }

    fn stop_occurrence(
        &self,
        occurrence: u64,
        state: OccurrenceState,
        reason: Option<String>,
    ) -> Pending<()> {
        self.write(2, Takes::Nothing, Ends::Whenever, move |desk| {
            occurrences::stop(desk, occurrence, state, reason)
        })
    }

    fn release(&self, releases: Vec<Release>, now: DateTime<Utc>) -> Pending<Vec<Option<DeliveryState>>> {
        self.write(0, Takes::Room, Ends::Whenever, move |desk| releases::release(desk, &releases, now))
    }

    fn mark(&self, ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Pending<Vec<Option<Mark>>> {
        self.write(0, Takes::Room, Ends::Urgent, move |desk| deliveries::mark(desk, &ids, now))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Pending<Vec<DeliveryState>> {
        let (answer, pending) = Pending::channel();
        self.call(Call::Settle(settlements, answer));
        pending
    }

    fn close(&self, ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Pending<Vec<bool>> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| deliveries::close(desk, &ids, closing, now))
    }

    fn recover(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| deliveries::recover(desk, now))
    }

    fn settle_doubt(&self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> Pending<bool> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| deliveries::settle_doubt(desk, id, word, now))
    }

    fn receipt(&self, receipt: Receipt) -> Pending<ReceiptOutcome> {
        self.write(0, Takes::Room, Ends::Urgent, move |desk| receipts::receipt(desk, &receipt))
    }

    fn repeat(&self, id: DeliveryId, again: Again, now: DateTime<Utc>) -> Pending<Repeated> {
        self.write(repeats::KEYS, Takes::Room, Ends::Whenever, move |desk| {
            repeats::open(desk, id, again, now)
        })
    }

    fn presume(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| deliveries::presume(desk, before, now))
    }

    fn end_hold(&self, now: DateTime<Utc>) -> Pending<HoldEnd> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| holds::end(desk, now))
    }

    fn keep(&self, name: &str, value: Vec<u8>) -> Pending<()> {
        let key = keys::kept(name);
        self.write(1, Takes::Nothing, Ends::Urgent, move |desk| {
            desk.state.put(key, value);
            Ok(())
        })
    }

    fn retire(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| upkeep::retire(desk, now))
    }

    fn retire_appointments(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| appointments::retire(desk, before, now))
    }

    fn sweep(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| erasure::sweep(desk, now))
    }

    fn audit(&self) -> Pending<Audit> {
        self.write(0, Takes::Nothing, Ends::Whenever, audit::audit)
    }

    fn fsck(&self) -> Pending<Fsck> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| {
            desk.barrier()?;
            fsck::run(&desk.state.opened)
        })
    }

    fn dump(&self, now: DateTime<Utc>) -> Pending<Option<Dump>> {
        self.write(0, Takes::Nothing, Ends::Urgent, move |desk| dump::begin(desk, now))
    }

    fn dump_on(&self, dump: &Dump) -> Pending<Dumped> {
        let dump = dump.clone();
        self.write(0, Takes::Nothing, Ends::Whenever, move |desk| dump::go_on(desk, &dump))
    }

    fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(|books| books.read_kept(name))
    }

    fn hold(&self) -> Result<Option<Hold>, Unavailable> {
        let kept = self.read(|books| books.read_kept(holds::HOLD))?;
        Ok(kept.map(|bytes| holds::decode(&bytes)))
    }

    fn recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Unavailable> {
        self.read(|books| books.read_recipient(app, openid))
    }

    fn is_booked(&self, app: &AppId, openid: &OpenId, id: &ReportId) -> Result<bool, Unavailable> {
        self.read(|books| books.read_is_booked(app, openid, id))
    }

    fn erased_at(&self, app: &AppId, openid: &OpenId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        self.read(|books| books.read_erased_at(app, openid))
    }

    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable> {
        self.read(|books| books.read_ref(app, reference))
    }

    fn person(
        &self,
        unionid: &UnionId,
        after: Option<&(AppId, OpenId)>,
        limit: usize,
    ) -> Result<Vec<(AppId, OpenId)>, Unavailable> {
        self.read(|books| books.read_person(unionid, after, limit))
    }

    fn walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        self.read(|books| books.read_walk(app, template, after, limit))
    }

    fn walk_zone(
        &self,
        (app, zone): (&AppId, Zone),
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        self.read(|books| books.read_walk_zone((app, zone), template, after, limit))
    }

    fn zones(&self, app: &AppId, now: DateTime<Utc>) -> Result<Vec<Zone>, Unavailable> {
        self.read(|books| books.read_zones(app, now))
    }

    fn account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Unavailable> {
        self.read(|books| books.read_account(app, template, openid))
    }

    fn bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Unavailable> {
        self.read(|books| books.read_bare_account(app, template, openid))
    }

    fn accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Unavailable> {
        self.read(|books| books.read_accounts(after, limit))
    }

    fn receipts(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Vec<KeptReceipt>, Unavailable> {
        self.read(|books| books.read_receipts(app, template, openid))
    }

    fn cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        self.read(|books| books.read_cursor(app, rule))
    }

    fn reminder_cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<Cursor>, Unavailable> {
        self.read(|books| {
            // The number first: a step between the two reads is seen as one that has not begun.
            let change = books.read_change_cursor(app, rule)?;
            Ok(books.read_cursor(app, rule)?.map(|at| Cursor { at, change }))
        })
    }

    fn appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Unavailable> {
        self.read(|books| books.read_appointment(key))
    }

    fn appointments(
        &self,
        of: (&AppId, &Kind),
        window: (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Unavailable> {
        self.read(|books| books.read_appointments(of, window, after, limit))
    }

    fn all_appointments(
        &self,
        after: Option<&AppointmentKey>,
        limit: usize,
    ) -> Result<Vec<(AppointmentKey, KeptAppointment)>, Unavailable> {
        self.read(|books| books.read_all_appointments(after, limit))
    }

    fn appointments_of(
        &self,
        app: &AppId,
        openid: &OpenId,
        after: Option<&(Kind, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(Kind, AppointmentId)>, Unavailable> {
        self.read(|books| books.read_appointments_of(app, openid, after, limit))
    }

    fn newest_change(&self) -> Result<u64, Unavailable> {
        self.read(OpenTree::read_newest_change)
    }

    fn changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Unavailable> {
        self.read(|books| books.read_changes(app, kind, after, limit))
    }

    fn reminders(&self, key: &AppointmentKey) -> Result<Vec<u64>, Unavailable> {
        self.read(|books| books.read_reminders(key))
    }

    fn occurrence(&self, number: u64) -> Result<Option<Occurrence>, Unavailable> {
        self.read(|books| books.read_occurrence(number)).map(|read| read.map(|(occurrence, _)| occurrence))
    }

    fn newest_occurrence(&self) -> Result<Option<u64>, Unavailable> {
        self.read(OpenTree::read_newest)
    }

    fn occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(|books| books.read_occurrences(rule, after, limit))
    }

    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable> {
        self.read(OpenTree::read_unfinished)
    }

    fn snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Unavailable> {
        self.read(|books| books.read_snapshot(hash))
    }

    fn deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Unavailable> {
        self.read(|books| books.read_deliveries(occurrence, after, limit))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Unavailable> {
        self.read(|books| books.read_delivery(id))
    }

    fn delivery_to(&self, occurrence: u64, openid: &OpenId) -> Result<Option<Delivery>, Unavailable> {
        self.read(|books| books.read_delivery_to(occurrence, openid))
    }

    fn wakes(
        &self,
        after: Option<&Wake>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Wake>, Unavailable> {
        self.read(|books| books.read_wakes(after, until, limit))
    }

    fn doubts(&self, limit: usize) -> Result<Vec<Delivery>, Unavailable> {
        self.read(|books| books.read_doubts(limit))
    }

    fn imported(&self, digest: &[u8; 32]) -> Result<u64, Unavailable> {
        self.read(|books| books.read_imported(digest))
    }

    fn drift(&self) -> Result<Vec<Drift>, Unavailable> {
        self.read(OpenTree::read_drift)
    }

    fn figures(&self) -> Result<Figures, Unavailable> {
        self.read(|books| books.read_figures(&self.shared))
    }
}
