//! Recipients for whom the platform takes no messages.

use super::*;

pub(super) fn a_bad_recipient_is_marked_until_something_new_is_heard_of_him(store: &dyn Store) {
    let mark = |who, since: Option<i64>| {
        done(store, store.mark_recipient(app(), openid(who), since.map(at)));
    };
    let bad_since = |who| store.recipient(&app(), &openid(who)).unwrap().and_then(|known| known.bad_since);
    mark(0, Some(1));
    assert_eq!(store.recipient(&app(), &openid(0)).unwrap(), None, "nobody becomes a recipient by it");
    let zone = Zone::parse("Asia/Tokyo").unwrap();
    let profile = Profile { time_zone: Some(zone), muted: true, ..Profile::default() };
    let put = || done(store, store.put_recipient(app(), openid(0), profile.clone(), at(0).into()));
    let ends: [(&str, &dyn Fn()); 3] = [
        ("a word", &|| mark(0, None)),
        ("a put that changes nothing", &|| assert_eq!(put(), Put::Stored { created: false })),
        ("a report that adds nothing", &|| {
            done(store, store.report(report(0, "r1", 1, 9, &[(0, Choice::Reject(at(9)))])));
        }),
    ];
    put();
    for (what, end) in ends {
        mark(0, Some(2));
        mark(0, Some(3));
        assert_eq!(bad_since(0), Some(at(2)), "the first mark stays");
        let walked = store.walk_zone((&app(), zone), &template(0).0, None, 9).unwrap();
        assert_eq!((walked.len(), walked[0].recipient.bad_since), (1, Some(at(2))));
        end();
        let known = store.recipient(&app(), &openid(0)).unwrap().unwrap();
        assert_eq!((known.bad_since, known.profile), (None, profile.clone()), "{what}");
    }
}

pub(super) fn a_signed_request_is_carried_out_once(store: &dyn Store) {
    let asked = |request: u8, now| Asked { request: Some([request; 16]), ..at(now).into() };
    let profile = |muted| Profile { muted, ..Profile::default() };
    let put = |muted, asked| done(store, store.put_recipient(app(), openid(0), profile(muted), asked));
    let muted = || store.recipient(&app(), &openid(0)).unwrap().map(|known| known.profile.muted);
    let erase = |who, asked| done(store, store.erase(app(), openid(who), asked));
    assert_eq!(put(true, asked(1, 0)), Put::Stored { created: true });
    assert_eq!(put(false, at(1).into()), Put::Stored { created: false }, "without an id");
    assert_eq!((put(true, asked(1, 2)), muted()), (Put::Replayed, Some(false)));
    assert_eq!((erase(0, asked(1, 2)), muted()), (Erased::Replayed, Some(false)), "whatever it asks for");
    assert!(matches!(erase(0, asked(2, 3)), Erased::Booked(_)));
    put(false, at(4).into());
    assert_eq!((erase(0, asked(2, 5)), muted()), (Erased::Replayed, Some(false)), "he is here again");
    let quarter = 15 * 60;
    assert_eq!(put(true, asked(1, quarter)), Put::Replayed, "to the last second");
    assert_eq!(
        put(true, asked(1, quarter + 1)),
        Put::Stored { created: false },
        "no signature is believed so long"
    );
}
