//! Opens occurrences when they are due, and moves each rule's cursor past them in the same batch.
//!
//! It never sends and never chooses recipients. A wake-up says "look"; what to do follows from the
//! rules in force and the cursors, so a restart and normal running are one path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::bell::Bell;
use super::live::{self, Current, Live};
use super::pulse::Pulse;
use crate::clock::Clock;
use crate::domain::config::Basis;
use crate::domain::id::{AppId, RuleId};
use crate::domain::occurrence::{Due, OccurrenceState};
use crate::domain::rule::Rule;
use crate::domain::zone::Zone;
use crate::plan::missed::{self, Verdict};
use crate::plan::recurrence::{self, Window};
use crate::plan::turn;
use crate::rules::snapshot;
use crate::store::{MAX_OPENED, NewOccurrence, Opened, Opening, Store, Unavailable};

mod lost;
mod reminders;
mod runs;

pub use self::lost::{begin_all, open_lost};
use self::runs::{Run, Zones};

/// The longest sleep: the wall clock is read again at least this often, so that a suspended machine or
/// a stepped clock is noticed.
pub const MAX_SLEEP: Duration = Duration::from_secs(1);

/// Rules whose occurrences are opened side by side, so that the writer makes one group of many.
const MAX_TOGETHER: usize = 256;

/// How far other zone data can move a due time: both offsets are less than a day.
const MAX_MOVE: TimeDelta = TimeDelta::days(2);

/// The loop that opens what is due.
#[derive(Debug)]
pub struct Scheduler {
    store: Arc<dyn Store>,
    current: Current,
    clock: Clock,
    /// Rung when a reload put another generation in force.
    reloaded: Arc<Notify>,
    /// Rung when something was opened or stopped.
    opened: Bell,
    /// Told of each look.
    pulse: Pulse,
    generation: u64,
    /// The generation that waits for a clock that can be believed.
    put_off: u64,
    rules: BTreeMap<RuleId, Planned>,
    zones: Zones,
    /// When the first of all rules is due: most looks find nothing, and thousands of rules are not asked for it.
    next: Option<DateTime<Utc>>,
    /// Whether there are rules of appointments, which others may change at any time.
    of_appointments: bool,
    /// Whether there are rules of the recipients' own time, whose zones come and go.
    own_time: bool,
    /// Whether files were ever read: before, a rule that appears is none that comes back.
    informed: bool,
}

/// What the loop remembers of a rule.
#[derive(Debug)]
struct Planned {
    rule: Arc<Rule>,
    app: AppId,
    /// By whose clocks it is due.
    runs: Vec<Run>,
    cursor: DateTime<Utc>,
    /// Of a rule of appointments: the newest change that its cursor has seen.
    change: u64,
    /// And the newest that `next` knows of.
    heard: u64,
    next: Option<DateTime<Utc>>,
    bytes: Vec<u8>,
    /// Due times of zones that other zone data moved behind the cursor before it had come to them.
    overtaken: Vec<(Zone, Due)>,
}

