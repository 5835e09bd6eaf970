//! Access tokens as the fake hands them out: two isolated families, their ends, and orders to break them.
//!
//! Pure: the time is a value. Nothing here is kept over a restart; a token from before it is unknown then,
//! and a client that obeys 40001 gets a new one. The texts are unique, not unguessable: they guard nothing.
//! Rules: pages `api_getaccesstoken` and `api_getstableaccesstoken`, read 2026-11-22.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// How long a token lives.
const LIFE: TimeDelta = TimeDelta::hours(2);
/// Before its end a stable token is renewed; after a renewal a classic one lives this long.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);
/// Time between two forced refreshes; a sooner one is a normal call.
const FORCE_GAP: TimeDelta = TimeDelta::seconds(30);
/// Forced refreshes in one Beijing day; more answer 45009.
const FORCES_PER_DAY: u32 = 20;
/// How long an ended token is remembered as expired (42001), before it is as good as never issued (40001).
const REMEMBERED: TimeDelta = TimeDelta::hours(4);
/// How every token, login code and session key begins: none of them may ever stand in a log, and this is
/// the word that a search of the logs looks for.
const MARK: &str = "CANARY";
/// Length of the part of a token that is made; real ones have about this length.
const TOKEN_LENGTH: usize = 133;

/// Makes texts that do not repeat: SplitMix64 from a seed, written in base 62.
#[derive(Debug)]
pub(super) struct Mint(u64);

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the sequence.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// `length` letters and digits, the first of them `CANARY`.
    pub(super) fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let letter = |number: u64| usize::try_from(number % 62).ok().and_then(|at| LETTERS.get(at)).copied();
        let made = (MARK.len()..length).filter_map(|_| letter(self.number() >> 7)).map(char::from);
        MARK.chars().chain(made).collect()
    }
}

/// The finalizer of SplitMix64: spreads neighbouring numbers over all of `u64`.
pub(super) fn mixed(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether an app's access tokens are taken at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// As the rules say.
    #[default]
    Ruled,
    /// Every token answers 40001, also a fresh one, until the order is taken back.
    Refused,
}

/// How the stable endpoint was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    Normal,
    Forced,
}

/// Why an access token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadToken {
    /// Never issued, replaced, or revoked: 40001.
    Invalid,
    /// Past its end: 42001.
    Expired,
}

/// The quota of forced refreshes is used up: 45009.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

#[derive(Debug)]
struct Issued {
    appid: String,
    ends: DateTime<Utc>,
    valid: Validity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    UntilItsEnd,
    Revoked,
}

#[derive(Debug, Default)]
struct OfApp {
    classic: Option<String>,
    stable: Option<String>,
    forced: Option<DateTime<Utc>>,
    forces: BTreeMap<NaiveDate, u32>,
    acceptance: Acceptance,
}

/// All tokens of the fake.
#[derive(Debug)]
pub(super) struct Tokens {
    mint: Mint,
    issued: HashMap<String, Issued>,
    apps: HashMap<String, OfApp>,
}

impl Tokens {
    pub(super) fn new(seed: u64) -> Self {
        Self { mint: Mint::new(seed), issued: HashMap::new(), apps: HashMap::new() }
    }

    /// The appid that `token` stands for.
    pub(super) fn check(&self, token: &str, now: DateTime<Utc>) -> Result<&str, BadToken> {
        let issued = self.issued.get(token).ok_or(BadToken::Invalid)?;
        let refused = self.apps.get(&issued.appid).is_some_and(|app| app.acceptance == Acceptance::Refused);
        if refused || issued.valid == Validity::Revoked {
            Err(BadToken::Invalid)
        } else if issued.ends <= now {
            Err(BadToken::Expired)
        } else {
            Ok(&issued.appid)
        }
    }

    /// Answers `GET /cgi-bin/token`: always a new token; the one before it has five minutes left.
    pub(super) fn classic(&mut self, appid: &str, now: DateTime<Utc>) -> (String, i64) {
        let token = self.issue(appid, now);
        let app = self.apps.entry(appid.to_owned()).or_default();
        let before = app.classic.replace(token.clone());
        if let Some(before) = before.and_then(|before| self.issued.get_mut(&before)) {
            before.ends = before.ends.min(now + OVERLAP);
        }
        (token, LIFE.num_seconds())
    }

    /// Answers `POST /cgi-bin/stable_token` with a token and the seconds it has left.
    pub(super) fn stable(
        &mut self,
        appid: &str,
        refresh: Refresh,
        now: DateTime<Utc>,
    ) -> Result<(String, i64), TooMany> {
        let app = self.apps.entry(appid.to_owned()).or_default();
        let too_soon = app.forced.is_some_and(|last| now < last + FORCE_GAP);
        let forced = refresh == Refresh::Forced && !too_soon;
        if forced {
            let beijing = (now + TimeDelta::hours(8)).date_naive();
            app.forces.retain(|day, _| *day >= beijing);
            let today = app.forces.entry(beijing).or_default();
            if *today >= FORCES_PER_DAY {
                return Err(TooMany);
            }
            *today += 1;
            app.forced = Some(now);
        }
        let current = app.stable.clone();
        if let Some(token) = &current
            && let Some(issued) = self.issued.get_mut(token)
        {
            if forced {
                issued.valid = Validity::Revoked;
            } else if issued.valid == Validity::UntilItsEnd && now + OVERLAP < issued.ends {
                return Ok((token.clone(), (issued.ends - now).num_seconds()));
            }
        }
        let token = self.issue(appid, now);
        self.apps.entry(appid.to_owned()).or_default().stable = Some(token.clone());
        Ok((token, LIFE.num_seconds()))
    }

