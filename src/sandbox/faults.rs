//! Faults on command: which request meets which misfortune.
//!
//! Deterministic: a share is drawn from a seed and the count of requests that matched, so the same run meets
//! the same faults. Acting them out (closing, waiting) is the server's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tokens::mixed;

/// Most rules at a time.
pub(super) const MAX_FAULTS: usize = 256;

/// One rule of misfortune. Rules are tried in order; the first that fires ends the search, but for
/// [`What::Delay`], which adds up.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Which requests.
    pub api: Api,
    /// Which of them.
    pub when: When,
    /// Before the platform acts on the request, or after.
    pub stage: Stage,
    /// What happens.
    pub what: What,
}

/// The platform's doors, as faults name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `message/subscribe/send`.
    Send,
    /// Both token endpoints.
    Token,
    /// `jscode2session`.
    Login,
    /// Everything about templates, `gettemplate` first of all.
    Templates,
    /// Quotas and rids.
    Quota,
    /// Events on their way to the app's receiver: late by a delay, lost ([`What::DestroyBefore`]), taken but their first answer
    /// not read ([`What::DestroyAfter`]), repeated, or a receipt that tells of an error ([`What::Errcode`]).
    Push,
}

/// Which of the requests a rule meets. The default is all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct When {
    /// Only sends to this openid, and events about it.
    pub openid: Option<String>,
    /// Only sends of this template, and events about it.
    pub template: Option<String>,
    /// Only events of this name: `subscribe_msg_sent_event`.
    pub event: Option<String>,
    /// The first so many that match go free.
    pub skip: u64,
    /// Fires at most so often; `None` is without end.
    pub at_most: Option<u64>,
    /// The share of matching requests that is met, from 0 to 1.
    pub share: f64,
    /// Decides which ones the share meets.
    pub seed: u64,
}

impl Default for When {
    fn default() -> Self {
        Self { openid: None, template: None, event: None, skip: 0, at_most: None, share: 1.0, seed: 0 }
    }
}

/// Where in the handling of a request a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the handling: nothing is booked.
    #[default]
    Before,
    /// The request is handled and booked as ever; only its answer suffers. An accepted send then counts as
    /// accepted but unanswered.
    After,
}

/// A misfortune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// HTTP 200 with this errcode.
    Errcode {
        /// The code.
        code: i32,
        /// Its text, without rid.
        msg: String,
    },
    /// This HTTP status, with a body that is no JSON unless it is given as such.
    Status {
        /// The status.
        code: u16,
        /// The body.
        body: String,
    },
    /// HTTP 200 with a body that is no JSON.
    Garbage,
    /// As ever, but later; time is the sandbox's clock.
    Delay(Duration),
    /// The connection is reset before anything is booked, whatever the stage.
    DestroyBefore,
    /// The connection is reset after the send was accepted and booked, whatever the stage.
    DestroyAfter,
    /// No answer ever; the connection stays open until the client leaves.
    Hang,
    /// Half of the answer, then the connection is closed.
    Truncate,
    /// A good answer to a send names no message, as the platform's page has it; it is the true answer all the same.
    NoMsgid,
    /// An event comes so often again, all at once; nothing else does.
    Repeat(u8),
}

/// What a request or an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    pub(super) openid: &'a str,
    pub(super) template: &'a str,
    pub(super) event: Option<&'a str>,
}

impl Fault {
    /// A rule that meets every request of `api` before it is handled.
    #[must_use]
    pub fn new(api: Api, what: What) -> Self {
        Self { api, when: When::default(), stage: Stage::Before, what }
    }

    /// The same, striking after the request was handled and booked.
    #[must_use]
    pub fn after(mut self) -> Self {
        self.stage = Stage::After;
        self
    }

    /// The same, letting the first `n` that match go free.
    #[must_use]
    pub fn skip(mut self, n: u64) -> Self {
        self.when.skip = n;
        self
    }

    /// The same, firing at most `n` times.
    #[must_use]
    pub fn at_most(mut self, n: u64) -> Self {
        self.when.at_most = Some(n);
        self
    }

    /// The same, only for sends to `openid`.
    #[must_use]
    pub fn openid(mut self, openid: &str) -> Self {
        self.when.openid = Some(openid.to_owned());
        self
    }

    /// The same, only for events of this name.
    #[must_use]
    pub fn event(mut self, name: &str) -> Self {
        self.when.event = Some(name.to_owned());
        self
    }

    /// The same, only for sends of `template`.
    #[must_use]
    pub fn template(mut self, template: &str) -> Self {
        self.when.template = Some(template.to_owned());
        self
    }

    /// The same, for the share of requests (0 to 1) that `seed` picks.
    #[must_use]
    pub fn share(mut self, share: f64, seed: u64) -> Self {
        (self.when.share, self.when.seed) = (share, seed);
        self
    }

    /// Its name in a count: `send errcode -1 after`.
    fn told(&self) -> String {
        let api = match self.api {
            Api::Send => "send",
            Api::Token => "token",
            Api::Login => "login",
            Api::Templates => "templates",
            Api::Quota => "quota",
            Api::Push => "push",
        };
        let what = match &self.what {
            What::Errcode { code, .. } => format!("errcode {code}"),
            What::Status { code, .. } => format!("status {code}"),
            What::Garbage => "garbage".to_owned(),
            What::Delay(_) => "delay".to_owned(),
            What::DestroyBefore | What::DestroyAfter => "destroy".to_owned(),
            What::Hang => "hang".to_owned(),
            What::Truncate => "truncate".to_owned(),
            What::NoMsgid => "no msgid".to_owned(),
            What::Repeat(_) => "repeat".to_owned(),
        };
        let stage = match self.strikes() {
            Stage::Before => "before",
            Stage::After => "after",
        };
        format!("{api} {what} {stage}")
    }

