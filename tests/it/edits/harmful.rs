//! Edits that an admin did not mean: each is refused at its line, with a help text.

use tixing::rules::{self, Diagnostics, Severity};

use super::{examples, is_content, load};

/// A file with one mistake in it, and the lines where it may be told.
struct Harmful {
    what: String,
    text: String,
    lines: Vec<u32>,
}

/// What the letters that are swapped, lost and doubled come from.
const SEED: u64 = 20_261_126;

/// Numbers that look random; xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
}

/// Keys with a meaning, each of which may be misspelled. Names that an admin chose are not among them.
const KEYS: &[&str] = &[
    "apps",
    "appid",
    "secret",
    "credential",
    "state",
    "lang",
    "limits",
    "in_flight",
    "templates",
    "id",
    "kind",
    "fields",
    "timezone",
    "schedules",
    "store",
    "hook",
    "listen",
    "keys",
    "session_fields",
    "login",
    "session_hours",
    "admin",
    "socket",
    "rules",
    "template",
    "when",
    "cron",
    "at",
    "to",
    "tags",
    "where",
    "data",
    "page",
    "grace",
    "missed",
    "overflow",
    "enabled",
    "thing1",
    "time2",
    "thing3",
    "amount2",
    "date3",
];
/// Of them, those that cannot be left out.
const NEEDED: &[&str] = &[
    "apps",
    "appid",
    "secret",
    "templates",
    "id",
    "rules",
    "template",
    "when",
    "data",
    "thing1",
    "time2",
    "thing3",
    "amount2",
    "date3",
];

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Number of the line that line `n` (from 0) stands under, from 1.
fn parent(all: &[&str], n: usize) -> u32 {
    let own = all[n].find(|c| c != ' ' && c != '-').unwrap_or(0);
    let above = (0..n).rev().find(|m| is_content(all[*m]) && indent(all[*m]) < own);
    u32::try_from(above.map_or(0, |m| m) + 1).unwrap()
}

/// How many lines the entry of line `n` has.
fn extent(all: &[&str], n: usize) -> usize {
    let deeper = |line: &&&str| !is_content(line) || indent(line) > indent(all[n]);
    let after = all[n + 1..].iter().take_while(deeper).count();
    // Comments behind it are not its own.
    let own = all[n + 1..=n + after].iter().rposition(|line| is_content(line)).map_or(0, |last| last + 1);
    1 + own
}

/// Each `key: value` of a line with the places of key and value: of block style and of flow style.
fn entries(line: &str) -> Vec<(usize, &str, usize, &str)> {
    let content = line.split(" #").next().unwrap_or(line).trim_end();
    let mut found = Vec::new();
    for key in KEYS {
        let mark = format!("{key}:");
        for (at, _) in content.match_indices(&mark) {
            let before = content[..at].chars().next_back();
            if before.is_some_and(|c| !matches!(c, ' ' | '{')) {
                continue;
            }
            let start = at + mark.len();
            let value = content[start..].trim_start();
            let value_at = content.len() - value.len();
            found.push((at, *key, value_at, flow_value(value)));
        }
    }
    found
}

/// The value that a text begins with, up to the comma or bracket that ends it.
fn flow_value(text: &str) -> &str {
    let (mut depth, mut quoted) = (0_i32, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' if depth == 0 => return text[..at].trim_end(),
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => return &text[..at],
            _ => {}
        }
    }
    text
}

fn misspelled(key: &str, random: &mut Random) -> Vec<String> {
    let at = random.below(key.len() - 1);
    let (a, b) = key.split_at(at);
    let mut swapped: Vec<char> = key.chars().collect();
    swapped.swap(at, at + 1);
    let mut all = vec![
        swapped.into_iter().collect(),
        format!("{a}{}", &b[1..]),
        format!("{a}{}{b}", &b[..1]),
        key.to_uppercase(),
        format!("{key}s"),
        key.replace(char::is_alphabetic, "模"),
    ];
    // `id` without a letter is another word, and so is `at`.
    all.retain(|word: &String| !word.is_empty() && !KEYS.contains(&word.as_str()) && word != key);
    all
}

