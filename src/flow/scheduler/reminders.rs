//! Opens reminders of appointments: those that came due, and those of appointments that changed since.
//!
//! The appointments are read while others change them, so nothing rests on what was read: the store opens a reminder only
//! while its appointment has the number that was read, and the cursor takes the number that was the newest when the
//! look began. What changes during a look is met by the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::Planned;
use crate::domain::hold::LOST_UNTIL;
use crate::domain::id::{AppId, AppointmentId, OpenId};
use crate::domain::rule::{MissedPolicy, Rule};
use crate::domain::when::{IfLate, Offset, Relative};
use crate::domain::zone::Zone;
pub(super) use crate::flow::reminders::of_appointments;
use crate::flow::reminders::{Dues, dues_of};
use crate::plan::missed::SKIP_AFTER;
use crate::plan::own_time;
use crate::plan::recurrence::{self, Window};
use crate::plan::turn;
use crate::rules::snapshot;
use crate::store::{
    APPOINTMENT_DAYS, AppointmentKey, Cursor, Found, Joined, KeptAppointment, Late, MAX_OPENED, NewReminder,
    OneReminder, Reminded, Reminders, Store, Unavailable,
};

/// Appointments read at a time.
const PAGE: usize = 256;

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What is due is sent.
    Usual,
    /// What came due since the books were written may have been sent in time.
    Lost,
}

/// Takes changes since the last look into account for when the next reminder is due; whether one is due now is for
/// `planned.next` to say.
pub(super) async fn hear(
    store: &Arc<dyn Store>,
    planned: &mut Planned,
    newest: u64,
) -> Result<(), Unavailable> {
    if planned.heard >= newest {
        return Ok(());
    }
    let Some(relative) = of_appointments(&planned.rule).cloned() else { return Ok(()) };
    let (app, after) = (planned.app.clone(), planned.heard);
    let clocks = Clocks::of(planned, &relative);
    let read = move |store: &dyn Store| {
        let (mut after, mut next) = (after, None::<DateTime<Utc>>);
        loop {
            let page = store.changes(&app, &relative.of, after, PAGE)?;
            for (number, id) in &page {
                after = *number;
                let stands = kept(store, &app, &relative, id)?.filter(|kept| kept.appointment().is_some());
                next = next.into_iter().chain(stands.iter().flat_map(|kept| clocks.dues(kept.at))).min();
            }
            if page.len() < PAGE {
                return Ok(next);
            }
        }
    };
    let changed = super::super::read(store, read).await?;
    planned.next = [planned.next, changed].into_iter().flatten().min();
    planned.heard = newest;
    Ok(())
}

fn kept(
    store: &dyn Store,
    app: &AppId,
    relative: &Relative,
    id: &AppointmentId,
) -> Result<Option<KeptAppointment>, Unavailable> {
    store.appointment(&AppointmentKey { app: app.clone(), kind: relative.of.clone(), id: id.clone() })
}

