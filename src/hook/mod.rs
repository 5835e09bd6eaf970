//! The public HTTP door: connections, proofs of identity, strict shapes, and the answers.
//!
//! It decides who speaks and whether what was said has its form; what that books is decided in
//! `flow::intake`. It keeps nothing: sessions are sealed texts, limits are forgotten at a restart.

mod address;
mod answer;
mod body;
mod guard;
mod identity;
mod json;
mod openapi;
mod problem;
mod rate;
mod routes;
mod server;
mod session;
mod shape;
pub mod signature;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::net::TcpListener;

pub use server::Limits;
pub use session::SessionKey;
pub use signature::{BadSecret, Key, Keys, Secret};

use self::address::{Proxies, Seats};
use self::routes::Routes;
use crate::clock::Clock;
use crate::domain::appointment::Appointment;
use crate::domain::config::IpNet;
use crate::domain::id::{AppName, AppointmentId, Kind, OpenId, TemplateId, UnionId};
use crate::domain::recipient::Profile;
use crate::flow::intake::appointments::{AppointmentError, Asking};
use crate::flow::intake::recipients::{Person, RecipientError};
use crate::flow::intake::{Intake, LoggedIn, ReportError, ReportIn, ReportOut, Speaker};
use crate::flow::live::Live;
use crate::store::{Reach, Unavailable};
use crate::wechat::LoginError;
use crate::wechat::push::Event;

/// How the door is held open.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes, times and numbers.
    pub limits: Limits,
    /// Peers whose `X-Forwarded-For` is believed, and who may hold any number of connections; `None`
    /// is loopback on a loopback listener, else nobody.
    pub trusted_proxies: Option<Vec<IpNet>>,
}

/// What is behind the door, and the keys to it.
#[derive(Debug)]
pub struct Door<B = Intake> {
    /// Books what was said.
    pub intake: B,
    /// Keys of backends; a reload replaces them through its own clone.
    pub keys: Keys,
    /// Key of sessions.
    pub session_key: SessionKey,
    /// Time.
    pub clock: Clock,
}

/// What the door asks of the flow behind it; [`Intake`] in production.
pub trait Books: Send + Sync + 'static {
    /// The generation in force.
    fn live(&self) -> Arc<Live>;

    /// [`Intake::report`].
    fn report(
        &self,
        app: &AppName,
        openid: &OpenId,
        speaker: Speaker,
        report: ReportIn,
        arrived_at: DateTime<Utc>,
    ) -> impl Future<Output = Result<ReportOut, ReportError>> + Send;

    /// [`Intake::change_appointment`].
    fn change_appointment(
        &self,
        app: &AppName,
        name: (Kind, AppointmentId),
        to: Option<Appointment>,
        asking: Asking<'_>,
    ) -> impl Future<Output = Result<(), AppointmentError>> + Send;

    /// [`Intake::appointment`].
    fn appointment(
        &self,
        app: &AppName,
        name: (Kind, AppointmentId),
    ) -> impl Future<Output = Result<Appointment, AppointmentError>> + Send;

    /// [`Intake::is_erased_since`].
    fn is_erased_since(
        &self,
        app: &AppName,
        openid: &OpenId,
        then: DateTime<Utc>,
    ) -> impl Future<Output = Result<bool, Unavailable>> + Send;

    /// [`Intake::event`].
    fn event(&self, app: &AppName, event: Event) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// [`Intake::login`].
    fn login(&self, app: &AppName, code: &str) -> impl Future<Output = Result<LoggedIn, LoginError>> + Send;

    /// [`Intake::unionids_of`].
    fn unionids_of(
        &self,
        app: &AppName,
        openid: &OpenId,
    ) -> impl Future<Output = Result<Vec<UnionId>, Unavailable>> + Send;

    /// [`Intake::ask_for`].
    fn ask_for(
        &self,
        app: &AppName,
        openid: &OpenId,
    ) -> impl Future<Output = Result<Vec<TemplateId>, Unavailable>> + Send;

    /// [`Intake::me`].
    fn me(&self, app: &AppName, openid: &OpenId) -> impl Future<Output = Result<Person, Unavailable>> + Send;

    /// [`Intake::recipient`].
    fn recipient(
        &self,
        app: &AppName,
        openid: &OpenId,
    ) -> impl Future<Output = Result<Person, RecipientError>> + Send;

    /// [`Intake::put_recipient`].
    fn put_recipient(
        &self,
        app: &AppName,
        openid: &OpenId,
        to: (Profile, Reach),
        asking: Asking<'_>,
    ) -> impl Future<Output = Result<(), RecipientError>> + Send;

    /// [`Intake::erase`].
    fn erase(
        &self,
        app: &AppName,
        openid: &OpenId,
        reach: Reach,
        asking: Option<Asking<'_>>,
    ) -> impl Future<Output = Result<(), RecipientError>> + Send;
}

