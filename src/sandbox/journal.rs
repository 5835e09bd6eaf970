//! The file of the fake's books: one JSON document a line, appended before what it tells is acted on.
//!
//! A killed process loses nothing, because the kernel has each line; a power cut may lose the last seconds,
//! since nothing is synced. A torn last line is dropped at the next start; any other bad line is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One change of the books.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line<'a> {
    /// Consents were added.
    Granted { appid: Cow<'a, str>, openid: Cow<'a, str>, template: Cow<'a, str>, n: u64 },
    /// "Always keep this choice" was ticked.
    Kept {
        appid: Cow<'a, str>,
        openid: Cow<'a, str>,
        template: Cow<'a, str>,
        accept: bool,
        /// What was kept; older books have none.
        #[serde(default)]
        status: Cow<'a, str>,
    },
    /// All consents and the kept choice are gone.
    Revoked { appid: Cow<'a, str>, openid: Cow<'a, str>, template: Cow<'a, str> },
    /// A send was accepted; it took so many consents.
    Sent {
        at_us: i64,
        appid: Cow<'a, str>,
        openid: Cow<'a, str>,
        template: Cow<'a, str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<Cow<'a, str>>,
        data: Cow<'a, BTreeMap<String, String>>,
        msgid: u64,
        took: u64,
    },
    /// The answer to an accepted send was given in full.
    Answered { msgid: u64 },
    /// The receipt of an accepted send was taken by the app's receiver.
    Told { msgid: u64, errcode: i64 },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens or makes the file at `path` and gives each of its lines to `read`.
    ///
    /// # Errors
    /// Those of the file system; `InvalidData`, with the number of the line, for a bad line before the last.
    pub(super) fn open(path: &Path, mut read: impl FnMut(Line<'static>)) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut length = 0_u64;
        let mut rest = bytes.as_slice();
        let mut number = 0_u64;
        while !rest.is_empty() {
            number += 1;
            let end = rest.iter().position(|b| *b == b'\n');
            let (line, after) = end.and_then(|end| rest.split_at_checked(end + 1)).unwrap_or((rest, &[]));
            match serde_json::from_slice::<Line<'static>>(line) {
                Ok(line) if end.is_some() => read(line),
                // Torn: the write of it never returned, so nobody acted on it.
                Ok(_) => break,
                Err(_) if after.is_empty() => break,
                Err(error) => {
                    let text = format!("line {number} of the sandbox's books cannot be read: {error}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
            length += u64::try_from(line.len()).unwrap_or(0);
            rest = after;
        }
        file.set_len(length)?;
        Ok(Self { file, length, buffer: Vec::new() })
    }

    /// Appends `line`; on return a kill of the process does not lose it.
    ///
    /// # Errors
    /// Those of the file; then nothing of the line stays.
    pub(super) fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        if let Err(error) = self.file.write_all(&self.buffer) {
            // A half-written line would spoil the next one.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += u64::try_from(self.buffer.len()).unwrap_or(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoked(openid: &str) -> Line<'_> {
        Line::Revoked { appid: "wx1".into(), openid: openid.into(), template: "T".into() }
    }

    fn read(path: &Path) -> io::Result<(Journal, usize)> {
        let mut n = 0;
        Journal::open(path, |_| n += 1).map(|journal| (journal, n))
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_any_other_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("books.jsonl");
        let (mut journal, n) = read(&path).unwrap();
        assert_eq!(n, 0);
        journal.write(&revoked("o1")).unwrap();
        journal.write(&revoked("o2")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in whole.len() / 2 + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, n) = read(&path).unwrap();
            assert_eq!(n, 1, "cut at {cut}");
            journal.write(&revoked("o3")).unwrap();
            assert_eq!(read(&path).unwrap().1, 2, "cut at {cut}");
        }
        std::fs::write(&path, [b"{}\n".as_slice(), whole.as_slice()].concat()).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
