//! What goes into the store's operations and what comes out: plain values in the words of the domain.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::domain::appointment::About;
use crate::domain::consent::{Account, Grant, Manner, NotGranted, Source};
use crate::domain::delivery::{Past, State};
use crate::domain::id::{AppId, DeliveryId, FieldName, OpenId, ReportId, RuleId, Tag, TemplateId, UnionId};
use crate::domain::message::is_msgid;
use crate::domain::occurrence::{Counts, Due, OccurrenceState, Repetition, SkipReason, Whose};
use crate::domain::recipient::{FieldValue, Profile, Recipient};
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;

/// A report, checked in shape, with everything it books.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose mini program.
    pub app: AppId,
    /// Whom it speaks of; an unknown one becomes a recipient.
    pub openid: OpenId,
    /// Its client-made id.
    pub id: ReportId,
    /// Hash of its content without the age: what "the same report" means.
    pub content: [u8; 32],
    /// When it came.
    pub now: DateTime<Utc>,
    /// When the person answered: what is from before an erasure brings nobody back.
    pub tapped_at: DateTime<Utc>,
    /// What it adds to the recipient.
    pub adds: Additions,
    /// What the person answered, template by template.
    pub answers: Vec<Answer>,
}

/// What a report adds to its recipient: fields merge, tags add.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// The person over all apps.
    pub unionid: Option<UnionId>,
    /// Tags to add.
    pub tags: Vec<Tag>,
    /// Fields to set.
    pub fields: BTreeMap<FieldName, FieldValue>,
    /// The person's zone.
    pub time_zone: Option<Zone>,
}

/// One template's answer within a report.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which template.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// What the person chose.
    pub choice: Choice,
    /// How he accepted.
    pub manner: Manner,
}

/// What the person chose.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// Accepted.
    Accept(Grant),
    /// Rejected at this time: keeps a one-time balance, ends a standing acceptance.
    Reject(DateTime<Utc>),
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Booked; these acceptances granted nothing, and why.
    Booked(Vec<(TemplateId, NotGranted)>),
    /// Seen before, with the same content: nothing was changed.
    Duplicate,
    /// Seen before with another content: nothing was changed.
    Conflict,
    /// The recipient would become too large: nothing was changed.
    TooLarge,
    /// It is from before its person was erased: nothing was changed.
    Erased,
}

/// What became of a changed recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Stored; whether it was new.
    Stored {
        /// It was unknown before.
        created: bool,
    },
    /// Larger than a record may be: nothing was changed.
    TooLarge,
    /// Its `ref` belongs to somebody else: nothing was changed.
    RefTaken,
    /// The request was seen before: nothing was changed.
    Replayed,
}

/// By what a change of a person is asked for, and how far it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: DateTime<Utc>,
    /// Hash of the id of the signed request that asks; the same one again is refused. `None` for a caller without one.
    pub request: Option<[u8; 16]>,
    /// In which of the person's apps.
    pub reach: Reach,
}

impl From<DateTime<Utc>> for Asked {
    fn from(at: DateTime<Utc>) -> Self {
        Self { at, request: None, reach: Reach::This }
    }
}

/// Most recipients that are taken for one person: a unionid that more have is a mistake of whoever set it, and joins nobody.
pub const MAX_OF_ONE: usize = 64;

/// In which of the apps that one person uses something takes hold; the person is who has the same unionid there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// In the app that is named.
    #[default]
    This,
    /// Also in these.
    Apps(BTreeSet<AppId>),
    /// In all apps, also those that are configured no more.
    Everywhere,
    /// In all apps, for who has this unionid there, whatever the named recipient's record says.
    Proved(UnionId),
}

impl Reach {
    /// Whether it goes to another app than the one that is named.
    #[must_use]
    pub fn is_in(&self, app: &AppId) -> bool {
        match self {
            Self::This => false,
            Self::Apps(apps) => apps.contains(app),
            Self::Everywhere | Self::Proved(_) => true,
        }
    }

    /// By which unionid the others are found, of a recipient whose record says `recorded`.
    #[must_use]
    pub fn unionid<'a>(&'a self, recorded: Option<&'a UnionId>) -> Option<&'a UnionId> {
        match self {
            Self::This => None,
            Self::Apps(_) | Self::Everywhere => recorded,
            Self::Proved(unionid) => Some(unionid),
        }
    }
}