/// Values that one key cannot have.
fn bad_values(key: &str) -> &'static [&'static str] {
    match key {
        "cron" => &[
            "\"60 * * * *\"",
            "\"* 24 * * *\"",
            "\"0 9 * *\"",
            "\"0 9 32 * *\"",
            "\"0 9 * 13 *\"",
            "\"0 9 * * 8\"",
            "\"0 9 30 2 *\"",
            "每天9点",
            "\"9:00\"",
            "\"@daily\"",
            "\"0 22-2 * * *\"",
            "\"5/10 * * * *\"",
            "\"*/90 * * * *\"",
            "\"0 9 L * *\"",
            "\"0 9 * * MON#1\"",
            "*/5 * * * *",
        ],
        "timezone" => &["Asia/Beijing", "CST", "UTC+8", "Asia/Shangai", "北京"],
        "template" => &["nothing", "Habit", "\"\""],
        "grace" => &["0m", "30", "-5m", "1.5h", "30分钟", "90d", "59s"],
        "missed" => &["newest", "\"yes\"", "Latest"],
        "enabled" => &["yes", "1", "False"],
        "kind" => &["once", "one-time", "一次性"],
        "state" => &["release", "正式版"],
        "lang" => &["zh-CN", "chinese"],
        "in_flight" => &["0", "-1", "1e3", "many", "6.5"],
        "appid" => &["0123456789abcdef", "\"wx 1\"", "小程序"],
        "listen" => &["localhost:8080", "8080", "127.0.0.1：8080", "127.0.0.1:99999"],
        "store" => &["/var/lib/tixing", "sqlite:x"],
        "login" => &["yes", "on", "1"],
        "session_hours" => &["0", "1h", "9999"],
        "page" => &["\"\"", "\"{{ ref }}/x\"", "\"页面\""],
        "where" => {
            &["\"fields.city ==\"", "\"city == 1\"", "\"fields.a = 1\"", "\"a && b\"", "\"fields.x | nope\""]
        }
        "thing1" => &["\"{{ nope }}\"", "\"{{ ref\"", "\"{% if %}\"", "\"{{ ref | nope }}\"", "\" \""],
        "time2" => &["早上", "\"25:00\"", "\"{{ due | local('%Q') }}\"", "\"{{ due.hour }}\""],
        "amount2" => &["很多", "\"{{ due | local('%H:%M') }}\""],
        "date3" => &["明天", "\"{{ due | local('%H:%M') }}\""],
        "at" => &["\"2027-02-30 09:00\"", "\"2027-01-31\"", "明天", "\"31.1.2027 09:00\"", "[]"],
        "tags" => &["[]", "[a, a]", "habit"],
        "fields" => &["[]", "[thing1.DATA]", "[thing1, thing1]", "[1]"],
        "secret" => &["hunter2hunter2", "{}", "{ value: x }", "{ file: a, env: B }"],
        "overflow" => &["{ thing1: crop }", "{ thing9: cut }"],
        _ => &[],
    }
}

