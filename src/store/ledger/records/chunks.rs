//! Chunk records: the deliveries of a piece of a fan-out, from first to last.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Failed, GrantV1, REASONS, STATES, UNKNOWN_VERSION, at_opt, encode_as, index_of, ms, one_of, openid,
    version, whole,
};
use crate::domain::count::n_of;
use crate::domain::delivery::{Past, State};
use crate::domain::id::DeliveryId;
use crate::store::Delivery;

const PASTS: [Past; 3] = [Past::Untried, Past::Tried, Past::Busy];

/// A chunk in memory.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Chunk {
    /// When it was made; its stored times are relative to it.
    pub(in super::super) base_ms: i64,
    /// Its deliveries; a delivery's place never changes.
    pub(in super::super) slots: Vec<Delivery>,
}

/// A chunk's newest version.
const NEWEST: u8 = 2;

/// A chunk; its times are relative to `base_ms`, which keeps them short.
#[derive(Serialize, Deserialize)]
pub(super) struct ChunkOf<S> {
    base_ms: i64,
    slots: Vec<S>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SlotV1 {
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

/// A slot since version 2.
#[derive(Serialize, Deserialize)]
pub(super) struct SlotV2 {
    first: SlotV1,
    marked: Option<i64>,
}

impl From<SlotV1> for SlotV2 {
    fn from(first: SlotV1) -> Self {
        Self { first, marked: None }
    }
}

impl Chunk {
    /// Encodes the chunk's record.
    pub(in super::super) fn encode(&self) -> Result<Vec<u8>, Failed> {
        let base = self.base_ms;
        let relative = |at: Option<DateTime<Utc>>| at.map(|at| ms(at) - base);
        let slots = self.slots.iter().map(|slot| SlotV2 {
            first: SlotV1 {
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
            },
            marked: relative(slot.marked_at),
        });
        encode_as(NEWEST, &ChunkOf { base_ms: base, slots: slots.collect() })
    }

    /// Decodes a chunk's record of any version.
    pub(in super::super) fn decode(bytes: &[u8], occurrence: u64, number: u32) -> Result<Self, Failed> {
        let ChunkOf { base_ms: base, slots: stored } = match version(bytes)? {
            (1, body) => {
                let ChunkOf { base_ms, slots } = whole::<ChunkOf<SlotV1>>(body)?;
                ChunkOf { base_ms, slots: slots.into_iter().map(SlotV2::from).collect() }
            }
            (NEWEST, body) => whole::<ChunkOf<SlotV2>>(body)?,
            (_, _) => return Err(Failed::Record(UNKNOWN_VERSION)),
        };
        let absolute = |ms: Option<i64>| at_opt(ms.map(|ms| ms.saturating_add(base)));
        let mut slots = Vec::with_capacity(stored.len());
        for (index, SlotV2 { first: slot, marked }) in stored.into_iter().enumerate() {
            let index = u8::try_from(index).map_err(|_too_many| Failed::Record("a chunk holds too many"))?;
            slots.push(Delivery {
                id: DeliveryId { occurrence, chunk: number, slot: index },
                openid: openid(&slot.openid)?,
                state: one_of(&STATES, slot.state)?,
                next_at: absolute(slot.next)?,
                attempts: slot.attempts,
                first_started_at: absolute(slot.first)?,
                marked_at: absolute(marked)?,
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

impl Chunk {
    /// The next instant at which one of its deliveries is to be looked at that are held, wait or shall be repeated.
    pub(in super::super) fn next_ms(&self) -> Option<i64> {
        let is_pending = |state| matches!(state, State::Held | State::Waiting | State::InDoubt);
        let pending = self.slots.iter().filter(|slot| is_pending(slot.state));
        pending.filter_map(|slot| slot.next_at).map(ms).min()
    }

    /// How many of its deliveries are in doubt.
    pub(in super::super) fn n_doubts(&self) -> u64 {
        n_of(self.slots.iter().filter(|slot| slot.state == State::InDoubt).count())
    }

    /// Since when the oldest of its deliveries in doubt is.
    pub(in super::super) fn doubt_ms(&self) -> Option<i64> {
        let doubts = self.slots.iter().filter(|slot| slot.state == State::InDoubt);
        doubts.map(|slot| slot.settled_at.map_or(self.base_ms, ms)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::consent::{Grant, Source};
    use crate::domain::id::OpenId;
    use crate::domain::occurrence::SkipReason;
    use crate::store::{CHUNK_BYTES, CHUNK_DELIVERIES, MAX_ENTRY_BYTES, slot_bytes};

    fn instant(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).expect("in range")
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
            marked_at: None,
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
        for length in 10..=64 {
            let sent = sent(&"o".repeat(length));
            // The last has no number yet, and may say why it is not repeated.
            let doubt = Delivery {
                state: State::InDoubt,
                msgid: None,
                skipped: Some(SkipReason::NoConsent),
                ..sent.clone()
            };
            let n = (CHUNK_BYTES / slot_bytes(&sent.openid)).min(CHUNK_DELIVERIES);
            for slot in [sent, doubt] {
                let chunk = Chunk { base_ms: 1_800_000_000_000, slots: vec![slot; n] };
                let bytes = chunk.encode().expect("encodes").len();
                assert!(bytes + 13 <= MAX_ENTRY_BYTES, "{n} of {length}: {bytes}");
            }
        }
    }

    #[test]
    fn records_read_back() {
        let chunk = Chunk { base_ms: 1_800_000_000_000, slots: vec![sent("oAAAAAAAAAAAA")] };
        let bytes = chunk.encode().expect("encodes");
        let mut back = Chunk::decode(&bytes, 1, 2).expect("decodes");
        back.slots[0].id.slot = 0;
        assert_eq!(back, chunk);
        let trailing = [bytes.as_slice(), &[0]].concat();
        assert!(Chunk::decode(&trailing, 1, 2).is_err(), "trailing bytes are refused");
        let newer = [&[3], &bytes[1..]].concat();
        assert!(Chunk::decode(&newer, 1, 2).is_err(), "unknown versions are refused");
    }
}
