//! What the books tell in words, and the audit of both sides against each other.
//!
//! The words are for `assert_eq`; the audit asks whether the promises held, whatever a scenario was about.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use tixing::domain::delivery::{Past, State};
use tixing::domain::id::OpenId;
use tixing::domain::template::TemplateKind;
use tixing::sandbox::{Outcome, SendRecord};
use tixing::store::{Delivery, Earlier, Occurrence, Store, Unavailable};

use super::{World, appid, beijing, openid, template};

/// A delivery and what it is of.
type Of<'a> = (&'a Occurrence, &'a Delivery);

impl World {
    /// The occurrences of a rule: `open: 3 = 1 reserved, 2 sent` or `missed 2`, with `; ` between them.
    pub(super) fn story(&self, rule: &str) -> String {
        let told = self.occurrences().into_iter().filter(|o| o.rule.as_str() == rule).map(|occurrence| {
            let counts = &occurrence.counts;
            let words = counts.by_state.iter().map(|(state, n)| format!("{n} {}", state.as_str()));
            let skipped = counts.skipped.iter().map(|(reason, n)| format!("{n} {}", reason.as_str()));
            let words: Vec<String> = words.chain(skipped).collect();
            let state = occurrence.state.as_str();
            match (words.is_empty(), state) {
                (true, "missed") => format!("missed {}", occurrence.n),
                (true, _) => format!("{state}: {}", counts.audience),
                (false, _) => format!("{state}: {} = {}", counts.audience, words.join(", ")),
            }
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// The account of `name`: `2 granted = 1 available, 1 consumed`, and `, suspect` where it is.
    pub(super) fn balance(&self, name: &str, id: &str) -> String {
        let view = self.power().account(&appid(), &template(id), &openid(name)).unwrap();
        let Some(view) = view else { return "nothing".to_owned() };
        let buckets = [
            (view.account.available(), "available"),
            (view.reserved, "reserved"),
            (view.in_doubt, "in doubt"),
            (view.consumed, "consumed"),
            (view.account.voided, "voided"),
        ];
        let buckets = buckets.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
        let suspect = if view.account.suspect { ", suspect" } else { "" };
        format!("{} granted = {}{suspect}", view.account.granted, buckets.collect::<Vec<_>>().join(", "))
    }

    /// The newest delivery of a rule to `name`.
    pub(super) fn delivery(&self, rule: &str, name: &str) -> Delivery {
        let of = self.deliveries();
        let mut mine = of.into_iter().filter(|(o, d)| o.rule.as_str() == rule && d.openid == openid(name));
        mine.next_back().unwrap().1
    }

    /// All that were opened; none where the power is cut, which may be at any time.
    pub(super) fn occurrences(&self) -> Vec<Occurrence> {
        self.unless_cut(self.power().occurrences(None, None, usize::MAX))
    }

    fn unless_cut<T>(&self, read: Result<Vec<T>, Unavailable>) -> Vec<T> {
        read.unwrap_or_else(|unavailable| {
            assert!(self.power().is_cut(), "{unavailable}");
            Vec::new()
        })
    }

    pub(super) fn deliveries(&self) -> Vec<(Occurrence, Delivery)> {
        let of = |o: Occurrence| {
            let all = self.unless_cut(self.power().deliveries(Some(o.number), None, usize::MAX));
            all.into_iter().map(move |delivery| (o.clone(), delivery))
        };
        self.occurrences().into_iter().flat_map(of).collect()
    }

    /// Every send so far, without those accepted in earlier runs of the platform twice.
    pub(super) fn sends(&self) -> Vec<SendRecord> {
        let before = self.sends_before.iter().cloned();
        before.chain(self.platform.sends()).collect()
    }

    /// Everything, for a failure.
    pub(super) fn told(&self) -> String {
        if self.running.as_ref().is_none_or(|running| running.power.accounts(None, 0).is_err()) {
            return format!("at {}, and no store can be read", beijing(self.clock.now()));
        }
        let rules: BTreeSet<String> =
            self.occurrences().into_iter().map(|o| o.rule.as_str().to_owned()).collect();
        let mut told = format!("at {}, paused: {:?}\n", beijing(self.clock.now()), self.paused());
        for rule in rules {
            told.extend([&rule, ": ", &self.story(&rule), "\n"]);
        }
        for send in self.platform.sends().iter().rev().take(20).rev() {
            let SendRecord { openid, outcome, answered, .. } = send;
            let send = format!(
                "{} {openid} {outcome:?} answered {answered}
",
                beijing(send.at)
            );
            told.push_str(&send);
        }
        told
    }

    /// Whether its person was erased after a send, or so shortly before its arrival that it was on its way.
    pub(super) fn was_erased(&self, who: &str, sent_at: DateTime<Utc>) -> bool {
        self.erased
            .iter()
            .any(|(openid, at)| openid.as_str() == who && sent_at <= *at + TimeDelta::seconds(1))
    }

    /// Audits the books of both sides: promises P1, P2, P4, P6 and P7.
    pub(super) async fn books(&self) {
        let fsck = self.power().fsck().await.unwrap().value;
        assert_eq!(fsck.violations, [], "{}", self.told());
        for (key, view) in self.power().accounts(None, usize::MAX).unwrap() {
            let held = view.account.available() + view.reserved + view.in_doubt + view.consumed;
            if view.kind == TemplateKind::OneTime {
                assert_eq!(
                    view.account.granted,
                    held + view.account.voided,
                    "{} {view:?}",
                    key.openid.as_str()
                );
            }
        }
        let deliveries = self.deliveries();
        let mut counted: BTreeMap<(u64, State), u64> = BTreeMap::new();
        // With its repetitions, where a rule wants them.
        let mut of: BTreeMap<(&str, NaiveDateTime, &str), Vec<Of<'_>>> = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        // Of the erased only the platform knows the names still.
        let mut nameless = BTreeSet::new();
        for (occurrence, delivery) in &deliveries {
            *counted.entry((occurrence.number, delivery.state)).or_default() += 1;
            if delivery.openid == OpenId::erased() {
                nameless.extend(delivery.msgid);
                continue;
            }
            let name = (occurrence.rule.as_str(), occurrence.civil, delivery.openid.as_str());
            if let Some(repeats) = occurrence.repeats {
                assert!(repeated.insert(repeats.of), "repeated twice: {delivery:?}");
                assert!(repeats.nth <= 3, "{occurrence:?}");
                of.get_mut(&name).expect("what it repeats").push((occurrence, delivery));
                continue;
            }
            let earlier = of.insert(name, vec![(occurrence, delivery)]);
            // One of an appointment that was moved away and back before anything was sent does not stand in the way.
            let untried = |(occurrence, delivery): &Of<'_>| {
                occurrence.about.is_some() && Earlier::of(delivery) == Earlier::Untried
            };
            let mut earlier = earlier.into_iter().flatten();
            assert_eq!(earlier.find(|earlier| !untried(earlier)), None, "two deliveries for one");
        }
        for occurrence in self.occurrences() {
            assert!(occurrence.counts.adds_up(), "{occurrence:?}");
            for state in State::ALL.into_iter().filter(|state| *state != State::Skipped) {
                let n = counted.get(&(occurrence.number, state)).copied().unwrap_or(0);
                let counted = occurrence.counts.in_state(state);
                // Whom a walk passes after the deadline is only counted.
                let holds = if state == State::Expired { n <= counted } else { n == counted };
                assert!(holds, "{n} {}: {occurrence:?}", state.as_str());
            }
        }
        let mut cards: BTreeMap<_, usize> = BTreeMap::new();
        let mut repeats = 0;
        for send in self.sends() {
            let page = send.page.clone().unwrap();
            let (rule, due) = page.strip_prefix("p/i?rule=").unwrap().split_once("&due=").unwrap();
            let due = NaiveDateTime::parse_from_str(due, "%Y%m%dT%H%M%S").unwrap();
            let is_nameless =
                |msgid: &u64| nameless.contains(msgid) || self.was_erased(&send.openid, send.at);
            if matches!(&send.outcome, Outcome::Accepted { msgid } if is_nameless(msgid)) {
                let n = cards.entry((send.openid.clone(), page.clone())).or_default();
                *n += 1;
                repeats += u64::from(*n > 1);
                continue;
            }
            if self.was_erased(&send.openid, send.at) {
                continue;
            }
            let all = of.get(&(rule, due, send.openid.as_str())).unwrap_or_else(|| {
                panic!("a send without a delivery: {send:?}, erased: {:?}\n{}", self.erased, self.told())
            });
            let (occurrence, delivery) = all[0];
            let in_time = occurrence.due_at <= send.at && send.at <= occurrence.deadline;
            assert!(
                in_time,
                "due {}, deadline {}: {send:?} {delivery:?}",
                occurrence.due_at, occurrence.deadline
            );
            let with_grant =
                |delivery: &Delivery| occurrence.kind == TemplateKind::LongTerm || delivery.grant.is_some();
            assert!(all.iter().all(|(_, one)| with_grant(one)), "a send without a consent: {all:?}");
            if let Outcome::Accepted { msgid } = send.outcome {
                let n = cards.entry((send.openid.clone(), page.clone())).or_default();
                *n += 1;
                repeats += u64::from(*n > all.len());
                let known = |delivery: &Delivery| match delivery.state {
                    State::Sent => {
                        delivery.msgid().is_none_or(|known| known == msgid) || self.repeats_allowed > 0
                    }
                    // A receipt says that it did not arrive.
                    State::Undelivered => delivery.msgid().is_none_or(|known| known == msgid),
                    State::InDoubt | State::PresumedSent | State::Attempting => true,
                    State::Waiting => delivery.past == Past::Busy,
                    State::Held
                    | State::Reserved
                    | State::Refused
                    | State::Failed
                    | State::Expired
                    | State::Cancelled
                    | State::Skipped => false,
                };
                assert!(all.iter().any(|(_, one)| known(one)), "accepted, and booked as {all:?}: {send:?}");
            }
        }
        assert_eq!(repeats, self.repeats_allowed, "repeated cards\n{}", self.told());
        let accepted: BTreeSet<u64> = self
            .platform
            .sends()
            .iter()
            .filter_map(|send| match send.outcome {
                Outcome::Accepted { msgid } => Some(msgid),
                Outcome::Refused { .. } | Outcome::Unhandled => None,
            })
            .collect();
        for (_, delivery) in &deliveries {
            assert!(delivery.msgid().is_none_or(|msgid| accepted.contains(&msgid)), "{delivery:?}");
        }
    }
}
