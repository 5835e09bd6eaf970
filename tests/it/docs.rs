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

/// The commands that a document shows: words after `tixing` in a code span or a line of a shell block, with
/// their second word where they have one.
fn commands(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let is_cell = line.starts_with("| `tixing ");
        let shown = if is_cell { line.split('|').nth(1).unwrap_or("") } else { line };
        for start in ["`tixing ", "  tixing ", "sudo tixing "] {
            for rest in shown.split(start).skip(1) {
                let words: Vec<&str> = rest.split(['`', '#']).next().unwrap_or("").split(' ').collect();
                let words: Vec<&str> =
                    words.into_iter().take_while(|word| is_command(word)).take(2).collect();
                found.insert(words.join(" "));
                // `tixing consents show` · `grant` · `import`
                let others = rest.split('`').skip(1).filter(|word| is_cell && is_command(word));
                found.extend(others.map(|word| format!("{} {word}", words[0])));
            }
        }
    }
    found
}

fn is_command(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// The words that `--help` of a command lists.
fn subcommands(words: &[&str]) -> BTreeSet<String> {
    let help = String::from_utf8(tixing(&[words, &["--help"]].concat()).stdout).unwrap();
    let listed = help.split("Commands:\n").nth(1).unwrap_or("").lines();
    let listed = listed.take_while(|line| line.starts_with("  ")).filter_map(|l| l.split_whitespace().next());
    listed.filter(|word| *word != "help").map(str::to_owned).collect()
}

#[test]
fn both_readmes_name_every_command_and_no_other() {
    let mut real = BTreeSet::new();
    for command in subcommands(&[]) {
        let below = subcommands(&[&command]);
        real.extend(below.iter().map(|word| format!("{command} {word}")));
        if below.is_empty() {
            real.insert(command);
        }
    }
    for name in ["README.md", "README.zh-CN.md"] {
        assert_eq!(commands(&read(name)), real, "{name}");
    }
}

/// What a document says is missing, is.
#[test]
fn neither_readme_calls_a_command_missing_that_is_there() {
    let real = subcommands(&[]);
    for (name, head) in [("README.md", "## Not there yet"), ("README.zh-CN.md", "## 还没有的")] {
        let text = read(name);
        let missing = text.split(head).nth(1).unwrap().split("\n## ").next().unwrap();
        let named: BTreeSet<&str> = missing.split('`').skip(1).step_by(2).collect();
        let there: Vec<&&str> = named.iter().filter(|word| real.contains(**word)).collect();
        assert_eq!(there, Vec::<&&str>::new(), "{name}");
        assert!(named.contains("simulate"), "{name}: {named:?}");
    }
}

/// Each stands in the row of a promise that names the test by which it is caught, or the room of that test.
#[test]
fn every_planted_bug_proves_a_promise_by_a_test_that_its_row_names() {
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<String>>();
    let promises = read("docs/promises.md");
    let rows: Vec<(Vec<String>, Vec<String>)> = promises
        .lines()
        .filter(|line| line.starts_with("| P"))
        .filter_map(|line| {
            let [_, tests, bugs] = <[&str; 3]>::try_from(line.split(" | ").collect::<Vec<_>>()).ok()?;
            let path = |span: String| span.trim_start_matches("tests/it/").replace('/', "::");
            Some((spans(tests).into_iter().map(path).collect(), spans(bugs)))
        })
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let (mut unproved, mut n) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = entry.file_name().into_string().unwrap();
        let Some(bug) = file.strip_suffix(".patch") else { continue };
        n += 1;
        let patch = fs::read_to_string(entry.path()).unwrap();
        let header = |key: &str| patch.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let of_process = header("Run: ").contains("--test process");
        let test = format!("{}{}", if of_process { "process::" } else { "" }, header("Test: "));
        let names = |path: &String| {
            test.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if !rows.iter().any(|(tests, bugs)| bugs.iter().any(|named| named == bug) && tests.iter().any(names))
        {
            unproved.push(format!("{bug} by {test}"));
        }
    }
    assert_eq!(unproved, Vec::<String>::new());
    assert!(n > 130, "{n}");
}

#[test]
fn commands_are_found_where_documents_show_them() {
    for (text, expected) in [
        ("| `tixing doubt list` · `settle` | as `sent` |", vec!["doubt list", "doubt settle"]),
        ("use `tixing doubt settle ID --as sent`", vec!["doubt settle"]),
        ("   sudo tixing status", vec!["status"]),
        ("   tixing check --config /etc/tixing/tixing.yaml", vec!["check"]),
        ("`tixing run` and `tixing.yaml`, `sudo systemctl edit tixing`", vec!["run"]),
    ] {
        assert_eq!(commands(text), expected.into_iter().map(str::to_owned).collect(), "{text}");
    }
}

/// The flags that a document gives: to a command, or by themselves with an empty one. A command is shown in a
/// code span or on a line of a shell block, a flag by itself in a code span.
fn flags(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let spans = line.split('`').skip(1).step_by(2);
        let shell = ["", "sudo "].iter().filter_map(|start| line.trim_start().strip_prefix(start));
        for shown in
            spans.chain(shell.filter(|line| line.starts_with("tixing ") || line.starts_with("cargo ")))
        {
            let shown = shown.split(" #").next().unwrap_or("");
            let run =
                ["tixing ", "cargo run --release -- "].iter().find_map(|start| shown.strip_prefix(start));
            let (command, rest) = match run {
                Some(rest) => {
                    let words: Vec<&str> =
                        rest.split(' ').take_while(|word| is_command(word)).take(2).collect();
                    (words.join(" "), rest)
                }
                None if shown.starts_with("--") => (String::new(), shown),
                None => continue,
            };
            let flags = rest.split(' ').filter(|word| word.starts_with("--"));
            found
                .extend(flags.map(|flag| (command.clone(), flag.split('=').next().unwrap_or("").to_owned())));
        }
    }
    found
}

