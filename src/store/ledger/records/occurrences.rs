//! Records of occurrences, each in the oldest version that can say what it is.

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::{
    Failed, REASONS, STATES, UNKNOWN_VERSION, V1, V2, V3, V4, V5, at, encode, encode_as, hex, index_of, ms,
    one_of, version, whole,
};
use crate::domain::appointment::About;
use crate::domain::id::{AppId, AppointmentId, DeliveryId, Kind, OpenId, RuleId, TemplateId};
use crate::domain::occurrence::{Counts, OccurrenceState, Repetition, Whose};
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;
use crate::store::Occurrence;

#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV1 {
    app: String,
    rule: String,
    template: String,
    long_term: bool,
    due_ms: i64,
    civil_s: i64,
    fold: u8,
    zone: String,
    deadline_ms: i64,
    state: u8,
    reason: Option<String>,
    n: u64,
    position: Option<String>,
    walked: bool,
    n_chunks: u32,
    audience: u64,
    by_state: Vec<(u8, u64)>,
    skipped: Vec<(u8, u64)>,
    #[serde(with = "hex")]
    snapshot: [u8; 32],
}

const WHOSE: [Whose; 3] = [Whose::Everybody, Whose::Default, Whose::OfZone];
const OCCURRENCE_STATES: [OccurrenceState; 5] = [
    OccurrenceState::Open,
    OccurrenceState::Held,
    OccurrenceState::Done,
    OccurrenceState::Missed,
    OccurrenceState::Cancelled,
];

/// What an occurrence reminds of: kind, id, milliseconds, number, after, previous.
#[derive(Serialize, Deserialize)]
pub(super) struct AboutV1(String, String, i64, u64, u64, Option<u64>);

/// An occurrence that reminds of an appointment.
#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV2 {
    first: OccurrenceV1,
    about: AboutV1,
}

/// An occurrence of a rule of the recipients' own time, with the index of whose it is.
#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV3 {
    first: OccurrenceV1,
    whose: u8,
}

/// An occurrence of a rule with a priority.
#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV4 {
    first: OccurrenceV1,
    about: Option<AboutV1>,
    whose: u8,
    priority: u32,
}

/// An occurrence of a rule that sends again what has no answer, or a repetition: of which delivery, and the how manieth
/// message.
#[derive(Serialize, Deserialize)]
pub(super) struct OccurrenceV5 {
    first: OccurrenceV4,
    resends: bool,
    repeats: Option<(u64, u32, u8, u8)>,
}

/// Encodes an occurrence's record, and how many chunks it has.
pub(in super::super) fn encode_occurrence(occurrence: &Occurrence, n_chunks: u32) -> Result<Vec<u8>, Failed> {
    let first = OccurrenceV1::of(occurrence, n_chunks);
    let resends = occurrence.on_doubt == OnDoubt::Resend;
    let repeats = occurrence.repeats;
    if occurrence.priority > 0 || resends || repeats.is_some() {
        let (whose, priority) = (index_of(&WHOSE, &occurrence.whose), occurrence.priority);
        let about = occurrence.about.as_ref().map(AboutV1::of);
        let first = OccurrenceV4 { first, about, whose, priority };
        if !resends && repeats.is_none() {
            return encode_as(V4, &first);
        }
        let repeats = repeats.map(|Repetition { of, nth }| (of.occurrence, of.chunk, of.slot, nth));
        return encode_as(V5, &OccurrenceV5 { first, resends, repeats });
    }
    let Some(about) = &occurrence.about else {
        return match occurrence.whose {
            Whose::Everybody => encode(&first),
            whose @ (Whose::Default | Whose::OfZone) => {
                encode_as(V3, &OccurrenceV3 { first, whose: index_of(&WHOSE, &whose) })
            }
        };
    };
    encode_as(V2, &OccurrenceV2 { first, about: AboutV1::of(about) })
}

