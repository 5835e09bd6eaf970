//! What a text puts out whoever it is for: the parts of it that no expression makes.
//!
//! It looks at the syntax tree only, and takes a source that cannot be read for one without such parts:
//! `script` says what is wrong with it.

use minijinja::machinery::{ast, parse};
use minijinja::syntax::SyntaxConfig;

/// The constant text that the source begins with, as it is put out.
pub(super) fn beginning(source: &str) -> String {
    let Ok(ast::Stmt::Template(root)) = parse(source, "page", SyntaxConfig::default()) else {
        return String::new();
    };
    match root.children.first() {
        Some(ast::Stmt::EmitRaw(raw)) => raw.raw.to_owned(),
        Some(_) | None => String::new(),
    }
}

/// All that the source puts out, where no expression makes any of it; blanks at the ends go.
pub(super) fn whole(source: &str) -> Option<String> {
    let Ok(ast::Stmt::Template(root)) = parse(source, "text", SyntaxConfig::default()) else { return None };
    let [ast::Stmt::EmitRaw(raw)] = root.children.as_slice() else { return None };
    Some(raw.raw.trim().to_owned())
}

/// The text that the source puts out whoever it is for, its parts joined; blanks at the ends may go.
///
/// What stands inside of a condition or loop may not come at all, and is left out.
pub(super) fn parts(source: &str) -> String {
    let Ok(ast::Stmt::Template(root)) = parse(source, "text", SyntaxConfig::default()) else {
        return String::new();
    };
    let raw = root.children.iter().filter_map(|child| match child {
        ast::Stmt::EmitRaw(raw) => Some(raw.raw),
        ast::Stmt::Template(_)
        | ast::Stmt::EmitExpr(_)
        | ast::Stmt::IfCond(_)
        | ast::Stmt::ForLoop(_)
        | ast::Stmt::Set(_)
        | ast::Stmt::WithBlock(_)
        | ast::Stmt::SetBlock(_)
        | ast::Stmt::AutoEscape(_)
        | ast::Stmt::FilterBlock(_)
        | ast::Stmt::Do(_) => None,
    });
    raw.collect::<String>().trim().to_owned()
}
