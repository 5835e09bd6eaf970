//! Visits of the month: put, moved and taken back by a backend, which says it again until it is told that it is so.
//!
//! Each has seconds of its own, so that no two are ever at one time and a page names one reminder. Whether a visit stood at
//! a moment is certain only between an answer and the next question.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDateTime, TimeDelta};
use tixing::domain::appointment::Appointment;
use tixing::domain::id::{AppName, AppointmentId, Kind, OpenId};
use tixing::domain::occurrence::OccurrenceState;
use tixing::flow::intake::appointments::{AppointmentError, Asking};
use tixing::sandbox::Outcome;

use super::audit::page_of;
use super::play::Month;
use super::reports::name;
use crate::world::{World, beijing, openid};

/// Rules about visits, which stay as they are: how long before, and what else they say.
const RULES: [(&str, i64, &str); 2] = [("v0", 2, "grace: 60m\n    if_late: send"), ("v1", 26, "grace: 20m")];

/// A visit as a backend wants it: when, and whose.
pub(super) type Visit = (NaiveDateTime, BTreeSet<usize>);

/// What a backend said of one visit.
#[derive(Clone, Debug)]
struct Told {
    from: NaiveDateTime,
    /// When it was told that it is so.
    known: Option<NaiveDateTime>,
    to: Option<Visit>,
}

/// Everything that was said of visits, by their number.
#[derive(Debug, Default)]
pub(super) struct Visits(BTreeMap<usize, Vec<Told>>);

impl Visits {
    /// When reminders are due of what was ever said.
    pub(super) fn dues(&self) -> impl Iterator<Item = NaiveDateTime> {
        let all = self.0.values().flatten().filter_map(|told| told.to.as_ref());
        all.flat_map(|(at, _)| RULES.iter().map(|(_, hours, _)| *at - TimeDelta::hours(*hours)))
    }

    pub(super) fn all_known(&self) -> bool {
        self.0.values().filter_map(|told| told.last()).all(|last| last.known.is_some())
    }
}

/// The rules about visits, as their text.
pub(super) fn rules() -> impl Iterator<Item = (String, String)> {
    RULES.into_iter().map(|(id, hours, more)| {
        let when = format!("when: {{ before: {hours}h, of: visit }}");
        (id.to_owned(), World::rule_text(id, &[&when, more]))
    })
}

fn id_of(n: usize) -> AppointmentId {
    AppointmentId::parse(&format!("A{n}")).unwrap()
}

impl Month {
    /// A backend puts a visit, or takes it back.
    pub(super) async fn visit(&mut self, n: usize, to: Option<Visit>) {
        let from = self.now();
        self.visits.0.entry(n).or_default().push(Told { from, known: None, to });
        self.tell_visit(n).await;
    }

    /// Says what it said last of each visit, where nobody answered.
    pub(super) async fn tell_visits_again(&mut self) {
        let all: Vec<usize> = self.visits.0.keys().copied().collect();
        for n in all {
            self.tell_visit(n).await;
        }
    }

    async fn tell_visit(&mut self, n: usize) {
        let last = self.visits.0[&n].last().unwrap().clone();
        if last.known.is_some() || !self.is_running() {
            return;
        }
        let of = |(at, who): &Visit| Appointment {
            recipients: who.iter().map(|who| openid(&name(*who))).collect(),
            at: (*at - TimeDelta::hours(8)).and_utc(),
            fields: BTreeMap::new(),
        };
        self.n_requests += 1;
        let request = format!("visit-{}", self.n_requests);
        let asking = Asking { id: &request, at: self.world.clock.now() };
        let intake = self.world.running.as_ref().unwrap().intake.clone();
        let app = AppName::parse("main").unwrap();
        let key = (Kind::parse("visit").unwrap(), id_of(n));
        let change = intake.change_appointment(&app, key, last.to.as_ref().map(of), asking);
        match self.patiently("an answer about a visit", change).await {
            Some(Ok(()) | Err(AppointmentError::Unknown)) => {
                let now = self.now();
                self.visits.0.get_mut(&n).unwrap().last_mut().unwrap().known = Some(now);
                self.tally
                    .count(if last.to.is_some() { "a visit was put" } else { "a visit was taken back" }, 1);
            }
            None | Some(Err(AppointmentError::Unavailable(_))) => {}
            Some(Err(error)) => panic!("visit {n}: {error:?}"),
        }
    }

