//! The unit under a real systemd: what an admin does with it, and what it does by itself.
//!
//! Each scenario has the machine as new. None measures time: what systemd gives up on after a time of its own
//! ends the wait here too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tixing::sandbox::Outcome;

use super::daemon::{APPID, Reaped, TEMPLATE, breathe, canary, note, report, request, until};
use super::disk::{Calls, EIO, Failing};
use super::machine::{
    HOOK, Machine, NOBODY, as_user, drop_in, drop_in_file, due_in, failing_disk, id_of, journal, property,
    rules, secret, start, systemctl, systemd_version, text,
};

const ADMIN: &str = "/run/tixing/admin.sock";
const DAILY: &str =
    "rules:\n  daily:\n    template: habit\n    when: { cron: \"0 9 * * *\" }\n    data: { thing1: 你好 }\n";
const AT_ONCE: Duration = Duration::ZERO;

fn is_active() -> bool {
    systemctl(&["is-active", "--quiet", "tixing"]).status.success()
}

/// A command of the command line, by root.
fn tixing(words: &[&str]) -> Output {
    heard(Command::new("/usr/bin/tixing").args(words).current_dir("/").output().unwrap(), words)
}

/// The same, by the unit's own user.
fn as_tixing(words: &[&str]) -> Output {
    let uid = id_of("/etc/passwd", "tixing");
    heard(as_user(uid, &[], &[&["/usr/bin/tixing"], words].concat()), words)
}

