//! A server of the protocol alone, on a port of its own, over a directory of models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proffer::grpc::InferenceService;
use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use proffer::grpc::proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use proffer::model::onnx::{OnnxCache, OnnxRuntime};
use proffer::model::{Repository, Workers};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};

/// The largest message, in bytes.
pub const MESSAGE_LIMIT: usize = 1 << 20;

/// The server's parts that a test may want to touch; it ends with the test's runtime.
pub struct Fixture {
    pub client: GrpcInferenceServiceClient<Channel>,
    pub repository: Arc<Repository>,
    pub models: tempfile::TempDir,
}

impl Fixture {
    /// Starts a server over the models that `fill` puts into an empty directory.
    pub async fn start(fill: impl FnOnce(&Path)) -> Self {
        let models = tempfile::tempdir().unwrap();
        fill(models.path());
        let cache = OnnxCache::new(OnnxRuntime::load().unwrap(), 2);
        let repository = Arc::new(Repository::new(models.path(), Arc::new(cache)));
        repository.refresh(&BTreeMap::new()).unwrap();
        let workers = Workers::start(2, 64).unwrap();
        let service = InferenceService::new(Arc::clone(&repository), workers, MESSAGE_LIMIT, || true);
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

/// The folder of recorded models, or nothing and a word about it.
pub fn recorded_models() -> Option<PathBuf> {
    let data =
        std::env::var_os("PROFFER_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let models = data.join("onnx_models");
    if models.join("REFERENCE_RUNS.json").is_file() {
        return Some(models);
    }
    eprintln!("skipped: no recorded models in {} (set PROFFER_DATA)", models.display());
    None
}

/// The name under which a recorded file is served: `sklearn/a.onnx` as `sklearn.a`.
pub fn served_name(file: &str) -> String {
    file.trim_end_matches(".onnx").replace('/', ".")
}

/// Puts a recorded file where the server expects version 1 of it, with the weights that lie beside it.
pub fn install(recorded: &Path, file: &str, models: &Path) {
    let version = models.join(served_name(file)).join("1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::copy(recorded.join(file), version.join("model.onnx")).unwrap();
    let weights = recorded.join(format!("{file}.data"));
    if weights.is_file() {
        std::fs::copy(weights, version.join("model.onnx.data")).unwrap();
    }
}
