//! The two windows of a socket, in bytes: what may be sent to the client, and what it may send.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Bytes that a client may send on a connection before it receives credit.
pub const WINDOW: usize = 262_144;

/// What may be sent to the client. The session grants it, and the task of the socket spends it.
#[derive(Debug, Default)]
pub(super) struct Credit {
    left: AtomicU64,
    granted: Notify,
}

impl Credit {
    /// Adds `bytes`.
    pub(super) fn grant(&self, bytes: u32) {
        self.left.fetch_add(u64::from(bytes), Ordering::AcqRel);
        self.granted.notify_one();
    }

    /// Waits until some credit is left, and returns how much. For one waiter.
    pub(super) async fn wait(&self) -> u64 {
        loop {
            let left = self.left();
            if left > 0 {
                return left;
            }
            self.granted.notified().await;
        }
    }

    /// What is left now.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Subtracts `bytes`, which must not be more than are left.
    pub(super) fn spend(&self, bytes: usize) {
        self.left.fetch_sub(bytes as u64, Ordering::AcqRel);
    }
}

/// What the client may still send.
#[derive(Debug)]
pub(super) struct Window {
    left: usize,
}

impl Window {
    /// A window of `size` bytes, all of them free.
    pub(super) fn new(size: usize) -> Self {
        Self { left: size }
    }

    /// Subtracts `bytes`. If that is more than is left, nothing changes and it returns `false`.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Adds `bytes` that were taken before.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.left += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_waiter_gets_what_is_granted_later() {
        let credit = Arc::new(Credit::default());
        let waiter = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { credit.wait().await }
        });
        tokio::task::yield_now().await;

        credit.grant(7);

        assert_eq!(waiter.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn grants_add_up_and_are_spent() {
        let credit = Credit::default();
        credit.grant(u32::MAX);
        credit.grant(u32::MAX);

        credit.spend(10);

        assert_eq!(credit.wait().await, 2 * u64::from(u32::MAX) - 10);
    }

    #[tokio::test]
    async fn a_grant_of_nothing_wakes_nobody_for_good() {
        let credit = Arc::new(Credit::default());
        credit.grant(0);
        let waiter = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { credit.wait().await }
        });
        tokio::task::yield_now().await;

        assert!(!waiter.is_finished());
        credit.grant(1);
        assert_eq!(waiter.await.unwrap(), 1);
    }

    proptest! {
        #[test]
        fn taken_and_left_add_up_to_the_window(steps: Vec<(bool, u16)>) {
            let size = 100_000;
            let mut window = Window::new(size);
            let mut taken = 0;

            for (take, bytes) in steps {
                let bytes = usize::from(bytes);
                if take {
                    let allowed = window.take(bytes);
                    prop_assert_eq!(allowed, taken + bytes <= size);
                    taken += if allowed { bytes } else { 0 };
                } else {
                    let back = bytes.min(taken);
                    window.give_back(back);
                    taken -= back;
                }
                prop_assert_eq!(window.left, size - taken);
            }
        }
    }
}
