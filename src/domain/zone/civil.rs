//! A zone's clocks as chrono reads them: instants to civil times, and back.

use std::fmt;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};

use super::Zone;

/// How far a civil time and its instant may be apart, in seconds: no offset is a day or more.
const REACH: i64 = 86_400;

/// The clocks of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks(pub(super) Zone);

/// What they show at some moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    zone: Zone,
    ahead: FixedOffset,
    name: &'static str,
}

impl Clocks {
    fn reading(self, instant: i64) -> Reading {
        let kind = self.0.stretch(instant).kind;
        let ahead = FixedOffset::east_opt(kind.offset).expect("an offset is less than a day by Table");
        Reading { zone: self.0, ahead, name: &kind.name }
    }
}

impl TimeZone for Clocks {
    type Offset = Reading;

    fn from_offset(offset: &Reading) -> Self {
        Self(offset.zone)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<Reading> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<Reading> {
        let civil = local.and_utc().timestamp();
        let mut at = civil - REACH;
        let mut found = MappedLocalTime::None;
        while at <= civil + REACH {
            let stretch = self.0.stretch(at);
            let instant = civil - i64::from(stretch.kind.offset);
            if stretch.start <= instant && instant < stretch.end {
                let reading = self.reading(instant);
                found = match found {
                    MappedLocalTime::None => MappedLocalTime::Single(reading),
                    MappedLocalTime::Single(first) | MappedLocalTime::Ambiguous(first, _) => {
                        MappedLocalTime::Ambiguous(first, reading)
                    }
                };
            }
            at = stretch.end;
        }
        found
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> Reading {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> Reading {
        self.reading(utc.and_utc().timestamp())
    }
}

impl Offset for Reading {
    fn fix(&self) -> FixedOffset {
        self.ahead
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.ahead)
    }
}
