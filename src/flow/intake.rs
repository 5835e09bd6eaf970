//! From the doors into the books: reports, logins, and what to ask somebody for next.
//!
//! The doors have proved who speaks and parsed what was said; here it is decided what it books. An
//! answer rests on durable state only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use self::memory::Memory;
use super::brake::Brake;
use super::live::{Current, Live};
use super::outlook::{ASK_AHEAD, One, Outlook};
use super::reminders::{self, Reminder};
use crate::clock::Clock;
use crate::domain::config::{App, ConsentsFrom};
use crate::domain::consent::{Grant, Manner, NotGranted, Source, Status};
use crate::domain::count::n_of;
use crate::domain::id::{
    AppName, AppointmentId, FieldName, Kind, OpenId, ReportId, RuleId, Tag, TemplateId, UnionId,
};
use crate::domain::recipient::{FieldValue, Recipient};
use crate::domain::zone::Zone;
use crate::plan::purse::Purse;
use crate::plan::recurrence::Window;
use crate::store::{Additions, Answer, Choice, Number, Report, ReportOutcome, Store, Unavailable};
use crate::wechat::LoginError;
use popups::By;

pub mod appointments;
mod events;
mod heard;
pub mod memory;
pub mod popups;
pub mod recipients;
pub mod sources;
pub mod ungranted;
pub mod warning;

/// Who proved to be speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The person himself, by a session.
    Session,
    /// A backend, by its key.
    Backend,
}

/// A report as a door parsed it.
#[derive(Clone, Debug)]
pub struct ReportIn {
    /// Its client-made id.
    pub id: ReportId,
    /// Template id and status, as `wx.requestSubscribeMessage` gave them; or the client's failure.
    pub said: Said,
    /// Seconds since the tap.
    pub age_s: u32,
    /// The appointment that the acceptances are for.
    pub bound_to: Option<(Kind, AppointmentId)>,
    /// The person over all apps (backend only).
    pub unionid: Option<UnionId>,
    /// Tags to add (backend only).
    pub tags: Vec<Tag>,
    /// Fields to set.
    pub fields: BTreeMap<FieldName, FieldValue>,
    /// The person's zone.
    pub time_zone: Option<Zone>,
}

/// What a report says.
#[derive(Clone, Debug)]
pub enum Said {
    /// Status by template id; keys and statuses as they came.
    Results(BTreeMap<String, String>),
    /// The call failed with this code.
    Fail {
        /// `errCode` of the client.
        code: i64,
        /// `errMsg` of the client, cut to 256 characters.
        message: String,
    },
}

/// The answer to a report.
#[derive(Clone, Debug)]
pub struct ReportOut {
    /// Living available grants of all templates of the app; 1 for a standing acceptance.
    pub balances: BTreeMap<TemplateId, u64>,
    /// Templates worth asking for next, at most 3.
    pub ask: Vec<TemplateId>,
    /// What was said and granted nothing.
    pub ignored: Vec<Ignored>,
    /// The report was seen before.
    pub duplicate: bool,
}

/// A part of a report that granted nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The template id as it came.
    pub template: String,
    /// The status as it came.
    pub status: String,
    /// `full`, `refused_since`, `unknown_template`, `unknown_status`, `not_granted`.
    pub why: &'static str,
}

/// Why a report was not booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Same id, other content (409).
    #[error("a report with this id and another content was booked before")]
    Conflict,
    /// The recipient would become too large (422).
    #[error("tags and fields of this recipient would exceed their size limit")]
    TooLarge,
    /// A session names an appointment that is not its person's (422).
    #[error("`for` names no appointment of this person")]
    UnknownAppointment,
    /// Nothing was promised (503).
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A reminder that is planned for a person.
#[derive(Clone, Debug)]
pub struct Upcoming {
    /// Which rule.
    pub rule: RuleId,
    /// Its template.
    pub template: TemplateId,
    /// When.
    pub due_at: DateTime<Utc>,
    /// Which appointment it reminds of.
    pub about: Option<Subject>,
}

/// An appointment that a reminder is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Its kind.
    pub kind: Kind,
    /// Its id within the kind.
    pub id: AppointmentId,
    /// When it is.
    pub at: DateTime<Utc>,
}

/// Who logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// In the app.
    pub openid: OpenId,
    /// Over all apps, where the platform told it.
    pub unionid: Option<UnionId>,
    /// Which templates to ask him for next.
    pub ask: Vec<TemplateId>,
}

/// The flow from the doors into the books.
#[derive(Clone, Debug)]
pub struct Intake {
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
    outlook: Arc<Outlook>,
    brake: Brake,
    memory: Memory,
}

