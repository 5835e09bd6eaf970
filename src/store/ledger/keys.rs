//! Key layouts, each with what its byte order is good for.
//!
//! One tree; a prefix byte, then fields. Numbers are big-endian, so byte order is their order. Text that
//! something follows has its length before it, so two different keys are never equal. Apps and
//! templates are 2-byte numbers of the name table.

use crate::domain::id::{AppointmentId, DeliveryId, Kind, OpenId, Ref, ReportId, RuleId, UnionId};
use crate::domain::occurrence::Whose;
use crate::domain::zone::Zone;
use chrono::{DateTime, NaiveDateTime, Timelike};
use sha2::{Digest, Sha256};

/// Small named values.
pub(super) const KEPT: u8 = b'm';
/// Name table: number → text.
pub(super) const NAME: u8 = b'n';
/// Recipients by app and openid: a walk meets them in openid order.
pub(super) const RECIPIENT: u8 = b'p';
/// Recipients by app, time zone and openid, those of a zone they have or had a short while ago: a walk meets those of
/// one zone in openid order.
pub(super) const ZONE: u8 = b'l';
/// Recipients by `ref`.
pub(super) const REF: u8 = b'f';
/// Recipients of all apps by unionid, app and openid: those of one person are neighbours.
pub(super) const PERSON: u8 = b'P';
/// Accounts by app, template, openid: a walk meets them beside the recipients.
pub(super) const ACCOUNT: u8 = b'c';
/// Receipts that belong to no delivery yet, by account: those of one account are one record.
pub(super) const RECEIPTS: u8 = b'e';
/// Reports by app, openid and a hash of their id.
pub(super) const REPORT: u8 = b'r';
/// Numbers of rules by app and id.
pub(super) const RULE: u8 = b'R';
/// Rules' cursors by number, those of neighbours in one record.
pub(super) const CURSORS: u8 = b'U';
/// Pieces of rule snapshots by hash.
pub(super) const SNAPSHOT: u8 = b's';
/// Occurrences by number: the order in which they were opened.
pub(super) const OCCURRENCE: u8 = b'o';
/// Occurrences that have work left, by number, neighbours in one record.
pub(super) const UNFINISHED: u8 = b'Q';
/// Which rules opened at a civil time, by civil time, fold, rules' numbers, neighbours in one record, and whose clocks
/// show it.
pub(super) const IDENTITY: u8 = b'I';
/// Chunks by occurrence and number: the order in which they were made.
pub(super) const CHUNK: u8 = b'k';
/// Chunks with deliveries that are held, wait, or shall be repeated, by their next instant: a scan meets the next one first.
pub(super) const TIME: u8 = b't';
/// Chunks with deliveries in doubt by the oldest of them.
pub(super) const DOUBT: u8 = b'x';
/// How far imports came, by digest.
pub(super) const IMPORT: u8 = b'j';

/// When somebody was erased, by a keyed hash of who.
pub(super) const ERASED: u8 = b'z';
/// Erasures that have something left to overwrite, by app and openid.
pub(super) const ERASING: u8 = b'g';

/// Appointments by app, kind and id.
pub(super) const APPOINTMENT: u8 = b'a';
/// Appointments by app, kind and their time: a scan meets the next one first.
pub(super) const APPOINTMENT_TIME: u8 = b'b';
/// Appointments by app, kind and the number of their newest change: a scan meets them as they were changed.
pub(super) const CHANGE: u8 = b'd';
/// Appointments by app, whom they belong to, kind and id: those of one person are neighbours.
pub(super) const OWNED: u8 = b'w';
/// What names a reminder: app, kind, appointment, its time, rule. All of one appointment are neighbours.
pub(super) const REMINDER: u8 = b'y';
/// How far rules have read the changes of appointments, by app and id.
pub(super) const CHANGES_READ: u8 = b'v';
/// Requests that were carried out, by app and a hash of their id.
pub(super) const REQUEST: u8 = b'h';

/// Before layout 5: rules' cursors by app and id.
pub(super) const OLD_CURSOR: u8 = b'u';
/// Before layout 5: occurrences that have work left, by number.
pub(super) const OLD_UNFINISHED: u8 = b'q';
/// Before layout 5: what names an occurrence: app, rule, civil time, fold, and whose clocks show it.
pub(super) const OLD_IDENTITY: u8 = b'i';

