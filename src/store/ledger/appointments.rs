//! Decisions about appointments: their changes, the reminders of them that open, and what a change ends.
//!
//! An occurrence is about one appointment at one time. Whether it still holds is asked of the appointment itself,
//! at each mark; what a change closes at once is for the grants' sake and for those who look.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Failed;
use super::consents;
use super::deliveries::change;
use super::holds;
use super::keys::{self, Name};
use super::occurrences::{self, keep_snapshot};
use super::records;
use super::repeats;
use super::requests;
use super::state::{AccountId, BATCH_KEYS, SYNC_KEYS, State};
use super::writer::Desk;
use crate::domain::appointment::{About, MAX_APPOINTMENT_RECIPIENTS, bound_hash};
use crate::domain::count::n_of;
use crate::domain::delivery::{Event, State as DeliveryState};
use crate::domain::id::{AppId, AppointmentId, DeliveryId, Kind, OpenId, RuleId};
use crate::domain::occurrence::{Counts, OccurrenceState, Whose};
use crate::domain::template::TemplateKind;
use crate::store::{
    AppointmentChange, Changed, Cursor, Earlier, Found, Joined, KeptAppointment, Late, MAX_APPOINTMENT_BYTES,
    NewReminder, Occurrence, OneReminder, Reminded, Reminders, Standing, is_among,
};

/// Name of the kept number of the newest change of an appointment.
pub(super) const LAST_CHANGE: &str = "last_change";
/// Keys that a change writes before it knows how many it writes: the app's name, the request.
pub(super) const CHANGE_KEYS: usize = 2;
/// Keys that every change writes beside those of people: record, two indexes twice, number, request.
const RECORD_KEYS: usize = 7;
/// Keys that one change writes at most: beside its record, one for each who leaves, two for each who comes, unknown before.
/// More than a batch usually has, for 40 people who change at once; what lies between two syncs has room for it.
const MOST_KEYS: usize = RECORD_KEYS + 3 * MAX_APPOINTMENT_RECIPIENTS;
const _: () = assert!(MOST_KEYS <= SYNC_KEYS, "a change is one batch");
/// Why an occurrence of a changed appointment ends.
const MOVED: &str = "its appointment was moved or cancelled";

/// The number of the newest change that is applied.
pub(super) fn newest(state: &State) -> Result<u64, Failed> {
    Ok(state.get(&keys::kept(LAST_CHANGE))?.and_then(|bytes| keys::read_number(&bytes)).unwrap_or(0))
}

fn kept(
    state: &State,
    app: Name,
    kind: &Kind,
    id: &AppointmentId,
) -> Result<Option<KeptAppointment>, Failed> {
    let bytes = state.get(&keys::appointment(app, kind, id))?;
    bytes.map(|bytes| records::decode_appointment(&bytes)).transpose()
}

/// Changes an appointment.
pub(super) fn put(desk: &mut Desk<'_>, asked: AppointmentChange) -> Result<Changed, Failed> {
    let AppointmentChange { key, to, request, now } = asked;
    let state = &mut *desk.state;
    let app = state.name(key.app.as_str())?;
    if requests::is_replayed(state, app, request, now)? {
        return Ok(Changed::Replayed);
    }
    let to = to.map(|to| crate::domain::appointment::Appointment { at: records::whole_ms(to.at), ..to });
    let before = kept(state, app, &key.kind, &key.id)?;
    let stood = before.as_ref().and_then(KeptAppointment::appointment);
    let number = newest(state)? + 1;
    let since = Joined { number, at: records::whole_ms(now) };
    let unchanged = if to.is_some() { Changed::Same } else { Changed::Unknown };
    let after = if stood == to { None } else { KeptAppointment::changed(before.as_ref(), to, since) };
    // The names that are known by now may go before.
    desk.room(after.as_ref().map_or(1, |after| n_keys(before.as_ref(), after, since)))?;
    let state = &mut *desk.state;
    // What is answered as not carried out is not remembered as if it were.
    if after.is_none() && unchanged == Changed::Unknown {
        return Ok(unchanged);
    }
    if let Some(after) = &after
        && records::encode_appointment(after)?.len() > MAX_APPOINTMENT_BYTES
    {
        return Ok(Changed::TooLarge);
    }
    // Also where nothing changes: sent again after another change it would bring this one back.
    requests::remember(state, app, request, now)?;
    let Some(after) = after else { return Ok(unchanged) };
    store(state, app, (&key.kind, &key.id), before.as_ref(), &after)?;
    for (openid, joined) in &after.joined {
        if *joined == since {
            consents::meet(state, app, openid, now)?;
        }
    }
    end_what_it_changed(desk, app, (&key.kind, &key.id), &after, now)?;
    Ok(Changed::Booked { number, created: stood.is_none() })
}

