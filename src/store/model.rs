//! A reference model of the store: folds each call into books that say where every grant is, and answers from them.
//!
//! It shares no decision about grants and deliveries with the engines: grants are units that never vanish and are counted
//! where they are, and what becomes of deliveries is written out again. What a recipient's record says of zones is shared,
//! and when a doubt is repeated. Slow on purpose, and one long file: every call of
//! the trait is folded here, to be read from top to bottom beside it.

#![expect(
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::option_option,
    clippy::wildcard_enum_match_arm,
    clippy::nonminimal_bool,
    dropping_copy_types,
    reason = "a model is to be read beside the design, not to be fast or final"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::*;
use crate::domain::appointment::About;
use crate::domain::consent::{Grant, Manner, NotGranted, Source};
use crate::domain::delivery::{Past, State};
use crate::domain::drift::{Drift, Evidence};
use crate::domain::hold::Hold;
use crate::domain::occurrence::{Counts, Repetition, SkipReason, Whose};
use crate::domain::recipient::MOVE_COUNTS;
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::plan::repeat;

use self::appointments::{Given, is_for};

mod appointments;

/// A call as it was made.
#[derive(Clone, Debug)]
enum Fact {
    Report(Report),
    Put(AppId, OpenId, Profile, Asked),
    Bad(AppId, OpenId, Option<DateTime<Utc>>),
    Identify(AppId, OpenId, UnionId),
    Mute(AppId, OpenId, bool, Reach),
    Grant(OperatorGrant),
    Import(ImportPiece),
    Start(AppId, RuleId, DateTime<Utc>),
    Open(Opening),
    OpenByHand(ByHand),
    Piece(Piece),
    Stop(u64, OccurrenceState, Option<String>),
    Refuse(Refusal),
    Erase(AppId, OpenId, Asked),
    Release(Vec<Release>, DateTime<Utc>),
    Mark(Vec<DeliveryId>, DateTime<Utc>),
    Settle(DeliveryId, Option<DateTime<Utc>>, End, DateTime<Utc>),
    Close(Vec<DeliveryId>, Closing, DateTime<Utc>),
    Recover(DateTime<Utc>),
    Doubt(DeliveryId, DoubtWord, DateTime<Utc>),
    Receipt(Receipt),
    Repeat(DeliveryId, Again, DateTime<Utc>),
    Presume(DateTime<Utc>, DateTime<Utc>),
    Retire(DateTime<Utc>),
    Keep(String, Vec<u8>),
    Snapshot([u8; 32], Vec<u8>),
    Change(AppointmentChange),
    Remind(Reminders),
    RetireAppointments(DateTime<Utc>, DateTime<Utc>),
}

/// Where one grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    With(DeliveryId),
    /// With a delivery that bought its message and is no longer in the books.
    Spent,
    Void,
}

#[derive(Clone, Debug, Default)]
struct Ledger {
    long_term: bool,
    units: Vec<(Grant, Place)>,
    refused_until: Option<DateTime<Utc>>,
    denied_until: Option<DateTime<Utc>>,
    suspect: bool,
    rejected_at: Option<DateTime<Utc>>,
    standing: Option<DateTime<Utc>>,
    manner: Manner,
    /// Standing acceptances, begun and ended.
    stood: (u64, u64),
}

#[derive(Clone, Debug, Default)]
struct Books {
    recipients: BTreeMap<(AppId, OpenId), Recipient>,
    ledgers: BTreeMap<(AppId, TemplateId, OpenId), Ledger>,
    /// What each report said, and when.
    reports: BTreeMap<(AppId, OpenId, String), Said>,
    cursors: BTreeMap<(AppId, RuleId), DateTime<Utc>>,
    occurrences: BTreeMap<u64, Occurrence>,
    identities: BTreeSet<(Identity, ByWhom)>,
    chunks: BTreeMap<(u64, u32), Vec<Delivery>>,
    snapshots: BTreeMap<[u8; 32], Vec<u8>>,
    imports: BTreeMap<[u8; 32], u64>,
    kept: BTreeMap<String, Vec<u8>>,
    receipts: BTreeMap<Pair, Vec<KeptReceipt>>,
    n_opened: u64,
    erased: BTreeMap<(AppId, OpenId), DateTime<Utc>>,
    appointments: BTreeMap<AppointmentKey, KeptAppointment>,
    n_changes: u64,
    requests: BTreeMap<(AppId, [u8; 16]), DateTime<Utc>>,
    changes_read: BTreeMap<(AppId, RuleId), u64>,
    drift: BTreeMap<(AppId, TemplateId, Evidence), Drift>,
}

/// What names an occurrence.
type Identity = (AppId, RuleId, chrono::NaiveDateTime, u8);

