//! How many there are of something in memory, in the width in which books, wires and hashes count.
//!
//! Widths of shapes are converted where the shapes are; this is only for what `len` tells.

/// The number that `len` told, as a 64-bit figure.
///
/// No machine this runs on counts further, so nothing is cut.
#[must_use]
pub fn n_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
