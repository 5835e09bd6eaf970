//! Under strace: the disk has it before anybody is told.
//!
//! Without the `sync_data` of the store's writer there is no fdatasync at all, and both tests fail.

use std::fs;

use tixing::clock::Clock;
use tixing::sandbox::{self, Sandbox};

use super::daemon::{APPID, Daemon, TEMPLATE, asked, report, until};

fn traced(rules: &str, base_url: &str, work: impl FnOnce(&mut Daemon)) -> Vec<String> {
    let mut daemon = Daemon::new(base_url, 4, rules);
    let trace = daemon.folder.path().join("trace");
    let words =
        ["strace", "-f", "-y", "-s", "200", "-e", "trace=fdatasync,read,recvfrom,write,writev,sendto", "-o"];
    let mut wrapper: Vec<String> = words.iter().map(ToString::to_string).collect();
    wrapper.push(trace.display().to_string());
    daemon.under(&wrapper);
    daemon.start();
    work(&mut daemon);
    let text = fs::read_to_string(&trace).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn is_sync(line: &str) -> bool {
    line.contains("fdatasync(") && line.contains("/sled/db>")
}

#[test]
fn a_report_is_on_the_disk_before_its_200() {
    if asked("TIXING_STRACE", 0) == 0 {
        println!("left out: strace was not asked for (TIXING_STRACE=1)");
        return;
    }
    let lines = traced("rules: {}\n", "http://127.0.0.1:9", |daemon| {
        let (status, _) =
            report(&daemon.hook(), &daemon.hook_secret.clone(), "lonely", "oLonelyPerson1").unwrap();
        assert_eq!(status, 200);
    });
    let came = lines.iter().position(|line| line.contains("POST /v1/consents")).expect("the request");
    let told = lines
        .iter()
        .rposition(|line| {
            line.contains("HTTP/1.1 200") && line.contains("\"report")
                || line.contains("HTTP/1.1 200 OK\\r\\ncontent-type: application/json")
        })
        .expect("the answer");
    assert!(came < told);
    assert!(lines[came..told].iter().any(|line| is_sync(line)), "no sync between a report and its answer");
}

#[test]
fn a_mark_is_on_the_disk_before_its_request() {
    if asked("TIXING_STRACE", 0) == 0 {
        println!("left out: strace was not asked for (TIXING_STRACE=1)");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let secret = "not-a-secret-that-matters".to_owned();
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
    platform.grant_many(APPID, "oLonelyPerson2", TEMPLATE, 1).unwrap();
    let rules = "rules:\n  often:\n    template: habit\n    when: { cron: \"*/5 * * * * *\" }\n    data: { thing1: 你好 }\n";
    let lines = traced("rules: {}\n", &sandbox.base_url(), |daemon| {
        daemon.write("secret", &secret);
        assert_eq!(
            report(&daemon.hook(), &daemon.hook_secret.clone(), "r1", "oLonelyPerson2").unwrap().0,
            200
        );
        daemon.rules(rules);
        assert_eq!(daemon.tixing(&["reload"]).status.code(), Some(0));
        until("the message is sent", || platform.totals().accepted == 1);
    });
    let sent = lines
        .iter()
        .position(|line| line.contains("POST /cgi-bin/message/subscribe/send"))
        .expect("the send");
    let told = lines[..sent].iter().rposition(|line| line.contains("Audience of rule often"));
    // The log tells the walk; the mark comes after it, and the request after the mark's sync.
    let walked = told.expect("the walk is told in the log");
    assert!(lines[walked..sent].iter().any(|line| is_sync(line)), "no sync between the walk and the request");
    runtime.block_on(sandbox.stop());
}
