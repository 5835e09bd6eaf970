//! Sends: acceptance, refusals, field checks, consents, lanes, books.

use super::*;
use crate::sandbox::{Answer, Card, Keep, Outcome};

#[tokio::test]
async fn an_accepted_send_takes_one_consent_and_becomes_a_card() {
    let mut world = World::new().await;
    world.grant(ANNA, 1);
    let (_, content_type, body) = world.client.send_raw(&message(ANNA)).await.unwrap();
    assert!(content_type.starts_with("application/json"));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let msgid = answer["msgid"].as_u64().unwrap();
    assert_eq!((answer["errcode"].as_i64(), answer["errmsg"].as_str()), (Some(0), Some("ok")));
    assert_eq!(msgid.to_string().len(), 19);
    assert!(msgid > 1 << 53);
    assert_eq!(world.left(ANNA), 0);
    let field = |label: &str, key: &str, value: &str| (label.to_owned(), key.to_owned(), value.to_owned());
    let card = Card {
        title: "喝水提醒".to_owned(),
        template: WATER.to_owned(),
        fields: vec![
            field("事项", "thing1", "喝一杯水"),
            field("时间", "time2", "2027年1月15日 08:00"),
            field("天气", "enum_string3", "晴"),
        ],
        page: Some("pages/water?n=1".to_owned()),
        at: world.clock.now(),
        msgid,
        receipt: None,
    };
    assert_eq!(world.platform.cards(ANNA), [card]);
    assert_eq!(world.platform.cards(BERT), []);

    let (errcode, errmsg) = world.client.send(&message(ANNA)).await;
    assert_eq!(errcode, 43101);
    let rid = errmsg.strip_prefix("user refuse to accept the msg rid: ").unwrap();
    assert_eq!(rid.split('-').map(str::len).collect::<Vec<_>>(), [8, 8, 8]);
    let sends = world.platform.sends();
    let outcomes: Vec<_> = sends.iter().map(|send| (send.outcome, send.answered)).collect();
    assert_eq!(outcomes, [(Outcome::Accepted { msgid }, true), (Outcome::Refused { errcode: 43101 }, true)]);
}

#[tokio::test]
async fn refusals_name_their_reason_and_take_nothing() {
    let mut world = World::new().await;
    world.grant(ANNA, 1);
    let thing = "/data/thing1/value";
    let table: &[(Value, i64, &str)] = &[
        (but(ANNA, "/touser", json!("")), 40003, "invalid openid"),
        (but(ANNA, "/touser", json!("o/1234567890")), 40003, "invalid openid"),
        (but(ANNA, "/template_id", json!("T")), 40037, "invalid template_id"),
        (but(ANNA, "/lang", json!("de_DE")), 40097, "invalid args"),
        (but(ANNA, "/miniprogram_state", json!("beta")), 40097, "invalid args"),
        (but(ANNA, "/touser", json!(1)), 47001, "data format error"),
        (but(ANNA, thing, json!("")), 47003, "argument invalid! data.thing1.value is empty"),
        (but(ANNA, thing, json!(null)), 47003, "argument invalid! data.thing1.value is empty"),
        (but(ANNA, thing, json!("字".repeat(21))), 47003, "argument invalid! data.thing1.value invalid"),
        (but(ANNA, thing, json!(["a"])), 47003, "argument invalid! data.thing1.value invalid"),
        (but(ANNA, "/data/thing1", json!("a")), 47003, "argument invalid! data.thing1.value is empty"),
        (but(ANNA, "/data", json!("{}")), 47003, "argument invalid! data.thing1.value is empty"),
        (but(ANNA, "/data/time2/value", json!("8点")), 47003, "argument invalid! data.time2.value invalid"),
        (
            but(ANNA, "/data/enum_string3/value", json!("雪")),
            47003,
            "argument invalid! data.enum_string3.value invalid",
        ),
        (
            {
                let mut extra = message(ANNA);
                extra["data"]["thing9"] = json!({"value": "a"});
                extra
            },
            47003,
            "argument invalid! data.thing9.value invalid",
        ),
    ];
    for (body, code, words) in table {
        let (errcode, errmsg) = world.client.send(body).await;
        assert_eq!(errcode, *code, "{body}");
        assert!(errmsg.starts_with(&format!("{words} rid: ")), "{errmsg}");
    }
    let path = format!("/cgi-bin/message/subscribe/send?access_token={}", world.client.token);
    assert_eq!(world.client.get(&path).await["errcode"], 43002);
    assert_eq!(world.client.post(&path, Value::Null).await["errcode"], 44002);
    assert_eq!(world.left(ANNA), 1);
    let totals = world.platform.totals();
    assert_eq!((totals.accepted, totals.refused[&47003], totals.refused[&40003]), (0, 9, 2));
    assert_eq!(world.client.send(&but(ANNA, thing, json!(12))).await.0, 0, "a number is taken as its text");
}

