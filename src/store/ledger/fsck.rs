//! Proves the books by counting records, never by subtraction, while the writer stands still.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::PoisonError;

use super::Failed;
use super::appointments::LAST_CHANGE;
use super::consents;
use super::keys::{self, Name};
use super::records::{self, Booked, Chunk, ErasingV1, Held};
use super::state::{Names, OpenTree, is_unfinished};
use super::tree::Tree;
use super::unfinished;
use crate::domain::count::n_of;
use crate::domain::delivery::State;
use crate::domain::id::{DeliveryId, OpenId};
use crate::domain::occurrence::Counts;
use crate::store::{Fsck, MAX_ENTRY_BYTES, MAX_RECEIPTS, Occurrence, Standing};

/// Violations that are told; more are only more of the same.
const MAX_TOLD: usize = 1000;

/// What one pass over the chunks found of an account's grants.
#[derive(Default)]
struct Outside {
    /// Deliveries that hold or used a grant, and where they are.
    grants: Vec<(DeliveryId, State)>,
    /// Deliveries without one that were or may be sent under a standing acceptance.
    standing: Vec<DeliveryId>,
}

struct Pass<'a> {
    tree: &'a dyn Tree,
    names: &'a Names,
    found: Fsck,
    occurrences: HashMap<u64, (Occurrence, u32)>,
    outside: HashMap<(Name, Name, String), Outside>,
}

/// Reads everything once; the caller sees to it that nothing is written meanwhile.
pub(super) fn run(opened: &OpenTree) -> Result<Fsck, Failed> {
    let names = opened.names.read().unwrap_or_else(PoisonError::into_inner);
    let mut pass = Pass {
        tree: &*opened.tree,
        names: &names,
        found: Fsck::default(),
        occurrences: HashMap::new(),
        outside: HashMap::new(),
    };
    pass.sizes()?;
    pass.occurrences()?;
    pass.chunks()?;
    pass.accounts()?;
    pass.others()?;
    pass.appointments()?;
    Ok(pass.found)
}

