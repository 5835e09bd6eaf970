//! Stored records as JSON and back, for backups: the structure of each version as it is stored, with its number beside it.
//!
//! A record comes back byte by byte. Which key it has, and what is listed of it elsewhere, is not said here.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::appointments::AppointmentV1;
use super::chunks::{ChunkOf, SlotV1, SlotV2};
use super::occurrences::{OccurrenceV1, OccurrenceV2, OccurrenceV3, OccurrenceV4, OccurrenceV5};
use super::recipients::{RecipientV1, RecipientV2, RecipientV3};
use super::{
    AccountV1, AccountV2, AccountV3, ErasingV1, Failed, ReceiptsV1, ReportV1, ReportV2, UNKNOWN_VERSION,
    encode_as, version, whole,
};

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::ledger) enum RecordKind {
    Recipient,
    Account,
    Receipts,
    Report,
    Appointment,
    Occurrence,
    Chunk,
    Erasing,
}

/// A record in a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store::ledger) struct Record {
    /// The version of its structure.
    pub(in crate::store::ledger) v: u8,
    /// The structure.
    pub(in crate::store::ledger) is: Value,
}

/// A structure that is stored under a version.
struct Form {
    to_json: fn(&[u8]) -> Result<Value, Failed>,
    to_bytes: fn(u8, Value) -> Result<Vec<u8>, String>,
}

fn form<T: Serialize + DeserializeOwned>() -> Form {
    Form {
        to_json: |body| {
            let record: T = whole(body)?;
            serde_json::to_value(record)
                .map_err(|_error| Failed::Record("a record cannot be written as JSON"))
        },
        to_bytes: |version, value| {
            let record: T = serde_json::from_value(value).map_err(|error| error.to_string())?;
            encode_as(version, &record).map_err(|failed| failed.to_string())
        },
    }
}

fn form_of(kind: RecordKind, version: u8) -> Result<Form, Failed> {
    Ok(match (kind, version) {
        (RecordKind::Recipient, 1) => form::<RecipientV1>(),
        (RecordKind::Recipient, 2) => form::<RecipientV2>(),
        (RecordKind::Recipient, 3) => form::<RecipientV3>(),
        (RecordKind::Account, 1) => form::<AccountV1>(),
        (RecordKind::Account, 2) => form::<AccountV2>(),
        (RecordKind::Account, 3) => form::<AccountV3>(),
        (RecordKind::Receipts, 1) => form::<ReceiptsV1>(),
        (RecordKind::Report, 1) => form::<ReportV1>(),
        (RecordKind::Report, 2) => form::<ReportV2>(),
        (RecordKind::Appointment, 1) => form::<AppointmentV1>(),
        (RecordKind::Occurrence, 1) => form::<OccurrenceV1>(),
        (RecordKind::Occurrence, 2) => form::<OccurrenceV2>(),
        (RecordKind::Occurrence, 3) => form::<OccurrenceV3>(),
        (RecordKind::Occurrence, 4) => form::<OccurrenceV4>(),
        (RecordKind::Occurrence, 5) => form::<OccurrenceV5>(),
        (RecordKind::Chunk, 1) => form::<ChunkOf<SlotV1>>(),
        (RecordKind::Chunk, 2) => form::<ChunkOf<SlotV2>>(),
        (RecordKind::Erasing, 1) => form::<ErasingV1>(),
        (_, _) => return Err(Failed::Record(UNKNOWN_VERSION)),
    })
}

impl Record {
    /// A stored record.
    pub(in crate::store::ledger) fn of(kind: RecordKind, bytes: &[u8]) -> Result<Self, Failed> {
        let (v, body) = version(bytes)?;
        Ok(Self { v, is: (form_of(kind, v)?.to_json)(body)? })
    }

    /// The record as it is stored.
    ///
    /// # Errors
    /// What does not fit, without its values.
    pub(in crate::store::ledger) fn into_bytes(self, kind: RecordKind) -> Result<Vec<u8>, String> {
        let form = form_of(kind, self.v).map_err(|failed| failed.to_string())?;
        (form.to_bytes)(self.v, self.is)
    }
}
