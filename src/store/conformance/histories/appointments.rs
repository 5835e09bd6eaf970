//! Appointments in the random histories: put, moved away and back, deleted, and reminded of.

use proptest::prelude::*;

use super::super::appointments::{key, kind, put};
use super::*;
use crate::domain::appointment::bound_hash;
use crate::domain::id::AppointmentId;

/// One thing that happens to appointments.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Appoint {
    Put {
        which: usize,
        time: i64,
        who: u8,
        request: u8,
    },
    Delete {
        which: usize,
        request: u8,
    },
    /// Opens the reminders of all that stand; of a stale one what it was.
    Remind {
        rule: usize,
        late: bool,
        stale: bool,
    },
    /// The same, and walks what opened.
    Round {
        rule: usize,
        late: bool,
    },
    /// Moves it away and back while one of its reminders is attempting, and settles that or not.
    AwayAndBack {
        which: usize,
        settles: bool,
    },
    Retire {
        minutes: i64,
    },
}

/// An appointment as grants name it.
pub(super) fn named(n: usize) -> u64 {
    bound_hash(&key(n).kind, &key(n).id)
}

pub(super) fn appoint() -> impl Strategy<Value = Appoint> {
    prop_oneof![
        8 => (0..3_usize, 0..2_i64, prop::sample::select(vec![1_u8, 3, 7]), 0..40_u8)
            .prop_map(|(which, time, who, request)| Appoint::Put { which, time, who, request }),
        2 => (0..3_usize, 0..40_u8).prop_map(|(which, request)| Appoint::Delete { which, request }),
        2 => (0..2_usize, any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(rule, late, stale)| Appoint::Remind { rule, late, stale }),
        8 => (0..2_usize, prop::bool::weighted(0.8)).prop_map(|(rule, late)| Appoint::Round { rule, late }),
        1 => (0..3_usize, any::<bool>())
            .prop_map(|(which, settles)| Appoint::AwayAndBack { which, settles }),
        1 => prop::sample::select(vec![1_i64, 16, 60 * 24 * 40]).prop_map(|minutes| Appoint::Retire { minutes }),
    ]
}

pub(super) fn compare(engine: &dyn Store, model: &dyn Store) {
    let told = |store: &dyn Store| {
        let by_time = store.appointments((&app(), &kind()), (at(-9), at(99_999)), None, 100).unwrap();
        let by_change = store.changes(&app(), &kind(), 0, 100).unwrap();
        let each: Vec<_> = (0..3)
            .map(|n| (store.appointment(&key(n)).unwrap(), store.reminders(&key(n)).unwrap()))
            .collect();
        let cursors: Vec<_> = (0..2).map(|n| store.reminder_cursor(&app(), &rule(n)).unwrap()).collect();
        let owned: Vec<_> =
            (0..3).map(|who| store.appointments_of(&app(), &openid(who), None, 100).unwrap()).collect();
        (by_time, by_change, each, owned, store.newest_change().unwrap(), cursors)
    };
    assert_eq!(told(engine), told(model));
}