impl Books for Intake {
    fn live(&self) -> Arc<Live> {
        self.current().get()
    }

    async fn report(
        &self,
        app: &AppName,
        openid: &OpenId,
        speaker: Speaker,
        report: ReportIn,
        arrived_at: DateTime<Utc>,
    ) -> Result<ReportOut, ReportError> {
        Self::report(self, app, openid, speaker, report, arrived_at).await
    }

    async fn change_appointment(
        &self,
        app: &AppName,
        name: (Kind, AppointmentId),
        to: Option<Appointment>,
        asking: Asking<'_>,
    ) -> Result<(), AppointmentError> {
        Self::change_appointment(self, app, name, to, asking).await
    }

    async fn appointment(
        &self,
        app: &AppName,
        name: (Kind, AppointmentId),
    ) -> Result<Appointment, AppointmentError> {
        Self::appointment(self, app, name).await
    }

    async fn is_erased_since(
        &self,
        app: &AppName,
        openid: &OpenId,
        then: DateTime<Utc>,
    ) -> Result<bool, Unavailable> {
        Self::is_erased_since(self, app, openid, then).await
    }

    async fn event(&self, app: &AppName, event: Event) -> Result<(), Unavailable> {
        Self::event(self, app, event).await
    }

    async fn login(&self, app: &AppName, code: &str) -> Result<LoggedIn, LoginError> {
        Self::login(self, app, code).await
    }

    async fn unionids_of(&self, app: &AppName, openid: &OpenId) -> Result<Vec<UnionId>, Unavailable> {
        Self::unionids_of(self, app, openid).await
    }

    async fn ask_for(&self, app: &AppName, openid: &OpenId) -> Result<Vec<TemplateId>, Unavailable> {
        Self::ask_for(self, app, openid).await
    }

    async fn me(&self, app: &AppName, openid: &OpenId) -> Result<Person, Unavailable> {
        Self::me(self, app, openid).await
    }

    async fn recipient(&self, app: &AppName, openid: &OpenId) -> Result<Person, RecipientError> {
        Self::recipient(self, app, openid).await
    }

    async fn put_recipient(
        &self,
        app: &AppName,
        openid: &OpenId,
        to: (Profile, Reach),
        asking: Asking<'_>,
    ) -> Result<(), RecipientError> {
        Self::put_recipient(self, app, openid, to, asking).await
    }

    async fn erase(
        &self,
        app: &AppName,
        openid: &OpenId,
        reach: Reach,
        asking: Option<Asking<'_>>,
    ) -> Result<(), RecipientError> {
        Self::erase(self, app, openid, reach, asking).await
    }
}

/// Answers requests on `listener` until `stop`, then ends those in flight, within [`Limits::stop`].
pub async fn serve<B: Books>(
    listener: TcpListener,
    options: Options,
    door: Door<B>,
    stop: impl Future<Output = ()> + Send,
) {
    let limits = Arc::new(options.limits);
    // A listener whose own address cannot be read is believed to be public.
    let listen = listener.local_addr().map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |at| at.ip());
    let proxies = Proxies::new(options.trusted_proxies, listen);
    let clock = door.clock.clone();
    let callers = (proxies, Seats::new(limits.connections, limits.per_address));
    let routes = Arc::new(Routes::new(door, Arc::clone(&limits), callers.clone()));
    server::run(listener, limits, callers, clock, routes, stop).await;
}
