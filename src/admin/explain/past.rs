//! What became of a past due time for one person, as the books have it.
//!
//! A person with a record of his own is read off it. Who had no consent has none, he was only counted:
//! for him the counts, the account and what is known of him now are put together, and the chain says
//! which of it is certain.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::outcome::{
    Told, accepted_only_after, attempts, changed, covers, keep_running, late, not_in_force, not_opened,
    not_reached, settled, skipped,
};
use super::reminded::appointment_changed;
use super::stopped::stopped;
use super::telling::{self, moment};
use super::{Case, Certainty, Chain};
use crate::admin::answer::Failure;
use crate::admin::desk::Desk;
use crate::admin::reminders::Subject;
use crate::admin::standstill::Of;
use crate::domain::consent::{Account, NoGrant};
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::RuleId;
use crate::domain::language::Said;
use crate::domain::occurrence::{OccurrenceState, SkipReason, Whose};
use crate::domain::rule::{MissedPolicy, Rule};
use crate::domain::template::Template;
use crate::plan::own_time;
use crate::plan::render::Shown;
use crate::plan::turn::{self, Person};
use crate::plan::words;
use crate::rules::snapshot;
use crate::store::{Delivery, Occurrence};

/// Occurrences read at once.
const PAGE: usize = 512;
/// Reminders that are named as having got somebody's consents.
const MAX_TOOK: usize = 3;
/// Chunks of deliveries read at once.
const PAGE_CHUNKS: usize = 8;

/// The records of a rule around an instant.
pub(super) struct Records {
    /// The newest one due at or before it.
    last: Option<Occurrence>,
    /// The first one due after it.
    next: Option<Occurrence>,
}

impl Records {
    /// This one alone.
    pub(super) fn of(last: Option<Occurrence>) -> Self {
        Self { last, next: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.any().is_none()
    }

    pub(super) fn any(&self) -> Option<&Occurrence> {
        self.last.as_ref().or(self.next.as_ref())
    }
}

impl Desk {
    /// The records of a rule around `until`; looked for from the newest back, since people ask about yesterday.
    pub(super) async fn records(
        &self,
        rule: &RuleId,
        until: DateTime<Utc>,
        is_his: impl Fn(&Occurrence) -> bool,
    ) -> Result<Records, Failure> {
        self.records_after(rule, until, 0, is_his).await
    }

    /// The same of those with a number after `floor`.
    async fn records_after(
        &self,
        rule: &RuleId,
        until: DateTime<Utc>,
        floor: u64,
        is_his: impl Fn(&Occurrence) -> bool,
    ) -> Result<Records, Failure> {
        let mut records = Records { last: None, next: None };
        let mut end = self.store().newest_occurrence()?;
        while let Some(newest) = end.filter(|newest| *newest > floor) {
            // A page of all rules' numbers; a rule's records are in the order of its due times.
            let after = newest.checked_sub(n_of(PAGE));
            let page = self.store().occurrences(Some(rule), after, PAGE)?;
            for occurrence in
                page.into_iter().filter(|occurrence| occurrence.number <= newest && is_his(occurrence))
            {
                if occurrence.due_at <= until {
                    records.last = Some(occurrence);
                } else if records.next.as_ref().is_none_or(|next| occurrence.due_at < next.due_at) {
                    records.next = Some(occurrence);
                }
            }
            if records.last.is_some() {
                break;
            }
            end = after;
            tokio::task::yield_now().await;
        }
        Ok(records)
    }

    /// The same with what was sent to the person by hand, where that is the last that was.
    pub(super) async fn or_by_hand(
        &self,
        case: &Case,
        records: Records,
        until: DateTime<Utc>,
    ) -> Result<Records, Failure> {
        let since = records.last.as_ref().map(|last| last.due_at);
        let his = |occurrence: &Occurrence| {
            let to = |delivery: &Delivery| delivery.openid == case.person.openid;
            let only = self.store().deliveries(Some(occurrence.number), None, 1);
            occurrence.is_by_hand()
                && Some(occurrence.due_at) >= since
                && only.is_ok_and(|only| only.iter().any(to))
        };
        // What came before the last due time is not looked for.
        let floor = records.last.as_ref().map_or(0, |last| last.number);
        let by_hand = self.records_after(&case.id, until, floor, his).await?;
        Ok(Records { last: by_hand.last.or(records.last), next: records.next })
    }

