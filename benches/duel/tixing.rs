//! tixing as the sender: a rule due once for everybody, against the sandbox in the place of WeChat.
//!
//! As it is configured when nothing is said: 64 requests at a time. Nobody posts anything again after the crash.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;
use tixing::clock::Clock;
use tixing::sandbox::{self, Outcome as Taken, Sandbox};
use tokio::runtime::Runtime;

use super::world::{self, APP_SECRET, APPID, Daemon, TEMPLATE, openid};
use super::{Outcome, Scene, kill, until_quiet, until_the_kill};

/// What it sends at a time when nothing is said.
const IN_FLIGHT: usize = 64;

pub(crate) fn play(scene: Scene, runtime: &Runtime) -> Outcome {
    let receivers: Vec<String> = (0..scene.receivers).map(openid).collect();
    let sandbox = runtime.block_on(sandbox(scene, &receivers));
    let platform = sandbox.platform();
    let mut daemon = Daemon::new(&sandbox.base_url(), IN_FLIGHT);
    daemon.import(scene.receivers, 1);
    daemon.start();
    daemon.rule("due", &[Clock::system().now() + TimeDelta::seconds(2)]);
    let n = || platform.sends().iter().filter(|send| matches!(send.outcome, Taken::Accepted { .. })).count();
    until_the_kill(scene, || n().saturating_sub(usize::try_from(platform.in_flight()).unwrap()));
    kill(daemon.pid());
    daemon.start();
    until_quiet(scene.quiet, n);
    world::until("every settlement is booked", || {
        daemon.json(&["occurrences", "list"]).iter().all(|row| row["state"] == "done")
    });
    let doubt = daemon.json(&["doubt", "list", "--reveal"]);
    let doubt: Vec<String> = doubt.iter().map(|row| text(&row["openid"])).collect();
    assert_eq!(daemon.json(&["fsck"])[0]["ok"], true);
    daemon.stop();
    let mut arrived = BTreeMap::new();
    for send in platform.sends() {
        if matches!(send.outcome, Taken::Accepted { .. }) {
            *arrived.entry(send.openid).or_default() += 1;
        }
    }
    runtime.block_on(sandbox.stop());
    Outcome::of(&receivers, &arrived, &doubt)
}

async fn sandbox(scene: Scene, receivers: &[String]) -> Sandbox {
    let app = sandbox::App { appid: APPID.to_owned(), secret: APP_SECRET.to_owned() };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯打卡提醒".to_owned(),
        kind: sandbox::TemplateKind::OneTime,
        fields: vec![sandbox::Field::new("thing1", "提醒内容")],
    };
    let options = sandbox::Options {
        answer_after: scene.answer_after,
        ..sandbox::Options::new(vec![app], vec![template])
    };
    let sandbox = Sandbox::start(options, Clock::system()).await.unwrap();
    for receiver in receivers {
        // Two, so that a second message would show as one.
        sandbox.platform().grant_many(APPID, receiver, TEMPLATE, 2).unwrap();
    }
    sandbox
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
