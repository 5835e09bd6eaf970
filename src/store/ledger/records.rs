//! Stored values: a version byte, then postcard of a structure of its own.
//!
//! postcard does not describe itself: fields are never reordered or removed; another shape is another
//! version byte, and readers know all of them. Domain types are not serialised.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Failed;
use crate::domain::consent::{Account, Grant, Manner, Source};
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, OpenId};
use crate::domain::occurrence::SkipReason;
use crate::domain::template::TemplateKind;
use crate::store::{Arrival, KeptReceipt};

mod appointments;
mod chunks;
pub(super) mod hex;
mod lines;
mod occurrences;
mod real;
mod recipients;

pub(super) use appointments::{decode_appointment, encode_appointment};
pub(super) use chunks::Chunk;
pub(super) use lines::{Record, RecordKind};
pub(super) use occurrences::{decode_occurrence, encode_occurrence};
pub(super) use recipients::{decode_recipient, encode_recipient};

/// The version of records that never changed.
const V1: u8 = 1;
/// The version of records that changed once.
const V2: u8 = 2;
/// The version of records that changed twice.
const V3: u8 = 3;
/// Room that most records need, so that they are written without growing.
const USUAL_BYTES: usize = 256;
/// The version of records that changed three times.
const V4: u8 = 4;
/// The version of records that changed four times.
const V5: u8 = 5;
/// What is said of a record that a newer program wrote.
const UNKNOWN_VERSION: &str = "a record has a version this program does not know";

/// Encodes a record that has one version.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Failed> {
    encode_as(V1, record)
}

fn encode_as<T: Serialize>(version: u8, record: &T) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(version);
    postcard::to_extend(record, bytes).map_err(Failed::codec)
}

/// Decodes a record that has one version; refuses others and trailing bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failed> {
    match version(bytes)? {
        (V1, body) => whole(body),
        (_, _) => Err(Failed::Record(UNKNOWN_VERSION)),
    }
}

/// Splits a record into its version and its body.
fn version(bytes: &[u8]) -> Result<(u8, &[u8]), Failed> {
    bytes.split_first().map(|(version, body)| (*version, body)).ok_or(Failed::Record("a record is empty"))
}

/// Decodes a body to its last byte.
fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    match postcard::take_from_bytes(body).map_err(Failed::codec)? {
        (record, []) => Ok(record),
        (_, _) => Err(Failed::Record("a record has bytes after its end")),
    }
}

/// Milliseconds since 1970, rounded down.
pub(super) fn ms(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// An instant as it reads back: without what is smaller than a millisecond.
pub(super) fn whole_ms(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms(at)).unwrap_or(at)
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

/// An account in memory, with what the store alone keeps of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// The account.
    pub(super) account: Account,
    /// How its acceptances count.
    pub(super) kind: TemplateKind,
    /// Deliveries made under a standing acceptance, which hold no grant: a receipt finds them here. Oldest first.
    pub(super) standing_out: Vec<DeliveryId>,
    /// Whether receipts are kept for it.
    pub(super) has_receipts: bool,
}

type DeliveryIds = Vec<(u64, u32, u8)>;

fn ids_of(ids: &[DeliveryId]) -> DeliveryIds {
    ids.iter().map(|id| (id.occurrence, id.chunk, id.slot)).collect()
}

fn ids(stored: DeliveryIds) -> Vec<DeliveryId> {
    stored.into_iter().map(|(occurrence, chunk, slot)| DeliveryId { occurrence, chunk, slot }).collect()
}

#[derive(Serialize, Deserialize)]
struct AccountV1 {
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
    out: DeliveryIds,
}

/// An account since version 2.
#[derive(Serialize, Deserialize)]
struct AccountV2 {
    first: AccountV1,
    standing_out: DeliveryIds,
    has_receipts: bool,
}

/// An account that was accepted in another manner than plainly; its place in [`Manner::ALL`].
#[derive(Serialize, Deserialize)]
struct AccountV3 {
    second: AccountV2,
    manner: u8,
}

impl Held {
    /// An account that nothing was booked in yet.
    pub(super) fn empty(kind: TemplateKind) -> Self {
        Self { account: Account::default(), kind, standing_out: Vec::new(), has_receipts: false }
    }

