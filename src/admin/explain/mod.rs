//! Why one person gets, or did not get, one reminder: the chain of causes in plain words.
//!
//! The future is foretold from the parts that `next` uses, the past is read off the books. Where the
//! books keep no record of a person, what is told is inferred from what is known now, and says so.
//! Nothing is changed, and nothing is decided here.

mod ahead;
mod outcome;
mod past;
mod person;
mod reminded;
pub(in crate::admin) mod repeated;
mod stopped;
pub(in crate::admin) mod telling;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::instant::{local, parse, utc};
use super::who::{self, Person, Reveal};
use crate::domain::config::{App, Config};
use crate::domain::id::RuleId;
use crate::domain::language::{Language, Said};
use crate::domain::recipient::Recipient;
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::flow::live::Live;
use crate::plan::words;

/// Whom and what is asked about.
pub(super) struct Question<'a> {
    /// The rule's id.
    pub(super) rule: &'a str,
    /// Openid, ref or mask.
    pub(super) who: &'a str,
    /// An instant: a past one asks for the last due time up to it, a coming one for the first from it on.
    pub(super) at: Option<&'a str>,
    /// Whether openids show.
    pub(super) reveal: Reveal,
    /// In which language it is told.
    pub(super) language: Language,
}

/// What is known of the case before anything is looked up about a due time.
struct Case {
    id: RuleId,
    /// The rule in force; `None` when it is disabled or gone.
    rule: Option<Arc<Rule>>,
    app: App,
    person: Person,
    recipient: Option<Recipient>,
    /// When the person was erased, as far as that is still known.
    erased_at: Option<DateTime<Utc>>,
    /// How the person shows, and can be named in commands.
    shown: String,
    now: DateTime<Utc>,
    live: Arc<Live>,
}

/// The answer for one due time.
struct Chain {
    due: Option<(DateTime<Utc>, Zone)>,
    outcome: &'static str,
    reason: Option<String>,
    /// One sentence: why it is so.
    why: Said,
    /// What to do about it; `None` when nothing needs to be done.
    cure: Option<Said>,
    certainty: Certainty,
    steps: Vec<Said>,
}

/// How well an outcome is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// The books say so, or it follows from them.
    Known,
    /// It is a forecast, or concluded from what is known now.
    Inferred,
}

#[derive(Serialize)]
struct Row<'a> {
    rule: &'a str,
    openid: &'a str,
    due_at: Option<String>,
    outcome: &'a str,
    reason: Option<&'a str>,
    steps: Vec<&'a str>,
    local: Option<String>,
    zone: Option<&'a str>,
    why: &'a str,
    cure: Option<&'a str>,
    certain: bool,
}

impl Desk {
    /// Answers one object for each due time that is meant: without an instant the next one, and then the last one.
    pub(super) async fn explain(&self, question: Question<'_>, lines: &Lines) -> Result<Exit, Failure> {
        let id = rule_id(question.rule)?;
        let at = match question.at {
            Some(text) => {
                Some(parse(text).map_err(|error| Failure::new(Exit::Usage, format!("--at: {error}")))?)
            }
            None => None,
        };
        let now = self.now();
        let live = self.live();
        let until = at.map_or(now, |at| at.min(now));
        let records = self.records(&id, until, crate::store::Occurrence::is_of_plan).await?;
        let rule = live.rules.rules.get(&id).cloned();
        if rule.is_none() && records.is_empty() && !live.rules.disabled.contains(&id) {
            return Err(unknown_rule(&id, &live));
        }
        let app = app_of(&live.config, rule.as_deref(), &records)?.clone();
        let person = self.person(&app, question.who).await?;
        let recipient = self.store().recipient(&app.appid, &person.openid)?;
        let shown = self.shown(question.reveal, Some(&person)).await?.openid(&person.openid);
        let erased_at = self.store().erased_at(&app.appid, &person.openid)?;
        let case = Case { id, rule, app, person, recipient, erased_at, shown, now, live };
        let records = self.records_of(&case, records, until).await?;
        let records = self.by_his_clock(&case, records, until).await?;
        let records = self.or_by_hand(&case, records, until).await?;
        let mut chains = Vec::new();
        match at {
            Some(at) if at > now => {
                // Due times are whole seconds: from `at` on is after the nanosecond before it.
                chains.push(self.ahead(&case, at - TimeDelta::nanoseconds(1)).await?);
            }
            Some(_) => {
                chains.push(self.past(&case, &records, until)?.unwrap_or_else(|| case.never(until)));
            }
            None => {
                // Before a daemon had the rule there was no last time.
                let real = |chain: &Chain| chain.reason.as_deref() != Some(outcome::NEVER_STARTED);
                let past = self.past(&case, &records, until)?.filter(real);
                let ahead = self.ahead(&case, now).await?;
                // A rule whose times are over is told by its last one.
                if ahead.due.is_some() || case.rule.is_none() || past.is_none() {
                    chains.push(ahead);
                }
                chains.extend(past);
            }
        }
        self.synced().await?;
        for chain in &chains {
            lines.row(&chain.row(&case, question.language)).await?;
        }
        Ok(Exit::Done)
    }
}

