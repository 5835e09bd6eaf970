//! Reads of recipients by their time zone, from the index that each change of a recipient keeps.

use chrono::{DateTime, Utc};

use super::{hint, openid};
use crate::domain::id::{AppId, OpenId, TemplateId};
use crate::domain::occurrence::SkipReason;
use crate::domain::recipient::MOVE_COUNTS;
use crate::domain::zone::Zone;
use crate::store::ledger::Failed;
use crate::store::ledger::keys;
use crate::store::ledger::records;
use crate::store::ledger::state::OpenTree;
use crate::store::{Hint, Walked};

impl OpenTree {
    pub(in crate::store::ledger) fn read_walk_zone(
        &self,
        (app, zone): (&AppId, Zone),
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let template = self.name(template.as_str());
        let prefix = keys::of_zone(app, zone.name());
        let from = keys::in_zone(app, zone.name(), after.map_or("", OpenId::as_str));
        let mut walked = Vec::with_capacity(limit.min(1024));
        for entry in self.tree.range(from, vec![keys::ZONE + 1]) {
            let (key, _) = entry?;
            let Some(name) = key.strip_prefix(&*prefix) else { break };
            if after.is_some_and(|after| after.as_str().as_bytes() == name) {
                continue;
            }
            let openid = openid(name)?;
            // Erased since the index was read.
            let Some(bytes) = self.tree.get(&keys::recipient(app, openid.as_str()))? else { continue };
            let account = match template {
                None => None,
                Some(template) => self.stored_account(&keys::account(app, template, openid.as_str()))?,
            };
            let hint = account.map_or(Hint::Nothing(SkipReason::NoConsent), |held| hint(&held.account));
            walked.push(Walked { openid, recipient: records::decode_recipient(&bytes)?, hint });
            if walked.len() >= limit {
                break;
            }
        }
        Ok(walked)
    }

    pub(in crate::store::ledger) fn read_zones(
        &self,
        app: &AppId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Zone>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let prefix = keys::zones(app);
        let since = records::ms(now - MOVE_COUNTS);
        let mut zones = Vec::new();
        let mut from = prefix.clone();
        'zones: loop {
            for entry in self.tree.range(from.clone(), vec![keys::ZONE + 1]) {
                let (key, value) = entry?;
                if !key.starts_with(&prefix) {
                    break;
                }
                let name = keys::read_zone(&key).ok_or(Failed::Record("a zone's key cannot be read"))?;
                let left_ms = value.as_ref().try_into().ok().map(i64::from_be_bytes);
                if left_ms.is_none_or(|ms| ms > since) {
                    // One that the zone data has lost is no zone.
                    zones.extend(Zone::parse(name));
                    from = keys::of_zone(app, name);
                    // No openid begins like this.
                    from.push(u8::MAX);
                    continue 'zones;
                }
            }
            zones.sort_unstable_by_key(|zone: &Zone| zone.name());
            return Ok(zones);
        }
    }
}
