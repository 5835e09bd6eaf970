//! What is wrong in a file, for the admin who wrote it and for programs that read `check --json`.
//!
//! A [`Diagnostic`] is complete: place, code, text and fix in both languages, and the line as it is written.
//! It is made from a `Problem`, which holds the texts; nothing here knows YAML or what a rule is. Which
//! language is read is decided by who prints.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::problem::{Problem, file};
use super::source::{Source, Spot};
use crate::domain::language::{Language, Said};

/// The most diagnostics that one check lists; the last of them then says how many are left.
pub const MAX_DIAGNOSTICS: usize = 10_000;

/// Whether what was found stops the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It works, but probably not as it was meant.
    Warning,
}

impl Severity {
    /// The word in JSON and in text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong, where it is, and how to mend it.
///
/// Its text form, [`Self::text`], is several lines with a caret under the place; `Display` is the English one.
/// Secrets and openids are in none of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A word that stays the same over releases and languages; [`super::CODES`] lists them.
    pub code: &'static str,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong, with the value seen and the values possible.
    pub message: Said,
    /// What to write instead.
    pub help: Said,
    /// The part of the line around the place, where it may be shown.
    pub source_line: Option<SourceLine>,
}

/// A piece of one line, with the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The piece.
    pub text: String,
    /// How many of its characters are before the place.
    pub before: usize,
    /// How many characters the place has, at least 1.
    pub length: usize,
}

impl Diagnostic {
    /// `problem` of `source` at `spot`.
    pub(super) fn new(source: &Source, spot: Spot, problem: Problem) -> Self {
        Self {
            severity: problem.severity,
            code: problem.code,
            file: source.name().to_owned(),
            line: spot.line,
            column: spot.column,
            message: problem.message,
            help: problem.help,
            source_line: source.excerpt(spot),
        }
    }

    /// `problem` of something that has no lines to show: a folder, or a file that cannot be read.
    pub(super) fn of_file(name: &str, problem: Problem) -> Self {
        Self {
            severity: problem.severity,
            code: problem.code,
            file: name.to_owned(),
            line: 1,
            column: 1,
            message: problem.message,
            help: problem.help,
            source_line: None,
        }
    }

    /// The object of `check --json`.
    #[must_use]
    pub fn to_json(&self, language: Language) -> serde_json::Value {
        /// Pinned: other programs read it.
        #[derive(Serialize)]
        struct Shape<'a> {
            severity: &'static str,
            code: &'static str,
            file: &'a str,
            line: u32,
            column: u32,
            message: &'a str,
            help: &'a str,
        }
        serde_json::json!(Shape {
            severity: self.severity.as_str(),
            code: self.code,
            file: &self.file,
            line: self.line,
            column: self.column,
            message: self.message.to(language),
            help: self.help.to(language),
        })
    }
}

impl Severity {
    fn word(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Error | Self::Warning, Language::English) => self.as_str(),
            (Self::Error, Language::Chinese) => "错误",
            (Self::Warning, Language::Chinese) => "警告",
        }
    }
}

impl Diagnostic {
    /// What a person reads: the message, the place, the line with a caret, and the fix.
    #[must_use]
    pub fn text(&self, language: Language) -> String {
        let mut out = String::new();
        self.write(&mut out, language).expect("a String takes all");
        out
    }

    fn write(&self, f: &mut impl fmt::Write, language: Language) -> fmt::Result {
        let (colon, help) = match language {
            Language::English => (": ", "help: "),
            Language::Chinese => ("：", "解决办法："),
        };
        let word = self.severity.word(language);
        writeln!(f, "{word}[{}]{colon}{}", self.code, self.message.to(language))?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        if let Some(line) = &self.source_line {
            let marked = line.text.chars().skip(line.before).take(line.length);
            let carets: usize = marked.map(|c| if is_wide(c) { 2 } else { 1 }).sum();
            writeln!(f, "{margin} |\n{number} | {}", line.text)?;
            let lead: String = line.text.chars().take(line.before).map(blank).collect();
            writeln!(f, "{margin} | {lead}{}", "^".repeat(carets.max(1)))?;
        }
        write!(f, "{margin} = {help}{}", self.help.to(language))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Language::English)
    }
}

