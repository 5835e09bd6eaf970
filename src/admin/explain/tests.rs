//! Chains as operators read them: the future, the past, and what is only concluded.

use serde_json::Value;

use super::*;
use crate::admin::request::ImportKind;
use crate::admin::request::{Lang, Request};
use crate::admin::tests::{ANNA, BO, Got, World, at, world_of};
use crate::domain::id::{DeliveryId, OpenId, RuleId};
use crate::domain::occurrence::{Due, OccurrenceState, SkipReason, Whose};
use crate::rules::snapshot;
use crate::store::{
    Closing, End, Member, NewOccurrence, Opened, Opening, Piece, PieceOutcome, Store, Walk, Want,
};

const RULES: &str = r#"timezone: Asia/Shanghai
rules:
  daily:
    template: visit
    when: { cron: "0 9 * * *" }
    data: { thing1: "{{ fields.city }}" }
    overflow: { thing1: fail }
  early:
    template: visit
    when: { cron: "30 8 * * *" }
    to: { tags: [early] }
    data: { thing1: "x" }
    missed: skip
  choosy:
    template: visit
    when: { cron: "0 10 * * *" }
    to: { all_tags: [vip], where: "fields.age >= 18" }
    data: { thing1: "x" }
  asleep:
    enabled: false
    template: visit
    when: { cron: "0 10 * * *" }
    data: { thing1: "x" }
  over:
    template: visit
    when: { at: "2026-02-01 09:00" }
    data: { thing1: "x" }
"#;
const CLEO: &str = "oCLEO0000003";
const DORA: &str = "oDORA0000004";
const EVE: &str = "oEVE000000005";

