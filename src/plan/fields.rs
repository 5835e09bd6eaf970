//! What fits into a template field, by the type in its key.
//!
//! The platform's parameter table (`api_sendmessage`, read 2026-11-22) as code; there is no official
//! regular expression for any type, so where the table is vague this is the lenient reading: refuse
//! only what the platform is known to refuse with 47003. Lengths are Unicode code points. What becomes
//! of a value that does not fit is decided by the rule, in `render`.

use crate::domain::template::FieldType;

/// Why a value does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allowed: {}", self.allowed())]
pub enum Misfit {
    /// Too many characters.
    TooLong {
        /// How many there may be.
        max: usize,
        /// The form that is allowed, for people.
        allowed: &'static str,
    },
    /// Not of the field's form.
    Form {
        /// The form that is allowed, for people.
        allowed: &'static str,
    },
}

impl Misfit {
    /// The form that is allowed, for people.
    #[must_use]
    pub fn allowed(&self) -> &'static str {
        match self {
            Self::TooLong { allowed, .. } | Self::Form { allowed } => allowed,
        }
    }
}

/// Checks a value, cleaned and not empty, against the type of its field.
///
/// # Errors
/// [`Misfit`]; a value with both faults is of the wrong form.
pub fn check(_kind: FieldType, _value: &str) -> Result<(), Misfit> {
    unimplemented!()
}
