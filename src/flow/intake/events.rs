//! Events of the platform into the books: refusals in the settings, receipts, accounts that were closed, punishments, and
//! acceptances where an app takes them from events.
//!
//! The platform sends an event up to three times, in any order, or not at all, so each is booked such that it may
//! come again: a refusal by its own time, a receipt by its message, an acceptance under an id made of the event, an erasure
//! unless there was one since. The platform's clock may be ahead of ours: nothing is booked as of tomorrow, where a refusal
//! would kill what is accepted today.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::Intake;
use super::popups::By;
use super::warning;
use crate::domain::config::{App, ConsentsFrom};
use crate::domain::consent::{Grant, Manner, Source, Status};
use crate::domain::id::{AppName, OpenId, ReportId};
use crate::domain::message::stand_in;
use crate::domain::template::{Template, TemplateKind};
use crate::flow::brake::NotPaused;
use crate::flow::live::Live;
use crate::store::{
    Additions, Answer, Arrival, Choice, Erased, Pending, Receipt, Refusal, Report, ReportOutcome, Unavailable,
};
use crate::wechat::push::{Answered, Event, Sent, What};

/// A warning of the platform, after which everything goes on.
const WARNING: &str = "1";

impl Intake {
    /// Books what the platform tells of an app; on return it is durable.
    ///
    /// What concerns templates that are not configured, or nobody, changes nothing. A refusal is kept of whoever it names.
    ///
    /// # Errors
    /// [`Unavailable`]: the platform has to send it again.
    pub async fn event(&self, app: &AppName, event: Event) -> Result<(), Unavailable> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let pieces = event.in_pieces();
        if pieces.len() > 1 {
            let n = pieces.len();
            warn!(app = %app.name, "An event of app {} has more items than any that is known; it is booked in {n} pieces", app.name);
        }
        for piece in pieces {
            self.piece(&live, app, piece).await?;
        }
        Ok(())
    }

    async fn piece(&self, live: &Live, app: &App, event: Event) -> Result<(), Unavailable> {
        let at = whole_seconds(event.created_at.min(self.clock.reckoned()));
        self.hold_against_reports(app, &event, at).await?;
        let Event { created_at, what } = event;
        match what {
            What::Asked { openid, answers } => {
                let since = live.sources.get(&app.appid).copied();
                let id = id(&openid, &answers, created_at);
                self.asked((app, since), &openid, &answers, (id, at)).await
            }
            What::Changed { openid, answers } => self.changed(app, &openid, &answers, at).await,
            What::Sent { openid, messages } => self.told(app, &openid, &messages, (created_at, at)).await,
            What::Left { openid } => self.left(app, &openid, at).await,
            What::Punished { kind, detail } => self.punished(app, &kind, &detail, created_at).await,
            What::Other { name } if name.is_empty() => {
                // Once is enough: what it says is not for a log, and that there is one somebody should look at.
                if self.memory.is_first_unnamed() {
                    warn!(app = %app.name, "An event of app {} says not what it is; such ones are answered and change nothing", app.name);
                }
                Ok(())
            }
            What::Other { name } => {
                tracing::debug!(app = %app.name, "An event {name} of app {} concerns no consent", app.name);
                Ok(())
            }
        }
    }

    /// Where reports are the source an acceptance on the panel grants nothing, and is held against them. By the platform's own
    /// time, also where its clock is ahead: the same event has to have the same. One of somebody erased since is not heard.
    async fn hold_against_reports(
        &self,
        app: &App,
        event: &Event,
        at: DateTime<Utc>,
    ) -> Result<(), Unavailable> {
        if let (What::Asked { openid, answers }, ConsentsFrom::Reports) = (&event.what, app.consents_from) {
            let accepted = answers.iter().filter(|answered| match Status::parse(&answered.status) {
                Some(Status::Accept(_)) => true,
                Some(Status::Reject | Status::Ban | Status::Filter) | None => false,
            });
            let accepted = accepted.filter_map(|answered| Some(template(app, answered)?.id.clone()));
            if !self.is_erased_since(&app.name, openid, at).await? {
                self.compare(By::Popup, (app, openid), accepted, event.created_at).await?;
            }
        }
        Ok(())
    }

    /// An acceptance on the panel grants only where events are the source. A refusal there is none in the settings: it ends a
    /// long-term acceptance, whoever tells of it first, and of a one-time template it is only noted, by the source.
    async fn asked(
        &self,
        (app, since): (&App, Option<DateTime<Utc>>),
        openid: &OpenId,
        answers: &[Answered],
        (id, at): (ReportId, DateTime<Utc>),
    ) -> Result<(), Unavailable> {
        let grants = match app.consents_from {
            ConsentsFrom::Reports => false,
            ConsentsFrom::Events => true,
        };
        let grant = Grant { accepted_at: at, source: Source::Event, bound: None };
        let booked = answers.iter().filter_map(|answered| {
            let template = template(app, answered)?;
            let (choice, manner) = match Status::parse(&answered.status)? {
                Status::Accept(manner) if grants && since.is_none_or(|since| at >= since) => {
                    (Choice::Accept(grant), manner)
                }
                // Within its second nobody knows what came first: rather ask once more than send to who refused.
                Status::Reject if template.kind == TemplateKind::LongTerm => {
                    (Choice::Reject(at + TimeDelta::milliseconds(999)), Manner::Plain)
                }
                Status::Reject if grants => (Choice::Reject(at), Manner::Plain),
                Status::Accept(_) | Status::Reject | Status::Ban | Status::Filter => return None,
            };
            Some(Answer { template: template.id.clone(), kind: template.kind, choice, manner })
        });
        let booked: Vec<Answer> = booked.collect();
        if booked.is_empty() {
            // Else it would make a recipient of somebody who said nothing that counts.
            return Ok(());
        }
        let of = (app.appid.clone(), openid.clone());
        let report = Report {
            app: app.appid.clone(),
            openid: openid.clone(),
            id,
            content: [0; 32],
            now: self.clock.reckoned(),
            tapped_at: at,
            adds: Additions { unionid: self.memory.heard.of(&of), ..Additions::default() },
            answers: booked,
        };
        let decided = self.store.report(report).await?;
        self.store.wait(decided.number).await?;
        match decided.value {
            ReportOutcome::Booked(_) => self.memory.heard.forget(&of),
            ReportOutcome::Duplicate | ReportOutcome::Conflict | ReportOutcome::Erased => {}
            // A unionid is added at most, so only somebody new could be too large, and he is not.
            ReportOutcome::TooLarge => {
                warn!(app = %app.name, "An acceptance could not be booked: its record is full");
            }
        }
        Ok(())
    }

    async fn changed(
        &self,
        app: &App,
        openid: &OpenId,
        answers: &[Answered],
        created_at: DateTime<Utc>,
    ) -> Result<(), Unavailable> {
        let mut given = Vec::new();
        // Today the platform pushes refusals alone.
        for answered in answers.iter().filter(|answered| answered.status == "reject") {
            let Some(template) = template(app, answered) else { continue };
            let refusal = Refusal {
                app: app.appid.clone(),
                openid: openid.clone(),
                template: template.id.clone(),
                kind: template.kind,
                created_at,
            };
            given.push(self.store.refuse(refusal));
        }
        self.all_durable(given).await
    }

    /// Waits for what was given to the store: once for all of it, not for a sync each.
    async fn all_durable<T>(&self, given: Vec<Pending<T>>) -> Result<(), Unavailable> {
        let mut numbers = Vec::with_capacity(given.len());
        for pending in given {
            numbers.push(pending.await?.number);
        }
        // Each: of two numbers with a failure between them the larger says nothing of the smaller.
        for number in numbers {
            self.store.wait(number).await?;
        }
        Ok(())
    }

    async fn told(
        &self,
        app: &App,
        openid: &OpenId,
        messages: &[Sent],
        (created_at, at): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), Unavailable> {
        let mut given = Vec::new();
        for (n, message) in messages.iter().enumerate() {
            if message.errcode != 0 {
                let errcode = message.errcode;
                let which = message.msgid.map_or("without msgid".to_owned(), |msgid| msgid.to_string());
                info!(app = %app.name, wechat.msgid = message.msgid, wechat.errcode = errcode,
                    "WeChat could not deliver message {which} of app {}: {errcode}", app.name);
            }
            let nth = messages.iter().take(n).filter(|earlier| *earlier == message).count();
            let nameless = || nameless((app, openid), (message, nth), created_at);
            let receipt = Receipt {
                app: app.appid.clone(),
                openid: openid.clone(),
                template: message.template.clone(),
                msgid: message.msgid.unwrap_or_else(nameless),
                created_at: at,
                arrival: if message.errcode == 0 { Arrival::Arrived } else { Arrival::NotArrived },
                now: self.clock.reckoned(),
            };
            given.push(self.store.receipt(receipt));
        }
        self.all_durable(given).await
    }

    /// A closed account is erased, unless it was since then: the same event again must not take who came back.
    async fn left(&self, app: &App, openid: &OpenId, created_at: DateTime<Utc>) -> Result<(), Unavailable> {
        if self.is_erased_since(&app.name, openid, created_at).await? {
            return Ok(());
        }
        let of = (app.appid.clone(), openid.clone());
        match self.memory.erase(&*self.store, of, self.clock.reckoned().into()).await? {
            Erased::Booked(_) | Erased::Replayed => {
                info!(app = %app.name, "Somebody closed his account with app {} and was erased", app.name);
                Ok(())
            }
            Erased::Busy => Err(Unavailable),
        }
    }

    async fn punished(
        &self,
        app: &App,
        kind: &str,
        detail: &str,
        created_at: DateTime<Utc>,
    ) -> Result<(), Unavailable> {
        let what = match kind {
            WARNING => "a warning",
            "2" => "functions are banned",
            "3" => "the mini program was taken down",
            "4" => "the account is banned",
            // One page of the platform's says 5, another 10.
            "5" | "10" => "pages are banned",
            _ => "a punishment of a kind that tixing does not know",
        };
        let reason = format!("wxa_punish_event {kind}: {what} {detail}");
        warn!(app = %app.name, "WeChat punishes app {}: {what} {detail}", app.name);
        if kind == WARNING {
            return warning::keep(&*self.store, &app.appid, reason.trim(), created_at).await;
        }
        match self.brake.punish(&app.appid, reason.trim(), created_at, self.clock.reckoned()).await {
            Ok(()) => Ok(()),
            Err(NotPaused::Store(unavailable)) => Err(unavailable),
            Err(NotPaused::TooMany) => Err(Unavailable),
        }
    }
}

fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}

fn template<'a>(app: &'a App, answered: &Answered) -> Option<&'a Template> {
    app.templates.values().find(|template| template.id == answered.template)
}

/// What stands in place of the msgid of a message that WeChat tells of without one: the same when it tells that again, and
/// another for the `nth` such message of one event. By its own time, also where its clock is ahead of ours.
fn nameless(
    (app, openid): (&App, &OpenId),
    (message, nth): (&Sent, usize),
    created_at: DateTime<Utc>,
) -> u64 {
    let mut hash = Sha256::new();
    for text in [app.appid.as_str(), openid.as_str(), message.template.as_str()] {
        hash.update(text);
        hash.update([0]);
    }
    for number in [created_at.timestamp(), message.errcode, i64::try_from(nth).unwrap_or(i64::MAX)] {
        hash.update(number.to_be_bytes());
    }
    let hash = hash.finalize();
    let (first, _rest) = hash.split_first_chunk().expect("a hash of 32 bytes");
    stand_in(u64::from_be_bytes(*first))
}

/// One second can hold two events of one person; the same event again has the same id, so it is made of what the platform
/// says alone.
fn id(openid: &OpenId, answers: &[Answered], created_at: DateTime<Utc>) -> ReportId {
    let mut hash = Sha256::new();
    hash.update(openid.as_str());
    hash.update(created_at.timestamp().to_be_bytes());
    for answered in answers {
        hash.update(answered.template.as_str());
        hash.update([0]);
        hash.update(&answered.status);
        hash.update([0]);
    }
    let text = URL_SAFE_NO_PAD.encode(hash.finalize());
    ReportId::parse(&format!("event-{text}")).expect("49 characters of a–z, A–Z, 0–9, _ and -")
}
