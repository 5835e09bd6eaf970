//! Deliveries: one occurrence to one recipient, and the one table of what may become of it.
//!
//! ```text
//! held{send_at} (no grant) → reserved | skipped | cancelled | expired
//! reserved (never tried)   → attempting | cancelled | expired        grant released
//! attempting → sent        consumed     → refused   voided           → failed  released
//!            → waiting     stays        → in doubt  held             → cancelled  voided (its grant died)
//!            → reserved, or waiting if tried before                  marked, never started
//! waiting    → attempting | expired | cancelled
//! waiting after −1 → attempting | in doubt instead of any other end | sent | undelivered by a receipt
//! in doubt   → sent | undelivered | presumed sent | failed (an operator's word)
//! held past its time, reserved, attempting, waiting → in doubt       (only when a restored older state is released)
//! sent, presumed sent → undelivered | sent                           the grant stays consumed
//! ```

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its send time is later; it has no grant yet.
    Held,
    /// It has a grant and was never tried.
    Reserved,
    /// Marked: its request may be on its way.
    Attempting,
    /// To be tried again; it has its grant.
    Waiting,
    /// The platform took it.
    Sent,
    /// The platform took it and reported later that it did not arrive.
    Undelivered,
    /// Long in doubt; booked as sent.
    PresumedSent,
    /// The platform knows no consent.
    Refused,
    /// It, its template or its recipient is at fault.
    Failed,
    /// Its deadline passed.
    Expired,
    /// Its rule was removed, or its grant died.
    Cancelled,
    /// Never had a grant, for a reason of its own.
    Skipped,
    /// Bytes may have left, and nobody knows what became of them.
    InDoubt,
}

impl State {
    /// All states, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::Held,
        Self::Reserved,
        Self::Attempting,
        Self::Waiting,
        Self::Sent,
        Self::Undelivered,
        Self::PresumedSent,
        Self::Refused,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Skipped,
        Self::InDoubt,
    ];

    /// The word in JSON and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Reserved => "reserved",
            Self::Attempting => "attempting",
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Undelivered => "undelivered",
            Self::PresumedSent => "presumed_sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::InDoubt => "in_doubt",
        }
    }

    /// Whether it still has to be worked on: its occurrence stays open for it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Reserved | Self::Attempting | Self::Waiting)
    }
}

/// What happened to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its send time came, and a grant was taken.
    Reserve,
    /// Its send time came, and it gets none.
    Skip,
    /// It was marked for an attempt.
    Mark,
    /// The marked attempt never began.
    NotStarted,
    /// The platform took it.
    Accept,
    /// The platform answered 43101.
    Refuse,
    /// A definite failure.
    Fail,
    /// Try again later.
    Wait,
    /// No definite answer.
    Doubt,
    /// Its grant was dead when it was looked at before the request.
    GrantDied,
    /// Its deadline passed.
    Expire,
    /// Its rule was removed.
    Cancel,
    /// A receipt, or an operator, says it arrived.
    Arrived,
    /// A receipt says it did not arrive.
    NotArrived,
    /// It was in doubt for so long that it counts as sent.
    Age,
    /// An operator says nothing left.
    NeverLeft,
    /// These books are older than what was done: it may have been sent since.
    Lost,
}

impl Event {
    /// All events.
    pub const ALL: [Self; 17] = [
        Self::Reserve,
        Self::Skip,
        Self::Mark,
        Self::NotStarted,
        Self::Accept,
        Self::Refuse,
        Self::Fail,
        Self::Wait,
        Self::Doubt,
        Self::GrantDied,
        Self::Expire,
        Self::Cancel,
        Self::Arrived,
        Self::NotArrived,
        Self::Age,
        Self::NeverLeft,
        Self::Lost,
    ];
}

/// What a step does to the delivery's grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It stays as it is.
    Keep,
    /// One is taken from the account.
    Take,
    /// It bought a message.
    Consume,
    /// It goes back to the account.
    Release,
    /// It is worth nothing.
    Void,
}

