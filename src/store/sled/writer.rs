//! The one thread that writes: turns concurrent calls into durable groups.
//!
//! Calls are decided in order into a batch; the batch is applied, and only then its calls are answered
//! as decided. A sync follows when somebody waits for it, when as much was written as may lie between
//! two syncs, or shortly after the last write. Any error is final: nothing more is promised.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use super::Failed;
use super::state::{BATCH_KEYS, SYNC_BYTES, SYNC_KEYS, State};
use crate::clock::Clock;
use crate::store::{Number, Progress};

/// How long a write that nobody waits for may stay unsynced while nothing else comes.
const IDLE_SYNC: Duration = Duration::from_millis(20);
/// Calls decided before the queue is left alone for a sync.
const MAX_CALLS: usize = 512;
/// The longest wait for company before a sync.
const MAX_GATHER: Duration = Duration::from_millis(1);

/// Answers a call as decided.
pub(super) type Answer = Box<dyn FnOnce(Number) + Send>;
/// Decides a call.
pub(super) type Decide = Box<dyn FnOnce(&mut Desk<'_>) -> Result<Answer, Failed> + Send>;

/// What the writer is told.
pub(super) enum Call {
    /// Decide this.
    Write {
        /// At most so many keys before the call itself asks for [`Desk::room`].
        keys: usize,
        /// Whether its caller waits for the disk.
        urgent: bool,
        /// The decision.
        decide: Decide,
    },
    /// Somebody waits for the disk.
    Wake,
    /// Sync and end.
    Stop,
}

/// What writer and callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) progress: watch::Sender<Progress>,
    /// The newest applied write.
    pub(super) decided: AtomicU64,
    /// The newest write somebody waits for.
    pub(super) wanted: AtomicU64,
    pub(super) n_groups: AtomicU64,
    pub(super) last_sync_us: AtomicU64,
}

/// The writer's tools while it decides.
pub(super) struct Desk<'a> {
    pub(super) state: &'a mut State,
    out: &'a mut Out,
}

impl Desk<'_> {
    /// Makes room for `keys` more keys: closes and applies the batch when they would not fit.
    ///
    /// Between two calls of this everything is in one batch.
    pub(super) fn room(&mut self, keys: usize) -> Result<(), Failed> {
        if self.state.n_keys() + keys > BATCH_KEYS { self.out.apply(self.state) } else { Ok(()) }
    }

    /// Applies the batch under way and syncs: the books stand still as they are.
    pub(super) fn barrier(&mut self) -> Result<(), Failed> {
        self.out.apply(self.state)?;
        self.out.sync(self.state)
    }
}

/// What is applied but not synced, and what is decided but not answered.
struct Out {
    db_file: File,
    clock: Clock,
    shared: Arc<Shared>,
    answers: Vec<(Answer, Number)>,
    number: u64,
    unsynced_keys: usize,
    unsynced_bytes: usize,
    durable: u64,
}

impl Out {
    /// Applies the batch and answers its calls.
    fn apply(&mut self, state: &mut State) -> Result<(), Failed> {
        if let Some(batch) = state.close_batch()? {
            if self.unsynced_keys + batch.keys > SYNC_KEYS || self.unsynced_bytes + batch.bytes > SYNC_BYTES {
                self.sync(state)?;
            }
            state.tree.apply_batch(batch.writes)?;
            self.unsynced_keys += batch.keys;
            self.unsynced_bytes += batch.bytes;
        }
        if let Some((_, last)) = self.answers.last() {
            self.shared.decided.store(last.0, Ordering::Release);
        }
        for (answer, number) in self.answers.drain(..) {
            answer(number);
        }
        Ok(())
    }

    /// Makes everything applied durable.
    ///
    /// sled's `flush` ends in sync_file_range, which waits for no disk: `sync_data` on an own handle
    /// of its file is what makes it so.
    fn sync(&mut self, state: &State) -> Result<(), Failed> {
        let applied = self.shared.decided.load(Ordering::Acquire);
        if self.unsynced_keys > 0 {
            let start = self.clock.elapsed();
            state.tree.flush()?;
            self.db_file.sync_data().map_err(Failed::Io)?;
            let took = self.clock.elapsed().saturating_sub(start);
            self.shared
                .last_sync_us
                .store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.shared.n_groups.fetch_add(1, Ordering::Relaxed);
            self.unsynced_keys = 0;
            self.unsynced_bytes = 0;
        }
        self.durable = applied;
        self.shared.progress.send_replace(Progress::Durable(Number(applied)));
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        self.shared.wanted.load(Ordering::Acquire) > self.durable
    }
}

/// Runs until told to stop, or until an error; says so in `shared` at the end.
pub(super) fn run(
    mut state: State,
    db_file: File,
    calls: &Receiver<Call>,
    shared: &Arc<Shared>,
    clock: Clock,
) {
    let mut out = Out {
        db_file,
        clock,
        shared: Arc::clone(shared),
        answers: Vec::new(),
        number: 0,
        unsynced_keys: 0,
        unsynced_bytes: 0,
        durable: 0,
    };
    let ended = catch_unwind(AssertUnwindSafe(|| serve(&mut state, &mut out, calls)));
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(failed)) => error!("The store failed: {failed}"),
        Err(_panic) => error!("The store's writer panicked"),
    }
    // Waiters of undecided calls learn it by their dropped senders, those of durability here.
    shared.progress.send_replace(Progress::Failed);
}

fn serve(state: &mut State, out: &mut Out, calls: &Receiver<Call>) -> Result<(), Failed> {
    let mut company = false;
    loop {
        let first = if out.unsynced_keys > 0 {
            match calls.recv_timeout(IDLE_SYNC) {
                Ok(call) => call,
                Err(RecvTimeoutError::Timeout) => {
                    out.sync(state)?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => Call::Stop,
            }
        } else {
            calls.recv().unwrap_or(Call::Stop)
        };
        let mut n_calls = 0;
        let mut going = decide(state, out, first, &mut n_calls)?;
        while going
            && n_calls < MAX_CALLS
            && let Ok(call) = calls.try_recv()
        {
            going = decide(state, out, call, &mut n_calls)?;
        }
        if going && company && out.is_wanted() {
            // The last group had company: wait a moment for this one's. A lone caller never waits.
            let last = Duration::from_micros(out.shared.last_sync_us.load(Ordering::Relaxed));
            if let Ok(call) = calls.recv_timeout((last / 4).min(MAX_GATHER)) {
                going = decide(state, out, call, &mut n_calls)?;
                while going
                    && n_calls < MAX_CALLS
                    && let Ok(call) = calls.try_recv()
                {
                    going = decide(state, out, call, &mut n_calls)?;
                }
            }
        }
        out.apply(state)?;
        if !going || out.is_wanted() {
            company = n_calls > 1;
            out.sync(state)?;
        }
        if !going {
            return Ok(());
        }
    }
}

/// Decides one call; `false` when it was the last.
fn decide(state: &mut State, out: &mut Out, call: Call, n_calls: &mut usize) -> Result<bool, Failed> {
    match call {
        Call::Wake => Ok(true),
        Call::Stop => Ok(false),
        Call::Write { keys, urgent, decide } => {
            *n_calls += 1;
            let mut desk = Desk { state, out };
            desk.room(keys)?;
            let answer = decide(&mut desk)?;
            out.number += 1;
            let number = Number(out.number);
            if urgent {
                out.shared.wanted.fetch_max(number.0, Ordering::AcqRel);
            }
            out.answers.push((answer, number));
            Ok(true)
        }
    }
}
