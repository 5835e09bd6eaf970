//! What comes from the environment: where secrets are, default paths, colour, log filter, language.
//!
//! The only reader of environment variables. What an admin decides is in `tixing.yaml`; nothing here
//! overrides it. Values of secrets never show up in an error.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use secrecy::{SecretString, zeroize::Zeroize as _};

use crate::domain::config::SecretSource;
use crate::domain::language::Language;

/// Where the configuration is when nobody says, the first that exists.
const DEFAULT_CONFIGS: [&str; 2] = ["./tixing.yaml", "/etc/tixing/tixing.yaml"];
/// Where systems keep their zone data, the first that exists.
const ZONE_FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
/// Largest secret file that is read, in bytes: a longer one is the wrong file.
const MAX_SECRET_BYTES: u64 = 16 * 1024;

/// Gives the value of a variable.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// A set of environment variables: the process's, or one that a test states.
pub struct Environment(Lookup);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)") // its values can be secrets
    }
}

/// A secret, and what is wrong about the way it is kept.
#[derive(Debug)]
pub struct Secret {
    /// The secret itself; a file's loses one trailing newline.
    pub value: SecretString,
    /// A sentence for the admin, such as that others can read the file.
    pub warning: Option<String>,
}

/// Why a secret could not be had. Names the thing and the fix, never the value.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {fix}")]
pub struct SecretError {
    /// The source, as the configuration names it.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    #[source]
    cause: Option<std::io::Error>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn process() -> Self {
        Self(Box::new(|name| std::env::var_os(name)))
    }

    /// These variables and no others.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Self(Box::new(move |name| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        }))
    }

    /// A variable that is set to something.
    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.into_string().ok()
    }

    /// Reads the secret that `source` names.
    ///
    /// Blocking, a few microseconds; called at the start and at each reload, so a rotated file is seen then.
    ///
    /// # Errors
    /// [`SecretError`]: it is missing, empty, unreadable or not text.
    pub fn secret(&self, source: &SecretSource) -> Result<Secret, SecretError> {
        match source {
            SecretSource::Credential(name) => {
                let what = format!("credential `{name}`");
                let Some(folder) = self.get("CREDENTIALS_DIRECTORY") else {
                    return Err(SecretError {
                        what,
                        fix: format!(
                            "not started by systemd with credentials; add `LoadCredential={name}:/etc/tixing/credentials/{name}` to the unit, or name a file: {{ file: PATH }}"
                        ),
                        cause: None,
                    });
                };
                let fix = format!(
                    "write it into /etc/tixing/credentials/{name}, and see that the unit has `LoadCredential={name}:PATH` (systemctl edit tixing)"
                );
                // systemd made the folder for this service alone, so who may read it needs no check.
                Ok(Secret { value: secret_file(&Path::new(&folder).join(name), &what, &fix)?, warning: None })
            }
            SecretSource::File(path) => {
                let what = format!("secret file `{}`", path.display());
                let fix = "write the secret into it, readable by the daemon's user (chmod 600)";
                let value = secret_file(path, &what, fix)?;
                let open = path.metadata().is_ok_and(|file| file.mode() & 0o004 != 0);
                let warning = open.then(|| format!("{what} can be read by every user; chmod o-rwx"));
                Ok(Secret { value, warning })
            }
            SecretSource::Env(name) => {
                let what = format!("environment variable `{name}`");
                let Some(value) = self.get(name) else {
                    return Err(SecretError { what, fix: "set it before the start".to_owned(), cause: None });
                };
                let Ok(value) = value.into_string() else {
                    return Err(SecretError {
                        what,
                        fix: "its value must be UTF-8 text".to_owned(),
                        cause: None,
                    });
                };
                Ok(Secret { value: value.into(), warning: None })
            }
        }
    }

    /// The configuration file when none was named: `./tixing.yaml`, else `/etc/tixing/tixing.yaml`.
    #[must_use]
    pub fn default_config(&self) -> PathBuf {
        let existing = DEFAULT_CONFIGS.iter().map(Path::new).find(|path| path.exists());
        existing.unwrap_or(Path::new(DEFAULT_CONFIGS[0])).to_owned()
    }

    /// The user's folder for what `tixing demo` keeps: `$XDG_STATE_HOME/tixing/demo`, else
    /// `~/.local/state/tixing/demo`; `None` without a home.
    #[must_use]
    pub fn demo_state(&self) -> Option<PathBuf> {
        // The XDG base directory specification 0.8: relative values are to be ignored.
        let stated = self.get("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base = stated.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".local/state")))?;
        Some(base.join("tixing/demo"))
    }

    /// Where the system's zone data may be: `TZDIR`, which stands alone, else the usual folders.
    #[must_use]
    pub fn zone_folders(&self) -> Vec<PathBuf> {
        match self.get("TZDIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
            Some(stated) => vec![stated],
            None => ZONE_FOLDERS.iter().map(PathBuf::from).collect(),
        }
    }

    /// Whether the user asked for output without colour (`NO_COLOR`, any value but the empty one).
    #[must_use]
    pub fn no_color(&self) -> bool {
        self.get("NO_COLOR").is_some() || self.text("TERM").as_deref() == Some("dumb")
    }

    /// `RUST_LOG`.
    #[must_use]
    pub fn log_filter(&self) -> Option<String> {
        self.text("RUST_LOG")
    }

    /// Whether stderr is the systemd journal, which stamps the time itself.
    #[must_use]
    pub fn is_journal(&self) -> bool {
        self.get("JOURNAL_STREAM").is_some()
    }

    /// The language of the user's locale.
    #[must_use]
    pub fn language(&self) -> Language {
        // The first that is set wins, even if it names another language: POSIX, chapter 8.2.
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| self.text(name));
        if locale.is_some_and(|locale| locale.starts_with("zh")) {
            Language::Chinese
        } else {
            Language::English
        }
    }
}

