//! What people and operators say in the month, and what they were promised.
//!
//! Whoever was refused says it again, as a mini program does, until it is acknowledged; what was acknowledged is
//! known for the rest of the month. Of consents it is kept how many there must be, and how many there may be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use tixing::domain::consent::Source;
use tixing::domain::id::AppName;
use tixing::domain::recipient::Profile;
use tixing::domain::template::TemplateKind;
use tixing::flow::intake::{ReportError, ReportOut};
use tixing::sandbox::Answer;
use tixing::store::{ImportPiece, ImportRow, OperatorGrant, Reach, Store};

use super::play::Month;
use super::script::Word;
use crate::world::{BILL, HABIT, appid, openid, tag, template};

/// A person and a template.
pub(super) type Account = (usize, bool);

/// Everything that was said.
#[derive(Debug, Default)]
pub(super) struct Reports {
    said: Vec<Said>,
    imports: Vec<Import>,
    /// Who wants to be forgotten, and was not told yet that he is.
    erasing: BTreeSet<usize>,
    /// Who was erased since he was heard of last.
    gone: BTreeSet<usize>,
    /// At least and at most so many consents were granted.
    pub(super) granted: BTreeMap<Account, (u64, u64)>,
}

#[derive(Clone, Debug)]
struct Said {
    who: usize,
    bill: bool,
    status: &'static str,
    age_s: u32,
    acknowledged: bool,
    /// Its person was erased since: nobody says it again.
    void: bool,
}

#[derive(Clone, Debug)]
struct Import {
    first: usize,
    n: usize,
    acknowledged: bool,
    /// Who was erased since.
    void: BTreeSet<usize>,
}

impl Reports {
    pub(super) fn all_acknowledged(&self) -> bool {
        self.erasing.is_empty()
            && self.said.iter().all(|said| said.acknowledged || said.void)
            && self.imports.iter().all(|import| import.acknowledged)
    }

    fn bounds(&mut self, account: Account) -> &mut (u64, u64) {
        self.granted.entry(account).or_default()
    }
}

/// `p007`.
pub(super) fn name(who: usize) -> String {
    format!("p{who:03}")
}

fn id_of(bill: bool) -> &'static str {
    if bill { BILL } else { HABIT }
}

impl Month {
    /// The people of the month, most of them with a consent to begin with.
    pub(super) async fn people(&mut self) {
        for who in 0..self.script.n_people {
            let tags: &[&str] = [&["a"][..], &["b"], &["a", "b"], &[]][who % 4];
            self.describe(who, tags, false).await;
            let n = u32::try_from(who % 5 + 1).unwrap();
            self.is_said(Word::Grant { who, n, real: true }).await;
            if who % 3 == 0 {
                let said = Word::Report { who, bill: true, status: "accept", age_s: 0, tapped: true };
                self.is_said(said).await;
            }
        }
    }

    pub(super) async fn is_said(&mut self, word: Word) {
        match word {
            Word::Report { who, bill, status, age_s, tapped } => {
                if tapped && status.starts_with("accept") {
                    self.world.tap(&name(who), id_of(bill), Answer::Accept);
                } else if tapped && status == "reject" {
                    self.world.tap(&name(who), id_of(bill), Answer::Reject);
                }
                self.reports.said.push(Said { who, bill, status, age_s, acknowledged: false, void: false });
                if status.starts_with("accept") {
                    self.reports.bounds((who, bill)).1 += 1;
                }
                self.say(self.reports.said.len() - 1).await;
            }
            Word::Again { back, other } => self.say_again(back, other).await,
            Word::TurnsOff { who, bill } => {
                self.world.turns_off(&name(who), id_of(bill));
                self.tally.count("a consent was taken back in silence", 1);
            }
            Word::Grant { who, n, real } => self.grants(who, n, real).await,
            Word::Import { first, n } => {
                self.reports.imports.push(Import { first, n, acknowledged: false, void: BTreeSet::new() });
                for who in (first..first + n).map(|who| who % self.script.n_people) {
                    self.world.tap(&name(who), HABIT, Answer::Accept);
                    self.reports.bounds((who, false)).1 += 1;
                }
                self.import(self.reports.imports.len() - 1).await;
            }
            Word::Person { who, tags, muted } => self.describe(who, tags, muted).await,
            Word::Visit { n, to } => self.visit(n, to).await,
            Word::Erase { who } => {
                self.reports.erasing.insert(who);
                self.erase(who).await;
            }
        }
    }

