//! Bytes in a record: as they are where it is stored, in hexadecimal digits where people may read it.

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

/// The digits of bytes.
pub(in crate::store::ledger) fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ok = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of digits.
pub(in crate::store::ledger) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let pairs = digits.chunks_exact(2);
    Some(pairs.filter_map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect())
}

pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() { to.serialize_str(&text(bytes)) } else { bytes.serialize(to) }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    if !from.is_human_readable() {
        return <[u8; 32]>::deserialize(from);
    }
    let digits = String::deserialize(from)?;
    let array = bytes(&digits).and_then(|bytes| bytes.try_into().ok());
    array.ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
}
