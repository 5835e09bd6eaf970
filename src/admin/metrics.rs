//! Figures for Prometheus, in its text format: few, with fixed names and labels.
//!
//! No label comes from data of people: states, versions, codes and statuses that are known, and apps and templates that were
//! configured when something of theirs was counted; so the number of series has a bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::control::ClockState;
use super::desk::Desk;
use super::drift::{DriftRow, PopupRow};
use super::who::app_name;
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::AppId;
use crate::flow::intake::ungranted::{Counted, What};
use crate::plan::quota::Quota;
use crate::store::{Figures, Health};

impl Desk {
    /// The text of `GET /metrics`; what only the store knows is left out while it does not work.
    pub fn metrics(&self) -> String {
        let figures = self.store().figures().ok();
        let status = self.control().map(super::control::Control::status);
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, samples: &[(String, u64)]| {
            family(&mut text, "gauge", (name, help), samples);
        };
        let plain = |value: u64| [(String::new(), value)];
        let works = *self.store().health().borrow() == Health::Works;
        gauge("tixing_store_ok", "1 while the store promises what it is asked to.", &plain(u64::from(works)));
        gauge(
            "tixing_store_failures",
            "How often the store failed since the start.",
            &plain(self.store().n_failures()),
        );
        if let Some(figures) = figures {
            of_store(&figures, &mut gauge);
        }
        gauge("tixing_rules", "Rules in force.", &plain(n_of(self.live().rules.rules.len())));
        if let Some(status) = status {
            gauge(
                "tixing_ready",
                "1 while reports are taken and due times are opened; what a pause holds back is in tixing_needs_attention.",
                &plain(u64::from(status.ready)),
            );
            gauge(
                "tixing_clock_ok",
                "1 while the wall clock can be believed.",
                &plain(u64::from(status.clock == ClockState::Ok)),
            );
            gauge(
                "tixing_clock_steps",
                "How often the wall clock was stepped since the start.",
                &plain(self.clock().trust().borrow().n_steps),
            );
            gauge(
                "tixing_books_violations",
                "What does not balance, as far as it was looked at.",
                &plain(self.control().map_or(0, |control| control.books().n_violations())),
            );
            gauge(
                "tixing_needs_attention",
                "Things that need a person.",
                &plain(n_of(status.needs_attention.len())),
            );
            let of_apps = |n: fn(&Quota) -> u64| -> Vec<(String, u64)> {
                let quotas = status.quotas.iter();
                quotas.map(|(app, (quota, _))| (format!("{{app=\"{app}\"}}"), n(quota))).collect()
            };
            gauge(
                "tixing_quota_daily_limit",
                "Messages that the platform takes of the app in a day, where it is asked (`quota_probe`).",
                &of_apps(|quota| quota.daily_limit),
            );
            gauge(
                "tixing_quota_remaining",
                "Messages that it still takes today, as it said last.",
                &of_apps(|quota| quota.remain),
            );
            gauge(
                "tixing_last_reload_ok",
                "1 when the last reload was taken over.",
                &plain(u64::from(status.reload.ok)),
            );
        }
        let drift = self.store().drift();
        of_drift(&drift.map(|drift| self.drift_rows(drift)).unwrap_or_default(), &mut text);
        of_popups(&self.popup_rows(), &mut text);
        let counts = self.control().map(|control| control.memory().ungranted().counts());
        let config = &self.live().config;
        of_ungranted(&counts.unwrap_or_default(), |app| app_name(config, app), &mut text);
        let undefined = self.control().map(super::control::Control::undefined).unwrap_or_default();
        let undefined: Vec<(String, u64)> =
            undefined.into_iter().map(|(app, n)| (format!("{{app=\"{app}\"}}"), n)).collect();
        let help =
            "People who were passed over since the start, since the `where` of a rule is undefined for them.";
        family(&mut text, "counter", ("tixing_where_undefined_total", help), &undefined);
        let mut gauge = |name: &str, help: &str, samples: &[(String, u64)]| {
            family(&mut text, "gauge", (name, help), samples);
        };
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        gauge("tixing_build_info", "Always 1.", &[(version, 1)]);
        text
    }
}

fn family(text: &mut String, kind: &str, (name, help): (&str, &str), samples: &[(String, u64)]) {
    // Writing to a String cannot fail.
    let _ok = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in samples {
        let _ok = writeln!(text, "{name}{labels} {value}");
    }
}

/// Where the platform's answers differed from the books; as many rows as `status` has.
fn of_drift(rows: &[DriftRow], text: &mut String) {
    let of = |n: fn(&DriftRow) -> u64| -> Vec<(String, u64)> {
        let labels = |row: &DriftRow| {
            format!("{{app=\"{}\",template=\"{}\",evidence=\"{}\"}}", row.app, row.template, row.evidence)
        };
        rows.iter().map(|row| (labels(row), n(row))).collect()
    };
    let denied =
        "43101 although the books had a living consent, by what it rested on; since the store was made.";
    family(text, "counter", ("tixing_drift_denied_total", denied), &of(|row| row.n_denied));
    let at_zero = "Taken by the platform although the consent was dead by then; since the store was made.";
    family(text, "counter", ("tixing_drift_sent_at_zero_total", at_zero), &of(|row| row.n_sent_at_zero));
}

