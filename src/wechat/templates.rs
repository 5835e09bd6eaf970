//! Which templates an account has, and what is in them.
//!
//! Read for people who write rules and to see in time what has changed, never on the way of a message: nothing here is kept
//! or retried. What is odd about one template never hides the others.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::id::TemplateId;
use crate::domain::message::Reply;
use crate::domain::template::{Described, DescribedField, FieldKey, TemplateKind};

use super::answer::{self, Loose, Said};
use super::http::NoAnswer;
use super::token::{Refusal, Token, TokenState};
use super::{Client, TokenError, errcode};

/// The most templates that are taken; accounts may have 25 or 50, as far as anybody knows.
const MAX_TEMPLATES: usize = 1000;
/// The most fields of one template that are taken.
const MAX_FIELDS: usize = 32;
/// The most values of one field that are taken; of a field with more they are not known.
const MAX_VALUES: usize = 256;

/// What an account has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its templates, in the platform's order.
    pub templates: Vec<Described>,
    /// More that there are, whose kind or fields this program does not understand.
    pub odd: Vec<TemplateId>,
    /// How many more there are of which it does not even understand the id.
    pub n_nameless: usize,
}

/// Why the templates could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplatesError {
    /// There is no access token.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// No answer, or none that can be read; trying again can help.
    #[error("the platform does not list its templates: {why}")]
    Unavailable {
        /// What went wrong, without address and token.
        why: String,
    },
    /// The platform refuses.
    #[error("the platform does not list the templates of this app (errcode {errcode}: {errmsg})")]
    Refused {
        /// Its code.
        errcode: i64,
        /// Its text, cleaned.
        errmsg: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errcode: Loose,
    #[serde(default)]
    errmsg: Loose,
    #[serde(default)]
    data: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Template {
        #[serde(rename = "priTmplId")]
        id: String,
        #[serde(default)]
        title: Loose,
        content: String,
        #[serde(rename = "type")]
        kind: Loose,
        #[serde(default, rename = "keywordEnumValueList")]
        values: serde_json::Value,
    },
    Known {
        #[serde(rename = "priTmplId")]
        id: String,
    },
    Odd(IgnoredAny),
}

/// The values that one field takes.
#[derive(Deserialize)]
struct Values {
    #[serde(rename = "keywordCode")]
    key: String,
    #[serde(default, rename = "enumValueList")]
    values: Vec<String>,
}

impl Client {
    /// The account's own templates with their fields (official page `api_getwxapubnewtemplate`, read 2026-11-22).
    ///
    /// Takes an access token as a send does, and gives it up for another once where the platform refuses it.
    /// The stable-token call gives the same one to everybody, so asking here does no harm to a daemon.
    ///
    /// # Errors
    /// [`TemplatesError`], each for an operator.
    pub async fn templates(&self) -> Result<Listed, TemplatesError> {
        match self.templates_once().await {
            Err((_error, Some(Refusal::Repeat))) => self.templates_once().await.map_err(|(error, _)| error),
            outcome => outcome.map_err(|(error, _)| error),
        }
    }

    async fn templates_once(&self) -> Result<Listed, (TemplatesError, Option<Refusal>)> {
        let ready = self.ready().await.map_err(|reply| (self.no_token(&reply), None))?;
        let token = ready.token();
        let body = self.0.http.gettemplate(token.value()).await.map_err(|no_answer| {
            let why = match no_answer {
                NoAnswer::NotConnected(why) | NoAnswer::Unanswered(why) => why,
            };
            (TemplatesError::Unavailable { why: self.cleaned(&why, token) }, None)
        })?;
        let mut repaired = String::new();
        let Some(answer) = answer::parse::<Answer>(&body, &mut repaired) else {
            return Err((TemplatesError::Unavailable { why: "the answer is not JSON".to_owned() }, None));
        };
        match (answer.errcode.integer::<i64>(), answer.data) {
            (Some(0), Some(entries)) => Ok(listed(entries)),
            (Some(0), None) => {
                Err((TemplatesError::Unavailable { why: "the answer has no list".to_owned() }, None))
            }
            (None, _) => {
                Err((TemplatesError::Unavailable { why: "the answer has no errcode".to_owned() }, None))
            }
            (Some(errcode), _) => {
                let Said { errmsg, rid: _ } =
                    answer::said(answer.errmsg, [token.expose_secret(), self.0.http.secret()]);
                let token_refused = matches!(errcode::reply(errcode, None, None), Reply::TokenRefused { .. });
                let refusal = token_refused.then(|| self.0.tokens.refuse(token, errcode));
                let error = TemplatesError::Refused { errcode, errmsg: errmsg.unwrap_or_default() };
                Err((error, refusal))
            }
        }
    }

