//! The protocols over gRPC: convert in, call one function of the domain, convert out.
//!
//! `tonic` and the generated messages live here and nowhere else. Every call passes [`admission`] first; every error becomes a
//! status in [`status`]. Start reading at [`Grpc::serve`].

mod admission;
mod aside;
pub mod client;
mod codec;
mod connection;
mod decision;
pub mod dense;
mod footprint;
mod inference;
mod limits;
mod management;
mod model;
pub mod proto;
mod records;
mod release;
mod status;
mod threads;
mod traced;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub use decision::DecisionService;
pub use inference::InferenceService;
pub use limits::Limits;
pub use records::Unreadable;

use crate::decision::Decider;
use crate::model::{Repository, Workers};
use crate::release::{Deployer, Registry};
use crate::telemetry::{Metrics, Readiness};
use admission::AdmissionLayer;
use aside::AsideLayer;
use decision::call_of;
use management::Writers;
use model::ModelService;
use proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use proto::proffer::v1::decision_service_server::DecisionServiceServer;
use proto::proffer::v1::model_service_server::ModelServiceServer;
use proto::proffer::v1::release_service_server::ReleaseServiceServer;
use release::ReleaseService;

/// Everything that the services need.
pub struct Grpc {
    /// Answers `DecisionService`.
    pub decider: Decider,
    /// Answers the Open Inference Protocol.
    pub repository: Arc<Repository>,
    /// Runs what the protocols ask for.
    pub workers: Workers,
    /// Answers `ModelService`, and `ReleaseService` for what the store holds.
    pub registry: Registry,
    /// Answers `ReleaseService` for what is served.
    pub deployer: Deployer,
    /// Whether peers that are not on loopback may change anything.
    pub allow_remote_admin: bool,
    /// How many threads serve connections.
    pub connection_threads: usize,
    /// What health says.
    pub readiness: Readiness,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is refused.
    pub limits: Limits,
}

/// A connection that says nothing is asked for a sign of life after this long, and closed when none comes.
const KEEPALIVE: Duration = Duration::from_mins(1);

impl Grpc {
    /// Serves on `listener` until `shutdown` resolves, then finishes the calls that are under way. Short calls are served by
    /// threads of this function's own, long ones by the runtime in which it is called.
    ///
    /// # Errors
    /// When a thread cannot be started or the descriptors cannot be read.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let limits = Arc::new(self.limits);
        let most = limits.message_bytes;
        let decisions = DecisionServiceServer::new(DecisionService::new(self.decider, Arc::clone(&limits)))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let inference = GrpcInferenceServiceServer::new(InferenceService::new(
            self.repository,
            self.workers,
            Arc::clone(&self.metrics),
            most,
            {
                let readiness = self.readiness.clone();
                move || readiness.state().release().is_some()
            },
        ))
        .max_decoding_message_size(most)
        .max_encoding_message_size(most)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
        let writers = if self.allow_remote_admin { Writers::Everyone } else { Writers::Local };
        let models = ModelServiceServer::new(ModelService::new(self.registry.clone(), writers, limits.time))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let releases = ReleaseServiceServer::new(ReleaseService::new(self.registry, self.deployer, writers))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let (reporter, health) = tonic_health::server::health_reporter();
        let following = tokio::spawn(follow_readiness(reporter, self.readiness.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let admission =
            AdmissionLayer::new(limits.concurrent_calls, limits.time, self.readiness, &self.metrics);
        let aside = AsideLayer(Handle::current());
        let services = || {
            let services = Server::builder()
                .http2_keepalive_interval(Some(KEEPALIVE))
                .http2_adaptive_window(Some(true))
                .layer(admission.clone())
                .layer(aside.clone())
                .add_service(decisions.clone())
                .add_service(inference.clone())
                .add_service(models.clone())
                .add_service(releases.clone())
                .add_service(health.clone())
                .add_service(reflection().build_v1()?)
                .add_service(reflection().build_v1alpha()?);
            Ok(services)
        };
        let served = threads::serve(listener, self.connection_threads, services, shutdown).await;
        following.abort();
        served
    }
}

/// Health tells what readiness tells, overall and per service.
async fn follow_readiness(reporter: HealthReporter, readiness: Readiness) {
    let services = [
        "",
        "proffer.v1.DecisionService",
        "proffer.v1.ModelService",
        "proffer.v1.ReleaseService",
        "inference.GRPCInferenceService",
    ];
    let mut changes = readiness.subscribe();
    loop {
        let status = if changes.borrow_and_update().release().is_some() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in services {
            reporter.set_service_status(service, status).await;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
