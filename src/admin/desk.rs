//! The desk: every operation of operators, written once, for the socket and for a command that opens
//! the store itself.
//!
//! Lists rest on durable state, like the answers of the hook: after each page the desk waits until what
//! it read is synced. It starts no tasks of its own; an answer works while it is read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::answer::{Answer, Exit, Failure, Lines};
use super::appointments::Choice;
use super::control::{AppState, ClockState, Control, FirstDue, Reloaded, StatusParts};
use super::drift::{DriftRow, PopupRow};
use super::explain::Question;
use super::instant::{local, utc};
use super::mask::Masks;
use super::pauses::Named;
use super::people::Named as Of;
use super::request::{DoubtVerdict, Request};
use super::send::{Message, Mode};
use super::who;
use crate::clock::Clock;
use crate::domain::id::{DeliveryId, RuleId};
use crate::domain::language::Language;
use crate::flow::housekeeping::mark_clock;
use crate::flow::live::{Current, Live};
use crate::plan::quota::{Budget, Quota};
use crate::store::{DoubtWord, Dumped, Store};

/// A reader knows of a failure of the store this much before its writer says so, at most.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The operators' operations. Clones share everything.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
    control: Option<Arc<dyn Control>>,
    masks: OnceCell<Masks>,
    /// One release of everything at a time.
    releasing: Mutex<()>,
}

