//! `check`: everything that is wrong with the files, at once, without secrets, store or daemon.

use std::path::{Path, PathBuf};

use super::broken_pipe;
use super::print::say;
use crate::admin::answer::{Exit, Failure};
use crate::rules::{self, Report};

/// Checks the configuration at `config` and its schedule files; tells of `files` only, when some are named.
///
/// The set is always checked as a whole, because rule ids are unique over all files.
///
/// # Errors
/// Nobody reads any more.
pub(super) fn run(config: &Path, files: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let mut report = rules::check(config);
    if !files.is_empty() {
        keep(&mut report, files);
    }
    let exit = if report.ok() { Exit::Done } else { Exit::NotInOrder };
    if json {
        broken_pipe(say(&report.to_json().to_string()))?;
        return Ok(exit);
    }
    let n = report.diagnostics.0.len();
    if n > 0 {
        broken_pipe(say(&report.diagnostics.to_string()))?;
    }
    let verdict = if exit == Exit::Done { "the files can be used" } else { "the files would be refused" };
    let found = match n {
        0 => String::new(),
        1 => ", 1 remark".to_owned(),
        n => format!(", {n} remarks"),
    };
    broken_pipe(say(&format!("{verdict}{found}")))?;
    Ok(exit)
}

/// Keeps what is about `files`, and errors of the configuration, which stand before everything.
fn keep(report: &mut Report, files: &[PathBuf]) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_missing| path.to_owned());
    let files: Vec<PathBuf> = files.iter().map(|file| real(file)).collect();
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
