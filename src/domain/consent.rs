//! The consent account of one (app, recipient, template): grants, marks, suspicion.
//!
//! Pure transitions; the store's writer applies them. Where the grants that were given out are is
//! known to the chunks that hold them, so an account counts only what it holds itself.

use chrono::{DateTime, Utc};

use super::id::DeliveryId;

/// The most a report brings available + reserved + in doubt to; what is released always counts.
pub const MAX_HELD: u64 = 100;

/// One acceptance: the right to one message of one template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When the person accepted: arrival of the report minus its age.
    pub accepted_at: DateTime<Utc>,
    /// Who said so.
    pub source: Source,
    /// Hash of the appointment it is bound to.
    pub bound: Option<u64>,
}

/// Who reported an acceptance; the evidence behind a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The mini program, under a session of the person.
    Session,
    /// A backend, under its key.
    Backend,
    /// The platform's popup event.
    Event,
    /// An operator, by hand.
    Operator,
    /// An operator, from a file.
    Import,
}

/// The books of one (app, recipient, template).
///
/// `granted = free + given out (reserved, in doubt, consumed unfolded) + consumed + voided`, always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All acceptances ever booked.
    pub granted: u64,
    /// Acceptances that ended without a message.
    pub voided: u64,
    /// Consumed ones that are no longer in `out`.
    pub consumed: u64,
    /// Largest time of a refusal in the settings, to the end of its second.
    pub refused_until: Option<DateTime<Utc>>,
    /// Start of the second 43101 of a suspicion.
    pub denied_until: Option<DateTime<Utc>>,
    /// A 43101 came, and no ok reply since.
    pub suspect: bool,
    /// A long-term acceptance that stands, and since when.
    pub standing: Option<DateTime<Utc>>,
    /// The last status that granted nothing, for people: when.
    pub rejected_at: Option<DateTime<Utc>>,
    /// Grants at hand, oldest first.
    pub free: Vec<Grant>,
    /// Where the grants given out are, oldest first.
    pub out: Vec<DeliveryId>,
}

/// Why an acceptance granted nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGranted {
    /// [`MAX_HELD`] are there already.
    Full,
    /// A refusal or denial came after the acceptance.
    RefusedSince,
}

/// Why an account gives no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoGrant {
    /// None left, and the person did not refuse.
    None,
    /// None left, and a refusal is the last that was heard.
    Refused,
}

impl Account {
    /// Whether `grant` is worth nothing any more: accepted at or before one of the marks.
    #[must_use]
    pub fn is_dead(&self, accepted_at: DateTime<Utc>) -> bool {
        self.refused_until.max(self.denied_until).is_some_and(|mark| accepted_at <= mark)
    }

    /// Books one one-time acceptance.
    ///
    /// `n_open_out` is how many grants given out are reserved or in doubt.
    ///
    /// # Errors
    /// [`NotGranted`]: nothing was booked.
    pub fn accept(&mut self, grant: Grant, n_open_out: u64) -> Result<(), NotGranted> {
        if self.is_dead(grant.accepted_at) {
            return Err(NotGranted::RefusedSince);
        }
        if self.free.len() as u64 + n_open_out >= MAX_HELD {
            return Err(NotGranted::Full);
        }
        self.granted += 1;
        self.rejected_at = self.rejected_at.filter(|at| *at > grant.accepted_at);
        self.put_back(grant);
        Ok(())
    }

    /// Books a long-term acceptance. A second one changes nothing but its time.
    ///
    /// # Errors
    /// [`NotGranted::RefusedSince`]: nothing was booked.
    pub fn accept_standing(&mut self, accepted_at: DateTime<Utc>) -> Result<(), NotGranted> {
        if self.is_dead(accepted_at) {
            return Err(NotGranted::RefusedSince);
        }
        if self.standing.is_none() {
            self.granted += 1;
        }
        self.standing = self.standing.max(Some(accepted_at));
        self.rejected_at = self.rejected_at.filter(|at| *at > accepted_at);
        Ok(())
    }

    /// Notes a `reject`. A one-time one keeps the balance; `end_standing` ends a long-term acceptance from before it.
    pub fn reject(&mut self, at: DateTime<Utc>) {
        self.rejected_at = self.rejected_at.max(Some(at));
        if self.standing.is_some_and(|since| since <= at) {
            self.standing = None;
            self.voided += 1;
        }
    }

    /// Takes the oldest grant for `delivery`; one bound to `bound` goes first, one bound elsewhere last.
    ///
    /// # Errors
    /// [`NoGrant`]: nothing was taken.
    pub fn take(&mut self, delivery: DeliveryId, bound: Option<u64>) -> Result<Grant, NoGrant> {
        let rank = |grant: &Grant| match grant.bound {
            Some(_) if grant.bound == bound => 0,
            None => 1,
            Some(_) => 2,
        };
        let Some(index) = (0..self.free.len()).min_by_key(|&i| (rank(&self.free[i]), i)) else {
            return Err(self.why_none());
        };
        self.out.push(delivery);
        Ok(self.free.remove(index))
    }

    /// Why an account without a grant has none.
    #[must_use]
    pub fn why_none(&self) -> NoGrant {
        let refused = self.rejected_at.is_some() || self.refused_until.is_some();
        if refused { NoGrant::Refused } else { NoGrant::None }
    }

    /// Books back a grant whose message never left. A dead one is voided.
    pub fn release(&mut self, delivery: DeliveryId, grant: Grant) {
        self.out.retain(|out| *out != delivery);
        if self.is_dead(grant.accepted_at) {
            self.voided += 1;
        } else {
            self.put_back(grant);
        }
    }

    /// Books the grant of `delivery` as worth nothing.
    pub fn void(&mut self, delivery: DeliveryId) {
        self.out.retain(|out| *out != delivery);
        self.voided += 1;
    }

    /// Moves a settled delivery's grant out of `out` into `consumed`.
    pub fn fold(&mut self, delivery: DeliveryId) {
        if let Some(index) = self.out.iter().position(|out| *out == delivery) {
            self.out.remove(index);
            self.consumed += 1;
        }
    }

    /// The platform answered 43101 to an attempt that began at `started_at`.
    ///
    /// The first makes the account suspect; the next while it is suspect voids all that was accepted until then.
    pub fn denied(&mut self, started_at: DateTime<Utc>) {
        if self.suspect {
            self.denied_until = self.denied_until.max(Some(started_at));
            self.bury();
        }
        self.suspect = true;
    }

    /// The platform took a message: what it denied before was a mistake.
    pub fn confirmed(&mut self) {
        self.suspect = false;
    }

    /// The person refused in the settings, in the second that ends at `until`.
    pub fn refused(&mut self, until: DateTime<Utc>) {
        self.refused_until = self.refused_until.max(Some(until));
        self.bury();
    }

    /// How many messages could be sent now.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free.len() as u64 + u64::from(self.standing.is_some())
    }

    /// Voids what the marks made worthless.
    fn bury(&mut self) {
        let before = self.free.len();
        let mark = self.refused_until.max(self.denied_until);
        self.free.retain(|grant| Some(grant.accepted_at) > mark);
        self.voided += (before - self.free.len()) as u64;
        if self.standing.is_some() && self.standing <= mark {
            self.standing = None;
            self.voided += 1;
        }
    }

    fn put_back(&mut self, grant: Grant) {
        let index = self.free.partition_point(|free| free.accepted_at <= grant.accepted_at);
        self.free.insert(index, grant);
    }
}
