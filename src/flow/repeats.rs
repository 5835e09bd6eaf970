//! Sends again what has no answer, where a rule says `on_doubt: resend`: opens a repetition when its time has come.
//!
//! When that is, and that it is opened once, is the store's, so a restart goes on as if there had been none. Here it is
//! asked whether the message may still leave: by the rule in force, its deadline, the person, his quiet hours, and what is
//! paused. It sends nothing: a repetition is walked and sent like all that is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::info;

use super::bell::Bell;
use super::brake::Brake;
use super::fanout::{self, Ready};
use super::live::{Current, Live};
use super::pause::Pauses;
use super::scheduler::MAX_SLEEP;
use crate::clock::Clock;
use crate::domain::config::Basis;
use crate::domain::id::{AppName, DeliveryId};
use crate::domain::occurrence::{OccurrenceState, SkipReason};
use crate::domain::rejection::Wording;
use crate::domain::rule::OnDoubt;
use crate::store::{Again, Delivery, Occurrence, Repeated, Store, Unavailable, Wake};

/// Entries of the index read at a time.
const PAGE: usize = 256;
/// Deliveries that one look may repeat; the rest comes at the next.
const MAX_TOGETHER: usize = 64;
/// Chunks that one look may read: what is paused stays due, and is not read whole each second.
const MAX_CHUNKS: usize = 64;
/// Occurrences of which it is remembered whether their messages are ever repeated.
const MAX_KNOWN: usize = 4096;

/// The loop that opens repetitions, of all apps.
#[derive(Debug)]
pub struct Repeats {
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
    /// What does not send.
    brake: Brake,
    /// Why apps do not send, by their senders.
    pauses: BTreeMap<AppName, Pauses>,
    /// Rung when something was opened.
    opened: Bell,
    /// What becomes of messages without an answer, by occurrence.
    known: BTreeMap<u64, OnDoubt>,
    /// Where the last look left off; `None` where it came to the end.
    after: Option<Wake>,
}

