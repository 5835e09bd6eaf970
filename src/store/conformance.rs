//! One suite for every engine: cases that each promise of the trait names; random histories are beside them.
//!
//! One file a little over its length: its helpers and short cases are read together; what has a subject is beside it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::ledger::Ledger;
use super::model::{BACKEND, Model};
use super::sled::{self, Options};
use super::*;
use crate::clock::Clock;
use crate::domain::consent::{Grant, Manner, NotGranted, Source};
use crate::domain::delivery::{Past, State};
use crate::domain::id::ReportId;
use crate::domain::message::{is_msgid, stand_in};
use crate::domain::occurrence::{Due, SkipReason, Whose};
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;

mod appointments;
mod audit;
mod backup;
mod bound;
mod by_hand;
mod claims;
mod drift;
mod erasure;
mod histories;
mod hold;
mod layouts;
mod persons;
mod recipients;
mod repeats;
mod snapshots;
mod zones;

const KINDS: [(&str, TemplateKind); 2] =
    [("TPL_once", TemplateKind::OneTime), ("TPL_long", TemplateKind::LongTerm)];
const PEOPLE: [&str; 4] = ["oAAAAAAAAAA", "oBBBBBBBBBB", "oCCCCCCCCCC", "oDDDDDDDDDD"];

fn at(s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + s, 0).unwrap()
}

fn app() -> AppId {
    AppId::parse("wxtest").unwrap()
}

fn openid(n: usize) -> OpenId {
    OpenId::parse(PEOPLE[n % PEOPLE.len()]).unwrap()
}

fn template(n: usize) -> (TemplateId, TemplateKind) {
    let (id, kind) = KINDS[n % KINDS.len()];
    (TemplateId::parse(id).unwrap(), kind)
}

fn rule(n: usize) -> RuleId {
    RuleId::parse(&format!("rule-{n}")).unwrap()
}

fn grant(s: i64) -> Grant {
    Grant { accepted_at: at(s), source: BACKEND, bound: None }
}

fn report(who: usize, id: &str, content: u8, now: i64, choices: &[(usize, Choice)]) -> Report {
    let answers = choices.iter().map(|(n, choice)| {
        let (template, kind) = template(*n);
        Answer { template, kind, choice: *choice, manner: Manner::Plain }
    });
    Report {
        app: app(),
        openid: openid(who),
        id: ReportId::parse(id).unwrap(),
        content: [content; 32],
        now: at(now),
        tapped_at: at(now),
        adds: Additions::default(),
        answers: answers.collect(),
    }
}

/// Waits for a write, decided and durable.
fn done<T>(store: &dyn Store, pending: Pending<T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let decided = pending.await.unwrap();
            store.wait(decided.number).await.unwrap();
            decided.value
        })
    })
}

fn open(store: &dyn Store, rule_n: usize, template_n: usize, due: i64) -> Option<u64> {
    open_for(store, (rule_n, template_n), (due, due), (Whose::Everybody, Zone::UTC))
}

/// One occurrence, due then, with a civil time of its own; its number where it was opened.
fn open_for(
    store: &dyn Store,
    (rule_n, template_n): (usize, usize),
    (due, civil): (i64, i64),
    (whose, zone): (Whose, Zone),
) -> Option<u64> {
    let from = done(store, store.start_rule(app(), rule(rule_n), at(0)));
    let (template, kind) = template(template_n);
    let new = NewOccurrence {
        due: Due { at: at(due), civil: at(civil).naive_utc(), fold: 0 },
        zone,
        whose,
        deadline: at(due + 1800),
        missed: None,
    };
    let opening = Opening {
        app: app(),
        rule: rule(rule_n),
        template,
        kind,
        from,
        to: from.max(at(due)),
        occurrences: vec![new],
        snapshot: [7; 32],
        snapshot_bytes: b"a rule".to_vec(),
        priority: 0,
        on_doubt: on_doubt(rule_n),
    };
    match done(store, store.open(opening)) {
        Opened::Moved(numbers) => numbers.first().copied(),
        Opened::Stale(_) => None,
    }
}

/// Every other rule sends again what has no answer.
fn on_doubt(rule_n: usize) -> OnDoubt {
    if rule_n.is_multiple_of(2) { OnDoubt::Hold } else { OnDoubt::Resend }
}

