//! Good documents, and values and names to put into them: what loader and schema are compared on.
//!
//! A value that the two might see differently is one more entry here; `schema_tests` tries it everywhere.

/// Every key of a configuration.
pub(super) const CONFIG: &str = r#"
apps:
  clinic:
    appid: wx0123456789abcdef
    secret: { credential: clinic-secret }
    state: trial
    lang: zh_CN
    consents_from: reports
    push: { token: { credential: a }, aes_key: { env: B }, plain: true }
    limits: { in_flight: 32, per_second: 50, quota_probe: false }
    base_url: http://127.0.0.1:9/
    proxy: http://10.0.0.1:3128
    templates:
      habit: { id: HABIT_ID, kind: one_time, fields: [thing1, time2] }
      visit: { id: VISIT_ID, kind: long_term, fields: [thing1] }
timezone: Asia/Shanghai
schedules: schedules
store: sled:store
hook:
  listen: 127.0.0.1:8080
  keys: [{ id: backend, secret: { env: HOOK_KEY }, apps: [clinic] }, { id: other, secret: { file: other } }]
  session_fields: [city, ward]
  login: true
  session_hours: 2
  trusted_proxies: [10.0.0.0/8, "::1"]
admin: { socket: admin.sock }
reload: manual
"#;

/// With two apps each key says which it speaks for.
pub(super) const TWO_APPS: &str = r#"
apps:
  clinic: { appid: wx01, secret: { credential: a }, templates: {} }
  school: { appid: wx02, secret: { credential: b }, templates: {} }
hook:
  listen: 127.0.0.1:8080
  keys: [{ id: backend, secret: { env: HOOK_KEY }, apps: [clinic, school] }]
  session_fields: [city, ward]
  login: true
  session_hours: 2
  trusted_proxies: [10.0.0.0/8, "::1"]
"#;

/// The calendars that schedule files may name.
pub(super) const CALENDARS: &[(&str, &str)] = &[
    ("workdays", "weekly: MON-FRI"),
    ("closed", "add: [2027-05-03]"),
    ("2027", "weekly: \"*\""),
    ("china-2026", "weekly: MON-FRI"),
];

/// Every key of a schedule file.
pub(super) const SCHEDULE: &str = r#"
app: clinic
timezone: Asia/Shanghai
rules:
  drink:
    app: clinic
    template: habit
    timezone: UTC
    when: { cron: "0 10 * * MON-FRI", from: 2027-03-01, until: "2027-06-30 18:00", except: [2027-05-01, closed], only: [workdays], dst: skip }
    enabled: false
    to: { all: true, tags: [habit, 0012, no], all_tags: [morning], openids: [o123456789], where: "fields.n > 1" }
    data: { thing1: 喝水, time2: "{{ due | local('%H:%M') }}" }
    page: pages/index/index
    grace: 30m
    quiet: { from: "22:00", to: "08:00", then: skip }
    missed: all
    max: 3
    overflow: { thing1: cut }
"#;

pub(super) const LIST_OF_TIMES: &str = r#"
rules:
  class:
    template: visit
    when: { at: ["2027-03-05 18:00", { at: "2027-03-12 18:00:30", fold: second }], fold: first }
    to: all
    data: { thing1: 08:30 }
"#;

pub(super) const ONE_TIME: &str =
    "rules: { one: { template: visit, when: { at: 2027-03-05 18:00 }, data: { thing1: 5 } } }";

pub(super) const EVERY: &str = "rules: { one: { template: visit, when: { every: 2 weeks, starting: 2027-03-05 18:00 }, data: { thing1: 5 } } }";

/// Values that take the place of any other, as YAML within a line.
pub(super) const VALUES: &str = r#"
~ ¦ [] ¦ {} ¦ [a] ¦ [a, a] ¦ { a: b } ¦ [[a]] ¦ [{}] ¦ "" ¦ true ¦ false ¦ "true" ¦ yes ¦ no ¦ 0 ¦ 1 ¦ -1
5 ¦ 1.5 ¦ "5" ¦ "0012" ¦ 1234567890 ¦ 1025 ¦ 100001 ¦ 721 ¦ 99999999999 ¦ "1e3" ¦ "+5" ¦ "5.0"
2027-03-05 18:00 ¦ https://h ¦ habit ¦ all
"#;

