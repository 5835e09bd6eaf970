//! The operators' door: what they ask, and the answers, the same through the socket and without a daemon.
//!
//! [`desk::Desk`] holds the operations; [`server`] puts them behind a unix socket, the command line
//! calls them directly when no daemon runs. Nothing here prints, and nothing decides about deliveries.

pub mod answer;
mod appointments;
mod census;
pub mod control;
pub mod desk;
mod doubt;
mod drift;
mod explain;
mod forecast;
pub mod import;
pub mod instant;
mod lists;
pub mod mask;
mod metrics;
mod pauses;
mod people;
mod reminders;
pub mod request;
mod send;
pub mod server;
mod standstill;
pub mod templates;
pub mod who;

#[cfg(test)]
mod tests;
