//! The door as its callers see it: real sockets, a clock moved by hand, a flow that only notes what it gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::*;
use crate::domain::config::{Admin, App, Config, ConsentsFrom, Hook, ReloadMode, RuleSet, SecretSource};
use crate::domain::id::{AppId, FieldName, KeyName, Ref, RuleId, Tag};
use crate::domain::recipient::FieldValue;
use crate::domain::zone::Zone;
use crate::flow::intake::{Ignored, Said, Subject, Upcoming};
use crate::wechat::push;

mod abuse;
mod callers;
mod documented;
mod events;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OPENID: &str = "oSECRETSECRET";
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn app(name: &str) -> App {
    App {
        proxy: None,
        name: AppName::parse(name).unwrap(),
        appid: AppId::parse(&format!("wx0123456789{name}")).unwrap(),
        secret: SecretSource::Env("NONE".into()),
        state: "formal".into(),
        lang: "zh_CN".into(),
        in_flight: 1,
        per_second: None,
        quota_probe: false,
        templates: BTreeMap::new(),
        base_url: String::new(),
        push: None,
        consents_from: ConsentsFrom::Reports,
    }
}

fn live(apps: &[&str]) -> Live {
    let config = Config {
        apps: apps.iter().map(|name| (AppName::parse(name).unwrap(), app(name))).collect(),
        zone: Zone::SHANGHAI,
        schedules: "schedules".into(),
        store: "store".into(),
        hook: Hook {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: Vec::new(),
            session_fields: vec![FieldName::parse("city").unwrap()],
            login: true,
            session_hours: 2,
            trusted_proxies: None,
        },
        admin: Admin { socket: "admin.sock".into() },
        reload: ReloadMode::Manual,
    };
    Live {
        generation: 1,
        at: start(),
        config,
        rules: RuleSet::default(),
        clients: BTreeMap::new(),
        pushes: pushes(apps),
        sources: std::collections::BTreeMap::new(),
    }
}

/// The keys of events, of the app `clinic`.
fn pushes(apps: &[&str]) -> BTreeMap<AppName, push::Keys> {
    let clinic = AppName::parse("clinic").unwrap();
    if !apps.contains(&"clinic") {
        return BTreeMap::new();
    }
    let key = push::AesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
    let keys = push::Keys::new("remindtoken".to_owned().into(), Some(key), push::Plain::Allowed).unwrap();
    [(clinic, keys)].into()
}

/// A flow that notes what it gets and answers what it is told.
#[derive(Debug)]
struct Flow {
    live: Mutex<Arc<Live>>,
    said: Mutex<Vec<String>>,
    refuses: Mutex<Option<ReportError>>,
    /// The unionids that he may have: in his record, and of a login.
    unionids: Mutex<Vec<&'static str>>,
    /// The one that a login tells.
    tells: Mutex<Option<&'static str>>,
    /// Nothing can be promised.
    down: Mutex<bool>,
    login: Mutex<Result<(), LoginError>>,
    /// A report waits for one of these; closed, it waits for nothing.
    gate: Semaphore,
    n_waiting: Mutex<usize>,
}

