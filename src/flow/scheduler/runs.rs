//! By whose clocks a rule is due: its own zone for everybody, or each zone that recipients have.
//!
//! Of a rule of the recipients' own time each zone makes occurrences of its own. Who is in which, day by day, is the
//! fan-out's; what may not be opened twice, the store's.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Planned;
use crate::domain::id::AppId;
use crate::domain::occurrence::Whose;
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::store::{Store, Unavailable};

/// One zone's clock, by which a rule is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) zone: Zone,
    pub(super) whose: Whose,
    /// What was due before is not this run's; `None` where the rule's cursor alone says it.
    pub(super) since: Option<DateTime<Utc>>,
}

impl Run {
    /// From when on its due times are to be found, by the rule's cursor.
    pub(super) fn from(&self, cursor: DateTime<Utc>) -> DateTime<Utc> {
        self.since.map_or(cursor, |since| since.max(cursor))
    }
}

/// The zones that the recipients of apps have, as far as rules of their own time ask for them.
#[derive(Debug, Default)]
pub(super) struct Zones {
    of: BTreeMap<AppId, Vec<Zone>>,
    read_at: Option<DateTime<Utc>>,
}

impl Zones {
    /// Reads them anew for those of `rules` that need them; says which of them have another run now.
    ///
    /// A zone that somebody has only now begins where it was looked for the last time.
    pub(super) async fn renew<'a>(
        &mut self,
        store: &Arc<dyn Store>,
        rules: impl Iterator<Item = &'a mut Planned>,
        now: DateTime<Utc>,
    ) -> Result<Vec<&'a mut Planned>, Unavailable> {
        let mut changed = Vec::new();
        let mut read: BTreeMap<AppId, Vec<Zone>> = BTreeMap::new();
        for planned in rules.filter(|planned| planned.rule.own_time) {
            if !read.contains_key(&planned.app) {
                let app = planned.app.clone();
                let zones = super::super::read(store, move |store| store.zones(&app, now)).await?;
                read.insert(planned.app.clone(), zones);
            }
            let zones = read.get(&planned.app).map_or(&[][..], Vec::as_slice);
            let runs = runs(&planned.rule, zones, &planned.runs, self.read_at);
            if runs.len() != planned.runs.len()
                || runs.iter().zip(&planned.runs).any(|(new, old)| new.zone != old.zone)
            {
                planned.runs = runs;
                changed.push(planned);
            }
        }
        if !read.is_empty() {
            self.read_at = Some(now);
        }
        self.of = read;
        Ok(changed)
    }

    /// The runs of a rule by the zones as they were read last.
    pub(super) fn runs(&self, rule: &Rule, app: &AppId, before: &[Run]) -> Vec<Run> {
        runs(rule, self.of.get(app).map_or(&[][..], Vec::as_slice), before, None)
    }
}

/// The runs of a rule: those that were there `before` go on, others begin at `since`.
pub(super) fn runs(rule: &Rule, zones: &[Zone], before: &[Run], since: Option<DateTime<Utc>>) -> Vec<Run> {
    if !rule.own_time {
        return vec![Run { zone: rule.zone, whose: Whose::Everybody, since: None }];
    }
    let first = Run { zone: rule.zone, whose: Whose::Default, since: None };
    let others = zones.iter().filter(|zone| **zone != rule.zone).map(|zone| {
        let known = before.iter().find(|run| run.zone == *zone);
        // By the zone data in force now: what they move is seen where a run is held against its old one.
        Run { zone: zone.renewed(), whose: Whose::OfZone, since: known.map_or(since, |known| known.since) }
    });
    [first].into_iter().chain(others).collect()
}
