//! One suite for every engine: cases that each promise of the trait names, and random histories that are
//! told to an engine and to the reference model, with both books compared after each step.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::ledger::Ledger;
use super::model::{BACKEND, Model};
use super::sled::{self, Options};
use super::*;
use crate::clock::Clock;
use crate::domain::consent::{Grant, NotGranted, Source};
use crate::domain::count::n_of;
use crate::domain::delivery::{Past, State};
use crate::domain::id::ReportId;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;

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
    RuleId::parse(["first", "second"][n % 2]).unwrap()
}

fn grant(s: i64) -> Grant {
    Grant { accepted_at: at(s), source: BACKEND, bound: None }
}

fn report(who: usize, id: &str, content: u8, now: i64, choices: &[(usize, Choice)]) -> Report {
    let answers = choices.iter().map(|(n, choice)| {
        let (template, kind) = template(*n);
        Answer { template, kind, choice: *choice }
    });
    Report {
        app: app(),
        openid: openid(who),
        id: ReportId::parse(id).unwrap(),
        content: [content; 32],
        now: at(now),
        adds: Additions::default(),
        answers: answers.collect(),
    }
}

/// Waits for a write, decided and durable.
fn done<T>(store: &dyn Store, pending: Pending<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let decided = pending.await.unwrap();
        store.wait(decided.number).await.unwrap();
        decided.value
    })
}

fn open(store: &dyn Store, rule_n: usize, template_n: usize, due: i64) -> Option<u64> {
    let from = done(store, store.start_rule(app(), rule(rule_n), at(0)));
    let (template, kind) = template(template_n);
    let new = NewOccurrence {
        due: Due { at: at(due), civil: at(due).naive_utc(), fold: 0 },
        zone: Zone::UTC,
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
    };
    match done(store, store.open(opening)) {
        Opened::Moved(numbers) => numbers.first().copied(),
        Opened::Stale(_) => None,
    }
}

fn piece(occurrence: u64, after: Option<OpenId>, members: &[(usize, Want)], walk: Walk, now: i64) -> Piece {
    let mut members: Vec<Member> =
        members.iter().map(|(n, want)| Member { openid: openid(*n), want: *want }).collect();
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
    };
    assert_eq!(done(store, store.open(stale)), Opened::Stale(Some(at(10))));
    assert_eq!(store.unfinished().unwrap().len(), 1);
    assert_eq!(store.snapshot(&[7; 32]).unwrap().as_deref(), Some(b"a rule".as_slice()));
    assert_eq!(store.newest_occurrence().unwrap(), Some(first));
}

fn a_walk_adds_up_and_ends(store: &dyn Store) {
    done(store, store.report(report(0, "r1", 1, 0, &[(0, Choice::Accept(grant(0)))])));
    done(store, store.report(report(2, "r1", 1, 0, &[(0, Choice::Reject(at(0)))])));
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
        done(store, store.put_recipient(app(), openid(0), profile("A1"), at(0))),
        Put::Stored { created: true }
    );
    assert_eq!(done(store, store.put_recipient(app(), openid(1), profile("A1"), at(0))), Put::RefTaken);
    assert_eq!(
        done(store, store.put_recipient(app(), openid(0), profile("A2"), at(0))),
        Put::Stored { created: false }
    );
    assert_eq!(
        done(store, store.put_recipient(app(), openid(1), profile("A1"), at(0))),
        Put::Stored { created: true }
    );
    assert_eq!(store.by_ref(&app(), &Ref::parse("A2").unwrap()).unwrap(), Some(openid(0)));
    assert_eq!(store.by_ref(&app(), &Ref::parse("A1").unwrap()).unwrap(), Some(openid(1)));
}

