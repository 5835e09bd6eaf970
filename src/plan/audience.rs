//! skeleton
use super::render::RenderError;
use crate::domain::id::OpenId;
use crate::domain::recipient::Profile;
use crate::domain::rule::Audience;

/// Whether a recipient belongs to an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Belongs.
    Yes,
    /// Does not.
    No,
    /// Does not, because the condition asks for something that this recipient lacks; counted apart.
    Undefined,
}

/// A compiled audience.
#[derive(Debug)]
pub struct Selector {}

impl Selector {
    /// Compiles.
    ///
    /// # Errors
    /// The condition cannot work.
    pub fn new(_audience: &Audience) -> Result<Self, RenderError> {
        unimplemented!()
    }

    /// Whether this recipient belongs.
    #[must_use]
    pub fn selects(&self, _openid: &OpenId, _profile: &Profile) -> Verdict {
        unimplemented!()
    }
}
