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
mod pushes;
mod recurrence;
mod tidy;
mod world;

/// A number that is said from outside, for those who play something again, longer, or with less patience.
#[expect(clippy::disallowed_methods, reason = "what is played is said from outside")]
fn said(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
