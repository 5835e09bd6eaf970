//! Which planted bug is awake. `scripts/mutants` puts this into its copy of the sources, and nothing that ships has it.

use std::sync::OnceLock;

static AWAKE: OnceLock<Option<String>> = OnceLock::new();

/// Whether this run is to be wrong in the way of `tests/mutants/NAME.patch`.
pub fn planted(name: &str) -> bool {
    AWAKE.get_or_init(|| std::env::var("TIXING_PLANTED").ok()).as_deref() == Some(name)
}
