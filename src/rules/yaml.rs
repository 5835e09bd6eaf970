//! YAML to a tree that remembers where everything stands; the only file that knows the YAML library.
//!
//! A typed reader stops at its first error, so it cannot give an admin all mistakes at once. This one takes
//! the events of serde-saphyr's parser, after its budgets have passed, and keeps every scalar as the text it
//! is written in (`08:30`, `0012`, `no`). An alias shares the value of its anchor, so it costs no memory, and
//! everything in it keeps the place where it is written; what all aliases would unfold into is counted, so
//! that readers, who walk it, meet no bomb. It does not know which keys exist.
//! Measured beside four other libraries in 2026-11: it alone refused every bomb at once.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

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
/// The most keys and values that the aliases of one file may unfold into, and the most bytes of text.
const MAX_UNFOLDED: Weight = Weight { values: 100_000, bytes: 1 << 20 };

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
    Map(Rc<Vec<(Key, Node)>>),
    /// A list.
    List(Rc<Vec<Node>>),
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
    pub(super) text: Rc<str>,
    written: Written,
}

/// How a scalar stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// As it is, in one line, behind so many characters (a quote, or nothing).
    Line(u8),
    /// As it is, in lines that begin where the first does.
    Block,
    /// In another way.
    Otherwise,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: Rc<str>,
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
        let Value::Text(Text { text, written }) = &self.value else { return self.spot };
        let before = text.get(..offset).unwrap_or_default();
        let (quote, lines) = match written {
            Written::Line(quote) => (u32::from(*quote), 0),
            Written::Block => (0, before.matches('\n').count()),
            Written::Otherwise => return self.spot,
        };
        let number = |n: usize| u32::try_from(n).unwrap_or(0);
        let in_line = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let line = self.spot.line + number(lines);
        Spot { line, column: self.spot.column + quote + number(in_line), length: 1 }
    }
}

/// Reads `source`; what is wrong is added to `found`, and as much as can be used comes back.
///
/// `None`: nothing can be used (reported), or the file has no content (not reported).
pub(super) fn parse(source: &Source, found: &mut Findings) -> Option<Node> {
    let text = source.text();
    if let Some(problem) = beyond(text) {
        found.add(Diagnostic::new(source, Spot::START, problem));
        return None;
    }
    let mut builder = Builder {
        source,
        found,
        open: Vec::new(),
        root: None,
        n_documents: 0,
        last: None,
        anchors: HashMap::new(),
        unfolded: Weight::default(),
    };
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

/// What of a large text goes beyond the bounds, before any of it is kept.
fn beyond(text: &str) -> Option<Problem> {
    // The most keys and values that a text can hold, by the marks between them: most texts end here, and are
    // parsed once. How deep it goes is seen on the way.
    let marks = text.bytes().map(|byte| match byte {
        // `a: b` in a list, `{a}`, `? a`: a map, a key and a value.
        b':' | b'{' | b'?' => 3,
        b',' | b'[' | b'-' => 2,
        _ => 0,
    });
    if marks.sum::<usize>() < MAX_VALUES {
        return None;
    }
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_VALUES,
        max_events: MAX_VALUES * 3,
        max_documents: 64,
        max_depth: 4 * MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        // Each unfolds into a value at least; into how many is counted where it stands.
        max_aliases: MAX_UNFOLDED.values,
        max_anchors: MAX_VALUES,
        // The size was checked before.
        max_total_scalar_bytes: 4 * text.len() + 1024,
    };
    // A mistake in the grammar is met again, and reported then.
    let report = check_yaml_budget(text, budget.unwrap_or_default(), EnforcingPolicy::AllContent).ok()?;
    match report.breached {
        None | Some(BudgetBreach::AliasAnchorRatio { .. } | BudgetBreach::MergeKeys { .. }) => None,
        Some(BudgetBreach::Depth { .. }) => Some(yaml::too_deep(MAX_DEPTH)),
        Some(_) => Some(yaml::too_many_values()),
    }
}

/// A map or list whose end has not come.
struct Open {
    spot: Spot,
    /// Byte offset of its beginning.
    at: usize,
    items: Items,
    /// 0: none.
    anchor: usize,
    /// Something in it is no YAML that is used here: the whole becomes [`Value::Broken`].
    broken: bool,
}

