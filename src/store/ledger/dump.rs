//! Writes everything down, line by line, as it is at one moment, while others go on writing.
//!
//! It is read in slices between other calls. A record that changes before it is read is kept aside as it was, so that all
//! lines are of the moment at which the dump began. What follows from other records (indexes, names of occurrences) is
//! not in it, and what is the store's own (its id, its hold) neither: who restores makes them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use sha2::{Digest as _, Sha256};

use super::Failed;
use super::beside;
use super::holds;
use super::keys::{self, Name};
use super::records::{self, Record, RecordKind, hex};
use super::state::State;
use super::tree::{Bytes, Write};
use super::writer::Desk;
use crate::store::{Dump, Dumped};

/// The shape of lines.
pub(super) const FORMAT: u32 = 1;
/// Records that one slice reads at most.
const SLICE_RECORDS: usize = 512;
/// Bytes of keys and values that one slice reads at most.
const SLICE_BYTES: usize = 128 * 1024;
/// Bytes of records that changed since and are kept aside at most; beyond, a dump is given up.
const MAX_ASIDE: usize = 64 * 1024 * 1024;

/// What is dumped, in this order: names before what has them, occurrences before their chunks and snapshots.
const ORDER: [u8; 15] = [
    keys::NAME,
    keys::KEPT,
    keys::RULE,
    keys::RECIPIENT,
    keys::ACCOUNT,
    keys::RECEIPTS,
    keys::REPORT,
    keys::APPOINTMENT,
    keys::REQUEST,
    keys::OCCURRENCE,
    keys::CHUNK,
    keys::IMPORT,
    keys::ERASED,
    keys::ERASING,
    keys::SNAPSHOT,
];

/// Kept values that are of one store, and not of its books.
pub(super) const OWN: [&str; 5] = ["schema", "store", "opened", holds::HOLD, beside::COMMITS];