/// Opens what is due of a rule at `now`; answers the numbers of what opened or was recorded.
pub(super) async fn open(
    store: &Arc<dyn Store>,
    planned: &mut Planned,
    look: Look,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, Unavailable> {
    let Some(relative) = of_appointments(&planned.rule).cloned() else { return Ok(Vec::new()) };
    // Before anything else is read: what changes from here on has a larger number.
    let read = |store: &dyn Store| Ok((store.newest_change()?, lost_until(store)?));
    let (newest, lost_until) = super::super::read(store, read).await?;
    let mut ids: VecDeque<AppointmentId> = due_ids(store, planned, &relative, now).await?.into();
    let from = Cursor { at: planned.cursor, change: planned.change };
    let (mut opened, mut busy) = (Vec::new(), false);
    // The cursor stays until all are open: a crash in between finds them again, by the names they have.
    while !ids.is_empty() {
        let mut reminders = Vec::new();
        while reminders.len() < MAX_OPENED
            && let Some(id) = ids.pop_front()
        {
            let (app, of, named) = (planned.app.clone(), relative.clone(), id.clone());
            let rule = Arc::clone(&planned.rule);
            let read = move |store: &dyn Store| {
                let Some(kept) = kept(store, &app, &of, &named)? else { return Ok(None) };
                let dues = dues_of(store, &app, &rule, &of, &kept)?;
                Ok(Some((kept, dues)))
            };
            let found = super::super::read(store, read).await?;
            reminders.extend(found.and_then(|(kept, dues)| {
                made(&planned.rule, &relative, (look, from, lost_until), id, &kept, &dues, now)
            }));
        }
        if reminders.is_empty() {
            continue;
        }
        let Reminded::Moved(answers) = remind(store, planned, &relative, from, from, &reminders).await?
        else {
            return stale(store, planned).await.map(|()| opened);
        };
        for (answer, new) in answers.iter().zip(&reminders) {
            match answer {
                OneReminder::As(number) => opened.push(*number),
                OneReminder::Nobody => {}
                // Changed since it was read: it is read again.
                OneReminder::Changed => ids.push_back(new.id.clone()),
                OneReminder::Busy => busy = true,
            }
        }
    }
    // What could not be opened yet is met again by its number.
    let to = Cursor { at: now.max(from.at), change: if busy { from.change } else { newest } };
    match remind(store, planned, &relative, from, to, &[]).await? {
        Reminded::Moved(_) => (planned.cursor, planned.change) = (to.at, to.change),
        Reminded::Stale(_) => return stale(store, planned).await.map(|()| opened),
    }
    planned.heard = planned.change;
    planned.next = next(store, planned, &relative).await?;
    Ok(opened)
}

/// Somebody else moved the cursor: what is due from there is found at the next look.
async fn stale(store: &Arc<dyn Store>, planned: &mut Planned) -> Result<(), Unavailable> {
    let rule = planned.rule.id.clone();
    warn!(rule.id = %rule, "Cursor of rule {rule} was moved by somebody else");
    let app = planned.app.clone();
    let cursor = super::super::read(store, move |store| store.reminder_cursor(&app, &rule)).await?;
    if let Some(cursor) = cursor {
        (planned.cursor, planned.change, planned.heard) = (cursor.at, cursor.change, cursor.change);
    }
    Ok(())
}

async fn remind(
    store: &Arc<dyn Store>,
    planned: &Planned,
    relative: &Relative,
    from: Cursor,
    to: Cursor,
    reminders: &[NewReminder],
) -> Result<Reminded, Unavailable> {
    let asked = Reminders {
        app: planned.app.clone(),
        rule: planned.rule.id.clone(),
        template: planned.rule.template.id.clone(),
        kind: planned.rule.template.kind,
        of: relative.of.clone(),
        from,
        to,
        reminders: reminders.to_vec(),
        snapshot: snapshot::hash(&planned.bytes),
        snapshot_bytes: planned.bytes.clone(),
        priority: planned.rule.priority,
        on_doubt: planned.rule.on_doubt,
    };
    Ok(store.remind(asked).await?.value)
}

/// Moves a rule's cursor to `now` and to the newest change, over whatever there is.
pub(super) async fn pass(
    store: &Arc<dyn Store>,
    planned: &mut Planned,
    now: DateTime<Utc>,
) -> Result<(), Unavailable> {
    let Some(relative) = of_appointments(&planned.rule).cloned() else { return Ok(()) };
    let newest = super::super::read(store, Store::newest_change).await?;
    let from = Cursor { at: planned.cursor, change: planned.change };
    let to = Cursor { at: now, change: newest };
    match remind(store, planned, &relative, from, to, &[]).await? {
        Reminded::Moved(_) => (planned.cursor, planned.change) = (to.at, to.change),
        Reminded::Stale(_) => {}
    }
    Ok(())
}

/// Appointments whose reminder came due since the cursor, by their time, and those that changed since, by their number.
async fn due_ids(
    store: &Arc<dyn Store>,
    planned: &Planned,
    relative: &Relative,
    now: DateTime<Utc>,
) -> Result<Vec<AppointmentId>, Unavailable> {
    let clocks = Clocks::of(planned, relative);
    let (app, relative) = (planned.app.clone(), relative.clone());
    let (cursor, change) = (planned.cursor, planned.change);
    let read = move |store: &dyn Store| {
        let window = recurrence::reach(&relative, Window { after: cursor, until: now });
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let of = (&app, &relative.of);
            let page = store.appointments(of, (window.after, window.until), after.as_ref(), PAGE)?;
            for (at, id) in &page {
                if clocks.dues(*at).any(|due| cursor < due && due <= now) {
                    ids.push(id.clone());
                }
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                break;
            }
        }
        let mut after = change;
        loop {
            let page = store.changes(&app, &relative.of, after, PAGE)?;
            for (number, id) in &page {
                after = *number;
                let at = kept(store, &app, &relative, id)?.and_then(|kept| Some(kept.appointment()?.at));
                if at.into_iter().flat_map(|at| clocks.dues(at)).any(|due| due <= cursor) {
                    ids.push(id.clone());
                }
            }
            if page.len() < PAGE {
                return Ok(ids);
            }
        }
    };
    super::super::read(store, read).await
}

/// Until when what was due may have been sent without a record: the end of the last hold.
fn lost_until(store: &dyn Store) -> Result<Option<DateTime<Utc>>, Unavailable> {
    let bytes = store.kept(LOST_UNTIL)?.and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.and_then(|bytes| DateTime::from_timestamp_millis(i64::from_be_bytes(bytes))))
}