fn piece(occurrence: u64, after: Option<OpenId>, members: &[(usize, Want)], walk: Walk, now: i64) -> Piece {
    let mut members: Vec<Member> = members
        .iter()
        .map(|(n, want)| Member { openid: openid(*n), want: *want, behind: Vec::new() })
        .collect();
    members.sort_by(|a, b| a.openid.cmp(&b.openid));
    members.dedup_by(|a, b| a.openid == b.openid);
    Piece {
        occurrence,
        position: members.last().map(|member| member.openid.clone()).or_else(|| after.clone()),
        after,
        walk,
        members,
        without_consent: BTreeMap::new(),
        expired: 0,
        now: at(now),
    }
}

fn reserved(store: &dyn Store, piece: Piece) -> Vec<Reserved> {
    match done(store, store.chunk(piece)) {
        PieceOutcome::Booked(reserved) => reserved,
        PieceOutcome::Stale => panic!("a stale piece"),
    }
}

fn end(store: &dyn Store, id: DeliveryId, end: End, now: i64) -> State {
    let mark = done(store, store.mark(vec![id], at(now))).remove(0).expect("markable");
    done(store, store.settle(vec![Settlement { mark, started_at: Some(at(now)), end, now: at(now) }]))
        .remove(0)
}

fn view(store: &dyn Store, who: usize, template_n: usize) -> AccountView {
    store.account(&app(), &template(template_n).0, &openid(who)).unwrap().expect("an account")
}

// --- cases -----------------------------------------------------------------------------------------

fn a_report_counts_once(store: &dyn Store) {
    let tap = [(0, Choice::Accept(grant(0)))];
    assert_eq!(done(store, store.report(report(0, "r1", 1, 0, &tap))), ReportOutcome::Booked(vec![]));
    assert_eq!(done(store, store.report(report(0, "r1", 1, 5, &tap))), ReportOutcome::Duplicate);
    assert_eq!(done(store, store.report(report(0, "r1", 2, 5, &tap))), ReportOutcome::Conflict);
    assert_eq!(
        done(store, store.report(report(1, "r1", 2, 5, &tap))),
        ReportOutcome::Booked(vec![]),
        "another's"
    );
    assert_eq!(view(store, 0, 0).account.granted, 1);
    assert!(store.recipient(&app(), &openid(0)).unwrap().is_some(), "he is a recipient now");
}

fn the_cap_holds_and_says_so(store: &dyn Store) {
    let many = OperatorGrant {
        app: app(),
        openid: openid(0),
        template: template(0).0,
        kind: TemplateKind::OneTime,
        n: 99,
        source: Source::Operator,
        now: at(0),
    };
    assert_eq!(done(store, store.grant(many)), Granted { n: 99, rest: None });
    let tap = [(0, Choice::Accept(grant(1)))];
    assert_eq!(done(store, store.report(report(0, "r1", 1, 1, &tap))), ReportOutcome::Booked(vec![]));
    let full = ReportOutcome::Booked(vec![(template(0).0, NotGranted::Full)]);
    assert_eq!(done(store, store.report(report(0, "r2", 1, 1, &tap))), full);
    // What is consumed makes room again, also when it is still with its delivery.
    let occurrence = open(store, 0, 0, 10).expect("new");
    let taken = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, 10));
    assert_eq!(done(store, store.report(report(0, "r3", 1, 1, &tap))), full, "reserved counts");
    end(store, taken[0].id, End::Accepted { msgid: Some(1) }, 11);
    assert_eq!(done(store, store.report(report(0, "r4", 1, 1, &tap))), ReportOutcome::Booked(vec![]));
}

fn a_cursor_moves_once_and_an_identity_opens_once(store: &dyn Store) {
    let first = open(store, 0, 0, 10).expect("new");
    assert_eq!(open(store, 0, 0, 10), None, "known");
    assert_eq!(store.cursor(&app(), &rule(0)).unwrap(), Some(at(10)));
    let (template, kind) = template(0);
    let stale = Opening {
        app: app(),
        rule: rule(0),
        template,
        kind,
        from: at(3),
        to: at(99),
        occurrences: vec![],
        snapshot: [7; 32],
        snapshot_bytes: b"a rule".to_vec(),
        priority: 0,
        on_doubt: OnDoubt::Hold,
    };
    assert_eq!(done(store, store.open(stale)), Opened::Stale(Some(at(10))));
    assert_eq!(store.unfinished().unwrap().len(), 1);
    for bytes in ["another rule", "the same hash keeps its bytes"] {
        done(store, store.keep_snapshot([8; 32], bytes.into()));
    }
    assert_eq!(store.snapshot(&[8; 32]).unwrap().as_deref(), Some(b"another rule".as_slice()));
    assert_eq!(store.snapshot(&[7; 32]).unwrap().as_deref(), Some(b"a rule".as_slice()));
    // Ten thousand openids of a rule are that long.
    let long: Vec<u8> = (0..900_000_u32).map(|n| n.to_be_bytes()[3] ^ n.to_be_bytes()[2]).collect();
    done(store, store.keep_snapshot([9; 32], long.clone()));
    assert_eq!(store.snapshot(&[9; 32]).unwrap(), Some(long));
    assert_eq!(store.newest_occurrence().unwrap(), Some(first));
}

