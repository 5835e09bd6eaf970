//! What operators have paused, kept over restarts, and looked at before each request.
//!
//! A pause is durable before it is in force, and in force before its operator is answered. It ends nothing: what is due is
//! opened all the same, and what is not sent by its deadline expires and gives its grant back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::error;

use crate::domain::id::{AppId, RuleId};
use crate::domain::pause::{Pause, Scope};
use crate::store::{Store, Unavailable};

/// Under this name the store keeps them.
const PAUSES: &str = "pauses";
/// The largest value that the store keeps under a name, in bytes.
const MAX_BYTES: usize = 3 * 1024;

/// The pauses in force. Clones share everything.
#[derive(Clone, Debug)]
pub struct Brake(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    /// In the order of their scopes.
    pauses: watch::Sender<Vec<Pause>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// Why a pause was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotPaused {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// There are too many already.
    #[error("too many pauses to keep; pause the app instead, or resume what may send again")]
    TooMany,
}

/// A pause as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    since_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Brake {
    /// Those that `store` keeps. Where they cannot be read everything is paused: somebody had a reason.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub fn of_store(store: Arc<dyn Store>, now: DateTime<Utc>) -> Result<Self, Unavailable> {
        let pauses = match store.kept(PAUSES)? {
            None => Vec::new(),
            Some(bytes) => decode(&bytes).unwrap_or_else(|| {
                error!("What operators have paused cannot be read: everything is paused; `tixing resume` ends that");
                let reason = Some("what was paused cannot be read".to_owned());
                vec![Pause { scope: Scope::Everything, since: now, reason }]
            }),
        };
        Ok(Self(Arc::new(Parts { store, pauses: watch::Sender::new(pauses), changing: Mutex::new(()) })))
    }

    /// All of them, in the order of their scopes.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        self.0.pauses.borrow().clone()
    }

    /// Whether nothing of an app is sent.
    #[must_use]
    pub fn stops_app(&self, app: &AppId) -> bool {
        self.0.pauses.borrow().iter().any(|pause| pause.covers_app(app))
    }

    /// Whether nothing of a rule is sent.
    #[must_use]
    pub fn stops(&self, app: &AppId, rule: &RuleId) -> bool {
        self.0.pauses.borrow().iter().any(|pause| pause.covers(app, rule))
    }

    /// Resolves when nothing of a rule is sent any more.
    pub async fn stopped(&self, app: &AppId, rule: &RuleId) {
        let mut pauses = self.0.pauses.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let _stopped = pauses.wait_for(|pauses| pauses.iter().any(|pause| pause.covers(app, rule))).await;
    }

    /// Pauses; durable and in force on return. One that is there keeps its time, and takes another reason where one is
    /// given.
    ///
    /// # Errors
    /// [`NotPaused`]: it is not in force; where the store failed it may be after the next start.
    pub async fn pause(
        &self,
        scope: Scope,
        reason: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Pause, NotPaused> {
        let _one = self.0.changing.lock().await;
        let mut pauses = self.pauses();
        let known = pauses.iter().position(|pause| pause.scope == scope).map(|at| pauses.remove(at));
        let since = known.as_ref().map_or(now, |known| known.since);
        let reason = reason.or(known.and_then(|known| known.reason));
        let pause = Pause { scope, since, reason };
        pauses.push(pause.clone());
        self.put(pauses).await?;
        Ok(pause)
    }

    /// Ends a pause, and says which; durable and in force on return. `None` where there was none.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed; nobody knows whether it has ended, and it has not before the next start.
    pub async fn resume(&self, scope: &Scope) -> Result<Option<Pause>, Unavailable> {
        let _one = self.0.changing.lock().await;
        let mut pauses = self.pauses();
        let Some(at) = pauses.iter().position(|pause| pause.scope == *scope) else { return Ok(None) };
        let ended = pauses.remove(at);
        match self.put(pauses).await {
            Ok(()) => Ok(Some(ended)),
            Err(NotPaused::Store(_) | NotPaused::TooMany) => Err(Unavailable),
        }
    }

    async fn put(&self, mut pauses: Vec<Pause>) -> Result<(), NotPaused> {
        pauses.sort_by(|a, b| a.scope.cmp(&b.scope));
        let bytes = encode(&pauses);
        if bytes.len() > MAX_BYTES {
            return Err(NotPaused::TooMany);
        }
        let decided = self.0.store.keep(PAUSES, bytes).await?;
        self.0.store.wait(decided.number).await?;
        self.0.pauses.send_replace(pauses);
        Ok(())
    }
}

