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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
use crate::store::{AppointmentKey, Claim, Hint, Occurrence, Store, Unavailable};

/// Walks before one that are asked at most: as many run at a time.
const MAX_BEFORE: usize = 64;
/// Appointments read at once.
const MAX_ASKED: usize = 256;

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

/// Open occurrences of an app whose walk is not over, or that hold something. Clones share them.
///
/// They are sorted in once each, and change with what happens to them: what is asked of them for one piece or one person
/// does not grow with all that is held.
#[derive(Clone, Debug, Default)]
pub(super) struct Rivals(Arc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    index: Mutex<Index>,
    /// Whoever has it finds out for whom new ones are; the others wait for that.
    asking: tokio::sync::Mutex<()>,
}

/// All of them, each besides in the one place where it is looked for.
#[derive(Debug, Default)]
struct Index {
    all: BTreeMap<u64, Arc<Rival>>,
    /// Whose walk is not over.
    walks: BTreeMap<Place, Arc<Rival>>,
    /// That hold something, for anybody as far as can be said without a look at the rule.
    held: BTreeMap<Place, Arc<Rival>>,
    /// About appointments and held; for whom they are is not asked yet.
    unasked: BTreeMap<Place, Arc<Rival>>,
    /// The same, by whom they are for: there may be thousands of them.
    of_one: HashMap<OpenId, BTreeMap<Place, Arc<Rival>>>,
}

