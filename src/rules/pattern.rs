//! Regular expressions for texts of one line, as far as they say what the readers in `values` and the domain accept.
//!
//! They are for editors, in the dialect that ECMA-262, Rust and Python share: ASCII classes, no look-around. The loader
//! does not use them; that both agree is tested in `schema_tests`.

use serde_json::{Value, json};

use super::values::{MAX_DAYS, MAX_DURATION};

/// Names of apps, templates, rules and hook keys.
pub(super) const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";
/// Names of fields of a recipient.
pub(super) const FIELD_NAME: &str = "^[a-z][a-z0-9_]{0,31}$";
/// Keys of template fields; at most 64 characters besides.
pub(super) const FIELD_KEY: &str = "^[a-z_]+[0-9]+$";
pub(super) const APPID: &str = "^wx[A-Za-z0-9]{1,62}$";
pub(super) const TEMPLATE_ID: &str = "^[A-Za-z0-9_-]{1,128}$";
pub(super) const OPENID: &str = "^[A-Za-z0-9_-]{10,64}$";
pub(super) const NO_CONTROL: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
pub(super) const CREDENTIAL: &str = "^[A-Za-z0-9_.-]{1,128}$";
pub(super) const VARIABLE: &str = "^[A-Za-z0-9_]{1,128}$";
/// What an inline secret looks like.
pub(super) const WEBHOOK_SECRET: &str = "^whsec_";
pub(super) const STORE: &str = r"^sled:[\s\S]*\S";

const WEEKDAYS: &str = "sun|mon|tue|wed|thu|fri|sat";

const PORT_MAX: u32 = 65535;

/// A text of this form; numbers and booleans are none. `form` is what editors show when it is another.
pub(super) fn texts(pattern: &str, form: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "patternErrorMessage": form })
}

/// A whole number of `low` to `high` in digits, leading zeros allowed.
pub(super) fn whole(low: u32, high: u32) -> String {
    format!("^0*{}$", between(low, high))
}

/// A length of time of at least `min_s` seconds and at most the longest that may be stated.
pub(super) fn duration(min_s: u32) -> String {
    let max_s = u32::try_from(MAX_DURATION.as_secs()).unwrap_or(u32::MAX);
    let units = [
        ("s|seconds?", 1),
        ("m|min|minutes?", 60),
        ("h|hours?", 3600),
        ("d|days?", 86_400),
        ("w|weeks?", 604_800),
    ];
    let forms = units.map(|(unit, n)| format!("{} ?(?:{unit})", between(min_s.div_ceil(n), max_s / n)));
    format!("^0*(?:{})$", forms.join("|"))
}

/// A length of time above zero: elapsed up to the longest that may be stated, or days of the calendar.
pub(super) fn period() -> String {
    let max_s = u32::try_from(MAX_DURATION.as_secs()).unwrap_or(u32::MAX);
    let units = [
        ("s|seconds?", max_s),
        ("m|min|minutes?", max_s / 60),
        ("h|hours?", max_s / 3600),
        ("d|days?", MAX_DAYS),
        ("w|weeks?", MAX_DAYS / 7),
    ];
    let forms = units.map(|(unit, most)| format!("{} ?(?:{unit})", between(1, most)));
    format!("^0*(?:{})$", forms.join("|"))
}

/// Days of each week.
pub(super) fn weekdays() -> String {
    format!(r"^(?:\?|{})$", field(&format!("0?[0-7]|{}", in_any_case(WEEKDAYS))))
}

/// A date; whether the month has the day is not asked.
pub(super) fn civil_date() -> String {
    "^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$".to_owned()
}

/// A date or a civil time.
pub(super) fn civil_bound() -> String {
    format!("(?:{})|(?:{})", civil_date(), civil_time())
}

/// A kind of appointments.
pub(super) const KIND: &str = "^[a-z][a-z0-9_]{0,31}$";
/// A time of day.
pub(super) const TIME: &str = "^(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?$";

/// A civil time with a date; whether the month has the day is not asked.
pub(super) fn civil_time() -> String {
    let month_day = "(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])";
    format!("^[0-9]{{4}}-{month_day} (?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?$")
}

/// Five or six fields of cron; whether a range runs forwards and a step fits it is not asked.
pub(super) fn cron() -> String {
    const MONTHS: &str = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec";
    let sixty = field("[0-5]?[0-9]");
    let hour = field("[01]?[0-9]|2[0-3]");
    let number = "0?[1-9]|[12][0-9]|3[01]";
    let day = lettered(number, &format!("[Ll][Ww]?|(?:{number})[Ww]"));
    let month = field(&format!("0?[1-9]|1[0-2]|{}", in_any_case(MONTHS)));
    let weekday = format!("0?[0-7]|{}", in_any_case(WEEKDAYS));
    let weekday = lettered(&weekday, &format!("(?:{weekday})#[1-5Ll]"));
    let nickname = in_any_case("yearly|annually|monthly|weekly|daily|midnight|hourly");
    let fields = format!(r"(?:{sixty}\s+)?{sixty}\s+{hour}\s+(?:\?|{day})\s+{month}\s+(?:\?|\+?{weekday})");
    format!(r"^\s*(?:{fields}|@(?:{nickname}))\s*$")
}

