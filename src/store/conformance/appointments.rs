//! What the trait promises of appointments and of the reminders of them.

use std::collections::BTreeSet;

use super::super::ledger::StartError;
use super::super::ledger::memory::Memory;
use super::*;
use crate::domain::appointment::Appointment;
use crate::domain::id::{AppointmentId, FieldName, Kind};
use crate::domain::recipient::FieldValue;

pub(super) fn kind() -> Kind {
    Kind::parse("visit").unwrap()
}

pub(super) fn key(n: usize) -> AppointmentKey {
    AppointmentKey { app: app(), kind: kind(), id: AppointmentId::parse(&format!("A{n}")).unwrap() }
}

pub(super) fn put(n: usize, time: i64, who: &[usize], now: i64) -> AppointmentChange {
    let to = Appointment {
        recipients: who.iter().map(|who| openid(*who)).collect(),
        at: at(time),
        fields: BTreeMap::default(),
    };
    AppointmentChange { key: key(n), to: Some(to), request: None, now: at(now) }
}

pub(super) fn reminder(id: AppointmentId, time: DateTime<Utc>, number: u64) -> NewReminder {
    let due = time - chrono::TimeDelta::seconds(900);
    NewReminder {
        id,
        at: time,
        number,
        due: Due { at: due, civil: due.naive_utc(), fold: 0 },
        last_due_at: due,
        zone: Zone::UTC,
        deadline: time,
        late: Late::Send,
        found: Found::InTime,
    }
}

pub(super) fn reminders(rule_n: usize, from: Cursor, to: Cursor, reminders: Vec<NewReminder>) -> Reminders {
    let (template, kind_of) = template(0);
    Reminders {
        app: app(),
        rule: rule(rule_n),
        template,
        kind: kind_of,
        of: kind(),
        from,
        to,
        reminders,
        snapshot: [7; 32],
        snapshot_bytes: b"a rule".to_vec(),
        priority: 0,
        on_doubt: on_doubt(rule_n),
    }
}

fn number(store: &dyn Store, n: usize) -> u64 {
    store.appointment(&key(n)).unwrap().expect("kept").number
}

fn is(store: &dyn Store, change: AppointmentChange) -> Changed {
    done(store, store.change_appointment(change))
}

pub(super) fn deleted(n: usize, now: i64) -> AppointmentChange {
    AppointmentChange { to: None, ..put(n, 0, &[], now) }
}

/// Opens the reminder of one appointment as it is, or as `read` says; the cursor goes to `now`.
pub(super) fn remind(store: &dyn Store, n: usize, now: i64, read: fn(&mut NewReminder)) -> OneReminder {
    done(store, store.start_rule(app(), rule(0), at(0)));
    let from = store.reminder_cursor(&app(), &rule(0)).unwrap().unwrap();
    let to = Cursor { at: at(now), change: store.newest_change().unwrap() };
    let kept = store.appointment(&key(n)).unwrap().unwrap();
    let mut new = reminder(key(n).id, kept.at, kept.number);
    read(&mut new);
    match done(store, store.remind(reminders(0, from, to, vec![new]))) {
        Reminded::Moved(answers) => answers[0],
        Reminded::Stale(at) => panic!("the cursor is at {at:?}"),
    }
}

fn opened(store: &dyn Store, n: usize, now: i64) -> u64 {
    match remind(store, n, now, |_| {}) {
        OneReminder::As(number) => number,
        other @ (OneReminder::Nobody | OneReminder::Changed | OneReminder::Busy) => panic!("{other:?}"),
    }
}

fn give(store: &dyn Store, who: usize, n: u32) {
    let (template, kind) = template(0);
    let (openid, source) = (openid(who), Source::Operator);
    done(store, store.grant(OperatorGrant { app: app(), openid, template, kind, n, source, now: at(0) }));
}

