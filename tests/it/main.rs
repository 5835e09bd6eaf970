//! Tests of the crate as its users see it: one binary, so that it compiles once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests may fail a test"
)]

mod broken;
mod crashes;
mod disk;
mod docs;
mod edits;
mod recurrence;
mod tidy;
mod world;
