//! Messages as recipients would get them, and the texts that are refused before.

use super::*;
use crate::domain::id::{FieldName, Ref, Tag};
use crate::domain::template::Template;
use crate::plan::tests_support;

fn key(text: &str) -> FieldKey {
    FieldKey::parse(text).expect("a key")
}

/// A rule with these texts; fields are listed.
fn rule(data: &[(&str, &str)], page: Option<&str>) -> Rule {
    let plain = tests_support::rule();
    Rule {
        template: Template {
            fields: Some(data.iter().map(|(name, _)| key(name)).collect()),
            ..plain.template.clone()
        },
        data: data.iter().map(|(name, source)| (key(name), (*source).to_owned())).collect(),
        page: page.map(str::to_owned),
        ..plain
    }
}

/// Zhang San, with a nasty nick; due at 10:00 on 2026-03-01 in Shanghai.
fn render(rule: &Rule) -> Result<Message, SkipReason> {
    let field = |name: &str, value| (FieldName::parse(name).expect("a name"), value);
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let profile = Profile {
        reference: Ref::parse("A/17").ok(),
        tags: ["vip", "habit"].map(|t| Tag::parse(t).expect("a tag")).into(),
        fields: [
            field("name", text("张三")),
            field("nick", text("{{ ref }}&<b>\u{202e}\n x")),
            field("long", text(&"长".repeat(30))),
            field("blank", text(" \u{200e}\t")),
            field("n", FieldValue::Whole(7)),
            field("price", FieldValue::Real(12.5)),
            field("ok", FieldValue::Bool(true)),
        ]
        .into(),
        ..Profile::default()
    };
    let at = DateTime::from_timestamp(1_772_330_400, 0).expect("in range");
    let due = Due { at, civil: at.naive_utc(), fold: 0 };
    let openid = OpenId::parse("o123456789").expect("an openid");
    let compiled = Compiled::new(rule).unwrap_or_else(|errors| panic!("{errors:?}"));
    compiled.render(&Input {
        openid: &openid,
        profile: &profile,
        due: &due,
        appointment: None,
        zone: rule.zone,
    })
}

fn value(name: &str, source: &str) -> Result<String, SkipReason> {
    render(&rule(&[(name, source)], None)).map(|message| message.data[0].1.clone())
}

fn page(source: &str) -> Result<Option<String>, SkipReason> {
    render(&rule(&[("thing1", "x")], Some(source))).map(|message| message.page)
}

