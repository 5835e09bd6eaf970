//! Keys of the daemon: those of the hook's backends and of the platform's events, and those it makes for itself at the first start.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::{Failure, Outside};
use crate::domain::config::Config;
use crate::domain::id::AppName;
use crate::hook;
use crate::store::{Store, Unavailable};
use crate::wechat::push;

/// The key of this name from the store, made at random and durable on return when it was not there.
///
/// # Errors
/// [`Unavailable`]: the store failed, or the system gave no random bytes.
pub(super) async fn kept_or_made(store: &dyn Store, name: &'static str) -> Result<[u8; 32], Unavailable> {
    if let Some(key) = store.kept(name)?.and_then(|bytes| bytes.try_into().ok()) {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_no_randomness| Unavailable)?;
    let decided = store.keep(name, key.to_vec()).await?;
    store.wait(decided.number).await?;
    Ok(key)
}

/// The keys of the hook's backends, their secrets resolved.
///
/// # Errors
/// [`Failure::Secret`] names the key, the source and the fix.
pub(super) fn hook_keys(config: &Config, outside: &dyn Outside) -> Result<Vec<hook::Key>, Failure> {
    config
        .hook
        .keys
        .iter()
        .map(|key| {
            let text = outside.secret(&key.secret).map_err(Failure::Secret)?;
            let secret = hook::Secret::parse(text.expose_secret())
                .map_err(|error| Failure::Secret(format!("hook key {}: {error}", key.id)))?;
            Ok(hook::Key { id: key.id.clone(), secret, apps: key.apps.clone() })
        })
        .collect()
}

/// The keys of the platform's events, of each app that takes them, their secrets resolved.
///
/// # Errors
/// [`Failure::Secret`] names the app, what is wrong and the fix.
pub(super) fn push_keys(
    config: &Config,
    outside: &dyn Outside,
) -> Result<BTreeMap<AppName, push::Keys>, Failure> {
    let apps = config.apps.values().filter_map(|app| Some((app, app.push.as_ref()?)));
    apps.map(|(app, of)| {
        let wrong =
            |error: &dyn std::fmt::Display| Failure::Secret(format!("push of app {}: {error}", app.name));
        let token = outside.secret(&of.token).map_err(Failure::Secret)?;
        let aes_key = of.aes_key.as_ref().map(|source| {
            let text = outside.secret(source).map_err(Failure::Secret)?;
            push::AesKey::parse(text.expose_secret()).map_err(|error| wrong(&error))
        });
        let plain = if of.plain { push::Plain::Allowed } else { push::Plain::Refused };
        let keys = push::Keys::new(token, aes_key.transpose()?, plain).map_err(|error| wrong(&error))?;
        Ok((app.name.clone(), keys))
    })
    .collect()
}
