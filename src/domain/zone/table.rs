//! What a zone's clocks show: stretches of constant offset, and the rule that goes on after the last of them.
//!
//! A value without end in both directions: before its first change the first kind holds, after its last
//! one the footer's rule, or the last kind where there is none. Where it comes from is not known here.

use super::footer::Footer;

/// Beyond all instants of the calendar, and far from where sums overflow; seconds since 1970.
pub(super) const FOREVER: i64 = 1 << 45;

/// A stretch of instants (seconds since 1970) with one reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// Its first instant.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
    /// How the clocks are set.
    pub kind: &'a Kind,
}

/// How clocks are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Seconds that civil time is ahead of UTC, less than a day.
    pub offset: i32,
    /// What it is called, such as `CST`.
    pub name: Box<str>,
}

/// All that is known of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What holds before the first change.
    first: Kind,
    /// Instants of changes, strictly ascending, within [`FOREVER`].
    starts: Box<[i64]>,
    /// What holds from each of them on, as an index of `kinds`.
    which: Box<[u8]>,
    kinds: Box<[Kind]>,
    footer: Option<Footer>,
}

impl Table {
    /// A table of `changes`, each an instant and what holds from it on; `None` where they do not ascend or
    /// name a kind that there is not.
    pub(super) fn new(
        first: Kind,
        kinds: Vec<Kind>,
        changes: &[(i64, u8)],
        footer: Option<Footer>,
    ) -> Option<Self> {
        let ascend = changes.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        let known = |(at, which): &(i64, u8)| at.abs() < FOREVER && usize::from(*which) < kinds.len();
        (ascend && changes.iter().all(known)).then(|| Self {
            first,
            starts: changes.iter().map(|(at, _)| *at).collect(),
            which: changes.iter().map(|(_, which)| *which).collect(),
            kinds: kinds.into(),
            footer,
        })
    }

    /// The stretch that `instant` is in. Neighbours may have equal offsets.
    #[must_use]
    pub fn at(&self, instant: i64) -> Stretch<'_> {
        let n = self.starts.partition_point(|start| *start <= instant);
        let last = n.checked_sub(1);
        let start = last.and_then(|last| self.starts.get(last)).copied().unwrap_or(-FOREVER);
        if let (None, Some(footer)) = (self.starts.get(n), &self.footer) {
            let there = footer.at(instant);
            return Stretch { start: there.start.max(start), ..there };
        }
        let end = self.starts.get(n).copied().unwrap_or(FOREVER);
        let which = last.and_then(|last| self.which.get(last)).copied();
        let kind = which.and_then(|which| self.kinds.get(usize::from(which))).unwrap_or(&self.first);
        Stretch { start, end, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascending_changes_to_known_kinds_make_a_table() {
        let kind = |offset| Kind { offset, name: "X".into() };
        let table = |changes: &[(i64, u8)]| Table::new(kind(0), vec![kind(1), kind(2)], changes, None);
        for bad in [&[(5, 0), (5, 1)][..], &[(5, 0), (4, 1)], &[(5, 2)], &[(FOREVER, 0)]] {
            assert_eq!(table(bad), None, "{bad:?}");
        }
        let two = table(&[(5, 0), (9, 1)]).expect("a table");
        let found: Vec<_> = [4, 5, 8, 9].map(|at| two.at(at)).into_iter().collect();
        let expected = [(-FOREVER, 5, 0), (5, 9, 1), (5, 9, 1), (9, FOREVER, 2)];
        for (found, (start, end, offset)) in found.into_iter().zip(expected) {
            assert_eq!((found.start, found.end, found.kind.offset), (start, end, offset));
        }
    }
}
