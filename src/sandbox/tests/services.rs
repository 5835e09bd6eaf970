//! Everything but sends: tokens, logins, templates, quota, the control over HTTP, start and stop.

use super::*;

#[tokio::test]
async fn token_endpoints_answer_as_documented() {
    let mut world = World::new().await;
    let body = |appid: &str, secret: &str| json!({"grant_type": "client_credential", "appid": appid, "secret": secret});
    let forced =
        json!({"force_refresh": true, "grant_type": "client_credential", "appid": APP, "secret": SECRET});
    let stable = "/cgi-bin/stable_token";
    world.clock.advance(Duration::from_secs(100));
    let again = world.client.post(stable, body(APP, SECRET)).await;
    assert_eq!(again, json!({"access_token": world.client.token, "expires_in": 7100}));
    let fresh = world.client.post(stable, forced).await;
    assert_ne!(fresh["access_token"], json!(world.client.token));
    assert_eq!(fresh["expires_in"], 7200);
    assert_eq!(world.client.send(&message(ANNA)).await.0, 40001, "a forced refresh ends the one before");

    let classic = |appid: &str, secret: &str| {
        format!("/cgi-bin/token?grant_type=client_credential&appid={appid}&secret={secret}")
    };
    let token = world.client.get(&classic(APP, SECRET)).await;
    assert_eq!(token["expires_in"], 7200);
    let table = [("wxOTHER", SECRET, 40013), (APP, "wrong", 40125), ("", SECRET, 41002), (APP, "", 41004)];
    for (appid, secret, code) in table {
        assert_eq!(world.client.post(stable, body(appid, secret)).await["errcode"], code);
        assert_eq!(world.client.get(&classic(appid, secret)).await["errcode"], code);
    }
    assert_eq!(world.client.get(stable).await["errcode"], 43002);
    let bad = json!({"grant_type": "password", "appid": APP, "secret": SECRET});
    assert_eq!(world.client.post(stable, bad).await["errcode"], 40002);
}

#[tokio::test]
async fn a_login_code_is_changed_for_an_openid_once() {
    let mut world = World::new().await;
    let path = |code: &str| {
        format!(
            "/sns/jscode2session?appid={APP}&secret={SECRET}&js_code={code}&grant_type=authorization_code"
        )
    };
    let code = world.platform.login_code(APP, ANNA);
    let (status, content_type, body) = world.client.raw(Method::GET, &path(&code), "").await.unwrap();
    assert_eq!((status, content_type.as_str()), (200, "text/plain"));
    let session: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(session["openid"], ANNA);
    assert_eq!(session["session_key"].as_str().unwrap().len(), 24);
    assert!(session.get("errcode").is_none() && session.get("unionid").is_none());
    let bound = world.platform.login_code_of(APP, ANNA, "u1");
    assert_eq!(world.client.get(&path(&bound)).await["unionid"], "u1");
    assert_eq!(world.client.get(&path(&code)).await["errcode"], 40163);
    let late = world.platform.login_code(APP, ANNA);
    world.clock.advance(Duration::from_mins(5));
    assert_eq!(world.client.get(&path(&late)).await["errcode"], 40029);
    assert_eq!(world.client.get(&path("")).await["errcode"], 41008);
    assert_eq!(world.client.get(&path("%41+")).await["errcode"], 40029);
}

#[tokio::test]
async fn templates_and_quota_are_listed() {
    let mut world = World::new().await;
    let path = format!("/wxaapi/newtmpl/gettemplate?access_token={}", world.client.token);
    let listed = world.client.get(&path).await;
    assert_eq!(listed["errcode"], 0);
    let water = &listed["data"][0];
    assert_eq!(
        (&water["priTmplId"], &water["title"], &water["type"]),
        (&json!(WATER), &json!("喝水提醒"), &json!(2))
    );
    assert_eq!(water["content"], "事项:{{thing1.DATA}}\n时间:{{time2.DATA}}\n天气:{{enum_string3.DATA}}\n");
    assert_eq!(
        water["keywordEnumValueList"],
        json!([{"keywordCode": "enum_string3.DATA", "enumValueList": ["晴", "雨"]}])
    );
    assert_eq!(listed["data"][1]["type"], 3);
    assert!(listed["data"][1].get("keywordEnumValueList").is_none());
    assert_eq!(world.client.get("/wxaapi/newtmpl/gettemplate?access_token=x").await["errcode"], 40001);

    let path = format!("/cgi-bin/openapi/quota/get?access_token={}", world.client.token);
    let quota = world.client.post(&path, json!({"cgi_path": "/cgi-bin/message/subscribe/send"})).await;
    assert_eq!(quota["quota"], json!({"daily_limit": 10_000_000, "used": 0, "remain": 10_000_000}));
    assert_eq!(world.client.post(&path, json!({"cgi_path": "/x"})).await["errcode"], 76021);
    assert_eq!(world.client.raw(Method::GET, "/nowhere", "").await.unwrap().0, 404);
}

