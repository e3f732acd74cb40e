//! The verdicts of the gates: written once, and kept when the version is deleted.

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, keys};
use crate::fault;
use crate::records::{Evidence, Verdict};
use objects::Put;

/// A verdict as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(default, skip_serializing_if = "Evidence::is_empty")]
    evidence: Evidence,
}

impl Store {
    /// The verdict on a version, once its gates have ended. It outlives the version, whose number is never used
    /// again.
    ///
    /// # Errors
    /// When it is damaged, or the store cannot be read.
    pub fn verdict(&self, name: &str, version: u64) -> Result<Option<Verdict>, StoreError> {
        Ok(self.judged(name, version)?.map(|(verdict, _)| verdict))
    }

    /// The verdict with its evidence.
    ///
    /// # Errors
    /// As [`Store::verdict`].
    pub fn judged(&self, name: &str, version: u64) -> Result<Option<(Verdict, Evidence)>, StoreError> {
        keys::check_name(name)?;
        let key = keys::verdict(name, version);
        let Some(text) = self.0.objects.text(&key)? else { return Ok(None) };
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: self.0.objects.shown(&key),
            message: error.to_string(),
        };
        let written: Written = serde_json::from_str(&text).map_err(damaged)?;
        Ok(Some((written.verdict, written.evidence)))
    }

    /// Stores a verdict unless there is one, and returns the stored one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`] where there is neither such a version nor a verdict on it.
    pub fn add_verdict(&self, name: &str, version: u64, verdict: &Verdict) -> Result<Verdict, StoreError> {
        self.add_judgement(name, version, verdict, &Evidence::default())
    }

    /// As [`Store::add_verdict`], with the gates' evidence.
    ///
    /// # Errors
    /// As [`Store::add_verdict`].
    pub fn add_judgement(
        &self,
        name: &str,
        version: u64,
        verdict: &Verdict,
        evidence: &Evidence,
    ) -> Result<Verdict, StoreError> {
        if let Some(stored) = self.verdict(name, version)? {
            return Ok(stored);
        }
        if !self.holds(name, version)? {
            return Err(StoreError::NoSuchVersion { name: name.to_owned(), version });
        }
        self.put_verdict(name, version, verdict, evidence)
    }

    pub(super) fn put_verdict(
        &self,
        name: &str,
        version: u64,
        verdict: &Verdict,
        evidence: &Evidence,
    ) -> Result<Verdict, StoreError> {
        let key = keys::verdict(name, version);
        let unwritable = |error: serde_json::Error| StoreError::Damaged {
            path: self.0.objects.shown(&key),
            message: error.to_string(),
        };
        let written = Written { verdict: verdict.clone(), evidence: evidence.clone() };
        let text = serde_json::to_string_pretty(&written).map_err(unwritable)? + "\n";
        fault::point("verdict.writing");
        let put = self.put_new(&key, text)?;
        fault::point("verdict.written");
        let stored = if put == Put::Taken { self.verdict(name, version)? } else { None };
        Ok(stored.unwrap_or_else(|| verdict.clone()))
    }

    pub(super) fn has_verdict(&self, name: &str, version: u64) -> Result<bool, StoreError> {
        Ok(self.0.objects.exists(&keys::verdict(name, version))?)
    }
}
