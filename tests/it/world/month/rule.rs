//! A rule of the month, as its text and as the due times that its text means.
//!
//! The due times are counted here by hand, day by day, so that the audit does not ask the planner it audits.
//! No summer time: the month is one of Shanghai.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike as _};

use super::luck::Luck;
use crate::world::World;

/// The first day and the number of days; a play may run on for some days to come to rest.
pub(super) const DAYS: u64 = 30;
const DAYS_AND_REST: u64 = DAYS + 14;

pub(super) fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 2).unwrap()
}

/// One rule as an admin wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) when: When,
    grace_min: u32,
    missed: &'static str,
    pub(super) bill: bool,
    to: Option<&'static str>,
    text: u32,
    enabled: bool,
    /// Each person's turn is within so many minutes after the due time.
    pub(super) spread_min: u32,
    pub(super) quiet: Option<Quiet>,
}

/// Hours of the night, from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    from: u32,
    to: u32,
    /// Nothing is sent of what is due then; else it is held until they end.
    pub(super) skips: bool,
}

impl Quiet {
    fn any(luck: &mut Luck) -> Option<Self> {
        let (from, to) = luck.pick(&[(21, 7), (22, 8), (0, 6), (12, 14), (19, 20)]);
        let skips = luck.percent(35);
        luck.percent(35).then_some(Self { from, to, skips })
    }

    /// Whether a time of day is in them; the first minute is, the last is not.
    pub(super) fn has(&self, at: NaiveDateTime) -> bool {
        let hour = at.hour();
        if self.from < self.to {
            (self.from..self.to).contains(&hour)
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Each day, or Monday to Friday, at this minute of these hours.
    Cron {
        minute: u32,
        hours: Vec<u32>,
        weekdays: bool,
    },
    At(Vec<NaiveDateTime>),
}

impl When {
    /// Due times in order.
    pub(super) fn dues(&self) -> Vec<NaiveDateTime> {
        match self {
            Self::At(list) => list.clone(),
            Self::Cron { minute, hours, weekdays } => {
                let days = (0..DAYS_AND_REST).map(|n| first_day() + chrono::Days::new(n));
                let days = days.filter(|day| !weekdays || day.weekday().num_days_from_monday() < 5);
                days.flat_map(|day| hours.iter().map(move |hour| day.and_hms_opt(*hour, *minute, 0).unwrap()))
                    .collect()
            }
        }
    }

    fn line(&self) -> String {
        match self {
            Self::At(list) => {
                let times: Vec<String> =
                    list.iter().map(|at| format!("\"{}\"", at.format("%Y-%m-%d %H:%M"))).collect();
                format!("when: {{ at: [{}] }}", times.join(", "))
            }
            Self::Cron { minute, hours, weekdays } => {
                let hours: Vec<String> = hours.iter().map(u32::to_string).collect();
                let days = if *weekdays { "MON-FRI" } else { "*" };
                format!("when: {{ cron: \"{minute} {} * * {days}\" }}", hours.join(","))
            }
        }
    }
}

impl Spec {
    /// Any rule: often daily, sometimes several times a day, sometimes a list.
    pub(super) fn any(luck: &mut Luck) -> Self {
        let minute = u32::try_from(luck.within(0, 11) * 5).unwrap();
        let hour = |luck: &mut Luck| u32::try_from(luck.within(6, 22)).unwrap();
        let when = match luck.below(6) {
            0 => {
                let mut list: Vec<NaiveDateTime> = (0..8)
                    .map(|_| {
                        let day = first_day() + chrono::Days::new(luck.number() % DAYS);
                        day.and_hms_opt(hour(luck), minute, 0).unwrap()
                    })
                    .collect();
                list.sort();
                list.dedup();
                When::At(list)
            }
            1 => {
                let first = u32::try_from(luck.within(0, 2)).unwrap();
                When::Cron { minute, hours: (first..24).step_by(6).collect(), weekdays: true }
            }
            2 => When::Cron { minute, hours: vec![hour(luck)], weekdays: true },
            _ => When::Cron { minute, hours: vec![hour(luck)], weekdays: false },
        };
        Self {
            when,
            grace_min: luck.pick(&[1, 10, 30, 30, 120, 180, 600, 1500]),
            missed: luck.pick(&["latest", "latest", "all", "skip"]),
            bill: luck.percent(15),
            to: luck.pick(&[None, None, None, Some("a"), Some("b"), Some("a, c")]),
            text: 0,
            enabled: true,
            spread_min: luck.pick(&[0, 0, 0, 10, 45]),
            quiet: Quiet::any(luck),
        }
    }

    /// The same with another text, time, grace, template or audience.
    pub(super) fn edited(mut self, luck: &mut Luck) -> Self {
        match luck.below(8) {
            0 | 1 => self.text += 1,
            6 => self.spread_min = Self::any(luck).spread_min,
            7 => self.quiet = Quiet::any(luck),
            2 => self.when = Self::any(luck).when,
            3 => self.grace_min = Self::any(luck).grace_min,
            4 => self.bill = !self.bill,
            _ => self.to = Self::any(luck).to,
        }
        self
    }

    pub(super) fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }

    pub(super) fn is_disabled(&self) -> bool {
        !self.enabled
    }

    /// Due times while this is in force: none when it is disabled.
    pub(super) fn dues(&self) -> Vec<NaiveDateTime> {
        if self.enabled { self.when.dues() } else { Vec::new() }
    }

    pub(super) fn yaml(&self, id: &str) -> String {
        let mut lines = vec![
            self.when.line(),
            format!("grace: {}m", self.grace_min),
            format!("missed: {}", self.missed),
            format!("data: {{ thing1: \"text {}\" }}", self.text),
            format!("template: {}", if self.bill { "bill" } else { "habit" }),
            format!("enabled: {}", self.enabled),
        ];
        lines.extend(self.to.map(|tags| format!("to: {{ tags: [{tags}] }}")));
        if self.spread_min > 0 {
            lines.push(format!("spread: {}m", self.spread_min));
        }
        lines.extend(self.quiet.map(|Quiet { from, to, skips }| {
            let then = if skips { "skip" } else { "hold" };
            format!("quiet: {{ from: \"{from:02}:00\", to: \"{to:02}:00\", then: {then} }}")
        }));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        World::rule_text(id, &lines)
    }
}