fn encode(pauses: &[Pause]) -> Vec<u8> {
    let kept = pauses.iter().map(|pause| {
        let (app, rule) = match &pause.scope {
            Scope::Everything => (None, None),
            Scope::App(app) => (Some(app.as_str().to_owned()), None),
            Scope::Rule(rule) => (None, Some(rule.as_str().to_owned())),
        };
        Kept { app, rule, since_ms: pause.since.timestamp_millis(), reason: pause.reason.clone() }
    });
    serde_json::to_vec(&kept.collect::<Vec<_>>()).expect("texts and numbers are JSON")
}

fn decode(bytes: &[u8]) -> Option<Vec<Pause>> {
    let kept: Vec<Kept> = serde_json::from_slice(bytes).ok()?;
    let pause = |Kept { app, rule, since_ms, reason }: Kept| {
        let scope = match (app, rule) {
            (None, None) => Scope::Everything,
            (Some(app), None) => Scope::App(AppId::parse(&app).ok()?),
            (None, Some(rule)) => Scope::Rule(RuleId::parse(&rule).ok()?),
            (Some(_), Some(_)) => return None,
        };
        Some(Pause { scope, since: DateTime::from_timestamp_millis(since_ms)?, reason })
    };
    kept.into_iter().map(pause).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::sled::{self, Options};

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).expect("in range")
    }

    fn store() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options::new(folder.path().join("store"));
        (Arc::new(sled::open(&options, Clock::by_hand(at(0))).expect("a store")), folder)
    }

    fn rule(id: &str) -> Scope {
        Scope::Rule(RuleId::parse(id).expect("an id"))
    }

    fn app() -> AppId {
        AppId::parse("wx0123456789abcdef").expect("an app")
    }

    fn told(brake: &Brake) -> Vec<String> {
        brake.pauses().iter().map(|pause| format!("{:?} {pause}", pause.scope)).collect()
    }

    #[tokio::test]
    async fn pauses_are_kept_until_they_are_taken_back() {
        let (store, _folder) = store();
        let brake = Brake::of_store(Arc::clone(&store), at(0)).expect("read");
        let water = RuleId::parse("water").expect("an id");
        assert!(!brake.stops(&app(), &water) && told(&brake).is_empty());
        brake.pause(rule("water"), Some("too wet".to_owned()), at(1)).await.expect("paused");
        brake.pause(rule("water"), None, at(2)).await.expect("paused");
        assert!(brake.stops(&app(), &water) && !brake.stops_app(&app()));
        brake.pause(Scope::App(app()), None, at(3)).await.expect("paused");
        brake.pause(Scope::Everything, None, at(4)).await.expect("paused");
        assert!(brake.stops_app(&app()));
        // Those who come after a restart find the same.
        let again = Brake::of_store(Arc::clone(&store), at(9)).expect("read");
        assert_eq!(told(&again), told(&brake));
        assert_eq!(
            told(&again),
            [
                "Everything paused by an operator since 1970-01-01T00:00:04Z",
                "App(\"wx0123456789abcdef\") paused by an operator since 1970-01-01T00:00:03Z",
                "Rule(\"water\") paused by an operator since 1970-01-01T00:00:01Z: too wet",
            ]
        );
        assert_eq!(again.resume(&Scope::Everything).await.expect("resumed").expect("it was").since, at(4));
        assert_eq!(again.resume(&Scope::Everything).await, Ok(None));
        assert!(again.resume(&Scope::App(app())).await.expect("resumed").is_some());
        assert!(!again.stops_app(&app()) && again.stops(&app(), &water));
        again.stopped(&app(), &water).await;
    }

    #[tokio::test]
    async fn what_cannot_be_read_pauses_everything_and_what_is_too_much_is_refused() {
        let (store, _folder) = store();
        store.keep(PAUSES, b"[{]".to_vec()).await.expect("kept");
        let brake = Brake::of_store(Arc::clone(&store), at(7)).expect("read");
        assert_eq!(
            told(&brake),
            ["Everything paused by an operator since 1970-01-01T00:00:07Z: what was paused cannot be read"]
        );
        brake.resume(&Scope::Everything).await.expect("resumed");
        let mut n = 0;
        while brake.pause(rule(&format!("r{n}")), Some("x".repeat(100)), at(1)).await.is_ok() {
            n += 1;
        }
        assert!((15..40).contains(&n), "{n}");
        assert_eq!(brake.pauses().len(), n);
        assert_eq!(Brake::of_store(store, at(0)).expect("read").pauses().len(), n);
    }
}