    /// The same of a person's clock, where the rule is of the recipients' own time.
    pub(super) async fn by_his_clock(
        &self,
        case: &Case,
        records: Records,
        until: DateTime<Utc>,
    ) -> Result<Records, Failure> {
        let everybody = |found: &Option<Occurrence>| {
            found.as_ref().is_none_or(|occurrence| occurrence.whose == Whose::Everybody)
        };
        if everybody(&records.last) && everybody(&records.next) {
            return Ok(records);
        }
        let default = case.rule.as_ref().map_or(case.live.config.zone, |rule| rule.zone);
        let is_his = |occurrence: &Occurrence| match (occurrence.whose, &case.recipient) {
            _ if !occurrence.is_of_plan() => false,
            (Whose::Everybody, _) => true,
            (Whose::Default, None) => true,
            (Whose::OfZone, None) => false,
            (Whose::Default | Whose::OfZone, Some(recipient)) => {
                recipient.zone_on(occurrence.civil.date(), default) == occurrence.zone
            }
        };
        self.records(&case.id, until, is_his).await
    }

    /// The chain for the last due time at or before `until`; `None` when there was none.
    pub(super) fn past(
        &self,
        case: &Case,
        records: &Records,
        until: DateTime<Utc>,
    ) -> Result<Option<Chain>, Failure> {
        if let Some(unopened) = self.unopened(case, records.last.as_ref(), until)? {
            return Ok(Some(unopened));
        }
        // Of a rule that is not in force any more its own record says when it was due, also one of several due times.
        let folded = records.next.as_ref().filter(|next| next.state == OccurrenceState::Missed);
        let was = match (&case.rule, folded.or(records.last.as_ref())) {
            (None, Some(record)) => {
                let bytes = self.store().snapshot(&record.snapshot)?;
                bytes.and_then(|bytes| snapshot::decode(&bytes).ok()).map(Arc::new)
            }
            (Some(_), _) | (None, None) => None,
        };
        let stated = case.rule.as_ref().or(was.as_ref()).and_then(|rule| {
            let (due, zone) = own_time::last(rule, case.recipient.as_ref(), until)?;
            Some((own_time::by_clock(rule, zone), due.at))
        });
        let recorded = records.last.as_ref().map(|last| last.due_at);
        if let Some((rule, at)) =
            stated.as_ref().map(|(rule, at)| (&**rule, *at)).filter(|(_, at)| Some(*at) > recorded)
        {
            if let Some(folded) = folded.filter(|folded| covers(folded, rule, at)) {
                return Ok(Some(self.recorded(case, folded, at)?));
            }
            let cursor = self.store().cursor(&case.app.appid, &case.id)?;
            if was.is_none() && cursor.is_none_or(|cursor| cursor < at) {
                let stops = self.stops(&case.app.appid, &case.id, Of::Coming)?;
                return Ok(Some(not_opened(case, rule, at, cursor, &stops)));
            }
            if was.is_none() && records.last.is_none() {
                return Ok(Some(not_in_force(case, rule, at)));
            }
        }
        records.last.as_ref().map(|last| self.recorded(case, last, last.due_at)).transpose()
    }

