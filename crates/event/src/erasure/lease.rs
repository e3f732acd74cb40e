//! Turns: only one process at a time replaces sealed files.
//!
//! Clocks that differ could make two believe that it is their turn. It does no harm then: each file is replaced only if
//! it is still the one that was read, as far as the bucket can tell.

use chrono::{DateTime, TimeDelta, Utc};
use objects::{Claim, LeaseTerms, Renewal};

use super::{ErasureError, ErasureStore};

static TERMS: LeaseTerms = LeaseTerms {
    name: "the lease on sealed files",
    lock: "erasures/.lock",
    object: "erasures/lease.toml",
    lasts: TimeDelta::minutes(10),
    renewed: TimeDelta::minutes(5),
};

/// The turn of this process. Dropping it ends the turn.
#[derive(Debug)]
pub(super) struct Lease(objects::Lease);

impl Lease {
    /// Begins the turn of `holder`, which messages name.
    ///
    /// # Errors
    /// [`ErasureError::Busy`] where it is the turn of another.
    pub(super) fn take(store: &ErasureStore, holder: &str, now: DateTime<Utc>) -> Result<Self, ErasureError> {
        match objects::Lease::claim(store.objects(), &TERMS, holder, now)? {
            Claim::Granted(lease) => Ok(Self(lease)),
            Claim::Refused(Some(other)) => {
                let left = other.frees.signed_duration_since(now);
                let minutes = left.num_seconds().unsigned_abs().div_ceil(60);
                let when = format!("when it has ended, or in {minutes} minutes if it was killed");
                Err(ErasureError::Busy { holder: other.name, when })
            }
            Claim::Refused(None) => {
                let (holder, when) = ("another process".to_owned(), "when it has ended".to_owned());
                Err(ErasureError::Busy { holder, when })
            }
        }
    }

    /// Holds on to the turn. Call it before each file.
    ///
    /// # Errors
    /// [`ErasureError::Overtaken`] where another has taken over.
    pub(super) fn renew(&mut self, now: DateTime<Utc>) -> Result<(), ErasureError> {
        match self.0.renew(now)? {
            Renewal::Held => Ok(()),
            Renewal::Overtaken => Err(ErasureError::Overtaken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_in_a_directory_is_told_to_wait() {
        let root = tempfile::tempdir().unwrap();
        let store = ErasureStore::open(root.path().to_str().unwrap(), []).unwrap();
        let mut one = Lease::take(&store, "one", DateTime::UNIX_EPOCH).unwrap();
        let refused = Lease::take(&store, "other", DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "another process is rewriting sealed files; try again when it has ended"
        );
        one.renew(DateTime::UNIX_EPOCH + TimeDelta::days(1)).unwrap();
        drop(one);
        Lease::take(&store, "other", DateTime::UNIX_EPOCH).unwrap();
    }
}
