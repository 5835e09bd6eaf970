//! Makes books of a backup: every line is checked before anything is written, and what follows from records is made anew.
//!
//! Where the books lie while they are made, and when they become somebody's, is the engine's; here they begin on hold,
//! with an id of their own and a generation above all that were before.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::beside::{Beside, COMMITS, Commits};
use super::dump::{FORMAT, Line, OWN, Summary};
use super::identities::{self, Identity};
use super::keeper::{self, StoreId};
use super::keys::{self, Name};
use super::occurrences::keep_snapshot;
use super::records::{self, Booked, Chunk, Held, Record, RecordKind, hex};
use super::state::State;
use super::writer::Desk;
use super::{Bare, Failed, Ledger, OpeningOf, Place, SCHEMA, consents, fsck, holds};
use crate::clock::Clock;
use crate::domain::hold::{Cause, Hold};
use crate::domain::id::{AppId, AppointmentId, Kind, OpenId, RuleId};
use crate::domain::recipient::MAX_MOVES;
use crate::store::{Fsck, MAX_ENTRY_BYTES, Occurrence, Standing};

/// Keys that one line writes at most, but for appointments and snapshots.
const LINE_KEYS: usize = 9 + MAX_MOVES;
/// Longest line, in bytes: a snapshot's, and records are shorter.
pub const MAX_BACKUP_LINE: usize = 8 << 20;

/// Why books were not made of a backup.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// A line is no line of a backup, or does not fit those before it (65).
    #[error("line {number}: {why}")]
    Line {
        /// Which one, from 1.
        number: u64,
        /// What is wrong, without its values.
        why: String,
    },
    /// The file cannot be read (65).
    #[error("the backup cannot be read")]
    File(#[source] std::io::Error),
    /// There are books already (1).
    #[error("there are books already")]
    NotEmpty,
    /// They cannot be written (75).
    #[error(transparent)]
    Store(#[from] Failed),
}

/// Books that were made.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Of which backup.
    pub summary: Summary,
    /// The proof of them, by counting.
    pub fsck: Fsck,
    /// What shall stand beside them.
    pub beside: Beside,
}

/// Reads the lines of a backup one by one, and says what does not fit.
#[derive(Debug, Default)]
pub struct Check {
    names: HashMap<String, Name>,
    rules: HashSet<(Name, RuleId)>,
    n_lines: u64,
    digest: Sha256,
    header: Option<(DateTime<Utc>, u64)>,
    summary: Option<Summary>,
}

/// What a line writes.
enum Written {
    /// Nothing by itself.
    Nothing,
    /// Records with these keys.
    Records(Vec<(Vec<u8>, Vec<u8>)>),
    /// A rule as an occurrence keeps it.
    Snapshot([u8; 32], Vec<u8>),
    /// An app or a template.
    Name(String),
    /// How far a rule is.
    Rule { app: Name, rule: RuleId, cursor_ms: i64, changes_read: Option<u64> },
    /// An occurrence, with how many chunks it has.
    Occurrence(Box<Occurrence>, u32),
}

impl Check {
    /// Takes the next line in, without its end.
    ///
    /// # Errors
    /// What is wrong with it, without its values.
    pub fn line(&mut self, text: &str) -> Result<(), String> {
        self.take(text).map(drop)
    }

    /// What was read, when all of it was there.
    ///
    /// # Errors
    /// What is missing.
    pub fn end(self) -> Result<Summary, String> {
        self.summary.ok_or_else(|| "it ends too soon: its last line, with the digest, is missing".to_owned())
    }

    /// Lines so far.
    #[must_use]
    pub fn n_lines(&self) -> u64 {
        self.n_lines
    }

