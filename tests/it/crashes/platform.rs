//! The platform of a history: it knows what truly happened, and does to each request what the odometer says.
//!
//! It stands where the network would be: token cache, request bodies and the meaning of answers are the
//! client's own. The audit takes its word for consents and messages.

use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use tixing::clock::Clock;
use tixing::wechat::{Carried, Carrier, NoAnswer};
use tokio::sync::oneshot;

use super::odometer::{Choice, Effect, Odometer};
use super::promises::Proofs;
use super::scene::{self, Scene};
use crate::disk::Disk;

/// What the platform does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It takes the message, and says so.
    Accepted,
    /// It takes the message, and the answer gets lost.
    AcceptedUnheard,
    /// The request gets lost.
    Lost,
    /// 43101; where there were consents, the person has just turned the template off, and nobody was told.
    NoConsent,
    /// −1, and the message was not taken.
    Busy,
    /// −1, and yet the message was taken.
    BusyAccepted,
    /// There is no connection.
    NotConnected,
    /// 47003.
    BadMessage,
}

impl Outcome {
    pub(super) const ALL: [Self; 8] = [
        Self::Accepted,
        Self::AcceptedUnheard,
        Self::Lost,
        Self::NoConsent,
        Self::Busy,
        Self::BusyAccepted,
        Self::NotConnected,
        Self::BadMessage,
    ];

    /// Whether the message is on the phone then.
    fn takes(self) -> bool {
        match self {
            Self::Accepted | Self::AcceptedUnheard | Self::BusyAccepted => true,
            Self::Lost | Self::NoConsent | Self::Busy | Self::NotConnected | Self::BadMessage => false,
        }
    }

    /// Whether nothing comes back until the time is up.
    pub(super) fn is_silent(self) -> bool {
        match self {
            Self::AcceptedUnheard | Self::Lost => true,
            Self::Accepted
            | Self::NoConsent
            | Self::Busy
            | Self::BusyAccepted
            | Self::NotConnected
            | Self::BadMessage => false,
        }
    }

    /// Whether the platform says that it did nothing.
    pub(super) fn may_be_tried_again(self) -> bool {
        match self {
            Self::Busy | Self::BusyAccepted | Self::NotConnected => true,
            Self::Accepted | Self::AcceptedUnheard | Self::Lost | Self::NoConsent | Self::BadMessage => false,
        }
    }

    fn answer(self, msgid: u64) -> Result<Vec<u8>, NoAnswer> {
        let text = match self {
            Self::Accepted => format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{msgid}}}"#),
            Self::NoConsent => r#"{"errcode":43101,"errmsg":"user refuse to accept the msg"}"#.to_owned(),
            Self::Busy | Self::BusyAccepted => r#"{"errcode":-1,"errmsg":"system error"}"#.to_owned(),
            Self::BadMessage => {
                r#"{"errcode":47003,"errmsg":"argument invalid! data.thing1.value invalid"}"#.to_owned()
            }
            Self::NotConnected => return Err(NoAnswer::NotConnected("refused".to_owned())),
            Self::AcceptedUnheard | Self::Lost => {
                return Err(NoAnswer::Unanswered("no answer in time".to_owned()));
            }
        };
        Ok(text.into_bytes())
    }
}

/// What the platform knows of one person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Person {
    /// Taps on "accept".
    pub(super) tapped: u8,
    /// Consents that ended with a refusal in the settings.
    pub(super) revoked: u8,
    /// Taps whose report was answered 2xx.
    pub(super) acknowledged: u8,
}

/// What truly became of one delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    /// Requests that started.
    pub(super) n_requests: u8,
    /// Messages on the phone.
    pub(super) n_accepted: u8,
    /// Those of them that were answered −1.
    pub(super) n_busy_accepted: u8,
    /// Whether any request was answered −1, heard or not.
    pub(super) busy: bool,
    /// What became of the last request whose answer was heard.
    pub(super) heard: Option<Outcome>,
    /// Whether a crash met it marked: then it may end in doubt though no request started.
    pub(super) caught: bool,
    /// Whether its outcome is final or has become unknown: it must never be sent again.
    pub(super) closed: bool,
    /// Whether it is unknown: then a rule may say that it is.
    pub(super) unknown: bool,
    /// How often it was.
    pub(super) n_again: u8,
}

