//! Zone data in force, renewed when the system's change.
//!
//! Like a reload, it is another generation: rules stay as they are, their zones carry the new data, and the
//! scheduler plans with them. Due times that have been opened stay opened, by their civil time.

use std::pin::Pin;
use std::sync::Arc;

use tracing::{info, warn};

use super::reload::blocking;
use super::{Outside, Shared};
use crate::domain::config::RuleSet;
use crate::domain::rule::Rule;
use crate::domain::zone::Release;
use crate::flow::housekeeping::ZoneData;
use crate::flow::live::Live;
use crate::store::Health;

/// Zones that a log line names.
const MAX_NAMED: usize = 10;

/// Puts the system's zone data in force, where there are any.
pub(super) fn begin(outside: &dyn Outside) {
    if let Some(release) = outside.zone_data() {
        tell(&release);
        info!("Zone data: {release}");
        release.put_in_force();
    } else {
        info!("Zone data: {}", Release::in_force());
    }
}

fn tell(release: &Release) {
    for remark in release.remarks() {
        warn!("{remark}");
    }
    let missing = release.missing();
    if !missing.is_empty() {
        let (n, named) = (missing.len(), shown(&missing));
        warn!(n, "{n} zones are not among the system's files and go by the program's own data: {named}");
    }
}

/// The first of many names.
fn shown(names: &[&str]) -> String {
    let more = if names.len() > MAX_NAMED { ", …" } else { "" };
    format!("{}{more}", names.get(..MAX_NAMED).unwrap_or(names).join(", "))
}

impl ZoneData for Shared {
    fn look(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let _one = self.reloading.lock().await;
            self.renew_zones().await;
        })
    }
}

impl Shared {
    /// Puts the system's zone data in force as they are now, where they differ; under the lock of reloads.
    pub(super) async fn renew_zones(&self) {
        let mut health = self.setup.store.health();
        if *health.borrow() != Health::Works {
            return; // nothing is planned meanwhile; the next look finds it again
        }
        let outside = Arc::clone(&self.setup.outside);
        let Some(release) = blocking(move || outside.zone_data()).await else { return };
        let before = Release::in_force();
        let differences = before.differences(&release);
        if differences.is_empty() && before.to_string() == release.to_string() {
            return;
        }
        tell(&release);
        let (n, named) = (differences.len(), shown(&differences));
        info!(
            n,
            "Zone data are now {release}, before {before}: {n} zones read their clocks differently: {named}"
        );
        release.put_in_force();
        if differences.is_empty() {
            return;
        }
        let old = self.current.get();
        let renewed = |rule: &Arc<Rule>| Arc::new(Rule { zone: rule.zone.renewed(), ..Rule::clone(rule) });
        let rules = old.rules.rules.iter().map(|(id, rule)| (id.clone(), renewed(rule))).collect();
        let mut config = old.config.clone();
        config.zone = config.zone.renewed();
        let generation = old.generation + 1;
        self.current.replace(Live {
            generation,
            at: self.setup.clock.now(),
            config,
            rules: RuleSet { rules, ..old.rules.clone() },
            clients: old.clients.clone(),
            pushes: old.pushes.clone(),
            sources: old.sources.clone(),
        });
        self.reloaded.notify_one();
        tokio::select! {
            _planned = self.current.planned(generation) => {}
            // What begins again when the store is back begins with these.
            _failed = health.wait_for(|health| *health != Health::Works) => {}
        }
    }
}
