//! People for operators: one person with all his apps, muted or heard again, and erased.
//!
//! Who he is over several apps is told by his unionid alone, which shows as a mask like his openids.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::answer::{Exit, Failure, Lines};
use super::appointments::values;
use super::desk::Desk;
use super::instant::utc;
use super::who::{self, Person, Reveal, Shown, app_name, short};
use crate::domain::config::{App, Config};
use crate::domain::id::{AppId, OpenId, Ref, Tag};
use crate::domain::recipient::Recipient;
use crate::domain::zone::Zone;
use crate::flow::housekeeping;
use crate::store::{Asked, Erased, Reach};

/// Recipients of one person read at once.
const PAGE: usize = 64;

/// One person.
#[derive(Serialize)]
struct Whole<'a> {
    /// His unionid; nobody else has it, and `null` where none is known.
    person: Option<String>,
    /// The one that was named first.
    recipients: Vec<Row<'a>>,
}

/// He in one app.
#[derive(Serialize)]
struct Row<'a> {
    app: String,
    openid: String,
    #[serde(rename = "ref")]
    reference: Option<&'a str>,
    created_at: String,
    muted: bool,
    /// Since when WeChat takes no messages for this openid.
    bad_since: Option<String>,
    time_zone: Option<&'static str>,
    tags: Vec<&'a str>,
    fields: BTreeMap<&'a str, Value>,
    consents: Vec<Consent>,
}

/// His account of one template; `consents show` says more.
#[derive(Serialize)]
struct Consent {
    template: String,
    kind: &'static str,
    available: u64,
    reserved: u64,
    in_doubt: u64,
    suspect: bool,
    /// How he accepted, where that is not plainly.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_with: Option<&'static str>,
}

#[derive(Serialize)]
struct Done {
    app: String,
    openid: String,
    state: &'static str,
}

/// A recipient of the person.
struct Found {
    app: AppId,
    openid: OpenId,
    recipient: Recipient,
}

/// Whom a command names, and in which of his apps it takes hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) app: Option<&'a str>,
    pub(super) who: &'a str,
    pub(super) all_apps: bool,
    pub(super) reveal: Reveal,
}

impl Named<'_> {
    fn asked(&self, desk: &Desk) -> Asked {
        let reach = if self.all_apps { Reach::Everywhere } else { Reach::This };
        // As the hook dates an erasure: sessions and reports are held against it.
        Asked { reach, ..desk.clock().reckoned().into() }
    }
}

/// How a message calls whom a command names: an openid, or what may be one, is not said again.
fn called(who: &str) -> String {
    if OpenId::parse(who).is_ok() { "that openid".to_owned() } else { format!("`{}`", short(who)) }
}