    async fn tell(&self, n: usize, status: &str) -> Option<Result<ReportOut, ReportError>> {
        if !self.is_running() {
            return None;
        }
        let Said { who, bill, age_s, .. } = self.reports.said[n];
        let (id, name) = (format!("month-{n}"), name(who));
        let report = self.world.report_as(&id, &name, id_of(bill), status, age_s);
        self.patiently("an answer to a report", report).await
    }

    /// Says what was said as number `n`, for the first time or again.
    async fn say(&mut self, n: usize) {
        let Said { who, bill, status, acknowledged, void, .. } = self.reports.said[n].clone();
        if void {
            return;
        }
        let tapped_at = self.world.clock.now() - TimeDelta::seconds(self.reports.said[n].age_s.into());
        match self.tell(n, status).await {
            None | Some(Err(ReportError::Unavailable(_))) => {
                self.tally.count("a report was refused for the time being", 1);
            }
            Some(Err(error)) => panic!("report {n}: {error:?}"),
            Some(Ok(out)) => {
                assert!(!acknowledged || out.duplicate, "report {n} was acknowledged, and is lost");
                self.tally.count("a report came twice", u64::from(out.duplicate));
                self.reports.said[n].acknowledged = true;
                if out.duplicate {
                    return;
                }
                if self.world.was_erased(openid(&name(who)).as_str(), tapped_at) {
                    // Acknowledged, and stored nowhere.
                    self.reports.said[n].void = true;
                    self.tally.count("a report from before an erasure", 1);
                    return;
                }
                self.tally.count("somebody erased came back", u64::from(self.reports.gone.remove(&who)));
                if let [ignored] = out.ignored.as_slice() {
                    self.tally.count(&format!("ignored: {}", ignored.why), 1);
                }
                if status.starts_with("accept") {
                    let bounds = self.reports.bounds((who, bill));
                    match out.ignored.len() {
                        0 => bounds.0 += 1,
                        n => bounds.1 -= u64::try_from(n).unwrap(),
                    }
                }
            }
        }
    }

    async fn say_again(&mut self, back: usize, other: bool) {
        let Some(n) = self.reports.said.len().checked_sub(back + 1) else { return };
        if !other {
            return self.say(n).await;
        }
        if !self.reports.said[n].acknowledged || self.reports.said[n].void {
            return;
        }
        match self.tell(n, "something else").await {
            None | Some(Err(ReportError::Unavailable(_))) => {}
            Some(Err(ReportError::Conflict)) => self.tally.count("another content under a known id", 1),
            Some(told) => panic!("report {n} has another content: {told:?}"),
        }
    }

    /// Says again what nobody acknowledged.
    pub(super) async fn says_again(&mut self) {
        self.tell_visits_again().await;
        for who in self.reports.erasing.clone() {
            self.erase(who).await;
        }
        for n in 0..self.reports.said.len() {
            if !self.reports.said[n].acknowledged {
                self.say(n).await;
            }
        }
        for n in 0..self.reports.imports.len() {
            if !self.reports.imports[n].acknowledged {
                self.import(n).await;
            }
        }
    }

    /// Asks for the last `n` acknowledged reports whether they are known.
    pub(super) async fn are_known(&mut self, n: usize) {
        let acknowledged = self.reports.said.iter().enumerate().filter(|(_, said)| said.acknowledged);
        let last: Vec<usize> = acknowledged.map(|(n, _)| n).rev().take(n).collect();
        for n in last {
            self.say(n).await;
        }
    }

