//! Events as the platform pushes them: what is told, in each mode and form, signed and encrypted.
//!
//! Here they are made, not sent: `post` brings them to a receiver, and tests to wherever they like. Where the platform's pages and its traffic differ, the form says which of them is made.

use aes::Aes256;
use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest as _, Sha1};

/// What the platform's console and the receiver agreed on.
#[derive(Clone)]
pub struct Pusher {
    appid: String,
    token: String,
    key: [u8; 32],
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pusher").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// What the console shows as the way of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 明文模式.
    Plain,
    /// 兼容模式: both in one body.
    Compatible,
    /// 安全模式.
    Safe,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// XML, items in an element named by the event.
    Xml,
    /// JSON, items in a list, numbers as texts.
    Json,
    /// JSON, a single item as an object, numbers as numbers.
    JsonOfOne,
}

/// One item of an event's list, by its names in order.
pub type Item = Vec<(&'static str, String)>;

/// What is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name: `subscribe_msg_change_event`.
    pub event: &'static str,
    /// `FromUserName`.
    pub from: String,
    /// `CreateTime`, in seconds.
    pub created_at: i64,
    /// Beside the head: `OpenID`, `event_type`, `detail`.
    pub more: Item,
    /// `List`.
    pub items: Vec<Item>,
}

/// A push, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its query, without `?`.
    pub query: String,
    /// Its body.
    pub body: String,
}

impl Told {
    /// Somebody refuses a template in the settings, or answers the panel.
    #[must_use]
    pub fn answer(event: &'static str, openid: &str, template: &str, status: &str, created_at: i64) -> Self {
        let mut item =
            vec![("TemplateId", template.to_owned()), ("SubscribeStatusString", status.to_owned())];
        if event == POPUP {
            item.push(("PopupScene", "0".to_owned()));
        }
        Self { event, from: openid.to_owned(), created_at, more: Vec::new(), items: vec![item] }
    }

    /// What became of a message.
    #[must_use]
    pub fn sent(openid: &str, template: &str, msgid: u64, errcode: i64, created_at: i64) -> Self {
        let item = vec![
            ("TemplateId", template.to_owned()),
            ("MsgID", msgid.to_string()),
            ("ErrorCode", errcode.to_string()),
            ("ErrorStatus", if errcode == 0 { "success" } else { "failed" }.to_owned()),
        ];
        let event = SENT;
        Self { event, from: openid.to_owned(), created_at, more: Vec::new(), items: vec![item] }
    }

    /// Somebody closes his account with the mini program.
    #[must_use]
    pub fn left(openid: &str, created_at: i64) -> Self {
        let more = vec![("OpenID", openid.to_owned())];
        let event = "user_authorization_cancellation";
        Self { event, from: "gh_platform".to_owned(), created_at, more, items: Vec::new() }
    }

    /// The platform warns or punishes the mini program (`wxa_punish_event`).
    #[must_use]
    pub fn punished(kind: u8, detail: &str, created_at: i64) -> Self {
        let more = vec![("event_type", kind.to_string()), ("detail", detail.to_owned())];
        let event = "wxa_punish_event";
        Self { event, from: "gh_platform".to_owned(), created_at, more, items: Vec::new() }
    }

    /// Whom it is about; nobody for the platform's own.
    pub(super) fn of(&self) -> &str {
        let named = self.more.iter().find(|(name, _)| *name == "OpenID");
        named.map_or(&self.from, |(_, openid)| openid)
    }

    /// A receipt says that the message did not arrive; other events stay as they are.
    pub(super) fn fail(&mut self, code: i32, status: &str) {
        for (name, text) in self.items.iter_mut().flatten().filter(|_| self.event == SENT) {
            match *name {
                "ErrorCode" => *text = code.to_string(),
                "ErrorStatus" => status.clone_into(text),
                _ => {}
            }
        }
    }

    /// The message that it is the receipt of, and its error code.
    pub(super) fn receipt(&self) -> Option<(u64, i64)> {
        let item = self.items.first().filter(|_| self.event == SENT)?;
        let text = |name: &str| item.iter().find(|(of, _)| *of == name).map(|(_, text)| text);
        Some((text("MsgID")?.parse().ok()?, text("ErrorCode")?.parse().ok()?))
    }