/// What popups told where reports grant, held against those.
fn of_popups(rows: &[PopupRow], text: &mut String) {
    let kinds =
        |row: &PopupRow| [("met", row.n_met), ("unreported", row.n_unreported), ("untold", row.n_untold)];
    let samples = rows.iter().flat_map(|row| {
        kinds(row).map(|(kind, n)| {
            let labels = format!("{{app=\"{}\",template=\"{}\",kind=\"{kind}\"}}", row.app, row.template);
            (labels, n)
        })
    });
    let help = "Acceptances by WeChat's popup events beside those of reports: met, unreported after a day, or reported and untold.";
    family(text, "counter", ("tixing_popup_accepts_total", help), &samples.collect::<Vec<_>>());
}

/// What was reported and grants nothing.
fn of_ungranted(
    counts: &BTreeMap<(AppId, What), Counted>,
    name: impl Fn(&AppId) -> String,
    text: &mut String,
) {
    let (mut statuses, mut failed) = (Vec::new(), Vec::new());
    for ((app, what), counted) in counts {
        let app = name(app);
        match what {
            What::Status(template, status) => {
                let labels = format!("{{app=\"{app}\",template=\"{template}\",status=\"{status}\"}}");
                statuses.push((labels, counted.n));
            }
            What::Failed(code) => {
                failed.push((format!("{{app=\"{app}\",code=\"{code}\"}}"), counted.n));
            }
        }
    }
    let of_status = "Answers of the panel that were reported and grant nothing: ban, filter, or a status that is not known.";
    family(text, "counter", ("tixing_reported_not_granted_total", of_status), &statuses);
    let of_code = "Calls of wx.requestSubscribeMessage that were reported as failed, by the client's code.";
    family(text, "counter", ("tixing_reported_failed_total", of_code), &failed);
}

/// What only a store that works knows.
fn of_store(figures: &Figures, gauge: &mut impl FnMut(&str, &str, &[(String, u64)])) {
    let count = |state: State| figures.open.get(&state).copied().unwrap_or(0);
    let open: Vec<(String, u64)> = State::ALL
        .into_iter()
        .filter(|state| state.is_open())
        .map(|state| (format!("{{state=\"{}\"}}", state.as_str()), count(state)))
        .collect();
    let plain = |value: u64| [(String::new(), value)];
    gauge("tixing_deliveries_open", "Deliveries that are being worked on.", &open);
    gauge("tixing_deliveries_in_doubt", "Sends whose outcome nobody knows.", &plain(count(State::InDoubt)));
    gauge("tixing_store_disk_bytes", "Bytes of the store on disk.", &plain(figures.disk_bytes));
    gauge("tixing_store_groups", "Durable groups since it was opened.", &plain(figures.n_groups));
    gauge("tixing_store_last_sync_us", "Microseconds of the last sync.", &plain(figures.last_sync_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popups_are_counted_by_what_came_of_them() {
        let row = PopupRow {
            app: "clinic".to_owned(),
            template: "VRR0".to_owned(),
            n_met: 5,
            n_unreported: 2,
            n_untold: 0,
            last_unreported_at: None,
        };
        let mut text = String::new();
        of_popups(&[row], &mut text);
        let line = "tixing_popup_accepts_total{app=\"clinic\",template=\"VRR0\",kind=\"unreported\"} 2";
        assert!(text.lines().any(|found| found == line), "{text}");
    }

    #[test]
    fn what_grants_nothing_is_counted_by_what_was_said() {
        let app = AppId::parse("wx0123456789abcdef").unwrap();
        let template = crate::domain::id::TemplateId::parse("VRR0").unwrap();
        let row = |what: What, n| ((app.clone(), what), Counted { n, last_at: chrono::DateTime::UNIX_EPOCH });
        let rows = [
            row(What::Status(template.clone(), "ban"), 2),
            row(What::Status(template, "other"), 1),
            row(What::Failed("20004"), 3),
        ];
        let mut text = String::new();
        of_ungranted(&rows.into(), |_| "clinic".to_owned(), &mut text);
        for line in [
            "# TYPE tixing_reported_not_granted_total counter",
            "tixing_reported_not_granted_total{app=\"clinic\",template=\"VRR0\",status=\"ban\"} 2",
            "tixing_reported_not_granted_total{app=\"clinic\",template=\"VRR0\",status=\"other\"} 1",
            "tixing_reported_failed_total{app=\"clinic\",code=\"20004\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn drift_is_counted_by_app_template_and_evidence() {
        let row = |evidence, n_denied, n_sent_at_zero| DriftRow {
            app: "clinic".to_owned(),
            template: "VRR0".to_owned(),
            evidence,
            n_denied,
            n_sent_at_zero,
            first_at: String::new(),
            last_at: String::new(),
        };
        let mut text = String::new();
        of_drift(&[row("backend", 3, 0), row("session", 0, 1)], &mut text);
        for line in [
            "# TYPE tixing_drift_denied_total counter",
            "tixing_drift_denied_total{app=\"clinic\",template=\"VRR0\",evidence=\"backend\"} 3",
            "tixing_drift_sent_at_zero_total{app=\"clinic\",template=\"VRR0\",evidence=\"session\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
