//! From the doors into the books: reports, logins, and what a person may see of himself.
//!
//! The doors have proved who speaks and parsed what was said; here it is decided what it books. An
//! answer rests on durable state only.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::live::Current;
use crate::clock::Clock;
use crate::domain::id::{
    AppName, AppointmentId, FieldName, Kind, OpenId, ReportId, RuleId, Tag, TemplateId, UnionId,
};
use crate::domain::recipient::{FieldValue, Fields};
use crate::domain::zone::Zone;
use crate::store::{Store, Unavailable};
use crate::wechat::LoginError;

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
    /// Nothing was promised (503).
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What a person may see of himself.
#[derive(Clone, Debug)]
pub struct Me {
    /// His tags.
    pub tags: Vec<Tag>,
    /// His fields.
    pub fields: Fields,
    /// His zone.
    pub time_zone: Option<Zone>,
    /// Gets nothing while set.
    pub muted: bool,
    /// As in [`ReportOut`].
    pub balances: BTreeMap<TemplateId, u64>,
    /// What comes next, earliest first, at most 20.
    pub upcoming: Vec<Upcoming>,
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
}

/// The flow from the doors into the books.
#[derive(Clone, Debug)]
pub struct Intake {
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
}

impl Intake {
    /// Books into `store` what concerns the apps and rules in force.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, current: Current, clock: Clock) -> Self {
        Self { store, current, clock }
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
        let _ = (app, openid, speaker, report, arrived_at, &self.store, &self.clock);
        Err(ReportError::Unavailable(Unavailable))
    }

    /// Exchanges a `wx.login` code for the openid it stands for, with what to ask that person next.
    ///
    /// # Errors
    /// [`LoginError`] of the platform client.
    pub async fn login(&self, app: &AppName, code: &str) -> Result<(OpenId, Vec<TemplateId>), LoginError> {
        let _ = (app, code);
        Err(LoginError::Unavailable)
    }

    /// What a person may see of himself; somebody unknown has nothing.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn me(&self, app: &AppName, openid: &OpenId) -> Result<Me, Unavailable> {
        let _ = (app, openid);
        Err(Unavailable)
    }
}
