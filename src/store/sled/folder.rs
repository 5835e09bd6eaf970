//! The state folder: locked before anything else is touched, cleaned, and its names made durable.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, warn};

use super::OpenError;
use crate::store::ledger::Beside;

/// How often a held lock is tried again.
const TRY_EVERY: Duration = Duration::from_millis(100);

fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    move |source| OpenError::Folder { path: path.to_owned(), source }
}

/// Takes the folder for this process; it is let go when the file is dropped or the process dies.
pub(super) fn lock(path: &Path, wait: Duration) -> Result<File, OpenError> {
    // It holds openids: nobody else's to read.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
    let name = path.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed(&name))?;
    let mut tries = wait.as_millis() / TRY_EVERY.as_millis();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries == 0 => {
                return Err(OpenError::HeldElsewhere { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => {
                tries -= 1;
                crate::clock::block(TRY_EVERY);
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::Folder { path: name, source }),
        }
    }
}

/// Where a restored store is made: a folder of its own within the state folder.
const RESTORING: &str = "restoring";
/// The name of an empty store that a restored one takes the place of.
const REPLACED: &str = "sled.replaced";

/// An empty folder to make a restored store in.
pub(super) fn making_restored(path: &Path) -> Result<PathBuf, OpenError> {
    let making = path.join(RESTORING);
    remove(&making)?;
    Ok(making)
}

/// Takes away what was made so far; what is left is taken away by the next that opens the store.
pub(super) fn leave_restored(path: &Path) {
    let _left = remove(&path.join(RESTORING));
}

/// Puts a restored store in its place; it is durable there on return.
pub(super) fn take_restored(path: &Path) -> Result<(), OpenError> {
    let (folder, replaced) = (path.join("sled"), path.join(REPLACED));
    match fs::rename(&folder, &replaced) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::Folder { path: folder, source }),
    }
    drop(sync_files(&path.join(RESTORING).join("sled"))?);
    fs::rename(path.join(RESTORING).join("sled"), &folder).map_err(failed(&folder))?;
    File::open(path).and_then(|open| open.sync_all()).map_err(failed(path))?;
    remove(&replaced)?;
    remove(&path.join(RESTORING))
}

fn remove(folder: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Folder { path: folder.to_owned(), source }),
    }
}

/// Removes what a crash during an open left: a torn `snap.*.generating` would refuse every later open; and what one
/// during a restore left, which was nobody's.
pub(super) fn clean(path: &Path) -> Result<(), OpenError> {
    remove(&path.join(RESTORING))?;
    remove(&path.join(REPLACED))?;
    let folder = path.join("sled");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Folder { path: folder, source }),
    };
    for entry in entries {
        let entry = entry.map_err(failed(&folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
        }
    }
    Ok(())
}

/// Opens the file beside the state folder, which a copy of the folder does not have; makes it where there is none.
pub(super) fn open_beside(path: &Path) -> Option<File> {
    let mut name = path.file_name()?.to_owned();
    name.push(".commits");
    let name = path.with_file_name(name);
    let opened = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&name);
    opened
        .inspect_err(|error| {
            warn!(
                "An older copy of the store will not be noticed, as `{}` cannot be kept: {error}",
                name.display()
            );
        })
        .ok()
}

/// What stands in it.
pub(super) fn read_beside(file: &File) -> Option<Beside> {
    let mut line = [0; 128];
    let n = file.read_at(&mut line, 0).ok()?;
    Beside::of_line(std::str::from_utf8(line.get(..n)?).ok()?)
}

/// Writes into it, over what stands there.
pub(super) fn write_beside(file: &File, beside: &Beside) {
    if let Err(error) = file.write_all_at(beside.line().as_bytes(), 0) {
        // The next one may be written; until then it lags.
        debug!("How far the store is could not be noted beside it: {error}");
    }
}

/// Makes sled's folder where there is none: under another name, which it loses when all of it is on the disk. A cut
/// while sled makes its files would leave some that it never opens again; what lies there under the other name was
/// never anybody's.
pub(super) fn make(
    path: &Path,
    create: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let making = path.join("sled.making");
    remove(&making)?;
    let folder = path.join("sled");
    if folder.try_exists().map_err(failed(&folder))? {
        return Ok(());
    }
    create(&making)?;
    drop(sync_files(&making)?);
    fs::rename(&making, &folder).map_err(failed(&folder))?;
    File::open(path).and_then(|open| open.sync_all()).map_err(failed(path))
}

