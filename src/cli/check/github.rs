//! Findings as workflow commands of GitHub Actions, which shows them beside the changed lines.
//!
//! Form and escapes: docs.github.com, "Workflow commands for GitHub Actions", read 2026-11-26. Nothing
//! here decides what is found.

use crate::domain::language::Language;
use crate::rules::{Diagnostic, Severity};

/// One command for one finding; its help is a second line of the annotation.
pub(super) fn command(found: &Diagnostic, language: Language) -> String {
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    // Annotations go by paths from the root of the repository, without a dot in front.
    let file = found.file.strip_prefix("./").unwrap_or(&found.file);
    let text = format!("{}\n{}", found.message.to(language), found.help.to(language));
    format!(
        "::{level} file={},line={},col={},title={}::{}",
        property(file),
        found.line,
        found.column,
        property(found.code),
        data(&text)
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::language::Said;

    #[test]
    fn what_would_end_a_command_is_escaped() {
        let found = Diagnostic {
            severity: Severity::Warning,
            code: "always_cut",
            file: "./a,b:c%/喝.yaml".to_owned(),
            line: 3,
            column: 7,
            message: Said::new("100 %::x\r\n", "太长"),
            help: Said::new("a, b: c", "缩短"),
            source_line: None,
        };
        assert_eq!(
            command(&found, Language::English),
            "::warning file=a%2Cb%3Ac%25/喝.yaml,line=3,col=7,title=always_cut::100 %25::x%0D%0A%0Aa, b: c"
        );
        assert!(command(&found, Language::Chinese).ends_with("::太长%0A缩短"));
    }
}
