//! The audit of a month: both sides' books, everything that was promised, and that nothing is missing.
//!
//! Beyond the audit that ends every scenario it knows what was acknowledged, which due times the files mean, and how
//! much doubt the blows of the month can explain.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use tixing::domain::delivery::{Past, State};
use tixing::domain::occurrence::OccurrenceState;
use tixing::domain::template::TemplateKind;
use tixing::sandbox::Outcome;
use tixing::store::{Delivery, Store};

use super::play::Month;
use super::reports::name;
use crate::world::{BILL, HABIT, appid, beijing, openid, template};

/// Reports that are asked for after each start and at each audit; all of them are at the end.
const ASKED: usize = 6;

/// The rule and due time that a page names.
pub(super) fn page_of(page: &str) -> (String, NaiveDateTime) {
    let (rule, due) = page.strip_prefix("p/i?rule=").unwrap().split_once("&due=").unwrap();
    (rule.to_owned(), NaiveDateTime::parse_from_str(due, "%Y%m%dT%H%M%S").unwrap())
}

impl Month {
    /// Asks everything, where the store can be asked.
    pub(super) async fn audit(&mut self) {
        self.quiet().await;
        if !self.is_well() || self.has_trouble_ahead() {
            return;
        }
        self.tally.count("an audit", 1);
        self.repeats();
        self.world.books().await;
        self.consents();
        self.due_times();
        self.nights_and_pauses();
        self.reminders();
        self.doubt();
        self.are_known(ASKED).await;
    }

    /// A start after the power went: what was under way is in doubt, no more than that, and nothing is forgotten.
    pub(super) async fn after_a_start(&mut self, at: DateTime<Utc>) {
        let bound = 2 * self.script.limits.1;
        let n = self.found_under_way(at);
        assert!(n <= bound, "{n} in doubt by one crash, at most {bound}\n{}", self.world.told());
        self.tally.count("a crash left something in doubt", u64::from(n > 0));
        self.are_known(ASKED).await;
    }

    /// Deliveries that a start at `at` found under way; not those that were sent then, and got no answer, nor those
    /// whose time was up after a −1.
    pub(super) fn found_under_way(&self, at: DateTime<Utc>) -> usize {
        let sent = |openid: &str| {
            let sends = self.world.platform.sends();
            sends.iter().rev().take_while(|send| send.at >= at).any(|send| send.openid == openid)
        };
        let doubts = self.world.power().doubts(1000).unwrap_or_default();
        let found = doubts.iter().filter(|doubt| doubt.settled_at == Some(at) && doubt.past != Past::Busy);
        found.filter(|doubt| !sent(doubt.openid.as_str())).count()
    }

    /// Second cards for one reminder: only after a −1 that the platform had processed.
    fn repeats(&mut self) {
        let of: BTreeMap<(String, NaiveDateTime, String), Delivery> = self
            .world
            .deliveries()
            .into_iter()
            .map(|(o, d)| ((o.rule.as_str().to_owned(), o.civil, d.openid.as_str().to_owned()), d))
            .collect();
        let mut cards = BTreeSet::new();
        let mut repeats = 0;
        for send in self.world.platform.sends() {
            let Outcome::Accepted { .. } = send.outcome else { continue };
            let (rule, due) = page_of(send.page.as_deref().unwrap());
            let name = (rule, due, send.openid);
            if !cards.insert(name.clone()) {
                if self.world.was_erased(&name.2, send.at) {
                    // Of the erased only the platform knows what happened.
                    repeats += 1;
                    continue;
                }
                let past = of.get(&name).map(|delivery| delivery.past);
                assert_eq!(past, Some(Past::Busy), "a second card for {name:?}\n{}", self.world.told());
                repeats += 1;
            }
        }
        let struck = self.tally.so_far(&self.world.platform.struck(), "send errcode -1 after");
        assert!(repeats <= struck, "{repeats} second cards by {struck} times -1");
        self.world.repeats_allowed = repeats;
    }

    fn consents(&self) {
        for (&(who, bill), &(least, most)) in &self.reports.granted {
            let id = template(if bill { BILL } else { HABIT });
            let view = self.world.power().account(&appid(), &id, &openid(&name(who))).unwrap();
            let Some(view) = view else {
                assert_eq!(least, 0, "the account of {} is lost", name(who));
                continue;
            };
            if view.kind == TemplateKind::OneTime {
                let granted = view.account.granted;
                assert!((least..=most).contains(&granted), "{}: {granted} of {least} to {most}", name(who));
            }
        }
    }

