//! Zone data that change while the daemon runs: future instants follow, what was said by civil time stays,
//! and nothing is lost, doubled or sent late.
//!
//! Zone data are of the whole process, so these scenarios take turns, and use zones that no other test does.

use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use tixing::flow::housekeeping::ZoneData as _;
use tokio::sync::Mutex;

use super::{HABIT, World};

/// One world with zone data of its own at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Zones by release 2025b, and by one that abolishes the change of clocks in each.
const BEFORE: [(&str, &str); 3] = [
    ("America/Vancouver", "PST8PDT,M3.2.0,M11.1.0"),
    ("America/Edmonton", "MST7MDT,M3.2.0,M11.1.0"),
    ("Africa/Casablanca", "<+01>-1"),
];
const AFTER: [(&str, &str); 3] =
    [("America/Vancouver", "<-07>7"), ("America/Edmonton", "<-06>6"), ("Africa/Casablanca", "<+00>0")];

/// Writes a tree of zone files that have nothing but their last line.
fn install(folder: &Path, version: &str, zones: &[(&str, &str)]) {
    fs::create_dir_all(folder).unwrap();
    for (name, footer) in zones {
        let header = |kinds: u8, chars: u8| {
            [&b"TZif2"[..], &[0; 15], &[0; 12], &[0; 4], &[0, 0, 0, kinds], &[0, 0, 0, chars]].concat()
        };
        let kind = [&[0; 6][..], b"UTC\0"].concat();
        let file = [&header(1, 4)[..], &kind, &header(1, 4), &kind, b"\n", footer.as_bytes(), b"\n"].concat();
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::write(folder.join("tzdata.zi"), format!("# version {version}\n")).unwrap();
}

impl World {
    /// A world that runs by [`BEFORE`], from `start` on, with one consent for all it may send.
    async fn by_zones(start: &str, rules: &[(&str, &[&str])]) -> Self {
        let mut world = Self::new().await;
        let start: DateTime<Utc> = start.parse().unwrap();
        world.clock.advance((start - world.clock.now()).to_std().unwrap());
        let folder = world.folder.path().join("zoneinfo");
        install(&folder, "2025b", &BEFORE);
        world.zones = Some(folder);
        for (id, lines) in rules {
            world.rule(id, lines).await;
        }
        world.start().await;
        world.grant("ann", HABIT, 20).await;
        world
    }

    /// The system's zone data are replaced, and the housekeeping looks.
    async fn renew(&self, version: &str, zones: &[(&str, &str)]) {
        install(self.zones.as_deref().unwrap(), version, zones);
        self.running.as_ref().unwrap().shared.look().await;
    }

    async fn until_utc(&self, time: &str) {
        self.calm().await;
        let time: DateTime<Utc> = time.parse().unwrap();
        self.clock.advance((time - self.clock.now()).to_std().unwrap());
        self.calm().await;
    }

    fn zone_data(&self) -> String {
        use tixing::admin::control::Control as _;
        self.running.as_ref().unwrap().shared.status().zone_data
    }
}

const ONCE: &str = "done: 1 = 1 sent";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn future_instants_follow_new_zone_data_and_are_sent_once() {
    let _turn = TURN.lock().await;
    let nine = r#"when: { cron: "0 9 * * *" }"#;
    // T52: each rule, its zone, and nine o'clock of 1 December by the new data.
    let zones =
        ["Africa/Casablanca", "America/Edmonton", "America/Vancouver"].map(|z| format!("timezone: {z}"));
    let mut world = World::by_zones(
        "2026-12-01T07:30:00Z",
        &[("casa", &[nine, &zones[0]]), ("edmonton", &[nine, &zones[1]]), ("vancouver", &[nine, &zones[2]])],
    )
    .await;
    assert_eq!(world.zone_data(), "2025b, system");
    world.renew("2026f", &AFTER).await;
    assert_eq!(world.zone_data(), "2026f, system");
    let table = [
        ("casa", "2026-12-01T08:00:00Z", "2026-12-01T09:00:00Z"),
        ("edmonton", "2026-12-01T14:59:59Z", "2026-12-01T15:00:00Z"),
        ("vancouver", "2026-12-01T15:59:59Z", "2026-12-01T16:00:00Z"),
    ];
    for (rule, not_yet, due) in table {
        world.until_utc(not_yet).await;
        assert_eq!(world.story(rule), "", "{rule} at {not_yet}");
        world.until_utc(due).await;
        world.expect(rule, ONCE).await;
    }
    // By the old data it would be nine in Edmonton and in Vancouver now; going back to them sends nothing again.
    world.renew("2025b", &BEFORE).await;
    world.until_utc("2026-12-01T18:00:00Z").await;
    world.restart().await;
    world.calm().await;
    for (rule, ..) in table {
        assert_eq!(world.story(rule), ONCE, "{rule}");
    }
    world.until_utc("2026-12-02T17:00:00Z").await;
    world.expect("vancouver", &[ONCE; 2].join("; ")).await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_new_zone_data_move_into_the_past_is_late_and_not_lost() {
    let _turn = TURN.lock().await;
    let (nine, vancouver) = (r#"when: { cron: "0 9 * * *" }"#, "timezone: America/Vancouver");
    let thrice = r#"when: { cron: "0,20,50 9 * * *" }"#;
    // T53, and times of one rule that the cursor had passed before: nine was sent by the old data.
    let table: [(&[&str], &str, &str); 5] = [
        (&[nine, vancouver, "grace: 30m"], "2026-12-01T16:40:00Z", "missed 1"),
        (&[nine, vancouver, "grace: 1h"], "2026-12-01T16:40:00Z", ONCE),
        (
            &[thrice, vancouver, "grace: 1h", "missed: all"],
            "2026-12-01T17:10:00Z",
            "done: 1 = 1 sent; done: 1 = 1 sent; done: 1 = 1 sent",
        ),
        (
            &[thrice, vancouver, "grace: 30m", "missed: all"],
            "2026-12-01T17:10:00Z",
            "done: 1 = 1 sent; missed 1; done: 1 = 1 sent",
        ),
        (
            &[thrice, vancouver, "grace: 5m", "missed: all"],
            "2026-12-01T17:10:00Z",
            "done: 1 = 1 sent; missed 2",
        ),
    ];
    for (lines, now, story) in table {
        for edited in [false, true] {
            let mut world = World::by_zones("2026-12-01T15:00:00Z", &[("water", lines)]).await;
            for time in ["2026-12-01T16:00:00Z", "2026-12-01T16:40:00Z", "2026-12-01T17:00:00Z", now] {
                if time <= now {
                    world.until_utc(time).await;
                }
            }
            let folder = world.zones.clone().unwrap();
            if edited {
                // A reload and new zone data at once.
                install(&folder, "2026f", &AFTER);
                world.rule("water", &[lines, &["data: { thing1: edited }"][..]].concat()).await;
            } else {
                world.renew("2026f", &AFTER).await;
            }
            world.expect("water", story).await;
            world.until_utc("2026-12-02T00:00:00Z").await;
            world.restart().await;
            world.calm().await;
            assert_eq!(world.story("water"), story, "{lines:?}, edited: {edited}");
            world.ends().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_zone_file_leaves_its_zone_to_the_program() {
    let _turn = TURN.lock().await;
    let nine = r#"when: { cron: "0 9 * * *" }"#;
    let zone = "timezone: America/Vancouver";
    let world = World::by_zones("2026-12-01T15:00:00Z", &[("water", &[nine, zone])]).await;
    world.renew("2026f", &AFTER).await;
    fs::write(world.zones.as_ref().unwrap().join("America/Vancouver"), b"TZif2 and no more").unwrap();
    world.running.as_ref().unwrap().shared.look().await;
    // The program's own data know that the clocks stay, and those in force before did not.
    world.until_utc("2026-12-01T15:59:59Z").await;
    assert_eq!(world.story("water"), "");
    world.until_utc("2026-12-01T16:00:00Z").await;
    world.expect("water", ONCE).await;
    world.ends().await;
}