/// One line of a dump.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Backup { format: u32, version: String, made_at: String, generation: u64 },
    /// An app or a template, in the order in which they got their numbers.
    Name { text: String },
    /// A small named value.
    Kept { name: String, value: String },
    /// How far a rule is, and which changes of appointments it has read.
    Rule { app: String, rule: String, cursor_ms: i64, changes_read: Option<u64> },
    /// A recipient.
    Recipient {
        app: String,
        openid: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// An account.
    Account {
        app: String,
        template: String,
        openid: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// Receipts kept of an account.
    Receipts {
        app: String,
        template: String,
        openid: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// A report that was booked.
    Report {
        app: String,
        openid: String,
        id: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// An appointment.
    Appointment {
        app: String,
        kind: String,
        id: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// A request that was carried out.
    Request { app: String, id: String, at_ms: i64 },
    /// An occurrence.
    Occurrence {
        number: u64,
        #[serde(rename = "record")]
        of: Record,
    },
    /// Deliveries of an occurrence.
    Chunk {
        occurrence: u64,
        number: u32,
        #[serde(rename = "record")]
        of: Record,
    },
    /// A rule as it was.
    Snapshot { hash: String, bytes: String },
    /// How far an import came.
    Import { digest: String, rows: u64 },
    /// When somebody was erased.
    Erased { hash: String, at_ms: i64 },
    /// An erasure that has something left.
    Erasing {
        app: String,
        openid: String,
        #[serde(rename = "record")]
        of: Record,
    },
    /// The last: how many lines are between it and the first, and the digest of all before it with their ends.
    Whole { records: u64, sha256: String },
}

/// What lines have, all of them: sixteen structures to read would be sixteen times the code.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    app: Option<String>,
    at_ms: Option<i64>,
    bytes: Option<String>,
    changes_read: Option<u64>,
    cursor_ms: Option<i64>,
    digest: Option<String>,
    format: Option<u32>,
    generation: Option<u64>,
    hash: Option<String>,
    id: Option<String>,
    kind: Option<String>,
    made_at: Option<String>,
    name: Option<String>,
    number: Option<u64>,
    occurrence: Option<u64>,
    openid: Option<String>,
    record: Option<Record>,
    records: Option<u64>,
    rows: Option<u64>,
    rule: Option<String>,
    sha256: Option<String>,
    template: Option<String>,
    text: Option<String>,
    value: Option<String>,
    version: Option<String>,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What it is not, without its values.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "this is no record that this program knows";
        let mut read: BTreeMap<String, Fields> =
            serde_json::from_str(text).map_err(|error| match error.classify() {
                Category::Data => UNKNOWN,
                Category::Io | Category::Syntax | Category::Eof => "this is not JSON",
            })?;
        let of = read.pop_first().filter(|_| read.is_empty());
        of.and_then(|(kind, fields)| Self::of(&kind, fields)).ok_or(UNKNOWN)
    }

    fn of(kind: &str, f: Fields) -> Option<Self> {
        let Fields { app, openid, record: of, id, number, .. } = f;
        Some(match kind {
            "backup" => Self::Backup {
                format: f.format?,
                version: f.version?,
                made_at: f.made_at?,
                generation: f.generation?,
            },
            "name" => Self::Name { text: f.text? },
            "kept" => Self::Kept { name: f.name?, value: f.value? },
            "rule" => {
                Self::Rule { app: app?, rule: f.rule?, cursor_ms: f.cursor_ms?, changes_read: f.changes_read }
            }
            "recipient" => Self::Recipient { app: app?, openid: openid?, of: of? },
            "account" => Self::Account { app: app?, template: f.template?, openid: openid?, of: of? },
            "receipts" => Self::Receipts { app: app?, template: f.template?, openid: openid?, of: of? },
            "report" => Self::Report { app: app?, openid: openid?, id: id?, of: of? },
            "appointment" => Self::Appointment { app: app?, kind: f.kind?, id: id?, of: of? },
            "request" => Self::Request { app: app?, id: id?, at_ms: f.at_ms? },
            "occurrence" => Self::Occurrence { number: number?, of: of? },
            "chunk" => {
                Self::Chunk { occurrence: f.occurrence?, number: u32::try_from(number?).ok()?, of: of? }
            }
            "snapshot" => Self::Snapshot { hash: f.hash?, bytes: f.bytes? },
            "import" => Self::Import { digest: f.digest?, rows: f.rows? },
            "erased" => Self::Erased { hash: f.hash?, at_ms: f.at_ms? },
            "erasing" => Self::Erasing { app: app?, openid: openid?, of: of? },
            "whole" => Self::Whole { records: f.records?, sha256: f.sha256? },
            _ => return None,
        })
    }

    fn text(&self) -> Result<String, Failed> {
        serde_json::to_string(self).map_err(|_error| Failed::Record("a record cannot be written as JSON"))
    }
}

/// A dump under way.
pub(super) struct Dumping {
    /// Its reader; gone, it is over.
    reader: Weak<()>,
    /// Which of [`ORDER`] is read; beyond, all is.
    stage: usize,
    /// The last key that was read of it.
    last: Option<Vec<u8>>,
    /// Records that changed since, as they were: those that are still to be read.
    aside: BTreeMap<Vec<u8>, Option<Bytes>>,
    aside_bytes: usize,
    /// Rules as they were at its beginning, which are few; how they are stored is not asked here.
    rules: VecDeque<Line>,
    /// Snapshots that occurrences name.
    snapshots: HashSet<[u8; 32]>,
    header: Option<Line>,
    digest: Sha256,
    n_records: u64,
}

/// Begins a dump of everything as it is now; `None` while another one is under way.
pub(super) fn begin(desk: &mut Desk<'_>, now: DateTime<Utc>) -> Result<Option<Dump>, Failed> {
    desk.barrier()?;
    let state = &mut *desk.state;
    if state.dumping.as_ref().is_some_and(Dumping::is_read) {
        return Ok(None);
    }
    let reader = Arc::new(());
    let header = Line::Backup {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now.to_rfc3339_opts(SecondsFormat::Millis, true),
        generation: beside::stored(state.tree())?.unwrap_or_default().generation,
    };
    state.dumping = Some(Dumping {
        reader: Arc::downgrade(&reader),
        stage: 0,
        last: None,
        aside: BTreeMap::new(),
        aside_bytes: 0,
        rules: rules(state)?,
        snapshots: HashSet::new(),
        header: Some(header),
        digest: Sha256::new(),
        n_records: 0,
    });
    Ok(Some(Dump(reader)))
}

/// All rules, in the order in which they were first seen.
fn rules(state: &State) -> Result<VecDeque<Line>, Failed> {
    let names = state.opened.names.read().unwrap_or_else(PoisonError::into_inner);
    let mut rules = VecDeque::new();
    for (app, rule, cursor_ms) in state.cursors.in_order() {
        let read = state.get(&keys::changes_read(app, &rule))?;
        let changes_read = read.and_then(|bytes| keys::read_number(&bytes));
        let app = names.text(app).ok_or(Failed::Record("a rule has a name that is not there"))?.to_owned();
        rules.push_back(Line::Rule { app, rule: rule.as_str().to_owned(), cursor_ms, changes_read });
    }
    Ok(rules)
}

/// The next lines.
pub(super) fn go_on(desk: &mut Desk<'_>, dump: &Dump) -> Result<Dumped, Failed> {
    match lines(desk.state, dump) {
        Ok(Some(lines)) => Ok(Dumped::Lines(lines)),
        Ok(None) => Ok(Dumped::Overtaken),
        // One bad record does not stop the others, nor the store.
        Err(failed @ (Failed::Record(_) | Failed::Codec(_))) => Ok(Dumped::Unreadable(failed.chain())),
        Err(failed @ (Failed::Engine(_) | Failed::Damaged(_) | Failed::Disk { .. } | Failed::Panicked)) => {
            Err(failed)
        }
    }
}

fn lines(state: &mut State, dump: &Dump) -> Result<Option<Vec<String>>, Failed> {
    let Some(mut dumping) = state.dumping.take_if(|dumping| dumping.is_of(dump)) else { return Ok(None) };
    let mut lines = Vec::new();
    if let Some(header) = dumping.header.take() {
        dumping.add(&header, &mut lines)?;
        dumping.n_records = 0;
    }
    while lines.is_empty() && dumping.stage < ORDER.len() {
        dumping.slice(state, &mut lines)?;
    }
    if lines.is_empty() && dumping.stage == ORDER.len() {
        let sha256 = hex::text(&std::mem::take(&mut dumping.digest).finalize());
        let end = Line::Whole { records: dumping.n_records, sha256 };
        lines.push(end.text()?);
        // Then nothing is left, and the next answer is empty.
        dumping.stage = ORDER.len() + 1;
    }
    state.dumping = Some(dumping);
    Ok(Some(lines))
}

/// Keeps aside what a batch is about to change and a dump has not read yet.
pub(super) fn before_applying(state: &mut State, writes: &[Write]) -> Result<(), Failed> {
    let Some(mut dumping) = state.dumping.take_if(|dumping| dumping.is_read()) else {
        state.dumping = None;
        return Ok(());
    };
    for (key, _) in writes {
        if dumping.is_ahead(key) && !dumping.aside.contains_key(key) {
            let before = state.tree().get(key)?;
            dumping.aside_bytes += key.len() + before.as_ref().map_or(0, |value| value.len());
            dumping.aside.insert(key.clone(), before);
        }
    }
    if dumping.aside_bytes <= MAX_ASIDE {
        state.dumping = Some(dumping);
    }
    Ok(())
}

impl Dumping {
    pub(super) fn is_read(&self) -> bool {
        self.reader.strong_count() > 0
    }

    fn is_of(&self, dump: &Dump) -> bool {
        self.reader.as_ptr() == Arc::as_ptr(&dump.0)
    }

    /// Whether a key is yet to be read.
    fn is_ahead(&self, key: &[u8]) -> bool {
        let stage_of = |prefix: u8| ORDER.iter().position(|of| *of == prefix);
        let prefix = key.first().copied().unwrap_or_default();
        let Some(stage) = stage_of(prefix).filter(|_| prefix != keys::RULE) else { return false };
        stage > self.stage || stage == self.stage && self.last.as_deref().is_none_or(|last| last < key)
    }

    fn add(&mut self, line: &Line, lines: &mut Vec<String>) -> Result<(), Failed> {
        let text = line.text()?;
        self.digest.update(text.as_bytes());
        self.digest.update(b"\n");
        self.n_records += 1;
        lines.push(text);
        Ok(())
    }

    fn slice(&mut self, state: &State, lines: &mut Vec<String>) -> Result<(), Failed> {
        let opened = Arc::clone(&state.opened);
        let (mut n, mut bytes) = (0, 0);
        while let Some(prefix) = ORDER.get(self.stage).copied() {
            let from =
                self.last.as_ref().map_or_else(|| vec![prefix], |last| [last.as_slice(), &[0]].concat());
            let to = vec![prefix + 1];
            if prefix == keys::RULE {
                while let Some(line) = self.rules.pop_front() {
                    self.add(&line, lines)?;
                    n += 1;
                    if n >= SLICE_RECORDS {
                        return Ok(());
                    }
                }
                self.stage += 1;
                continue;
            }
            let mut entries = opened.tree.range(from.clone(), to.clone());
            let mut next = entries.next().transpose()?;
            let range = (Bound::Included(from), Bound::Excluded(to));
            // No slice reads more of them.
            let aside: Vec<(Vec<u8>, Option<Bytes>)> = self
                .aside
                .range(range)
                .take(SLICE_RECORDS + 1)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let mut aside = aside.into_iter().peekable();
            loop {
                if n >= SLICE_RECORDS || bytes >= SLICE_BYTES {
                    return Ok(());
                }
                let (key, value) = match (&next, aside.peek()) {
                    (None, None) => break,
                    (Some((key, _)), Some((was, _))) if key.as_ref() < was.as_slice() => {
                        let (key, value) = next.take().ok_or(Failed::Record("a record vanished"))?;
                        next = entries.next().transpose()?;
                        (key.to_vec(), Some(value))
                    }
                    (Some(_), None) => {
                        let (key, value) = next.take().ok_or(Failed::Record("a record vanished"))?;
                        next = entries.next().transpose()?;
                        (key.to_vec(), Some(value))
                    }
                    (_, Some(_)) => {
                        let (key, value) = aside.next().ok_or(Failed::Record("a record vanished"))?;
                        if next.as_ref().is_some_and(|(now, _)| now.as_ref() == key.as_slice()) {
                            next = entries.next().transpose()?;
                        }
                        (key, value)
                    }
                };
                n += 1;
                bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
                if let Some(value) = value
                    && let Some(line) = self.line_of(state, &key, &value)?
                {
                    self.add(&line, lines)?;
                }
                if let Some(before) = self.aside.remove(&key) {
                    self.aside_bytes -= key.len() + before.map_or(0, |value| value.len());
                }
                self.last = Some(key);
            }
            self.stage += 1;
            self.last = None;
        }
        Ok(())
    }

    /// What a record is in a dump.
    fn line_of(&mut self, state: &State, key: &[u8], value: &[u8]) -> Result<Option<Line>, Failed> {
        let names = state.opened.names.read().unwrap_or_else(PoisonError::into_inner);
        let name = |name: Name| {
            names.text(name).map(str::to_owned).ok_or(Failed::Record("a record has a name that is not there"))
        };
        let bad = || Failed::Record("a key cannot be read");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_bad| bad());
        let prefix = key.first().copied().unwrap_or_default();
        let line = match prefix {
            keys::NAME => Line::Name { text: text(value)? },
            keys::KEPT => {
                let name = text(key.get(1..).unwrap_or_default())?;
                if OWN.contains(&name.as_str()) {
                    return Ok(None);
                }
                Line::Kept { name, value: hex::text(value) }
            }
            keys::RECIPIENT => {
                let (app, openid) = keys::read_recipient(key).ok_or_else(bad)?;
                let of = Record::of(RecordKind::Recipient, value)?;
                Line::Recipient { app: name(app)?, openid: openid.to_owned(), of }
            }
            keys::ACCOUNT | keys::RECEIPTS => {
                let (app, template, openid) = keys::read_account(key).ok_or_else(bad)?;
                let (app, template, openid) = (name(app)?, name(template)?, openid.to_owned());
                if prefix == keys::ACCOUNT {
                    Line::Account { app, template, openid, of: Record::of(RecordKind::Account, value)? }
                } else {
                    Line::Receipts { app, template, openid, of: Record::of(RecordKind::Receipts, value)? }
                }
            }
            keys::REPORT => {
                let (app, openid, id) = keys::read_report(key).ok_or_else(bad)?;
                let (app, openid, id) = (name(app)?, openid.to_owned(), hex::text(id));
                Line::Report { app, openid, id, of: Record::of(RecordKind::Report, value)? }
            }
            keys::APPOINTMENT => {
                let (app, kind, id) = keys::read_appointment(key).ok_or_else(bad)?;
                let (app, kind, id) = (name(app)?, kind.as_str().to_owned(), id.as_str().to_owned());
                Line::Appointment { app, kind, id, of: Record::of(RecordKind::Appointment, value)? }
            }
            keys::REQUEST => {
                let (app, id) = keys::read_request(key).ok_or_else(bad)?;
                Line::Request { app: name(app)?, id: hex::text(id), at_ms: records::decode(value)? }
            }
            keys::OCCURRENCE => {
                let number = keys::read_number(key).ok_or_else(bad)?;
                self.snapshots.insert(records::decode_occurrence(value, number)?.0.snapshot);
                Line::Occurrence { number, of: Record::of(RecordKind::Occurrence, value)? }
            }
            keys::CHUNK => {
                let (occurrence, number) = keys::read_chunk(key).ok_or_else(bad)?;
                Line::Chunk { occurrence, number, of: Record::of(RecordKind::Chunk, value)? }
            }
            keys::SNAPSHOT => {
                // Its first piece stands for all: a snapshot never changes.
                let Some(hash) = keys::read_snapshot(key).filter(|hash| self.snapshots.contains(hash)) else {
                    return Ok(None);
                };
                let bytes = state.opened.read_snapshot(&hash)?.unwrap_or_default();
                Line::Snapshot { hash: hex::text(&hash), bytes: STANDARD.encode(bytes) }
            }
            keys::IMPORT => {
                let digest = hex::text(key.get(1..).unwrap_or_default());
                Line::Import { digest, rows: records::decode(value)? }
            }
            keys::ERASED => {
                let hash = hex::text(key.get(1..).unwrap_or_default());
                Line::Erased { hash, at_ms: records::decode(value)? }
            }
            keys::ERASING => {
                let (app, openid) = keys::read_erasing(key).ok_or_else(bad)?;
                let of = Record::of(RecordKind::Erasing, value)?;
                Line::Erasing { app: name(app)?, openid: openid.to_owned(), of }
            }
            _ => return Err(bad()),
        };
        Ok(Some(line))
    }
}

/// What a backup that was read has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// The generation of the store that it is of.
    pub generation: u64,
    /// How many records.
    pub n_records: u64,
    /// The digest of its lines.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of other records when they are restored, or belongs to layouts of before.
    const MADE: [u8; 16] = [
        keys::ZONE,
        keys::REF,
        keys::PERSON,
        keys::CURSORS,
        keys::CHANGES_READ,
        keys::UNFINISHED,
        keys::IDENTITY,
        keys::TIME,
        keys::DOUBT,
        keys::APPOINTMENT_TIME,
        keys::CHANGE,
        keys::OWNED,
        keys::REMINDER,
        keys::OLD_CURSOR,
        keys::OLD_UNFINISHED,
        keys::OLD_IDENTITY,
    ];

    #[test]
    fn every_kind_of_key_is_dumped_or_made_of_others() {
        let source = include_str!("keys.rs");
        let of = |line: &str| -> Option<u8> {
            let (_, byte) = line.strip_prefix("pub(super) const ")?.split_once(": u8 = b'")?;
            byte.bytes().next()
        };
        let mut named: Vec<u8> = source.lines().filter_map(of).collect();
        let mut known: Vec<u8> = ORDER.into_iter().chain(MADE).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert!(
            named.len() > 20 && named == known,
            "a kind of key that no backup knows: {named:?} {known:?}"
        );
    }
}
