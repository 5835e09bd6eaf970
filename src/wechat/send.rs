//! One message, one request, one reply.
//!
//! A send never leaves without an access token: [`Ready`] is the proof, and only the token cache makes
//! one. The only repeat here is the one after the platform refused the token, which is definite: it did
//! nothing. Everything else is for the caller to try again, or not.

use std::pin::{Pin, pin};

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::domain::message::{Message, Reply, is_msgid};

use super::Client;
use super::answer::{self, Loose, Said};
use super::errcode;
use super::http::{Body, NoAnswer};
use super::token::{Ready, Refusal, Token};

/// What became of one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// For decisions.
    pub reply: Reply,
    /// The platform's code, where it gave one.
    pub errcode: Option<i64>,
    /// For people: the platform's text, or why there is none; without token, secret, openid and values.
    pub errmsg: Option<String>,
    /// The platform's number of the request, for its support.
    pub rid: Option<String>,
}

impl Sent {
    fn without_answer(reply: Reply, why: String) -> Self {
        Self { reply, errcode: None, errmsg: Some(why), rid: None }
    }
}

/// How far a send has come; tells what a time limit that strikes means.
enum Stage {
    /// Waiting for a token.
    NoToken,
    /// The request may have left.
    UnderWay,
    /// The platform refused the token of the first request, and a new one is awaited.
    Refused { errcode: i64 },
}

impl Stage {
    fn out_of_time(self) -> Sent {
        match self {
            Self::NoToken => Sent::without_answer(Reply::NoToken, "no access token in time".to_owned()),
            Self::UnderWay => Sent::without_answer(Reply::Unanswered, "no answer in time".to_owned()),
            Self::Refused { errcode } => Sent {
                errcode: Some(errcode),
                ..Sent::without_answer(
                    Reply::TokenRefused { errcode },
                    "access token refused, no new one in time".to_owned(),
                )
            },
        }
    }
}

impl Client {
    /// An access token to send under, fetched if there is none.
    ///
    /// For callers that write down an attempt before it starts: ask first, so that nothing is written
    /// for a send that cannot leave. Calls at the same time share one fetch; a caller that goes away
    /// harms nobody. A `Ready` may wait: [`Client::send_unless`] repeats once when its token died.
    /// After a token was refused for good, one `Ready` at a time is given out until a send proves that
    /// the new one works. It takes at most as long as one call.
    ///
    /// # Errors
    /// [`Reply::NoToken`] or [`Reply::TokenRefused`], at once while a pause lasts; [`Client::token_state`]
    /// says why and how long.
    pub async fn ready(&self) -> Result<Ready, Reply> {
        let limit = self.0.http.times().call;
        timeout(limit, self.0.tokens.ready()).await.unwrap_or(Err(Reply::NoToken))
    }

    /// Sends one message: under `ready`, a token that is at hand, or an access token first.
    ///
    /// At most [`CALL_TIMEOUT`](super::CALL_TIMEOUT) in all. Once `unless` has resolved no request starts, nor
    /// the repeat under a new token: `None` when there was none at all. A request under way goes on to its
    /// answer. Where a request waited for a token, `stands` is asked right before it starts, and lets it or not.
    /// The platform has no idempotency key: calling again is a second message, unless the reply says
    /// that nothing was sent.
    pub async fn send_unless(
        &self,
        (unless, stands): (impl Future<Output = ()>, impl Fn() -> bool),
        ready: Option<Ready>,
        message: &Message,
    ) -> Option<Sent> {
        let mut stage = Stage::NoToken;
        let unless = pin!(unless);
        let attempt = self.attempt((unless, stands), ready, message, &mut stage);
        match timeout(self.0.http.times().call, attempt).await {
            Ok(sent) => sent,
            Err(_elapsed) => Some(stage.out_of_time()),
        }
    }

    async fn attempt(
        &self,
        (mut unless, stands): (Pin<&mut impl Future<Output = ()>>, impl Fn() -> bool),
        at_hand: Option<Ready>,
        message: &Message,
        stage: &mut Stage,
    ) -> Option<Sent> {
        let waits = at_hand.is_none();
        let first = async {
            match at_hand {
                Some(ready) => Ok(ready),
                None => self.0.tokens.ready().await,
            }
        };
        let ready = tokio::select! {
            biased;
            () = unless.as_mut() => return None,
            ready = first => ready,
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(reply) => return Some(Sent::without_answer(reply, self.0.tokens.state().to_string())),
        };
        if waits && !stands() {
            return None;
        }
        let (sent, refusal) = self.request(&ready, message, stage).await;
        let Some((errcode, Refusal::Repeat)) = refusal else { return Some(sent) };
        *stage = Stage::Refused { errcode };
        let again = tokio::select! {
            biased;
            () = unless => return Some(sent),
            ready = self.0.tokens.ready() => ready,
        };
        Some(match again {
            // The second refusal stands: a loop here would be a storm of tokens.
            Ok(ready) if stands() => self.request(&ready, message, stage).await.0,
            Ok(_not_any_more) => sent,
            Err(_no_token) => sent,
        })
    }

