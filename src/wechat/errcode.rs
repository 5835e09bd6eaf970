//! The one table from the platform's errcode to a [`Reply`].
//!
//! Codes: official page `api_sendmessage` and the global error codes, with what SDKs and threads report
//! beyond them, all read on 2026-11-22. The official list is known to be incomplete, so a code that is
//! not here is a failure of its message, never of the app. What to do about a reply is not decided here.

use crate::domain::message::Reply;

/// The longest field key that is taken out of a text.
const MAX_KEY: usize = 32;

/// What `errcode` means for one send; `errmsg` is asked only for the field it names.
pub(super) fn reply(errcode: i64, errmsg: Option<&str>, msgid: Option<u64>) -> Reply {
    match errcode {
        0 => Reply::Accepted { msgid },
        // System error; thousands a day in one report.
        -1 => Reply::Busy,

        // Token invalid or not the newest; invalid; expired.
        40001 | 40014 | 42001 => Reply::TokenRefused { errcode },

        // Not subscribed, or used up.
        43101 => Reply::NoConsent,

        // Another call for this openid is under way. 43117, too often to this openid, is known from
        // service accounts only and asks for the same: this person later, the others go on.
        43108 | 43117 => Reply::Concurrent,

        // Per second; per minute.
        44990 | 45011 => Reply::RateLimited { errcode },
        // Per day.
        45009 => Reply::QuotaUsedUp,

        // Openid not of this appid; account frozen or cancelled.
        40003 | 50002 => Reply::RecipientBad { errcode },

        // Escaped text; wrong parameters; empty body; unreadable JSON; escaped text; wrong field; bad word.
        40033 | 40035 | 40097 | 44002 | 47001 | 47002 | 47003 | 45168 => {
            Reply::MessageBad { errcode, key: errmsg.and_then(key_at_fault) }
        }

        // Template id of a wrong length, wrong, not permitted, forbidden for punishment, banned, banned
        // for abuse, disabled.
        40036 | 40037 | 43104 | 43106 | 43107 | 43116 | 48011 => Reply::TemplateBad { errcode },
        // The page is not in the released version.
        41030 => Reply::TemplateBad { errcode },

        // Credential kind, appid, secret; secret frozen; IP not on the list.
        40002 | 40013 | 40125 | 40243 | 40164 => Reply::AppBad { errcode },
        // Token, appid, secret missing; not by POST; not by HTTPS: no message would fare better.
        41001 | 41002 | 41004 | 43002 | 43003 => Reply::AppBad { errcode },
        // Not authorised; forbidden; no token for this account; account frozen; third-party platform.
        48001 | 48004 | 50004 | 50007 | 61004 | 61007 => Reply::AppBad { errcode },
        // An admin has to confirm this address, or refused it.
        89501..=89507 => Reply::AppBad { errcode },

        _ => Reply::UnknownCode { errcode },
    }
}

/// The field that a text such as `argument invalid! data.thing1.value is empty` names.
///
/// The platform may cut the text a few characters later.
fn key_at_fault(errmsg: &str) -> Option<String> {
    let (_, rest) = errmsg.split_once("data.")?;
    let (key, _) = rest.split_once(".value")?;
    let kind = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let named = !kind.is_empty()
        && kind.len() < key.len()
        && key.len() <= MAX_KEY
        && kind.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    named.then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_reply() {
        let message = |errcode| Reply::MessageBad { errcode, key: None };
        let template = |errcode| Reply::TemplateBad { errcode };
        let app = |errcode| Reply::AppBad { errcode };
        let unknown = |errcode| Reply::UnknownCode { errcode };
        let table = [
            (0, Reply::Accepted { msgid: Some(7) }),
            (-1, Reply::Busy),
            (40001, Reply::TokenRefused { errcode: 40001 }),
            (40002, app(40002)),
            (40003, Reply::RecipientBad { errcode: 40003 }),
            (40013, app(40013)),
            (40014, Reply::TokenRefused { errcode: 40014 }),
            (40033, message(40033)),
            (40035, message(40035)),
            (40036, template(40036)),
            (40037, template(40037)),
            (40097, message(40097)),
            (40125, app(40125)),
            (40164, app(40164)),
            (40243, app(40243)),
            (40249, unknown(40249)),
            (40252, unknown(40252)),
            (41001, app(41001)),
            (41002, app(41002)),
            (41004, app(41004)),
            (41030, template(41030)),
            (42001, Reply::TokenRefused { errcode: 42001 }),
            (43002, app(43002)),
            (43003, app(43003)),
            (43101, Reply::NoConsent),
            (43104, template(43104)),
            (43106, template(43106)),
            (43107, template(43107)),
            (43108, Reply::Concurrent),
            (43116, template(43116)),
            (43117, Reply::Concurrent),
            (44002, message(44002)),
            (44990, Reply::RateLimited { errcode: 44990 }),
            (45009, Reply::QuotaUsedUp),
            (45011, Reply::RateLimited { errcode: 45011 }),
            (45168, message(45168)),
            (47001, message(47001)),
            (47002, message(47002)),
            (47003, message(47003)),
            (48001, app(48001)),
            (48004, app(48004)),
            (48011, template(48011)),
            (50002, Reply::RecipientBad { errcode: 50002 }),
            (50004, app(50004)),
            (50007, app(50007)),
            (61004, app(61004)),
            (61007, app(61007)),
            (85107, unknown(85107)),
            (89501, app(89501)),
            (89502, app(89502)),
            (89503, app(89503)),
            (89504, app(89504)),
            (89505, app(89505)),
            (89506, app(89506)),
            (89507, app(89507)),
            (200_011, unknown(200_011)),
            (404, unknown(404)),
            (-2, unknown(-2)),
            (i64::MAX, unknown(i64::MAX)),
        ];
        for (errcode, expected) in table {
            assert_eq!(reply(errcode, Some("argument invalid"), Some(7)), expected, "{errcode}");
        }
    }

    #[test]
    fn the_field_at_fault_is_found() {
        let table = [
            ("argument invalid! data.thing1.value is empty", Some("thing1")),
            ("argument invalid! data.character_string1.value i", Some("character_string1")),
            ("argument invalid! data.short_thing12.value invalid rid: 1", Some("short_thing12")),
            ("argument invalid! data.thing1.val", None),
            ("argument invalid! data.thing.value", None),
            ("argument invalid! data.12.value", None),
            ("argument invalid! data.喝水1.value", None),
            ("argument invalid!", None),
            ("", None),
        ];
        for (errmsg, key) in table {
            assert_eq!(key_at_fault(errmsg).as_deref(), key, "{errmsg}");
        }
    }
}
