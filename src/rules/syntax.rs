//! What a text that is not YAML was probably meant to be.
//!
//! The parser says where it stopped and what it expected; an admin needs to know what to type. The guesses
//! look at the line and at the one above it, where the mistake often is; they never change what is refused.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::problem::Problem;
use super::problem::yaml::{self, Hint, Unquoted};
use super::source::{Source, Spot};
use super::yaml::MAX_DEPTH;
use crate::domain::language::{Phrase, Said};

/// The problem, and its place where that is better known than to the parser.
pub(super) fn explain(source: &Source, spot: Spot, error: &ScanError) -> (Spot, Problem) {
    let above = (1..spot.line).rev().find(|n| is_content(source.line(*n)));
    let lines = [Some(spot.line), above];
    if let Some(found) = lines.into_iter().flatten().find_map(|line| from_line(source, line)) {
        return found;
    }
    let kind = error.kind();
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return (spot, yaml::too_deep(MAX_DEPTH));
    }
    let tab = matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    );
    if tab {
        // The parser stops at the end of the line before.
        let below = [spot.line, spot.line + 1].into_iter().find_map(|line| from_line(source, line));
        return below.unwrap_or((spot, yaml::tab()));
    }
    let typed = lines.into_iter().flatten().find_map(|line| full_width(source, line));
    if let Some((spot, hint)) = typed {
        return (spot, yaml::syntax(&in_words(kind), Some(hint)));
    }
    let hint = hint(source, spot, kind);
    let (spot, hint) = match (hint, above.and_then(|above| glued(source, above))) {
        (Some(Hint::CloseQuote), _) => (open_quote(source, spot), hint),
        (Some(Hint::Indentation), Some(glued)) => (glued, Some(Hint::SpaceAfterColon)),
        (Some(Hint::Indentation), None) => (odd_indentation(source, spot), hint),
        (hint, _) => (spot, hint),
    };
    (spot, yaml::syntax(&in_words(kind), hint))
}

fn is_content(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

/// The place of `key:value` where a line holds nothing else, which is a text to YAML.
fn glued(source: &Source, line: u32) -> Option<Spot> {
    let text = source.line(line);
    let (key, value) = text.split(" #").next()?.trim().split_once(':')?;
    let is_key =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let before = text.chars().take_while(|c| *c == ' ').count() + key.chars().count();
    let column = u32::try_from(before + 1).ok()?;
    (is_key && !value.is_empty() && !value.starts_with(' ')).then_some(Spot { line, column, length: 1 })
}

/// The line that is indented as no other is, where the parser stopped at a later one that is not: people
/// indent by two or four, so it is the one with an odd number of spaces.
fn odd_indentation(source: &Source, spot: Spot) -> Spot {
    /// A key with more lines below it is left alone.
    const MAX_LINES: u32 = 200;
    let indent = |line: u32| source.line(line).chars().take_while(|c| *c == ' ').count();
    if indent(spot.line) % 2 == 1 {
        return spot;
    }
    let lines = (spot.line.saturating_sub(MAX_LINES).max(1)..spot.line).rev();
    let mut within = lines.filter(|line| is_content(source.line(*line))).take_while(|line| indent(*line) > 0);
    let odd = within.find(|line| indent(*line) % 2 == 1);
    odd.map_or(spot, |line| {
        let column = u32::try_from(indent(line) + 1).unwrap_or(1);
        Spot { line, column, length: 1 }
    })
}

/// A value that cannot begin as it does, or a tab in front.
fn from_line(source: &Source, line: u32) -> Option<(Spot, Problem)> {
    let text = source.line(line);
    let place = |found: &str| {
        let before = text.split(found).next().map_or(0, |before| before.chars().count());
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Spot { line, column: number(before + 1), length: number(found.chars().count()) }
    };
    let value =
        text.split_once(": ").map_or_else(|| text.trim_start_matches([' ', '-']), |(_, value)| value.trim());
    let value = value.trim_start_matches(['{', ' ']);
    if text.contains("{{") || text.contains("{%") {
        let expression = text.split_once(": ").map_or(text, |(_, value)| value).trim();
        if expression.starts_with("{{") || expression.starts_with("{%") {
            return Some((place(expression), yaml::unquoted(Unquoted::Expression)));
        }
    }
    let cron = text.rsplit_once("cron: ").map(|(_, cron)| cron.trim());
    if let Some(cron) = cron.filter(|cron| cron.starts_with('*')) {
        return Some((place(cron), yaml::unquoted(Unquoted::Cron)));
    }
    if let Some(mark) = value.chars().next().filter(|c| matches!(c, '@' | '`' | '%')) {
        return Some((place(value), yaml::unquoted(Unquoted::Mark(mark))));
    }
    let lead = text.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    lead.then(|| (place("\t"), yaml::tab()))
}

/// The first character of the Chinese keyboard that stands outside of quotes, and its place.
fn full_width(source: &Source, line: u32) -> Option<(Spot, Hint)> {
    let mut quote = None;
    for (column, c) in (1..).zip(source.line(line).chars()) {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '#') => return None,
            (
                None,
                '：' | '，' | '“' | '”' | '‘' | '’' | '［' | '］' | '｛' | '｝' | '【' | '】' | '\u{3000}'
                | '\u{a0}' | '－' | '＃',
            ) => return Some((Spot { line, column, length: 1 }, Hint::FullWidth(c))),
            (_, _) => {}
        }
    }
    None
}

