//! What an operator can ask for, as it goes over the socket.
//!
//! Texts arrive as they were typed and are parsed by the desk, so that the command line and the
//! socket refuse the same things with the same words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::language::Language;

/// One request to the desk.
///
/// `who` is an openid, a `ref`, or a mask (`~` and 10 characters) as lists show it; `app` is a name of
/// `tixing.yaml`, needed only where several are configured; instants are RFC 3339.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Accounts of consents; one person's, or all.
    ConsentsShow {
        /// One app's only.
        app: Option<String>,
        /// One person's only.
        who: Option<String>,
        /// Show openids in clear.
        reveal: bool,
    },
    /// Grants by the operator's word.
    ConsentsGrant {
        /// Whose mini program.
        app: Option<String>,
        /// For whom; an unknown openid becomes a recipient.
        who: String,
        /// Name or id of the template.
        template: String,
        /// How many, 1–100.
        n: u32,
        /// Show the openid in clear.
        reveal: bool,
    },
    /// One person, with all his apps.
    PeopleShow {
        /// The app that he is looked for in; else all.
        app: Option<String>,
        /// Whom.
        who: String,
        /// Show openids and the unionid in clear.
        reveal: bool,
    },
    /// Mutes somebody, or lets him be heard again.
    PeopleMute {
        /// The app that he is looked for in; else all.
        app: Option<String>,
        /// Whom.
        who: String,
        /// Whether he gets nothing.
        muted: bool,
        /// In all apps that he uses.
        all_apps: bool,
        /// Show openids in clear.
        reveal: bool,
    },
    /// Takes somebody out of the books.
    PeopleErase {
        /// The app that he is looked for in; else all.
        app: Option<String>,
        /// Whom.
        who: String,
        /// In all apps that he uses.
        all_apps: bool,
        /// Show openids in clear.
        reveal: bool,
    },
    /// Appointments as they stand; one kind's, or one person's, or all.
    AppointmentsList {
        /// One app's only.
        app: Option<String>,
        /// One kind's only.
        kind: Option<String>,
        /// One person's only.
        who: Option<String>,
        /// Show openids in clear.
        reveal: bool,
    },
    /// One appointment, with its reminders.
    AppointmentsShow {
        /// Whose mini program.
        app: Option<String>,
        /// Its kind.
        kind: String,
        /// Its id within the kind.
        id: String,
        /// Show openids in clear.
        reveal: bool,
    },
    /// Deletes an appointment, which ends its reminders.
    AppointmentsDelete {
        /// Whose mini program.
        app: Option<String>,
        /// Its kind.
        kind: String,
        /// Its id within the kind.
        id: String,
    },
    /// How far the import with this digest came.
    Imported {
        /// 64 hex digits.
        digest: String,
    },
    /// The next piece of an import.
    Import {
        /// What its rows are.
        what: ImportKind,
        /// Whose mini program.
        app: Option<String>,
        /// Digest of the whole file and of what it is imported as, 64 hex digits.
        digest: String,
        /// Index of the first row here.
        first: u64,
        /// The lines of the file, at most [`crate::store::MAX_IMPORT_ROWS`].
        rows: Vec<String>,
    },
    /// Occurrences in the order they were opened.
    OccurrencesList {
        /// One rule's only.
        rule: Option<String>,
    },
    /// Deliveries, occurrence by occurrence.
    DeliveriesList {
        /// One rule's only.
        rule: Option<String>,
        /// Show openids in clear.
        reveal: bool,
    },
    /// Deliveries in doubt, the longest first.
    DoubtList {
        /// Show openids in clear.
        reveal: bool,
    },
    /// An operator's word on a delivery in doubt.
    DoubtSettle {
        /// Its id.
        id: String,
        /// What is known of it.
        verdict: DoubtVerdict,
    },
    /// One delivery in doubt, with all that is known of it.
    DoubtShow {
        /// Its id.
        id: String,
        /// Show the openid in clear.
        reveal: bool,
        /// In which language it is told; English where nothing is said.
        #[serde(default)]
        lang: Lang,
    },
    /// An operator's word on all deliveries of a rule that are in doubt.
    DoubtSettleRule {
        /// The rule's id.
        rule: String,
        /// What is known of them.
        verdict: DoubtVerdict,
    },
    /// What is due next, and who would get it.
    Next {
        /// One rule's only.
        rule: Option<String>,
        /// How far to look, in seconds.
        span_s: u64,
        /// As if it were this instant.
        at: Option<String>,
    },
    /// Why one person gets, or did not get, one rule's reminder.
    Explain {
        /// The rule's id.
        rule: String,
        /// For whom.
        who: String,
        /// A past instant: the last due time up to it; a coming one: the first from it on; none: the next and the last.
        at: Option<String>,
        /// Show the openid in clear.
        reveal: bool,
        /// In which language it is told: `zh`, `en`.
        lang: Lang,
    },
    /// One message now, through the same books.
    Send {
        /// The rule that makes it.
        rule: String,
        /// For whom.
        who: String,
        /// Which appointment of his it tells of, by a rule of appointments.
        appointment: Option<String>,
        /// Only says what would be sent, and takes nothing.
        dry_run: bool,
        /// Show the openid in clear.
        reveal: bool,
        /// In which language it is told.
        lang: Lang,
    },
    /// Counts the recipients of each app, with their tags and fields.
    Census,
    /// The templates that the platform has for an app.
    Templates {
        /// Which one.
        app: Option<String>,
    },
    /// Everything in the books, as lines of a backup.
    Backup,
    /// Proves the books.
    Fsck,
    /// How the daemon is.
    Status,
    /// The wall clock is right, whatever it showed before.
    AcceptClock,
    /// Nothing is sent any more: of an app, of a rule, or at all where neither is named.
    Pause {
        /// An app's name.
        app: Option<String>,
        /// A rule's id.
        rule: Option<String>,
        /// Why, for those who find it paused.
        reason: Option<String>,
    },
    /// Held occurrences go on; one rule's, or all. With `lost_since`, the hold on everything ends.
    Release {
        /// One rule's only.
        rule: Option<String>,
        /// From when on what was done is not in these books.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_since: Option<String>,
    },
    /// What was paused is sent again.
    Resume {
        /// An app's name.
        app: Option<String>,
        /// A rule's id.
        rule: Option<String>,
    },
    /// Takes over the files as they are now.
    Reload {
        /// In which language mistakes are told; English where nothing is said.
        #[serde(default)]
        lang: Lang,
    },
}

