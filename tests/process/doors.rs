//! Doors, signals and exit codes of the real program.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::daemon::{Daemon, breathe, report, request, signed, until};
use super::kill::platform;
use super::stop::bursting;

const QUIET: &str =
    "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n";
const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn a_second_daemon_ends_with_75_and_harms_nothing() {
    let mut daemon = Daemon::new(NOBODY, 4, QUIET);
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::ZERO);
    daemon.talk_to(&sandbox.base_url());
    bursting(&mut daemon, &sandbox.platform(), 20);
    let hook = daemon.hook();
    let takes = |id: &str| report(&hook, &daemon.hook_secret, id, "oCANARYStill01").unwrap().0;
    std::thread::scope(|beside| {
        let second = beside.spawn(|| daemon.tixing(&["run"]));
        assert_eq!(takes("r1"), 200);
        until("the first sends", || sandbox.platform().totals().accepted == 20);
        let second = second.join().unwrap();
        assert_eq!(second.status.code(), Some(75), "{}", String::from_utf8_lossy(&second.stderr));
        assert!(String::from_utf8_lossy(&second.stderr).contains("held by another process"));
    });
    assert_eq!(takes("r2"), 200);
    assert_eq!(daemon.tixing(&["status"]).status.code(), Some(0), "the first is as it was");
    let row = &daemon.json(&["occurrences", "list", "--json"])[0];
    assert_eq!((row["sent"].as_u64(), row["audience"].as_u64()), (Some(20), Some(20)), "{row}");
    assert_eq!(daemon.stop(), Some(0), "SIGTERM ends it in good order");
    assert_eq!(daemon.tixing(&["status"]).status.code(), Some(69), "no daemon");
    assert_eq!(daemon.json(&["consents", "show", "--json"]).len(), 21, "and the books are read without one");
    assert_eq!(daemon.tixing(&["fsck"]).status.code(), Some(0));
    runtime.block_on(sandbox.stop());
}

