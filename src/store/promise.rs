//! How far a write has come: decided or durable, and whether the store works at all.
//!
//! What is written is in `shapes`, and what each call promises stands beside it in the trait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{oneshot, watch};

/// Place of a write among all writes of this process: after which failure of the engine, and the how-manieth.
///
/// What an engine loses in a failure it never makes durable later, so a number of before a failure is not
/// reached by one of after it, although that one is larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

impl Number {
    /// Bits that count writes; those above count failures.
    const BITS: u32 = 40;

    /// After how many failures.
    #[must_use]
    pub fn life(self) -> u64 {
        self.0 >> Self::BITS
    }

    /// The next write's.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Where writes after the next failure begin.
    #[must_use]
    pub fn next_life(self) -> Self {
        Self((self.life() + 1) << Self::BITS)
    }

    /// Whether this one is durable when all up to `durable` are.
    #[must_use]
    pub fn is_within(self, durable: Self) -> bool {
        self.life() == durable.life() && self <= durable
    }
}

/// The engine failed or is stopping: nothing was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot promise anything now")]
pub struct Unavailable;

/// A write whose result is known; it is durable when [`Store::wait`](super::Store::wait) has seen `number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// What came of it.
    pub value: T,
    /// Its place among the writes.
    pub number: Number,
}

/// A write on its way to being decided. It is in the queue already: dropping this does not take it back.
#[derive(Debug)]
#[must_use = "a write nobody waits for may be refused unseen"]
pub struct Pending<T>(oneshot::Receiver<Decided<T>>);

impl<T> Pending<T> {
    /// A write that an engine answers through the sender; dropping the sender answers [`Unavailable`].
    pub fn channel() -> (oneshot::Sender<Decided<T>>, Self) {
        let (answer, pending) = oneshot::channel();
        (answer, Self(pending))
    }

    /// A write that is decided already, or refused.
    pub fn ready(result: Option<Decided<T>>) -> Self {
        let (answer, pending) = Self::channel();
        if let Some(decided) = result {
            // The receiver is in `pending`.
            let _sent = answer.send(decided);
        }
        pending
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<Decided<T>, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A dropped sender is an engine that failed; the receiver's error says nothing more.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.map_err(|_dropped| Unavailable))
    }
}

/// The durable end of the writes: how far they are safe, and whether the engine still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All writes up to this one are durable.
    Durable(Number),
    /// The engine failed: what is not durable by now never will be. After a time it may go on with later numbers.
    Failed,
}

/// Whether the engine works, for those who stop and go on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Works,
    /// The disk is nearly full: nothing new is taken on, what is under way is ended.
    Short(super::ledger::Room),
    /// It failed, and is opened again and again until it works.
    Failed {
        /// What failed, for people.
        why: Arc<str>,
        /// How often it could not be opened since.
        n_tries: u32,
    },
}

impl Health {
    /// One word for it, in `status`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "ok",
            Self::Short(_) => "short",
            Self::Failed { .. } => "failed",
        }
    }

    /// Why it does not work, for people; `None` when it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Works => None,
            Self::Short(room) => Some(format!(
                "the store's disk has {} bytes left and {} are needed: reports are refused and nothing is sent until there is room",
                room.free, room.needed
            )),
            Self::Failed { why, n_tries: 0 } => Some(format!(
                "the store failed: {why}; reports are refused and nothing is sent until it works again"
            )),
            Self::Failed { why, n_tries } => Some(format!(
                "the store does not work: {why}; it was tried {n_tries} times, and reports are refused and nothing is sent until it does"
            )),
        }
    }
}

/// Waits until `number` is durable.
///
/// # Errors
/// [`Unavailable`] when the engine failed before.
pub async fn wait_durable(
    mut progress: watch::Receiver<Progress>,
    number: Number,
) -> Result<(), Unavailable> {
    let seen = progress
        .wait_for(|progress| match progress {
            Progress::Durable(durable) => durable.life() != number.life() || *durable >= number,
            Progress::Failed => true,
        })
        .await;
    match seen.as_deref() {
        Ok(Progress::Durable(durable)) if number.is_within(*durable) => Ok(()),
        Ok(Progress::Durable(_) | Progress::Failed) | Err(_) => Err(Unavailable),
    }
}

/// Whether a read may hold up the thread it is made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It may wait for a disk.
    Block,
    /// It is answered from memory.
    AtOnce,
}

/// A write's durable end.
pub type Wait = Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send>>;
