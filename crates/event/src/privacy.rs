//! Privacy of records: who a record is about, and what it holds of them.
//!
//! - [`Pseudonyms`] stand in records instead of customer ids. Only who has the key knows whose they are.
//! - [`ValueCipher`] encrypts the values of features that a release marks as `sensitive`.
//! - [`export`] collects what is recorded of a person; [`erasure`](crate::erasure) removes it.
//!
//! The secrets come from the [key file](crate::keys). Nothing here reads or writes a store.

mod config;
pub mod export;
#[cfg(test)]
mod golden;
mod pseudonym;
mod subject;
mod values;

pub use config::{PrivacyConfig, PrivacyError};
pub(crate) use pseudonym::hmac;
pub use pseudonym::{Pseudonym, PseudonymError, PseudonymMode, Pseudonyms, is_pseudonym};
pub use subject::Subject;
pub use values::{DecryptError, EncryptError, RecordedEntity, ValueCipher};
