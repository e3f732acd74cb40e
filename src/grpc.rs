//! The protocols over gRPC: convert in, call one function of the domain, convert out.
//!
//! `tonic` and the generated messages are used here and nowhere else. Every call passes [`admission`] first; every
//! error becomes a status in [`status`]. Start reading at [`Grpc::serve`].

mod admission;
mod analysis;
mod arrival;
mod budget;
pub mod client;
mod codec;
mod config;
mod connection;
mod decision;
pub mod dense;
mod exchange;
mod experiment;
mod feedback;
mod footprint;
mod guarded;
mod head;
mod http2;
mod inference;
mod limits;
mod management;
mod messages;
mod model;
mod offload;
mod peers;
mod permits;
pub mod proto;
mod record;
mod records;
mod release;
mod rpc;
mod shadow;
mod status;
mod threads;
mod time;
mod traced;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer;

pub use analysis::{AnalysisReports, MetricsAsk};
pub use config::GrpcConfig;
pub use decision::DecisionService;
pub use inference::InferenceService;
pub use limits::Limits;
pub use peers::most_connections;
pub(crate) use record::unreadable;
pub use records::Unreadable;
pub use shadow::{FoundShadow, ShadowReports, ShadowStanding};

use ::decision::Decider;
use ::model::Repository;
use ::release::{Deployer, Ramps, Registry};
use admission::{AdmissionLayer, Writers};
use analysis::AnalysisService;
use budget::Budget;
use decision::call_of;
use event::EventReader;
use experiment::ExperimentService;
use feedback::FeedbackService;
use history::feedback::Feedback;
use http2::{Services, Settings};
use model::ModelService;
use offload::OffloadLayer;
use peers::Peers;
use proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use proto::proffer::v1::decision_service_server::DecisionServiceServer;
use proto::proffer::v1::experiment_service_server::ExperimentServiceServer;
use proto::proffer::v1::feedback_service_server::FeedbackServiceServer;
use proto::proffer::v1::model_service_server::ModelServiceServer;
use proto::proffer::v1::record_service_server::RecordServiceServer;
use proto::proffer::v1::release_service_server::ReleaseServiceServer;
use record::RecordService;
use release::ReleaseService;
use replay::Privacy;
use telemetry::{Metrics, Readiness};
use work::Workers;

/// Everything that the services need.
pub struct Grpc {
    /// Answers `DecisionService`.
    pub decider: Decider,
    /// Answers the Open Inference Protocol.
    pub repository: Arc<Repository>,
    /// Runs inferences and repository calls.
    pub workers: Workers,
    /// Answers `ModelService`, and `ReleaseService` for what the store holds.
    pub registry: Registry,
    /// Answers `ReleaseService` for what is served.
    pub deployer: Deployer,
    /// Answers `ExperimentService`.
    pub ramps: Ramps,
    /// Answers `ExperimentService` for shadows.
    pub shadows: Arc<dyn ShadowReports>,
    /// Answers `AnalysisService`; `None` if decisions are not recorded.
    pub reports: Option<Arc<dyn AnalysisReports>>,
    /// The state that health checks report.
    pub readiness: Readiness,
    /// Where calls and connections are counted.
    pub metrics: Arc<Metrics>,
    /// Answers `RecordService`; `None` if decisions are not recorded.
    pub records: Option<(EventReader, Privacy)>,
    /// Answers `FeedbackService`; `None` if decisions are not recorded.
    pub feedback: Option<Feedback>,
    /// How the protocols are served.
    pub config: GrpcConfig,
    /// How long a shutdown waits for calls in flight.
    pub drain: Duration,
}

impl Grpc {
    /// Serves on `listener` until `shutdown` resolves, then finishes the calls in flight. Threads of its own serve
    /// short calls; the calling runtime serves long ones.
    ///
    /// # Errors
    /// When a thread cannot be started or the limit on descriptors cannot be read.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let limits = Arc::new(self.config.limits);
        let most = limits.message_bytes;
        let outcomes = FeedbackService::new(self.decider.clone(), self.feedback);
        let outcomes = FeedbackServiceServer::new(outcomes)
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let decisions =
            DecisionService::new(self.decider, Arc::clone(&limits)).with_registry(self.registry.clone());
        let decisions = DecisionServiceServer::new(decisions)
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
        let models = ModelServiceServer::new(ModelService::new(self.registry.clone(), limits.time))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let records = RecordService::new(self.records, self.deployer.clone());
        let records = RecordServiceServer::new(records)
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let releases = ReleaseServiceServer::new(ReleaseService::new(self.registry, self.deployer))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let experiments = ExperimentServiceServer::new(ExperimentService::new(self.ramps, self.shadows))
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let analyses = AnalysisService::new(self.reports).served(most);
        let (reporter, health) = tonic_health::server::health_reporter();
        let following = tokio::spawn(follow_readiness(reporter, self.readiness.clone()));
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let writers = if self.config.allow_remote_admin { Writers::Everyone } else { Writers::Local };
        let most = self
            .config
            .callers
            .connections
            .unwrap_or_else(|| descriptors_allow(self.config.connection_threads));
        let peers =
            Peers::new(&self.config.callers, most, limits.concurrent_calls, Arc::clone(&self.metrics));
        let (callers, readiness) = (&self.config.callers, self.readiness);
        let admission = AdmissionLayer::new(&peers, callers, &limits, writers, readiness, &self.metrics);
        let offload = OffloadLayer(Handle::current());
        let memory = Arc::new(Budget::new(limits.memory()));
        let held = Arc::clone(&memory);
        self.metrics.sample(move |metrics| _ = metrics.queue.held.set(held.held() as i64));
        let settings = Settings {
            streams: limits.streams,
            connection_bytes: limits.connection_memory(),
            memory,
            write_time: limits.write_time,
            drain: self.drain,
        };
        let services = || {
            let routes = Routes::new(decisions.clone())
                .add_service(outcomes.clone())
                .add_service(inference.clone())
                .add_service(models.clone())
                .add_service(releases.clone())
                .add_service(experiments.clone())
                .add_service(analyses.clone())
                .add_service(records.clone())
                .add_service(health.clone())
                .add_service(reflection().build_v1()?)
                .add_service(reflection().build_v1alpha()?);
            let layers = admission.layer(offload.layer(routes.prepare()));
            Ok(Services { layers, settings: settings.clone() })
        };
        let served =
            threads::serve(listener, self.config.connection_threads, peers, services, shutdown).await;
        following.abort();
        served
    }
}

/// How many connections this process's limit on open files allows.
fn descriptors_allow(threads: usize) -> usize {
    most_connections(rustix::process::getrlimit(rustix::process::Resource::Nofile).current, threads)
}

/// Copies readiness to the health service, overall and per service.
async fn follow_readiness(reporter: HealthReporter, readiness: Readiness) {
    // The server as a whole comes last: a watcher of it finds every service already updated.
    let services = [
        "proffer.v1.DecisionService",
        "proffer.v1.FeedbackService",
        "proffer.v1.ModelService",
        "proffer.v1.ReleaseService",
        "proffer.v1.ExperimentService",
        "proffer.v1.AnalysisService",
        "proffer.v1.RecordService",
        "inference.GRPCInferenceService",
        "",
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
