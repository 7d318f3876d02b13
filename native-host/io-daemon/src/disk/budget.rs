//! A byte budget for request bodies, and the buffers they are held in.
//!
//! A request waits for its bytes before it reads any of its body; requests are served in the order in which they came.
//! Returned buffers are kept for the next body of their size, because the system zeroes fresh memory page by page. Kept
//! and lent buffers together stay within the budget.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};
use crate::mutex::lock;

/// How long a request waits for room before it fails with `Busy`.
const PATIENCE: Duration = Duration::from_secs(30);

/// The budget is handed out in steps of this many bytes.
const UNIT: usize = 16 * 1024;

/// Capacities of buffers rise in steps of this part of their power of two, so that at most an eighth goes unused.
const STEPS: usize = 16;

/// Bytes that may be held at once. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    total: usize,
    room: Arc<Semaphore>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// Buffers kept for the next body, the one that was returned last at the end.
    kept: Vec<Vec<u8>>,
    kept_bytes: usize,
    lent_bytes: usize,
    peak_bytes: usize,
}

/// Bytes lent from the budget, and a buffer with room for them. Both return when it is dropped.
pub struct Loan {
    bytes: Vec<u8>,
    capacity: usize,
    shared: Arc<Shared>,
    _room: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of `total` bytes, at least one unit.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let units = (total / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let room = Arc::new(Semaphore::new(units));
        Self(Arc::new(Shared { total: units * UNIT, room, books: Mutex::default() }))
    }

    /// Waits for room for `length` bytes. A loan larger than the budget waits until it has all of it, alone.
    ///
    /// # Errors
    /// `Busy` if there was no room for 30 s.
    pub async fn lend(&self, length: usize) -> Result<Loan> {
        let capacity = capacity_for(length);
        let units = (capacity.min(self.0.total) / UNIT) as u32;
        let waiting = Arc::clone(&self.0.room).acquire_many_owned(units);
        let room = tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        let bytes = self.0.take(capacity);
        Ok(Loan { bytes, capacity, shared: Arc::clone(&self.0), _room: room })
    }

    /// Bytes lent now.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.0.books().lent_bytes
    }

    /// The most bytes that were ever lent at once.
    #[must_use]
    pub fn peak_bytes(&self) -> usize {
        self.0.books().peak_bytes
    }
}

/// The capacity of the buffer for a body of `length` bytes: a whole number of units.
fn capacity_for(length: usize) -> usize {
    let step = (length.next_power_of_two() / STEPS).max(UNIT);
    length.max(1).next_multiple_of(step)
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    fn take(&self, capacity: usize) -> Vec<u8> {
        let mut books = self.books();
        books.lent_bytes += capacity;
        books.peak_bytes = books.peak_bytes.max(books.lent_bytes);
        let same = books.kept.iter().rposition(|buffer| buffer.capacity() == capacity);
        let buffer = same.map(|index| books.kept.remove(index));
        books.kept_bytes -= buffer.as_ref().map_or(0, Vec::capacity);
        let surplus = (books.kept_bytes + books.lent_bytes).saturating_sub(self.total);
        let dropped = books.drop_oldest(surplus);
        drop(books);
        drop(dropped);
        buffer.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    fn give_back(&self, mut buffer: Vec<u8>, capacity: usize) {
        buffer.clear();
        let mut books = self.books();
        books.lent_bytes -= capacity;
        if buffer.capacity() == capacity && books.kept_bytes + books.lent_bytes + capacity <= self.total {
            books.kept_bytes += capacity;
            books.kept.push(buffer);
        }
    }
}

impl Books {
    /// Removes buffers until `surplus` bytes are free.
    fn drop_oldest(&mut self, surplus: usize) -> Vec<Vec<u8>> {
        let mut gone = 0;
        let count = self.kept.iter().take_while(|buffer| {
            let needed = gone < surplus;
            gone += if needed { buffer.capacity() } else { 0 };
            needed
        });
        let count = count.count();
        self.kept_bytes -= gone;
        self.kept.drain(..count).collect()
    }
}

impl Loan {
    /// Appends bytes. The caller stays within the length that it asked for.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(self.bytes.len() + bytes.len() <= self.capacity);
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.shared.give_back(std::mem::take(&mut self.bytes), self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_returned_buffer_is_lent_again() {
        let budget = Budget::new(4 * MIB);
        let first = budget.lend(MIB).await.unwrap().bytes.as_ptr();

        let second = budget.lend(MIB).await.unwrap();

        assert_eq!(second.bytes.as_ptr(), first);
        assert_eq!(budget.lent_bytes(), MIB);
    }

    #[tokio::test]
    async fn requests_are_served_in_the_order_in_which_they_came() {
        let budget = Budget::new(2 * MIB);
        let held = budget.lend(MIB).await.unwrap();
        let mut large = Box::pin(budget.lend(2 * MIB));
        assert!(large.as_mut().now_or_never().is_none());

        let mut small = Box::pin(budget.lend(MIB));
        assert!(small.as_mut().now_or_never().is_none(), "a small one overtakes a large one");
        drop(held);

        assert!(large.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_loan_over_the_budget_has_it_alone() {
        let budget = Budget::new(2 * MIB);
        let held = budget.lend(1).await.unwrap();
        let mut large = Box::pin(budget.lend(9 * MIB));
        assert!(large.as_mut().now_or_never().is_none());
        drop(held);

        let large = large.await.unwrap();

        assert!(budget.lend(1).now_or_never().is_none());
        drop(large);
        assert!(budget.lend(1).now_or_never().is_some());
        assert!(budget.0.books().kept_bytes <= 2 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_busy() {
        let budget = Budget::new(MIB);
        let _held = budget.lend(MIB).await.unwrap();

        let started = tokio::time::Instant::now();

        assert_eq!(budget.lend(1).await.err(), Some(Error::Busy));
        assert_eq!(started.elapsed().as_secs(), PATIENCE.as_secs());
    }

    proptest! {
        #[test]
        fn kept_and_lent_buffers_stay_within_the_budget(script in prop::collection::vec((1..3 * MIB, any::<bool>()), 1..60)) {
            // A loan has a time limit and so needs a clock, although nothing waits in this test.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _clock = runtime.enter();
            let budget = Budget::new(4 * MIB);
            let mut loans = Vec::new();
            for (length, back) in script {
                if back && !loans.is_empty() {
                    loans.remove(length % loans.len());
                } else if let Some(loan) = budget.lend(length).now_or_never() {
                    let loan: Loan = loan.unwrap();
                    prop_assert!(loan.bytes.capacity() >= length && loan.capacity <= length + length / 8 + UNIT);
                    loans.push(loan);
                }
                let books = budget.0.books();
                prop_assert_eq!(books.lent_bytes, loans.iter().map(|loan| loan.capacity).sum::<usize>());
                prop_assert_eq!(books.kept_bytes, books.kept.iter().map(Vec::capacity).sum::<usize>());
                prop_assert!(books.lent_bytes + books.kept_bytes <= 4 * MIB);
            }
        }
    }
}
