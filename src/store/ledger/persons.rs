//! People over all apps: which recipients have one unionid, and what is decided for all of them at once.
//!
//! The index is written in the batch of the recipient's record, so that each prefix of batches has both or neither.

use std::sync::Arc;

use super::Failed;
use super::consents::Record;
use super::keys::{self, Name};
use super::records;
use super::state::{BATCH_KEYS, OpenTree, State};
use super::writer::Desk;
use crate::domain::count::n_of;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::recipient::{Profile, Recipient};
use crate::store::{MAX_OF_ONE, Reach};

/// Somebody in one app.
pub(super) type Of = (AppId, OpenId);

/// Brings the index up to date.
pub(super) fn index(
    state: &mut State,
    app: Name,
    openid: &OpenId,
    before: Option<&Recipient>,
    after: Option<&Recipient>,
) {
    fn of(recipient: Option<&Recipient>) -> Option<&UnionId> {
        recipient.and_then(|recipient| recipient.profile.unionid.as_ref())
    }
    let (before, after) = (of(before), of(after));
    if before == after {
        return;
    }
    if let Some(before) = before {
        state.remove(keys::in_person(before, app, openid.as_str()));
    }
    if let Some(after) = after {
        state.put(keys::in_person(after, app, openid.as_str()), Vec::new());
    }
}

/// Makes the index for all who are there.
pub(super) fn index_all(desk: &mut Desk<'_>) -> Result<(), Failed> {
    let opened = Arc::clone(&desk.state.opened);
    for entry in opened.tree.prefix(keys::RECIPIENT) {
        let (key, value) = entry?;
        let Some((app, openid)) = keys::read_recipient(&key) else { continue };
        let recipient = records::decode_recipient(&value)?;
        desk.room(1)?;
        index(desk.state, app, &records::openid(openid)?, None, Some(&recipient));
    }
    Ok(())
}

/// Notes which person a recipient is.
pub(super) fn identify(
    desk: &mut Desk<'_>,
    app: &AppId,
    openid: &OpenId,
    unionid: UnionId,
) -> Result<(), Failed> {
    let state = &mut *desk.state;
    let Some(app) = state.known_name(app.as_str()) else { return Ok(()) };
    let Some(known) = state.recipient(app, openid)? else { return Ok(()) };
    if known.profile.unionid.as_ref() == Some(&unionid) {
        return Ok(());
    }
    let profile = Profile { unionid: Some(unionid), ..known.profile.clone() };
    let named = Recipient { profile, ..known.clone() };
    if let Some(record) = Record::new(Some(known), named)? {
        record.put(state, app, openid);
    }
    Ok(())
}

const _: () =
    assert!(MAX_OF_ONE + 20 <= BATCH_KEYS, "the others, who is named, and the request are one batch");

/// The person's other recipients, as far as `reach` goes; none where more than [`MAX_OF_ONE`] have the unionid.
///
/// What earlier calls wrote is applied before it is read: a batch begins here.
pub(super) fn others(
    desk: &mut Desk<'_>,
    named: (&AppId, &OpenId),
    unionid: Option<&UnionId>,
    reach: &Reach,
) -> Result<Vec<Of>, Failed> {
    let Some(unionid) = reach.unionid(unionid) else { return Ok(Vec::new()) };
    desk.room(BATCH_KEYS)?;
    let opened = Arc::clone(&desk.state.opened);
    let mut all: Vec<Of> = opened.read_person(unionid, None, MAX_OF_ONE + 1)?;
    if all.len() > MAX_OF_ONE {
        return Ok(Vec::new());
    }
    all.retain(|(app, openid)| (app, openid) != named && reach.is_in(app));
    Ok(all)
}

/// Mutes a recipient and the person's others, or lets them be heard; answers how many.
pub(super) fn mute_one(
    desk: &mut Desk<'_>,
    app_id: &AppId,
    openid: &OpenId,
    muted: bool,
    reach: &Reach,
) -> Result<u64, Failed> {
    let app = desk.state.name(app_id.as_str())?;
    let Some(known) = desk.state.recipient(app, openid)? else { return Ok(0) };
    let mut all = others(desk, (app_id, openid), known.profile.unionid.as_ref(), reach)?;
    all.push((app_id.clone(), openid.clone()));
    mute(desk, &all, muted)?;
    Ok(n_of(all.len()))
}

/// Mutes the person's other recipients, or lets them be heard: in one batch with the named one and the request, since
/// [`others`] began it, so that no part of it is asked again after a later word.
pub(super) fn mute(desk: &mut Desk<'_>, others: &[Of], muted: bool) -> Result<(), Failed> {
    for (app, openid) in others {
        let state = &mut *desk.state;
        let app = state.name(app.as_str())?;
        let Some(known) = state.recipient(app, openid)?.filter(|known| known.profile.muted != muted) else {
            continue;
        };
        let profile = Profile { muted, ..known.profile.clone() };
        let changed = Recipient { profile, ..known.clone() };
        if let Some(record) = Record::new(Some(known), changed)? {
            record.put(state, app, openid);
        }
    }
    Ok(())
}

impl OpenTree {
    /// The recipients of one person after `after`, at most `limit`.
    pub(super) fn read_person(
        &self,
        unionid: &UnionId,
        after: Option<&Of>,
        limit: usize,
    ) -> Result<Vec<Of>, Failed> {
        let prefix = keys::person(unionid);
        let from = match after {
            None => prefix.clone(),
            Some((app, openid)) => {
                let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
                let mut key = keys::in_person(unionid, app, openid.as_str());
                key.push(0);
                key
            }
        };
        let mut found = Vec::new();
        for entry in self.tree.range(from, vec![keys::PERSON + 1]) {
            let (key, _) = entry?;
            if found.len() >= limit || !key.starts_with(&prefix) {
                break;
            }
            let named = keys::read_person(&key, &prefix).and_then(|(app, openid)| {
                Some((AppId::parse(&self.text(app)?).ok()?, OpenId::parse(openid).ok()?))
            });
            found.push(named.ok_or(Failed::Record("a key of somebody over all apps cannot be read"))?);
        }
        Ok(found)
    }
}
