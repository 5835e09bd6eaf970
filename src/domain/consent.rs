//! The consent account of one (app, recipient, template): grants, marks, suspicion.
//!
//! Pure transitions; the store's writer applies them. Where the grants that were given out are is
//! known to the chunks that hold them, so an account counts only what it holds itself.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::count::n_of;
use super::id::DeliveryId;
use super::template::TemplateKind;

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

/// What somebody answered for one template: a status of `wx.requestSubscribeMessage`, or of the platform's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// One message, or under a long-term template all of them.
    Accept(Manner),
    /// Not now; of a long-term template, not any more.
    Reject,
    /// The platform banned the template.
    Ban,
    /// The platform dropped it: another of the same call has its title.
    Filter,
}

impl Status {
    /// The status that `text` is; `None` for what the platform does not have today.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let manner = Manner::ALL.into_iter().find(|manner| manner.status() == text);
        match (manner, text) {
            (Some(manner), _) => Some(Self::Accept(manner)),
            (None, "reject") => Some(Self::Reject),
            (None, "ban") => Some(Self::Ban),
            (None, "filter") => Some(Self::Filter),
            (None, _) => None,
        }
    }
}

/// With what somebody accepted messages beside reading them. Each gives one grant, or the same standing acceptance.
///
/// The panel offers more than [`Manner::Plain`] for some long-term templates alone (official pages of the three, read
/// 2026-11-22); what the phone does then is the platform's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As they are.
    #[default]
    Plain,
    /// Read aloud (语音提醒).
    Audio,
    /// With an alert at its time (添加提醒).
    Alert,
    /// Pushed to the front (强提醒).
    ForcePush,
}

impl Manner {
    /// All of them, in their stored order, which is never changed.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Audio, Self::Alert, Self::ForcePush];

    /// The platform's status that says it.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Plain => "accept",
            Self::Audio => "acceptWithAudio",
            Self::Alert => "acceptWithAlert",
            Self::ForcePush => "acceptWithForcePush",
        }
    }

    /// The same, of what is more than plain.
    #[must_use]
    pub fn beyond_plain(self) -> Option<&'static str> {
        (self != Self::Plain).then_some(self.status())
    }
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
    /// How the person accepted, as the last report or event that granted said it.
    pub manner: Manner,
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

/// Which of these grants, oldest first, a message about the appointment `bound` takes: the oldest of its own, else the
/// oldest that waits for no other of the appointments in `kept`, which stand and are to come.
#[must_use]
pub fn pick(free: &[Grant], bound: Option<u64>, kept: &BTreeSet<u64>) -> Option<usize> {
    let own = |grant: &Grant| bound.is_some() && grant.bound == bound;
    let waits = |grant: &Grant| grant.bound.is_some_and(|of| kept.contains(&of));
    free.iter().position(own).or_else(|| free.iter().position(|grant| !waits(grant)))
}

impl Account {
    /// Whether `grant` is worth nothing any more: accepted at or before one of the marks.
    #[must_use]
    pub fn is_dead(&self, accepted_at: DateTime<Utc>) -> bool {
        self.refused_until.max(self.denied_until).is_some_and(|mark| accepted_at <= mark)
    }

    /// Whether what a delivery took from it is worth a message: a grant that is not dead, or a standing acceptance.
    #[must_use]
    pub fn covers(&self, kind: TemplateKind, accepted_at: Option<DateTime<Utc>>) -> bool {
        match (kind, accepted_at) {
            (TemplateKind::OneTime, Some(accepted_at)) => !self.is_dead(accepted_at),
            (TemplateKind::OneTime, None) => false,
            (TemplateKind::LongTerm, _) => self.standing.is_some(),
        }
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
        if n_of(self.free.len()) + n_open_out >= MAX_HELD {
            return Err(NotGranted::Full);
        }
        self.granted += 1;
        self.rejected_at = self.rejected_at.filter(|at| *at > grant.accepted_at);
        self.put_back(grant);
        Ok(())
    }

    /// Books a long-term acceptance. A second one changes nothing but its time; one from before a reject that is known
    /// already is over.
    ///
    /// # Errors
    /// [`NotGranted::RefusedSince`]: nothing was booked.
    pub fn accept_standing(&mut self, accepted_at: DateTime<Utc>) -> Result<(), NotGranted> {
        if self.is_dead(accepted_at) || self.rejected_at >= Some(accepted_at) {
            return Err(NotGranted::RefusedSince);
        }
        if self.standing.is_none() {
            self.granted += 1;
        }
        self.standing = self.standing.max(Some(accepted_at));
        self.rejected_at = None;
        Ok(())
    }

