//! Whether a person is in a rule's audience, and if not, which of its conditions says so.

use chrono::{DateTime, Utc};

use super::Case;
use super::outcome::Told;
use super::telling::listed;
use crate::admin::answer::{Exit, Failure};
use crate::admin::instant::utc;
use crate::domain::id::Tag;
use crate::domain::language::Said;
use crate::domain::recipient::Profile;
use crate::domain::rule::Rule;
use crate::plan::audience::{Selector, Verdict};

/// Why somebody is not in an audience.
pub(super) struct Outside {
    /// The word in JSON.
    pub(super) reason: &'static str,
    pub(super) why: Said,
    pub(super) cure: Said,
}

/// That nothing is known of a person any more, since he was erased at `at`.
fn erased(at: DateTime<Utc>) -> Said {
    let at = utc(at);
    Said::new(
        format!("This person was erased at {at}: what was known and done before is kept in totals alone."),
        format!("该用户已在 {at} 被清除：此前的资料和记录只保留在合计里。"),
    )
}

/// What becomes of the erased.
fn begins_anew() -> Said {
    Said::new(
        "Nothing needs to be done: whoever logs in or accepts again begins anew.",
        "无需处理：再次登录或授权的用户会重新开始记录。",
    )
}

impl Case {
    /// The person as the books know him now; nothing known is an empty profile.
    pub(super) fn profile(&self) -> Profile {
        self.recipient.as_ref().map(|recipient| recipient.profile.clone()).unwrap_or_default()
    }

    /// Whether the person, as he is now, is in the audience of `rule`: what puts him there, or what keeps him out.
    pub(super) fn audience(&self, rule: &Rule) -> Result<Result<Said, Outside>, Failure> {
        if self.recipient.is_none() {
            return Ok(Err(self.unknown()));
        }
        let selector = Selector::new(&rule.audience)
            .map_err(|error| Failure::new(Exit::Config, format!("rule `{}`: {error}", rule.id)))?;
        let profile = self.profile();
        let verdict = selector.selects(&self.person.openid, &profile);
        Ok(match verdict {
            Verdict::Yes => Ok(inside(rule)),
            Verdict::No | Verdict::Undefined => Err(self.outside(rule, &profile, verdict)),
        })
    }

    /// What is known of one who was erased after this: he may have been in it, and what he had went with him.
    pub(super) fn erased_since(&self, due_at: DateTime<Utc>) -> Option<Told> {
        let at = self.erased_at.filter(|at| due_at <= *at && self.recipient.is_none())?;
        Some(Told::known("erased", Some("erased"), erased(at), Some(begins_anew())))
    }

    pub(super) fn unknown(&self) -> Outside {
        let app = &self.app.name;
        if let Some(at) = self.erased_at {
            return Outside { reason: "unknown_recipient", why: erased(at), cure: begins_anew() };
        }
        Outside {
            reason: "unknown_recipient",
            why: Said::new(
                format!("App `{app}` has never heard of this openid, so no rule reaches it."),
                format!("小程序 `{app}` 没有这个 openid 的记录，任何规则都不会发给它。"),
            ),
            cure: Said::new(
                "Check the openid and the app; a person becomes known by a report of consent or by tixing people import.",
                "检查 openid 和小程序是否写对；上报授权或 tixing people import 之后才会有记录。",
            ),
        }
    }

