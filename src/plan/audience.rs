//! Whether a recipient belongs to a rule's audience.
//!
//! Consents and mutes are not asked here; what a condition over missing fields means is decided in
//! `condition`.

use std::collections::BTreeSet;
use std::fmt;

use super::condition::Condition;
use super::render::RenderError;
use crate::domain::id::{FieldName, OpenId, Tag};
use crate::domain::recipient::Profile;
use crate::domain::rule::Audience;

/// Whether a recipient belongs to an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Belongs.
    Yes,
    /// Does not.
    No,
    /// Does not: what the condition asks for is missing, or it fails on the values; counted apart.
    Undefined,
}

/// An audience, compiled.
pub struct Selector {
    tags: Vec<Tag>,
    all_tags: Vec<Tag>,
    openids: BTreeSet<OpenId>,
    condition: Option<Condition>,
}

impl Selector {
    /// Compiles an audience and checks its condition.
    ///
    /// # Errors
    /// The first fault of the condition.
    pub fn new(audience: &Audience) -> Result<Self, RenderError> {
        let condition = audience.condition.as_deref().map(Condition::new).transpose()?;
        Ok(Self {
            tags: audience.tags.clone(),
            all_tags: audience.all_tags.clone(),
            openids: audience.openids.iter().cloned().collect(),
            condition,
        })
    }

    /// What the condition says of everybody, when it takes nothing from the recipient.
    #[must_use]
    pub fn constant(&self) -> Option<Verdict> {
        self.condition.as_ref()?.constant()
    }

    /// Fields of the recipient that the condition looks at.
    pub fn recipient_fields(&self) -> impl Iterator<Item = &FieldName> {
        self.condition.iter().flat_map(Condition::fields)
    }

