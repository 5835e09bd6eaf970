//! A small good configuration and rule for the tests of this room.

use std::path::Path;

use super::{Report, check, load_config};
use crate::domain::config::Config;

/// Two templates: `habit` with listed fields, `loose` without.
pub(super) const CONFIG_TEXT: &str = "\
apps:
  clinic:
    appid: wx0123456789abcdef
    secret: { credential: clinic-secret }
    templates:
      habit: { id: HABIT_ID, kind: one_time, fields: [thing1, time2] }
store: sled:store
";

/// A good schedule file with one rule.
pub(super) fn rule_text(id: &str) -> String {
    format!(
        "rules:\n  {id}:\n    template: habit\n    when: {{ cron: \"0 10 * * *\" }}\n    data: {{ thing1: 喝水, time2: \"{{{{ due | local('%H:%M') }}}}\" }}\n"
    )
}

/// Writes `files` (name and text; folders are made) into `folder`.
pub(super) fn write(folder: &Path, files: &[(&str, &[u8])]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
}

/// A folder with a configuration and schedule files.
pub(super) fn folder(config: &str, schedules: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[("tixing.yaml", config.as_bytes())]);
    for (name, text) in schedules {
        write(&folder.path().join("schedules"), &[(name, text.as_bytes())]);
    }
    folder
}

/// The good configuration, loaded from `folder`.
pub(super) fn config_in(folder: &Path) -> Config {
    write(folder, &[("tixing.yaml", CONFIG_TEXT.as_bytes())]);
    load_config(&folder.join("tixing.yaml")).expect("a good configuration").value
}

/// Checks a configuration and one schedule file.
pub(super) fn check_texts(config: &[u8], schedule: &[u8]) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &[("tixing.yaml", config), ("schedules/a.yaml", schedule)]);
    check(&folder.path().join("tixing.yaml"))
}
