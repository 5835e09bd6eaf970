//! The part of MiniJinja that rule texts and conditions may use, checked at load.
//!
//! MiniJinja itself finds an unknown filter or variable only when it gets there; an admin wants to know it
//! before the due time, with its place. So the syntax tree is walked once. Evaluation is the business of
//! `render` and `audience`.

use std::collections::BTreeSet;

use minijinja::machinery::{Span, ast, parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::nearest::nearest;
use super::render::RenderError;
use crate::domain::id::FieldName;

/// How much work one evaluation may do, in instructions.
const FUEL: u64 = 10_000;

/// Filters of MiniJinja that make sense on texts, numbers and tags, and our `local`.
const FILTERS: [&str; 22] = [
    "abs",
    "capitalize",
    "d",
    "default",
    "first",
    "float",
    "int",
    "join",
    "last",
    "length",
    "list",
    "local",
    "lower",
    "replace",
    "round",
    "sort",
    "split",
    "string",
    "title",
    "trim",
    "unique",
    "upper",
];
/// Tests of MiniJinja that make sense on them.
const TESTS: [&str; 18] = [
    "defined",
    "undefined",
    "none",
    "true",
    "false",
    "boolean",
    "number",
    "integer",
    "float",
    "string",
    "odd",
    "even",
    "divisibleby",
    "startingwith",
    "endingwith",
    "in",
    "eq",
    "ne",
];

/// Where a script stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A data value or page.
    Text,
    /// A condition of an audience.
    Condition,
}

impl Place {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["due", "fields", "ref", "rule", "tags"],
            Self::Condition => &["fields", "ref", "tags"],
        }
    }
}

/// What a sound script looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// Something of the recipient.
    pub(super) recipient: bool,
    /// Names whose absence it asks for itself, by `is defined` or `default`.
    pub(super) guarded: BTreeSet<String>,
}

/// An environment with our limits, strict about undefined values, without templates.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    // With it errors would carry the values of the recipient.
    environment.set_debug(false);
    environment.set_auto_escape_callback(|_name| minijinja::AutoEscape::None);
    environment
}

/// Checks the text of a data key or page.
pub(super) fn check_text(key: &str, source: &str) -> Result<Uses, Vec<RenderError>> {
    match parse(source, key, SyntaxConfig::default()) {
        Ok(tree) => Walk::new(key, source, Place::Text).finish(|walk| walk.statement(&tree)),
        Err(error) => Err(vec![syntax(key, source, &error)]),
    }
}

/// Checks a condition.
pub(super) fn check_condition(key: &str, source: &str) -> Result<Uses, Vec<RenderError>> {
    match parse_expr(source) {
        Ok(tree) => Walk::new(key, source, Place::Condition).finish(|walk| walk.expression(&tree)),
        Err(error) => Err(vec![syntax(key, source, &error)]),
    }
}

/// The constant text that the source begins with, as it is put out.
pub(super) fn constant_start(source: &str) -> String {
    let Ok(ast::Stmt::Template(root)) = parse(source, "page", SyntaxConfig::default()) else {
        return String::new();
    };
    match root.children.first() {
        Some(ast::Stmt::EmitRaw(raw)) => raw.raw.to_owned(),
        Some(_) | None => String::new(),
    }
}

/// An error that MiniJinja found while it read `source`.
pub(super) fn syntax(key: &str, source: &str, error: &Error) -> RenderError {
    let detail = error.detail().unwrap_or("it cannot be read").to_owned();
    let help = match detail.strip_prefix("unknown statement ") {
        Some("include" | "import" | "from" | "extends" | "block" | "macro" | "call") => {
            "a rule text stands alone: no include, import, extends, block or macro"
        }
        Some(_) => "the statements are if, for, set and with",
        None if error.kind() == ErrorKind::SyntaxError => {
            "a value is written {{ fields.name }}, a condition {% if … %}…{% endif %}"
        }
        None => "",
    };
    let offset = error.range().map_or(0, |range| range.start).min(source.len());
    RenderError { key: key.to_owned(), message: detail, offset, help: help.to_owned() }
}

