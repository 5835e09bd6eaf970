//! A rule's snapshot is kept as long as something leads to it, and no longer.

use super::*;

fn retire(store: &dyn Store, now: i64) {
    while done(store, store.retire(at(now))) > 0 {}
}

pub(super) fn a_snapshot_goes_with_the_last_that_needs_it(store: &dyn Store) {
    let kept = |hash: [u8; 32]| store.snapshot(&hash).unwrap().map(|bytes| bytes.len());
    let large = vec![3; 400_000];
    let occurrence = open(store, 0, 0, 10).expect("new");
    done(store, store.keep_snapshot([8; 32], b"never due".to_vec()));
    done(store, store.keep_snapshot([9; 32], large.clone()));
    retire(store, 11);
    assert_eq!((kept([7; 32]), kept([8; 32]), kept([9; 32])), (Some(6), None, None));
    // Who opens something with it keeps it anew.
    done(store, store.keep_snapshot([9; 32], large.clone()));
    assert_eq!(kept([9; 32]), Some(large.len()));
    assert_eq!(reserved(store, piece(occurrence, None, &[], Walk::Ends, 12)), []);
    retire(store, 100 * 86_400);
    assert_eq!((store.occurrence(occurrence).unwrap(), kept([7; 32]), kept([9; 32])), (None, None, None));
    assert!(open(store, 0, 0, 101 * 86_400).is_some());
    assert_eq!(kept([7; 32]), Some(6));
}
