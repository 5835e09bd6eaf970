//! Who goes first where somebody has fewer consents than rules want at one moment: higher priority, then earlier due, then
//! rule id.
//!
//! Walks run side by side, what is held is let go beside them, and a lower one waits for no higher one: it asks of each
//! person whether those before it want him too and have not come to him yet, and leaves them a consent each. The store
//! decides by the books as they are. What is held for a later moment wants nothing yet, and who does not send
//! now never does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use super::{Ready, Walker};
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::{OpenId, RuleId, TemplateId};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::Recipient;
use crate::domain::template::TemplateKind;
use crate::plan::audience;
use crate::store::{Claim, Hint, Occurrence, Unavailable};

/// Walks before one that are asked at most: as many run at a time.
const MAX_BEFORE: usize = 64;

/// Where an occurrence comes among those who want the same consents: the first goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    template: TemplateId,
    priority: Reverse<u32>,
    due_at: DateTime<Utc>,
    rule: RuleId,
    number: u64,
}

impl Place {
    pub(super) fn of(occurrence: &Occurrence) -> Self {
        let Occurrence { template, priority, due_at, rule, number, .. } = occurrence;
        Self {
            template: template.clone(),
            priority: Reverse(*priority),
            due_at: *due_at,
            rule: rule.clone(),
            number: *number,
        }
    }

    /// A place before all of the same template.
    fn first(&self) -> Self {
        Self { priority: Reverse(u32::MAX), due_at: DateTime::<Utc>::MIN_UTC, number: 0, ..self.clone() }
    }
}

/// Open occurrences of an app whose walk is not over, or that hold something, by their places. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rivals(Arc<Mutex<BTreeMap<Place, Arc<Rival>>>>);

/// One of them.
pub(super) struct Rival {
    occurrence: Occurrence,
    /// Whether its walk is over, and all that is left to it is held.
    walked: AtomicBool,
    ready: OnceCell<Option<Ready>>,
    /// Those whom it is for, where it is about an appointment.
    whom: OnceCell<BTreeSet<OpenId>>,
}

impl std::fmt::Debug for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rival").field("occurrence", &self.occurrence.number).finish_non_exhaustive()
    }
}

/// What a walk that is over has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Some are held.
    Held,
    /// Nobody is.
    Nothing,
}

impl Left {
    pub(super) fn of(occurrence: &Occurrence) -> Self {
        if occurrence.counts.in_state(State::Held) > 0 { Self::Held } else { Self::Nothing }
    }
}