enum Items {
    List(Vec<Node>),
    Map(Entries),
}

/// Keys of a map that were there already, with the line of the first.
type Twice = Vec<(Key, u32)>;

/// What a map has so far.
#[derive(Default)]
struct Entries {
    list: Vec<(Key, Node)>,
    /// Maps behind `<<`, whose keys count where the map has none of its own.
    merged: Vec<Rc<Vec<(Key, Node)>>>,
    key: KeyState,
}

/// What a map waits for.
#[derive(Default)]
enum KeyState {
    /// A key.
    #[default]
    None,
    /// The value of this key.
    Of(Key),
    /// The value of a key that cannot be kept.
    Dropped,
    /// What `<<`, here, puts in.
    Merge(Spot),
}

/// A value that aliases can share.
struct Anchored {
    node: Node,
    weight: Weight,
    /// How many levels of lists and maps it has.
    height: usize,
}

/// How much a value is, with all that it holds.
#[derive(Clone, Copy, Default)]
struct Weight {
    values: usize,
    bytes: usize,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.values = self.values.saturating_add(other.values);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn is_over(self, limit: Self) -> bool {
        self.values > limit.values || self.bytes > limit.bytes
    }
}

impl Node {
    /// Adds up what it holds, up to `limit`; answers its height.
    fn measure(&self, weight: &mut Weight, limit: Weight) -> usize {
        weight.add(Weight { values: 1, bytes: 0 });
        if weight.is_over(limit) {
            return 0;
        }
        match &self.value {
            Value::Map(entries) => {
                let of = |(key, node): &(Key, Self)| {
                    weight.add(Weight { values: 1, bytes: key.text.len() });
                    node.measure(weight, limit)
                };
                1 + entries.iter().map(of).max().unwrap_or(0)
            }
            Value::List(list) => 1 + list.iter().map(|node| node.measure(weight, limit)).max().unwrap_or(0),
            Value::Text(text) => {
                weight.add(Weight { values: 0, bytes: text.text.len() });
                0
            }
            Value::Nothing | Value::Broken => 0,
        }
    }
}

struct Builder<'a> {
    source: &'a Source,
    found: &'a mut Findings,
    open: Vec<Open>,
    root: Option<Node>,
    n_documents: usize,
    /// Place and code of what was reported last.
    last: Option<(u32, u32, &'static str)>,
    /// Values with an anchor, by the parser's number for it.
    anchors: HashMap<usize, Anchored>,
    /// What aliases have unfolded into so far.
    unfolded: Weight,
}

