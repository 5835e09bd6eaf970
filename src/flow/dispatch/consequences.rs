//! What an answer means beyond its own message: for its rule, which the platform may refuse as it is written, and for its
//! occurrence, which too many may refuse.
//!
//! What becomes of the message is decided in `plan::retry`, what becomes of the app in its gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::{Dispatch, Item};
use crate::domain::id::{DeliveryId, OpenId, RuleId};
use crate::domain::message::Reply;
use crate::domain::rejection::{Rejection, Wording};
use crate::flow::brake;
use crate::plan::blame::Row;
use crate::plan::breaker::Breaker;
use crate::plan::canary::{self, Follows, MAX_CANDIDATES};
use crate::plan::retry::Decision;
use crate::store::End;
use crate::wechat::Sent;

/// Occurrences whose replies are remembered; those of the oldest are forgotten first.
const MAX_BREAKERS: usize = 1024;
/// Rules of which people in a row are remembered.
const MAX_ROWS: usize = 1024;
/// Unknown codes that are warned of once each.
const MAX_UNKNOWN: usize = 256;

/// What a sender remembers of answers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The newest replies, by occurrence.
    breakers: BTreeMap<u64, Breaker>,
    /// People in a row who were refused for the same value, by rule and wording.
    rows: BTreeMap<(RuleId, Wording), Row>,
    /// Codes that no table knows, of which a person was told.
    unknown: BTreeSet<i64>,
}

/// Of which message an answer is.
#[derive(Debug)]
pub(super) struct Asked {
    id: DeliveryId,
    rule: RuleId,
    wording: Wording,
    personal: Arc<BTreeSet<String>>,
    to: OpenId,
}

impl Asked {
    pub(super) fn of(item: &Item) -> Self {
        Self {
            id: item.id,
            rule: item.rule.clone(),
            wording: item.wording,
            personal: Arc::clone(&item.personal),
            to: item.message.to.clone(),
        }
    }
}

impl Memory {
    /// Forgets the replies of an occurrence.
    pub(super) fn forget(&mut self, occurrence: u64) {
        self.breakers.remove(&occurrence);
    }

    /// Whether nobody was told of this code yet, as far as codes are remembered.
    fn is_news(&mut self, errcode: i64) -> bool {
        self.unknown.len() < MAX_UNKNOWN && self.unknown.insert(errcode)
    }
}

impl Dispatch {
    /// Holds the rule where the answer says that it is the rule's fault: before the message's end is given to the store, so
    /// that no end of such a message is durable without the hold.
    pub(super) fn blame(&mut self, asked: &Asked, sent: &Sent, now: DateTime<Utc>) {
        let (Reply::MessageBad { errcode, .. } | Reply::TemplateBad { errcode }) = sent.reply else {
            if let Reply::Accepted { .. } = sent.reply {
                self.memory.rows.remove(&(asked.rule.clone(), asked.wording));
            }
            return;
        };
        let name = (asked.rule.clone(), asked.wording);
        let row = self.memory.rows.entry(name.clone()).or_default();
        if let Some(fault) = row.hear(&sent.reply, &asked.to, &asked.personal) {
            self.memory.rows.remove(&name);
            let rules = &self.current.get().rules;
            let passed = brake::wording(rules, &asked.rule) != Some(asked.wording);
            let (rule, wording) = name;
            let (errmsg, rid) = (sent.errmsg.clone(), sent.rid.clone());
            let rejection = Rejection {
                rule,
                wording,
                since: now,
                fault,
                errcode: Some(errcode),
                errmsg,
                rid,
                passed,
                released: false,
            };
            if self.brake.hold(rejection.clone()) {
                let rule = &rejection.rule;
                warn!(rule.id = %rule, wechat.errcode = errcode, wechat.rid = rejection.rid,
                    "Rule {rule} does not send, it is {rejection}: {}", rejection.cure());
            }
        }
        while self.memory.rows.len() > MAX_ROWS {
            self.memory.rows.pop_first();
        }
    }

    /// Notes that the platform takes no messages for this openid: later walks pass him over.
    pub(super) fn note_recipient(&self, asked: &Asked, reply: &Reply, started_at: DateTime<Utc>) {
        if let Reply::RecipientBad { .. } = reply {
            let _queued = self.store.mark_recipient(self.app.clone(), asked.to.clone(), Some(started_at));
        }
    }

