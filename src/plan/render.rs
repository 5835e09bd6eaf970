//! A rule's texts made one message: MiniJinja, compiled and checked once, filled per recipient.
//!
//! What a text may use is decided in `script`, what fits a field in `fields`. Values of recipients are
//! never templates: they are put in, not read. Whether a message may be sent is not asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Arc, LazyLock};

use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use chrono::{DateTime, Utc};
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use super::fields::{self, Misfit};
use super::{constant, recurrence, script, syntax};
use crate::domain::appointment::Appointment;
use crate::domain::id::{AppointmentId, FieldName, OpenId};
use crate::domain::language::Said;
use crate::domain::message::Message;
use crate::domain::occurrence::{Due, SkipReason};
use crate::domain::recipient::{FieldValue, Profile};
use crate::domain::rule::{Overflow, Rule};
use crate::domain::template::{FieldKey, FieldType};
use crate::domain::when::Form;
use crate::domain::zone::{Clocks, Zone};

/// The most bytes one text may put out.
const MAX_OUTPUT_BYTES: usize = 4096;
/// Name of the page's text; no data key can have it, for want of a number.
const PAGE: &str = "page";
/// How a due time looks that no `local` formats.
const PLAIN_TIME: &str = "%Y-%m-%d %H:%M";
/// How many due times a text is tried on that shows the time of day alone; no form has more kinds of them.
const N_TIMES: usize = 8;
/// How many due times constant texts are tried on: two weeks of a daily rule have all days of the week, and days
/// of the month with one and two digits; fourteen of a monthly one have all months.
const N_SAMPLES: usize = 14;

/// Why a text of a rule cannot work, for an admin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RenderError {
    /// The data key, `page`, or `where`.
    pub key: Box<str>,
    /// What is wrong, with the value seen.
    pub message: Said,
    /// Byte offset in the source where it is wrong.
    pub offset: usize,
    /// What to write instead; may be empty.
    pub help: Said,
}

/// What a message is made of besides its rule.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Whom it is for.
    pub openid: &'a OpenId,
    /// What is known of the person.
    pub profile: &'a Profile,
    /// The occurrence's due time.
    pub due: &'a Due,
    /// The appointment that it reminds of.
    pub appointment: Option<Shown<'a>>,
    /// By whose clock times are shown.
    pub zone: Zone,
}

/// An appointment, as texts show it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a AppointmentId,
    /// The appointment.
    pub appointment: &'a Appointment,
}

/// Why there is no message for one recipient: the first text that cannot be made, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Why the recipient is skipped.
    pub reason: SkipReason,
    /// The data key, or `page`.
    pub key: String,
    /// What the text shows and this recipient lacks, as `fields.city` or `ref`; may be empty.
    pub missing: Vec<String>,
    /// The form that its field allows, for a value that has another.
    pub misfit: Option<Misfit>,
}

/// The texts of one rule, compiled.
pub struct Compiled {
    rule: Rule,
    environment: Environment<'static>,
    texts: Vec<Text>,
    /// `rule`, as scripts see it.
    about_rule: Value,
    /// What the page shows of the recipient without a way out.
    page_shown: BTreeSet<String>,
    /// Fields of the recipient by data key, or `page`.
    looks_at: BTreeMap<String, BTreeSet<FieldName>>,
}

/// One data value.
struct Text {
    key: FieldKey,
    overflow: Overflow,
    takes: Takes,
    /// What it shows of the recipient without a way out.
    shown: BTreeSet<String>,
}

/// What a text takes in, at most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing that changes: it is always the same.
    Nothing,
    /// The due time's time of day: it is the same on all days that are due at this time.
    Clock,
    /// The due time: it is the same for all recipients.
    Due,
    /// Something of the recipient.
    Recipient,
}

/// What all rules share: limits, filters, how values are put out.
static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = script::environment();
    environment.add_filter("local", local);
    environment.set_formatter(format_value);
    environment
});

/// Why a value cannot be made.
#[derive(Debug)]
enum Fault {
    /// Something it shows is missing, or nothing is left of it.
    Missing,
    /// It fails on these values, or is too large.
    Failed(Said),
    /// It does not fit its field.
    Misfit { value: String, misfit: Misfit },
}

