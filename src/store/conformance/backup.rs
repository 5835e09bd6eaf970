//! A dump has every kind of record as it was at one moment, and books that are made of it are the same books, on hold.

use super::super::ledger::memory::Memory;
use super::super::ledger::{Check, NotRestored};
use super::appointments::{key, put, remind};
use super::erasure::known;
use super::*;
use crate::domain::count::n_of;
use crate::domain::hold::Cause;
use crate::domain::id::FieldName;
use crate::domain::recipient::FieldValue;

/// Every kind of line, in the order of a dump.
const KINDS_OF_LINES: [&str; 17] = [
    "backup",
    "name",
    "kept",
    "rule",
    "recipient",
    "account",
    "receipts",
    "report",
    "appointment",
    "request",
    "occurrence",
    "chunk",
    "import",
    "erased",
    "erasing",
    "snapshot",
    "whole",
];

fn open_at(memory: &Memory) -> Ledger {
    Ledger::start_here(Box::new(memory.clone()), &Clock::by_hand(at(500))).unwrap()
}

/// Books with a record of every kind, and of every version that is written today.
fn books(store: &dyn Store) {
    let known = known(store);
    let settlement = |mark| Settlement { mark, started_at: Some(at(121)), end: End::Doubt, now: at(121) };
    done(store, store.settle(vec![settlement(known.mark)]));
    let mut profile = Profile {
        unionid: Some(super::persons::unionid(0)),
        time_zone: Some(Zone::parse("Asia/Tokyo").unwrap()),
        ..Profile::default()
    };
    done(store, store.put_recipient(app(), openid(1), profile.clone(), at(1).into()));
    profile.time_zone = Some(Zone::parse("Asia/Shanghai").unwrap());
    for (name, value) in [
        ("city", FieldValue::Text("上海 \"\\\u{7f}".to_owned())),
        ("height", FieldValue::Real(1.0e-7 + 0.1 + 0.2)),
        ("n", FieldValue::Whole(i64::MIN)),
        ("vip", FieldValue::Bool(true)),
    ] {
        profile.fields.insert(FieldName::parse(name).unwrap(), value);
    }
    done(store, store.put_recipient(app(), openid(1), profile, at(2).into()));
    done(store, store.mark_recipient(app(), openid(1), Some(at(3))));
    let mut long = report(2, "long", 7, 5, &[(1, Choice::Accept(grant(3)))]);
    long.answers[0].manner = Manner::Audio;
    done(store, store.report(long));
    let many = OperatorGrant {
        app: app(),
        openid: openid(3),
        template: template(0).0,
        kind: TemplateKind::OneTime,
        n: 3,
        source: Source::Import,
        now: at(0),
    };
    done(
        store,
        store.import(ImportPiece {
            digest: [9; 32],
            first: 0,
            rows: vec![ImportRow::Grant(many)],
            now: at(0),
        }),
    );
    for (n, request) in [(1, None), (2, Some([5; 16]))] {
        let change = AppointmentChange { request, ..put(n, 4000, &[1, 2], 100) };
        done(store, store.change_appointment(change));
    }
    done(store, store.change_appointment(AppointmentChange { to: None, ..put(1, 0, &[], 110) }));
    remind(store, 2, 3200, |_| {});
    done(store, store.remind(super::appointments::reminders(0, cursor(store), cursor(store), vec![])));
    let tokyo = Zone::parse("Asia/Tokyo").unwrap();
    open_for(store, (1, 1), (5000, 5000), (Whose::OfZone, tokyo)).expect("new");
    open_for(store, (1, 1), (5100, 5100), (Whose::Everybody, Zone::UTC)).expect("new");
    for name in ["session_key", "clock", "pauses"] {
        done(store, store.keep(name, name.as_bytes().to_vec()));
    }
    // Erased, and not swept yet.
    assert!(matches!(done(store, store.erase(app(), openid(3), at(300).into())), Erased::Booked(_)));
    assert_eq!(store.appointment(&key(2)).unwrap().unwrap().joined.len(), 2);
}

fn cursor(store: &dyn Store) -> Cursor {
    store.reminder_cursor(&app(), &rule(0)).unwrap().unwrap()
}

/// All lines, with `between` after each slice.
fn dump(store: &dyn Store, mut between: impl FnMut(&dyn Store)) -> Vec<String> {
    let dump = done(store, store.dump(at(600))).expect("no other one");
    let mut lines = Vec::new();
    loop {
        let Dumped::Lines(slice) = done(store, store.dump_on(&dump)) else { panic!("given up") };
        if slice.is_empty() {
            return lines;
        }
        lines.extend(slice);
        between(store);
    }
}

fn restored(lines: &[String]) -> Result<Memory, NotRestored> {
    let memory = Memory::default();
    let lines = lines.iter().map(|line| Ok(line.clone()));
    let made = Ledger::restore(Box::new(memory.clone()), &Clock::by_hand(at(900)), 0, lines)?;
    assert_eq!(made.fsck.violations, []);
    Ok(memory)
}

