//! Plays a script on a world: moves the clock from event to event and due time to due time, and survives what comes.
//!
//! The clock moves only while nothing moves of itself. While there is open work it moves in steps that grow, so that
//! what waits for a second, a minute or a day of the platform is met without a look at each second.
//!
//! One file a little over its length: how time passes and what befalls the daemon are read together.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use tixing::admin::control::Control as _;
use tixing::daemon::Asker;
use tixing::flow::housekeeping::Housekeeping;
use tixing::sandbox::Acceptance;
use tixing::store::{DoubtWord, Health, Store};
use tokio::task::JoinSet;

use super::halts::Paused;
use super::reports::Reports;
use super::rule::{DAYS, Spec, first_day};
use super::script::{Edit, Event, Script, Tokens};
use super::visits::{self, Visits};
use super::{Journal, Tally};
use crate::disk::{Act, Disk, Fault};
use crate::world::{APPID, PATIENCE, World, beijing};

/// How long one look waits, by the machine's clock.
const LOOK: Duration = Duration::from_millis(1);
/// Looks in a row that must see nothing happen; only the last of them waits.
const LOOKS: u32 = 2;
/// Turns of the thread in a look.
const TURNS: u32 = 10;
/// The longest step of the clock while work is open.
const MAX_STEP: TimeDelta = TimeDelta::minutes(40);
/// How many stuck looks make the clock move by itself: somebody waits for it.
const STUCK: u32 = 20;

/// A world in its month.
pub(super) struct Month {
    pub(super) world: World,
    pub(super) script: Script,
    pub(super) reports: Reports,
    pub(super) tally: Tally,
    /// The rules in force over time: from when, and none when there is none.
    pub(super) history: BTreeMap<String, Vec<(NaiveDateTime, Option<Spec>)>>,
    /// Changes of rules whose reload nobody heard the end of.
    pub(super) blurred: Vec<Blur>,
    /// Rules as they are in the folder; those in force when it is not spoilt.
    files: BTreeMap<String, Spec>,
    in_force: BTreeMap<String, Spec>,
    spoilt: bool,
    /// A reload whose end nobody heard of began then.
    unheard: Option<NaiveDateTime>,
    /// What the next cut of the power is to leave, and how long it lasts.
    off: Option<Off>,
    /// What was paused since when, to when; at the end of a pause nobody knows how soon it was felt.
    pub(super) pauses: Vec<Paused>,
    /// Sends of what was held over quiet hours, and of turns within a spread, at the last audit.
    pub(super) held_so_far: u64,
    pub(super) turns_so_far: u64,
    pub(super) visits: Visits,
    pub(super) n_requests: u64,
    /// A request may hang, by the machine's clock.
    hangs: bool,
    pub(super) reminded_so_far: u64,
    /// When the daemon was seen to work, with nothing moving: what was due before has come to pass.
    pub(super) well_at: BTreeSet<NaiveDateTime>,
    /// Ends of the process that nobody announced, and failures of the disk: each may leave some in doubt.
    pub(super) n_blows: u64,
    nights: JoinSet<()>,
    journal: Journal,
}

/// A change that a blow fell into: which text was in force meanwhile nobody can say.
#[derive(Debug)]
pub(super) struct Blur {
    rule: String,
    /// Since when the text before was in force: a start goes on from the last due time that is booked.
    before: NaiveDateTime,
    since: NaiveDateTime,
    until: NaiveDateTime,
}

impl Blur {
    /// Whether a due time may be booked or not.
    pub(super) fn hides(&self, rule: &str, due: NaiveDateTime) -> bool {
        self.rule == rule && self.since < due && due <= self.until
    }

    /// Whether a due time of the new text may be found although the old one was in force.
    pub(super) fn allows(&self, rule: &str, due: NaiveDateTime) -> bool {
        self.rule == rule && self.before < due && due <= self.until
    }
}

#[derive(Clone, Copy)]
struct Off {
    s: i64,
    /// The disk fails first.
    by_disk: bool,
}

