//! A disk that fails under the real program: nothing is promised or sent, the doors and `status` say why, and
//! when the disk is back everything goes on by itself.
//!
//! A fixed scenario runs again and again, each time with another call to the disk that fails: with all after it until
//! the disk is mended, and alone, where nothing after it tells what was overlooked but a power cut at the end. Then
//! once each on real file systems that are full, read-only or gone. Only the store's folder is on the disk that fails:
//! what is beside it, the count of its commits, may fail unheard. What power cuts at other points leave is `power`'s.
//!
//! `TIXING_FAULT_STEP` says which calls fail: each, as in `scripts/test --full`, or every so many. Alone they cost some
//! 40 s of one core where each does, and 5 where every ninth does.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tixing::clock::Clock;
use tixing::sandbox::{Outcome, Platform, Sandbox};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, breathe, report, until};
use super::disk::{Calls, Cut, Dice, Disk, EIO, ENOSPC, Failing, Journal, copy};
use super::kill::platform;

/// Who gets a message.
const PEOPLE: u64 = 3;
/// Runs beside each other: they wait most of the time.
const LANES: u32 = 16;

/// A daemon on a disk that fails, and what it must keep of what it promised.
struct Trial {
    daemon: Daemon,
    /// Holds the disk's own files.
    _beside: tempfile::TempDir,
    disk: Disk,
    platform: Platform,
    sandbox: Option<Sandbox>,
    runtime: tokio::runtime::Runtime,
    promised: BTreeMap<String, bool>,
    /// The file system its store is on, where it has one of its own.
    mounted: Option<Mounted>,
}

fn openid(n: u64) -> String {
    format!("oCANARYfailing{n:05}")
}

/// The folder of a daemon that knows its people, their consents and the rule, and has stopped: each trial has a copy.
struct Known(tempfile::TempDir);

/// The rules, with their one due time.
fn water(due: &str) -> String {
    let people = (0..PEOPLE).map(openid).collect::<Vec<_>>().join(", ");
    format!(
        "rules:\n  water:\n    template: habit\n    when: {{ at: \"{due}\" }}\n    data: {{ thing1: 你好 }}\n    grace: 6h\n    to: {{ openids: [{people}] }}\n"
    )
}

impl Known {
    fn new() -> Self {
        let mut daemon = Daemon::new("http://127.0.0.1:9", 4, "rules: {}\n");
        let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(10));
        daemon.talk_to(&sandbox.base_url());
        let line = |n| format!("{{\"openid\":\"{}\",\"template\":\"habit\",\"n\":1}}\n", openid(n));
        daemon.write("consents.jsonl", &(0..PEOPLE).map(line).collect::<String>());
        daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
        // A rule counts from when it is first seen, so it is seen before it is due and before the disk fails.
        daemon.rules(&water("2099-01-01 00:00:00"));
        daemon.start();
        assert_eq!(daemon.stop(), Some(0));
        runtime.block_on(sandbox.stop());
        Self(daemon.folder)
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

impl Trial {
    /// People with a consent each, and a rule that is due in a moment.
    fn new(known: &Known) -> Self {
        Self::within(known, |_| None)
    }

    /// The same, with something done to the store's folder before it is used.
    fn within(known: &Known, prepare: impl FnOnce(&Path) -> Option<Mounted>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = prepare(&folder.path().join("store"));
        copy(known.0.path(), folder.path());
        let mut daemon = Daemon::over(folder);
        let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(10));
        daemon.talk_to(&sandbox.base_url());
        let platform = sandbox.platform();
        for n in 0..PEOPLE {
            platform.grant_many(APPID, &openid(n), TEMPLATE, 1).unwrap();
        }
        let due = Clock::system().now() + chrono::TimeDelta::seconds(2);
        daemon.rules(&water(
            &due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S").to_string(),
        ));
        let beside = tempfile::tempdir().unwrap();
        let disk = Disk::new(&daemon.folder.path().join("store"), beside.path());
        daemon.under(&disk.wrapper());
        Self {
            daemon,
            _beside: beside,
            disk,
            platform,
            sandbox: Some(sandbox),
            runtime,
            promised: BTreeMap::new(),
            mounted,
        }
    }

