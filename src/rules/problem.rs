//! Everything that can be wrong in a file, and the only place where texts about it are built.
//!
//! Readers name a problem by variant; its code, message and help are made here, so that another language
//! is one more function beside these. No text holds the value of a secret or an openid.

use super::diagnostic::Severity;
use super::source::masked;

/// Longest value that a message repeats, in characters.
const MAX_SEEN: usize = 60;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    // Files and folders.
    Unreadable { cause: String },
    NoFolder,
    TooManyFiles { max: usize },
    FileTooLarge { bytes: u64 },
    FolderTooLarge { max: usize },
    TooManyRules { max: usize },
    TooManyFindings { more: usize, errors: usize },
    IgnoredFile { instead: String },
    NoRules,
    KeptCopyDamaged,
    // The text as YAML.
    NotUtf8,
    ControlCharacter { code: u32 },
    EmptyFile { needs: &'static str },
    Syntax { what: String, hint: Option<Hint> },
    Tab,
    Unquoted(Unquoted),
    Alias,
    Anchor,
    MergeKey,
    TypeTag,
    TooDeep { max: usize },
    TooManyValues,
    SeveralDocuments,
    KeyIsNoText,
    DuplicateKey { key: String, first_line: u32 },
    // Keys and shapes.
    UnknownKey { key: String, of: &'static str, allowed: &'static [&'static str], meant: Option<String> },
    MissingKey { key: &'static str, of: String, example: &'static str },
    WrongShape { of: String, needs: &'static str, found: &'static str, example: String, hint: Option<Hint> },
    NoValue { of: String, example: String },
    EmptyList { of: String },
    TooMany { of: String, max: usize },
    Repeated { of: String, value: String },
    BadName { text: String, what: &'static str, allowed: &'static str },
    BadValue { of: String, value: String, allowed: String, meant: Option<String> },
    NotYet { key: String, instead: String },
    NoEffect { key: &'static str, why: &'static str },
    // What a configuration says.
    InlineSecret,
    DuplicateAppid { first: String },
    DuplicateTemplateId { first: String },
    UnknownApp { name: String, known: Vec<String>, meant: Option<String> },
    AppNeeded { known: Vec<String> },
    UncheckedTemplate { name: String },
    UnknownFieldType { key: String },
    // What a rule says.
    UnknownTemplate { name: String, app: String, known: Vec<String>, meant: Option<String> },
    TemplateById { name: String },
    DuplicateRule { id: String, first: String, first_line: u32 },
    UnknownZone { name: String, meant: Option<String> },
    UnknownField { key: String, template: String, fields: Vec<String>, meant: Option<String> },
    MissingField { key: String, template: String },
    NoForm,
    TwoForms { one: &'static str, other: &'static str },
    BadDuration { of: String, text: String, why: &'static str },
    GraceTooShort { text: String },
    BadTime { message: String, help: String },
    ImpossibleDate { message: String, help: String },
    BadCron { message: String, help: String },
    NeverFires { message: String, help: String },
    // Texts with expressions.
    BadExpression { of: String, message: String, help: String },
    DoesNotFit { key: String, message: String, help: String },
    AlwaysCut { key: String, allowed: &'static str },
    BadPage { message: String, help: String },
}

/// What was probably meant, from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
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
    /// The line begins in a column where nothing can begin.
    Indentation,
}

/// A value that YAML takes for something else unless it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unquoted {
    /// `*/5 * * * *`
    Cron,
    /// `{{ ref }}` or `{% if … %}`
    Expression,
    /// A text that begins with this.
    Mark(char),
}

/// `text` between backticks, short, on one line, and without what looks like a secret.
pub(super) fn seen(text: &str) -> String {
    let mut short: String =
        masked(text).chars().take(MAX_SEEN + 1).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.chars().count() > MAX_SEEN {
        short.pop();
        short.push('…');
    }
    format!("`{short}`")
}

fn list<S: AsRef<str>>(names: &[S]) -> String {
    /// More names than a person reads are no help.
    const MAX_LISTED: usize = 24;
    let mut shown: Vec<String> = names.iter().take(MAX_LISTED).map(|name| seen(name.as_ref())).collect();
    if names.len() > MAX_LISTED {
        shown.push(format!("and {} more", names.len() - MAX_LISTED));
    }
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

fn did_you_mean(meant: Option<&String>) -> String {
    meant.map(|name| format!("did you mean {}? ", seen(name))).unwrap_or_default()
}

/// All codes with what they stand for, in the order of the alphabet.
///
/// Codes are pinned: scripts and editors branch on them.
pub const CODES: &[(&str, &str)] = &[
    ("alias", "a YAML alias (`*name`)"),
    ("always_cut", "a constant text that is longer than its field"),
    ("anchor", "a YAML anchor (`&name`)"),
    ("app_needed", "several apps, and none is named"),
    ("bad_cron", "a cron expression that cannot be read"),
    ("bad_duration", "a length of time that cannot be read, or is zero or negative"),
    ("bad_expression", "a text or condition with a mistake in its {{ … }}"),
    ("bad_name", "a name with characters that names cannot have"),
    ("bad_page", "a page whose path is not constant or cannot be opened"),
    ("bad_time", "a date and time that cannot be read"),
    ("bad_value", "a value that is not one of the possible ones"),
    ("control_character", "a control character such as NUL in the file"),
    ("does_not_fit", "a constant value that its template field cannot hold"),
    ("duplicate_appid", "two apps with one appid"),
    ("duplicate_key", "a key twice in one place"),
    ("duplicate_rule", "two rules with one id"),
    ("duplicate_template_id", "two templates of an app with one id"),
    ("empty_file", "a file without content"),
    ("empty_list", "a list without entries"),
    ("file_too_large", "a file over 1 MiB"),
    ("folder_too_large", "schedule files over 8 MiB in all"),
    ("grace_too_short", "a grace under 60 seconds"),
    ("ignored_file", "a file that is not read because of its name"),
    ("impossible_date", "a date or time of day that does not exist"),
    ("inline_secret", "a secret in the file itself"),
    ("kept_copy_damaged", "the kept copy of the last good files is not what was written"),
    ("key_is_no_text", "a key that is a list or a map"),
    ("merge_key", "a YAML merge key (`<<`)"),
    ("missing_field", "a field of the template without a text"),
    ("missing_key", "a key that is needed"),
    ("never_fires", "a rule that is never due"),
    ("no_effect", "a key that does nothing here"),
    ("no_folder", "the schedule folder is not there"),
    ("no_rules", "a folder without a rule"),
    ("no_value", "a key without a value"),
    ("no_when", "a `when` without a form"),
    ("not_utf8", "a file that is not UTF-8"),
    ("not_yet", "a key that this version does not carry out yet"),
    ("repeated", "a value twice in one list"),
    ("several_documents", "`---` with a second document"),
    ("syntax", "a text that is not YAML"),
    ("tab", "a tab where YAML wants spaces"),
    ("template_by_id", "a template named by its platform id"),
    ("too_deep", "values nested too deep"),
    ("too_many", "a list with too many entries"),
    ("too_many_diagnostics", "more diagnostics than are listed"),
    ("too_many_files", "too many schedule files"),
    ("too_many_rules", "too many rules in all files"),
    ("too_many_values", "a file with too many values"),
    ("two_forms", "a `when` with two forms"),
    ("type_tag", "a YAML type tag (`!name`)"),
    ("unchecked_template", "a template whose fields are not listed"),
    ("unknown_app", "an app that `tixing.yaml` does not have"),
    ("unknown_field", "a field that the template does not have"),
    ("unknown_field_type", "a template field of a type that no table knows"),
    ("unknown_key", "a key that does not exist here"),
    ("unknown_template", "a template that the app does not have"),
    ("unknown_zone", "a time zone that does not exist"),
    ("unquoted", "a text that YAML takes for something else unless it is quoted"),
    ("unreadable", "a file that cannot be read"),
    ("wrong_shape", "a text, list or map where another is needed"),
];

impl Problem {
    pub(super) fn severity(&self) -> Severity {
        let warns = matches!(
            self,
            Self::IgnoredFile { .. }
                | Self::NoRules
                | Self::NoEffect { .. }
                | Self::AlwaysCut { .. }
                | Self::UncheckedTemplate { .. }
                | Self::UnknownFieldType { .. }
                | Self::EmptyFile { needs: "" }
        );
        if warns { Severity::Warning } else { Severity::Error }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::NoFolder => "no_folder",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::FolderTooLarge { .. } => "folder_too_large",
            Self::TooManyRules { .. } => "too_many_rules",
            Self::TooManyFindings { .. } => "too_many_diagnostics",
            Self::IgnoredFile { .. } => "ignored_file",
            Self::NoRules => "no_rules",
            Self::KeptCopyDamaged => "kept_copy_damaged",
            Self::NotUtf8 => "not_utf8",
            Self::ControlCharacter { .. } => "control_character",
            Self::EmptyFile { .. } => "empty_file",
            Self::Syntax { .. } => "syntax",
            Self::Tab => "tab",
            Self::Unquoted(_) => "unquoted",
            Self::Alias => "alias",
            Self::Anchor => "anchor",
            Self::MergeKey => "merge_key",
            Self::TypeTag => "type_tag",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyValues => "too_many_values",
            Self::SeveralDocuments => "several_documents",
            Self::KeyIsNoText => "key_is_no_text",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnknownKey { .. } => "unknown_key",
            Self::MissingKey { .. } => "missing_key",
            Self::WrongShape { .. } => "wrong_shape",
            Self::NoValue { .. } => "no_value",
            Self::EmptyList { .. } => "empty_list",
            Self::TooMany { .. } => "too_many",
            Self::Repeated { .. } => "repeated",
            Self::BadName { .. } => "bad_name",
            Self::BadValue { .. } => "bad_value",
            Self::NotYet { .. } => "not_yet",
            Self::NoEffect { .. } => "no_effect",
            Self::InlineSecret => "inline_secret",
            Self::DuplicateAppid { .. } => "duplicate_appid",
            Self::DuplicateTemplateId { .. } => "duplicate_template_id",
            Self::UnknownApp { .. } => "unknown_app",
            Self::AppNeeded { .. } => "app_needed",
            Self::UncheckedTemplate { .. } => "unchecked_template",
            Self::UnknownFieldType { .. } => "unknown_field_type",
            Self::UnknownTemplate { .. } => "unknown_template",
            Self::TemplateById { .. } => "template_by_id",
            Self::DuplicateRule { .. } => "duplicate_rule",
            Self::UnknownZone { .. } => "unknown_zone",
            Self::UnknownField { .. } => "unknown_field",
            Self::MissingField { .. } => "missing_field",
            Self::NoForm => "no_when",
            Self::TwoForms { .. } => "two_forms",
            Self::BadDuration { .. } => "bad_duration",
            Self::GraceTooShort { .. } => "grace_too_short",
            Self::BadTime { .. } => "bad_time",
            Self::ImpossibleDate { .. } => "impossible_date",
            Self::BadCron { .. } => "bad_cron",
            Self::NeverFires { .. } => "never_fires",
            Self::BadExpression { .. } => "bad_expression",
            Self::DoesNotFit { .. } => "does_not_fit",
            Self::AlwaysCut { .. } => "always_cut",
            Self::BadPage { .. } => "bad_page",
        }
    }

    /// What is wrong, in English.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Unreadable { cause } => format!("cannot read this file: {cause}"),
            Self::NoFolder => "the folder of the schedule files is not there".into(),
            Self::TooManyFiles { max } => format!("more than {max} schedule files"),
            Self::FileTooLarge { bytes } => {
                format!("the file has {bytes} bytes, allowed are 1048576 (1 MiB)")
            }
            Self::FolderTooLarge { max } => {
                format!("with this file the schedule files have more than {max} bytes (8 MiB) in all")
            }
            Self::TooManyRules { max } => format!("more than {max} rules in all files"),
            Self::TooManyFindings { more, errors } => {
                format!("{more} more diagnostics are not listed; errors in all: {errors}")
            }
            Self::IgnoredFile { .. } => "this file is not read: names of schedule files end in .yaml".into(),
            Self::NoRules => "no rule in any schedule file: nothing will be sent".into(),
            Self::KeptCopyDamaged => "the kept copy of the last good schedule files is damaged".into(),
            Self::NotUtf8 => "the file is not UTF-8 text".into(),
            Self::ControlCharacter { code } => format!("control character U+{code:04X} in the file"),
            Self::EmptyFile { .. } => "the file is empty".into(),
            Self::Syntax { what, .. } => format!("this is not YAML: {what}"),
            Self::Tab => "a tab where YAML allows only spaces".into(),
            Self::Unquoted(Unquoted::Cron) => "a cron text that begins with `*` needs quotes".into(),
            Self::Unquoted(Unquoted::Expression) => {
                "a text that begins with `{{` or `{%` needs quotes".into()
            }
            Self::Unquoted(Unquoted::Mark(mark)) => format!("a text that begins with `{mark}` needs quotes"),
            Self::Alias => "YAML aliases (`*name`) are not used here".into(),
            Self::Anchor => "YAML anchors (`&name`) are not used here".into(),
            Self::MergeKey => "YAML merge keys (`<<`) are not used here".into(),
            Self::TypeTag => "YAML type tags (`!name`) are not used here".into(),
            Self::TooDeep { max } => format!("nested deeper than {max} levels"),
            Self::TooManyValues => "the file holds too many values".into(),
            Self::SeveralDocuments => "a second YAML document begins here".into(),
            Self::KeyIsNoText => "a key must be a plain word, not a list or a map".into(),
            Self::DuplicateKey { key, first_line } => {
                format!("the key {} stands here twice; the first is in line {first_line}", seen(key))
            }
            Self::UnknownKey { key, of, .. } => format!("unknown key {} in {of}", seen(key)),
            Self::MissingKey { key, of, .. } => format!("{of} needs the key `{key}`"),
            Self::WrongShape { of, needs, found, .. } => format!("{of} must be {needs}, but this is {found}"),
            Self::NoValue { of, .. } => format!("{of} has no value"),
            Self::EmptyList { of } => format!("{of} is empty"),
            Self::TooMany { of, max } => format!("{of} has more than {max} entries"),
            Self::Repeated { of, value } => format!("{} is in {of} twice", seen(value)),
            Self::BadName { text, what, .. } => format!("{} is not {what}", seen(text)),
            Self::BadValue { of, value, .. } => format!("{of} cannot be {}", seen(value)),
            Self::NotYet { key, .. } => format!("{} is not carried out by this version yet", seen(key)),
            Self::NoEffect { key, why } => format!("`{key}` has no effect here: {why}"),
            Self::InlineSecret => "a secret must not stand in this file".into(),
            Self::DuplicateAppid { first } => format!("the app {} has this appid already", seen(first)),
            Self::DuplicateTemplateId { first } => {
                format!("the template {} has this id already", seen(first))
            }
            Self::UnknownApp { name, .. } => format!("there is no app {}", seen(name)),
            Self::AppNeeded { .. } => {
                "several apps are configured, and nothing says which one this is for".into()
            }
            Self::UncheckedTemplate { name } => {
                format!(
                    "the fields of the template {} are not listed, so texts for it are not checked",
                    seen(name)
                )
            }
            Self::UnknownFieldType { key } => {
                format!(
                    "{} is of a type that the platform's table does not have; it is not checked",
                    seen(key)
                )
            }
            Self::UnknownTemplate { name, app, .. } => {
                format!("the app {} has no template {}", seen(app), seen(name))
            }
            Self::TemplateById { .. } => "this is the platform's id of a template, not its name".into(),
            Self::DuplicateRule { id, first, first_line } => {
                format!("there are two rules {}; the other is in {first} line {first_line}", seen(id))
            }
            Self::UnknownZone { name, .. } => format!("there is no time zone {}", seen(name)),
            Self::UnknownField { key, template, .. } => {
                format!("the template {} has no field {}", seen(template), seen(key))
            }
            Self::MissingField { key, template } => {
                format!("the field {} of the template {} has no text", seen(key), seen(template))
            }
            Self::NoForm => "`when` does not say when".into(),
            Self::TwoForms { one, other } => format!("`when` has two forms, `{one}` and `{other}`"),
            Self::BadDuration { of, text, why } => format!("{of} cannot be {}: {why}", seen(text)),
            Self::GraceTooShort { text } => {
                format!("`grace` is {}, but the shortest is 60 seconds", seen(text))
            }
            Self::BadTime { message, .. } | Self::ImpossibleDate { message, .. } => message.clone(),
            Self::BadCron { message, .. } => message.clone(),
            Self::NeverFires { message, .. } => message.clone(),
            Self::BadExpression { of, message, .. } => format!("mistake in {of}: {message}"),
            Self::DoesNotFit { key, message, .. } => {
                format!("the text of {} does not fit: {message}", seen(key))
            }
            Self::AlwaysCut { key, .. } => {
                format!("the text of {} is longer than its field and will be cut every time", seen(key))
            }
            Self::BadPage { message, .. } => message.clone(),
        }
    }

    /// What to do about it, in English; never empty.
    pub(super) fn help(&self) -> String {
        let help = self.fix();
        if help.is_empty() { "correct it here; the examples in schedules/ show how".to_owned() } else { help }
    }

    fn fix(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check that it exists and that this user may read it".into(),
            Self::NoFolder => "make the folder, or correct `schedules` in tixing.yaml".into(),
            Self::TooManyFiles { .. } => "put several rules into one file".into(),
            Self::FileTooLarge { .. } => "split it into several files".into(),
            Self::FolderTooLarge { .. } => {
                "keep the texts shorter, or put people into tags instead of `openids`".into()
            }
            Self::TooManyRules { .. } => {
                "one rule reaches many recipients: choose them with `to` instead".into()
            }
            Self::TooManyFindings { .. } => "mend those above first".into(),
            Self::IgnoredFile { instead } => format!("rename it to {}", seen(instead)),
            Self::NoRules => "write a file such as schedules/habit.yaml with `rules:`".into(),
            Self::KeptCopyDamaged => "mend the schedule files and reload; a new copy is kept then".into(),
            Self::NotUtf8 => "save the file as UTF-8 (not GBK, not UTF-16)".into(),
            Self::ControlCharacter { .. } => "delete it; retype the line if you cannot see it".into(),
            Self::EmptyFile { needs: "" } => "delete it, or write `rules:`".into(),
            Self::EmptyFile { needs } => format!("write {needs}"),
            Self::Syntax { hint, .. } => hint.map_or_else(
                || "compare this line and the one above with the examples in schedules/".into(),
                advice,
            ),
            Self::Tab => "replace it by spaces".into(),
            Self::Unquoted(Unquoted::Cron) => "write it like this: `cron: \"*/5 * * * *\"`".into(),
            Self::Unquoted(Unquoted::Expression) => {
                "write it like this: `thing1: \"{{ fields.name }}\"`".into()
            }
            Self::Unquoted(Unquoted::Mark(_)) => "put the text in double quotes: `key: \"text\"`".into(),
            Self::Alias => "write the value out, or put the text in quotes if it begins with `*`".into(),
            Self::Anchor => "write the value out, or put the text in quotes if it begins with `&`".into(),
            Self::MergeKey => "write the keys out".into(),
            Self::TypeTag => "leave it out, or put the text in quotes if it begins with `!`".into(),
            Self::TooDeep { .. } => "no key goes that deep; look for brackets that are not closed".into(),
            Self::TooManyValues => "split the file, or put people into tags instead of `openids`".into(),
            Self::SeveralDocuments => "delete the `---`, or put the rest into a file of its own".into(),
            Self::KeyIsNoText => "write `key: value`".into(),
            Self::DuplicateKey { .. } => "keep one of them".into(),
            Self::UnknownKey { allowed, meant, .. } => {
                format!("{}allowed: {}", did_you_mean(meant.as_ref()), list(allowed))
            }
            Self::MissingKey { example, .. } => format!("write for example `{example}`"),
            Self::WrongShape { hint: Some(hint), .. } => advice(*hint),
            Self::WrongShape { example, hint: None, .. } => format!("write for example `{example}`"),
            Self::NoValue { example, .. } => {
                format!("write for example `{example}`, or delete the key")
            }
            Self::EmptyList { .. } => "name at least one, or delete the key".into(),
            Self::TooMany { .. } => "use fewer".into(),
            Self::Repeated { .. } => "keep one of them".into(),
            Self::BadName { allowed, .. } => format!("allowed are {allowed}"),
            Self::BadValue { allowed, meant, .. } => {
                format!("{}allowed: {allowed}", did_you_mean(meant.as_ref()))
            }
            Self::NotYet { instead, .. } => instead.clone(),
            Self::NoEffect { .. } => "delete the key".into(),
            Self::InlineSecret => {
                "say where it is: `{ credential: NAME }` (systemd), `{ file: PATH }` or `{ env: NAME }`; and \
                 renew the secret if others could read this file"
                    .into()
            }
            Self::DuplicateAppid { .. } => "keep one app, and give it all templates".into(),
            Self::DuplicateTemplateId { .. } => "keep one of the two names".into(),
            Self::UnknownApp { known, meant, .. } => {
                format!("{}apps in tixing.yaml: {}", did_you_mean(meant.as_ref()), list(known))
            }
            Self::AppNeeded { known } => format!("add `app:` with one of: {}", list(known)),
            Self::UncheckedTemplate { .. } => {
                "list them in their order as the platform shows them: `fields: [thing1, time2]`".into()
            }
            Self::UnknownFieldType { .. } => {
                "compare it with the template on mp.weixin.qq.com; keys look like `thing1`".into()
            }
            Self::UnknownTemplate { known, meant, .. } => {
                format!("{}templates of this app: {}", did_you_mean(meant.as_ref()), list(known))
            }
            Self::TemplateById { name } => format!("write its name in tixing.yaml: {}", seen(name)),
            Self::DuplicateRule { .. } => "rename one of them; ids are unique over all files".into(),
            Self::UnknownZone { meant: Some(meant), .. } => {
                format!("write {}; names are those of the IANA list", seen(meant))
            }
            Self::UnknownZone { meant: None, .. } => {
                "write a name of the IANA list such as `Asia/Shanghai`; offsets and abbreviations do not say \
                 when clocks change"
                    .into()
            }
            Self::UnknownField { fields, meant, .. } => {
                format!("{}its fields: {}", did_you_mean(meant.as_ref()), list(fields))
            }
            Self::MissingField { key, .. } => format!("add `{key}: \"…\"` under `data`"),
            Self::NoForm => "write `{ cron: \"0 9 * * MON-FRI\" }` or `{ at: \"2027-01-31 09:00\" }`".into(),
            Self::TwoForms { .. } => "keep one of them, and make a second rule for the other".into(),
            Self::BadDuration { .. } => {
                "write a whole number and a unit: `90s`, `30m`, `24h`, `1d`, `2 weeks`".into()
            }
            Self::GraceTooShort { .. } => "write `60s` or more; `30m` is the default".into(),
            Self::BadTime { help, .. } | Self::ImpossibleDate { help, .. } => help.clone(),
            Self::BadCron { help, .. } => help.clone(),
            Self::NeverFires { help, .. } => help.clone(),
            Self::BadExpression { help, .. } => help.clone(),
            Self::DoesNotFit { help, .. } => help.clone(),
            Self::AlwaysCut { allowed, .. } => format!("shorten it; allowed: {allowed}"),
            Self::BadPage { help, .. } => help.clone(),
        }
    }
}

