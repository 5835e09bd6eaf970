//! Everything that can be wrong in a file, and the only place where texts about it are built.
//!
//! A [`Problem`] is made by a function of its name, in the file of its subject, where its code, its two
//! texts and their translations stand together. What is wrong is found out elsewhere; places and lines
//! are added by a diagnostic. No text holds the value of a secret or an openid.

mod codes;
pub(super) mod config;
pub(super) mod file;
pub(super) mod meaning;
pub(super) mod rule;
pub(super) mod shape;
pub(super) mod when;
pub(super) mod yaml;

pub use codes::CODES;

use super::diagnostic::Severity;
use super::source::masked;
use crate::domain::language::{Phrase, Said};

/// Longest value that a message repeats, in characters.
const MAX_SEEN: usize = 60;

/// One thing that is wrong, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    /// One of [`CODES`].
    pub(super) code: &'static str,
    /// What is wrong, with the value seen.
    pub(super) message: Said,
    /// What to write instead, or what is possible.
    pub(super) help: Said,
}

fn error(code: &'static str, message: Said, help: Said) -> Problem {
    /// For what a library finds without knowing a cure.
    const LOOK: (&str, &str) =
        ("correct it here; the examples in schedules/ show how", "改正这里；schedules/ 里的示例可以参考");
    let help = if help.en.is_empty() { Said::new(LOOK.0, LOOK.1) } else { help };
    Problem { severity: Severity::Error, code, message, help }
}

fn warning(code: &'static str, message: Said, help: Said) -> Problem {
    Problem { severity: Severity::Warning, ..error(code, message, help) }
}

/// `text` between backticks, short, on one line, and without what looks like a secret.
pub(super) fn seen(text: &str) -> String {
    let mut short: String =
        masked(text).chars().take(MAX_SEEN + 1).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.chars().count() > MAX_SEEN {
        short.pop();
        short.push('…');
    }
    format!("`{short}`")
}

/// The half-width character that a full-width one of the Chinese keyboard stands for; others are their own.
fn half_width(c: char) -> char {
    match c {
        '“' | '”' => '"',
        '‘' | '’' => '\'',
        '。' => '.',
        '、' => ',',
        '【' => '[',
        '】' => ']',
        '\u{3000}' | '\u{a0}' => ' ',
        // This block repeats ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    }
}

/// `help`, and before it what to type where `text` has a full-width character.
fn with_typed(text: &str, help: Said) -> Said {
    let Some(full) = text.chars().find(|c| half_width(*c) != *c) else { return help };
    let half = half_width(full);
    Said::new(
        format!("type `{half}` instead of the full-width `{full}`; {}", help.en),
        format!("请把全角的 `{full}` 改成半角的 `{half}`；{}", help.zh),
    )
}

/// Chinese before Chinese, or with a space behind code and Latin letters.
fn spaced(mut chinese: String) -> String {
    if chinese.ends_with(|c: char| c.is_ascii()) {
        chinese.push(' ');
    }
    chinese
}

/// Chinese behind Chinese, or with a space before code and Latin letters.
fn led(chinese: &str) -> String {
    if chinese.starts_with(|c: char| c.is_ascii()) { format!(" {chinese}") } else { chinese.to_owned() }
}

/// Names one after the other.
fn list<S: AsRef<str>>(names: &[S]) -> Said {
    /// More names than a person reads are no help.
    const MAX_LISTED: usize = 24;
    if names.is_empty() {
        return Said::new("none", "（无）");
    }
    let shown: Vec<String> = names.iter().take(MAX_LISTED).map(|name| seen(name.as_ref())).collect();
    let (en, zh) = (shown.join(", "), shown.join("、"));
    match names.len().checked_sub(MAX_LISTED) {
        None | Some(0) => Said::new(en, zh),
        Some(more) => Said::new(format!("{en}, and {more} more"), format!("{zh}，还有 {more} 个")),
    }
}

/// What was probably meant, and what there is: `did you mean `a`? allowed: `a`, `b``.
fn meant_or(meant: Option<&str>, lead: Phrase, possible: &Said) -> Said {
    let (en, zh) = match meant {
        Some(name) => (format!("did you mean {}? ", seen(name)), format!("是不是想写 {}？", seen(name))),
        None => Default::default(),
    };
    Said::new(format!("{en}{}: {}", lead.en, possible.en), format!("{zh}{}：{}", lead.zh, possible.zh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_short_and_without_secrets() {
        assert_eq!(seen("喝\n水"), "`喝 水`");
        assert_eq!(seen(&"x".repeat(1_000_000)).chars().count(), MAX_SEEN + 3);
        assert!(!seen("0123456789abcdef0123456789abcdef").contains("abc"));
    }
}
