//! `when` of a rule in a snapshot.
//!
//! The shapes of version 1, a cron text or a list of times, stay as they are; version 2 has more of them, and what
//! bounds them beside. Calendars are written out, as the occurrence keeps the rule as it was.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::domain::id::{CalendarName, Kind};
use crate::domain::when::{
    Calendar, Cron, Dst, Every, Except, Form, IfLate, Offset, Pass, Period, Relative, Single, When,
};

/// Civil times in a snapshot, to the second.
const CIVIL: &str = "%Y-%m-%dT%H:%M:%S";
/// Times of day in a snapshot.
const TIME: &str = "%H:%M:%S";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredForm {
    Cron(String),
    At(Vec<StoredSingle>),
    Every { days: Option<u32>, seconds: Option<u64>, starting: String },
    Relative(StoredRelative),
}

/// Of appointments: `side` is before, after or same_day.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredRelative {
    of: String,
    side: String,
    days: Option<u32>,
    seconds: Option<u64>,
    time: Option<String>,
    late: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum StoredSingle {
    First(String),
    Second { second: String },
}

/// What bounds the form; nothing of it is written while it says nothing.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoredBounds {
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<StoredDst>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    except_days: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    except: Vec<StoredCalendar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    only: Vec<StoredCalendar>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredDst {
    Skip,
    Wall,
    Shift,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCalendar {
    name: String,
    weekly: u8,
    add: Vec<String>,
    remove: Vec<String>,
}

impl StoredBounds {
    pub(super) fn say_nothing(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) fn encode(when: &When) -> (StoredForm, StoredBounds) {
    let civil = |time: &NaiveDateTime| time.format(CIVIL).to_string();
    let When { form, dst, from, until, except, only } = when;
    let form = match form {
        Form::Cron(cron) => StoredForm::Cron(cron.as_str().to_owned()),
        Form::At(times) => {
            let single = |time: &Single| match time.pass {
                Pass::First => StoredSingle::First(civil(&time.civil)),
                Pass::Second => StoredSingle::Second { second: civil(&time.civil) },
            };
            StoredForm::At(times.iter().map(single).collect())
        }
        Form::Every(Every { period, starting }) => {
            let (days, seconds) = match period {
                Period::Days(days) => (Some(*days), None),
                Period::Elapsed(time) => (None, Some(time.as_secs())),
            };
            StoredForm::Every { days, seconds, starting: civil(starting) }
        }
        Form::Relative(Relative { of, offset, time, late }) => {
            let (side, period) = match offset {
                Offset::Before(period) => ("before", Some(period)),
                Offset::After(period) => ("after", Some(period)),
                Offset::SameDay => ("same_day", None),
            };
            let (days, seconds) = match period {
                Some(Period::Days(days)) => (Some(*days), None),
                Some(Period::Elapsed(time)) => (None, Some(time.as_secs())),
                None => (None, None),
            };
            StoredForm::Relative(StoredRelative {
                of: of.to_string(),
                side: side.to_owned(),
                days,
                seconds,
                time: time.map(|time| time.format(TIME).to_string()),
                late: *late == IfLate::Send,
            })
        }
    };
    let bounds = StoredBounds {
        dst: match dst {
            Dst::Auto => None,
            Dst::Skip => Some(StoredDst::Skip),
            Dst::Wall => Some(StoredDst::Wall),
            Dst::Shift => Some(StoredDst::Shift),
        },
        from: from.as_ref().map(civil),
        until: until.as_ref().map(civil),
        except_days: texts(&except.days),
        except: except.calendars.iter().map(|calendar| stored(calendar)).collect(),
        only: only.iter().map(|calendar| stored(calendar)).collect(),
    };
    (form, bounds)
}

fn stored(calendar: &Calendar) -> StoredCalendar {
    let Calendar { name, weekly, add, remove } = calendar;
    StoredCalendar { name: name.to_string(), weekly: *weekly, add: texts(add), remove: texts(remove) }
}

pub(super) fn decode(form: StoredForm, bounds: StoredBounds) -> Result<When, SnapshotError> {
    let civil = |text: &str| {
        NaiveDateTime::parse_from_str(text, CIVIL).map_err(|_not_one| SnapshotError::Value("civil time"))
    };
    let form = match form {
        StoredForm::Cron(text) => {
            Form::Cron(Cron::parse(&text).map_err(|_of_another_release| SnapshotError::Value("cron text"))?)
        }
        StoredForm::At(times) => {
            let single = |time: &StoredSingle| {
                let (text, pass) = match time {
                    StoredSingle::First(text) => (text, Pass::First),
                    StoredSingle::Second { second } => (second, Pass::Second),
                };
                Ok(Single { civil: civil(text)?, pass })
            };
            Form::At(times.iter().map(single).collect::<Result<_, SnapshotError>>()?)
        }
        StoredForm::Every { days, seconds, starting } => {
            let period = match (days, seconds) {
                (Some(days), None) => Period::Days(days),
                (None, Some(seconds)) => Period::Elapsed(Duration::from_secs(seconds)),
                (Some(_), Some(_)) | (None, None) => return Err(SnapshotError::Value("period")),
            };
            Form::Every(Every { period, starting: civil(&starting)? })
        }
        StoredForm::Relative(StoredRelative { of, side, days, seconds, time, late }) => {
            let period = match (days, seconds) {
                (Some(days), None) => Some(Period::Days(days)),
                (None, Some(seconds)) => Some(Period::Elapsed(Duration::from_secs(seconds))),
                (Some(_), Some(_)) | (None, None) => None,
            };
            let offset = match (side.as_str(), period) {
                ("before", Some(period)) => Offset::Before(period),
                ("after", Some(period)) => Offset::After(period),
                ("same_day", None) => Offset::SameDay,
                (_, Some(_) | None) => return Err(SnapshotError::Value("offset")),
            };
            let time = time.map(|text| NaiveTime::parse_from_str(&text, TIME));
            let time = time.transpose().map_err(|_not_one| SnapshotError::Value("time of day"))?;
            let late = if late { IfLate::Send } else { IfLate::Skip };
            Form::Relative(Relative { of: Kind::parse(&of)?, offset, time, late })
        }
    };
    let StoredBounds { dst, from, until, except_days, except, only } = bounds;
    Ok(When {
        form,
        dst: match dst {
            None => Dst::Auto,
            Some(StoredDst::Skip) => Dst::Skip,
            Some(StoredDst::Wall) => Dst::Wall,
            Some(StoredDst::Shift) => Dst::Shift,
        },
        from: from.as_deref().map(civil).transpose()?,
        until: until.as_deref().map(civil).transpose()?,
        except: Except { days: days(&except_days)?, calendars: calendars(except)? },
        only: calendars(only)?,
    })
}

fn calendars(stored: Vec<StoredCalendar>) -> Result<Vec<Arc<Calendar>>, SnapshotError> {
    let calendar = |StoredCalendar { name, weekly, add, remove }| {
        Ok(Arc::new(Calendar {
            name: CalendarName::parse(&name)?,
            weekly,
            add: days(&add)?,
            remove: days(&remove)?,
        }))
    };
    stored.into_iter().map(calendar).collect()
}

fn texts(days: &[NaiveDate]) -> Vec<String> {
    days.iter().map(NaiveDate::to_string).collect()
}

fn days(texts: &[String]) -> Result<Vec<NaiveDate>, SnapshotError> {
    let day = |text: &String| text.parse().map_err(|_not_one| SnapshotError::Value("civil date"));
    texts.iter().map(day).collect()
}
