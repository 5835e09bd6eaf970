//! Who may say what, and what comes back.

use super::*;

const REPORT: &str = r#"{"report":"r1","results":{"T":"accept","T9":"what","errMsg":"ok"}}"#;
const BACKEND_REPORT: &str = r#"{"report":"r1","openid":"oSECRETSECRET","results":{"T":"accept"}}"#;

#[tokio::test]
async fn routes_and_methods_are_those_of_the_table() {
    let world = World::new(&["clinic"], Options::default());
    let table = [
        ("GET /healthz", 200, None),
        ("HEAD /healthz", 200, None),
        ("GET /healthz?x=1", 200, None),
        ("POST /healthz", 405, Some("GET, HEAD")),
        ("GET /v1/login", 405, Some("POST")),
        ("DELETE /v1/consents", 405, Some("POST")),
        ("PROPFIND /v1/me", 405, Some("GET, HEAD, DELETE")),
        ("DELETE /v1/me", 401, None),
        ("GET /v1/ask", 401, None),
        ("POST /v1/ask", 405, Some("GET, HEAD")),
        ("GET /v1/recipients/oSECRETSECRET", 401, None),
        ("POST /v1/recipients/oSECRETSECRET", 405, Some("GET, HEAD, PUT, DELETE")),
        ("GET /v1/recipients", 404, None),
        ("GET /v1/me", 401, None),
        ("POST /v1/consents", 401, None),
        ("GET /", 404, None),
        ("GET /v1/me/", 404, None),
        ("GET /V1/me", 404, None),
        ("GET //v1/me", 404, None),
        ("GET /metrics", 404, None),
        ("GET /admin", 404, None),
        ("OPTIONS *", 404, None),
    ];
    for (head, status, allow) in table {
        let reply = world.ask(head, "").await;
        assert_eq!((reply.status, reply.header("allow")), (status, allow), "{head}: {reply:?}");
        if status == 200 {
            assert_eq!(reply.header("content-type"), Some("application/json"), "{head}");
        } else {
            let code = reply.problem();
            let codes = [(401, "identity"), (404, "not_found"), (405, "method_not_allowed")];
            assert!(codes.contains(&(status, code.as_str())), "{head}: {code}");
        }
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{head}");
    }
}