fn walk(store: &dyn Store, occurrence: u64, who: &[usize], now: i64) -> Vec<DeliveryId> {
    let wants: Vec<(usize, Want)> = who.iter().map(|who| (*who, Want::Reserve)).collect();
    reserved(store, piece(occurrence, None, &wants, Walk::Ends, now)).iter().map(|r| r.id).collect()
}

pub(super) fn a_repetition_ends_with_its_appointment(store: &dyn Store) {
    done(store, store.change_appointment(put(0, 1000, &[0], 1)));
    give(store, 0, 2);
    done(store, store.start_rule(app(), rule(1), at(0)));
    let from = store.reminder_cursor(&app(), &rule(1)).unwrap().unwrap();
    let to = Cursor { at: at(10), change: store.newest_change().unwrap() };
    let new = reminder(key(0).id, at(1000), 1);
    let Reminded::Moved(answers) = done(store, store.remind(reminders(1, from, to, vec![new]))) else {
        panic!("the cursor moved")
    };
    let OneReminder::As(number) = answers[0] else { panic!("{answers:?}") };
    let first = walk(store, number, &[0], 11).remove(0);
    assert_eq!(end(store, first, End::Doubt, 12), State::InDoubt);
    let Repeated::Reserved(second) = done(store, store.repeat(first, Again::Now, at(100))) else {
        panic!("there is a grant")
    };
    assert_eq!(view(store, 0, 0).reserved, 1);
    done(store, store.change_appointment(deleted(0, 101)));
    let state = store.occurrence(second.occurrence).unwrap().unwrap().state;
    assert_eq!(
        (state, store.delivery(second).unwrap().unwrap().state),
        (OccurrenceState::Cancelled, State::Cancelled)
    );
    assert_eq!((view(store, 0, 0).reserved, view(store, 0, 0).account.available()), (0, 1));
}

pub(super) fn a_put_that_changes_nothing_has_no_number(store: &dyn Store) {
    assert_eq!(is(store, put(0, 1000, &[0, 1], 1)), Changed::Booked { number: 1, created: true });
    assert_eq!(is(store, put(0, 1000, &[1, 0], 2)), Changed::Same);
    assert_eq!(store.newest_change().unwrap(), 1);
    assert!(store.recipient(&app(), &openid(1)).unwrap().is_some(), "an unknown openid becomes a recipient");
    let name = FieldName::parse("doctor").unwrap();
    let mut told = put(0, 1000, &[0, 1], 3);
    told.to.as_mut().unwrap().fields = [(name, FieldValue::Text("Li".to_owned()))].into();
    assert_eq!(is(store, told.clone()), Changed::Booked { number: 2, created: false });
    assert_eq!(store.appointment(&key(0)).unwrap().unwrap().appointment(), told.to);
    let many = |n: u32| (FieldName::parse(&format!("f{n}")).unwrap(), FieldValue::Text("x".repeat(250)));
    told.to.as_mut().unwrap().fields = (0..32).map(many).collect();
    assert_eq!(is(store, told), Changed::TooLarge);
    assert_eq!(is(store, deleted(0, 4)), Changed::Booked { number: 3, created: false });
    assert_eq!(is(store, deleted(0, 5)), Changed::Unknown);
    assert_eq!(is(store, deleted(1, 5)), Changed::Unknown);
    let gone = store.appointment(&key(0)).unwrap().expect("kept for its number");
    assert_eq!((gone.state, gone.joined.len(), gone.fields.len()), (Standing::Deleted, 0, 0));
    // Its number is not given again when it is forgotten.
    assert_eq!(done(store, store.retire_appointments(at(1001), at(1001))), 1);
    assert_eq!(store.appointment(&key(0)).unwrap(), None);
    assert_eq!(is(store, put(2, 1000, &[0], 6)), Changed::Booked { number: 4, created: true });
}

