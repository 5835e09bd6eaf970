//! What backends sign, over the life of the program: keys that take turns under traffic, and requests that come again.

use std::fs;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tixing::clock::Clock;

use super::daemon::{Daemon, TEMPLATE, hook_secret, request, signed, until};

const NOBODY: &str = "http://127.0.0.1:9";

fn now() -> i64 {
    Clock::system().now().timestamp()
}

fn daemon() -> Daemon {
    let mut daemon = Daemon::new(NOBODY, 4, "rules: {}\n");
    let config = fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    daemon.write("tixing.yaml", &format!("{config}reload: manual\n"));
    daemon.start();
    daemon
}

/// The old key, then both, then the new one: nobody who signs by a key that is in force is refused, whatever else is going on.
#[test]
fn keys_take_turns_without_a_gap() {
    let mut daemon = daemon();
    let (old, new) = (daemon.hook_secret.clone(), hook_secret());
    daemon.write("new-key", &new);
    let config = fs::read_to_string(daemon.path("tixing.yaml")).unwrap();
    let line = |keys: &[(&str, &str)]| {
        let keys =
            keys.iter().map(|(id, file)| format!("{{ id: {id}, secret: {{ file: {file} }}, apps: [main] }}"));
        format!("keys: [{}]", keys.collect::<Vec<_>>().join(", "))
    };
    let first = line(&[("backend", "key")]);
    assert_eq!(config.matches(&first).count(), 1, "{config}");
    let turn = |daemon: &Daemon, keys: &[(&str, &str)]| {
        daemon.write("tixing.yaml", &config.replace(&first, &line(keys)));
        assert_eq!(daemon.tixing(&["reload"]).status.code(), Some(0));
    };
    let hook = daemon.hook();
    let sends = |n: u64, secret: &str| {
        let body =
            format!(r#"{{"report":"r{n}","openid":"oCANARYTurns001","results":{{"{TEMPLATE}":"reject"}}}}"#);
        let headers = signed(secret, &format!("m{n}"), now(), "POST", "/v1/consents", body.as_bytes());
        request(&hook, "POST", "/v1/consents", &headers, body.as_bytes()).unwrap().0
    };
    // Who sends holds it for reading: a key leaves it when nothing that it signed is under way.
    let in_force = RwLock::new(vec![old.clone()]);
    let (is_over, n_sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|beside| {
        let senders: Vec<_> = (0..3_u64)
            .map(|sender| {
                let (in_force, is_over, n_sent, sends) = (&in_force, &is_over, &n_sent, &sends);
                beside.spawn(move || {
                    let mut statuses = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let n = n_sent.fetch_add(1, Ordering::Relaxed);
                        let keys = in_force.read().unwrap();
                        let turn = usize::try_from(n + sender).unwrap() % keys.len();
                        statuses.push(sends(n, &keys[turn]));
                    }
                    statuses
                })
            })
            .collect();
        let more = |n: u64| {
            let from = n_sent.load(Ordering::Relaxed);
            until("more is sent", || n_sent.load(Ordering::Relaxed) >= from + n);
        };
        more(30);
        turn(&daemon, &[("backend", "key"), ("next", "new-key")]);
        in_force.write().unwrap().push(new.clone());
        more(30);
        in_force.write().unwrap().remove(0);
        turn(&daemon, &[("next", "new-key")]);
        more(30);
        is_over.store(true, Ordering::Relaxed);
        let statuses: Vec<u16> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        assert!(statuses.len() >= 90 && statuses.iter().all(|status| *status == 200), "{statuses:?}");
    });
    assert_eq!((sends(1_000_000, &old), sends(1_000_001, &new)), (401, 200), "the old one is over");
    assert_eq!(daemon.stop(), Some(0));
}

/// A change that was carried out is not carried out again, also not by a daemon that knows of it from the disk alone.
#[test]
fn a_request_of_before_a_restart_is_known_after_it() {
    let mut daemon = daemon();
    let openid = "oPlainAgain0".to_owned();
    let target = format!("/v1/recipients/{openid}");
    let at = now();
    let sends = |daemon: &Daemon, id: &str, method: &str, body: &str| {
        let headers = signed(&daemon.hook_secret, id, at, method, &target, body.as_bytes());
        let (status, text) = request(&daemon.hook(), method, &target, &headers, body.as_bytes()).unwrap();
        (status, text.contains("urn:tixing:problem:replayed"))
    };
    assert_eq!(sends(&daemon, "w1", "PUT", r#"{"ref":"1"}"#), (200, false));
    assert_eq!(sends(&daemon, "w2", "DELETE", ""), (200, false));
    let again = |daemon: &Daemon| {
        assert_eq!(sends(daemon, "w1", "PUT", r#"{"ref":"1"}"#), (409, true));
        assert_eq!(sends(daemon, "w2", "DELETE", ""), (409, true));
        assert_eq!(sends(daemon, "w3", "GET", "").0, 404, "who was erased stays so");
    };
    again(&daemon);
    daemon.kill();
    daemon.start();
    again(&daemon);
    assert_eq!(daemon.stop(), Some(0));
    daemon.start();
    again(&daemon);
    assert_eq!(daemon.stop(), Some(0));
}
