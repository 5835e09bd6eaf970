//! Commands against a store of their own and against a door, as an operator meets them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;
use crate::admin::answer::End;
use crate::admin::desk::Desk;
use crate::admin::import as rows;
use crate::admin::server::{BindError, Door};
use crate::clock::Clock;
use crate::domain::language::Language;
use crate::flow::live::{Current, Live};

struct Place {
    folder: tempfile::TempDir,
    config: Config,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tixing.yaml");
    let text = "apps:\n  clinic:\n    appid: wx0123456789abcdef\n    secret: { env: S }\n    templates:\n      \
                visit: { id: VRR0, kind: one_time, fields: [thing1] }\nschedules: schedules\nstore: sled:store\n\
                hook: { listen: \"127.0.0.1:0\" }\nadmin: { socket: run/admin.sock }\n";
    std::fs::write(&path, text).expect("written");
    let config = load(&path, Language::English).expect("a good configuration");
    Place { folder, config }
}

impl Place {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    async fn import(&self, file: &Path) -> Result<Exit, Failure> {
        let taste = Taste { colour: Colour::Never, language: Language::English };
        let mut printer = Printer::people(Look::Table(&[]), taste);
        let config = self.config.clone();
        import::run(config, ImportKind::Consents, None, file, &mut printer, Colour::Never).await
    }

    /// Sum of all balances, asked without a daemon.
    async fn available(&self) -> u64 {
        let (rows, _) = ask(&self.config, show()).await;
        rows.iter().map(|row| row["available"].as_u64().expect("a number")).sum()
    }

    fn desk(&self) -> Desk {
        let store = reach::open(&self.config.store).expect("a store");
        let clock = Clock::system();
        let (config, rules) = (self.config.clone(), crate::domain::config::RuleSet::default());
        let live = Live {
            generation: 1,
            at: clock.now(),
            config,
            rules,
            clients: std::collections::BTreeMap::default(),
            pushes: std::collections::BTreeMap::default(),
            sources: std::collections::BTreeMap::new(),
        };
        Desk::new(store, Current::new(live), clock, None)
    }
}

fn show() -> Request {
    Request::ConsentsShow { app: None, who: None, reveal: true }
}

async fn ask(config: &Config, request: Request) -> (Vec<serde_json::Value>, End) {
    let mut reach = Reach::find(config.clone(), Without::Store).await.expect("somebody answers");
    let mut reply = reach.ask(request).await.expect("an answer");
    let mut rows = Vec::new();
    while let Some(frame) = reply.next().await {
        match frame {
            Frame::Line(line) => rows.push(serde_json::from_str(&line).expect("JSON")),
            Frame::Note(_) => {}
            Frame::End(end) => return (rows, end),
        }
    }
    panic!("an answer without end")
}

