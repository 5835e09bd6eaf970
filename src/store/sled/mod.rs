//! The ledger's tree on sled 0.34: one tree, and a sync of its own.
//!
//! What sled promises and what it does not was measured: its `flush` survives no power cut, a torn
//! snapshot locks a store for ever, eight concurrent flushes hang, and so may one whose write fails on
//! another thread (`rouser`). The folder is therefore locked and cleaned before it is opened, only the
//! ledger's writer writes and flushes, and each sync ends with `sync_data` on an own handle of sled's
//! file. After a failure every handle is dropped, so that the disk can be mended, and the file is written
//! over itself before sled reads it again.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::rouser::Rouser;
use super::ledger::{
    Beside, Bytes, Entry, Failed, Ledger, NotRestored, OpeningOf, Place, Restored, Room, StartError, Tree,
    Write,
};
use crate::clock::Clock;

mod folder;
mod rouser;

/// Memory for sled's page cache when nobody says otherwise; the process needs some more.
pub const DEFAULT_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How long a second process waits for the first to let go of the folder.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long after a failure the store is opened again; each further try waits twice as long.
pub const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// Room below which nothing more is taken on: enough to end what is under way.
pub const NEEDED_BYTES: u64 = 32 * 1024 * 1024;
/// The same as a share of the file system, where that is less: one in so many bytes.
pub const NEEDED_SHARE: u64 = 20;

/// What a store is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder: `lock`, `sled/`, `last-good/`.
    pub path: PathBuf,
    /// Memory for sled's page cache.
    pub cache_bytes: u64,
    /// How long to wait while another process holds the folder.
    pub lock_wait: Duration,
    /// How long after a failure it is opened again.
    pub reopen_after: Duration,
}

impl Options {
    /// The defaults for a folder.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, cache_bytes: DEFAULT_CACHE_BYTES, lock_wait: LOCK_WAIT, reopen_after: REOPEN_AFTER }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it (75).
    #[error("the store `{}` is held by another process", path.display())]
    HeldElsewhere {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer program (78).
    #[error("the store `{}` is of a newer program", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its layout.
        source: StartError,
    },
    /// The folder or a file in it cannot be used (75, or 77 without the right).
    #[error("cannot use the store's folder `{}`", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// sled refuses it (75).
    #[error("cannot open the store `{}`", path.display())]
    Engine {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StartError,
    },
}

impl From<sled::Error> for Failed {
    fn from(error: sled::Error) -> Self {
        if matches!(error, sled::Error::Corruption { .. }) {
            Self::Damaged(Box::new(error))
        } else {
            Self::Engine(Box::new(error))
        }
    }
}

/// Opens the store in a folder, making it when it is not there. Blocks: milliseconds for a small store,
/// seconds for millions of records, up to `lock_wait` while another process holds it.
///
/// # Errors
/// [`OpenError`], with the folder and the cause.
pub fn open(options: &Options, clock: Clock) -> Result<Ledger, OpenError> {
    let path = &options.path;
    // Taken here, so that a refusal keeps its kind.
    let lock = folder::lock(path, options.lock_wait)?;
    folder::clean(path)?;
    let place = Folder { options: options.clone(), lock: Some(lock), counts: Counts::Beside };
    Ledger::start(Box::new(place), clock).map_err(|source| match source {
        StartError::Newer { .. } => OpenError::Newer { path: path.clone(), source },
        StartError::Tree(_) | StartError::Thread(_) => OpenError::Engine { path: path.clone(), source },
    })
}

/// Makes the store in a folder of the lines of a backup. A folder that has one with anything in it is refused.
///
/// It is made whole beside the place where a store is looked for, and gets there at once: whoever is killed in the middle
/// leaves nothing that anybody opens. It begins on hold.
///
/// # Errors
/// [`RestoreError`]; what was there before is still there.
pub fn restore(
    options: &Options,
    clock: &Clock,
    lines: impl Iterator<Item = io::Result<String>>,
) -> Result<Restored, RestoreError> {
    let path = &options.path;
    let lock = folder::lock(path, options.lock_wait)?;
    folder::clean(path)?;
    if folder::is_there(path).is_ok() {
        let there = Folder { options: options.clone(), lock: None, counts: Counts::Nowhere };
        if !Ledger::is_new(Box::new(there)).map_err(NotRestored::Store)? {
            return Err(NotRestored::NotEmpty.into());
        }
    }
    let making = folder::making_restored(path)?;
    let own = folder::lock(&making, Duration::ZERO)?;
    let options = Options { path: making, ..options.clone() };
    let beside = Folder { options, lock: Some(own), counts: Counts::Nowhere };
    let known = folder::open_beside(path);
    let before = known.as_ref().and_then(folder::read_beside).map_or(0, |known| known.commits.generation);
    let restored = Ledger::restore(Box::new(beside), clock, before, lines);
    let restored = restored.inspect_err(|_| folder::leave_restored(path))?;
    folder::take_restored(path)?;
    if let Some(file) = &known {
        folder::write_beside(file, &restored.beside);
    }
    drop(lock);
    Ok(restored)
}

