//! Every refusal that the document lists at an operation is given by it, to a request that asks for no other.

use super::openapi::operations::{self, Operation, Who};
use super::problem::Refusal;
use super::routes::Route;
use super::*;

/// A request of an operation that is well, and how to make it ill.
struct Request {
    method: &'static str,
    target: String,
    who: Who,
    body: String,
}

fn good(operation: &Operation) -> Request {
    let example = operation.body.as_ref().map(|(_, examples)| examples.last().unwrap().1.to_string());
    let path = operation
        .route
        .pattern()
        .replace("{openid}", OPENID)
        .replace("{kind}", "visit")
        .replace("{id}", "A17");
    let who = if operation.who == Who::Both { Who::Backend } else { operation.who };
    let asks = operation.id == "ask" && who == Who::Backend;
    if operation.route == Route::WeChat {
        let target = format!("/wechat/clinic?{}&echostr=7", events::signed(start().timestamp()));
        let body = if operation.method == "POST" { events::REFUSAL } else { "" };
        return Request { method: operation.method, target, who, body: body.into() };
    }
    let target = format!("{path}?app=clinic{}", if asks { "&openid=oSECRETSECRET" } else { "" });
    let body =
        if operation.id == "login" { r#"{"code":"CODESECRET"}"#.into() } else { example.unwrap_or_default() };
    Request { method: operation.method, target, who, body }
}

impl Request {
    fn unnamed(mut self) -> Self {
        self.target = self.target.replace("app=clinic", "x=1");
        self
    }

    fn to(mut self, from: &str, to: &str) -> Self {
        self.target = self.target.replace(from, to);
        self
    }

    fn saying(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// Its request line and headers.
    async fn head(&self, world: &World, id: &str) -> String {
        let Self { method, target, .. } = self;
        match self.who {
            Who::Anyone => format!("{method} {target}"),
            Who::Session => format!("{method} {target}\nauthorization: Bearer {}", world.session().await),
            Who::Backend | Who::Both => {
                let at = world.clock.now().timestamp();
                let signature = signature::sign(&key().secret, id, at, method, target, self.body.as_bytes());
                format!(
                    "{method} {target}\nwebhook-id: {id}\nwebhook-timestamp: {at}\nwebhook-signature: {signature}"
                )
            }
        }
    }

    async fn send(&self, world: &World) -> Reply {
        world.ask(&self.head(world, "m1").await, &self.body).await
    }

    /// Sends only the beginning of a body that is said to be `length` bytes.
    async fn begin(&self, world: &World, length: usize) -> TcpStream {
        let mut stream = world.connect().await;
        let head = self.head(world, "m1").await.replacen('\n', " HTTP/1.1\n", 1).replace('\n', "\r\n");
        let first = if head.contains("\r\n") { "" } else { " HTTP/1.1" };
        let text = format!("{head}{first}\r\ncontent-length: {length}\r\n\r\n{{");
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

/// What an operation answers where this refusal is due.
async fn provoked(operation: &Operation, refusal: Refusal) -> Reply {
    let world = World::new(&["clinic"], Options::default());
    let flow = &world.flow;
    let good = good(operation);
    match refusal {
        Refusal::BrokenBody => {
            let mut stream = good.begin(&world, 20).await;
            stream.shutdown().await.unwrap();
            answer(&mut stream).await
        }
        Refusal::SlowBody => {
            let mut stream = good.begin(&world, 20).await;
            let (clock, mut first) = (world.clock.clone(), [0]);
            within(async {
                while tokio::time::timeout(Duration::from_millis(20), stream.peek(&mut first)).await.is_err()
                {
                    clock.advance(Duration::from_secs(1));
                }
            })
            .await;
            answer(&mut stream).await
        }
        Refusal::TooLargeBody => answer(&mut good.begin(&world, 65_537).await).await,
        Refusal::AddressConnections | Refusal::AllConnections => {
            let mut few = Limits::default();
            if refusal == Refusal::AllConnections {
                few.connections = 1;
            } else {
                few.per_address = 1;
            }
            let options = Options { limits: few, trusted_proxies: Some(Vec::new()) };
            let world = World::new(&["clinic"], options);
            let mut first = world.connect().await;
            assert_eq!(ask(&mut first, "GET /healthz", "").await.status, 200);
            answer(&mut world.connect().await).await
        }
        Refusal::Identity => good.by(Who::Anyone).send(&world).await,
        Refusal::UnknownApp => {
            let world = World::new(&["clinic", "school"], Options::default());
            good.unnamed().send(&world).await
        }
        Refusal::Unavailable => {
            *flow.down.lock().unwrap() = true;
            *flow.refuses.lock().unwrap() = Some(ReportError::Unavailable(Unavailable));
            if operation.id == "login" {
                return no_answer(&world, &good).await;
            }
            let who = good.who;
            // A session was had before.
            *flow.down.lock().unwrap() = who != Who::Session;
            let head = good.head(&world, "m1").await;
            *flow.down.lock().unwrap() = true;
            world.ask(&head, &good.body).await
        }
        Refusal::NotJson => good.saying("{").send(&world).await,
        Refusal::Malformed => match operation.id {
            "ask" => good.to("&openid=oSECRETSECRET", "").send(&world).await,
            "recipient" | "eraseRecipient" => good.to(OPENID, "short").send(&world).await,
            "eraseMe" => good.to("?app=clinic", "?app=clinic&apps=some").send(&world).await,
            "appointment" | "deleteAppointment" => good.to("visit", "Visit").send(&world).await,
            _ => good.saying("[]").send(&world).await,
        },
        Refusal::NotForSessions => {
            let body = good.body.clone();
            let request = good.by(Who::Session);
            request.saying(&body).send(&world).await
        }
        Refusal::NotFound => match operation.id {
            "login" => {
                let mut closed = live(&["clinic"]);
                closed.config.hook.login = false;
                *flow.live.lock().unwrap() = Arc::new(closed);
                good.send(&world).await
            }
            "push" | "verifyPush" => good.to("clinic", "nobody").send(&world).await,
            "recipient" | "putRecipient" => good.to(OPENID, "oNOBODYATALL").send(&world).await,
            _ => good.to("A17", "none").send(&world).await,
        },
        Refusal::UnknownAppointment => {
            *flow.refuses.lock().unwrap() = Some(ReportError::UnknownAppointment);
            good.send(&world).await
        }
        Refusal::Conflict => {
            *flow.refuses.lock().unwrap() = Some(ReportError::Conflict);
            good.send(&world).await
        }
        Refusal::TooLarge => match operation.id {
            "putRecipient" => good.saying(r#"{"ref":"large"}"#).send(&world).await,
            "putAppointment" => good.to("A17", "large").send(&world).await,
            _ => {
                *flow.refuses.lock().unwrap() = Some(ReportError::TooLarge);
                good.send(&world).await
            }
        },
        Refusal::RefTaken => good.saying(r#"{"ref":"taken"}"#).send(&world).await,
        Refusal::Replayed => {
            assert_eq!(good.send(&world).await.status, 200);
            good.send(&world).await
        }
        Refusal::Rate => {
            let request = match operation.id {
                "login" => good,
                _ => good.by(Who::Session).saying(r#"{"report":"r1","results":{}}"#),
            };
            let head = request.head(&world, "m1").await;
            loop {
                let reply = world.ask(&head, &request.body).await;
                if reply.status != 200 {
                    return reply;
                }
            }
        }
        Refusal::NotGenuine => good.to("nonce=n1", "nonce=n2").send(&world).await,
        Refusal::UnreadableEvent => {
            // Encrypted, and this app has no key.
            let keys = push::Keys::new("remindtoken".to_owned().into(), None, push::Plain::Refused).unwrap();
            let pushes = [(AppName::parse("clinic").unwrap(), keys)].into();
            *flow.live.lock().unwrap() = Arc::new(Live { pushes, ..live(&["clinic"]) });
            let signature = events::signature(world.clock.now().timestamp(), "AAAA");
            let more = format!("?msg_signature={signature}&");
            good.to("?", &more).saying(r#"{"Encrypt":"AAAA"}"#).send(&world).await
        }
        Refusal::BadCode => login_refused(&world, &good, LoginError::BadCode).await,
        Refusal::RiskyUser => login_refused(&world, &good, LoginError::RiskyUser).await,
        Refusal::Platform => login_refused(&world, &good, LoginError::Unavailable).await,
        Refusal::Method => panic!("of no operation"),
    }
}

async fn login_refused(world: &World, request: &Request, error: LoginError) -> Reply {
    *world.flow.login.lock().unwrap() = Err(error);
    request.send(world).await
}

/// What comes when the flow says nothing.
async fn no_answer(world: &World, request: &Request) -> Reply {
    let head = request.head(world, "m1").await;
    let asked = world.ask(&head, &request.body);
    world.flow.gate.forget_permits(1);
    let late = async {
        until(|| *world.flow.n_waiting.lock().unwrap() == 1).await;
        world.clock.advance(Duration::from_secs(30));
    };
    tokio::join!(asked, late).0
}

#[tokio::test]
async fn every_answer_of_the_document_is_given() {
    for operation in operations::all() {
        let world = World::new(&["clinic"], Options::default());
        let reply = good(&operation).send(&world).await;
        assert_eq!(reply.status, 200, "{}: {reply:?}", operation.id);
        for refusal in &operation.refusals {
            let reply = provoked(&operation, *refusal).await;
            let (status, code, _) = refusal.row();
            assert_eq!(
                (reply.status, reply.problem().as_str()),
                (status.as_u16(), code),
                "{} {refusal:?}: {reply:?}",
                operation.id
            );
        }
    }
}

#[tokio::test]
async fn the_document_is_served_as_it_is_committed() {
    let world = World::new(&["clinic"], Options::default());
    let reply = world.ask("GET /openapi.json", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, openapi::DOCUMENT));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}
