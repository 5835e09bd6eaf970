//! Random histories, told to an engine and to the reference model, with both answers compared at each step, and both books
//! at the end, after each reopening and every few steps.
//!
//! Most run on a tree in memory, which costs little; the same on sled are fewer. A failing history is shrunk
//! and printed, with the line `cc SEED` that makes it again: in `proptest-regressions/` beside `src`, where it was put,
//! it is tried first at every run.
//!
//! One file over its length: what a step does to both stores is one list, to be read beside the steps.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::appointments::Appoint;
use self::places::{Reopen, Sled};
use self::steps::{
    Step, any_steps, steps, steps_of_appointments, steps_of_doubts, steps_of_held, steps_of_persons,
};
use super::super::ledger::memory::Memory;
use super::by_hand;
use super::*;
use crate::domain::count::n_of;

mod appointments;
mod persons;
mod places;
mod steps;

/// An account as far as it does not depend on where folding put it.
fn visible(view: &AccountView) -> String {
    let a = &view.account;
    format!(
        "{:?} {:?} granted {} free {:?} reserved {} doubt {} consumed {} voided {} suspect {} {:?} {:?} {:?} {:?}",
        view.kind,
        a.manner,
        a.granted,
        a.free.iter().map(|g| g.accepted_at.timestamp()).collect::<Vec<_>>(),
        view.reserved,
        view.in_doubt,
        view.consumed,
        a.voided,
        a.suspect,
        a.refused_until,
        a.denied_until,
        a.rejected_at,
        a.standing
    )
}

fn compare(engine: &dyn Store, model: &dyn Store) {
    let accounts = |store: &dyn Store| -> BTreeMap<AccountKey, String> {
        let told = |key: &AccountKey| store.receipts(&key.app, &key.template, &key.openid).unwrap();
        let all = store.accounts(None, 100).unwrap().into_iter();
        all.map(|(key, view)| (key.clone(), format!("{} {:?}", visible(&view), told(&key)))).collect()
    };
    assert_eq!(accounts(engine), accounts(model));
    for (_, view) in engine.accounts(None, 100).unwrap() {
        let sum =
            view.account.available() + view.reserved + view.in_doubt + view.consumed + view.account.voided;
        assert_eq!(view.account.granted, sum, "P4");
    }
    assert_eq!(engine.deliveries(None, None, 1000).unwrap(), model.deliveries(None, None, 1000).unwrap());
    let occurrences = engine.occurrences(None, None, 100).unwrap();
    assert_eq!(occurrences, model.occurrences(None, None, 100).unwrap());
    assert!(occurrences.iter().all(|occurrence| occurrence.counts.adds_up()), "P6");
    assert_eq!(engine.unfinished().unwrap(), model.unfinished().unwrap());
    let ids = |store: &dyn Store| -> Vec<DeliveryId> {
        let mut ids: Vec<_> = store.doubts(1000).unwrap().iter().map(|d| d.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(engine), ids(model));
    let in_doubt = engine.figures().unwrap().open.get(&State::InDoubt).copied().unwrap_or(0);
    assert_eq!(in_doubt, n_of(ids(model).len()), "what is counted is what is there");
    let wakes = |store: &dyn Store| store.wakes(None, DateTime::<Utc>::MAX_UTC, 1000).unwrap();
    assert_eq!(wakes(engine), wakes(model));
    let now = at(1_000);
    assert_eq!(engine.zones(&app(), now).unwrap(), model.zones(&app(), now).unwrap());
    for name in ZONES {
        let zone = Zone::parse(name).unwrap();
        let walk = |store: &dyn Store| -> Vec<_> {
            let mut after = None;
            let mut all = Vec::new();
            loop {
                let page = store.walk_zone((&app(), zone), &template(0).0, after.as_ref(), 2).unwrap();
                let Some(last) = page.last() else { return all };
                after = Some(last.openid.clone());
                all.extend(page.into_iter().map(|walked| (walked.openid, walked.recipient, walked.hint)));
            }
        };
        assert_eq!(walk(engine), walk(model), "{name}");
    }
    appointments::compare(engine, model);
    persons::compare(engine, model);
    let drift = |store: &dyn Store| {
        let mut drift = store.drift().unwrap();
        drift.sort_by_key(|one| (one.template.clone(), one.evidence));
        drift
    };
    assert_eq!(drift(engine), drift(model));
    for who in 0..PEOPLE.len() {
        let of = |store: &dyn Store| store.erased_at(&app(), &openid(who)).unwrap();
        assert_eq!(of(engine), of(model));
        let of = |store: &dyn Store| store.recipient(&app(), &openid(who)).unwrap();
        assert_eq!(of(engine), of(model));
    }
    assert_eq!(done(engine, Store::fsck(engine)).violations, []);
}

/// Does one thing on both, and asks for the same answer.
fn both<T: PartialEq + std::fmt::Debug>(
    engine: &dyn Store,
    model: &dyn Store,
    act: impl Fn(&dyn Store) -> Pending<T>,
) -> T {
    let (told, expected) = (done(engine, act(engine)), done(model, act(model)));
    assert_eq!(told, expected);
    told
}

/// A bounded piece of work, again and again until none is left; answers how much it was.
fn until_done(store: &dyn Store, act: impl Fn(&dyn Store) -> Pending<u64>) -> u64 {
    let mut total = 0;
    loop {
        match done(store, act(store)) {
            0 => return total,
            n => total += n,
        }
    }
}

/// The number that the platform gives a delivery's message.
fn msgid(id: DeliveryId) -> u64 {
    id.occurrence * 10_000 + u64::from(id.chunk) * 100 + u64::from(id.slot) + 1
}

/// What happened in a history, by name.
type Seen = BTreeMap<&'static str, u64>;

/// What is happening in both books.
struct Play<'a> {
    place: &'a dyn Reopen,
    engine: Ledger,
    model: Model,
    marks: Vec<(Mark, Mark)>,
    n_opened: u64,
    seen: Seen,
}

