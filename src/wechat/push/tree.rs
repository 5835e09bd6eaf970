//! What a pushed document says, XML or JSON alike: texts, lists and named parts.
//!
//! Depth and size are bounded; a document type, and entities of its own, are refused. Numbers are texts: the platform
//! writes the same field now as one, now as the other.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

/// Deepest nesting; the platform's own documents have four levels.
const MAX_DEPTH: usize = 8;

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Text, a number, or a truth.
    Text(String),
    /// Several parts.
    List(Vec<Node>),
    /// Named parts in their order; a name may be there several times.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a document; the outermost element of XML has no name here.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim();
        if text.starts_with('<') { xml(text) } else { json(serde_json::from_str(text).ok()?, 0) }
    }

    /// The part of this name.
    pub(super) fn part(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(parts) => parts.iter().find_map(|(of, part)| (of == name).then_some(part)),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text of this name.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.part(name)? {
            Self::Text(text) => Some(text.trim().to_owned()),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// All parts of this name, here or in the first part that has any; a list counts as its items.
    pub(super) fn all(&self, name: &str) -> Vec<&Self> {
        let Self::Map(parts) = self else { return Vec::new() };
        let mut found = Vec::new();
        for (_, part) in parts.iter().filter(|(of, _)| of == name) {
            match part {
                Self::List(items) => found.extend(items),
                Self::Text(_) | Self::Map(_) => found.push(part),
            }
        }
        if found.is_empty() {
            found =
                parts.iter().map(|(_, part)| part.all(name)).find(|all| !all.is_empty()).unwrap_or_default();
        }
        found
    }
}

fn json(value: Value, depth: usize) -> Option<Node> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match value {
        Value::Null => Node::Text(String::new()),
        Value::Bool(truth) => Node::Text(truth.to_string()),
        Value::Number(number) => Node::Text(number.to_string()),
        Value::String(text) => Node::Text(text),
        Value::Array(items) => {
            Node::List(items.into_iter().map(|item| json(item, depth + 1)).collect::<Option<_>>()?)
        }
        Value::Object(parts) => {
            let part = |(name, value)| Some((name, json(value, depth + 1)?));
            Node::Map(parts.into_iter().map(part).collect::<Option<_>>()?)
        }
    })
}

/// An element that is not closed yet.
#[derive(Default)]
struct Open {
    name: String,
    text: String,
    parts: Vec<(String, Node)>,
}

impl Open {
    fn close(self) -> (String, Node) {
        let node = if self.parts.is_empty() { Node::Text(self.text) } else { Node::Map(self.parts) };
        (self.name, node)
    }
}

fn xml(text: &str) -> Option<Node> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = Vec::new();
    let mut whole = None;
    loop {
        let event = reader.read_event().ok()?;
        let closed = match event {
            Event::Eof => break,
            Event::Start(tag) => {
                if open.len() > MAX_DEPTH || whole.is_some() {
                    return None;
                }
                let name = tag.name().as_ref().to_owned();
                open.push(Open { name, ..Open::default() });
                None
            }
            Event::Empty(tag) => {
                let name = tag.name().as_ref().to_owned();
                Some((name, Node::Text(String::new())))
            }
            Event::End(_) => Some(open.pop()?.close()),
            Event::Text(said) => {
                if let Some(last) = open.last_mut() {
                    last.text += &*said;
                }
                None
            }
            Event::CData(said) => {
                open.last_mut()?.text += &*said;
                None
            }
            Event::GeneralRef(of) => {
                let said = match of.resolve_char_ref().ok()? {
                    Some(char) => char,
                    None => match &*of {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "apos" => '\'',
                        "quot" => '"',
                        _ => return None,
                    },
                };
                open.last_mut()?.text.push(said);
                None
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => None,
            Event::DocType(_) => return None,
        };
        if let Some((name, node)) = closed {
            match open.last_mut() {
                Some(outer) => outer.parts.push((name, node)),
                None if whole.is_none() => whole = Some(node),
                None => return None,
            }
        }
    }
    whole.filter(|_| open.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_and_json_of_one_event_are_one_tree() {
        let table = [
            (
                "<xml><A><![CDATA[x<y]]></A><B>&lt;&#x4EAC;&amp;</B><C/></xml>",
                r#"{"A":"x<y","B":"<京&","C":""}"#,
            ),
            ("<?xml version=\"1.0\"?>\n<xml>\n <A> 1 </A>\n <!-- no --></xml>\n", r#"{"A":1}"#),
            ("<xml><W><List><T>a</T></List></W></xml>", r#"{"W":{"List":{"T":"a"}}}"#),
        ];
        for (xml, json) in table {
            let trees =
                [xml, json].map(|text| Node::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}")));
            let names = |node: &Node| match node {
                Node::Map(parts) => parts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(),
                Node::Text(_) | Node::List(_) => Vec::new(),
            };
            assert_eq!(names(&trees[0]), names(&trees[1]), "{xml}");
            for name in names(&trees[0]) {
                assert_eq!(trees[0].text(&name), trees[1].text(&name), "{xml}: {name}");
            }
        }
    }

    #[test]
    fn lists_are_found_in_any_form() {
        let table = [
            ("<xml><W><List><T>a</T></List><List><T>b</T></List></W></xml>", "ab"),
            (r#"{"List":[{"T":"a"},{"T":"b"}]}"#, "ab"),
            (r#"{"List":{"T":"a"}}"#, "a"),
            (r#"{"X":{"List":[{"T":"a"}]}}"#, "a"),
            (r#"{"List":[]}"#, ""),
            (r#"{"Event":"x"}"#, ""),
            (r#""text""#, ""),
        ];
        for (document, expected) in table {
            let tree = Node::read(document.as_bytes()).unwrap();
            let texts: String = tree.all("List").iter().filter_map(|item| item.text("T")).collect();
            assert_eq!(texts, expected, "{document}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(20) + &"</a>".repeat(20);
        let deep_json = "[".repeat(20) + &"]".repeat(20);
        let table = [
            "",
            "nonsense",
            "<xml>",
            "<xml></yml>",
            "<xml/><xml/>",
            "<xml></xml><xml></xml>",
            "</xml>",
            r#"{"a":1"#,
            "<xml>&unknown;</xml>",
            "<!DOCTYPE xml [<!ENTITY a \"b\">]><xml>&a;</xml>",
            &deep,
            &deep_json,
        ];
        for text in table {
            assert_eq!(Node::read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Node::read(b"\xff\xfe<xml/>"), None);
    }
}