    /// Tells of a code that no table knows, once.
    pub(super) fn wonder(&mut self, asked: &Asked, sent: &Sent) {
        if let Reply::UnknownCode { errcode } = sent.reply
            && self.memory.is_news(errcode)
        {
            let (rule, said) = (&asked.rule, sent.errmsg.as_deref().unwrap_or("without a text"));
            warn!(rule.id = %rule, wechat.errcode = errcode, wechat.rid = sent.rid,
                "The platform answered rule {rule} with errcode {errcode}, which tixing does not know ({said}): such messages fail and keep their consents");
        }
    }

    /// Lets the others of an occurrence go, or the next one alone, when the one that went first has ended.
    pub(super) fn learn(&mut self, asked: &Asked, decision: Decision) {
        let end = match decision {
            Decision::Accept { .. } => canary::End::Accepted,
            Decision::Refuse | Decision::Fail { .. } => canary::End::Answered,
            Decision::Doubt => canary::End::Unanswered,
            Decision::Wait { .. } => return,
        };
        let follows = self.canaries.ends(asked.id, end);
        let occurrence = asked.id.occurrence;
        if follows == Follows::Stop && self.held.insert(occurrence) {
            let reason = format!(
                "the first {MAX_CANDIDATES} messages had no answer, and nobody knows what became of them"
            );
            self.hold(occurrence, &asked.rule, reason);
        }
    }

    /// Holds the occurrence where too many of it are refused.
    pub(super) fn count(&mut self, asked: &Asked, reply: &Reply) {
        let occurrence = asked.id.occurrence;
        if let Some(refused) = heard(reply)
            && let Some((n, of)) = self.memory.breakers.entry(occurrence).or_default().hear(refused)
            && self.held.insert(occurrence)
        {
            let reason = format!("{n} of the last {of} messages were refused (43101)");
            self.hold(occurrence, &asked.rule, reason);
        }
        while self.memory.breakers.len() > MAX_BREAKERS {
            self.memory.breakers.pop_first();
        }
    }
}

/// Whether a reply is a refusal; `None` where the platform said nothing of the message.
fn heard(reply: &Reply) -> Option<bool> {
    match reply {
        Reply::NoConsent => Some(true),
        Reply::Accepted { .. }
        | Reply::Busy
        | Reply::Concurrent
        | Reply::RecipientBad { .. }
        | Reply::MessageBad { .. }
        | Reply::TemplateBad { .. }
        | Reply::UnknownCode { .. } => Some(false),
        Reply::RateLimited { .. }
        | Reply::QuotaUsedUp
        | Reply::TokenRefused { .. }
        | Reply::AppBad { .. }
        | Reply::NoToken
        | Reply::NotConnected
        | Reply::Unanswered => None,
    }
}

/// Whether an answer is about the whole app.
pub(super) fn of_app(reply: &Reply) -> bool {
    match reply {
        Reply::RateLimited { .. }
        | Reply::QuotaUsedUp
        | Reply::TokenRefused { .. }
        | Reply::AppBad { .. }
        | Reply::NoToken
        | Reply::NotConnected => true,
        Reply::Accepted { .. }
        | Reply::NoConsent
        | Reply::Busy
        | Reply::Concurrent
        | Reply::RecipientBad { .. }
        | Reply::MessageBad { .. }
        | Reply::TemplateBad { .. }
        | Reply::UnknownCode { .. }
        | Reply::Unanswered => false,
    }
}

/// How an attempt ended, for the log.
pub(super) fn told(end: &End) -> String {
    match end {
        End::Accepted { .. } => "sent".to_owned(),
        End::Refused => "refused: the platform knows no consent".to_owned(),
        End::Failed { errcode } => format!("failed with errcode {errcode}"),
        End::Wait { at, .. } => format!("to be tried again at {at}"),
        End::Doubt => "in doubt: no definite answer".to_owned(),
        End::NotStarted => "not started".to_owned(),
        End::GrantDied => "cancelled: its grant died".to_owned(),
        End::Expired => "expired".to_owned(),
        End::Cancelled => "cancelled".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_told_once_and_only_so_many_are() {
        let mut memory = Memory::default();
        let told: Vec<bool> = [85_107, 40_249, 85_107, 40_249].map(|errcode| memory.is_news(errcode)).into();
        assert_eq!(told, [true, true, false, false]);
        let n = (0..1000).filter(|errcode| memory.is_news(*errcode)).count();
        assert_eq!(n, MAX_UNKNOWN - 2);
    }
}
