//! Values of one line: durations, addresses, URLs. Each says why it is none.
//!
//! Pure functions of the text; where a value stands and how it is reported is decided by the reader.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::names::nearest;
use crate::domain::config::IpNet;
use crate::domain::language::Phrase;
use crate::domain::when::Period;
use crate::domain::zone::Zone;

/// The longest elapsed time that may be stated: 31 days.
pub(super) const MAX_DURATION: Duration = Duration::from_hours(31 * 24);

/// An elapsed time: `90s`, `30m`, `24h`, `1d`, `2 weeks`; a day is 24 hours.
///
/// # Errors
/// Why it is none, for a message.
pub(super) fn duration(text: &str) -> Result<Duration, Phrase> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    if text.starts_with('-') {
        return Err(Phrase::new("it is negative", "不能为负"));
    }
    if number.is_empty() {
        return Err(Phrase::new("it does not begin with a number", "开头不是数字"));
    }
    let unit_seconds = match unit.strip_prefix(' ').unwrap_or(unit) {
        "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 24 * 3600,
        "w" | "week" | "weeks" => 7 * 24 * 3600,
        "" => return Err(Phrase::new("it has no unit", "没有单位")),
        _ => return Err(Phrase::new("its unit is not one of s, m, h, d, w", "单位不是 s、m、h、d、w 之一")),
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_seconds));
    match seconds.map(Duration::from_secs) {
        Some(Duration::ZERO) => Err(Phrase::new("it is zero", "不能为零")),
        Some(time) if time <= MAX_DURATION => Ok(time),
        Some(_) | None => Err(Phrase::new("it is longer than 31 days", "超过 31 天")),
    }
}

/// An elapsed time, or none: `0`, with a unit or without.
///
/// # Errors
/// Why it is neither, for a message.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, Phrase> {
    let unit = text.trim_start_matches('0');
    let is_zero = unit.len() < text.len() && (unit.is_empty() || duration(&format!("1{unit}")).is_ok());
    let is_zero = is_zero && !unit.starts_with(|c: char| c.is_ascii_digit());
    if is_zero { Ok(Duration::ZERO) } else { duration(text) }
}

/// The most days that a length of time in the calendar may have: ten years.
pub(super) const MAX_DAYS: u32 = 3660;

/// A length of time: `30m` and `24h` elapse, `1d` and `2 weeks` are days of the calendar.
///
/// # Errors
/// Why it is none, for a message.
pub(super) fn period(text: &str) -> Result<Period, Phrase> {
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let a_day = match text.get(number.len()..).unwrap_or_default().trim_start_matches(' ') {
        "d" | "day" | "days" => 1,
        "w" | "week" | "weeks" => 7,
        _ => return duration(text).map(Period::Elapsed),
    };
    // What is against one of it is against all.
    let days = number.parse::<u32>().ok().and_then(|n| n.checked_mul(a_day));
    match days {
        Some(days @ 1..=MAX_DAYS) if is_digits(number) => {
            duration(&text.replacen(number, "1", 1)).map(|_| Period::Days(days))
        }
        Some(0) | None if is_digits(number) && days == Some(0) => Err(Phrase::new("it is zero", "不能为零")),
        Some(_) | None if is_digits(number) => {
            Err(Phrase::new("it is longer than 3660 days", "超过 3660 天"))
        }
        Some(_) | None => duration(text).map(Period::Elapsed),
    }
}

/// A zone by its name.
///
/// # Errors
/// The name that was probably meant.
pub(super) fn zone(text: &str) -> Result<Zone, Option<String>> {
    Zone::parse(text).map_err(|unknown| {
        let near = || nearest(text, Zone::names());
        unknown.hint.or_else(near).map(str::to_owned)
    })
}

/// An address with a port.
///
/// # Errors
/// The address that was probably meant.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Option<String>> {
    text.parse().map_err(|_not_one| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok())?;
        Some(format!("127.0.0.1:{port}"))
    })
}

/// An address, or a range of them (`10.0.0.0/8`).
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (addr, prefix) = text.split_once('/').map_or((text, None), |(addr, prefix)| (addr, Some(prefix)));
    let addr: IpAddr = addr.parse().ok()?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |prefix| prefix.parse().ok().filter(|_| is_digits(prefix)))?;
    (prefix <= most).then_some(IpNet { addr, prefix })
}

