//! What mini programs report that grants nothing: templates that are banned or filtered, statuses that nobody knows, and calls
//! that failed as a whole.
//!
//! It only counts, since the start. Who reports is a stranger with a phone: nothing is decided by it, and no word of his is
//! kept. That a template is banned is told only when several people said so; they are known by a hash with a key of this run
//! alone, for a day, and an erasure takes it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::consent::Status;
use crate::domain::id::{AppId, OpenId, TemplateId};

/// How long a `ban` asks for a person.
const BAN_LASTS: TimeDelta = TimeDelta::days(1);
/// How many people have to report one: a single one could have made it up.
const MIN_PEOPLE: usize = 3;
/// Most rows: templates that were configured since the start, by what was said of them. What comes beyond is not counted.
const MAX_ROWS: usize = 4096;
/// What a template's status says that nobody can accept it any more.
const BAN: &str = "ban";
/// What does not have a row of its own.
const OTHER: &str = "other";
/// The client's codes (wx.requestSubscribeMessage, 错误码, read 2026-11-22).
const CODES: [(i64, &str); 11] = [
    (10001, "10001"),
    (10002, "10002"),
    (10003, "10003"),
    (10004, "10004"),
    (10005, "10005"),
    (20001, "20001"),
    (20002, "20002"),
    (20003, "20003"),
    (20004, "20004"),
    (20005, "20005"),
    (20013, "20013"),
];

/// What one row counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A template's status: `ban`, `filter` or `other`.
    Status(TemplateId, &'static str),
    /// A call that failed with this code, or with an `other`.
    Failed(&'static str),
}

/// How often, and when the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How often since the start.
    pub n: u64,
    /// When it was reported last.
    pub last_at: DateTime<Utc>,
}

/// What was counted. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Ungranted(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    hasher: RandomState,
    rows: Mutex<Rows>,
}

/// Who, by a hash, and when he did last.
type Reported = (u64, DateTime<Utc>);

#[derive(Debug, Default)]
struct Rows {
    counted: BTreeMap<(AppId, What), Counted>,
    /// The last [`MIN_PEOPLE`] who reported a `ban` of a template.
    banned: BTreeMap<(AppId, TemplateId), Vec<Reported>>,
}

impl What {
    /// What a status says of a template, where it is one that grants nothing and decides nothing.
    pub(super) fn of_status(template: &TemplateId, status: &str) -> Option<Self> {
        let named = match Status::parse(status) {
            Some(Status::Accept(_) | Status::Reject) => return None,
            Some(Status::Ban) => BAN,
            Some(Status::Filter) => "filter",
            None => OTHER,
        };
        Some(Self::Status(template.clone(), named))
    }

    /// A call that failed as a whole.
    pub(super) fn of_code(code: i64) -> Self {
        Self::Failed(CODES.iter().find(|(known, _)| *known == code).map_or(OTHER, |(_, text)| text))
    }
}

impl Ungranted {
    /// Counts what somebody reported.
    pub(super) fn count(&self, of: &(AppId, OpenId), what: What, now: DateTime<Utc>) {
        let mut rows = self.rows();
        let is_full = rows.counted.len() >= MAX_ROWS;
        let key = (of.0.clone(), what);
        match rows.counted.get_mut(&key) {
            Some(row) => *row = Counted { n: row.n + 1, last_at: now },
            None if is_full => return,
            None => drop(rows.counted.insert(key.clone(), Counted { n: 1, last_at: now })),
        }
        if let (app, What::Status(template, BAN)) = key {
            let (who, people) = (self.who(of), rows.banned.entry((app, template)).or_default());
            people.retain(|(other, at)| *other != who && now - *at < BAN_LASTS);
            if people.len() >= MIN_PEOPLE {
                people.remove(0);
            }
            people.push((who, now));
        }
    }

    /// Forgets who somebody was; what he reported stays counted.
    pub(super) fn forget(&self, of: &(AppId, OpenId)) {
        let who = self.who(of);
        self.rows().banned.retain(|_, people| {
            people.retain(|(other, _)| *other != who);
            !people.is_empty()
        });
    }

