//! Reload: another generation is taken over whole, or the old one stays.
//!
//! One path for all who ask: the operators' socket, SIGHUP, and [`super::lookout`], which sees that files changed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{error, info, warn};

use super::{Failure, Shared, clients, keys};
use crate::admin::control::{FirstDue, Reloaded};
use crate::domain::config::{Basis, Config, RuleSet};
use crate::domain::language::Said;
use crate::flow::intake::sources;
use crate::flow::live::{Live, Planned};
use crate::flow::scheduler;
use crate::plan::recurrence;
use crate::plan::words;
use crate::rules::{self, Diagnostic, Fingerprint, Loaded, Severity, Whole, last_good};
use crate::store::Health;

/// How often files that change while they are read are read again.
const MAX_READINGS: u32 = 10;
/// How long to wait before that.
const READING_PAUSE: Duration = Duration::from_millis(50);

/// How long changes that were taken over by themselves are told to whoever asks next: he has probably just saved them.
const JUST_NOW: TimeDelta = TimeDelta::minutes(1);

/// Rules that were in force before somebody's changes were taken over by themselves.
#[derive(Debug)]
pub(super) struct Untold {
    since: DateTime<Utc>,
    rules: RuleSet,
}

/// A reload whose files are in force while the store kept the scheduler from planning by them.
#[derive(Debug)]
pub(super) struct Unplanned {
    generation: u64,
    /// What is told of it when that is over.
    done: Reloaded,
}

/// Who wants a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// An operator, through the socket.
    Operator,
    /// SIGHUP.
    Signal,
    /// Nobody: the files changed.
    Files,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "an operator asked",
            Self::Signal => "SIGHUP",
            Self::Files => "they changed",
        })
    }
}

/// The files as they were when they were last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Folder of the schedule files, as the configuration named it then.
    pub(super) schedules: PathBuf,
    /// What they looked like.
    pub(super) look: Fingerprint,
}

impl Seen {
    /// The files now.
    pub(super) fn now(config: &Path, schedules: PathBuf) -> Self {
        let look = Fingerprint::of(config, &schedules);
        Self { schedules, look }
    }
}

/// What a daemon starts with.
#[derive(Debug)]
pub(super) struct First {
    pub(super) config: Config,
    pub(super) rules: RuleSet,
    pub(super) reloaded: Reloaded,
    pub(super) seen: Seen,
}

impl First {
    /// Reads the files: the rules are those in the folder, else the last good ones, else none.
    ///
    /// # Errors
    /// [`Failure::Config`]: there is no configuration to start with.
    pub(super) fn read(path: &Path, now: DateTime<Utc>) -> Result<Self, Failure> {
        let config = rules::load_config(path).map_err(Failure::Config)?.value;
        // Taken before, so that what changes meanwhile is seen as changed.
        let seen = Seen::now(path, config.schedules.clone());
        let found = match rules::read(path).result {
            Ok(Loaded { value, warnings }) => match emptied(&value, &kept_rules(&value)) {
                None => {
                    for warning in &warnings {
                        warn!("{}", line(warning));
                    }
                    if let Err(error) = keep_last_good(&value) {
                        warn!("{}", error.en);
                    }
                    let reloaded = reloaded(now, true, warnings, Basis::Files);
                    return Ok(Self { config: value.config, rules: value.rules.set, reloaded, seen });
                }
                Some(found) => vec![found],
            },
            Err(found) => found.0,
        };
        for diagnostic in &found {
            error!("{}", line(diagnostic));
        }
        let n = found.len();
        let rules = match last_good::load(&kept_at(&config), &config) {
            Ok(Some(loaded)) => {
                error!(n, "The schedule files cannot be used; the last good ones are in force");
                loaded.value.set
            }
            Ok(None) => {
                error!(n, "The schedule files cannot be used; no rule is in force");
                RuleSet { basis: Basis::Nothing, ..RuleSet::default() }
            }
            Err(_) => {
                error!(n, "The schedule files cannot be used, nor the last good ones; no rule is in force");
                RuleSet { basis: Basis::Nothing, ..RuleSet::default() }
            }
        };
        let reloaded = reloaded(now, false, found, rules.basis);
        Ok(Self { config, rules, reloaded, seen })
    }
}

