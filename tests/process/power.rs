//! Power cuts: the real program works on a disk that keeps a journal, and starts again from what a cut left of it.
//!
//! One recording has it all: the first start, an import, reports from several clients, four rules with their
//! sends, kills between two system calls, also in the middle of a start. From it folders are made as cuts at
//! many points could have left them, and each is started with the real program. What must be there was told
//! by the recorded program itself: an answer 200 that it began to send, a request that it began to send.
//!
//! `TIXING_CUTS` says how many images, no two of which hold the same. An image that breaks a promise is told with the
//! command that tries it again, by `TIXING_CUT`, from the recording that is kept then, at `TIXING_RECORDING`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tixing::clock::Clock;

use super::daemon::{APPID, Daemon, TEMPLATE, asked, breathe, report, until};
use super::disk::{Cut, Dice, Disk, Journal, Kind, copy, listed};
use super::kill::{IN_FLIGHT, MARK_AHEAD, platform};

/// Broken images after which no more are tried.
const ENOUGH: usize = 5;
/// How often something else is let go at a cut whose image there was already.
const OTHERS: u64 = 8;
const PEOPLE: usize = 150;
const ROUNDS: u32 = 4;
const CLIENTS: usize = 3;

fn person(n: usize) -> String {
    format!("oCANARYperson{n:06}")
}

fn reporter(id: &str) -> String {
    format!("oCANARYreporter{id}")
}

/// What the recording tells beside the journal: lengths of the journal at certain moments.
struct Notes {
    /// When the import was answered.
    imported: u64,
    /// When each start began.
    starts: Vec<u64>,
}

impl Notes {
    fn save(&self, to: &Path) {
        let all = json!({"imported": self.imported, "starts": self.starts});
        fs::write(to, all.to_string()).unwrap();
    }

    fn load(from: &Path) -> Self {
        let all: Value = serde_json::from_str(&fs::read_to_string(from).unwrap()).unwrap();
        let numbers = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        Self { imported: all["imported"].as_u64().unwrap(), starts: numbers(&all["starts"]) }
    }
}

/// Where a run of this seed records; another seed's leaves it alone.
fn place(seed: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("power-{seed}"))
}

/// Has clients report until it is dropped; each report is of a person of its own.
struct Reporters {
    hook: Arc<Mutex<Option<String>>>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Reporters {
    fn new(secret: &str) -> Self {
        let (hook, over): (Arc<Mutex<Option<String>>>, Arc<AtomicBool>) = Default::default();
        let threads = (0..CLIENTS).map(|client| {
            let (hook, over, secret) = (Arc::clone(&hook), Arc::clone(&over), secret.to_owned());
            std::thread::Builder::new().name(format!("client {client}")).spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    let address = hook.lock().unwrap().clone();
                    let id = format!("c{client}n{n:05}");
                    // A client that got no answer sends the same again.
                    if address
                        .is_some_and(|at| matches!(report(&at, &secret, &id, &reporter(&id)), Some((200, _))))
                    {
                        n += 1;
                    }
                    breathe();
                }
            })
        });
        Self { threads: threads.map(Result::unwrap).collect(), hook, over }
    }

    fn at(&self, hook: Option<String>) {
        *self.hook.lock().unwrap() = hook;
    }
}

