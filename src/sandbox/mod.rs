//! A fake WeChat platform on loopback with its own books, for tests, benchmarks and `tixing demo`.
//!
//! It is a second reading of the platform's contract: it shares no code with the client it is talked to by,
//! so that the two check each other. It serves access tokens, code2Session, templates and their
//! administration, quotas, rids, and send with counted consents and field checks, and it fails on command ([`Fault`]). It keeps honest books of what
//! it accepted, also when it destroyed the answer. It pushes events as they happen to where the console says ([`Push`]), in every mode
//! and form ([`push`]), counts calls against their quotas ([`Limit`]), and does not imitate the platform's latency unless told to.

mod api;
mod books;
mod control;
mod faults;
mod fields;
mod journal;
mod login;
mod platform;
mod post;
pub mod push;
mod quota;
mod server;
mod shelf;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use books::{Answer, Outcome, SendRecord, Totals};
pub use faults::{Api, Fault, Stage, What, When};
pub use platform::{Card, Keep, Platform};
pub use post::{Push, Pushes};
pub use quota::Limit;
pub use server::Sandbox;
pub use tokens::Acceptance;

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one. Only loopback addresses are allowed.
    pub listen: SocketAddr,
    /// The file of its books, made when missing; without one they end with the process.
    pub books: Option<PathBuf>,
    /// The mini programs it knows.
    pub apps: Vec<App>,
    /// The templates that each of them has.
    pub templates: Vec<Template>,
    /// How long it thinks between booking a send and answering it, by the clock it was given.
    pub answer_after: Duration,
}

impl Options {
    /// Any free port of 127.0.0.1, books in memory, immediate answers.
    #[must_use]
    pub fn new(apps: Vec<App>, templates: Vec<Template>) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, books: None, apps, templates, answer_after: Duration::ZERO }
    }
}

/// A mini program.
#[derive(Clone)]
pub struct App {
    /// Its id.
    pub appid: String,
    /// Its AppSecret.
    pub secret: String,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// A template of the platform.
#[derive(Clone, Debug)]
pub struct Template {
    /// Its `priTmplId`.
    pub id: String,
    /// Its title on the card.
    pub title: String,
    /// How acceptances count.
    pub kind: TemplateKind,
    /// Its fields in the order of the card. While none are listed, only the values that are sent are checked.
    pub fields: Vec<Field>,
}

/// How acceptances of a template count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateKind {
    /// One acceptance, one message (platform type 2).
    OneTime,
    /// One acceptance stands until it is refused (platform type 3).
    LongTerm,
}

/// A field of a template.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its key: `thing1`.
    pub key: String,
    /// What the card calls it.
    pub label: String,
    /// The values of an enum field, else empty.
    pub enum_values: Vec<String>,
}

impl Field {
    /// A field that is no enum.
    #[must_use]
    pub fn new(key: &str, label: &str) -> Self {
        Self { key: key.to_owned(), label: label.to_owned(), enum_values: Vec::new() }
    }
}
