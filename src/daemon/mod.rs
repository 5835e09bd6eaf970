//! Wires the rooms together, starts them in order, and stops them in order.
//!
//! The only place that decides what runs: every task is in one set and is awaited at stop. It reads
//! no environment and prints nothing; secrets, readiness messages and signals come from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::admin::control::{AppState, ClockState, Control, Reloaded, StatusParts};
use crate::clock::Clock;
use crate::domain::config::{App, Config, SecretSource};
use crate::domain::hold::WAY_OUT;
use crate::domain::id::{AppName, RuleId};
use crate::domain::pause::{Pause, Scope};
use crate::domain::zone::Release;
use crate::flow::bell::Bell;
use crate::flow::books::Books;
use crate::flow::brake::Brake;
use crate::flow::housekeeping::{self, Housekeeping};
use crate::flow::intake::memory::Memory;
use crate::flow::intake::{Intake, sources, warning};
use crate::flow::live::{Current, Live};
use crate::flow::pause::{HeldOccurrence, Pauses};
use crate::flow::pulse::Pulse;
use crate::flow::quota::Quotas;
use crate::flow::templates::Templates;
use crate::hook;
use crate::rules::Diagnostics;
use crate::store::{Store, Unavailable};
use crate::wechat;

mod flows;
mod heartbeat;
mod keys;
mod lookout;
mod reload;
mod zones;

pub use flows::{Flows, Parts};
pub use heartbeat::Heartbeat;
pub use reload::Asker;

/// What the daemon needs from the world around it.
pub trait Outside: fmt::Debug + Send + Sync {
    /// Resolves a secret.
    ///
    /// # Errors
    /// A sentence that names the source and the fix, never the value.
    fn secret(&self, source: &SecretSource) -> Result<SecretString, String>;

    /// The system's zone data as they are now; `None` where there are none, and what is in force stays.
    ///
    /// Blocking.
    fn zone_data(&self) -> Option<Release> {
        None
    }
}

/// What a daemon is started with.
#[derive(Debug)]
pub struct Setup {
    /// `tixing.yaml`.
    pub config: PathBuf,
    /// The world around.
    pub outside: Arc<dyn Outside>,
    /// The opened store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
}

/// Why a daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used (78).
    #[error("the configuration cannot be used:\n{0}")]
    Config(Diagnostics),
    /// A secret is missing or malformed (78).
    #[error("{0}")]
    Secret(String),
    /// A client cannot be made of it (78).
    #[error("the platform client of app {app} cannot be made")]
    Client {
        /// Which app.
        app: AppName,
        /// Why.
        source: wechat::BuildError,
    },
    /// An address is taken or not ours (75).
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot promise (75).
    #[error("the store failed; nothing more is promised or sent")]
    Store(#[from] Unavailable),
    /// A part ended that never should (70).
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// A daemon that runs.
pub struct Daemon {
    shared: Arc<Shared>,
    hook_at: SocketAddr,
    flows: Flows,
    doors: JoinSet<()>,
    stop: watch::Sender<bool>,
    jobs: Option<tokio_cron_scheduler::JobScheduler>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("hook_at", &self.hook_at).finish_non_exhaustive()
    }
}

/// What doors and signals of a running daemon share.
#[derive(Debug)]
pub struct Shared {
    setup: Setup,
    current: Current,
    keys: hook::Keys,
    reloaded: Arc<Notify>,
    /// Rung when something was opened, stopped or released.
    opened: Bell,
    last_reload: watch::Sender<Reloaded>,
    /// The files as they were when they were last read.
    seen: Mutex<reload::Seen>,
    /// What was in force before changes that nobody was told of.
    untold: Mutex<Option<reload::Untold>>,
    /// The last reload, while the store keeps the scheduler from planning by it.
    unplanned: Mutex<Option<reload::Unplanned>>,
    /// Why apps do not send, by the senders themselves.
    pauses: BTreeMap<AppName, Pauses>,
    /// What does not send.
    brake: Brake,
    /// What housekeeping found of the books.
    books: Books,
    /// What the platform said of the apps' quotas.
    quotas: Quotas,
    /// The templates as the platform lists them.
    templates: Templates,
    /// What the hook keeps of people in memory alone.
    memory: Memory,
    /// The scheduler's looks.
    pulse: Pulse,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    hook_at: Mutex<Option<SocketAddr>>,
    started_at: DateTime<Utc>,
}

