//! A server of the protocol alone over a directory of models, which a test must refresh itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::GraphCache;
use model::onnx::OnnxRuntime;
use model::{Permit, Repository, sha256_of_file};
use proffer::grpc::InferenceService;
use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proffer::grpc::proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use telemetry::Metrics;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use work::Workers;

/// The largest message, in bytes.
pub(super) const MESSAGE_LIMIT: usize = 1 << 20;

/// The parts of the server that tests use; it ends with the test's runtime.
pub(super) struct Fixture {
    pub client: GrpcInferenceServiceClient<Channel>,
    pub repository: Arc<Repository>,
    pub models: tempfile::TempDir,
}

impl Fixture {
    /// Starts a server over the models that `fill` writes to an empty directory.
    pub(super) async fn start(fill: impl FnOnce(&Path)) -> Self {
        let models = tempfile::tempdir().unwrap();
        fill(models.path());
        let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 2);
        let repository = Arc::new(Repository::new(models.path(), Arc::new(cache), Box::new(trusted)));
        repository.refresh(&BTreeMap::new()).unwrap();
        let workers = Workers::start(2, 64).unwrap();
        let service = InferenceService::new(
            Arc::clone(&repository),
            workers,
            Arc::new(Metrics::new()),
            MESSAGE_LIMIT,
            || true,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(
            Server::builder()
                .add_service(
                    GrpcInferenceServiceServer::new(service).max_decoding_message_size(MESSAGE_LIMIT),
                )
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        let client = GrpcInferenceServiceClient::connect(format!("http://{address}")).await.unwrap();
        Self { client, repository, models }
    }
}

/// A permit for every model: the tests create them themselves.
fn trusted(_: &str, _: u64, file: &Path) -> Permit {
    sha256_of_file(file).map_or_else(|error| Permit::Failed(error.to_string()), Permit::Passed)
}
