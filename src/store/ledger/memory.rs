//! A tree in memory, for histories by the thousand: everything applied is durable, nothing fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Bytes, Entry, Failed, OpeningOf, Place, Room, Tree, Write};

/// A place whose one tree is there again whenever it is opened.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Memory(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

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
        Ok(self.0.lock().unwrap().get(key).map(|value| Bytes::from(value.as_slice())))
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        let entries: Vec<Entry> = (self.0.lock().unwrap().range(from..to))
            .map(|(key, value)| Ok((Bytes::from(key.as_slice()), Bytes::from(value.as_slice()))))
            .collect();
        Box::new(entries.into_iter())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let mut entries = self.0.lock().unwrap();
        for (key, value) in batch {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
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
