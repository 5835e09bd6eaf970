//! Edits of good files: harmless ones, which change nothing, and harmful ones, which are all refused.
//!
//! The files are the repository's own examples. Harmless edits are a table; harmful ones are made from
//! every line, key and value of the files, so the table of mistakes grows with the examples.

/// Whether a text has a Chinese character in it.
pub(crate) fn has_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}
