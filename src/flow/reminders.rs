//! Reminders of one person's appointments, ahead and behind, and whom a reminder is for.
//!
//! The appointments are found by whose they are, as they are now; when a reminder is due is for `plan` to say, and
//! whether it opens is the scheduler's and the store's. Who has muted, or whom a rule does not reach, is not asked here.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::id::{AppId, OpenId};
use crate::domain::occurrence::Due;
use crate::domain::rule::Rule;
use crate::domain::when::{Form, IfLate, Relative};
use crate::domain::zone::Zone;
use crate::plan::own_time;
use crate::plan::recurrence::Window;
use crate::store::{AppointmentKey, Joined, KeptAppointment, Store, Unavailable};

/// Names of appointments read at a time.
const PAGE: usize = 256;
/// Most appointments of one person that are looked at for one question.
const MAX_OWNED: usize = 4_096;

/// When a rule reminds somebody of an appointment that is his.
#[derive(Clone, Debug)]
pub struct Reminder {
    /// Which rule.
    pub rule: Arc<Rule>,
    /// When.
    pub due: Due,
    /// Of which appointment.
    pub key: AppointmentKey,
    /// The appointment as it was read.
    pub kept: KeptAppointment,
}

/// The form of a rule that reminds of appointments.
#[must_use]
pub fn of_appointments(rule: &Rule) -> Option<&Relative> {
    match &rule.when.form {
        Form::Relative(relative) => Some(relative),
        Form::Cron(_) | Form::At(_) | Form::Every(_) => None,
    }
}

/// What of some rules is due in `window` of the appointments that are now somebody's, by its due time.
///
/// # Errors
/// [`Unavailable`].
pub fn of_person<'a>(
    store: &dyn Store,
    (app, openid): (&AppId, &OpenId),
    rules: impl Iterator<Item = &'a Arc<Rule>>,
    window: Window,
) -> Result<Vec<Reminder>, Unavailable> {
    let recipient = store.recipient(app, openid)?;
    let rules: Vec<_> = rules.filter_map(|rule| Some((rule, of_appointments(rule)?))).collect();
    let (mut found, mut after, mut looked) = (Vec::new(), None, 0);
    while !rules.is_empty() && looked < MAX_OWNED {
        let page = store.appointments_of(app, openid, after.as_ref(), PAGE)?;
        looked += page.len();
        for (kind, id) in &page {
            let reminding = || rules.iter().filter(|(_, relative)| relative.of == *kind);
            if reminding().next().is_none() {
                continue;
            }
            let key = AppointmentKey { app: app.clone(), kind: kind.clone(), id: id.clone() };
            // It may have changed since the page was read.
            let is_his = |kept: &KeptAppointment| kept.joined.contains_key(openid);
            let Some(kept) = store.appointment(&key)?.filter(is_his) else { continue };
            for (rule, relative) in reminding() {
                let due = own_time::reminder(rule, relative, recipient.as_ref(), kept.at).map(|(due, _)| due);
                if let Some(due) = due.filter(|due| window.after < due.at && due.at <= window.until) {
                    found.push(Reminder {
                        rule: Arc::clone(rule),
                        due,
                        key: key.clone(),
                        kept: kept.clone(),
                    });
                }
            }
        }
        if page.len() < PAGE {
            break;
        }
        after = page.last().cloned();
    }
    found.sort_by(|a, b| (a.due.at, &a.rule.id, &a.key).cmp(&(b.due.at, &b.rule.id, &b.key)));
    Ok(found)
}

/// When the reminder of an appointment is due, by the clocks of those it is for.
#[derive(Debug, Default)]
pub struct Dues {
    /// Ascending, and once where one clock holds for all; without the time of who came late where the rule does not want him.
    pub all: Vec<(Due, Zone)>,
    /// To whom it belongs only since after his own due time.
    pub late: BTreeSet<OpenId>,
}

impl Dues {
    fn add(&mut self, relative: &Relative, due: (Due, Zone), of: impl Iterator<Item = (OpenId, Joined)>) {
        let mut wanted = false;
        for (openid, joined) in of {
            let is_late = joined.at > due.0.at;
            wanted |= !is_late || relative.late == IfLate::Send;
            if is_late {
                self.late.insert(openid);
            }
        }
        if wanted {
            self.all.push(due);
        }
    }
}

/// When the reminder of an appointment as it is now is due.
///
/// # Errors
/// [`Unavailable`].
pub fn dues_of(
    store: &dyn Store,
    app: &AppId,
    rule: &Rule,
    relative: &Relative,
    kept: &KeptAppointment,
) -> Result<Dues, Unavailable> {
    let mut dues = Dues::default();
    if kept.appointment().is_none() {
        return Ok(dues);
    }
    let joined = |(openid, joined): (&OpenId, &Joined)| (openid.clone(), *joined);
    if !own_time::counts_days(rule, relative) {
        if let Some(due) = own_time::reminder(rule, relative, None, kept.at) {
            dues.add(relative, due, kept.joined.iter().map(joined));
        }
        return Ok(dues);
    }
    for his in &kept.joined {
        let recipient = store.recipient(app, his.0)?;
        if let Some(due) = own_time::reminder(rule, relative, recipient.as_ref(), kept.at) {
            dues.add(relative, due, std::iter::once(joined(his)));
        }
    }
    dues.all.sort_unstable_by_key(|(due, _)| due.at);
    Ok(dues)
}

impl Reminder {
    /// Whether it will be for this person when it opens.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn is_for(&self, store: &dyn Store, openid: &OpenId) -> Result<bool, Unavailable> {
        Ok(whom(store, &self.rule, &self.key, &self.kept)?.contains(openid))
    }
}

/// Whom a reminder is for that will be opened of an appointment as it is now: those it belongs to, but for those whom an
/// earlier one of the same name was for, and who came late where the rule does not want them.
///
/// # Errors
/// [`Unavailable`].
pub fn whom(
    store: &dyn Store,
    rule: &Rule,
    key: &AppointmentKey,
    kept: &KeptAppointment,
) -> Result<Vec<OpenId>, Unavailable> {
    let Some(relative) = of_appointments(rule) else { return Ok(Vec::new()) };
    let mut after = 0;
    for number in store.reminders(key)? {
        let occurrence = store.occurrence(number)?.filter(|held| held.rule == rule.id);
        let about = occurrence.and_then(|held| held.about);
        if let Some(about) = about.filter(|about| about.at == kept.at) {
            after = about.number;
        }
    }
    let late = match relative.late {
        IfLate::Send => BTreeSet::new(),
        IfLate::Skip => dues_of(store, &key.app, rule, relative, kept)?.late,
    };
    let is_wanted = |openid: &OpenId, joined: &Joined| joined.number > after && !late.contains(openid);
    let who = kept.joined.iter().filter(|(openid, joined)| is_wanted(openid, joined));
    Ok(who.map(|(openid, _)| openid.clone()).collect())
}
