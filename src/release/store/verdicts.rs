//! What the gates said of a version: written once, and kept when the version is deleted.

use super::objects::Put;
use super::{Store, StoreError, keys};
use crate::release::fault;
use crate::release::records::Verdict;

impl Store {
    /// What the gates said of a version, where they have ended. It outlives the version, whose number is never used again.
    ///
    /// # Errors
    /// When it is damaged, or the store cannot be read.
    pub fn verdict(&self, name: &str, version: u64) -> Result<Option<Verdict>, StoreError> {
        keys::check_name(name)?;
        let key = keys::verdict(name, version);
        let Some(text) = self.0.objects.text(&key)? else { return Ok(None) };
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: self.0.objects.shown(&key),
            message: error.to_string(),
        };
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }

    /// Stores what the gates said, and answers with what is stored: where there is a verdict already, that one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`] where there is neither such a version nor a verdict on it.
    pub fn add_verdict(&self, name: &str, version: u64, verdict: &Verdict) -> Result<Verdict, StoreError> {
        if let Some(stored) = self.verdict(name, version)? {
            return Ok(stored);
        }
        if !self.holds(name, version)? {
            return Err(StoreError::NoSuchVersion { name: name.to_owned(), version });
        }
        self.put_verdict(name, version, verdict)
    }

    pub(super) fn put_verdict(
        &self,
        name: &str,
        version: u64,
        verdict: &Verdict,
    ) -> Result<Verdict, StoreError> {
        let key = keys::verdict(name, version);
        let unwritable = |error: serde_json::Error| StoreError::Damaged {
            path: self.0.objects.shown(&key),
            message: error.to_string(),
        };
        let text = serde_json::to_string_pretty(verdict).map_err(unwritable)? + "\n";
        fault::point("verdict.writing");
        let put = self.put_new(&key, text)?;
        fault::point("verdict.written");
        let stored = if put == Put::Taken { self.verdict(name, version)? } else { None };
        Ok(stored.unwrap_or_else(|| verdict.clone()))
    }

    pub(super) fn has_verdict(&self, name: &str, version: u64) -> Result<bool, StoreError> {
        self.0.objects.exists(&keys::verdict(name, version))
    }
}
