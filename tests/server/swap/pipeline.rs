//! What a retraining pipeline does, over the wire: push versions, make releases, promote them, ask what is current.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use wire::decision_service_client::DecisionServiceClient;
use wire::model_service_client::ModelServiceClient;
use wire::push_model_version_request::Part;
use wire::release_service_client::ReleaseServiceClient;

use super::sets::Version;
use crate::harness::wire;

/// No call of the test takes longer unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a message of an upload.
const CHUNK: usize = 64 << 10;

const AUTHOR: &str = "the swap test";

/// A new connection.
pub async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.timeout(PATIENCE).connect().await.unwrap()
}

/// A client that decides, on a connection of its own.
pub async fn decisions(address: SocketAddr) -> DecisionServiceClient<Channel> {
    DecisionServiceClient::new(connect(address).await).max_decoding_message_size(usize::MAX)
}

/// Pushes and promotes, on one connection.
pub struct Pipeline {
    models: ModelServiceClient<Channel>,
    releases: ReleaseServiceClient<Channel>,
}

/// What a release is made of.
pub struct Draft<'a> {
    pub models: &'a BTreeMap<String, u64>,
    pub offers: String,
    pub policy: String,
}

impl Pipeline {
    /// A new connection.
    pub async fn connect(address: SocketAddr) -> Self {
        let channel = connect(address).await;
        Self {
            models: ModelServiceClient::new(channel.clone()),
            releases: ReleaseServiceClient::new(channel).max_decoding_message_size(usize::MAX),
        }
    }

    /// Uploads the next version of a model.
    pub async fn push(
        &mut self,
        model: &str,
        version: &Version,
    ) -> Result<wire::PushModelVersionResponse, Status> {
        let files = version.files.iter().map(|(name, bytes)| wire::FileInfo {
            name: name.clone(),
            size: bytes.len() as u64,
            sha256: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        });
        let header = wire::PushHeader {
            name: model.to_owned(),
            manifest: version.manifest.clone(),
            files: files.collect(),
            ..Default::default()
        };
        let chunks = version.files.iter().flat_map(|(_, bytes)| bytes.chunks(CHUNK));
        let parts = chunks.map(|data| Part::Chunk(wire::FileChunk { data: data.to_vec() }));
        let messages: Vec<wire::PushModelVersionRequest> = std::iter::once(Part::Header(header))
            .chain(parts)
            .map(|part| wire::PushModelVersionRequest { part: Some(part) })
            .collect();
        let answer = self.models.push_model_version(tokio_stream::iter(messages)).await?;
        Ok(answer.into_inner())
    }

    /// Makes a release; returns its number.
    pub async fn create(&mut self, draft: Draft<'_>) -> Result<u64, Status> {
        let models: HashMap<String, u64> =
            draft.models.iter().map(|(name, version)| (name.clone(), *version)).collect();
        let request = wire::CreateReleaseRequest {
            models,
            offers_toml: Some(draft.offers),
            policy_toml: Some(draft.policy),
            author: AUTHOR.to_owned(),
            ..Default::default()
        };
        let made = self.releases.create_release(request).await?.into_inner();
        Ok(made.release.expect("a release that was made is described").number)
    }

    /// Makes a release current.
    pub async fn promote(
        &mut self,
        release: u64,
        expected_current: Option<u64>,
    ) -> Result<wire::PromoteReleaseResponse, Status> {
        let request = wire::PromoteReleaseRequest {
            release,
            expected_current,
            reason: "a swap under load".to_owned(),
            author: AUTHOR.to_owned(),
        };
        Ok(self.releases.promote_release(request).await?.into_inner())
    }

    /// What the store says is current, and what the server does with it.
    pub async fn current(&mut self) -> Result<(wire::Current, wire::ServingState), Status> {
        let request = wire::ListReleasesRequest { count: 1, before: 0 };
        let list = self.releases.list_releases(request).await?.into_inner();
        Ok((list.current.unwrap_or_default(), list.serving.unwrap_or_default()))
    }
}