#[tokio::test]
async fn the_control_works_over_http() {
    let mut world = World::new().await;
    let pair = json!({"appid": APP, "openid": ANNA, "template": WATER});
    let with = |key: &str, value: Value| {
        let mut body = pair.clone();
        body[key] = value;
        body
    };
    let client = &mut world.client;
    let granted = client.post("/sandbox/grant_many", with("n", json!(2))).await;
    assert_eq!(granted, json!({"remaining": 2}));
    let tapped = client.post("/sandbox/tap", with("answer", json!("accept"))).await;
    assert_eq!(tapped, json!({"status": "accept", "remaining": 3}));
    let code = client.post("/sandbox/login_code", json!({"appid": APP, "openid": ANNA})).await;
    assert_eq!(code["code"].as_str().unwrap().len(), 32);
    let faults = json!([{"api": "send", "what": "errcode", "code": 45011, "msg": "slow down", "at_most": 1}]);
    assert_eq!(client.post("/sandbox/faults", faults).await, json!({}));
    assert_eq!(client.send(&message(ANNA)).await.0, 45011);
    assert_eq!(client.send(&message(ANNA)).await.0, 0);
    let totals = client.get("/sandbox/totals").await;
    assert_eq!((&totals["accepted"], &totals["refused"]), (&json!(1), &json!({"45011": 1})));
    let change = client.get("/sandbox/changes?after=0").await;
    assert!(change["change"].as_u64().unwrap() >= totals["change"].as_u64().unwrap());
    let sends = client.get("/sandbox/sends?from=1").await;
    assert_eq!(sends.as_array().unwrap().len(), 1);
    assert_eq!((&sends[0]["data"]["thing1"], &sends[0]["answered"]), (&json!("喝一杯水"), &json!(true)));
    let cards = client.get(&format!("/sandbox/cards?openid={ANNA}")).await;
    assert_eq!((&cards[0]["title"], &cards[0]["msgid"]), (&json!("喝水提醒"), &sends[0]["msgid"]));
    let path = format!("/sandbox/remaining?appid={APP}&openid={ANNA}&template={WATER}");
    assert_eq!(client.get(&path).await, json!({"remaining": 2}));
    assert_eq!(client.post("/sandbox/revoke", pair.clone()).await, json!({"remaining": 0}));
    assert_eq!(client.get("/sandbox/in_flight").await, json!({"in_flight": 0}));
    assert_eq!(client.post("/sandbox/revoke_tokens", json!({"appid": APP})).await, json!({}));
    assert_eq!(client.send(&message(ANNA)).await.0, 40001);
    client.fetch_token().await;
    let refuse = json!({"appid": APP, "tokens": "refused"});
    assert_eq!(client.post("/sandbox/refuse_tokens", refuse).await, json!({}));
    assert_eq!(client.send(&message(ANNA)).await.0, 40001);
    for (path, body) in [("/sandbox/tap", json!({"openid": 1})), ("/sandbox/none", json!({}))] {
        let (status, _, body) = client.raw(Method::POST, path, body.to_string()).await.unwrap();
        assert_eq!(status, 400);
        assert!(serde_json::from_slice::<Value>(&body).unwrap()["error"].is_string());
    }
    assert_eq!(client.raw(Method::DELETE, "/sandbox/faults", "").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_stop_cuts_what_is_in_flight_and_closes_the_socket() {
    let mut world = World::with(Options { answer_after: Duration::from_secs(1), ..options() }).await;
    world.grant(ANNA, 1);
    let mut client = world.another_client().await;
    let mut sending = JoinSet::new();
    sending.spawn(async move { client.send_raw(&message(ANNA)).await });
    world.until("accepted", |p| p.totals().accepted == 1).await;
    let addr = world.sandbox.addr();
    assert_eq!(world.sandbox.base_url(), format!("http://{addr}"));
    tokio::time::timeout(BOUND, world.sandbox.stop()).await.unwrap();
    assert!(sending.join_next().await.unwrap().unwrap().is_err());
    let totals = world.platform.totals();
    assert_eq!((totals.in_flight, totals.accepted_but_unanswered), (0, 1));
    assert!(TcpStream::connect(addr).await.is_err());
    assert!(world.client.raw(Method::GET, "/sandbox/totals", "").await.is_err());
}

#[tokio::test]
async fn it_listens_on_loopback_only() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let refused = Sandbox::start(Options { listen, ..options() }, by_hand()).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert!(!format!("{:?}", options()).contains(SECRET));
}
