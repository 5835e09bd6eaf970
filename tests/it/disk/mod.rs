//! A disk in memory under the shipped ledger: it loses what was not synced, and fails as told.
//!
//! It keeps batches apart until they are synced, so a crash leaves any prefix of them; a failed sync
//! promises nothing of what it was to make durable. It knows no record.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tixing::store::ledger::{Bytes, Entry, Failed, OpeningOf, Place, Room, Tree, Write};

mod reopen;

/// What a disk is asked to do, as far as it can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Open,
    Apply,
    Sync,
    Read,
}

/// What goes wrong, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What fails; everything does afterwards.
    pub(crate) act: Act,
    /// How many times it still works.
    pub(crate) after: usize,
    /// How many of the batches that were not synced the disk has nevertheless.
    pub(crate) kept: usize,
}

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// What no crash takes back.
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What reads see: all of it with the batches below.
    seen: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Applied and not synced, in order.
    unsynced: Vec<Vec<Write>>,
    fault: Option<Fault>,
    broken: bool,
    free: u64,
    /// Tells an opened tree that it is of before a crash or failure.
    age: u64,
    n_open: usize,
}

fn write(to: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &[Write]) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(to.insert(key.clone(), value.clone())),
            None => drop(to.remove(key)),
        }
    }
}

impl Disk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            durable: BTreeMap::new(),
            seen: BTreeMap::new(),
            unsynced: Vec::new(),
            fault: None,
            broken: false,
            free: u64::MAX,
            age: 0,
            n_open: 0,
        })))
    }

    /// Where a ledger opens it.
    pub(crate) fn place(&self) -> Box<dyn Place> {
        Box::new(Here(self.clone()))
    }

    /// Another one with the same content on it.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        let durable = self.inner().durable.clone();
        copy.inner().seen = durable.clone();
        copy.inner().durable = durable;
        copy
    }

    /// Breaks as told, until it is mended.
    pub(crate) fn break_by(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    /// Works again from now on; what was lost stays lost. Says whether it was broken.
    pub(crate) fn mend(&self) -> bool {
        let mut inner = self.inner();
        inner.fault = None;
        std::mem::take(&mut inner.broken)
    }

    /// Leaves so many bytes of room.
    pub(crate) fn leave_room(&self, free: u64) {
        self.inner().free = free;
    }

    /// Puts what another one holds in this one's place.
    pub(crate) fn replace_by(&self, other: &Self) {
        let durable = other.inner().durable.clone();
        let mut inner = self.inner();
        inner.seen = durable.clone();
        inner.durable = durable;
        inner.unsynced.clear();
    }

    /// The power goes: of what was not synced the first `kept` batches are there, and the others are not.
    pub(crate) fn crash(&self, kept: usize) {
        self.inner().lose(kept);
    }

    /// Trees that are open.
    pub(crate) fn n_open(&self) -> usize {
        self.inner().n_open
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn lose(&mut self, kept: usize) {
        let unsynced = std::mem::take(&mut self.unsynced);
        for batch in unsynced.iter().take(kept) {
            write(&mut self.durable, batch);
        }
        self.seen = self.durable.clone();
        self.age += 1;
    }

    fn act(&mut self, act: Act) -> Result<(), Failed> {
        if let Some(fault) = &mut self.fault
            && !self.broken
            && fault.act == act
        {
            if let Some(less) = fault.after.checked_sub(1) {
                fault.after = less;
            } else {
                self.broken = true;
                let kept = fault.kept;
                self.lose(kept);
            }
        }
        if self.broken {
            Err(Failed::Engine(format!("the disk of the test failed: {act:?}").into()))
        } else {
            Ok(())
        }
    }
}

struct Here(Disk);

impl Place for Here {
    fn open(&mut self, _opening: OpeningOf) -> Result<Box<dyn Tree>, Failed> {
        let mut inner = self.0.inner();
        inner.act(Act::Open)?;
        inner.n_open += 1;
        Ok(Box::new(Opened { disk: self.0.clone(), age: inner.age }))
    }

    fn leave(&mut self) {}

    fn patience(&self) -> Duration {
        Duration::from_millis(1)
    }
}

struct Opened {
    disk: Disk,
    age: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.disk.inner().n_open -= 1;
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

impl Opened {
    fn inner(&self, act: Act) -> Result<MutexGuard<'_, Inner>, Failed> {
        let mut inner = self.disk.inner();
        if inner.age != self.age {
            return Err(Failed::Engine("this tree is of before the crash".into()));
        }
        inner.act(act)?;
        Ok(inner)
    }
}

impl Tree for Opened {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failed> {
        Ok(self.inner(Act::Read)?.seen.get(key).map(|value| Bytes::from(value.as_slice())))
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        let inner = match self.inner(Act::Read) {
            Ok(inner) => inner,
            Err(failed) => return Box::new(std::iter::once(Err(failed))),
        };
        let range = inner.seen.range((Bound::Included(from), Bound::Excluded(to)));
        let entries: Vec<Entry> =
            range.map(|(k, v)| Ok((Bytes::from(k.as_slice()), Bytes::from(v.as_slice())))).collect();
        Box::new(entries.into_iter())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let mut inner = self.inner(Act::Apply)?;
        write(&mut inner.seen, &batch);
        inner.unsynced.push(batch);
        Ok(())
    }

    fn sync(&self) -> Result<(), Failed> {
        let mut inner = self.inner(Act::Sync)?;
        let unsynced = std::mem::take(&mut inner.unsynced);
        for batch in &unsynced {
            write(&mut inner.durable, batch);
        }
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, Failed> {
        Ok(0)
    }

    fn room(&self) -> Result<Room, Failed> {
        Ok(Room { free: self.disk.inner().free, needed: 1000 })
    }
}