    fn document(&self, form: Form) -> String {
        let created_at = self.created_at.to_string();
        let head = [
            ("ToUserName", "gh_sandbox"),
            ("FromUserName", &self.from),
            ("CreateTime", &created_at),
            ("MsgType", "event"),
            ("Event", self.event),
        ];
        let head = head.map(|(name, value)| (name, value.to_owned()));
        let parts = head.iter().chain(&self.more);
        match form {
            Form::Xml => {
                let texts: String = parts.map(element).collect();
                let items: Vec<String> = self
                    .items
                    .iter()
                    .map(|item| format!("<List>{}</List>", item.iter().map(element).collect::<String>()))
                    .collect();
                let wrapper: String = self.event.split('_').map(capital).collect();
                format!("<xml>{texts}<{wrapper}>{}</{wrapper}></xml>", items.concat())
            }
            Form::Json | Form::JsonOfOne => {
                let value = |text: &str| match text.parse::<u64>() {
                    Ok(number) if form == Form::JsonOfOne => serde_json::Value::from(number),
                    Ok(_) | Err(_) => serde_json::Value::from(text),
                };
                let object = |item: &Item| {
                    serde_json::Value::Object(
                        item.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect(),
                    )
                };
                let mut document: serde_json::Map<String, serde_json::Value> =
                    parts.map(|(name, text)| ((*name).to_owned(), value(text))).collect();
                let list = match (self.items.as_slice(), form) {
                    ([], _) => None,
                    ([one], Form::JsonOfOne) => Some(object(one)),
                    (items, _) => Some(items.iter().map(object).collect()),
                };
                document.extend(list.map(|list| ("List".to_owned(), list)));
                serde_json::Value::Object(document).to_string()
            }
        }
    }
}

fn element((name, text): &(&'static str, String)) -> String {
    // The platform writes numbers bare and everything else as CDATA.
    if text.parse::<u64>().is_ok() {
        format!("<{name}>{text}</{name}>")
    } else {
        format!("<{name}><![CDATA[{text}]]></{name}>")
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

impl Pusher {
    /// With the Token and the EncodingAESKey of the console; `None` where the latter is none.
    #[must_use]
    pub fn new(appid: &str, token: &str, aes_key: &str) -> Option<Self> {
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
        let lenient = GeneralPurpose::new(&alphabet::STANDARD, config);
        let key = lenient.decode(format!("{aes_key}=")).ok()?.try_into().ok()?;
        Some(Self { appid: appid.to_owned(), token: token.to_owned(), key })
    }

    /// The query with which the console tries an address.
    #[must_use]
    pub fn trial(&self, echo: &str, now: i64) -> String {
        format!("{}&echostr={echo}", self.query(now))
    }

    /// `told` as it is pushed at `now`; `random` are 16 bytes of the sender's.
    #[must_use]
    pub fn push(&self, told: &Told, mode: Mode, form: Form, now: i64, random: [u8; 16]) -> Pushed {
        let plain = told.document(form);
        let query = self.query(now);
        if mode == Mode::Plain {
            return Pushed { query: format!("{query}&openid={}", told.from), body: plain };
        }
        let encrypted = self.encrypt(plain.as_bytes(), random);
        let signature = self.signature(&[&now.to_string(), NONCE, &encrypted]);
        let query = format!("{query}&openid={}&encrypt_type=aes&msg_signature={signature}", told.from);
        let encrypted = ("Encrypt", encrypted);
        let body = match (mode, form) {
            (Mode::Compatible, Form::Xml) => {
                plain.replace("</xml>", &format!("{}</xml>", element(&encrypted)))
            }
            (_, Form::Xml) => {
                format!(
                    "<xml>{}{}</xml>",
                    element(&("ToUserName", "gh_sandbox".to_owned())),
                    element(&encrypted)
                )
            }
            (Mode::Compatible, Form::Json | Form::JsonOfOne) => {
                plain.replacen('{', &format!("{{\"Encrypt\":\"{}\",", encrypted.1), 1)
            }
            (_, Form::Json | Form::JsonOfOne) => {
                serde_json::json!({ "ToUserName": "gh_sandbox", "Encrypt": encrypted.1 }).to_string()
            }
        };
        Pushed { query, body }
    }

    fn query(&self, now: i64) -> String {
        let signature = self.signature(&[&now.to_string(), NONCE]);
        format!("signature={signature}&timestamp={now}&nonce={NONCE}")
    }

    fn signature(&self, parts: &[&str]) -> String {
        let mut all = parts.to_vec();
        all.push(&self.token);
        all.sort_unstable();
        let digits = Sha1::digest(all.concat());
        digits
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    /// Random bytes, the length, the message and the appid, filled up to whole 32 bytes, each with how many they are.
    fn encrypt(&self, message: &[u8], random: [u8; 16]) -> String {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let mut text = [&random[..], &length, message, self.appid.as_bytes()].concat();
        let fill = 32 - text.len() % 32;
        text.resize(text.len() + fill, u8::try_from(fill).unwrap_or_default());
        let (iv, _) = self.key.split_at(16);
        let Ok(mut cipher) = cbc::Encryptor::<Aes256>::new_from_slices(&self.key, iv) else {
            return String::new();
        };
        for block in text.chunks_exact_mut(16) {
            if let Ok(block) = block.try_into() {
                cipher.encrypt_block(block);
            }
        }
        base64::engine::general_purpose::STANDARD.encode(text)
    }
}

/// Somebody answered the panel.
pub(super) const POPUP: &str = "subscribe_msg_popup_event";
/// Somebody turned a template off.
pub(super) const CHANGE: &str = "subscribe_msg_change_event";
/// What became of a message.
const SENT: &str = "subscribe_msg_sent_event";
/// Any text does.
const NONCE: &str = "sandbox";