impl Desk {
    pub(super) async fn people_show(&self, named: Named<'_>, lines: &Lines) -> Result<Exit, Failure> {
        let live = self.live();
        let (app, person) = self.recipient_named(&live.config, named).await?;
        let found = self.whole(app, &person)?;
        let mut consents = Vec::new();
        for one in &found {
            let app = live.config.apps.values().find(|app| app.appid == one.app);
            consents.push(app.map_or_else(|| Ok(Vec::new()), |app| self.consents_in(app, &one.openid))?);
        }
        self.synced().await?;
        let shown = self.shown(named.reveal, Some(&person)).await?;
        let unionid = found.first().and_then(|one| one.recipient.profile.unionid.as_ref());
        let rows = found.iter().zip(consents).map(|(one, consents)| row(&live.config, one, consents, &shown));
        let whole =
            Whole { person: unionid.map(|unionid| shown.unionid(unionid)), recipients: rows.collect() };
        lines.row(&whole).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn people_mute(
        &self,
        named: Named<'_>,
        muted: bool,
        lines: &Lines,
    ) -> Result<Exit, Failure> {
        let live = self.live();
        let (app, person) = self.one_named(&live.config, named).await?;
        let muting =
            self.store().mute(app.appid.clone(), person.openid.clone(), muted, named.asked(self)).await?;
        self.store().wait(muting.number).await?;
        let mut now = self.reached(app, &person, named)?;
        now.retain(|one| one.recipient.profile.muted == muted);
        let shown = self.shown(named.reveal, Some(&person)).await?;
        tracing::info!(
            n = now.len(),
            "{} recipients {} by an operator",
            now.len(),
            if muted { "muted" } else { "heard again" }
        );
        self.done(&live.config, &now, if muted { "muted" } else { "heard" }, (&shown, lines)).await
    }

    pub(super) async fn people_erase(&self, named: Named<'_>, lines: &Lines) -> Result<Exit, Failure> {
        let live = self.live();
        let (app, person) = self.one_named(&live.config, named).await?;
        let mut gone = self.reached(app, &person, named)?;
        // Without a daemon nobody remembers anything.
        let memory = self.control().map(|control| control.memory().clone()).unwrap_or_default();
        let of = (app.appid.clone(), person.openid.clone());
        match memory.erase(self.store(), of, named.asked(self)).await? {
            // More have his unionid than can be one person: they stay.
            Erased::Booked(whom) => {
                gone.retain(|one| {
                    whom.all.iter().any(|(app, openid)| (app, openid) == (&one.app, &one.openid))
                });
            }
            Erased::Replayed => {}
            Erased::Busy => {
                let why = "too many messages to the erased are still under way; try again in a minute";
                return Err(Failure::new(Exit::Store, why));
            }
        }
        if self.control().is_none() {
            // A daemon does it by itself.
            housekeeping::sweep(self.store(), self.now()).await?;
            self.store().wait(self.store().decided()).await?;
        }
        tracing::info!(n = gone.len(), "{} recipients erased by an operator", gone.len());
        let shown = self.shown(named.reveal, Some(&person)).await?;
        self.done(&live.config, &gone, "erased", (&shown, lines)).await
    }

    async fn done(
        &self,
        config: &Config,
        all: &[Found],
        state: &'static str,
        (shown, lines): (&Shown, &Lines),
    ) -> Result<Exit, Failure> {
        for one in all {
            let (app, openid) = (app_name(config, &one.app), shown.openid(&one.openid));
            lines.row(&Done { app, openid, state }).await?;
        }
        Ok(Exit::Done)
    }

    /// The same for a command that changes something: who goes by one `ref` in several apps is named with one, or all.
    async fn one_named<'a>(
        &self,
        config: &'a Config,
        named: Named<'_>,
    ) -> Result<(&'a App, Person), Failure> {
        let (app, person) = self.recipient_named(config, named).await?;
        if named.app.is_none() && !named.all_apps {
            for other in config.apps.values().filter(|other| other.appid != app.appid) {
                // Who is nobody there stands in nobody's way; a store that does not answer does.
                let there = match self.person(other, named.who).await {
                    Ok(there) => there,
                    Err(failure) if failure.exit == Exit::BadData => continue,
                    Err(failure) => return Err(failure),
                };
                if self.store().recipient(&other.appid, &there.openid)?.is_some() {
                    let why = format!(
                        "{} is in several apps; name one with --app, or all of them with --all-apps",
                        called(named.who)
                    );
                    return Err(Failure::new(Exit::Usage, why));
                }
            }
        }
        Ok((app, person))
    }

