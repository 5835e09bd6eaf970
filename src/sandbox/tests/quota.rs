//! Quotas that run out, rates, what clears them, and what a rid tells.

use super::*;
use crate::sandbox::{Api, Fault, Limit, What};

const SEND: &str = "/cgi-bin/message/subscribe/send";
const CLEAR: &str = "/cgi-bin/clear_quota";

impl World {
    /// A call with the client's access token.
    async fn asks(&mut self, path: &str, body: Value) -> Value {
        let path = format!("{path}?access_token={}", self.client.token);
        self.client.post(&path, body).await
    }

    async fn left_of_day(&mut self) -> (u64, u64) {
        let answer = self.asks("/cgi-bin/openapi/quota/get", json!({"cgi_path": SEND})).await;
        (answer["quota"]["used"].as_u64().unwrap(), answer["quota"]["remain"].as_u64().unwrap())
    }

    /// The errcode of a send to Anna.
    async fn sends(&mut self) -> i64 {
        self.client.send(&message(ANNA)).await.0
    }
}

#[tokio::test]
async fn a_days_quota_runs_out_and_returns_at_midnight_in_beijing() {
    let mut world = World::new().await;
    world.grant(ANNA, 100);
    let limit = Limit { daily: 3, calls: 1_000, refresh_s: 1 };
    assert!(world.platform.limit(APP, SEND, limit) && !world.platform.limit(APP, "/x", limit));
    assert_eq!(world.left_of_day().await, (0, 3));
    assert_eq!([world.sends().await, world.sends().await], [0, 0]);
    assert_eq!(
        world.client.send(&but(ANNA, "/touser", json!(BERT))).await.0,
        43101,
        "a refused one counts too"
    );
    assert_eq!([world.sends().await, world.sends().await], [45009, 45009]);
    assert_eq!((world.left_of_day().await, world.left(ANNA)), ((3, 0), 98));
    // It is 16:00 in Beijing.
    world.clock.advance(Duration::from_secs(8 * 3600 - 1));
    world.client.fetch_token().await;
    assert_eq!(world.sends().await, 45009);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!((world.sends().await, world.left_of_day().await), (0, (1, 2)));
}

#[tokio::test]
async fn a_rate_is_per_second_or_per_minute() {
    for (refresh_s, code) in [(1, 44990), (60, 45011)] {
        let mut world = World::new().await;
        world.grant(ANNA, 100);
        let body = json!({"appid": APP, "cgi_path": SEND, "daily_limit": 100, "call_count": 2, "refresh_second": refresh_s});
        assert_eq!(world.client.post("/sandbox/limit", body).await, json!({}));
        assert_eq!([world.sends().await, world.sends().await, world.sends().await], [0, 0, code]);
        assert_eq!(world.left_of_day().await, (2, 98), "what came too fast does not count");
        world.clock.advance(Duration::from_secs(refresh_s));
        assert_eq!(world.sends().await, 0);
        let rate =
            world.asks("/cgi-bin/openapi/quota/get", json!({"cgi_path": SEND})).await["rate_limit"].clone();
        assert_eq!(rate, json!({"call_count": 2, "refresh_second": refresh_s}));
    }
}