impl Compiled {
    /// Compiles and checks all texts of a rule.
    ///
    /// # Errors
    /// Every fault of every text, in key order, the page last.
    pub fn new(rule: &Rule) -> Result<Self, Vec<RenderError>> {
        let mut environment = BASE.clone();
        let mut texts = Vec::new();
        let mut looks_at = BTreeMap::new();
        let mut faults = Vec::new();
        let place = match &rule.when.form {
            Form::Relative(_) => script::Place::Reminder,
            Form::Cron(_) | Form::At(_) | Form::Every(_) => script::Place::Text,
        };
        let mut add = |key: &str, source: &str, faults: &mut Vec<RenderError>| {
            let uses = script::check_text(key, source, place).map_err(|found| faults.extend(found)).ok()?;
            match environment.add_template_owned(key.to_owned(), source.to_owned()) {
                Ok(()) => {
                    looks_at.insert(key.to_owned(), uses.fields());
                    Some(uses)
                }
                Err(error) => {
                    faults.push(syntax::syntax(key, source, &error));
                    None
                }
            }
        };
        for (key, source) in &rule.data {
            if let Some(uses) = add(key.as_str(), source, &mut faults) {
                let default = if key.kind() == FieldType::Thing { Overflow::Cut } else { Overflow::Fail };
                let overflow = rule.overflow.get(key).copied().unwrap_or(default);
                let takes = match (uses.recipient, uses.due, uses.clock) {
                    (true, _, _) => Takes::Recipient,
                    (false, true, _) => Takes::Due,
                    (false, false, true) => Takes::Clock,
                    (false, false, false) => Takes::Nothing,
                };
                texts.push(Text { key: key.clone(), overflow, takes, shown: uses.shown() });
            }
        }
        let mut page_shown = BTreeSet::new();
        if let Some(source) = &rule.page
            && let Some(uses) = add(PAGE, source, &mut faults)
        {
            page_shown = uses.shown();
            faults.extend(bad_path(source));
        }
        if faults.is_empty() {
            let about_rule = Value::from_pairs([("id", rule.id.as_str())]);
            Ok(Self { rule: rule.clone(), environment, texts, about_rule, page_shown, looks_at })
        } else {
            Err(faults)
        }
    }

    /// Fields of the recipient that the texts look at: by data key, or `page`.
    pub fn recipient_fields(&self) -> impl Iterator<Item = (&str, &BTreeSet<FieldName>)> {
        self.looks_at.iter().map(|(key, fields)| (key.as_str(), fields))
    }

    /// Keys of values that take something from recipient or appointment; a due time that follows from an appointment is something of it.
    #[must_use]
    pub fn personal(&self) -> BTreeSet<String> {
        let of_appointments = match &self.rule.when.form {
            Form::Relative(_) => true,
            Form::Cron(_) | Form::At(_) | Form::Every(_) => false,
        };
        let personal = |text: &&Text| match text.takes {
            Takes::Nothing => false,
            Takes::Clock | Takes::Due => of_appointments,
            Takes::Recipient => true,
        };
        self.texts.iter().filter(personal).map(|text| text.key.as_str().to_owned()).collect()
    }

    /// Whether the text of this key takes nothing from the recipient.
    #[must_use]
    pub fn is_constant(&self, key: &FieldKey) -> bool {
        self.texts.iter().any(|text| text.key == *key && text.takes != Takes::Recipient)
    }

