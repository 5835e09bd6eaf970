//! A rule made ready for the walk of one occurrence: whom it selects, when each has his turn, and what he is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::appointment::{About, Appointment};
use crate::domain::delivery::Past;
use crate::domain::id::{DeliveryId, OpenId};
use crate::domain::message::Message;
use crate::domain::occurrence::{Due, SkipReason, Whose};
use crate::domain::recipient::Recipient;
use crate::domain::rejection::Wording;
use crate::domain::rule::Rule;
use crate::domain::when::{Form, IfLate};
use crate::domain::zone::Zone;
use crate::flow::dispatch::Item;
use crate::plan::audience::Selector;
use crate::plan::canary::Trial;
use crate::plan::own_time;
use crate::plan::render::{Compiled, Input, Shown};
use crate::plan::retry;
use crate::plan::turn::{self, Person, Turn};
use crate::store::{Delivery, KeptAppointment, Occurrence};

/// The rule of an occurrence, ready for use.
pub(in crate::flow) struct Ready {
    pub(super) rule: Rule,
    /// The zone of who has none, by a rule of the recipients' own time.
    pub(super) default: Zone,
    pub(super) compiled: Compiled,
    /// Keys of values that take something from recipient or appointment.
    pub(in crate::flow) personal: Arc<BTreeSet<String>>,
    pub(super) selector: Selector,
    /// What the occurrence reminds of, as it was when it was read.
    pub(super) appointment: Option<(About, KeptAppointment, Appointment)>,
    /// What is booked of who gets a message.
    pub(super) booking: Booking,
}

impl Ready {
    /// Whether one message of the occurrence goes first; its audience where it is known.
    pub(in crate::flow) fn trial(&self, occurrence: &Occurrence, audience: Option<u64>) -> Trial {
        Trial::of(self.rule.canary, audience, &occurrence.counts)
    }

    /// Whether the occurrence's civil time is one of his clock, and what it reminds of was his by then where the rule does not
    /// want who comes late.
    pub(super) fn is_his_time(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        recipient: &Recipient,
    ) -> bool {
        match occurrence.whose {
            Whose::Everybody => self.wants_late() || !self.came_late(occurrence, openid, recipient),
            Whose::Default | Whose::OfZone => {
                recipient.zone_on(occurrence.civil.date(), self.default) == occurrence.zone
            }
        }
    }

    fn wants_late(&self) -> bool {
        match &self.rule.when.form {
            Form::Relative(relative) => relative.late == IfLate::Send,
            Form::Cron(_) | Form::At(_) | Form::Every(_) => true,
        }
    }

    /// Whether it belongs to him only since after his own due time, where that is another than that of the others.
    fn came_late(&self, occurrence: &Occurrence, openid: &OpenId, recipient: &Recipient) -> bool {
        let joined = self.appointment.as_ref().and_then(|(_, kept, _)| kept.joined.get(openid));
        let own = self.own_due(occurrence, recipient);
        own.is_some_and(|(due, _)| joined.is_some_and(|joined| joined.at > due.at))
    }

    /// Whether what the occurrence reminds of is there as it was; so is what reminds of nothing.
    pub(in crate::flow) fn has_its_subject(&self, occurrence: &Occurrence) -> bool {
        occurrence.about.is_none() || self.appointment.is_some()
    }

    /// Whether what it reminds of belongs to him; so does what reminds of nothing.
    pub(in crate::flow) fn is_about_him(&self, openid: &OpenId) -> bool {
        self.appointment.as_ref().is_none_or(|(about, kept, _)| kept.is_for(about, openid))
    }

    pub(in crate::flow) fn turn(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        recipient: &Recipient,
        now: DateTime<Utc>,
    ) -> Result<Turn, SkipReason> {
        if occurrence.is_by_hand() {
            // An operator says when: now, whatever the rule spreads or keeps for the morning.
            let (at, deadline) = (occurrence.due_at, occurrence.deadline);
            return Ok(Turn { at, deadline, after_night: None, moved: false });
        }
        let person = Person::new(&self.rule, openid, &recipient.profile);
        let mut end = occurrence.deadline;
        let mut due_at = occurrence.due_at;
        if let Some((due, _)) = self.own_due(occurrence, recipient) {
            due_at = due.at;
            if !self.came_late(occurrence, openid, recipient) {
                // That of the occurrence is for the last of several clocks.
                end = end.min(turn::end(&self.rule, due_at));
            }
        }
        turn::turn(&self.rule, person, due_at, end, now)
    }

