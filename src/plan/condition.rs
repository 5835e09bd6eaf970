//! A condition over a recipient, in which what is missing makes nothing true.
//!
//! MiniJinja takes what is missing for smaller than everything and unequal to everything, so
//! `fields.age < 18` would choose who never told an age. So the parts that `and`, `or` and `not` join are
//! evaluated one by one, and one that looked at something missing is neither true nor false. A part that
//! asks for the absence itself, by `is defined` or `default`, is spared.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::machinery::{Token as Lexed, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Environment, Value};

use super::audience::Verdict;
use super::render::{RenderError, person};
use super::{script, syntax};
use crate::domain::id::FieldName;
use crate::domain::recipient::Profile;

/// Name of the condition in messages.
pub(super) const KEY: &str = "where";

/// A condition over a recipient, compiled.
pub(super) struct Condition {
    environment: Environment<'static>,
    root: Node,
    /// It takes nothing from the recipient.
    constant: bool,
    /// Fields that it looks at.
    fields: BTreeSet<FieldName>,
}

/// A condition as its joining words and the parts between them.
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Part {
        /// Of its template.
        name: String,
        /// Names whose absence it asks for itself.
        guarded: Arc<BTreeSet<String>>,
    },
}

impl Condition {
    /// Compiles and checks.
    pub(super) fn new(source: &str) -> Result<Self, RenderError> {
        let uses = script::check_condition(KEY, source).map_err(first)?;
        let mut environment = script::environment();
        let root = split(&tokens(source), source, &mut environment)?;
        Ok(Self { environment, root, constant: !uses.recipient, fields: uses.fields() })
    }

    /// What it says of everybody, when it takes nothing from the recipient.
    pub(super) fn constant(&self) -> Option<Verdict> {
        self.constant.then(|| self.verdict(&Profile::default()))
    }

    /// Fields of the recipient that it looks at.
    pub(super) fn fields(&self) -> &BTreeSet<FieldName> {
        &self.fields
    }

    /// Never an error: what fails on these values is undefined.
    pub(super) fn verdict(&self, profile: &Profile) -> Verdict {
        let values = Arc::new(person(profile));
        let part = |name: &str, guarded: &Arc<BTreeSet<String>>| {
            let missing = Arc::new(AtomicBool::new(false));
            let watch =
                |map: Value| Watched { map, guarded: Arc::clone(guarded), missing: Arc::clone(&missing) };
            let mut known = (*values).clone();
            if let Some(fields) = known.remove("fields") {
                known.insert("fields", Value::from_object(watch(fields)));
            }
            let root = Value::from_object(watch(Value::from(known)));
            let result = self.environment.get_template(name).and_then(|template| template.render(root));
            match result {
                Ok(_) if missing.load(Ordering::Relaxed) => Verdict::Undefined,
                Ok(out) if out.is_empty() => Verdict::No,
                Ok(_) => Verdict::Yes,
                Err(_fails_on_these_values) => Verdict::Undefined,
            }
        };
        self.root.verdict(&part)
    }
}

impl Node {
    fn verdict(&self, part: &impl Fn(&str, &Arc<BTreeSet<String>>) -> Verdict) -> Verdict {
        match self {
            Self::Part { name, guarded } => part(name, guarded),
            Self::Not(inner) => match inner.verdict(part) {
                Verdict::Yes => Verdict::No,
                Verdict::No => Verdict::Yes,
                Verdict::Undefined => Verdict::Undefined,
            },
            Self::And(left, right) => match left.verdict(part) {
                Verdict::No => Verdict::No,
                Verdict::Yes => right.verdict(part),
                Verdict::Undefined => match right.verdict(part) {
                    Verdict::No => Verdict::No,
                    Verdict::Yes | Verdict::Undefined => Verdict::Undefined,
                },
            },
            Self::Or(left, right) => match left.verdict(part) {
                Verdict::Yes => Verdict::Yes,
                Verdict::No => right.verdict(part),
                Verdict::Undefined => match right.verdict(part) {
                    Verdict::Yes => Verdict::Yes,
                    Verdict::No | Verdict::Undefined => Verdict::Undefined,
                },
            },
        }
    }
}

/// A token, as far as the joining words need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    And,
    Or,
    Not,
    If,
    Comma,
    Open,
    Close,
    Other,
}

/// A mark with the bytes of the source that it stands for.
struct Token {
    mark: Mark,
    bytes: Range<usize>,
}

