//! The phone of the demo: what a person does in the mini program, and what he sees.
//!
//! A tap asks the sandbox as WeChat's consent panel would, and then reports to the daemon's hook over
//! HTTP, as the mini program does; a booked visit is put there by a signed request, as the mini program's backend does. What is
//! done in WeChat itself, turning reminders off and closing the account, is told to the sandbox alone: the daemon hears of it by
//! the events that the sandbox pushes. The picture of both is one document.

use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use chrono::TimeDelta;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;

use super::lasts::Lasts;
use super::{APP, APPID, TEMPLATE};
use crate::clock::Clock;
use crate::daemon::Shared;
use crate::domain::count::n_of;
use crate::domain::id::{AppId, OpenId, RuleId};
use crate::domain::language::Said;
use crate::hook::{Secret, signature};
use crate::plan::recurrence;
use crate::plan::words;
use crate::sandbox::{Answer, Keep, Platform};
use crate::store::{Occurrence, Unavailable};

/// Largest answer of the hook that is read.
const MAX_ANSWER_BYTES: usize = 65_536;
/// From booking a visit to it: the sample rule reminds 20 s before it.
const VISIT_AHEAD: TimeDelta = TimeDelta::seconds(30);
/// Occurrences in the picture, the newest.
const RECENT: usize = 8;
/// Occurrences read at a time.
const PAGE: usize = 500;

/// The demo's phone and what is needed to draw it.
#[derive(Clone, Debug)]
pub(super) struct Phone {
    pub(super) platform: Platform,
    pub(super) daemon: Arc<Shared>,
    pub(super) appid: AppId,
    pub(super) person: OpenId,
    pub(super) backend: Secret,
    pub(super) clock: Clock,
    pub(super) lasts: Arc<Mutex<Lasts>>,
}