/// One walk over a syntax tree.
struct Walk<'a> {
    key: &'a str,
    source: &'a str,
    place: Place,
    /// Names that the script itself gave, innermost last.
    own: Vec<String>,
    uses: Uses,
    faults: Vec<RenderError>,
}

impl<'a> Walk<'a> {
    fn new(key: &'a str, source: &'a str, place: Place) -> Self {
        Self { key, source, place, own: Vec::new(), uses: Uses::default(), faults: Vec::new() }
    }

    fn finish(mut self, walk: impl FnOnce(&mut Self)) -> Result<Uses, Vec<RenderError>> {
        walk(&mut self);
        if self.faults.is_empty() { Ok(self.uses) } else { Err(self.faults) }
    }

    fn fault(&mut self, span: Span, message: String, help: String) {
        let offset = usize::try_from(span.start_offset).unwrap_or(usize::MAX).min(self.source.len());
        self.faults.push(RenderError { key: self.key.to_owned(), message, offset, help });
    }

    fn statements(&mut self, body: &[ast::Stmt<'_>]) {
        for statement in body {
            self.statement(statement);
        }
    }

    /// Walks `body` with names that end with it.
    fn scope(&mut self, names: &[&ast::Expr<'_>], body: &[ast::Stmt<'_>]) {
        let outer = self.own.len();
        for name in names {
            self.name(name);
        }
        self.statements(body);
        self.own.truncate(outer);
    }

    fn statement(&mut self, statement: &ast::Stmt<'_>) {
        let refused = match statement {
            ast::Stmt::Template(root) => return self.statements(&root.children),
            ast::Stmt::EmitExpr(emit) => return self.expression(&emit.expr),
            ast::Stmt::EmitRaw(_) => return,
            ast::Stmt::IfCond(branch) => {
                self.expression(&branch.expr);
                self.statements(&branch.true_body);
                return self.statements(&branch.false_body);
            }
            ast::Stmt::ForLoop(each) => {
                self.expression(&each.iter);
                let outer = self.own.len();
                self.own.push("loop".to_owned());
                self.name(&each.target);
                each.filter_expr.iter().for_each(|filter| self.expression(filter));
                self.statements(&each.body);
                self.own.truncate(outer);
                return self.statements(&each.else_body);
            }
            ast::Stmt::Set(set) => {
                self.expression(&set.expr);
                return self.name(&set.target);
            }
            ast::Stmt::WithBlock(with) => {
                with.assignments.iter().for_each(|(_, value)| self.expression(value));
                let names: Vec<_> = with.assignments.iter().map(|(name, _)| name).collect();
                return self.scope(&names, &with.body);
            }
            ast::Stmt::SetBlock(block) => (block.span(), "a set block"),
            ast::Stmt::AutoEscape(block) => (block.span(), "autoescape"),
            ast::Stmt::FilterBlock(block) => (block.span(), "a filter block"),
            ast::Stmt::Do(call) => (call.span(), "do"),
        };
        let help = "the statements are if, for, set and with".to_owned();
        self.fault(refused.0, format!("{} is not supported", refused.1), help);
    }

    /// Notes the names that an assignment gives.
    fn name(&mut self, target: &ast::Expr<'_>) {
        match target {
            ast::Expr::Var(var) => self.own.push(var.id.to_owned()),
            ast::Expr::List(list) => list.items.iter().for_each(|item| self.name(item)),
            ast::Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.name(item)),
            other @ (ast::Expr::Const(_)
            | ast::Expr::Slice(_)
            | ast::Expr::UnaryOp(_)
            | ast::Expr::BinOp(_)
            | ast::Expr::Compare(_)
            | ast::Expr::IfExpr(_)
            | ast::Expr::Filter(_)
            | ast::Expr::Test(_)
            | ast::Expr::GetAttr(_)
            | ast::Expr::GetItem(_)
            | ast::Expr::Call(_)
            | ast::Expr::Map(_)) => self.fault(
                other.span(),
                "only plain names can be set".to_owned(),
                "write {% set name = … %}".to_owned(),
            ),
        }
    }