    fn take(&mut self, text: &str) -> Result<Written, String> {
        self.n_lines += 1;
        if self.summary.is_some() {
            return Err("there is more after the last line of the backup".to_owned());
        }
        let line = Line::read(text)?;
        let written = match (line, &self.header) {
            (Line::Backup { format, version, made_at, generation }, None) => {
                if format > FORMAT {
                    return Err(format!("it was made by tixing {version}, a newer program: use that one"));
                }
                let made_at =
                    DateTime::parse_from_rfc3339(&made_at).map_err(|_bad| "`made_at` is no instant")?;
                self.header = Some((made_at.to_utc(), generation));
                Written::Nothing
            }
            (Line::Backup { .. }, Some(_)) => return Err("a backup begins twice".to_owned()),
            (_, None) => return Err("this is no backup of tixing: it does not begin like one".to_owned()),
            (Line::Whole { records, sha256 }, Some((made_at, generation))) => {
                let found = hex::text(&std::mem::take(&mut self.digest).finalize());
                if records + 2 != self.n_lines {
                    return Err(format!("{records} records were written, {} are here", self.n_lines - 2));
                }
                if found != sha256 {
                    return Err(
                        "its digest is not that of the lines before it: the file was changed".to_owned()
                    );
                }
                let (made_at, generation) = (*made_at, *generation);
                self.summary = Some(Summary { made_at, generation, n_records: records, sha256 });
                Written::Nothing
            }
            (Line::Name { text }, Some(_)) => {
                let number = Name::try_from(self.names.len()).map_err(|_full| "too many names")?;
                if self.names.insert(text.clone(), number).is_some() {
                    return Err("a name comes twice".to_owned());
                }
                Written::Name(text)
            }
            (line, Some(_)) => self.written(line)?,
        };
        if let Written::Records(records) = &written
            && records.iter().any(|(key, value)| key.len() + value.len() > MAX_ENTRY_BYTES)
        {
            return Err("a record is larger than the store may hold".to_owned());
        }
        self.digest.update(text.as_bytes());
        self.digest.update(b"\n");
        Ok(written)
    }

    fn name(&self, text: &str) -> Result<Name, String> {
        self.names
            .get(text)
            .copied()
            .ok_or_else(|| "it is of an app or template that is not named".to_owned())
    }

    fn written(&mut self, line: Line) -> Result<Written, String> {
        let one = |key, value| Ok(Written::Records(vec![(key, value)]));
        let told = |failed: Failed| failed.to_string();
        match line {
            Line::Backup { .. } | Line::Whole { .. } | Line::Name { .. } => Ok(Written::Nothing),
            Line::Kept { name, value } => {
                if OWN.contains(&name.as_str()) {
                    return Err("a value of another store's own".to_owned());
                }
                one(keys::kept(&name), hex::bytes(&value).ok_or("`value` is not hexadecimal")?)
            }
            Line::Rule { app, rule, cursor_ms, changes_read } => {
                let rule = RuleId::parse(&rule).map_err(|bad| format!("`rule`: {bad}"))?;
                records::at(cursor_ms).map_err(told)?;
                let app = self.name(&app)?;
                if !self.rules.insert((app, rule.clone())) {
                    return Err("a rule comes twice".to_owned());
                }
                Ok(Written::Rule { app, rule, cursor_ms, changes_read })
            }
            Line::Recipient { app, openid, of } => self.recipient(&app, &openid, of),
            Line::Account { app, template, openid, of } => {
                let (app, template) = (self.name(&app)?, self.name(&template)?);
                records::openid(&openid).map_err(told)?;
                let bytes = of.into_bytes(RecordKind::Account)?;
                Held::decode(&bytes).map_err(told)?;
                one(keys::account(app, template, &openid), bytes)
            }
            Line::Receipts { app, template, openid, of } => {
                let (app, template) = (self.name(&app)?, self.name(&template)?);
                records::openid(&openid).map_err(told)?;
                let bytes = of.into_bytes(RecordKind::Receipts)?;
                records::decode_receipts(&bytes).map_err(told)?;
                one(keys::receipts(app, template, &openid), bytes)
            }
            Line::Report { app, openid, id, of } => {
                let app = self.name(&app)?;
                OpenId::parse(&openid).map_err(|bad| format!("`openid`: {bad}"))?;
                let id: Vec<u8> = hex::bytes(&id).filter(|id| id.len() == 16).ok_or("`id` is no hash")?;
                let bytes = of.into_bytes(RecordKind::Report)?;
                Booked::decode(&bytes).map_err(told)?;
                one([keys::reports(app, &openid), id].concat(), bytes)
            }
            Line::Appointment { app, kind, id, of } => self.appointment(&app, &kind, &id, of),
            Line::Request { app, id, at_ms } => {
                let id = hex::bytes(&id).and_then(|id| id.try_into().ok()).ok_or("`id` is no hash")?;
                one(keys::request(self.name(&app)?, &id), records::encode(&at_ms).map_err(told)?)
            }
            Line::Occurrence { number, of } => {
                let bytes = of.into_bytes(RecordKind::Occurrence)?;
                let (occurrence, n_chunks) = records::decode_occurrence(&bytes, number).map_err(told)?;
                let app = self.name(occurrence.app.as_str())?;
                if !self.rules.contains(&(app, occurrence.rule.clone())) {
                    return Err("it is of a rule that is not there".to_owned());
                }
                Ok(Written::Occurrence(Box::new(occurrence), n_chunks))
            }
            Line::Chunk { occurrence, number, of } => {
                let bytes = of.into_bytes(RecordKind::Chunk)?;
                let chunk = Chunk::decode(&bytes, occurrence, number).map_err(told)?;
                let time = chunk.next_ms().map(|ms| (keys::time(ms, occurrence, number), Vec::new()));
                let doubt = chunk.doubt_ms().map(|ms| (keys::doubt(ms, occurrence, number), Vec::new()));
                let record = (keys::chunk(occurrence, number), bytes);
                Ok(Written::Records([record].into_iter().chain(time).chain(doubt).collect()))
            }
            Line::Snapshot { hash, bytes } => {
                let hash = hex::bytes(&hash).and_then(|hash| hash.try_into().ok()).ok_or("`hash` is none")?;
                let bytes = STANDARD.decode(bytes).map_err(|_bad| "`bytes` is not base64")?;
                if bytes.is_empty() {
                    return Err("a rule's snapshot is empty".to_owned());
                }
                Ok(Written::Snapshot(hash, bytes))
            }
            Line::Import { digest, rows } => {
                let digest = hex::bytes(&digest).and_then(|d| d.try_into().ok()).ok_or("`digest` is none")?;
                one(keys::import(&digest), records::encode(&rows).map_err(told)?)
            }
            Line::Erased { hash, at_ms } => {
                let hash = hex::bytes(&hash).and_then(|hash| hash.try_into().ok()).ok_or("`hash` is none")?;
                one(keys::erased(&hash), records::encode(&at_ms).map_err(told)?)
            }
            Line::Erasing { app, openid, of } => {
                OpenId::parse(&openid).map_err(|bad| format!("`openid`: {bad}"))?;
                one(keys::erasing(self.name(&app)?, &openid), of.into_bytes(RecordKind::Erasing)?)
            }
        }
    }

