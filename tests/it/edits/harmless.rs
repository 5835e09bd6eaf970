//! Edits that change nothing: the same configuration and the same rules come of them, without a warning.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{examples, is_content, load};

/// One harmless edit: its name, and the file it makes of a file.
type Harmless = (&'static str, fn(&str) -> String);

fn lines(text: &str, each: impl Fn(&str) -> String) -> String {
    text.lines().map(|line| each(line) + "\n").collect()
}

fn tree(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// How a tree is written as block style.
#[derive(Clone, Copy)]
struct Block {
    indent: usize,
    /// Whether a list begins below its key, and not under it.
    dedent_lists: bool,
    quote: fn(&str) -> String,
    quote_keys: bool,
    /// From the last key to the first.
    backwards: bool,
}

const PLAIN: Block =
    Block { indent: 2, dedent_lists: false, quote: double, quote_keys: false, backwards: false };

fn double(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Double quotes with every character that is not ASCII escaped.
fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}").unwrap(),
            c if c.is_ascii() => out.push(c),
            c => write!(out, "\\U{:08X}", u32::from(c)).unwrap(),
        }
    }
    out + "\""
}

fn block(value: &Value, style: Block, depth: usize, out: &mut String) {
    let pad = " ".repeat(style.indent * depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            if style.backwards {
                entries.reverse();
            }
            for (key, value) in entries {
                let key = if style.quote_keys { (style.quote)(key) } else { key.clone() };
                write!(out, "{pad}{key}:").unwrap();
                below(value, style, depth, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                write!(out, "{pad}-").unwrap();
                below(value, style, depth, out);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            writeln!(out, "{pad}{}", leaf(value, style)).unwrap();
        }
    }
}

fn below(value: &Value, style: Block, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, style, depth + 1, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(value, style, depth + usize::from(!style.dedent_lists), out);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            writeln!(out, " {}", leaf(value, style)).unwrap();
        }
    }
}

fn leaf(value: &Value, style: Block) -> String {
    value.as_str().map_or_else(|| value.to_string(), style.quote)
}

fn written(text: &str, style: Block) -> String {
    let mut out = String::new();
    block(&tree(text), style, 0, &mut out);
    out
}

/// Texts as block scalars below their key.
fn block_scalars(text: &str, mark: &str) -> String {
    lines(text, |line| {
        let Some((key, value)) = line.split_once(": \"") else { return line.to_owned() };
        let plain = value.strip_suffix('"').filter(|value| !value.contains(['"', '\\']));
        let deep = " ".repeat(line.len() - line.trim_start().len() + 2);
        match plain {
            Some(value) if !key.contains('#') => format!("{key}: {mark}\n{deep}{value}"),
            _ => line.to_owned(),
        }
    })
}

/// The first text of a map, anchored, and the second, when it is the same, as its alias.
fn anchored(text: &str) -> String {
    let mut n = 0;
    let mut out = String::new();
    for line in text.lines() {
        let value = line.split_once(": ").filter(|(key, _)| is_content(key));
        match value {
            Some((key, value)) if !value.trim_start().starts_with(['&', '#', '|']) => {
                n += 1;
                writeln!(out, "{key}: &a{n} {value}").unwrap();
            }
            _ => writeln!(out, "{line}").unwrap(),
        }
    }
    out
}

/// Each scalar that was written before as an alias of it.
fn aliased(text: &str) -> String {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut out = String::new();
    for line in text.lines() {
        let value = line.split_once(": ").filter(|(key, value)| {
            is_content(key) && !value.trim_start().starts_with(['#', '{', '[']) && !value.contains(" #")
        });
        let Some((key, value)) = value else {
            writeln!(out, "{line}").unwrap();
            continue;
        };
        let n = known.len();
        if let Some(n) = known.get(value) {
            writeln!(out, "{key}: *a{n}").unwrap();
        } else {
            known.insert(value.to_owned(), n);
            writeln!(out, "{key}: &a{n} {value}").unwrap();
        }
    }
    out
}