/// The flags that `--help` of a command lists.
fn real_flags(words: &[&str]) -> BTreeSet<String> {
    let help = String::from_utf8(tixing(&[words, &["--help"]].concat()).stdout).unwrap();
    let words =
        help.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_flag_that_documents_show_is_one_of_its_command() {
    let mut any = BTreeSet::new();
    for command in subcommands(&[]) {
        any.extend(real_flags(&[&command]));
        any.extend(subcommands(&[&command]).iter().flat_map(|word| real_flags(&[&command, word])));
    }
    let mut n = 0;
    for name in ["README.md", "README.zh-CN.md", "docs/hook.md"] {
        for (command, flag) in flags(&read(name)) {
            let words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
            let known = if words.is_empty() { any.clone() } else { real_flags(&words) };
            assert!(known.contains(&flag), "{name}: `{command} {flag}`; there are {known:?}");
            n += 1;
        }
    }
    assert!(n >= 10, "{n} flags");
}

#[test]
fn flags_are_found_where_documents_show_them() {
    for (text, expected) in [
        ("use `tixing doubt settle ID --as sent`", vec![("doubt settle", "--as")]),
        (
            "   sudo tixing check --config /etc/a.yaml --json # --not",
            vec![("check", "--config"), ("check", "--json")],
        ),
        ("openids unless `--reveal` is given, `--lang zh|en`", vec![("", "--lang"), ("", "--reveal")]),
        ("`cargo build --release`, `curl --unix-socket x`", vec![]),
        ("cargo run --release -- demo --state=x", vec![("demo", "--state")]),
    ] {
        let expected =
            expected.into_iter().map(|(command, flag)| (command.to_owned(), flag.to_owned())).collect();
        assert_eq!(flags(text), expected, "{text}");
    }
}

/// The numbers that stand in `text` between words about ends.
fn codes(text: &str) -> BTreeSet<u8> {
    let after = ["exit ", "exits ", "退出码为 ", "退出码 "].iter().flat_map(|word| text.split(word).skip(1));
    let before = text
        .split("以 ")
        .skip(1)
        .filter(|part| part.trim_start_matches(char::is_numeric).starts_with(" 退出"));
    let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
    after.chain(before).filter_map(number).collect()
}

#[test]
fn every_exit_code_that_is_named_is_one() {
    let real: BTreeSet<u8> =
        (0..=u8::MAX).filter(|code| tixing::admin::answer::Exit::try_from(*code).is_ok()).collect();
    // A list of all: a number and what it means, each after a mark.
    let listed = |text: &str, start: &str| -> BTreeSet<u8> {
        let list = text.split(start).nth(1).unwrap().split("\n\n").next().unwrap();
        let parts = list.split([',', '·']).map(|part| part.split_whitespace().next());
        parts.flatten().map(|word| word.parse().unwrap()).collect()
    };
    let help = String::from_utf8(tixing(&["--help"]).stdout).unwrap();
    for (name, text, start) in [
        ("--help", help, "Exit codes:"),
        ("README.md", read("README.md"), "Exit codes:"),
        ("README.zh-CN.md", read("README.zh-CN.md"), "退出码："),
    ] {
        assert_eq!(listed(&text, start), real, "{name}");
        let named = codes(&text);
        assert!(!named.is_empty() && named.is_subset(&real), "{name}: {named:?}");
    }
    assert_eq!(
        codes("then exit 75, exits 1; 退出码为 3，以 4 退出，以 5 为准"),
        BTreeSet::from([1, 3, 4, 75])
    );
}

#[test]
fn both_readmes_show_the_same_code_and_sections() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    let n = |text: &str, what: &str| text.lines().filter(|line| line.trim_start().starts_with(what)).count();
    for what in ["## ", "```", "|", "- ", "1. "] {
        assert_eq!(n(&english, what), n(&chinese, what), "lines that begin with `{what}`");
    }
    // Code without its comments.
    let code = |text: &str| -> Vec<String> {
        let blocks = text.split("```js\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let lines = blocks.flat_map(str::lines).map(|line| line.split(" // ").next().unwrap().trim_end());
        lines.map(str::to_owned).collect()
    };
    assert!(code(&english).len() > 15);
    assert_eq!(code(&english), code(&chinese));
}

#[test]
fn the_hook_page_names_every_route() {
    let (page, routes) = (read("docs/hook.md"), read("src/hook/routes.rs"));
    let patterns = routes.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \"/"));
    let patterns: Vec<&str> = patterns.map(|(_, rest)| rest.trim_end_matches("\",")).collect();
    assert!(patterns.len() >= 4, "{patterns:?}");
    for pattern in patterns {
        assert!(page.contains(&format!(" /{pattern}`")), "/{pattern}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for name in ["README.md", "README.zh-CN.md"] {
        for target in
            read(name).split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next().map(str::to_owned))
        {
            let exists = target.starts_with("https://")
                || Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists();
            assert!(exists, "{name}: {target}");
        }
    }
}

