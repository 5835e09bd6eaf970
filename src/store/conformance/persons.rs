//! People over all apps: who is one person by his unionid, and what covers all his apps.

use super::super::ledger::memory::Memory;
use super::*;

/// Who is in both apps, and who is not.
pub(super) const UNIONIDS: [&str; 2] = ["uAAAAAAAAAAAAAAA", "uBBBBBBBBBBBBBBB"];

pub(super) fn unionid(n: usize) -> UnionId {
    UnionId::parse(UNIONIDS[n % UNIONIDS.len()]).unwrap()
}

/// One of many apps; the first is [`app`].
pub(super) fn app_of(n: usize) -> AppId {
    if n == 0 { app() } else { AppId::parse(&format!("wxother{n}")).unwrap() }
}

/// The apps of a person, and who he is there, in an order of their own.
pub(super) fn apps(store: &dyn Store, n: usize) -> Vec<(AppId, OpenId)> {
    let mut all = Vec::new();
    loop {
        let page = store.person(&unionid(n), all.last(), 2).unwrap();
        let ends = page.len() < 2;
        all.extend(page);
        if ends {
            all.sort();
            return all;
        }
    }
}

fn who(pairs: &[(usize, usize)]) -> Vec<(AppId, OpenId)> {
    let mut all: Vec<_> = pairs.iter().map(|(a, who)| (app_of(*a), openid(*who))).collect();
    all.sort();
    all
}

fn put(store: &dyn Store, of: (usize, usize), unionid: Option<UnionId>, muted: bool, asked: Asked) -> Put {
    let profile = Profile { unionid, muted, ..Profile::default() };
    done(store, store.put_recipient(app_of(of.0), openid(of.1), profile, asked))
}

fn known(store: &dyn Store, of: (usize, usize)) -> Option<Recipient> {
    store.recipient(&app_of(of.0), &openid(of.1)).unwrap()
}

fn reaching(now: i64, reach: Reach) -> Asked {
    Asked { reach, ..at(now).into() }
}

pub(super) fn one_unionid_is_one_person_over_all_apps(store: &dyn Store) {
    let identify = |of: (usize, usize), n| {
        done(store, store.identify(app_of(of.0), openid(of.1), unionid(n)));
    };
    identify((0, 0), 0);
    assert_eq!((known(store, (0, 0)), apps(store, 0)), (None, vec![]), "nobody becomes a recipient by it");
    let mut told = report(0, "r1", 1, 1, &[]);
    told.adds.unionid = Some(unionid(0));
    done(store, store.report(told));
    assert_eq!(put(store, (1, 1), Some(unionid(0)), false, at(2).into()), Put::Stored { created: true });
    done(store, store.report(Report { app: app_of(2), ..report(2, "r1", 1, 3, &[]) }));
    identify((2, 2), 0);
    assert_eq!(apps(store, 0), who(&[(0, 0), (1, 1), (2, 2)]), "by a report, a put, and the platform's word");
    // What leaves it out keeps it, what names another one moves him.
    put(store, (1, 1), None, true, at(4).into());
    done(store, store.report(report(0, "r2", 1, 5, &[])));
    assert_eq!(known(store, (1, 1)).unwrap().profile.unionid, Some(unionid(0)));
    assert_eq!(apps(store, 0).len(), 3);
    identify((2, 2), 1);
    put(store, (1, 1), Some(unionid(1)), false, at(6).into());
    assert_eq!((apps(store, 0), apps(store, 1)), (who(&[(0, 0)]), who(&[(1, 1), (2, 2)])));
    // One app may know a person by two openids.
    identify((0, 0), 1);
    put(store, (0, 3), Some(unionid(1)), false, at(7).into());
    assert_eq!((apps(store, 0), apps(store, 1).len()), (vec![], 4));
}

