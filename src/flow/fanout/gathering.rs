//! What a walk gathers for its next piece: who gets a message, is held or skipped, and who is only counted.
//!
//! It renders, and neither reads nor books.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::ready::Booking;
use super::rivals::Before;
use super::{MAX_PASSED, Ready};
use crate::domain::count::n_of;
use crate::domain::id::OpenId;
use crate::domain::message::Message;
use crate::domain::occurrence::SkipReason;
use crate::domain::recipient::Recipient;
use crate::plan::audience;
use crate::plan::turn::Turn;
use crate::store::{CHUNK_BYTES, CHUNK_DELIVERIES, Hint, Member, Occurrence, Walked, Want, slot_bytes};

/// What a walk has gathered for its next piece.
#[derive(Default)]
pub(super) struct Gathering {
    pub(super) members: Vec<Member>,
    /// With the turn of each.
    pub(super) messages: HashMap<OpenId, (Message, Turn)>,
    pub(super) without_consent: BTreeMap<SkipReason, u64>,
    pub(super) expired: u64,
    /// Passed over, since the rule's `where` is undefined for them.
    pub(super) undefined: u64,
    /// Members who may have too little for those before and this one.
    pub(super) scarce: Vec<(usize, Recipient)>,
    bytes: usize,
    passed: u64,
}

impl Gathering {
    /// How many of the audience it has passed.
    pub(super) fn n(&self) -> u64 {
        n_of(self.members.len()) + self.without_consent.values().sum::<u64>() + self.expired
    }

    pub(super) fn is_full(&self) -> bool {
        self.members.len() >= CHUNK_DELIVERIES || self.passed >= MAX_PASSED
    }

    fn has_room(&self, openid: &OpenId) -> bool {
        self.members.len() < CHUNK_DELIVERIES && self.bytes + slot_bytes(openid) <= CHUNK_BYTES
    }

    /// Takes recipients in until the piece is full; says whether all were taken. `position` follows.
    pub(super) fn take(
        &mut self,
        page: Vec<Walked>,
        occurrence: &Occurrence,
        ready: &Ready,
        before: &Before<'_>,
        now: DateTime<Utc>,
        position: &mut Option<OpenId>,
    ) -> bool {
        for walked in page {
            let Walked { openid, recipient, hint } = walked;
            let verdict = ready.selector.selects(&openid, &recipient.profile);
            let selected = match verdict {
                audience::Verdict::Yes => ready.is_his_time(occurrence, &openid, &recipient),
                audience::Verdict::No | audience::Verdict::Undefined => false,
            };
            self.undefined += u64::from(verdict == audience::Verdict::Undefined);
            if selected {
                if !self.has_room(&openid) {
                    return false;
                }
                self.admit(openid.clone(), &recipient, hint, (occurrence, ready, before), now);
            }
            self.passed += 1;
            *position = Some(openid);
        }
        true
    }

    fn admit(
        &mut self,
        openid: OpenId,
        recipient: &Recipient,
        hint: Hint,
        (occurrence, ready, before): (&Occurrence, &Ready, &Before<'_>),
        now: DateTime<Utc>,
    ) {
        let walked_at = match ready.booking {
            Booking::Sent => now,
            // It was walked then, if it was.
            Booking::Lost => occurrence.due_at,
        };
        let want = match ready.turn(occurrence, &openid, recipient, walked_at) {
            Ok(turn) if walked_at > turn.deadline => {
                self.expired += 1;
                return;
            }
            // Whether he has a consent and what the message says is asked when it may leave.
            Ok(turn) if turn.at > now => Want::Hold(turn.at),
            Ok(_) | Err(_) if recipient.profile.muted => Want::Skip(SkipReason::Muted),
            Ok(_) | Err(_) if recipient.bad_since.is_some() => Want::Skip(SkipReason::BadRecipient),
            Ok(turn) => match hint {
                Hint::Nothing(reason) => {
                    *self.without_consent.entry(reason).or_default() += 1;
                    return;
                }
                Hint::Consent(_) => match ready.render(occurrence, &openid, recipient) {
                    Ok(message) => match ready.booking {
                        Booking::Lost => Want::Doubt,
                        Booking::Sent => {
                            self.messages.insert(openid.clone(), (message, turn));
                            Want::Reserve
                        }
                    },
                    Err(reason) => Want::Skip(reason),
                },
            },
            Err(reason) => Want::Skip(reason),
        };
        if want == Want::Reserve && before.are_too_many(&openid, hint) {
            self.scarce.push((self.members.len(), recipient.clone()));
        }
        self.bytes += slot_bytes(&openid);
        self.members.push(Member { openid, want, behind: Vec::new() });
    }
}