impl Daemon {
    /// Starts everything: recovery is durable before the first task runs.
    ///
    /// # Errors
    /// [`Failure`]; nothing runs then.
    pub async fn start(setup: Setup) -> Result<Self, Failure> {
        setup.clock.remember(housekeeping::clock_mark(&*setup.store)?);
        let now = setup.clock.now();
        // Before the files are read, so that their zones carry them.
        zones::begin(&*setup.outside);
        let reload::First { config, rules: set, reloaded: first, seen } =
            reload::First::read(&setup.config, now)?;
        let clients = clients(&config, &*setup.outside, &setup.clock, None)?;
        let pushes = keys::push_keys(&config, &*setup.outside)?;
        let keys = hook::Keys::new(keys::hook_keys(&config, &*setup.outside)?);
        let sources = sources::follow(&*setup.store, &config, setup.clock.reckoned()).await?;
        let session_key = keys::kept_or_made(&*setup.store, "session_key").await?;
        keys::kept_or_made(&*setup.store, "mask_key").await?;
        keys::kept_or_made(&*setup.store, "erasure_key").await?;
        let listener = TcpListener::bind(config.hook.listen)
            .await
            .map_err(|source| Failure::Listen { address: config.hook.listen.to_string(), source })?;
        let hook_at = listener
            .local_addr()
            .map_err(|source| Failure::Listen { address: config.hook.listen.to_string(), source })?;
        let brake = Brake::of_store(Arc::clone(&setup.store), now)?;
        brake.reconsider(&set, now);
        let templates = Templates::of_store(Arc::clone(&setup.store), brake.clone())?;
        templates.judge(&[(&config, &set)], now).await?;
        let live_apps: Vec<AppName> = config.apps.keys().cloned().collect();
        let current =
            Current::new(Live { generation: 1, at: now, config, rules: set, clients, pushes, sources });
        let shared = Arc::new(Shared {
            current: current.clone(),
            keys: keys.clone(),
            reloaded: Arc::new(Notify::new()),
            opened: Bell::default(),
            last_reload: watch::Sender::new(first),
            seen: Mutex::new(seen),
            untold: Mutex::new(None),
            unplanned: Mutex::new(None),
            pauses: live_apps.into_iter().map(|app| (app, Pauses::default())).collect(),
            brake,
            books: Books::default(),
            quotas: Quotas::default(),
            templates,
            memory: Memory::default(),
            pulse: Pulse::default(),
            reloading: tokio::sync::Mutex::new(()),
            hook_at: Mutex::new(Some(hook_at)),
            started_at: now,
            setup,
        });
        let flows = Flows::start(shared.parts()).await?;
        let mut daemon = Self {
            shared,
            hook_at,
            flows,
            doors: JoinSet::new(),
            stop: watch::Sender::new(false),
            jobs: None,
        };
        daemon.open_hook(listener, &current, session_key);
        let shared = daemon.shared();
        daemon.until_stop(async move { lookout::watch(shared).await });
        let housekeeping = Housekeeping {
            store: Arc::clone(&daemon.shared.setup.store),
            current,
            clock: daemon.shared.setup.clock.clone(),
            zones: Arc::<Shared>::clone(&daemon.shared),
            books: daemon.shared.books.clone(),
            quotas: daemon.shared.quotas.clone(),
            templates: daemon.shared.templates.clone(),
        };
        let at_start = housekeeping.clone();
        daemon.doors.spawn(async move { at_start.all().await });
        let after_steps = housekeeping.clone();
        daemon.until_stop(async move { after_steps.follow_steps().await });
        let (after_erasures, memory) = (housekeeping.clone(), daemon.shared.memory.clone());
        daemon.until_stop(async move { after_erasures.follow_erasures(memory).await });
        match housekeeping.start().await {
            Ok(jobs) => daemon.jobs = Some(jobs),
            Err(error) => warn!("Housekeeping does not run: {error}"),
        }
        info!(hook.address = %hook_at, "The hook listens on {hook_at}");
        Ok(daemon)
    }

    fn open_hook(&mut self, listener: TcpListener, current: &Current, session_key: [u8; 32]) {
        let Setup { store, clock, .. } = &self.shared.setup;
        let live = current.get();
        let door = hook::Door {
            intake: Intake::new(Arc::clone(store), current.clone(), clock.clone(), self.shared.brake.clone())
                .remembering(self.shared.memory.clone()),
            keys: self.shared.keys.clone(),
            session_key: hook::SessionKey::new(session_key),
            clock: clock.clone(),
        };
        let options = hook::Options {
            trusted_proxies: live.config.hook.trusted_proxies.clone(),
            ..hook::Options::default()
        };
        let mut stop = self.stop.subscribe();
        let stopped = async move {
            // A dropped sender is a daemon that is gone: the door closes as well.
            let _stopped = stop.wait_for(|stop| *stop).await;
        };
        self.doors.spawn(hook::serve(listener, options, door, stopped));
    }

    /// Runs what has no end of its own until the daemon stops.
    fn until_stop(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        self.doors.spawn(async move {
            tokio::select! {
                // A dropped sender is a daemon that is gone.
                _stopped = stop.wait_for(|stop| *stop) => {}
                () = work => {}
            }
        });
    }

