//! What MiniJinja says of a text that it cannot read, in words of the text.
//!
//! Its parser speaks of blocks and tokens; an admin sees braces and quotes. What a readable text may use is
//! decided in `script`.

use minijinja::{Error, ErrorKind};

use super::render::RenderError;
use crate::domain::language::{Phrase, Said};

/// An error that MiniJinja found while it read `source`.
pub(super) fn syntax(key: &str, source: &str, error: &Error) -> RenderError {
    let detail = error.detail().unwrap_or("it cannot be read");
    let unknown = detail.strip_prefix("unknown statement ");
    let message = match unknown {
        Some(word) => Said::new(detail, format!("没有 `{word}` 这种语句")),
        None => in_words(detail),
    };
    let help = match unknown {
        Some("include" | "import" | "from" | "extends" | "block" | "macro" | "call") => Said::new(
            "a rule text stands alone: no include, import, extends, block or macro",
            "规则里的文本是独立的，不能用 include、import、extends、block、macro",
        ),
        Some(_) => STATEMENTS.into(),
        None if key == super::condition::KEY => condition_help(source),
        None if error.kind() == ErrorKind::SyntaxError => Said::new(
            "a value is written {{ fields.name }}, a condition {% if … %}…{% endif %}",
            "变量写成 {{ fields.name }}，条件写成 {% if … %}…{% endif %}",
        ),
        None => Said::default(),
    };
    let offset = error.range().map_or(0, |range| range.start).min(source.len());
    RenderError { key: key.into(), message, offset, help }
}

/// What can be written between `{%` and `%}`.
pub(super) const STATEMENTS: Phrase =
    Phrase::new("the statements are if, for, set and with", "可用的语句有 if、for、set、with");

/// How a condition is written, and what other languages write instead.
fn condition_help(source: &str) -> Said {
    let plain = ["==", "!=", "<=", ">="].iter().fold(source.to_owned(), |text, mark| text.replace(mark, ""));
    if ["&&", "||", "!"].iter().any(|mark| plain.contains(mark)) {
        Said::new("write `and`, `or` and `not`", "“与、或、非”要写成 `and`、`or`、`not`")
    } else if plain.contains('=') {
        Said::new("two values are compared by `==`", "比较两个值要用两个等号 `==`")
    } else {
        Said::new(
            "write for example fields.city == 'Shanghai' and 'vip' in tags",
            "例如写成 fields.city == 'Shanghai' and 'vip' in tags",
        )
    }
}

/// What MiniJinja's parser says, in words of the text; a sentence that is not known here stays as it is.
fn in_words(detail: &str) -> Said {
    if let Some((found, wanted)) =
        detail.strip_prefix("unexpected ").and_then(|rest| rest.split_once(", expected "))
    {
        let (found, wanted) = (token(found), token(wanted));
        return Said::new(
            format!("{} where {} is expected", found.en, wanted.en),
            format!("这里应为{}，却是{}", wanted.zh, found.zh),
        );
    }
    match detail {
        "unexpected end of string" => Said::new("a quote is not closed", "引号没有闭合"),
        "unexpected character" => {
            Said::new("a character that cannot stand in an expression", "这里有表达式里不能用的字符")
        }
        "unexpected input after expression" | "unexpected input after end of variable block" => {
            Said::new("the expression is over before this", "表达式到这里之前就结束了")
        }
        "it cannot be read" => Said::new(detail, "无法解析"),
        other => match other.strip_prefix("unexpected ").map(token) {
            Some(found) => {
                Said::new(format!("{} cannot stand here", found.en), format!("这里不该出现{}", found.zh))
            }
            None => Said::new(other, format!("写法有误（{other}）")),
        },
    }
}

/// A token as MiniJinja names it.
fn token(name: &str) -> Said {
    let phrase = match name {
        "end of input" => Phrase::new("the end of the text", "文本结尾"),
        "end of variable block" => Phrase::new("`}}`", " `}}`"),
        "end of block" => Phrase::new("`%}`", " `%}`"),
        "start of variable block" => Phrase::new("`{{`", " `{{`"),
        "start of block" => Phrase::new("`{%`", " `{%`"),
        "identifier" => Phrase::new("a name", "名称"),
        "string" => Phrase::new("a text in quotes", "带引号的文本"),
        "integer" | "float" => Phrase::new("a number", "数字"),
        "template-data" => Phrase::new("plain text", "普通文本"),
        "expression" => Phrase::new("an expression", "表达式"),
        "block keyword" | "keyword" => Phrase::new("a word such as if", "if 之类的关键字"),
        "assignment operator" => Phrase::new("`=`", " `=`"),
        "comma" => Phrase::new("`,`", " `,`"),
        "identifier or integer" => Phrase::new("a name or number", "名称或数字"),
        other => return Said::new(other, format!(" {other}")),
    };
    phrase.into()
}
