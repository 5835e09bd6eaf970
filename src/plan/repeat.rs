//! When a message without an answer is sent once more, and how often at most.
//!
//! Its request may have taken a consent at the platform and brought the message, so each repetition costs another consent
//! and may be a message too many: only a rule that says `on_doubt: resend` has any. Whether there is a consent, and
//! whether its person may be disturbed then, is not asked here.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::id::DeliveryId;
use crate::domain::rule::OnDoubt;

/// Messages that one person may be sent of one occurrence: a platform that never answers must not take all his consents.
pub const MAX_MESSAGES: u8 = 3;
/// How long a receipt may take to say that the message arrived before it is repeated.
pub const PAUSE: Duration = Duration::from_mins(1);

/// When a delivery that is in doubt since `now` is repeated; `nth` is which message of its person it was. `None` where it
/// stays as it is.
///
/// The pause is up to a quarter longer, each delivery its own share, so that those of one outage do not come back at once.
#[must_use]
pub fn at(on_doubt: OnDoubt, nth: u8, id: DeliveryId, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match on_doubt {
        OnDoubt::Resend if nth < MAX_MESSAGES => {}
        OnDoubt::Hold | OnDoubt::Resend => return None,
    }
    let DeliveryId { occurrence, chunk, slot } = id;
    let place = occurrence.rotate_left(24) ^ u64::from(chunk) << 8 ^ u64::from(slot);
    let share = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let pause = TimeDelta::from_std(PAUSE).unwrap_or(TimeDelta::MAX);
    let quarter = pause.num_milliseconds().unsigned_abs() / 4;
    let extra = i64::try_from(share % quarter.max(1)).unwrap_or(0);
    now.checked_add_signed(pause + TimeDelta::milliseconds(extra))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_the_first_two_of_a_rule_that_says_so_are_repeated_each_after_its_own_pause() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let id = |slot| DeliveryId { occurrence: 7, chunk: 0, slot };
        let table = [
            (OnDoubt::Hold, 1, false),
            (OnDoubt::Resend, 1, true),
            (OnDoubt::Resend, 2, true),
            (OnDoubt::Resend, 3, false),
            (OnDoubt::Resend, u8::MAX, false),
        ];
        for (on_doubt, nth, repeated) in table {
            assert_eq!(at(on_doubt, nth, id(0), now).is_some(), repeated, "{on_doubt:?} {nth}");
        }
        let pauses: BTreeSet<_> =
            (0..64).map(|slot| at(OnDoubt::Resend, 1, id(slot), now).expect("again") - now).collect();
        assert!(pauses.len() > 32, "{pauses:?}");
        let (first, last) = (pauses.first().expect("some"), pauses.last().expect("some"));
        assert!(*first >= TimeDelta::seconds(60) && *last < TimeDelta::seconds(75), "{first} {last}");
    }
}
