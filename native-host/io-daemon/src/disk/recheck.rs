//! The digests of many ranges of a set, as a stream of JSON lines.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::digest::Algorithm;
use super::set::FileSet;
use crate::counters::Counters;
use crate::error::Result;
use crate::pool::Pool;

/// Scratch memory of a digest. It fits into the second-level cache, so hashing does not read from main memory again.
const DIGEST_BUFFER: usize = 256 * 1024;

/// A digest operation ends after so many bytes or lines, so that a long recheck lets other operations in.
const DIGEST_STEP_BYTES: u64 = 4 * 1024 * 1024;
const DIGEST_STEP_LINES: usize = 1024;

/// Hashes ranges that lie within the set, in order. Streams a JSON line for each: its digest in base64, or `null`
/// if a byte is not stored.
///
/// # Errors
/// `Refused`, `Unavailable`: before the first chunk of lines, or in the stream.
pub(super) async fn digests(
    operations: Pool,
    counters: Arc<Counters>,
    set: Arc<FileSet>,
    algorithm: Algorithm,
    ranges: Vec<Range<u64>>,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static> {
    let work = Recheck { set, algorithm, ranges: ranges.into_iter(), buffer: vec![0; DIGEST_BUFFER] };
    let step = move |work: Recheck| {
        let (operations, counters) = (operations.clone(), Arc::clone(&counters));
        async move {
            if work.ranges.len() == 0 {
                return Ok(None);
            }
            let (lines, bytes, work) = operations.run(move || work.step()).await?;
            counters.digested_bytes.add(bytes);
            Ok(Some((lines, work)))
        }
    };
    let first = step(work).await?;
    Ok(stream::try_unfold((first, None), move |(ready, rest)| {
        let step = step.clone();
        async move {
            let next = match (ready, rest) {
                (Some(ready), _) => Some(ready),
                (None, Some(work)) => step(work).await?,
                (None, None) => None,
            };
            Ok(next.map(|(lines, work)| (lines, (None, Some(work)))))
        }
    }))
}

/// The digests of one request that are still to be computed.
struct Recheck {
    set: Arc<FileSet>,
    algorithm: Algorithm,
    ranges: std::vec::IntoIter<Range<u64>>,
    buffer: Vec<u8>,
}

impl Recheck {
    /// Computes some digests. Returns their lines, and the bytes hashed for them.
    fn step(mut self) -> Result<(Bytes, u64, Self)> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        for range in self.ranges.by_ref().take(DIGEST_STEP_LINES) {
            match self.set.digest(self.algorithm, range.clone(), &mut self.buffer)? {
                Some(digest) => {
                    lines.extend_from_slice(format!("\"{}\"\n", digest.to_base64()).as_bytes());
                    bytes += range.end - range.start;
                }
                None => lines.extend_from_slice(b"null\n"),
            }
            if bytes >= DIGEST_STEP_BYTES {
                break;
            }
        }
        Ok((lines.into(), bytes, self))
    }
}
