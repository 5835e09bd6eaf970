//! Sees that the files changed, and takes them over when they have come to rest.
//!
//! A look each second at names, sizes, times and inodes works on every file system, with links that are swapped
//! and folders that come and go; a notification service does not. It decides nothing about the files: what is
//! bad is refused by the same path as for everybody, and not tried again before it changes.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::reload::{Asker, Seen, blocking};
use crate::domain::config::ReloadMode;

/// How long between two looks; a change is taken over when two looks in a row saw the same.
const EVERY: Duration = Duration::from_secs(1);
/// The pause is at least so many times as long as the look took: a large folder costs 2 % of a core at most.
const MIN_PAUSES: u32 = 50;

/// Looks until it is dropped.
pub(super) async fn watch(shared: Arc<Shared>) -> ! {
    let clock = shared.clock().clone();
    let mut rest = Rest::default();
    let mut pause = EVERY;
    loop {
        clock.sleep(pause).await;
        shared.tell_of_planned();
        match shared.current().get().config.reload {
            ReloadMode::Auto => {}
            ReloadMode::Manual => continue,
        }
        // Refused, a change would not be tried again; it is taken over when the store works.
        if shared.store().health().borrow().trouble().is_some() {
            continue;
        }
        let (path, seen) = (shared.config_path().to_owned(), shared.seen());
        let schedules = seen.schedules.clone();
        let began = clock.elapsed();
        let look = blocking(move || Seen::now(&path, schedules)).await;
        pause = EVERY.max(clock.elapsed().saturating_sub(began) * MIN_PAUSES);
        // What was read meanwhile, because somebody asked, is known too.
        if rest.after(look, &shared.seen()) {
            shared.reload(Asker::Files).await;
        }
    }
}

/// What the look before saw.
#[derive(Debug, Default)]
struct Rest(Option<Seen>);

impl Rest {
    /// Whether files that are not as they were when they were last read have come to rest.
    fn after(&mut self, look: Seen, read: &Seen) -> bool {
        let rested = self.0.as_ref() == Some(&look) && look != *read;
        self.0 = Some(look);
        rested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another look for each letter.
    fn seen(letter: char) -> Seen {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("tixing.yaml");
        std::fs::write(&config, letter.to_string()).expect("written");
        Seen::now(&config, "nowhere".into())
    }

    #[test]
    fn only_a_change_that_rests_is_taken_and_only_once() {
        let looks: std::collections::BTreeMap<char, Seen> = ('a'..='d').map(|c| (c, seen(c))).collect();
        // Looks in a row, and after which of them a reload follows; it reads what the look saw.
        let table = [
            ("aaaa", "...."),
            ("abbb", "..!."),
            ("abcdd", "....!"),
            ("aba", "..."),
            ("abbcc", "..!.!"),
            ("abab", "...."),
            ("bbaa", ".!.!"),
        ];
        for (seen, wanted) in table {
            let mut rest = Rest::default();
            let mut read = looks[&'a'].clone();
            let mut got = String::new();
            for letter in seen.chars() {
                let look = looks[&letter].clone();
                let take = rest.after(look.clone(), &read);
                got.push(if take { '!' } else { '.' });
                if take {
                    read = look;
                }
            }
            assert_eq!(got, wanted, "{seen}");
        }
    }
}
