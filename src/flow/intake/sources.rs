//! Which source of acceptances grants, and since when: what was accepted before a switch grants nothing, by either source.
//!
//! Without it a switch would count what both sources tell of one tap. It is kept in the store, and durable before the
//! configuration that switches is in force.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::config::{Config, ConsentsFrom};
use crate::domain::id::AppId;
use crate::store::{Store, Unavailable};

/// Under this name the store keeps them.
const SOURCES: &str = "consent_sources";

/// The source of one app, where it was ever another than reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    app: String,
    events: bool,
    since_ms: i64,
}

/// Notes each source that `config` switches, at `now`, and says since when each that was ever switched grants; durable on
/// return.
///
/// # Errors
/// [`Unavailable`]: nothing was noted.
pub async fn follow(
    store: &dyn Store,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<BTreeMap<AppId, DateTime<Utc>>, Unavailable> {
    let mut all = read(store)?;
    let before = all.clone();
    for app in config.apps.values() {
        let events = match app.consents_from {
            ConsentsFrom::Reports => false,
            ConsentsFrom::Events => true,
        };
        let since_ms = now.timestamp_millis();
        match all.iter_mut().find(|kept| kept.app == app.appid.as_str()) {
            Some(kept) if kept.events == events => {}
            Some(kept) => (kept.events, kept.since_ms) = (events, since_ms),
            None if events => all.push(Kept { app: app.appid.as_str().to_owned(), events, since_ms }),
            None => {}
        }
    }
    if all != before {
        let bytes = serde_json::to_vec(&all).expect("texts and numbers are JSON");
        let decided = store.keep(SOURCES, bytes).await?;
        store.wait(decided.number).await?;
    }
    let since =
        |kept: &Kept| Some((AppId::parse(&kept.app).ok()?, DateTime::from_timestamp_millis(kept.since_ms)?));
    Ok(all.iter().filter_map(since).collect())
}

fn read(store: &dyn Store) -> Result<Vec<Kept>, Unavailable> {
    let bytes = store.kept(SOURCES)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}