    /// Forgets who anybody was.
    pub(super) fn forget_all(&self) {
        self.rows().banned.clear();
    }

    fn who(&self, of: &(AppId, OpenId)) -> u64 {
        self.0.hasher.hash_one((of.0.as_str(), of.1.as_str()))
    }

    /// All of it, by app.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(AppId, What), Counted> {
        self.rows().counted.clone()
    }

    /// The reports that say `ban` of a template, where at least three people said so in the last day.
    #[must_use]
    pub fn ban(&self, app: &AppId, template: &TemplateId, now: DateTime<Utc>) -> Option<Counted> {
        let mut rows = self.rows();
        let people = rows.banned.get_mut(&(app.clone(), template.clone()))?;
        people.retain(|(_, at)| now - *at < BAN_LASTS);
        let enough = people.len() >= MIN_PEOPLE;
        let key = (app.clone(), What::Status(template.clone(), BAN));
        rows.counted.get(&key).filter(|_| enough).copied()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // A poisoned lock holds whole maps: each change is one call.
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: usize) -> (AppId, OpenId) {
        let openid = OpenId::parse(&format!("oPerson-{n:010}")).unwrap();
        (AppId::parse("wx0123456789abcdef").unwrap(), openid)
    }

    #[test]
    fn what_strangers_say_makes_no_row_of_its_own() {
        let (counted, app) = (Ungranted::default(), person(0));
        let template = TemplateId::parse("T").unwrap();
        let now = DateTime::UNIX_EPOCH;
        for status in ["ban", "filter", "made up", "BAN", "accept", "acceptWithAudio", "reject"] {
            if let Some(what) = What::of_status(&template, status) {
                counted.count(&app, what, now);
            }
        }
        for code in [20004, 20004, -1, 7, i64::MAX] {
            counted.count(&app, What::of_code(code), now);
        }
        let status = |status| What::Status(template.clone(), status);
        let expected = [
            (status("ban"), 1),
            (status("filter"), 1),
            (status("other"), 2),
            (What::Failed("20004"), 2),
            (What::Failed("other"), 3),
        ];
        let counts: Vec<(What, u64)> =
            counted.counts().into_iter().map(|((_, what), row)| (what, row.n)).collect();
        assert_eq!(counts, expected);
        for n in 0..2 * MAX_ROWS {
            let template = TemplateId::parse(&format!("T{n}")).unwrap();
            counted.count(&app, What::of_status(&template, "ban").unwrap(), now);
        }
        assert_eq!(counted.counts().len(), MAX_ROWS);
        assert!(CODES.iter().all(|(code, text)| code.to_string() == *text));
    }

    #[test]
    fn a_ban_that_three_people_report_asks_for_a_person_for_a_day() {
        let counted = Ungranted::default();
        let (app, template) = (person(0).0, TemplateId::parse("T").unwrap());
        let at = |hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours);
        let says = |who, status: &str, hours| {
            counted.count(&person(who), What::of_status(&template, status).unwrap(), at(hours));
        };
        let told = |hours| counted.ban(&app, &template, at(hours)).map(|ban| (ban.n, ban.last_at));
        for _ in 0..10 {
            says(0, BAN, 0);
        }
        says(1, BAN, 1);
        says(2, "filter", 1);
        assert_eq!(told(1), None, "ten words of one are one's");
        says(2, BAN, 5);
        assert_eq!([5, 23].map(told), [Some((12, at(5))); 2]);
        says(0, BAN, 23);
        assert_eq!(told(24), Some((13, at(23))), "by the last word of each");
        assert_eq!(told(25), None, "one of them is a day old");
        says(3, BAN, 26);
        assert_eq!(told(26), Some((14, at(26))));
        counted.forget(&person(2));
        assert_eq!(told(26), None);
        for who in 10..20 {
            says(who, BAN, 27);
        }
        assert_eq!(told(27), Some((24, at(27))));
        assert!(counted.rows().banned.values().all(|people| people.len() == MIN_PEOPLE));
        counted.forget_all();
        assert_eq!((told(27), counted.counts().len()), (None, 2));
    }
}