/// The reminder of an appointment as it was read, if there is one to open at `now`.
fn made(
    rule: &Rule,
    relative: &Relative,
    (look, from, lost_until): (Look, Cursor, Option<DateTime<Utc>>),
    id: AppointmentId,
    kept: &KeptAppointment,
    dues: &Dues,
    now: DateTime<Utc>,
) -> Option<NewReminder> {
    // It opens for the first of them, and holds the others until their own time.
    let (due, zone) = *dues.all.first()?;
    let (last, _) = *dues.all.last()?;
    if due.at > now {
        return None;
    }
    let sends_late = relative.late == IfLate::Send && !dues.late.is_empty();
    if due.at <= from.at {
        // The walk by time has passed it: only who belongs to it since then can be new.
        let is_new = |(_, joined): &(&OpenId, &Joined)| joined.number > from.change;
        // Of one that the books lacked after a restore nobody knows whether it was sent: at most once is the promise.
        let sends = relative.late == IfLate::Send && Some(due.at) > lost_until;
        let wanted = |(openid, _): (&OpenId, &Joined)| sends || !dues.late.contains(openid);
        if !kept.joined.iter().filter(is_new).any(wanted) {
            return None;
        }
    }
    let grace = TimeDelta::from_std(rule.grace).unwrap_or(TimeDelta::MAX);
    let allowed = match rule.missed {
        MissedPolicy::Latest | MissedPolicy::All { .. } => grace,
        MissedPolicy::Skip => grace.min(SKIP_AFTER),
    };
    let in_time = now - last.at <= allowed;
    let until = match relative.offset {
        Offset::Before(_) => kept.at,
        Offset::After(_) | Offset::SameDay => due.at + TimeDelta::days(APPOINTMENT_DAYS),
    };
    let late_now = sends_late && !in_time;
    if late_now && now > until && look == Look::Usual {
        // Nobody wants to hear of it any more.
        return None;
    }
    let relevant = match relative.offset {
        Offset::Before(_) => kept.at,
        Offset::After(_) | Offset::SameDay => DateTime::<Utc>::MAX_UTC,
    };
    let begins = if sends_late { now.max(last.at) } else { last.at };
    let deadline = turn::end(rule, begins).min(relevant);
    let is_in_time = look == Look::Lost || (in_time || sends_late) && now <= deadline;
    let found = if is_in_time { Found::InTime } else { Found::TooLate };
    let late = match relative.late {
        IfLate::Skip => Late::Skip,
        IfLate::Send => Late::Send,
    };
    let number = kept.number;
    Some(NewReminder { id, at: kept.at, number, due, last_due_at: last.at, zone, deadline, late, found })
}

/// By which clocks reminders of any appointment may be due.
struct Clocks {
    rule: Arc<Rule>,
    relative: Relative,
    zones: Vec<Zone>,
}

impl Clocks {
    fn of(planned: &Planned, relative: &Relative) -> Self {
        let rule = Arc::clone(&planned.rule);
        let zones = if own_time::counts_days(&rule, relative) {
            planned.runs.iter().map(|run| run.zone).collect()
        } else {
            vec![rule.zone]
        };
        Self { rule, relative: relative.clone(), zones }
    }

    /// When that of an appointment at `at` may be due; by whose it is, those it belongs to say.
    fn dues(&self, at: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let due = move |zone: &Zone| recurrence::reminder(&self.rule.when, &self.relative, *zone, at);
        self.zones.iter().filter_map(due).map(|due| due.at)
    }
}

/// When the next reminder is due, of appointments as they are now.
pub(super) async fn next(
    store: &Arc<dyn Store>,
    planned: &Planned,
    relative: &Relative,
) -> Result<Option<DateTime<Utc>>, Unavailable> {
    let clocks = Clocks::of(planned, relative);
    let (app, relative, cursor) = (planned.app.clone(), relative.clone(), planned.cursor);
    let read = move |store: &dyn Store| {
        let from = recurrence::reach(&relative, Window { after: cursor, until: cursor }).after;
        let (mut next, mut after) = (None::<DateTime<Utc>>, None);
        loop {
            let page = store.appointments(
                (&app, &relative.of),
                (from, DateTime::<Utc>::MAX_UTC),
                after.as_ref(),
                PAGE,
            )?;
            for (at, _) in &page {
                // From here on all are due later than the one that was found.
                let found = next.map(|next| Window { after: next, until: next });
                if found.is_some_and(|found| recurrence::reach(&relative, found).until < *at) {
                    return Ok(next);
                }
                next = next.into_iter().chain(clocks.dues(*at).filter(|due| *due > cursor)).min();
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(next);
            }
        }
    };
    super::super::read(store, read).await
}