/// Keeps what a command says for the search for leaks.
fn heard(output: Output, words: &[&str]) -> Output {
    note("cli.err", &text(&output.stderr));
    // Openids show in clear to who asks so, or names them himself.
    if !words.iter().any(|word| *word == "--reveal" || word.starts_with("oCANARY")) {
        note("cli.out", &text(&output.stdout));
    }
    output
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A backend that reports acceptances without end, each of another person, and keeps those that were acknowledged.
struct Reporter {
    over: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Reporter {
    fn start(hook_secret: &str) -> Self {
        let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
        let threads = (0..2)
            .map(|client| {
                let (over, acknowledged) = (Arc::clone(&over), Arc::clone(&acknowledged));
                let (hook_secret, person) = (hook_secret.to_owned(), format!("o{}", canary("Busy")));
                std::thread::Builder::new().name(format!("reporter {client}")).spawn(move || {
                    for n in 0.. {
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                        let openid = format!("{person}c{client}n{n:05}");
                        if let Some((200, _)) = report(HOOK, &hook_secret, "r1", &openid) {
                            acknowledged.lock().unwrap().insert(openid);
                        } else {
                            breathe();
                        }
                    }
                })
            })
            .map(Result::unwrap)
            .collect();
        Self { over, acknowledged, threads }
    }

    fn n(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn stop(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

/// All of them are in the books, which balance.
fn all_booked(acknowledged: &BTreeSet<String>) {
    let accounts = lines(&tixing(&["consents", "show", "--json", "--reveal"]));
    let booked: BTreeSet<&str> =
        accounts.iter().filter(|a| a["granted"] == 1).map(|a| a["openid"].as_str().unwrap()).collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|openid| !booked.contains(openid.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?} of {}", acknowledged.len());
    assert_eq!(tixing(&["fsck"]).status.code(), Some(0));
}

#[test]
fn ready_is_said_when_both_doors_answer_and_not_before() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    start();
    // Without another try: who starts after tixing finds it.
    assert!(TcpStream::connect(HOOK).is_ok() && UnixStream::connect(ADMIN).is_ok());
    assert_eq!(property("StatusText"), "reminders are sent");
    systemctl(&["stop", "tixing"]);

    // As long as another process holds the books, it is on its way, with its doors closed.
    let lock = fs::File::options().write(true).open("/var/lib/tixing/store/lock").unwrap();
    lock.lock().unwrap();
    assert!(systemctl(&["start", "--no-block", "tixing"]).status.success());
    until("it has begun", || property("MainPID") != "0");
    let tries = || fs::read_dir(format!("/proc/{}/fd", property("MainPID"))).map_or(0, Iterator::count);
    until("it waits for the lock", || {
        assert_eq!(property("ActiveState"), "activating");
        assert!(TcpStream::connect(HOOK).is_err() && UnixStream::connect(ADMIN).is_err());
        tries() > 3
    });
    drop(lock);
    until("it is active", || {
        let active = is_active();
        assert!(!active || (TcpStream::connect(HOOK).is_ok() && UnixStream::connect(ADMIN).is_ok()));
        active
    });
    assert_eq!(property("NRestarts"), "0");
    machine.over();
}

fn reloads(type_of_unit: &str) {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    if type_of_unit == "notify-reload" {
        drop_in_file("systemd/systemd-253.conf");
    }
    start();
    // An older systemd says that it ignores the line, and does.
    let is_newer = systemd_version() >= 253;
    assert_eq!(property("Type"), if is_newer { type_of_unit } else { "notify" });
    let loaded = || {
        let status: Value = serde_json::from_slice(&tixing(&["status", "--json"]).stdout).unwrap();
        status["rules"]["loaded"].as_u64().unwrap()
    };
    rules(DAILY);
    assert_eq!(loaded(), 0);
    assert!(systemctl(&["reload", "tixing"]).status.success());
    assert_eq!(loaded(), 1);
    rules("rules:\n  daily:\n    templat: habit\n");
    assert!(!systemctl(&["reload", "tixing"]).status.success());
    assert_eq!(loaded(), 1, "the old ones stay");
    assert!(is_active() && property("StatusText").contains("habit.yaml:2:3"), "{}", property("StatusText"));
    assert!(journal().contains("habit.yaml:2:3"));
    let shown = text(&systemctl(&["status", "--no-pager", "tixing"]).stdout);
    assert!(shown.contains("Status: ") && shown.contains("habit.yaml:2:3"), "{shown}");
    let refused = text(&as_tixing(&["status"]).stdout);
    assert!(refused.contains("habit.yaml:2:3"), "{refused}");

    // SIGHUP cannot fail; the line says what came of it.
    rules(&format!("{DAILY}{}", DAILY.replace("rules:\n", "").replace("daily", "weekly")));
    assert!(systemctl(&["kill", "--kill-whom=main", "-s", "HUP", "tixing"]).status.success());
    until("the new set is in force", || loaded() == 2 && property("StatusText") == "reminders are sent");
    assert!(is_active() && property("NRestarts") == "0");
    machine.over();
}

#[test]
fn a_reload_waits_for_the_new_rules_and_fails_when_they_are_refused() {
    reloads("notify");
}

#[test]
fn so_does_one_with_the_drop_in_for_newer_ones() {
    reloads("notify-reload");
}

/// What makes a running daemon hang, until it is dropped.
type Hang = fn(&str) -> Option<Reaped>;

#[test]
fn the_watchdog_ends_what_hangs_and_nothing_acknowledged_is_lost() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    drop_in("watchdog", "WatchdogSec=4");
    start();
    let reporter = Reporter::start(&machine.hook_secret);
    let mut acknowledged = 0;
    let busy = |from: usize| until("reports are acknowledged", || reporter.n() > from + 50);
    let table: [(&str, Hang); 2] = [
        ("all of it", |pid| {
            assert!(Command::new("kill").args(["-s", "STOP", pid]).status().unwrap().success());
            None
        }),
        // Everything else goes on: a heartbeat that is only a timer would beat for ever.
        ("the writer of the store", |pid| {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
            let writes = |task: &std::path::PathBuf| {
                fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "store-writer\n")
            };
            let writer = threads.into_iter().find(writes).unwrap();
            let words = ["-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"];
            let mut strace = Command::new("strace");
            strace
                .args(words)
                .arg("inject=fdatasync:delay_enter=3600s")
                .arg("-p")
                .arg(writer.file_name().unwrap());
            Some(Reaped(strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
        }),
    ];
    for (n, (what, hang)) in table.into_iter().enumerate() {
        busy(acknowledged);
        let (pid, bites) = (property("MainPID"), || journal().matches("Watchdog timeout").count());
        assert_eq!((property("NRestarts"), bites()), (n.to_string(), n), "fed until then");
        let hung = hang(&pid);
        until(&format!("the watchdog ends {what}"), || bites() > n);
        drop(hung); // else strace keeps what is left of it
        until("it is there again", || is_active() && property("MainPID") != pid);
        assert_eq!((property("NRestarts"), bites()), ((n + 1).to_string(), n + 1));
        acknowledged = reporter.n();
    }
    busy(acknowledged);
    all_booked(&reporter.stop());
    machine.over();
}

#[test]
fn a_daemon_that_waits_for_its_disk_says_so_and_is_left_alone() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    start();
    systemctl(&["stop", "tixing"]);
    let disk = failing_disk();
    drop_in("watchdog", "WatchdogSec=4");
    start();
    let posted =
        |id: &str| report(HOOK, &machine.hook_secret, id, &format!("o{}", canary("Disk"))).unwrap().0;
    assert_eq!(posted("r1"), 200);
    let (pid, clock) = (property("MainPID"), tixing::clock::Clock::system());
    disk.fail(Failing { errno: EIO, calls: Calls::All, first: 1, times: 0 });
    until("it is refused", || posted("r2") == 503);
    until("it says so", || property("StatusText").starts_with("the store "));
    // Three times what the watchdog allows.
    until("some time has passed", || {
        assert_eq!(posted("r3"), 503);
        clock.elapsed().as_secs() > 12
    });
    disk.heal();
    until("it takes reports again", || posted("r4") == 200);
    until("it says so", || property("StatusText") == "reminders are sent");
    assert_eq!([property("MainPID"), property("NRestarts")], [pid, "0".to_owned()], "{}", journal());
    assert_eq!(tixing(&["fsck"]).status.code(), Some(0));
    machine.over();
}

#[test]
fn credentials_are_for_the_service_alone() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    start();
    let pid = property("MainPID");
    let folder = "/run/credentials/tixing.service";
    let inside = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(inside.contains(&format!("CREDENTIALS_DIRECTORY={folder}\0")), "it has them from systemd");
    for name in ["clinic-secret", "hook-key"] {
        for path in [
            format!("{folder}/{name}"),
            format!("/etc/tixing/credentials/{name}"),
            format!("/proc/{pid}/root{folder}/{name}"),
        ] {
            let read = as_user(NOBODY, &[], &["cat", &path]);
            assert!(!read.status.success() && read.stdout.is_empty(), "somebody else reads {path}");
        }
    }
    let uid = id_of("/etc/passwd", "tixing");
    for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
        for file in ["environ", "cmdline"] {
            let Ok(found) = fs::read(process.join(file)) else { continue };
            let found = text(&found);
            let is_out =
                [&machine.app_secret, &machine.hook_secret].iter().any(|secret| found.contains(*secret));
            assert!(!is_out, "{}/{file}", process.display());
        }
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let cores: Vec<&str> = cores.split_whitespace().skip(4).take(2).collect();
    assert_eq!(cores, ["0", "0"], "a core would hold them");
    let shown = text(&systemctl(&["show", "tixing"]).stdout);
    assert!(!shown.contains(&machine.app_secret) && !shown.contains(&machine.hook_secret));
    let read = as_user(uid, &[], &["cat", "/etc/tixing/credentials/hook-key"]);
    assert!(!read.status.success(), "the source is root's");

    // They are read at a start: after a change, restart, as the unit says.
    let old = machine.hook_secret.clone();
    let new = super::daemon::hook_secret();
    assert_eq!(report(HOOK, &old, "r1", &format!("o{}", canary("OldKey"))).unwrap().0, 200);
    secret("hook-key", &new);
    assert!(systemctl(&["reload", "tixing"]).status.success());
    assert_eq!(report(HOOK, &old, "r2", &format!("o{}", canary("OldKey"))).unwrap().0, 200);
    assert!(systemctl(&["restart", "tixing"]).status.success());
    assert_eq!(report(HOOK, &old, "r3", &format!("o{}", canary("OldKey"))).unwrap().0, 401);
    assert_eq!(report(HOOK, &new, "r4", &format!("o{}", canary("NewKey"))).unwrap().0, 200);
    machine.over();
}

#[test]
fn books_and_socket_are_for_those_they_are_meant_for() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    start();
    let group = id_of("/etc/group", "tixing");
    for (who, groups, code) in [("a member of the group", vec![group], 0), ("somebody", vec![], 77)] {
        let asked = heard(as_user(NOBODY, &groups, &["/usr/bin/tixing", "status"]), &[]);
        assert_eq!(asked.status.code(), Some(code), "{who}: {}", text(&asked.stderr));
    }
    assert_eq!(tixing(&["status"]).status.code(), Some(0), "root");
    let look = |groups: &[u32]| as_user(NOBODY, groups, &["ls", "/var/lib/tixing/"]).status.success();
    assert!(!look(&[]) && !look(&[group]), "the books are for no group");
    systemctl(&["stop", "tixing"]);
    let checked = as_tixing(&["fsck", "--json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let by_root = tixing(&["fsck"]);
    assert_eq!(by_root.status.code(), Some(77), "what root left in the folder would keep tixing out");
    assert!(text(&by_root.stderr).contains("sudo -u"));
    start();
    machine.over();
}

#[test]
fn what_starting_again_mends_is_started_for_ever_and_nothing_else() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    let good = fs::read_to_string("/etc/tixing/tixing.yaml").unwrap();
    for (code, lines, config) in [
        ("64", "ExecStart=\nExecStart=/usr/bin/tixing rnu", good.as_str()),
        ("78", "", "apps: [\n"),
        ("78", "LoadCredential=\n", good.as_str()),
    ] {
        drop_in("zz-ends", lines);
        fs::write("/etc/tixing/tixing.yaml", config).unwrap();
        assert!(!systemctl(&["start", "tixing"]).status.success());
        let seen = ["ActiveState", "ExecMainStatus", "NRestarts"].map(property);
        assert_eq!(seen, ["failed", code, "0"], "{}", journal());
        systemctl(&["reset-failed", "tixing"]);
    }
    drop_in("zz-ends", "");
    fs::write("/etc/tixing/tixing.yaml", &good).unwrap();

    // 75, more often than systemd would allow by itself (5 times in 10 s): an address, then a disk.
    let taken = TcpListener::bind(HOOK).unwrap();
    systemctl(&["start", "--no-block", "tixing"]);
    let restarts = || property("NRestarts").parse::<u32>().unwrap();
    until("it is started again and again", || restarts() > 7);
    assert!(journal().contains("Address already in use") && journal().contains("status=75/TEMPFAIL"));
    drop(taken);
    until("it runs", is_active);
    systemctl(&["stop", "tixing"]);
    let mount = |words: &[&str]| assert!(Command::new("mount").args(words).status().unwrap().success());
    mount(&["--bind", "/var/lib/tixing", "/var/lib/tixing"]);
    mount(&["-o", "remount,bind,ro", "/var/lib/tixing"]);
    systemctl(&["start", "--no-block", "tixing"]);
    until("it is started again and again", || restarts() > 7);
    assert!(!is_active());
    mount(&["-o", "remount,bind,rw", "/var/lib/tixing"]);
    until("it runs", is_active);
    assert_eq!(report(HOOK, &machine.hook_secret, "r1", &format!("o{}", canary("Back"))).unwrap().0, 200);

    // Killed by whomever, it is back.
    for signal in ["KILL", "TERM"] {
        let pid = property("MainPID");
        systemctl(&["kill", "--kill-whom=main", "-s", signal, "tixing"]);
        until("another one runs", || is_active() && property("MainPID") != pid);
    }
    systemctl(&["stop", "tixing"]);
    assert!(Command::new("umount").arg("/var/lib/tixing").status().unwrap().success());
    machine.over();
}

#[test]
fn a_stop_in_the_middle_of_a_burst_loses_and_doubts_nothing() {
    const PEOPLE: usize = 1000;
    let Some(machine) = Machine::new(Duration::from_millis(100)) else { return };
    start();
    let (mut grants, mut people) = (String::new(), String::new());
    for n in 0..PEOPLE {
        let openid = format!("oCANARYburst{n:05}");
        machine.platform.grant_many(APPID, &openid, TEMPLATE, 1).unwrap();
        grants += &format!("{}\n", json!({ "openid": openid, "template": "habit", "n": 1 }));
        people += &format!("{}\n", json!({ "openid": openid }));
    }
    fs::write("/tmp/people.jsonl", people).unwrap();
    fs::write("/tmp/grants.jsonl", grants).unwrap();
    assert!(tixing(&["people", "import", "/tmp/people.jsonl"]).status.success());
    assert!(tixing(&["consents", "import", "/tmp/grants.jsonl"]).status.success());
    due_in(5);
    assert!(systemctl(&["reload", "tixing"]).status.success());
    until("the burst is under way", || machine.platform.totals().accepted > 100);
    let reporter = Reporter::start(&machine.hook_secret);
    until("reports are acknowledged", || reporter.n() > 20);
    assert!(systemctl(&["stop", "tixing"]).status.success());
    let accepted = machine.platform.totals().accepted;
    let seen = ["ActiveState", "Result", "ExecMainStatus", "NRestarts"].map(property);
    assert_eq!(seen, ["inactive", "success", "0", "0"], "{}", journal());
    assert_eq!(machine.platform.in_flight(), 0);
    let acknowledged = reporter.stop();
    let row = &lines(&as_tixing(&["occurrences", "list", "--json"]))[0];
    assert!(row["state"] == "open" && row["in_doubt"] == 0 && row["sent"] == accepted, "{accepted}: {row}");
    assert!(accepted < PEOPLE as u64, "all was sent before the stop: give more people");

    start();
    all_booked(&acknowledged);
    until("the rest is sent", || machine.platform.totals().accepted >= PEOPLE as u64);
    until("it is booked", || lines(&tixing(&["occurrences", "list", "--json"]))[0]["state"] == "done");
    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    for send in machine.platform.sends() {
        if matches!(send.outcome, Outcome::Accepted { .. }) {
            *sent.entry(send.openid).or_default() += 1;
        }
    }
    assert!(sent.len() == PEOPLE && sent.values().all(|n| *n == 1), "{} people", sent.len());
    machine.over();
}

#[test]
fn the_main_journey_needs_no_system_call_that_the_unit_refuses() {
    let Some(machine) = Machine::new(AT_ONCE) else { return };
    // A call beyond the filter is an error in the shipped unit, and might be passed over; here it kills.
    drop_in("kill", "SystemCallErrorNumber=kill");
    start();
    let status = fs::read_to_string(format!("/proc/{}/status", property("MainPID"))).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let uid = id_of("/etc/passwd", "tixing");
    assert!(uid != 0 && status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")), "{status}");

    let openid = format!("o{}", canary("Trip"));
    let code = json!({ "code": machine.platform.login_code(APPID, &openid) }).to_string();
    let (status, answer) = request(HOOK, "POST", "/v1/login", &[], code.as_bytes()).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let bearer = ("authorization", format!("Bearer {}", answer["session"].as_str().unwrap()));
    let balance = |answer: &str| serde_json::from_str::<Value>(answer).unwrap()["balances"][TEMPLATE].clone();
    machine.platform.grant_many(APPID, &openid, TEMPLATE, 2).unwrap();
    let tap = json!({ "report": "r1", "results": { TEMPLATE: "accept" } }).to_string();
    let (status, answer) =
        request(HOOK, "POST", "/v1/consents", std::slice::from_ref(&bearer), tap.as_bytes()).unwrap();
    assert_eq!((status, balance(&answer)), (200, json!(1)));
    let (status, answer) = report(HOOK, &machine.hook_secret, "r2", &openid).unwrap();
    assert_eq!((status, balance(&answer)), (200, json!(2)));
    due_in(5);
    assert!(systemctl(&["reload", "tixing"]).status.success());
    until("the message is there", || machine.platform.cards(&openid).len() == 1);
    until("it is booked", || lines(&tixing(&["occurrences", "list", "--json"]))[0]["state"] == "done");
    let (status, answer) = request(HOOK, "GET", "/v1/me", &[bearer], b"").unwrap();
    assert_eq!((status, balance(&answer)), (200, json!(1)));
    for words in
        [&["next"][..], &["check"], &["deliveries", "list"], &["explain", "--rule", "soon", "--to", &openid]]
    {
        assert_eq!(tixing(words).status.code(), Some(0), "{words:?}");
    }
    assert_eq!(tixing(&["fsck"]).status.code(), Some(0));
    let stopped = systemctl(&["stop", "tixing"]);
    assert!(stopped.status.success());
    let seen = ["Result", "ExecMainStatus", "NRestarts"].map(property);
    assert_eq!(seen, ["success", "0", "0"], "{}", journal());
    machine.over();
}