/// The text of a secret file without one trailing newline.
fn secret_file(path: &Path, what: &str, fix: &str) -> Result<SecretString, SecretError> {
    let error = |fix: String, cause| SecretError { what: what.to_owned(), fix, cause };
    let n_bytes = path.metadata().map_err(|cause| error(fix.to_owned(), Some(cause)))?.len();
    if n_bytes > MAX_SECRET_BYTES {
        return Err(error(format!("{n_bytes} bytes are no secret; is it the right file?"), None));
    }
    let mut bytes = std::fs::read(path).map_err(|cause| error(fix.to_owned(), Some(cause)))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(error(format!("it is empty; {fix}"), None));
    }
    String::from_utf8(bytes).map(SecretString::from).map_err(|bad| {
        // The error would carry the value along.
        bad.into_bytes().zeroize();
        error("it must be UTF-8 text".to_owned(), None)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_come_from_where_they_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &[u8], mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            path
        };
        let credentials = folder.path().to_str().expect("text").to_owned();
        let env =
            Environment::of(&[("CREDENTIALS_DIRECTORY", &credentials), ("S", "env-secret"), ("EMPTY", "")]);
        let read = |source: SecretSource| {
            env.secret(&source).map(|s| (s.value.expose_secret().to_owned(), s.warning.is_some()))
        };
        file("cred", b"from-systemd\n", 0o444);
        let good = [
            (SecretSource::Credential("cred".into()), "from-systemd", false),
            (SecretSource::File(file("private", b"s3cret\n", 0o600)), "s3cret", false),
            (SecretSource::File(file("group", b"s3cret", 0o640)), "s3cret", false),
            (SecretSource::File(file("open", b"s3cret\n\n", 0o644)), "s3cret\n", true),
            (SecretSource::Env("S".into()), "env-secret", false),
        ];
        for (source, value, warns) in good {
            let said = format!("{source:?}");
            assert_eq!(read(source).expect(&said), (value.to_owned(), warns), "{said}");
        }
        let bad = [
            SecretSource::Credential("other".into()),
            SecretSource::File(folder.path().join("none")),
            SecretSource::File(file("empty", b"\n", 0o600)),
            SecretSource::File(file("binary", b"SECRET\xff", 0o600)),
            SecretSource::File(file("huge", &"S".repeat(20_000).into_bytes(), 0o600)),
            SecretSource::Env("EMPTY".into()),
        ];
        for source in bad {
            let said = format!("{source:?}");
            let error = read(source).expect_err(&said).to_string();
            assert!(!error.contains("SECRET") && !error.is_empty(), "{said}: {error}");
        }
    }

    #[test]
    fn a_credential_without_systemd_says_what_to_do() {
        let error = Environment::of(&[]).secret(&SecretSource::Credential("clinic-secret".into()));
        let text = error.expect_err("no folder").to_string();
        assert!(text.contains("clinic-secret") && text.contains("LoadCredential="), "{text}");
    }

    #[test]
    fn the_rest_of_the_environment() {
        type Case = (&'static [(&'static str, &'static str)], Option<&'static str>, bool, Language);
        let table: [Case; 5] = [
            (&[], None, false, Language::English),
            (
                &[("HOME", "/h"), ("NO_COLOR", "1")],
                Some("/h/.local/state/tixing/demo"),
                true,
                Language::English,
            ),
            (
                &[("HOME", "/h"), ("NO_COLOR", "")],
                Some("/h/.local/state/tixing/demo"),
                false,
                Language::English,
            ),
            (
                &[("HOME", "/h"), ("XDG_STATE_HOME", "/s"), ("LANG", "zh_CN.UTF-8")],
                Some("/s/tixing/demo"),
                false,
                Language::Chinese,
            ),
            (
                &[("XDG_STATE_HOME", "relative"), ("LC_ALL", "C"), ("LANG", "zh_CN"), ("TERM", "dumb")],
                None,
                true,
                Language::English,
            ),
        ];
        for (variables, state, no_color, language) in table {
            let env = Environment::of(variables);
            assert_eq!(env.demo_state().as_deref(), state.map(Path::new), "{variables:?}");
            assert_eq!((env.no_color(), env.language()), (no_color, language), "{variables:?}");
        }
        let folders = |variables| Environment::of(variables).zone_folders();
        assert_eq!(folders(&[("TZDIR", "/z")]), [PathBuf::from("/z")]);
        assert_eq!(folders(&[("TZDIR", "z")]).len(), 3);
    }
}
