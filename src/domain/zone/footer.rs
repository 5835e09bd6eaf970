//! The last line of a TZif file: a rule for all years after the last change that the file lists.
//!
//! The format of POSIX's `TZ`, with the hours beyond a day that RFC 9636, section 3.3.1, adds. A summer
//! time without dates is refused: TZif files always state them.

use super::table::{FOREVER, Kind, Stretch};

const DAY: i64 = 86_400;

/// A rule without end: one kind, or two that take turns every year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    standard: Kind,
    summer: Option<Summer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    kind: Kind,
    begins: Change,
    ends: Change,
}

/// A moment of each year, in civil time from before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    /// Seconds after that day's midnight; may be negative, or more than a day.
    time: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// 1–365; 29 February is never counted.
    Julian(i64),
    /// 0–365; 29 February counts.
    OfYear(i64),
    /// The `week`th such day of a month (1–5, 5 is the last), Sunday is 0.
    Weekday { month: i64, week: i64, weekday: i64 },
}

impl Footer {
    /// Reads a footer; `None` when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text);
        let standard = rest.kind(None)?;
        if rest.0.is_empty() {
            return Some(Self { standard, summer: None });
        }
        let kind = rest.kind(Some(standard.offset))?;
        let begins = rest.change()?;
        let ends = rest.change()?;
        let summer = Some(Summer { kind, begins, ends });
        rest.0.is_empty().then_some(Self { standard, summer })
    }

    /// The stretch that `instant` is in.
    pub(super) fn at(&self, instant: i64) -> Stretch<'_> {
        let Some(Summer { kind, begins, ends }) = &self.summer else {
            return Stretch { start: -FOREVER, end: FOREVER, kind: &self.standard };
        };
        let (mut start, mut end, mut found) = (-FOREVER, FOREVER, &self.standard);
        let year = year_of(instant);
        // A change lies at most eight days outside of its year.
        for year in year - 1..=year + 1 {
            let changes = [
                (ends.seconds(year) - i64::from(kind.offset), &self.standard),
                (begins.seconds(year) - i64::from(self.standard.offset), kind),
            ];
            for (at, kind) in changes {
                // Where summer ends and begins at once, it goes on.
                let wins = at > start || (at == start && kind.offset != self.standard.offset);
                if at <= instant && wins {
                    (start, found) = (at, kind);
                } else if at > instant {
                    end = end.min(at);
                }
            }
        }
        Stretch { start, end, kind: found }
    }
}