    /// Notes a `reject`: it keeps a one-time balance, and ends a long-term acceptance from before it.
    pub fn reject(&mut self, at: DateTime<Utc>) {
        self.rejected_at = self.rejected_at.max(Some(at));
        if self.standing.is_some_and(|since| since <= at) {
            self.standing = None;
            self.voided += 1;
        }
    }

    /// Takes a grant for `delivery`, the one that [`pick`] says.
    ///
    /// # Errors
    /// [`NoGrant`]: nothing was taken.
    pub fn take(
        &mut self,
        delivery: DeliveryId,
        bound: Option<u64>,
        kept: &BTreeSet<u64>,
    ) -> Result<Grant, NoGrant> {
        let index = pick(&self.free, bound, kept).ok_or_else(|| self.why_none())?;
        self.out.push(delivery);
        Ok(self.free.remove(index))
    }

    /// How many messages of any kind could be sent now: what is bound to an appointment may have to wait for that.
    #[must_use]
    pub fn unbound(&self) -> u64 {
        self.available() - n_of(self.bound().count())
    }

    /// Appointments that grants at hand are bound to.
    pub fn bound(&self) -> impl Iterator<Item = u64> {
        self.free.iter().filter_map(|grant| grant.bound)
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
        n_of(self.free.len()) + u64::from(self.standing.is_some())
    }

    /// Voids what the marks made worthless.
    fn bury(&mut self) {
        let before = self.free.len();
        let mark = self.refused_until.max(self.denied_until);
        self.free.retain(|grant| Some(grant.accepted_at) > mark);
        self.voided += n_of(before - self.free.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).expect("in range")
    }

    fn grant(s: i64) -> Grant {
        Grant { accepted_at: at(s), source: Source::Backend, bound: None }
    }

    fn bound(s: i64, to: u64) -> Grant {
        Grant { bound: Some(to), ..grant(s) }
    }

    fn delivery(n: u8) -> DeliveryId {
        DeliveryId { occurrence: 1, chunk: 0, slot: n }
    }

    /// granted = free + out + consumed + voided, always.
    fn balances(account: &Account) {
        let held = account.available() + n_of(account.out.len()) + account.consumed + account.voided;
        assert_eq!(account.granted, held, "{account:?}");
    }

    fn with(grants: &[Grant]) -> Account {
        let mut account = Account::default();
        for grant in grants {
            account.accept(*grant, 0).expect("room");
        }
        balances(&account);
        account
    }

    #[test]
    fn the_oldest_grant_goes_first_however_they_came() {
        let mut account = with(&[grant(30), grant(10), grant(20)]);
        let taken: Vec<i64> = (0..3)
            .map(|n| account.take(delivery(n), None, &BTreeSet::new()).expect("one").accepted_at.timestamp())
            .collect();
        assert_eq!(taken, [10, 20, 30]);
        assert_eq!(account.take(delivery(3), None, &BTreeSet::new()), Err(NoGrant::None));
        balances(&account);
    }

    #[test]
    fn a_bound_grant_serves_its_appointment_first_and_others_only_once_that_is_over() {
        let mut account = with(&[bound(1, 7), grant(2), bound(3, 8), bound(4, 9)]);
        let kept = BTreeSet::from([7, 8]);
        let mut take =
            |of, kept| account.take(delivery(0), of, kept).map(|grant| grant.accepted_at.timestamp());
        assert_eq!(take(Some(8), &kept), Ok(3));
        assert_eq!(take(None, &kept), Ok(2));
        assert_eq!(take(Some(8), &kept), Ok(4), "nobody waits for that");
        assert_eq!(take(None, &kept), Err(NoGrant::None));
        assert_eq!(take(Some(9), &kept), Err(NoGrant::None));
        assert_eq!(take(None, &BTreeSet::from([8])), Ok(1));
    }

    #[test]
    fn a_refusal_kills_what_was_accepted_until_then_wherever_it_is() {
        let mut account = with(&[grant(10), grant(20), grant(30)]);
        let out = account.take(delivery(0), None, &BTreeSet::new()).expect("one");
        account.refused(at(20));
        assert_eq!((account.available(), account.voided), (1, 1), "20 died, 30 lives, 10 is out");
        assert!(account.is_dead(out.accepted_at));
        account.release(delivery(0), out);
        assert_eq!((account.available(), account.voided), (1, 2), "a dead one does not come back");
        assert_eq!(account.accept(grant(20), 0), Err(NotGranted::RefusedSince));
        account.accept(grant(21), 0).expect("accepted since");
        account.refused(at(5));
        assert_eq!(account.refused_until, Some(at(20)), "marks never fall");
        balances(&account);
    }