/// Where the last good set of a configuration is kept.
fn kept_at(config: &Config) -> PathBuf {
    config.store.join("last-good")
}

/// The last good rules, where the folder has no file: there they tell whether it once had.
fn kept_rules(whole: &Whole) -> RuleSet {
    if !whole.rules.sources.is_empty() {
        return RuleSet::default();
    }
    let kept = last_good::load(&kept_at(&whole.config), &whole.config).ok().flatten();
    kept.map(|kept| kept.value.set).unwrap_or_default()
}

/// Keeps the source of a good set, so that a bad one never stops a later start (P8).
fn keep_last_good(whole: &Whole) -> Result<(), Said> {
    let folder = kept_at(&whole.config);
    last_good::save(&folder, &whole.config_sources, &whole.rules.sources).map_err(|error| {
        let folder = folder.display();
        Said::new(
            format!(
                "the good rules could not be kept in `{folder}`, where a later start looks for them: {error}"
            ),
            format!("正确的规则无法保存到 `{folder}`（以后启动时要用）：{error}"),
        )
    })
}

/// Why a folder that has lost all its files is not taken over by itself: it looks like a volume that is not
/// mounted, or a checkout under way, and would cancel everything that is open.
fn emptied(whole: &Whole, before: &RuleSet) -> Option<Diagnostic> {
    let no_file = whole.rules.sources.iter().all(|(name, _)| rules::is_calendar(name));
    let suspicious = no_file && !before.rules.is_empty();
    suspicious.then(|| {
        refusal(
            "emptied_folder",
            &whole.config.schedules,
            Said::new(
                "the folder has no schedule file any more; the rules in force stay",
                "文件夹里一个规则文件也没有了；原来的规则继续用",
            ),
            Said::new(
                "put the files back; if nothing is to be sent any more, run `tixing reload`",
                "把文件放回来；如果真的什么都不再发，请运行 `tixing reload`",
            ),
        )
    })
}

fn refusal(code: &'static str, file: &Path, message: Said, help: Said) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        file: file.display().to_string(),
        line: 1,
        column: 1,
        message,
        help,
        source_line: None,
    }
}

/// A finding as one line of the log.
pub(super) fn line(found: &Diagnostic) -> String {
    let Diagnostic { severity, code, file, line, column, message, help, source_line: _ } = found;
    format!("{file}:{line}:{column}: {}[{code}]: {message}; {help}", severity.as_str())
}

fn reloaded(at: DateTime<Utc>, ok: bool, diagnostics: Vec<Diagnostic>, in_force: Basis) -> Reloaded {
    Reloaded {
        at,
        ok,
        diagnostics,
        added: Vec::new(),
        changed: Vec::new(),
        removed: Vec::new(),
        first_due: Vec::new(),
        needs_restart: Vec::new(),
        in_force,
    }
}

