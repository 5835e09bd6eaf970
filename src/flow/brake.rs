//! What does not send, kept over restarts, and looked at before each request: what operators have paused, apps that the
//! platform punishes, and rules that it refuses, or would.
//!
//! A pause is durable before it is in force, and in force before who said so is answered. A rejected rule is held at once, and
//! durable before the end of the delivery that was refused. Neither ends anything: what is due is opened all the same, and
//! what is not sent by its deadline expires and gives its grant back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

use crate::domain::config::{Basis, RuleSet};
use crate::domain::id::{AppId, RuleId};
use crate::domain::pause::{By, MAX_REASON, Pause, Scope};
use crate::domain::rejection::{Fault, Rejection, Wording};
use crate::plan::templates::Fit;
use crate::rules::snapshot;
use crate::store::{Pending, Store, Unavailable};

mod rejections;

/// Under this name the store keeps them.
const PAUSES: &str = "pauses";
/// Under this name and the appid the store keeps when an app was punished last, by the platform's clock.
const PUNISHED: &str = "punished:";
/// The largest value that operators make of them, in bytes.
const MAX_BYTES: usize = 3 * 1024;
/// The largest with the platform's, in bytes: there is room for punished apps also where operators have used up theirs.
const MAX_BYTES_PUNISHED: usize = 3900;
/// After this nothing is left of an occurrence that was open when its rule was held: grace and spread are at most 31 days.
const OLD_WORDING: TimeDelta = TimeDelta::days(62);

/// The pauses and rejections in force. Clones share everything.
#[derive(Clone, Debug)]
pub struct Brake(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    force: watch::Sender<Force>,
    /// One change of the pauses at a time.
    changing: Mutex<()>,
    /// One change of the rejections at a time, until the store has been told.
    holding: std::sync::Mutex<()>,
}

/// What is in force.
#[derive(Debug, Default)]
struct Force {
    /// In the order of their scopes.
    pauses: Vec<Pause>,
    /// In the order of rules and wordings.
    rejections: Vec<Rejection>,
}

impl Force {
    fn stops(&self, app: &AppId, rule: &RuleId, wording: Wording) -> bool {
        self.pauses.iter().any(|pause| pause.covers(app, rule))
            || self
                .place(rule, wording)
                .ok()
                .and_then(|at| self.rejections.get(at))
                .is_some_and(Rejection::holds)
    }

    /// Where the rejection of this wording is, or would be.
    fn place(&self, rule: &RuleId, wording: Wording) -> Result<usize, usize> {
        self.rejections
            .binary_search_by(|rejection| (&rejection.rule, rejection.wording).cmp(&(rule, wording)))
    }
}

