//! Alertmanager as a sender of reminders: an alert per receiver, grouped by receiver, to one webhook.
//!
//! It is set to do its best: no cluster to wait for, groups flushed at once, no repeat within the test, nothing sent when
//! an alert ends. It keeps alerts in memory, because Prometheus posts them again and again; so does the feeder here, each
//! second, before and after the crash: otherwise those not yet notified would be lost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use serde_json::{Value, json};
use tixing::clock::Clock;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Outcome, Scene, first_line, until_quiet, until_the_kill};

const PROGRAM: &str = "prometheus-alertmanager";

/// Far more often than a round has seconds.
const MAX_POSTS: usize = 3600;

/// What arrived at the webhook, by receiver.
#[derive(Clone, Default)]
struct Arrived {
    by_receiver: Arc<Mutex<BTreeMap<String, usize>>>,
    n_answered: Arc<AtomicUsize>,
}

impl Arrived {
    fn add(&self, receiver: &str) {
        *self.by_receiver.lock().unwrap().entry(receiver.to_owned()).or_default() += 1;
    }

    fn n(&self) -> usize {
        self.by_receiver.lock().unwrap().values().sum()
    }
}

/// A process that never outlives its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

pub(crate) fn version() -> String {
    first_line(PROGRAM)
}

/// With the settings that decide what a crash costs as Debian ships them.
pub(crate) fn as_shipped(scene: Scene, runtime: &Runtime) -> Outcome {
    play(scene, runtime, "15m")
}

/// Writing its log of notifications to disk each second instead of every 15 minutes.
pub(crate) fn at_its_best(scene: Scene, runtime: &Runtime) -> Outcome {
    play(scene, runtime, "1s")
}

fn play(scene: Scene, runtime: &Runtime, kept_each: &str) -> Outcome {
    let arrived = Arrived::default();
    // They end with this round.
    let mut tasks = JoinSet::new();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let hook = listener.local_addr().unwrap();
    tasks.spawn_on(webhook(listener, scene.answer_after, arrived.clone()), runtime.handle());
    let receivers: Vec<String> = (0..scene.receivers).map(|n| format!("receiver-{n:03}")).collect();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = format!(
        "route: {{ receiver: hook, group_by: [person], group_wait: 0s, group_interval: 1s, repeat_interval: 24h }}\n\
         receivers:\n  - name: hook\n    webhook_configs: [{{ url: \"http://{hook}/\", send_resolved: false }}]\n"
    );
    fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = || start(folder.path(), port, kept_each);

    let mut process = start();
    tasks.spawn_on(feed(port, receivers.clone()), runtime.handle());
    until_the_kill(scene, || arrived.n_answered.load(Ordering::Relaxed));
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    process = start();
    until_quiet(scene.quiet, || arrived.n());
    runtime.block_on(tasks.shutdown());
    drop(process);
    let counted = arrived.by_receiver.lock().unwrap().clone();
    Outcome::of(&receivers, &counted, &[])
}

fn start(folder: &Path, port: u16, kept_each: &str) -> Owned {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    // It dies with this process, however that ends.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", PROGRAM])
        .current_dir(folder)
        .args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="])
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--data.maintenance-interval={kept_each}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Owned(command.spawn().unwrap())
}

/// Takes notifications, and answers each after a while.
async fn webhook(listener: tokio::net::TcpListener, answer_after: Duration, arrived: Arrived) {
    let take = move |body: axum::body::Bytes| {
        let arrived = arrived.clone();
        async move {
            let body: Value = serde_json::from_slice(&body).unwrap();
            arrived.add(body["groupLabels"]["person"].as_str().unwrap());
            Clock::system().sleep(answer_after).await;
            arrived.n_answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let router = axum::Router::new().route("/", post(take));
    axum::serve(listener, router).await.unwrap();
}

/// Posts all alerts each second, as Prometheus posts what fires.
async fn feed(port: u16, receivers: Vec<String>) {
    // The process may have installed a provider already; any is as good.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let alert = |receiver: &String| json!({"labels": {"alertname": "due", "person": receiver}});
    let alerts = Value::from(receivers.iter().map(alert).collect::<Vec<_>>()).to_string();
    let starts_at = Clock::system().now().to_rfc3339();
    let alerts = alerts.replace("{\"labels\"", &format!("{{\"startsAt\":\"{starts_at}\",\"labels\""));
    for _ in 0..MAX_POSTS {
        let posted = client
            .post(format!("http://127.0.0.1:{port}/api/v2/alerts"))
            .header("content-type", "application/json")
            .body(alerts.clone());
        // While it is down nobody hears it.
        let _answer = posted.send().await;
        Clock::system().sleep(Duration::from_secs(1)).await;
    }
}
