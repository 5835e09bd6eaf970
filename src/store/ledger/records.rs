//! Stored values: a version byte, then postcard of a structure of its own.
//!
//! postcard does not describe itself: fields are never reordered or removed; another shape is another
//! version byte, and readers know all of them. Domain types are not serialised.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Failed;
use crate::domain::consent::{Account, Grant, Source};
use crate::domain::delivery::{Past, State};
use crate::domain::id::{AppId, DeliveryId, FieldName, OpenId, Ref, RuleId, Tag, TemplateId, UnionId};
use crate::domain::occurrence::{Counts, OccurrenceState, SkipReason};
use crate::domain::recipient::{FieldValue, Profile, Recipient};
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;
use crate::store::{Delivery, Occurrence};

/// The version of every record so far.
const V1: u8 = 1;

/// Encodes a record.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Failed> {
    postcard::to_extend(record, vec![V1]).map_err(Failed::codec)
}

/// Decodes a record; refuses unknown versions and trailing bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failed> {
    match bytes.split_first() {
        Some((&V1, rest)) => match postcard::take_from_bytes(rest).map_err(Failed::codec)? {
            (record, []) => Ok(record),
            (_, _) => Err(Failed::Record("a record has bytes after its end")),
        },
        Some(_) => Err(Failed::Record("a record has a version this program does not know")),
        None => Err(Failed::Record("a record is empty")),
    }
}

