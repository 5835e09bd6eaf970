//! Appointments in the model: each change is looked at from every occurrence there is.

use super::*;
use crate::domain::appointment::bound_hash;
use crate::domain::recipient::FieldValue;

/// What a unit may be spent on now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    ToAny,
    /// Messages about one appointment that stands and is to come.
    To(Kind, AppointmentId),
}

/// Whether a unit was given for what an occurrence is about.
pub(super) fn is_for(occurrence: &Occurrence, grant: &Grant) -> bool {
    occurrence.about.as_ref().is_some_and(|about| grant.bound == Some(bound_hash(&about.kind, &about.id)))
}

impl Books {
    /// For whom each free unit of somebody's is: any message, or those about one appointment that is to come.
    pub(super) fn at_hand(&self, occurrence: &Occurrence, openid: &OpenId, now: DateTime<Utc>) -> Vec<Given> {
        let key = (occurrence.app.clone(), occurrence.template.clone(), openid.clone());
        let units = self.ledgers.get(&key).map_or(&[][..], |ledger| &ledger.units);
        let free = units.iter().filter(|(_, place)| *place == Place::Free);
        free.map(|(grant, _)| self.given(&occurrence.app, openid, grant, now)).collect()
    }

    fn given(&self, app: &AppId, openid: &OpenId, grant: &Grant, now: DateTime<Utc>) -> Given {
        let to_come = self.appointments.iter().find(|(key, kept)| {
            key.app == *app
                && Some(bound_hash(&key.kind, &key.id)) == grant.bound
                && kept.state == Standing::Stands
                && kept.at >= now
                && kept.joined.contains_key(openid)
        });
        to_come.map_or(Given::ToAny, |(key, _)| Given::To(key.kind.clone(), key.id.clone()))
    }

    pub(super) fn start(&mut self, app: AppId, rule: RuleId, now: DateTime<Utc>) -> DateTime<Utc> {
        let key = (app, rule);
        if !self.cursors.contains_key(&key) {
            self.cursors.insert(key.clone(), now);
            self.changes_read.insert(key.clone(), self.n_changes);
        }
        self.cursors[&key]
    }

    pub(super) fn is_replayed(&self, app: &AppId, request: Option<[u8; 16]>, now: DateTime<Utc>) -> bool {
        let seen = request.and_then(|request| self.requests.get(&(app.clone(), request)));
        seen.is_some_and(|at| now - *at <= chrono::TimeDelta::minutes(15))
    }

    pub(super) fn remember(&mut self, app: AppId, request: Option<[u8; 16]>, now: DateTime<Utc>) {
        if let Some(request) = request {
            self.requests.insert((app, request), now);
        }
    }

    pub(super) fn change(&mut self, change: AppointmentChange) -> Changed {
        let AppointmentChange { key, to, request, now } = change;
        if self.is_replayed(&key.app, request, now) {
            return Changed::Replayed;
        }
        let old = self.appointments.get(&key).filter(|kept| kept.state == Standing::Stands).cloned();
        let same = match (&old, &to) {
            (None, None) => Some(Changed::Unknown),
            (Some(old), Some(to)) => {
                let who = old.joined.keys().cloned().collect::<BTreeSet<_>>();
                (old.at == to.at && old.fields == to.fields && who == to.recipients).then_some(Changed::Same)
            }
            _ => None,
        };
        match same {
            Some(Changed::Same) => {
                self.remember(key.app, request, now);
                return Changed::Same;
            }
            Some(unknown) => return unknown,
            None => {}
        }
        let text = |to: &crate::domain::appointment::Appointment| -> usize {
            let long = |value: &FieldValue| if let FieldValue::Text(text) = value { text.len() } else { 0 };
            to.fields.values().map(long).sum()
        };
        if to.as_ref().is_some_and(|to| text(to) > 3072) {
            return Changed::TooLarge;
        }
        self.remember(key.app.clone(), request, now);
        self.n_changes += 1;
        let number = self.n_changes;
        let kept = match to {
            Some(to) => {
                let mut joined = BTreeMap::new();
                for openid in to.recipients {
                    let before =
                        old.as_ref().filter(|old| old.at == to.at).and_then(|old| old.joined.get(&openid));
                    self.meet(&key.app, &openid, now);
                    joined.insert(openid, before.copied().unwrap_or(Joined { number, at: now }));
                }
                KeptAppointment { number, at: to.at, state: Standing::Stands, joined, fields: to.fields }
            }
            None => KeptAppointment {
                number,
                at: old.as_ref().unwrap().at,
                state: Standing::Deleted,
                joined: BTreeMap::new(),
                fields: BTreeMap::new(),
            },
        };
        self.appointments.insert(key.clone(), kept.clone());
        for o in self.occurrences.values().cloned().collect::<Vec<_>>() {
            let about = o.about.as_ref().filter(|a| o.app == key.app && a.kind == key.kind && a.id == key.id);
            let Some(about) = about else { continue };
            if !matches!(o.state, OccurrenceState::Open | OccurrenceState::Held) {
                continue;
            }
            if kept.state == Standing::Deleted || kept.at != about.at {
                let why = "its appointment was moved or cancelled".to_owned();
                self.stop(o.number, OccurrenceState::Cancelled, Some(why));
            }
            let slots = self.chunks.range((o.number, 0)..=(o.number, u32::MAX)).flat_map(|(_, slots)| slots);
            for slot in slots.cloned().collect::<Vec<_>>() {
                if !self.calls_for(&o, &slot.openid) {
                    self.close(slot.id, Closing::Cancelled, now);
                }
            }
        }
        Changed::Booked { number, created: old.is_none() }
    }

