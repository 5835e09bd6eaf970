//! Reads, straight from the tree: every applied write is seen, durable or not.
//!
//! An iterator of sled yields errors without end after a failure, so each loop ends at the first.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::sync::atomic::Ordering as Memory;

use chrono::{DateTime, Utc};

use super::Failed;
use super::appointments;
use super::cursors;
use super::erasure;
use super::keys::{self, Name};
use super::records::{self, Chunk, Held};
use super::state::OpenTree;
use super::tree::{Bytes, Entry, Tree};
use super::unfinished;
use super::writer::Shared;
use crate::domain::consent::Account;
use crate::domain::delivery::State as DeliveryState;
use crate::domain::id::{AppId, AppointmentId, DeliveryId, Kind, OpenId, Ref, ReportId, RuleId, TemplateId};
use crate::domain::occurrence::SkipReason;
use crate::domain::recipient::Recipient;
use crate::store::{
    AccountKey, AccountView, AppointmentKey, Delivery, Figures, Hint, KeptAppointment, KeptReceipt,
    Occurrence, Wake, Walked,
};

mod zones;

/// How often an account that changes while its grants are looked up is read again.
const TRIES: usize = 4;

impl OpenTree {
    pub(super) fn name(&self, text: &str) -> Option<Name> {
        // A poisoned lock holds a whole table: names are only ever added.
        self.names.read().unwrap_or_else(PoisonError::into_inner).number(text)
    }

