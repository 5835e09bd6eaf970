//! Signed requests that were carried out: remembered in the batch of their change, so that none is played again.
//!
//! Only a hash of each id is kept, for [`REQUEST_MINUTES`]: longer than a signature is believed.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::Failed;
use super::keys::{self, Name};
use super::records;
use super::state::{BATCH_KEYS, State};
use super::writer::Desk;
use crate::domain::count::n_of;
use crate::store::REQUEST_MINUTES;

/// Records looked at in one call.
const MAX_LOOKED: usize = 5_000;

/// Whether this request was carried out before.
pub(super) fn is_replayed(
    state: &State,
    app: Name,
    request: Option<[u8; 16]>,
    now: DateTime<Utc>,
) -> Result<bool, Failed> {
    let Some(request) = request else { return Ok(false) };
    let Some(bytes) = state.get(&keys::request(app, &request))? else { return Ok(false) };
    Ok(is_remembered(records::decode(&bytes)?, now))
}

/// Remembers a request, one key.
pub(super) fn remember(
    state: &mut State,
    app: Name,
    request: Option<[u8; 16]>,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    if let Some(request) = request {
        state.put(keys::request(app, &request), records::encode(&records::ms(now))?);
    }
    Ok(())
}

fn is_remembered(at_ms: i64, now: DateTime<Utc>) -> bool {
    at_ms >= records::ms(now - TimeDelta::minutes(REQUEST_MINUTES))
}

/// Removes requests that need not be remembered, a bounded piece; 0 when all were looked at.
pub(super) fn retire(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<u64, Failed> {
    let opened = Arc::clone(&desk.state.opened);
    let from = desk.state.requests_to.take().unwrap_or_else(|| vec![keys::REQUEST]);
    let (mut looked, mut old) = (0, Vec::new());
    for entry in opened.tree.range(from, vec![keys::REQUEST + 1]) {
        let (key, value) = entry?;
        if looked >= MAX_LOOKED || old.len() >= BATCH_KEYS - 10 {
            desk.state.requests_to = Some(key.to_vec());
            break;
        }
        looked += 1;
        if !is_remembered(records::decode(&value)?, now) {
            old.push(key.to_vec());
        }
    }
    desk.room(old.len())?;
    let n = n_of(old.len()).max(u64::from(desk.state.requests_to.is_some()));
    for key in old {
        desk.state.remove(key);
    }
    Ok(n)
}
