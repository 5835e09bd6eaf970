//! Masks: how openids show to operators, so that lists can be read and passed on without naming people.
//!
//! A mask says the same for the same person as long as the store lives, and nothing without its key. It
//! is not a secret of its own: who holds the store can find the person behind it, and so can the desk.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::id::{OpenId, UnionId};
use crate::store::{Store, Unavailable};

/// Name of the kept value that holds the key.
pub const MASK_KEY: &str = "mask_key";
/// Characters after the `~`: 50 bits, so that among a million people two share a mask once in 2,000 stores.
const MASK_CHARS: usize = 10;
/// Lower-case base 32 without i, l, o, u, which are read wrongly.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The key of all masks of a store.
#[derive(Clone)]
pub struct Masks([u8; 32]);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks(…)")
    }
}

impl Masks {
    /// Masks by this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The masks of `store`; the first call on a new store makes its key. Durable on return.
    ///
    /// # Errors
    /// [`Unavailable`]: the store failed, or the system has no random numbers.
    pub async fn of_store(store: &dyn Store) -> Result<Self, Unavailable> {
        if let Some(key) = Self::kept(store)? {
            return Ok(key);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_no_random| Unavailable)?;
        let kept = store.keep(MASK_KEY, key.to_vec()).await?;
        store.wait(kept.number).await?;
        // Two first calls at once: the later write is the one that stays.
        Ok(Self::kept(store)?.unwrap_or(Self(key)))
    }

    fn kept(store: &dyn Store) -> Result<Option<Self>, Unavailable> {
        Ok(store.kept(MASK_KEY)?.and_then(|key| key.try_into().ok()).map(Self))
    }

    /// How `openid` shows: `~` and 10 characters.
    #[must_use]
    pub fn of(&self, openid: &OpenId) -> String {
        self.text(&[openid.as_str()])
    }

    /// How a person over all apps shows; his openids show otherwise, whatever they are.
    #[must_use]
    pub fn of_person(&self, unionid: &UnionId) -> String {
        // No openid has a space.
        self.text(&["person ", unionid.as_str()])
    }

    fn text(&self, parts: &[&str]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part.as_bytes());
        }
        let hash = mac.finalize().into_bytes();
        let bits = hash.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let of_five_bits = |n| ALPHABET.get(usize::try_from(bits >> (59 - 5 * n) & 31).ok()?);
        std::iter::once('~').chain((0..MASK_CHARS).filter_map(of_five_bits).map(|c| char::from(*c))).collect()
    }

    /// Whether `text` has the form of a mask.
    #[must_use]
    pub fn is_mask(text: &str) -> bool {
        text.strip_prefix('~')
            .is_some_and(|rest| rest.len() == MASK_CHARS && rest.bytes().all(|b| ALPHABET.contains(&b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_stable_keyed_and_has_its_form() {
        let openid = OpenId::parse("oABCDEFGHIJ").expect("an openid");
        let mask = Masks::new([7; 32]).of(&openid);
        assert_eq!(mask, Masks::new([7; 32]).of(&openid));
        assert_ne!(mask, Masks::new([8; 32]).of(&openid));
        assert!(Masks::is_mask(&mask), "{mask}");
        for text in ["~", "~0123", "0123456789a", "~0123456789a", "~012345678I", "~0123456~89"] {
            assert!(!Masks::is_mask(text), "{text}");
        }
    }
}