/// Whose clocks show its civil time, with the zone where each has its own.
type ByWhom = (Whose, Option<&'static str>);

/// Hash of a report's content, and when it came.
type Said = ([u8; 32], DateTime<Utc>);

/// An account's name: app, template, recipient.
type Pair = (AppId, TemplateId, OpenId);

/// The model as a store; everything is durable at once.
#[derive(Debug)]
pub(super) struct Model {
    n_facts: Mutex<u64>,
    /// What all calls so far fold to.
    folded: Mutex<Arc<Books>>,
    progress: watch::Sender<Progress>,
    health: watch::Sender<Health>,
}

impl Model {
    pub(super) fn new() -> Self {
        let progress = watch::Sender::new(Progress::Durable(Number(0)));
        Self {
            n_facts: Mutex::new(0),
            folded: Mutex::new(Arc::default()),
            progress,
            health: watch::Sender::new(Health::Works),
        }
    }

    fn books(&self) -> Arc<Books> {
        Arc::clone(&self.folded.lock().unwrap())
    }

    fn decide<T>(&self, fact: Fact, decide: impl FnOnce(&mut Books) -> T) -> Pending<T> {
        let mut books = Books::clone(&self.books());
        let value = decide(&mut books.clone());
        books.fold(fact);
        *self.folded.lock().unwrap() = Arc::new(books);
        let mut n_facts = self.n_facts.lock().unwrap();
        *n_facts += 1;
        let number = Number(*n_facts);
        self.progress.send_replace(Progress::Durable(number));
        Pending::ready(Some(Decided { value, number }))
    }
}

impl Ledger {
    fn is_dead(&self, at: DateTime<Utc>) -> bool {
        [self.refused_until, self.denied_until].into_iter().flatten().any(|mark| at <= mark)
    }

    fn free(&self) -> u64 {
        self.units.iter().filter(|(_, place)| *place == Place::Free).count() as u64
    }

    fn bury(&mut self) {
        let (refused, denied) = (self.refused_until, self.denied_until);
        for (grant, place) in &mut self.units {
            let dead = [refused, denied].into_iter().flatten().any(|mark| grant.accepted_at <= mark);
            if dead && *place == Place::Free {
                *place = Place::Void;
            }
        }
        if self.standing.is_some_and(|since| self.is_dead(since)) {
            self.standing = None;
            self.stood.1 += 1;
        }
    }

    fn why(&self) -> SkipReason {
        if self.rejected_at.is_some() || self.refused_until.is_some() {
            SkipReason::Refused
        } else {
            SkipReason::NoConsent
        }
    }
}

impl Books {
    /// What one more call makes of the books.
    fn fold(&mut self, fact: Fact) {
        match fact {
            Fact::Report(report) => drop(self.report(report)),
            Fact::Put(app, openid, profile, asked) => drop(self.put(app, openid, profile, asked)),
            Fact::Bad(app, openid, since) => self.bad(app, openid, since),
            Fact::Mute(app, openid, muted, reach) => drop(self.mute(app, openid, muted, &reach)),
            Fact::Identify(app, openid, unionid) => self.identify(app, openid, unionid),
            Fact::Grant(grant) => drop(self.grant(&grant)),
            Fact::Import(piece) => drop(self.import(piece)),
            Fact::Start(app, rule, now) => drop(self.start(app, rule, now)),
            Fact::Open(opening) => drop(self.open(opening)),
            Fact::OpenByHand(asked) => drop(self.open_by_hand(asked)),
            Fact::Piece(piece) => drop(self.piece(piece)),
            Fact::Stop(number, state, reason) => self.stop(number, state, reason),
            Fact::Refuse(refusal) => drop(self.refuse(refusal)),
            Fact::Erase(app, openid, asked) => drop(self.erase(app, openid, asked)),
            Fact::Release(releases, now) => {
                releases.into_iter().for_each(|release| drop(self.release(release, now)));
            }
            Fact::Mark(ids, now) => ids.into_iter().for_each(|id| drop(self.mark(id, now))),
            Fact::Settle(id, started, end, now) => drop(self.settle(id, started, end, now)),
            Fact::Close(ids, closing, now) => {
                ids.into_iter().for_each(|id| drop(self.close(id, closing, now)));
            }
            Fact::Recover(now) => drop(self.recover(now)),
            Fact::Doubt(id, word, now) => drop(self.doubt(id, word, now)),
            Fact::Receipt(receipt) => drop(self.receipt(receipt)),
            Fact::Repeat(id, again, now) => drop(self.repeat(id, again, now)),
            Fact::Presume(before, now) => drop(self.presume(before, now)),
            Fact::Retire(now) => drop(self.retire(now)),
            Fact::Keep(name, value) => drop(self.kept.insert(name, value)),
            Fact::Snapshot(hash, bytes) => drop(self.snapshots.entry(hash).or_insert(bytes)),
            Fact::Change(change) => drop(self.change(change)),
            Fact::Remind(reminders) => drop(self.remind(reminders)),
            Fact::RetireAppointments(before, now) => drop(self.retire_appointments(before, now)),
        }
    }

    fn meet(&mut self, app: &AppId, openid: &OpenId, now: DateTime<Utc>) -> &mut Recipient {
        let key = (app.clone(), openid.clone());
        self.recipients.entry(key).or_insert(Recipient::new(now))
    }

    /// Sets a zone that is told; somebody new had no other one before.
    fn moves(&mut self, app: &AppId, openid: &OpenId, zone: Option<Zone>, now: DateTime<Utc>) {
        let Some(zone) = zone else { return };
        let is_new = !self.recipients.contains_key(&(app.clone(), openid.clone()));
        let recipient = self.meet(app, openid, now);
        if is_new {
            recipient.profile.time_zone = Some(zone);
        } else {
            recipient.set_zone(Some(zone), now);
        }
    }

    fn accept(
        &mut self,
        key: (AppId, TemplateId, OpenId),
        kind: TemplateKind,
        grant: Grant,
    ) -> Result<(), NotGranted> {
        let chunks = &self.chunks;
        let fresh = !self.ledgers.contains_key(&key);
        let ledger = self.ledgers.entry(key.clone()).or_default();
        let rejected = kind == TemplateKind::LongTerm && ledger.rejected_at >= Some(grant.accepted_at);
        let result = if ledger.is_dead(grant.accepted_at) || rejected {
            Err(NotGranted::RefusedSince)
        } else if kind == TemplateKind::LongTerm {
            if ledger.standing.is_none() {
                ledger.stood.0 += 1;
            }
            ledger.standing = ledger.standing.max(Some(grant.accepted_at));
            Ok(())
        } else {
            let held = ledger.units.iter().filter(|(_, place)| match place {
                Place::Free => true,
                Place::Void | Place::Spent => false,
                Place::With(id) => !consumed(state_in(chunks, *id)),
            });
            if held.count() >= 100 {
                Err(NotGranted::Full)
            } else {
                ledger.units.push((grant, Place::Free));
                Ok(())
            }
        };
        if result.is_ok() {
            ledger.long_term = kind == TemplateKind::LongTerm;
            ledger.rejected_at = ledger.rejected_at.filter(|at| *at > grant.accepted_at);
        } else if fresh {
            self.ledgers.remove(&key);
        }
        result
    }

    /// Whether something is from before its person was erased.
    fn is_void(&self, app: &AppId, openid: &OpenId, at: DateTime<Utc>) -> bool {
        self.erased.get(&(app.clone(), openid.clone())).is_some_and(|erased| at <= *erased)
    }

    fn report(&mut self, report: Report) -> ReportOutcome {
        if self.is_void(&report.app, &report.openid, report.tapped_at) {
            return ReportOutcome::Erased;
        }
        let key = (report.app.clone(), report.openid.clone(), report.id.as_str().to_owned());
        if let Some((content, _)) = self.reports.get(&key) {
            return if *content == report.content {
                ReportOutcome::Duplicate
            } else {
                ReportOutcome::Conflict
            };
        }
        self.moves(&report.app, &report.openid, report.adds.time_zone, report.now);
        let profile = &mut self.meet(&report.app, &report.openid, report.now).profile;
        profile.tags.extend(report.adds.tags);
        profile.fields.extend(report.adds.fields);
        profile.unionid = report.adds.unionid.or(profile.unionid.take());
        self.bad(report.app.clone(), report.openid.clone(), None);
        self.reports.insert(key, (report.content, report.now));
        let mut refused = Vec::new();
        for answer in report.answers {
            let key = (report.app.clone(), answer.template.clone(), report.openid.clone());
            match answer.choice {
                Choice::Accept(grant) => match self.accept(key.clone(), answer.kind, grant) {
                    Ok(()) => self.ledgers.get_mut(&key).unwrap().manner = answer.manner,
                    Err(why) => refused.push((answer.template, why)),
                },
                Choice::Reject(at) => {
                    let ledger = self.ledgers.entry(key).or_default();
                    ledger.long_term |= answer.kind == TemplateKind::LongTerm && ledger.units.is_empty();
                    ledger.rejected_at = ledger.rejected_at.max(Some(at));
                    if ledger.standing.is_some_and(|since| since <= at) {
                        ledger.standing = None;
                        ledger.stood.1 += 1;
                    }
                }
            }
        }
        ReportOutcome::Booked(refused)
    }

    fn bad(&mut self, app: AppId, openid: OpenId, since: Option<DateTime<Utc>>) {
        if let Some(recipient) = self.recipients.get_mut(&(app, openid)) {
            recipient.bad_since = since.map(|since| recipient.bad_since.unwrap_or(since));
        }
    }

    fn identify(&mut self, app: AppId, openid: OpenId, unionid: UnionId) {
        if let Some(recipient) = self.recipients.get_mut(&(app, openid)) {
            recipient.profile.unionid = Some(unionid);
        }
    }

    fn mute(&mut self, app: AppId, openid: OpenId, muted: bool, reach: &Reach) -> u64 {
        let Some(known) = self.recipients.get_mut(&(app.clone(), openid.clone())) else { return 0 };
        known.profile.muted = muted;
        let others = self.others(&app, &openid, reach);
        for other in &others {
            self.recipients.get_mut(other).unwrap().profile.muted = muted;
        }
        1 + others.len() as u64
    }

    /// Who else is the same person, as far as `reach` goes.
    fn others(&self, app: &AppId, openid: &OpenId, reach: &Reach) -> Vec<(AppId, OpenId)> {
        let person = |of: &Recipient| of.profile.unionid.clone();
        let recorded = self.recipients.get(&(app.clone(), openid.clone())).and_then(person);
        let unionid = match reach {
            Reach::Proved(unionid) => Some(unionid.clone()),
            Reach::This | Reach::Apps(_) | Reach::Everywhere => recorded,
        };
        let Some(unionid) = unionid else { return Vec::new() };
        let is_other = |((a, o), of): &(&(AppId, OpenId), &Recipient)| {
            (a, o) != (app, openid) && person(of).as_ref() == Some(&unionid) && reach.is_in(a)
        };
        let of_one = self.recipients.values().filter(|of| person(of).as_ref() == Some(&unionid)).count();
        if of_one > 64 {
            return Vec::new();
        }
        self.recipients.iter().filter(is_other).map(|(key, _)| key.clone()).collect()
    }

    fn put(&mut self, app: AppId, openid: OpenId, mut profile: Profile, asked: Asked) -> Put {
        let now = asked.at;
        if self.is_replayed(&app, asked.request, now) {
            return Put::Replayed;
        }
        let taken = profile.reference.is_some()
            && self.recipients.iter().any(|((other_app, other), recipient)| {
                *other_app == app && *other != openid && recipient.profile.reference == profile.reference
            });
        if taken {
            return Put::RefTaken;
        }
        let created = !self.recipients.contains_key(&(app.clone(), openid.clone()));
        if profile.time_zone.is_some() || !created {
            self.moves(&app, &openid, profile.time_zone, now);
            if profile.time_zone.is_none() {
                self.meet(&app, &openid, now).set_zone(None, now);
            }
        }
        let recipient = self.meet(&app, &openid, now);
        profile.unionid = profile.unionid.or(recipient.profile.unionid.take());
        recipient.profile = profile;
        let muted = recipient.profile.muted;
        for other in self.others(&app, &openid, &asked.reach) {
            self.recipients.get_mut(&other).unwrap().profile.muted = muted;
        }
        self.bad(app.clone(), openid, None);
        self.remember(app, asked.request, now);
        Put::Stored { created }
    }

    fn grant(&mut self, grant: &OperatorGrant) -> Granted {
        self.meet(&grant.app, &grant.openid, grant.now);
        let mut granted = Granted { n: 0, rest: None };
        for _ in 0..grant.n {
            let key = (grant.app.clone(), grant.template.clone(), grant.openid.clone());
            let one = Grant { accepted_at: grant.now, source: grant.source, bound: None };
            match self.accept(key, grant.kind, one) {
                Ok(()) => granted.n += 1,
                Err(why) => {
                    granted.rest = Some(why);
                    break;
                }
            }
        }
        granted
    }

    fn import(&mut self, piece: ImportPiece) -> u64 {
        let done = self.imports.get(&piece.digest).copied().unwrap_or(0);
        if done != piece.first {
            return done;
        }
        let done = done + piece.rows.len() as u64;
        for row in piece.rows {
            match row {
                ImportRow::Grant(grant) => {
                    self.grant(&grant);
                }
                ImportRow::Recipient(app, openid, profile) => {
                    self.put(app, openid, *profile, piece.now.into());
                }
            }
        }
        self.imports.insert(piece.digest, done);
        done
    }

    fn open(&mut self, opening: Opening) -> Opened {
        let key = (opening.app.clone(), opening.rule.clone());
        if self.cursors.get(&key) != Some(&opening.from) {
            return Opened::Stale(self.cursors.get(&key).copied());
        }
        let mut numbers = Vec::new();
        for new in opening.occurrences {
            self.snapshots.entry(opening.snapshot).or_insert_with(|| opening.snapshot_bytes.clone());
            let whose = (new.whose, (new.whose == Whose::OfZone).then(|| new.zone.name()));
            let identity = (opening.app.clone(), opening.rule.clone(), new.due.civil, new.due.fold);
            let mut others = self.identities.iter().filter(|(of, _)| *of == identity);
            let taken = |(_, other): &(Identity, ByWhom)| {
                *other == whose || (other.0 == Whose::Everybody) != (whose.0 == Whose::Everybody)
            };
            if others.any(taken) {
                continue;
            }
            self.identities.insert((identity, whose));
            self.n_opened += 1;
            let number = self.n_opened;
            let missed = new.missed.is_some();
            self.occurrences.insert(
                number,
                Occurrence {
                    number,
                    app: opening.app.clone(),
                    rule: opening.rule.clone(),
                    template: opening.template.clone(),
                    kind: opening.kind,
                    due_at: new.due.at,
                    civil: new.due.civil,
                    fold: new.due.fold,
                    zone: new.zone,
                    deadline: new.deadline,
                    state: if missed { OccurrenceState::Missed } else { OccurrenceState::Open },
                    reason: missed.then(|| "found later than its grace or policy allows".to_owned()),
                    n: new.missed.unwrap_or(1),
                    position: None,
                    walked: missed,
                    counts: Counts::default(),
                    snapshot: opening.snapshot,
                    about: None,
                    whose: new.whose,
                    priority: opening.priority,
                    on_doubt: opening.on_doubt,
                    repeats: None,
                },
            );
            numbers.push(number);
        }
        self.cursors.insert(key, opening.to);
        Opened::Moved(numbers)
    }

    fn open_by_hand(&mut self, asked: ByHand) -> OpenedByHand {
        let key = (asked.app.clone(), asked.rule.clone());
        if !self.cursors.contains_key(&key) {
            return OpenedByHand::NotStarted;
        }
        if !self.recipients.contains_key(&(asked.app.clone(), asked.openid.clone())) {
            return OpenedByHand::Unknown;
        }
        let number = self.n_opened + 1;
        let name = |fold: u8| (key.0.clone(), key.1.clone(), asked.civil, fold);
        let is_free = |fold: &u8| !self.identities.iter().any(|(of, _)| *of == name(*fold));
        let fold = (2..=u8::MAX).find(is_free);
        let occurrence = Occurrence {
            number,
            app: asked.app.clone(),
            rule: asked.rule.clone(),
            template: asked.template.clone(),
            kind: asked.kind,
            due_at: asked.due_at,
            civil: asked.civil,
            fold: fold.unwrap_or(0),
            zone: asked.zone,
            deadline: asked.deadline,
            state: OccurrenceState::Open,
            reason: None,
            n: 1,
            position: None,
            walked: false,
            counts: Counts::default(),
            snapshot: asked.snapshot,
            about: asked.about,
            whose: Whose::Everybody,
            priority: 0,
            on_doubt: OnDoubt::Hold,
            repeats: None,
        };
        if !self.calls_for(&occurrence, &asked.openid) {
            return OpenedByHand::Changed;
        }
        let before = self.clone();
        let member = Member { openid: asked.openid, want: Want::Reserve, behind: Vec::new() };
        let piece = Piece {
            occurrence: number,
            after: None,
            position: None,
            walk: Walk::Ends,
            members: vec![member],
            without_consent: BTreeMap::new(),
            expired: 0,
            now: asked.due_at,
        };
        self.occurrences.insert(number, occurrence);
        let PieceOutcome::Booked(reserved) = self.piece(piece) else { panic!("it is open") };
        let Some(Reserved { id, .. }) = reserved.into_iter().next() else {
            let why = *self.occurrences[&number].counts.skipped.keys().next().unwrap();
            *self = before;
            return OpenedByHand::Skipped(why);
        };
        let Some(fold) = fold else {
            *self = before;
            return OpenedByHand::TooMany;
        };
        self.n_opened = number;
        self.identities.insert((name(fold), (Whose::Everybody, None)));
        self.snapshots.entry(asked.snapshot).or_insert(asked.snapshot_bytes);
        OpenedByHand::Reserved(id)
    }

    fn piece(&mut self, piece: Piece) -> PieceOutcome {
        let Some(occurrence) = self.occurrences.get(&piece.occurrence).cloned() else {
            return PieceOutcome::Stale;
        };
        if occurrence.state != OccurrenceState::Open
            || occurrence.walked
            || occurrence.position != piece.after
        {
            return PieceOutcome::Stale;
        }
        let mut piece = piece;
        piece.members.retain(|member| {
            let before = occurrence.about.as_ref().and_then(|about| about.previous);
            self.calls_for(&occurrence, &member.openid) && self.newest_of(before, &member.openid).is_none()
        });
        let chunk = self.chunks.range((piece.occurrence, 0)..=(piece.occurrence, u32::MAX)).count() as u32;
        let (mut slots, mut reserved) = (Vec::new(), Vec::new());
        let mut skipped = piece.without_consent.clone();
        let audience =
            piece.members.len() as u64 + piece.without_consent.values().sum::<u64>() + piece.expired;
        for member in piece.members {
            let id = DeliveryId { occurrence: piece.occurrence, chunk, slot: slots.len() as u8 };
            let mut slot = Delivery {
                id,
                openid: member.openid.clone(),
                state: State::Reserved,
                next_at: None,
                attempts: 0,
                first_started_at: None,
                marked_at: None,
                past: Past::Untried,
                grant: None,
                msgid: None,
                errcode: None,
                skipped: None,
                settled_at: None,
            };
            match member.want {
                Want::Reserve => {
                    if self.claimed(&occurrence, &member.openid, &member.behind, piece.now) {
                        *skipped.entry(SkipReason::NoConsent).or_default() += 1;
                        continue;
                    }
                    let taken = self.take(&occurrence, &member.openid, id, piece.now);
                    match taken {
                        Ok(grant) => {
                            slot.grant = grant;
                            reserved.push(Reserved { id, openid: member.openid });
                        }
                        Err(why) => {
                            *skipped.entry(why).or_default() += 1;
                            continue;
                        }
                    }
                }
                Want::Hold(_) | Want::Skip(_)
                    if !self.recipients.contains_key(&(occurrence.app.clone(), member.openid.clone())) =>
                {
                    *skipped.entry(SkipReason::NoConsent).or_default() += 1;
                    continue;
                }
                Want::Doubt => match self.take(&occurrence, &member.openid, id, piece.now) {
                    Ok(grant) => {
                        (slot.state, slot.grant) = (State::InDoubt, grant);
                        (slot.marked_at, slot.settled_at) = (Some(occurrence.due_at), Some(piece.now));
                    }
                    Err(why) => {
                        *skipped.entry(why).or_default() += 1;
                        continue;
                    }
                },
                Want::Hold(at) => (slot.state, slot.next_at) = (State::Held, Some(at)),
                Want::Skip(reason) => {
                    *skipped.entry(reason).or_default() += 1;
                    (slot.state, slot.skipped, slot.settled_at) =
                        (State::Skipped, Some(reason), Some(piece.now));
                }
            }
            slots.push(slot);
        }
        if !slots.is_empty() {
            self.chunks.insert((piece.occurrence, chunk), slots);
        }
        let occurrence = self.occurrences.get_mut(&piece.occurrence).unwrap();
        occurrence.walked = piece.walk == Walk::Ends;
        occurrence.position = if occurrence.walked { None } else { piece.position };
        occurrence.counts.audience += audience;
        for (reason, n) in skipped {
            *occurrence.counts.skipped.entry(reason).or_default() += n;
        }
        // Those passed after the deadline have no record: they are kept apart and added when counted.
        *occurrence.counts.by_state.entry(State::Expired).or_default() += piece.expired;
        self.finish(piece.occurrence);
        PieceOutcome::Booked(reserved)
    }

    /// Whether those before this one that are yet to come to him leave nothing that it could take.
    fn claimed(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        behind: &[Claim],
        now: DateTime<Utc>,
    ) -> bool {
        let is_open = |number: &u64| {
            self.occurrences.get(number).filter(|before| before.state == OccurrenceState::Open)
        };
        let to_come = |claim: &&Claim| match claim {
            Claim::Walk(number) => is_open(number)
                .is_some_and(|before| !before.walked && before.position.as_ref() < Some(openid)),
            Claim::Held(id) => {
                let slots = self.chunks.get(&(id.occurrence, id.chunk));
                let slot = slots.and_then(|slots| slots.get(usize::from(id.slot)));
                let held = slot.is_some_and(|slot| slot.state == State::Held && slot.openid == *openid);
                is_open(&id.occurrence).is_some() && held
            }
        };
        if occurrence.kind == TemplateKind::LongTerm {
            return false;
        }
        let mut at_hand = self.at_hand(occurrence, openid, now);
        let serves = |given: &Given, of: &Occurrence| match given {
            Given::ToAny => true,
            Given::To(kind, id) => of.about.as_ref().is_some_and(|of| (kind, id) == (&of.kind, &of.id)),
        };
        if !at_hand.iter().any(|given| serves(given, occurrence)) {
            return false;
        }
        for claim in behind.iter().filter(to_come) {
            let number = match claim {
                Claim::Walk(number) => *number,
                Claim::Held(id) => id.occurrence,
            };
            let theirs = &self.occurrences[&number];
            // What was given for it first.
            let of_it = at_hand.iter().position(|given| *given != Given::ToAny && serves(given, theirs));
            if let Some(n) = of_it.or_else(|| at_hand.iter().position(|given| *given == Given::ToAny)) {
                at_hand.remove(n);
            }
        }
        !at_hand.iter().any(|given| serves(given, occurrence))
    }

    fn take(
        &mut self,
        occurrence: &Occurrence,
        openid: &OpenId,
        id: DeliveryId,
        now: DateTime<Utc>,
    ) -> Result<Option<Grant>, SkipReason> {
        let key = (occurrence.app.clone(), occurrence.template.clone(), openid.clone());
        let given = self.at_hand(occurrence, openid, now);
        let Some(ledger) = self.ledgers.get_mut(&key) else { return Err(SkipReason::NoConsent) };
        let why = ledger.why();
        if occurrence.kind == TemplateKind::LongTerm {
            return ledger.standing.map(|_| None).ok_or(why);
        }
        let free = ledger.units.iter_mut().filter(|(_, place)| *place == Place::Free).zip(given);
        // What was given for its appointment first, and of those accepted at the same instant, as they came.
        let served = free.filter_map(|((grant, place), given)| {
            let rank = u8::from(!is_for(occurrence, grant));
            (rank == 0 || given == Given::ToAny).then_some((rank, grant, place))
        });
        let (_, grant, place) =
            served.min_by_key(|(rank, grant, _)| (*rank, grant.accepted_at)).ok_or(why)?;
        *place = Place::With(id);
        Ok(Some(*grant))
    }

    fn release(&mut self, Release { id, fate, behind }: Release, now: DateTime<Utc>) -> Option<State> {
        let slot = self.slot(id)?.clone();
        if slot.state != State::Held || slot.next_at > Some(now) {
            return None;
        }
        let occurrence = self.occurrences[&id.occurrence].clone();
        if occurrence.state == OccurrenceState::Held {
            return None;
        }
        let cancelled = occurrence.state == OccurrenceState::Cancelled;
        let skipped = match fate {
            _ if cancelled || !self.calls_for(&occurrence, &slot.openid) => {
                self.end(id, State::Cancelled, now);
                return Some(State::Cancelled);
            }
            Fate::Expire => {
                self.end(id, State::Expired, now);
                return Some(State::Expired);
            }
            Fate::Skip(reason) => reason,
            Fate::Reserve if self.claimed(&occurrence, &slot.openid, &behind, now) => SkipReason::NoConsent,
            Fate::Reserve => match self.take(&occurrence, &slot.openid, id, now) {
                Ok(grant) => {
                    let slot = self.slot(id).unwrap();
                    (slot.state, slot.next_at, slot.grant) = (State::Reserved, None, grant);
                    return Some(State::Reserved);
                }
                Err(reason) => reason,
            },
        };
        self.slot(id).unwrap().skipped = Some(skipped);
        let counts = &mut self.occurrences.get_mut(&id.occurrence).unwrap().counts;
        *counts.skipped.entry(skipped).or_default() += 1;
        self.end(id, State::Skipped, now);
        Some(State::Skipped)
    }

    fn open_in(&self, number: u64) -> usize {
        let slots = self.chunks.range((number, 0)..=(number, u32::MAX)).flat_map(|(_, slots)| slots);
        slots
            .filter(|slot| {
                matches!(slot.state, State::Held | State::Reserved | State::Attempting | State::Waiting)
            })
            .count()
    }

    fn finish(&mut self, number: u64) {
        let open = self.open_in(number);
        let occurrence = self.occurrences.get_mut(&number).unwrap();
        if occurrence.state == OccurrenceState::Open && occurrence.walked && open == 0 {
            occurrence.state = OccurrenceState::Done;
        }
    }

    fn stop(&mut self, number: u64, state: OccurrenceState, reason: Option<String>) {
        if let Some(occurrence) = self.occurrences.get_mut(&number)
            && matches!(occurrence.state, OccurrenceState::Open | OccurrenceState::Held)
        {
            if state == OccurrenceState::Cancelled {
                (occurrence.walked, occurrence.position) = (true, None);
            }
            (occurrence.state, occurrence.reason) = (state, reason);
            self.finish(number);
        }
    }

    fn slot(&mut self, id: DeliveryId) -> Option<&mut Delivery> {
        self.chunks.get_mut(&(id.occurrence, id.chunk))?.get_mut(usize::from(id.slot))
    }

    fn ledger_of(&mut self, id: DeliveryId) -> &mut Ledger {
        let openid = self.slot(id).unwrap().openid.clone();
        let occurrence = &self.occurrences[&id.occurrence];
        let key = (occurrence.app.clone(), occurrence.template.clone(), openid);
        self.ledgers.entry(key).or_default()
    }

    /// A refusal in the settings, to the end of its second.
    fn refuse(&mut self, refusal: Refusal) -> Refused {
        if self.is_void(&refusal.app, &refusal.openid, refusal.created_at) {
            return Refused::Erased;
        }
        let until = refusal.created_at + chrono::TimeDelta::milliseconds(999);
        let key = (refusal.app, refusal.template, refusal.openid);
        let fresh = !self.ledgers.contains_key(&key);
        let ledger = self.ledgers.entry(key).or_default();
        if fresh {
            ledger.long_term = refusal.kind == TemplateKind::LongTerm;
        }
        if ledger.refused_until.is_some_and(|mark| mark >= until) {
            return Refused::Known;
        }
        ledger.refused_until = Some(until);
        ledger.bury();
        Refused::Booked
    }

    /// Everything of a person becomes the erased's, at once: an engine may take its time.
    fn erase(&mut self, app: AppId, openid: OpenId, asked: Asked) -> Erased {
        let now = asked.at;
        if self.is_replayed(&app, asked.request, now) {
            return Erased::Replayed;
        }
        self.remember(app.clone(), asked.request, now);
        let known = self.recipients.get(&(app.clone(), openid.clone()));
        let recorded = known.and_then(|known| known.profile.unionid.clone());
        let unionid = asked.reach.unionid(recorded.as_ref()).cloned();
        let mut all = self.others(&app, &openid, &asked.reach);
        for (app, openid) in &all {
            self.erase(app.clone(), openid.clone(), now.into());
        }
        all.push((app.clone(), openid.clone()));
        all.sort();
        self.recipients.remove(&(app.clone(), openid.clone()));
        self.reports.retain(|(a, o, _), _| (a, o) != (&app, &openid));
        self.receipts.retain(|(a, _, o), _| (a, o) != (&app, &openid));
        let is_his =
            |slot: &&Delivery| slot.openid == openid && self.occurrences[&slot.id.occurrence].app == app;
        let his: Vec<Delivery> = self.chunks.values().flatten().filter(is_his).cloned().collect();
        for Delivery { id, state, past, .. } in his {
            match state {
                State::Waiting if past == Past::Busy => self.end(id, State::PresumedSent, now),
                State::InDoubt => self.end(id, State::PresumedSent, now),
                State::Held => self.end(id, State::Cancelled, now),
                State::Reserved | State::Waiting => {
                    self.end(id, State::Cancelled, now);
                    self.void(id);
                }
                _ => {}
            }
            self.slot(id).unwrap().openid = OpenId::erased();
        }
        let theirs: Vec<Pair> =
            self.ledgers.keys().filter(|(a, _, o)| (a, o) == (&app, &openid)).cloned().collect();
        for pair in theirs {
            let ledger = self.ledgers.remove(&pair).unwrap();
            let all = self.ledgers.entry((pair.0, pair.1, OpenId::erased())).or_default();
            all.long_term |= ledger.long_term;
            all.units.extend(ledger.units.into_iter().map(|(grant, place)| match place {
                Place::Free => (grant, Place::Void),
                Place::With(_) | Place::Spent | Place::Void => (grant, place),
            }));
            all.stood.0 += ledger.stood.0;
            all.stood.1 += ledger.stood.1 + u64::from(ledger.standing.is_some());
        }
        let his = |(key, kept): &(&AppointmentKey, &KeptAppointment)| {
            key.app == app && kept.joined.contains_key(&openid)
        };
        for key in self.appointments.iter().filter(his).map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.n_changes += 1;
            let kept = self.appointments.get_mut(&key).unwrap();
            kept.number = self.n_changes;
            kept.joined.remove(&openid);
            if kept.joined.is_empty() {
                (kept.state, kept.fields) = (Standing::Deleted, BTreeMap::new());
            }
        }
        self.erased.insert((app, openid), now);
        Erased::Booked(Gone { all, unionid })
    }

    fn mark(&mut self, id: DeliveryId, now: DateTime<Utc>) -> Option<Option<DateTime<Utc>>> {
        let openid = self.slot(id)?.openid.clone();
        let original = self.occurrences[&id.occurrence].repeats.map(|repeats| repeats.of);
        let has_arrived =
            original.is_some_and(|of| self.slot(of).is_some_and(|slot| slot.state == State::Sent));
        if has_arrived || !self.calls_for(&self.occurrences[&id.occurrence], &openid) {
            self.close(id, Closing::Cancelled, now);
            return None;
        }
        let slot = self.slot(id)?;
        if !matches!(slot.state, State::Reserved | State::Waiting) {
            return None;
        }
        (slot.state, slot.next_at) = (State::Attempting, None);
        if slot.first_started_at.is_none() {
            slot.marked_at = slot.marked_at.or(Some(now));
        }
        Some(slot.grant.map(|grant| grant.accepted_at))
    }

    fn end(&mut self, id: DeliveryId, state: State, now: DateTime<Utc>) {
        let slot = self.slot(id).unwrap();
        if slot.state == State::InDoubt {
            slot.skipped = None;
        }
        (slot.state, slot.next_at, slot.settled_at) = (state, None, Some(now));
        self.finish(id.occurrence);
    }

    /// Whether what pays for a delivery was taken back since.
    fn is_worthless(&mut self, id: DeliveryId) -> bool {
        let grant = self.slot(id).unwrap().grant;
        let ledger = self.ledger_of(id);
        let marks = [ledger.refused_until, ledger.denied_until];
        match grant {
            Some(grant) => marks.into_iter().flatten().any(|mark| grant.accepted_at <= mark),
            None => ledger.standing.is_none(),
        }
    }

    fn drift_of(&mut self, id: DeliveryId, now: DateTime<Utc>) -> &mut Drift {
        let evidence = Evidence::of(self.slot(id).unwrap().grant);
        let occurrence = &self.occurrences[&id.occurrence];
        let (app, template) = (occurrence.app.clone(), occurrence.template.clone());
        let drift = self.drift.entry((app.clone(), template.clone(), evidence)).or_insert(Drift {
            app,
            template,
            evidence,
            n_denied: 0,
            n_sent_at_zero: 0,
            first_at: now,
            last_at: now,
        });
        drift.last_at = now;
        drift
    }

    fn give_back(&mut self, id: DeliveryId) {
        if self.slot(id).unwrap().openid.is_erased() {
            return self.void(id);
        }
        let ledger = self.ledger_of(id);
        let (refused, denied) = (ledger.refused_until, ledger.denied_until);
        if let Some(index) = ledger.units.iter().position(|(_, place)| *place == Place::With(id)) {
            let mut unit = ledger.units.remove(index);
            let dead = [refused, denied].into_iter().flatten().any(|mark| unit.0.accepted_at <= mark);
            unit.1 = if dead { Place::Void } else { Place::Free };
            // It comes behind those that were accepted at the same instant and stayed.
            ledger.units.push(unit);
        }
    }

    fn void(&mut self, id: DeliveryId) {
        if self.slot(id).unwrap().grant.is_none() {
            return;
        }
        for (_, place) in &mut self.ledger_of(id).units {
            if *place == Place::With(id) {
                *place = Place::Void;
            }
        }
    }

    fn settle(
        &mut self,
        id: DeliveryId,
        started: Option<DateTime<Utc>>,
        end: End,
        now: DateTime<Utc>,
    ) -> State {
        let slot = self.slot(id).unwrap();
        assert_eq!(slot.state, State::Attempting, "the histories settle what is marked");
        let (busy, untried) = (slot.past == Past::Busy, slot.past == Past::Untried);
        if let Some(started) = started {
            slot.attempts += 1;
            slot.first_started_at.get_or_insert(started);
        }
        if slot.first_started_at.is_some() || slot.attempts == 0 {
            slot.marked_at = None;
        }
        match end {
            End::Refused => slot.errcode = Some(43101),
            End::Failed { errcode } => slot.errcode = Some(errcode),
            End::Accepted { msgid } => slot.msgid = msgid,
            _ => {}
        }
        match end {
            End::NotStarted if untried => slot.state = State::Reserved,
            End::NotStarted => (slot.state, slot.next_at) = (State::Waiting, Some(now)),
            End::Wait { at, past } => {
                (slot.state, slot.next_at) = (State::Waiting, Some(at));
                if !busy {
                    slot.past = past;
                }
            }
            End::Accepted { .. } => {
                self.end(id, State::Sent, now);
                if !self.slot(id).unwrap().openid.is_erased() {
                    if self.is_worthless(id) {
                        self.drift_of(id, now).n_sent_at_zero += 1;
                    }
                    self.ledger_of(id).suspect = false;
                }
            }
            End::Doubt => self.unanswered(id, now),
            _ if busy => self.end(id, State::InDoubt, now),
            End::Refused => {
                self.end(id, State::Refused, now);
                self.void(id);
                if !self.slot(id).unwrap().openid.is_erased() {
                    if !self.is_worthless(id) {
                        self.drift_of(id, now).n_denied += 1;
                    }
                    let ledger = self.ledger_of(id);
                    if ledger.suspect {
                        ledger.denied_until = ledger.denied_until.max(Some(started.unwrap_or(now)));
                        ledger.bury();
                    }
                    ledger.suspect = true;
                }
            }
            End::Failed { .. } => {
                self.end(id, State::Failed, now);
                self.give_back(id);
            }
            End::GrantDied => {
                self.end(id, State::Cancelled, now);
                self.void(id);
            }
            End::Expired | End::Cancelled => {
                let state = if end == End::Expired { State::Expired } else { State::Cancelled };
                self.end(id, state, now);
                self.give_back(id);
            }
        }
        let slot = self.slot(id).unwrap();
        // Nothing of the erased is tried again.
        if slot.openid.is_erased() && matches!(slot.state, State::Reserved | State::Waiting) {
            let busy = slot.past == Past::Busy;
            self.end(id, if busy { State::InDoubt } else { State::Cancelled }, now);
            if !busy {
                self.void(id);
            }
        }
        let state = self.slot(id).unwrap().state;
        let occurrence = &self.occurrences[&id.occurrence];
        let openid = self.chunks[&(id.occurrence, id.chunk)][usize::from(id.slot)].openid.clone();
        let pair = (occurrence.app.clone(), occurrence.template.clone(), openid);
        self.try_again(&pair, now);
        state
    }

    fn close(&mut self, id: DeliveryId, closing: Closing, now: DateTime<Utc>) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        let (state, busy) = (slot.state, slot.past == Past::Busy);
        let to = if closing == Closing::Expired { State::Expired } else { State::Cancelled };
        match state {
            State::Held => self.end(id, to, now),
            State::Waiting if busy => self.end(id, State::InDoubt, now),
            State::Reserved | State::Waiting => {
                self.end(id, to, now);
                self.give_back(id);
            }
            _ => return false,
        }
        true
    }

    fn recover(&mut self, now: DateTime<Utc>) -> u64 {
        let all = self.chunks.values().flatten();
        let ids: Vec<DeliveryId> = all.filter(|s| s.state == State::Attempting).map(|s| s.id).collect();
        for id in &ids {
            self.slot(*id).unwrap().attempts += 1;
            self.unanswered(*id, now);
        }
        for pair in self.receipts.keys().cloned().collect::<Vec<_>>() {
            self.try_again(&pair, now);
        }
        ids.len() as u64
    }

    fn receipt(&mut self, receipt: Receipt) -> ReceiptOutcome {
        if self.is_void(&receipt.app, &receipt.openid, receipt.created_at) {
            return ReceiptOutcome::Erased;
        }
        let pair = (receipt.app, receipt.template, receipt.openid);
        if !self.ledgers.contains_key(&pair) {
            return ReceiptOutcome::Unknown;
        }
        let mut before = self.receipts.get(&pair).into_iter().flatten();
        let told = KeptReceipt {
            msgid: receipt.msgid,
            created_at: receipt.created_at,
            arrival: receipt.arrival,
            kept_at: before.find(|told| told.msgid == receipt.msgid).map_or(receipt.now, |told| told.kept_at),
        };
        if let Some(id) = self.joined(&pair, &told, receipt.now) {
            return ReceiptOutcome::Joined(id);
        }
        let kept = self.receipts.entry(pair).or_default();
        if let Some(same) = kept.iter_mut().find(|other| other.msgid == told.msgid) {
            if told.arrival == Arrival::NotArrived {
                same.arrival = Arrival::NotArrived;
            }
        } else {
            kept.push(told);
        }
        kept.sort_by_key(|told| (told.created_at, told.msgid));
        while kept.len() > 16 {
            kept.remove(0);
        }
        ReceiptOutcome::Kept
    }

    /// The delivery of the pair that a receipt is for, with what the receipt says booked there.
    fn joined(&mut self, pair: &Pair, told: &KeptReceipt, now: DateTime<Utc>) -> Option<DeliveryId> {
        let (app, template, openid) = pair;
        let is_of_pair = |slot: &&Delivery| {
            let occurrence = &self.occurrences[&slot.id.occurrence];
            occurrence.app == *app && occurrence.template == *template && slot.openid == *openid
        };
        let all: Vec<Delivery> = self.chunks.values().flatten().filter(is_of_pair).cloned().collect();
        // Two may have it: one by its own answer, and one that was taken for it before. Nobody can tell, so the newest.
        let by_msgid = all.iter().filter(|slot| slot.msgid == Some(told.msgid)).map(|slot| slot.id).max();
        let id = by_msgid.or_else(|| {
            if all.iter().any(|slot| slot.state == State::Attempting) {
                return None;
            }
            let began = |slot: &Delivery| slot.first_started_at.or(slot.marked_at);
            let mut early: Vec<&Delivery> = all
                .iter()
                .filter(|slot| {
                    let has_number = told.msgid < 0xffff_0000_0000_0000;
                    began(slot).is_some_and(|began| {
                        (began - told.created_at).num_milliseconds() < 60_000
                            && (has_number || told.kept_at >= began)
                    })
                })
                .collect();
            early.sort_by_key(|slot| (began(slot), slot.id));
            let first = |fits: &dyn Fn(&Delivery) -> bool| early.iter().find(|slot| fits(slot)).map(|s| s.id);
            first(&|slot| slot.state == State::Sent && slot.msgid.is_none())
                .or_else(|| {
                    first(&|slot| {
                        slot.state == State::InDoubt
                            || (slot.state == State::Waiting && slot.past == Past::Busy)
                    })
                })
                .or_else(|| first(&|slot| slot.state == State::PresumedSent))
        })?;
        let slot = self.slot(id).unwrap();
        slot.msgid = Some(told.msgid);
        match (slot.state, told.arrival) {
            (State::Sent, Arrival::Arrived) | (State::Undelivered, _) => {}
            (State::Sent, Arrival::NotArrived) => self.end(id, State::Undelivered, now),
            (State::InDoubt | State::PresumedSent | State::Waiting, Arrival::Arrived) => {
                self.end(id, State::Sent, now);
            }
            (State::InDoubt | State::PresumedSent | State::Waiting, Arrival::NotArrived) => {
                self.end(id, State::Undelivered, now);
            }
            (state, _) => panic!("a receipt joined a delivery that is {state:?}"),
        }
        Some(id)
    }

    fn try_again(&mut self, pair: &Pair, now: DateTime<Utc>) {
        let mut left = self.receipts.remove(pair).unwrap_or_default();
        left.retain(|told| self.joined(pair, told, now).is_none());
        if !left.is_empty() {
            self.receipts.insert(pair.clone(), left);
        }
    }

    /// In doubt, and to be repeated where its rule says so and its person was sent to less than three times.
    fn unanswered(&mut self, id: DeliveryId, now: DateTime<Utc>) {
        self.end(id, State::InDoubt, now);
        let of = &self.occurrences[&id.occurrence];
        let nth = of.repeats.map_or(1, |repeats| repeats.nth);
        if of.on_doubt == OnDoubt::Resend && nth < 3 {
            self.slot(id).unwrap().next_at = repeat::at(OnDoubt::Resend, 1, id, now);
        }
    }

    fn repeat(&mut self, id: DeliveryId, again: Again, now: DateTime<Utc>) -> Repeated {
        let Some(slot) = self.slot(id).cloned() else { return Repeated::Stale };
        let (State::InDoubt, Some(at)) = (slot.state, slot.next_at) else { return Repeated::Stale };
        let (repeated, next, why) = match again {
            Again::NotBefore(later) => (Repeated::Noted, Some(later), None),
            Again::Never(why) => (Repeated::Noted, None, why),
            Again::Now if at > now => return Repeated::Stale,
            Again::Now => match self.another(&slot, now) {
                Ok(another) => (Repeated::Reserved(another), None, None),
                Err(why) => (Repeated::Without(why), None, Some(why)),
            },
        };
        let slot = self.slot(id).unwrap();
        (slot.next_at, slot.skipped) = (next, why);
        repeated
    }

    fn another(&mut self, slot: &Delivery, now: DateTime<Utc>) -> Result<DeliveryId, SkipReason> {
        let mut of = self.occurrences[&slot.id.occurrence].clone();
        if !self.recipients.contains_key(&(of.app.clone(), slot.openid.clone()))
            || !self.calls_for(&of, &slot.openid)
        {
            return Err(SkipReason::NoConsent);
        }
        let id = DeliveryId { occurrence: self.n_opened + 1, chunk: 0, slot: 0 };
        let grant = self.take(&of, &slot.openid, id, now)?;
        self.n_opened += 1;
        let nth = of.repeats.map_or(1, |repeats| repeats.nth) + 1;
        of.repeats = Some(Repetition { of: slot.id, nth });
        (of.number, of.state, of.reason, of.walked, of.position) =
            (self.n_opened, OccurrenceState::Open, None, true, None);
        of.counts = Counts { audience: 1, ..Counts::default() };
        self.occurrences.insert(self.n_opened, of);
        let delivery = Delivery {
            id,
            openid: slot.openid.clone(),
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
        };
        self.chunks.insert((self.n_opened, 0), vec![delivery]);
        Ok(id)
    }

    fn presume(&mut self, before: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
        let all = self.chunks.values().flatten();
        let old = all.filter(|slot| slot.state == State::InDoubt && slot.settled_at.unwrap() < before);
        let ids: Vec<DeliveryId> = old.map(|slot| slot.id).collect();
        for id in &ids {
            self.end(*id, State::PresumedSent, now);
        }
        ids.len() as u64
    }

    /// All at once, where an engine goes by pieces: answers whether anything went.
    fn retire(&mut self, now: DateTime<Utc>) -> u64 {
        let ago = |days| now - chrono::TimeDelta::days(days);
        let mut n = 0;
        for occurrence in self.occurrences.values().cloned().collect::<Vec<_>>() {
            let slots = || {
                let chunks = self.chunks.range((occurrence.number, 0)..=(occurrence.number, u32::MAX));
                chunks.flat_map(|(_, slots)| slots)
            };
            let is_over = match occurrence.state {
                OccurrenceState::Done | OccurrenceState::Missed => true,
                OccurrenceState::Cancelled => self.open_in(occurrence.number) == 0,
                OccurrenceState::Open | OccurrenceState::Held => false,
            };
            let doubt = slots().any(|slot| slot.state == State::InDoubt);
            let about = occurrence.about.as_ref();
            let wanted = about.map(|about| about.at.max(occurrence.deadline)).max(Some(occurrence.due_at));
            let earlier = about.and_then(|about| about.previous);
            let is_needed = earlier.is_some_and(|earlier| self.occurrences.contains_key(&earlier));
            if wanted.unwrap() >= ago(90) || !is_over || doubt || is_needed {
                continue;
            }
            n += 1;
            for unit in self.ledgers.values_mut().flat_map(|ledger| &mut ledger.units) {
                if matches!(unit.1, Place::With(id) if id.occurrence == occurrence.number) {
                    unit.1 = Place::Spent;
                }
            }
            self.chunks.retain(|(number, _), _| *number != occurrence.number);
            let identity =
                (occurrence.app.clone(), occurrence.rule.clone(), occurrence.civil, occurrence.fold);
            let whose = occurrence.whose;
            let zone = (whose == Whose::OfZone).then(|| occurrence.zone.name());
            if occurrence.repeats.is_none() {
                self.identities.remove(&(identity, (whose, zone)));
            }
            self.occurrences.remove(&occurrence.number);
        }
        let led_to: BTreeSet<_> = self.occurrences.values().map(|occurrence| occurrence.snapshot).collect();
        self.snapshots.retain(|hash, _| led_to.contains(hash));
        let before = self.reports.len() + self.receipts.values().map(Vec::len).sum::<usize>();
        self.reports.retain(|_, (_, told_at)| *told_at >= ago(180));
        self.erased.retain(|_, at| *at >= ago(180));
        for kept in self.receipts.values_mut() {
            kept.retain(|told| told.kept_at >= ago(7));
        }
        self.receipts.retain(|_, kept| !kept.is_empty());
        n + (before - self.reports.len() - self.receipts.values().map(Vec::len).sum::<usize>()) as u64
    }

    fn doubt(&mut self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> bool {
        if !self.slot(id).is_some_and(|slot| slot.state == State::InDoubt) {
            return false;
        }
        match word {
            DoubtWord::Sent => self.end(id, State::Sent, now),
            DoubtWord::Failed => {
                self.end(id, State::Failed, now);
                self.give_back(id);
            }
        }
        true
    }

    /// The occurrence with its deliveries counted.
    fn counted(&self, number: u64) -> Option<Occurrence> {
        let mut occurrence = self.occurrences.get(&number)?.clone();
        let slots = self.chunks.range((number, 0)..=(number, u32::MAX)).flat_map(|(_, slots)| slots);
        for slot in slots.filter(|slot| slot.state != State::Skipped) {
            *occurrence.counts.by_state.entry(slot.state).or_default() += 1;
        }
        occurrence.counts.by_state.retain(|_, n| *n > 0);
        Some(occurrence)
    }

    fn view(&self, key: &(AppId, TemplateId, OpenId)) -> Option<AccountView> {
        let ledger = self.ledgers.get(key)?;
        let mut free: Vec<Grant> =
            ledger.units.iter().filter(|(_, place)| *place == Place::Free).map(|(grant, _)| *grant).collect();
        free.sort_by_key(|grant| grant.accepted_at);
        let count = |wanted: fn(State) -> bool| {
            let is = |(_, place): &&(Grant, Place)| match place {
                Place::With(id) => wanted(state_in(&self.chunks, *id)),
                Place::Spent => wanted(State::Sent),
                Place::Free | Place::Void => false,
            };
            ledger.units.iter().filter(is).count() as u64
        };
        let voided = ledger.units.iter().filter(|(_, place)| *place == Place::Void).count() as u64;
        Some(AccountView {
            kind: if ledger.long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime },
            reserved: count(|s| matches!(s, State::Reserved | State::Attempting | State::Waiting)),
            in_doubt: count(|s| s == State::InDoubt),
            consumed: count(consumed),
            account: Account {
                granted: ledger.units.len() as u64 + ledger.stood.0,
                voided: voided + ledger.stood.1,
                consumed: 0,
                refused_until: ledger.refused_until,
                denied_until: ledger.denied_until,
                suspect: ledger.suspect,
                standing: ledger.standing,
                manner: ledger.manner,
                rejected_at: ledger.rejected_at,
                free,
                out: Vec::new(),
            },
        })
    }
}

