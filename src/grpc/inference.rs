//! The Open Inference Protocol v2: any ONNX model of the store, for clients of Triton and of `KServe`.
//!
//! Owns the six calls and the conversion between the protocol's tensors and those of [`model::onnx`]. All expensive
//! work, decoding included, happens on a worker. This module does not know releases, offers or features: infinite
//! values and NaN pass through. Start reading at [`InferenceService`], then `input`, then `output`.

mod datatype;
mod error;
mod input;
mod output;

use std::fmt;
use std::sync::Arc;

use tonic::{Request, Response, Status};

pub(super) use self::error::InferenceError;
use self::error::shortened;
use self::output::Wanted;
use super::decision::request_id;
use super::limits::check_request_id;
use super::proto::inference::grpc_inference_service_server::GrpcInferenceService;
use super::proto::inference::model_metadata_response::TensorMetadata;
use super::proto::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse,
};
use super::{call_of, status};
use model::onnx::{Outputs, ValueKind};
use model::{ModelError, Repository, RepositoryError, ServedModel};
use telemetry::Metrics;
use work::{Call, Needs, Rejection, Worker, Workers};

/// Triton's name for a model that ONNX Runtime runs.
const PLATFORM: &str = "onnxruntime_onnx";

/// The longest name, version and request id, in bytes.
const LONGEST_NAME: usize = 256;

/// The service: a repository to look models up in, and workers to run them on.
#[derive(Clone)]
pub struct InferenceService {
    repository: Arc<Repository>,
    workers: Workers,
    metrics: Arc<Metrics>,
    message_limit: usize,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl InferenceService {
    /// A service over `repository`, whose models have a session for each of `workers`.
    ///
    /// `message_limit` is the largest message in bytes, in and out; `ready` says whether the server accepts requests.
    pub fn new(
        repository: Arc<Repository>,
        workers: Workers,
        metrics: Arc<Metrics>,
        message_limit: usize,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { repository, workers, metrics, message_limit, ready: Arc::new(ready) }
    }

    fn find(&self, names: &Names) -> Result<ServedModel, InferenceError> {
        Ok(self.repository.find(&names.model, names.version)?)
    }

    fn describe(&self, name: String, version: &str) -> Result<ModelMetadataResponse, InferenceError> {
        let served = self.find(&Names::of(&name, version, ["name", "version"])?)?;
        let signature = served.model.onnx().signature();
        let inputs = signature.inputs.iter().filter_map(|spec| match spec.kind {
            ValueKind::Tensor(element) => Some(metadata(&spec.name, datatype::name(element), &spec.shape)),
            // A model with any other input is never loaded.
            ValueKind::ZipMap { .. } | ValueKind::Unsupported(_) => None,
        });
        let outputs = signature.outputs.iter().filter_map(|spec| {
            let (element, shape) = datatype::of_output(spec)?;
            Some(metadata(&spec.name, datatype::name(element), &shape))
        });
        Ok(ModelMetadataResponse {
            name,
            versions: vec![served.version.to_string()],
            platform: PLATFORM.to_owned(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        })
    }

    async fn infer(&self, request: Request<ModelInferRequest>) -> Result<ModelInferResponse, InferenceError> {
        let call = call_of(&request);
        let request = request.into_inner();
        let fields = ["model_name", "model_version"];
        let names = Names::of(&request.model_name, &request.model_version, fields)?;
        check_parameters(&request)?;
        let served = self.find(&names)?;
        self.metrics.inference_requests(&request.model_name).inc();
        let limit = self.message_limit;
        let owed = call.clone();
        let work = move |worker: &Worker| run(worker, &owed, &served, &request, limit);
        self.workers.run(&call, Needs::session(), work).await?
    }
}

impl fmt::Debug for InferenceService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferenceService").field("repository", &self.repository).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    async fn server_live(
        &self,
        _request: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _request: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: (self.ready)() }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let names = Names::of(&name, &version, ["name", "version"])
            .map_err(|error| status::from_inference(&error, &request_id("")))?;
        Ok(Response::new(ModelReadyResponse { ready: self.find(&names).is_ok() }))
    }

    async fn server_metadata(
        &self,
        _request: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: Vec::new(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let described = self.describe(name, &version);
        described.map(Response::new).map_err(|error| status::from_inference(&error, &request_id("")))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        let given = &request.get_ref().id;
        check_request_id("id", given)?;
        let id = request_id(given.as_str());
        self.infer(request).await.map(Response::new).map_err(|error| status::from_inference(&error, &id))
    }
}

/// Model and version as a request names them.
struct Names {
    model: String,
    version: Option<u64>,
}

impl Names {
    /// `fields` are the names of the two fields.
    fn of(model: &str, version: &str, fields: [&str; 2]) -> Result<Self, InferenceError> {
        check_length(model, fields[0])?;
        check_length(version, fields[1])?;
        let version = match version {
            "" => None,
            version => Some(version.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
                let message =
                    format!("`{version}` is not a positive integer; leave it empty for the default");
                InferenceError::invalid(fields[1], message)
            })?),
        };
        Ok(Self { model: model.to_owned(), version })
    }
}

fn metadata(name: &str, datatype: &str, shape: &[i64]) -> TensorMetadata {
    TensorMetadata { name: name.to_owned(), datatype: datatype.to_owned(), shape: shape.to_vec() }
}

fn check_length(text: &str, field: &str) -> Result<(), InferenceError> {
    if text.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(InferenceError::invalid(field, format!("{} bytes; at most {LONGEST_NAME} are allowed", text.len())))
}

/// Rejects errors that do not depend on the model.
fn check_parameters(request: &ModelInferRequest) -> Result<(), InferenceError> {
    match request.parameters.keys().find(|key| key.starts_with("sequence_")) {
        Some(key) => {
            let message = format!("{} is not supported; requests are independent", shortened(key));
            Err(InferenceError::invalid("parameters", message))
        }
        None => Ok(()),
    }
}

/// One inference, on a worker.
fn run(
    worker: &Worker,
    call: &Call,
    served: &ServedModel,
    request: &ModelInferRequest,
    limit: usize,
) -> Result<ModelInferResponse, InferenceError> {
    let signature = served.model.onnx().signature();
    let inputs = input::decode(request, signature, limit)?;
    let wanted = Wanted::of(request, signature)?;
    call.check().map_err(Rejection::from)?;
    let values = served.model.onnx().run(worker, &inputs, Outputs::Only(&wanted.outputs));
    let values = values.map_err(|error| run_error(error, &request.model_name, served.version))?;
    Ok(ModelInferResponse {
        model_name: request.model_name.clone(),
        model_version: served.version.to_string(),
        id: request.id.clone(),
        ..output::encode(values, wanted.form, limit)?
    })
}

/// Everything that could be checked before the run is right. An error of the run comes from the graph's own demands on
/// shapes and values.
fn run_error(error: ModelError, name: &str, version: u64) -> InferenceError {
    if matches!(error, ModelError::Input { .. } | ModelError::Run(_)) {
        return InferenceError::invalid("inputs", shortened(&error.to_string()));
    }
    if let ModelError::Cancelled(stop) = error {
        return Rejection::from(stop).into();
    }
    if matches!(error, ModelError::OutOfService(_)) {
        let (name, reason) = (name.to_owned(), error.to_string());
        return RepositoryError::NotInService { name, version, reason }.into();
    }
    InferenceError::Model(error)
}
