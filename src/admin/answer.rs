//! Answers to operators: lines of JSON that are made while they are read, and one end.
//!
//! A list of a million rows never sits in memory: the work stands still while nobody takes its lines.
//! The work runs inside the reader's task, so a reader that goes away ends it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::store::Unavailable;

/// Most lines that are made ahead of their reader.
const LINES_AHEAD: usize = 64;

/// How a command ends: its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: a checked thing is not in order.
    NotInOrder,
    /// 64: the command was given wrongly.
    Usage,
    /// 65: data it was given is bad.
    BadData,
    /// 69: no daemon where one is needed.
    NoDaemon,
    /// 70: a fault of the program itself.
    Internal,
    /// 75: the store is held by another process, or fails; trying again can help.
    Store,
    /// 77: not permitted.
    NotPermitted,
    /// 78: the configuration is bad.
    Config,
}

impl Exit {
    const ALL: [Self; 9] = [
        Self::Done,
        Self::NotInOrder,
        Self::Usage,
        Self::BadData,
        Self::NoDaemon,
        Self::Internal,
        Self::Store,
        Self::NotPermitted,
        Self::Config,
    ];

    /// The number that the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotInOrder => 1,
            Self::Usage => 64,
            Self::BadData => 65,
            Self::NoDaemon => 69,
            Self::Internal => 70,
            Self::Store => 75,
            Self::NotPermitted => 77,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        exit.code()
    }
}

impl TryFrom<u8> for Exit {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|exit| exit.code() == code);
        known.ok_or_else(|| format!("{code} is no exit code of tixing"))
    }
}

/// Why a command failed, in a sentence for the operator, without openids that he did not write himself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// What went wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Bad data (65).
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Exit::BadData, message)
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::new(Exit::Store, format!("{error}; see `tixing status`, then try again"))
    }
}

/// The last word of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How the command ends.
    pub exit: Exit,
    /// Why, when it did not go well.
    pub message: Option<String>,
}

impl From<Failure> for End {
    fn from(Failure { exit, message }: Failure) -> Self {
        Self { exit, message: Some(message) }
    }
}

/// One piece of an answer. On the wire each is a line; an answer without an end was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An object of the result, as JSON text.
    Line(String),
    /// A sentence beside the result.
    Note(String),
    /// The last one.
    End(End),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Note(String),
    End(End),
}

impl Frame {
    /// As a line of `application/x-ndjson`, with its newline.
    #[must_use]
    pub fn to_wire(&self) -> String {
        let wire = match self {
            Self::Line(line) => return format!("{line}\n"),
            Self::Note(note) => Wire::Note(note.clone()),
            Self::End(end) => Wire::End(end.clone()),
        };
        let mut line = serde_json::to_string(&wire).expect("texts and numbers become JSON");
        line.push('\n');
        line
    }

    /// Reads what [`Frame::to_wire`] wrote. No object of a result has only `note` or `end` in it.
    #[must_use]
    pub fn from_wire(line: &str) -> Self {
        let line = line.trim_end_matches('\n');
        let special = line.starts_with("{\"note\":") || line.starts_with("{\"end\":");
        match special.then(|| serde_json::from_str(line)) {
            Some(Ok(Wire::Note(note))) => Self::Note(note),
            Some(Ok(Wire::End(end))) => Self::End(end),
            Some(Err(_)) | None => Self::Line(line.to_owned()),
        }
    }
}

/// Where the work puts its lines; waits while [`LINES_AHEAD`] are unread.
#[derive(Debug)]
pub struct Lines(mpsc::Sender<Frame>);

impl Lines {
    /// Adds an object to the result.
    ///
    /// # Errors
    /// The reader went away: end the work.
    pub async fn row(&self, row: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(row).map_err(|error| {
            Failure::new(Exit::Internal, format!("an answer cannot be written as JSON: {error}"))
        })?;
        self.put(Frame::Line(line)).await
    }

    /// Adds an object that is JSON text already, in one line.
    ///
    /// # Errors
    /// The reader went away: end the work.
    pub async fn text(&self, line: String) -> Result<(), Failure> {
        self.put(Frame::Line(line)).await
    }

