//! What happens in the month of a seed, written down before it is played.
//!
//! People tap and report, an admin edits, the platform and the disk fail, the power goes; each day has a few
//! of these, many of them aimed at a due time. What comes of it depends on the daemon and is not decided here.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta, Timelike as _};
use tixing::sandbox::{Api, Fault as Misfortune, What};

use super::luck::Luck;
use super::rule::{DAYS, Spec, first_day};
use super::visits::Visit;
use crate::disk::{Act, Fault};

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Somebody, or an operator, says something.
    Told(Word),
    /// An operator settles what is longest in doubt, as it was.
    Settle,
    Edit(Edit),
    Weather(Vec<Misfortune>),
    Tokens(Tokens),
    PlatformGone,
    PlatformBack,
    /// The power goes now; of what was not synced so many batches are there, and it is back after so many seconds.
    Crash {
        kept: usize,
        off_s: i64,
    },
    /// The same instead of the write after so many.
    CrashAfter {
        writes: usize,
        kept: usize,
        off_s: i64,
    },
    /// The disk fails.
    Break(Fault),
    /// The disk fails, and then the power goes.
    BreakAndCrash {
        fault: Fault,
        off_s: i64,
    },
    /// The disk works again.
    Mend,
    /// The disk is nearly full, or no longer.
    Full,
    Room,
    /// systemd stops the daemon, and starts it after so many seconds.
    Stop {
        off_s: i64,
    },
    /// The clock jumps.
    Jump {
        s: i64,
    },
    /// An operator pauses a rule, or everything.
    Pause(Option<String>),
    /// What is paused goes on.
    Resume,
    /// What the platform refused, and is held, goes on.
    Release,
    /// The jobs of the night.
    Night,
    Audit,
}

/// What people and operators say.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// Somebody answers the panel, or says so, and the mini program reports it.
    Report { who: usize, bill: bool, status: &'static str, age_s: u32, tapped: bool },
    /// The report so many before the newest comes once more, or with another content.
    Again { back: usize, other: bool },
    /// A consent is taken back in the settings, and nobody tells.
    TurnsOff { who: usize, bill: bool },
    /// An operator books consents, which the platform may know of or not.
    Grant { who: usize, n: u32, real: bool },
    /// An operator imports consents of some people.
    Import { first: usize, n: usize },
    /// A backend puts a visit, or takes it back.
    Visit { n: usize, to: Option<Visit> },
    /// Somebody wants to be forgotten.
    Erase { who: usize },
    /// An operator edits a recipient.
    Person { who: usize, tags: &'static [&'static str], muted: bool },
}

