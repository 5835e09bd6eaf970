//! The routes: what each takes, who may use it, and what is written about it.
//!
//! One event per request, with method and route pattern; targets, headers and bodies are never
//! written.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::body::Incoming;
use hyper::{Method, Request};
use tracing::{debug, info, warn};

use super::address::{Proxies, Seats, counted};
use super::answer::{self, Answer};
use super::identity::{Asked, Checks, Identity};
use super::problem::Problem;
use super::rate::Buckets;
use super::server::{Answers, Limits};
use super::session::Session;
use super::shape::{self, Apps};
use super::signature::Signed;
use super::{Books, Door, body};
use crate::domain::config::App;
use crate::domain::id::AppName;
use crate::flow::intake::appointments::Asking;
use crate::flow::intake::{LoggedIn, Speaker};
use crate::flow::live::Live;
use crate::store::Reach;
use crate::wechat::LoginError;
use crate::wechat::push::{Query, Refused};

/// Logins of one address in a minute: a household or an office behind one address, not a crowd.
pub(super) const LOGINS_PER_MINUTE: u32 = 60;
/// Logins of one app in a second, so that a flood leaves the platform's quota of the app alone.
pub(super) const LOGINS_PER_SECOND: u32 = 20;
/// Reports of one session's person in a minute: more taps than that are no taps.
pub(super) const REPORTS_PER_MINUTE: u32 = 10;
const MINUTE: Duration = Duration::from_mins(1);
/// What stands before an appointment's kind and id.
const APPOINTMENTS: &str = "/v1/appointments/";
/// What stands before a recipient's openid.
const RECIPIENTS: &str = "/v1/recipients/";
/// What stands before the name of the app whose events come.
const WECHAT: &str = "/wechat/";
/// The platform ends a connection after 5 s without an answer, and sends the event again (消息推送).
const EVENT_ANSWER: Duration = Duration::from_secs(4);

/// A route of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    OpenApi,
    Login,
    Consents,
    Me,
    Ask,
    Appointment,
    Recipient,
    WeChat,
}

impl Route {
    const FIXED: [Self; 6] = [Self::Health, Self::OpenApi, Self::Login, Self::Consents, Self::Me, Self::Ask];

    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 9] = [
        Self::Health,
        Self::OpenApi,
        Self::Login,
        Self::Consents,
        Self::Me,
        Self::Ask,
        Self::Appointment,
        Self::Recipient,
        Self::WeChat,
    ];

    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::OpenApi => "/openapi.json",
            Self::Login => "/v1/login",
            Self::Consents => "/v1/consents",
            Self::Me => "/v1/me",
            Self::Ask => "/v1/ask",
            Self::Appointment => "/v1/appointments/{kind}/{id}",
            Self::Recipient => "/v1/recipients/{openid}",
            Self::WeChat => "/wechat/{app}",
        }
    }

    /// What it takes, as `Allow` says it.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::OpenApi | Self::Ask => "GET, HEAD",
            Self::Me => "GET, HEAD, DELETE",
            Self::WeChat => "GET, HEAD, POST",
            Self::Login | Self::Consents => "POST",
            Self::Appointment | Self::Recipient => "GET, HEAD, PUT, DELETE",
        }
    }

    pub(super) fn find(path: &str) -> Option<Self> {
        if path.starts_with(APPOINTMENTS) {
            return Some(Self::Appointment);
        }
        if path.starts_with(RECIPIENTS) {
            return Some(Self::Recipient);
        }
        if path.starts_with(WECHAT) {
            return Some(Self::WeChat);
        }
        Self::FIXED.into_iter().find(|route| route.pattern() == path)
    }
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Routes<B> {
    door: Door<B>,
    limits: Arc<Limits>,
    proxies: Proxies,
    seats: Seats,
    logins_by_address: Buckets,
    logins_by_app: Buckets,
    reports: Buckets,
}

/// A request, read whole.
#[derive(Debug)]
struct Read {
    head: hyper::http::request::Parts,
    body: hyper::body::Bytes,
    /// Whom it is of, behind his proxies.
    origin: IpAddr,
}

impl Read {
    fn signed(&self) -> Signed<'_> {
        Signed {
            method: self.head.method.as_str(),
            target: self.head.uri.path_and_query().map_or("/", |target| target.as_str()),
            body: &self.body,
        }
    }

    fn asked(&self) -> Asked {
        Asked::read(self.head.uri.query())
    }
}

