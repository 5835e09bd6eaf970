//! Deliveries in memory that are not marked: those that may go, by occurrence, and those that wait for a time.
//!
//! There may be thousands of occurrences, so nothing here looks through all of them each time: the turn goes on from
//! where it was, and deadlines are looked at when the first of them has passed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::Item;
use crate::domain::id::DeliveryId;

/// Places of one queue that are looked at for an openid whose lane is free.
const MAX_LOOK: usize = 64;

/// Where a delivery goes in the queue of its occurrence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Before those that were never tried.
    First,
    Last,
}

/// What a sender has in memory and has not marked.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Deliveries that may be marked, by occurrence; no queue is empty.
    ready: BTreeMap<u64, VecDeque<Item>>,
    /// The occurrence whose turn was last.
    turn: u64,
    /// Waiting ones, the next first.
    times: BinaryHeap<Reverse<(DateTime<Utc>, DeliveryId)>>,
    waiting: HashMap<DeliveryId, Item>,
    /// No deadline is earlier.
    first_deadline: Option<DateTime<Utc>>,
}

impl Queues {
    /// Queues a delivery that may be marked from now on.
    pub(super) fn push(&mut self, item: Item, place: Place) {
        self.mind(item.deadline);
        let queue = self.ready.entry(item.id.occurrence).or_default();
        match place {
            Place::First => queue.push_front(item),
            Place::Last => queue.push_back(item),
        }
    }

    /// Keeps a delivery until `at`.
    pub(super) fn await_time(&mut self, mut item: Item, at: DateTime<Utc>) {
        item.at = Some(at);
        self.mind(item.deadline);
        self.times.push(Reverse((at, item.id)));
        self.waiting.insert(item.id, item);
    }

    fn mind(&mut self, deadline: DateTime<Utc>) {
        self.first_deadline = self.first_deadline.into_iter().chain([deadline]).min();
    }

    /// When the next waiting one comes, or one that stood there before it was put off.
    pub(super) fn next_at(&self) -> Option<DateTime<Utc>> {
        self.times.peek().map(|Reverse((at, _))| *at)
    }

    /// Queues those whose time has come.
    pub(super) fn wake(&mut self, now: DateTime<Utc>) {
        while let Some(Reverse((at, id))) = self.times.peek().copied() {
            if at > now {
                break;
            }
            self.times.pop();
            // One that was put off further stands there twice.
            let comes = self.waiting.get(&id).is_some_and(|item| item.at <= Some(now));
            if comes && let Some(item) = self.waiting.remove(&id) {
                self.push(item, Place::First);
            }
        }
    }

    /// Lets those go now that wait for their app's sake.
    pub(super) fn hurry(&mut self, now: DateTime<Utc>) {
        for item in self.waiting.values_mut().filter(|item| item.for_app && item.at > Some(now)) {
            item.at = Some(now);
            self.times.push(Reverse((now, item.id)));
        }
    }

    /// Takes out one that waits for its app's sake, before its time: the next of those that are `free`.
    pub(super) fn ahead(&mut self, now: DateTime<Utc>, free: impl Fn(&Item) -> bool) -> Option<Item> {
        let waits = |item: &&Item| item.for_app && item.at > Some(now) && free(item);
        let next = self.waiting.values().filter(waits).min_by_key(|item| (item.at, item.id))?.id;
        let mut item = self.waiting.remove(&next)?;
        item.at = Some(now);
        Some(item)
    }

    /// Takes out the next one, the occurrences taking turns: of an occurrence that `may_go`, which its first item says for
    /// all of them, the first one that `is_free`.
    pub(super) fn next(
        &mut self,
        may_go: impl Fn(&Item) -> bool,
        is_free: impl Fn(&Item) -> bool,
    ) -> Option<Item> {
        let turns = self.ready.range(self.turn + 1..).chain(self.ready.range(..=self.turn));
        let mut free = turns.filter(|(_, queue)| queue.front().is_some_and(&may_go)).filter_map(
            |(occurrence, queue)| Some((*occurrence, queue.iter().take(MAX_LOOK).position(&is_free)?)),
        );
        let (occurrence, index) = free.next()?;
        let queue = self.ready.get_mut(&occurrence)?;
        let item = queue.remove(index);
        if queue.is_empty() {
            self.ready.remove(&occurrence);
        }
        self.turn = occurrence;
        item
    }

    /// Takes out what is late; what may leave behind quiet hours waits for that.
    pub(super) fn late(&mut self, now: DateTime<Utc>) -> Vec<Item> {
        if self.first_deadline.is_none_or(|first| now <= first) {
            return Vec::new();
        }
        let late = self.withdraw(|item| now > item.deadline).into_iter();
        let (stay, late): (Vec<Item>, Vec<Item>) = late.partition(|item| item.after_night.is_some());
        for mut item in stay {
            if let Some(at) = item.after_night(now) {
                self.await_time(item, at);
            }
        }
        let items = self.ready.values().flatten().chain(self.waiting.values());
        self.first_deadline = items.map(|item| item.deadline).min();
        late
    }

    /// Takes out what `leaves`.
    pub(super) fn withdraw(&mut self, leaves: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut withdrawn = Vec::new();
        for queue in self.ready.values_mut() {
            let (leaving, staying) =
                std::mem::take(queue).into_iter().partition::<VecDeque<Item>, _>(&leaves);
            *queue = staying;
            withdrawn.extend(leaving);
        }
        self.ready.retain(|_, queue| !queue.is_empty());
        withdrawn.extend(self.waiting.extract_if(|_, item| leaves(item)).map(|(_, item)| item));
        withdrawn
    }
}
