//! `proffer.v1.ModelService`: convert in, call one function of the registry, convert out.
//!
//! An upload is never in memory as a whole. Its messages go over a short channel to the one thread that owns the
//! [`Upload`](release::Upload) and writes to disk. While the disk is behind, no further message is taken.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

use super::admission::Admitted;
use super::limits::{check_count, check_model_name};
use super::management::{blocking, take_on};
use super::proto::proffer::v1 as wire;
use super::status;
use release::{PushHeader, Pushed, Registry, RegistryError};
use wire::push_model_version_request::Part;
use work::Cancellation;

/// Files of one version.
const MAX_FILES: usize = 4096;

/// Messages of an upload that are buffered for the disk.
const MESSAGES_AHEAD: usize = 2;

/// The service, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ModelService {
    registry: Registry,
    timeout: Duration,
}

impl ModelService {
    /// A service over `registry`; an upload that sends nothing for `timeout` is ended.
    pub(super) fn new(registry: Registry, timeout: Duration) -> Self {
        Self { registry, timeout }
    }
}

#[tonic::async_trait]
impl wire::model_service_server::ModelService for ModelService {
    async fn push_model_version(
        &self,
        request: Request<Streaming<wire::PushModelVersionRequest>>,
    ) -> Result<Response<wire::PushModelVersionResponse>, Status> {
        let admitted = take_on(&request);
        let mut messages = request.into_inner();
        let header = tokio::select! {
            message = next(&mut messages, self.timeout) => read_header(message?)?,
            ended = admitted.ended() => return Err(ended),
        };
        let (pieces, taken) = mpsc::channel(MESSAGES_AHEAD);
        let registry = self.registry.clone();
        let bringing = blocking(admitted.clone(), move |_| bring_in(&registry, header, taken));
        let bringing = tokio::spawn(bringing.in_current_span());
        let handed = hand_over(&mut messages, &pieces, &admitted, self.timeout).await;
        // Without its end the upload is dropped. It is awaited, so that nothing is left behind when the caller reads
        // the reason.
        drop(pieces);
        let brought = bringing.await.map_err(|error| status::internal(&error.to_string(), ""))?;
        handed?;
        brought.map(|pushed| Response::new(pushed.into()))
    }

    async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsResponse>, Status> {
        let admitted = take_on(&request);
        let name = Some(request.into_inner().name).filter(|name| !name.is_empty());
        name.as_ref().map_or(Ok(()), |name| check_model_name("name", name))?;
        let registry = self.registry.clone();
        let models = blocking(admitted, move |_| registry.models(name.as_deref())).await?;
        let models = models.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListModelsResponse { models }))
    }

    async fn get_model_version(
        &self,
        request: Request<wire::GetModelVersionRequest>,
    ) -> Result<Response<wire::GetModelVersionResponse>, Status> {
        let admitted = take_on(&request);
        let wire::GetModelVersionRequest { name, version } = request.into_inner();
        check_model_name("name", &name)?;
        let registry = self.registry.clone();
        let detail = blocking(admitted, move |_| registry.version(&name, version)).await?;
        Ok(Response::new(detail.into()))
    }

    async fn delete_model_version(
        &self,
        request: Request<wire::DeleteModelVersionRequest>,
    ) -> Result<Response<wire::DeleteModelVersionResponse>, Status> {
        let admitted = take_on(&request);
        let wire::DeleteModelVersionRequest { name, version } = request.into_inner();
        check_model_name("name", &name)?;
        if version == 0 {
            return Err(status::invalid("version", "must be 1 or more"));
        }
        let registry = self.registry.clone();
        blocking(admitted, move |_| registry.delete_version(&name, version)).await?;
        Ok(Response::new(wire::DeleteModelVersionResponse {}))
    }
}

/// The messages of an upload.
trait Messages: Stream<Item = Result<wire::PushModelVersionRequest, Status>> {}

