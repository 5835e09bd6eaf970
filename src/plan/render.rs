//! skeleton
use crate::domain::id::OpenId;
use crate::domain::message::Message;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::recipient::Profile;
use crate::domain::rule::Rule;

/// Why a text of a rule cannot work, for an admin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// The data key, `page`, or `where`.
    pub key: String,
    /// What is wrong, with the value seen.
    pub message: String,
    /// Byte offset in the source where it is wrong.
    pub offset: usize,
    /// What to write instead.
    pub help: String,
}

/// What a message is made of besides its rule.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Whom it is for.
    pub openid: &'a OpenId,
    /// What is known of the person.
    pub profile: &'a Profile,
    /// The occurrence's due time.
    pub due: &'a Due,
}

/// The texts of one rule, compiled.
#[derive(Debug)]
pub struct Compiled {}

impl Compiled {
    /// Compiles all texts of a rule.
    ///
    /// # Errors
    /// Every fault of every text.
    pub fn new(_rule: &Rule) -> Result<Self, Vec<RenderError>> {
        unimplemented!()
    }

    /// Values that no recipient can make fit.
    #[must_use]
    pub fn constant_misfits(&self) -> Vec<RenderError> {
        unimplemented!()
    }

    /// The message for one recipient.
    ///
    /// # Errors
    /// [`SkipReason::MissingField`], [`SkipReason::Overflow`].
    pub fn render(&self, _input: &Input<'_>) -> Result<Message, SkipReason> {
        unimplemented!()
    }
}
