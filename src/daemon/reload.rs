//! Reload: another generation is taken over whole, or the old one stays.

use std::path::Path;
use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use tracing::{error, info, warn};

use super::{Failure, Shared, clients, keep_last_good, keys};
use crate::admin::control::Reloaded;
use crate::domain::config::{Config, RuleSet};
use crate::domain::language::Said;
use crate::flow::live::Live;
use crate::rules::{self, Diagnostic, Severity, last_good};

/// The rules a daemon starts with: those in the folder, else the last good ones, else none.
pub(super) fn first_rules(config: &Config, source: &Path, now: DateTime<Utc>) -> (RuleSet, Reloaded) {
    match rules::load_rules(config) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                warn!("{}", line(warning));
            }
            keep_last_good(config, source, &loaded.value);
            (loaded.value.set, reloaded(now, true, loaded.warnings))
        }
        Err(found) => {
            for diagnostic in &found.0 {
                error!("{}", line(diagnostic));
            }
            let set = match last_good::load(&config.store.join("last-good"), config) {
                Ok(Some(loaded)) => {
                    error!(
                        n = found.0.len(),
                        "The schedule files cannot be used; the last good ones are in force"
                    );
                    loaded.value.set
                }
                Ok(None) => {
                    error!(n = found.0.len(), "The schedule files cannot be used; no rule is in force");
                    RuleSet::default()
                }
                Err(_) => {
                    error!(
                        "The schedule files cannot be used, nor the last good ones with this configuration; no rule is in force"
                    );
                    RuleSet::default()
                }
            };
            (set, reloaded(now, false, found.0))
        }
    }
}

/// A finding as one line of the log.
pub(super) fn line(found: &Diagnostic) -> String {
    let Diagnostic { severity, code, file, line, column, message, help, source_line: _ } = found;
    format!("{file}:{line}:{column}: {}[{code}]: {message}; {help}", severity.as_str())
}

fn reloaded(at: DateTime<Utc>, ok: bool, diagnostics: Vec<Diagnostic>) -> Reloaded {
    Reloaded {
        at,
        ok,
        diagnostics,
        added: Vec::new(),
        changed: Vec::new(),
        removed: Vec::new(),
        needs_restart: Vec::new(),
    }
}

impl Shared {
    /// Reads all files again and puts them in force, or keeps what is in force and says why.
    ///
    /// Apps' secrets, templates and limits, keys and rules take effect at once; the rest is named in
    /// [`Reloaded::needs_restart`] and stays as it is until the next start.
    pub async fn reload(&self) -> Reloaded {
        let _one = self.reloading.lock().await;
        let now = self.setup.clock.now();
        let reloaded = match self.try_reload(now) {
            Ok(done) => {
                let (added, changed, removed) = (done.added.len(), done.changed.len(), done.removed.len());
                info!(
                    added,
                    changed,
                    removed,
                    "The files are in force: {added} rules added, {changed} changed, {removed} removed"
                );
                for part in &done.needs_restart {
                    warn!("`{part}` changed and needs a restart");
                }
                done
            }
            Err(found) => {
                for diagnostic in &found {
                    error!("{}", line(diagnostic));
                }
                error!(n = found.len(), "The files were refused; what was in force stays in force");
                reloaded(now, false, found)
            }
        };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = reloaded.clone();
        if reloaded.ok {
            self.reloaded.notify_one();
        }
        reloaded
    }

    fn try_reload(&self, now: DateTime<Utc>) -> Result<Reloaded, Vec<Diagnostic>> {
        let loaded = rules::load_config(self.config_path()).map_err(|found| found.0)?;
        let mut warnings = loaded.warnings;
        let mut config = loaded.value;
        let loaded = rules::load_rules(&config).map_err(|found| found.0)?;
        warnings.extend(loaded.warnings);
        let old = self.current.get();
        let needs_restart = keep_fixed(&mut config, &old.config);
        let refused = |failure: Failure| {
            vec![Diagnostic {
                severity: Severity::Error,
                code: "secret_unusable",
                file: self.config_path().display().to_string(),
                line: 1,
                column: 1,
                message: Said::new(failure.to_string(), format!("密钥无法使用：{failure}")),
                help: Said::new(
                    "put the secret where the configuration names it, then reload",
                    "把密钥放到配置写明的地方，然后重新加载",
                ),
                source_line: None,
            }]
        };
        let new_keys = keys::hook_keys(&config, &*self.setup.outside).map_err(refused)?;
        let clients =
            clients(&config, &*self.setup.outside, &self.setup.clock, Some(&old)).map_err(refused)?;
        let mut done = reloaded(now, true, warnings);
        differences(&old.rules, &loaded.value.set, &mut done);
        done.needs_restart = needs_restart;
        keep_last_good(&config, self.config_path(), &loaded.value);
        self.keys.replace(new_keys);
        self.current.replace(Live {
            generation: old.generation + 1,
            at: now,
            config,
            rules: loaded.value.set,
            clients,
        });
        Ok(done)
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

fn differences(old: &RuleSet, new: &RuleSet, done: &mut Reloaded) {
    for (id, rule) in &new.rules {
        match old.rules.get(id) {
            None => done.added.push(id.clone()),
            Some(before) if before != rule => done.changed.push(id.clone()),
            Some(_) => {}
        }
    }
    done.removed = old.rules.keys().filter(|id| !new.rules.contains_key(*id)).cloned().collect();
}