type Case = (&'static str, fn(&dyn Store));

const CASES: [Case; 8] = [
    ("a report counts once", a_report_counts_once),
    ("the cap holds and says so", the_cap_holds_and_says_so),
    ("a cursor moves once and an identity opens once", a_cursor_moves_once_and_an_identity_opens_once),
    ("a walk adds up and ends", a_walk_adds_up_and_ends),
    ("two refusals deny and an ok clears", two_refusals_deny_and_an_ok_clears),
    (
        "a crash leaves attempting in doubt and nothing else",
        a_crash_leaves_attempting_in_doubt_and_nothing_else,
    ),
    ("an import goes on where it was", an_import_goes_on_where_it_was),
    ("a ref belongs to one", a_ref_belongs_to_one),
];

fn sled_in(folder: &std::path::Path) -> Ledger {
    let options = Options { cache_bytes: 8 << 20, ..Options::new(folder.to_owned()) };
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

// --- histories -------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Report { who: usize, id: u8, content: u8, template: usize, reject: bool, age: i64 },
    Grant { who: usize, template: usize, n: u32 },
    Open { rule: usize, template: usize },
    Piece { which: usize, members: Vec<(usize, u8)>, ends: bool },
    Mark { which: usize },
    Settle { how: u8 },
    Close { which: usize, cancel: bool },
    Stop { which: usize },
    Recover,
    Doubt { which: usize, sent: bool },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_usize, 0..6_u8, 0..2_u8, 0..2_usize, prop::bool::weighted(0.2), 0..30_i64)
            .prop_map(|(who, id, content, template, reject, age)| Step::Report { who, id, content, template, reject, age }),
        2 => (0..4_usize, 0..2_usize, 1..4_u32).prop_map(|(who, template, n)| Step::Grant { who, template, n }),
        4 => (0..2_usize, 0..2_usize).prop_map(|(rule, template)| Step::Open { rule, template }),
        5 => (0..8_usize, prop::collection::vec((0..4_usize, 0..8_u8), 0..4), any::<bool>())
            .prop_map(|(which, members, ends)| Step::Piece { which, members, ends }),
        8 => (0..40_usize).prop_map(|which| Step::Mark { which }),
        8 => (0..12_u8).prop_map(|how| Step::Settle { how }),
        2 => (0..40_usize, any::<bool>()).prop_map(|(which, cancel)| Step::Close { which, cancel }),
        1 => (0..8_usize).prop_map(|which| Step::Stop { which }),
        1 => Just(Step::Recover),
        2 => (0..40_usize, any::<bool>()).prop_map(|(which, sent)| Step::Doubt { which, sent }),
        1 => Just(Step::Reopen),
    ]
}

