//! One person in two mini programs of one daemon: known by what WeChat tells at a login, muted and erased in both.

use std::collections::BTreeMap;
use std::fs;

use tixing::admin::answer::Exit;
use tixing::admin::request::Request;
use tixing::domain::appointment::Appointment;
use tixing::domain::id::{AppId, AppName, AppointmentId, Kind, Ref, ReportId, TemplateId, UnionId};
use tixing::domain::recipient::Profile;
use tixing::flow::intake::appointments::Asking;
use tixing::flow::intake::recipients::RecipientError;
use tixing::flow::intake::{ReportIn, Said, Speaker};
use tixing::sandbox;
use tixing::store::{Reach, Store as _};
use tixing::wechat::push::{Answered, Event, What};

use super::{APPID, HABIT, SECRET, World, instant, openid};

const OTHER: &str = "wx00000000000000ff";
const UNIONID: &str = "uWorldANNANNANN";

fn name(text: &str) -> AppName {
    AppName::parse(text).unwrap()
}

fn unionid() -> UnionId {
    UnionId::parse(UNIONID).unwrap()
}

impl World {
    async fn of_two_apps() -> Self {
        let app = |appid: &str| sandbox::App { appid: appid.to_owned(), secret: SECRET.to_owned() };
        let template = sandbox::Template {
            id: HABIT.to_owned(),
            title: HABIT.to_owned(),
            kind: sandbox::TemplateKind::OneTime,
            fields: vec![sandbox::Field::new("thing1", "what")],
        };
        let options = sandbox::Options::new(vec![app(APPID), app(OTHER)], vec![template]);
        let mut world = Self::around(options, instant("07:00")).await;
        let app = |name: &str, appid: &str| {
            format!(
                "  {name}:\n    appid: {appid}\n    secret: {{ env: SECRET }}\n    base_url: {{base_url}}\n    templates:\n      \
                 habit: {{ id: {HABIT}, kind: one_time, fields: [thing1] }}\n"
            )
        };
        world.config = Some(format!(
            "apps:\n{}{}schedules: schedules\nstore: sled:store\nhook: {{ listen: \"127.0.0.1:0\" }}\n\
             admin: {{ socket: admin.sock }}\nreload: manual\n",
            app("main", APPID),
            app("other", OTHER)
        ));
        for (app, rule) in [("main", "water"), ("other", "walk")] {
            let text = format!(
                "app: {app}\ntimezone: Asia/Shanghai\nrules:\n  {rule}:\n    template: habit\n    when: {{ cron: \"0 8 * * *\" }}\n    \
                 data: {{ thing1: x }}\n"
            );
            fs::write(world.folder.path().join(format!("schedules/{app}.yaml")), text).unwrap();
        }
        world
    }

    /// A login in one of the apps, to which WeChat tells the unionid.
    async fn logs_in(&self, app: &str, appid: &str, who: &str) {
        let code = self.platform.login_code_of(appid, openid(who).as_str(), UNIONID);
        self.running.as_ref().unwrap().intake.login(&name(app), &code).await.unwrap();
    }

    async fn accepts(&mut self, app: &str, appid: &str, who: &str) {
        let tap = sandbox::Answer::Accept;
        self.platform.tap(appid, openid(who).as_str(), HABIT, tap, sandbox::Keep::Once).unwrap();
        self.is_reported(app, who, Speaker::Session).await;
    }

    /// A report that says no unionid.
    async fn is_reported(&mut self, app: &str, who: &str, speaker: Speaker) {
        self.n_reports += 1;
        let report = ReportIn {
            id: ReportId::parse(&format!("own-{}", self.n_reports)).unwrap(),
            said: Said::Results([(HABIT.to_owned(), "accept".to_owned())].into()),
            age_s: 0,
            bound_to: None,
            unionid: None,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            time_zone: None,
        };
        let (intake, now) = (&self.running.as_ref().unwrap().intake, self.clock.now());
        intake.report(&name(app), &openid(who), speaker, report, now).await.unwrap();
    }

    /// In which apps WeChat's person is who.
    fn is(&self) -> Vec<(AppId, String)> {
        let all = self.power().person(&unionid(), None, 9).unwrap();
        all.into_iter().map(|(app, openid)| (app, openid.as_str().to_owned())).collect()
    }
}