impl Play<'_> {
    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.model.deliveries(None, None, 1000).unwrap()
    }

    /// One of the deliveries that may interest; now and then any.
    fn delivery(&self, which: usize, interest: fn(State) -> bool) -> Option<Delivery> {
        let mut all = self.deliveries();
        if !which.is_multiple_of(8) && all.iter().any(|delivery| interest(delivery.state)) {
            all.retain(|delivery| interest(delivery.state));
        }
        all.get(which % all.len().max(1)).cloned()
    }

    /// What is held for somebody, whatever of it is in whose place.
    fn held_for(&self, openid: &OpenId) -> Vec<Claim> {
        let held = self.deliveries().into_iter();
        let held = held.filter(|delivery| delivery.state == State::Held && delivery.openid == *openid);
        held.map(|delivery| Claim::Held(delivery.id)).collect()
    }

    fn account_of(&self, delivery: &Delivery) -> (TemplateId, Option<AccountView>) {
        let template = self.model.occurrence(delivery.id.occurrence).unwrap().unwrap().template;
        let view = self.model.account(&app(), &template, &delivery.openid).unwrap();
        (template, view)
    }

    fn by_hand(&mut self, clock: i64, (rule, t): (usize, usize), who: usize) {
        let asked = by_hand::asked(clock, (rule, t), who);
        match both(&self.engine, &self.model, |store| store.open_by_hand(asked.clone())) {
            OpenedByHand::Reserved(id) => {
                self.n_opened = self.n_opened.max(id.occurrence);
                self.saw("sent by hand");
            }
            OpenedByHand::Skipped(_) => self.saw("nothing to send by hand with"),
            OpenedByHand::Unknown => {}
            other @ (OpenedByHand::NotStarted
            | OpenedByHand::Changed
            | OpenedByHand::OnHold
            | OpenedByHand::TooMany) => {
                panic!("{other:?}")
            }
        }
    }

    fn repeat(&mut self, clock: i64, which: usize, how: u8) {
        let mut doubts = self.deliveries();
        doubts.retain(|delivery| delivery.state == State::InDoubt);
        if !which.is_multiple_of(8) && doubts.iter().any(Delivery::is_to_be_repeated) {
            doubts.retain(Delivery::is_to_be_repeated);
        }
        let Some(delivery) = doubts.get(which % doubts.len().max(1)) else { return };
        let (again, now) = match how {
            0 => (Again::NotBefore(at(clock + 30)), at(clock)),
            1 => (Again::Never(Some(SkipReason::Quiet)), at(clock)),
            2 => (Again::Now, at(clock)),
            _ => (Again::Now, at(clock + 100)),
        };
        match both(&self.engine, &self.model, |store| store.repeat(delivery.id, again, now)) {
            Repeated::Reserved(id) => {
                self.n_opened = self.n_opened.max(id.occurrence);
                self.saw("repeated");
            }
            Repeated::Without(_) => self.saw("nothing to repeat with"),
            Repeated::Noted => self.saw("not to be repeated, or later"),
            Repeated::Stale => self.saw("nothing to be repeated"),
        }
    }

    fn take(&mut self, clock: i64, step: Step) {
        match step {
            Step::Report { who, id, content, template, reject, age } => {
                // Some are given for an appointment, where there is one.
                let bound = (id % 2 == 1).then(|| appointments::named(usize::from(id) % 3));
                let when = Grant { bound, ..grant(clock - age) };
                let choice = if reject { Choice::Reject(when.accepted_at) } else { Choice::Accept(when) };
                let mut told = report(who, &format!("r{id}"), content, clock, &[(template, choice)]);
                told.tapped_at = when.accepted_at;
                told.answers[0].manner = Manner::ALL[usize::from(id) % 4];
                let outcome = both(&self.engine, &self.model, |store| store.report(told.clone()));
                self.saw(match outcome {
                    ReportOutcome::Booked(ignored) => match ignored.first() {
                        None => "report booked",
                        Some((_, NotGranted::RefusedSince)) => "report from before a mark",
                        Some((_, NotGranted::Full)) => "report to a full account",
                    },
                    ReportOutcome::Duplicate => "report repeated",
                    ReportOutcome::Conflict => "report id with another content",
                    ReportOutcome::TooLarge => "report too large",
                    ReportOutcome::Erased => "report from before an erasure",
                });
            }
            Step::Grant { who, template: t, n } => {
                let (template, kind) = template(t);
                let now = at(clock);
                let source = Source::Operator;
                let told = OperatorGrant { app: app(), openid: openid(who), template, kind, n, source, now };
                both(&self.engine, &self.model, |store| store.grant(told.clone()));
            }
            Step::Zone { who, zone } => {
                let zone = ZONES.get(zone).map(|name| Zone::parse(name).unwrap());
                let known = self.model.recipient(&app(), &openid(who)).unwrap();
                let (before, was_there) = (known.as_ref().and_then(|k| k.profile.time_zone), known.is_some());
                let profile = Profile { time_zone: zone, ..known.map(|k| k.profile).unwrap_or_default() };
                let put = |store: &dyn Store| {
                    store.put_recipient(app(), openid(who), profile.clone(), at(clock).into())
                };
                both(&self.engine, &self.model, put);
                // He is marked now and then, and what is heard of him later ends it.
                if clock % 3 == 0 {
                    let since = (clock % 2 == 0).then_some(at(clock));
                    let mark = |store: &dyn Store| store.mark_recipient(app(), openid(who), since);
                    both(&self.engine, &self.model, mark);
                }
                if was_there && before != zone {
                    self.saw("a recipient moved to another zone");
                }
            }
            Step::Refuse { who, template: t, age } => {
                let (template, kind) = template(t);
                let before = self.model.account(&app(), &template, &openid(who)).unwrap();
                let told = Refusal {
                    app: app(),
                    openid: openid(who),
                    template: template.clone(),
                    kind,
                    created_at: at(clock - age),
                };
                let outcome = both(&self.engine, &self.model, |store| store.refuse(told.clone()));
                if outcome == Refused::Erased {
                    return self.saw("refusal from before an erasure");
                }
                let after = view(&self.model, who, t).account;
                let Some(before) = before else { return self.saw("refusal before any report") };
                if outcome == Refused::Known {
                    self.saw("refusal known");
                } else if before.account.standing.is_some() && after.standing.is_none() {
                    self.saw("refusal ends a standing acceptance");
                } else if after.voided > before.account.voided {
                    self.saw("refusal voids free grants");
                } else if before.reserved > 0 {
                    self.saw("refusal of an account with reservations");
                }
            }
            Step::Erase { which } => self.erase(clock, which),
            Step::Person { app, who, is } => self.is(clock, (app, who), is),
            Step::Open { rule, template } => {
                let (a, b) =
                    (open(&self.engine, rule, template, clock), open(&self.model, rule, template, clock));
                assert_eq!(a, b);
                self.n_opened = self.n_opened.max(a.unwrap_or(0));
                // Now and then an operator sends at once, two in one second.
                if clock % 5 == 0 {
                    let who = usize::try_from(clock).unwrap() % 4;
                    self.by_hand(clock, (rule, template), who);
                    self.by_hand(clock, (rule, template), who);
                }
            }
            Step::Round { rule, template } => {
                self.take(clock, Step::Open { rule, template });
                let Some(which) = usize::try_from(self.n_opened).ok().and_then(|n| n.checked_sub(1)) else {
                    return;
                };
                let members = (0..3).map(|who| (who, 2)).collect();
                self.take(clock, Step::Piece { which, members, ends: rule == 0 });
            }
            Step::Piece { which, members, ends } if self.n_opened > 0 => {
                let number = n_of(which) % self.n_opened + 1;
                let after = self.model.occurrence(number).unwrap().and_then(|o| o.position);
                let wants: Vec<(usize, Want)> = members
                    .iter()
                    .map(|(who, want)| {
                        let want = match want {
                            0 => Want::Hold(at(clock + 10 * (1 + i64::try_from(*who).unwrap()))),
                            1 => Want::Skip(SkipReason::Overflow),
                            _ => Want::Reserve,
                        };
                        (*who, want)
                    })
                    .collect();
                let walk = if ends { Walk::Ends } else { Walk::GoesOn };
                let mut told = piece(number, after, &wants, walk, clock);
                told.without_consent.insert(SkipReason::NoConsent, 2);
                told.expired = 1;
                let mut may_want = Vec::new();
                if let Some(occurrence) =
                    self.model.occurrence(number).unwrap().filter(|_| which.is_multiple_of(3))
                {
                    for member in &mut told.members {
                        let others = (1..=self.n_opened).filter(|n| *n != number);
                        member.behind = others.map(Claim::Walk).take(3).collect();
                        member.behind.extend(self.held_for(&member.openid));
                        let account =
                            self.model.account(&app(), &occurrence.template, &member.openid).unwrap();
                        let has = account.is_some_and(|view| view.account.available() > 0);
                        if has && member.want == Want::Reserve {
                            may_want.push(member.openid.clone());
                        }
                    }
                }
                match both(&self.engine, &self.model, |store| store.chunk(told.clone())) {
                    PieceOutcome::Booked(reserved) => {
                        if may_want.iter().any(|who| reserved.iter().all(|one| one.openid != *who)) {
                            self.saw("a grant left to those before");
                        }
                        if !reserved.is_empty() {
                            self.saw("reserved");
                        }
                    }
                    PieceOutcome::Stale => {}
                }
            }
            Step::Release { which, fate } => {
                let mut held = self.deliveries();
                held.retain(|delivery| delivery.state == State::Held);
                let is_due = |delivery: &Delivery| delivery.next_at <= Some(at(clock));
                if !which.is_multiple_of(8) && held.iter().any(is_due) {
                    held.retain(is_due);
                }
                if let Some(delivery) = held.get(which % held.len().max(1)).cloned() {
                    if fate > 5 {
                        let (number, to) = (delivery.id.occurrence, OccurrenceState::Cancelled);
                        both(&self.engine, &self.model, |store| store.stop_occurrence(number, to, None));
                    }
                    let fate = match fate {
                        0 => Fate::Expire,
                        1 => Fate::Skip(SkipReason::Muted),
                        _ => Fate::Reserve,
                    };
                    let mut behind = Vec::new();
                    if which.is_multiple_of(2) {
                        let others = (1..=self.n_opened).filter(|n| *n != delivery.id.occurrence);
                        behind.extend(others.map(Claim::Walk).take(3));
                        behind.extend(self.held_for(&delivery.openid));
                        behind.retain(|claim| *claim != Claim::Held(delivery.id));
                    }
                    let told = || vec![Release { id: delivery.id, fate, behind: behind.clone() }];
                    let became =
                        both(&self.engine, &self.model, |store| store.release(told(), at(clock))).remove(0);
                    match became {
                        Some(State::Reserved) => self.saw("held, then reserved"),
                        Some(State::Skipped) if fate == Fate::Reserve && !behind.is_empty() => {
                            self.saw("held, and what he has is another's");
                        }
                        Some(State::Skipped) if fate == Fate::Reserve => {
                            self.saw("held, then without consent");
                        }
                        Some(State::Cancelled) => self.saw("held, then cancelled"),
                        None => self.saw("held, and its send time is later"),
                        _ => {}
                    }
                }
            }
            Step::Mark { which } => {
                let markable = |state| matches!(state, State::Reserved | State::Waiting);
                if let Some(delivery) = self.delivery(which, markable) {
                    let a = done(&self.engine, self.engine.mark(vec![delivery.id], at(clock))).remove(0);
                    let b = done(&self.model, self.model.mark(vec![delivery.id], at(clock))).remove(0);
                    assert_eq!(a.is_some(), b.is_some());
                    if a.is_none() && markable(delivery.state) {
                        self.saw("a mark of a moved appointment");
                    }
                    let told = |mark: &Option<Mark>| mark.as_ref().map(Mark::accepted_at);
                    assert_eq!(told(&a), told(&b));
                    self.marks.extend(a.zip(b));
                }
            }
            Step::Send { which, how } => {
                let before = self.marks.len();
                self.take(clock, Step::Mark { which });
                if self.marks.len() > before {
                    self.settle(clock, before, how);
                }
            }
            Step::Settle { which, how } if !self.marks.is_empty() => self.settle(clock, which, how),
            Step::Close { which, cancel } => {
                if let Some(delivery) = self.delivery(which, State::is_open) {
                    let closing = if cancel { Closing::Cancelled } else { Closing::Expired };
                    both(&self.engine, &self.model, |store| {
                        store.close(vec![delivery.id], closing, at(clock))
                    });
                }
            }
            Step::Stop { which } if self.n_opened > 0 => {
                let number = n_of(which) % self.n_opened + 1;
                let reason = || Some("removed".to_owned());
                both(&self.engine, &self.model, |store| {
                    store.stop_occurrence(number, OccurrenceState::Cancelled, reason())
                });
            }
            Step::Recover => {
                self.marks.clear();
                if both(&self.engine, &self.model, |store| store.recover(at(clock))) > 0 {
                    self.saw("recovery");
                }
            }
            Step::Doubt { which, sent } => {
                let doubts = self.model.doubts(1000).unwrap();
                if let Some(delivery) = doubts.get(which % doubts.len().max(1)) {
                    let word = if sent { DoubtWord::Sent } else { DoubtWord::Failed };
                    both(&self.engine, &self.model, |store| store.settle_doubt(delivery.id, word, at(clock)));
                    self.saw("doubt settled by an operator");
                }
            }
            Step::Receipt { which, msgid, offset, arrival } => {
                self.receipt(clock, which, msgid, offset, arrival);
            }
            Step::Repeat { which, how } => self.repeat(clock, which, how),
            Step::Presume { age } => {
                let act = |store: &dyn Store| store.presume(at(clock - age), at(clock));
                let n = until_done(&self.engine, act);
                assert_eq!(n, until_done(&self.model, act));
                if n > 0 {
                    self.saw("doubt presumed sent");
                }
            }
            Step::Retire { days } => self.retire(clock, days),
            Step::Appoint { step } => self.appoint(clock, step),
            Step::Reopen => {
                Ledger::close(&self.engine);
                self.engine = self.place.open();
                self.saw("reopened");
                if !self.marks.is_empty() {
                    self.saw("reopened while attempting");
                }
            }
            Step::Piece { .. } | Step::Settle { .. } | Step::Stop { .. } => {}
        }
    }

    fn settle(&mut self, clock: i64, which: usize, how: u8) {
        let (a, b) = self.marks.remove(which % self.marks.len());
        let id = a.id();
        let end = match how {
            0 => End::NotStarted,
            1 | 2 | 15 | 16 => End::Refused,
            3 | 18 => End::Failed { errcode: 47003 },
            4 => End::Wait { at: at(clock + 30), past: Past::Tried },
            5 | 17 => End::Wait { at: at(clock + 30), past: Past::Busy },
            6 => End::Doubt,
            7 => End::GrantDied,
            8 => End::Expired,
            9 => End::Cancelled,
            10 => End::Accepted { msgid: None },
            _ => End::Accepted { msgid: Some(msgid(id)) },
        };
        let before = self.model.delivery(id).unwrap().unwrap();
        let (template, account) = self.account_of(&before);
        let account = account.expect("the account of what is attempting").account;
        let kept = self.model.receipts(&app(), &template, &before.openid).unwrap();
        let started_at = (!matches!(how, 0 | 7 | 8 | 9)).then(|| at(clock - 1));
        let told = |mark| vec![Settlement { mark, started_at, end, now: at(clock) }];
        let state = done(&self.engine, self.engine.settle(told(a)));
        assert_eq!(state, done(&self.model, self.model.settle(told(b))));
        let (_, after) = self.account_of(&before);
        let after = after.expect("accounts stay");
        if self.model.receipts(&app(), &template, &before.openid).unwrap().len() < kept.len() {
            self.saw("a kept receipt joined when an attempt ended");
        }
        if after.account.denied_until > account.denied_until {
            self.saw("a second 43101 denies");
        }
        if account.suspect && !after.account.suspect {
            self.saw("an ok reply clears a suspicion");
        }
        if how == 0 {
            self.saw("an attempt that never began");
        }
        if before.openid.is_erased() {
            self.saw("an attempt of somebody erased ended");
        }
        let dead = before.grant.is_some_and(|grant| account.is_dead(grant.accepted_at));
        if dead && matches!(state[0], State::Failed | State::Expired | State::Cancelled) {
            self.saw("a dead grant comes back");
        }
        if state[0] == State::InDoubt {
            self.saw("doubt");
        }
        if state[0] == State::Waiting {
            self.saw("waiting");
        }
    }

    fn receipt(&mut self, clock: i64, which: usize, msgid_of: u8, offset: i64, arrival: Arrival) {
        let mut told = Receipt {
            app: app(),
            openid: openid(which),
            template: template(which).0,
            msgid: 1_000_000 + n_of(which) % 3,
            created_at: at(clock + offset),
            arrival,
            now: at(clock),
        };
        let tried = |state: State| {
            matches!(
                state,
                State::Attempting | State::Sent | State::InDoubt | State::Waiting | State::PresumedSent
            )
        };
        // Nobody has the name that stands for the erased.
        let any_tried = self.deliveries().iter().any(|delivery| tried(delivery.state));
        if !any_tried && !which.is_multiple_of(8) {
            return;
        }
        if let Some(delivery) = self.delivery(which, tried).filter(|delivery| !delivery.openid.is_erased()) {
            told.template = self.account_of(&delivery).0;
            told.openid = delivery.openid.clone();
            told.msgid = match msgid_of {
                0..=2 => msgid(delivery.id),
                // As the platform tells of one without its number: of its time alone.
                3..=5 if clock % 2 == 0 => stand_in(told.created_at.timestamp().unsigned_abs()),
                3..=5 => 2_000_000 + clock.unsigned_abs(),
                _ => told.msgid,
            };
        }
        let of_pair = |play: &Self| -> Vec<Delivery> {
            let mut all = play.deliveries();
            all.retain(|d| d.openid == told.openid && play.account_of(d).0 == told.template);
            all
        };
        let before = of_pair(self);
        let kept = self.model.receipts(&told.app, &told.template, &told.openid).unwrap();
        let outcome = both(&self.engine, &self.model, |store| store.receipt(told.clone()));
        let again = both(&self.engine, &self.model, |store| store.receipt(told.clone()));
        assert_eq!(outcome, again, "the same receipt again");
        let attempting = before.iter().any(|d| d.state == State::Attempting);
        if let (ReceiptOutcome::Joined(_), false) = (outcome, is_msgid(told.msgid)) {
            self.saw("receipt without a number joined");
        }
        self.saw(match outcome {
            ReceiptOutcome::Unknown => "receipt of nobody",
            ReceiptOutcome::Erased => "receipt from before an erasure",
            ReceiptOutcome::Kept if kept.iter().any(|k| k.msgid == told.msgid) => "receipt kept twice",
            ReceiptOutcome::Kept if attempting && before.len() > 1 => {
                "receipt kept beside one that is attempting"
            }
            ReceiptOutcome::Kept => "receipt kept",
            ReceiptOutcome::Joined(id) => {
                let joined = before.iter().find(|d| d.id == id).expect("one of the pair's");
                let names = [
                    (State::Sent, "receipt joined one sent without msgid"),
                    (State::InDoubt, "receipt joined one in doubt"),
                    (State::Waiting, "receipt joined one waiting after -1"),
                    (State::PresumedSent, "receipt joined one presumed sent"),
                ];
                match names.iter().find(|(state, _)| *state == joined.state) {
                    _ if joined.msgid == Some(told.msgid) => "receipt joined by its msgid",
                    Some((_, name)) => name,
                    None => panic!("a receipt joined {joined:?}"),
                }
            }
        });
    }

    fn erase(&mut self, clock: i64, which: usize) {
        let unsettled =
            |state| matches!(state, State::Attempting | State::InDoubt | State::Waiting | State::Held);
        let chosen = self.delivery(which, unsettled).map(|delivery| delivery.openid);
        let chosen = chosen.and_then(|chosen| (0..PEOPLE.len()).find(|who| openid(*who) == chosen));
        let who = chosen.unwrap_or(which);
        let his: Vec<State> =
            self.deliveries().iter().filter(|d| d.openid == openid(who)).map(|d| d.state).collect();
        let was_known = self.model.recipient(&app(), &openid(who)).unwrap().is_some();
        let erased = both(&self.engine, &self.model, |s| s.erase(app(), openid(who), at(clock).into()));
        assert!(matches!(erased, Erased::Booked(_)));
        until_done(&self.engine, |store| store.sweep(at(clock)));
        let stands = |store: &dyn Store| {
            store.unfinished().unwrap().iter().any(|o| o.position.as_ref() == Some(&openid(who)))
        };
        if stands(&self.model) {
            self.saw("erased where a walk stands");
        } else {
            assert!(!self.place.holds(openid(who).as_str()), "his openid is left");
        }
        for (state, what) in [
            (State::Attempting, "erased while attempting"),
            (State::InDoubt, "erased while in doubt"),
            (State::Waiting, "erased while waiting"),
            (State::Held, "erased while held"),
            (State::Sent, "erased with a message"),
        ] {
            if his.contains(&state) {
                self.saw(what);
            }
        }
        if was_known {
            self.saw("erased");
        }
    }

    fn retire(&mut self, clock: i64, days: i64) {
        let count = |store: &dyn Store| {
            let accounts = store.accounts(None, 100).unwrap();
            let kept = accounts
                .iter()
                .map(|(key, _)| store.receipts(&key.app, &key.template, &key.openid).unwrap().len());
            (store.occurrences(None, None, 100).unwrap().len(), kept.sum::<usize>())
        };
        let before = count(&self.model);
        let act = |store: &dyn Store| store.retire(at(clock + days * 86_400));
        until_done(&self.engine, act);
        until_done(&self.model, act);
        let after = count(&self.model);
        if after.0 < before.0 {
            self.saw("an occurrence retired");
        }
        if after.1 < before.1 {
            self.saw("kept receipts retired");
        }
        if days > 180 {
            self.saw("reports retired");
        }
    }
}

