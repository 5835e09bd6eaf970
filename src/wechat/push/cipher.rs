//! Signatures and encryption of pushed events, as the platform's page describes them (消息推送: 消息加解密).
//!
//! Two traps of ready-made parts are avoided: three of four keys have bits that strict base64 refuses, and the padding
//! fills blocks of 32 bytes, which unpadders for AES take for damage.

use std::fmt::{self, Write as _};

use aes::Aes256;
use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretBox};
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

/// Characters of an EncodingAESKey.
const KEY_CHARS: usize = 43;
/// Random bytes before the length of the message.
const RANDOM_BYTES: usize = 16;
/// Size of what the padding fills.
const PADDED_TO: u8 = 32;
const BLOCK_BYTES: usize = 16;

/// Base64 of keys: whatever the last character's spare bits say.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key that events are encrypted with.
pub struct AesKey(SecretBox<[u8; 32]>);

/// An EncodingAESKey that the console would not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the push AES key (EncodingAESKey) is not 43 characters of A–Z, a–z, 0–9")]
pub struct BadAesKey;

impl Clone for AesKey {
    fn clone(&self) -> Self {
        Self(SecretBox::new(Box::new(*self.0.expose_secret())))
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesKey(…)")
    }
}

impl AesKey {
    /// Parses an EncodingAESKey.
    ///
    /// # Errors
    /// [`BadAesKey`].
    pub fn parse(text: &str) -> Result<Self, BadAesKey> {
        let bytes = if text.len() == KEY_CHARS { LENIENT.decode(text).ok() } else { None };
        let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).ok_or(BadAesKey)?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// The message in `encrypted`, and the appid that it is for; `None` where it was not made with this key.
    pub(super) fn open(&self, encrypted: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut bytes = LENIENT.decode(encrypted).ok()?;
        let key = self.0.expose_secret();
        let (iv, _) = key.split_at(BLOCK_BYTES);
        let mut cipher = cbc::Decryptor::<Aes256>::new_from_slices(key, iv).ok()?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK_BYTES) {
            return None;
        }
        for block in bytes.chunks_exact_mut(BLOCK_BYTES) {
            cipher.decrypt_block(block.try_into().ok()?);
        }
        let padding = *bytes.last()?;
        if !(1..=PADDED_TO).contains(&padding) {
            return None;
        }
        let (text, fill) = bytes.split_at(bytes.len().checked_sub(padding.into())?);
        if fill.iter().any(|byte| *byte != padding) {
            return None;
        }
        let (length, rest) = text.get(RANDOM_BYTES..)?.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, app) = rest.split_at_checked(length)?;
        Some((message.to_vec(), app.to_vec()))
    }
}

/// Whether `given` is the lowercase hex SHA-1 of the token and `parts`, sorted as bytes and joined.
pub(super) fn is_signed(token: &str, parts: &[&str], given: &str) -> bool {
    let mut all: Vec<&str> = parts.iter().copied().chain([token]).collect();
    all.sort_unstable();
    let mut hash = Sha1::new();
    for part in all {
        hash.update(part.as_bytes());
    }
    let hex = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ok = write!(hex, "{byte:02x}");
        hex
    });
    hex.as_bytes().ct_eq(given.as_bytes()).into()
}