fn a_walk_adds_up_and_ends(store: &dyn Store) {
    done(store, store.report(report(0, "r1", 1, 0, &[(0, Choice::Accept(grant(0)))])));
    done(store, store.report(report(2, "r1", 1, 0, &[(0, Choice::Reject(at(0)))])));
    done(store, store.put_recipient(app(), openid(3), Profile::default(), at(0).into()));
    let occurrence = open(store, 0, 0, 10).expect("new");
    let all =
        [(0, Want::Reserve), (1, Want::Reserve), (2, Want::Reserve), (3, Want::Skip(SkipReason::Muted))];
    let taken = reserved(store, piece(occurrence, None, &all, Walk::Ends, 10));
    assert_eq!(taken.len(), 1);
    let twice = piece(occurrence, None, &all, Walk::Ends, 10);
    assert_eq!(done(store, store.chunk(twice)), PieceOutcome::Stale, "a piece is booked once");
    let stored = store.occurrence(occurrence).unwrap().unwrap();
    assert!(stored.counts.adds_up() && stored.counts.audience == 4, "{stored:?}");
    let skipped = [(SkipReason::NoConsent, 1), (SkipReason::Refused, 1), (SkipReason::Muted, 1)];
    assert_eq!(stored.counts.skipped, skipped.into_iter().collect());
    assert_eq!(stored.state, OccurrenceState::Open, "a delivery is open");
    assert_eq!(end(store, taken[0].id, End::Accepted { msgid: Some(u64::MAX) }, 11), State::Sent);
    assert_eq!(store.occurrence(occurrence).unwrap().unwrap().state, OccurrenceState::Done);
    assert!(store.unfinished().unwrap().is_empty());
    assert_eq!(view(store, 0, 0).consumed, 1);
}

fn two_refusals_deny_and_an_ok_clears(store: &dyn Store) {
    for n in 0..4 {
        done(store, store.report(report(0, &format!("r{n}"), 1, n, &[(0, Choice::Accept(grant(n)))])));
    }
    let send = |rule_n: usize, due: i64, how: End| {
        let occurrence = open(store, rule_n, 0, due).expect("new");
        let taken = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due));
        end(store, taken[0].id, how, due)
    };
    assert_eq!(send(0, 10, End::Refused), State::Refused);
    assert_eq!(view(store, 0, 0).account.available(), 3, "the first costs its own grant");
    assert_eq!(send(0, 20, End::Accepted { msgid: None }), State::Sent);
    assert!(!view(store, 0, 0).account.suspect);
    assert_eq!(send(0, 30, End::Refused), State::Refused);
    assert_eq!(send(0, 40, End::Refused), State::Refused);
    let account = view(store, 0, 0).account;
    assert_eq!((account.available(), account.denied_until), (0, Some(at(40))));
}

fn a_crash_leaves_attempting_in_doubt_and_nothing_else(store: &dyn Store) {
    for who in 0..3 {
        done(store, store.report(report(who, "r", 1, 0, &[(0, Choice::Accept(grant(0)))])));
    }
    let occurrence = open(store, 0, 0, 10).expect("new");
    let all = [(0, Want::Reserve), (1, Want::Reserve), (2, Want::Reserve)];
    let taken = reserved(store, piece(occurrence, None, &all, Walk::Ends, 10));
    let marks = done(store, store.mark(vec![taken[0].id], at(11)));
    assert!(marks[0].is_some());
    assert!(done(store, store.mark(vec![taken[0].id], at(11)))[0].is_none(), "marked once");
    end(store, taken[1].id, End::Wait { at: at(60), past: Past::Busy }, 11);
    assert_eq!(done(store, store.recover(at(12))), 1);
    let states: Vec<State> = store.deliveries(None, None, 9).unwrap().iter().map(|d| d.state).collect();
    assert_eq!(states, [State::InDoubt, State::Waiting, State::Reserved]);
    assert_eq!(store.doubts(9).unwrap().len(), 1);
    // Closed: what may have been processed is in doubt, the others' grants go back.
    let ids = taken.iter().map(|t| t.id).collect();
    assert_eq!(done(store, store.close(ids, Closing::Expired, at(2000))), [false, true, true]);
    assert_eq!(store.doubts(9).unwrap().len(), 2);
    assert_eq!(view(store, 2, 0).account.available(), 1);
    assert!(done(store, store.settle_doubt(taken[0].id, DoubtWord::Failed, at(3000))));
    assert!(!done(store, store.settle_doubt(taken[0].id, DoubtWord::Failed, at(3000))));
    assert!(done(store, store.settle_doubt(taken[1].id, DoubtWord::Sent, at(3000))));
    assert_eq!(view(store, 0, 0).account.available(), 1, "nothing left: the grant is back");
    assert_eq!(view(store, 1, 0).consumed, 1);
    assert!(store.occurrence(occurrence).unwrap().unwrap().counts.adds_up());
}