/// What keeps the caret under its character: as wide as `c`, and empty.
fn blank(c: char) -> char {
    match c {
        '\t' => '\t',
        c if is_wide(c) => '\u{3000}',
        _ => ' ',
    }
}

/// Whether terminals give `c` two cells: CJK, kana, hangul, full-width forms, emoji.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x2_0000..=0x3_fffd)
}

/// All that was found; as an error it holds at least one [`Severity::Error`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether any of them stops the files from being used.
    #[must_use]
    pub fn any_error(&self) -> bool {
        self.0.iter().any(|found| found.severity == Severity::Error)
    }

    /// All of them as people read them, an empty line between two.
    #[must_use]
    pub fn text(&self, language: Language) -> String {
        let texts: Vec<String> = self.0.iter().map(|found| found.text(language)).collect();
        texts.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Language::English))
    }
}

impl std::error::Error for Diagnostics {}

/// Where diagnostics are gathered; keeps [`MAX_DIAGNOSTICS`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
    /// How many were not kept, and how many of those were errors.
    more: usize,
    errors: usize,
}

impl Findings {
    pub(super) fn add(&mut self, found: Diagnostic) {
        if self.count(found.severity) {
            self.list.push(found);
        }
    }

    /// Adds `problem` of `source` at `spot`; nothing is made of one that is not kept.
    pub(super) fn report(&mut self, source: &Source, spot: Spot, problem: Problem) {
        if self.count(problem.severity) {
            self.list.push(Diagnostic::new(source, spot, problem));
        }
    }

    /// Counts one more; whether it is to be kept.
    fn count(&mut self, severity: Severity) -> bool {
        if severity == Severity::Error {
            self.errors += 1;
        }
        let keep = self.list.len() < MAX_DIAGNOSTICS - 1;
        self.more += usize::from(!keep);
        keep
    }

    pub(super) fn n_errors(&self) -> usize {
        self.errors
    }

    /// What was gathered: file by file in the order of reading, and by line within one.
    pub(super) fn into_diagnostics(mut self) -> Diagnostics {
        let mut rank: HashMap<String, usize> = HashMap::new();
        for found in &self.list {
            let next = rank.len();
            rank.entry(found.file.clone()).or_insert(next);
        }
        self.list.sort_by_key(|found| (rank.get(&found.file).copied(), found.line, found.column));
        // An alias brings the mistakes of its value again, told of the same place.
        self.list.dedup();
        if self.more > 0 {
            let last = self.list.last().map_or_else(String::new, |last| last.file.clone());
            let problem = file::too_many_findings(self.more, self.errors);
            self.list.push(Diagnostic::of_file(&last, problem));
        }
        Diagnostics(self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::yaml;
    use super::*;

    #[test]
    fn the_caret_stands_under_wide_characters() {
        let source = Source::new("a.yaml", "值: 喝水 x\n".to_owned());
        let spot = Spot { line: 1, column: 7, length: 1 };
        let shown = Diagnostic::new(&source, spot, yaml::tab()).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.get(1), Some(&" --> a.yaml:1:7"));
        assert_eq!(lines.get(3), Some(&"1 | 值: 喝水 x"));
        assert_eq!(lines.get(4), Some(&"  | \u{3000}  \u{3000}\u{3000} ^"));
        let chinese = Diagnostic::new(&source, spot, yaml::tab()).text(Language::Chinese);
        assert_eq!(chinese.lines().nth(4), lines.get(4).copied());
        assert_eq!(chinese.lines().last(), Some("  = 解决办法：把它换成空格"));
    }

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let mut findings = Findings::default();
        let source = Source::new("a.yaml", String::new());
        for line in 0..MAX_DIAGNOSTICS + 5 {
            let spot = Spot { line: u32::try_from(line).unwrap_or(0), ..Spot::START };
            findings.add(Diagnostic::new(&source, spot, yaml::tab()));
        }
        let list = findings.into_diagnostics().0;
        assert_eq!(list.len(), MAX_DIAGNOSTICS);
        assert!(list.last().is_some_and(|last| last.message.en.contains('6')));
    }
}
