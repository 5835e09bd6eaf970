//! What WeChat warns an app of (`wxa_punish_event` 1): kept in the store, and told for a day. It stops nothing.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::domain::config::App;
use crate::domain::id::AppId;
use crate::store::{Store, Unavailable};

/// Under this name and the appid the store keeps the last one: when, in seconds, and its words.
const WARNED: &str = "warned:";

/// How long a warning asks for a person.
const LASTS: TimeDelta = TimeDelta::days(1);

/// How much of it is kept, in characters.
const MAX_SAID: usize = 500;

/// Keeps a warning of `at`; durable on return. A second one takes its place.
pub(super) async fn keep(
    store: &dyn Store,
    app: &AppId,
    said: &str,
    at: DateTime<Utc>,
) -> Result<(), Unavailable> {
    let said: String = said.chars().take(MAX_SAID).collect();
    let kept =
        store.keep(&format!("{WARNED}{app}"), format!("{} {said}", at.timestamp()).into_bytes()).await?;
    store.wait(kept.number).await
}

/// What WeChat warned `app` of within the last day, for people; nothing while the store cannot be read, which says so
/// itself.
#[must_use]
pub fn trouble(store: &dyn Store, app: &App, now: DateTime<Utc>) -> Option<String> {
    let kept = String::from_utf8(store.kept(&format!("{WARNED}{}", app.appid)).ok()??).ok()?;
    let (at, said) = kept.split_once(' ')?;
    let at = DateTime::from_timestamp(at.parse().ok()?, 0).filter(|at| now - *at < LASTS)?;
    let warned_at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Some(format!("app {}: WeChat warned at {warned_at}: {said}; see the console", app.name))
}
