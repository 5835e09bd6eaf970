//! What is due next, and who would get it: said before the due time, with the reason for everybody else.
//!
//! The forecast spends the grants of today on the due times ahead in their order, so the reminder for
//! which somebody runs out is the one that shows it. It knows nothing of acceptances to come, of the
//! app's rate, or of clashes between rules that are due at the same second beyond their ids' order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::instant::{local, parse, remark, utc};
use crate::domain::config::App;
use crate::domain::consent::{Account, NoGrant};
use crate::domain::count::n_of;
use crate::domain::id::{OpenId, RuleId, TemplateId};
use crate::domain::language::Said;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::rule::Rule;
use crate::plan::audience::{Selector, Verdict};
use crate::plan::pace;
use crate::plan::recurrence::{MAX_OCCURRENCES, Window, occurrences};
use crate::plan::render::{Compiled, Input};
use crate::plan::words;
use crate::store::{Hint, Walked};

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
    send: u64,
    skip: BTreeMap<SkipReason, u64>,
}

impl Ahead {
    /// What an admin should know of it: a clock change, or more people than the app's rate can serve in time.
    fn remark(&self, app: Option<&App>) -> Option<String> {
        let change = remark(&self.due, self.rule.zone);
        let rate = app.and_then(|app| app.per_second);
        let slow = rate.and_then(|rate| pace::too_slow(self.send, rate, self.rule.grace, self.rule.spread));
        let parts: Vec<String> =
            change.into_iter().chain(slow.map(|slow| slow.said())).map(|said| said.en).collect();
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

/// People who fare alike: rules that reach them with a reason of their own against it, grants, and why there are no more.
#[derive(PartialEq, Eq, Hash)]
struct Group {
    reached: Vec<(usize, Option<SkipReason>)>,
    grants: u64,
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
        let (mut rows, cut) = ahead(live.rules.rules.values(), Window { after, until });
        for app in live.config.apps.values() {
            let of_app = rows.iter().filter(|row| row.rule.app == app.name);
            let templates: BTreeSet<TemplateId> = of_app.map(|row| row.rule.template.id.clone()).collect();
            for template in templates {
                self.forecast(app, &template, &mut rows).await?;
            }
        }
        self.synced().await?;
        let mut words: BTreeMap<&RuleId, Said> = BTreeMap::new();
        for row in rows.iter().filter(|row| wanted.as_ref().is_none_or(|id| row.rule.id == *id)) {
            let said = words.entry(&row.rule.id).or_insert_with(|| words::when(&row.rule.when));
            lines
                .row(&NextRow {
                    rule: row.rule.id.as_str(),
                    due_at: utc(row.due.at),
                    local: local(row.due.at, row.rule.zone),
                    zone: row.rule.zone.name(),
                    remark: row.remark(live.config.apps.get(&row.rule.app)),
                    would_send: row.send,
                    would_skip: row.skip.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
                    words: Words { en: &said.en, zh: &said.zh },
                })
                .await?;
        }
        if let Some(until) = cut {
            lines.note(format!("cut after {MAX_ROWS} due times, at {}", utc(until))).await?;
        }
        Ok(Exit::Done)
    }

    /// Walks the recipients of one app once, for all due times of one template.
    async fn forecast(&self, app: &App, template: &TemplateId, rows: &mut [Ahead]) -> Result<(), Failure> {
        let mine = |row: &Ahead| row.rule.app == app.name && row.rule.template.id == *template;
        let rules = prepare(rows.iter().filter(|row| mine(row)))?;
        let mut mine: Vec<&mut Ahead> = rows.iter_mut().filter(|row| mine(row)).collect();
        let n_rows = n_of(mine.len());
        let mut groups: HashMap<Group, u64> = HashMap::new();
        let mut after: Option<OpenId> = None;
        loop {
            let page = self.store().walk(&app.appid, template, after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.openid.clone());
            for walked in &page {
                let reached = reached(&rules, walked);
                if reached.is_empty() {
                    continue;
                }
                let (grants, without) = match walked.hint {
                    Hint::Nothing(reason) => (0, reason),
                    // One due time takes one grant, and the hint has said that there is one.
                    Hint::Consent if n_rows == 1 => (1, SkipReason::NoConsent),
                    Hint::Consent => {
                        let account = self.store().bare_account(&app.appid, template, &walked.openid)?;
                        account.map_or((0, SkipReason::NoConsent), |account| match account.standing {
                            Some(_) => (n_rows, SkipReason::NoConsent),
                            None => (account.available().min(n_rows), without(&account)),
                        })
                    }
                };
                *groups.entry(Group { reached, grants, without }).or_default() += 1;
            }
            tokio::task::yield_now().await;
        }
        let index: BTreeMap<_, usize> =
            rules.iter().enumerate().map(|(n, prepared)| (prepared.rule.id.clone(), n)).collect();
        for (group, n) in groups {
            let mut grants = group.grants;
            for row in &mut mine {
                let rule = index.get(&row.rule.id).copied();
                let Some((_, own)) = group.reached.iter().find(|(reached, _)| Some(*reached) == rule) else {
                    continue;
                };
                let skip = match own {
                    Some(SkipReason::Muted) => Some(SkipReason::Muted),
                    Some(_) | None if grants == 0 => Some(group.without),
                    Some(reason) => Some(*reason),
                    None => None,
                };
                if let Some(reason) = skip {
                    *row.skip.entry(reason).or_default() += n;
                } else {
                    grants -= 1;
                    row.send += n;
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Due times of all rules in order, at most [`MAX_ROWS`]; then also where the list was cut.
pub(super) fn ahead<'a>(
    rules: impl Iterator<Item = &'a Arc<Rule>>,
    window: Window,
) -> (Vec<Ahead>, Option<DateTime<Utc>>) {
    let mut rows = Vec::new();
    let mut until = window.until;
    let mut cut = None;
    for rule in rules {
        let mut after = window.after;
        loop {
            let dues = occurrences(&rule.when, rule.zone, Window { after, until });
            rows.extend(dues.iter().map(|due| Ahead {
                rule: Arc::clone(rule),
                due: *due,
                send: 0,
                skip: BTreeMap::new(),
            }));
            match dues.last() {
                Some(last) if dues.len() == MAX_OCCURRENCES && rows.len() <= 2 * MAX_ROWS => after = last.at,
                Some(_) | None => break,
            }
        }
        if rows.len() > MAX_ROWS {
            sort(&mut rows);
            rows.truncate(MAX_ROWS);
            // Later rules need not be looked at beyond the last row that stays.
            until = rows.last().map_or(until, |row| row.due.at);
            cut = Some(until);
        }
    }
    sort(&mut rows);
    (rows, cut)
}

fn sort(rows: &mut [Ahead]) {
    rows.sort_by(|a, b| (a.due.at, &a.rule.id).cmp(&(b.due.at, &b.rule.id)));
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
    match account.why_none() {
        NoGrant::None => SkipReason::NoConsent,
        NoGrant::Refused => SkipReason::Refused,
    }
}

/// Which rules reach a recipient, each with the reason of his own why he would not get it.
fn reached(rules: &[Prepared], walked: &Walked) -> Vec<(usize, Option<SkipReason>)> {
    let profile = &walked.recipient.profile;
    let reach = |(n, prepared): (usize, &Prepared)| match prepared.selector.selects(&walked.openid, profile) {
        Verdict::No | Verdict::Undefined => None,
        Verdict::Yes if profile.muted => Some((n, Some(SkipReason::Muted))),
        Verdict::Yes => {
            let input = Input { openid: &walked.openid, profile, due: &prepared.due, appointment: None };
            Some((n, prepared.texts.render(&input).err()))
        }
    };
    rules.iter().enumerate().filter_map(reach).collect()
}