/// What a service manager may send at any moment: while it waits for another process's lock, too.
#[test]
fn signals_are_heeded_before_the_store_is_open() {
    let mut daemon = Daemon::new(NOBODY, 4, QUIET);
    daemon.start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tixing"));
    command.current_dir(daemon.folder.path()).args(["run"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut second = command.spawn().unwrap();
    let pid = second.id().to_string();
    // SIGHUP is the first bit, SIGTERM the fifteenth.
    let listens = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
        u64::from_str_radix(caught, 16).unwrap() & 0x4001 == 0x4001
    };
    until("it listens", || listens(&pid));
    let send =
        |name: &str| assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    send("HUP");
    send("TERM");
    assert_eq!(second.wait().unwrap().code(), Some(0), "as asked, and not for the lock");
    // A process that is stopped answers nobody, and whoever asks is told.
    daemon.signal("STOP");
    let asked = daemon.tixing(&["status"]);
    assert_eq!(asked.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("does not begin to answer"));
    daemon.signal("CONT");
    assert_eq!(daemon.tixing(&["status"]).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_bad_set_keeps_the_old_one_also_over_a_restart() {
    let mut daemon = Daemon::new(NOBODY, 4, QUIET);
    daemon.start();
    let loaded = |daemon: &Daemon| {
        let output = daemon.tixing(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), status["rules"]["loaded"].as_u64(), status["reload"]["ok"].as_bool())
    };
    assert_eq!(loaded(&daemon), (Some(0), Some(1), Some(true)));
    daemon.rules("rules:\n  daily:\n    templat: habit\n");
    let refused = daemon.tixing(&["reload", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let refused: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["diagnostics"][0]["line"].as_u64(), Some(2));
    assert_eq!(loaded(&daemon), (Some(1), Some(1), Some(false)));
    daemon.kill();
    daemon.start();
    assert_eq!(loaded(&daemon), (Some(1), Some(1), Some(false)), "the last good set is in force");
    daemon.rules(&format!("{QUIET}  weekly:\n    template: habit\n    when: {{ cron: \"0 9 * * MON\" }}\n    data: {{ thing1: 你好 }}\n"));
    daemon.signal("HUP");
    until("the new set is in force", || loaded(&daemon) == (Some(0), Some(2), Some(true)));
    daemon.stop();
    // Where neither can be used, nobody is told that something stays in force.
    daemon.rules("rules:\n  daily:\n    templat: habit\n");
    std::fs::remove_dir_all(daemon.path("store/last-good")).unwrap();
    daemon.start();
    assert_eq!(loaded(&daemon), (Some(1), Some(0), Some(false)));
    let told = daemon.tixing(&["status"]);
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("no rule is in force") && !told.contains("stays"), "{told}");
    daemon.stop();
}

#[test]
fn mistakes_have_their_exit_codes() {
    let daemon = Daemon::new(NOBODY, 4, QUIET);
    assert_eq!(daemon.tixing(&["check"]).status.code(), Some(0));
    assert_eq!(daemon.tixing(&["chek"]).status.code(), Some(64));
    daemon
        .write("bad.jsonl", "{\"openid\":\"oCANARYGood1\",\"template\":\"habit\",\"n\":1}\n{\"openid\":7}\n");
    let import = daemon.tixing(&["consents", "import", "bad.jsonl"]);
    assert_eq!(import.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&import.stderr).contains('2'), "the line is named");
    assert!(daemon.json(&["consents", "show", "--json"]).is_empty(), "nothing of it counts");
    daemon.rules("rules:\n\tx: 1\n");
    assert_eq!(daemon.tixing(&["check"]).status.code(), Some(1));
    daemon.write("tixing.yaml", "apps: {}\nfrobnicate: 1\n");
    assert_eq!(daemon.tixing(&["run"]).status.code(), Some(78));
    let due = daemon.json(&[
        "next",
        "--cron",
        "30 2 * * *",
        "--zone",
        "America/New_York",
        "--from",
        "2026-03-08T00:00:00Z",
        "--count",
        "2",
        "--json",
    ]);
    assert_eq!(due[0]["due_at"], "2026-03-08T07:00:00Z");
    assert_eq!(due[1]["due_at"], "2026-03-09T06:30:00Z");
}

#[test]
fn bad_input_at_the_hook_is_a_problem_and_nothing_more() {
    let mut daemon = Daemon::new(NOBODY, 4, QUIET);
    daemon.start();
    let hook = daemon.hook();
    let now = tixing::clock::Clock::system().now().timestamp();
    let sign =
        |id: &str, at: i64, body: &[u8]| signed(&daemon.hook_secret, id, at, "POST", "/v1/consents", body);
    let post = |headers: &[(&str, String)], body: &[u8]| {
        request(&hook, "POST", "/v1/consents", headers, body).unwrap()
    };
    let good: &[u8] = br#"{"report":"r1","openid":"oCANARYBadIn001","results":{"TPLprocess":"accept"}}"#;
    let shapes: [(&[u8], u16); 6] = [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (br#"{"report":"r1","openid":"oCANARYBadIn001","results":{},"zzz":1}"#, 422),
        (br#"{"report":"r1","openid":"short","results":{}}"#, 422),
        (br#"{"report":"r1","openid":"oCANARYBadIn001","results":{"TPLprocess":"accept"},"age_s":-1}"#, 422),
    ];
    for (n, (body, status)) in shapes.iter().enumerate() {
        let (is, text) = post(&sign(&format!("w{n}"), now, body), body);
        assert_eq!(is, *status, "{text}");
        assert!(text.contains("\"status\""), "a problem document: {text}");
    }
    assert_eq!(post(&[], good).0, 401);
    assert_eq!(post(&sign("w", now - 301, good), good).0, 401, "stale");
    assert_eq!(post(&sign("w", now, b"other"), good).0, 401, "forged");
    assert_eq!(post(&sign("w", now, good), &vec![b' '; 70_000]).0, 413);
    assert_ne!(cut_short(&hook, &sign("cut", now, good), good), Some(200), "half a body");
    assert_eq!(request(&hook, "PUT", "/v1/consents", &[], b"").unwrap().0, 405);
    assert_eq!(request(&hook, "GET", "/nowhere", &[], b"").unwrap().0, 404);
    assert!(daemon.json(&["consents", "show", "--json"]).is_empty(), "nothing was recorded");
    assert_eq!(post(&sign("w", now, good), good).0, 200);
    let other: &[u8] = br#"{"report":"r1","openid":"oCANARYBadIn001","results":{"TPLprocess":"reject"}}"#;
    assert_eq!(post(&sign("w", now, other), other).0, 409);
    assert_eq!(daemon.json(&["consents", "show", "--json"])[0]["granted"], 1);
    breathe();
    daemon.stop();
}

/// Sends all of the head and half of the body, and says no more; the status, if there is one.
fn cut_short(hook: &str, headers: &[(&str, String)], body: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(hook).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head =
        format!("POST /v1/consents HTTP/1.1\r\nhost: {hook}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..body.len() / 2]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ended = stream.take(16_384).read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}