fn an_import_goes_on_where_it_was(store: &dyn Store) {
    let row = |who| {
        ImportRow::Grant(OperatorGrant {
            app: app(),
            openid: openid(who),
            template: template(0).0,
            kind: TemplateKind::OneTime,
            n: 2,
            source: Source::Import,
            now: at(0),
        })
    };
    let piece = |first, who| ImportPiece { digest: [9; 32], first, rows: vec![row(who)], now: at(0) };
    assert_eq!(done(store, store.import(piece(0, 0))), 1);
    assert_eq!(done(store, store.import(piece(0, 0))), 1, "the same piece again counts nothing");
    assert_eq!(done(store, store.import(piece(1, 1))), 2);
    assert_eq!(store.imported(&[9; 32]).unwrap(), 2);
    assert_eq!((view(store, 0, 0).account.granted, view(store, 1, 0).account.granted), (2, 2));
}

fn a_ref_belongs_to_one(store: &dyn Store) {
    let profile = |text: &str| Profile { reference: Some(Ref::parse(text).unwrap()), ..Profile::default() };
    assert_eq!(
        done(store, store.put_recipient(app(), openid(0), profile("A1"), at(0).into())),
        Put::Stored { created: true }
    );
    assert_eq!(
        done(store, store.put_recipient(app(), openid(1), profile("A1"), at(0).into())),
        Put::RefTaken
    );
    assert_eq!(
        done(store, store.put_recipient(app(), openid(0), profile("A2"), at(0).into())),
        Put::Stored { created: false }
    );
    assert_eq!(
        done(store, store.put_recipient(app(), openid(1), profile("A1"), at(0).into())),
        Put::Stored { created: true }
    );
    assert_eq!(store.by_ref(&app(), &Ref::parse("A2").unwrap()).unwrap(), Some(openid(0)));
    assert_eq!(store.by_ref(&app(), &Ref::parse("A1").unwrap()).unwrap(), Some(openid(1)));
}

fn refuse(store: &dyn Store, who: usize, template_n: usize, created: i64) -> Refused {
    let (template, kind) = template(template_n);
    done(
        store,
        store.refuse(Refusal { app: app(), openid: openid(who), template, kind, created_at: at(created) }),
    )
}

fn a_refusal_voids_what_was_accepted_until_the_end_of_its_second(store: &dyn Store) {
    let tap = |s| [(0, Choice::Accept(grant(s)))];
    for (id, s) in [("r0", 0), ("r1", 5), ("r2", 6)] {
        done(store, store.report(report(0, id, 1, s, &tap(s))));
    }
    let occurrence = open(store, 0, 0, 10).expect("new");
    let taken = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, 10));
    assert_eq!(refuse(store, 0, 0, 5), Refused::Booked);
    let is = view(store, 0, 0);
    assert_eq!(
        (is.account.available(), is.reserved, is.account.voided),
        (1, 1, 1),
        "5 died, 6 lives, 0 is out"
    );
    assert_eq!(is.account.refused_until, Some(at(5) + chrono::TimeDelta::milliseconds(999)));
    assert_eq!(refuse(store, 0, 0, 5), Refused::Known);
    assert_eq!(refuse(store, 0, 0, 4), Refused::Known, "marks never fall");
    assert_eq!(end(store, taken[0].id, End::Failed { errcode: 47003 }, 11), State::Failed);
    let is = view(store, 0, 0);
    assert_eq!((is.account.available(), is.account.voided), (1, 2), "a dead one does not come back");
    // A refusal before anything else is known of the person: an older report comes later.
    assert_eq!(refuse(store, 1, 0, 20), Refused::Booked);
    let late = ReportOutcome::Booked(vec![(template(0).0, NotGranted::RefusedSince)]);
    assert_eq!(done(store, store.report(report(1, "r0", 1, 21, &tap(20)))), late);
    assert_eq!(done(store, store.report(report(1, "r1", 1, 21, &tap(21)))), ReportOutcome::Booked(vec![]));
    // A standing acceptance.
    done(store, store.report(report(2, "r0", 1, 0, &[(1, Choice::Accept(grant(0)))])));
    assert_eq!(refuse(store, 2, 1, 3), Refused::Booked);
    assert_eq!((view(store, 2, 1).account.standing, view(store, 2, 1).account.voided), (None, 1));
}