impl<B: Books> Routes<B> {
    pub(super) fn new(door: Door<B>, limits: Arc<Limits>, (proxies, seats): (Proxies, Seats)) -> Self {
        Self {
            door,
            limits,
            proxies,
            seats,
            logins_by_address: Buckets::new(LOGINS_PER_MINUTE, MINUTE),
            logins_by_app: Buckets::new(LOGINS_PER_SECOND, Duration::from_secs(1)),
            reports: Buckets::new(REPORTS_PER_MINUTE, MINUTE),
        }
    }

    async fn route(
        &self,
        route: Option<Route>,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Problem> {
        let route = route.ok_or_else(Problem::no_route)?;
        let method = request.method().as_str();
        if !route.allow().split(", ").any(|allowed| allowed == method) {
            return Err(Problem::method(route.allow()));
        }
        let origin = self.proxies.origin(peer, request.headers());
        let carried = self.proxies.trust(peer) && !self.proxies.trust(origin);
        let seat = carried.then(|| self.seats.take_for_request(counted(origin)));
        let _until_answered = seat.map(|seat| seat.ok_or_else(Problem::address_connections)).transpose()?;
        let (head, body) = request.into_parts();
        let clock = &self.door.clock;
        let body = body::read(body, self.limits.body_bytes, self.limits.body, clock).await?;
        let read = Read { head, body, origin };
        let live = self.door.intake.live();
        let answer = async {
            match route {
                Route::Health => Ok(answer::healthy()),
                Route::OpenApi => Ok(answer::openapi()),
                Route::Login => self.login(&live, &read).await,
                Route::Consents => self.consents(&live, &read).await,
                Route::Me => self.me(&live, &read).await,
                Route::Ask => self.ask(&live, &read).await,
                Route::Appointment => self.appointment(&live, &read).await,
                Route::Recipient => self.recipient(&live, &read).await,
                Route::WeChat => self.wechat(&live, &read).await,
            }
        };
        let most = match route {
            Route::WeChat => self.limits.answer.min(EVENT_ANSWER),
            Route::Health
            | Route::OpenApi
            | Route::Login
            | Route::Consents
            | Route::Me
            | Route::Ask
            | Route::Appointment
            | Route::Recipient => self.limits.answer,
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = clock.sleep(most) => Err(Problem::no_answer()),
        }
    }

    async fn login(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        if !live.config.hook.login {
            return Err(Problem::no_route());
        }
        self.allow(&self.logins_by_address, counted(read.origin))?;
        let checks = self.checks(live);
        let app = checks.open_app(&read.asked())?;
        let code = shape::login(&read.body)?;
        self.allow(&self.logins_by_app, &app.name)?;
        let login = self.door.intake.login(&app.name, &code).await;
        let LoggedIn { openid, unionid, ask } = login.inspect_err(|error| log_login(&app.name, error))?;
        let lasts = TimeDelta::hours(live.config.hook.session_hours.into());
        // By the clock that dates erasures: a session ends with its person's.
        let session = Session::new(app.name.clone(), openid, self.door.clock.reckoned(), lasts)
            .of_person(unionid.as_ref(), &self.door.session_key);
        let text = session.seal(&app.appid, &self.door.session_key);
        let person = session.person(&app.appid, &self.door.session_key);
        Ok(answer::login(&text, &person, session.expires_at, &ask))
    }

    async fn consents(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let (identity, app, now) = self.speaker(live, read).await?;
        let (openid, speaker, report, arrived_at) = match identity {
            Identity::Session(session) => {
                // What is no report does not count as one.
                let report = shape::own_report(&read.body, &live.config.hook.session_fields)?;
                self.allow(&self.reports, (&app.name, &session.openid))?;
                (session.openid, Speaker::Session, report, now)
            }
            Identity::Backend(proof) => {
                let (openid, report) = shape::named_report(&read.body)?;
                // Its time is told in whole seconds: what comes before in the same one is no reason to refuse it.
                let signed_by = proof.signed_at + TimeDelta::milliseconds(999);
                (openid, Speaker::Backend, report, now.min(signed_by))
            }
        };
        let id = report.id.clone();
        let out = self.door.intake.report(&app.name, &openid, speaker, report, arrived_at).await?;
        Ok(answer::consents(&id, &out))
    }

    async fn me(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let checks = self.checks(live);
        let identity = checks.identify(&read.head.headers, &read.signed())?;
        // A backend is nobody's self.
        let Identity::Session(session) = &identity else { return Err(Problem::identity()) };
        let app = checks.app(&identity, &read.asked())?;
        self.still_there(app, session).await?;
        if read.head.method == Method::DELETE {
            let reach = match shape::asked_apps(read.head.uri.query())? {
                Apps::This => Reach::This,
                Apps::All => self.everywhere(app, session).await?,
            };
            self.door.intake.erase(&app.name, &session.openid, reach, None).await?;
            return Ok(answer::erased());
        }
        Ok(answer::me(&self.door.intake.me(&app.name, &session.openid).await?))
    }

    /// How far a person reaches by his own word. What his record says may be a backend's: only who the platform said he is,
    /// he is in all apps.
    async fn everywhere(&self, app: &App, session: &Session) -> Result<Reach, Problem> {
        let unionids = self.door.intake.unionids_of(&app.name, &session.openid).await?;
        let proved = unionids.into_iter().find(|unionid| session.proves(unionid, &self.door.session_key));
        match proved {
            Some(unionid) => Ok(Reach::Proved(unionid)),
            None if session.knows_person() => {
                // It proves who he is, and nobody here knows that name any more: his next login tells it.
                Err(Problem::identity())
            }
            None => Ok(Reach::This),
        }
    }

    async fn ask(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let (identity, app, _now) = self.speaker(live, read).await?;
        let named = shape::asked_openid(read.head.uri.query())?;
        let openid = match (identity, named) {
            (Identity::Session(session), None) => session.openid,
            (Identity::Session(_), Some(_)) => return Err(Problem::not_for_sessions("openid")),
            (Identity::Backend(_), Some(openid)) => openid,
            (Identity::Backend(_), None) => return Err(Problem::malformed("`?openid=` is missing")),
        };
        Ok(answer::ask(&self.door.intake.ask_for(&app.name, &openid).await?))
    }

    async fn recipient(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let (identity, app, now) = self.speaker(live, read).await?;
        // A session reads itself at `/v1/me`, and names nobody.
        let Identity::Backend(proof) = &identity else { return Err(Problem::identity()) };
        let path = read.head.uri.path();
        let openid = shape::openid_in(path.strip_prefix(RECIPIENTS).unwrap_or(path))?;
        let asking = Asking { id: &proof.id, at: now };
        let intake = &self.door.intake;
        // A key reaches as far as its apps.
        let of_key = || proof.apps.iter().filter_map(|name| Some(live.app(Some(name))?.appid.clone()));
        let reach = || match shape::asked_apps(read.head.uri.query())? {
            Apps::This => Ok(Reach::This),
            Apps::All => Ok::<_, Problem>(Reach::Apps(of_key().collect())),
        };
        if read.head.method == Method::DELETE {
            intake.erase(&app.name, &openid, reach()?, Some(asking)).await?;
            return Ok(answer::erased());
        }
        if read.head.method == Method::PUT {
            let to = (shape::profile(&read.body)?, reach()?);
            intake.put_recipient(&app.name, &openid, to, asking).await?;
        }
        Ok(answer::recipient(&openid, &intake.recipient(&app.name, &openid).await?))
    }

    async fn appointment(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let (identity, app, now) = self.speaker(live, read).await?;
        // Appointments are a backend's: a session has none to put.
        let Identity::Backend(proof) = &identity else { return Err(Problem::identity()) };
        let path = read.head.uri.path();
        let (kind, id) = shape::appointment_name(path.strip_prefix(APPOINTMENTS).unwrap_or(path))?;
        let (name, asking) = ((kind.clone(), id.clone()), Asking { id: &proof.id, at: now });
        let intake = &self.door.intake;
        let stands = if read.head.method == Method::PUT {
            let to = shape::appointment(&read.body)?;
            intake.change_appointment(&app.name, name, Some(to.clone()), asking).await?;
            Some(to)
        } else if read.head.method == Method::DELETE {
            intake.change_appointment(&app.name, name, None, asking).await?;
            None
        } else {
            Some(intake.appointment(&app.name, name).await?)
        };
        Ok(answer::appointment((&kind, &id), stands.as_ref()))
    }

    /// The platform tries the address, or tells something; durable before it is answered `success`.
    async fn wechat(&self, live: &Live, read: &Read) -> Result<Answer, Problem> {
        let path = read.head.uri.path();
        let name = AppName::parse(path.strip_prefix(WECHAT).unwrap_or(path)).ok();
        let app = live.app(name.as_ref()).filter(|_| name.is_some()).ok_or_else(Problem::no_route)?;
        let keys = live.pushes.get(&app.name).ok_or_else(Problem::no_route)?;
        let (query, now) = (Query::read(read.head.uri.query()), self.door.clock.now());
        if read.head.method != Method::POST {
            return Ok(answer::text(keys.verify(&query, now)?));
        }
        let event = keys.open(&app.appid, &query, &read.body, now).inspect_err(|refused| {
            // Anybody may ask, so only what has the platform's signature is worth a line.
            match refused {
                Refused::NotGenuine => {
                    debug!(app = %app.name, "An event for app {} was refused: {refused}", app.name);
                }
                Refused::NotEncrypted
                | Refused::NoAesKey
                | Refused::WrongAesKey
                | Refused::OtherApp
                | Refused::Unreadable => {
                    warn!(app = %app.name, "An event for app {} was refused: {refused}", app.name);
                }
            }
        })?;
        self.door.intake.event(&app.name, event).await?;
        Ok(answer::text("success".to_owned()))
    }

    /// Who speaks, to which app, and when: by a clock that nobody believes a grant could be older than a refusal, and dead.
    async fn speaker<'a>(
        &'a self,
        live: &'a Live,
        read: &Read,
    ) -> Result<(Identity, &'a App, DateTime<Utc>), Problem> {
        let checks = self.checks(live);
        let identity = checks.identify(&read.head.headers, &read.signed())?;
        let app = checks.app(&identity, &read.asked())?;
        match &identity {
            Identity::Session(session) => self.still_there(app, session).await?,
            Identity::Backend(_) => {}
        }
        Ok((identity, app, checks.reckoned))
    }

