//! The flows as an admin and a user see them: the real daemon, the real store, the real client, the
//! sandbox on loopback, and a clock that is moved by hand.
//!
//! A scenario grants, writes rules, moves the clock, orders misfortune and says what the books must
//! tell; [`World::ends`] then audits both sides against each other. Nothing here knows how the daemon
//! does it. The doors are not asked: reports enter behind the hook, which has tests of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use secrecy::SecretString;
use tixing::admin::control::{AppState, Control};
use tixing::clock::Clock;
use tixing::daemon::{Asker, Daemon, Failure, Outside, Setup, Shared};
use tixing::domain::config::SecretSource;
use tixing::domain::consent::{Grant, Manner, Source};
use tixing::domain::id::{AppId, AppName, FieldName, OpenId, ReportId, Tag, TemplateId};
use tixing::domain::recipient::{FieldValue, Profile};
use tixing::domain::template::TemplateKind;
use tixing::domain::zone::Release;
use tixing::flow::intake::{Intake, ReportError, ReportIn, ReportOut, Said, Speaker};
use tixing::flow::live::Current;
use tixing::sandbox::{self, Answer, Fault, Keep, Outcome, Platform, Sandbox, SendRecord};
use tixing::store::ledger::Ledger;
use tixing::store::sled::{self, Options};
use tixing::store::{Additions, Choice, OperatorGrant, Report, Store};
use tixing::zoneinfo;
use tokio::net::TcpSocket;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

mod agreement;
mod ahead;
mod appointments;
mod books;
mod breaker;
mod by_hand;
mod canary;
mod changes;
mod clock;
mod codes;
mod consents;
mod disk;
mod doubt;
mod drift;
mod due;
mod events;
mod foretold;
mod held;
mod hold;
mod late;
mod month;
mod own_time;
mod pace;
mod pause;
mod persons;
mod power;
mod quiet;
mod quota;
mod recipients;
mod refused;
mod replies;
mod resend;
mod restart;
mod scarce;
mod standstill;
mod templates;
mod tokens;
mod trial;
mod zones;

use power::Power;

use crate::disk::Disk;
use crate::said;

const APPID: &str = "wxworld0123456789";
const SECRET: &str = "the-secret-of-the-world";
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq";
const HOOK_SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiBhIGJhY2tlbmQgb2YgdGhlIHdvcmxk";
/// A one-time template.
pub(super) const HABIT: &str = "TPLhabit";
/// A long-term template.
pub(super) const BILL: &str = "TPLbill";
/// Due at eight every day.
pub(super) const EIGHT: &str = r#"when: { cron: "0 8 * * *" }"#;
/// How long an effect is waited for, by the machine's clock; `TIXING_PATIENCE` says it in seconds where one is planted
/// that keeps it from coming.
static PATIENCE: LazyLock<Duration> =
    LazyLock::new(|| Duration::from_secs(said("TIXING_PATIENCE").unwrap_or(30)));
/// How long one look waits for something to happen.
const LOOK: Duration = Duration::from_millis(2);

/// Everything there is, on Monday 2 March 2026 from seven in the morning in Beijing.
pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) clock: Clock,
    pub(super) platform: Platform,
    sandbox: Option<Sandbox>,
    options: sandbox::Options,
    /// Keeps the platform's address from everybody else while nobody listens there.
    _address: TcpSocket,
    /// Sends of earlier runs of the platform that it did not accept: it remembers only accepted ones.
    sends_before: Vec<SendRecord>,
    limits: &'static str,
    consents_from: &'static str,
    /// Where the store is instead of in the folder.
    pub(super) disk: Option<Disk>,
    /// A configuration of its own, with `{base_url}` where the platform is; else the world's usual one.
    config: Option<String>,
    /// Templates of its own in the usual configuration, in place of `habit` and `bill`.
    templates: Option<String>,
    rules: BTreeMap<String, String>,
    /// Where the system keeps zone data; else it has none.
    zones: Option<PathBuf>,
    running: Option<Running>,
    n_reports: u32,
    /// Sends that may repeat an earlier one: after a −1 that the platform had processed.
    pub(super) repeats_allowed: u64,
    /// Who was erased, and when last: of what he got before only the platform knows.
    pub(super) erased: BTreeMap<OpenId, DateTime<Utc>>,
}

