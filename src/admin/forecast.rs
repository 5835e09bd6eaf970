//! What is due next, and who would get it: said before the due time, with the reason for everybody else.
//!
//! The forecast spends the grants of today on the due times ahead in their order, so the reminder for
//! which somebody runs out is the one that shows it. It knows nothing of acceptances to come, of the
//! app's rate, or of what quiet hours hold past another due time, which may get the grant then.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::instant::{local, parse, remark, utc};
use super::reminders::{Reminder, Subject, SubjectRow, of_appointments};
use super::standstill::{Of, Stop};
use crate::domain::config::App;
use crate::domain::consent::Account;
use crate::domain::count::n_of;
use crate::domain::id::{AppName, OpenId, RuleId, TemplateId};
use crate::domain::language::Said;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::recipient::{Profile, Recipient};
use crate::domain::rule::Rule;
use crate::domain::template::TemplateKind;
use crate::domain::when::Offset;
use crate::domain::zone::Zone;
use crate::plan::audience::{Selector, Verdict};
use crate::plan::own_time;
use crate::plan::pace;
use crate::plan::purse::Purse;
use crate::plan::quota::Budget;
use crate::plan::recurrence::{MAX_OCCURRENCES, Window, occurrences};
use crate::plan::render::{Compiled, Input, Shown};
use crate::plan::turn::{self, Person, Turn};
use crate::plan::words;
use crate::store::{self, Hint, KeptAppointment, Walked};

/// Most due times of one forecast.
const MAX_ROWS: usize = 10_000;
/// The longest span of a forecast, in seconds: 9 years.
const MAX_SPAN_S: u64 = 9 * 366 * 86_400;
/// Recipients read at once.
const PAGE: usize = 512;

#[derive(Serialize)]
struct NextRow<'a> {
    rule: &'a str,
    due_at: String,
    local: String,
    zone: &'static str,
    remark: Option<String>,
    would_send: u64,
    would_skip: BTreeMap<&'static str, u64>,
    words: Words<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appointment: Option<SubjectRow<'a>>,
}

/// When the rule is due, in both languages.
#[derive(Serialize)]
struct Words<'a> {
    en: &'a str,
    zh: &'a str,
}

/// One due time ahead, and how its audience would fare.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) rule: Arc<Rule>,
    pub(super) due: Due,
    /// By whose clock it is due.
    zone: Zone,
    /// What it reminds of, by a rule of appointments.
    pub(super) subject: Option<Subject>,
    send: u64,
    skip: BTreeMap<SkipReason, u64>,
}

impl Ahead {
    fn new(rule: &Arc<Rule>, due: Due, zone: Zone, subject: Option<Subject>) -> Self {
        Self { rule: Arc::clone(rule), due, zone, subject, send: 0, skip: BTreeMap::new() }
    }

    /// Whether it is due by the recipient's clock.
    pub(super) fn is_of(&self, recipient: Option<&Recipient>) -> bool {
        // Whom an appointment belongs to is asked elsewhere; each has his own time in one row.
        self.subject.is_some() || own_time::zone_on(&self.rule, recipient, self.due.civil.date()) == self.zone
    }

    fn reminder(&self) -> Option<Reminder> {
        Some(Reminder { due: self.due, zone: self.zone, subject: self.subject.clone()? })
    }

    /// In which order grants are spent.
    pub(super) fn place(&self) -> (DateTime<Utc>, Reverse<u32>, &RuleId, Option<&Subject>) {
        (self.due.at, Reverse(self.rule.priority), &self.rule.id, self.subject.as_ref())
    }

