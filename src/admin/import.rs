//! Imports: rows of a JSONL file, checked the same way before a file is begun and when it is booked.
//!
//! The command line checks a whole file with [`row`] before it sends the first piece, so a file counts
//! whole or, after a kill, up to where the store remembers it under its digest. Reading files and
//! showing progress is the command line's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::Datelike as _;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answer::{Exit, Failure, Lines};
use super::desk::Desk;
use super::instant;
use super::request::ImportKind;
use super::who;
use crate::domain::appointment::{Appointment, MAX_APPOINTMENT_RECIPIENTS};
use crate::domain::config::App;
use crate::domain::consent::{MAX_HELD, Source};
use crate::domain::count::n_of;
use crate::domain::id::{AppointmentId, FieldName, Kind, OpenId, Ref, Tag, UnionId};
use crate::domain::recipient::{FieldValue, Fields, MAX_FIELD_CHARS, MAX_FIELDS, MAX_TAGS, Profile};
use crate::domain::template::{Template, TemplateKind};
use crate::domain::zone::Zone;
use crate::store::{
    AccountKey, AppointmentChange, AppointmentKey, Changed, ImportPiece, ImportRow, MAX_APPOINTMENT_BYTES,
    MAX_IMPORT_ROWS, MAX_RECIPIENT_BYTES, OperatorGrant,
};

/// Longest line of a file, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// Bytes of a recipient's record beside its texts and their lengths, at most: numbers, marks, the version.
const RECIPIENT_FRAME_BYTES: usize = 64;
/// Bytes of number and time since when somebody belongs to an appointment, at most.
const JOINED_BYTES: usize = 18;

/// One row of an import, checked.
#[derive(Clone, Debug)]
pub enum Row {
    /// Grants of one recipient for one template.
    Consents {
        /// Whom they are for.
        openid: OpenId,
        /// Which template.
        template: Template,
        /// How many.
        n: u32,
    },
    /// One recipient.
    Person {
        /// Who.
        openid: OpenId,
        /// All that is to be known of the person.
        profile: Box<Profile>,
    },
    /// One appointment.
    Appointment {
        /// Its kind.
        kind: Kind,
        /// Its id within the kind.
        id: AppointmentId,
        /// As it shall be.
        to: Appointment,
    },
}

/// Why a line is no row of its import; the text holds no value that could be personal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRow(String);