    #[test]
    fn the_first_43101_makes_suspect_and_the_next_denies_what_was_accepted_before_it() {
        let mut account = with(&[grant(10), grant(20), grant(30), grant(40)]);
        account.take(delivery(0), None, &BTreeSet::new()).expect("one");
        account.void(delivery(0));
        account.denied(at(25));
        assert!(account.suspect && account.denied_until.is_none() && account.available() == 3);
        account.accept(grant(50), 0).expect("room");
        assert!(account.suspect, "a new accept clears no suspicion");
        account.take(delivery(1), None, &BTreeSet::new()).expect("one");
        account.void(delivery(1));
        account.denied(at(35));
        assert_eq!(account.denied_until, Some(at(35)));
        assert_eq!(account.available(), 2, "30 died; 40 and 50 live");
        account.confirmed();
        account.denied(at(60));
        assert_eq!((account.denied_until, account.available()), (Some(at(35)), 2), "the first one again");
        balances(&account);
    }

    #[test]
    fn reports_fill_up_to_the_cap_and_a_release_always_counts() {
        let mut account = Account::default();
        for n in 0..MAX_HELD {
            account.accept(grant(n.cast_signed()), 0).expect("room");
        }
        assert_eq!(account.accept(grant(200), 0), Err(NotGranted::Full));
        let out = account.take(delivery(0), None, &BTreeSet::new()).expect("one");
        assert_eq!(account.accept(grant(200), 1), Err(NotGranted::Full), "what is reserved counts");
        account.accept(grant(200), 0).expect("consumed ones do not count");
        account.release(delivery(0), out);
        assert_eq!(account.available(), MAX_HELD + 1);
        balances(&account);
    }

    #[test]
    fn a_one_time_reject_keeps_the_balance_and_says_why_when_it_is_empty() {
        let mut account = with(&[grant(10)]);
        account.reject(at(20));
        assert_eq!(account.available(), 1);
        account.take(delivery(0), None, &BTreeSet::new()).expect("one");
        assert_eq!(account.take(delivery(1), None, &BTreeSet::new()), Err(NoGrant::Refused));
        account.accept(grant(30), 0).expect("room");
        account.take(delivery(1), None, &BTreeSet::new()).expect("one");
        assert_eq!(
            account.take(delivery(2), None, &BTreeSet::new()),
            Err(NoGrant::None),
            "a later accept is the last that was heard"
        );
    }

    #[test]
    fn statuses_are_those_of_the_platform() {
        for manner in Manner::ALL {
            assert_eq!(Status::parse(manner.status()), Some(Status::Accept(manner)));
        }
        let table = [
            ("accept", Some(Status::Accept(Manner::Plain))),
            ("acceptWithForcePush", Some(Status::Accept(Manner::ForcePush))),
            ("reject", Some(Status::Reject)),
            ("ban", Some(Status::Ban)),
            ("filter", Some(Status::Filter)),
            ("Accept", None),
            ("acceptWith", None),
            ("", None),
        ];
        for (text, status) in table {
            assert_eq!(Status::parse(text), status, "{text}");
        }
        assert_eq!(Manner::Plain.beyond_plain(), None);
    }

    #[test]
    fn what_was_accepted_before_a_known_reject_does_not_stand() {
        let mut account = Account::default();
        account.reject(at(30));
        assert_eq!(account.accept_standing(at(30)), Err(NotGranted::RefusedSince));
        account.accept(grant(20), 0).expect("a one-time reject keeps what is there");
        account.accept_standing(at(31)).expect("since");
        account.reject(at(30));
        assert_eq!(account.available(), 2, "an old one ends nothing");
        balances(&account);
    }

    #[test]
    fn a_standing_acceptance_stands_until_it_is_refused() {
        let mut account = Account::default();
        account.accept_standing(at(10)).expect("stands");
        account.accept_standing(at(30)).expect("again");
        assert_eq!((account.granted, account.available()), (1, 1), "it is one");
        account.reject(at(20));
        assert_eq!(account.available(), 1, "an old reject that came late changes nothing");
        account.reject(at(40));
        assert_eq!((account.available(), account.voided), (0, 1));
        account.accept_standing(at(50)).expect("anew");
        account.refused(at(60));
        assert_eq!((account.granted, account.available(), account.voided), (2, 0, 2));
        assert_eq!(account.accept_standing(at(60)), Err(NotGranted::RefusedSince));
        balances(&account);
    }

    #[test]
    fn folding_moves_a_settled_grant_into_the_count_once() {
        let mut account = with(&[grant(10)]);
        account.take(delivery(0), None, &BTreeSet::new()).expect("one");
        account.fold(delivery(0));
        account.fold(delivery(0));
        assert_eq!((account.consumed, account.out.len()), (1, 0));
        balances(&account);
    }
}