    /// Encodes the account's record.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Failed> {
        let account = &self.account;
        let first = AccountV1 {
            long_term: self.kind == TemplateKind::LongTerm,
            granted: account.granted,
            voided: account.voided,
            consumed: account.consumed,
            refused_until: account.refused_until.map(ms),
            denied_until: account.denied_until.map(ms),
            suspect: account.suspect,
            standing: account.standing.map(ms),
            rejected: account.rejected_at.map(ms),
            free: account.free.iter().map(|grant| GrantV1::of(grant, 0)).collect(),
            out: ids_of(&account.out),
        };
        let (standing_out, has_receipts) = (ids_of(&self.standing_out), self.has_receipts);
        let second = AccountV2 { first, standing_out, has_receipts };
        match account.manner {
            Manner::Plain => encode_as(V2, &second),
            manner @ (Manner::Audio | Manner::Alert | Manner::ForcePush) => {
                encode_as(V3, &AccountV3 { second, manner: index_of(&Manner::ALL, &manner) })
            }
        }
    }

    /// Decodes an account's record of any version.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Failed> {
        let AccountV3 { second, manner } = match version(bytes)? {
            (V1, body) => {
                let second = AccountV2 { first: whole(body)?, standing_out: Vec::new(), has_receipts: false };
                AccountV3 { second, manner: 0 }
            }
            (V2, body) => AccountV3 { second: whole(body)?, manner: 0 },
            (V3, body) => whole(body)?,
            (_, _) => return Err(Failed::Record(UNKNOWN_VERSION)),
        };
        let AccountV2 { first, standing_out, has_receipts } = second;
        let account = Account {
            granted: first.granted,
            voided: first.voided,
            consumed: first.consumed,
            refused_until: at_opt(first.refused_until)?,
            denied_until: at_opt(first.denied_until)?,
            suspect: first.suspect,
            standing: at_opt(first.standing)?,
            manner: one_of(&Manner::ALL, manner)?,
            rejected_at: at_opt(first.rejected)?,
            free: first.free.iter().map(|grant| grant.grant(0)).collect::<Result<_, _>>()?,
            out: ids(first.out),
        };
        let kind = if first.long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime };
        Ok(Self { account, kind, standing_out: ids(standing_out), has_receipts })
    }
}

/// Receipts kept of one account: event's second, msgid, whether it arrived, when it came.
#[derive(Serialize, Deserialize)]
struct ReceiptsV1(Vec<(i64, u64, bool, i64)>);

/// Encodes the receipts of an account.
pub(super) fn encode_receipts(receipts: &[KeptReceipt]) -> Result<Vec<u8>, Failed> {
    let rows = receipts.iter().map(|receipt| {
        let arrived = receipt.arrival == Arrival::Arrived;
        (receipt.created_at.timestamp(), receipt.msgid, arrived, ms(receipt.kept_at))
    });
    encode(&ReceiptsV1(rows.collect()))
}

/// Decodes the receipts of an account.
pub(super) fn decode_receipts(bytes: &[u8]) -> Result<Vec<KeptReceipt>, Failed> {
    let ReceiptsV1(rows) = decode(bytes)?;
    let receipt = |(created_s, msgid, arrived, kept_ms): (i64, u64, bool, i64)| {
        let created_at = at(created_s.saturating_mul(1000))?;
        let arrival = if arrived { Arrival::Arrived } else { Arrival::NotArrived };
        Ok(KeptReceipt { msgid, created_at, arrival, kept_at: at(kept_ms)? })
    };
    rows.into_iter().map(receipt).collect()
}

/// A report that was booked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Booked {
    /// Hash of its content.
    pub(super) content: [u8; 32],
    /// When it came, in milliseconds; of version 1 only the day.
    pub(super) at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ReportV1 {
    #[serde(with = "hex")]
    content: [u8; 32],
    day: u32,
}

/// A report since version 2: an erasure asks which are from before it.
#[derive(Serialize, Deserialize)]
struct ReportV2 {
    #[serde(with = "hex")]
    content: [u8; 32],
    at_ms: i64,
}

impl Booked {
    /// Encodes the report's record.
    pub(super) fn encode(self) -> Result<Vec<u8>, Failed> {
        encode_as(V2, &ReportV2 { content: self.content, at_ms: self.at_ms })
    }

