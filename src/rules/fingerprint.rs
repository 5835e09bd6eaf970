//! A cheap look at the files, to see whether they changed since the last one.
//!
//! Names, sizes, times and inodes only: no file is opened, so it can be taken every second. What editors leave
//! beside the files (names with a dot in front, `~`, `.swp`) is not looked at, as it is not read either. It does not
//! say what changed, nor whether a change is good.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::MAX_FILES;
use super::PULLED;

/// What the files look like from outside; equal while none of them was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the configuration at `config`, what was pulled beside it, and the schedule files in `schedules`.
    ///
    /// Links are followed, so another target shows even where the link's own name and time stay. Blocking: one
    /// `stat` a file, at most [`MAX_FILES`] of them.
    #[must_use]
    pub fn of(config: &Path, schedules: &Path) -> Self {
        let mut hash = Sha256::new();
        add(&mut hash, "config", &config.metadata());
        add(&mut hash, PULLED, &config.with_file_name(PULLED).metadata());
        add_folder(&mut hash, schedules);
        add_folder(&mut hash, &schedules.join("calendars"));
        Self(hash.finalize().into())
    }
}

/// Adds a folder and its schedule files; one that cannot be listed is a state of its own.
fn add_folder(hash: &mut Sha256, folder: &Path) {
    add(hash, "folder", &folder.metadata());
    let Ok(entries) = fs::read_dir(folder) else { return };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.filter(|name| is_read(name)).take(MAX_FILES + 1).collect();
    names.sort_unstable();
    for name in &names {
        add(hash, name, &folder.join(name).metadata());
    }
}

/// Whether a file of this name is read, or told of as one that should have another name.
fn is_read(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "YAML" | "YML"))
}

fn add(hash: &mut Sha256, name: &str, file: &io::Result<Metadata>) {
    hash.update(name.len().to_be_bytes());
    hash.update(name);
    match file {
        Ok(file) => {
            let whole = [file.dev(), file.ino(), u64::from(file.mode())];
            // Of a folder its times and size are left out: every editor's temporary file moves them.
            let of_file = [file.size(), file.mtime().cast_unsigned(), file.mtime_nsec().cast_unsigned()];
            let changed = [file.ctime().cast_unsigned(), file.ctime_nsec().cast_unsigned()];
            let parts =
                whole.into_iter().chain(of_file.into_iter().chain(changed).filter(|_| !file.is_dir()));
            for part in parts {
                hash.update(part.to_be_bytes());
            }
        }
        Err(error) => hash.update(format!("{:?}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Folder `s` with one file, behind the link `schedules`.
    fn world() -> (tempfile::TempDir, impl Fn() -> Fingerprint) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().to_owned();
        for (name, text) in [("tixing.yaml", "apps:"), ("s/a.yaml", "rules:"), ("t/a.yaml", "rules:")] {
            fs::create_dir_all(at.join(name).parent().expect("a folder")).expect("made");
            fs::write(at.join(name), text).expect("written");
        }
        symlink("s", at.join("schedules")).expect("a link");
        let look = move || Fingerprint::of(&at.join("tixing.yaml"), &at.join("schedules"));
        (folder, look)
    }

    #[test]
    fn what_is_read_shows_and_what_is_not_does_not() {
        type Change = fn(&Path) -> io::Result<()>;
        let table: [(&str, bool, Change); 14] = [
            ("nothing", false, |_| Ok(())),
            ("an editor's swap file", false, |at| fs::write(at.join("s/.a.yaml.swp"), "x")),
            ("a backup", false, |at| fs::write(at.join("s/a.yaml~"), "x")),
            ("vim's probe", false, |at| fs::write(at.join("s/4913"), "x")),
            ("a readme", false, |at| fs::write(at.join("s/README.md"), "x")),
            ("the configuration", true, |at| fs::write(at.join("tixing.yaml"), "apps: {}")),
            ("what was pulled", true, |at| fs::write(at.join(PULLED), "apps: {}")),
            ("another text of the same length", true, |at| fs::write(at.join("s/a.yaml"), "sulex:")),
            ("a new file", true, |at| fs::write(at.join("s/b.yaml"), "rules:")),
            ("a calendar", true, |at| {
                fs::create_dir(at.join("s/calendars"))?;
                fs::write(at.join("s/calendars/cn.yaml"), "weekly: MON")
            }),
            ("a file that went", true, |at| fs::remove_file(at.join("s/a.yaml"))),
            ("the folder that went", true, |at| fs::remove_dir_all(at.join("s"))),
            ("a right that was taken", true, |at| {
                fs::set_permissions(at.join("s/a.yaml"), fs::Permissions::from_mode(0o000))
            }),
            ("a link that leads elsewhere", true, |at| {
                symlink("t", at.join("next"))?;
                fs::rename(at.join("next"), at.join("schedules"))
            }),
        ];
        for (what, shows, change) in table {
            let (folder, look) = world();
            let before = look();
            change(folder.path()).expect(what);
            assert_eq!(look() != before, shows, "{what}");
        }
    }
}
