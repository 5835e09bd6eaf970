//! JSON as a tree that forgets nothing: duplicate keys are seen, whole numbers stay whole.
//!
//! A document that two readers may read in two ways (`{"openid": A, "openid": B}`) is refused, so
//! what a proxy checked is what counts here. The size of the body bounds the tree, serde_json its depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::problem::Problem;

/// Longest unknown key that a refusal repeats.
const SHOWN_KEY_CHARS: usize = 32;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(i64),
    /// A whole number beyond `i64`; no shape takes it.
    Beyond,
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The object that `body` is.
///
/// # Errors
/// 400 unless it is one JSON document, 422 unless that is an object without duplicate keys anywhere.
pub(super) fn object(body: &[u8]) -> Result<Object, Problem> {
    // The parser's words would repeat what it read.
    let json: Json = serde_json::from_slice(body).map_err(|_quotes_the_body| Problem::not_json())?;
    if let Some(key) = duplicate(&json) {
        return Err(Problem::malformed(format!("{} is there twice", shown(key))));
    }
    json.object("the document")
}

/// An object whose keys are taken one by one, so that what remains is unknown.
#[derive(Debug)]
pub(super) struct Object {
    name: String,
    entries: Vec<(String, Json)>,
}

impl Object {
    /// Takes the value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some(self.entries.swap_remove(at).1)
    }

    /// All that is left.
    pub(super) fn into_entries(self) -> Vec<(String, Json)> {
        self.entries
    }

    /// # Errors
    /// 422 with the name of a key that nobody took.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => Err(Problem::malformed(format!("{} is no key of {}", shown(key), self.name))),
        }
    }
}

impl Json {
    /// The text that `name` has to be.
    ///
    /// # Errors
    /// 422 with the name; so in all of these.
    pub(super) fn text(self, name: &str) -> Result<String, Problem> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Null
            | Self::Bool(_)
            | Self::Whole(_)
            | Self::Beyond
            | Self::Real(_)
            | Self::List(_)
            | Self::Object(_) => Err(Problem::malformed(format!("`{name}` must be text"))),
        }
    }

    pub(super) fn truth(self, name: &str) -> Result<bool, Problem> {
        match self {
            Self::Bool(truth) => Ok(truth),
            Self::Null
            | Self::Whole(_)
            | Self::Beyond
            | Self::Real(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Object(_) => Err(Problem::malformed(format!("`{name}` must be true or false"))),
        }
    }

    pub(super) fn whole(self, name: &str) -> Result<i64, Problem> {
        match self {
            Self::Whole(whole) => Ok(whole),
            Self::Null
            | Self::Bool(_)
            | Self::Beyond
            | Self::Real(_)
            | Self::Text(_)
            | Self::List(_)
            | Self::Object(_) => Err(Problem::malformed(format!("`{name}` must be a whole number"))),
        }
    }

    pub(super) fn list(self, name: &str) -> Result<Vec<Self>, Problem> {
        match self {
            Self::List(list) => Ok(list),
            Self::Null
            | Self::Bool(_)
            | Self::Whole(_)
            | Self::Beyond
            | Self::Real(_)
            | Self::Text(_)
            | Self::Object(_) => Err(Problem::malformed(format!("`{name}` must be a list"))),
        }
    }

    pub(super) fn object(self, name: &str) -> Result<Object, Problem> {
        match self {
            Self::Object(entries) => Ok(Object { name: name.to_owned(), entries }),
            Self::Null
            | Self::Bool(_)
            | Self::Whole(_)
            | Self::Beyond
            | Self::Real(_)
            | Self::Text(_)
            | Self::List(_) => Err(Problem::malformed(format!("`{name}` must be an object"))),
        }
    }
}

/// `key` for a refusal: a key somebody made up may be anything, so only a short plain one is repeated.
pub(super) fn shown(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !key.is_empty() && key.len() <= SHOWN_KEY_CHARS && key.bytes().all(plain) {
        format!("`{key}`")
    } else {
        "a key".to_owned()
    }
}

fn duplicate(json: &Json) -> Option<&str> {
    match json {
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Beyond | Json::Real(_) | Json::Text(_) => None,
        Json::List(list) => list.iter().find_map(duplicate),
        Json::Object(entries) => {
            let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            let twice = keys.array_windows().find_map(|[a, b]| (a == b).then_some(*a));
            twice.or_else(|| entries.iter().find_map(|(_, value)| duplicate(value)))
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Whole(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(i64::try_from(value).map_or(Json::Beyond, Json::Whole))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Real(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = from.next_element()? {
                    list.push(value);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = from.next_entry()? {
                    entries.push(entry);
                }
                Ok(Json::Object(entries))
            }
        }

        from.deserialize_any(Tree)
    }
}