    async fn grants(&mut self, who: usize, n: u32, real: bool) {
        if real {
            self.world
                .platform
                .grant_many(super::super::APPID, openid(&name(who)).as_str(), HABIT, n.into())
                .unwrap();
        }
        if !self.is_running() {
            return;
        }
        self.reports.bounds((who, false)).1 += u64::from(n);
        let grant = self.grant(who, n, Source::Operator);
        let power = self.world.power();
        let booked = async {
            let decided = power.grant(grant).await?;
            power.wait(decided.number).await.map(|()| decided.value)
        };
        if let Some(Ok(granted)) = self.patiently("a grant", booked).await {
            let bounds = self.reports.bounds((who, false));
            bounds.0 += u64::from(granted.n);
            bounds.1 -= u64::from(n - granted.n);
        }
    }

    fn grant(&self, who: usize, n: u32, source: Source) -> OperatorGrant {
        OperatorGrant {
            app: appid(),
            openid: openid(&name(who)),
            template: template(HABIT),
            kind: TemplateKind::OneTime,
            n,
            source,
            now: self.world.clock.now(),
        }
    }

    /// Imports as `tixing consents import` does: from where it came to, until all of it is there.
    async fn import(&mut self, number: usize) {
        if !self.is_running() {
            return;
        }
        let Import { first, n, .. } = self.reports.imports[number].clone();
        let whom: Vec<usize> = (first..first + n).map(|who| who % self.script.n_people).collect();
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let rows = whom.iter().map(|who| ImportRow::Grant(self.grant(*who, 1, Source::Import))).collect();
        let power = self.world.power();
        let Ok(from) = power.imported(&digest) else { return };
        let all = u64::try_from(n).unwrap();
        assert!(from == 0 || from == all, "one batch, and {from} of {all} rows are there");
        let booked = async {
            let number = if from == 0 {
                let piece = ImportPiece { digest, first: 0, rows, now: self.world.clock.now() };
                power.import(piece).await?.number
            } else {
                power.decided()
            };
            power.wait(number).await
        };
        if let Some(Ok(())) = self.patiently("an import", booked).await {
            self.reports.imports[number].acknowledged = true;
            self.tally.count("an import", 1);
            let void = self.reports.imports[number].void.clone();
            for who in whom.into_iter().filter(|who| !void.contains(who)) {
                self.reports.bounds((who, false)).0 += 1;
            }
        }
    }

    /// Erases somebody: from then on nothing that he said before is promised, and from the answer on nothing of it is there.
    async fn erase(&mut self, who: usize) {
        if !self.is_running() {
            return;
        }
        self.reports.said.iter_mut().filter(|said| said.who == who).for_each(|said| said.void = true);
        for import in self.reports.imports.iter_mut().filter(|import| !import.acknowledged) {
            import.void.insert(who);
        }
        for bill in [false, true] {
            self.reports.bounds((who, bill)).0 = 0;
        }
        let (app, openid) = (AppName::parse("main").unwrap(), openid(&name(who)));
        // Its time covers what was sent until now, should the answer get lost.
        self.world.erased.insert(openid.clone(), self.world.clock.now());
        let intake = self.world.running.as_ref().unwrap().intake.clone();
        let erased = intake.erase(&app, &openid, Reach::This, None);
        if let Some(Ok(())) = self.patiently("an erasure", erased).await {
            self.reports.erasing.remove(&who);
            self.reports.gone.insert(who);
            self.world.erased.insert(openid.clone(), self.world.clock.now());
            self.tally.count("somebody was erased", 1);
            let known = self.world.power().recipient(&appid(), &openid);
            assert!(known.is_err() || known.is_ok_and(|known| known.is_none()), "{} is there", name(who));
        }
    }

    async fn describe(&mut self, who: usize, tags: &[&str], muted: bool) {
        if !self.is_running() {
            return;
        }
        let mut profile = Profile { muted, ..Profile::default() };
        for of in tags {
            tag(&mut profile, of);
        }
        let put = self.world.power().put_recipient(
            appid(),
            openid(&name(who)),
            profile,
            self.world.clock.now().into(),
        );
        let _told_or_refused = self.patiently("a recipient", put).await;
    }
}
