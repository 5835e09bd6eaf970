//! The only place where rooms meet: each flow carries data from one engine to another.

pub mod bell;
pub mod books;
pub mod brake;
pub mod dispatch;
pub mod fanout;
mod held;
pub mod housekeeping;
pub mod intake;
pub mod live;
pub mod lost;
pub mod outlook;
pub mod pause;
pub mod pulse;
pub mod quota;
pub mod recovery;
pub mod reminders;
pub mod repeats;
pub mod scheduler;
pub mod templates;

use std::sync::Arc;

use crate::store::{Reads, Store, Unavailable};

/// Reads the store without holding up other tasks: in a thread of its own where a read may wait for a disk.
///
/// # Errors
/// What the read answers; a read that panicked counts as a failed store.
pub async fn read<T: Send + 'static>(
    store: &Arc<dyn Store>,
    read: impl FnOnce(&dyn Store) -> Result<T, Unavailable> + Send + 'static,
) -> Result<T, Unavailable> {
    match store.reads() {
        Reads::AtOnce => read(&**store),
        Reads::Block => {
            let store = Arc::clone(store);
            let task = tokio::task::spawn_blocking(move || read(&*store));
            task.await.unwrap_or(Err(Unavailable))
        }
    }
}