pub(super) fn a_person_is_muted_in_the_apps_that_a_request_reaches(store: &dyn Store) {
    for of in [(0, 0), (1, 1), (2, 2), (2, 3)] {
        put(store, of, Some(unionid(usize::from(of == (2, 3)))), false, at(0).into());
    }
    let muted = || [(0, 0), (1, 1), (2, 2), (2, 3)].map(|of| known(store, of).unwrap().profile.muted);
    let some = |apps: &[usize]| Reach::Apps(apps.iter().map(|n| app_of(*n)).collect());
    for (what, muting, reach, expected) in [
        ("this one", true, Reach::This, [true, false, false, false]),
        ("in none but this one", true, some(&[]), [true, false, false, false]),
        ("in these", true, some(&[0, 2]), [true, false, true, false]),
        ("wherever he is", true, Reach::Everywhere, [true, true, true, false]),
        ("heard again in one", false, some(&[1]), [false, false, true, false]),
        ("and everywhere", false, Reach::Everywhere, [false; 4]),
    ] {
        put(store, (0, 0), None, muting, reaching(1, reach));
        assert_eq!(muted(), expected, "{what}");
    }
    let mute = |of: (usize, usize), muted, reach| {
        done(store, store.mute(app_of(of.0), openid(of.1), muted, reaching(1, reach)))
    };
    assert_eq!((mute((1, 1), true, Reach::This), muted()), (1, [false, true, false, false]));
    assert_eq!((mute((2, 2), true, Reach::Everywhere), muted()), (3, [true, true, true, false]));
    assert_eq!((mute((1, 0), true, Reach::Everywhere), known(store, (1, 0))), (0, None));
    assert_eq!((mute((0, 0), false, Reach::Everywhere), muted()), (3, [false; 4]));
    // A request that is seen again does nothing anywhere.
    let asked = Asked { request: Some([1; 16]), ..reaching(2, Reach::Everywhere) };
    assert_eq!(put(store, (0, 0), None, true, asked.clone()), Put::Stored { created: false });
    put(store, (1, 1), None, false, at(3).into());
    assert_eq!(put(store, (0, 0), None, true, asked), Put::Replayed);
    assert_eq!(muted(), [true, false, true, false]);
}

pub(super) fn a_person_is_erased_in_the_apps_that_a_request_reaches(store: &dyn Store) {
    let people = [(0, 0), (1, 1), (2, 2), (2, 3)];
    let all = |asked: Asked| {
        for of in people {
            put(store, of, Some(unionid(usize::from(of == (2, 3)))), false, at(0).into());
        }
        let unionid = asked.reach.unionid(Some(&unionid(0))).cloned();
        let erased = done(store, store.erase(app(), openid(0), asked));
        let left = people.map(|of| known(store, of).is_some());
        let gone = people.into_iter().zip(left).filter(|(_, left)| !left).map(|(of, _)| of);
        assert_eq!(erased, Erased::Booked(Gone { all: who(&gone.collect::<Vec<_>>()), unionid }));
        left
    };
    assert_eq!(all(reaching(1, Reach::This)), [false, true, true, true]);
    assert_eq!(apps(store, 0), who(&[(1, 1), (2, 2)]));
    let one = Reach::Apps([app_of(1)].into());
    assert_eq!(all(reaching(2, one)), [false, false, true, true]);
    assert_eq!(all(reaching(3, Reach::Everywhere)), [false, false, false, true]);
    let erased_at = |of: (usize, usize)| store.erased_at(&app_of(of.0), &openid(of.1)).unwrap();
    assert_eq!(people.map(erased_at), [Some(at(3)), Some(at(3)), Some(at(3)), None]);
    assert_eq!((apps(store, 0), apps(store, 1)), (vec![], who(&[(2, 3)])));
    let nobody = Gone { all: who(&[(0, 1)]), unionid: None };
    let erased = done(store, store.erase(app(), openid(1), reaching(4, Reach::Everywhere)));
    assert_eq!(erased, Erased::Booked(nobody));
}

fn open_at(memory: &Memory) -> Ledger {
    Ledger::start_here(Box::new(memory.clone()), &Clock::by_hand(at(500))).unwrap()
}

/// Apps of one person: more than one batch erases.
const N_APPS: usize = 2 * ERASED_TOGETHER + 3;

/// A person in many apps, each with grants.
fn of_many_apps(store: &dyn Store) {
    for n in 0..N_APPS {
        let profile = Profile {
            unionid: Some(unionid(0)),
            reference: Some(Ref::parse("A1").unwrap()),
            time_zone: Some(Zone::parse("Asia/Tokyo").unwrap()),
            ..Profile::default()
        };
        done(store, store.put_recipient(app_of(n), openid(0), profile, at(0).into()));
        let told = report(0, "r1", 1, 1, &[(0, Choice::Accept(grant(1)))]);
        done(store, store.report(Report { app: app_of(n), ..told }));
    }
}