    fn outside(&self, rule: &Rule, profile: &Profile, verdict: Verdict) -> Outside {
        let to = &rule.audience;
        let tag = |why: Said, lacks: Said| Outside {
            reason: "not_in_audience",
            why,
            cure: Said::new(
                format!(
                    "Give this person the tag {lacks} (tags of POST /v1/consents from a backend, or tixing people import), or change `to` in the rule."
                ),
                format!(
                    "给该用户加上标签 {}（后端 POST /v1/consents 的 tags，或 tixing people import），或修改规则的 to。",
                    lacks.zh
                ),
            ),
        };
        if !to.openids.is_empty() && !to.openids.contains(&self.person.openid) {
            return Outside {
                reason: "not_in_audience",
                why: Said::new(
                    "The rule is for certain people (`to.openids`), and this person is not one of them.",
                    "规则只发给指定的人（to.openids），该用户不在其中。",
                ),
                cure: Said::new(
                    "Add the openid to `to.openids` in the rule.",
                    "把这个 openid 加进规则的 to.openids。",
                ),
            };
        }
        if !to.tags.is_empty() && !to.tags.iter().any(|tag| profile.tags.contains(tag)) {
            let tags = listed(to.tags.iter().map(Tag::as_str));
            let why = Said::new(
                format!(
                    "The rule is for people with any of the tags {tags}, and this person has none of them."
                ),
                format!("规则只发给有标签 {} 之一的人，该用户一个也没有。", tags.zh),
            );
            return tag(why, tags);
        }
        let lacks: Vec<&str> =
            to.all_tags.iter().filter(|tag| !profile.tags.contains(*tag)).map(Tag::as_str).collect();
        if !lacks.is_empty() {
            let lacks = listed(lacks);
            let why = Said::new(
                format!("The rule asks for all of its tags (`to.all_tags`), and this person lacks {lacks}."),
                format!("规则要求标签齐全（to.all_tags），该用户缺少 {}。", lacks.zh),
            );
            return tag(why, lacks);
        }
        let condition = to.condition.as_deref().unwrap_or_default();
        let lacks = lacking(condition, profile);
        if verdict == Verdict::Undefined && !lacks.is_empty() {
            let lacks = listed(lacks.iter().map(String::as_str));
            return Outside {
                reason: "not_in_audience",
                why: Said::new(
                    format!(
                        "The rule is for people of whom `{condition}` holds, and this person lacks {lacks}."
                    ),
                    format!("规则只发给满足 `{condition}` 的人，该用户缺少 {}。", lacks.zh),
                ),
                cure: Said::new(
                    format!(
                        "Set {lacks} (fields of POST /v1/consents, or tixing people import), or change `to.where` in the rule."
                    ),
                    format!(
                        "补上 {}（POST /v1/consents 的 fields，或 tixing people import），或修改规则的 to.where。",
                        lacks.zh
                    ),
                ),
            };
        }
        Outside {
            reason: "not_in_audience",
            why: Said::new(
                format!(
                    "The rule is for people of whom `{condition}` holds, and of this person it does not."
                ),
                format!("规则只发给满足 `{condition}` 的人，该用户不满足。"),
            ),
            cure: Said::new(
                "Change the person's fields (fields of POST /v1/consents, or tixing people import), or `to.where` in the rule.",
                "修改该用户的字段（POST /v1/consents 的 fields，或 tixing people import），或规则的 to.where。",
            ),
        }
    }
}

/// What puts somebody into the audience of `rule`.
fn inside(rule: &Rule) -> Said {
    let to = &rule.audience;
    let mut parts = Vec::new();
    if !to.openids.is_empty() {
        parts.push(Said::new("is one of `to.openids`", "在 to.openids 里"));
    }
    let tags = to.tags.iter().chain(&to.all_tags).map(Tag::as_str);
    let tags = listed(tags);
    if !to.tags.is_empty() || !to.all_tags.is_empty() {
        parts.push(Said::new(
            format!("has the tags that the rule asks for ({tags})"),
            format!("有规则要求的标签（{}）", tags.zh),
        ));
    }
    if let Some(condition) = &to.condition {
        parts.push(Said::new(format!("fulfils `{condition}`"), format!("满足 `{condition}`")));
    }
    if parts.is_empty() {
        return Said::new(
            "The rule has no `to`, so everybody is in its audience, this person too.",
            "规则没有写 to，所有人都在范围内，包括该用户。",
        );
    }
    let all = |text: fn(&Said) -> &str, and: &str| parts.iter().map(text).collect::<Vec<_>>().join(and);
    Said::new(
        format!("This person is in the audience: {}.", all(|said| &said.en, " and ")),
        format!("该用户在范围内：{}。", all(|said| &said.zh, "，并且")),
    )
}

/// The fields that a condition names and somebody lacks.
fn lacking(condition: &str, profile: &Profile) -> Vec<String> {
    let named = condition.split("fields.").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    let mut lacks: Vec<String> = named
        .filter(|name| !profile.fields.keys().any(|known| known.as_str() == *name))
        .map(|name| format!("fields.{name}"))
        .collect();
    lacks.sort_unstable();
    lacks.dedup();
    lacks
}
