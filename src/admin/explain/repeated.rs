//! What is told of a message without an answer whose rule says `on_doubt: resend`: when it is sent again, what became of
//! that, or why it was not.

use super::outcome::{Told, settled};
use super::stopped::stopped;
use super::telling::moment;
use crate::admin::answer::Failure;
use crate::admin::desk::Desk;
use crate::domain::consent::Account;
use crate::domain::delivery::State;
use crate::domain::id::DeliveryId;
use crate::domain::language::Said;
use crate::domain::occurrence::{Repetition, SkipReason};
use crate::domain::rule::OnDoubt;
use crate::plan::repeat::MAX_MESSAGES;
use crate::store::{Delivery, Occurrence};

/// Occurrences read at once.
const PAGE: usize = 256;

impl Desk {
    /// The repetitions of one delivery, the first one first.
    pub(in crate::admin) fn repetitions(
        &self,
        of: &Occurrence,
        first: DeliveryId,
    ) -> Result<Vec<(Occurrence, Delivery)>, Failure> {
        let mut found = Vec::new();
        if of.on_doubt == OnDoubt::Hold {
            return Ok(found);
        }
        let (mut last, mut after) = (first, of.number);
        loop {
            let page = self.store().occurrences(Some(&of.rule), Some(after), PAGE)?;
            let Some(newest) = page.last().map(|occurrence| occurrence.number) else { return Ok(found) };
            for occurrence in page {
                // Nothing is repeated after its deadline.
                if occurrence.is_of_plan() && occurrence.due_at > of.deadline {
                    return Ok(found);
                }
                let is_next = occurrence.repeats.is_some_and(|Repetition { of, nth: _ }| of == last);
                let id = DeliveryId { occurrence: occurrence.number, chunk: 0, slot: 0 };
                if is_next && let Some(delivery) = self.store().delivery(id)? {
                    last = id;
                    found.push((occurrence, delivery));
                }
            }
            after = newest;
        }
    }

    /// What became of a delivery with all its repetitions; each is a step of its own.
    pub(super) fn with_repetitions(
        &self,
        of: &Occurrence,
        first: &Delivery,
        told: Told,
        account: Option<&Account>,
        steps: &mut Vec<Said>,
    ) -> Result<Told, Failure> {
        let repetitions = self.repetitions(of, first.id)?;
        let mut told = told;
        for (occurrence, delivery) in &repetitions {
            let id = delivery.id;
            steps.push(Said::new(
                format!(
                    "The rule says `on_doubt: resend`, so it was sent again with another consent, as {id}."
                ),
                format!("规则写着 on_doubt: resend，所以另用一次授权重发了一次，编号 {id}。"),
            ));
            let became = settled(occurrence, delivery, Some(occurrence.deadline), account);
            let became = stopped(became, occurrence, delivery, &self.stops_of(occurrence)?, self.now());
            steps.push(became.why.clone());
            if delivery.state == State::Sent {
                let why = Said::new(
                    format!("Its first message had no answer; it was sent again. {}", became.why.en),
                    format!("第一条没有得到答复，已重发。{}", became.why.zh),
                );
                told = Told { why, ..became };
            }
        }
        let (of, last) = repetitions.last().map_or((of, first), |(of, last)| (of, last));
        if let Some(again) = again(of, last) {
            steps.push(again);
            if last.next_at.is_some() {
                steps.extend(self.stops_of(of)?.into_iter().map(|stop| stop.why));
            }
        }
        Ok(told)
    }
}

/// Whether and when one in doubt is sent again, or why not; `None` where the rule does not want it, or it is not in doubt.
pub(in crate::admin) fn again(of: &Occurrence, delivery: &Delivery) -> Option<Said> {
    if of.on_doubt == OnDoubt::Hold || delivery.state != State::InDoubt {
        return None;
    }
    if let Some(at) = delivery.next_at {
        let at = moment(at, of.zone);
        return Some(Said::new(
            format!("It is sent again at {at}, if there is another consent (`on_doubt: resend`)."),
            format!("如果还有授权，将在 {at} 重发（on_doubt: resend）。"),
        ));
    }
    let why = match delivery.skipped {
        Some(SkipReason::NoConsent | SkipReason::Refused) => {
            Said::new("there was no second consent", "没有第二次授权")
        }
        Some(SkipReason::Muted) => Said::new("this person was muted by then", "该用户当时已静音"),
        Some(SkipReason::Quiet) => Said::new("it was in quiet hours", "当时在免打扰时段"),
        Some(SkipReason::BadRecipient) => {
            Said::new("WeChat does not know this openid", "微信不认识这个 openid")
        }
        Some(SkipReason::Overflow | SkipReason::MissingField) => {
            Said::new("its text did not fit this person any more", "内容已不适合该用户")
        }
        None if of.nth() >= MAX_MESSAGES => Said::new(
            format!("{MAX_MESSAGES} messages were sent to this person already"),
            format!("已经给该用户发过 {MAX_MESSAGES} 次"),
        ),
        None => Said::new(
            "its time was over, its rule or person was gone, or it is from before a restore",
            "时间已过，规则或用户已不在，或者是恢复之前的",
        ),
    };
    Some(Said::new(format!("It was not sent again: {}.", why.en), format!("没有重发：{}。", why.zh)))
}