    /// Whether what an occurrence is about still calls for a message to somebody.
    pub(super) fn calls_for(&self, occurrence: &Occurrence, openid: &OpenId) -> bool {
        let Some(about) = &occurrence.about else { return true };
        let (app, kind, id) = (occurrence.app.clone(), about.kind.clone(), about.id.clone());
        let Some(kept) = self.appointments.get(&AppointmentKey { app, kind, id }) else { return false };
        let since = kept.joined.get(openid).map(|joined| joined.number);
        kept.state == Standing::Stands
            && kept.at == about.at
            && since.is_some_and(|since| about.after < since && since <= about.number)
    }

    /// Shorter kinds first.
    pub(super) fn all_appointments(
        &self,
        after: Option<&AppointmentKey>,
        limit: usize,
    ) -> Vec<(AppointmentKey, KeptAppointment)> {
        let place = |key: &AppointmentKey| (key.app.clone(), key.kind.as_str().len(), key.clone());
        let after = after.map(place);
        let mut all: Vec<_> = self.appointments.clone().into_iter().collect();
        all.retain(|(key, _)| Some(place(key)) > after);
        all.sort_by_key(|(key, _)| place(key));
        all.truncate(limit);
        all
    }

    /// Shorter kinds first.
    pub(super) fn appointments_of(
        &self,
        app: &AppId,
        openid: &OpenId,
        after: Option<&(Kind, AppointmentId)>,
        limit: usize,
    ) -> Vec<(Kind, AppointmentId)> {
        let place = |kind: &Kind, id: &AppointmentId| (kind.as_str().len(), kind.clone(), id.clone());
        let after = after.map(|(kind, id)| place(kind, id));
        let his = self.appointments.iter().filter(|(key, kept)| {
            key.app == *app && kept.joined.contains_key(openid) && Some(place(&key.kind, &key.id)) > after
        });
        let mut his: Vec<_> = his.map(|(key, _)| (key.kind.clone(), key.id.clone())).collect();
        his.sort_by_key(|(kind, id)| place(kind, id));
        his.truncate(limit);
        his
    }

    pub(super) fn reminder_cursor(&self, app: &AppId, rule: &RuleId) -> Option<Cursor> {
        let key = (app.clone(), rule.clone());
        let at = *self.cursors.get(&key)?;
        Some(Cursor { at, change: self.changes_read.get(&key).copied().unwrap_or(0) })
    }

    /// The newest occurrence of a reminder's name.
    pub(super) fn newest_reminder(&self, app: &AppId, of: &About, rule: &RuleId) -> Option<u64> {
        let named = self.occurrences.values().filter(|o| {
            let about = o.about.as_ref();
            o.app == *app
                && o.rule == *rule
                && o.is_of_plan()
                && about.is_some_and(|a| a.kind == of.kind && a.id == of.id && a.at == of.at)
        });
        named.map(|o| o.number).max()
    }