    /// The chain of a due time that `occurrence` records.
    fn recorded(
        &self,
        case: &Case,
        occurrence: &Occurrence,
        due_at: DateTime<Utc>,
    ) -> Result<Chain, Failure> {
        let zone = occurrence.zone;
        let at = moment(due_at, zone);
        let snapshot = self.store().snapshot(&occurrence.snapshot)?;
        let rule = snapshot.and_then(|bytes| snapshot::decode(&bytes).ok());
        let mut rule = rule.or_else(|| case.rule.as_deref().cloned());
        if let Some(rule) = rule.as_mut().filter(|_| occurrence.whose != Whose::Everybody) {
            rule.zone = occurrence.zone;
        }
        let mut steps: Vec<Said> = rule.iter().map(|rule| case.schedule(rule)).collect();
        steps.push(if occurrence.is_by_hand() {
            Said::new(
                format!("An operator sent it by hand at {at} (`tixing send`)."),
                format!("运维人员在 {at} 手动发送（tixing send）。"),
            )
        } else {
            Said::new(format!("It was due at {at}."), format!("这一次的时间是 {at}。"))
        });
        if let Some(about) = &occurrence.about {
            steps.push(telling::subject(&about.kind, &about.id, about.at, zone));
        }
        let told = match occurrence.state {
            OccurrenceState::Missed => {
                let told = self.missed(occurrence, due_at, rule.as_ref())?;
                steps.push(told.why.clone());
                told
            }
            OccurrenceState::Open
            | OccurrenceState::Held
            | OccurrenceState::Done
            | OccurrenceState::Cancelled => {
                steps.push(could_leave(occurrence, rule.as_ref()));
                match self.store().delivery_to(occurrence.number, &case.person.openid)? {
                    Some(delivery) => {
                        self.delivered(case, occurrence, &delivery, rule.as_ref(), &mut steps)?
                    }
                    None => self.without_record(case, occurrence, rule.as_ref(), &mut steps)?,
                }
            }
        };
        let Told { outcome, reason, why, cure, certainty } = told;
        Ok(Chain { due: Some((due_at, zone)), outcome, reason, why, cure, certainty, steps })
    }

    /// Why an occurrence was missed: grace for sure, or perhaps the policy.
    fn missed(
        &self,
        occurrence: &Occurrence,
        due_at: DateTime<Utc>,
        rule: Option<&Rule>,
    ) -> Result<Told, Failure> {
        let Some(rule) = rule else {
            let why = Said::new(
                "It was missed: found later than its grace or policy allows.",
                "这一次错过了：发现时已超过 grace 或 missed 允许的时间。",
            );
            return Ok(Told::known("missed", None, why, Some(keep_running())));
        };
        let grace = words::span(rule.grace);
        let by_grace = || {
            Said::new(
                format!(
                    "It was missed: tixing found it later than its `grace` of {grace} allows, so nobody got it."
                ),
                format!("这一次错过了：tixing 发现它时已超过 grace（{}），所以谁都没有收到。", grace.zh),
            )
        };
        let (reason, why) = match rule.missed {
            MissedPolicy::Skip => (
                "skip",
                Said::new(
                    "It was missed: tixing found it over 60 seconds late, and the rule says `missed: skip`.",
                    "这一次错过了：tixing 发现它时已迟 60 秒以上，而规则写着 missed: skip。",
                ),
            ),
            MissedPolicy::Latest | MissedPolicy::All { .. } => {
                // The policy only passes over what a newer one, opened within its grace, took the place of.
                let grace = TimeDelta::from_std(rule.grace).unwrap_or(TimeDelta::MAX);
                let until = due_at.checked_add_signed(grace).unwrap_or(DateTime::<Utc>::MAX_UTC);
                if occurrence.about.is_none() && self.opened_between(occurrence, due_at, until)? {
                    let policy = match rule.missed {
                        MissedPolicy::All { max } => format!("missed: all, max: {max}"),
                        MissedPolicy::Latest | MissedPolicy::Skip => "missed: latest".to_owned(),
                    };
                    (
                        "grace_or_policy",
                        Said::new(
                            format!(
                                "It was missed: tixing found it late, and a newer one took its place (`{policy}`)."
                            ),
                            format!("这一次错过了：tixing 发现得晚，由更新的一次代替（{policy}）。"),
                        ),
                    )
                } else {
                    ("grace", by_grace())
                }
            }
        };
        Ok(Told::known("missed", Some(reason), why, Some(keep_running())))
    }

