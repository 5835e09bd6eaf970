//! How rejections are kept: in a few small values, by their rules' ids, since one value of the store is small.
//!
//! Where there are more than fit, those without the platform's words take their place, and of still more a restart forgets
//! some: each of these costs one message until it is held again.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::MAX_BYTES;
use crate::domain::id::RuleId;
use crate::domain::rejection::{Fault, Mismatch, Rejection, Wording};
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errcode: Option<i64>,
    fault: KeptFault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errmsg: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rid: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    passed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptFault {
    Template,
    Constant { key: String },
    InARow { key: Option<String>, n: usize },
    Gone,
    ServiceCard,
    OneTime,
    Fields { lacks: Vec<String>, strange: Vec<String> },
    Value { key: String, value: String, allowed: Vec<String> },
}

impl KeptFault {
    fn of(fault: &Fault) -> Self {
        match fault.clone() {
            Fault::Template => Self::Template,
            Fault::Constant { key } => Self::Constant { key },
            Fault::InARow { key, n } => Self::InARow { key, n },
            Fault::Mismatch(Mismatch::Gone) => Self::Gone,
            Fault::Mismatch(Mismatch::ServiceCard) => Self::ServiceCard,
            Fault::Mismatch(Mismatch::OneTime) => Self::OneTime,
            Fault::Mismatch(Mismatch::Fields { lacks, strange }) => Self::Fields { lacks, strange },
            Fault::Mismatch(Mismatch::Value { key, value, allowed }) => Self::Value { key, value, allowed },
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Template => Fault::Template,
            Self::Constant { key } => Fault::Constant { key },
            Self::InARow { key, n } => Fault::InARow { key, n },
            Self::Gone => Fault::Mismatch(Mismatch::Gone),
            Self::ServiceCard => Fault::Mismatch(Mismatch::ServiceCard),
            Self::OneTime => Fault::Mismatch(Mismatch::OneTime),
            Self::Fields { lacks, strange } => Fault::Mismatch(Mismatch::Fields { lacks, strange }),
            Self::Value { key, value, allowed } => Fault::Mismatch(Mismatch::Value { key, value, allowed }),
        }
    }
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
        let Rejection { rule, wording, since, fault, errcode, errmsg, rid, passed, released } = rejection;
        Self {
            rule: rule.as_str().to_owned(),
            wording: wording.0,
            since_ms: since.timestamp_millis(),
            errcode: *errcode,
            fault: KeptFault::of(fault),
            errmsg: errmsg.as_ref().map(|text| text.chars().take(MAX_ERRMSG).collect()),
            rid: rid.clone(),
            passed: *passed,
            released: *released,
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Rejection>> {
    let kept: Vec<Kept> = serde_json::from_slice(bytes).ok()?;
    let rejection =
        |Kept { rule, wording, since_ms, errcode, fault, errmsg, rid, passed, released }: Kept| {
            let fault = fault.fault();
            let (rule, wording) = (RuleId::parse(&rule).ok()?, Wording(wording));
            let since = DateTime::from_timestamp_millis(since_ms)?;
            Some(Rejection { rule, wording, since, fault, errcode, errmsg, rid, passed, released })
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
            errcode: Some(40_037),
            errmsg: Some("invalid template_id".to_owned()),
            rid: Some("5f-1-2".to_owned()),
            passed: false,
            released: false,
        }
    }

    #[test]
    fn every_part_comes_back() {
        let key = || Some("thing1".to_owned());
        let rows = [Fault::InARow { key: key(), n: 5 }, Fault::InARow { key: None, n: 6 }];
        let constant = Fault::Constant { key: "thing1".to_owned() };
        let texts = || vec!["thing1".to_owned(), "客厅".to_owned()];
        let mismatches = [
            Mismatch::Gone,
            Mismatch::ServiceCard,
            Mismatch::OneTime,
            Mismatch::Fields { lacks: texts(), strange: Vec::new() },
            Mismatch::Value { key: "enum_string1".to_owned(), value: "厨房".to_owned(), allowed: texts() },
        ];
        let mismatches = mismatches.map(Fault::Mismatch);
        for fault in [Fault::Template, constant].into_iter().chain(rows).chain(mismatches) {
            for passed in [false, true] {
                for said in [Some("x".to_owned()), None] {
                    let rejection = Rejection {
                        passed,
                        released: !passed,
                        errcode: said.as_ref().map(|_| 40_037),
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
