//! Identifiers, parsed once at the door and carried as types from then on.
//!
//! A checked `String` forgets that it was checked; these do not. What may identify a person
//! ([`OpenId`]) has no `Display`, and its `Debug` shows nothing of it.

use std::fmt;

/// Why a text is not an identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: allowed are {allowed}")]
pub struct BadId {
    /// What was expected, with its article: `an openid`.
    pub what: &'static str,
    /// The form that is allowed, for people.
    pub allowed: &'static str,
}

fn all_of(text: &str, range: std::ops::RangeInclusive<usize>, allowed: fn(u8) -> bool) -> bool {
    range.contains(&text.len()) && text.bytes().all(allowed)
}

fn is_name(text: &str) -> bool {
    all_of(text, 1..=64, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && !text.starts_with(['_', '-'])
}

fn is_word(text: &str) -> bool {
    all_of(text, 1..=32, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_url_safe(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses `text`.
            ///
            /// # Errors
            /// [`BadId`] with the allowed form.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(BadId { what: $what, allowed: $allowed })
                }
            }

            /// The text as it was parsed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}

macro_rules! shown {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

ids! {
    /// Name of an app in `tixing.yaml`.
    AppName, "an app name", "1–64 of a–z 0–9 _ -, beginning with a letter or digit", is_name;
    /// Id of a rule, unique over all schedule files.
    RuleId, "a rule id", "1–64 of a–z 0–9 _ -, beginning with a letter or digit", is_name;
    /// Name of a template in `tixing.yaml`.
    TemplateName, "a template name", "1–64 of a–z 0–9 _ -, beginning with a letter or digit", is_name;
    /// Name of a hook key in `tixing.yaml`.
    KeyName, "a key name", "1–64 of a–z 0–9 _ -, beginning with a letter or digit", is_name;
    /// The platform's id of a mini program (`wx…`).
    AppId, "an appid", "`wx` and 1–62 of A–Z a–z 0–9", |t| {
        t.starts_with("wx") && all_of(t, 3..=64, |b| b.is_ascii_alphanumeric())
    };
    /// The platform's id of a private template (`priTmplId`).
    TemplateId, "a template id", "1–128 of A–Z a–z 0–9 _ -", |t| all_of(t, 1..=128, is_url_safe);
    /// The platform's id of one person in one app. Never printed in clear.
    OpenId, "an openid", "10–64 of A–Z a–z 0–9 _ -", |t| all_of(t, 10..=64, is_url_safe);
    /// The platform's id of one person over all apps of an account. Never printed in clear.
    UnionId, "a unionid", "1–64 of A–Z a–z 0–9 _ -", |t| all_of(t, 1..=64, is_url_safe);
    /// The operator's own number for a recipient.
    Ref, "a ref", "1–64 characters without control characters", |t| {
        (1..=64).contains(&t.chars().count()) && t.len() <= 256 && !t.chars().any(char::is_control)
    };
    /// Client-made id of a report; with app and openid it makes a report count once.
    ReportId, "a report id", "1–64 of A–Z a–z 0–9 _ -", |t| all_of(t, 1..=64, is_url_safe);
    /// Kind of an appointment.
    Kind, "a kind", "1–32 of a–z 0–9 _, beginning with a letter", is_word;
    /// Name of a field of a recipient or an appointment.
    FieldName, "a field name", "1–32 of a–z 0–9 _, beginning with a letter", is_word;
    /// Id of an appointment within its kind.
    AppointmentId, "an appointment id", "1–64 of A–Z a–z 0–9 _ . -", |t| {
        all_of(t, 1..=64, |b| is_url_safe(b) || b == b'.')
    };
    /// A tag of a recipient.
    Tag, "a tag", "1–64 characters without control characters", |t| {
        (1..=64).contains(&t.chars().count()) && !t.chars().any(char::is_control)
    };
}

shown!(
    AppName,
    RuleId,
    TemplateName,
    KeyName,
    AppId,
    TemplateId,
    ReportId,
    Kind,
    FieldName,
    AppointmentId,
    Tag,
    Ref
);

macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

hidden!(OpenId, UnionId);

/// Name of one delivery: its occurrence, the chunk record it lives in, and its place there.
///
/// Lasting: a delivery stays in its chunk from first to last. Its text form is opaque to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// Number of the occurrence in the store.
    pub occurrence: u64,
    /// Number of the chunk within the occurrence.
    pub chunk: u32,
    /// Place within the chunk, from 0.
    pub slot: u8,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{:x}-{:x}-{:x}", self.occurrence, self.chunk, self.slot)
    }
}

impl DeliveryId {
    /// Parses what `Display` printed.
    ///
    /// # Errors
    /// [`BadId`] for anything else.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let bad = BadId { what: "a delivery id", allowed: "ids as `deliveries list` prints them" };
        let mut parts = text.strip_prefix('d').ok_or_else(|| bad.clone())?.split('-');
        let mut part = || parts.next().ok_or_else(|| bad.clone());
        let (occurrence, chunk, slot) = (part()?, part()?, part()?);
        let id = Self {
            occurrence: u64::from_str_radix(occurrence, 16).map_err(|_not_hex| bad.clone())?,
            chunk: u32::from_str_radix(chunk, 16).map_err(|_not_hex| bad.clone())?,
            slot: u8::from_str_radix(slot, 16).map_err(|_not_hex| bad.clone())?,
        };
        if parts.next().is_none() && id.to_string() == text { Ok(id) } else { Err(bad) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_take_their_form_and_nothing_else() {
        let table: [(&str, bool, bool); 12] = [
            ("openid", OpenId::parse("o123456789").is_ok(), true),
            ("openid of 9", OpenId::parse("o12345678").is_ok(), false),
            ("openid with a slash", OpenId::parse("o123456/89").is_ok(), false),
            ("name", RuleId::parse("drink-water_2").is_ok(), true),
            ("name in capitals", RuleId::parse("Drink").is_ok(), false),
            ("name beginning with -", RuleId::parse("-drink").is_ok(), false),
            ("appid", AppId::parse("wx0123456789abcdef").is_ok(), true),
            ("appid without wx", AppId::parse("0123456789abcdef").is_ok(), false),
            ("kind", Kind::parse("visit_2").is_ok(), true),
            ("kind with -", Kind::parse("visit-2").is_ok(), false),
            ("report of 65", ReportId::parse(&"a".repeat(65)).is_ok(), false),
            ("appointment id", AppointmentId::parse("A.17-b").is_ok(), true),
        ];
        for (what, is, should) in table {
            assert_eq!(is, should, "{what}");
        }
    }

    #[test]
    fn an_openid_does_not_print() {
        let openid = OpenId::parse("oSECRETSECRET").expect("a good openid");
        assert!(!format!("{openid:?}").contains("SECRET"));
    }

    #[test]
    fn a_delivery_id_reads_back() {
        let id = DeliveryId { occurrence: 700, chunk: 17, slot: 63 };
        assert_eq!(DeliveryId::parse(&id.to_string()), Ok(id));
        for bad in ["", "d1-2", "d1-2-3-4", "d1-2-fff", "x1-2-3", "d01-2-3"] {
            assert!(DeliveryId::parse(bad).is_err(), "{bad}");
        }
    }
}