/// Anna is in Shanghai and tagged `early`, Bo is muted, Cleo's city is too long, Dora has none, Eve is a vip of 17.
async fn world() -> World {
    let world = world_of(RULES);
    let rows = [
        format!(r#"{{"openid":"{ANNA}","ref":"4711","tags":["early"],"fields":{{"city":"上海"}}}}"#),
        format!(r#"{{"openid":"{BO}","muted":true}}"#),
        format!(r#"{{"openid":"{CLEO}","fields":{{"city":"a city with a very long name"}}}}"#),
        format!(r#"{{"openid":"{DORA}"}}"#),
        format!(r#"{{"openid":"{EVE}","tags":["vip"],"fields":{{"city":"x","age":17}}}}"#),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(world.import(ImportKind::People, 0, &rows).await.exit, Exit::Done);
    for (who, n) in [(ANNA, 2), (BO, 1), (CLEO, 1), (DORA, 1)] {
        assert_eq!(world.grant(who, n).await.exit, Exit::Done);
    }
    world
}

async fn ask(world: &World, rule: &str, who: &str, at: Option<&str>, lang: Lang) -> Got {
    let (rule, who, at) = (rule.to_owned(), who.to_owned(), at.map(str::to_owned));
    world.ask(Request::Explain { rule, who, at, reveal: false, lang }).await
}

async fn one(world: &World, rule: &str, who: &str, at: Option<&str>) -> Value {
    let got = ask(world, rule, who, at, Lang::En).await;
    assert_eq!(got.exit, Exit::Done, "{}", got.message);
    got.rows.into_iter().next().expect("a row")
}

fn steps(row: &Value) -> String {
    let steps = row["steps"].as_array().expect("a list").iter();
    steps.map(|step| step.as_str().expect("a sentence")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_future_names_the_link_that_breaks_and_its_cure() {
    let world = world().await;
    let table = [
        ("daily", ANNA, "would_send", "null", "would get it", ""),
        ("daily", BO, "would_skip", "\"muted\"", "muted", "tixing people unmute"),
        ("daily", CLEO, "would_skip", "\"overflow\"", "up to 20 characters", "thing1: cut"),
        (
            "daily",
            DORA,
            "would_skip",
            "\"missing_field\"",
            "`fields.city`, which this person lacks",
            "default(",
        ),
        ("daily", EVE, "would_skip", "\"no_consent\"", "No consent is left", "tap subscribe again"),
        ("daily", "oNOBODY000009", "would_skip", "\"unknown_recipient\"", "never heard", "Check the openid"),
        ("early", EVE, "would_skip", "\"not_in_audience\"", "any of the tags `early`", "the tag `early`"),
        ("choosy", ANNA, "would_skip", "\"not_in_audience\"", "lacks `vip`", "the tag `vip`"),
        ("choosy", EVE, "would_skip", "\"not_in_audience\"", "of this person it does not", "to.where"),
        ("asleep", ANNA, "would_skip", "\"disabled\"", "enabled: false", "tixing reload"),
    ];
    for (rule, who, outcome, reason, why, cure) in table {
        let row = one(&world, rule, who, None).await;
        let told = format!("{rule} {who}: {row:#}");
        assert_eq!(row["outcome"], outcome, "{told}");
        assert_eq!(row["reason"].to_string(), reason, "{told}");
        assert!(row["why"].as_str().is_some_and(|text| text.contains(why)), "{told}");
        assert!(row["cure"].as_str().unwrap_or_default().contains(cure), "{told}");
        let zh = ask(&world, rule, who, None, Lang::Zh).await.rows.remove(0);
        assert_eq!(zh["steps"].as_array().map(Vec::len), row["steps"].as_array().map(Vec::len), "{told}");
        for key in ["why", "cure"] {
            let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(zh[key].as_str().is_none_or(chinese), "{zh:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_has_its_shape() {
    let world = world().await;
    let row = one(&world, "daily", "4711", None).await;
    let keys: Vec<&str> = row.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in
        ["rule", "openid", "due_at", "outcome", "reason", "steps", "local", "zone", "why", "cure", "certain"]
    {
        assert!(keys.contains(&key), "{key}: {row}");
    }
    assert_eq!(row["due_at"], "2026-03-01T01:00:00Z");
    assert_eq!(row["local"], "2026-03-01T09:00:00+08:00");
    assert_eq!(row["certain"], false, "a forecast is none");
    let mask = row["openid"].as_str().expect("text");
    assert!(mask.starts_with('~'), "named by ref, so masked: {row}");
    assert!(!row.to_string().contains(ANNA));
    assert_eq!(one(&world, "daily", mask, None).await["openid"], mask);
    assert_eq!(one(&world, "daily", ANNA, None).await["openid"], ANNA);
    let told = steps(&row);
    for part in
        ["every day at 09:00", "2026-03-01 09:00", "everybody is in its audience", "2 left", "30 minutes"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let table = [
        ("nope", ANNA, None, Exit::BadData, "daily"),
        ("daily", "no openid!", None, Exit::BadData, "ref"),
        ("daily", ANNA, Some("today"), Exit::Usage, "--at"),
    ];
    for (rule, who, at, exit, says) in table {
        let got = ask(&world, rule, who, at, Lang::En).await;
        assert!(got.exit == exit && got.message.contains(says), "{rule} {who}: {}", got.message);
    }
}

/// The first due time that finds no consent left is the one that says so, as in `next`.
#[tokio::test(flavor = "multi_thread")]
async fn consents_are_spent_in_order_as_next_spends_them() {
    let world = world().await;
    // Anna has two; `early` at 08:30 takes one each day before `daily` does.
    let table = [
        ("early", "2026-03-01T00:30:00Z", "would_send"),
        ("daily", "2026-03-01T01:00:00Z", "would_send"),
        ("early", "2026-03-02T00:00:00Z", "would_skip"),
        ("daily", "2026-03-02T00:30:01Z", "would_skip"),
    ];
    for (rule, at, outcome) in table {
        let row = one(&world, rule, ANNA, Some(at)).await;
        assert_eq!(row["outcome"], outcome, "{row:#}");
    }
    let row = one(&world, "daily", ANNA, Some("2026-03-02T00:30:01Z")).await;
    assert!(
        steps(&row).contains("will use 2 of them: `early` 2026-03-01 08:30, `daily` 2026-03-01 09:00"),
        "{row:#}"
    );
    let next = Request::Next { rule: None, span_s: 86_400, at: None };
    let rows = world.ask(next).await.rows;
    let sends: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row["rule"].as_str().expect("text"), row["would_send"].as_u64().expect("a number")))
        .collect();
    assert_eq!(sends, [("early", 1), ("daily", 1), ("choosy", 0)]);
}

impl World {
    /// Moves the clock forward to an instant.
    fn until(&self, instant: &str) {
        self.clock.advance((at(instant) - self.clock.now()).to_std().expect("forward"));
    }

    /// Opens one due time of a rule with its real snapshot, and books the members.
    async fn due(
        &self,
        rule: &str,
        due: &str,
        members: &[(&str, Want)],
        without: &[(SkipReason, u64)],
    ) -> Vec<DeliveryId> {
        let number = self.open(rule, due, None).await;
        let piece = Piece {
            occurrence: number,
            after: None,
            position: members.last().map(|(who, _)| OpenId::parse(who).expect("an openid")),
            walk: Walk::Ends,
            members: members
                .iter()
                .map(|(who, want)| Member {
                    openid: OpenId::parse(who).expect("an openid"),
                    want: *want,
                    behind: Vec::new(),
                })
                .collect(),
            without_consent: without.iter().copied().collect(),
            expired: 0,
            now: self.clock.now(),
        };
        match self.store.chunk(piece).await.expect("booked").value {
            PieceOutcome::Booked(reserved) => reserved.into_iter().map(|one| one.id).collect(),
            PieceOutcome::Stale => panic!("stale"),
        }
    }

    async fn open(&self, rule: &str, due: &str, missed: Option<u64>) -> u64 {
        let live = self.current.get();
        let app = live.app(None).expect("one app");
        let rule = live.rules.rules.get(&RuleId::parse(rule).expect("an id")).expect("a rule");
        let due = at(due);
        let from = self.store.start_rule(app.appid.clone(), rule.id.clone(), due - TimeDelta::days(1));
        let from = from.await.expect("started").value;
        let bytes = snapshot::encode(rule);
        let opening = Opening {
            app: app.appid.clone(),
            rule: rule.id.clone(),
            template: rule.template.id.clone(),
            kind: rule.template.kind,
            from,
            to: due,
            occurrences: vec![NewOccurrence {
                due: Due { at: due, civil: due.with_timezone(&rule.zone.tz()).naive_local(), fold: 0 },
                zone: rule.zone,
                whose: Whose::Everybody,
                deadline: due + TimeDelta::from_std(rule.grace).expect("in range"),
                missed,
            }],
            snapshot: snapshot::hash(&bytes),
            snapshot_bytes: bytes,
            priority: 0,
            on_doubt: rule.on_doubt,
        };
        match self.store.open(opening).await.expect("opened").value {
            Opened::Moved(numbers) => numbers[0],
            Opened::Stale(cursor) => panic!("the cursor is at {cursor:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_read_off_the_books() {
    let world = world().await;
    let frank = "oFRANK0000006";
    world.import(ImportKind::Consents, 0, &[r#"{"openid":"oFRANK0000006","template":"visit","n":1}"#]).await;
    let due = "2026-03-01T01:00:00Z";
    world.until("2026-03-01T01:00:05Z");
    let ids = world
        .due(
            "daily",
            due,
            &[
                (ANNA, Want::Reserve),
                (BO, Want::Skip(SkipReason::Muted)),
                (CLEO, Want::Reserve),
                (DORA, Want::Skip(SkipReason::MissingField)),
                (frank, Want::Reserve),
            ],
            &[(SkipReason::NoConsent, 1)],
        )
        .await;
    world.settle(ids[0], End::Accepted { msgid: Some(7) }).await;
    world.settle(ids[1], End::Refused).await;
    world.settle(ids[2], End::Doubt).await;
    let table = [
        (ANNA, "sent", "null", true, "WeChat took it at 2026-03-01 09:00:05", ""),
        (BO, "skipped", "\"muted\"", true, "was muted", "Unmute"),
        (CLEO, "refused", "\"43101\"", true, "knows no consent", "subscribe again"),
        (DORA, "skipped", "\"missing_field\"", true, "`fields.city`", "default("),
        (EVE, "skipped", "\"no_consent\"", true, "No consent was left at that time", "subscribe again"),
        (frank, "in_doubt", "null", true, "Nobody knows", "tixing doubt settle"),
        (
            "oNOBODY000009",
            "not_in_audience",
            "\"unknown_recipient\"",
            true,
            "never heard",
            "Check the openid",
        ),
    ];
    world.until("2026-03-01T03:00:00Z");
    for (who, outcome, reason, certain, why, cure) in table {
        for asked in [due, "2026-03-01T02:59:00Z"] {
            let row = one(&world, "daily", who, Some(asked)).await;
            let told = format!("{who}: {row:#}");
            assert_eq!(row["due_at"], due, "{told}");
            assert_eq!(row["outcome"], outcome, "{told}");
            assert_eq!(row["reason"].to_string(), reason, "{told}");
            assert_eq!(row["certain"], certain, "{told}");
            assert!(row["why"].as_str().is_some_and(|text| text.contains(why)), "{told}");
            assert!(row["cure"].as_str().unwrap_or_default().contains(cure), "{told}");
        }
    }
    // Without an instant: the next one, and then the last one.
    let rows = ask(&world, "daily", ANNA, None, Lang::En).await.rows;
    let told: Vec<_> = rows.iter().map(|row| (row["due_at"].as_str(), row["outcome"].as_str())).collect();
    assert_eq!(told, [(Some("2026-03-02T01:00:00Z"), Some("would_skip")), (Some(due), Some("sent"))]);
    let told = steps(&rows[1]);
    for part in ["2 requests", "1 request was started, the first at 2026-03-01 09:00:05"] {
        assert_eq!(told.contains(part), part.starts_with('1'), "{told}");
    }
    assert!(told.contains("accepted at 2026-03-01 08:00, granted by an operator"), "{told}");
    // Before the rule's first due time.
    let row = one(&world, "over", ANNA, Some("2026-01-01T00:00:00Z")).await;
    assert_eq!((row["outcome"].as_str(), row["due_at"].as_str()), (Some("not_due"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_concluded_says_so() {
    let world = world().await;
    world.until("2026-03-01T01:00:05Z");
    world.due("daily", "2026-03-01T01:00:00Z", &[(ANNA, Want::Reserve)], &[]).await;
    world.until("2026-03-01T03:00:00Z");
    // Nobody of the audience was without a record, so those who have none were not in it.
    let row = one(&world, "daily", EVE, Some("2026-03-01T03:00:00Z")).await;
    assert_eq!(row["outcome"], "not_in_audience", "{row:#}");
    assert_eq!(row["reason"], "not_in_audience_then");
    // She accepted before and after; which were there then nobody knows.
    world.until("2026-03-02T01:00:05Z");
    world.due("daily", "2026-03-02T01:00:00Z", &[], &[(SkipReason::NoConsent, 3)]).await;
    let row = one(&world, "daily", CLEO, None).await;
    assert_eq!(row["due_at"], "2026-03-03T01:00:00Z");
    let row = one(&world, "daily", CLEO, Some("2026-03-02T01:00:05Z")).await;
    assert_eq!(
        (row["outcome"].as_str(), row["certain"].as_bool()),
        (Some("skipped"), Some(false)),
        "{row:#}"
    );
    assert!(steps(&row).contains("concluded from what is known now"));
    // Never accepted anything: no doubt.
    let row = one(&world, "daily", EVE, Some("2026-03-02T01:00:05Z")).await;
    assert_eq!((row["outcome"].as_str(), row["certain"].as_bool()), (Some("skipped"), Some(true)), "{row:#}");
    // Somebody who came afterwards.
    world.until("2026-03-02T09:00:00Z");
    let late = "oLATE00000007";
    world.grant(late, 1).await;
    let row = one(&world, "daily", late, Some("2026-03-02T01:00:05Z")).await;
    assert_eq!(
        (row["reason"].as_str(), row["certain"].as_bool()),
        (Some("came_later"), Some(true)),
        "{row:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_cancelled_and_not_looked_at() {
    let world = world().await;
    world.until("2026-03-03T03:00:00Z");
    // Two due times missed, in one record under the newer one's name.
    world.open("daily", "2026-03-02T01:00:00Z", Some(2)).await;
    for (asked, due) in
        [("2026-03-01T05:00:00Z", "2026-03-01T01:00:00Z"), ("2026-03-02T05:00:00Z", "2026-03-02T01:00:00Z")]
    {
        let row = one(&world, "daily", ANNA, Some(asked)).await;
        assert_eq!(
            (row["outcome"].as_str(), row["reason"].as_str()),
            (Some("missed"), Some("grace")),
            "{row:#}"
        );
        assert_eq!(row["due_at"], due, "{row:#}");
    }
    world.open("early", "2026-03-02T00:30:00Z", Some(1)).await;
    let row = one(&world, "early", ANNA, Some("2026-03-02T05:00:00Z")).await;
    assert_eq!((row["reason"].as_str(), row["outcome"].as_str()), (Some("skip"), Some("missed")));
    assert!(row["why"].as_str().is_some_and(|why| why.contains("missed: skip")), "{row:#}");
    // Due at 09:00 today, and no daemon has looked.
    let row = one(&world, "daily", ANNA, Some("2026-03-03T02:00:00Z")).await;
    assert_eq!(
        (row["outcome"].as_str(), row["reason"].as_str()),
        (Some("not_opened"), Some("not_looked")),
        "{row:#}"
    );
    let row = one(&world, "choosy", ANNA, Some("2026-03-03T02:00:00Z")).await;
    assert_eq!(
        (row["outcome"].as_str(), row["reason"].as_str()),
        (Some("not_opened"), Some("never_started"))
    );

    let ids = world
        .due("daily", "2026-03-03T01:00:00Z", &[(ANNA, Want::Reserve), (CLEO, Want::Reserve)], &[])
        .await;
    let number = ids[0].occurrence;
    Store::close(&*world.store, vec![ids[1]], Closing::Expired, world.clock.now()).await.expect("closed");
    let row = one(&world, "daily", CLEO, Some("2026-03-03T02:00:00Z")).await;
    assert_eq!(row["outcome"], "expired", "{row:#}");
    world
        .store
        .stop_occurrence(number, OccurrenceState::Cancelled, Some("rule removed or disabled".to_owned()))
        .await
        .expect("stopped");
    Store::close(&*world.store, vec![ids[0]], Closing::Cancelled, world.clock.now()).await.expect("closed");
    let row = one(&world, "daily", ANNA, Some("2026-03-03T02:00:00Z")).await;
    assert_eq!(
        (row["outcome"].as_str(), row["reason"].as_str()),
        (Some("cancelled"), Some("rule_removed")),
        "{row:#}"
    );
}
