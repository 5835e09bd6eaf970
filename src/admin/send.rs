//! `tixing send`: one message now, through the same books as every other one.
//!
//! What is asked here is asked before a consent is touched: whether anything stops the rule, whether the person can get it,
//! and what it says. Then it is an occurrence of its own with one delivery, and the walks and the sender do the rest; it
//! waits for the outcome. It goes by the operator's word and not by the rule's audience, spread or quiet hours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::control::{AppState, Control};
use super::desk::{Desk, no_daemon, rule_id};
use super::explain::telling::standing_after_denial;
use super::forecast;
use super::instant::utc;
use super::reminders::{Subject, SubjectRow, of_appointments};
use super::who::{Person, Reveal};
use crate::domain::appointment::{About, Appointment};
use crate::domain::config::App;
use crate::domain::consent::Account;
use crate::domain::delivery::State;
use crate::domain::id::{AppointmentId, DeliveryId, Kind, OpenId};
use crate::domain::language::{Language, Said};
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::recipient::Recipient;
use crate::domain::rejection::Wording;
use crate::domain::rule::Rule;
use crate::domain::template::TemplateKind;
use crate::domain::when::Offset;
use crate::domain::zone::Zone;
use crate::flow::housekeeping::clock_trouble;
use crate::plan::audience::{Selector, Verdict};
use crate::plan::own_time;
use crate::plan::purse::Purse;
use crate::plan::render::{Compiled, Input, Shown};
use crate::rules::snapshot;
use crate::store::{self, AppointmentKey, ByHand, Delivery, FIRST_BY_HAND, KeptAppointment, OpenedByHand};

/// How long it may wait for its turn.
const GRACE: TimeDelta = TimeDelta::seconds(60);
/// How long after that its outcome is waited for: a request under way ends by itself.
const PATIENCE: TimeDelta = TimeDelta::seconds(30);
/// How often the time is looked at while nothing is booked.
const LOOK: Duration = Duration::from_secs(1);

/// What an operator asks to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// The rule that makes it.
    pub(super) rule: &'a str,
    /// Openid, ref or mask.
    pub(super) who: &'a str,
    /// The id of an appointment of his, by a rule of appointments.
    pub(super) appointment: Option<&'a str>,
    pub(super) mode: Mode,
    pub(super) reveal: Reveal,
}

/// How far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Send,
    /// Nothing is taken and nothing is sent.
    DryRun,
}

/// Why it cannot be sent: the word in JSON, and a sentence.
struct Obstacle(&'static str, Said);

#[derive(Serialize)]
struct Row<'a> {
    rule: &'a str,
    app: &'a str,
    openid: String,
    template: &'a str,
    due_at: String,
    /// A delivery's state; `skipped` where nothing was opened; `would_send` and `would_skip` in a dry run.
    state: &'static str,
    reason: Option<String>,
    why: &'a str,
    /// Messages that he has consents for, before this one.
    available: u64,
    in_audience: bool,
    id: Option<String>,
    attempts: Option<u32>,
    msgid: Option<String>,
    page: Option<&'a str>,
    data: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appointment: Option<SubjectRow<'a>>,
}

/// What is known of the case.
struct Case {
    rule: Arc<Rule>,
    app: App,
    person: Person,
    recipient: Option<Recipient>,
    account: Option<Account>,
    due: Due,
    /// By whose clock texts show it.
    zone: Zone,
    /// What it tells of, by a rule of appointments.
    subject: Option<(Subject, KeptAppointment, Appointment)>,
}