/// An account as far as it does not depend on where folding put it.
fn visible(view: &AccountView) -> String {
    let a = &view.account;
    format!(
        "{:?} granted {} free {:?} reserved {} doubt {} consumed {} voided {} suspect {} {:?} {:?} {:?} {:?}",
        view.kind,
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
        store.accounts(None, 100).unwrap().into_iter().map(|(key, view)| (key, visible(&view))).collect()
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
}

fn history(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = sled_in(folder.path());
    let model = Model::new();
    let mut marks: Vec<(Mark, Mark)> = Vec::new();
    let mut n_opened = 0;
    for (clock, step) in (100_i64..).step_by(10).zip(steps) {
        match step.clone() {
            Step::Report { who, id, content, template, reject, age } => {
                let when = grant(clock - age);
                let choice = if reject { Choice::Reject(when.accepted_at) } else { Choice::Accept(when) };
                let told = report(who, &format!("r{id}"), content, clock, &[(template, choice)]);
                assert_eq!(done(&engine, engine.report(told.clone())), done(&model, model.report(told)));
            }
            Step::Grant { who, template: t, n } => {
                let (template, kind) = template(t);
                let told = OperatorGrant {
                    app: app(),
                    openid: openid(who),
                    template,
                    kind,
                    n,
                    source: Source::Operator,
                    now: at(clock),
                };
                assert_eq!(done(&engine, engine.grant(told.clone())), done(&model, model.grant(told)));
            }
            Step::Open { rule, template } => {
                let (a, b) = (open(&engine, rule, template, clock), open(&model, rule, template, clock));
                assert_eq!(a, b);
                n_opened = n_opened.max(a.unwrap_or(0));
            }
            Step::Piece { which, members, ends } if n_opened > 0 => {
                let number = n_of(which) % n_opened + 1;
                let after = model.occurrence(number).unwrap().and_then(|o| o.position);
                let wants: Vec<(usize, Want)> = members
                    .iter()
                    .map(|(who, want)| {
                        let want = match want {
                            0 => Want::Hold(at(clock + 60)),
                            1 => Want::Skip(SkipReason::Overflow),
                            _ => Want::Reserve,
                        };
                        (*who, want)
                    })
                    .collect();
                let mut told =
                    piece(number, after, &wants, if ends { Walk::Ends } else { Walk::GoesOn }, clock);
                told.without_consent.insert(SkipReason::NoConsent, 2);
                told.expired = 1;
                assert_eq!(done(&engine, engine.chunk(told.clone())), done(&model, model.chunk(told)));
            }
            Step::Mark { which } => {
                let all = model.deliveries(None, None, 1000).unwrap();
                if let Some(delivery) = all.get(which % all.len().max(1)) {
                    let a = done(&engine, engine.mark(vec![delivery.id], at(clock))).remove(0);
                    let b = done(&model, model.mark(vec![delivery.id], at(clock))).remove(0);
                    assert_eq!(a.is_some(), b.is_some());
                    marks.extend(a.zip(b));
                }
            }
            Step::Settle { how } if !marks.is_empty() => {
                let (a, b) = marks.remove(0);
                let end = match how {
                    0 => End::NotStarted,
                    1 | 2 => End::Refused,
                    3 => End::Failed { errcode: 47003 },
                    4 => End::Wait { at: at(clock + 30), past: Past::Tried },
                    5 => End::Wait { at: at(clock + 30), past: Past::Busy },
                    6 => End::Doubt,
                    7 => End::GrantDied,
                    8 => End::Expired,
                    9 => End::Cancelled,
                    _ => End::Accepted { msgid: Some(clock.cast_unsigned() << 32) },
                };
                let started_at = (!matches!(how, 0 | 7 | 8 | 9)).then(|| at(clock - 1));
                let told = |mark| vec![Settlement { mark, started_at, end, now: at(clock) }];
                assert_eq!(done(&engine, engine.settle(told(a))), done(&model, model.settle(told(b))));
            }
            Step::Close { which, cancel } => {
                let all = model.deliveries(None, None, 1000).unwrap();
                if let Some(delivery) = all.get(which % all.len().max(1)) {
                    let closing = if cancel { Closing::Cancelled } else { Closing::Expired };
                    let a = done(&engine, Store::close(&engine, vec![delivery.id], closing, at(clock)));
                    assert_eq!(a, done(&model, model.close(vec![delivery.id], closing, at(clock))));
                }
            }
            Step::Stop { which } if n_opened > 0 => {
                let number = n_of(which) % n_opened + 1;
                let reason = || Some("removed".to_owned());
                done(&engine, engine.stop_occurrence(number, OccurrenceState::Cancelled, reason()));
                done(&model, model.stop_occurrence(number, OccurrenceState::Cancelled, reason()));
            }
            Step::Recover => {
                marks.clear();
                assert_eq!(done(&engine, engine.recover(at(clock))), done(&model, model.recover(at(clock))));
            }
            Step::Doubt { which, sent } => {
                let doubts = model.doubts(1000).unwrap();
                if let Some(delivery) = doubts.get(which % doubts.len().max(1)) {
                    let word = if sent { DoubtWord::Sent } else { DoubtWord::Failed };
                    let a = done(&engine, engine.settle_doubt(delivery.id, word, at(clock)));
                    assert_eq!(a, done(&model, model.settle_doubt(delivery.id, word, at(clock))));
                }
            }
            Step::Reopen => {
                drop(engine);
                engine = sled_in(folder.path());
            }
            Step::Piece { .. } | Step::Settle { .. } | Step::Stop { .. } => {}
        }
        compare(&engine, &model);
    }
    assert_eq!(done(&engine, Store::fsck(&engine)).violations, []);
    drop(engine);
    let engine = sled_in(folder.path());
    compare(&engine, &model);
    assert_eq!(done(&engine, Store::fsck(&engine)).violations, []);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_and_the_model_keep_the_same_books(steps in prop::collection::vec(step(), 1..40)) {
        history(&steps);
    }
}

// --- the engine's own promises ---------------------------------------------------------------------

#[test]
fn a_second_process_is_refused_and_a_torn_snapshot_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = sled_in(folder.path());
    let second = Options { lock_wait: std::time::Duration::ZERO, ..Options::new(folder.path().to_owned()) };
    let refused = sled::open(&second, Clock::system()).unwrap_err();
    assert!(matches!(refused, super::sled::OpenError::HeldElsewhere { .. }), "{refused}");
    drop(store);
    let torn = folder.path().join("sled/snap.0000000000000001.generating");
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
