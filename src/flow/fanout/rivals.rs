//! Who goes first where somebody has fewer consents than rules want at one moment: higher priority, then earlier due, then
//! rule id.
//!
//! Walks run side by side, and a lower one waits for no higher one: it asks of each person whether those before it want
//! him too and have not passed him yet, and leaves them a consent each. The store decides by the books as they are; what
//! is held for a later turn wants nothing yet.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use super::{Ready, Walker};
use crate::domain::count::n_of;
use crate::domain::id::{OpenId, RuleId, TemplateId};
use crate::domain::occurrence::OccurrenceState;
use crate::domain::recipient::Recipient;
use crate::domain::template::TemplateKind;
use crate::plan::audience;
use crate::store::{Hint, Occurrence, Unavailable};

/// Occurrences before one that are asked at most: as many walks run at a time.
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

/// Occurrences of an app whose walk is not over, by their places. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Rivals(Arc<Mutex<BTreeMap<Place, Arc<Rival>>>>);

/// One of them.
pub(super) struct Rival {
    occurrence: Occurrence,
    ready: OnceCell<Option<Ready>>,
}

impl std::fmt::Debug for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rival").field("occurrence", &self.occurrence.number).finish_non_exhaustive()
    }
}

impl Rivals {
    /// Takes over who there is now; what was made ready stays so.
    pub(super) fn renew<'a>(&self, all: impl Iterator<Item = &'a Occurrence>) {
        let all =
            all.filter(|o| o.state == OccurrenceState::Open && !o.walked && o.kind == TemplateKind::OneTime);
        let mut rivals = self.lock();
        let mut before = std::mem::take(&mut *rivals);
        *rivals = all
            .map(|occurrence| {
                let place = Place::of(occurrence);
                let known = before.remove(&place);
                let rival = known.unwrap_or_else(|| {
                    Arc::new(Rival { occurrence: occurrence.clone(), ready: OnceCell::new() })
                });
                (place, rival)
            })
            .collect();
    }

    /// A walk is over.
    pub(super) fn remove(&self, occurrence: &Occurrence) {
        self.lock().remove(&Place::of(occurrence));
    }

    fn before(&self, occurrence: &Occurrence) -> Vec<Arc<Rival>> {
        let place = Place::of(occurrence);
        let rivals = self.lock();
        rivals.range(place.first()..place).map(|(_, rival)| Arc::clone(rival)).take(MAX_BEFORE).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Arc<Rival>>> {
        // A poisoned lock holds a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rival {
    /// Its number, where it would send something to a person at `now`.
    fn wants(&self, openid: &OpenId, recipient: &Recipient, now: DateTime<Utc>) -> Option<u64> {
        let Self { occurrence, ready } = self;
        let ready = ready.get()?.as_ref()?;
        let selected = ready.selector.selects(openid, &recipient.profile) == audience::Verdict::Yes
            && ready.is_his_time(occurrence, recipient)
            && ready.is_about_him(openid);
        let wants = selected
            && !recipient.profile.muted
            && ready
                .turn(occurrence, openid, recipient, now)
                .is_ok_and(|turn| turn.at <= now && now <= turn.deadline)
            && ready.render(occurrence, openid, recipient).is_ok();
        wants.then_some(occurrence.number)
    }
}

/// Those before an occurrence that may send now.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<Arc<Rival>>);

impl Before {
    /// Whether somebody who seems to have so much may have too little for all of them and one more.
    pub(super) fn are_too_many(&self, hint: Hint) -> bool {
        match hint {
            Hint::Consent(n) => n <= n_of(self.0.len()),
            Hint::Nothing(_) => false,
        }
    }

    /// Who of them would send something to a person at `now`; those that were made ready are asked.
    pub(super) fn want(&self, openid: &OpenId, recipient: &Recipient, now: DateTime<Utc>) -> Vec<u64> {
        self.0.iter().filter_map(|rival| rival.wants(openid, recipient, now)).collect()
    }
}

impl Walker {
    pub(super) fn before(&self, occurrence: &Occurrence) -> Before {
        let mut before = self.rivals.before(occurrence);
        before.retain(|rival| !self.rests(&rival.occurrence));
        Before(before)
    }

    /// Reads the rules of those before.
    pub(super) async fn make_ready(&self, before: &Before) -> Result<(), Unavailable> {
        for rival in &before.0 {
            rival.ready.get_or_try_init(|| self.ready(&rival.occurrence)).await?;
        }
        Ok(())
    }
}
