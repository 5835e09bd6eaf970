//! A daemon as a child process, with its folder, its command line and a client for its hook.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tixing::hook::{Secret, signature};

pub(crate) const TEMPLATE: &str = "TPLprocess";
pub(crate) const APPID: &str = "wxprocess0001";

/// A folder with a configuration, and perhaps a daemon that runs from it.
pub(crate) struct Daemon {
    pub(crate) folder: tempfile::TempDir,
    child: Option<Reaped>,
    pub(crate) app_secret: String,
    pub(crate) hook_secret: String,
    wrapper: Vec<String>,
}

/// A number in the environment, or its default.
///
/// What is there and is no number fails: with a default in its place less would be tried than was asked for.
#[expect(clippy::disallowed_methods, reason = "sizes of tests come from the environment")]
pub(crate) fn asked(name: &str, default: u64) -> u64 {
    std::env::var_os(name).map_or(default, |text| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| {
            panic!("{name} is `{}`; it takes digits alone, as in {name}={default}", text.display())
        })
    })
}

/// Where all logs go, for the search for leaks.
#[expect(clippy::disallowed_methods, reason = "the folder of logs comes from the environment")]
pub(crate) fn logs() -> PathBuf {
    let folder = std::env::var_os("TIXING_LOGS")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("logs"), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A text that must appear in no log: unique, with the word that the search looks for. `o` before it makes
/// an openid; 18 to 30 characters.
pub(crate) fn canary(kind: &str) -> String {
    static N: AtomicU32 = AtomicU32::new(0);
    format!("CANARY{kind:-<8.8}{:x}x{:03}", std::process::id(), N.fetch_add(1, Ordering::Relaxed))
}

/// A key that backends sign with, a canary too.
pub(crate) fn hook_secret() -> String {
    format!("whsec_{}", base64(format!("{:-<32}", canary("HookKey")).as_bytes()))
}

/// Adds a line to a file of the logs in one write, since clients on several threads do.
pub(crate) fn note(name: &str, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(logs().join(name)).unwrap();
    file.write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// A child process that never outlives its owner, also not when the test fails.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Waits for the next look at something; the only pause of these tests.
pub(crate) fn breathe() {
    tixing::clock::block(Duration::from_millis(20));
}

/// Looks until `seen` says so; fails after two minutes.
pub(crate) fn until(what: &str, mut seen: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if seen() {
            return;
        }
        breathe();
    }
    panic!("waited in vain: {what}");
}

impl Daemon {
    /// A folder for a daemon of the platform at `base_url`, with these rules.
    pub(crate) fn new(base_url: &str, in_flight: usize, rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app_secret = canary("Secret");
        let hook_secret = hook_secret();
        let at = folder.path();
        fs::create_dir(at.join("schedules")).unwrap();
        fs::write(at.join("secret"), &app_secret).unwrap();
        fs::write(at.join("key"), &hook_secret).unwrap();
        let config = format!(
            "apps:\n  main:\n    appid: {APPID}\n    secret: {{ file: secret }}\n    base_url: {base_url}\n    \
             limits: {{ in_flight: {in_flight} }}\n    templates:\n      habit: {{ id: {TEMPLATE}, kind: one_time, fields: [thing1] }}\n\
             schedules: schedules\nstore: sled:store\nhook:\n  listen: 127.0.0.1:0\n  keys: [{{ id: backend, secret: {{ file: key }}, apps: [main] }}]\n\
             admin: {{ socket: admin.sock }}\n"
        );
        fs::write(at.join("tixing.yaml"), config).unwrap();
        let daemon = Self { folder, child: None, app_secret, hook_secret, wrapper: Vec::new() };
        daemon.rules(rules);
        daemon
    }

    /// A daemon over a folder that is there already, with secrets of its own.
    pub(crate) fn over(folder: tempfile::TempDir) -> Self {
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (app_secret, hook_secret) = (text("secret"), text("key"));
        Self { folder, child: None, app_secret, hook_secret, wrapper: Vec::new() }
    }

    /// Talks to the platform at `base_url` from the next start on.
    pub(crate) fn talk_to(&self, base_url: &str) {
        let config = fs::read_to_string(self.folder.path().join("tixing.yaml")).unwrap();
        let line = |line: &str| match line.split_once("base_url: ") {
            Some((before, _)) => format!("{before}base_url: {base_url}\n"),
            None => format!("{line}\n"),
        };
        self.write("tixing.yaml", &config.lines().map(line).collect::<String>());
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn rules(&self, rules: &str) {
        fs::write(self.folder.path().join("schedules/rules.yaml"), rules).unwrap();
    }

    /// Runs the daemon by another program, which must leave it this process's own child: else nobody ends it.
    pub(crate) fn under(&mut self, wrapper: &[String]) {
        self.wrapper = wrapper.to_vec();
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_tixing").to_owned();
        let mut words = self.wrapper.iter().cloned().chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1");
        command
    }

    /// Where its log goes.
    pub(crate) fn log(&self) -> PathBuf {
        let name = self.folder.path().file_name().unwrap().to_string_lossy().into_owned();
        logs().join(format!("daemon{name}.log"))
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert_eq!(self.start_or_end(), None, "it ended at its start: {}", self.log().display());
    }

    /// Starts the daemon, and waits until it answers or has ended; its exit code then.
    pub(crate) fn start_or_end(&mut self) -> Option<i32> {
        self.launch();
        let mut ended = None;
        until("the daemon answers or ends", || {
            ended = self.child.as_mut().unwrap().0.try_wait().unwrap();
            ended.is_some() || self.tixing(&["status", "--json"]).status.code() != Some(69)
        });
        if ended.is_some() {
            self.child = None;
        }
        ended.map(|ended| ended.code().unwrap())
    }

    /// Starts the daemon, and waits for nothing.
    pub(crate) fn launch(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log());
        let mut command = self.command();
        command.args(["run", "--config", "tixing.yaml"]).stdout(Stdio::null()).stderr(log.unwrap());
        self.child = Some(Reaped(command.spawn().unwrap()));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().0.id()
    }

    /// SIGKILL; on return it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.child.take());
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// SIGTERM; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it has ended; its exit code, none after a signal.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.take().unwrap().0.wait().unwrap().code()
    }

    /// A command of the command line.
    pub(crate) fn tixing(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tixing"));
        let output = command.current_dir(self.folder.path()).args(words).output().unwrap();
        note("cli.err", &String::from_utf8_lossy(&output.stderr));
        // Openids show in clear to who asks so, or names them himself.
        if !words.iter().any(|word| *word == "--reveal" || word.starts_with("oCANARY")) {
            note("cli.out", &String::from_utf8_lossy(&output.stdout));
        }
        output
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn json(&self, words: &[&str]) -> Vec<Value> {
        let output = self.tixing(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Asks at the operators' door.
    pub(crate) fn admin(&self, method: &str, target: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.path().join("admin.sock")).unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        note("admin", &answer);
        answer
    }

    /// As [`Daemon::write`]; its folder is made if it is missing.
    pub(crate) fn write_new(&self, name: &str, text: &str) {
        fs::create_dir_all(self.folder.path().join(name).parent().unwrap()).unwrap();
        self.write(name, text);
    }

    /// Where the hook listens.
    pub(crate) fn hook(&self) -> String {
        self.json(&["status", "--json"])[0]["hook"].as_str().unwrap().to_owned()
    }
}

/// One request; status and body, `None` when the connection broke. Whatever is 503 says when to try again.
pub(crate) fn request(
    hook: &str,
    method: &str,
    target: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(hook).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {hook}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    // Read as far as the head says: not everybody closes.
    let mut answer = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| answer.len() >= head.len() + 4 + length) {
                let status = head.split(' ').nth(1)?.parse().ok()?;
                // A login's good answer is a session, and nobody else hears it.
                if (status, target) != (200, "/v1/login") {
                    note("bodies", &format!("{method} {status} {body}"));
                }
                let says_when = head.to_ascii_lowercase().contains("\r\nretry-after: ");
                assert!(status != 503 || says_when, "{head}");
                return Some((status, body.to_owned()));
            }
        }
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                note("bodies", &format!("{method} {target} has no answer: {error}"));
                return None;
            }
            Ok(n) => answer.extend_from_slice(piece.get(..n)?),
        }
    }
}

/// Headers of a backend's signature over a request.
pub(crate) fn signed(
    secret: &str,
    id: &str,
    at: i64,
    method: &str,
    target: &str,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let key = Secret::parse(secret).unwrap();
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", signature::sign(&key, id, at, method, target, body)),
    ]
}

/// A backend's report of one acceptance.
pub(crate) fn report(hook: &str, secret: &str, id: &str, openid: &str) -> Option<(u16, String)> {
    let body = format!(r#"{{"report":"{id}","openid":"{openid}","results":{{"{TEMPLATE}":"accept"}}}}"#);
    let now = tixing::clock::Clock::system().now().timestamp();
    let headers = signed(secret, &format!("{id}-{openid}"), now, "POST", "/v1/consents", body.as_bytes());
    request(hook, "POST", "/v1/consents", &headers, body.as_bytes())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let n = chunk.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            (0..4).map(move |i| {
                if i > chunk.len() { '=' } else { char::from(ALPHABET[(n >> (18 - 6 * i) & 63) as usize]) }
            })
        })
        .collect()
}