impl Intake {
    /// Books into `store` what concerns the apps and rules in force.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, current: Current, clock: Clock, brake: Brake) -> Self {
        Self { store, current, clock, outlook: Arc::default(), brake, memory: Memory::default() }
    }

    /// Keeps in `memory` what others look at, and forget by.
    #[must_use]
    pub fn remembering(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// The generation in force, for doors that look up an app.
    #[must_use]
    pub fn current(&self) -> &Current {
        &self.current
    }

    /// Books a report; on return it is durable.
    ///
    /// `arrived_at` is when it came, or its `webhook-timestamp` where that is earlier.
    ///
    /// # Errors
    /// [`ReportError`]: nothing was changed.
    pub async fn report(
        &self,
        app: &AppName,
        openid: &OpenId,
        speaker: Speaker,
        report: ReportIn,
        arrived_at: DateTime<Utc>,
    ) -> Result<ReportOut, ReportError> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let content = content_hash(&report);
        let bound = self.bound(app, openid, report.bound_to.as_ref()).await?;
        // A session may name an own appointment only; it may be gone when a report comes again that was booked.
        let is_refused = bound.is_none() && report.bound_to.is_some() && speaker == Speaker::Session;
        if is_refused && !self.is_booked(app, openid, &report.id).await? {
            return Err(ReportError::UnknownAppointment);
        }
        let counts_from = live.sources.get(&app.appid).copied();
        let (answers, mut ignored) = answers(app, &report, speaker, arrived_at, (bound, counts_from));
        let statuses: BTreeMap<TemplateId, String> = match &report.said {
            Said::Results(results) => answers
                .iter()
                .filter_map(|a| Some((a.template.clone(), results.get(a.template.as_str())?.clone())))
                .collect(),
            Said::Fail { .. } => BTreeMap::new(),
        };
        let ungranted = ungranted(app, &report.said);
        let of = (app.appid.clone(), openid.clone());
        let accepted = answers.iter().filter(|answer| match answer.choice {
            Choice::Accept(_) => true,
            Choice::Reject(_) => false,
        });
        let accepted: Vec<TemplateId> = accepted.map(|answer| answer.template.clone()).collect();
        let tapped_at = arrived_at - TimeDelta::seconds(i64::from(report.age_s));
        let pending = self.store.report(Report {
            app: app.appid.clone(),
            openid: openid.clone(),
            id: report.id,
            content,
            now: self.clock.reckoned(),
            tapped_at: arrived_at - TimeDelta::seconds(i64::from(report.age_s)),
            adds: Additions {
                unionid: report.unionid.or_else(|| self.memory.heard.of(&of)),
                tags: report.tags,
                fields: report.fields,
                time_zone: report.time_zone,
            },
            answers,
        });
        let decided = pending.await?;
        let duplicate = match decided.value {
            ReportOutcome::Booked(not_granted) => {
                self.memory.heard.forget(&of);
                if !ungranted.is_empty() {
                    for what in ungranted {
                        self.memory.ungranted().count(&of, what, self.clock.reckoned());
                    }
                    if self.is_erased_since(&app.name, openid, arrived_at).await? {
                        self.memory.ungranted().forget(&of);
                    }
                }
                if app.consents_from == ConsentsFrom::Reports && app.push.is_some() {
                    self.compare(By::Report, (app, openid), accepted.into_iter(), tapped_at).await?;
                }
                ignored.extend(not_granted.into_iter().map(|(template, why)| Ignored {
                    status: statuses.get(&template).cloned().unwrap_or_default(),
                    template: template.as_str().to_owned(),
                    why: match why {
                        NotGranted::Full => "full",
                        NotGranted::RefusedSince => "refused_since",
                    },
                }));
                false
            }
            ReportOutcome::Duplicate => true,
            // Acknowledged, and stored nowhere.
            ReportOutcome::Erased => false,
            // Also "it is another one" rests on the first copy: it must be durable before it is said.
            ReportOutcome::Conflict => {
                self.store.wait(decided.number).await?;
                return Err(ReportError::Conflict);
            }
            ReportOutcome::TooLarge => return Err(ReportError::TooLarge),
        };
        let seen = self.view(&live, app, openid).await?;
        let ask = self.ask(&live, app, openid, &seen);
        // One after the other: of two numbers with a failure between them the larger says nothing of the smaller.
        self.store.wait(decided.number).await?;
        self.store.wait(seen.number).await?;
        Ok(ReportOut { balances: seen.balances, ask, ignored, duplicate })
    }

    /// Holds acceptances of `at` against those of the other side, and forgets them if their person was erased meanwhile.
    async fn compare(
        &self,
        by: By,
        (app, openid): (&App, &OpenId),
        accepted: impl Iterator<Item = TemplateId>,
        at: DateTime<Utc>,
    ) -> Result<(), Unavailable> {
        let when = (at, self.clock.reckoned());
        self.memory.popups().hear(by, (&app.appid, openid), accepted, when);
        if self.is_erased_since(&app.name, openid, at).await? {
            self.memory.popups().forget(&(app.appid.clone(), openid.clone()));
        }
        Ok(())
    }

    /// Whether a report with this id was booked, whatever it said.
    async fn is_booked(&self, app: &App, openid: &OpenId, id: &ReportId) -> Result<bool, Unavailable> {
        let (app, openid, id) = (app.appid.clone(), openid.clone(), id.clone());
        super::read(&self.store, move |store| store.is_booked(&app, &openid, &id)).await
    }

    /// Exchanges a `wx.login` code for the openid it stands for, with what to ask that person next.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, app: &AppName, code: &str) -> Result<LoggedIn, LoginError> {
        let live = self.current.get();
        let (Some(app), Some(client)) = (live.config.apps.get(app), live.clients.get(app)) else {
            return Err(LoginError::Unavailable);
        };
        let begun_at = self.clock.reckoned();
        let identity = client.code2session(code).await?;
        let unavailable = |_: Unavailable| LoginError::Store;
        let (appid, openid) = (app.appid.clone(), identity.openid.clone());
        let known = super::read(&self.store, move |store| store.recipient(&appid, &openid)).await;
        let known = known.map_err(unavailable)?;
        if known.as_ref().is_some_and(|recipient| recipient.bad_since.is_some()) {
            // The platform knows him again.
            let heard = self.store.mark_recipient(app.appid.clone(), identity.openid.clone(), None);
            heard.await.map_err(unavailable)?;
        }
        if let Some(unionid) = identity.unionid.clone() {
            let of = (app.appid.clone(), identity.openid.clone());
            match known {
                None => {
                    self.memory.heard.note(of.clone(), unionid);
                    let since = self.is_erased_since(&app.name, &of.1, begun_at).await;
                    if since.map_err(unavailable)? {
                        self.memory.heard.forget(&of);
                    }
                }
                Some(known) if known.profile.unionid.as_ref() == Some(&unionid) => {}
                Some(_) => drop(self.store.identify(of.0, of.1, unionid).await.map_err(unavailable)?),
            }
        }
        let seen = self.view(&live, app, &identity.openid).await.map_err(unavailable)?;
        let ask = self.ask(&live, app, &identity.openid, &seen);
        self.store.wait(seen.number).await.map_err(unavailable)?;
        Ok(LoggedIn { openid: identity.openid, unionid: identity.unionid, ask })
    }

    /// Which templates to ask this person for next.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn ask_for(&self, app: &AppName, openid: &OpenId) -> Result<Vec<TemplateId>, Unavailable> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let seen = self.view(&live, app, openid).await?;
        let ask = self.ask(&live, app, openid, &seen);
        self.store.wait(seen.number).await?;
        Ok(ask)
    }

    fn ask(&self, live: &Arc<Live>, app: &App, openid: &OpenId, seen: &Seen) -> Vec<TemplateId> {
        let held = self.brake.rejections();
        let unaskable = held.iter().filter(|held| held.is_unaskable()).filter_map(|held| {
            let rule = live.rules.rules.get(&held.rule).filter(|rule| rule.app == app.name)?;
            Some(&rule.template.id)
        });
        let unaskable = unaskable.collect();
        self.outlook.ask(live, app, seen.one(openid), (&seen.purses, &unaskable), self.clock.now())
    }

    /// Reads what concerns one person, and the number that an answer must wait for.
    async fn view(&self, live: &Arc<Live>, app: &App, openid: &OpenId) -> Result<Seen, Unavailable> {
        let live = Arc::clone(live);
        let (name, openid) = (app.name.clone(), openid.clone());
        let now = self.clock.now();
        let window = Window { after: now, until: now + ASK_AHEAD };
        super::read(&self.store, move |store| {
            let app = live.config.apps.get(&name).ok_or(Unavailable)?;
            let recipient = store.recipient(&app.appid, &openid)?;
            let (mut balances, mut purses, mut manners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            for template in app.templates.values() {
                let account = store.bare_account(&app.appid, &template.id, &openid)?.unwrap_or_default();
                balances.insert(template.id.clone(), account.available());
                let (of, had) = ((&app.appid, &openid), (&account, template.kind));
                purses.insert(template.id.clone(), crate::store::purse(store, of, had, now, u64::MAX)?);
                if account.available() > 0 && account.manner != Manner::Plain {
                    manners.insert(template.id.clone(), account.manner);
                }
            }
            let is_known = recipient.is_some();
            let recipient = recipient.unwrap_or_else(|| Recipient::new(now));
            let rules = live.rules.rules.values().filter(|rule| rule.app == name);
            let mut own = Vec::new();
            for reminder in reminders::of_person(store, (&app.appid, &openid), rules, window)? {
                if reminder.is_for(store, &openid)? {
                    own.push(reminder);
                }
            }
            let number = store.decided();
            Ok(Seen { is_known, recipient, balances, purses, manners, reminders: own, number })
        })
        .await
    }
}

