//! Recipients: one person in one app, with what rules may choose and show.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::id::{FieldName, Ref, Tag, UnionId};
use super::zone::Zone;

/// Most tags of one recipient.
pub const MAX_TAGS: usize = 32;
/// Most fields of one recipient or appointment.
pub const MAX_FIELDS: usize = 32;
/// Most changes of a recipient's time zone that are remembered.
pub const MAX_MOVES: usize = 4;
/// How long a change of zone matters: a day that had begun by one of two clocks is over by both.
pub const MOVE_COUNTS: TimeDelta = TimeDelta::days(3);
/// Longest text of one field, in characters.
pub const MAX_FIELD_CHARS: usize = 256;

/// One person in one app.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    /// When the person was first heard of.
    pub created_at: DateTime<Utc>,
    /// What may change.
    pub profile: Profile,
    /// The last changes of his time zone, the oldest first; at most [`MAX_MOVES`].
    pub moves: Vec<Move>,
    /// Since when the platform does not take messages for this openid; until something new is heard of the person.
    pub bad_since: Option<DateTime<Utc>>,
}

/// A change of a recipient's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// What it was before.
    pub from: Option<Zone>,
    /// When it was changed.
    pub at: DateTime<Utc>,
}

impl Recipient {
    /// Somebody who was first heard of then, and of whom nothing else is known.
    #[must_use]
    pub fn new(created_at: DateTime<Utc>) -> Self {
        Self { created_at, profile: Profile::default(), moves: Vec::new(), bad_since: None }
    }

    /// By whose clock the due times of a civil day are his, in a rule of the recipients' own time; `default` where
    /// he has no zone.
    ///
    /// A change of zone counts from the next civil day: the first that had begun by neither clock. So each civil
    /// time is his once, whichever way he moves.
    #[must_use]
    pub fn zone_on(&self, day: NaiveDate, default: Zone) -> Zone {
        let mut last_day = NaiveDate::MIN;
        let to = self.moves.iter().skip(1).map(|next| next.from).chain([self.profile.time_zone]);
        for (Move { from, at }, to) in self.moves.iter().zip(to) {
            let from = from.unwrap_or(default);
            let days = [from, to.unwrap_or(default)].map(|zone| at.with_timezone(&zone.tz()).date_naive());
            last_day = days.into_iter().fold(last_day, NaiveDate::max);
            if day <= last_day {
                return from;
            }
        }
        self.profile.time_zone.unwrap_or(default)
    }

    /// Sets the time zone, at `now`.
    pub fn set_zone(&mut self, zone: Option<Zone>, now: DateTime<Utc>) {
        let from = self.profile.time_zone;
        if zone == from {
            return;
        }
        self.profile.time_zone = zone;
        self.moves.retain(|earlier| earlier.at > now - MOVE_COUNTS);
        self.moves.push(Move { from, at: now });
        let too_many = self.moves.len().saturating_sub(MAX_MOVES);
        self.moves.drain(..too_many);
    }
}

/// What a backend may set of a recipient; `PUT` replaces it whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The person over all apps of the account.
    pub unionid: Option<UnionId>,
    /// The operator's own number.
    pub reference: Option<Ref>,
    /// Labels that rules select by; at most [`MAX_TAGS`].
    pub tags: BTreeSet<Tag>,
    /// Values that rules select by and show; at most [`MAX_FIELDS`].
    pub fields: Fields,
    /// The person's own time zone.
    pub time_zone: Option<Zone>,
    /// Gets nothing while set.
    pub muted: bool,
}

/// Named values of a recipient or an appointment.
pub type Fields = BTreeMap<FieldName, FieldValue>;

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// Text of at most [`MAX_FIELD_CHARS`] characters.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Any other finite number.
    Real(f64),
    /// Yes or no.
    Bool(bool),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).expect("a zone")
    }

    /// Who had this zone first, and others since then.
    fn mover(first: Option<&str>, moves: &[(&str, Option<&str>)]) -> Recipient {
        let instant = |text: &str| text.parse().expect("an instant");
        let mut recipient = Recipient::new(instant("2026-01-01T00:00:00Z"));
        recipient.profile.time_zone = first.map(zone);
        for (at, to) in moves {
            recipient.set_zone(to.map(zone), instant(at));
        }
        recipient
    }

    /// What is told, who, and from which day on which zone counts.
    type Case<'a> = (&'a str, Recipient, &'a [(u32, &'a str)]);

    #[test]
    fn a_change_of_zone_counts_from_the_next_civil_day() {
        let (tokyo, berlin, honolulu) = (Some("Asia/Tokyo"), Some("Europe/Berlin"), Some("Pacific/Honolulu"));
        // Beijing is the default. Changes, and from which day on which zone counts.
        let table: Vec<Case<'_>> = vec![
            ("never", mover(tokyo, &[]), &[(1, "Asia/Tokyo")]),
            (
                "from no zone",
                mover(None, &[("2026-03-10T04:00:00Z", berlin)]),
                &[(1, "Asia/Shanghai"), (11, "Europe/Berlin")],
            ),
            (
                "it is the 11th in Beijing already",
                mover(None, &[("2026-03-10T18:00:00Z", berlin)]),
                &[(1, "Asia/Shanghai"), (12, "Europe/Berlin")],
            ),
            (
                "it is the 11th where he goes",
                mover(honolulu, &[("2026-03-10T18:00:00Z", tokyo)]),
                &[(1, "Pacific/Honolulu"), (12, "Asia/Tokyo")],
            ),
            (
                "there and back within a day",
                mover(tokyo, &[("2026-03-10T03:00:00Z", honolulu), ("2026-03-10T04:00:00Z", tokyo)]),
                &[(1, "Asia/Tokyo")],
            ),
            (
                "on, day by day",
                mover(tokyo, &[("2026-03-10T03:00:00Z", berlin), ("2026-03-11T03:00:00Z", honolulu)]),
                &[(1, "Asia/Tokyo"), (11, "Europe/Berlin"), (12, "Pacific/Honolulu")],
            ),
        ];
        for (what, recipient, expected) in table {
            for day in 1..20 {
                let counts = expected.iter().rev().find(|(from, _)| *from <= day).expect("from the first");
                let day = NaiveDate::from_ymd_opt(2026, 3, day).expect("a day");
                assert_eq!(recipient.zone_on(day, Zone::SHANGHAI).name(), counts.1, "{what}, {day}");
            }
        }
    }

    #[test]
    fn only_the_last_changes_are_remembered() {
        let names = ["Asia/Tokyo", "Europe/Berlin"];
        let at = |n: usize| format!("2026-03-10T{n:02}:00:00Z");
        let times: Vec<String> = (0..9).map(at).collect();
        let moves: Vec<(&str, Option<&str>)> =
            times.iter().enumerate().map(|(n, at)| (at.as_str(), Some(names[n % 2]))).collect();
        let mut recipient = mover(None, &moves);
        assert_eq!(recipient.moves.len(), MAX_MOVES);
        recipient.set_zone(None, "2026-03-20T00:00:00Z".parse().expect("an instant"));
        assert_eq!(recipient.moves.len(), 1, "older ones are over");
    }
}
