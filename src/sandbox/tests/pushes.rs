//! Events on their way: what is told of what happens, how often it is tried, and what faults make of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::sandbox::push::{Form, Mode};
use crate::sandbox::{Answer, Api, Fault, Keep, Push, Pushes, What};

const SENT: &str = "subscribe_msg_sent_event";

/// What a receiver does with a push.
#[derive(Clone, Copy, Debug)]
enum Does {
    Takes(&'static str),
    Fails,
    Keeps,
}

/// Somebody who is told, and says `success` unless told otherwise.
struct Receiver {
    at: SocketAddr,
    seen: watch::Receiver<Vec<String>>,
    does: Arc<Mutex<VecDeque<Does>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (told, seen) = watch::channel(Vec::new());
        let does: Arc<Mutex<VecDeque<Does>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let next = Arc::clone(&does);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (told, next) = (told.clone(), Arc::clone(&next));
                open.spawn(async move {
                    let mut text = Vec::new();
                    while !is_whole(&text) {
                        let mut piece = [0; 4096];
                        let n = stream.read(&mut piece).await.unwrap();
                        text.extend_from_slice(&piece[..n]);
                    }
                    let text = String::from_utf8(text).unwrap();
                    let does = next.lock().unwrap().pop_front().unwrap_or(Does::Takes("success"));
                    let echo =
                        text.split_once("echostr=").and_then(|(_, rest)| rest.split([' ', '&']).next());
                    let (status, body) = match (does, echo) {
                        (Does::Takes("success"), Some(echo)) => (200, echo),
                        (Does::Takes(body), _) => (200, body),
                        (Does::Fails, _) => (503, "no"),
                        (Does::Keeps, _) => (0, ""),
                    };
                    told.send_modify(|seen| seen.push(text.clone()));
                    if status == 0 {
                        std::future::pending::<()>().await;
                    }
                    let length = body.len();
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        Self { at, seen, does, _tasks: tasks }
    }

    fn will(&self, does: impl IntoIterator<Item = Does>) {
        self.does.lock().unwrap().extend(does);
    }

    /// The bodies of all pushes so far.
    fn bodies(&self) -> Vec<Value> {
        let body =
            |text: &String| text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        self.seen.borrow().iter().filter_map(body).collect()
    }

    fn push(&self) -> Push {
        Push {
            url: format!("http://{}/wechat/clinic", self.at),
            token: "some-token".into(),
            aes_key: String::new(),
            mode: Mode::Plain,
            form: Form::JsonOfOne,
        }
    }
}

fn is_whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

async fn listening() -> (World, Receiver) {
    let (world, receiver) = (World::new().await, Receiver::new().await);
    world.platform.set_push(APP, Some(&receiver.push())).unwrap();
    (world, receiver)
}

impl World {
    /// Waits until all that was told is at its end.
    async fn told(&self) -> Pushes {
        self.until("all told", |p| p.pushes().under_way == 0).await;
        self.platform.pushes()
    }