/// Files of the repository that the lines of `text` install, but for the program.
fn installed(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("sudo install "));
    let words = lines.flat_map(|line| line.split(" #").next().unwrap_or("").split(' '));
    words.filter(|word| word.contains('.') && !word.starts_with(['/', '-'])).collect()
}

#[test]
fn what_the_steps_install_is_there_and_all_of_it_is_installed() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "README.zh-CN.md"] {
        let text = read(name);
        let files = installed(&text);
        for file in &files {
            assert!(repository.join(file).is_file(), "{name}: {file}");
        }
        for entry in fs::read_dir(repository.join("systemd")).unwrap() {
            let file = format!("systemd/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(files.contains(file.as_str()), "{name} does not install {file}");
        }
    }
    let shown = "   sudo install -D -m 644 a/b.c /etc/b.d/     # or c.d\nsudo install -d /etc/x y\nsee a.b";
    assert_eq!(installed(shown), BTreeSet::from(["a/b.c"]));
}

/// A test that returns at once because a variable is not set has not passed: scripts/test passes it over by this name.
#[test]
fn what_does_nothing_without_a_variable_is_not_counted_as_passed() {
    let script = read("scripts/test");
    let table = script.split("\nneeds=(").nth(1).unwrap().split(')').next().unwrap();
    let needs: Vec<(&str, &str)> =
        table.split_whitespace().map(|need| need.split_once('=').unwrap()).collect();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("tests/process").unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let mut function = "";
        for line in text.lines() {
            if let Some(rest) = line.trim_start().strip_prefix("fn ") {
                function = rest.split('(').next().unwrap();
            }
            let variable =
                line.trim().strip_prefix("if asked(\"").and_then(|rest| rest.strip_suffix("\", 0) == 0 {"));
            if let Some(variable) = variable {
                let test = format!("{}::{function}", path.file_stem().unwrap().to_str().unwrap());
                let is_test = text.contains(&format!("#[test]\nfn {function}()"));
                let named =
                    needs.iter().any(|(of, name)| *of == variable && (!is_test || test.starts_with(name)));
                assert!(named, "{test} needs {variable}");
                found.insert(variable.to_owned());
            }
        }
    }
    assert!(found.len() >= 6, "{found:?}");
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
    let schedules = Path::new(env!("CARGO_MANIFEST_DIR")).join("schedules");
    let mut n = 0;
    let files = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = files(&schedules.join("calendars")).collect::<Vec<_>>();
    for path in files(&schedules).filter(|path| path.is_file()).chain(below) {
        let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let name = place.to_str().unwrap().to_owned();
        // A file outside the set is refused, so a pass means that it was read.
        let output = tixing(&["check", "--config", "tixing.example.yaml", "--json", &name]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {report}");
        assert_eq!(report, serde_json::json!({ "ok": true, "diagnostics": [] }), "{name}");
        n += 1;
    }
    assert!(n >= 5, "{n} schedules and calendars");
}

