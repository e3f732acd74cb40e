//! A bank with a few offers, whose limits a test chooses; its server, and callers of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tonic::transport::Channel;

use crate::binary::{Process, command, init};
use crate::harness::{admin_get, wire};
use crate::outcomes::workspace;
use crate::records_faults::clock::Clock;
use wire::decision_service_client::DecisionServiceClient;
use wire::feedback_service_client::FeedbackServiceClient;
use wire::outcome_verdict::Verdict;

/// Two placements: the app shows one offer; letters show one, too, and fall back to help.
const PLACES: &str = r#"
[[category]]
id = "cards"

[[category]]
id = "help"

[[placement]]
id = "home"
channels = ["app", "web"]
count = 1
model = "m"

[[placement]]
id = "letter"
channels = ["email"]
count = 1
model = "m"
fallback = "help"
"#;

/// What letters fall back to.
const HELP: &str = r#"
[[offer]]
id = "help"
name = "Help"
class = "service"
category = "help"
placements = []
value = 1.0
"#;

/// An offer, with further keys.
pub(crate) fn offer(id: &str, more: &str) -> String {
    format!(
        "[[offer]]\nid = \"{id}\"\nname = \"{id}\"\ncategory = \"cards\"\nplacements = [\"home\", \"letter\"]\n\
         value = 9.0\n{more}\n"
    )
}

/// A store of the bank, and the data directories of its servers.
pub(crate) struct Bank {
    directory: tempfile::TempDir,
    clock: Option<Clock>,
}

impl Bank {
    /// A store with these offers; `limits` is the end of the policy.
    pub(crate) fn new(offers: &str, limits: &str) -> Self {
        let bank = Self { directory: tempfile::tempdir().unwrap(), clock: None };
        let workspace = bank.workspace("workspace", offers, limits);
        let made = init(&bank.store(), &workspace);
        assert_eq!(made.code, Some(0), "{made:?}");
        bank
    }

    /// The same with a clock that can be set, or `None` and a message.
    pub(crate) fn with_clock(self) -> Option<Self> {
        let clock = Some(Clock::new(self.directory.path())?);
        Some(Self { clock, ..self })
    }

    /// Sets the clock of the servers ahead of that of this machine.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.clock.as_ref().unwrap().set(ahead);
    }

    /// Writes a workspace of the bank.
    pub(crate) fn workspace(&self, name: &str, offers: &str, limits: &str) -> PathBuf {
        let directory = self.path(name);
        workspace::write(&directory, &format!("{offers}{HELP}"), &format!("{limits}{PLACES}"));
        directory
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The checkpoint of the server with the usual data directory.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.path("data/history.checkpoint")
    }

    /// A server whose answers wait until they are recorded, unless the settings say otherwise.
    pub(crate) async fn serve(&self, settings: &[(&str, &str)]) -> Live {
        self.serve_in("data", settings).await
    }

    /// A server with a data directory of this name.
    pub(crate) async fn serve_in(&self, data: &str, settings: &[(&str, &str)]) -> Live {
        let mut serve = command();
        serve.env("PROFFER_DATA_DIRECTORY", self.path(data)).env("PROFFER_RECORDS_SYNC", "always");
        serve.env("PROFFER_SERVER_POLL", "50ms").envs(settings.iter().copied());
        if let Some(clock) = &self.clock {
            clock.apply(&mut serve);
        }
        let process = Process::start(serve, &self.store());
        let channel = Channel::from_shared(format!("http://{}", process.address)).unwrap();
        let channel = channel.connect().await.unwrap();
        Live {
            process,
            decisions: DecisionServiceClient::new(channel.clone()),
            feedback: FeedbackServiceClient::new(channel.clone()),
            channel,
            ahead: 0,
        }
    }
}

/// A call for customers at a placement, over its first channel, which explains all that is withheld.
pub(crate) fn ask(placement: &str, customers: &[&str]) -> wire::RankRequest {
    let customer = |id: &&str| wire::Customer { customer_id: (*id).to_owned(), consents: Vec::new() };
    wire::RankRequest {
        placement: placement.to_owned(),
        customers: customers.iter().map(customer).collect(),
        explain: wire::Explain::All.into(),
        ..wire::RankRequest::default()
    }
}