    pub(super) fn remind(&mut self, asked: Reminders) -> Reminded {
        let at = self.reminder_cursor(&asked.app, &asked.rule);
        if at != Some(asked.from) {
            return Reminded::Stale(at);
        }
        let answers = asked.reminders.iter().map(|new| self.one(&asked, new)).collect();
        let key = (asked.app, asked.rule);
        self.cursors.insert(key.clone(), asked.to.at);
        self.changes_read.insert(key, asked.to.change);
        Reminded::Moved(answers)
    }

    fn one(&mut self, asked: &Reminders, new: &NewReminder) -> OneReminder {
        let key = AppointmentKey { app: asked.app.clone(), kind: asked.of.clone(), id: new.id.clone() };
        let kept = self.appointments.get(&key).cloned();
        let Some(kept) = kept
            .filter(|kept| kept.state == Standing::Stands && (kept.number, kept.at) == (new.number, new.at))
        else {
            return OneReminder::Changed;
        };
        let mut about = About {
            kind: asked.of.clone(),
            id: new.id.clone(),
            at: new.at,
            number: new.number,
            after: 0,
            previous: None,
        };
        about.previous = self.newest_reminder(&asked.app, &about, &asked.rule);
        let of = about.previous.and_then(|number| self.occurrences[&number].about.as_ref());
        about.after = of.map_or(0, |of| of.number);
        let mut who: BTreeSet<OpenId> = kept
            .joined
            .iter()
            .filter(|(_, joined)| joined.number > about.after)
            .filter(|(_, joined)| new.late == Late::Send || joined.at <= new.last_due_at)
            .map(|(openid, _)| openid.clone())
            .collect();
        for openid in who.clone() {
            match self.newest_of(about.previous, &openid) {
                None => {}
                Some(true) => return OneReminder::Busy,
                Some(false) => drop(who.remove(&openid)),
            }
        }
        if who.is_empty() {
            return OneReminder::Nobody;
        }
        self.n_opened += 1;
        let missed = new.found == Found::TooLate;
        self.snapshots.entry(asked.snapshot).or_insert_with(|| asked.snapshot_bytes.clone());
        self.occurrences.insert(
            self.n_opened,
            Occurrence {
                number: self.n_opened,
                app: asked.app.clone(),
                rule: asked.rule.clone(),
                template: asked.template.clone(),
                kind: asked.kind,
                due_at: new.due.at,
                civil: new.due.civil,
                fold: new.due.fold,
                zone: new.zone,
                deadline: new.deadline,
                state: if missed { OccurrenceState::Missed } else { OccurrenceState::Open },
                reason: missed.then(|| "found later than its grace or policy allows".to_owned()),
                n: 1,
                position: None,
                walked: missed,
                counts: Counts::default(),
                snapshot: asked.snapshot,
                whose: Whose::Everybody,
                priority: asked.priority,
                on_doubt: asked.on_doubt,
                repeats: None,
                about: Some(about),
            },
        );
        OneReminder::As(self.n_opened)
    }

    /// Of the deliveries to somebody in an occurrence and those before it, newest occurrence first: whether the first one
    /// that matters is open, or was tried.
    pub(super) fn newest_of(&self, occurrence: Option<u64>, openid: &OpenId) -> Option<bool> {
        let number = occurrence?;
        let of = self.occurrences.get(&number)?;
        let slots = self.chunks.range((number, 0)..=(number, u32::MAX)).flat_map(|(_, slots)| slots);
        for slot in slots.filter(|slot| slot.openid == *openid) {
            match slot.state {
                State::Held | State::Reserved | State::Waiting | State::Attempting => return Some(true),
                State::Expired | State::Cancelled | State::Skipped if slot.attempts == 0 => {}
                _ => return Some(false),
            }
        }
        self.newest_of(of.about.as_ref()?.previous, openid)
    }

    pub(super) fn retire_appointments(&mut self, before: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
        let n = self.appointments.len() + self.requests.len();
        self.appointments.retain(|_, kept| kept.at >= before);
        self.requests.retain(|_, at| now - *at <= chrono::TimeDelta::minutes(15));
        (n - self.appointments.len() - self.requests.len()) as u64
    }
}
