//! When the messages of an occurrence may leave, so that not all of them leave at once.
//!
//! A recipient's place is a hash of the rule and of him: the same in every process, on every machine and for every
//! occurrence. Who is sent to, and that nothing leaves earlier, is the fan-out's business.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use crate::domain::id::{OpenId, RuleId};

/// How long after the due time `openid` has its turn: less than `spread`, in whole milliseconds.
#[must_use]
pub fn offset(rule: &RuleId, openid: &OpenId, spread: Duration) -> TimeDelta {
    let span = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    let Some(place) = place(rule, openid).checked_rem(span) else { return TimeDelta::zero() };
    TimeDelta::milliseconds(i64::try_from(place).unwrap_or(i64::MAX))
}

/// A number that belongs to `openid` under `rule` for ever.
fn place(rule: &RuleId, openid: &OpenId) -> u64 {
    // Neither may hold a zero byte, so no two pairs are one text.
    let digest = Sha256::new().chain_update(rule.as_str()).chain_update([0]).chain_update(openid.as_str());
    let digest: [u8; 32] = digest.finalize().into();
    let [first, ..] = digest.as_chunks::<8>().0 else { return 0 };
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> RuleId {
        RuleId::parse(text).expect("an id")
    }

    fn somebody(n: u32) -> OpenId {
        OpenId::parse(&format!("oSomebody-{n:05}")).expect("an openid")
    }

    #[test]
    fn everybody_keeps_his_place() {
        // Written down once: another place would send twice as early or late after an update.
        let table = [
            ("drink-water", 0, 600, 398_497),
            ("drink-water", 1, 600, 503_995),
            ("read-book", 0, 600, 125_119),
            ("drink-water", 0, 3600, 1_598_497),
            ("drink-water", 0, 0, 0),
        ];
        for (id, who, seconds, expected_ms) in table {
            let is = offset(&rule(id), &somebody(who), Duration::from_secs(seconds));
            assert_eq!(is.num_milliseconds(), expected_ms, "{id}, {who}, {seconds} s");
        }
    }

    #[test]
    fn places_lie_within_the_spread_and_evenly() {
        let (id, spread) = (rule("drink-water"), Duration::from_mins(10));
        let mut by_minute = [0; 10];
        for n in 0..5000 {
            let ms = offset(&id, &somebody(n), spread).num_milliseconds();
            assert!((0..600_000).contains(&ms), "{ms}");
            by_minute[usize::try_from(ms / 60_000).expect("not negative")] += 1;
        }
        assert!(by_minute.iter().all(|n| (400..600).contains(n)), "{by_minute:?}");
        let moved =
            |n: &u32| offset(&id, &somebody(*n), spread) != offset(&rule("read-book"), &somebody(*n), spread);
        assert!((0..100).filter(moved).count() > 95, "another rule, another order");
    }
}
