//! Zones against chrono-tz, zone files against the standard and against chance.

use std::sync::LazyLock;

use chrono::{DateTime, Datelike as _, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

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

/// A zone file: what holds first, changes, and the last line.
struct File {
    version: u8,
    kinds: Vec<(i32, u8, u8)>,
    names: Vec<u8>,
    changes: Vec<(i64, u8)>,
    n_leap: u32,
    flags: Vec<u8>,
    footer: Vec<u8>,
}

impl File {
    fn new(kinds: &[i32], changes: &[(i64, u8)], footer: &str) -> Self {
        Self {
            version: b'2',
            kinds: kinds.iter().map(|offset| (*offset, 0, 0)).collect(),
            names: b"AAA\0".to_vec(),
            changes: changes.to_vec(),
            n_leap: 0,
            flags: Vec::new(),
            footer: format!("\n{footer}\n").into_bytes(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let n = |n: usize| u32::try_from(n).expect("few").to_be_bytes();
        let mut bytes = Vec::new();
        for wide in [false, true] {
            bytes.extend(b"TZif");
            bytes.push(self.version);
            bytes.extend([0; 15]);
            bytes.extend(n(self.flags.len()));
            bytes.extend(n(0));
            bytes.extend(self.n_leap.to_be_bytes());
            let changes = if wide { &self.changes[..] } else { &[] };
            bytes.extend([n(changes.len()), n(self.kinds.len()), n(self.names.len())].concat());
            bytes.extend(changes.iter().flat_map(|(at, _)| at.to_be_bytes()));
            bytes.extend(changes.iter().map(|(_, kind)| *kind));
            for (offset, summer, name) in &self.kinds {
                bytes.extend(offset.to_be_bytes());
                bytes.extend([*summer, *name]);
            }
            bytes.extend(&self.names);
            let leap = if wide { &[0; 12][..] } else { &[0; 8] };
            (0..self.n_leap).for_each(|_| bytes.extend(leap));
            bytes.extend(&self.flags);
        }
        bytes.extend(&self.footer);
        bytes
    }
}

/// New York of nowadays by its last line alone.
const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";

fn offset(table: &Table, at: i64) -> i32 {
    table.at(at).kind.offset
}

#[test]
fn a_file_says_what_holds_before_between_and_after_its_changes() {
    let file = File::new(&[-17_762, -18_000, -14_400], &[(-100, 1), (1_772_953_200, 2)], NEW_YORK);
    let table = Table::parse(&file.bytes()).expect("a zone file");
    let instants = [-101, -100, 1_772_953_199, 1_772_953_200, 1_793_512_799, 1_793_512_800];
    let offsets = instants.map(|at| offset(&table, at));
    assert_eq!(offsets, [-17_762, -18_000, -18_000, -14_400, -14_400, -18_000]);
    // T37: nine in the morning of 2045-07-01 and of 2101-07-01.
    for nine in [2_382_526_800, 4_149_666_000_i64] {
        let civil = DateTime::from_timestamp(nine + i64::from(offset(&table, nine)), 0).expect("an instant");
        assert_eq!(civil.format("%m-%d %H:%M").to_string(), "07-01 09:00");
    }
    // Where a change is at the beginning of time, it is what holds first; without a last line the last change stays.
    let file = File::new(&[-17_762, 3600, 7200], &[(i64::MIN, 1), (-(1 << 59), 2), (5, 0)], "");
    let table = Table::parse(&file.bytes()).expect("a zone file");
    assert_eq!([4, 5, 9_999_999_999].map(|at| offset(&table, at)), [7200, -17_762, -17_762]);
}

/// What is said of a file, and what is wrong with it.
type Spoil = (&'static str, fn(&mut File));

#[test]
fn what_is_not_as_the_standard_says_is_refused() {
    let good = || File::new(&[0, 3600], &[(5, 1), (9, 0)], "<+00>0");
    assert!(Table::parse(&good().bytes()).is_ok());
    let table: [Spoil; 13] = [
        ("version", |file| file.version = 0),
        ("it has no kind", |file| file.kinds.clear()),
        ("counts", |file| file.names.clear()),
        ("counts", |file| file.flags = vec![0]),
        ("leap", |file| file.n_leap = 1),
        ("ascend", |file| file.changes[1].0 = 5),
        ("no kind", |file| file.changes[0].1 = 2),
        ("offset", |file| file.kinds[0].0 = 86_400),
        ("offset", |file| file.kinds[0].1 = 2),
        ("name", |file| file.kinds[0].2 = 4),
        ("name", |file| file.names = b"AAAA".to_vec()),
        ("last line", |file| file.footer = b"\nCST-8".to_vec()),
        ("contradicts", |file| file.footer = b"\nCST-8\n".to_vec()),
    ];
    for (why, spoil) in table {
        let mut file = good();
        spoil(&mut file);
        let error = Table::parse(&file.bytes()).expect_err(why).to_string();
        assert!(error.contains(why) || error.contains("counts"), "{why}: {error}");
    }
    let whole = good().bytes();
    for cut in 0..whole.len() {
        assert!(Table::parse(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Table::parse(&[&whole[..], b"x"].concat()).is_err());
    assert!(Table::parse(&vec![0; MAX_BYTES + 1]).is_err());
}

/// Stretches follow one another without hole, from before 1970 to beyond all rules.
fn is_whole(table: &Table) -> bool {
    let mut at = table.at(-10_000_000_000);
    for _ in 0..2000 {
        let next = table.at(at.end);
        let follows = at.start < at.end && next.start == at.end;
        if !follows || at.end > 10_000_000_000 {
            return at.start < at.end;
        }
        at = next;
    }
    true
}

/// Zones whose clocks another release of the data may show otherwise.
const MAX_CHANGED: usize = 60;

/// Zones that chrono-tz knows and reads alike where a stretch begins and ends.
static ALIKE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let is_alike = |name: &&str| {
        let (Ok(zone), Ok(other)) = (Zone::named(name), name.parse::<Tz>()) else { return false };
        let mut at = -3_000_000_000;
        while at < 4_100_000_000 {
            let stretch = zone.stretch(at);
            for instant in [at, stretch.end.min(4_100_000_000) - 1] {
                let utc = DateTime::from_timestamp(instant, 0).expect("an instant").naive_utc();
                if zone.tz().offset_from_utc_datetime(&utc).fix()
                    != other.offset_from_utc_datetime(&utc).fix()
                {
                    return false;
                }
            }
            at = stretch.end;
        }
        true
    };
    let (alike, changed): (Vec<_>, Vec<_>) = Zone::names().partition(is_alike);
    assert!(alike.len() > 500 && changed.len() <= MAX_CHANGED, "{} alike, changed: {changed:?}", alike.len());
    alike
});

#[test]
fn the_program_s_own_files_can_all_be_read() {
    for name in Zone::names() {
        let table = bundled::table(Zone::named(name).expect("a zone").name());
        assert!(is_whole(table), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _refused = Table::parse(&bytes);
        let _refused = Table::parse(&[b"TZif2", &bytes[..]].concat());
    }

    #[test]
    fn a_spoiled_file_is_refused_or_whole(
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        footer in prop::sample::select(vec![NEW_YORK, "IST-1GMT0,M10.5.0,M3.5.0/1", "XXX3EDT4,0/0,J365/23", "CST-8", ""]),
    ) {
        let footer_only = File::new(&[-18_000, -14_400], &[], footer);
        let changes = File::new(&[-18_000, -14_400], &[(100, 1), (200, 0), (300, 1)], "");
        for file in [footer_only, changes] {
            let mut bytes = file.bytes();
            for (place, byte) in &spoils {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            if let Ok(table) = Table::parse(&bytes) {
                prop_assert!(is_whole(&table), "{:?}", table);
            }
        }
    }

    #[test]
    fn clocks_are_read_as_chrono_tz_reads_them(
        zone in prop::sample::select(ALIKE.clone()),
        at in -3_000_000_000_i64..4_100_000_000,
        near in prop::sample::select(vec![0, -1, 1, -1800, 1800, 3599, -3600, 7200]),
    ) {
        let other: Tz = zone.parse().expect("a zone");
        let zone = Zone::named(zone).expect("a zone");
        // Half of them near a change.
        let at = if near == 0 { at } else { zone.stretch(at).end.min(4_100_000_000) + near };
        let utc = DateTime::from_timestamp(at, 0).expect("an instant").naive_utc();
        let (mine, theirs) = (zone.tz().offset_from_utc_datetime(&utc), other.offset_from_utc_datetime(&utc));
        prop_assert_eq!(mine.fix(), theirs.fix());
        prop_assert_eq!(mine.to_string(), theirs.to_string());
        let both = |local: NaiveDateTime| {
            let mine = local.and_local_timezone(zone.tz()).map(|at| at.to_utc());
            (mine, local.and_local_timezone(other).map(|at| at.to_utc()))
        };
        for local in [utc, utc + chrono::TimeDelta::seconds(i64::from(mine.fix().local_minus_utc()))] {
            let (mine, theirs) = both(local);
            prop_assert_eq!(mine, theirs, "{} {}", zone, local);
        }
    }
}

#[test]
fn a_zone_goes_by_the_release_that_it_was_given() {
    let name = "Antarctica/Vostok";
    let release = |version: &str, footer: &str| {
        let table = Table::parse(&File::new(&[0], &[], footer).bytes()).expect("a zone file");
        Release::of_system(version.to_owned(), [(name, table)], Vec::new())
    };
    let (old, new) = (release("2023a", "<+06>-6"), release("2026b", "<+05>-5"));
    let zone = Zone::parse(name).expect("a zone");
    let (before, after) = (old.zone(zone), new.zone(zone));
    let offset = |zone: Zone| zone.stretch(1_772_953_200).kind.offset;
    assert_eq!((offset(before), offset(after)), (21_600, 18_000));
    assert_eq!(before, after, "a zone is its name");
    assert!(!before.reads_as(after) && before.reads_as(old.zone(after)));
    assert_eq!(old.differences(&new), [name]);
    assert_eq!(new.differences(&release("2026c", "<+05>-5")), [""; 0]);
    assert_eq!(Release::default().differences(&new), [name]);
    assert_eq!(
        (new.to_string().as_str(), Release::default().to_string().ends_with(", bundled")),
        ("2026b, system", true)
    );
    let shown = DateTime::<Utc>::UNIX_EPOCH.with_timezone(&after.tz());
    assert_eq!((shown.to_rfc3339().as_str(), shown.year()), ("1970-01-01T05:00:00+05:00", 1970));
    assert_eq!(shown.format("%Z").to_string(), "+05");
}