fn tell(store: &dyn Store, template_n: usize, msgid: u64, created: i64, arrival: Arrival) -> ReceiptOutcome {
    let (app, openid, template) = (app(), openid(0), template(template_n).0);
    let (created_at, now) = (at(created), at(created + 1));
    done(store, store.receipt(Receipt { app, openid, template, msgid, created_at, arrival, now }))
}

fn state_of(store: &dyn Store, id: DeliveryId) -> State {
    store.delivery(id).unwrap().expect("a delivery").state
}

fn a_receipt_finds_its_delivery_in_the_order_of_the_design(store: &dyn Store) {
    for (n, kind) in [(0_usize, "one-time"), (1, "long-term")] {
        for s in 0..6 {
            done(store, store.report(report(0, &format!("{n}r{s}"), 1, s, &[(n, Choice::Accept(grant(s)))])));
        }
        let base = 1000 * i64::try_from(n).unwrap();
        let reserve = |due: i64| {
            let occurrence = open(store, n, n, base + due).expect("new");
            reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, base + due))[0].id
        };
        let told = |msgid, created| tell(store, n, msgid, base + created, Arrival::Arrived);
        let kept = || store.receipts(&app(), &template(n).0, &openid(0)).unwrap().len();
        let busy = End::Wait { at: at(base + 900), past: Past::Busy };
        let (doubt, waiting, silent, numbered) = (reserve(10), reserve(20), reserve(30), reserve(40));
        end(store, doubt, End::Doubt, base + 10);
        end(store, waiting, busy, base + 20);
        end(store, silent, End::Accepted { msgid: None }, base + 30);
        end(store, numbered, End::Accepted { msgid: Some(7) }, base + 40);
        let last = reserve(50);
        let mark = done(store, store.mark(vec![last], at(base + 50))).remove(0).expect("markable");
        assert_eq!(told(7, 41), ReceiptOutcome::Joined(numbered), "{kind}: by its number, also now");
        assert_eq!(told(1, 51), ReceiptOutcome::Kept, "{kind}: one is attempting");
        assert_eq!((told(1, 51), kept()), (ReceiptOutcome::Kept, 1), "{kind}: once");
        // Its reply came later than its receipt.
        let end_of =
            |mark, end| Settlement { mark, started_at: Some(at(base + 50)), end, now: at(base + 52) };
        done(store, store.settle(vec![end_of(mark, End::Accepted { msgid: Some(1) })]));
        assert_eq!((state_of(store, last), kept()), (State::Sent, 0), "{kind}");
        assert_eq!(told(2, -50), ReceiptOutcome::Kept, "{kind}: all began a minute later or more: evidence");
        assert_eq!(told(3, -49), ReceiptOutcome::Joined(doubt), "{kind}: began within the minute");
        assert_eq!((state_of(store, doubt), told(3, -49)), (State::Sent, ReceiptOutcome::Joined(doubt)));
        assert_eq!(told(4, 60), ReceiptOutcome::Joined(silent), "{kind}: sent without a number goes first");
        assert_eq!(told(5, 60), ReceiptOutcome::Joined(waiting), "{kind}: then what waits after -1");
        assert_eq!(state_of(store, waiting), State::Sent);
        assert_eq!(told(6, 60), ReceiptOutcome::Kept, "{kind}: nothing left");
        assert_eq!(tell(store, n, 4, base + 61, Arrival::NotArrived), ReceiptOutcome::Joined(silent));
        assert_eq!(state_of(store, silent), State::Undelivered, "{kind}");
        // Kept while one is attempting, and tried again at recovery.
        let cut = reserve(100);
        let _gone = done(store, store.mark(vec![cut], at(base + 100)));
        assert_eq!(told(8, 101), ReceiptOutcome::Kept);
        assert_eq!(done(store, store.recover(at(base + 5000))), 1);
        assert_eq!(state_of(store, cut), State::Sent, "{kind}: its mark says when it may have begun");
        let balance = view(store, 0, n);
        assert_eq!((balance.in_doubt, balance.reserved), (0, 0), "{kind}");
        assert!(store.unfinished().unwrap().is_empty(), "{kind}");
    }
    a_receipt_without_a_number(store);
    let (template, arrival) = (template(0).0, Arrival::Arrived);
    let nobody =
        Receipt { app: app(), openid: openid(3), template, msgid: 1, created_at: at(0), arrival, now: at(0) };
    assert_eq!(done(store, store.receipt(nobody)), ReceiptOutcome::Unknown);
}

