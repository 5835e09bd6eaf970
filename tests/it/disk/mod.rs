//! A disk in memory under the shipped ledger: it loses what was not synced, and fails as told.
//!
//! It keeps batches apart until they are synced, so a crash leaves any prefix of them; a failed sync
//! promises nothing of what it was to make durable. It knows no record.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tixing::store::ledger::{Beside, Bytes, Entry, Failed, OpeningOf, Place, Room, Tree, Write};

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

/// Keys with their values.
pub(crate) type Content = BTreeMap<Bytes, Bytes>;

/// What tells contents apart: the sum of the hashes of their entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Print(u128);

/// What a disk could hold after a crash, and how it got there.
#[derive(Debug)]
pub(crate) struct Images<'a> {
    /// Of all that survives in any case, then with each unsynced batch more.
    pub(crate) prints: &'a [Print],
    durable: &'a Content,
    unsynced: &'a [Vec<Write>],
    /// Keys of the batch that was applied now; none for a sync.
    pub(crate) written: &'a [Write],
}

/// Is told of each batch and each sync, after it.
pub(crate) type Witness = Arc<dyn Fn(Act, Images<'_>) + Send + Sync>;

/// The disk; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Rung when a sync may go on.
    let_go: Condvar,
}

struct Inner {
    /// What no crash takes back.
    durable: Content,
    /// What reads see: all of it with the batches below.
    seen: Content,
    /// Applied and not synced, in order.
    unsynced: Vec<Vec<Write>>,
    /// Of what is durable, and after each unsynced batch.
    prints: Vec<Print>,
    witness: Option<Witness>,
    fault: Option<Fault>,
    broken: bool,
    /// What it was asked for when the fault struck, until it is mended.
    struck: Option<Act>,
    /// Whether it then says that its files are damaged.
    is_damaged: bool,
    free: u64,
    /// How many syncs may still end; `None` while none is held up.
    syncs: Option<usize>,
    /// Tells an opened tree that it is of before a crash or failure.
    age: u64,
    n_open: usize,
    n_lost: usize,
    /// What stands beside it; there at once, and no crash takes it back.
    beside: Option<Beside>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

fn write(to: &mut Content, batch: &[Write]) {
    for (key, value) in batch {
        let key = key.as_slice();
        match value {
            Some(value) => drop(to.insert(Bytes::from(key), Bytes::from(value.as_slice()))),
            None => drop(to.remove(key)),
        }
    }
}

impl Print {
    /// Of a content.
    pub(crate) fn of(content: &Content) -> Self {
        let mut print = Self::default();
        for (key, value) in content {
            print.add(key, value);
        }
        print
    }

    /// After this batch on `content`.
    fn after(mut self, batch: &[Write], content: &Content) -> Self {
        for (key, value) in batch {
            if let Some(old) = content.get(key.as_slice()) {
                self.0 = self.0.wrapping_sub(entry(key, old));
            }
            if let Some(value) = value {
                self.add(key, value);
            }
        }
        self
    }

    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(entry(key, value));
    }
}

/// The store's count of its groups: it grows with each, and contents that differ in nothing else are one.
const COUNT: &[u8] = b"mcommits";

/// 128 bits of an entry: two contents of one sum are not to be expected in any run.
fn entry(key: &[u8], value: &[u8]) -> u128 {
    if key == COUNT {
        return 0;
    }
    let mut hash = DefaultHasher::new();
    hash.write_usize(key.len());
    hash.write(key);
    hash.write(value);
    let low = hash.finish();
    hash.write_u8(1);
    u128::from(hash.finish()) << 64 | u128::from(low)
}

impl Images<'_> {
    /// The content with the first `kept` unsynced batches.
    pub(crate) fn content(&self, kept: usize) -> Content {
        let mut content = self.durable.clone();
        for batch in self.unsynced.iter().take(kept) {
            write(&mut content, batch);
        }
        content
    }
}

