//! The recipients of each app, counted: what `check` holds rules against.
//!
//! One pass over the recipients, page by page; no row names a person.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::{Exit, Failure, Lines};
use super::desk::Desk;
use crate::domain::census::Census;

/// Recipients read at once.
const PAGE: usize = 512;

#[derive(Serialize)]
struct Row<'a> {
    app: &'a str,
    recipients: u64,
    tags: BTreeMap<&'a str, u64>,
    fields: BTreeMap<&'a str, u64>,
}

impl Desk {
    pub(super) async fn census(&self, lines: &Lines) -> Result<Exit, Failure> {
        let live = self.live();
        for app in live.config.apps.values() {
            // A walk is one over accounts of a template as well; which one does not matter here.
            let Some(template) = app.templates.values().next() else { continue };
            let mut census = Census::default();
            let mut after = None;
            loop {
                let page = self.store().walk(&app.appid, &template.id, after.as_ref(), PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some(last.openid.clone());
                for walked in &page {
                    census.add(&walked.recipient.profile);
                }
                tokio::task::yield_now().await;
            }
            lines
                .row(&Row {
                    app: app.name.as_str(),
                    recipients: census.recipients,
                    tags: census.tags.iter().map(|(tag, n)| (tag.as_str(), *n)).collect(),
                    fields: census.fields.iter().map(|(field, n)| (field.as_str(), *n)).collect(),
                })
                .await?;
        }
        self.synced().await?;
        Ok(Exit::Done)
    }
}
