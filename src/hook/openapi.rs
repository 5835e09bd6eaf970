//! The OpenAPI 3.1 document of the door, as it is committed and as it is answered.
//!
//! Made from the code by the tests: routes, limits and refusals are those that the door itself uses, examples are
//! answers that it makes. The file that came of it is part of the program, so what is served is what was reviewed;
//! nothing is made at run time. A test fails when code and file differ (`TIXING_WRITE_SNAPSHOTS=1` writes the file).

#[cfg(test)]
pub(super) mod operations;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schemas;
#[cfg(test)]
pub(super) mod tests;

/// The document.
pub(super) const DOCUMENT: &str = include_str!("../../docs/openapi.json");