/// How a wording of a rule fits its template.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Whether it does.
    pub(super) fit: Fit,
    /// Whether the rule was edited since.
    pub(super) passed: bool,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_platform: bool,
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
                error!("What is paused cannot be read: everything is paused; `tixing resume` ends that");
                let reason = Some("what was paused cannot be read".to_owned());
                vec![Pause { scope: Scope::Everything, by: By::Operator, since: now, reason }]
            }),
        };
        let rejections = rejections::of_store(&*store)?;
        let force = watch::Sender::new(Force { pauses, rejections });
        let holding = std::sync::Mutex::new(());
        Ok(Self(Arc::new(Parts { store, force, changing: Mutex::new(()), holding })))
    }

    /// All pauses, in the order of their scopes.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        self.0.force.borrow().pauses.clone()
    }

    /// Rules that the platform refuses as they are written now.
    #[must_use]
    pub fn rejections(&self) -> Vec<Rejection> {
        let is_told = |rejection: &&Rejection| rejection.holds() && !rejection.passed;
        self.0.force.borrow().rejections.iter().filter(is_told).cloned().collect()
    }

    /// What holds a rule as it was when this wording of it was taken down, whether it was edited since or not.
    #[must_use]
    pub fn rejection(&self, rule: &RuleId, wording: Wording) -> Option<Rejection> {
        let force = self.0.force.borrow();
        let known = force.place(rule, wording).ok().and_then(|at| force.rejections.get(at));
        known.filter(|rejection| rejection.holds()).cloned()
    }

    /// Rules of which some wording did not fit its template, as far as that was judged.
    pub(super) fn mismatched(&self) -> BTreeSet<RuleId> {
        let force = self.0.force.borrow();
        let those = force.rejections.iter().filter(|rejection| rejection.is_mismatch());
        those.map(|rejection| rejection.rule.clone()).collect()
    }

    /// Whether nothing of an app is sent.
    #[must_use]
    pub fn stops_app(&self, app: &AppId) -> bool {
        self.0.force.borrow().pauses.iter().any(|pause| pause.covers_app(app))
    }

    /// Whether nothing of a rule is sent, as it was when this wording of it was taken down.
    #[must_use]
    pub fn stops(&self, app: &AppId, rule: &RuleId, wording: Wording) -> bool {
        self.0.force.borrow().stops(app, rule, wording)
    }

    /// Resolves when nothing of a rule is sent any more.
    pub async fn stopped(&self, app: &AppId, rule: &RuleId, wording: Wording) {
        let mut force = self.0.force.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let _stopped = force.wait_for(|force| force.stops(app, rule, wording)).await;
    }

    /// Resolves when it is sent again.
    pub async fn goes_on(&self, app: &AppId, rule: &RuleId, wording: Wording) {
        let mut force = self.0.force.subscribe();
        let _goes = force.wait_for(|force| !force.stops(app, rule, wording)).await;
    }

    /// Holds a rule: in force on return, and durable before anything that the caller gives to the store after this.
    /// `false` when it was held already.
    pub fn hold(&self, rejection: Rejection) -> bool {
        let _one = self.0.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let at = rejections::place_of(&rejection.rule);
        let new =
            self.0.force.send_if_modified(|force| match force.place(&rejection.rule, rejection.wording) {
                Ok(at) => match force.rejections.get_mut(at) {
                    // It was sent all the same, and the platform has refused it.
                    Some(known) if !known.holds() => {
                        *known = rejection;
                        true
                    }
                    Some(_) | None => false,
                },
                Err(place) => {
                    force.rejections.insert(place, rejection);
                    true
                }
            });
        if new {
            let _queued = self.keep(at);
        }
        new
    }

    /// Ends what holds `rule`, or all rules, and says what did; durable on return.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed. They have ended, but may be in force again after the next start.
    pub async fn release(&self, rule: Option<&RuleId>) -> Result<Vec<Rejection>, Unavailable> {
        let mut ended = Vec::new();
        let kept = {
            let _one = self.0.holding.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.force.send_modify(|force| {
                let is_named = |rejection: &Rejection| rule.is_none_or(|rule| rejection.rule == *rule);
                // What does not fit is remembered: it would be held again by the next look.
                for mismatch in &mut force.rejections {
                    if mismatch.is_mismatch() && mismatch.holds() && is_named(mismatch) {
                        mismatch.released = true;
                        ended.push(mismatch.clone());
                    }
                }
                let refused = |rejection: &mut Rejection| !rejection.is_mismatch() && is_named(rejection);
                ended.extend(force.rejections.extract_if(.., refused));
            });
            self.keep_those(&ended)
        };
        for kept in kept {
            let decided = kept.await?;
            self.0.store.wait(decided.number).await?;
        }
        Ok(ended)
    }

    /// Looks at the rules in force: one that is written anew or gone is not held any more, and one that is written again as
    /// it was before gets another try.
    pub fn reconsider(&self, rules: &RuleSet, now: DateTime<Utc>) {
        match rules.basis {
            Basis::Files => {}
            // Nobody knows how they are written.
            Basis::Nothing => return,
        }
        let _one = self.0.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut touched = Vec::new();
        self.0.force.send_if_modified(|force| {
            force.rejections.retain_mut(|rejection| {
                if rejection.is_mismatch() {
                    return true; // judged by its template
                }
                let same = wording(rules, &rejection.rule) == Some(rejection.wording);
                if same == rejection.passed {
                    let rule = &rejection.rule;
                    info!(rule.id = %rule, "Rule {rule} was edited and is not held any more: it was {rejection}");
                    touched.push(rejection.clone());
                }
                let stays = !rejection.passed || (!same && now - rejection.since < OLD_WORDING);
                rejection.passed = !same;
                stays
            });
            !touched.is_empty()
        });
        let _queued = self.keep_those(&touched);
    }

    /// Holds rules that do not fit their templates, and lets go on those that were held for that and fit, or are left in
    /// nothing; what was released stays so until it is something else that does not fit.
    pub(super) fn judge(&self, mut judged: BTreeMap<(RuleId, Wording), Judged>, now: DateTime<Utc>) {
        let _one = self.0.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut touched = Vec::new();
        self.0.force.send_if_modified(|force| {
            force.rejections.retain_mut(|held| {
                let judged = judged.remove(&(held.rule.clone(), held.wording));
                let Fault::Mismatch(before) = &mut held.fault else { return true };
                let id = held.rule.clone();
                match judged {
                    Some(Judged { fit: Fit::Unknown, passed }) => {
                        held.passed = passed;
                        true
                    }
                    Some(Judged { fit: Fit::Misfits(mismatch), passed }) => {
                        let is_new = *before != mismatch;
                        if is_new || held.passed != passed {
                            (*before, held.passed) = (mismatch, passed);
                            held.released &= !is_new;
                            touched.push(held.clone());
                        }
                        if is_new && !passed {
                            warn!(rule.id = %id, "Rule {id} does not send, it is {held}: {}", held.cure());
                        }
                        true
                    }
                    Some(Judged { fit: Fit::Fits, passed: _ }) => {
                        info!(rule.id = %id, "Rule {id} fits its template again: it was {held}");
                        touched.push(held.clone());
                        false
                    }
                    None => {
                        info!(rule.id = %id, "Rule {id} was edited, and nothing is left of what was {held}");
                        touched.push(held.clone());
                        false
                    }
                }
            });
            for ((rule, wording), Judged { fit, passed }) in judged {
                let Fit::Misfits(mismatch) = fit else { continue };
                let Err(place) = force.place(&rule, wording) else { continue };
                let held = Rejection {
                    rule,
                    wording,
                    since: now,
                    fault: Fault::Mismatch(mismatch),
                    errcode: None,
                    errmsg: None,
                    rid: None,
                    passed,
                    released: false,
                };
                let rule = &held.rule;
                warn!(rule.id = %rule, "Rule {rule} does not send, it is {held}: {}", held.cure());
                touched.push(held.clone());
                force.rejections.insert(place, held);
            }
            !touched.is_empty()
        });
        let _queued = self.keep_those(&touched);
    }

    /// Gives what is in force to a store that was away, which may have lost it.
    ///
    /// # Errors
    /// [`Unavailable`]: it is away again.
    pub async fn keep_again(&self) -> Result<(), Unavailable> {
        let kept = {
            let _one = self.0.holding.lock().unwrap_or_else(PoisonError::into_inner);
            let rejections = self.0.force.borrow().rejections.clone();
            self.keep_those(&rejections)
        };
        for kept in kept {
            kept.await?;
        }
        Ok(())
    }

    /// Gives the store what is kept together with these.
    fn keep_those(&self, rejections: &[Rejection]) -> Vec<Pending<()>> {
        let places = rejections.iter().map(|rejection| rejections::place_of(&rejection.rule));
        let places: BTreeSet<&'static str> = places.collect();
        places.into_iter().map(|at| self.keep(at)).collect()
    }

    fn keep(&self, at: &'static str) -> Pending<()> {
        let bytes = rejections::encode(&self.0.force.borrow().rejections, at);
        self.0.store.keep(at, bytes)
    }

    /// Pauses; durable and in force on return. One that is there keeps its time, and is another's word where another
    /// reason is given.
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
        let by = known.as_ref().filter(|_| reason.is_none()).map_or(By::Operator, |known| known.by);
        let reason = reason.or(known.and_then(|known| known.reason));
        let pause = Pause { scope, by, since, reason };
        pauses.push(pause.clone());
        let most = match pause.scope {
            // What stops all has the room that is kept for the platform's.
            Scope::Everything => MAX_BYTES_PUNISHED,
            Scope::App(_) | Scope::Rule(_) => MAX_BYTES,
        };
        self.put(pauses, most).await?;
        Ok(pause)
    }

    /// Pauses an app that the platform punishes, durable on return; the same event again, or an older one, changes nothing,
    /// also when an operator has let the app go on since. A pause by an operator that is there becomes the platform's word,
    /// so that nobody ends it for a reason that is over.
    ///
    /// # Errors
    /// [`NotPaused`].
    pub async fn punish(
        &self,
        app: &AppId,
        reason: &str,
        told_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), NotPaused> {
        let _one = self.0.changing.lock().await;
        let name = format!("{PUNISHED}{app}");
        let last =
            self.0.store.kept(&name)?.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
        let told_ms = told_at.timestamp_millis();
        if last >= Some(told_ms) {
            return Ok(());
        }
        let mut pauses = self.pauses();
        let scope = Scope::App(app.clone());
        let known = pauses.iter().position(|pause| pause.scope == scope).map(|at| pauses.remove(at));
        let reason = Some(reason.chars().take(MAX_REASON).collect());
        let since = known.map_or(now, |known| known.since);
        pauses.push(Pause { scope, by: By::Platform, since, reason });
        self.put(pauses, MAX_BYTES_PUNISHED).await?;
        let decided = self.0.store.keep(&name, told_ms.to_be_bytes().to_vec()).await?;
        Ok(self.0.store.wait(decided.number).await?)
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
        match self.put(pauses, MAX_BYTES_PUNISHED).await {
            Ok(()) => Ok(Some(ended)),
            Err(NotPaused::Store(_) | NotPaused::TooMany) => Err(Unavailable),
        }
    }

    async fn put(&self, mut pauses: Vec<Pause>, most: usize) -> Result<(), NotPaused> {
        pauses.sort_by(|a, b| a.scope.cmp(&b.scope));
        let bytes = encode(&pauses);
        if bytes.len() > most {
            return Err(NotPaused::TooMany);
        }
        let decided = self.0.store.keep(PAUSES, bytes).await?;
        self.0.store.wait(decided.number).await?;
        self.0.force.send_modify(|force| force.pauses = pauses);
        Ok(())
    }
}

