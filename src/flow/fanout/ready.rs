//! A rule made ready for the walk of one occurrence: whom it selects, when each has his turn, and what he is told.

use chrono::{DateTime, Utc};

use crate::domain::appointment::{About, Appointment};
use crate::domain::delivery::Past;
use crate::domain::id::{DeliveryId, OpenId};
use crate::domain::message::Message;
use crate::domain::occurrence::{Due, SkipReason, Whose};
use crate::domain::recipient::{Profile, Recipient};
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::flow::dispatch::Item;
use crate::plan::audience::Selector;
use crate::plan::render::{Compiled, Input, Shown};
use crate::plan::turn::{self, Person, Turn};
use crate::store::{KeptAppointment, Occurrence};

/// The rule of an occurrence, ready for use.
pub(in crate::flow) struct Ready {
    pub(super) rule: Rule,
    /// The zone of who has none, by a rule of the recipients' own time.
    pub(super) default: Zone,
    pub(super) compiled: Compiled,
    pub(super) selector: Selector,
    /// What the occurrence reminds of, as it was when it was read.
    pub(super) appointment: Option<(About, KeptAppointment, Appointment)>,
}

impl Ready {
    /// Whether the occurrence's civil time is one of his clock.
    pub(super) fn is_his_time(&self, occurrence: &Occurrence, recipient: &Recipient) -> bool {
        match occurrence.whose {
            Whose::Everybody => true,
            Whose::Default | Whose::OfZone => {
                recipient.zone_on(occurrence.civil.date(), self.default) == occurrence.zone
            }
        }
    }

    pub(super) fn turn(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        profile: &Profile,
        now: DateTime<Utc>,
    ) -> Result<Turn, SkipReason> {
        let person = Person::new(&self.rule, openid, profile);
        turn::turn(&self.rule, person, occurrence.due_at, occurrence.deadline, now)
    }

    /// The turn of what was held until `at`.
    pub(in crate::flow) fn turn_of_held(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        profile: &Profile,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Turn, SkipReason> {
        turn::held(&self.rule, Person::new(&self.rule, openid, profile), at, occurrence.deadline, now)
    }

    pub(in crate::flow) fn render(
        &self,
        occurrence: &Occurrence,
        openid: &OpenId,
        profile: &Profile,
    ) -> Result<Message, SkipReason> {
        let due = Due { at: occurrence.due_at, civil: occurrence.civil, fold: occurrence.fold };
        let about = self.appointment.as_ref();
        let appointment = about.map(|(about, _, appointment)| Shown { id: &about.id, appointment });
        self.compiled.render(&Input { openid, profile, due: &due, appointment })
    }
}

/// A delivery that has its grant and its message.
pub(in crate::flow) struct Prepared {
    pub(in crate::flow) id: DeliveryId,
    pub(in crate::flow) message: Message,
    pub(in crate::flow) turn: Turn,
    pub(in crate::flow) attempts: u32,
    pub(in crate::flow) past: Past,
    pub(in crate::flow) at: Option<DateTime<Utc>>,
}

impl Prepared {
    pub(in crate::flow) fn into_item(self, occurrence: &Occurrence) -> Item {
        Item {
            id: self.id,
            rule: occurrence.rule.clone(),
            message: self.message,
            kind: occurrence.kind,
            deadline: self.turn.deadline,
            after_night: self.turn.after_night,
            attempts: self.attempts,
            // A restart forgets how many of them were answered −1: all of them count, so that none is one too many.
            n_busy: if self.past == Past::Busy { self.attempts } else { 0 },
            past: self.past,
            at: self.at,
            about: occurrence.about.clone(),
            seat: None,
        }
    }
}