pub(super) fn a_request_counts_once(store: &dyn Store) {
    let asked = |now| AppointmentChange { request: Some([1; 16]), ..put(0, 1000, &[0], now) };
    // What was not carried out uses up no id.
    let named = |change| AppointmentChange { request: Some([2; 16]), ..change };
    assert_eq!(is(store, named(deleted(3, 0))), Changed::Unknown);
    assert_eq!(is(store, named(deleted(3, 0))), Changed::Unknown, "and says so again");
    let mut large = put(3, 1000, &[0], 0);
    let many = |n: u32| (FieldName::parse(&format!("f{n}")).unwrap(), FieldValue::Text("x".repeat(250)));
    large.to.as_mut().unwrap().fields = (0..32).map(many).collect();
    assert_eq!(is(store, named(large)), Changed::TooLarge);
    assert_eq!(is(store, asked(0)), Changed::Booked { number: 1, created: true });
    assert_eq!(is(store, named(asked(0))), Changed::Same);
    assert_eq!(is(store, named(deleted(3, 0))), Changed::Replayed, "what was so before was carried out");
    assert_eq!(is(store, put(0, 2000, &[0], 1)), Changed::Booked { number: 2, created: false });
    assert_eq!(is(store, asked(900)), Changed::Replayed, "after exactly a quarter of an hour");
    assert_eq!(number(store, 0), 2);
    while done(store, store.retire_appointments(at(0), at(901))) > 0 {}
    assert_eq!(is(store, asked(901)), Changed::Booked { number: 3, created: false });
    // One that changed nothing would bring back what it said, too.
    let same = |now| AppointmentChange { request: Some([2; 16]), ..put(0, 1000, &[0], now) };
    assert_eq!(is(store, same(902)), Changed::Same);
    assert_eq!(is(store, put(0, 2000, &[0], 903)), Changed::Booked { number: 4, created: false });
    assert_eq!(is(store, same(904)), Changed::Replayed);
}

pub(super) fn they_are_met_by_time_and_by_change(store: &dyn Store) {
    for (n, time) in [(0, 1000), (1, 500), (2, 1000), (3, 2000)] {
        is(store, put(n, time, &[0], 1));
    }
    is(store, put(0, 1500, &[0], 2));
    let met = |from: i64, until: i64, limit: usize| -> Vec<String> {
        let window = (at(from), at(until));
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.appointments((&app(), &kind()), window, after.as_ref(), limit).unwrap();
            let Some(last) = page.last().cloned() else { return ids };
            ids.extend(page.iter().map(|(_, id)| id.to_string()));
            after = Some(last);
        }
    };
    assert_eq!(met(0, 9999, 1), ["A1", "A2", "A0", "A3"]);
    assert_eq!(met(500, 1500, 100), ["A2", "A0"], "half-open");
    let other = Kind::parse("visit2").unwrap();
    assert!(store.appointments((&app(), &other), (at(0), at(9999)), None, 9).unwrap().is_empty());
    is(store, deleted(2, 3));
    assert_eq!(met(0, 9999, 2), ["A1", "A0", "A3"], "a deleted one is not met by time");
    let changes = store.changes(&app(), &kind(), 3, 100).unwrap();
    assert_eq!(changes, [(4, key(3).id), (5, key(0).id), (6, key(2).id)], "but by its change");
    assert!(store.changes(&app(), &kind(), 6, 100).unwrap().is_empty());
}

/// Somebody's appointments, read so many at a time.
fn owned(store: &dyn Store, who: usize, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.appointments_of(&app(), &openid(who), after.as_ref(), limit).unwrap();
        let Some(last) = page.last().cloned() else { return found };
        found.extend(page.iter().map(|(kind, id)| format!("{kind} {id}")));
        after = Some(last);
    }
}

