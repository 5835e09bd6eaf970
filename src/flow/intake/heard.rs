//! Unionids that a login told of people who are in no books yet: it makes no recipient, their first report does.
//!
//! They are in memory alone. What is lost with it the next login tells again, which a client makes by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::id::{AppId, OpenId, UnionId};

/// Most people that are remembered; then all are forgotten, and their next login tells it again.
const MAX_HEARD: usize = 4096;

/// Somebody in one app.
type Of = (AppId, OpenId);

/// Who was heard of.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<HashMap<Of, UnionId>>);

impl Heard {
    pub(super) fn note(&self, of: Of, unionid: UnionId) {
        let mut all = self.all();
        if all.len() >= MAX_HEARD {
            all.clear();
        }
        all.insert(of, unionid);
    }

    pub(super) fn of(&self, of: &Of) -> Option<UnionId> {
        self.all().get(of).cloned()
    }

    pub(super) fn forget(&self, of: &Of) {
        self.all().remove(of);
    }

    /// Who a person is in these apps.
    pub(super) fn of_person(&self, unionid: &UnionId, is_in: impl Fn(&AppId) -> bool) -> Vec<Of> {
        let all = self.all();
        let his = all.iter().filter(|((app, _), heard)| *heard == unionid && is_in(app));
        his.map(|(of, _)| of.clone()).collect()
    }

    /// Forgets a person in these apps; answers who he was there.
    pub(super) fn forget_person(&self, unionid: &UnionId, is_in: impl Fn(&AppId) -> bool) -> Vec<Of> {
        let his = self.of_person(unionid, is_in);
        self.all().retain(|of, _| !his.contains(of));
        his
    }

    pub(super) fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Of, UnionId>> {
        // A poisoned lock holds a whole map: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_logins_fills_no_memory() {
        let heard = Heard::default();
        let of = |n: usize| {
            let openid = OpenId::parse(&format!("oFLOOD{n:06}")).unwrap();
            (AppId::parse("wxtest").unwrap(), openid)
        };
        let unionid = UnionId::parse("u1").unwrap();
        (0..=3 * MAX_HEARD).for_each(|n| heard.note(of(n), unionid.clone()));
        assert_eq!(heard.all().len(), 1);
        assert_eq!((heard.of(&of(0)), heard.of(&of(3 * MAX_HEARD))), (None, Some(unionid)));
        heard.forget(&of(3 * MAX_HEARD));
        assert_eq!(heard.of(&of(3 * MAX_HEARD)), None);
    }

    #[test]
    fn a_person_is_forgotten_in_the_apps_that_are_meant() {
        let heard = Heard::default();
        let of = |app: &str, who: &str| (AppId::parse(app).unwrap(), OpenId::parse(who).unwrap());
        let all = [of("wx1", "oANNANN001"), of("wx2", "oANNANN002"), of("wx1", "oBOBBOB003")];
        for (of, unionid) in all.iter().zip(["uANN", "uANN", "uBOB"]) {
            heard.note(of.clone(), UnionId::parse(unionid).unwrap());
        }
        let ann = UnionId::parse("uANN").unwrap();
        assert_eq!(heard.forget_person(&ann, |app| *app == all[1].0), [all[1].clone()]);
        assert_eq!(all.clone().map(|of| heard.of(&of).is_some()), [true, false, true]);
        assert_eq!(heard.forget_person(&ann, |_| true), [all[0].clone()]);
    }
}