/// A daemon that runs.
struct Running {
    power: Arc<Power>,
    shared: Arc<Shared>,
    intake: Intake,
    stop: oneshot::Sender<()>,
    task: JoinSet<Result<(), Failure>>,
}

/// The world around the daemon, which keeps one secret of apps, one of backends, and perhaps zone data.
#[derive(Debug)]
struct Keeper {
    zones: Option<PathBuf>,
}

impl Outside for Keeper {
    fn secret(&self, source: &SecretSource) -> Result<SecretString, String> {
        let of_hook = matches!(source, SecretSource::Credential(name) if name.as_str() == "hook-key");
        let of_events = matches!(source, SecretSource::Env(name) if name == "AES_KEY");
        Ok(SecretString::from(match (of_hook, of_events) {
            (true, _) => HOOK_SECRET,
            (false, true) => AES_KEY,
            (false, false) => SECRET,
        }))
    }

    fn zone_data(&self) -> Option<Release> {
        zoneinfo::read(&[self.zones.clone()?])
    }
}

pub(super) fn openid(name: &str) -> OpenId {
    OpenId::parse(&format!("oWorld-{name}")).unwrap()
}

fn appid() -> AppId {
    AppId::parse(APPID).unwrap()
}

fn template(id: &str) -> TemplateId {
    TemplateId::parse(id).unwrap()
}

fn beijing(at: DateTime<Utc>) -> NaiveDateTime {
    at.naive_utc() + TimeDelta::hours(8)
}

/// `08:00`, `08:00:30`, `08:00:30.5` on the Monday, or with the day of the month before it: `03 08:00`.
fn instant(text: &str) -> DateTime<Utc> {
    let (day, time) = text.split_once(' ').unwrap_or(("02", text));
    let time = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    let day = NaiveDate::from_ymd_opt(2026, 3, day.parse().unwrap()).unwrap();
    let civil = day.and_time(NaiveTime::parse_from_str(&time, "%H:%M:%S%.f").unwrap());
    (civil - TimeDelta::hours(8)).and_utc()
}

impl World {
    /// A world whose daemon does not run yet.
    pub(super) async fn new() -> Self {
        Self::with_limits("in_flight: 8").await
    }

    /// The same, with these limits of the app.
    pub(super) async fn with_limits(limits: &'static str) -> Self {
        let app = sandbox::App { appid: APPID.to_owned(), secret: SECRET.to_owned() };
        let a_template = |id: &str, kind| sandbox::Template {
            id: id.to_owned(),
            title: id.to_owned(),
            kind,
            fields: vec![sandbox::Field::new("thing1", "what")],
        };
        let templates = vec![
            a_template(HABIT, sandbox::TemplateKind::OneTime),
            a_template(BILL, sandbox::TemplateKind::LongTerm),
        ];
        let options = sandbox::Options::new(vec![app], templates);
        Self { limits, ..Self::around(options, instant("07:00")).await }
    }

    /// A world around this platform from `start` on, with an empty folder of rules.
    async fn around(mut options: sandbox::Options, start: DateTime<Utc>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(start);
        options.books = Some(folder.path().join("platform.jsonl"));
        let address = TcpSocket::new_v4().unwrap();
        address.set_reuseaddr(true).unwrap();
        address.bind(options.listen).unwrap();
        options.listen = address.local_addr().unwrap();
        let sandbox = Sandbox::start(options.clone(), clock.clone()).await.unwrap();
        fs::create_dir(folder.path().join("schedules")).unwrap();
        let platform = sandbox.platform();
        Self {
            folder,
            clock,
            platform,
            sandbox: Some(sandbox),
            options,
            _address: address,
            sends_before: Vec::new(),
            limits: "in_flight: 8",
            consents_from: "reports",
            disk: None,
            config: None,
            templates: None,
            rules: BTreeMap::new(),
            zones: None,
            running: None,
            n_reports: 0,
            repeats_allowed: 0,
            erased: BTreeMap::new(),
        }
    }

    // --- the daemon -----------------------------------------------------------------------------

