//! Grants that were given for one appointment: to whom they are free, and when.

use super::appointments::{deleted, key, put, reminder, reminders};
use super::*;
use crate::domain::appointment::bound_hash;

/// One acceptance of a person for an appointment.
fn given_for(store: &dyn Store, who: usize, n: usize, now: i64) {
    let bound = Some(bound_hash(&key(n).kind, &key(n).id));
    let tap = [(0, Choice::Accept(Grant { bound, ..grant(now) }))];
    let id = format!("for-{n}-{now}");
    assert_eq!(done(store, store.report(report(who, &id, 1, now, &tap))), ReportOutcome::Booked(vec![]));
}

/// Opens the reminder of an appointment by a rule.
fn opened_by(store: &dyn Store, rule_n: usize, n: usize, now: i64) -> u64 {
    done(store, store.start_rule(app(), rule(rule_n), at(0)));
    let from = store.reminder_cursor(&app(), &rule(rule_n)).unwrap().unwrap();
    let to = Cursor { at: at(now), change: store.newest_change().unwrap() };
    let kept = store.appointment(&key(n)).unwrap().unwrap();
    let new = reminder(key(n).id, kept.at, kept.number);
    match done(store, store.remind(reminders(rule_n, from, to, vec![new]))) {
        Reminded::Moved(answers) => match answers[0] {
            OneReminder::As(number) => number,
            other @ (OneReminder::Nobody | OneReminder::Changed | OneReminder::Busy) => panic!("{other:?}"),
        },
        Reminded::Stale(at) => panic!("the cursor is at {at:?}"),
    }
}

/// How many of a one-person walk get a grant.
fn walked(store: &dyn Store, occurrence: u64, who: usize, now: i64) -> usize {
    reserved(store, piece(occurrence, None, &[(who, Want::Reserve)], Walk::Ends, now)).len()
}

/// One of that person is held until `until`.
fn held(store: &dyn Store, occurrence: u64, who: usize, until: i64) -> DeliveryId {
    let hold = piece(occurrence, None, &[(who, Want::Hold(at(until)))], Walk::Ends, until - 10);
    assert_eq!(reserved(store, hold), []);
    store.delivery_to(occurrence, &openid(who)).unwrap().expect("held").id
}

pub(super) fn it_waits_for_its_appointment(store: &dyn Store) {
    done(store, store.change_appointment(put(0, 1000, &[0], 1)));
    done(store, store.change_appointment(put(1, 2000, &[0, 1], 1)));
    given_for(store, 0, 0, 2);
    let by_clock = |due| open(store, 1, 0, due).expect("new");
    assert_eq!(walked(store, by_clock(10), 0, 10), 0, "it is for another message");
    let other = opened_by(store, 0, 1, 20);
    assert_eq!(walked(store, other, 0, 20), 0, "and so is it where that is about another appointment");
    assert_eq!(view(store, 0, 0).account.available(), 1);
    // Nobody else's waits for it, and what is his own goes first.
    given_for(store, 1, 0, 2);
    assert_eq!(walked(store, by_clock(30), 1, 30), 1, "the appointment is not his");
    let its = opened_by(store, 2, 0, 40);
    assert_eq!(walked(store, its, 0, 40), 1);
    // It is free when its appointment is gone or over, and not in the very moment of it.
    given_for(store, 0, 0, 50);
    given_for(store, 0, 1, 51);
    done(store, store.change_appointment(deleted(0, 60)));
    // That of its reminder, which ended with it, came back.
    assert_eq!((walked(store, by_clock(70), 0, 70), walked(store, by_clock(71), 0, 71)), (1, 1));
    assert_eq!(walked(store, by_clock(2000), 0, 2000), 0);
    assert_eq!(walked(store, by_clock(2001), 0, 2001), 1);
}

