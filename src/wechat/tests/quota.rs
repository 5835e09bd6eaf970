//! What the platform says of a quota, and that asking never costs a send anything.

use super::*;
use crate::plan::quota::Quota;

const QUOTA: &str = "openapi/quota/get";

#[tokio::test]
async fn a_quota_is_read_as_documented_and_a_failure_harms_nobody() {
    let some = Some(Quota { daily_limit: 10_000_000, used: 7, remain: 9_999_993 });
    let text = r#"{"errcode":0,"errmsg":"ok","quota":{"daily_limit":10000000,"used":7,"remain":9999993},"rate_limit":{"call_count":1,"refresh_second":1}}"#;
    let spelt = r#"{"errcode":"0","quota":{"daily_limit":"10000000","used":"7","remain":"9999993"}}"#;
    let table: [(&str, Act, Option<Quota>); 10] = [
        ("documented", Act::json(text), some),
        ("numbers as texts", Act::json(spelt), some),
        ("not this path", Act::json(r#"{"errcode":76021,"errmsg":"cgi_path not found"}"#), None),
        ("a refused token", Act::json(REFUSED), None),
        ("used up itself", Act::json(r#"{"errcode":45009}"#), None),
        ("no quota", Act::json(r#"{"errcode":0}"#), None),
        ("half a quota", Act::json(r#"{"errcode":0,"quota":{"daily_limit":1}}"#), None),
        ("no JSON", Act::json("busy"), None),
        ("cut", Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()), None),
        ("hangs", Act::Hang, None),
    ];
    for (what, act, wanted) in table {
        let fake =
            sending(move |call| if call.path.contains(QUOTA) { act.clone() } else { Act::json(OK) }).await;
        let client = hasty(&fake);
        assert!(client.quota().await.is_err(), "{what}: no access token yet");
        assert_eq!((fake.n(QUOTA), fake.n(TOKEN)), (0, 0), "{what}: none is fetched for it");
        client.warm().await.unwrap();
        let told = client.quota().await;
        assert!(!format!("{told:?}").contains("CANARY"), "{told:?}");
        assert_eq!(told.ok(), wanted, "{what}");
        let [asked] = <[Call; 1]>::try_from(fake.calls(QUOTA)).unwrap();
        assert_eq!((asked.method.as_str(), asked.query.as_str()), ("POST", "access_token=CANARYTOKEN-1"));
        assert_eq!(asked.body, r#"{"cgi_path":"/cgi-bin/message/subscribe/send"}"#);
        assert_eq!(client.send(&message()).await.reply, ACCEPTED, "{what}");
        assert_eq!(fake.n(TOKEN), 1, "{what}: the token lives");
    }
}