impl Drop for Reporters {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

/// Runs the program through its life on a disk that keeps a journal.
fn record(at: &Path, dice: &mut Dice) {
    // A busy machine may need longer until those are known whom the first rule is for.
    let recorded = [5, 20, 80].into_iter().any(|ahead| record_with(at, ahead, dice));
    assert!(recorded, "the import took until the first rule was due");
}

/// The first rule is due so many seconds from now; `false` when that was too soon.
fn record_with(at: &Path, ahead: i64, dice: &mut Dice) -> bool {
    let _none_yet = fs::remove_dir_all(at);
    fs::create_dir_all(at).unwrap();
    // All known from the first start on, and due one after the other.
    let first = Clock::system().now() + chrono::TimeDelta::seconds(ahead);
    let mut rules = "rules:\n".to_owned();
    for round in 0..ROUNDS {
        let due = first + chrono::TimeDelta::seconds(i64::from(2 * round));
        let local = due.with_timezone(&chrono_tz::Asia::Shanghai).format("%Y-%m-%d %H:%M:%S");
        rules.push_str(&format!(
            "  round{round}:\n    template: habit\n    when: {{ at: \"{local}\" }}\n    data: {{ thing1: round{round} }}\n    \
             grace: 6h\n    to: {{ tags: [storm] }}\n"
        ));
    }
    let mut daemon = Daemon::new("http://127.0.0.1:9", IN_FLIGHT, &rules);
    let (runtime, sandbox) = platform(&daemon.app_secret, Duration::from_millis(20));
    daemon.talk_to(&sandbox.base_url());
    copy(daemon.folder.path(), &at.join("before"));
    let disk = Disk::new(daemon.folder.path(), at);
    let mut wrapper = disk.wrapper();
    wrapper.push("RUST_LOG=info".to_owned());
    daemon.under(&wrapper);
    let mut notes = Notes { imported: 0, starts: Vec::new() };

    let (mut lines, mut persons) = (String::new(), String::new());
    for openid in (0..PEOPLE).map(person) {
        lines.push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":{ROUNDS}}}\n"));
        persons.push_str(&format!("{{\"openid\":\"{openid}\",\"tags\":[\"storm\"]}}\n"));
        sandbox.platform().grant_many(APPID, &openid, TEMPLATE, 100).unwrap();
    }
    daemon.write("people.jsonl", &persons);
    daemon.write("consents.jsonl", &lines);

    let reporters = Reporters::new(&daemon.hook_secret);
    for round in 0..ROUNDS {
        if round > 0 {
            // Killed in the middle of opening, too: a snapshot is being written, or recovery is.
            notes.starts.push(disk.written());
            disk.die_in(5 + dice.roll(12) as u32);
            daemon.launch();
            assert_eq!(daemon.ended(), None, "killed while it starts");
        }
        notes.starts.push(disk.written());
        daemon.start();
        reporters.at(Some(daemon.hook()));
        if round == 0 {
            daemon.json(&["people", "import", "people.jsonl", "--json"]);
            daemon.json(&["consents", "import", "consents.jsonl", "--json"]);
            notes.imported = disk.written();
            // The second of the due time, as it is written.
            if Clock::system().now().timestamp() >= first.timestamp() {
                return false;
            }
        }
        let begun = sandbox.platform().totals().begun;
        until("requests are in flight", || sandbox.platform().totals().begun > begun + 20);
        if round + 1 < ROUNDS {
            disk.die_in(1 + dice.roll(300) as u32);
            assert_eq!(daemon.ended(), None, "killed while it sends");
        }
        reporters.at(None);
    }
    reporters.at(Some(daemon.hook()));
    until("everything is sent or in doubt", || done(&daemon) == Some(ROUNDS as usize));
    drop(reporters);
    assert_eq!(daemon.stop(), Some(0));
    notes.save(&at.join("notes.json"));

    let journal = Journal::read(&disk, &at.join("before"));
    let whole = tempfile::tempdir().unwrap();
    journal.image(journal.records.len(), Cut::Nothing, &mut Dice(0), whole.path());
    let store = |at: &Path| listed(&at.join("store"));
    assert!(store(whole.path()) == store(daemon.folder.path()), "the journal missed a change");
    runtime.block_on(sandbox.stop());
    true
}

/// How many occurrences there are, when none is open.
fn done(daemon: &Daemon) -> Option<usize> {
    let rows = daemon.json(&["occurrences", "list", "--json"]);
    rows.iter().all(|row| row["state"] == "done").then_some(rows.len())
}