/// What is shown: the ids of the offers.
pub(crate) fn shown(result: &wire::RankResult) -> Vec<&str> {
    result.offers.iter().map(|offer| offer.offer_id.as_str()).collect()
}

/// Why an offer is withheld: the code of the reason, and the detail.
#[track_caller]
pub(crate) fn withheld<'r>(result: &'r wire::RankResult, offer: &str) -> (&'r str, &'r str) {
    let found = result.rejected.iter().find(|one| one.offer_id == offer);
    let found = found.unwrap_or_else(|| panic!("{offer} is not withheld: {result:?}"));
    (&found.reason, &found.detail)
}

/// A server with a connection to it.
pub(crate) struct Live {
    pub process: Process,
    pub channel: Channel,
    decisions: DecisionServiceClient<Channel>,
    feedback: FeedbackServiceClient<Channel>,
    /// The clock of the server, in seconds before that of this machine.
    pub ahead: i64,
}

impl Live {
    /// Decides for the customers of a call.
    pub(crate) async fn rank(&mut self, request: wire::RankRequest) -> Vec<wire::RankResult> {
        let results = self.decisions.rank(request).await.unwrap().into_inner().results;
        assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
        results
    }

    /// Decides for one customer.
    pub(crate) async fn one(&mut self, placement: &str, customer: &str) -> wire::RankResult {
        self.rank(ask(placement, &[customer])).await.remove(0)
    }

    /// What is shown to one customer.
    pub(crate) async fn shows(&mut self, placement: &str, customer: &str) -> Vec<String> {
        shown(&self.one(placement, customer).await).into_iter().map(str::to_owned).collect()
    }

    /// What would be shown to one customer, by a dry run.
    pub(crate) async fn would_show(&mut self, placement: &str, customer: &str) -> Vec<String> {
        let request = wire::RankRequest { dry_run: true, ..ask(placement, &[customer]) };
        shown(&self.rank(request).await[0]).into_iter().map(str::to_owned).collect()
    }

    /// Reports what came of the first offer of a decision.
    pub(crate) async fn report(&mut self, result: &wire::RankResult, kind: &str) -> wire::OutcomeVerdict {
        let outcome = wire::Outcome {
            event_id: format!("{}/{kind}", result.decision_id),
            decision_id: result.decision_id.clone(),
            offer_id: result.offers[0].offer_id.clone(),
            ..self.outcome(kind)
        };
        self.accepts(outcome).await
    }

    /// Reports what a customer did without a decision.
    pub(crate) async fn report_of(
        &mut self,
        event: &str,
        customer: &str,
        offer: &str,
        kind: &str,
    ) -> wire::OutcomeVerdict {
        let outcome = wire::Outcome {
            event_id: event.to_owned(),
            customer_id: customer.to_owned(),
            offer_id: offer.to_owned(),
            ..self.outcome(kind)
        };
        self.accepts(outcome).await
    }

    async fn accepts(&mut self, outcome: wire::Outcome) -> wire::OutcomeVerdict {
        let request = wire::RecordOutcomesRequest { outcomes: vec![outcome] };
        let told = self.feedback.record_outcomes(request).await.unwrap().into_inner().verdicts.remove(0);
        assert_eq!(told.verdict(), Verdict::Accepted, "{told:?}");
        told
    }

    /// An outcome of now, by the clock of the server.
    fn outcome(&self, kind: &str) -> wire::Outcome {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let occurred_at = prost_types::Timestamp { seconds: now + self.ahead, nanos: 0 };
        wire::Outcome {
            r#type: kind.to_owned(),
            occurred_at: Some(occurred_at),
            ..wire::Outcome::default()
        }
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> String {
        admin_get(self.process.admin, "/metrics").unwrap()
    }

    /// Checks that metrics have these lines.
    #[track_caller]
    pub(crate) fn counts(&self, lines: &[&str]) {
        let text = self.metrics();
        for line in lines {
            assert!(text.lines().any(|one| one == *line), "{line} is not in {text}");
        }
    }

    /// Ends it in order; its log.
    pub(crate) fn end(self) -> Vec<String> {
        let (status, log) = self.process.terminate_with_log();
        assert!(status.success(), "{log:#?}");
        log
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        self.process.signal("KILL");
        self.process.ended();
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_mins(2), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "timed out waiting until {what}");
}

/// Whether a file has these bytes.
pub(crate) fn has(file: &Path, text: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