/// Makes the names and small files of an opened store durable; answers the own handle of sled's file.
///
/// The handle is kept open: an error of a sync is reported once to each handle that is open then.
pub(super) fn sync_names(path: &Path) -> Result<File, OpenError> {
    let db = sync_files(&path.join("sled"))?;
    File::open(path).and_then(|open| open.sync_all()).map_err(failed(path))?;
    Ok(db)
}

fn sync_files(folder: &Path) -> Result<File, OpenError> {
    let name = folder.join("db");
    let db = File::options().read(true).write(true).open(&name).map_err(failed(&name))?;
    db.sync_all().map_err(failed(&name))?;
    let conf = folder.join("conf");
    File::open(&conf).and_then(|file| file.sync_all()).map_err(failed(&conf))?;
    for folder in [folder.join("blobs"), folder.to_owned()] {
        match File::open(&folder) {
            Ok(open) => open.sync_all().map_err(failed(&folder))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(OpenError::Folder { path: folder, source }),
        }
    }
    Ok(db)
}

/// Whether the store is where it was: after a failure nothing is made anew.
pub(super) fn is_there(path: &Path) -> Result<(), OpenError> {
    let name = path.join("sled").join("db");
    fs::metadata(&name).map(drop).map_err(failed(&name))
}

/// Whether this handle is of the file that the folder still holds.
pub(super) fn is_ours(path: &Path, db: &File) -> io::Result<()> {
    let (there, ours) = (fs::metadata(path.join("sled").join("db"))?, db.metadata()?);
    let same = there.dev() == ours.dev() && there.ino() == ours.ino();
    if same { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
}

/// Name of the note that the page cache may show more than the disk holds. It lives in that same page cache, and
/// is gone with it: it need not be durable.
const MARK: &str = "unsynced";

/// Leaves the note.
pub(super) fn mark(path: &Path) {
    // On a disk that takes no more names there is none; then a start within the same uptime is not warned.
    let _noted = File::options().create(true).truncate(false).write(true).open(path.join(MARK));
}

/// Whether the note is there.
pub(super) fn is_marked(path: &Path) -> bool {
    path.join(MARK).exists()
}

/// Takes the note away.
pub(super) fn unmark(path: &Path) {
    // It is there after a failure only.
    let _gone = fs::remove_file(path.join(MARK));
}

/// Writes sled's file over itself and syncs it.
///
/// After a failed sync Linux shows what was written as if it were on the disk, and never writes it again. sled's
/// log may have a hole there that later syncs do not fill, and that recovery would not notice below what it
/// takes for stable. Each byte that a read shows is therefore written once more.
pub(super) fn rewrite(path: &Path) -> Result<(), OpenError> {
    const PIECE: usize = 1024 * 1024;
    let name = path.join("sled").join("db");
    let file = match File::options().read(true).write(true).open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Folder { path: name, source }),
    };
    let over = || -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            let n = file.read_at(&mut piece, at)?;
            let Some(read) = piece.get(..n).filter(|read| !read.is_empty()) else { break };
            file.write_all_at(read, at)?;
            at += u64::try_from(n).unwrap_or(0);
        }
        file.sync_all()
    };
    over().map_err(failed(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let (making, made) = (path.join("sled.making"), path.join("sled"));
        let half = |making: &Path| {
            fs::create_dir(making)
                .and_then(|()| fs::write(making.join("conf"), "torn"))
                .map_err(failed(making))
        };
        // Without its file it is none, as after a cut.
        assert!(make(path, half).is_err() && making.exists() && !made.exists());
        let whole = |making: &Path| {
            half(making).and_then(|()| fs::write(making.join("db"), "").map_err(failed(making)))
        };
        make(path, whole).expect("what was left is out of the way");
        assert!(!making.exists() && made.join("db").exists());
        // One that is there stays as it is; what lies beside it was nobody's.
        half(&making).expect("made");
        make(path, |_| panic!("it is there")).expect("nothing to make");
        assert!(!making.exists() && made.join("db").exists());
    }
}
