//! The time limits of one connection, and the socket that reports to them.
//!
//! hyper's own limit on heads also runs while nothing was asked, so it cannot tell a slow head from
//! an idle connection, and it has none on answers that nobody reads. Here the socket notes what the
//! connection waits for, and one watch per connection looks at the notes; a request costs no timer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::server::Limits;
use crate::clock::Clock;

/// Bytes that are read and thrown away at a time while a connection closes.
const SCRAP_BYTES: usize = 4096;

/// What a connection waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A head that began, or the first one.
    Head(Duration),
    /// The next request; nothing of it came.
    Idle(Duration),
    /// Us.
    Answering,
    /// The answer to be taken over by the kernel.
    Answered,
    /// The other side to close, so that it can read the last answer in peace.
    Closing(Duration),
}

/// The notes of one connection.
#[derive(Debug)]
struct Notes {
    phase: Phase,
    /// Since when there are answers that the other side does not read.
    unread: Option<Duration>,
}

/// Watches over one connection.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    clock: Clock,
    limits: Arc<Limits>,
    notes: Arc<Mutex<Notes>>,
}

impl Watch {
    /// Begins with the wait for the first head.
    pub(super) fn new(clock: Clock, limits: Arc<Limits>) -> Self {
        let notes = Notes { phase: Phase::Head(clock.elapsed()), unread: None };
        Self { clock, limits, notes: Arc::new(Mutex::new(notes)) }
    }

    /// A request arrived: the wait is ours until [`Watch::answered`].
    pub(super) fn asked(&self) {
        self.notes().phase = Phase::Answering;
    }

    /// The answer is made; the next wait begins when the kernel has it.
    pub(super) fn answered(&self) {
        self.notes().phase = Phase::Answered;
    }

    /// Ends when the connection has overstayed one of its limits.
    pub(super) async fn overstayed(&self) {
        let limits = &self.limits;
        let nearest = limits.head.min(limits.idle).min(limits.unread).min(limits.closing);
        loop {
            let now = self.clock.elapsed();
            let left = self.ends_at().map(|end| end.saturating_sub(now));
            if left == Some(Duration::ZERO) {
                return;
            }
            // No wait that begins meanwhile can end sooner than the shortest limit from now.
            self.clock.sleep(left.map_or(nearest, |left| left.min(nearest))).await;
        }
    }

    fn ends_at(&self) -> Option<Duration> {
        let Notes { phase, unread } = *self.notes();
        let phase = match phase {
            Phase::Head(since) => Some(since + self.limits.head),
            Phase::Idle(since) => Some(since + self.limits.idle),
            Phase::Closing(since) => Some(since + self.limits.closing),
            Phase::Answering | Phase::Answered => None,
        };
        let unread = unread.map(|since| since + self.limits.unread);
        phase.into_iter().chain(unread).min()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that notes for a [`Watch`] what happens on it.
#[derive(Debug)]
pub(super) struct Watched {
    socket: TcpStream,
    watch: Watch,
    scraped_bytes: usize,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, watch: Watch) -> Self {
        Self { socket, watch, scraped_bytes: 0 }
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            let now = self.watch.clock.elapsed();
            self.watch.notes().unread.get_or_insert(now);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            let mut notes = self.watch.notes();
            match notes.phase {
                Phase::Idle(_) => notes.phase = Phase::Head(self.watch.clock.elapsed()),
                Phase::Head(_) | Phase::Answering | Phase::Answered | Phase::Closing(_) => {}
            }
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper calls this when it has handed over all it had, and only then.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        let mut notes = self.watch.notes();
        notes.unread = None;
        match notes.phase {
            Phase::Answered => notes.phase = Phase::Idle(self.watch.clock.elapsed()),
            Phase::Head(_) | Phase::Idle(_) | Phase::Answering | Phase::Closing(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Closes our side, then reads what still comes until the other side closes.
    ///
    /// To close with bytes unread resets the connection, and the answer that says why (413, 408, 431)
    /// would be lost on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        {
            let mut notes = this.watch.notes();
            match notes.phase {
                Phase::Closing(_) => {}
                Phase::Head(_) | Phase::Idle(_) | Phase::Answering | Phase::Answered => {
                    notes.phase = Phase::Closing(this.watch.clock.elapsed());
                }
            }
        }
        ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        while this.scraped_bytes <= this.watch.limits.closing_bytes {
            let mut scrap = [0; SCRAP_BYTES];
            let mut buffer = ReadBuf::new(&mut scrap);
            match ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => this.scraped_bytes += buffer.filled().len(),
                // The other side closed, or is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Watched {
    /// Answers that nobody reads would stay in the kernel for minutes.
    fn drop(&mut self) {
        if self.watch.notes().unread.is_some() {
            // Fails on a socket that is gone, which is as good.
            let _reset = self.socket.set_zero_linger();
        }
    }
}