/// What truly happened until now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Truth {
    pub(super) people: Vec<Person>,
    /// By due time, then by person.
    pub(super) sent: Vec<Vec<Sent>>,
    /// Crashes so far.
    pub(super) n_crashes: u8,
    /// Requests to which the platform did not do the natural thing.
    pub(super) n_faults: u8,
}

impl Truth {
    pub(super) fn new(scene: &Scene) -> Self {
        Self {
            people: vec![Person::default(); scene.people.len()],
            sent: vec![vec![Sent::default(); scene.people.len()]; scene.dues.len()],
            n_crashes: 0,
            n_faults: 0,
        }
    }

    /// Messages that `person` got.
    pub(super) fn n_accepted(&self, person: usize) -> u8 {
        self.sent.iter().map(|sent| sent[person].n_accepted).sum()
    }

    /// Consents that the platform has left of `person`.
    pub(super) fn left(&self, person: usize) -> u8 {
        let Person { tapped, revoked, .. } = self.people[person];
        tapped - revoked - self.n_accepted(person)
    }

    /// Messages of `person` beyond one for a delivery.
    pub(super) fn n_repeats(&self, person: usize) -> u8 {
        self.sent.iter().map(|sent| sent[person].n_accepted.saturating_sub(1)).sum()
    }
}

/// A request that was processed and is not answered yet.
struct Flight {
    due: usize,
    person: usize,
    outcome: Outcome,
    msgid: u64,
    answer: oneshot::Sender<Result<Vec<u8>, NoAnswer>>,
}

/// The platform; clones are the same one.
#[derive(Clone)]
pub(super) struct Platform(Arc<Inner>);

struct Inner {
    scene: Arc<Scene>,
    odometer: Odometer,
    clock: Clock,
    /// The daemon's disk: what is durable there when a request arrives must carry it.
    disk: Disk,
    proofs: Proofs,
    flights: Mutex<Vec<Flight>>,
}

impl Platform {
    pub(super) fn new(
        scene: Arc<Scene>,
        odometer: Odometer,
        clock: Clock,
        disk: Disk,
        proofs: Proofs,
    ) -> Self {
        Self(Arc::new(Inner { scene, odometer, clock, disk, proofs, flights: Mutex::default() }))
    }

