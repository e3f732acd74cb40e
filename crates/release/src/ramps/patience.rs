//! When something that failed is tried again.

use std::time::{Duration, Instant};

use crate::{RegistryError, StoreError};

/// The shortest wait.
const SHORTEST: Duration = Duration::from_millis(100);

/// The first wait after an error that time alone does not mend, and the longest one.
const LONG: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);

/// How often something has failed, as far as it matters for the next attempt.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How long the last wait was.
    wait: Duration,
    /// `None`: it has not failed.
    again: Option<Instant>,
    /// The last error.
    error: String,
}

impl Patience {
    /// Whether the next attempt is due.
    pub(super) fn may_try(&self) -> bool {
        self.again.is_none_or(|again| Instant::now() >= again)
    }

    /// Notes an error. Each wait is twice as long as the one before: at most `most` after an error that time may mend,
    /// such as an absent store, and else up to [`LONGEST`]. Whether the error is another one than the last.
    pub(super) fn failed(&mut self, error: &RegistryError, most: Duration) -> bool {
        let doubled = 2 * self.wait;
        self.wait =
            if may_pass(error) { doubled.clamp(SHORTEST, most) } else { doubled.clamp(LONG, LONGEST) };
        self.again = Some(Instant::now() + self.wait);
        let text = error.to_string();
        let is_new = text != self.error;
        self.error = text;
        is_new
    }
}

/// Whether an error may pass by itself.
pub(super) fn may_pass(error: &RegistryError) -> bool {
    is_away(error) || matches!(error, RegistryError::NoSpace(_) | RegistryError::Overtaken { .. })
}

/// Whether the store could not be reached or read, so that to try again may help.
pub(super) fn is_away(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Store(error) if !matches!(error, StoreError::Damaged { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_store_is_asked_again_soon_and_what_time_does_not_mend_after_minutes() {
        let most = Duration::from_secs(2);
        let away = StoreError::Unreachable { store: "s".to_owned(), message: "m".to_owned() };
        let away = RegistryError::Store(away);
        let damaged = StoreError::Damaged { path: "p".to_owned(), message: "m".to_owned() };
        let damaged = RegistryError::Store(damaged);
        let mut patience = Patience::default();
        assert!(patience.may_try());
        let mut waits = |error: &RegistryError, times: usize| -> Vec<u128> {
            let wait = |_| {
                patience.failed(error, most);
                assert!(!patience.may_try());
                patience.wait.as_millis()
            };
            (0..times).map(wait).collect()
        };
        assert_eq!(waits(&away, 7), [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        let refused = RegistryError::Precondition("no".to_owned());
        assert_eq!(waits(&refused, 8), [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        assert_eq!(waits(&damaged, 1), [300_000]);
        assert_eq!(waits(&away, 1), [2_000]);
        assert_eq!(waits(&RegistryError::NoSpace("full".to_owned()), 1), [2_000]);
    }

    #[test]
    fn an_error_is_new_once() {
        let error = |text: &str| RegistryError::Precondition(text.to_owned());
        let mut patience = Patience::default();
        let new =
            ["one", "one", "other", "one"].map(|text| patience.failed(&error(text), Duration::from_secs(1)));
        assert_eq!(new, [true, false, true, true]);
    }
}