    /// Whether another occurrence of the rule, due in (from, until], was opened.
    fn opened_between(
        &self,
        of: &Occurrence,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, Failure> {
        let mut after = of.number;
        loop {
            let page = self.store().occurrences(Some(&of.rule), Some(after), 64)?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.number;
            let opened = |one: &Occurrence| {
                one.is_of_plan()
                    && one.state != OccurrenceState::Missed
                    && from < one.due_at
                    && one.due_at <= until
            };
            if page.iter().any(opened) {
                return Ok(true);
            }
            if last.is_of_plan() && last.due_at > until {
                return Ok(false);
            }
        }
    }

    /// Read off the person's own record.
    fn delivered(
        &self,
        case: &Case,
        occurrence: &Occurrence,
        delivery: &Delivery,
        rule: Option<&Rule>,
        steps: &mut Vec<Said>,
    ) -> Result<Told, Failure> {
        let zone = occurrence.zone;
        // By an operator's word, neither audience nor turn is the rule's.
        let of_plan = rule.filter(|_| !occurrence.is_by_hand());
        if !occurrence.is_by_hand() {
            steps.push(Said::new("This person was in its audience.", "该用户在这一次的范围内。"));
        }
        let turn = of_plan.and_then(|rule| {
            let person = Person::new(rule, &case.person.openid, &case.profile());
            turn::turn(rule, person, occurrence.due_at, occurrence.deadline, occurrence.due_at).ok()
        });
        steps.extend(of_plan.zip(turn).and_then(|(rule, turn)| telling::turn(rule, turn, zone)));
        if delivery.state == State::Cancelled && !self.is_still_his(case, occurrence)? {
            let told = appointment_changed(delivery.state.as_str());
            steps.push(told.why.clone());
            return Ok(told);
        }
        if delivery.state == State::Skipped {
            let subject = occurrence.about.as_ref().map(|about| Subject::of(&occurrence.app, about));
            let about = match &subject {
                Some(subject) => self.appointment(subject)?,
                None => None,
            };
            let shown = subject.as_ref().zip(about.as_ref());
            let shown = shown.map(|(subject, appointment)| Shown { id: &subject.key.id, appointment });
            let mut told = skipped(case, occurrence, delivery, rule, shown);
            if delivery.skipped == Some(SkipReason::NoConsent) {
                // It was held for later, and by then others had taken them.
                let (app, template) = (&case.app.appid, &occurrence.template);
                let account = self.store().bare_account(app, template, &case.person.openid)?;
                told.why = self.with_takers(told.why, occurrence, account.as_ref())?;
            }
            steps.push(told.why.clone());
            return Ok(told);
        }
        if delivery.state != State::Held {
            steps.push(telling::grant(delivery.grant.as_ref(), zone));
        }
        steps.push(attempts(delivery, occurrence));
        let account =
            self.store().bare_account(&case.app.appid, &occurrence.template, &case.person.openid)?;
        let deadline = turn.map(|turn| turn.deadline).or_else(|| common_deadline(occurrence, of_plan));
        let told = settled(occurrence, delivery, deadline, account.as_ref());
        let told = stopped(told, occurrence, delivery, &self.stops_of(occurrence)?, case.now);
        steps.push(told.why.clone());
        let told = self.with_repetitions(occurrence, delivery, told, account.as_ref(), steps)?;
        if let Some(template) = case.template(occurrence) {
            steps.push(telling::account(account.as_ref(), template, zone));
        }
        Ok(told)
    }

    /// No record of the person: what the counts, the account and the person as he is now say.
    fn without_record(
        &self,
        case: &Case,
        occurrence: &Occurrence,
        rule: Option<&Rule>,
        steps: &mut Vec<Said>,
    ) -> Result<Told, Failure> {
        let passed = occurrence.walked || occurrence.position.as_ref() >= Some(&case.person.openid);
        if !passed {
            let told = not_reached(occurrence, &self.stops_of(occurrence)?);
            steps.push(told.why.clone());
            return Ok(told);
        }
        if let Some(told) = case.erased_since(occurrence.due_at) {
            steps.push(told.why.clone());
            return Ok(told);
        }
        let account =
            self.store().bare_account(&case.app.appid, &occurrence.template, &case.person.openid)?;
        let told = self.concluded(case, occurrence, rule, account.as_ref())?;
        steps.push(told.why.clone());
        if let Some(template) = case.template(occurrence) {
            steps.push(telling::account(account.as_ref(), template, occurrence.zone));
        }
        steps.push(match told.certainty {
            Certainty::Known => Said::new(
                "That is certain: the counts of the occurrence and the books leave nothing else.",
                "这一点可以确定：这一次的统计和账本只剩这一种可能。",
            ),
            Certainty::Inferred => Said::new(
                "Who has no consent is only counted, not recorded, so this is concluded from what is known now; \
                 tags, fields or consents may have been different then.",
                "没有授权的人只计数、不留记录，所以这是根据现在的资料推断的；当时的标签、字段或授权可能不同。",
            ),
        });
        Ok(told)
    }

    fn concluded(
        &self,
        case: &Case,
        occurrence: &Occurrence,
        rule: Option<&Rule>,
        account: Option<&Account>,
    ) -> Result<Told, Failure> {
        let outside = |reason: &str, why: Said, cure: Said, certainty: Certainty| Told {
            outcome: "not_in_audience",
            reason: Some(reason.to_owned()),
            why,
            cure: Some(cure),
            certainty,
        };
        let zone = occurrence.zone;
        let Some(recipient) = &case.recipient else {
            let unknown = case.unknown();
            return Ok(outside(unknown.reason, unknown.why, unknown.cure, Certainty::Known));
        };
        if occurrence.about.is_none() && recipient.created_at > occurrence.due_at {
            let since = moment(recipient.created_at, zone);
            let why = Said::new(
                format!(
                    "This person was first heard of at {since}, after the due time, and the walk had passed by then."
                ),
                format!("该用户在 {since} 才第一次出现，晚于这一次的时间，当时已经轮过。"),
            );
            let cure = Said::new("The next due time can reach this person.", "下一次就可以发给该用户。");
            let surely = recipient.created_at > occurrence.deadline;
            let certainty = if surely { Certainty::Known } else { Certainty::Inferred };
            return Ok(outside("came_later", why, cure, certainty));
        }
        if let Some(rule) = rule
            && let Err(found) = case.audience(rule)?
        {
            return Ok(outside(found.reason, found.why, found.cure, Certainty::Inferred));
        }
        let n = |reason: SkipReason| occurrence.counts.skipped.get(&reason).copied().unwrap_or(0);
        let (without, refused) = (n(SkipReason::NoConsent), n(SkipReason::Refused));
        let expired = self.expired_unrecorded(occurrence)?;
        if without + refused == 0 {
            let late = || late(occurrence, common_deadline(occurrence, rule));
            return Ok(if expired > 0 { late() } else { changed(occurrence) });
        }
        let refuses = account.is_some_and(|account| account.why_none() == NoGrant::Refused);
        let refused_then = refused > 0 && (without == 0 || refuses);
        let reason = if refused_then { SkipReason::Refused } else { SkipReason::NoConsent };
        let template = case.template(occurrence);
        let (_, cure) = template
            .map_or_else(Default::default, |template| telling::without(reason, template, &case.shown));
        let why = if refused_then {
            Said::new(
                "No consent was left at that time, and the last answer was a refusal, so nothing was sent.",
                "当时没有剩余授权，而且最近一次的回答是拒绝，所以没有发送。",
            )
        } else {
            Said::new(
                "No consent was left at that time, so nothing was sent.",
                "当时没有剩余授权，所以没有发送。",
            )
        };
        let why = self.with_takers(why, occurrence, account)?;
        let never = account.is_none_or(|account| accepted_only_after(account, occurrence.due_at));
        let certainty =
            if never && expired == 0 && rule.is_some() { Certainty::Known } else { Certainty::Inferred };
        Ok(Told {
            outcome: "skipped",
            reason: Some(reason.as_str().to_owned()),
            why,
            cure: Some(cure),
            certainty,
        })
    }

    /// Says besides which other rules got the person's consents within a day of this due time, the nearest first.
    fn with_takers(
        &self,
        why: Said,
        occurrence: &Occurrence,
        account: Option<&Account>,
    ) -> Result<Said, Failure> {
        let numbers: BTreeSet<u64> =
            account.iter().flat_map(|account| &account.out).map(|id| id.occurrence).collect();
        let mut took = Vec::new();
        for number in numbers.into_iter().filter(|number| *number != occurrence.number) {
            let Some(other) = self.store().occurrence(number)? else { continue };
            let apart = (other.due_at - occurrence.due_at).abs();
            if apart <= TimeDelta::days(1) {
                took.push((apart, other));
            }
        }
        took.sort_by_key(|(apart, other)| (*apart, other.number));
        let named = took.iter().take(MAX_TOOK);
        let named: Vec<String> = named
            .map(|(_, other)| format!("`{}` {}", other.rule, moment(other.due_at, occurrence.zone)))
            .collect();
        let named = named.join(", ");
        if took.is_empty() {
            return Ok(why);
        }
        let Said { en, zh } = why;
        Ok(Said::new(
            format!("{en} Consents of about then went to: {named}."),
            format!("{zh}前后一天内的授权用在了：{named}。"),
        ))
    }

    /// How many were passed after the deadline: those counted as expired who have no record.
    fn expired_unrecorded(&self, occurrence: &Occurrence) -> Result<u64, Failure> {
        let counted = occurrence.counts.in_state(State::Expired);
        if counted == 0 {
            return Ok(0);
        }
        let mut recorded = 0;
        let mut after = None;
        loop {
            let page = self.store().deliveries(Some(occurrence.number), after, PAGE_CHUNKS)?;
            let Some(last) = page.last() else { return Ok(counted.saturating_sub(recorded)) };
            after = Some(last.id);
            recorded += n_of(page.iter().filter(|delivery| delivery.state == State::Expired).count());
        }
    }
}

/// The deadline of an occurrence, where it is everybody's: with `quiet` or `spread` each has his own, and it is after the last.
fn common_deadline(occurrence: &Occurrence, rule: Option<&Rule>) -> Option<DateTime<Utc>> {
    let is_common = |rule: &Rule| rule.quiet.is_none() && rule.spread.is_zero();
    rule.is_none_or(is_common).then_some(occurrence.deadline)
}

/// Until when the messages of what was opened could leave.
fn could_leave(occurrence: &Occurrence, rule: Option<&Rule>) -> Said {
    let until = moment(occurrence.deadline, occurrence.zone);
    if occurrence.is_by_hand() {
        return Said::new(
            format!(
                "It could leave until {until}: a minute at most, whatever the `grace` and `spread` of its rule."
            ),
            format!("最晚可以在 {until} 发出：手动发送最多等一分钟，与规则的 grace、spread 无关。"),
        );
    }
    let grace = rule.map(|rule| words::span(rule.grace));
    if common_deadline(occurrence, rule).is_none() {
        let grace = grace.unwrap_or_default();
        return Said::new(
            format!("It was opened in time; each message could leave for {grace} after its turn (`grace`)."),
            format!("已按时开始处理，每条消息最晚可以在轮到之后 {} 内发出（grace）。", grace.zh),
        );
    }
    let grace = grace.map_or_else(Said::default, |grace| {
        Said::new(format!(" (`grace`: {grace})"), format!("（grace：{}）", grace.zh))
    });
    Said::new(
        format!("It was opened in time; its messages could leave until {until}{grace}."),
        format!("已按时开始处理，消息最晚可以在 {until} 发出{}。", grace.zh),
    )
}

impl Case {
    /// The occurrence's template as it is configured now.
    pub(super) fn template(&self, occurrence: &Occurrence) -> Option<&Template> {
        self.app.templates.values().find(|template| template.id == occurrence.template)
    }
}
