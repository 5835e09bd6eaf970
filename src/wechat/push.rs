//! Events that the platform pushes: who proves to have sent one, and what it says.
//!
//! A genuine event becomes an [`Event`]; what it does to the books is not decided here. Everything is checked before
//! anything is believed: the time, the signature, and in safe mode the appid inside. Shapes are read tolerantly, since the
//! platform's own pages disagree about them (消息推送; 订阅消息: 事件推送).

mod cipher;
mod event;
mod tree;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};

pub use cipher::{AesKey, BadAesKey};
pub use event::{Answered, Event, Sent, What};

use crate::domain::id::AppId;
use tree::Node;

/// How far the timestamp of a push may be from now.
pub const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// Longest token that the platform's console takes is 32 characters.
const MAX_TOKEN: usize = 64;

/// What the platform's console and we agreed on for one app (开发管理 → 消息推送).
#[derive(Clone)]
pub struct Keys {
    token: SecretString,
    aes_key: Option<AesKey>,
    plain: Plain,
}

/// Whether events that are not encrypted count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// They do not: their signature does not cover what they say.
    Refused,
    /// They do, as far as nothing can be gained by forging them.
    Allowed,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("plain", &self.plain).finish_non_exhaustive()
    }
}

/// A Token that the platform's console would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the push token is not 1–64 visible characters")]
pub struct BadToken;

/// What comes beside a push, in its query.
#[derive(Clone, Debug, Default)]
pub struct Query {
    signature: Option<String>,
    msg_signature: Option<String>,
    timestamp: Option<String>,
    nonce: Option<String>,
    echostr: Option<String>,
}

/// Why a push is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its signature is missing or wrong, or its time is over.
    #[error("it is not from the platform, or not of now")]
    NotGenuine,
    /// It is not encrypted, and this app takes no such events.
    #[error("it is not encrypted; choose safe mode (安全模式) in the console, or set `plain: true`")]
    NotEncrypted,
    /// It is encrypted, and this app has no key.
    #[error(
        "it is encrypted and `aes_key` is missing: give it, or choose plain mode (明文模式) in the console"
    )]
    NoAesKey,
    /// It has the platform's signature, and this app's key does not open it.
    #[error("it cannot be decrypted: `aes_key` is not the EncodingAESKey that the console has")]
    WrongAesKey,
    /// It is genuine, and was made for another mini program.
    #[error("it is another mini program's: the console of that one has this app's address")]
    OtherApp,
    /// It is genuine, and nobody can tell what it says.
    #[error("it cannot be read")]
    Unreadable,
}

impl Keys {
    /// Keys of an app; without `aes_key` only plain events can be read.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn new(token: SecretString, aes_key: Option<AesKey>, plain: Plain) -> Result<Self, BadToken> {
        let text = token.expose_secret();
        let good = (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self { token, aes_key, plain }) } else { Err(BadToken) }
    }

    /// What to answer when the platform tries the address: `echostr`, as it came (§ 验证URL).
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(&self, query: &Query, now: DateTime<Utc>) -> Result<String, Refused> {
        let (timestamp, nonce, _at) = query.times(now)?;
        self.check(query.signature.as_deref(), &[timestamp, nonce])?;
        query.echostr.clone().filter(|echo| !echo.is_empty()).ok_or(Refused::NotGenuine)
    }

    /// What a push to `app` says.
    ///
    /// In compatible mode (兼容模式) the encrypted part of the body counts, and the plain one beside it where this app takes plain
    /// events and has no key for the other.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn open(
        &self,
        app: &AppId,
        query: &Query,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Event, Refused> {
        let (timestamp, nonce, at) = query.times(now)?;
        let outer = Node::read(body).ok_or(Refused::NotGenuine)?;
        let takes_plain = self.aes_key.is_none() && self.plain == Plain::Allowed && Event::is_named(&outer);
        let Some(encrypted) = outer.text("Encrypt").filter(|_| !takes_plain) else {
            self.check(query.signature.as_deref(), &[timestamp, nonce])?;
            return match self.plain {
                Plain::Refused => Err(Refused::NotEncrypted),
                Plain::Allowed => Ok(Event::read(&outer, at).harmless()),
            };
        };
        // `signature` does not cover the body here.
        self.check(query.msg_signature.as_deref(), &[timestamp, nonce, &encrypted])?;
        let key = self.aes_key.as_ref().ok_or(Refused::NoAesKey)?;
        let (message, of) = key.open(&encrypted).ok_or(Refused::WrongAesKey)?;
        if of != app.as_str().as_bytes() {
            return Err(Refused::OtherApp);
        }
        let inner = Node::read(&message).ok_or(Refused::Unreadable)?;
        Ok(Event::read(&inner, at))
    }

    fn check(&self, given: Option<&str>, parts: &[&str]) -> Result<(), Refused> {
        let is_signed = cipher::is_signed(self.token.expose_secret(), parts, given.unwrap_or_default());
        if is_signed { Ok(()) } else { Err(Refused::NotGenuine) }
    }
}

impl Query {
    /// Reads the query of a request; what is there twice is not there.
    #[must_use]
    pub fn read(query: Option<&str>) -> Self {
        let mut read = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let place = match &*name {
                "signature" => &mut read.signature,
                "msg_signature" => &mut read.msg_signature,
                "timestamp" => &mut read.timestamp,
                "nonce" => &mut read.nonce,
                "echostr" => &mut read.echostr,
                _ => continue,
            };
            *place = (!seen.contains(&name)).then(|| value.into_owned());
            seen.push(name);
        }
        read
    }

    /// Timestamp and nonce, where the first is not far from `now`.
    fn times(&self, now: DateTime<Utc>) -> Result<(&str, &str, DateTime<Utc>), Refused> {
        let (Some(timestamp), Some(nonce)) = (self.timestamp.as_deref(), self.nonce.as_deref()) else {
            return Err(Refused::NotGenuine);
        };
        let at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let at = at.filter(|at| (now - at).abs() <= MAX_AGE).ok_or(Refused::NotGenuine)?;
        Ok((timestamp, nonce, at))
    }
}

#[cfg(test)]
mod tests;