impl Desk {
    pub(super) async fn send(
        &self,
        asked: Message<'_>,
        language: Language,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let Some(control) = self.control() else { return Err(no_daemon()) };
        let case = self.case_of(asked, language).await?;
        let Case { rule, app, person, recipient, account, due, .. } = &case;
        let profile = recipient.as_ref().map(|recipient| recipient.profile.clone()).unwrap_or_default();
        let broken = |error: &str| Failure::new(Exit::Config, format!("rule `{}`: {error}", rule.id));
        let clocked = own_time::by_clock(rule, case.zone);
        let compiled = Compiled::new(&clocked)
            .map_err(|errors| broken(errors.first().map_or("", |error| error.message.to(language))))?;
        let selector = Selector::new(&rule.audience).map_err(|error| broken(&error.to_string()))?;
        let appointment = case.subject.as_ref();
        let appointment =
            appointment.map(|(subject, _, appointment)| Shown { id: &subject.key.id, appointment });
        let input = Input { openid: &person.openid, profile: &profile, due, appointment, zone: case.zone };
        let rendered = compiled.try_render(&input);
        let bytes = snapshot::encode(rule);
        let hash = snapshot::hash(&bytes);
        let mut obstacle = self.stopped(control, &case, Wording::of_snapshot(&hash));
        obstacle = obstacle.or_else(|| case.of_person()).or_else(|| case.over());
        obstacle = obstacle.or_else(|| {
            let unfit = rendered.as_ref().err()?;
            let missing = unfit.missing.join(", ");
            Some(match unfit.reason {
                SkipReason::MissingField => Obstacle(
                    "missing_field",
                    Said::new(
                        format!("`{}` shows {missing}, which this person does not have", unfit.key),
                        format!("`{}` 用到 {missing}，该用户没有", unfit.key),
                    ),
                ),
                SkipReason::NoConsent
                | SkipReason::Refused
                | SkipReason::Muted
                | SkipReason::Overflow
                | SkipReason::Quiet
                | SkipReason::BadRecipient => Obstacle(
                    unfit.reason.as_str(),
                    Said::new(
                        format!("`{}` does not fit its field for this person", unfit.key),
                        format!("`{}` 的内容不符合该用户这次的字段要求", unfit.key),
                    ),
                ),
            })
        });
        let mut purse = match &case.account {
            Some(account) => {
                let of = (&case.app.appid, &person.openid);
                store::purse(self.store(), of, (account, rule.template.kind), due.at, 1)?
            }
            None => Purse::default(),
        };
        let subject = case.subject.as_ref().map(|(subject, ..)| subject.bound());
        obstacle = obstacle
            .or_else(|| (!purse.spend(subject, due.at)).then(|| case.without_consent(purse.n_kept())));
        let mut end = match (obstacle, asked.mode) {
            (Some(Obstacle(word, why)), mode) => {
                let state = if mode == Mode::DryRun { "would_skip" } else { "skipped" };
                Ended { state, reason: Some(word.to_owned()), why, delivery: None, exit: Exit::NotInOrder }
            }
            (None, Mode::DryRun) => {
                let why = Said::new(
                    "it would be sent; nothing was taken and nothing was sent",
                    "可以发送；没有占用授权，也没有发送",
                );
                Ended { state: "would_send", reason: None, why, delivery: None, exit: Exit::Done }
            }
            (None, Mode::Send) => self.send_now(control, &case, (hash, bytes)).await?,
        };
        self.synced().await?;
        let shown = self.shown(asked.reveal, Some(person)).await?;
        let delivery = end.delivery.take();
        let message = rendered.as_ref().ok();
        let data = message.iter().flat_map(|message| &message.data);
        lines
            .row(&Row {
                rule: rule.id.as_str(),
                app: app.name.as_str(),
                openid: shown.openid(&person.openid),
                template: rule.template.id.as_str(),
                due_at: utc(due.at),
                state: end.state,
                reason: end.reason,
                why: end.why.to(language),
                available: account.as_ref().map_or(0, Account::available),
                in_audience: selector.selects(&person.openid, &profile) == Verdict::Yes,
                id: delivery.as_ref().map(|delivery| delivery.id.to_string()),
                attempts: delivery.as_ref().map(|delivery| delivery.attempts),
                msgid: delivery.and_then(|delivery| delivery.msgid()).map(|msgid| msgid.to_string()),
                page: message.and_then(|message| message.page.as_deref()),
                data: data.map(|(key, text)| (key.as_str(), text.as_str())).collect(),
                appointment: case.subject.as_ref().map(|(subject, ..)| subject.row()),
            })
            .await?;
        if end.exit == Exit::Done {
            return Ok(Exit::Done);
        }
        Err(Failure::new(end.exit, end.why.to(language)))
    }

