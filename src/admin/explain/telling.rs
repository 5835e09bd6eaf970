//! Sentences of a chain: times, consents, texts, and what the platform's codes mean.

use chrono::{DateTime, Timelike as _, Utc};

use crate::domain::consent::{Account, Grant, Source};
use crate::domain::id::{AppointmentId, Kind};
use crate::domain::language::Said;
use crate::domain::message::Reply;
use crate::domain::occurrence::SkipReason;
use crate::domain::rule::Rule;
use crate::domain::template::{Template, TemplateKind};
use crate::domain::zone::Zone;
use crate::plan::render::Unfit;
use crate::plan::turn::Turn;
use crate::plan::words;
use crate::wechat;

/// A time as people read it, in the zone of the rule.
pub(super) fn moment(at: DateTime<Utc>, zone: Zone) -> String {
    let local = at.with_timezone(&zone.tz());
    let format =
        if local.second() == 0 && local.nanosecond() == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    local.format(format).to_string()
}

/// When a person has his turn, where a rule spreads its messages or has quiet hours.
pub(super) fn turn(rule: &Rule, turn: Turn, zone: Zone) -> Option<Said> {
    let spread = words::span(rule.spread);
    let at = moment(turn.at, zone);
    if let Some(quiet) = rule.quiet.filter(|_| turn.moved) {
        let quiet = words::quiet(&quiet);
        return Some(Said::new(
            format!(
                "Its time is in the quiet hours ({}), so it waits: this person's turn is at {at}, and a consent is needed then.",
                quiet.en
            ),
            format!(
                "这个时间处于免打扰时段（{}），所以先等着；轮到该用户的时间是 {at}，到时才需要授权。",
                quiet.zh
            ),
        ));
    }
    (!rule.spread.is_zero()).then(|| {
        Said::new(
            format!(
                "The rule spreads its messages over {}; this person's turn is at {at}, and a consent is needed then.",
                spread.en
            ),
            format!("规则把消息分散在 {} 内；轮到该用户的时间是 {at}，到时才需要授权。", spread.zh),
        )
    })
}

/// Why nothing leaves for a person whose time is in quiet hours, and what to do about it.
pub(super) fn at_night() -> (Said, Said) {
    (
        Said::new(
            "Its time is in the quiet hours of this person, so it does not leave.",
            "这个时间处于该用户的免打扰时段，所以不发送。",
        ),
        Said::new(
            "Change `quiet` in the rule: another time, or `then: hold`.",
            "修改规则的 quiet：换个时间，或写 then: hold。",
        ),
    )
}

/// A list in both languages: `a, b`, `a、b`.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> Said {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    Said::new(words.join(", "), words.join("、"))
}

/// Which appointment a reminder is about.
pub(super) fn subject(kind: &Kind, id: &AppointmentId, at: DateTime<Utc>, zone: Zone) -> Said {
    let at = moment(at, zone);
    Said::new(
        format!("It is about `{kind}` `{id}` of this person, at {at}."),
        format!("提醒的是该用户的 {kind}（{id}），时间 {at}。"),
    )
}

/// Where an acceptance is known from.
pub(super) fn source(source: Source) -> Said {
    match source {
        Source::Session => Said::new("reported by the mini program", "由小程序上报"),
        Source::Backend => Said::new("reported by a backend", "由后端上报"),
        Source::Event => Said::new("pushed by WeChat", "由微信推送"),
        Source::Operator => Said::new("granted by an operator", "由运维人员登记"),
        Source::Import => Said::new("imported from a file", "从文件导入"),
    }
}

/// The grant that a delivery has.
pub(super) fn grant(grant: Option<&Grant>, zone: Zone) -> Said {
    match grant {
        Some(grant) => {
            let (at, source) = (moment(grant.accepted_at, zone), source(grant.source));
            Said::new(
                format!("One consent was taken for it: accepted at {at}, {source}."),
                format!("为它取用了一次授权：{at} 同意，{}。", source.zh),
            )
        }
        None => Said::new("A standing acceptance carries it.", "由长期授权支持发送。"),
    }
}