impl Shared {
    /// Reads all files again and puts them in force, or keeps what is in force and says why.
    ///
    /// Apps' secrets, templates and limits, keys and rules take effect at once; the rest is named in
    /// [`Reloaded::needs_restart`] and stays as it is until the next start. When it returns, the scheduler plans
    /// with the new rules.
    pub async fn reload(&self, asker: Asker) -> Reloaded {
        let _one = self.reloading.lock().await;
        match asker {
            // Who asks has perhaps just renewed the system's zone data.
            Asker::Operator | Asker::Signal => self.renew_zones().await,
            Asker::Files => {}
        }
        let now = self.setup.clock.now();
        *self.unplanned.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let reloaded = match self.try_reload(asker, now).await {
            Ok(told) if !told.ok => {
                warn!("The files are in force ({asker}), and nothing is planned before the store works");
                told
            }
            Ok(done) => {
                let (added, changed, removed) = (done.added.len(), done.changed.len(), done.removed.len());
                info!(
                    added,
                    changed,
                    removed,
                    "The files are in force ({asker}): {added} rules added, {changed} changed, {removed} removed"
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
                let n = found.len();
                error!(n, "The files were refused ({asker}); what was in force stays in force");
                reloaded(now, false, found, self.current.get().rules.basis)
            }
        };
        self.last_reload.send_replace(reloaded.clone());
        reloaded
    }

    async fn try_reload(&self, asker: Asker, now: DateTime<Utc>) -> Result<Reloaded, Vec<Diagnostic>> {
        let mut health = self.setup.store.health();
        if let Some(trouble) = health.borrow().trouble() {
            return Err(vec![self.store_away(&trouble)]);
        }
        let before = self.seen();
        let Loaded { value: mut whole, warnings } = self.read_settled().await?;
        let old = self.current.get();
        match asker {
            Asker::Files => emptied(&whole, &old.rules).map_or(Ok(()), |found| Err(vec![found]))?,
            Asker::Operator | Asker::Signal => {}
        }
        let mut done = reloaded(now, true, warnings, Basis::Files);
        done.needs_restart = keep_fixed(&mut whole.config, &old.config);
        let refused = |failure: Failure| {
            let message = Said::new(failure.to_string(), format!("密钥无法使用：{failure}"));
            let help = Said::new(
                "put the secret where the configuration names it, then reload",
                "把密钥放到配置写明的地方，然后重新加载",
            );
            vec![refusal("secret_unusable", self.config_path(), message, help)]
        };
        let outside = &*self.setup.outside;
        let new_keys = keys::hook_keys(&whole.config, outside).map_err(refused)?;
        let clients = clients(&whole.config, outside, &self.setup.clock, Some(&old)).map_err(refused)?;
        let pushes = keys::push_keys(&whole.config, outside).map_err(refused)?;
        // Before they are in force: none of them sends before it was held against its template.
        let both = [(&old.config, &old.rules), (&whole.config, &whole.rules.set)];
        let judged = self.templates.judge(&both, now).await;
        judged.map_err(|unavailable| vec![self.store_away(&unavailable.to_string())])?;
        let (whole, kept) = blocking(move || {
            let kept = keep_last_good(&whole);
            (whole, kept)
        })
        .await;
        if let Err(message) = kept {
            // In force without it, they would be gone with the next start.
            self.see(before);
            let help = Said::new(
                "make room or mend the disk; it is tried again each second",
                "腾出空间或修好磁盘；每秒会再试一次",
            );
            return Err(vec![refusal("last_good_unkept", self.config_path(), message, help)]);
        }
        // Last of what may fail, and dated now. The source as it was counts for one sync more, until the new one is in force.
        let switched_at = self.setup.clock.reckoned();
        let sources = sources::follow(&*self.setup.store, &whole.config, switched_at).await;
        let sources = sources.map_err(|unavailable| {
            self.see(before);
            vec![self.store_away(&unavailable.to_string())]
        })?;
        self.tell(asker, now, &old.rules, &whole.rules.set, &mut done);
        self.keys.replace(new_keys);
        let generation = old.generation + 1;
        let new = Live {
            generation,
            at: now,
            config: whole.config,
            rules: whole.rules.set,
            clients,
            pushes,
            sources,
        };
        self.current.replace(new);
        let live = self.current.get();
        self.brake.reconsider(&live.rules, now);
        if self.templates.judge(&[(&live.config, &live.rules)], now).await.is_err() {
            warn!(
                "What was edited may stay held until the templates are looked at: the store cannot promise"
            );
        }
        self.reloaded.notify_one();
        if matches!(self.setup.store.hold(), Ok(Some(_))) {
            // Nothing is planned before somebody has released it; then it is by the rules that are live, from here on.
            if scheduler::begin_all(&self.setup.store, &live, now).await.is_err() {
                warn!("What is new begins when everything is released: the store cannot promise");
            }
            first_dues(&self.current.get().rules, Planned { generation, since: now }, &mut done);
            return Ok(done);
        }
        let planned = tokio::select! {
            planned = self.current.planned(generation) => planned,
            trouble = health.wait_for(|health| *health != Health::Works) => {
                let trouble = trouble.ok().and_then(|health| health.trouble()).unwrap_or_default();
                let help = Said::new(
                    "nothing to do: they are planned when the store works, and `tixing status` tells then",
                    "无需处理：存储恢复后就会按新规则安排，那时 `tixing status` 会显示",
                );
                let diagnostic = Diagnostic { help, ..self.store_away(&trouble) };
                // In force, but a crash may still take it back: who asks is not told that it is done.
                let unplanned = Unplanned { generation, done: done.clone() };
                *self.unplanned.lock().unwrap_or_else(PoisonError::into_inner) = Some(unplanned);
                done.ok = false;
                done.diagnostics.push(diagnostic);
                return Ok(done);
            }
        };
        first_dues(&self.current.get().rules, planned, &mut done);
        Ok(done)
    }

    /// Says that a reload is done whose planning had to wait for the store.
    pub(super) fn tell_of_planned(&self) {
        // A reload under way tells first what it came to.
        let Ok(_none) = self.reloading.try_lock() else { return };
        let mut unplanned = self.unplanned.lock().unwrap_or_else(PoisonError::into_inner);
        let planned = self.current.planned_by_now();
        if let Some(told) = unplanned.take_if(|waits| waits.generation <= planned) {
            info!("The store works again, and what is due is planned by the files in force");
            self.last_reload.send_replace(told.done);
        }
    }

    /// While the store does not work no rule is planned, new or old.
    fn store_away(&self, trouble: &str) -> Diagnostic {
        let message = Said::new(trouble.to_owned(), format!("存储不可用：{trouble}"));
        let help = Said::new("reload again when the store works", "等存储恢复后再重新加载");
        refusal("store_away", self.config_path(), message, help)
    }

    /// Notes what the new rules change, for somebody who asks also what was taken over by itself just before.
    fn tell(&self, asker: Asker, now: DateTime<Utc>, old: &RuleSet, new: &RuleSet, done: &mut Reloaded) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = untold.take().filter(|untold| now.signed_duration_since(untold.since) < JUST_NOW);
        match asker {
            Asker::Operator | Asker::Signal => {
                differences(recent.as_ref().map_or(old, |untold| &untold.rules), new, done);
            }
            Asker::Files => {
                differences(old, new, done);
                *untold = recent.or_else(|| Some(Untold { since: now, rules: old.clone() }));
            }
        }
    }