    /// A session of somebody who was erased since is none any more.
    async fn still_there(&self, app: &App, session: &Session) -> Result<(), Problem> {
        let erased = self.door.intake.is_erased_since(&app.name, &session.openid, session.issued_at).await?;
        if erased { Err(Problem::identity()) } else { Ok(()) }
    }

    fn checks<'a>(&'a self, live: &'a Live) -> Checks<'a> {
        let Door { keys, session_key, clock, .. } = &self.door;
        Checks { live, keys, session_key, now: clock.now(), reckoned: clock.reckoned() }
    }

    fn allow(&self, buckets: &Buckets, key: impl std::hash::Hash) -> Result<(), Problem> {
        buckets.take(key, self.door.clock.elapsed()).map_err(|wait| {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
            Problem::rate(seconds.saturating_add(1))
        })
    }
}

impl<B: Books> Answers for Routes<B> {
    async fn answer(self: &Arc<Self>, peer: IpAddr, request: Request<Incoming>) -> Answer {
        let began = self.door.clock.elapsed();
        let route = Route::find(request.uri().path());
        let pattern = route.map_or("(none)", Route::pattern);
        let method = known(request.method());
        let answer = self.route(route, peer, request).await.unwrap_or_else(|problem| problem.answer());
        let status = answer.status();
        let took_us = self.door.clock.elapsed().saturating_sub(began).as_micros();
        if status.is_server_error() {
            info!(
                http.method = method,
                http.route = pattern,
                http.status = status.as_u16(),
                took_us,
                "{method} {pattern} answered {status}"
            );
        } else {
            debug!(
                http.method = method,
                http.route = pattern,
                http.status = status.as_u16(),
                took_us,
                "{method} {pattern} answered {status}"
            );
        }
        answer
    }
}

/// A method for the log: others than these are text that somebody made up.
fn known(method: &Method) -> &'static str {
    let all = [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS];
    let names = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"];
    all.iter().zip(names).find_map(|(known, name)| (known == method).then_some(name)).unwrap_or("(other)")
}

/// A login that fails by the person is his affair; one that fails by the app is the operator's.
fn log_login(app: &AppName, error: &LoginError) {
    match error {
        LoginError::BadCode | LoginError::RiskyUser | LoginError::TooFrequent => {}
        LoginError::Unavailable => info!(%app, "A login to {app} got no answer from the platform"),
        // The store tells of itself.
        LoginError::Store => {}
        LoginError::App { errcode } => {
            warn!(%app, wechat.errcode = errcode, "The platform refuses logins to {app}");
        }
    }
}
