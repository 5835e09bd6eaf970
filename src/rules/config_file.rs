//! `tixing.yaml` → [`Config`]: keys, shapes, names, and where things are.
//!
//! Secrets are named, not read: a check needs none of them. What comes back is as whole as the file allows,
//! so that the schedule files can be checked in the same run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::app_entry;
use super::names::nearest;
use super::problem::Problem;
use super::schedule_file::Trust;
use super::source::Spot;
use super::values;
use super::walk::{Map, Walk, Wanted};
use super::yaml::{Node, Value};
use crate::domain::config::{Admin, App, Config, Hook, HookKey, IpNet, SecretSource};
use crate::domain::id::{AppName, FieldName, KeyName};
use crate::domain::recipient::MAX_FIELDS;
use crate::domain::zone::Zone;

/// Where the hook listens when the file does not say.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// How long a session lasts when the file does not say, and the longest that may be stated (30 days).
const DEFAULT_SESSION_HOURS: u32 = 2;
const MAX_SESSION_HOURS: u32 = 720;
/// The most apps, hook keys and trusted proxies.
const MAX_NAMED: usize = 1000;

const TOP: &[&str] = &["apps", "timezone", "schedules", "store", "hook", "admin"];
const HOOK: &[&str] = &["listen", "keys", "session_fields", "login", "session_hours", "trusted_proxies"];
const KEY: &[&str] = &["id", "secret", "apps"];
const ADMIN: &[&str] = &["socket", "listen"];
const SECRET: &[&str] = &["credential", "file", "env"];

/// Reads the tree of a configuration file that stands in `folder`, and says whether its apps can be
/// relied on; `None` when it is no map.
pub(super) fn read(root: &Node, folder: &Path, walk: &mut Walk<'_>) -> Option<(Config, Trust)> {
    let wanted = Wanted { of: "tixing.yaml", example: "apps:" };
    let top = walk.map(root, wanted, TOP, "tixing.yaml")?;
    let apps = app_entry::read_all(top, folder, walk);
    // Rules depend on the apps only; a mistake elsewhere makes none of their names doubtful.
    let trust = if walk.found.n_errors() == 0 { Trust::Whole } else { Trust::Partial };
    let zone = top.get("timezone").and_then(|node| default_zone(node, walk)).unwrap_or(Zone::SHANGHAI);
    let schedules = path(top, "schedules", "schedules", folder, walk);
    let store = store(top, folder, walk);
    let hook = hook(top, &apps, folder, walk);
    let admin = admin(top.get("admin"), folder, walk);
    Some((Config { apps, zone, schedules, store, hook, admin }, trust))
}

/// A zone that is a default, and so cannot be each recipient's own.
fn default_zone(node: &Node, walk: &mut Walk<'_>) -> Option<Zone> {
    let text = walk.text(node, Wanted { of: "`timezone`", example: "timezone: Asia/Shanghai" })?;
    match values::zone(text) {
        Ok(zone) => Some(zone),
        Err(meant) => {
            walk.report(node.spot, &Problem::UnknownZone { name: text.to_owned(), meant });
            None
        }
    }
}

/// A path, relative to the folder of the file.
fn path(top: Map<'_>, key: &'static str, default: &str, folder: &Path, walk: &mut Walk<'_>) -> PathBuf {
    let example = format!("{key}: {default}");
    let wanted = Wanted { of: &format!("`{key}`"), example: &example };
    let given = top.get(key).and_then(|node| walk.text(node, wanted));
    folder.join(given.unwrap_or(default))
}