/// A number of the name table.
pub(super) type Name = u16;

fn key(prefix: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(prefix);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// An instant as bytes that sort like it, also before 1970.
fn instant(ms: i64) -> [u8; 8] {
    (ms.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn length(text: &str) -> [u8; 1] {
    // Identifiers are at most 64 bytes by their parsers.
    [u8::try_from(text.len()).unwrap_or(u8::MAX)]
}

pub(super) fn kept(name: &str) -> Vec<u8> {
    key(KEPT, &[name.as_bytes()])
}

pub(super) fn name(name: Name) -> Vec<u8> {
    key(NAME, &[&name.to_be_bytes()])
}

pub(super) fn recipients(app: Name) -> Vec<u8> {
    key(RECIPIENT, &[&app.to_be_bytes()])
}

pub(super) fn recipient(app: Name, openid: &str) -> Vec<u8> {
    key(RECIPIENT, &[&app.to_be_bytes(), openid.as_bytes()])
}

/// App and openid of a recipient's key.
pub(super) fn read_recipient(key: &[u8]) -> Option<(Name, &str)> {
    let (app, openid) = key.get(1..)?.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), std::str::from_utf8(openid).ok()?))
}

/// The beginning of the keys of all zones of an app.
pub(super) fn zones(app: Name) -> Vec<u8> {
    key(ZONE, &[&app.to_be_bytes()])
}

/// The beginning of the keys of one zone's recipients.
pub(super) fn of_zone(app: Name, zone: &str) -> Vec<u8> {
    key(ZONE, &[&app.to_be_bytes(), &length(zone), zone.as_bytes()])
}

pub(super) fn in_zone(app: Name, zone: &str, openid: &str) -> Vec<u8> {
    let mut key = of_zone(app, zone);
    key.extend_from_slice(openid.as_bytes());
    key
}

/// The zone of a key of recipients by zone.
pub(super) fn read_zone(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.get(3..)?.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

pub(super) fn reference(app: Name, reference: &Ref) -> Vec<u8> {
    key(REF, &[&app.to_be_bytes(), reference.as_str().as_bytes()])
}

/// The beginning of the keys of all recipients that are one person.
pub(super) fn person(unionid: &UnionId) -> Vec<u8> {
    key(PERSON, &[&length(unionid.as_str()), unionid.as_str().as_bytes()])
}

pub(super) fn in_person(unionid: &UnionId, app: Name, openid: &str) -> Vec<u8> {
    let mut key = person(unionid);
    key.extend_from_slice(&app.to_be_bytes());
    key.extend_from_slice(openid.as_bytes());
    key
}

/// App and openid of such a key, whose beginning is `person`.
pub(super) fn read_person<'a>(key: &'a [u8], person: &[u8]) -> Option<(Name, &'a str)> {
    let (app, openid) = key.strip_prefix(person)?.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), std::str::from_utf8(openid).ok()?))
}

pub(super) fn accounts(app: Name, template: Name) -> Vec<u8> {
    key(ACCOUNT, &[&app.to_be_bytes(), &template.to_be_bytes()])
}

pub(super) fn account(app: Name, template: Name, openid: &str) -> Vec<u8> {
    key(ACCOUNT, &[&app.to_be_bytes(), &template.to_be_bytes(), openid.as_bytes()])
}

pub(super) fn receipts(app: Name, template: Name, openid: &str) -> Vec<u8> {
    key(RECEIPTS, &[&app.to_be_bytes(), &template.to_be_bytes(), openid.as_bytes()])
}

/// App, template and openid of an account's or receipts' key.
pub(super) fn read_account(key: &[u8]) -> Option<(Name, Name, &str)> {
    let (app, rest) = key.get(1..)?.split_first_chunk::<2>()?;
    let (template, openid) = rest.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), u16::from_be_bytes(*template), std::str::from_utf8(openid).ok()?))
}

pub(super) fn report(app: Name, openid: &OpenId, id: &ReportId) -> Vec<u8> {
    let openid = openid.as_str();
    let hash = Sha256::digest(id.as_str());
    let hash = hash.first_chunk::<16>().copied().unwrap_or_default();
    key(REPORT, &[&app.to_be_bytes(), &length(openid), openid.as_bytes(), &hash])
}

