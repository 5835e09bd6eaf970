//! Reminders of appointments: put, moved, cancelled and put again at every step, and each sent once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tixing::admin::request::Request;
use tixing::domain::appointment::Appointment;
use tixing::domain::id::{AppName, AppointmentId, Kind, ReportId};
use tixing::flow::intake::appointments::Asking;
use tixing::flow::intake::{ReportError, ReportIn, Said, Speaker};
use tixing::sandbox::{Answer, Api, Fault, What};

use super::{EIGHT, HABIT, World, beijing, instant, openid};

static N_REQUESTS: AtomicU64 = AtomicU64::new(0);

/// An hour before each visit.
pub(super) const HOUR: &str = "when: { before: 1h, of: visit }";
pub(super) const SHOWN: &str =
    "data: { thing1: \"{{ appointment.at | local('%d %H:%M') }} {{ appointment.doctor }}\" }";

/// A visit of these people.
pub(super) fn a_visit(who: &[&str], at: DateTime<Utc>) -> Appointment {
    let fields = [(
        tixing::domain::id::FieldName::parse("doctor").unwrap(),
        tixing::domain::recipient::FieldValue::Text("Li".to_owned()),
    )];
    Appointment { recipients: who.iter().map(|name| openid(name)).collect(), at, fields: fields.into() }
}

impl World {
    /// What somebody sees ahead of his visits, and how many templates he is asked for.
    async fn ahead(&self, name: &str) -> (Vec<String>, usize) {
        let (intake, app) = (&self.running.as_ref().unwrap().intake, AppName::parse("main").unwrap());
        let upcoming = intake.me(&app, &openid(name)).await.unwrap().upcoming;
        let rows = upcoming.iter().map(|row| {
            let about = row.about.as_ref().expect("of a visit");
            format!("{} of {} at {}", row.rule, about.id, beijing(row.due_at).format("%d %H:%M"))
        });
        (rows.collect(), intake.ask_for(&app, &openid(name)).await.unwrap().len())
    }

    /// How many templates somebody is asked for.
    async fn asked_for(&self, name: &str) -> usize {
        let intake = &self.running.as_ref().unwrap().intake;
        intake.ask_for(&AppName::parse("main").unwrap(), &openid(name)).await.unwrap().len()
    }

    /// Puts visit `id` of these people at this time, as a backend does.
    pub(super) async fn visit(&self, id: &str, who: &[&str], time: &str) {
        self.put(id, who, instant(time)).await;
    }

    async fn put(&self, id: &str, who: &[&str], at: DateTime<Utc>) {
        let to = a_visit(who, at);
        self.change(id, Some(to)).await;
    }

    /// Deletes visit `id`.
    pub(super) async fn no_visit(&self, id: &str) {
        self.change(id, None).await;
    }

    async fn change(&self, id: &str, to: Option<Appointment>) {
        let name = (Kind::parse("visit").unwrap(), AppointmentId::parse(id).unwrap());
        // Each request has an id of its own, as webhooks have.
        let request = format!("w-{}", N_REQUESTS.fetch_add(1, Ordering::Relaxed));
        let asking = Asking { id: &request, at: self.clock.now() };
        let intake = &self.running.as_ref().unwrap().intake;
        let app = AppName::parse("main").unwrap();
        intake.change_appointment(&app, name, to, asking).await.unwrap();
    }