/// Where a quote that is not closed was opened: the last one of the nearest line above in which they are odd
/// in number.
fn open_quote(source: &Source, spot: Spot) -> Spot {
    /// A text of more lines is none that was left open.
    const MAX_LINES: u32 = 64;
    let lines = (spot.line.saturating_sub(MAX_LINES).max(1)..spot.line).rev();
    let odd = |line: u32| {
        let quotes = (1..).zip(source.line(line).chars()).filter(|(_, c)| *c == '"');
        let columns: Vec<u32> = quotes.map(|(column, _)| column).collect();
        let last = columns.last().filter(|_| columns.len() % 2 == 1)?;
        Some(Spot { line, column: *last, length: 1 })
    };
    lines.into_iter().find_map(odd).unwrap_or(spot)
}

fn hint(source: &Source, spot: Spot, kind: &ErrorKind) -> Option<Hint> {
    let quote = matches!(
        kind,
        ErrorKind::UnclosedQuotedScalar
            | ErrorKind::InvalidTrailingDoubleQuotedScalar
            | ErrorKind::InvalidTrailingSingleQuotedScalar
            | ErrorKind::InvalidQuotedScalarIndent
            | ErrorKind::DocumentIndicatorInQuotedScalar
    );
    let bracket = matches!(
        kind,
        ErrorKind::UnclosedFlowCollection { .. }
            | ErrorKind::MisplacedFlowCollectionEnd
            | ErrorKind::MismatchedFlowCollectionEnd { .. }
            | ErrorKind::UnexpectedEofFlowMapping
            | ErrorKind::UnexpectedEofFlowSequence
            | ErrorKind::ExpectedFlowMappingSeparator
            | ErrorKind::ExpectedFlowSequenceSeparator
    );
    let place = matches!(
        kind,
        ErrorKind::InvalidIndentation
            | ErrorKind::ExpectedBlockMappingKey
            | ErrorKind::ExpectedBlockSequenceEntry
            | ErrorKind::MappingKeyNotAllowed
            | ErrorKind::SimpleKeyExpected
            | ErrorKind::InvalidSimpleKey
    );
    let line = source.line(spot.line);
    let start = line.trim_start();
    let before: String = line.chars().take(usize::try_from(spot.column).unwrap_or(1) - 1).collect();
    if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
        return Some(Hint::MergeConflict);
    }
    if start.starts_with("//") || start.starts_with("/*") {
        return Some(Hint::Slashes);
    }
    let glued = line.split_once(':').is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with(' '));
    if matches!(kind, ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape) {
        Some(Hint::Backslash)
    } else if quote {
        Some(Hint::CloseQuote)
    } else if bracket {
        Some(Hint::CloseBracket)
    } else if matches!(kind, ErrorKind::MappingValueNotAllowed) {
        Some(if before.contains(": ") { Hint::QuoteText } else { Hint::Nested })
    } else if matches!(kind, ErrorKind::CommentNotSeparated | ErrorKind::CommentInterceptedScalar) {
        Some(Hint::SpaceBeforeComment)
    } else if matches!(kind, ErrorKind::FlowMappingValueAdjacentCollection) {
        Some(Hint::SpaceAfterColon)
    } else if place {
        Some(if glued { Hint::SpaceAfterColon } else { Hint::Indentation })
    } else {
        None
    }
}

