//! A bank that shows offers to customers who then do something, by the arm that they are in.

use std::time::{Duration, SystemTime};

use tonic::transport::Channel;
use wire::experiment_service_client::ExperimentServiceClient;
use wire::feedback_service_client::FeedbackServiceClient;
use wire::outcome_verdict::Verdict;

use crate::experiments::scene::{Bank, ask, variant};
use crate::harness::{Server, wire};

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// The experiment of all tests here.
pub(super) const EXPERIMENT: &str = "letters";

/// A bank with an experiment at `home` that runs, with these lines and this judgement.
pub(super) fn bank(lines: &str, judged: &str) -> Bank {
    Bank::new(&format!(
        "\n[[experiment]]\nid = \"{EXPERIMENT}\"\nplacements = [\"home\"]\n{lines}\n[experiment.metric]\n{judged}\n\
         [[experiment.variant]]\nid = \"champion\"\nweight = 0.5\n[[experiment.variant]]\nid = \"challenger\"\n\
         weight = 0.5\nstrategy = \"margin\"\n"
    ))
}

/// Settings of a server that evaluates every second. What it answered is recorded.
pub(super) fn settings(data: &str) -> Vec<(&'static str, &str)> {
    vec![("data.directory", data), ("experiments.evaluate", "1s"), ("records.sync", "always")]
}

/// What a customer was shown at `home`.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub customer: String,
    pub decision: String,
    pub offers: Vec<String>,
    /// The variant, unless they take no part.
    pub arm: Option<String>,
}

/// Shows offers to customers of these numbers.
pub(super) async fn show(server: &Server, numbers: std::ops::Range<usize>) -> Vec<Shown> {
    let ids: Vec<String> = numbers.map(|number| format!("C{number:05}")).collect();
    let mut shown = Vec::with_capacity(ids.len());
    for some in ids.chunks(500) {
        let results = crate::experiments::scene::rank(server, ask("home", some)).await;
        shown.extend(results.into_iter().map(|result| Shown {
            arm: variant(&result, EXPERIMENT).map(str::to_owned),
            offers: result.offers.iter().map(|offer| offer.offer_id.clone()).collect(),
            customer: result.customer_id,
            decision: result.decision_id,
        }));
    }
    shown
}

/// Reports an outcome of each of these about the first offer.
pub(super) async fn report(server: &Server, kind: &str, value: f64, of: &[&Shown]) {
    let mut client = FeedbackServiceClient::new(server.channel().await);
    for some in of.chunks(500) {
        let outcome = |shown: &&Shown| wire::Outcome {
            event_id: format!("{kind}-{}", shown.decision),
            r#type: kind.to_owned(),
            decision_id: shown.decision.clone(),
            customer_id: shown.customer.clone(),
            offer_id: shown.offers[0].clone(),
            occurred_at: Some(SystemTime::now().into()),
            value,
            ..wire::Outcome::default()
        };
        let request = wire::RecordOutcomesRequest { outcomes: some.iter().map(outcome).collect() };
        let verdicts = client.record_outcomes(request).await.unwrap().into_inner().verdicts;
        assert!(verdicts.iter().all(|one| one.verdict() == Verdict::Accepted), "{verdicts:?}");
    }
}

/// Those of an arm whose number among its customers is below `share` of ten.
pub(super) fn some_of<'s>(shown: &'s [Shown], arm: &str, share: usize) -> Vec<&'s Shown> {
    let of_arm = shown.iter().filter(|one| one.arm.as_deref() == Some(arm));
    of_arm.enumerate().filter(|(number, _)| number % 10 < share).map(|(_, one)| one).collect()
}

/// What a server says of the experiment.
pub(super) async fn standing(channel: Channel) -> wire::GetExperimentResponse {
    let request = wire::GetExperimentRequest { experiment: EXPERIMENT.to_owned() };
    ExperimentServiceClient::new(channel).get_experiment(request).await.unwrap().into_inner()
}

/// Waits until what a server says of the experiment is so.
pub(super) async fn until(
    server: &Server,
    is_so: impl Fn(&wire::GetExperimentResponse) -> bool,
) -> wire::GetExperimentResponse {
    let mut found = standing(server.channel().await).await;
    let waited = tokio::time::timeout(LIMIT, async {
        while !is_so(&found) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            found = standing(server.channel().await).await;
        }
    })
    .await;
    assert!(waited.is_ok(), "{found:#?}");
    found
}
