//! The secret by which the daemon knows its clients.

use std::sync::Arc;

use subtle::ConstantTimeEq;

/// Shorter tokens can be guessed; longer ones are a mistake.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// The secret that every request except `/health` presents. Never printed: it has no `Display`, and its `Debug` hides
/// it.
#[derive(Clone)]
pub struct Token(Arc<[u8]>);

impl Token {
    /// A token of 16 to 256 characters of `[A-Za-z0-9._~-]`, which need no quoting in a header or a subprotocol.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(byte));
        (plain && TOKEN_LENGTHS.contains(&bytes.len())).then(|| Self(bytes.into()))
    }

    /// Whether `offered` is the token. The time this takes does not depend on where the first difference is.
    pub(crate) fn is(&self, offered: &[u8]) -> bool {
        self.0.ct_eq(offered).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}
