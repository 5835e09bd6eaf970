//! skeleton
use chrono::{DateTime, Utc};

use crate::domain::occurrence::Due;
use crate::domain::rule::Rule;
use crate::domain::when::When;
use crate::domain::zone::Zone;

/// The most dues that one call returns; the rest is left for the next window.
pub const MAX_OCCURRENCES: usize = 1000;

/// What becomes of civil times that a clock change skips or repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dst {
    /// As cronie.
    #[default]
    Auto,
    /// Nothing in a gap, the first pass of an overlap.
    Skip,
    /// Nothing in a gap, both passes of an overlap.
    Wall,
    /// Later by the length of the gap; the first pass of an overlap.
    Shift,
}

/// A half-open span of instants: `after < at <= until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The last instant before it.
    pub after: DateTime<Utc>,
    /// Its last instant.
    pub until: DateTime<Utc>,
}

/// Due times in the window, strictly ascending; at most [`MAX_OCCURRENCES`].
#[must_use]
pub fn occurrences(_when: &When, _zone: Zone, _dst: Dst, _window: Window) -> Vec<Due> {
    unimplemented!()
}

/// The first due time after an instant.
#[must_use]
pub fn next(_when: &When, _zone: Zone, _dst: Dst, _after: DateTime<Utc>) -> Option<Due> {
    unimplemented!()
}

/// The next `n` due times of a rule, for previews.
#[must_use]
pub fn next_dues(_rule: &Rule, _after: DateTime<Utc>, _n: usize) -> Vec<Due> {
    unimplemented!()
}
