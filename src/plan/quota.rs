//! When an app's daily quota is asked for, and when what is left of it needs a person.
//!
//! What the platform counts is about 1 % off (official page `getApiQuota`, read 2026-11-22), so nothing is held back by it:
//! it is told, and 45009 alone stops an app.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};

use crate::domain::language::Said;

/// Asked again so long after an answer.
const AGAIN: TimeDelta = TimeDelta::hours(6);
/// Asked again so long after a question without an answer.
const AGAIN_UNTOLD: TimeDelta = TimeDelta::hours(1);
/// Most questions in one day of Beijing and one run of the daemon.
pub const MAX_ASKED: u32 = 8;
/// Less than one of so many parts of the day's messages is little.
const LITTLE: u64 = 10;

/// How many messages of an app the platform takes in one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// In all.
    pub daily_limit: u64,
    /// Of these are used.
    pub used: u64,
    /// And are left.
    pub remain: u64,
}

/// The last question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: DateTime<Utc>,
    /// The how-many-th of its day.
    pub nth: u32,
    /// The last answer of its day, and when it was given.
    pub told: Option<(Quota, DateTime<Utc>)>,
}

impl Asked {
    /// The day's next question, after `before`.
    #[must_use]
    pub fn next(before: Option<Self>, at: DateTime<Utc>, told: Option<Quota>) -> Self {
        let before = before.filter(|before| day(before.at) == day(at));
        let nth = before.map_or(0, |before| before.nth) + 1;
        Self {
            at,
            nth,
            told: told.map(|quota| (quota, at)).or_else(|| before.and_then(|before| before.told)),
        }
    }

    /// What is known of the day of `now`.
    #[must_use]
    pub fn of_today(&self, now: DateTime<Utc>) -> Option<(Quota, DateTime<Utc>)> {
        self.told.filter(|_| day(self.at) == day(now))
    }
}

/// Whether to ask: at the start, when the day of Beijing has turned, and a few times a day.
#[must_use]
pub fn is_due(asked: Option<&Asked>, now: DateTime<Utc>) -> bool {
    let Some(asked) = asked.filter(|asked| day(asked.at) == day(now)) else { return true };
    let has_answer = asked.told.is_some_and(|(_, at)| at == asked.at);
    let pause = if has_answer { AGAIN } else { AGAIN_UNTOLD };
    asked.nth < MAX_ASKED && now - asked.at >= pause
}

impl Quota {
    /// A sentence on little that is left, with what to do; `None` where there is enough.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let Self { daily_limit, used: _, remain } = self;
        (remain.saturating_mul(LITTLE) < *daily_limit).then(|| {
            format!(
                "{remain} of {daily_limit} messages are left until the day of Beijing turns, then sending waits for the \
                 next day; pause what can wait (`tixing pause --rule R`), or raise the quota on mp.weixin.qq.com"
            )
        })
    }
}

/// What is due of an app until its day turns, held against what the platform takes of it.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    quota: Quota,
    day: NaiveDate,
    n: u64,
    over_at: Option<DateTime<Utc>>,
}

impl Budget {
    /// What was left at `now`.
    #[must_use]
    pub fn new(quota: Quota, now: DateTime<Utc>) -> Self {
        Self { quota, day: day(now), n: 0, over_at: None }
    }

    /// The last instant of the day.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        let turns = self.day.checked_add_days(Days::new(1)).unwrap_or(self.day).and_time(NaiveTime::MIN);
        turns.and_utc() - AHEAD - TimeDelta::milliseconds(1)
    }

    /// How many were counted.
    #[must_use]
    pub fn foreseen(&self) -> u64 {
        self.n
    }

    /// The due time of the first that are too many.
    #[must_use]
    pub fn over_at(&self) -> Option<DateTime<Utc>> {
        self.over_at
    }

    /// A sentence on what is too much, with what to do; `None` where all that was counted is taken.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let (n, Quota { remain, .. }) = (self.n, self.quota);
        let from = self.over_at?.to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!(
            "{n} messages are foreseen until the day of Beijing turns, and WeChat takes {remain} more: what is due from {from} on \
             would wait for the next day or expire; pause what can wait (`tixing pause --rule R`), or raise the quota on \
             mp.weixin.qq.com; `tixing next` tells what is due"
        ))
    }

    /// Counts `n` more messages that are due at `due_at`, in the order of their times; says where they are too many.
    pub fn spend(&mut self, due_at: DateTime<Utc>, n: u64) -> Option<Said> {
        if day(due_at) != self.day {
            return None;
        }
        self.n += n;
        let (n, Quota { remain, .. }) = (self.n, self.quota);
        if n > remain {
            self.over_at.get_or_insert(due_at);
        }
        (n > remain).then(|| {
            Said::new(
                format!(
                    "with this {n} messages are foreseen today by the day of Beijing, and WeChat takes {remain} more: \
                     the rest would wait for the next day or expire"
                ),
                format!("到这一次为止，今天（北京时间）预计要发 {n} 条，而微信只再收 {remain} 条：其余的要等到第二天，或者过期"),
            )
        })
    }
}

