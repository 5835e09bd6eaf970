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
    /// It does not fit its template, as the platform's list has that now; nothing was sent for it.
    Mismatch(Mismatch),
}

/// How a rule does not fit its template as the platform has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The account has no such template: it was deleted, or banned.
    Gone,
    /// It is of the newer kind, which neither subscribing nor sending takes.
    ServiceCard,
    /// Its acceptances count once, and the configuration takes them for standing ones.
    OneTime,
    /// It has other fields.
    Fields {
        /// Its keys that the rule has no value for.
        lacks: Vec<String>,
        /// Keys of the rule that it does not have.
        strange: Vec<String>,
    },
    /// A field takes certain values alone, and the rule's constant is none of them.
    Value {
        /// The field's key.
        key: String,
        /// The rule's value, perhaps cut.
        value: String,
        /// Some of those it takes.
        allowed: Vec<String>,
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
    /// The platform's code; none of a [`Fault::Mismatch`].
    pub errcode: Option<i64>,
    /// The platform's text, without secrets, openids and values.
    pub errmsg: Option<String>,
    /// The platform's number of the request.
    pub rid: Option<String>,
    /// Whether the rule was edited since: then only what is left of the old wording does not send.
    pub passed: bool,
    /// Whether an operator let it send all the same, which counts for a [`Fault::Mismatch`] until it is another one.
    pub released: bool,
}

impl Rejection {
    /// Whether nothing of it is sent.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.released
    }

    /// Whether it does not fit its template, and nothing was refused.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self.fault, Fault::Mismatch(_))
    }

    /// Whether its template cannot be accepted by anybody: `wx.requestSubscribeMessage` fails as a whole (20001) where one id
    /// does not exist, or is of a kind that it does not take.
    #[must_use]
    pub fn is_unaskable(&self) -> bool {
        match &self.fault {
            Fault::Mismatch(Mismatch::Gone | Mismatch::ServiceCard) => true,
            // The template's id is invalid.
            Fault::Template => self.errcode == Some(40_037),
            Fault::Mismatch(Mismatch::OneTime | Mismatch::Fields { .. } | Mismatch::Value { .. })
            | Fault::Constant { .. }
            | Fault::InARow { .. } => false,
        }
    }

    /// What ends it, for people.
    #[must_use]
    pub fn cure(&self) -> String {
        let rule = &self.rule;
        let what = match (&self.fault, self.errcode.unwrap_or_default()) {
            (Fault::Mismatch(mismatch), _) => {
                return format!(
                    "{}; it goes on by itself when they fit (`tixing templates pull` looks at once), and `tixing release \
                     --rule {rule}` sends all the same",
                    mismatch.cure()
                );
            }
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
        write!(f, "held since {since}: ")?;
        if let Fault::Mismatch(mismatch) = &self.fault {
            return mismatch.fmt(f);
        }
        f.write_str("the platform refuses ")?;
        match &self.fault {
            Fault::Mismatch(_) => {}
            Fault::Template if self.errcode == Some(41_030) => f.write_str("its page")?,
            Fault::Template => f.write_str("its template")?,
            Fault::Constant { key } => write!(f, "`{key}`, which is the same for everybody")?,
            Fault::InARow { key: Some(key), n } => write!(f, "`{key}` of {n} people in a row")?,
            Fault::InARow { key: None, n } => write!(f, "the messages to {n} people in a row")?,
        }
        write!(f, " (errcode {}", self.errcode.unwrap_or_default())?;
        if let Some(errmsg) = &self.errmsg {
            write!(f, ": {errmsg}")?;
        }
        if let Some(rid) = &self.rid {
            write!(f, ", rid {rid}")?;
        }
        f.write_str(")")
    }
}

impl Mismatch {
    fn cure(&self) -> &'static str {
        match self {
            Self::Gone | Self::ServiceCard => {
                "name another template in tixing.yaml (`tixing templates pull` shows them)"
            }
            Self::OneTime => "write `kind: one_time` in tixing.yaml",
            Self::Fields { .. } => {
                "correct its `data`, and `fields` in tixing.yaml (`tixing templates pull`)"
            }
            Self::Value { .. } => "correct its `data`",
        }
    }
}

/// For people: `its template has other fields on the platform: time3 is needed; time2 is unknown there`.
impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str(
                "the platform has its template no more, as far as the account lists them: it was deleted or banned",
            ),
            Self::ServiceCard => f.write_str(
                "its template is of the newer kind (新版一次性订阅, a service card), which cannot be sent by this call",
            ),
            Self::OneTime => {
                f.write_str("its template is for one message per acceptance, and tixing.yaml says `long_term`")
            }
            Self::Fields { lacks, strange } => {
                f.write_str("its template has other fields on the platform")?;
                let mut mark = ": ";
                for (keys, what) in [(lacks, "needed"), (strange, "unknown there")] {
                    if !keys.is_empty() {
                        let verb = if keys.len() == 1 { "is" } else { "are" };
                        write!(f, "{mark}{} {verb} {what}", keys.join(", "))?;
                        mark = "; ";
                    }
                }
                Ok(())
            }
            Self::Value { key, value, allowed } => {
                write!(f, "`{key}` takes certain values alone, and `{value}` is none of them: {}", allowed.join(", "))
            }
        }
    }
}