/// How many keys a change writes at most.
fn n_keys(before: Option<&KeptAppointment>, after: &KeptAppointment, since: Joined) -> usize {
    let n_before = before.map_or(0, |before| before.joined.len());
    RECORD_KEYS + n_before + 2 * after.joined.values().filter(|joined| **joined == since).count()
}

/// Writes a changed appointment with its indexes, and its number as the newest.
fn store(
    state: &mut State,
    app: Name,
    (kind, id): (&Kind, &AppointmentId),
    before: Option<&KeptAppointment>,
    after: &KeptAppointment,
) -> Result<(), Failed> {
    if let Some(before) = before {
        unlist(state, app, (kind, id), before, |openid| !after.joined.contains_key(openid));
    }
    for openid in after.joined.keys() {
        if before.is_none_or(|before| !before.joined.contains_key(openid)) {
            state.put(keys::owned(app, openid.as_str(), kind, id), Vec::new());
        }
    }
    let stands = u8::from(after.state == Standing::Stands);
    state.put(keys::appointment(app, kind, id), records::encode_appointment(after)?);
    state.put(keys::appointment_time(app, kind, records::ms(after.at), id), vec![stands]);
    state.put(keys::change(app, kind, after.number), id.as_str().as_bytes().to_vec());
    state.put(keys::kept(LAST_CHANGE), after.number.to_be_bytes().to_vec());
    Ok(())
}

/// Removes an appointment's index keys; of those it belongs to, the ones that `leaves` chooses.
fn unlist(
    state: &mut State,
    app: Name,
    (kind, id): (&Kind, &AppointmentId),
    before: &KeptAppointment,
    leaves: impl Fn(&OpenId) -> bool,
) {
    state.remove(keys::appointment_time(app, kind, records::ms(before.at), id));
    state.remove(keys::change(app, kind, before.number));
    for openid in before.joined.keys().filter(|openid| leaves(openid)) {
        state.remove(keys::owned(app, openid.as_str(), kind, id));
    }
}

/// Lists all appointments by whom they belong to, for a store from before there was such an index; durable on return.
pub(super) fn list_owned(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    // A start that was cut off left some, and an older program may have changed appointments since.
    for entry in opened.tree.prefix(keys::OWNED) {
        let (key, _) = entry?;
        desk.room(1)?;
        desk.state.remove(key.to_vec());
    }
    desk.barrier()?;
    for entry in opened.tree.prefix(keys::APPOINTMENT) {
        let (key, value) = entry?;
        let Some((app, kind, id)) = keys::read_appointment(&key) else { continue };
        for openid in records::decode_appointment(&value)?.joined.keys() {
            desk.room(1)?;
            desk.state.put(keys::owned(app, openid.as_str(), &kind, &id), Vec::new());
        }
    }
    desk.barrier()
}

/// Ends occurrences about an appointment as it is no more, and deliveries to those it belongs to no more.
fn end_what_it_changed(
    desk: &mut Desk<'_>,
    app: Name,
    (kind, id): (&Kind, &AppointmentId),
    after: &KeptAppointment,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    if holds::holds(desk.state)? {
        // What is open of it may have been sent since these books were written: its end says so.
        return Ok(());
    }
    let mut numbers = of_appointment(desk.state, app, kind, id)?;
    numbers.extend(repeats::of_appointment(desk.state, app, kind, id)?);
    while let Some(number) = numbers.pop_first() {
        let Some(held) = desk.state.occurrence(number)? else { continue };
        let (n_chunks, state) = (held.n_chunks, held.occurrence.state);
        let Some(about) = held.occurrence.about.clone() else { continue };
        numbers.extend(about.previous);
        match state {
            OccurrenceState::Open | OccurrenceState::Held => {}
            OccurrenceState::Done | OccurrenceState::Missed | OccurrenceState::Cancelled => continue,
        }
        if !after.stands_at(about.at) {
            desk.room(2)?;
            occurrences::stop(desk, number, OccurrenceState::Cancelled, Some(MOVED.to_owned()))?;
        }
        for chunk in 0..n_chunks {
            let slots =
                desk.state.chunk(number, chunk)?.map(|held| held.chunk.slots.clone()).unwrap_or_default();
            for slot in slots.iter().filter(|slot| !after.is_for(&about, &slot.openid)) {
                if slot.state != DeliveryState::Attempting {
                    change(desk, slot.id, Event::Cancel, now, |_| {})?;
                }
            }
        }
    }
    Ok(())
}

