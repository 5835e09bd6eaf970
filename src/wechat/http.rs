//! The one file that builds platform URLs and the one HTTP client.
//!
//! URLs carry the access token, the secret or a login code, so they never leave this file in the clear,
//! and every error has its URL stripped here. It knows whether bytes may have left; what an answer
//! means is told in [`super::errcode`].

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::domain::id::AppId;

/// Where messages go.
const SEND_PATH: &str = "/cgi-bin/message/subscribe/send";

/// The largest answer that is read; the platform's are below 1 KiB.
const MAX_BODY: usize = 64 * 1024;

/// The largest list of templates that is read; one of fifty has some 50 KiB.
const MAX_LIST: usize = 1024 * 1024;

/// How long an unused connection is kept.
///
/// Short, so that a connection the platform closed in silence is rarely picked for a send, whose
/// outcome would then be unknown.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The most unused connections that are kept.
const MAX_IDLE: usize = 256;

/// Time limits of one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a connection, TLS included.
    pub(super) connect: Duration,
    /// For a call in all.
    pub(super) call: Duration,
}

/// Why no client can be made; the configuration is at fault, or the machine has no root certificates.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `base_url` is not an allowed address.
    #[error(
        "base_url must be `https://HOST[:PORT]`, or `http://` to a loopback address, and nothing after it"
    )]
    BaseUrl,
    /// `proxy` is not an allowed address.
    #[error("proxy must be `http://` or `https://` and an address")]
    Proxy,
    /// The HTTP client cannot be set up, mostly because the system has no root certificates.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Carries requests instead of the network: a platform within the same process, whose answers come in an order
/// that can be replayed. Token, parsing and meaning of answers are the client's as ever.
pub trait Carrier: Send + Sync {
    /// Takes a request to the platform and brings the body of its answer. The query, which holds the access
    /// token, stays here; time limits are the carrier's.
    ///
    /// # Errors
    /// [`NoAnswer`].
    fn carry(&self, path: &str, body: &[u8]) -> Carried;
}

/// An answer on its way.
pub type Carried = Pin<Box<dyn Future<Output = Result<Vec<u8>, NoAnswer>> + Send>>;

/// How requests travel.
pub(super) enum Way {
    /// Through an optional proxy.
    Network(Option<String>),
    /// As a test says.
    Carried(Arc<dyn Carrier>),
}

enum Wire {
    Network(reqwest::Client),
    Carried(Arc<dyn Carrier>),
}

/// Why a call has no answer, for people.
#[derive(Debug)]
pub enum NoAnswer {
    /// There was no connection: nothing was sent.
    NotConnected(String),
    /// Bytes may have left.
    Unanswered(String),
}

impl NoAnswer {
    pub(super) fn text(self) -> String {
        match self {
            Self::NotConnected(text) | Self::Unanswered(text) => text,
        }
    }

    /// Only what is provably an error of connecting counts as one. `hyper-util` tries again by itself
    /// where a reused connection was closed before the request was serialised; whatever it reports
    /// otherwise may have left.
    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let text = chain(&error);
        if error.is_connect() { Self::NotConnected(text) } else { Self::Unanswered(text) }
    }
}

/// The error and its causes in one line.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A complete body, whatever its status; it may hold secrets.
pub(super) struct Body(pub(super) Vec<u8>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Where sends go under one access token, which is part of it; made once for each token.
#[derive(Clone)]
pub(super) struct SendUrl(Url);

impl fmt::Debug for SendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendUrl(…)")
    }
}

/// The HTTP side of one mini program.
pub(super) struct Http {
    wire: Wire,
    base: Url,
    appid: AppId,
    secret: SecretString,
    times: Times,
}

impl Http {
    pub(super) fn new(
        appid: AppId,
        secret: SecretString,
        base_url: &str,
        way: Way,
        times: Times,
    ) -> Result<Self, BuildError> {
        let base = parse_base(base_url)?;
        let wire = match way {
            Way::Network(proxy) => Wire::Network(network(&base, proxy.as_deref(), times)?),
            Way::Carried(carrier) => Wire::Carried(carrier),
        };
        Ok(Self { wire, base, appid, secret, times })
    }

