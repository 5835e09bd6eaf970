//! Lists of consents, occurrences and deliveries, in the shapes that other programs rely on.
//!
//! Each is read page by page; a list under a running daemon is a walk over books that change, so a row
//! is true for its moment, not the list for one instant.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::instant::{local, utc};
use super::who::{self, Person, Reveal, Shown, app_name};
use crate::domain::config::{App, Config};
use crate::domain::consent::{MAX_HELD, NotGranted, Source};
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::{AppId, OpenId, TemplateId};
use crate::store::{AccountKey, AccountView, Delivery, Occurrence, OperatorGrant};

/// Accounts or occurrences read at once.
const PAGE: usize = 256;
/// Chunks of deliveries read at once; each holds up to 64 of them.
const PAGE_CHUNKS: usize = 8;
/// Chunks of deliveries in doubt that one list reads.
const MAX_DOUBT_CHUNKS: usize = 1024;

#[derive(Serialize)]
struct ConsentRow<'a> {
    app: &'a str,
    openid: String,
    template: &'a str,
    kind: &'static str,
    granted: u64,
    available: u64,
    reserved: u64,
    in_doubt: u64,
    consumed: u64,
    voided: u64,
    suspect: bool,
    /// How the person accepted, where that is not plainly.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_with: Option<&'static str>,
}

impl<'a> ConsentRow<'a> {
    fn of(app: &'a str, key: &'a AccountKey, view: &AccountView, shown: &Shown) -> Self {
        Self {
            app,
            openid: shown.openid(&key.openid),
            template: key.template.as_str(),
            kind: view.kind.as_str(),
            granted: view.account.granted,
            available: view.account.available(),
            reserved: view.reserved,
            in_doubt: view.in_doubt,
            consumed: view.consumed,
            voided: view.account.voided,
            suspect: view.account.suspect,
            accepted_with: view.account.manner.beyond_plain(),
        }
    }
}

#[derive(Serialize)]
struct GrantRow<'a> {
    #[serde(flatten)]
    account: ConsentRow<'a>,
    n: u32,
    why: Option<&'static str>,
}

#[derive(Serialize)]
struct OccurrenceRow<'a> {
    rule: &'a str,
    due_at: String,
    local: String,
    zone: &'static str,
    state: &'static str,
    reason: Option<&'a str>,
    n: u64,
    /// Sent by `tixing send`, and not at a due time of the rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_hand: bool,
    /// The delivery in doubt that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<String>,
    audience: u64,
    sent: u64,
    undelivered: u64,
    presumed_sent: u64,
    refused: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    in_doubt: u64,
    open: u64,
    skipped: BTreeMap<&'static str, u64>,
}

impl<'a> OccurrenceRow<'a> {
    fn of(occurrence: &'a Occurrence) -> Self {
        let counts = &occurrence.counts;
        Self {
            rule: occurrence.rule.as_str(),
            due_at: utc(occurrence.due_at),
            local: local(occurrence.due_at, occurrence.zone),
            zone: occurrence.zone.name(),
            state: occurrence.state.as_str(),
            reason: occurrence.reason.as_deref(),
            n: occurrence.n,
            by_hand: occurrence.is_by_hand(),
            repeats: occurrence.repeats.map(|repeats| repeats.of.to_string()),
            audience: counts.audience,
            sent: counts.in_state(State::Sent),
            undelivered: counts.in_state(State::Undelivered),
            presumed_sent: counts.in_state(State::PresumedSent),
            refused: counts.in_state(State::Refused),
            failed: counts.in_state(State::Failed),
            expired: counts.in_state(State::Expired),
            cancelled: counts.in_state(State::Cancelled),
            in_doubt: counts.in_state(State::InDoubt),
            open: counts.open(),
            skipped: counts.skipped.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
        }
    }
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    id: String,
    rule: Option<&'a str>,
    due_at: Option<String>,
    openid: String,
    template: Option<&'a str>,
    state: &'static str,
    reason: Option<String>,
    /// Until when a held one is held, or a waiting one waits; when one in doubt is sent again.
    next_at: Option<String>,
    /// The delivery in doubt that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<String>,
    attempts: u32,
    msgid: Option<String>,
    settled_at: Option<String>,
}

