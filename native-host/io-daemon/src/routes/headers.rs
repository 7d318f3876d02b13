//! The three headers that say which bytes a request is about, and what they should be.
//!
//! Each parser accepts any bytes, allocates nothing in proportion to a number that it read, and never panics.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::disk::digest::{Algorithm, Digest};
use crate::error::{Error, Result};

/// RFC 9530 section 2; not among the names that the http crate knows.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The facts of the files that were read, as JSON.
pub(crate) const FILES: HeaderName = HeaderName::from_static("piecewise-files");

/// The header's only value, as text.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value).map(Some).ok_or_else(|| malformed(name)),
        _ => Err(malformed(name)),
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

pub(crate) fn malformed(name: &HeaderName) -> Error {
    Error::bad_request(format!("the header {name} is missing, malformed or there twice"))
}

/// Parses the `Content-Range: bytes a-b/*` (RFC 9110 section 14.4) of a write to the range from `a` to `b + 1`,
/// exclusive. A writer does not state the length of the set.
pub(crate) fn content_range(value: &str) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes ")?.strip_suffix("/*")?.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

/// Parses digits only, because `parse` would accept a sign. `None` for a number beyond 64 bits.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// As `number`, but a number beyond 64 bits becomes the largest, which is beyond the end of every set.
fn clamped(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The range that a `Range` header asks for in a set of `length` bytes (RFC 9110 section 14.2).
///
/// # Errors
/// `BadRequest` if it is no range of bytes; `BadRange` if there are several, or if none of the bytes exist.
pub(crate) fn range(value: &str, length: u64) -> Result<Range<u64>> {
    let malformed = || malformed(&axum::http::header::RANGE);
    let (unit, set) = value.split_once('=').ok_or_else(malformed)?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return Err(malformed());
    }
    if set.contains(',') {
        return Err(Error::BadRange(length));
    }
    let (first, last) = set.trim().split_once('-').ok_or_else(malformed)?;
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(clamped(suffix).ok_or_else(malformed)?)..length,
        (first, "") => clamped(first).ok_or_else(malformed)?..length,
        (first, last) => {
            let (first, last) = (clamped(first).ok_or_else(malformed)?, clamped(last).ok_or_else(malformed)?);
            if last < first {
                return Err(malformed());
            }
            first..last.saturating_add(1).min(length)
        }
    };
    if range.is_empty() { Err(Error::BadRange(length)) } else { Ok(range) }
}

/// The strongest digest of a `Content-Digest` that is supported: `sha-256`, then `sha` (RFC 9530 section 5).
pub(crate) fn content_digest(value: &str) -> Option<Digest> {
    let members = || value.split(',').filter_map(|member| member.trim_matches([' ', '\t']).split_once('='));
    let find = |name: &str, algorithm| {
        let (_, item) = members().find(|(key, _)| *key == name)?;
        let encoded = item.strip_prefix(':')?.strip_suffix(':')?;
        // A digest of 32 bytes has 44 characters, so longer texts are not decoded.
        let bytes = (encoded.len() <= 44).then(|| STANDARD.decode(encoded).ok())??;
        Digest::from_bytes(algorithm, &bytes)
    };
    find("sha-256", Algorithm::Sha256).or_else(|| find("sha", Algorithm::Sha1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_content_range_is_two_numbers_in_order() {
        assert_eq!(content_range("bytes 0-0/*"), Some(0..1));
        assert_eq!(content_range("bytes 10-19/*"), Some(10..20));
        let longest = format!("bytes 0-{}/*", u64::MAX);
        for bad in [
            "",
            "bytes",
            "bytes 0-9",
            "bytes 0-9/10",
            "bytes */10",
            "bytes 9-0/*",
            "bytes -9/*",
            "bytes 0-/*",
            "bytes +0-9/*",
            "bytes 0-9/*,",
            "octets 0-9/*",
            "bytes=0-9/*",
            "bytes 0--9/*",
            "bytes 0-99999999999999999999999/*",
            &longest,
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn fault_70_ranges_are_read_as_rfc_9110_says() {
        assert_eq!(range("bytes=0-", 10), Ok(0..10));
        assert_eq!(range("bytes=0-0", 10), Ok(0..1));
        assert_eq!(range("bytes=4-99", 10), Ok(4..10));
        assert_eq!(range("bytes=-3", 10), Ok(7..10));
        assert_eq!(range("bytes=-30", 10), Ok(0..10));
        assert_eq!(range("BYTES=9-9", 10), Ok(9..10));
        for out in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=-0",
            "bytes=0-1,3-4",
            "bytes=99999999999999999999999-",
            "bytes=9007199254740992-",
        ] {
            assert_eq!(range(out, 10), Err(Error::BadRange(10)), "{out}");
        }
        assert_eq!(range("bytes=0-", 0), Err(Error::BadRange(0)));
        for bad in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=+1-2", "lines=0-1", "bytes=1"] {
            assert_eq!(range(bad, 10).map_err(|error| error.kind()), Err("bad_request"), "{bad}");
        }
    }

    #[test]
    fn a_digest_has_the_length_of_its_algorithm() {
        let sha1 = Digest::of(Algorithm::Sha1, b"abc");
        let sha256 = Digest::of(Algorithm::Sha256, b"abc");
        let (one, two) = (format!("sha=:{}:", sha1.to_base64()), format!("sha-256=:{}:", sha256.to_base64()));

        assert_eq!(content_digest(&one), Some(sha1));
        assert_eq!(content_digest(&two), Some(sha256.clone()));
        assert_eq!(content_digest(&format!("{one}, {two}")), Some(sha256));
        for bad in [
            "",
            "sha",
            "sha=",
            "sha=::",
            "sha=:AAAA:",
            "sha=:!!!!:",
            "md5=:AAAA:",
            "sha-256=:qZk+NkcGgWq6PiVxeFDCbJzQ2J0=:",
        ] {
            assert_eq!(content_digest(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(CONTENT_DIGEST, value)]);
                match only(&headers, &CONTENT_DIGEST) {
                    Ok(text) => prop_assert_eq!(text.map(str::as_bytes), Some(&bytes[..])),
                    Err(error) => prop_assert_eq!(error.kind(), "bad_request"),
                }
            }
        }

        #[test]
        fn any_text_is_parsed_without_a_panic(value in ".{0,80}", length in any::<u64>()) {
            let _ = content_range(&value);
            let _ = content_digest(&value);
            if let Ok(found) = range(&value, length) {
                prop_assert!(found.start < found.end && found.end <= length);
            }
        }

        #[test]
        fn what_looks_like_a_range_lies_in_the_set(first in "[0-9]{0,25}", last in "[0-9]{0,25}", length in any::<u64>()) {
            if let Ok(found) = range(&format!("bytes={first}-{last}"), length) {
                prop_assert!(found.start < found.end && found.end <= length);
            }
            if let Some(found) = content_range(&format!("bytes {first}-{last}/*")) {
                prop_assert!(found.start < found.end);
            }
        }

        #[test]
        fn what_looks_like_a_digest_is_parsed_without_a_panic(encoded in "[A-Za-z0-9+/=]{0,60}") {
            let _ = content_digest(&format!("sha=:{encoded}:"));
            let _ = content_digest(&format!("sha-256=:{encoded}:"));
        }
    }
}
