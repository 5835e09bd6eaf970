//! Edits of good files: harmless ones, which change nothing, and harmful ones, which are all refused.
//!
//! The files are the repository's own examples. Harmless edits are a table; harmful ones are made from
//! every line, key and value of the files, so they grow with the examples. What is random has a printed seed.

mod harmful;
mod harmless;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tixing::domain::config::{Config, RuleSet};
use tixing::rules::{self, Diagnostics};

/// Files by name, of one set.
type Files = BTreeMap<String, String>;

/// Whether a text has a Chinese character in it.
pub(crate) fn has_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// The repository's own configuration and schedules.
fn examples() -> Files {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut files = Files::from([("tixing.yaml".to_owned(), read(&here.join("tixing.example.yaml")))]);
    for folder in ["schedules", "schedules/calendars"] {
        let entries = fs::read_dir(here.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.is_file()) {
            files.insert(format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap()), read(&path));
        }
    }
    assert!(files.len() >= 4);
    files
}

/// What a set of files says, or what is wrong with it.
fn load(folder: &Path, files: &Files) -> Result<(Config, RuleSet), Diagnostics> {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let whole = rules::read(&folder.join("tixing.yaml")).result?;
    if whole.warnings.is_empty() {
        Ok((whole.value.config, whole.value.rules.set))
    } else {
        Err(Diagnostics(whole.warnings))
    }
}

fn is_content(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}
