//! The one place that writes: turns concurrent calls into durable groups, for as long as its tree works.
//!
//! Calls are decided in order into a batch; the batch is applied, and only then its calls are answered
//! as decided. A sync follows when somebody waits for it, when as much was written as may lie between
//! two syncs, or shortly after the last write. Any error ends this [`Writer`]: nothing more is promised
//! on its tree, and `keeper` opens another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use super::beside::{Beside, COMMITS, Commits};
use super::keeper::StoreId;
use super::keys;
use super::state::{BATCH_KEYS, OpenTree, SYNC_BYTES, SYNC_KEYS, State};
use super::{
    Failed, appointments, consents, cursors, deliveries, dump, erasure, holds, identities, persons, receipts,
    unfinished,
};
use crate::clock::Clock;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::hold::Hold;
use crate::domain::id::DeliveryId;
use crate::store::{Decided, Health, Mark, Number, Progress, Settlement};

/// How long a write that nobody waits for may stay unsynced while nothing else comes.
const IDLE_SYNC: Duration = Duration::from_millis(20);
/// How often the room is looked at while there is too little.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);
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
    /// Book how attempts ended; never refused, and kept until it is durable.
    Settle(Vec<Settlement>, oneshot::Sender<Decided<Vec<DeliveryState>>>),
    /// A reader met an error of this tree.
    Broken(Weak<OpenTree>, Failed),
    /// Somebody waits for the disk.
    Wake,
    /// Sync and end.
    Stop,
}

/// What the writer, its keeper and callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) progress: watch::Sender<Progress>,
    pub(super) health: watch::Sender<Health>,
    /// The newest applied write.
    pub(super) decided: AtomicU64,
    /// The newest write somebody waits for.
    pub(super) wanted: AtomicU64,
    /// There is too little room: what needs more is refused.
    pub(super) short: AtomicBool,
    pub(super) n_groups: AtomicU64,
    /// Commits of the store that are durable.
    pub(super) n_commits: AtomicU64,
    pub(super) last_sync_us: AtomicU64,
}

impl Shared {
    /// Of a writer that has done nothing yet.
    pub(super) fn new() -> Self {
        Self {
            progress: watch::Sender::new(Progress::Durable(Number::default())),
            health: watch::Sender::new(Health::Works),
            decided: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            short: AtomicBool::new(false),
            n_groups: AtomicU64::new(0),
            n_commits: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
        }
    }
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

    /// The mark of a delivery that is attempting now.
    pub(super) fn mark(
        &mut self,
        id: DeliveryId,
        accepted_at: Option<chrono::DateTime<chrono::Utc>>,
    ) -> Mark {
        self.out.marks.push(id);
        Mark::new(id, accepted_at, self.out.newest.life())
    }

    /// Whether a mark was made on the tree that is open now.
    pub(super) fn is_of_now(&self, mark: &Mark) -> bool {
        mark.life() == self.out.newest.life()
    }
}

/// What is applied but not synced, and what is decided but not answered.
struct Out {
    clock: Clock,
    shared: Arc<Shared>,
    answers: Vec<(Answer, Number)>,
    newest: Number,
    durable: Number,
    unsynced_keys: usize,
    unsynced_bytes: usize,
    /// Settlements since the last sync.
    owed: Vec<Settlement>,
    /// Deliveries marked since the last sync: their requests cannot have started.
    marks: Vec<DeliveryId>,
    /// Which store it is and how far; `None` where nobody counts.
    counted: Option<Beside>,
    /// Whether it was told to end.
    stopped: bool,
}