/// What books hold, without what is of one store alone.
fn records(memory: &Memory) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = memory.entries();
    for own in ["store", "hold", "commits", "opened", "schema"] {
        entries.remove([b"m", own.as_bytes()].concat().as_slice());
    }
    entries
}

#[test]
fn a_backup_has_every_kind_of_record_and_comes_back_as_it_was() {
    let memory = Memory::default();
    let store = open_at(&memory);
    books(&store);
    let lines = dump(&store, |_| {});
    let mut kinds: Vec<String> = Vec::new();
    for line in &lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let kind = value.as_object().unwrap().keys().next().unwrap().clone();
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds, KINDS_OF_LINES);
    let mut check = Check::default();
    for line in &lines {
        check.line(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    }
    let summary = check.end().unwrap();
    assert_eq!((summary.made_at, summary.n_records), (at(600), n_of(lines.len()) - 2));

    let again = restored(&lines).unwrap();
    assert_eq!(records(&again), records(&memory), "with all that is made of other records");
    let store = open_at(&again);
    let hold = store.hold().unwrap().expect("on hold");
    assert_eq!((hold.cause, hold.since), (Cause::Restored { made_at: at(600) }, at(900)));
    assert_eq!(done(&store, Store::fsck(&store)).violations, []);
    let twice = dump(&store, |_| {});
    assert_eq!(lines[1..lines.len() - 1], twice[1..twice.len() - 1]);
    // Each restore comes after the one before.
    let generation = |lines: &[String]| {
        let header: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        header["backup"]["generation"].as_u64().unwrap()
    };
    assert_eq!(generation(&twice), generation(&lines) + 1);
}

#[test]
fn all_lines_are_of_the_moment_at_which_it_began() {
    let (still, moving) = (Memory::default(), Memory::default());
    for memory in [&still, &moving] {
        let store = open_at(memory);
        books(&store);
        for n in 0..900 {
            done(&store, store.report(report(n % 3, &format!("many{n}"), 1, 200, &[])));
        }
    }
    let expected = dump(&open_at(&still), |_| {});
    let (store, mut n) = (open_at(&moving), 0);
    let found = dump(&store, |store| {
        // New ones, changed ones and removed ones, before and behind what is read.
        n += 1;
        let (app, now) = (app(), at(700 + n));
        done(store, store.report(report(2, &format!("late{n}"), 1, 700, &[(0, Choice::Accept(grant(650)))])));
        done(store, store.put_recipient(app.clone(), openid(1), Profile::default(), now.into()));
        done(store, store.change_appointment(put(7, 9000 + n, &[2], 700)));
        done(store, store.keep("clock", n.to_be_bytes().to_vec()));
        done(store, store.start_rule(app.clone(), RuleId::parse(&format!("r{n}")).unwrap(), now));
        if n == 1 {
            // Of this one there is something in nearly every kind of record.
            assert!(matches!(done(store, store.erase(app, openid(0), now.into())), Erased::Booked(_)));
            while done(store, store.sweep(now)) > 0 {}
        }
        open_for(store, (1, 1), (6000 + n, 6000 + n), (Whose::Everybody, Zone::UTC)).expect("new");
    });
    assert!(n > 3, "it takes some slices: {n}");
    let ids = |lines: &[String]| -> Vec<String> {
        // Two stores have keys of their own.
        let own = |line: &&String| !line.contains("\"erasure\"") && !line.starts_with("{\"erased\"");
        lines[..lines.len() - 1].iter().filter(own).cloned().collect()
    };
    assert_eq!(ids(&found), ids(&expected));
    restored(&found).unwrap();
}

#[test]
fn one_dump_at_a_time_and_one_that_is_dropped_is_over() {
    let store = open_at(&Memory::default());
    let first = done(&store, store.dump(at(0))).expect("none before");
    assert!(done(&store, store.dump(at(0))).is_none());
    drop(first);
    let second = done(&store, store.dump(at(0))).expect("it was dropped");
    assert!(matches!(done(&store, store.dump_on(&second)), Dumped::Lines(_)));
}