    /// Whether this recipient belongs.
    #[must_use]
    pub fn selects(&self, openid: &OpenId, profile: &Profile) -> Verdict {
        let has = |tag: &Tag| profile.tags.contains(tag);
        let chosen = (self.openids.is_empty() || self.openids.contains(openid))
            && (self.tags.is_empty() || self.tags.iter().any(has))
            && self.all_tags.iter().all(has);
        match &self.condition {
            _ if !chosen => Verdict::No,
            None => Verdict::Yes,
            Some(condition) => condition.verdict(profile),
        }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{FieldName, Ref};
    use crate::domain::recipient::FieldValue;

    fn openid(text: &str) -> OpenId {
        OpenId::parse(text).expect("an openid")
    }

    fn tag(text: &str) -> Tag {
        Tag::parse(text).expect("a tag")
    }

    /// From Shanghai, 30 years, tagged `habit` and `vip`, without `ref`.
    fn somebody() -> Profile {
        let field = |name: &str, value| (FieldName::parse(name).expect("a name"), value);
        Profile {
            tags: ["habit", "vip"].map(tag).into(),
            fields: [
                field("city", FieldValue::Text("Shanghai".to_owned())),
                field("age", FieldValue::Whole(30)),
                field("paid", FieldValue::Bool(false)),
                field("odd", FieldValue::Text("%}{{ 1 }}".to_owned())),
            ]
            .into(),
            ..Profile::default()
        }
    }

    fn verdict(condition: &str) -> Verdict {
        let audience = Audience { condition: Some(condition.to_owned()), ..Audience::default() };
        let selector = Selector::new(&audience).unwrap_or_else(|error| panic!("{condition}: {error:?}"));
        selector.selects(&openid("o123456789"), &somebody())
    }

    #[test]
    fn a_condition_over_something_missing_is_neither_true_nor_false() {
        use Verdict::{No, Undefined, Yes};
        let table = [
            ("fields.city == 'Shanghai'", Yes),
            ("fields.city != 'Shanghai'", No),
            ("fields['age'] >= 18 and fields.age < 65", Yes),
            ("18 <= fields.age < 25", No),
            ("'vip' in tags and not 'new' in tags", Yes),
            ("'x' not in tags", Yes),
            ("fields.paid", No),
            ("not fields.paid", Yes),
            ("fields.odd == '%}{{ 1 }}'", Yes),
            ("fields.city in ['Beijing', 'Shanghai']", Yes),
            ("(fields.city | lower) == 'shanghai' or (fields.nick == 'x')", Yes),
            ("true", Yes),
            ("not not (true)", Yes),
            ("true and not (false or 'x' in tags) and true", Yes),
            ("false and true or true", Yes),
            ("true or true and false", Yes),
            ("(true or true) and false", No),
            ("fields.paid if 'vip' in tags else true", No),
            ("fields.city in ('Beijing', 'Shanghai') and ('a', 'b')", Yes),
            ("fields.or == 1", Undefined),
            ("fields.nick", Undefined),
            ("fields.nick == 'x'", Undefined),
            ("fields.nick != 'x'", Undefined),
            ("fields.height < 5", Undefined),
            ("not fields.nick == 'x'", Undefined),
            ("not (fields.nick == 'x')", Undefined),
            ("fields.nick == 'x' or fields.city == 'Shanghai'", Yes),
            ("fields.nick == 'x' and fields.city == 'Beijing'", No),
            ("fields.nick == 'x' and fields.city == 'Shanghai'", Undefined),
            ("ref == '7'", Undefined),
            ("ref is undefined", Yes),
            ("fields.nick is defined", No),
            ("fields.nick is not defined or fields.nick == 'x'", Yes),
            ("fields.nick | default('none') == 'none'", Yes),
            ("fields.nick | default('none') == 'some'", No),
            ("fields.city + 1 > 5", Undefined),
            ("(1 if fields.city == 'Shanghai' else 0) == 1", Yes),
            ("fields | length == 4", Yes),
        ];
        for (condition, expected) in table {
            assert_eq!(verdict(condition), expected, "{condition}");
        }
    }

    #[test]
    fn all_conditions_must_hold_and_an_empty_one_does_not_choose() {
        let audience = |tags: &[&str], all: &[&str], openids: &[&str]| Audience {
            tags: tags.iter().map(|t| tag(t)).collect(),
            all_tags: all.iter().map(|t| tag(t)).collect(),
            openids: openids.iter().map(|o| openid(o)).collect(),
            condition: None,
        };
        let (me, other) = ("o123456789", "o987654321");
        let table = [
            (audience(&[], &[], &[]), Verdict::Yes),
            (audience(&["x", "vip"], &[], &[]), Verdict::Yes),
            (audience(&["x"], &[], &[]), Verdict::No),
            (audience(&[], &["vip", "habit"], &[]), Verdict::Yes),
            (audience(&[], &["vip", "x"], &[]), Verdict::No),
            (audience(&[], &[], &[other, me]), Verdict::Yes),
            (audience(&[], &[], &[other]), Verdict::No),
            (audience(&["vip"], &["x"], &[me]), Verdict::No),
        ];
        for (audience, expected) in table {
            let selector = Selector::new(&audience).expect("no condition");
            assert_eq!(selector.selects(&openid(me), &somebody()), expected, "{audience:?}");
        }
        let with_ref = Profile { reference: Ref::parse("7").ok(), ..somebody() };
        let seven = Audience { condition: Some("ref == '7'".to_owned()), ..Audience::default() };
        let selector = Selector::new(&seven).expect("a condition");
        assert_eq!(selector.selects(&openid(me), &with_ref), Verdict::Yes);
    }

    #[test]
    fn a_condition_that_cannot_work_is_refused_with_its_place() {
        let table = [
            ("feilds.city == 'x'", 0, "`fields`"),
            ("fields.City == 'x'", 0, "a–z"),
            ("fields.city ==", 12, ""),
            ("fields.city = 'x'", 12, ""),
            ("'x' in tags and city == 'x'", 16, "fields.city"),
            ("fields.city | lowr == 'x'", 14, "`lower`"),
            ("fields.city is definde", 15, "`defined`"),
            ("range(5)", 0, "filter"),
            ("due == 1", 0, "fields, ref, tags"),
            ("fields.city %}x{% if 1", 13, ""),
            ("", 0, ""),
        ];
        for (condition, offset, help) in table {
            let audience = Audience { condition: Some(condition.to_owned()), ..Audience::default() };
            let error = Selector::new(&audience).expect_err(condition);
            assert_eq!(&*error.key, "where");
            assert_eq!(error.offset, offset, "{condition}: {error:?}");
            assert!(error.help.en.contains(help), "{condition}: {error:?}");
        }
    }
}
