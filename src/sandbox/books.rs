//! The books of the fake: who consented to what, which sends arrived, and what became of them.
//!
//! They hold every send since the file was begun and are never trimmed: a sandbox lives as long as a test, a
//! benchmark or a demo. What is worth more than the process (consents, accepted sends) goes to the journal
//! first.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::TemplateKind;
use super::journal::{Journal, Line};

/// The number before the first msgid: 19 digits, beyond what a JavaScript number holds.
const FIRST_MSGID: u64 = 3_248_682_510_344_192_007;

/// One send as the platform saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRecord {
    /// When its body had arrived.
    pub at: DateTime<Utc>,
    /// The app of its access token; empty when the token stood for none.
    pub appid: String,
    /// To whom.
    pub openid: String,
    /// The template's id.
    pub template: String,
    /// The page that a tap would open.
    pub page: Option<String>,
    /// The values by their keys.
    pub data: BTreeMap<String, String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the sender was given the true answer in full. A send in flight is not answered yet.
    pub answered: bool,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted under this number; the message reaches its phone, whatever the sender got to hear.
    Accepted {
        /// The platform's number of the message.
        msgid: u64,
    },
    /// Answered with this errcode.
    Refused {
        /// The platform's code.
        errcode: i32,
    },
    /// A fault other than an errcode came before it was looked at.
    Unhandled,
}

/// The sums of the books, and of the connections of this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted sends.
    pub accepted: u64,
    /// Refused sends by errcode.
    pub refused: BTreeMap<i32, u64>,
    /// Accepted sends that repeat an accepted one in openid, template, data and page.
    pub duplicates: u64,
    /// Accepted sends no longer in flight whose sender was not given the true answer.
    pub accepted_but_unanswered: u64,
    /// Sends whose body was read and which are not answered yet.
    pub in_flight: u64,
    /// The most of them at one time.
    pub in_flight_max: u64,
    /// Sends whose body was read, in this run.
    pub begun: u64,
    /// Calls of both token endpoints in this run, also failed ones.
    pub token_calls: u64,
    /// Connections accepted in this run.
    pub connections: u64,
}

/// A send as its body says.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) openid: String,
    pub(super) template: String,
    pub(super) page: Option<String>,
    pub(super) data: BTreeMap<String, String>,
}

/// Whose consent for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) appid: &'a str,
    pub(super) openid: &'a str,
    pub(super) template: &'a str,
}

/// Why the books did not take a send.
#[derive(Debug)]
pub(super) enum NotAccepted {
    NoConsent,
    Disk(io::Error),
}

/// What somebody taps on the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 允许
    Accept,
    /// The same, and to have them read aloud.
    AcceptWithAudio,
    /// The same, and to be alerted.
    AcceptWithAlert,
    /// The same, and to have them pushed.
    AcceptWithForcePush,
    /// 拒绝
    Reject,
}

impl Answer {
    const ALL: [Self; 5] =
        [Self::Accept, Self::AcceptWithAudio, Self::AcceptWithAlert, Self::AcceptWithForcePush, Self::Reject];

    /// The status that the mini program and the events see.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::AcceptWithAudio => "acceptWithAudio",
            Self::AcceptWithAlert => "acceptWithAlert",
            Self::AcceptWithForcePush => "acceptWithForcePush",
            Self::Reject => "reject",
        }
    }

    /// The answer with this status.
    pub(super) fn of_status(status: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.status() == status)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Consent {
    left: u64,
    kept: Option<Answer>,
}

impl Consent {
    fn give(&mut self, n: u64) {
        self.left = self.left.saturating_add(n);
    }
}

/// A [`SendRecord`] in less memory: a benchmark keeps millions.
#[derive(Debug)]
struct Stored {
    at: DateTime<Utc>,
    appid: Arc<str>,
    openid: Box<str>,
    template: Arc<str>,
    page: Option<Arc<str>>,
    data: Box<str>,
    outcome: Outcome,
    answered: bool,
}

/// All of the above, and the file behind it.
#[derive(Debug, Default)]
pub(super) struct Books {
    journal: Option<Journal>,
    consents: HashMap<String, HashMap<String, HashMap<String, Consent>>>,
    sends: Vec<Stored>,
    words: HashSet<Arc<str>>,
    contents: HashSet<u64>,
    last_msgid: u64,
    /// Error codes of the receipts that were taken, by msgid.
    receipts: HashMap<u64, i64>,
    totals: Totals,
}

