//! What happened in the months, counted from the books of both sides: a misfortune that never struck proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// What must have happened at least once in a run of many months.
const MUST: &[&str] = &[
    "send errcode -1 before",
    "send errcode -1 after",
    "send errcode 43108 before",
    "send errcode 44990 before",
    "send errcode 45011 before",
    "send errcode 45009 before",
    "send errcode 47003 before",
    "send errcode 40003 before",
    "send errcode 40037 before",
    "send errcode 43101 before",
    "send errcode 48001 before",
    "send errcode 85107 before",
    "send errcode 40001 before",
    "send status 502 before",
    "send status 502 after",
    "send garbage before",
    "send garbage after",
    "send delay before",
    "send delay after",
    "send destroy before",
    "send destroy after",
    "send truncate after",
    "send hang before",
    "token errcode 40164 before",
    "token errcode -1 before",
    "token errcode 45009 before",
    "token status 502 before",
    "token garbage before",
    "token delay before",
    "token destroy before",
    "token truncate before",
    "refused 40001",
    "refused 42001",
    "refused 43101",
    "accepted, and nobody heard",
    "never looked at",
    "tried again",
    "answered -1",
    "a second card after -1",
    "the platform was gone",
    "the power went",
    "the power went at a point",
    "the power went after so many writes",
    "the power went with a failed disk",
    "a crash left something in doubt",
    "written and never there",
    "the disk failed",
    "the disk failed at a write",
    "the disk failed at a sync",
    "the disk failed at a read",
    "the store was opened again",
    "the disk was nearly full",
    "the daemon was stopped",
    "the clock jumped",
    "a rule was added",
    "a rule was changed",
    "a rule was disabled",
    "a rule was removed",
    "a broken file was refused",
    "a broken file was put right",
    "a report was refused for the time being",
    "a report came twice",
    "another content under a known id",
    "a consent was taken back in silence",
    "an import",
    "doubt settled as sent",
    "doubt settled as failed",
    "ignored: refused_since",
    "ignored: not_granted",
    "occurrence done",
    "occurrence missed",
    "occurrence missed several times",
    "occurrence cancelled",
    "skipped: no_consent",
    "skipped: muted",
    "delivery sent",
    "delivery refused",
    "delivery failed",
    "delivery expired",
    "delivery cancelled",
    "delivery in_doubt",
    "delivery presumed_sent",
    "a turn within a spread",
    "held over quiet hours",
    "skipped: quiet",
    "a pause",
    "expired during a pause",
    "a held rule was released",
    "somebody was erased",
    "somebody erased came back",
    "a report from before an erasure",
    "a visit was put",
    "a visit was taken back",
    "a reminder of a visit was sent",
    "a reminder of a changed visit was cancelled",
    "an audit",
];

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &str, n: u64) {
        if n > 0 {
            *self.0.entry(what.to_owned()).or_default() += n;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.add_struck(&other.0);
    }

    pub(super) fn add_struck(&mut self, other: &BTreeMap<String, u64>) {
        for (what, n) in other {
            self.count(what, *n);
        }
    }

    /// How often `what` happened, by now and in what is not added yet.
    pub(super) fn so_far(&self, more: &BTreeMap<String, u64>, what: &str) -> u64 {
        let of = |counts: &BTreeMap<String, u64>| counts.get(what).copied().unwrap_or(0);
        of(&self.0) + of(more)
    }

    /// What must happen and did not.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        MUST.iter().copied().filter(|what| !self.0.contains_key(*what)).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(what, n)| format!("{n} × {what}")).collect();
        f.write_str(&counts.join(", "))
    }
}