fn store(top: Map<'_>, folder: &Path, walk: &mut Walk<'_>) -> PathBuf {
    const DEFAULT: &str = "/var/lib/tixing/store";
    let Some(node) = top.get("store") else { return folder.join(DEFAULT) };
    let wanted = Wanted { of: "`store`", example: "store: sled:/var/lib/tixing/store" };
    let Some(text) = walk.text(node, wanted) else { return folder.join(DEFAULT) };
    let path = text.strip_prefix("sled:").map(str::trim).filter(|path| !path.is_empty());
    if path.is_none() {
        let meant = text.starts_with(['/', '.']).then(|| format!("sled:{text}"));
        walk.bad_value(node.spot, "store", text, "`sled:` and the path of a folder", meant);
    }
    folder.join(path.unwrap_or(DEFAULT))
}

fn hook(top: Map<'_>, apps: &BTreeMap<AppName, App>, folder: &Path, walk: &mut Walk<'_>) -> Hook {
    let node = top.get("hook");
    let wanted = Wanted { of: "`hook`", example: "hook: { listen: 127.0.0.1:8080 }" };
    let map = node.and_then(|node| walk.map(node, wanted, HOOK, "`hook`")).unwrap_or_else(Map::empty);
    let listen = map.get("listen").and_then(|node| {
        let text = walk.text(node, Wanted { of: "`listen`", example: "listen: 127.0.0.1:8080" })?;
        let found = values::listen(text);
        if let Err(meant) = &found {
            let allowed = "an IP address and a port, such as `127.0.0.1:8080` or `[::1]:8080`";
            walk.bad_value(node.spot, "listen", text, allowed, meant.clone());
        }
        found.ok()
    });
    let session_fields = map.get("session_fields").map_or_else(Vec::new, |node| {
        let wanted = Wanted { of: "`session_fields`", example: "session_fields: [city]" };
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
    let wanted = Wanted { of: "`trusted_proxies`", example: "trusted_proxies: [10.0.0.0/8]" };
    let mut networks = Vec::new();
    for item in walk.list(node, wanted).unwrap_or_default() {
        let Some(text) = walk.text(item, wanted) else { continue };
        if let Some(network) = values::network(text) {
            networks.push(network);
        } else {
            let allowed = "IP addresses and ranges such as `10.0.0.0/8`";
            walk.bad_value(item.spot, "trusted_proxies", text, allowed, None);
        }
    }
    if networks.len() > MAX_NAMED {
        walk.report(node.spot, &Problem::TooMany { of: wanted.of.to_owned(), max: MAX_NAMED });
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
    let wanted = Wanted { of: "`keys`", example };
    let list = walk.list(node, wanted).unwrap_or_default();
    if list.len() > MAX_NAMED {
        walk.report(node.spot, &Problem::TooMany { of: wanted.of.to_owned(), max: MAX_NAMED });
        return Vec::new();
    }
    let mut keys: Vec<HookKey> = Vec::new();
    for item in list {
        let Some(map) = walk.map(item, Wanted { of: "a hook key", example }, KEY, "a hook key") else {
            continue;
        };
        let id = map.get("id").and_then(|node| {
            let id = walk.parsed(node, Wanted { of: "`id`", example: "id: backend" }, KeyName::parse)?;
            if keys.iter().any(|key| key.id == id) {
                let (of, value) = ("`keys`".to_owned(), id.to_string());
                walk.report(node.spot, &Problem::Repeated { of, value });
            }
            Some(id)
        });
        if map.get("id").is_none() {
            walk.missing(map.spot, "id", "a hook key", "id: backend");
        }
        let secret = secret(map, map.spot, "a hook key", folder, walk);
        let its_apps = key_apps(map, top, apps, walk);
        if let (Some(id), Some(secret)) = (id, secret) {
            keys.push(HookKey { id, secret, apps: its_apps });
        }
    }
    keys
}

/// The apps that a key may speak for; with one app it may be left out.
fn key_apps(map: Map<'_>, top: Map<'_>, apps: &BTreeMap<AppName, App>, walk: &mut Walk<'_>) -> Vec<AppName> {
    let wanted = Wanted { of: "`apps` of a hook key", example: "apps: [clinic]" };
    let Some(node) = map.get("apps") else {
        if apps.len() > 1 {
            walk.missing(map.spot, "apps", "a hook key", "apps: [clinic]");
        }
        return apps.keys().cloned().collect();
    };
    let names = walk.parsed_list(node, wanted, MAX_NAMED, AppName::parse);
    let Value::List(list) = &node.value else { return names };
    if list.is_empty() {
        walk.report(node.spot, &Problem::EmptyList { of: wanted.of.to_owned() });
    }
    // An app with a mistake of its own is still an app.
    let Some(Node { value: Value::Map(declared), .. }) = top.get("apps") else { return names };
    for item in list {
        let Some(text) = item.as_text().filter(|text| AppName::parse(text).is_ok()) else { continue };
        if declared.iter().all(|(key, _)| key.text != text) {
            let known: Vec<String> = declared.iter().map(|(key, _)| key.text.clone()).collect();
            walk.report(item.spot, &unknown_app(text, known));
        }
    }
    names
}

/// A name that none of the known apps has.
pub(super) fn unknown_app(name: &str, known: Vec<String>) -> Problem {
    let meant = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    Problem::UnknownApp { name: name.to_owned(), known, meant }
}

/// Where a secret is. A secret in the file itself is refused, and not repeated.
pub(super) fn secret(
    map: Map<'_>,
    owner: Spot,
    of: &str,
    folder: &Path,
    walk: &mut Walk<'_>,
) -> Option<SecretSource> {
    let example = "secret: { credential: clinic-secret }";
    let wanted = Wanted { of: "`secret`", example };
    let Some(node) = map.get("secret") else {
        walk.missing(owner, "secret", of, example);
        return None;
    };
    if matches!(node.value, Value::Text(_)) {
        walk.report(node.spot, &Problem::InlineSecret);
        return None;
    }
    let place = walk.map(node, wanted, SECRET, "`secret`")?;
    let mut known = place.entries().iter().filter(|(key, _)| SECRET.contains(&key.text.as_str()));
    let (Some((key, value)), None) = (known.next(), known.next()) else {
        if place.entries().len() > 1 || place.entries().is_empty() {
            let problem = Problem::WrongShape {
                of: "`secret`".to_owned(),
                needs: "exactly one of `credential`, `file`, `env`",
                found: "not one of them, or several",
                example: example.to_owned(),
                hint: None,
            };
            walk.report(node.spot, &problem);
        }
        return None;
    };
    let text = walk.text(value, Wanted { of: &format!("`{}`", key.text), example })?;
    // The value may be the secret itself, so it is not repeated either.
    let is_name = text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.starts_with("whsec_");
    match key.text.as_str() {
        "file" => Some(SecretSource::File(folder.join(text))),
        "credential" if is_name => Some(SecretSource::Credential(text.to_owned())),
        "env" if is_name && !text.contains(['-', '.']) => Some(SecretSource::Env(text.to_owned())),
        _ => {
            let problem = Problem::BadName {
                text: "this".to_owned(),
                what: "the name of a credential or variable",
                allowed: "A–Z a–z 0–9 _ and, of credentials, - and .",
            };
            walk.report(value.spot, &problem);
            None
        }
    }
}

fn admin(node: Option<&Node>, folder: &Path, walk: &mut Walk<'_>) -> Admin {
    const DEFAULT: &str = "/run/tixing/admin.sock";
    let wanted = Wanted { of: "`admin`", example: "admin: { socket: /run/tixing/admin.sock }" };
    let map = node.and_then(|node| walk.map(node, wanted, ADMIN, "`admin`")).unwrap_or_else(Map::empty);
    if let Some((key, _)) = map.entry("listen") {
        walk.not_yet(key.spot, "listen", "delete it and use `socket`: the command line goes through it");
    }
    Admin { socket: path(map, "socket", DEFAULT, folder, walk) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_address_is_one() {
        assert!(super::values::listen(super::DEFAULT_LISTEN).is_ok());
    }
}
