//! How many messages the platform takes of an app today, as it says itself.
//!
//! Asked for people; nothing is held back by it. A refused access token is left alone here: only what becomes of a send
//! says whether it lives.

use serde::Deserialize;

use super::Client;
use super::answer::{self, Loose, Said};
use super::token::TokenState;
use crate::plan::quota::Quota;

/// Why it is not known, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It was not asked: there is no access token.
    #[error("this app's quota is not asked for: there is no access token")]
    NotAsked,
    /// It does not say.
    #[error("the platform does not tell this app's quota: {0}")]
    NoAnswer(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errcode: Loose,
    #[serde(default)]
    errmsg: Loose,
    #[serde(default)]
    quota: Option<Counted>,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    daily_limit: Loose,
    #[serde(default)]
    used: Loose,
    #[serde(default)]
    remain: Loose,
}

impl Client {
    /// The quota of sends (official page `getApiQuota`, read 2026-11-22). Only under an access token that works: a question
    /// takes nothing from a send.
    ///
    /// # Errors
    /// [`Untold`], and nothing else follows from it.
    pub async fn quota(&self) -> Result<Quota, Untold> {
        if !matches!(self.token_state(), TokenState::Ready { expires_in: _ }) {
            return Err(Untold::NotAsked);
        }
        let ready = self.ready().await.map_err(|_reply| Untold::NotAsked)?;
        let token = ready.token();
        let hidden = [token.expose_secret(), self.0.http.secret()];
        let body = self.0.http.quota(token.value()).await;
        let body = body.map_err(|no_answer| Untold::NoAnswer(answer::clean(&no_answer.text(), hidden)))?;
        let mut repaired = String::new();
        let answer = answer::parse::<Answer>(&body, &mut repaired);
        let Some((errcode, answer)) =
            answer.and_then(|answer| Some((answer.errcode.integer::<i64>()?, answer)))
        else {
            return Err(Untold::NoAnswer("the answer has no errcode".to_owned()));
        };
        if errcode != 0 {
            let Said { errmsg, rid: _ } = answer::said(answer.errmsg, hidden);
            return Err(Untold::NoAnswer(format!("errcode {errcode}: {}", errmsg.unwrap_or_default())));
        }
        let read = |counted: Counted| {
            Some(Quota {
                daily_limit: counted.daily_limit.integer()?,
                used: counted.used.integer()?,
                remain: counted.remain.integer()?,
            })
        };
        answer.quota.and_then(read).ok_or_else(|| Untold::NoAnswer("the answer holds no quota".to_owned()))
    }
}
