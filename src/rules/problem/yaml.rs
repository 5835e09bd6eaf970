//! Problems of a text as YAML.

use super::{Problem, error, half_width, seen};
use crate::domain::language::{Phrase, Said};

/// What was probably meant, from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Hint {
    /// A colon, comma, quote or space of the Chinese keyboard.
    FullWidth(char),
    /// `key:value`.
    SpaceAfterColon,
    /// A text with `: ` or ` #` in it.
    QuoteText,
    /// A quote that does not end.
    CloseQuote,
    /// A bracket that does not end.
    CloseBracket,
    /// A backslash in double quotes.
    Backslash,
    /// The line begins in a column where nothing can begin.
    Indentation,
    /// The line stands deeper than one whose key has a value.
    Nested,
    /// `text#comment`
    SpaceBeforeComment,
    /// `// comment`
    Slashes,
    /// `<<<<<<< HEAD`
    MergeConflict,
}

/// A value that YAML takes for something else unless it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Unquoted {
    /// `*/5 * * * *`
    Cron,
    /// `{{ ref }}` or `{% if … %}`
    Expression,
    /// `{{thing1.DATA}}`, as the platform shows a template.
    Platform,
    /// A text that begins with this.
    Mark(char),
}

/// The grammar is against it.
pub(in crate::rules) fn syntax(what: &Said, hint: Option<Hint>) -> Problem {
    let help = hint.map_or_else(
        || {
            Said::new(
                "compare this line and the one above with the examples in schedules/",
                "对照 schedules/ 里的示例，检查这一行和上一行",
            )
        },
        advice,
    );
    error(
        "syntax",
        Said::new(format!("this is not YAML: {}", what.en), format!("这不是合法的 YAML：{}", what.zh)),
        help,
    )
}

/// What a hint says to do.
pub(super) fn advice(hint: Hint) -> Said {
    match hint {
        Hint::FullWidth(c) => {
            let half = half_width(c);
            Said::new(
                format!("there is a full-width `{c}` in this line; type `{half}` instead"),
                format!("这一行有全角的 `{c}`，请改成半角的 `{half}`"),
            )
        }
        Hint::SpaceAfterColon => {
            Said::new("put a space after the colon: `key: value`", "冒号后面要加一个空格：`key: value`")
        }
        Hint::QuoteText => {
            Said::new("put the text in double quotes: `key: \"text\"`", "给文本加上双引号：`key: \"文本\"`")
        }
        Hint::CloseQuote => Said::new(
            "a quote that is opened here, or above, is not closed",
            "这里或上面有一个引号没有闭合，请补上",
        ),
        Hint::CloseBracket => Said::new(
            "a bracket that is opened here, or above, is not closed",
            "这里或上面有一个括号没有闭合，请补上",
        ),
        Hint::Backslash => Said::new(
            "write `\\\\` for a backslash, or use single quotes",
            "反斜杠要写成 `\\\\`，或者改用单引号",
        ),
        Hint::Indentation => Said::new(
            "begin the line in the same column as the keys beside it, with spaces",
            "用空格缩进，让这一行与同级的键左对齐",
        ),
        Hint::Nested => Said::new(
            "the key above has a value already: begin this line further left, or add the missing key above it",
            "上一级的键已经有值了：请减少这一行的缩进，或者补上漏写的上级键",
        ),
        Hint::SpaceBeforeComment => {
            Said::new("put a space before the `#` of a comment", "注释的 `#` 前面要加一个空格")
        }
        Hint::Slashes => Said::new("a comment begins with `#`", "注释要以 `#` 开头"),
        Hint::MergeConflict => Said::new(
            "finish the merge: keep one side, and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`",
            "请先解决合并冲突：保留一边的内容，并删掉带 `<<<<<<<`、`=======`、`>>>>>>>` 的行",
        ),
    }
}

/// A tab in front of a key.
pub(in crate::rules) fn tab() -> Problem {
    error(
        "tab",
        Said::new("a tab where YAML allows only spaces", "这里用了制表符（Tab），YAML 只允许空格"),
        Said::new("replace it by spaces", "把它换成空格"),
    )
}

/// A text that needs quotes.
pub(in crate::rules) fn unquoted(what: Unquoted) -> Problem {
    let (message, help) = match what {
        Unquoted::Cron => (
            Said::new("a cron text that begins with `*` needs quotes", "以 `*` 开头的 cron 表达式要加引号"),
            Said::new("write it like this: `cron: \"*/5 * * * *\"`", "写成这样：`cron: \"*/5 * * * *\"`"),
        ),
        Unquoted::Expression => (
            Said::new(
                "a text that begins with `{{` or `{%` needs quotes",
                "以 `{{` 或 `{%` 开头的文本要加引号",
            ),
            Said::new(
                "write it like this: `thing1: \"{{ fields.name }}\"`",
                "写成这样：`thing1: \"{{ fields.name }}\"`",
            ),
        ),
        Unquoted::Platform => (
            Said::new(
                "`{{thing1.DATA}}` is the platform's way to show a field",
                "`{{thing1.DATA}}` 是平台展示字段的写法",
            ),
            Said::new("write the name alone: `thing1`", "只写字段名：`thing1`"),
        ),
        Unquoted::Mark(mark) => (
            Said::new(
                format!("a text that begins with `{mark}` needs quotes"),
                format!("以 `{mark}` 开头的文本要加引号"),
            ),
            advice(Hint::QuoteText),
        ),
    };
    error("unquoted", message, help)
}

