//! The sources of the last good set, kept in the state folder over a restart (promise P8).
//!
//! Each good set is a folder of its own, named by its digest; the link `current` says which one counts. A kill
//! at any point leaves the link at a whole set, the old or the new one. What is kept is text, read again by
//! the same loader as the admin's files; whether to keep or to use it is not decided here.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::calendars::{FOLDER, is_calendar};
use super::diagnostic::{Diagnostic, Diagnostics};
use super::problem::file;
use super::{CONFIG_FILE, Loaded, LoadedRules, PULLED, digest, load_config, load_folder};
use crate::domain::config::{App, Config};
use crate::domain::id::AppName;

/// The link to the folder that counts.
const CURRENT: &str = "current";
/// The link while it is made.
const NEXT: &str = "current.next";
/// Where the schedule files of a set are, within its folder.
const SCHEDULES: &str = "schedules";

/// Keeps a good set: the files of its configuration and its `sources`, each with its name.
///
/// On return it is durable, and the set before it is gone. The same set again writes nothing. Call it only
/// with sources that were loaded without errors.
///
/// # Errors
/// Those of the file system; what was kept before is then still there, or the new set is.
pub fn save(dir: &Path, config: &[(String, String)], sources: &[(String, String)]) -> io::Result<()> {
    let name = folder_name(config, sources);
    if current(dir).is_some_and(|kept| kept == name) && is_whole(&dir.join(&name), config, sources) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent)?;
    }
    if is_copied(dir)
        && let Some(kept) = current(dir)
    {
        // Before there is another beside it.
        point(dir, &kept)?;
    }
    let folder = dir.join(&name);
    if folder.exists() {
        // Left by a kill before the link was moved, cut off anywhere; or damaged since.
        fs::remove_dir_all(&folder)?;
    }
    let schedules = folder.join(SCHEDULES);
    fs::create_dir_all(&schedules)?;
    for (name, text) in config {
        write(&folder.join(plain_name(name)?), text)?;
    }
    let calendars = schedules.join(FOLDER);
    if sources.iter().any(|(name, _)| is_calendar(name)) {
        fs::create_dir(&calendars)?;
    }
    for (name, text) in sources {
        write(&schedules.join(place(name)?), text)?;
    }
    if calendars.exists() {
        sync(&calendars)?;
    }
    for made in [&schedules, &folder, &dir.to_path_buf()] {
        sync(made)?;
    }
    point(dir, &name)?;
    // From here on the new set counts; the old ones only take room.
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != *name {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the link one to `name`.
fn point(dir: &Path, name: &str) -> io::Result<()> {
    let next = dir.join(NEXT);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(name, &next)?;
    if is_copied(dir) {
        fs::remove_dir_all(dir.join(CURRENT))?;
    }
    fs::rename(&next, dir.join(CURRENT))?;
    sync(dir)
}

/// Loads the kept set against `config`, through the same checks as the admin's files.
///
/// A set that does not go with `config` any more is loaded against the configuration it was good with, as long
/// as no app became another mini program. `None` when nothing was ever kept.
///
/// # Errors
/// All diagnostics: the set goes with neither, or is not what was written.
pub fn load(dir: &Path, config: &Config) -> Result<Option<Loaded<LoadedRules>>, Diagnostics> {
    let Some(name) = current(dir) else { return Ok(None) };
    let folder = dir.join(&name);
    let schedules = folder.join(SCHEDULES);
    let loaded = load_folder(&schedules, config)
        .or_else(|found| load_folder(&schedules, &kept_config(&folder, config).ok_or(found)?))?;
    let text = |file: &str| Some((file.to_owned(), fs::read_to_string(folder.join(file)).ok()?));
    let config_files: Vec<(String, String)> = [CONFIG_FILE, PULLED].into_iter().filter_map(text).collect();
    if folder_name(&config_files, &loaded.value.sources) == name {
        Ok(Some(loaded))
    } else {
        let shown = folder.display().to_string();
        Err(Diagnostics(vec![Diagnostic::of_file(&shown, file::kept_copy_damaged())]))
    }
}

/// `config` with the apps and the zone of the kept configuration, unless a name has come to mean another app.
fn kept_config(folder: &Path, config: &Config) -> Option<Config> {
    let kept = load_config(&folder.join(CONFIG_FILE)).ok()?.value;
    let same = |(name, app): (&AppName, &App)| config.apps.get(name).is_none_or(|now| now.appid == app.appid);
    kept.apps.iter().all(same).then(|| Config { apps: kept.apps, zone: kept.zone, ..config.clone() })
}

/// Whether `folder` holds these texts.
fn is_whole(folder: &Path, config: &[(String, String)], sources: &[(String, String)]) -> bool {
    let holds = |path: PathBuf, text: &str| fs::read(path).is_ok_and(|kept| kept == text.as_bytes());
    let schedules = folder.join(SCHEDULES);
    config.iter().all(|(name, text)| holds(folder.join(name), text))
        && sources.iter().all(|(name, text)| holds(schedules.join(name), text))
}

/// Name of the folder that counts.
fn current(dir: &Path) -> Option<String> {
    if !is_copied(dir) {
        return fs::read_link(dir.join(CURRENT)).ok()?.to_str().map(str::to_owned);
    }
    let names = fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let others: Vec<String> = names.filter(|name| name != CURRENT && dir.join(name).is_dir()).collect();
    <[String; 1]>::try_from(others).ok().map(|[one]| one)
}

/// Whether the link is a folder: who copies the state folder and follows links makes one of it, beside the one that it named.
fn is_copied(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(CURRENT)).is_ok_and(|found| found.is_dir())
}