    /// Starts the daemon on what is in the folder.
    pub(super) async fn start(&mut self) {
        assert!(self.running.is_none(), "the daemon runs");
        let config = self.write_files();
        let store = self.open_store().await;
        let power = Arc::new(Power::new(Arc::new(store)));
        let store = Arc::<Power>::clone(&power);
        let setup = Setup {
            config,
            outside: Arc::new(Keeper { zones: self.zones.clone() }),
            store,
            clock: self.clock.clone(),
        };
        let daemon = Daemon::start(setup).await.unwrap();
        let shared = daemon.shared();
        let store = Arc::<Power>::clone(&power);
        let intake = Intake::new(store, shared.current().clone(), self.clock.clone(), shared.brake().clone())
            .remembering(Control::memory(&*shared).clone());
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(daemon.run(async move {
            let _said_or_dropped = stopped.await;
        }));
        self.running = Some(Running { power, shared, intake, stop, task });
    }

    async fn open_store(&self) -> Ledger {
        let clock = self.clock.clone();
        if let Some(disk) = &self.disk {
            return Ledger::start(disk.place(), clock).unwrap();
        }
        let options = Options::new(self.folder.path().join("store"));
        tokio::task::spawn_blocking(move || sled::open(&options, clock)).await.unwrap().unwrap()
    }