#[derive(Clone, Debug)]
pub(super) enum Edit {
    Put(String, Spec),
    Remove(String),
    /// The folder holds something that cannot be used, until it is put right.
    Spoil,
    Repair,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Tokens {
    Revoked,
    Expired,
    Refused,
    Accepted,
}

/// Visits of a month, each put again and again.
const VISITS: usize = 12;

/// The month of a seed.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) n_people: usize,
    pub(super) limits: (&'static str, usize),
    pub(super) rules: BTreeMap<String, Spec>,
    pub(super) events: Vec<(NaiveDateTime, Event)>,
}

/// A turn of events around a due time.
#[derive(Clone, Copy, Debug)]
enum Scene {
    Send(What0, Wide),
    Token(What0),
    Tokens,
    Gone,
    Crash,
    CrashAfter,
    Break(Act),
    BreakAndCrash(Act),
    Full,
    Stop,
    Down,
    Jump,
    Spoil,
    /// A rule goes, or is turned off, while its messages are under way.
    Goes,
    /// An operator pauses what is due, and lets it go on.
    Pause,
    /// Somebody is erased while a message to him is under way.
    Erase,
    /// A visit is moved or taken back while its reminder is under way.
    Visit,
}

/// A misfortune without its figures.
#[derive(Clone, Copy, Debug)]
enum What0 {
    Code(i32),
    Status,
    Garbage,
    Delay,
    Reset,
    Truncate,
    Hang,
}

/// Before or after the platform has acted.
#[derive(Clone, Copy, Debug)]
enum Wide {
    Before,
    After,
}

const SCENES: &[Scene] = &[
    Scene::Send(What0::Code(-1), Wide::Before),
    Scene::Send(What0::Code(-1), Wide::After),
    Scene::Send(What0::Code(-1), Wide::After),
    Scene::Send(What0::Code(43108), Wide::Before),
    Scene::Send(What0::Code(44990), Wide::Before),
    Scene::Send(What0::Code(45011), Wide::Before),
    Scene::Send(What0::Code(45009), Wide::Before),
    Scene::Send(What0::Code(47003), Wide::Before),
    Scene::Send(What0::Code(40003), Wide::Before),
    Scene::Send(What0::Code(40037), Wide::Before),
    Scene::Send(What0::Code(43101), Wide::Before),
    Scene::Send(What0::Code(48001), Wide::Before),
    Scene::Send(What0::Code(85107), Wide::Before),
    Scene::Send(What0::Code(40001), Wide::Before),
    Scene::Send(What0::Status, Wide::Before),
    Scene::Send(What0::Status, Wide::After),
    Scene::Send(What0::Garbage, Wide::Before),
    Scene::Send(What0::Garbage, Wide::After),
    Scene::Send(What0::Delay, Wide::Before),
    Scene::Send(What0::Delay, Wide::After),
    Scene::Send(What0::Reset, Wide::Before),
    Scene::Send(What0::Reset, Wide::After),
    Scene::Send(What0::Truncate, Wide::After),
    Scene::Token(What0::Code(40164)),
    Scene::Token(What0::Code(-1)),
    Scene::Token(What0::Code(45009)),
    Scene::Token(What0::Status),
    Scene::Token(What0::Garbage),
    Scene::Token(What0::Delay),
    Scene::Token(What0::Reset),
    Scene::Token(What0::Truncate),
    Scene::Tokens,
    Scene::Tokens,
    Scene::Gone,
    Scene::Gone,
    Scene::Crash,
    Scene::Crash,
    Scene::CrashAfter,
    Scene::CrashAfter,
    Scene::CrashAfter,
    Scene::Break(Act::Apply),
    Scene::Break(Act::Sync),
    Scene::Break(Act::Read),
    Scene::BreakAndCrash(Act::Apply),
    Scene::BreakAndCrash(Act::Sync),
    Scene::Full,
    Scene::Stop,
    Scene::Stop,
    Scene::Down,
    Scene::Jump,
    Scene::Spoil,
    Scene::Goes,
    Scene::Goes,
    Scene::Pause,
    Scene::Pause,
    Scene::Pause,
    Scene::Erase,
    Scene::Erase,
    Scene::Visit,
    Scene::Visit,
    Scene::Visit,
    Scene::Visit,
];

impl Script {
    pub(super) fn of(seed: u64) -> Self {
        let mut luck = Luck::new(seed);
        let n_people = 6 + luck.below(8);
        let limits = luck.pick(&[
            ("in_flight: 1", 1),
            ("in_flight: 2", 2),
            ("in_flight: 4", 4),
            ("in_flight: 8", 8),
            ("in_flight: 4, per_second: 3", 4),
        ]);
        let rules: BTreeMap<String, Spec> =
            (0..3 + luck.below(2)).map(|n| (format!("r{n}"), Spec::any(&mut luck))).collect();
        let mut writer =
            Writer { luck, n_people, files: rules.clone(), n_rules: rules.len(), events: Vec::new() };
        let mut scenes = SCENES.to_vec();
        writer.luck.shuffle(&mut scenes);
        if matches!(seed % 16, 0 | 5) {
            // It costs the client's ten seconds, which are the machine's.
            scenes[0] = Scene::Send(What0::Hang, Wide::Before);
        }
        let mut scenes = scenes.into_iter();
        for day in 0..DAYS {
            writer.day(day, &mut scenes);
        }
        let mut events = writer.events;
        events.sort_by_key(|(at, _)| *at);
        Self { n_people, limits, rules, events }
    }
}

/// What writes a script.
struct Writer {
    luck: Luck,
    n_people: usize,
    /// The rules as they are in the folder by now.
    files: BTreeMap<String, Spec>,
    n_rules: usize,
    events: Vec<(NaiveDateTime, Event)>,
}

impl Writer {
    fn day(&mut self, day: u64, scenes: &mut impl Iterator<Item = Scene>) {
        let midnight = (first_day() + chrono::Days::new(day)).and_hms_opt(0, 0, 0).unwrap();
        self.events.push((midnight + TimeDelta::minutes(197), Event::Night));
        for _ in 0..4 + self.luck.below(5) {
            let at = self.some_time(midnight);
            let said = self.said(at);
            self.events.push((at, said));
        }
        let n_scenes = if self.luck.percent(70) { 2 } else { 1 };
        for scene in scenes.take(n_scenes).collect::<Vec<_>>() {
            let due = self.some_due(midnight);
            self.scene(scene, due);
        }
        if self.luck.percent(50) {
            let at = self.some_time(midnight);
            let edit = self.edit();
            self.events.push((at, Event::Edit(edit)));
        }
        if self.luck.percent(25) {
            let at = self.some_time(midnight);
            self.events.push((at, Event::Release));
        }
        if self.luck.percent(20) {
            let at = self.some_time(midnight);
            self.events.push((at, Event::Audit));
        }
    }

