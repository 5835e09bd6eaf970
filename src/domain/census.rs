//! What is known of an app's recipients taken together: how many, and how many carry each tag and field.
//!
//! It names nobody, so it may be shown, kept and compared with what a rule asks for.

use std::collections::BTreeMap;

use super::id::{FieldName, Tag};
use super::recipient::Profile;
use super::rule::Audience;

/// Most different tags and most different fields that are counted; of further ones nothing is known.
pub const MAX_COUNTED: usize = 10_000;

/// The recipients of one app, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many there are.
    pub recipients: u64,
    /// How many carry each tag.
    pub tags: BTreeMap<Tag, u64>,
    /// How many have each field.
    pub fields: BTreeMap<FieldName, u64>,
}

impl Census {
    /// Counts one recipient.
    pub fn add(&mut self, profile: &Profile) {
        self.recipients += 1;
        for tag in &profile.tags {
            count(&mut self.tags, tag);
        }
        for field in profile.fields.keys() {
            count(&mut self.fields, field);
        }
    }

    /// Whether all tags and fields that anybody carries are here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tags.len() < MAX_COUNTED && self.fields.len() < MAX_COUNTED
    }

    /// The most recipients that an audience can have.
    #[must_use]
    pub fn at_most(&self, audience: &Audience) -> u64 {
        let of = |tag: &Tag| {
            self.tags.get(tag).copied().unwrap_or(if self.is_whole() { 0 } else { self.recipients })
        };
        let any: u64 = audience.tags.iter().map(of).sum();
        let bounds = [
            (!audience.tags.is_empty()).then_some(any),
            audience.all_tags.iter().map(of).min(),
            (!audience.openids.is_empty()).then(|| u64::try_from(audience.openids.len()).unwrap_or(u64::MAX)),
        ];
        bounds.into_iter().flatten().fold(self.recipients, u64::min)
    }
}

fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(n) = counts.get_mut(key) {
        *n += 1;
    } else if counts.len() < MAX_COUNTED {
        counts.insert(key.clone(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_have_an_upper_bound() {
        let tag = |text: &str| Tag::parse(text).expect("a tag");
        let mut census = Census::default();
        for tags in [&["a"][..], &["a", "b"], &["b"], &[]] {
            let tags = tags.iter().map(|text| tag(text)).collect();
            census.add(&Profile { tags, ..Profile::default() });
        }
        let of = |tags: &[&str], all: &[&str]| {
            let tags = tags.iter().map(|text| tag(text)).collect();
            let all_tags = all.iter().map(|text| tag(text)).collect();
            census.at_most(&Audience { tags, all_tags, ..Audience::default() })
        };
        assert_eq!(of(&[], &[]), 4);
        assert_eq!(of(&["a"], &[]), 2);
        assert_eq!(of(&["a", "b"], &[]), 4);
        assert_eq!(of(&["a"], &["b", "nobody"]), 0);
    }
}