impl Month {
    /// Plays the month of `seed` to its end.
    pub(super) async fn played(seed: u64, journal: Journal) -> Tally {
        let script = Script::of(seed);
        let mut world = World::with_limits(script.limits.0).await;
        if !seed.is_multiple_of(8) {
            world.disk = Some(Disk::new());
        }
        let mut month = Self {
            world,
            reports: Reports::default(),
            tally: Tally::default(),
            history: BTreeMap::new(),
            blurred: Vec::new(),
            files: script.rules.clone(),
            in_force: BTreeMap::new(),
            spoilt: false,
            unheard: None,
            off: None,
            pauses: Vec::new(),
            held_so_far: 0,
            turns_so_far: 0,
            visits: Visits::default(),
            n_requests: 0,
            hangs: false,
            reminded_so_far: 0,
            well_at: BTreeSet::new(),
            n_blows: 0,
            nights: JoinSet::new(),
            journal,
            script,
        };
        month.note(&format!("{:?}", (&month.script.limits, &month.script.rules)));
        month.write_files();
        month.start().await;
        month.people().await;
        for (at, event) in std::mem::take(&mut month.script.events) {
            month.goes_to(at).await;
            month.note(&format!("{event:?}"));
            month.happens(event).await;
        }
        month.comes_to_rest().await;
        month.tally
    }

    pub(super) fn note(&self, what: &str) {
        self.journal.lock().unwrap().push(format!("{} {what}", self.now()));
    }

    /// The civil time of Beijing.
    pub(super) fn now(&self) -> NaiveDateTime {
        beijing(self.world.clock.now())
    }

    pub(super) fn is_running(&self) -> bool {
        self.world.running.as_ref().is_some_and(|running| !running.power.is_cut())
    }

    /// Whether the daemon runs and its store works.
    pub(super) fn is_well(&self) -> bool {
        self.is_running() && *self.world.power().health().borrow() == Health::Works
    }

    // --- time -----------------------------------------------------------------------------------

