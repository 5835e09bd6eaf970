//! The record of an appointment.
//!
//! Who belongs to it since the same change stands together, so that the usual one, put once, says it once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::recipients::{FieldsV1, fields, fields_of};
use super::{at, decode, encode, ms, openid};
use crate::domain::id::OpenId;
use crate::store::ledger::Failed;
use crate::store::{Joined, KeptAppointment, Standing};

#[derive(Serialize, Deserialize)]
pub(super) struct AppointmentV1 {
    number: u64,
    at_ms: i64,
    stands: bool,
    joined: Vec<(u64, i64, Vec<String>)>,
    fields: FieldsV1,
}

/// Encodes the record.
pub(in crate::store::ledger) fn encode_appointment(kept: &KeptAppointment) -> Result<Vec<u8>, Failed> {
    let mut joined: BTreeMap<Joined, Vec<String>> = BTreeMap::new();
    for (openid, since) in &kept.joined {
        joined.entry(*since).or_default().push(openid.as_str().to_owned());
    }
    encode(&AppointmentV1 {
        number: kept.number,
        at_ms: ms(kept.at),
        stands: kept.state == Standing::Stands,
        joined: joined.into_iter().map(|(since, who)| (since.number, ms(since.at), who)).collect(),
        fields: fields_of(&kept.fields),
    })
}

/// Decodes the record.
pub(in crate::store::ledger) fn decode_appointment(bytes: &[u8]) -> Result<KeptAppointment, Failed> {
    let record: AppointmentV1 = decode(bytes)?;
    let mut joined: BTreeMap<OpenId, Joined> = BTreeMap::new();
    for (number, at_ms, who) in record.joined {
        let since = Joined { number, at: at(at_ms)? };
        for name in who {
            joined.insert(openid(&name)?, since);
        }
    }
    Ok(KeptAppointment {
        number: record.number,
        at: at(record.at_ms)?,
        state: if record.stands { Standing::Stands } else { Standing::Deleted },
        joined,
        fields: fields(record.fields)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::FieldName;
    use crate::domain::recipient::FieldValue;

    #[test]
    fn an_appointment_reads_back() {
        let openid = |text: &str| OpenId::parse(text).expect("an openid");
        let since = |number| Joined { number, at: at(5).expect("in range") };
        let name = FieldName::parse("doctor").expect("a name");
        let kept = KeptAppointment {
            number: 9,
            at: at(1000).expect("in range"),
            state: Standing::Stands,
            joined: [(openid("oAAAAAAAAAA"), since(7)), (openid("oBBBBBBBBBB"), since(9))].into(),
            fields: [(name, FieldValue::Bool(true))].into(),
        };
        let fixture = [
            &[1, 9, 208, 15, 1, 2, 7, 10, 1, 11][..],
            b"oAAAAAAAAAA",
            &[9, 10, 1, 11],
            b"oBBBBBBBBBB",
            &[1, 6],
            b"doctor",
            &[3, 1],
        ]
        .concat();
        assert_eq!(encode_appointment(&kept).expect("encodes"), fixture);
        assert_eq!(decode_appointment(&fixture).expect("decodes"), kept);
    }
}
