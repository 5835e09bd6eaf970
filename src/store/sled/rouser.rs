//! Wakes who waits in sled for a write that has failed.
//!
//! sled 0.34 writes on threads of its own. When such a write fails it is noted, but on one of its two ways
//! there (`Log::exit_reservation`) nobody is woken: a `flush` that began before waits for ever. Whoever asks
//! next sees the note and wakes all the others, so this asks as soon as there is one.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::debug;

/// How often the note is looked for.
const EVERY: Duration = Duration::from_millis(250);

/// A thread that lives as long as this value; its own handle of the tree is gone when this is dropped.
pub(super) struct Rouser {
    /// Dropped to end the thread.
    ends: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rouser {
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(config: sled::Config, db: sled::Db) -> std::io::Result<Self> {
        let (ends, ended) = sync_channel(0);
        let look = move || watch(&config, &db, &ended);
        let thread = std::thread::Builder::new().name("store-rouser".to_owned()).spawn(look)?;
        Ok(Self { ends: Some(ends), thread: Some(thread) })
    }
}

fn watch(config: &sled::Config, db: &sled::Db, ended: &Receiver<()>) {
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        // The note is shared by all copies of a configuration.
        if config.global_error().is_err() {
            // Fails at once, and wakes the others on its way.
            if let Err(error) = db.flush() {
                debug!("A write of the store has failed: {error}");
            }
        }
    }
}

impl Drop for Rouser {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