/// A recording, and what it says of itself.
struct Recording {
    journal: Journal,
    notes: Notes,
    /// Reports by the record at which their 200 began to leave.
    acknowledged: BTreeMap<usize, String>,
    /// Rule and openid by the record at which their request began to leave.
    requested: BTreeMap<usize, (String, String)>,
}

impl Recording {
    fn read(from: &Path) -> Self {
        let journal = Journal::read(&Disk::kept(from), &from.join("before"));
        let (mut acknowledged, mut requested) = (BTreeMap::new(), BTreeMap::new());
        for (at, record) in journal.records.iter().enumerate() {
            let said = String::from_utf8_lossy(journal.said(record));
            let Some(body) = said.find('{').and_then(|from| said.get(from..)) else { continue };
            let Ok(body) = serde_json::from_str::<Value>(body) else { continue };
            if let Some(openid) = body["touser"].as_str() {
                let rule = body["data"]["thing1"]["value"].as_str().unwrap();
                requested.insert(at, (rule.to_owned(), openid.to_owned()));
            } else if let Some(id) = body["report"].as_str()
                && said.starts_with("HTTP/1.1 200")
            {
                acknowledged.insert(at, id.to_owned());
            }
        }
        Self { notes: Notes::load(&from.join("notes.json")), journal, acknowledged, requested }
    }

    /// Points at which the power is cut: within starts, while a snapshot is written, right after syncs, within
    /// them, between writes of one group, when an answer or a request begins to leave, and anywhere.
    fn cuts(&self, n: usize, dice: &mut Dice) -> Vec<usize> {
        let records = &self.journal.records;
        let of = |is: &dyn Fn(usize) -> bool| (1..records.len()).filter(|at| is(*at)).collect::<Vec<_>>();
        let starts: BTreeSet<usize> =
            self.notes.starts.iter().flat_map(|start| (1..60).map(|n| self.journal.at(*start) + n)).collect();
        let first = self.notes.starts.first().map_or(0, |start| self.journal.at(*start));
        let kinds = [
            // While the store is made.
            of(&|at| (first + 1..first + 60).contains(&at)),
            of(&|at| starts.contains(&at)),
            of(&|at| records[at - 1].path.ends_with(".generating") && records[at - 1].kind != Kind::Rename),
            of(&|at| records[at - 1].kind == Kind::SyncEnds),
            of(&|at| records[at - 1].kind == Kind::SyncBegins),
            of(&|at| records[at - 1].kind == Kind::Write),
            of(&|at| self.acknowledged.contains_key(&(at - 1)) || self.requested.contains_key(&(at - 1))),
            of(&|_| true),
        ];
        // Of each kind, spread evenly over the journal.
        let each = n.div_ceil(kinds.len()).max(1);
        kinds
            .iter()
            .flat_map(|kind| {
                let step = (kind.len() / each).max(1);
                let from = dice.roll(step as u64) as usize;
                kind.iter().skip(from).step_by(step).take(each).copied().collect::<Vec<_>>()
            })
            .collect()
    }

    /// A folder as a cut could have left it: the seed decides of what no sync covered.
    fn image(&self, cut: usize, seed: u64) -> (tempfile::TempDir, Dice) {
        let mut dice = Dice(seed);
        let how = [Cut::Everything, Cut::Reordered, Cut::Torn, Cut::Torn][dice.roll(4) as usize];
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        self.journal.image(cut, how, &mut dice, folder.path());
        (folder, dice)
    }

