//! Who goes before another one is left a grant, whether his walk comes or a held delivery is to be let go.

use super::*;

/// Lets one held delivery go at `now`, behind those.
fn release(store: &dyn Store, id: DeliveryId, behind: &[Claim], now: i64) -> Option<State> {
    let release = Release { id, fate: Fate::Reserve, behind: behind.to_vec() };
    done(store, store.release(vec![release], at(now))).remove(0)
}

/// An occurrence of `rule_n` that holds everybody in a chunk of his own, and who is held where.
fn holding(store: &dyn Store, rule_n: usize, due: i64) -> (u64, Vec<DeliveryId>) {
    let number = open(store, rule_n, 0, due).expect("new");
    let mut after = None;
    for who in 0..PEOPLE.len() {
        let walk = if who + 1 == PEOPLE.len() { Walk::Ends } else { Walk::GoesOn };
        let piece = piece(number, after.take(), &[(who, Want::Hold(at(due + 10)))], walk, due);
        after.clone_from(&piece.position);
        assert_eq!(reserved(store, piece), []);
    }
    (number, store.deliveries(Some(number), None, 64).unwrap().iter().map(|held| held.id).collect())
}

fn everybody_has_one(store: &dyn Store) {
    for who in 0..PEOPLE.len() {
        let tap = [(0, Choice::Accept(grant(0)))];
        assert_eq!(done(store, store.report(report(who, "r1", 1, 0, &tap))), ReportOutcome::Booked(vec![]));
    }
}

pub(super) fn who_goes_before_is_left_a_grant(store: &dyn Store) {
    everybody_has_one(store);
    let (high, of_high) = holding(store, 0, 10);
    let (_, of_low) = holding(store, 2, 10);
    let walks = open(store, 4, 0, 20).expect("new");
    // The higher one holds it still, so nobody behind it takes the only grant: neither one that is let go nor a walk.
    assert_eq!(release(store, of_low[0], &[Claim::Held(of_high[0])], 20), Some(State::Skipped));
    let mut walked = piece(walks, None, &[(0, Want::Reserve), (1, Want::Reserve)], Walk::GoesOn, 20);
    for member in &mut walked.members {
        member.behind = of_high.iter().copied().map(Claim::Held).collect();
    }
    let position = walked.position.clone();
    assert_eq!(reserved(store, walked), []);
    assert_eq!(release(store, of_high[0], &[], 20), Some(State::Reserved));
    // Another's does not count.
    assert_eq!(release(store, of_low[1], &[Claim::Held(of_high[3])], 20), Some(State::Reserved));
    // A walk that has passed him wants nothing, and one that comes does.
    assert_eq!(release(store, of_low[2], &[Claim::Walk(walks)], 20), Some(State::Skipped));
    let last = piece(walks, position, &[(3, Want::Skip(SkipReason::Muted))], Walk::Ends, 20);
    assert_eq!(reserved(store, last), []);
    assert_eq!(release(store, of_low[3], &[Claim::Walk(walks)], 20), Some(State::Reserved));
    // Stopped, it wants nothing.
    done(store, store.stop_occurrence(high, OccurrenceState::Held, None));
    let (_, more) = holding(store, 6, 20);
    assert_eq!(release(store, more[2], &[Claim::Held(of_high[2])], 40), Some(State::Reserved));
}

pub(super) fn a_delivery_is_found_by_its_person(store: &dyn Store) {
    everybody_has_one(store);
    let (number, held) = holding(store, 0, 10);
    for (who, id) in held.iter().enumerate() {
        let found = store.delivery_to(number, &openid(who)).unwrap().expect("his");
        assert_eq!((found.id, found.openid), (*id, openid(who)));
    }
    for nobody in ["oAAAAAAAAA", "oBBBBBBBBBBB", "oEEEEEEEEEE"] {
        assert_eq!(store.delivery_to(number, &OpenId::parse(nobody).unwrap()).unwrap(), None);
    }
    assert_eq!(store.delivery_to(number + 1, &openid(0)).unwrap(), None);
    // Whose name is gone stands in nobody's way.
    for who in [1, 2] {
        done(store, store.erase(app(), openid(who), at(20).into()));
    }
    while done(store, store.sweep(at(20))) > 0 {}
    for who in [0, 3] {
        assert_eq!(store.delivery_to(number, &openid(who)).unwrap().map(|found| found.id), Some(held[who]));
    }
}
