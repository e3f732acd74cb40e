//! A client of `ModelService` and `ReleaseService`, as a pipeline would use it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::sha256_of;
use tonic::transport::Channel;
use tonic::{Response, Status};
use wire::model_service_client::ModelServiceClient;
use wire::push_model_version_request::Part;
use wire::release_service_client::ReleaseServiceClient;

use super::harness::{sample_workspace, wire};

/// Both services over one connection.
#[derive(Clone)]
pub(crate) struct Management {
    pub models: ModelServiceClient<Channel>,
    pub releases: ReleaseServiceClient<Channel>,
}

impl Management {
    pub(crate) fn over(channel: Channel) -> Self {
        Self {
            models: ModelServiceClient::new(channel.clone()),
            releases: ReleaseServiceClient::new(channel),
        }
    }

    /// Pushes the version in `directory`; 0 means the next version.
    pub(crate) async fn push(
        &mut self,
        name: &str,
        version: u64,
        directory: &Path,
    ) -> Result<wire::PushModelVersionResponse, Status> {
        let parts = parts_of(name, version, directory);
        self.models.push_model_version(tokio_stream::iter(parts)).await.map(Response::into_inner)
    }

    /// Creates a release from the current one with these versions, and returns its number.
    pub(crate) async fn create(&mut self, models: &[(&str, u64)]) -> Result<u64, Status> {
        let models = models.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        let request =
            wire::CreateReleaseRequest { models, author: "a test".to_owned(), ..Default::default() };
        let made = self.releases.create_release(request).await?.into_inner();
        Ok(made.release.unwrap().number)
    }

    /// Promotes a release, regardless of the current one.
    pub(crate) async fn promote(&mut self, release: u64) -> Result<wire::PromoteReleaseResponse, Status> {
        self.promote_over(release, None).await
    }

    /// Promotes a release if `expected_current` is current.
    pub(crate) async fn promote_over(
        &mut self,
        release: u64,
        expected_current: Option<u64>,
    ) -> Result<wire::PromoteReleaseResponse, Status> {
        let (reason, author) = ("a test promotes".to_owned(), "a test".to_owned());
        let request = wire::PromoteReleaseRequest { release, expected_current, reason, author };
        self.releases.promote_release(request).await.map(Response::into_inner)
    }

    pub(crate) async fn rollback(&mut self) -> Result<wire::RollbackReleaseResponse, Status> {
        let request =
            wire::RollbackReleaseRequest { reason: "a test".to_owned(), author: "a test".to_owned() };
        self.releases.rollback_release(request).await.map(Response::into_inner)
    }

    /// The current release, the serving one, and all others.
    pub(crate) async fn list(&mut self) -> wire::ListReleasesResponse {
        self.releases.list_releases(wire::ListReleasesRequest::default()).await.unwrap().into_inner()
    }
}

/// The messages that push the version in `directory`, with its files in chunks.
pub(crate) fn parts_of(name: &str, version: u64, directory: &Path) -> Vec<wire::PushModelVersionRequest> {
    let mut files = BTreeMap::new();
    collect(directory, "", &mut files);
    let manifest = std::fs::read_to_string(directory.join("model.toml")).unwrap();
    files.remove("model.toml");
    let contents: Vec<(String, Vec<u8>)> =
        files.into_iter().map(|(name, path)| (name, std::fs::read(path).unwrap())).collect();
    let header = wire::PushHeader {
        name: name.to_owned(),
        version,
        manifest,
        files: contents
            .iter()
            .map(|(name, bytes)| wire::FileInfo {
                name: name.clone(),
                size: bytes.len() as u64,
                sha256: sha256_of(bytes),
            })
            .collect(),
        features_toml: String::new(),
    };
    let chunks = contents.iter().flat_map(|(_, bytes)| bytes.chunks(64 << 10)).map(chunk);
    let header = wire::PushModelVersionRequest { part: Some(Part::Header(header)) };
    std::iter::once(header).chain(chunks).collect()
}

/// The next bytes of an upload.
pub(crate) fn chunk(data: &[u8]) -> wire::PushModelVersionRequest {
    wire::PushModelVersionRequest { part: Some(Part::Chunk(wire::FileChunk { data: data.to_vec() })) }
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, entry.path());
        }
    }
}

/// The manifest without its checksums, which the server fills in.
fn without_checksums(manifest: &str) -> String {
    let Some(start) = manifest.find("[checksums]") else { return manifest.to_owned() };
    let end = manifest[start..].find("\n[").map_or(manifest.len(), |at| start + at + 1);
    format!("{}{}", &manifest[..start], &manifest[end..])
}

/// A copy of a version of the sample with different bytes but the same outputs: `mark` goes into the training notes.
pub(crate) fn marked(model: &str, mark: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let source = sample_workspace().join(model).join("1");
    let mut files = BTreeMap::new();
    collect(&source, "", &mut files);
    for (name, path) in files {
        std::fs::copy(path, copy.path().join(name)).unwrap();
    }
    let manifest = copy.path().join("model.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let (before, after) = text.split_once("[training]").expect("the sample's manifests have training notes");
    let marked = format!("{before}[training]\nmark = \"{mark}\"{after}");
    std::fs::write(&manifest, without_checksums(&marked)).unwrap();
    copy
}
