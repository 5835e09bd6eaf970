//! Files that admins edit: YAML → a checked [`Config`] and [`RuleSet`], or all diagnostics at once.
//!
//! A mistake never stops at the first: every one comes with its file, line, column, code and fix, so that an
//! admin mends a folder in one round. Nothing here reads a secret, a clock or the environment, and nothing
//! decides what happens with a bad set; `last_good` keeps the sources of a good one for a restart.

mod app_entry;
mod audience_entry;
mod calendars;
mod config_file;
mod config_keys;
mod diagnostic;
mod fingerprint;
mod keys;
pub mod last_good;
mod meaning;
mod names;
mod pattern;
mod problem;
mod pulled;
mod quiet_entry;
mod relative_entry;
mod rule_entry;
mod rule_texts;
mod schedule_file;
mod schedule_keys;
pub mod schema;
pub mod snapshot;
mod source;
mod syntax;
mod values;
mod walk;
mod when_entry;
mod yaml;

#[cfg(test)]
mod broken;
#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod schema_samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::config::{Config, RuleSet};
use crate::domain::language::Language;
use crate::domain::when::Calendar;

pub use calendars::is_calendar;
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS, Severity, SourceLine};
pub use fingerprint::Fingerprint;
pub use meaning::View;
pub use problem::CODES;
pub use pulled::Pulled;
pub use schedule_file::MAX_RULES;
pub use source::MAX_FILE_BYTES;
pub use yaml::{MAX_DEPTH, MAX_VALUES};

use calendars::Calendars;
use diagnostic::Findings;
use problem::{Problem, file};
use schedule_file::{Gathered, Trust};
use source::{Source, Spot};
use walk::Walk;

/// What a configuration is called where its text is kept.
const CONFIG_FILE: &str = "tixing.yaml";
/// What the platform said of the templates, beside the configuration.
const PULLED: &str = "templates.pulled.yaml";
/// The most schedule files of one folder.
pub const MAX_FILES: usize = 10_000;
/// The most bytes of all schedule files.
pub const MAX_FOLDER_BYTES: usize = 8 << 20;

/// Something that was loaded without errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// What was loaded.
    pub value: T,
    /// What an admin should know all the same.
    pub warnings: Vec<Diagnostic>,
}

/// The rules of a folder and the text they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedRules {
    /// The rules.
    pub set: RuleSet,
    /// The files in the order they were read: name within the folder, and text.
    pub sources: Vec<(String, String)>,
    /// SHA-256 of the sources; the same files give the same digest.
    pub digest: [u8; 32],
}

/// A configuration and its rules, read together.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The configuration.
    pub config: Config,
    /// Its files: name beside `tixing.yaml`, and text.
    pub config_sources: Vec<(String, String)>,
    /// The rules.
    pub rules: LoadedRules,
}

/// One reading of all files.
#[derive(Clone, Debug)]
pub struct Reading {
    /// All of it, or everything that is wrong.
    pub result: Result<Loaded<Whole>, Diagnostics>,
    /// The folder of the schedule files, where the configuration could be read that far.
    pub schedules: Option<PathBuf>,
}

/// What a check looks at beside the configuration and its folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Some files more, each in the place of one of its name if there is one.
    pub files: &'a [PathBuf],
    /// An instant and the people there are, to judge what the rules mean; without it only what they say is judged.
    pub view: Option<&'a View>,
    /// What the platform says of the templates now, in place of what was pulled before.
    pub platform: Option<&'a Pulled>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything, file by file.
    pub diagnostics: Diagnostics,
}

impl Report {
    /// Whether the files can be used.
    #[must_use]
    pub fn ok(&self) -> bool {
        !self.diagnostics.any_error()
    }

    /// The object of `check --json`.
    #[must_use]
    pub fn to_json(&self, language: Language) -> serde_json::Value {
        let found = self.diagnostics.0.iter();
        let list: Vec<serde_json::Value> = found.map(|found| found.to_json(language)).collect();
        serde_json::json!({ "ok": self.ok(), "diagnostics": list })
    }
}

/// Loads `tixing.yaml` at `path`. Secrets need not be there.
///
/// # Errors
/// All diagnostics, at least one of them an error.
pub fn load_config(path: &Path) -> Result<Loaded<Config>, Diagnostics> {
    let mut found = Findings::default();
    let config = read_config(path, None, &mut found).map(|read| read.config);
    finish(config, found)
}

/// [`load_config`] without what was pulled from the platform, for those who are about to pull.
///
/// # Errors
/// As there.
pub fn load_config_unpulled(path: &Path) -> Result<Loaded<Config>, Diagnostics> {
    let mut found = Findings::default();
    let config = read_config(path, Some(&Pulled::default()), &mut found).map(|read| read.config);
    finish(config, found)
}

/// Loads the configuration at `path` and its schedule files; what is wrong in either is told at once.
#[must_use]
pub fn read(path: &Path) -> Reading {
    let mut found = Findings::default();
    let mut schedules = None;
    let whole = read_config(path, None, &mut found).and_then(|ReadConfig { config, trust, sources }| {
        schedules = Some(config.schedules.clone());
        let rules = read_folder(&config.schedules, &config, trust, Beside::default(), &mut found)?;
        Some(Whole { config, config_sources: sources, rules })
    });
    Reading { result: finish(whole, found), schedules }
}

