//! A sample of the books finds in a round what a proof of all of them finds, of which only the ledger has one.

use super::super::ledger::memory::Memory;
use super::*;

fn open_at(memory: &Memory) -> Ledger {
    Ledger::start_here(Box::new(memory.clone()), &Clock::by_hand(at(500))).unwrap()
}

/// What is done to the records behind the store's back.
type Change = Box<dyn Fn(&mut BTreeMap<Vec<u8>, Vec<u8>>)>;

/// Codes of what a round finds.
fn round(store: &dyn Store) -> Vec<&'static str> {
    let mut codes = Vec::new();
    for _ in 0..100 {
        let audit = done(store, store.audit());
        codes.extend(audit.violations.iter().map(|(code, _)| *code));
        if audit.ends_round {
            codes.sort_unstable();
            codes.dedup();
            return codes;
        }
    }
    panic!("a round without end");
}

#[test]
fn what_is_wrong_is_found_in_a_round_and_sound_books_are_sound() {
    let memory = Memory::default();
    let key = |prefix: u8| -> Vec<u8> {
        memory.entries().into_keys().find(|key| key.first() == Some(&prefix)).expect("one is there")
    };
    {
        let store = open_at(&memory);
        assert_eq!(round(&store), [""; 0], "nothing is there");
        for n in 0..40 {
            done(&store, store.report(report(0, &format!("r{n}"), 1, n, &[(0, Choice::Accept(grant(n)))])));
        }
    }
    let account = key(b'c');
    let before = memory.entries()[&account].clone();
    let occurrence = {
        let store = open_at(&memory);
        for due in (10..).step_by(10).take(40) {
            let occurrence = open(&store, 0, 0, due).expect("new");
            reserved(&store, piece(occurrence, None, &[(0, Want::Reserve)], Walk::Ends, due));
        }
        let many = round(&store);
        assert_eq!((many, round(&store)), (vec![], vec![]), "round after round");
        store.newest_occurrence().unwrap().expect("one")
    };
    let chunk = key(b'k');
    let (of_account, of_chunk) = (account.clone(), chunk.clone());
    let table: Vec<(&str, &[&str], Change)> = vec![
        ("a grant too many", &["balance"], Box::new(move |all| all.get_mut(&of_account).unwrap()[2] += 1)),
        ("a chunk that is gone", &["out"], Box::new(move |all| drop(all.remove(&of_chunk)))),
        (
            "an account as it was",
            &["out"],
            Box::new(move |all| drop(all.insert(account.clone(), before.clone()))),
        ),
        (
            "an occurrence that is gone",
            &["orphan", "out"],
            Box::new(move |all| {
                let key = [b"o".as_slice(), &occurrence.to_be_bytes()].concat();
                assert!(all.remove(&key).is_some());
            }),
        ),
        (
            "a record of a newer program",
            &["out", "unreadable"],
            Box::new(move |all| all.get_mut(&chunk).unwrap()[0] = 99),
        ),
    ];
    for (what, codes, change) in table {
        let bad = memory.copy();
        bad.tamper(change);
        let store = open_at(&bad);
        let all = done(&store, Store::fsck(&store)).violations;
        assert!(!all.is_empty(), "{what}");
        assert_eq!(round(&store), codes, "{what}: {all:?}");
        assert_eq!(round(&store), codes, "{what}, again");
    }
}
