//! The words: rules, occurrences, consents, deliveries, and what may become of them.
//!
//! Nothing here reads a clock, a file or a socket, and nothing here is serialised: files, records
//! and wire formats have shapes of their own at the edges.

pub mod id;
pub mod recipient;
pub mod template;
pub mod zone;