/// Grants by an operator's word.
#[derive(Clone, Debug)]
pub struct OperatorGrant {
    /// Whose mini program.
    pub app: AppId,
    /// Whom they are for; an unknown one becomes a recipient.
    pub openid: OpenId,
    /// Which template.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// How many.
    pub n: u32,
    /// [`Source::Operator`] or [`Source::Import`].
    pub source: Source,
    /// When they count as accepted.
    pub now: DateTime<Utc>,
}

/// How many grants were booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Booked.
    pub n: u32,
    /// Why the rest was not.
    pub rest: Option<NotGranted>,
}

/// A bounded run of rows of an import.
#[derive(Clone, Debug)]
pub struct ImportPiece {
    /// Digest of the whole file and of what it is imported as.
    pub digest: [u8; 32],
    /// Index of the first row here.
    pub first: u64,
    /// At most [`super::MAX_IMPORT_ROWS`].
    pub rows: Vec<ImportRow>,
    /// When.
    pub now: DateTime<Utc>,
}

/// One row of an import.
#[derive(Clone, Debug)]
pub enum ImportRow {
    /// Consents of one recipient.
    Grant(OperatorGrant),
    /// A recipient's profile.
    Recipient(AppId, OpenId, Box<Profile>),
}

/// Occurrences to open, with the step of the cursor that passes over them.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Whose rule.
    pub app: AppId,
    /// Which rule.
    pub rule: RuleId,
    /// Its template: accounts of it pay.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// Where the cursor must be.
    pub from: DateTime<Utc>,
    /// Where it goes.
    pub to: DateTime<Utc>,
    /// At most [`super::MAX_OPENED`].
    pub occurrences: Vec<NewOccurrence>,
    /// Hash of the snapshot.
    pub snapshot: [u8; 32],
    /// The rule as it is now; opaque. Stored once per hash, in pieces.
    pub snapshot_bytes: Vec<u8>,
    /// Where it comes among those who want the same consents.
    pub priority: u32,
    /// What becomes of its messages that have no answer.
    pub on_doubt: OnDoubt,
}

/// One occurrence to open.
#[derive(Clone, Debug)]
pub struct NewOccurrence {
    /// When it is due, and its name.
    pub due: Due,
    /// The zone its civil time is in.
    pub zone: Zone,
    /// Whose clocks show it; of a rule of the recipients' own time each zone has one of its own.
    pub whose: Whose,
    /// Last instant at which a request may start.
    pub deadline: DateTime<Utc>,
    /// Missed ones are only recorded; how many are folded into this record.
    pub missed: Option<u64>,
}

/// What became of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The cursor moved; numbers of the opened occurrences, in order, without those whose identity was known.
    Moved(Vec<u64>),
    /// The cursor was elsewhere; nothing was changed.
    Stale(Option<DateTime<Utc>>),
}

/// One piece of a fan-out.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Of which occurrence.
    pub occurrence: u64,
    /// Where its walk must be.
    pub after: Option<OpenId>,
    /// Where the walk is then: the last openid it passed.
    pub position: Option<OpenId>,
    /// Whether the walk is over.
    pub walk: Walk,
    /// Who gets a record; at most [`super::CHUNK_DELIVERIES`] and [`super::CHUNK_BYTES`].
    pub members: Vec<Member>,
    /// How many were passed whose account has nothing for them, by the reason.
    pub without_consent: BTreeMap<SkipReason, u64>,
    /// How many were passed after the deadline.
    pub expired: u64,
    /// When.
    pub now: DateTime<Utc>,
}

/// Whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// There may be more.
    GoesOn,
    /// The audience is passed.
    Ends,
}

/// One recipient of a fan-out piece.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who.
    pub openid: OpenId,
    /// What shall become of him.
    pub want: Want,
    /// Who goes before this one and wants a consent of his too: each of them that still does is left one.
    pub behind: Vec<Claim>,
}

/// Somebody's consent that an occurrence wants which goes before another one, as long as the occurrence is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its walk comes to him: until it has passed him.
    Walk(u64),
    /// It holds a delivery to him whose time has come: until that is let go, or ends.
    Held(DeliveryId),
}

/// What shall become of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Reserve now: one grant, or counted as without consent.
    Reserve,
    /// Hold without a grant until then.
    Hold(DateTime<Utc>),
    /// Skip for a reason of his own.
    Skip(SkipReason),
    /// Book as in doubt with one grant, or counted as without consent: it may have been sent, and these books lost it.
    Doubt,
}

