//! The only printer: results on stdout, everything else on stderr.
//!
//! A result is JSON as it comes, or a plain table for people. A reader that goes away (`| head`) ends
//! the command quietly.

use std::io::{self, IsTerminal as _, Write};

use serde_json::{Map, Value};

use super::names;
use crate::domain::language::Language;

/// Rows of a table that are looked at for its widths; later, wider ones stand out.
const MEASURED_ROWS: usize = 256;
/// Widest column, in characters.
const MAX_WIDTH: usize = 64;

/// How a result shows to people.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    /// As a table of these keys.
    Table(&'static [&'static str]),
    /// As a text made of each object.
    Text(fn(&Value) -> String),
    /// The same, in the reader's language.
    Told(fn(&Value, Language) -> String),
}

/// Whether colour is welcome; it still needs a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// Nobody asked for none.
    Welcome,
    /// `NO_COLOR`.
    Never,
}

/// How people want to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taste {
    pub(super) colour: Colour,
    pub(super) language: Language,
}

/// Standard output for one result.
#[derive(Debug)]
pub(super) struct Printer {
    look: Option<Look>,
    colour: bool,
    language: Language,
    rows: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

/// Whether anybody still reads.
pub(super) type Printed = io::Result<()>;

impl Printer {
    /// A printer of JSON lines.
    pub(super) fn json() -> Self {
        Self { look: None, colour: false, language: Language::default(), rows: Vec::new(), widths: None }
    }

    /// A printer for people.
    pub(super) fn people(look: Look, taste: Taste) -> Self {
        let colour = taste.colour == Colour::Welcome && io::stdout().is_terminal();
        Self { look: Some(look), colour, language: taste.language, rows: Vec::new(), widths: None }
    }

    /// Adds one object of the result.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn line(&mut self, line: &str) -> Printed {
        match self.look {
            None => out(line),
            Some(Look::Text(text)) => match serde_json::from_str(line) {
                Ok(value) => out(&text(&value)),
                Err(_) => out(line),
            },
            Some(Look::Told(text)) => match serde_json::from_str(line) {
                Ok(value) => out(&text(&value, self.language)),
                Err(_) => out(line),
            },
            Some(Look::Table(columns)) => {
                let object: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
                let value = |key: &str| object.get(key).unwrap_or(&Value::Null);
                let row = columns.iter().map(|key| cell_of(key, value(key), self.language)).collect();
                if let Some(widths) = &self.widths {
                    return out(&padded(row, widths));
                }
                self.rows.push(row);
                if self.rows.len() == MEASURED_ROWS { self.measured() } else { Ok(()) }
            }
        }
    }

    /// Ends the result: prints what was held back to measure it.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn end(&mut self) -> Printed {
        if self.rows.is_empty() { io::stdout().flush() } else { self.measured() }
    }

    fn measured(&mut self) -> Printed {
        let Some(Look::Table(columns)) = self.look else { return Ok(()) };
        let width = |n: usize, key: &str| {
            let rows = self.rows.iter().filter_map(|row| row.get(n)).map(|cell| names::width(cell));
            rows.chain([names::width(key)]).max().unwrap_or_default().min(MAX_WIDTH)
        };
        let heads: Vec<String> = columns.iter().map(|key| names::heading(key, self.language)).collect();
        let widths: Vec<usize> = heads.iter().enumerate().map(|(n, head)| width(n, head)).collect();
        let head = padded(heads, &widths);
        if self.colour {
            out(&format!("\u{1b}[1m{head}\u{1b}[0m"))?;
        } else {
            out(&head)?;
        }
        for row in self.rows.drain(..) {
            out(&padded(row, &widths))?;
        }
        self.widths = Some(widths);
        io::stdout().flush()
    }
}

/// One line of a result.
fn out(line: &str) -> Printed {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")
}

/// A text of its own on stdout, such as an address to open.
pub(super) fn say(text: &str) -> Printed {
    out(text)?;
    io::stdout().flush()
}

/// A sentence on stderr; when that is closed there is nobody to tell.
pub(super) fn note(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "{}", printable(text));
}

/// An error on stderr.
pub(super) fn error(text: &str) {
    note(&format!("tixing: {text}"));
}

/// `text` without what steers a terminal; lines stay lines.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => printable(text).replace(['\n', '\t'], " "),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(map) if map.is_empty() => "-".to_owned(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}={}", cell(value))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A cell of a column whose key says how it is read.
fn cell_of(key: &str, value: &Value, language: Language) -> String {
    if let Some(said) = names::said(value, language) {
        return printable(said).replace(['\n', '\t'], " ");
    }
    match value {
        Value::String(text) if key == "local" => names::local(text),
        Value::String(text) if names::has_words(key) => {
            cell(&Value::String(names::word(text, language).to_owned()))
        }
        // As the door's path names it.
        Value::Object(map) if key == "appointment" => {
            format!("{}/{}", cell(&map["kind"]), cell(&map["id"]))
        }
        Value::Object(map) if names::has_words(key) && !map.is_empty() => {
            let named = map.iter().map(|(word, n)| format!("{}={}", names::word(word, language), cell(n)));
            named.collect::<Vec<_>>().join(" ")
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_)) => cell(other),
    }
}

fn padded(row: Vec<String>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.into_iter().zip(widths) {
        let fill = width.saturating_sub(names::width(&cell)) + 2;
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', fill));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_one_line_and_harmless() {
        let table = [
            (serde_json::json!(null), "-"),
            (serde_json::json!({}), "-"),
            (serde_json::json!({"no_consent": 3, "muted": 1}), "muted=1 no_consent=3"),
            (serde_json::json!("a\nb\u{1b}[31m"), "a b\u{fffd}[31m"),
            (serde_json::json!([1, true]), "1,yes"),
        ];
        for (value, text) in table {
            assert_eq!(cell(&value), text);
        }
    }

    #[test]
    fn words_of_a_table_follow_the_language() {
        let table = [
            ("state", serde_json::json!("missed"), "missed", "错过"),
            ("rule", serde_json::json!("missed"), "missed", "missed"),
            ("would_skip", serde_json::json!({"no_consent": 3}), "no_consent=3", "没有授权=3"),
            (
                "appointment",
                serde_json::json!({"kind": "visit", "id": "a-1", "at": "2026-03-01T09:00:00Z"}),
                "visit/a-1",
                "visit/a-1",
            ),
            ("words", serde_json::json!({"en": "every minute", "zh": "每分钟"}), "every minute", "每分钟"),
            (
                "local",
                serde_json::json!("2026-03-01T09:00:00+08:00"),
                "2026-03-01 09:00 +08:00",
                "2026-03-01 09:00 +08:00",
            ),
        ];
        for (key, value, en, zh) in table {
            assert_eq!(cell_of(key, &value, Language::English), en);
            assert_eq!(cell_of(key, &value, Language::Chinese), zh);
        }
    }

    #[test]
    fn rows_line_up() {
        let row = |a: &str, b: &str| padded(vec![a.to_owned(), b.to_owned()], &[4, 3]);
        assert_eq!(row("rule", "n"), "rule  n");
        assert_eq!(row("a", "12"), "a     12");
        assert_eq!(row("longer", ""), "longer");
    }
}