/// The newest occurrences about an appointment, one for each rule and time.
fn of_appointment(
    state: &State,
    app: Name,
    kind: &Kind,
    id: &AppointmentId,
) -> Result<BTreeSet<u64>, Failed> {
    let prefix = keys::reminders(app, kind, id);
    let mut numbers = BTreeSet::new();
    for entry in state.tree().range(prefix.clone(), vec![keys::REMINDER + 1]) {
        let (key, value) = entry?;
        if !key.starts_with(&prefix) {
            break;
        }
        numbers.extend(keys::read_number(&value));
    }
    // What opened in the batch under way is not in the tree yet.
    numbers.extend(state.written_after(&prefix).filter_map(|(_, value)| keys::read_number(value)));
    Ok(numbers)
}

/// Whether a delivery's occurrence is about an appointment that does not call for it any more.
pub(super) fn is_void(desk: &mut Desk<'_>, id: DeliveryId, openid: &OpenId) -> Result<bool, Failed> {
    let Some(held) = desk.state.occurrence(id.occurrence)? else { return Ok(false) };
    let Some(about) = held.occurrence.about.clone() else { return Ok(false) };
    let app = held.occurrence.app.clone();
    Ok(!calls_for(desk.state, &app, &about, openid)?)
}

/// Which appointments of somebody's that grants of this account are bound to stand, and are not over: to other messages
/// these grants are not free.
pub(super) fn kept_for(
    state: &mut State,
    payer: &AccountId,
    kind: TemplateKind,
    now: DateTime<Utc>,
) -> Result<BTreeSet<u64>, Failed> {
    let of: BTreeSet<u64> = state.account(payer, kind)?.account.bound().collect();
    let mut to_come = BTreeSet::new();
    if of.is_empty() {
        return Ok(to_come);
    }
    let opened = Arc::clone(&state.opened);
    let prefix = keys::all_owned(payer.app, &payer.openid);
    // What was put in the batch under way is not in the tree yet.
    let written: Vec<Vec<u8>> = state.written_after(&prefix).map(|(key, _)| key.to_vec()).collect();
    let stored = opened.tree.range(prefix.clone(), vec![keys::OWNED + 1]);
    let stored = stored.map(|entry| Ok::<_, Failed>(entry?.0.to_vec()));
    for key in written.into_iter().map(Ok).chain(stored) {
        let key = key?;
        if !key.starts_with(&prefix) {
            break;
        }
        let Some((kind, id)) = keys::read_owned(&key, &prefix) else { continue };
        let name = bound_hash(&kind, &id);
        if of.contains(&name)
            && kept(state, payer.app, &kind, &id)?.is_some_and(|kept| kept.is_to_come(&payer.openid, now))
        {
            to_come.insert(name);
            if to_come.len() == of.len() {
                break;
            }
        }
    }
    Ok(to_come)
}

/// What the deliveries to somebody in earlier occurrences of a reminder mean, from `previous` back.
fn earlier_of(state: &mut State, previous: Option<u64>, openid: &OpenId) -> Result<Earlier, Failed> {
    let mut next = previous;
    while let Some(number) = next {
        let Some(held) = state.occurrence(number)? else { break };
        let n_chunks = held.n_chunks;
        next = held.occurrence.about.as_ref().and_then(|about| about.previous);
        for chunk in 0..n_chunks {
            let Some(held) = state.chunk(number, chunk)? else { continue };
            for slot in held.chunk.slots.iter().filter(|slot| slot.openid == *openid) {
                match Earlier::of(slot) {
                    Earlier::Untried => {}
                    found @ (Earlier::Open | Earlier::Tried) => return Ok(found),
                }
            }
        }
    }
    Ok(Earlier::Untried)
}