#[test]
fn texts_are_filled_with_what_is_known() {
    let table = [
        ("thing1", "喝水时间到", "喝水时间到"),
        ("time2", "{{ due | local('%H:%M') }}", "10:00"),
        ("time2", "{{ due | local('%Y年%m月%d日 %H:%M') }}", "2026年03月01日 10:00"),
        ("time2", "{{ due }}", "2026-03-01 10:00"),
        ("thing1", "{{ fields.name }}门诊", "张三门诊"),
        ("thing1", "{{ fields['name'] }} {{ ref }} {{ rule.id }}", "张三 A/17 drink-water"),
        ("number1", "{{ fields.n }}", "7"),
        ("amount1", "{{ fields.price }}元", "12.5元"),
        ("thing1", "{% if fields.ok %}好{% else %}坏{% endif %}", "好"),
        ("thing1", "{% for t in tags %}{{ t }}{% if not loop.last %},{% endif %}{% endfor %}", "habit,vip"),
        ("thing1", "{{ tags | join('/') | upper }}", "HABIT/VIP"),
        ("thing1", "{% set x = fields.n * 2 %}{{ x }}", "14"),
        ("thing1", "{{ fields.missing | default('无') }}", "无"),
        ("thing1", "{% if fields.missing is defined %}a{% else %}b{% endif %}", "b"),
    ];
    for (name, source, expected) in table {
        assert_eq!(value(name, source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn values_are_never_templates_and_lose_what_nobody_sees() {
    assert_eq!(value("thing1", "{{ fields.nick }}").as_deref(), Ok("{{ ref }}&<b> x"));
    assert_eq!(value("thing1", "  a\u{2066}b \n").as_deref(), Ok("ab"));
}

#[test]
fn what_cannot_be_said_skips_the_recipient_with_its_reason() {
    use SkipReason::{MissingField, Overflow as TooMuch};
    let table = [
        ("thing1", "{{ fields.missing }}", MissingField),
        ("thing1", "{% if fields.missing %}a{% endif %}", MissingField),
        ("thing1", "{{ fields.blank }}", MissingField),
        ("thing1", "{{ fields.missing | upper }}", MissingField),
        ("name1", "{{ fields.long }}", TooMuch),
        ("number1", "{{ fields.name }}", TooMuch),
        ("phrase1", "{{ fields.n }}", TooMuch),
        (
            "thing1",
            "{% for a in [1,2,3,4,5,6,7,8,9] %}{% for b in [1,2,3,4,5,6,7,8,9] %}{% for c in [1,2,3,4,5,6,7,8,9] %}{% for d in [1,2,3,4,5,6,7,8,9] %}{% set x = fields.n %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}a",
            TooMuch,
        ),
        ("thing1", "{{ fields.long * 100 }}", TooMuch),
        ("thing1", "{{ fields.name - 1 }}", TooMuch),
    ];
    for (name, source, expected) in table {
        assert_eq!(value(name, source), Err(expected), "{source}");
    }
}

#[test]
fn what_is_too_long_is_cut_or_fails_as_the_rule_or_its_type_says() {
    assert_eq!(value("thing1", "{{ fields.long }}"), Ok("长".repeat(20)));
    let with = |name: &str, overflow| {
        let mut rule = rule(&[(name, "{{ fields.long }}")], None);
        rule.overflow.insert(key(name), overflow);
        render(&rule).map(|message| message.data[0].1.chars().count())
    };
    assert_eq!(with("thing1", Overflow::Fail), Err(SkipReason::Overflow));
    assert_eq!(with("phrase1", Overflow::Cut), Ok(5));
    assert_eq!(with("name1", Overflow::Cut), Ok(10));
    assert_eq!(with("number1", Overflow::Cut), Err(SkipReason::Overflow));
    let mut unlisted = rule(&[("thing1", "{{ fields.long }}")], None);
    unlisted.template.fields = None;
    assert_eq!(render(&unlisted).map(|message| message.data[0].1.chars().count()), Ok(30));
}

#[test]
fn values_in_a_page_are_encoded() {
    let table = [
        ("pages/index", "pages/index"),
        ("/pages/visit/index?id={{ ref }}", "pages/visit/index?id=A%2F17"),
        ("pages/a?x={{ fields.nick }}&y=1", "pages/a?x=%7B%7B%20ref%20%7D%7D%26%3Cb%3E%20x&y=1"),
        ("pages/a?n={{ fields.name }}", "pages/a?n=%E5%BC%A0%E4%B8%89"),
        ("pages/a?{% if fields.ok %}b={{ fields.n }}{% endif %}", "pages/a?b=7"),
    ];
    for (source, expected) in table {
        assert_eq!(page(source), Ok(Some(expected.to_owned())), "{source}");
    }
    assert_eq!(page("pages/a?x={{ fields.missing }}"), Err(SkipReason::MissingField));
}

#[test]
fn texts_that_cannot_work_are_refused_with_place_and_cure() {
    let table = [
        ("{{ feilds.name }}", 3, "`fields`"),
        ("a {{ city }}", 5, "fields.city"),
        ("喝 {{ x.y }}", 7, "fields.x"),
        ("{{ appointment.at }}", 3, "of"),
        ("{{ rule.name }}", 3, "rule.id"),
        ("{{ rule }}", 3, "rule.id"),
        ("{{ due.hour }}", 3, "local"),
        ("{{ fields.Name }}", 3, "a–z"),
        ("{{ fields.a.b }}", 9, "plain"),
        ("{{ fields.name | uper }}", 17, "`upper`"),
        ("{{ fields.name | safe }}", 17, "there are"),
        ("{% if fields.n is evn %}{% endif %}", 18, "`even`"),
        ("{{ due | local('%Q') }}", 15, "local"),
        ("{{ due | local }}", 9, "local"),
        ("{{ due | local(ref) }}", 15, "local"),
        ("{{ fields.at | local('%H') }}", 15, "local"),
        ("{{ range(5) }}", 3, "filter"),
        ("{{ fields.name.upper() }}", 14, "filter"),
        ("{{ fields.name", 10, "{{ fields.name }}"),
        ("{% if 1 %}", 8, "endif"),
        ("{% include 'x' %}", 3, "include"),
        ("{% import 'x' as y %}", 3, "import"),
        ("{% macro x() %}{% endmacro %}", 3, "macro"),
        ("{% autoescape false %}{% endautoescape %}", 3, "statements"),
        ("{% filter upper %}a{% endfilter %}", 3, "statements"),
        ("{% for x in tags %}{% endfor %}{{ x }}", 34, "fields.x"),
    ];
    for (source, offset, help) in table {
        let errors = Compiled::new(&rule(&[("thing1", source)], None)).expect_err(source);
        let error = &errors[0];
        assert_eq!(&*error.key, "thing1");
        assert_eq!(error.offset, offset, "{source}: {error:?}");
        assert!(error.help.en.contains(help), "{source}: {error:?}");
    }
    for source in [
        "{{ ref }}/a",
        "pages/{{ ref }}",
        "https://a.b/c",
        "?a=1",
        "",
        "pages/a b",
        "pages/{% if 1 %}a{% endif %}",
    ] {
        let errors = Compiled::new(&rule(&[], Some(source))).expect_err(source);
        assert_eq!(&*errors[0].key, "page", "{source}");
        assert!(errors[0].help.en.contains("constant path"), "{source}");
    }
    let both = rule(&[("thing1", "{{ a }}{{ b }}"), ("thing2", "{{ c }}")], Some("{{ d }}"));
    let keys: Vec<String> =
        Compiled::new(&both).expect_err("four").into_iter().map(|error| error.key.into_string()).collect();
    assert_eq!(keys, ["thing1", "thing1", "thing2", "page"]);
}

#[test]
fn texts_without_a_recipient_are_tried_at_load() {
    let texts = [
        ("amount9", "{{ ref }}"),
        ("date1", "{{ due | local('%Y年%m月%d日') }}"),
        ("name1", "三号楼2"),
        ("phrase1", "周{{ due | local('%u') }}"),
        ("thing1", "{{ '长' * 30 }}"),
        ("thing2", "{{ '' }}"),
        ("thing3", "{{ 'a' - 1 }}"),
        ("time2", "{{ due | local('%H点') }}"),
    ];
    let compiled = Compiled::new(&rule(&texts, None)).expect("they compile");
    let keys: Vec<String> =
        compiled.constant_misfits().into_iter().map(|error| error.key.into_string()).collect();
    assert_eq!(keys, ["name1", "phrase1", "thing2", "thing3", "time2"]);
}
