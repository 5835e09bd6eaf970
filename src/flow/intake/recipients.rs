//! Recipients from the doors into the books: what a backend sets of a person, what may be told of him, and his end.
//!
//! An erasure needs no recipient: whoever asks for it wants that nothing is kept, whatever was known.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::appointments::Asking;
use super::{Intake, Seen, Upcoming};
use crate::domain::consent::Manner;
use crate::domain::id::{AppId, AppName, OpenId, TemplateId, UnionId};
use crate::domain::recipient::Profile;
use crate::store::{Asked, Erased, Put, Reach, Store, Unavailable};

/// What the doors may tell of a person.
#[derive(Clone, Debug)]
pub struct Person {
    /// What is set of him; a door says which part is for whom.
    pub profile: Profile,
    /// As in [`super::ReportOut`].
    pub balances: BTreeMap<TemplateId, u64>,
    /// How what he has was accepted, where that is not plainly.
    pub manners: BTreeMap<TemplateId, Manner>,
    /// What comes next, earliest first, at most 20.
    pub upcoming: Vec<Upcoming>,
}

/// Why a recipient was not changed or told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// This request was carried out before (409).
    #[error("a request with this id was carried out before")]
    Replayed,
    /// His `ref` belongs to somebody else (409).
    #[error("this ref belongs to another recipient")]
    RefTaken,
    /// There is none (404).
    #[error("there is no such recipient")]
    Unknown,
    /// The recipient would become too large (422).
    #[error("tags and fields of this recipient exceed their size limit")]
    TooLarge,
    /// Nothing was promised (503).
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Asking<'_> {
    /// As the store remembers it.
    pub(super) fn asked(&self, reach: Reach) -> Asked {
        let request = Sha256::digest(self.id).first_chunk::<16>().copied();
        Asked { at: self.at, request, reach }
    }
}

impl Intake {
    /// Replaces what is set of a recipient; an unknown openid becomes one. On return that is durable.
    ///
    /// In the person's other apps that `reach` goes to he is muted, or not, as here.
    ///
    /// # Errors
    /// [`RecipientError`]: nothing was changed.
    pub async fn put_recipient(
        &self,
        app: &AppName,
        openid: &OpenId,
        (profile, reach): (Profile, Reach),
        asking: Asking<'_>,
    ) -> Result<(), RecipientError> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let put = self.store.put_recipient(app.appid.clone(), openid.clone(), profile, asking.asked(reach));
        let decided = put.await?;
        // Also a refusal rests on what may not be durable yet.
        self.store.wait(decided.number).await?;
        match decided.value {
            Put::Stored { created: _ } => Ok(()),
            Put::RefTaken => Err(RecipientError::RefTaken),
            Put::TooLarge => Err(RecipientError::TooLarge),
            Put::Replayed => Err(RecipientError::Replayed),
        }
    }

    /// What may be told of a recipient.
    ///
    /// # Errors
    /// [`RecipientError`].
    pub async fn recipient(&self, app: &AppName, openid: &OpenId) -> Result<Person, RecipientError> {
        let (is_known, person) = self.person(app, openid).await?;
        if is_known { Ok(person) } else { Err(RecipientError::Unknown) }
    }

    /// What a person may see of himself; somebody unknown has nothing.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn me(&self, app: &AppName, openid: &OpenId) -> Result<Person, Unavailable> {
        let (_is_known, person) = self.person(app, openid).await?;
        Ok(person)
    }

    /// Whether he is a recipient, and what may be told of him.
    async fn person(&self, app: &AppName, openid: &OpenId) -> Result<(bool, Person), Unavailable> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        let seen = self.view(&live, app, openid).await?;
        let upcoming = self.outlook.upcoming(&live, app, seen.one(openid), self.clock.now());
        self.store.wait(seen.number).await?;
        let is_known = seen.is_known;
        let Seen { recipient, balances, manners, .. } = seen;
        let person = Person { profile: recipient.profile, balances, manners, upcoming };
        Ok((is_known, person))
    }

    /// Whether a person was erased at `then` or later: what was begun before is his no more.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn is_erased_since(
        &self,
        app: &AppName,
        openid: &OpenId,
        then: DateTime<Utc>,
    ) -> Result<bool, Unavailable> {
        let live = self.current.get();
        let appid = live.config.apps.get(app).ok_or(Unavailable)?.appid.clone();
        let openid = openid.clone();
        let read = move |store: &dyn Store| Ok((store.erased_at(&appid, &openid)?, store.decided()));
        let (erased_at, number) = super::super::read(&self.store, read).await?;
        let is_erased = erased_at.is_some_and(|at| at >= then);
        if is_erased {
            self.store.wait(number).await?;
        }
        Ok(is_erased)
    }

    /// Who somebody may be over all apps: as his record says, and as a login since the start told of who had none. A backend
    /// may have set another than WeChat tells, or made the record without any, so neither of the two stands for the other.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn unionids_of(&self, app: &AppName, openid: &OpenId) -> Result<Vec<UnionId>, Unavailable> {
        let live = self.current.get();
        let appid = live.config.apps.get(app).ok_or(Unavailable)?.appid.clone();
        let of = (appid, openid.clone());
        let heard = self.memory.heard.of(&of);
        let known = super::super::read(&self.store, move |store| store.recipient(&of.0, &of.1)).await?;
        Ok(known.and_then(|known| known.profile.unionid).into_iter().chain(heard).collect())
    }

    /// Takes a person out of the books of an app, and of his others that `reach` goes to: by a signed request, or by his own
    /// session. On return that is durable.
    ///
    /// # Errors
    /// [`RecipientError`]: nothing was changed.
    pub async fn erase(
        &self,
        app: &AppName,
        openid: &OpenId,
        reach: Reach,
        asking: Option<Asking<'_>>,
    ) -> Result<(), RecipientError> {
        let live = self.current.get();
        let app = live.config.apps.get(app).ok_or(Unavailable)?;
        self.name_who_was_heard_of((&app.appid, openid), &reach).await?;
        let asked = match asking {
            Some(asking) => asking.asked(reach),
            None => Asked { reach, ..self.clock.reckoned().into() },
        };
        match self.memory.erase(&*self.store, (app.appid.clone(), openid.clone()), asked).await? {
            Erased::Booked(_) => Ok(()),
            Erased::Replayed => Err(RecipientError::Replayed),
            // Worth repeating, as whatever the store cannot promise now.
            Erased::Busy => Err(Unavailable.into()),
        }
    }

    /// Puts what logins told of a person into those of his records that were made without it, by a backend or an operator, or
    /// with another's: else an erasure in several apps would not find them.
    async fn name_who_was_heard_of(
        &self,
        named: (&AppId, &OpenId),
        reach: &Reach,
    ) -> Result<(), Unavailable> {
        let of = (named.0.clone(), named.1.clone());
        let unionid = match reach {
            Reach::This => None,
            Reach::Proved(unionid) => Some(unionid.clone()),
            Reach::Apps(_) | Reach::Everywhere => {
                let heard = self.memory.heard.of(&of);
                let known =
                    super::super::read(&self.store, move |store| store.recipient(&of.0, &of.1)).await?;
                heard.or_else(|| known?.profile.unionid)
            }
        };
        let Some(unionid) = unionid else { return Ok(()) };
        for (app, openid) in self.memory.heard.of_person(&unionid, |app| reach.is_in(app)) {
            // The erasure comes behind it, and what it waits for covers both.
            let _decided = self.store.identify(app, openid, unionid.clone()).await?;
        }
        Ok(())
    }
}