pub(super) fn they_are_met_by_person(store: &dyn Store) {
    for (n, time) in [(0, 1000), (1, 500), (2, 2000)] {
        is(store, put(n, time, &[0, 1], 1));
    }
    let mut other = put(0, 1000, &[0], 1);
    other.key.kind = Kind::parse("bill").unwrap();
    is(store, other);
    for limit in [1, 2, 100] {
        assert_eq!(owned(store, 0, limit), ["bill A0", "visit A0", "visit A1", "visit A2"]);
        assert_eq!(owned(store, 1, limit), ["visit A0", "visit A1", "visit A2"]);
    }
    assert!(owned(store, 2, 9).is_empty());
    let (mut all, mut after) = (Vec::new(), None);
    while let Some((key, kept)) = store.all_appointments(after.as_ref(), 1).unwrap().pop() {
        assert_eq!(store.appointment(&key).unwrap(), Some(kept));
        all.push(format!("{} {}", key.kind, key.id));
        after = Some(key);
    }
    assert_eq!(all, owned(store, 0, 9), "they are all his");
    let elsewhere = AppId::parse("wx0000000000000009").unwrap();
    assert_eq!(store.appointments_of(&elsewhere, &openid(0), None, 9).unwrap(), []);
    // Moved, it is still his; handed on, it is the other's; deleted, nobody's.
    is(store, put(0, 1500, &[0, 1], 2));
    is(store, put(1, 500, &[1, 2], 2));
    is(store, deleted(2, 2));
    assert_eq!(owned(store, 0, 9), ["bill A0", "visit A0"]);
    assert_eq!(owned(store, 1, 9), ["visit A0", "visit A1"]);
    assert_eq!(owned(store, 2, 9), ["visit A1"]);
    done(store, store.erase(app(), openid(1), at(3).into()));
    while done(store, store.sweep(at(3))) > 0 {}
    assert!(owned(store, 1, 9).is_empty(), "erased");
    assert_eq!(owned(store, 2, 9), ["visit A1"]);
    // What is forgotten is nobody's; what is later stays.
    while done(store, store.retire_appointments(at(1001), at(1001))) > 0 {}
    assert_eq!((owned(store, 0, 9), owned(store, 2, 9)), (vec!["visit A0".to_owned()], vec![]));
}

pub(super) fn a_reminder_opens_for_what_was_read(store: &dyn Store) {
    is(store, put(0, 1000, &[0], 1));
    assert_eq!(remind(store, 0, 200, |new| new.number += 1), OneReminder::Changed);
    assert_eq!(remind(store, 0, 200, |new| new.at = at(1001)), OneReminder::Changed);
    let first = opened(store, 0, 201);
    assert_eq!(remind(store, 0, 202, |_| {}), OneReminder::Nobody, "he has one");
    let cursor = store.reminder_cursor(&app(), &rule(0)).unwrap().unwrap();
    assert_eq!(cursor, Cursor { at: at(202), change: 1 });
    let stale = reminders(0, Cursor { change: 0, ..cursor }, Cursor { at: at(300), change: 1 }, vec![]);
    assert_eq!(done(store, store.remind(stale)), Reminded::Stale(Some(cursor)));
    // Who belongs to it only since after the due time, which was at(100), is late.
    is(store, put(0, 1000, &[0, 1], 300));
    assert_eq!(remind(store, 0, 301, |new| new.late = Late::Skip), OneReminder::Nobody);
    let second = opened(store, 0, 302);
    let about = store.occurrence(second).unwrap().unwrap().about.unwrap();
    assert_eq!((about.number, about.after, about.previous), (2, 1, Some(first)));
    give(store, 0, 1);
    give(store, 1, 1);
    assert_eq!(walk(store, second, &[0, 1], 303).len(), 1, "only the new one");
    assert_eq!(walk(store, first, &[0, 1], 303).len(), 1, "only the old one");
    assert_eq!(store.reminders(&key(0)).unwrap(), [second]);
    // A missed one is a record, and has the name.
    is(store, put(1, 1000, &[0], 1));
    let missed = remind(store, 1, 400, |new| new.found = Found::TooLate);
    let OneReminder::As(missed) = missed else { panic!("{missed:?}") };
    assert_eq!(store.occurrence(missed).unwrap().unwrap().state, OccurrenceState::Missed);
    assert_eq!(remind(store, 1, 401, |_| {}), OneReminder::Nobody);
}