impl Books {
    /// Reads the books at `path`, or begins new ones; without a path they are in memory only.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut books = Self { last_msgid: FIRST_MSGID, ..Self::default() };
        if let Some(path) = path {
            let mut unanswered = HashMap::new();
            let journal = Journal::open(path, |line| books.replay(line, &mut unanswered))?;
            books.totals.accepted_but_unanswered = u64::try_from(unanswered.len()).unwrap_or(u64::MAX);
            books.journal = Some(journal);
        }
        Ok(books)
    }

    fn replay(&mut self, line: Line<'static>, unanswered: &mut HashMap<u64, usize>) {
        match line {
            Line::Granted { appid, openid, template, n } => {
                self.consent(&Pair { appid: &appid, openid: &openid, template: &template }).give(n);
            }
            Line::Kept { appid, openid, template, accept, status } => {
                let plain = if accept { Answer::Accept } else { Answer::Reject };
                let kept = Answer::of_status(&status).unwrap_or(plain);
                self.consent(&Pair { appid: &appid, openid: &openid, template: &template }).kept = Some(kept);
            }
            Line::Revoked { appid, openid, template } => {
                *self.consent(&Pair { appid: &appid, openid: &openid, template: &template }) =
                    Consent::default();
            }
            Line::Sent { at_us, appid, openid, template, page, data, msgid, took } => {
                let consent = self.consent(&Pair { appid: &appid, openid: &openid, template: &template });
                consent.left = consent.left.saturating_sub(took);
                let message = Message {
                    openid: openid.into_owned(),
                    template: template.into_owned(),
                    page: page.map(Cow::into_owned),
                    data: data.into_owned(),
                };
                let at = DateTime::from_timestamp_micros(at_us).unwrap_or_default();
                let index = self.record(at, &appid, &message, Outcome::Accepted { msgid });
                self.last_msgid = self.last_msgid.max(msgid);
                unanswered.insert(msgid, index);
            }
            Line::Told { msgid, errcode } => {
                self.receipts.insert(msgid, errcode);
            }
            Line::Answered { msgid } => {
                if let Some(stored) = unanswered.remove(&msgid).and_then(|index| self.sends.get_mut(index)) {
                    stored.answered = true;
                }
            }
        }
    }

    fn consent(&mut self, pair: &Pair<'_>) -> &mut Consent {
        let app = self.consents.entry(pair.appid.to_owned()).or_default();
        app.entry(pair.template.to_owned()).or_default().entry(pair.openid.to_owned()).or_default()
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(line))
    }

    /// Consents left; a standing acceptance counts one.
    pub(super) fn remaining(&self, pair: &Pair<'_>, kind: TemplateKind) -> u64 {
        let left = self.found(pair).map_or(0, |consent| consent.left);
        match kind {
            TemplateKind::OneTime => left,
            TemplateKind::LongTerm => left.min(1),
        }
    }

    /// The choice that was kept, if any.
    pub(super) fn kept(&self, pair: &Pair<'_>) -> Option<Answer> {
        self.found(pair).and_then(|consent| consent.kept)
    }

    fn found(&self, pair: &Pair<'_>) -> Option<&Consent> {
        self.consents.get(pair.appid)?.get(pair.template)?.get(pair.openid)
    }

    fn found_mut(&mut self, pair: &Pair<'_>) -> Option<&mut Consent> {
        self.consents.get_mut(pair.appid)?.get_mut(pair.template)?.get_mut(pair.openid)
    }

    pub(super) fn grant(&mut self, pair: &Pair<'_>, n: u64) -> io::Result<()> {
        let Pair { appid, openid, template } = *pair;
        self.write(&Line::Granted {
            appid: appid.into(),
            openid: openid.into(),
            template: template.into(),
            n,
        })?;
        self.consent(pair).give(n);
        Ok(())
    }

    pub(super) fn keep(&mut self, pair: &Pair<'_>, answer: Answer) -> io::Result<()> {
        let Pair { appid, openid, template } = *pair;
        let (accept, status) = (answer != Answer::Reject, answer.status().into());
        let (appid, openid, template) = (appid.into(), openid.into(), template.into());
        let line = Line::Kept { appid, openid, template, accept, status };
        self.write(&line)?;
        self.consent(pair).kept = Some(answer);
        Ok(())
    }

    pub(super) fn revoke(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let Pair { appid, openid, template } = *pair;
        self.write(&Line::Revoked { appid: appid.into(), openid: openid.into(), template: template.into() })?;
        *self.consent(pair) = Consent::default();
        Ok(())
    }

    /// The templates for which somebody of an app ever consented.
    pub(super) fn templates_of(&self, appid: &str, openid: &str) -> Vec<String> {
        let of_app = self.consents.get(appid).into_iter().flatten();
        of_app
            .filter(|(_, people)| people.contains_key(openid))
            .map(|(template, _)| template.clone())
            .collect()
    }

    /// Notes that the receipt of a message was taken.
    pub(super) fn told(&mut self, msgid: u64, errcode: i64) {
        if self.receipts.insert(msgid, errcode).is_none() {
            // A line that cannot be written makes it a card without a receipt in the next run.
            let _best_effort = self.write(&Line::Told { msgid, errcode });
        }
    }

    /// What the receipt of a message said, once it was taken.
    pub(super) fn receipt(&self, msgid: u64) -> Option<i64> {
        self.receipts.get(&msgid).copied()
    }

    /// Accepts a send: takes a consent, gives a msgid, and returns both its place and its number.
    pub(super) fn accept(
        &mut self,
        at: DateTime<Utc>,
        appid: &str,
        message: &Message,
        kind: TemplateKind,
    ) -> Result<(usize, u64), NotAccepted> {
        let pair = Pair { appid, openid: &message.openid, template: &message.template };
        if self.remaining(&pair, kind) == 0 {
            return Err(NotAccepted::NoConsent);
        }
        let took = match kind {
            TemplateKind::OneTime => 1,
            TemplateKind::LongTerm => 0,
        };
        let msgid = self.last_msgid + 1;
        let line = Line::Sent {
            at_us: at.timestamp_micros(),
            appid: appid.into(),
            openid: Cow::Borrowed(&message.openid),
            template: Cow::Borrowed(&message.template),
            page: message.page.as_deref().map(Cow::Borrowed),
            data: Cow::Borrowed(&message.data),
            msgid,
            took,
        };
        self.write(&line).map_err(NotAccepted::Disk)?;
        self.last_msgid = msgid;
        if let Some(consent) = self.found_mut(&pair) {
            consent.left -= took;
        }
        Ok((self.record(at, appid, message, Outcome::Accepted { msgid }), msgid))
    }

    /// Books a send with its outcome, and returns its place.
    pub(super) fn record(
        &mut self,
        at: DateTime<Utc>,
        appid: &str,
        message: &Message,
        outcome: Outcome,
    ) -> usize {
        let stored = Stored {
            at,
            appid: self.word(appid),
            openid: message.openid.as_str().into(),
            template: self.word(&message.template),
            page: message.page.as_deref().map(|page| self.word(page)),
            data: serde_json::to_string(&message.data).unwrap_or_default().into(),
            outcome,
            answered: false,
        };
        match outcome {
            Outcome::Accepted { .. } => {
                self.totals.accepted += 1;
                let mut content = DefaultHasher::new();
                (&stored.appid, &stored.openid, &stored.template, &stored.page, &stored.data)
                    .hash(&mut content);
                if !self.contents.insert(content.finish()) {
                    self.totals.duplicates += 1;
                }
            }
            Outcome::Refused { errcode } => self.refused(errcode),
            Outcome::Unhandled => {}
        }
        self.sends.push(stored);
        self.sends.len() - 1
    }

    /// Counts a refusal, also of what was no send at all.
    pub(super) fn refused(&mut self, errcode: i32) {
        *self.totals.refused.entry(errcode).or_default() += 1;
    }

    /// Notes that the true answer goes out now.
    pub(super) fn answered(&mut self, index: usize) {
        let Some(stored) = self.sends.get_mut(index) else { return };
        stored.answered = true;
        if let Outcome::Accepted { msgid } = stored.outcome {
            // A line that cannot be written makes it unanswered in the next run: the careful side.
            let _best_effort = self.write(&Line::Answered { msgid });
        }
    }

    /// Notes that a send is no longer in flight.
    pub(super) fn landed(&mut self, index: usize) {
        if let Some(Stored { outcome: Outcome::Accepted { .. }, answered: false, .. }) = self.sends.get(index)
        {
            self.totals.accepted_but_unanswered += 1;
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals.clone()
    }

    /// The sends from number `from` on, in the order they were decided.
    pub(super) fn sends(&self, from: usize) -> impl DoubleEndedIterator<Item = SendRecord> {
        self.sends.get(from..).unwrap_or_default().iter().map(Stored::record)
    }

    /// The accepted sends to `openid`, oldest first.
    pub(super) fn accepted_by(&self, openid: &str) -> impl Iterator<Item = SendRecord> {
        let accepted = move |stored: &&Stored| {
            &*stored.openid == openid && matches!(stored.outcome, Outcome::Accepted { .. })
        };
        self.sends.iter().filter(accepted).map(Stored::record)
    }

    /// The one copy of a text that many sends share.
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.words.get(text) {
            return Arc::clone(word);
        }
        let word: Arc<str> = text.into();
        self.words.insert(Arc::clone(&word));
        word
    }
}

impl Stored {
    fn record(&self) -> SendRecord {
        SendRecord {
            at: self.at,
            appid: self.appid.to_string(),
            openid: self.openid.to_string(),
            template: self.template.to_string(),
            page: self.page.as_deref().map(str::to_owned),
            data: serde_json::from_str(&self.data).unwrap_or_default(),
            outcome: self.outcome,
            answered: self.answered,
        }
    }
}