/// Values that take the place of scalars; all of them at places with one of these words, else some.
pub(super) const SCALARS: &[(&str, &str)] = &[
    (
        "",
        r#"
Habit ¦ _habit ¦ -habit ¦ h_-1 ¦ formal ¦ latest ¦ events ¦ long_term ¦ recipient ¦ 喝水 ¦ "a b"
"a\u0001b" ¦ "a\u007fb" ¦ a.b ¦ a/b ¦ thing1 ¦ Thing1 ¦ thing ¦ 1thing ¦ a1a1 ¦ city ¦ wx01 ¦ WX01 ¦ wx
whsec_AAAA ¦ A_B ¦ o12345678 ¦ oXXXXXXXXXXXXXXXXXXXXXXXXXXX
"#,
    ),
    (
        "grace",
        r"
30m ¦ 59s ¦ 60s ¦ 0m ¦ 007 days ¦ 31d ¦ 32d ¦ 4 weeks ¦ 5 weeks ¦ 744h ¦ 745h ¦ 44640m ¦ 44641m
2678400s ¦ 2678401s ¦ 1  day ¦ 1 Day ¦ 1.5h ¦ 1h30m ¦ -5m ¦ ５m ¦ m
",
    ),
    (
        "every",
        r"
30m ¦ 24h ¦ 1d ¦ 1 day ¦ 2 weeks ¦ 0d ¦ 0h ¦ 3660d ¦ 3661d ¦ 522w ¦ 523 weeks ¦ 745h ¦ 007 days ¦ 1  day
1 Day ¦ -1d ¦ 1.5d ¦ d
",
    ),
    (
        "only except",
        r"
workdays ¦ Workdays ¦ 2027 ¦ 2027-05-01 ¦ 2027-05-41 ¦ [workdays, workdays] ¦ holidays ¦ true
",
    ),
    (
        "at starting from until except",
        r#"
"2027-03-05 18:00:59" ¦ "2027-03-05 18:00:60" ¦ 2027-03-05 ¦ "2027-02-30 09:00" ¦ "2027-13-01 09:00"
"2027-01-31 24:00" ¦ "2027-1-31 9:00" ¦ 08:30 ¦ "2027-03-05T18:00" ¦ 2027-02-30 ¦ "2027-04-01 09:00"
["2027-03-05 18:00", "2027-03-05 18:00"]
"#,
    ),
    (
        "cron",
        r#"
"0 10 * * *" ¦ "*/5 9-17 ? JAN,mar-DEC 1-5/2" ¦ "30 0 10 * * Fri" ¦ "0 10 * *" ¦ "0 25 * * *"
"60 9 * * *" ¦ "0 9 32 * *" ¦ "0 9 0 * *" ¦ "0 9 * 13 *" ¦ "0 9 * * 8" ¦ "0 9 * * MOM" ¦ "0 9 L * *"
"0 9 l,lw,15w,31 * *" ¦ "0 9 L-3 * *" ¦ "0 9 32W * *" ¦ "0 9 1-5W * *" ¦ "0 9 * * mon#L,fri#1" ¦ "0 9 * * 5#6"
"0 9 * * L" ¦ "@Midnight" ¦ "@reboot" ¦ "0 9 * * +" ¦ "0 9 1 * +1#1" ¦ "0 9 * * +*" ¦ "0 9 8 * +1#1"
"0 9 15W * *" ¦ "0 9 * * 5#2" ¦ "0 9 * * FRIL" ¦ "0 9 1 * +MON" ¦ "@daily" ¦ "0 22-2 * * *"
"*/90 * * * *" ¦ "5/10 * * * *" ¦ "*/0 * * * *" ¦ "0 009 * * *" ¦ "0 9,,10 * * *" ¦ "0 9 30 2 *"
" 0\t9  * * 7 " ¦ "? 9 * * *" ¦ "0 9 * ? *" ¦ "0 9 ?/2 * *"
"#,
    ),
    (
        "timezone",
        r"
Asia/Shanghai ¦ UTC ¦ PRC ¦ CST ¦ EST ¦ GMT+8 ¦ GMT ¦ Etc/GMT+8 ¦ Asia/Beijing ¦ asia/shanghai
",
    ),
    (
        "listen trusted_proxies base_url proxy store",
        r#"
127.0.0.1:8080 ¦ "[::1]:8080" ¦ "[fe80::1%2]:8080" ¦ ":8080" ¦ localhost:8080 ¦ 127.0.0.1
127.0.0.1:65536 ¦ 127.0.0.1:0065535 ¦ 127.0.0.01:80 ¦ 256.0.0.1:80 ¦ "::1:80" ¦ 10.0.0.0/8 ¦ 10.0.0.0/33
10.0.0.0/+8 ¦ 10.0.0 ¦ "::/0" ¦ "fd00::/129" ¦ "1:2:3:4:5:6:7::" ¦ "::1:2:3:4:5:6:7" ¦ "1::2:3:4:5:6:7:8"
"1:2:3:4:5:6:127.0.0.1" ¦ "::ffff:1.2.3.4" ¦ "1:2:3" ¦ "::12345" ¦ ":::" ¦ https://api.weixin.qq.com
https://api.weixin.qq.com/ ¦ https://a/b ¦ https:// ¦ http://api.weixin.qq.com ¦ http://localhost:1
http://127.1.2.3 ¦ http://127.0.0.1.evil.example ¦ "http://[::1]:9" ¦ "http://[0:0:0:0:0:0:0:1]"
"http://[::2]" ¦ "https://[fe80::1]:443" ¦ "https://[fe80]" ¦ https://h:65536 ¦ "https://h:"
https://me:pw@h ¦ ftp://h ¦ h ¦ https://h?x=1 ¦ https://h// ¦ sled:/var ¦ "sled: " ¦ "sled:" ¦ /var
rocks:/var
"#,
    ),
    (
        "where data page",
        r#"
"fields.city ==" ¦ "{{ ref }}" ¦ "{{ nme }}" ¦ "pages/x?id={{ ref }}"
"#,
    ),
];

/// Names that take the place of keys.
pub(super) const NAMES: &[&str] = &[
    "x", "thing1", "time9", "thing", "Thing1", "a b", "习惯", "0012", "-x", "quiet", "every", "push",
    "listen", "fold", "starting", "until", "dst",
];

/// The values of such a table.
pub(super) fn values(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.split(['¦', '\n']).map(str::trim).filter(|value| !value.is_empty())
}
