//! Reload: another generation is taken over whole, or the old one stays.

use chrono::{DateTime, Utc};
use std::sync::PoisonError;
use tracing::{error, info, warn};

use super::{Failure, Shared, clients, empty, keep_last_good, keys};
use crate::domain::config::{Config, RuleSet};
use crate::domain::id::RuleId;
use crate::flow::live::Live;
use crate::rules::{self, Diagnostic, last_good};

/// What became of a reload.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// When.
    pub at: DateTime<Utc>,
    /// Whether the files are in force now.
    pub ok: bool,
    /// Errors and warnings that were found.
    pub diagnostics: Vec<Diagnostic>,
    /// What changed.
    pub changes: Reload,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// New rules.
    pub added: Vec<RuleId>,
    /// Rules that read differently.
    pub changed: Vec<RuleId>,
    /// Rules that are gone or disabled.
    pub removed: Vec<RuleId>,
    /// Parts of the configuration that changed and take effect at the next start.
    pub needs_restart: Vec<&'static str>,
}

/// The rules a daemon starts with: those in the folder, else the last good ones, else none.
pub(super) fn first_rules(config: &Config, now: DateTime<Utc>) -> (RuleSet, Reloaded) {
    match rules::load_rules(config) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                warn!("{}", warning.brief());
            }
            keep_last_good(config, &loaded.value);
            let first = Reloaded { at: now, ok: true, diagnostics: loaded.warnings, changes: Reload::default() };
            (loaded.value.set, first)
        }
        Err(found) => {
            for diagnostic in &found.list {
                error!("{}", diagnostic.brief());
            }
            let set = match last_good::load(&config.store.join("last-good"), config) {
                Ok(Some(loaded)) => {
                    error!(n = found.list.len(), "The schedule files cannot be used; the last good ones are in force");
                    loaded.value.set
                }
                Ok(None) => {
                    error!(n = found.list.len(), "The schedule files cannot be used; no rule is in force");
                    empty()
                }
                Err(_) => {
                    error!("The schedule files cannot be used, nor the last good ones with this configuration; no rule is in force");
                    empty()
                }
            };
            (set, Reloaded { at: now, ok: false, diagnostics: found.list, changes: Reload::default() })
        }
    }
}

impl Shared {
    /// Reads all files again and puts them in force, or keeps what is in force and says why.
    ///
    /// Apps' secrets, templates and limits, keys and rules take effect at once; the rest is named in
    /// [`Reload::needs_restart`] and stays as it is until the next start.
    pub async fn reload(&self) -> Reloaded {
        let _one = self.reloading.lock().await;
        let now = self.setup.clock.now();
        let result = self.try_reload(now);
        match &result {
            Ok((_, changes)) => {
                info!(added = changes.added.len(), changed = changes.changed.len(), removed = changes.removed.len(),
                    "The files are in force: {} rules added, {} changed, {} removed",
                    changes.added.len(), changes.changed.len(), changes.removed.len());
                for part in &changes.needs_restart {
                    warn!("`{part}` changed and needs a restart");
                }
            }
            Err(found) => {
                for diagnostic in found {
                    error!("{}", diagnostic.brief());
                }
                error!(n = found.len(), "The files were refused; what was in force stays in force");
            }
        }
        let reloaded = match result {
            Ok((warnings, changes)) => Reloaded { at: now, ok: true, diagnostics: warnings, changes },
            Err(found) => Reloaded { at: now, ok: false, diagnostics: found, changes: Reload::default() },
        };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = reloaded.clone();
        if reloaded.ok {
            self.reloaded.notify_one();
        }
        reloaded
    }

    fn try_reload(&self, now: DateTime<Utc>) -> Result<(Vec<Diagnostic>, Reload), Vec<Diagnostic>> {
        let loaded = rules::load_config(self.config_path()).map_err(|found| found.list)?;
        let mut warnings = loaded.warnings;
        let mut config = loaded.value;
        let loaded = rules::load_rules(&config).map_err(|found| found.list)?;
        warnings.extend(loaded.warnings);
        let old = self.current.get();
        let needs_restart = keep_fixed(&mut config, &old.config);
        let refused = |failure: Failure| {
            vec![Diagnostic::of_config(self.config_path(), "secret_unusable", &failure.to_string())]
        };
        let new_keys = keys::hook_keys(&config, &*self.setup.outside).map_err(refused)?;
        let clients = clients(&config, &*self.setup.outside, &self.setup.clock, Some(&old)).map_err(refused)?;
        let mut changes = differences(&old.rules, &loaded.value.set);
        changes.needs_restart = needs_restart;
        keep_last_good(&config, &loaded.value);
        self.keys.replace(new_keys);
        self.current.replace(Live {
            generation: old.generation + 1,
            at: now,
            config,
            rules: loaded.value.set,
            clients,
        });
        Ok((warnings, changes))
    }
}

/// Keeps what a running daemon cannot change as it was, and names it.
fn keep_fixed(config: &mut Config, old: &Config) -> Vec<&'static str> {
    let mut named = Vec::new();
    let identities = |config: &Config| -> Vec<_> {
        config.apps.values().map(|app| (app.name.clone(), app.appid.clone())).collect()
    };
    if identities(config) != identities(old) {
        named.push("apps");
        config.apps.clone_from(&old.apps);
    }
    if config.store != old.store {
        named.push("store");
        config.store.clone_from(&old.store);
    }
    let keys = std::mem::take(&mut config.hook.keys);
    let old_hook = crate::domain::config::Hook { keys: Vec::new(), ..old.hook.clone() };
    if config.hook != old_hook {
        named.push("hook");
        config.hook = old_hook;
    }
    config.hook.keys = keys;
    if config.admin != old.admin {
        named.push("admin");
        config.admin.clone_from(&old.admin);
    }
    named
}

fn differences(old: &RuleSet, new: &RuleSet) -> Reload {
    let mut changes = Reload::default();
    for (id, rule) in &new.rules {
        match old.rules.get(id) {
            None => changes.added.push(id.clone()),
            Some(before) if before != rule => changes.changed.push(id.clone()),
            Some(_) => {}
        }
    }
    changes.removed = old.rules.keys().filter(|id| !new.rules.contains_key(*id)).cloned().collect();
    changes
}