const HARMLESS: &[Harmless] = &[
    ("nothing", str::to_owned),
    ("a comment above each line", |text| {
        lines(text, |line| {
            format!(
                "{}# 注释：“全角”，{{{{ x }}}}, key: value\n{line}",
                " ".repeat(line.len() - line.trim_start().len())
            )
        })
    }),
    ("a comment behind each line", |text| {
        lines(text, |line| if is_content(line) { format!("{line}   # 说明 \"'[{{") } else { line.to_owned() })
    }),
    ("a comment of ten thousand characters", |text| format!("# {}\n{text}", "长".repeat(10_000))),
    ("comments begin in the first column", |text| {
        lines(text, |line| if is_content(line) { line.to_owned() } else { line.trim_start().to_owned() })
    }),
    ("no comments", |text| {
        lines(text, |line| if is_content(line) { line.to_owned() } else { String::new() })
    }),
    ("blank lines between all", |text| lines(text, |line| format!("{line}\n"))),
    ("lines of spaces between all", |text| lines(text, |line| format!("{line}\n        "))),
    ("spaces at the ends", |text| lines(text, |line| format!("{line}    "))),
    ("tabs at the ends", |text| lines(text, |line| format!("{line}\t"))),
    ("spaces behind the colons", |text| text.replace(": ", ":    ")),
    ("CRLF", |text| text.replace('\n', "\r\n")),
    ("a byte order mark", |text| format!("\u{feff}{text}")),
    ("a byte order mark and CRLF", |text| format!("\u{feff}{}", text.replace('\n', "\r\n"))),
    ("no newline at the end", |text| text.trim_end().to_owned()),
    ("newlines at the end", |text| format!("{text}\n\n\n")),
    ("a document start", |text| format!("---\n{text}")),
    ("a document start with a comment", |text| format!("--- # 规则\n{text}")),
    ("a document end", |text| format!("{text}...\n")),
    ("a version of YAML", |text| format!("%YAML 1.2\n---\n{text}")),
    ("JSON in one line", |text| tree(text).to_string()),
    ("JSON in many lines", |text| serde_json::to_string_pretty(&tree(text)).unwrap()),
    ("trailing commas", |text| {
        let pretty = serde_json::to_string_pretty(&tree(text)).unwrap();
        let all: Vec<&str> = pretty.lines().collect();
        let closes = |line: Option<&&str>| line.is_some_and(|line| line.trim_start().starts_with(['}', ']']));
        let comma = |n: usize| if closes(all.get(n + 1)) && !all[n].ends_with(['{', '[']) { "," } else { "" };
        let with: Vec<String> =
            all.iter().enumerate().map(|(n, line)| format!("{line}{}", comma(n))).collect();
        with.join("\n")
    }),
    ("spaces in brackets", |text| text.replace('[', "[  ").replace(']', "  ]")),
    ("block style throughout", |text| written(text, PLAIN)),
    ("indented by four", |text| written(text, Block { indent: 4, ..PLAIN })),
    ("indented by one", |text| written(text, Block { indent: 1, ..PLAIN })),
    ("indented by eight", |text| written(text, Block { indent: 8, ..PLAIN })),
    ("lists below their keys", |text| written(text, Block { dedent_lists: true, ..PLAIN })),
    ("single quotes", |text| written(text, Block { quote: single, ..PLAIN })),
    ("escapes", |text| written(text, Block { quote: escaped, ..PLAIN })),
    ("keys in quotes", |text| written(text, Block { quote_keys: true, ..PLAIN })),
    ("keys in single quotes", |text| written(text, Block { quote_keys: true, quote: single, ..PLAIN })),
    ("keys from the last to the first", |text| written(text, Block { backwards: true, ..PLAIN })),
    ("texts as blocks", |text| block_scalars(text, "|-")),
    ("texts as folded blocks", |text| block_scalars(text, ">-")),
    ("texts as blocks of a stated indentation", |text| block_scalars(text, "|2-")),
    ("anchors that nobody uses", anchored),
    ("aliases for what is said twice", aliased),
    ("an empty merge", |text| format!("{text}\n<<: {{}}\n")),
];

#[test]
fn harmless_edits_change_nothing() {
    assert!(HARMLESS.len() >= 30, "{} edits", HARMLESS.len());
    let folder = tempfile::tempdir().unwrap();
    let good = examples();
    let as_it_is = load(folder.path(), &good).unwrap();
    let mut refused = Vec::new();
    for (what, edit) in HARMLESS {
        for name in good.keys() {
            let mut files = good.clone();
            files.insert(name.clone(), edit(&good[name]));
            match load(folder.path(), &files) {
                Ok(same) if same == as_it_is => {}
                Ok(_) => refused.push(format!("{what} in {name}: it means something else\n{}", files[name])),
                Err(found) => refused.push(format!("{what} in {name}:\n{found}")),
            }
        }
    }
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n\n"));
}