    /// Waits until nothing moves any more.
    pub(super) async fn quiet(&self) {
        let mut changes = self.world.platform.changes();
        let look = |changes: &tokio::sync::watch::Receiver<u64>| {
            let running = self.world.running.as_ref();
            (running.map(|running| running.power.n_calls()), *changes.borrow())
        };
        let mut looks = 0;
        while looks < LOOKS {
            let seen = look(&changes);
            if let Some(running) = &self.world.running {
                running.power.rest(self.world.clock.now()).await;
            }
            // Each turn of the one thread is one hop of a conversation over loopback.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            if looks + 1 == LOOKS && look(&changes) == seen {
                changes.mark_unchanged();
                let _change = tokio::time::timeout(LOOK, changes.changed()).await;
            }
            looks = if look(&changes) == seen { looks + 1 } else { 0 };
        }
    }

    /// Waits for what may need time to pass; nothing when the power goes meanwhile.
    pub(super) async fn patiently<T>(&self, what: &str, wanted: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(wanted);
        let looks = u32::try_from(PATIENCE.as_millis() / LOOK.as_millis()).unwrap();
        for n in 1..looks {
            if let Ok(done) = tokio::time::timeout(LOOK, &mut wanted).await {
                return Some(done);
            }
            if !self.is_running() {
                return None;
            }
            if n.is_multiple_of(STUCK) {
                self.world.clock.advance(Duration::from_secs(1));
            }
        }
        panic!("waited in vain for {what}\n{}", self.world.told());
    }

    /// Waits for `seen`, the clock standing but for a second now and then.
    async fn until(&self, what: &str, seen: impl Fn(&Self) -> bool) {
        let looks = u32::try_from(PATIENCE.as_millis() / LOOK.as_millis()).unwrap();
        for n in 1..looks {
            if seen(self) {
                return;
            }
            let _never = tokio::time::timeout(LOOK, std::future::pending::<()>()).await;
            if n.is_multiple_of(STUCK * 10) {
                self.world.clock.advance(Duration::from_secs(1));
            }
        }
        panic!("waited in vain for {what}\n{}", self.world.told());
    }

    pub(super) fn has_open_work(&self) -> bool {
        self.is_well() && self.world.power().unfinished().is_ok_and(|unfinished| !unfinished.is_empty())
    }

    /// The next due time of a rule in force.
    fn next_due(&self, now: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = |spec: &Spec| spec.dues().into_iter().find(|due| *due > now);
        let of_visits = self.visits.dues().filter(|due| *due > now);
        self.in_force.values().filter_map(next).chain(of_visits).min()
    }

    /// Moves the clock to `at`, by way of everything that is due before.
    pub(super) async fn goes_to(&mut self, at: NaiveDateTime) {
        let mut step = TimeDelta::seconds(1);
        loop {
            self.quiet().await;
            self.survive().await;
            let now = self.now();
            if self.is_well() {
                self.well_at.insert(now);
            }
            if now >= at {
                return;
            }
            let due = self.next_due(now).unwrap_or(at);
            let mut next = due.min(at);
            if self.has_open_work() {
                if now + step < next {
                    next = now + step;
                    step = (step * 3).min(MAX_STEP);
                } else {
                    step = TimeDelta::seconds(1);
                }
            }
            self.world.clock.advance((next - now).to_std().unwrap());
        }
    }

    // --- the daemon -----------------------------------------------------------------------------

    fn write_files(&mut self) {
        let text = |(id, spec): (&String, &Spec)| (id.clone(), spec.yaml(id));
        self.world.rules = self.files.iter().map(text).chain(visits::rules()).collect();
        if self.spoilt {
            self.world.rules.insert("broken".to_owned(), "  broken: { template: nowhere }\n".to_owned());
        }
        self.world.write_files();
    }

    /// What the folder holds is in force from now on.
    fn takes_over(&mut self) {
        let now = self.now();
        let ids: Vec<String> = self.files.keys().chain(self.in_force.keys()).cloned().collect();
        for id in ids {
            let (new, old) = (self.files.get(&id), self.in_force.get(&id));
            if new == old {
                continue;
            }
            let of = self.history.entry(id.clone()).or_default();
            if of.last().is_none_or(|(_, last)| last.as_ref() != new) {
                of.push((now, new.cloned()));
            }
            if let Some(since) = self.unheard {
                let before = of.iter().rev().map(|(from, _)| *from).find(|from| *from < now);
                let before = before.unwrap_or(since).min(since);
                self.blurred.push(Blur { rule: id, before, since, until: now });
            }
        }
        self.in_force.clone_from(&self.files);
        self.unheard = None;
    }

    async fn start(&mut self) {
        self.mend();
        if let Some(disk) = &self.world.disk {
            disk.leave_room(u64::MAX);
        }
        self.world.start().await;
        if !self.spoilt {
            self.takes_over();
        }
        self.quiet().await;
    }

    /// The power goes: `kept` of the batches that were not synced are there when it is back.
    async fn crash(&mut self, kept: usize, off_s: i64) {
        if let Some(disk) = self.world.disk.clone() {
            self.world.power().and_of(disk, kept);
        }
        self.world.power().cut();
        self.revive(off_s).await;
    }

    /// Starts again what lost its power.
    async fn revive(&mut self, off_s: i64) {
        self.n_blows += 1;
        self.tally.count("the power went", 1);
        self.off = None;
        // What was on its way arrives.
        self.quiet().await;
        self.world.kill().await;
        self.world.clock.advance(Duration::from_secs(off_s.unsigned_abs()));
        self.start().await;
        let now = self.world.clock.now();
        self.note("the power is back");
        self.after_a_start(now).await;
    }

    /// Ends what lost its power, and begins again.
    async fn survive(&mut self) {
        if self.is_running()
            && let Some(ended) = self.world.running.as_mut().and_then(|running| running.task.try_join_next())
        {
            panic!("the daemon ended by itself: {ended:?}\n{}", self.world.told());
        }
        let by_disk =
            self.off.is_some_and(|off| off.by_disk) && self.world.disk.as_ref().is_some_and(Disk::is_broken);
        if self.is_running() && !by_disk {
            return;
        }
        let off_s = self.off.map_or(1, |off| off.s);
        if by_disk {
            self.tally.count("the power went with a failed disk", 1);
            self.crash(0, off_s).await;
        } else {
            self.tally.count(
                "the power went after so many writes",
                u64::from(self.off.is_some_and(|off| !off.by_disk)),
            );
            self.revive(off_s).await;
        }
    }

    /// Stops the daemon as systemd would, time passing meanwhile, and starts it again.
    async fn stop(&mut self, off_s: i64) {
        let mut running = self.world.running.take().unwrap();
        let (spent, _nobody) = tokio::sync::oneshot::channel();
        std::mem::replace(&mut running.stop, spent).send(()).unwrap();
        let mut ended = None;
        for _ in 0..PATIENCE.as_millis() {
            match tokio::time::timeout(LOOK, running.task.join_next()).await {
                Ok(end) => {
                    ended = end;
                    break;
                }
                Err(_not_yet) if running.power.is_cut() => break,
                Err(_not_yet) => self.world.clock.advance(Duration::from_millis(200)),
            }
        }
        let is_cut = running.power.is_cut();
        self.world.running = Some(running);
        if is_cut {
            return self.survive().await;
        }
        let ended = ended.unwrap_or_else(|| panic!("the daemon does not stop")).unwrap();
        if ended.is_err() {
            // The disk failed on the way.
            assert!(self.world.disk.as_ref().is_some_and(Disk::is_broken), "{ended:?}");
            return self.crash(0, off_s).await;
        }
        self.world.kill().await;
        self.tally.count("the daemon was stopped", 1);
        self.world.clock.advance(Duration::from_secs(off_s.unsigned_abs()));
        let now = self.world.clock.now();
        self.start().await;
        let lost = self.found_under_way(now);
        assert_eq!(lost, 0, "a graceful stop leaves nothing to recover\n{}", self.world.told());
    }

    async fn works_again(&mut self) {
        // Another fault may strike meanwhile.
        let is_broken = |month: &Self| month.world.disk.as_ref().is_some_and(Disk::is_broken);
        self.until("the store to work", |month| !month.is_running() || month.is_well() || is_broken(month))
            .await;
        self.quiet().await;
    }

    // --- events ---------------------------------------------------------------------------------

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Told(word) => self.is_said(word).await,
            Event::Settle => self.settles().await,
            Event::Edit(edit) => self.is_edited(edit).await,
            Event::Weather(faults) => {
                if std::mem::take(&mut self.hangs) {
                    self.hangs_up().await;
                }
                self.hangs = format!("{faults:?}").contains("Hang");
                self.world.faults(faults);
            }
            Event::Tokens(Tokens::Revoked) => {
                self.world.platform.revoke_tokens(APPID);
            }
            Event::Tokens(Tokens::Expired) => self.world.platform.expire_tokens(APPID),
            Event::Tokens(Tokens::Refused) => self.world.platform.refuse_tokens(APPID, Acceptance::Refused),
            Event::Tokens(Tokens::Accepted) => self.world.platform.refuse_tokens(APPID, Acceptance::Ruled),
            Event::PlatformGone => self.platform_goes().await,
            Event::PlatformBack => self.platform_returns().await,
            Event::Crash { kept, off_s } => {
                self.tally.count("the power went at a point", 1);
                self.crash(kept, off_s).await;
            }
            Event::CrashAfter { writes, kept, off_s } => {
                if let Some(disk) = self.world.disk.clone() {
                    self.world.power().and_of(disk, kept);
                }
                self.world.power().cut_after(writes);
                self.off = Some(Off { s: off_s, by_disk: false });
            }
            Event::Break(fault) => self.breaks(fault),
            Event::BreakAndCrash { fault, off_s } => {
                self.breaks(fault);
                self.off = Some(Off { s: off_s, by_disk: true });
            }
            Event::Mend => self.mends().await,
            Event::Full => {
                if let Some(disk) = &self.world.disk {
                    disk.leave_room(10);
                }
            }
            Event::Room => {
                if let Some(disk) = &self.world.disk {
                    if matches!(*self.world.power().health().borrow(), Health::Short(_)) {
                        self.tally.count("the disk was nearly full", 1);
                    }
                    disk.leave_room(u64::MAX);
                    if !disk.is_broken() {
                        self.works_again().await;
                    }
                }
            }
            Event::Stop { off_s } => {
                if self.is_well() {
                    self.stop(off_s).await;
                }
            }
            Event::Jump { s } => {
                self.tally.count("the clock jumped", u64::from(self.is_well()));
                self.world.clock.advance(Duration::from_secs(s.unsigned_abs()));
            }
            Event::Pause(rule) => self.is_paused(rule).await,
            Event::Resume => self.resumes().await,
            Event::Release => self.releases().await,
            Event::Night => self.night().await,
            Event::Audit => self.audit().await,
        }
    }

    /// Waits for requests that hang: they end by the machine's clock, and a daemon whose disk failed waits for them.
    async fn hangs_up(&self) {
        if self.world.sandbox.is_some() && self.is_well() {
            self.until("hanging requests to end", |month| {
                month.world.platform.in_flight() == 0 || !month.is_well()
            })
            .await;
        }
    }

    fn breaks(&self, fault: Fault) {
        if let Some(disk) = &self.world.disk {
            disk.break_by(fault);
        }
    }

    /// Mends the disk, and counts what it failed at; whether it was broken.
    fn mend(&mut self) -> bool {
        let Some(disk) = &self.world.disk else { return false };
        match disk.failed_at() {
            Some(Act::Apply) => self.tally.count("the disk failed at a write", 1),
            Some(Act::Sync) => self.tally.count("the disk failed at a sync", 1),
            Some(Act::Read) => self.tally.count("the disk failed at a read", 1),
            Some(Act::Open) | None => {}
        }
        disk.mend()
    }

    async fn mends(&mut self) {
        if self.mend() {
            self.n_blows += 1;
            self.tally.count("the disk failed", 1);
            self.works_again().await;
            self.tally.count("the store was opened again", u64::from(self.is_well()));
        }
    }

    async fn is_edited(&mut self, edit: Edit) {
        let what = match edit {
            Edit::Put(id, spec) => {
                let disabled = spec.is_disabled();
                match self.files.insert(id, spec) {
                    None => Some("a rule was added"),
                    Some(before) if disabled && !before.is_disabled() => Some("a rule was disabled"),
                    Some(_) => Some("a rule was changed"),
                }
            }
            Edit::Remove(id) => {
                self.files.remove(&id);
                Some("a rule was removed")
            }
            Edit::Spoil => {
                self.spoilt = true;
                // Its refusal is counted.
                None
            }
            Edit::Repair => {
                self.spoilt = false;
                Some("a broken file was put right")
            }
        };
        self.write_files();
        self.reload().await;
        if let Some(what) = what {
            let is_in_force = self.unheard.is_none() && !self.spoilt;
            self.tally.count(what, u64::from(is_in_force));
        }
    }

    /// Reloads, where a daemon can; a set that cannot be used leaves the one in force.
    pub(super) async fn reload(&mut self) {
        if !self.is_well() {
            self.unheard = self.unheard.or(Some(self.now()));
            return;
        }
        let shared = std::sync::Arc::clone(&self.world.running.as_ref().unwrap().shared);
        let before = shared.current().get();
        let since = self.now();
        let reloaded = self.patiently("a reload", shared.reload(Asker::Operator)).await;
        let after = shared.current().get();
        match reloaded {
            Some(reloaded) if reloaded.ok => {
                assert!(!self.spoilt, "a broken file was taken");
                self.takes_over();
            }
            Some(reloaded) if self.spoilt => {
                assert!(!reloaded.diagnostics.is_empty(), "refused, and nobody says why");
                assert_eq!(before.generation, after.generation, "refused, and something else is in force");
                self.tally.count("a broken file was refused", 1);
            }
            Some(reloaded) => {
                assert!(!self.is_well(), "{:?}", reloaded.diagnostics);
                self.unheard = Some(since);
            }
            None => self.unheard = Some(since),
        }
    }

    async fn night(&mut self) {
        while self.nights.try_join_next().is_some() {}
        if let Some(running) = &self.world.running {
            let store: std::sync::Arc<super::super::power::Power> = std::sync::Arc::clone(&running.power);
            let jobs = Housekeeping {
                store,
                current: running.shared.current().clone(),
                clock: self.world.clock.clone(),
                zones: std::sync::Arc::<tixing::daemon::Shared>::clone(&running.shared),
                books: running.shared.books().clone(),
                quotas: tixing::flow::quota::Quotas::default(),
                templates: running.shared.templates().clone(),
            };
            self.nights.spawn(async move { jobs.all().await });
        }
        self.says_again().await;
        // So is a pause that nobody could end.
        if self.pauses.iter().all(|pause| pause.to.is_some()) {
            self.resumes().await;
        }
        // An edit that fell into trouble is tried again.
        if self.unheard.is_some() {
            self.reload().await;
        }
    }

    async fn settles(&mut self) {
        if !self.is_well() {
            return;
        }
        let Ok(doubts) = self.world.power().doubts(1) else { return };
        let Some(doubt) = doubts.first() else { return };
        let arrived = self.has_arrived(doubt);
        let word = if arrived { DoubtWord::Sent } else { DoubtWord::Failed };
        let (id, now) = (doubt.id, self.world.clock.now());
        let settled = self.world.power().settle_doubt(id, word, now);
        if let Some(Ok(settled)) = self.patiently("an operator's word", settled).await {
            assert!(settled.value, "what is in doubt can be settled");
            self.tally.count(if arrived { "doubt settled as sent" } else { "doubt settled as failed" }, 1);
        }
    }

    async fn platform_goes(&mut self) {
        if self.world.sandbox.is_some() {
            self.tally.add_struck(&self.world.platform.struck());
            self.world.platform_gone().await;
            self.tally.count("the platform was gone", 1);
        }
    }

    async fn platform_returns(&mut self) {
        if self.world.sandbox.is_none() {
            self.world.platform_back().await;
        }
    }

    /// Whether something is to fail by itself, which the audit is not to meet.
    pub(super) fn has_trouble_ahead(&self) -> bool {
        self.off.is_some() || self.world.disk.as_ref().is_some_and(Disk::has_fault)
    }

    // --- the end --------------------------------------------------------------------------------

    /// All troubles end, and what is open comes to its end; then both sides' books are asked, also from the disk.
    async fn comes_to_rest(&mut self) {
        self.note("all troubles end");
        self.off = None;
        self.world.power().cut_after(usize::MAX);
        self.mends().await;
        if let Some(disk) = &self.world.disk {
            disk.leave_room(u64::MAX);
        }
        self.survive().await;
        self.works_again().await;
        self.platform_returns().await;
        self.world.faults(Vec::new());
        self.world.platform.refuse_tokens(APPID, Acceptance::Ruled);
        self.spoilt = false;
        self.write_files();
        self.reload().await;
        self.resumes().await;
        self.releases().await;
        self.goes_to((first_day() + chrono::Days::new(DAYS)).and_hms_opt(0, 0, 0).unwrap()).await;
        for n in 0.. {
            let next = self.now() + TimeDelta::minutes(30);
            self.goes_to(next).await;
            if !self.has_open_work() {
                break;
            }
            assert!(n < 600, "work stays open\n{}", self.world.told());
        }
        self.says_again().await;
        let all_known = self.reports.all_acknowledged() && self.visits.all_known();
        assert!(all_known, "something is refused although all is well");
        self.audit().await;
        self.tally.add_struck(&self.world.platform.struck());
        self.count_the_books();
        self.stop(1).await;
        self.audit().await;
        self.are_known(usize::MAX).await;
        self.world.stop().await;
        self.world.sandbox.take().unwrap().stop().await;
        self.nights.shutdown().await;
    }
}
