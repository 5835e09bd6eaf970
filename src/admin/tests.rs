//! The desk over a real store: shapes to the letter, masks, imports, forecasts.
//!
//! One file a little over its length: all cases speak through one desk, whose hands are here; those of `explain` are beside it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::answer::{Exit, Frame};
use super::control::{AppState, ClockState, Control, FirstDue, Reloaded, StatusParts};
use super::desk::Desk;
use super::import::{digest, hex};
use super::instant::parse;
use super::request::{DoubtVerdict, ImportKind, Lang, Request};
use crate::clock::Clock;
use crate::domain::config::Basis;
use crate::domain::id::{AppName, DeliveryId, OpenId, RuleId};
use crate::domain::language::Said;
use crate::domain::occurrence::{Due, SkipReason, Whose};
use crate::domain::rule::OnDoubt;
use crate::domain::template::TemplateKind;
use crate::domain::zone::Zone;
use crate::flow::books::Books;
use crate::flow::brake::Brake;
use crate::flow::intake::memory::Memory;
use crate::flow::live::{Current, Live};
use crate::flow::pause::HeldOccurrence;
use crate::flow::templates::Templates;
use crate::rules;
use crate::store::ledger::Ledger;
use crate::store::sled::{self, Options};
use crate::store::{
    End, Mark, Member, NewOccurrence, Opened, Opening, Piece, PieceOutcome, Settlement, Store, Walk, Want,
};

const T: &str = "VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc";
const DAILY: &str = "timezone: Asia/Shanghai\nrules:\n  daily:\n    template: visit\n    when: { cron: \"0 9 * * *\" }\n    \
                     data: { thing1: \"{{ fields.city }}\" }\n";
pub(super) const ANNA: &str = "oANNA0000001";
pub(super) const BO: &str = "oBO000000002";

pub(super) struct World {
    pub(super) desk: Desk,
    pub(super) store: Arc<Ledger>,
    pub(super) current: Current,
    pub(super) clock: Clock,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    world_of(DAILY)
}

/// A desk over a store of its own at midnight UTC, with these rules in force and nobody known.
pub(super) fn world_of(rules: &str) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tixing.yaml");
    let config = format!(
        "apps:\n  clinic:\n    appid: wx0123456789abcdef\n    secret: {{ env: S }}\n    limits: {{ per_second: 1 }}\n    templates:\n      \
         visit: {{ id: {T}, kind: one_time, fields: [thing1] }}\nschedules: schedules\nstore: sled:store\n\
         hook: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\n"
    );
    std::fs::write(&path, config).expect("written");
    std::fs::create_dir(folder.path().join("schedules")).expect("made");
    std::fs::write(folder.path().join("schedules/a.yaml"), rules).expect("written");
    let config = rules::load_config(&path).expect("a good configuration").value;
    let rules = rules::load_rules(&config).expect("good rules").value.set;
    let clock = Clock::by_hand(at("2026-03-01T00:00:00Z"));
    let options = Options::new(config.store.clone());
    let store = Arc::new(sled::open(&options, clock.clone()).expect("a store"));
    let live = Live {
        generation: 1,
        at: clock.now(),
        config,
        rules,
        clients: BTreeMap::default(),
        pushes: BTreeMap::default(),
        sources: std::collections::BTreeMap::new(),
    };
    let current = Current::new(live);
    let shared: Arc<dyn Store> = Arc::<Ledger>::clone(&store);
    let desk = Desk::new(shared, current.clone(), clock.clone(), None);
    World { desk, store, current, clock, _folder: folder }
}

pub(super) fn at(text: &str) -> DateTime<Utc> {
    parse(text).expect("an instant")
}

