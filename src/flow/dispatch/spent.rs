//! That an app's messages of the day are used up (45009), over restarts: only the platform's answer tells it, and the next one
//! would cost a call.

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::Dispatch;
use crate::domain::message::Reply;
use crate::store::Unavailable;

/// Under this name and the appid the store keeps it; without content it is over.
const SPENT: &str = "quota_used_up:";

#[derive(Serialize, Deserialize)]
struct Kept {
    until_ms: i64,
    /// Code, text and rid.
    said: String,
}

impl Dispatch {
    /// Goes on waiting where a sender before this one was told to.
    pub(super) fn recall_spent(&mut self) -> Result<(), Unavailable> {
        let now = self.clock.reckoned();
        let bytes = self.store.kept(&self.spent())?.unwrap_or_default();
        // What cannot be read the next message finds out again.
        let Ok(Kept { until_ms, said }) = serde_json::from_slice(&bytes) else { return Ok(()) };
        if let Some(until) = DateTime::from_timestamp_millis(until_ms).filter(|until| *until > now) {
            self.gate.was_used_up(said, (until, now));
            self.keeps_spent = true;
        }
        Ok(())
    }

    /// Keeps what an answer says of it, or that the app goes on.
    pub(super) fn note_spent(&mut self, reply: &Reply, said: &str) {
        match self.gate.until() {
            Some(until) if *reply == Reply::QuotaUsedUp => {
                let kept = Kept { until_ms: until.timestamp_millis(), said: said.to_owned() };
                // Whether it is decided or the engine fails shows in the store's progress, which the daemon watches.
                let _queued = self
                    .store
                    .keep(&self.spent(), serde_json::to_vec(&kept).expect("a number and a text are JSON"));
                self.keeps_spent = true;
            }
            Some(_) => {}
            None => self.forget_spent(),
        }
    }

    /// It is over, or an operator says so.
    pub(super) fn forget_spent(&mut self) {
        if std::mem::take(&mut self.keeps_spent) {
            let _queued = self.store.keep(&self.spent(), Vec::new());
        }
    }

    fn spent(&self) -> String {
        format!("{SPENT}{}", self.app)
    }
}
