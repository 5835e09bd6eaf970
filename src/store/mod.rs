//! The store: a trait of coarse domain operations, and the engines that keep its promises.
//!
//! A write has two ends. It is *decided* when its [`Pending`] resolves: its result is known, its place
//! among all writes is fixed, and every later read sees it. It is *durable* when [`Store::wait`] has
//! seen its [`Number`]: from then on no crash and no power cut takes it back. Decided writes become
//! durable in order, so after a crash a prefix of them is there; every prefix is a legal state.
//!
//! No code outside an engine's folder knows a key or a stored shape, and this floor knows nothing of
//! rules files or of the platform: snapshots are opaque bytes here.
//!
//! One file a little over its length: it is the one trait with its promises; the shapes it speaks in are beside it.

use std::fmt;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::domain::consent::Account;
use crate::domain::drift::Drift;
use crate::domain::hold::Hold;
use crate::domain::id::{
    AppId, AppointmentId, DeliveryId, Kind, OpenId, Ref, ReportId, RuleId, TemplateId, UnionId,
};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::{Profile, Recipient};
use crate::domain::zone::Zone;

mod appointments;
mod audit;
mod by_hand;
#[cfg(test)]
mod conformance;
mod dump;
mod events;
mod hold;
pub mod ledger;
#[cfg(test)]
mod model;
mod promise;
mod repeats;
mod shapes;
pub mod sled;

pub use appointments::*;
pub use audit::*;
pub use by_hand::*;
pub use dump::*;
pub use events::*;
pub use hold::*;
pub use promise::*;
pub use repeats::*;
pub use shapes::*;

/// Most deliveries of one chunk.
pub const CHUNK_DELIVERIES: usize = 64;
/// Most bytes of one chunk when it is made, by [`slot_bytes`].
pub const CHUNK_BYTES: usize = 3968;
/// Largest key and value together, in bytes; larger ones would leave the synced file.
pub const MAX_ENTRY_BYTES: usize = 4096;
/// Largest recipient record, in bytes.
pub const MAX_RECIPIENT_BYTES: usize = 3072;
/// Most occurrences in one [`Opening`].
pub const MAX_OPENED: usize = 24;
/// Most rows in one [`ImportPiece`].
pub const MAX_IMPORT_ROWS: usize = 24;
/// How many recipients of one person are erased in one batch.
pub const ERASED_TOGETHER: usize = 8;
/// How long the id of a report is kept, in days.
pub const REPORT_DAYS: i64 = 180;

/// What a delivery to `openid` may come to occupy in its chunk, in bytes.
#[must_use]
pub fn slot_bytes(openid: &OpenId) -> usize {
    openid.as_str().len() + 48
}