    fn expressions<'e, 's: 'e>(&mut self, all: impl IntoIterator<Item = &'e ast::Expr<'s>>) {
        all.into_iter().for_each(|expression| self.expression(expression));
    }

    fn expression(&mut self, expression: &ast::Expr<'_>) {
        match expression {
            ast::Expr::Const(_) => {}
            ast::Expr::Var(var) => self.variable(var.id, var.span()),
            ast::Expr::Slice(slice) => {
                self.expression(&slice.expr);
                self.expressions([&slice.start, &slice.stop, &slice.step].into_iter().flatten());
            }
            ast::Expr::UnaryOp(op) => self.expression(&op.expr),
            ast::Expr::BinOp(op) => self.expressions([&op.left, &op.right]),
            ast::Expr::Compare(compare) => {
                self.expression(&compare.expr);
                self.expressions(compare.ops.iter().map(|op| &op.expr));
            }
            ast::Expr::IfExpr(branch) => {
                self.expressions([&branch.test_expr, &branch.true_expr]);
                self.expressions(&branch.false_expr);
            }
            ast::Expr::Filter(filter) => self.filter(filter),
            ast::Expr::Test(test) => {
                self.known("test", test.name, &TESTS, test.span());
                if matches!(test.name, "defined" | "undefined") {
                    self.guard(&test.expr);
                }
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            ast::Expr::GetAttr(get) => {
                if let ast::Expr::Var(var) = &get.expr
                    && self.is_ours(var.id)
                {
                    return self.part(var.id, get.name, get.span());
                }
                self.expression(&get.expr);
                if !matches!(&get.expr, ast::Expr::Var(_)) {
                    let help = "fields are plain texts, numbers, yes or no".to_owned();
                    self.fault(get.span(), format!("`.{}` of a plain value", get.name), help);
                }
            }
            ast::Expr::GetItem(get) => {
                if let (ast::Expr::Var(var), Some(part)) = (&get.expr, as_text(&get.subscript_expr))
                    && self.is_ours(var.id)
                {
                    return self.part(var.id, &part, get.span());
                }
                self.expressions([&get.expr, &get.subscript_expr]);
            }
            ast::Expr::Call(call) => {
                let help = "use a filter, as in {{ fields.name | upper }}".to_owned();
                self.fault(call.span(), "there are no functions here".to_owned(), help);
            }
            ast::Expr::List(list) => self.expressions(&list.items),
            ast::Expr::Tuple(tuple) => self.expressions(&tuple.items),
            ast::Expr::Map(map) => self.expressions(map.keys.iter().chain(&map.values)),
        }
    }

    fn arguments(&mut self, arguments: &[ast::CallArg<'_>]) {
        for argument in arguments {
            match argument {
                ast::CallArg::Pos(value)
                | ast::CallArg::Kwarg(_, value)
                | ast::CallArg::PosSplat(value)
                | ast::CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    fn filter(&mut self, filter: &ast::Spanned<ast::Filter<'_>>) {
        self.known("filter", filter.name, &FILTERS, filter.span());
        if let (Some(inner), "default" | "d") = (&filter.expr, filter.name) {
            self.guard(inner);
        }
        if filter.name == "local" {
            self.local(filter);
        }
        self.expressions(&filter.expr);
        self.arguments(&filter.args);
    }

    /// `due | local('%H:%M')`: the only operand, and a format that can work.
    fn local(&mut self, filter: &ast::Spanned<ast::Filter<'_>>) {
        let help = || "write {{ due | local('%Y年%m月%d日 %H:%M') }}".to_owned();
        match &filter.expr {
            Some(ast::Expr::Var(var)) if var.id == "due" && self.place == Place::Text => {}
            Some(_) | None => {
                self.fault(filter.span(), "`local` formats `due` and nothing else".to_owned(), help());
            }
        }
        match filter.args.as_slice() {
            [ast::CallArg::Pos(argument)] => match as_text(argument) {
                Some(format) if super::render::is_time_format(&format) => {}
                Some(format) => {
                    self.fault(argument.span(), format!("`{format}` is no time format"), help());
                }
                None => self.fault(argument.span(), "the format must stand here as text".to_owned(), help()),
            },
            _ => self.fault(filter.span(), "`local` needs one format".to_owned(), help()),
        }
    }

    fn known(&mut self, what: &str, name: &str, all: &[&'static str], span: Span) {
        let names = || all.iter().copied();
        if names().any(|known| known == name) {
            return;
        }
        let help = match nearest(name, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.fault(span, format!("unknown {what} `{name}`"), help);
    }

    /// Whether a name means one of our variables here.
    fn is_ours(&self, name: &str) -> bool {
        !self.own.iter().any(|own| own == name)
    }

    fn variable(&mut self, name: &str, span: Span) {
        if !self.is_ours(name) {
            return;
        }
        match (name, self.place) {
            ("fields" | "ref" | "tags", _) => self.uses.recipient = true,
            ("due", Place::Text) => {}
            ("rule", Place::Text) => {
                self.fault(span, "`rule` is no value".to_owned(), "write `rule.id`".to_owned());
            }
            ("appointment", Place::Text) => {
                let help = "a rule with `of` has appointments; a later version reads them".to_owned();
                self.fault(span, "there is no `appointment` here".to_owned(), help);
            }
            (_, place) => {
                let own = self.own.clone();
                let names = || place.variables().iter().copied().chain(own.iter().map(String::as_str));
                let help = match nearest(name, names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if FieldName::parse(name).is_ok() => {
                        format!(
                            "a field is written `fields.{name}`; there are {}",
                            place.variables().join(", ")
                        )
                    }
                    None => format!("there are {}", place.variables().join(", ")),
                };
                self.fault(span, format!("unknown variable `{name}`"), help);
            }
        }
    }

    /// `fields.city`, `rule.id`.
    fn part(&mut self, of: &str, part: &str, span: Span) {
        match (of, self.place) {
            ("fields", _) => {
                self.uses.recipient = true;
                if let Err(bad) = FieldName::parse(part) {
                    let help = format!("a field name has {}", bad.allowed);
                    self.fault(span, format!("`{part}` can be no field"), help);
                }
            }
            ("rule", Place::Text) if part == "id" => {}
            ("rule", Place::Text) => {
                self.fault(span, format!("a rule has no `{part}`"), "write `rule.id`".to_owned());
            }
            ("due", Place::Text) => {
                let help = "write {{ due | local('%H:%M') }}".to_owned();
                self.fault(span, format!("`due` has no `{part}`"), help);
            }
            ("ref" | "tags", _) => {
                let help = "write {{ ref }}, or 'vip' in tags".to_owned();
                self.fault(span, format!("`{of}` has no `{part}`"), help);
            }
            (_, Place::Text | Place::Condition) => self.variable(of, span),
        }
    }

    fn guard(&mut self, inner: &ast::Expr<'_>) {
        let name = match inner {
            ast::Expr::GetAttr(get) => Some(get.name.to_owned()),
            ast::Expr::GetItem(get) => as_text(&get.subscript_expr),
            ast::Expr::Var(var) => Some(var.id.to_owned()),
            ast::Expr::Const(_)
            | ast::Expr::Slice(_)
            | ast::Expr::UnaryOp(_)
            | ast::Expr::BinOp(_)
            | ast::Expr::Compare(_)
            | ast::Expr::IfExpr(_)
            | ast::Expr::Filter(_)
            | ast::Expr::Test(_)
            | ast::Expr::Call(_)
            | ast::Expr::List(_)
            | ast::Expr::Tuple(_)
            | ast::Expr::Map(_) => None,
        };
        self.uses.guarded.extend(name);
    }
}

/// The text of a constant.
fn as_text(expression: &ast::Expr<'_>) -> Option<String> {
    expression.as_const().as_ref().and_then(Value::as_str).map(str::to_owned)
}
