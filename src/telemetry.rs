//! Logs: one line an event on stderr, filtered by `RUST_LOG`, with nothing in it that steers a terminal.
//!
//! What may be logged is decided where it is logged; this file cannot tell a secret from a word.

use std::io::{self, Write};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
/// A filter (the text of `RUST_LOG`) that cannot be read falls back to the default and says so in the first line.
pub fn init(filter: Option<&str>, reader: Reader) {
    let parsed = directives(filter.unwrap_or(DEFAULT_FILTER));
    let refused = parsed.is_none();
    let filter = parsed.or_else(|| directives(DEFAULT_FILTER)).unwrap_or_default();
    let lines = fmt::layer().with_writer(PlainLines(io::stderr)).with_ansi(false);
    let begun = match reader {
        Reader::Journal => tracing_subscriber::registry().with(lines.without_time()).with(filter).try_init(),
        Reader::Terminal => tracing_subscriber::registry().with(lines).with(filter).try_init(),
    };
    if begun.is_ok() && refused {
        tracing::warn!("RUST_LOG cannot be read as a filter; logging at {DEFAULT_FILTER}");
    }
}

/// Reads `level`, `target` and `target=level`, separated by commas; `None` when one is none of these.
///
/// Spans and fields are refused, not ignored: no line here stands in a span, and matching fields
/// would bring a regex engine.
fn directives(text: &str) -> Option<Targets> {
    let given: Vec<&str> = text.split(',').map(str::trim).filter(|given| !given.is_empty()).collect();
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-' | '=');
    if given.iter().any(|given| given.starts_with('=') || !given.chars().all(known)) {
        return None;
    }
    given.join(",").parse().ok()
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

    #[test]
    fn the_usual_directives_are_read_and_others_refused() {
        use tracing::Level;
        // The text, and the most that it lets through of this crate, of its store, and of others.
        type Most = (Option<Level>, Option<Level>, Option<Level>);
        let table: [(&str, Option<Most>); 14] = [
            (DEFAULT_FILTER, Some((Some(Level::INFO), Some(Level::INFO), Some(Level::INFO)))),
            ("trace", Some((Some(Level::TRACE), Some(Level::TRACE), Some(Level::TRACE)))),
            ("WARN", Some((Some(Level::WARN), Some(Level::WARN), Some(Level::WARN)))),
            ("off", Some((None, None, None))),
            ("tixing", Some((Some(Level::TRACE), Some(Level::TRACE), None))),
            ("tixing::store=debug", Some((None, Some(Level::DEBUG), None))),
            ("info,tixing::store=error", Some((Some(Level::INFO), Some(Level::ERROR), Some(Level::INFO)))),
            (" warn , tixing=debug ,", Some((Some(Level::DEBUG), Some(Level::DEBUG), Some(Level::WARN)))),
            ("tixing=loud", None),
            ("tixing=info=debug", None),
            ("=debug", None),
            ("tixing[span]=debug", None),
            ("tixing[{delivery.id}]=debug", None),
            ("warn; tixing=debug", None),
        ];
        for (text, expected) in table {
            let read = directives(text).map(|filter| {
                let most = |target| {
                    let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
                    levels.into_iter().find(|level| filter.would_enable(target, level))
                };
                (most("tixing::flow"), most("tixing::store"), most("hyper"))
            });
            assert_eq!(read, expected, "{text:?}");
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