    pub(super) fn appid(&self) -> &AppId {
        &self.appid
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// For taking it out of texts.
    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    pub(super) fn send_url(&self, token: &SecretString) -> SendUrl {
        let mut url = self.url(SEND_PATH);
        url.query_pairs_mut().append_pair("access_token", token.expose_secret());
        SendUrl(url)
    }

    /// Posts one message. The caller limits the time, because it knows what was under way.
    pub(super) async fn send(&self, url: &SendUrl, body: Vec<u8>) -> Result<Body, NoAnswer> {
        self.exchange(post(url.0.clone(), body), MAX_BODY).await
    }

    /// Asks for the stable access token in normal mode, which never ends the one in use.
    pub(super) async fn stable_token(&self) -> Result<Body, NoAnswer> {
        let body = serde_json::json!({
            "grant_type": "client_credential",
            "appid": self.appid.as_str(),
            "secret": self.secret.expose_secret(),
            "force_refresh": false,
        });
        self.limited(post(self.url("/cgi-bin/stable_token"), body.to_string().into_bytes()), MAX_BODY).await
    }

    /// Exchanges a login code, which is worthless afterwards.
    pub(super) async fn jscode2session(&self, code: &str) -> Result<Body, NoAnswer> {
        let mut url = self.url("/sns/jscode2session");
        url.query_pairs_mut()
            .append_pair("appid", self.appid.as_str())
            .append_pair("secret", self.secret.expose_secret())
            .append_pair("js_code", code)
            .append_pair("grant_type", "authorization_code");
        self.limited(Request::new(Method::GET, url), MAX_BODY).await
    }

    /// Asks for the account's own templates.
    pub(super) async fn gettemplate(&self, token: &SecretString) -> Result<Body, NoAnswer> {
        let mut url = self.url("/wxaapi/newtmpl/gettemplate");
        url.query_pairs_mut().append_pair("access_token", token.expose_secret());
        self.limited(Request::new(Method::GET, url), MAX_LIST).await
    }

    /// Asks for the quota of sends.
    pub(super) async fn quota(&self, token: &SecretString) -> Result<Body, NoAnswer> {
        let mut url = self.url("/cgi-bin/openapi/quota/get");
        url.query_pairs_mut().append_pair("access_token", token.expose_secret());
        let body = serde_json::json!({ "cgi_path": SEND_PATH });
        self.limited(post(url, body.to_string().into_bytes()), MAX_BODY).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn limited(&self, request: Request, max: usize) -> Result<Body, NoAnswer> {
        match timeout(self.times.call, self.exchange(request, max)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(NoAnswer::Unanswered("no answer in time".to_owned())),
        }
    }

    async fn exchange(&self, request: Request, max: usize) -> Result<Body, NoAnswer> {
        let client = match &self.wire {
            Wire::Network(client) => client,
            Wire::Carried(carrier) => {
                let asked = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
                return carrier.carry(request.url().path(), asked).await.map(Body);
            }
        };
        let mut response = client.execute(request).await.map_err(NoAnswer::of)?;
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(NoAnswer::of)? {
            if body.len() + piece.len() > max {
                let why = format!("the answer is larger than {} KiB", max / 1024);
                return Err(NoAnswer::Unanswered(why));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Body(body))
    }
}

fn network(base: &Url, proxy: Option<&str>, times: Times) -> Result<reqwest::Client, BuildError> {
    // The process may have installed a provider already; any is as good.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tixing/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(times.connect)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE);
    if base.scheme() == "https" {
        builder = builder.https_only(true);
    } else {
        // Loopback: no certificate is ever looked at, and a machine without any will do.
        builder = builder.tls_certs_only([]);
    }
    if let Some(proxy) = proxy {
        builder = builder.proxy(parse_proxy(proxy)?);
    }
    builder.build().map_err(|error| BuildError::Client(error.without_url()))
}

fn post(url: Url, body: Vec<u8>) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(body.into());
    request
}

fn parse_base(text: &str) -> Result<Url, BuildError> {
    // The parser's error adds nothing that the rule does not say.
    let url = Url::parse(text).map_err(|_unreadable| BuildError::BaseUrl)?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    let allowed = match url.scheme() {
        "https" => url.has_host(),
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    };
    if bare && allowed { Ok(url) } else { Err(BuildError::BaseUrl) }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn parse_proxy(text: &str) -> Result<reqwest::Proxy, BuildError> {
    // Errors are replaced, because an address of a proxy may hold a password.
    let url = Url::parse(text).map_err(|_unreadable| BuildError::Proxy)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(BuildError::Proxy);
    }
    reqwest::Proxy::all(url).map_err(|_unreadable| BuildError::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_loopback_and_bare() {
        let table = [
            ("https://api.weixin.qq.com", true),
            ("https://api.weixin.qq.com/", true),
            ("https://api2.weixin.qq.com:8443", true),
            ("http://127.0.0.1:9000", true),
            ("http://127.8.8.8:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://api.weixin.qq.com", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://user:pass@api.weixin.qq.com", false),
            ("https://api.weixin.qq.com/cgi-bin", false),
            ("https://api.weixin.qq.com/?a=b", false),
            ("https://api.weixin.qq.com/#a", false),
            ("ftp://api.weixin.qq.com", false),
            ("api.weixin.qq.com", false),
            ("", false),
        ];
        for (text, allowed) in table {
            assert_eq!(parse_base(text).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn a_proxy_is_http_or_https() {
        let table = [
            ("http://10.0.0.1:3128", true),
            ("https://user:pass@proxy.example.com", true),
            ("socks5://10.0.0.1:1080", false),
            ("10.0.0.1:3128", false),
            ("", false),
        ];
        for (text, allowed) in table {
            assert_eq!(parse_proxy(text).is_ok(), allowed, "{text}");
        }
    }
}
