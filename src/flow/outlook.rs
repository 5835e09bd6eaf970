//! What the rules in force will want of one person: which templates to ask for, and what comes next.
//!
//! Due times of the coming days are the same for everybody a rule reaches, so they are worked out once
//! a minute and generation; who is reached is asked for each person.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::intake::{Subject, Upcoming};
use super::live::Live;
use super::reminders::Reminder;
use crate::domain::appointment::bound_hash;
use crate::domain::config::App;
use crate::domain::consent::MAX_HELD;
use crate::domain::id::{OpenId, TemplateId};
use crate::domain::occurrence::Due;
use crate::domain::recipient::Recipient;
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::plan::audience::{Selector, Verdict};
use crate::plan::own_time;
use crate::plan::purse::Purse;
use crate::plan::recurrence::{self, Window};
use crate::plan::turn::{self, Person};

/// How far ahead due times count for the question whether a consent is missing.
pub const ASK_AHEAD: TimeDelta = TimeDelta::days(30);
/// Most templates in one `wx.requestSubscribeMessage`.
const MAX_ASK: usize = 3;
/// Most reminders in `upcoming`.
const MAX_UPCOMING: usize = 20;

/// Due times of the rules in force, as of some minute.
#[derive(Debug, Default)]
pub struct Outlook(Mutex<Option<Arc<Ahead>>>);

/// When a message is due, and the appointment that it is about, as grants name it.
type Wanted = (DateTime<Utc>, Option<u64>);

/// Whom it is about.
#[derive(Clone, Copy, Debug)]
pub struct One<'a> {
    /// Who.
    pub openid: &'a OpenId,
    /// What is known of him.
    pub recipient: &'a Recipient,
    /// Reminders of his appointments within [`ASK_AHEAD`].
    pub own: &'a [Reminder],
}

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
    now: DateTime<Utc>,
    /// By the clock of each zone that was asked for; of most rules that is their own alone.
    by_zone: Mutex<HashMap<Zone, Arc<[Due]>>>,
}

impl Outlook {
    /// Templates with fewer living grants than due times in the next 30 days, those of his appointments among them, and what
    /// was given for one of these covers no other message before it; the earliest uncovered one first; one-time and
    /// long-term ones never together (20002), and none of those that nobody can accept, for which the others would fail too.
    #[must_use]
    pub fn ask(
        &self,
        live: &Live,
        app: &App,
        one: One<'_>,
        (purses, unaskable): (&BTreeMap<TemplateId, Purse>, &BTreeSet<&TemplateId>),
        now: DateTime<Utc>,
    ) -> Vec<TemplateId> {
        let ahead = self.ahead(live, now);
        let mut dues: BTreeMap<&TemplateId, (&Rule, Vec<Wanted>)> = BTreeMap::new();
        let askable = |ahead: &&RuleAhead| !unaskable.contains(&ahead.rule.template.id);
        for reached in ahead.reaching(app, one).filter(askable) {
            let of_appointments = reached
                .of(one.own)
                .map(|reminder| (reminder.due.at, Some(bound_hash(&reminder.key.kind, &reminder.key.id))));
            let mine = reached.dues(one).into_iter().map(|due| (due, None));
            let after_now = mine.chain(of_appointments).filter(|(due, _)| *due > now);
            let entry = dues.entry(&reached.rule.template.id).or_insert((&*reached.rule, Vec::new()));
            entry.1.extend(after_now);
        }
        let mut uncovered: Vec<(DateTime<Utc>, &Rule)> = dues
            .into_iter()
            .filter_map(|(template, (rule, mut dues))| {
                dues.sort_unstable();
                let mut purse = purses.get(template).cloned().unwrap_or_default();
                dues.into_iter().find(|(due, own)| !purse.spend(*own, *due)).map(|(due, _)| (due, rule))
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
    pub fn upcoming(&self, live: &Live, app: &App, one: One<'_>, now: DateTime<Utc>) -> Vec<Upcoming> {
        let ahead = self.ahead(live, now);
        let mut upcoming: Vec<Upcoming> = ahead
            .reaching(app, one)
            .flat_map(|reached| {
                let of_appointments = reached.of(one.own).map(|reminder| (reminder.due.at, Some(reminder)));
                let dues = reached.dues(one);
                let all = dues.into_iter().map(|due| (due, None)).chain(of_appointments);
                all.filter(|(due, _)| *due > now).take(MAX_UPCOMING).map(|(due_at, reminder)| Upcoming {
                    rule: reached.rule.id.clone(),
                    template: reached.rule.template.id.clone(),
                    due_at,
                    about: reminder.map(|reminder| Subject {
                        kind: reminder.key.kind.clone(),
                        id: reminder.key.id.clone(),
                        at: reminder.kept.at,
                    }),
                })
            })
            .collect();
        upcoming.sort_by(|a, b| (a.due_at, &a.rule, &a.about).cmp(&(b.due_at, &b.rule, &b.about)));
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
    fn reaching<'a>(&'a self, app: &'a App, one: One<'a>) -> impl Iterator<Item = &'a RuleAhead> {
        self.rules.iter().filter(move |ahead| {
            ahead.rule.app == app.name
                && !one.recipient.profile.muted
                && one.recipient.bad_since.is_none()
                && match ahead.selector.selects(one.openid, &one.recipient.profile) {
                    Verdict::Yes => true,
                    Verdict::No | Verdict::Undefined => false,
                }
        })
    }
}

impl RuleAhead {
    /// What of somebody's reminders is of this rule.
    fn of<'a>(&'a self, own: &'a [Reminder]) -> impl Iterator<Item = &'a Reminder> {
        own.iter().filter(|reminder| reminder.rule.id == self.rule.id)
    }

    fn new(rule: &Arc<Rule>, now: DateTime<Utc>) -> Option<Self> {
        let selector = Selector::new(&rule.audience).ok()?;
        Some(Self { rule: Arc::clone(rule), selector, now, by_zone: Mutex::default() })
    }

    /// The person's due times within [`ASK_AHEAD`], ascending; none of a rule of appointments.
    fn dues(&self, one: One<'_>) -> Vec<DateTime<Utc>> {
        let mut dues = Vec::new();
        let person = Person::new(&self.rule, one.openid, &one.recipient.profile);
        for zone in own_time::zones(&self.rule, Some(one.recipient)) {
            let is_his = |due: &&Due| {
                let end = turn::end(&self.rule, due.at);
                own_time::zone_on(&self.rule, Some(one.recipient), due.civil.date()) == zone
                    // What quiet hours keep from leaving asks for no consent.
                    && turn::turn(&self.rule, person, due.at, end, due.at).is_ok()
            };
            dues.extend(self.by_clock(zone).iter().filter(is_his).map(|due| due.at));
        }
        dues.sort_unstable();
        dues
    }

    /// Due times by a zone's clock within [`ASK_AHEAD`], ascending, at most one more than an account can hold.
    fn by_clock(&self, zone: Zone) -> Arc<[Due]> {
        // A poisoned lock holds whole lists.
        let mut by_zone = self.by_zone.lock().unwrap_or_else(PoisonError::into_inner);
        let dues = by_zone.entry(zone).or_insert_with(|| {
            let window = Window { after: self.now, until: self.now + ASK_AHEAD };
            let most = usize::try_from(MAX_HELD).unwrap_or(usize::MAX).saturating_add(1);
            recurrence::dues(&self.rule.when, zone, window).take(most).collect()
        });
        Arc::clone(dues)
    }
}
