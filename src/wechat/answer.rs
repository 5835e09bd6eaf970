//! Reads the platform's answers: leniently in form, strictly in what counts as one.
//!
//! Numbers may come as text, text as numbers, and fields may be missing or of another type; none of
//! that makes an answer unreadable. What makes it one is a JSON object. Texts for people are cleaned
//! here: nothing that names a person or opens a door gets past.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::http::Body;

/// The longest text of the platform's that is kept, in characters.
const MAX_TEXT: usize = 256;

/// The shortest text that is taken out of another; shorter ones would eat the words around them.
const MIN_HIDDEN: usize = 4;

/// Parses a body into `T`; `None` unless it is a JSON object.
///
/// Text that is no UTF-8 is repaired, because only `errmsg` can hold such and no decision needs it.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a Body, repaired: &'a mut String) -> Option<T> {
    let bytes = body.0.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body.0);
    match str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).ok(),
        Err(_not_utf8) => {
            *repaired = String::from_utf8_lossy(bytes).into_owned();
            serde_json::from_str(repaired).ok()
        }
    }
}

/// A value of any type, of which only numbers and text matter.
#[derive(Default)]
pub(super) enum Loose {
    /// A whole number.
    Number(i128),
    /// Text.
    Text(String),
    /// Anything else, or nothing.
    #[default]
    Other,
}

impl Loose {
    /// The whole number it is or spells.
    pub(super) fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        match self {
            Self::Number(number) => T::try_from(*number).ok(),
            Self::Text(text) => text.trim().parse::<i128>().ok().and_then(|number| T::try_from(number).ok()),
            Self::Other => None,
        }
    }

    /// The text it is, to look at.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other => None,
        }
    }

    /// The text it is.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Loose, E> {
        Ok(Loose::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Loose, E> {
        Ok(Loose::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Loose, E> {
        // `43101.0` is a code; beyond 2^53 a float has lost digits and names nothing.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() < EXACT {
            // Whole and small: its text without the fraction is the number.
            return Ok(format!("{number:.0}").parse().map_or(Loose::Other, Loose::Number));
        }
        Ok(Loose::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Loose, E> {
        Ok(Loose::Text(text))
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

/// The platform's text, fit for logs and pages, and the number of its request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What it said, without the rid.
    pub(super) errmsg: Option<String>,
    /// The number support asks for: three groups of eight hex digits.
    pub(super) rid: Option<String>,
}

/// Cleans `errmsg`: takes out what is in `hidden`, control characters, and the rid into a field of its own.
pub(super) fn said<'a>(errmsg: Loose, hidden: impl IntoIterator<Item = &'a str>) -> Said {
    let Some(text) = errmsg.text() else { return Said::default() };
    // Current texts end in ` rid: …`.
    let (text, rid) = match text.rsplit_once("rid:") {
        Some((before, after)) if is_rid(after.trim()) => (before, Some(after.trim().to_owned())),
        Some(_) | None => (text.as_str(), None),
    };
    let text = clean(text, hidden);
    Said { errmsg: (!text.is_empty()).then_some(text), rid }
}

/// `text` without what is in `hidden` and without control characters, cut to a length for one line.
pub(super) fn clean<'a>(text: &str, hidden: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for hide in hidden {
        if hide.len() >= MIN_HIDDEN {
            text = text.replace(hide, "…");
        }
    }
    let kept: String = text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
    kept.trim().to_owned()
}

fn is_rid(text: &str) -> bool {
    text.len() == 26
        && text.split('-').count() == 3
        && text.split('-').all(|group| group.len() == 8 && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_whatever_holds_them() {
        let table: [(&str, Option<i64>); 14] = [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("43101", Some(43101)),
            ("\"43101\"", Some(43101)),
            ("\" -1 \"", Some(-1)),
            ("43101.0", Some(43101)),
            ("0.5", None),
            ("1e300", None),
            ("\"\"", None),
            ("\"ok\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
            ("{\"errcode\":1}", None),
        ];
        for (json, number) in table {
            let loose: Loose = serde_json::from_str(json).unwrap();
            assert_eq!(loose.integer::<i64>(), number, "{json}");
        }
        let beyond: Loose = serde_json::from_str("18446744073709551615").unwrap();
        assert_eq!(beyond.integer::<u64>(), Some(u64::MAX));
        assert_eq!(beyond.integer::<i64>(), None);
    }

    #[test]
    fn texts_lose_what_must_not_be_seen() {
        let text = |text: &str| Loose::Text(text.to_owned());
        let table = [
            ("ok", Some("ok"), None),
            ("", None, None),
            ("invalid rid: 64e5a1b2-0badcafe-0123abcd", Some("invalid"), Some("64e5a1b2-0badcafe-0123abcd")),
            ("invalid rid: nothing", Some("invalid rid: nothing"), None),
            ("token SECRET1 of\nSECRET2", Some("token … of…"), None),
        ];
        for (errmsg, kept, rid) in table {
            let said = said(text(errmsg), ["SECRET1", "SECRET2", "ok", ""]);
            assert_eq!((said.errmsg.as_deref(), said.rid.as_deref()), (kept, rid), "{errmsg}");
        }
        assert_eq!(clean(&"长".repeat(1000), []).chars().count(), MAX_TEXT);
    }
}
