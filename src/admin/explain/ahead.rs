//! What would become of a coming due time for one person.
//!
//! It spends the person's grants of today on the due times before it, in the order in which `next` does,
//! so both say the same. It knows nothing of acceptances to come.

use std::cmp::Reverse;
use std::iter;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::telling::{self, moment};
use super::{Case, Certainty, Chain};
use crate::admin::answer::{Exit, Failure};
use crate::admin::desk::Desk;
use crate::admin::forecast;
use crate::admin::instant::remark;
use crate::admin::reminders::{Subject, of_appointments};
use crate::admin::standstill::{Of, Stop};
use crate::domain::appointment::Appointment;
use crate::domain::consent::Account;
use crate::domain::id::{Kind, RuleId};
use crate::domain::language::Said;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::recipient::Recipient;
use crate::domain::rule::{Audience, Rule};
use crate::domain::template::TemplateKind;
use crate::domain::when::Offset;
use crate::flow::reminders::{self, Reminder};
use crate::plan::own_time;
use crate::plan::recurrence::Window;
use crate::plan::render::{Compiled, Input, Shown};
use crate::plan::turn::{self, Person};
use crate::plan::words;
use crate::store;

/// Due times that are named as spending consents before this one.
const MAX_NAMED: usize = 3;

/// The due time that is asked about, with the appointment that it reminds of.
struct Next {
    due: Due,
    about: Option<(Subject, Appointment)>,
}

impl Next {
    /// The last instant at which anything of it may leave.
    fn end(&self, rule: &Rule) -> DateTime<Utc> {
        let end = turn::end(rule, self.due.at);
        let about = of_appointments(rule).zip(self.about.as_ref());
        about.map_or(end, |(relative, (subject, _))| match relative.offset {
            Offset::Before(_) => end.min(subject.at),
            Offset::After(_) | Offset::SameDay => end,
        })
    }
}

/// How a chain goes on after one of its links.
enum Link {
    Holds,
    Breaks { reason: &'static str, why: Said, cure: Said },
}

impl Desk {
    /// The chain for the first due time after `after`.
    pub(super) async fn ahead(&self, case: &Case, after: DateTime<Utc>) -> Result<Chain, Failure> {
        let Some(rule) = case.rule.clone() else { return Ok(case.at_rest()) };
        let next = if of_appointments(&rule).is_some() {
            self.next_reminder(case, &rule, after)?
        } else {
            let due = own_time::next(&rule, case.recipient.as_ref(), after);
            due.map(|(due, _)| Next { due, about: None })
        };
        let Some(next) = next else { return case.over(&rule) };
        let zone = own_time::zone_on(&rule, case.recipient.as_ref(), next.due.civil.date());
        let due = next.due;
        let mut steps = vec![case.schedule(&rule)];
        let rule = own_time::by_clock(&rule, zone);
        let at = moment(due.at, rule.zone);
        steps.push(Said::new(format!("Its next due time is {at}."), format!("下一次是 {at}。")));
        if let Some((subject, _)) = &next.about {
            steps.push(telling::subject(&subject.key.kind, &subject.key.id, subject.at, rule.zone));
        }
        if let Some(remark) = remark(&due, rule.zone) {
            steps.push(Said::new(
                format!("Mind the clock: {remark}."),
                format!("注意时钟调整：{}。", remark.zh),
            ));
        }
        let profile = case.profile();
        let person = Person::new(&rule, &case.person.openid, &profile);
        let turn = turn::turn(&rule, person, due.at, next.end(&rule), due.at);
        steps.extend(turn.ok().and_then(|turn| telling::turn(&rule, turn, rule.zone)));
        let link = self.links(case, &rule, &next, &mut steps).await?;
        let lateness = words::lateness(&rule);
        steps.push(Said::new(
            format!("If tixing is down at that time: {lateness}."),
            format!("如果那时 tixing 没有运行：{}。", lateness.zh),
        ));
        let stops = self.stops(&case.app.appid, &case.id, Of::Coming)?;
        steps.extend(stops.iter().map(|stop| stop.why.clone()));
        let (outcome, reason, why, cure) = match link {
            Link::Breaks { reason, why, cure } => ("would_skip", Some(reason.to_owned()), why, Some(cure)),
            Link::Holds => {
                let why = if stops.is_empty() {
                    Said::new(
                        format!(
                            "This person would get it: in the audience, with a consent left, and the texts fit. Due {at}."
                        ),
                        format!("该用户会收到：在范围内，有剩余授权，内容也填得出。时间 {at}。"),
                    )
                } else {
                    let stopped = Stop::whys(&stops);
                    Said::new(
                        format!(
                            "This person would get it at {at} (in the audience, with a consent left, and the texts fit), but as \
                             things are now nothing leaves. {stopped}"
                        ),
                        format!(
                            "该用户在 {at} 本会收到（在范围内，有剩余授权，内容也填得出），但照现在的情况发不出去。{}",
                            stopped.zh
                        ),
                    )
                };
                ("would_send", None, why, Stop::cures(&stops))
            }
        };
        let due = Some((due.at, rule.zone));
        Ok(Chain { due, outcome, reason, why, cure, certainty: Certainty::Inferred, steps })
    }

