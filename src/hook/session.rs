//! Sessions: what a person gets for a `wx.login` code, and shows with each request.
//!
//! A session is a text that only this daemon can make; nothing of it is kept. It names the app, the
//! openid, and when it was made and ends, and it is bound to the appid, so that a name given to
//! another mini program does not carry sessions over.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use crate::domain::id::{AppId, AppName, OpenId, UnionId};

/// First byte of a session; another form would get another.
const VERSION: u8 = 3;
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;
/// Characters of a person's tag: 96 bits, so that no two of one app share one.
const PERSON_CHARS: usize = 16;
/// Bytes of the tag of who somebody is over all apps.
const TAG_BYTES: usize = 16;
/// Longest text worth decoding: app and openid have at most 64 bytes each.
const MAX_CHARS: usize = 280;

/// The key that sessions are made with: random, made at first start, kept in the store.
pub struct SessionKey(SecretBox<[u8; 32]>);

impl SessionKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// A tag that is the same for one person over all apps, and tells nothing else.
    pub(super) fn tag(&self, unionid: &UnionId) -> [u8; TAG_BYTES] {
        let key = self.0.expose_secret();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        // A session's bytes begin with its version, and a person's with another word.
        mac.update(b"unionid ");
        mac.update(unionid.as_str().as_bytes());
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        tag
    }

    fn mac(&self, payload: &[u8], appid: &AppId) -> Hmac<Sha256> {
        let key = self.0.expose_secret();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(payload);
        mac.update(appid.as_str().as_bytes());
        mac
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The app it speaks to.
    pub(super) app: AppName,
    /// Who speaks.
    pub(super) openid: OpenId,
    /// Who he is over all apps, as the platform told it at the login; zeros where it did not.
    pub(super) whole: [u8; TAG_BYTES],
    /// When it was made, to the millisecond: who was erased a moment before is somebody new.
    pub(super) issued_at: DateTime<Utc>,
    /// When it ends, to the second.
    pub(super) expires_at: DateTime<Utc>,
}