/// What every engine promises.
///
/// Writes take effect in the order of the calls. A call never blocks; when an engine cannot queue it,
/// the [`Pending`] answers [`Unavailable`]. Reads are blocking calls of microseconds (one record) up
/// to milliseconds (a page); they see every decided write, durable or not: who answers or acts on a
/// read takes [`Store::decided`] after it and waits for that number.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Asks for `number` to become durable soon, and waits for it.
    fn wait(&self, number: Number) -> Wait;

    /// Number of the newest decided write.
    fn decided(&self) -> Number;

    /// How often the engine failed since it was opened first.
    fn n_failures(&self) -> u64 {
        let failing = matches!(&*self.health().borrow(), Health::Failed { .. });
        self.decided().life() + u64::from(failing)
    }

    /// Whether reads may hold up their thread.
    fn reads(&self) -> Reads {
        Reads::Block
    }

    /// How far writes are durable, for those who watch the engine.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Whether the engine works.
    fn health(&self) -> watch::Receiver<Health>;

    // --- consents -------------------------------------------------------------------------------

    /// Books a report: its id, the recipient it speaks of, and a grant for each acceptance; all or nothing.
    ///
    /// The same id of the same openid again changes nothing: [`ReportOutcome::Duplicate`] when the
    /// content is the same, else [`ReportOutcome::Conflict`]. Its number is then at least that of the first copy.
    fn report(&self, report: Report) -> Pending<ReportOutcome>;

    /// Replaces a recipient's profile; an unknown openid becomes a recipient.
    ///
    /// A unionid that is left out stays: who somebody is over all apps is no setting. Where the request reaches further
    /// than its app, the person's other recipients there are muted, or not, as this one; nothing else of theirs
    /// changes.
    ///
    /// The request that asks is remembered [`REQUEST_MINUTES`] in the same batch, so that it cannot be played again; all that
    /// it reaches in other apps is in that batch too.
    fn put_recipient(&self, app: AppId, openid: OpenId, profile: Profile, asked: Asked) -> Pending<Put>;

    /// Notes since when the platform takes no messages for an openid, or with `None` that something new was heard of the
    /// person. The first mark stays; of somebody who is no recipient nothing is noted. His reports and
    /// [`Store::put_recipient`] end it too.
    fn mark_recipient(&self, app: AppId, openid: OpenId, bad_since: Option<DateTime<Utc>>) -> Pending<()>;

    /// Notes which person a recipient is over all apps. Of somebody who is no recipient nothing is noted, nor where the
    /// record would become too large.
    fn identify(&self, app: AppId, openid: OpenId, unionid: UnionId) -> Pending<()>;

    /// Mutes a recipient, or lets him be heard again, and nothing else; also the person's others that the request reaches.
    /// Answers how many are so then; 0 where he is no recipient, and then nothing is written.
    fn mute(&self, app: AppId, openid: OpenId, muted: bool, asked: Asked) -> Pending<u64>;

    /// Books grants by an operator's word.
    fn grant(&self, grant: OperatorGrant) -> Pending<Granted>;

    /// Books rows of an import and how far it came, in one batch.
    ///
    /// `piece.first` must be [`Store::imported`] of the digest; a piece that is not next changes nothing
    /// and answers how far the import is.
    fn import(&self, piece: ImportPiece) -> Pending<u64>;

    /// Books a refusal in the settings: voids what was accepted until the end of its second.
    ///
    /// Free grants are voided and a standing acceptance ended in the same batch; a grant that was given out is dead
    /// from now on ([`Account::is_dead`]), and voided when its delivery is next looked at. An account that is not there
    /// is made, so that an older report which comes later grants nothing. The same event again, or an older one,
    /// changes nothing.
    fn refuse(&self, refusal: Refusal) -> Pending<Refused>;

    /// Takes a person out of the books of an app.
    ///
    /// On return no read finds him: the recipient, his accounts, his kept receipts are gone, in one durable prefix
    /// that a start goes on with. His accounts' totals are carried into those of [`OpenId::erased`], one per
    /// template, so that P4 holds on: what was free or comes back is voided. His open deliveries are cancelled (a
    /// −1 among them, and what is in doubt, count as presumed sent), and one that is attempting settles as it
    /// ends, but is not tried again. Every occurrence still adds up.
    ///
    /// A keyed hash with the time is kept [`ERASED_DAYS`]: reports, refusals and receipts from before then are
    /// answered as erased and stored nowhere; later ones are those of a new recipient. What is left with his openid
    /// (deliveries without a grant, ids of reports) is overwritten by [`Store::sweep`]. Erasing again changes nothing but
    /// that time. The request that asks is remembered as that of [`Store::put_recipient`] is.
    ///
    /// Where the request reaches further than its app, the person's other recipients there are erased too, as many as
    /// [`ERASED_TOGETHER`] in one batch. The first names all of them and remembers the request, so whatever cuts it off, a
    /// start goes on before anything else is decided, and the request asked again finds all done. Whom it took is answered.
    fn erase(&self, app: AppId, openid: OpenId, asked: Asked) -> Pending<Erased>;

    // --- appointments ---------------------------------------------------------------------------

    /// Replaces an appointment, or deletes it; its unknown openids become recipients.
    ///
    /// A change gets a number that is larger than those of all changes before, also across starts. What is so already
    /// gets none, and nothing of it is written. In either case the request is remembered [`REQUEST_MINUTES`] in
    /// the same batch, so that it cannot be played again.
    ///
    /// What the change makes void ends with it: occurrences about another time of this appointment, and deliveries to
    /// those it belongs to no more, but for what is attempting. Whoever is about to send asks the appointment
    /// itself ([`KeptAppointment::is_for`]); [`Store::chunk`] and [`Store::mark`] do.
    fn change_appointment(&self, change: AppointmentChange) -> Pending<Changed>;

    // --- rules and occurrences ------------------------------------------------------------------

    /// Starts the cursor of a rule at `now` when it has none; answers the cursor.
    fn start_rule(&self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> Pending<DateTime<Utc>>;

    /// Keeps a rule as it is now, once per hash.
    ///
    /// Openings store it where it is missing; who calls this before takes its bytes out of the second in which much is
    /// due.
    fn keep_snapshot(&self, hash: [u8; 32], bytes: Vec<u8>) -> Pending<()>;

    /// Opens occurrences and moves their rule's cursor, in one batch.
    ///
    /// Nothing happens when the cursor is not `from` any more. An occurrence whose identity is known is not opened again.
    fn open(&self, opening: Opening) -> Pending<Opened>;

    /// Opens reminders of appointments and moves their rule's cursor, in one batch.
    ///
    /// Nothing happens when the cursor is not `from` any more. A reminder opens only while its appointment has the
    /// number that was read, and only when it is for somebody who has no attempt under the same name (rule, kind,
    /// id, the appointment's time); it is for those who belong to the appointment since after the newest occurrence of
    /// that name, and, as [`Late`] says, since before its due time.
    fn remind(&self, reminders: Reminders) -> Pending<Reminded>;

    /// Opens one message that an operator sends, with its grant, in one batch: an occurrence of its own, whose audience is
    /// one person and walked. [`OpenedByHand`] says when nothing is written.
    fn open_by_hand(&self, asked: ByHand) -> Pending<OpenedByHand>;

    /// Books one piece of a fan-out: chunk record, grants, position and counts, in one batch.
    ///
    /// Nothing happens when the occurrence is not open or its position is not `after` any more. Who is no recipient
    /// any more gets no record. The position is forgotten when the walk ends.
    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome>;

    /// Ends the walk of an open occurrence and gives it `state`; deliveries are not touched.
    ///
    /// An occurrence with state [`OccurrenceState::Cancelled`] stays in the books until its open deliveries are closed.
    fn stop_occurrence(&self, occurrence: u64, state: OccurrenceState, reason: Option<String>)
    -> Pending<()>;

    // --- deliveries -----------------------------------------------------------------------------

    /// Lets held deliveries go whose send time has come; each in one batch with the grant that it takes.
    ///
    /// One answer per delivery, in order: the state it is in then, [`State::Reserved`] where it may be sent. `None`
    /// for one that is not held, whose send time has not come, or whose occurrence is stopped until a person
    /// releases it: nothing was changed. One whose occurrence or appointment was cancelled is cancelled.
    ///
    /// [`State::Reserved`]: crate::domain::delivery::State::Reserved
    fn release(
        &self,
        releases: Vec<Release>,
        now: DateTime<Utc>,
    ) -> Pending<Vec<Option<crate::domain::delivery::State>>>;

    /// Marks deliveries as attempting. A request may start when the mark is durable, and not before.
    ///
    /// One answer per id, in order; `None` for a delivery that is neither reserved nor waiting, and for one that is cancelled
    /// by this: its appointment calls for it no more, or what it repeats has arrived.
    fn mark(&self, ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Pending<Vec<Option<Mark>>>;

    /// Ends attempts. A mark is given back by value, so an attempt ends once.
    ///
    /// Never refused: while the engine has failed they are kept in memory, and booked before anything else
    /// when it works again. What became of the mark's own write in the failure does not matter then.
    ///
    /// One answer per settlement, in order: the state the delivery is in then.
    fn settle(&self, settlements: Vec<Settlement>) -> Pending<Vec<crate::domain::delivery::State>>;

    /// Ends deliveries that are held, reserved or waiting; one answer per id: whether it was.
    fn close(&self, ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Pending<Vec<bool>>;

    /// Makes everything that is attempting in doubt; answers how many. For the start, before any mark.
    ///
    /// Kept receipts are tried again then.
    fn recover(&self, now: DateTime<Utc>) -> Pending<u64>;

    /// Settles a delivery in doubt by an operator's word; `false` when it is not in doubt.
    fn settle_doubt(&self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> Pending<bool>;

    /// Joins a receipt to its delivery among those of its (app, openid, template), or keeps it.
    ///
    /// In this order: the delivery with that msgid; while any is attempting, the receipt is kept and tried again
    /// whenever one stops attempting, also at [`Store::recover`]; of those whose first attempt began before
    /// `created_at` + [`RECEIPT_SLACK`], the oldest sent one without msgid, else the oldest in doubt or waiting after
    /// −1, else the oldest presumed sent; else it is kept [`RECEIPT_DAYS`] as evidence, at most [`MAX_RECEIPTS`] per
    /// account. A join writes its msgid into the delivery, so the same receipt again changes nothing. One without msgid
    /// has a number in its place ([`crate::domain::message::stand_in`]), and is of no delivery that began after it came. No
    /// receipt clears a suspicion, and none gives a grant back.
    ///
    /// Deliveries are found through their account: those that an account's count has folded are out of reach, and
    /// so are, under a standing acceptance, all but the newest that the account names.
    fn receipt(&self, receipt: Receipt) -> Pending<ReceiptOutcome>;

    /// Opens the repetition of a delivery in doubt that shall be repeated ([`Delivery::next_at`] says when), with its grant
    /// and in one batch: an occurrence of its own, with the name, the rule and the deadline of the one it repeats, whose
    /// audience is one person and walked. Or notes that there is none, or a later time.
    ///
    /// What is in doubt since an attempt had no definite answer shall be repeated where its occurrence says so, at most until
    /// [`MAX_MESSAGES`] were sent to its person; what an operator, a receipt or age settles is not, nor what
    /// [`Store::end_hold`] finds. A repetition whose original has arrived is cancelled by [`Store::mark`].
    ///
    /// [`MAX_MESSAGES`]: crate::plan::repeat::MAX_MESSAGES
    fn repeat(&self, id: DeliveryId, again: Again, now: DateTime<Utc>) -> Pending<Repeated>;

    /// Books deliveries that are in doubt since before `before` as presumed sent, a bounded piece; answers how many.
    /// 0 means done.
    ///
    /// Their grants stay with them, consumed. The oldest doubts go first.
    fn presume(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64>;

    /// Ends the hold on everything: what is reserved, waiting or attempting, and what was held until now, becomes in doubt
    /// with its grant, and each rule's cursor is at `now` and at the newest change. In as many batches as it takes; the
    /// hold goes with the last of them.
    ///
    /// A held delivery for which there is no grant is skipped. The audience of every unfinished occurrence must be
    /// walked to its end, with [`Want::Doubt`].
    fn end_hold(&self, now: DateTime<Utc>) -> Pending<HoldEnd>;

    // --- upkeep ---------------------------------------------------------------------------------

    /// Keeps a small named value; name and value are less than a record may have, [`MAX_ENTRY_BYTES`].
    fn keep(&self, name: &str, value: Vec<u8>) -> Pending<()>;

    /// Removes what is older than its time, a bounded piece; answers how many records. 0 means done.
    fn retire(&self, now: DateTime<Utc>) -> Pending<u64>;

    /// Removes appointments whose time was before `before`, deleted ones too, and requests that need not be remembered
    /// any more; a bounded piece. Answers how many records; 0 means done.
    ///
    /// Numbers of changes are never given again.
    fn retire_appointments(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64>;

    /// Overwrites what is left of the erased, a bounded piece; answers how many records it looked at. 0 means that
    /// nothing can be done now: while a walk stands at an erased person, its position names him until it goes on.
    fn sweep(&self, now: DateTime<Utc>) -> Pending<u64>;

    /// Proves a sample of the books by counting, going on where the last call stopped; a bounded piece.
    fn audit(&self) -> Pending<Audit>;

    /// Proves the books by counting records, at a barrier between writes.
    fn fsck(&self) -> Pending<Fsck>;

    /// Begins a dump of everything as it is now; `None` while another one is under way.
    ///
    /// It is read by [`Store::dump_on`], and over when it is dropped.
    fn dump(&self, now: DateTime<Utc>) -> Pending<Option<Dump>>;

    /// The next lines of a dump, of the moment at which it began: the first names it, the last has the digest of all
    /// before it, and none are left after that.
    ///
    /// Given up, it is over.
    fn dump_on(&self, dump: &Dump) -> Pending<Dumped>;

    // --- reads ----------------------------------------------------------------------------------

    /// A kept value.
    ///
    /// # Errors
    /// [`Unavailable`] when the engine failed, here and in every read below.
    fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// The hold on everything. While there is one nothing is marked, and no delivery ends by its deadline or by a change of
    /// its appointment: what is open may have been sent since these books were written.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn hold(&self) -> Result<Option<Hold>, Unavailable>;

    /// One recipient.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Unavailable>;

    /// Whether a report of the person with this id was booked, and is remembered.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn is_booked(&self, app: &AppId, openid: &OpenId, id: &ReportId) -> Result<bool, Unavailable>;

    /// When the person was erased, if that was in the last [`ERASED_DAYS`]: what is from before then is void.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn erased_at(&self, app: &AppId, openid: &OpenId) -> Result<Option<DateTime<Utc>>, Unavailable>;

    /// The recipient with this `ref`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable>;

    /// Recipients of all apps that are the person with this unionid: those after `after`, in a fixed order.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn person(
        &self,
        unionid: &UnionId,
        after: Option<&(AppId, OpenId)>,
        limit: usize,
    ) -> Result<Vec<(AppId, OpenId)>, Unavailable>;

    /// Recipients of `app` after `after` in openid order, each with a hint of his account for `template`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable>;

    /// As [`Store::walk`], of those recipients whose time zone is `of.1`, or was within [`MOVE_COUNTS`] before their
    /// last change.
    ///
    /// # Errors
    /// [`Unavailable`].
    ///
    /// [`MOVE_COUNTS`]: crate::domain::recipient::MOVE_COUNTS
    fn walk_zone(
        &self,
        of: (&AppId, Zone),
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable>;

    /// Time zones that recipients of `app` have, or had within [`MOVE_COUNTS`] before `now`, in the order of their names.
    ///
    /// # Errors
    /// [`Unavailable`].
    ///
    /// [`MOVE_COUNTS`]: crate::domain::recipient::MOVE_COUNTS
    fn zones(&self, app: &AppId, now: DateTime<Utc>) -> Result<Vec<Zone>, Unavailable>;

    /// One account with its counts; `None` when nothing was ever booked.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Unavailable>;

    /// One account as it is, without resolving what was given out: for the check right before a request.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Unavailable>;

    /// Accounts in key order after `after`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Unavailable>;

    /// Receipts kept of an account, oldest event first.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn receipts(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Vec<KeptReceipt>, Unavailable>;

    /// The cursor of a rule.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Unavailable>;

    /// The cursor of a rule that reminds of appointments; where it reads changes is where they were when it was
    /// started.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn reminder_cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<Cursor>, Unavailable>;

    /// One appointment; also a deleted one, for as long as it is kept.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Unavailable>;

    /// Appointments of a kind that stand, at a time in the half-open window (from, until], by time and then by id;
    /// those after `after`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn appointments(
        &self,
        of: (&AppId, &Kind),
        window: (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Unavailable>;

    /// Appointments after `after`, deleted ones too, by app and kind.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn all_appointments(
        &self,
        after: Option<&AppointmentKey>,
        limit: usize,
    ) -> Result<Vec<(AppointmentKey, KeptAppointment)>, Unavailable>;

    /// Appointments that belong to somebody: those after `after`, in a fixed order. Ended ones too, for as long as they are kept.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn appointments_of(
        &self,
        app: &AppId,
        openid: &OpenId,
        after: Option<&(Kind, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(Kind, AppointmentId)>, Unavailable>;

    /// The number of the newest change of any appointment. A read that is made after this one sees all changes up to it.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn newest_change(&self) -> Result<u64, Unavailable>;

    /// Appointments of a kind whose newest change has a number after `after`, deleted ones too, in the order of these.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Unavailable>;

    /// The newest occurrences about an appointment, one for each rule and each time it had; ascending.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn reminders(&self, key: &AppointmentKey) -> Result<Vec<u64>, Unavailable>;

    /// One occurrence.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn occurrence(&self, number: u64) -> Result<Option<Occurrence>, Unavailable>;

    /// Number of the newest occurrence.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn newest_occurrence(&self) -> Result<Option<u64>, Unavailable>;

    /// Occurrences after the number `after`, in the order they were opened; `rule` chooses one rule's.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Unavailable>;

    /// Occurrences with work left: open ones, and stopped ones with open deliveries.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable>;

    /// The rule as it was when the occurrence opened, by its hash.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Deliveries after `after` in id order, at most `limit` chunks; `occurrence` chooses one occurrence's.
    /// An empty answer is the end.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Unavailable>;

    /// One delivery.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Unavailable>;

    /// What an occurrence has for somebody, where its walk passed people in their order.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn delivery_to(&self, occurrence: u64, openid: &OpenId) -> Result<Option<Delivery>, Unavailable>;

    /// Chunks with deliveries that are held, wait, or shall be repeated, whose next instant is not after `until`: those
    /// after `after`, in order.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn wakes(
        &self,
        after: Option<&Wake>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Wake>, Unavailable>;

    /// Deliveries in doubt, the longest first, at most `limit` chunks' worth.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn doubts(&self, limit: usize) -> Result<Vec<Delivery>, Unavailable>;

    /// How many rows of the import with this digest are booked.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn imported(&self, digest: &[u8; 32]) -> Result<u64, Unavailable>;

    /// Where the platform's answers differed from these books, by app, template and evidence in a fixed order; only what
    /// was seen at least once. Counted in the batch of the settlement, so no crash takes it back.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn drift(&self) -> Result<Vec<Drift>, Unavailable>;

    /// Figures for `status`.
    ///
    /// # Errors
    /// [`Unavailable`].
    fn figures(&self) -> Result<Figures, Unavailable>;
}