/// App, openid and hash of the id of a report's key.
pub(super) fn read_report(key: &[u8]) -> Option<(Name, &str, &[u8])> {
    let (app, rest) = key.get(1..)?.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first()?;
    let (openid, id) = rest.split_at_checked(usize::from(*length))?;
    Some((u16::from_be_bytes(*app), std::str::from_utf8(openid).ok()?, id))
}

pub(super) fn rule(app: Name, rule: &RuleId) -> Vec<u8> {
    key(RULE, &[&app.to_be_bytes(), rule.as_str().as_bytes()])
}

/// The record of cursors with this number.
pub(super) fn cursors(record: u32) -> Vec<u8> {
    key(CURSORS, &[&record.to_be_bytes()])
}

/// App and id of a rule's key, and of a cursor's of a layout before 5.
pub(super) fn read_rule(key: &[u8]) -> Option<(Name, RuleId)> {
    let (app, rule) = key.get(1..)?.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), RuleId::parse(std::str::from_utf8(rule).ok()?).ok()?))
}

/// A piece of a snapshot: the first 255 by one byte, later ones by two more.
pub(super) fn snapshot(hash: &[u8; 32], piece: u16) -> Vec<u8> {
    match u8::try_from(piece) {
        Ok(piece) if piece < u8::MAX => key(SNAPSHOT, &[hash, &[piece]]),
        Ok(_) | Err(_) => key(SNAPSHOT, &[hash, &[u8::MAX], &piece.to_be_bytes()]),
    }
}

/// The hash of the key of a snapshot's first piece; `None` for the others'.
pub(super) fn read_snapshot(key: &[u8]) -> Option<[u8; 32]> {
    let (hash, piece) = key.get(1..)?.split_first_chunk::<32>()?;
    (piece == [0]).then_some(*hash)
}

/// The end of a snapshot's pieces.
pub(super) fn snapshot_end(hash: &[u8; 32]) -> Vec<u8> {
    key(SNAPSHOT, &[hash, &[u8::MAX; 4]])
}

pub(super) fn occurrence(number: u64) -> Vec<u8> {
    key(OCCURRENCE, &[&number.to_be_bytes()])
}

/// The record of the unfinished with this number.
pub(super) fn unfinished(record: u64) -> Vec<u8> {
    key(UNFINISHED, &[&record.to_be_bytes()])
}

/// The number at the end of a key.
pub(super) fn read_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The record of a civil time's identities with this number.
pub(super) fn identity(civil: NaiveDateTime, fold: u8, record: u32) -> Vec<u8> {
    let civil = civil.with_nanosecond(0).unwrap_or(civil);
    key(IDENTITY, &[&instant(civil.and_utc().timestamp()), &[fold], &record.to_be_bytes()])
}

/// Beside such a record: that of the rules that opened for one zone, in the recipients' own time.
pub(super) fn identity_of(identity: &[u8], whose: Whose, zone: Zone) -> Vec<u8> {
    let mut key = identity.to_vec();
    match whose {
        Whose::Everybody => {}
        Whose::Default => key.push(1),
        Whose::OfZone => {
            key.push(2);
            key.extend_from_slice(zone.name().as_bytes());
        }
    }
    key
}

/// App, rule, civil time and fold, and whose it is, of an identity's key of a layout before 5; whose is `None` in the
/// key that says that there is one of some zone. The zone counts only where it is of one.
#[expect(clippy::type_complexity, reason = "the parts of a key that is only taken over")]
pub(super) fn read_old_identity(
    key: &[u8],
) -> Option<(Name, RuleId, (NaiveDateTime, u8), Option<(Whose, Zone)>)> {
    let (app, rest) = key.get(1..)?.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first()?;
    let (rule, rest) = rest.split_at_checked(usize::from(*length))?;
    let (seconds, rest) = rest.split_first_chunk::<8>()?;
    let (fold, whose) = rest.split_first()?;
    let civil = (u64::from_be_bytes(*seconds) ^ (1 << 63)).cast_signed();
    let whose = match whose.split_first() {
        None => Some((Whose::Everybody, Zone::UTC)),
        Some((0, _)) => None,
        Some((1, _)) => Some((Whose::Default, Zone::UTC)),
        Some((_, zone)) => Some((Whose::OfZone, Zone::parse(std::str::from_utf8(zone).ok()?).ok()?)),
    };
    let rule = RuleId::parse(std::str::from_utf8(rule).ok()?).ok()?;
    Some((u16::from_be_bytes(*app), rule, (DateTime::from_timestamp(civil, 0)?.naive_utc(), *fold), whose))
}

