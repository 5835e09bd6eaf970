//! The house rules that a machine can hold: floors, headers, and what the README promises.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and their floors; `main` is only the door to `cli`. A room is the first part of a path below `crate`.
const FLOORS: &[(u8, &[&str])] = &[
    (7, &["main"]),
    (6, &["cli"]),
    (5, &["daemon", "settings", "telemetry", "systemd", "zoneinfo"]),
    (4, &["hook", "admin"]),
    (3, &["flow"]),
    (2, &["rules", "store", "wechat", "sandbox"]),
    (1, &["plan", "clock"]),
    (0, &["domain"]),
];

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// What is wrong with one file's imports.
fn wrong_imports(room: &str, text: &str) -> Vec<String> {
    let own = floor(room).unwrap_or_else(|| panic!("room {room} has no floor"));
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        for named in rooms_in(code) {
            let Some(other) = floor(&named) else {
                wrong.push(format!("line {}: `{named}` has no floor", number + 1));
                continue;
            };
            let sideways = other == own && named != room;
            let foreign = room == "sandbox" && named != "sandbox" && named != "clock";
            if other > own || sideways || foreign {
                wrong
                    .push(format!("line {}: {room} (floor {own}) names {named} (floor {other})", number + 1));
            }
        }
        if code.contains("super::super::super") {
            wrong.push(format!("line {}: a path of three `super` hides where it leads", number + 1));
        }
    }
    wrong
}

/// Rooms that a line names through `crate::` or, in the binary, `tixing::`.
fn rooms_in(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for start in ["crate::", "tixing::"] {
        for (at, _) in code.match_indices(start) {
            let rest = code.get(at + start.len()..).unwrap_or("");
            let group = rest.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or(""));
            let parts: Vec<&str> = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
            for part in parts {
                let name: String =
                    part.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if !name.is_empty() && floor(&name).is_some_and(|_| true) | code.contains("use ") {
                    rooms.push(name);
                }
            }
        }
    }
    rooms
}

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path, text);
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

fn room_of(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let room = room_of(&path);
        if room != "lib" {
            wrong.extend(wrong_imports(&room, &text).into_iter().map(|w| format!("{}: {w}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planted_imports_are_found() {
    for (room, line, found) in [
        ("plan", "use crate::store::Store;", true),
        ("plan", "use crate::clock::Clock;", true),
        ("plan", "use crate::domain::rule::Rule;", false),
        ("rules", "use crate::wechat::Client;", true),
        ("store", "    let x = crate::flow::read();", true),
        ("domain", "use crate::{plan, domain};", true),
        ("sandbox", "use crate::clock::Clock;", false),
        ("sandbox", "use crate::domain::id::OpenId;", true),
        ("flow", "use crate::store::{Store, Unavailable};", false),
        ("hook", "use crate::admin::Desk;", true),
        ("hook", "// use crate::admin::Desk;", false),
    ] {
        assert_eq!(!wrong_imports(room, line).is_empty(), found, "{room}: {line}");
    }
}

#[test]
fn every_file_opens_with_why_it_exists() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not open with why it exists", path.display());
        assert!(!text.contains("FIXME") && !text.contains("TODO"), "{} is unfinished", path.display());
    }
}

/// Lines of production code whose `expect` does not say why the failure is impossible.
fn unargued(text: &str) -> Vec<&str> {
    let production = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
    let argued = |rest: &str| {
        rest.strip_prefix('"')
            .and_then(|r| r.split('"').next())
            .is_some_and(|why| why.split(' ').count() >= 3)
    };
    let is_bad = |line: &&str| line.split(".expect(").skip(1).any(|rest| !argued(rest));
    production.lines().filter(is_bad).collect()
}

#[test]
fn every_expect_is_argued() {
    for (text, found) in [
        (".expect(\"minute < 60 by parse\")", false),
        (".expect(\"an id\")", true),
        (".expect(&why)", true),
        ("#[cfg(test)]\nmod tests {\n.expect(\"an id\")", false),
    ] {
        assert_eq!(!unargued(text).is_empty(), found, "{text}");
    }
    let sources = sources();
    // Files that are there for tests alone, and what lies below them.
    let only_tests: Vec<&str> = sources
        .values()
        .flat_map(|text| text.split("#[cfg(test)]\nmod ").skip(1))
        .filter_map(|rest| rest.lines().next()?.strip_suffix(';'))
        .collect();
    assert!(only_tests.contains(&"conformance") && only_tests.contains(&"tests"), "{only_tests:?}");
    for (path, text) in &sources {
        let is_test = path.with_extension("").iter().any(|part| only_tests.iter().any(|name| part == *name));
        assert!(is_test || unargued(text).is_empty(), "{}: {:?}", path.display(), unargued(text));
    }
}

#[test]
fn croner_is_for_tests_only() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let normal = manifest.split("[dev-dependencies]").next().unwrap();
    assert!(!normal.contains("\ncroner"), "our own evaluator decides; croner is an oracle");
}
