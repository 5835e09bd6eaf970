//! A tree in memory, for histories by the thousand: everything applied is durable, and nothing fails but when told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Bytes, Entry, Failed, OpeningOf, Place, Room, Tree, Write};

/// A place whose one tree is there again whenever it is opened; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How many more batches it takes, where that is not all.
    left: Option<usize>,
}

impl Memory {
    /// Another one with the same in it.
    pub(in crate::store) fn copy(&self) -> Self {
        let entries = self.0.lock().unwrap().entries.clone();
        Self(Arc::new(Mutex::new(Inner { entries, left: None })))
    }

    /// Takes so many batches and fails then, as long as it is told so.
    pub(in crate::store) fn fail_after(&self, batches: Option<usize>) {
        self.0.lock().unwrap().left = batches;
    }

    /// Changes what is in it behind the store's back.
    pub(in crate::store) fn tamper(&self, change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>)) {
        change(&mut self.0.lock().unwrap().entries);
    }

    /// Everything in it.
    pub(in crate::store) fn entries(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.lock().unwrap().entries.clone()
    }

    /// Whether a text is anywhere in it.
    pub(in crate::store) fn holds(&self, text: &str) -> bool {
        let is_in = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        self.0.lock().unwrap().entries.iter().any(|(key, value)| is_in(key) || is_in(value))
    }
}

impl Place for Memory {
    fn open(&mut self, _opening: OpeningOf) -> Result<Box<dyn Tree>, Failed> {
        Ok(Box::new(self.clone()))
    }

    fn leave(&mut self) {}

    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

impl Tree for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failed> {
        Ok(self.0.lock().unwrap().entries.get(key).map(|value| Bytes::from(value.as_slice())))
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        let entries: Vec<Entry> = (self.0.lock().unwrap().entries.range(from..to))
            .map(|(key, value)| Ok((Bytes::from(key.as_slice()), Bytes::from(value.as_slice()))))
            .collect();
        Box::new(entries.into_iter())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let inner = &mut *self.0.lock().unwrap();
        match &mut inner.left {
            Some(0) => return Err(Failed::Record("told to fail")),
            Some(left) => *left -= 1,
            None => {}
        }
        for (key, value) in batch {
            match value {
                Some(value) => inner.entries.insert(key, value),
                None => inner.entries.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn disk_bytes(&self) -> Result<u64, Failed> {
        Ok(0)
    }

    fn room(&self) -> Result<Room, Failed> {
        Ok(Room { free: u64::MAX, needed: 0 })
    }
}
