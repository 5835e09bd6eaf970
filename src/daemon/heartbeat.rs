//! Tells whoever watches the daemon that its work moves on: the scheduler looks, the store's writer answers.
//!
//! A beat follows from progress and from nothing else: a timer would beat on over a part that hangs. There
//! is no limit of time in here: while nothing moves there is no beat, and the watcher has its own patience.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::flow::pulse::Pulse;
use crate::store::{Closing, Progress, Store, Unavailable};

/// How long the writer is left alone when it could not take a question.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What must have moved since the last beat.
#[derive(Debug)]
pub struct Heartbeat {
    store: Arc<dyn Store>,
    clock: Clock,
    scheduler: Pulse,
    /// Looks of the scheduler as of the last beat.
    seen: u64,
}

impl Heartbeat {
    /// Feels the scheduler's pulse and asks the writer of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock, scheduler: Pulse) -> Self {
        let seen = scheduler.looks();
        Self { store, clock, scheduler, seen }
    }

    /// Calls `beat` about `every` so often, each time after work has moved on since the last; never ends.
    pub async fn run(mut self, every: Duration, beat: impl Fn() + Send) -> ! {
        loop {
            self.moved().await;
            beat();
            self.clock.sleep(every).await;
        }
    }

    /// Waits until the scheduler has looked since the last call and the writer has answered.
    async fn moved(&mut self) {
        self.writer_answers().await;
        self.scheduler.after(self.seen).await;
        self.seen = self.scheduler.looks();
    }

    /// Waits for the writer's answer to a question that changes nothing: it is decided in its turn, behind
    /// all that waits, and it is durable only after a sync.
    ///
    /// A store that says it has failed has answered: that daemon waits for its disk, and killing it would not help.
    async fn writer_answers(&self) {
        while let Err(Unavailable) = self.ask().await {
            match *self.store.progress().borrow() {
                Progress::Failed => return,
                // The queue is full; behind a writer that hangs it stays so.
                Progress::Durable(_) => {}
            }
            self.clock.sleep(ASK_AGAIN).await;
        }
    }

    async fn ask(&self) -> Result<(), Unavailable> {
        // Nothing to end, so it is taken also when the disk is nearly full.
        let asked = self.store.close(Vec::new(), Closing::Expired, self.clock.now()).await?;
        self.store.wait(asked.number).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use chrono::DateTime;
    use tokio::task::coop::{Unconstrained, unconstrained};

    use super::Heartbeat;
    use crate::clock::Clock;
    use crate::flow::pulse::{AtWork, Pulse};
    use crate::store::ledger::Ledger;
    use crate::store::sled::{self, Options};
    use crate::store::{Closing, Pending, Store};

    const EVERY: Duration = Duration::from_secs(20);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Scheduler {
        Looks,
        Hangs,
        /// There is none while the store is away.
        Rests,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Writer {
        Answers,
        Hangs,
        HangsBehindAFullQueue,
        Failed,
    }

    /// Holds up whoever wakes it, until its sender is dropped.
    struct Snag(Mutex<Receiver<()>>);

    impl Wake for Snag {
        fn wake(self: Arc<Self>) {
            let _let_go = self.0.lock().unwrap().recv();
        }
    }

    /// A writer's thread that hangs, until this is dropped: it wakes the one who waits for its answer.
    struct Hung {
        _let_go: SyncSender<()>,
        _asked: Pin<Box<Unconstrained<Pending<Vec<bool>>>>>,
    }

    fn hang(store: &Ledger) -> Hung {
        let (let_go, snag) = sync_channel(0);
        let waker = Waker::from(Arc::new(Snag(Mutex::new(snag))));
        loop {
            // Tokio lets a task only ask so often; what it then calls pending has not been looked at.
            let mut asked = Box::pin(unconstrained(ask(store)));
            // Answered before it was waited for, it wakes nobody.
            if asked.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                return Hung { _let_go: let_go, _asked: asked };
            }
        }
    }

    fn ask(store: &Ledger) -> Pending<Vec<bool>> {
        Store::close(store, Vec::new(), Closing::Expired, DateTime::UNIX_EPOCH)
    }

    fn is_refused(store: &Ledger) -> bool {
        let asked = pin!(unconstrained(ask(store))).poll(&mut Context::from_waker(Waker::noop()));
        asked.map(|answer| answer.is_err()).is_ready()
    }

    /// Polls `heartbeat` until nothing but the clock holds it up, or what hangs.
    async fn stir<F: Future>(heartbeat: &mut Pin<&mut F>, store: &Ledger, writer: Writer) {
        for _ in 0..4 {
            assert!(heartbeat.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if writer == Writer::Answers {
                // Whatever it asked was asked before this.
                let asked = ask(store).await.unwrap();
                store.wait(asked.number).await.unwrap();
            }
        }
    }

    /// Beats within two periods with such a scheduler and such a writer, after a first one when all was well.
    async fn beats(scheduler: Scheduler, writer: Writer) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(DateTime::UNIX_EPOCH);
        let store = Arc::new(sled::open(&Options::new(folder.path().join("store")), clock.clone()).unwrap());
        let pulse = Pulse::default();
        let mut at_work: Option<AtWork> = Some(pulse.begin());
        let n = AtomicU32::new(0);
        let as_store: Arc<dyn Store> = Arc::<Ledger>::clone(&store);
        let heartbeat = Heartbeat::new(as_store, clock.clone(), pulse);
        let mut heartbeat = pin!(heartbeat.run(EVERY, || {
            n.fetch_add(1, Ordering::Relaxed);
        }));
        stir(&mut heartbeat, &store, Writer::Answers).await;
        assert_eq!(n.load(Ordering::Relaxed), 0, "a scheduler that has not looked yet");
        at_work.as_ref().unwrap().looked();
        stir(&mut heartbeat, &store, Writer::Answers).await;
        assert_eq!(n.load(Ordering::Relaxed), 1, "all is well");

        let mut hung = None;
        match writer {
            Writer::Answers => {}
            Writer::Hangs => hung = Some(hang(&store)),
            Writer::HangsBehindAFullQueue => {
                hung = Some(hang(&store));
                while !is_refused(&store) {}
            }
            Writer::Failed => store.close(),
        }
        for _ in 0..2 {
            match (scheduler, &at_work) {
                (Scheduler::Looks, Some(at_work)) => at_work.looked(),
                (Scheduler::Rests, _) => at_work = None,
                (Scheduler::Looks | Scheduler::Hangs, _) => {}
            }
            clock.advance(EVERY);
            stir(&mut heartbeat, &store, writer).await;
        }
        drop(hung);
        n.load(Ordering::Relaxed) - 1
    }

    #[tokio::test]
    async fn nothing_beats_over_a_part_that_hangs() {
        for (scheduler, writer, expected) in [
            (Scheduler::Looks, Writer::Answers, 2),
            (Scheduler::Hangs, Writer::Answers, 0),
            (Scheduler::Looks, Writer::Hangs, 0),
            (Scheduler::Looks, Writer::HangsBehindAFullQueue, 0),
            (Scheduler::Hangs, Writer::Hangs, 0),
            (Scheduler::Rests, Writer::Hangs, 0),
            // A daemon that waits for its disk: the store has said so, and its flows rest.
            (Scheduler::Rests, Writer::Failed, 2),
            (Scheduler::Hangs, Writer::Failed, 0),
        ] {
            assert_eq!(beats(scheduler, writer).await, expected, "{scheduler:?} {writer:?}");
        }
    }
}