impl Desk {
    /// A desk over `store`, for the apps and rules in force; without `control`, no daemon runs.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        current: Current,
        clock: Clock,
        control: Option<Arc<dyn Control>>,
    ) -> Self {
        Self(Arc::new(Parts {
            store,
            current,
            clock,
            control,
            masks: OnceCell::new(),
            releasing: Mutex::new(()),
        }))
    }

    /// Answers `request`; nothing happens before the answer is read.
    #[must_use]
    pub fn run(&self, request: Request) -> Answer {
        let desk = self.clone();
        Answer::of(|lines| async move {
            match desk.answer(request, &lines).await {
                Err(failure) if failure.exit == Exit::Store && desk.control().is_none() => {
                    Err(desk.trouble().await.map_or(failure, |why| Failure::new(Exit::Store, why)))
                }
                answered => answered,
            }
        })
    }

    /// What the store that this command opened says of its failure: there is no `status` that would.
    async fn trouble(&self) -> Option<String> {
        let mut health = self.store().health();
        let failed = health.wait_for(|health| health.trouble().is_some());
        tokio::time::timeout(TOLD_WITHIN, failed).await.ok()?.ok()?.trouble()
    }

    async fn answer(&self, request: Request, lines: &Lines) -> Result<Exit, Failure> {
        match request {
            Request::ConsentsShow { app, who, reveal } => {
                self.consents_show(app.as_deref(), who.as_deref(), reveal.into(), lines).await
            }
            Request::ConsentsGrant { app, who, template, n, reveal } => {
                self.consents_grant(app.as_deref(), &who, &template, n, reveal.into(), lines).await
            }
            Request::PeopleShow { app, who, reveal } => {
                let named = Of { app: app.as_deref(), who: &who, all_apps: true, reveal: reveal.into() };
                self.people_show(named, lines).await
            }
            Request::PeopleMute { app, who, muted, all_apps, reveal } => {
                let named = Of { app: app.as_deref(), who: &who, all_apps, reveal: reveal.into() };
                self.people_mute(named, muted, lines).await
            }
            Request::PeopleErase { app, who, all_apps, reveal } => {
                let named = Of { app: app.as_deref(), who: &who, all_apps, reveal: reveal.into() };
                self.people_erase(named, lines).await
            }
            Request::AppointmentsList { app, kind, who, reveal } => {
                let choice = Choice { app: app.as_deref(), kind: kind.as_deref(), who: who.as_deref() };
                self.appointments_list(choice, reveal.into(), lines).await
            }
            Request::AppointmentsShow { app, kind, id, reveal } => {
                self.appointments_show(app.as_deref(), (&kind, &id), reveal.into(), lines).await
            }
            Request::AppointmentsDelete { app, kind, id } => {
                self.appointments_delete(app.as_deref(), (&kind, &id), lines).await
            }
            Request::Imported { digest } => self.imported(&digest, lines).await,
            Request::Import { what, app, digest, first, rows } => {
                self.import(what, app.as_deref(), &digest, first, &rows, lines).await
            }
            Request::OccurrencesList { rule } => self.occurrences_list(rule.as_deref(), lines).await,
            Request::DeliveriesList { rule, reveal } => {
                self.deliveries_list(rule.as_deref(), reveal.into(), lines).await
            }
            Request::DoubtList { reveal } => self.doubt_list(reveal.into(), lines).await,
            Request::DoubtSettle { id, verdict } => self.doubt_settle(&id, verdict, lines).await,
            Request::DoubtShow { id, reveal, lang } => {
                self.doubt_show(&id, reveal.into(), lang.into(), lines).await
            }
            Request::DoubtSettleRule { rule, verdict } => self.doubt_settle_rule(&rule, verdict, lines).await,
            Request::Next { rule, span_s, at } => {
                self.next(rule.as_deref(), span_s, at.as_deref(), lines).await
            }
            Request::Explain { rule, who, at, reveal, lang } => {
                let (at, reveal, language) = (at.as_deref(), reveal.into(), lang.into());
                self.explain(Question { rule: &rule, who: &who, at, reveal, language }, lines).await
            }
            Request::Send { rule, who, appointment, dry_run, reveal, lang } => {
                let mode = if dry_run { Mode::DryRun } else { Mode::Send };
                let appointment = appointment.as_deref();
                let asked = Message { rule: &rule, who: &who, appointment, mode, reveal: reveal.into() };
                self.send(asked, lang.into(), lines).await
            }
            Request::Census => self.census(lines).await,
            Request::Templates { app } => self.templates(app.as_deref(), lines).await,
            Request::Backup => self.backup(lines).await,
            Request::Fsck => self.fsck(lines).await,
            Request::Status => self.status(lines).await,
            Request::AcceptClock => self.accept_clock(lines).await,
            Request::Pause { app, rule, reason } => {
                self.pause(Named { app: app.as_deref(), rule: rule.as_deref() }, reason, lines).await
            }
            Request::Release { rule, lost_since: None } => self.release(rule.as_deref(), lines).await,
            Request::Release { rule, lost_since: Some(since) } => {
                self.release_all(rule.as_deref(), &since, lines).await
            }
            Request::Resume { app, rule } => {
                self.resume(Named { app: app.as_deref(), rule: rule.as_deref() }, lines).await
            }
            Request::Reload { lang } => self.reload(lang.into(), lines).await,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    pub(super) fn shared_store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.store)
    }

    pub(super) fn live(&self) -> Arc<Live> {
        self.0.current.get()
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(super) fn control(&self) -> Option<&dyn Control> {
        self.0.control.as_deref()
    }

    pub(super) async fn releasing(&self) -> MutexGuard<'_, ()> {
        self.0.releasing.lock().await
    }

    pub(super) async fn masks(&self) -> Result<Masks, Failure> {
        let masks = self.0.masks.get_or_try_init(|| Masks::of_store(self.store())).await?;
        Ok(masks.clone())
    }

    /// Waits until everything that was read so far is durable.
    pub(super) async fn synced(&self) -> Result<(), Failure> {
        Ok(self.store().wait(self.store().decided()).await?)
    }

    async fn doubt_settle(&self, id: &str, verdict: DoubtVerdict, lines: &Lines) -> Result<Exit, Failure> {
        let id =
            DeliveryId::parse(id).map_err(|bad| Failure::data(format!("`{}`: {bad}", who::short(id))))?;
        let word = match verdict {
            DoubtVerdict::Sent => DoubtWord::Sent,
            DoubtVerdict::Failed => DoubtWord::Failed,
        };
        let settled = self.store().settle_doubt(id, word, self.now()).await?;
        self.store().wait(settled.number).await?;
        let state = self.store().delivery(id)?.map(|delivery| delivery.state.as_str());
        if !settled.value {
            return Err(Failure::data(match state {
                Some(state) => format!("delivery {id} is not in doubt, it is {state}"),
                None => format!("there is no delivery {id}"),
            }));
        }
        tracing::info!(delivery.id = %id, "Delivery {id} in doubt settled by an operator as {}", state.unwrap_or("gone"));
        lines.row(&serde_json::json!({ "id": id.to_string(), "state": state })).await?;
        Ok(Exit::Done)
    }

    async fn fsck(&self, lines: &Lines) -> Result<Exit, Failure> {
        #[derive(Serialize)]
        struct Violation {
            code: &'static str,
            text: String,
        }
        #[derive(Serialize)]
        struct Shape {
            ok: bool,
            accounts: u64,
            grants: u64,
            deliveries: u64,
            violations: Vec<Violation>,
        }
        let found = self.store().fsck().await?.value;
        if let Some(control) = self.control() {
            control.books().proved(&found);
        }
        if let Some(hold) = self.store().hold()? {
            // They balance as they are; what they lack is in no record.
            lines.note(format!("everything is on hold since {}: {hold}", utc(hold.since))).await?;
        }
        let ok = found.violations.is_empty();
        let violations = found.violations.into_iter().map(|(code, text)| Violation { code, text }).collect();
        let (accounts, grants, deliveries) = (found.accounts, found.grants, found.deliveries);
        lines.row(&Shape { ok, accounts, grants, deliveries, violations }).await?;
        Ok(if ok { Exit::Done } else { Exit::NotInOrder })
    }

    async fn backup(&self, lines: &Lines) -> Result<Exit, Failure> {
        let Some(dump) = self.store().dump(self.now()).await?.value else {
            return Err(Failure::new(Exit::Store, "another backup is being made; try again when it is done"));
        };
        loop {
            let slice = match self.store().dump_on(&dump).await?.value {
                Dumped::Lines(slice) => slice,
                Dumped::Overtaken => {
                    let why = "too much changed meanwhile, or the store failed; try again, to a faster disk or when there is less to do";
                    return Err(Failure::new(Exit::Store, why));
                }
                Dumped::Unreadable(why) => {
                    let why = format!(
                        "a record cannot be read, so nothing was kept: {why}; `tixing fsck` says which"
                    );
                    return Err(Failure::new(Exit::NotInOrder, why));
                }
            };
            if slice.is_empty() {
                return Ok(Exit::Done);
            }
            for line in slice {
                lines.text(line).await?;
            }
        }
    }

    async fn reload(&self, language: Language, lines: &Lines) -> Result<Exit, Failure> {
        let Some(control) = self.control() else { return Err(no_daemon()) };
        let reloaded = control.reload().await;
        let first_due = Some(reloaded.first_due.iter().map(FirstDueShape::of).collect());
        lines.row(&ReloadShape { first_due, ..ReloadShape::of(&reloaded, language) }).await?;
        Ok(if reloaded.ok { Exit::Done } else { Exit::NotInOrder })
    }

    async fn accept_clock(&self, lines: &Lines) -> Result<Exit, Failure> {
        if self.control().is_none() {
            return Err(no_daemon());
        }
        let at = self.clock().accept();
        // So that a restart finds it accepted.
        mark_clock(self.store(), at).await?;
        self.synced().await?;
        tracing::info!("The wall clock was accepted by an operator: {}", utc(at));
        lines.row(&serde_json::json!({ "clock": "ok", "at": utc(at) })).await?;
        Ok(Exit::Done)
    }

    async fn status(&self, lines: &Lines) -> Result<Exit, Failure> {
        let Some(control) = self.control() else { return Err(no_daemon()) };
        let mut parts = control.status();
        // A scrape does not wait for this walk over the recipients; a store that does not work says so itself.
        let foreseen = self.foreseen().await.unwrap_or_default();
        parts.needs_attention.extend(
            foreseen.iter().filter_map(|(app, budget)| Some(format!("app {app}: {}", budget.trouble()?))),
        );
        // Also while the store does not work: why not is what is asked for then.
        let figures = self.store().figures().ok();
        let health = self.store().health().borrow().clone();
        let live = self.live();
        let in_order = parts.in_order();
        let open = figures.iter().flat_map(|figures| &figures.open);
        let open: BTreeMap<&str, u64> = open.map(|(state, n)| (state.as_str(), *n)).collect();
        let shape = StatusShape {
            ready: parts.ready,
            version: env!("CARGO_PKG_VERSION"),
            hold: parts.hold,
            needs_attention: parts.needs_attention,
            apps: parts
                .apps
                .into_iter()
                .map(|(name, state)| {
                    let quota = parts.quotas.get(&name);
                    let quota = quota.map(|quota| QuotaShape::of(quota, foreseen.get(&name)));
                    (name.to_string(), AppShape { quota, ..AppShape::of(state) })
                })
                .collect(),
            rules: RulesShape {
                loaded: live.rules.rules.len(),
                held: parts
                    .held_rules
                    .into_iter()
                    .map(|(rule, reason)| HeldShape { rule: rule.to_string(), reason })
                    .collect(),
            },
            clock: match parts.clock {
                ClockState::Ok => "ok",
                ClockState::Behind => "behind",
            },
            open,
            drift: self.store().drift().ok().map(|drift| self.drift_rows(drift)),
            popups: self.popup_rows(),
            store: StoreShape {
                state: health.as_str(),
                reason: health.trouble(),
                n_failures: self.store().n_failures(),
                disk_bytes: figures.as_ref().map(|figures| figures.disk_bytes),
                n_groups: figures.as_ref().map(|figures| figures.n_groups),
                last_sync_us: figures.as_ref().map(|figures| figures.last_sync_us),
            },
            zone_data: parts.zone_data,
            reload: ReloadShape::of(&parts.reload, Language::English),
            generation: parts.generation,
            hook: parts.hook.map(|address| address.to_string()),
        };
        lines.row(&shape).await?;
        Ok(if in_order { Exit::Done } else { Exit::NotInOrder })
    }
}

