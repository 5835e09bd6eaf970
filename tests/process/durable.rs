//! Under strace: the disk has it before anybody is told.
//!
//! Without the `sync_data` of the store's writer there is no fdatasync at all, and both tests fail.
//! What is looked for is the record's own write, and the bytes of the answer or the request on their socket.

use std::fs;

use tixing::clock::Clock;
use tixing::sandbox::{self, Sandbox};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, canary, report, until};

/// The system calls of a daemon while `work` was done with it, one a line.
fn traced(base_url: &str, work: impl FnOnce(&mut Daemon)) -> Vec<String> {
    let mut daemon = Daemon::new(base_url, 4, "rules: {}\n");
    let trace = daemon.folder.path().join("trace");
    // With -D the daemon is our child and strace its grandchild: ending strace alone would leave the daemon behind.
    let words = ["strace", "-D", "-f", "-y", "-s", "1000000", "-e", CALLS, "-e", SLOW_DISK, "-o"];
    let mut wrapper: Vec<String> = words.iter().map(ToString::to_string).collect();
    wrapper.push(trace.display().to_string());
    daemon.under(&wrapper);
    daemon.start();
    work(&mut daemon);
    assert_eq!(daemon.stop(), Some(0));
    let read = || String::from_utf8_lossy(&fs::read(&trace).unwrap()).into_owned();
    until("the trace is written", || read().trim_end().ends_with("+++ exited with 0 +++"));
    read().lines().map(str::to_owned).collect()
}

/// A sync takes 300 ms at least, so that whoever does not wait for it is seen to be early, also on a busy machine.
const SLOW_DISK: &str = "inject=fdatasync:delay_enter=300000";

const CALLS: &str =
    "trace=fdatasync,fsync,read,recvfrom,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg";

/// The line at which the call that begins at `at` has succeeded; calls of several threads interleave.
fn done(lines: &[String], at: usize) -> Option<usize> {
    if !lines[at].contains("<unfinished ...>") {
        return lines[at].rsplit(" = ").next().filter(|r| !r.starts_with('-')).map(|_| at);
    }
    let thread = lines[at].split(' ').next().unwrap();
    let mine = |line: &String| line.split(' ').next() == Some(thread) && line.contains(" resumed>");
    let end = at + lines[at..].iter().position(mine)?;
    (!lines[end].rsplit(" = ").next().unwrap().starts_with('-')).then_some(end)
}

/// Whether one of `calls` on the store's `db` begins at this line.
fn on_db(line: &str, calls: &[&str]) -> bool {
    line.contains("/sled/db>") && calls.iter().any(|call| line.contains(call))
}

/// The lines between two at which something with this `text` is written to the store's `db`.
fn writes(lines: &[String], from: usize, to: usize, text: &str) -> Vec<usize> {
    let calls = ["write(", "writev(", "pwrite64(", "pwritev(", "pwritev2("];
    (from..to).filter(|at| on_db(&lines[*at], &calls) && lines[*at].contains(text)).collect()
}

/// Whether a `text` was written to `db` between two lines, and each such write also synced between them.
///
/// A sync counts when it began after the write had ended, and succeeded before line `to`.
fn is_synced(lines: &[String], from: usize, to: usize, text: &str) -> bool {
    let synced = |write: usize| {
        let written = done(lines, write)?;
        let mut syncs = (written + 1..to).filter(|at| on_db(&lines[*at], &["fdatasync("]));
        syncs.find(|sync| done(lines, *sync).is_some_and(|end| end < to))
    };
    let writes = writes(lines, from, to, text);
    !writes.is_empty() && writes.into_iter().all(|write| synced(write).is_some())
}