impl Books for Arc<Flow> {
    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.lock().unwrap())
    }

    async fn report(
        &self,
        app: &AppName,
        openid: &OpenId,
        speaker: Speaker,
        report: ReportIn,
        arrived_at: DateTime<Utc>,
    ) -> Result<ReportOut, ReportError> {
        *self.n_waiting.lock().unwrap() += 1;
        let _turn = self.gate.acquire().await;
        if let Some(error) = *self.refuses.lock().unwrap() {
            return Err(error);
        }
        let age_s = (arrived_at - start()).num_seconds();
        let Said::Results(results) = report.said else { panic!("only results are sent here") };
        let said = format!("{app} {} {speaker:?} {} at {age_s}", openid.as_str(), report.id);
        let duplicate = self.said.lock().unwrap().contains(&said);
        self.said.lock().unwrap().push(said);
        let ignored = results.iter().filter(|(_, status)| *status != "accept");
        Ok(ReportOut {
            balances: [(TemplateId::parse("T").unwrap(), 3)].into(),
            ask: vec![TemplateId::parse("T2").unwrap()],
            ignored: ignored
                .map(|(t, s)| Ignored { template: t.clone(), status: s.clone(), why: "unknown_status" })
                .collect(),
            duplicate,
        })
    }

    async fn change_appointment(
        &self,
        app: &AppName,
        (kind, id): (Kind, AppointmentId),
        to: Option<Appointment>,
        asking: Asking<'_>,
    ) -> Result<(), AppointmentError> {
        self.up()?;
        let mut said = self.said.lock().unwrap();
        let what =
            to.as_ref().map_or("gone".to_owned(), |to| format!("{} for {}", to.at, to.recipients.len()));
        let line = format!("{app} {kind}/{id} {what} by {}", asking.id);
        if said.iter().any(|before| before.ends_with(&format!("by {}", asking.id))) {
            return Err(AppointmentError::Replayed);
        }
        said.push(line);
        match id.as_str() {
            "none" if to.is_none() => Err(AppointmentError::Unknown),
            "large" => Err(AppointmentError::TooLarge),
            _ => Ok(()),
        }
    }

    async fn appointment(
        &self,
        _app: &AppName,
        (_kind, id): (Kind, AppointmentId),
    ) -> Result<Appointment, AppointmentError> {
        self.up()?;
        let recipients = [OpenId::parse(OPENID).unwrap()].into();
        let text = FieldValue::Text("李".into());
        let fields = [(FieldName::parse("doctor").unwrap(), text)].into();
        let stands = Appointment { recipients, at: start(), fields };
        (id.as_str() == "A17").then_some(stands).ok_or(AppointmentError::Unknown)
    }

    async fn is_erased_since(
        &self,
        app: &AppName,
        openid: &OpenId,
        then: DateTime<Utc>,
    ) -> Result<bool, Unavailable> {
        let (erased, by) = (format!("{app} forget {} in ", openid.as_str()), "by himself");
        let said = self.said.lock().unwrap();
        Ok(said.iter().any(|what| what.starts_with(&erased) && what.ends_with(by)) && then <= start())
    }

    async fn event(&self, app: &AppName, event: Event) -> Result<(), Unavailable> {
        *self.n_waiting.lock().unwrap() += 1;
        let _turn = self.gate.acquire().await;
        if self.refuses.lock().unwrap().is_some() {
            return Err(Unavailable);
        }
        self.said.lock().unwrap().push(format!("{app} {event:?}"));
        Ok(())
    }

    async fn unionids_of(&self, _app: &AppName, _openid: &OpenId) -> Result<Vec<UnionId>, Unavailable> {
        self.up()?;
        Ok(self.unionids.lock().unwrap().iter().map(|unionid| UnionId::parse(unionid).unwrap()).collect())
    }

    async fn login(&self, _app: &AppName, code: &str) -> Result<LoggedIn, LoginError> {
        if *self.down.lock().unwrap() {
            *self.n_waiting.lock().unwrap() += 1;
            let _turn = self.gate.acquire().await;
        }
        self.login.lock().unwrap().clone()?;
        assert_eq!(code, "CODESECRET");
        Ok(LoggedIn {
            openid: OpenId::parse(OPENID).unwrap(),
            unionid: self.tells.lock().unwrap().map(|unionid| UnionId::parse(unionid).unwrap()),
            ask: vec![TemplateId::parse("T").unwrap()],
        })
    }

    async fn ask_for(&self, app: &AppName, openid: &OpenId) -> Result<Vec<TemplateId>, Unavailable> {
        self.up()?;
        self.said.lock().unwrap().push(format!("{app} what to ask {}", openid.as_str()));
        Ok(vec![TemplateId::parse("T").unwrap()])
    }

    async fn recipient(&self, app: &AppName, openid: &OpenId) -> Result<Person, RecipientError> {
        if openid.as_str() == OPENID { Ok(self.me(app, openid).await?) } else { Err(RecipientError::Unknown) }
    }

    async fn put_recipient(
        &self,
        app: &AppName,
        openid: &OpenId,
        (profile, reach): (Profile, Reach),
        asking: Asking<'_>,
    ) -> Result<(), RecipientError> {
        match profile.reference.as_ref().map(Ref::as_str) {
            Some("taken") => return Err(RecipientError::RefTaken),
            Some("large") => return Err(RecipientError::TooLarge),
            Some(_) | None => {}
        }
        self.once(&format!("{app} {} in {reach:?} is {profile:?}", openid.as_str()), Some(asking))
    }

    async fn erase(
        &self,
        app: &AppName,
        openid: &OpenId,
        reach: Reach,
        asking: Option<Asking<'_>>,
    ) -> Result<(), RecipientError> {
        self.once(&format!("{app} forget {} in {reach:?}", openid.as_str()), asking)
    }

    async fn me(&self, _app: &AppName, openid: &OpenId) -> Result<Person, Unavailable> {
        self.up()?;
        assert_eq!(openid.as_str(), OPENID);
        let text = FieldValue::Text("京".into());
        let (kind, id) = (Kind::parse("visit").unwrap(), AppointmentId::parse("A17").unwrap());
        let visit = Subject { kind, id, at: start() };
        let upcoming = |about: Option<Subject>| Upcoming {
            rule: RuleId::parse(if about.is_some() { "visit" } else { "drink" }).unwrap(),
            template: TemplateId::parse("T").unwrap(),
            due_at: start(),
            about,
        };
        Ok(Person {
            profile: Profile {
                unionid: Some(UnionId::parse("uSECRETSECRET").unwrap()),
                reference: Some(Ref::parse("patient 7").unwrap()),
                tags: [Tag::parse("vip").unwrap()].into(),
                fields: [(FieldName::parse("city").unwrap(), text)].into(),
                time_zone: Some(Zone::SHANGHAI),
                muted: false,
            },
            balances: [(TemplateId::parse("T").unwrap(), 1)].into(),
            manners: BTreeMap::new(),
            upcoming: [None, Some(visit)].map(upcoming).to_vec(),
        })
    }
}

