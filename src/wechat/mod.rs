//! The platform's client: one mini program, its access token, and the calls made for it.
//!
//! Here a message becomes one HTTP request and the answer becomes a [`Reply`];
//! nothing else of the crate speaks to the platform. It decides neither when to send nor whether to
//! try again, keeps no books, and stores nothing: the access token lives in memory only, because the
//! stable-token call gives the same one again.

mod answer;
mod errcode;
mod http;
pub mod push;
mod quota;
mod rival;
mod send;
mod session;
mod templates;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::domain::config::App;
use crate::domain::count::n_of;
use crate::domain::id::AppId;
use crate::domain::message::Reply;

pub use http::{BuildError, Carried, Carrier, NoAnswer};
pub use quota::Untold;
pub use rival::Rival;
pub use send::Sent;
pub use session::{Identity, LoginError};
pub use templates::{Listed, TemplatesError};
pub use token::{Ready, TokenError, TokenState};

use http::{Http, Times, Way};
use token::TokenCache;

/// The longest a call may take in all: connecting, waiting for an access token, asking and reading.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest it may take to have a connection, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What an errcode that was booked means, for people.
#[must_use]
pub fn meaning(errcode: i64) -> Reply {
    errcode::reply(errcode, None, None)
}

/// What a [`Client`] is made of.
#[derive(Clone)]
pub struct Options {
    /// The mini program.
    pub appid: AppId,
    /// Its AppSecret.
    pub secret: SecretString,
    /// Scheme and authority of the platform: https, or http to loopback.
    pub base_url: String,
    /// `http://` or `https://` address of a proxy; the environment is never asked for one.
    pub proxy: Option<String>,
    /// Which version of the mini program a tap opens: `formal`, `trial`, `developer`.
    pub state: String,
    /// Language of the card's frame: `zh_CN`, `en_US`, `zh_HK`, `zh_TW`.
    pub lang: String,
}

impl Options {
    /// What an app's configuration says, with its secret resolved.
    #[must_use]
    pub fn of(app: &App, secret: SecretString) -> Self {
        Self {
            appid: app.appid.clone(),
            secret,
            base_url: app.base_url.clone(),
            proxy: app.proxy.clone(),
            state: app.state.clone(),
            lang: app.lang.clone(),
        }
    }

    fn digest(&self) -> [u8; 32] {
        let proxy = self.proxy.as_deref().unwrap_or_default();
        let parts = [
            self.appid.as_str(),
            self.secret.expose_secret(),
            &self.base_url,
            proxy,
            &self.state,
            &self.lang,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(n_of(part.len()).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A proxy's address may hold a password, a base_url that was not checked yet too.
        f.debug_struct("Options").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// One mini program at the platform; clones share its access token and its connections.
///
/// When the last clone is dropped, a token fetch under way ends with it.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    /// Hash of all options, to tell whether a reload changed any.
    made_of: [u8; 32],
    http: Arc<Http>,
    tokens: TokenCache,
    state: String,
    lang: String,
}

impl Client {
    /// A client that has not yet spoken to the platform.
    ///
    /// # Errors
    /// [`BuildError`]: an address is not allowed, or TLS has no roots to trust; both are for the
    /// operator to cure.
    pub fn new(options: Options, clock: Clock) -> Result<Self, BuildError> {
        Self::with_times(options, clock, Times { connect: CONNECT_TIMEOUT, call: CALL_TIMEOUT })
    }

    /// The same without a network: `carrier` takes the requests.
    ///
    /// # Errors
    /// [`BuildError::BaseUrl`].
    pub fn over(options: Options, clock: Clock, carrier: Arc<dyn Carrier>) -> Result<Self, BuildError> {
        let times = Times { connect: CONNECT_TIMEOUT, call: CALL_TIMEOUT };
        Self::made(options, clock, Way::Carried(carrier), times)
    }

    fn with_times(options: Options, clock: Clock, times: Times) -> Result<Self, BuildError> {
        let way = Way::Network(options.proxy.clone());
        Self::made(options, clock, way, times)
    }

    fn made(options: Options, clock: Clock, way: Way, times: Times) -> Result<Self, BuildError> {
        let made_of = options.digest();
        let Options { appid, secret, base_url, proxy: _, state, lang } = options;
        let http = Arc::new(Http::new(appid, secret, &base_url, way, times)?);
        let tokens = TokenCache::new(Arc::clone(&http), clock);
        Ok(Self(Arc::new(Shared { made_of, http, tokens, state, lang })))
    }

    /// Whether this client was made of equal options, so that it may be kept with its access token.
    pub fn is_for(&self, options: &Options) -> bool {
        self.0.made_of == options.digest()
    }

    /// Sees to it that there is an access token, and replaces one whose end is near.
    ///
    /// Meant for start and for housekeeping; [`Client::ready`] does the same when it has to. Calls at
    /// the same time share one fetch.
    ///
    /// # Errors
    /// [`TokenError`]: there is none; nothing is asked again before its pause is over.
    pub async fn warm(&self) -> Result<(), TokenError> {
        self.0.tokens.warm().await
    }

    /// Ends the wait for the next access token, by an operator's word: the platform may have asked for an hour.
    pub fn ask_again(&self) {
        self.0.tokens.ask_again();
    }

    /// How it stands with the access token, for status pages; never the token itself.
    pub fn token_state(&self) -> TokenState {
        self.0.tokens.state()
    }

    /// Another program that keeps taking this app's access tokens, while there is one.
    pub fn rival(&self) -> Option<Rival> {
        self.0.tokens.rival()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(self.0.http.appid()).finish()
    }
}