    fn recipient(&self, app: &str, openid: &str, of: Record) -> Result<Written, String> {
        let app = self.name(app)?;
        let openid = OpenId::parse(openid).map_err(|bad| format!("`openid`: {bad}"))?;
        let bytes = of.into_bytes(RecordKind::Recipient)?;
        let recipient = records::decode_recipient(&bytes).map_err(|failed| failed.to_string())?;
        let mut written = vec![(keys::recipient(app, openid.as_str()), bytes)];
        written.extend(consents::zones(&recipient).into_iter().map(|(zone, left_ms)| {
            let until = left_ms.map_or(Vec::new(), |ms| ms.to_be_bytes().to_vec());
            (keys::in_zone(app, zone, openid.as_str()), until)
        }));
        let unionid = recipient.profile.unionid.iter();
        written.extend(unionid.map(|u| (keys::in_person(u, app, openid.as_str()), Vec::new())));
        let reference = recipient.profile.reference.iter();
        written.extend(reference.map(|r| (keys::reference(app, r), openid.as_str().as_bytes().to_vec())));
        Ok(Written::Records(written))
    }

    fn appointment(&self, app: &str, kind: &str, id: &str, of: Record) -> Result<Written, String> {
        let app = self.name(app)?;
        let kind = Kind::parse(kind).map_err(|bad| format!("`kind`: {bad}"))?;
        let id = AppointmentId::parse(id).map_err(|bad| format!("`id`: {bad}"))?;
        let bytes = of.into_bytes(RecordKind::Appointment)?;
        let kept = records::decode_appointment(&bytes).map_err(|failed| failed.to_string())?;
        let stands = u8::from(kept.state == Standing::Stands);
        let mut written = vec![
            (keys::appointment(app, &kind, &id), bytes),
            (keys::appointment_time(app, &kind, records::ms(kept.at), &id), vec![stands]),
            (keys::change(app, &kind, kept.number), id.as_str().as_bytes().to_vec()),
        ];
        let owned = |openid: &OpenId| (keys::owned(app, openid.as_str(), &kind, &id), Vec::new());
        written.extend(kept.joined.keys().map(owned));
        Ok(Written::Records(written))
    }
}

