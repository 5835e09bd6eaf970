//! How far a store is, in the store and beside it: so that an older copy of its folder is noticed.
//!
//! Each durable group counts one more commit. The count beside the store is written after the store's own sync, so it may
//! lag, and never leads: no power cut makes it say more than the store holds. It is not synced itself. Where it cannot be
//! read it says nothing, and where it cannot be written nothing else fails.

use sha2::{Digest as _, Sha256};

use super::Failed;
use super::keeper::StoreId;
use super::keys;
use super::records::hex;
use super::tree::Tree;
use crate::domain::hold::Cause;

/// Under this name the store keeps its own.
pub(super) const COMMITS: &str = "commits";
/// Digits of the checksum.
const CHECK: usize = 8;

/// How far a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commits {
    /// How often these books were taken up again from older ones.
    pub generation: u64,
    /// Groups made durable.
    pub n: u64,
}

/// What stands beside a store: which one it was, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The random bytes that the store was given when it was made.
    pub store: StoreId,
    /// How far it was at least.
    pub commits: Commits,
}

/// What a store is by what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The newest there was, as far as anybody knows, or a new one; how far it is.
    Newest(Commits),
    /// One that may be older than what was done; how far it is from now on.
    Older(Cause, Commits),
}

/// What a store says of itself.
pub(super) fn stored(tree: &dyn Tree) -> Result<Option<Commits>, Failed> {
    Ok(tree.get(&keys::kept(COMMITS))?.and_then(|bytes| Commits::read(&bytes)))
}

/// Which store was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    /// The random bytes that it was given; `None` where it has none yet.
    pub(super) id: Option<StoreId>,
    /// Whether a file was there, and nothing is in it.
    pub(super) is_empty: bool,
}

/// Judges a store by how far it is itself, and what stands beside it.
pub(super) fn judge(which: Which, stored: Commits, beside: Option<Beside>) -> Judged {
    let Some(Beside { store, commits }) = beside else { return Judged::Newest(stored) };
    // Whatever else was here is older than this from now on.
    let later = Commits { generation: stored.generation.max(commits.generation) + 1, n: stored.n };
    match which.id {
        // A file was there, and what it had is gone: of damaged ones the engine takes what it can read, if it is nothing.
        None if which.is_empty && commits.n > 0 => Judged::Older(Cause::OlderCopy, later),
        None => Judged::Newest(later),
        Some(id) if id != store => Judged::Older(Cause::OtherStore, later),
        Some(_) if stored < commits => Judged::Older(Cause::OlderCopy, later),
        Some(_) => Judged::Newest(stored),
    }
}

impl Commits {
    pub(super) fn write(self) -> Vec<u8> {
        [self.generation.to_be_bytes(), self.n.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (generation, n) = bytes.split_first_chunk::<8>()?;
        let n = n.try_into().ok()?;
        Some(Self { generation: u64::from_be_bytes(*generation), n: u64::from_be_bytes(n) })
    }
}

impl Beside {
    /// One line, always of the same length: it is written over the last one.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { store, commits: Commits { generation, n } } = self;
        let told = format!("tixing-commits {} {generation:020} {n:020}", hex::text(store));
        format!("{told} {}\n", check(&told))
    }

    /// Reads such a line; `None` for one that was torn or never written.
    #[must_use]
    pub fn of_line(line: &str) -> Option<Self> {
        let (told, sum) = line.strip_suffix('\n')?.rsplit_once(' ')?;
        let mut words = told.split(' ').filter(|_| sum == check(told));
        let (Some("tixing-commits"), Some(store), Some(generation), Some(n), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        let store = hex::bytes(store)?.try_into().ok()?;
        Some(Self { store, commits: Commits { generation: generation.parse().ok()?, n: n.parse().ok()? } })
    }
}

fn check(told: &str) -> String {
    hex::text(&Sha256::digest(told.as_bytes())).chars().take(CHECK).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_says_nothing() {
        let of = |n| Beside { store: [0xab; 16], commits: Commits { generation: 3, n } };
        let (old, new) = (of(9_999).line(), of(10_000).line());
        assert_eq!(Beside::of_line(&new), Some(of(10_000)));
        assert_eq!(old.len(), new.len(), "it is written over");
        for at in 1..new.len() {
            let torn = format!("{}{}", new.get(..at).expect("ASCII"), old.get(at..).expect("ASCII"));
            let read = Beside::of_line(&torn);
            assert!(read.is_none() || torn == new || torn == old, "{torn}");
            assert_eq!(Beside::of_line(new.get(..at).expect("ASCII")), None);
        }
        assert_eq!(Beside::of_line(&"\0".repeat(new.len())), None);
    }

    #[test]
    fn what_is_older_is_told_and_what_lags_is_not() {
        let (a, b) = ([1; 16], [2; 16]);
        let of = |generation, n| Commits { generation, n };
        let beside = |store, generation, n| Some(Beside { store, commits: of(generation, n) });
        let table = [
            (Some(a), of(0, 9), None, Judged::Newest(of(0, 9))),
            // It may lag, after a power cut by much.
            (Some(a), of(0, 9), beside(a, 0, 9), Judged::Newest(of(0, 9))),
            (Some(a), of(0, 9), beside(a, 0, 2), Judged::Newest(of(0, 9))),
            (Some(a), of(2, 1), beside(a, 1, 7), Judged::Newest(of(2, 1))),
            (Some(a), of(0, 8), beside(a, 0, 9), Judged::Older(Cause::OlderCopy, of(1, 8))),
            (Some(a), of(1, 99), beside(a, 2, 5), Judged::Older(Cause::OlderCopy, of(3, 99))),
            (Some(b), of(7, 99), beside(a, 2, 5), Judged::Older(Cause::OtherStore, of(8, 99))),
            // A new one has sent nothing; what was here before is older than it.
            (None, of(0, 0), beside(a, 2, 5), Judged::Newest(of(3, 0))),
            (None, of(0, 0), None, Judged::Newest(of(0, 0))),
        ];
        for (id, stored, beside, judged) in table {
            let which = Which { id, is_empty: false };
            assert_eq!(judge(which, stored, beside), judged, "{id:?} {stored:?} {beside:?}");
        }
        let emptied = Which { id: None, is_empty: true };
        let told = judge(emptied, of(0, 0), beside(a, 2, 5));
        assert_eq!(told, Judged::Older(Cause::OlderCopy, of(3, 0)));
        // Whoever was cut off before the first commit has lost nothing.
        assert_eq!(judge(emptied, of(0, 0), beside(a, 2, 0)), Judged::Newest(of(3, 0)));
    }
}