/// The wording of a rule as it is in force.
#[must_use]
pub fn wording(rules: &RuleSet, rule: &RuleId) -> Option<Wording> {
    let rule = rules.rules.get(rule)?;
    Some(Wording::of_snapshot(&snapshot::hash(&snapshot::encode(rule))))
}

fn encode(pauses: &[Pause]) -> Vec<u8> {
    let kept = pauses.iter().map(|pause| {
        let (app, rule) = match &pause.scope {
            Scope::Everything => (None, None),
            Scope::App(app) => (Some(app.as_str().to_owned()), None),
            Scope::Rule(rule) => (None, Some(rule.as_str().to_owned())),
        };
        let by_platform = match pause.by {
            By::Operator => false,
            By::Platform => true,
        };
        let since_ms = pause.since.timestamp_millis();
        Kept { app, rule, by_platform, since_ms, reason: pause.reason.clone() }
    });
    serde_json::to_vec(&kept.collect::<Vec<_>>()).expect("texts and numbers are JSON")
}

fn decode(bytes: &[u8]) -> Option<Vec<Pause>> {
    let kept: Vec<Kept> = serde_json::from_slice(bytes).ok()?;
    let pause = |Kept { app, rule, by_platform, since_ms, reason }: Kept| {
        let scope = match (app, rule) {
            (None, None) => Scope::Everything,
            (Some(app), None) => Scope::App(AppId::parse(&app).ok()?),
            (None, Some(rule)) => Scope::Rule(RuleId::parse(&rule).ok()?),
            (Some(_), Some(_)) => return None,
        };
        let by = if by_platform { By::Platform } else { By::Operator };
        Some(Pause { scope, by, since: DateTime::from_timestamp_millis(since_ms)?, reason })
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

    const ANY: Wording = Wording([0; 8]);

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
        assert!(!brake.stops(&app(), &water, ANY) && told(&brake).is_empty());
        brake.pause(rule("water"), Some("too wet".to_owned()), at(1)).await.expect("paused");
        brake.pause(rule("water"), None, at(2)).await.expect("paused");
        assert!(brake.stops(&app(), &water, ANY) && !brake.stops_app(&app()));
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
        assert!(!again.stops_app(&app()) && again.stops(&app(), &water, ANY));
        again.stopped(&app(), &water, ANY).await;
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