/// What was read of one person.
struct Seen {
    is_known: bool,
    /// Somebody unknown is one of whom nothing is known.
    recipient: Recipient,
    balances: BTreeMap<TemplateId, u64>,
    /// The same for a look ahead.
    purses: BTreeMap<TemplateId, Purse>,
    /// How what he has was accepted, where that is not plainly.
    manners: BTreeMap<TemplateId, Manner>,
    /// Of his appointments, in the coming days.
    reminders: Vec<Reminder>,
    number: Number,
}

impl Seen {
    fn one<'a>(&'a self, openid: &'a OpenId) -> One<'a> {
        One { openid, recipient: &self.recipient, own: &self.reminders }
    }
}

/// What a report's statuses book, and what they do not.
fn answers(
    app: &App,
    report: &ReportIn,
    speaker: Speaker,
    arrived_at: DateTime<Utc>,
    (bound, counts_from): (Option<u64>, Option<DateTime<Utc>>),
) -> (Vec<Answer>, Vec<Ignored>) {
    let accepted_at = arrived_at - TimeDelta::seconds(i64::from(report.age_s));
    let grant = Grant {
        accepted_at,
        source: match speaker {
            Speaker::Session => Source::Session,
            Speaker::Backend => Source::Backend,
        },
        bound,
    };
    let mut answers = Vec::new();
    let mut ignored = Vec::new();
    let results = match &report.said {
        Said::Results(results) => results,
        Said::Fail { .. } => return (answers, ignored),
    };
    for (id, status) in results {
        let known = app.templates.values().find(|template| template.id.as_str() == id);
        let told = Status::parse(status);
        let manner = match told {
            Some(Status::Accept(manner)) => manner,
            Some(Status::Reject | Status::Ban | Status::Filter) | None => Manner::Plain,
        };
        let choice = match told {
            Some(Status::Accept(_)) => {
                let counts = match app.consents_from {
                    ConsentsFrom::Reports => counts_from.is_none_or(|since| accepted_at >= since),
                    ConsentsFrom::Events => false,
                };
                if counts { Ok(Choice::Accept(grant)) } else { Err("not_granted") }
            }
            Some(Status::Reject) => Ok(Choice::Reject(accepted_at)),
            Some(Status::Ban | Status::Filter) => Err("not_granted"),
            None => Err("unknown_status"),
        };
        match (known, choice) {
            (Some(template), Ok(choice)) => {
                let (template, kind) = (template.id.clone(), template.kind);
                answers.push(Answer { template, kind, choice, manner });
            }
            (None, _) => ignored.push(Ignored {
                template: id.clone(),
                status: status.clone(),
                why: "unknown_template",
            }),
            (Some(_), Err(why)) => {
                ignored.push(Ignored { template: id.clone(), status: status.clone(), why });
            }
        }
    }
    (answers, ignored)
}