/// MiniJinja's syntax tree tells where a part begins only roughly; its tokens tell it exactly.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut after_dot = false;
    for (token, span) in tokenize(source, true, SyntaxConfig::default()).map_while(Result::ok) {
        let mark = if let Lexed::Ident(word) = token {
            match word {
                // A field may be named like a joining word.
                _ if after_dot => Mark::Other,
                "and" => Mark::And,
                "or" => Mark::Or,
                "not" => Mark::Not,
                "if" => Mark::If,
                _ => Mark::Other,
            }
        } else if matches!(token, Lexed::ParenOpen | Lexed::BracketOpen | Lexed::BraceOpen) {
            Mark::Open
        } else if matches!(token, Lexed::ParenClose | Lexed::BracketClose | Lexed::BraceClose) {
            Mark::Close
        } else if matches!(token, Lexed::Comma) {
            Mark::Comma
        } else {
            Mark::Other
        };
        after_dot = matches!(token, Lexed::Dot);
        let place = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
        tokens.push(Token { mark, bytes: place(span.start_offset)..place(span.end_offset) });
    }
    tokens
}

/// Index of the last `mark` outside of all brackets.
fn last(tokens: &[Token], mark: Mark) -> Option<usize> {
    let mut depth = 0_usize;
    let mut found = None;
    for (index, token) in tokens.iter().enumerate() {
        match token.mark {
            Mark::Open => depth += 1,
            Mark::Close => depth = depth.saturating_sub(1),
            here if here == mark && depth == 0 => found = Some(index),
            Mark::And | Mark::Or | Mark::Not | Mark::If | Mark::Comma | Mark::Other => {}
        }
    }
    found
}

/// What stands in parentheses around everything; a tuple keeps them.
fn unwrapped<'a>(tokens: &'a [Token], source: &str) -> Option<&'a [Token]> {
    let [open, inner @ .., close] = tokens else { return None };
    let round = source.get(open.bytes.clone()) == Some("(") && close.mark == Mark::Close;
    let mut depth = 0_i32;
    let stays_inside = inner.iter().all(|token| {
        depth += match token.mark {
            Mark::Open => 1,
            Mark::Close => -1,
            Mark::And | Mark::Or | Mark::Not | Mark::If | Mark::Comma | Mark::Other => 0,
        };
        depth >= 0
    });
    (round && stays_inside && !inner.is_empty() && last(inner, Mark::Comma).is_none()).then_some(inner)
}

/// Splits at the joining words, the loosest first; each part becomes a template of its own.
fn split(
    tokens: &[Token],
    source: &str,
    environment: &mut Environment<'static>,
) -> Result<Node, RenderError> {
    if let Some(inner) = unwrapped(tokens, source) {
        return split(inner, source, environment);
    }
    let whole = last(tokens, Mark::If).is_some();
    for joining in [Mark::Or, Mark::And] {
        let sides = last(tokens, joining).filter(|_| !whole).and_then(|at| tokens.split_at_checked(at));
        if let Some((left, [_, right @ ..])) = sides {
            let left = Box::new(split(left, source, environment)?);
            let right = Box::new(split(right, source, environment)?);
            return Ok(if joining == Mark::Or { Node::Or(left, right) } else { Node::And(left, right) });
        }
    }
    if let [Token { mark: Mark::Not, .. }, rest @ ..] = tokens
        && !whole
    {
        return Ok(Node::Not(Box::new(split(rest, source, environment)?)));
    }
    let bytes = match tokens {
        [first, .., last] => first.bytes.start..last.bytes.end,
        [only] => only.bytes.clone(),
        [] => 0..source.len(),
    };
    let text = source.get(bytes.clone()).unwrap_or(source);
    let guarded = script::check_condition(KEY, text).map_err(first)?.guarded;
    let name = format!("{}..{}", bytes.start, bytes.end);
    environment
        .add_template_owned(name.clone(), format!("{{% if ({text}) %}}1{{% endif %}}"))
        .map_err(|error| syntax::syntax(KEY, source, &error))?;
    Ok(Node::Part { name, guarded: Arc::new(guarded) })
}

fn first(faults: Vec<RenderError>) -> RenderError {
    faults.into_iter().next().expect("a refusal has a fault")
}

/// A map that notices when somebody asks for what it lacks.
#[derive(Debug)]
struct Watched {
    map: Value,
    guarded: Arc<BTreeSet<String>>,
    missing: Arc<AtomicBool>,
}

impl Object for Watched {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = self.map.get_item(key).ok().filter(|value| !value.is_undefined());
        let guarded = key.as_str().is_some_and(|key| self.guarded.contains(key));
        if found.is_none() && !guarded {
            self.missing.store(true, Ordering::Relaxed);
        }
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.map.try_iter() {
            Ok(keys) => Enumerator::Values(keys.collect()),
            Err(_no_map) => Enumerator::Empty,
        }
    }
}