    /// What an admin should know of it: what keeps its rule from being sent now, a clock change, or more people than the
    /// app's rate can serve in time, or its quota.
    fn remark(&self, app: Option<&App>, standstill: &[Stop], over: Option<Said>) -> Option<String> {
        let change = remark(&self.due, self.zone);
        let rate = app.and_then(|app| app.per_second);
        let slow = rate.and_then(|rate| pace::too_slow(self.send, rate, self.rule.grace, self.rule.spread));
        let standstill = standstill.iter().map(|stop| stop.why.en.trim_end_matches('.').to_owned());
        let others = change.into_iter().chain(slow.map(|slow| slow.said())).chain(over).map(|said| said.en);
        let parts: Vec<String> = standstill.chain(others).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// A rule with its texts compiled, and its first due time ahead.
pub(super) struct Prepared {
    pub(super) rule: Arc<Rule>,
    pub(super) selector: Selector,
    pub(super) texts: Compiled,
    due: Due,
}

/// What reaches a person, with the reason of his own against it.
type Reached = Vec<(Reaching, Result<(), SkipReason>)>;

/// All rows of a rule, by its index, or one row alone, by the row's: about an appointment, or where the person's clock
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reaching {
    Rule(usize),
    Row(usize),
}

/// People who fare alike: what reaches them, grants, and why there are no more.
#[derive(PartialEq, Eq, Hash)]
struct Group {
    reached: Reached,
    grants: Purse,
    without: SkipReason,
}

impl Desk {
    pub(super) async fn next(
        &self,
        rule: Option<&str>,
        span_s: u64,
        at: Option<&str>,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let wanted = rule.map(rule_id).transpose()?;
        let after = match at {
            Some(text) => parse(text).map_err(|error| Failure::new(Exit::Usage, format!("--at: {error}")))?,
            None => self.now(),
        };
        let span = i64::try_from(span_s.min(MAX_SPAN_S)).expect("9 years fit");
        let until = after.checked_add_signed(TimeDelta::seconds(span)).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let live = self.live();
        if let Some(id) = &wanted
            && !live.rules.rules.contains_key(id)
        {
            let disabled = live.rules.disabled.contains(id);
            let why = if disabled { "is disabled" } else { "is in no schedule file" };
            return Err(Failure::data(format!("rule `{id}` {why}")));
        }
        let is_wanted = |rule: &RuleId| wanted.as_ref().is_none_or(|id| *id == *rule);
        let (wanted_rules, others): (Vec<_>, Vec<_>) =
            live.rules.rules.values().partition(|rule| is_wanted(&rule.id));
        let window = Window { after, until };
        let (mut rows, cut) = self.due_ahead(wanted_rules.into_iter(), window, None).await?;
        // Others take consents and quota, and no row.
        let (taking, taking_cut) = self.due_ahead(others.into_iter(), window, None).await?;
        rows.extend(taking);
        rows.sort_by(|a, b| a.place().cmp(&b.place()));
        self.forecast_all(&mut rows).await?;
        self.synced().await?;
        let mut words: BTreeMap<&RuleId, Said> = BTreeMap::new();
        let mut standing: BTreeMap<&RuleId, Vec<Stop>> = BTreeMap::new();
        let mut budgets = if at.is_none() { self.budgets() } else { BTreeMap::new() };
        for row in &rows {
            // Also of the rules that are not shown.
            let over = budgets.get_mut(&row.rule.app).and_then(|budget| budget.spend(row.due.at, row.send));
            if !is_wanted(&row.rule.id) {
                continue;
            }
            let app = live.config.apps.get(&row.rule.app);
            if let Some(app) = app
                && !standing.contains_key(&row.rule.id)
            {
                standing.insert(&row.rule.id, self.standstill(&app.appid, &row.rule.id, Of::Coming)?);
            }
            let standstill = standing.get(&row.rule.id).map_or(&[][..], Vec::as_slice);
            let said = words.entry(&row.rule.id).or_insert_with(|| words::when(&row.rule.when));
            lines
                .row(&NextRow {
                    rule: row.rule.id.as_str(),
                    due_at: utc(row.due.at),
                    local: local(row.due.at, row.zone),
                    zone: row.zone.name(),
                    remark: row.remark(app, standstill, over),
                    would_send: row.send,
                    would_skip: row.skip.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
                    words: Words { en: &said.en, zh: &said.zh },
                    appointment: row.subject.as_ref().map(Subject::row),
                })
                .await?;
        }
        if let Some(until) = cut {
            lines.note(format!("cut after {MAX_ROWS} due times, at {}", utc(until))).await?;
        }
        if let Some(until) = taking_cut {
            let until = utc(until);
            lines
                .note(format!("what other rules take is counted until {until}: {MAX_ROWS} due times"))
                .await?;
        }
        Ok(Exit::Done)
    }

    /// What is foreseen until the day turns of those apps of which the platform was asked, held against what it still takes.
    pub(super) async fn foreseen(&self) -> Result<BTreeMap<AppName, Budget>, Failure> {
        let (mut budgets, after) = (self.budgets(), self.now());
        let Some(until) = budgets.values().map(Budget::until).max() else { return Ok(budgets) };
        let live = self.live();
        let rules = live.rules.rules.values().filter(|rule| budgets.contains_key(&rule.app));
        let (mut rows, _cut) = self.due_ahead(rules, Window { after, until }, None).await?;
        self.forecast_all(&mut rows).await?;
        for row in &rows {
            let _remark =
                budgets.get_mut(&row.rule.app).and_then(|budget| budget.spend(row.due.at, row.send));
        }
        Ok(budgets)
    }

    async fn forecast_all(&self, rows: &mut [Ahead]) -> Result<(), Failure> {
        for app in self.live().config.apps.values() {
            let of_app = rows.iter().filter(|row| row.rule.app == app.name);
            let templates: BTreeSet<TemplateId> = of_app.map(|row| row.rule.template.id.clone()).collect();
            for template in templates {
                self.forecast(app, &template, rows).await?;
            }
        }
        Ok(())
    }

    /// What is left of the day's messages, of the apps of which the platform was asked.
    fn budgets(&self) -> BTreeMap<AppName, Budget> {
        let quotas = self.control().map(|control| control.status().quotas).unwrap_or_default();
        let now = self.now();
        quotas.into_iter().map(|(app, (quota, _))| (app, Budget::new(quota, now))).collect()
    }

    /// Walks the recipients of one app once, for all due times of one template. Where all of these are reminders of
    /// appointments, only those are asked about to whom these belong.
    async fn forecast(&self, app: &App, template: &TemplateId, rows: &mut [Ahead]) -> Result<(), Failure> {
        let mine = |row: &Ahead| row.rule.app == app.name && row.rule.template.id == *template;
        let rules = prepare(rows.iter().filter(|row| mine(row)))?;
        let mut mine: Vec<&mut Ahead> = rows.iter_mut().filter(|row| mine(row)).collect();
        let n_rows = n_of(mine.len());
        let kind = rules.first().map_or(TemplateKind::OneTime, |prepared| prepared.rule.template.kind);
        let mut reminded = self.reminded(app, &rules, &mine).await?;
        let mut groups: HashMap<Group, u64> = HashMap::new();
        let mut after: Option<OpenId> = None;
        let mut goes_on = rules.iter().any(|prepared| of_appointments(&prepared.rule).is_none());
        while goes_on {
            let page = self.store().walk(&app.appid, template, after.as_ref(), PAGE)?;
            goes_on = page.len() == PAGE;
            after = page.last().map(|last| last.openid.clone());
            for walked in &page {
                let mut reached = reached(&rules, walked, &mine);
                reached.extend(reminded.remove(&walked.openid).unwrap_or_default());
                if reached.is_empty() {
                    continue;
                }
                let (grants, without) = match walked.hint {
                    Hint::Nothing(reason) => (Purse::default(), reason),
                    // One due time takes one grant, and the hint has said that there is one.
                    Hint::Consent(1..) if n_rows == 1 => (Purse::of_any(1), SkipReason::NoConsent),
                    Hint::Consent(_) => self.grants(app, (template, kind), &walked.openid, n_rows)?,
                };
                *groups.entry(Group { reached, grants, without }).or_default() += 1;
            }
            tokio::task::yield_now().await;
        }
        for (n, (openid, reached)) in reminded.into_iter().enumerate() {
            let (grants, without) = self.grants(app, (template, kind), &openid, n_rows)?;
            *groups.entry(Group { reached, grants, without }).or_default() += 1;
            if n % PAGE == 0 {
                tokio::task::yield_now().await;
            }
        }
        let mut rows_of: BTreeMap<&RuleId, Vec<usize>> = BTreeMap::new();
        let ids: Vec<RuleId> = mine.iter().map(|row| row.rule.id.clone()).collect();
        for (n, id) in ids.iter().enumerate() {
            rows_of.entry(id).or_default().push(n);
        }
        for (group, n) in groups {
            let mut grants = group.grants;
            let mut met: Vec<(usize, Result<(), SkipReason>)> = Vec::new();
            for (reaching, own) in group.reached {
                match reaching {
                    Reaching::Row(row) => met.push((row, own)),
                    Reaching::Rule(rule) => {
                        let rows = rules.get(rule).and_then(|prepared| rows_of.get(&prepared.rule.id));
                        met.extend(rows.into_iter().flatten().map(|row| (*row, own)));
                    }
                }
            }
            met.sort_unstable_by_key(|(row, _)| *row);
            for (row, own) in met {
                let Some(row) = mine.get_mut(row) else { continue };
                let mut left = grants.clone();
                let skip = match own {
                    // These are asked before the consent.
                    Err(reason @ (SkipReason::Muted | SkipReason::Quiet)) => Some(reason),
                    Err(_) | Ok(()) if !left.spend(row.subject.as_ref().map(Subject::bound), row.due.at) => {
                        Some(group.without)
                    }
                    Err(reason) => Some(reason),
                    Ok(()) => None,
                };
                if let Some(reason) = skip {
                    *row.skip.entry(reason).or_default() += n;
                } else {
                    grants = left;
                    row.send += n;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Whom the rows about appointments reach, each with what reaches him.
    async fn reminded(
        &self,
        app: &App,
        rules: &[Prepared],
        rows: &[&mut Ahead],
    ) -> Result<BTreeMap<OpenId, Reached>, Failure> {
        let mut reminded: BTreeMap<OpenId, Reached> = BTreeMap::new();
        for (n, row) in rows.iter().enumerate() {
            let Some(reminder) = row.reminder() else { continue };
            let Some(prepared) = rules.iter().find(|prepared| prepared.rule.id == row.rule.id) else {
                continue;
            };
            let key = &reminder.subject.key;
            let kept = self.store().appointment(key)?.filter(|kept| kept.stands_at(reminder.subject.at));
            let Some(kept) = kept else { continue };
            let Some(appointment) = kept.appointment() else { continue };
            for openid in self.whom(&row.rule, &reminder, &kept)? {
                // Nobody who was erased is reminded.
                let Some(recipient) = self.store().recipient(&app.appid, &openid)? else { continue };
                let shown = Shown { id: &key.id, appointment: &appointment };
                if let Some(own) = prepared.reach(&openid, &recipient, &row.due, Some(shown)) {
                    reminded.entry(openid).or_default().push((Reaching::Row(n), own));
                }
            }
            if n % PAGE == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(reminded)
    }

    /// What somebody has for so many due times, and why no more.
    fn grants(
        &self,
        app: &App,
        (template, kind): (&TemplateId, TemplateKind),
        openid: &OpenId,
        n: u64,
    ) -> Result<(Purse, SkipReason), Failure> {
        let Some(account) = self.store().bare_account(&app.appid, template, openid)? else {
            return Ok((Purse::default(), SkipReason::NoConsent));
        };
        let purse = store::purse(self.store(), (&app.appid, openid), (&account, kind), self.now(), n)?;
        Ok((purse, without(&account)))
    }

    /// Due times of all rules in order, at most [`MAX_ROWS`]; then also where the list was cut. Of rules of appointments
    /// only what is for `whose`, where somebody is named.
    pub(super) async fn due_ahead<'a>(
        &self,
        rules: impl Iterator<Item = &'a Arc<Rule>>,
        window: Window,
        whose: Option<&OpenId>,
    ) -> Result<(Vec<Ahead>, Option<DateTime<Utc>>), Failure> {
        let live = self.live();
        let mut rows = Vec::new();
        let mut until = window.until;
        let mut cut = None;
        for rule in rules {
            for zone in self.clocks(rule)? {
                let mut after = window.after;
                loop {
                    let dues = occurrences(&rule.when, zone, Window { after, until });
                    rows.extend(dues.iter().map(|due| Ahead::new(rule, *due, zone, None)));
                    match dues.last() {
                        Some(last) if dues.len() == MAX_OCCURRENCES && rows.len() <= 2 * MAX_ROWS => {
                            after = last.at;
                        }
                        Some(_) | None => break,
                    }
                }
            }
            if let Some(app) = live.config.apps.get(&rule.app) {
                let window = Window { after: window.after, until };
                let wanted = |reminder: &Reminder, kept: &KeptAppointment| {
                    let whom = self.whom(rule, reminder, kept)?;
                    Ok(whose.map_or(!whom.is_empty(), |one| whom.contains(one)))
                };
                let reminders = self.reminders(app, rule, window, MAX_ROWS + 1, wanted).await?;
                rows.extend(
                    reminders.into_iter().map(|reminder| {
                        Ahead::new(rule, reminder.due, reminder.zone, Some(reminder.subject))
                    }),
                );
            }
            if rows.len() > MAX_ROWS {
                rows.sort_by(|a, b| a.place().cmp(&b.place()));
                rows.truncate(MAX_ROWS);
                // Later rules need not be looked at beyond the last row that stays.
                until = rows.last().map_or(until, |row| row.due.at);
                cut = Some(until);
            }
        }
        rows.sort_by(|a, b| a.place().cmp(&b.place()));
        Ok((rows, cut))
    }
}

impl Desk {
    /// The zones by whose clocks a rule is due: its own, and those that recipients have where each has his own time.
    fn clocks(&self, rule: &Rule) -> Result<Vec<Zone>, Failure> {
        let mut clocks = vec![rule.zone];
        if let Some(app) = self.live().config.apps.get(&rule.app).filter(|_| rule.own_time) {
            let others = self.store().zones(&app.appid, self.now())?;
            clocks.extend(others.into_iter().filter(|zone| *zone != rule.zone));
        }
        Ok(clocks)
    }
}

/// The rules of some rows, each once, with its first row.
pub(super) fn prepare<'a>(rows: impl Iterator<Item = &'a Ahead>) -> Result<Vec<Prepared>, Failure> {
    let mut prepared: Vec<Prepared> = Vec::new();
    for row in rows {
        if prepared.iter().any(|known| known.rule.id == row.rule.id) {
            continue;
        }
        // A rule in force has passed the same compilation; if not, say which one.
        let broken = |what: String| Failure::new(Exit::Config, format!("rule `{}`: {what}", row.rule.id));
        let texts = Compiled::new(&row.rule)
            .map_err(|errors| broken(errors.first().map(ToString::to_string).unwrap_or_default()))?;
        let selector = Selector::new(&row.rule.audience).map_err(|error| broken(error.to_string()))?;
        prepared.push(Prepared { rule: Arc::clone(&row.rule), selector, texts, due: row.due });
    }
    Ok(prepared)
}

/// Why somebody whose grants are used up gets nothing.
pub(super) fn without(account: &Account) -> SkipReason {
    account.why_none().into()
}

/// Which rules that go by the clock alone reach a recipient, each with the reason of his own why he would not get it.
fn reached(rules: &[Prepared], walked: &Walked, rows: &[&mut Ahead]) -> Reached {
    let Walked { openid, recipient, .. } = walked;
    let by_the_clock = rules.iter().enumerate().filter(|(_, rule)| of_appointments(&rule.rule).is_none());
    let mut reached = Reached::new();
    for (n, prepared) in by_the_clock {
        if prepared.rule.quiet.is_none() && !prepared.rule.own_time {
            let own = prepared.reach(openid, recipient, &prepared.due, None);
            reached.extend(own.map(|own| (Reaching::Rule(n), own)));
            continue;
        }
        let mine = |row: &Ahead| row.rule.id == prepared.rule.id && row.is_of(Some(recipient));
        for (n, row) in rows.iter().enumerate().filter(|(_, row)| mine(row)) {
            let own = prepared.reach(openid, recipient, &row.due, None);
            reached.extend(own.map(|own| (Reaching::Row(n), own)));
        }
    }
    reached
}

impl Prepared {
    /// Whether the texts fit somebody; `None` whom the rule is not for.
    pub(super) fn reach(
        &self,
        openid: &OpenId,
        recipient: &Recipient,
        due: &Due,
        appointment: Option<Shown<'_>>,
    ) -> Option<Result<(), SkipReason>> {
        let profile = &recipient.profile;
        match self.selector.selects(openid, profile) {
            Verdict::No | Verdict::Undefined => None,
            Verdict::Yes if profile.muted => Some(Err(SkipReason::Muted)),
            Verdict::Yes if recipient.bad_since.is_some() => Some(Err(SkipReason::BadRecipient)),
            Verdict::Yes => {
                let (due, zone) = self.own_due(recipient, due, appointment);
                let turn = self.turn(openid, profile, &due, appointment);
                let input = Input { openid, profile, due: &due, appointment, zone };
                Some(turn.and_then(|_turn| self.texts.render(&input).map(|_message| ())))
            }
        }
    }

    /// When it is due for a recipient, and by whose clock.
    fn own_due(&self, recipient: &Recipient, due: &Due, appointment: Option<Shown<'_>>) -> (Due, Zone) {
        let rule = &self.rule;
        let own = of_appointments(rule).zip(appointment).and_then(|(relative, shown)| {
            own_time::reminder(rule, relative, Some(recipient), shown.appointment.at)
        });
        own.unwrap_or_else(|| (*due, own_time::zone_on(rule, Some(recipient), due.civil.date())))
    }

    fn turn(
        &self,
        openid: &OpenId,
        profile: &Profile,
        due: &Due,
        appointment: Option<Shown<'_>>,
    ) -> Result<Turn, SkipReason> {
        let before = of_appointments(&self.rule).is_some_and(|relative| match relative.offset {
            Offset::Before(_) => true,
            Offset::After(_) | Offset::SameDay => false,
        });
        let end = turn::end(&self.rule, due.at);
        let end = appointment.filter(|_| before).map_or(end, |shown| end.min(shown.appointment.at));
        turn::turn(&self.rule, Person::new(&self.rule, openid, profile), due.at, end, due.at)
    }
}