impl Pass<'_> {
    fn tell(&mut self, code: &'static str, text: String) {
        if self.found.violations.len() < MAX_TOLD {
            self.found.violations.push((code, text));
        }
    }

    fn sizes(&mut self) -> Result<(), Failed> {
        for entry in self.tree.range(Vec::new(), vec![u8::MAX]) {
            let (key, value) = entry?;
            if key.len() + value.len() > MAX_ENTRY_BYTES {
                let prefix = char::from(key.first().copied().unwrap_or(b'?'));
                self.tell("too_large", format!("a record `{prefix}` has {} bytes", key.len() + value.len()));
            }
        }
        Ok(())
    }

    fn occurrences(&mut self) -> Result<(), Failed> {
        for entry in self.tree.prefix(keys::OCCURRENCE) {
            let (key, value) = entry?;
            let number = keys::read_number(&key).unwrap_or(0);
            match records::decode_occurrence(&value, number) {
                Ok((occurrence, n_chunks)) => {
                    if !occurrence.counts.adds_up() {
                        self.tell(
                            "audience",
                            format!("occurrence {number} of rule {} does not add up", occurrence.rule),
                        );
                    }
                    self.occurrences.insert(number, (occurrence, n_chunks));
                }
                Err(failed) => self.tell("unreadable", format!("occurrence {number}: {failed}")),
            }
        }
        let listed: HashSet<u64> = unfinished::numbers(self.tree)?.into_iter().collect();
        let wrong: Vec<u64> = self
            .occurrences
            .iter()
            .filter(|(number, (occurrence, _))| is_unfinished(occurrence) != listed.contains(*number))
            .map(|(number, _)| *number)
            .collect();
        for number in wrong {
            self.tell(
                "unfinished_index",
                format!("occurrence {number} is listed as unfinished wrongly, or not listed"),
            );
        }
        let lost: Vec<u64> =
            listed.into_iter().filter(|number| !self.occurrences.contains_key(number)).collect();
        for number in lost {
            self.tell(
                "unfinished_index",
                format!("occurrence {number} is listed as unfinished and is not there"),
            );
        }
        Ok(())
    }

    fn chunks(&mut self) -> Result<(), Failed> {
        let mut counted: BTreeMap<u64, Counts> = BTreeMap::new();
        let mut times = HashSet::new();
        let mut doubts = HashSet::new();
        for entry in self.tree.prefix(keys::CHUNK) {
            let (key, value) = entry?;
            let Some((number, chunk_number)) = keys::read_chunk(&key) else {
                self.tell("unreadable", "a chunk's key cannot be read".to_owned());
                continue;
            };
            let chunk = match Chunk::decode(&value, number, chunk_number) {
                Ok(chunk) => chunk,
                Err(failed) => {
                    self.tell("unreadable", format!("chunk {chunk_number} of occurrence {number}: {failed}"));
                    continue;
                }
            };
            times.extend(chunk.next_ms().map(|ms| keys::time(ms, number, chunk_number)));
            doubts.extend(chunk.doubt_ms().map(|ms| keys::doubt(ms, number, chunk_number)));
            let Some((occurrence, _)) = self.occurrences.get(&number) else {
                self.tell(
                    "orphan",
                    format!("chunk {chunk_number} belongs to occurrence {number}, which is not there"),
                );
                continue;
            };
            let names =
                (self.names.number(occurrence.app.as_str()), self.names.number(occurrence.template.as_str()));
            let counts = counted.entry(number).or_default();
            for slot in chunk.slots {
                self.found.deliveries += 1;
                match (slot.state, slot.skipped) {
                    (State::Skipped, Some(reason)) => *counts.skipped.entry(reason).or_default() += 1,
                    (state, _) => *counts.by_state.entry(state).or_default() += 1,
                }
                if holds_grant(slot.state)
                    && let (Some(app), Some(template)) = names
                {
                    let account = (app, template, slot.openid.as_str().to_owned());
                    let outside = self.outside.entry(account).or_default();
                    match slot.grant {
                        Some(_) => outside.grants.push((slot.id, slot.state)),
                        None => outside.standing.push(slot.id),
                    }
                }
            }
        }
        self.compare_counts(&counted);
        self.compare_index(keys::TIME, "time_index", &times)?;
        self.compare_index(keys::DOUBT, "doubt_index", &doubts)
    }

    /// Counts of an occurrence are those of its chunks, but for who is only counted: without consent, or passed too late.
    fn compare_counts(&mut self, counted: &BTreeMap<u64, Counts>) {
        let mut wrong = Vec::new();
        let empty = Counts::default();
        for (number, (occurrence, _)) in &self.occurrences {
            let counts = counted.get(number).unwrap_or(&empty);
            for state in State::ALL {
                let (stated, found) = (occurrence.counts.in_state(state), counts.in_state(state));
                let only_counted = state == State::Expired && stated > found;
                if stated != found && !only_counted {
                    wrong.push(format!(
                        "occurrence {number} states {stated} {}, its chunks hold {found}",
                        state.as_str()
                    ));
                }
            }
            for (reason, found) in &counts.skipped {
                if occurrence.counts.skipped.get(reason).copied().unwrap_or(0) < *found {
                    wrong.push(format!(
                        "occurrence {number} states fewer skipped ({}) than its chunks hold",
                        reason.as_str()
                    ));
                }
            }
        }
        for text in wrong {
            self.tell("counts", text);
        }
    }

    fn compare_index(
        &mut self,
        prefix: u8,
        code: &'static str,
        wanted: &HashSet<Vec<u8>>,
    ) -> Result<(), Failed> {
        let mut n = 0;
        for entry in self.tree.prefix(prefix) {
            let (key, _) = entry?;
            n += 1;
            if !wanted.contains(key.as_ref()) {
                let at = keys::read_chunk(&key).unwrap_or((0, 0));
                self.tell(code, format!("chunk {} of occurrence {} is listed without need", at.1, at.0));
            }
        }
        if n < wanted.len() {
            self.tell(code, format!("{} chunks are not listed", wanted.len() - n));
        }
        Ok(())
    }

    fn accounts(&mut self) -> Result<(), Failed> {
        let mut with_receipts = HashSet::new();
        for entry in self.tree.prefix(keys::ACCOUNT) {
            let (key, value) = entry?;
            self.found.accounts += 1;
            let n = self.found.accounts;
            let Some((app, template, openid)) = keys::read_account(&key) else {
                self.tell("unreadable", format!("the key of account {n} cannot be read"));
                continue;
            };
            let Held { account, standing_out, has_receipts, .. } = match Held::decode(&value) {
                Ok(held) => held,
                Err(failed) => {
                    self.tell("unreadable", format!("account {n}: {failed}"));
                    continue;
                }
            };
            let outside = self.outside.remove(&(app, template, openid.to_owned())).unwrap_or_default();
            let there: HashSet<DeliveryId> = outside.grants.iter().map(|(id, _)| *id).collect();
            let listed: HashSet<DeliveryId> = account.out.iter().copied().collect();
            let counted = account.available() + n_of(account.out.len()) + account.consumed + account.voided;
            self.found.grants += counted;
            if counted != account.granted {
                self.tell(
                    "balance",
                    format!("account {n} was granted {}, its buckets hold {counted}", account.granted),
                );
            }
            if listed.len() != account.out.len() {
                self.tell("out", format!("account {n} names a delivery twice"));
            }
            if let Some(id) = listed.difference(&there).min() {
                self.tell("out", format!("account {n} names delivery {id}, which holds no grant of it"));
            }
            // A settled one may have been folded; an open one or one in doubt must be named.
            let open = outside
                .grants
                .iter()
                .find(|(id, state)| !listed.contains(id) && (state.is_open() || *state == State::InDoubt));
            if let Some((id, _)) = open {
                self.tell("out", format!("delivery {id} holds a grant that account {n} does not name"));
            }
            if let Some(id) = standing_out.iter().find(|id| !outside.standing.contains(id)) {
                self.tell("out", format!("account {n} names delivery {id}, which was not made under it"));
            }
            if has_receipts {
                with_receipts.insert(keys::receipts(app, template, openid));
            }
            if !account.free.is_sorted_by_key(|grant| grant.accepted_at) {
                self.tell("order", format!("grants of account {n} are out of order"));
            }
            if account.free.iter().any(|grant| account.is_dead(grant.accepted_at)) {
                self.tell("dead", format!("account {n} offers a grant that a refusal made worthless"));
            }
        }
        let orphans: usize = self.outside.values().map(|outside| outside.grants.len()).sum();
        if orphans > 0 {
            self.tell("orphan", format!("{orphans} deliveries hold grants of accounts that are not there"));
        }
        self.receipts(with_receipts)
    }

    /// Kept receipts are those of accounts that know of them, and can be read.
    fn receipts(&mut self, mut expected: HashSet<Vec<u8>>) -> Result<(), Failed> {
        for entry in self.tree.prefix(keys::RECEIPTS) {
            let (key, value) = entry?;
            if !expected.remove(key.as_ref()) {
                self.tell(
                    "receipts",
                    "receipts are kept of an account that does not know of them".to_owned(),
                );
            }
            match records::decode_receipts(&value) {
                Ok(receipts) if receipts.is_empty() || receipts.len() > MAX_RECEIPTS => {
                    self.tell("receipts", format!("{} receipts are kept in one record", receipts.len()));
                }
                Ok(_) => {}
                Err(failed) => self.tell("unreadable", format!("kept receipts: {failed}")),
            }
        }
        if !expected.is_empty() {
            let n = expected.len();
            self.tell("receipts", format!("{n} accounts know of receipts that are not there"));
        }
        Ok(())
    }

    /// An appointment is listed once by its time, once by its change and once for each it belongs to, and nothing else is; what names a reminder
    /// leads to an occurrence about it.
    fn appointments(&mut self) -> Result<(), Failed> {
        let newest = self.tree.get(&keys::kept(LAST_CHANGE))?;
        let newest = newest.and_then(|bytes| keys::read_number(&bytes)).unwrap_or(0);
        let (mut times, mut changes, mut owned) = (HashSet::new(), HashSet::new(), HashSet::new());
        for entry in self.tree.prefix(keys::APPOINTMENT) {
            let (key, value) = entry?;
            let record = records::decode_appointment(&value).ok().zip(keys::read_appointment(&key));
            let Some((kept, (app, kind, id))) = record else {
                self.tell("unreadable", "an appointment cannot be read".to_owned());
                continue;
            };
            if kept.number > newest || kept.joined.values().any(|joined| joined.number > kept.number) {
                self.tell("appointment_number", format!("{kind} {id} has a number that was not given yet"));
            }
            let stands = u8::from(kept.state == Standing::Stands);
            times.insert((keys::appointment_time(app, &kind, records::ms(kept.at), &id), vec![stands]));
            changes.insert((keys::change(app, &kind, kept.number), id.as_str().as_bytes().to_vec()));
            let of = |openid: &OpenId| (keys::owned(app, openid.as_str(), &kind, &id), Vec::new());
            owned.extend(kept.joined.keys().map(of));
        }
        for (prefix, code, wanted) in [
            (keys::APPOINTMENT_TIME, "appointment_time", times),
            (keys::CHANGE, "appointment_change", changes),
            (keys::OWNED, "appointment_person", owned),
        ] {
            let mut n = 0;
            for entry in self.tree.prefix(prefix) {
                let (key, value) = entry?;
                n += 1;
                if !wanted.contains(&(key.to_vec(), value.to_vec())) {
                    self.tell(code, "an appointment is listed as it is not".to_owned());
                }
            }
            if n < wanted.len() {
                self.tell(code, format!("{} appointments are not listed", wanted.len() - n));
            }
        }
        let mut named = HashSet::new();
        for entry in self.tree.prefix(keys::REMINDER) {
            let (key, value) = entry?;
            let number = keys::read_number(&value).unwrap_or(0);
            named.insert(number);
            let about = self.occurrences.get(&number).and_then(|(occurrence, _)| {
                let app = self.names.number(occurrence.app.as_str())?;
                let about = occurrence.about.as_ref()?;
                Some(keys::reminder(app, &about.kind, &about.id, records::ms(about.at), &occurrence.rule))
            });
            if about.as_deref() != Some(key.as_ref()) {
                self.tell("reminder", format!("a reminder leads to occurrence {number}, which is not it"));
            }
        }
        let previous: HashSet<u64> =
            self.occurrences.values().filter_map(|(o, _)| o.about.as_ref()?.previous).collect();
        let mut unnamed: Vec<u64> = Vec::new();
        for (number, (occurrence, _)) in &self.occurrences {
            // A repetition has no name of its own, and what was sent by hand has another one.
            let has_name = occurrence.about.is_some() && occurrence.is_of_plan();
            if has_name && !named.contains(number) && !previous.contains(number) {
                unnamed.push(*number);
            }
        }
        for number in unnamed {
            self.tell(
                "reminder",
                format!("nothing leads to occurrence {number}, which is about an appointment"),
            );
        }
        Ok(())
    }

    fn others(&mut self) -> Result<(), Failed> {
        let mut unreadable = 0_u64;
        let (mut in_zones, mut in_persons) = (BTreeMap::new(), HashSet::new());
        for entry in self.tree.prefix(keys::RECIPIENT) {
            let (key, value) = entry?;
            let read = keys::read_recipient(&key).zip(records::decode_recipient(&value).ok());
            let Some(((app, openid), recipient)) = read else {
                unreadable += 1;
                continue;
            };
            for (zone, left_ms) in consents::zones(&recipient) {
                in_zones.insert(keys::in_zone(app, zone, openid), left_ms);
            }
            let unionid = recipient.profile.unionid.iter();
            in_persons.extend(unionid.map(|unionid| keys::in_person(unionid, app, openid)));
        }
        let mut n_wrong = 0_u64;
        for entry in self.tree.prefix(keys::ZONE) {
            let (key, value) = entry?;
            let left_ms = value.as_ref().try_into().ok().map(i64::from_be_bytes);
            n_wrong += u64::from(in_zones.remove(key.as_ref()) != Some(left_ms));
        }
        n_wrong += n_of(in_zones.len());
        if n_wrong > 0 {
            self.tell(
                "zone",
                format!("{n_wrong} entries of the index of recipients by zone are not as they should be"),
            );
        }
        let mut n_wrong = 0_u64;
        for entry in self.tree.prefix(keys::PERSON) {
            n_wrong += u64::from(!in_persons.remove(entry?.0.as_ref()));
        }
        n_wrong += n_of(in_persons.len());
        if n_wrong > 0 {
            self.tell(
                "person",
                format!("{n_wrong} entries of the index of recipients by unionid are not as they should be"),
            );
        }
        for entry in self.tree.prefix(keys::REPORT) {
            unreadable += u64::from(Booked::decode(&entry?.1).is_err());
        }
        for entry in self.tree.prefix(keys::ERASED) {
            unreadable += u64::from(records::decode::<i64>(&entry?.1).is_err());
        }
        for entry in self.tree.prefix(keys::ERASING) {
            let (key, value) = entry?;
            let readable = records::decode::<ErasingV1>(&value).is_ok() && keys::read_erasing(&key).is_some();
            unreadable += u64::from(!readable);
        }
        if unreadable > 0 {
            self.tell("unreadable", format!("{unreadable} recipients, reports or erasures cannot be read"));
        }
        Ok(())
    }
}

/// Whether a delivery in this state holds or used the grant it names.
pub(super) fn holds_grant(state: State) -> bool {
    match state {
        State::Reserved
        | State::Attempting
        | State::Waiting
        | State::InDoubt
        | State::Sent
        | State::Undelivered
        | State::PresumedSent => true,
        State::Held | State::Refused | State::Failed | State::Expired | State::Cancelled | State::Skipped => {
            false
        }
    }
}
