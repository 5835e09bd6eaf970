//! One life of a daemon: the shipped flows over the shipped ledger, from an opened disk to the end of a history.
//!
//! All tasks run in one thread, and the driver here acts only when nothing moves by itself: it lets an answer
//! come back, a person tap, or time pass. A crash needs no act: what the disk could hold after it is a start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tixing::clock::Clock;
use tixing::daemon::{Flows, Parts};
use tixing::domain::config::{Config, RuleSet};
use tixing::domain::id::ReportId;
use tixing::flow::bell::Bell;
use tixing::flow::brake::Brake;
use tixing::flow::intake::{Intake, ReportIn, Said, Speaker};
use tixing::flow::live::{Current, Live};
use tixing::flow::pulse::Pulse;
use tixing::store::Store;
use tixing::store::ledger::{Ledger, Write};
use tixing::wechat::{Client, Options};
use tokio::task::JoinSet;

use super::odometer::{Effect, Known, Life, Odometer, Run, Start, Traced};
use super::platform::{Platform, Truth};
use super::promises::{self, Proofs};
use super::scene::{self, Scene};
use crate::disk::{Act, Disk};

/// Most acts of the driver in one life; a history that needs more hangs.
const MAX_ACTS: usize = 500;

/// What every life of a scene is made of.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) scene: Arc<Scene>,
    pub(super) known: Known,
    proofs: Proofs,
    config: Config,
    rules: RuleSet,
}

/// A daemon that lives.
struct Daemon {
    scene: Arc<Scene>,
    store: Arc<Ledger>,
    clock: Clock,
    platform: Platform,
    odometer: Odometer,
    intake: Intake,
    proofs: Proofs,
    flows: JoinSet<String>,
}

impl Stage {
    pub(super) fn new(scene: Scene) -> Self {
        let (config, rules) = (scene.config(), scene.rules());
        let (known, proofs) = (Known::default(), Proofs::default());
        Self { scene: Arc::new(scene), known, proofs, config, rules }
    }

    /// The start of all histories: reports were acknowledged long ago, and the daemon knows its rule.
    pub(super) async fn beginning(&self) -> Start {
        let scene = &self.scene;
        let (disk, at) = (Disk::new(), scene::eight(-60));
        let start = Start { content: disk.content(), truth: Truth::new(scene), at, path: String::new() };
        let odometer = Odometer::new(self, &start, Life::default(), Clock::by_hand(at), Traced::No);
        let mut daemon = self.open(&start, odometer, Clock::by_hand(at), &disk);
        for person in 0..scene.people.len() {
            for n in 0..scene.consents[person] {
                daemon.tap(person);
                daemon.report(person, &format!("early-{n}")).await.unwrap();
            }
        }
        daemon.begin().await;
        daemon.calm().await;
        daemon.store.wait(daemon.store.decided()).await.unwrap();
        let truth = daemon.end(&disk).await.truth;
        Start { content: disk.content(), truth, at: scene::eight(-1), path: String::new() }
    }

    fn open(&self, start: &Start, odometer: Odometer, clock: Clock, disk: &Disk) -> Daemon {
        let (scene, proofs) = (Arc::clone(&self.scene), self.proofs.clone());
        let store = Arc::new(Ledger::start_here(disk.place(), &clock).unwrap());
        let platform =
            Platform::new(Arc::clone(&scene), odometer.clone(), clock.clone(), disk.clone(), proofs);
        let config = self.config.clone();
        let app = config.apps[&scene::app()].clone();
        let options = Options::of(&app, SecretString::from("SECRET"));
        let client = Client::over(options, clock.clone(), Arc::new(platform.clone())).unwrap();
        let clients = BTreeMap::from([(scene::app(), client)]);
        let live = Live {
            generation: 1,
            at: start.at,
            config,
            rules: self.rules.clone(),
            clients,
            pushes: BTreeMap::new(),
            sources: std::collections::BTreeMap::new(),
        };
        let current = Current::new(live);
        let shared: Arc<dyn Store> = Arc::<Ledger>::clone(&store);
        let brake = Brake::of_store(Arc::clone(&shared), start.at).unwrap();
        let intake = Intake::new(shared, current, clock.clone(), brake);
        let flows = JoinSet::new();
        let proofs = self.proofs.clone();
        Daemon { scene, store, clock, platform, odometer, intake, proofs, flows }
    }

    /// The start that a crash has left, held against the promises.
    pub(super) async fn after_crash(&self, start: Start) -> Result<Start, String> {
        let truth = self.proofs.crash(&start.content, start.truth, &self.scene).await?;
        Ok(Start { truth, ..start })
    }

    /// Lives once, from `start` with these choices.
    pub(super) async fn live(&self, start: &Start, given: Life, traced: Traced) -> Run {
        let clock = Clock::by_hand(start.at);
        let odometer = Odometer::new(self, start, given, clock.clone(), traced);
        let disk = Disk::with(start.content.clone());
        let mut daemon = self.open(start, odometer.clone(), clock.clone(), &disk);
        let witness = odometer.clone();
        disk.seen_by(Some(Arc::new(move |act, images| {
            let effect = match act {
                Act::Apply => Effect::Applied,
                Act::Sync => Effect::Synced,
                Act::Open | Act::Read => return,
            };
            witness.effect(effect, &images, || keys(images.written));
        })));
        daemon.begin().await;
        daemon.act(&disk).await;
        daemon.end(&disk).await
    }
}