fn bad(text: impl fmt::Display) -> BadRow {
    BadRow(text.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentsShape {
    openid: String,
    template: String,
    n: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppointmentShape {
    #[serde(default)]
    app: Option<String>,
    kind: String,
    id: String,
    #[serde(default)]
    openid: Option<String>,
    #[serde(default)]
    recipients: Option<Vec<String>>,
    at: String,
    #[serde(default)]
    fields: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonShape {
    openid: String,
    #[serde(default)]
    unionid: Option<String>,
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    fields: BTreeMap<String, Value>,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    muted: bool,
}

/// Parses one line of a file for `app`.
///
/// # Errors
/// [`BadRow`]: what is wrong with it, without its values.
pub fn row(what: ImportKind, app: &App, line: &str) -> Result<Row, BadRow> {
    if line.len() > MAX_LINE_BYTES {
        return Err(bad(format!("longer than {MAX_LINE_BYTES} bytes")));
    }
    if line.trim().is_empty() {
        return Err(bad("empty; each line is one object"));
    }
    match what {
        ImportKind::Consents => consents(app, line),
        ImportKind::People => person(line),
        ImportKind::Appointments => appointment(app, line),
    }
}

fn consents(app: &App, line: &str) -> Result<Row, BadRow> {
    let shape: ConsentsShape = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let openid = OpenId::parse(&shape.openid).map_err(|e| bad(format!("`openid`: {e}")))?;
    let template = who::template(app, &shape.template).map_err(bad)?.clone();
    if shape.n == 0 || u64::from(shape.n) > MAX_HELD {
        return Err(bad(format!("`n` is {}: one account holds 1–{MAX_HELD}", shape.n)));
    }
    Ok(Row::Consents { openid, template, n: shape.n })
}

fn person(line: &str) -> Result<Row, BadRow> {
    let shape: PersonShape = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    let openid = OpenId::parse(&shape.openid).map_err(|e| bad(format!("`openid`: {e}")))?;
    let unionid = shape.unionid.as_deref().map(UnionId::parse).transpose();
    let reference = shape.reference.as_deref().map(Ref::parse).transpose();
    let tags: Result<BTreeSet<Tag>, _> = shape.tags.iter().map(|tag| Tag::parse(tag)).collect();
    let tags = tags.map_err(|e| bad(format!("`tags`: {e}")))?;
    if tags.len() > MAX_TAGS {
        return Err(bad(format!("`tags` has {}; at most {MAX_TAGS}", tags.len())));
    }
    let time_zone = shape.time_zone.as_deref().map(Zone::parse).transpose();
    let profile = Profile {
        unionid: unionid.map_err(|e| bad(format!("`unionid`: {e}")))?,
        reference: reference.map_err(|e| bad(format!("`ref`: {e}")))?,
        tags,
        fields: fields(&shape.fields)?,
        time_zone: time_zone.map_err(|e| bad(format!("`time_zone`: {e}")))?,
        muted: shape.muted,
    };
    if text_bytes(&profile) + RECIPIENT_FRAME_BYTES > MAX_RECIPIENT_BYTES {
        return Err(bad(format!(
            "tags and fields are larger than a recipient may be, {MAX_RECIPIENT_BYTES} bytes in all"
        )));
    }
    Ok(Row::Person { openid, profile: Box::new(profile) })
}

fn appointment(app: &App, line: &str) -> Result<Row, BadRow> {
    let shape: AppointmentShape = serde_json::from_str(line).map_err(|error| not_json(&error))?;
    // As a list writes it; what is of another app is not taken for this one's.
    if shape.app.as_deref().is_some_and(|name| name != app.name.as_str()) {
        return Err(bad(format!("`app` is not `{}`, for which it is imported", app.name)));
    }
    let kind = Kind::parse(&shape.kind).map_err(|e| bad(format!("`kind`: {e}")))?;
    let id = AppointmentId::parse(&shape.id).map_err(|e| bad(format!("`id`: {e}")))?;
    let recipients = match (shape.openid, shape.recipients) {
        (Some(openid), None) => vec![openid],
        (None, Some(recipients)) => recipients,
        (Some(_), Some(_)) => return Err(bad("`openid` and `recipients` exclude each other")),
        (None, None) => return Err(bad("`openid` or `recipients` is missing")),
    };
    if !(1..=MAX_APPOINTMENT_RECIPIENTS).contains(&recipients.len()) {
        return Err(bad(format!("`recipients` must have 1–{MAX_APPOINTMENT_RECIPIENTS} entries")));
    }
    let recipients: Result<BTreeSet<OpenId>, _> = recipients.iter().map(|text| OpenId::parse(text)).collect();
    let recipients = recipients.map_err(|e| bad(format!("`recipients`: {e}")))?;
    let at = instant::parse(&shape.at).ok().filter(|at| (1970..=9000).contains(&at.year()));
    let at =
        at.ok_or_else(|| bad("`at` must be an instant with its offset, like 2026-03-01T09:00:00+08:00"))?;
    let to = Appointment { recipients, at, fields: fields(&shape.fields)? };
    let bytes =
        field_bytes(&to.fields) + to.recipients.iter().map(|who| who.as_str().len() + 1).sum::<usize>();
    // Each of them may belong to it since a change of his own, whose number and time are kept too.
    if bytes + to.recipients.len() * JOINED_BYTES + RECIPIENT_FRAME_BYTES > MAX_APPOINTMENT_BYTES {
        return Err(bad(format!(
            "recipients and fields are larger than an appointment may be, {MAX_APPOINTMENT_BYTES} bytes in all"
        )));
    }
    Ok(Row::Appointment { kind, id, to })
}

fn fields(shape: &BTreeMap<String, Value>) -> Result<Fields, BadRow> {
    if shape.len() > MAX_FIELDS {
        return Err(bad(format!("`fields` has {}; at most {MAX_FIELDS}", shape.len())));
    }
    let field = |(name, value): (&String, &Value)| {
        let name = FieldName::parse(name).map_err(|e| bad(format!("`fields`: {e}")))?;
        let value = match value {
            Value::String(text) if text.chars().count() <= MAX_FIELD_CHARS => FieldValue::Text(text.clone()),
            Value::String(_) => {
                return Err(bad(format!("`fields.{name}` is longer than {MAX_FIELD_CHARS} characters")));
            }
            Value::Bool(value) => FieldValue::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => FieldValue::Whole(whole),
                (None, Some(real)) if real.is_finite() => FieldValue::Real(real),
                (None, Some(_) | None) => return Err(bad(format!("`fields.{name}` is too large a number"))),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(bad(format!("`fields.{name}` must be text, a number, true or false")));
            }
        };
        Ok((name, value))
    };
    shape.iter().map(field).collect()
}

/// Bytes of the texts of a profile with their lengths, at most: the store passes over a row that is too large
/// without a word, so it must not get one.
fn text_bytes(profile: &Profile) -> usize {
    let tags: usize = profile.tags.iter().map(|tag| tag.as_str().len() + 2).sum();
    let unionid = profile.unionid.as_ref().map_or(0, |unionid| unionid.as_str().len());
    let reference = profile.reference.as_ref().map_or(0, |reference| reference.as_str().len());
    let zone = profile.time_zone.map_or(0, |zone| zone.name().len());
    tags + field_bytes(&profile.fields) + unionid + reference + zone
}

fn field_bytes(fields: &Fields) -> usize {
    let field = |(name, value): (&FieldName, &FieldValue)| {
        name.as_str().len()
            + 4
            + match value {
                FieldValue::Text(text) => text.len(),
                FieldValue::Whole(_) | FieldValue::Real(_) => 10,
                FieldValue::Bool(_) => 1,
            }
    };
    fields.iter().map(field).sum()
}

/// serde's message names keys and types; what it quotes of values is cut away, for it could be an openid.
fn not_json(error: &serde_json::Error) -> BadRow {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let quoted = text.starts_with("invalid type: string") || text.starts_with("invalid value: string");
    match text.split_once(", expected ").filter(|_| quoted) {
        Some((_, expected)) => bad(format!("a text where {expected} belongs (column {})", error.column())),
        None => bad(format!("{text} (column {})", error.column())),
    }
}

/// Begins the digest by which the store knows a file: feed it the file's bytes, then take [`hex`] of it.
///
/// The same file imported as something else, or for another app, is another import.
#[must_use]
pub fn digest(what: ImportKind, app: &App) -> Sha256 {
    let what = match what {
        ImportKind::Consents => "consents",
        ImportKind::People => "people",
        ImportKind::Appointments => "appointments",
    };
    Sha256::new().chain_update(format!("tixing import 1\n{what}\n{}\n", app.appid))
}

/// The digest as it goes over the socket.
#[must_use]
pub fn hex(digest: Sha256) -> String {
    let nibble = |n: u8| char::from_digit(u32::from(n), 16).expect("4 bits are a hex digit");
    digest.finalize().iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 15)]).collect()
}

