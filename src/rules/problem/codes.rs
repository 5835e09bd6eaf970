//! The codes of all problems. They are pinned: scripts and editors branch on them.

use crate::domain::language::Phrase;

/// All codes with what they stand for, in the order of the alphabet.
pub const CODES: &[(&str, Phrase)] = &[
    ("alias", Phrase::new("a YAML alias (`*name`)", "YAML 别名（`*名称`）指向不存在的锚点")),
    (
        "always_cut",
        Phrase::new("a constant text that is longer than its field", "固定文本比字段长，每次都会被截断"),
    ),
    (
        "always_quiet",
        Phrase::new("a rule whose due times are all in its quiet hours", "触发时间全在免打扰时段里的规则"),
    ),
    ("app_needed", Phrase::new("several apps, and none is named", "有几个应用，却没有写明是哪一个")),
    (
        "at_least_once",
        Phrase::new(
            "a rule that sends again what has no answer, so that it may arrive twice",
            "没有答复就会重发、可能重复送达的规则",
        ),
    ),
    ("bad_cron", Phrase::new("a cron expression that cannot be read", "cron 表达式写法有误")),
    (
        "bad_duration",
        Phrase::new(
            "a length of time that cannot be read, or is zero or negative",
            "时长写法有误，或者为零、为负",
        ),
    ),
    (
        "bad_expression",
        Phrase::new("a text or condition with a mistake in its {{ … }}", "文本或条件里的 {{ … }} 有误"),
    ),
    ("bad_name", Phrase::new("a name with characters that names cannot have", "名称里有不允许的字符")),
    (
        "bad_page",
        Phrase::new("a page whose path is not constant or cannot be opened", "页面路径不固定，或者打不开"),
    ),
    ("bad_time", Phrase::new("a date and time that cannot be read", "日期时间写法有误")),
    ("bad_value", Phrase::new("a value that is not one of the possible ones", "不是允许的取值")),
    (
        "clock_change",
        Phrase::new("a due time that a clock change skips or repeats", "时钟切换会跳过或重复的触发时间"),
    ),
    (
        "constant_condition",
        Phrase::new("a condition that is the same for everybody", "对所有人结果都一样的条件"),
    ),
    (
        "control_character",
        Phrase::new("a control character such as NUL in the file", "文件里有 NUL 之类的控制字符"),
    ),
    (
        "crowded",
        Phrase::new(
            "more than three rules that want the same consent on one day",
            "同一天有三条以上的规则要用同一份订阅",
        ),
    ),
    (
        "does_not_fit",
        Phrase::new("a constant value that its template field cannot hold", "固定内容不符合模板字段的要求"),
    ),
    ("duplicate_appid", Phrase::new("two apps with one appid", "两个应用用了同一个 AppID")),
    ("duplicate_key", Phrase::new("a key twice in one place", "同一处有两个相同的键")),
    ("duplicate_rule", Phrase::new("two rules with one id", "两条规则用了同一个 id")),
    (
        "duplicate_template_id",
        Phrase::new("two templates of an app with one id", "同一个应用里两个模板用了同一个 ID"),
    ),
    ("either_day", Phrase::new("days of the month and days of the week at once", "同时写了“日”和“周”")),
    (
        "emptied_folder",
        Phrase::new("a schedule folder that has lost all its files", "规则文件夹里的文件全都不见了"),
    ),
    ("empty_file", Phrase::new("a file without content", "文件没有内容")),
    ("empty_list", Phrase::new("a list without entries", "列表里一项也没有")),
    (
        "events_may_miss",
        Phrase::new("consents from events alone, of which some may not come", "只从事件计订阅次数，可能会漏"),
    ),
    (
        "events_without_aes_key",
        Phrase::new("consents from events that are not encrypted", "要从未加密的事件计订阅次数"),
    ),
    (
        "events_without_push",
        Phrase::new("consents from events that are not taken", "要从事件计订阅次数，却没有配置接收事件"),
    ),
    ("file_too_large", Phrase::new("a file over 1 MiB", "文件超过 1 MiB")),
    ("files_changing", Phrase::new("files that change while they are read", "读取时一直在变的文件")),
    ("folder_too_large", Phrase::new("schedule files over 8 MiB in all", "提醒规则文件总共超过 8 MiB")),
    ("grace_too_short", Phrase::new("a grace under 60 seconds", "`grace` 不足 60 秒")),
    (
        "ignored_file",
        Phrase::new("a file that is not read because of its name", "因文件名而没有被读取的文件"),
    ),
    ("impossible_date", Phrase::new("a date or time of day that does not exist", "不存在的日期或时间")),
    ("inline_secret", Phrase::new("a secret in the file itself", "密钥直接写在了文件里")),
    (
        "kept_copy_damaged",
        Phrase::new(
            "the kept copy of the last good files is not what was written",
            "上一份可用文件的备份与当初写入的不一致",
        ),
    ),
    ("key_is_no_text", Phrase::new("a key that is a list or a map", "键是列表或一组键值")),
    ("many_a_day", Phrase::new("a rule that is due more than 24 times a day", "一天触发 24 次以上的规则")),
    (
        "merge_key",
        Phrase::new("a YAML merge key (`<<`) with something that is no map", "YAML 合并键（`<<`）用法有误"),
    ),
    ("missing_field", Phrase::new("a field of the template without a text", "模板的字段没有写内容")),
    ("missing_key", Phrase::new("a key that is needed", "缺少必填的配置项")),
    ("never_fires", Phrase::new("a rule that is never due", "永远不会触发的规则")),
    ("no_effect", Phrase::new("a key that does nothing here", "写在这里不起作用的配置项")),
    ("no_folder", Phrase::new("the schedule folder is not there", "提醒规则文件夹不存在")),
    ("no_rules", Phrase::new("a folder without a rule", "文件夹里一条规则也没有")),
    ("no_value", Phrase::new("a key without a value", "键后面没有值")),
    ("no_when", Phrase::new("a `when` without a form", "`when` 里没有写时间")),
    ("not_utf8", Phrase::new("a file that is not UTF-8", "文件不是 UTF-8 编码")),
    ("not_yet", Phrase::new("a key that this version does not carry out yet", "当前版本尚不支持的配置项")),
    ("numeric_weekday", Phrase::new("a day of the week written as a number", "星期写成了数字")),
    ("past", Phrase::new("a rule whose times have all passed", "时间已全部过去的规则")),
    ("rare_days", Phrase::new("days that some months do not have", "有的月份没有的日子")),
    ("repeated", Phrase::new("a value twice in one list", "列表里有重复的值")),
    ("secret_unusable", Phrase::new("a secret that cannot be read or used", "无法读取或无法使用的密钥")),
    (
        "service_card",
        Phrase::new("a template of the newer kind that cannot be used", "不能使用的新版一次性订阅模板"),
    ),
    ("several_documents", Phrase::new("`---` with a second document", "用 `---` 写了第二个 YAML 文档")),
    (
        "skipped_time",
        Phrase::new(
            "a single time that the clock skips, and nothing takes its place",
            "时钟会跳过、又不顺延的单个时间",
        ),
    ),
    ("syntax", Phrase::new("a text that is not YAML", "不是合法的 YAML")),
    ("tab", Phrase::new("a tab where YAML wants spaces", "该用空格的地方用了制表符")),
    ("template_by_id", Phrase::new("a template named by its platform id", "用模板 ID 代替了模板名称")),
    (
        "template_field_added",
        Phrase::new("a field of the platform's template that is not listed", "没有列出的模板字段"),
    ),
    (
        "template_field_missing",
        Phrase::new("a listed field that the platform's template does not have", "平台模板里没有的字段"),
    ),
    (
        "template_fields_order",
        Phrase::new("fields in another order than the platform has them", "字段顺序与平台不同"),
    ),
    (
        "template_kind_differs",
        Phrase::new("a kind that is another one on the platform", "模板类型与平台不同"),
    ),
    (
        "template_not_on_platform",
        Phrase::new("a template that the platform does not have", "平台上没有的模板"),
    ),
    ("too_deep", Phrase::new("values nested too deep", "嵌套太深")),
    ("too_many", Phrase::new("a list with too many entries", "列表里的项太多")),
    ("too_many_diagnostics", Phrase::new("more diagnostics than are listed", "问题太多，没有全部列出")),
    ("too_many_files", Phrase::new("too many schedule files", "提醒规则文件太多")),
    ("too_many_rules", Phrase::new("too many rules in all files", "规则总数太多")),
    ("too_many_values", Phrase::new("a file with too many values", "一个文件里的值太多")),
    (
        "too_slow",
        Phrase::new("an audience that cannot be served within `grace`", "在 `grace` 内发不完的接收者数"),
    ),
    ("two_forms", Phrase::new("a `when` with two forms", "一个 `when` 里写了两种时间")),
    ("type_tag", Phrase::new("a YAML type tag (`!name`)", "YAML 类型标签（`!名称`）")),
    ("unchecked_template", Phrase::new("a template whose fields are not listed", "没有列出字段的模板")),
    ("unknown_app", Phrase::new("an app that `tixing.yaml` does not have", "`tixing.yaml` 里没有的应用")),
    ("unknown_calendar", Phrase::new("a calendar that does not exist", "不存在的日历")),
    ("unknown_field", Phrase::new("a field that the template does not have", "模板里没有的字段")),
    (
        "unknown_field_type",
        Phrase::new("a template field of a type that no table knows", "平台参数表里没有的字段类型"),
    ),
    ("unknown_key", Phrase::new("a key that does not exist here", "这里没有的配置项")),
    ("unknown_template", Phrase::new("a template that the app does not have", "应用里没有的模板")),
    ("unknown_zone", Phrase::new("a time zone that does not exist", "不存在的时区")),
    (
        "unquoted",
        Phrase::new(
            "a text that YAML takes for something else unless it is quoted",
            "不加引号就会被 YAML 误解的文本",
        ),
    ),
    ("unreadable", Phrase::new("a file that cannot be read", "无法读取的文件")),
    ("unseen_field", Phrase::new("a field that no recipient has", "没有任何接收者有的字段")),
    ("unseen_tag", Phrase::new("a tag that no recipient has", "没有任何接收者有的标签")),
    (
        "wrong_shape",
        Phrase::new("a text, list or map where another is needed", "该写文本、列表或键值的地方写成了别的"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_none_is_there_twice() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