fn history(place: &dyn Reopen, steps: &[Step]) -> Seen {
    let mut play = Play {
        place,
        engine: place.open(),
        model: Model::new(),
        marks: Vec::new(),
        n_opened: 0,
        seen: Seen::new(),
    };
    for (n, (clock, step)) in (1_usize..).zip((100_i64..).step_by(10).zip(steps)) {
        play.take(clock, step.clone());
        if n.is_multiple_of(place.compared_each()) || matches!(step, Step::Reopen) {
            compare(&play.engine, &play.model);
        }
    }
    Ledger::close(&play.engine);
    play.engine = place.open();
    compare(&play.engine, &play.model);
    play.seen
}

/// How many random histories are tried: a few, or as many as TIXING_HISTORIES says.
#[expect(clippy::disallowed_methods, reason = "it is said to the tests; the program reads nothing of it")]
fn n_histories() -> u32 {
    let said = std::env::var("TIXING_HISTORIES").map(|text| text.parse().expect("a number of histories"));
    said.unwrap_or(256)
}

proptest! {
    #![proptest_config(Config { max_shrink_iters: 2000, cases: n_histories(), ..Config::default() })]

    #[test]
    fn the_engine_and_the_model_keep_the_same_books(steps in any_steps()) {
        history(&Memory::default(), &steps);
    }
}

