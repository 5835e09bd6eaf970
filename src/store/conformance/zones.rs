//! Zones of recipients: who is found by which, and what each opens.

use super::*;

fn open_one(store: &dyn Store, due: i64, civil: i64, (whose, zone): (Whose, &str)) -> Option<u64> {
    open_for(store, (0, 0), (due, civil), (whose, Zone::parse(zone).unwrap()))
}

pub(super) fn each_zone_opens_a_civil_time_once_and_never_beside_the_rules_own(store: &dyn Store) {
    let default = (Whose::Default, "Asia/Shanghai");
    let (berlin, tokyo) = ((Whose::OfZone, "Europe/Berlin"), (Whose::OfZone, "Asia/Tokyo"));
    let everybody = (Whose::Everybody, "Asia/Shanghai");
    let table = [
        (10, 100, default, true),
        (10, 100, tokyo, true),
        (20, 100, berlin, true),
        (20, 100, berlin, false),
        (20, 100, (Whose::Default, "Europe/Berlin"), false),
        (30, 100, everybody, false),
        (30, 200, everybody, true),
        (30, 200, everybody, false),
        (40, 200, berlin, false),
        (40, 200, default, false),
        (50, 300, berlin, true),
        (60, 300, everybody, false),
    ];
    for (due, civil, whose, opens) in table {
        let number = open_one(store, due, civil, whose);
        assert_eq!(number.is_some(), opens, "{civil} of {whose:?}");
        if let Some(number) = number {
            let stored = store.occurrence(number).unwrap().unwrap();
            assert_eq!((stored.whose, stored.zone.name()), whose);
            reserved(store, piece(number, None, &[], Walk::Ends, due));
        }
    }
    while done(store, store.retire(at(91 * 86_400))) > 0 {}
    assert!(open_one(store, 91 * 86_400, 100, berlin).is_some(), "names are free when their time is over");
}

pub(super) fn recipients_are_found_by_the_zones_they_have_and_had(store: &dyn Store) {
    let zone = |name: &str| Zone::parse(name).unwrap();
    let put = |who, name: Option<&str>, now| {
        let profile = Profile { time_zone: name.map(zone), ..Profile::default() };
        done(store, store.put_recipient(app(), openid(who), profile, at(now).into()));
    };
    let walk = |name: &str| -> Vec<OpenId> {
        let walked = store.walk_zone((&app(), zone(name)), &template(0).0, None, 9).unwrap();
        walked.into_iter().map(|one| one.openid).collect()
    };
    let zones = |now: i64| -> Vec<&str> {
        store.zones(&app(), at(now)).unwrap().into_iter().map(Zone::name).collect()
    };
    let (tokyo, berlin, day) = ("Asia/Tokyo", "Europe/Berlin", 86_400);
    put(0, Some(tokyo), 0);
    put(1, None, 0);
    put(2, Some(berlin), 0);
    assert_eq!(
        (zones(0), walk(tokyo), walk(berlin)),
        (vec![tokyo, berlin], vec![openid(0)], vec![openid(2)])
    );
    let mut told = report(1, "r", 1, 10, &[]);
    told.adds.time_zone = Some(zone(tokyo));
    done(store, store.report(told));
    put(2, Some(tokyo), 20);
    assert_eq!(
        (zones(20), walk(berlin)),
        (vec![tokyo, berlin], vec![openid(2)]),
        "he was there a moment ago"
    );
    assert_eq!(walk(tokyo), [openid(0), openid(1), openid(2)]);
    assert_eq!(zones(4 * day), [tokyo], "a change of zone is over");
    let moves: Vec<usize> =
        (0..3).map(|who| store.recipient(&app(), &openid(who)).unwrap().unwrap().moves.len()).collect();
    assert_eq!(moves, [0, 1, 1], "no zone is one, too");
    done(store, store.erase(app(), openid(0), at(30).into()));
    assert_eq!(walk(tokyo), [openid(1), openid(2)]);
    put(2, None, 4 * day);
    assert_eq!((walk(tokyo), walk(berlin)), (vec![openid(1), openid(2)], vec![]));
}