    /// One request; with the reply, what the cache says about a refused token.
    async fn request(
        &self,
        ready: &Ready,
        message: &Message,
        stage: &mut Stage,
    ) -> (Sent, Option<(i64, Refusal)>) {
        let token = ready.token();
        *stage = Stage::UnderWay;
        let answered = self.0.http.send(token.send_url(), self.body(message)).await;
        let sent = match answered {
            Ok(body) => self.read(token, message, &body),
            Err(NoAnswer::NotConnected(why)) => Sent::without_answer(Reply::NotConnected, why),
            Err(NoAnswer::Unanswered(why)) => Sent::without_answer(Reply::Unanswered, why),
        };
        let refusal = match sent.reply {
            Reply::TokenRefused { errcode } => Some((errcode, self.0.tokens.refuse(token, errcode))),
            // The platform looked at the message, so it took the token.
            Reply::Accepted { .. }
            | Reply::NoConsent
            | Reply::Concurrent
            | Reply::RecipientBad { .. }
            | Reply::MessageBad { .. }
            | Reply::TemplateBad { .. } => {
                self.0.tokens.confirm(token);
                None
            }
            // These may come from a gate before the token is looked at.
            Reply::Busy
            | Reply::RateLimited { .. }
            | Reply::QuotaUsedUp
            | Reply::AppBad { .. }
            | Reply::UnknownCode { .. }
            | Reply::NoToken
            | Reply::NotConnected
            | Reply::Unanswered => None,
        };
        (sent, refusal)
    }

    /// A complete body with an errcode is definite, whatever the status and type it came with.
    fn read(&self, token: &Token, message: &Message, body: &Body) -> Sent {
        let mut repaired = String::new();
        let answer = answer::parse::<SendAnswer>(body, &mut repaired);
        let Some((errcode, answer)) =
            answer.and_then(|answer| Some((answer.errcode.integer::<i64>()?, answer)))
        else {
            return Sent::without_answer(Reply::Unanswered, "the answer has no errcode".to_owned());
        };
        if errcode == 0 {
            let msgid = answer.msgid.integer::<u64>().filter(|msgid| is_msgid(*msgid));
            return Sent { reply: Reply::Accepted { msgid }, errcode: Some(0), errmsg: None, rid: None };
        }
        let hidden = [token.expose_secret(), self.0.http.secret(), message.to.as_str()];
        let values = message.data.iter().map(|(_key, value)| value.as_str());
        // Before cleaning: a value may look like the name of its field.
        let reply = errcode::reply(errcode, answer.errmsg.as_text(), None);
        let Said { errmsg, rid } = answer::said(answer.errmsg, hidden.into_iter().chain(values));
        Sent { reply, errcode: Some(errcode), errmsg, rid }
    }

    /// The JSON of a send: raw UTF-8, because the platform refuses escaped text (47002), and always with
    /// the two fields that its page has called both optional and required.
    fn body(&self, message: &Message) -> Vec<u8> {
        let shape = SendShape {
            touser: message.to.as_str(),
            template_id: message.template.as_str(),
            page: message.page.as_deref(),
            miniprogram_state: &self.0.state,
            lang: &self.0.lang,
            data: Data(&message.data),
        };
        serde_json::to_vec(&shape).expect("texts and maps with text keys are always JSON")
    }
}

#[derive(Serialize)]
struct SendShape<'a> {
    touser: &'a str,
    template_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
    miniprogram_state: &'a str,
    lang: &'a str,
    data: Data<'a>,
}

/// Field key to `{"value": …}`, in the message's order.
struct Data<'a>(&'a [(String, String)]);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &Field { value })?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Field<'a> {
    value: &'a str,
}

#[derive(Deserialize)]
struct SendAnswer {
    #[serde(default)]
    errcode: Loose,
    #[serde(default)]
    errmsg: Loose,
    /// Missing from the official table, observed as a number beyond 2^53 and as text.
    #[serde(default)]
    msgid: Loose,
}
