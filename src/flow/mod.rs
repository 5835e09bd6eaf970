//! The only place where rooms meet: each flow carries data from one engine to another.

pub mod intake;
pub mod live;
