//! `tixing.yaml` → [`Config`]: keys, shapes, names, and where things are.
//!
//! Secrets are named, not read: a check needs none of them. What comes back is as whole as the file allows,
//! so that the schedule files can be checked in the same run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::app_entry;
use super::config_keys;
use super::names::nearest;
use super::problem::shape::{self, Thing};
use super::problem::{Problem, config as of_config, rule};
use super::pulled::Pulled;
use super::schedule_file::Trust;
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::config::{Admin, App, Config, Hook, HookKey, IpNet, ReloadMode, SecretSource};
use crate::domain::id::{AppName, BadId, FieldName, KeyName};
use crate::domain::language::{Phrase, Said};
use crate::domain::recipient::MAX_FIELDS;
use crate::domain::zone::Zone;

/// Where the hook listens when the file does not say.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// How long a session lasts when the file does not say, and the longest that may be stated (30 days).
const DEFAULT_SESSION_HOURS: u32 = 2;
pub(super) const MAX_SESSION_HOURS: u32 = 720;
/// The most apps, hook keys and trusted proxies.
pub(super) const MAX_NAMED: usize = 1000;
/// When changed files are taken over.
pub(super) const RELOADS: [(&str, ReloadMode); 2] =
    [("auto", ReloadMode::Auto), ("manual", ReloadMode::Manual)];

/// Reads the tree of a configuration file that stands in `folder`, and says whether its apps can be
/// relied on; `None` when it is no map.
pub(super) fn read(
    root: &Node,
    folder: &Path,
    pulled: &Pulled,
    walk: &mut Walk<'_>,
) -> Option<(Config, Trust)> {
    let wanted = Wanted { of: Thing::Config, example: "apps:" };
    let top = walk.map(root, wanted, &config_keys::FILE)?;
    let apps = app_entry::read_all(top, folder, pulled, walk);
    // Rules depend on the apps only; a mistake elsewhere makes none of their names doubtful.
    let trust = if walk.found.n_errors() == 0 { Trust::Whole } else { Trust::Partial };
    let zone = top
        .get("timezone")
        .and_then(|node| default_zone(node, walk))
        .unwrap_or_else(|| Zone::SHANGHAI.renewed());
    let schedules = path(top, "schedules", "schedules", folder, walk);
    let store = store(top, folder, walk);
    let hook = hook(top, &apps, folder, walk);
    let admin = admin(top.get("admin"), folder, walk);
    let reload = top.get("reload").and_then(|node| walk.one_of(node, "reload", &RELOADS));
    let reload = reload.unwrap_or_default();
    Some((Config { apps, zone, schedules, store, hook, admin, reload }, trust))
}

/// A zone that is a default, and so cannot be each recipient's own.
fn default_zone(node: &Node, walk: &mut Walk<'_>) -> Option<Zone> {
    let text = walk.text(node, Wanted { of: Thing::Key("timezone"), example: "timezone: Asia/Shanghai" })?;
    match values::zone(text) {
        Ok(zone) => Some(zone),
        Err(meant) => {
            walk.report(node.spot, rule::unknown_zone(text, meant.as_deref()));
            None
        }
    }
}

/// A path, relative to the folder of the file.
fn path(top: Map<'_>, key: &'static str, default: &str, folder: &Path, walk: &mut Walk<'_>) -> PathBuf {
    let example = format!("{key}: {default}");
    let wanted = Wanted { of: Thing::Key(key), example: &example };
    let given = top.get(key).and_then(|node| walk.text(node, wanted));
    folder.join(given.unwrap_or(default))
}

fn store(top: Map<'_>, folder: &Path, walk: &mut Walk<'_>) -> PathBuf {
    const DEFAULT: &str = "/var/lib/tixing/store";
    let Some(node) = top.get("store") else { return folder.join(DEFAULT) };
    let wanted = Wanted { of: Thing::Key("store"), example: "store: sled:/var/lib/tixing/store" };
    let Some(text) = walk.text(node, wanted) else { return folder.join(DEFAULT) };
    let path = text.strip_prefix("sled:").map(str::trim).filter(|path| !path.is_empty());
    if path.is_none() {
        let meant = text.starts_with(['/', '.']).then(|| format!("sled:{text}"));
        let allowed = Said::new("`sled:` and the path of a folder", "`sled:` 加文件夹路径");
        walk.report(node.spot, shape::bad_value(wanted.of, text, &allowed, meant.as_deref()));
    }
    folder.join(path.unwrap_or(DEFAULT))
}

