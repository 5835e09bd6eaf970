//! `check -v`: what the files say, rule by rule, when each is due in words.
//!
//! It tells only of a set that can be used; what is wrong with another is told by the diagnostics.

use std::path::Path;

use crate::cli::names;
use crate::domain::language::{Language, Said};
use crate::plan::words;
use crate::rules;

/// One line for each rule, those at rest too, in the order of their ids; none when the files cannot be used.
pub(super) fn lines(config: &Path, language: Language) -> Vec<String> {
    let Ok(config) = rules::load_config(config) else { return Vec::new() };
    let Ok(loaded) = rules::load_rules(&config.value) else { return Vec::new() };
    let set = loaded.value.set;
    let due = set.rules.iter().map(|(id, rule)| (id, words::schedule(rule)));
    let rest =
        set.disabled.iter().map(|id| (id, Said::new("at rest (enabled: false)", "已停用（enabled: false）")));
    let mut all: Vec<(&str, Said)> = due.chain(rest).map(|(id, said)| (id.as_str(), said)).collect();
    all.sort_by_key(|(id, _)| *id);
    let widest = all.iter().map(|(id, _)| names::width(id)).max().unwrap_or_default();
    let line = |(id, said): &(&str, Said)| format!("  {id:widest$}  {}", said.to(language));
    all.iter().map(line).collect()
}
