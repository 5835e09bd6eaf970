//! The disk itself on trial: a program that makes one call after the other, and what must be left of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::{Calls, Cut, Dice, Disk, EIO, ENOSPC, EROFS, Failing, Journal, Kind, Record, compiled, listed};

/// Runs the hand on `disk` in its folder; the errno of each call.
fn by_hand(disk: &Disk, words: &str) -> Vec<u32> {
    static HAND: OnceLock<PathBuf> = OnceLock::new();
    let hand = HAND.get_or_init(|| compiled("hand", &[]));
    let mut wrapper = disk.wrapper();
    let program = wrapper.remove(0);
    let said = Command::new(program)
        .args(wrapper)
        .arg(hand)
        .args(words.split_whitespace())
        .current_dir(&disk.under)
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// A folder on a disk, and a place beside it.
fn fresh() -> (tempfile::TempDir, tempfile::TempDir, Disk) {
    let (under, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = Disk::new(under.path(), beside.path());
    (under, beside, disk)
}

/// What a folder holds after a cut, as text: `a=1111 b/ c>a`, a letter for each 512 bytes.
fn after_cut(disk: &Disk, cut: usize, how: Cut, seed: u64) -> String {
    let (empty, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Journal::read(disk, empty.path()).image(cut, how, &mut Dice(seed), to.path());
    let shown = listed(to.path()).into_iter().map(|(name, content)| {
        let name = name.display();
        let letter = |sector: &[u8]| char::from(if sector[0] == 0 { b'.' } else { sector[0] });
        match content {
            None => format!("{name}/"),
            Some(bytes) => format!("{name}={}", bytes.chunks(512).map(letter).collect::<String>()),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_no_sync_covered_is_lost_and_the_rest_is_not() {
    for (words, after) in [
        ("o0:a w0:0:1024:x", ""),
        ("o0:a w0:0:1024:x f0", ""),
        ("o0:a w0:0:1024:x O1:. f1", "a="),
        ("o0:a w0:0:1024:x r0 O1:. f1", "a="),
        ("o0:a w0:0:1024:x d0 O1:. f1", "a=xx"),
        ("o0:a w0:0:1024:x d0 O1:. f1 w0:512:1024:y", "a=xx"),
        ("o0:a w0:0:1024:x d0 O1:. f1 w0:512:1024:y d0", "a=xyy"),
        ("o0:a w0:0:1024:x o2:a d2 O1:. f1", "a=xx"),
        ("o0:a a0:0:512:x a0:0:512:y w0:2048:512:z t0:2560 f0 O1:. f1 t0:512", "a=xy..z"),
        ("o0:a f0 O1:. f1 N:a:b", "a="),
        ("o0:a f0 N:a:b O1:. f1", "b="),
        ("o0:a w0:0:512:x f0 O1:. f1 U:a", "a=x"),
        ("o0:a U:a O1:. f1", ""),
        ("M:m o0:m/a w0:0:512:x f0 O1:. f1", "m/"),
        ("M:m o0:m/a w0:0:512:x f0 O1:m f1", "m/ m/a=x"),
        ("M:m o0:m/a N:m:n O1:n f1 O2:. f2", "n/ n/a="),
        ("L:somewhere:l O1:. f1", "l=s"),
    ] {
        let (under, _beside, disk) = fresh();
        assert_eq!(by_hand(&disk, words).iter().sum::<u32>(), 0, "{words}");
        let journal = Journal::read(&disk, tempfile::tempdir().unwrap().path());
        let n = journal.records.len();
        assert_eq!(after_cut(&disk, n, Cut::Everything, 1), after, "{words}");
        let whole = tempfile::tempdir().unwrap();
        journal.image(n, Cut::Nothing, &mut Dice(1), whole.path());
        assert_eq!(listed(whole.path()), listed(under.path()), "{words}: the journal missed something");
    }
}

#[test]
fn later_writes_are_reordered_and_torn() {
    let (_under, _beside, disk) = fresh();
    by_hand(&disk, "o0:a w0:0:2048:x f0 O1:. f1 w0:0:1024:y w0:1024:1024:z");
    let n = Journal::read(&disk, tempfile::tempdir().unwrap().path()).records.len();
    let all = |how| (0..500).map(|seed| after_cut(&disk, n, how, seed)).collect::<BTreeSet<_>>();
    let reordered = ["a=xxxx", "a=xxzz", "a=yyxx", "a=yyzz"].map(str::to_owned).into();
    assert_eq!(all(Cut::Reordered), reordered);
    assert_eq!(all(Cut::Torn).len(), 16);
    assert_eq!(after_cut(&disk, n - 1, Cut::Nothing, 1), "a=yyxx");
    assert_eq!(after_cut(&disk, n, Cut::Torn, 7), after_cut(&disk, n, Cut::Torn, 7));
}

#[test]
fn what_is_said_has_its_place_among_the_syncs() {
    let (_under, _beside, disk) = fresh();
    by_hand(&disk, "o0:a p4");
    let begun = disk.written();
    by_hand(&disk, "o0:a p4 s4:early w0:0:512:x f0 s4:late a4:0:9:n");
    let journal = Journal::read(&disk, tempfile::tempdir().unwrap().path());
    let told = |record: &Record| {
        let said = String::from_utf8_lossy(journal.said(record)).into_owned();
        if record.kind == Kind::Said { said } else { format!("{:?}", record.kind) }
    };
    let all: Vec<String> = journal.records[journal.at(begun)..].iter().map(told).collect();
    assert_eq!(all, ["Create", "early", "Write", "SyncBegins", "SyncEnds", "late", "nnnnnnnnn"]);
    assert_eq!(journal.at(journal.records[3].end), 4);
}

#[test]
fn calls_fail_as_ordered() {
    let work = "o0:a w0:0:512:x w0:512:512:x d0 w0:0:512:y d0 N:a:b";
    for (errno, calls, first, times, expected) in [
        (EIO, Calls::Writes, 2, 0, [0, 0, EIO, 0, EIO, 0, 0]),
        (EIO, Calls::Writes, 2, 1, [0, 0, EIO, 0, 0, 0, 0]),
        (ENOSPC, Calls::Syncs, 1, 1, [0, 0, 0, ENOSPC, 0, 0, 0]),
        (EIO, Calls::WritesAndSyncs, 3, 2, [0, 0, 0, EIO, EIO, 0, 0]),
        (EROFS, Calls::Names, 2, 1, [0, 0, 0, 0, 0, 0, EROFS]),
        (EROFS, Calls::All, 3, 0, [0, 0, EROFS, EROFS, EROFS, EROFS, EROFS]),
    ] {
        let (_under, _beside, disk) = fresh();
        disk.fail(Failing { errno, calls, first, times });
        assert_eq!(by_hand(&disk, work), expected, "{errno} {calls:?} {first} {times}");
        assert_eq!(disk.failed() as usize, expected.iter().filter(|errno| **errno != 0).count());
        let seen = disk.seen();
        disk.heal();
        by_hand(&disk, "o0:c w0:0:512:x f0");
        assert_eq!(disk.failed() as usize, expected.iter().filter(|errno| **errno != 0).count());
        assert!(disk.seen() > seen, "{calls:?}");
    }
    for (calls, seen) in [(Calls::Writes, 3), (Calls::Syncs, 2), (Calls::Names, 2), (Calls::All, 7)] {
        let (_under, _beside, disk) = fresh();
        disk.count(calls);
        assert_eq!(by_hand(&disk, work), [0; 7]);
        assert_eq!((disk.seen(), disk.failed()), (seen, 0), "{calls:?}");
    }
}

#[test]
fn a_failed_sync_is_told_once_to_each_handle_and_loses_what_it_was_for() {
    let (_under, _beside, disk) = fresh();
    disk.fail(Failing { errno: EIO, calls: Calls::Syncs, first: 3, times: 1 });
    // Handles 0 and 2 were open, 3 was not.
    let told =
        by_hand(&disk, "o0:a O1:. f1 w0:0:512:x d0 o2:a w0:512:512:y d0 o3:a d3 d0 d2 d2 w0:1024:512:z d0");
    assert_eq!(told, [0, 0, 0, 0, 0, 0, 0, EIO, 0, 0, 0, EIO, 0, 0, 0]);
    let n = Journal::read(&disk, tempfile::tempdir().unwrap().path()).records.len();
    assert_eq!(after_cut(&disk, n, Cut::Everything, 1), "a=x.z", "pages of a failed sync count as clean");
    by_hand(&disk, "o0:a w0:512:512:y d0");
    let n = Journal::read(&disk, tempfile::tempdir().unwrap().path()).records.len();
    assert_eq!(after_cut(&disk, n, Cut::Everything, 1), "a=xyz", "written again, they are there");
}

#[test]
fn a_kill_falls_between_two_records() {
    let (_under, _beside, disk) = fresh();
    // Opening makes no record of its own where the file is there already.
    disk.die_in(3);
    assert_eq!(by_hand(&disk, "o0:a w0:0:512:x w0:512:512:y w0:0:512:z"), [0, 0], "killed in the third call");
    assert_eq!(Journal::read(&disk, tempfile::tempdir().unwrap().path()).records.len(), 3);
}