impl<'a> DeliveryRow<'a> {
    /// `of` is its occurrence; `None` when that has been retired in the middle of the list.
    fn of(delivery: &Delivery, of: Option<&'a Occurrence>, shown: &Shown) -> Self {
        let reason = match delivery.state {
            State::Refused | State::Failed => delivery.errcode.map(|code| code.to_string()),
            State::Skipped => delivery.skipped.map(|reason| reason.as_str().to_owned()),
            State::Held
            | State::Reserved
            | State::Attempting
            | State::Waiting
            | State::Sent
            | State::Undelivered
            | State::PresumedSent
            | State::Expired
            | State::Cancelled
            | State::InDoubt => None,
        };
        Self {
            id: delivery.id.to_string(),
            rule: of.map(|occurrence| occurrence.rule.as_str()),
            due_at: of.map(|occurrence| utc(occurrence.due_at)),
            openid: shown.openid(&delivery.openid),
            template: of.map(|occurrence| occurrence.template.as_str()),
            state: delivery.state.as_str(),
            reason,
            next_at: delivery.next_at.map(utc),
            repeats: of.and_then(|of| of.repeats).map(|repeats| repeats.of.to_string()),
            attempts: delivery.attempts,
            msgid: delivery.msgid().map(|msgid| msgid.to_string()),
            settled_at: delivery.settled_at.map(utc),
        }
    }
}

impl Desk {
    pub(super) async fn consents_show(
        &self,
        app: Option<&str>,
        who: Option<&str>,
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let chosen = app.map(|name| who::app(&live.config, Some(name))).transpose()?;
        let Some(text) = who else {
            let shown = self.shown(reveal, None).await?;
            return self.all_consents(&live.config, chosen, &shown, lines).await;
        };
        // A ref or a mask may mean somebody in any of the apps; nobody in all of them is an error.
        let apps: Vec<&App> = chosen.map_or_else(|| live.config.apps.values().collect(), |app| vec![app]);
        let mut failure = None;
        let mut any = false;
        for app in apps {
            match self.person(app, text).await {
                Ok(person) => {
                    any = true;
                    self.consents_of(&live.config, app, &person, reveal, lines).await?;
                }
                Err(other) => failure = Some(other),
            }
        }
        match failure {
            Some(failure) if !any => Err(failure),
            Some(_) | None => Ok(Exit::Done),
        }
    }