pub(super) fn a_change_ends_what_it_makes_void(store: &dyn Store) {
    give(store, 0, 5);
    give(store, 1, 5);
    is(store, put(0, 1000, &[0, 1], 1));
    let occurrence = opened(store, 0, 200);
    let ids = walk(store, occurrence, &[0, 1], 200);
    // One is taken off: his alone ends, and his grant comes back.
    is(store, put(0, 1000, &[1], 201));
    let states = |ids: &[DeliveryId]| ids.iter().map(|id| state_of(store, *id)).collect::<Vec<_>>();
    assert_eq!(states(&ids), [State::Cancelled, State::Reserved]);
    assert_eq!(view(store, 0, 0).account.available(), 5);
    // Moved with one waiting, one attempting.
    is(store, put(0, 1000, &[0, 1], 202));
    let second = opened(store, 0, 203);
    let more = walk(store, second, &[0, 1], 203);
    assert_eq!(more.len(), 1);
    let mark = done(store, store.mark(more.clone(), at(204))).remove(0).expect("markable");
    is(store, put(0, 2000, &[0, 1], 205));
    assert_eq!(states(&[ids[1], more[0]]), [State::Cancelled, State::Attempting]);
    let stopped = store.occurrence(occurrence).unwrap().unwrap();
    assert_eq!(stopped.state, OccurrenceState::Cancelled);
    // Moved back: what is attempting stands in the way of a new one.
    is(store, put(0, 1000, &[0, 1], 206));
    assert_eq!(remind(store, 0, 207, |_| {}), OneReminder::Busy);
    let waits = End::Wait { at: at(300), past: Past::Tried };
    done(store, store.settle(vec![Settlement { mark, started_at: Some(at(205)), end: waits, now: at(207) }]));
    assert_eq!(done(store, store.mark(more.clone(), at(300))).len(), 1);
    assert_eq!(state_of(store, more[0]), State::Cancelled, "he belongs to it anew: the old one is not sent");
    let third = opened(store, 0, 301);
    assert_eq!(walk(store, third, &[0, 1], 301).len(), 1, "to him whose one was not attempted");
    // Deleted.
    is(store, deleted(0, 302));
    assert_eq!(store.unfinished().unwrap(), []);
    let told = piece(third, None, &[(0, Want::Reserve)], Walk::Ends, 303);
    assert_eq!(done(store, store.chunk(told)), PieceOutcome::Stale);
}

pub(super) fn an_attempt_blocks_for_ever(store: &dyn Store) {
    give(store, 0, 5);
    is(store, put(0, 1000, &[0], 1));
    let first = opened(store, 0, 200);
    let id = walk(store, first, &[0], 200)[0];
    end(store, id, End::Accepted { msgid: None }, 201);
    for now in [300, 400] {
        is(store, deleted(0, now));
        is(store, put(0, 1000, &[0], now + 1));
        assert_eq!(remind(store, 0, now + 2, |_| {}), OneReminder::Nobody, "he had his message");
    }
    is(store, put(0, 1000, &[0, 1], 500));
    let second = opened(store, 0, 501);
    give(store, 1, 1);
    assert_eq!(walk(store, second, &[0, 1], 501).len(), 1, "also when it opens again for another");
}

// --- the ledger's own ------------------------------------------------------------------------------

fn ledger(memory: &Memory) -> Result<Ledger, StartError> {
    Ledger::start_here(Box::new(memory.clone()), &Clock::system())
}

/// Many, each of them this long.
fn crowd(from: usize) -> BTreeSet<OpenId> {
    (from..from + 64).map(|n| OpenId::parse(&format!("oCrowd{n:022}")).unwrap()).collect()
}

