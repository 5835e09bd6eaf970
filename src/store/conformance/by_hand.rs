//! What an operator sends at once: one consent, one delivery, a name of its own, and nothing where it cannot be.

use super::*;
use crate::domain::appointment::About;

/// One message now, of this rule and template.
pub(super) fn asked(now: i64, (rule_n, template_n): (usize, usize), who: usize) -> ByHand {
    let (template, kind) = template(template_n);
    ByHand {
        app: app(),
        rule: rule(rule_n),
        template,
        kind,
        openid: openid(who),
        due_at: at(now),
        civil: at(now).naive_utc(),
        zone: Zone::UTC,
        about: None,
        deadline: at(now + 60),
        snapshot: [7; 32],
        snapshot_bytes: vec![7; 9],
    }
}

pub(super) fn one_message_by_hand_has_a_name_of_its_own(store: &dyn Store) {
    let send =
        |rule_n: usize, now: i64, who: usize| done(store, store.open_by_hand(asked(now, (rule_n, 0), who)));
    assert_eq!(send(0, 10, 0), OpenedByHand::NotStarted);
    done(store, store.start_rule(app(), rule(0), at(0)));
    assert_eq!(send(0, 10, 0), OpenedByHand::Unknown);
    done(store, store.report(report(0, "r", 1, 0, &[(0, Choice::Reject(at(0)))])));
    assert_eq!(send(0, 10, 0), OpenedByHand::Skipped(SkipReason::Refused));
    assert_eq!(store.newest_occurrence().unwrap(), None, "nothing was written");
    for n in 1..4 {
        done(store, store.report(report(0, &format!("r{n}"), 1, n, &[(0, Choice::Accept(grant(n)))])));
    }
    // Two in one second, and the rule's own due time in the same one.
    let OpenedByHand::Reserved(first) = send(0, 10, 0) else { panic!("there is a grant") };
    let OpenedByHand::Reserved(second) = send(0, 10, 0) else { panic!("there is a grant") };
    let third = open(store, 0, 0, 10).expect("its name is free");
    assert!(first.occurrence < second.occurrence && second.occurrence < third);
    let by_hand = |number| store.occurrence(number).unwrap().unwrap().is_by_hand();
    assert_eq!((by_hand(first.occurrence), by_hand(second.occurrence), by_hand(third)), (true, true, false));
    assert_eq!((view(store, 0, 0).account.available(), view(store, 0, 0).reserved), (1, 2));
    let of = store.occurrence(first.occurrence).unwrap().unwrap();
    assert_eq!((of.state, of.walked, of.counts.audience), (OccurrenceState::Open, true, 1));
    assert!(of.counts.adds_up());
    assert_eq!(end(store, first, End::Accepted { msgid: Some(7) }, 11), State::Sent);
    assert_eq!(done(store, store.close(vec![second], Closing::Expired, at(80))), [true]);
    let account = view(store, 0, 0);
    assert_eq!((account.account.available(), account.consumed), (2, 1), "one went back");
    assert_eq!(store.occurrence(second.occurrence).unwrap().unwrap().state, OccurrenceState::Done);
}

/// What somebody has of a template's other kind is no consent, and no failure either.
pub(super) fn a_template_whose_kind_was_corrected_has_nothing_for_it(store: &dyn Store) {
    done(store, store.start_rule(app(), rule(0), at(0)));
    for (t, kind) in [(0, TemplateKind::LongTerm), (1, TemplateKind::OneTime)] {
        let id = format!("r{t}");
        done(store, store.report(report(0, &id, 1, 1, &[(t, Choice::Accept(grant(1)))])));
        let wrong = ByHand { kind, ..asked(10, (0, t), 0) };
        let none = OpenedByHand::Skipped(SkipReason::NoConsent);
        assert_eq!(done(store, store.open_by_hand(wrong)), none, "{kind:?}");
        let right = done(store, store.open_by_hand(asked(10, (0, t), 0)));
        assert!(matches!(right, OpenedByHand::Reserved(_)), "{right:?}");
    }
}

pub(super) fn one_message_by_hand_may_tell_of_an_appointment(store: &dyn Store) {
    done(store, store.start_rule(app(), rule(0), at(0)));
    done(store, store.change_appointment(appointments::put(1, 5000, &[0], 0)));
    let number = store.appointment(&appointments::key(1)).unwrap().expect("kept").number;
    let AppointmentKey { kind, id, .. } = appointments::key(1);
    let of = |time: i64, number: u64| {
        Some(About { kind: kind.clone(), id: id.clone(), at: at(time), number, after: 0, previous: None })
    };
    let send = |now: i64, who: usize, about: Option<About>| {
        done(store, store.open_by_hand(ByHand { about, ..asked(now, (0, 0), who) }))
    };
    for who in [0, 1] {
        done(store, store.report(report(who, "r1", 1, 1, &[(0, Choice::Accept(grant(1)))])));
        done(store, store.report(report(who, "r2", 1, 1, &[(0, Choice::Accept(grant(2)))])));
    }
    assert_eq!(send(10, 0, of(6000, number)), OpenedByHand::Changed, "it is at another time");
    assert_eq!(send(10, 1, of(5000, number)), OpenedByHand::Changed, "it is another's");
    let OpenedByHand::Reserved(first) = send(10, 0, of(5000, number)) else { panic!("there is a grant") };
    let occurrence = store.occurrence(first.occurrence).unwrap().unwrap();
    assert!(occurrence.is_by_hand() && occurrence.about == of(5000, number));
    let of_plan = store.reminders(&appointments::key(1)).unwrap();
    assert!(of_plan.is_empty(), "the plan's reminder is still to come: {of_plan:?}");
    assert_eq!(end(store, first, End::Accepted { msgid: Some(7) }, 11), State::Sent);
    // What moved before it left is not sent, and gives its grant back.
    let OpenedByHand::Reserved(second) = send(20, 0, of(5000, number)) else { panic!("there is a grant") };
    done(store, store.change_appointment(appointments::put(1, 7000, &[0], 21)));
    assert!(done(store, store.mark(vec![second], at(22))).remove(0).is_none());
    assert_eq!(state_of(store, second), State::Cancelled);
    assert_eq!(view(store, 0, 0).account.available(), 1);
    // Long after it nothing of it is left, and its second is free again.
    while done(store, store.retire(at(200 * 86_400))) > 0 {}
    assert_eq!(store.occurrence(first.occurrence).unwrap(), None);
}