/// What an account holds now.
pub(super) fn account(account: Option<&Account>, template: &Template, zone: Zone) -> Said {
    let name = &template.name;
    let Some(account) = account else {
        return Said::new(
            format!("This person has never accepted template `{name}`, as far as the books know."),
            format!("账本里没有该用户同意过模板 `{name}` 的记录。"),
        );
    };
    let mut said = match (template.kind, account.standing) {
        (TemplateKind::LongTerm, Some(since)) => {
            let since = moment(since, zone);
            Said::new(
                format!("Consents now: a standing acceptance of template `{name}` since {since}."),
                format!("现在的授权：模板 `{name}` 的长期授权，自 {since} 起。"),
            )
        }
        (TemplateKind::LongTerm, None) => Said::new(
            format!("Consents now: no standing acceptance of template `{name}`."),
            format!("现在的授权：没有模板 `{name}` 的长期授权。"),
        ),
        (TemplateKind::OneTime, _) => {
            let (left, granted) = (account.available(), account.granted);
            let oldest = account.free.first().map(|grant| moment(grant.accepted_at, zone));
            let mut said = Said::new(
                format!("Consents now: {left} left for template `{name}`, of {granted} ever accepted"),
                format!("现在的授权：模板 `{name}` 还剩 {left} 次，累计同意过 {granted} 次"),
            );
            if let Some(oldest) = oldest {
                said = Said::new(
                    format!("{said}; the oldest accepted at {oldest}"),
                    format!("{}，最早一次在 {oldest} 同意", said.zh),
                );
            }
            Said::new(format!("{said}."), format!("{}。", said.zh))
        }
    };
    let mut add = |en: String, zh: String| {
        said.en.push_str(&en);
        said.zh.push_str(&zh);
    };
    if account.suspect {
        add(
            " WeChat refused the last message with 43101, so these books are suspect.".to_owned(),
            "微信上次以 43101 拒绝了消息，这个余额存疑。".to_owned(),
        );
    }
    if let Some(at) = account.refused_until {
        let at = moment(at, zone);
        add(
            format!(" Refused in the settings at {at}: what was accepted before counts no more."),
            format!("{at} 在设置里拒收，此前的同意都已作废。"),
        );
    }
    if let Some(at) = account.denied_until {
        let at = moment(at, zone);
        add(
            format!(" WeChat refused repeatedly: what was accepted before {at} counts no more."),
            format!("微信多次拒绝，{at} 之前的同意都已作废。"),
        );
    }
    if let Some(at) = account.rejected_at {
        let at = moment(at, zone);
        add(
            format!(" The last answer was a rejection, at {at}."),
            format!("最近一次的回答是拒绝，在 {at}。"),
        );
    }
    said
}

/// Why somebody without a grant gets nothing, and the cure.
pub(super) fn without(reason: SkipReason, template: &Template, who: &str) -> (Said, Said) {
    let name = &template.name;
    let ask = Said::new(
        format!(
            "Ask this person to tap subscribe again in the mini program; if the acceptance is known from elsewhere: \
             tixing consents grant --openid {who} --template {name}"
        ),
        format!(
            "请该用户在小程序里再点一次“订阅”；如果从别处知道已经同意：tixing consents grant --openid {who} --template {name}"
        ),
    );
    if reason == SkipReason::Refused {
        return (
            Said::new(
                format!("No consent is left for template `{name}`, and the last answer was a refusal."),
                format!("模板 `{name}` 没有剩余授权，而且该用户最近一次的回答是拒绝。"),
            ),
            Said::new(
                format!(
                    "Only the person can undo a refusal: allow the messages in the mini program's settings, then subscribe again. \
                     {}",
                    ask.en
                ),
                format!("只有用户本人能撤回拒绝：在小程序的设置里允许订阅消息，再重新订阅。{}", ask.zh),
            ),
        );
    }
    (
        Said::new(
            format!("No consent is left for template `{name}`: one acceptance is one message."),
            format!("模板 `{name}` 没有剩余授权：同意一次只能发一条。"),
        ),
        ask,
    )
}

/// Why somebody gets nothing all of whose grants wait for appointments.
pub(super) fn kept(template: &Template) -> Said {
    let name = &template.name;
    Said::new(
        format!(
            "No consent is free for template `{name}`: what is left was given for an appointment that is to come, and waits for it."
        ),
        format!("模板 `{name}` 没有可用的授权：剩下的是为还没到的预约给的，先留给该预约。"),
    )
}

