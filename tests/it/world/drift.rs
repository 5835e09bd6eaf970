//! The drift meter: what a mini program reports and the platform does not know shows in `status`, by who said it.

use serde_json::json;
use tixing::admin::request::Request;
use tixing::store::Store as _;

use super::{EIGHT, HABIT, World, openid};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_what_the_books_had_is_counted_by_who_said_it() {
    let mut world = World::new().await;
    world.rule("water", &[EIGHT]).await;
    world.start().await;
    // Nobody but cid tapped; what the others have rests on a word.
    world.report("ann", HABIT, "accept").await.unwrap();
    let who = openid("bob").as_str().to_owned();
    world
        .asks(Request::ConsentsGrant { app: None, who, template: HABIT.to_owned(), n: 1, reveal: false })
        .await;
    world.grant("cid", HABIT, 1).await;
    assert_eq!(world.power().drift().unwrap(), []);
    world.at("08:00").await;
    world.expect("water", "done: 3 = 1 sent, 2 refused").await;
    let mut before = None;
    for _ in 0..2 {
        let drift = world.asks(Request::Status).await.remove(0)["drift"].take();
        let told = |n: usize| {
            let row = &drift[n];
            (row["app"].clone(), row["template"].clone(), row["evidence"].clone(), row["denied"].clone())
        };
        let of = |evidence: &str| (json!("main"), json!(HABIT), json!(evidence), json!(1));
        assert_eq!((told(0), told(1)), (of("backend"), of("operator")), "{drift}");
        assert_eq!((drift.as_array().unwrap().len(), &drift[0]["sent_at_zero"]), (2, &json!(0)));
        // It is the same after a restart.
        assert_eq!(before.get_or_insert_with(|| drift.clone()), &drift);
        world.restart().await;
    }
    world.stop_here().await;
}