    /// Whether a daemon runs.
    pub(super) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Pulls the plug: nothing more is written, whatever is under way ends.
    pub(super) async fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.power.cut();
        running.task.shutdown().await;
    }

    /// Pulls the plug and starts again.
    pub(super) async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// Stops the daemon as systemd would.
    pub(super) async fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        running.stop.send(()).unwrap();
        let ended = tokio::time::timeout(*PATIENCE, running.task.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
        running.power.cut();
    }

    /// Stops the daemon and hands out what it was made of, to be wired by hand until [`World::kill`].
    pub(super) async fn parts(&mut self) -> (Arc<dyn Store>, Current) {
        let running = self.running.as_mut().unwrap();
        let (stop, _none) = oneshot::channel();
        std::mem::replace(&mut running.stop, stop).send(()).unwrap();
        running.task.join_next().await.unwrap().unwrap().unwrap();
        (Arc::<Power>::clone(&running.power), running.shared.current().clone())
    }

    /// The store, with its switch.
    pub(super) fn power(&self) -> &Power {
        &self.running.as_ref().unwrap().power
    }

    /// Why the app does not send, as `status` says it.
    pub(super) fn paused(&self) -> Option<String> {
        match &self.running.as_ref().unwrap().shared.status().apps[&AppName::parse("main").unwrap()] {
            AppState::Sending => None,
            AppState::Paused(why) => Some(why.clone()),
        }
    }

    // --- the admin ------------------------------------------------------------------------------

    /// Writes a rule of these lines into the folder, and reloads where a daemon runs.
    ///
    /// What is not said is `template: habit`, a text, and a page that names rule and due time.
    pub(super) async fn rule(&mut self, id: &str, lines: &[&str]) {
        self.rules.insert(id.to_owned(), Self::rule_text(id, lines));
        self.reload().await;
    }

    fn rule_text(id: &str, lines: &[&str]) -> String {
        let has = |key: &str| lines.iter().any(|line| line.starts_with(key));
        let mut text = format!("  {id}:\n");
        for line in lines {
            text.extend(["    ", *line, "\n"]);
        }
        if !has("template:") {
            text += "    template: habit\n";
        }
        if !has("data:") {
            text += "    data: { thing1: \"{{ rule.id }}\" }\n";
        }
        if !has("page:") {
            text += "    page: \"p/i?rule={{ rule.id }}&due={{ due | local('%Y%m%dT%H%M%S') }}\"\n";
        }
        text
    }

    /// Takes a rule out of the folder, and reloads where a daemon runs.
    pub(super) async fn no_rule(&mut self, id: &str) {
        self.rules.remove(id).unwrap();
        self.reload().await;
    }

    /// So many rules at eight, while no daemon runs.
    pub(super) fn rules_at_once(&mut self, n: usize) {
        for n in 0..n {
            let id = format!("r{n:03}");
            self.rules.insert(id.clone(), Self::rule_text(&id, &[EIGHT]));
        }
    }

    /// Spoils the folder and the copy that would help, while no daemon runs; [`World::no_rule`] of `broken` mends it.
    pub(super) fn spoil(&mut self) {
        self.rules.insert("broken".to_owned(), "  broken: { template: nowhere }\n".to_owned());
        fs::remove_dir_all(self.folder.path().join("store/last-good")).unwrap();
    }

    async fn reload(&mut self) {
        self.write_files();
        if let Some(running) = &self.running {
            let reloaded = running.shared.reload(Asker::Operator).await;
            assert!(reloaded.ok, "{:?}", reloaded.diagnostics);
        }
    }

    fn write_files(&self) -> PathBuf {
        let (base_url, limits) = (format!("http://{}", self.options.listen), self.limits);
        let consents_from = self.consents_from;
        let config = self.folder.path().join("tixing.yaml");
        if let Some(text) = &self.config {
            fs::write(&config, text.replace("{base_url}", &base_url)).unwrap();
            return config;
        }
        let usual = format!(
            "habit: {{ id: {HABIT}, kind: one_time, fields: [thing1] }}\n      \
             bill: {{ id: {BILL}, kind: long_term, fields: [thing1] }}"
        );
        let templates = self.templates.as_ref().unwrap_or(&usual);
        let text = format!(
            "apps:\n  main:\n    appid: {APPID}\n    secret: {{ env: SECRET }}\n    base_url: {base_url}\n    \
             limits: {{ {limits} }}\n    push: {{ token: {{ env: TOKEN }}, aes_key: {{ env: AES_KEY }} }}\n    consents_from: {consents_from}\n    templates:\n      {templates}\nschedules: schedules\nstore: sled:store\n\
             hook: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\nreload: manual\n"
        );
        fs::write(&config, text).unwrap();
        let rules: String = self.rules.values().map(String::as_str).collect();
        let rules = if rules.is_empty() { "rules: {}\n".to_owned() } else { format!("rules:\n{rules}") };
        fs::write(self.folder.path().join("schedules/rules.yaml"), rules).unwrap();
        config
    }

    /// Which source of acceptances grants, from the next start on.
    pub(super) fn consents_from(&mut self, source: &'static str) {
        self.consents_from = source;
    }

    // --- the people -----------------------------------------------------------------------------

    /// Makes `name` known, with a profile.
    pub(super) async fn person(&mut self, name: &str, describe: impl FnOnce(&mut Profile)) {
        let mut profile = Profile::default();
        describe(&mut profile);
        let put = self.power().put_recipient(appid(), openid(name), profile, self.clock.now().into());
        put.await.unwrap();
    }

    /// `name` taps "accept" `n` times, and the mini program reports each.
    pub(super) async fn grant(&mut self, name: &str, id: &str, n: u32) {
        for _ in 0..n {
            self.tap(name, id, Answer::Accept);
            let out = self.report(name, id, "accept").await.unwrap();
            assert_eq!(out.ignored, [], "{name}");
        }
    }

    /// `name` taps on the platform's panel; nobody reports it.
    pub(super) fn tap(&self, name: &str, id: &str, answer: Answer) {
        self.platform.tap(APPID, openid(name).as_str(), id, answer, Keep::Once).unwrap();
    }

    /// `name` turns the template off in the settings; nobody reports it.
    pub(super) fn turns_off(&self, name: &str, id: &str) {
        self.platform.revoke(APPID, openid(name).as_str(), id).unwrap();
    }

    /// The mini program reports what `name` tapped, under a fresh report id.
    pub(super) async fn report(
        &mut self,
        name: &str,
        id: &str,
        status: &str,
    ) -> Result<ReportOut, ReportError> {
        self.n_reports += 1;
        self.report_as(&format!("report-{}", self.n_reports), name, id, status, 0).await
    }

    /// The same, under this id and so many seconds after the tap.
    pub(super) async fn report_as(
        &self,
        report: &str,
        name: &str,
        id: &str,
        status: &str,
        age_s: u32,
    ) -> Result<ReportOut, ReportError> {
        let report = ReportIn {
            id: ReportId::parse(report).unwrap(),
            said: Said::Results(BTreeMap::from([(id.to_owned(), status.to_owned())])),
            age_s,
            bound_to: None,
            unionid: None,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            time_zone: None,
        };
        let intake = &self.running.as_ref().unwrap().intake;
        let app = AppName::parse("main").unwrap();
        intake.report(&app, &openid(name), Speaker::Backend, report, self.clock.now()).await
    }

    /// Lets a report arrive between the next walk's look at the account of `name` and its booking.
    pub(super) fn before_booking(&self, name: &str, id: &str, status: &str) {
        let now = self.clock.now();
        let grant = Grant { accepted_at: now, source: Source::Backend, bound: None };
        let choice = if status == "reject" { Choice::Reject(now) } else { Choice::Accept(grant) };
        let kind = if id == BILL { TemplateKind::LongTerm } else { TemplateKind::OneTime };
        let report = Report {
            app: appid(),
            openid: openid(name),
            id: ReportId::parse(&format!("between-{name}")).unwrap(),
            content: [0; 32],
            now,
            tapped_at: now,
            adds: Additions::default(),
            answers: vec![tixing::store::Answer {
                template: template(id),
                kind,
                choice,
                manner: Manner::Plain,
            }],
        };
        self.power().before_booking(template(id), report);
    }

    /// People `p000`, `p001` … with one consent each, on both sides.
    pub(super) async fn crowd(&mut self, n: usize) {
        let names: Vec<String> = (0..n).map(|n| format!("p{n:03}")).collect();
        let mut booked = Vec::new();
        for name in &names {
            self.platform.grant_many(APPID, openid(name).as_str(), HABIT, 1).unwrap();
            booked.push(self.power().grant(OperatorGrant {
                app: appid(),
                openid: openid(name),
                template: template(HABIT),
                kind: TemplateKind::OneTime,
                n: 1,
                source: Source::Operator,
                now: self.clock.now(),
            }));
        }
        for pending in booked {
            assert_eq!(pending.await.unwrap().value.n, 1);
        }
    }

    // --- the platform ---------------------------------------------------------------------------

    /// Orders misfortune.
    pub(super) fn faults(&self, faults: Vec<Fault>) {
        self.platform.set_faults(faults);
    }

    /// Nobody listens at the platform's address any more.
    pub(super) async fn platform_gone(&mut self) {
        self.sandbox.take().unwrap().stop().await;
        let is_kept = |send: &SendRecord| matches!(send.outcome, Outcome::Accepted { .. });
        self.sends_before.extend(self.platform.sends().into_iter().filter(|send| !is_kept(send)));
    }

    /// Somebody does again, and remembers everything but the access tokens.
    pub(super) async fn platform_back(&mut self) {
        let sandbox = Sandbox::start(self.options.clone(), self.clock.clone()).await.unwrap();
        self.platform = sandbox.platform();
        self.sandbox = Some(sandbox);
    }

    /// Sends that reached the platform for `name`, whatever became of them.
    pub(super) fn sends_to(&self, name: &str) -> Vec<SendRecord> {
        let openid = openid(name);
        self.platform.sends().into_iter().filter(|send| send.openid == openid.as_str()).collect()
    }

    /// What `name` may see of himself.
    pub(super) async fn me(&self, name: &str) -> tixing::flow::intake::recipients::Person {
        let intake = &self.running.as_ref().unwrap().intake;
        intake.me(&AppName::parse("main").unwrap(), &openid(name)).await.unwrap()
    }

    /// Makes the token that the daemon has a dead one, as soon as it has one: it asks at its start, by and by.
    pub(super) async fn token_dies(&self) {
        self.until("a token", |world| world.platform.revoke_tokens(APPID) > 0).await;
    }

    /// Cards on the phone of `name`.
    pub(super) fn cards(&self, name: &str) -> usize {
        self.platform.cards(openid(name).as_str()).len()
    }

    // --- time -----------------------------------------------------------------------------------

    /// Moves the clock to this time, once nothing moves of itself.
    pub(super) async fn at(&self, time: &str) {
        self.calm().await;
        let forward = instant(time) - self.clock.now();
        self.clock.advance(forward.to_std().unwrap_or_else(|_| panic!("{time} has passed")));
        self.calm().await;
    }

    /// Lets this much time pass, second by second.
    pub(super) async fn pass(&self, seconds: u32) {
        for _ in 0..seconds {
            self.calm().await;
            self.clock.advance(Duration::from_secs(1));
        }
        self.calm().await;
    }

    /// Waits until nothing has changed for a few looks at threads that have nothing to do, however long a busy machine
    /// lets them wait: good enough to move on, never an assertion.
    pub(super) async fn calm(&self) {
        let mut changes = self.platform.changes();
        let look = |world: &Self| {
            let asked = world.running.as_ref().map(|running| running.power.n_calls());
            (asked, world.platform.totals())
        };
        let (mut seen, mut looks) = (look(self), 0);
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let _change = tokio::time::timeout(LOOK, changes.changed()).await;
            let now = look(self);
            looks = if now == seen { looks + usize::from(is_idle()) } else { 0 };
            seen = now;
            if looks == 3 {
                let _rests_or_not = self.store_rests().await;
            }
            if looks == 5 {
                return;
            }
        }
    }

    /// Whether the store has decided and synced all that it was asked. Not waited for long: a disk may be away.
    async fn store_rests(&self) -> bool {
        let Some(running) = &self.running else { return true };
        let rests = async {
            running.power.rest(self.clock.now()).await;
            let _durable_or_failed = running.power.wait(running.power.decided()).await;
        };
        tokio::time::timeout(10 * LOOK, rests).await.is_ok()
    }

    /// Waits for `seen`; the clock stands, but for a second now and then, since who was about to
    /// fall asleep when it was moved would sleep a second more. Where a busy machine keeps threads or syncs waiting that is
    /// later, and not for ever: the disk may be away.
    pub(super) async fn until(&self, what: &str, mut seen: impl FnMut(&Self) -> bool) {
        let mut changes = self.platform.changes();
        let waits = PATIENCE.as_millis() / LOOK.as_millis();
        let (mut n_idle, mut n_since) = (0, 0);
        for _ in 1..=waits {
            if seen(self) {
                return;
            }
            let _change = tokio::time::timeout(LOOK, changes.changed()).await;
            (n_idle, n_since) = (n_idle + usize::from(is_idle()), n_since + 1);
            let is_calm = n_idle >= 250 && self.store_rests().await;
            if is_calm || n_since == 1000 {
                self.clock.advance(Duration::from_secs(1));
                (n_idle, n_since) = (0, 0);
            } else if n_idle >= 250 {
                n_idle -= 25;
            }
        }
        panic!("waited in vain for {what}\n{}", self.told());
    }

    /// Waits until the occurrences of `rule` are these, as [`World::story`] tells them.
    pub(super) async fn expect(&self, rule: &str, story: &str) {
        self.until(&format!("{rule}: {story}"), |world| world.story(rule) == story).await;
    }

    /// The same, letting at most so many seconds pass.
    pub(super) async fn expect_within(&self, seconds: u32, rule: &str, story: &str) {
        for _ in 0..seconds {
            self.calm().await;
            if self.story(rule) == story {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
        }
        self.expect(rule, story).await;
    }

    /// Waits until the account of `name` is so, as [`World::balance`] tells it.
    pub(super) async fn expect_balance(&self, name: &str, id: &str, balance: &str) {
        self.until(&format!("{name}: {balance}"), |world| world.balance(name, id) == balance).await;
    }

    /// The end of one of many scenarios: audits the books, and leaves what is on disk unread.
    pub(super) async fn stop_here(mut self) {
        self.books().await;
        self.stop().await;
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }

    /// The end of a scenario: audits the books, stops the daemon, and audits what is on disk.
    pub(super) async fn ends(mut self) {
        self.books().await;
        self.stop().await;
        self.start().await;
        self.books().await;
        self.stop().await;
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }
}

/// Whether no thread of the runtime but this has anything to do.
fn is_idle() -> bool {
    let runtime = Handle::current();
    let metrics = runtime.metrics();
    let is_parked = |worker| metrics.worker_park_unpark_count(worker) % 2 == 1;
    runtime.runtime_flavor() == RuntimeFlavor::CurrentThread
        || (0..metrics.num_workers()).all(is_parked) && metrics.global_queue_depth() == 0
}

/// A field of a profile.
pub(super) fn field(profile: &mut Profile, name: &str, value: &str) {
    profile.fields.insert(FieldName::parse(name).unwrap(), FieldValue::Text(value.to_owned()));
}

/// A tag of a profile.
pub(super) fn tag(profile: &mut Profile, tag: &str) {
    profile.tags.insert(Tag::parse(tag).unwrap());
}
