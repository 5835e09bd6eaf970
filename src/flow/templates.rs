//! The templates as the platform lists them: asked for a few times a day, kept, and held against the rules.
//!
//! A rule that does not fit its template is held before a message of it is refused, and goes on when it fits again. A question
//! without an answer holds nothing. What was heard is kept in a few small values, as rejections are; of more templates
//! than fit a restart forgets some, which are asked for again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use super::brake::{Brake, Judged, wording};
use super::live::Live;
use super::read;
use crate::domain::config::{App, Basis, Config, RuleSet};
use crate::domain::id::{AppId, RuleId, TemplateId};
use crate::domain::rejection::Wording;
use crate::domain::rule::Rule;
use crate::plan::templates::{Account, Fit, Holds, Seen, Told, fit, is_due};
use crate::rules::snapshot;
use crate::store::{Store, Unavailable};
use crate::wechat::{Listed, TemplatesError};

mod kept;

/// What is known of all apps' templates. Clones share everything.
#[derive(Clone, Debug)]
pub struct Templates(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Arc<dyn Store>,
    brake: Brake,
    known: Mutex<Known>,
    /// Two lists of one moment are no two lists in a row.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    accounts: BTreeMap<AppId, Account>,
    /// The values as the store has them.
    kept: BTreeMap<&'static str, Vec<u8>>,
    /// Apps whose last question had no answer, and somebody was told.
    untold: BTreeSet<AppId>,
}

impl Templates {
    /// What `store` keeps; what cannot be read is asked for again.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub fn of_store(store: Arc<dyn Store>, brake: Brake) -> Result<Self, Unavailable> {
        let (accounts, kept) = kept::read(&*store)?;
        let known = Mutex::new(Known { accounts, kept, untold: BTreeSet::new() });
        Ok(Self(Arc::new(Parts { store, brake, known, looking: tokio::sync::Mutex::default() })))
    }

    /// Asks for the templates of each app whose turn it is, and holds the rules against them.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed; what was heard is in force, and may be forgotten by the next start.
    pub async fn look(&self, live: &Live, now: DateTime<Utc>) -> Result<(), Unavailable> {
        let _one = self.0.looking.lock().await;
        for (name, client) in &live.clients {
            let Some(app) = live.config.apps.get(name) else { continue };
            let account = self.known().accounts.get(&app.appid).cloned().unwrap_or_default();
            if is_due(&account, &wanted(app), self.holds(live, app), now) {
                let listed = client.templates().await;
                self.hear(live, app, listed.as_ref(), now).await?;
            }
        }
        Ok(())
    }

    /// Takes in what the platform said of an app's templates, whoever asked.
    ///
    /// # Errors
    /// As [`Templates::look`].
    pub async fn hear(
        &self,
        live: &Live,
        app: &App,
        listed: Result<&Listed, &TemplatesError>,
        now: DateTime<Utc>,
    ) -> Result<(), Unavailable> {
        let name = &app.name;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                let mut known = self.known();
                known.accounts.entry(app.appid.clone()).or_default().asks(now);
                if known.untold.insert(app.appid.clone()) {
                    warn!(app = %name, "App {name}: its templates could not be looked at, and nothing is held for that: {error}");
                } else {
                    debug!(app = %name, "App {name}: its templates could not be looked at: {error}");
                }
                return Ok(());
            }
        };
        {
            let mut known = self.known();
            if known.untold.remove(&app.appid) {
                info!(app = %name, "App {name}: its templates can be looked at again");
            }
            let account = known.accounts.entry(app.appid.clone()).or_default();
            let before = std::mem::take(&mut account.templates);
            // More likely a list that tells nothing than an account that has lost all its templates.
            let tells_nothing = listed.templates.is_empty() && listed.odd.is_empty();
            let seen = wanted(app).into_iter().map(|id| {
                let found = listed.templates.iter().find(|described| described.id == id);
                // One that is listed without its id may be any of those that are not found.
                let told = match found {
                    Some(described) => Told::Listed(described.clone()),
                    None if listed.odd.contains(&id) => Told::Unreadable,
                    None if tells_nothing || listed.n_nameless > 0 => Told::Nothing,
                    None => Told::Absent,
                };
                let seen = Seen::next(before.get(&id).cloned(), told);
                (id, seen)
            });
            account.templates = seen.collect();
            account.asks(now);
            account.told_at = Some(now);
            kept::write(&*self.0.store, &mut known);
        }
        self.judge(&[(&live.config, &live.rules)], now).await
    }

    /// Holds rules against what is known of their templates: those of these sets, and wordings that something open is left of.
    ///
    /// A set that is about to come into force is judged together with the one that is.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed, and nothing was judged.
    pub async fn judge(&self, sets: &[(&Config, &RuleSet)], now: DateTime<Utc>) -> Result<(), Unavailable> {
        if sets.iter().any(|(_, rules)| rules.basis == Basis::Nothing) {
            // Nobody knows how they are written.
            return Ok(());
        }
        let open = read(&self.0.store, open_wordings).await?;
        let held: BTreeSet<RuleId> = self.0.brake.mismatched();
        let mut judged: BTreeMap<(RuleId, Wording), Judged> = BTreeMap::new();
        {
            let known = self.known();
            let seen = |app: &AppId, id: &TemplateId| known.accounts.get(app)?.templates.get(id);
            for (config, rules) in sets {
                for rule in rules.rules.values() {
                    let Some(app) = config.apps.get(&rule.app) else { continue };
                    let fit = fit(rule, seen(&app.appid, &rule.template.id));
                    // Most fit, and their wordings would be made for nothing.
                    if (matches!(fit, Fit::Misfits(_)) || held.contains(&rule.id))
                        && let Some(wording) = wording(rules, &rule.id)
                    {
                        judged.insert((rule.id.clone(), wording), Judged { fit, passed: false });
                    }
                }
            }
            for (name, (app, rule)) in open {
                let judge = || {
                    let fit = rule.map_or(Fit::Unknown, |rule| fit(&rule, seen(&app, &rule.template.id)));
                    Judged { fit, passed: true }
                };
                judged.entry(name).or_insert_with(judge);
            }
        }
        self.0.brake.judge(judged, now);
        Ok(())
    }

    fn holds(&self, live: &Live, app: &App) -> Holds {
        let rules = &live.rules.rules;
        let is_of_app = |rule: &RuleId| rules.get(rule).is_some_and(|rule| rule.app == app.name);
        let held = self.0.brake.rejections();
        let holding = held.iter().filter(|held| held.is_mismatch() && is_of_app(&held.rule));
        holding.map(|held| held.since).max().map_or(Holds::Nothing, Holds::Since)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is changed.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rules were like when something was opened that is not finished yet; `None` for one that cannot be read.
#[expect(clippy::type_complexity, reason = "what one read gives to one caller")]
fn open_wordings(
    store: &dyn Store,
) -> Result<BTreeMap<(RuleId, Wording), (AppId, Option<Rule>)>, Unavailable> {
    let mut wordings = BTreeMap::new();
    for occurrence in store.unfinished()? {
        let name = (occurrence.rule, Wording::of_snapshot(&occurrence.snapshot));
        if let Entry::Vacant(new) = wordings.entry(name) {
            let rule = store.snapshot(&occurrence.snapshot)?.and_then(|bytes| snapshot::decode(&bytes).ok());
            new.insert((occurrence.app, rule));
        }
    }
    Ok(wordings)
}

/// The templates of an app's configuration.
fn wanted(app: &App) -> BTreeSet<TemplateId> {
    app.templates.values().map(|template| template.id.clone()).collect()
}