/// Also where both are decided in one batch.
pub(super) fn what_is_put_in_the_same_moment_has_what_waits_for_it(store: &dyn Store) {
    for n in 0..8 {
        let now = i64::try_from(n).unwrap() * 10 + 10;
        given_for(store, 0, n, now);
        let by_clock = open(store, 1, 0, now + 1).expect("new");
        let member = [(0, Want::Reserve)];
        // Asked in one breath, behind others: a writer that is busy decides them together.
        let busy: Vec<_> =
            (0..30).map(|m| store.report(report(1, &format!("busy-{n}-{m}"), 1, now, &[]))).collect();
        let put = store.change_appointment(put(n, now + 1000, &[0], now + 1));
        let walk = store.chunk(piece(by_clock, None, &member, Walk::Ends, now + 1));
        drop(busy);
        assert!(matches!(done(store, put), Changed::Booked { created: true, .. }));
        assert_eq!(done(store, walk), PieceOutcome::Booked(vec![]), "{n}: it waits");
        assert_eq!(usize::try_from(view(store, 0, 0).account.available()), Ok(n + 1));
    }
}

pub(super) fn of_two_messages_about_it_the_first_gets_it(store: &dyn Store) {
    done(store, store.change_appointment(put(0, 1000, &[0], 1)));
    given_for(store, 0, 0, 2);
    let (high, low, clock) = (opened_by(store, 0, 0, 10), opened_by(store, 2, 0, 10), open(store, 4, 0, 20));
    let (of_high, of_low) = (held(store, high, 0, 30), held(store, low, 0, 30));
    let release = |id, behind: &[Claim]| {
        let release = Release { id, fate: Fate::Reserve, behind: behind.to_vec() };
        done(store, store.release(vec![release], at(30))).remove(0)
    };
    // What goes by the clock wants it in vain, so it stands in nobody's way.
    let by_clock = held(store, clock.expect("new"), 0, 30);
    assert_eq!(release(by_clock, &[]), Some(State::Skipped));
    assert_eq!(release(of_low, &[Claim::Held(of_high)]), Some(State::Skipped));
    assert_eq!(release(of_high, &[]), Some(State::Reserved));
    // With another that is anybody's, each has one: the clock's does not take what the reminder waits for.
    given_for(store, 0, 0, 40);
    let tap = [(0, Choice::Accept(grant(41)))];
    done(store, store.report(report(0, "free", 1, 41, &tap)));
    let (high, low) = (open(store, 6, 0, 50).expect("new"), opened_by(store, 8, 0, 50));
    let (of_high, of_low) = (held(store, high, 0, 60), held(store, low, 0, 60));
    let release = |id, behind: &[Claim]| {
        let release = Release { id, fate: Fate::Reserve, behind: behind.to_vec() };
        done(store, store.release(vec![release], at(60))).remove(0)
    };
    assert_eq!(release(of_low, &[Claim::Held(of_high)]), Some(State::Reserved));
    assert_eq!(release(of_high, &[]), Some(State::Reserved));
    assert_eq!(view(store, 0, 0).account.available(), 0);
}

/// Who was erased and comes back at once is somebody new: what he had is not his, and what is put for him is.
pub(super) fn an_erasure_takes_its_appointments_at_once(store: &dyn Store) {
    done(store, store.change_appointment(put(0, 1000, &[0], 1)));
    done(store, store.change_appointment(put(1, 1000, &[0, 1], 1)));
    done(store, store.erase(app(), openid(0), at(10).into()));
    assert_eq!(store.appointments_of(&app(), &openid(0), None, 9).unwrap(), []);
    let kept = store.appointment(&key(1)).unwrap().expect("the other's");
    assert_eq!(kept.joined.keys().collect::<Vec<_>>(), [&openid(1)]);
    let again = done(store, store.change_appointment(put(0, 1000, &[0], 11)));
    assert!(matches!(again, Changed::Booked { created: true, .. }), "{again:?}");
    assert!(store.recipient(&app(), &openid(0)).unwrap().is_some(), "whom an appointment names is known");
    while done(store, store.sweep(at(12))) > 0 {}
    assert_eq!(store.appointments_of(&app(), &openid(0), None, 9).unwrap().len(), 1);
    assert!(store.appointment(&key(0)).unwrap().unwrap().appointment().is_some());
}