/// Decodes an occurrence's record of any version.
pub(in super::super) fn decode_occurrence(bytes: &[u8], number: u64) -> Result<(Occurrence, u32), Failed> {
    match version(bytes)? {
        (V1, body) => whole::<OccurrenceV1>(body)?.occurrence(number),
        (V2, body) => {
            let OccurrenceV2 { first, about } = whole(body)?;
            let (mut occurrence, n_chunks) = first.occurrence(number)?;
            occurrence.about = Some(about.about()?);
            Ok((occurrence, n_chunks))
        }
        (V3, body) => {
            let OccurrenceV3 { first, whose } = whole(body)?;
            let (mut occurrence, n_chunks) = first.occurrence(number)?;
            occurrence.whose = one_of(&WHOSE, whose)?;
            Ok((occurrence, n_chunks))
        }
        (V4, body) => whole::<OccurrenceV4>(body)?.occurrence(number),
        (V5, body) => {
            let OccurrenceV5 { first, resends, repeats } = whole(body)?;
            let (mut occurrence, n_chunks) = first.occurrence(number)?;
            occurrence.on_doubt = if resends { OnDoubt::Resend } else { OnDoubt::Hold };
            occurrence.repeats = repeats.map(|(occurrence, chunk, slot, nth)| Repetition {
                of: DeliveryId { occurrence, chunk, slot },
                nth,
            });
            Ok((occurrence, n_chunks))
        }
        (_, _) => Err(Failed::Record(UNKNOWN_VERSION)),
    }
}

impl AboutV1 {
    fn of(about: &About) -> Self {
        let About { kind, id, at, number, after, previous } = about;
        Self(kind.as_str().to_owned(), id.as_str().to_owned(), ms(*at), *number, *after, *previous)
    }

    fn about(self) -> Result<About, Failed> {
        let bad = |_| Failed::Record("an occurrence holds a name that cannot be");
        let Self(kind, id, at_ms, number, after, previous) = self;
        let (kind, id) = (Kind::parse(&kind).map_err(bad)?, AppointmentId::parse(&id).map_err(bad)?);
        Ok(About { kind, id, at: at(at_ms)?, number, after, previous })
    }
}

impl OccurrenceV4 {
    fn occurrence(self, number: u64) -> Result<(Occurrence, u32), Failed> {
        let Self { first, about, whose, priority } = self;
        let (mut occurrence, n_chunks) = first.occurrence(number)?;
        occurrence.about = about.map(AboutV1::about).transpose()?;
        occurrence.whose = one_of(&WHOSE, whose)?;
        occurrence.priority = priority;
        Ok((occurrence, n_chunks))
    }
}

impl OccurrenceV1 {
    fn of(occurrence: &Occurrence, n_chunks: u32) -> Self {
        let counts = &occurrence.counts;
        Self {
            app: occurrence.app.as_str().to_owned(),
            rule: occurrence.rule.as_str().to_owned(),
            template: occurrence.template.as_str().to_owned(),
            long_term: occurrence.kind == TemplateKind::LongTerm,
            due_ms: ms(occurrence.due_at),
            civil_s: occurrence.civil.and_utc().timestamp(),
            fold: occurrence.fold,
            zone: occurrence.zone.name().to_owned(),
            deadline_ms: ms(occurrence.deadline),
            state: index_of(&OCCURRENCE_STATES, &occurrence.state),
            reason: occurrence.reason.clone(),
            n: occurrence.n,
            position: occurrence.position.as_ref().map(|openid| openid.as_str().to_owned()),
            walked: occurrence.walked,
            n_chunks,
            audience: counts.audience,
            by_state: counts.by_state.iter().map(|(state, n)| (index_of(&STATES, state), *n)).collect(),
            skipped: counts.skipped.iter().map(|(reason, n)| (index_of(&REASONS, reason), *n)).collect(),
            snapshot: occurrence.snapshot,
        }
    }

