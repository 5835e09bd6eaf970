//! What a walk hands to a sender, and what a sender is told and tells beside it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::appointment::About;
use crate::domain::delivery::Past;
use crate::domain::id::{DeliveryId, RuleId};
use crate::domain::message::Message;
use crate::domain::rejection::Wording;
use crate::domain::template::TemplateKind;
use crate::flow::bell::Bell;
use crate::flow::brake::Brake;
use crate::flow::pause::Pauses;
use crate::plan::canary::Trial;
use crate::plan::turn::Span;

/// What a walk hands over.
#[derive(Debug)]
pub enum Feed {
    /// Deliveries of an occurrence that have a grant, and whether one of them goes first.
    Items(u64, Vec<Item>, Trial),
    /// An occurrence that was stopped: what is not attempting ends.
    Cancel(u64),
    /// An occurrence that was held and is walked again.
    GoesOn(u64),
    /// An occurrence that was stopped and has nothing open any more.
    Over(u64),
}

/// Whom a sender asks, and whom it tells.
#[derive(Clone, Debug)]
pub struct Signals {
    /// What does not send.
    pub brake: Brake,
    /// Why the app does not send.
    pub told: Pauses,
    /// Rung when an occurrence is held.
    pub opened: Bell,
}

/// A delivery in memory.
#[derive(Debug)]
pub struct Item {
    /// Its name.
    pub id: DeliveryId,
    /// Its rule.
    pub rule: RuleId,
    /// As the rule was when its occurrence opened.
    pub wording: Wording,
    /// Keys of the rule's values that take something from recipient or appointment.
    pub personal: Arc<BTreeSet<String>>,
    /// What is sent, rendered and checked.
    pub message: Message,
    /// Whether a grant or a standing acceptance carries it.
    pub kind: TemplateKind,
    /// Last instant at which its request may start.
    pub deadline: DateTime<Utc>,
    /// Where quiet hours begin after that: when it may leave behind them.
    pub after_night: Option<Span>,
    /// Attempts that began.
    pub attempts: u32,
    /// How many of them were answered −1.
    pub n_busy: u32,
    /// What it remembers of them.
    pub past: Past,
    /// Not before this, for a waiting one.
    pub at: Option<DateTime<Utc>>,
    /// Whether it waits for the sake of its app, and not for a time of its own.
    pub for_app: bool,
    /// What it reminds of: asked right before its request whether that still calls for it.
    pub about: Option<About>,
    /// Its place in memory; given back when it leaves.
    pub seat: Option<OwnedSemaphorePermit>,
}

impl Item {
    /// Where quiet hours have begun and it may leave behind them, takes that time over and says when it begins.
    pub(super) fn after_night(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Span { at, deadline } = self.after_night.take_if(|_| now > self.deadline)?;
        self.deadline = deadline;
        self.for_app = false;
        Some(at)
    }
}
