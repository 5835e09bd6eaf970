//! The page of the demo: one document, live, in Chinese and English.
//!
//! It has no login and therefore listens on loopback only; `Host` and `Origin` are checked, so that no
//! other site's page can tap. Everything it needs is in the binary.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use super::phone::{Phone, Picture};
use crate::sandbox::{Answer, Keep};

const PAGE: &str = include_str!("page.html");
/// How long changes are gathered before the page is told: one sync of the store changes several things.
const GATHER: Duration = Duration::from_millis(30);

#[derive(Clone)]
struct Site {
    phone: Phone,
    address: SocketAddr,
    stop: watch::Receiver<bool>,
}

/// Serves the page until `stop` is set.
pub(super) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    phone: Phone,
    mut stop: watch::Receiver<bool>,
) {
    let site = Site { phone, address, stop: stop.clone() };
    let router = Router::new()
        .route("/", get(page))
        .route("/demo/phone", get(picture))
        .route("/demo/tap", post(tap))
        .route("/demo/visit", post(visit))
        .route("/demo/refuse", post(refuse))
        .route("/demo/leave", post(leave))
        .route("/demo/events", get(events))
        .layer(middleware::from_fn_with_state(site.clone(), own_pages_only))
        .with_state(site);
    let ended = async move {
        // A dropped sender is a daemon that is gone: the page ends as well.
        let _stopped = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
        warn!("The demo page ended: {error}");
    }
}

/// Refuses requests that a page of another site made, also through a name that was bound to loopback.
async fn own_pages_only(State(site): State<Site>, request: axum::extract::Request, next: Next) -> Response {
    let headers = request.headers();
    let port = site.address.port();
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), site.address.to_string()];
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host_is_own = host.is_some_and(|host| own.iter().any(|own| own == host));
    let origin_is_own = headers.get(header::ORIGIN).is_none_or(|origin| {
        origin.to_str().is_ok_and(|origin| own.iter().any(|own| origin == format!("http://{own}")))
    });
    if host_is_own && origin_is_own {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "this page answers only to itself\n").into_response()
    }
}

#[derive(Deserialize)]
struct Language {
    lang: Option<String>,
}

async fn page(Query(language): Query<Language>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let lang = match language.lang.as_deref() {
        Some("en") => "en",
        Some("zh") => "zh",
        Some(_) | None => first_language(accepted),
    };
    let Ok(nonce) = super::random_hex(16) else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let text = PAGE.replace("{{lang}}", lang).replace("{{nonce}}", &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::VARY, "accept-language".to_owned()),
    ];
    (headers, text).into_response()
}

/// Chinese unless English is wanted more, or as much and named first.
fn first_language(accepted: &str) -> &'static str {
    let mut best = ("zh", 0.0);
    for part in accepted.split(',') {
        let mut parameters = part.split(';').map(str::trim);
        let lang = match parameters.next().map(str::to_ascii_lowercase) {
            Some(name) if name.starts_with("zh") => "zh",
            Some(name) if name.starts_with("en") => "en",
            Some(_) | None => continue,
        };
        let weight =
            parameters.find_map(|parameter| parameter.strip_prefix("q=")?.trim().parse::<f32>().ok());
        let weight = weight.unwrap_or(1.0);
        if weight > best.1 {
            best = (lang, weight);
        }
    }
    best.0
}

async fn picture(State(site): State<Site>) -> Response {
    match site.phone.picture().await {
        Ok(picture) => axum::Json(picture).into_response(),
        Err(unavailable) => (StatusCode::SERVICE_UNAVAILABLE, unavailable.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tap {
    answer: Tapped,
    #[serde(default)]
    always_keep: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tapped {
    Accept,
    Reject,
}

async fn tap(State(site): State<Site>, body: Bytes) -> Response {
    let tap: Tap = match serde_json::from_slice(&body) {
        Ok(tap) => tap,
        Err(error) => {
            let why = format!(
                "a tap is {{\"answer\": \"accept\" | \"reject\", \"always_keep\": false}}: {error}\n"
            );
            return (StatusCode::UNPROCESSABLE_ENTITY, why).into_response();
        }
    };
    let answer = match tap.answer {
        Tapped::Accept => Answer::Accept,
        Tapped::Reject => Answer::Reject,
    };
    let keep = if tap.always_keep { Keep::Always } else { Keep::Once };
    let tapped = site.phone.tap(answer, keep).await;
    done(site, tapped).await
}

async fn visit(State(site): State<Site>) -> Response {
    let booked = site.phone.book().await;
    done(site, booked).await
}

async fn refuse(State(site): State<Site>) -> Response {
    let refused = site.phone.refuse();
    done(site, refused).await
}

async fn leave(State(site): State<Site>) -> Response {
    let left = site.phone.leave();
    done(site, left).await
}

/// The picture after something was done on the phone.
async fn done(site: Site, done: anyhow::Result<()>) -> Response {
    match done {
        Ok(()) => picture(State(site)).await,
        Err(error) => {
            warn!("A tap of the demo phone failed: {error:#}");
            (StatusCode::BAD_GATEWAY, "the tap could not be reported\n").into_response()
        }
    }
}

/// The document at once and at each change.
async fn events(State(site): State<Site>) -> impl IntoResponse {
    let watching = Watching {
        platform: site.phone.platform.changes(),
        store: site.phone.daemon.store().progress(),
        stop: site.stop.clone(),
        site,
        told: None,
    };
    let stream = futures_util::stream::unfold(watching, |mut watching| async move {
        let picture = watching.next().await?;
        let event = Event::default().json_data(&picture).ok()?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// One listener of the live document.
struct Watching {
    site: Site,
    platform: watch::Receiver<u64>,
    store: watch::Receiver<crate::store::Progress>,
    stop: watch::Receiver<bool>,
    told: Option<Picture>,
}

impl Watching {
    /// The next picture that differs from the last one told; `None` at the end.
    async fn next(&mut self) -> Option<Picture> {
        loop {
            if *self.stop.borrow_and_update() {
                return None;
            }
            self.platform.mark_unchanged();
            self.store.mark_unchanged();
            let picture = self.site.phone.picture().await.ok()?;
            if self.told.as_ref() != Some(&picture) {
                self.told = Some(picture.clone());
                return Some(picture);
            }
            tokio::select! {
                changed = self.platform.changed() => changed.ok()?,
                changed = self.store.changed() => changed.ok()?,
                // The next due time passes without any change in the books.
                () = self.site.phone.clock.sleep(Duration::from_secs(1)) => {}
                changed = self.stop.changed() => changed.ok()?,
            }
            self.site.phone.clock.sleep(GATHER).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_language;

    #[test]
    fn the_language_that_is_wanted_more_counts() {
        for (accepted, language) in [
            ("", "zh"),
            ("en-US,en;q=0.9", "en"),
            ("zh-CN,en;q=0.8", "zh"),
            ("fr,en", "en"),
            ("fr", "zh"),
            ("en;q=0.3,zh;q=0.9", "zh"),
            ("zh;q=0.3, en;q=0.9", "en"),
            ("en;q=0", "zh"),
            ("en,zh", "en"),
        ] {
            assert_eq!(first_language(accepted), language, "{accepted}");
        }
    }
}
