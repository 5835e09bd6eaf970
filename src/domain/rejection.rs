//! A rule that the platform refuses as it is written: it does not send until it is edited or released.
//!
//! It is about the rule as it was when the refused message was made: what an edit makes of it is another wording, and sends.
//! Occurrences that are held by themselves are not here.

use chrono::{DateTime, Utc};

use super::id::RuleId;

/// Which wording of a rule: the beginning of its snapshot's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wording(pub [u8; 8]);

impl Wording {
    /// That of the snapshot with this hash.
    #[must_use]
    pub fn of_snapshot(hash: &[u8; 32]) -> Self {
        let (beginning, _rest) = hash.split_first_chunk().expect("32 bytes begin with 8");
        Self(*beginning)
    }
}

/// What of a rule the platform refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its template, or the page that a tap opens.
    Template,
    /// A value that is the same for everybody.
    Constant {
        /// Its key.
        key: String,
    },
    /// A value of so many different recipients in a row.
    InARow {
        /// Its key, where the platform names it.
        key: Option<String>,
        /// How many.
        n: usize,
    },
}

/// A rule does not send, since the platform refuses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which rule.
    pub rule: RuleId,
    /// As it was then.
    pub wording: Wording,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What of it.
    pub fault: Fault,
    /// The platform's code.
    pub errcode: i64,
    /// The platform's text, without secrets, openids and values.
    pub errmsg: Option<String>,
    /// The platform's number of the request.
    pub rid: Option<String>,
    /// Whether the rule was edited since: then only what is left of the old wording does not send.
    pub passed: bool,
}

impl Rejection {
    /// What ends it, for people.
    #[must_use]
    pub fn cure(&self) -> String {
        let rule = &self.rule;
        let what = match (&self.fault, self.errcode) {
            (Fault::Template, 41_030) => "correct its `page`, or publish the version that has it",
            (Fault::Template, 43_101..=43_107 | 43_116) => {
                "look at the account and the template on mp.weixin.qq.com, or use another template"
            }
            (Fault::Template, _) => "correct its template in tixing.yaml (`tixing templates pull`)",
            (Fault::Constant { .. } | Fault::InARow { .. }, _) => "correct its `data`",
        };
        format!("{what}; editing the rule ends the hold, and so does `tixing release --rule {rule}`")
    }
}

/// For people: `held since 2026-03-01T00:00:00Z: the platform refuses its template or page (errcode 40037: invalid
/// template_id, rid 5f-1-2)`.
impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        write!(f, "held since {since}: the platform refuses ")?;
        match &self.fault {
            Fault::Template if self.errcode == 41_030 => f.write_str("its page")?,
            Fault::Template => f.write_str("its template")?,
            Fault::Constant { key } => write!(f, "`{key}`, which is the same for everybody")?,
            Fault::InARow { key: Some(key), n } => write!(f, "`{key}` of {n} people in a row")?,
            Fault::InARow { key: None, n } => write!(f, "the messages to {n} people in a row")?,
        }
        write!(f, " (errcode {}", self.errcode)?;
        if let Some(errmsg) = &self.errmsg {
            write!(f, ": {errmsg}")?;
        }
        if let Some(rid) = &self.rid {
            write!(f, ", rid {rid}")?;
        }
        f.write_str(")")
    }
}
