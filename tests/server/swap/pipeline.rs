//! The calls of a retraining pipeline: push versions, create releases, promote them, and ask which is current.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use wire::decision_service_client::DecisionServiceClient;

use super::sets::Version;
use crate::harness::wire;
use crate::management::Management;

/// The deadline of every call, which none should reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// A new connection.
async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.timeout(PATIENCE).connect().await.unwrap()
}

/// A decision client on its own connection.
pub(super) async fn decisions(address: SocketAddr) -> DecisionServiceClient<Channel> {
    DecisionServiceClient::new(connect(address).await).max_decoding_message_size(usize::MAX)
}

/// Pushes and promotes on one connection.
pub(super) struct Pipeline(Management);

/// The parts of a release.
pub(super) struct Draft<'a> {
    pub models: &'a BTreeMap<String, u64>,
    pub offers: String,
    pub policy: String,
}

impl Pipeline {
    /// A new connection.
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self(Management::over(connect(address).await))
    }

    /// Uploads the next version of a model.
    pub(super) async fn push(
        &mut self,
        model: &str,
        version: &Version,
    ) -> Result<wire::PushModelVersionResponse, Status> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("model.toml"), &version.manifest).unwrap();
        for (name, bytes) in &version.files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        self.0.push(model, 0, directory.path()).await
    }

    /// Creates a release; returns its number.
    pub(super) async fn create(&mut self, draft: Draft<'_>) -> Result<u64, Status> {
        let models = draft.models.iter().map(|(name, version)| (name.clone(), *version));
        let request = wire::CreateReleaseRequest {
            models: models.collect(),
            offers_toml: Some(draft.offers),
            policy_toml: Some(draft.policy),
            author: "the swap test".to_owned(),
            ..Default::default()
        };
        let made = self.0.releases.create_release(request).await?.into_inner();
        Ok(made.release.expect("a created release is described").number)
    }

    /// Promotes a release.
    pub(super) async fn promote(
        &mut self,
        release: u64,
        expected_current: Option<u64>,
    ) -> Result<wire::PromoteReleaseResponse, Status> {
        self.0.promote_over(release, expected_current).await
    }

    /// The current release in the store, and the server's state.
    pub(super) async fn current(&mut self) -> Result<(wire::Current, wire::ServingState), Status> {
        let request = wire::ListReleasesRequest { count: 1, before: 0 };
        let list = self.0.releases.list_releases(request).await?.into_inner();
        Ok((list.current.unwrap_or_default(), list.serving.unwrap_or_default()))
    }
}