pub(super) fn chunks(occurrence: u64) -> Vec<u8> {
    key(CHUNK, &[&occurrence.to_be_bytes()])
}

pub(super) fn chunk(occurrence: u64, chunk: u32) -> Vec<u8> {
    key(CHUNK, &[&occurrence.to_be_bytes(), &chunk.to_be_bytes()])
}

/// Occurrence and number at the end of a chunk's, time or doubt key.
pub(super) fn read_chunk(key: &[u8]) -> Option<(u64, u32)> {
    let (rest, chunk) = key.split_last_chunk::<4>()?;
    let occurrence = rest.last_chunk::<8>()?;
    Some((u64::from_be_bytes(*occurrence), u32::from_be_bytes(*chunk)))
}

pub(super) fn time(ms: i64, occurrence: u64, chunk: u32) -> Vec<u8> {
    key(TIME, &[&instant(ms), &occurrence.to_be_bytes(), &chunk.to_be_bytes()])
}

/// Milliseconds, occurrence and number of a time key.
pub(super) fn read_time(key: &[u8]) -> Option<(i64, u64, u32)> {
    let ms = key.get(1..)?.first_chunk::<8>()?;
    let (occurrence, chunk) = read_chunk(key)?;
    Some(((u64::from_be_bytes(*ms) ^ (1 << 63)).cast_signed(), occurrence, chunk))
}

pub(super) fn doubt(since_ms: i64, occurrence: u64, chunk: u32) -> Vec<u8> {
    key(DOUBT, &[&instant(since_ms), &occurrence.to_be_bytes(), &chunk.to_be_bytes()])
}

pub(super) fn import(digest: &[u8; 32]) -> Vec<u8> {
    key(IMPORT, &[digest])
}

pub(super) fn erased(hash: &[u8; 32]) -> Vec<u8> {
    key(ERASED, &[hash])
}

pub(super) fn erasing(app: Name, openid: &str) -> Vec<u8> {
    key(ERASING, &[&app.to_be_bytes(), openid.as_bytes()])
}

/// App and openid of an erasure's key.
pub(super) fn read_erasing(key: &[u8]) -> Option<(Name, &str)> {
    read_recipient(key)
}

/// The beginning of the keys of a recipient's reports.
pub(super) fn reports(app: Name, openid: &str) -> Vec<u8> {
    key(REPORT, &[&app.to_be_bytes(), &length(openid), openid.as_bytes()])
}

/// The beginning of keys of appointments of one kind.
fn appointments(prefix: u8, app: Name, kind: &Kind) -> Vec<u8> {
    key(prefix, &[&app.to_be_bytes(), &length(kind.as_str()), kind.as_str().as_bytes()])
}

