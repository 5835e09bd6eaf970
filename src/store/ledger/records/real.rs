//! A number with a fraction in a record: as it is where it is stored, in digits that name it exactly where people may
//! read it. A JSON number would come back as a neighbour of it.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() { to.serialize_str(&format!("{number:?}")) } else { number.serialize(to) }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    if !from.is_human_readable() {
        return f64::deserialize(from);
    }
    String::deserialize(from)?.parse().map_err(|_bad| D::Error::custom("not a number"))
}