/// Also who becomes a recipient by WeChat's word or a backend's is who his login said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_makes_the_record_of_somebody_who_has_logged_in_names_him() {
    let mut world = World::of_two_apps().await;
    let config = world.config.take().unwrap();
    world.config = Some(config.replace("    templates:", "    consents_from: events\n    push: { token: { env: TOKEN }, aes_key: { env: AES_KEY } }\n    templates:"));
    world.start().await;
    for (app, appid, who) in [("main", APPID, "ann"), ("other", OTHER, "ana")] {
        world.logs_in(app, appid, who).await;
    }
    let answers = vec![Answered { template: TemplateId::parse(HABIT).unwrap(), status: "accept".to_owned() }];
    world.pushes(world.clock.now(), &What::Asked { openid: openid("ann"), answers }).await;
    assert_eq!(world.is().len(), 1);
    let visit = Appointment {
        recipients: [openid("ana")].into(),
        at: world.clock.now() + chrono::TimeDelta::days(1),
        fields: BTreeMap::new(),
    };
    let named = (Kind::parse("visit").unwrap(), AppointmentId::parse("A1").unwrap());
    let asking = Asking { id: "m1", at: world.clock.now() };
    let intake = &world.running.as_ref().unwrap().intake;
    intake.change_appointment(&name("other"), named, Some(visit), asking).await.unwrap();
    assert_eq!(world.is().len(), 2);
    world.stop_here().await;
}

