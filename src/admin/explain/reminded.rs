//! The past of reminders of appointments: which of a rule's occurrences were about one person, and why there was none.
//!
//! What became of one that was opened is read off its record, as for any other rule.

use std::iter;

use chrono::{DateTime, Utc};

use super::outcome::{Told, not_opened};
use super::past::Records;
use super::telling::{self, moment};
use super::{Case, Certainty, Chain};
use crate::admin::answer::Failure;
use crate::admin::desk::Desk;
use crate::admin::reminders::of_appointments;
use crate::admin::standstill::Of;
use crate::domain::count::n_of;
use crate::domain::language::Said;
use crate::domain::rule::Rule;
use crate::domain::when::IfLate;
use crate::flow::reminders::{self, Reminder};
use crate::plan::recurrence::Window;
use crate::store::{AppointmentKey, Occurrence};

/// Occurrences read at once.
const PAGE: usize = 512;

impl Desk {
    /// The newest occurrence due at or before `until` that is about an appointment of this person, if the rule reminds
    /// of appointments; else the rule's records as they are.
    pub(super) async fn records_of(
        &self,
        case: &Case,
        records: Records,
        until: DateTime<Utc>,
    ) -> Result<Records, Failure> {
        let by_rule = case.rule.as_ref().is_some_and(|rule| of_appointments(rule).is_some());
        if !by_rule && records.any().is_none_or(|record| record.about.is_none()) {
            return Ok(records);
        }
        let mut end = self.store().newest_occurrence()?;
        while let Some(newest) = end {
            let after = newest.checked_sub(n_of(PAGE));
            let page = self.store().occurrences(Some(&case.id), after, PAGE)?;
            let mut last: Option<Occurrence> = None;
            for occurrence in page {
                if occurrence.number <= newest
                    && occurrence.due_at <= until
                    && last.as_ref().is_none_or(|last| last.due_at <= occurrence.due_at)
                    && self.concerns(case, &occurrence)?
                {
                    last = Some(occurrence);
                }
            }
            if last.is_some() {
                return Ok(Records::of(last));
            }
            end = after;
            tokio::task::yield_now().await;
        }
        Ok(Records::of(None))
    }

    /// Whether an occurrence is about an appointment of this person: it is his now, or he has a delivery of it.
    fn concerns(&self, case: &Case, occurrence: &Occurrence) -> Result<bool, Failure> {
        if occurrence.about.is_none() || !occurrence.is_of_plan() {
            return Ok(occurrence.is_of_plan());
        }
        Ok(self.is_still_his(case, occurrence)? && !self.came_late(case, occurrence)?
            || self.store().delivery_to(occurrence.number, &case.person.openid)?.is_some())
    }

    /// Whether the appointment became this person's only after the reminder by his own clock, and the rule does not want that.
    fn came_late(&self, case: &Case, occurrence: &Occurrence) -> Result<bool, Failure> {
        let (Some(about), Some(rule)) = (&occurrence.about, case.rule.as_ref()) else { return Ok(false) };
        let Some(relative) = of_appointments(rule).filter(|relative| relative.late == IfLate::Skip) else {
            return Ok(false);
        };
        let app = occurrence.app.clone();
        let key = AppointmentKey { app, kind: about.kind.clone(), id: about.id.clone() };
        let Some(kept) = self.store().appointment(&key)? else { return Ok(false) };
        let dues = reminders::dues_of(self.store(), &occurrence.app, rule, relative, &kept)?;
        Ok(dues.late.contains(&case.person.openid))
    }

    /// Whether the appointment that an occurrence is about stands, and belongs to this person as it did then.
    pub(super) fn is_still_his(&self, case: &Case, occurrence: &Occurrence) -> Result<bool, Failure> {
        let Some(about) = &occurrence.about else { return Ok(true) };
        let app = occurrence.app.clone();
        let key = AppointmentKey { app, kind: about.kind.clone(), id: about.id.clone() };
        Ok(self.store().appointment(&key)?.is_some_and(|kept| kept.is_for(about, &case.person.openid)))
    }