    /// Between half past six and eleven at night, at an odd second.
    fn some_time(&mut self, midnight: NaiveDateTime) -> NaiveDateTime {
        midnight + TimeDelta::milliseconds(self.luck.within(23_400_000, 82_800_000) / 1000 * 1000 + 137)
    }

    /// When some rule is due on that day, or any time.
    fn some_due(&mut self, midnight: NaiveDateTime) -> NaiveDateTime {
        let of_today = |due: &NaiveDateTime| *due >= midnight && *due < midnight + TimeDelta::days(1);
        let dues: Vec<NaiveDateTime> = self.files.values().flat_map(Spec::dues).filter(of_today).collect();
        if dues.is_empty() { self.some_time(midnight) } else { self.luck.pick(&dues) }
    }

    fn someone(&mut self) -> usize {
        self.luck.below(self.n_people)
    }

    /// A visit of some people then; its number is its seconds.
    fn a_visit(&mut self, n: usize, at: NaiveDateTime) -> Visit {
        let who = (0..=self.luck.below(3)).map(|_| self.someone()).collect();
        (at.with_second(u32::try_from(n).unwrap()).unwrap().with_nanosecond(0).unwrap(), who)
    }

    fn said(&mut self, now: NaiveDateTime) -> Event {
        let who = self.someone();
        let luck = &mut self.luck;
        let word = match luck.below(24) {
            21.. => {
                let n = luck.below(VISITS);
                let at = now + TimeDelta::minutes(luck.within(30, 4 * 1440));
                let to = if luck.percent(80) { Some(self.a_visit(n, at)) } else { None };
                Word::Visit { n, to }
            }
            20 if luck.percent(50) => Word::Erase { who },
            0 => Word::Again { back: luck.below(8), other: false },
            1 => Word::Again { back: luck.below(8), other: true },
            2 => Word::TurnsOff { who, bill: luck.percent(30) },
            3 => Word::Grant { who, n: 1 + u32::try_from(luck.below(4)).unwrap(), real: luck.percent(80) },
            4 => Word::Import { first: who, n: 1 + luck.below(4) },
            5 => {
                let tags: [&'static [&'static str]; 5] = [&[], &["a"], &["b"], &["a", "b"], &["c"]];
                Word::Person { who, tags: luck.pick(&tags), muted: luck.percent(20) }
            }
            6 => return Event::Settle,
            n => {
                let status = match n {
                    7 => "reject",
                    8 => luck.pick(&["ban", "filter", "unheard-of"]),
                    9 => "acceptWithAudio",
                    _ => "accept",
                };
                let age_s =
                    u32::try_from(if luck.percent(15) { luck.within(60, 400_000) } else { 0 }).unwrap();
                Word::Report { who, bill: luck.percent(25), status, age_s, tapped: luck.percent(93) }
            }
        };
        Event::Told(word)
    }