#[tokio::test]
async fn access_tokens_are_checked() {
    let mut world = World::new().await;
    world.grant(ANNA, 9);
    world.platform.revoke_tokens(APP);
    assert_eq!(world.client.send(&message(ANNA)).await.0, 40001);
    world.client.fetch_token().await;
    assert_eq!(world.client.send(&message(ANNA)).await.0, 0);
    world.platform.expire_tokens(APP);
    assert_eq!(world.client.send(&message(ANNA)).await.0, 42001);
    world.client.fetch_token().await;
    world.platform.refuse_tokens(APP, crate::sandbox::Acceptance::Refused);
    world.client.fetch_token().await;
    assert_eq!(world.client.send(&message(ANNA)).await.0, 40001);
    world.platform.refuse_tokens(APP, crate::sandbox::Acceptance::Ruled);
    assert_eq!(world.client.send(&message(ANNA)).await.0, 0);
    world.client.token.clear();
    assert_eq!(world.client.send(&message(ANNA)).await.0, 41001);
    assert_eq!(world.left(ANNA), 7);
}

#[tokio::test]
async fn taps_count_as_on_a_phone() {
    let world = World::new().await;
    let tap = |template, answer, keep| world.platform.tap(APP, ANNA, template, answer, keep).unwrap();
    let left = |template| world.platform.remaining(APP, ANNA, template);
    let steps = [
        (WATER, Answer::Reject, Keep::Once, "reject", 0),
        (WATER, Answer::Accept, Keep::Once, "accept", 1),
        (WATER, Answer::Reject, Keep::Once, "reject", 1),
        (WATER, Answer::Accept, Keep::Always, "accept", 2),
        (WATER, Answer::Reject, Keep::Once, "accept", 3),
        (NEWS, Answer::Accept, Keep::Once, "accept", 1),
        (NEWS, Answer::Accept, Keep::Once, "accept", 1),
        (NEWS, Answer::Reject, Keep::Once, "reject", 0),
    ];
    for (n, (template, answer, keep, status, remaining)) in steps.into_iter().enumerate() {
        assert_eq!((tap(template, answer, keep), left(template)), (status, remaining), "step {n}");
    }
    world.platform.revoke(APP, ANNA, WATER).unwrap();
    assert_eq!(left(WATER), 0);
    assert_eq!(tap(WATER, Answer::Reject, Keep::Once), "reject", "the kept choice is gone too");
}

#[tokio::test]
async fn a_standing_acceptance_lasts_and_unlisted_fields_are_checked_by_their_letters() {
    let mut world = World::new().await;
    let news =
        |value: &str| json!({"touser": ANNA, "template_id": NEWS, "data": {"letter1": {"value": value}}});
    assert_eq!(world.client.send(&news("a")).await.0, 43101);
    world.platform.tap(APP, ANNA, NEWS, Answer::Accept, Keep::Once).unwrap();
    for _ in 0..3 {
        assert_eq!(world.client.send(&news("a")).await.0, 0);
    }
    assert_eq!(world.client.send(&news("1")).await.0, 47003);
    assert_eq!(world.platform.totals().duplicates, 2);
}

