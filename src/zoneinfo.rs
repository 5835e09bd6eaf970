//! Reads the system's zone data: one file per zone below a folder such as `/usr/share/zoneinfo`.
//!
//! Everything is read at once, so that all zones are of one release; a zone whose file is missing or
//! broken is left to the program's own data, and a broken one is named. Whether and when to read again is not decided
//! here, and where the folders are comes from outside.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::domain::language::Said;
use crate::domain::zone::{MAX_BYTES, Release, Table, Zone};

/// The most bytes of a file that tells the release.
const MAX_VERSION_BYTES: u64 = 256;

/// The system's zone data; `None` where no folder has any.
///
/// Blocking: some 600 small files.
#[must_use]
pub fn read(folders: &[PathBuf]) -> Option<Release> {
    folders.iter().find_map(|folder| read_folder(folder, Zone::names()))
}

/// The same, for one zone alone.
#[must_use]
pub fn read_one(folders: &[PathBuf], name: &str) -> Option<Release> {
    // Only a name from the list ever becomes a path.
    folders.iter().find_map(|folder| read_folder(folder, Zone::names().filter(|known| *known == name)))
}

fn read_folder(folder: &Path, names: impl Iterator<Item = &'static str>) -> Option<Release> {
    let (mut tables, mut remarks) = (Vec::new(), Vec::new());
    let mut newest = DateTime::<Utc>::MIN_UTC;
    for name in names {
        match read_zone(&folder.join(name)) {
            Ok((table, changed_at)) => {
                newest = newest.max(changed_at);
                tables.push((name, table));
            }
            // Systems leave old names out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => remarks.push(broken(&folder.join(name), &error)),
        }
    }
    if tables.is_empty() && remarks.is_empty() {
        return None;
    }
    let version = version(folder).unwrap_or_else(|| format!("files of {}", newest.format("%Y-%m-%d")));
    Some(Release::of_system(version, tables, remarks))
}

fn read_zone(path: &Path) -> io::Result<(Table, DateTime<Utc>)> {
    // Asked before opening: a pipe in its place would never answer.
    let about = path.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).map_or(u64::MAX, |most| most + 1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    let table = Table::parse(&bytes).map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken))?;
    Ok((table, about.modified()?.into()))
}

/// Which release a folder holds, as it says itself: `# version 2026b` at the top of `tzdata.zi`, or `+VERSION`.
fn version(folder: &Path) -> Option<String> {
    let line = |name: &str| {
        let path = folder.join(name);
        let mut text = Vec::new();
        path.is_file().then_some(())?;
        File::open(path).ok()?.take(MAX_VERSION_BYTES).read_to_end(&mut text).ok()?;
        String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
    };
    let stated = line("tzdata.zi").and_then(|line| line.strip_prefix("# version ").map(str::to_owned));
    let version = stated.or_else(|| line("+VERSION"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let version = version.trim();
    ((1..=32).contains(&version.len()) && version.chars().all(plain)).then(|| version.to_owned())
}

fn broken(path: &Path, error: &io::Error) -> Said {
    let path = path.display();
    Said::new(
        format!("`{path}` cannot be used ({error}); this zone goes by the program's own data"),
        format!("`{path}` 无法使用（{error}）；这个时区改用程序自带的数据"),
    )
}

#[cfg(test)]
mod tests;