    /// Reads the files until nothing changed while they were read, so that a set is never half of one and half of
    /// another.
    async fn read_settled(&self) -> Result<Loaded<Whole>, Vec<Diagnostic>> {
        let mut folder = self.seen().schedules;
        for _reading in 0..MAX_READINGS {
            let path = self.config_path().to_owned();
            let (reading, before, after) = blocking(move || {
                let before = Seen::now(&path, folder);
                let reading = rules::read(&path);
                let folder = reading.schedules.clone().unwrap_or_else(|| before.schedules.clone());
                let after = Seen::now(&path, folder);
                (reading, before, after)
            })
            .await;
            folder = after.schedules.clone();
            if before == after {
                self.see(after);
                return reading.result.map_err(|found| found.0);
            }
            if before.schedules == after.schedules {
                self.setup.clock.sleep(READING_PAUSE).await;
            }
        }
        let message = Said::new("the files change all the time while they are read", "读取时文件一直在变");
        let help = Said::new("reload when nobody writes to them any more", "等没有人再写这些文件时重新加载");
        Err(vec![refusal("files_changing", self.config_path(), message, help)])
    }

    /// The files as they were when they were last read.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

/// Does something that waits for the disk, without holding up other tasks.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

fn first_dues(rules: &RuleSet, planned: Planned, done: &mut Reloaded) {
    let new: BTreeSet<_> = done.added.iter().chain(&done.changed).collect();
    let first = |rule: &crate::domain::rule::Rule| FirstDue {
        rule: rule.id.clone(),
        zone: rule.zone,
        due: recurrence::next(&rule.when, rule.zone, planned.since),
        words: words::when(&rule.when),
    };
    done.first_due = new.into_iter().filter_map(|id| rules.rules.get(id)).map(|rule| first(rule)).collect();
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
