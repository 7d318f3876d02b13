//! Request bodies: read within a limit and a deadline, into bytes lent from the budget.
//!
//! A body has to arrive at a minimum rate, because it holds bytes of the budget for as long as it takes. Only the time
//! in which the daemon waits for the client counts. Time in which the daemon waits for memory or a disk does not.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::disk::budget::{Budget, Loan};
use crate::error::{Error, Result};
use crate::state::AppState;

/// How long a body may pause. A body that arrives faster than the minimum rate earns back the time of a pause, up to
/// this much.
const PAUSE: Duration = Duration::from_secs(30);

/// The slowest rate of a body in the long run, in bytes a second. A client on the same machine is ten thousand times as
/// fast, so this leaves room for a busy one. The longest write holds its bytes for less than five hours.
const MIN_RATE: u64 = 32 * 1024;

/// A body that is being read, with the time that its client still has.
pub(crate) struct Reading {
    body: Body,
    patience: Duration,
}

impl Reading {
    /// Begins a body, of which nothing was read yet.
    pub(crate) fn new(body: Body) -> Self {
        Self { body, patience: PAUSE }
    }

    /// The length that the client declared. The body may end earlier, but hyper reads no more than that.
    pub(crate) fn declared_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Timeout` if the body pauses for too long or is too slow; `BadRequest` if the client went away or broke the
    /// framing.
    pub(crate) async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let asked = Instant::now();
            let frame = tokio::time::timeout(self.patience, self.body.frame()).await.map_err(|_| Error::Timeout)?;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(Error::bad_request("the body broke off")),
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    let earned = Duration::from_micros(length * 1_000_000 / MIN_RATE);
                    self.patience = PAUSE.min(self.patience.saturating_sub(asked.elapsed()) + earned);
                    // Trailers are not used.
                    if let Ok(chunk) = frame.into_data() {
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// `TooLarge` before anything is held if the declared length is over the limit, else at the first byte too many;
/// `Busy`, `Timeout`, `BadRequest`.
pub(crate) async fn read_all(state: &AppState, body: Body, limit: u64) -> Result<Loan> {
    let mut body = Reading::new(body);
    let room = body.declared_length().unwrap_or(limit);
    if room > limit {
        return Err(Error::TooLarge(limit));
    }
    read_up_to(state.disk.budget(), &mut body, room).await
}

/// Reads a body that may end before `length` bytes, but must not be longer.
///
/// # Errors
/// `TooLarge` at the first byte too many; `Busy`, `Timeout`, `BadRequest`.
pub(crate) async fn read_up_to(budget: &Budget, body: &mut Reading, length: u64) -> Result<Loan> {
    let room = usize::try_from(length).map_err(|_| Error::TooLarge(length))?;
    let mut loan = budget.lend(room).await?;
    while let Some(chunk) = body.next_chunk().await? {
        if loan.bytes().len() + chunk.len() > room {
            return Err(Error::TooLarge(length));
        }
        loan.push(&chunk);
    }
    Ok(loan)
}

/// Reads a JSON body of at most `limit` bytes, and returns what `then` makes of it. Parsing a long list blocks, so both
/// run on a thread that may block.
///
/// # Errors
/// Those of `read_all` and of `then`; `BadRequest` if the body is not the JSON that was expected.
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

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A body of `chunks` chunks of `length` bytes, each of which arrives `pause` after the one before.
    fn trickling(chunks: usize, length: usize, pause: Duration) -> Reading {
        let chunks = stream::unfold(chunks, move |left| async move {
            let left = left.checked_sub(1)?;
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; length])), left))
        });
        Reading::new(Body::from_stream(chunks))
    }

    #[tokio::test(start_paused = true)]
    async fn fault_66_a_body_that_trickles_is_given_up() {
        let budget = Budget::new(16 * 1024 * 1024);
        for (length, pause) in [(1, 1), (1, 29), (16 * 1024, 1), (64 * 1024, 3), (512 * 1024, 17)] {
            let started = Instant::now();
            let mut body = trickling(100_000, length, Duration::from_secs(pause));

            let read = read_up_to(&budget, &mut body, 8 * MIB).await;

            assert_eq!(read.err(), Some(Error::Timeout), "{length} bytes every {pause} s");
            assert!(started.elapsed() < Duration::from_secs(600), "{length} bytes every {pause} s");
        }
        assert_eq!(budget.lent_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_the_minimum_rate_arrives_and_may_pause_now_and_then() {
        let budget = Budget::new(16 * 1024 * 1024);
        for (length, pause) in [(32 * 1024, 1), (512 * 1024, 16), (928 * 1024, 29)] {
            let mut body = trickling(64, length, Duration::from_secs(pause));

            let read = read_up_to(&budget, &mut body, 64 * MIB).await;

            assert_eq!(read.map(|loan| loan.bytes().len()), Ok(64 * length), "{length} bytes every {pause} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_daemon_waits_for_is_not_counted_against_the_body() {
        let mut body = trickling(8, 1, Duration::from_secs(3));

        for _ in 0..8 {
            assert_eq!(body.next_chunk().await.map(|chunk| chunk.map(|bytes| bytes.len())), Ok(Some(1)));
            // As if the daemon waited for a disk or for room in the budget.
            tokio::time::sleep(Duration::from_secs(1_000)).await;
        }

        assert_eq!(body.next_chunk().await, Ok(None));
    }
}
