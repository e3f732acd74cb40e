//! Pauses before something is tried again, each twice as long as the one before.

use std::time::Duration;

/// The next pause.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    most: Duration,
}

impl Pause {
    /// The first is `first`, and none is longer than `most`.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first.min(most), most }
    }

    /// How long to wait now. The pause after it is twice as long.
    pub(super) fn take(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.most);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut pause = Pause::new(Duration::from_secs(30), Duration::from_secs(100));
        let pauses: Vec<u64> = (0..4).map(|_| pause.take().as_secs()).collect();
        assert_eq!(pauses, [30, 60, 100, 100]);
    }
}