impl StatusParts {
    /// Whether nothing here needs a person.
    #[must_use]
    pub fn in_order(&self) -> bool {
        self.ready
            && self.hold.is_none()
            && self.needs_attention.is_empty()
            && self.held_rules.is_empty()
            && self.reload.ok
            && self.clock == ClockState::Ok
            && self.apps.values().all(|state| *state == AppState::Sending)
    }
}

/// Why a request fails that only a daemon can carry out.
pub(super) fn no_daemon() -> Failure {
    Failure::new(
        Exit::NoDaemon,
        "no daemon runs here; start it with `tixing run` or `systemctl start tixing`",
    )
}

/// Parses a rule id that was typed.
pub(super) fn rule_id(text: &str) -> Result<RuleId, Failure> {
    RuleId::parse(text).map_err(|bad| Failure::data(format!("`{}`: {bad}", who::short(text))))
}

#[derive(Serialize)]
struct StatusShape {
    ready: bool,
    version: &'static str,
    hold: Option<String>,
    needs_attention: Vec<String>,
    apps: BTreeMap<String, AppShape>,
    rules: RulesShape,
    clock: &'static str,
    open: BTreeMap<&'static str, u64>,
    /// Not known while the store has failed.
    drift: Option<Vec<DriftRow>>,
    popups: Vec<PopupRow>,
    store: StoreShape,
    zone_data: String,
    reload: ReloadShape,
    generation: u64,
    hook: Option<String>,
}

