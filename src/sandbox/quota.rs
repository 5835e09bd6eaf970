//! Calls as the platform counts them: how many of a day and of a window are left, and what a refused one was (its rid).
//!
//! Days and months are Beijing's. Limits that the platform does not publish are ours, and can be set ([`Limit`]). Nothing is kept
//! over a restart. Pages getApiQuota, clearQuota, clearQuotaByAppSecret, clearApiQuota and getRidInfo, read 2026-11-27.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::api::{Asked, Refusal, Reply, bearer, known};
use super::platform::{Inner, State};

/// Where messages are sent.
pub(super) const SEND: &str = "/cgi-bin/message/subscribe/send";
/// Sends a day without payment ability (platform guide, read 2026-11-22).
const SENDS_A_DAY: u64 = 10_000_000;
/// Stable tokens a day and a minute (page `api_getstableaccesstoken`, read 2026-11-22).
const TOKENS_A_DAY: u64 = 500_000;
const TOKENS_A_MINUTE: u64 = 10_000;
/// Calls a day of everything else: the platform does not say, and `gettemplate` is known to have few.
const OTHERS_A_DAY: u64 = 1_000;
/// Calls a second of everything: not published.
const A_SECOND: u64 = 100_000;
/// Times a month that all counts can be cleared, by both ways together.
const CLEARS_A_MONTH: u32 = 10;
/// The same for one path.
const PATH_CLEARS_A_MONTH: u32 = 50;
/// How long the platform can be asked about a rid.
const RID_DAYS: TimeDelta = TimeDelta::days(7);
/// Most refused calls that are remembered, the newest.
const MAX_RIDS: usize = 1024;

/// How often a path may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Calls a day; more are 45009.
    pub daily: u64,
    /// Calls in each window; more are 45011 where it is a minute, else 44990.
    pub calls: u64,
    /// The window, in seconds.
    pub refresh_s: u32,
}

/// The counts of all apps.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    used: HashMap<String, HashMap<&'static str, Used>>,
    limits: HashMap<(String, &'static str), Limit>,
    /// Times that counts were cleared in a month; by path, or all at once.
    clears: BTreeMap<(i32, u32, String, Option<&'static str>), u32>,
    rids: VecDeque<Rid>,
}

/// The calls of one path.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    day: NaiveDate,
    n: u64,
    window: i64,
    n_in_window: u64,
}

/// A call that was refused.
#[derive(Debug)]
struct Rid {
    id: String,
    appid: Option<String>,
    at: DateTime<Utc>,
    cost_ms: i64,
    path: String,
    url: String,
    body: String,
    answer: String,
}

/// A path that is counted, and its limit.
fn counted(path: &str) -> Option<(&'static str, Limit)> {
    let known = [
        SEND,
        "/cgi-bin/stable_token",
        "/cgi-bin/openapi/quota/get",
        "/cgi-bin/openapi/quota/clear",
        "/cgi-bin/clear_quota",
        "/cgi-bin/openapi/rid/get",
        "/wxaapi/newtmpl/gettemplate",
        "/wxaapi/newtmpl/addtemplate",
        "/wxaapi/newtmpl/deltemplate",
        "/wxaapi/newtmpl/getcategory",
        "/wxaapi/newtmpl/getpubtemplatetitles",
        "/wxaapi/newtmpl/getpubtemplatekeywords",
    ];
    let path = known.into_iter().find(|known| *known == path)?;
    let limit = match path {
        SEND => Limit { daily: SENDS_A_DAY, calls: A_SECOND, refresh_s: 1 },
        "/cgi-bin/stable_token" => Limit { daily: TOKENS_A_DAY, calls: TOKENS_A_MINUTE, refresh_s: 60 },
        _ => Limit { daily: OTHERS_A_DAY, calls: A_SECOND, refresh_s: 1 },
    };
    Some((path, limit))
}

fn beijing(now: DateTime<Utc>) -> NaiveDate {
    (now + TimeDelta::hours(8)).date_naive()
}

