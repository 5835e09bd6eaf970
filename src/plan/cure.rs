//! What a person can do about a code that keeps a whole app from sending.
//!
//! Sources: the platform's page of global error codes and its guide of access tokens, read 2026-11-22. What follows for
//! messages is decided in `retry`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What to do about `errcode`, whose text was `errmsg`; of 40164 it names the address.
#[must_use]
pub fn of_app(errcode: i64, errmsg: Option<&str>) -> String {
    let told = match errcode {
        40_001 | 40_014 | 42_001 => {
            "look whether another program fetches this app's access tokens by the old call, and whether the secret is right"
        }
        40_013 | 41_002 => "correct `appid` in tixing.yaml",
        40_125 | 41_004 => "put the app's present AppSecret where tixing.yaml names it, and reload",
        40_243 => "the AppSecret is frozen: thaw it on mp.weixin.qq.com",
        40_164 | 61_004 => {
            let address = errmsg.and_then(address).unwrap_or_else(|| "this machine's address".to_owned());
            return format!("add {address} to the app's list of allowed addresses on mp.weixin.qq.com");
        }
        45_009 => "wait for the next day of Beijing, or clear the quota on mp.weixin.qq.com",
        48_001 | 61_007 => "the account may not use this call: ask for the permission on mp.weixin.qq.com",
        48_004 | 50_002 | 50_004 | 50_007 => {
            "the account is restricted: look at its notices on mp.weixin.qq.com"
        }
        89_501..=89_505 => "an administrator of the account has to confirm the call in WeChat",
        89_506 | 89_507 => "an administrator refused this address: ask him, and wait for an hour to a day",
        40_002 | 41_001 | 43_002 | 43_003 => "this is a mistake of tixing: please report it with the `rid`",
        _ => "look at the account on mp.weixin.qq.com",
    };
    told.to_owned()
}

/// The first IP address in a text such as `invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist`.
fn address(errmsg: &str) -> Option<String> {
    let words =
        || errmsg.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '[' | ']'));
    let v4 = words().find(|word| word.parse::<Ipv4Addr>().is_ok());
    v4.or_else(|| words().find(|word| word.parse::<Ipv6Addr>().is_ok())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_named() {
        let add = |address: &str| {
            format!("add {address} to the app's list of allowed addresses on mp.weixin.qq.com")
        };
        let table = [
            ("invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist", "203.0.113.7"),
            ("invalid ip 2001:db8::7, not in whitelist", "2001:db8::7"),
            ("not in whitelist", "this machine's address"),
        ];
        for (errmsg, address) in table {
            assert_eq!(of_app(40_164, Some(errmsg)), add(address), "{errmsg}");
        }
        assert_eq!(of_app(40_164, None), add("this machine's address"));
    }

    #[test]
    fn each_code_of_an_app_has_a_cure_of_its_own() {
        let codes = [40_001, 40_013, 40_125, 40_243, 48_001, 48_004, 89_503, 89_506, 45_009, 43_002];
        let cures: std::collections::BTreeSet<String> =
            codes.iter().map(|code| of_app(*code, None)).collect();
        assert_eq!(cures.len(), codes.len());
        assert!(!cures.contains(&of_app(99_999, None)));
    }
}