impl Scheduler {
    /// Opens into `store`; rings `opened` after each opening, looks again when `reloaded` rings.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        current: Current,
        clock: Clock,
        reloaded: Arc<Notify>,
        opened: Bell,
    ) -> Self {
        Self {
            store,
            current,
            clock,
            reloaded,
            opened,
            pulse: Pulse::default(),
            generation: 0,
            put_off: 0,
            rules: BTreeMap::new(),
            zones: Zones::default(),
            next: None,
            of_appointments: false,
            own_time: false,
            informed: false,
        }
    }

    /// Lets `pulse` tell of each look.
    #[must_use]
    pub fn felt_by(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// Runs until the store fails.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn run(mut self) -> Result<(), Unavailable> {
        let at_work = self.pulse.begin();
        loop {
            self.look().await?;
            at_work.looked();
            let wait = self.wait();
            tokio::select! {
                // In this order, so that a history can be replayed; both lead to the same look.
                biased;
                () = self.clock.sleep(wait) => {}
                () = self.reloaded.notified() => {}
            }
        }
    }

    /// One look: takes over a new generation, opens everything that is due.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub async fn look(&mut self) -> Result<(), Unavailable> {
        let live = self.current.get();
        let Some(now) = self.clock.believed() else { return self.put_off(&live).await };
        if live.generation != self.generation {
            // What came due before the change was seen is due by the rules from before it.
            self.open_due(now).await?;
            self.take_over(&live, now).await?;
        }
        match self.clock.believed() {
            Some(now) => self.open_due(now).await,
            None => Ok(()),
        }
    }

    /// While nobody knows what time it is, nothing is due and no rule begins; one that is gone is gone.
    async fn put_off(&mut self, live: &Live) -> Result<(), Unavailable> {
        if live.generation == self.put_off {
            return Ok(());
        }
        match live.rules.basis {
            Basis::Files => self.cancel_removed(live).await?,
            Basis::Nothing => {}
        }
        self.put_off = live.generation;
        self.current.plan(live::Planned { generation: live.generation, since: self.clock.reckoned() });
        Ok(())
    }

    async fn open_due(&mut self, now: DateTime<Utc>) -> Result<(), Unavailable> {
        // Read before the zones, which are read before what changed: by the clock of whoever a change is for it is due.
        let newest = if self.of_appointments {
            Some(super::read(&self.store, Store::newest_change).await?)
        } else {
            None
        };
        if self.own_time {
            for planned in self.zones.renew(&self.store, self.rules.values_mut(), now).await? {
                planned.next = match reminders::of_appointments(&planned.rule).cloned() {
                    Some(relative) => reminders::next(&self.store, planned, &relative).await?,
                    None => next_due(planned),
                };
            }
            self.ask_all();
        }
        if let Some(newest) = newest {
            let mut changed = false;
            for planned in self.rules.values_mut() {
                changed |= planned.heard < newest && reminders::of_appointments(&planned.rule).is_some();
                reminders::hear(&self.store, planned, newest).await?;
            }
            if changed {
                // What a change made void is closed in the books; who has it in memory looks.
                self.opened.ring();
                self.ask_all();
            }
        }
        if self.next.is_none_or(|next| next > now) {
            self.opened.is_through(now, self.next_look(now));
            return Ok(());
        }
        let planned = self.rules.values_mut();
        let due: Vec<&mut Planned> =
            planned.filter(|planned| planned.next.is_some_and(|next| next <= now)).collect();
        let mut anything = false;
        let mut openings = FuturesUnordered::new();
        for planned in due {
            if openings.len() >= MAX_TOGETHER
                && let Some(opened) = openings.next().await
            {
                anything |= opened?;
            }
            openings.push(open(&self.store, planned, now));
        }
        while let Some(opened) = openings.next().await {
            anything |= opened?;
        }
        drop(openings);
        self.ask_all();
        self.opened.is_through(now, self.next_look(now));
        if anything {
            // Once: a ring makes those who walk read all that is open, and their pieces would come between the openings.
            self.opened.ring();
        }
        Ok(())
    }

    fn ask_all(&mut self) {
        self.next = self.rules.values().filter_map(|planned| planned.next).min();
    }

    /// Before this nothing more is due, unless something changes.
    fn next_look(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let latest = now + MAX_SLEEP;
        self.next.map_or(latest, |next| next.min(latest))
    }

    fn wait(&self) -> Duration {
        // By a clock that is not believed much may be long due, and none of it is opened.
        let Some(now) = self.clock.believed() else { return MAX_SLEEP };
        let until = self.next.map_or(MAX_SLEEP, |next| (next - now).to_std().unwrap_or_default());
        // Rounded up to the timer's millisecond: never early.
        until.min(MAX_SLEEP)
    }

    /// Takes over another generation at `now`: new rules start there, changed ones go on from there, and
    /// what is open of removed or disabled ones is cancelled.
    async fn take_over(&mut self, live: &Live, now: DateTime<Utc>) -> Result<(), Unavailable> {
        let mut rules = BTreeMap::new();
        for (id, rule) in &live.rules.rules {
            let Some(app) = live.config.apps.get(&rule.app) else { continue };
            let started = self.store.start_rule(app.appid.clone(), id.clone(), now).await?;
            let mut planned = Planned {
                rule: Arc::clone(rule),
                app: app.appid.clone(),
                runs: self.rules.get(id).map_or_else(Vec::new, |old| old.runs.clone()),
                cursor: started.value,
                change: 0,
                heard: 0,
                next: None,
                bytes: snapshot::encode(rule),
                overtaken: Vec::new(),
            };
            if self.rules.get(id).is_none_or(|old| old.bytes != planned.bytes) {
                // An opening keeps it where this is not done by then.
                let _queued = self.store.keep_snapshot(snapshot::hash(&planned.bytes), planned.bytes.clone());
            }
            // A rule that changed while the daemon runs takes effect at the next due time, never for one that has passed.
            // So does one that comes back after it was removed or disabled; at a start the cursor says what was missed.
            let changed = match self.rules.get(id) {
                Some(old) => {
                    let of = |rule: &Rule| (rule.zone, rule.own_time);
                    old.rule.when != rule.when || of(&old.rule) != of(rule)
                }
                None => self.informed,
            };
            let relative = reminders::of_appointments(rule);
            if relative.is_some() {
                let (app, id) = (planned.app.clone(), id.clone());
                let cursor = super::read(&self.store, move |store| store.reminder_cursor(&app, &id)).await?;
                planned.change = cursor.map_or(0, |cursor| cursor.change);
            }
            if changed && now > planned.cursor {
                match relative {
                    Some(_) => reminders::pass(&self.store, &mut planned, now).await?,
                    None => drop(self.advance(&mut planned, now, Vec::new()).await?),
                }
            }
            planned.runs = self.zones.runs(rule, &planned.app, &planned.runs);
            if let Some(old) = self.rules.get(id).filter(|_| !changed) {
                planned.overtaken = overtaken(old, &planned);
            }
            planned.heard = planned.change;
            planned.next = match relative {
                Some(relative) => reminders::next(&self.store, &planned, relative).await?,
                None => next_due(&planned),
            };
            rules.insert(id.clone(), planned);
        }
        self.rules = rules;
        self.of_appointments =
            self.rules.values().any(|planned| reminders::of_appointments(&planned.rule).is_some());
        self.own_time = self.rules.values().any(|planned| planned.rule.own_time);
        self.ask_all();
        self.generation = live.generation;
        match live.rules.basis {
            Basis::Files => {
                self.informed = true;
                self.cancel_removed(live).await?;
            }
            Basis::Nothing => {}
        }
        // Who asked for the change is answered by this: no cut may take it back, and let what was due before count.
        self.store.wait(self.store.decided()).await?;
        self.current.plan(live::Planned { generation: live.generation, since: now });
        Ok(())
    }

    async fn cancel_removed(&self, live: &Live) -> Result<(), Unavailable> {
        for occurrence in super::read(&self.store, Store::unfinished).await? {
            let kept = live.rules.rules.get(&occurrence.rule).is_some_and(|rule| {
                live.config.apps.get(&rule.app).is_some_and(|app| app.appid == occurrence.app)
            });
            if kept || occurrence.state == OccurrenceState::Cancelled {
                continue;
            }
            info!(rule.id = %occurrence.rule, occurrence.due_at = %occurrence.due_at,
                "Occurrence {} of rule {} cancelled: its rule was removed or disabled", occurrence.due_at, occurrence.rule);
            let reason = Some("rule removed or disabled".to_owned());
            self.store.stop_occurrence(occurrence.number, OccurrenceState::Cancelled, reason).await?;
        }
        self.opened.ring();
        Ok(())
    }

    async fn advance(
        &self,
        planned: &mut Planned,
        to: DateTime<Utc>,
        occurrences: Vec<NewOccurrence>,
    ) -> Result<Vec<u64>, Unavailable> {
        advance(&*self.store, planned, to, occurrences).await
    }
}