    /// What doors and signals share.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Adds a door that ends when the daemon stops: it is handed the stop signal.
    pub fn add_door<F>(&mut self, door: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let door = door(self.stop.subscribe());
        self.doors.spawn(door);
    }

    /// Runs until `ended` resolves or a part fails that never should, then stops: no new requests, those in
    /// flight end, marked deliveries that never started are given back, hook answers finish.
    ///
    /// A store that fails is no end: nothing is sent until it works again, and the doors say so.
    ///
    /// # Errors
    /// [`Failure`]: why it ended without being asked to.
    pub async fn run(mut self, ended: impl Future<Output = ()>) -> Result<(), Failure> {
        let failure = tokio::select! {
            () = ended => None,
            failure = self.flows.run() => Some(failure),
        };
        if let Some(failure) = &failure {
            error!("The daemon ends: {failure}");
        } else {
            info!("The daemon stops");
        }
        self.stop.send_replace(true);
        self.flows.end().await;
        while self.doors.join_next().await.is_some() {}
        if let Some(mut jobs) = self.jobs.take()
            && let Err(error) = jobs.shutdown().await
        {
            warn!("Housekeeping did not stop cleanly: {error}");
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        // Who is asked to stop while the disk is away stops as asked: a start finds out what is on it.
        if self.leave_nothing_unsynced().await.is_err() {
            warn!("The store does not work at the stop: what was marked is in doubt at the next start");
        }
        Ok(())
    }

    async fn leave_nothing_unsynced(&self) -> Result<(), Unavailable> {
        let store = &self.shared.setup.store;
        if let Some(mark) = self.shared.setup.clock.mark() {
            housekeeping::mark_clock(&**store, mark).await?;
        }
        store.wait(store.decided()).await
    }
}

impl Shared {
    fn parts(&self) -> Parts {
        Parts {
            store: Arc::clone(&self.setup.store),
            current: self.current.clone(),
            clock: self.setup.clock.clone(),
            brake: self.brake.clone(),
            reloaded: Arc::clone(&self.reloaded),
            opened: self.opened.clone(),
            pulse: self.pulse.clone(),
            pauses: self.pauses.clone(),
        }
    }

    /// The generation in force.
    #[must_use]
    pub fn current(&self) -> &Current {
        &self.current
    }

    /// What is left of the apps' quotas.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The templates as the platform lists them.
    #[must_use]
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The books.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.setup.store
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.setup.clock
    }

    /// Why the wall clock is not believed; `None` while it is.
    #[must_use]
    pub fn clock_trouble(&self) -> Option<String> {
        housekeeping::clock_trouble(self.setup.clock.trust().borrow().standing)
    }

    /// Where the hook listens.
    #[must_use]
    pub fn hook_at(&self) -> Option<SocketAddr> {
        *self.hook_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A heartbeat that follows from what the daemon gets done.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(Arc::clone(&self.setup.store), self.setup.clock.clone(), self.pulse.clone())
    }

    /// When the daemon started.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// What became of the last reload, the load at start included.
    #[must_use]
    pub fn last_reload(&self) -> Reloaded {
        self.last_reload.borrow().clone()
    }

    /// Tells of each reload as it ends.
    #[must_use]
    pub fn reloads(&self) -> watch::Receiver<Reloaded> {
        self.last_reload.subscribe()
    }

    fn config_path(&self) -> &Path {
        &self.setup.config
    }
}

impl Control for Shared {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>> {
        Box::pin(self.reload(Asker::Operator))
    }

    fn books(&self) -> &Books {
        &self.books
    }

    fn brake(&self) -> &Brake {
        &self.brake
    }