    /// Decodes a report's record of any version.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Failed> {
        match version(bytes)? {
            (V1, body) => {
                let ReportV1 { content, day } = whole(body)?;
                Ok(Self { content, at_ms: i64::from(day) * 86_400_000 })
            }
            (V2, body) => {
                let ReportV2 { content, at_ms } = whole(body)?;
                Ok(Self { content, at_ms })
            }
            (_, _) => Err(Failed::Record(UNKNOWN_VERSION)),
        }
    }
}

/// How far an erasure is; the only record that names who was erased, for as long as there is something left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ErasingV1 {
    /// When he was erased.
    pub(super) at_ms: i64,
    /// Whether his accounts are closed; else nothing else may be decided.
    pub(super) closed: bool,
    /// The chunk that is to be looked at next; `None` when all were.
    pub(super) next: Option<(u64, u32)>,
}

/// The openid in a record; also the one that stands for the erased.
pub(super) fn openid(text: &str) -> Result<OpenId, Failed> {
    if text == OpenId::erased().as_str() {
        return Ok(OpenId::erased());
    }
    OpenId::parse(text).map_err(|_bad| Failed::Record("a record holds an openid that cannot be"))
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
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MAX_RECEIPTS;

    fn instant(ms: i64) -> DateTime<Utc> {
        at(ms).expect("in range")
    }

    #[test]
    fn accounts_of_all_versions_stay_readable() {
        let account = Account {
            granted: 3,
            free: vec![Grant { accepted_at: instant(1000), source: Source::Backend, bound: None }],
            out: vec![DeliveryId { occurrence: 5, chunk: 1, slot: 9 }],
            voided: 1,
            ..Account::default()
        };
        let first = [1, 0, 3, 1, 0, 0, 0, 0, 0, 0, 1, 208, 15, 1, 0, 1, 5, 1, 9];
        let held = Held { account, ..Held::empty(TemplateKind::OneTime) };
        assert_eq!(Held::decode(&first).expect("decodes"), held);
        let held = Held {
            standing_out: vec![DeliveryId { occurrence: 6, chunk: 0, slot: 2 }],
            has_receipts: true,
            ..held
        };
        let second = [&[2], &first[1..], &[1, 6, 0, 2, 1]].concat();
        assert_eq!(held.encode().expect("encodes"), second);
        assert_eq!(Held::decode(&second).expect("decodes"), held);
        let held = Held { account: Account { manner: Manner::Alert, ..held.account }, ..held };
        let third = [&[3], &second[1..], &[2]].concat();
        assert_eq!(held.encode().expect("encodes"), third);
        assert_eq!(Held::decode(&third).expect("decodes"), held);
        assert!(Held::decode(&[&[4], &third[1..]].concat()).is_err(), "unknown versions are refused");
        assert!(Held::decode(&[&[3], &second[1..], &[4]].concat()).is_err(), "and unknown manners");
    }

    #[test]
    fn reports_of_both_versions_stay_readable() {
        let first = [&[1], [7; 32].as_slice(), &[200, 1]].concat();
        let day = Booked { content: [7; 32], at_ms: 200 * 86_400_000 };
        assert_eq!(Booked::decode(&first).expect("decodes"), day);
        let second = [&[2], [7; 32].as_slice(), &[144, 78]].concat();
        let exact = Booked { content: [7; 32], at_ms: 5_000 };
        assert_eq!(exact.encode().expect("encodes"), second);
        assert_eq!(Booked::decode(&second).expect("decodes"), exact);
    }

    #[test]
    fn kept_receipts_read_back() {
        let one = KeptReceipt {
            msgid: u64::MAX,
            created_at: instant(1_800_000_000_000),
            arrival: Arrival::NotArrived,
            kept_at: instant(1_800_000_000_123),
        };
        let full = vec![one; MAX_RECEIPTS];
        let bytes = encode_receipts(&full).expect("encodes");
        assert!(bytes.len() < 400, "{}", bytes.len());
        assert_eq!(decode_receipts(&bytes).expect("decodes"), full);
        let fixture = [1, 1, 128, 200, 206, 180, 13, 7, 1, 246, 193, 226, 133, 227, 104];
        let one = KeptReceipt { msgid: 7, arrival: Arrival::Arrived, ..one };
        assert_eq!(encode_receipts(&[one]).expect("encodes"), fixture);
    }
}
