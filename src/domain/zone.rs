//! Time zones by their IANA name.
//!
//! Abbreviations and fixed offsets are refused: they do not say when clocks change.

use std::fmt;

use chrono_tz::Tz;

/// An IANA time zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone(Tz);

/// Why a text names no zone, with what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone{}", hint.map(|h| format!(", use {h}")).unwrap_or_default())]
pub struct UnknownZone {
    /// A zone that was probably meant.
    pub hint: Option<&'static str>,
}

impl Zone {
    /// The zone of mainland China, the default everywhere.
    pub const SHANGHAI: Self = Self(Tz::Asia__Shanghai);
    /// UTC.
    pub const UTC: Self = Self(Tz::UTC);

    /// Parses an IANA name such as `Asia/Shanghai`.
    ///
    /// # Errors
    /// [`UnknownZone`], with a hint for what Chinese admins often write.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        // Zones of the old list that look like abbreviations (`EST`, `GMT+8`…) mislead: `Etc/GMT+8` is west of Greenwich.
        let refused =
            name.len() <= 3 && !matches!(name, "UTC" | "PRC" | "ROK" | "ROC") || name.starts_with("GMT");
        match name.parse::<Tz>() {
            Ok(zone) if !refused => Ok(Self(zone)),
            Ok(_) | Err(_) => Err(UnknownZone { hint: hint(name) }),
        }
    }

    /// The IANA name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The zone as chrono reads it.
    #[must_use]
    pub fn tz(self) -> Tz {
        self.0
    }
}

fn hint(name: &str) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase();
    let chinese = ["beijing", "cst", "gmt+8", "utc+8", "+08:00", "+8", "china", "shanghai", "hangzhou"];
    chinese.iter().any(|c| plain.contains(c)).then_some("Asia/Shanghai")
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Zone;

    #[test]
    fn names_are_taken_and_abbreviations_refused() {
        for good in ["Asia/Shanghai", "PRC", "Asia/Chongqing", "UTC", "America/New_York"] {
            assert!(Zone::parse(good).is_ok(), "{good}");
        }
        for bad in ["CST", "GMT+8", "UTC+8", "Asia/Beijing", "EST", "", "asia/shanghai"] {
            let error = Zone::parse(bad).expect_err(bad);
            assert_eq!(error.hint.is_some(), !matches!(bad, "EST" | ""), "{bad}");
        }
    }
}
