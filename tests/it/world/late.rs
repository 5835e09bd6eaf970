//! Late and changed: deadlines in the middle of a walk, downtimes, and rules that are edited meanwhile.

use std::fs;
use std::time::Duration;

use tixing::sandbox::{Acceptance, Api, Fault, What};

use super::agreement::text;
use super::{APPID, EIGHT, HABIT, World};

const HOURLY: &str = r#"when: { cron: "0 * * * *" }"#;

fn slow(seconds: u64) -> Fault {
    Fault::new(Api::Send, What::Delay(Duration::from_secs(seconds))).after()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_after_its_deadline() {
    // A limit that is too low for the audience, or a platform that is too slow: the limits, how slow, how
    // many people, and at least and at most how many messages can have left within the minute.
    let table = [("in_flight: 8, per_second: 2", 0, 330, 20, 122), ("in_flight: 2", 25, 10, 4, 6)];
    for (limits, seconds, n, least, most) in table {
        let mut world = World::with_limits(limits).await;
        world.rule("water", &[EIGHT, "grace: 60s"]).await;
        world.start().await;
        world.crowd(n).await;
        world.faults(vec![slow(seconds)]);
        world.at("08:00").await;
        world.pass(60 + 2 * u32::try_from(seconds).unwrap()).await;
        world.until("the end", |world| world.story("water").starts_with("done")).await;
        let sent = world.platform.totals().accepted;
        assert!((least..=most).contains(&sent), "{limits}: {sent}");
        let n = u64::try_from(n).unwrap();
        assert_eq!(world.story("water"), format!("done: {n} = {sent} sent, {} expired", n - sent));
        let cards: u64 = world.platform.sends().iter().map(|_| 1).sum();
        assert_eq!(cards, sent);
        let mut available = 0;
        for name in (0..n).map(|n| format!("p{n:03}")) {
            available += u64::from(world.balance(&name, HABIT) == "1 granted = 1 available");
        }
        assert_eq!(available, n - sent, "who was not reached keeps his consent");
        world.ends().await;
    }
}

/// The first token is refused, and the next one comes when it is too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_starts_after_its_deadline_under_a_token_that_came_late() {
    let mut world = World::with_limits("in_flight: 2").await;
    world.rule("water", &[EIGHT, "grace: 60s"]).await;
    world.start().await;
    world.crowd(3).await;
    world.calm().await;
    world.token_dies().await;
    world.faults(vec![Fault::new(Api::Token, What::Delay(Duration::from_secs(70)))]);
    world.at("08:00").await;
    world.until("a refused request", |world| world.platform.totals().refused.contains_key(&40001)).await;
    world.at("08:01:11").await;
    world.expect_within(10, "water", "done: 3 = 3 expired").await;
    world.faults(Vec::new());
    assert_eq!(world.platform.totals().accepted, 0);
    assert_eq!(world.balance("p000", HABIT), "1 granted = 1 available");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_downtime_grace_and_policy_say_what_is_still_sent() {
    let all = ["missed: all", "max: 2"];
    // Down from half past eight: the rule, when the daemon is back, and what the books tell of 9 to 12.
    let table: &[(&[&str], &str, &str)] = &[
        (&["grace: 30m"], "12:10", "missed 3; done: 1 = 1 sent"),
        (&["grace: 30m"], "12:30", "missed 3; done: 1 = 1 sent"),
        (&["grace: 30m"], "12:30:01", "missed 4"),
        (&["grace: 5h"], "12:10", "missed 3; done: 1 = 1 sent"),
        (&["grace: 5h", all[0], all[1]], "12:10", "missed 2; done: 1 = 1 sent; done: 1 = 1 sent"),
        (&["grace: 90m", all[0]], "12:10", "missed 2; done: 1 = 1 sent; done: 1 = 1 sent"),
        (&["grace: 30m", all[0]], "12:45", "missed 4"),
        (&["missed: skip"], "12:00:50", "missed 3; done: 1 = 1 sent"),
        (&["missed: skip"], "12:10", "missed 4"),
        (&["grace: 30m"], "03 12:10", "missed 27; done: 1 = 1 sent"),
    ];
    for (lines, back, story) in table {
        let mut world = World::new().await;
        world.rule("water", &[&[HOURLY], *lines].concat()).await;
        world.start().await;
        world.grant("ann", HABIT, 9).await;
        world.at("08:00").await;
        world.expect("water", "done: 1 = 1 sent").await;
        world.at("08:30").await;
        world.stop().await;
        world.clock.advance((super::instant(back) - world.clock.now()).to_std().unwrap());
        world.start().await;
        world.expect("water", &format!("done: 1 = 1 sent; {story}")).await;
        // Once judged is judged: neither a restart nor a reload finds it again.
        world.restart().await;
        world.rule("other", &[EIGHT]).await;
        world.calm().await;
        assert_eq!(world.story("water"), format!("done: 1 = 1 sent; {story}"), "{lines:?} {back}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_begins_when_it_is_first_seen() {
    let mut world = World::new().await;
    world.rule("early", &[r#"when: { at: "2026-03-02 06:50" }"#]).await;
    world.start().await;
    world.grant("ann", HABIT, 3).await;
    world.at("08:10").await;
    world.rule("late", &[EIGHT]).await;
    world.at("09:00").await;
    assert_eq!((world.story("early"), world.story("late")), (String::new(), String::new()));
    world.at("03 08:00").await;
    world.expect("late", "done: 1 = 1 sent").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_files_again_change_nothing() {
    // T44.
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.at("07:30").await;
    let written = world.power().written();
    world.rule("water", &[EIGHT]).await;
    assert_eq!(world.power().written(), written);
    world.at("08:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    let written = world.power().written();
    world.rule("water", &[EIGHT]).await;
    world.at("08:30").await;
    assert_eq!((world.power().written(), world.story("water").as_str()), (written, "done: 1 = 1 sent"));
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_time_counts_from_the_change() {
    // T41, T42.
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 5).await;
    world.at("07:30").await;
    world.rule("water", &[r#"when: { cron: "15 7 * * *" }"#]).await;
    world.at("08:30").await;
    assert_eq!(world.story("water"), "", "neither the time it no longer has nor one that had passed");
    world.rule("water", &[r#"when: { cron: "0 9 * * *" }"#]).await;
    world.at("09:00").await;
    world.expect("water", "done: 1 = 1 sent").await;
    // Away and back: what was due meanwhile is not made up for.
    world.no_rule("water").await;
    world.at("03 09:10").await;
    world.rule("water", &[r#"when: { cron: "0 9 * * *" }"#, "grace: 1h"]).await;
    world.at("03 10:00").await;
    assert_eq!(world.story("water"), "done: 1 = 1 sent");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_calendar_counts_for_rules_that_are_as_they_were() {
    let mut world = World::new().await;
    let calendars = world.folder.path().join("schedules/calendars");
    fs::create_dir_all(&calendars).unwrap();
    let duty = |text: &str| fs::write(calendars.join("duty.yaml"), text).unwrap();
    let on_duty = [r#"when: { cron: "0 8 * * *", only: [duty] }"#];
    duty("weekly: MON-FRI\n");
    world.rule("water", &on_duty).await;
    world.start().await;
    world.grant("ann", HABIT, 9).await;
    let mut sent = Vec::new();
    for (day, on) in [(2, 1), (3, 0), (4, 1), (5, 1), (6, 1), (7, 1), (8, 0), (9, 1)] {
        if day == 3 {
            // This Tuesday is free, and made up for on Saturday.
            world.at("02 20:00").await;
            duty("weekly: MON-FRI\nremove: [2026-03-03]\nadd: [2026-03-07]\n");
            world.rule("water", &on_duty).await;
        }
        world.at(&format!("{day:02} 08:00")).await;
        sent.extend(vec!["done: 1 = 1 sent"; on]);
        world.expect("water", &sent.join("; ")).await;
    }
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_text_is_of_the_next_occurrence() {
    // T43.
    let mut world = World::with_limits("in_flight: 1").await;
    let says = |text: &str| format!("data: {{ thing1: {text} }}");
    world.rule("water", &[EIGHT, &says("old")]).await;
    world.start().await;
    world.crowd(5).await;
    world.faults(vec![slow(1)]);
    world.at("08:00").await;
    world.until("the first", |world| world.platform.totals().begun == 1).await;
    world.rule("water", &[EIGHT, &says("new")]).await;
    world.restart().await;
    world.expect_within(30, "water", "done: 5 = 3 sent, 2 in_doubt").await;
    world.grant("p000", HABIT, 1).await;
    world.faults(Vec::new());
    world.at("03 08:00").await;
    world.expect("water", "done: 5 = 3 sent, 2 in_doubt; done: 5 = 1 sent, 4 no_consent").await;
    let texts: Vec<String> = world.platform.sends().iter().map(|send| send.data["thing1"].clone()).collect();
    assert_eq!(texts, ["old", "old", "old", "old", "new"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_or_disabling_a_rule_cancels_what_is_not_on_its_way() {
    // T45.
    for disabled in [true, false] {
        let mut world = World::with_limits("in_flight: 1").await;
        world.rule("water", &[EIGHT]).await;
        world.start().await;
        world.crowd(10).await;
        world.faults(vec![slow(5)]);
        world.at("08:00").await;
        world.until("the first", |world| world.platform.totals().begun == 1).await;
        if disabled {
            world.rule("water", &[EIGHT, "enabled: false"]).await;
        } else {
            world.no_rule("water").await;
        }
        world.expect_within(20, "water", "cancelled: 10 = 1 sent, 9 cancelled").await;
        assert_eq!(world.balance("p009", HABIT), "1 granted = 1 available");
        world.rule("water", &[EIGHT]).await;
        world.faults(Vec::new());
        world.at("09:00").await;
        world.restart().await;
        world.calm().await;
        assert_eq!(world.story("water"), "cancelled: 10 = 1 sent, 9 cancelled");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_a_policy_wants_is_sent_however_many_that_are() {
    let mut world = World::new().await;
    let minutely = r#"when: { cron: "* * * * *" }"#;
    world.rule("water", &[minutely, "grace: 2h", "missed: all", "max: 60"]).await;
    world.start().await;
    world.grant("ann", HABIT, 70).await;
    world.stop().await;
    world.clock.advance(Duration::from_mins(70));
    world.start().await;
    let story = format!("missed 10; {}", ["done: 1 = 1 sent"; 60].join("; "));
    world.expect("water", &story).await;
    assert_eq!(world.cards("ann"), 60);
    world.ends().await;
}

#[tokio::test]
async fn a_time_that_came_before_the_edit_was_seen_is_not_lost() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.grant("ann", HABIT, 2).await;
    world.at("07:59:59.5").await;
    // On one thread the scheduler cannot look before eight has struck.
    world.rule("water", &[r#"when: { cron: "0 8,9 * * *" }"#]).await;
    world.clock.advance(Duration::from_secs(1));
    world.expect("water", "done: 1 = 1 sent").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_when_its_rule_goes_is_cancelled_at_once() {
    let code = |code| Fault::new(Api::Send, What::Errcode { code, msg: String::new() });
    // What the platform does to those on their way, and when the rule goes: before or after its answer.
    let late = Fault::new(Api::Send, What::Delay(Duration::from_secs(2)));
    let table = [(vec![code(45009)], false), (vec![late, code(45009)], true)];
    for (faults, before) in table {
        let mut world = World::with_limits("in_flight: 2").await;
        world.rule("water", &[EIGHT, "grace: 20h"]).await;
        world.start().await;
        world.crowd(5).await;
        world.faults(faults);
        world.at("08:00").await;
        world.until("two on their way", |world| world.platform.totals().begun >= 2).await;
        if !before {
            world.until("a pause", |world| world.paused().is_some()).await;
        }
        world.no_rule("water").await;
        world.calm().await;
        world.clock.advance(Duration::from_secs(2));
        world.expect_within(5, "water", "cancelled: 5 = 5 cancelled").await;
        for n in 0..5 {
            assert_eq!(world.balance(&format!("p00{n}"), HABIT), "1 granted = 1 available");
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_goes_while_there_is_no_access_token_is_cancelled_at_once() {
    let mut world = World::with_limits("in_flight: 2").await;
    world.rule("water", &[EIGHT, "grace: 20h"]).await;
    world.start().await;
    world.crowd(5).await;
    world.platform.refuse_tokens(APPID, Acceptance::Refused);
    world.at("08:00").await;
    world.until("a pause", |world| world.paused().is_some()).await;
    world.no_rule("water").await;
    world.expect_within(10, "water", "cancelled: 5 = 5 cancelled").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_went_during_a_downtime_sends_nothing_more() {
    for _ in 0..3 {
        let mut world = World::with_limits("in_flight: 1").await;
        world.rule("water", &[EIGHT, "grace: 5h"]).await;
        for n in 0..30 {
            world.rule(&format!("other-{n:02}"), &[r#"when: { cron: "0 23 * * *" }"#]).await;
        }
        world.start().await;
        world.crowd(6).await;
        world.faults(vec![slow(5)]);
        world.at("08:00").await;
        world.until("the first", |world| world.platform.totals().begun == 1).await;
        world.kill().await;
        world.no_rule("water").await;
        world.faults(Vec::new());
        world.start().await;
        world.until("an end", |world| world.story("water").starts_with("cancelled")).await;
        world.expect("water", "cancelled: 6 = 4 cancelled, 2 in_doubt").await;
        world.ends().await;
    }
}

/// Each of them is asked for by its own time, and answered from the one record that they share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_times_missed_together_are_explained_one_by_one_also_when_their_rule_is_gone() {
    let mut world = World::new().await;
    world.rule("water", &[r#"when: { cron: "*/30 8 * * *" }"#]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world.kill().await;
    world.at("10:00").await;
    world.start().await;
    world.expect("water", "missed 2").await;
    for is_gone in [false, true] {
        if is_gone {
            world.no_rule("water").await;
        }
        for asked in ["2026-03-02T08:00:00+08:00", "2026-03-02T08:05:00+08:00", "2026-03-02T09:59:00+08:00"] {
            let told = world.explains("water", "ann", asked).await;
            assert_eq!(text(&told, "outcome"), "missed", "{told:#}");
            let due = if asked.contains("T08") { "08:00" } else { "08:30" };
            assert!(told["steps"].to_string().contains(due), "{told:#}");
        }
    }
    world.ends().await;
}