    /// Every due time of the files has its record, exactly one, and no record is of another time.
    fn due_times(&self) {
        let now = self.now();
        let occurrences = self.world.occurrences();
        for (id, history) in &self.history {
            let mut wanted = BTreeMap::new();
            for (n, (from, spec)) in history.iter().enumerate() {
                let to = history.get(n + 1).map_or(now, |(next, _)| *next);
                for due in spec.iter().flat_map(super::rule::Spec::dues) {
                    if *from < due && due <= to {
                        wanted.insert(due, 0_u64);
                    }
                }
            }
            let hidden = |due: &NaiveDateTime| self.blurred.iter().any(|blur| blur.hides(id, *due));
            let allowed = |due: &NaiveDateTime| self.blurred.iter().any(|blur| blur.allows(id, *due));
            let of: Vec<_> = occurrences.iter().filter(|o| o.rule.as_str() == id).collect();
            for occurrence in &of {
                // What was missed in a row is one record, named after the last of them.
                let mut left = if wanted.contains_key(&occurrence.civil) { occurrence.n } else { 0 };
                for (due, seen) in wanted.range_mut(..=occurrence.civil).rev() {
                    if left == 0 || (occurrence.n == 1 && *due != occurrence.civil) {
                        break;
                    }
                    *seen += 1;
                    left -= 1;
                }
                let is_known = wanted.contains_key(&occurrence.civil) || allowed(&occurrence.civil);
                assert!(is_known, "nobody wanted {occurrence:?} of {history:?}");
            }
            let told: Vec<_> = of.iter().map(|o| (o.civil, o.n, o.state.as_str())).collect();
            for (due, n) in wanted.iter().filter(|(due, _)| !hidden(due) && !allowed(due)) {
                assert_eq!(*n, 1, "{id} at {due} of {history:?}: {told:?}\n{}", self.world.told());
            }
        }
    }

    /// The rule that was in force at a due time, where nobody doubts it.
    pub(super) fn spec_at(&self, rule: &str, due: NaiveDateTime) -> Option<&super::rule::Spec> {
        if self.blurred.iter().any(|blur| blur.hides(rule, due) || blur.allows(rule, due)) {
            return None;
        }
        let history = self.history.get(rule)?;
        history.iter().rev().find(|(from, _)| *from < due).and_then(|(_, spec)| spec.as_ref())
    }

    /// What is or was in doubt is explained by an answer that nobody got, a −1, or a blow.
    fn doubt(&self) {
        let mut unanswered = BTreeSet::new();
        for send in self.world.sends() {
            if !send.answered {
                let (rule, due) = page_of(send.page.as_deref().unwrap());
                unanswered.insert((rule, due, send.openid));
            }
        }
        let mut unexplained = 0;
        for (occurrence, delivery) in self.world.deliveries() {
            if delivery.openid.is_erased() {
                continue;
            }
            let name =
                (occurrence.rule.as_str().to_owned(), occurrence.civil, delivery.openid.as_str().to_owned());
            let in_doubt =
                matches!(delivery.state, State::InDoubt | State::PresumedSent) && delivery.past != Past::Busy;
            unexplained += u64::from(in_doubt && !unanswered.contains(&name));
        }
        let most = self.n_blows * 2 * u64::try_from(self.script.limits.1).unwrap();
        assert!(unexplained <= most, "{unexplained} in doubt, and {} blows explain {most}", self.n_blows);
    }

    /// Whether the message of a delivery is on its phone.
    pub(super) fn has_arrived(&self, delivery: &Delivery) -> bool {
        let Ok(Some(of)) = self.world.power().occurrence(delivery.id.occurrence) else { return false };
        let page = format!("p/i?rule={}&due={}", of.rule.as_str(), of.civil.format("%Y%m%dT%H%M%S"));
        let cards = self.world.platform.cards(delivery.openid.as_str());
        cards.iter().any(|card| card.page.as_deref() == Some(page.as_str()))
    }

    /// What became of everything, for the tally.
    pub(super) fn count_the_books(&mut self) {
        for occurrence in self.world.occurrences() {
            let state = match occurrence.state {
                OccurrenceState::Missed if occurrence.n > 1 => "missed several times",
                OccurrenceState::Open
                | OccurrenceState::Held
                | OccurrenceState::Done
                | OccurrenceState::Missed
                | OccurrenceState::Cancelled => occurrence.state.as_str(),
            };
            self.tally.count(&format!("occurrence {state}"), 1);
            let (due, end) = (occurrence.civil, beijing(occurrence.deadline));
            let paused = self.pauses.iter().any(|pause| {
                let is_its = pause.rule.as_deref().is_none_or(|of| of == occurrence.rule.as_str());
                is_its && pause.from < end && pause.to.is_none_or(|to| end < to) && due < end
            });
            let n_expired = if paused { occurrence.counts.in_state(State::Expired) } else { 0 };
            self.tally.count("expired during a pause", n_expired);
            for (reason, n) in &occurrence.counts.skipped {
                self.tally.count(&format!("skipped: {}", reason.as_str()), *n);
            }
        }
        for (_, delivery) in self.world.deliveries() {
            self.tally.count(&format!("delivery {}", delivery.state.as_str()), 1);
            self.tally.count("tried again", u64::from(delivery.attempts > 1));
            self.tally.count("answered -1", u64::from(delivery.past == Past::Busy));
        }
        self.tally.count("a second card after -1", self.world.repeats_allowed);
        self.count_reminders();
        self.tally.count("a turn within a spread", self.turns_so_far);
        self.tally.count("held over quiet hours", self.held_so_far);
        for send in self.world.sends() {
            match send.outcome {
                Outcome::Accepted { .. } if !send.answered => {
                    self.tally.count("accepted, and nobody heard", 1);
                }
                Outcome::Accepted { .. } => {}
                Outcome::Refused { errcode } => self.tally.count(&format!("refused {errcode}"), 1),
                Outcome::Unhandled => self.tally.count("never looked at", 1),
            }
        }
        if let Some(disk) = &self.world.disk {
            self.tally.count("written and never there", u64::try_from(disk.n_lost()).unwrap());
        }
    }
}