impl Session {
    /// A session from `now` on.
    pub(super) fn new(app: AppName, openid: OpenId, now: DateTime<Utc>, lasts: TimeDelta) -> Self {
        let whole = |at: DateTime<Utc>| DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at);
        let issued_at = DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now);
        Self { app, openid, whole: [0; TAG_BYTES], issued_at, expires_at: whole(now + lasts) }
    }

    /// The same of a person who is known over all apps.
    pub(super) fn of_person(self, unionid: Option<&UnionId>, key: &SessionKey) -> Self {
        Self { whole: unionid.map_or([0; TAG_BYTES], |unionid| key.tag(unionid)), ..self }
    }

    /// Whether the platform told at the login who its person is over all apps.
    pub(super) fn knows_person(&self) -> bool {
        self.whole != [0; TAG_BYTES]
    }

    /// Whether the login proved that its person has this unionid.
    pub(super) fn proves(&self, unionid: &UnionId, key: &SessionKey) -> bool {
        self.whole == key.tag(unionid)
    }

    /// The text to show as `Authorization: Bearer`.
    pub(super) fn seal(&self, appid: &AppId, key: &SessionKey) -> String {
        let app = self.app.as_str().as_bytes();
        let app_len = u8::try_from(app.len()).expect("an app name has at most 64 bytes");
        let mut bytes = vec![VERSION];
        bytes.extend(self.issued_at.timestamp_millis().to_be_bytes());
        bytes.extend(self.expires_at.timestamp().to_be_bytes());
        bytes.extend(self.whole);
        bytes.push(app_len);
        bytes.extend(app);
        bytes.extend(self.openid.as_str().as_bytes());
        let mac = key.mac(&bytes, appid).finalize().into_bytes();
        bytes.extend(mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// A text that is the same for the same person of the same mini program as long as the key lives, and tells
    /// nothing else: by it a client keeps apart what it holds for several people, of whom it knows no openid.
    pub(super) fn person(&self, appid: &AppId, key: &SessionKey) -> String {
        // A session's bytes begin with its version, so neither can stand for the other.
        let bytes = [b"person", self.openid.as_str().as_bytes(), b" "].concat();
        let mut text = URL_SAFE_NO_PAD.encode(key.mac(&bytes, appid).finalize().into_bytes());
        text.truncate(PERSON_CHARS);
        text
    }

    /// The session that `text` is at `now`, if it was made with `key` for an app that still has its
    /// appid, and has not ended.
    pub(super) fn open<'a>(
        text: &str,
        key: &SessionKey,
        appid: impl FnOnce(&AppName) -> Option<&'a AppId>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let session = Self::parse(payload)?;
        // The app only chooses what the text is checked against; until then it is believed nothing.
        key.mac(payload, appid(&session.app)?).verify_slice(mac).ok()?;
        (now < session.expires_at).then_some(session)
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let (&[version], rest) = payload.split_first_chunk()?;
        let (issued_at, rest) = rest.split_first_chunk()?;
        let (expires_at, rest) = rest.split_first_chunk()?;
        let (whole, rest) = rest.split_first_chunk()?;
        let (&[app_len], rest) = rest.split_first_chunk()?;
        let (app, openid) = rest.split_at_checked(app_len.into())?;
        let instant = |bytes: &[u8; 8]| DateTime::from_timestamp(i64::from_be_bytes(*bytes), 0);
        (version == VERSION).then_some(())?;
        Some(Self {
            app: AppName::parse(str::from_utf8(app).ok()?).ok()?,
            openid: OpenId::parse(str::from_utf8(openid).ok()?).ok()?,
            whole: *whole,
            issued_at: DateTime::from_timestamp_millis(i64::from_be_bytes(*issued_at))?,
            expires_at: instant(expires_at)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, &'a SessionKey, Option<&'a AppId>, DateTime<Utc>, bool);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn session() -> Session {
        let (app, openid) = (AppName::parse("clinic").unwrap(), OpenId::parse("oSECRETSECRET").unwrap());
        Session::new(app, openid, at(0), TimeDelta::hours(2))
    }

    #[test]
    fn a_session_opens_until_it_ends_with_its_key_and_its_appid_only() {
        let appid = AppId::parse("wx0123456789abcdef").unwrap();
        let other = AppId::parse("wx0123456789abcdee").unwrap();
        let (key, other_key) = (SessionKey::new([7; 32]), SessionKey::new([8; 32]));
        let text = session().seal(&appid, &key);
        let table: [Row<'_>; 7] = [
            ("at once", &key, Some(&appid), at(0), true),
            ("at its last second", &key, Some(&appid), at(7199), true),
            ("at its end", &key, Some(&appid), at(7200), false),
            ("later", &key, Some(&appid), at(1_000_000), false),
            ("after the app is gone", &key, None, at(0), false),
            ("after the name went to another app", &key, Some(&other), at(0), false),
            ("under another key", &other_key, Some(&appid), at(0), false),
        ];
        for (what, key, appid, now, opens) in table {
            let opened = Session::open(&text, key, |_| appid, now);
            assert_eq!(opened, opens.then(session), "{what}");
        }
    }

    #[test]
    fn no_changed_character_and_no_cut_opens_a_session() {
        let appid = AppId::parse("wx0123456789abcdef").unwrap();
        let key = SessionKey::new([7; 32]);
        let text = session().seal(&appid, &key);
        let opens = |text: &str| Session::open(text, &key, |_| Some(&appid), at(0)).is_some();
        assert!(opens(&text));
        for place in 0..text.len() {
            assert!(!opens(text.get(..place).unwrap()), "cut at {place}");
            for other in (0x20..0x7F).map(char::from) {
                let mut changed = text.clone();
                changed.replace_range(place..=place, &other.to_string());
                assert!(changed == text || !opens(&changed), "{other} at {place}");
            }
        }
        for longer in [format!("{text}A"), format!("{text}="), format!("{text}AAAA"), format!(" {text}")] {
            assert!(!opens(&longer), "{longer}");
        }
    }

    #[test]
    fn a_login_proves_the_unionid_that_it_told_and_no_other() {
        let appid = AppId::parse("wx0123456789abcdef").unwrap();
        let key = SessionKey::new([7; 32]);
        let unionid = |text: &str| UnionId::parse(text).unwrap();
        let told = session().of_person(Some(&unionid("uONE")), &key).seal(&appid, &key);
        let opened = Session::open(&told, &key, |_| Some(&appid), at(0)).unwrap();
        assert!(opened.proves(&unionid("uONE"), &key) && !opened.proves(&unionid("uTWO"), &key));
        let untold = session().of_person(None, &key);
        assert!(!untold.proves(&unionid("uONE"), &key));
        assert_eq!((opened.knows_person(), untold.knows_person()), (true, false));
    }

    #[test]
    fn a_person_has_one_tag_per_mini_program_and_key() {
        let (appid, other) =
            (AppId::parse("wx0123456789abcdef").unwrap(), AppId::parse("wx0123456789abcdee").unwrap());
        let (key, other_key) = (SessionKey::new([7; 32]), SessionKey::new([8; 32]));
        let somebody = Session { openid: OpenId::parse("oSECRETSECREU").unwrap(), ..session() };
        let later = Session { issued_at: at(9), expires_at: at(99), ..session() };
        let tag = session().person(&appid, &key);
        assert_eq!((tag.len(), later.person(&appid, &key)), (PERSON_CHARS, tag.clone()));
        for another in [
            somebody.person(&appid, &key),
            session().person(&other, &key),
            session().person(&appid, &other_key),
        ] {
            assert_ne!(another, tag);
        }
    }

    #[test]
    fn neither_key_nor_openid_shows() {
        assert_eq!(format!("{:?}", SessionKey::new([7; 32])), "SessionKey(…)");
        assert!(!format!("{:?}", session()).contains("SECRET"));
    }
}
