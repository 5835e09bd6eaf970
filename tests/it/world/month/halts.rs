//! What halts reminders in the month, by people's wish: pauses and their ends, what is released, quiet hours and turns.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, TimeDelta};
use tixing::admin::control::Control as _;
use tixing::domain::id::RuleId;
use tixing::domain::pause::Scope;

use super::audit::page_of;
use super::play::Month;
use crate::world::beijing;

/// A pause that was acknowledged.
#[derive(Debug)]
pub(super) struct Paused {
    /// One rule, or everything.
    pub(super) rule: Option<String>,
    pub(super) from: NaiveDateTime,
    pub(super) to: Option<NaiveDateTime>,
}

impl Month {
    pub(super) async fn is_paused(&mut self, rule: Option<String>) {
        if !self.is_well() {
            return;
        }
        let brake = self.world.running.as_ref().unwrap().shared.brake().clone();
        let scope = match &rule {
            Some(rule) => Scope::Rule(RuleId::parse(rule).unwrap()),
            None => Scope::Everything,
        };
        let paused = brake.pause(scope, None, self.world.clock.now());
        // Without an answer it may be in force or not, and is promised to nobody.
        if let Some(Ok(_)) = self.patiently("a pause", paused).await {
            self.tally.count("a pause", 1);
            self.pauses.push(Paused { rule, from: self.now(), to: None });
        }
    }

    pub(super) async fn resumes(&mut self) {
        if !self.is_well() {
            return;
        }
        let brake = self.world.running.as_ref().unwrap().shared.brake().clone();
        let now = self.now();
        self.pauses.iter_mut().for_each(|pause| pause.to = pause.to.or(Some(now)));
        for pause in brake.pauses() {
            let _told_or_refused = self.patiently("the end of a pause", brake.resume(&pause.scope)).await;
        }
    }

    pub(super) async fn releases(&mut self) {
        if !self.is_well() {
            return;
        }
        let brake = self.world.running.as_ref().unwrap().shared.brake().clone();
        if let Some(Ok(ended)) = self.patiently("a release", brake.release(None)).await {
            self.tally.count("a held rule was released", u64::try_from(ended.len()).unwrap());
        }
    }

    /// No request starts in a rule's quiet hours, nor while it is paused, and none before its turn or long after it.
    pub(super) fn nights_and_pauses(&mut self) {
        let mut sent = BTreeMap::new();
        for send in self.world.sends() {
            let (rule, due) = page_of(send.page.as_deref().unwrap());
            let at = beijing(send.at);
            let paused = self.pauses.iter().find(|pause| {
                let is_its = pause.rule.as_ref().is_none_or(|of| *of == rule);
                is_its && pause.from < at && pause.to.is_none_or(|to| at < to)
            });
            assert!(paused.is_none(), "{send:?} during {paused:?}\n{}", self.world.told());
            let Some(spec) = self.spec_at(&rule, due) else { continue };
            let by_night = spec.quiet.is_some_and(|quiet| quiet.has(at));
            assert!(!by_night, "{send:?} in the quiet hours of {spec:?}\n{}", self.world.told());
            let held = spec.quiet.is_some_and(|quiet| !quiet.skips && quiet.has(due));
            let turn = spec.spread_min > 0 && at > due + TimeDelta::seconds(59) && !held;
            sent.insert((rule, due, send.openid), (held, turn));
        }
        let n = |which: fn(&(bool, bool)) -> bool| {
            u64::try_from(sent.values().filter(|one| which(one)).count()).unwrap()
        };
        self.held_so_far = n(|(held, _)| *held);
        self.turns_so_far = n(|(_, turn)| *turn);
    }
}