#[derive(Serialize)]
struct AppShape {
    state: &'static str,
    reason: Option<String>,
    /// Where it is asked for, and known of today.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaShape>,
}

#[derive(Serialize)]
struct QuotaShape {
    daily_limit: u64,
    used: u64,
    remain: u64,
    at: String,
    /// Messages that are due until the day turns; not known while the store has failed.
    foreseen: Option<u64>,
    /// From which due time on these are more than remain.
    over_at: Option<String>,
}

impl QuotaShape {
    fn of((quota, at): &(Quota, DateTime<Utc>), budget: Option<&Budget>) -> Self {
        let Quota { daily_limit, used, remain } = *quota;
        let over_at = budget.and_then(Budget::over_at).map(utc);
        Self { daily_limit, used, remain, at: utc(*at), foreseen: budget.map(Budget::foreseen), over_at }
    }
}

impl AppShape {
    fn of(state: AppState) -> Self {
        match state {
            AppState::Sending => Self { state: "ok", reason: None, quota: None },
            AppState::Paused(reason) => Self { state: "paused", reason: Some(reason), quota: None },
        }
    }
}

#[derive(Serialize)]
struct RulesShape {
    loaded: usize,
    held: Vec<HeldShape>,
}

#[derive(Serialize)]
struct HeldShape {
    rule: String,
    reason: String,
}

#[derive(Serialize)]
struct StoreShape {
    /// ok, short or failed.
    state: &'static str,
    reason: Option<String>,
    n_failures: u64,
    /// These are not known while it has failed.
    disk_bytes: Option<u64>,
    n_groups: Option<u64>,
    last_sync_us: Option<u64>,
}

#[derive(Serialize)]
struct ReloadShape {
    at: String,
    ok: bool,
    diagnostics: Vec<Value>,
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    needs_restart: Vec<&'static str>,
    /// Only the answer to a reload has them: the status of an hour later would tell what is past.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_due: Option<Vec<FirstDueShape>>,
}

#[derive(Serialize)]
struct FirstDueShape {
    rule: String,
    due_at: Option<String>,
    local: Option<String>,
    zone: &'static str,
    words: Words,
}

/// When a rule is due, in both languages.
#[derive(Serialize)]
struct Words {
    en: String,
    zh: String,
}

impl FirstDueShape {
    fn of(first: &FirstDue) -> Self {
        Self {
            rule: first.rule.to_string(),
            due_at: first.due.map(|due| utc(due.at)),
            local: first.due.map(|due| local(due.at, first.zone)),
            zone: first.zone.name(),
            words: Words { en: first.words.en.clone(), zh: first.words.zh.clone() },
        }
    }
}

impl ReloadShape {
    fn of(reloaded: &Reloaded, language: Language) -> Self {
        let names = |rules: &[RuleId]| rules.iter().map(RuleId::to_string).collect();
        Self {
            at: utc(reloaded.at),
            ok: reloaded.ok,
            diagnostics: reloaded.diagnostics.iter().map(|found| found.to_json(language)).collect(),
            added: names(&reloaded.added),
            changed: names(&reloaded.changed),
            removed: names(&reloaded.removed),
            needs_restart: reloaded.needs_restart.clone(),
            first_due: None,
        }
    }
}