    fn status(&self) -> Option<Value> {
        let told = self.daemon.tixing(&["status", "--json"]);
        serde_json::from_slice(&told.stdout).ok()
    }

    fn store_is_ok(&self, ok: u8) -> bool {
        self.daemon.admin("GET", "/metrics").contains(&format!("\ntixing_store_ok {ok}\n"))
    }

    /// Posts a report; what is promised is remembered, and what is not is a 503 that says when to try again.
    fn report(&mut self, hook: &str, n: u64) -> u16 {
        let who = openid(n);
        let Some((code, body)) = report(hook, &self.daemon.hook_secret, "r1", &who) else { return 0 };
        match code {
            200 => {
                let again = self.promised.insert(who, true).is_some();
                assert!(!again || body.contains(r#""duplicate":true"#), "a promise was forgotten: {body}");
            }
            503 => assert!(body.contains("unavailable"), "{body}"),
            _ => panic!("{code} {body}"),
        }
        code
    }

    fn accepted(&self) -> usize {
        let sends = self.platform.sends();
        sends.iter().filter(|send| matches!(send.outcome, Outcome::Accepted { .. })).count()
    }

    /// While the disk is away: everybody is told, and nobody gets anything.
    fn everybody_is_told(&mut self, hook: &str) {
        let status = self.status().unwrap();
        assert_eq!(status["ready"], false, "{status}");
        assert!(status["store"]["reason"].as_str().unwrap().contains("nothing is sent"), "{status}");
        assert!(status["needs_attention"][0].as_str().is_some(), "{status}");
        assert_eq!(self.daemon.tixing(&["status"]).status.code(), Some(1));
        let metrics = self.daemon.admin("GET", "/metrics");
        assert!(metrics.contains("\ntixing_store_ok 0\n"), "{metrics}");
        assert!(self.daemon.admin("GET", "/readyz").starts_with("HTTP/1.1 503"));
        let sent = self.platform.sends().len();
        assert_eq!(self.report(hook, 900), 503);
        assert_eq!(self.platform.sends().len(), sent, "a message left while the disk was away");
    }

    /// After it is back: what was promised is there, everybody gets his one message, and the books are in order.
    fn all_is_well(mut self, hook: &str, reports: std::ops::Range<u64>) {
        until("the store works again", || self.store_is_ok(1));
        for n in reports {
            self.report(hook, n);
            assert_eq!(self.report(hook, n), 200);
        }
        let row = self.everybody_got_one();
        assert_eq!(row["in_doubt"], 0, "replies were kept: {row}");
        assert_eq!(self.daemon.tixing(&["fsck"]).status.code(), Some(0));
        let blobs = self.daemon.folder.path().join("store/sled/blobs");
        assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
        assert_eq!(self.daemon.stop(), Some(0));
        self.ends();
    }

    /// Waits until the occurrence is done: one message for each, and no more. The occurrence as it is told.
    fn everybody_got_one(&self) -> Value {
        until("a message for everybody", || self.platform.sends().len() as u64 >= PEOPLE);
        let done = |trial: &Self| {
            let rows = trial.daemon.tixing(&["occurrences", "list", "--json"]).stdout;
            String::from_utf8_lossy(&rows).contains(r#""state":"done""#)
        };
        until("everybody got it", || done(self));
        let row = self.daemon.json(&["occurrences", "list", "--json"]).remove(0);
        let count = |name: &str| row[name].as_u64().unwrap();
        assert_eq!(count("sent") + count("in_doubt"), self.platform.sends().len() as u64, "{row}");
        let mut got: BTreeMap<String, u32> = BTreeMap::new();
        for send in self.platform.sends() {
            *got.entry(send.openid).or_default() += 1;
        }
        assert!(got.values().all(|n| *n == 1), "{got:?}");
        assert!((0..PEOPLE).all(|n| got.contains_key(&openid(n))), "{got:?}");
        row
    }

    /// The power goes and leaves nothing but what syncs covered: what was promised is there, and nobody gets more.
    fn all_is_well_after_a_power_cut(mut self, known: &Known, reports: std::ops::Range<u64>) {
        let folder = tempfile::tempdir().unwrap();
        // First the count beside the store: it never runs ahead of what is synced.
        for name in ["tixing.yaml", "secret", "key", "store.commits", "schedules/rules.yaml"] {
            let to = folder.path().join(name);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(self.daemon.folder.path().join(name), to).unwrap();
        }
        let written = self.disk.written();
        assert_eq!(self.daemon.stop(), Some(0));
        let journal = Journal::read(&self.disk, &known.store());
        journal.image(journal.at(written), Cut::Everything, &mut Dice(1), &folder.path().join("store"));
        self.daemon = Daemon::over(folder);
        self.daemon.start();
        let hook = self.daemon.hook();
        for n in reports {
            assert_eq!(self.report(&hook, n), 200);
        }
        self.everybody_got_one();
        assert_eq!(self.daemon.tixing(&["fsck"]).status.code(), Some(0));
        assert_eq!(self.daemon.stop(), Some(0));
        self.ends();
    }

    fn ends(mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.runtime.block_on(sandbox.stop());
        }
    }
}

/// A file system of its own under a folder, until it is dropped.
struct Mounted {
    at: PathBuf,
    image: PathBuf,
}

impl Mounted {
    /// A small ext4 at `at`, which turns read-only when it finds an error.
    fn new(at: &Path, image: PathBuf) -> Self {
        std::fs::create_dir_all(at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(32 * 1024 * 1024).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let mounted = Self { at: at.to_owned(), image };
        mounted.mount();
        mounted
    }

    fn mount(&self) {
        run(
            "mount",
            &["-o", "loop,errors=remount-ro", self.image.to_str().unwrap(), self.at.to_str().unwrap()],
        );
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.at.join("fill")).unwrap();
        let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find(Result::is_err);
        assert_eq!(full.unwrap().unwrap_err().kind(), ErrorKind::StorageFull);
    }

    fn empty(&self) {
        std::fs::remove_file(self.at.join("fill")).unwrap();
        // Else it is there again after the next misfortune.
        std::fs::File::open(&self.at).unwrap().sync_all().unwrap();
    }

    /// Has the kernel find an error in it: it is read-only from then on, and stays so until it was mended.
    fn finds_an_error(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let at = self.at.to_str().unwrap();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(at)).unwrap();
        let device = Path::new(line.split(' ').next().unwrap()).file_name().unwrap().to_owned();
        std::fs::write(Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error"), "1").unwrap();
    }

    /// Takes it away, which nobody who holds a file of it would let happen; then mends it.
    fn mend(&self) {
        until("nobody holds a file of the failed disk", || {
            Command::new("umount").arg(&self.at).stderr(Stdio::null()).status().unwrap().success()
        });
        // 1: it has mended something.
        let mended = Command::new("e2fsck").args(["-p".as_ref(), self.image.as_os_str()]).output().unwrap();
        assert!(mended.status.code().is_some_and(|code| code <= 1), "{mended:?}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone = Command::new("umount").args(["-l".as_ref(), self.at.as_os_str()]).output();
    }
}

fn run(program: &str, words: &[&str]) {
    let said = Command::new(program).args(words).output().unwrap();
    assert!(said.status.success(), "{program}: {}", String::from_utf8_lossy(&said.stderr));
}

/// A full file system, one that turned read-only and is taken away, and a folder that is elsewhere.
#[test]
fn a_full_a_read_only_and_a_vanished_disk_are_waited_for() {
    if asked("TIXING_MOUNT", 0) == 0 {
        println!("left out: no file system may be mounted (TIXING_MOUNT=1, as root)");
        return;
    }
    let beside = tempfile::tempdir().unwrap();
    let mut trial =
        Trial::within(&Known::new(), |store| Some(Mounted::new(store, beside.path().join("image"))));
    trial.daemon.start();
    let hook = trial.daemon.hook();
    let mut n = 100;
    let mut ill = |trial: &mut Trial, breaks: &dyn Fn(&Mounted), mends: &dyn Fn(&Mounted)| {
        let disk = trial.mounted.take().unwrap();
        assert_eq!(trial.report(&hook, n), 200);
        breaks(&disk);
        // The report that finds it may still be taken, on a disk that is nearly full.
        until("the failure is noticed", || {
            n += 1;
            trial.report(&hook, n);
            trial.store_is_ok(0)
        });
        trial.everybody_is_told(&hook);
        mends(&disk);
        trial.mounted = Some(disk);
        until("the store works again", || trial.store_is_ok(1));
        n += 1;
        assert_eq!(trial.report(&hook, n), 200);
    };
    ill(&mut trial, &Mounted::fill, &Mounted::empty);
    ill(&mut trial, &Mounted::finds_an_error, &|disk| {
        disk.mend();
        disk.mount();
    });
    trial.all_is_well(&hook, 100..101);
}

#[test]
fn a_store_that_is_moved_away_is_not_made_anew() {
    let mut trial = Trial::new(&Known::new());
    trial.daemon.start();
    let hook = trial.daemon.hook();
    assert_eq!(trial.report(&hook, 100), 200);
    let (there, away) = (trial.daemon.folder.path().join("store"), trial.daemon.folder.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    assert_eq!(trial.report(&hook, 101), 503);
    until("the failure is noticed", || trial.store_is_ok(0));
    trial.everybody_is_told(&hook);
    until("it was looked for again", || {
        trial.status().unwrap()["store"]["reason"].as_str().unwrap().contains("No such file")
    });
    assert!(!there.exists(), "another store was made in its place");
    std::fs::rename(&away, &there).unwrap();
    trial.all_is_well(&hook, 100..102);
}

/// The scenario, with the `n`-th call of a kind failing, and all after it until the disk is mended; whether
/// there was an `n`-th.
fn scenario(known: &Known, how: Failing) -> bool {
    let mut trial = Trial::new(known);
    trial.disk.fail(how);
    if let Some(code) = trial.daemon.start_or_end() {
        assert_eq!(code, 75, "{how:?}");
        trial.disk.heal();
        trial.daemon.start();
        let hook = trial.daemon.hook();
        trial.all_is_well(&hook, 100..101);
        return true;
    }
    let status = trial.status().unwrap();
    let hook = status["hook"].as_str().unwrap().to_owned();
    let mut n = 100;
    // Reports, and messages between them, until everything was sent or something failed.
    let struck = loop {
        trial.report(&hook, n);
        n += 1;
        if trial.disk.failed() > 0 {
            break true;
        }
        if trial.accepted() as u64 == PEOPLE && n >= 108 {
            break false;
        }
        breathe();
    };
    if struck {
        let still = until_some(
            &format!("the failure is noticed: {how:?}"),
            || trial.store_is_ok(0),
            || trial.disk.failed() == 0,
        );
        if still {
            trial.everybody_is_told(&hook);
        }
    }
    trial.disk.heal();
    trial.all_is_well(&hook, 100..n);
    struck
}

/// Looks until `seen`, or until `over` says that it will not come; whether it was seen.
fn until_some(what: &str, mut seen: impl FnMut() -> bool, mut over: impl FnMut() -> bool) -> bool {
    let mut found = false;
    until(what, || {
        found = seen();
        found || over()
    });
    found
}

/// The scenario, with the `n`-th call of a kind failing and no other; whether there was an `n`-th.
///
/// Whoever is refused says it again until he is not, as clients do, so whatever was not refused has to be there.
fn once(known: &Known, how: Failing) -> bool {
    let mut trial = Trial::new(known);
    trial.disk.fail(how);
    let ended = trial.daemon.start_or_end();
    if let Some(code) = ended {
        assert_eq!(code, 75, "{how:?}");
        trial.daemon.start();
    }
    let hook = trial.status().unwrap()["hook"].as_str().unwrap().to_owned();
    let mut n = 100;
    until(&format!("everything is reported and sent: {how:?}"), || {
        // Some before the messages, some among and after them.
        let most = if trial.accepted() == 0 { 103 } else { 106 };
        if n < most && trial.report(&hook, n) == 200 {
            n += 1;
        }
        n == 106 && trial.accepted() as u64 == PEOPLE
    });
    trial.disk.heal();
    // If it was the last call of all, this meets its failure.
    until("a report is taken", || trial.report(&hook, n) == 200);
    trial.everybody_got_one();
    let log = std::fs::read_to_string(trial.daemon.log()).unwrap();
    let struck = trial.disk.failed() > 0;
    let journal = Journal::read(&trial.disk, &known.store());
    let noticed = ended.is_some() || log.contains("The store failed: ");
    let of_the_engine = journal.failures().any(|path| path.contains("/store/sled/"));
    assert!(noticed || !of_the_engine, "{how:?}: {:?}", journal.failures().collect::<Vec<_>>());
    trial.all_is_well_after_a_power_cut(known, 100..n + 1);
    struck
}

/// Runs a scenario with each `step`-th call failing, until it meets none; how many calls there were, about.
fn sweep(step: u64, scenario: impl Fn(u32) -> bool + Sync) -> u32 {
    let step = step as u32;
    let (next, beyond) = (&AtomicU32::new(1), &AtomicU32::new(u32::MAX));
    let scenario = &scenario;
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let run = move || {
                loop {
                    let first = next.fetch_add(step, Ordering::Relaxed);
                    if first > beyond.load(Ordering::Relaxed) {
                        break;
                    }
                    if !scenario(first) {
                        beyond.fetch_min(first, Ordering::Relaxed);
                    }
                }
            };
            std::thread::Builder::new().name(format!("lane {lane}")).spawn_scoped(scope, run).unwrap();
        }
    });
    let calls_made = beyond.load(Ordering::Relaxed);
    assert!(calls_made > 10, "hardly anything was tried");
    calls_made
}

/// Each call and all after it, until the disk is mended.
fn sweep_of_all_after(errno: u32, calls: Calls) {
    let step = asked("TIXING_FAULT_STEP", 9);
    let known = Known::new();
    let made = sweep(step, |first| scenario(&known, Failing { errno, calls, first, times: 0 }));
    println!("errno {errno}, {calls:?}: every {step}. of about {made} calls failed, with all after it");
}

#[test]
fn any_write_may_fail_with_eio() {
    sweep_of_all_after(EIO, Calls::Writes);
}

#[test]
fn any_sync_may_fail_with_eio() {
    sweep_of_all_after(EIO, Calls::Syncs);
}

#[test]
fn the_disk_may_be_full_at_any_call() {
    sweep_of_all_after(ENOSPC, Calls::WritesAndSyncs);
}

/// EIO and ENOSPC in turn, so that a step of one is every call with either, and an odd one some calls with each.
#[test]
fn any_one_call_may_fail_alone() {
    let step = asked("TIXING_FAULT_STEP", 9);
    let known = Known::new();
    let made = sweep(step, |n| {
        let errno = if n % 2 == 1 { EIO } else { ENOSPC };
        once(&known, Failing { errno, calls: Calls::WritesAndSyncs, first: n.div_ceil(2), times: 1 })
    });
    println!("every {step}. of about twice {} calls failed alone", made / 2);
}
