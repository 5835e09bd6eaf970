//! `tixing demo`: the real daemon against the sandbox, and a page with a phone.
//!
//! Nothing here is special to the demo but the phone: the daemon runs from a configuration file with
//! an embedded store, a tap goes through the same login and consent routes as in a mini program, visits are put by a signed
//! backend, and the sandbox pushes its events to the daemon's hook as WeChat does.
//! Daemon and sandbox keep their books in one folder, so a kill loses nothing.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::daemon::{Daemon, Outside, Setup};
use crate::domain::id::{AppId, OpenId};
use crate::domain::recipient::Profile;
use crate::hook::Secret;
use crate::sandbox::push::{Form, Mode};
use crate::sandbox::{self, Sandbox};
use crate::store::Store;

mod lasts;
mod page;
mod phone;

/// What the configuration calls its app.
const APP: &str = "demo";
/// The mini program of the demo.
const APPID: &str = "wxdemo0123456789ab";
/// Its template.
const TEMPLATE: &str = "HABITdemo0123456789abcdefghijklmnopqrstuvwx";
/// Where the page is when nobody asks for another address.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8765);

/// What a demo is started with.
#[derive(Debug)]
pub(super) struct Options {
    /// Where daemon and sandbox keep their books.
    pub(super) state: PathBuf,
    /// Where the page listens; by default port 8765 of loopback, or a free one when that is taken.
    pub(super) listen: Option<SocketAddr>,
    /// The world around.
    pub(super) outside: Arc<dyn Outside>,
}

/// A demo that is ready to run.
#[derive(Debug)]
pub(super) struct Demo {
    /// The page.
    pub(super) address: SocketAddr,
    daemon: Daemon,
    sandbox: Sandbox,
}

impl Demo {
    /// Starts sandbox, daemon and page.
    ///
    /// # Errors
    /// What cannot be written, opened or bound, with the thing and the cause.
    pub(super) async fn start(
        options: Options,
        open: impl FnOnce(&Path) -> anyhow::Result<Arc<dyn Store>>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let Options { state, listen, outside } = options;
        fs::create_dir_all(&state)
            .with_context(|| format!("cannot make the folder `{}`", state.display()))?;
        // The store's lock first: a second demo of the same folder must not write the files of the first.
        let store = open(&state.join("store"))?;
        let openid = kept(&state.join("person"), || Ok(format!("oDemo{}", random_hex(12)?)))?;
        let secret = kept(&state.join("secret"), || random_hex(16))?;
        // Hexadecimal digits are base64 too, here of 48 bytes.
        let hook_key = kept(&state.join("hook-key"), || Ok(format!("whsec_{}", random_hex(32)?)))?;
        let token = kept(&state.join("push-token"), || random_hex(16))?;
        let aes_key = kept(&state.join("push-key"), || Ok(random_hex(22)?.chars().take(43).collect()))?;
        let sandbox = start_sandbox(&state, secret, &clock).await?;
        let config = write_files(&state, &sandbox.base_url())?;
        let appid = AppId::parse(APPID)?;
        let person = OpenId::parse(&openid).context("the file `person` does not hold an openid")?;
        if store.recipient(&appid, &person)?.is_none() {
            let profile = Profile::default();
            store.put_recipient(appid.clone(), person.clone(), profile, clock.now().into()).await?;
        }
        let mut daemon = Daemon::start(Setup { config, outside, store, clock: clock.clone() }).await?;
        let listener = bind(listen).await?;
        let address = listener.local_addr().context("cannot learn the page's address")?;
        let platform = sandbox.platform();
        let hook_at = daemon.shared().hook_at().context("the hook does not listen")?;
        let (url, mode, form) = (format!("http://{hook_at}/wechat/{APP}"), Mode::Safe, Form::Json);
        let push = sandbox::Push { url, token, aes_key, mode, form };
        platform.set_push(APPID, Some(&push)).context("the sandbox does not push to the hook")?;
        let backend = Secret::parse(&hook_key).context("the file `hook-key` does not hold a key")?;
        let phone = phone::Phone {
            platform,
            daemon: daemon.shared(),
            appid,
            person,
            backend,
            clock,
            lasts: Arc::default(),
        };
        daemon.add_door(|stop| page::serve(listener, address, phone, stop));
        Ok(Self { address, daemon, sandbox })
    }

