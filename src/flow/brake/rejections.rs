//! How rejections are kept: in a few small values, by their rules' ids, since one value of the store is small.
//!
//! Where there are more than fit, those without the platform's words take their place, and of still more a restart forgets
//! some: each of these costs one message until it is held again.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::MAX_BYTES;
use crate::domain::id::RuleId;
use crate::domain::rejection::{Fault, Rejection, Wording};
use crate::store::{Store, Unavailable};

/// Values that they are kept in.
const N_PLACES: usize = 16;
/// Under these names the store keeps them.
const NAMES: [&str; N_PLACES] = [
    "rejections-00",
    "rejections-01",
    "rejections-02",
    "rejections-03",
    "rejections-04",
    "rejections-05",
    "rejections-06",
    "rejections-07",
    "rejections-08",
    "rejections-09",
    "rejections-10",
    "rejections-11",
    "rejections-12",
    "rejections-13",
    "rejections-14",
    "rejections-15",
];
/// The longest text of the platform that is kept, in characters.
const MAX_ERRMSG: usize = 120;

/// A rejection as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    rule: String,
    wording: [u8; 8],
    since_ms: i64,
    errcode: i64,
    fault: KeptFault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errmsg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptFault {
    Template,
    Constant { key: String },
    InARow { key: Option<String>, n: usize },
}

/// The value that the rejections of a rule are in.
pub(super) fn place_of(rule: &RuleId) -> &'static str {
    let sum = rule.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    NAMES.get(sum % N_PLACES).copied().expect("the rest is less than their number")
}

/// All that `store` keeps, in the order of rules and wordings.
pub(super) fn of_store(store: &dyn Store) -> Result<Vec<Rejection>, Unavailable> {
    let mut rejections = Vec::new();
    for name in NAMES {
        let Some(bytes) = store.kept(name)? else { continue };
        if let Some(those) = decode(&bytes) {
            rejections.extend(those);
        } else {
            // Each of them costs one message until it is held again.
            error!("Rules that were held cannot be read; they send again");
        }
    }
    rejections.sort_by(|a, b| (&a.rule, a.wording).cmp(&(&b.rule, b.wording)));
    Ok(rejections)
}

/// Those of `rejections` that are kept in this value.
pub(super) fn encode(rejections: &[Rejection], at: &'static str) -> Vec<u8> {
    let mut here: Vec<Kept> =
        rejections.iter().filter(|rejection| place_of(&rejection.rule) == at).map(Kept::of).collect();
    let bytes = |kept: &[Kept]| serde_json::to_vec(kept).expect("texts and numbers are JSON");
    // What is only left of an old wording is given up first, then the newest.
    here.sort_by_key(|kept| (kept.passed, kept.since_ms));
    if bytes(&here).len() > MAX_BYTES {
        for kept in &mut here {
            (kept.errmsg, kept.rid) = (None, None);
        }
    }
    while bytes(&here).len() > MAX_BYTES
        && let Some(kept) = here.pop()
    {
        warn!(
            rule.id = kept.rule,
            "So many rules are held that a restart forgets the one of rule {}", kept.rule
        );
    }
    bytes(&here)
}

impl Kept {
    fn of(rejection: &Rejection) -> Self {
        let Rejection { rule, wording, since, fault, errcode, errmsg, rid, passed } = rejection;
        let fault = match fault {
            Fault::Template => KeptFault::Template,
            Fault::Constant { key } => KeptFault::Constant { key: key.clone() },
            Fault::InARow { key, n } => KeptFault::InARow { key: key.clone(), n: *n },
        };
        Self {
            rule: rule.as_str().to_owned(),
            wording: wording.0,
            since_ms: since.timestamp_millis(),
            errcode: *errcode,
            fault,
            errmsg: errmsg.as_ref().map(|text| text.chars().take(MAX_ERRMSG).collect()),
            rid: rid.clone(),
            passed: *passed,
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Rejection>> {
    let kept: Vec<Kept> = serde_json::from_slice(bytes).ok()?;
    let rejection = |Kept { rule, wording, since_ms, errcode, fault, errmsg, rid, passed }: Kept| {
        let fault = match fault {
            KeptFault::Template => Fault::Template,
            KeptFault::Constant { key } => Fault::Constant { key },
            KeptFault::InARow { key, n } => Fault::InARow { key, n },
        };
        let (rule, wording) = (RuleId::parse(&rule).ok()?, Wording(wording));
        let since = DateTime::from_timestamp_millis(since_ms)?;
        Some(Rejection { rule, wording, since, fault, errcode, errmsg, rid, passed })
    };
    kept.into_iter().map(rejection).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(rule: &str, fault: Fault) -> Rejection {
        Rejection {
            rule: RuleId::parse(rule).expect("an id"),
            wording: Wording([7; 8]),
            since: DateTime::from_timestamp_millis(1_772_409_600_123).expect("in range"),
            fault,
            errcode: 40_037,
            errmsg: Some("invalid template_id".to_owned()),
            rid: Some("5f-1-2".to_owned()),
            passed: false,
        }
    }

    #[test]
    fn every_part_comes_back() {
        let key = || Some("thing1".to_owned());
        let rows = [Fault::InARow { key: key(), n: 5 }, Fault::InARow { key: None, n: 6 }];
        let constant = Fault::Constant { key: "thing1".to_owned() };
        for fault in [Fault::Template, constant].into_iter().chain(rows) {
            for passed in [false, true] {
                for said in [Some("x".to_owned()), None] {
                    let rejection = Rejection {
                        passed,
                        errmsg: said.clone(),
                        rid: said,
                        ..rejection("water", fault.clone())
                    };
                    let bytes = encode(std::slice::from_ref(&rejection), place_of(&rejection.rule));
                    assert_eq!(decode(&bytes), Some(vec![rejection]));
                }
            }
        }
        assert_eq!(decode(b"[{}]"), None);
    }

    #[test]
    fn each_value_has_a_bound() {
        let all: Vec<Rejection> =
            (0..2000).map(|n| rejection(&format!("rule-{n}"), Fault::Template)).collect();
        let mut n = 0;
        for at in NAMES {
            let bytes = encode(&all, at);
            assert!(bytes.len() <= MAX_BYTES, "{at}");
            n += decode(&bytes).expect("what was encoded").len();
        }
        assert!((400..2000).contains(&n), "{n} are kept of 2000");
        let some: Vec<Rejection> =
            (0..40).map(|n| rejection(&format!("rule-{n}"), Fault::Template)).collect();
        let kept = NAMES.into_iter().flat_map(|at| decode(&encode(&some, at)).expect("what was encoded"));
        assert_eq!(kept.count(), 40);
    }
}