/// How far Beijing's clock is ahead of UTC all year.
const AHEAD: TimeDelta = TimeDelta::hours(8);

/// The day by which the platform counts: Beijing's.
fn day(at: DateTime<Utc>) -> NaiveDate {
    (at + AHEAD).date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { daily_limit: 1000, used: 0, remain: 1000 };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_asked_at_the_start_at_the_turn_of_the_day_and_a_few_times_between() {
        let noon = "2026-03-02T04:00:00Z";
        let table = [
            ("answered just now", Some(QUOTA), "2026-03-02T04:01:00Z", false),
            ("answered for long", Some(QUOTA), "2026-03-02T10:00:00Z", true),
            ("the day of Beijing turns", Some(QUOTA), "2026-03-02T16:00:00Z", true),
            ("no answer", None, "2026-03-02T04:59:00Z", false),
            ("no answer for an hour", None, "2026-03-02T05:00:00Z", true),
        ];
        assert!(is_due(None, at(noon)));
        for (what, told, now, due) in table {
            assert_eq!(is_due(Some(&Asked::next(None, at(noon), told)), at(now)), due, "{what}");
        }
        // A platform that never answers is not asked without end.
        let (mut asked, mut n, mut now) = (None, 0, at("2026-03-01T16:00:00Z"));
        while now < at("2026-03-02T16:00:00Z") {
            if is_due(asked.as_ref(), now) {
                asked = Some(Asked::next(asked, now, None));
                n += 1;
            }
            now += TimeDelta::minutes(1);
        }
        assert_eq!(n, MAX_ASKED);
    }

    #[test]
    fn an_answer_holds_for_its_day_also_when_the_next_question_has_none() {
        let first = Asked::next(None, at("2026-03-02T04:00:00Z"), Some(QUOTA));
        let second = Asked::next(Some(first), at("2026-03-02T10:00:00Z"), None);
        assert_eq!(second.of_today(at("2026-03-02T10:01:00Z")), Some((QUOTA, first.at)));
        assert_eq!(second.of_today(at("2026-03-02T16:00:00Z")), None);
        let turned = Asked::next(Some(second), at("2026-03-02T16:00:00Z"), None);
        assert_eq!((turned.nth, turned.told), (1, None));
    }

    #[test]
    fn what_is_foreseen_today_is_held_against_what_is_left() {
        let mut budget = Budget::new(Quota { remain: 100, ..QUOTA }, at("2026-03-02T04:00:00Z"));
        assert!(budget.spend(at("2026-03-02T05:00:00Z"), 60).is_none());
        assert!(budget.spend(at("2026-03-02T06:00:00Z"), 40).is_none(), "all of it");
        assert_eq!((budget.foreseen(), budget.trouble()), (100, None));
        let said = budget.spend(at("2026-03-02T15:59:59Z"), 1).expect("one too many");
        assert!(said.en.contains("101 messages") && said.en.contains("takes 100 more"), "{said:?}");
        assert!(said.zh.contains("101 条") && said.zh.contains("100 条"), "{said:?}");
        assert!(budget.spend(at("2026-03-02T16:00:00Z"), 5_000).is_none(), "it is tomorrow's");
        assert_eq!(budget.until(), at("2026-03-02T15:59:59.999Z"));
        let over_at = Some(at("2026-03-02T15:59:59Z"));
        assert_eq!((budget.foreseen(), budget.over_at()), (101, over_at));
        let told = budget.trouble().expect("one too many");
        assert!(told.contains("101 messages") && told.contains("from 2026-03-02T15:59:59Z on"), "{told}");
    }

    #[test]
    fn less_than_a_tenth_is_little() {
        for (remain, is_little) in [(1000, false), (100, false), (99, true), (0, true)] {
            let quota = Quota { used: 1000 - remain, remain, ..QUOTA };
            assert_eq!(quota.trouble().is_some(), is_little, "{remain}");
        }
    }
}
