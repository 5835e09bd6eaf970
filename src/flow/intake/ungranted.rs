//! What mini programs report that grants nothing: templates that are banned or filtered, statuses that nobody knows, and calls
//! that failed as a whole.
//!
//! It only counts, since the start, and of nobody in particular, so an erasure has nothing to forget here. Who reports is
//! a stranger with a phone: nothing is decided by it, and no word of his is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::consent::Status;
use crate::domain::id::{AppId, TemplateId};

/// How long a `ban` asks for a person.
const BAN_LASTS: TimeDelta = TimeDelta::days(1);
/// Most rows: templates that were configured since the start, by what was said of them. What comes beyond is not counted.
const MAX_ROWS: usize = 4096;
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
pub struct Ungranted(Arc<Mutex<BTreeMap<(AppId, What), Counted>>>);

impl What {
    /// What a status says of a template, where it is one that grants nothing and decides nothing.
    pub(super) fn of_status(template: &TemplateId, status: &str) -> Option<Self> {
        let named = match Status::parse(status) {
            Some(Status::Accept(_) | Status::Reject) => return None,
            Some(Status::Ban) => "ban",
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
    pub(super) fn count(&self, app: &AppId, what: What, now: DateTime<Utc>) {
        let mut rows = self.rows();
        let is_full = rows.len() >= MAX_ROWS;
        let key = (app.clone(), what);
        match rows.get_mut(&key) {
            Some(row) => *row = Counted { n: row.n + 1, last_at: now },
            None if is_full => {}
            None => drop(rows.insert(key, Counted { n: 1, last_at: now })),
        }
    }

    /// All of it, by app.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(AppId, What), Counted> {
        self.rows().clone()
    }

    /// The reports that say `ban` of a template, where there was one in the last day.
    #[must_use]
    pub fn ban(&self, app: &AppId, template: &TemplateId, now: DateTime<Utc>) -> Option<Counted> {
        let key = (app.clone(), What::Status(template.clone(), "ban"));
        self.rows().get(&key).filter(|row| now - row.last_at < BAN_LASTS).copied()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<(AppId, What), Counted>> {
        // A poisoned lock holds a whole map: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_makes_no_row_of_its_own() {
        let (counted, app) = (Ungranted::default(), AppId::parse("wx0123456789abcdef").unwrap());
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
    fn a_ban_asks_for_a_person_for_a_day() {
        let (counted, app) = (Ungranted::default(), AppId::parse("wx0123456789abcdef").unwrap());
        let template = TemplateId::parse("T").unwrap();
        let at = |hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours);
        counted.count(&app, What::of_status(&template, "filter").unwrap(), at(0));
        assert_eq!(counted.ban(&app, &template, at(0)), None);
        for hours in [0, 5] {
            counted.count(&app, What::of_status(&template, "ban").unwrap(), at(hours));
        }
        let told = Some(Counted { n: 2, last_at: at(5) });
        assert_eq!([5, 28, 29].map(|hours| counted.ban(&app, &template, at(hours))), [told, told, None]);
    }
}