/// Phone and daemon as one document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Picture {
    /// Whether the daemon knows the person; not after the account was closed.
    known: bool,
    cards: Vec<Card>,
    balances: BTreeMap<String, u64>,
    skipped: Vec<Skipped>,
    next: Vec<Next>,
    occurrences: Vec<Recent>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Card {
    title: String,
    fields: BTreeMap<String, String>,
    at: String,
    /// What the daemon was told of its end: `delivered`, `failed`, or nothing yet.
    receipt: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Skipped {
    rule: String,
    reason: &'static str,
    n: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Next {
    rule: String,
    due_at: String,
    words: Words,
}

/// When a rule is due, in both languages; the page chooses.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Words {
    en: String,
    zh: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Recent {
    rule: String,
    due_at: String,
    state: &'static str,
    sent: u64,
    in_doubt: u64,
    skipped: BTreeMap<&'static str, u64>,
    n: u64,
}

impl Phone {
    /// The person answers the consent panel; the mini program reports it. On return it is in the books.
    pub(super) async fn tap(&self, answer: Answer, keep: Keep) -> anyhow::Result<()> {
        let person = self.person.as_str();
        let status =
            self.platform.tap(APPID, person, TEMPLATE, answer, keep).context("the sandbox keeps no books")?;
        let code = self.platform.login_code(APPID, person);
        let login = self.call(Method::POST, "/v1/login", &[], &json!({ "code": code })).await?;
        let session = login.get("session").and_then(|s| s.as_str()).context("the login gave no session")?;
        let report = json!({
            "report": format!("demo-{}", super::random_hex(10)?),
            "results": { TEMPLATE: status },
            "age_s": 0,
        });
        let header = [("authorization", format!("Bearer {session}"))];
        self.call(Method::POST, "/v1/consents", &header, &report).await?;
        Ok(())
    }

    /// The mini program's backend puts a visit of the person, a little ahead.
    pub(super) async fn book(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let id = super::random_hex(6)?;
        let visit = json!({
            "openid": self.person.as_str(),
            "at": rfc3339(now + VISIT_AHEAD),
            "fields": { "doctor": "李医生" },
        });
        let (target, seconds) = (format!("/v1/appointments/visit/{id}?app={APP}"), now.timestamp());
        let signed =
            signature::sign(&self.backend, &id, seconds, "PUT", &target, visit.to_string().as_bytes());
        let header = [
            (signature::ID, id),
            (signature::TIMESTAMP, seconds.to_string()),
            (signature::SIGNATURE, signed),
        ];
        self.call(Method::PUT, &target, &header, &visit).await?;
        Ok(())
    }

    /// The person turns the reminder off in WeChat's settings.
    pub(super) fn refuse(&self) -> anyhow::Result<()> {
        self.platform.revoke(APPID, self.person.as_str(), TEMPLATE).context("the sandbox keeps no books")
    }

    /// The person closes his account with the mini program.
    pub(super) fn leave(&self) -> anyhow::Result<()> {
        self.platform.leave(APPID, self.person.as_str()).context("the sandbox keeps no books")
    }

    /// One request to the daemon's hook, as the mini program or its backend makes it.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, String)],
        body: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let hook = self.daemon.hook_at().context("the hook does not listen")?;
        let stream = TcpStream::connect(hook).await.context("cannot reach the hook")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", hook.to_string())
            .header("content-type", "application/json")
            .header("connection", "close");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body =
                body.map_err(|error| anyhow::anyhow!("the hook's answer broke off: {error}"))?.to_bytes();
            anyhow::ensure!(status.is_success(), "the hook answered {status}");
            Ok(serde_json::from_slice(&body)?)
        };
        let (answer, _closed) = tokio::join!(exchange, connection);
        answer
    }

    /// What phone and daemon show now.
    pub(super) async fn picture(&self) -> Result<Picture, Unavailable> {
        let phone = self.clone();
        crate::flow::read(self.daemon.store(), move |_store| phone.draw()).await
    }

    fn draw(&self) -> Result<Picture, Unavailable> {
        let store = self.daemon.store();
        let live = self.daemon.current().get();
        let cards = self.platform.cards(self.person.as_str()).into_iter().map(|card| Card {
            title: card.title,
            fields: card.fields.into_iter().map(|(label, _key, value)| (label, value)).collect(),
            at: rfc3339(card.at),
            receipt: card.receipt.map(|errcode| if errcode == 0 { "delivered" } else { "failed" }),
        });
        let mut balances = BTreeMap::new();
        for template in live.config.apps.values().flat_map(|app| app.templates.values()) {
            let account = store.bare_account(&self.appid, &template.id, &self.person)?;
            balances
                .insert(template.id.as_str().to_owned(), account.map_or(0, |account| account.available()));
        }
        let newest = store.newest_occurrence()?.unwrap_or(0);
        let recent = store.occurrences(None, Some(newest.saturating_sub(n_of(RECENT))), PAGE)?;
        let mut skipped = Vec::new();
        for (rule, number) in self.lasts(newest)? {
            let last = store.occurrence(number)?.filter(|_| live.rules.rules.contains_key(&rule));
            let reasons = last.iter().flat_map(|last| &last.counts.skipped);
            skipped.extend(reasons.map(|(reason, n)| Skipped {
                rule: rule.to_string(),
                reason: reason.as_str(),
                n: *n,
            }));
        }
        let now = self.clock.now();
        let next = live.rules.rules.values().filter_map(|rule| {
            let due = recurrence::next(&rule.when, rule.zone, now)?;
            let Said { en, zh } = words::when(&rule.when);
            Some(Next { rule: rule.id.to_string(), due_at: rfc3339(due.at), words: Words { en, zh } })
        });
        Ok(Picture {
            known: store.recipient(&self.appid, &self.person)?.is_some(),
            cards: cards.collect(),
            balances,
            skipped,
            next: next.collect(),
            occurrences: recent.iter().rev().map(Recent::of).collect(),
        })
    }

    /// The last occurrence of each rule.
    fn lasts(&self, newest: u64) -> Result<BTreeMap<RuleId, u64>, Unavailable> {
        let store = self.daemon.store();
        // A poisoned lock holds numbers that are right: each is put in one step.
        let mut lasts = self.lasts.lock().unwrap_or_else(PoisonError::into_inner);
        lasts.look(newest, |after| store.occurrences(None, Some(after), PAGE))
    }
}

impl Recent {
    fn of(occurrence: &Occurrence) -> Self {
        use crate::domain::delivery::State;
        let counts = &occurrence.counts;
        Self {
            rule: occurrence.rule.to_string(),
            due_at: rfc3339(occurrence.due_at),
            state: occurrence.state.as_str(),
            sent: counts.in_state(State::Sent),
            in_doubt: counts.in_state(State::InDoubt),
            skipped: counts.skipped.iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
            n: occurrence.n,
        }
    }
}

fn rfc3339(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
