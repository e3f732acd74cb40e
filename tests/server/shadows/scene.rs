//! Calls to a bank with shadows, and what the server says of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tonic::Status;
use wire::experiment_service_client::ExperimentServiceClient;

use crate::experiments::scene::ask;
use crate::harness::{Server, dense, wire};

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// A shadow called `s` that samples every decision.
pub(super) fn shadow(changes: &str) -> String {
    format!("\n[[shadow]]\nid = \"s\"\nsample = 1.0\n{changes}\n")
}

/// The balance of a customer, without a pattern.
pub(super) fn balance(number: usize) -> f32 {
    (number * 7_919 % 10_000) as f32
}

/// A call for one customer with this balance.
pub(super) fn one(placement: &str, number: usize, balance: f32) -> wire::RankRequest {
    let id = format!("C{number:05}");
    let features = Some(dense(&["balance"], 1, &[balance]));
    wire::RankRequest { features, ..ask(placement, &[id]) }
}

/// Makes calls, eight at a time. None may fail. Returns the answers in order.
pub(super) async fn answers(server: &Server, requests: Vec<wire::RankRequest>) -> Vec<wire::RankResponse> {
    let client = server.client().await;
    let call = |request| {
        let mut client = client.clone();
        async move { client.rank(request).await.unwrap().into_inner() }
    };
    let answers: Vec<wire::RankResponse> = stream::iter(requests).map(call).buffered(8).collect().await;
    let wrong = answers.iter().flat_map(|answer| &answer.results).find(|result| result.error.is_some());
    assert!(wrong.is_none(), "{wrong:?}");
    answers
}

/// So many calls at a placement, each for one customer.
pub(super) async fn rank_many(server: &Server, placement: &str, count: usize) -> Vec<wire::RankResponse> {
    answers(server, (0..count).map(|number| one(placement, number, balance(number))).collect()).await
}

pub(super) async fn try_report(
    server: &Server,
    shadow: &str,
    placement: &str,
) -> Result<wire::GetShadowReportResponse, Status> {
    let mut client = ExperimentServiceClient::new(server.channel().await);
    let [shadow, placement] = [shadow, placement].map(str::to_owned);
    let request = wire::GetShadowReportRequest { shadow, placement };
    Ok(client.get_shadow_report(request).await?.into_inner())
}

/// The report on the shadow `s`: the answer, and its statistics.
pub(super) async fn report(server: &Server) -> (wire::GetShadowReportResponse, wire::ShadowReport) {
    let mut answer = try_report(server, "s", "").await.unwrap();
    let report = answer.report.take().unwrap();
    (answer, report)
}

/// A counter of the shadow `s`, or of another.
pub(super) fn counted(server: &Server, name: &str, shadow: &str) -> u64 {
    let page = server.admin_get("/metrics").unwrap();
    let series = format!("proffer_shadow_{name}_total{{shadow=\"{shadow}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

/// What became of the decisions that a shadow sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub compared: u64,
    pub failed: u64,
    pub shed: u64,
}

impl Ends {
    pub(super) fn of(server: &Server, shadow: &str) -> Self {
        let [compared, failed, shed] =
            ["compared", "failed", "shed"].map(|name| counted(server, name, shadow));
        Self { compared, failed, shed }
    }

    pub(super) fn sum(self) -> u64 {
        self.compared + self.failed + self.shed
    }
}

/// Waits until each of so many decisions that a shadow samples has come to an end; none may be counted twice.
pub(super) async fn settled(server: &Server, shadow: &str, decisions: u64) -> Ends {
    let mut ends = Ends::of(server, shadow);
    let waited = tokio::time::timeout(LIMIT, async {
        while ends.sum() < decisions {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ends = Ends::of(server, shadow);
        }
    })
    .await;
    assert!(waited.is_ok(), "{ends:?} of {decisions}");
    assert_eq!(ends.sum(), decisions, "{ends:?}");
    ends
}

/// The ids of the offers shown in an answer for one customer.
pub(super) fn shown(answer: &wire::RankResponse) -> Vec<&str> {
    answer.results[0].offers.iter().map(|offer| offer.offer_id.as_str()).collect()
}
