//! The quota that the platform tells of: asked for where the configuration says so, shown, and never in the way.

use tixing::admin::answer::Exit;
use tixing::admin::request::Request;
use tixing::sandbox::{Api, Fault, What};

use super::{EIGHT, HABIT, World};

fn says(body: &str) -> Fault {
    Fault::new(Api::Quota, What::Status { code: 200, body: body.to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_quota_is_shown_and_little_of_it_needs_a_person() {
    let little = r#"{"errcode":0,"quota":{"daily_limit":1000,"used":901,"remain":99}}"#;
    let table = [
        ("the platform's own", "in_flight: 8, quota_probe: true", None, Some(10_000_000), false),
        ("little", "in_flight: 8, quota_probe: true", Some(says(little)), Some(99), true),
        ("no answer", "in_flight: 8, quota_probe: true", Some(says("busy")), None, false),
        ("not asked for", "in_flight: 8", Some(says(little)), None, false),
    ];
    for (what, limits, fault, remain, is_told) in table {
        let mut world = World::with_limits(limits).await;
        world.rule("water", &[EIGHT]).await;
        world.faults(fault.into_iter().collect());
        world.start().await;
        world.grant("ann", HABIT, 1).await;
        let quota = |world: &World| {
            let shared = &world.running.as_ref().unwrap().shared;
            tixing::admin::control::Control::status(&**shared).quotas.into_values().next()
        };
        world.until(what, |world| quota(world).map(|(quota, _)| quota.remain) == remain).await;
        world.at("08:00").await;
        world.expect("water", "done: 1 = 1 sent").await;
        let status = tixing::admin::control::Control::status(&*world.running.as_ref().unwrap().shared);
        let told = status.needs_attention.join("; ");
        assert_eq!(told.contains("99 of 1000 messages are left"), is_told, "{what}: {told}");
        assert_eq!(told.is_empty(), !is_told, "{what}: {told}");
        if !is_told {
            let shown = &world.asks(Request::Status).await[0]["apps"]["main"]["quota"]["remain"];
            assert_eq!(shown.as_u64(), remain, "{what}");
        }
        // By the day of Beijing: what was said is of yesterday then.
        world.at("03 00:00").await;
        let asked =
            |world: &World| quota(world).map(|(_, at)| (at + chrono::TimeDelta::hours(8)).to_string());
        assert!(asked(&world).is_none_or(|at| at.starts_with("2026-03-03")), "{what}");
        // Housekeeping goes by the system's minutes. It asks under an access token that is there for something else.
        let shared = &world.running.as_ref().unwrap().shared;
        let (live, now) = (shared.current().get(), world.clock.now());
        shared.quotas().look(&live, now).await;
        shared.templates().look(&live, now).await.unwrap();
        shared.quotas().look(&live, now).await;
        assert_eq!(asked(&world).is_some(), remain.is_some(), "{what}");
        world.stop_here().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_foreseen_beyond_the_quota_is_remarked() {
    let left = r#"{"errcode":0,"quota":{"daily_limit":1000,"used":500,"remain":5}}"#;
    for (limits, is_told) in [("in_flight: 8, quota_probe: true", true), ("in_flight: 8", false)] {
        let mut world = World::with_limits(limits).await;
        world.rule("water", &[EIGHT]).await;
        world.rule("tea", &["when: { cron: \"0 9 * * *\" }"]).await;
        world.faults(vec![says(left)]);
        world.start().await;
        world.crowd(4).await;
        for name in ["p000", "p001", "p002"] {
            world.grant(name, HABIT, 5).await;
        }
        let asked = |world: &World| {
            let shared = &world.running.as_ref().unwrap().shared;
            tixing::admin::control::Control::status(&**shared).quotas.len()
        };
        world.until("the quota", |world| asked(world) == usize::from(is_told)).await;
        let next = Request::Next { rule: None, span_s: 2 * 86_400, at: None };
        let rows = world.asks(next).await;
        let told: Vec<(&str, bool)> = rows
            .iter()
            .map(|row| {
                let remark = row["remark"].as_str().unwrap_or_default();
                (row["due_at"].as_str().unwrap(), remark.contains("7 messages are foreseen today"))
            })
            .collect();
        let expected = [
            ("2026-03-02T00:00:00Z", false),
            ("2026-03-02T01:00:00Z", is_told),
            ("2026-03-03T00:00:00Z", false),
            ("2026-03-03T01:00:00Z", false),
        ];
        assert_eq!(told, expected, "{rows:?}");
        let (exit, _, mut rows) = world.asks_and_ends(Request::Status).await;
        assert_eq!(exit, if is_told { Exit::NotInOrder } else { Exit::Done }, "{rows:?}");
        let status = rows.remove(0);
        let attention = status["needs_attention"].to_string();
        let why = "app main: 7 messages are foreseen until the day of Beijing turns, and WeChat takes 5 more: what is due from \
                   2026-03-02T01:00:00Z on";
        assert_eq!(attention.contains(why), is_told, "{attention}");
        let quota = &status["apps"]["main"]["quota"];
        let told = (quota["foreseen"].as_u64(), quota["over_at"].as_str());
        assert_eq!(told, if is_told { (Some(7), Some("2026-03-02T01:00:00Z")) } else { (None, None) });
        world.stop_here().await;
    }
}
