//! What is in doubt is repeated once, with a grant of its own, where its rule says so.

use super::*;
use crate::domain::occurrence::Repetition;
use crate::plan::repeat::MAX_MESSAGES;

/// One delivery that is in doubt since `now`.
fn doubt(store: &dyn Store, id: DeliveryId, now: i64) -> Delivery {
    assert_eq!(end(store, id, End::Doubt, now), State::InDoubt);
    store.delivery(id).unwrap().unwrap()
}

fn balance(store: &dyn Store) -> (u64, u64, u64, u64) {
    let account = view(store, 0, 0);
    (account.account.available(), account.reserved, account.in_doubt, account.consumed)
}

pub(super) fn what_is_in_doubt_is_repeated_once_and_paid_for(store: &dyn Store) {
    for n in 1..=3 {
        done(store, store.report(report(0, &format!("r{n}"), 1, n, &[(0, Choice::Accept(grant(n)))])));
    }
    let repeat = |id, again, now: i64| done(store, store.repeat(id, again, at(now)));
    let walk = |rule_n: usize, due: i64| {
        let number = open(store, rule_n, 0, due).expect("new");
        reserved(store, piece(number, None, &[(0, Want::Reserve)], Walk::Ends, due)).remove(0).id
    };
    // Of a rule that says nothing it stays as it is.
    let held = walk(0, 10);
    assert_eq!(doubt(store, held, 12).next_at, None);
    assert_eq!(repeat(held, Again::Now, 900), Repeated::Stale);
    assert!(done(store, store.settle_doubt(held, DoubtWord::Failed, at(13))));

    let first = walk(1, 20);
    let again_at = doubt(store, first, 22).next_at.expect("it shall be repeated");
    assert!(again_at >= at(82) && again_at < at(97), "{again_at}");
    let due = (again_at - at(0)).num_seconds() + 1;
    assert_eq!(store.wakes(None, at(due), 9).unwrap().len(), 1);
    assert_eq!(repeat(first, Again::Now, 23), Repeated::Stale, "its time has not come");
    assert_eq!(repeat(first, Again::NotBefore(at(300)), due), Repeated::Noted);
    assert_eq!(repeat(first, Again::Now, due), Repeated::Stale, "later");
    let Repeated::Reserved(second) = repeat(first, Again::Now, 300) else { panic!("there is a grant") };
    assert_eq!(repeat(first, Again::Now, 400), Repeated::Stale, "once");
    assert_eq!(store.wakes(None, at(900), 9).unwrap(), []);
    assert_eq!(balance(store), (1, 1, 1, 0), "the first one keeps its own");
    let (of, original) = (
        store.occurrence(second.occurrence).unwrap().unwrap(),
        store.occurrence(first.occurrence).unwrap().unwrap(),
    );
    assert_eq!(of.repeats, Some(Repetition { of: first, nth: 2 }));
    assert_eq!(of.counts.audience, 1);
    let name = |of: &Occurrence| (of.due_at, of.civil, of.fold, of.deadline, of.snapshot);
    assert_eq!(name(&of), name(&original), "it says and may what the first one did");
    assert_eq!(open(store, 1, 0, 20), None, "the name is not taken twice");

    // The third is the last.
    let next_at = doubt(store, second, 400).next_at.expect("it shall be repeated");
    let Repeated::Reserved(third) = repeat(second, Again::Now, (next_at - at(0)).num_seconds() + 1) else {
        panic!("there is a grant")
    };
    assert_eq!(store.occurrence(third.occurrence).unwrap().unwrap().nth(), MAX_MESSAGES);
    assert_eq!(doubt(store, third, 600).next_at, None);
    assert_eq!(balance(store), (0, 0, 3, 0));

    // What failed by an operator's word gives its grant back, and is not repeated.
    assert!(done(store, store.settle_doubt(second, DoubtWord::Failed, at(601))));
    assert_eq!(balance(store), (1, 0, 2, 0));

    // Without a grant nothing is sent, and the books say why.
    let last = walk(1, 700);
    assert!(doubt(store, last, 702).next_at.is_some());
    assert_eq!(repeat(last, Again::Now, 900), Repeated::Without(SkipReason::NoConsent));
    let left = store.delivery(last).unwrap().unwrap();
    assert_eq!((left.state, left.next_at, left.skipped), (State::InDoubt, None, Some(SkipReason::NoConsent)));
    assert_eq!(repeat(last, Again::Now, 901), Repeated::Stale);

    // What a receipt says arrived is repeated no more, also where the repetition is open already.
    done(store, store.report(report(0, "r8", 1, 8, &[(0, Choice::Accept(grant(8)))])));
    done(store, store.report(report(0, "r9", 1, 9, &[(0, Choice::Accept(grant(9)))])));
    let arrived = walk(1, 1000);
    doubt(store, arrived, 1002);
    let Repeated::Reserved(needless) = repeat(arrived, Again::Now, 1100) else { panic!("there is a grant") };
    assert!(done(store, store.settle_doubt(arrived, DoubtWord::Sent, at(1101))));
    assert_eq!(done(store, store.mark(vec![needless], at(1102))).iter().flatten().count(), 0);
    assert_eq!(state_of(store, needless), State::Cancelled);
    let settled = walk(1, 1200);
    doubt(store, settled, 1202);
    assert!(done(store, store.settle_doubt(settled, DoubtWord::Sent, at(1203))));
    assert_eq!(repeat(settled, Again::Now, 1300), Repeated::Stale);
}