/// Where the operators' socket is according to a configuration that need not be good.
///
/// So that a daemon can be asked how it is while `tixing.yaml` is being mended. Of a file that is no YAML the
/// `admin` block alone is read.
#[must_use]
pub fn admin_socket(path: &Path) -> Option<PathBuf> {
    let mut found = Findings::default();
    if let Some(read) = read_config(path, None, &mut found) {
        return Some(read.config.admin.socket);
    }
    let text = String::from_utf8_lossy(&source::read(path).ok()?).into_owned();
    let mut lines = text.lines().skip_while(|line| !line.starts_with("admin:"));
    let mut block = lines.next()?.to_owned();
    for line in lines.take_while(|line| line.starts_with([' ', '#']) || line.is_empty()) {
        block.push('\n');
        block.push_str(line);
    }
    let source = Source::new("", block);
    let root = yaml::parse(&source, &mut found)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    config_file::admin_socket(&root, folder, &mut Walk { source: &source, found: &mut found })
}

/// Loads the schedule files of `config`, in the order of their names.
///
/// # Errors
/// All diagnostics of all files, at least one of them an error; a missing folder is one.
pub fn load_rules(config: &Config) -> Result<Loaded<LoadedRules>, Diagnostics> {
    load_folder(&config.schedules, config)
}

/// Loads the calendars of `config`, by name; its schedule files are not looked at.
///
/// # Errors
/// All diagnostics of all calendars, at least one of them an error.
pub fn load_calendars(config: &Config) -> Result<Loaded<Vec<Arc<Calendar>>>, Diagnostics> {
    let mut found = Findings::default();
    let mut sources = read_sources(&config.schedules, &[], &mut found).unwrap_or_default();
    sources.retain(|(name, _)| is_calendar(name));
    let calendars = read_calendars(&sources, &mut found);
    finish(Some(calendars.into_good()), found)
}

/// Checks the configuration at `path` and its schedule files, everything at once.
///
/// A configuration with mistakes does not keep the schedule files from being checked; they are then not
/// blamed for names that it may have meant to define.
#[must_use]
pub fn check(path: &Path) -> Report {
    check_with(path, Beside::default())
}

/// [`check`] with what else is to be looked at.
#[must_use]
pub fn check_with(path: &Path, beside: Beside<'_>) -> Report {
    let mut found = Findings::default();
    if let Some(read) = read_config(path, beside.platform, &mut found) {
        read_folder(&read.config.schedules, &read.config, read.trust, beside, &mut found);
    }
    Report { diagnostics: found.into_diagnostics() }
}

/// Loads schedule files from a folder that need not be the configured one.
fn load_folder(folder: &Path, config: &Config) -> Result<Loaded<LoadedRules>, Diagnostics> {
    let mut found = Findings::default();
    let rules = read_folder(folder, config, Trust::Whole, Beside::default(), &mut found);
    finish(rules, found)
}

fn finish<T>(value: Option<T>, found: Findings) -> Result<Loaded<T>, Diagnostics> {
    let n_errors = found.n_errors();
    let diagnostics = found.into_diagnostics();
    match value {
        Some(value) if n_errors == 0 => Ok(Loaded { value, warnings: diagnostics.0 }),
        Some(_) | None => Err(diagnostics),
    }
}

/// A configuration as far as it could be read.
struct ReadConfig {
    config: Config,
    trust: Trust,
    /// Its files: name and text.
    sources: Vec<(String, String)>,
}

