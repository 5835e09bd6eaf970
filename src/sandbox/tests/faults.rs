//! Faults as a client meets them, and what the books say of them.

use super::*;
use crate::sandbox::{Api, Fault, Outcome, What};

/// Sends once under `fault` and tells what the client got, whether it was booked, and as what.
async fn meet(fault: Fault) -> (Answered, Outcome, u64) {
    let mut world = World::new().await;
    world.grant(ANNA, 5);
    world.platform.set_faults(vec![fault]);
    let answered = world.client.send_raw(&message(ANNA)).await;
    world.until("nothing in flight", |platform| platform.in_flight() == 0).await;
    let outcome = world.platform.sends()[0].outcome;
    let totals = world.platform.totals();
    assert_eq!(5 - world.left(ANNA), totals.accepted, "each acceptance took a consent");
    world.platform.clear_faults();
    let mut client = world.another_client().await;
    assert_eq!(client.send(&message(ANNA)).await.0, 0, "the lane is free again");
    (answered, outcome, totals.accepted_but_unanswered)
}

fn accepted(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[tokio::test]
async fn a_destroyed_connection_is_reset_before_or_after_acceptance() {
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, What::DestroyBefore)).await;
    assert!(answered.unwrap_err().contains("ConnectionReset"));
    assert_eq!((outcome, unanswered), (Outcome::Unhandled, 0));
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, What::DestroyAfter)).await;
    assert!(answered.unwrap_err().contains("ConnectionReset"));
    assert!(accepted(outcome));
    assert_eq!(unanswered, 1);
}

#[tokio::test]
async fn an_errcode_may_come_instead_of_acceptance_or_behind_it() {
    let busy = What::Errcode { code: -1, msg: "system error".into() };
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, busy.clone())).await;
    let (status, _, body) = answered.unwrap();
    assert!(body.starts_with(br#"{"errcode":-1,"errmsg":"system error rid: "#), "{body:?}");
    assert_eq!((status, outcome, unanswered), (200, Outcome::Refused { errcode: -1 }, 0));
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, busy).after()).await;
    assert!(answered.unwrap().2.starts_with(br#"{"errcode":-1"#));
    assert!(accepted(outcome));
    assert_eq!(unanswered, 1);
}

#[tokio::test]
async fn a_good_answer_may_name_no_message_and_is_the_true_one() {
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, What::NoMsgid)).await;
    let (status, _, body) = answered.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, body), (200, json!({"errcode": 0, "errmsg": "ok"})));
    assert!(accepted(outcome));
    assert_eq!(unanswered, 0);
}

#[tokio::test]
async fn answers_may_be_no_json_or_half_of_it() {
    let bad_gateway = What::Status { code: 502, body: "bad gateway".into() };
    let (answered, outcome, _) = meet(Fault::new(Api::Send, bad_gateway.clone())).await;
    assert_eq!(answered.unwrap(), (502, "text/plain".to_owned(), "bad gateway".into()));
    assert_eq!(outcome, Outcome::Unhandled);
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, bad_gateway).after()).await;
    assert_eq!(answered.unwrap().0, 502);
    assert_eq!((accepted(outcome), unanswered), (true, 1));
    let (answered, ..) = meet(Fault::new(Api::Send, What::Garbage)).await;
    assert!(serde_json::from_slice::<Value>(&answered.unwrap().2).is_err());
    let (answered, outcome, unanswered) = meet(Fault::new(Api::Send, What::Truncate).after()).await;
    let error = answered.unwrap_err();
    assert!(error.contains("IncompleteMessage") || error.contains("UnexpectedEof"), "{error}");
    assert_eq!((accepted(outcome), unanswered), (true, 1));
}

#[tokio::test]
async fn a_client_that_leaves_makes_its_send_unanswered() {
    let world = World::with(Options { answer_after: Duration::from_secs(9), ..options() }).await;
    world.grant(ANNA, 5);
    for (fault, accepted) in [(None, 1), (Some(Fault::new(Api::Send, What::Hang)), 1)] {
        world.platform.set_faults(fault.into_iter().collect());
        let before = world.platform.totals().begun;
        let mut client = world.another_client().await;
        let mut driver = std::mem::take(&mut client.driver);
        let mut sending = JoinSet::new();
        sending.spawn(async move { client.send_raw(&message(ANNA)).await });
        world.until("begun", |p| p.totals().begun == before + 1).await;
        world.until("booked", |p| p.sends().len() == usize::try_from(before).unwrap() + 1).await;
        assert_eq!(world.platform.in_flight(), 1);
        sending.shutdown().await;
        driver.shutdown().await;
        world.until("landed", |p| p.in_flight() == 0).await;
        let totals = world.platform.totals();
        assert_eq!((totals.accepted, totals.accepted_but_unanswered), (accepted, accepted));
    }
}

#[tokio::test]
async fn delays_are_by_the_clock() {
    let mut world = World::new().await;
    world.grant(ANNA, 1);
    let second = Duration::from_secs(1);
    world.platform.set_faults(vec![
        Fault::new(Api::Send, What::Delay(second)),
        Fault::new(Api::Send, What::Delay(second)).after(),
    ]);
    let mut client = world.another_client().await;
    let mut sending = JoinSet::new();
    sending.spawn(async move { client.send(&message(ANNA)).await });
    world.until("begun", |p| p.in_flight() == 1).await;
    // The delay began before or after this step; two steps pass it in any case.
    while world.platform.totals().accepted == 0 {
        world.clock.advance(second);
        tokio::task::yield_now().await;
    }
    assert_eq!(world.platform.in_flight(), 1);
    while world.platform.in_flight() == 1 {
        world.clock.advance(second);
        tokio::task::yield_now().await;
    }
    assert_eq!(sending.join_next().await.unwrap().unwrap().0, 0);
    assert_eq!(world.platform.totals().accepted_but_unanswered, 0);
    world.client.fetch_token().await;
}

#[tokio::test]
async fn tokens_and_logins_fail_on_command_too() {
    let mut world = World::new().await;
    let code = world.platform.login_code(APP, ANNA);
    let frozen = What::Errcode { code: 40243, msg: "appsecret frozen".into() };
    let lost = Fault::new(Api::Login, What::DestroyAfter).at_most(1);
    world.platform.set_faults(vec![Fault::new(Api::Token, frozen).at_most(1), lost]);
    let body = json!({"grant_type": "client_credential", "appid": APP, "secret": SECRET});
    assert_eq!(world.client.post("/cgi-bin/stable_token", body).await["errcode"], 40243);
    world.client.fetch_token().await;
    assert_eq!(world.platform.totals().token_calls, 3);
    let path = format!(
        "/sns/jscode2session?appid={APP}&secret={SECRET}&js_code={code}&grant_type=authorization_code"
    );
    assert!(world.client.raw(Method::GET, &path, "").await.is_err());
    let mut client = world.another_client().await;
    assert_eq!(client.get(&path).await["errcode"], 40163, "the lost answer had used the code up");
}