    /// Audience, mute, consent, texts: in the order in which the walk asks.
    async fn links(
        &self,
        case: &Case,
        rule: &Arc<Rule>,
        next: &Next,
        steps: &mut Vec<Said>,
    ) -> Result<Link, Failure> {
        match case.audience(rule)? {
            Ok(_) if next.about.is_some() && rule.audience == Audience::default() => {}
            Ok(inside) => steps.push(inside),
            Err(outside) => {
                steps.push(outside.why.clone());
                return Ok(Link::Breaks { reason: outside.reason, why: outside.why, cure: outside.cure });
            }
        }
        let profile = case.profile();
        if profile.muted {
            let why = Said::new("This person is muted and gets nothing.", "该用户已静音，什么都不会收到。");
            steps.push(why.clone());
            let cure = Said::new(
                "Unmute: tixing people unmute --openid OPENID.",
                "取消静音：tixing people unmute --openid OPENID。",
            );
            return Ok(Link::Breaks { reason: SkipReason::Muted.as_str(), why, cure });
        }
        if let Some(since) = case.recipient.as_ref().and_then(|recipient| recipient.bad_since) {
            let since = moment(since, rule.zone);
            let why = Said::new(
                format!("WeChat takes no messages for this openid: it refused one at {since}."),
                format!("微信不收发给这个 openid 的消息：{since} 拒绝了一条。"),
            );
            steps.push(why.clone());
            let cure = Said::new(
                "Check that the openid belongs to this appid. A login, a report, a PUT or a new import of this person ends it.",
                "检查 openid 是否属于这个 appid。该用户登录、上报或重新导入后就恢复。",
            );
            return Ok(Link::Breaks { reason: SkipReason::BadRecipient.as_str(), why, cure });
        }
        let person = Person::new(rule, &case.person.openid, &profile);
        if let Err(reason) = turn::turn(rule, person, next.due.at, next.end(rule), next.due.at) {
            let (why, cure) = telling::at_night();
            steps.push(why.clone());
            return Ok(Link::Breaks { reason: reason.as_str(), why, cure });
        }
        let account = self.store().bare_account(&case.app.appid, &rule.template.id, &case.person.openid)?;
        steps.push(telling::account(account.as_ref(), &rule.template, rule.zone));
        if let Some((reason, n_kept)) = self.spent(case, rule, next, account.as_ref(), steps).await? {
            let (why, cure) = telling::without(reason, &rule.template, &case.shown);
            let why = if n_kept == 0 { why } else { telling::kept(&rule.template) };
            steps.push(why.clone());
            return Ok(Link::Breaks { reason: reason.as_str(), why, cure });
        }
        let compiled = Compiled::new(rule).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            Failure::new(Exit::Config, format!("rule `{}`: {first}", rule.id))
        })?;
        let about = next.about.as_ref();
        let appointment = about.map(|(subject, appointment)| Shown { id: &subject.key.id, appointment });
        let (openid, due, zone) = (&case.person.openid, &next.due, rule.zone);
        let input = Input { openid, profile: &profile, due, appointment, zone };
        if let Err(unfit) = compiled.try_render(&input) {
            let (why, cure) = telling::unfit(&unfit);
            steps.push(why.clone());
            return Ok(Link::Breaks { reason: unfit.reason.as_str(), why, cure });
        }
        steps.push(Said::new(
            "All texts can be filled in for this person, and fit their fields.",
            "所有内容都能为该用户填好，并符合字段要求。",
        ));
        Ok(Link::Holds)
    }

    /// Whether the grants of today are used up before `next`, and why there are none then, with how many wait for
    /// appointments. Tells what uses them.
    async fn spent(
        &self,
        case: &Case,
        rule: &Rule,
        next: &Next,
        account: Option<&Account>,
        steps: &mut Vec<Said>,
    ) -> Result<Option<(SkipReason, usize)>, Failure> {
        let Some(account) = account else { return Ok(Some((SkipReason::NoConsent, 0))) };
        if account.standing.is_some() && rule.template.kind == TemplateKind::LongTerm {
            return Ok(None);
        }
        if account.available() == 0 {
            return Ok(Some((forecast::without(account), 0)));
        }
        let of = (&case.app.appid, &case.person.openid);
        let mut purse = store::purse(self.store(), of, (account, rule.template.kind), case.now, u64::MAX)?;
        if purse.n_kept() > 0 {
            let n = purse.n_kept();
            steps.push(Said::new(
                format!("Of these, {n} were given for an appointment that is to come, and wait for it."),
                format!("其中 {n} 次是为还没到的预约授权的，先留给该预约。"),
            ));
        }
        let alike = case.live.rules.rules.values();
        let alike = alike.filter(|other| other.app == rule.app && other.template.id == rule.template.id);
        let window = Window { after: case.now, until: next.due.at };
        let openid = &case.person.openid;
        let (rows, _cut) = self.due_ahead(alike, window, Some(openid)).await?;
        let prepared = forecast::prepare(rows.iter())?;
        let recipient = case.recipient.clone().unwrap_or_else(|| Recipient::new(case.now));
        let mut spending: Vec<(&RuleId, DateTime<Utc>)> = Vec::new();
        let this =
            (next.due.at, Reverse(rule.priority), &rule.id, next.about.as_ref().map(|(subject, _)| subject));
        for row in &rows {
            if row.place() >= this {
                break;
            }
            if !row.is_of(case.recipient.as_ref()) {
                continue;
            }
            let Some(ready) = prepared.iter().find(|ready| ready.rule.id == row.rule.id) else { continue };
            let appointment = match &row.subject {
                None => None,
                // One that changed since it was found reminds of nothing.
                Some(subject) => match self.appointment(subject)? {
                    None => continue,
                    Some(appointment) => Some((&subject.key.id, appointment)),
                },
            };
            let shown = appointment.as_ref().map(|(id, appointment)| Shown { id, appointment });
            if ready.reach(openid, &recipient, &row.due, shown) == Some(Ok(()))
                && purse.spend(row.subject.as_ref().map(Subject::bound), row.due.at)
            {
                spending.push((&row.rule.id, row.due.at));
            }
        }
        if !spending.is_empty() {
            let named =
                spending.iter().take(MAX_NAMED).map(|(id, at)| format!("`{id}` {}", moment(*at, rule.zone)));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if spending.len() > MAX_NAMED {
                named.push_str(", …");
            }
            let n = spending.len();
            steps.push(Said::new(
                format!("Due times before it will use {n} of them: {named}."),
                format!("在它之前会先用掉 {n} 次：{named}。"),
            ));
        }
        let subject = next.about.as_ref().map(|(subject, _)| subject.bound());
        let spent = !purse.spend(subject, next.due.at);
        Ok(spent.then(|| (forecast::without(account), purse.n_kept())))
    }

    /// The first reminder after `after` of an appointment of this person.
    fn next_reminder(
        &self,
        case: &Case,
        rule: &Arc<Rule>,
        after: DateTime<Utc>,
    ) -> Result<Option<Next>, Failure> {
        let window = Window { after, until: DateTime::<Utc>::MAX_UTC };
        let of = (&case.app.appid, &case.person.openid);
        for Reminder { due, key, kept, .. } in
            reminders::of_person(self.store(), of, iter::once(rule), window)?
        {
            let subject = Subject { key, at: kept.at };
            let whom = reminders::whom(self.store(), rule, &subject.key, &kept)?;
            if whom.contains(&case.person.openid)
                && let Some(appointment) = kept.appointment()
            {
                return Ok(Some(Next { due, about: Some((subject, appointment)) }));
            }
        }
        Ok(None)
    }
}

