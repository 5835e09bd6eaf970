//! What a text that is not YAML was probably meant to be.
//!
//! The parser says where it stopped and what it expected; an admin needs to know what to type. The guesses
//! look at the line and at the one above it, where the mistake often is; they never change what is refused.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::problem::{Hint, Problem, Unquoted};
use super::source::{Source, Spot};
use super::yaml::MAX_DEPTH;

/// The problem, and its place where that is better known than to the parser.
pub(super) fn explain(source: &Source, spot: Spot, error: &ScanError) -> (Spot, Problem) {
    let above = (1..spot.line).rev().find(|n| !source.line(*n).trim().is_empty());
    let lines = [Some(spot.line), above];
    if let Some(found) = lines.into_iter().flatten().find_map(|line| from_line(source, line)) {
        return found;
    }
    let kind = error.kind();
    if matches!(kind, ErrorKind::RecursionLimitExceeded) {
        return (spot, Problem::TooDeep { max: MAX_DEPTH });
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
        return below.unwrap_or((spot, Problem::Tab));
    }
    let typed = lines.into_iter().flatten().find_map(|line| full_width(source.line(line)));
    let hint = typed.or_else(|| hint(source, spot, kind));
    (spot, Problem::Syntax { what: error.info().clone(), hint })
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
            return Some((place(expression), Problem::Unquoted(Unquoted::Expression)));
        }
    }
    let cron = text.rsplit_once("cron: ").map(|(_, cron)| cron.trim());
    if let Some(cron) = cron.filter(|cron| cron.starts_with('*')) {
        return Some((place(cron), Problem::Unquoted(Unquoted::Cron)));
    }
    if let Some(mark) = value.chars().next().filter(|c| matches!(c, '@' | '`' | '%')) {
        return Some((place(value), Problem::Unquoted(Unquoted::Mark(mark))));
    }
    let lead = text.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    lead.then(|| (place("\t"), Problem::Tab))
}

/// The first character of the Chinese keyboard that stands outside of quotes.
fn full_width(line: &str) -> Option<Hint> {
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '#') => return None,
            (
                None,
                '：' | '，' | '“' | '”' | '‘' | '’' | '［' | '］' | '｛' | '｝' | '【' | '】' | '\u{3000}'
                | '\u{a0}' | '－' | '＃',
            ) => return Some(Hint::FullWidth(c)),
            (_, _) => {}
        }
    }
    None
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
    let glued = line.split_once(':').is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with(' '));
    if quote {
        Some(Hint::CloseQuote)
    } else if bracket {
        Some(Hint::CloseBracket)
    } else if matches!(kind, ErrorKind::MappingValueNotAllowed) {
        Some(Hint::QuoteText)
    } else if place {
        Some(if glued { Hint::SpaceAfterColon } else { Hint::Indentation })
    } else {
        None
    }
}
