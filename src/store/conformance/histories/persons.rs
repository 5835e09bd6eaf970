//! What happens to people who are in several apps, told to both books.

use proptest::prelude::*;

use super::super::persons::{UNIONIDS, app_of, apps, unionid};
use super::*;

/// Apps that people are in.
const APPS: usize = 2;

/// One thing that happens to somebody in one of the apps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Being {
    Known { by: u8, person: usize },
    Muted { muted: bool, reach: u8, whole: bool },
    Erased { reach: u8 },
}

pub(super) fn being() -> impl Strategy<Value = Being> {
    prop_oneof![
        5 => (0..3_u8, 0..2_usize).prop_map(|(by, person)| Being::Known { by, person }),
        3 => (any::<bool>(), 0..3_u8, any::<bool>())
            .prop_map(|(muted, reach, whole)| Being::Muted { muted, reach, whole }),
        1 => (0..3_u8).prop_map(|reach| Being::Erased { reach }),
    ]
}

/// One person has another openid in each app.
fn openid_in(app: usize, who: usize) -> OpenId {
    if app == 0 { openid(who) } else { OpenId::parse(&openid(who).as_str().replacen('o', "p", 1)).unwrap() }
}

fn reach(n: u8) -> Reach {
    match n {
        0 => Reach::This,
        1 => Reach::Apps([app_of(1)].into()),
        _ => Reach::Everywhere,
    }
}

/// Who is who, and what is known of them in each app.
pub(super) fn compare(engine: &dyn Store, model: &dyn Store) {
    for n in 0..UNIONIDS.len() {
        assert_eq!(apps(engine, n), apps(model, n));
    }
    for of in 1..APPS {
        for who in 0..PEOPLE.len() {
            let of = |store: &dyn Store| store.recipient(&app_of(of), &openid_in(of, who)).unwrap();
            assert_eq!(of(engine), of(model));
        }
    }
}

impl Play<'_> {
    pub(super) fn is(&mut self, clock: i64, (app_n, who): (usize, usize), what: Being) {
        let (app, openid) = (app_of(app_n), openid_in(app_n, who));
        match what {
            Being::Known { by: 0, person } => {
                let mut told =
                    report(who, &format!("u{clock}"), 1, clock, &[(0, Choice::Accept(grant(clock)))]);
                (told.app, told.openid, told.adds.unionid) = (app, openid, Some(unionid(person)));
                both(&self.engine, &self.model, |store| store.report(told.clone()));
            }
            Being::Known { by: 1, person } => {
                let profile = Profile { unionid: Some(unionid(person)), ..Profile::default() };
                both(&self.engine, &self.model, |store| {
                    store.put_recipient(app.clone(), openid.clone(), profile.clone(), at(clock).into())
                });
            }
            Being::Known { by: _, person } => {
                both(&self.engine, &self.model, |store| {
                    store.identify(app.clone(), openid.clone(), unionid(person))
                });
            }
            Being::Muted { muted, reach: n, whole: false } => {
                let asked = Asked { reach: reach(n), ..at(clock).into() };
                both(&self.engine, &self.model, |store| {
                    store.mute(app.clone(), openid.clone(), muted, asked.clone())
                });
            }
            Being::Muted { muted, reach: n, whole: true } => {
                let profile = Profile { muted, ..Profile::default() };
                let asked = Asked { reach: reach(n), ..at(clock).into() };
                both(&self.engine, &self.model, |store| {
                    store.put_recipient(app.clone(), openid.clone(), profile.clone(), asked.clone())
                });
            }
            Being::Erased { reach: n } => {
                let before = (0..UNIONIDS.len()).map(|n| apps(&self.model, n).len()).sum::<usize>();
                let asked = Asked { reach: reach(n), ..at(clock).into() };
                both(&self.engine, &self.model, |store| {
                    store.erase(app.clone(), openid.clone(), asked.clone())
                });
                until_done(&self.engine, |store| store.sweep(at(clock)));
                let after = (0..UNIONIDS.len()).map(|n| apps(&self.model, n).len()).sum::<usize>();
                if before > after + 1 {
                    self.saw("erased in several apps");
                }
                for (n, unionid) in UNIONIDS.iter().enumerate() {
                    if apps(&self.model, n).is_empty() {
                        self.saw("a person gone whole");
                        assert!(!self.place.holds(unionid), "his unionid is left");
                    }
                }
            }
        }
        if (0..UNIONIDS.len()).any(|n| apps(&self.model, n).len() > 1) {
            self.saw("one person in several apps");
        }
    }
}