    async fn case_of(&self, asked: Message<'_>, language: Language) -> Result<Case, Failure> {
        let id = rule_id(asked.rule)?;
        let refused = |exit: Exit, said: Said| Failure::new(exit, said.to(language));
        let live = self.live();
        let Some(rule) = live.rules.rules.get(&id) else {
            let said = Said::new(
                format!("no rule `{id}` is loaded; `tixing next` lists them"),
                format!("没有加载规则 `{id}`；`tixing next` 会列出全部规则"),
            );
            return Err(refused(Exit::BadData, said));
        };
        let Some(app) = live.config.apps.get(&rule.app) else {
            let said = Said::new(
                format!("rule `{id}` is of an app that is not configured"),
                format!("规则 `{id}` 的小程序没有配置"),
            );
            return Err(refused(Exit::Config, said));
        };
        let person = self.person(app, asked.who).await?;
        let subject = match (of_appointments(rule), asked.appointment) {
            (None, None) => None,
            (Some(relative), Some(name)) => {
                let found = self.his_appointment(app, &relative.of, name, &person.openid)?;
                let Some(found) = found else {
                    let of = &relative.of;
                    let said = Said::new(
                        format!("this person has no appointment `{of}` `{name}`"),
                        format!("该用户没有 `{of}` `{name}` 这个预约"),
                    );
                    return Err(refused(Exit::BadData, said));
                };
                Some(found)
            }
            (Some(_), None) => {
                let said = Said::new(
                    format!(
                        "rule `{id}` reminds of appointments: name one of this person's with --appointment"
                    ),
                    format!("规则 `{id}` 提醒的是预约：请用 --appointment 指明该用户的哪一个"),
                );
                return Err(refused(Exit::Usage, said));
            }
            (None, Some(_)) => {
                let said = Said::new(
                    format!("rule `{id}` reminds of no appointments; leave --appointment out"),
                    format!("规则 `{id}` 不是预约的提醒，请去掉 --appointment"),
                );
                return Err(refused(Exit::Usage, said));
            }
        };
        let recipient = self.store().recipient(&app.appid, &person.openid)?;
        let account = self.store().bare_account(&app.appid, &rule.template.id, &person.openid)?;
        let at = self.now();
        let at = at.with_nanosecond(0).unwrap_or(at);
        let day = at.with_timezone(&rule.zone.tz()).date_naive();
        let zone = own_time::zone_on(rule, recipient.as_ref(), day);
        let civil = at.with_timezone(&zone.tz()).naive_local();
        let due = Due { at, civil, fold: FIRST_BY_HAND };
        Ok(Case { rule: Arc::clone(rule), app: app.clone(), person, recipient, account, due, zone, subject })
    }

    /// An appointment that stands and belongs to somebody.
    fn his_appointment(
        &self,
        app: &App,
        kind: &Kind,
        name: &str,
        openid: &OpenId,
    ) -> Result<Option<(Subject, KeptAppointment, Appointment)>, Failure> {
        let Ok(id) = AppointmentId::parse(name) else { return Ok(None) };
        let key = AppointmentKey { app: app.appid.clone(), kind: kind.clone(), id };
        let kept = self.store().appointment(&key)?.filter(|kept| kept.joined.contains_key(openid));
        Ok(kept.and_then(|kept| {
            let appointment = kept.appointment()?;
            Some((Subject { key, at: kept.at }, kept, appointment))
        }))
    }

    /// What an operator, the platform or the clock stops.
    fn stopped(&self, control: &dyn Control, case: &Case, wording: Wording) -> Option<Obstacle> {
        let status = control.status();
        let (rule, app) = (&case.rule.id, &case.app);
        if let Some(hold) = status.hold {
            return Some(Obstacle(
                "on_hold",
                Said::new(format!("nothing is sent: {hold}"), format!("目前什么都不发：{hold}")),
            ));
        }
        if let Some(trouble) = clock_trouble(self.clock().trust().borrow().standing) {
            return Some(Obstacle("clock", Said::new(trouble.clone(), format!("时钟不可信：{trouble}"))));
        }
        if let Some(AppState::Paused(why)) = status.apps.get(&app.name) {
            return Some(Obstacle(
                "app_paused",
                Said::new(
                    format!("app {} does not send: {why}", app.name),
                    format!("小程序 {} 暂停发送：{why}", app.name),
                ),
            ));
        }
        if !control.brake().stops(&app.appid, rule, wording) {
            return None;
        }
        let why = status.held_rules.into_iter().find(|(held, _)| held == rule).map(|(_, why)| why);
        let why = why.unwrap_or_else(|| "`tixing status` says why".to_owned());
        Some(Obstacle(
            "rule_paused",
            Said::new(format!("rule {rule} does not send: {why}"), format!("规则 {rule} 暂停发送：{why}")),
        ))
    }

