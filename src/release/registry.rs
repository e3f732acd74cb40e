//! What the store holds and how it comes in: versions are pushed, judged, listed and deleted; releases are made.

use super::deployer::Deployer;
use super::{
    ModelSummary, PushHeader, Pushed, RegistryError, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList,
    ReleaseRecord, Store, VersionDetail,
};

/// The contents of a store.
#[derive(Debug, Clone)]
pub struct Registry;

/// A version on its way in.
#[derive(Debug)]
pub struct Upload;

fn absent() -> RegistryError {
    RegistryError::Internal("not built yet".to_owned())
}

#[expect(missing_docs, reason = "to be replaced")]
impl Registry {
    pub fn offline(_store: Store) -> Result<(Registry, Deployer), RegistryError> {
        Ok((Self, Deployer))
    }
    pub fn begin_push(&self, _header: PushHeader) -> Result<Upload, RegistryError> {
        Err(absent())
    }
    pub fn finish_push(&self, _upload: Upload) -> Result<Pushed, RegistryError> {
        Err(absent())
    }
    pub fn models(&self, _name: Option<&str>) -> Result<Vec<ModelSummary>, RegistryError> {
        Err(absent())
    }
    pub fn version(&self, _name: &str, _version: u64) -> Result<VersionDetail, RegistryError> {
        Err(absent())
    }
    pub fn delete_version(&self, _name: &str, _version: u64) -> Result<(), RegistryError> {
        Err(absent())
    }
    pub fn create_release(&self, _draft: &ReleaseDraft) -> Result<ReleaseRecord, RegistryError> {
        Err(absent())
    }
    pub fn release(&self, _number: u64) -> Result<ReleaseFiles, RegistryError> {
        Err(absent())
    }
    pub fn releases(&self, _count: usize, _before: u64) -> Result<ReleaseList, RegistryError> {
        Err(absent())
    }
    pub fn diff(&self, _from: u64, _to: u64) -> Result<ReleaseDiff, RegistryError> {
        Err(absent())
    }
}

#[expect(missing_docs, reason = "to be replaced")]
impl Upload {
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), RegistryError> {
        Err(absent())
    }
}
