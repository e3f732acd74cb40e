//! `ModelService` and `ReleaseService` for the command line: the values of `release` in and out.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::pin::pin;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Client, ClientError, wire};
use release::{
    CreatedRelease, Current, ModelSummary, Promotion, PromotionRequest, PushHeader, Pushed, ReleaseDiff,
    ReleaseDraft, ReleaseFiles, ReleaseList, ServingState, VersionDetail, VersionFile,
};
use wire::push_model_version_request::Part;

/// Bytes of a file that one message carries.
pub const PIECE: usize = 1 << 20;

/// Messages that are read ahead of the network.
const MESSAGES_AHEAD: usize = 2;

impl Client {
    /// Uploads the version whose files lie below `root`; `progress` gets the bytes of each piece.
    ///
    /// # Errors
    /// What the server refuses, or a file that cannot be read; then nothing is left behind.
    pub async fn push(
        &self,
        header: PushHeader,
        root: &Path,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<Pushed, ClientError> {
        let (messages, taken) = mpsc::channel(MESSAGES_AHEAD);
        let (files, root) = (header.files.clone(), root.to_owned());
        // While this sender is open the stream does not end, so an upload that was not read to its end is never taken
        // for whole.
        let open = messages.clone();
        let first = messages.send(part(Part::Header(header.into()))).await;
        debug_assert!(first.is_ok(), "the receiver is here");
        let mut reading = tokio::task::spawn_blocking(move || send_files(&files, &root, &messages, progress));
        let mut models = self.models();
        let mut call = pin!(models.push_model_version(ReceiverStream::new(taken)));
        let answer = tokio::select! {
            answer = &mut call => answer,
            read = &mut reading => {
                read.map_err(|error| ClientError::Internal(error.to_string()))??;
                drop(open);
                call.await
            }
        };
        Ok(answer?.into_inner().try_into()?)
    }

    /// The models, or the one of this name, with their versions.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn list_models(&self, name: Option<&str>) -> Result<Vec<ModelSummary>, ClientError> {
        let request = wire::ListModelsRequest { name: name.unwrap_or_default().to_owned() };
        let models = self.models().list_models(request).await?.into_inner().models;
        Ok(models.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
    }

    /// One version; 0: the highest.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn version(&self, name: &str, version: u64) -> Result<VersionDetail, ClientError> {
        let request = wire::GetModelVersionRequest { name: name.to_owned(), version };
        Ok(self.models().get_model_version(request).await?.into_inner().try_into()?)
    }

    /// Removes a version.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn delete_version(&self, name: &str, version: u64) -> Result<(), ClientError> {
        let request = wire::DeleteModelVersionRequest { name: name.to_owned(), version };
        self.models().delete_model_version(request).await?;
        Ok(())
    }

    /// Makes a release.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn create_release(&self, draft: ReleaseDraft) -> Result<CreatedRelease, ClientError> {
        let request = wire::CreateReleaseRequest::from(draft);
        Ok(self.releases().create_release(request).await?.into_inner().try_into()?)
    }

    /// One release with its files; 0: the current one.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn release(&self, release: u64) -> Result<ReleaseFiles, ClientError> {
        let request = wire::GetReleaseRequest { release };
        Ok(self.releases().get_release(request).await?.into_inner().try_into()?)
    }

    /// At most `count` releases below `before`, newest first (0 and 0: the newest hundred), and the serving state.
    pub async fn list_releases(&self, count: u32, before: u64) -> Result<ReleaseList, ClientError> {
        let request = wire::ListReleasesRequest { count, before };
        Ok(self.releases().list_releases(request).await?.into_inner().try_into()?)
    }

    /// At most `count` promotions below `before`, latest first (0 and 0: the latest hundred).
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn list_promotions(&self, count: u32, before: u64) -> Result<Vec<Current>, ClientError> {
        let request = wire::ListPromotionsRequest { count, before };
        let promotions = self.releases().list_promotions(request).await?.into_inner().promotions;
        Ok(promotions.into_iter().map(Into::into).collect())
    }

    /// What changes between two releases; 0: the current one.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn diff(&self, from: u64, to: u64) -> Result<ReleaseDiff, ClientError> {
        let request = wire::DiffReleasesRequest { from, to };
        Ok(self.releases().diff_releases(request).await?.into_inner().into())
    }

    /// Promotes a release.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn promote(&self, request: PromotionRequest) -> Result<Promotion, ClientError> {
        let PromotionRequest { release, expected_current, author, reason } = request;
        let request = wire::PromoteReleaseRequest { release, expected_current, reason, author };
        Ok(self.releases().promote_release(request).await?.into_inner().try_into()?)
    }

    /// Promotes the release before the current one.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn rollback(&self, author: &str, reason: &str) -> Result<Promotion, ClientError> {
        let request = wire::RollbackReleaseRequest { reason: reason.to_owned(), author: author.to_owned() };
        Ok(self.releases().rollback_release(request).await?.into_inner().try_into()?)
    }

    /// The serving state, now and at each change.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        let states = self.releases().watch_releases(wire::WatchReleasesRequest {}).await?.into_inner();
        Ok(Watch { states })
    }
}

/// The serving state of a server, change by change.
#[derive(Debug)]
pub struct Watch {
    states: Streaming<wire::WatchReleasesResponse>,
}

impl Watch {
    /// The next state; `None` when the server ends the stream.
    ///
    /// # Errors
    /// Why the server ends it early, such as its shutdown.
    pub async fn next(&mut self) -> Result<Option<ServingState>, ClientError> {
        Ok(self.states.message().await?.map(TryInto::try_into).transpose()?)
    }
}

fn part(part: Part) -> wire::PushModelVersionRequest {
    wire::PushModelVersionRequest { part: Some(part) }
}

/// Reads the files one after the other and sends them in pieces, until all are sent or the receiver is gone.
fn send_files(
    files: &[VersionFile],
    root: &Path,
    messages: &mpsc::Sender<wire::PushModelVersionRequest>,
    mut progress: impl FnMut(u64),
) -> Result<(), ClientError> {
    for file in files {
        let path = root.join(&file.name);
        let failed = |source| ClientError::File { path: path.display().to_string(), source };
        // Bytes that were added after the hashing are not sent: the server compares the hash.
        let mut content = File::open(&path).map_err(failed)?.take(file.size);
        loop {
            let mut data = Vec::with_capacity(PIECE);
            let length = content.by_ref().take(PIECE as u64).read_to_end(&mut data).map_err(failed)?;
            if length == 0 {
                break;
            }
            if messages.blocking_send(part(Part::Chunk(wire::FileChunk { data }))).is_err() {
                // The server has already answered, and that answer counts.
                return Ok(());
            }
            progress(length as u64);
        }
    }
    Ok(())
}