/// The language of an answer's sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lang {
    /// 中文
    Zh,
    /// English
    #[default]
    En,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::Chinese => Self::Zh,
            Language::English => Self::En,
        }
    }
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Zh => Self::Chinese,
            Lang::En => Self::English,
        }
    }
}

/// What the rows of an import are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportKind {
    /// `{"openid","template","n"}`.
    Consents,
    /// The body of `PUT /v1/recipients/{openid}` plus `openid`.
    People,
    /// The body of `PUT /v1/appointments/{kind}/{id}` plus `kind` and `id`. What is so already is not changed, so nothing
    /// is remembered of the file.
    Appointments,
}

/// An operator's word on a delivery in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtVerdict {
    /// It arrived.
    Sent,
    /// Nothing left.
    Failed,
}

impl Request {
    /// What it is called in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConsentsShow { .. } => "consents show",
            Self::ConsentsGrant { .. } => "consents grant",
            Self::PeopleShow { .. } => "people show",
            Self::PeopleMute { .. } => "people mute",
            Self::PeopleErase { .. } => "people erase",
            Self::AppointmentsList { .. } => "appointments list",
            Self::AppointmentsShow { .. } => "appointments show",
            Self::AppointmentsDelete { .. } => "appointments delete",
            Self::Imported { .. } => "imported",
            Self::Import { .. } => "import",
            Self::OccurrencesList { .. } => "occurrences list",
            Self::DeliveriesList { .. } => "deliveries list",
            Self::DoubtList { .. } => "doubt list",
            Self::DoubtShow { .. } => "doubt show",
            Self::DoubtSettle { .. } | Self::DoubtSettleRule { .. } => "doubt settle",
            Self::Next { .. } => "next",
            Self::Explain { .. } => "explain",
            Self::Send { .. } => "send",
            Self::Census => "census",
            Self::Templates { .. } => "templates",
            Self::Backup => "backup",
            Self::Fsck => "fsck",
            Self::Status => "status",
            Self::AcceptClock => "accept-clock",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Release { .. } => "release",
            Self::Reload { .. } => "reload",
        }
    }

    /// Whether it changes anything: such requests are told in the log with who asked, an import once.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::ConsentsGrant { .. }
            | Self::PeopleMute { .. }
            | Self::PeopleErase { .. }
            | Self::AppointmentsDelete { .. }
            | Self::DoubtSettle { .. }
            | Self::DoubtSettleRule { .. }
            | Self::Reload { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Release { .. }
            // It changes nothing, and takes every secret of the books with it.
            | Self::Backup
            | Self::AcceptClock => true,
            Self::Import { first, .. } => *first == 0,
            Self::Send { dry_run, .. } => !*dry_run,
            Self::ConsentsShow { .. }
            | Self::PeopleShow { .. }
            | Self::AppointmentsList { .. }
            | Self::AppointmentsShow { .. }
            | Self::Imported { .. }
            | Self::OccurrencesList { .. }
            | Self::DeliveriesList { .. }
            | Self::DoubtList { .. }
            | Self::DoubtShow { .. }
            | Self::Next { .. }
            | Self::Explain { .. }
            | Self::Census
            | Self::Templates { .. }
            | Self::Fsck
            | Self::Status => false,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name()) // its texts can be openids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_does_not_print_whom_it_is_about() {
        let request = Request::ConsentsShow { app: None, who: Some("oSECRETSECRET".into()), reveal: true };
        assert_eq!(format!("{request:?}"), "consents show");
        let wire = serde_json::to_string(&request).expect("JSON");
        assert_eq!(wire, r#"{"do":"consents_show","app":null,"who":"oSECRETSECRET","reveal":true}"#);
    }
}