impl Flow {
    fn up(&self) -> Result<(), Unavailable> {
        if *self.down.lock().unwrap() { Err(Unavailable) } else { Ok(()) }
    }

    /// Notes what a request does; done again it is refused.
    fn once(&self, what: &str, asking: Option<Asking<'_>>) -> Result<(), RecipientError> {
        self.up()?;
        let mut said = self.said.lock().unwrap();
        let by = asking.map_or_else(|| "by himself".to_owned(), |asking| format!("by {}", asking.id));
        if asking.is_some() && said.iter().any(|before| before.ends_with(&by)) {
            return Err(RecipientError::Replayed);
        }
        said.push(format!("{what} {by}"));
        Ok(())
    }
}

/// A door that stands open, and the hands that move its world.
struct World {
    at: SocketAddr,
    clock: Clock,
    flow: Arc<Flow>,
    keys: Keys,
    stop: Option<oneshot::Sender<()>>,
    served: JoinSet<()>,
}

/// A key of a backend of the app `clinic`.
fn key() -> Key {
    Key {
        id: KeyName::parse("backend").unwrap(),
        secret: Secret::parse(SECRET).unwrap(),
        apps: vec![AppName::parse("clinic").unwrap()],
    }
}

impl World {
    fn new(apps: &[&str], options: Options) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Small, so that an answer nobody reads is soon felt; accepted sockets inherit it.
        socket.set_send_buffer_size(4096).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self::on(socket.listen(1024).unwrap(), apps, options)
    }

    fn on(listener: TcpListener, apps: &[&str], options: Options) -> Self {
        let flow = Arc::new(Flow {
            live: Mutex::new(Arc::new(live(apps))),
            said: Mutex::default(),
            refuses: Mutex::default(),
            unionids: Mutex::new(vec!["uSECRETSECRET"]),
            tells: Mutex::new(Some("uSECRETSECRET")),
            down: Mutex::default(),
            login: Mutex::new(Ok(())),
            gate: Semaphore::new(1),
            n_waiting: Mutex::default(),
        });
        let clock = Clock::by_hand(start());
        let keys = Keys::new(vec![key()]);
        let door = Door {
            intake: Arc::clone(&flow),
            keys: keys.clone(),
            session_key: SessionKey::new([7; 32]),
            clock: clock.clone(),
        };
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mut served = JoinSet::new();
        served.spawn(serve(listener, options, door, async move {
            let _stopped = stopped.await;
        }));
        Self { at, clock, flow, keys, stop: Some(stop), served }
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.at)).await.unwrap()
    }

    /// Sends a request on a connection of its own.
    async fn ask(&self, head: &str, body: &str) -> Reply {
        let mut stream = self.connect().await;
        ask(&mut stream, head, body).await
    }

    /// Sends a request that `SECRET` signed `age_s` seconds ago.
    async fn signed(&self, method: &str, target: &str, body: &str, age_s: i64) -> Reply {
        let at = self.clock.now().timestamp() - age_s;
        let signature = signature::sign(&key().secret, "m1", at, method, target, body.as_bytes());
        let head = format!(
            "{method} {target}\nwebhook-id: m1\nwebhook-timestamp: {at}\nwebhook-signature: {signature}"
        );
        self.ask(&head, body).await
    }

    /// A session for the app `clinic`.
    async fn session(&self) -> String {
        let reply = self.ask("POST /v1/login?app=clinic", r#"{"code":"CODESECRET"}"#).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["session"].as_str().unwrap().to_owned()
    }

    fn said(&self) -> Vec<String> {
        self.flow.said.lock().unwrap().clone()
    }
}

