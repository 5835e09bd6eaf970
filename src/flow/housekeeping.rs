//! Upkeep that nobody waits for: each job is a function of `now`.
//!
//! tokio-cron-scheduler drives them in UTC; it never decides when a reminder is due. A job that comes
//! late or not at all harms nothing: each is repeated, and runs at start as well.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tracing::{debug, error, info, warn};

use super::books::Books;
use super::intake::memory::Memory;
use super::live::Current;
use super::quota::Quotas;
use super::templates::Templates;
use crate::clock::{Clock, Standing};
use crate::domain::when::Form;
use crate::plan::recurrence;
use crate::store::{APPOINTMENT_DAYS, Store, Unavailable};

/// Room in the scheduler's channels; its default of 200 loses jobs in a burst.
const CHANNEL: usize = 1024;
/// Pieces of old records that one run removes.
const MAX_RETIRED: usize = 200;

/// Pieces of what is left of erased people that one run overwrites.
const MAX_SWEPT: usize = 2_000;
/// Pieces of old doubts that one run books.
const MAX_PRESUMED: usize = 200;
/// How long a delivery is in doubt before it counts as sent.
pub const DOUBT_AGE: TimeDelta = TimeDelta::hours(72);

/// Name of the clock's high-water mark in the store.
const CLOCK: &str = "clock";

/// Who keeps the zone data.
pub trait ZoneData: fmt::Debug + Send + Sync {
    /// Looks whether the system's have changed, and puts them in force.
    fn look(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The jobs' collaborators.
#[derive(Clone, Debug)]
pub struct Housekeeping {
    /// The books.
    pub store: Arc<dyn Store>,
    /// The generation in force.
    pub current: Current,
    /// The time.
    pub clock: Clock,
    /// The zone data.
    pub zones: Arc<dyn ZoneData>,
    /// What was found of the books.
    pub books: Books,
    /// What is left of the apps' quotas.
    pub quotas: Quotas,
    /// The apps' templates.
    pub templates: Templates,
}

impl Housekeeping {
    /// Registers all jobs and starts them; they end with the returned scheduler's shutdown.
    ///
    /// # Errors
    /// The scheduler's own, which means that the process cannot spawn.
    pub async fn start(self) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await?;
        // Second, minute, hour, day, month, weekday, in UTC.
        let minutely = self.clone();
        scheduler
            .add(Job::new_async("0 * * * * *", move |_, _| {
                let jobs = minutely.clone();
                Box::pin(async move { jobs.each_minute().await })
            })?)
            .await?;
        let zones = Arc::clone(&self.zones);
        scheduler
            .add(Job::new_async("40 */10 * * * *", move |_, _| {
                let zones = Arc::clone(&zones);
                Box::pin(async move { zones.look().await })
            })?)
            .await?;
        let nightly = self;
        scheduler
            .add(Job::new_async("0 17 19 * * *", move |_, _| {
                let jobs = nightly.clone();
                Box::pin(async move { jobs.each_night().await })
            })?)
            .await?;
        scheduler.start().await?;
        Ok(scheduler)
    }

    /// Everything once, for the start.
    pub async fn all(&self) {
        self.each_minute().await;
        self.each_night().await;
    }

    /// Runs all jobs after each step of the wall clock, at most once a minute: the scheduler of jobs may be silent
    /// for as long as the clock went back. Never ends.
    pub async fn follow_steps(self) -> ! {
        let mut trust = self.clock.trust();
        let mut told = *trust.borrow_and_update();
        if told.standing != Standing::Believed {
            tell(told.standing);
        }
        loop {
            // The sender is in `self`, so waiting cannot fail.
            let _changed = trust.changed().await;
            let now = *trust.borrow_and_update();
            if now.standing != told.standing {
                tell(now.standing);
            }
            let stepped = now.n_steps != told.n_steps;
            told = now;
            if stepped {
                let seconds = now.last_step.as_seconds_f64();
                warn!(seconds, "The wall clock was stepped by {seconds:.1} seconds");
                self.all().await;
                self.clock.sleep(Duration::from_mins(1)).await;
            }
        }
    }

    /// Overwrites what is left of who is erased as soon as he is; what a walk stands at, the next minute does. Never ends.
    pub async fn follow_erasures(self, memory: Memory) -> ! {
        loop {
            memory.somebody_is_erased().await;
            if sweep(&*self.store, self.clock.reckoned()).await.is_err() {
                debug!("What is left of somebody erased is overwritten later: the store cannot promise");
            }
        }
    }

    async fn each_minute(&self) {
        let believed = self.clock.believed();
        if let Some(mark) = self.clock.mark()
            && mark_clock(&*self.store, mark).await.is_err()
        {
            warn!("The clock's high-water mark could not be kept: the store cannot promise");
        }
        // Nothing grows old by a clock that nobody believes.
        if let Some(now) = believed {
            match presume(&*self.store, now).await {
                Ok(0) => {}
                Ok(n) => {
                    info!(n, "{n} deliveries were in doubt for 72 hours: they count as sent from now on");
                }
                Err(Unavailable) => warn!("Old doubts could not be booked as sent: the store cannot promise"),
            }
        }
        if sweep(&*self.store, self.clock.reckoned()).await.is_err() {
            warn!("What is left of erased people could not be overwritten: the store cannot promise");
        }
        if self.books.look(&*self.store).await.is_err() {
            debug!("A sample of the books could not be proved: the store cannot promise");
        }
        for (name, client) in &self.current.get().clients {
            if let Err(error) = client.warm().await {
                warn!(app = %name, "No access token for app {name}: {error}");
            }
        }
        if self.templates.look(&self.current.get(), self.clock.reckoned()).await.is_err() {
            warn!("The templates could not be held against the rules: the store cannot promise");
        }
        // By the day of Beijing: a clock that nobody believes does not know it.
        if let Some(now) = believed {
            self.quotas.look(&self.current.get(), now).await;
        }
    }

    async fn each_night(&self) {
        let Some(now) = self.clock.believed() else { return };
        if !matches!(self.store.hold(), Ok(None)) {
            // What is due after the cursors is booked first, and asks for what is old by now.
            return;
        }
        let live = self.current.get();
        let after = live.rules.rules.values().filter_map(|rule| match &rule.when.form {
            Form::Relative(relative) => Some(recurrence::longest_after(relative)),
            Form::Cron(_) | Form::At(_) | Form::Every(_) => None,
        });
        let longest_after = after.max().unwrap_or(TimeDelta::zero());
        if let Ok(n) = retire(&*self.store, now, longest_after).await {
            debug!(n, "{n} old records removed");
        } else {
            warn!("Old records could not be removed: the store cannot promise");
        }
    }
}

/// A sentence on a wall clock that is not believed, with what to do; `None` where it is.
#[must_use]
pub fn clock_trouble(standing: Standing) -> Option<String> {
    match standing {
        Standing::Believed => None,
        Standing::Behind { until } => Some(format!(
            "the wall clock is behind: {} has been already, and nothing is sent before it comes again; set the clock, or run `tixing accept-clock` if it is right",
            until.to_rfc3339_opts(SecondsFormat::Secs, true)
        )),
        Standing::Jumped { by } => Some(format!(
            "the wall clock has just jumped {} hours ahead: nothing is sent for two minutes, as it may be set right; `tixing accept-clock` if it is",
            by.num_hours()
        )),
    }
}

fn tell(standing: Standing) {
    if let Some(trouble) = clock_trouble(standing) {
        error!("{trouble}");
    } else {
        info!("The wall clock is believed again");
    }
}

/// Keeps `mark` as the latest instant that has been.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub async fn mark_clock(store: &dyn Store, mark: DateTime<Utc>) -> Result<(), Unavailable> {
    store.keep(CLOCK, mark.timestamp_millis().to_be_bytes().to_vec()).await.map(|_| ())
}

