//! The programs of docs/hook.md, run as they are printed there, against the real daemon.
//!
//! A language that is not at hand is named in the output; `scripts/test` installs those that are small.

use std::process::Command;

use super::daemon::{Daemon, asked, hook_secret, request, signed};

const RULES: &str =
    "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n";
const NOBODY: &str = "http://127.0.0.1:9";
const TARGET: &str = "/v1/appointments/visit/A17?app=clinic";
/// The fence of each language, what its file is called, and how it is run.
const LANGUAGES: [(&str, &str, &[&str]); 5] = [
    ("js", "hook.mjs", &["node"]),
    ("python", "hook.py", &["python3"]),
    ("java", "Hook.java", &["java"]),
    ("php", "hook.php", &["php"]),
    ("go", "hook.go", &["go", "run"]),
];

/// The program that a page prints in this language; there is one.
fn printed<'a>(page: &'a str, fence: &str) -> &'a str {
    let fence_line = format!("\n```{fence}\n");
    let mut found = page.split(&fence_line).skip(1).map(|rest| rest.split("\n```\n").next().unwrap());
    let program = found.next().unwrap_or_else(|| panic!("no program in {fence}"));
    assert_eq!(found.next(), None, "one program in {fence}");
    program
}

fn is_at_hand(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}

#[test]
fn the_samples_of_the_hook_page_are_accepted_and_with_another_key_refused() {
    let page = include_str!("../../docs/hook.md");
    let mut daemon = Daemon::new(NOBODY, 4, RULES);
    let config = std::fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    daemon.write("tixing.yaml", &config.replace("  main:", "  clinic:").replace("[main]", "[clinic]"));
    daemon.start();
    let hook = daemon.hook();
    let by_us = |method: &str, id: &str| {
        let now = tixing::clock::Clock::system().now().timestamp();
        let headers = signed(&daemon.hook_secret, id, now, method, TARGET, b"");
        request(&hook, method, TARGET, &headers, b"").unwrap()
    };
    let mut ran = Vec::new();
    for (fence, file, command) in LANGUAGES {
        let program = printed(page, fence);
        if !is_at_hand(command[0]) {
            println!("left out: the sample in {fence}, `{}` is not at hand", command[0]);
            continue;
        }
        std::fs::write(daemon.path(file), program).unwrap();
        let run = |key: &str| {
            let mut command_ = Command::new(command[0]);
            for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "JAVA_TOOL_OPTIONS"] {
                command_.env_remove(proxy);
            }
            let output = command_
                .args(&command[1..])
                .arg(daemon.path(file))
                .env("HOOK", format!("http://{hook}"))
                .env("HOOK_KEY", key)
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (said, error) = run(&hook_secret());
        assert!(said.starts_with("401 ") && said.contains("identity"), "{fence}: {said}{error}");
        assert_eq!(by_us("GET", "w").0, 404, "{fence}: nothing is there");
        let (said, error) = run(&daemon.hook_secret);
        assert!(said.starts_with("200 ") && said.contains("李医生"), "{fence}: {said}{error}");
        let (status, stands) = by_us("GET", "w");
        assert!(status == 200 && stands.contains("2031-03-01T01:00:00Z"), "{fence}: {stands}");
        assert_eq!(by_us("DELETE", &format!("gone-{fence}")).0, 200);
        ran.push(fence);
    }
    println!("samples that ran: {ran:?}");
    assert!(ran.contains(&"js"), "node is there");
    // What scripts/test has put there.
    assert!(ran.len() >= usize::try_from(asked("TIXING_SAMPLES", 1)).unwrap(), "{ran:?}");
    daemon.stop();
}