    fn templates(&self) -> &Templates {
        &self.templates
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn undefined(&self) -> BTreeMap<AppName, u64> {
        self.pauses.iter().map(|(app, told)| (app.clone(), told.n_undefined())).collect()
    }

    fn held(&self) -> Vec<HeldOccurrence> {
        self.pauses.values().flat_map(Pauses::held).collect()
    }

    fn try_again(&self, app: Option<&AppName>) {
        for (_, pauses) in self.pauses.iter().filter(|(name, _)| app.is_none_or(|app| app == *name)) {
            pauses.try_again();
        }
    }

    fn look(&self) {
        self.opened.ring();
    }

    fn status(&self) -> StatusParts {
        let live = self.current.get();
        let reload = self.last_reload();
        let pauses = self.brake.pauses();
        let paused = |scope: &Scope| pauses.iter().find(|pause| pause.scope == *scope).map(Pause::to_string);
        let apps: BTreeMap<AppName, AppState> = live
            .config
            .apps
            .values()
            .map(|app| {
                let ordered = paused(&Scope::App(app.appid.clone()))
                    .map(|pause| format!("{pause}; `tixing resume --app {}` ends it", app.name));
                // What is left when the operator's own is over comes as no surprise.
                let own = self.pauses.get(&app.name).and_then(Pauses::reason);
                let reason: Vec<String> = ordered.into_iter().chain(own).collect();
                let state = if reason.is_empty() {
                    AppState::Sending
                } else {
                    AppState::Paused(reason.join("; and "))
                };
                (app.name.clone(), state)
            })
            .collect();
        let mut held_rules: Vec<(RuleId, String)> = pauses
            .iter()
            .filter_map(|pause| match &pause.scope {
                Scope::Rule(rule) => Some((rule.clone(), pause.to_string())),
                Scope::Everything | Scope::App(_) => None,
            })
            .collect();
        let paused = paused(&Scope::Everything);
        let held_occurrences = self.held();
        // A store that does not work says so itself.
        let hold = self.setup.store.hold().ok().flatten().map(|hold| hold.to_string());
        let mut needs_attention: Vec<String> =
            hold.iter().map(|hold| format!("nothing is sent: {hold}; {WAY_OUT}")).collect();
        let of_pause = |pause| format!("nothing is sent: {pause}; `tixing resume` ends it");
        needs_attention.extend(paused.as_ref().map(of_pause));
        let hold = hold.or(paused);
        needs_attention.extend(held_rules.iter().map(|(rule, reason)| {
            format!("rule {rule} does not send: {reason}; `tixing resume --rule {rule}` ends it")
        }));
        for rejection in self.brake.rejections() {
            let (rule, cure) = (&rejection.rule, rejection.cure());
            needs_attention.push(format!("rule {rule} does not send: {rejection}; {cure}"));
            held_rules.push((rule.clone(), rejection.to_string()));
        }
        for HeldOccurrence { rule, due_at, reason, .. } in held_occurrences {
            let due_at = due_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let told = format!("its reminder of {due_at} is held: {reason}");
            needs_attention
                .push(format!("rule {rule}: {told}; `tixing release --rule {rule}` lets it go on"));
            held_rules.push((rule, told));
        }
        let quotas = self.quotas.of_today(&live, self.setup.clock.reckoned());
        for (name, (quota, _)) in &quotas {
            needs_attention.extend(quota.trouble().map(|trouble| format!("app {name}: {trouble}")));
        }
        for (name, client) in &live.clients {
            needs_attention.extend(client.rival().map(|rival| format!("app {name}: {rival}")));
        }
        for (name, state) in &apps {
            if let AppState::Paused(reason) = state {
                needs_attention.push(format!("app {name} does not send: {reason}"));
            }
        }
        let now = self.setup.clock.reckoned();
        let of_app = |app| {
            let warning = warning::trouble(&*self.setup.store, app, now);
            warning.into_iter().chain(self.memory.trouble(app, now)).collect::<Vec<_>>()
        };
        needs_attention.extend(live.config.apps.values().flat_map(of_app));
        needs_attention.extend(reload.refusal());
        needs_attention.extend(self.books.trouble());
        let store = self.setup.store.health().borrow().trouble();
        let clock = self.clock_trouble();
        let ready = store.is_none() && clock.is_none();
        let clock_state = if clock.is_none() { ClockState::Ok } else { ClockState::Behind };
        needs_attention.extend(store);
        needs_attention.extend(clock);
        StatusParts {
            ready,
            hold,
            needs_attention,
            apps,
            quotas,
            held_rules,
            clock: clock_state,
            zone_data: Release::in_force().to_string(),
            reload,
            generation: live.generation,
            hook: self.hook_at(),
        }
    }
}

/// A platform client for each app; one whose app did not change keeps its access token.
fn clients(
    config: &Config,
    outside: &dyn Outside,
    clock: &Clock,
    old: Option<&Live>,
) -> Result<BTreeMap<AppName, wechat::Client>, Failure> {
    config
        .apps
        .values()
        .map(|app| {
            let client = client(app, outside, clock, old)?;
            Ok((app.name.clone(), client))
        })
        .collect()
}

fn client(
    app: &App,
    outside: &dyn Outside,
    clock: &Clock,
    old: Option<&Live>,
) -> Result<wechat::Client, Failure> {
    let secret = outside.secret(&app.secret).map_err(Failure::Secret)?;
    let options = wechat::Options::of(app, secret);
    let kept = old.and_then(|old| old.clients.get(&app.name)).filter(|client| client.is_for(&options));
    match kept {
        Some(client) => Ok(client.clone()),
        None => wechat::Client::new(options, clock.clone())
            .map_err(|source| Failure::Client { app: app.name.clone(), source }),
    }
}
