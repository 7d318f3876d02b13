//! Writes, reads and hashes the bytes of a set by their offset in it.
//!
//! The shapes of these routes and their headers are written a second time in `src/io-daemon/IoDaemonProtocol.ts`.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::body::Reading;
use super::bounded::AtMost;
use super::sets::SetId;
use super::{body, headers};
use crate::disk::digest::Algorithm;
use crate::error::{Error, Result};
use crate::state::AppState;

/// The most bytes of one write and of one digest. The longest piece known is 256 MiB. A digest is limited too, because
/// it cannot be stopped.
const MAX_PIECE_BYTES: u64 = 512 * 1024 * 1024;

const MAX_DIGESTS_BYTES: u64 = 4 * 1024 * 1024;
const MAX_RANGES: usize = 65_536;

/// The routes for bytes.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/v1/sets/{id}/write", post(write))
        .route("/v1/sets/{id}/read", get(read))
        .route("/v1/sets/{id}/digests", post(digests))
}

/// Hot path: called once for each piece.
///
/// 204 once the system took every byte. 400 `bad_request`, 404 `unknown_set`, 408 `timeout`, 409 `digest_mismatch` and
/// `not_claimed`, 413 `too_large`, 416 `bad_range` and 503 `busy` before any file is touched; 403 `refused`, 409
/// `file_changed`, 500 `unavailable`, 507 `disk_full`.
async fn write(SetId(id): SetId, State(state): State<AppState>, given: HeaderMap, body: Body) -> Result<StatusCode> {
    let mut body = Reading::new(body);
    state.counters.write_requests.add(1);
    let set = state.disk.set(&id)?;
    let range = headers::only(&given, &header::CONTENT_RANGE)?
        .and_then(headers::content_range)
        .ok_or_else(|| headers::malformed(&header::CONTENT_RANGE))?;
    let expected = headers::only(&given, &headers::CONTENT_DIGEST)?
        .and_then(headers::content_digest)
        .ok_or_else(|| headers::malformed(&headers::CONTENT_DIGEST))?;
    if range.end > set.layout().length() {
        return Err(Error::BadRange(set.layout().length()));
    }
    let length = range.end - range.start;
    let declared = body.declared_length();
    if length.max(declared.unwrap_or(0)) > MAX_PIECE_BYTES {
        return Err(Error::TooLarge(MAX_PIECE_BYTES));
    }
    let not_the_range = || Error::bad_request("the body is not as long as Content-Range says");
    if declared.is_some_and(|declared| declared != length) {
        return Err(not_the_range());
    }
    let piece = set.unless_revoked(body::read_up_to(state.disk.budget(), &mut body, length)).await?;
    if piece.bytes().len() as u64 != length {
        return Err(not_the_range());
    }
    state.disk.write(set, range.start, piece, expected).await?;
    state.counters.writes.add(1);
    state.counters.written_bytes.add(length);
    Ok(StatusCode::NO_CONTENT)
}

/// 206 with the range of `Range`, or 200 with the whole set. An answer of at most 1 MiB in 32 files has
/// `Piecewise-Files`, the facts of those files after they were read. 400 `bad_request`, 404 `unknown_set`, 416
/// `bad_range` or `not_stored`, 403 `refused`, 500 `unavailable`. Once the status is sent, a failure breaks the
/// connection off.
async fn read(SetId(id): SetId, State(state): State<AppState>, given: HeaderMap) -> Result<Response> {
    let set = state.disk.set(&id)?;
    let whole = set.layout().length();
    let asked = headers::only(&given, &header::RANGE)?;
    let range = asked.map_or(Ok(0..whole), |value| headers::range(value, whole))?;
    let status = if asked.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let (chunks, files) = state.disk.read(set, range.clone()).await?;
    state.counters.reads.add(1);

    let mut response = (status, Body::from_stream(chunks)).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A copy in the cache of a browser would be wrong after the next write.
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // With a length, a client notices a stream that ends early.
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if let Some(files) = files {
        let facts = serde_json::to_string(&files).map_err(|_| Error::Internal)?;
        answer.insert(headers::FILES, HeaderValue::try_from(facts).map_err(|_| Error::Internal)?);
    }
    if asked.is_some() {
        let answered = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
        answer.insert(header::CONTENT_RANGE, HeaderValue::try_from(answered).map_err(|_| Error::Internal)?);
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestsBody {
    algorithm: Algorithm,
    /// The offset in the set and the length of each.
    ranges: AtMost<(u64, u64), MAX_RANGES>,
}

/// 200 with a JSON line for each range: its digest in base64, or `null` if a byte is not there. 400 `bad_request`, 404
/// `unknown_set`, 413 `too_large`, 416 `bad_range`; 403 `refused` and 500 `unavailable` before the first line. A later
/// failure breaks the connection off.
async fn digests(SetId(id): SetId, State(state): State<AppState>, body: Body) -> Result<Response> {
    let set = state.disk.set(&id)?;
    let whole = set.layout().length();
    let read = body::read_json(&state, body, MAX_DIGESTS_BYTES, move |asked: DigestsBody| {
        let ranges = asked.ranges.0.into_iter().map(|(begin, length)| {
            let end = begin.checked_add(length).filter(|end| *end <= whole).ok_or(Error::BadRange(whole))?;
            if !(1..=MAX_PIECE_BYTES).contains(&length) {
                return Err(Error::bad_request(format!("a range has 1 to {MAX_PIECE_BYTES} bytes")));
            }
            Ok(begin..end)
        });
        Ok((asked.algorithm, ranges.collect::<Result<Vec<_>>>()?))
    });
    let (algorithm, ranges) = read.await?;
    let lines = state.disk.digests(set, algorithm, ranges).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}