/// One of them.
pub(super) struct Rival {
    occurrence: Occurrence,
    /// Whether its walk is over, and all that is left to it is held.
    walked: AtomicBool,
    ready: OnceCell<Option<Ready>>,
    /// Those whom it is for, where it is about an appointment and was asked.
    whom: OnceLock<Vec<OpenId>>,
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
    /// Takes over who there is now; what is known of those who were there before stays.
    pub(super) fn renew<'a>(&self, all: impl Iterator<Item = &'a Occurrence>) {
        let wants = |o: &Occurrence| !o.walked || Left::of(o) == Left::Held;
        let all = all.filter(|o| o.state == OccurrenceState::Open && o.kind == TemplateKind::OneTime);
        let mut index = self.lock();
        let mut gone: BTreeSet<u64> = index.all.keys().copied().collect();
        for occurrence in all.filter(|occurrence| wants(occurrence)) {
            gone.remove(&occurrence.number);
            index.has(occurrence);
        }
        for number in gone {
            index.remove(number);
        }
    }

    /// A walk is over.
    pub(super) fn is_walked(&self, occurrence: &Occurrence, left: Left) {
        match left {
            Left::Nothing => self.lock().remove(occurrence.number),
            Left::Held => self.lock().is_walked(occurrence.number),
        }
    }

    /// Nothing is held for somebody any more of what is about an appointment.
    fn has_gone(&self, occurrence: &Occurrence, openid: &OpenId) {
        self.lock().forget(&Place::of(occurrence), openid);
    }

    /// Those before a place that may be for anybody, of which `goes_on` is true.
    fn for_all(&self, place: &Place, goes_on: impl Fn(&Rival) -> bool) -> Vec<Arc<Rival>> {
        let index = self.lock();
        let goes_on = |(_, rival): &(&Place, &Arc<Rival>)| goes_on(rival);
        let walks = index.walks.range(place.first()..place.clone()).filter(&goes_on).take(MAX_BEFORE);
        let held = index.held.range(place.first()..place.clone()).filter(&goes_on);
        walks.chain(held).map(|(_, rival)| Arc::clone(rival)).collect()
    }

    /// Those before a place that are about his appointments and held.
    fn for_one(&self, place: &Place, openid: &OpenId) -> Vec<Arc<Rival>> {
        let index = self.lock();
        let Some(his) = index.of_one.get(openid) else { return Vec::new() };
        his.range(place.first()..place.clone()).map(|(_, rival)| Arc::clone(rival)).collect()
    }

    /// The next of whom nobody knows for whom they are.
    fn unasked(&self) -> Vec<Arc<Rival>> {
        self.lock().unasked.values().take(MAX_ASKED).cloned().collect()
    }

    fn are_for(&self, asked: Vec<(Arc<Rival>, Vec<OpenId>)>) {
        let mut index = self.lock();
        for (rival, whom) in asked {
            index.is_for(&rival, whom);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Nothing panics while it is changed.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn has(&mut self, occurrence: &Occurrence) {
        if !self.all.contains_key(&occurrence.number) {
            let rival = Arc::new(Rival {
                occurrence: occurrence.clone(),
                walked: AtomicBool::new(false),
                ready: OnceCell::new(),
                whom: OnceLock::new(),
            });
            self.walks.insert(Place::of(occurrence), Arc::clone(&rival));
            self.all.insert(occurrence.number, rival);
        }
        if occurrence.walked {
            self.is_walked(occurrence.number);
        }
    }

    fn is_walked(&mut self, number: u64) {
        let Some(rival) = self.all.get(&number) else { return };
        if rival.walked.swap(true, Ordering::Relaxed) {
            return;
        }
        let place = Place::of(&rival.occurrence);
        self.walks.remove(&place);
        let held = if rival.occurrence.about.is_some() { &mut self.unasked } else { &mut self.held };
        held.insert(place, Arc::clone(rival));
    }

    fn is_for(&mut self, rival: &Arc<Rival>, whom: Vec<OpenId>) {
        let place = Place::of(&rival.occurrence);
        // It may have gone meanwhile.
        if self.unasked.remove(&place).is_none() {
            return;
        }
        for openid in &whom {
            let his = self.of_one.entry(openid.clone()).or_default();
            his.insert(place.clone(), Arc::clone(rival));
        }
        rival.whom.get_or_init(|| whom);
    }

    fn remove(&mut self, number: u64) {
        let Some(rival) = self.all.remove(&number) else { return };
        let place = Place::of(&rival.occurrence);
        for places in [&mut self.walks, &mut self.held, &mut self.unasked] {
            places.remove(&place);
        }
        for openid in rival.whom.get().into_iter().flatten() {
            self.forget(&place, openid);
        }
    }

    fn forget(&mut self, place: &Place, openid: &OpenId) {
        if let Some(his) = self.of_one.get_mut(openid) {
            his.remove(place);
            if his.is_empty() {
                self.of_one.remove(openid);
            }
        }
    }
}

impl Rival {
    fn is_walked(&self) -> bool {
        self.walked.load(Ordering::Relaxed)
    }

    /// For whom it is, where it is about an appointment that stands as it was.
    fn ask(&self, store: &dyn Store) -> Result<Vec<OpenId>, Unavailable> {
        let Occurrence { app, about, .. } = &self.occurrence;
        let Some(about) = about else { return Ok(Vec::new()) };
        let key = AppointmentKey { app: app.clone(), kind: about.kind.clone(), id: about.id.clone() };
        let kept = store.appointment(&key)?;
        let his = kept.iter().flat_map(|kept| kept.joined.keys().filter(|openid| kept.is_for(about, openid)));
        Ok(his.cloned().collect())
    }
}

/// Those before an occurrence that may send now.
#[derive(Debug)]
pub(in crate::flow) struct Before<'a> {
    walker: &'a Walker,
    place: Place,
    /// For anybody, as far as can be said without a look at the rule.
    for_all: Vec<Arc<Rival>>,
}

impl Before<'_> {
    /// Those of them that may want a consent of this person.
    fn of(&self, openid: &OpenId) -> impl Iterator<Item = Arc<Rival>> {
        let for_one = self.walker.rivals.for_one(&self.place, openid).into_iter().filter(|rival| {
            // One whose walk has ended since is among both.
            !self.for_all.iter().any(|other| Arc::ptr_eq(rival, other))
                && !self.walker.rests(&rival.occurrence)
        });
        self.for_all.iter().cloned().chain(for_one)
    }

    /// Whether somebody who seems to have so much may have too little for all of them and one more.
    pub(super) fn are_too_many(&self, openid: &OpenId, hint: Hint) -> bool {
        match hint {
            Hint::Consent(n) => {
                let n_before = n_of(self.of(openid).count());
                n_before > 0 && n <= n_before
            }
            Hint::Nothing(_) => false,
        }
    }
}

