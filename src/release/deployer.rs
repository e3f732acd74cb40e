//! What serves: loading beside, publishing, promoting and rolling back.

use tokio::sync::watch;

use super::{Promotion, RegistryError, ServingState};
use crate::model::Call;

/// Promotes and rolls back.
#[derive(Debug, Clone)]
pub struct Deployer;

/// A promotion that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The release to serve.
    pub release: u64,
    /// The release that the caller believes to be current.
    pub expected_current: Option<u64>,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
}

#[expect(missing_docs, reason = "to be replaced")]
impl Deployer {
    pub fn promote(&self, _order: &Order, _call: &Call) -> Result<Promotion, RegistryError> {
        Err(RegistryError::Internal("not built yet".to_owned()))
    }
    pub fn rollback(&self, _author: &str, _reason: &str, _call: &Call) -> Result<Promotion, RegistryError> {
        Err(RegistryError::Internal("not built yet".to_owned()))
    }
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ServingState> {
        watch::channel(ServingState::default()).1
    }
}
