//! What a reload replaces as one: configuration, rules, and the clients made of them.
//!
//! A flow takes one [`Live`] at the beginning of a step and works with it to the end, so every step
//! belongs to exactly one generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use crate::domain::config::{App, Config, RuleSet};
use crate::domain::id::AppName;
use crate::wechat::Client;

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
pub struct Current(Arc<ArcSwap<Live>>);

impl Current {
    /// Begins with `live`.
    #[must_use]
    pub fn new(live: Live) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(live)))
    }

    /// The generation in force.
    #[must_use]
    pub fn get(&self) -> Arc<Live> {
        self.0.load_full()
    }

    /// Puts another in force.
    pub fn replace(&self, live: Live) {
        self.0.store(Arc::new(live));
    }
}
