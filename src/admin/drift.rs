//! The drift meter as operators see it: in `status`, and behind the metrics; and what popups told beside it.
//!
//! Counts need nobody: how recent the last one is says whether something goes wrong now. Those of the meter stay for ever,
//! those of popups for a run of the daemon.

use serde::Serialize;

use super::desk::Desk;
use super::instant::utc;
use super::who::app_name;
use crate::domain::drift::Drift;

/// Most rows that are shown, those with the newest last difference.
pub(super) const MAX_DRIFT_ROWS: usize = 200;

/// What was seen of one template and one kind of evidence.
#[derive(Debug, Serialize)]
pub(super) struct DriftRow {
    pub(super) app: String,
    /// The platform's id.
    pub(super) template: String,
    pub(super) evidence: &'static str,
    /// 43101 although the books had a living consent.
    #[serde(rename = "denied")]
    pub(super) n_denied: u64,
    /// Taken although the consent was dead by then.
    #[serde(rename = "sent_at_zero")]
    pub(super) n_sent_at_zero: u64,
    pub(super) first_at: String,
    pub(super) last_at: String,
}

/// What popups told of one template where reports grant, since the start.
#[derive(Debug, Serialize)]
pub(super) struct PopupRow {
    pub(super) app: String,
    /// The platform's id.
    pub(super) template: String,
    /// Acceptances that WeChat told of and somebody reported.
    #[serde(rename = "met")]
    pub(super) n_met: u64,
    /// Those that nobody reported within a day.
    #[serde(rename = "unreported")]
    pub(super) n_unreported: u64,
    /// Those that were reported, and WeChat told of nothing.
    #[serde(rename = "untold")]
    pub(super) n_untold: u64,
    pub(super) last_unreported_at: Option<String>,
}

impl Desk {
    /// What popups told, by app and template; as many rows as of the meter.
    pub(super) fn popup_rows(&self) -> Vec<PopupRow> {
        let Some(control) = self.control() else { return Vec::new() };
        let config = &self.live().config;
        let counts = control.memory().popups().counts(self.clock().reckoned());
        let rows = counts.into_iter().take(MAX_DRIFT_ROWS).map(|((app, template), counts)| PopupRow {
            app: app_name(config, &app),
            template: template.to_string(),
            n_met: counts.n_met,
            n_unreported: counts.n_unreported,
            n_untold: counts.n_untold,
            last_unreported_at: counts.last_unreported_at.map(utc),
        });
        rows.collect()
    }

    /// The newest rows, by app, template and evidence.
    pub(super) fn drift_rows(&self, mut drift: Vec<Drift>) -> Vec<DriftRow> {
        if drift.len() > MAX_DRIFT_ROWS {
            drift.sort_by_key(|one| std::cmp::Reverse(one.last_at));
            drift.truncate(MAX_DRIFT_ROWS);
        }
        let config = &self.live().config;
        let rows = drift.into_iter().map(|one| DriftRow {
            app: app_name(config, &one.app),
            template: one.template.to_string(),
            evidence: one.evidence.as_str(),
            n_denied: one.n_denied,
            n_sent_at_zero: one.n_sent_at_zero,
            first_at: utc(one.first_at),
            last_at: utc(one.last_at),
        });
        let mut rows: Vec<DriftRow> = rows.collect();
        rows.sort_by(|a, b| (&a.app, &a.template, a.evidence).cmp(&(&b.app, &b.template, b.evidence)));
        rows
    }
}