fn hook(top: Map<'_>, apps: &BTreeMap<AppName, App>, folder: &Path, walk: &mut Walk<'_>) -> Hook {
    let node = top.get("hook");
    let wanted = Wanted { of: Thing::Key("hook"), example: "hook: { listen: 127.0.0.1:8080 }" };
    let map = node.and_then(|node| walk.map(node, wanted, &config_keys::HOOK)).unwrap_or_else(Map::empty);
    let listen = map.get("listen").and_then(|node| {
        let text = walk.text(node, Wanted { of: Thing::Key("listen"), example: "listen: 127.0.0.1:8080" })?;
        let found = values::listen(text);
        if let Err(meant) = &found {
            let allowed = Said::new(
                "an IP address and a port, such as `127.0.0.1:8080` or `[::1]:8080`",
                "IP 地址加端口，例如 `127.0.0.1:8080` 或 `[::1]:8080`",
            );
            walk.report(node.spot, shape::bad_value(Thing::Key("listen"), text, &allowed, meant.as_deref()));
        }
        found.ok()
    });
    let session_fields = map.get("session_fields").map_or_else(Vec::new, |node| {
        let wanted = Wanted { of: Thing::Key("session_fields"), example: "session_fields: [city]" };
        walk.parsed_list(node, wanted, MAX_FIELDS, FieldName::parse)
    });
    let trusted_proxies = map.get("trusted_proxies").map(|node| trusted_proxies(node, walk));
    let hours = |node| walk.whole(node, "session_hours", 1..=MAX_SESSION_HOURS);
    let session_hours = map.get("session_hours").and_then(hours).unwrap_or(DEFAULT_SESSION_HOURS);
    Hook {
        listen: listen
            .unwrap_or_else(|| DEFAULT_LISTEN.parse().expect("an address and a port, tested below")),
        keys: map.get("keys").map_or_else(Vec::new, |node| keys(node, top, apps, folder, walk)),
        session_fields,
        login: map.get("login").and_then(|node| walk.switch(node, "login")).unwrap_or(true),
        session_hours,
        trusted_proxies,
    }
}

fn trusted_proxies(node: &Node, walk: &mut Walk<'_>) -> Vec<IpNet> {
    let wanted = Wanted { of: Thing::Key("trusted_proxies"), example: "trusted_proxies: [10.0.0.0/8]" };
    let mut networks = Vec::new();
    for item in walk.list(node, wanted).unwrap_or_default() {
        let Some(text) = walk.text(item, wanted) else { continue };
        if let Some(network) = values::network(text) {
            networks.push(network);
        } else {
            let allowed =
                Said::new("IP addresses and ranges such as `10.0.0.0/8`", "IP 地址或网段，例如 `10.0.0.0/8`");
            walk.report(item.spot, shape::bad_value(wanted.of, text, &allowed, None));
        }
    }
    if networks.len() > MAX_NAMED {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_NAMED));
    }
    networks
}

fn keys(
    node: &Node,
    top: Map<'_>,
    apps: &BTreeMap<AppName, App>,
    folder: &Path,
    walk: &mut Walk<'_>,
) -> Vec<HookKey> {
    let example = "keys: [{ id: backend, secret: { credential: hook-key }, apps: [clinic] }]";
    let wanted = Wanted { of: Thing::Key("keys"), example };
    let list = walk.list(node, wanted).unwrap_or_default();
    if list.len() > MAX_NAMED {
        walk.report(node.spot, shape::too_many(wanted.of, MAX_NAMED));
        return Vec::new();
    }
    let mut keys: Vec<HookKey> = Vec::new();
    for item in list {
        let Some(map) = walk.map(item, Wanted { of: Thing::HookKey, example }, &config_keys::KEY) else {
            continue;
        };
        let id = map.get("id").and_then(|node| {
            let id =
                walk.parsed(node, Wanted { of: Thing::Key("id"), example: "id: backend" }, KeyName::parse)?;
            if keys.iter().any(|key| key.id == id) {
                walk.report(node.spot, shape::repeated(wanted.of, id.as_str()));
            }
            Some(id)
        });
        if map.get("id").is_none() {
            walk.missing(map.spot, "id", Thing::HookKey, "id: backend");
        }
        let secret = secret(map, "secret", map.spot, Thing::HookKey, folder, walk);
        let its_apps = key_apps(map, top, apps, walk);
        if let (Some(id), Some(secret)) = (id, secret) {
            keys.push(HookKey { id, secret, apps: its_apps });
        }
    }
    keys
}