fn consumed(state: State) -> bool {
    matches!(state, State::Sent | State::Undelivered | State::PresumedSent)
}

fn state_in(chunks: &BTreeMap<(u64, u32), Vec<Delivery>>, id: DeliveryId) -> State {
    chunks[&(id.occurrence, id.chunk)][usize::from(id.slot)].state
}

/// Zones of a recipient, those that he left with when.
fn zones_of(recipient: &Recipient) -> impl Iterator<Item = (Zone, Option<DateTime<Utc>>)> {
    let left = recipient.moves.iter().filter_map(|one| Some((one.from?, Some(one.at))));
    left.chain(recipient.profile.time_zone.map(|zone| (zone, None)))
}

impl Store for Model {
    fn wait(&self, _number: Number) -> Wait {
        Box::pin(async { Ok(()) })
    }

    fn decided(&self) -> Number {
        Number(*self.n_facts.lock().unwrap())
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn report(&self, report: Report) -> Pending<ReportOutcome> {
        self.decide(Fact::Report(report.clone()), |books| books.report(report))
    }

    fn put_recipient(&self, app: AppId, openid: OpenId, profile: Profile, asked: Asked) -> Pending<Put> {
        let fact = Fact::Put(app.clone(), openid.clone(), profile.clone(), asked.clone());
        self.decide(fact, |books| books.put(app, openid, profile, asked))
    }

    fn mark_recipient(&self, app: AppId, openid: OpenId, bad_since: Option<DateTime<Utc>>) -> Pending<()> {
        let fact = Fact::Bad(app.clone(), openid.clone(), bad_since);
        self.decide(fact, |books| books.bad(app, openid, bad_since))
    }

    fn identify(&self, app: AppId, openid: OpenId, unionid: UnionId) -> Pending<()> {
        let fact = Fact::Identify(app.clone(), openid.clone(), unionid.clone());
        self.decide(fact, |books| books.identify(app, openid, unionid))
    }

    fn mute(&self, app: AppId, openid: OpenId, muted: bool, asked: Asked) -> Pending<u64> {
        let fact = Fact::Mute(app.clone(), openid.clone(), muted, asked.reach.clone());
        self.decide(fact, |books| books.mute(app, openid, muted, &asked.reach))
    }

    fn grant(&self, grant: OperatorGrant) -> Pending<Granted> {
        self.decide(Fact::Grant(grant.clone()), |books| books.grant(&grant))
    }

    fn import(&self, piece: ImportPiece) -> Pending<u64> {
        self.decide(Fact::Import(piece.clone()), |books| books.import(piece))
    }

    fn change_appointment(&self, change: AppointmentChange) -> Pending<Changed> {
        self.decide(Fact::Change(change.clone()), |books| books.change(change))
    }

    fn remind(&self, reminders: Reminders) -> Pending<Reminded> {
        self.decide(Fact::Remind(reminders.clone()), |books| books.remind(reminders))
    }

    fn retire_appointments(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.decide(Fact::RetireAppointments(before, now), |books| books.retire_appointments(before, now))
    }

    fn start_rule(&self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> Pending<DateTime<Utc>> {
        let fact = Fact::Start(app.clone(), rule.clone(), now);
        self.decide(fact, |books| books.start(app, rule, now))
    }

    fn open(&self, opening: Opening) -> Pending<Opened> {
        self.decide(Fact::Open(opening.clone()), |books| books.open(opening))
    }

    fn open_by_hand(&self, asked: ByHand) -> Pending<OpenedByHand> {
        self.decide(Fact::OpenByHand(asked.clone()), |books| books.open_by_hand(asked))
    }

    fn chunk(&self, piece: Piece) -> Pending<PieceOutcome> {
        self.decide(Fact::Piece(piece.clone()), |books| books.piece(piece))
    }

    fn stop_occurrence(
        &self,
        occurrence: u64,
        state: OccurrenceState,
        reason: Option<String>,
    ) -> Pending<()> {
        let fact = Fact::Stop(occurrence, state, reason.clone());
        self.decide(fact, |books| books.stop(occurrence, state, reason))
    }

    fn refuse(&self, refusal: Refusal) -> Pending<Refused> {
        self.decide(Fact::Refuse(refusal.clone()), |books| books.refuse(refusal))
    }

    fn release(&self, releases: Vec<Release>, now: DateTime<Utc>) -> Pending<Vec<Option<State>>> {
        self.decide(Fact::Release(releases.clone(), now), |books| {
            releases.into_iter().map(|release| books.release(release, now)).collect()
        })
    }

    fn mark(&self, ids: Vec<DeliveryId>, now: DateTime<Utc>) -> Pending<Vec<Option<Mark>>> {
        self.decide(Fact::Mark(ids.clone(), now), |books| {
            ids.into_iter()
                .map(|id| books.mark(id, now).map(|accepted_at| Mark::new(id, accepted_at, 0)))
                .collect()
        })
    }

    fn settle(&self, settlements: Vec<Settlement>) -> Pending<Vec<State>> {
        let mut states = Vec::new();
        let mut number = self.decided();
        for Settlement { mark, started_at, end, now } in settlements {
            let id = mark.id();
            let fact = Fact::Settle(id, started_at, end, now);
            let _decided = self.decide(fact, |books| states.push(books.settle(id, started_at, end, now)));
            number = self.decided();
        }
        Pending::ready(Some(Decided { value: states, number }))
    }

    fn close(&self, ids: Vec<DeliveryId>, closing: Closing, now: DateTime<Utc>) -> Pending<Vec<bool>> {
        self.decide(Fact::Close(ids.clone(), closing, now), |books| {
            ids.into_iter().map(|id| books.close(id, closing, now)).collect()
        })
    }

    fn recover(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.decide(Fact::Recover(now), |books| books.recover(now))
    }

    fn repeat(&self, id: DeliveryId, again: Again, now: DateTime<Utc>) -> Pending<Repeated> {
        self.decide(Fact::Repeat(id, again, now), |books| books.repeat(id, again, now))
    }

    fn settle_doubt(&self, id: DeliveryId, word: DoubtWord, now: DateTime<Utc>) -> Pending<bool> {
        self.decide(Fact::Doubt(id, word, now), |books| books.doubt(id, word, now))
    }

    fn keep_snapshot(&self, hash: [u8; 32], bytes: Vec<u8>) -> Pending<()> {
        self.decide(Fact::Snapshot(hash, bytes), |_| ())
    }

    fn audit(&self) -> Pending<Audit> {
        Pending::ready(None)
    }

    fn dump(&self, _now: DateTime<Utc>) -> Pending<Option<Dump>> {
        Pending::ready(None)
    }

    fn dump_on(&self, _dump: &Dump) -> Pending<Dumped> {
        Pending::ready(None)
    }

    fn end_hold(&self, _now: DateTime<Utc>) -> Pending<HoldEnd> {
        // A model is never restored.
        Pending::ready(None)
    }

    fn hold(&self) -> Result<Option<Hold>, Unavailable> {
        Ok(None)
    }

    fn keep(&self, name: &str, value: Vec<u8>) -> Pending<()> {
        self.decide(Fact::Keep(name.to_owned(), value), |_| ())
    }

    fn erase(&self, app: AppId, openid: OpenId, asked: Asked) -> Pending<Erased> {
        let fact = Fact::Erase(app.clone(), openid.clone(), asked.clone());
        self.decide(fact, |books| books.erase(app, openid, asked))
    }

    fn sweep(&self, _now: DateTime<Utc>) -> Pending<u64> {
        Pending::ready(Some(Decided { value: 0, number: self.decided() }))
    }

    fn receipt(&self, receipt: Receipt) -> Pending<ReceiptOutcome> {
        self.decide(Fact::Receipt(receipt.clone()), |books| books.receipt(receipt))
    }

    fn presume(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Pending<u64> {
        self.decide(Fact::Presume(before, now), |books| books.presume(before, now))
    }

    fn retire(&self, now: DateTime<Utc>) -> Pending<u64> {
        self.decide(Fact::Retire(now), |books| books.retire(now))
    }

    fn fsck(&self) -> Pending<Fsck> {
        Pending::ready(Some(Decided { value: Fsck::default(), number: self.decided() }))
    }

    fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.books().kept.get(name).cloned())
    }

    fn recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Unavailable> {
        Ok(self.books().recipients.get(&(app.clone(), openid.clone())).cloned())
    }

    fn is_booked(&self, app: &AppId, openid: &OpenId, id: &ReportId) -> Result<bool, Unavailable> {
        let key = (app.clone(), openid.clone(), id.as_str().to_owned());
        Ok(self.books().reports.contains_key(&key))
    }

    fn erased_at(&self, app: &AppId, openid: &OpenId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        Ok(self.books().erased.get(&(app.clone(), openid.clone())).copied())
    }

    fn by_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Unavailable> {
        let books = self.books();
        let mut all = books.recipients.iter();
        let found = all.find(|((a, _), r)| a == app && r.profile.reference.as_ref() == Some(reference));
        Ok(found.map(|((_, openid), _)| openid.clone()))
    }

    fn person(
        &self,
        unionid: &UnionId,
        after: Option<&(AppId, OpenId)>,
        limit: usize,
    ) -> Result<Vec<(AppId, OpenId)>, Unavailable> {
        let books = self.books();
        let theirs = books.recipients.iter().filter(|(_, of)| of.profile.unionid.as_ref() == Some(unionid));
        let further = theirs.map(|(key, _)| key).filter(|key| after.is_none_or(|after| *key > after));
        Ok(further.take(limit).cloned().collect())
    }

    fn walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        let books = self.books();
        let mine =
            books.recipients.iter().filter(|((a, openid), _)| a == app && after.is_none_or(|x| openid > x));
        let walked = mine.take(limit).map(|((app, openid), recipient)| {
            let ledger = books.ledgers.get(&(app.clone(), template.clone(), openid.clone()));
            let hint = match ledger {
                None => Hint::Nothing(SkipReason::NoConsent),
                Some(ledger) if ledger.standing.is_some() => Hint::Consent(1),
                Some(ledger) if ledger.free() > 0 => {
                    let unbound =
                        |(grant, place): &&(Grant, Place)| *place == Place::Free && grant.bound.is_none();
                    Hint::Consent(ledger.units.iter().filter(unbound).count() as u64)
                }
                Some(ledger) => Hint::Nothing(ledger.why()),
            };
            Walked { openid: openid.clone(), recipient: recipient.clone(), hint }
        });
        Ok(walked.collect())
    }

