//! What becomes of open work at a start, before the first mark or request.
//!
//! What was attempting is in doubt, and nothing else is touched: reserved and waiting deliveries go on
//! through the ordinary walk.

use chrono::{DateTime, Utc};
use tracing::warn;

use crate::store::{Store, Unavailable};

/// Makes attempting deliveries in doubt; durable on return. Answers how many there were.
///
/// # Errors
/// [`Unavailable`]: the store failed; nothing may be sent.
pub async fn recover(store: &dyn Store, now: DateTime<Utc>) -> Result<u64, Unavailable> {
    let decided = store.recover(now).await?;
    store.wait(decided.number).await?;
    if decided.value > 0 {
        warn!(
            n = decided.value,
            "{} deliveries were under way when the last run ended; they are in doubt", decided.value
        );
    }
    Ok(decided.value)
}