/// The configuration as far as it can be read; `None` when there is nothing to go on from.
///
/// What was pulled is read from its file, unless `platform` says it anew.
fn read_config(path: &Path, platform: Option<&Pulled>, found: &mut Findings) -> Option<ReadConfig> {
    let name = path.display().to_string();
    let source = read_source(path, &name, found)?;
    let Some(root) = yaml::parse(&source, found) else {
        if found.n_errors() == 0 {
            found.add(Diagnostic::new(&source, Spot::START, file::empty_config()));
        }
        return None;
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let kept = if platform.is_none() { pulled::read_beside(path, found) } else { None };
    let (kept, kept_text) = kept.unzip();
    let pulled = platform.or(kept.as_ref()).cloned().unwrap_or_default();
    let (config, trust) = config_file::read(&root, folder, &pulled, &mut Walk { source: &source, found })?;
    let mut sources = vec![(CONFIG_FILE.to_owned(), source.into_text())];
    sources.extend(kept_text.map(|text| (PULLED.to_owned(), text)));
    Some(ReadConfig { config, trust, sources })
}

/// Reads and checks one file; what is wrong with it as a file is reported.
fn read_source(path: &Path, name: &str, found: &mut Findings) -> Option<Source> {
    let bytes = match source::read(path) {
        Ok(bytes) => bytes,
        Err(problem) => {
            found.add(Diagnostic::of_file(name, problem));
            return None;
        }
    };
    match Source::from_bytes(name, bytes) {
        Ok(source) => Some(source),
        Err(bad) => {
            let (source, spot, problem) = *bad;
            found.add(Diagnostic::new(&source, spot, problem));
            None
        }
    }
}

fn read_folder(
    folder: &Path,
    config: &Config,
    trust: Trust,
    beside: Beside<'_>,
    found: &mut Findings,
) -> Option<LoadedRules> {
    let mut gathered = Gathered::default();
    let sources = read_sources(folder, beside.files, found)?;
    let calendars = read_calendars(&sources, found);
    for (n, (_, source)) in sources.iter().enumerate().filter(|(_, (name, _))| !is_calendar(name)) {
        gathered.file = n;
        let n_errors = found.n_errors();
        match yaml::parse(source, found) {
            Some(root) => {
                let mut walk = Walk { source, found };
                schedule_file::read(&root, (config, trust), &calendars, &mut gathered, &mut walk);
            }
            None if found.n_errors() == n_errors => {
                found.add(Diagnostic::new(source, Spot::START, file::empty_file()));
            }
            None => {}
        }
    }
    if let Some(view) = beside.view {
        let sources: Vec<&Source> = sources.iter().map(|(_, source)| source).collect();
        meaning::judge(&gathered.placed, &sources, config, view, found);
    }
    let set = gathered.set;
    if set.rules.is_empty() && set.disabled.is_empty() && found.n_errors() == 0 {
        found.add(Diagnostic::of_file(&folder.display().to_string(), file::no_rules()));
    }
    let sources: Vec<(String, String)> =
        sources.into_iter().map(|(short, source)| (short, source.into_text())).collect();
    let digest = digest(&sources);
    Some(LoadedRules { set, sources, digest })
}

/// The calendars among the sources.
fn read_calendars(sources: &[(String, Source)], found: &mut Findings) -> Calendars {
    let mut calendars = Calendars::default();
    for (name, source) in sources.iter().filter(|(name, _)| is_calendar(name)) {
        let n_errors = found.n_errors();
        let root = yaml::parse(source, found);
        if root.is_none() && found.n_errors() == n_errors {
            found.add(Diagnostic::new(source, Spot::START, file::empty_file()));
        }
        calendars.add(name, root.as_ref(), &mut Walk { source, found });
    }
    calendars
}

/// Reads the schedule files of a folder, each with its name within it; all of them, before any is parsed.
fn read_sources(folder: &Path, more: &[PathBuf], found: &mut Findings) -> Option<Vec<(String, Source)>> {
    let mut sources = Vec::new();
    let mut n_bytes = 0;
    let mut paths = list_folder(folder, found)?;
    let calendars = folder.join(calendars::FOLDER);
    if calendars.is_dir() {
        paths.extend(list_folder(&calendars, found)?);
    }
    paths.retain(|path| more.iter().all(|other| short_name(other) != short_name(path)));
    paths.extend_from_slice(more);
    for path in paths {
        let name = path.display().to_string();
        let Some(source) = read_source(&path, &name, found) else { continue };
        n_bytes += source.text().len();
        if n_bytes > MAX_FOLDER_BYTES {
            found.add(Diagnostic::of_file(&name, file::folder_too_large(MAX_FOLDER_BYTES)));
            return None;
        }
        sources.push((short_name(&path), source));
    }
    Some(sources)
}

/// Its name within the folder of schedule files.
fn short_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let file = name(path).unwrap_or_else(|| path.display().to_string());
    match path.parent().and_then(name) {
        Some(folder) if folder == calendars::FOLDER => format!("{folder}/{file}"),
        Some(_) | None => file,
    }
}

/// The schedule files of a folder, in the order of their names.
fn list_folder(folder: &Path, found: &mut Findings) -> Option<Vec<PathBuf>> {
    let name = folder.display().to_string();
    let unreadable = |error: &std::io::Error| -> Problem {
        if error.kind() == std::io::ErrorKind::NotFound { file::no_folder() } else { file::unreadable(error) }
    };
    let entries = std::fs::read_dir(folder)
        .map_err(|error| found.add(Diagnostic::of_file(&name, unreadable(&error))))
        .ok()?;
    let mut files = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                found.add(Diagnostic::of_file(&name, unreadable(&error)));
                return None;
            }
        };
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // What begins with a dot is an editor's.
        if file_name.starts_with('.') {
            continue;
        }
        let shown = path.display().to_string();
        match file_name.rsplit_once('.') {
            Some((_, "yaml")) => files.push(path),
            Some((stem, "yml" | "YAML" | "YML")) => {
                let instead = format!("{stem}.yaml");
                found.add(Diagnostic::of_file(&shown, file::ignored_file(&instead)));
            }
            Some(_) | None => {}
        }
        if files.len() > MAX_FILES {
            found.add(Diagnostic::of_file(&name, file::too_many_files(MAX_FILES)));
            return None;
        }
    }
    files.sort_unstable();
    Some(files)
}

/// SHA-256 over names and texts, each with its length before it.
fn digest(sources: &[(String, String)]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in sources.iter().flat_map(|(name, text)| [name, text]) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