    pub(super) async fn of_visits(lines: &[&str]) -> Self {
        let mut world = Self::new().await;
        world.rule("visit", lines).await;
        world.start().await;
        for name in ["ann", "bob"] {
            world.grant(name, HABIT, 5).await;
        }
        world
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let cards = self.platform.cards(openid(name).as_str());
        cards.iter().map(|card| card.fields.iter().map(|field| field.2.clone()).collect()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_comes_before_its_visit_to_all_it_belongs_to() {
    let world = World::of_visits(&[HOUR, SHOWN]).await;
    world.visit("a", &["ann", "bob"], "09:00").await;
    world.visit("b", &["ann"], "03 09:00").await;
    world.at("07:59:59.999").await;
    assert_eq!(world.story("visit"), "");
    world.at("08:00").await;
    world.expect("visit", "done: 2 = 2 sent").await;
    assert_eq!(world.texts("ann"), ["02 09:00 Li"]);
    world.at("03 08:00").await;
    world.expect("visit", "done: 2 = 2 sent; done: 1 = 1 sent").await;
    // A nightly job puts all of them again: nothing is opened, nothing is sent.
    world.visit("a", &["ann", "bob"], "09:00").await;
    world.visit("b", &["ann"], "03 09:00").await;
    world.pass(3).await;
    assert_eq!(world.story("visit"), "done: 2 = 2 sent; done: 1 = 1 sent");
    world.ends().await;
}

/// What somebody tells for visit `a`.
fn tells(
    world: &World,
    who: &'static str,
    id: &str,
    status: &str,
) -> impl Future<Output = Result<bool, ReportError>> + use<> {
    if status == "accept" {
        world.tap(who, HABIT, Answer::Accept);
    }
    let intake = world.running.as_ref().unwrap().intake.clone();
    let report = ReportIn {
        id: ReportId::parse(id).unwrap(),
        said: Said::Results([(HABIT.to_owned(), status.to_owned())].into()),
        age_s: 0,
        bound_to: Some((Kind::parse("visit").unwrap(), AppointmentId::parse("a").unwrap())),
        unionid: None,
        tags: Vec::new(),
        fields: BTreeMap::new(),
        time_zone: None,
    };
    let (intake, now) = (intake.clone(), world.clock.now());
    async move {
        let app = AppName::parse("main").unwrap();
        let told = intake.report(&app, &openid(who), Speaker::Session, report, now).await;
        told.map(|told| told.duplicate)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_was_booked_comes_again_when_its_visit_is_gone() {
    let world = World::of_visits(&[HOUR, SHOWN]).await;
    world.visit("a", &["ann"], "09:00").await;
    let tells = |id: &str, status: &str| tells(&world, "ann", id, status);
    assert_eq!(tells("tap-0001", "accept").await, Ok(false));
    world.no_visit("a").await;
    assert_eq!(tells("tap-0001", "accept").await, Ok(true), "its answer was lost, not the tap");
    assert_eq!(tells("tap-0001", "reject").await, Err(ReportError::Conflict));
    assert_eq!(tells("tap-0002", "accept").await, Err(ReportError::UnknownAppointment));
    world.stop_here().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_for_a_visit_waits_for_it() {
    let mut world = World::new().await;
    world.rule("visit", &[HOUR, SHOWN]).await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    world.visit("a", &["cat", "dan"], "10:00").await;
    assert_eq!(tells(&world, "cat", "tap-0001", "accept").await, Ok(false));
    world.grant("dan", HABIT, 1).await;
    let next = world.asks(Request::Next { rule: None, span_s: 86_000, at: None }).await;
    let foretold: Vec<_> = next
        .iter()
        .map(|row| {
            (
                row["rule"].as_str().unwrap(),
                row["would_send"].as_u64(),
                row["would_skip"]["no_consent"].as_u64(),
            )
        })
        .collect();
    assert_eq!(foretold, [("water", Some(1), Some(1)), ("visit", Some(1), Some(1))]);
    let told = world.explains("water", "cat", "2026-03-02T00:00:00Z").await;
    assert_eq!((&told["outcome"], &told["reason"]), (&"would_skip".into(), &"no_consent".into()), "{told}");
    assert!(told["steps"].to_string().contains("1 were given for an appointment that is to come"), "{told}");
    assert!(told["why"].as_str().unwrap().contains("waits for it"), "{told}");
    let (sent, _) = world.by_hand("cat", true).await;
    assert_eq!((&sent["reason"], &sent["available"]), (&"no_consent".into(), &1.into()), "{sent}");
    assert!(sent["why"].as_str().unwrap().contains("given for an appointment to come"), "{sent}");
    world.at("08:00").await;
    world.expect("water", "done: 2 = 1 sent, 1 no_consent").await;
    world.at("09:00").await;
    world.expect("visit", "done: 2 = 1 sent, 1 no_consent").await;
    assert_eq!((world.texts("cat").len(), world.texts("dan").len()), (1, 1));
    // Of a visit that is over it is anybody's.
    assert_eq!(tells(&world, "cat", "tap-0002", "accept").await, Ok(false));
    world.at("03 08:00").await;
    world.expect("water", "done: 2 = 1 sent, 1 no_consent; done: 2 = 1 sent, 1 no_consent").await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_visit_covers_no_other_due_time() {
    let mut world = World::new().await;
    world.rule("visit", &[HOUR, SHOWN]).await;
    world.rule("once", &["when: { at: [\"2026-03-03 08:00\"] }"]).await;
    world.start().await;
    world.put("a", &["cat"], world.clock.now() + chrono::TimeDelta::days(60)).await;
    assert_eq!(world.asked_for("cat").await, 1);
    assert_eq!(tells(&world, "cat", "tap-0001", "accept").await, Ok(false));
    assert_eq!(world.asked_for("cat").await, 1, "that is for the visit, which is far");
    world.grant("cat", HABIT, 1).await;
    assert_eq!(world.asked_for("cat").await, 0);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_visits_ahead_sees_them_and_is_asked_for_consents_that_he_lacks() {
    let mut world = World::new().await;
    world.rule("visit", &[HOUR]).await;
    world.rule("after", &["when: { after: 1d, of: visit }", "to: { tags: [asked] }"]).await;
    world.start().await;
    world.grant("ann", HABIT, 1).await;
    world.visit("a", &["ann"], "09:00").await;
    assert_eq!(world.ahead("ann").await, (vec!["visit of a at 02 08:00".to_owned()], 0), "it is paid for");
    world.visit("b", &["ann", "bob"], "03 09:00").await;
    world.put("far", &["ann"], instant("09:00") + chrono::TimeDelta::days(31)).await;
    let both = ["visit of a at 02 08:00", "visit of b at 03 08:00"].map(str::to_owned).to_vec();
    assert_eq!(world.ahead("ann").await, (both.clone(), 1));
    assert_eq!(world.ahead("bob").await, (both[1..].to_vec(), 1));
    // A report is answered by the same count.
    assert_eq!(world.report("bob", HABIT, "reject").await.unwrap().ask.len(), 1);
    assert_eq!(world.report("bob", HABIT, "accept").await.unwrap().ask.len(), 0);
    // What is sent is not ahead any more, and what is another's or nobody's is not his.
    world.at("08:00").await;
    world.expect("visit", "done: 1 = 1 sent").await;
    assert_eq!(world.ahead("ann").await, (both[1..].to_vec(), 1));
    world.visit("b", &["bob"], "03 10:00").await;
    assert_eq!(world.ahead("ann").await, (vec![], 0));
    assert_eq!(world.ahead("bob").await, (vec!["visit of b at 03 09:00".to_owned()], 0));
    world.no_visit("b").await;
    assert_eq!(world.ahead("bob").await, (vec![], 0));
    // Whom a rule does not reach sees nothing of it.
    world.person("cleo", |profile| super::tag(profile, "asked")).await;
    world.person("mute", |profile| profile.muted = true).await;
    world.visit("c", &["cleo", "mute"], "03 10:00").await;
    let cleo = ["visit of c at 03 09:00", "after of c at 04 10:00"].map(str::to_owned).to_vec();
    assert_eq!(world.ahead("cleo").await, (cleo, 1));
    assert_eq!(world.ahead("mute").await, (vec![], 0));
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_too_late_is_for_the_rule_to_say() {
    for (lines, expected, cards) in [(&[HOUR][..], "", 0), (&[HOUR, "if_late: send"], "done: 1 = 1 sent", 1)]
    {
        let world = World::of_visits(lines).await;
        world.at("08:30").await;
        world.visit("a", &["ann"], "09:00").await;
        world.pass(2).await;
        world.expect("visit", expected).await;
        assert_eq!(world.cards("ann"), cards, "{lines:?}");
        // One whose time is over is late for good.
        world.visit("b", &["bob"], "08:00").await;
        world.pass(2).await;
        assert_eq!(world.cards("bob"), 0, "{lines:?}");
        // Somebody more: he alone is late.
        world.visit("a", &["ann", "bob"], "09:00").await;
        world.pass(2).await;
        assert_eq!((world.cards("ann"), world.cards("bob")), (cards, cards), "{lines:?}");
        world.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_reminder_never_comes_and_the_right_one_comes_once() {
    let send = &[HOUR, SHOWN, "if_late: send"][..];
    let world = World::of_visits(send).await;
    world.visit("moved", &["ann"], "09:00").await;
    world.visit("gone", &["bob"], "09:00").await;
    world.visit("back", &["bob"], "10:00").await;
    world.at("07:59").await;
    world.visit("moved", &["ann"], "11:00").await;
    world.no_visit("gone").await;
    world.visit("back", &["bob"], "12:00").await;
    world.visit("back", &["bob"], "10:00").await;
    world.at("08:30").await;
    assert_eq!((world.cards("ann"), world.cards("bob")), (0, 0));
    world.at("09:00").await;
    world.expect("visit", "done: 1 = 1 sent").await;
    // Away and back after it was sent, and deleted and put again: it was sent.
    world.visit("back", &["bob"], "12:00").await;
    world.visit("back", &["bob"], "10:00").await;
    world.no_visit("back").await;
    world.visit("back", &["bob"], "10:00").await;
    world.at("10:00").await;
    world.expect("visit", "done: 1 = 1 sent; done: 1 = 1 sent").await;
    world.at("12:00").await;
    assert_eq!(world.texts("ann"), ["02 11:00 Li"]);
    assert_eq!(world.texts("bob"), ["02 10:00 Li"]);
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_meets_deliveries_in_every_state() {
    let answers = |code| Fault::new(Api::Send, What::Errcode { code, msg: "as ordered".to_owned() });
    // Waiting: it is not tried again, and its consent is free.
    let world = World::of_visits(&[HOUR]).await;
    world.faults(vec![answers(45011).at_most(1)]);
    world.visit("a", &["ann"], "09:00").await;
    world.at("08:00").await;
    world.expect("visit", "open: 1 = 1 waiting").await;
    world.no_visit("a").await;
    world.pass(2).await;
    world.expect("visit", "cancelled: 1 = 1 cancelled").await;
    assert_eq!(
        (world.balance("ann", HABIT).as_str(), world.sends_to("ann").len()),
        ("5 granted = 5 available", 1)
    );
    world.at("08:59").await;
    assert_eq!(world.sends_to("ann").len(), 1);
    world.ends().await;
    // Attempting: it ends by itself, once.
    let world = World::of_visits(&[HOUR, "if_late: send"]).await;
    world.faults(vec![Fault::new(Api::Send, What::Delay(Duration::from_secs(5))).after().at_most(1)]);
    world.visit("a", &["ann"], "09:00").await;
    world.at("08:00").await;
    world.until("a request", |world| world.sends_to("ann").len() == 1).await;
    world.visit("a", &["ann"], "10:00").await;
    world.visit("a", &["ann"], "09:00").await;
    world.pass(20).await;
    assert_eq!(world.cards("ann"), 1);
    world.ends().await;
    // Reserved, while the app is paused: nothing leaves for the old time, and the new one comes.
    let mut world = World::of_visits(&[HOUR]).await;
    world.platform_gone().await;
    world.visit("a", &["ann"], "09:00").await;
    world.at("08:00").await;
    world.visit("a", &["ann"], "10:00").await;
    world.platform_back().await;
    world.pass(70).await;
    assert_eq!(world.cards("ann"), 0);
    world.at("09:00").await;
    world.until("the new one", |world| world.cards("ann") == 1).await;
    world.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_due_while_the_daemon_was_down_is_sent_within_grace() {
    let mut world = World::of_visits(&[HOUR, "grace: 20m"]).await;
    world.visit("near", &["ann"], "09:30").await;
    world.visit("far", &["bob"], "09:00").await;
    world.at("07:30").await;
    world.stop().await;
    world.clock.advance(Duration::from_mins(75));
    world.start().await;
    world.expect("visit", "missed 1; done: 1 = 1 sent").await;
    assert_eq!((world.cards("ann"), world.cards("bob")), (1, 0));
    world.ends().await;
}
