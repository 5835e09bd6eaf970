//! The record of a recipient, and the fields that appointments have too.

use serde::{Deserialize, Serialize};

use super::{UNKNOWN_VERSION, V1, V2, V3, at, encode, encode_as, ms, version, whole};
use crate::domain::id::{FieldName, Ref, Tag, UnionId};
use crate::domain::recipient::{FieldValue, Fields, Move, Profile, Recipient};
use crate::domain::zone::Zone;
use crate::store::ledger::Failed;

#[derive(Serialize, Deserialize)]
pub(super) enum ValueV1 {
    Text(String),
    Whole(i64),
    Real(#[serde(with = "super::real")] f64),
    Bool(bool),
}

/// Fields as they are stored: name and value.
pub(super) type FieldsV1 = Vec<(String, ValueV1)>;

pub(super) fn fields_of(fields: &Fields) -> FieldsV1 {
    let value = |value: &FieldValue| match value {
        FieldValue::Text(text) => ValueV1::Text(text.clone()),
        FieldValue::Whole(n) => ValueV1::Whole(*n),
        FieldValue::Real(n) => ValueV1::Real(*n),
        FieldValue::Bool(b) => ValueV1::Bool(*b),
    };
    fields.iter().map(|(name, v)| (name.as_str().to_owned(), value(v))).collect()
}

pub(super) fn fields(stored: FieldsV1) -> Result<Fields, Failed> {
    let field = |(name, value): (String, ValueV1)| {
        let name =
            FieldName::parse(&name).map_err(|_bad| Failed::Record("a field has a name that cannot be"))?;
        let value = match value {
            ValueV1::Text(text) => FieldValue::Text(text),
            ValueV1::Whole(n) => FieldValue::Whole(n),
            ValueV1::Real(n) => FieldValue::Real(n),
            ValueV1::Bool(b) => FieldValue::Bool(b),
        };
        Ok((name, value))
    };
    stored.into_iter().map(field).collect()
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecipientV1 {
    created_ms: i64,
    unionid: Option<String>,
    reference: Option<String>,
    zone: Option<String>,
    /// Nothing asks for it.
    zone_since_ms: Option<i64>,
    muted: bool,
    tags: Vec<String>,
    fields: FieldsV1,
}

/// A recipient whose time zone was changed: what it was, until when.
#[derive(Serialize, Deserialize)]
pub(super) struct RecipientV2 {
    first: RecipientV1,
    moves: Vec<(Option<String>, i64)>,
}

/// A recipient for whom the platform takes no messages.
#[derive(Serialize, Deserialize)]
pub(super) struct RecipientV3 {
    second: RecipientV2,
    bad_since_ms: i64,
}

/// Encodes a recipient's record.
pub(in crate::store::ledger) fn encode_recipient(recipient: &Recipient) -> Result<Vec<u8>, Failed> {
    let first = RecipientV1::of(recipient);
    if recipient.moves.is_empty() && recipient.bad_since.is_none() {
        return encode(&first);
    }
    let moves = recipient.moves.iter().map(|one| (one.from.map(|zone| zone.name().to_owned()), ms(one.at)));
    let second = RecipientV2 { first, moves: moves.collect() };
    match recipient.bad_since {
        None => encode_as(V2, &second),
        Some(since) => encode_as(V3, &RecipientV3 { second, bad_since_ms: ms(since) }),
    }
}

/// Decodes a recipient's record of any version.
pub(in crate::store::ledger) fn decode_recipient(bytes: &[u8]) -> Result<Recipient, Failed> {
    match version(bytes)? {
        (V1, body) => whole::<RecipientV1>(body)?.recipient(),
        (V2, body) => whole::<RecipientV2>(body)?.recipient(),
        (V3, body) => {
            let RecipientV3 { second, bad_since_ms } = whole(body)?;
            Ok(Recipient { bad_since: Some(at(bad_since_ms)?), ..second.recipient()? })
        }
        (_, _) => Err(Failed::Record(UNKNOWN_VERSION)),
    }
}

/// A zone that the zone data has lost is no zone: the recipient falls back to the rule's.
fn zone(name: &str) -> Option<Zone> {
    Zone::parse(name).ok()
}

impl RecipientV2 {
    fn recipient(self) -> Result<Recipient, Failed> {
        let mut recipient = self.first.recipient()?;
        for (from, at_ms) in self.moves {
            recipient.moves.push(Move { from: from.as_deref().and_then(zone), at: at(at_ms)? });
        }
        Ok(recipient)
    }
}

impl RecipientV1 {
    fn of(recipient: &Recipient) -> Self {
        let profile = &recipient.profile;
        Self {
            created_ms: ms(recipient.created_at),
            unionid: profile.unionid.as_ref().map(|id| id.as_str().to_owned()),
            reference: profile.reference.as_ref().map(|r| r.as_str().to_owned()),
            zone: profile.time_zone.map(|zone| zone.name().to_owned()),
            zone_since_ms: None,
            muted: profile.muted,
            tags: profile.tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
            fields: fields_of(&profile.fields),
        }
    }

    fn recipient(self) -> Result<Recipient, Failed> {
        fn parsed<T>(
            text: &str,
            parse: fn(&str) -> Result<T, crate::domain::id::BadId>,
        ) -> Result<T, Failed> {
            parse(text).map_err(|_bad| Failed::Record("a recipient holds a name that cannot be"))
        }
        let profile = Profile {
            unionid: self.unionid.as_deref().map(|t| parsed(t, UnionId::parse)).transpose()?,
            reference: self.reference.as_deref().map(|t| parsed(t, Ref::parse)).transpose()?,
            tags: self.tags.iter().map(|t| parsed(t, Tag::parse)).collect::<Result<_, _>>()?,
            fields: fields(self.fields)?,
            time_zone: self.zone.as_deref().and_then(zone),
            muted: self.muted,
        };
        Ok(Recipient { created_at: at(self.created_ms)?, profile, moves: Vec::new(), bad_since: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_of_all_versions_stay_readable() {
        let zone = |name: &str| Zone::parse(name).ok();
        let mut recipient = Recipient::new(at(1_000).expect("in range"));
        recipient.profile.time_zone = zone("UTC");
        let first = [1, 208, 15, 0, 0, 1, 3, b'U', b'T', b'C', 0, 0, 0, 0];
        assert_eq!(encode_recipient(&recipient).expect("encodes"), first);
        assert_eq!(decode_recipient(&first).expect("decodes"), recipient);
        // An older program noted since when he had his zone.
        let noted = [1, 208, 15, 0, 0, 1, 3, b'U', b'T', b'C', 1, 208, 15, 0, 0, 0];
        assert_eq!(decode_recipient(&noted).expect("decodes"), recipient);
        recipient.moves = vec![Move { from: None, at: at(2_000).expect("in range") }];
        let second = [&[2], &first[1..], &[1, 0, 160, 31]].concat();
        assert_eq!(encode_recipient(&recipient).expect("encodes"), second);
        assert_eq!(decode_recipient(&second).expect("decodes"), recipient);
        recipient.bad_since = Some(at(3_000).expect("in range"));
        let third = [&[3], &second[1..], &[240, 46]].concat();
        assert_eq!(encode_recipient(&recipient).expect("encodes"), third);
        assert_eq!(decode_recipient(&third).expect("decodes"), recipient);
    }
}