#[tokio::test]
async fn a_person_logs_in_reports_and_reads_himself() {
    let world = World::new(&["clinic"], Options::default());
    let login = world.ask("POST /v1/login", r#"{"code":"CODESECRET"}"#).await;
    let json = login.json();
    assert_eq!(json["expires_at"], "2027-01-15T10:00:00Z");
    assert_eq!(json["ask"], serde_json::json!(["T"]));
    let person = json["person"].as_str().unwrap().to_owned();
    assert_eq!((person.len(), person.contains("SECRET")), (16, false), "{person}");
    assert_eq!(world.ask("POST /v1/login", r#"{"code":"CODESECRET"}"#).await.json()["person"], *person);
    let bearer = format!("authorization: Bearer {}", json["session"].as_str().unwrap());

    let first = world.ask(&format!("POST /v1/consents\n{bearer}"), REPORT).await;
    let expected = serde_json::json!({
        "report": "r1", "balances": {"T": 3}, "ask": ["T2"],
        "ignored": [{"template": "T9", "status": "what", "why": "unknown_status"}],
    });
    assert_eq!((first.status, first.json()), (200, expected));
    let again = world.ask(&format!("POST /v1/consents?app=clinic\n{bearer}"), REPORT).await;
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(world.said(), vec!["clinic oSECRETSECRET Session r1 at 0"; 2]);

    let me = world.ask(&format!("GET /v1/me\n{bearer}"), "").await;
    let expected = serde_json::json!({
        "tags": ["vip"], "fields": {"city": "京"}, "time_zone": "Asia/Shanghai", "muted": false,
        "balances": {"T": 1},
        "upcoming": [
            {"rule": "drink", "template": "T", "due_at": "2027-01-15T08:00:00Z"},
            {"rule": "visit", "template": "T", "due_at": "2027-01-15T08:00:00Z",
                "appointment": {"kind": "visit", "id": "A17", "at": "2027-01-15T08:00:00Z"}},
        ],
    });
    assert_eq!((me.status, me.json()), (200, expected));
}

#[tokio::test]
async fn a_session_speaks_for_its_app_and_its_time_only() {
    let world = World::new(&["clinic", "school"], Options::default());
    let session = world.session().await;
    let me = async |target: &str, value: &str| {
        world.ask(&format!("GET {target}\nauthorization: {value}"), "").await.status
    };
    let good = format!("Bearer {session}");
    let mut forged = good.clone();
    forged.replace_range(40..41, if good.get(40..41) == Some("A") { "B" } else { "A" });
    let table = [
        ("/v1/me", good.as_str(), 200),
        ("/v1/me?app=clinic", &good, 200),
        ("/v1/me?app=school", &good, 401),
        ("/v1/me?app=nobody", &good, 401),
        ("/v1/me?app=clinic&app=clinic", &good, 401),
        ("/v1/me", &format!("bearer {session}"), 200),
        ("/v1/me", &format!("Basic {session}"), 401),
        ("/v1/me", &session, 401),
        ("/v1/me", "Bearer ", 401),
        ("/v1/me", &forged, 401),
        ("/v1/me", &format!("{good}\nauthorization: {good}"), 401),
        ("/v1/me", &format!("{good}\nwebhook-id: m1"), 401),
    ];
    for (target, value, status) in table {
        assert_eq!(me(target, value).await, status, "{target} {value}");
    }
    world.clock.advance(Duration::from_secs(7199));
    assert_eq!(me("/v1/me", &good).await, 200, "to the last second");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(me("/v1/me", &good).await, 401, "over");
    let fresh = format!("Bearer {}", world.session().await);
    *world.flow.live.lock().unwrap() = Arc::new(live(&["school"]));
    assert_eq!(me("/v1/me", &fresh).await, 401, "its app is gone");
    assert!(world.said().is_empty());
}

#[tokio::test]
async fn what_a_session_may_not_set_is_refused_whole() {
    let world = World::new(&["clinic"], Options::default());
    let head = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    let table = [
        (r#""openid":"oSECRETSECRET""#, 422, "not_for_sessions"),
        (r#""fields":{"vip":true}"#, 422, "not_for_sessions"),
        (r#""time_zone":"CST""#, 422, "malformed"),
    ];
    for (more, status, code) in table {
        let reply = world.ask(&head, &format!(r#"{{"report":"r1","results":{{}},{more}}}"#)).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, code), "{more}");
    }
    let reply = world.ask(&head, "{").await;
    assert_eq!((reply.status, reply.problem().as_str()), (400, "not_json"));
    assert!(world.said().is_empty());
}

#[tokio::test]
async fn a_backend_speaks_for_the_apps_of_its_key() {
    let world = World::new(&["clinic", "school"], Options::default());
    let table = [
        ("POST", "/v1/consents?app=clinic", 0, 200),
        ("POST", "/v1/consents?x=1&app=clinic", 300, 200),
        ("POST", "/v1/consents?app=clinic", -300, 200),
        ("POST", "/v1/consents?app=clinic", 301, 401),
        ("POST", "/v1/consents?app=clinic", -301, 401),
        ("POST", "/v1/consents?app=school", 0, 401),
        ("POST", "/v1/consents?app=nobody", 0, 401),
        ("POST", "/v1/consents", 0, 422),
        ("GET", "/v1/me?app=clinic", 0, 401),
    ];
    for (method, target, age_s, status) in table {
        let body = if method == "POST" { BACKEND_REPORT } else { "" };
        let reply = world.signed(method, target, body, age_s).await;
        assert_eq!(reply.status, status, "{method} {target} {age_s}: {reply:?}");
        if status != 200 {
            reply.problem();
        }
    }
    let at = |seconds: i64| format!("clinic oSECRETSECRET Backend r1 at {seconds}");
    assert_eq!(
        world.said(),
        [at(0), at(-299), at(0)],
        "an earlier time of signing counts, to the end of its second"
    );
    world.keys.replace(Vec::new());
    assert_eq!(world.signed("POST", "/v1/consents?app=clinic", BACKEND_REPORT, 0).await.status, 401);
}

#[tokio::test]
async fn who_proves_nothing_learns_nothing() {
    let world = World::new(&["clinic"], Options::default());
    let session = world.session().await;
    let wrong = "webhook-id: m1\nwebhook-timestamp: 1800000000\nwebhook-signature: v1,AAAA";
    let heads = [
        "POST /v1/consents".to_owned(),
        "POST /v1/consents\nx-wx-openid: oSECRETSECRET".to_owned(),
        format!("POST /v1/consents\n{wrong}"),
        format!("POST /v1/consents?app=nobody\n{wrong}"),
        format!("POST /v1/consents\nauthorization: Bearer {session}x"),
        format!("POST /v1/consents\nauthorization: Bearer {session}\n{wrong}"),
    ];
    let mut bodies = Vec::new();
    for head in heads {
        for body in [BACKEND_REPORT, "not even JSON"] {
            let reply = world.ask(&head, body).await;
            assert_eq!((reply.status, reply.problem().as_str()), (401, "identity"), "{head}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            bodies.push(reply.body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one answer for all");
    assert!(world.said().is_empty());
}

#[tokio::test]
async fn refusals_of_the_flow_have_their_status() {
    let world = World::new(&["clinic"], Options::default());
    let table = [
        (ReportError::Conflict, 409, "conflict", None),
        (ReportError::TooLarge, 422, "too_large", None),
        (ReportError::Unavailable(Unavailable), 503, "unavailable", Some("2")),
    ];
    for (error, status, code, retry_after) in table {
        *world.flow.refuses.lock().unwrap() = Some(error);
        let reply = world.signed("POST", "/v1/consents", BACKEND_REPORT, 0).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, code));
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
    }
    let table = [
        (LoginError::BadCode, 401, "bad_code", None),
        (LoginError::RiskyUser, 403, "risky_user", None),
        (LoginError::TooFrequent, 429, "rate", Some("60")),
        (LoginError::Unavailable, 503, "platform", Some("10")),
        (LoginError::App { errcode: 40125 }, 503, "platform", Some("60")),
    ];
    for (error, status, code, retry_after) in table {
        *world.flow.login.lock().unwrap() = Err(error);
        let reply = world.ask("POST /v1/login", r#"{"code":"CODESECRET"}"#).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, code));
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
    }
}

#[tokio::test]
async fn a_login_names_its_app_where_there_are_several() {
    let world = World::new(&["clinic", "school"], Options::default());
    for (target, status) in [("/v1/login?app=school", 200), ("/v1/login", 422), ("/v1/login?app=nobody", 422)]
    {
        let reply = world.ask(&format!("POST {target}"), r#"{"code":"CODESECRET"}"#).await;
        assert_eq!(reply.status, status, "{target}");
    }
    let mut closed = live(&["clinic"]);
    closed.config.hook.login = false;
    *world.flow.live.lock().unwrap() = Arc::new(closed);
    let reply = world.ask("POST /v1/login", r#"{"code":"CODESECRET"}"#).await;
    assert_eq!((reply.status, reply.problem().as_str()), (404, "not_found"), "login: false");
}

#[tokio::test]
async fn reports_of_one_person_are_ten_a_minute() {
    let world = World::new(&["clinic"], Options::default());
    let head = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    let second = format!("POST /v1/consents\nauthorization: Bearer {}", world.session().await);
    for _ in 0..10 {
        assert_eq!(world.ask(&head, REPORT).await.status, 200);
    }
    let reply = world.ask(&second, REPORT).await;
    assert_eq!((reply.status, reply.problem().as_str()), (429, "rate"), "also with another session");
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(world.signed("POST", "/v1/consents", BACKEND_REPORT, 0).await.status, 200, "a backend");
    world.clock.advance(Duration::from_secs(7));
    assert_eq!(world.ask(&head, REPORT).await.status, 200);
}

#[tokio::test]
async fn logins_of_one_address_are_sixty_a_minute_and_of_one_app_twenty_a_second() {
    let world = World::new(&["clinic", "school"], Options::default());
    let login = async |app: &str, address: &str| {
        let head = format!("POST /v1/login?app={app}\nx-forwarded-for: 9.9.9.9, {address}");
        world.ask(&head, r#"{"code":"CODESECRET"}"#).await
    };
    for n in 0..60 {
        assert_eq!(login("clinic", "1.1.1.1").await.status, 200, "{n}");
        world.clock.advance(Duration::from_millis(50));
    }
    // 3 s have given back three logins.
    for _ in 0..3 {
        assert_eq!(login("clinic", "1.1.1.1").await.status, 200);
    }
    assert_eq!(login("clinic", "1.1.1.1").await.problem(), "rate");
    world.clock.advance(Duration::from_secs(1));
    for n in 0..20 {
        assert_eq!(login("clinic", &format!("2.2.2.{n}")).await.status, 200, "{n}");
    }
    let reply = login("clinic", "3.3.3.3").await;
    assert_eq!((reply.problem().as_str(), reply.header("retry-after")), ("rate", Some("1")));
    assert_eq!(login("school", "3.3.3.3").await.status, 200, "another app");
}

#[tokio::test]
async fn a_backend_puts_reads_and_deletes_appointments() {
    let world = World::new(&["clinic"], Options::default());
    let target = "/v1/appointments/visit/A17";
    let body = r#"{"openid":"oSECRETSECRET","at":"2026-03-01T09:00:00+08:00","fields":{"doctor":"李"}}"#;
    let signed = |id, method, target, body| by_backend(&world, id, method, target, body);
    let table = [
        (
            signed("w1", "PUT", target, body),
            200,
            "{\"kind\":\"visit\",\"id\":\"A17\",\"at\":\"2026-03-01T01:00:00Z\"",
        ),
        (signed("w1", "PUT", target, body), 409, "replayed"),
        (
            signed("w2", "GET", target, ""),
            200,
            "\"recipients\":[\"oSECRETSECRET\"],\"fields\":{\"doctor\":\"李\"}",
        ),
        (signed("w2", "GET", "/v1/appointments/visit/B", ""), 404, "not_found"),
        (signed("w3", "DELETE", target, ""), 200, "{\"kind\":\"visit\",\"id\":\"A17\",\"deleted\":true}"),
        (signed("w4", "DELETE", "/v1/appointments/visit/none", ""), 404, "not_found"),
        (signed("w5", "PUT", target, "{}"), 422, "malformed"),
        (signed("w6", "PUT", "/v1/appointments/Visit/A17", body), 422, "malformed"),
        (signed("w7", "PUT", "/v1/appointments/visit", body), 404, "not_found"),
        (signed("w8", "POST", target, body), 405, "method_not_allowed"),
        ((format!("PUT {target}"), body), 401, "identity"),
    ];
    for ((head, body), status, expected) in table {
        let reply = world.ask(&head, body).await;
        assert_eq!(reply.status, status, "{head}: {reply:?}");
        assert!(reply.body.contains(expected), "{head}: {reply:?}");
    }
    let session = world.session().await;
    let reply = world.ask(&format!("GET {target}?app=clinic\nauthorization: Bearer {session}"), "").await;
    assert_eq!((reply.status, reply.problem()), (401, "identity".to_owned()));
    let said = world.said();
    assert_eq!(said[0], "clinic visit/A17 2026-03-01 01:00:00 UTC for 1 by w1");
}

/// A request that the key of `clinic` signs: its head, and its body.
fn by_backend<'a>(world: &World, id: &str, method: &str, target: &str, body: &'a str) -> (String, &'a str) {
    let at = world.clock.now().timestamp();
    let signature = signature::sign(&key().secret, id, at, method, target, body.as_bytes());
    let head = format!(
        "{method} {target}\nwebhook-id: {id}\nwebhook-timestamp: {at}\nwebhook-signature: {signature}"
    );
    (head, body)
}

#[tokio::test]
async fn a_backend_puts_reads_and_erases_recipients() {
    let world = World::new(&["clinic"], Options::default());
    let target = "/v1/recipients/oSECRETSECRET";
    let body = r#"{"unionid":"u1","ref":"7","tags":["vip"],"fields":{"city":"京"},"time_zone":"Asia/Tokyo","muted":true}"#;
    let signed = |id, method, target, body| by_backend(&world, id, method, target, body);
    let whole = r#"{"openid":"oSECRETSECRET","unionid":"uSECRETSECRET","ref":"patient 7","tags":["vip"],"fields":{"city":"京"},"time_zone":"Asia/Shanghai","muted":false,"balances":{"T":1},"upcoming":[{"rule":"drink","#;
    let everywhere = "/v1/recipients/oSECRETSECRET?apps=all";
    let table = [
        (signed("w1", "PUT", target, body), 200, whole),
        (signed("w1", "PUT", target, body), 409, "replayed"),
        (signed("w1", "DELETE", target, ""), 409, "replayed"),
        (signed("w2", "GET", target, ""), 200, whole),
        (signed("w2", "GET", "/v1/recipients/oNOBODYATALL", ""), 404, "not_found"),
        (signed("w3", "DELETE", target, ""), 200, r#"{"erased":true}"#),
        (signed("w4a", "PUT", everywhere, r#"{"muted":true}"#), 200, whole),
        (signed("w4b", "DELETE", everywhere, ""), 200, r#"{"erased":true}"#),
        (
            signed("w4c", "DELETE", "/v1/recipients/oSECRETSECRET?apps=some", ""),
            422,
            "`apps` can only be `all`",
        ),
        (signed("w4d", "PUT", "/v1/recipients/oSECRETSECRET?apps=all&apps", "{}"), 422, "`apps` can only be"),
        (signed("w4e", "GET", everywhere, ""), 200, whole),
        (signed("w4", "PUT", target, r#"{"ref":"taken"}"#), 409, "ref_taken"),
        (signed("w5", "PUT", target, r#"{"ref":"large"}"#), 422, "too_large"),
        (signed("w6", "PUT", target, r#"{"muted":1}"#), 422, "`muted` must be true or false"),
        (signed("w7", "PUT", target, r#"{"openid":"oSECRETSECRET"}"#), 422, "`openid` is no key"),
        (signed("w8", "PUT", target, r#"{"ref":"a/b\n"}"#), 422, "`ref` is"),
        (signed("w9", "PUT", target, "[]"), 422, "must be an object"),
        (signed("wA", "PUT", "/v1/recipients/short", "{}"), 422, "the openid in the path is"),
        (signed("wB", "GET", "/v1/recipients/", ""), 422, "the openid in the path is"),
        (signed("wC", "GET", "/v1/recipients/oSECRETSECRET/x", ""), 422, "the openid in the path is"),
        (signed("wD", "POST", target, body), 405, "method_not_allowed"),
        ((format!("PUT {target}"), body), 401, "identity"),
        ((format!("GET {target}\nauthorization: Bearer {}", world.session().await), ""), 401, "identity"),
    ];
    for ((head, body), status, expected) in table {
        let reply = world.ask(&head, body).await;
        assert_eq!(reply.status, status, "{head}: {reply:?}");
        assert!(reply.body.contains(expected), "{head}: {reply:?}");
    }
    let said = world.said();
    assert_eq!(said.len(), 4, "{said:?}");
    for part in
        ["UnionId(…)", r#"tags: {"vip"}"#, r#"Text("京")"#, "Some(Asia/Tokyo)", "muted: true", "by w1"]
    {
        assert!(said[0].contains(part), "{part}: {said:?}");
    }
    assert_eq!(said[1], "clinic forget oSECRETSECRET in This by w3");
    // A key speaks for its own apps, and for no others.
    assert!(said[2].starts_with(r#"clinic oSECRETSECRET in Apps({"wx0123456789clinic"}) is "#), "{said:?}");
    assert_eq!(said[3], r#"clinic forget oSECRETSECRET in Apps({"wx0123456789clinic"}) by w4b"#);
}

#[tokio::test]
async fn who_asks_what_to_ask_names_himself_or_is_a_backend() {
    let world = World::new(&["clinic"], Options::default());
    let bearer = format!("authorization: Bearer {}", world.session().await);
    let signed = |target| by_backend(&world, "w1", "GET", target, "");
    let table = [
        ((format!("GET /v1/ask\n{bearer}"), ""), 200, r#"{"ask":["T"]}"#),
        ((format!("GET /v1/ask?openid=oSECRETSECRET\n{bearer}"), ""), 422, "not_for_sessions"),
        (signed("/v1/ask?openid=oSECRETSECRET"), 200, r#"{"ask":["T"]}"#),
        (signed("/v1/ask?app=clinic&openid=oSECRETSECRET"), 200, r#"{"ask":["T"]}"#),
        (signed("/v1/ask"), 422, "`?openid=` is missing"),
        (signed("/v1/ask?openid=x"), 422, "`openid` is"),
        (signed("/v1/ask?openid=oSECRETSECRET&openid=oSECRETSECRET"), 422, "there twice"),
        (signed("/v1/ask?app=school&openid=oSECRETSECRET"), 401, "identity"),
    ];
    for ((head, body), status, expected) in table {
        let reply = world.ask(&head, body).await;
        assert_eq!(reply.status, status, "{head}: {reply:?}");
        assert!(reply.body.contains(expected), "{head}: {reply:?}");
    }
    assert_eq!(world.said(), vec!["clinic what to ask oSECRETSECRET"; 3]);
}

#[tokio::test]
async fn a_session_ends_with_its_person_also_by_a_clock_that_nobody_believes() {
    for hours in [7, -1] {
        let world = World::new(&["clinic"], Options::default());
        assert!(world.clock.believed().is_some());
        world.clock.step(TimeDelta::hours(hours));
        let bearer = format!("authorization: Bearer {}", world.session().await);
        assert_eq!(world.ask(&format!("GET /v1/me\n{bearer}"), "").await.status, 200, "{hours}");
        assert_eq!(world.ask(&format!("DELETE /v1/me\n{bearer}"), "").await.status, 200, "{hours}");
        assert_eq!(world.ask(&format!("GET /v1/me\n{bearer}"), "").await.status, 401, "{hours}: gone");
        world.clock.advance(Duration::from_secs(1));
        let bearer = format!("authorization: Bearer {}", world.session().await);
        for step in [hours, 0] {
            world.clock.step(TimeDelta::hours(step - hours));
            let reply = world.ask(&format!("GET /v1/me\n{bearer}"), "").await;
            assert_eq!(reply.status, 200, "{hours}: he is new, and stays when the clock is set");
        }
    }
}

#[tokio::test]
async fn a_person_takes_himself_out_of_the_books() {
    let world = World::new(&["clinic"], Options::default());
    let bearer = format!("authorization: Bearer {}", world.session().await);
    let reply = world.ask(&format!("DELETE /v1/me\n{bearer}"), "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"erased":true}"#));
    for request in ["DELETE /v1/me", "GET /v1/me", "GET /v1/ask", "POST /v1/consents"] {
        let reply = world.ask(&format!("{request}\n{bearer}"), REPORT).await;
        assert_eq!(reply.status, 401, "{request}: the session went with him");
    }
    world.clock.advance(Duration::from_secs(1));
    let bearer = format!("authorization: Bearer {}", world.session().await);
    assert_eq!(world.ask(&format!("GET /v1/me\n{bearer}"), "").await.status, 200, "he is new");
    let backend = by_backend(&world, "w1", "DELETE", "/v1/me", "");
    assert_eq!(world.ask(&backend.0, backend.1).await.status, 401, "a backend is nobody's self");
    let everywhere = |query: &str| format!("DELETE /v1/me?{query}\n{bearer}");
    let refused = world.ask(&everywhere("apps=none"), "").await;
    assert_eq!((refused.status, refused.body.contains("`apps` can only be `all`")), (422, true));
    assert_eq!(world.ask(&everywhere("app=clinic&apps=all"), "").await.status, 200);
    let said = [
        "clinic forget oSECRETSECRET in This by himself",
        "clinic forget oSECRETSECRET in Proved(UnionId(…)) by himself",
    ];
    assert_eq!(world.said(), said);
}

/// What his record says is a backend's word: in all apps he is who the platform told at his login, in which ever place that name
/// is kept; where it is in none, he logs in again.
#[tokio::test]
async fn a_person_goes_from_all_apps_as_who_he_proved_to_be() {
    const ALL: &str = "clinic forget oSECRETSECRET in Proved(UnionId(…)) by himself";
    const ONE: &str = "clinic forget oSECRETSECRET in This by himself";
    let me = "uSECRETSECRET";
    let table: [(Option<&str>, &[&str], Option<&str>); 7] = [
        (Some(me), &[me], Some(ALL)),
        (Some(me), &["uANOTHER", me], Some(ALL)),
        (Some(me), &["uANOTHER"], None),
        (Some(me), &[], None),
        (None, &["uANOTHER", me], Some(ONE)),
        (None, &[me], Some(ONE)),
        (None, &[], Some(ONE)),
    ];
    for (told, kept, expected) in table {
        let world = World::new(&["clinic"], Options::default());
        *world.flow.tells.lock().unwrap() = told;
        *world.flow.unionids.lock().unwrap() = kept.to_vec();
        let bearer = format!("authorization: Bearer {}", world.session().await);
        let reply = world.ask(&format!("DELETE /v1/me?apps=all\n{bearer}"), "").await;
        assert_eq!(reply.status, if expected.is_some() { 200 } else { 401 }, "{told:?} {kept:?}: {reply:?}");
        assert_eq!(
            world.said(),
            expected.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{told:?} {kept:?}"
        );
    }
}
