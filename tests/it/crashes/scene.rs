//! What a set of histories begins with: people with consents, due times, the app's limits, and how much may go wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use tixing::domain::config::{Admin, App, Config, ConsentsFrom, Hook, ReloadMode, RuleSet, SecretSource};
use tixing::domain::id::{AppId, AppName, OpenId, RuleId, TemplateId, TemplateName};
use tixing::domain::rule::OnDoubt;
use tixing::domain::rule::{Audience, Canary, MissedPolicy, Rule};
use tixing::domain::template::{FieldKey, Template, TemplateKind};
use tixing::domain::zone::Zone;

/// How late a message may still leave.
const GRACE: TimeDelta = TimeDelta::seconds(90);

/// How long a receipt may take before a message without an answer is repeated.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// What histories begin with, and how far they go.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) people: Vec<OpenId>,
    /// Consents of each person that were acknowledged long before.
    pub(super) consents: Vec<u8>,
    /// Who taps once more when the first reminder is due, if anybody does.
    pub(super) taps: Option<usize>,
    pub(super) dues: Vec<DateTime<Utc>>,
    pub(super) in_flight: usize,
    pub(super) max_crashes: u8,
    /// Most requests of a history to which the platform does not do the natural thing.
    pub(super) max_faults: u8,
    /// What becomes of a message without an answer.
    pub(super) on_doubt: OnDoubt,
}

/// So many seconds after eight in the morning in Beijing, on Monday 2 March 2026.
pub(super) fn eight(seconds: i64) -> DateTime<Utc> {
    let eight = NaiveDate::from_ymd_opt(2026, 3, 2).and_then(|day| day.and_hms_opt(0, 0, 0));
    eight.unwrap().and_utc() + TimeDelta::seconds(seconds)
}

/// The page of the message of a due time: it names the due time to the platform.
pub(super) fn page(due: DateTime<Utc>) -> String {
    format!("p/i?due={}", (due + TimeDelta::hours(8)).format("%H%M%S"))
}

pub(super) fn app() -> AppName {
    AppName::parse("main").unwrap()
}

pub(super) fn appid() -> AppId {
    AppId::parse("wx0123456789abcdef").unwrap()
}

pub(super) fn template() -> TemplateId {
    TemplateId::parse("TPL").unwrap()
}

/// The platform's number of the `nth` message of a delivery.
pub(super) fn msgid(due: usize, person: usize, nth: u8) -> u64 {
    (due * 100 + person * 10 + usize::from(nth) + 1000).try_into().unwrap()
}

fn habit() -> Template {
    Template {
        name: TemplateName::parse("habit").unwrap(),
        id: template(),
        kind: TemplateKind::OneTime,
        fields: Some(vec![FieldKey::parse("thing1").unwrap()]),
    }
}

/// A delivery in words.
pub(super) fn name(due: usize, person: usize) -> String {
    format!("{}'s message {}", char::from(b'a' + u8::try_from(person).unwrap()), due + 1)
}

/// When a machine that went down at `now` may be back: at once, shortly before the deadline of what was due last,
/// or shortly after it.
pub(super) fn downtimes(scene: &Scene, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let due = scene.dues.iter().rposition(|due| *due <= now).unwrap_or(0);
    let deadline = scene.deadline(due);
    let away = [deadline - TimeDelta::seconds(5), deadline + TimeDelta::seconds(5)];
    std::iter::once(now).chain(away.into_iter().filter(|at| *at > now)).collect()
}

impl Scene {
    pub(super) fn deadline(&self, due: usize) -> DateTime<Utc> {
        self.dues[due] + GRACE
    }

    /// Whether a request for this due time may start at `now`.
    pub(super) fn in_time(&self, due: usize, now: DateTime<Utc>) -> Result<(), String> {
        if self.dues[due] <= now && now <= self.deadline(due) {
            return Ok(());
        }
        Err(format!(
            "a request at {now} for the due time {} with deadline {}",
            self.dues[due],
            self.deadline(due)
        ))
    }

    /// Whether what has no answer is sent again.
    pub(super) fn sends_again(&self) -> bool {
        self.on_doubt == OnDoubt::Resend
    }

    /// Whether what is in doubt may be sent once more at `now`, so many times after the first.
    pub(super) fn may_send_again(&self, due: usize, n_again: u8, now: DateTime<Utc>) -> Result<(), String> {
        match self.on_doubt {
            OnDoubt::Hold => Err("its outcome is unknown or final".to_owned()),
            OnDoubt::Resend if now < self.dues[due] + PAUSE => {
                Err(format!("it is repeated at {now} already"))
            }
            OnDoubt::Resend if n_again >= 2 => Err("it was repeated twice".to_owned()),
            OnDoubt::Resend => Ok(()),
        }
    }

    /// Most deliveries that a crash may leave in doubt.
    pub(super) fn max_marked(&self) -> usize {
        let app = self.config().apps.remove(&app()).unwrap();
        app.in_flight + app.mark_ahead()
    }

    pub(super) fn config(&self) -> Config {
        let app = App {
            name: app(),
            appid: appid(),
            secret: SecretSource::Env("NONE".to_owned()),
            state: "formal".to_owned(),
            lang: "zh_CN".to_owned(),
            in_flight: self.in_flight,
            per_second: None,
            quota_probe: false,
            templates: BTreeMap::from([(habit().name, habit())]),
            base_url: "http://127.0.0.1:9".to_owned(),
            push: None,
            consents_from: ConsentsFrom::Reports,
            proxy: None,
        };
        Config {
            apps: BTreeMap::from([(app.name.clone(), app)]),
            zone: Zone::SHANGHAI,
            schedules: "schedules".into(),
            store: "store".into(),
            hook: Hook {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                keys: Vec::new(),
                session_fields: Vec::new(),
                login: true,
                session_hours: 2,
                trusted_proxies: None,
            },
            admin: Admin { socket: "admin.sock".into() },
            reload: ReloadMode::Manual,
        }
    }

    pub(super) fn rules(&self) -> RuleSet {
        let rule = Rule {
            id: RuleId::parse("daily").unwrap(),
            app: app(),
            template: habit(),
            zone: Zone::SHANGHAI,
            own_time: false,
            when: self.dues.iter().map(|due| due.naive_utc() + TimeDelta::hours(8)).collect(),
            audience: Audience::default(),
            data: BTreeMap::from([(FieldKey::parse("thing1").unwrap(), "water".to_owned())]),
            page: Some("p/i?due={{ due | local('%H%M%S') }}".to_owned()),
            grace: Duration::from_secs(GRACE.num_seconds().unsigned_abs()),
            spread: Duration::ZERO,
            quiet: None,
            missed: MissedPolicy::All { max: 3 },
            overflow: BTreeMap::new(),
            canary: Canary::Automatic,
            priority: 0,
            on_doubt: self.on_doubt,
        };
        RuleSet { rules: BTreeMap::from([(rule.id.clone(), Arc::new(rule))]), ..RuleSet::default() }
    }
}