    /// Before or after, as the misfortune itself or the rule says.
    fn strikes(&self) -> Stage {
        match self.what {
            What::DestroyBefore => Stage::Before,
            What::DestroyAfter | What::NoMsgid => Stage::After,
            What::Errcode { .. }
            | What::Status { .. }
            | What::Garbage
            | What::Delay(_)
            | What::Hang
            | What::Truncate
            | What::Repeat(_) => self.stage,
        }
    }
}

/// What one request is in for.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) delay_before: Duration,
    pub(super) delay_after: Duration,
    pub(super) before: Option<What>,
    pub(super) after: Option<What>,
}

/// The rules in force, how often each was met, and what struck since the start.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Counted>,
    struck: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Counted {
    fault: Fault,
    matched: u64,
    fired: u64,
}

impl Faults {
    pub(super) fn set(&mut self, faults: Vec<Fault>) {
        let counted = |fault| Counted { fault, matched: 0, fired: 0 };
        self.rules = faults.into_iter().take(MAX_FAULTS).map(counted).collect();
    }

    /// How often each misfortune struck, also those of rules that are no longer in force.
    pub(super) fn struck(&self) -> BTreeMap<String, u64> {
        self.struck.clone()
    }

    /// Draws the fate of a request, or of an event; `of` is what a send or an event is about.
    pub(super) fn draw(&mut self, api: Api, of: Option<Of<'_>>) -> Fate {
        let mut fate = Fate::default();
        for rule in &mut self.rules {
            if !rule.meets(api, of) {
                continue;
            }
            *self.struck.entry(rule.fault.told()).or_default() += 1;
            let stage = rule.fault.strikes();
            match (&rule.fault.what, stage) {
                (What::Delay(time), Stage::Before) => fate.delay_before += *time,
                (What::Delay(time), Stage::After) => fate.delay_after += *time,
                (what, Stage::Before) => fate.before = Some(what.clone()),
                (what, Stage::After) => fate.after = Some(what.clone()),
            }
            if fate.before.is_some() || fate.after.is_some() {
                break;
            }
        }
        fate
    }
}

impl Counted {
    fn meets(&mut self, api: Api, of: Option<Of<'_>>) -> bool {
        let When { openid, template, event, skip, at_most, share, seed } = &self.fault.when;
        let only = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        if self.fault.api != api
            || !only(openid, of.map(|of| of.openid))
            || !only(template, of.map(|of| of.template))
            || !only(event, of.and_then(|of| of.event))
        {
            return false;
        }
        self.matched += 1;
        if self.matched <= *skip || at_most.is_some_and(|most| self.fired >= most) {
            return false;
        }
        let drawn = mixed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.matched)) >> 32;
        let drawn = f64::from(u32::try_from(drawn).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        let fires = *share >= 1.0 || drawn < *share;
        self.fired += u64::from(fires);
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of 10 sends, alternating between two people, meet the rule.
    fn met(fault: Fault) -> String {
        let mut faults = Faults::default();
        faults.set(vec![fault]);
        let met = |n: u32| {
            let openid = if n.is_multiple_of(2) { "even" } else { "odd" };
            faults.draw(Api::Send, Some(Of { openid, template: "T", event: None })).before.is_some()
        };
        (0..10).map(met).map(|met| if met { 'x' } else { '.' }).collect()
    }

    #[test]
    fn rules_meet_whom_they_name() {
        let fault = Fault::new(Api::Send, What::Garbage);
        let table = [
            (fault.clone(), "xxxxxxxxxx"),
            (fault.clone().skip(3).at_most(2), "...xx....."),
            (fault.clone().openid("odd").skip(1), "...x.x.x.x"),
            (fault.clone().template("U"), ".........."),
            (fault.clone().event("subscribe_msg_sent_event"), ".........."),
            (fault.clone().share(0.0, 1), ".........."),
            (Fault::new(Api::Token, What::Garbage), ".........."),
            (fault.clone().after(), ".........."),
        ];
        for (fault, wanted) in table {
            assert_eq!(met(fault.clone()), wanted, "{fault:?}");
        }
        assert_eq!(met(fault.clone().share(0.5, 7)), met(fault.share(0.5, 7)));
    }

    #[test]
    fn a_share_is_about_its_size() {
        let mut faults = Faults::default();
        faults.set(vec![Fault::new(Api::Send, What::Hang).share(0.3, 42)]);
        let met = (0..10_000).filter(|_| faults.draw(Api::Send, None).before.is_some()).count();
        assert!((2_800..3_200).contains(&met), "{met}");
    }

    #[test]
    fn delays_add_up_and_let_the_next_rule_speak() {
        let mut faults = Faults::default();
        let second = Duration::from_secs(1);
        faults.set(vec![
            Fault::new(Api::Send, What::Delay(second)),
            Fault::new(Api::Send, What::Delay(second)).after(),
            Fault::new(Api::Send, What::Delay(second)),
            Fault::new(Api::Send, What::DestroyAfter),
            Fault::new(Api::Send, What::Hang),
        ]);
        let fate = faults.draw(Api::Send, None);
        assert_eq!((fate.delay_before, fate.delay_after), (second * 2, second));
        assert_eq!((fate.before, fate.after), (None, Some(What::DestroyAfter)));
        faults.set(Vec::new());
        faults.draw(Api::Send, None);
        let struck: Vec<(String, u64)> = faults.struck().into_iter().collect();
        let told = [("send delay after", 1), ("send delay before", 2), ("send destroy after", 1)];
        assert_eq!(struck, told.map(|(name, n)| (name.to_owned(), n)), "the hang was behind it");
    }
}