    /// Reminders are of visits as they were said, each that stood has its one, and none leaves for one that stands no more.
    pub(super) fn reminders(&mut self) {
        let now = self.now();
        let occurrences = self.world.occurrences();
        let mut found = BTreeSet::new();
        for occurrence in &occurrences {
            let Some(about) = &occurrence.about else { continue };
            let n: usize = about.id.as_str()[1..].parse().unwrap();
            let at = beijing(about.at);
            let said = self.visits.0.get(&n).into_iter().flatten();
            let said = said.filter_map(|told| told.to.as_ref()).any(|(of, _)| *of == at);
            assert!(said, "nobody said {occurrence:?}");
            found.insert((occurrence.rule.as_str().to_owned(), n, at));
        }
        for (rule, hours, _) in RULES {
            for (n, told) in &self.visits.0 {
                for (place, one) in told.iter().enumerate() {
                    let (Some(known), Some((at, who))) = (one.known, &one.to) else { continue };
                    let until = told.get(place + 1).map_or(now, |next| next.from);
                    let due = *at - TimeDelta::hours(hours);
                    let erased = who.iter().any(|who| self.is_erased_since(*who, one.from));
                    // A pass that is under way may have read it as it was.
                    let stood = known < due && due + TimeDelta::minutes(2) < until;
                    // And it must have looked in between.
                    let seen = due < until && self.well_at.range(due..until).count() > 2;
                    if stood && seen && !erased && self.is_well() && !self.has_open_work() {
                        let is_there = found.contains(&(rule.to_owned(), *n, *at));
                        assert!(
                            is_there,
                            "no {rule} of {one:?} among {told:?}: {found:?}\n{}",
                            self.world.told()
                        );
                    }
                }
            }
        }
        let mut sent = 0;
        for send in self.world.sends() {
            let (rule, due) = page_of(send.page.as_deref().unwrap());
            let Some((_, hours, _)) = RULES.iter().find(|(id, ..)| *id == rule) else { continue };
            let (at, sent_at) = (due + TimeDelta::hours(*hours), beijing(send.at));
            assert!(sent_at <= at, "{send:?} after its visit");
            sent += u64::from(matches!(send.outcome, Outcome::Accepted { .. }));
            let n = usize::try_from(chrono::Timelike::second(&at)).unwrap();
            let told = &self.visits.0[&n];
            let stands = |one: &Told| {
                one.to.as_ref().is_some_and(|(of, who)| {
                    *of == at && who.iter().any(|who| openid(&name(*who)).as_str() == send.openid)
                })
            };
            assert!(told.iter().any(stands), "{send:?} of {told:?}");
            let place = told.iter().rposition(|one| one.known.is_some_and(|known| known < sent_at));
            if let Some(place) =
                place.filter(|place| told.get(place + 1).is_none_or(|next| sent_at < next.from))
            {
                assert!(stands(&told[place]), "{send:?} although {:?}\n{}", told[place], self.world.told());
            }
        }
        self.reminded_so_far = sent;
    }

    fn is_erased_since(&self, who: usize, from: NaiveDateTime) -> bool {
        let openid: OpenId = openid(&name(who));
        self.world.erased.get(&openid).is_some_and(|at| beijing(*at) >= from)
    }

    /// What became of reminders, for the tally.
    pub(super) fn count_reminders(&mut self) {
        self.tally.count("a reminder of a visit was sent", self.reminded_so_far);
        let occurrences = self.world.occurrences();
        let cancelled =
            occurrences.iter().filter(|o| o.about.is_some() && o.state == OccurrenceState::Cancelled);
        self.tally
            .count("a reminder of a changed visit was cancelled", u64::try_from(cancelled.count()).unwrap());
    }
}