#[test]
fn what_is_no_whole_backup_is_refused_with_its_line() {
    let store = open_at(&Memory::default());
    books(&store);
    let lines = dump(&store, |_| {});
    let n = n_of(lines.len());
    let find = |kind: &str| lines.iter().position(|line| line.starts_with(&format!("{{\"{kind}\""))).unwrap();
    let (account, recipient) = (find("account"), find("recipient"));
    let with = |at: usize, line: String| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines
    };
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        lines
    };
    let table: Vec<(Vec<String>, u64, &str)> = vec![
        (Vec::new(), 0, "ends too soon"),
        (lines[..lines.len() - 1].to_vec(), n - 1, "ends too soon"),
        (lines[1..].to_vec(), 1, "no backup of tixing"),
        (without(recipient), n - 1, "records were written"),
        (with(account, lines[account].replace("\"granted\":9", "\"granted\":8")), n, "digest"),
        (with(account, lines[account].replace("granted", "given")), n_of(account) + 1, "granted"),
        (with(account, "{\"account\":".to_owned()), n_of(account) + 1, "not JSON"),
        (with(account, "{\"unheard\":{}}".to_owned()), n_of(account) + 1, "no record"),
        (with(2, lines[1].clone()), 3, "a name comes twice"),
        (with(account, lines[0].clone()), n_of(account) + 1, "begins twice"),
        (with(0, lines[0].replace("\"format\":1", "\"format\":2")), 1, "newer program"),
        (with(recipient, lines[recipient].replace("wxtest", "wxother")), n_of(recipient) + 1, "not named"),
        ([&lines[..], &lines[1..2]].concat(), n + 1, "more after"),
    ];
    for (lines, number, why) in table {
        let refused = restored(&lines).map(|_| ()).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("line {number}: ")) && refused.contains(why),
            "{why}: {refused}"
        );
        assert!(!refused.contains(openid(0).as_str()), "{refused}");
    }
}

#[test]
fn nothing_is_restored_into_books_that_are_there() {
    let memory = Memory::default();
    let store = open_at(&memory);
    assert!(Ledger::is_new(Box::new(memory.clone())).unwrap(), "what every new one has is nothing");
    let lines = dump(&store, |_| {});
    done(&store, store.put_recipient(app(), openid(0), Profile::default(), at(0).into()));
    drop(store);
    assert!(!Ledger::is_new(Box::new(memory.clone())).unwrap());
    let again = Ledger::restore(Box::new(memory), &Clock::by_hand(at(0)), 0, lines.into_iter().map(Ok));
    assert!(matches!(again, Err(NotRestored::NotEmpty)), "{again:?}");
}

#[test]
fn a_record_that_cannot_be_read_ends_a_backup_and_nothing_else() {
    let memory = Memory::default();
    books(&open_at(&memory));
    memory.tamper(|all| {
        let account = all.keys().find(|key| key.first() == Some(&b'c')).unwrap().clone();
        all.get_mut(&account).unwrap()[0] = 99;
    });
    let store = open_at(&memory);
    let dump = done(&store, store.dump(at(0))).expect("none before");
    let mut told = None;
    for _ in 0..20 {
        match done(&store, store.dump_on(&dump)) {
            Dumped::Lines(_) => {}
            Dumped::Unreadable(why) => {
                told = Some(why);
                break;
            }
            Dumped::Overtaken => panic!("nothing changed"),
        }
    }
    assert!(told.is_some_and(|why| why.contains("a version this program does not know")));
    assert_eq!(done(&store, store.dump_on(&dump)), Dumped::Overtaken, "it is over");
    done(&store, store.keep("clock", vec![1]));
}

/// All files of a folder, as a copy has them.
fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn an_older_copy_of_the_folder_is_noticed_and_the_newest_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (store, copy, other) = ("store", "copy", "other");
    let at_path = |name: &str| folder.path().join(name);
    let put_back = |name: &str| {
        std::fs::remove_dir_all(at_path(store)).unwrap();
        copied(&at_path(name), &at_path(store));
    };
    let write = |n: i64| {
        let store = sled_in(folder.path());
        let now = at(n);
        done(&store, store.put_recipient(app(), openid(0), Profile::default(), now.into()));
        store.hold().unwrap().map(|hold| hold.cause)
    };
    let release = || {
        let store = sled_in(folder.path());
        assert_eq!(done(&store, store.end_hold(at(900))), HoldEnd::Ended);
    };
    assert_eq!(write(1), None);
    copied(&at_path(store), &at_path(copy));
    put_back(copy);
    assert_eq!(write(2), None, "nothing was done since");
    put_back(copy);
    assert_eq!(write(3), Some(Cause::OlderCopy));
    assert_eq!(write(4), Some(Cause::OlderCopy), "until it is released");
    release();
    assert_eq!(write(5), None);
    copied(&at_path(store), &at_path(other));
    // The same copy again is older than what was released, whatever was written into it.
    put_back(copy);
    assert_eq!(write(6), Some(Cause::OlderCopy));
    put_back(other);
    assert_eq!(write(7), Some(Cause::OlderCopy), "so is the one that was the newest before");
    release();
    // A new one has sent nothing; and the old one is not it.
    std::fs::rename(at_path(store), at_path("away")).unwrap();
    assert_eq!(write(8), None);
    put_back("away");
    assert_eq!(write(9), Some(Cause::OtherStore));
    // Where it is not known, nothing is noticed, and nothing else fails.
    std::fs::write(folder.path().join("store.commits"), "torn").unwrap();
    put_back(copy);
    assert_eq!(write(10), None);
}
