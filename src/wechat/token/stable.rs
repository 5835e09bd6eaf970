//! One stable-token call: what its answer must hold to be a token.
//!
//! Nothing of it is kept or repeated here.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::TokenError;
use crate::wechat::answer::{self, Loose, Said};
use crate::wechat::http::Http;

/// The longest lifetime that is believed; the platform's is 2 h.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// The longest token that is taken; the platform asks for room for 512 characters.
const MAX_TOKEN: usize = 4096;

/// A token as it came.
pub(super) struct Fetched {
    pub(super) value: SecretString,
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    errcode: Loose,
    #[serde(default)]
    errmsg: Loose,
    #[serde(default)]
    access_token: Loose,
    #[serde(default)]
    expires_in: Loose,
}

/// Asks for the token.
pub(super) async fn ask(http: &Http) -> Result<Fetched, TokenError> {
    let unavailable = |why: &str| TokenError::Unavailable { why: answer::clean(why, [http.secret()]) };
    let body = http.stable_token().await.map_err(|no_answer| unavailable(&no_answer.text()))?;
    let mut repaired = String::new();
    let Some(answer) = answer::parse::<TokenAnswer>(&body, &mut repaired) else {
        return Err(unavailable("the answer is not JSON"));
    };
    match answer.errcode.integer::<i64>() {
        None | Some(0) => {}
        Some(errcode) => {
            let Said { errmsg, rid: _ } = answer::said(answer.errmsg, [http.secret()]);
            return Err(TokenError::Denied { errcode, errmsg: errmsg.unwrap_or_default() });
        }
    }
    let lifetime = answer.expires_in.integer::<u64>().filter(|seconds| *seconds > 0);
    let value = answer
        .access_token
        .text()
        .filter(|text| (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));
    match (value, lifetime) {
        (Some(value), Some(seconds)) => Ok(Fetched {
            value: SecretString::from(value),
            lifetime: Duration::from_secs(seconds).min(MAX_LIFETIME),
        }),
        (_, None) | (None, _) => Err(unavailable("the answer holds no token")),
    }
}
