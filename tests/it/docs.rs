//! What the documents say is true of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn tixing(words: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tixing"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(words).output().unwrap()
}

/// The commands that a document shows as `tixing WORD…` at the start of a code span.
fn commands(text: &str) -> BTreeSet<String> {
    let words = text.split("`tixing ").skip(1).filter_map(|rest| rest.split([' ', '`']).next());
    words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_readme_exists_and_both_readmes_name_the_same() {
    let help = String::from_utf8(tixing(&["--help"]).stdout).unwrap();
    let (english, chinese) = (commands(&read("README.md")), commands(&read("README.zh-CN.md")));
    assert!(english.len() > 8, "{english:?}");
    for command in &english {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "`tixing {command}` is in the README and not in --help"
        );
    }
    assert_eq!(english, chinese);
}

#[test]
fn the_two_commands_are_in_both_readmes() {
    for name in ["README.md", "README.zh-CN.md"] {
        let text = read(name);
        assert!(text.contains("\ncargo run --release -- demo") && text.contains("\nscripts/test"), "{name}");
    }
}

#[test]
fn the_map_stays_short() {
    assert!(read("ARCHITECTURE.md").lines().count() <= 150);
}

#[test]
fn the_shipped_examples_pass_check() {
    let output = tixing(&["check", "--config", "tixing.example.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("Cargo.toml");
    let mut within = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            within = line.ends_with("dependencies]");
        } else if within && line.contains(" = ") {
            assert!(line.contains(" # "), "{line}");
        }
    }
}
