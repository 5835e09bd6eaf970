//! What is left of each app's daily quota, where its configuration has it asked for (`limits.quota_probe`).
//!
//! Nothing is sent or held back by it, and a question without an answer is only logged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::live::Live;
use crate::domain::id::AppName;
use crate::plan::quota::{self, Asked, Quota};
use crate::wechat::Untold;

/// What the platform said. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Quotas(Arc<Mutex<BTreeMap<AppName, Asked>>>);

impl Quotas {
    /// Asks for each app whose turn it is.
    pub async fn look(&self, live: &Live, now: DateTime<Utc>) {
        for (name, client) in &live.clients {
            let wanted = live.config.apps.get(name).is_some_and(|app| app.quota_probe);
            let before = self.asked().get(name).copied();
            if !wanted || !quota::is_due(before.as_ref(), now) {
                continue;
            }
            let told = client.quota().await;
            match &told {
                Ok(quota) => {
                    let Quota { daily_limit, used: _, remain } = quota;
                    info!(app = %name, "App {name} has {remain} of {daily_limit} messages left today");
                    if let Some(trouble) = quota.trouble() {
                        warn!(app = %name, "App {name}: {trouble}");
                    }
                }
                // It does not count as a question: with the next look there may be one.
                Err(Untold::NotAsked) => continue,
                Err(untold @ Untold::NoAnswer(_)) => warn!(app = %name, "App {name}: {untold}"),
            }
            self.asked().insert(name.clone(), Asked::next(before, now, told.ok()));
        }
    }

    /// What is known of the day of `now`, of those apps of which it is asked for.
    #[must_use]
    pub fn of_today(&self, live: &Live, now: DateTime<Utc>) -> BTreeMap<AppName, (Quota, DateTime<Utc>)> {
        let asked = self.asked();
        let wanted = live.config.apps.values().filter(|app| app.quota_probe);
        wanted.filter_map(|app| Some((app.name.clone(), asked.get(&app.name)?.of_today(now)?))).collect()
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<AppName, Asked>> {
        // Whole values only are put in.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