/// Harmful edits of one file.
fn harmful(text: &str, random: &mut Random) -> Vec<Harmful> {
    let all: Vec<&str> = text.lines().collect();
    let mut edits = Vec::new();
    for (n, line) in all.iter().enumerate().filter(|(_, line)| is_content(line)) {
        let number = u32::try_from(n + 1).unwrap();
        let with = |lines: &[String]| {
            let rest = all.iter().map(|line| (*line).to_owned());
            let mut new: Vec<String> = rest.collect();
            new.splice(n..=n, lines.iter().cloned());
            new.join("\n") + "\n"
        };
        let mut add = |what: String, text: String, lines: Vec<u32>| {
            edits.push(Harmful { what: format!("{number}: {what}: {line}"), text, lines });
        };
        let is_block_key = |at: usize| line[..at].chars().all(|c| c == ' ' || c == '-');
        for (at, key, value_at, value) in entries(line) {
            let replaced = |key_to: &str, value_to: &str| {
                let tail = &line[value_at + value.len()..];
                let gap = if value_to.is_empty() { "" } else { " " };
                with(&[format!("{}{key_to}:{gap}{value_to}{tail}", &line[..at])])
            };
            for wrong in misspelled(key, random) {
                add(format!("`{key}` as `{wrong}`"), replaced(&wrong, value), vec![number]);
            }
            if NEEDED.contains(&key) && !is_block_key(at) {
                let tail = line[value_at + value.len()..].trim_start_matches(", ");
                let gone = format!("{}{tail}", &line[..at]);
                add(format!("without `{key}`"), with(&[gone]), vec![number, parent(&all, n)]);
            } else if NEEDED.contains(&key) {
                let n_gone = extent(&all, n);
                let rest = all[..n].iter().chain(&all[n + n_gone..]);
                let gone = rest.copied().collect::<Vec<_>>().join("\n");
                add(format!("without `{key}`"), gone, vec![number, parent(&all, n)]);
            }
            if !value.is_empty() {
                let types: &[&str] = match value.chars().next() {
                    Some('[' | '{') => &["x", "\"\"", "12"],
                    _ => &["[a]", "{ a: b }", "[]", "{}"],
                };
                for wrong in types.iter().chain(bad_values(key)) {
                    add(format!("`{key}` is `{wrong}`"), replaced(key, wrong), vec![number]);
                }
                let nothing = replaced(key, "");
                add(format!("`{key}` is nothing"), nothing, vec![number]);
                if is_block_key(at) {
                    let again = line.replacen('-', " ", usize::from(line.trim_start().starts_with('-')));
                    add(format!("`{key}` twice"), with(&[(*line).to_owned(), again]), vec![number + 1]);
                }
            }
        }
        if let Some(colon) = line.find(": ").filter(|_| indent(line) > 0) {
            let (key, value) = line.split_at(colon);
            add("a full-width colon".to_owned(), with(&[format!("{key}：{}", &value[2..])]), vec![number]);
            if !value[2..].starts_with(['"', '{', '[']) && !value[2..].trim_start().starts_with('#') {
                add("no space".to_owned(), with(&[format!("{key}:{}", &value[2..])]), vec![number]);
            }
        }
        if indent(line) > 0 {
            add("a tab in front".to_owned(), with(&[format!("\t{}", line.trim_start())]), vec![number]);
        }
        for (what, edited) in
            [("one space more", format!(" {line}")), ("one space less", line.replacen(' ', "", 1))]
        {
            if indent(line) > 0 {
                // The line itself is told, or the one that no longer fits to it.
                add(what.to_owned(), with(&[edited]), vec![number, number + 1, next_content(&all, n)]);
            }
        }
        for mark in ['"', ']', '}'] {
            let content = line.split(" #").next().unwrap_or(line);
            if let Some(at) = content.rfind(mark).filter(|at| !content[..*at].ends_with(mark)) {
                let cut = format!("{}{}", &line[..at], &line[at + 1..]);
                add(format!("without its last `{mark}`"), with(&[cut]), vec![number, next_content(&all, n)]);
            }
        }
        add(
            "an unknown key before it".to_owned(),
            with(&[format!("{}nonsense: 1", " ".repeat(indent(line))), (*line).to_owned()]),
            vec![number],
        );
    }
    edits
}

/// Number of the next line with content.
fn next_content(all: &[&str], n: usize) -> u32 {
    let next = all[n + 1..].iter().position(|line| is_content(line)).map_or(n, |more| n + 1 + more);
    u32::try_from(next + 1).unwrap()
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed and the figures of a run")]
fn harmful_edits_are_refused_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let good = examples();
    let as_it_is = load(folder.path(), &good).unwrap();
    let (mut n, mut missed) = (0, Vec::new());
    println!("seed {SEED}");
    let mut random = Random(SEED);
    for name in good.keys() {
        for edit in harmful(&good[name], &mut random) {
            let mut files = good.clone();
            files.insert(name.clone(), edit.text.clone());
            let found = match load(folder.path(), &files) {
                // The edit says the same in other words, so it harms nobody.
                Ok(same) if same == as_it_is => continue,
                Ok(_) => Diagnostics::default(),
                Err(found) => found,
            };
            n += 1;
            assert!(found.0.iter().all(|one| !one.help.en.is_empty() && !one.help.zh.is_empty()), "{found}");
            let here = |line: u32| edit.lines.iter().any(|there| there.abs_diff(line) <= 1);
            let refused = |one: &rules::Diagnostic| {
                one.severity == Severity::Error && one.file.ends_with(name) && here(one.line)
            };
            if !found.0.iter().any(refused) {
                missed.push(format!("{name} {}\n{found}", edit.what));
            }
        }
    }
    let share = missed.len() * 100;
    println!("{n} harmful edits, {} not refused at their line:\n{}", missed.len(), missed.join("\n\n"));
    assert!(n >= 500, "{n} harmful edits");
    assert!(
        share <= n,
        "seed {SEED}: {} of {n} were not refused at their line:\n{}",
        missed.len(),
        missed.join("\n\n")
    );
}