/// The keys of a batch, by their first letters, and a hash of it all.
fn keys(written: &[Write]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    written.hash(&mut hash);
    let letters: String =
        written.iter().filter_map(|(key, _)| key.first()).copied().map(char::from).collect();
    if letters.is_empty() { "all".to_owned() } else { format!("{letters} {:04x}", hash.finish() >> 48) }
}

impl Daemon {
    /// Starts the flows as the daemon does.
    async fn begin(&mut self) {
        let store = Arc::<Ledger>::clone(&self.store);
        let Ok(brake) = Brake::of_store(store, self.clock.now()) else {
            return self.odometer.violated("the pauses cannot be read".to_owned());
        };
        let parts = Parts {
            store: Arc::<Ledger>::clone(&self.store),
            brake,
            current: self.intake.current().clone(),
            clock: self.clock.clone(),
            reloaded: Arc::default(),
            opened: Bell::default(),
            pulse: Pulse::default(),
            pauses: BTreeMap::new(),
        };
        match Flows::start(parts).await {
            Ok(mut flows) => drop(self.flows.spawn(async move { flows.run().await.to_string() })),
            Err(failed) => self.odometer.violated(format!("the flows do not start: {failed}")),
        }
    }

    /// Acts whenever nothing moves, until everything is over.
    async fn act(&mut self, disk: &Disk) {
        let mut acts = 0;
        loop {
            self.calm().await;
            acts += 1;
            if self.odometer.is_over() {
                return;
            }
            if let Some(ended) = self.flows.try_join_next() {
                let why = ended.unwrap_or_else(|error| error.to_string());
                return self.odometer.violated(format!("the flows ended: {why}"));
            }
            if acts > MAX_ACTS {
                return self.odometer.violated("it never ends".to_owned());
            }
            if self.tap_if_due().await || self.platform.answer() {
                continue;
            }
            let Some(wait) = self.next() else { break };
            self.clock.advance(wait);
        }
        // What the audit syncs is no part of the history.
        disk.seen_by(None);
        let truth = self.odometer.look(Truth::clone);
        let print = disk.images(|images| images.prints.last().copied().unwrap_or_default());
        self.odometer.tell(|| format!("the end: {}", promises::story(&*self.store, &self.scene)));
        if let Err(violation) = self.proofs.end(&*self.store, print, &truth, &self.scene).await {
            self.odometer.violated(violation);
        }
    }

    /// How long nothing happens: until the next due time, and a second while something is open; `None` at the end.
    fn next(&self) -> Option<Duration> {
        let now = self.clock.now();
        let open = self.store.unfinished().is_ok_and(|open| !open.is_empty());
        let mut due = self.scene.dues.iter().filter(|due| **due > now);
        match (open, due.next()) {
            (true, _) => Some(Duration::from_secs(1)),
            (false, Some(due)) => (*due - now).to_std().ok(),
            // What shall be sent again is to be looked at then.
            (false, None) => {
                let again = self.store.wakes(None, DateTime::<Utc>::MAX_UTC, 1).ok()?;
                let wait = again.first().map(|wake| (wake.at - now).to_std().unwrap_or_default());
                wait.map(|wait| wait.max(Duration::from_secs(1)))
            }
        }
    }

    /// Who taps when the first reminder is due taps once, and reports until it is acknowledged.
    async fn tap_if_due(&self) -> bool {
        let Some(person) = self.scene.taps else { return false };
        if self.clock.now() < self.scene.dues[0] {
            return false;
        }
        let taps = self.scene.consents[person] + 1;
        let known = self.odometer.look(|truth| truth.people[person]);
        if known.acknowledged == taps {
            return false;
        }
        if known.tapped < taps {
            self.tap(person);
        }
        match self.report(person, "late").await {
            Ok(()) => true,
            Err(why) => {
                self.odometer.violated(why);
                true
            }
        }
    }

    fn tap(&self, person: usize) {
        self.odometer.truth(|truth| truth.people[person].tapped += 1);
    }

    /// The mini program reports an acceptance; on return it is acknowledged.
    async fn report(&self, person: usize, id: &str) -> Result<(), String> {
        let report = ReportIn {
            id: ReportId::parse(id).unwrap(),
            said: Said::Results(BTreeMap::from([(
                scene::template().as_str().to_owned(),
                "accept".to_owned(),
            )])),
            age_s: 0,
            bound_to: None,
            unionid: None,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            time_zone: None,
        };
        let openid = &self.scene.people[person];
        let out = self.intake.report(&scene::app(), openid, Speaker::Backend, report, self.clock.now()).await;
        let out = out.map_err(|error| format!("a report was refused: {error}"))?;
        if !out.ignored.is_empty() {
            return Err(format!("a report was ignored: {:?}", out.ignored));
        }
        self.odometer
            .tell(|| format!("a report is acknowledged{}", if out.duplicate { ", again" } else { "" }));
        self.odometer.truth(|truth| truth.people[person].acknowledged += 1);
        Ok(())
    }

    /// Waits until nothing moves by itself.
    async fn calm(&self) {
        let (mut seen, mut calm) = (self.odometer.moves(), 0);
        while calm < 3 {
            // Every task that can run does, before this one goes on.
            tokio::task::yield_now().await;
            let now = self.odometer.moves();
            calm = if now == seen { calm + 1 } else { 0 };
            seen = now;
        }
    }

    /// Ends everything as a crash does, and answers what was seen.
    async fn end(mut self, disk: &Disk) -> Run {
        let run = self.odometer.clone().end();
        disk.seen_by(None);
        self.flows.shutdown().await;
        // Tasks of tasks hear of it one after the other.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        run
    }
}
