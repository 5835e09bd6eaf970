//! A machine of its own, with the unit installed as README.md says: what `tests/systemd/boot` boots.
//!
//! Everywhere else there is none, and nothing here touches a machine that somebody uses.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tixing::sandbox::{Platform, Sandbox};

use super::daemon::{APPID, TEMPLATE, asked, canary, hook_secret};
use super::disk::Disk;
use super::kill::platform;

/// Where the hook listens in there: nobody else is on its loopback.
pub(crate) const HOOK: &str = "127.0.0.1:8080";
/// Somebody who has nothing to do with it.
pub(crate) const NOBODY: u32 = 65534;

/// The machine, with a platform and the unit, which does not run yet.
pub(crate) struct Machine {
    pub(crate) app_secret: String,
    pub(crate) hook_secret: String,
    pub(crate) platform: Platform,
    sandbox: Option<Sandbox>,
    runtime: tokio::runtime::Runtime,
    /// There is one machine.
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// The machine as new, with a platform that takes so long for an answer; `None` where none was booted.
    pub(crate) fn new(answer_after: Duration) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        static INSTALLED: Once = Once::new();
        if asked("TIXING_BOOTED", 0) == 0 {
            println!("needs a machine of its own: tests/systemd/boot, by scripts/test --full");
            return None;
        }
        let first = fs::read("/proc/1/cmdline").unwrap();
        assert!(first.ends_with(b"--unit=boot.target\0"), "this machine is somebody's: nothing is installed");
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        INSTALLED.call_once(install);
        let (app_secret, hook_secret) = (canary("Secret"), hook_secret());
        let (runtime, sandbox) = platform(&app_secret, answer_after);
        let platform = sandbox.platform();
        let machine =
            Self { app_secret, hook_secret, platform, sandbox: Some(sandbox), runtime, _alone: alone };
        machine.renew();
        Some(machine)
    }

    fn renew(&self) {
        systemctl(&["stop", "tixing"]);
        for path in ["/var/lib/tixing", DROP_INS] {
            let _none = fs::remove_dir_all(path);
        }
        secret("clinic-secret", &self.app_secret);
        secret("hook-key", &self.hook_secret);
        let config = format!(
            "apps:\n  main:\n    appid: {APPID}\n    secret: {{ credential: clinic-secret }}\n    base_url: {}\n    \
             limits: {{ in_flight: 16 }}\n    templates:\n      habit: {{ id: {TEMPLATE}, kind: one_time, fields: [thing1] }}\n\
             schedules: schedules\nstore: sled:/var/lib/tixing/store\nreload: manual\nhook:\n  listen: {HOOK}\n  \
             keys: [{{ id: backend, secret: {{ credential: hook-key }}, apps: [main] }}]\nadmin: {{ socket: /run/tixing/admin.sock }}\n",
            self.sandbox.as_ref().unwrap().base_url()
        );
        fs::write("/etc/tixing/tixing.yaml", config).unwrap();
        rules("rules: {}\n");
        // A test need not wait so long for the next start.
        drop_in("override", "RestartSec=200ms\n");
        systemctl(&["reset-failed", "tixing"]);
    }

    /// Ends the platform.
    pub(crate) fn over(mut self) {
        systemctl(&["stop", "tixing"]);
        if let Some(sandbox) = self.sandbox.take() {
            self.runtime.block_on(sandbox.stop());
        }
    }
}

const DROP_INS: &str = "/etc/systemd/system/tixing.service.d";

/// The steps of "Run it for real" that install something, as they are written there, and the secrets.
fn install() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(repository.join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|part| part.starts_with("Run it for real\n")).unwrap();
    assert!(
        section.contains("`sudo install -m 755 target/release/tixing /usr/bin/tixing`"),
        "the first step"
    );
    fs::copy(env!("CARGO_BIN_EXE_tixing"), "/usr/bin/tixing").unwrap();
    let steps: Vec<&str> = section
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("sudo "))
        .filter(|step| step.starts_with("install ") || step.starts_with("systemd-sysusers "))
        // Secrets are not typed in here, and what is for newer ones only is a scenario of its own.
        .filter(|step| !step.contains("/dev/stdin") && !step.contains("systemd-253"))
        .collect();
    assert!(steps.len() >= 7, "{steps:?}");
    for step in steps {
        let done = Command::new("sh").args(["-ec", step]).current_dir(repository).status().unwrap();
        assert!(done.success(), "{step}");
    }
}

