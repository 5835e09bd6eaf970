//! The processes of a yardstick: the daemon, the sandbox, a bare server; each ends with its owner.
//!
//! Sandbox and bare server are this program again in another role. They end when their input does, so that
//! they outlive nobody, however it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use axum::routing::post;
use serde_json::Value;
use tixing::clock::{self, Clock};
use tixing::sandbox::{self, Sandbox};

pub(crate) const TEMPLATE: &str = "TPLyard0123456789abcdefghijklmnopqrstuvwxyz";
pub(crate) const APPID: &str = "wxyard0123456789ab";
pub(crate) const APP_SECRET: &str = "secret-of-the-yardsticks";
pub(crate) const HOOK_SECRET: &str = "whsec_eWFyZHN0aWNrcyBvZiB0aXhpbmcsIDI0IGJ5dGVz";

/// The person with this number; as long as the platform's own openids.
pub(crate) fn openid(n: usize) -> String {
    format!("oYARDSTICK{n:018}")
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// A process that never outlives its owner.
pub(crate) struct Owned(Child);

impl Owned {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Starts this program in another role; the first line it says is where it listens.
pub(crate) fn start(words: &[&str]) -> (Owned, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.ends_with('\n'), "{words:?} did not start");
    (Owned(child), said.trim().to_owned())
}

/// A sandbox whose first `people` have `consents` each.
pub(crate) fn start_sandbox(people: usize, consents: usize) -> (Owned, String) {
    start(&["as-sandbox", &people.to_string(), &consents.to_string()])
}

/// Plays the role that this process was started for; `false` when it is none.
pub(crate) fn play(role: &str, words: &[String]) -> bool {
    let runtime = runtime();
    match role {
        "as-sandbox" => {
            let [people, consents] = words else { panic!("as-sandbox PEOPLE CONSENTS") };
            let (people, consents) = (people.parse().unwrap(), consents.parse().unwrap());
            let sandbox = runtime.block_on(fill_sandbox(people, consents));
            println!("{}", sandbox.base_url());
            wait_for_owner();
            runtime.block_on(sandbox.stop());
        }
        "as-echo" => {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            println!("{}", listener.local_addr().unwrap());
            let echo =
                axum::Router::new().route("/v1/consents", post(|body: axum::body::Bytes| async { body }));
            let _serving = runtime.spawn(std::future::IntoFuture::into_future(axum::serve(listener, echo)));
            wait_for_owner();
        }
        _ => return false,
    }
    true
}

fn wait_for_owner() {
    let _ended = std::io::stdin().read_to_end(&mut Vec::new());
}

async fn fill_sandbox(people: usize, consents: u64) -> Sandbox {
    let app = sandbox::App { appid: APPID.to_owned(), secret: APP_SECRET.to_owned() };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯打卡提醒".to_owned(),
        kind: sandbox::TemplateKind::OneTime,
        fields: vec![sandbox::Field::new("thing1", "提醒内容")],
    };
    let sandbox =
        Sandbox::start(sandbox::Options::new(vec![app], vec![template]), Clock::system()).await.unwrap();
    for n in 0..people {
        sandbox.platform().grant_many(APPID, &openid(n), TEMPLATE, consents).unwrap();
    }
    sandbox
}

/// An order or question to a sandbox; see its control.
pub(crate) async fn ask_sandbox(client: &reqwest::Client, base_url: &str, question: &str) -> Value {
    let bytes = client.get(format!("{base_url}/sandbox/{question}")).send().await.unwrap().bytes().await;
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

/// The real daemon in a folder on the disk that the build is on.
pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    process: Option<Owned>,
}

impl Daemon {
    /// A folder for a daemon that sends to `base_url`.
    pub(crate) fn new(base_url: &str, in_flight: usize) -> Self {
        Self::new_in(Path::new(env!("CARGO_TARGET_TMPDIR")), base_url, in_flight)
    }