/// The digest of configuration and sources, in hex.
fn folder_name(config: &[(String, String)], sources: &[(String, String)]) -> String {
    let hex = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    digest(&[config, sources].concat()).iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 15)]).collect()
}

/// The place of a source: a name within a folder, or a calendar's within the folder of calendars.
fn place(name: &str) -> io::Result<PathBuf> {
    match name.split_once('/') {
        Some((folder, file)) if is_calendar(name) => Ok(Path::new(folder).join(plain_name(file)?)),
        Some(_) | None => plain_name(name),
    }
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
    use crate::domain::id::AppId;

    fn sources(id: &str) -> Vec<(String, String)> {
        vec![("a.yaml".to_owned(), rule_text(id))]
    }

    fn config_files() -> Vec<(String, String)> {
        vec![(CONFIG_FILE.to_owned(), CONFIG_TEXT.to_owned())]
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
            save(&dir, &config_files(), &sources(id)).expect("kept");
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
        save(&dir, &config_files(), &sources("one")).expect("kept");
        let new = dir.join(folder_name(&config_files(), &sources("two")));
        let steps: [&dyn Fn(); 5] = [
            &|| fs::create_dir_all(&new).expect("made"),
            &|| fs::write(new.join(CONFIG_FILE), "apps:").expect("a piece"),
            &|| fs::create_dir_all(new.join(SCHEDULES)).expect("made"),
            &|| fs::write(new.join(SCHEDULES).join("a.yaml"), "rul").expect("a piece"),
            &|| symlink("nowhere", dir.join(NEXT)).expect("a link"),
        ];
        for step in steps {
            step();
            assert_eq!(ids(&dir, &config), ["one"]);
        }
        save(&dir, &config_files(), &sources("two")).expect("kept after the kill");
        assert_eq!(ids(&dir, &config), ["two"]);
        // After the link was moved, before the old set was removed.
        fs::create_dir_all(dir.join("0123").join(SCHEDULES)).expect("made");
        assert_eq!(ids(&dir, &config), ["two"]);
        save(&dir, &config_files(), &sources("three")).expect("kept");
        assert!(!dir.join("0123").exists());
    }

    #[test]
    fn a_copy_in_which_the_link_is_a_folder_is_read_and_mended() {
        let state = tempfile::tempdir().expect("a folder");
        let (dir, link) = (state.path().join("last-good"), state.path().join("last-good").join(CURRENT));
        let config = config_in(state.path());
        save(&dir, &config_files(), &sources("one")).expect("kept");
        let copied = dir.join("copied");
        fs::create_dir_all(copied.join(SCHEDULES)).expect("made");
        fs::write(copied.join(CONFIG_FILE), CONFIG_TEXT).expect("a copy");
        fs::write(copied.join(SCHEDULES).join("a.yaml"), rule_text("one")).expect("a copy");
        fs::remove_file(&link).expect("no link");
        fs::rename(&copied, &link).expect("a folder in its place");
        assert_eq!(ids(&dir, &config), ["one"]);
        save(&dir, &config_files(), &sources("two")).expect("kept");
        assert_eq!(ids(&dir, &config), ["two"]);
        assert!(link.is_symlink() && fs::read_dir(&dir).expect("the folder").count() == 2);
    }

    #[test]
    fn a_damaged_or_unfitting_set_says_so() {
        let state = tempfile::tempdir().expect("a folder");
        let dir = state.path().join("last-good");
        let config = config_in(state.path());
        save(&dir, &config_files(), &sources("one")).expect("kept");
        let file = dir.join(CURRENT).join(SCHEDULES).join("a.yaml");
        fs::write(&file, rule_text("six")).expect("written over");
        let codes = |result: Result<_, Diagnostics>| -> Vec<&'static str> {
            result.expect_err("bad").0.iter().map(|found| found.code).collect()
        };
        assert_eq!(codes(load(&dir, &config)), ["kept_copy_damaged"]);
        save(&dir, &config_files(), &sources("one")).expect("kept anew");
        assert_eq!(ids(&dir, &config), ["one"]);
        let mut other = config;
        for app in other.apps.values_mut() {
            app.templates.clear();
        }
        assert_eq!(ids(&dir, &other), ["one"], "it goes on with the templates it was good with");
        for app in other.apps.values_mut() {
            app.appid = AppId::parse("wx0000000000000000").expect("an appid");
        }
        assert_eq!(codes(load(&dir, &other)), ["unknown_template"], "but not for another mini program");
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let state = tempfile::tempdir().expect("a folder");
        let bad = vec![("../a.yaml".to_owned(), rule_text("one"))];
        assert!(save(&state.path().join("last-good"), &config_files(), &bad).is_err());
    }
}
