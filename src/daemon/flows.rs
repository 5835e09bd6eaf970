//! The flows that send: started together, ended together, and begun again after the store was away.
//!
//! While the store does not work no flow runs, and beginning again is what a start is: what is still
//! attempting becomes in doubt, then the walks take up what is reserved. The doors are not here: they
//! answer on their own that nothing is promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

use super::Failure;
use crate::clock::Clock;
use crate::domain::hold::WAY_OUT;
use crate::domain::id::AppName;
use crate::flow::bell::Bell;
use crate::flow::brake::Brake;
use crate::flow::dispatch::{Dispatch, FEED_QUEUE, Signals};
use crate::flow::fanout::Fanout;
use crate::flow::live::Current;
use crate::flow::pause::Pauses;
use crate::flow::pulse::Pulse;
use crate::flow::recovery;
use crate::flow::repeats::Repeats;
use crate::flow::scheduler::{self, Scheduler};
use crate::store::{Health, Store, Unavailable};

/// How long after flows that could not begin again they are begun once more, while the store says that it works.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// What the flows that send work with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The books.
    pub store: Arc<dyn Store>,
    /// Configuration, rules and clients.
    pub current: Current,
    /// The time.
    pub clock: Clock,
    /// What does not send.
    pub brake: Brake,
    /// Rung when a reload put another generation in force.
    pub reloaded: Arc<Notify>,
    /// Rung when something was opened, stopped or released.
    pub opened: Bell,
    /// The scheduler's looks.
    pub pulse: Pulse,
    /// Why apps do not send, by the senders themselves.
    pub pauses: BTreeMap<AppName, Pauses>,
}

/// Flows that run, or rest. The daemon's own, also where a test has no more of a daemon than these.
#[derive(Debug)]
pub struct Flows {
    parts: Parts,
    tasks: JoinSet<(&'static str, Result<(), Unavailable>)>,
    senders: JoinSet<(&'static str, Result<(), Unavailable>)>,
    stop: watch::Sender<bool>,
    /// Everything is on hold: none of them runs until somebody has released it.
    on_hold: bool,
}

impl Flows {
    /// Starts all of them. What was attempting is durably in doubt before the first one runs.
    ///
    /// # Errors
    /// [`Unavailable`]: none of them runs.
    pub async fn start(parts: Parts) -> Result<Self, Unavailable> {
        let (tasks, senders) = (JoinSet::new(), JoinSet::new());
        let mut flows = Self { parts, tasks, senders, stop: watch::Sender::new(false), on_hold: false };
        flows.begin().await?;
        Ok(flows)
    }

    async fn begin(&mut self) -> Result<(), Unavailable> {
        let Parts { store, current, clock, brake, reloaded, opened, pulse, pauses } = &self.parts;
        recovery::recover(&**store, clock.reckoned()).await?;
        brake.keep_again().await?;
        if let Some(hold) = store.hold()? {
            if !self.on_hold {
                error!("Nothing is sent: {hold}; {WAY_OUT}");
            }
            self.on_hold = true;
            return scheduler::begin_all(store, &current.get(), clock.now()).await;
        }
        self.on_hold = false;
        let mut scheduler = Scheduler::new(
            Arc::clone(store),
            current.clone(),
            clock.clone(),
            Arc::clone(reloaded),
            opened.clone(),
        )
        .felt_by(pulse.clone());
        // Before anything is sent: what a rule left open that is gone since is cancelled.
        scheduler.look().await?;
        self.stop = watch::Sender::new(false);
        for app in current.get().config.apps.values() {
            let told = pauses.get(&app.name).cloned().unwrap_or_default();
            let (feed, fed) = mpsc::channel(FEED_QUEUE);
            let fanout = Fanout {
                app: app.appid.clone(),
                store: Arc::clone(store),
                clock: clock.clone(),
                brake: brake.clone(),
                told: told.clone(),
                opened: opened.clone(),
                feed,
            };
            self.tasks.spawn(async move { ("a fan-out", fanout.run().await) });
            let dispatch = Dispatch::new(
                app.name.clone(),
                app.appid.clone(),
                Arc::clone(store),
                current.clone(),
                clock.clone(),
                Signals { brake: brake.clone(), told, opened: opened.clone() },
            );
            let stop = self.stop.subscribe();
            self.senders.spawn(async move { ("a sender", dispatch.run(fed, stop).await) });
        }
        let repeats = Repeats::new(
            Arc::clone(store),
            current.clone(),
            clock.clone(),
            brake.clone(),
            pauses.clone(),
            opened.clone(),
        );
        self.tasks.spawn(async move { ("the repetitions", repeats.run().await) });
        self.tasks.spawn(async move { ("the scheduler", scheduler.run().await) });
        Ok(())
    }

    /// Runs them for as long as the store lets them, again and again; answers when a part ends that never should.
    pub async fn run(&mut self) -> Failure {
        let mut health = self.parts.store.health();
        loop {
            let ended = tokio::select! {
                _gone = health.wait_for(|health| *health != Health::Works) => Turn::Store,
                () = released(&self.parts), if self.on_hold => Turn::Released,
                Some(part) = self.tasks.join_next() => Turn::Ended(part.err()),
                Some(part) = self.senders.join_next() => Turn::Ended(part.err()),
            };
            if let Turn::Released = ended {
                info!("Everything was released: reminders are sent again");
                self.begin_again(&mut health).await;
                continue;
            }
            // When one part ends, others end that have nothing to do without it; only a panic is no such end.
            if let Turn::Ended(Some(panicked)) = ended {
                error!("A part of the daemon panicked: {panicked}");
                return Failure::Ended("a part of the daemon");
            }
            warn!("Nothing is sent while the store does not work");
            self.end().await;
            // Who met the failure may have been faster than those who tell of it.
            self.pause(&mut health).await;
            self.begin_again(&mut health).await;
        }
    }

    async fn begin_again(&mut self, health: &mut watch::Receiver<Health>) {
        loop {
            // A store that is gone for good has dropped its end, and waits here for the daemon's own.
            if health.wait_for(|health| *health == Health::Works).await.is_err() {
                return std::future::pending().await;
            }
            if self.begin().await.is_ok() {
                info!("The store works: reminders are sent again");
                return;
            }
            self.pause(health).await;
        }
    }

    /// Waits a moment, or until the store says that it does not work.
    async fn pause(&self, health: &mut watch::Receiver<Health>) {
        let gone = tokio::select! {
            () = self.parts.clock.sleep(BEGIN_AGAIN) => false,
            failed = health.wait_for(|health| *health != Health::Works) => failed.is_err(),
        };
        // A store that is gone for good says nothing more, and there is no moment to wait for.
        if gone {
            std::future::pending::<()>().await;
        }
    }

    /// Ends them: no new request starts, those in flight end within their own time limit and are settled,
    /// marked deliveries that never started are given back. Those that have ended are passed over.
    pub async fn end(&mut self) {
        self.stop.send_replace(true);
        self.tasks.shutdown().await;
        while self.senders.join_next().await.is_some() {}
    }
}

/// What the flows are looked at for.
enum Turn {
    /// The store does not work.
    Store,
    /// Nothing is on hold any more.
    Released,
    /// One of them ended, or panicked.
    Ended(Option<JoinError>),
}

/// Resolves when nothing is on hold any more.
async fn released(parts: &Parts) {
    while !matches!(parts.store.hold(), Ok(None)) {
        tokio::select! {
            // Who releases rings; who rings between two looks is seen by the next.
            () = parts.opened.rung() => {}
            () = parts.clock.sleep(BEGIN_AGAIN) => {}
        }
    }
}
