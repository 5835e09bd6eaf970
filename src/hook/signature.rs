//! Signatures of backends: the Standard Webhooks scheme over a payload that names the request.
//!
//! The signed content is `{webhook-id}.{webhook-timestamp}.{payload}`, where the payload is
//! `METHOD SP path-with-query LF body`; so any published library makes it, and a signature for one
//! request serves for no other. Whether a request was seen before is not decided here: a report is
//! guarded by its own id.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::HeaderMap;
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::id::{AppName, KeyName};

/// Header with the id of the request.
pub const ID: &str = "webhook-id";
/// Header with the time of signing, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// How far the clocks of a backend and of this machine may be apart (Standard Webhooks: 5 minutes).
pub(super) const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Longest id; published libraries make some 30 characters.
pub(super) const MAX_ID_CHARS: usize = 256;
/// Most signatures in one header: a sender in rotation has two.
pub(super) const MAX_SIGNATURES: usize = 8;
/// Bytes of a secret that the scheme allows.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How a secret begins; also what marks it in a file that should not hold one.
const SECRET_PREFIX: &str = "whsec_";
/// How a symmetric signature begins.
const SCHEME: &str = "v1,";

/// The secret of a key. Never printed.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

/// Why a text is not the secret of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It begins otherwise.
    #[error("a hook secret begins with `whsec_`")]
    Prefix,
    /// The rest is not base64.
    #[error("what follows `whsec_` is not base64")]
    Base64,
    /// It has another length.
    #[error("a hook secret has 24 to 64 bytes before base64, this one has {bytes}")]
    Length {
        /// How many it has.
        bytes: usize,
    },
}

impl Secret {
    /// Parses `whsec_` and base64 of 24 to 64 bytes, with or without padding.
    ///
    /// # Errors
    /// [`BadSecret`], without a byte of the text.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(BadSecret::Prefix)?;
        // The cause would show a byte of the secret.
        let bytes = STANDARD_PAD_INDIFFERENT.decode(encoded).map_err(|_shows_a_byte| BadSecret::Base64)?;
        let n_bytes = bytes.len();
        let secret = Self(bytes.into());
        if SECRET_BYTES.contains(&n_bytes) { Ok(secret) } else { Err(BadSecret::Length { bytes: n_bytes }) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A backend's key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in logs.
    pub id: KeyName,
    /// Its secret.
    pub secret: Secret,
    /// Apps it may speak for.
    pub apps: Vec<AppName>,
}

/// The keys in force; cheap to read, replaced by a reload.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<ArcSwap<Vec<Key>>>);

impl Keys {
    /// Begins with `keys`.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// Puts others in force; requests that are being checked end under the old ones.
    pub fn replace(&self, keys: Vec<Key>) {
        self.0.store(Arc::new(keys));
    }
}

/// Makes the `webhook-signature` of a request.
///
/// `timestamp` is in seconds since 1970, `target` path and query as they are sent.
#[must_use]
pub fn sign(secret: &Secret, id: &str, timestamp: i64, method: &str, target: &str, body: &[u8]) -> String {
    expected(secret, id, &timestamp.to_string(), &Signed { method, target, body })
}

/// What a signature is over.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    /// The method as it came.
    pub(super) method: &'a str,
    /// Path and query as they came.
    pub(super) target: &'a str,
    /// The body as it came.
    pub(super) body: &'a [u8],
}

/// A request whose signature is right.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// Apps its key may speak for.
    pub(super) apps: Vec<AppName>,
    /// When it was signed.
    pub(super) signed_at: DateTime<Utc>,
    /// The request's own id.
    pub(super) id: String,
}

/// Whether a request means to be signed.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    [ID, TIMESTAMP, SIGNATURE].iter().any(|name| headers.contains_key(*name))
}

/// The proof that `headers` hold for `signed` at `now`, if they do.
///
/// Every key is tried against every signature, all in constant time.
pub(super) fn verify(
    headers: &HeaderMap,
    signed: &Signed<'_>,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Option<Proof> {
    let (id, timestamp) = (only(headers, ID)?, only(headers, TIMESTAMP)?);
    let signatures: Vec<&str> = only(headers, SIGNATURE)?.split(' ').collect();
    let signed_at = instant(timestamp)?;
    let fresh = (now - signed_at).abs() <= TOLERANCE;
    if !fresh || !(1..=MAX_ID_CHARS).contains(&id.len()) || signatures.len() > MAX_SIGNATURES {
        return None;
    }
    let keys = keys.0.load();
    let mut right = None;
    for key in keys.iter() {
        let expected = expected(&key.secret, id, timestamp, signed);
        let matches = signatures.iter().fold(Choice::from(0), |found, signature| {
            found | signature.as_bytes().ct_eq(expected.as_bytes())
        });
        if bool::from(matches) && right.is_none() {
            right = Some(key);
        }
    }
    right.map(|key| Proof { apps: key.apps.clone(), signed_at, id: id.to_owned() })
}

