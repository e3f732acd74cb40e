//! Turns at the schedules of experiments: one server of a fleet takes their steps.
//!
//! A server whose clock is wrong could take a turn too early. It does no harm then: a step is promoted only over the
//! release that it was made from.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Store, StoreError};
use objects::{Claim, Lease, LeaseTerms};

static TERMS: LeaseTerms = LeaseTerms {
    name: "the turn at the schedules of experiments",
    lock: "ramps/.lock",
    object: "ramps/lease.toml",
    // Longer than a step takes, loading included: a turn is never renewed.
    lasts: TimeDelta::minutes(10),
    renewed: TimeDelta::zero(),
};

impl Store {
    /// Begins the turn of `holder`, which ends when it is dropped; `None` while it is the turn of another.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn take_turn(&self, holder: &str, now: DateTime<Utc>) -> Result<Option<Lease>, StoreError> {
        match Lease::claim(&self.0.objects, &TERMS, holder, now)? {
            Claim::Granted(lease) => Ok(Some(lease)),
            Claim::Refused(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_away_is_not_made_anew_by_a_turn() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::create(root.path().to_str().unwrap(), None).unwrap();
        let one = store.take_turn("one", DateTime::UNIX_EPOCH).unwrap();
        assert!(one.is_some());
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH + TimeDelta::days(1)).unwrap().is_none());
        drop(one);
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH).unwrap().is_some());
        let path = root.path().to_owned();
        root.close().unwrap();
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH).is_err());
        assert!(!path.exists());
    }
}
