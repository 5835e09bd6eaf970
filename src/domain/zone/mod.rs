//! Time zones by their IANA name, and what their clocks show.
//!
//! Abbreviations and fixed offsets are refused: they do not say when clocks change. Nothing here reads a
//! file: the edge reads the system's zone data and puts it in force, and a zone that was named since then
//! carries it along; one that was named before keeps what it had until it is [`Zone::renewed`], so that
//! every computation rests on one release from its beginning to its end.

mod bundled;
mod civil;
mod footer;
mod release;
mod table;
mod tzif;

use std::fmt;
use std::hash::{Hash, Hasher};

pub use self::civil::{Clocks, Reading};
pub use self::release::Release;
pub use self::table::{Kind, Stretch, Table};
pub use self::tzif::{Broken, MAX_BYTES};

/// An IANA time zone. Equal to another of its name, whatever data they carry: data come and go, and who
/// reminds whom stays.
#[derive(Clone, Copy)]
pub struct Zone {
    name: &'static str,
    /// `None`: the program's own.
    data: Option<&'static Table>,
}

/// Why a text names no zone, with what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone{}", hint.map(|h| format!(", use {h}")).unwrap_or_default())]
pub struct UnknownZone {
    /// A zone that was probably meant.
    pub hint: Option<&'static str>,
}

impl Zone {
    /// The zone of mainland China, the default everywhere, by the program's own data.
    pub const SHANGHAI: Self = Self { name: "Asia/Shanghai", data: None };
    /// UTC.
    pub const UTC: Self = Self { name: "UTC", data: None };

    /// Parses an IANA name such as `Asia/Shanghai`; the zone carries the data in force.
    ///
    /// # Errors
    /// [`UnknownZone`], with a hint for what Chinese admins often write.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        Ok(Self::named(name)?.renewed())
    }

    /// The zone of a name, without data.
    fn named(name: &str) -> Result<Self, UnknownZone> {
        // Zones of the old list that look like abbreviations (`EST`, `GMT+8`…) mislead: `Etc/GMT+8` is west of Greenwich.
        let refused =
            name.len() <= 3 && !matches!(name, "UTC" | "PRC" | "ROK" | "ROC") || name.starts_with("GMT");
        match bundled::name(name) {
            // The place of a machine that nobody has set up.
            Some(name) if !refused && name != "Factory" => Ok(Self { name, data: None }),
            Some(_) | None => Err(UnknownZone { hint: hint(name) }),
        }
    }

    /// All names that are taken, in no order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        bundled::names().filter(|name| Self::named(name).is_ok())
    }

    /// The IANA name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The same zone with the data in force now.
    #[must_use]
    pub fn renewed(self) -> Self {
        release::renewed(self)
    }

    /// Whether both read their clocks by the same data.
    #[must_use]
    pub fn reads_as(self, other: Self) -> bool {
        self.name == other.name && self.table() == other.table()
    }

    /// The stretch of constant offset that `instant` (seconds since 1970) is in.
    #[must_use]
    pub fn stretch(self, instant: i64) -> Stretch<'static> {
        self.table().at(instant)
    }

    /// The zone as chrono reads it.
    #[must_use]
    pub fn tz(self) -> Clocks {
        Clocks(self)
    }

    fn table(self) -> &'static Table {
        self.data.unwrap_or_else(|| bundled::table(self.name))
    }
}

fn hint(name: &str) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase();
    let chinese = ["beijing", "cst", "gmt+8", "utc+8", "+08:00", "+8", "china", "shanghai", "hangzhou"];
    chinese.iter().any(|c| plain.contains(c)).then_some("Asia/Shanghai")
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
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
mod tests;
