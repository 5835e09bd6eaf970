//! Problems of what a configuration says: apps, secrets, templates.

use super::{Problem, error, list, meant_or, seen, warning};
use crate::domain::language::{Phrase, Said};

/// Something may be the secret itself. It is not repeated.
pub(in crate::rules) fn inline_secret() -> Problem {
    error(
        "inline_secret",
        Said::new("a secret must not stand in this file", "密钥不能直接写在这个文件里"),
        Said::new(
            "say where it is: `{ credential: NAME }` (systemd), `{ file: PATH }` or `{ env: NAME }`; and renew \
             the secret if others could read this file",
            "写明它在哪里：`{ credential: 名称 }`（systemd）、`{ file: 路径 }` 或 `{ env: 变量名 }`；\
             如果别人可能看过这个文件，请重置密钥",
        ),
    )
}

/// What a secret's place must be.
pub(in crate::rules) const ONE_PLACE: Phrase =
    Phrase::new("exactly one of `credential`, `file`, `env`", "`credential`、`file`、`env` 三者之一");
/// What it is instead.
pub(in crate::rules) const NOT_ONE_PLACE: Phrase =
    Phrase::new("not one of them, or several", "一个也没有，或者有几个");

/// Two apps of one mini program.
pub(in crate::rules) fn duplicate_appid(first: &str) -> Problem {
    error(
        "duplicate_appid",
        Said::new(
            format!("the app {} has this appid already", seen(first)),
            format!("应用 {} 已经用了这个 AppID", seen(first)),
        ),
        Said::new("keep one app, and give it all templates", "只保留一个，把模板都放到它下面"),
    )
}

/// Two names of one template.
pub(in crate::rules) fn duplicate_template_id(first: &str) -> Problem {
    error(
        "duplicate_template_id",
        Said::new(
            format!("the template {} has this id already", seen(first)),
            format!("模板 {} 已经用了这个 ID", seen(first)),
        ),
        Said::new("keep one of the two names", "两个名称只保留一个"),
    )
}

/// An app that is not configured.
pub(in crate::rules) fn unknown_app(name: &str, known: &[String], meant: Option<&str>) -> Problem {
    error(
        "unknown_app",
        Said::new(format!("there is no app {}", seen(name)), format!("没有名为 {} 的应用", seen(name))),
        meant_or(meant, Phrase::new("apps in tixing.yaml", "tixing.yaml 里的应用"), &list(known)),
    )
}

/// Several apps, and none is named.
pub(in crate::rules) fn app_needed(known: &[String]) -> Problem {
    let known = list(known);
    error(
        "app_needed",
        Said::new(
            "several apps are configured, and nothing says which one this is for",
            "配置了几个应用，这里却没有写明是哪一个",
        ),
        Said::new(
            format!("add `app:` with one of: {}", known.en),
            format!("加上 `app:`，从这些里选一个：{}", known.zh),
        ),
    )
}

/// When the platform said what a configuration is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Heard {
    /// Just now: what differs from it does not work.
    Now,
    /// Some time ago, and it was kept: it may have changed since.
    Before,
}

/// The platform says otherwise, or said so when it was asked.
fn differs(code: &'static str, heard: Heard, message: Said, help: Said) -> Problem {
    match heard {
        Heard::Now => error(code, message, help),
        Heard::Before => warning(
            code,
            message,
            Said::new(
                format!("{}; or ask the platform again: `tixing templates pull`", help.en),
                format!("{}；或者重新拉取：`tixing templates pull`", help.zh),
            ),
        ),
    }
}

/// An id that no template of the account has.
pub(in crate::rules) fn template_not_on_platform() -> Problem {
    error(
        "template_not_on_platform",
        Said::new(
            "the mini program has no template of this id on the platform",
            "小程序后台没有这个 ID 的模板",
        ),
        Said::new(
            "`tixing templates pull` shows the templates there are, with their ids",
            "`tixing templates pull` 会列出现有的模板和它们的 ID",
        ),
    )
}

/// A template of the newer kind, which neither the panel nor a send takes; its title where it is known.
pub(in crate::rules) fn service_card(title: Option<&str>) -> Problem {
    let (en, zh) = title
        .map_or_else(Default::default, |title| (format!(" {}", seen(title)), format!(" {} ", seen(title))));
    error(
        "service_card",
        Said::new(
            format!("the template{en} is a service card (新版一次性订阅消息), and those cannot be used here"),
            format!("模板{zh}是新版一次性订阅消息（服务卡片），这里不能使用"),
        ),
        Said::new(
            "WeChat takes them neither in wx.requestSubscribeMessage nor in a send, but by calls of their own; choose a \
             template that has fields (`tixing templates pull` lists them)",
            "这类模板不能用 wx.requestSubscribeMessage 订阅，也不能用订阅消息接口发送，要走单独的接口；请换一个有字段的模板（`tixing \
             templates pull` 会列出）",
        ),
    )
}