/// The power goes after any batch: who is gone is gone in all apps, and the request that did it does no more.
#[test]
fn an_erasure_in_all_apps_is_ended_by_the_next_start() {
    let before = Memory::default();
    of_many_apps(&open_at(&before));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = || Asked { request: Some([1; 16]), ..reaching(500, Reach::Everywhere) };
    let left = |store: &dyn Store| {
        (0..N_APPS).filter(|n| store.recipient(&app_of(*n), &openid(0)).unwrap().is_some()).count()
    };
    let mut seen = std::collections::BTreeSet::new();
    for batches in 0.. {
        let memory = before.copy();
        let store = open_at(&memory);
        memory.fail_after(Some(batches));
        let told = runtime.block_on(store.erase(app(), openid(0), asked())).is_ok();
        drop(store);
        memory.fail_after(None);
        let store = open_at(&memory);
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}");
        let (began, was_left) = (store.erased_at(&app(), &openid(0)).unwrap().is_some(), left(&store));
        assert_eq!(was_left, if began { 0 } else { N_APPS }, "cut after {batches}");
        if began {
            // He comes again before the request is repeated.
            let told = Report { app: app_of(1), ..report(0, "r2", 1, 501, &[]) };
            assert_eq!(
                done(&store, store.report(Report { tapped_at: at(501), ..told })),
                ReportOutcome::Booked(vec![])
            );
        }
        let again = done(&store, store.erase(app(), openid(0), asked()));
        assert_eq!(again == Erased::Replayed, began, "cut after {batches}: {again:?}");
        assert_eq!(left(&store), usize::from(began), "cut after {batches}");
        seen.insert(began);
        done(&store, store.erase(app_of(1), openid(0), at(501).into()));
        while done(&store, store.sweep(at(501))) > 0 {}
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}, and asked again");
        drop(store);
        assert!(!memory.holds(UNIONIDS[0]), "his unionid is left, cut after {batches}");
        assert!(!memory.holds(openid(0).as_str()), "his openid is left, cut after {batches}");
        if told {
            break;
        }
    }
    assert_eq!(seen.len(), 2, "cut before and after it began");
}

/// The power goes after any batch: a person is muted in all his apps or in none, and the request is known in the first case.
#[test]
fn a_person_is_muted_in_all_apps_at_once() {
    let before = Memory::default();
    let store = open_at(&before);
    for n in 0..MAX_OF_ONE {
        put(&store, (n, 0), Some(unionid(0)), false, at(0).into());
    }
    drop(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let profile = Profile {
        reference: Some(Ref::parse("A1").unwrap()),
        time_zone: Some(Zone::parse("Asia/Tokyo").unwrap()),
        muted: true,
        ..Profile::default()
    };
    let asked = || Asked { request: Some([1; 16]), ..reaching(500, Reach::Everywhere) };
    let ask = |store: &Ledger| {
        // In company, as it may come.
        let beside = (0..20).map(|n| store.report(report(9, &format!("r{n}"), 1, 1, &[])));
        let beside: Vec<_> = beside.collect();
        let put = store.put_recipient(app(), openid(0), profile.clone(), asked());
        drop(beside);
        put
    };
    let mut seen = std::collections::BTreeSet::new();
    for batches in 0.. {
        let memory = before.copy();
        let store = open_at(&memory);
        memory.fail_after(Some(batches));
        let told = runtime.block_on(ask(&store)).is_ok();
        drop(store);
        memory.fail_after(None);
        let store = open_at(&memory);
        let n = (0..MAX_OF_ONE).filter(|n| known(&store, (*n, 0)).unwrap().profile.muted).count();
        seen.insert(n);
        let again = runtime.block_on(ask(&store)).unwrap().value;
        assert_eq!(again == Put::Replayed, n > 0, "cut after {batches}: {n} are muted");
        if told {
            break;
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, MAX_OF_ONE]);
}

#[test]
fn layouts_before_6_had_no_index_of_persons() {
    let memory = Memory::default();
    of_many_apps(&open_at(&memory));
    let all = apps(&open_at(&memory), 0);
    memory.tamper(|all| {
        all.retain(|key, _| key[0] != b'P');
        all.insert(b"mschema".to_vec(), 5_u32.to_be_bytes().to_vec());
    });
    for batches in 0.. {
        let memory = memory.copy();
        memory.fail_after(Some(batches));
        let told = Ledger::start_here(Box::new(memory.clone()), &Clock::by_hand(at(500))).is_ok();
        memory.fail_after(None);
        let store = open_at(&memory);
        assert_eq!((apps(&store, 0).len(), apps(&store, 0)), (N_APPS, all.clone()), "cut after {batches}");
        assert_eq!(done(&store, Store::fsck(&store)).violations, [], "cut after {batches}");
        if told {
            assert!(batches > 1, "{batches}");
            break;
        }
    }
}
