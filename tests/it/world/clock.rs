//! A wall clock that is stepped, that slept, or that was never set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tixing::admin::control::{ClockState, Control as _};
use tixing::admin::request::Request;
use tixing::clock::Clock;

use super::{EIGHT, HABIT, World, instant};

const ONCE: &str = "done: 1 = 1 sent";
/// Due three times an hour.
const OFTEN: &str = r#"when: { cron: "*/20 * * * *" }"#;

impl World {
    /// A world with a daily rule and ann's consents, at `time`.
    async fn of_ann(lines: &[&str], time: &str) -> Self {
        let mut world = Self::new().await;
        world.rule("water", lines).await;
        world.start().await;
        world.grant("ann", HABIT, 20).await;
        world.at(time).await;
        world
    }

    /// Gives the world another clock, before its daemon first starts.
    async fn set_clock(&mut self, clock: Clock) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
        self.clock = clock;
        self.platform_back().await;
    }

    /// Sets the wall clock, or lets the machine sleep; it is noticed a second later.
    async fn step(&self, by: TimeDelta) {
        self.calm().await;
        self.clock.step(by);
        self.pass(2).await;
    }

    /// Whether reminders are sent, and whether the clock is behind, as `status` says it.
    fn clock_state(&self) -> (bool, ClockState) {
        let parts = self.running.as_ref().unwrap().shared.status();
        assert_eq!(parts.needs_attention.iter().any(|why| why.contains("wall clock")), !parts.ready);
        (parts.ready, parts.clock)
    }

    /// Lets time go by until then, a minute at a time.
    async fn reach(&self, time: &str) {
        while self.clock.now() + TimeDelta::minutes(1) < instant(time) {
            self.clock.advance(Duration::from_mins(1));
            self.calm().await;
        }
        self.at(time).await;
    }
}