/// A kind that is another one on the platform.
pub(in crate::rules) fn template_kind_differs(kind: &str, heard: Heard) -> Problem {
    differs(
        "template_kind_differs",
        heard,
        Said::new(
            format!("on the platform this template is {}", seen(kind)),
            format!("小程序后台里这个模板是 {}", seen(kind)),
        ),
        Said::new(format!("write `kind: {kind}`"), format!("请写 `kind: {kind}`")),
    )
}

/// A listed field that the platform's template does not have; `others` are those that are not listed.
pub(in crate::rules) fn template_field_missing(
    key: &str,
    others: &[&str],
    meant: Option<&str>,
    heard: Heard,
) -> Problem {
    differs(
        "template_field_missing",
        heard,
        Said::new(
            format!("the platform's template has no field {}", seen(key)),
            format!("小程序后台的模板没有字段 {}", seen(key)),
        ),
        meant_or(
            meant,
            Phrase::new("fields of the template that are not listed", "模板里还没有列出的字段"),
            &list(others),
        ),
    )
}

/// Fields of the platform's template that are not listed.
pub(in crate::rules) fn template_field_added(keys: &[&str], heard: Heard) -> Problem {
    let keys = list(keys);
    differs(
        "template_field_added",
        heard,
        Said::new(
            format!("the platform's template also has: {}", keys.en),
            format!("小程序后台的模板还有这些字段：{}", keys.zh),
        ),
        Said::new(
            "list all fields; a message without one of them is refused",
            "请列出全部字段；消息缺一个都会被平台拒绝",
        ),
    )
}

/// All fields, in another order.
pub(in crate::rules) fn template_fields_order(order: &[&str]) -> Problem {
    let order = order.join(", ");
    warning(
        "template_fields_order",
        Said::new(
            "the platform's template has these fields in another order",
            "小程序后台的模板里，这些字段的顺序不同",
        ),
        Said::new(format!("write `fields: [{order}]`"), format!("请写 `fields: [{order}]`")),
    )
}

/// Acceptances that are to come by events, and no events come.
pub(in crate::rules) fn events_without_push() -> Problem {
    error(
        "events_without_push",
        Said::new(
            "consents would come from events, and no events are taken",
            "订阅次数要从事件来，但没有配置接收事件",
        ),
        Said::new(
            "give `push` too: `push: { token: { credential: clinic-push-token }, aes_key: { credential: \
             clinic-aes-key } }`, or write `consents_from: reports`",
            "再写上 `push`：`push: { token: { credential: clinic-push-token }, aes_key: { credential: \
             clinic-aes-key } }`，或者写 `consents_from: reports`",
        ),
    )
}

/// Acceptances that are to come by events of which none may grant.
pub(in crate::rules) fn events_without_aes_key() -> Problem {
    error(
        "events_without_aes_key",
        Said::new(
            "consents would come from events, and events that are not encrypted grant none: anybody who saw one could \
             make others",
            "订阅次数要从事件来，而未加密的事件不计次数：看到过一条的人就能伪造",
        ),
        Said::new(
            "choose safe mode (安全模式) in the console and give its key: `push: { token: …, aes_key: { credential: \
             clinic-aes-key } }`, or write `consents_from: reports`",
            "在小程序后台选“安全模式”，并写上密钥：`push: { token: …, aes_key: { credential: clinic-aes-key } }`，\
             或者写 `consents_from: reports`",
        ),
    )
}

/// Acceptances come by events alone, of which the platform may not send all.
pub(in crate::rules) fn events_may_miss() -> Problem {
    warning(
        "events_may_miss",
        Said::new(
            "an acceptance that the platform pushes no event for grants nothing: those of \"always keep\" are \
             not known to be pushed, and an event may be lost",
            "平台没有推送事件的同意不会计入：勾选“总是保持以上选择”后的静默同意是否推送没有说明，事件也可能丢失",
        ),
        Said::new(
            "report acceptances from the mini program and write `consents_from: reports`, the default",
            "由小程序上报结果，并写成默认的 `consents_from: reports`",
        ),
    )
}

/// A template whose fields nobody listed.
pub(in crate::rules) fn unchecked_template(name: &str) -> Problem {
    warning(
        "unchecked_template",
        Said::new(
            format!(
                "the fields of the template {} are not listed, so texts for it are not checked",
                seen(name)
            ),
            format!("没有列出模板 {} 的字段，因此无法检查为它写的内容", seen(name)),
        ),
        Said::new(
            "list them in their order as the platform shows them: `fields: [thing1, time2]`, or run \
             `tixing templates pull`",
            "按小程序后台“详细内容”的顺序列出：`fields: [thing1, time2]`，或者运行 `tixing templates pull`",
        ),
    )
}

/// A field of an unknown type.
pub(in crate::rules) fn unknown_field_type(key: &str) -> Problem {
    warning(
        "unknown_field_type",
        Said::new(
            format!("{} is of a type that the platform's table does not have; it is not checked", seen(key)),
            format!("平台的参数表里没有 {} 这种类型，因此不检查它的内容", seen(key)),
        ),
        Said::new(
            "compare it with the template on mp.weixin.qq.com; keys look like `thing1`",
            "请与 mp.weixin.qq.com 上的模板核对；字段形如 `thing1`",
        ),
    )
}