    fn flights(&self) -> MutexGuard<'_, Vec<Flight>> {
        self.0.flights.lock().unwrap()
    }

    /// Answers one of the requests under way, which the odometer chooses; `false` when there is none.
    pub(super) fn answer(&self) -> bool {
        let n = self.flights().len();
        if n == 0 {
            return false;
        }
        let Inner { scene, odometer, clock, disk, .. } = &*self.0;
        let index = odometer.choose(Choice::Order, n);
        let Flight { due, person, outcome, msgid, answer } = self.flights().remove(index);
        if outcome.is_silent() {
            clock.advance(tixing::wechat::CALL_TIMEOUT);
        }
        odometer.truth(|truth| {
            let sent = &mut truth.sent[due][person];
            sent.heard = Some(outcome);
            sent.closed |= !outcome.may_be_tried_again();
            sent.unknown = outcome.is_silent() && scene.sends_again();
        });
        disk.images(|images| {
            odometer
                .effect(Effect::Answered, &images, || format!("{}: {outcome:?}", scene::name(due, person)));
        });
        // Who asked may be gone.
        let _heard = answer.send(outcome.answer(msgid));
        true
    }

    /// A request has arrived.
    fn process(&self, body: &[u8]) -> Result<oneshot::Receiver<Result<Vec<u8>, NoAnswer>>, String> {
        let Inner { scene, odometer, clock, disk, proofs, .. } = &*self.0;
        let body = str::from_utf8(body).map_err(|_bytes| "a request is no text".to_owned())?;
        // Neither value has a quote in it, so this is all the JSON there is to read; parsing it takes longer than sending.
        let text = |name: &str| Some(body.split_once(&format!("\"{name}\":\""))?.1.split_once('"')?.0);
        let (touser, page) = (text("touser").unwrap_or_default(), text("page").unwrap_or_default());
        let person = scene.people.iter().position(|openid| openid.as_str() == touser);
        let person = person.ok_or("a request for a stranger")?;
        let due = scene.dues.iter().position(|due| page == scene::page(*due));
        let due = due.ok_or_else(|| format!("a request for no due time: {page}"))?;
        let now = clock.now();
        let name = scene::name(due, person);
        if odometer.is_over() {
            return Err("the history is over".to_owned());
        }
        odometer.tell(|| format!("a request starts: {name}"));
        scene.in_time(due, now).map_err(|why| format!("P7: {why}"))?;
        disk.images(|images| proofs.carries(&images, scene, due, person))
            .map_err(|why| format!("P1: {why}"))?;
        let before = odometer.look(|truth| truth.sent[due][person]);
        let again = before.closed;
        if again {
            scene
                .may_send_again(due, before.n_again, now)
                .map_err(|why| format!("P5: {name} was sent again: {why}"))?;
            odometer.again();
        }
        let faults_left = odometer.look(|truth| scene.max_faults - truth.n_faults);
        let left = odometer.look(|truth| truth.left(person));
        let natural = if left > 0 { Outcome::Accepted } else { Outcome::NoConsent };
        let mut possible = vec![natural];
        if faults_left > 0 {
            let others = Outcome::ALL.into_iter().filter(|o| *o != natural && (left > 0 || !o.takes()));
            possible.extend(others);
        }
        let outcome = possible[odometer.choose(Choice::Outcome, possible.len())];
        odometer.did(outcome);
        let sent = odometer.truth(|truth| {
            truth.n_faults += u8::from(outcome != natural);
            if outcome == Outcome::NoConsent {
                truth.people[person].revoked += left;
            }
            let sent = &mut truth.sent[due][person];
            sent.n_again += u8::from(again);
            (sent.closed, sent.unknown) = (false, false);
            sent.n_requests += 1;
            sent.n_accepted += u8::from(outcome.takes());
            sent.n_busy_accepted += u8::from(outcome == Outcome::BusyAccepted);
            sent.busy |= matches!(outcome, Outcome::Busy | Outcome::BusyAccepted);
            *sent
        });
        if again && !before.unknown {
            return Err(format!("P5: {name} was sent again although its outcome is final"));
        }
        if sent.n_accepted
            > 1 + sent.n_again + sent.n_busy_accepted - u8::from(outcome == Outcome::BusyAccepted)
        {
            return Err(format!("P2: {name} arrived twice"));
        }
        let (answer, heard) = oneshot::channel();
        let msgid = scene::msgid(due, person, sent.n_accepted);
        self.flights().push(Flight { due, person, outcome, msgid, answer });
        disk.images(|images| {
            odometer.effect(Effect::Arrived, &images, || format!("{name}: {outcome:?}"));
        });
        Ok(heard)
    }
}

impl Carrier for Platform {
    fn carry(&self, path: &str, body: &[u8]) -> Carried {
        if path.ends_with("/stable_token") {
            let token = br#"{"access_token":"TOKEN","expires_in":7200}"#.to_vec();
            return Box::pin(std::future::ready(Ok(token)));
        }
        match self.process(body) {
            Ok(heard) => Box::pin(async move {
                heard.await.unwrap_or_else(|_gone| Err(NoAnswer::Unanswered("the history ended".to_owned())))
            }),
            Err(violation) => {
                self.0.odometer.violated(violation);
                Box::pin(std::future::pending())
            }
        }
    }
}

/// The instant as it is in traces.
pub(super) fn hms(at: DateTime<Utc>) -> String {
    (at + chrono::TimeDelta::hours(8)).format("%H:%M:%S%.3f").to_string()
}