fn a_receipt_without_a_number(store: &dyn Store) {
    let base = 100_000;
    let told = |n, created| tell(store, 0, stand_in(n), base + created, Arrival::Arrived);
    for n in 0..3 {
        done(store, store.report(report(0, &format!("s{n}"), 1, base, &[(0, Choice::Accept(grant(base)))])));
    }
    let reserve = |due: i64| {
        let occurrence = open(store, 0, 0, base + due).expect("new");
        reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, base + due))[0].id
    };
    let (first, second) = (reserve(10), reserve(20));
    end(store, first, End::Doubt, base + 10);
    assert_eq!(told(1, 15), ReceiptOutcome::Joined(first));
    assert_eq!(told(1, 15), ReceiptOutcome::Joined(first), "a copy");
    assert_eq!(store.delivery(first).unwrap().expect("a delivery").msgid(), None);
    // It came before this one began, so it tells of another, whatever comes of this one.
    assert_eq!(told(2, 16), ReceiptOutcome::Kept);
    end(store, second, End::Doubt, base + 20);
    assert_eq!(state_of(store, second), State::InDoubt);
    let (app, openid, template, arrival) = (app(), openid(0), template(0).0, Arrival::Arrived);
    let (msgid, created_at, now) = (stand_in(2), at(base + 16), at(base + 25));
    let copy = Receipt { app, openid, template, msgid, created_at, arrival, now };
    assert_eq!(done(store, store.receipt(copy)), ReceiptOutcome::Kept, "its copy too");
    // While one is attempting nobody knows of which it tells.
    let third = reserve(30);
    let mark = done(store, store.mark(vec![third], at(base + 30))).remove(0).expect("markable");
    assert_eq!(told(3, 31), ReceiptOutcome::Kept);
    let end = End::Accepted { msgid: None };
    let settled = Settlement { mark, started_at: Some(at(base + 30)), end, now: at(base + 32) };
    done(store, store.settle(vec![settled]));
    let last = store.delivery(third).unwrap().expect("a delivery");
    assert_eq!((last.msgid, last.state), (Some(stand_in(3)), State::Sent));
    assert_eq!(state_of(store, second), State::InDoubt);
}

fn receipts_are_kept_in_bounds_and_clear_no_suspicion(store: &dyn Store) {
    for s in 0..3 {
        done(store, store.report(report(0, &format!("r{s}"), 1, s, &[(0, Choice::Accept(grant(s)))])));
    }
    for due in [10, 20] {
        let occurrence = open(store, 0, 0, due).expect("new");
        let taken = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due));
        end(store, taken[0].id, if due == 10 { End::Doubt } else { End::Refused }, due);
    }
    for n in 0..20_u64 {
        // Too old for any delivery.
        let created = -1000 + i64::try_from(n).unwrap();
        assert_eq!(tell(store, 0, 100 + n, created, Arrival::Arrived), ReceiptOutcome::Kept);
    }
    let kept = store.receipts(&app(), &template(0).0, &openid(0)).unwrap();
    assert_eq!((kept.len(), kept[0].msgid), (MAX_RECEIPTS, 104), "the oldest went");
    assert!(matches!(tell(store, 0, 1, 12, Arrival::Arrived), ReceiptOutcome::Joined(_)));
    assert!(view(store, 0, 0).account.suspect, "only an ok reply clears it");
    assert!(done(store, store.retire(at(7 * 86_400 - 990))) > 0);
    assert_eq!(store.receipts(&app(), &template(0).0, &openid(0)).unwrap().len(), 11);
    while done(store, store.retire(at(8 * 86_400))) > 0 {}
    assert_eq!(store.receipts(&app(), &template(0).0, &openid(0)).unwrap(), []);
}

