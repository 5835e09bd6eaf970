//! Reminders of appointments ahead and behind: which appointments a rule reminds of in a window, and whom.
//!
//! When a reminder is due is for `plan` to say; whether it is opened is the scheduler's and the store's. Nothing is
//! kept between questions: the appointments are read in slices by their time, as they are now.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::answer::Failure;
use super::desk::Desk;
use super::instant::utc;
use crate::domain::appointment::{About, Appointment, bound_hash};
use crate::domain::config::App;
use crate::domain::id::{AppId, OpenId};
use crate::domain::occurrence::Due;
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::flow::reminders;
pub(super) use crate::flow::reminders::of_appointments;
use crate::plan::own_time;
use crate::plan::recurrence::{self, Window};
use crate::store::{AppointmentKey, KeptAppointment};

/// Appointments read at a time.
const PAGE: usize = 256;

/// The appointment that a reminder is about, at the time it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Subject {
    pub(super) key: AppointmentKey,
    pub(super) at: DateTime<Utc>,
}

/// It, as rows show it.
#[derive(Serialize)]
pub(super) struct SubjectRow<'a> {
    kind: &'a str,
    id: &'a str,
    at: String,
}

impl Subject {
    /// What an occurrence is about.
    pub(super) fn of(app: &AppId, about: &About) -> Self {
        let (app, kind, id) = (app.clone(), about.kind.clone(), about.id.clone());
        Self { key: AppointmentKey { app, kind, id }, at: about.at }
    }

    /// As grants that were given for it name it.
    pub(super) fn bound(&self) -> u64 {
        bound_hash(&self.key.kind, &self.key.id)
    }

    pub(super) fn row(&self) -> SubjectRow<'_> {
        SubjectRow { kind: self.key.kind.as_str(), id: self.key.id.as_str(), at: utc(self.at) }
    }
}

/// An appointment, and when a rule reminds of it.
#[derive(Clone, Debug)]
pub(super) struct Reminder {
    /// For the first of those it belongs to.
    pub(super) due: Due,
    /// By whose clock that is.
    pub(super) zone: Zone,
    pub(super) subject: Subject,
}

impl Desk {
    /// The first reminders of a rule that are due in `window`, at most `most`, by their due times; of the appointments
    /// that `wanted` chooses.
    pub(super) async fn reminders(
        &self,
        app: &App,
        rule: &Rule,
        window: Window,
        most: usize,
        wanted: impl Fn(&Reminder, &KeptAppointment) -> Result<bool, Failure>,
    ) -> Result<Vec<Reminder>, Failure> {
        let Some(relative) = of_appointments(rule) else { return Ok(Vec::new()) };
        let (mut found, mut after, mut until) = (Vec::<Reminder>::new(), None, window.until);
        loop {
            let reach = recurrence::reach(relative, Window { after: window.after, until });
            let of = (&app.appid, &relative.of);
            let page = self.store().appointments(of, (reach.after, reach.until), after.as_ref(), PAGE)?;
            for (at, id) in &page {
                let is_within = |due: &Due| window.after < due.at && due.at <= until;
                let days = own_time::counts_days(rule, relative);
                if !days
                    && !own_time::reminder(rule, relative, None, *at).is_some_and(|(due, _)| is_within(&due))
                {
                    continue;
                }
                let key =
                    AppointmentKey { app: app.appid.clone(), kind: relative.of.clone(), id: id.clone() };
                // It may have changed since the page was read.
                let Some(kept) = self.store().appointment(&key)?.filter(|kept| kept.stands_at(*at)) else {
                    continue;
                };
                // It opens for the first of those it belongs to, each by his own clock.
                let dues = reminders::dues_of(self.store(), &app.appid, rule, relative, &kept)?;
                let Some((due, zone)) = dues.all.first().copied().filter(|(due, _)| is_within(due)) else {
                    continue;
                };
                let reminder = Reminder { due, zone, subject: Subject { key, at: *at } };
                if wanted(&reminder, &kept)? {
                    found.push(reminder);
                }
            }
            if found.len() >= most || page.len() < PAGE {
                found.sort_by(|a, b| (a.due.at, &a.subject).cmp(&(b.due.at, &b.subject)));
                found.truncate(most);
                if found.len() == most {
                    // Nothing that is due later is among the first any more.
                    until = found.last().map_or(until, |last| last.due.at);
                }
            }
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(found);
            }
            tokio::task::yield_now().await;
        }
    }

    /// An appointment while it stands at the time that it had.
    pub(super) fn appointment(&self, subject: &Subject) -> Result<Option<Appointment>, Failure> {
        let kept = self.store().appointment(&subject.key)?.filter(|kept| kept.stands_at(subject.at));
        Ok(kept.and_then(|kept| kept.appointment()))
    }

    /// Whom a reminder is for that will be opened of an appointment as it is now: those it belongs to, but for those
    /// whom an earlier one of the same name was for, and who came late where the rule does not want them.
    pub(super) fn whom(
        &self,
        rule: &Rule,
        reminder: &Reminder,
        kept: &KeptAppointment,
    ) -> Result<Vec<OpenId>, Failure> {
        Ok(reminders::whom(self.store(), rule, &reminder.subject.key, kept)?)
    }
}