/// Scheme and authority of a server: https, or http to this machine. Without a slash at the end.
///
/// # Errors
/// Why it is none, for a message.
pub(super) fn base_url(text: &str) -> Result<String, Phrase> {
    let (scheme, host) = authority(text)?;
    match scheme {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => {
            return Err(Phrase::new(
                "http is allowed to this machine only (127.0.0.1, [::1], localhost)",
                "http 只能用于本机（127.0.0.1、[::1]、localhost）",
            ));
        }
        _ => {
            return Err(Phrase::new(
                "it begins neither with https:// nor with http://",
                "开头不是 https:// 或 http://",
            ));
        }
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A proxy: http or https, without a password.
///
/// # Errors
/// Why it is none, for a message.
pub(super) fn proxy(text: &str) -> Result<String, Phrase> {
    match authority(text)?.0 {
        "http" | "https" => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Phrase::new(
            "it begins neither with http:// nor with https://",
            "开头不是 http:// 或 https://",
        )),
    }
}

/// Scheme and host with port.
fn authority(text: &str) -> Result<(&str, &str), Phrase> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or(Phrase::new("it has no scheme such as https://", "没有 https:// 之类的开头"))?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains('@') {
        return Err(Phrase::new("it holds a user name or password", "里面有用户名或密码"));
    }
    let (is_host, port) = if let Some((address, port)) =
        host.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    {
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = host.split_at_checked(host.find(':').unwrap_or(host.len())).unwrap_or_default();
        let form = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        (!name.is_empty() && name.chars().all(form), port)
    };
    if !is_host {
        return Err(Phrase::new("it holds more than a host and a port", "除主机和端口外还有别的内容"));
    }
    let is_port = |port: &str| is_digits(port) && port.parse::<u16>().is_ok();
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return Err(Phrase::new("its port is no number up to 65535", "端口不是 65535 以内的数字"));
    }
    Ok((scheme, host))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("30m", Some(1800)),
            ("24h", Some(86_400)),
            ("90s", Some(90)),
            ("1d", Some(86_400)),
            ("1 day", Some(86_400)),
            ("2 weeks", Some(1_209_600)),
            ("0m", None),
            ("-5m", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("1.5h", None),
            ("1h30m", None),
            ("５m", None),
            ("32d", None),
            ("99999999999999999999999s", None),
            ("184467440737095517w", None),
        ];
        for (text, seconds) in table {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn periods() {
        let hours = |n| Some(Period::Elapsed(Duration::from_hours(n)));
        let table = [
            ("24h", hours(24)),
            ("30m", Some(Period::Elapsed(Duration::from_mins(30)))),
            ("1d", Some(Period::Days(1))),
            ("1 day", Some(Period::Days(1))),
            ("2 weeks", Some(Period::Days(14))),
            ("007 days", Some(Period::Days(7))),
            ("3660d", Some(Period::Days(3660))),
            ("744h", hours(744)),
            ("3661d", None),
            ("523w", None),
            ("745h", None),
            ("0d", None),
            ("0w", None),
            ("0s", None),
            ("-1d", None),
            ("+1d", None),
            ("1.5d", None),
            ("1  day", None),
            ("1 Day", None),
            ("d", None),
            ("５d", None),
            ("", None),
            ("99999999999d", None),
        ];
        for (text, expected) in table {
            assert_eq!(period(text).ok(), expected, "{text}");
        }
        assert_eq!(period("0d").map_err(|why| why.en), Err("it is zero"));
    }

    #[test]
    fn urls() {
        let good =
            ["https://api.weixin.qq.com", "http://127.0.0.1:8080/", "http://[::1]:9", "http://localhost:1"];
        for text in good {
            assert_eq!(base_url(text).as_deref(), Ok(text.trim_end_matches('/')));
        }
        let bad = [
            "http://api.weixin.qq.com",
            "http://127.0.0.1.evil.example",
            "https://a@b",
            "https://h/path",
            "https://",
            "api.weixin.qq.com",
            "ftp://127.0.0.1",
            "https://h:99999",
            "https://h?x=1",
            "https://:80",
            "https://h:",
            "https://h:+1",
            "https://a:b:1",
            "https://[::1",
            "https://[::1]1",
            "https://[x]",
            "http://localhost:x:1",
        ];
        for text in bad {
            assert!(base_url(text).is_err(), "{text}");
        }
        assert!(proxy("http://10.0.0.1:3128").is_ok());
        assert!(proxy("socks5://10.0.0.1:3128").is_err());
    }

    #[test]
    fn addresses_and_zones() {
        assert_eq!(listen(":8080"), Err(Some("127.0.0.1:8080".to_owned())));
        assert_eq!(listen("nowhere"), Err(None));
        assert!(listen("[::]:0").is_ok());
        assert_eq!(network("10.0.0.0/8").map(|net| net.prefix), Some(8));
        assert_eq!(network("::1").map(|net| net.prefix), Some(128));
        assert!(
            network("10.0.0.0/33").is_none() && network("10.0.0").is_none() && network("::/+8").is_none()
        );
        assert_eq!(zone("Asia/Shangai"), Err(Some("Asia/Shanghai".to_owned())));
        assert_eq!(zone("GMT+8"), Err(Some("Asia/Shanghai".to_owned())));
    }
}