/// Why no store was made of a backup.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The backup cannot be, or there are books.
    #[error(transparent)]
    Books(#[from] NotRestored),
}

/// The state folder; locked as long as a tree is open or being opened.
struct Folder {
    options: Options,
    lock: Option<File>,
    counts: Counts,
}

/// Whether it is noted beside the folder how far the store is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Beside,
    /// Of a store that is nobody's yet.
    Nowhere,
}

impl Folder {
    fn config(&self, folder: &Path) -> sled::Config {
        sled::Config::new()
            .path(folder)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(self.options.cache_bytes)
            .flush_every_ms(None)
    }
}

impl Place for Folder {
    fn open(&mut self, opening: OpeningOf) -> Result<Box<dyn Tree>, Failed> {
        let path = &self.options.path;
        let told = |error: OpenError| Failed::Engine(Box::new(error));
        let made_anew = std::cell::Cell::new(false);
        match opening {
            OpeningOf::First => folder::make(path, |making| {
                made_anew.set(true);
                let made = open_db(&self.config(making)).map_err(|error| OpenError::Engine {
                    path: making.to_owned(),
                    source: StartError::Tree(error.into()),
                });
                made.map(drop)
            })
            .map_err(told)?,
            OpeningOf::Again => {
                folder::is_there(path).map_err(told)?;
                self.lock = Some(folder::lock(path, Duration::ZERO).map_err(told)?);
                folder::clean(path).map_err(told)?;
            }
        }
        if folder::is_marked(path) || opening == OpeningOf::Again {
            folder::mark(path);
            folder::rewrite(path).map_err(told)?;
        }
        let config = self.config(&path.join("sled"));
        let db = open_db(&config)?;
        let file = folder::sync_names(path).map_err(told)?;
        let no_thread = |source| Failed::Disk { what: "cannot start a thread beside the store", source };
        let rouser = Rouser::start(config, db.clone()).map_err(no_thread)?;
        folder::unmark(path);
        let beside = match self.counts {
            Counts::Beside => folder::open_beside(path),
            Counts::Nowhere => None,
        };
        let made_anew = made_anew.get();
        Ok(Box::new(SledTree { _rouser: rouser, db, file, beside, made_anew, path: path.clone() }))
    }

    fn leave(&mut self) {
        // What the page cache shows from now on may not be on the disk.
        folder::mark(&self.options.path);
        self.lock = None;
    }

    fn patience(&self) -> Duration {
        self.options.reopen_after
    }
}

/// sled's tree, and the own handle of its file.
struct SledTree {
    /// First, as it holds a handle of the tree as well.
    _rouser: Rouser,
    db: sled::Db,
    file: File,
    /// The file beside the folder, where there can be one.
    beside: Option<File>,
    made_anew: bool,
    path: PathBuf,
}

impl fmt::Debug for SledTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledTree").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Tree for SledTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Failed> {
        Ok(self.db.get(key)?)
    }

    fn range(&self, from: Vec<u8>, to: Vec<u8>) -> Box<dyn DoubleEndedIterator<Item = Entry> + '_> {
        Box::new(self.db.range(from..to).map(|entry| Ok(entry?)))
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), Failed> {
        let mut writes = sled::Batch::default();
        for (key, value) in batch {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        Ok(self.db.apply_batch(writes)?)
    }

    /// sled's `flush` ends in sync_file_range, which waits for no disk: `sync_data` on an own handle of its
    /// file is what makes it durable. A file that is no longer in its folder would be gone with the process.
    fn sync(&self) -> Result<(), Failed> {
        self.db.flush()?;
        self.file.sync_data().map_err(|source| Failed::Disk { what: "cannot sync the store", source })?;
        folder::is_ours(&self.path, &self.file)
            .map_err(|source| Failed::Disk { what: "the store's folder is gone or another one", source })
    }

    fn disk_bytes(&self) -> Result<u64, Failed> {
        Ok(self.db.size_on_disk()?)
    }

    fn beside(&self) -> Option<Beside> {
        folder::read_beside(self.beside.as_ref()?)
    }

    fn is_made_anew(&self) -> bool {
        self.made_anew
    }

    fn note_beside(&self, beside: &Beside) {
        if let Some(file) = &self.beside {
            folder::write_beside(file, beside);
        }
    }

    fn room(&self) -> Result<Room, Failed> {
        let failed = |source| Failed::Disk { what: "cannot ask how much room the disk has", source };
        let of = fs2::statvfs(&self.path).map_err(failed)?;
        Ok(Room { free: of.available_space(), needed: NEEDED_BYTES.min(of.total_space() / NEEDED_SHARE) })
    }
}

/// Opens sled, waiting for its own lock: threads of a store that was just closed in this process may hold
/// it a moment longer than the folder's. Nobody else can, as the folder is ours by now.
fn open_db(config: &sled::Config) -> sled::Result<sled::Db> {
    const TRIES: u32 = 500;
    let mut tries = 0;
    loop {
        match config.open() {
            Err(sled::Error::Io(error))
                if tries < TRIES && error.to_string().contains("could not acquire lock") =>
            {
                tries += 1;
                crate::clock::block(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}
