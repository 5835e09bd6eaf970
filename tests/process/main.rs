//! The real program as a process: killed, stopped, misused, watched.
//!
//! The sandbox runs in the test, so it survives the daemon. Sizes come from the environment, which
//! `scripts/test` sets; what needs a tool that was not asked for says so and passes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::cast_possible_truncation,
    clippy::manual_assert,
    reason = "a test may fail, tells its seed, and builds texts plainly"
)]

mod backup;
mod clock;
mod codes;
mod daemon;
mod demo;
mod disk;
mod doors;
mod durable;
mod failing;
mod interop;
mod kill;
mod leak;
mod machine;
mod people;
mod power;
mod reload;
mod samples;
mod signing;
mod slow;
mod stop;
mod templates;
mod unit;