impl Change {
    /// Its civil time in `year`, as seconds since 1970.
    fn seconds(self, year: i64) -> i64 {
        let first = days_before(year);
        let leap = days_before(year + 1) - first == 366;
        let day = match self.day {
            Day::Julian(n) => first + n - 1 + i64::from(leap && n >= 60),
            Day::OfYear(n) => first + n,
            Day::Weekday { month, week, weekday } => {
                let months = [31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                let before = usize::try_from(month - 1).expect("a month is 1–12 by Rest::change");
                let start = first + months.iter().take(before).sum::<i64>();
                let length = months.get(before).copied().expect("a month is 1–12 by Rest::change");
                // 1 January 1970 was a Thursday, 4.
                let day = (weekday - (start + 4)).rem_euclid(7) + 7 * (week - 1);
                start + if day >= length { day - 7 } else { day }
            }
        };
        day * DAY + self.time
    }
}

/// Days from 1970 to the first of January of `year`.
fn days_before(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 719_162
}

/// The year of an instant in UTC.
fn year_of(instant: i64) -> i64 {
    let day = instant.div_euclid(DAY);
    // 400 years have 146,097 days; the guess is at most one off.
    let guess = 1970 + (day * 400).div_euclid(146_097);
    if day < days_before(guess) {
        guess - 1
    } else if day >= days_before(guess + 1) {
        guess + 1
    } else {
        guess
    }
}

/// What is left to read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    fn number(&mut self, most: i64) -> Option<i64> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at_checked(digits)?;
        let n = number.parse().ok().filter(|n| (0..=most).contains(n) && digits <= 3)?;
        self.0 = rest;
        Some(n)
    }

    /// `[+-]h[h[h]][:mm[:ss]]`, in seconds.
    fn time(&mut self, most_hours: i64) -> Option<i64> {
        let sign = match (self.take('-'), self.take('+')) {
            (Some(()), None) => -1,
            (None, _) => 1,
            (Some(()), Some(())) => return None,
        };
        let mut seconds = self.number(most_hours)? * 3600;
        for unit in [60, 1] {
            if self.take(':').is_none() {
                break;
            }
            seconds += self.number(59)? * unit;
        }
        Some(sign * seconds)
    }

    /// A name and how far it is west of Greenwich; summer is an hour before standard time if it does not say.
    fn kind(&mut self, standard: Option<i32>) -> Option<Kind> {
        let (name, rest) = if let Some(quoted) = self.0.strip_prefix('<') {
            quoted.split_once('>')?
        } else {
            self.0.split_at_checked(self.0.bytes().take_while(u8::is_ascii_alphabetic).count())?
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-');
        if !(3..=10).contains(&name.len()) || !name.chars().all(good) {
            return None;
        }
        let name = name.into();
        self.0 = rest;
        let offset = match standard {
            Some(standard) if self.0.starts_with(',') => standard + 3600,
            Some(_) | None => i32::try_from(-self.time(24)?).ok()?,
        };
        (offset.abs() < 86_400).then_some(Kind { offset, name })
    }

    /// `,Jn`, `,n` or `,Mm.w.d`, and `/time` where it is not two in the morning.
    fn change(&mut self) -> Option<Change> {
        self.take(',')?;
        let between = |n: i64, least: i64| (n >= least).then_some(n);
        let day = if self.take('J').is_some() {
            Day::Julian(between(self.number(365)?, 1)?)
        } else if self.take('M').is_some() {
            let month = between(self.number(12)?, 1)?;
            self.take('.')?;
            let week = between(self.number(5)?, 1)?;
            self.take('.')?;
            Day::Weekday { month, week, weekday: self.number(6)? }
        } else {
            Day::OfYear(self.number(365)?)
        };
        let time = if self.take('/').is_some() { self.time(167)? } else { 2 * 3600 };
        Some(Change { day, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next changes after `from` and the offset from each of them on.
    fn changes(footer: &str, from: i64, n: usize) -> Vec<(i64, i32)> {
        let footer = Footer::parse(footer).expect(footer);
        let mut at = from;
        (0..n)
            .map(|_| {
                at = footer.at(at).end;
                (at, footer.at(at).kind.offset)
            })
            .collect()
    }

    #[test]
    fn rules_go_on_for_ever() {
        let year_2026 = 1_767_225_600;
        let new_york = [(1_772_953_200, -14_400), (1_793_512_800, -18_000)];
        assert_eq!(changes("EST5EDT,M3.2.0,M11.1.0", year_2026, 2), new_york);
        // Julian days: 8 March and 1 November.
        assert_eq!(changes("EST5EDT,J67,J305", year_2026, 2), new_york);
        assert_eq!(changes("EST5EDT,66/2,304", year_2026, 2), new_york);
        // Dublin's summer is its standard time; the night of 2026-03-29 and of 2026-10-25.
        let dublin = [(1_774_746_000, 3600), (1_792_890_000, 0)];
        assert_eq!(changes("IST-1GMT0,M10.5.0,M3.5.0/1", year_2026, 2), dublin);
        // South of the equator, half an hour, and hours before the day: Lord Howe and Godthab.
        let lord_howe = [(1_775_314_800, 37_800), (1_791_041_400, 39_600)];
        assert_eq!(changes("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", year_2026, 2), lord_howe);
        let nuuk = [(1_774_746_000, -3600), (1_792_890_000, -7200)];
        assert_eq!(changes("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", year_2026, 2), nuuk);
        // 2100 is no leap year, 2104 is: 29 February does not count among Julian days.
        for (year, leap) in [(2099, 0), (2100, 0), (2104, 1)] {
            let first = days_before(year);
            let change = |day| Change { day, time: 0 }.seconds(year) / DAY - first;
            assert_eq!(change(Day::Julian(60)), 59 + leap, "{year}");
            assert_eq!(change(Day::OfYear(60)), 60, "{year}");
            assert_eq!((year_of(first * DAY), year_of(first * DAY - 1)), (year, year - 1));
        }
    }

    #[test]
    fn summer_can_be_all_there_is() {
        let always = Footer::parse("XXX3EDT4,0/0,J365/23").expect("a footer");
        for at in (0..4_000_000_000).step_by(1_000_003) {
            assert_eq!(always.at(at).kind.offset, -14_400, "{at}");
        }
        let never = Footer::parse("CST-8").expect("a footer");
        assert_eq!((never.at(0).kind.offset, never.at(0).end), (28_800, FOREVER));
    }

    #[test]
    fn what_is_no_footer_is_refused() {
        for bad in [
            "",
            "CST",
            "CS-8",
            "CST8x",
            "<CST-8",
            "C$T-8",
            "CST-25",
            "CST--8",
            "CST+-8",
            "CST-8:60",
            "EST5EDT",
            "EST5EDT,M3.2.0",
            "EST5EDT,M0.2.0,M11.1.0",
            "EST5EDT,M3.6.0,M11.1.0",
            "EST5EDT,M3.2.7,M11.1.0",
            "EST5EDT,J0,J5",
            "EST5EDT,366,1",
            "EST5EDT,M3.2.0/168,M11.1.0",
            "EST5EDT,M3.2.0,M11.1.0,",
            "EST5EDT,M3.2.0/,M11.1.0",
            "EST00005",
            "CST-8\n",
            "ČST-8",
            "<+08>-24",
        ] {
            assert_eq!(Footer::parse(bad), None, "{bad}");
        }
    }
}