pub(super) struct Got {
    pub(super) rows: Vec<Value>,
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl World {
    pub(super) async fn ask(&self, request: Request) -> Got {
        ask(&self.desk, request).await
    }

    pub(super) async fn grant(&self, who: &str, n: u32) -> Got {
        let (who, template) = (who.to_owned(), "visit".to_owned());
        self.ask(Request::ConsentsGrant { app: None, who, template, n, reveal: false }).await
    }

    async fn show(&self, who: Option<&str>, reveal: bool) -> Got {
        self.ask(Request::ConsentsShow { app: None, who: who.map(str::to_owned), reveal }).await
    }

    pub(super) async fn import(&self, what: ImportKind, first: u64, rows: &[&str]) -> Got {
        let app = self.current.get();
        let digest = hex(digest(what, app.app(None).expect("one app")));
        let rows = rows.iter().map(|row| (*row).to_owned()).collect();
        self.ask(Request::Import { what, app: None, digest, first, rows }).await
    }

    pub(super) async fn people(&self) {
        let rows = [
            format!(r#"{{"openid":"{ANNA}","ref":"4711","fields":{{"city":"上海"}}}}"#),
            format!(r#"{{"openid":"{BO}","muted":true}}"#),
            r#"{"openid":"oCLEO0000003","fields":{"city":"a city with a very long name"}}"#.to_owned(),
            r#"{"openid":"oDORA0000004"}"#.to_owned(),
        ];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        assert_eq!(
            self.import(ImportKind::People, 0, &rows).await.rows,
            [json!({"imported": 4, "granted": 0})]
        );
    }

    /// An occurrence of `daily` at 09:00 with these members; answers who got a grant.
    async fn occurrence(&self, members: &[(&str, Want)]) -> Vec<DeliveryId> {
        let live = self.current.get();
        let app = live.app(None).expect("one app");
        let rule = RuleId::parse("daily").expect("an id");
        let now = self.clock.now();
        let from = self.store.start_rule(app.appid.clone(), rule.clone(), now).await.expect("started").value;
        let due = at("2026-03-01T01:00:00Z");
        let template = app.templates.values().next().expect("one");
        let opening = Opening {
            app: app.appid.clone(),
            rule,
            template: template.id.clone(),
            kind: TemplateKind::OneTime,
            from,
            to: due,
            occurrences: vec![NewOccurrence {
                due: Due { at: due, civil: "2026-03-01T09:00:00".parse().expect("a time"), fold: 0 },
                zone: Zone::SHANGHAI,
                whose: Whose::Everybody,
                deadline: due + TimeDelta::minutes(30),
                missed: None,
            }],
            snapshot: [1; 32],
            snapshot_bytes: b"snapshot".to_vec(),
            priority: 0,
            on_doubt: OnDoubt::Hold,
        };
        let Opened::Moved(numbers) = self.store.open(opening).await.expect("opened").value else {
            panic!("not moved")
        };
        let openid = |text: &str| OpenId::parse(text).expect("an openid");
        let piece = Piece {
            occurrence: numbers[0],
            after: None,
            position: members.last().map(|(who, _)| openid(who)),
            walk: Walk::Ends,
            members: members
                .iter()
                .map(|(who, want)| Member { openid: openid(who), want: *want, behind: Vec::new() })
                .collect(),
            without_consent: [(SkipReason::NoConsent, 2)].into(),
            expired: 0,
            now,
        };
        match self.store.chunk(piece).await.expect("booked").value {
            PieceOutcome::Booked(reserved) => reserved.into_iter().map(|one| one.id).collect(),
            PieceOutcome::Stale => panic!("stale"),
        }
    }

    pub(super) async fn settle(&self, id: DeliveryId, end: End) {
        let now = self.clock.now();
        let marks: Vec<Option<Mark>> = self.store.mark(vec![id], now).await.expect("marked").value;
        let mark = marks.into_iter().next().flatten().expect("it was reserved");
        let settlement = Settlement { mark, started_at: Some(now), end, now };
        self.store.settle(vec![settlement]).await.expect("settled");
    }
}

async fn ask(desk: &Desk, request: Request) -> Got {
    let mut answer = desk.run(request);
    let mut rows = Vec::new();
    while let Some(frame) = answer.next().await {
        match frame {
            Frame::Line(line) => rows.push(serde_json::from_str(&line).expect("JSON")),
            Frame::Note(_) => {}
            Frame::End(end) => {
                return Got { rows, exit: end.exit, message: end.message.unwrap_or_default() };
            }
        }
    }
    panic!("an answer without end")
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_are_granted_shown_and_masked() {
    let world = world();
    world.people().await;
    let granted = world.grant("4711", 3).await;
    assert_eq!(granted.exit, Exit::Done);
    let mask = granted.rows[0]["openid"].as_str().expect("text").to_owned();
    assert!(mask.starts_with('~') && mask.len() == 11, "{mask}");
    let row = |openid: &str| {
        json!({"app": "clinic", "openid": openid, "template": T, "kind": "one_time", "granted": 3, "available": 3,
            "reserved": 0, "in_doubt": 0, "consumed": 0, "voided": 0, "suspect": false})
    };
    let table = [
        (None, false, mask.as_str()),
        (None, true, ANNA),
        (Some(ANNA), false, ANNA),
        (Some("4711"), false, mask.as_str()),
        (Some(mask.as_str()), false, mask.as_str()),
        (Some(mask.as_str()), true, ANNA),
    ];
    for (who, reveal, shown) in table {
        assert_eq!(world.show(who, reveal).await.rows, [row(shown)], "{who:?} {reveal}");
    }
    assert!(world.show(Some(BO), false).await.rows.is_empty());
    for who in ["4712", "~0000000000", "no openid!"] {
        assert_eq!(world.show(Some(who), false).await.exit, Exit::BadData, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_says_when_the_account_is_full() {
    let world = world();
    assert_eq!(world.grant(ANNA, 100).await.rows[0]["n"], 100);
    let more = world.grant(ANNA, 1).await;
    assert_eq!((more.exit, &more.rows[0]["why"]), (Exit::NotInOrder, &json!("full")));
    assert_eq!(world.grant(ANNA, 101).await.exit, Exit::Usage);
    assert_eq!(world.grant("4711", 1).await.exit, Exit::BadData);
    let unknown =
        Request::ConsentsGrant { app: None, who: ANNA.into(), template: "nope".into(), n: 1, reveal: false };
    let unknown = world.ask(unknown).await;
    assert!(unknown.exit == Exit::BadData && unknown.message.contains("visit"), "{}", unknown.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn occurrences_and_deliveries_have_their_shapes() {
    let world = world();
    world.people().await;
    for who in [ANNA, "oCLEO0000003", "oDORA0000004"] {
        world.grant(who, 1).await;
    }
    let reserved = world
        .occurrence(&[
            (ANNA, Want::Reserve),
            (BO, Want::Skip(SkipReason::Muted)),
            ("oCLEO0000003", Want::Reserve),
            ("oDORA0000004", Want::Reserve),
        ])
        .await;
    world.settle(reserved[0], End::Accepted { msgid: Some(3_906_823_109_462_441_985) }).await;
    world.settle(reserved[1], End::Refused).await;
    world.settle(reserved[2], End::Doubt).await;

    let occurrences = world.ask(Request::OccurrencesList { rule: Some("daily".into()) }).await;
    let mut row = occurrences.rows[0].clone();
    row["state"] = json!("-"); // whether a settled occurrence is done at once is the flow's
    assert_eq!(
        row,
        json!({"rule": "daily", "due_at": "2026-03-01T01:00:00Z", "local": "2026-03-01T09:00:00+08:00",
            "zone": "Asia/Shanghai", "state": "-", "reason": null, "n": 1, "audience": 6, "sent": 1,
            "undelivered": 0, "presumed_sent": 0, "refused": 1, "failed": 0, "expired": 0, "cancelled": 0,
            "in_doubt": 1, "open": 0, "skipped": {"no_consent": 2, "muted": 1}})
    );
    let nope = || "nope".to_owned();
    for request in [
        Request::OccurrencesList { rule: Some(nope()) },
        Request::DeliveriesList { rule: Some(nope()), reveal: false },
        Request::DoubtSettleRule { rule: nope(), verdict: DoubtVerdict::Sent },
        Request::Resume { app: None, rule: Some(nope()) },
        Request::Release { rule: Some(nope()), lost_since: None },
    ] {
        let got = world.ask(request).await;
        assert_eq!((got.exit, got.rows.len()), (Exit::BadData, 0), "{}", got.message);
        assert!(got.message.contains("there is no rule `nope`"), "{}", got.message);
    }

    let deliveries = world.ask(Request::DeliveriesList { rule: None, reveal: true }).await.rows;
    let id = reserved[0].to_string();
    assert_eq!(
        deliveries[0],
        json!({"id": id, "rule": "daily", "due_at": "2026-03-01T01:00:00Z", "openid": ANNA, "template": T,
            "state": "sent", "reason": null, "attempts": 1, "next_at": null, "msgid": "3906823109462441985",
            "settled_at": "2026-03-01T00:00:00Z"})
    );
    let told: Vec<(&str, Option<&str>)> =
        deliveries.iter().map(|row| (row["state"].as_str().expect("text"), row["reason"].as_str())).collect();
    assert_eq!(
        told,
        [("sent", None), ("skipped", Some("muted")), ("refused", Some("43101")), ("in_doubt", None)]
    );

    let doubts = world.ask(Request::DoubtList { reveal: true }).await.rows;
    assert_eq!(doubts, [deliveries[3].clone()]);
    let id = doubts[0]["id"].as_str().expect("text").to_owned();
    let settle = Request::DoubtSettle { id: id.clone(), verdict: DoubtVerdict::Failed };
    assert_eq!(world.ask(settle.clone()).await.rows, [json!({"id": id, "state": "failed"})]);
    let again = world.ask(settle).await;
    assert!(again.exit == Exit::BadData && again.message.contains("it is failed"), "{}", again.message);
    let bad = Request::DoubtSettle { id: "7".into(), verdict: DoubtVerdict::Sent };
    assert_eq!(world.ask(bad).await.exit, Exit::BadData);

    let fsck = world.ask(Request::Fsck).await;
    let whole = json!({"ok": true, "accounts": 3, "grants": 3, "deliveries": 4, "violations": []});
    assert_eq!((fsck.exit, fsck.rows), (Exit::Done, vec![whole]));
    // What the operator gave back can be given out again.
    assert_eq!(world.show(Some("oDORA0000004"), false).await.rows[0]["available"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_spends_the_grants_in_order() {
    let world = world();
    world.people().await;
    world.grant(ANNA, 2).await;
    world.grant(BO, 1).await;
    world.grant("oCLEO0000003", 1).await;
    let next = Request::Next { rule: Some("daily".into()), span_s: 3 * 86_400, at: None };
    let rows = world.ask(next).await.rows;
    assert_eq!(
        rows[0],
        json!({"rule": "daily", "due_at": "2026-03-01T01:00:00Z", "local": "2026-03-01T09:00:00+08:00",
            "zone": "Asia/Shanghai", "remark": null, "would_send": 2, "would_skip": {"muted": 1, "no_consent": 1},
            "words": {"en": "every day at 09:00", "zh": "每天 09:00"}})
    );
    let fares: Vec<(Value, Value)> =
        rows.iter().map(|row| (row["would_send"].clone(), row["would_skip"].clone())).collect();
    assert_eq!(fares[1], (json!(1), json!({"muted": 1, "no_consent": 2})));
    assert_eq!(fares[2], (json!(0), json!({"muted": 1, "no_consent": 3})));
    assert_eq!(fares.len(), 3);
    let table = [("nope", None, Exit::BadData), ("daily", Some("today"), Exit::Usage)];
    for (rule, at, exit) in table {
        let next = Request::Next { rule: Some(rule.into()), span_s: 1, at: at.map(str::to_owned) };
        assert_eq!(world.ask(next).await.exit, exit, "{rule} {at:?}");
    }
    let later = Request::Next { rule: None, span_s: 86_400, at: Some("2026-05-01T00:00:00+08:00".into()) };
    assert_eq!(world.ask(later).await.rows[0]["due_at"], "2026-05-01T01:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_tells_of_an_audience_that_takes_longer_than_grace() {
    let rules = DAILY.replace("    data:", "    grace: 60s\n    data:").replace("{{ fields.city }}", "x");
    let world = world_of(&rules);
    for n in 0..=60 {
        world.grant(&format!("oCROWD{n:07}"), 1).await;
    }
    let next = || Request::Next { rule: None, span_s: 2 * 86_400, at: None };
    let remarks: Vec<Value> = world.ask(next()).await.rows.iter().map(|row| row["remark"].clone()).collect();
    let slow = "61 recipients at 1 a second take 1 minute 1 second, but `grace` is 1 minute: the last ones would expire";
    assert_eq!(remarks, [json!(slow), Value::Null]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_counts_once_and_says_what_it_granted() {
    let world = world();
    let first = [
        format!(r#"{{"openid":"{ANNA}","template":"visit","n":70}}"#),
        format!(r#"{{"openid":"{ANNA}","template":"{T}","n":70}}"#),
    ];
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let second = [r#"{"openid":"oBO000000002","template":"visit","n":1}"#];
    // The account holds 100, so 40 of 140 are not granted.
    assert_eq!(
        world.import(ImportKind::Consents, 0, &first).await.rows,
        [json!({"imported": 2, "granted": 100})]
    );
    assert_eq!(
        world.import(ImportKind::Consents, 0, &first).await.rows,
        [json!({"imported": 2, "granted": 0})]
    );
    assert_eq!(
        world.import(ImportKind::Consents, 2, &second).await.rows,
        [json!({"imported": 3, "granted": 1})]
    );
    assert_eq!(world.show(None, true).await.rows.len(), 2);
    let bad = Request::Imported { digest: "xyz".into() };
    assert_eq!(world.ask(bad).await.exit, Exit::BadData);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_name_their_line_and_no_person() {
    let world = world();
    world.people().await;
    let long = format!(r#"{{"openid":"{ANNA}","fields":{{"a":"{}"}}}}"#, "x".repeat(257));
    let large = {
        let field = |n: u32| format!(r#""f{n}":"{}""#, "提".repeat(100));
        format!(r#"{{"openid":"{ANNA}","fields":{{{}}}}}"#, (0..11).map(field).collect::<Vec<_>>().join(","))
    };
    let many = format!(
        r#"{{"openid":"{ANNA}","tags":[{}]}}"#,
        (0..33).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",")
    );
    let visit = |more: &str| format!(r#"{{"kind":"visit","id":"a",{more}"at":"2026-03-01T09:00:00Z"}}"#);
    let table: [(ImportKind, &str, &str); 23] = [
        (ImportKind::Consents, "", "empty"),
        (ImportKind::Consents, "[]", "expected"),
        (ImportKind::Consents, r#"{"openid":"oANNA0000001","template":"visit"}"#, "`n`"),
        (ImportKind::Consents, r#"{"openid":"oANNA0000001","template":"visit","n":0}"#, "1–100"),
        (ImportKind::Consents, r#"{"openid":"oANNA0000001","template":"visit","n":"oSECRETSECRET"}"#, "u32"),
        (ImportKind::Consents, r#"{"openid":"oSECRET!!","template":"visit","n":1}"#, "`openid`"),
        (ImportKind::Consents, r#"{"openid":"oANNA0000001","template":"visits","n":1}"#, "it has: visit"),
        (
            ImportKind::Consents,
            r#"{"openid":"oANNA0000001","template":"visit","n":1,"m":2}"#,
            "unknown field `m`",
        ),
        (ImportKind::People, r#"{"ref":"1"}"#, "`openid`"),
        (ImportKind::People, r#"{"openid":"oANNA0000001","time_zone":"CST"}"#, "Asia/Shanghai"),
        (ImportKind::People, r#"{"openid":"oANNA0000001","fields":{"A":1}}"#, "`fields`"),
        (ImportKind::People, r#"{"openid":"oANNA0000001","fields":{"a":[]}}"#, "`fields.a`"),
        (ImportKind::People, r#"{"openid":"oEVE000000005","ref":"4711"}"#, "`ref` belongs to somebody else"),
        (ImportKind::People, &long, "longer than 256"),
        (ImportKind::People, &large, "larger than a recipient may be"),
        (ImportKind::People, &many, "`tags` has 33"),
        (ImportKind::Appointments, r#"{"kind":"visit","id":"a","at":"2026-03-01T09:00:00Z"}"#, "is missing"),
        (ImportKind::Appointments, &visit(r#""openid":"oEVE000000005","recipients":[],"#), "exclude"),
        (ImportKind::Appointments, &visit(r#""recipients":[],"#), "1–64"),
        (ImportKind::Appointments, &visit(r#""recipients":["oSECRET!!"],"#), "`recipients`"),
        (ImportKind::Appointments, &visit(r#""app":"school","openid":"oEVE000000005","#), "not `clinic`"),
        (ImportKind::Appointments, &visit(r#""openid":"oEVE000000005","n":1,"#), "unknown field `n`"),
        (
            ImportKind::Appointments,
            &visit(&format!("{}}},", large.trim_start_matches('{').trim_end_matches('}'))),
            "larger than",
        ),
    ];
    for (what, line, says) in table {
        let good = match what {
            ImportKind::Consents => r#"{"openid":"oEVE000000005","template":"visit","n":1}"#,
            ImportKind::People => r#"{"openid":"oEVE000000005"}"#,
            ImportKind::Appointments => {
                r#"{"kind":"visit","id":"a","openid":"oEVE000000005","at":"2026-03-01T09:00:00Z"}"#
            }
        };
        let got = world.import(what, 0, &[good, line]).await;
        assert_eq!(got.exit, Exit::BadData, "{line}");
        assert!(got.message.starts_with("line 2: ") && got.message.contains(says), "{line}: {}", got.message);
        assert!(!got.message.contains("SECRET"), "{}", got.message);
    }
    assert!(world.show(Some("oEVE000000005"), false).await.rows.is_empty(), "nothing of a bad piece counts");
    let request = Request::AppointmentsList { app: None, kind: None, who: None, reveal: false };
    assert!(world.ask(request).await.rows.is_empty(), "nor of one of appointments");
}

#[derive(Debug)]
struct FakeDaemon {
    ok: bool,
    brake: Brake,
    templates: Templates,
    memory: Memory,
    books: Books,
}

impl FakeDaemon {
    fn reloaded(&self) -> Reloaded {
        Reloaded {
            in_force: Basis::Files,
            at: at("2026-03-01T00:00:00.123456789Z"),
            ok: self.ok,
            diagnostics: Vec::new(),
            added: vec![RuleId::parse("daily").expect("an id")],
            changed: Vec::new(),
            removed: Vec::new(),
            first_due: vec![FirstDue {
                rule: RuleId::parse("daily").expect("an id"),
                zone: Zone::SHANGHAI,
                due: Some(Due {
                    at: at("2026-03-01T01:00:00Z"),
                    civil: at("2026-03-01T09:00:00Z").naive_utc(),
                    fold: 0,
                }),
                words: Said::new("every day at 09:00", "每天 09:00"),
            }],
            needs_restart: Vec::new(),
        }
    }
}

impl Control for FakeDaemon {
    fn books(&self) -> &Books {
        &self.books
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Reloaded> + Send + '_>> {
        Box::pin(async { self.reloaded() })
    }

    fn brake(&self) -> &Brake {
        &self.brake
    }

    fn templates(&self) -> &Templates {
        &self.templates
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn undefined(&self) -> BTreeMap<AppName, u64> {
        BTreeMap::new()
    }

    fn held(&self) -> Vec<HeldOccurrence> {
        Vec::new()
    }

    fn try_again(&self, _app: Option<&AppName>) {}

    fn look(&self) {}

    fn status(&self) -> StatusParts {
        let app = AppName::parse("clinic").expect("a name");
        let state = if self.ok { AppState::Sending } else { AppState::Paused("40125".to_owned()) };
        StatusParts {
            ready: true,
            hold: None,
            needs_attention: Vec::new(),
            apps: [(app, state)].into(),
            quotas: BTreeMap::new(),
            held_rules: Vec::new(),
            clock: ClockState::Ok,
            zone_data: "2025b".to_owned(),
            reload: self.reloaded(),
            generation: 1,
            hook: None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_are_of_everything_an_app_or_a_rule() {
    let world = world();
    let pause = |app: Option<&str>, rule: Option<&str>, reason: Option<&str>| {
        let [app, rule, reason] = [app, rule, reason].map(|text| text.map(str::to_owned));
        world.ask(Request::Pause { app, rule, reason })
    };
    let since = "2026-03-01T00:00:00Z";
    let got = pause(None, Some("daily"), Some(" flood ")).await;
    let row = json!({"scope": "rule", "rule": "daily", "paused": true, "since": since, "reason": "flood"});
    assert_eq!((got.exit, got.rows), (Exit::Done, vec![row.clone()]));
    // Said again it is as it was.
    assert_eq!(pause(None, Some("daily"), None).await.rows, [row]);
    let got = pause(Some("clinic"), None, None).await;
    let row = json!({"scope": "app", "app": "clinic", "paused": true, "since": since, "reason": null});
    assert_eq!((got.exit, got.rows), (Exit::Done, vec![row]));
    assert_eq!(pause(None, None, None).await.rows[0]["scope"], "everything");
    for (app, rule, reason, exit) in [
        (Some("nobody"), None, None, Exit::BadData),
        (None, Some("No Id"), None, Exit::BadData),
        (None, Some("dayly"), None, Exit::BadData),
        (Some("clinic"), Some("daily"), None, Exit::Usage),
        (None, None, Some("two\nlines"), Exit::BadData),
    ] {
        assert_eq!(pause(app, rule, reason).await.exit, exit, "{app:?} {rule:?} {reason:?}");
    }
    // Whoever asks what is due next is told that it will not be sent.
    let told = world.ask(Request::Next { rule: None, span_s: 86_400, at: None }).await.rows.remove(0);
    let paused = "paused by an operator since 2026-03-01T00:00:00Z";
    let remark = format!(
        "Everything is on hold: {paused}; App `clinic` does not send: {paused}; Rule `daily` does not send: {paused}: flood"
    );
    assert_eq!(told["remark"], remark, "{told}");
    let got = world.ask(Request::Resume { app: None, rule: None }).await;
    let row = json!({"scope": "everything", "paused": false, "since": null, "reason": null});
    // And what still does not send.
    assert_eq!((got.exit, &got.rows[0], got.rows.len()), (Exit::Done, &row, 3));
    let again = world.ask(Request::Resume { app: None, rule: None }).await;
    assert_eq!((again.exit, again.rows), (Exit::Done, got.rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_reload_speak_for_the_daemon() {
    let world = world();
    assert_eq!(world.ask(Request::Status).await.exit, Exit::NoDaemon);
    assert_eq!(world.ask(Request::Reload { lang: Lang::En }).await.exit, Exit::NoDaemon);
    for (ok, exit) in [(true, Exit::Done), (false, Exit::NotInOrder)] {
        let store: Arc<dyn Store> = Arc::<Ledger>::clone(&world.store);
        let brake = Brake::of_store(Arc::clone(&store), world.clock.now()).expect("nothing is paused");
        let templates = Templates::of_store(Arc::clone(&store), brake.clone()).expect("nothing is kept");
        let control: Arc<dyn Control> =
            Arc::new(FakeDaemon { ok, brake, templates, memory: Memory::default(), books: Books::default() });
        let desk = Desk::new(store, world.current.clone(), world.clock.clone(), Some(control));
        let mut reload = json!({"at": "2026-03-01T00:00:00.123Z", "ok": ok, "diagnostics": [], "added": ["daily"],
            "changed": [], "removed": [], "needs_restart": [], "first_due": [{"rule": "daily",
            "due_at": "2026-03-01T01:00:00Z", "local": "2026-03-01T09:00:00+08:00", "zone": "Asia/Shanghai",
            "words": {"en": "every day at 09:00", "zh": "每天 09:00"}}]});
        let got = ask(&desk, Request::Reload { lang: Lang::En }).await;
        assert_eq!((got.exit, &got.rows[0]), (exit, &reload));
        let got = ask(&desk, Request::Status).await;
        assert_eq!(got.exit, exit);
        let status = &got.rows[0];
        let app = if ok {
            json!({"state": "ok", "reason": null})
        } else {
            json!({"state": "paused", "reason": "40125"})
        };
        assert_eq!(status["apps"], json!({"clinic": app}));
        reload.as_object_mut().expect("an object").remove("first_due");
        assert_eq!(status["reload"], reload);
        for key in [
            "ready",
            "version",
            "hold",
            "needs_attention",
            "rules",
            "clock",
            "open",
            "drift",
            "store",
            "zone_data",
        ] {
            assert!(status.get(key).is_some(), "{key}");
        }
        let metrics = desk.metrics();
        assert!(
            metrics.contains("tixing_rules 1\n") && metrics.contains("tixing_build_info{version="),
            "{metrics}"
        );
    }
}
