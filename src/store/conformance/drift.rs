//! The drift meter: which answers count as a difference, and under which evidence.

use super::*;
use crate::domain::drift::Evidence;

pub(super) fn counts_what_the_platform_says_otherwise(store: &dyn Store) {
    let send = |rule_n: usize, who: usize, template_n: usize, due: i64, how: End, refused: Option<i64>| {
        let occurrence = open(store, rule_n, template_n, due).expect("new");
        let taken = reserved(store, piece(occurrence, None, &[(who, Want::Reserve)], Walk::Ends, due));
        let mark = done(store, store.mark(vec![taken[0].id], at(due))).remove(0).expect("markable");
        if let Some(at) = refused {
            refuse(store, who, template_n, at);
        }
        let told = Settlement { mark, started_at: Some(at(due)), end: how, now: at(due) };
        done(store, store.settle(vec![told])).remove(0)
    };
    let sent = End::Accepted { msgid: None };
    // Who, template, what was answered, a refusal while the request was under way; what is counted: evidence, denied, at zero.
    let cases = [
        (0, 0, sent, None, None),
        (0, 0, End::Failed { errcode: 47003 }, None, None),
        (0, 0, End::Refused, None, Some((0, Evidence::Backend, 1, 0))),
        (1, 0, sent, Some(500), Some((0, Evidence::Backend, 1, 1))),
        (2, 0, End::Refused, Some(500), None),
        (0, 1, sent, None, None),
        (0, 1, End::Refused, None, Some((1, Evidence::Standing, 1, 0))),
        (1, 1, sent, Some(500), Some((1, Evidence::Standing, 1, 1))),
        (3, 0, End::Refused, None, Some((0, Evidence::Operator, 1, 0))),
    ];
    for who in 0..3 {
        for n in 0..3 {
            let answers = [(0, Choice::Accept(grant(n))), (1, Choice::Accept(grant(n)))];
            done(store, store.report(report(who, &format!("r{n}"), 1, n, &answers)));
        }
    }
    let (template_id, kind) = template(0);
    let by_hand = OperatorGrant {
        app: app(),
        openid: openid(3),
        template: template_id,
        kind,
        n: 1,
        source: Source::Operator,
        now: at(1),
    };
    done(store, store.grant(by_hand));
    let mut seen = 0;
    for (n, (who, template_n, how, refused, expected)) in (0..).zip(cases) {
        let due = 600 + n;
        send(usize::try_from(n).unwrap() % 2, who, template_n, due, how, refused);
        let drift = store.drift().unwrap();
        let total: u64 = drift.iter().map(|one| one.n_denied + one.n_sent_at_zero).sum();
        seen += u64::from(expected.is_some());
        assert_eq!(total, seen, "case {n}: {drift:?}");
        if let Some((template_n, evidence, n_denied, n_sent_at_zero)) = expected {
            let of = |one: &&Drift| one.template == template(template_n).0 && one.evidence == evidence;
            let one = drift.iter().find(of).expect("counted");
            assert_eq!((one.n_denied, one.n_sent_at_zero, one.last_at), (n_denied, n_sent_at_zero, at(due)));
        }
    }
}