impl Quotas {
    /// Another limit for a path of an app; `false` for a path that is not counted.
    pub(super) fn limit(&mut self, appid: &str, path: &str, limit: Limit) -> bool {
        let Some((path, _)) = counted(path) else { return false };
        self.limits.insert((appid.to_owned(), path), limit);
        true
    }

    fn limit_of(&self, appid: &str, path: &'static str, usual: Limit) -> Limit {
        if self.limits.is_empty() {
            return usual;
        }
        self.limits.get(&(appid.to_owned(), path)).copied().unwrap_or(usual)
    }

    /// Counts a call, or says that there may be none.
    pub(super) fn count(&mut self, appid: &str, path: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
        let Some((path, usual)) = counted(path) else { return Ok(()) };
        let limit = self.limit_of(appid, path, usual);
        if !self.used.contains_key(appid) {
            self.used.insert(appid.to_owned(), HashMap::new());
        }
        let Some(used) = self.used.get_mut(appid) else { return Ok(()) };
        let used = used.entry(path).or_default();
        let window = now.timestamp().div_euclid(i64::from(limit.refresh_s.max(1)));
        if used.window != window {
            (used.window, used.n_in_window) = (window, 0);
        }
        let day = beijing(now);
        if used.day != day {
            (used.day, used.n) = (day, 0);
        }
        if used.n >= limit.daily {
            return Err(Refusal::new(45009, "reach max api daily quota limit"));
        }
        if used.n_in_window >= limit.calls {
            return Err(if limit.refresh_s == 60 {
                Refusal::new(45011, "api minute-quota reach limit, must slower, retry next minute")
            } else {
                Refusal::new(44990, "api freq out of limit")
            });
        }
        used.n += 1;
        used.n_in_window += 1;
        Ok(())
    }

    fn used(&self, appid: &str, path: &str, now: DateTime<Utc>) -> u64 {
        let used = self.used.get(appid).and_then(|paths| paths.get(path));
        used.filter(|used| used.day == beijing(now)).map_or(0, |used| used.n)
    }

    /// Clears the counts of a day, of one path or of all.
    fn clear(&mut self, appid: &str, path: Option<&'static str>, now: DateTime<Utc>) -> Result<(), Refusal> {
        let month = beijing(now);
        let times = self.clears.entry((month.year(), month.month(), appid.to_owned(), path)).or_default();
        let most = if path.is_some() { PATH_CLEARS_A_MONTH } else { CLEARS_A_MONTH };
        if *times >= most {
            return Err(Refusal::new(48006, "forbid to clear quota because of reaching the limit"));
        }
        *times += 1;
        for (of, used) in self.used.get_mut(appid).into_iter().flatten() {
            if path.is_none_or(|path| path == *of) {
                used.n = 0;
            }
        }
        Ok(())
    }

    /// Remembers a call by the rid of its refusal, if its answer has one.
    pub(super) fn remember(
        &mut self,
        appid: Option<&str>,
        asked: &Asked,
        answer: &[u8],
        (began, ended): (DateTime<Utc>, DateTime<Utc>),
    ) {
        let Some(answer) = std::str::from_utf8(answer).ok() else { return };
        let Some(rid) = answer.rsplit_once(" rid: ").and_then(|(_, rest)| rest.split('"').next()) else {
            return;
        };
        if self.rids.len() >= MAX_RIDS {
            self.rids.pop_front();
        }
        self.rids.push_back(Rid {
            id: rid.to_owned(),
            appid: appid.map(str::to_owned),
            at: began,
            cost_ms: (ended - began).num_milliseconds(),
            path: asked.path.clone(),
            url: asked.query.clone(),
            body: String::from_utf8_lossy(&asked.body).into_owned(),
            answer: answer.to_owned(),
        });
    }
}

#[derive(Deserialize)]
struct OfPath {
    cgi_path: String,
}

#[derive(Deserialize, Default)]
struct OfApp {
    #[serde(default)]
    appid: String,
    #[serde(default)]
    appsecret: String,
}

#[derive(Deserialize)]
struct OfRid {
    #[serde(default)]
    rid: String,
}