impl Walker {
    pub(in crate::flow) async fn before(&self, occurrence: &Occurrence) -> Result<Before<'_>, Unavailable> {
        let place = Place::of(occurrence);
        // First: one whose walk ends meanwhile is among these then, or is asked about.
        let for_all = self.rivals.for_all(&place, |rival| !self.rests(&rival.occurrence));
        self.ask_for_whom().await?;
        Ok(Before { walker: self, place, for_all })
    }

    /// Finds out for whom those are that are about appointments and hold something, once each.
    async fn ask_for_whom(&self) -> Result<(), Unavailable> {
        let _others_wait = self.rivals.0.asking.lock().await;
        loop {
            let unasked = self.rivals.unasked();
            if unasked.is_empty() {
                return Ok(());
            }
            let read = move |store: &dyn Store| {
                let asked = unasked.into_iter().map(|rival| Ok((Arc::clone(&rival), rival.ask(store)?)));
                asked.collect::<Result<Vec<_>, _>>()
            };
            self.rivals.are_for(crate::flow::read(&self.store, read).await?);
        }
    }

    /// Nothing is held for somebody any more of what is about an appointment.
    pub(in crate::flow) fn has_gone(&self, occurrence: &Occurrence, openid: &OpenId) {
        self.rivals.has_gone(occurrence, openid);
    }

    /// To whom a delivery leaves its person's consents.
    pub(in crate::flow) async fn leaves(
        &self,
        occurrence: &Occurrence,
        (openid, recipient): (&OpenId, &Recipient),
        before: &Before<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Claim>, Unavailable> {
        // Of nobody before it nothing need be read.
        if !before.are_too_many(openid, Hint::Consent(1)) {
            return Ok(Vec::new());
        }
        let (app, template, whose) = (occurrence.app.clone(), occurrence.template.clone(), openid.clone());
        let account =
            crate::flow::read(&self.store, move |store| store.bare_account(&app, &template, &whose)).await?;
        let hint = Hint::Consent(account.map_or(0, |account| account.unbound()));
        if before.are_too_many(openid, hint) {
            self.claims(before, (openid, recipient), now).await
        } else {
            Ok(Vec::new())
        }
    }

    /// Who of those before wants a consent of this person at `now`, and has not come to him.
    pub(super) async fn claims(
        &self,
        before: &Before<'_>,
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
                && ready.is_his_time(occurrence, openid, recipient)
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::appointment::About;
    use crate::domain::id::{AppId, AppointmentId, Kind};
    use crate::domain::occurrence::{Counts, Whose};
    use crate::domain::rule::OnDoubt;
    use crate::domain::zone::Zone;

    /// Open, with a walk that is not over, and about nobody's appointment.
    fn walks(number: u64, priority: u32) -> Occurrence {
        let due_at = DateTime::UNIX_EPOCH + TimeDelta::minutes(i64::try_from(number % 3).unwrap());
        Occurrence {
            number,
            app: AppId::parse("wxapp0123456789").unwrap(),
            rule: RuleId::parse(&format!("r{}", number % 5)).unwrap(),
            template: TemplateId::parse(&format!("TEMPLATE{}", number % 2)).unwrap(),
            kind: TemplateKind::OneTime,
            due_at,
            civil: due_at.naive_utc(),
            fold: 0,
            zone: Zone::SHANGHAI,
            deadline: due_at,
            state: OccurrenceState::Open,
            reason: None,
            n: 1,
            position: None,
            walked: false,
            counts: Counts::default(),
            snapshot: [0; 32],
            about: None,
            whose: Whose::Everybody,
            priority,
            on_doubt: OnDoubt::Hold,
            repeats: None,
        }
    }

    /// Walked, about somebody's appointment, and held.
    fn held(number: u64, priority: u32) -> Occurrence {
        let mut counts = Counts::default();
        counts.by_state.insert(State::Held, 1);
        let about = About {
            kind: Kind::parse("visit").unwrap(),
            id: AppointmentId::parse(&format!("v{number}")).unwrap(),
            at: DateTime::UNIX_EPOCH,
            number,
            after: 0,
            previous: None,
        };
        Occurrence { walked: true, counts, about: Some(about), ..walks(number, priority) }
    }

    fn person(n: u64) -> OpenId {
        OpenId::parse(&format!("oPerson-{n:05}")).unwrap()
    }

    /// Says for whom all are of whom it is not known; how many were asked.
    fn ask(rivals: &Rivals, n_people: u64) -> usize {
        let mut n = 0;
        loop {
            let unasked = rivals.unasked();
            if unasked.is_empty() {
                return n;
            }
            n += unasked.len();
            let his = |rival: &Rival| vec![person(rival.occurrence.number % n_people)];
            rivals.are_for(unasked.into_iter().map(|rival| (Arc::clone(&rival), his(&rival))).collect());
        }
    }

    #[test]
    fn many_thousands_that_are_held_are_looked_at_once_each() {
        for n in [1_000, 10_000] {
            let all: Vec<Occurrence> = (0..n).map(|number| held(number, 0)).collect();
            let rivals = Rivals::default();
            let mut looks = 0;
            for (at, occurrence) in (0..).zip(&all) {
                // A look at what is there now and then, and each has its turn once.
                if at % 1_000 == 0 {
                    rivals.renew(all.iter());
                }
                looks += ask(&rivals, n);
                let (place, openid) = (Place::of(occurrence), person(at));
                looks += rivals.for_all(&place, |_| true).len() + rivals.for_one(&place, &openid).len();
                rivals.has_gone(occurrence, &openid);
            }
            assert_eq!(looks, all.len(), "nobody has two");
            assert!(rivals.lock().of_one.is_empty(), "all have gone");
            rivals.renew([].iter());
            assert!(rivals.lock().all.is_empty());
        }
    }

    #[test]
    fn the_same_go_before_as_if_each_were_asked_each_time() {
        let mut seed: u64 = 7;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut all: BTreeMap<u64, Occurrence> = BTreeMap::new();
        let mut gone: BTreeSet<u64> = BTreeSet::new();
        let (rivals, n_people) = (Rivals::default(), 5);
        for step in 0..3_000 {
            let priority = u32::try_from(draw(3)).unwrap();
            let known = all.keys().nth(usize::try_from(draw(20)).unwrap()).copied();
            match (draw(8), known) {
                (0, _) => drop(all.insert(step, walks(step, priority))),
                (1, _) => drop(all.insert(step, held(step, priority))),
                (2..5, Some(known)) => drop(all.remove(&known)),
                (5.., Some(known)) => {
                    let occurrence = all.get_mut(&known).unwrap();
                    if occurrence.about.is_some() {
                        rivals.has_gone(occurrence, &person(known % n_people));
                        gone.insert(known);
                    } else {
                        rivals.is_walked(occurrence, Left::Held);
                        occurrence.walked = true;
                        occurrence.counts.by_state.insert(State::Held, 1);
                    }
                }
                _ => {}
            }
            rivals.renew(all.values());
            ask(&rivals, n_people);
            let of = walks(draw(3_000), priority);
            let (place, whose) = (Place::of(&of), draw(n_people));
            let before = |o: &&Occurrence| o.template == of.template && Place::of(o) < place;
            let wants = |o: &&Occurrence| {
                o.about.is_none() || (o.number % n_people == whose && !gone.contains(&o.number))
            };
            let expected: BTreeSet<u64> =
                all.values().filter(before).filter(wants).map(|o| o.number).collect();
            let told = [rivals.for_all(&place, |_| true), rivals.for_one(&place, &person(whose))].concat();
            let told: Vec<u64> = told.iter().map(|rival| rival.occurrence.number).collect();
            assert_eq!(told.len(), expected.len(), "each once");
            assert_eq!(BTreeSet::from_iter(told), expected, "step {step}");
        }
    }
}
