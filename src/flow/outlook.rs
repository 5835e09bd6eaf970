//! What the rules in force will want of one person: which templates to ask for, and what comes next.
//!
//! Due times of the coming days are the same for everybody a rule reaches, so they are worked out once
//! a minute and generation; who is reached is asked for each person.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::intake::Upcoming;
use super::live::Live;
use crate::domain::config::App;
use crate::domain::consent::MAX_HELD;
use crate::domain::count::n_of;
use crate::domain::id::{OpenId, TemplateId};
use crate::domain::recipient::Profile;
use crate::domain::rule::Rule;
use crate::plan::audience::{Selector, Verdict};
use crate::plan::recurrence;

/// How far ahead due times count for the question whether a consent is missing.
const ASK_AHEAD: TimeDelta = TimeDelta::days(30);
/// Most templates in one `wx.requestSubscribeMessage`.
const MAX_ASK: usize = 3;
/// Most reminders in `upcoming`.
const MAX_UPCOMING: usize = 20;

/// Due times of the rules in force, as of some minute.
#[derive(Debug, Default)]
pub struct Outlook(Mutex<Option<Arc<Ahead>>>);

#[derive(Debug)]
struct Ahead {
    generation: u64,
    minute: i64,
    rules: Vec<RuleAhead>,
}

#[derive(Debug)]
struct RuleAhead {
    rule: Arc<Rule>,
    selector: Selector,
    /// Within [`ASK_AHEAD`], ascending, at most one more than an account can hold.
    dues: Vec<DateTime<Utc>>,
}

impl Outlook {
    /// Templates with fewer living grants than due times in the next 30 days, the earliest uncovered
    /// one first; one-time and long-term ones never together (20002).
    #[must_use]
    pub fn ask(
        &self,
        live: &Live,
        app: &App,
        openid: &OpenId,
        profile: &Profile,
        balances: &BTreeMap<TemplateId, u64>,
        now: DateTime<Utc>,
    ) -> Vec<TemplateId> {
        let ahead = self.ahead(live, now);
        let mut dues: BTreeMap<&TemplateId, (&Rule, Vec<DateTime<Utc>>)> = BTreeMap::new();
        for reached in ahead.reaching(app, openid, profile) {
            let after_now = reached.dues.iter().filter(|due| **due > now);
            let entry = dues.entry(&reached.rule.template.id).or_insert((&*reached.rule, Vec::new()));
            entry.1.extend(after_now);
        }
        let mut uncovered: Vec<(DateTime<Utc>, &Rule)> = dues
            .into_iter()
            .filter_map(|(template, (rule, mut dues))| {
                dues.sort_unstable();
                let covered = balances.get(template).copied().unwrap_or(0);
                // A standing acceptance covers every due time.
                let standing =
                    rule.template.kind == crate::domain::template::TemplateKind::LongTerm && covered > 0;
                let first = dues.get(usize::try_from(covered).unwrap_or(usize::MAX)).copied();
                first.filter(|_| !standing).map(|due| (due, rule))
            })
            .collect();
        uncovered.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.id.cmp(&b.1.id)));
        let kind = uncovered.first().map(|(_, rule)| rule.template.kind);
        uncovered
            .into_iter()
            .filter(|(_, rule)| Some(rule.template.kind) == kind)
            .take(MAX_ASK)
            .map(|(_, rule)| rule.template.id.clone())
            .collect()
    }

    /// What comes next for one person, the earliest first.
    #[must_use]
    pub fn upcoming(
        &self,
        live: &Live,
        app: &App,
        openid: &OpenId,
        profile: &Profile,
        now: DateTime<Utc>,
    ) -> Vec<Upcoming> {
        let ahead = self.ahead(live, now);
        let mut upcoming: Vec<Upcoming> = ahead
            .reaching(app, openid, profile)
            .flat_map(|reached| {
                reached.dues.iter().filter(|due| **due > now).take(MAX_UPCOMING).map(|due| Upcoming {
                    rule: reached.rule.id.clone(),
                    template: reached.rule.template.id.clone(),
                    due_at: *due,
                })
            })
            .collect();
        upcoming.sort_by(|a, b| a.due_at.cmp(&b.due_at).then_with(|| a.rule.cmp(&b.rule)));
        upcoming.truncate(MAX_UPCOMING);
        upcoming
    }

    fn ahead(&self, live: &Live, now: DateTime<Utc>) -> Arc<Ahead> {
        let minute = now.timestamp().div_euclid(60);
        // A poisoned lock holds a complete value or none: it is replaced as a whole.
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ahead) = slot.as_ref().filter(|a| a.generation == live.generation && a.minute == minute) {
            return Arc::clone(ahead);
        }
        let rules = live.rules.rules.values().filter_map(|rule| RuleAhead::new(rule, now)).collect();
        let ahead = Arc::new(Ahead { generation: live.generation, minute, rules });
        *slot = Some(Arc::clone(&ahead));
        ahead
    }
}

impl Ahead {
    fn reaching<'a>(
        &'a self,
        app: &'a App,
        openid: &'a OpenId,
        profile: &'a Profile,
    ) -> impl Iterator<Item = &'a RuleAhead> {
        self.rules.iter().filter(move |ahead| {
            ahead.rule.app == app.name
                && !profile.muted
                && match ahead.selector.selects(openid, profile) {
                    Verdict::Yes => true,
                    Verdict::No | Verdict::Undefined => false,
                }
        })
    }
}

impl RuleAhead {
    fn new(rule: &Arc<Rule>, now: DateTime<Utc>) -> Option<Self> {
        let selector = Selector::new(&rule.audience).ok()?;
        let until = now + ASK_AHEAD;
        let mut dues = Vec::new();
        let mut after = now;
        while n_of(dues.len()) <= MAX_HELD
            && let Some(due) = recurrence::next(&rule.when, rule.zone, after)
            && due.at <= until
        {
            dues.push(due.at);
            after = due.at;
        }
        Some(Self { rule: Arc::clone(rule), selector, dues })
    }
}
