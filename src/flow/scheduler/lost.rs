//! Opens what came due after the cursors of books that are older than what was done, whatever its grace.
//!
//! It may have been sent in time, so none of it is missed; who opens it here books it as in doubt, and sends nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::runs::{self, Run};
use super::{Planned, reminders, told, windows};
use crate::domain::id::AppId;
use crate::domain::rule::Rule;
use crate::flow::live::Live;
use crate::plan::recurrence::Window;
use crate::plan::turn;
use crate::rules::snapshot;
use crate::store::{NewOccurrence, Store, Unavailable};

/// Due times of one rule that are opened, the newest; those before are recorded as one that was missed. Nothing of them is
/// sent either way.
const MAX_LOST: usize = 2_000;

/// Opens it for every rule in force, and moves their cursors to `now`.
///
/// # Errors
/// [`Unavailable`]: the store failed; the same call goes on.
pub async fn open_lost(store: &Arc<dyn Store>, live: &Live, now: DateTime<Utc>) -> Result<(), Unavailable> {
    for rule in live.rules.rules.values() {
        if let Some(app) = live.config.apps.get(&rule.app) {
            let opened = of_rule(store, rule, &app.appid, now).await?;
            told(rule, &opened);
        }
    }
    Ok(())
}

/// Lets every rule in force begin at `now` that the books do not know: while they are on hold no scheduler runs that would, and
/// what comes due until they are released may not go without a record.
///
/// # Errors
/// [`Unavailable`]: the store failed; the same call goes on.
pub async fn begin_all(store: &Arc<dyn Store>, live: &Live, now: DateTime<Utc>) -> Result<(), Unavailable> {
    for rule in live.rules.rules.values() {
        if let Some(app) = live.config.apps.get(&rule.app) {
            store.start_rule(app.appid.clone(), rule.id.clone(), now).await?;
        }
    }
    Ok(())
}

async fn of_rule(
    store: &Arc<dyn Store>,
    rule: &Arc<Rule>,
    app: &AppId,
    now: DateTime<Utc>,
) -> Result<Vec<u64>, Unavailable> {
    let started = store.start_rule(app.clone(), rule.id.clone(), now).await?;
    let zones = if rule.own_time {
        let app = app.clone();
        super::super::read(store, move |store| store.zones(&app, now)).await?
    } else {
        Vec::new()
    };
    let mut planned = Planned {
        rule: Arc::clone(rule),
        app: app.clone(),
        runs: runs::runs(rule, &zones, &[], None),
        cursor: started.value,
        change: 0,
        heard: 0,
        next: None,
        bytes: snapshot::encode(rule),
        overtaken: Vec::new(),
    };
    if planned.cursor >= now {
        return Ok(Vec::new());
    }
    if reminders::of_appointments(rule).is_some() {
        let (app, id) = (app.clone(), rule.id.clone());
        let cursor = super::super::read(store, move |store| store.reminder_cursor(&app, &id)).await?;
        planned.change = cursor.map_or(0, |cursor| cursor.change);
        return reminders::open(store, &mut planned, reminders::Look::Lost, now).await;
    }
    let occurrences = found(rule, &planned.runs, planned.cursor, now);
    super::open_all(store, &mut planned, occurrences, now).await
}

/// Everything due in (cursor, now], by due time.
fn found(rule: &Rule, runs: &[Run], cursor: DateTime<Utc>, now: DateTime<Utc>) -> Vec<NewOccurrence> {
    let of_run = |run: &Run| {
        let run = *run;
        let window = Window { after: run.from(cursor), until: now };
        windows(rule, run.zone, window).map(move |due| (run, due)).collect::<Vec<_>>()
    };
    let mut dues: Vec<_> = runs.iter().flat_map(of_run).collect();
    dues.sort_by_key(|(_, due)| due.at);
    let newer = dues.split_off(dues.len().saturating_sub(MAX_LOST));
    let new = |(run, due): (Run, crate::domain::occurrence::Due), missed| NewOccurrence {
        due,
        zone: run.zone,
        whose: run.whose,
        deadline: turn::end(rule, due.at),
        missed,
    };
    let n_older = crate::domain::count::n_of(dues.len());
    let older = dues.pop().map(|last| new(last, Some(n_older)));
    older.into_iter().chain(newer.into_iter().map(|found| new(found, None))).collect()
}
