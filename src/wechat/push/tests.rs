//! Events as the platform's pages show them, and as nobody but a forger would make them.

use super::*;
use crate::domain::id::{OpenId, TemplateId};

const TOKEN: &str = "remindtoken";
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const APPID: &str = "wx0123456789abcdef";
/// Vector A of a plain message of 206 bytes, padded by 12, and B, padded by 32: made outside of this crate.
const ENCRYPTED: &str = "Q3stYC6hdFzMh9T8HCvyDPiPA2Rtqhn7FBuu3WpwJrnJHnREwn7UxvnMGgpzF3dc0yU0AW0qzKtBucEtIaDxZSrRP0qnFO1X0MOQ27ZD6L8TIYdcXwGEJEBfDK5nvCR08Zblc1zNNucGpM3ytomY8hADLc9CSZqJ5rtBKLWQgzIz4hq65AyTWSFaLJF0Q8upEZMHmwFVhMSkQqT5n+dhzb3n7qiDmsxoT1NmLNm6+K+XS8A8+HlL0YzwbLMcj/nP1FbHxVQRqnBe2bcETIhTEQIC2jxQYzw3pG4MXJ/80dpRCAMmPxvntA/x9fY91ESYn9I8VF9XeY0v5C7+KDwPMA==";
const SIGNED: &str = "7446116bbf7b79d3212a41da20f9901f7d7dd609";
const ENCRYPTED_B: &str = "Q3stYC6hdFzMh9T8HCvyDEQsBVpmI2ItTFcgr+sb8R+tMocPQ3wmSSx1L9ZCJL2lH62Xi2+C5QRtfL0XGBnMJg1ZUBzmoySJbECt6Sf4mlUtyIcKY1RJQ/3AJKNVCp6+";
const SIGNED_B: &str = "1eeab197540a72010af11a2ef1e0aa9b4a698aea";
const PLAIN_SIGNATURE: &str = "60106cdda97c19e91335941d7808c6497d05556b";
const AT: i64 = 1_767_225_601;

fn keys(plain: Plain) -> Keys {
    Keys::new(SecretString::from(TOKEN), AesKey::parse(AES_KEY).ok(), plain).unwrap()
}