impl Out {
    /// Applies the batch and answers its calls.
    fn apply(&mut self, state: &mut State) -> Result<(), Failed> {
        if let Some(mut batch) = state.close_batch()? {
            let keys = batch.writes.len();
            if self.unsynced_keys + keys > SYNC_KEYS || self.unsynced_bytes + batch.bytes > SYNC_BYTES {
                self.sync_to(state, Number(self.shared.decided.load(Ordering::Acquire)))?;
            }
            if self.unsynced_keys == 0
                && let Some(counted) = &mut self.counted
            {
                // One key a group.
                counted.commits.n += 1;
                batch.writes.push((keys::kept(COMMITS), Some(counted.commits.write())));
            }
            dump::before_applying(state, &batch.writes)?;
            state.tree().apply(batch.writes)?;
            self.unsynced_keys += keys;
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
    fn sync(&mut self, state: &State) -> Result<(), Failed> {
        let applied = Number(self.shared.decided.load(Ordering::Acquire));
        self.sync_to(state, applied)?;
        // Nothing is applied and not answered here, so nothing of these is younger than the sync.
        self.owed.clear();
        self.marks.clear();
        Ok(())
    }

    fn sync_to(&mut self, state: &State, applied: Number) -> Result<(), Failed> {
        if self.unsynced_keys > 0 {
            let start = self.clock.elapsed();
            state.tree().sync()?;
            let took = self.clock.elapsed().saturating_sub(start);
            self.shared
                .last_sync_us
                .store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.shared.n_groups.fetch_add(1, Ordering::Relaxed);
            self.unsynced_keys = 0;
            self.unsynced_bytes = 0;
            if let Some(counted) = &self.counted {
                // Behind the sync: it must never lead.
                state.tree().note_beside(counted);
                self.shared.n_commits.store(counted.commits.n, Ordering::Release);
            }
            self.look_for_room(state)?;
        }
        self.durable = applied;
        self.shared.progress.send_replace(Progress::Durable(applied));
        Ok(())
    }

    /// Refuses what needs room while the disk has too little, before the disk refuses everything.
    fn look_for_room(&self, state: &State) -> Result<(), Failed> {
        let room = state.tree().room()?;
        let short = room.free < room.needed;
        let was = self.shared.short.swap(short, Ordering::AcqRel);
        if short {
            self.shared.health.send_replace(Health::Short(room));
        }
        match (was, short) {
            (false, true) => error!(
                "The store's disk has {} bytes left, and {} are needed: reports are refused and nothing is sent until there is room",
                room.free, room.needed
            ),
            (true, false) => {
                info!("The store's disk has room again");
                self.shared.health.send_replace(Health::Works);
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }

    fn is_wanted(&self) -> bool {
        self.shared.wanted.load(Ordering::Acquire) > self.durable.0
    }
}

/// Decides, applies and syncs on one opened tree.
pub(super) struct Writer {
    state: State,
    out: Out,
}

/// What outlives a writer whose tree failed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Settlements that are not known to be durable, in the order they came.
    pub(super) settlements: Vec<Settlement>,
    /// Deliveries whose mark is not known to be durable: nobody was told, so nothing was sent.
    pub(super) marks: Vec<DeliveryId>,
}

impl Writer {
    /// A writer on a tree; its writes are numbered from `first` on.
    pub(super) fn new(
        opened: Arc<OpenTree>,
        first: Number,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> Result<Self, Failed> {
        let state = State::new(opened)?;
        let out = Out {
            clock,
            shared,
            answers: Vec::new(),
            newest: first,
            durable: first,
            unsynced_keys: 0,
            unsynced_bytes: 0,
            owed: Vec::new(),
            marks: Vec::new(),
            counted: None,
            stopped: false,
        };
        out.shared.decided.fetch_max(first.0, Ordering::AcqRel);
        Ok(Self { state, out })
    }

    /// Lets `act` decide, beside all calls.
    pub(super) fn at_the_desk<T>(
        &mut self,
        act: impl FnOnce(&mut Desk<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let Self { state, out } = self;
        act(&mut Desk { state, out })
    }

    /// Counts groups from here on, in the store and beside it.
    pub(super) fn count(&mut self, store: StoreId, commits: Commits) {
        self.out.counted = Some(Beside { store, commits });
    }

    /// Puts everything on hold, unless it is already; durable on return.
    pub(super) fn hold(&mut self, hold: Hold) -> Result<(), Failed> {
        error!("Everything is on hold: {hold}");
        if holds::holds(&self.state)? {
            // Counted anew all the same.
            return self.keep("opened", Vec::new());
        }
        self.keep(holds::HOLD, holds::encode(&hold)?)
    }

    /// Keeps a named value; durable on return.
    pub(super) fn keep(&mut self, name: &str, value: Vec<u8>) -> Result<(), Failed> {
        let Self { state, out } = self;
        state.put(keys::kept(name), value);
        Desk { state, out }.barrier()
    }

    /// Makes the key of the erased's hashes, when there is none; durable on return.
    pub(super) fn make_erasure_key(&mut self) -> Result<(), Failed> {
        if self.state.erasure_key.is_some() {
            return Ok(());
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_none| Failed::Record("the machine gives no random bytes"))?;
        self.keep(erasure::KEY, key.to_vec())?;
        self.state.erasure_key = Some(key);
        Ok(())
    }

    /// Closes the accounts of the erased that a crash left open; durable on return. Before anything else is decided.
    pub(super) fn go_on_erasing(&mut self) -> Result<(), Failed> {
        let Self { state, out } = self;
        let now = out.clock.now();
        let mut desk = Desk { state, out };
        erasure::go_on(&mut desk, now)?;
        desk.barrier()
    }

    /// Makes the index of appointments by person that an older program did not keep; durable on return.
    pub(super) fn list_owned_appointments(&mut self) -> Result<(), Failed> {
        let Self { state, out } = self;
        appointments::list_owned(&mut Desk { state, out })
    }

    /// Makes the index of recipients by zone, which layouts before 4 did not have; durable on return.
    pub(super) fn index_all_zones(&mut self) -> Result<(), Failed> {
        let Self { state, out } = self;
        let mut desk = Desk { state, out };
        consents::index_all_zones(&mut desk)?;
        desk.barrier()
    }

    /// Makes the index of recipients by unionid, which layouts before 6 did not have; durable on return.
    pub(super) fn index_all_persons(&mut self) -> Result<(), Failed> {
        let Self { state, out } = self;
        let mut desk = Desk { state, out };
        persons::index_all(&mut desk)?;
        desk.barrier()
    }

    /// Puts cursors, identities and the unfinished of neighbours into one record, which layouts before 5 kept one by one; durable on
    /// return.
    pub(super) fn put_neighbours_together(&mut self) -> Result<(), Failed> {
        let Self { state, out } = self;
        let mut desk = Desk { state, out };
        cursors::number_all(&mut desk)?;
        identities::take_over(&mut desk)?;
        unfinished::take_over(&mut desk)?;
        desk.barrier()
    }

    /// Refuses what needs room while there is too little.
    pub(super) fn look_for_room(&self) -> Result<(), Failed> {
        self.out.look_for_room(&self.state)
    }

    /// Books what an earlier writer owed; durable on return. Writes and syncs also when nothing was owed, as
    /// a probe of the disk.
    pub(super) fn make_good(&mut self, owed: &Owed) -> Result<(), Failed> {
        let Self { state, out } = self;
        let life = out.newest.life();
        state.put(keys::kept("opened"), life.to_be_bytes().to_vec());
        let mut desk = Desk { state, out };
        let now = desk.out.clock.now();
        erasure::go_on(&mut desk, now)?;
        for settlement in &owed.settlements {
            deliveries::settle(&mut desk, vec![settlement.copy()])?;
        }
        deliveries::not_started(&mut desk, &owed.marks, now)?;
        receipts::all_again(&mut desk, now)?;
        desk.barrier()
    }

    /// What is decided or applied but not known to be durable.
    pub(super) fn owed(&mut self) -> Owed {
        Owed { settlements: std::mem::take(&mut self.out.owed), marks: std::mem::take(&mut self.out.marks) }
    }

    /// Whether it was told to end, also where an error came of it.
    pub(super) fn was_stopped(&self) -> bool {
        self.out.stopped
    }

    /// Serves calls until told to stop, or until an error.
    pub(super) fn serve(&mut self, calls: &Receiver<Call>) -> Result<(), Failed> {
        let Self { state, out } = self;
        let mut company = false;
        let machine = Clock::system();
        let mut looked_at = Duration::ZERO;
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
            } else if out.shared.short.load(Ordering::Acquire) {
                // By the time since the last look: calls that write nothing must not put the next one off for ever.
                if machine.elapsed().saturating_sub(looked_at) >= LOOK_FOR_ROOM {
                    out.look_for_room(state)?;
                    looked_at = machine.elapsed();
                    continue;
                }
                match calls.recv_timeout(LOOK_FOR_ROOM) {
                    Ok(call) => call,
                    Err(RecvTimeoutError::Timeout) => continue,
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

    /// Decides one call and applies it, as a batch of its own.
    pub(super) fn at_once(&mut self, call: Call) -> Result<(), Failed> {
        decide(&mut self.state, &mut self.out, call, &mut 0)?;
        self.out.apply(&mut self.state)
    }

    /// Makes everything applied durable.
    pub(super) fn sync(&mut self) -> Result<(), Failed> {
        self.out.sync(&self.state)
    }
}

/// Decides one call; `false` when it was the last.
fn decide(state: &mut State, out: &mut Out, call: Call, n_calls: &mut usize) -> Result<bool, Failed> {
    let (answer, urgent) = match call {
        Call::Wake => return Ok(true),
        Call::Stop => {
            out.stopped = true;
            return Ok(false);
        }
        // What is said of a tree that is no longer the open one says nothing of this one, but for damage: its files
        // are the same.
        Call::Broken(of, failed) => {
            let is_ours = Weak::ptr_eq(&of, &Arc::downgrade(&state.opened));
            return if is_ours || matches!(failed, Failed::Damaged(_)) { Err(failed) } else { Ok(true) };
        }
        Call::Write { keys, urgent, decide } => {
            let mut desk = Desk { state, out };
            desk.room(keys)?;
            (decide(&mut desk)?, urgent)
        }
        Call::Settle(settlements, told) => {
            out.owed.extend(settlements.iter().map(Settlement::copy));
            let value = deliveries::settle(&mut Desk { state, out }, settlements)?;
            let answer: Answer = Box::new(move |number| {
                // A caller that went away does not take its settlement back.
                let _told = told.send(Decided { value, number });
            });
            (answer, false)
        }
    };
    *n_calls += 1;
    out.newest = out.newest.next();
    if urgent {
        out.shared.wanted.fetch_max(out.newest.0, Ordering::AcqRel);
    }
    out.answers.push((answer, out.newest));
    Ok(true)
}