    /// Makes every token of `appid` answer 40001; the endpoints hand out new ones. How many there were.
    pub(super) fn revoke(&mut self, appid: &str) -> usize {
        let of_app = self.issued.values_mut().filter(|issued| issued.appid == appid);
        let alive = of_app.filter(|issued| issued.valid == Validity::UntilItsEnd);
        alive.map(|issued| issued.valid = Validity::Revoked).count()
    }

    /// Makes every token of `appid` answer 42001; the endpoints hand out new ones.
    pub(super) fn expire(&mut self, appid: &str, now: DateTime<Utc>) {
        for issued in self.issued.values_mut().filter(|issued| issued.appid == appid) {
            issued.ends = issued.ends.min(now);
        }
    }

    /// Takes or refuses every token of `appid` from now on.
    pub(super) fn accept(&mut self, appid: &str, acceptance: Acceptance) {
        self.apps.entry(appid.to_owned()).or_default().acceptance = acceptance;
    }

    fn issue(&mut self, appid: &str, now: DateTime<Utc>) -> String {
        self.issued.retain(|_, issued| now < issued.ends + REMEMBERED);
        let token = format!("88_{}", self.mint.text(TOKEN_LENGTH));
        let issued = Issued { appid: appid.to_owned(), ends: now + LIFE, valid: Validity::UntilItsEnd };
        self.issued.insert(token.clone(), issued);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "wx1";

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
    }

    fn stable(tokens: &mut Tokens, refresh: Refresh, now: DateTime<Utc>) -> (String, i64) {
        tokens.stable(APP, refresh, now).expect("quota left")
    }

    #[test]
    fn a_stable_token_repeats_until_five_minutes_before_its_end() {
        let (mut tokens, now) = (Tokens::new(1), start());
        let (first, left) = stable(&mut tokens, Refresh::Normal, now);
        assert_eq!(left, 7200);
        let later = now + TimeDelta::seconds(6899);
        assert_eq!(stable(&mut tokens, Refresh::Normal, later), (first.clone(), 301));
        let later = now + TimeDelta::seconds(6900);
        let (second, left) = stable(&mut tokens, Refresh::Normal, later);
        assert_ne!(second, first);
        assert_eq!(left, 7200);
        assert_eq!(tokens.check(&first, later), Ok(APP), "both are valid in the overlap");
        assert_eq!(tokens.check(&second, later), Ok(APP));
        assert_eq!(tokens.check(&first, now + LIFE), Err(BadToken::Expired));
    }

    #[test]
    fn a_forced_refresh_ends_the_token_before_it() {
        let (mut tokens, mut now) = (Tokens::new(1), start());
        let (first, _) = stable(&mut tokens, Refresh::Normal, now);
        let (second, _) = stable(&mut tokens, Refresh::Forced, now);
        assert_ne!(first, second);
        assert_eq!(tokens.check(&first, now), Err(BadToken::Invalid));
        now += TimeDelta::seconds(29);
        assert_eq!(stable(&mut tokens, Refresh::Forced, now).0, second, "too soon: a normal call");
        now += TimeDelta::seconds(1);
        assert_ne!(stable(&mut tokens, Refresh::Forced, now).0, second);
        for _ in 2..FORCES_PER_DAY {
            now += FORCE_GAP;
            stable(&mut tokens, Refresh::Forced, now);
        }
        now += FORCE_GAP;
        assert_eq!(tokens.stable(APP, Refresh::Forced, now), Err(TooMany));
        assert!(tokens.stable(APP, Refresh::Normal, now).is_ok());
        assert!(tokens.stable(APP, Refresh::Forced, now + TimeDelta::days(1)).is_ok());
    }

    #[test]
    fn a_classic_token_gives_its_predecessor_five_minutes_and_leaves_the_stable_one_alone() {
        let (mut tokens, now) = (Tokens::new(1), start());
        let (stable, _) = stable(&mut tokens, Refresh::Normal, now);
        let (first, _) = tokens.classic(APP, now);
        let (second, _) = tokens.classic(APP, now);
        assert_eq!(tokens.check(&first, now + TimeDelta::seconds(299)), Ok(APP));
        assert_eq!(tokens.check(&first, now + OVERLAP), Err(BadToken::Expired));
        assert_eq!(tokens.check(&second, now + OVERLAP), Ok(APP));
        assert_eq!(tokens.check(&stable, now + OVERLAP), Ok(APP));
    }

    #[test]
    fn orders_break_tokens() {
        let (mut tokens, now) = (Tokens::new(1), start());
        let (first, _) = stable(&mut tokens, Refresh::Normal, now);
        tokens.revoke(APP);
        assert_eq!(tokens.check(&first, now), Err(BadToken::Invalid));
        let (second, _) = stable(&mut tokens, Refresh::Normal, now);
        assert_eq!(tokens.check(&second, now), Ok(APP));
        tokens.expire(APP, now);
        assert_eq!(tokens.check(&second, now), Err(BadToken::Expired));
        let (third, _) = stable(&mut tokens, Refresh::Normal, now);
        tokens.accept(APP, Acceptance::Refused);
        assert_eq!(tokens.check(&third, now), Err(BadToken::Invalid));
        assert_eq!(stable(&mut tokens, Refresh::Normal, now).0, third, "a refused token is handed out again");
        tokens.accept(APP, Acceptance::Ruled);
        assert_eq!(tokens.check(&third, now), Ok(APP));
        assert_eq!(tokens.check("never issued", now), Err(BadToken::Invalid));
    }
}
