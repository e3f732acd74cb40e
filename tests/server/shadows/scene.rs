//! Calls to a bank with shadows, and what the server says of them.

use std::fs;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use event::Query;
use event::proto::ShadowRecord;
use futures_util::{StreamExt, stream};
use tonic::Status;
use wire::experiment_service_client::ExperimentServiceClient;

use crate::experiments::scene::{Bank, ask};
use crate::harness::{Server, admin_get, dense, recorded_events, wire};
use crate::records_faults::Scene;

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// A shadow called `s` that samples every decision.
pub(super) fn shadow(changes: &str) -> String {
    format!("\n[[shadow]]\nid = \"s\"\nsample = 1.0\n{changes}\n")
}

/// A bank with this end of its policy, whose second version is another graph with these inputs. The schema says that no
/// balance is over 9,000, so no gate has met what the graph does beyond.
pub(super) fn bank_with(policy: &str, graph: &str, inputs: &str) -> Bank {
    let bank = Bank::new(policy).with("features.toml", "range = [0.0, 20000.0]", "range = [0.0, 9000.0]");
    let version = bank.path().join("m/2");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    fs::copy(fixtures.join(format!("{graph}.onnx")), version.join("model.onnx")).unwrap();
    let manifest = format!("kind = 'propensity'\nlayout = 'pairwise'\ninputs = [{inputs}]\n");
    fs::write(version.join("model.toml"), manifest).unwrap();
    bank
}

/// The balance of a customer for whom the shadow of [`endless`] never ends.
pub(super) const ENDLESS: f32 = 15_000.0;

/// A bank whose shadow never ends for some customers, and finds another best offer for all others.
pub(super) fn endless() -> Bank {
    bank_with(&shadow("models = { m = 2 }"), "pushed_endless_on_some_rows", "'balance', 'annual_fee'")
}

/// Settings of records under which no log file is sealed before the server is asked to end.
pub(super) const UNSEALED: [(&str, &str); 2] = [("log_file", "64MiB"), ("log_age", "10m")];

/// The comparisons that are recorded in a data directory or sealed in the store, without those of erased persons.
pub(super) fn recorded(scene: &Scene, data: &str) -> Vec<ShadowRecord> {
    let mut found = Vec::new();
    let reader = recorded_events(Path::new(scene.location()), &scene.path(data));
    let scanned = reader.scan_shadows(&Query::default(), &mut |record| {
        found.push(record);
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    found
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
    counted_in(&server.admin_get("/metrics").unwrap(), name, shadow)
}

fn counted_in(page: &str, name: &str, shadow: &str) -> u64 {
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
        Self::at(server.admin, shadow)
    }

    /// Of the server with this admin listener.
    pub(super) fn at(admin: SocketAddr, shadow: &str) -> Self {
        let page = admin_get(admin, "/metrics").unwrap();
        let [compared, failed, shed] =
            ["compared", "failed", "shed"].map(|name| counted_in(&page, name, shadow));
        Self { compared, failed, shed }
    }

    pub(super) fn sum(self) -> u64 {
        self.compared + self.failed + self.shed
    }
}

/// Waits until each of so many decisions that a shadow samples has come to an end; none may be counted twice.
pub(super) async fn settled(server: &Server, shadow: &str, decisions: u64) -> Ends {
    settled_at(server.admin, shadow, decisions).await
}

/// The same, of the server with this admin listener.
pub(super) async fn settled_at(admin: SocketAddr, shadow: &str, decisions: u64) -> Ends {
    let mut ends = Ends::at(admin, shadow);
    let waited = tokio::time::timeout(LIMIT, async {
        while ends.sum() < decisions {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ends = Ends::at(admin, shadow);
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