/// Whether an occurrence about an appointment may get a delivery to somebody: it still calls for one, and none of
/// an earlier occurrence stands in the way.
pub(super) fn admits(state: &mut State, app: &AppId, about: &About, openid: &OpenId) -> Result<bool, Failed> {
    Ok(calls_for(state, app, about, openid)?
        && earlier_of(state, about.previous, openid)? == Earlier::Untried)
}

/// Whether the appointment that `about` names still calls for a message to `openid`.
fn calls_for(state: &mut State, app: &AppId, about: &About, openid: &OpenId) -> Result<bool, Failed> {
    let app = state.name(app.as_str())?;
    Ok(kept(state, app, &about.kind, &about.id)?.is_some_and(|kept| kept.is_for(about, openid)))
}

// --- reminders ----------------------------------------------------------------------------------------

/// How far a rule has looked.
pub(super) fn cursor(state: &State, app: Name, rule: &RuleId) -> Result<Option<Cursor>, Failed> {
    let Some(ms) = state.cursors.get(app, rule) else { return Ok(None) };
    let bytes = state.get(&keys::changes_read(app, rule))?;
    let change = bytes.and_then(|bytes| keys::read_number(&bytes)).unwrap_or(0);
    Ok(Some(Cursor { at: records::at(ms)?, change }))
}

/// Opens reminders and moves the cursor past them.
pub(super) fn remind(desk: &mut Desk<'_>, asked: &Reminders) -> Result<Reminded, Failed> {
    let app = desk.state.name(asked.app.as_str())?;
    let found = cursor(desk.state, app, &asked.rule)?;
    let from = Cursor { at: records::whole_ms(asked.from.at), ..asked.from };
    if found != Some(from) {
        return Ok(Reminded::Stale(found));
    }
    if !asked.reminders.is_empty() {
        keep_snapshot(desk, &asked.snapshot, &asked.snapshot_bytes)?;
    }
    let state = &mut *desk.state;
    let mut answers = Vec::with_capacity(asked.reminders.len());
    for new in &asked.reminders {
        answers.push(one(state, app, asked, new)?);
    }
    if asked.to != asked.from {
        state.cursors.put(app, &asked.rule, records::ms(asked.to.at));
        state.put(keys::changes_read(app, &asked.rule), asked.to.change.to_be_bytes().to_vec());
    }
    Ok(Reminded::Moved(answers))
}

fn one(state: &mut State, app: Name, asked: &Reminders, new: &NewReminder) -> Result<OneReminder, Failed> {
    let at = records::whole_ms(new.at);
    let appointment = kept(state, app, &asked.of, &new.id)?;
    let Some(appointment) = appointment.filter(|kept| kept.number == new.number && kept.stands_at(at)) else {
        return Ok(OneReminder::Changed);
    };
    let identity = keys::reminder(app, &asked.of, &new.id, records::ms(at), &asked.rule);
    let previous = state.get(&identity)?.and_then(|bytes| keys::read_number(&bytes));
    let earlier = match previous {
        Some(number) => state.occurrence(number)?.and_then(|held| held.occurrence.about.clone()),
        None => None,
    };
    let after = earlier.map_or(0, |about| about.number);
    let in_time = |joined: &Joined| match new.late {
        Late::Send => true,
        Late::Skip => joined.at <= new.last_due_at,
    };
    let mut audience: BTreeSet<OpenId> = appointment
        .joined
        .into_iter()
        .filter(|(_, joined)| is_among(*joined, after, new.number) && in_time(joined))
        .map(|(openid, _)| openid)
        .collect();
    for openid in audience.clone() {
        match earlier_of(state, previous, &openid)? {
            Earlier::Untried => {}
            Earlier::Open => return Ok(OneReminder::Busy),
            Earlier::Tried => {
                audience.remove(&openid);
            }
        }
    }
    if audience.is_empty() {
        return Ok(OneReminder::Nobody);
    }
    let number = state.next_occurrence;
    state.next_occurrence += 1;
    state.put(identity, number.to_be_bytes().to_vec());
    let missed = match new.found {
        Found::InTime => false,
        Found::TooLate => true,
    };
    let about = About { kind: asked.of.clone(), id: new.id.clone(), at, number: new.number, after, previous };
    state.new_occurrence(Occurrence {
        number,
        app: asked.app.clone(),
        rule: asked.rule.clone(),
        template: asked.template.clone(),
        kind: asked.kind,
        due_at: new.due.at,
        civil: new.due.civil,
        fold: new.due.fold,
        zone: new.zone,
        deadline: new.deadline,
        state: if missed { OccurrenceState::Missed } else { OccurrenceState::Open },
        reason: missed.then(|| occurrences::MISSED.to_owned()),
        n: 1,
        position: None,
        walked: missed,
        counts: Counts::default(),
        snapshot: asked.snapshot,
        whose: Whose::Everybody,
        priority: asked.priority,
        on_doubt: asked.on_doubt,
        repeats: None,
        about: Some(about),
    });
    Ok(OneReminder::As(number))
}