fn advice(hint: Hint) -> String {
    match hint {
        Hint::FullWidth(c) => {
            format!("there is a full-width `{c}` in this line; type `{}` instead", half_width(c))
        }
        Hint::SpaceAfterColon => "put a space after the colon: `key: value`".into(),
        Hint::QuoteText => "put the text in double quotes: `key: \"text\"`".into(),
        Hint::CloseQuote => "a quote that is opened here, or above, is not closed".into(),
        Hint::CloseBracket => "a bracket that is opened here, or above, is not closed".into(),
        Hint::Indentation => "begin the line in the same column as the keys beside it, with spaces".into(),
    }
}

/// What the Chinese keyboard's `c` stands for.
fn half_width(c: char) -> char {
    match c {
        '：' => ':',
        '，' => ',',
        '“' | '”' => '"',
        '‘' | '’' => '\'',
        '（' => '(',
        '）' => ')',
        '［' | '【' => '[',
        '］' | '】' => ']',
        '｛' => '{',
        '｝' => '}',
        '－' => '-',
        '＃' => '#',
        '\u{3000}' | '\u{a0}' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_none_is_there_twice() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn values_are_shown_short_and_without_secrets() {
        assert_eq!(seen("喝\n水"), "`喝 水`");
        assert_eq!(seen(&"x".repeat(1_000_000)).chars().count(), MAX_SEEN + 3);
        assert!(!seen("0123456789abcdef0123456789abcdef").contains("abc"));
    }
}
