//! Identifiers, parsed once at the door and carried as types from then on.
//!
//! A checked `String` forgets that it was checked; these do not. What may identify a person
//! ([`OpenId`]) has no `Display`, and its `Debug` shows nothing of it.

use std::fmt;

use super::language::Phrase;

/// Why a text is not an identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: allowed are {allowed}")]
pub struct BadId {
    /// What was expected, with its article: `an openid`.
    pub what: Phrase,
    /// The form that is allowed.
    pub allowed: Phrase,
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

/// [`is_name`] in words.
const NAME: Phrase = Phrase::new(
    "1–64 of a–z 0–9 _ -, beginning with a letter or digit",
    "1–64 个字符：a–z、0–9、_、-，以字母或数字开头",
);
/// [`is_word`] in words.
const WORD: Phrase =
    Phrase::new("1–32 of a–z 0–9 _, beginning with a letter", "1–32 个字符：a–z、0–9、_，以字母开头");
/// 64 of [`is_url_safe`] in words.
const URL_SAFE: Phrase = Phrase::new("1–64 of A–Z a–z 0–9 _ -", "1–64 个字符：A–Z、a–z、0–9、_、-");
/// Visible characters in words.
const PLAIN: Phrase = Phrase::new("1–64 characters without control characters", "1–64 个字符，不含控制字符");

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:expr, $allowed:expr, $check:expr;)*) => {$(
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
    AppName, Phrase::new("an app name", "应用的名称"), NAME, is_name;
    /// Id of a rule, unique over all schedule files.
    RuleId, Phrase::new("a rule id", "规则的 id"), NAME, is_name;
    /// Name of a template in `tixing.yaml`.
    TemplateName, Phrase::new("a template name", "模板的名称"), NAME, is_name;
    /// Name of a calendar: its file under `schedules/calendars`, without `.yaml`.
    CalendarName, Phrase::new("a calendar name", "日历的名称"), NAME, is_name;
    /// Name of a hook key in `tixing.yaml`.
    KeyName, Phrase::new("a key name", "密钥的名称"), NAME, is_name;
    /// The platform's id of a mini program (`wx…`).
    AppId, Phrase::new("an appid", "AppID"),
    Phrase::new("`wx` and 1–62 of A–Z a–z 0–9", "`wx` 开头，后接 1–62 个 A–Z、a–z、0–9"), |t| {
        t.starts_with("wx") && all_of(t, 3..=64, |b| b.is_ascii_alphanumeric())
    };
    /// The platform's id of a private template (`priTmplId`).
    TemplateId, Phrase::new("a template id", "模板 ID"),
    Phrase::new("1–128 of A–Z a–z 0–9 _ -", "1–128 个字符：A–Z、a–z、0–9、_、-"), |t| all_of(t, 1..=128, is_url_safe);
    /// The platform's id of one person in one app. Never printed in clear.
    OpenId, Phrase::new("an openid", "openid"),
    Phrase::new("10–64 of A–Z a–z 0–9 _ -", "10–64 个字符：A–Z、a–z、0–9、_、-"), |t| all_of(t, 10..=64, is_url_safe);
    /// The platform's id of one person over all apps of an account. Never printed in clear.
    UnionId, Phrase::new("a unionid", "unionid"), URL_SAFE, |t| all_of(t, 1..=64, is_url_safe);
    /// The operator's own number for a recipient.
    Ref, Phrase::new("a ref", "ref"), PLAIN, |t| {
        (1..=64).contains(&t.chars().count()) && t.len() <= 256 && !t.chars().any(char::is_control)
    };
    /// Client-made id of a report; with app and openid it makes a report count once.
    ReportId, Phrase::new("a report id", "上报的 id"), URL_SAFE, |t| all_of(t, 1..=64, is_url_safe);
    /// Kind of an appointment.
    Kind, Phrase::new("a kind", "预约类型"), WORD, is_word;
    /// Name of a field of a recipient or an appointment.
    FieldName, Phrase::new("a field name", "字段名"), WORD, is_word;
    /// Id of an appointment within its kind.
    AppointmentId, Phrase::new("an appointment id", "预约的 id"),
    Phrase::new("1–64 of A–Z a–z 0–9 _ . -", "1–64 个字符：A–Z、a–z、0–9、_、.、-"), |t| {
        all_of(t, 1..=64, |b| is_url_safe(b) || b == b'.')
    };
    /// A tag of a recipient.
    Tag, Phrase::new("a tag", "标签"), PLAIN, |t| {
        (1..=64).contains(&t.chars().count()) && !t.chars().any(char::is_control)
    };
}

shown!(
    AppName,
    RuleId,
    TemplateName,
    CalendarName,
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

impl OpenId {
    /// What stands in the books for everybody who was erased: nobody's openid, and no door takes it for one.
    ///
    /// It sorts after all that can be parsed.
    #[must_use]
    pub fn erased() -> Self {
        Self(ERASED.into())
    }

    /// Whether it stands for the erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        &*self.0 == ERASED
    }
}

/// See [`OpenId::erased`].
const ERASED: &str = "~";

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
        let bad = BadId {
            what: Phrase::new("a delivery id", "投递的 id"),
            allowed: Phrase::new("ids as `deliveries list` prints them", "`deliveries list` 列出的 id"),
        };
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
    fn the_erased_are_nobody() {
        assert!(OpenId::erased().is_erased() && OpenId::parse(OpenId::erased().as_str()).is_err());
        assert!(OpenId::erased() > OpenId::parse(&"z".repeat(64)).expect("an openid"));
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