impl Builder<'_> {
    /// Reports a problem, but not again what was said of the same place just before.
    fn report(&mut self, spot: Spot, problem: Problem) {
        let this = Some((spot.line, spot.column, problem.code));
        if self.last != this {
            self.found.report(self.source, spot, problem);
        }
        self.last = this;
    }

    /// Takes one event; `false` ends the reading.
    fn take(&mut self, event: Event<'_>, start: Marker, end: Marker) -> bool {
        let spot = spot_between(start, end);
        let at = start.byte_offset().unwrap_or(0);
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) => {
                self.n_documents += 1;
                if self.n_documents > 1 {
                    self.report(spot, yaml::several_documents());
                    return false;
                }
            }
            Event::Alias(anchor) => return self.alias(spot, anchor),
            Event::UnresolvedAlias(name) => {
                let cron = self.back(at).contains("cron");
                self.report(spot, if cron { yaml::unquoted(Unquoted::Cron) } else { yaml::alias(&name) });
                self.node(Node { spot, value: Value::Broken });
            }
            Event::Anchor(..) => {}
            Event::Comment(..) => {}
            Event::Scalar(text, style, anchor, tag) => {
                let broken = self.tag(spot, at, tag.is_some());
                let value = if broken { Value::Broken } else { self.scalar(&text, style, start, end) };
                self.anchored(anchor, Node { spot, value });
            }
            Event::SequenceStart(_, anchor, tag) => {
                let broken = self.tag(spot, at, tag.is_some());
                return self.start(Open { spot, at, items: Items::List(Vec::new()), anchor, broken });
            }
            Event::MappingStart(_, anchor, tag) => {
                let broken = self.tag(spot, at, tag.is_some());
                return self.start(Open { spot, at, items: Items::Map(Entries::default()), anchor, broken });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { spot, at: _, items, anchor, broken }) = self.open.pop() {
                    let value = match items {
                        _ if broken => Value::Broken,
                        Items::List(list) => Value::List(Rc::new(list)),
                        Items::Map(entries) => {
                            let (list, twice) = entries.whole();
                            for (key, first_line) in twice {
                                self.report(key.spot, yaml::duplicate_key(&key.text, first_line));
                            }
                            Value::Map(Rc::new(list))
                        }
                    };
                    self.anchored(anchor, Node { spot, value });
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

    /// Reports a tag before the value at byte `at`; whether there was one.
    fn tag(&mut self, spot: Spot, at: usize, tagged: bool) -> bool {
        if tagged {
            let before = self.back(at);
            let mark = before.rfind('!').and_then(|from| before.get(from..));
            let n = mark.map_or(0, |tag| tag.chars().count());
            let back = u32::try_from(n).unwrap_or(0).min(spot.column - 1);
            self.report(Spot { column: spot.column - back, length: 1, ..spot }, yaml::type_tag());
        }
        tagged
    }

    /// A little of what stands before byte `at` in its line; whole lines may be long, and such questions many.
    fn back(&self, at: usize) -> &str {
        const A_LITTLE: usize = 128;
        let text = self.source.text();
        let from = (at.saturating_sub(A_LITTLE)..=at).find(|from| text.is_char_boundary(*from));
        let before = from.and_then(|from| text.get(from..at)).unwrap_or_default();
        before.rsplit(['\n', '\r']).next().unwrap_or_default()
    }

    /// Takes a finished value, and keeps it for aliases if it has an anchor.
    fn anchored(&mut self, anchor: usize, node: Node) {
        if anchor != 0 {
            let mut weight = Weight::default();
            let height = node.measure(&mut weight, MAX_UNFOLDED);
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight, height });
        }
        self.node(node);
    }

    /// Puts the value of an anchor where its alias stands; `false` ends the reading.
    fn alias(&mut self, spot: Spot, anchor: usize) -> bool {
        let Some(Anchored { node, weight, height }) = self.anchors.get(&anchor) else {
            // Its value is not finished: the alias stands within it.
            self.report(spot, yaml::alias_in_itself());
            self.node(Node { spot, value: Value::Broken });
            return true;
        };
        self.unfolded.add(*weight);
        if self.unfolded.is_over(MAX_UNFOLDED) {
            self.report(spot, yaml::aliases_unfold_too_far(MAX_UNFOLDED.values));
            return false;
        }
        if self.open.len() + height > MAX_DEPTH {
            self.report(spot, yaml::too_deep(MAX_DEPTH));
            return false;
        }
        // What is wrong with the value is told of the place where it is written; that there is none, here.
        let spot = if matches!(node.value, Value::Nothing) { spot } else { node.spot };
        self.node(Node { spot, value: node.value.clone() });
        true
    }

    fn scalar(&self, text: &str, style: ScalarStyle, start: Marker, end: Marker) -> Value {
        let plain = matches!(style, ScalarStyle::Plain);
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Nothing;
        }
        let written =
            start.byte_offset().zip(end.byte_offset()).and_then(|(a, b)| self.source.text().get(a..b));
        let in_one_line = written.filter(|_| start.line() == end.line());
        let as_it_is = match (style, in_one_line) {
            (ScalarStyle::Plain, Some(written)) if written == text => Written::Line(0),
            (ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, Some(written))
                if written.get(1..written.len().saturating_sub(1)) == Some(text) =>
            {
                Written::Line(1)
            }
            // Where its first line is an empty one, or further in, its place says nothing of the others.
            (ScalarStyle::Literal, _) if !text.starts_with(['\n', ' ']) => Written::Block,
            _ => Written::Otherwise,
        };
        Value::Text(Text { text: text.into(), written: as_it_is })
    }

    /// Puts a finished value where it belongs.
    fn node(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        let entries = match &mut open.items {
            Items::List(list) => return list.push(node),
            Items::Map(entries) => entries,
        };
        let problem = match std::mem::take(&mut entries.key) {
            KeyState::Of(name) => {
                // What is not there is shown where it is missed.
                let spot = if matches!(node.value, Value::Nothing) { name.spot } else { node.spot };
                entries.list.push((name, Node { spot, ..node }));
                None
            }
            KeyState::Dropped => None,
            KeyState::Merge(spot) => entries.merge(node).then(|| (yaml::merge_key(), spot)),
            KeyState::None => {
                entries.key = KeyState::Dropped;
                match node.value {
                    Value::Text(Text { text, written }) if &*text == "<<" && written == Written::Line(0) => {
                        entries.key = KeyState::Merge(node.spot);
                        None
                    }
                    Value::Text(Text { text, .. }) => {
                        entries.key = KeyState::Of(Key { text, spot: node.spot });
                        None
                    }
                    Value::Broken => None,
                    Value::Nothing => Some((yaml::key_is_no_text(), node.spot)),
                    Value::Map(_) | Value::List(_) => {
                        open.broken = true;
                        let written = self.source.text().get(open.at..).unwrap_or_default();
                        Some(if written.starts_with("{{") {
                            let end = written.find("}}").unwrap_or(0);
                            let platform = written
                                .get(..end)
                                .is_some_and(|name| name.rsplit('.').next() == Some("DATA"));
                            let what = if platform { Unquoted::Platform } else { Unquoted::Expression };
                            (yaml::unquoted(what), open.spot)
                        } else {
                            (yaml::key_is_no_text(), node.spot)
                        })
                    }
                }
            }
        };
        if let Some((problem, spot)) = problem {
            self.report(spot, problem);
        }
    }

    fn scan_error(&mut self, error: &ScanError) {
        let at = *error.marker();
        let (spot, problem) = explain(self.source, spot_between(at, at), error);
        self.report(spot, problem);
    }
}