#[tokio::test]
async fn counts_are_cleared_a_few_times_a_month() {
    let mut world = World::new().await;
    world.grant(ANNA, 100);
    world.platform.limit(APP, SEND, Limit { daily: 1, calls: 1_000, refresh_s: 1 });
    let v2 = json!({"appid": APP, "appsecret": SECRET});
    for n in 0..10 {
        assert_eq!([world.sends().await, world.sends().await], [0, 45009]);
        // Both ways have ten together; the second needs no access token.
        let cleared = match n {
            0 => world.asks(CLEAR, json!({"appid": APP})).await,
            1 => {
                let path = format!("{CLEAR}/v2?appid={APP}&appsecret={SECRET}");
                world.client.json(Method::POST, &path, &Value::Null).await
            }
            _ => world.client.post("/cgi-bin/clear_quota/v2", v2.clone()).await,
        };
        assert_eq!(cleared, json!({"errcode": 0, "errmsg": "ok"}));
    }
    let wrong = json!({"appid": APP, "appsecret": "wrong"});
    let code = |answer: Value| answer["errcode"].as_i64().unwrap();
    assert_eq!(code(world.client.post("/cgi-bin/clear_quota/v2", wrong).await), 40125);
    assert_eq!(code(world.asks(CLEAR, json!({"appid": "wxOTHER"})).await), 40013);
    assert_eq!(code(world.client.post("/cgi-bin/clear_quota/v2", v2.clone()).await), 48006);
    assert_eq!(code(world.asks(CLEAR, json!({"appid": APP})).await), 48006);
    let one = "/cgi-bin/openapi/quota/clear";
    assert_eq!([world.sends().await, world.sends().await], [0, 45009]);
    assert_eq!(code(world.asks(one, json!({"cgi_path": SEND})).await), 0, "one path has a count of its own");
    assert_eq!(world.sends().await, 0);
    for (path, wanted) in [("/nowhere", 76021), ("/sns/jscode2session", 76022)] {
        assert_eq!(code(world.asks(one, json!({"cgi_path": path})).await), wanted);
        assert_eq!(code(world.asks("/cgi-bin/openapi/quota/get", json!({"cgi_path": path})).await), wanted);
    }
    world.clock.advance(Duration::from_hours(744));
    assert_eq!(code(world.client.post("/cgi-bin/clear_quota/v2", v2).await), 0, "another month");
}

#[tokio::test]
async fn a_rid_tells_of_the_call_that_was_refused() {
    let mut world = World::new().await;
    let rid_of = |errmsg: &str| errmsg.rsplit_once(" rid: ").unwrap().1.to_owned();
    let get = "/cgi-bin/openapi/rid/get";
    let (code, errmsg) = world.client.send(&message(ANNA)).await;
    let rid = rid_of(&errmsg);
    let told = world.asks(get, json!({"rid": rid})).await["request"].clone();
    assert_eq!(code, 43101);
    assert_eq!(told["request_url"], format!("access_token={}", world.client.token));
    assert_eq!(serde_json::from_str::<Value>(told["request_body"].as_str().unwrap()).unwrap(), message(ANNA));
    assert!(told["response_body"].as_str().unwrap().starts_with(r#"{"errcode":43101,"#));
    assert_eq!((&told["invoke_time"], &told["cost_in_ms"]), (&json!(1_800_000_000), &json!(0)));
    // A fault's is one too.
    let busy = What::Errcode { code: -1, msg: "system error".into() };
    world.platform.set_faults(vec![Fault::new(Api::Send, busy)]);
    let (_, errmsg) = world.client.send(&message(ANNA)).await;
    assert_eq!(world.asks(get, json!({"rid": rid_of(&errmsg)})).await["errcode"], 0);
    let path =
        format!("/sns/jscode2session?appid={APP}&secret={SECRET}&js_code=x&grant_type=authorization_code");
    let sns = rid_of(world.client.get(&path).await["errmsg"].as_str().unwrap());
    let other = world.client.get("/wxaapi/newtmpl/gettemplate?access_token=x").await;
    let other = rid_of(other["errmsg"].as_str().unwrap());
    let table = [
        ("", 76002),
        ("61725984-6126f6f9", 76002),
        ("61725984-6126f6f9-040f19cx", 76002),
        ("61725984-6126f6f9-040f19c4", 76001),
        (&sns, 76022),
        (&other, 76003),
        (&rid, 0),
    ];
    for (rid, wanted) in table {
        assert_eq!(world.asks(get, json!({"rid": rid})).await["errcode"], wanted, "{rid}");
    }
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    world.client.fetch_token().await;
    assert_eq!(world.asks(get, json!({"rid": rid})).await["errcode"], 76004);
}
