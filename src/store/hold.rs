//! The end of a hold on everything, as the store answers it.
//!
//! What a hold is stands in the domain; who walks what was never walked is the flow's.

/// How an attempt to end a hold went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// It is over: everything that may have been sent is in doubt.
    Ended,
    /// The audience of an occurrence is not walked to its end yet; nothing was changed.
    NotWalked,
    /// Nothing is on hold.
    NoHold,
}