/// What the parser says, in words of the file; a sentence that is not known here stays as it is.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser has many, and later ones may come")]
fn in_words(kind: &ErrorKind) -> Said {
    use ErrorKind as E;
    let phrase = match kind {
        E::UnexpectedEof
        | E::UnexpectedEofBlockMapping
        | E::UnexpectedEofBlockSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofImplicitFlowMapping => Phrase::new("it ends in the middle", "文件没有写完就结束了"),
        E::ExpectedNodeContent => Phrase::new("a value is expected here", "这里应该有一个值"),
        E::ExpectedBlockMappingKey => Phrase::new("a key is expected here", "这里应该是一个键"),
        E::ExpectedFlowMappingSeparator => {
            Phrase::new("`,` or `}` is expected here", "这里应该是 `,` 或 `}`")
        }
        E::ExpectedFlowSequenceSeparator => {
            Phrase::new("`,` or `]` is expected here", "这里应该是 `,` 或 `]`")
        }
        E::ExpectedBlockSequenceEntry => Phrase::new("`- ` is expected here", "这里应该是 `- `"),
        E::SimpleKeyExpected | E::InvalidSimpleKey | E::FlowMappingValueAdjacentCollection => {
            Phrase::new("a key is not followed by `: `", "键的后面缺少冒号和空格 `: `")
        }
        E::InvalidIndentation => Phrase::new("the line begins in a wrong column", "这一行的缩进不对"),
        E::CommentNotSeparated | E::CommentInterceptedScalar => Phrase::new(
            "a comment needs a space before `#`, and cannot stand within a text",
            "注释的 `#` 前面要有空格，也不能放在文本中间",
        ),
        E::ExpectedWhitespace => Phrase::new("a space is missing here", "这里缺少空格"),
        E::MisplacedFlowCollectionEnd | E::MismatchedFlowCollectionEnd { .. } => {
            Phrase::new("this bracket closes none of its kind", "这个括号没有与它配对的左括号")
        }
        E::UnclosedFlowCollection { .. } => Phrase::new("a bracket is not closed", "括号没有闭合"),
        E::BlockEntryInFlowCollection
        | E::BlockSequenceEntryNotAllowed
        | E::InvalidBlockEntryWhitespace
        | E::PlainScalarStartsWithDashFlowIndicator => Phrase::new("`-` cannot stand here", "这里不能用 `-`"),
        E::ZeroBlockScalarIndent | E::InvalidBlockScalarHeader | E::InvalidBlockScalarIndent => Phrase::new(
            "the text block after `|` or `>` is written wrongly",
            "`|` 或 `>` 后面的文本块写得不对",
        ),
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar | E::InvalidQuotedScalarIndent => {
            Phrase::new("a quote is not closed", "引号没有闭合")
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            Phrase::new("something stands behind the closing quote", "右引号后面还有内容")
        }
        E::UnknownQuotedScalarEscape | E::InvalidQuotedScalarHexEscape | E::InvalidUnicodeEscape => {
            Phrase::new("a `\\` in double quotes that means nothing", "双引号里的 `\\` 转义无效")
        }
        E::MappingKeyNotAllowed => Phrase::new("a key cannot stand here", "这里不能出现键"),
        E::MappingValueNotAllowed | E::InvalidColonPlacement | E::InvalidMappingValueWhitespace => {
            Phrase::new("a colon cannot stand here", "这里不能出现冒号")
        }
        E::UnexpectedCharacter { character } => {
            return Said::new(
                format!("`{}` cannot stand here", character.escape_default()),
                format!("这里不能出现 `{}`", character.escape_default()),
            );
        }
        // The parser knows others, none of which a schedule is likely to meet.
        other => return Said::new(other.to_string(), format!("写法有误（{other}）")),
    };
    phrase.into()
}