fn file_of(n: usize) -> String {
    let line = |n| format!(r#"{{"openid":"oIMPORT{n:05}","template":"visit","n":2}}"#);
    (0..n).map(|n| line(n) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_books_nothing_of_its_file() {
    let place = place();
    let good = file_of(60);
    let table = [
        (format!("{good}{{\"openid\":\"oX\",\"template\":\"visit\",\"n\":1}}\n"), ":61: "),
        (format!("{good}\n{good}"), ":61: "),
        (good.replacen("visit", "visits", 40).replacen("visits", "visit", 39), ":40: "),
        (String::new(), "no rows"),
    ];
    for (text, says) in table {
        let file = place.file("bad.jsonl", &text);
        let failure = place.import(&file).await.expect_err(says);
        assert_eq!(failure.exit, Exit::BadData);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
    let missing = place.import(&place.folder.path().join("none.jsonl")).await.expect_err("missing");
    assert_eq!(missing.exit, Exit::BadData);
    assert_eq!(place.available().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_where_it_was_killed_and_counts_once() {
    let place = place();
    let text = file_of(60);
    let file = place.file("good.jsonl", &text);
    // What a killed import leaves behind: its first piece.
    let app = place.config.apps.values().next().expect("one");
    let mut digest = rows::digest(ImportKind::Consents, app);
    sha2::Digest::update(&mut digest, text.as_bytes());
    let request = Request::Import {
        what: ImportKind::Consents,
        app: None,
        digest: rows::hex(digest),
        first: 0,
        rows: text.lines().take(24).map(str::to_owned).collect(),
    };
    assert_eq!(ask(&place.config, request).await.1.exit, Exit::Done);
    assert_eq!(place.available().await, 48);
    for _ in 0..2 {
        assert_eq!(place.import(&file).await, Ok(Exit::Done));
        assert_eq!(place.available().await, 120);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_opened_only_by_its_owner_and_only_where_that_makes_sense() {
    let place = place();
    assert_eq!(place.available().await, 0);
    let failure = Reach::find(place.config.clone(), Without::Nothing).await.expect_err("no daemon");
    assert_eq!(failure.exit, Exit::NoDaemon);
    // Only root can give a folder away; elsewhere the case cannot be made.
    if std::os::unix::fs::chown(&place.config.store, Some(12_345), None).is_ok() {
        let failure = Reach::find(place.config.clone(), Without::Store).await.expect_err("not ours");
        assert_eq!(failure.exit, Exit::NotPermitted);
        assert!(failure.message.contains("12345"), "{}", failure.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_answers_the_same_and_leaves_nothing_behind() {
    let place = place();
    let socket = &place.config.admin.socket;
    // A socket that a killed daemon left.
    std::fs::create_dir_all(socket.parent().expect("a folder")).expect("made");
    drop(std::os::unix::net::UnixListener::bind(socket).expect("bound"));
    let door = Door::bind(socket).await.expect("bound again");
    assert_eq!(socket.metadata().expect("there").permissions().mode() & 0o777, 0o660);
    assert!(matches!(Door::bind(socket).await, Err(BindError::Taken(_))));
    let (stop, stopped) = oneshot::channel::<()>();
    let mut tasks = JoinSet::new();
    let desk = place.desk();
    tasks.spawn(door.serve(desk, async {
        let _stop = stopped.await;
    }));
    // More rows than are made ahead, and pieces over one connection.
    let file = place.file("good.jsonl", &file_of(300));
    assert_eq!(place.import(&file).await, Ok(Exit::Done));
    let (rows, end) = ask(&place.config, show()).await;
    assert_eq!((rows.len(), end.exit), (300, Exit::Done));
    let (_, end) = ask(&place.config, Request::Status).await;
    assert_eq!(end.exit, Exit::NoDaemon);
    let table = [
        ("GET / HTTP/1.1", "200", "tixing"),
        ("GET /readyz HTTP/1.1", "503", "not ready"),
        ("GET /metrics HTTP/1.1", "200", "tixing_build_info"),
        ("GET /v1/run HTTP/1.1", "405", "allow: POST"),
        ("GET /secret HTTP/1.1", "404", "/readyz"),
        ("POST /v1/run HTTP/1.1\r\ncontent-length: 2", "400", "no request"),
    ];
    for (head, status, says) in table {
        let mut stream = UnixStream::connect(socket).await.expect("connected");
        let request = format!("{head}\r\nhost: x\r\nconnection: close\r\n\r\n{{}}");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        // A request that is refused early may be reset behind its answer.
        let _reset = stream.read_to_string(&mut reply).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(says), "{head}: {reply}");
    }
    stop.send(()).expect("the door listens");
    while tasks.join_next().await.is_some() {}
    assert!(!socket.exists());
}

#[test]
fn spans_have_a_unit() {
    for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)] {
        assert_eq!(span(text).expect(text), seconds);
    }
    for text in ["", "7", "d", "-7d", "0d", "7 days", "99999999999999999999w"] {
        assert_eq!(span(text).expect_err(text).exit, Exit::Usage);
    }
}

#[test]
fn warnings_count_only_when_they_are_asked_to() {
    let place = place();
    std::fs::create_dir(place.folder.path().join("schedules")).expect("made");
    let config = place.folder.path().join("tixing.yaml");
    for (strict, exit) in [(false, Exit::Done), (true, Exit::NotInOrder)] {
        // The folder without a rule is worth a warning.
        let args = args::Check { strict, ..args(Vec::new()) };
        assert_eq!(check::run(&config, &args, None, Language::Chinese).expect("checked"), exit);
    }
}

fn args(files: Vec<PathBuf>) -> args::Check {
    args::Check { files, format: None, json: true, strict: false, verbose: false, online: false }
}

#[test]
fn a_check_of_one_file_tells_of_that_file() {
    let place = place();
    std::fs::create_dir(place.folder.path().join("schedules")).expect("made");
    let rule = |id: &str, template: &str| {
        format!(
            "rules:\n  {id}:\n    template: {template}\n    when: {{ cron: \"0 9 * * *\" }}\n    data: {{ thing1: x }}\n"
        )
    };
    let good = place.file("schedules/a.yaml", &rule("a", "visit"));
    let bad = place.file("schedules/b.yaml", &rule("b", "nope"));
    let other = place.file("c.yaml", &rule("c", "visit"));
    // A copy of `a.yaml` that an editor made.
    let again = place.file("a.yaml", &rule("a", "visit"));
    let same_id = place.file("d.yaml", &rule("a", "visit"));
    let wrong = place.file("e.yaml", &rule("e", "nope"));
    let config = place.folder.path().join("tixing.yaml");
    let table = [
        (vec![], Ok(Exit::NotInOrder)),
        (vec![good.clone()], Ok(Exit::Done)),
        (vec![good, bad], Ok(Exit::NotInOrder)),
        (vec![other.clone()], Ok(Exit::Done)),
        (vec![again.clone()], Ok(Exit::Done)),
        (vec![same_id], Ok(Exit::NotInOrder)),
        (vec![other, wrong], Ok(Exit::NotInOrder)),
        (vec![place.folder.path().join("schedules/none.yaml")], Err(Exit::Usage)),
    ];
    for (files, exit) in table {
        assert_eq!(
            check::run(&config, &args(files.clone()), None, Language::English)
                .map_err(|failure| failure.exit),
            exit,
            "{files:?}"
        );
    }
    assert_eq!(check::config_of(std::slice::from_ref(&config)), Some(config.clone()));
    let above = check::config_of(&[place.folder.path().join("schedules/a.yaml")]).expect("one above");
    assert_eq!(above, config.canonicalize().expect("there"));
}
