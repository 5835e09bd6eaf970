//! Why nothing at all is sent until a person has said what was lost: books that may be older than what was done.
//!
//! A pause is an operator's wish and ends with his word alone; a hold says that the books do not know what has been sent
//! since they were written, and ends with everything that may have been in doubt.

use chrono::{DateTime, SecondsFormat, Utc};

/// A hold on everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What made it.
    pub cause: Cause,
    /// When.
    pub since: DateTime<Utc>,
}

/// What makes a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The books were restored from a backup of this instant.
    Restored {
        /// When the backup was made.
        made_at: DateTime<Utc>,
    },
    /// The store's folder is an older copy of itself, or lacks what it had: of damaged files the engine takes what it can read.
    OlderCopy,
    /// Another store lies where this one was.
    OtherStore,
    /// There is a record of a hold that cannot be read.
    Unreadable,
}

/// Under this name the store keeps when the last hold ended, in milliseconds: whatever was due until then, of appointments
/// that the books lacked, may have been sent.
pub const LOST_UNTIL: &str = "lost_until";

/// How a hold is ended, for people.
pub const WAY_OUT: &str = "`tixing release --lost-since TIME` ends it";

/// For people: `the books were restored from a backup of 2026-03-01T00:00:00Z`.
impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cause {
            Cause::Restored { made_at } => {
                let made_at = made_at.to_rfc3339_opts(SecondsFormat::Secs, true);
                write!(f, "the books were restored from a backup of {made_at}")
            }
            Cause::OlderCopy => write!(
                f,
                "the store is an older copy of itself, or damaged, and nobody knows what was sent since"
            ),
            Cause::OtherStore => {
                write!(f, "another store lies where this one was, and nobody knows what was sent since")
            }
            Cause::Unreadable => write!(f, "a record says so that cannot be read"),
        }
    }
}
