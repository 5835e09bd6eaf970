//! Events that the fake platform makes, read by the client's reader: two readings of one contract, that share no code.

use chrono::{DateTime, Utc};
use tixing::domain::id::{AppId, OpenId, TemplateId};
use tixing::sandbox::push::{Form, Mode, Pusher, Told};
use tixing::wechat::push::{AesKey, Answered, Event, Keys, Plain, Query, Sent, What};

const APPID: &str = "wx0123456789abcdef";
const TOKEN: &str = "some-token";
const OPENID: &str = "oWorld-somebody";
const AT: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What is told, and what it is to the reader.
fn all() -> Vec<(Told, What)> {
    let openid = OpenId::parse(OPENID).unwrap();
    let template = TemplateId::parse("TPL_habit-1").unwrap();
    let answers = |status: &str| vec![Answered { template: template.clone(), status: status.to_owned() }];
    let answer = |event, status| Told::answer(event, OPENID, "TPL_habit-1", status, AT - 5);
    let message = |errcode| vec![Sent { template: template.clone(), msgid: u64::MAX - 1, errcode }];
    let mut two = answer("subscribe_msg_popup_event", "accept");
    two.items.extend(answer("", "reject").items);
    let both = [answers("accept"), answers("reject")].concat();
    let (of, to) = (openid.clone(), openid.clone());
    vec![
        (
            answer("subscribe_msg_change_event", "reject"),
            What::Changed { openid: of.clone(), answers: answers("reject") },
        ),
        (
            answer("subscribe_msg_popup_event", "accept"),
            What::Asked { openid: of.clone(), answers: answers("accept") },
        ),
        (two, What::Asked { openid: of.clone(), answers: both }),
        (
            Told::sent(OPENID, "TPL_habit-1", u64::MAX - 1, 0, AT - 5),
            What::Sent { openid: of, messages: message(0) },
        ),
        (
            Told::sent(OPENID, "TPL_habit-1", u64::MAX - 1, 43004, AT - 5),
            What::Sent { openid: to, messages: message(43004) },
        ),
        (Told::left(OPENID, AT - 5), What::Left { openid }),
    ]
}

#[test]
fn whatever_the_platform_pushes_is_read_as_what_it_is() {
    let app = AppId::parse(APPID).unwrap();
    // Keys of every last character, so with and without spare bits.
    let keys: Vec<String> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .map(|last| format!("{}{last}", "k9".repeat(21)))
        .collect();
    let mut fills = std::collections::BTreeSet::new();
    for (n, aes_key) in keys.iter().enumerate() {
        let pusher = Pusher::new(APPID, TOKEN, aes_key).unwrap();
        let ours = |plain| Keys::new(TOKEN.to_owned().into(), AesKey::parse(aes_key).ok(), plain).unwrap();
        let trial = pusher.trial("echo", AT);
        assert_eq!(ours(Plain::Refused).verify(&Query::read(Some(&trial)), at(AT)), Ok("echo".to_owned()));
        for (mut told, what) in all() {
            // Longer by a byte each time, so that the padding takes all its lengths.
            told.more.push(("X", "x".repeat(n % 32)));
            for mode in [Mode::Plain, Mode::Compatible, Mode::Safe] {
                for form in [Form::Xml, Form::Json, Form::JsonOfOne] {
                    let pushed = pusher.push(&told, mode, form, AT, [7; 16]);
                    fills.insert(pushed.body.len() % 32);
                    let query = Query::read(Some(&pushed.query));
                    let open = |plain| ours(plain).open(&app, &query, pushed.body.as_bytes(), at(AT));
                    let expected = Event { created_at: at(AT - 5), what: what.clone() };
                    if mode == Mode::Plain {
                        assert!(open(Plain::Refused).is_err(), "{pushed:?}");
                        let harmless = matches!(what, What::Changed { .. } | What::Sent { .. });
                        assert_eq!(open(Plain::Allowed).unwrap() == expected, harmless, "{pushed:?}");
                    } else {
                        assert_eq!(open(Plain::Refused), Ok(expected), "{mode:?} {form:?} {pushed:?}");
                        let other = AppId::parse("wx0123456789abcdee").unwrap();
                        assert!(
                            ours(Plain::Allowed)
                                .open(&other, &query, pushed.body.as_bytes(), at(AT))
                                .is_err()
                        );
                    }
                }
            }
        }
    }
    assert!(fills.len() > 16, "{fills:?}");
}