fn app() -> AppId {
    AppId::parse(APPID).unwrap()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn query(rest: &str) -> Query {
    Query::read(Some(&format!("timestamp={AT}&nonce=nonce01&{rest}")))
}

fn openid() -> OpenId {
    OpenId::parse("oUSER1234567").unwrap()
}

fn template(id: &str) -> TemplateId {
    TemplateId::parse(id).unwrap()
}

/// What an unencrypted document says.
fn plain(document: &str) -> Result<Event, Refused> {
    let query = query(&format!("signature={PLAIN_SIGNATURE}"));
    keys(Plain::Allowed).open(&app(), &query, document.as_bytes(), at(AT))
}

/// What a document says, whoever sent it.
fn read(document: &str) -> What {
    let tree = Node::read(document.as_bytes()).unwrap_or_else(|| panic!("{document}"));
    Event::read(&tree, at(AT)).what
}

#[test]
fn the_address_is_verified_as_the_platforms_own_example() {
    let table = [
        ("1714036504", "1514711492", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("1714037059", "486452656", "899cf89e464efb63f54ddac96b0a0a235f53aa78"),
    ];
    let keys = Keys::new(SecretString::from("AAAAA"), None, Plain::Refused).unwrap();
    for (timestamp, nonce, signature) in table {
        let ask = |timestamp: &str, nonce: &str, signature: &str, echo: &str, now: i64| {
            let text = format!("signature={signature}&timestamp={timestamp}&nonce={nonce}&echostr={echo}");
            keys.verify(&Query::read(Some(&text)), at(now))
        };
        let seconds: i64 = timestamp.parse().unwrap();
        for now in [seconds - 600, seconds, seconds + 600] {
            assert_eq!(ask(timestamp, nonce, signature, "a%2Bb", now).unwrap(), "a+b");
        }
        let refused = [
            ask(timestamp, nonce, signature, "e", seconds + 601),
            ask(timestamp, nonce, signature, "e", seconds - 601),
            ask(timestamp, nonce, signature, "", seconds),
            ask(timestamp, "1", signature, "e", seconds),
            ask(timestamp, nonce, &signature.to_uppercase(), "e", seconds),
            ask(timestamp, nonce, &signature.replace('6', "7"), "e", seconds),
            ask(timestamp, nonce, "", "e", seconds),
            ask("now", nonce, signature, "e", seconds),
            ask(&format!("{timestamp}&timestamp={timestamp}"), nonce, signature, "e", seconds),
        ];
        assert_eq!(refused, [const { Err(Refused::NotGenuine) }; 9]);
    }
}

#[test]
fn the_vectors_open_and_no_changed_byte_does() {
    let body = |encrypted: &str| format!(r#"{{"ToUserName":"gh_demo","Encrypt":"{encrypted}"}}"#);
    let xml = format!(
        "<xml><ToUserName><![CDATA[gh_demo]]></ToUserName><Encrypt><![CDATA[{ENCRYPTED}]]></Encrypt></xml>"
    );
    let open = |body: &str, signature: &str| {
        keys(Plain::Refused).open(
            &app(),
            &query(&format!("msg_signature={signature}")),
            body.as_bytes(),
            at(AT),
        )
    };
    // `oUSER1` is shorter than any openid of the platform: an event of nobody.
    let nobody = What::Other { name: "subscribe_msg_popup_event".to_owned() };
    for body in [body(ENCRYPTED), xml] {
        assert_eq!(open(&body, SIGNED), Ok(Event { created_at: at(1_767_225_600), what: nobody.clone() }));
    }
    let unnamed = What::Other { name: String::new() };
    assert_eq!(open(&body(ENCRYPTED_B), SIGNED_B).unwrap().what, unnamed, "no name, and padded by 32");
    for i in 0..ENCRYPTED.len() {
        let mut changed = ENCRYPTED.to_owned();
        changed.replace_range(i..=i, if ENCRYPTED.as_bytes()[i] == b'A' { "B" } else { "A" });
        assert_eq!(open(&body(&changed), SIGNED), Err(Refused::NotGenuine), "{i}");
    }
    let other = AppId::parse("wx0123456789abcdee").unwrap();
    let signed = query(&format!("msg_signature={SIGNED}"));
    let bytes = body(ENCRYPTED);
    assert_eq!(keys(Plain::Refused).open(&other, &signed, bytes.as_bytes(), at(AT)), Err(Refused::OtherApp),);
    let with_key = |aes_key| Keys::new(SecretString::from(TOKEN), aes_key, Plain::Allowed).unwrap();
    for (aes_key, refused) in
        [(Some(AesKey::parse(&"k".repeat(43)).unwrap()), Refused::WrongAesKey), (None, Refused::NoAesKey)]
    {
        assert_eq!(with_key(aes_key).open(&app(), &signed, bytes.as_bytes(), at(AT)), Err(refused));
    }
    let by_signature = query(&format!("signature={PLAIN_SIGNATURE}"));
    let opened = keys(Plain::Allowed).open(&app(), &by_signature, bytes.as_bytes(), at(AT));
    assert_eq!(opened, Err(Refused::NotGenuine), "a signature that does not cover what is encrypted");
    let late = keys(Plain::Refused).open(&app(), &signed, bytes.as_bytes(), at(AT + 601));
    assert_eq!(late, Err(Refused::NotGenuine));
}

#[test]
fn damage_behind_a_right_signature_is_refused() {
    // Only who has the token can sign so; what he encrypts is checked all the same.
    let key = AesKey::parse(AES_KEY).unwrap();
    for text in [
        "",
        "AAAA",
        "!",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        ENCRYPTED.split_at(64).0,
        ENCRYPTED.split_at(ENCRYPTED.len() - 24).0,
    ] {
        assert_eq!(key.open(text), None, "{text}");
    }
    assert!(key.open(ENCRYPTED).is_some());
}

#[test]
fn keys_with_any_last_character_are_taken() {
    let table =
        [("a".repeat(43), true), ("a".repeat(42), false), ("a".repeat(44), false), ("!".repeat(43), false)];
    for (text, good) in table {
        assert_eq!(AesKey::parse(&text).is_ok(), good, "{text}");
    }
    for last in ('A'..='Z').chain('a'..='z').chain('0'..='9') {
        assert!(AesKey::parse(&format!("{}{last}", "k".repeat(42))).is_ok(), "{last}");
    }
    for token in ["", "a b", "京", &"t".repeat(65)] {
        assert!(Keys::new(SecretString::from(token), None, Plain::Allowed).is_err(), "{token}");
    }
    assert!(!format!("{:?}", keys(Plain::Refused)).contains(TOKEN));
}

#[test]
fn plain_events_count_only_where_they_are_allowed_and_harmless() {
    let change = r#"{"FromUserName":"oUSER1234567","CreateTime":1767225600,"Event":"subscribe_msg_change_event","List":{"TemplateId":"T","SubscribeStatusString":"reject"}}"#;
    assert!(matches!(plain(change).unwrap().what, What::Changed { .. }));
    let sent = r#"{"FromUserName":"oUSER1234567","Event":"subscribe_msg_sent_event","List":{"TemplateId":"T","MsgID":"7","ErrorCode":"0"}}"#;
    assert!(matches!(plain(sent).unwrap().what, What::Sent { .. }));
    for document in [
        r#"{"FromUserName":"oUSER1234567","Event":"subscribe_msg_popup_event","List":{"TemplateId":"T","SubscribeStatusString":"accept"}}"#,
        r#"{"OpenID":"oUSER1234567","Event":"user_authorization_cancellation"}"#,
        r#"{"event_type":"4","Event":"wxa_punish_event"}"#,
    ] {
        assert!(matches!(plain(document).unwrap().what, What::Other { .. }), "{document}");
    }
    assert_eq!(plain("{}").unwrap().what, What::Other { name: String::new() });
    assert_eq!(plain("nonsense"), Err(Refused::NotGenuine));
    let query = query(&format!("signature={PLAIN_SIGNATURE}"));
    let strict = keys(Plain::Refused).open(&app(), &query, change.as_bytes(), at(AT));
    assert_eq!(strict, Err(Refused::NotEncrypted));
    let forged = keys(Plain::Allowed).open(&app(), &Query::default(), change.as_bytes(), at(AT));
    assert_eq!(forged, Err(Refused::NotGenuine));
}

#[test]
fn every_form_of_the_three_events_is_read() {
    let head = "<FromUserName><![CDATA[oUSER1234567]]></FromUserName><CreateTime>1767225600</CreateTime><MsgType><![CDATA[event]]></MsgType>";
    let answer = |id: &str, status: &str| Answered { template: template(id), status: status.to_owned() };
    let both = vec![answer("TPL_A", "accept"), answer("TPL_B", "reject")];
    let one = vec![answer("TPL_A", "accept")];
    let receipt =
        |errcode| vec![Sent { template: template("TPL_A"), msgid: Some(1_700_000_000_000_000_001), errcode }];
    let nameless = |errcode| vec![Sent { template: template("TPL_A"), msgid: None, errcode }];
    let asked = |answers: Vec<Answered>| What::Asked { openid: openid(), answers };
    let changed = |answers: Vec<Answered>| What::Changed { openid: openid(), answers };
    let sent = |messages: Vec<Sent>| What::Sent { openid: openid(), messages };
    let other = |name: &str| What::Other { name: name.to_owned() };
    let item = |id: &str, status: &str| {
        format!(
            "<List><TemplateId><![CDATA[{id}]]></TemplateId><SubscribeStatusString><![CDATA[{status}]]></SubscribeStatusString><PopupScene>2</PopupScene></List>"
        )
    };
    let (a, b) = (item("TPL_A", "accept"), item("TPL_B", "reject"));
    let json = |event: &str, list: &str| {
        format!(
            r#"{{"ToUserName":"gh","FromUserName":"oUSER1234567","CreateTime":"1767225600","MsgType":"event","Event":"{event}",{list}}}"#
        )
    };
    let popup = "subscribe_msg_popup_event";
    let items = r#"{"TemplateId":"TPL_A","SubscribeStatusString":"accept","PopupScene":"0"},{"TemplateId":"TPL_B","SubscribeStatusString":"reject","PopupScene":0}"#;
    let single = r#"{"TemplateId":"TPL_A","SubscribeStatusString":"accept"}"#;
    let table = [
        (format!("<xml>{head}<Event><![CDATA[{popup}]]></Event><SubscribeMsgPopupEvent>{a}{b}</SubscribeMsgPopupEvent></xml>"), asked(both.clone())),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_change_event]]></Event><SubscribeMsgPopupEvent>{a}</SubscribeMsgPopupEvent></xml>"), changed(one.clone())),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_change_event]]></Event>{a}{b}</xml>"), changed(both.clone())),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_sent_event]]></Event><SubscribeMsgSentEvent><List><TemplateId><![CDATA[TPL_A]]></TemplateId><MsgID>1700000000000000001</MsgID><ErrorCode>0</ErrorCode><ErrorStatus><![CDATA[success]]></ErrorStatus></List></SubscribeMsgSentEvent></xml>"), sent(receipt(0))),
        (json(popup, &format!(r#""List":[{items}]"#)), asked(both.clone())),
        (json(popup, &format!(r#""List":{single}"#)), asked(one.clone())),
        (json(popup, &format!(r#""SubscribeMsgPopupEvent":{{"List":[{items}]}}"#)), asked(both)),
        (json(popup, r#""List":[]"#), asked(Vec::new())),
        (json(popup, r#""X":1"#), asked(Vec::new())),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorCode":"43004","ErrorStatus":"user block"}"#), sent(receipt(43004))),
        (json("subscribe_msg_sent_event", r#""List":[{"TemplateId":"TPL_A","MsgID":1700000000000000001,"ErrorCode":0}]"#), sent(receipt(0))),
        (json("subscribe_msg_sent_event", r#""List":[{"TemplateId":"TPL_A","MsgID":1700000000000000001,"ErrorCode":"what"}]"#), sent(receipt(-1))),
        (json("subscribe_msg_sent_event", r#""List":[{"TemplateId":"TPL_A","MsgID":"many"}]"#), sent(Vec::new())),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorStatus":"success"}"#), sent(receipt(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorCode":"","ErrorStatus":"Success"}"#), sent(receipt(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorStatus":"user block"}"#), sent(receipt(-1))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorCode":"0","ErrorStatus":"failed"}"#), sent(receipt(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorCode":"","ErrorStatus":""}"#), sent(Vec::new())),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"","MsgId":"1700000000000000001","ErrorCode":0}"#), sent(receipt(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","ErrorCode":0}"#), sent(nameless(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"","ErrorCode":"43004"}"#), sent(nameless(43004))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":null,"ErrorStatus":"success"}"#), sent(nameless(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":0,"ErrorCode":0}"#), sent(nameless(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"18446744073709551615","ErrorCode":0}"#), sent(nameless(0))),
        (json("subscribe_msg_sent_event", r#""List":{"TemplateId":"TPL_A","MsgID":"many","ErrorCode":0}"#), sent(nameless(0))),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_sent_event]]></Event><SubscribeMsgSentEvent><List><TemplateId><![CDATA[TPL_A]]></TemplateId><ErrorCode>0</ErrorCode></List></SubscribeMsgSentEvent></xml>"), sent(nameless(0))),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_sent_event]]></Event><SubscribeMsgSentEvent><List><TemplateId><![CDATA[TPL_A]]></TemplateId><MsgID></MsgID><ErrorStatus><![CDATA[success]]></ErrorStatus></List></SubscribeMsgSentEvent></xml>"), sent(nameless(0))),
        (format!("<xml>{head}<Event><![CDATA[subscribe_msg_sent_event]]></Event><SubscribeMsgSentEvent><List><TemplateId><![CDATA[TPL_A]]></TemplateId><MsgID/><ErrorCode>0</ErrorCode></List></SubscribeMsgSentEvent></xml>"), sent(nameless(0))),
        // Copies of it could not be told from what is said of another message.
        (r#"{"FromUserName":"oUSER1234567","Event":"subscribe_msg_sent_event","List":[{"TemplateId":"T","ErrorCode":0},{"TemplateId":"TPL_A","MsgID":"1700000000000000001","ErrorCode":0}]}"#.to_owned(), sent(receipt(0))),
        (r#"{"FromUserName":"gh_platform","OpenID":"oUSER1234567","Event":"user_authorization_cancellation","CreateTime":1767225600}"#.to_owned(), What::Left { openid: openid() }),
        (r#"{"OpenID":"x","Event":"user_authorization_cancellation"}"#.to_owned(), other("user_authorization_cancellation")),
        (r#"{"Event":"wxa_punish_event","event_type":2,"detail":"{\"banned_days\":7}"}"#.to_owned(), What::Punished { kind: "2".to_owned(), detail: r#"{"banned_days":7}"#.to_owned() }),
        (r#"{"MsgType":"event","Event":"debug_demo","debug_str":"x"}"#.to_owned(), other("debug_demo")),
        (r#"{"MsgType":"text","Content":"hello"}"#.to_owned(), other("text")),
    ];
    for (document, expected) in table {
        assert_eq!(read(&document), expected, "{document}");
    }
}

#[test]
fn an_event_is_of_the_time_that_the_platform_says() {
    let table = [
        (r#""CreateTime":1767225500,"#, 1_767_225_500),
        (r#""CreateTime":"1767225500","#, 1_767_225_500),
        // Also ahead of our clock: the same event has one time whenever it comes.
        (r#""CreateTime":1767229999,"#, 1_767_229_999),
        (r#""CreateTime":"soon","#, AT),
        ("", AT),
    ];
    for (time, expected) in table {
        let tree = Node::read(format!(r#"{{{time}"Event":"x"}}"#).as_bytes()).unwrap();
        assert_eq!(Event::read(&tree, at(AT)).created_at, at(expected), "{time}");
    }
}

/// In compatible mode both parts say the same, and each has a signature of its own.
#[test]
fn the_plain_part_counts_where_there_is_no_key_for_the_encrypted_one() {
    let change = r#""FromUserName":"oUSER1234567","CreateTime":1767225600,"Event":"subscribe_msg_change_event","List":{"TemplateId":"T","SubscribeStatusString":"reject"}"#;
    let both = format!(r#"{{{change},"Encrypt":"{ENCRYPTED}"}}"#);
    let alone = format!(r#"{{"ToUserName":"gh_demo","Encrypt":"{ENCRYPTED}"}}"#);
    let open = |body: &str, (signature, msg_signature): (&str, &str), aes_key: Option<&str>, plain| {
        let aes_key = aes_key.map(|text| AesKey::parse(text).unwrap());
        let keys = Keys::new(SecretString::from(TOKEN), aes_key, plain).unwrap();
        let signed = query(&format!("signature={signature}&msg_signature={msg_signature}"));
        keys.open(&app(), &signed, body.as_bytes(), at(AT)).map(|event| event.what)
    };
    let signatures = (PLAIN_SIGNATURE, SIGNED);
    let refusal = Ok(What::Changed {
        openid: openid(),
        answers: vec![Answered { template: template("T"), status: "reject".to_owned() }],
    });
    let inside = Ok(What::Other { name: "subscribe_msg_popup_event".to_owned() });
    for (what, body, signatures, aes_key, plain, expected) in [
        ("no key", &both, signatures, None, Plain::Allowed, refusal),
        (
            "the signature of the other part",
            &both,
            ("", SIGNED),
            None,
            Plain::Allowed,
            Err(Refused::NotGenuine),
        ),
        ("a key", &both, signatures, Some(AES_KEY), Plain::Allowed, inside.clone()),
        (
            "a key, forged",
            &both,
            (PLAIN_SIGNATURE, ""),
            Some(AES_KEY),
            Plain::Allowed,
            Err(Refused::NotGenuine),
        ),
        ("safe mode alone", &both, signatures, Some(AES_KEY), Plain::Refused, inside),
        ("neither", &both, signatures, None, Plain::Refused, Err(Refused::NoAesKey)),
        ("nothing beside it", &alone, signatures, None, Plain::Allowed, Err(Refused::NoAesKey)),
    ] {
        assert_eq!(open(body, signatures, aes_key, plain), expected, "{what}");
    }
    let accept = both.replace("change_event", "popup_event").replace("reject", "accept");
    let told = open(&accept, signatures, None, Plain::Allowed);
    assert_eq!(
        told,
        Ok(What::Other { name: "subscribe_msg_popup_event".to_owned() }),
        "nothing is gained by it"
    );
}

#[test]
fn what_has_more_items_than_any_that_is_known_comes_in_pieces() {
    let item = |n: usize| {
        format!(r#"{{"TemplateId":"T{n}","SubscribeStatusString":"reject","MsgID":{n},"ErrorCode":0}}"#)
    };
    for name in ["subscribe_msg_change_event", "subscribe_msg_popup_event", "subscribe_msg_sent_event"] {
        for (n, expected) in [(0, vec![0]), (100, vec![100]), (101, vec![100, 1]), (250, vec![100, 100, 50])]
        {
            let list = (0..n).map(item).collect::<Vec<_>>().join(",");
            let document = format!(
                r#"{{"FromUserName":"oUSER1234567","CreateTime":1767225600,"Event":"{name}","List":[{list}]}}"#
            );
            let event = plain(&document).unwrap();
            let tree = Node::read(document.as_bytes()).unwrap();
            let pieces = Event::read(&tree, at(AT)).in_pieces();
            let templates: Vec<Vec<TemplateId>> = pieces
                .iter()
                .map(|piece| match &piece.what {
                    What::Asked { answers, .. } | What::Changed { answers, .. } => {
                        answers.iter().map(|answered| answered.template.clone()).collect()
                    }
                    What::Sent { messages, .. } => {
                        messages.iter().map(|sent| sent.template.clone()).collect()
                    }
                    What::Left { .. } | What::Punished { .. } | What::Other { .. } => panic!("{piece:?}"),
                })
                .collect();
            assert_eq!(templates.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{name} {n}");
            let in_order = templates.concat();
            assert_eq!(in_order, (0..n).map(|n| template(&format!("T{n}"))).collect::<Vec<_>>());
            assert!(pieces.iter().all(|piece| piece.created_at == event.created_at));
        }
    }
}