fn unhex(text: &str) -> Result<[u8; 32], Failure> {
    let byte = |n: usize| text.get(2 * n..2 * n + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let digest = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    digest.ok_or_else(|| Failure::data("a digest is 64 hex digits"))
}

impl Desk {
    pub(super) async fn imported(&self, digest: &str, lines: &Lines) -> Result<Exit, Failure> {
        let imported = self.store().imported(&unhex(digest)?)?;
        self.synced().await?;
        lines.row(&serde_json::json!({ "imported": imported })).await?;
        Ok(Exit::Done)
    }

    /// Books one piece; answers how far the import is, durably, and how many grants this piece added.
    pub(super) async fn import(
        &self,
        what: ImportKind,
        app: Option<&str>,
        digest: &str,
        first: u64,
        rows: &[String],
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let app = who::app(&live.config, app)?;
        let digest = unhex(digest)?;
        if rows.len() > MAX_IMPORT_ROWS {
            return Err(Failure::data(format!("{} rows in a piece; at most {MAX_IMPORT_ROWS}", rows.len())));
        }
        if what == ImportKind::Appointments {
            return self.put_appointments(app, first, rows, lines).await;
        }
        let now = self.now();
        let mut piece = ImportPiece { digest, first, rows: Vec::with_capacity(rows.len()), now };
        let mut refs: BTreeMap<Ref, OpenId> = BTreeMap::new();
        for (number, line) in (first + 1..).zip(rows) {
            let row = row(what, app, line).map_err(|bad| Failure::data(format!("line {number}: {bad}")))?;
            piece.rows.push(match row {
                Row::Consents { openid, template, n } => ImportRow::Grant(OperatorGrant {
                    app: app.appid.clone(),
                    openid,
                    template: template.id,
                    kind: template.kind,
                    n,
                    source: Source::Import,
                    now,
                }),
                Row::Person { openid, profile } => {
                    if let Some(reference) = &profile.reference {
                        let holder = refs.insert(reference.clone(), openid.clone());
                        let holder = holder
                            .map_or_else(|| self.store().by_ref(&app.appid, reference), |h| Ok(Some(h)))?;
                        if holder.is_some_and(|holder| holder != openid) {
                            return Err(Failure::data(format!(
                                "line {number}: its `ref` belongs to somebody else"
                            )));
                        }
                    }
                    ImportRow::Recipient(app.appid.clone(), openid, profile)
                }
                // Put above.
                Row::Appointment { .. } => continue,
            });
        }
        let accounts = accounts(&piece.rows);
        let n_rows = n_of(piece.rows.len());
        let before = self.granted_in(&accounts)?;
        let imported = self.store().import(piece).await?;
        self.store().wait(imported.number).await?;
        let booked = imported.value == first + n_rows;
        let granted = if booked { self.granted_in(&accounts)?.saturating_sub(before) } else { 0 };
        lines.row(&serde_json::json!({ "imported": imported.value, "granted": granted })).await?;
        Ok(Exit::Done)
    }

    /// Puts one piece of appointments; answers how many of them changed, durably.
    ///
    /// Each is a change of its own. What is so already is not changed, so the same command goes on wherever it stopped.
    async fn put_appointments(
        &self,
        app: &App,
        first: u64,
        rows: &[String],
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let mut changes = Vec::with_capacity(rows.len());
        for (number, line) in (first + 1..).zip(rows) {
            let row = row(ImportKind::Appointments, app, line);
            let row = row.map_err(|bad| Failure::data(format!("line {number}: {bad}")))?;
            let Row::Appointment { kind, id, to } = row else { continue };
            let key = AppointmentKey { app: app.appid.clone(), kind, id };
            changes.push((number, AppointmentChange { key, to: Some(to), request: None, now: self.now() }));
        }
        let asked: Vec<_> = changes
            .into_iter()
            .map(|(number, change)| (number, self.store().change_appointment(change)))
            .collect();
        let (mut changed, mut last) = (0_u64, self.store().decided());
        for (number, pending) in asked {
            let decided = pending.await?;
            last = decided.number;
            match decided.value {
                Changed::Booked { .. } => changed += 1,
                Changed::Same | Changed::Unknown | Changed::Replayed => {}
                Changed::TooLarge => {
                    return Err(Failure::data(format!(
                        "line {number}: recipients and fields are larger than an appointment may be"
                    )));
                }
            }
        }
        self.store().wait(last).await?;
        let imported = first + n_of(rows.len());
        lines.row(&serde_json::json!({ "imported": imported, "granted": 0, "changed": changed })).await?;
        Ok(Exit::Done)
    }

    /// Acceptances ever booked in the accounts of a piece, each account once.
    ///
    /// The difference before and after a piece is what it granted; a report for the same account in the
    /// same moment would be counted along, which only the figure shown to the operator suffers from.
    fn granted_in(&self, accounts: &BTreeSet<AccountKey>) -> Result<u64, Failure> {
        let booked = accounts.iter().map(|key| self.booked(&key.app, &key.template, &key.openid));
        booked.sum()
    }
}

/// The accounts that rows grant to, each once.
fn accounts(rows: &[ImportRow]) -> BTreeSet<AccountKey> {
    let key = |row: &ImportRow| match row {
        ImportRow::Grant(grant) => Some(AccountKey {
            app: grant.app.clone(),
            template: grant.template.clone(),
            openid: grant.openid.clone(),
        }),
        ImportRow::Recipient(..) => None,
    };
    rows.iter().filter_map(key).collect()
}

/// How many grants a row asks for.
#[must_use]
pub fn asked(row: &Row) -> u64 {
    match row {
        Row::Consents { template, n, .. } => match template.kind {
            TemplateKind::OneTime => u64::from(*n),
            TemplateKind::LongTerm => 1,
        },
        Row::Person { .. } | Row::Appointment { .. } => 0,
    }
}
