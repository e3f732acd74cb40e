use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use tonic::Code;
use wire::analysis_service_server::AnalysisService as _;

use super::*;

fn asked() -> wire::GetMetricsRequest {
    wire::GetMetricsRequest { by: wire::MetricsBy::Day.into(), ..wire::GetMetricsRequest::default() }
}

#[test]
fn a_phase_is_read_as_it_is_written() {
    assert_eq!(read_phase("").unwrap(), None);
    assert_eq!(read_phase("00000000000000ff").unwrap(), Some(255));
    assert_eq!(read_phase("FFFFFFFFFFFFFFFF").unwrap(), Some(u64::MAX));
    for wrong in ["ff", "+0000000000000ff", "00000000000000fg", "00000000000000000"] {
        let refused = read_phase(wrong).unwrap_err();
        assert!(refused.message().starts_with("phase: "), "{wrong}: {refused}");
    }
}

#[test]
fn what_is_asked_for_is_checked_by_field() {
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let ask = read_ask(&wire::GetMetricsRequest {
        placement: "home".to_owned(),
        from: time(10),
        metrics: vec!["conversion".to_owned()],
        ..asked()
    });
    let expected = MetricsAsk {
        placement: "home".to_owned(),
        by: By::Day,
        from: DateTime::from_timestamp(10, 0),
        to: None,
        metrics: vec!["conversion".to_owned()],
    };
    assert_eq!(ask.unwrap(), expected);
    let cases = [
        ("by", wire::GetMetricsRequest::default()),
        ("by", wire::GetMetricsRequest { by: 77, ..asked() }),
        ("placement", wire::GetMetricsRequest { placement: "x".repeat(257), ..asked() }),
        ("from", wire::GetMetricsRequest { from: time(i64::MAX), ..asked() }),
        ("from", wire::GetMetricsRequest { from: time(10), to: time(10), ..asked() }),
        ("to", wire::GetMetricsRequest { to: time(i64::MIN), ..asked() }),
        ("metrics", wire::GetMetricsRequest { metrics: vec![String::new()], ..asked() }),
        ("metrics", wire::GetMetricsRequest { metrics: vec!["m".to_owned(); 65], ..asked() }),
    ];
    for (field, request) in cases {
        let refused = read_ask(&request).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(&format!("{field}: ")), "{field}: {refused}");
    }
}

/// Answers once it is told to.
#[derive(Debug)]
struct Waiting(Mutex<Receiver<()>>);

impl AnalysisReports for Waiting {
    fn experiment(&self, id: &str, _phase: Option<u64>) -> Result<ExperimentReport, RegistryError> {
        self.0.lock().unwrap().recv().unwrap();
        Err(RegistryError::NotFound(format!("no experiment `{id}`")))
    }

    fn metrics(&self, _ask: &MetricsAsk) -> Result<MetricsReport, RegistryError> {
        Err(RegistryError::NotFound("no metric".to_owned()))
    }
}

#[tokio::test]
async fn one_report_is_made_at_a_time_and_none_without_records() {
    let metrics = |service: AnalysisService| async move {
        service.get_metrics(Request::new(asked())).await.unwrap_err().code()
    };
    assert_eq!(metrics(AnalysisService::new(None)).await, Code::FailedPrecondition);
    let (go, wait) = channel();
    let service = AnalysisService::new(Some(Arc::new(Waiting(Mutex::new(wait)))));
    let experiment = "margins".to_owned();
    let request = wire::GetExperimentReportRequest { experiment, phase: String::new() };
    let busy = service.clone();
    let first = tokio::spawn(async move { busy.get_experiment_report(Request::new(request)).await });
    while service.running.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics(service.clone()).await, Code::ResourceExhausted);
    go.send(()).unwrap();
    let refused = first.await.unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "no experiment `margins`"));
    assert_eq!(metrics(service).await, Code::NotFound);
}