#[test]
fn a_sync_too_early_too_late_or_elsewhere_is_none() {
    let write = "7 pwrite64(5</x/sled/db>, \"m\", 1, 0) = 1";
    let sync = "7 fdatasync(9</x/sled/db>) = 0";
    let begun = "8 fdatasync(9</x/sled/db> <unfinished ...>";
    let ended = "8 <... fdatasync resumed>) = 0";
    let other = "7 pwrite64(5</x/sled/db>, \"n\", 1, 0) = 1";
    let cases: [(&[&str], bool); 13] = [
        (&[write, sync], true),
        (&[write, begun, ended], true),
        (&[write, begun, "7 <... fdatasync resumed>) = 0"], false),
        (&[write, begun], false),
        (&[begun, write, ended], false),
        (&[sync, write], false),
        (&[write, "7 fdatasync(9</x/sled/conf>) = 0"], false),
        (&[write, "7 fdatasync(9</x/sled/db>) = -1 EIO (Input/output error)"], false),
        (&[sync], false),
        (&[other, sync], false),
        (&[other, write, sync], true),
        (&[write, sync, other], true),
        (&[write, sync, write], false),
    ];
    for (lines, is) in cases {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        assert_eq!(is_synced(&lines, 0, lines.len(), "\"m\""), is, "{lines:?}");
    }
}

/// Where the first answer 200 after `from` goes out.
fn answered(lines: &[String], from: usize) -> usize {
    from + lines[from..].iter().position(|line| line.contains("\"HTTP/1.1 200")).expect("the answer")
}

fn position(lines: &[String], text: &str) -> usize {
    lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in the trace"))
}

#[test]
fn a_report_is_on_the_disk_before_its_200() {
    if asked("TIXING_STRACE", 0) == 0 {
        println!("left out: strace was not asked for (TIXING_STRACE=1)");
        return;
    }
    let lines = traced("http://127.0.0.1:9", |daemon| {
        let (status, _) =
            report(&daemon.hook(), &daemon.hook_secret.clone(), "lonely", "oCANARYlonely1").unwrap();
        assert_eq!(status, 200);
    });
    let came = position(&lines, "\"POST /v1/consents");
    let told = answered(&lines, came);
    assert!(is_synced(&lines, came, told, "oCANARYlonely1"), "no sync between a report and its answer");
}

#[test]
fn a_mark_is_on_the_disk_before_its_request() {
    if asked("TIXING_STRACE", 0) == 0 {
        println!("left out: strace was not asked for (TIXING_STRACE=1)");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let secret = canary("Secret");
    let app = sandbox::App { appid: APPID.to_owned(), secret: secret.clone() };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯".to_owned(),
        kind: sandbox::TemplateKind::OneTime,
        fields: vec![sandbox::Field::new("thing1", "内容")],
    };
    let sandbox = runtime
        .block_on(Sandbox::start(sandbox::Options::new(vec![app], vec![template]), Clock::system()))
        .unwrap();
    let platform = sandbox.platform();
    platform.grant_many(APPID, "oCANARYlonely2", TEMPLATE, 1).unwrap();
    let rules = "rules:\n  often:\n    template: habit\n    when: { cron: \"*/5 * * * * *\" }\n    data: { thing1: 你好 }\n";
    let lines = traced(&sandbox.base_url(), |daemon| {
        daemon.write("secret", &secret);
        assert_eq!(
            report(&daemon.hook(), &daemon.hook_secret.clone(), "r1", "oCANARYlonely2").unwrap().0,
            200
        );
        daemon.rules(rules);
        assert_eq!(daemon.tixing(&["reload"]).status.code(), Some(0));
        until("the message is sent", || platform.totals().accepted == 1);
    });
    // The recipient's place in its chunk: the openid with its length, then the state. 0 is reserved, 1 attempting.
    let marked = r"\16oCANARYlonely2\1\0";
    let told = answered(&lines, position(&lines, "\"POST /v1/consents"));
    let sent = position(&lines, "\"POST /cgi-bin/message/subscribe/send");
    assert!(writes(&lines, 0, told, marked).is_empty(), "a mark before its rule");
    assert!(is_synced(&lines, told, sent, marked), "no sync between the mark and the request");
    runtime.block_on(sandbox.stop());
}