/// The latest instant that an earlier run knew to have been; `None` before the first.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub fn clock_mark(store: &dyn Store) -> Result<Option<DateTime<Utc>>, Unavailable> {
    let kept = store.kept(CLOCK)?.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
    Ok(kept.and_then(DateTime::from_timestamp_millis))
}

/// Books what is in doubt for longer than [`DOUBT_AGE`] as presumed sent; answers how many deliveries.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub async fn presume(store: &dyn Store, now: DateTime<Utc>) -> Result<u64, Unavailable> {
    let mut total = 0;
    for _ in 0..MAX_PRESUMED {
        let n = store.presume(now - DOUBT_AGE, now).await?.value;
        total += n;
        if n == 0 {
            break;
        }
    }
    Ok(total)
}

/// Overwrites what is left of erased people; answers how many records were looked at.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub async fn sweep(store: &dyn Store, now: DateTime<Utc>) -> Result<u64, Unavailable> {
    let mut total = 0;
    for _ in 0..MAX_SWEPT {
        let n = store.sweep(now).await?.value;
        total += n;
        if n == 0 {
            break;
        }
    }
    Ok(total)
}

/// Removes what is older than its time, in bounded pieces; answers how many records. Appointments stay for as long as a
/// rule may remind of them after their time.
///
/// # Errors
/// [`Unavailable`]: the store failed.
pub async fn retire(
    store: &dyn Store,
    now: DateTime<Utc>,
    longest_after: TimeDelta,
) -> Result<u64, Unavailable> {
    let mut total = 0;
    for _ in 0..MAX_RETIRED {
        let n = store.retire(now).await?.value;
        total += n;
        if n == 0 {
            break;
        }
    }
    let appointments_before = now - TimeDelta::days(APPOINTMENT_DAYS) - longest_after;
    for _ in 0..MAX_RETIRED {
        let n = store.retire_appointments(appointments_before, now).await?.value;
        total += n;
        if n == 0 {
            break;
        }
    }
    Ok(total)
}
