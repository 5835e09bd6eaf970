//! Pure decisions: when a rule is due, who gets it, what it says, and what follows an answer.
//!
//! Nothing here reads a clock, a file or a socket, and nothing waits: `now` and all else comes in as
//! values, so every late, early or repeated minute fits in a table test.

pub mod audience;
pub mod blame;
pub mod breaker;
pub mod canary;
mod condition;
mod constant;
pub mod crowding;
pub mod cure;
pub mod fields;
pub mod missed;
pub mod nearest;
pub mod own_time;
pub mod pace;
pub mod purse;
pub mod quiet;
pub mod quota;
pub mod rate;
pub mod recurrence;
pub mod render;
pub mod repeat;
pub mod retry;
mod script;
pub mod spread;
mod syntax;
pub mod templates;
#[cfg(test)]
mod tests_support;
pub mod turn;
pub mod words;