/// A list of values, ranges and steps.
fn field(value: &str) -> String {
    list(&plain(value))
}

/// A list of those and of `letters`.
fn lettered(value: &str, letters: &str) -> String {
    list(&format!("(?:{}|{letters})", plain(value)))
}

fn plain(value: &str) -> String {
    format!(r"(?:(?:\*|(?:{value})-(?:{value}))(?:/0*[1-9][0-9]?)?|{value})")
}

fn list(item: &str) -> String {
    format!("{item}(?:,{item})*")
}

fn in_any_case(words: &str) -> String {
    let letter = |c: char| if c == '|' { c.to_string() } else { format!("[{}{c}]", c.to_ascii_uppercase()) };
    words.chars().map(letter).collect()
}

/// An address and a port.
pub(super) fn listen() -> String {
    let (port, scope) = (between(0, PORT_MAX), between(0, u32::MAX));
    format!(r"^(?:{}|\[{}(?:%0*{scope})?\]):0*{port}$", ipv4(), ipv6())
}

/// An address or a range of them.
pub(super) fn network() -> String {
    let prefix = |most| between(0, most);
    format!("^(?:{}(?:/0*{})?|{}(?:/0*{})?)$", ipv4(), prefix(32), ipv6(), prefix(128))
}

/// https to any host, or http to this machine, without a path.
pub(super) fn base_url() -> String {
    let host = host();
    let octet = between(0, 255);
    let here = format!(r"(?:localhost|127(?:\.{octet}){{3}}|\[[0:]*:[0:]*(?:0\.0\.0\.|0{{0,3}})1\])");
    format!("^(?:https://{host}|http://{here}){}/?$", port())
}

/// A host that is reached by http or https, without a path.
pub(super) fn proxy() -> String {
    format!("^https?://{}{}/?$", host(), port())
}

fn port() -> String {
    format!("(?::0*{})?", between(0, PORT_MAX))
}

fn host() -> String {
    format!(r"(?:[A-Za-z0-9.-]+|\[{}\])", ipv6())
}

fn ipv4() -> String {
    let octet = between(0, 255);
    format!(r"{octet}(?:\.{octet}){{3}}")
}

/// All forms of RFC 4291, section 2.2.
fn ipv6() -> String {
    const PART: &str = "[0-9A-Fa-f]{1,4}";
    let last = format!("(?:{PART}:{PART}|{})", ipv4());
    let before = |most: usize| match most {
        0 => format!("(?:{PART})?"),
        most => format!("(?:{PART}(?::{PART}){{0,{most}}})?"),
    };
    // So many parts stand behind the `::`.
    let mut forms: Vec<String> = (2..=7)
        .map(|n| {
            let head = if n == 7 { String::new() } else { before(6 - n) };
            format!("{head}::(?:{PART}:){{{}}}{last}", n - 2)
        })
        .collect();
    forms.push(format!("(?:{PART}:){{6}}{last}"));
    forms.push(format!("{}::(?:{PART})?", before(5)));
    forms.push(format!("(?:{PART}:){{7}}:"));
    format!("(?:{})", forms.join("|"))
}

/// The numbers `low` to `high`, without leading zeros.
fn between(low: u32, high: u32) -> String {
    let mut forms = Vec::new();
    let mut from = low;
    loop {
        let digits = from.checked_ilog10().unwrap_or(0) + 1;
        let to = 10u32.checked_pow(digits).map_or(high, |next| high.min(next - 1));
        forms.push(of_one_length(&from.to_string(), &to.to_string()));
        if to == high {
            return format!("(?:{})", forms.join("|"));
        }
        from = to + 1;
    }
}

/// The numbers between two of the same length.
fn of_one_length(low: &str, high: &str) -> String {
    let (Some(a), Some(b)) = (low.chars().next(), high.chars().next()) else { return String::new() };
    let (low, high) = (low.get(1..).unwrap_or_default(), high.get(1..).unwrap_or_default());
    let any = |from: char, to: char, n: usize| {
        let first = if from == to { from.to_string() } else { format!("[{from}-{to}]") };
        match n {
            0 => first,
            n => format!("{first}[0-9]{{{n}}}"),
        }
    };
    let lowest = low.bytes().all(|digit| digit == b'0');
    let highest = high.bytes().all(|digit| digit == b'9');
    if lowest && highest {
        return any(a, b, low.len());
    }
    if a == b {
        return format!("{a}(?:{})", of_one_length(low, high));
    }
    let step = |c: char, by: i8| char::from(u8::try_from(c).unwrap_or(b'0').wrapping_add_signed(by));
    let (mut forms, mut from, mut to) = (Vec::new(), a, b);
    if !lowest {
        forms.push(format!("{a}(?:{})", of_one_length(low, &"9".repeat(low.len()))));
        from = step(a, 1);
    }
    if !highest {
        forms.push(format!("{b}(?:{})", of_one_length(&"0".repeat(high.len()), high)));
        to = step(b, -1);
    }
    if from <= to {
        forms.push(any(from, to, low.len()));
    }
    forms.join("|")
}