/// The signature that `secret` makes.
fn expected(secret: &Secret, id: &str, timestamp: &str, signed: &Signed<'_>) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.0.expose_secret()).expect("HMAC takes keys of any length");
    let parts = [id, ".", timestamp, ".", signed.method, " ", signed.target, "\n"];
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.update(signed.body);
    let mut text = SCHEME.to_owned();
    STANDARD.encode_string(mac.finalize().into_bytes(), &mut text);
    text
}

/// The text of a header that is there exactly once; two readers could choose differently.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The instant of a timestamp in plain digits.
fn instant(timestamp: &str) -> Option<DateTime<Utc>> {
    let digits = timestamp.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| DateTime::from_timestamp(timestamp.parse().ok()?, 0))?
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx";
    const TARGET: &str = "/v1/consents?app=clinic";
    const BODY: &[u8] = br#"{"report":"r1","openid":"o123456789","results":{}}"#;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    fn keys(secrets: &[&str]) -> Keys {
        let key = |text: &&str| Key {
            id: KeyName::parse("backend").unwrap(),
            secret: secret(text),
            apps: vec![AppName::parse("clinic").unwrap()],
        };
        Keys::new(secrets.iter().map(key).collect())
    }

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)]
            .into_iter()
            .filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).ok()?))
            })
            .collect()
    }

    fn accepted(headers: &HeaderMap, method: &str, target: &str, body: &[u8]) -> bool {
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        verify(headers, &Signed { method, target, body }, &keys(&[SECRET]), now).is_some()
    }

    #[test]
    fn the_published_vector_comes_out() {
        // The example of the Standard Webhooks libraries; their payload is the whole of what follows the
        // second dot, which is put together here from three parts.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret(SECRET).0.expose_secret()).unwrap();
        mac.update(br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#);
        let text = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(text, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");

        let mut mac = Hmac::<Sha256>::new_from_slice(secret(SECRET).0.expose_secret()).unwrap();
        mac.update(b"m1.1614265330.POST /v1/consents?app=a\n{}");
        let text = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let ours = sign(&secret(SECRET), "m1", 1_614_265_330, "POST", "/v1/consents?app=a", b"{}");
        assert_eq!(ours, text);
    }

    #[test]
    fn signatures_are_taken_or_refused_as_the_table_says() {
        let made = |text, at| sign(&secret(text), "m1", at, "POST", TARGET, BODY);
        let (good, foreign) = (made(SECRET, NOW), made(OTHER, NOW));
        let at = |seconds: i64| ((NOW + seconds).to_string(), made(SECRET, NOW + seconds));
        let now = NOW.to_string();
        let bare = good.trim_start_matches("v1,");
        let table: Vec<(&str, String, String, bool)> = vec![
            ("right", now.clone(), good.clone(), true),
            ("5 minutes old", at(-300).0, at(-300).1, true),
            ("older", at(-301).0, at(-301).1, false),
            ("5 minutes ahead", at(300).0, at(300).1, true),
            ("further ahead", at(301).0, at(301).1, false),
            ("a day old", at(-86_400).0, at(-86_400).1, false),
            ("time changed after signing", at(1).0, good.clone(), false),
            ("time with a sign", format!("+{now}"), good.clone(), false),
            ("time with a zero in front", format!("0{now}"), good.clone(), false),
            ("time no number", "now".into(), good.clone(), false),
            ("time empty", String::new(), good.clone(), false),
            ("time beyond all numbers", "9".repeat(30), good.clone(), false),
            ("foreign key", now.clone(), foreign.clone(), false),
            ("rotation: foreign, then right", now.clone(), format!("{foreign} {good}"), true),
            ("rotation: right, then foreign", now.clone(), format!("{good} {foreign}"), true),
            ("another scheme beside", now.clone(), format!("v1a,{bare} {good}"), true),
            ("another scheme alone", now.clone(), format!("v1a,{bare}"), false),
            ("no scheme", now.clone(), bare.into(), false),
            ("nothing", now.clone(), String::new(), false),
            ("a cut", now.clone(), good.get(..good.len() - 1).unwrap().into(), false),
            ("half of it", now.clone(), good.get(..good.len() / 2).unwrap().into(), false),
            ("comma for a space", now.clone(), format!("{foreign},{good}"), false),
            ("more than eight", now.clone(), [foreign.as_str(); 8].join(" ") + " " + &good, false),
        ];
        for (what, timestamp, signature, should) in table {
            let headers = headers("m1", &timestamp, &signature);
            assert_eq!(accepted(&headers, "POST", TARGET, BODY), should, "{what}");
        }
    }

    #[test]
    fn each_header_is_needed_once() {
        let good = sign(&secret(SECRET), "m1", NOW, "POST", TARGET, BODY);
        let whole = headers("m1", &NOW.to_string(), &good);
        assert!(accepted(&whole, "POST", TARGET, BODY));
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut missing = whole.clone();
            let value = missing.remove(name).unwrap();
            assert!(!accepted(&missing, "POST", TARGET, BODY), "without {name}");
            let mut twice = whole.clone();
            twice.append(name, value);
            assert!(!accepted(&twice, "POST", TARGET, BODY), "{name} twice");
        }
    }

    #[test]
    fn every_single_byte_change_of_one_message_is_refused() {
        let (id, timestamp) = ("m1", NOW.to_string());
        let signature = sign(&secret(SECRET), id, NOW, "POST", TARGET, BODY);
        let parts: [&[u8]; 6] =
            [id.as_bytes(), timestamp.as_bytes(), signature.as_bytes(), b"POST", TARGET.as_bytes(), BODY];
        let check = |parts: &[Vec<u8>]| {
            let [id, timestamp, signature, method, target, body] = parts else { panic!("six parts") };
            let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
            // What is no text never gets so far: hyper takes none in methods and targets.
            let (Some(id), Some(timestamp), Some(signature), Some(method), Some(target)) =
                (text(id), text(timestamp), text(signature), text(method), text(target))
            else {
                return false;
            };
            accepted(&headers(&id, &timestamp, &signature), &method, &target, body)
        };
        let whole: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        assert!(check(&whole));
        for part in 0..parts.len() {
            for place in 0..whole[part].len() {
                for change in 1..=255_u8 {
                    let mut changed = whole.clone();
                    changed[part][place] ^= change;
                    assert!(!check(&changed), "part {part} byte {place} xor {change}");
                }
                let mut cut = whole.clone();
                cut[part].remove(place);
                assert!(!check(&cut), "part {part} without byte {place}");
            }
        }
    }

    #[test]
    fn no_two_requests_share_a_signed_content() {
        let good = sign(&secret(SECRET), "m1", NOW, "POST", TARGET, BODY);
        let headers = headers("m1", &NOW.to_string(), &good);
        for (what, method, target, body) in [
            ("another method", "PUT", TARGET, BODY),
            ("another app", "POST", "/v1/consents?app=school", BODY),
            ("no query", "POST", "/v1/consents", BODY),
            ("another body", "POST", TARGET, b"{}".as_slice()),
            ("no body", "POST", TARGET, b"".as_slice()),
        ] {
            assert!(!accepted(&headers, method, target, body), "{what}");
        }
    }

    #[test]
    fn a_reload_replaces_the_keys() {
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let (held, signed) = (keys(&[OTHER]), Signed { method: "POST", target: TARGET, body: BODY });
        let headers =
            headers("m1", &NOW.to_string(), &sign(&secret(SECRET), "m1", NOW, "POST", TARGET, BODY));
        assert!(verify(&headers, &signed, &held, now).is_none());
        held.replace(vec![keys(&[OTHER]).0.load()[0].clone(), keys(&[SECRET]).0.load()[0].clone()]);
        assert!(verify(&headers, &signed, &held, now).is_some());
        held.replace(Vec::new());
        assert!(verify(&headers, &signed, &held, now).is_none());
    }

    #[test]
    fn secrets_are_taken_by_their_form_and_never_shown() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![0xA5; bytes]));
        let table = [
            (of(24), None),
            (of(32), None),
            (of(64), None),
            (of(25).trim_end_matches('=').to_owned(), None),
            (of(23), Some(BadSecret::Length { bytes: 23 })),
            (of(65), Some(BadSecret::Length { bytes: 65 })),
            ("whsec_".into(), Some(BadSecret::Length { bytes: 0 })),
            ("whsec_*".into(), Some(BadSecret::Base64)),
            (of(24) + "\n", Some(BadSecret::Base64)),
            (STANDARD.encode([0xA5; 24]), Some(BadSecret::Prefix)),
            (String::new(), Some(BadSecret::Prefix)),
        ];
        for (text, error) in table {
            assert_eq!(Secret::parse(&text).err(), error, "{text}");
        }
        assert_eq!(format!("{:?}", secret(SECRET)), "Secret(…)");
    }
}