    /// Opens it, and waits for what becomes of it.
    async fn send_now(
        &self,
        control: &dyn Control,
        case: &Case,
        (snapshot, snapshot_bytes): ([u8; 32], Vec<u8>),
    ) -> Result<Ended, Failure> {
        let Case { rule, app, person, due, .. } = case;
        let deadline = case.deadline();
        let asked = ByHand {
            app: app.appid.clone(),
            rule: rule.id.clone(),
            template: rule.template.id.clone(),
            kind: rule.template.kind,
            openid: person.openid.clone(),
            due_at: due.at,
            civil: due.civil,
            zone: case.zone,
            about: case.subject.as_ref().map(|(subject, kept, _)| About {
                kind: subject.key.kind.clone(),
                id: subject.key.id.clone(),
                at: subject.at,
                number: kept.number,
                after: 0,
                previous: None,
            }),
            deadline,
            snapshot,
            snapshot_bytes,
        };
        let opened = self.store().open_by_hand(asked).await?;
        self.store().wait(opened.number).await?;
        let not = |word: &str, why: Said| {
            let reason = Some(word.to_owned());
            Ok(Ended { state: "skipped", reason, why, delivery: None, exit: Exit::NotInOrder })
        };
        let id = match opened.value {
            OpenedByHand::Reserved(id) => id,
            OpenedByHand::Skipped(reason) => return not(reason.as_str(), no_consent(reason)),
            OpenedByHand::Unknown => return not("unknown_recipient", unknown()),
            OpenedByHand::Changed => {
                return not(
                    "appointment_changed",
                    Said::new(
                        "the appointment was changed just now; try again",
                        "预约刚刚有变动，请再试一次",
                    ),
                );
            }
            OpenedByHand::NotStarted => {
                return not(
                    "not_started",
                    Said::new(
                        "the daemon has not taken the rule over yet; try again",
                        "规则还没有生效，请稍后再试",
                    ),
                );
            }
            OpenedByHand::OnHold => {
                return not("on_hold", Said::new("everything is on hold", "全部发送都已停住"));
            }
            OpenedByHand::TooMany => {
                return not(
                    "too_many",
                    Said::new("too many in one second; try again", "一秒之内太多了，请再试一次"),
                );
            }
        };
        let rule = &rule.id;
        tracing::info!(delivery.id = %id, rule.id = %rule, "Delivery {id} of rule {rule} was asked for by an operator");
        control.look();
        let mut end = ended(self.outcome(id, deadline + PATIENCE).await?, id);
        if end.state == State::Refused.as_str() && case.rule.template.kind == TemplateKind::LongTerm {
            let template = &case.rule.template.id;
            let account = self.store().bare_account(&app.appid, template, &person.openid)?;
            let then = standing_after_denial(account.as_ref());
            end.why = Said::new(
                format!("WeChat knows no consent (43101): {then}"),
                format!("微信没有授权（43101）：{}", then.zh),
            );
        }
        Ok(end)
    }

    /// The delivery when it has ended, or as it is when nobody waits any more.
    async fn outcome(&self, id: DeliveryId, until: DateTime<Utc>) -> Result<Option<Delivery>, Failure> {
        let mut progress = self.store().progress();
        loop {
            progress.mark_unchanged();
            let delivery = self.store().delivery(id)?;
            if delivery.as_ref().is_none_or(|delivery| !delivery.state.is_open())
                || self.clock().reckoned() > until
            {
                return Ok(delivery);
            }
            tokio::select! {
                // Where its sender is gone the store has ended, and the next read says so.
                _changed = progress.changed() => {}
                () = self.clock().sleep(LOOK) => {}
            }
        }
    }
}

/// How it ended.
struct Ended {
    state: &'static str,
    reason: Option<String>,
    why: Said,
    delivery: Option<Delivery>,
    exit: Exit,
}

impl Case {
    /// What the person himself has against it.
    fn of_person(&self) -> Option<Obstacle> {
        let Some(recipient) = &self.recipient else { return Some(Obstacle("unknown_recipient", unknown())) };
        if recipient.bad_since.is_some() {
            let why = Said::new("WeChat does not know this openid", "微信不认识这个 openid");
            return Some(Obstacle(SkipReason::BadRecipient.as_str(), why));
        }
        let muted = Said::new("this person is muted", "该用户已静音");
        recipient.profile.muted.then(|| Obstacle(SkipReason::Muted.as_str(), muted))
    }

