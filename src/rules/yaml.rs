//! YAML to a tree that remembers where everything stands; the only file that knows the YAML library.
//!
//! A typed reader stops at its first error, so it cannot give an admin all mistakes at once. This one takes
//! the events of serde-saphyr's parser, after its budgets have passed, keeps every scalar as the text it is
//! written in (`08:30`, `0012`, `no`), and never expands an alias. It does not know which keys exist.
//! Measured beside four other libraries in 2026-11: it alone refused every bomb at once.

use std::collections::HashMap;

use serde_saphyr::budget::{BudgetBreach, EnforcingPolicy, check_yaml_budget};
use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Diagnostic, Findings};
use super::problem::Problem;
use super::problem::yaml::{self, Unquoted};
use super::source::{Source, Spot};
use super::syntax::explain;

/// How deep values may be nested; the deepest that a key allows is 8.
pub const MAX_DEPTH: usize = 32;
/// The most keys and values of one file; 1 MiB of rules as people write them stays far below.
pub const MAX_VALUES: usize = 250_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) spot: Spot,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Keys and values in their order; each key once.
    Map(Vec<(Key, Node)>),
    /// A list.
    List(Vec<Node>),
    /// A text as it is written.
    Text(Text),
    /// Nothing after the colon, or `~` or `null`.
    Nothing,
    /// Something that was reported already; nothing more is to be said about it.
    Broken,
}

/// A scalar.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) text: String,
    /// Where its first character stands, when all of it stands in the file as it is, in one line.
    verbatim: Option<Spot>,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) spot: Spot,
}

impl Node {
    /// The text, when it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            Value::Map(_) | Value::List(_) | Value::Nothing | Value::Broken => None,
        }
    }

    /// The place of the byte at `offset` of this text; its beginning when it is not written as it is.
    pub(super) fn spot_in(&self, offset: usize) -> Spot {
        let Value::Text(Text { text, verbatim: Some(start) }) = &self.value else { return self.spot };
        let before = text.char_indices().take_while(|(at, _)| *at < offset).count();
        let column = start.column + u32::try_from(before).unwrap_or(0);
        Spot { column, length: 1, ..*start }
    }
}

/// Reads `source`; what is wrong is added to `found`, and as much as can be used comes back.
///
/// `None`: nothing can be used (reported), or the file has no content (not reported).
pub(super) fn parse(source: &Source, found: &mut Findings) -> Option<Node> {
    let text = source.text();
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_VALUES,
        max_events: MAX_VALUES * 3,
        max_documents: 64,
        max_depth: 4 * MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        // Neither is ever expanded; each one is reported by its place below.
        max_aliases: MAX_VALUES,
        max_anchors: MAX_VALUES,
        // The size was checked before.
        max_total_scalar_bytes: 4 * text.len() + 1024,
    };
    match check_yaml_budget(text, budget.unwrap_or_default(), EnforcingPolicy::AllContent) {
        // A mistake in the grammar is met again below, and is reported there.
        Err(_scan_error) => {}
        Ok(report) => match report.breached {
            None | Some(BudgetBreach::AliasAnchorRatio { .. } | BudgetBreach::MergeKeys { .. }) => {}
            Some(BudgetBreach::Depth { .. }) => {
                found.add(Diagnostic::new(source, Spot::START, yaml::too_deep(MAX_DEPTH)));
                return None;
            }
            Some(_) => {
                found.add(Diagnostic::new(source, Spot::START, yaml::too_many_values()));
                return None;
            }
        },
    }
    let mut builder = Builder { source, found, open: Vec::new(), root: None, n_documents: 0, last: None };
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        emit_unresolved_aliases: true,
    };
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if !builder.take(event, span.start, span.end) {
                    return None;
                }
            }
            Err(error) => {
                builder.scan_error(&error);
                return None;
            }
        }
    }
    builder.root
}

/// A map or list whose end has not come.
struct Open {
    spot: Spot,
    items: Items,
    /// Something in it is no YAML that is used here: the whole becomes [`Value::Broken`].
    broken: bool,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashMap<String, u32>, key: KeyState },
}

/// What a map waits for.
enum KeyState {
    /// A key.
    None,
    /// The value of this key.
    Of(Key),
    /// The value of a key that cannot be kept.
    Dropped,
}

struct Builder<'a> {
    source: &'a Source,
    found: &'a mut Findings,
    open: Vec<Open>,
    root: Option<Node>,
    n_documents: usize,
    /// Place and code of what was reported last.
    last: Option<(u32, u32, &'static str)>,
}

