//! What somebody's grants of one template carry, due time after due time: what was given for an appointment waits for it,
//! as it does when the time comes.

use chrono::{DateTime, Utc};

use super::reminders::Subject;
use crate::domain::appointment::bound_hash;
use crate::domain::consent::Account;
use crate::domain::count::n_of;
use crate::domain::id::{AppId, OpenId};
use crate::domain::template::TemplateKind;
use crate::store::{AppointmentKey, Store, Unavailable};

/// Appointments of a person that are read at once.
const PAGE: usize = 256;

/// Grants at hand, for a look ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Purse {
    /// For any message.
    any: u64,
    /// For messages about one appointment until it is over.
    kept: Vec<(u64, DateTime<Utc>)>,
}

impl Purse {
    /// So many grants that any message may take.
    pub(super) fn of_any(n: u64) -> Self {
        Self { any: n, kept: Vec::new() }
    }

    /// What is left at `now` of an account of a template of this kind for at most `n` messages; a standing acceptance
    /// carries all.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed.
    pub(super) fn of(
        store: &dyn Store,
        (app, openid): (&AppId, &OpenId),
        (account, kind): (&Account, TemplateKind),
        now: DateTime<Utc>,
        n: u64,
    ) -> Result<Self, Unavailable> {
        match kind {
            TemplateKind::LongTerm if account.standing.is_some() => return Ok(Self::of_any(n)),
            TemplateKind::LongTerm => return Ok(Self::of_any(0)),
            TemplateKind::OneTime => {}
        }
        let mut kept = Vec::new();
        let mut after = None;
        while account.bound().next().is_some() {
            let page = store.appointments_of(app, openid, after.as_ref(), PAGE)?;
            for (kind, id) in &page {
                let name = bound_hash(kind, id);
                let n_its = account.bound().filter(|bound| *bound == name).count();
                if n_its == 0 {
                    continue;
                }
                let key = AppointmentKey { app: app.clone(), kind: kind.clone(), id: id.clone() };
                let its = store.appointment(&key)?.filter(|its| its.is_to_come(openid.as_str(), now));
                kept.extend(its.into_iter().flat_map(|its| std::iter::repeat_n((name, its.at), n_its)));
            }
            if page.len() < PAGE {
                break;
            }
            after = page.into_iter().next_back();
        }
        kept.sort_unstable();
        let n_any = account.free.len().saturating_sub(kept.len());
        Ok(Self { any: n_of(n_any).min(n), kept })
    }

    /// Takes one for a message due at `at`, about `subject` where it is about an appointment; false without one.
    pub(super) fn spend(&mut self, subject: Option<&Subject>, at: DateTime<Utc>) -> bool {
        let own = subject.map(|subject| bound_hash(&subject.key.kind, &subject.key.id));
        let its = self.kept.iter().position(|(name, _)| Some(*name) == own);
        let over = || self.kept.iter().position(|(_, until)| *until < at);
        match its {
            None if self.any > 0 => self.any -= 1,
            None => match over() {
                Some(index) => drop(self.kept.remove(index)),
                None => return false,
            },
            Some(index) => drop(self.kept.remove(index)),
        }
        true
    }

    /// How many wait for appointments to come.
    pub(super) fn n_kept(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{AppointmentId, Kind};

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).expect("in range")
    }

    #[test]
    fn what_waits_for_an_appointment_is_spent_on_it_or_after_it() {
        let subject = |id: &str| {
            let (app, kind) = (AppId::parse("wxtest").expect("valid"), Kind::parse("visit").expect("valid"));
            Subject {
                key: AppointmentKey { app, kind, id: AppointmentId::parse(id).expect("valid") },
                at: at(100),
            }
        };
        let of = |id: &str| bound_hash(&subject(id).key.kind, &subject(id).key.id);
        let mut purse = Purse { any: 1, kept: vec![(of("A"), at(100)), (of("B"), at(200))] };
        assert!(purse.spend(None, at(10)));
        assert!(!purse.spend(None, at(10)), "the others wait");
        assert!(!purse.spend(Some(&subject("C")), at(100)));
        assert!(purse.spend(Some(&subject("B")), at(11)));
        assert!(purse.spend(None, at(101)), "the appointment is over");
        assert!(!purse.spend(Some(&subject("A")), at(102)));
    }
}
