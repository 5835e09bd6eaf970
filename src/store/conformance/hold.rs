//! A hold on everything, which only the ledger has: nothing leaves it but by its end, and that is whole wherever it is cut.

use super::super::ledger::memory::Memory;
use super::*;

/// A record of a hold.
const HOLD: [u8; 3] = [1, 0, 1];

fn open_at(memory: &Memory) -> Ledger {
    Ledger::start_here(Box::new(memory.clone()), &Clock::by_hand(at(500))).unwrap()
}

/// Deliveries of one person in every open state, and so many reserved ones that an end takes several batches.
fn open_work(store: &dyn Store) -> Vec<DeliveryId> {
    let grant = |who: usize, n| {
        let (template, kind) = template(0);
        let (openid, source, now) = (openid(who), Source::Operator, at(0));
        done(store, store.grant(OperatorGrant { app: app(), openid, template, kind, n, source, now }));
    };
    grant(0, 60);
    let mut ids = Vec::new();
    for due in (10..).step_by(2).take(40) {
        let occurrence = open(store, 0, 0, due).expect("new");
        ids.push(reserved(store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due))[0].id);
    }
    end(store, ids[0], End::Wait { at: at(400), past: Past::Tried }, 100);
    end(store, ids[1], End::Wait { at: at(400), past: Past::Busy }, 100);
    for (due, until) in [(200, 300), (202, 900)] {
        let occurrence = open(store, 0, 0, due).expect("new");
        done(store, store.chunk(piece(occurrence, None, &[(0, Want::Hold(at(until)))], Walk::Ends, due)));
        ids.push(store.deliveries(Some(occurrence), None, 9).unwrap()[0].id);
    }
    // One who has no consent, held until it is too late for him.
    let occurrence = open(store, 0, 0, 204).expect("new");
    done(store, store.put_recipient(app(), openid(1), Profile::default(), at(0).into()));
    done(store, store.chunk(piece(occurrence, None, &[(1, Want::Hold(at(300)))], Walk::Ends, 204)));
    ids.push(store.deliveries(Some(occurrence), None, 9).unwrap()[0].id);
    done(store, store.start_rule(app(), rule(1), at(0)));
    ids
}

fn states(store: &dyn Store) -> Vec<State> {
    let all = store.deliveries(None, None, usize::MAX).unwrap();
    all.into_iter().map(|delivery| delivery.state).collect()
}

fn is_sound(store: &Ledger) {
    assert_eq!(done(store, Store::fsck(store)).violations, []);
}

#[test]
fn on_hold_nothing_is_marked_closed_or_cancelled() {
    let store = open_at(&Memory::default());
    let ids = open_work(&store);
    let before = states(&store);
    done(&store, store.keep("hold", HOLD.to_vec()));
    assert!(store.hold().unwrap().is_some());
    assert!(done(&store, store.mark(ids.clone(), at(500))).iter().all(Option::is_none));
    for closing in [Closing::Expired, Closing::Cancelled] {
        assert_eq!(done(&store, Store::close(&store, ids.clone(), closing, at(500))), vec![false; ids.len()]);
    }
    assert_eq!(states(&store), before);
    // Who is erased got them, as far as anybody knows.
    assert!(matches!(done(&store, store.erase(app(), openid(0), at(500).into())), Erased::Booked(_)));
    let erased = states(&store);
    assert_eq!(erased.iter().filter(|state| **state == State::PresumedSent).count(), 40, "{erased:?}");
    is_sound(&store);
}

#[test]
fn what_was_in_doubt_before_a_hold_is_not_repeated_behind_it() {
    let store = open_at(&Memory::default());
    open_work(&store);
    let occurrence = open(&store, 1, 0, 300).expect("new");
    let id = reserved(&store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, 300))[0].id;
    end(&store, id, End::Doubt, 301);
    assert!(store.delivery(id).unwrap().unwrap().is_to_be_repeated());
    done(&store, store.keep("hold", HOLD.to_vec()));
    assert_eq!(done(&store, store.repeat(id, Again::Now, at(500))), Repeated::Stale);
    assert_eq!(done(&store, store.end_hold(at(500))), HoldEnd::Ended);
    let all = store.deliveries(None, None, usize::MAX).unwrap();
    assert!(!all.iter().any(Delivery::is_to_be_repeated), "it may have been repeated since");
    assert_eq!(done(&store, store.repeat(id, Again::Now, at(900))), Repeated::Stale);
    is_sound(&store);
}

#[test]
fn a_hold_does_not_end_before_everybody_is_walked() {
    let store = open_at(&Memory::default());
    assert_eq!(done(&store, store.end_hold(at(500))), HoldEnd::NoHold);
    open_work(&store);
    let occurrence = open(&store, 0, 0, 300).expect("new");
    done(&store, store.keep("hold", HOLD.to_vec()));
    let before = states(&store);
    assert_eq!(done(&store, store.end_hold(at(500))), HoldEnd::NotWalked);
    assert_eq!((states(&store), store.hold().unwrap().is_some()), (before, true));
    let members = [(0, Want::Doubt), (1, Want::Doubt)];
    assert_eq!(
        done(&store, store.chunk(piece(occurrence, None, &members, Walk::Ends, 500))),
        PieceOutcome::Booked(vec![])
    );
    assert_eq!(done(&store, store.end_hold(at(500))), HoldEnd::Ended);
    let counts = store.occurrence(occurrence).unwrap().unwrap().counts;
    assert_eq!((counts.in_state(State::InDoubt), counts.skipped[&SkipReason::NoConsent]), (1, 1));
    is_sound(&store);
}

/// The power goes after any batch: either the hold is still there, or everything is booked.
#[test]
fn the_end_of_a_hold_is_whole_wherever_it_is_cut() {
    let before = Memory::default();
    {
        let store = open_at(&before);
        open_work(&store);
        done(&store, store.keep("hold", HOLD.to_vec()));
    }
    let mut n_cut = 0;
    for batches in 0.. {
        let memory = before.copy();
        let store = open_at(&memory);
        memory.fail_after(Some(batches));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = runtime.block_on(store.end_hold(at(500))).is_ok();
        drop(store);
        memory.fail_after(None);
        let store = open_at(&memory);
        is_sound(&store);
        if store.hold().unwrap().is_some() {
            assert!(!told, "it was told that the hold is over");
            n_cut += 1;
            assert_eq!(done(&store, store.end_hold(at(500))), HoldEnd::Ended);
        }
        let mut expected = vec![State::InDoubt; 41];
        // Its time has not come; and who has no consent was sent nothing.
        expected.extend([State::Held, State::Skipped]);
        assert_eq!(states(&store), expected, "cut after {batches}");
        for n in 0..2 {
            assert_eq!(store.cursor(&app(), &rule(n)).unwrap(), Some(at(500)), "cut after {batches}");
        }
        assert_eq!(view(&store, 0, 0).in_doubt, 41);
        is_sound(&store);
        if told {
            break;
        }
    }
    assert!(n_cut > 2, "it takes some batches: {n_cut}");
}
