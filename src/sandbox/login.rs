//! Login codes as `wx.login` gives them: five minutes, one use. Not kept over a restart.
//!
//! Rules: page `wx.login` and code2Session, read 2026-11-22.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::tokens::Mint;

/// How long a code lives.
const LIFE: TimeDelta = TimeDelta::minutes(5);
/// Below this many codes nobody looks for dead ones.
const FEW: usize = 1024;

/// Why a code is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadCode {
    /// Unknown, of another app, or past its end: 40029.
    Invalid,
    /// 40163.
    Used,
}

/// All codes that may still matter.
#[derive(Debug)]
pub(super) struct Codes {
    mint: Mint,
    alive: HashMap<String, Code>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Code {
    appid: String,
    openid: String,
    unionid: Option<String>,
    ends: DateTime<Utc>,
    state: Use,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Fresh,
    Used,
}

impl Codes {
    pub(super) fn new(seed: u64) -> Self {
        Self { mint: Mint::new(seed), alive: HashMap::new(), sweep_at: FEW }
    }

    /// A new code of 32 letters and digits.
    pub(super) fn make(
        &mut self,
        appid: &str,
        (openid, unionid): (&str, Option<&str>),
        now: DateTime<Utc>,
    ) -> String {
        if self.alive.len() >= self.sweep_at {
            self.alive.retain(|_, code| now < code.ends);
            self.sweep_at = FEW.max(self.alive.len() * 2);
        }
        let text = self.mint.text(32);
        let code = Code {
            appid: appid.to_owned(),
            openid: openid.to_owned(),
            unionid: unionid.map(str::to_owned),
            ends: now + LIFE,
            state: Use::Fresh,
        };
        self.alive.insert(text.clone(), code);
        text
    }

    /// Uses a code up; gives its openid, its unionid where it has one, and a session key.
    pub(super) fn redeem(
        &mut self,
        appid: &str,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<(String, Option<String>, String), BadCode> {
        let code = self.alive.get_mut(code).filter(|code| code.appid == appid && now < code.ends);
        let code = code.ok_or(BadCode::Invalid)?;
        if code.state == Use::Used {
            return Err(BadCode::Used);
        }
        code.state = Use::Used;
        Ok((code.openid.clone(), code.unionid.clone(), format!("{}==", self.mint.text(22))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_within_five_minutes_and_in_its_app() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let mut codes = Codes::new(1);
        let code = codes.make("wx1", ("o1", None), now);
        assert_eq!(codes.redeem("wx2", &code, now), Err(BadCode::Invalid));
        assert_eq!(codes.redeem("wx1", &code, now).map(|(openid, ..)| openid), Ok("o1".to_owned()));
        assert_eq!(codes.redeem("wx1", &code, now), Err(BadCode::Used));
        let code = codes.make("wx1", ("o1", None), now);
        assert_eq!(codes.redeem("wx1", &code, now + LIFE), Err(BadCode::Invalid));
        assert_eq!(codes.redeem("wx1", "other", now), Err(BadCode::Invalid));
    }

    #[test]
    fn dead_codes_are_swept() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let mut codes = Codes::new(1);
        for _ in 0..FEW {
            codes.make("wx1", ("o1", None), now);
        }
        codes.make("wx1", ("o1", None), now + LIFE);
        assert_eq!(codes.alive.len(), 1);
    }
}