proptest! {
    // A tenth: a disk is slow, and what only sled could get wrong is little.
    #![proptest_config(Config { max_shrink_iters: 200, cases: n_histories() / 10, ..Config::default() })]

    #[test]
    fn on_sled_too(steps in any_steps()) {
        history(&Sled(tempfile::tempdir().unwrap()), &steps);
    }
}

/// An earlier occurrence of a reminder once outlived the later ones through which it is found.
#[test]
fn what_is_in_doubt_keeps_those_through_which_it_is_found() {
    let away_and_back = || Step::Appoint { step: Appoint::AwayAndBack { which: 0, settles: false } };
    let round = Step::Appoint { step: Appoint::Round { rule: 1, late: false } };
    let steps = [
        away_and_back(),
        round,
        Step::Settle { which: 0, how: 6 },
        away_and_back(),
        Step::Retire { days: 91 },
    ];
    history(&Memory::default(), &steps);
}

/// Zones that recipients have; one more is none.
const ZONES: [&str; 3] = ["Asia/Shanghai", "America/Argentina/Buenos_Aires", "Europe/Berlin"];

/// What must happen in histories by the hundred; what never does proves nothing.
const HAPPENS: [&str; 69] = [
    "one person in several apps",
    "erased in several apps",
    "a person gone whole",
    "a recipient moved to another zone",
    "erased",
    "erased while attempting",
    "erased while in doubt",
    "erased while waiting",
    "erased with a message",
    "erased where a walk stands",
    "report from before an erasure",
    "receipt from before an erasure",
    "an attempt of somebody erased ended",
    "report booked",
    "report repeated",
    "report id with another content",
    "report from before a mark",
    "refusal before any report",
    "refusal known",
    "refusal voids free grants",
    "refusal ends a standing acceptance",
    "refusal of an account with reservations",
    "reserved",
    "a grant left to those before",
    "sent by hand",
    "nothing to send by hand with",
    "waiting",
    "held, then reserved",
    "held, then without consent",
    "held, and what he has is another's",
    "held, and its send time is later",
    "doubt",
    "repeated",
    "nothing to repeat with",
    "not to be repeated, or later",
    "nothing to be repeated",
    "a second 43101 denies",
    "an ok reply clears a suspicion",
    "a dead grant comes back",
    "recovery",
    "doubt settled by an operator",
    "doubt presumed sent",
    "receipt of nobody",
    "receipt kept",
    "receipt kept twice",
    "receipt kept beside one that is attempting",
    "a kept receipt joined when an attempt ended",
    "receipt joined by its msgid",
    "receipt without a number joined",
    "receipt joined one sent without msgid",
    "receipt joined one in doubt",
    "receipt joined one waiting after -1",
    "receipt joined one presumed sent",
    "an occurrence retired",
    "reopened",
    "reopened while attempting",
    "kept receipts retired",
    "an appointment put",
    "a put that changes nothing",
    "a request played again",
    "an appointment moved with a reminder open",
    "an appointment deleted",
    "a reminder opened",
    "a reminder of a changed appointment",
    "a reminder again for those who were not attempted",
    "a reminder for nobody",
    "a reminder while an earlier one is open",
    "a mark of a moved appointment",
    "appointments retired",
];

#[test]
fn fixed_histories_agree_and_everything_happens_in_them() {
    let mut seen = Seen::new();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut all = Vec::new();
    for _ in 0..420 {
        all.push(steps().new_tree(&mut runner).unwrap().current());
    }
    for _ in 0..60 {
        all.push(steps_of_appointments().new_tree(&mut runner).unwrap().current());
    }
    for _ in 0..90 {
        all.push(steps_of_held().new_tree(&mut runner).unwrap().current());
    }
    for _ in 0..60 {
        all.push(steps_of_doubts().new_tree(&mut runner).unwrap().current());
    }
    for _ in 0..60 {
        all.push(steps_of_persons().new_tree(&mut runner).unwrap().current());
    }
    for steps in all {
        for (what, n) in history(&Memory::default(), &steps) {
            *seen.entry(what).or_default() += n;
        }
    }
    let rare: Vec<_> = HAPPENS.iter().filter(|what| seen.get(**what).is_none_or(|n| *n < 2)).collect();
    assert!(rare.is_empty(), "these happen less than twice: {rare:?}\n{seen:#?}");
}