impl Rivals {
    /// Takes over who there is now; what was made ready stays so.
    pub(super) fn renew<'a>(&self, all: impl Iterator<Item = &'a Occurrence>) {
        let wants = |o: &Occurrence| !o.walked || Left::of(o) == Left::Held;
        let all = all.filter(|o| o.state == OccurrenceState::Open && o.kind == TemplateKind::OneTime);
        let mut rivals = self.lock();
        let mut before = std::mem::take(&mut *rivals);
        *rivals = all
            .filter(|occurrence| wants(occurrence))
            .map(|occurrence| {
                let place = Place::of(occurrence);
                let rival = before.remove(&place).unwrap_or_else(|| {
                    Arc::new(Rival {
                        occurrence: occurrence.clone(),
                        walked: AtomicBool::new(false),
                        ready: OnceCell::new(),
                        whom: OnceCell::new(),
                    })
                });
                rival.walked.fetch_or(occurrence.walked, Ordering::Relaxed);
                (place, rival)
            })
            .collect();
    }

    /// A walk is over.
    pub(super) fn is_walked(&self, occurrence: &Occurrence, left: Left) {
        let (place, mut rivals) = (Place::of(occurrence), self.lock());
        match left {
            Left::Nothing => drop(rivals.remove(&place)),
            Left::Held => {
                rivals.get(&place).inspect(|rival| rival.walked.store(true, Ordering::Relaxed));
            }
        }
    }

    fn before(&self, occurrence: &Occurrence) -> Vec<Arc<Rival>> {
        let place = Place::of(occurrence);
        let rivals = self.lock();
        let before = rivals.range(place.first()..place).map(|(_, rival)| Arc::clone(rival));
        let mut n_walks = 0;
        let is_asked = |rival: &Arc<Rival>| {
            n_walks += usize::from(!rival.is_walked());
            rival.is_walked() || n_walks <= MAX_BEFORE
        };
        before.filter(is_asked).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Rival>>> {
        // A poisoned lock holds a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rival {
    fn is_walked(&self) -> bool {
        self.walked.load(Ordering::Relaxed)
    }
}

/// Those before an occurrence that may send now.
#[derive(Debug, Default)]
pub(in crate::flow) struct Before {
    /// For anybody, as far as can be said without a look at the rule.
    for_all: Vec<Arc<Rival>>,
    /// About appointments and held, by whom they are for: there may be thousands of them.
    for_one: HashMap<OpenId, Vec<Arc<Rival>>>,
}

impl Before {
    fn of(&self, openid: &OpenId) -> impl Iterator<Item = &Arc<Rival>> {
        self.for_all.iter().chain(self.for_one.get(openid).into_iter().flatten())
    }

    /// Whether somebody who seems to have so much may have too little for all of them and one more.
    pub(super) fn are_too_many(&self, openid: &OpenId, hint: Hint) -> bool {
        match hint {
            Hint::Consent(n) => n <= n_of(self.of(openid).count()),
            Hint::Nothing(_) => false,
        }
    }
}

impl Walker {
    pub(in crate::flow) async fn before(&self, occurrence: &Occurrence) -> Result<Before, Unavailable> {
        let mut before = Before::default();
        for rival in self.rivals.before(occurrence) {
            if self.rests(&rival.occurrence) {
                continue;
            }
            let Some(about) = rival.occurrence.about.as_ref().filter(|_| rival.is_walked()) else {
                before.for_all.push(rival);
                continue;
            };
            let whom = || async {
                let known = self.appointment(&rival.occurrence, about).await?;
                let joined = known.iter().flat_map(|(about, kept, _)| {
                    kept.joined.keys().filter(|openid| kept.is_for(about, openid)).cloned()
                });
                Ok(joined.collect())
            };
            for openid in rival.whom.get_or_try_init(whom).await? {
                before.for_one.entry(openid.clone()).or_default().push(Arc::clone(&rival));
            }
        }
        Ok(before)
    }

    /// To whom a delivery leaves its person's consents.
    pub(in crate::flow) async fn leaves(
        &self,
        occurrence: &Occurrence,
        (openid, recipient): (&OpenId, &Recipient),
        before: &Before,
        now: DateTime<Utc>,
    ) -> Result<Vec<Claim>, Unavailable> {
        // Of nobody before it nothing need be read.
        if !before.are_too_many(openid, Hint::Consent(1)) {
            return Ok(Vec::new());
        }
        let (app, template, whose) = (occurrence.app.clone(), occurrence.template.clone(), openid.clone());
        let account =
            crate::flow::read(&self.store, move |store| store.bare_account(&app, &template, &whose)).await?;
        let hint = Hint::Consent(account.map_or(0, |account| account.available()));
        if before.are_too_many(openid, hint) {
            self.claims(before, (openid, recipient), now).await
        } else {
            Ok(Vec::new())
        }
    }

    /// Who of those before wants a consent of this person at `now`, and has not come to him.
    pub(super) async fn claims(
        &self,
        before: &Before,
        (openid, recipient): (&OpenId, &Recipient),
        now: DateTime<Utc>,
    ) -> Result<Vec<Claim>, Unavailable> {
        let mut claims = Vec::new();
        if recipient.profile.muted || recipient.bad_since.is_some() {
            return Ok(claims);
        }
        for rival in before.of(openid) {
            let occurrence = &rival.occurrence;
            let ready = rival.ready.get_or_try_init(|| self.ready(occurrence)).await?;
            let Some(ready) = ready else { continue };
            let selected = ready.selector.selects(openid, &recipient.profile) == audience::Verdict::Yes
                && ready.is_his_time(occurrence, recipient)
                && ready.is_about_him(openid);
            if !selected {
                continue;
            }
            let known = if ready.holds() {
                let (number, openid) = (occurrence.number, openid.clone());
                crate::flow::read(&self.store, move |store| store.delivery_to(number, &openid)).await?
            } else {
                None
            };
            let (claim, turn) = match known {
                None if rival.is_walked() => continue,
                None => (Claim::Walk(occurrence.number), ready.turn(occurrence, openid, recipient, now)),
                Some(slot) if slot.state == State::Held => {
                    let until = slot.next_at.unwrap_or(occurrence.due_at);
                    let turn = ready.turn_of_held(occurrence, openid, recipient, until, now);
                    (Claim::Held(slot.id), turn)
                }
                Some(_) => continue,
            };
            let wants = turn.is_ok_and(|turn| {
                let since = match claim {
                    Claim::Walk(_) => turn.at,
                    Claim::Held(_) => ready.since(openid, recipient, turn.at),
                };
                since <= now && now <= turn.deadline
            });
            if wants && ready.render(occurrence, openid, recipient).is_ok() {
                claims.push(claim);
            }
        }
        Ok(claims)
    }
}
