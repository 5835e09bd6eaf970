//! Steps through a tree that report what is not as it should be and go on.
//!
//! Each returns what it found, or `None` when that was reported; a reader so meets every mistake of a file
//! in one pass. Which keys and values exist is known to the readers, not here.

use std::collections::HashSet;

use super::diagnostic::Findings;
use super::keys::Table;
use super::names::nearest;
use super::problem::shape::{self, Thing};
use super::problem::yaml::Hint;
use super::problem::{Problem, seen};
use super::source::{Source, Spot};
use super::yaml::{Key, Node, Value};
use crate::domain::id::BadId;
use crate::domain::language::{Phrase, Said};

/// So many unknown keys of one map are told; whoever has more mends them first.
const MAX_UNKNOWN: usize = 2000;

/// Up to so many unknown keys of one map are taken for those that were meant.
const MAX_MISSPELLED: usize = 8;

/// One file being read.
pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) found: &'a mut Findings,
}

/// What a value is for: its name in messages, and an example of how to write it.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) of: Thing<'a>,
    pub(super) example: &'a str,
}

/// The keys of a map, as a reader asks for them.
#[derive(Clone, Copy)]
pub(super) struct Map<'n> {
    pub(super) spot: Spot,
    entries: &'n [(Key, Node)],
    keys: Keys,
}

/// The keys that a map may have.
#[derive(Clone, Copy, Default)]
struct Keys {
    allowed: &'static [&'static str],
    later: &'static [(&'static str, Phrase)],
    /// Some others were found, few enough to look which keys they were meant to be.
    misspelled: bool,
}

impl Keys {
    fn knows(&self, key: &str) -> bool {
        self.allowed.contains(&key) || self.later.iter().any(|(name, _)| *name == key)
    }

    /// The key that was probably meant.
    fn meant(&self, key: &str) -> Option<&'static str> {
        nearest(key, self.allowed.iter().copied().chain(self.later.iter().map(|(name, _)| *name)))
    }
}

impl<'n> Map<'n> {
    /// A map without keys, in place of one that could not be read.
    pub(super) fn empty() -> Self {
        Self { spot: Spot::START, entries: &[], keys: Keys::default() }
    }

    /// The value of `key`.
    pub(super) fn get(self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// `key` with its value; else one that was meant to be it, so that the value is looked into all the same
    /// and nobody is told that the key is missing.
    pub(super) fn entry(self, key: &str) -> Option<&'n (Key, Node)> {
        let exact = self.entries.iter().find(|(name, _)| &*name.text == key);
        let meant = |(name, _): &&(Key, Node)| {
            !self.keys.knows(&name.text) && self.keys.meant(&name.text) == Some(key)
        };
        exact.or_else(|| self.entries.iter().filter(|_| self.keys.misspelled).find(meant))
    }

    /// All keys with their values, in the order of the file.
    pub(super) fn entries(self) -> &'n [(Key, Node)] {
        self.entries
    }
}