fn a_doubt_counts_as_sent_when_it_is_old_enough(store: &dyn Store) {
    for who in 0..2 {
        done(store, store.report(report(who, "r", 1, 0, &[(0, Choice::Accept(grant(0)))])));
    }
    let occurrence = open(store, 0, 0, 10).expect("new");
    let both = [(0, Want::Reserve), (1, Want::Reserve)];
    let taken = reserved(store, piece(occurrence, None, &both, Walk::Ends, 10));
    end(store, taken[0].id, End::Doubt, 11);
    end(store, taken[1].id, End::Doubt, 12);
    assert_eq!(done(store, store.presume(at(11), at(99))), 0, "since exactly then is not before");
    assert_eq!(done(store, store.presume(at(12), at(99))), 1);
    assert_eq!(done(store, store.presume(at(12), at(99))), 0);
    let states: Vec<State> = taken.iter().map(|t| state_of(store, t.id)).collect();
    assert_eq!(states, [State::PresumedSent, State::InDoubt]);
    assert_eq!((view(store, 0, 0).consumed, view(store, 1, 0).in_doubt), (1, 1), "its grant stays with it");
    assert_eq!(
        tell(store, 0, 5, 12, Arrival::NotArrived),
        ReceiptOutcome::Joined(taken[0].id),
        "a receipt still counts"
    );
    assert_eq!(state_of(store, taken[0].id), State::Undelivered);
}

fn numbers_of_occurrences_are_never_given_again(store: &dyn Store) {
    let first = open(store, 0, 0, 10).expect("new");
    reserved(store, piece(first, None, &[], Walk::Ends, 10));
    while done(store, store.retire(at(91 * 86_400))) > 0 {}
    assert_eq!(store.occurrence(first).unwrap(), None);
    assert_eq!(open(store, 0, 0, 20), Some(first + 1));
}

type Case = (&'static str, fn(&dyn Store));

const CASES: [Case; 43] = [
    (
        "a template whose kind was corrected has nothing for it",
        by_hand::a_template_whose_kind_was_corrected_has_nothing_for_it,
    ),
    ("a repetition ends with its appointment", appointments::a_repetition_ends_with_its_appointment),
    (
        "each zone opens a civil time once, and never beside the rule's own",
        zones::each_zone_opens_a_civil_time_once_and_never_beside_the_rules_own,
    ),
    (
        "recipients are found by the zones they have and had",
        zones::recipients_are_found_by_the_zones_they_have_and_had,
    ),
    ("a report counts once", a_report_counts_once),
    ("the cap holds and says so", the_cap_holds_and_says_so),
    ("a cursor moves once and an identity opens once", a_cursor_moves_once_and_an_identity_opens_once),
    ("a walk adds up and ends", a_walk_adds_up_and_ends),
    ("two refusals deny and an ok clears", two_refusals_deny_and_an_ok_clears),
    ("one message by hand has a name of its own", by_hand::one_message_by_hand_has_a_name_of_its_own),
    ("drift counts what the platform says otherwise", drift::counts_what_the_platform_says_otherwise),
    (
        "a crash leaves attempting in doubt and nothing else",
        a_crash_leaves_attempting_in_doubt_and_nothing_else,
    ),
    ("an import goes on where it was", an_import_goes_on_where_it_was),
    ("a ref belongs to one", a_ref_belongs_to_one),
    (
        "a bad recipient is marked until something new is heard of him",
        recipients::a_bad_recipient_is_marked_until_something_new_is_heard_of_him,
    ),
    ("one unionid is one person over all apps", persons::one_unionid_is_one_person_over_all_apps),
    (
        "a person is muted in the apps that a request reaches",
        persons::a_person_is_muted_in_the_apps_that_a_request_reaches,
    ),
    (
        "a person is erased in the apps that a request reaches",
        persons::a_person_is_erased_in_the_apps_that_a_request_reaches,
    ),
    ("a signed request is carried out once", recipients::a_signed_request_is_carried_out_once),
    (
        "a refusal voids what was accepted until the end of its second",
        a_refusal_voids_what_was_accepted_until_the_end_of_its_second,
    ),
    (
        "a receipt finds its delivery in the order of the design",
        a_receipt_finds_its_delivery_in_the_order_of_the_design,
    ),
    (
        "receipts are kept in bounds and clear no suspicion",
        receipts_are_kept_in_bounds_and_clear_no_suspicion,
    ),
    ("a doubt counts as sent when it is old enough", a_doubt_counts_as_sent_when_it_is_old_enough),
    ("an erased person is gone and counted", erasure::an_erased_person_is_gone_and_counted),
    (
        "what is from before an erasure brings nobody back",
        erasure::what_is_from_before_an_erasure_brings_nobody_back,
    ),
    (
        "what came between a request and its decision is erased too",
        erasure::what_came_between_a_request_and_its_decision_is_erased_too,
    ),
    (
        "what is in doubt is repeated once and paid for",
        repeats::what_is_in_doubt_is_repeated_once_and_paid_for,
    ),
    (
        "one message by hand may tell of an appointment",
        by_hand::one_message_by_hand_may_tell_of_an_appointment,
    ),
    ("a snapshot goes with the last that needs it", snapshots::a_snapshot_goes_with_the_last_that_needs_it),
    ("who goes before is left a grant", claims::who_goes_before_is_left_a_grant),
    ("what was given for an appointment waits for it", bound::it_waits_for_its_appointment),
    (
        "what is put in the same moment has what waits for it",
        bound::what_is_put_in_the_same_moment_has_what_waits_for_it,
    ),
    ("of two messages about it the first gets it", bound::of_two_messages_about_it_the_first_gets_it),
    ("an erasure takes its appointments at once", bound::an_erasure_takes_its_appointments_at_once),
    ("a delivery is found by its person", claims::a_delivery_is_found_by_its_person),
    ("numbers of occurrences are never given again", numbers_of_occurrences_are_never_given_again),
    ("a put that changes nothing has no number", appointments::a_put_that_changes_nothing_has_no_number),
    ("a request counts once for a quarter of an hour", appointments::a_request_counts_once),
    ("appointments are met by time and by change", appointments::they_are_met_by_time_and_by_change),
    ("appointments are met by person", appointments::they_are_met_by_person),
    ("a reminder opens for what was read", appointments::a_reminder_opens_for_what_was_read),
    ("a change ends what it makes void", appointments::a_change_ends_what_it_makes_void),
    ("an attempt blocks for ever", appointments::an_attempt_blocks_for_ever),
];

fn sled_in(folder: &std::path::Path) -> Ledger {
    let options = Options { cache_bytes: 8 << 20, ..Options::new(folder.join("store")) };
    sled::open(&options, Clock::system()).unwrap()
}

#[test]
fn the_model_conforms() {
    for (name, case) in CASES {
        let told = std::panic::catch_unwind(|| case(&Model::new()));
        assert!(told.is_ok(), "{name}");
    }
}

#[test]
fn sled_conforms() {
    for (name, case) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let store = sled_in(folder.path());
        case(&store);
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "{name}");
    }
}