#[test]
fn a_crowd_that_changes_is_one_batch() {
    let memory = Memory::default();
    let store = ledger(&memory).unwrap();
    let crowded = |from: usize| {
        let mut change = put(0, 1000, &[], 1);
        change.to.as_mut().unwrap().recipients = crowd(from);
        change
    };
    is(&store, crowded(0));
    drop(store);
    for batches in 0.. {
        let copy = memory.copy();
        let store = ledger(&copy).unwrap();
        copy.fail_after(Some(batches));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = runtime.block_on(store.change_appointment(crowded(100))).is_ok();
        drop(store);
        copy.fail_after(None);
        let store = ledger(&copy).unwrap();
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "after {batches}");
        let kept = store.appointment(&key(0)).unwrap().unwrap().appointment().unwrap();
        let is_new = kept.recipients == crowd(100);
        assert!(is_new || kept.recipients == crowd(0));
        for openid in crowd(100) {
            assert_eq!(store.recipient(&app(), &openid).unwrap().is_some(), is_new);
            assert_eq!(store.appointments_of(&app(), &openid, None, 9).unwrap().len(), usize::from(is_new));
        }
        if told {
            assert!(is_new && batches > 0);
            return;
        }
    }
}

#[test]
fn a_wrong_index_of_persons_is_found() {
    let told = |change: fn(&mut BTreeMap<Vec<u8>, Vec<u8>>)| {
        let memory = Memory::default();
        let store = ledger(&memory).unwrap();
        is(&store, put(0, 1000, &[0, 1], 1));
        drop(store);
        memory.tamper(change);
        let store = ledger(&memory).unwrap();
        let found = done(&store, Store::fsck(&store)).violations;
        found.into_iter().map(|(code, text)| format!("{code}: {text}")).collect::<Vec<_>>()
    };
    let lost = told(|all| drop(all.pop_first_of(b'w')));
    assert_eq!(lost, ["appointment_person: 1 appointments are not listed"]);
    let wrong = told(|all| {
        let mut key = all.pop_first_of(b'w').expect("listed");
        assert!(all.insert(key.clone(), Vec::new()).is_none());
        *key.last_mut().unwrap() = b'9';
        all.insert(key, Vec::new());
    });
    assert_eq!(wrong, ["appointment_person: an appointment is listed as it is not"]);
}

/// Takes the first entry out whose key begins so.
trait PopFirstOf {
    fn pop_first_of(&mut self, prefix: u8) -> Option<Vec<u8>>;
}

impl PopFirstOf for BTreeMap<Vec<u8>, Vec<u8>> {
    fn pop_first_of(&mut self, prefix: u8) -> Option<Vec<u8>> {
        let key = self.keys().find(|key| key[0] == prefix).cloned()?;
        self.remove(&key);
        Some(key)
    }
}

#[test]
fn a_store_from_before_the_index_gets_it_however_often_its_start_is_cut_off() {
    let memory = Memory::default();
    let store = ledger(&memory).unwrap();
    for n in 0..80 {
        is(&store, put(n, 1000, &[n % 3, 3], 1));
    }
    is(&store, deleted(0, 2));
    drop(store);
    let schema = |all: &mut BTreeMap<Vec<u8>, Vec<u8>>| {
        drop(all.insert(b"mschema".to_vec(), 3_u32.to_be_bytes().to_vec()));
    };
    // Cut off at the end of the first try, and changed by an older program since.
    let stale = memory.copy();
    stale.tamper(|all| {
        let mut key = all.pop_first_of(b'w').expect("listed");
        key.push(b'x');
        all.insert(key, Vec::new());
        schema(all);
    });
    memory.tamper(|all| {
        all.retain(|key, _| key[0] != b'w');
        schema(all);
    });
    for memory in [memory, stale] {
        let mut n_cut = 0;
        for batches in 0.. {
            let memory = memory.copy();
            memory.fail_after(Some(batches));
            let told = ledger(&memory).is_ok();
            memory.fail_after(None);
            n_cut += usize::from(!told);
            let store = ledger(&memory).unwrap();
            assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}");
            assert_eq!(owned(&store, 3, 100).len(), 79);
            if told {
                break;
            }
        }
        assert!(n_cut > 2, "{n_cut}");
    }
}
