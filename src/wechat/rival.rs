//! Whether another program keeps taking the access tokens of this app.
//!
//! The platform does not say so: a token of ours is refused long before its end, the next one works, and soon it is
//! refused too. Once may be an operator's doing; again and again is a program. It is only told of: sends go on, each
//! taken token costs one fetch and one more call per message that was under way.
//!
//! No taking is a token that has ended (42001, also after a machine slept), a platform that refuses now and then
//! (its stable call gives the same token again), nor one that refuses the next token as well.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::token::Token;

/// So many takings in a row are a program's.
const NAMED_AT: u32 = 3;

/// A row of takings ends when none came for so long: the life of a token.
const QUIET: Duration = Duration::from_hours(2);

/// Another program that takes this app's access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rival {
    /// How many were taken, none of them longer than two hours after the one before.
    pub taken: u32,
    /// How long ago the last was.
    pub ago: Duration,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, minutes) = (self.taken, self.ago.as_secs() / 60);
        write!(
            f,
            "another program keeps taking its access token: {taken} in a row were refused before their end while the next \
             one worked, the last {minutes} min ago; find who else asks for tokens with this AppSecret, and let it use \
             the stable-token call without `force_refresh`, or replace the AppSecret"
        )
    }
}

/// What was seen of it.
#[derive(Debug, Default)]
pub(super) struct Takings {
    /// Refused before its end; whether another helps is not known yet.
    refused: Option<Arc<Token>>,
    n: u32,
    last: Duration,
    told: bool,
}

impl Takings {
    /// The platform refused `token`, which was given up.
    pub(super) fn refused(&mut self, token: &Arc<Token>, errcode: i64) {
        self.refused = matches!(errcode, 40_001 | 40_014).then(|| Arc::clone(token));
    }

    /// Fresh tokens are refused as well: nobody took them.
    pub(super) fn all_are_refused(&mut self) {
        self.refused = None;
    }

    /// The platform took `token`, the first time.
    pub(super) fn works(&mut self, token: &Token, now: Duration) {
        let Some(refused) = self.refused.take() else { return };
        if refused.expose_secret() == token.expose_secret() {
            return;
        }
        self.n = if self.is_quiet(now) { 1 } else { self.n + 1 };
        self.last = now;
    }

    /// Who takes tokens at `now`.
    pub(super) fn rival(&self, now: Duration) -> Option<Rival> {
        let is_there = self.n >= NAMED_AT && !self.is_quiet(now);
        is_there.then(|| Rival { taken: self.n, ago: now.saturating_sub(self.last) })
    }

    /// What has changed since this was asked last: he is there, or no more.
    pub(super) fn news(&mut self, now: Duration) -> Option<News> {
        match (self.rival(now), self.told) {
            (Some(rival), false) => {
                self.told = true;
                Some(News::Came(rival))
            }
            (None, true) => {
                self.told = false;
                Some(News::Went)
            }
            (Some(_), true) | (None, false) => None,
        }
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.n == 0 || now.saturating_sub(self.last) >= QUIET
    }
}

/// What is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Came(Rival),
    Went,
}
