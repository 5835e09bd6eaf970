//! The sources of the last good set, kept in the state folder over a restart (promise P8).
//!
//! Each good set is a folder of its own, named by its digest; the link `current` says which one counts. A kill
//! at any point leaves the link at a whole set, the old or the new one. What is kept is text, read again by
//! the same loader as the admin's files; whether to keep or to use it is not decided here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::problem::file;
use super::{Loaded, LoadedRules, digest, load_folder};
use crate::domain::config::Config;

/// The link to the folder that counts.
const CURRENT: &str = "current";
/// The link while it is made.
const NEXT: &str = "current.next";
/// Where the schedule files of a set are, within its folder.
const SCHEDULES: &str = "schedules";
/// The configuration that the set was checked against, for people.
const CONFIG: &str = "tixing.yaml";

/// Keeps a good set: the text of its configuration and its `sources`.
///
/// On return it is durable, and the set before it is gone. The same set again writes nothing. Call it only
/// with sources that were loaded without errors.
///
/// # Errors
/// Those of the file system; what was kept before is then still there, or the new set is.
pub fn save(dir: &Path, config: &str, sources: &[(String, String)]) -> io::Result<()> {
    let name = folder_name(config, sources);
    if current(dir).is_some_and(|kept| kept == name) && is_whole(&dir.join(&name), config, sources) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent)?;
    }
    let folder = dir.join(&name);
    if folder.exists() {
        // Left by a kill before the link was moved, cut off anywhere; or damaged since.
        fs::remove_dir_all(&folder)?;
    }
    let schedules = folder.join(SCHEDULES);
    fs::create_dir_all(&schedules)?;
    write(&folder.join(CONFIG), config)?;
    for (name, text) in sources {
        write(&schedules.join(plain_name(name)?), text)?;
    }
    for made in [&schedules, &folder, &dir.to_path_buf()] {
        sync(made)?;
    }
    let next = dir.join(NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(&name, &next)?;
    fs::rename(&next, dir.join(CURRENT))?;
    sync(dir)?;
    // From here on the new set counts; the old ones only take room.
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != *name {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Loads the kept set against `config`, through the same checks as the admin's files.
///
/// `None` when nothing was ever kept.
///
/// # Errors
/// All diagnostics: the set does not go with this configuration, or is not what was written.
pub fn load(dir: &Path, config: &Config) -> Result<Option<Loaded<LoadedRules>>, Diagnostics> {
    let Some(name) = current(dir) else { return Ok(None) };
    let folder = dir.join(&name);
    let loaded = load_folder(&folder.join(SCHEDULES), config)?;
    let config_text = fs::read_to_string(folder.join(CONFIG)).unwrap_or_default();
    if folder_name(&config_text, &loaded.value.sources) == name {
        Ok(Some(loaded))
    } else {
        let shown = folder.display().to_string();
        Err(Diagnostics(vec![Diagnostic::of_file(&shown, file::kept_copy_damaged())]))
    }
}

/// Whether `folder` holds these texts.
fn is_whole(folder: &Path, config: &str, sources: &[(String, String)]) -> bool {
    let holds = |path: PathBuf, text: &str| fs::read(path).is_ok_and(|kept| kept == text.as_bytes());
    let schedules = folder.join(SCHEDULES);
    holds(folder.join(CONFIG), config) && sources.iter().all(|(name, text)| holds(schedules.join(name), text))
}

/// Name of the folder that counts.
fn current(dir: &Path) -> Option<String> {
    fs::read_link(dir.join(CURRENT)).ok()?.to_str().map(str::to_owned)
}

/// The digest of configuration and sources, in hex.
fn folder_name(config: &str, sources: &[(String, String)]) -> String {
    let mut all = vec![(CONFIG.to_owned(), config.to_owned())];
    all.extend_from_slice(sources);
    let hex = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    digest(&all).iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect()
}

/// A name within a folder, and nothing that leads out of it.
fn plain_name(name: &str) -> io::Result<PathBuf> {
    let path = Path::new(name);
    if path.file_name().is_some_and(|plain| plain == path.as_os_str()) {
        Ok(path.to_path_buf())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "a schedule file without a plain name"))
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{CONFIG_TEXT, config_in, rule_text};
    use super::*;

    fn sources(id: &str) -> Vec<(String, String)> {
        vec![("a.yaml".to_owned(), rule_text(id))]
    }

    fn ids(dir: &Path, config: &Config) -> Vec<String> {
        let loaded = load(dir, config).expect("a good set").expect("a kept set");
        loaded.value.set.rules.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_good_set_comes_back_and_the_old_one_goes() {
        let state = tempfile::tempdir().expect("a folder");
        let dir = state.path().join("last-good");
        let config = config_in(state.path());
        assert_eq!(load(&dir, &config), Ok(None));
        for id in ["one", "two", "two"] {
            save(&dir, CONFIG_TEXT, &sources(id)).expect("kept");
            assert_eq!(ids(&dir, &config), [id]);
        }
        assert_eq!(fs::read_dir(&dir).expect("the folder").count(), 2, "one set and the link");
        let loaded = load(&dir, &config).expect("good").expect("kept");
        assert_eq!(loaded.value.sources, sources("two"));
    }

    /// Each state of the folder that a kill can leave, made by hand.
    #[test]
    fn a_kill_leaves_a_whole_set() {
        let state = tempfile::tempdir().expect("a folder");
        let dir = state.path().join("last-good");
        let config = config_in(state.path());
        save(&dir, CONFIG_TEXT, &sources("one")).expect("kept");
        let new = dir.join(folder_name(CONFIG_TEXT, &sources("two")));
        let steps: [&dyn Fn(); 5] = [
            &|| fs::create_dir_all(&new).expect("made"),
            &|| fs::write(new.join(CONFIG), "apps:").expect("a piece"),
            &|| fs::create_dir_all(new.join(SCHEDULES)).expect("made"),
            &|| fs::write(new.join(SCHEDULES).join("a.yaml"), "rul").expect("a piece"),
            &|| symlink("nowhere", dir.join(NEXT)).expect("a link"),
        ];
        for step in steps {
            step();
            assert_eq!(ids(&dir, &config), ["one"]);
        }
        save(&dir, CONFIG_TEXT, &sources("two")).expect("kept after the kill");
        assert_eq!(ids(&dir, &config), ["two"]);
        // After the link was moved, before the old set was removed.
        fs::create_dir_all(dir.join("0123").join(SCHEDULES)).expect("made");
        assert_eq!(ids(&dir, &config), ["two"]);
        save(&dir, CONFIG_TEXT, &sources("three")).expect("kept");
        assert!(!dir.join("0123").exists());
    }

    #[test]
    fn a_damaged_or_unfitting_set_says_so() {
        let state = tempfile::tempdir().expect("a folder");
        let dir = state.path().join("last-good");
        let config = config_in(state.path());
        save(&dir, CONFIG_TEXT, &sources("one")).expect("kept");
        let file = dir.join(CURRENT).join(SCHEDULES).join("a.yaml");
        fs::write(&file, rule_text("six")).expect("written over");
        let codes = |result: Result<_, Diagnostics>| -> Vec<&'static str> {
            result.expect_err("bad").0.iter().map(|found| found.code).collect()
        };
        assert_eq!(codes(load(&dir, &config)), ["kept_copy_damaged"]);
        save(&dir, CONFIG_TEXT, &sources("one")).expect("kept anew");
        assert_eq!(ids(&dir, &config), ["one"]);
        let mut other = config;
        other.apps.clear();
        assert_eq!(codes(load(&dir, &other)), ["app_needed"]);
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let state = tempfile::tempdir().expect("a folder");
        let bad = vec![("../a.yaml".to_owned(), rule_text("one"))];
        assert!(save(&state.path().join("last-good"), CONFIG_TEXT, &bad).is_err());
    }
}
