//! Logs: one line an event on stderr, filtered by `RUST_LOG`, with nothing in it that steers a terminal.
//!
//! What may be logged is decided where it is logged; this file cannot tell a secret from a word.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged when `RUST_LOG` does not say.
///
/// The housekeeping scheduler tells of its own making at info, which is nobody's business.
const DEFAULT_FILTER: &str = "info,tokio_cron_scheduler=warn";

/// Who reads the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The journal, which notes the time itself.
    Journal,
    /// A person or a file.
    Terminal,
}

/// Begins logging for this process. A second call changes nothing.
///
/// A filter (the text of `RUST_LOG`) that cannot be read falls back to `info` and says so in the first line.
pub fn init(filter: Option<&str>, reader: Reader) {
    let parsed = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER));
    let refused = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_refused| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(PlainLines(io::stderr))
        .with_ansi(false);
    let begun = match reader {
        Reader::Journal => builder.without_time().try_init(),
        Reader::Terminal => builder.try_init(),
    };
    if begun.is_ok() && refused {
        tracing::warn!("RUST_LOG cannot be read as a filter; logging at {DEFAULT_FILTER}");
    }
}

/// Writers whose lines hold no control characters.
#[derive(Clone, Debug)]
struct PlainLines<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for PlainLines<M> {
    type Writer = PlainLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        PlainLine(self.0.make_writer())
    }
}

/// Takes one formatted event a call, which is how the subscriber writes, and escapes all but its last newline.
#[derive(Debug)]
struct PlainLine<W>(W);

impl<W: Write> Write for PlainLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(plain(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `event` as one line: control and bidirectional formatting characters as `\u{…}`.
fn plain(event: &str) -> String {
    let (text, end) = event.strip_suffix('\n').map_or((event, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(event.len());
    for c in text.chars() {
        let steers = c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
    }
    line + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_one_line() {
        let table = [
            ("plain 提醒\n", "plain 提醒\n"),
            ("no end", "no end"),
            ("two\nlines\n", "two\\u{a}lines\n"),
            ("\u{1b}[31mred\r\n", "\\u{1b}[31mred\\u{d}\n"),
            ("back\u{202e}wards\u{2028}\u{85}\n", "back\\u{202e}wards\\u{2028}\\u{85}\n"),
        ];
        for (event, line) in table {
            let mut out = Vec::new();
            PlainLine(&mut out).write_all(event.as_bytes()).expect("a vector takes it");
            assert_eq!(String::from_utf8_lossy(&out), line);
        }
    }

    #[derive(Clone)]
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_subscriber_writes_an_event_in_one_call() {
        let out = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let shared = std::sync::Arc::clone(&out);
        let writer = PlainLines(move || Shared(std::sync::Arc::clone(&shared)));
        let subscriber =
            tracing_subscriber::fmt().with_writer(writer).with_ansi(false).without_time().finish();
        tracing::subscriber::with_default(subscriber, || tracing::info!("one\ntwo\u{1b}"));
        let text = String::from_utf8(out.lock().expect("not poisoned").clone()).expect("text");
        assert!(text.ends_with("one\\u{a}two\\x1b\n") || text.ends_with("one\\u{a}two\\u{1b}\n"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