/// Who was erased by an operator is nobody's other self by a login from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_somebody_whom_an_operator_erases_are_forgotten() {
    for all_apps in [false, true] {
        let mut world = World::of_two_apps().await;
        world.start().await;
        for (app, appid, who) in [("main", APPID, "ann"), ("other", OTHER, "ana")] {
            world.logs_in(app, appid, who).await;
        }
        let answers =
            vec![Answered { template: TemplateId::parse(HABIT).unwrap(), status: "accept".to_owned() }];
        let told =
            Event { created_at: world.clock.now(), what: What::Asked { openid: openid("ana"), answers } };
        world.running.as_ref().unwrap().intake.event(&name("other"), told).await.unwrap();
        // He is a recipient of the first one by his backend, which knows his unionid.
        let profile = Profile { unionid: Some(unionid()), ..Profile::default() };
        let asking = Asking { id: "w1", at: world.clock.now() };
        let intake = &world.running.as_ref().unwrap().intake;
        intake.put_recipient(&name("main"), &openid("ann"), (profile, Reach::This), asking).await.unwrap();
        let who = openid("ann").as_str().to_owned();
        let erase = Request::PeopleErase { app: None, who, all_apps, reveal: false };
        assert_eq!(world.asks(erase).await[0]["state"], "erased");
        world.clock.advance(std::time::Duration::from_secs(1));
        world.is_reported("main", "ann", Speaker::Backend).await;
        assert_eq!(world.is(), [], "{all_apps}");
        world.is_reported("other", "ana", Speaker::Backend).await;
        assert_eq!(world.is().len(), usize::from(!all_apps), "{all_apps}: elsewhere as far as it reached");
        world.at("03 07:00:30").await;
        let told = world.asks(Request::Status).await[0]["popups"].take();
        let n = told.as_array().unwrap().iter().map(|row| row["unreported"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(n, u64::from(!all_apps), "{all_apps}: what a popup told there too: {told}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_in_two_apps_is_muted_and_erased_in_both() {
    let mut world = World::of_two_apps().await;
    world.start().await;
    // A login makes no recipient; the first report does, and has the unionid that it cannot say.
    world.logs_in("main", APPID, "ann").await;
    assert_eq!(world.is(), []);
    world.accepts("main", APPID, "ann").await;
    assert_eq!(world.is().len(), 1);
    // What was only in memory goes with a restart, and the next login tells it again.
    world.logs_in("other", OTHER, "ana").await;
    world.restart().await;
    world.accepts("other", OTHER, "ana").await;
    assert_eq!(world.is().len(), 1);
    world.logs_in("other", OTHER, "ana").await;
    let of = |appid: &str, who: &str| (AppId::parse(appid).unwrap(), openid(who).as_str().to_owned());
    let mut both = world.is();
    both.sort();
    assert_eq!(both, [of(OTHER, "ana"), of(APPID, "ann")]);

    let put = async |world: &World, muted, id: &str| {
        let intake = &world.running.as_ref().unwrap().intake;
        let asking = Asking { id, at: world.clock.now() };
        let to = (Profile { muted, ..Profile::default() }, Reach::Everywhere);
        intake.put_recipient(&name("main"), &openid("ann"), to, asking).await
    };
    put(&world, true, "w1").await.unwrap();
    assert_eq!(put(&world, false, "w1").await, Err(RecipientError::Replayed));
    world.at("08:00:30").await;
    for rule in ["water", "walk"] {
        world.expect(rule, "done: 1 = 1 muted").await;
    }
    put(&world, false, "w2").await.unwrap();
    assert_eq!(world.is().len(), 2, "a unionid that is left out stays");
    world.at("03 08:00:30").await;
    for (rule, who) in [("water", "ann"), ("walk", "ana")] {
        world.expect(rule, "done: 1 = 1 muted; done: 1 = 1 sent").await;
        assert_eq!(world.cards(who), 1);
    }

    world.accepts("other", OTHER, "ana").await;
    let intake = &world.running.as_ref().unwrap().intake;
    assert_eq!(intake.unionids_of(&name("main"), &openid("ann")).await.unwrap(), [unionid()]);
    intake.erase(&name("main"), &openid("ann"), Reach::Proved(unionid()), None).await.unwrap();
    for (app, who) in [("main", "ann"), ("other", "ana")] {
        let intake = &world.running.as_ref().unwrap().intake;
        assert!(matches!(intake.recipient(&name(app), &openid(who)).await, Err(RecipientError::Unknown)));
    }
    assert_eq!(world.is(), []);
    world.restart().await;
    let checked = world.power().fsck().await.unwrap().value;
    assert_eq!(checked.violations, []);
    // He comes again as somebody new, and is known again by his next login.
    world.clock.advance(std::time::Duration::from_secs(1));
    world.accepts("other", OTHER, "ana").await;
    assert_eq!(world.is(), []);
    world.logs_in("other", OTHER, "ana").await;
    assert_eq!(world.is(), [of(OTHER, "ana")]);
    world.stop().await;
}

/// WeChat may tell the same twice and late: what a login told since is of who came back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_of_before_forgets_no_login_since() {
    let mut world = World::of_two_apps().await;
    world.start().await;
    world.logs_in("main", APPID, "ann").await;
    world.accepts("main", APPID, "ann").await;
    let closed_at = world.clock.now();
    let tells = async |world: &World| {
        let told = Event { created_at: closed_at, what: What::Left { openid: openid("ann") } };
        world.running.as_ref().unwrap().intake.event(&name("main"), told).await.unwrap();
    };
    tells(&world).await;
    assert_eq!(world.is(), []);
    world.pass(2).await;
    world.logs_in("main", APPID, "ann").await;
    tells(&world).await;
    world.accepts("main", APPID, "ann").await;
    assert_eq!(world.is().len(), 1, "the login told who he is");
    world.stop().await;
}

/// That nobody else goes by his number is only known where it could be looked up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_changed_while_an_app_cannot_say_whom_it_knows_by_his_number() {
    let mut world = World::of_two_apps().await;
    world.start().await;
    let intake = &world.running.as_ref().unwrap().intake;
    for (app, who) in [("main", "ann"), ("other", "bob")] {
        let profile = Profile { reference: Some(Ref::parse("4711").unwrap()), ..Profile::default() };
        let asking = Asking { id: who, at: world.clock.now() };
        intake.put_recipient(&name(app), &openid(who), (profile, Reach::This), asking).await.unwrap();
    }
    let asked = [
        Request::PeopleMute {
            app: None,
            who: "4711".to_owned(),
            muted: true,
            all_apps: false,
            reveal: false,
        },
        Request::PeopleErase { app: None, who: "4711".to_owned(), all_apps: false, reveal: false },
    ];
    for failing in [None, Some(OTHER), Some(APPID)] {
        world.power().fail_refs_of(failing.map(|app| AppId::parse(app).unwrap()));
        for request in asked.clone() {
            let (exit, message, rows) = world.asks_and_ends(request).await;
            let expected = if failing.is_some() { Exit::Store } else { Exit::Usage };
            assert_eq!((exit, rows), (expected, Vec::new()), "{failing:?}: {message:?}");
        }
    }
    world.stop().await;
}

/// Who logs in before he is in any books may get a record of his backend's, which says not who he is: WeChat has told it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_finds_records_that_were_made_without_the_name_that_a_login_told() {
    let backend = || Reach::Apps([APPID, OTHER].map(|app| AppId::parse(app).unwrap()).into());
    for (from, reach, set) in [
        ("ana", Reach::Proved(unionid()), None),
        ("ana", Reach::Proved(unionid()), Some("uANOTHER")),
        ("ana", backend(), None),
        ("ann", backend(), None),
    ] {
        let mut world = World::of_two_apps().await;
        world.start().await;
        world.logs_in("main", APPID, "ann").await;
        world.logs_in("other", OTHER, "ana").await;
        world.accepts("other", OTHER, "ana").await;
        let intake = &world.running.as_ref().unwrap().intake;
        let asking = |id| Asking { id, at: world.clock.now() };
        let profile = Profile { unionid: set.map(|set| UnionId::parse(set).unwrap()), ..Profile::default() };
        intake
            .put_recipient(&name("main"), &openid("ann"), (profile, Reach::This), asking("w1"))
            .await
            .unwrap();
        let app = if from == "ann" { "main" } else { "other" };
        let by = matches!(reach, Reach::Apps(_)).then(|| asking("w2"));
        intake.erase(&name(app), &openid(from), reach.clone(), by).await.unwrap();
        for (app, who) in [("main", "ann"), ("other", "ana")] {
            let left = intake.recipient(&name(app), &openid(who)).await;
            assert!(matches!(left, Err(RecipientError::Unknown)), "{from} {reach:?} {set:?}: {who} is left");
        }
        world.stop().await;
    }
}