    /// Values that do not fit their fields whoever gets them, tried on due times of the rule.
    ///
    /// Only texts that take nothing from the recipient can be judged before there is one.
    #[must_use]
    pub fn constant_misfits(&self) -> Vec<RenderError> {
        let n_samples = |text: &Text| match text.takes {
            Takes::Nothing => 1,
            Takes::Clock => N_TIMES,
            Takes::Due => N_SAMPLES,
            Takes::Recipient => 0,
        };
        let most = self.texts.iter().map(n_samples).max().unwrap_or(0);
        let dues = recurrence::next_dues(&self.rule, DateTime::UNIX_EPOCH, most);
        let nobody = Arc::new(person(&Profile::default()));
        let contexts: Vec<Value> =
            dues.iter().map(|due| self.context(&nobody, due, None, self.rule.zone)).collect();
        // The first due time of each time of day.
        let mut times = BTreeSet::new();
        let new = dues.iter().map(|due| times.insert(due.at.with_timezone(&self.rule.zone.tz()).time()));
        let new: Vec<bool> = new.collect();
        let misfit = |text: &Text| {
            let samples = contexts.iter().zip(&new).take(n_samples(text));
            let mut samples = samples.filter(|(_, new)| **new || text.takes == Takes::Due);
            let fault = samples.find_map(|(context, _)| self.value(text, context).err())?;
            let (message, help) = match fault {
                Fault::Missing => (
                    Said::new("it is empty", "内容为空"),
                    Said::new("the platform refuses empty values", "微信不接受空的字段，请填上内容"),
                ),
                Fault::Failed(why) => (why, Said::default()),
                Fault::Misfit { value, misfit } => {
                    let allowed = misfit.allowed();
                    (
                        Said::same(format!("`{value}`")),
                        Said::new(
                            format!("allowed: {}", allowed.en),
                            format!("这类字段可以填：{}", allowed.zh),
                        ),
                    )
                }
            };
            Some(RenderError { key: text.key.as_str().into(), message, offset: 0, help })
        };
        self.texts.iter().filter_map(misfit).collect()
    }

    /// The message for one recipient.
    ///
    /// Control and bidi characters are removed, values trimmed; one that is too long is cut on a character
    /// boundary where its rule or type says so. A template whose fields nobody listed is not checked.
    ///
    /// # Errors
    /// - [`SkipReason::MissingField`]: a text shows something that this recipient lacks, or nothing.
    /// - [`SkipReason::Overflow`]: a value does not fit its field, or its text fails on these values.
    pub fn render(&self, input: &Input<'_>) -> Result<Message, SkipReason> {
        self.try_render(input).map_err(|unfit| unfit.reason)
    }

    /// As [`Compiled::render`], and says of a recipient who is skipped what is wrong, for people.
    ///
    /// # Errors
    /// The first text, in key order, that cannot be made.
    pub fn try_render(&self, input: &Input<'_>) -> Result<Message, Unfit> {
        let context =
            self.context(&Arc::new(person(input.profile)), input.due, input.appointment, input.zone);
        let data = self.texts.iter().map(|text| {
            let value = self.value(text, &context);
            let value =
                value.map_err(|fault| unfit(text.key.as_str(), &text.shown, &fault, input.profile))?;
            Ok((text.key.as_str().to_owned(), value))
        });
        let data = data.collect::<Result<_, _>>()?;
        let page = match self.rule.page {
            Some(_) => {
                let page = self.put_out(PAGE, &context);
                let page = page.map_err(|fault| unfit(PAGE, &self.page_shown, &fault, input.profile))?;
                Some(page.trim_start_matches('/').to_owned())
            }
            None => None,
        };
        Ok(Message { to: input.openid.clone(), template: self.rule.template.id.clone(), page, data })
    }

    fn value(&self, text: &Text, context: &Value) -> Result<String, Fault> {
        let value = self.put_out(text.key.as_str(), context)?;
        if value.is_empty() {
            return Err(Fault::Missing);
        }
        if self.rule.template.fields.is_none() {
            return Ok(value);
        }
        match (fields::check(text.key.kind(), &value), text.overflow) {
            (Ok(()), _) => Ok(value),
            (Err(Misfit::TooLong { max, .. }), Overflow::Cut) => {
                let cut = value.chars().take(max).collect::<String>().trim_end().to_owned();
                match fields::check(text.key.kind(), &cut) {
                    Ok(()) => Ok(cut),
                    Err(misfit) => Err(Fault::Misfit { value, misfit }),
                }
            }
            (Err(misfit), Overflow::Cut | Overflow::Fail) => Err(Fault::Misfit { value, misfit }),
        }
    }