impl Disk {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::with(Content::new())
    }

    /// One that holds this.
    pub(crate) fn with(content: Content) -> Self {
        let inner = Mutex::new(Inner {
            seen: content.clone(),
            prints: vec![Print::of(&content)],
            durable: content,
            unsynced: Vec::new(),
            witness: None,
            fault: None,
            broken: false,
            struck: None,
            is_damaged: false,
            free: u64::MAX,
            syncs: None,
            age: 0,
            n_open: 0,
            n_lost: 0,
            beside: None,
        });
        Self(Arc::new(Shared { inner, let_go: Condvar::new() }))
    }

    /// Where a ledger opens it.
    pub(crate) fn place(&self) -> Box<dyn Place> {
        Box::new(Here(self.clone()))
    }

    /// Another one with the same content on it.
    pub(crate) fn copy(&self) -> Self {
        Self::with(self.content())
    }

    /// What no crash takes back.
    pub(crate) fn content(&self) -> Content {
        self.inner().durable.clone()
    }

    /// Lets `witness` be told of each batch and sync from now on; `None` ends it.
    pub(crate) fn seen_by(&self, witness: Option<Witness>) {
        self.inner().witness = witness;
    }

    /// What it could hold after a crash now.
    pub(crate) fn images<T>(&self, look: impl FnOnce(Images<'_>) -> T) -> T {
        let inner = self.inner();
        look(inner.images(&[]))
    }

    /// Breaks as told, until it is mended.
    pub(crate) fn break_by(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    /// The same, by files that are damaged: which it says itself, and only where that is read.
    pub(crate) fn damage_by(&self, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = Some(fault);
        inner.is_damaged = true;
    }

    /// Works again from now on; what was lost stays lost. Says whether it was broken.
    pub(crate) fn mend(&self) -> bool {
        let mut inner = self.inner();
        inner.fault = None;
        inner.struck = None;
        inner.is_damaged = false;
        std::mem::take(&mut inner.broken)
    }

    /// Holds every sync up, but for those that [`Held::let_one_go`] lets end, until what it answers is dropped.
    pub(crate) fn hold_syncs(&self) -> Held {
        self.set_syncs(Some(0));
        Held(self.clone())
    }

    fn set_syncs(&self, left: Option<usize>) {
        self.inner().syncs = left;
        self.0.let_go.notify_all();
    }

    /// Leaves so many bytes of room.
    pub(crate) fn leave_room(&self, free: u64) {
        self.inner().free = free;
    }

    /// Puts what another one holds in this one's place.
    pub(crate) fn replace_by(&self, other: &Self) {
        let durable = other.content();
        let mut inner = self.inner();
        inner.seen = durable.clone();
        inner.prints = vec![Print::of(&durable)];
        inner.durable = durable;
        inner.unsynced.clear();
    }

    /// The power goes: of what was not synced the first `kept` batches are there, and the others are not.
    pub(crate) fn crash(&self, kept: usize) {
        self.inner().lose(kept);
    }

    /// The same, and nothing works any more until it is mended: whoever held it is gone by then.
    pub(crate) fn power_off(&self, kept: usize) {
        let mut inner = self.inner();
        inner.lose(kept);
        inner.broken = true;
    }

    /// Whether a fault has struck and was not mended.
    pub(crate) fn is_broken(&self) -> bool {
        self.inner().broken
    }

    /// What it was asked for when its fault struck, if one did and was not mended.
    pub(crate) fn failed_at(&self) -> Option<Act> {
        self.inner().struck
    }

    /// Whether it is broken or will be.
    pub(crate) fn has_fault(&self) -> bool {
        let inner = self.inner();
        inner.broken || inner.fault.is_some()
    }

    /// Batches that crashes and failures took back.
    pub(crate) fn n_lost(&self) -> usize {
        self.inner().n_lost
    }

    /// Trees that are open.
    pub(crate) fn n_open(&self) -> usize {
        self.inner().n_open
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap()
    }
}

/// Syncs are held up; also a test that fails lets them go.
#[derive(Debug)]
pub(crate) struct Held(Disk);

impl Held {
    /// Lets one sync end.
    pub(crate) fn let_one_go(&self) {
        self.0.set_syncs(Some(1));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set_syncs(None);
    }
}

impl Inner {
    fn images<'a>(&'a self, written: &'a [Write]) -> Images<'a> {
        let Self { prints, durable, unsynced, .. } = self;
        Images { prints, durable, unsynced, written }
    }

    /// Makes the first `kept` unsynced batches durable, and forgets the others.
    fn harden(&mut self, kept: usize) {
        let unsynced = std::mem::take(&mut self.unsynced);
        for batch in unsynced.iter().take(kept) {
            write(&mut self.durable, batch);
        }
        let print = self.prints.get(kept).or(self.prints.last()).copied().unwrap_or_default();
        self.prints = vec![print];
    }

    fn tell(&self, act: Act, written: &[Write]) {
        if let Some(witness) = &self.witness {
            witness(act, self.images(written));
        }
    }

    fn lose(&mut self, kept: usize) {
        self.n_lost += self.unsynced.len().saturating_sub(kept);
        self.harden(kept);
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
                self.struck = Some(act);
                let kept = fault.kept;
                self.lose(kept);
            }
        }
        if self.broken && self.is_damaged {
            Err(Failed::Damaged("a page of the test".into()))
        } else if self.broken {
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
        Ok(self.inner(Act::Read)?.seen.get(key).cloned())
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        let inner = match self.inner(Act::Read) {
            Ok(inner) => inner,
            Err(failed) => return Box::new(std::iter::once(Err(failed))),
        };
        let (from, to) = (Bytes::from(from), Bytes::from(to));
        let range = inner.seen.range((Bound::Included(from), Bound::Excluded(to)));
        let entries: Vec<Entry> = range.map(|(k, v)| Ok((k.clone(), v.clone()))).collect();
        Box::new(entries.into_iter())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let mut inner = self.inner(Act::Apply)?;
        let print = inner.prints.last().copied().unwrap_or_default().after(&batch, &inner.seen);
        write(&mut inner.seen, &batch);
        inner.prints.push(print);
        inner.unsynced.push(batch);
        let written = inner.unsynced.last().map_or(&[][..], Vec::as_slice);
        inner.tell(Act::Apply, written);
        Ok(())
    }

    fn sync(&self) -> Result<(), Failed> {
        let held = self.disk.inner();
        let mut free = self.disk.0.let_go.wait_while(held, |inner| inner.syncs == Some(0)).unwrap();
        free.syncs = free.syncs.map(|left| left - 1);
        drop(free);
        let mut inner = self.inner(Act::Sync)?;
        inner.harden(usize::MAX);
        inner.tell(Act::Sync, &[]);
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, Failed> {
        Ok(0)
    }

    fn beside(&self) -> Option<Beside> {
        self.disk.inner().beside
    }

    fn note_beside(&self, beside: &Beside) {
        let mut inner = self.disk.inner();
        if inner.age == self.age {
            inner.beside = Some(*beside);
        }
    }

    fn room(&self) -> Result<Room, Failed> {
        Ok(Room { free: self.disk.inner().free, needed: 1000 })
    }
}
