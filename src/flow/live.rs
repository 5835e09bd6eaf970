//! What a reload replaces as one: configuration, rules, and the clients made of them.
//!
//! A flow takes one [`Live`] at the beginning of a step and works with it to the end, so every step
//! belongs to exactly one generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::domain::config::{App, Config, RuleSet};
use crate::domain::id::{AppId, AppName};
use crate::wechat::{Client, push};

/// One generation.
#[derive(Debug)]
pub struct Live {
    /// Counts reloads from 1.
    pub generation: u64,
    /// When it was taken over.
    pub at: DateTime<Utc>,
    /// The configuration.
    pub config: Config,
    /// The rules.
    pub rules: RuleSet,
    /// A platform client for each app.
    pub clients: BTreeMap<AppName, Client>,
    /// The keys of the platform's events, of each app that takes them.
    pub pushes: BTreeMap<AppName, push::Keys>,
    /// Since when the source of acceptances grants, of each app where it was ever switched.
    pub sources: BTreeMap<AppId, DateTime<Utc>>,
}

impl Live {
    /// The app that a request means: the named one, or the only one.
    #[must_use]
    pub fn app(&self, name: Option<&AppName>) -> Option<&App> {
        match name {
            Some(name) => self.config.apps.get(name),
            None if self.config.apps.len() == 1 => self.config.apps.values().next(),
            None => None,
        }
    }
}

/// The generation in force; cheap to read, replaced by a reload.
#[derive(Clone, Debug)]
pub struct Current(Arc<Generations>);

#[derive(Debug)]
struct Generations {
    live: ArcSwap<Live>,
    /// Which one the scheduler works with, and since when.
    planned: watch::Sender<Planned>,
}

/// Which generation the scheduler works with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Its number; 0 before the first.
    pub generation: u64,
    /// From when its rules count: a rule that is new in it has its first due time after this.
    pub since: DateTime<Utc>,
}

impl Current {
    /// Begins with `live`.
    #[must_use]
    pub fn new(live: Live) -> Self {
        let planned = watch::Sender::new(Planned::default());
        Self(Arc::new(Generations { live: ArcSwap::from_pointee(live), planned }))
    }

    /// The generation in force.
    #[must_use]
    pub fn get(&self) -> Arc<Live> {
        self.0.live.load_full()
    }

    /// Puts another in force.
    pub fn replace(&self, live: Live) {
        self.0.live.store(Arc::new(live));
    }

    /// The scheduler has taken a generation over.
    pub fn plan(&self, planned: Planned) {
        self.0.planned.send_replace(planned);
    }

    /// The generation that the scheduler works with.
    #[must_use]
    pub fn planned_by_now(&self) -> u64 {
        self.0.planned.borrow().generation
    }

    /// Waits until the scheduler works with `generation` or a later one.
    pub async fn planned(&self, generation: u64) -> Planned {
        let mut planned = self.0.planned.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let reached = planned.wait_for(|planned| planned.generation >= generation).await;
        reached.map(|planned| *planned).unwrap_or_default()
    }
}