// --- the engine's own promises ---------------------------------------------------------------------

#[test]
fn a_second_process_is_refused_and_a_torn_snapshot_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = sled_in(folder.path());
    let second =
        Options { lock_wait: std::time::Duration::ZERO, ..Options::new(folder.path().join("store")) };
    let refused = sled::open(&second, Clock::system()).unwrap_err();
    assert!(matches!(refused, super::sled::OpenError::HeldElsewhere { .. }), "{refused}");
    drop(store);
    let torn = folder.path().join("store/sled/snap.0000000000000001.generating");
    std::fs::write(&torn, b"").unwrap();
    drop(sled_in(folder.path()));
    assert!(!torn.exists(), "it would have refused every later open");
}

#[test]
fn what_follows_unsynced_takes_one_sync_and_reports_share_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = sled_in(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    done(&store, store.report(report(0, "r0", 1, 0, &[(0, Choice::Accept(grant(0)))])));
    let before = store.figures().unwrap().n_groups;
    runtime.block_on(async {
        let mut last = Number(0);
        let pending: Vec<_> = (0..64)
            .map(|n| store.report(report(1, &format!("r{n}"), 1, 0, &[(0, Choice::Accept(grant(n)))])))
            .collect();
        for pending in pending {
            last = last.max(pending.await.unwrap().number);
        }
        store.wait(last).await.unwrap();
    });
    let groups = store.figures().unwrap().n_groups - before;
    assert!(groups < 32, "64 reports at once took {groups} syncs");
}

#[test]
fn a_store_that_ended_promises_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = sled_in(folder.path());
    done(&store, store.keep("x", b"1".to_vec()));
    Ledger::close(&store);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(store.keep("y", b"2".to_vec())).unwrap_err(), Unavailable);
    assert_eq!(store.kept("x").unwrap_err(), Unavailable);
    drop(store);
    assert_eq!(sled_in(folder.path()).kept("x").unwrap().as_deref(), Some(b"1".as_slice()));
}