/// What became of a fan-out piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceOutcome {
    /// Booked; who has a grant now.
    Booked(Vec<Reserved>),
    /// The occurrence is not open, or its walk was elsewhere; nothing was changed.
    Stale,
}

/// A delivery that has a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its name.
    pub id: DeliveryId,
    /// Whom it is for.
    pub openid: OpenId,
}

/// Proof that a delivery was marked as attempting; its request may start when the mark is durable.
///
/// Only an engine makes one, and [`Settlement`] takes it by value: an attempt ends once.
#[derive(Debug)]
#[must_use = "a mark that is not settled leaves its delivery in doubt at the next start"]
pub struct Mark {
    id: DeliveryId,
    accepted_at: Option<DateTime<Utc>>,
    life: u64,
}

impl Mark {
    /// For engines: `accepted_at` is the grant's time, `None` under a standing acceptance; `life` that of
    /// the mark's own [`Number`](super::Number).
    pub(in crate::store) fn new(id: DeliveryId, accepted_at: Option<DateTime<Utc>>, life: u64) -> Self {
        Self { id, accepted_at, life }
    }

    /// For engines: between which failures it was made.
    pub(in crate::store) fn life(&self) -> u64 {
        self.life
    }

    /// Which delivery.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        self.id
    }

    /// When its grant was accepted; `None` under a standing acceptance.
    #[must_use]
    pub fn accepted_at(&self) -> Option<DateTime<Utc>> {
        self.accepted_at
    }
}

/// How one attempt ended.
#[derive(Debug)]
pub struct Settlement {
    /// The attempt.
    pub mark: Mark,
    /// When its request started; `None` when it never did.
    pub started_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub end: End,
    /// When.
    pub now: DateTime<Utc>,
}

impl Settlement {
    /// For engines, which keep it until it is durable.
    pub(in crate::store) fn copy(&self) -> Self {
        let Mark { id, accepted_at, life } = self.mark;
        let mark = Mark { id, accepted_at, life };
        Self { mark, started_at: self.started_at, end: self.end, now: self.now }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its request never started.
    NotStarted,
    /// The platform took it.
    Accepted {
        /// The platform's number.
        msgid: Option<u64>,
    },
    /// 43101.
    Refused,
    /// A definite failure with this code.
    Failed {
        /// The platform's code.
        errcode: i64,
    },
    /// Try again at `at`.
    Wait {
        /// When, at the earliest.
        at: DateTime<Utc>,
        /// What it remembers of its attempts.
        past: Past,
    },
    /// No definite answer.
    Doubt,
    /// Its grant was dead before the request.
    GrantDied,
    /// Its deadline passed before the request.
    Expired,
    /// Its rule was removed before the request.
    Cancelled,
}

/// Why deliveries that are not attempting end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Their deadline passed.
    Expired,
    /// Their rule was removed or disabled.
    Cancelled,
}

/// A held delivery whose send time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub id: DeliveryId,
    /// What shall become of it.
    pub fate: Fate,
    /// Who goes before it, as for a [`Member`].
    pub behind: Vec<Claim>,
}

/// What shall become of a held delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes a grant, or is skipped because there is none.
    Reserve,
    /// It is skipped for a reason of its own.
    Skip(SkipReason),
    /// Its deadline has passed.
    Expire,
}

/// A chunk in the index of what is to be looked at later; its order is that of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wake {
    /// The next instant of its held and waiting deliveries, and of those in doubt that shall be repeated.
    pub at: DateTime<Utc>,
    /// Of which occurrence.
    pub occurrence: u64,
    /// Which chunk of it.
    pub chunk: u32,
}

/// An operator's word on a delivery in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtWord {
    /// It arrived: its grant is consumed.
    Sent,
    /// Nothing left: its grant goes back.
    Failed,
}

/// A recipient on a walk, with a hint of his account.
#[derive(Clone, Debug)]
pub struct Walked {
    /// Who.
    pub openid: OpenId,
    /// The record.
    pub recipient: Recipient,
    /// What the account seemed to have. A hint: the writer decides on the account as it is.
    pub hint: Hint,
}

/// What an account seemed to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Some, and so many of them are bound to no appointment; 1 for a standing acceptance.
    Consent(u64),
    /// Nothing, and this is why.
    Nothing(SkipReason),
}

