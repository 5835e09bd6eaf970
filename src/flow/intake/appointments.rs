//! Appointments from the backend's door into the books.
//!
//! What a change ends is the store's to say; when a reminder is due is the scheduler's.

use chrono::{DateTime, Utc};

use super::{Intake, ReportError};
use crate::domain::appointment::Appointment;
use crate::domain::config::App;
use crate::domain::id::{AppName, AppointmentId, Kind, OpenId};
use crate::store::{AppointmentChange, AppointmentKey, Asked, Changed, Reach, Unavailable};

/// Why an appointment was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppointmentError {
    /// This request was carried out before (409).
    #[error("a request with this id was carried out before")]
    Replayed,
    /// There is none (404).
    #[error("there is no such appointment")]
    Unknown,
    /// The appointment would become too large (422).
    #[error("recipients and fields of this appointment exceed their size limit")]
    TooLarge,
    /// Nothing was promised (503).
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A signed request that changes something.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Its `webhook-id`.
    pub id: &'a str,
    /// When it came.
    pub at: DateTime<Utc>,
}

impl Intake {
    /// Puts an appointment as it shall be, or deletes it; on return that is durable.
    ///
    /// # Errors
    /// [`AppointmentError`]: nothing was changed.
    pub async fn change_appointment(
        &self,
        app: &AppName,
        (kind, id): (Kind, AppointmentId),
        to: Option<Appointment>,
        asking: Asking<'_>,
    ) -> Result<(), AppointmentError> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let key = AppointmentKey { app: app.appid.clone(), kind, id };
        let Asked { at: now, request, reach: _ } = asking.asked(Reach::This);
        let named: Vec<OpenId> = to.iter().flat_map(|to| to.recipients.iter().cloned()).collect();
        let change = AppointmentChange { key, to, request, now };
        let decided = self.store.change_appointment(change).await?;
        for openid in named {
            // It may have made the record of somebody who has said by a login who he is.
            let of = (app.appid.clone(), openid);
            if let Some(unionid) = self.memory.heard.of(&of) {
                self.store.identify(of.0.clone(), of.1.clone(), unionid).await?;
                self.memory.heard.forget(&of);
            }
        }
        // Also what was so before, and what is refused, rests on what may not be durable yet.
        self.store.wait(decided.number).await?;
        match decided.value {
            Changed::Booked { .. } | Changed::Same => Ok(()),
            Changed::Unknown => Err(AppointmentError::Unknown),
            Changed::TooLarge => Err(AppointmentError::TooLarge),
            Changed::Replayed => Err(AppointmentError::Replayed),
        }
    }

    /// An appointment as it stands.
    ///
    /// # Errors
    /// [`AppointmentError`].
    pub async fn appointment(
        &self,
        app: &AppName,
        (kind, id): (Kind, AppointmentId),
    ) -> Result<Appointment, AppointmentError> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let key = AppointmentKey { app: app.appid.clone(), kind, id };
        let read = move |store: &dyn crate::store::Store| Ok((store.appointment(&key)?, store.decided()));
        let (kept, number) = super::super::read(&self.store, read).await?;
        self.store.wait(number).await?;
        kept.and_then(|kept| kept.appointment()).ok_or(AppointmentError::Unknown)
    }

    /// What a report's `for` binds its grants to: an appointment that stands and belongs to this person.
    pub(super) async fn bound(
        &self,
        app: &App,
        openid: &OpenId,
        named: Option<&(Kind, AppointmentId)>,
    ) -> Result<Option<u64>, ReportError> {
        let Some((kind, id)) = named else { return Ok(None) };
        let key = AppointmentKey { app: app.appid.clone(), kind: kind.clone(), id: id.clone() };
        let kept = super::super::read(&self.store, move |store| store.appointment(&key)).await?;
        let is_own = kept.is_some_and(|kept| kept.joined.contains_key(openid));
        Ok(is_own.then(|| crate::domain::appointment::bound_hash(kind, id)))
    }
}