    fn tap(&self, answer: Answer, keep: Keep) {
        self.platform.tap(APP, ANNA, WATER, answer, keep).unwrap();
    }
}

#[tokio::test]
async fn what_happens_is_told() {
    let (mut world, receiver) = listening().await;
    world.tap(Answer::Accept, Keep::Always);
    world.told().await;
    world.tap(Answer::Reject, Keep::Once); // silently accepted: no panel, no event
    assert_eq!(world.client.send(&message(ANNA)).await.0, 0);
    world.told().await;
    let msgid = world.platform.cards(ANNA)[0].msgid;
    world.platform.revoke(APP, ANNA, WATER).unwrap();
    world.told().await;
    assert_eq!(world.client.send(&message(ANNA)).await.0, 43101, "what is refused has no receipt");
    world.grant(ANNA, 3);
    world.platform.leave(APP, ANNA).unwrap();
    world.told().await;
    assert_eq!((world.left(ANNA), world.platform.cards(ANNA)[0].receipt), (0, Some(0)));
    world.platform.punish(APP, 2, "{}");
    world.platform.leave("wxOTHER", BERT).unwrap();
    let counts = Pushes { told: 5, tries: 5, taken: 5, ..Pushes::default() };
    assert_eq!(world.told().await, counts, "and an app without a receiver tells nobody");
    let told = |from: &str, event: &str| {
        json!({"ToUserName": "gh_sandbox", "FromUserName": from, "CreateTime": 1_800_000_000,
            "MsgType": "event", "Event": event})
    };
    let mut all = [
        told(ANNA, "subscribe_msg_popup_event"),
        told(ANNA, SENT),
        told(ANNA, "subscribe_msg_change_event"),
        told("gh_platform", "user_authorization_cancellation"),
        told("gh_platform", "wxa_punish_event"),
    ];
    all[0]["List"] = json!({"TemplateId": WATER, "SubscribeStatusString": "accept", "PopupScene": 0});
    all[1]["List"] = json!({"TemplateId": WATER, "MsgID": msgid, "ErrorCode": 0, "ErrorStatus": "success"});
    all[2]["List"] = json!({"TemplateId": WATER, "SubscribeStatusString": "reject"});
    all[3]["OpenID"] = json!(ANNA);
    all[4]["event_type"] = json!(2);
    all[4]["detail"] = json!("{}");
    assert_eq!(receiver.bodies(), all);
}

#[tokio::test]
async fn what_is_not_taken_is_tried_three_times_5_s_apart() {
    use Does::{Fails, Keeps, Takes};
    // What the receiver does, and what becomes of the event.
    let table: [(&[Does], u64, bool); 7] = [
        (&[Takes("")], 1, true),
        (&[Fails, Takes("success")], 2, true),
        (&[Keeps, Takes("success")], 2, true),
        (&[Takes("{\"ok\":true}"), Fails, Takes("success")], 3, true),
        (&[Keeps, Fails, Keeps, Takes("success")], 3, false),
        (&[Fails, Fails, Fails, Takes("success")], 3, false),
        (&[Keeps, Keeps, Takes("success")], 3, true),
    ];
    for (does, tries, is_taken) in table {
        let (world, receiver) = listening().await;
        receiver.will(does.iter().copied());
        world.tap(Answer::Accept, Keep::Once);
        for n in 1..=tries {
            world.until("a try", |p| p.pushes().tries == n).await;
            world.until_seen(&receiver, n).await;
            if n < tries || !is_taken {
                assert_eq!(world.platform.pushes().under_way, 1, "{does:?}");
                world.clock.advance(Duration::from_millis(4_999));
                world.clock.advance(Duration::from_millis(1));
            }
        }
        let (taken, given_up) = if is_taken { (1, 0) } else { (0, 1) };
        let counts = Pushes { told: 1, tries, taken, given_up, ..Pushes::default() };
        assert_eq!(world.told().await, counts, "{does:?}");
        let bodies = receiver.bodies();
        assert!(bodies.windows(2).all(|two| two[0] == two[1]), "each try says the same");
    }
}

impl World {
    async fn until_seen(&self, receiver: &Receiver, n: u64) {
        let mut seen = receiver.seen.clone();
        let enough = |seen: &Vec<String>| seen.len() >= usize::try_from(n).unwrap();
        tokio::time::timeout(BOUND, seen.wait_for(enough)).await.expect("a push").unwrap();
    }
}

#[tokio::test]
async fn faults_lose_repeat_and_delay_events() {
    let push = |what| Fault::new(Api::Push, what);
    let second = Duration::from_secs(1);
    let failed = What::Errcode { code: 43004, msg: "failed:system failed".into() };
    // Which faults, and what then becomes of two receipts.
    let table = [
        (
            push(What::DestroyBefore).at_most(1),
            Pushes { told: 2, tries: 1, taken: 1, lost: 1, ..Pushes::default() },
        ),
        (push(What::Repeat(2)).skip(1), Pushes { told: 2, tries: 4, taken: 4, ..Pushes::default() }),
        (push(What::DestroyAfter).event(SENT), Pushes { told: 2, tries: 4, taken: 2, ..Pushes::default() }),
        (push(What::Delay(second)).at_most(1), Pushes { told: 2, tries: 2, taken: 2, ..Pushes::default() }),
        (push(failed).skip(1), Pushes { told: 2, tries: 2, taken: 2, ..Pushes::default() }),
        (push(What::DestroyBefore).event("x"), Pushes { told: 2, tries: 2, taken: 2, ..Pushes::default() }),
    ];
    for (n, (fault, counts)) in table.into_iter().enumerate() {
        let (mut world, receiver) = listening().await;
        world.grant(ANNA, 2);
        world.platform.set_faults(vec![fault.clone()]);
        for name in ["one", "two"] {
            assert_eq!(world.client.send(&but(ANNA, "/data/thing1/value", json!(name))).await.0, 0);
        }
        let least = counts.tries.min(2) - u64::from(n == 3);
        world.until_seen(&receiver, least).await;
        while world.platform.pushes().under_way > 0 {
            world.clock.advance(second);
            tokio::task::yield_now().await;
        }
        assert_eq!(world.told().await, counts, "{fault:?}");
        let told: Vec<_> = receiver.bodies().into_iter().map(|body| body["List"].clone()).collect();
        let receipts: Vec<_> = world.platform.cards(ANNA).iter().map(|card| card.receipt).collect();
        let ids: Vec<_> = world.platform.cards(ANNA).iter().map(|card| json!(card.msgid)).collect();
        match n {
            0 => assert_eq!((receipts, &told[0]["MsgID"]), (vec![None, Some(0)], &ids[1])),
            3 => assert_eq!((&told[0]["MsgID"], &told[1]["MsgID"]), (&ids[1], &ids[0]), "overtaken"),
            4 => {
                assert_eq!(receipts, [Some(0), Some(43004)]);
                assert_eq!(told[1]["ErrorStatus"], "failed:system failed");
            }
            _ => assert_eq!(receipts, [Some(0), Some(0)]),
        }
    }
}

#[tokio::test]
async fn a_seed_decides_which_events_are_lost() {
    let mut seen = Vec::new();
    for seed in [7, 7, 8] {
        let (world, receiver) = listening().await;
        world.platform.set_faults(vec![Fault::new(Api::Push, What::DestroyBefore).share(0.5, seed)]);
        for n in 0..20 {
            world.platform.leave(APP, &format!("oPERSON{n:03}")).unwrap();
            world.told().await;
        }
        let of: Vec<String> = receiver.bodies().iter().map(|body| body["OpenID"].to_string()).collect();
        assert!((3..18).contains(&of.len()), "{of:?}");
        seen.push(of);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn only_a_receiver_that_knows_the_token_is_kept_over_http() {
    let (mut world, receiver) = (World::new().await, Receiver::new().await);
    let (at, aes_key) = (receiver.at, "k9".repeat(21) + "A");
    let shape = |mode: &str, form: &str, url: &str| json!({"appid": APP, "url": url, "token": "t", "aes_key": aes_key, "mode": mode, "form": form});
    let url = format!("http://{at}/wechat/clinic");
    let far = "http://192.0.2.1/wechat/clinic";
    for bad in [shape("safe", "xml", far), shape("safe", "xml", "https://127.0.0.1/"), json!({"appid": APP})]
    {
        assert!(world.client.post("/sandbox/push", bad).await["error"].is_string());
    }
    receiver.will([Does::Takes("hello"), Does::Fails]);
    for why in ["the answer is not the echostr", "answered 503"] {
        let error = world.client.post("/sandbox/push", shape("safe", "xml", &url)).await["error"].clone();
        assert!(error.as_str().unwrap().starts_with(why), "{error}");
    }
    let bad_key = json!({"appid": APP, "url": url, "token": "t", "mode": "safe", "form": "xml"});
    assert!(world.client.post("/sandbox/push", bad_key).await["error"].is_string());
    let leave = json!({"appid": APP, "openid": ANNA});
    assert_eq!(world.client.post("/sandbox/leave", leave.clone()).await, json!({}));
    assert_eq!(world.platform.pushes(), Pushes::default(), "none of them was kept");
    for (mode, form, seen) in [
        ("safe", "xml", "<xml><ToUserName><![CDATA[gh_sandbox]]></ToUserName><Encrypt>"),
        ("compatible", "json", "{\"Encrypt\":\""),
        ("plain", "xml", "<xml><ToUserName><![CDATA[gh_sandbox]]></ToUserName><FromUserName>"),
    ] {
        assert_eq!(world.client.post("/sandbox/push", shape(mode, form, &url)).await, json!({}), "{mode}");
        assert_eq!(world.client.post("/sandbox/leave", leave.clone()).await, json!({}));
        world.told().await;
        let pushed = receiver.seen.borrow().last().unwrap().clone();
        assert!(pushed.split_once("\r\n\r\n").unwrap().1.starts_with(seen), "{pushed}");
    }
    assert_eq!(
        world.client.json(Method::DELETE, &format!("/sandbox/push?appid={APP}"), &Value::Null).await,
        json!({})
    );
    world.client.post("/sandbox/punish", json!({"appid": APP, "kind": 1})).await;
    let counts = json!({"told": 3, "tries": 3, "taken": 3, "lost": 0, "given_up": 0, "under_way": 0});
    assert_eq!(world.client.get("/sandbox/pushes").await, counts);
}
