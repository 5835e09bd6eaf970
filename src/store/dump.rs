//! A dump of everything, as its reader holds it.
//!
//! Its lines are the engine's; they are only for one that reads them back.

use std::sync::Arc;

/// A dump under way; dropped, it is over. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Dump(pub(in crate::store) Arc<()>);
