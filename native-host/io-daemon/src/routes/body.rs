//! Request bodies: read within a limit and a deadline, into bytes lent from the budget.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use crate::disk::budget::Loan;
use crate::error::{Error, Result};
use crate::state::AppState;

/// How long a body may pause.
const PAUSE: Duration = Duration::from_secs(30);

/// The next bytes of the body; `None` at its end.
///
/// # Errors
/// `Timeout`; `BadRequest` where the client went away or broke the framing.
pub(crate) async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = tokio::time::timeout(PAUSE, body.frame()).await.map_err(|_| Error::Timeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Error::bad_request("the body broke off")),
            Some(Ok(frame)) => {
                // Trailers are of no use to us.
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// The length that the client declared, which may be a lie of at most the framing: hyper reads no more than that.
pub(crate) fn declared_length(body: &Body) -> Option<u64> {
    body.size_hint().exact()
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// `TooLarge` before anything is held, where the length is declared, or at the first byte too many; `Busy`, `Timeout`,
/// `BadRequest`.
pub(crate) async fn read_all(state: &AppState, mut body: Body, limit: u64) -> Result<Loan> {
    let room = declared_length(&body).unwrap_or(limit);
    if room > limit {
        return Err(Error::TooLarge(limit));
    }
    read_up_to(state, &mut body, room).await
}

/// Reads a body that may turn out shorter than `length`, but not longer.
///
/// # Errors
/// `TooLarge` at the first byte too many; `Busy`, `Timeout`, `BadRequest`.
pub(crate) async fn read_up_to(state: &AppState, body: &mut Body, length: u64) -> Result<Loan> {
    let room = usize::try_from(length).map_err(|_| Error::TooLarge(length))?;
    let mut loan = state.disk.budget().lend(room).await?;
    while let Some(chunk) = next_chunk(body).await? {
        if loan.bytes().len() + chunk.len() > room {
            return Err(Error::TooLarge(length));
        }
        loan.push(&chunk);
    }
    Ok(loan)
}

/// Reads a JSON body of at most `limit` bytes. Parsing a long list blocks, so it is done where blocking is fine, and so
/// is what `then` makes of it.
///
/// # Errors
/// As `read_all`; `BadRequest` where it is not the JSON that was expected; those of `then`.
pub(crate) async fn read_json<T, U>(
    state: &AppState,
    body: Body,
    limit: u64,
    then: impl FnOnce(T) -> Result<U> + Send + 'static,
) -> Result<U>
where
    T: DeserializeOwned,
    U: Send + 'static,
{
    let loan = read_all(state, body, limit).await?;
    state
        .compute
        .run(move || {
            let parsed = serde_json::from_slice(loan.bytes())
                .map_err(|error| Error::bad_request(format!("the body is not the JSON that was expected: {error}")))?;
            drop(loan);
            then(parsed)
        })
        .await
}
