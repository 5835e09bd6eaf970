//! `check`: everything that is wrong with the files, at once; it needs no secret, no store and no daemon.
//!
//! What is found is decided in `rules`; here is who hears of it, and in which form.

mod github;
mod sarif;
mod schedule;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::args::{Check, Format};
use super::print::say;
use super::{broken_pipe, people};
use crate::admin::answer::{Exit, Failure};
use crate::clock::Clock;
use crate::domain::language::{Language, Said};
use crate::rules::{self, Beside, Pulled, Report, View};

/// Folders above a file that are searched for its configuration.
const MAX_ABOVE: usize = 16;

/// Checks the configuration at `config` and its schedule files; tells of `files` only, when some are named.
///
/// The set is always checked as a whole, because rule ids are unique over all files. A file from elsewhere
/// is checked as if it were in the folder, in the place of one of its name. With `platform`, the templates are held
/// against what that says now.
///
/// # Errors
/// A named file is not there (64), or nobody reads any more.
pub(super) fn run(
    config: &Path,
    args: &Check,
    platform: Option<&Pulled>,
    language: Language,
) -> Result<Exit, Failure> {
    let files: Vec<PathBuf> = args.files.iter().filter(|file| real(file) != real(config)).cloned().collect();
    let people =
        rules::load_config(config).map_or_else(|_| BTreeMap::new(), |loaded| people::census(loaded.value));
    let view = View { now: Clock::system().now(), people };
    let elsewhere = if files.is_empty() { Vec::new() } else { elsewhere(config, &files, language)? };
    let mut report = rules::check_with(config, Beside { files: &elsewhere, view: Some(&view), platform });
    if !files.is_empty() {
        keep(&mut report, config, &files);
    }
    let clean = if args.strict { report.diagnostics.0.is_empty() } else { report.ok() };
    let exit = if clean { Exit::Done } else { Exit::NotInOrder };
    match args.format.unwrap_or(if args.json { Format::Json } else { Format::Text }) {
        Format::Json => {
            let mut json = report.to_json(language);
            if let Some(ok) = json.get_mut("ok") {
                *ok = clean.into();
            }
            broken_pipe(say(&json.to_string()))?;
        }
        Format::Sarif => broken_pipe(say(&sarif::log(&report.diagnostics.0, language).to_string()))?,
        Format::Github => {
            for found in &report.diagnostics.0 {
                broken_pipe(say(&github::command(found, language)))?;
            }
        }
        Format::Text => {
            if !report.diagnostics.0.is_empty() {
                broken_pipe(say(&report.diagnostics.text(language)))?;
            }
            broken_pipe(say(verdict(&report, exit).to(language)))?;
            let told = if args.verbose { schedule::lines(config, language) } else { Vec::new() };
            for line in told {
                broken_pipe(say(&line))?;
            }
        }
    }
    Ok(exit)
}

/// The last line.
fn verdict(report: &Report, exit: Exit) -> Said {
    let lead = match (report.ok(), exit) {
        (false, _) => Said::new("the files would be refused", "这些文件不会被采用"),
        (true, Exit::Done) => Said::new("the files can be used", "这些文件可以使用"),
        (true, _) => {
            Said::new("the files can be used, but not with --strict", "这些文件可以使用，但通不过 --strict")
        }
    };
    let (en, zh) = match report.diagnostics.0.len() {
        0 => (String::new(), String::new()),
        1 => (", 1 remark".to_owned(), "，有 1 条提示".to_owned()),
        n => (format!(", {n} remarks"), format!("，有 {n} 条提示")),
    };
    Said::new(format!("{}{en}", lead.en), format!("{}{zh}", lead.zh))
}

/// Those of the files that the configuration does not lead to.
fn elsewhere(config: &Path, files: &[PathBuf], language: Language) -> Result<Vec<PathBuf>, Failure> {
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        let missing = missing.display();
        let text = Said::new(format!("there is no file `{missing}`"), format!("没有 `{missing}` 这个文件"));
        return Err(Failure::new(Exit::Usage, text.to(language)));
    }
    // With mistakes in the configuration, those are what is told.
    let Ok(loaded) = rules::load_config(config) else { return Ok(Vec::new()) };
    let schedules = real(&loaded.value.schedules);
    Ok(files.iter().filter(|file| !real(file).starts_with(&schedules) && file.is_file()).cloned().collect())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_missing| path.to_owned())
}

/// Keeps what is about `files`, and about the configuration, which stands before everything.
fn keep(report: &mut Report, config: &Path, files: &[PathBuf]) {
    let files: Vec<PathBuf> = files.iter().map(PathBuf::as_path).chain([config]).map(real).collect();
    let mut known: HashMap<String, bool> = HashMap::new();
    report.diagnostics.0.retain(|found| {
        *known.entry(found.file.clone()).or_insert_with(|| {
            let about = real(Path::new(&found.file));
            files.iter().any(|file| about.starts_with(file))
        })
    });
}

/// The configuration that a `check FILE…` means: the one among the files, else the nearest `tixing.yaml`
/// above them, so that an editor need not know where it is.
pub(super) fn config_of(files: &[PathBuf]) -> Option<PathBuf> {
    let among = files.iter().find(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.starts_with("apps:"))
    });
    if let Some(among) = among {
        return Some(among.clone());
    }
    let above = |file: &PathBuf| {
        let folders = real(file);
        let configs = folders.ancestors().skip(1).take(MAX_ABOVE).map(|folder| folder.join("tixing.yaml"));
        configs.into_iter().find(|config| config.is_file())
    };
    files.iter().find_map(above)
}
