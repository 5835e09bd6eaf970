//! Events that the fake platform makes, read by the client's reader: two readings of one contract, that share no code.

use std::collections::BTreeSet;

use aes::Aes256;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
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

/// The largest that can be a message's; beyond are those that stand in place of one.
const MSGID: u64 = (0xffff << 48) - 1;

/// What is told, and what it is to the reader.
fn all() -> Vec<(Told, What)> {
    let openid = OpenId::parse(OPENID).unwrap();
    let template = TemplateId::parse("TPL_habit-1").unwrap();
    let answers = |status: &str| vec![Answered { template: template.clone(), status: status.to_owned() }];
    let answer = |event, status| Told::answer(event, OPENID, "TPL_habit-1", status, AT - 5);
    let message = |errcode| vec![Sent { template: template.clone(), msgid: Some(MSGID), errcode }];
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
            Told::sent(OPENID, "TPL_habit-1", MSGID, 0, AT - 5),
            What::Sent { openid: of, messages: message(0) },
        ),
        (
            Told::sent(OPENID, "TPL_habit-1", MSGID, 43004, AT - 5),
            What::Sent { openid: to, messages: message(43004) },
        ),
        (Told::left(OPENID, AT - 5), What::Left { openid }),
    ]
}

/// How many bytes fill the encrypted text of an event in safe mode up to whole 32.
fn fill(aes_key: &str, body: &str) -> u8 {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |text: &str| GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).unwrap();
    let text = body.split(['"', '[', ']']).max_by_key(|part| part.len()).unwrap();
    let (key, mut bytes) = (decode(aes_key), decode(text));
    assert!(bytes.len().is_multiple_of(32), "{body}");
    let mut cipher = cbc::Decryptor::<Aes256>::new_from_slices(&key, &key[..16]).unwrap();
    for block in bytes.chunks_exact_mut(16) {
        cipher.decrypt_block(block.try_into().unwrap());
    }
    *bytes.last().unwrap()
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
    let mut fills = BTreeSet::new();
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
                    if mode == Mode::Safe {
                        fills.insert(fill(aes_key, &pushed.body));
                    }
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
    assert_eq!(fills, (1..=32).collect(), "the padding took all its lengths");
}
