//! Whose fault a refused message is: that of its rule, which would be refused for everybody, or of one person's values.
//!
//! A rule that is wrong for everybody is better held after one message than refused ten thousand times; a rule that is
//! wrong for one person must not stop for all. What becomes of the message itself is decided in `retry`.

use std::collections::BTreeSet;

use crate::domain::id::OpenId;
use crate::domain::message::Reply;
use crate::domain::rejection::Fault;

/// So many different people in a row whose value of one key is refused are the rule's fault.
pub const IN_A_ROW: usize = 5;

/// The people in a row whose message of one rule was refused for the same value.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What was refused: the key, else the code.
    what: Option<Result<String, i64>>,
    who: BTreeSet<OpenId>,
}

impl Row {
    /// Takes in what one of them was answered; answers what is wrong with the rule, where it is the rule. `personal` are
    /// the keys of values that take something from recipient or appointment; one that the rule does not have takes nothing.
    pub fn hear(&mut self, reply: &Reply, who: &OpenId, personal: &BTreeSet<String>) -> Option<Fault> {
        match reply {
            Reply::TemplateBad { .. } => Some(Fault::Template),
            Reply::MessageBad { errcode: _, key: Some(key) } if !personal.contains(key) => {
                Some(Fault::Constant { key: key.clone() })
            }
            Reply::MessageBad { errcode, key } => {
                let what = key.clone().ok_or(*errcode);
                if self.what.as_ref() != Some(&what) {
                    *self = Self { what: Some(what), who: BTreeSet::new() };
                }
                self.who.insert(who.clone());
                let n = self.who.len();
                (n >= IN_A_ROW).then(|| Fault::InARow { key: key.clone(), n })
            }
            Reply::Accepted { .. } => {
                *self = Self::default();
                None
            }
            // Nothing is said of the values.
            Reply::NoConsent
            | Reply::Busy
            | Reply::Concurrent
            | Reply::RateLimited { .. }
            | Reply::QuotaUsedUp
            | Reply::TokenRefused { .. }
            | Reply::RecipientBad { .. }
            | Reply::AppBad { .. }
            | Reply::UnknownCode { .. }
            | Reply::NoToken
            | Reply::NotConnected
            | Reply::Unanswered => None,
        }
    }

    /// Whether it may be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.who.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(errcode: i64, key: Option<&str>) -> Reply {
        Reply::MessageBad { errcode, key: key.map(str::to_owned) }
    }

    fn hears(replies: &[(&Reply, u32)]) -> Vec<Option<Fault>> {
        let personal = BTreeSet::from(["thing2".to_owned(), "thing3".to_owned()]);
        let mut row = Row::default();
        let who = |n: u32| OpenId::parse(&format!("o123456789-{n}")).expect("an openid");
        replies.iter().map(|(reply, n)| row.hear(reply, &who(*n), &personal)).collect()
    }

    #[test]
    fn what_is_the_same_for_everybody_is_the_rules_fault() {
        let template = Reply::TemplateBad { errcode: 40_037 };
        let constant = || Some(Fault::Constant { key: "thing1".to_owned() });
        let table = [
            (template, Some(Fault::Template)),
            (bad(47_003, Some("thing1")), constant()),
            (bad(45_168, Some("thing1")), constant()),
            (bad(47_003, Some("thing2")), None),
            (bad(47_003, Some("thing9")), Some(Fault::Constant { key: "thing9".to_owned() })),
            (bad(45_168, None), None),
            (Reply::NoConsent, None),
            (Reply::RecipientBad { errcode: 40_003 }, None),
            (Reply::UnknownCode { errcode: 85_107 }, None),
            (Reply::AppBad { errcode: 48_001 }, None),
            (Reply::Unanswered, None),
        ];
        for (reply, expected) in table {
            assert_eq!(hears(&[(&reply, 1)]), [expected], "{reply:?}");
        }
    }

    #[test]
    fn five_different_people_in_a_row_are_the_rules_fault_too() {
        let (two, three, nameless) =
            (bad(47_003, Some("thing2")), bad(47_003, Some("thing3")), bad(45_168, None));
        let sensitive = bad(45_168, Some("thing2"));
        let sent = Reply::Accepted { msgid: None };
        let refused = Reply::NoConsent;
        let row = |key: Option<&str>| Some(Fault::InARow { key: key.map(str::to_owned), n: 5 });
        let run = |replies: &[(&Reply, u32)]| hears(replies).pop().flatten();
        assert_eq!(run(&[(&two, 1), (&two, 2), (&two, 3), (&two, 4)]), None);
        assert_eq!(run(&[(&two, 1), (&two, 2), (&two, 3), (&two, 4), (&two, 5)]), row(Some("thing2")));
        assert_eq!(run(&[(&two, 1), (&two, 2), (&two, 3), (&two, 4), (&two, 4)]), None, "four people");
        assert_eq!(run(&[(&two, 1), (&two, 2), (&three, 3), (&two, 4), (&two, 5)]), None, "another key");
        assert_eq!(run(&[(&two, 1), (&two, 2), (&sent, 3), (&two, 4), (&two, 5)]), None, "one was sent");
        assert_eq!(
            run(&[(&two, 1), (&two, 2), (&refused, 6), (&sensitive, 3), (&two, 4), (&two, 5)]),
            row(Some("thing2")),
            "a refusal says nothing of the values, another code of the same key does"
        );
        let nameless = [1, 2, 3, 4, 5].map(|n| (&nameless, n));
        assert_eq!(run(&nameless), row(None));
    }
}
