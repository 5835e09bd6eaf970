//! Platform templates: their ids, kinds, and typed fields.
//!
//! The types of the fields come from the platform's parameter table
//! (`api_sendmessage`, read 2026-11-22); what fits into which is decided in `plan::fields`.

use super::id::{BadId, TemplateId, TemplateName};
use super::language::Phrase;

/// A template as a rule uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name in `tixing.yaml`.
    pub name: TemplateName,
    /// The platform's id.
    pub id: TemplateId,
    /// One acceptance for one message, or a standing one.
    pub kind: TemplateKind,
    /// Its fields in order; `None` while nobody has listed or pulled them: then nothing is checked.
    pub fields: Option<Vec<FieldKey>>,
}

/// A template as the platform describes it, whatever it is called here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The platform's id.
    pub id: TemplateId,
    /// Its title, as people see it.
    pub title: String,
    /// One acceptance for one message, or a standing one.
    pub kind: TemplateKind,
    /// Its fields in order.
    pub fields: Vec<DescribedField>,
}

impl Described {
    /// Whether it is of the newer kind (新版一次性订阅消息, service cards), which the calls for subscribing and sending do not
    /// take: the platform lists those of one-time kind and without content (community thread 0000a450288eb026d0d405f506b000,
    /// read 2026-11-27).
    #[must_use]
    pub fn is_service_card(&self) -> bool {
        self.fields.is_empty()
    }
}

impl TemplateId {
    /// Whether it is no id but the number of a service card's title in the public library, 10000001–19999999 (新版一次性订阅消息,
    /// read 2026-11-22).
    #[must_use]
    pub fn is_service_card(&self) -> bool {
        let number = self.as_str().parse::<u32>().unwrap_or_default();
        (10_000_001..=19_999_999).contains(&number)
    }
}

/// A field with what stands before it on the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedField {
    /// Its key.
    pub key: FieldKey,
    /// What stands before it.
    pub label: String,
    /// The values that it takes, where it takes no others and they were asked for.
    pub values: Vec<String>,
}

/// How acceptances of a template count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TemplateKind {
    /// One acceptance, one message (platform type 2).
    OneTime,
    /// One acceptance stands until it is refused (platform type 3).
    LongTerm,
}

impl TemplateKind {
    /// The word in YAML and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one_time",
            Self::LongTerm => "long_term",
        }
    }
}

/// Key of a template field: a type and a number, as in `thing1` or `character_string12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldKey {
    text: Box<str>,
    kind: FieldType,
}

/// Type of a template field, from the letters of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldType {
    /// 事物
    Thing,
    /// 数字
    Number,
    /// 字母
    Letter,
    /// 符号
    Symbol,
    /// 字符串
    CharacterString,
    /// 时间
    Time,
    /// 日期
    Date,
    /// 金额
    Amount,
    /// 电话
    PhoneNumber,
    /// 车牌
    CarNumber,
    /// 姓名
    Name,
    /// 汉字
    Phrase,
    /// 枚举值
    EnumString,
    /// A short `thing`; in no official table, seen on real templates.
    ShortThing,
    /// A prefix the table does not know: passed through with a warning, never refused.
    Other,
}

impl FieldKey {
    /// Parses a key as the platform writes it, without braces and without `.DATA`.
    ///
    /// # Errors
    /// [`BadId`] unless it is lower-case letters and `_`, then digits.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let bad = BadId {
            what: Phrase::new("a template field", "模板字段"),
            allowed: Phrase::new(
                "a type and a number such as thing1 or character_string2, without .DATA",
                "类型加数字，例如 thing1、character_string2，不带 .DATA",
            ),
        };
        let prefix = text.trim_end_matches(|c: char| c.is_ascii_digit());
        let letters = prefix.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if prefix.is_empty() || prefix.len() == text.len() || !letters || text.len() > 64 {
            return Err(bad);
        }
        let kind = match prefix {
            "thing" => FieldType::Thing,
            "number" => FieldType::Number,
            "letter" => FieldType::Letter,
            "symbol" => FieldType::Symbol,
            "character_string" => FieldType::CharacterString,
            "time" => FieldType::Time,
            "date" => FieldType::Date,
            "amount" => FieldType::Amount,
            "phone_number" => FieldType::PhoneNumber,
            "car_number" => FieldType::CarNumber,
            "name" => FieldType::Name,
            "phrase" => FieldType::Phrase,
            "enum" | "enum_string" => FieldType::EnumString,
            "short_thing" => FieldType::ShortThing,
            _ => FieldType::Other,
        };
        Ok(Self { text: text.into(), kind })
    }

    /// The key as the platform writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The type that its letters name.
    #[must_use]
    pub fn kind(&self) -> FieldType {
        self.kind
    }
}