    /// The same in another place.
    pub(crate) fn new_in(place: &Path, base_url: &str, in_flight: usize) -> Self {
        let folder = tempfile::tempdir_in(place).unwrap();
        let config = format!(
            "apps:\n  main:\n    appid: {APPID}\n    secret: {{ file: secret }}\n    base_url: {base_url}\n    \
             limits: {{ in_flight: {in_flight} }}\n    templates:\n      habit: {{ id: {TEMPLATE}, kind: one_time, fields: [thing1] }}\n\
             schedules: schedules\nstore: sled:store\nhook:\n  listen: 127.0.0.1:0\n  keys: [{{ id: backend, secret: {{ file: key }}, apps: [main] }}]\n\
             admin: {{ socket: admin.sock }}\n"
        );
        let daemon = Self { folder, process: None };
        fs::create_dir(daemon.folder.path().join("schedules")).unwrap();
        for (name, text) in [("secret", APP_SECRET), ("key", HOOK_SECRET), ("tixing.yaml", &config)] {
            daemon.write(name, text);
        }
        daemon
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Makes the first `people` recipients with `consents` each, before the start.
    pub(crate) fn import(&self, people: usize, consents: usize) {
        let (mut persons, mut rights) = (String::new(), String::new());
        for openid in (0..people).map(openid) {
            persons.push_str(&format!("{{\"openid\":\"{openid}\"}}\n"));
            rights
                .push_str(&format!("{{\"openid\":\"{openid}\",\"template\":\"habit\",\"n\":{consents}}}\n"));
        }
        self.write("people.jsonl", &persons);
        self.write("consents.jsonl", &rights);
        self.json(&["people", "import", "people.jsonl"]);
        self.json(&["consents", "import", "consents.jsonl"]);
    }

    /// Starts it, with its usual log into a file, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let log = fs::File::create(self.folder.path().join("daemon.log")).unwrap();
        let mut command = self.command();
        command.args(["run", "--config", "tixing.yaml"]).stdout(Stdio::null()).stderr(log);
        self.process = Some(Owned(command.spawn().unwrap()));
        until("the daemon answers", || self.tixing(&["status"]).status.code() != Some(69));
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Puts this rule in force as the only one, due at these times: everybody gets `rule`'s name.
    pub(crate) fn rule(&self, rule: &str, due: &[chrono::DateTime<chrono::Utc>]) {
        let local = |due: &chrono::DateTime<chrono::Utc>| {
            due.with_timezone(&chrono_tz::Asia::Shanghai).format("\"%Y-%m-%d %H:%M:%S\"").to_string()
        };
        let due: Vec<String> = due.iter().map(local).collect();
        self.write(
            "schedules/rules.yaml",
            &format!(
                "timezone: Asia/Shanghai\nrules:\n  {rule}:\n    template: habit\n    when: {{ at: [{}] }}\n    \
                 data: {{ thing1: \"{{{{ rule.id }}}} {{{{ due | local('%H:%M:%S') }}}}\" }}\n    missed: all\n    max: 100\n",
                due.join(", ")
            ),
        );
        self.json(&["reload"]);
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn json(&self, words: &[&str]) -> Vec<Value> {
        let mut words = words.to_vec();
        words.push("--json");
        let Output { status, stdout, stderr } = self.tixing(&words);
        let said = String::from_utf8_lossy(&stdout);
        assert!(status.success(), "{words:?}: {said} {}", String::from_utf8_lossy(&stderr));
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `status` says about the store, or its grants by `fsck`.
    pub(crate) fn number(&self, command: &str, path: &str) -> u64 {
        self.json(&[command])[0].pointer(path).and_then(Value::as_u64).unwrap()
    }

    /// Asserts that all occurrences came to their end with everything sent, and that the books balance.
    pub(crate) fn assert_all_sent(&self, n: usize) {
        until("every settlement is booked", || {
            self.json(&["occurrences", "list"]).iter().all(|row| row["state"] == "done")
        });
        let rows = self.json(&["occurrences", "list"]);
        let sent: u64 = rows.iter().map(|row| row["sent"].as_u64().unwrap()).sum();
        let audience: u64 = rows.iter().map(|row| row["audience"].as_u64().unwrap()).sum();
        assert_eq!((sent, audience), (n as u64, n as u64), "{rows:?}");
        assert_eq!(self.json(&["fsck"])[0]["ok"], true);
    }

    /// Stops it as the service manager does.
    pub(crate) fn stop(mut self) {
        let stopped = Command::new("kill").args(["-s", "TERM", &self.pid().to_string()]).status().unwrap();
        assert!(stopped.success());
        let mut process = self.process.take().unwrap();
        assert!(process.0.wait().unwrap().success(), "the daemon did not stop cleanly");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_tixing")));
        command.current_dir(self.folder.path()).env_remove("RUST_LOG");
        command
    }

    fn tixing(&self, words: &[&str]) -> Output {
        self.command().args(words).output().unwrap()
    }
}

/// Looks until `seen` says so; fails after five minutes.
pub(crate) fn until(what: &str, mut seen: impl FnMut() -> bool) {
    for _ in 0..15_000 {
        if seen() {
            return;
        }
        clock::block(Duration::from_millis(20));
    }
    panic!("waited in vain: {what}");
}