    /// The recipient that a command names, in the app that it names or in the first one that has him.
    async fn recipient_named<'a>(
        &self,
        config: &'a Config,
        named: Named<'_>,
    ) -> Result<(&'a App, Person), Failure> {
        let apps: Vec<&App> = match named.app {
            Some(name) => vec![who::app(config, Some(name))?],
            None => config.apps.values().collect(),
        };
        let (mut found, mut failure): (Option<(&App, Person)>, _) = (None, None);
        for app in apps {
            match self.person(app, named.who).await {
                Ok(person) if self.store().recipient(&app.appid, &person.openid)?.is_some() => {
                    let same = found.as_ref().map_or(Ok(true), |(of, first)| {
                        Ok::<_, Failure>(
                            self.whole(of, first)?
                                .iter()
                                .any(|one| (&one.app, &one.openid) == (&app.appid, &person.openid)),
                        )
                    });
                    if !same? {
                        let why =
                            format!("several people go by {}; name the app with --app", called(named.who));
                        return Err(Failure::new(Exit::Usage, why));
                    }
                    found = found.or(Some((app, person)));
                }
                Ok(_) => {}
                Err(other) if other.exit == Exit::BadData => failure = Some(other),
                Err(other) => return Err(other),
            }
        }
        let unknown = || Failure::data(format!("there is no recipient that goes by {}", called(named.who)));
        found.ok_or_else(|| failure.unwrap_or_else(unknown))
    }

    /// The person's recipients in all apps, the named one first.
    fn whole(&self, app: &App, person: &Person) -> Result<Vec<Found>, Failure> {
        let named = (app.appid.clone(), person.openid.clone());
        let mut all = vec![named.clone()];
        let known = self.store().recipient(&named.0, &named.1)?;
        if let Some(unionid) = known.and_then(|known| known.profile.unionid) {
            let mut after = None;
            loop {
                let page = self.store().person(&unionid, after.as_ref(), PAGE)?;
                after = page.last().cloned();
                let ends = page.len() < PAGE;
                all.extend(page.into_iter().filter(|one| *one != named));
                if ends {
                    break;
                }
            }
        }
        let mut found = Vec::new();
        for (app, openid) in all {
            if let Some(recipient) = self.store().recipient(&app, &openid)? {
                found.push(Found { app, openid, recipient });
            }
        }
        Ok(found)
    }

    /// Those of them that a command reaches.
    fn reached(&self, app: &App, person: &Person, named: Named<'_>) -> Result<Vec<Found>, Failure> {
        let mut all = self.whole(app, person)?;
        if !named.all_apps {
            all.truncate(1);
        }
        Ok(all)
    }

    fn consents_in(&self, app: &App, openid: &OpenId) -> Result<Vec<Consent>, Failure> {
        let mut consents = Vec::new();
        for template in self.booked_templates(app)? {
            let Some(view) = self.store().account(&app.appid, &template, openid)? else { continue };
            consents.push(Consent {
                template: template.as_str().to_owned(),
                kind: view.kind.as_str(),
                available: view.account.available(),
                reserved: view.reserved,
                in_doubt: view.in_doubt,
                suspect: view.account.suspect,
                accepted_with: view.account.manner.beyond_plain(),
            });
        }
        Ok(consents)
    }
}

