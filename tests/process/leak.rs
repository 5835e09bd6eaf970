//! No secret, key, token, login code or openid in any log of these tests.
//!
//! The search itself runs last, by `scripts/test`; here it is proved to find what was planted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::daemon::{asked, logs};

/// Canaries that appear in files of `folder`, with the file; the list itself is left out.
fn leaks(folder: &Path) -> Vec<String> {
    let list = fs::read_to_string(folder.join("canaries")).unwrap_or_default();
    let canaries: BTreeSet<&str> = list.lines().filter(|line| line.len() >= 10).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() || path.file_name().is_some_and(|name| name == "canaries") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        // Every canary holds this word or is base64 of it: most lines need no closer look.
        for line in text
            .lines()
            .filter(|line| line.contains("CANARY") || line.contains("whsec_") || line.contains("Y2FuYXJ5"))
        {
            if let Some(canary) = canaries.iter().find(|canary| line.contains(**canary)) {
                found.push(format!("{}: {canary}", path.display()));
            }
        }
    }
    found
}

#[test]
fn a_planted_leak_is_found_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("canaries"), "CANARYsecretOfApp1\nwhsec_Y2FuYXJ5LWhvb2s=\n").unwrap();
    fs::write(folder.path().join("a.log"), "nothing to see\nCANARY alone is no leak\n").unwrap();
    assert_eq!(leaks(folder.path()).len(), 0);
    fs::write(folder.path().join("b.log"), "x CANARYsecretOfApp1 y\n").unwrap();
    assert_eq!(leaks(folder.path()).len(), 1);
}

#[test]
fn zz_no_log_holds_what_must_not_be_told() {
    if asked("TIXING_LEAK", 0) == 0 {
        println!("left out here: the search runs when everything else has written its logs");
        return;
    }
    let found = leaks(&logs());
    assert!(found.is_empty(), "{} leaks, the first: {}", found.len(), found[0]);
}