    fn put_out(&self, name: &str, context: &Value) -> Result<String, Fault> {
        let fault = |error: Error| {
            let kind = error.kind();
            if kind == ErrorKind::UndefinedError {
                Fault::Missing
            } else if kind == ErrorKind::OutOfFuel {
                Fault::Failed(Said::new("it takes too long", "计算量太大"))
            } else if kind == ErrorKind::WriteFailure {
                Fault::Failed(Said::new(
                    format!("it is longer than {MAX_OUTPUT_BYTES} bytes"),
                    format!("内容超过 {MAX_OUTPUT_BYTES} 字节"),
                ))
            } else {
                let why = error.detail().map_or_else(|| kind.to_string(), str::to_owned);
                let zh = format!("计算时出错（{why}）");
                Fault::Failed(Said::new(why, zh))
            }
        };
        let template = self.environment.get_template(name).map_err(fault)?;
        let mut out = Capped(Vec::new());
        template.render_captured_to(context.clone(), &mut out).map_err(fault)?;
        Ok(clean(&String::from_utf8_lossy(&out.0)).trim().to_owned())
    }

    fn context(
        &self,
        person: &Arc<BTreeMap<&'static str, Value>>,
        due: &Due,
        appointment: Option<Shown<'_>>,
        zone: Zone,
    ) -> Value {
        let instant = |at| Value::from_object(Instant { at, zone: zone.tz() });
        let appointment = appointment.map(|shown| {
            let fields = shown.appointment.fields.iter();
            let own = [("at", instant(shown.appointment.at)), ("id", Value::from(shown.id.as_str()))];
            // Fields of these names are hidden by the appointment's own.
            let fields = fields.map(|(name, value)| (name.as_str(), field(value)));
            Value::from_pairs(fields.filter(|(name, _)| !matches!(*name, "at" | "id")).chain(own))
        });
        let due = instant(due.at);
        let (person, rule) = (Arc::clone(person), self.about_rule.clone());
        Value::from_object(Known { due, rule, person, appointment })
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("rule", &self.rule.id).finish_non_exhaustive()
    }
}

fn unfit(key: &str, shown: &BTreeSet<String>, fault: &Fault, profile: &Profile) -> Unfit {
    let lacks = |name: &&String| match name.strip_prefix("fields.") {
        Some(field) => !profile.fields.keys().any(|known| known.as_str() == field),
        // Which field of an appointment is missing is not told apart: all that the text shows are.
        None => name.starts_with("appointment.") || profile.reference.is_none(),
    };
    let (reason, misfit, missing) = match fault {
        Fault::Missing => {
            (SkipReason::MissingField, None, shown.iter().filter(lacks).cloned().collect::<Vec<_>>())
        }
        Fault::Failed(_) => (SkipReason::Overflow, None, Vec::new()),
        Fault::Misfit { value: _, misfit } => (SkipReason::Overflow, Some(*misfit), Vec::new()),
    };
    Unfit { reason, key: key.to_owned(), missing, misfit }
}

/// The text that the source of a value puts out whoever it is for, without blanks at its ends.
#[must_use]
pub fn fixed_text(source: &str) -> String {
    clean(&constant::parts(source))
}

/// What scripts see of a recipient; `ref` is left out where there is none.
pub(super) fn person(profile: &Profile) -> BTreeMap<&'static str, Value> {
    let mut known = BTreeMap::from([
        (
            "fields",
            Value::from_pairs(profile.fields.iter().map(|(name, value)| (name.as_str(), field(value)))),
        ),
        ("tags", profile.tags.iter().map(|tag| Value::from(tag.as_str())).collect::<Value>()),
    ]);
    if let Some(reference) = &profile.reference {
        known.insert("ref", Value::from(reference.as_str()));
    }
    known
}

/// A field as scripts see it.
pub(super) fn field(value: &FieldValue) -> Value {
    match value {
        FieldValue::Text(text) => Value::from(text.as_str()),
        FieldValue::Whole(number) => Value::from(*number),
        FieldValue::Real(number) => Value::from(*number),
        FieldValue::Bool(yes) => Value::from(*yes),
    }
}