#[test]
fn a_schedule_beside_an_expression_is_what_the_program_says() {
    let mut n = 0;
    for name in ["habit", "bill"] {
        let text = read(&format!("schedules/{name}.yaml"));
        for line in text.lines().filter(|line| line.contains("when: { cron: ")) {
            let (rule, comment) = line.split_once(" # ").unwrap();
            let cron = rule.split('"').nth(1).unwrap();
            let words = ["next", "--cron", cron, "--zone", "Asia/Shanghai", "--lang", "zh"];
            let limits = ["--from", "2026-03-01T00:00:00Z", "--count", "1"];
            let told = String::from_utf8(tixing(&[&words[..], &limits[..]].concat()).stdout).unwrap();
            assert_eq!(told.lines().next(), Some(comment.trim()), "{line}");
            n += 1;
        }
    }
    assert_eq!(n, 3);
}

#[test]
fn check_says_in_words_when_each_rule_is_due() {
    let table = [
        ("en", "drink-water   every weekday at 10:00 and 15:00 (Asia/Shanghai time)", "at rest"),
        ("zh", "drink-water   每个工作日 10:00 和 15:00（Asia/Shanghai 时间）", "已停用"),
    ];
    for (lang, words, rest) in table {
        let output = tixing(&["check", "-v", "--config", "tixing.example.yaml", "--lang", lang]);
        let told = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = told.lines().skip(1).map(str::trim).collect();
        let ids: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(
            ids,
            [
                "clock-in",
                "dose-today",
                "drink-water",
                "monthly-bill",
                "next-dose",
                "piano-spring",
                "stretch",
                "visit-tomorrow"
            ],
            "{told}"
        );
        assert!(lines.iter().any(|line| line.split_whitespace().eq(words.split_whitespace())), "{told}");
        assert!(lines.iter().any(|line| line.contains(rest)), "{told}");
        let short = tixing(&["check", "--config", "tixing.example.yaml", "--lang", lang]);
        assert_eq!(String::from_utf8(short.stdout).unwrap().lines().count(), 1);
    }
}

#[test]
fn the_schemas_are_printed_for_editors() {
    for (words, key) in
        [(&["schema"][..], "rules"), (&["schema", "schedule"], "rules"), (&["schema", "config"], "apps")]
    {
        let output = tixing(words);
        let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#", "{words:?}");
        assert_eq!(schema["required"], serde_json::json!([key]), "{words:?}");
    }
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
