//! Pausing and resuming: everything, one app, or one rule; and releasing what was held.
//!
//! A word that is given twice is no mistake: what is asked for is so, and the answer says since when.

use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::instant::{self, utc};
use super::who::{self, app_name};
use crate::domain::config::Basis;
use crate::domain::hold::WAY_OUT;
use crate::domain::id::RuleId;
use crate::domain::occurrence::OccurrenceState;
use crate::domain::pause::{MAX_REASON, Pause, Scope};
use crate::flow::brake::{Brake, NotPaused};
use crate::flow::housekeeping::clock_trouble;
use crate::flow::lost::{self, Lost};

/// What an operator names; neither is everything.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) rule: Option<&'a str>,
}

#[derive(Serialize)]
struct Row {
    scope: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    paused: bool,
    since: Option<String>,
    reason: Option<String>,
}

impl Desk {
    pub(super) async fn pause(
        &self,
        named: Named<'_>,
        reason: Option<String>,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let scope = self.scope(named)?;
        if let Scope::Rule(rule) = &scope
            && !self.is_known(rule)?
        {
            let why = match self.control() {
                Some(_) => format!("no rule `{rule}` is loaded; `tixing next` lists them"),
                None => format!(
                    "no rule `{rule}` is in the schedule files or in the books; `tixing next` lists them"
                ),
            };
            return Err(Failure::data(why));
        }
        let reason = reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if let Some(text) = &reason
            && (text.chars().count() > MAX_REASON || text.chars().any(char::is_control))
        {
            return Err(Failure::data(format!("--reason: at most {MAX_REASON} characters in one line")));
        }
        let paused = self.brake()?.pause(scope, reason, self.now()).await.map_err(|not| match not {
            NotPaused::Store(unavailable) => Failure::from(unavailable),
            NotPaused::TooMany => Failure::data(not.to_string()),
        })?;
        tracing::warn!("{} {paused}", self.what(&paused.scope));
        lines.row(&self.row(&paused.scope, Some(&paused))).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn resume(&self, named: Named<'_>, lines: &Lines) -> Result<Exit, Failure> {
        let scope = self.scope(named)?;
        if let Scope::Rule(rule) = &scope {
            self.heard_of(rule)?;
        }
        let brake = self.brake()?;
        if let Some(ended) = brake.resume(&scope).await? {
            tracing::info!("{} goes on, it was {ended}", self.what(&scope));
        }
        if let Some(control) = self.control() {
            match &scope {
                Scope::Everything => control.try_again(None),
                Scope::App(app) => {
                    let live = self.live();
                    for app in live.config.apps.values().filter(|known| known.appid == *app) {
                        control.try_again(Some(&app.name));
                    }
                }
                Scope::Rule(_) => {}
            }
        }
        lines.row(&self.row(&scope, None)).await?;
        for pause in brake.pauses() {
            // What still does not send.
            lines.row(&self.row(&pause.scope, Some(&pause))).await?;
        }
        Ok(Exit::Done)
    }

    pub(super) async fn release(&self, rule: Option<&str>, lines: &Lines) -> Result<Exit, Failure> {
        let rule = rule.map(rule_id).transpose()?;
        if let Some(rule) = &rule {
            self.heard_of(rule)?;
        }
        if let Some(hold) = self.store().hold()? {
            return Err(Failure::new(Exit::Usage, format!("everything is on hold: {hold}; {WAY_OUT}")));
        }
        let refused = self.brake()?.release(rule.as_ref()).await?;
        for rejection in refused.iter().filter(|rejection| !rejection.passed) {
            let rule = &rejection.rule;
            tracing::info!(rule.id = %rule, "Rule {rule} was released by an operator, it was {rejection}");
            let row = serde_json::json!({ "rule": rule.as_str(), "state": "open", "reason": rejection.to_string() });
            lines.row(&row).await?;
        }
        let held: Vec<_> = self.store().unfinished()?;
        let held = held.into_iter().filter(|o| o.state == OccurrenceState::Held);
        let held: Vec<_> = held.filter(|o| rule.as_ref().is_none_or(|rule| o.rule == *rule)).collect();
        for occurrence in &held {
            let released =
                self.store().stop_occurrence(occurrence.number, OccurrenceState::Open, None).await?;
            self.store().wait(released.number).await?;
            let (rule, due_at) = (&occurrence.rule, utc(occurrence.due_at));
            tracing::info!(rule.id = %rule, "Occurrence {} of rule {rule} was released by an operator", occurrence.number);
            lines
                .row(&serde_json::json!({ "rule": rule.as_str(), "due_at": due_at, "state": "open" }))
                .await?;
        }
        if let Some(control) = self.control() {
            control.look();
        }
        if held.is_empty() && refused.is_empty() {
            lines.note("nothing is held; what is paused goes on with `tixing resume`").await?;
        }
        Ok(Exit::Done)
    }

    /// Ends the hold on everything; `since` tells people what may have happened twice.
    pub(super) async fn release_all(
        &self,
        rule: Option<&str>,
        since: &str,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        if rule.is_some() {
            return Err(Failure::new(Exit::Usage, "--lost-since is about everything; leave --rule out"));
        }
        let since =
            instant::parse(since).map_err(|why| Failure::new(Exit::Usage, format!("--lost-since: {why}")))?;
        let trouble = clock_trouble(self.clock().trust().borrow().standing);
        let Some(now) = self.clock().believed() else {
            return Err(Failure::new(Exit::NotInOrder, trouble.unwrap_or_default()));
        };
        if since > now {
            return Err(Failure::data(format!("--lost-since: {} has not been yet", utc(since))));
        }
        if self.live().rules.basis == Basis::Nothing {
            let why = "no rules can be read, and what came due since cannot be told; see `tixing check`, then reload";
            return Err(Failure::new(Exit::NotInOrder, why));
        }
        let _one = self.releasing().await;
        let Some(lost) = lost::release(&self.shared_store(), &self.live(), self.clock(), now).await? else {
            return Err(Failure::data("nothing is on hold"));
        };
        tracing::warn!(
            "Everything was released by an operator, who says that what was done since {since} is lost"
        );
        for Lost { rule, due_at, n } in &lost {
            let due_at = utc(*due_at);
            let row =
                serde_json::json!({ "rule": rule.as_str(), "due_at": due_at, "state": "in_doubt", "n": n });
            lines.row(&row).await?;
        }
        if let Some(control) = self.control() {
            control.look();
        }
        let n: u64 = lost.iter().map(|lost| lost.n).sum();
        let late: u64 = lost.iter().filter(|lost| lost.due_at >= since).map(|lost| lost.n).sum();
        lines
            .note(&format!(
                "{n} deliveries are in doubt, {late} of them due since {}: they may have been sent, and are not sent again; `tixing doubt list` shows them",
                utc(since)
            ))
            .await?;
        lines
            .note(&format!(
                "consents, appointments and erasures since {} that the backend has not sent again are not in these books; a reminder that was due by now of an appointment put from here on is not sent, since it may have been",
                utc(since)
            ))
            .await?;
        Ok(Exit::Done)
    }

    /// Refuses a rule that nobody has heard of, which else had nothing to do and was fine: it is in no file, and neither the
    /// books nor what is paused know it.
    pub(super) fn heard_of(&self, rule: &RuleId) -> Result<(), Failure> {
        let live = self.live();
        let loaded = live.rules.rules.contains_key(rule) || live.rules.disabled.contains(rule);
        // Where no rules can be read, nobody knows which there are.
        if loaded || live.rules.basis == Basis::Nothing || self.is_in_the_books(rule)? {
            return Ok(());
        }
        let brake = self.brake()?;
        let paused = brake.pauses().into_iter().any(|pause| pause.scope == Scope::Rule(rule.clone()));
        if paused || brake.rejections().iter().any(|rejection| rejection.rule == *rule) {
            return Ok(());
        }
        Err(Failure::data(format!("there is no rule `{rule}`; `tixing next` lists them")))
    }

    fn is_in_the_books(&self, rule: &RuleId) -> Result<bool, Failure> {
        for app in self.live().config.apps.values() {
            if self.store().cursor(&app.appid, rule)?.is_some() {
                return Ok(true);
            }
        }
        Ok(!self.store().occurrences(Some(rule), None, 1)?.is_empty())
    }

    /// Whether there is such a rule: a loaded one where a daemon runs, else one of the files or of the books.
    fn is_known(&self, rule: &RuleId) -> Result<bool, Failure> {
        let live = self.live();
        if live.rules.rules.contains_key(rule) || self.control().is_some() {
            return Ok(live.rules.rules.contains_key(rule));
        }
        Ok(live.rules.disabled.contains(rule) || self.is_in_the_books(rule)?)
    }

    /// The daemon's brake, or the one of the store that this command opened.
    pub(super) fn brake(&self) -> Result<Brake, Failure> {
        match self.control() {
            Some(control) => Ok(control.brake().clone()),
            None => Ok(Brake::of_store(self.shared_store(), self.now())?),
        }
    }

    fn scope(&self, named: Named<'_>) -> Result<Scope, Failure> {
        match named {
            Named { app: None, rule: None } => Ok(Scope::Everything),
            Named { app: Some(app), rule: None } => {
                Ok(Scope::App(who::app(&self.live().config, Some(app))?.appid.clone()))
            }
            Named { app: None, rule: Some(rule) } => Ok(Scope::Rule(rule_id(rule)?)),
            Named { app: Some(_), rule: Some(_) } => Err(Failure::new(
                Exit::Usage,
                "name an app or a rule; the id of a rule is its own in all apps",
            )),
        }
    }

    fn what(&self, scope: &Scope) -> String {
        match scope {
            Scope::Everything => "Sending".to_owned(),
            Scope::App(app) => format!("App {}", app_name(&self.live().config, app)),
            Scope::Rule(rule) => format!("Rule {rule}"),
        }
    }

    fn row(&self, scope: &Scope, pause: Option<&Pause>) -> Row {
        let (word, app, rule) = match scope {
            Scope::Everything => ("everything", None, None),
            Scope::App(app) => ("app", Some(app_name(&self.live().config, app)), None),
            Scope::Rule(rule) => ("rule", None, Some(rule.to_string())),
        };
        Row {
            scope: word,
            app,
            rule,
            paused: pause.is_some(),
            since: pause.map(|pause| utc(pause.since)),
            reason: pause.and_then(|pause| pause.reason.clone()),
        }
    }
}
