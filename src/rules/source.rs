//! The text of one file with its lines, and which of them may be shown.
//!
//! An error must never print a secret or an openid (promise P9), also not when an admin wrote one where it
//! does not belong; so a line is shown only when nothing around it speaks of such things.

use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::diagnostic::SourceLine;
use super::problem::{Problem, file};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// How much of a line is shown, in characters.
const MAX_SHOWN: usize = 120;
/// How many bytes of lines are read to show pieces of them; thousands of mistakes in one line of a megabyte
/// would take minutes.
const MAX_READ_TO_SHOW: usize = 4 << 20;
/// Words of lines that are not shown, nor what is indented under them.
const HIDDEN_WORDS: [&str; 7] = ["secret", "token", "aes_key", "openid", "whsec_", "password", "proxy"];

/// A place in a file, counted in characters from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) line: u32,
    pub(super) column: u32,
    /// How many characters it covers in its line, at least 1.
    pub(super) length: u32,
}

impl Spot {
    /// The beginning of a file.
    pub(super) const START: Self = Self { line: 1, column: 1, length: 1 };
}

/// One file, read and cut into lines.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    text: String,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
    /// Which lines must not be shown; most files are never asked.
    hidden: OnceCell<Vec<bool>>,
    /// How many bytes of lines were read to show pieces of them.
    shown: Cell<usize>,
}

