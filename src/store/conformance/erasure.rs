//! Erasure: a person with a delivery in every state, erased at once, by pieces, and with the power going in between.

use super::super::ledger::memory::Memory;
use super::*;

/// Who is erased, with nine grants, a delivery in each of nine states, and what was kept of him beside.
pub(super) struct Known {
    pub(super) deliveries: Vec<(State, DeliveryId)>,
    /// Of the one that is attempting.
    pub(super) mark: Mark,
}

pub(super) fn known(store: &dyn Store) -> Known {
    let profile = Profile { reference: Some(Ref::parse("A1").unwrap()), ..Profile::default() };
    done(store, store.put_recipient(app(), openid(0), profile, at(0).into()));
    for n in 0..9 {
        done(store, store.report(report(0, &format!("r{n}"), 1, n, &[(0, Choice::Accept(grant(n)))])));
    }
    let busy = End::Wait { at: at(400), past: Past::Busy };
    let tried = End::Wait { at: at(400), past: Past::Tried };
    let ends = [
        Some(End::Accepted { msgid: Some(7) }),
        Some(End::Refused),
        Some(End::Failed { errcode: 47003 }),
        Some(End::Doubt),
        Some(busy),
        Some(tried),
        None,
    ];
    let mut deliveries = Vec::new();
    for (due, end_of) in (10..).step_by(10).zip(ends) {
        let occurrence = open(store, 0, 0, due).expect("new");
        let id = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due))[0].id;
        let state = end_of.map_or(State::Reserved, |how| end(store, id, how, due));
        deliveries.push((state, id));
    }
    for (due, want) in [(100, Want::Hold(at(900))), (110, Want::Skip(SkipReason::Muted))] {
        let occurrence = open(store, 0, 0, due).expect("new");
        done(store, store.chunk(piece(occurrence, None, &[(0, want)], Walk::Ends, due)));
        deliveries
            .extend(store.deliveries(Some(occurrence), None, 9).unwrap().iter().map(|d| (d.state, d.id)));
    }
    let occurrence = open(store, 0, 0, 120).expect("new");
    let last = reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, 120))[0].id;
    let mark = done(store, store.mark(vec![last], at(120))).remove(0).expect("markable");
    deliveries.push((State::Attempting, last));
    let (app, openid, template, now) = (app(), openid(0), template(0).0, at(130));
    let told =
        Receipt { app, openid, template, msgid: 99, created_at: at(-900), arrival: Arrival::Arrived, now };
    assert_eq!(done(store, store.receipt(told)), ReceiptOutcome::Kept);
    Known { deliveries, mark }
}

/// What each state becomes.
fn becomes(state: State) -> State {
    match state {
        State::Held | State::Reserved => State::Cancelled,
        // One of the two after -1.
        State::Waiting | State::InDoubt => State::PresumedSent,
        State::Attempting
        | State::Sent
        | State::Undelivered
        | State::PresumedSent
        | State::Refused
        | State::Failed
        | State::Expired
        | State::Cancelled
        | State::Skipped => state,
    }
}

fn erase(store: &dyn Store, now: i64) {
    assert!(matches!(done(store, store.erase(app(), openid(0), at(now).into())), Erased::Booked(_)));
    while done(store, store.sweep(at(now))) > 0 {}
}

/// Nothing finds him, and what he did is still counted.
///
/// `n_more` grants were reserved beside.
fn is_gone(store: &dyn Store, deliveries: &[(State, DeliveryId)], n_more: u64) {
    assert_eq!(store.recipient(&app(), &openid(0)).unwrap(), None);
    assert_eq!(store.by_ref(&app(), &Ref::parse("A1").unwrap()).unwrap(), None);
    assert_eq!(store.account(&app(), &template(0).0, &openid(0)).unwrap(), None);
    assert_eq!(store.receipts(&app(), &template(0).0, &openid(0)).unwrap(), []);
    for (before, id) in deliveries {
        let is = store.delivery(*id).unwrap().expect("it stays as a count");
        assert!(is.openid.is_erased(), "{before:?}");
        let tried = is.past == Past::Tried && *before == State::Waiting;
        assert_eq!(is.state, if tried { State::Cancelled } else { becomes(*before) }, "{before:?}");
    }
    for occurrence in store.occurrences(None, None, 100).unwrap() {
        assert!(occurrence.counts.adds_up(), "{occurrence:?}");
    }
    let all = store.account(&app(), &template(0).0, &OpenId::erased()).unwrap().expect("totals are carried");
    // Sent, and two presumed so; one attempting; refused, and all that came back or was free.
    assert_eq!(
        (all.account.granted, all.consumed, all.reserved, all.account.voided),
        (9 + n_more, 3, 1, 5 + n_more)
    );
}

