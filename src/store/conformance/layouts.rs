//! Stores that an older program wrote: they are taken over whole, however often the start that does it is cut off.

use std::collections::BTreeSet;

use super::super::ledger::StartError;
use super::super::ledger::memory::Memory;
use super::*;

/// Rules that fill records of neighbours and begin others.
const RULES: usize = 70;

fn ledger(memory: &Memory) -> Result<Ledger, StartError> {
    Ledger::start(Box::new(memory.clone()), Clock::by_hand(at(0)))
}

fn cursors(store: &dyn Store) -> Vec<Option<DateTime<Utc>>> {
    (0..RULES).map(|n| store.cursor(&app(), &rule(n)).unwrap()).collect()
}

fn tokyo() -> Zone {
    Zone::parse("Asia/Tokyo").unwrap()
}

fn unfinished(store: &dyn Store) -> BTreeSet<u64> {
    store.unfinished().unwrap().iter().map(|occurrence| occurrence.number).collect()
}

#[test]
fn what_layout_4_kept_one_by_one_is_put_together() {
    let memory = Memory::default();
    let store = ledger(&memory).unwrap();
    for n in 0..RULES {
        let number = open(&store, n, 0, 10 + i64::try_from(n).unwrap()).expect("new");
        if n % 3 == 0 {
            done(&store, store.stop_occurrence(number, OccurrenceState::Cancelled, None));
        }
    }
    for whose in [Whose::Default, Whose::OfZone] {
        open_for(&store, (0, 0), (100, 100), (whose, tokyo())).expect("new");
    }
    let (cursors_before, unfinished_before) = (cursors(&store), unfinished(&store));
    assert_eq!(unfinished_before.len(), RULES - RULES.div_ceil(3) + 2);
    let of_then: Vec<Occurrence> = (1..).map_while(|number| store.occurrence(number).unwrap()).collect();
    drop(store);
    memory.tamper(|all| {
        all.retain(|key, _| !b"IUQ".contains(&key[0]));
        for (n, cursor) in cursors_before.iter().enumerate() {
            // App 0 is named first.
            let id = rule(n);
            let key = |prefix: u8| [&[prefix, 0, 0], id.as_str().as_bytes()].concat();
            all.remove(&key(b'R')).expect("numbered");
            let ms = cursor.expect("started").timestamp_millis();
            all.insert(key(b'u'), postcard::to_extend(&ms, vec![1]).unwrap());
        }
        for occurrence in &of_then {
            let id = occurrence.rule.as_str().as_bytes();
            let civil = occurrence.civil.and_utc().timestamp().cast_unsigned() ^ (1 << 63);
            let length = u8::try_from(id.len()).unwrap();
            let key = [&[b'i', 0, 0, length], id, &civil.to_be_bytes(), &[occurrence.fold]].concat();
            let number = occurrence.number.to_be_bytes().to_vec();
            let whose = match occurrence.whose {
                Whose::Everybody => vec![],
                Whose::Default => vec![1],
                Whose::OfZone => [&[2], occurrence.zone.name().as_bytes()].concat(),
            };
            if occurrence.whose != Whose::Everybody {
                all.insert([key.as_slice(), &[0]].concat(), number.clone());
            }
            all.insert([key, whose].concat(), number);
        }
        for number in &unfinished_before {
            all.insert([b"q".as_slice(), &number.to_be_bytes()].concat(), Vec::new());
        }
        all.insert(b"mschema".to_vec(), 4_u32.to_be_bytes().to_vec());
    });
    let mut n_cut = 0;
    for batches in 0.. {
        let memory = memory.copy();
        memory.fail_after(Some(batches));
        let told = ledger(&memory).is_ok();
        memory.fail_after(None);
        n_cut += usize::from(!told);
        let store = ledger(&memory).unwrap();
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}");
        assert_eq!(cursors(&store), cursors_before, "cut after {batches}");
        assert_eq!(unfinished(&store), unfinished_before, "cut after {batches}");
        for n in 0..RULES {
            assert_eq!(open(&store, n, 0, 10 + i64::try_from(n).unwrap()), None, "opened before");
        }
        for (whose, zone, new) in [
            (Whose::Everybody, Zone::UTC, false),
            (Whose::Default, tokyo(), false),
            (Whose::OfZone, tokyo(), false),
            (Whose::OfZone, Zone::UTC, true),
        ] {
            let opened = open_for(&store, (0, 0), (100, 100), (whose, zone));
            assert_eq!(opened.is_some(), new, "{whose:?} {zone:?}");
        }
        // What comes later moves on as ever, and a new rule takes nobody's place.
        open(&store, 0, 0, 1000).expect("new");
        open(&store, RULES, 0, 2000).expect("new");
        assert_eq!(cursors(&store)[1..], cursors_before[1..]);
        if told {
            break;
        }
    }
    assert!(n_cut > 2, "{n_cut}");
}