/// What a delivery remembers of its attempts, as far as the table needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// No attempt ended in "try again".
    Untried,
    /// It was tried; nothing can have been processed.
    Tried,
    /// An attempt ended in errcode −1, which WeChat may have processed: it can only end as sent or in doubt.
    Busy,
}

/// An event that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {} cannot take {event:?}", state.as_str())]
pub struct Illegal {
    /// Where it is.
    pub state: State,
    /// What cannot happen there.
    pub event: Event,
}

/// The one table: where `event` takes a delivery, and what becomes of its grant.
///
/// # Errors
/// [`Illegal`]: the event cannot happen here; nothing changes.
pub fn step(state: State, past: Past, event: Event) -> Result<(State, Effect), Illegal> {
    use Effect::{Consume, Keep, Release, Take, Void};
    let busy = past == Past::Busy;
    let next = match (state, event) {
        (State::Held, Event::Reserve) => (State::Reserved, Take),
        (State::Held, Event::Skip) => (State::Skipped, Keep),
        (State::Held, Event::Expire) => (State::Expired, Keep),
        (State::Held, Event::Cancel) => (State::Cancelled, Keep),

        (State::Reserved | State::Waiting, Event::Mark) => (State::Attempting, Keep),
        (State::Waiting, Event::Expire | Event::Cancel) if busy => (State::InDoubt, Keep),
        (State::Reserved | State::Waiting, Event::Expire) => (State::Expired, Release),
        (State::Reserved | State::Waiting, Event::Cancel) => (State::Cancelled, Release),
        (State::Waiting, Event::Arrived) if busy => (State::Sent, Consume),
        (State::Waiting, Event::NotArrived) if busy => (State::Undelivered, Consume),

        (State::Attempting, Event::NotStarted) if past == Past::Untried => (State::Reserved, Keep),
        (State::Attempting, Event::NotStarted | Event::Wait) => (State::Waiting, Keep),
        (State::Attempting, Event::Accept) => (State::Sent, Consume),
        (State::Attempting, Event::Doubt) => (State::InDoubt, Keep),
        (
            State::Attempting,
            Event::Refuse | Event::Fail | Event::GrantDied | Event::Expire | Event::Cancel,
        ) if busy => (State::InDoubt, Keep),
        (State::Attempting, Event::Refuse) => (State::Refused, Void),
        (State::Attempting, Event::Fail) => (State::Failed, Release),
        (State::Attempting, Event::GrantDied) => (State::Cancelled, Void),
        (State::Attempting, Event::Expire) => (State::Expired, Release),
        (State::Attempting, Event::Cancel) => (State::Cancelled, Release),

        (State::InDoubt | State::PresumedSent, Event::Arrived) => (State::Sent, Consume),
        (State::InDoubt | State::Sent | State::PresumedSent, Event::NotArrived) => {
            (State::Undelivered, Consume)
        }
        (State::InDoubt, Event::Age) => (State::PresumedSent, Consume),
        (State::InDoubt, Event::NeverLeft) => (State::Failed, Release),

        (State::Held, Event::Lost) => (State::InDoubt, Take),
        (State::Reserved | State::Attempting | State::Waiting, Event::Lost) => (State::InDoubt, Keep),

        (
            State::Held
            | State::Reserved
            | State::Attempting
            | State::Waiting
            | State::Sent
            | State::Undelivered
            | State::PresumedSent
            | State::Refused
            | State::Failed
            | State::Expired
            | State::Cancelled
            | State::Skipped
            | State::InDoubt,
            _,
        ) => return Err(Illegal { state, event }),
    };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the design, written again: state, event, past, where it goes, what the grant does.
    ///
    /// Past: `*` any, `u` untried, `t` tried or busy, `b` busy, `n` not busy.
    const TABLE: &str = "
        held        Reserve    *  reserved       Take
        held        Skip       *  skipped        Keep
        held        Expire     *  expired        Keep
        held        Cancel     *  cancelled      Keep
        reserved    Mark       *  attempting     Keep
        reserved    Expire     n  expired        Release
        reserved    Cancel     n  cancelled      Release
        reserved    Expire     b  expired        Release
        reserved    Cancel     b  cancelled      Release
        waiting     Mark       *  attempting     Keep
        waiting     Expire     n  expired        Release
        waiting     Cancel     n  cancelled      Release
        waiting     Expire     b  in_doubt       Keep
        waiting     Cancel     b  in_doubt       Keep
        waiting     Arrived    b  sent           Consume
        waiting     NotArrived b  undelivered    Consume
        attempting  NotStarted u  reserved       Keep
        attempting  NotStarted t  waiting        Keep
        attempting  Wait       *  waiting        Keep
        attempting  Accept     *  sent           Consume
        attempting  Doubt      *  in_doubt       Keep
        attempting  Refuse     n  refused        Void
        attempting  Fail       n  failed         Release
        attempting  GrantDied  n  cancelled      Void
        attempting  Expire     n  expired        Release
        attempting  Cancel     n  cancelled      Release
        attempting  Refuse     b  in_doubt       Keep
        attempting  Fail       b  in_doubt       Keep
        attempting  GrantDied  b  in_doubt       Keep
        attempting  Expire     b  in_doubt       Keep
        attempting  Cancel     b  in_doubt       Keep
        in_doubt    Arrived    *  sent           Consume
        in_doubt    NotArrived *  undelivered    Consume
        in_doubt    Age        *  presumed_sent  Consume
        in_doubt    NeverLeft  *  failed         Release
        held        Lost       *  in_doubt       Take
        reserved    Lost       *  in_doubt       Keep
        attempting  Lost       *  in_doubt       Keep
        waiting     Lost       *  in_doubt       Keep
        sent        NotArrived *  undelivered    Consume
        presumed_sent Arrived  *  sent           Consume
        presumed_sent NotArrived * undelivered   Consume
    ";

    fn stated(state: State, past: Past, event: Event) -> Option<(String, String)> {
        let matches = |column: &str| match column {
            "*" => true,
            "u" => past == Past::Untried,
            "t" => past != Past::Untried,
            "b" => past == Past::Busy,
            "n" => past != Past::Busy,
            other => panic!("the table has a column {other}"),
        };
        let rows = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut found = rows.filter(|row| {
            row.len() == 5 && row[0] == state.as_str() && row[1] == format!("{event:?}") && matches(row[2])
        });
        let row = found.next()?;
        assert!(found.next().is_none(), "two rows for {state:?} {event:?} {past:?}");
        Some((row[3].to_owned(), row[4].to_owned()))
    }

    #[test]
    fn every_state_event_and_past_is_as_the_table_says() {
        let mut legal = 0;
        for state in State::ALL {
            for event in Event::ALL {
                for past in [Past::Untried, Past::Tried, Past::Busy] {
                    let is = step(state, past, event).ok();
                    let is = is.map(|(to, effect)| (to.as_str().to_owned(), format!("{effect:?}")));
                    legal += usize::from(is.is_some());
                    assert_eq!(is, stated(state, past, event), "{state:?} {event:?} {past:?}");
                }
            }
        }
        assert!(legal > 50, "the table was read");
    }

    #[test]
    fn a_grant_that_may_have_bought_a_message_never_comes_back() {
        for state in State::ALL {
            for event in Event::ALL {
                if state == State::Reserved || (state == State::InDoubt && event == Event::NeverLeft) {
                    continue;
                }
                let Ok((_, effect)) = step(state, Past::Busy, event) else { continue };
                assert_ne!(effect, Effect::Release, "{state:?} {event:?}");
                assert_ne!(effect, Effect::Void, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn what_has_ended_stays_ended() {
        for state in [
            State::Refused,
            State::Failed,
            State::Expired,
            State::Cancelled,
            State::Skipped,
            State::Undelivered,
        ] {
            for event in Event::ALL {
                assert!(step(state, Past::Tried, event).is_err(), "{state:?} {event:?}");
            }
        }
    }
}