impl Source {
    /// A file of this name and text, from wherever it came; a byte order mark is taken off.
    pub(super) fn new(name: &str, text: String) -> Self {
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let mut lines = vec![0];
        let mut bytes = text.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            // As YAML counts them: LF, CR LF, and a CR alone.
            let crlf = byte == b'\r' && bytes.peek().is_some_and(|(_, next)| *next == b'\n');
            if byte == b'\n' || byte == b'\r' && !crlf {
                lines.push(at + 1);
            }
        }
        Self { name: name.to_owned(), text, lines, hidden: OnceCell::new(), shown: Cell::new(0) }
    }

    /// Checks bytes that came from a file called `name`.
    ///
    /// # Errors
    /// The problem and its place: not UTF-8, or a control character.
    pub(super) fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, Box<(Self, Spot, Problem)>> {
        let source = match String::from_utf8(bytes) {
            Ok(text) => Self::new(name, text),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let source = Self::new(name, String::from_utf8_lossy(error.as_bytes()).into_owned());
                let spot = source.spot_of(good);
                return Err(Box::new((source, spot, file::not_utf8())));
            }
        };
        let control = |c: &(usize, char)| c.1.is_control() && !matches!(c.1, '\t' | '\n' | '\r');
        let found = source.text.char_indices().find(control);
        match found {
            Some((at, c)) => {
                let spot = source.spot_of(at);
                Err(Box::new((source, spot, file::control_character(u32::from(c)))))
            }
            None => Ok(source),
        }
    }

    /// The name under which the file is reported.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, without a byte order mark.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text, for keeping.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The line of this number, from 1, without its end.
    pub(super) fn line(&self, number: u32) -> &str {
        let n = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(start) = self.lines.get(n).copied() else { return "" };
        let end = self.lines.get(n + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// The place of the byte at `offset`.
    pub(super) fn spot_of(&self, offset: usize) -> Spot {
        let n = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(n - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Spot { line: number(n), column: number(before + 1), length: 1 }
    }

    /// The piece of the line around `spot`, unless it must not be shown.
    pub(super) fn excerpt(&self, spot: Spot) -> Option<SourceLine> {
        if self.is_hidden(spot.line) {
            return None;
        }
        let line = self.line(spot.line);
        self.shown.set(self.shown.get().saturating_add(line.len()));
        if self.shown.get() > MAX_READ_TO_SHOW {
            return None;
        }
        let before = usize::try_from(spot.column).ok()?.saturating_sub(1);
        let length = usize::try_from(spot.length).ok()?.clamp(1, MAX_SHOWN);
        let skip = if before + length > MAX_SHOWN { before.saturating_sub(MAX_SHOWN / 2) } else { 0 };
        let text: String = masked(line).chars().skip(skip).take(MAX_SHOWN).collect();
        if text.trim().is_empty() {
            return None;
        }
        let before = (before - skip).min(text.chars().count());
        let length = length.min(text.chars().count().saturating_sub(before)).max(1);
        Some(SourceLine { text, before, length })
    }

    /// Whether the line, or one that it is indented under, speaks of secrets or openids.
    fn is_hidden(&self, number: u32) -> bool {
        let hidden = self.hidden.get_or_init(|| hidden_lines(self));
        let n = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
        hidden.get(n).copied().unwrap_or(true)
    }
}

/// For each line, whether it must not be shown.
fn hidden_lines(source: &Source) -> Vec<bool> {
    let speaks = |line: &str| {
        let line = line.to_ascii_lowercase();
        // A URL with a user has a password in it.
        HIDDEN_WORDS.iter().any(|word| line.contains(word)) || line.contains("://") && line.contains('@')
    };
    // Depth and answer of the lines that the current one is indented under.
    let mut parents: Vec<(usize, bool)> = Vec::new();
    let numbers = 1..=u32::try_from(source.lines.len()).unwrap_or(u32::MAX);
    numbers
        .map(|number| {
            let line = source.line(number);
            let empty = line.trim().is_empty() || line.trim_start().starts_with('#');
            if !empty {
                while parents.last().is_some_and(|(above, _)| *above >= depth(line)) {
                    parents.pop();
                }
            }
            let hidden = speaks(line) || parents.last().is_some_and(|(_, hidden)| *hidden);
            if !empty {
                parents.push((depth(line), hidden));
            }
            hidden
        })
        .collect()
}

/// How deep a line is indented; an item of a list is below a key that stands in the same column.
fn depth(line: &str) -> usize {
    let rest = line.trim_start_matches(' ');
    (line.len() - rest.len()) * 2 + usize::from(rest.starts_with("- "))
}

/// `text` with runs covered that look like an app secret (32 and more hex digits) or an openid (28
/// characters from `o` on, a capital among them, which no name has).
pub(super) fn masked(text: &str) -> String {
    let url_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let openid =
        |run: &str| run.len() == 28 && run.starts_with('o') && run.chars().any(|c| c.is_ascii_uppercase());
    let text = covered(text, |c| c.is_ascii_hexdigit(), |run| run.len() >= 32);
    covered(&text, url_safe, openid)
}

/// `text` with those runs of a kind of character covered that must not be seen.
fn covered(text: &str, of_run: impl Fn(char) -> bool, unseen: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars().chain(std::iter::once('\n')) {
        if of_run(c) {
            run.push(c);
            continue;
        }
        if unseen(&run) {
            out.push_str(&"*".repeat(run.len()));
        } else {
            out.push_str(&run);
        }
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}

/// Reads a file of at most [`MAX_FILE_BYTES`]; what is no regular file is not opened.
///
/// # Errors
/// The problem, without a place: there is no line to show.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let meta = std::fs::metadata(path).map_err(|error| file::unreadable(&error))?;
    if !meta.is_file() {
        return Err(file::no_file());
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(|error| file::unreadable(&error))?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| file::unreadable(&error))?;
    let n_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if n_bytes > MAX_FILE_BYTES {
        return Err(file::file_too_large(meta.len().max(n_bytes)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_in_yaml() {
        let source = Source::new("x", "\u{feff}a\r\nb\rc\n".to_owned());
        let lines: Vec<&str> = (1..=4).map(|n| source.line(n)).collect();
        assert_eq!(lines, ["a", "b", "c", ""]);
        assert_eq!(source.spot_of(3), Spot { line: 2, column: 1, length: 1 });
    }

    #[test]
    fn lines_about_secrets_and_openids_are_not_shown() {
        let text = "apps:\n  a:\n    secret:\n      value: hunter2\n    appid: wx1\nto:\n  openids:\n  - oAAAAAAAAAAAA\n  tags:\n  - a\nid: 0123456789abcdef0123456789ABCDEF\n";
        let source = Source::new("x", text.to_owned());
        let shown: Vec<bool> =
            (1..=11).map(|line| source.excerpt(Spot { line, column: 1, length: 1 }).is_some()).collect();
        assert_eq!(shown, [true, true, false, false, true, true, false, false, true, true, true]);
        let last = source.excerpt(Spot { line: 11, column: 1, length: 1 }).expect("shown");
        assert!(!last.text.contains("abcdef"), "{}", last.text);
    }

    #[test]
    fn what_looks_like_a_secret_or_an_openid_is_covered_wherever_it_stands() {
        let (secret, openid) = ("0123456789abcdef0123456789ABCDEF", "oABCD_efgh-1234567890klmnopq");
        for (text, shown) in [
            (format!("a {secret}, b"), format!("a {}, b", "*".repeat(32))),
            (format!("to: {openid}"), format!("to: {}", "*".repeat(28))),
            (format!("[{openid}]"), format!("[{}]", "*".repeat(28))),
            (format!("{openid}x"), format!("{openid}x")),
            (openid.to_lowercase(), openid.to_lowercase()),
            (
                "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc".to_owned(),
                "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc".to_owned(),
            ),
        ] {
            assert_eq!(masked(&text), shown);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_its_place() {
        let source = Source::new("x", "喝".repeat(100_000));
        let cut = source.excerpt(Spot { line: 1, column: 90_000, length: 5 }).expect("shown");
        assert_eq!((cut.text.chars().count(), cut.before, cut.length), (120, 60, 5));
    }
}
