//! Blocking work on threads of its own, a limited number at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Turns at blocking work, in the order of the calls. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Semaphore>);

impl Pool {
    /// A pool that runs at most `at_once` pieces of work at a time.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Runs the work when it is its turn. Work that has begun runs to its end, even if the caller stops waiting for it.
    ///
    /// # Errors
    /// Those of the work; `Internal` if it panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(|_| Error::Internal)?;
        let working = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        working.await.unwrap_or_else(|error| {
            tracing::error!(%error, "blocking work panicked");
            Err(Error::Internal)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_beyond_the_limit_waits_for_its_turn() {
        let pool = Pool::new(1);
        let (finish, finished) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || Ok(finished.recv().is_ok())).await }
        });
        while pool.0.available_permits() != 0 {
            tokio::task::yield_now().await;
        }

        let mut second = Box::pin(pool.run(|| Ok(())));
        assert!(futures_util::FutureExt::now_or_never(&mut second).is_none());
        finish.send(()).unwrap();

        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(second.await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_turn() {
        let pool = Pool::new(1);

        assert_eq!(pool.run::<()>(|| panic!("as a test")).await, Err(Error::Internal));
        assert_eq!(pool.run(|| Ok(1)).await, Ok(1));
    }
}
