//! Acceptances that WeChat's popup events tell of, held against those that reports bring: who counts by reports sees here
//! what his mini program does not report, and what it reports of which WeChat says nothing.
//!
//! It only counts, since the start, and never grants. What is compared is in memory for a day, so that a late report finds its
//! event; a restart forgets it uncounted, and so does an erasure what its person said. Silent acceptances ("always keep") are
//! not known to be told, so only the first of the two figures means that something goes wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::id::{AppId, OpenId, TemplateId};

/// How long one waits for its other.
const PATIENCE: TimeDelta = TimeDelta::days(1);
/// A report may say that its tap was so much before WeChat says that it was.
const SLACK: TimeDelta = TimeDelta::minutes(10);
/// Most acceptances that wait or have met; the oldest of more are forgotten uncounted.
pub(super) const MAX_TAPS: usize = 20_000;

/// Both sides. Clones share everything.
#[derive(Clone, Default)]
pub struct Popups(Arc<Mutex<Compared>>);

impl fmt::Debug for Popups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Popups").finish_non_exhaustive()
    }
}

/// What came of one template's acceptances since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// WeChat told of them, and a report came.
    pub n_met: u64,
    /// WeChat told of them, and no report came within a day: consents that the books do not have.
    pub n_unreported: u64,
    /// A report came, and WeChat told of nothing: silent, lost, or made up.
    pub n_untold: u64,
    /// When WeChat was told the last of those that nobody reported.
    pub last_unreported_at: Option<DateTime<Utc>>,
}

/// Who says that somebody accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Popup,
    Report,
}

type Key = (AppId, OpenId, TemplateId);

#[derive(Default)]
struct Compared {
    /// In the order in which they were heard.
    taps: BTreeMap<Key, VecDeque<Tap>>,
    /// When each was heard, and whose it is.
    heard: VecDeque<(DateTime<Utc>, Key)>,
    counts: BTreeMap<(AppId, TemplateId), Counts>,
    /// Apps of which popups come at all.
    telling: Vec<AppId>,
}

struct Tap {
    by: By,
    /// When it was, by who says so.
    at: DateTime<Utc>,
    has_met: bool,
}

impl Popups {
    /// Takes in that `openid` accepted at `at`; the same event again changes nothing.
    pub(super) fn hear(
        &self,
        by: By,
        (app, openid): (&AppId, &OpenId),
        templates: impl Iterator<Item = TemplateId>,
        (at, now): (DateTime<Utc>, DateTime<Utc>),
    ) {
        let mut compared = self.compared();
        compared.expire(now);
        if by == By::Popup && !compared.telling.contains(app) {
            compared.telling.push(app.clone());
        }
        for template in templates {
            compared.hear(by, (app.clone(), openid.clone(), template), (at, now));
        }
    }

    /// Forgets uncounted what somebody accepted; what was counted stays.
    pub(super) fn forget(&self, of: &(AppId, OpenId)) {
        let is_his = |(app, openid, _): &Key| (app, openid) == (&of.0, &of.1);
        let mut compared = self.compared();
        compared.taps.retain(|key, _| !is_his(key));
        compared.heard.retain(|(_, key)| !is_his(key));
    }

    /// The same of everybody.
    pub(super) fn forget_all(&self) {
        let mut compared = self.compared();
        compared.taps.clear();
        compared.heard.clear();
    }