/// Milliseconds since 1970, rounded down.
pub(super) fn ms(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// The instant of stored milliseconds.
pub(super) fn at(ms: i64) -> Result<DateTime<Utc>, Failed> {
    DateTime::from_timestamp_millis(ms).ok_or(Failed::Record("an instant is out of range"))
}

fn at_opt(ms: Option<i64>) -> Result<Option<DateTime<Utc>>, Failed> {
    ms.map(at).transpose()
}

#[derive(Serialize, Deserialize)]
pub(super) struct GrantV1 {
    accepted_ms: i64,
    source: u8,
    bound: Option<[u8; 8]>,
}

impl GrantV1 {
    fn of(grant: &Grant, base: i64) -> Self {
        let source = match grant.source {
            Source::Session => 0,
            Source::Backend => 1,
            Source::Event => 2,
            Source::Operator => 3,
            Source::Import => 4,
        };
        Self { accepted_ms: ms(grant.accepted_at) - base, source, bound: grant.bound.map(u64::to_be_bytes) }
    }

    fn grant(&self, base: i64) -> Result<Grant, Failed> {
        let source = match self.source {
            0 => Source::Session,
            1 => Source::Backend,
            2 => Source::Event,
            3 => Source::Operator,
            4 => Source::Import,
            _ => return Err(Failed::Record("a grant has an unknown source")),
        };
        let accepted_at = at(self.accepted_ms.saturating_add(base))?;
        Ok(Grant { accepted_at, source, bound: self.bound.map(u64::from_be_bytes) })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AccountV1 {
    long_term: bool,
    granted: u64,
    voided: u64,
    consumed: u64,
    refused_until: Option<i64>,
    denied_until: Option<i64>,
    suspect: bool,
    standing: Option<i64>,
    rejected: Option<i64>,
    free: Vec<GrantV1>,
    out: Vec<(u64, u32, u8)>,
}

impl AccountV1 {
    pub(super) fn of(account: &Account, kind: TemplateKind) -> Self {
        Self {
            long_term: kind == TemplateKind::LongTerm,
            granted: account.granted,
            voided: account.voided,
            consumed: account.consumed,
            refused_until: account.refused_until.map(ms),
            denied_until: account.denied_until.map(ms),
            suspect: account.suspect,
            standing: account.standing.map(ms),
            rejected: account.rejected_at.map(ms),
            free: account.free.iter().map(|grant| GrantV1::of(grant, 0)).collect(),
            out: account.out.iter().map(|id| (id.occurrence, id.chunk, id.slot)).collect(),
        }
    }

    pub(super) fn account(self) -> Result<(Account, TemplateKind), Failed> {
        let kind = if self.long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime };
        let account = Account {
            granted: self.granted,
            voided: self.voided,
            consumed: self.consumed,
            refused_until: at_opt(self.refused_until)?,
            denied_until: at_opt(self.denied_until)?,
            suspect: self.suspect,
            standing: at_opt(self.standing)?,
            rejected_at: at_opt(self.rejected)?,
            free: self.free.iter().map(|grant| grant.grant(0)).collect::<Result<_, _>>()?,
            out: self
                .out
                .into_iter()
                .map(|(occurrence, chunk, slot)| DeliveryId { occurrence, chunk, slot })
                .collect(),
        };
        Ok((account, kind))
    }
}

#[derive(Serialize, Deserialize)]
enum ValueV1 {
    Text(String),
    Whole(i64),
    Real(f64),
    Bool(bool),
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecipientV1 {
    created_ms: i64,
    unionid: Option<String>,
    reference: Option<String>,
    zone: Option<String>,
    zone_since_ms: Option<i64>,
    muted: bool,
    tags: Vec<String>,
    fields: Vec<(String, ValueV1)>,
}

impl RecipientV1 {
    pub(super) fn of(recipient: &Recipient, zone_since_ms: Option<i64>) -> Self {
        let profile = &recipient.profile;
        let value = |value: &FieldValue| match value {
            FieldValue::Text(text) => ValueV1::Text(text.clone()),
            FieldValue::Whole(n) => ValueV1::Whole(*n),
            FieldValue::Real(n) => ValueV1::Real(*n),
            FieldValue::Bool(b) => ValueV1::Bool(*b),
        };
        Self {
            created_ms: ms(recipient.created_at),
            unionid: profile.unionid.as_ref().map(|id| id.as_str().to_owned()),
            reference: profile.reference.as_ref().map(|r| r.as_str().to_owned()),
            zone: profile.time_zone.map(|zone| zone.name().to_owned()),
            zone_since_ms,
            muted: profile.muted,
            tags: profile.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
            fields: profile.fields.iter().map(|(name, v)| (name.as_str().to_owned(), value(v))).collect(),
        }
    }

    pub(super) fn zone_since_ms(&self) -> Option<i64> {
        self.zone_since_ms
    }

    pub(super) fn recipient(self) -> Result<Recipient, Failed> {
        fn parsed<T>(
            text: &str,
            parse: fn(&str) -> Result<T, crate::domain::id::BadId>,
        ) -> Result<T, Failed> {
            parse(text).map_err(|_bad| Failed::Record("a recipient holds a name that cannot be"))
        }
        let mut fields = BTreeMap::new();
        for (name, value) in self.fields {
            let value = match value {
                ValueV1::Text(text) => FieldValue::Text(text),
                ValueV1::Whole(n) => FieldValue::Whole(n),
                ValueV1::Real(n) => FieldValue::Real(n),
                ValueV1::Bool(b) => FieldValue::Bool(b),
            };
            fields.insert(parsed(&name, FieldName::parse)?, value);
        }
        let profile = Profile {
            unionid: self.unionid.as_deref().map(|t| parsed(t, UnionId::parse)).transpose()?,
            reference: self.reference.as_deref().map(|t| parsed(t, Ref::parse)).transpose()?,
            tags: self.tags.iter().map(|t| parsed(t, Tag::parse)).collect::<Result<_, _>>()?,
            fields,
            // A zone that the zone data has lost is no zone: the recipient falls back to the rule's.
            time_zone: self.zone.as_deref().and_then(|zone| Zone::parse(zone).ok()),
            muted: self.muted,
        };
        Ok(Recipient { created_at: at(self.created_ms)?, profile })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReportV1 {
    pub(super) content: [u8; 32],
    pub(super) day: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV1 {
    app: String,
    rule: String,
    template: String,
    long_term: bool,
    due_ms: i64,
    civil_s: i64,
    fold: u8,
    zone: String,
    deadline_ms: i64,
    state: u8,
    reason: Option<String>,
    n: u64,
    position: Option<String>,
    walked: bool,
    n_chunks: u32,
    audience: u64,
    by_state: Vec<(u8, u64)>,
    skipped: Vec<(u8, u64)>,
    snapshot: [u8; 32],
}

fn index_of<T: PartialEq>(all: &[T], one: &T) -> u8 {
    let index = all.iter().position(|each| each == one).unwrap_or(usize::from(u8::MAX));
    u8::try_from(index).unwrap_or(u8::MAX)
}

fn one_of<T: Copy>(all: &[T], index: u8) -> Result<T, Failed> {
    all.get(usize::from(index))
        .copied()
        .ok_or(Failed::Record("a record holds a word this program does not know"))
}

/// States in their stored order, which is never changed; new ones go to the end.
const STATES: [State; 13] = State::ALL;
const REASONS: [SkipReason; 7] = SkipReason::ALL;
const OCCURRENCE_STATES: [OccurrenceState; 5] = [
    OccurrenceState::Open,
    OccurrenceState::Held,
    OccurrenceState::Done,
    OccurrenceState::Missed,
    OccurrenceState::Cancelled,
];
const PASTS: [Past; 3] = [Past::Untried, Past::Tried, Past::Busy];

impl OccurrenceV1 {
    pub(super) fn of(occurrence: &Occurrence, n_chunks: u32) -> Self {
        let counts = &occurrence.counts;
        Self {
            app: occurrence.app.as_str().to_owned(),
            rule: occurrence.rule.as_str().to_owned(),
            template: occurrence.template.as_str().to_owned(),
            long_term: occurrence.kind == TemplateKind::LongTerm,
            due_ms: ms(occurrence.due_at),
            civil_s: occurrence.civil.and_utc().timestamp(),
            fold: occurrence.fold,
            zone: occurrence.zone.name().to_owned(),
            deadline_ms: ms(occurrence.deadline),
            state: index_of(&OCCURRENCE_STATES, &occurrence.state),
            reason: occurrence.reason.clone(),
            n: occurrence.n,
            position: occurrence.position.as_ref().map(|openid| openid.as_str().to_owned()),
            walked: occurrence.walked,
            n_chunks,
            audience: counts.audience,
            by_state: counts.by_state.iter().map(|(state, n)| (index_of(&STATES, state), *n)).collect(),
            skipped: counts.skipped.iter().map(|(reason, n)| (index_of(&REASONS, reason), *n)).collect(),
            snapshot: occurrence.snapshot,
        }
    }

    pub(super) fn occurrence(self, number: u64) -> Result<(Occurrence, u32), Failed> {
        let bad = |_| Failed::Record("an occurrence holds a name that cannot be");
        let mut counts = Counts { audience: self.audience, ..Counts::default() };
        for (state, n) in self.by_state {
            counts.by_state.insert(one_of(&STATES, state)?, n);
        }
        for (reason, n) in self.skipped {
            counts.skipped.insert(one_of(&REASONS, reason)?, n);
        }
        let civil = DateTime::from_timestamp(self.civil_s, 0)
            .ok_or(Failed::Record("a civil time is out of range"))?;
        let occurrence = Occurrence {
            number,
            app: AppId::parse(&self.app).map_err(bad)?,
            rule: RuleId::parse(&self.rule).map_err(bad)?,
            template: TemplateId::parse(&self.template).map_err(bad)?,
            kind: if self.long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime },
            due_at: at(self.due_ms)?,
            civil: civil.naive_utc(),
            fold: self.fold,
            zone: Zone::parse(&self.zone).unwrap_or(Zone::UTC),
            deadline: at(self.deadline_ms)?,
            state: one_of(&OCCURRENCE_STATES, self.state)?,
            reason: self.reason,
            n: self.n,
            position: self.position.as_deref().map(OpenId::parse).transpose().map_err(bad)?,
            walked: self.walked,
            counts,
            snapshot: self.snapshot,
        };
        Ok((occurrence, self.n_chunks))
    }
}

/// A chunk; its times are relative to `base_ms`, which keeps them short.
#[derive(Serialize, Deserialize)]
pub(super) struct ChunkV1 {
    base_ms: i64,
    slots: Vec<SlotV1>,
}

#[derive(Serialize, Deserialize)]
struct SlotV1 {
    openid: String,
    state: u8,
    next: Option<i64>,
    attempts: u32,
    first: Option<i64>,
    past: u8,
    grant: Option<GrantV1>,
    msgid: Option<u64>,
    errcode: Option<i64>,
    skipped: Option<u8>,
    settled: Option<i64>,
}

impl ChunkV1 {
    pub(super) fn of(chunk: &Chunk) -> Self {
        let base = chunk.base_ms;
        let relative = |at: Option<DateTime<Utc>>| at.map(|at| ms(at) - base);
        let slots = chunk.slots.iter().map(|slot| SlotV1 {
            openid: slot.openid.as_str().to_owned(),
            state: index_of(&STATES, &slot.state),
            next: relative(slot.next_at),
            attempts: slot.attempts,
            first: relative(slot.first_started_at),
            past: index_of(&PASTS, &slot.past),
            grant: slot.grant.as_ref().map(|grant| GrantV1::of(grant, base)),
            msgid: slot.msgid,
            errcode: slot.errcode,
            skipped: slot.skipped.map(|reason| index_of(&REASONS, &reason)),
            settled: relative(slot.settled_at),
        });
        Self { base_ms: base, slots: slots.collect() }
    }

    pub(super) fn chunk(self, occurrence: u64, number: u32) -> Result<Chunk, Failed> {
        let base = self.base_ms;
        let absolute = |ms: Option<i64>| at_opt(ms.map(|ms| ms.saturating_add(base)));
        let mut slots = Vec::with_capacity(self.slots.len());
        for (index, slot) in self.slots.into_iter().enumerate() {
            let index = u8::try_from(index).map_err(|_too_many| Failed::Record("a chunk holds too many"))?;
            slots.push(Delivery {
                id: DeliveryId { occurrence, chunk: number, slot: index },
                openid: OpenId::parse(&slot.openid)
                    .map_err(|_bad| Failed::Record("a chunk holds an openid that cannot be"))?,
                state: one_of(&STATES, slot.state)?,
                next_at: absolute(slot.next)?,
                attempts: slot.attempts,
                first_started_at: absolute(slot.first)?,
                past: one_of(&PASTS, slot.past)?,
                grant: slot.grant.as_ref().map(|grant| grant.grant(base)).transpose()?,
                msgid: slot.msgid,
                errcode: slot.errcode,
                skipped: slot.skipped.map(|reason| one_of(&REASONS, reason)).transpose()?,
                settled_at: absolute(slot.settled)?,
            });
        }
        Ok(Chunk { base_ms: base, slots })
    }
}

/// A chunk in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chunk {
    /// When it was made; its stored times are relative to it.
    pub(super) base_ms: i64,
    /// Its deliveries; a delivery's place never changes.
    pub(super) slots: Vec<Delivery>,
}

impl Chunk {
    /// The next instant at which one of its held or waiting deliveries is to be looked at.
    pub(super) fn next_ms(&self) -> Option<i64> {
        let pending = self.slots.iter().filter(|slot| matches!(slot.state, State::Held | State::Waiting));
        pending.filter_map(|slot| slot.next_at).map(ms).min()
    }

    /// Since when the oldest of its deliveries in doubt is.
    pub(super) fn doubt_ms(&self) -> Option<i64> {
        let doubts = self.slots.iter().filter(|slot| slot.state == State::InDoubt);
        doubts.map(|slot| slot.settled_at.map_or(self.base_ms, ms)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CHUNK_BYTES, CHUNK_DELIVERIES, MAX_ENTRY_BYTES, slot_bytes};

    fn instant(ms: i64) -> DateTime<Utc> {
        at(ms).expect("in range")
    }

    fn sent(openid: &str) -> Delivery {
        let base = 1_800_000_000_000;
        Delivery {
            id: DeliveryId { occurrence: 1, chunk: 2, slot: 0 },
            openid: OpenId::parse(openid).expect("good"),
            state: State::Sent,
            next_at: None,
            attempts: 200,
            first_started_at: Some(instant(base + 86_400_000 * 4)),
            past: Past::Busy,
            grant: Some(Grant {
                accepted_at: instant(base - 86_400_000 * 365),
                source: Source::Import,
                bound: Some(u64::MAX),
            }),
            msgid: Some(u64::MAX),
            errcode: None,
            skipped: None,
            settled_at: Some(instant(base + 86_400_000 * 90)),
        }
    }

    #[test]
    fn a_full_chunk_fits_its_record_whatever_becomes_of_it() {
        for length in [10, 28, 64] {
            let openid = "o".repeat(length);
            let slot = sent(&openid);
            let n = (CHUNK_BYTES / slot_bytes(&slot.openid)).min(CHUNK_DELIVERIES);
            let chunk = Chunk { base_ms: 1_800_000_000_000, slots: vec![slot; n] };
            let bytes = encode(&ChunkV1::of(&chunk)).expect("encodes").len();
            assert!(bytes + 13 <= MAX_ENTRY_BYTES, "{n} of {length}: {bytes}");
        }
    }

    #[test]
    fn records_read_back() {
        let chunk = Chunk { base_ms: 1_800_000_000_000, slots: vec![sent("oAAAAAAAAAAAA")] };
        let bytes = encode(&ChunkV1::of(&chunk)).expect("encodes");
        let mut back = decode::<ChunkV1>(&bytes).and_then(|c| c.chunk(1, 2)).expect("decodes");
        back.slots[0].id.slot = 0;
        assert_eq!(back, chunk);
        let trailing = [bytes.as_slice(), &[0]].concat();
        assert!(decode::<ChunkV1>(&trailing).is_err(), "trailing bytes are refused");
        let newer = [&[2], &bytes[1..]].concat();
        assert!(decode::<ChunkV1>(&newer).is_err(), "unknown versions are refused");
    }

    #[test]
    fn an_account_of_version_1_stays_readable() {
        let account = Account {
            granted: 3,
            free: vec![Grant { accepted_at: instant(1000), source: Source::Backend, bound: None }],
            out: vec![DeliveryId { occurrence: 5, chunk: 1, slot: 9 }],
            voided: 1,
            ..Account::default()
        };
        let fixture = [1, 0, 3, 1, 0, 0, 0, 0, 0, 0, 1, 208, 15, 1, 0, 1, 5, 1, 9];
        assert_eq!(encode(&AccountV1::of(&account, TemplateKind::OneTime)).expect("encodes"), fixture);
        let (back, kind) = decode::<AccountV1>(&fixture).and_then(AccountV1::account).expect("decodes");
        assert_eq!((back, kind), (account, TemplateKind::OneTime));
    }
}