    fn occurrence(self, number: u64) -> Result<(Occurrence, u32), Failed> {
        let bad = |_| Failed::Record("an occurrence holds a name that cannot be");
        let mut counts = Counts { audience: self.audience, ..Counts::default() };
        for (state, n) in self.by_state {
            counts.by_state.insert(one_of(&STATES, state)?, n);
        }
        for (reason, n) in self.skipped {
            counts.skipped.insert(one_of(&REASONS, reason)?, n);
        }
        let civil = DateTime::from_timestamp(self.civil_s, 0)
            .ok_or(Failed::Record("a civil time is out of range"))?;
        let occurrence = Occurrence {
            number,
            app: AppId::parse(&self.app).map_err(bad)?,
            rule: RuleId::parse(&self.rule).map_err(bad)?,
            template: TemplateId::parse(&self.template).map_err(bad)?,
            kind: if self.long_term { TemplateKind::LongTerm } else { TemplateKind::OneTime },
            due_at: at(self.due_ms)?,
            civil: civil.naive_utc(),
            fold: self.fold,
            zone: Zone::parse(&self.zone).unwrap_or(Zone::UTC),
            deadline: at(self.deadline_ms)?,
            state: one_of(&OCCURRENCE_STATES, self.state)?,
            reason: self.reason,
            n: self.n,
            position: self.position.as_deref().map(OpenId::parse).transpose().map_err(bad)?,
            walked: self.walked,
            counts,
            snapshot: self.snapshot,
            about: None,
            whose: Whose::Everybody,
            priority: 0,
            on_doubt: OnDoubt::Hold,
            repeats: None,
        };
        Ok((occurrence, self.n_chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::{Record, RecordKind};
    use super::*;

    fn instant(ms: i64) -> chrono::DateTime<chrono::Utc> {
        at(ms).expect("in range")
    }

    #[test]
    fn occurrences_of_all_versions_stay_readable() {
        let plain = Occurrence {
            number: 9,
            app: AppId::parse("wx0123456789abcdef").expect("good"),
            rule: RuleId::parse("r").expect("good"),
            template: TemplateId::parse("t").expect("good"),
            kind: TemplateKind::OneTime,
            due_at: instant(1000),
            civil: instant(2000).naive_utc(),
            fold: 0,
            zone: Zone::UTC,
            deadline: instant(3000),
            state: OccurrenceState::Open,
            reason: None,
            n: 1,
            position: None,
            walked: true,
            counts: Counts::default(),
            snapshot: [7; 32],
            about: None,
            whose: Whose::Everybody,
            priority: 0,
            on_doubt: OnDoubt::Hold,
            repeats: None,
        };
        let about = About {
            kind: Kind::parse("visit").expect("good"),
            id: AppointmentId::parse("A").expect("good"),
            at: instant(4000),
            number: 3,
            after: 2,
            previous: Some(1),
        };
        let of = DeliveryId { occurrence: 300, chunk: 2, slot: 1 };
        let table = [
            (plain.clone(), 1, vec![]),
            (
                Occurrence { about: Some(about), ..plain.clone() },
                2,
                vec![5, 118, 105, 115, 105, 116, 1, 65, 192, 62, 3, 2, 1, 1],
            ),
            (Occurrence { whose: Whose::OfZone, ..plain.clone() }, 3, vec![2]),
            (Occurrence { priority: 7, ..plain.clone() }, 4, vec![0, 0, 7]),
            (Occurrence { on_doubt: OnDoubt::Resend, ..plain.clone() }, 5, vec![0, 0, 0, 1, 0]),
            (
                Occurrence { repeats: Some(Repetition { of, nth: 3 }), ..plain.clone() },
                5,
                vec![0, 0, 0, 0, 1, 172, 2, 2, 1, 3],
            ),
        ];
        let first = [
            &[18][..],
            b"wx0123456789abcdef",
            &[1, b'r', 1, b't', 0, 208, 15, 4, 0, 3],
            b"UTC",
            &[240, 46, 0, 0, 1, 0, 1, 2, 0, 0, 0],
            &[7; 32],
        ]
        .concat();
        for (occurrence, version, rest) in table {
            let bytes = [&[version], first.as_slice(), &rest].concat();
            assert_eq!(encode_occurrence(&occurrence, 2).expect("encodes"), bytes, "{version}");
            assert_eq!(decode_occurrence(&bytes, 9).expect("decodes"), (occurrence, 2), "{version}");
            let line = Record::of(RecordKind::Occurrence, &bytes).expect("a line");
            assert_eq!(line.into_bytes(RecordKind::Occurrence).expect("bytes"), bytes, "{version}");
        }
    }
}