impl Repeats {
    /// Opens into `store`; rings `opened` after a look that opened something.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        current: Current,
        clock: Clock,
        brake: Brake,
        pauses: BTreeMap<AppName, Pauses>,
        opened: Bell,
    ) -> Self {
        Self { store, current, clock, brake, pauses, opened, known: BTreeMap::new(), after: None }
    }

    /// Runs until the store fails.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn run(mut self) -> Result<(), Unavailable> {
        loop {
            let wait = match self.clock.believed() {
                Some(now) => self.look(now).await?,
                None => MAX_SLEEP,
            };
            self.clock.sleep(wait).await;
        }
    }

    /// One look: opens what is due at `now`, and says how long to wait for the next.
    async fn look(&mut self, now: DateTime<Utc>) -> Result<Duration, Unavailable> {
        let live = self.current.get();
        match live.rules.basis {
            Basis::Files => {}
            // Nobody has said that a rule is gone.
            Basis::Nothing => return Ok(MAX_SLEEP),
        }
        let mut anything = false;
        let (mut n, mut n_chunks) = (0, 0);
        'pages: loop {
            let from = self.after;
            let page = super::read(&self.store, move |store| store.wakes(from.as_ref(), now, PAGE)).await?;
            for wake in &page {
                if n >= MAX_TOGETHER || n_chunks >= MAX_CHUNKS {
                    break 'pages;
                }
                if self.on_doubt(wake.occurrence).await? == OnDoubt::Resend {
                    let (looked, opened) = self.chunk(&live, *wake, now).await?;
                    n += looked;
                    n_chunks += 1;
                    anything |= opened;
                }
                self.after = Some(*wake);
            }
            if page.len() < PAGE {
                self.after = None;
                break;
            }
        }
        if anything {
            self.opened.ring();
        }
        if n >= MAX_TOGETHER {
            return Ok(Duration::from_millis(1));
        }
        let last = Wake { at: now, occurrence: u64::MAX, chunk: u32::MAX };
        let next =
            super::read(&self.store, move |store| store.wakes(Some(&last), DateTime::<Utc>::MAX_UTC, 1));
        let next = next.await?.first().map(|wake| wake.at);
        let until = next.map_or(MAX_SLEEP, |next| (next - now).to_std().unwrap_or_default());
        Ok(until.clamp(Duration::from_millis(1), MAX_SLEEP))
    }

    async fn on_doubt(&mut self, number: u64) -> Result<OnDoubt, Unavailable> {
        if let Some(known) = self.known.get(&number) {
            return Ok(*known);
        }
        let occurrence = super::read(&self.store, move |store| store.occurrence(number)).await?;
        let on_doubt = occurrence.map_or(OnDoubt::Hold, |occurrence| occurrence.on_doubt);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(number, on_doubt);
        Ok(on_doubt)
    }

    /// Looks at one chunk: how many of it were due, and whether a repetition was opened.
    async fn chunk(&self, live: &Live, wake: Wake, now: DateTime<Utc>) -> Result<(usize, bool), Unavailable> {
        let Wake { occurrence: number, chunk, .. } = wake;
        let read = move |store: &dyn Store| {
            let before = chunk.checked_sub(1);
            let before = before.map(|chunk| DeliveryId { occurrence: number, chunk, slot: u8::MAX });
            Ok((store.occurrence(number)?, store.deliveries(Some(number), before, 1)?))
        };
        let (occurrence, mut slots) = super::read(&self.store, read).await?;
        slots.retain(|slot| slot.id.chunk == chunk && slot.is_to_be_repeated() && slot.next_at <= Some(now));
        let Some(occurrence) = occurrence.filter(|_| !slots.is_empty()) else { return Ok((0, false)) };
        let Some(ready) = self.of(live, &occurrence, now).await? else { return Ok((0, false)) };
        let mut opened = false;
        for slot in &slots {
            let again = match &ready {
                Some(ready) => self.again(slot, &occurrence, ready, now).await?,
                None => Again::Never(None),
            };
            let (id, rule) = (slot.id, &occurrence.rule);
            match self.store.repeat(id, again, now).await?.value {
                Repeated::Reserved(another) if self.is_unwanted(&occurrence) => {
                    // The files changed meanwhile, and what was open of the rule may have been ended before this was.
                    let reason = Some("its rule wants nothing repeated any more".to_owned());
                    let stopped = (another.occurrence, OccurrenceState::Cancelled);
                    self.store.stop_occurrence(stopped.0, stopped.1, reason).await?;
                    opened = true;
                }
                Repeated::Reserved(another) => {
                    opened = true;
                    info!(delivery.id = %another, rule.id = %rule,
                        "Delivery {id} of rule {rule} has no answer and is sent again as {another}: it may arrive twice");
                }
                Repeated::Without(reason) => {
                    let reason = reason.as_str();
                    info!(delivery.id = %id, rule.id = %rule,
                        "Delivery {id} of rule {rule} has no answer and is not sent again: {reason}");
                }
                Repeated::Noted | Repeated::Stale => {}
            }
        }
        Ok((slots.len(), opened))
    }

    /// Whether the files in force want nothing of an occurrence repeated.
    fn is_unwanted(&self, occurrence: &Occurrence) -> bool {
        let live = self.current.get();
        let rule = live.rules.rules.get(&occurrence.rule);
        rule.is_none_or(|rule| rule.on_doubt == OnDoubt::Hold)
    }

    /// The rule of an occurrence, ready for use; `Some(None)` where nothing of it is repeated any more, `None` where nothing
    /// is now.
    async fn of(
        &self,
        live: &Live,
        occurrence: &Occurrence,
        now: DateTime<Utc>,
    ) -> Result<Option<Option<Ready>>, Unavailable> {
        // Who took the word out of the file, or the rule, wants nothing repeated from now on.
        let rule = live.rules.rules.get(&occurrence.rule).filter(|rule| rule.on_doubt == OnDoubt::Resend);
        let app = rule.and_then(|rule| live.config.apps.get(&rule.app));
        let Some(app) = app.filter(|app| app.appid == occurrence.app && now <= occurrence.deadline) else {
            return Ok(Some(None));
        };
        match occurrence.state {
            OccurrenceState::Open | OccurrenceState::Done => {}
            OccurrenceState::Held => return Ok(None),
            OccurrenceState::Missed | OccurrenceState::Cancelled => return Ok(Some(None)),
        }
        // Every other pause of an app by itself ends by a message, and a repetition may be the one that ends it.
        let used_up = self.pauses.get(&app.name).is_some_and(Pauses::is_used_up);
        let wording = Wording::of_snapshot(&occurrence.snapshot);
        if used_up
            || self.brake.stops_app(&app.appid)
            || self.brake.stops(&app.appid, &occurrence.rule, wording)
        {
            return Ok(None);
        }
        let ready = fanout::ready(&self.store, &self.clock, occurrence).await?;
        Ok(Some(ready.filter(|ready| ready.has_its_subject(occurrence))))
    }

    /// What shall become of a delivery in doubt, looked at as its person is now.
    async fn again(
        &self,
        slot: &Delivery,
        occurrence: &Occurrence,
        ready: &Ready,
        now: DateTime<Utc>,
    ) -> Result<Again, Unavailable> {
        let (app, openid) = (occurrence.app.clone(), slot.openid.clone());
        let recipient = super::read(&self.store, move |store| store.recipient(&app, &openid)).await?;
        let Some(recipient) = recipient.filter(|_| ready.is_about_him(&slot.openid)) else {
            return Ok(Again::Never(None));
        };
        Ok(match ready.turn(occurrence, &slot.openid, &recipient, now) {
            Ok(turn) if now > turn.deadline => Again::Never(None),
            Ok(turn) if turn.at > now => Again::NotBefore(turn.at),
            Err(reason) => Again::Never(Some(reason)),
            Ok(_) if recipient.profile.muted => Again::Never(Some(SkipReason::Muted)),
            Ok(_) if recipient.bad_since.is_some() => Again::Never(Some(SkipReason::BadRecipient)),
            Ok(_) => match ready.render(occurrence, &slot.openid, &recipient) {
                Ok(_) => Again::Now,
                Err(reason) => Again::Never(Some(reason)),
            },
        })
    }
}
