//! The part of MiniJinja that rule texts and conditions may use, checked at load.
//!
//! MiniJinja itself finds an unknown filter or variable only when it gets there; an admin wants to know it
//! before the due time, with its place. So the syntax tree is walked once. Evaluation is the business of
//! `render` and `audience`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::machinery::{Span, ast, parse, parse_expr};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::nearest::nearest;
use super::render::{RenderError, is_clock_format, is_time_format};
use super::syntax::{STATEMENTS, syntax};
use crate::domain::id::FieldName;
use crate::domain::language::{Phrase, Said};
use crate::domain::template::FieldKey;

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
    /// One of a rule that reminds of appointments.
    Reminder,
    /// A condition of an audience.
    Condition,
}

impl Place {
    fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["due", "fields", "ref", "rule", "tags"],
            Self::Reminder => &["appointment", "due", "fields", "ref", "rule", "tags"],
            Self::Condition => &["fields", "ref", "tags"],
        }
    }
}

/// What a sound script looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses {
    /// Something of the recipient.
    pub(super) recipient: bool,
    /// The due time, and more of it than the time of day.
    pub(super) due: bool,
    /// The due time's time of day.
    pub(super) clock: bool,
    /// Names whose absence it asks for itself, by `is defined` or `default`.
    pub(super) guarded: BTreeSet<String>,
    /// Fields it shows, and `ref`.
    named: BTreeSet<String>,
}

impl Uses {
    /// What it shows of the recipient and does not ask for first: `fields.city`, `ref`.
    pub(super) fn shown(&self) -> BTreeSet<String> {
        let asks = |name: &&String| {
            let plain = name.strip_prefix("fields.").or_else(|| name.strip_prefix("appointment."));
            !self.guarded.contains(plain.unwrap_or(name))
        };
        self.named.iter().filter(asks).cloned().collect()
    }

    /// Fields of the recipient that it looks at, also those whose absence it asks for.
    pub(super) fn fields(&self) -> BTreeSet<FieldName> {
        let fields = self.named.iter().filter_map(|name| name.strip_prefix("fields."));
        fields.filter_map(|name| FieldName::parse(name).ok()).collect()
    }
}

/// An environment with our limits, strict about undefined values, without templates.
pub(super) fn environment() -> Environment<'static> {
    /// Made once: a clone shares its filters and tests.
    static BARE: LazyLock<Environment<'static>> = LazyLock::new(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(50);
        // With it errors would carry the values of the recipient.
        environment.set_debug(false);
        environment.set_auto_escape_callback(|_name| minijinja::AutoEscape::None);
        environment
    });
    BARE.clone()
}

