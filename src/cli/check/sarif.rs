//! Findings as a SARIF 2.1.0 log, which code scanning and editors read.
//!
//! The least that is valid (OASIS standard 2.1.0, read 2026-11-26): one run with its rules, and for each
//! finding its level and region. Columns count characters, so the log says so.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::domain::language::Language;
use crate::rules::{CODES, Diagnostic, Severity};

/// The log of all findings.
pub(super) fn log(found: &[Diagnostic], language: Language) -> Value {
    let rules: Vec<Value> = CODES
        .iter()
        .map(|(code, meaning)| json!({ "id": code, "shortDescription": { "text": meaning.to(language) } }))
        .collect();
    let results: Vec<Value> = found.iter().map(|found| result(found, language)).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tixing", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(found: &Diagnostic, language: Language) -> Value {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut region = json!({ "startLine": found.line, "startColumn": found.column });
    // The end is known where the line is shown; a region without one ends with its line.
    if let (Some(line), Value::Object(region)) = (&found.source_line, &mut region) {
        let length = u32::try_from(line.length).unwrap_or(1);
        region.insert("endColumn".to_owned(), found.column.saturating_add(length).into());
    }
    let text = format!("{}\n{}", found.message.to(language), found.help.to(language));
    let mut result = json!({
        "ruleId": found.code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&found.file) },
            "region": region,
        } }],
    });
    let index = CODES.iter().position(|(code, _)| *code == found.code);
    if let (Some(index), Value::Object(result)) = (index, &mut result) {
        result.insert("ruleIndex".to_owned(), index.into());
    }
    result
}

/// A path as a reference of a URI: absolute ones with their scheme, others as they are, and encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes all");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::language::Said;

    #[test]
    fn a_log_has_rules_levels_and_regions() {
        let found = Diagnostic {
            severity: Severity::Error,
            code: "bad_cron",
            file: "./schedules/喝 水.yaml".to_owned(),
            line: 3,
            column: 7,
            message: Said::new("minute: `60` is no minute", "cron 有误"),
            help: Said::new("allowed are 0–59", "可以写 0–59"),
            source_line: None,
        };
        let log = log(&[found], Language::Chinese);
        let at = |pointer: &str| log.pointer(pointer).cloned().unwrap_or_default();
        let index = at("/runs/0/results/0/ruleIndex");
        assert_eq!(at(&format!("/runs/0/tool/driver/rules/{index}/id")), "bad_cron");
        let expected = [
            ("/version", json!("2.1.0")),
            ("/runs/0/results/0/level", json!("error")),
            ("/runs/0/results/0/message/text", json!("cron 有误\n可以写 0–59")),
            (
                "/runs/0/results/0/locations/0/physicalLocation",
                json!({
                    "artifactLocation": { "uri": "schedules/%E5%96%9D%20%E6%B0%B4.yaml" },
                    "region": { "startLine": 3, "startColumn": 7 },
                }),
            ),
        ];
        for (pointer, value) in expected {
            assert_eq!(at(pointer), value, "{pointer}");
        }
        assert_eq!(uri("/etc/a:b.yaml"), "file:///etc/a%3Ab.yaml");
    }
}
