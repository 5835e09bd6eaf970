//! Bodies that come: read whole, bounded in size and time.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};

use super::problem::Problem;
use crate::clock::Clock;
use crate::domain::count::n_of;

/// Reads `body` to its end.
///
/// # Errors
/// 413 beyond `limit` bytes (before anything is read where the header says so), 408 when it takes
/// longer than `time`, 400 when it breaks off.
pub(super) async fn read<B>(body: B, limit: usize, time: Duration, clock: &Clock) -> Result<Bytes, Problem>
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    if body.size_hint().lower() > n_of(limit) {
        return Err(Problem::too_large(limit));
    }
    tokio::select! {
        biased;
        whole = Limited::new(body, limit).collect() => match whole {
            Ok(whole) => Ok(whole.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large(limit)),
            Err(_broken) => Err(Problem::broken_body()),
        },
        () = clock.sleep(time) => Err(Problem::slow_body()),
    }
}