/// Whether `local` can format with this.
pub(super) fn is_time_format(format: &str) -> bool {
    !format.is_empty() && !StrftimeItems::new(format).any(|item| item == Item::Error)
}

/// The variables of a text: a message is made of one, so it is no map that is filled first.
#[derive(Debug)]
struct Known {
    due: Value,
    rule: Value,
    person: Arc<BTreeMap<&'static str, Value>>,
    appointment: Option<Value>,
}

impl Object for Known {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "due" => Some(self.due.clone()),
            "rule" => Some(self.rule.clone()),
            "appointment" => self.appointment.clone(),
            other => self.person.get(other).cloned(),
        }
    }
}

/// Whether what this formats is the same on each day.
pub(super) fn is_clock_format(format: &str) -> bool {
    let of_a_day = |item: Item<'_>| match item {
        Item::Literal(_) | Item::Space(_) => true,
        Item::Numeric(what, _) => {
            matches!(what, Numeric::Hour | Numeric::Hour12 | Numeric::Minute | Numeric::Second)
        }
        Item::Fixed(what) => matches!(what, Fixed::LowerAmPm | Fixed::UpperAmPm),
        Item::OwnedLiteral(_) | Item::OwnedSpace(_) | Item::Error => false,
    };
    StrftimeItems::new(format).all(of_a_day)
}

/// An instant in the zone of its rule, as scripts see it.
#[derive(Debug)]
struct Instant {
    at: DateTime<Utc>,
    zone: Clocks,
}

impl Object for Instant {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at.with_timezone(&self.zone).format(PLAIN_TIME))
    }
}

fn local(value: &Value, format: &str) -> Result<String, Error> {
    let cannot = |why| Error::new(ErrorKind::InvalidOperation, why);
    let instant = value.downcast_object_ref::<Instant>().ok_or_else(|| cannot("`local` formats `due`"))?;
    let mut text = String::new();
    // Formatting reports a bad format as an error of the writer, and `to_string` would panic.
    match write!(text, "{}", instant.at.with_timezone(&instant.zone).format(format)) {
        Ok(()) => Ok(text),
        Err(fmt::Error) => Err(cannot("this is no time format")),
    }
}

/// Puts out one inserted value; in the page percent-encoded.
fn format_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if state.name() != PAGE {
        return minijinja::escape_formatter(out, state, value);
    }
    let encoded = percent_encoded(&clean(&value.to_string()));
    out.write_str(&encoded).map_err(|fmt::Error| Error::new(ErrorKind::WriteFailure, "the page is too long"))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes all");
        }
    }
    encoded
}

/// Without what a reader cannot see and the platform refuses: control, line and bidi characters.
fn clean(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{feff}')
    };
    text.chars().filter(|c| !unseen(*c)).collect()
}

/// What is wrong with the path of a page, which must stand before the first value.
fn bad_path(source: &str) -> Option<RenderError> {
    let start = constant::beginning(source);
    let (path, ended) = match start.split_once('?') {
        Some((path, _)) => (path, true),
        None => (start.as_str(), start.trim_end() == source.trim_end()),
    };
    let path = path.trim().trim_start_matches('/');
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let message = match (ended, path.chars().find(|c| !good(*c))) {
        (true, None) if !path.is_empty() => return None,
        (true, None) => Said::new("the path is empty", "页面路径为空"),
        (_, Some(c)) => {
            let c = c.escape_debug();
            Said::new(format!("`{c}` cannot be in a path"), format!("页面路径里不能有 `{c}`"))
        }
        (false, None) => Said::new("a value stands in the path", "页面路径里不能填变量"),
    };
    let help = Said::new(
        "write a constant path, values after `?`: pages/visit/index?id={{ fields.id }}",
        "路径写固定的，变量放在 `?` 后面：pages/visit/index?id={{ fields.id }}",
    );
    Some(RenderError { key: PAGE.into(), message, offset: 0, help })
}

/// Takes up to [`MAX_OUTPUT_BYTES`].
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
