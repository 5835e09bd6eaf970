//! Makes a rule ready for those who send nothing themselves: the walk of an audience that may have been sent to since the
//! books were written, and repetitions.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::rivals::Rivals;
use super::{Ready, SEATS, Walker};
use crate::clock::Clock;
use crate::domain::occurrence::OccurrenceState;
use crate::flow::dispatch::Feed;
use crate::flow::pause::Pauses;
use crate::store::{Occurrence, Store, Unavailable};

/// Who would have got a message has one in doubt; whose send time is yet to come is held for it.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub async fn walk_lost(
    store: &Arc<dyn Store>,
    clock: &Clock,
    occurrence: Occurrence,
) -> Result<(), Unavailable> {
    let number = occurrence.number;
    if occurrence.state == OccurrenceState::Held {
        store.stop_occurrence(number, OccurrenceState::Open, None).await?;
    }
    // Nobody listens: what is handed over would be sent.
    let (feed, _nobody) = mpsc::channel(1);
    let walker = Walker::alone(store, clock, feed);
    let cancelled =
        |reason: &str| store.stop_occurrence(number, OccurrenceState::Cancelled, Some(reason.to_owned()));
    let Some(mut ready) = walker.ready(&occurrence).await? else {
        // Whom it was for nobody can say; it is not sent.
        cancelled("the snapshot of its rule cannot be read").await?;
        return Ok(());
    };
    if occurrence.about.is_some() && ready.appointment.is_none() {
        cancelled("its appointment was moved or cancelled").await?;
        return Ok(());
    }
    ready.booking = super::Booking::Lost;
    walker.walk(&Occurrence { state: OccurrenceState::Open, ..occurrence }, &ready).await
}

impl Walker {
    /// One that has no rivals and is not held up, and hands over to `feed`.
    fn alone(store: &Arc<dyn Store>, clock: &Clock, feed: mpsc::Sender<Feed>) -> Self {
        Self {
            store: Arc::clone(store),
            clock: clock.clone(),
            brake: None,
            rivals: Rivals::default(),
            told: Pauses::default(),
            feed,
            seats: Arc::new(Semaphore::new(SEATS)),
        }
    }
}

/// The rule of an occurrence, ready for use; `None` when its snapshot cannot be read.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub(in crate::flow) async fn ready(
    store: &Arc<dyn Store>,
    clock: &Clock,
    occurrence: &Occurrence,
) -> Result<Option<Ready>, Unavailable> {
    let (feed, _nobody) = mpsc::channel(1);
    Walker::alone(store, clock, feed).ready(occurrence).await
}
