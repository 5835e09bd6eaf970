//! The only place where rooms meet: each flow carries data from one engine to another.

pub mod dispatch;
pub mod fanout;
pub mod housekeeping;
pub mod intake;
pub mod live;
pub mod outlook;
pub mod pause;
pub mod pulse;
pub mod recovery;
pub mod scheduler;

/// Reads the store without holding up other tasks.
///
/// # Errors
/// What the read answers; a read that panicked counts as a failed store.
pub async fn read<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, crate::store::Unavailable> + Send + 'static,
) -> Result<T, crate::store::Unavailable> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(_panicked) => Err(crate::store::Unavailable),
    }
}