    fn walk_zone(
        &self,
        (app, zone): (&AppId, Zone),
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Unavailable> {
        let mut walked = self.walk(app, template, after, usize::MAX)?;
        walked.retain(|one| zones_of(&one.recipient).any(|(its, _)| its == zone));
        walked.truncate(limit);
        Ok(walked)
    }

    fn zones(&self, app: &AppId, now: DateTime<Utc>) -> Result<Vec<Zone>, Unavailable> {
        let books = self.books();
        let mine = books.recipients.iter().filter(|((of, _), _)| of == app);
        let zones = mine.flat_map(|(_, recipient)| zones_of(recipient));
        let counts = |at: Option<DateTime<Utc>>| at.is_none_or(|at| at > now - MOVE_COUNTS);
        let names: BTreeSet<&str> =
            zones.filter(|(_, left)| counts(*left)).map(|(zone, _)| zone.name()).collect();
        Ok(names.into_iter().map(|name| Zone::parse(name).unwrap()).collect())
    }

    fn account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Unavailable> {
        Ok(self.books().view(&(app.clone(), template.clone(), openid.clone())))
    }

    fn bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Unavailable> {
        Ok(self.account(app, template, openid)?.map(|view| view.account))
    }

    fn accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Unavailable> {
        let books = self.books();
        let keys = books.ledgers.keys().map(|key @ (app, template, openid)| {
            let name = AccountKey { app: app.clone(), template: template.clone(), openid: openid.clone() };
            (name, books.view(key).unwrap())
        });
        Ok(keys.filter(|(name, _)| after.is_none_or(|after| name > after)).take(limit).collect())
    }

    fn receipts(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Vec<KeptReceipt>, Unavailable> {
        let pair = (app.clone(), template.clone(), openid.clone());
        Ok(self.books().receipts.get(&pair).cloned().unwrap_or_default())
    }

    fn cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Unavailable> {
        Ok(self.books().cursors.get(&(app.clone(), rule.clone())).copied())
    }

    fn reminder_cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<Cursor>, Unavailable> {
        Ok(self.books().reminder_cursor(app, rule))
    }

    fn appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Unavailable> {
        Ok(self.books().appointments.get(key).cloned())
    }

    fn appointments(
        &self,
        (app, kind): (&AppId, &Kind),
        (from, until): (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Unavailable> {
        let books = self.books();
        let of = books
            .appointments
            .iter()
            .filter(|(key, kept)| key.app == *app && key.kind == *kind && kept.state == Standing::Stands);
        let mut all: Vec<_> = of.map(|(key, kept)| (kept.at, key.id.clone())).collect();
        all.retain(|row| row.0 > from && row.0 <= until && after.is_none_or(|after| row > after));
        all.sort();
        all.truncate(limit);
        Ok(all)
    }

    fn all_appointments(
        &self,
        after: Option<&AppointmentKey>,
        limit: usize,
    ) -> Result<Vec<(AppointmentKey, KeptAppointment)>, Unavailable> {
        Ok(self.books().all_appointments(after, limit))
    }

    fn appointments_of(
        &self,
        app: &AppId,
        openid: &OpenId,
        after: Option<&(Kind, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(Kind, AppointmentId)>, Unavailable> {
        Ok(self.books().appointments_of(app, openid, after, limit))
    }

    fn newest_change(&self) -> Result<u64, Unavailable> {
        Ok(self.books().n_changes)
    }

    fn changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Unavailable> {
        let books = self.books();
        let of = books.appointments.iter().filter(|(key, _)| key.app == *app && key.kind == *kind);
        let mut all: Vec<_> = of.map(|(key, kept)| (kept.number, key.id.clone())).collect();
        all.retain(|(number, _)| *number > after);
        all.sort();
        all.truncate(limit);
        Ok(all)
    }

    fn reminders(&self, key: &AppointmentKey) -> Result<Vec<u64>, Unavailable> {
        let books = self.books();
        let newest = |o: &&Occurrence| {
            let of = o.about.as_ref().filter(|about| about.kind == key.kind && about.id == key.id);
            o.app == key.app
                && of.is_some_and(|about| books.newest_reminder(&key.app, about, &o.rule) == Some(o.number))
        };
        Ok(books.occurrences.values().filter(newest).map(|o| o.number).collect())
    }

    fn occurrence(&self, number: u64) -> Result<Option<Occurrence>, Unavailable> {
        Ok(self.books().counted(number))
    }

    fn newest_occurrence(&self) -> Result<Option<u64>, Unavailable> {
        Ok(self.books().occurrences.keys().next_back().copied())
    }

    fn occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Unavailable> {
        let books = self.books();
        let all = books.occurrences.keys().filter(|n| after.is_none_or(|after| **n > after));
        let all = all.filter_map(|n| books.counted(*n)).filter(|o| rule.is_none_or(|rule| o.rule == *rule));
        Ok(all.take(limit).collect())
    }

    fn unfinished(&self) -> Result<Vec<Occurrence>, Unavailable> {
        let books = self.books();
        let all = books.occurrences.keys().filter_map(|n| books.counted(*n));
        let left = all.filter(|o| match o.state {
            OccurrenceState::Open | OccurrenceState::Held => true,
            OccurrenceState::Cancelled => books.open_in(o.number) > 0,
            OccurrenceState::Done | OccurrenceState::Missed => false,
        });
        Ok(left.collect())
    }

    fn snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.books().snapshots.get(hash).cloned())
    }

    fn deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Unavailable> {
        let books = self.books();
        let chunks = books.chunks.iter().filter(|((o, _), _)| occurrence.is_none_or(|wanted| wanted == *o));
        let left = chunks.map(|(_, slots)| {
            slots.iter().filter(|slot| after.is_none_or(|after| slot.id > after)).cloned().collect::<Vec<_>>()
        });
        Ok(left.filter(|slots| !slots.is_empty()).take(limit).flatten().collect())
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Unavailable> {
        let books = self.books();
        Ok(books.chunks.get(&(id.occurrence, id.chunk)).and_then(|c| c.get(usize::from(id.slot))).cloned())
    }

    fn delivery_to(&self, occurrence: u64, openid: &OpenId) -> Result<Option<Delivery>, Unavailable> {
        let books = self.books();
        let mut slots = books.chunks.range((occurrence, 0)..=(occurrence, u32::MAX)).flat_map(|(_, c)| c);
        Ok(slots.find(|slot| slot.openid == *openid).cloned())
    }

    fn wakes(
        &self,
        after: Option<&Wake>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Wake>, Unavailable> {
        let books = self.books();
        let wake = |(&(occurrence, chunk), slots): (&(u64, u32), &Vec<Delivery>)| {
            let later = slots
                .iter()
                .filter(|slot| matches!(slot.state, State::Held | State::Waiting | State::InDoubt));
            later.filter_map(|slot| slot.next_at).min().map(|at| Wake { at, occurrence, chunk })
        };
        let mut all: Vec<Wake> = books.chunks.iter().filter_map(wake).collect();
        all.retain(|wake| wake.at <= until && after.is_none_or(|after| wake > after));
        all.sort();
        all.truncate(limit);
        Ok(all)
    }

    fn doubts(&self, _limit: usize) -> Result<Vec<Delivery>, Unavailable> {
        let books = self.books();
        let mut doubts: Vec<Delivery> =
            books.chunks.values().flatten().filter(|s| s.state == State::InDoubt).cloned().collect();
        doubts.sort_by_key(|delivery| delivery.settled_at);
        Ok(doubts)
    }

    fn imported(&self, digest: &[u8; 32]) -> Result<u64, Unavailable> {
        Ok(self.books().imports.get(digest).copied().unwrap_or(0))
    }

    fn drift(&self) -> Result<Vec<Drift>, Unavailable> {
        Ok(self.books().drift.values().cloned().collect())
    }

    fn figures(&self) -> Result<Figures, Unavailable> {
        Ok(Figures::default())
    }
}

/// A source for grants in tests.
pub(super) const BACKEND: Source = Source::Backend;
