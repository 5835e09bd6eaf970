//! A rule as text, for the occurrence that keeps it: fan-out, retries and rendering use the rule as it was.
//!
//! Versioned JSON with shapes of its own, so that a rename in the domain changes nothing that is stored. The
//! store keeps the bytes as they are and knows nothing of them. It is no file format for admins.

mod when;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::id::{AppName, BadId, OpenId, RuleId, Tag, TemplateId, TemplateName};
use crate::domain::rule::{AtNight, Audience, Canary, MissedPolicy, OnDoubt, Overflow, Quiet, Rule};
use crate::domain::template::{FieldKey, Template, TemplateKind};
use crate::domain::zone::Zone;

/// Version of the text; a reader refuses those it does not know. Version 1 is one of 2 that says less.
const VERSION: u32 = 2;

/// Why stored bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the JSON of this version.
    #[error("the snapshot of a rule is not of its form")]
    Form(#[from] serde_json::Error),
    /// Written by another release.
    #[error("the snapshot of a rule has version {0}, this release reads version {VERSION}")]
    Version(u32),
    /// A value that its type does not take.
    #[error("the snapshot of a rule holds a bad {0}")]
    Value(&'static str),
}

impl From<BadId> for SnapshotError {
    fn from(bad: BadId) -> Self {
        Self::Value(bad.what.en)
    }
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    id: String,
    app: String,
    template: StoredTemplate,
    zone: String,
    #[serde(default, skip_serializing_if = "is_false")]
    own_time: bool,
    when: when::StoredForm,
    #[serde(default, skip_serializing_if = "when::StoredBounds::say_nothing")]
    bounds: when::StoredBounds,
    audience: StoredAudience,
    data: BTreeMap<String, String>,
    page: Option<String>,
    grace_ms: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    spread_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet: Option<StoredQuiet>,
    missed: StoredMissed,
    overflow: BTreeMap<String, StoredOverflow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<bool>,
    #[serde(default, skip_serializing_if = "is_none_set")]
    priority: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    resends: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTemplate {
    name: String,
    id: String,
    kind: StoredKind,
    fields: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredKind {
    OneTime,
    LongTerm,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAudience {
    tags: Vec<String>,
    all_tags: Vec<String>,
    openids: Vec<String>,
    condition: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredMissed {
    Latest,
    All { max: u32 },
    Skip,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredQuiet {
    from: String,
    to: String,
    then: StoredAtNight,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAtNight {
    Hold,
    Skip,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredOverflow {
    Fail,
    Cut,
}

/// `rule` as bytes; the same rule gives the same bytes.
#[must_use]
pub fn encode(rule: &Rule) -> Vec<u8> {
    let texts = |tags: &[Tag]| tags.iter().map(ToString::to_string).collect();
    let (when, bounds) = when::encode(&rule.when);
    let stored = Stored {
        version: VERSION,
        id: rule.id.to_string(),
        app: rule.app.to_string(),
        template: StoredTemplate {
            name: rule.template.name.to_string(),
            id: rule.template.id.to_string(),
            kind: match rule.template.kind {
                TemplateKind::OneTime => StoredKind::OneTime,
                TemplateKind::LongTerm => StoredKind::LongTerm,
            },
            fields: rule.template.fields.as_ref().map(|fields| fields.iter().map(key).collect()),
        },
        zone: rule.zone.name().to_owned(),
        own_time: rule.own_time,
        when,
        bounds,
        audience: StoredAudience {
            tags: texts(&rule.audience.tags),
            all_tags: texts(&rule.audience.all_tags),
            openids: rule.audience.openids.iter().map(|openid| openid.as_str().to_owned()).collect(),
            condition: rule.audience.condition.clone(),
        },
        data: rule.data.iter().map(|(field, text)| (key(field), text.clone())).collect(),
        page: rule.page.clone(),
        grace_ms: u64::try_from(rule.grace.as_millis()).unwrap_or(u64::MAX),
        spread_ms: u64::try_from(rule.spread.as_millis()).unwrap_or(u64::MAX),
        quiet: rule.quiet.map(|Quiet { from, to, then }| StoredQuiet {
            from: from.format("%H:%M:%S").to_string(),
            to: to.format("%H:%M:%S").to_string(),
            then: match then {
                AtNight::Hold => StoredAtNight::Hold,
                AtNight::Skip => StoredAtNight::Skip,
            },
        }),
        missed: match rule.missed {
            MissedPolicy::Latest => StoredMissed::Latest,
            MissedPolicy::All { max } => StoredMissed::All { max },
            MissedPolicy::Skip => StoredMissed::Skip,
        },
        overflow: rule.overflow.iter().map(|(field, choice)| (key(field), overflow(*choice))).collect(),
        canary: match rule.canary {
            Canary::Automatic => None,
            Canary::Always => Some(true),
            Canary::Never => Some(false),
        },
        priority: rule.priority,
        resends: rule.on_doubt == OnDoubt::Resend,
    };
    serde_json::to_vec(&stored).expect("maps with text keys, and no writer that can fail")
}

/// For what is not written where it says nothing, so that the bytes stay those of before it could be said.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_none_set(priority: &u32) -> bool {
    *priority == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_false(yes: &bool) -> bool {
    !*yes
}

fn key(field: &FieldKey) -> String {
    field.as_str().to_owned()
}

fn overflow(choice: Overflow) -> StoredOverflow {
    match choice {
        Overflow::Fail => StoredOverflow::Fail,
        Overflow::Cut => StoredOverflow::Cut,
    }
}

/// The rule that [`encode`] made bytes of.
///
/// # Errors
/// [`SnapshotError`]: damaged, or of another release; the occurrence cannot go on and is to be held.
pub fn decode(bytes: &[u8]) -> Result<Rule, SnapshotError> {
    let Head { version } = serde_json::from_slice(bytes)?;
    if !(1..=VERSION).contains(&version) {
        return Err(SnapshotError::Version(version));
    }
    let stored: Stored = serde_json::from_slice(bytes)?;
    let field = |text: &str| FieldKey::parse(text).map_err(SnapshotError::from);
    let tags =
        |tags: Vec<String>| tags.iter().map(|tag| Ok(Tag::parse(tag)?)).collect::<Result<_, SnapshotError>>();
    let fields = match stored.template.fields {
        Some(fields) => Some(fields.iter().map(|text| field(text)).collect::<Result<_, _>>()?),
        None => None,
    };
    let openids = stored.audience.openids.iter().map(|openid| Ok(OpenId::parse(openid)?));
    Ok(Rule {
        id: RuleId::parse(&stored.id)?,
        app: AppName::parse(&stored.app)?,
        template: Template {
            name: TemplateName::parse(&stored.template.name)?,
            id: TemplateId::parse(&stored.template.id)?,
            kind: match stored.template.kind {
                StoredKind::OneTime => TemplateKind::OneTime,
                StoredKind::LongTerm => TemplateKind::LongTerm,
            },
            fields,
        },
        zone: Zone::parse(&stored.zone).map_err(|_unknown| SnapshotError::Value("time zone"))?,
        own_time: stored.own_time,
        when: when::decode(stored.when, stored.bounds)?,
        audience: Audience {
            tags: tags(stored.audience.tags)?,
            all_tags: tags(stored.audience.all_tags)?,
            openids: openids.collect::<Result<_, SnapshotError>>()?,
            condition: stored.audience.condition,
        },
        data: stored
            .data
            .into_iter()
            .map(|(key, text)| Ok((field(&key)?, text)))
            .collect::<Result<_, SnapshotError>>()?,
        page: stored.page,
        grace: Duration::from_millis(stored.grace_ms),
        spread: Duration::from_millis(stored.spread_ms),
        quiet: stored.quiet.map(quiet).transpose()?,
        missed: match stored.missed {
            StoredMissed::Latest => MissedPolicy::Latest,
            StoredMissed::All { max } => MissedPolicy::All { max },
            StoredMissed::Skip => MissedPolicy::Skip,
        },
        overflow: stored
            .overflow
            .into_iter()
            .map(|(key, choice)| {
                let choice = match choice {
                    StoredOverflow::Fail => Overflow::Fail,
                    StoredOverflow::Cut => Overflow::Cut,
                };
                Ok((field(&key)?, choice))
            })
            .collect::<Result<_, SnapshotError>>()?,
        canary: match stored.canary {
            None => Canary::Automatic,
            Some(true) => Canary::Always,
            Some(false) => Canary::Never,
        },
        priority: stored.priority,
        on_doubt: if stored.resends { OnDoubt::Resend } else { OnDoubt::Hold },
    })
}

fn quiet(stored: StoredQuiet) -> Result<Quiet, SnapshotError> {
    let time = |text: &str| {
        NaiveTime::parse_from_str(text, "%H:%M:%S").map_err(|_bad| SnapshotError::Value("time of day"))
    };
    let StoredQuiet { from, to, then } = stored;
    let then = match then {
        StoredAtNight::Hold => AtNight::Hold,
        StoredAtNight::Skip => AtNight::Skip,
    };
    Ok(Quiet { from: time(&from)?, to: time(&to)?, then })
}

/// SHA-256 of a snapshot, which names it in the store.
#[must_use]
pub fn hash(snapshot: &[u8]) -> [u8; 32] {
    Sha256::digest(snapshot).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::{CalendarName, Kind};
    use crate::domain::when::{
        Calendar, Cron, Dst, Every, Except, Form, IfLate, Offset, Pass, Period, Relative, Single, When,
        civil_time,
    };

    fn rule() -> Rule {
        let field = |text| FieldKey::parse(text).expect("a field");
        Rule {
            id: RuleId::parse("drink-water").expect("an id"),
            app: AppName::parse("clinic").expect("a name"),
            template: Template {
                name: TemplateName::parse("habit").expect("a name"),
                id: TemplateId::parse("VRR0UEO9VJOLs0MHlU0OilqX6MVFDwH3_3gz3Oc0NIc").expect("an id"),
                kind: TemplateKind::OneTime,
                fields: Some(vec![field("thing1"), field("character_string12")]),
            },
            zone: Zone::SHANGHAI,
            own_time: false,
            when: Cron::parse("0 10,15 * * MON-FRI").expect("a cron text").into(),
            audience: Audience::default(),
            data: [(field("thing1"), "喝水 \"{{ ref }}\"\u{1f4a7}".to_owned())].into(),
            page: Some("pages/index/index?id={{ ref }}".to_owned()),
            grace: Duration::from_mins(30),
            spread: Duration::ZERO,
            quiet: None,
            missed: MissedPolicy::Latest,
            overflow: BTreeMap::new(),
            canary: Canary::Automatic,
            priority: 0,
            on_doubt: OnDoubt::Hold,
        }
    }

    #[test]
    fn every_part_comes_back() {
        let tag = |text| Tag::parse(text).expect("a tag");
        let field = |text| FieldKey::parse(text).expect("a field");
        let time = |text| civil_time(text).expect("a time");
        let template = rule().template;
        let night = |then| Quiet { from: time("2027-01-01 22:00").time(), to: NaiveTime::MIN, then };
        let table = [
            ("as it is", rule()),
            ("no page", Rule { page: None, ..rule() }),
            ("no fields", Rule { template: Template { fields: None, ..template.clone() }, ..rule() }),
            ("long term", Rule { template: Template { kind: TemplateKind::LongTerm, ..template }, ..rule() }),
            ("skip", Rule { missed: MissedPolicy::Skip, ..rule() }),
            ("spread", Rule { spread: Duration::from_mins(10), ..rule() }),
            ("canary", Rule { canary: Canary::Always, ..rule() }),
            ("priority", Rule { priority: 7, ..rule() }),
            ("resend", Rule { on_doubt: OnDoubt::Resend, ..rule() }),
            ("no canary", Rule { canary: Canary::Never, ..rule() }),
            ("own time", Rule { own_time: true, ..rule() }),
            ("hold", Rule { quiet: Some(night(AtNight::Hold)), ..rule() }),
            ("skip at night", Rule { quiet: Some(night(AtNight::Skip)), ..rule() }),
            ("all", Rule { missed: MissedPolicy::All { max: 7 }, ..rule() }),
        ];
        for (what, rule) in table {
            assert_eq!(decode(&encode(&rule)).expect(what), rule, "{what}");
        }
        let mut full = rule();
        let times = [time("2027-01-31 09:00:00"), time("2027-02-28 23:59:59")];
        let second = Single { civil: times[1], pass: Pass::Second };
        let form = Form::At(vec![Single { civil: times[0], pass: Pass::First }, second]);
        let calendar = Arc::new(Calendar {
            name: CalendarName::parse("china-2026").expect("a name"),
            weekly: 0b011_1110,
            add: vec![times[0].date()],
            remove: vec![times[1].date()],
        });
        let except = Except { days: vec![times[1].date()], calendars: vec![Arc::clone(&calendar)] };
        full.when = When {
            form,
            dst: Dst::Shift,
            from: Some(times[0]),
            until: Some(times[1]),
            except,
            only: vec![calendar],
        };
        assert_eq!(decode(&encode(&full)).expect("times"), full);
        for period in [Period::Days(14), Period::Elapsed(Duration::from_hours(24))] {
            full.when.form = Form::Every(Every { period, starting: times[0] });
            assert_eq!(decode(&encode(&full)).expect("every"), full);
        }
        let periods = [Period::Days(2), Period::Elapsed(Duration::from_mins(90))];
        for offset in
            periods.into_iter().flat_map(|p| [Offset::Before(p), Offset::After(p)]).chain([Offset::SameDay])
        {
            for (time, late) in [(None, IfLate::Skip), (Some(times[1].time()), IfLate::Send)] {
                let of = Kind::parse("visit").expect("a kind");
                full.when.form = Form::Relative(Relative { of, offset, time, late });
                assert_eq!(decode(&encode(&full)).expect("relative"), full);
            }
        }
        full.audience = Audience {
            tags: vec![tag("习惯"), tag("b c")],
            all_tags: vec![tag("x")],
            openids: vec![OpenId::parse("o123456789_-A").expect("an openid")],
            condition: Some("fields.city == 'Shanghai'".to_owned()),
        };
        full.overflow = [(field("thing1"), Overflow::Fail), (field("thing2"), Overflow::Cut)].into();
        assert_eq!(decode(&encode(&full)).expect("full"), full);
        assert_eq!(hash(&encode(&full)), hash(&encode(&full.clone())));
        assert_ne!(hash(&encode(&full)), hash(&encode(&rule())));
    }

    #[test]
    fn what_is_stored_stays_readable() {
        let stored = r#"{"version":1,"id":"r","app":"a","template":{"name":"t","id":"T1","kind":"one_time","fields":["thing1"]},"zone":"Asia/Shanghai","when":{"at":["2027-01-31T09:00:00"]},"audience":{"tags":[],"all_tags":[],"openids":[],"condition":null},"data":{"thing1":"x"},"page":null,"grace_ms":1800000,"missed":{"all":{"max":3}},"overflow":{"thing1":"cut"}}"#;
        let rule = decode(stored.as_bytes()).expect("the form of version 1, which stays");
        let newer = stored.replace("\"version\":1", "\"version\":2");
        assert_eq!(String::from_utf8(encode(&rule)).expect("JSON"), newer);
        let more = r#""when":{"every":{"days":14,"seconds":null,"starting":"2027-01-31T09:00:00"}},"bounds":{"dst":"shift","from":"2027-01-31T00:00:00","until":"2027-06-30T23:59:59","except_days":["2027-02-28"],"only":[{"name":"c","weekly":62,"add":[],"remove":["2027-05-01"]}]}"#;
        let stored = newer.replace(r#""when":{"at":["2027-01-31T09:00:00"]}"#, more);
        let rule = decode(stored.as_bytes()).expect("the form of version 2, which stays");
        assert_eq!(String::from_utf8(encode(&rule)).expect("JSON"), stored);
        for (side, more) in [
            ("before", r#""days":null,"seconds":5400,"time":null,"late":false"#),
            ("after", r#""days":2,"seconds":null,"time":"18:30:00","late":true"#),
            ("same_day", r#""days":null,"seconds":null,"time":"08:00:00","late":false"#),
        ] {
            let relative = format!(r#""when":{{"relative":{{"of":"visit","side":"{side}",{more}}}}}"#);
            let stored = newer.replace(r#""when":{"at":["2027-01-31T09:00:00"]}"#, &relative);
            let rule = decode(stored.as_bytes()).expect("the form of appointments, which stays");
            assert_eq!(String::from_utf8(encode(&rule)).expect("JSON"), stored);
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let newer = br#"{"version":3}"#;
        assert!(matches!(decode(newer), Err(SnapshotError::Version(3))));
        for bad in [&b""[..], b"{}", b"\xff", br#"{"version":1}"#] {
            assert!(matches!(decode(bad), Err(SnapshotError::Form(_))));
        }
        let text = String::from_utf8(encode(&rule())).expect("JSON");
        let bad_zone = text.replace("Asia/Shanghai", "Asia/Beijing");
        assert!(matches!(decode(bad_zone.as_bytes()), Err(SnapshotError::Value("time zone"))));
        let added = text.replacen('{', "{\"new\":1,", 1);
        assert!(decode(added.as_bytes()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_comes_back(text in ".{0,40}", page in proptest::option::of(".{0,40}"), grace in 0_u64..1 << 40, max in 1_u32..100) {
            let mut rule = rule();
            rule.data.values_mut().for_each(|value| value.clone_from(&text));
            rule.page = page;
            rule.audience.condition = Some(text);
            rule.grace = Duration::from_millis(grace);
            rule.missed = MissedPolicy::All { max };
            prop_assert_eq!(decode(&encode(&rule)).expect("what was encoded"), rule);
        }
    }
}
