//! How results look to people: which columns a table has, and single objects as text.

use serde_json::Value;

use super::names;
use super::print::Look;
use crate::domain::language::{Language, Phrase, Said};

pub(super) const CONSENTS: Look = Look::Table(&[
    "app",
    "openid",
    "template",
    "kind",
    "granted",
    "available",
    "reserved",
    "in_doubt",
    "consumed",
    "voided",
    "suspect",
]);
pub(super) const GRANT: Look =
    Look::Table(&["app", "openid", "template", "n", "granted", "available", "reserved", "in_doubt"]);
pub(super) const OCCURRENCES: Look = Look::Table(&[
    "rule",
    "local",
    "zone",
    "state",
    "reason",
    "n",
    "audience",
    "sent",
    "undelivered",
    "presumed_sent",
    "refused",
    "failed",
    "expired",
    "cancelled",
    "in_doubt",
    "open",
    "skipped",
]);
pub(super) const DELIVERIES: Look =
    Look::Table(&["id", "rule", "due_at", "openid", "state", "reason", "attempts", "msgid", "settled_at"]);
pub(super) const APPOINTMENTS: Look = Look::Table(&["app", "kind", "id", "at", "recipients", "fields"]);
pub(super) const APPOINTMENT: Look = Look::Text(appointment);
pub(super) const PERSON: Look = Look::Told(person);
pub(super) const IN_APPS: Look = Look::Table(&["app", "openid", "state"]);
pub(super) const DELETED: Look = Look::Table(&["app", "kind", "id", "state"]);
pub(super) const SETTLED: Look = Look::Table(&["id", "rule", "state", "n"]);
pub(super) const DOUBT: Look = Look::Told(doubt);
pub(super) const NEXT: Look =
    Look::Table(&["rule", "appointment", "local", "zone", "would_send", "would_skip", "words", "remark"]);
pub(super) const DUES: Look = Look::Table(&["due_at", "local", "remark"]);
pub(super) const CALENDAR: Look = Look::Table(&["date", "weekday", "in", "why"]);
pub(super) const IMPORT: Look = Look::Text(import);
pub(super) const BACKUP: Look = Look::Told(backup);
pub(super) const RESTORE: Look = Look::Told(restore);
pub(super) const CLOCK: Look = Look::Table(&["clock", "at"]);
pub(super) const PAUSED: Look = Look::Table(&["scope", "app", "rule", "paused", "since", "reason"]);
pub(super) const RELEASED: Look = Look::Table(&["rule", "due_at", "state", "n"]);
pub(super) const FSCK: Look = Look::Text(fsck);
pub(super) const EXPLAIN: Look = Look::Text(explain);
pub(super) const SEND: Look = Look::Text(sent);
pub(super) const STATUS: Look = Look::Text(status);
pub(super) const RELOAD: Look = Look::Told(reload);

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("-")
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn import(value: &Value) -> String {
    let (rows, already) = (number(value, "rows"), number(value, "already"));
    let mut parts = vec![format!("{} of {rows} rows imported now", rows.saturating_sub(already))];
    if already > 0 {
        parts.push(format!("{already} were there already"));
    }
    if let Some(asked) = value["asked"].as_u64().filter(|asked| *asked > 0) {
        parts.push(format!("{} granted of {asked} asked for", number(value, "granted")));
    }
    if let Some(changed) = value["changed"].as_u64() {
        parts.push(format!("{changed} of them new or changed"));
    }
    parts.join(", ")
}