    /// The last instant at which it may leave: what reminds before an appointment does not leave after it.
    fn deadline(&self) -> DateTime<Utc> {
        let end = self.due.at + GRACE;
        match (of_appointments(&self.rule).map(|relative| &relative.offset), &self.subject) {
            (Some(Offset::Before(_)), Some((subject, ..))) => end.min(subject.at),
            (Some(Offset::Before(_) | Offset::After(_) | Offset::SameDay) | None, _) => end,
        }
    }

    fn over(&self) -> Option<Obstacle> {
        let why = Said::new("the appointment is over", "预约的时间已经过了");
        (self.deadline() <= self.due.at).then_some(Obstacle("appointment_over", why))
    }

    /// Where so many that he has wait for appointments, they are no others'.
    fn without_consent(&self, n_kept: usize) -> Obstacle {
        let reason = self.account.as_ref().map_or(SkipReason::NoConsent, forecast::without);
        if n_kept == 0 {
            return Obstacle(reason.as_str(), no_consent(reason));
        }
        let why = match &self.subject {
            None => Said::new(
                "no consent is free: what there is was given for an appointment to come, and waits for it",
                "没有可用的授权：现有的是为还没到的预约给的，先留给该预约",
            ),
            Some(_) => Said::new(
                "no consent is free: what there is was given for another appointment to come, and waits for it",
                "没有可用的授权：现有的是为另一个还没到的预约给的，先留给那个预约",
            ),
        };
        Obstacle(reason.as_str(), why)
    }
}

fn unknown() -> Said {
    Said::new("this app has never heard of that person", "这个小程序没有该用户的记录")
}

fn no_consent(reason: SkipReason) -> Said {
    if reason == SkipReason::Refused {
        Said::new("there is no consent, and the person has refused", "没有可用的授权，该用户已拒绝")
    } else {
        Said::new("there is no consent for this template", "没有这个模板的可用授权")
    }
}

/// What is told of a delivery, by its state.
fn ended(delivery: Option<Delivery>, id: DeliveryId) -> Ended {
    let state = delivery.as_ref().map_or(State::Cancelled, |delivery| delivery.state);
    let code = delivery.as_ref().and_then(|delivery| delivery.errcode);
    let errcode = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let (exit, why) = match state {
        State::Sent => (Exit::Done, Said::new("WeChat took it", "微信已收下")),
        State::Undelivered => (
            Exit::NotInOrder,
            Said::new("WeChat took it and says that it did not arrive", "微信收下后通知没有送达"),
        ),
        State::Refused => (
            Exit::NotInOrder,
            Said::new(
                "WeChat knows no consent (43101): the one that was taken is void",
                "微信没有授权（43101）：占用的这一次已作废",
            ),
        ),
        State::Failed => (
            Exit::NotInOrder,
            Said::new(
                format!("WeChat refused it with errcode {errcode}; the consent is back"),
                format!("微信返回错误码 {errcode}；授权已退回"),
            ),
        ),
        State::InDoubt | State::PresumedSent => (
            Exit::NotInOrder,
            Said::new(
                format!(
                    "nobody knows whether it was sent, and it is not sent again; `tixing doubt settle {id} --as sent|failed` when you know"
                ),
                format!(
                    "不知道有没有发出去，也不会再发；确认后用 `tixing doubt settle {id} --as sent|failed` 了结"
                ),
            ),
        ),
        State::Expired => (
            Exit::NotInOrder,
            Said::new(
                "its time passed before it could be sent; the consent is back",
                "没能在时限内发出；授权已退回",
            ),
        ),
        State::Cancelled | State::Skipped => (
            Exit::NotInOrder,
            Said::new(
                "it was cancelled before it left: its rule, its person or its consent is gone",
                "发出之前已取消：规则、用户或授权没有了",
            ),
        ),
        State::Held | State::Reserved | State::Attempting | State::Waiting => (
            Exit::NotInOrder,
            Said::new(
                format!("it has not ended yet: `tixing deliveries list` shows {id}"),
                format!("还没有结果：用 `tixing deliveries list` 查看 {id}"),
            ),
        ),
    };
    let reason = match state {
        State::Refused | State::Failed => code.map(|code| code.to_string()),
        State::Held
        | State::Reserved
        | State::Attempting
        | State::Waiting
        | State::Sent
        | State::Undelivered
        | State::PresumedSent
        | State::Expired
        | State::Cancelled
        | State::Skipped
        | State::InDoubt => None,
    };
    Ended { state: state.as_str(), reason, why, delivery, exit }
}
