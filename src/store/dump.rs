//! A dump of everything, as its reader holds it.
//!
//! Its lines are the engine's; they are only for one that reads them back.

use std::sync::Arc;

/// A dump under way; dropped, it is over. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Dump(pub(in crate::store) Arc<()>);

/// What comes of reading a dump on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// The next lines; none when it is whole.
    Lines(Vec<String>),
    /// It was given up: too much changed meanwhile, or the store failed.
    Overtaken,
    /// It was given up at a record that cannot be read, for this reason.
    Unreadable(String),
}