/// Checks the text of a data key or page.
pub(super) fn check_text(key: &str, source: &str, place: Place) -> Result<Uses, Vec<RenderError>> {
    match parse(source, key, SyntaxConfig::default()) {
        Ok(tree) => Walk::new(key, source, place).finish(|walk| walk.statement(&tree)),
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

    fn fault(&mut self, span: Span, message: Said, help: Said) {
        let offset = usize::try_from(span.start_offset).unwrap_or(usize::MAX).min(self.source.len());
        self.faults.push(RenderError { key: self.key.into(), message, offset, help });
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
            ast::Stmt::SetBlock(block) => (block.span(), Phrase::new("a set block", "set 块")),
            ast::Stmt::AutoEscape(block) => (block.span(), Phrase::new("autoescape", "autoescape")),
            ast::Stmt::FilterBlock(block) => (block.span(), Phrase::new("a filter block", "filter 块")),
            ast::Stmt::Do(call) => (call.span(), Phrase::new("do", "do")),
        };
        let (span, what) = refused;
        let message = Said::new(format!("{} is not supported", what.en), format!("不支持 {}", what.zh));
        self.fault(span, message, STATEMENTS.into());
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
                Said::new("only plain names can be set", "只能给普通名称赋值"),
                Said::new("write {% set name = … %}", "写成 {% set name = … %}"),
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
                self.known(Phrase::new("test", "判断"), test.name, &TESTS, test.span());
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
                    let help = Said::new(
                        "fields are plain texts, numbers, yes or no",
                        "字段的值只是文本、数字或真假，没有下一层",
                    );
                    let message = Said::new(
                        format!("`.{}` of a plain value", get.name),
                        format!("普通的值没有 `.{}`", get.name),
                    );
                    self.fault(get.span(), message, help);
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
                let help = Said::new(
                    "use a filter, as in {{ fields.name | upper }}",
                    "改用过滤器，例如 {{ fields.name | upper }}",
                );
                self.fault(call.span(), Said::new("there are no functions here", "这里不能调用函数"), help);
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
        self.known(Phrase::new("filter", "过滤器"), filter.name, &FILTERS, filter.span());
        if let (Some(inner), "default" | "d") = (&filter.expr, filter.name) {
            self.guard(inner);
        }
        if filter.name == "local" {
            self.local(filter);
            if is_clock(filter) {
                self.uses.clock = true;
                return;
            }
        }
        self.expressions(&filter.expr);
        self.arguments(&filter.args);
    }

    /// `due | local('%H:%M')`: the only operand, and a format that can work.
    fn local(&mut self, filter: &ast::Spanned<ast::Filter<'_>>) {
        let help = || {
            Said::new(
                "write {{ due | local('%Y年%m月%d日 %H:%M') }}",
                "写成 {{ due | local('%Y年%m月%d日 %H:%M') }}",
            )
        };
        match &filter.expr {
            Some(ast::Expr::Var(var)) if var.id == "due" && self.place != Place::Condition => {}
            Some(ast::Expr::GetAttr(get)) if self.place == Place::Reminder && is_at(get) => {}
            Some(_) | None => {
                let message = Said::new(
                    "`local` formats `due`, in rules of appointments `appointment.at` too, and nothing else",
                    "`local` 只能用来格式化 `due`；预约的规则里还有 `appointment.at`",
                );
                self.fault(filter.span(), message, help());
            }
        }
        let [ast::CallArg::Pos(argument)] = filter.args.as_slice() else {
            let message = Said::new("`local` needs one format", "`local` 要带一个时间格式");
            return self.fault(filter.span(), message, help());
        };
        let message = match as_text(argument) {
            Some(format) if is_time_format(&format) => return,
            Some(format) => {
                Said::new(format!("`{format}` is no time format"), format!("`{format}` 不是有效的时间格式"))
            }
            None => Said::new("the format must stand here as text", "时间格式要直接写成字符串"),
        };
        self.fault(argument.span(), message, help());
    }

    fn known(&mut self, what: Phrase, name: &str, all: &[&'static str], span: Span) {
        let names = || all.iter().copied();
        if names().any(|known| known == name) {
            return;
        }
        let help = meant_or_all(nearest(name, names()), all);
        let message =
            Said::new(format!("unknown {} `{name}`", what.en), format!("没有 `{name}` 这个{}", what.zh));
        self.fault(span, message, help);
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
            ("fields" | "ref" | "tags", _) => {
                self.uses.recipient = true;
                if name == "ref" {
                    self.uses.named.insert(name.to_owned());
                }
            }
            ("due", Place::Text | Place::Reminder) => self.uses.due = true,
            ("appointment", Place::Reminder) => {
                let message = Said::new("`appointment` is no value", "`appointment` 本身不是一个值");
                let help = Said::new(
                    "write `appointment.id`, `appointment.at` or a field of it",
                    "写成 `appointment.id`、`appointment.at` 或它的字段",
                );
                self.fault(span, message, help);
            }
            ("rule", Place::Text | Place::Reminder) => {
                let message = Said::new("`rule` is no value", "`rule` 本身不是一个值");
                self.fault(span, message, Said::new("write `rule.id`", "写成 `rule.id`"));
            }
            ("appointment", Place::Text) => {
                let help = Said::new(
                    "only a rule with `of` in its `when` has appointments",
                    "只有 `when` 里写了 `of` 的规则才有预约",
                );
                let message = Said::new("there is no `appointment` here", "这里没有 `appointment`");
                self.fault(span, message, help);
            }
            (_, place) => {
                let own = self.own.clone();
                let names = || place.variables().iter().copied().chain(own.iter().map(String::as_str));
                let help = match nearest(name, names()) {
                    None if FieldName::parse(name).is_ok() => {
                        let all = place.variables();
                        Said::new(
                            format!("a field is written `fields.{name}`; there are {}", all.join(", ")),
                            format!("字段要写成 `fields.{name}`；可用的有：{}", all.join("、")),
                        )
                    }
                    meant => meant_or_all(meant, place.variables()),
                };
                let message =
                    Said::new(format!("unknown variable `{name}`"), format!("没有 `{name}` 这个变量"));
                self.fault(span, message, help);
            }
        }
    }

    fn field_name(&mut self, name: &str, span: Span) {
        if let Err(bad) = FieldName::parse(name) {
            let help = Said::new(
                format!("a field name has {}", bad.allowed.en),
                format!("字段名：{}", bad.allowed.zh),
            );
            let message = Said::new(format!("`{name}` can be no field"), format!("`{name}` 不能是字段名"));
            self.fault(span, message, help);
        }
    }

    /// `fields.city`, `rule.id`.
    fn part(&mut self, of: &str, part: &str, span: Span) {
        let has_no =
            |what: &str, zh: &str| Said::new(format!("{what} has no `{part}`"), format!("{zh}没有 `{part}`"));
        match (of, self.place) {
            ("fields", _) => {
                self.uses.recipient = true;
                self.uses.named.insert(format!("fields.{part}"));
                self.field_name(part, span);
            }
            ("appointment", Place::Reminder) => {
                self.uses.recipient = true;
                if !matches!(part, "at" | "id") {
                    self.uses.named.insert(format!("appointment.{part}"));
                }
                self.field_name(part, span);
            }
            ("rule", Place::Text | Place::Reminder) if part == "id" => {}
            ("rule", Place::Text | Place::Reminder) => {
                self.fault(span, has_no("a rule", "规则"), Said::new("write `rule.id`", "写成 `rule.id`"));
            }
            ("due", Place::Text | Place::Reminder) => {
                let help = Said::new("write {{ due | local('%H:%M') }}", "写成 {{ due | local('%H:%M') }}");
                self.fault(span, has_no("`due`", "`due` "), help);
            }
            ("ref" | "tags", _) => {
                let help =
                    Said::new("write {{ ref }}, or 'vip' in tags", "写成 {{ ref }}，或者 'vip' in tags");
                self.fault(span, has_no(&format!("`{of}`"), &format!("`{of}` ")), help);
            }
            (_, Place::Text | Place::Reminder) if part == "DATA" && FieldKey::parse(of).is_ok() => {
                let message = Said::new(
                    format!("`{{{{{of}.DATA}}}}` is the platform's way to show a field"),
                    format!("`{{{{{of}.DATA}}}}` 是平台展示字段的写法"),
                );
                let help = Said::new(
                    "write here what the field shows, such as 喝水时间到",
                    "在这里直接写字段要显示的内容，例如：喝水时间到",
                );
                self.fault(span, message, help);
            }
            (_, Place::Text | Place::Reminder | Place::Condition) => self.variable(of, span),
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

/// The name that was probably meant, else all there are.
fn meant_or_all(meant: Option<&str>, all: &[&'static str]) -> Said {
    match meant {
        Some(meant) => Said::new(format!("did you mean `{meant}`?"), format!("是不是想写 `{meant}`？")),
        None => Said::new(format!("there are {}", all.join(", ")), format!("可用的有：{}", all.join("、"))),
    }
}

/// Whether this is `due | local(…)` with a format that shows the time of day alone.
fn is_clock(filter: &ast::Filter<'_>) -> bool {
    let due = matches!(&filter.expr, Some(ast::Expr::Var(var)) if var.id == "due");
    match filter.args.as_slice() {
        [ast::CallArg::Pos(format)] => due && as_text(format).is_some_and(|format| is_clock_format(&format)),
        _ => false,
    }
}

/// Whether this is `appointment.at`.
fn is_at(get: &ast::GetAttr<'_>) -> bool {
    get.name == "at" && matches!(&get.expr, ast::Expr::Var(var) if var.id == "appointment")
}

/// The text of a constant.
fn as_text(expression: &ast::Expr<'_>) -> Option<String> {
    expression.as_const().as_ref().and_then(Value::as_str).map(str::to_owned)
}
