//! Deliveries in doubt, one looked at closely, and all of a rule settled at once.
//!
//! What the platform said is not kept: what is in doubt has no definite answer by what it is.

use serde_json::json;

use super::answer::{Exit, Failure, Lines};
use super::desk::{Desk, rule_id};
use super::explain::repeated;
use super::instant::utc;
use super::request::DoubtVerdict;
use super::who::{self, Reveal};
use crate::domain::count::n_of;
use crate::domain::delivery::{Past, State};
use crate::domain::id::{BadId, DeliveryId};
use crate::domain::language::{Language, Said};
use crate::flow::housekeeping::DOUBT_AGE;
use crate::store::DoubtWord;

/// Settlements that are queued before they are waited for.
const TOGETHER: usize = 64;

impl Desk {
    pub(super) async fn doubt_show(
        &self,
        id: &str,
        reveal: Reveal,
        language: Language,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let refused = |said: Said| Failure::data(said.to(language));
        let id = DeliveryId::parse(id).map_err(|bad| {
            let (id, BadId { what, allowed }) = (who::short(id), bad.clone());
            refused(Said::new(
                format!("`{id}`: {bad}"),
                format!("`{id}`：不是{}，应为{}", what.zh, allowed.zh),
            ))
        })?;
        let Some(delivery) = self.store().delivery(id)? else {
            return Err(refused(Said::new(format!("there is no delivery {id}"), format!("没有投递 {id}"))));
        };
        let of = self.store().occurrence(id.occurrence)?;
        self.synced().await?;
        if delivery.state != State::InDoubt {
            let state = delivery.state.as_str();
            return Err(refused(Said::new(
                format!("delivery {id} is not in doubt, it is {state}"),
                format!("投递 {id} 并未存疑，状态是 {state}"),
            )));
        }
        let shown = self.shown(reveal, None).await?;
        let why = match (delivery.past, delivery.first_started_at) {
            (Past::Busy, _) => Said::new(
                "WeChat answered -1, which it may have processed, and nothing definite after that",
                "微信答复 -1，可能已经处理，之后没有确定的答复",
            ),
            (Past::Untried | Past::Tried, Some(_)) => {
                Said::new("its request left, and no definite answer came", "请求已经发出，没有得到确定的答复")
            }
            (Past::Untried | Past::Tried, None) => Said::new(
                "nobody knows whether it was sent, and no request of it is in the books: they were restored or are older than what \
                 was done, or a crash came at the moment of the request",
                "不知道有没有发出，账本里没有它的请求：账本是恢复的或者比实际旧，或者程序正好在请求时崩溃",
            ),
        };
        let presumed = delivery.settled_at.and_then(|since| since.checked_add_signed(DOUBT_AGE));
        let (repeats, again) = match &of {
            Some(of) => (of.repeats.map(|repeats| repeats.of.to_string()), repeated::again(of, &delivery)),
            None => (None, None),
        };
        let repeated_as = match &of {
            Some(of) => self.repetitions(of, id)?.first().map(|(_, repetition)| repetition.id.to_string()),
            None => None,
        };
        // Where it was repeated, that says it.
        let again = again.filter(|_| repeated_as.is_none()).map(|said| said.to(language).to_owned());
        let cure = Said::new(
            format!(
                "ask the person, or the template's figures of WeChat; then `tixing doubt settle {id} --as sent`, or `--as failed` where nothing left"
            ),
            format!(
                "问问本人，或查看微信后台该模板的数据；然后 `tixing doubt settle {id} --as sent`，确实没发出就用 `--as failed`"
            ),
        );
        let row = json!({
            "id": id.to_string(),
            "rule": of.as_ref().map(|of| of.rule.as_str()),
            "due_at": of.as_ref().map(|of| utc(of.due_at)),
            "openid": shown.openid(&delivery.openid),
            "template": of.as_ref().map(|of| of.template.as_str()),
            "state": delivery.state.as_str(),
            "attempts": delivery.attempts,
            // Of one that was marked nobody knows whether it started.
            "first_started_at": delivery.first_started_at.map(utc),
            "since": delivery.settled_at.map(utc),
            "why": why.to(language),
            "repeats": repeats,
            "repeated_as": repeated_as,
            "again_at": delivery.next_at.map(utc),
            "again": again,
            "presumed_at": presumed.map(utc),
            "cure": cure.to(language),
        });
        lines.row(&row).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn doubt_settle_rule(
        &self,
        rule: &str,
        verdict: DoubtVerdict,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let rule = rule_id(rule)?;
        self.heard_of(&rule)?;
        let (word, state) = match verdict {
            DoubtVerdict::Sent => (DoubtWord::Sent, State::Sent),
            DoubtVerdict::Failed => (DoubtWord::Failed, State::Failed),
        };
        let mut ids = Vec::new();
        let mut of: Option<(u64, bool)> = None;
        for delivery in self.store().doubts(usize::MAX)? {
            let number = delivery.id.occurrence;
            let known = of.filter(|(known, _)| *known == number);
            let is_its = match known {
                Some((_, is_its)) => is_its,
                None => self.store().occurrence(number)?.is_some_and(|found| found.rule == rule),
            };
            of = Some((number, is_its));
            if is_its {
                ids.push(delivery.id);
            }
        }
        let mut n = 0;
        for ids in ids.chunks(TOGETHER) {
            let now = self.now();
            let queued: Vec<_> = ids.iter().map(|id| self.store().settle_doubt(*id, word, now)).collect();
            for settled in queued {
                n += u64::from(settled.await?.value);
            }
            self.synced().await?;
        }
        let state = state.as_str();
        tracing::info!(rule.id = %rule, "{n} deliveries of rule {rule} in doubt settled by an operator as {state}");
        lines.row(&json!({ "rule": rule.as_str(), "state": state, "n": n })).await?;
        if n < n_of(ids.len()) {
            lines.note("some were settled by somebody else meanwhile").await?;
        }
        Ok(Exit::Done)
    }
}