#[tokio::test]
async fn one_openid_is_sent_to_by_one_at_a_time() {
    let mut world = World::with(Options { answer_after: Duration::from_millis(100), ..options() }).await;
    world.grant(ANNA, 3);
    world.grant(BERT, 1);
    let mut first = world.another_client().await;
    let mut others = JoinSet::new();
    others.spawn(async move { first.send(&message(ANNA)).await });
    world.until("one accepted", |platform| platform.totals().accepted == 1).await;
    assert_eq!(world.platform.in_flight(), 1);
    let (errcode, errmsg) = world.client.send(&message(ANNA)).await;
    assert_eq!(errcode, 43108);
    assert!(errmsg.starts_with("Cannot make concurrent calls to the same OpenID, please try again rid: "));
    let mut second = world.another_client().await;
    others.spawn(async move { second.send(&message(BERT)).await });
    world.until("another openid accepted", |platform| platform.totals().accepted == 2).await;
    assert_eq!((world.platform.in_flight(), world.platform.totals().in_flight_max), (2, 2));
    world.clock.advance(Duration::from_millis(100));
    while let Some(done) = others.join_next().await {
        assert_eq!(done.unwrap().0, 0);
    }
    assert_eq!(world.platform.in_flight(), 0);
    let mut third = world.another_client().await;
    others.spawn(async move { third.send(&message(ANNA)).await });
    world.until("the lane is free again", |platform| platform.totals().accepted == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_clients_share_three_hundred_consents_exactly() {
    let world = World::new().await;
    world.grant(ANNA, 300);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = world.another_client().await;
        clients.spawn(async move {
            let mut accepted = 0;
            loop {
                match client.send(&message(ANNA)).await.0 {
                    0 => accepted += 1,
                    43108 => tokio::task::yield_now().await,
                    43101 => return accepted,
                    other => panic!("{other}"),
                }
            }
        });
    }
    let accepted: Vec<u64> = clients.join_all().await;
    assert_eq!(accepted.iter().sum::<u64>(), 300);
    let totals = world.platform.totals();
    assert_eq!((totals.accepted, totals.duplicates, totals.in_flight), (300, 299, 0));
    assert_eq!((totals.refused[&43101], totals.accepted_but_unanswered, totals.connections), (8, 0, 9));
    assert_eq!(world.left(ANNA), 0);
    let refused: u64 = totals.refused.values().sum();
    assert_eq!(totals.begun, 300 + refused);
}

#[tokio::test]
async fn a_restart_keeps_consents_sends_and_the_count_of_msgids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("books.jsonl");
    let options = || Options { books: Some(path.clone()), ..options() };
    let mut world = World::with(options()).await;
    world.grant(ANNA, 3);
    world.platform.tap(APP, BERT, WATER, Answer::Accept, Keep::Always).unwrap();
    world.platform.grant_many(APP, "oCARL123456", WATER, 5).unwrap();
    world.platform.revoke(APP, "oCARL123456", WATER).unwrap();
    world.platform.tap(APP, ANNA, NEWS, Answer::Accept, Keep::Once).unwrap();
    assert_eq!(world.client.send(&message(ANNA)).await.0, 0);
    let news = json!({"touser": ANNA, "template_id": NEWS, "data": {"thing1": {"value": "a"}}});
    assert_eq!(world.client.send(&news).await.0, 0);
    world.platform.set_faults(vec![crate::sandbox::Fault::new(
        crate::sandbox::Api::Send,
        crate::sandbox::What::DestroyAfter,
    )]);
    assert!(world.client.send_raw(&message(ANNA)).await.is_err());
    let (before, cards) = (world.platform.totals(), world.platform.cards(ANNA));
    let sends = world.platform.sends();
    // Nothing is written at the stop, so this is what a kill leaves; the file is not closed either.
    let mut again = World::with(options()).await;
    let after = again.platform.totals();
    assert_eq!(after.accepted, before.accepted);
    assert_eq!((after.duplicates, after.accepted_but_unanswered), (1, 1));
    assert_eq!(again.platform.sends(), sends);
    assert_eq!(again.platform.cards(ANNA), cards);
    assert_eq!((again.left(ANNA), again.left(BERT), again.left("oCARL123456")), (1, 1, 0));
    assert_eq!(again.platform.remaining(APP, ANNA, NEWS), 1);
    assert_eq!(again.platform.tap(APP, BERT, WATER, Answer::Reject, Keep::Once).unwrap(), "accept");
    assert_eq!(again.client.send(&message(ANNA)).await.0, 0);
    let last = again.platform.cards(ANNA).last().unwrap().msgid;
    assert!(cards.iter().all(|card| card.msgid < last));
}