    /// What is known at `now`, by app and template.
    #[must_use]
    pub fn counts(&self, now: DateTime<Utc>) -> BTreeMap<(AppId, TemplateId), Counts> {
        let mut compared = self.compared();
        compared.expire(now);
        compared.counts.clone()
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        // Nothing panics while it is changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Compared {
    fn hear(&mut self, by: By, key: Key, (at, now): (DateTime<Utc>, DateTime<Utc>)) {
        let taps = self.taps.entry(key.clone()).or_default();
        if by == By::Popup && taps.iter().any(|tap| tap.by == By::Popup && tap.at == at) {
            return;
        }
        let late = |tap: &Tap| match by {
            By::Popup => tap.at - at,
            By::Report => at - tap.at,
        };
        let others = taps.iter_mut().filter(|tap| tap.by != by && !tap.has_met);
        let others = others.filter(|tap| (-SLACK..=PATIENCE).contains(&late(tap)));
        let other = others.min_by_key(|tap| late(tap).abs());
        let has_met = other.is_some();
        if let Some(other) = other {
            other.has_met = true;
            let (app, _, template) = &key;
            self.counts.entry((app.clone(), template.clone())).or_default().n_met += 1;
        }
        taps.push_back(Tap { by, at, has_met });
        self.heard.push_back((now, key));
        if self.heard.len() > MAX_TAPS {
            let _uncounted = self.forget();
        }
    }

    /// Counts those that have waited long enough.
    fn expire(&mut self, now: DateTime<Utc>) {
        while self.heard.front().is_some_and(|(heard_at, _)| now - *heard_at >= PATIENCE) {
            let Some((tap, (app, _, template))) = self.forget() else { return };
            if tap.has_met {
                continue;
            }
            let is_told_of = self.telling.contains(&app);
            let counts = self.counts.entry((app, template)).or_default();
            match tap.by {
                By::Popup => {
                    counts.n_unreported += 1;
                    counts.last_unreported_at = counts.last_unreported_at.max(Some(tap.at));
                }
                By::Report if is_told_of => counts.n_untold += 1,
                // WeChat tells nothing of this app.
                By::Report => {}
            }
        }
    }

    fn forget(&mut self) -> Option<(Tap, Key)> {
        let (_, key) = self.heard.pop_front()?;
        let taps = self.taps.get_mut(&key)?;
        let tap = taps.pop_front()?;
        if taps.is_empty() {
            self.taps.remove(&key);
        }
        Some((tap, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A case: what is said, by whom, when it was tapped and heard, and what is counted in the end.
    type Row<'a> = (&'a str, &'a [(By, i64, i64)], (u64, u64, u64));

    fn app() -> AppId {
        AppId::parse("wx0123456789abcdef").unwrap()
    }

    fn template() -> TemplateId {
        TemplateId::parse("T").unwrap()
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn hear(popups: &Popups, by: By, name: &str, (tapped, now): (i64, i64)) {
        let openid = OpenId::parse(&format!("o123456789-{name}")).unwrap();
        popups.hear(by, (&app(), &openid), std::iter::once(template()), (at(tapped), at(now)));
    }

    #[test]
    fn each_acceptance_of_one_side_meets_one_of_the_other() {
        // Who says so, when it was tapped, when it is heard; then met, unreported, untold after two days.
        let (popup, report) = (By::Popup, By::Report);
        let table: [Row<'_>; 11] = [
            ("nothing of popups is told", &[(report, 0, 0)], (0, 0, 0)),
            ("both", &[(popup, 0, 0), (report, 0, 1)], (1, 0, 0)),
            ("the report first", &[(report, 0, 0), (popup, 0, 1)], (1, 0, 0)),
            (
                "the event three times",
                &[(popup, 0, 0), (report, 0, 0), (popup, 0, 1), (popup, 0, 2)],
                (1, 0, 0),
            ),
            ("a report hours later", &[(popup, 0, 0), (report, 700, 700)], (1, 0, 0)),
            ("a report of hours before", &[(popup, 60, 60), (report, 0, 61)], (0, 1, 1)),
            ("no report", &[(popup, 0, 0)], (0, 1, 0)),
            ("two taps and one report", &[(popup, 0, 0), (popup, 1, 1), (report, 1, 2)], (1, 1, 0)),
            ("one tap and two reports", &[(popup, 0, 0), (report, 0, 1), (report, 1, 2)], (1, 0, 1)),
            ("two of each", &[(report, 0, 0), (report, 5, 5), (popup, 5, 6), (popup, 0, 7)], (2, 0, 0)),
            ("a report after a day", &[(popup, 0, 0), (report, 0, 1441)], (0, 1, 1)),
        ];
        for (what, said, wanted) in table {
            let popups = Popups::default();
            for (by, tapped, now) in said {
                hear(&popups, *by, "ann", (*tapped, *now));
            }
            let counts = popups.counts(at(5000)).remove(&(app(), template())).unwrap_or_default();
            assert_eq!((counts.n_met, counts.n_unreported, counts.n_untold), wanted, "{what}");
            assert_eq!(counts.last_unreported_at.is_some(), wanted.1 > 0, "{what}");
            let compared = popups.compared();
            assert!(
                compared.taps.is_empty() && compared.heard.is_empty(),
                "{what}: nothing is kept for longer"
            );
        }
    }

    #[test]
    fn who_is_forgotten_is_counted_no_more_and_spoils_no_other_count() {
        let popups = Popups::default();
        let of = |name: &str| (app(), OpenId::parse(&format!("o123456789-{name}")).unwrap());
        for (minute, name) in [(0, "ann"), (1, "bob"), (2, "ann"), (3, "bob"), (4, "ann")] {
            hear(&popups, By::Popup, name, (minute, minute));
        }
        hear(&popups, By::Report, "ann", (2, 5));
        popups.forget(&of("ann"));
        assert!(popups.compared().taps.keys().all(|(_, openid, _)| *openid == of("bob").1));
        hear(&popups, By::Report, "ann", (6, 6));
        hear(&popups, By::Report, "bob", (3, 7));
        let counts = popups.counts(at(5000))[&(app(), template())];
        assert_eq!((counts.n_met, counts.n_unreported, counts.n_untold), (2, 1, 1));
        assert_eq!(counts.last_unreported_at, Some(at(1)));
        hear(&popups, By::Popup, "ann", (5001, 5001));
        popups.forget_all();
        assert_eq!(popups.counts(at(9000))[&(app(), template())], counts, "what was counted stays");
    }

    #[test]
    fn nobodys_acceptance_meets_anothers_and_what_is_kept_has_a_bound() {
        let popups = Popups::default();
        hear(&popups, By::Popup, "ann", (0, 0));
        hear(&popups, By::Report, "bob", (0, 0));
        let counts = popups.counts(at(5000))[&(app(), template())];
        assert_eq!((counts.n_met, counts.n_unreported, counts.n_untold), (0, 1, 1));
        for n in 0..MAX_TAPS + 10 {
            hear(&popups, By::Report, &n.to_string(), (0, 0));
        }
        assert_eq!(popups.compared().heard.len(), MAX_TAPS);
        assert_eq!(popups.compared().taps.len(), MAX_TAPS);
    }
}
