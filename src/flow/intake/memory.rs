//! What intake keeps of people in memory alone, and how it forgets who is erased: by a door, by an event, by an operator.
//!
//! Nothing of it decides what anybody is sent, so where it is not known whom an erasure took, all of it goes.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::Notify;

use super::heard::Heard;
use super::popups::Popups;
use super::ungranted::Ungranted;
use crate::domain::config::App;
use crate::domain::id::{AppId, OpenId};
use crate::store::{Asked, Erased, Store, Unavailable};

/// What is remembered. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) heard: Arc<Heard>,
    popups: Popups,
    ungranted: Ungranted,
    /// Whether an event came that says not what it is.
    unnamed: Arc<AtomicBool>,
    /// Rung when somebody was erased.
    erased: Arc<Notify>,
}

/// Forgets everybody with it.
struct Unsure<'a>(&'a Memory);

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        self.0.heard.forget_all();
        self.0.popups.forget_all();
        self.0.ungranted.forget_all();
    }
}

impl Memory {
    /// What popups told, held against the reports.
    #[must_use]
    pub fn popups(&self) -> &Popups {
        &self.popups
    }

    /// What was reported and grants nothing, by template.
    #[must_use]
    pub fn ungranted(&self) -> &Ungranted {
        &self.ungranted
    }

    /// Takes somebody out of the books and out of here; on return that is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: nobody knows what became of it. The same where the caller goes away before.
    pub async fn erase(
        &self,
        store: &dyn Store,
        (app, openid): (AppId, OpenId),
        asked: Asked,
    ) -> Result<Erased, Unavailable> {
        let reach = asked.reach.clone();
        let unsure = Unsure(self);
        let erased = store.erase(app, openid, asked).await?;
        mem::forget(unsure);
        if let Erased::Booked(gone) = &erased.value {
            for of in &gone.all {
                self.forget(of);
            }
            if let Some(unionid) = &gone.unionid {
                let his = self.heard.forget_person(unionid, |app| reach.is_in(app));
                for of in &his {
                    self.forget(of);
                }
            }
        }
        store.wait(erased.number).await?;
        self.erased.notify_one();
        Ok(erased.value)
    }

    /// Waits until somebody was erased since the last call.
    pub async fn somebody_is_erased(&self) {
        self.erased.notified().await;
    }

    /// What asks for a person, of an app: templates that people say are banned.
    #[must_use]
    pub fn trouble(&self, app: &App, now: DateTime<Utc>) -> Vec<String> {
        let utc = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let bans = app.templates.iter().filter_map(|(name, template)| {
            let ban = self.ungranted.ban(&app.appid, &template.id, now)?;
            let (app, n, last_at) = (&app.name, ban.n, utc(ban.last_at));
            Some(format!(
                "app {app}: WeChat bans template {name} ({}), as at least three people report ({n} reports since the start, \
                 the last at {last_at}): nobody can accept it; see the console",
                template.id
            ))
        });
        bans.collect()
    }

    /// Whether no event without a name came before.
    pub(super) fn is_first_unnamed(&self) -> bool {
        !self.unnamed.swap(true, Ordering::Relaxed)
    }

    pub(super) fn forget(&self, of: &(AppId, OpenId)) {
        self.heard.forget(of);
        self.popups.forget(of);
        self.ungranted.forget(of);
    }
}