    /// Adds a sentence beside the result.
    ///
    /// # Errors
    /// The reader went away: end the work.
    pub async fn note(&self, note: impl Into<String>) -> Result<(), Failure> {
        self.put(Frame::Note(note.into())).await
    }

    async fn put(&self, frame: Frame) -> Result<(), Failure> {
        let sent = self.0.send(frame).await;
        sent.map_err(|_gone| Failure::new(Exit::Internal, "nobody reads the answer any more"))
    }
}

type Work = Pin<Box<dyn Future<Output = Result<Exit, Failure>> + Send>>;

/// An answer under way. Dropping it ends the work where it waits.
pub struct Answer {
    work: Option<Work>,
    lines: mpsc::Receiver<Frame>,
    end: Option<End>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("end", &self.end).finish_non_exhaustive()
    }
}

impl Answer {
    /// An answer that `work` makes as it is read.
    pub fn of<F>(work: impl FnOnce(Lines) -> F) -> Self
    where
        F: Future<Output = Result<Exit, Failure>> + Send + 'static,
    {
        let (sender, lines) = mpsc::channel(LINES_AHEAD);
        Self { work: Some(Box::pin(work(Lines(sender)))), lines, end: None }
    }

    /// The next piece; `None` after the end.
    pub async fn next(&mut self) -> Option<Frame> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Answer::next`], for bodies and streams.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Poll::Ready(Some(frame)) = self.lines.poll_recv(context) {
            return Poll::Ready(Some(frame));
        }
        if let Some(work) = &mut self.work
            && let Poll::Ready(result) = work.as_mut().poll(context)
        {
            self.end = Some(result.map_or_else(End::from, |exit| End { exit, message: None }));
            // With the work goes its sender, so the lines come to an end.
            self.work = None;
        }
        match self.lines.poll_recv(context) {
            Poll::Ready(None) => Poll::Ready(self.end.take().map(Frame::End)),
            Poll::Ready(Some(frame)) => Poll::Ready(Some(frame)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_in_order_and_the_end_comes_last() {
        let mut answer = Answer::of(|lines| async move {
            for n in 0..3 * LINES_AHEAD {
                lines.row(&n).await?;
                tokio::task::yield_now().await;
            }
            lines.note("that is all").await?;
            Ok(Exit::NotInOrder)
        });
        for n in 0..3 * LINES_AHEAD {
            assert_eq!(answer.next().await, Some(Frame::Line(n.to_string())));
        }
        assert_eq!(answer.next().await, Some(Frame::Note("that is all".to_owned())));
        let end = Frame::End(End { exit: Exit::NotInOrder, message: None });
        assert_eq!(answer.next().await, Some(end));
        assert_eq!(answer.next().await, None);
    }

    #[tokio::test]
    async fn work_stands_still_while_nobody_reads() {
        let made = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&made);
        let mut answer = Answer::of(|lines| async move {
            loop {
                counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                lines.row(&0).await?;
            }
        });
        assert!(answer.next().await.is_some());
        assert!(made.load(std::sync::atomic::Ordering::Relaxed) <= 2 * LINES_AHEAD);
    }

    #[test]
    fn frames_survive_the_wire() {
        let frames = [
            Frame::Line(r#"{"rule":"a","end":1}"#.to_owned()),
            Frame::Line(r#"{"end":"of the world","x":1}"#.to_owned()),
            Frame::Note("two\nlines".to_owned()),
            Frame::End(End { exit: Exit::Done, message: None }),
            Frame::End(End::from(Failure::data("line 7: bad"))),
        ];
        for frame in frames {
            let wire = frame.to_wire();
            assert_eq!(wire.matches('\n').count(), 1, "{wire}");
            assert_eq!(Frame::from_wire(&wire), frame);
        }
    }

    #[test]
    fn exit_codes_are_the_promised_ones() {
        let codes: Vec<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
        assert_eq!(codes, [0, 1, 64, 65, 69, 70, 75, 77, 78]);
        for exit in Exit::ALL {
            assert_eq!(Exit::try_from(exit.code()), Ok(exit));
        }
    }
}
