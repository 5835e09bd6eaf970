//! The words: rules, occurrences, consents, deliveries, and what may become of them.
//!
//! Nothing here reads a clock, a file or a socket, and nothing here is serialised: files, records
//! and wire formats have shapes of their own at the edges.

pub mod appointment;
pub mod census;
pub mod config;
pub mod consent;
pub mod count;
pub mod delivery;
pub mod drift;
pub mod hold;
pub mod id;
pub mod language;
pub mod message;
pub mod occurrence;
pub mod pause;
pub mod recipient;
pub mod rejection;
pub mod rule;
pub mod template;
pub mod when;
pub mod zone;