/// The apps that a key may speak for; with one app it may be left out.
fn key_apps(map: Map<'_>, top: Map<'_>, apps: &BTreeMap<AppName, App>, walk: &mut Walk<'_>) -> Vec<AppName> {
    let wanted = Wanted { of: Thing::Key("apps"), example: "apps: [clinic]" };
    let Some(node) = map.get("apps") else {
        if apps.len() > 1 {
            walk.missing(map.spot, "apps", Thing::HookKey, "apps: [clinic]");
        }
        return apps.keys().cloned().collect();
    };
    let names = walk.parsed_list(node, wanted, MAX_NAMED, AppName::parse);
    let Value::List(list) = &node.value else { return names };
    if list.is_empty() {
        walk.report(node.spot, shape::empty_list(wanted.of));
    }
    // An app with a mistake of its own is still an app.
    let Some(Node { value: Value::Map(declared), .. }) = top.get("apps") else { return names };
    if declared.len() > MAX_NAMED || list.len() > MAX_NAMED {
        return names;
    }
    for item in list.iter() {
        let Some(text) = item.as_text().filter(|text| AppName::parse(text).is_ok()) else { continue };
        if declared.iter().all(|(key, _)| &*key.text != text) {
            let known: Vec<String> = declared.iter().map(|(key, _)| key.text.to_string()).collect();
            walk.report(item.spot, unknown_app(text, &known));
        }
    }
    names
}

/// A name that none of the known apps has.
pub(super) fn unknown_app(name: &str, known: &[String]) -> Problem {
    of_config::unknown_app(name, known, nearest(name, known.iter().map(String::as_str)))
}

/// Why a text names no credential and no variable.
const PLACE: BadId = BadId {
    what: Phrase::new("the name of a credential or variable", "凭据或环境变量的名称"),
    allowed: Phrase::new(
        "A–Z a–z 0–9 _ and, of credentials, - and .",
        "A–Z、a–z、0–9、_，凭据还可以有 - 和 .",
    ),
};

/// Where a secret is. A secret in the file itself is refused, and not repeated.
pub(super) fn secret(
    map: Map<'_>,
    key: &'static str,
    owner: Spot,
    of: Thing<'_>,
    folder: &Path,
    walk: &mut Walk<'_>,
) -> Option<SecretSource> {
    let example = match key {
        "token" => "token: { credential: clinic-push-token }",
        "aes_key" => "aes_key: { credential: clinic-aes-key }",
        _ => "secret: { credential: clinic-secret }",
    };
    let wanted = Wanted { of: Thing::Key(key), example };
    let Some(node) = map.get(key) else {
        walk.missing(owner, key, of, example);
        return None;
    };
    if matches!(node.value, Value::Text(_)) {
        walk.report(node.spot, of_config::inline_secret());
        return None;
    }
    let place = walk.map(node, wanted, &config_keys::SECRET)?;
    let mut known = place.entries().iter().filter(|(key, _)| config_keys::SECRET.names.contains(&&*key.text));
    let (Some((key, value)), None) = (known.next(), known.next()) else {
        if place.entries().len() > 1 || place.entries().is_empty() {
            let (needs, found) = (of_config::ONE_PLACE, of_config::NOT_ONE_PLACE);
            walk.report(node.spot, shape::wrong_shape(wanted.of, needs, found, example, None));
        }
        return None;
    };
    let text = walk.text(value, Wanted { of: Thing::Key(&key.text), example })?;
    // The value may be the secret itself, so it is not repeated either.
    let is_name = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.starts_with("whsec_");
    match &*key.text {
        "file" if text.is_empty() => {
            let allowed = Said::new("the path of a file", "文件的路径");
            walk.report(value.spot, shape::bad_value(Thing::Key("file"), text, &allowed, None));
            None
        }
        "file" => Some(SecretSource::File(folder.join(text))),
        "credential" if is_name => Some(SecretSource::Credential(text.to_owned())),
        "env" if is_name && !text.contains(['-', '.']) => Some(SecretSource::Env(text.to_owned())),
        _ => {
            walk.report(value.spot, shape::bad_unshown_name(&PLACE));
            None
        }
    }
}

fn admin(node: Option<&Node>, folder: &Path, walk: &mut Walk<'_>) -> Admin {
    const DEFAULT: &str = "/run/tixing/admin.sock";
    let wanted = Wanted { of: Thing::Key("admin"), example: "admin: { socket: /run/tixing/admin.sock }" };
    let map = node.and_then(|node| walk.map(node, wanted, &config_keys::ADMIN)).unwrap_or_else(Map::empty);
    Admin { socket: path(map, "socket", DEFAULT, folder, walk) }
}

/// The operators' socket in a tree of which nothing else is wanted.
pub(super) fn admin_socket(root: &Node, folder: &Path, walk: &mut Walk<'_>) -> Option<PathBuf> {
    let top = walk.map(root, Wanted { of: Thing::Config, example: "admin:" }, &config_keys::FILE)?;
    Some(admin(top.get("admin"), folder, walk).socket)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_address_is_one() {
        assert!(super::values::listen(super::DEFAULT_LISTEN).is_ok());
    }
}
