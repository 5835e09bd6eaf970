//! One release of zone data, and which one is in force in this process.
//!
//! What is in force is of the process, as its locale is: whoever names a zone gets it, in a rule, in a
//! record, in a request, so that no two parts of the program read clocks by different data. Only the
//! edge puts a release in force. Tables live as long as the process: releases come a few times a year.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use super::table::Table;
use super::{Zone, bundled};
use crate::domain::language::Said;

/// What is in force; `None` before anybody put a release there: the program's own data.
static IN_FORCE: ArcSwapOption<Release> = ArcSwapOption::const_empty();
/// Every table that was ever part of a release, so that the same data are kept once.
static TABLES: Mutex<BTreeMap<&'static str, Vec<&'static Table>>> = Mutex::new(BTreeMap::new());

/// The zone data of one moment; zones that it lacks are read by the program's own.
#[derive(Clone, Debug, Default)]
pub struct Release {
    version: Option<String>,
    tables: BTreeMap<&'static str, &'static Table>,
    remarks: Vec<Said>,
}

impl Release {
    /// A release of the system's tables, with remarks on those that could not be had; names that no rule may
    /// state are left out.
    #[must_use]
    pub fn of_system(
        version: String,
        tables: impl IntoIterator<Item = (&'static str, Table)>,
        remarks: Vec<Said>,
    ) -> Self {
        let mut kept = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keep = |name: &'static str, table: Table| {
            let known = kept.entry(name).or_default();
            known.iter().copied().find(|known| **known == table).unwrap_or_else(|| {
                let table: &'static Table = Box::leak(Box::new(table));
                known.push(table);
                table
            })
        };
        let taken = tables.into_iter().filter(|(name, _)| Zone::named(name).is_ok());
        let tables = taken.map(|(name, table)| (name, keep(name, table))).collect();
        Self { version: Some(version), tables, remarks }
    }

    /// What is in force.
    #[must_use]
    pub fn in_force() -> Arc<Self> {
        IN_FORCE.load_full().unwrap_or_default()
    }

    /// Puts it in force: zones that are named or renewed from now on carry its data.
    pub fn put_in_force(self) {
        IN_FORCE.store(Some(Arc::new(self)));
    }

    /// The zone with the data of this release.
    #[must_use]
    pub fn zone(&self, zone: Zone) -> Zone {
        Zone { data: self.tables.get(zone.name()).copied(), ..zone }
    }

    /// How many zones are the system's.
    #[must_use]
    pub fn n_zones(&self) -> usize {
        self.tables.len()
    }

    /// Zones that go by the program's own data; not asked of the program's own release.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        Zone::names().filter(|name| self.version.is_some() && !self.tables.contains_key(name)).collect()
    }

    /// What could not be read of the system, for an admin.
    #[must_use]
    pub fn remarks(&self) -> &[Said] {
        &self.remarks
    }

    /// Names of zones whose clocks `other` reads differently.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let table = |release: &Self, name: &str| release.tables.get(name).copied();
        let differs = |name: &&'static str| match (table(self, name), table(other, name)) {
            (Some(mine), Some(others)) => mine != others,
            (mine, others) => mine.is_some() || others.is_some(),
        };
        Zone::names().filter(differs).collect()
    }
}

/// The zone with the data in force.
pub(super) fn renewed(zone: Zone) -> Zone {
    let own = Zone { data: None, ..zone };
    IN_FORCE.load().as_ref().map_or(own, |release| release.zone(zone))
}

/// What people are told: `2026b, system` or `2025b, bundled`.
impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{version}, system"),
            None => write!(f, "{}, bundled", bundled::version()),
        }
    }
}
