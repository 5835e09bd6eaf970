//! How far a store is, in the store and beside it: so that an older copy of its folder is noticed.
//!
//! Each durable group counts one more commit. The count beside the store is written after the store's own sync, so it may
//! lag, and never leads: no power cut makes it say more than the store holds.

use super::Failed;
use super::keys;
use super::tree::Tree;

/// Under this name the store keeps its own.
pub(super) const COMMITS: &str = "commits";

/// How far a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commits {
    /// How often these books were taken up again from older ones.
    pub generation: u64,
    /// Groups made durable since then.
    pub n: u64,
}

/// What a store says of itself.
pub(super) fn stored(tree: &dyn Tree) -> Result<Option<Commits>, Failed> {
    Ok(tree.get(&keys::kept(COMMITS))?.and_then(|bytes| Commits::read(&bytes)))
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