    /// When a reminder of an appointment is due by a recipient's own clock, and which that is.
    fn own_due(&self, occurrence: &Occurrence, recipient: &Recipient) -> Option<(Due, Zone)> {
        if occurrence.is_by_hand() {
            return None;
        }
        match (&self.rule.when.form, &occurrence.about) {
            (Form::Relative(relative), Some(about)) if own_time::counts_days(&self.rule, relative) => {
                own_time::reminder(&self.rule, relative, Some(recipient), about.at)
            }
            (Form::Relative(_) | Form::Cron(_) | Form::At(_) | Form::Every(_), _) => None,
        }
    }

    /// The turn of what was held until `at`.
    pub(in crate::flow) fn turn_of_held(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        recipient: &Recipient,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Turn, SkipReason> {
        let person = Person::new(&self.rule, openid, &recipient.profile);
        turn::held(&self.rule, person, at, occurrence.deadline, now)
    }

    /// Since when what is held until `at` could be sent, where rules want one consent.
    pub(super) fn since(&self, openid: &OpenId, recipient: &Recipient, at: DateTime<Utc>) -> DateTime<Utc> {
        turn::since(&self.rule, Person::new(&self.rule, openid, &recipient.profile), at)
    }

    /// Whether anybody may be held for a later time.
    pub(super) fn holds(&self) -> bool {
        let by_own_days = match &self.rule.when.form {
            Form::Relative(relative) => own_time::counts_days(&self.rule, relative),
            Form::Cron(_) | Form::At(_) | Form::Every(_) => false,
        };
        self.rule.quiet.is_some() || !self.rule.spread.is_zero() || by_own_days
    }

    pub(in crate::flow) fn render(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        recipient: &Recipient,
    ) -> Result<Message, SkipReason> {
        let of_all = Due { at: occurrence.due_at, civil: occurrence.civil, fold: occurrence.fold };
        let (due, zone) = self.own_due(occurrence, recipient).unwrap_or((of_all, self.rule.zone));
        let profile = &recipient.profile;
        let about = self.appointment.as_ref();
        let appointment = about.map(|(about, _, appointment)| Shown { id: &about.id, appointment });
        self.compiled.render(&Input { openid, profile, due: &due, appointment, zone })
    }
}

impl Ready {
    /// One that has its grant, taken up again.
    pub(super) fn again(
        &self,
        delivery: &Delivery,
        message: Message,
        turn: Turn,
        now: DateTime<Utc>,
    ) -> Prepared {
        // Reserved before the night, it keeps its grant over it.
        let after_night = Some(turn.at).filter(|at| turn.moved && *at > now);
        let waits_for_app = delivery.next_at.is_some_and(|at| retry::is_for_app(at, now));
        Prepared {
            id: delivery.id,
            message,
            personal: Arc::clone(&self.personal),
            turn,
            attempts: delivery.attempts,
            past: delivery.past,
            at: delivery.next_at.max(after_night),
            for_app: waits_for_app && after_night.is_none(),
        }
    }
}

/// What a walk books of those who get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booking {
    /// A grant each: it is sent.
    Sent,
    /// A grant each, in doubt: it may have been sent since the books were written.
    Lost,
}

/// A delivery that has its grant and its message.
pub(in crate::flow) struct Prepared {
    pub(in crate::flow) id: DeliveryId,
    pub(in crate::flow) message: Message,
    pub(in crate::flow) personal: Arc<BTreeSet<String>>,
    pub(in crate::flow) turn: Turn,
    pub(in crate::flow) attempts: u32,
    pub(in crate::flow) past: Past,
    pub(in crate::flow) at: Option<DateTime<Utc>>,
    /// Whether that is for the sake of its app: it is over when the app goes on.
    pub(in crate::flow) for_app: bool,
}

impl Prepared {
    pub(in crate::flow) fn into_item(self, occurrence: &Occurrence) -> Item {
        Item {
            id: self.id,
            rule: occurrence.rule.clone(),
            wording: Wording::of_snapshot(&occurrence.snapshot),
            personal: self.personal,
            message: self.message,
            kind: occurrence.kind,
            deadline: self.turn.deadline,
            after_night: self.turn.after_night,
            attempts: self.attempts,
            // A restart forgets how many of them were answered −1: all of them count, so that none is one too many.
            n_busy: if self.past == Past::Busy { self.attempts } else { 0 },
            past: self.past,
            at: self.at,
            for_app: self.for_app,
            about: occurrence.about.clone(),
            seat: None,
        }
    }
}
