//! What `tixing.yaml` says, checked and complete; secrets stay where they are named.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::id::{AppId, AppName, FieldName, KeyName, RuleId, TemplateName};
use super::rule::Rule;
use super::template::Template;
use super::zone::Zone;

/// The platform's own address.
pub const PLATFORM_URL: &str = "https://api.weixin.qq.com";
/// Requests in flight per app when the configuration does not say.
pub const DEFAULT_IN_FLIGHT: usize = 64;
/// The most deliveries marked beyond the free slots (`MARK_AHEAD` = min(in_flight, this)).
pub const MAX_MARK_AHEAD: usize = 16;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The mini programs.
    pub apps: BTreeMap<AppName, App>,
    /// Zone of rules and recipients that state none.
    pub zone: Zone,
    /// Folder of the schedule files, resolved.
    pub schedules: PathBuf,
    /// Folder of the store, resolved: `lock`, `sled/`, `last-good/`.
    pub store: PathBuf,
    /// The public door.
    pub hook: Hook,
    /// The operators' door.
    pub admin: Admin,
    /// Whether changed files are taken over without being asked.
    pub reload: ReloadMode,
}

/// When changed files are taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadMode {
    /// By themselves, soon after they have come to rest, and when asked.
    #[default]
    Auto,
    /// Only when asked.
    Manual,
}

/// One mini program.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its name here.
    pub name: AppName,
    /// Its id at the platform.
    pub appid: AppId,
    /// Where its secret is.
    pub secret: SecretSource,
    /// Which version of the mini program a tap opens: `formal`, `trial`, `developer`.
    pub state: String,
    /// `zh_CN`, `en_US`, `zh_HK`, `zh_TW`.
    pub lang: String,
    /// Most requests in flight.
    pub in_flight: usize,
    /// Most requests begun in a second.
    pub per_second: Option<u32>,
    /// Whether the platform is asked what is left of the day's quota.
    pub quota_probe: bool,
    /// Its templates by name.
    pub templates: BTreeMap<TemplateName, Template>,
    /// Scheme and authority of the platform, without a slash at the end.
    pub base_url: String,
    /// The proxy that requests go through; the environment names none.
    pub proxy: Option<String>,
    /// How the platform's events come, where they do.
    pub push: Option<Push>,
    /// Which source of acceptances grants.
    pub consents_from: ConsentsFrom,
}

/// What the platform's console and we agreed on for events (消息推送).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Where the Token is.
    pub token: SecretSource,
    /// Where the EncodingAESKey is; only plain events can be read without.
    pub aes_key: Option<SecretSource>,
    /// Whether events that are not encrypted count, as far as nothing can be gained by forging them.
    pub plain: bool,
}

/// Which source of acceptances grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentsFrom {
    /// What the mini program or its backend reports.
    #[default]
    Reports,
    /// The platform's popup events.
    Events,
}

impl App {
    /// How many deliveries may be marked beyond the free slots.
    #[must_use]
    pub fn mark_ahead(&self) -> usize {
        self.in_flight.min(MAX_MARK_AHEAD)
    }
}

/// Where a secret is; never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A systemd credential of this name.
    Credential(String),
    /// A file, resolved.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// The public door.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Keys of backends.
    pub keys: Vec<HookKey>,
    /// Recipient fields that a session may set.
    pub session_fields: Vec<FieldName>,
    /// Whether `POST /v1/login` is open.
    pub login: bool,
    /// How long a session lasts.
    pub session_hours: u32,
    /// Peers whose `X-Forwarded-For` is believed; `None` is the default (loopback, on a loopback listener).
    pub trusted_proxies: Option<Vec<IpNet>>,
}

/// An address range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    /// Its first address.
    pub addr: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

/// One backend's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookKey {
    /// Its name in logs.
    pub id: KeyName,
    /// Where its secret (`whsec_…`) is.
    pub secret: SecretSource,
    /// Apps it may speak for.
    pub apps: Vec<AppName>,
}

/// The operators' door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The unix socket, resolved.
    pub socket: PathBuf,
}

/// All rules of all files, checked as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    /// Enabled rules by id.
    pub rules: BTreeMap<RuleId, Arc<Rule>>,
    /// Rules that a file names with `enabled: false`.
    pub disabled: Vec<RuleId>,
    /// Whether a rule that is not here was taken out.
    pub basis: Basis,
}

/// What a set of rules was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// All files: a rule that is not in the set is in no file.
    #[default]
    Files,
    /// Nothing that could be used: an absent rule tells nothing, and its open work goes on.
    Nothing,
}