impl Ledger {
    /// Makes books in `place`, which must be empty, of the lines of a backup; durable on return, closed, and on hold.
    ///
    /// `at_least` is the generation that these books come after.
    ///
    /// # Errors
    /// [`NotRestored`]; what was written is nobody's.
    pub fn restore(
        place: Box<dyn Place>,
        clock: &Clock,
        at_least: u64,
        lines: impl Iterator<Item = std::io::Result<String>>,
    ) -> Result<Restored, NotRestored> {
        let Bare { opened, mut writer, mut place } = Self::bare(place, clock)?;
        if opened.tree.range(Vec::new(), vec![u8::MAX]).next().is_some() {
            return Err(NotRestored::NotEmpty);
        }
        let mut check = Check::default();
        for line in lines {
            let line = line.map_err(NotRestored::File)?;
            let number = check.n_lines() + 1;
            let written = check.take(&line).map_err(|why| NotRestored::Line { number, why })?;
            writer.at_the_desk(|desk| write(desk, written))?;
        }
        let number = check.n_lines();
        let summary = check.end().map_err(|why| NotRestored::Line { number, why })?;
        let mut id = StoreId::default();
        getrandom::fill(&mut id).map_err(|_none| Failed::Record("the machine gives no random bytes"))?;
        let hold = Hold { cause: Cause::Restored { made_at: summary.made_at }, since: clock.now() };
        let commits = Commits { generation: summary.generation.max(at_least) + 1, n: 1 };
        writer.at_the_desk(|desk| {
            desk.room(4)?;
            desk.state.put(keys::kept("schema"), SCHEMA.to_be_bytes().to_vec());
            desk.state.put(keys::kept("store"), id.to_vec());
            desk.state.put(keys::kept(COMMITS), commits.write());
            desk.state.put(keys::kept(holds::HOLD), holds::encode(&hold)?);
            desk.barrier()
        })?;
        let fsck = fsck::run(&opened)?;
        drop(writer);
        drop(opened);
        place.leave();
        Ok(Restored { summary, fsck, beside: Beside { store: id, commits } })
    }

    /// Whether a store has nothing in it but what every new one has.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn is_new(place: Box<dyn Place>) -> Result<bool, Failed> {
        let (mut place, kept) = (place, Some(&keys::KEPT));
        let opened = keeper::open(&mut *place, OpeningOf::First)?;
        let mut others = opened
            .tree
            .range(Vec::new(), vec![u8::MAX])
            .map(|entry| entry.map(|(key, _)| key.first() != kept));
        let found = others.find(|other| !matches!(other, Ok(false))).transpose()?;
        Ok(found.is_none())
    }
}

/// Writes what a line says.
fn write(desk: &mut Desk<'_>, written: Written) -> Result<(), Failed> {
    match written {
        Written::Nothing => Ok(()),
        Written::Records(records) => {
            desk.room(records.len().max(LINE_KEYS))?;
            for (key, value) in records {
                desk.state.put(key, value);
            }
            Ok(())
        }
        Written::Snapshot(hash, bytes) => {
            desk.room(LINE_KEYS)?;
            keep_snapshot(desk, &hash, &bytes)
        }
        Written::Name(text) => {
            desk.room(1)?;
            desk.state.name(&text).map(drop)
        }
        Written::Rule { app, rule, cursor_ms, changes_read } => {
            desk.room(2)?;
            desk.state.cursors.put(app, &rule, cursor_ms);
            if let Some(read) = changes_read {
                desk.state.put(keys::changes_read(app, &rule), read.to_be_bytes().to_vec());
            }
            Ok(())
        }
        Written::Occurrence(occurrence, n_chunks) => {
            desk.room(LINE_KEYS)?;
            name_occurrence(desk.state, &occurrence)?;
            let number = occurrence.number;
            desk.state.new_occurrence(*occurrence);
            if let Some(held) = desk.state.occurrence(number)? {
                held.n_chunks = n_chunks;
            }
            Ok(())
        }
    }
}

/// Makes what names an occurrence. Of several with one name the newest has it: they come in the order of their numbers.
fn name_occurrence(state: &mut State, occurrence: &Occurrence) -> Result<(), Failed> {
    let app: &AppId = &occurrence.app;
    let app = state.name(app.as_str())?;
    match &occurrence.about {
        // A repetition has no name of its own.
        None | Some(_) if occurrence.repeats.is_some() => return Ok(()),
        Some(about) if !occurrence.is_by_hand() => {
            let key = keys::reminder(app, &about.kind, &about.id, records::ms(about.at), &occurrence.rule);
            state.put(key, occurrence.number.to_be_bytes().to_vec());
            return Ok(());
        }
        // What an operator sent has a civil time's, whatever it is about.
        None | Some(_) => {}
    }
    let Occurrence { civil, fold, whose, zone, .. } = *occurrence;
    // Where it was taken it is the same: a civil time has one.
    let _taken = identities::take(state, app, &occurrence.rule, &Identity { civil, fold, whose, zone })?;
    Ok(())
}