    /// Starts one image; panics when a promise is broken.
    fn try_image(&self, cut: usize, (folder, mut dice): (tempfile::TempDir, Dice)) {
        if let Ok(mut blobs) = fs::read_dir(folder.path().join("store/sled/blobs")) {
            assert!(blobs.next().is_none(), "a blob");
        }
        let mut daemon = Daemon::over(folder);
        daemon.under(&["env".to_owned(), "RUST_LOG=info".to_owned()]);
        let written = self.journal.records[cut - 1].end;
        let (runtime, sandbox) = platform(&daemon.app_secret, Duration::ZERO);
        daemon.talk_to(&sandbox.base_url());
        for openid in (0..PEOPLE).map(person) {
            sandbox.platform().grant_many(APPID, &openid, TEMPLATE, 100).unwrap();
        }
        // Opening mends as well, so only every second image is looked at before its start.
        if dice.roll(2) == 0 {
            fsck(&daemon, "before the start");
        }
        daemon.start();
        let crashes = self.notes.starts.iter().filter(|start| **start < written).count() as u64;
        let in_doubt = daemon.json(&["doubt", "list", "--json"]).len() as u64;
        let bound = (IN_FLIGHT as u64 + MARK_AHEAD) * crashes;
        assert!(in_doubt <= bound, "{in_doubt} in doubt after {crashes} crashes, at most {bound}");
        until("everything is sent or in doubt", || done(&daemon).is_some());

        let accounts = daemon.json(&["consents", "show", "--json", "--reveal"]);
        let granted: BTreeMap<&str, u64> = accounts
            .iter()
            .map(|a| (a["openid"].as_str().unwrap(), a["granted"].as_u64().unwrap()))
            .collect();
        let acknowledged: Vec<&String> = self.acknowledged.range(..cut).map(|(_, id)| id).collect();
        for id in &acknowledged {
            assert_eq!(granted.get(reporter(id).as_str()), Some(&1), "acknowledged report {id} is lost");
        }
        let hook = daemon.hook();
        for _ in 0..acknowledged.len().min(10) {
            let id = acknowledged[dice.roll(acknowledged.len() as u64) as usize];
            let (status, body) = report(&hook, &daemon.hook_secret, id, &reporter(id)).unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (status, &body["duplicate"], &body["balances"][TEMPLATE]),
                (200, &json!(true), &json!(1)),
                "{body}"
            );
        }
        let imported = self.notes.imported <= written;
        if imported {
            for openid in (0..PEOPLE).map(person) {
                assert_eq!(
                    granted.get(openid.as_str()),
                    Some(&u64::from(ROUNDS)),
                    "an imported consent is lost"
                );
            }
        }
        for row in daemon.json(&["occurrences", "list", "--json"]) {
            let count = |name: &str| row[name].as_u64().unwrap();
            let skipped: u64 =
                row["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
            assert_eq!(count("sent") + count("in_doubt") + skipped, count("audience"), "{row}");
            assert!(!imported || (count("audience"), skipped) == (PEOPLE as u64, 0), "{row}");
        }
        let mut states: BTreeMap<(String, String), String> = BTreeMap::new();
        for row in daemon.json(&["deliveries", "list", "--json", "--reveal"]) {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let twin = states.insert((text("rule"), text("openid")), text("state"));
            assert_eq!(twin, None, "two deliveries for one: {row}");
        }
        let requested: BTreeSet<_> = self.requested.range(..cut).map(|(_, who)| who).collect();
        for who in &requested {
            let state = states.get(*who).map(String::as_str);
            assert!(
                matches!(state, Some("sent" | "in_doubt")),
                "{who:?} was requested before the cut and is {state:?}"
            );
        }
        let mut sent = BTreeSet::new();
        for send in sandbox.platform().sends() {
            let who = (send.data["thing1"].clone(), send.openid);
            assert!(!requested.contains(&who), "{who:?} was requested before the cut and again after it");
            assert_eq!(states.get(&who).map(String::as_str), Some("sent"), "{who:?}");
            assert!(sent.insert(who), "twice after the cut");
        }
        assert_eq!(daemon.stop(), Some(0));
        fsck(&daemon, "after the stop");
        runtime.block_on(sandbox.stop());
    }
}

fn fsck(daemon: &Daemon, when: &str) {
    let told = daemon.tixing(&["fsck", "--json"]);
    let all = [told.stdout, told.stderr].concat();
    assert_eq!(told.status.code(), Some(0), "{when}: {}", String::from_utf8_lossy(&all));
}

