//! Which source of acceptances grants, and since when: what was accepted before a switch grants nothing, by either source.
//!
//! Without it a switch would count what both sources tell of one tap. It is kept in the store, and durable before the
//! configuration that switches is in force.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::domain::config::{App, Config, ConsentsFrom};
use crate::domain::id::AppId;
use crate::store::{Store, Unavailable};

/// Under this name and the appid the store keeps that of an app.
const SOURCE: &str = "consent_source:";

/// The source of one app, where it was ever another than reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    events: bool,
    since_ms: i64,
}

fn has_nobody(store: &dyn Store, app: &App) -> Result<bool, Unavailable> {
    let Some(template) = app.templates.values().next() else { return Ok(true) };
    Ok(store.walk(&app.appid, &template.id, None, 1)?.is_empty())
}

/// Notes each source that `config` switches, at `now`, and says since when each that was ever switched grants; durable on
/// return.
///
/// # Errors
/// [`Unavailable`]: none is in force; what was noted by then is found at the next try.
pub async fn follow(
    store: &dyn Store,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<BTreeMap<AppId, DateTime<Utc>>, Unavailable> {
    let mut since = BTreeMap::new();
    let mut noted = Vec::new();
    for app in config.apps.values() {
        let events = match app.consents_from {
            ConsentsFrom::Reports => false,
            ConsentsFrom::Events => true,
        };
        let switched = Kept { events, since_ms: now.timestamp_millis() };
        let name = format!("{SOURCE}{}", app.appid);
        let (kept, is_new) = match store.kept(&name)?.map(|bytes| serde_json::from_slice::<Kept>(&bytes)) {
            None if !events => continue,
            // Of an app without people nothing was counted that could be counted twice: it begins so, and is not switched.
            None if has_nobody(store, app)? => (Kept { events, since_ms: 0 }, true),
            Some(Ok(kept)) if kept.events == events => (kept, false),
            None | Some(Ok(_)) => (switched, true),
            Some(Err(error)) => {
                // What was accepted before it may have been counted by the other source.
                warn!(app = %app.name, "Which source granted consents of app {} cannot be read: {error}; it is taken as switched now", app.name);
                (switched, true)
            }
        };
        if is_new {
            noted.push(store.keep(&name, serde_json::to_vec(&kept).expect("numbers are JSON")));
        }
        let at = DateTime::from_timestamp_millis(kept.since_ms).unwrap_or(now);
        since.insert(app.appid.clone(), at);
    }
    for noted in noted {
        let decided = noted.await?;
        store.wait(decided.number).await?;
    }
    Ok(since)
}