    /// The last reminder due at or before `until` of an appointment that is this person's now, if it is later than what
    /// is recorded, with why it was not opened.
    pub(super) fn unopened(
        &self,
        case: &Case,
        recorded: Option<&Occurrence>,
        until: DateTime<Utc>,
    ) -> Result<Option<Chain>, Failure> {
        let Some(rule) = case.rule.as_ref() else { return Ok(None) };
        let Some(relative) = of_appointments(rule) else { return Ok(None) };
        let openid = &case.person.openid;
        let after = recorded.map_or(DateTime::<Utc>::UNIX_EPOCH, |recorded| recorded.due_at);
        let (of, window) = ((&case.app.appid, openid), Window { after, until });
        let Some(last) = reminders::of_person(self.store(), of, iter::once(rule), window)?.pop() else {
            return Ok(None);
        };
        let Some(joined) = last.kept.joined.get(openid).copied() else { return Ok(None) };
        let cursor = self.store().reminder_cursor(&case.app.appid, &case.id)?;
        let looked =
            cursor.is_some_and(|cursor| last.due.at <= cursor.at && last.kept.number <= cursor.change);
        let told = telling::subject(&last.key.kind, &last.key.id, last.kept.at, rule.zone);
        if !looked {
            let stops = self.stops(&case.app.appid, &case.id, Of::Coming)?;
            let mut chain = not_opened(case, rule, last.due.at, cursor.map(|cursor| cursor.at), &stops);
            chain.steps.insert(1, told);
            return Ok(Some(chain));
        }
        if joined.at <= last.due.at {
            // The rule was not in force then, or an earlier reminder of the same name has reached him.
            return Ok(None);
        }
        Ok(Some(put_late(case, rule, relative.late, &last, joined.at, told)))
    }
}

/// The appointment was made, or became this person's, only when its reminder had been due.
fn put_late(
    case: &Case,
    rule: &Rule,
    late: IfLate,
    reminder: &Reminder,
    since: DateTime<Utc>,
    told: Said,
) -> Chain {
    let (due, since) = (moment(reminder.due.at, rule.zone), moment(since, rule.zone));
    let why = match late {
        IfLate::Skip => Said::new(
            format!(
                "It was put at {since}, after its reminder was due, and the rule does not send those late."
            ),
            format!("预约在 {since} 才登记，晚于提醒时间，而规则不补发。"),
        ),
        IfLate::Send => Said::new(
            format!("It was put at {since}, after its reminder was due, and too late to send it at once."),
            format!("预约在 {since} 才登记，晚于提醒时间，立即发送也来不及了。"),
        ),
    };
    let cure = Said::new(
        "Put appointments earlier, or write `if_late: send` in the rule: then such a reminder is sent at once.",
        "提早登记预约，或在规则里写 if_late: send：这样的提醒会立即发送。",
    );
    let was_due = Said::new(format!("It was due at {due}."), format!("这一次的时间是 {due}。"));
    Chain {
        due: Some((reminder.due.at, rule.zone)),
        outcome: "not_opened",
        reason: Some("put_late".to_owned()),
        why: why.clone(),
        cure: Some(cure),
        certainty: Certainty::Known,
        steps: vec![case.schedule(rule), told, was_due, why],
    }
}

/// What was opened of an appointment that has changed since.
pub(super) fn appointment_changed(outcome: &'static str) -> Told {
    Told::known(
        outcome,
        Some("appointment_changed"),
        Said::new(
            "It was cancelled before it left: its appointment was moved or cancelled, or belongs to this person no more.",
            "发出之前取消：预约改了时间、被取消，或不再属于该用户。",
        ),
        Some(Said::new(
            "Nothing needs to be done: a new time has a reminder of its own.",
            "无需处理：新的时间有它自己的提醒。",
        )),
    )
}
