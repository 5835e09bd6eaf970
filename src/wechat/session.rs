//! Who is behind a `wx.login` code.
//!
//! Only the openid and the unionid are read: the session key is skipped unread, so it can end up
//! nowhere. Sessions of our own are the hook's business.

use serde::Deserialize;

use crate::domain::id::{OpenId, UnionId};

use super::Client;
use super::answer::{self, Loose};

/// The longest login code that is passed on, in bytes; the platform's have 32.
const MAX_CODE: usize = 256;

/// Whom a login code stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// In this mini program.
    pub openid: OpenId,
    /// Over all apps of an account; only where the mini program is bound to one.
    pub unionid: Option<UnionId>,
}

/// Why a login code stands for nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// 40029, 40163, 41008: wrong, older than 5 minutes, or used before. The client logs in again.
    #[error("the login code is invalid or was used before")]
    BadCode,
    /// 40226: the platform blocks this user.
    #[error("the platform blocks this user as risky")]
    RiskyUser,
    /// 45011: too often for this user; the next minute will do.
    #[error("the platform says logins come too often")]
    TooFrequent,
    /// No answer, or −1; the code may be used up, so the client logs in again later.
    #[error("the platform gave no answer to the login")]
    Unavailable,
    /// Our own books could not be asked; the code is used up, so the client logs in again later.
    #[error("the store cannot answer now")]
    Store,
    /// Any other code, mostly a wrong appid or secret: for the operator.
    #[error("the platform refuses logins of this app (errcode {errcode})")]
    App {
        /// The platform's code.
        errcode: i64,
    },
}

#[derive(Deserialize)]
struct SessionAnswer {
    #[serde(default)]
    errcode: Loose,
    #[serde(default)]
    errmsg: Loose,
    #[serde(default)]
    openid: Loose,
    #[serde(default)]
    unionid: Loose,
}

impl Client {
    /// Exchanges a `wx.login` code for the person behind it.
    ///
    /// A code is good for 5 minutes and for one call (official page code2Session, read 2026-11-22), so
    /// a second call with it ends in [`LoginError::BadCode`], also where the first got no answer. It
    /// needs no access token and takes at most [`CALL_TIMEOUT`](super::CALL_TIMEOUT).
    ///
    /// # Errors
    /// [`LoginError`], each with what to do.
    pub async fn code2session(&self, code: &str) -> Result<Identity, LoginError> {
        if code.is_empty() || code.len() > MAX_CODE || !code.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(LoginError::BadCode);
        }
        let http = &self.0.http;
        let appid = http.appid();
        let body = http.jscode2session(code).await.map_err(|no_answer| {
            tracing::warn!(wechat.appid = %appid, "Login in {appid} had no answer: {}",
                answer::clean(&no_answer.text(), [code, http.secret()]));
            LoginError::Unavailable
        })?;
        let mut repaired = String::new();
        let Some(answer) = answer::parse::<SessionAnswer>(&body, &mut repaired) else {
            tracing::warn!(wechat.appid = %appid, "Login in {appid} had an answer that is not JSON");
            return Err(LoginError::Unavailable);
        };
        // A success has no errcode in practice and 0 in the official sample.
        match answer.errcode.integer::<i64>() {
            None | Some(0) => identity(answer).ok_or(LoginError::Unavailable),
            Some(40029 | 40163 | 41008) => Err(LoginError::BadCode),
            Some(40226) => Err(LoginError::RiskyUser),
            Some(45011) => Err(LoginError::TooFrequent),
            Some(-1) => Err(LoginError::Unavailable),
            Some(errcode) => {
                let said = answer::said(answer.errmsg, [code, http.secret()]);
                tracing::warn!(wechat.appid = %appid, wechat.errcode = errcode, wechat.rid = said.rid,
                    "Platform refuses logins of {appid} ({errcode}): {}", said.errmsg.unwrap_or_default());
                Err(LoginError::App { errcode })
            }
        }
    }
}

fn identity(answer: SessionAnswer) -> Option<Identity> {
    let openid = OpenId::parse(&answer.openid.text()?).ok()?;
    // A unionid in an unknown form is as good as none: nothing is addressed by it.
    let unionid = answer.unionid.text().and_then(|text| UnionId::parse(&text).ok());
    Some(Identity { openid, unionid })
}