/// The rules, all of them.
pub(crate) fn rules(rules: &str) {
    fs::write("/etc/tixing/schedules/habit.yaml", rules).unwrap();
}

/// A rule that is due so many seconds from now, for everybody.
pub(crate) fn due_in(seconds: i64) {
    let due = tixing::clock::Clock::system().now() + chrono::TimeDelta::seconds(seconds);
    let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
    rules(&format!(
        "rules:\n  soon:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n"
    ));
}

/// Lines of `[Service]` in a drop-in of this name.
pub(crate) fn drop_in(name: &str, lines: &str) {
    fs::create_dir_all(DROP_INS).unwrap();
    fs::write(format!("{DROP_INS}/{name}.conf"), format!("[Service]\n{lines}\n")).unwrap();
    systemctl(&["daemon-reload"]);
}

/// A drop-in of the repository.
pub(crate) fn drop_in_file(name: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    drop_in("shipped", text.split_once("[Service]\n").unwrap().1);
}

/// Puts the unit's store, which is there already, on a disk that fails on command.
pub(crate) fn failing_disk() -> Disk {
    let beside = Path::new("/var/lib/tixing/disk");
    fs::create_dir(beside).unwrap();
    let disk = Disk::new(Path::new("/var/lib/tixing/store"), beside);
    let uid = id_of("/etc/passwd", "tixing");
    for path in [beside.to_owned(), beside.join("journal"), beside.join("control")] {
        chown(path, Some(uid), Some(uid)).unwrap();
    }
    let mut lines = String::new();
    for set in disk.wrapper().iter().skip(1) {
        let (name, value) = set.split_once('=').unwrap();
        let value = if name == "LD_PRELOAD" {
            // Where the repository lies may be hidden from the unit.
            fs::copy(value, "/usr/lib/tixing-disk.so").unwrap();
            "/usr/lib/tixing-disk.so"
        } else {
            value
        };
        lines += &format!("Environment={name}={value}\n");
    }
    drop_in("disk", &lines);
    disk
}

/// Writes a file of /etc/tixing/credentials.
pub(crate) fn secret(name: &str, value: &str) {
    let path = format!("/etc/tixing/credentials/{name}");
    fs::write(&path, format!("{value}\n")).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

pub(crate) fn systemctl(words: &[&str]) -> Output {
    Command::new("systemctl").args(words).output().unwrap()
}

/// Which systemd it is.
pub(crate) fn systemd_version() -> u32 {
    text(&systemctl(&["--version"]).stdout).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Starts the unit, as far as its READY.
pub(crate) fn start() {
    let started = systemctl(&["start", "tixing"]);
    assert!(started.status.success(), "{}\n{}", text(&started.stderr), journal());
}

/// A property of the unit.
pub(crate) fn property(name: &str) -> String {
    text(&systemctl(&["show", "tixing", "--value", "-p", name]).stdout).trim().to_owned()
}

/// What the journal has of the unit, by itself and by systemd.
pub(crate) fn journal() -> String {
    let words = ["-u", "tixing", "--no-pager", "--quiet", "-o", "cat"];
    text(&Command::new("journalctl").args(words).output().unwrap().stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Id of a user or group, by its name.
pub(crate) fn id_of(file: &str, name: &str) -> u32 {
    let lines = fs::read_to_string(file).unwrap();
    let line = lines.lines().find(|line| line.split(':').next() == Some(name)).unwrap().to_owned();
    line.split(':').nth(2).unwrap().parse().unwrap()
}

/// A program that another user runs, in the groups that are his own and these.
pub(crate) fn as_user(uid: u32, groups: &[u32], words: &[&str]) -> Output {
    let ids: Vec<String> = groups.iter().map(u32::to_string).collect();
    let groups =
        if ids.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", ids.join(",")) };
    let who = [format!("--reuid={uid}"), format!("--regid={uid}"), groups];
    Command::new("setpriv").args(who).args(words).current_dir("/").output().unwrap()
}