/// What of a report grants nothing and decides nothing, to be counted.
fn ungranted(app: &App, said: &Said) -> Vec<ungranted::What> {
    match said {
        Said::Results(results) => {
            let of_ours = app.templates.values().filter_map(|template| {
                ungranted::What::of_status(&template.id, results.get(template.id.as_str())?)
            });
            of_ours.collect()
        }
        Said::Fail { code, .. } => vec![ungranted::What::of_code(*code)],
    }
}

/// What "the same report" means: everything that was said but for its age.
fn content_hash(report: &ReportIn) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(n_of(text.len()).to_be_bytes());
        hash.update(text);
    };
    match &report.said {
        Said::Results(results) => {
            part("results");
            for (template, status) in results {
                part(template);
                part(status);
            }
        }
        Said::Fail { code, message } => {
            part("fail");
            part(&code.to_string());
            part(message);
        }
    }
    if let Some((kind, id)) = &report.bound_to {
        part("for");
        part(kind.as_str());
        part(id.as_str());
    }
    part("unionid");
    part(report.unionid.as_ref().map_or("", UnionId::as_str));
    part("tags");
    let tags: BTreeSet<&str> = report.tags.iter().map(Tag::as_str).collect();
    tags.into_iter().for_each(&mut part);
    part("fields");
    for (name, value) in &report.fields {
        part(name.as_str());
        part(&format!("{value:?}"));
    }
    part("time_zone");
    part(report.time_zone.map_or("", Zone::name));
    hash.finalize().into()
}