pub(super) fn an_erased_person_is_gone_and_counted(store: &dyn Store) {
    let Known { deliveries, mark } = known(store);
    erase(store, 500);
    is_gone(store, &deliveries, 0);
    assert_eq!(store.erased_at(&app(), &openid(0)).unwrap(), Some(at(500)));
    erase(store, 500);
    is_gone(store, &deliveries, 0);
    // His last attempt ends: it is not tried again, and its grant goes nowhere.
    let again = End::Wait { at: at(600), past: Past::Tried };
    let told = Settlement { mark, started_at: Some(at(120)), end: again, now: at(510) };
    assert_eq!(done(store, store.settle(vec![told])), [State::Cancelled]);
    let all = store.account(&app(), &template(0).0, &OpenId::erased()).unwrap().expect("an account");
    assert_eq!((all.reserved, all.account.voided, all.account.available()), (0, 6, 0));
    assert!(store.unfinished().unwrap().is_empty());
}

pub(super) fn what_is_from_before_an_erasure_brings_nobody_back(store: &dyn Store) {
    known(store);
    erase(store, 500);
    let tap = |tapped: i64, id: &str| {
        let mut told = report(0, id, 1, 510, &[(0, Choice::Accept(grant(tapped)))]);
        told.tapped_at = at(tapped);
        done(store, store.report(told))
    };
    let (told, kind) = template(0);
    let refusal =
        |s| Refusal { app: app(), openid: openid(0), template: told.clone(), kind, created_at: at(s) };
    assert_eq!(tap(500, "r1"), ReportOutcome::Erased);
    assert_eq!(tap(499, "new"), ReportOutcome::Erased);
    assert_eq!(done(store, store.refuse(refusal(500))), Refused::Erased);
    assert_eq!(tell(store, 0, 7, 500, Arrival::Arrived), ReceiptOutcome::Erased);
    assert_eq!(store.recipient(&app(), &openid(0)).unwrap(), None, "stored nowhere");
    // He comes again, as somebody new; a piece that knew him before does not name him.
    let occurrence = open(store, 1, 0, 505).expect("new");
    done(store, store.chunk(piece(occurrence, None, &[(0, Want::Skip(SkipReason::Muted))], Walk::Ends, 505)));
    assert!(store.deliveries(Some(occurrence), None, 9).unwrap().is_empty(), "only counted");
    assert_eq!(tap(501, "r1"), ReportOutcome::Booked(vec![]));
    assert_eq!(tap(501, "r1"), ReportOutcome::Duplicate);
    assert_eq!((view(store, 0, 0).account.granted, view(store, 0, 0).account.available()), (1, 1));
    while done(store, store.retire(at(181 * 86_400))) > 0 {}
    assert_eq!(store.erased_at(&app(), &openid(0)).unwrap(), None, "in its time that is forgotten too");
}

