//! What a key of a file is: its name, what it means, and its place in the schema.
//!
//! One table per map, in `schedule_keys` and `config_keys`; the loader takes the names it allows from it, the
//! schema everything, so that the two cannot drift. How a value is read is decided by the readers.

use serde_json::Value;

use crate::domain::language::Phrase;

/// What is known of one kind of map.
pub(super) struct Table {
    /// The names of its keys, in the order in which messages list them.
    pub(super) names: &'static [&'static str],
    /// The same keys, with what is known of them.
    pub(super) keys: &'static [Key],
    /// Keys that a later version carries out, and what to do until then.
    pub(super) later: &'static [(&'static str, Phrase)],
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it means, for the admin who points at it in an editor.
    pub(super) about: &'static str,
    /// A value as JSON.
    pub(super) example: &'static str,
    pub(super) absent: Absent,
    /// What its value looks like, as JSON Schema.
    pub(super) shape: fn() -> Value,
}

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The file is refused.
    Mistake,
    /// It is as if this were written, in JSON.
    Default(&'static str),
    /// This, which no value says.
    Means(&'static str),
}

/// The names of a table, made by the compiler.
#[expect(
    clippy::indexing_slicing,
    reason = "run by the compiler alone, where a step beyond the end is an error"
)]
pub(super) const fn names<const N: usize>(keys: &[Key]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = keys[at].name;
        at += 1;
    }
    names
}

/// Declares the tables of maps: the keys of each, and those that come later.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = [$($key:expr),* $(,)?], later: $later:expr;)*) => {$(
        $(#[$doc])*
        pub(in crate::rules) static $name: $crate::rules::keys::Table = {
            const KEYS: &[$crate::rules::keys::Key] = &[$($key),*];
            $crate::rules::keys::Table {
                names: &$crate::rules::keys::names::<{ KEYS.len() }>(KEYS),
                keys: KEYS,
                later: $later,
            }
        };
    )*};
}
pub(super) use keys;