impl Entries {
    /// Takes what stands behind `<<`: a map, or a list of maps; whether it is neither.
    fn merge(&mut self, node: Node) -> bool {
        match node.value {
            Value::Map(map) => self.merged.push(map),
            Value::List(list) => {
                for item in list.iter() {
                    let Value::Map(map) = &item.value else { return true };
                    self.merged.push(Rc::clone(map));
                }
            }
            Value::Broken => {}
            Value::Text(_) | Value::Nothing => return true,
        }
        false
    }

    /// All entries: its own, each key once, then those that maps behind `<<` add, the earlier map first; and
    /// the keys of its own that were there already, with the line of the first.
    fn whole(self) -> (Vec<(Key, Node)>, Twice) {
        let Self { mut list, merged, key: _ } = self;
        let n_own = list.len();
        list.extend(merged.iter().flat_map(|map| map.iter().cloned()));
        let repeated = repeated(&list);
        if repeated.is_empty() {
            return (list, Vec::new());
        }
        let mut twice = Vec::new();
        let mut kept = Vec::with_capacity(list.len() - repeated.len());
        for (n, entry) in list.into_iter().enumerate() {
            match repeated.get(&n) {
                None => kept.push(entry),
                Some(first_line) if n < n_own => twice.push((entry.0, *first_line)),
                Some(_) => {}
            }
        }
        (kept, twice)
    }
}

/// Which entries have the key of an earlier one, with the line of that.
fn repeated(list: &[(Key, Node)]) -> BTreeMap<usize, u32> {
    // A map of sets would take more memory than the keys of a large map.
    let mut order: Vec<(&Key, usize)> = list.iter().enumerate().map(|(n, (key, _))| (key, n)).collect();
    order.sort_unstable_by(|(a, m), (b, n)| a.text.cmp(&b.text).then(m.cmp(n)));
    let runs = order.chunk_by(|(a, _), (b, _)| a.text == b.text).filter_map(<[_]>::split_first);
    runs.flat_map(|((first, _), rest)| rest.iter().map(|(_, n)| (*n, first.spot.line))).collect()
}

fn spot_between(start: Marker, end: Marker) -> Spot {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Spot { line: number(start.line()).max(1), column: number(start.col() + 1), length: number(length).max(1) }
}