impl<S: Stream<Item = Result<wire::PushModelVersionRequest, Status>>> Messages for S {}

/// The input of an upload's thread.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// The next bytes of the files.
    Bytes(Vec<u8>),
    /// The stream has ended as it should.
    End,
}

/// The thread of an upload. Without an end to the pieces the upload is dropped, and its files are removed.
fn bring_in(
    registry: &Registry,
    header: PushHeader,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Pushed, RegistryError> {
    let mut upload = registry.begin_push(header)?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => upload.write(&bytes)?,
            Piece::End => return registry.finish_push(upload),
        }
    }
    Err(Cancellation::Abandoned.into())
}

/// Hands over the rest of the stream up to its end, or until the thread ends and gives the reason itself.
///
/// # Errors
/// Why the upload cannot go on: a damaged or late message, the deadline, a drain.
async fn hand_over(
    messages: &mut (impl Messages + Unpin),
    pieces: &mpsc::Sender<Piece>,
    admitted: &Admitted,
    timeout: Duration,
) -> Result<(), Status> {
    loop {
        let message = tokio::select! {
            message = next(messages, timeout) => message?,
            ended = admitted.ended() => return Err(ended),
            () = pieces.closed() => return Ok(()),
        };
        let piece = message.map_or(Ok(Piece::End), |message| read_chunk(message).map(Piece::Bytes))?;
        let last = matches!(piece, Piece::End);
        let sent = tokio::select! {
            sent = pieces.send(piece) => sent,
            ended = admitted.ended() => return Err(ended),
        };
        if last || sent.is_err() {
            return Ok(());
        }
    }
}

/// The next message of an upload; `None` at its end.
async fn next(
    messages: &mut (impl Messages + Unpin),
    timeout: Duration,
) -> Result<Option<wire::PushModelVersionRequest>, Status> {
    let Ok(message) = tokio::time::timeout(timeout, messages.next()).await else {
        let message = format!("the upload sent nothing for {timeout:?}; begin again");
        return Err(Status::deadline_exceeded(message));
    };
    message.transpose().map_err(status::corrected)
}

fn read_header(message: Option<wire::PushModelVersionRequest>) -> Result<PushHeader, Status> {
    let first =
        message.ok_or_else(|| status::invalid("part", "the first message must be a header; none came"))?;
    let header = match first.part {
        Some(Part::Header(header)) => header,
        Some(Part::Chunk(_)) => {
            return Err(status::invalid("part", "the first message must be a header, not a chunk"));
        }
        None => return Err(status::invalid("part", "the first message must be a header; it is empty")),
    };
    check_model_name("header.name", &header.name)?;
    check_count("header.files", "files", header.files.len(), MAX_FILES)?;
    Ok(header.into())
}

