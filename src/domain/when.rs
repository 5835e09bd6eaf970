//! When a rule is due, as data: parsed recurrences in civil time.
//!
//! What instants they mean in a zone is decided in `plan::recurrence`.

use chrono::NaiveDateTime;

/// One form of a rule's `when`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// A cron expression.
    Cron(Cron),
    /// Single civil times, ascending and distinct.
    At(Vec<NaiveDateTime>),
}

/// A parsed cron expression: a set of civil times as bit masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: Box<str>,
}

/// What kind of fault a cron expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronCode {
    /// It cannot be read.
    Syntax,
    /// It can be read, and no day ever matches.
    NeverFires,
    /// It is of the wider dialect, which a later version reads.
    NotYet,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CronError {
    /// What kind of fault it is.
    pub code: CronCode,
    /// What is wrong, with the value seen.
    pub message: String,
    /// Byte offset in the expression where it is wrong.
    pub at: usize,
    /// What to write instead.
    pub help: String,
}

impl Cron {
    /// Parses five fields (minute first) or six (second first).
    ///
    /// # Errors
    /// [`CronError`] with the place and the fix.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        Ok(Self { text: text.into() })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a text is no civil time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AtError {
    /// What is wrong, with the value seen.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl When {
    /// Parses one civil time, `YYYY-MM-DD HH:MM` or with `:SS`.
    ///
    /// # Errors
    /// [`AtError`] with the fix.
    pub fn at(_text: &str) -> Result<NaiveDateTime, AtError> {
        unimplemented!()
    }
}