// --- upkeep -------------------------------------------------------------------------------------------

/// Removes appointments whose time was before `before`, and requests that need not be remembered; a bounded piece.
pub(super) fn retire(desk: &mut Desk<'_>, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<u64, Failed> {
    desk.barrier()?;
    let opened = Arc::clone(&desk.state.opened);
    let mut n = 0;
    let mut from = vec![keys::APPOINTMENT_TIME];
    while n < BATCH_KEYS / 4 {
        let Some(entry) = opened.tree.range(from, vec![keys::APPOINTMENT_TIME + 1]).next() else { break };
        let (key, _) = entry?;
        let Some((app, kind, ms, id)) = keys::read_appointment_time(&key) else {
            return Err(Failed::Record("a key of appointments by time cannot be read"));
        };
        if ms < records::ms(before) {
            if let Some(record) = kept(desk.state, app, &kind, &id)? {
                desk.room(4 + record.joined.len())?;
                unlist(desk.state, app, (&kind, &id), &record, |_| true);
            }
            desk.state.remove(keys::appointment(app, &kind, &id));
            n += 1;
            from = key.to_vec();
            from.push(0);
        } else {
            // The others of this kind are later.
            from = keys::appointments_from(app, &kind, i64::MAX);
        }
    }
    if n > 0 {
        return Ok(n_of(n));
    }
    requests::retire(desk, now)
}

/// Takes somebody erased at `at_ms` out of the appointments that he joined until then; answers of how many.
pub(super) fn leave_all(
    desk: &mut Desk<'_>,
    (app, openid, until_ms): (Name, &str, i64),
    at_ms: i64,
) -> Result<u64, Failed> {
    let now = records::at(at_ms)?;
    // What is of the batch under way is found by its keys too.
    desk.room(BATCH_KEYS)?;
    let opened = Arc::clone(&desk.state.opened);
    let prefix = keys::all_owned(app, openid);
    let mut n = 0;
    for entry in opened.tree.range(prefix.clone(), vec![keys::OWNED + 1]) {
        let (key, _) = entry?;
        if !key.starts_with(&prefix) {
            break;
        }
        let Some((kind, id)) = keys::read_owned(&key, &prefix) else { continue };
        let Some(before) = kept(desk.state, app, &kind, &id)? else { continue };
        let is_his =
            |(who, joined): &(&OpenId, &Joined)| who.as_str() == openid && records::ms(joined.at) <= until_ms;
        let Some(who) = before.joined.iter().find(is_his).map(|(who, _)| who.clone()) else { continue };
        desk.room(RECORD_KEYS + 1)?;
        let number = newest(desk.state)? + 1;
        let mut to = before.appointment();
        if let Some(to) = &mut to {
            to.recipients.remove(&who);
        }
        // Nobody's appointment is none.
        let to = to.filter(|to| !to.recipients.is_empty());
        let Some(after) = KeptAppointment::changed(Some(&before), to, Joined { number, at: now }) else {
            continue;
        };
        store(desk.state, app, (&kind, &id), Some(&before), &after)?;
        n += 1;
    }
    Ok(n)
}
