//! The program's own zone data, for where the system has none: chrono-tz, a year behind and without a
//! rule for the years after 2100.
//!
//! chrono-tz tells offsets, not when they change, so changes are found by bisection, once per zone. The
//! search looks at cells of a week: two changes within one that undo each other would go unseen; the
//! closest known ones are weeks apart.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::{IANA_TZDB_VERSION, TZ_VARIANTS, Tz, TzOffset};

use super::table::{Kind, Table};

/// Seconds of a cell: seven days.
const CELL: i64 = 7 * 86_400;
/// First and last cell: from 1840, before the first zone, to 2101, after the last change.
const CELLS: std::ops::Range<i64> = -6_784..6_836;

/// A table for each zone, made when it is first asked for.
static TABLES: LazyLock<HashMap<Tz, OnceLock<Table>>> =
    LazyLock::new(|| TZ_VARIANTS.into_iter().map(|zone| (zone, OnceLock::new())).collect());

/// The release, such as `2025b`.
pub(super) fn version() -> &'static str {
    IANA_TZDB_VERSION
}

/// What the clocks of a zone show.
pub(super) fn table(zone: Tz) -> &'static Table {
    let table = TABLES.get(&zone).expect("every zone is in the list of all zones");
    table.get_or_init(|| {
        let mut before = reading(zone, CELLS.start * CELL);
        let (mut kinds, mut changes) = (vec![kind(&before)], Vec::new());
        for cell in CELLS {
            let (mut low, mut high) = (cell * CELL, (cell + 1) * CELL);
            if reading(zone, high) == before {
                continue;
            }
            // The reading at `low` is still the old one, at `high` it is another.
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if reading(zone, middle) == before {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            before = reading(zone, high);
            let new = kind(&before);
            let known = kinds.iter().position(|kind| *kind == new);
            let which = known.unwrap_or_else(|| {
                kinds.push(new);
                kinds.len() - 1
            });
            changes.push((high, u8::try_from(which).expect("no zone had 256 kinds of time")));
        }
        let first = kinds.first().cloned().expect("the first is there from the beginning");
        Table::new(first, kinds, &changes, None).expect("changes are found in ascending cells")
    })
}

/// What the clocks show at `instant`.
fn reading(zone: Tz, instant: i64) -> TzOffset {
    let utc = DateTime::from_timestamp(instant, 0).unwrap_or_default().naive_utc();
    zone.offset_from_utc_datetime(&utc)
}

fn kind(there: &TzOffset) -> Kind {
    Kind { offset: there.fix().local_minus_utc(), name: there.to_string().into() }
}
