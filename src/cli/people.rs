//! The people that a check holds rules against: counted by the running daemon, or in a store at rest.
//!
//! A check must work where there is neither, so whatever is in the way makes the people unknown and no
//! error; nothing is made, and nobody is waited for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::reach::Reach;
use super::runtime;
use crate::admin::answer::Frame;
use crate::admin::request::Request;
use crate::domain::census::Census;
use crate::domain::config::Config;
use crate::domain::id::{AppName, FieldName, Tag};

/// A row of the desk's census.
#[derive(Deserialize)]
struct Row {
    app: String,
    recipients: u64,
    tags: BTreeMap<String, u64>,
    fields: BTreeMap<String, u64>,
}

impl Row {
    fn read(line: &str) -> Option<(AppName, Census)> {
        let Self { app, recipients, tags, fields } = serde_json::from_str(line).ok()?;
        let tags = tags.into_iter().filter_map(|(tag, n)| Some((Tag::parse(&tag).ok()?, n))).collect();
        let fields =
            fields.into_iter().filter_map(|(field, n)| Some((FieldName::parse(&field).ok()?, n))).collect();
        Some((AppName::parse(&app).ok()?, Census { recipients, tags, fields }))
    }
}

/// The recipients of each app, as far as they can be counted now.
pub(super) fn census(config: Config) -> BTreeMap<AppName, Census> {
    let Ok(runtime) = runtime() else { return BTreeMap::new() };
    runtime.block_on(async {
        let mut people = BTreeMap::new();
        let Some(mut reach) = Reach::at_hand(config).await else { return people };
        let Ok(mut reply) = reach.ask(Request::Census).await else { return people };
        while let Some(frame) = reply.next().await {
            match frame {
                Frame::Line(line) => people.extend(Row::read(&line)),
                Frame::Note(_) => {}
                Frame::End(_) => break,
            }
        }
        people
    })
}
