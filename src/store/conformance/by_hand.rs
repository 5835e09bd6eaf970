//! What an operator sends at once: one consent, one delivery, a name of its own, and nothing where it cannot be.

use super::*;

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
