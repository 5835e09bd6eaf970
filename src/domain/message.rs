//! A rendered message, and what the platform answered to it.

use super::id::{OpenId, TemplateId};

/// One message to one recipient, checked against its template.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Whom it is for.
    pub to: OpenId,
    /// What template it fills.
    pub template: TemplateId,
    /// The page a tap opens, without a leading slash.
    pub page: Option<String>,
    /// Field key and value, in key order.
    pub data: Vec<(String, String)>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("template", &self.template).finish_non_exhaustive()
    }
}

/// The first of the numbers that stand in place of a msgid where the platform gives none; its own are below 2^63.
const FIRST_STAND_IN: u64 = 0xffff << 48;

/// Whether a number can be the platform's of a message; 0 would be that of every message that has none.
#[must_use]
pub const fn is_msgid(number: u64) -> bool {
    0 < number && number < FIRST_STAND_IN
}

/// What stands in place of the msgid of a receipt that has none: no message's number, and the same for its copies alone.
#[must_use]
pub const fn stand_in(hash: u64) -> u64 {
    FIRST_STAND_IN | hash
}

/// What the platform answered to one attempt, as far as decisions need it.
///
/// A complete body with an errcode is definite; everything after the connection without one is
/// [`Reply::Unanswered`]. Codes: platform guide, `api_sendmessage`, read 2026-11-22.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// errcode 0: taken for delivery.
    Accepted {
        /// The platform's number of the message, where it gave one; beyond 2^53.
        msgid: Option<u64>,
    },
    /// 43101: no consent on the platform's side.
    NoConsent,
    /// −1: busy; it may have processed the message all the same.
    Busy,
    /// 43108: another call for this openid was under way.
    Concurrent,
    /// 44990, 45011: too fast.
    RateLimited {
        /// The platform's code.
        errcode: i64,
    },
    /// 45009: the day's quota is used up.
    QuotaUsedUp,
    /// 40001, 40014, 42001, also after one refresh.
    TokenRefused {
        /// The platform's code.
        errcode: i64,
    },
    /// 40003, 50002: the recipient cannot get messages.
    RecipientBad {
        /// The platform's code.
        errcode: i64,
    },
    /// 47003, 45168 and other faults of this message's content.
    MessageBad {
        /// The platform's code.
        errcode: i64,
        /// The field at fault, where errmsg names one.
        key: Option<String>,
    },
    /// 40037, 41030, 43107 …: the template or page cannot be used.
    TemplateBad {
        /// The platform's code.
        errcode: i64,
    },
    /// 40013, 40125, 40164, 48001 …: the app cannot send.
    AppBad {
        /// The platform's code.
        errcode: i64,
    },
    /// A code no table knows: a failure of this message.
    UnknownCode {
        /// The platform's code.
        errcode: i64,
    },
    /// No access token could be had; nothing was sent.
    NoToken,
    /// No connection; nothing was sent.
    NotConnected,
    /// Bytes may have left, and no definite answer came.
    Unanswered,
}