/// Why a text cannot be made for somebody, and the cure.
pub(super) fn unfit(unfit: &Unfit) -> (Said, Said) {
    let key = &unfit.key;
    match (unfit.reason, &unfit.misfit, unfit.missing.as_slice()) {
        (SkipReason::MissingField, _, []) => (
            Said::new(
                format!("The text of `{key}` comes out empty."),
                format!("`{key}` 的内容填出来是空的。"),
            ),
            Said::new(
                format!(
                    "Give the fields that `{key}` shows a value, or write a default: {{{{ fields.x | default('…') }}}}."
                ),
                format!("给 `{key}` 用到的字段填上值，或写一个默认值：{{{{ fields.x | default('…') }}}}。"),
            ),
        ),
        (SkipReason::MissingField, _, missing) => {
            let names = listed(missing.iter().map(String::as_str));
            let first = missing.first().map_or("fields.x", String::as_str);
            (
                Said::new(
                    format!("The text of `{key}` shows {names}, which this person lacks."),
                    format!("`{key}` 的内容用到了 {}，该用户没有。", names.zh),
                ),
                Said::new(
                    format!(
                        "Set {names} (fields of POST /v1/consents, or tixing people import), or write a default: \
                         {{{{ {first} | default('…') }}}}."
                    ),
                    format!(
                        "补上 {}（POST /v1/consents 的 fields，或 tixing people import），或写一个默认值：{{{{ {first} | default('…') }}}}。",
                        names.zh
                    ),
                ),
            )
        }
        (_, Some(misfit), _) => {
            let allowed = misfit.allowed();
            (
                Said::new(
                    format!("The value of `{key}` does not fit its field; allowed: {allowed}."),
                    format!("`{key}` 的值不符合这类字段的要求：{}。", allowed.zh),
                ),
                Said::new(
                    format!(
                        "Shorten or correct the value; a text may also be cut: overflow: {{ {key}: cut }}."
                    ),
                    format!("缩短或改正这个值；文字也可以截断：overflow: {{ {key}: cut }}。"),
                ),
            )
        }
        (_, None, _) => (
            Said::new(
                format!("The text of `{key}` cannot be worked out for this person."),
                format!("`{key}` 的内容对该用户算不出来。"),
            ),
            Said::new(
                format!("Look at `{key}` in the rule: it fails on this person's values."),
                format!("检查规则里的 `{key}`：它用该用户的值时出错。"),
            ),
        ),
    }
}

/// What a 43101 has made of a standing acceptance by now, as the end of a sentence.
pub(in crate::admin) fn standing_after_denial(account: Option<&Account>) -> Said {
    match account {
        Some(Account { standing: Some(_), suspect: true, .. }) => Said::new(
            "the standing acceptance stands, but is suspect: one more 43101 ends it",
            "长期授权仍然有效，但存疑：再有一次 43101 就结束",
        ),
        Some(Account { standing: Some(_), suspect: false, .. }) => {
            Said::new("the standing acceptance stands", "长期授权仍然有效")
        }
        Some(Account { standing: None, .. }) | None => {
            Said::new("no standing acceptance is left: it has ended", "长期授权已经结束")
        }
    }
}

/// What a definite failure of the platform means, and the cure.
pub(super) fn failure(errcode: i64) -> (Said, Said) {
    match wechat::meaning(errcode) {
        Reply::NoConsent => (
            Said::new(
                format!("WeChat answered {errcode}: it knows no consent."),
                format!("微信返回 {errcode}：它那里没有授权。"),
            ),
            Said::new(
                "Ask this person to tap subscribe again in the mini program.",
                "请该用户在小程序里再点一次“订阅”。",
            ),
        ),
        Reply::RecipientBad { .. } => (
            Said::new(
                format!("WeChat answered {errcode}: this openid cannot get messages of this app."),
                format!("微信返回 {errcode}：这个 openid 收不到本小程序的消息。"),
            ),
            Said::new(
                "Check that the openid belongs to this appid and that the account still exists.",
                "检查 openid 是否属于这个 appid、账号是否还在。",
            ),
        ),
        Reply::MessageBad { .. } => (
            Said::new(
                format!("WeChat answered {errcode}: it does not like the content of the message."),
                format!("微信返回 {errcode}：消息内容不合要求。"),
            ),
            Said::new(
                "Compare the rule's data with the template's fields; list the fields in tixing.yaml so that they are checked before.",
                "对照模板的字段检查规则的 data；在 tixing.yaml 里列出 fields，就能提前检查。",
            ),
        ),
        Reply::TemplateBad { .. } => (
            Said::new(
                format!("WeChat answered {errcode}: the template or the page cannot be used."),
                format!("微信返回 {errcode}：模板或页面不能用。"),
            ),
            Said::new(
                "Check the template id in tixing.yaml, and that the rule's page is in the released version.",
                "检查 tixing.yaml 里的模板 ID，以及规则的 page 是否在已发布的版本里。",
            ),
        ),
        Reply::AppBad { .. } | Reply::TokenRefused { .. } => (
            Said::new(
                format!("WeChat answered {errcode}: it does not let this app send."),
                format!("微信返回 {errcode}：不允许这个小程序发送。"),
            ),
            Said::new("See `tixing status` for the app.", "用 tixing status 查看这个小程序的状态。"),
        ),
        Reply::Busy
        | Reply::Concurrent
        | Reply::RateLimited { .. }
        | Reply::QuotaUsedUp
        | Reply::Accepted { .. }
        | Reply::UnknownCode { .. }
        | Reply::NoToken
        | Reply::NotConnected
        | Reply::Unanswered => (
            Said::new(
                format!("WeChat answered {errcode}, a definite failure."),
                format!("微信返回 {errcode}，确定没有发出。"),
            ),
            Said::new(
                format!("Look {errcode} up in the platform's list of codes."),
                format!("在微信的错误码表里查 {errcode}。"),
            ),
        ),
    }
}