    pub(super) fn text(&self, name: Name) -> Option<String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).text(name).map(str::to_owned)
    }

    pub(super) fn read_kept(&self, name: &str) -> Result<Option<Vec<u8>>, Failed> {
        Ok(self.tree.get(&keys::kept(name))?.map(|value| value.to_vec()))
    }

    pub(super) fn read_recipient(&self, app: &AppId, openid: &OpenId) -> Result<Option<Recipient>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(None) };
        let bytes = self.tree.get(&keys::recipient(app, openid.as_str()))?;
        bytes.map(|bytes| records::decode_recipient(&bytes)).transpose()
    }

    pub(super) fn read_is_booked(&self, app: &AppId, openid: &OpenId, id: &ReportId) -> Result<bool, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(false) };
        Ok(self.tree.get(&keys::report(app, openid, id))?.is_some())
    }

    pub(super) fn read_erased_at(
        &self,
        app: &AppId,
        openid: &OpenId,
    ) -> Result<Option<DateTime<Utc>>, Failed> {
        let key = erasure::stored_key(&*self.tree)?.ok_or(Failed::Record("there is no key for erasures"))?;
        let bytes = self.tree.get(&keys::erased(&erasure::hash(&key, app, openid)))?;
        bytes.map(|bytes| records::at(records::decode(&bytes)?)).transpose()
    }

    pub(super) fn read_ref(&self, app: &AppId, reference: &Ref) -> Result<Option<OpenId>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(None) };
        self.tree.get(&keys::reference(app, reference))?.map(|bytes| openid(&bytes)).transpose()
    }

    pub(super) fn read_walk(
        &self,
        app: &AppId,
        template: &TemplateId,
        after: Option<&OpenId>,
        limit: usize,
    ) -> Result<Vec<Walked>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let from = after.map_or("", OpenId::as_str);
        let template = self.name(template.as_str());
        let mut accounts = template.map(|template| {
            let prefix = keys::accounts(app, template);
            self.tree
                .range(keys::account(app, template, from), vec![keys::ACCOUNT + 1])
                .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
        });
        let mut account = accounts.as_mut().and_then(Iterator::next).transpose()?;
        let prefix = keys::recipients(app);
        let mut walked = Vec::with_capacity(limit.min(1024));
        for entry in self.tree.range(keys::recipient(app, from), vec![keys::RECIPIENT + 1]) {
            let (key, value) = entry?;
            let Some(name) = key.strip_prefix(&*prefix) else { break };
            if after.is_some_and(|after| after.as_str().as_bytes() == name) {
                continue;
            }
            let of = |(key, _): &(Bytes, Bytes)| {
                keys::read_account(key).map(|(.., openid)| openid.as_bytes().cmp(name))
            };
            while account.as_ref().and_then(of).is_some_and(Ordering::is_lt) {
                account = accounts.as_mut().and_then(Iterator::next).transpose()?;
            }
            let beside = account.as_ref().filter(|account| of(account).is_some_and(Ordering::is_eq));
            let hint = match beside {
                Some((_, value)) => hint(&Held::decode(value)?.account),
                None => Hint::Nothing(SkipReason::NoConsent),
            };
            let recipient = records::decode_recipient(&value)?;
            walked.push(Walked { openid: openid(name)?, recipient, hint });
            if walked.len() >= limit {
                break;
            }
        }
        Ok(walked)
    }

    fn stored_account(&self, key: &[u8]) -> Result<Option<Held>, Failed> {
        self.tree.get(key)?.map(|bytes| Held::decode(&bytes)).transpose()
    }

    pub(super) fn read_bare_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<Account>, Failed> {
        let (Some(app), Some(template)) = (self.name(app.as_str()), self.name(template.as_str())) else {
            return Ok(None);
        };
        Ok(self.stored_account(&keys::account(app, template, openid.as_str()))?.map(|held| held.account))
    }

    pub(super) fn read_account(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Option<AccountView>, Failed> {
        let (Some(app), Some(template)) = (self.name(app.as_str()), self.name(template.as_str())) else {
            return Ok(None);
        };
        self.view(&keys::account(app, template, openid.as_str()))
    }

    /// An account with its grants looked up where they are; read again when it changed meanwhile.
    fn view(&self, key: &[u8]) -> Result<Option<AccountView>, Failed> {
        let mut tries = 0;
        loop {
            let Some(Held { account, kind, .. }) = self.stored_account(key)? else { return Ok(None) };
            let mut view =
                AccountView { kind, reserved: 0, in_doubt: 0, consumed: account.consumed, account };
            let mut chunks = HashMap::new();
            let mut whole = true;
            for id in &view.account.out {
                let at = (id.occurrence, id.chunk);
                let chunk = match chunks.entry(at) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(self.read_chunk(at.0, at.1)?)
                    }
                };
                let state =
                    chunk.as_ref().and_then(|c| c.slots.get(usize::from(id.slot))).map(|slot| slot.state);
                match state {
                    Some(DeliveryState::Reserved | DeliveryState::Attempting | DeliveryState::Waiting) => {
                        view.reserved += 1;
                    }
                    Some(DeliveryState::InDoubt) => view.in_doubt += 1,
                    Some(DeliveryState::Sent | DeliveryState::Undelivered | DeliveryState::PresumedSent) => {
                        view.consumed += 1;
                    }
                    Some(
                        DeliveryState::Held
                        | DeliveryState::Refused
                        | DeliveryState::Failed
                        | DeliveryState::Expired
                        | DeliveryState::Cancelled
                        | DeliveryState::Skipped,
                    )
                    | None => whole = false,
                }
            }
            tries += 1;
            let unchanged = self.stored_account(key)?.is_some_and(|now| now.account == view.account);
            if (whole && unchanged) || tries >= TRIES {
                return Ok(Some(view));
            }
        }
    }

    pub(super) fn read_accounts(
        &self,
        after: Option<&AccountKey>,
        limit: usize,
    ) -> Result<Vec<(AccountKey, AccountView)>, Failed> {
        let from = match after {
            None => vec![keys::ACCOUNT],
            Some(after) => {
                let (Some(app), Some(template)) =
                    (self.name(after.app.as_str()), self.name(after.template.as_str()))
                else {
                    return Ok(Vec::new());
                };
                let mut key = keys::account(app, template, after.openid.as_str());
                key.push(0);
                key
            }
        };
        let mut accounts = Vec::new();
        for entry in self.tree.range(from, vec![keys::ACCOUNT + 1]).take(limit) {
            let (key, _) = entry?;
            let named = keys::read_account(&key).and_then(|(app, template, openid)| {
                Some(AccountKey {
                    app: AppId::parse(&self.text(app)?).ok()?,
                    template: TemplateId::parse(&self.text(template)?).ok()?,
                    openid: records::openid(openid).ok()?,
                })
            });
            let name = named.ok_or(Failed::Record("an account's key cannot be read"))?;
            if let Some(view) = self.view(&key)? {
                accounts.push((name, view));
            }
        }
        Ok(accounts)
    }

    pub(super) fn read_receipts(
        &self,
        app: &AppId,
        template: &TemplateId,
        openid: &OpenId,
    ) -> Result<Vec<KeptReceipt>, Failed> {
        let (Some(app), Some(template)) = (self.name(app.as_str()), self.name(template.as_str())) else {
            return Ok(Vec::new());
        };
        let bytes = self.tree.get(&keys::receipts(app, template, openid.as_str()))?;
        bytes.map_or(Ok(Vec::new()), |bytes| records::decode_receipts(&bytes))
    }

    pub(super) fn read_cursor(&self, app: &AppId, rule: &RuleId) -> Result<Option<DateTime<Utc>>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(None) };
        cursors::read(self, app, rule)?.map(records::at).transpose()
    }

    pub(super) fn read_change_cursor(&self, app: &AppId, rule: &RuleId) -> Result<u64, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(0) };
        let bytes = self.tree.get(&keys::changes_read(app, rule))?;
        Ok(bytes.and_then(|bytes| keys::read_number(&bytes)).unwrap_or(0))
    }

    pub(super) fn read_appointment(&self, key: &AppointmentKey) -> Result<Option<KeptAppointment>, Failed> {
        let Some(app) = self.name(key.app.as_str()) else { return Ok(None) };
        let bytes = self.tree.get(&keys::appointment(app, &key.kind, &key.id))?;
        bytes.map(|bytes| records::decode_appointment(&bytes)).transpose()
    }

    pub(super) fn read_appointments(
        &self,
        (app, kind): (&AppId, &Kind),
        window: (DateTime<Utc>, DateTime<Utc>),
        after: Option<&(DateTime<Utc>, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(DateTime<Utc>, AppointmentId)>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let from = match after {
            None => keys::appointments_from(app, kind, records::ms(window.0).saturating_add(1)),
            Some((at, id)) => {
                let mut key = keys::appointment_time(app, kind, records::ms(*at), id);
                key.push(0);
                key
            }
        };
        let to = keys::appointments_from(app, kind, records::ms(window.1).saturating_add(1));
        let mut found = Vec::new();
        for entry in self.tree.range(from, to) {
            let (key, value) = entry?;
            let (.., ms, id) = keys::read_appointment_time(&key)
                .ok_or(Failed::Record("a key of appointments by time cannot be read"))?;
            if value.first() == Some(&1) {
                found.push((records::at(ms)?, id));
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    pub(super) fn read_all_appointments(
        &self,
        after: Option<&AppointmentKey>,
        limit: usize,
    ) -> Result<Vec<(AppointmentKey, KeptAppointment)>, Failed> {
        let from = match after {
            None => vec![keys::APPOINTMENT],
            Some(after) => {
                let Some(app) = self.name(after.app.as_str()) else { return Ok(Vec::new()) };
                let mut key = keys::appointment(app, &after.kind, &after.id);
                key.push(0);
                key
            }
        };
        let mut found = Vec::new();
        for entry in self.tree.range(from, vec![keys::APPOINTMENT + 1]).take(limit) {
            let (key, value) = entry?;
            let named = keys::read_appointment(&key).and_then(|(app, kind, id)| {
                Some(AppointmentKey { app: AppId::parse(&self.text(app)?).ok()?, kind, id })
            });
            let named = named.ok_or(Failed::Record("an appointment's key cannot be read"))?;
            found.push((named, records::decode_appointment(&value)?));
        }
        Ok(found)
    }

    pub(super) fn read_appointments_of(
        &self,
        app: &AppId,
        openid: &OpenId,
        after: Option<&(Kind, AppointmentId)>,
        limit: usize,
    ) -> Result<Vec<(Kind, AppointmentId)>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let prefix = keys::all_owned(app, openid.as_str());
        let from = after.map_or_else(
            || prefix.clone(),
            |(kind, id)| {
                let mut key = keys::owned(app, openid.as_str(), kind, id);
                key.push(0);
                key
            },
        );
        let mut found = Vec::new();
        for entry in self.tree.range(from, vec![keys::OWNED + 1]).take(limit) {
            let (key, _) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            let named = keys::read_owned(&key, &prefix);
            found.push(named.ok_or(Failed::Record("a key of somebody's appointments cannot be read"))?);
        }
        Ok(found)
    }

    pub(super) fn read_newest_change(&self) -> Result<u64, Failed> {
        let bytes = self.tree.get(&keys::kept(appointments::LAST_CHANGE))?;
        Ok(bytes.and_then(|bytes| keys::read_number(&bytes)).unwrap_or(0))
    }

    pub(super) fn read_changes(
        &self,
        app: &AppId,
        kind: &Kind,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, AppointmentId)>, Failed> {
        let Some(app) = self.name(app.as_str()) else { return Ok(Vec::new()) };
        let from = keys::change(app, kind, after.saturating_add(1));
        let mut found = Vec::new();
        for entry in self.tree.range(from, keys::change(app, kind, u64::MAX)).take(limit) {
            let (key, value) = entry?;
            let id = std::str::from_utf8(&value).ok().and_then(|text| AppointmentId::parse(text).ok());
            let change = keys::read_number(&key).zip(id);
            found.push(change.ok_or(Failed::Record("a change of an appointment cannot be read"))?);
        }
        Ok(found)
    }

    pub(super) fn read_reminders(&self, key: &AppointmentKey) -> Result<Vec<u64>, Failed> {
        let Some(app) = self.name(key.app.as_str()) else { return Ok(Vec::new()) };
        let prefix = keys::reminders(app, &key.kind, &key.id);
        let mut numbers = Vec::new();
        for entry in self.tree.range(prefix.clone(), vec![keys::REMINDER + 1]) {
            let (key, value) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            numbers.extend(keys::read_number(&value));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn read_occurrence(&self, number: u64) -> Result<Option<(Occurrence, u32)>, Failed> {
        let bytes = self.tree.get(&keys::occurrence(number))?;
        bytes.map(|bytes| records::decode_occurrence(&bytes, number)).transpose()
    }

    pub(super) fn read_occurrences(
        &self,
        rule: Option<&RuleId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Occurrence>, Failed> {
        let from = keys::occurrence(after.map_or(0, |after| after.saturating_add(1)));
        let mut occurrences = Vec::new();
        for entry in self.tree.range(from, vec![keys::OCCURRENCE + 1]) {
            let (key, value) = entry?;
            let Some(number) = keys::read_number(&key) else { continue };
            let (occurrence, _) = records::decode_occurrence(&value, number)?;
            if rule.is_none_or(|rule| *rule == occurrence.rule) {
                occurrences.push(occurrence);
            }
            if occurrences.len() >= limit {
                break;
            }
        }
        Ok(occurrences)
    }

    pub(super) fn read_newest(&self) -> Result<Option<u64>, Failed> {
        let last = self.tree.prefix(keys::OCCURRENCE).next_back().transpose()?;
        Ok(last.and_then(|(key, _)| keys::read_number(&key)))
    }

    pub(super) fn read_unfinished(&self) -> Result<Vec<Occurrence>, Failed> {
        let mut occurrences = Vec::new();
        for number in unfinished::numbers(&*self.tree)? {
            occurrences.extend(self.read_occurrence(number)?.map(|(occurrence, _)| occurrence));
        }
        Ok(occurrences)
    }

    pub(super) fn read_snapshot(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, Failed> {
        let mut bytes = Vec::new();
        for entry in self.tree.range(keys::snapshot(hash, 0), keys::snapshot_end(hash)) {
            bytes.extend_from_slice(&entry?.1);
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    pub(super) fn read_chunk(&self, occurrence: u64, number: u32) -> Result<Option<Chunk>, Failed> {
        let bytes = self.tree.get(&keys::chunk(occurrence, number))?;
        bytes.map(|bytes| Chunk::decode(&bytes, occurrence, number)).transpose()
    }

    pub(super) fn read_deliveries(
        &self,
        occurrence: Option<u64>,
        after: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Failed> {
        let first = occurrence.map_or_else(|| vec![keys::CHUNK], keys::chunks);
        let from = after.map_or(first, keys::chunk_of);
        let mut deliveries = Vec::new();
        let mut n_chunks = 0;
        for entry in self.tree.range(from, vec![keys::CHUNK + 1]) {
            let (key, value) = entry?;
            let (number, chunk) =
                keys::read_chunk(&key).ok_or(Failed::Record("a chunk's key cannot be read"))?;
            if occurrence.is_some_and(|occurrence| occurrence != number) {
                break;
            }
            let slots = Chunk::decode(&value, number, chunk)?.slots;
            let before = deliveries.len();
            deliveries.extend(slots.into_iter().filter(|slot| after.is_none_or(|after| slot.id > after)));
            n_chunks += usize::from(deliveries.len() > before);
            if n_chunks >= limit {
                break;
            }
        }
        Ok(deliveries)
    }

    pub(super) fn read_delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, Failed> {
        let chunk = self.read_chunk(id.occurrence, id.chunk)?;
        Ok(chunk.and_then(|chunk| chunk.slots.into_iter().nth(usize::from(id.slot))))
    }

    /// By halves, as the walk passed people in their order; the erased have no place in it.
    pub(super) fn read_delivery_to(&self, number: u64, openid: &OpenId) -> Result<Option<Delivery>, Failed> {
        let Some(value) = self.tree.get(&keys::occurrence(number))? else { return Ok(None) };
        let (_, n_chunks) = records::decode_occurrence(&value, number)?;
        let (mut from, mut to) = (0, n_chunks);
        while from < to {
            let middle = from + (to - from) / 2;
            let (mut at, mut slots) = (middle, Vec::new());
            while at < to && slots.is_empty() {
                slots = self.read_chunk(number, at)?.map_or_else(Vec::new, |chunk| chunk.slots);
                slots.retain(|slot| !slot.openid.is_erased());
                at += 1;
            }
            match (slots.first(), slots.last()) {
                (Some(first), Some(last)) if *openid >= first.openid => {
                    if *openid <= last.openid {
                        return Ok(slots.into_iter().find(|slot| slot.openid == *openid));
                    }
                    from = at;
                }
                (Some(_) | None, _) => to = middle,
            }
        }
        Ok(None)
    }

    pub(super) fn read_wakes(
        &self,
        after: Option<&Wake>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Wake>, Failed> {
        let from = after.map_or(vec![keys::TIME], |after| {
            let mut key = keys::time(records::ms(after.at), after.occurrence, after.chunk);
            key.push(0);
            key
        });
        let to = keys::time(records::ms(until).saturating_add(1), 0, 0);
        let wake = |entry: Entry| {
            let (key, _) = entry?;
            let (ms, occurrence, chunk) =
                keys::read_time(&key).ok_or(Failed::Record("a key of the time index cannot be read"))?;
            Ok(Wake { at: records::at(ms)?, occurrence, chunk })
        };
        self.tree.range(from, to).take(limit).map(wake).collect()
    }

    pub(super) fn read_doubts(&self, limit: usize) -> Result<Vec<Delivery>, Failed> {
        let mut doubts = Vec::new();
        for entry in self.tree.prefix(keys::DOUBT).take(limit) {
            let (key, _) = entry?;
            let (occurrence, number) =
                keys::read_chunk(&key).ok_or(Failed::Record("a doubt's key cannot be read"))?;
            let slots = self.read_chunk(occurrence, number)?.map(|chunk| chunk.slots).unwrap_or_default();
            doubts.extend(slots.into_iter().filter(|slot| slot.state == DeliveryState::InDoubt));
        }
        doubts.sort_by_key(|delivery| delivery.settled_at);
        Ok(doubts)
    }

    pub(super) fn read_imported(&self, digest: &[u8; 32]) -> Result<u64, Failed> {
        self.tree.get(&keys::import(digest))?.map_or(Ok(0), |bytes| records::decode(&bytes))
    }

    pub(super) fn read_figures(&self, shared: &Shared) -> Result<Figures, Failed> {
        let mut open: BTreeMap<DeliveryState, u64> = BTreeMap::new();
        for occurrence in self.read_unfinished()? {
            for (state, n) in occurrence.counts.by_state.iter().filter(|(state, _)| state.is_open()) {
                *open.entry(*state).or_default() += n;
            }
        }
        let in_doubt = self.n_doubts.load(Memory::Relaxed);
        if in_doubt > 0 {
            open.insert(DeliveryState::InDoubt, in_doubt);
        }
        Ok(Figures {
            open,
            disk_bytes: self.tree.disk_bytes()?,
            n_groups: shared.n_groups.load(Memory::Relaxed),
            last_sync_us: shared.last_sync_us.load(Memory::Relaxed),
        })
    }
}

/// Reads all doubts of a tree, to know how many there are.
pub(super) fn count_doubts(tree: &dyn Tree) -> Result<u64, Failed> {
    let mut n = 0;
    for entry in tree.prefix(keys::DOUBT) {
        let (key, _) = entry?;
        let (occurrence, number) =
            keys::read_chunk(&key).ok_or(Failed::Record("a doubt's key cannot be read"))?;
        if let Some(bytes) = tree.get(&keys::chunk(occurrence, number))? {
            n += Chunk::decode(&bytes, occurrence, number)?.n_doubts();
        }
    }
    Ok(n)
}

fn openid(bytes: &[u8]) -> Result<OpenId, Failed> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| OpenId::parse(text).ok())
        .ok_or(Failed::Record("a key holds an openid that cannot be"))
}

fn hint(account: &Account) -> Hint {
    if account.available() > 0 {
        return Hint::Consent(account.unbound());
    }
    Hint::Nothing(account.why_none().into())
}
