//! Rules: one entry of a schedule file, checked and complete.
//!
//! A [`Rule`] is what fan-out, rendering and retries work with, from a file or from the snapshot that
//! an open occurrence keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveTime;

use super::id::{AppName, OpenId, RuleId, Tag};
use super::template::{FieldKey, FieldType, Template};
use super::when::When;
use super::zone::Zone;

/// How late a rule may be when it does not say: 30 minutes.
pub const DEFAULT_GRACE: Duration = Duration::from_mins(30);
/// The shortest grace a rule may state.
pub const MIN_GRACE: Duration = Duration::from_mins(1);
/// How many missed occurrences `missed: all` sends when the rule does not say.
pub const DEFAULT_MAX: u32 = 3;

/// One reminder rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its key in the file, unique over all files.
    pub id: RuleId,
    /// The app it sends for.
    pub app: AppName,
    /// What it sends.
    pub template: Template,
    /// Whose civil times `when` states.
    pub zone: Zone,
    /// Whether each recipient's own zone holds for him instead, where he has one.
    pub own_time: bool,
    /// When it is due.
    pub when: When,
    /// Who gets it.
    pub audience: Audience,
    /// A text for each field of the template: MiniJinja source.
    pub data: BTreeMap<FieldKey, String>,
    /// The page a tap opens: MiniJinja source with a constant path.
    pub page: Option<String>,
    /// How late a message may still leave.
    pub grace: Duration,
    /// Over how long the audience's send times lie after the due time; zero means at once.
    pub spread: Duration,
    /// When nothing leaves.
    pub quiet: Option<Quiet>,
    /// What becomes of occurrences found late.
    pub missed: MissedPolicy,
    /// What becomes of values that are too long for their field; without an entry the default of the field's type.
    pub overflow: BTreeMap<FieldKey, Overflow>,
    /// Whether one message goes before all others.
    pub canary: Canary,
    /// Where a consent is too few for the rules that want it at one moment, the higher one gets it.
    pub priority: u32,
    /// What becomes of a message whose request had no answer.
    pub on_doubt: OnDoubt,
}

/// The highest priority of a rule.
pub const MAX_PRIORITY: u32 = 1000;

impl Rule {
    /// What becomes of a value that is too long for `field`: as the rule says, else cut for a `thing` and
    /// a failure for every other type, whose values mean something else when they are cut.
    #[must_use]
    pub fn overflow_of(&self, field: &FieldKey) -> Overflow {
        let default = if field.kind() == FieldType::Thing { Overflow::Cut } else { Overflow::Fail };
        self.overflow.get(field).copied().unwrap_or(default)
    }
}

/// Who gets a rule; several conditions are "and", an empty one does not choose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audience {
    /// Has any of these.
    pub tags: Vec<Tag>,
    /// Has all of these.
    pub all_tags: Vec<Tag>,
    /// Is one of these.
    pub openids: Vec<OpenId>,
    /// A MiniJinja expression over the recipient; undefined is false.
    pub condition: Option<String>,
}

/// What becomes of occurrences that are found late but within grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedPolicy {
    /// The newest is sent.
    Latest,
    /// The newest so many are sent, oldest first.
    All {
        /// How many, at least 1.
        max: u32,
    },
    /// None that is found over 60 s late.
    Skip,
}

/// Hours of each day in which nothing leaves, by the recipient's clock; by the rule's where he has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The first time of day in them.
    pub from: NaiveTime,
    /// The first one after them; before `from` it is on the next day.
    pub to: NaiveTime,
    /// What becomes of a message whose send time is within.
    pub then: AtNight,
}

/// What becomes of a message whose send time is in quiet hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtNight {
    /// It leaves when they are over.
    Hold,
    /// It does not leave.
    Skip,
}

/// Whether one message of an occurrence goes before all others, to show that the platform takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    /// Where the audience is large.
    #[default]
    Automatic,
    /// It does.
    Always,
    /// It does not.
    Never,
}

/// What becomes of a message whose request had no answer: it may have arrived, and taken a consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDoubt {
    /// It is not sent again.
    #[default]
    Hold,
    /// It is sent again with a consent of its own, and so is that, so that its person may get it up to three times.
    Resend,
}

/// What becomes of a value that is too long for its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The recipient is skipped, with reason `overflow`.
    Fail,
    /// The value is cut on a character boundary.
    Cut,
}
