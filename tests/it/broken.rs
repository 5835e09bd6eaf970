//! The corpus of broken files: real mistakes, each with the exact text that an admin reads, in both languages.
//!
//! `tests/data/broken` holds a good `tixing.yaml` and `schedule.yaml`, and beside them files in which one
//! thing is wrong: `config/*.yaml` in place of the first, `schedule/*.yaml` of the second, `folder/*` whole
//! sets. `NAME.txt` is what `check` says. With `TIXING_WRITE_SNAPSHOTS=1` the texts are written anew; read
//! them before you keep them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tixing::domain::census::Census;
use tixing::domain::id::{AppName, FieldName, Tag};
use tixing::domain::language::Language;
use tixing::rules::{self, Beside, CODES, Report, View};

use crate::edits;

/// Codes that no file of this size can show; `src/rules/folder_tests.rs` does.
const ELSEWHERE: &[&str] = &[
    "bad_time",
    "file_too_large",
    "folder_too_large",
    "kept_copy_damaged",
    "key_is_no_text",
    "emptied_folder",
    "files_changing",
    "template_not_on_platform",
    "secret_unusable",
    "too_deep",
    "too_many",
    "too_many_diagnostics",
    "too_many_files",
    "too_many_rules",
    "too_many_values",
    "type_tag",
    "unreadable",
];

pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/broken")
}

/// Checks a set of files.
pub(crate) fn check(files: &[(&str, &[u8])]) -> (Report, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let report = rules::check_with(
        &folder.path().join("tixing.yaml"),
        Beside { view: Some(&view()), ..Beside::default() },
    );
    (report, folder)
}

/// A day of 2026, and a hundred thousand people of whom little is known.
fn view() -> View {
    let census = Census {
        recipients: 100_000,
        tags: [(Tag::parse("habit").unwrap(), 50_000)].into(),
        fields: ["at", "age", "city"].map(|field| (FieldName::parse(field).unwrap(), 50_000)).into(),
    };
    let now = "2026-11-26T00:00:00Z".parse().unwrap();
    View { now, people: [(AppName::parse("clinic").unwrap(), census)].into() }
}

/// What an admin reads, with names as if the files were here.
fn texts(report: &Report, folder: &Path) -> String {
    let lead = format!("{}/", folder.display());
    let text = |language| report.diagnostics.text(language).replace(&lead, "");
    format!("{}\n\n———— 中文 ————\n\n{}\n", text(Language::English), text(Language::Chinese))
}

/// Files of a folder below the corpus that end in `.yaml`, by name.
fn fixtures(kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus().join(kind)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_none_or(|e| e == "yaml")).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// All files below `folder`, named from there.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// Every fixture with its report and the text of its snapshot.
fn all() -> Vec<(PathBuf, Report, String)> {
    let config = fs::read(corpus().join("tixing.yaml")).unwrap();
    let schedule = fs::read(corpus().join("schedule.yaml")).unwrap();
    let mut all = Vec::new();
    let mut add = |path: &Path, files: &[(&str, &[u8])]| {
        let (report, folder) = check(files);
        let text = texts(&report, folder.path());
        all.push((path.with_extension("txt"), report, text));
    };
    for path in fixtures("config") {
        let text = fs::read(&path).unwrap();
        add(&path, &[("tixing.yaml", &text), ("schedules/drink.yaml", &schedule)]);
    }
    for path in fixtures("schedule") {
        let text = fs::read(&path).unwrap();
        add(&path, &[("tixing.yaml", &config), (&format!("schedules/{}.yaml", stem(&path)), &text)]);
    }
    for path in fixtures("folder") {
        let files = tree(&path);
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_slice())).collect();
        add(&path, &files);
    }
    all
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests may ask for new snapshots")]
fn every_broken_file_is_told_in_these_words() {
    let write = std::env::var("TIXING_WRITE_SNAPSHOTS").is_ok();
    let mut wrong = Vec::new();
    let mut codes = BTreeSet::new();
    let all = all();
    assert!(all.len() >= 60, "{} fixtures", all.len());
    for (path, report, text) in all {
        assert!(!report.diagnostics.0.is_empty(), "{} is not broken", path.display());
        for found in &report.diagnostics.0 {
            codes.insert(found.code);
            let texts = [&found.message.en, &found.message.zh, &found.help.en, &found.help.zh];
            assert!(texts.iter().all(|text| !text.is_empty()), "{found}");
            // Neither types nor libraries of the code have a name in the files.
            let code =
                ["Error(", "Some(", "Utf8", "serde", "saphyr", "granit", "minijinja", "chrono::", "std::"];
            assert!(texts.iter().all(|text| code.iter().all(|name| !text.contains(name))), "{found}");
            assert!(edits::has_chinese(&found.message.zh) && edits::has_chinese(&found.help.zh), "{found:?}");
        }
        if write {
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!("{}\n{text}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} texts differ:\n{}", wrong.len(), wrong.join("\n"));
    let known: BTreeSet<&str> = CODES.iter().map(|(code, _)| *code).collect();
    let missing: Vec<_> = known.difference(&codes).filter(|code| !ELSEWHERE.contains(code)).collect();
    assert!(missing.is_empty(), "codes without a fixture: {missing:?}");
}

#[test]
fn the_good_files_of_the_corpus_are_good() {
    let read = |name: &str| fs::read(corpus().join(name)).unwrap();
    let (report, _folder) =
        check(&[("tixing.yaml", &read("tixing.yaml")), ("schedules/a.yaml", &read("schedule.yaml"))]);
    assert!(report.diagnostics.0.is_empty(), "{}", report.diagnostics);
}
