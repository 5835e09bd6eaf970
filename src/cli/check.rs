//! `check`: everything that is wrong with the files, at once, without secrets, store or daemon.

use std::path::{Path, PathBuf};

use super::args::Output;
use super::broken_pipe;
use super::print::say;
use crate::admin::answer::{Exit, Failure};
use crate::domain::language::{Language, Said};
use crate::rules::{self, Report};

/// Checks the configuration at `config` and its schedule files; tells of `files` only, when some are named.
///
/// The set is always checked as a whole, because rule ids are unique over all files.
///
/// # Errors
/// A named file is no part of the set (64), or nobody reads any more.
pub(super) fn run(
    config: &Path,
    files: &[PathBuf],
    output: Output,
    language: Language,
) -> Result<Exit, Failure> {
    let mut report = rules::check(config);
    if !files.is_empty() {
        belong(config, files, language)?;
        keep(&mut report, config, files);
    }
    let exit = if report.ok() { Exit::Done } else { Exit::NotInOrder };
    if output.json {
        broken_pipe(say(&report.to_json(language).to_string()))?;
        return Ok(exit);
    }
    let n = report.diagnostics.0.len();
    if n > 0 {
        broken_pipe(say(&report.diagnostics.text(language)))?;
    }
    broken_pipe(say(verdict(exit, n).to(language)))?;
    Ok(exit)
}

/// The last line.
fn verdict(exit: Exit, n: usize) -> Said {
    let lead = if exit == Exit::Done {
        Said::new("the files can be used", "文件可以使用")
    } else {
        Said::new("the files would be refused", "文件不会被采用")
    };
    let (en, zh) = match n {
        0 => (String::new(), String::new()),
        1 => (", 1 remark".to_owned(), "，有 1 条提示".to_owned()),
        n => (format!(", {n} remarks"), format!("，有 {n} 条提示")),
    };
    Said::new(format!("{}{en}", lead.en), format!("{}{zh}", lead.zh))
}

/// Refuses files that the configuration does not lead to: silence about them would look like praise.
fn belong(config: &Path, files: &[PathBuf], language: Language) -> Result<(), Failure> {
    // With mistakes in the configuration, those are what is told.
    let Ok(loaded) = rules::load_config(config) else { return Ok(()) };
    let schedules = loaded.value.schedules;
    for file in files {
        let known = real(file) == real(config) || real(file).starts_with(real(&schedules));
        if !known || !file.exists() {
            let (file, schedules, config) = (file.display(), schedules.display(), config.display());
            let text = match language {
                Language::English => format!(
                    "`{file}` is not among the schedule files of `{config}`, which are in `{schedules}`"
                ),
                Language::Chinese => {
                    format!("`{file}` 不是 `{config}` 的提醒规则文件，它们在 `{schedules}` 里")
                }
            };
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    Ok(())
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_missing| path.to_owned())
}

/// Keeps what is about `files`, and about the configuration, which stands before everything.
fn keep(report: &mut Report, config: &Path, files: &[PathBuf]) {
    let files: Vec<PathBuf> = files.iter().map(PathBuf::as_path).chain([config]).map(real).collect();
    report.diagnostics.0.retain(|found| {
        let about = real(Path::new(&found.file));
        files.iter().any(|file| about.starts_with(file))
    });
}

/// The configuration that a `check FILE…` means: the one among the files, if there is one.
pub(super) fn config_among(files: &[PathBuf]) -> Option<&PathBuf> {
    files.iter().find(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| line.starts_with("apps:"))
    })
}