/// `*name` without a `&name`.
pub(in crate::rules) fn alias(name: &str) -> Problem {
    error(
        "alias",
        Said::new(
            format!("no anchor {} stands before this alias", seen(&format!("&{name}"))),
            format!("别名前面没有锚点 {}", seen(&format!("&{name}"))),
        ),
        Said::new(
            "put the text in quotes if it is one, or write the anchor before its first alias",
            "如果这是普通文本，请加引号；如果是别名，请先在前面写出锚点",
        ),
    )
}

/// `&name [*name]`
pub(in crate::rules) fn alias_in_itself() -> Problem {
    error(
        "alias",
        Said::new("this alias stands within its own anchor", "这个别名写在了它自己的锚点里面"),
        Said::new("write the value out", "把值直接写出来"),
    )
}

/// Aliases of aliases of aliases.
pub(in crate::rules) fn aliases_unfold_too_far(max: usize) -> Problem {
    error(
        "too_many_values",
        Said::new(
            format!("the aliases of this file unfold into more than {max} values, or 1 MiB of text"),
            format!("这个文件里的别名展开后超过 {max} 个值，或超过 1 MiB 文本"),
        ),
        Said::new("write values out, or use fewer aliases", "把值直接写出来，或者少用一些别名"),
    )
}

/// `<<` with something that is no map.
pub(in crate::rules) fn merge_key() -> Problem {
    error(
        "merge_key",
        Said::new("`<<` takes a map, or a list of maps", "`<<` 后面要写一组键值，或者几组键值的列表"),
        Said::new("write `<<: *name`, or write the keys out", "写成 `<<: *名称`，或者把各个键直接写出来"),
    )
}

/// `!name`
pub(in crate::rules) fn type_tag() -> Problem {
    error(
        "type_tag",
        Said::new("YAML type tags (`!name`) are not used here", "这里不使用 YAML 类型标签（`!名称`）"),
        Said::new(
            "leave it out, or put the text in quotes if it begins with `!`",
            "把它删掉；如果文本本来就以 `!` 开头，请加引号",
        ),
    )
}

/// Nested deeper than anything is.
pub(in crate::rules) fn too_deep(max: usize) -> Problem {
    error(
        "too_deep",
        Said::new(format!("nested deeper than {max} levels"), format!("嵌套超过 {max} 层")),
        Said::new(
            "no key goes that deep; look for brackets that are not closed",
            "没有哪个配置项需要这么深；请检查有没有没闭合的括号",
        ),
    )
}

/// More values than people write.
pub(in crate::rules) fn too_many_values() -> Problem {
    error(
        "too_many_values",
        Said::new("the file holds too many values", "文件里的值太多"),
        Said::new(
            "split the file, or put people into tags instead of `openids`",
            "拆成几个文件；人多时给他们打标签，不要逐个列在 `openids` 里",
        ),
    )
}

/// A second `---`.
pub(in crate::rules) fn several_documents() -> Problem {
    error(
        "several_documents",
        Said::new("a second YAML document begins here", "从这里开始是第二个 YAML 文档"),
        Said::new(
            "delete the `---`, or put the rest into a file of its own",
            "删掉这个 `---`，或者把后面的内容放进另一个文件",
        ),
    )
}

/// A list or map as a key.
pub(in crate::rules) fn key_is_no_text() -> Problem {
    error(
        "key_is_no_text",
        Said::new("a key must be a plain word, not a list or a map", "键应该是一个词，不能是列表或一组键值"),
        Said::new("write `key: value`", "写成 `key: value`"),
    )
}

/// One key twice in a map.
pub(in crate::rules) fn duplicate_key(key: &str, first_line: u32) -> Problem {
    error(
        "duplicate_key",
        Said::new(
            format!("the key {} stands here twice; the first is in line {first_line}", seen(key)),
            format!("键 {} 写了两次，第一次在第 {first_line} 行", seen(key)),
        ),
        Said::new("keep one of them", "只保留一个"),
    )
}

/// What a later parser may find.
pub(in crate::rules) const UNKNOWN_CONSTRUCT: Phrase =
    Phrase::new("a construct that this release does not know", "当前版本不认识的写法");