    fn no_token(&self, reply: &Reply) -> TemplatesError {
        match self.token_state() {
            TokenState::Failing { error, retry_in: _ } => error.into(),
            TokenState::None | TokenState::Ready { expires_in: _ } => {
                TemplatesError::Unavailable { why: format!("no access token ({reply:?})") }
            }
        }
    }

    fn cleaned(&self, text: &str, token: &Token) -> String {
        answer::clean(text, [token.expose_secret(), self.0.http.secret()])
    }
}

fn listed(entries: Vec<Entry>) -> Listed {
    let mut listed = Listed::default();
    for entry in entries.into_iter().take(MAX_TEMPLATES) {
        let id = match &entry {
            Entry::Template { id, .. } | Entry::Known { id } => TemplateId::parse(id).ok(),
            Entry::Odd(_) => None,
        };
        match (described(entry), id) {
            (Some(template), _) => listed.templates.push(template),
            (None, Some(id)) => listed.odd.push(id),
            (None, None) => listed.n_nameless += 1,
        }
    }
    listed
}

fn described(entry: Entry) -> Option<Described> {
    let Entry::Template { id, title, content, kind, values } = entry else { return None };
    let kind = match kind.integer::<i64>()? {
        2 => TemplateKind::OneTime,
        3 => TemplateKind::LongTerm,
        _ => return None,
    };
    let title = answer::clean(&title.text().unwrap_or_default(), []);
    let mut fields = fields(&content)?;
    // A list in another form tells nothing of the values, and hides no template.
    let values: Vec<Values> = serde_json::from_value(values).unwrap_or_default();
    for Values { key, values } in values {
        let key = key.trim().strip_suffix(".DATA").unwrap_or(&key);
        if let Some(field) = fields.iter_mut().find(|field| field.key.as_str() == key)
            && values.len() <= MAX_VALUES
        {
            field.values = values;
        }
    }
    Some(Described { id: TemplateId::parse(&id).ok()?, title, kind, fields })
}

/// The fields of a text such as `事项:{{thing1.DATA}}\n时间:{{time2.DATA}}`; `None` when one is no field, or a text has none.
fn fields(content: &str) -> Option<Vec<DescribedField>> {
    let mut fields = Vec::new();
    let mut rest = content;
    while let Some((label, after)) = rest.split_once("{{") {
        let (key, after) = after.split_once("}}")?;
        let key = FieldKey::parse(key.trim().strip_suffix(".DATA")?).ok()?;
        let label = label.trim().trim_end_matches([':', '：']);
        fields.push(DescribedField { key, label: answer::clean(label, []), values: Vec::new() });
        rest = after;
    }
    let is_odd = fields.len() > MAX_FIELDS || (fields.is_empty() && !content.trim().is_empty());
    (!is_odd).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_the_content() {
        let read = |content| {
            let fields = fields(content)?;
            Some(fields.into_iter().map(|f| format!("{}={}", f.key.as_str(), f.label)).collect::<Vec<_>>())
        };
        let table: [(&str, Option<&[&str]>); 9] = [
            ("事项:{{thing1.DATA}}\n时间:{{time2.DATA}}\n", Some(&["thing1=事项", "time2=时间"])),
            ("会议时间：{{ date2.DATA }}", Some(&["date2=会议时间"])),
            ("a:b:{{character_string12.DATA}}", Some(&["character_string12=a:b"])),
            ("{{thing1.DATA}}{{thing2.DATA}}", Some(&["thing1=", "thing2="])),
            ("", Some(&[])),
            ("事项", None),
            ("事项:{{thing1}}", None),
            ("事项:{{Thing1.DATA}}", None),
            ("事项:{{thing1.DATA", None),
        ];
        for (content, wanted) in table {
            assert_eq!(
                read(content).as_deref(),
                wanted.map(|w| w.iter().map(ToString::to_string).collect::<Vec<_>>()).as_deref(),
                "{content}"
            );
        }
    }
}