/// Waits for what must come.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came")
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The code of the problem document that this must be.
    fn problem(&self) -> String {
        let json = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(json["status"], self.status, "{self:?}");
        for key in ["type", "title", "detail"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {self:?}");
        }
        assert!(!self.body.contains("SECRET") && !self.body.contains("whsec"), "{self:?}");
        json["code"].as_str().unwrap().to_owned()
    }
}

/// Sends `METHOD target` and the header lines after it, with `body`, and reads the answer.
async fn ask(stream: &mut TcpStream, head: &str, body: &str) -> Reply {
    let (request, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{request} HTTP/1.1\r\nhost: door\r\ncontent-length: {}\r\n", body.len());
    for line in headers.lines() {
        text += line;
        text += "\r\n";
    }
    text += "\r\n";
    text += body;
    within(stream.write_all(text.as_bytes())).await.unwrap();
    let reply = if request.starts_with("HEAD ") { reply(stream, 0).await } else { answer(stream).await };
    let (method, target) = request.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap();
    let undocumented = openapi::tests::undocumented((method, path), reply.status, &reply.head, &reply.body);
    assert_eq!(undocumented, None, "docs/openapi.json, {request}: {reply:?}");
    reply
}

async fn answer(stream: &mut TcpStream) -> Reply {
    reply(stream, usize::MAX).await
}

async fn reply(stream: &mut TcpStream, most_body: usize) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.expect("an answer"));
    }
    let head = String::from_utf8(head).unwrap();
    let mut reply = Reply { status: head.get(9..12).unwrap().parse().unwrap(), head, body: String::new() };
    let length: usize = reply.header("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length.min(most_body)];
    within(stream.read_exact(&mut body)).await.unwrap();
    reply.body = String::from_utf8(body).unwrap();
    reply
}

/// Waits for `done` by looking.
async fn until(mut done: impl FnMut() -> bool) {
    within(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
