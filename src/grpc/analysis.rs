//! `proffer.v1.AnalysisService`: convert in, make one report, convert out.

mod write;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use super::experiment::check_experiment;
use super::limits::check_id;
use super::management::{blocking, take_on};
use super::proto::proffer::v1 as wire;
use super::status::{exhausted, invalid};
use super::time;
use analysis::By;
use analysis::report::{ExperimentReport, MetricsReport};
use release::RegistryError;
use wire::analysis_service_server::AnalysisServiceServer;

/// Reports that are made at once: each may take much memory.
const AT_ONCE: usize = 1;

/// The most metrics of one report.
const MOST_METRICS: usize = 64;

/// Makes reports on what is recorded.
pub trait AnalysisReports: Send + Sync + fmt::Debug {
    /// What a phase of an experiment has come to; without one, that of the current release.
    ///
    /// # Errors
    /// When there is no such experiment or phase, it is judged by nothing, or something cannot be read.
    fn experiment(&self, id: &str, phase: Option<u64>) -> Result<ExperimentReport, RegistryError>;

    /// Metrics of what was decided.
    ///
    /// # Errors
    /// When there is no such metric, or something cannot be read.
    fn metrics(&self, ask: &MetricsAsk) -> Result<MetricsReport, RegistryError>;
}

/// Which metrics of what was decided are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsAsk {
    /// Of this placement; empty: of all.
    pub placement: String,
    /// What a row is.
    pub by: By,
    /// Of decisions at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Of decisions before this time.
    pub to: Option<DateTime<Utc>>,
    /// The ids of the metrics; empty: all that are built in.
    pub metrics: Vec<String>,
}

/// The service, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct AnalysisService {
    /// `None` if this server does not record.
    reports: Option<Arc<dyn AnalysisReports>>,
    running: Arc<Semaphore>,
}

impl AnalysisService {
    /// A service over what makes reports.
    pub(super) fn new(reports: Option<Arc<dyn AnalysisReports>>) -> Self {
        Self { reports, running: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The service as it is served, with messages of at most `most` bytes.
    pub(super) fn served(self, most: usize) -> AnalysisServiceServer<Self> {
        AnalysisServiceServer::new(self)
            .max_decoding_message_size(most)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    }

    /// Makes a report. It counts as one that is made until it is, also when its caller has gone.
    async fn make<T, R, F>(&self, request: &Request<T>, work: F) -> Result<R, Status>
    where
        R: Send + 'static,
        F: FnOnce(&dyn AnalysisReports) -> Result<R, RegistryError> + Send + 'static,
    {
        let admitted = take_on(request);
        let reports = self.reports.clone().ok_or_else(|| {
            Status::failed_precondition("this server does not record decisions (`records.record`)")
        })?;
        let turn = Arc::clone(&self.running).try_acquire_owned();
        let turn = turn.map_err(|_| exhausted("another report is being made; try again later"))?;
        blocking(admitted, move |call| {
            let _turn = turn;
            call.check()?;
            work(&*reports)
        })
        .await
    }
}

#[tonic::async_trait]
impl wire::analysis_service_server::AnalysisService for AnalysisService {
    async fn get_experiment_report(
        &self,
        request: Request<wire::GetExperimentReportRequest>,
    ) -> Result<Response<wire::GetExperimentReportResponse>, Status> {
        let wire::GetExperimentReportRequest { experiment, phase } = request.get_ref();
        check_experiment(experiment)?;
        let (id, phase) = (experiment.clone(), read_phase(phase)?);
        let report = self.make(&request, move |reports| reports.experiment(&id, phase)).await?;
        Ok(Response::new(wire::GetExperimentReportResponse { report: Some(report.into()) }))
    }

    async fn get_metrics(
        &self,
        request: Request<wire::GetMetricsRequest>,
    ) -> Result<Response<wire::GetMetricsResponse>, Status> {
        let ask = read_ask(request.get_ref())?;
        let report = self.make(&request, move |reports| reports.metrics(&ask)).await?;
        Ok(Response::new(wire::GetMetricsResponse { report: Some(report.into()) }))
    }
}

/// Reads a phase as reports have it; empty: none.
fn read_phase(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits =
        Some(text).filter(|text| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let phase = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    phase.map(Some).ok_or_else(|| invalid("phase", "must be sixteen hexadecimal digits, as in a report"))
}

fn read_ask(request: &wire::GetMetricsRequest) -> Result<MetricsAsk, Status> {
    let wire::GetMetricsRequest { placement, from, to, metrics, .. } = request;
    check_id("placement", placement)?;
    let by = match wire::MetricsBy::try_from(request.by) {
        Ok(wire::MetricsBy::Offer) => By::Offer,
        Ok(wire::MetricsBy::Segment) => By::Segment,
        Ok(wire::MetricsBy::Day) => By::Day,
        Ok(wire::MetricsBy::Unspecified) | Err(_) => {
            return Err(invalid("by", "must be METRICS_BY_OFFER, METRICS_BY_SEGMENT or METRICS_BY_DAY"));
        }
    };
    let from = from.map(|from| time::read("from", from)).transpose()?;
    let to = to.map(|to| time::read("to", to)).transpose()?;
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(invalid("from", "must be before `to`"));
    }
    if metrics.len() > MOST_METRICS {
        let count = metrics.len();
        return Err(invalid(
            "metrics",
            format_args!("has {count} metrics; at most {MOST_METRICS} are allowed"),
        ));
    }
    for metric in metrics {
        if metric.is_empty() {
            return Err(invalid("metrics", "has an empty id"));
        }
        check_id("metrics", metric)?;
    }
    Ok(MetricsAsk { placement: placement.clone(), by, from, to, metrics: metrics.clone() })
}

#[cfg(test)]
mod tests;