/// Opens what is due of one rule in (cursor, now]; whether anything was.
async fn open(
    store: &Arc<dyn Store>,
    planned: &mut Planned,
    now: DateTime<Utc>,
) -> Result<bool, Unavailable> {
    if reminders::of_appointments(&planned.rule).is_some() {
        let opened = reminders::open(store, planned, reminders::Look::Usual, now).await?;
        told(&planned.rule, &opened);
        return Ok(!opened.is_empty());
    }
    let rule = Arc::clone(&planned.rule);
    let overtaken = std::mem::take(&mut planned.overtaken);
    let of_runs = planned.runs.iter().flat_map(|run| {
        let overtaken: Vec<Due> =
            overtaken.iter().filter(|(zone, _)| *zone == run.zone).map(|(_, due)| *due).collect();
        found(&rule, run, &overtaken, run.from(planned.cursor), now)
    });
    let mut occurrences: Vec<NewOccurrence> = of_runs.collect();
    // The order of the sort is that of the runs where zones share an instant.
    occurrences.sort_by_key(|new| new.due.at);
    let opened = open_all(store, planned, occurrences, now).await?;
    planned.next = next_due(planned);
    told(&rule, &opened);
    Ok(!opened.is_empty())
}

/// Opens `occurrences`, in the order of their due times, and moves the cursor to `now`.
async fn open_all(
    store: &Arc<dyn Store>,
    planned: &mut Planned,
    mut occurrences: Vec<NewOccurrence>,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, Unavailable> {
    let mut opened = Vec::new();
    // Piece by piece, the cursor behind each: a crash in between finds the rest again.
    loop {
        let rest = occurrences.split_off(occurrences.len().min(MAX_OPENED));
        let to = match (occurrences.last(), rest.first()) {
            // What shares an instant with the next piece is found again with it, and known.
            (Some(last), Some(next)) if last.due.at == next.due.at => {
                planned.cursor.max(last.due.at - TimeDelta::milliseconds(1))
            }
            (Some(last), Some(_)) => last.due.at,
            (_, None) | (None, _) => now,
        };
        opened.extend(advance(&**store, planned, to, occurrences).await?);
        // Where somebody else moved the cursor, what is due from there is found at the next look.
        if rest.is_empty() || planned.cursor != to {
            break;
        }
        occurrences = rest;
    }
    Ok(opened)
}

/// Says in the log what was opened.
fn told(rule: &Rule, opened: &[u64]) {
    for number in opened {
        let id = &rule.id;
        info!(rule.id = %id, occurrence = number, "Occurrence {number} of rule {id} opened or recorded");
    }
}

/// Moves a rule's cursor to `to`, over `occurrences`.
async fn advance(
    store: &dyn Store,
    planned: &mut Planned,
    to: DateTime<Utc>,
    occurrences: Vec<NewOccurrence>,
) -> Result<Vec<u64>, Unavailable> {
    let decided = store
        .open(Opening {
            app: planned.app.clone(),
            rule: planned.rule.id.clone(),
            template: planned.rule.template.id.clone(),
            kind: planned.rule.template.kind,
            from: planned.cursor,
            to,
            occurrences,
            snapshot: snapshot::hash(&planned.bytes),
            snapshot_bytes: planned.bytes.clone(),
            priority: planned.rule.priority,
            on_doubt: planned.rule.on_doubt,
        })
        .await?;
    match decided.value {
        Opened::Moved(numbers) => {
            planned.cursor = to;
            Ok(numbers)
        }
        Opened::Stale(cursor) => {
            warn!(rule.id = %planned.rule.id, "Cursor of rule {} was moved by somebody else", planned.rule.id);
            planned.cursor = cursor.unwrap_or(to);
            Ok(Vec::new())
        }
    }
}

/// What is due of a rule by one clock in (cursor, now] and what was overtaken before, as records: what opens stands
/// alone, neighbours that were missed share one, named after the newest of them.
fn found(
    rule: &Rule,
    run: &Run,
    overtaken: &[Due],
    cursor: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<NewOccurrence> {
    let grace = TimeDelta::from_std(rule.grace).unwrap_or(TimeDelta::MAX);
    let mut records = Records { rule, run, list: Vec::new() };
    // What is beyond grace is missed under every policy and only counted, however much it is.
    let beyond = now.checked_sub_signed(grace).map(|at| at - TimeDelta::milliseconds(1));
    let (late, near): (Vec<&Due>, Vec<&Due>) =
        overtaken.iter().partition(|due| beyond.is_some_and(|beyond| due.at <= beyond));
    let horizon = beyond.unwrap_or(cursor).max(cursor);
    for due in
        late.into_iter().copied().chain(windows(rule, run.zone, Window { after: cursor, until: horizon }))
    {
        records.push(due, Verdict::Missed);
    }
    let within = windows(rule, run.zone, Window { after: horizon, until: now });
    let dues: Vec<Due> = near.into_iter().copied().chain(within).collect();
    for (due, verdict) in missed::judge(&dues, rule.grace, rule.missed, now) {
        records.push(due, verdict);
    }
    records.list
}

/// Due times that `old` had before it and that the zone data of `new` put behind the cursor.
///
/// What they put before it once more is known to the store by its civil time, and not opened again.
fn overtaken(old: &Planned, new: &Planned) -> Vec<(Zone, Due)> {
    let mut overtaken = Vec::new();
    for run in &new.runs {
        let Some(before) = old.runs.iter().find(|before| before.zone == run.zone) else { continue };
        if before.zone.reads_as(run.zone) {
            continue;
        }
        let cursor = run.from(new.cursor);
        let ahead = Window { after: cursor, until: cursor + MAX_MOVE };
        let ahead: BTreeSet<_> =
            windows(&old.rule, before.zone, ahead).map(|due| (due.civil, due.fold)).collect();
        let behind = windows(&new.rule, run.zone, Window { after: cursor - MAX_MOVE, until: cursor });
        let passed = behind.filter(|due| ahead.contains(&(due.civil, due.fold)));
        overtaken.extend(passed.map(|due| (run.zone, due)));
    }
    overtaken
}

/// All due times of a window, however many.
fn windows(rule: &Rule, zone: Zone, window: Window) -> impl Iterator<Item = Due> {
    let mut after = Some(window.after);
    std::iter::from_fn(move || {
        let from = after.filter(|after| *after < window.until)?;
        let dues = recurrence::occurrences(&rule.when, zone, Window { after: from, ..window });
        let full = dues.len() == recurrence::MAX_OCCURRENCES;
        after = dues.last().filter(|_| full).map(|due| due.at);
        Some(dues)
    })
    .flatten()
}

/// Records of one look, as they grow.
struct Records<'a> {
    rule: &'a Rule,
    run: &'a Run,
    list: Vec<NewOccurrence>,
}

impl Records<'_> {
    fn push(&mut self, due: Due, verdict: Verdict) {
        let missed = match verdict {
            Verdict::Open => None,
            Verdict::Missed => Some(1),
        };
        if let Some(last) = self.list.last_mut().filter(|last| missed.is_some() && last.missed.is_some()) {
            last.due = due;
            last.missed = last.missed.map(|n| n + 1);
        } else {
            self.list.push(NewOccurrence {
                due,
                zone: self.run.zone,
                whose: self.run.whose,
                deadline: turn::end(self.rule, due.at),
                missed,
            });
        }
    }
}

fn next_due(planned: &Planned) -> Option<DateTime<Utc>> {
    let overtaken = planned.overtaken.iter().map(|(_, due)| due.at);
    let next = |run: &Run| recurrence::next(&planned.rule.when, run.zone, run.from(planned.cursor));
    let ahead = planned.runs.iter().filter_map(next).map(|due| due.at);
    overtaken.chain(ahead).min()
}