const WELL: (bool, ClockState) = (true, ClockState::Ok);
const BEHIND: (bool, ClockState) = (false, ClockState::Behind);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_back_sends_nothing_until_it_has_passed_again() {
    // T48.
    let mut world = World::of_ann(&[OFTEN, "grace: 10m"], "07:00").await;
    world.reach("08:00").await;
    world.expect("water", &[ONCE; 3].join("; ")).await;
    world.step(TimeDelta::hours(-1)).await;
    assert_eq!(world.clock_state(), BEHIND);
    world.grant("bob", HABIT, 1).await;
    world.reach("07:45").await;
    world.restart().await;
    world.reach("07:59:58").await;
    assert_eq!((world.clock_state(), world.story("water")), (BEHIND, [ONCE; 3].join("; ")));
    assert_eq!(world.balance("bob", HABIT), "1 granted = 1 available", "consents are taken");
    world.reach("08:01").await;
    assert_eq!((world.clock_state(), world.story("water")), (WELL, [ONCE; 3].join("; ")));
    world.reach("08:20").await;
    world.expect("water", &format!("{}; done: 2 = 2 sent", [ONCE; 3].join("; "))).await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_s_word_ends_the_wait_and_repeats_nothing() {
    let mut world = World::of_ann(&[EIGHT], "08:00").await;
    world.expect("water", ONCE).await;
    world.step(TimeDelta::hours(-2)).await;
    world.rule("seven", &[r#"when: { cron: "0 7 * * *" }"#]).await;
    assert_eq!(world.clock_state(), BEHIND);
    world.asks(Request::AcceptClock).await;
    world.pass(1).await;
    assert_eq!(world.clock_state(), WELL);
    world.restart().await;
    world.at("06:59:59").await;
    assert_eq!((world.clock_state(), world.story("seven")), (WELL, String::new()));
    world.at("07:00").await;
    world.expect("seven", ONCE).await;
    world.reach("08:05").await;
    assert_eq!(world.story("water"), ONCE, "eight o'clock was");
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_step_ahead_or_a_sleep_passed_over_follows_grace() {
    // T49, T51; a jump of seven hours is believed two minutes later, or never if it is taken back.
    let table: [(&[&str], TimeDelta, &str); 4] = [
        (&[OFTEN, "grace: 15m"], TimeDelta::hours(1), "missed 2; done: 1 = 1 sent"),
        (&[OFTEN, "grace: 5m"], TimeDelta::hours(1), "missed 3"),
        (&[OFTEN, "grace: 30m"], TimeDelta::minutes(40), "missed 1; done: 1 = 1 sent"),
        (&[OFTEN, "grace: 1h", "missed: all"], TimeDelta::minutes(40), "done: 1 = 1 sent; done: 1 = 1 sent"),
    ];
    for (lines, by, story) in table {
        let world = World::of_ann(lines, "07:10").await;
        world.step(by).await;
        world.expect("water", story).await;
        assert_eq!(world.clock_state(), WELL);
        world.ends().await;
    }
}

// On one thread: a loop that looks again without a pause while it may open nothing would hold up everything.
#[tokio::test]
async fn a_jump_of_hours_is_held_for_two_minutes_and_may_be_taken_back() {
    for taken_back in [true, false] {
        let mut world = World::with_limits("in_flight: 2").await;
        world.rule("water", &[EIGHT, "grace: 10m"]).await;
        world.start().await;
        world.crowd(2).await;
        world.at("07:59").await;
        world.step(TimeDelta::hours(400 * 24 + 4)).await;
        assert_eq!(world.clock_state(), BEHIND);
        world.pass(30).await;
        if taken_back {
            world.step(TimeDelta::hours(-400 * 24 - 4)).await;
            assert_eq!(world.clock_state(), WELL);
            world.reach("08:00").await;
            world.expect("water", "done: 2 = 2 sent").await;
        } else {
            assert_eq!(world.story("water"), "");
            world.pass(100).await;
            assert_eq!(world.clock_state(), WELL);
            world.expect("water", "missed 401").await;
        }
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_steps_in_a_burst_lose_and_double_nothing() {
    // T50.
    let mut world = World::with_limits("in_flight: 4").await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.crowd(120).await;
    world.at("07:59:59").await;
    let due = instant("08:00");
    for by in [-2, 2, 2, -2, -2, 2, 1, -1, 2, -2] {
        world.clock.step(TimeDelta::seconds(by));
        world.clock.advance(Duration::from_millis(700));
        assert!(world.clock.now() >= due || world.platform.totals().begun == 0, "early");
        world.calm().await;
    }
    world.expect_within(20, "water", "done: 120 = 120 sent").await;
    assert_eq!(world.clock_state(), WELL);
    for n in 0..120 {
        assert_eq!(world.cards(&format!("p{n:03}")), 1);
    }
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_without_power_follow_the_policy() {
    // T46, T47 with a grace of six hours.
    let hourly = r#"when: { cron: "0 * * * *" }"#;
    let table: [(&[&str], &str, &str); 3] = [
        (&[EIGHT, "grace: 30m"], "06 08:10", "missed 3; done: 1 = 1 sent"),
        (&[EIGHT, "grace: 30m"], "06 10:00", "missed 4"),
        (
            &[hourly, "grace: 6h", "missed: all", "max: 3"],
            "02 13:10",
            "missed 2; done: 1 = 1 sent; done: 1 = 1 sent; done: 1 = 1 sent",
        ),
    ];
    for (lines, back, story) in table {
        let mut world = World::of_ann(lines, "08:00").await;
        world.expect("water", ONCE).await;
        world.stop().await;
        world.clock.step(instant(back) - world.clock.now());
        world.start().await;
        world.expect("water", &format!("{ONCE}; {story}")).await;
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_never_set_sends_nothing_until_it_is() {
    // T60: a rule and what it has left from an earlier run, or none; the clock is set, or an operator says it is right.
    for (ran_before, accepted) in [(false, false), (true, false), (false, true)] {
        let mut world = World::new().await;
        let build = "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let start = if ran_before { instant("07:00") } else { DateTime::UNIX_EPOCH };
        world.set_clock(Clock::by_hand_of_a_build(start, build)).await;
        world.rule("water", &[r#"when: { cron: "* * * * *" }"#, "grace: 60s"]).await;
        let mut story = String::new();
        if ran_before {
            world.start().await;
            world.grant("ann", HABIT, 9).await;
            world.at("07:01").await;
            story = format!("{ONCE}; ");
            world.expect("water", ONCE).await;
            world.stop().await;
            world.clock.step(DateTime::UNIX_EPOCH - world.clock.now());
        }
        world.start().await;
        if !ran_before {
            world.grant("ann", HABIT, 9).await;
        }
        assert_eq!(world.clock_state(), BEHIND);
        // Files are taken over, also where a rule goes.
        world.rule("other", &[EIGHT]).await;
        world.no_rule("other").await;
        world.pass(200).await;
        let sent = world.cards("ann");
        assert_eq!((world.clock_state(), sent), (BEHIND, usize::from(ran_before)));
        if accepted {
            world.asks(Request::AcceptClock).await;
        } else {
            world.clock.step(instant("07:30:30") - world.clock.now());
        }
        world.pass(2).await;
        assert_eq!(world.clock_state(), WELL);
        if ran_before {
            story += "missed 28; ";
            world.expect("water", &format!("{story}{ONCE}")).await;
        } else {
            // A rule that was never seen begins now.
            assert_eq!(world.story("water"), "");
        }
        world.pass(60).await;
        world.until("the next", |world| world.cards("ann") > sent).await;
        world.ends().await;
    }
}