impl Play<'_> {
    pub(super) fn appoint(&mut self, clock: i64, step: Appoint) {
        match step {
            Appoint::Put { which, time, who, request } => {
                let who: Vec<usize> = (0..3).filter(|n| who & (1 << n) > 0).collect();
                let mut change = put(which, 1000 + time, &who, clock);
                change.request = Some([request; 16]);
                let open = self.open_reminders(which);
                let before = self.model.appointment(&key(which)).unwrap();
                match both(&self.engine, &self.model, |store| store.change_appointment(change.clone())) {
                    Changed::Booked { .. } => self.saw("an appointment put"),
                    Changed::Same => return self.saw("a put that changes nothing"),
                    Changed::Replayed => return self.saw("a request played again"),
                    Changed::Unknown | Changed::TooLarge => {}
                }
                if open > 0 && before.is_some_and(|before| before.at != at(1000 + time)) {
                    self.saw("an appointment moved with a reminder open");
                }
            }
            Appoint::Delete { which, request } => {
                let change = AppointmentChange {
                    to: None,
                    request: Some([request; 16]),
                    ..put(which, 0, &[0], clock)
                };
                match both(&self.engine, &self.model, |store| store.change_appointment(change.clone())) {
                    Changed::Booked { .. } => self.saw("an appointment deleted"),
                    Changed::Same | Changed::Unknown | Changed::Replayed | Changed::TooLarge => {}
                }
            }
            Appoint::Remind { rule, late, stale } => drop(self.remind(clock, rule, late, stale)),
            Appoint::Round { rule, late } => {
                for number in self.remind(clock, rule, late, false) {
                    let occurrence = self.model.occurrence(number).unwrap().unwrap();
                    let wants = [0, 1, 2].map(|who| (who, Want::Reserve));
                    let told = piece(number, occurrence.position, &wants, Walk::Ends, clock);
                    both(&self.engine, &self.model, |store| store.chunk(told.clone()));
                }
            }
            Appoint::AwayAndBack { which, settles } => self.away_and_back(clock, which, settles),
            Appoint::Retire { minutes } => {
                let before = self.model.changes(&app(), &kind(), 0, 100).unwrap().len();
                let now = at(clock + minutes * 60);
                let act =
                    |store: &dyn Store| store.retire_appointments(now - chrono::TimeDelta::days(30), now);
                until_done(&self.engine, act);
                until_done(&self.model, act);
                if self.model.changes(&app(), &kind(), 0, 100).unwrap().len() < before {
                    self.saw("appointments retired");
                }
            }
        }
    }

    fn away_and_back(&mut self, clock: i64, which: usize, settles: bool) {
        let put = |play: &mut Self, time: i64| {
            let change = put(which, 1000 + time, &[0, 1, 2], clock);
            both(&play.engine, &play.model, |store| store.change_appointment(change.clone()));
        };
        put(self, 0);
        for who in 0..3 {
            self.take(clock, Step::Grant { who, template: 0, n: 1 });
        }
        self.appoint(clock, Appoint::Round { rule: 0, late: true });
        let before = self.marks.len();
        let reserved = self.deliveries().into_iter().find(|delivery| delivery.state == State::Reserved);
        if let Some(delivery) = reserved {
            let a = done(&self.engine, self.engine.mark(vec![delivery.id], at(clock))).remove(0);
            let b = done(&self.model, self.model.mark(vec![delivery.id], at(clock))).remove(0);
            self.marks.extend(a.zip(b));
        }
        put(self, 1);
        put(self, 0);
        if settles && self.marks.len() > before {
            self.settle(clock, before, 4);
            let waiting = self.deliveries().iter().position(|delivery| delivery.state == State::Waiting);
            self.take(clock, Step::Mark { which: waiting.unwrap_or(0) });
        }
        self.appoint(clock, Appoint::Remind { rule: 0, late: true, stale: false });
    }

    fn open_reminders(&self, which: usize) -> usize {
        let numbers = self.model.reminders(&key(which)).unwrap();
        let all = numbers.into_iter().filter_map(|number| self.model.occurrence(number).unwrap());
        all.filter(|occurrence| occurrence.counts.open() > 0).count()
    }

    fn remind(&mut self, clock: i64, rule_n: usize, late: bool, stale: bool) -> Vec<u64> {
        both(&self.engine, &self.model, |store| store.start_rule(app(), rule(rule_n), at(0)));
        let from = self.model.reminder_cursor(&app(), &rule(rule_n)).unwrap().expect("started");
        let newest = self.model.newest_change().unwrap();
        let all = self.model.appointments((&app(), &kind()), (at(0), at(9999)), None, 100).unwrap();
        let reminders = all.into_iter().map(|(time, id): (_, AppointmentId)| {
            let named = AppointmentKey { app: app(), kind: kind(), id: id.clone() };
            let number = self.model.appointment(&named).unwrap().expect("listed").number - u64::from(stale);
            let mut new = super::super::appointments::reminder(id, time, number);
            new.late = if late { Late::Send } else { Late::Skip };
            new
        });
        let to = Cursor { at: from.at.max(at(clock)), change: newest };
        let told = super::super::appointments::reminders(rule_n, from, to, reminders.collect());
        let answers = match both(&self.engine, &self.model, |store| store.remind(told.clone())) {
            Reminded::Moved(answers) => answers,
            Reminded::Stale(_) => return Vec::new(),
        };
        let mut opened = Vec::new();
        for answer in answers {
            match answer {
                OneReminder::As(number) => {
                    self.saw("a reminder opened");
                    self.n_opened = self.n_opened.max(number);
                    let about = self.model.occurrence(number).unwrap().unwrap().about.expect("about one");
                    if about.previous.is_some() {
                        self.saw("a reminder again for those who were not attempted");
                    }
                    opened.push(number);
                }
                OneReminder::Changed => self.saw("a reminder of a changed appointment"),
                OneReminder::Nobody => self.saw("a reminder for nobody"),
                OneReminder::Busy => self.saw("a reminder while an earlier one is open"),
            }
        }
        opened
    }
}
