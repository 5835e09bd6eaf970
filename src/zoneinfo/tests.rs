//! The system's own files against chrono-tz, and folders that are not as they should be.

use std::fs;
use std::os::unix::fs::symlink;

use chrono::{Offset as _, TimeZone as _};
use chrono_tz::{IANA_TZDB_VERSION, Tz};

use super::*;

/// Zones whose clocks may differ from chrono-tz's where the system's release is another one.
const MAX_CHANGED: usize = 60;

/// What this system has; `scripts/test` asks for it.
fn system() -> Release {
    read(&[PathBuf::from("/usr/share/zoneinfo")]).expect("the system has zone files: install tzdata")
}

/// The first instant of 1970–2037 at which a zone's clocks are not read alike.
fn first_difference(zone: Zone) -> Option<DateTime<Utc>> {
    let other: Tz = zone.name().parse().expect("a zone of chrono-tz");
    let (mut at, end) = (0, 2_145_916_800);
    while at < end {
        let stretch = zone.stretch(at);
        // Within a stretch at its ends, and every 20 days between.
        let days = (at..stretch.end.min(end)).step_by(20 * 86_400).chain([stretch.end.min(end) - 1]);
        for instant in days {
            let utc = DateTime::from_timestamp(instant, 0).expect("an instant");
            let theirs = other.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc();
            if theirs != stretch.kind.offset {
                return Some(utc);
            }
        }
        at = stretch.end;
    }
    None
}

#[test]
fn the_system_s_files_say_what_chrono_tz_says() {
    let release = system();
    let all: Vec<Zone> = Zone::names().map(|name| Zone::parse(name).expect(name)).collect();
    assert!(release.n_zones() > 400, "{} of {} zones: {:?}", release.n_zones(), all.len(), release.remarks());
    let zones = all.into_iter().map(|zone| release.zone(zone));
    let differ: Vec<_> = zones.filter_map(|zone| Some((zone, first_difference(zone)?))).collect();
    let same_release = release.to_string().starts_with(IANA_TZDB_VERSION);
    // Another release changes some clocks, and seldom long before it.
    let most = if same_release { 0 } else { MAX_CHANGED };
    assert!(differ.len() <= most, "{release} differs in {}: {differ:?}", differ.len());
}

#[test]
fn rules_of_the_system_s_files_have_no_end() {
    let release = system();
    // T37: nine in the morning in New York, in summer.
    let zone = release.zone(Zone::parse("America/New_York").expect("a zone"));
    for nine in [2_382_526_800, 4_149_666_000] {
        let local = DateTime::from_timestamp(nine, 0).expect("an instant").with_timezone(&zone.tz());
        assert_eq!(local.format("%m-%d %H:%M %Z").to_string(), "07-01 09:00 EDT");
    }
}

#[test]
fn folders_that_are_not_as_they_should_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let read = || read(&[PathBuf::from("/nowhere"), folder.path().to_owned()]);
    assert!(read().is_none(), "an empty folder is none");
    fs::create_dir(at("Asia")).expect("made");
    let good = "/usr/share/zoneinfo/Asia/Shanghai";
    fs::copy(good, at("Asia/Shanghai")).expect("copied");
    let release = read().expect("one zone");
    assert_eq!((release.n_zones(), release.remarks().len()), (1, 0));
    assert!(release.missing().contains(&"Asia/Tokyo") && !release.missing().contains(&"Asia/Shanghai"));
    assert!(release.to_string().starts_with("files of 20"), "{release}");

    let bytes = fs::read(good).expect("read");
    fs::write(at("Asia/Tokyo"), &bytes[..bytes.len() - 5]).expect("written");
    fs::write(at("Asia/Seoul"), vec![b'x'; 2 * MAX_BYTES]).expect("written");
    symlink(at("Asia/Manila"), at("Asia/Manila")).expect("linked");
    fs::create_dir(at("Asia/Tehran")).expect("made");
    fs::write(at("Asia/Beijing"), &bytes).expect("written");
    let release = read().expect("one zone");
    assert_eq!(release.n_zones(), 1, "neither broken ones nor names that no rule may state");
    let told: Vec<&str> = release.remarks().iter().map(|remark| remark.en.as_str()).collect();
    for broken in ["Asia/Tokyo", "Asia/Seoul", "Asia/Manila", "Asia/Tehran"] {
        assert!(told.iter().any(|told| told.contains(broken)), "{broken}: {told:?}");
    }
    for (name, text, version) in [
        ("+VERSION", "2024a\n", "2024a, system"),
        ("tzdata.zi", "# version 2026b\nR …", "2026b, system"),
        ("tzdata.zi", "# version 2026b-dirty", "2026b-dirty, system"),
        ("tzdata.zi", "no version", "2024a, system"),
    ] {
        fs::write(at(name), text).expect("written");
        assert_eq!(read().expect("one zone").to_string(), version, "{text}");
    }
    let one = |name: &str| read_one(&[folder.path().to_owned()], name);
    assert_eq!(one("Asia/Shanghai").map(|release| release.n_zones()), Some(1));
    assert!(one("Asia/Chongqing").is_none() && one("../../etc/passwd").is_none());
}