/// Images that were made, told apart by what they hold.
struct Images<'a> {
    of: &'a Recording,
    /// Points to cut at, the chosen ones first, and what decides at each.
    cuts: Vec<(usize, u64)>,
    next: AtomicUsize,
    wanted: usize,
    made: Mutex<BTreeSet<u64>>,
}

impl Images<'_> {
    /// One that there was not before; `None` when there are as many as were wanted, or no more.
    fn another(&self) -> Option<(usize, u64, (tempfile::TempDir, Dice))> {
        while let Some(&(cut, seed)) = self.cuts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            for seed in seed..seed + OTHERS {
                let image = self.of.image(cut, seed);
                let mut print = DefaultHasher::new();
                listed(image.0.path()).hash(&mut print);
                let mut made = self.made.lock().unwrap();
                if made.len() == self.wanted {
                    return None;
                }
                if made.insert(print.finish()) {
                    return Some((cut, seed, image));
                }
            }
        }
        None
    }
}

/// Where a recording is that is to be tried again.
#[expect(clippy::disallowed_methods, reason = "a failure names its recording in the environment")]
fn kept() -> PathBuf {
    std::env::var_os("TIXING_RECORDING").expect("TIXING_RECORDING, as the failure printed it").into()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_sent_twice_over_a_power_cut() {
    let again = asked("TIXING_CUT", 0);
    if again > 0 {
        let (recording, cut) = (Recording::read(&kept()), (again >> 32) as usize);
        return recording.try_image(cut, recording.image(cut, again & 0xFFFF_FFFF));
    }
    let seed = asked("TIXING_SEED", u64::from(std::process::id()));
    let at = place(seed);
    let mut dice = Dice(seed);
    let clock = Clock::system();
    let began = clock.now();
    record(&at, &mut dice);
    let recording = Recording::read(&at);
    let recorded = clock.now() - began;
    let wanted = asked("TIXING_CUTS", 40) as usize;
    let mut cuts = recording.cuts(wanted, &mut dice);
    // Where little is uncertain every image is one that there was.
    let last = recording.journal.records.len() as u64 - 1;
    cuts.extend((0..wanted).map(|_| 1 + dice.roll(last) as usize));
    let cuts = cuts.into_iter().map(|cut| (cut, dice.roll(1 << 31))).collect();
    let images = Images { of: &recording, cuts, next: AtomicUsize::new(0), wanted, made: Mutex::default() };
    let (images, bad) = (&images, Mutex::new(0));
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while *bad.lock().unwrap() < ENOUGH
                    && let Some((cut, seed, image)) = images.another()
                {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| recording.try_image(cut, image))) {
                        let text = panic.downcast_ref::<String>().map_or("(no text)", String::as_str);
                        let built = if cfg!(debug_assertions) { "" } else { " --release" };
                        println!(
                            "{}\n  again: TIXING_RECORDING={} TIXING_CUT={} cargo test --locked{built} --test process power:: -- --show-output",
                            text.lines().next().unwrap_or(""),
                            at.display(),
                            (cut as u64) << 32 | seed,
                        );
                        *bad.lock().unwrap() += 1;
                    }
                }
            });
        }
    });
    let (bad, made) = (bad.into_inner().unwrap(), images.made.lock().unwrap().len());
    println!(
        "seed {seed}: {made} images, no two alike, of {} records with {} syncs, {} answers and {} requests; {} s to record, {} s in all",
        recording.journal.records.len(),
        recording.journal.records.iter().filter(|record| record.kind == Kind::SyncEnds).count(),
        recording.acknowledged.len(),
        recording.requested.len(),
        recorded.num_seconds(),
        (clock.now() - began).num_seconds(),
    );
    assert!(recording.acknowledged.len() > 50 && recording.requested.len() > PEOPLE, "too little happened");
    assert_eq!(
        bad,
        0,
        "of {made} images; the recording stays in {} until a run of this seed, {seed}",
        at.display()
    );
    assert_eq!(made, wanted, "so many images that differ were not to be had");
    fs::remove_dir_all(at).unwrap();
}