impl Builder<'_> {
    /// Reports a problem, but not again what was said of the same place just before.
    fn report(&mut self, spot: Spot, problem: Problem) {
        let this = Some((spot.line, spot.column, problem.code));
        if self.last != this {
            self.found.add(Diagnostic::new(self.source, spot, problem));
        }
        self.last = this;
    }

    /// Takes one event; `false` ends the reading.
    fn take(&mut self, event: Event<'_>, start: Marker, end: Marker) -> bool {
        let spot = spot_between(start, end);
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                self.n_documents += 1;
                if self.n_documents > 1 {
                    self.report(spot, yaml::several_documents());
                    return false;
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let cron = self.source.line(spot.line).contains("cron");
                self.report(spot, if cron { yaml::unquoted(Unquoted::Cron) } else { yaml::alias() });
                self.node(Node { spot, value: Value::Broken });
            }
            Event::Anchor(..) => {}
            Event::Comment(..) => {}
            Event::Scalar(text, style, anchor, tag) => {
                let broken = self.properties(spot, anchor, tag.is_some());
                let value = if broken { Value::Broken } else { self.scalar(&text, style, start, end) };
                self.node(Node { spot, value });
            }
            Event::SequenceStart(_, anchor, tag) => {
                let broken = self.properties(spot, anchor, tag.is_some());
                return self.start(Open { spot, items: Items::List(Vec::new()), broken });
            }
            Event::MappingStart(_, anchor, tag) => {
                let broken = self.properties(spot, anchor, tag.is_some());
                let items = Items::Map { entries: Vec::new(), seen: HashMap::new(), key: KeyState::None };
                return self.start(Open { spot, items, broken });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { spot, items, broken }) = self.open.pop() {
                    let value = match items {
                        _ if broken => Value::Broken,
                        Items::List(list) => Value::List(list),
                        Items::Map { entries, .. } => Value::Map(entries),
                    };
                    self.node(Node { spot, value });
                }
            }
            // An event of a later parser: what it holds is unknown, so nothing is made of the file.
            _ => {
                self.report(spot, yaml::syntax(&yaml::UNKNOWN_CONSTRUCT.into(), None));
                return false;
            }
        }
        true
    }

    fn start(&mut self, open: Open) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.report(open.spot, yaml::too_deep(MAX_DEPTH));
            return false;
        }
        self.open.push(open);
        true
    }

    /// Reports an anchor or a tag; whether there was one.
    fn properties(&mut self, spot: Spot, anchor: usize, tagged: bool) -> bool {
        if anchor != 0 {
            self.report(self.before(spot, '&'), yaml::anchor());
        }
        if tagged {
            self.report(self.before(spot, '!'), yaml::type_tag());
        }
        anchor != 0 || tagged
    }

    /// The place of the last `mark` before `spot` in its line.
    fn before(&self, spot: Spot, mark: char) -> Spot {
        let until = usize::try_from(spot.column).unwrap_or(0);
        let line = self.source.line(spot.line).chars().take(until).enumerate();
        let column = line.filter(|(_, c)| *c == mark).last().and_then(|(n, _)| u32::try_from(n + 1).ok());
        column.map_or(spot, |column| Spot { column, length: 1, ..spot })
    }

    fn scalar(&self, text: &str, style: ScalarStyle, start: Marker, end: Marker) -> Value {
        let plain = matches!(style, ScalarStyle::Plain);
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Nothing;
        }
        let written =
            start.byte_offset().zip(end.byte_offset()).and_then(|(a, b)| self.source.text().get(a..b));
        let spot = spot_between(start, end);
        let verbatim = written.and_then(|written| {
            let inner = match style {
                ScalarStyle::Plain => (written == text).then_some(0),
                ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
                    let inner = written.get(1..written.len().saturating_sub(1));
                    (inner == Some(text)).then_some(1)
                }
                ScalarStyle::Literal | ScalarStyle::Folded => None,
            };
            inner.map(|quote| Spot { column: spot.column + quote, ..spot })
        });
        Value::Text(Text { text: text.to_owned(), verbatim: verbatim.filter(|_| start.line() == end.line()) })
    }

    /// Puts a finished value where it belongs.
    fn node(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        let (entries, seen, key) = match &mut open.items {
            Items::List(list) => return list.push(node),
            Items::Map { entries, seen, key } => (entries, seen, key),
        };
        match std::mem::replace(key, KeyState::None) {
            KeyState::Of(name) => {
                // What is not there is shown where it is missed.
                let spot = if matches!(node.value, Value::Nothing) { name.spot } else { node.spot };
                entries.push((name, Node { spot, ..node }));
            }
            KeyState::Dropped => {}
            KeyState::None => {
                *key = KeyState::Dropped;
                let spot = node.spot;
                let problem: Option<(Problem, Spot)> = match node.value {
                    Value::Text(Text { text, .. }) if text == "<<" => Some((yaml::merge_key(), spot)),
                    Value::Text(Text { text, .. }) => {
                        let first_line = seen.get(&text).copied();
                        if first_line.is_none() {
                            seen.insert(text.clone(), spot.line);
                            *key = KeyState::Of(Key { text: text.clone(), spot });
                        }
                        first_line.map(|first_line| (yaml::duplicate_key(&text, first_line), spot))
                    }
                    Value::Broken => None,
                    Value::Nothing => Some((yaml::key_is_no_text(), spot)),
                    Value::Map(_) | Value::List(_) => {
                        open.broken = true;
                        let at = self.source.line(open.spot.line).chars();
                        let at: String =
                            at.skip(usize::try_from(open.spot.column).unwrap_or(1) - 1).take(2).collect();
                        Some(if at == "{{" {
                            (yaml::unquoted(Unquoted::Expression), open.spot)
                        } else {
                            (yaml::key_is_no_text(), spot)
                        })
                    }
                };
                if let Some((problem, spot)) = problem {
                    self.report(spot, problem);
                }
            }
        }
    }

    fn scan_error(&mut self, error: &ScanError) {
        let at = *error.marker();
        let (spot, problem) = explain(self.source, spot_between(at, at), error);
        self.report(spot, problem);
    }
}

fn spot_between(start: Marker, end: Marker) -> Spot {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Spot { line: number(start.line()).max(1), column: number(start.col() + 1), length: number(length).max(1) }
}