/// Names an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    /// Whose mini program.
    pub app: AppId,
    /// Which template.
    pub template: TemplateId,
    /// Whose.
    pub openid: OpenId,
}

/// An account with its grants counted where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// The account.
    pub account: Account,
    /// Given out and open.
    pub reserved: u64,
    /// Given out, and nobody knows.
    pub in_doubt: u64,
    /// Bought a message: folded or still with its delivery.
    pub consumed: u64,
}

/// An occurrence as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Its number in the store.
    pub number: u64,
    /// Whose rule.
    pub app: AppId,
    /// Which rule.
    pub rule: RuleId,
    /// Which template's accounts pay.
    pub template: TemplateId,
    /// How its acceptances count.
    pub kind: TemplateKind,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The civil time that names it.
    pub civil: NaiveDateTime,
    /// Which pass of a repeated hour.
    pub fold: u8,
    /// The zone of the civil time.
    pub zone: Zone,
    /// Last instant at which a request may start.
    pub deadline: DateTime<Utc>,
    /// Where it is.
    pub state: OccurrenceState,
    /// Why it is held, missed or cancelled.
    pub reason: Option<String>,
    /// How many missed ones this record stands for; 1 otherwise.
    pub n: u64,
    /// The last openid its walk passed.
    pub position: Option<OpenId>,
    /// Whether its walk is over.
    pub walked: bool,
    /// How its audience adds up.
    pub counts: Counts,
    /// Hash of the rule's snapshot.
    pub snapshot: [u8; 32],
    /// The appointment that it reminds of; `None` where the rule goes by the clock alone.
    pub about: Option<About>,
    /// Whose clocks show its civil time.
    pub whose: Whose,
    /// Where it comes among those who want the same consents: higher first.
    pub priority: u32,
    /// What becomes of its messages that have no answer.
    pub on_doubt: OnDoubt,
    /// What it repeats; `None` for what opened at a due time or by hand.
    pub repeats: Option<Repetition>,
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// Whom it is for.
    pub openid: OpenId,
    /// Where it is.
    pub state: State,
    /// When it may be sent, for a held or waiting one; when it may be repeated, for one in doubt that shall be.
    pub next_at: Option<DateTime<Utc>>,
    /// How many attempts began.
    pub attempts: u32,
    /// When the first attempt began.
    pub first_started_at: Option<DateTime<Utc>>,
    /// When it was first marked, while no attempt is known to have begun.
    pub marked_at: Option<DateTime<Utc>>,
    /// What it remembers of its attempts.
    pub past: Past,
    /// The grant it has or had; `None` without one or under a standing acceptance.
    pub grant: Option<Grant>,
    /// The platform's number of the message, or what stands in its place; for people it is [`Delivery::msgid`].
    pub msgid: Option<u64>,
    /// The platform's code of a refused or failed one.
    pub errcode: Option<i64>,
    /// Why it was skipped, or is in doubt and was not repeated.
    pub skipped: Option<SkipReason>,
    /// When it reached its state, for one that is not open.
    pub settled_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// The platform's number of the message, where one is known.
    #[must_use]
    pub fn msgid(&self) -> Option<u64> {
        self.msgid.filter(|number| is_msgid(*number))
    }

    /// One that may be marked, with its grant; `None` without one or under a standing acceptance.
    pub(crate) fn reserved(id: DeliveryId, openid: OpenId, grant: Option<Grant>) -> Self {
        Self {
            id,
            openid,
            state: State::Reserved,
            next_at: None,
            attempts: 0,
            first_started_at: None,
            marked_at: None,
            past: Past::Untried,
            grant,
            msgid: None,
            errcode: None,
            skipped: None,
            settled_at: None,
        }
    }
}

/// What fsck found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fsck {
    /// Accounts read.
    pub accounts: u64,
    /// Grants counted, all buckets.
    pub grants: u64,
    /// Deliveries read.
    pub deliveries: u64,
    /// What does not hold: a stable code and a sentence without openids. At most 1,000.
    pub violations: Vec<(&'static str, String)>,
}

/// Figures for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Deliveries of unfinished occurrences by state, and all in doubt.
    pub open: BTreeMap<State, u64>,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Durable groups since the start.
    pub n_groups: u64,
    /// Microseconds the last sync took.
    pub last_sync_us: u64,
}