fn read<'a, T: Deserialize<'a>>(asked: &'a Asked) -> Result<T, Refusal> {
    serde_json::from_slice(&asked.body).map_err(|_not_json| Refusal::new(47001, "data format error"))
}

fn path_of(asked: &Asked) -> Result<(&'static str, Limit), Refusal> {
    let OfPath { cgi_path } = read(asked)?;
    if cgi_path.starts_with("/sns/") {
        return Err(Refusal::new(76022, "could not use this cgi_path, no permission"));
    }
    counted(&cgi_path).ok_or_else(|| Refusal::new(76021, "cgi_path not found, please check"))
}

fn done() -> Reply {
    Reply::json(&json!({"errcode": 0, "errmsg": "ok"}))
}

/// getApiQuota.
pub(super) fn get(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let now = inner.clock.now();
    let appid = bearer(state, asked, now)?;
    let (path, usual) = path_of(asked)?;
    let limit = state.quotas.limit_of(&appid, path, usual);
    let used = state.quotas.used(&appid, path, now);
    Ok(Reply::json(&json!({
        "errcode": 0,
        "errmsg": "ok",
        "quota": {"daily_limit": limit.daily, "used": used, "remain": limit.daily.saturating_sub(used)},
        "rate_limit": {"call_count": limit.calls, "refresh_second": limit.refresh_s},
    })))
}

/// clearApiQuota: the counts of one path.
pub(super) fn clear_path(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let now = inner.clock.now();
    let appid = bearer(state, asked, now)?;
    let (path, _) = path_of(asked)?;
    state.quotas.clear(&appid, Some(path), now)?;
    Ok(done())
}

/// clearQuota: all counts.
pub(super) fn clear_all(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let now = inner.clock.now();
    let appid = bearer(state, asked, now)?;
    if read::<OfApp>(asked)?.appid != appid {
        return Err(Refusal::new(40013, "invalid appid"));
    }
    state.quotas.clear(&appid, None, now)?;
    Ok(done())
}

/// clearQuotaByAppSecret: the same without an access token. The page's sample has both values in the query.
pub(super) fn clear_by_secret(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let body: OfApp = if asked.body.is_empty() { OfApp::default() } else { read(asked)? };
    let of = |name: &str, text: String| {
        if text.is_empty() { asked.param(name).unwrap_or_default().into_owned() } else { text }
    };
    let (appid, secret) = (of("appid", body.appid), of("appsecret", body.appsecret));
    known(inner, &appid, &secret)?;
    state.quotas.clear(&appid, None, inner.clock.now())?;
    Ok(done())
}

/// getRidInfo. Of what is older than 7 days its page says 76001 in one place and 76004 in another.
pub(super) fn rid(inner: &Inner, state: &mut State, asked: &Asked) -> Result<Reply, Refusal> {
    let now = inner.clock.now();
    let appid = bearer(state, asked, now)?;
    let OfRid { rid } = read(asked)?;
    let is_one = |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
    if rid.split('-').count() != 3 || !rid.split('-').all(is_one) {
        return Err(Refusal::new(76002, "rid is error"));
    }
    let found = state.quotas.rids.iter().find(|call| call.id == rid);
    let call = found.ok_or_else(|| Refusal::new(76001, "rid not found"))?;
    if call.path.starts_with("/sns/") {
        return Err(Refusal::new(76022, "could not use this cgi_path, no permission"));
    }
    if call.appid.as_deref() != Some(&appid) {
        return Err(Refusal::new(76003, "could not query this rid, no permission"));
    }
    if now - call.at > RID_DAYS {
        return Err(Refusal::new(76004, "rid time is error"));
    }
    Ok(Reply::json(&json!({
        "errcode": 0,
        "errmsg": "ok",
        "request": {
            "invoke_time": call.at.timestamp(),
            "cost_in_ms": call.cost_ms,
            "request_url": call.url,
            "request_body": call.body,
            "response_body": call.answer,
            "client_ip": "127.0.0.1",
        },
    })))
}