fn row<'a>(config: &Config, one: &'a Found, consents: Vec<Consent>, shown: &Shown) -> Row<'a> {
    let Recipient { created_at, profile, bad_since, .. } = &one.recipient;
    Row {
        app: app_name(config, &one.app),
        openid: shown.openid(&one.openid),
        reference: profile.reference.as_ref().map(Ref::as_str),
        created_at: utc(*created_at),
        muted: profile.muted,
        bad_since: bad_since.map(utc),
        time_zone: profile.time_zone.map(Zone::name),
        tags: profile.tags.iter().map(Tag::as_str).collect(),
        fields: values(&profile.fields),
        consents,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::request::Request;
    use super::super::tests::{ANNA, BO, Got, World, at, world_of};
    use super::*;
    use crate::domain::id::UnionId;
    use crate::domain::recipient::Profile;
    use crate::store::Store as _;

    const RULES: &str = "rules: {}\n";
    const UNIONID: &str = "uCANARYCANARY";

    /// Anna is also in an app that is configured no more, and Bo is nobody else.
    async fn several() -> World {
        let world = world_of(RULES);
        world.people().await;
        let profile = Profile { unionid: UnionId::parse(UNIONID).ok(), ..Profile::default() };
        let app = world.current.get().app(None).expect("one").appid.clone();
        for (app, openid) in [(AppId::parse("wxgone").unwrap(), "oANNATWO0001"), (app, "oANNATOO0003")] {
            let openid = OpenId::parse(openid).unwrap();
            let asked = at("2026-03-01T00:00:00Z").into();
            world.store.put_recipient(app, openid, profile.clone(), asked).await.unwrap();
        }
        let anna = OpenId::parse(ANNA).unwrap();
        let app = world.current.get().app(None).expect("one").appid.clone();
        world.store.identify(app, anna, UnionId::parse(UNIONID).unwrap()).await.unwrap();
        world.grant(ANNA, 2).await;
        world
    }

    async fn show(world: &World, who: &str, reveal: bool) -> Got {
        world.ask(Request::PeopleShow { app: None, who: who.to_owned(), reveal }).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_person_shows_with_all_his_apps() {
        let world = several().await;
        let shown = show(&world, "4711", false).await;
        let text = shown.rows[0].to_string();
        assert!(!text.contains("CANARY") && !text.contains("ANNA"), "{text}");
        let first = &shown.rows[0]["recipients"][0];
        assert_eq!(
            (&first["app"], &first["ref"], &first["fields"], &first["muted"]),
            (&json!("clinic"), &json!("4711"), &json!({"city": "上海"}), &json!(false))
        );
        assert_eq!(
            (&first["consents"][0]["available"], &first["consents"][0]["kind"]),
            (&json!(2), &json!("one_time"))
        );
        let revealed = show(&world, ANNA, true).await;
        assert_eq!(revealed.rows[0]["person"], UNIONID);
        let people: Vec<_> = revealed.rows[0]["recipients"].as_array().unwrap().iter().collect();
        let of = |n: usize| (people[n]["app"].as_str().unwrap(), people[n]["openid"].as_str().unwrap());
        assert_eq!((of(0), people.len()), (("clinic", ANNA), 3));
        assert!([of(1), of(2)].contains(&("wxgone", "oANNATWO0001")), "{people:?}");
        let alone = show(&world, BO, false).await;
        let one = &alone.rows[0];
        assert_eq!((&one["person"], one["recipients"].as_array().unwrap().len()), (&json!(null), 1));
        for nobody in ["oNOBODY000009", "9999"] {
            assert_eq!(show(&world, nobody, false).await.exit, Exit::BadData, "{nobody}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_person_is_muted_and_erased_in_one_app_or_in_all() {
        let world = several().await;
        let mute = async |muted, all_apps| {
            let who = ANNA.to_owned();
            world.ask(Request::PeopleMute { app: None, who, muted, all_apps, reveal: false }).await.rows
        };
        let muted = async || -> Vec<bool> {
            let shown = show(&world, ANNA, false).await;
            let all = shown.rows[0]["recipients"].as_array().unwrap().iter();
            all.map(|one| one["muted"] == true).collect()
        };
        assert_eq!(mute(true, false).await, [json!({"app": "clinic", "openid": ANNA, "state": "muted"})]);
        assert_eq!(muted().await, [true, false, false]);
        assert_eq!((mute(true, true).await.len(), muted().await), (3, vec![true; 3]));
        assert_eq!((mute(false, true).await.len(), muted().await), (3, vec![false; 3]));
        assert_eq!(
            show(&world, ANNA, false).await.rows[0]["recipients"][0]["ref"],
            "4711",
            "nothing else changed"
        );
        let erase = async |who: &str, all_apps| {
            world.ask(Request::PeopleErase { app: None, who: who.to_owned(), all_apps, reveal: false }).await
        };
        assert_eq!(erase("oANNATOO0003", false).await.rows.len(), 1);
        assert_eq!(muted().await.len(), 2, "the others are there");
        let gone = erase(ANNA, true).await;
        assert_eq!(gone.rows.len(), 2, "{:?}", gone.rows);
        assert_eq!(gone.rows[0], json!({"app": "clinic", "openid": ANNA, "state": "erased"}));
        assert!(!gone.rows[1].to_string().contains("ANNA"), "only who was named shows");
        assert_eq!(
            (show(&world, ANNA, false).await.exit, erase(ANNA, true).await.exit),
            (Exit::BadData, Exit::BadData)
        );
        assert_eq!(show(&world, BO, false).await.exit, Exit::Done);
    }
}