pub(super) fn appointment(app: Name, kind: &Kind, id: &AppointmentId) -> Vec<u8> {
    let mut key = appointments(APPOINTMENT, app, kind);
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// App, kind and id of an appointment's key.
pub(super) fn read_appointment(key: &[u8]) -> Option<(Name, Kind, AppointmentId)> {
    let (app, kind, rest) = read_kind(key)?;
    Some((app, kind, AppointmentId::parse(std::str::from_utf8(rest).ok()?).ok()?))
}

/// App and kind at the beginning of a key of appointments, and what follows.
fn read_kind(key: &[u8]) -> Option<(Name, Kind, &[u8])> {
    let (app, rest) = key.get(1..)?.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first()?;
    let (kind, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((u16::from_be_bytes(*app), Kind::parse(std::str::from_utf8(kind).ok()?).ok()?, rest))
}

/// The beginning of the keys of a kind's appointments at `ms` and later.
pub(super) fn appointments_from(app: Name, kind: &Kind, ms: i64) -> Vec<u8> {
    let mut key = appointments(APPOINTMENT_TIME, app, kind);
    key.extend_from_slice(&instant(ms));
    key
}

pub(super) fn appointment_time(app: Name, kind: &Kind, ms: i64, id: &AppointmentId) -> Vec<u8> {
    let mut key = appointments_from(app, kind, ms);
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// App, kind, milliseconds and id of a key of appointments by time.
pub(super) fn read_appointment_time(key: &[u8]) -> Option<(Name, Kind, i64, AppointmentId)> {
    let (app, kind, rest) = read_kind(key)?;
    let (ms, id) = rest.split_first_chunk::<8>()?;
    let ms = (u64::from_be_bytes(*ms) ^ (1 << 63)).cast_signed();
    Some((app, kind, ms, AppointmentId::parse(std::str::from_utf8(id).ok()?).ok()?))
}

pub(super) fn change(app: Name, kind: &Kind, number: u64) -> Vec<u8> {
    let mut key = appointments(CHANGE, app, kind);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The beginning of the keys of one person's appointments.
pub(super) fn all_owned(app: Name, openid: &str) -> Vec<u8> {
    key(OWNED, &[&app.to_be_bytes(), &length(openid), openid.as_bytes()])
}

pub(super) fn owned(app: Name, openid: &str, kind: &Kind, id: &AppointmentId) -> Vec<u8> {
    let mut key = all_owned(app, openid);
    key.extend_from_slice(&length(kind.as_str()));
    key.extend_from_slice(kind.as_str().as_bytes());
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// Kind and id of a key of one person's appointments, whose beginning is `all`.
pub(super) fn read_owned(key: &[u8], all: &[u8]) -> Option<(Kind, AppointmentId)> {
    let (length, rest) = key.strip_prefix(all)?.split_first()?;
    let (kind, id) = rest.split_at_checked(usize::from(*length))?;
    let (kind, id) = (std::str::from_utf8(kind).ok()?, std::str::from_utf8(id).ok()?);
    Some((Kind::parse(kind).ok()?, AppointmentId::parse(id).ok()?))
}

/// The beginning of the keys of all reminders of an appointment.
pub(super) fn reminders(app: Name, kind: &Kind, id: &AppointmentId) -> Vec<u8> {
    let mut key = appointments(REMINDER, app, kind);
    key.extend_from_slice(&length(id.as_str()));
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

pub(super) fn reminder(app: Name, kind: &Kind, id: &AppointmentId, ms: i64, rule: &RuleId) -> Vec<u8> {
    let mut key = reminders(app, kind, id);
    key.extend_from_slice(&instant(ms));
    key.extend_from_slice(rule.as_str().as_bytes());
    key
}

pub(super) fn changes_read(app: Name, rule: &RuleId) -> Vec<u8> {
    key(CHANGES_READ, &[&app.to_be_bytes(), rule.as_str().as_bytes()])
}

pub(super) fn request(app: Name, id: &[u8; 16]) -> Vec<u8> {
    key(REQUEST, &[&app.to_be_bytes(), id])
}

/// App and hash of the id of a request's key.
pub(super) fn read_request(key: &[u8]) -> Option<(Name, &[u8])> {
    let (app, id) = key.get(1..)?.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*app), id))
}

/// The chunk that a delivery lives in.
pub(super) fn chunk_of(id: DeliveryId) -> Vec<u8> {
    chunk(id.occurrence, id.chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_time_order() {
        let instants = [i64::MIN, -1, 0, 1, 1_800_000_000_000, i64::MAX];
        let keys: Vec<Vec<u8>> = instants.iter().map(|ms| time(*ms, 7, 9)).collect();
        assert!(keys.is_sorted());
        assert_eq!(read_chunk(&keys[2]), Some((7, 9)));
    }

    #[test]
    fn pieces_of_a_snapshot_are_in_order_before_their_end() {
        let mut keys: Vec<Vec<u8>> = (0..=u16::MAX).map(|piece| snapshot(&[7; 32], piece)).collect();
        keys.push(snapshot_end(&[7; 32]));
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_longer_openid_does_not_run_into_what_follows() {
        let id = ReportId::parse("r").expect("good");
        let openid = |t: &str| OpenId::parse(t).expect("good");
        let (a, b) = (report(1, &openid("o123456789"), &id), report(1, &openid("o1234567890"), &id));
        assert_ne!(a.len(), b.len());
    }
}
