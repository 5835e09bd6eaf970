//! The events that concern consents and messages, in whatever form they come (订阅消息: 事件推送).
//!
//! An event of which nothing is known, or that names nobody, or not even itself, is an event too: the platform gets its
//! answer, and does not send it again.

use chrono::{DateTime, Utc};

use super::tree::Node;
use crate::domain::id::{OpenId, TemplateId};
use crate::domain::message::is_msgid;

/// Longest text of the platform that is kept, in characters.
const MAX_WORDS: usize = 64;
/// Most items of one event that are booked at once. More the platform never sends, as far as is known: a panel asks for three
/// templates, and what was sent comes one by one.
const MAX_ITEMS: usize = 100;

/// What the platform tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened, in whole seconds by the platform's clock, which may be ahead of ours.
    pub created_at: DateTime<Utc>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Somebody answered the panel (`subscribe_msg_popup_event`).
    Asked {
        /// Who.
        openid: OpenId,
        /// For each template.
        answers: Vec<Answered>,
    },
    /// Somebody changed his mind in the settings (`subscribe_msg_change_event`).
    Changed {
        /// Who.
        openid: OpenId,
        /// For each template.
        answers: Vec<Answered>,
    },
    /// What became of messages (`subscribe_msg_sent_event`).
    Sent {
        /// Whom they were for.
        openid: OpenId,
        /// Each of them.
        messages: Vec<Sent>,
    },
    /// Somebody closed his account with the mini program (`user_authorization_cancellation`).
    Left {
        /// Who.
        openid: OpenId,
    },
    /// The platform warns or punishes the mini program (`wxa_punish_event`).
    Punished {
        /// Its kind: 1 a warning, 2 functions banned, 3 taken down, 4 the account banned, others pages.
        kind: String,
        /// What is banned, as the platform says it.
        detail: String,
    },
    /// Anything else, by its name.
    Other {
        /// Its name, cut; nothing where it says none.
        name: String,
    },
}

/// What somebody chose for one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which one.
    pub template: TemplateId,
    /// `accept`, `reject`, or what else the platform says.
    pub status: String,
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Of which template it was.
    pub template: TemplateId,
    /// The platform's number of the message, where it says one.
    pub msgid: Option<u64>,
    /// 0 when it arrived.
    pub errcode: i64,
}

impl Event {
    /// Whether a document says of which kind of event it is.
    pub(super) fn is_named(document: &Node) -> bool {
        name(document).is_some()
    }

    /// Reads an event that was signed at `signed_at`.
    pub(super) fn read(document: &Node, signed_at: DateTime<Utc>) -> Self {
        Self { created_at: created_at(document).unwrap_or(signed_at), what: what(document) }
    }

    /// The same in pieces of at most 100 items, in their order; how many there are is bounded by the size of a body.
    #[must_use]
    pub fn in_pieces(self) -> Vec<Self> {
        fn pieces<T: Clone>(items: &[T], what: impl Fn(Vec<T>) -> What) -> Vec<What> {
            items.chunks(MAX_ITEMS).map(|piece| what(piece.to_vec())).collect()
        }
        let whats = match &self.what {
            What::Asked { openid, answers } if answers.len() > MAX_ITEMS => {
                pieces(answers, |answers| What::Asked { openid: openid.clone(), answers })
            }
            What::Changed { openid, answers } if answers.len() > MAX_ITEMS => {
                pieces(answers, |answers| What::Changed { openid: openid.clone(), answers })
            }
            What::Sent { openid, messages } if messages.len() > MAX_ITEMS => {
                pieces(messages, |messages| What::Sent { openid: openid.clone(), messages })
            }
            What::Asked { .. }
            | What::Changed { .. }
            | What::Sent { .. }
            | What::Left { .. }
            | What::Punished { .. }
            | What::Other { .. } => return vec![self],
        };
        whats.into_iter().map(|what| Self { what, ..self }).collect()
    }

    /// What an event may tell that anybody could have made who saw one: only what can cost a message, and gain none.
    pub(super) fn harmless(self) -> Self {
        let what = match self.what {
            What::Changed { .. } | What::Sent { .. } | What::Other { .. } => self.what,
            What::Asked { .. } => What::Other { name: "subscribe_msg_popup_event".to_owned() },
            What::Left { .. } => What::Other { name: "user_authorization_cancellation".to_owned() },
            What::Punished { .. } => What::Other { name: "wxa_punish_event".to_owned() },
        };
        Self { what, ..self }
    }
}

fn created_at(document: &Node) -> Option<DateTime<Utc>> {
    let seconds = document.text("CreateTime").and_then(|text| text.parse().ok());
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}

fn name(document: &Node) -> Option<String> {
    document.text("Event").or_else(|| document.text("MsgType"))
}

fn what(document: &Node) -> What {
    let name = name(document).unwrap_or_default();
    let from = || document.text("FromUserName").and_then(|text| OpenId::parse(&text).ok());
    let items = || document.all("List");
    let answers = || items().into_iter().filter_map(answered).collect();
    let read = match name.as_str() {
        "subscribe_msg_popup_event" => from().map(|openid| What::Asked { openid, answers: answers() }),
        "subscribe_msg_change_event" => from().map(|openid| What::Changed { openid, answers: answers() }),
        "subscribe_msg_sent_event" => from().map(|openid| {
            let mut messages: Vec<Sent> = items().into_iter().filter_map(sent).collect();
            // Without both nothing tells its copies, which are signed anew, from another message's.
            let is_dated = created_at(document).is_some();
            messages.retain(|message| is_dated || message.msgid.is_some());
            What::Sent { openid, messages }
        }),
        // The sender is the platform here, and the person a field.
        "user_authorization_cancellation" => {
            let openid = document.text("OpenID").and_then(|text| OpenId::parse(&text).ok());
            openid.map(|openid| What::Left { openid })
        }
        "wxa_punish_event" => Some(What::Punished {
            kind: cut(&document.text("event_type").unwrap_or_default()),
            detail: cut(&document.text("detail").unwrap_or_default()),
        }),
        _ => None,
    };
    read.unwrap_or_else(|| What::Other { name: cut(&name) })
}

fn answered(item: &Node) -> Option<Answered> {
    let template = TemplateId::parse(&item.text("TemplateId")?).ok()?;
    Some(Answered { template, status: item.text("SubscribeStatusString")? })
}

fn sent(item: &Node) -> Option<Sent> {
    let template = TemplateId::parse(&item.text("TemplateId")?).ok()?;
    // Some say `MsgID`, some `MsgId`, and some neither.
    let msgid = ["MsgID", "MsgId"].iter().find_map(|name| item.text(name)?.trim().parse().ok());
    let code = item.text("ErrorCode").filter(|text| !text.trim().is_empty());
    let status = item.text("ErrorStatus").filter(|text| !text.trim().is_empty());
    let errcode = match (code.as_ref().and_then(|text| text.trim().parse().ok()), status) {
        (Some(errcode), _) => errcode,
        (None, Some(status)) if status.trim().eq_ignore_ascii_case("success") => 0,
        (None, None) if code.is_none() => return None,
        (None, _) => -1,
    };
    Some(Sent { template, msgid: msgid.filter(|msgid| is_msgid(*msgid)), errcode })
}

/// A text of the platform for the log and for people: short, in one line.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