    async fn consents_of(
        &self,
        config: &Config,
        app: &App,
        person: &Person,
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<(), Failure> {
        let shown = self.shown(reveal, Some(person)).await?;
        for template in self.booked_templates(app)? {
            let Some(view) = self.store().account(&app.appid, &template, &person.openid)? else { continue };
            self.synced().await?;
            let key = AccountKey { app: app.appid.clone(), template, openid: person.openid.clone() };
            lines.row(&ConsentRow::of(&app_name(config, &key.app), &key, &view, &shown)).await?;
        }
        Ok(())
    }

    /// Templates that the books know in `app`, also those no longer in `tixing.yaml`.
    ///
    /// Jumps from one template to the next: accounts are ordered by app, template, openid, and no
    /// openid comes after that of the erased.
    pub(super) fn booked_templates(&self, app: &App) -> Result<Vec<TemplateId>, Failure> {
        let last_openid = OpenId::erased();
        let first_template = TemplateId::parse("-").expect("it is a template id");
        let mut templates: Vec<TemplateId> =
            app.templates.values().map(|template| template.id.clone()).collect();
        let mut after = AccountKey {
            app: app.appid.clone(),
            template: first_template,
            openid: OpenId::parse(&"-".repeat(10)).expect("10 dashes are an openid"),
        };
        while let Some((key, _)) = self.store().accounts(Some(&after), 1)?.into_iter().next() {
            if key.app != app.appid || key <= after && templates.contains(&key.template) {
                break;
            }
            if !templates.contains(&key.template) {
                templates.push(key.template.clone());
            }
            after = AccountKey { openid: last_openid.clone(), ..key };
        }
        Ok(templates)
    }

    async fn all_consents(
        &self,
        config: &Config,
        chosen: Option<&App>,
        shown: &Shown,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let mut after: Option<AccountKey> = None;
        loop {
            let page = self.store().accounts(after.as_ref(), PAGE)?;
            self.synced().await?;
            let Some((last, _)) = page.last() else { return Ok(Exit::Done) };
            after = Some(last.clone());
            for (key, view) in &page {
                if chosen.is_none_or(|app| app.appid == key.app) {
                    lines.row(&ConsentRow::of(&app_name(config, &key.app), key, view, shown)).await?;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn consents_grant(
        &self,
        app: Option<&str>,
        who: &str,
        template: &str,
        n: u32,
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let app = who::app(&live.config, app)?;
        let template = who::template(app, template)?;
        if n == 0 || u64::from(n) > MAX_HELD {
            return Err(Failure::new(Exit::Usage, format!("--n {n}: one account holds 1–{MAX_HELD}")));
        }
        let person = self.person(app, who).await?;
        let grant = OperatorGrant {
            app: app.appid.clone(),
            openid: person.openid.clone(),
            template: template.id.clone(),
            kind: template.kind,
            n,
            source: Source::Operator,
            now: self.now(),
        };
        let granted = self.store().grant(grant).await?;
        self.store().wait(granted.number).await?;
        let shown = self.shown(reveal, Some(&person)).await?;
        tracing::info!(
            app = %app.name,
            "{} granted by an operator in app {} for template {}: {n}",
            granted.value.n, app.name, template.id
        );
        let key = AccountKey {
            app: app.appid.clone(),
            template: template.id.clone(),
            openid: person.openid.clone(),
        };
        let why = granted.value.rest.map(not_granted);
        if let Some(view) = self.store().account(&key.app, &key.template, &key.openid)? {
            let account = ConsentRow::of(app.name.as_str(), &key, &view, &shown);
            lines.row(&GrantRow { account, n: granted.value.n, why }).await?;
        }
        match why {
            None => Ok(Exit::Done),
            Some(why) => Err(Failure::new(
                Exit::NotInOrder,
                format!("{} of {n} granted; the rest was not: {why}", granted.value.n),
            )),
        }
    }

    pub(super) async fn occurrences_list(&self, rule: Option<&str>, lines: &Lines) -> Result<Exit, Failure> {
        let rule = rule.map(rule_id).transpose()?;
        if let Some(rule) = &rule {
            self.heard_of(rule)?;
        }
        let mut after = None;
        loop {
            let page = self.store().occurrences(rule.as_ref(), after, PAGE)?;
            self.synced().await?;
            let Some(last) = page.last() else { return Ok(Exit::Done) };
            after = Some(last.number);
            for occurrence in &page {
                lines.row(&OccurrenceRow::of(occurrence)).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn deliveries_list(
        &self,
        rule: Option<&str>,
        reveal: Reveal,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let rule = rule.map(rule_id).transpose()?;
        if let Some(rule) = &rule {
            self.heard_of(rule)?;
        }
        let shown = self.shown(reveal, None).await?;
        let mut after = None;
        loop {
            let page = self.store().occurrences(rule.as_ref(), after, PAGE)?;
            let Some(last) = page.last() else { return Ok(Exit::Done) };
            after = Some(last.number);
            for occurrence in &page {
                self.deliveries_of(occurrence, &shown, lines).await?;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn deliveries_of(&self, of: &Occurrence, shown: &Shown, lines: &Lines) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.store().deliveries(Some(of.number), after, PAGE_CHUNKS)?;
            self.synced().await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for delivery in &page {
                lines.row(&DeliveryRow::of(delivery, Some(of), shown)).await?;
            }
        }
    }

    pub(super) async fn doubt_list(&self, reveal: Reveal, lines: &Lines) -> Result<Exit, Failure> {
        let shown = self.shown(reveal, None).await?;
        let doubts = self.store().doubts(MAX_DOUBT_CHUNKS)?;
        self.synced().await?;
        let mut of: Option<Occurrence> = None;
        for delivery in &doubts {
            if of.as_ref().is_none_or(|of| of.number != delivery.id.occurrence) {
                of = self.store().occurrence(delivery.id.occurrence)?;
            }
            lines.row(&DeliveryRow::of(delivery, of.as_ref(), &shown)).await?;
        }
        let in_doubt = self.store().figures()?.open.get(&State::InDoubt).copied().unwrap_or(0);
        if in_doubt > n_of(doubts.len()) {
            lines.note(format!("{in_doubt} are in doubt; these are the {} longest", doubts.len())).await?;
        }
        Ok(Exit::Done)
    }

    /// Acceptances ever booked in one account; 0 when there is none.
    pub(super) fn booked(&self, app: &AppId, template: &TemplateId, openid: &OpenId) -> Result<u64, Failure> {
        Ok(self.store().bare_account(app, template, openid)?.map_or(0, |account| account.granted))
    }
}

/// Why an acceptance granted nothing, in the word that reports use too.
fn not_granted(why: NotGranted) -> &'static str {
    match why {
        NotGranted::Full => "full",
        NotGranted::RefusedSince => "refused_since",
    }
}