fn appointment(value: &Value) -> String {
    let texts = |key: &str| -> Vec<&str> {
        value[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut lines = vec![
        format!(
            "{}/{} of app {}: {}",
            text(value, "kind"),
            text(value, "id"),
            text(value, "app"),
            text(value, "at")
        ),
        format!("  {}", texts("recipients").join(", ")),
    ];
    let fields = value["fields"].as_object().into_iter().flatten();
    lines.extend(fields.map(|(name, field)| {
        format!("  {name}: {}", field.as_str().map_or_else(|| field.to_string(), str::to_owned))
    }));
    let reminders = value["reminders"].as_array().into_iter().flatten();
    lines.extend(reminders.map(|one| {
        format!(
            "  {} due {} for {}: {}",
            text(one, "rule"),
            text(one, "due_at"),
            text(one, "of"),
            text(one, "state")
        )
    }));
    lines.join("\n")
}

fn person(value: &Value, language: Language) -> String {
    let chinese = language == Language::Chinese;
    let none = || if chinese { "没有 unionid" } else { "no unionid" }.to_owned();
    let unionid = value["person"].as_str().map_or_else(none, str::to_owned);
    let mut lines =
        vec![if chinese { format!("同一人：{unionid}") } else { format!("one person: {unionid}") }];
    for one in value["recipients"].as_array().into_iter().flatten() {
        let mut marks = Vec::new();
        if let Some(reference) = one["ref"].as_str() {
            marks.push(format!("ref {reference}"));
        }
        if one["muted"] == true {
            marks.push(if chinese { "已静音" } else { "muted" }.to_owned());
        }
        if let Some(since) = one["bad_since"].as_str() {
            marks.push(if chinese {
                format!("微信自 {since} 起不收发给此人的消息")
            } else {
                format!("WeChat takes no messages for him since {since}")
            });
        }
        let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
        lines.push(format!("{} {}{marks}", text(one, "app"), text(one, "openid")));
        for account in one["consents"].as_array().into_iter().flatten() {
            let (template, left) = (text(account, "template"), number(account, "available"));
            let (reserved, doubt) = (number(account, "reserved"), number(account, "in_doubt"));
            let kind = text(account, "kind");
            let with = account["accepted_with"].as_str().map_or_else(String::new, |with| format!(", {with}"));
            lines.push(if chinese {
                format!("  {template}（{kind}{with}）：可用 {left}，已预留 {reserved}，存疑 {doubt}")
            } else {
                format!(
                    "  {template} ({kind}{with}): {left} available, {reserved} reserved, {doubt} in doubt"
                )
            });
        }
    }
    lines.join("\n")
}

fn backup(value: &Value, language: Language) -> String {
    let (records, bytes, path) = (number(value, "records"), number(value, "bytes"), text(value, "path"));
    match language {
        Language::English => format!("{records} records, {bytes} bytes, written to {path} and read back"),
        Language::Chinese => format!("{records} 条记录，{bytes} 字节，已写入 {path} 并读回核对"),
    }
}

fn restore(value: &Value, language: Language) -> String {
    let (records, made_at) = (number(value, "records"), text(value, "made_at"));
    let hold = text(value, "hold");
    let said = match number(value, "violations") {
        0 => Said::new("the books balance", "账本平衡"),
        n => Said::new(
            format!("the books do not balance, {n} violations: `tixing fsck` tells them"),
            format!("账本不平，{n} 处不符：`tixing fsck` 会列出"),
        ),
    };
    let balance = said.to(language);
    match language {
        Language::English => {
            format!("{records} records of {made_at} restored; {balance}\neverything is on hold: {hold}")
        }
        Language::Chinese => format!("已恢复 {made_at} 的 {records} 条记录；{balance}\n全部停发：{hold}"),
    }
}

fn fsck(value: &Value) -> String {
    let counted = format!(
        "{} accounts, {} grants, {} deliveries counted",
        number(value, "accounts"),
        number(value, "grants"),
        number(value, "deliveries")
    );
    if value["ok"] == true {
        return format!("the books balance: {counted}");
    }
    let violations = value["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!("the books do not balance, {} violations: {counted}", violations.len())];
    lines
        .extend(violations.iter().map(|found| format!("  {}: {}", text(found, "code"), text(found, "text"))));
    lines.join("\n")
}

/// Its sentences come in the reader's language; what stands around them is the same in all.
fn explain(value: &Value) -> String {
    let due = value["local"].as_str().map(|at| format!(", {} {}", names::local(at), text(value, "zone")));
    let reason = value["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut lines = vec![
        format!("{} → {}{}", text(value, "rule"), text(value, "openid"), due.unwrap_or_default()),
        format!("{}{reason}: {}", text(value, "outcome"), text(value, "why")),
    ];
    let steps = value["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(
        steps
            .iter()
            .enumerate()
            .map(|(n, step)| format!("  {}. {}", n + 1, step.as_str().unwrap_or_default())),
    );
    lines.extend(value["cure"].as_str().map(|cure| format!("  ⇒ {cure}")));
    lines.push(String::new());
    lines.join("\n")
}

fn doubt(value: &Value, language: Language) -> String {
    let of = |key: &str| text(value, key);
    let (id, rule, openid, state) = (of("id"), of("rule"), of("openid"), of("state"));
    let (due, template, since, why) = (of("due_at"), of("template"), of("since"), of("why"));
    let (n, presumed) = (number(value, "attempts"), of("presumed_at"));
    let tried = match (value["first_started_at"].as_str(), language) {
        (Some(first), Language::English) => format!("{n} attempts, the first at {first}"),
        (Some(first), Language::Chinese) => format!("试过 {n} 次，第一次在 {first}"),
        (None, Language::English) => "no attempt is in the books".to_owned(),
        (None, Language::Chinese) => "账本里没有发送记录".to_owned(),
    };
    let mut lines = match language {
        Language::English => vec![
            format!("{id} of rule {rule} to {openid}: {state}"),
            format!("  due {due}, template {template}"),
            format!("  {tried}"),
            format!("  in doubt since {since}: {why}"),
            format!("  counts as sent at {presumed}"),
        ],
        Language::Chinese => vec![
            format!("{id}，规则 {rule}，发给 {openid}：{state}"),
            format!("  应在 {due} 发送，模板 {template}"),
            format!("  {tried}"),
            format!("  从 {since} 起存疑：{why}"),
            format!("  到 {presumed} 算作已发送"),
        ],
    };
    let named = [
        ("repeats", Phrase::new("it repeats", "重发的是")),
        ("repeated_as", Phrase::new("sent again as", "已重发为")),
    ];
    for (key, said) in named {
        lines.extend(value[key].as_str().map(|id| format!("  {} {id}", said.to(language))));
    }
    lines.extend(value["again"].as_str().map(|again| format!("  {again}")));
    lines.push(format!("  ⇒ {}", of("cure")));
    lines.join("\n")
}

/// Its sentences come in the reader's language, as those of `explain`.
fn sent(value: &Value) -> String {
    let reason = value["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut lines = vec![
        format!("{} → {}, {}", text(value, "rule"), text(value, "openid"), text(value, "template")),
        format!("{}{reason}: {}", text(value, "state"), text(value, "why")),
    ];
    let data = value["data"].as_object().into_iter().flatten();
    lines.extend(data.map(|(key, field)| format!("  {key}: {}", field.as_str().unwrap_or_default())));
    lines.extend(value["page"].as_str().map(|page| format!("  page: {page}")));
    lines.extend(value["id"].as_str().map(|id| format!("  {id}")));
    lines.join("\n")
}

fn reload(value: &Value, language: Language) -> String {
    let say = |en: &str, zh: &str| match language {
        Language::English => en.to_owned(),
        Language::Chinese => zh.to_owned(),
    };
    let mut lines = diagnostics(value);
    if value["ok"] == true {
        let [added, changed, removed] =
            ["added", "changed", "removed"].map(|key| value[key].as_array().map_or(0, Vec::len));
        lines.push(say(
            &format!("the files are in force: {added} rules added, {changed} changed, {removed} removed"),
            &format!("文件已生效：新增 {added} 条规则，改动 {changed} 条，删除 {removed} 条"),
        ));
        lines.extend(differences(value, language));
    } else {
        lines.push(say(
            "the files were refused; what was in force stays in force",
            "文件有误，没有生效；原来的继续用",
        ));
    }
    let restart = value["needs_restart"].as_array().map(Vec::as_slice).unwrap_or_default();
    let restart = restart.iter().map(|key| key.as_str().unwrap_or_default());
    lines.extend(restart.map(|key| say(&format!("needs restart: {key}"), &format!("重启后才生效：{key}"))));
    lines.join("\n")
}

/// Which rules a reload brought, with their first due times, and which it took.
fn differences(value: &Value, language: Language) -> Vec<String> {
    /// More are left to `--json`: nobody reads them on a terminal.
    const MAX_LISTED: usize = 50;
    let list = |key: &str| value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let first_due = |rule: &Value| -> Option<String> {
        let found = list("first_due").iter().find(|first| first["rule"] == *rule)?;
        let words = names::said(&found["words"], language).unwrap_or_default();
        let due = found["local"].as_str().map(|at| format!("{} {}", names::local(at), text(found, "zone")));
        Some(match (due, language) {
            (Some(due), Language::English) => format!(": {words}; first due {due}"),
            (Some(due), Language::Chinese) => format!("：{words}；第一次是 {due}"),
            (None, Language::English) => format!(": {words}; never due again"),
            (None, Language::Chinese) => format!("：{words}；不会再到期"),
        })
    };
    let mut lines = Vec::new();
    for (change, zh) in [("added", "新增"), ("changed", "改动"), ("removed", "删除")] {
        let head = match language {
            Language::English => format!("{change:<7}"),
            Language::Chinese => zh.to_owned(),
        };
        let listed = list(change);
        for rule in listed.iter().take(MAX_LISTED) {
            let id = rule.as_str().unwrap_or_default();
            lines.push(format!("  {head} {id}{}", first_due(rule).unwrap_or_default()));
        }
        if listed.len() > MAX_LISTED {
            lines.push(format!("  {head} … +{}: --json", listed.len() - MAX_LISTED));
        }
    }
    lines
}

fn diagnostics(value: &Value) -> Vec<String> {
    let found = value["diagnostics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |found: &Value| {
        format!(
            "{}:{}:{}: {}[{}]: {}\n  help: {}",
            text(found, "file"),
            number(found, "line"),
            number(found, "column"),
            text(found, "severity"),
            text(found, "code"),
            text(found, "message"),
            text(found, "help")
        )
    };
    found.iter().map(line).collect()
}

fn status(value: &Value) -> String {
    let mut lines = Vec::new();
    let ready = if value["ready"] == true { "ready" } else { "not ready" };
    lines.push(format!("tixing {} is {ready}, hook at {}", text(value, "version"), text(value, "hook")));
    if let Some(hold) = value["hold"].as_str() {
        lines.push(format!("everything is on hold: {hold}"));
    }
    if let Some(apps) = value["apps"].as_object() {
        for (name, app) in apps {
            let reason = app["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push(format!("app {name}: {}{reason}", text(app, "state")));
            let quota = &app["quota"];
            if quota.is_object() {
                let foreseen = quota["foreseen"].as_u64();
                lines.push(format!(
                    "  quota: {} of {} messages are left today, as of {}{}",
                    number(quota, "remain"),
                    number(quota, "daily_limit"),
                    text(quota, "at"),
                    foreseen.map(|n| format!("; {n} more are foreseen")).unwrap_or_default()
                ));
            }
        }
    }
    lines.push(format!("rules: {} loaded", number(&value["rules"], "loaded")));
    for held in value.pointer("/rules/held").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("  held: {}: {}", text(held, "rule"), text(held, "reason")));
    }
    let open: Vec<String> = value["open"]
        .as_object()
        .map(|open| open.iter().map(|(state, n)| format!("{n} {state}")).collect())
        .unwrap_or_default();
    lines.push(format!(
        "open deliveries: {}",
        if open.is_empty() { "none".to_owned() } else { open.join(", ") }
    ));
    lines.push(format!("clock: {}, zone data: {}", text(value, "clock"), text(value, "zone_data")));
    let store = &value["store"];
    lines.push(match store["reason"].as_str() {
        Some(why) => format!("store: {why}"),
        None => format!(
            "store: {} KiB, {} groups since the start, last sync {} µs",
            number(store, "disk_bytes") / 1024,
            number(store, "n_groups"),
            number(store, "last_sync_us")
        ),
    });
    let reload = &value["reload"];
    let ok = if reload["ok"] == true { "in force" } else { "refused" };
    lines.push(format!("files as of {}: {ok}", text(reload, "at")));
    lines.extend(diagnostics(reload));
    for one in value["drift"].as_array().into_iter().flatten() {
        lines.push(format!(
            "drift of app {}, template {}, consents by {}: {} denied (43101) that the books had, {} sent at zero; last {}",
            text(one, "app"),
            text(one, "template"),
            text(one, "evidence"),
            number(one, "denied"),
            number(one, "sent_at_zero"),
            text(one, "last_at")
        ));
    }
    for need in value["needs_attention"].as_array().map(Vec::as_slice).unwrap_or_default() {
        lines.push(format!("needs attention: {}", need.as_str().unwrap_or_default()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_objects_read_as_sentences() {
        let value = serde_json::json!({"rows": 100, "already": 40, "asked": 300, "granted": 299});
        assert_eq!(
            import(&value),
            "60 of 100 rows imported now, 40 were there already, 299 granted of 300 asked for"
        );
        let value = serde_json::json!({"ok": true, "added": ["tea"], "changed": ["walk"], "removed": ["nap"],
            "first_due": [{"rule": "tea", "due_at": "2026-03-01T01:00:00Z", "local": "2026-03-01T09:00:00+08:00", "zone": "Asia/Shanghai",
                "words": {"en": "every day at 09:00", "zh": "每天 09:00"}},
                {"rule": "walk", "due_at": null, "local": null, "zone": "Asia/Shanghai", "words": {"en": "on one day", "zh": "某一天"}}], "diagnostics": [], "needs_restart": ["hook"]});
        assert_eq!(
            reload(&value, Language::English),
            "the files are in force: 1 rules added, 1 changed, 1 removed\n  added   tea: every day at 09:00; first due 2026-03-01 09:00 +08:00 Asia/Shanghai\n  \
             changed walk: on one day; never due again\n  removed nap\nneeds restart: hook"
        );
        assert_eq!(
            reload(&value, Language::Chinese),
            "文件已生效：新增 1 条规则，改动 1 条，删除 1 条\n  新增 tea：每天 09:00；第一次是 2026-03-01 09:00 +08:00 Asia/Shanghai\n  \
             改动 walk：某一天；不会再到期\n  删除 nap\n重启后才生效：hook"
        );
        let value = serde_json::json!({"ok": false, "accounts": 1, "grants": 2, "deliveries": 3,
            "violations": [{"code": "unbalanced", "text": "one more"}]});
        assert_eq!(
            fsck(&value),
            "the books do not balance, 1 violations: 1 accounts, 2 grants, 3 deliveries counted\n  unbalanced: one more"
        );
    }
}
