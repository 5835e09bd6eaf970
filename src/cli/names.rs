//! What tables call their columns and the words in them, for people; JSON keeps the words of the program.

use serde_json::Value;

use crate::domain::language::Language;

/// The heading of a column.
pub(super) fn heading(key: &str, language: Language) -> String {
    match language {
        Language::English => key.replace('_', " "),
        Language::Chinese => chinese(key).unwrap_or(key).to_owned(),
    }
}

/// One of the words that a column holds: a state, a reason.
pub(super) fn word(text: &str, language: Language) -> &str {
    match language {
        Language::English => text,
        Language::Chinese => chinese(text).unwrap_or(text),
    }
}

/// Whether the texts of a column are words of the program, not names of admins.
pub(super) fn has_words(key: &str) -> bool {
    matches!(key, "state" | "reason" | "kind" | "why" | "skipped" | "would_skip")
}

/// A text that JSON has in both languages.
pub(super) fn said(value: &Value, language: Language) -> Option<&str> {
    let key = match language {
        Language::Chinese => "zh",
        Language::English => "en",
    };
    value.get(key)?.as_str()
}

/// An instant with its offset, easier to read: `2026-03-01 09:00 +08:00`.
pub(super) fn local(text: &str) -> String {
    let Some((date, time)) = text.split_once('T') else { return text.to_owned() };
    let (clock, offset) = time.split_at_checked(time.len().saturating_sub(6)).unwrap_or((time, ""));
    let clock = clock.strip_suffix(":00").filter(|clock| clock.len() == 5).unwrap_or(clock);
    format!("{date} {clock} {offset}")
}

/// Columns of a terminal that a text takes: Chinese characters take two.
pub(super) fn width(text: &str) -> usize {
    let wide = |c: char| {
        matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

fn chinese(word: &str) -> Option<&'static str> {
    Some(match word {
        "date" => "日期",
        "weekday" => "星期",
        "in" => "属于",
        "why" => "由来",
        "weekly" => "每周",
        "add" => "增加",
        "remove" => "去掉",
        "rule" => "规则",
        "appointment" => "预约",
        "local" => "当地时间",
        "due_at" => "应发时间",
        "zone" => "时区",
        "words" => "时间说明",
        "remark" => "备注",
        "would_send" => "会收到",
        "would_skip" => "收不到",
        "state" => "状态",
        "reason" => "原因",
        "n" => "次数",
        "audience" => "范围内",
        "sent" => "已发送",
        "undelivered" => "未送达",
        "presumed_sent" => "按已发送计",
        "refused" => "被拒绝",
        "failed" => "失败",
        "expired" => "已过期",
        "cancelled" => "已取消",
        "in_doubt" => "结果未知",
        "open" => "进行中",
        "skipped" => "已跳过",
        "held" => "暂停",
        "done" => "完成",
        "missed" => "错过",
        "reserved" => "待发送",
        "attempting" => "发送中",
        "waiting" => "等待重试",
        "no_consent" => "没有授权",
        "muted" => "已静音",
        "overflow" => "内容不合要求",
        "quiet" => "免打扰",
        "missing_field" => "缺少字段",
        "bad_recipient" => "无效用户",
        "recipients" => "接收者",
        "fields" => "字段",
        "deleted" => "已删除",
        "app" => "小程序",
        "template" => "模板",
        "kind" => "类型",
        "one_time" => "一次性",
        "long_term" => "长期",
        "granted" => "累计同意",
        "available" => "剩余",
        "consumed" => "已用",
        "voided" => "作废",
        "suspect" => "存疑",
        "attempts" => "尝试",
        "settled_at" => "结束时间",
        "found later than its grace or policy allows" => "发现时已超过 grace 或 missed 允许的时间",
        "rule removed or disabled" => "规则已删除或停用",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::State;
    use crate::domain::occurrence::{OccurrenceState, SkipReason};

    #[test]
    fn every_state_and_reason_has_a_chinese_word() {
        let occurrences = [
            OccurrenceState::Open,
            OccurrenceState::Held,
            OccurrenceState::Done,
            OccurrenceState::Missed,
            OccurrenceState::Cancelled,
        ];
        let states = State::ALL.into_iter().map(State::as_str);
        let reasons = SkipReason::ALL.into_iter().map(SkipReason::as_str);
        for text in states.chain(reasons).chain(occurrences.map(OccurrenceState::as_str)) {
            assert!(chinese(text).is_some(), "{text}");
            assert_eq!(word(text, Language::English), text);
        }
    }

    #[test]
    fn times_and_widths_are_for_eyes() {
        let table = [
            ("2026-03-01T09:00:00+08:00", "2026-03-01 09:00 +08:00"),
            ("2026-03-01T09:00:30+08:00", "2026-03-01 09:00:30 +08:00"),
            ("-", "-"),
        ];
        for (text, read) in table {
            assert_eq!(local(text), read);
        }
        for (text, n) in [("rule", 4), ("规则", 4), ("每天 09:00", 10), ("，", 2), ("…", 1)] {
            assert_eq!(width(text), n, "{text}");
        }
    }
}