    /// The daemon, for further doors.
    pub(super) fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Runs until `ended` resolves.
    ///
    /// # Errors
    /// Why the daemon ended without being asked to.
    pub(super) async fn run(self, ended: impl Future<Output = ()>) -> Result<(), crate::daemon::Failure> {
        let result = self.daemon.run(ended).await;
        self.sandbox.stop().await;
        result
    }
}

async fn start_sandbox(state: &Path, secret: String, clock: &Clock) -> anyhow::Result<Sandbox> {
    let app = sandbox::App { appid: APPID.to_owned(), secret };
    let template = sandbox::Template {
        id: TEMPLATE.to_owned(),
        title: "习惯打卡提醒".to_owned(),
        kind: sandbox::TemplateKind::OneTime,
        fields: vec![
            sandbox::Field::new("thing1", "提醒内容"),
            sandbox::Field::new("time2", "提醒时间"),
            sandbox::Field::new("thing3", "温馨提示"),
        ],
    };
    let mut options = sandbox::Options::new(vec![app], vec![template]);
    options.books = Some(state.join("sandbox.jsonl"));
    Sandbox::start(options, clock.clone()).await.context("cannot start the sandbox")
}

/// Writes configuration and sample rules; both are made anew at each start, as the sandbox's port changes.
fn write_files(state: &Path, base_url: &str) -> anyhow::Result<PathBuf> {
    let config = state.join("tixing.yaml");
    let text = format!(
        "# Made by `tixing demo` at each start.\n\
         apps:\n  {APP}:\n    appid: {APPID}\n    secret: {{ file: secret }}\n    base_url: {base_url}\n    \
         push: {{ token: {{ file: push-token }}, aes_key: {{ file: push-key }} }}\n    \
         templates:\n      habit: {{ id: {TEMPLATE}, kind: one_time, fields: [thing1, time2, thing3] }}\n\
         schedules: schedules\nstore: sled:store\nhook:\n  listen: 127.0.0.1:0\n  \
         keys: [{{ id: backend, secret: {{ file: hook-key }}, apps: [{APP}] }}]\nadmin: {{ socket: admin.sock }}\n"
    );
    let rules = "# The sample rules of `tixing demo`: every 15 seconds, and 20 seconds before each visit.\n\
        timezone: Asia/Shanghai\nrules:\n  drink-water:\n    template: habit\n    when: { cron: \"*/15 * * * * *\" }\n    \
        data:\n      thing1: 喝水时间到\n      time2: \"{{ due | local('%Y-%m-%d %H:%M:%S') }}\"\n      thing3: 喝一杯水，活动一下\n    \
        grace: 1m\n  visit-soon:\n    template: habit\n    when: { before: 20s, of: visit }\n    \
        data:\n      thing1: \"{{ appointment.doctor }}门诊\"\n      time2: \"{{ appointment.at | local('%Y-%m-%d %H:%M:%S') }}\"\n      \
        thing3: 请携带就诊卡\n";
    let schedules = state.join("schedules");
    fs::create_dir_all(&schedules)
        .with_context(|| format!("cannot make the folder `{}`", schedules.display()))?;
    for (path, text) in [(config.clone(), text.as_str()), (schedules.join("demo.yaml"), rules)] {
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(config)
}

/// The text of a file that only its owner reads; made when it is not there.
fn kept(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
    let text = make()?;
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(text)
}

fn random_hex(n: usize) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = vec![0; n];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    let mut text = String::with_capacity(2 * n);
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

async fn bind(listen: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    match listen {
        Some(address) => {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        }
        None => match TcpListener::bind(ADDRESS).await {
            Ok(listener) => Ok(listener),
            Err(_taken) => {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")
            }
        },
    }
}
