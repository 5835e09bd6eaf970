//! `tixing run`: opens the store, starts the daemon with its doors, and minds signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::reach;
use crate::admin::answer::{Exit, Failure as Told};
use crate::admin::control::Control;
use crate::admin::desk::Desk;
use crate::admin::server::{BindError, Door};
use crate::clock::Clock;
use crate::daemon::{Asker, Daemon, Failure, Outside, Setup, Shared};
use crate::domain::config::SecretSource;
use crate::domain::language::Language;
use crate::domain::zone::Release;
use crate::settings::{Environment, Secret};
use crate::systemd;
use crate::zoneinfo;

/// The daemon's world: secrets from where the configuration names them.
#[derive(Debug)]
pub(super) struct World(Environment);

impl World {
    pub(super) fn new(environment: Environment) -> Self {
        Self(environment)
    }
}

impl Outside for World {
    fn secret(&self, source: &SecretSource) -> Result<SecretString, String> {
        let Secret { value, warning } =
            self.0.secret(source).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        Ok(value)
    }

    fn zone_data(&self) -> Option<Release> {
        zoneinfo::read(&self.0.zone_folders())
    }
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// 75, 78 or 70, with the chain of causes.
pub(super) fn run(config: &Path, environment: Environment) -> Result<Exit, Told> {
    runtime()?.block_on(async {
        let (mut ended, hangup) = (Ended::listen()?, Hangup::listen()?);
        let store_at = super::load(config, Language::English)?.store;
        let Some(store) = reach::open_unless(&store_at, ended.wait()).await? else { return Ok(Exit::Done) };
        let outside = Arc::new(World::new(environment));
        let setup = Setup { config: config.to_owned(), outside, store, clock: Clock::system() };
        let mut daemon = Daemon::start(setup).await.map_err(told)?;
        open_admin(&mut daemon).await?;
        let beside = Beside::start(daemon.shared(), hangup);
        systemd::ready(&state(&daemon.shared()));
        let asked = async {
            ended.wait().await;
            systemd::stopping();
        };
        let result = daemon.run(asked).await;
        beside.stop().await;
        result.map_err(told)?;
        Ok(Exit::Done)
    })
}

/// A runtime for the daemon: as many workers as there are cores.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Told> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Told::new(Exit::Internal, format!("no runtime: {error}")))
}

/// Opens the operators' socket.
pub(super) async fn open_admin(daemon: &mut Daemon) -> Result<(), Told> {
    let shared = daemon.shared();
    let live = shared.current().get();
    let socket: &PathBuf = &live.config.admin.socket;
    let door = Door::bind(socket).await.map_err(|error| {
        let exit = match &error {
            BindError::Taken(_) => Exit::Store,
            BindError::Io { .. } => Exit::Config,
        };
        Told::new(exit, format!("{:#}", anyhow::Error::new(error)))
    })?;
    let control: Arc<dyn Control> = Arc::<Shared>::clone(&shared);
    let desk = Desk::new(
        Arc::clone(shared.store()),
        shared.current().clone(),
        shared.clock().clone(),
        Some(control),
    );
    daemon.add_door(|stop| door.serve(desk, stopped(stop)));
    Ok(())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A dropped sender is a daemon that is gone.
    let _stopped = stop.wait_for(|stop| *stop).await;
}

/// SIGTERM or SIGINT.
pub(super) struct Ended {
    terminate: Signal,
    interrupt: Signal,
}

impl Ended {
    pub(super) fn listen() -> Result<Self, Told> {
        let listen = || -> anyhow::Result<Self> {
            let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
            let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
            Ok(Self { terminate, interrupt })
        };
        listen().map_err(|error| Told::new(Exit::Internal, format!("{error:#}")))
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP, which ends whoever does not listen for it.
pub(super) struct Hangup(Signal);

impl Hangup {
    pub(super) fn listen() -> Result<Self, Told> {
        let listening = signal(SignalKind::hangup());
        listening
            .map(Self)
            .map_err(|error| Told::new(Exit::Internal, format!("cannot listen for SIGHUP: {error}")))
    }
}

/// Reloads on SIGHUP, and the service manager's heartbeat.
pub(super) struct Beside(JoinSet<()>);

impl Beside {
    pub(super) fn start(shared: Arc<Shared>, mut hangup: Hangup) -> Self {
        let mut tasks = JoinSet::new();
        let heartbeat = shared.heartbeat();
        let (mut reloads, mut health) = (shared.reloads(), shared.store().health());
        let mut trust = shared.clock().trust();
        let for_lines = Arc::clone(&shared);
        tasks.spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = reloads.changed() => changed,
                    changed = health.changed() => changed,
                    changed = trust.changed() => changed,
                };
                if changed.is_err() {
                    return; // a daemon that ends
                }
                systemd::status(&state(&for_lines));
            }
        });
        tasks.spawn(async move {
            while hangup.0.recv().await.is_some() {
                systemd::reloading();
                let _told_below = shared.reload(Asker::Signal).await;
                systemd::ready(&state(&shared));
            }
        });
        if let Some(every) = systemd::heartbeat() {
            tasks.spawn(async move { heartbeat.run(every, systemd::alive).await });
        }
        Self(tasks)
    }

    pub(super) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// The line of `systemctl status`.
fn state(shared: &Shared) -> String {
    let trouble = shared.store().health().borrow().trouble();
    let trouble = trouble.or_else(|| shared.clock_trouble());
    trouble.or_else(|| shared.last_reload().refusal()).unwrap_or_else(|| "reminders are sent".to_owned())
}

/// The exit code and the text of a daemon's failure.
pub(super) fn told(failure: Failure) -> Told {
    let exit = match &failure {
        Failure::Config(_) | Failure::Secret(_) | Failure::Client { .. } => Exit::Config,
        Failure::Listen { .. } | Failure::Store(_) => Exit::Store,
        Failure::Ended(_) => Exit::Internal,
    };
    Told::new(exit, format!("{:#}", anyhow::Error::new(failure)))
}

/// Runs the demo until a signal ends it: its page's address is the one line on stdout.
///
/// # Errors
/// 64, 75 or 70, with the chain of causes.
pub(super) fn demo(args: super::args::Demo, environment: Environment) -> Result<Exit, Told> {
    let state = args.state.or_else(|| environment.demo_state()).ok_or_else(|| {
        Told::new(Exit::Usage, "there is no folder for the demo's books: set HOME, or give --state DIR")
    })?;
    if args.listen.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(Told::new(
            Exit::Usage,
            "--listen: the demo page has no login; it listens on loopback only",
        ));
    }
    runtime()?.block_on(async {
        let (mut ended, hangup) = (Ended::listen()?, Hangup::listen()?);
        let options =
            super::demo::Options { state, listen: args.listen, outside: Arc::new(World::new(environment)) };
        let opened = super::demo::Demo::start(options, |path| {
            reach::open(path).map_err(|told| anyhow::anyhow!("{}", told.message))
        });
        let mut demo = opened.await.map_err(|error| Told::new(Exit::Store, format!("{error:#}")))?;
        open_admin(demo.daemon()).await?;
        let beside = Beside::start(demo.daemon().shared(), hangup);
        super::broken_pipe(super::print::say(&format!("http://{}/", demo.address)))?;
        let result = demo.run(ended.wait()).await;
        beside.stop().await;
        result.map_err(told)?;
        Ok(Exit::Done)
    })
}