    fn edit(&mut self) -> Edit {
        let ids: Vec<String> = self.files.keys().cloned().collect();
        let add = ids.len() < 3 || (ids.len() < 5 && self.luck.percent(25));
        if add {
            // Often one that was there before.
            let id = format!("r{}", self.luck.below(self.n_rules + 1));
            if !self.files.contains_key(&id) {
                self.n_rules = self.n_rules.max(ids.len() + 1);
                let spec = Spec::any(&mut self.luck);
                self.files.insert(id.clone(), spec.clone());
                return Edit::Put(id, spec);
            }
        }
        let id = self.luck.pick(&ids);
        let spec = self.files[&id].clone();
        let spec = match self.luck.below(10) {
            0 => {
                self.files.remove(&id);
                return Edit::Remove(id);
            }
            1 => spec.disabled(),
            _ => spec.edited(&mut self.luck),
        };
        self.files.insert(id.clone(), spec.clone());
        Edit::Put(id, spec)
    }

    fn scene(&mut self, scene: Scene, due: NaiveDateTime) {
        let luck = &mut self.luck;
        let s = TimeDelta::seconds;
        let before = due - s(luck.within(2, 50));
        let soon = due + s(luck.within(1, 20)) + TimeDelta::milliseconds(250);
        let later = due + TimeDelta::minutes(luck.within(3, 400));
        let n = u64::try_from(luck.within(1, 6)).unwrap();
        let slow = Misfortune::new(Api::Send, What::Delay(Duration::from_secs(3 * n))).after();
        let kept = luck.pick(&[0, 0, 1, 2, 5, usize::MAX]);
        let off_s = luck.pick(&[1, 20, 300, 4000, 30_000]);
        let writes = luck.below(14);
        let some = if luck.percent(50) { n } else { 1000 };
        let clear = (later, Event::Weather(Vec::new()));
        let add = match scene {
            Scene::Send(what, stage) => {
                let fault = Misfortune::new(Api::Send, what.with(luck));
                let fault = match stage {
                    Wide::Before => fault,
                    Wide::After => fault.after(),
                };
                let fault = match (what, stage) {
                    (What0::Reset, Wide::After) => Misfortune::new(Api::Send, What::DestroyAfter),
                    (What0::Hang, _) => fault.at_most(1),
                    _ => fault.at_most(some),
                };
                vec![(before, Event::Weather(vec![fault])), clear]
            }
            Scene::Token(what) => {
                let fault = Misfortune::new(Api::Token, what.with(luck)).at_most(some);
                let order = if luck.percent(50) { Tokens::Revoked } else { Tokens::Expired };
                vec![(before, Event::Weather(vec![fault])), (before, Event::Tokens(order)), clear]
            }
            Scene::Tokens => match luck.below(3) {
                0 => vec![(before, Event::Tokens(Tokens::Revoked)), (soon, Event::Tokens(Tokens::Expired))],
                1 => vec![(before, Event::Tokens(Tokens::Refused)), (later, Event::Tokens(Tokens::Accepted))],
                _ => {
                    vec![(before, Event::Weather(vec![slow])), (soon, Event::Tokens(Tokens::Revoked)), clear]
                }
            },
            Scene::Gone => {
                let gone = if luck.percent(50) { before } else { soon };
                vec![
                    (before - s(1), Event::Weather(vec![slow])),
                    (gone, Event::PlatformGone),
                    (later, Event::PlatformBack),
                    (later + s(60), Event::Weather(Vec::new())),
                ]
            }
            Scene::Crash => {
                vec![(before, Event::Weather(vec![slow])), (soon, Event::Crash { kept, off_s }), clear]
            }
            Scene::CrashAfter => vec![(before, Event::CrashAfter { writes, kept, off_s })],
            Scene::Break(act) => {
                let after = if act == Act::Read { writes * 5 } else { writes };
                let fault = Fault { act, after, kept };
                let slow = Event::Weather(if n < 3 { vec![slow] } else { Vec::new() });
                vec![(before - s(1), slow), (before, Event::Break(fault)), (later, Event::Mend), clear]
            }
            Scene::BreakAndCrash(act) => {
                let fault = Fault { act, after: writes, kept };
                vec![(before, Event::BreakAndCrash { fault, off_s })]
            }
            Scene::Full => {
                vec![
                    (before, Event::Full),
                    (before, Event::Told(Word::Grant { who: 0, n: 1, real: true })),
                    (later, Event::Room),
                ]
            }
            Scene::Stop => {
                vec![(before, Event::Weather(vec![slow])), (soon, Event::Stop { off_s }), clear]
            }
            Scene::Down => {
                let off_s = luck.within(4, 70) * 3600;
                let down =
                    if luck.percent(50) { Event::Stop { off_s } } else { Event::Crash { kept, off_s } };
                vec![(before, down)]
            }
            Scene::Jump => {
                vec![(before, Event::Weather(vec![slow])), (soon, Event::Jump { s: off_s }), clear]
            }
            Scene::Goes => {
                let due_now: Vec<String> = self
                    .files
                    .iter()
                    .filter(|(_, spec)| spec.dues().contains(&due))
                    .map(|(id, _)| id.clone())
                    .collect();
                let slow = (before, Event::Weather(vec![slow]));
                match due_now.first() {
                    Some(id) if self.luck.percent(50) => {
                        self.files.remove(id);
                        vec![slow, (soon, Event::Edit(Edit::Remove(id.clone()))), clear]
                    }
                    Some(id) => {
                        let spec = self.files[id].clone().disabled();
                        self.files.insert(id.clone(), spec.clone());
                        vec![slow, (soon, Event::Edit(Edit::Put(id.clone(), spec))), clear]
                    }
                    None => vec![slow, clear],
                }
            }
            Scene::Pause => {
                let due_now = self.files.iter().filter(|(_, spec)| spec.dues().contains(&due));
                let ids: Vec<String> = due_now.map(|(id, _)| id.clone()).collect();
                let rule = ids.first().filter(|_| self.luck.percent(60)).cloned();
                let from = if self.luck.percent(50) { before } else { soon };
                let slow = (before - s(1), Event::Weather(vec![slow]));
                vec![slow, (from, Event::Pause(rule)), (later, Event::Resume), clear]
            }
            Scene::Erase => {
                let who = luck.below(self.n_people);
                let slow = (before, Event::Weather(vec![slow]));
                let erase = |at| (at, Event::Told(Word::Erase { who }));
                let back = Word::Report { who, bill: false, status: "accept", age_s: 0, tapped: true };
                vec![slow, erase(soon), (soon + s(off_s.min(4000)), Event::Told(back)), clear]
            }
            Scene::Visit => {
                let n = luck.below(VISITS);
                let word = |to| Event::Told(Word::Visit { n, to });
                let first = self.a_visit(n, due + TimeDelta::hours(2));
                let then = match self.luck.below(3) {
                    0 => None,
                    1 => Some(self.a_visit(n, due + TimeDelta::hours(3))),
                    // The same again, of others perhaps.
                    _ => Some(self.a_visit(n, due + TimeDelta::hours(2))),
                };
                vec![
                    (due - TimeDelta::minutes(50), word(Some(first))),
                    (before, Event::Weather(vec![slow])),
                    (soon, word(then)),
                    clear,
                ]
            }
            Scene::Spoil => {
                let stop = Event::Stop { off_s };
                vec![
                    (before, Event::Edit(Edit::Spoil)),
                    (soon, stop),
                    (due + TimeDelta::hours(luck.within(1, 40)), Event::Edit(Edit::Repair)),
                ]
            }
        };
        self.events.extend(add);
    }
}

impl What0 {
    fn with(self, luck: &mut Luck) -> What {
        match self {
            Self::Code(code) => What::Errcode { code, msg: "of the month".to_owned() },
            Self::Status => What::Status { code: 502, body: "bad gateway".to_owned() },
            Self::Garbage => What::Garbage,
            Self::Delay => What::Delay(Duration::from_secs(luck.number() % 70)),
            Self::Reset => What::DestroyBefore,
            Self::Truncate => What::Truncate,
            Self::Hang => What::Hang,
        }
    }
}
