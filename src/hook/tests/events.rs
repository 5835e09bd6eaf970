//! The platform's door: who may knock, and what is answered.

use sha1::{Digest as _, Sha1};

use super::*;

pub(super) const REFUSAL: &str = r#"{"FromUserName":"oSECRETSECRET","CreateTime":1799999990,"MsgType":"event","Event":"subscribe_msg_change_event","List":{"TemplateId":"T","SubscribeStatusString":"reject"}}"#;

/// A query that the token of `clinic` signs.
pub(super) fn signed(at: i64) -> String {
    format!("signature={}&timestamp={at}&nonce=n1", signature(at, ""))
}

/// The token's signature beside an encrypted part, or of none.
pub(super) fn signature(at: i64, encrypted: &str) -> String {
    let mut parts = ["remindtoken".to_owned(), at.to_string(), "n1".to_owned(), encrypted.to_owned()];
    parts.sort();
    let hash: Vec<String> = Sha1::digest(parts.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    hash.concat()
}

#[tokio::test]
async fn the_platform_is_answered_success_and_nobody_else() {
    let world = World::new(&["clinic", "school"], Options::default());
    let now = start().timestamp();
    let good = signed(now);
    let table = [
        (format!("GET /wechat/clinic?{good}&echostr=57%2B9"), "", 200, "57+9"),
        (format!("GET /wechat/clinic?{good}"), "", 403, "not_genuine"),
        (format!("GET /wechat/clinic?{}&echostr=1", signed(now - 601)), "", 403, "not_genuine"),
        ("GET /wechat/clinic".to_owned(), "", 403, "not_genuine"),
        (format!("GET /wechat/school?{good}&echostr=1"), "", 404, "not_found"),
        (format!("GET /wechat/nobody?{good}&echostr=1"), "", 404, "not_found"),
        (format!("GET /wechat/?{good}&echostr=1"), "", 404, "not_found"),
        (format!("PUT /wechat/clinic?{good}"), "", 405, "method_not_allowed"),
        (format!("POST /wechat/clinic?{good}"), REFUSAL, 200, "success"),
        (format!("POST /wechat/clinic?{good}"), r#"{"Event":"of_tomorrow"}"#, 200, "success"),
        (format!("POST /wechat/clinic?{good}"), "{}", 200, "success"),
        (format!("POST /wechat/clinic?{good}"), "", 403, "not_genuine"),
        (format!("POST /wechat/clinic?{}", good.replace("n1", "n2")), REFUSAL, 403, "not_genuine"),
        (format!("POST /wechat/clinic?{}", signed(now + 601)), REFUSAL, 403, "not_genuine"),
    ];
    for (head, body, status, expected) in table {
        let reply = world.ask(&head, body).await;
        assert_eq!(reply.status, status, "{head}: {reply:?}");
        assert!(reply.body.contains(expected) && !reply.body.contains("SECRET"), "{head}: {reply:?}");
        if status == 200 {
            assert_eq!(reply.body, expected);
            assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        } else {
            reply.problem();
        }
    }
    let said = world.said();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("Changed") && said[1].contains("of_tomorrow"), "{said:?}");
    assert!(said[2].ends_with(r#"what: Other { name: "" } }"#), "{said:?}");
}

#[tokio::test]
async fn what_is_not_booked_is_not_answered_success() {
    let world = World::new(&["clinic"], Options::default());
    *world.flow.refuses.lock().unwrap() = Some(ReportError::TooLarge);
    let head = format!("POST /wechat/clinic?{}", signed(start().timestamp()));
    let reply = world.ask(&head, REFUSAL).await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
    assert!(reply.header("retry-after").is_some());
}