fn read_chunk(message: wire::PushModelVersionRequest) -> Result<Vec<u8>, Status> {
    match message.part {
        Some(Part::Chunk(chunk)) => Ok(chunk.data),
        Some(Part::Header(_)) => {
            Err(status::invalid("part", "there may be only one header, in the first message"))
        }
        None => Err(status::invalid("part", "the message is empty; send a chunk")),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn message(part: Option<Part>) -> wire::PushModelVersionRequest {
        wire::PushModelVersionRequest { part }
    }

    #[test]
    fn an_upload_is_a_header_and_then_chunks() {
        let header = || Part::Header(wire::PushHeader { name: "m".to_owned(), ..Default::default() });
        let chunk = || Part::Chunk(wire::FileChunk { data: vec![7] });
        assert_eq!(read_header(Some(message(Some(header())))).unwrap().name, "m");
        assert_eq!(read_chunk(message(Some(chunk()))).unwrap(), [7]);
        let wrong = [
            read_header(None).unwrap_err(),
            read_header(Some(message(None))).unwrap_err(),
            read_header(Some(message(Some(chunk())))).unwrap_err(),
            read_chunk(message(Some(header()))).unwrap_err(),
            read_chunk(message(None)).unwrap_err(),
        ];
        for status in wrong {
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().starts_with("part: "), "{status}");
        }
    }

    const PATIENCE: Duration = Duration::from_mins(1);

    fn chunk(byte: u8) -> wire::PushModelVersionRequest {
        message(Some(Part::Chunk(wire::FileChunk { data: vec![byte] })))
    }

    /// The result of these messages and then `rest`, and the pieces that were handed over.
    async fn handed(
        messages: Vec<Result<wire::PushModelVersionRequest, Status>>,
        rest: impl Messages + Unpin,
        admitted: Admitted,
    ) -> (Result<(), Code>, Vec<Piece>) {
        let (pieces, mut taken) = mpsc::channel(1);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            while let Some(piece) = taken.recv().await {
                read.push(piece);
            }
            read
        });
        let mut messages = tokio_stream::iter(messages).chain(rest);
        let ended = hand_over(&mut messages, &pieces, &admitted, PATIENCE).await;
        drop(pieces);
        (ended.map_err(|status| status.code()), reading.await.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_upload_that_ends_as_it_should_is_handed_its_end() {
        use tokio_stream::{empty, pending};
        let first = || Piece::Bytes(vec![1]);
        let whole = handed(vec![Ok(chunk(1)), Ok(chunk(2))], empty(), Admitted::default()).await;
        assert_eq!(whole, (Ok(()), vec![first(), Piece::Bytes(vec![2]), Piece::End]));
        let broken = vec![Ok(chunk(1)), Err(Status::cancelled("gone"))];
        assert_eq!(handed(broken, empty(), Admitted::default()).await, (Err(Code::Cancelled), vec![first()]));
        let twice = vec![Ok(chunk(1)), Ok(message(Some(Part::Header(wire::PushHeader::default()))))];
        assert_eq!(
            handed(twice, empty(), Admitted::default()).await,
            (Err(Code::InvalidArgument), vec![first()])
        );
        let silent = handed(vec![Ok(chunk(1))], pending(), Admitted::default()).await;
        assert_eq!(silent, (Err(Code::DeadlineExceeded), vec![first()]));
        let readiness = telemetry::Readiness::default();
        let mut admitted = Admitted::default();
        admitted.readiness = Some(readiness.clone());
        readiness.drain();
        let (ended, pieces) = handed(vec![], pending(), admitted).await;
        assert_eq!((ended, pieces), (Err(Code::Unavailable), vec![]));
    }

    #[tokio::test]
    async fn no_more_is_taken_than_the_disk_can_write() {
        let (pieces, mut taken) = mpsc::channel(MESSAGES_AHEAD);
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counting = std::sync::Arc::clone(&asked);
        let mut messages = tokio_stream::iter(std::iter::repeat_with(move || {
            counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(chunk(1))
        }));
        let admitted = Admitted::default();
        let handing =
            tokio::spawn(async move { hand_over(&mut messages, &pieces, &admitted, PATIENCE).await });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), MESSAGES_AHEAD + 1);
        assert!(taken.recv().await.is_some());
        // The thread of the upload ends by itself, so the rest ends too, and the thread gives the reason.
        drop(taken);
        assert!(handing.await.unwrap().is_ok());
    }

    #[test]
    fn a_header_is_held_against_its_limits() {
        let header = |name: &str, files| {
            let files = vec![wire::FileInfo::default(); files];
            let header = wire::PushHeader { name: name.to_owned(), files, ..Default::default() };
            read_header(Some(message(Some(Part::Header(header)))))
                .map_err(|status| status.message().to_owned())
        };
        assert_eq!(header("m", MAX_FILES).unwrap().files.len(), MAX_FILES);
        assert!(header("m", MAX_FILES + 1).unwrap_err().starts_with("header.files: "));
        assert!(header("../m", 1).unwrap_err().starts_with("header.name: "));
    }
}