impl Case {
    /// The rule is disabled, or gone from the files.
    fn at_rest(&self) -> Chain {
        let name = self.name();
        let (reason, why, cure) = if self.live.rules.disabled.contains(&self.id) {
            (
                "disabled",
                Said::new(
                    format!("Rule {name} is at rest: its file says `enabled: false`."),
                    format!("规则 {name} 已停用：文件里写着 enabled: false。"),
                ),
                Said::new(
                    "Remove `enabled: false` and run tixing reload.",
                    "去掉 enabled: false，再运行 tixing reload。",
                ),
            )
        } else {
            (
                "removed",
                Said::new(
                    format!("Rule {name} is in no schedule file any more."),
                    format!("规则 {name} 已不在任何规则文件里。"),
                ),
                Said::new("Put it back and run tixing reload.", "把它加回去，再运行 tixing reload。"),
            )
        };
        Self::nothing_ahead(reason, why, Some(cure), Vec::new())
    }

    /// All due times of the rule have passed, or this person has no appointment that it will remind of.
    fn over(&self, rule: &Rule) -> Result<Chain, Failure> {
        if let Some(relative) = of_appointments(rule) {
            return self.nothing_to_remind_of(rule, &relative.of);
        }
        let why = Said::new(
            format!("Rule {} has no due time ahead.", self.name()),
            format!("规则 {} 之后不再有时间。", self.name()),
        );
        let cure = Said::new(
            "Add times to its `when` and run tixing reload.",
            "在 when 里加上新的时间，再运行 tixing reload。",
        );
        Ok(Self::nothing_ahead("no_due_time", why, Some(cure), vec![self.schedule(rule)]))
    }

    fn nothing_to_remind_of(&self, rule: &Rule, kind: &Kind) -> Result<Chain, Failure> {
        let steps = vec![self.schedule(rule)];
        if let Err(outside) = self.audience(rule)? {
            return Ok(Self::nothing_ahead(outside.reason, outside.why, Some(outside.cure), steps));
        }
        let why = Said::new(
            format!(
                "There is nothing to remind this person of: no `{kind}` whose reminder is still to come."
            ),
            format!("没有什么要提醒该用户的：没有还要提醒的 {kind}。"),
        );
        let cure = Said::new(
            format!("Put one whose recipients have this openid: PUT /v1/appointments/{kind}/ID."),
            format!("登记一个收件人里有这个 openid 的预约：PUT /v1/appointments/{kind}/ID。"),
        );
        Ok(Self::nothing_ahead("no_appointment", why, Some(cure), steps))
    }

    fn nothing_ahead(reason: &str, why: Said, cure: Option<Said>, mut steps: Vec<Said>) -> Chain {
        steps.push(why.clone());
        Chain {
            due: None,
            outcome: "would_skip",
            reason: Some(reason.to_owned()),
            why,
            cure,
            certainty: Certainty::Known,
            steps,
        }
    }
}
