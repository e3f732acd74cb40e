//! Traces to an OpenTelemetry collector over gRPC.
//!
//! A thread exports batches from a bounded queue. Spans that the collector cannot take in time are lost. No request
//! waits for it, and the end of the process waits for a bounded time.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Runtime;

use super::logging::{LoggingError, OtlpConfig};

/// The time limit of one batch, and of the last ones when the process ends.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The exporter and the runtime of its connection.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Exporter {
    pub(super) fn start(config: &OtlpConfig) -> Result<Self, LoggingError> {
        if !(0.0..=1.0).contains(&config.sample_ratio) {
            return Err(LoggingError::SampleRatio { ratio: config.sample_ratio });
        }
        let refused = |reason: String| LoggingError::Otlp { endpoint: config.endpoint.clone(), reason };
        let runtime = runtime().map_err(|error| refused(error.to_string()))?;
        // The channel connects lazily, on the runtime that is entered here.
        let entered = runtime.enter();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| refused(error.to_string()))?;
        drop(entered);
        let resource = Resource::builder().with_service_name(config.service_name.clone()).build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Watched { exporter, failing: AtomicBool::new(false) })
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        Ok(Self { provider, runtime: Some(runtime) })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("proffer")
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::warn!(%error, "the last traces could not be exported");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One thread for the connection, separate from those that serve.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build()
}

/// Logs once when exports begin to fail and once when they succeed again; the exporter itself is silent.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => tracing::warn!(%error, "traces cannot be exported and are lost"),
            Ok(()) if failed_before => tracing::info!("traces are exported again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