impl Case {
    /// The rule's id in the quotes that all texts use.
    fn name(&self) -> String {
        format!("`{}`", self.id)
    }

    /// When the rule is due, in words.
    fn schedule(&self, rule: &Rule) -> Said {
        let schedule = words::schedule(rule);
        Said::new(
            format!("Rule {} is due {schedule}.", self.name()),
            format!("规则 {} 的时间：{}。", self.name(), schedule.zh),
        )
    }

    /// The rule was not due at or before `until`.
    fn never(&self, until: DateTime<Utc>) -> Chain {
        let zone = self.rule.as_ref().map_or(self.live.config.zone, |rule| rule.zone);
        let at = telling::moment(until, zone);
        let why = Said::new(
            format!("Rule {} was not due at or before {at}.", self.name()),
            format!("在 {at} 及之前，规则 {} 没有到过时间。", self.name()),
        );
        let steps = self.rule.iter().map(|rule| self.schedule(rule)).chain([why.clone()]).collect();
        let cure = Said::new(
            "Ask about another time with --at, or leave --at out for the next one.",
            "用 --at 换一个时间，或者不写 --at 查看下一次。",
        );
        Chain {
            due: None,
            outcome: "not_due",
            reason: None,
            why,
            cure: Some(cure),
            certainty: Certainty::Known,
            steps,
        }
    }
}

impl Chain {
    fn row<'a>(&'a self, case: &'a Case, language: Language) -> Row<'a> {
        Row {
            rule: case.id.as_str(),
            openid: &case.shown,
            due_at: self.due.map(|(at, _)| utc(at)),
            outcome: self.outcome,
            reason: self.reason.as_deref(),
            steps: self.steps.iter().map(|step| step.to(language)).collect(),
            local: self.due.map(|(at, zone)| local(at, zone)),
            zone: self.due.map(|(_, zone)| zone.name()),
            why: self.why.to(language),
            cure: self.cure.as_ref().map(|cure| cure.to(language)),
            certain: self.certainty == Certainty::Known,
        }
    }
}

fn unknown_rule(id: &RuleId, live: &Live) -> Failure {
    let mut known: Vec<&str> = live.rules.rules.keys().map(RuleId::as_str).take(20).collect();
    if live.rules.rules.len() > known.len() {
        known.push("…");
    }
    Failure::data(format!(
        "rule `{id}` is in no schedule file and was never due; there are: {}",
        known.join(", ")
    ))
}

/// The app whose people a rule reaches: by the rule in force, else by its records.
fn app_of<'a>(config: &'a Config, rule: Option<&Rule>, records: &past::Records) -> Result<&'a App, Failure> {
    let by_rule = rule.and_then(|rule| config.apps.get(&rule.app));
    let by_record = || {
        let record = records.any()?;
        config.apps.values().find(|app| app.appid == record.app)
    };
    by_rule.or_else(by_record).map_or_else(|| who::app(config, None), Ok)
}