pub(super) fn what_came_between_a_request_and_its_decision_is_erased_too(store: &dyn Store) {
    known(store);
    // His request is of 500, and others are decided before it.
    let mut between = Vec::new();
    for (due, want) in [(505, Want::Skip(SkipReason::Muted)), (506, Want::Hold(at(900)))] {
        let occurrence = open(store, 0, 0, due).expect("new");
        done(store, store.chunk(piece(occurrence, None, &[(0, want)], Walk::Ends, due)));
        between.push(store.deliveries(Some(occurrence), None, 9).unwrap()[0].id);
    }
    let tap = |tapped: i64, id: &str| {
        let mut told = report(0, id, 1, tapped, &[(0, Choice::Accept(grant(tapped)))]);
        told.tapped_at = at(tapped);
        done(store, store.report(told))
    };
    assert_eq!(tap(507, "between"), ReportOutcome::Booked(vec![]));
    assert!(matches!(done(store, store.erase(app(), openid(0), at(500).into())), Erased::Booked(_)));
    // He comes again before anything is swept, and a message is made for him.
    assert_eq!(tap(510, "again"), ReportOutcome::Booked(vec![]));
    let occurrence = open(store, 0, 0, 511).expect("new");
    done(store, store.chunk(piece(occurrence, None, &[(0, Want::Skip(SkipReason::Muted))], Walk::Ends, 511)));
    let his = store.deliveries(Some(occurrence), None, 9).unwrap()[0].id;
    while done(store, store.sweep(at(512))) > 0 {}
    let named = |id: &DeliveryId| !store.delivery(*id).unwrap().expect("it stays").openid.is_erased();
    assert_eq!((between.iter().any(named), named(&his)), (false, true));
    assert!(store.occurrences(None, None, 100).unwrap().iter().all(|one| one.counts.adds_up()));
    let booked = |id: &str| store.is_booked(&app(), &openid(0), &ReportId::parse(id).unwrap()).unwrap();
    assert_eq!((booked("between"), booked("again")), (false, true));
    // And nothing is left of him when nobody comes again.
    erase(store, 505);
    assert_eq!((named(&his), booked("again")), (false, false));
}

/// Reservations beside those of [`known`].
const N_MORE: u64 = 60;

/// The power goes after any batch of an erasure and of its sweep: the start ends what was begun.
#[test]
fn an_erasure_is_whole_wherever_it_is_cut() {
    let clock = Clock::by_hand(at(500));
    let open_at = |memory: &Memory| Ledger::start_here(Box::new(memory.clone()), &clock).unwrap();
    let before = Memory::default();
    let deliveries = {
        let store = open_at(&before);
        let mut deliveries = known(&store).deliveries;
        // So many that an erasure takes several batches.
        let (n, now, source) = (u32::try_from(N_MORE).unwrap(), at(0), Source::Operator);
        let (template, kind) = template(0);
        done(
            &store,
            store.grant(OperatorGrant { app: app(), openid: openid(0), template, kind, n, source, now }),
        );
        for due in (200..).take(usize::try_from(N_MORE).unwrap()) {
            let occurrence = open(&store, 0, 0, due).expect("new");
            let taken = reserved(&store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due));
            deliveries.push((State::Reserved, taken[0].id));
        }
        deliveries
    };
    let (mut n_begun, mut n_cut) = (0, 0);
    for batches in 0.. {
        let memory = before.copy();
        let store = open_at(&memory);
        memory.fail_after(Some(batches));
        let pending = store.erase(app(), openid(0), at(500).into());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut told = runtime.block_on(pending).is_ok();
        while told {
            match runtime.block_on(store.sweep(at(500))) {
                Ok(decided) if decided.value == 0 => break,
                Ok(_) => {}
                Err(Unavailable) => told = false,
            }
        }
        drop(store);
        memory.fail_after(None);
        let store = open_at(&memory);
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}");
        let begun = store.erased_at(&app(), &openid(0)).unwrap().is_some();
        assert_eq!(store.recipient(&app(), &openid(0)).unwrap().is_none(), begun, "cut after {batches}");
        assert_eq!(store.account(&app(), &template(0).0, &openid(0)).unwrap().is_none(), begun);
        if begun {
            n_begun += 1;
            while done(&store, store.sweep(at(500))) > 0 {}
            is_gone(&store, &deliveries, N_MORE);
            assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}, and swept");
            drop(store);
            assert!(!memory.holds(openid(0).as_str()), "his openid is left");
        }
        if told {
            break;
        }
        n_cut += 1;
    }
    assert!(n_cut > 8 && n_begun > 8, "cut {n_cut} times, {n_begun} of them after it began");
}
