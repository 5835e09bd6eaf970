//! The drift meter's counts: one small value per template, written in the batch of the settlement that it counts.
//!
//! It never decides anything, and nothing of it names a person.

use std::sync::PoisonError;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Failed;
use super::keys::{self, Name};
use super::records;
use super::state::{AccountId, OpenTree, State};
use crate::domain::drift::{Difference, Drift, Evidence};
use crate::domain::id::{AppId, TemplateId};

/// Where the names of such values begin.
const DRIFT: &str = "drift ";

/// One row per evidence: its index, denied, sent at zero, first and last milliseconds.
#[derive(Serialize, Deserialize)]
struct DriftV1(Vec<(u8, u64, u64, i64, i64)>);

fn name_of(app: Name, template: Name) -> String {
    format!("{DRIFT}{app:05} {template:05}")
}

/// Counts a difference; `now` is when the answer is booked.
pub(super) fn count(
    state: &mut State,
    payer: &AccountId,
    evidence: Evidence,
    difference: Difference,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    let key = keys::kept(&name_of(payer.app, payer.template));
    let DriftV1(mut rows) =
        state.get(&key)?.map_or_else(|| Ok(DriftV1(Vec::new())), |bytes| records::decode(&bytes))?;
    let index = Evidence::ALL.iter().position(|one| *one == evidence).unwrap_or_default();
    let index = u8::try_from(index).unwrap_or_default();
    let now = records::ms(now);
    let at = rows.partition_point(|row| row.0 < index);
    if rows.get(at).is_none_or(|row| row.0 != index) {
        rows.insert(at, (index, 0, 0, now, now));
    }
    if let Some((_, denied, sent_at_zero, _, last)) = rows.get_mut(at) {
        match difference {
            Difference::Denied => *denied += 1,
            Difference::SentAtZero => *sent_at_zero += 1,
        }
        *last = now;
    }
    let value = records::encode(&DriftV1(rows))?;
    state.put(key, value);
    Ok(())
}

impl OpenTree {
    pub(super) fn read_drift(&self) -> Result<Vec<Drift>, Failed> {
        let mut drift = Vec::new();
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let bad = |_| Failed::Record("a count of drift is of a name that cannot be");
        let from = keys::kept(DRIFT);
        let to = keys::kept("drift!"); // the character after the space
        for entry in self.tree.range(from.clone(), to) {
            let (key, value) = entry?;
            let text = key.get(from.len()..).and_then(|rest| std::str::from_utf8(rest).ok());
            let pair = text.and_then(|text| text.split_once(' '));
            let pair = pair.and_then(|(app, template)| Some((app.parse().ok()?, template.parse().ok()?)));
            let pair = pair.and_then(|(app, template)| Some((names.text(app)?, names.text(template)?)));
            let (app, template) = pair.ok_or(Failed::Record("a count of drift has no name"))?;
            let (app, template) =
                (AppId::parse(app).map_err(bad)?, TemplateId::parse(template).map_err(bad)?);
            let DriftV1(rows) = records::decode(&value)?;
            for (index, n_denied, n_sent_at_zero, first, last) in rows {
                let evidence = Evidence::ALL.get(usize::from(index)).copied();
                drift.push(Drift {
                    app: app.clone(),
                    template: template.clone(),
                    evidence: evidence.ok_or(Failed::Record("a count of drift is of unknown evidence"))?,
                    n_denied,
                    n_sent_at_zero,
                    first_at: records::at(first)?,
                    last_at: records::at(last)?,
                });
            }
        }
        Ok(drift)
    }
}