impl Walk<'_> {
    pub(super) fn report(&mut self, spot: Spot, problem: Problem) {
        self.found.report(self.source, spot, problem);
    }

    /// A map with some of these keys; others are reported, and the rest is still read.
    pub(super) fn map<'n>(
        &mut self,
        node: &'n Node,
        wanted: Wanted<'_>,
        table: &'static Table,
    ) -> Option<Map<'n>> {
        self.keyed(node, wanted, table.names, table.later)
    }

    /// The same of a file that no admin writes, and that so needs no table.
    pub(super) fn map_of<'n>(
        &mut self,
        node: &'n Node,
        wanted: Wanted<'_>,
        allowed: &'static [&'static str],
    ) -> Option<Map<'n>> {
        self.keyed(node, wanted, allowed, &[])
    }

    fn keyed<'n>(
        &mut self,
        node: &'n Node,
        wanted: Wanted<'_>,
        allowed: &'static [&'static str],
        later: &'static [(&'static str, Phrase)],
    ) -> Option<Map<'n>> {
        let map = self.names(node, wanted)?;
        let keys = Keys { allowed, later, misspelled: false };
        let mut n_unknown = 0;
        for (key, _) in map.entries {
            if let Some((name, instead)) = later.iter().find(|(name, _)| *name == &*key.text) {
                self.not_yet(key.spot, name, *instead);
            } else if !allowed.contains(&&*key.text) {
                n_unknown += 1;
                if n_unknown > MAX_UNKNOWN {
                    self.report(key.spot, shape::too_many(wanted.of, MAX_UNKNOWN));
                    break;
                }
                let meant = keys.meant(&key.text);
                self.report(key.spot, shape::unknown_key(&key.text, wanted.of, allowed, meant));
            }
        }
        let misspelled = (1..=MAX_MISSPELLED).contains(&n_unknown);
        Some(Map { keys: Keys { misspelled, ..keys }, ..map })
    }

    /// A map whose keys are names that the admin chose.
    pub(super) fn names<'n>(&mut self, node: &'n Node, wanted: Wanted<'_>) -> Option<Map<'n>> {
        match &node.value {
            Value::Map(entries) => Some(Map { spot: node.spot, entries, keys: Keys::default() }),
            Value::List(_) | Value::Text(_) | Value::Nothing | Value::Broken => {
                self.wrong_shape(node, wanted, shape::MAP);
                None
            }
        }
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, wanted: Wanted<'_>) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(list) => Some(list),
            Value::Map(_) | Value::Text(_) | Value::Nothing | Value::Broken => {
                self.wrong_shape(node, wanted, shape::LIST);
                None
            }
        }
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, wanted: Wanted<'_>) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) => Some(&text.text),
            Value::Map(_) | Value::List(_) | Value::Nothing | Value::Broken => {
                self.wrong_shape(node, wanted, shape::TEXT);
                None
            }
        }
    }

    pub(super) fn wrong_shape(&mut self, node: &Node, wanted: Wanted<'_>, needs: Phrase) {
        let Wanted { of, example } = wanted;
        let found = match &node.value {
            Value::Map(_) => Phrase::new("a map", "一组键值"),
            Value::List(_) => Phrase::new("a list", "列表"),
            Value::Text(_) => Phrase::new("a text", "文本"),
            Value::Nothing => return self.report(node.spot, shape::no_value(of, example)),
            Value::Broken => return,
        };
        // `key：value` and `key:value` are texts to YAML, where a map was meant.
        let text = node.as_text().filter(|_| needs == shape::MAP).unwrap_or_default();
        let hint = if text.contains('：') {
            Some(Hint::FullWidth('：'))
        } else {
            text.contains(':').then_some(Hint::SpaceAfterColon)
        };
        self.report(node.spot, shape::wrong_shape(of, needs, found, example, hint));
    }

    /// `true` or `false`; the other words that YAML once had for them are refused.
    pub(super) fn switch(&mut self, node: &Node, of: &str) -> Option<bool> {
        let example = format!("{of}: true");
        let text = self.text(node, Wanted { of: Thing::Key(of), example: &example })?;
        match text {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let meant = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" | "true" | "是" => Some("true"),
                    "no" | "off" | "n" | "0" | "false" | "否" => Some("false"),
                    _ => None,
                };
                let allowed = Said::new("`true`, `false`", "`true`、`false`");
                self.report(node.spot, shape::bad_value(Thing::Key(of), other, &allowed, meant));
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn whole(
        &mut self,
        node: &Node,
        of: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let example = format!("{of}: {}", range.start());
        let text = self.text(node, Wanted { of: Thing::Key(of), example: &example })?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && range.contains(n));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let allowed = Said::new(
                format!("whole numbers from {least} to {most}"),
                format!("{least} 到 {most} 的整数"),
            );
            self.report(node.spot, shape::bad_value(Thing::Key(of), text, &allowed, None));
        }
        number
    }

    /// One of a few words, with what each stands for.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        node: &Node,
        of: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let first = words.first().map_or("", |(word, _)| word);
        let text = self.text(node, Wanted { of: Thing::Key(of), example: &format!("{of}: {first}") })?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let allowed: Vec<String> = words.iter().map(|(word, _)| seen(word)).collect();
            let allowed = Said::new(allowed.join(", "), allowed.join("、"));
            let meant = nearest(text, words.iter().map(|(word, _)| *word));
            self.report(node.spot, shape::bad_value(Thing::Key(of), text, &allowed, meant));
        }
        found
    }

    /// A name or id that a type of the domain parses.
    pub(super) fn parsed<T>(
        &mut self,
        node: &Node,
        wanted: Wanted<'_>,
        parse: fn(&str) -> Result<T, BadId>,
    ) -> Option<T> {
        let text = self.text(node, wanted)?;
        self.name(text, node.spot, parse)
    }

    pub(super) fn name<T>(
        &mut self,
        text: &str,
        spot: Spot,
        parse: fn(&str) -> Result<T, BadId>,
    ) -> Option<T> {
        match parse(text) {
            Ok(name) => Some(name),
            Err(bad) => {
                self.report(spot, shape::bad_name(text, &bad));
                None
            }
        }
    }

    /// A list of names, none twice; those that are in order.
    pub(super) fn parsed_list<T>(
        &mut self,
        node: &Node,
        wanted: Wanted<'_>,
        max: usize,
        parse: fn(&str) -> Result<T, BadId>,
    ) -> Vec<T> {
        let Some(list) = self.list(node, wanted) else { return Vec::new() };
        if list.len() > max {
            self.report(node.spot, shape::too_many(wanted.of, max));
            return Vec::new();
        }
        let mut met = HashSet::new();
        let mut names = Vec::with_capacity(list.len());
        for item in list {
            let Some(name) = self.parsed(item, wanted, parse) else { continue };
            match item.as_text() {
                Some(text) if !met.insert(text) => {
                    self.report(item.spot, shape::repeated(wanted.of, text));
                }
                Some(_) | None => names.push(name),
            }
        }
        names
    }

    pub(super) fn missing(&mut self, spot: Spot, key: &str, of: Thing<'_>, example: &str) {
        self.report(spot, shape::missing_key(key, of, example));
    }

    pub(super) fn not_yet(&mut self, spot: Spot, key: &str, instead: Phrase) {
        self.report(spot, shape::not_yet(key, instead.into()));
    }
}
