//! Tiny releases in this process, for tests that publish dozens of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use decision::Decider;
use feature::store::CustomerTable;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use proffer::grpc::{DecisionService, Limits};
use release::{Publisher, Release, ReleaseSource, Review, Snapshot, review};
use telemetry::Metrics;
use tonic::Status;
use work::{Call, Workers};

use super::harness::wire;

/// The files of a release and its customers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub features: String,
    pub offers: String,
    pub policy: String,
    pub customers: String,
}

/// The features that every release must have: the inputs of the model `base`, which scores `m0 + 2 · m1 + 4 · m2`.
pub(crate) const INPUTS: &str = r#"
[[feature]]
name = "m0"
type = "float"
entity = "customer"
default = 0.5
[[feature]]
name = "m1"
type = "float"
entity = "context"
default = 0.0
[[feature]]
name = "m2"
type = "float"
entity = "offer"
default = 0.0
"#;

/// Decides with the release published last.
pub(crate) struct Small {
    directory: tempfile::TempDir,
    cache: GraphCache,
    publisher: Publisher,
    pub metrics: Arc<Metrics>,
    service: DecisionService,
}

impl Small {
    pub(crate) fn new() -> Self {
        Self::of(
            "pair_logit",
            "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['m0', 'm1', 'm2']\n\
             [calibration]\nmethod = 'platt'\na = 1.0\nb = 0.0\n",
        )
    }

    /// With a fixture graph as the model `base`.
    pub(crate) fn of(graph: &str, manifest: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let version = directory.path().join("base/1");
        std::fs::create_dir_all(&version).unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
        std::fs::copy(fixtures.join(format!("{graph}.onnx")), version.join("model.onnx")).unwrap();
        std::fs::write(version.join("model.toml"), manifest).unwrap();
        let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
        let publisher = Publisher::default();
        let (workers, metrics) = (Workers::start(1, 64).unwrap(), Arc::new(Metrics::new()));
        let decider = Decider::new(publisher.pointer(), workers, Arc::clone(&metrics), Arc::default());
        let service = DecisionService::new(decider, Arc::new(Limits::default()));
        Self { directory, cache, publisher, metrics, service }
    }

    /// Loads and publishes a release; returns its review.
    pub(crate) fn publish(&self, texts: &Texts) -> Review {
        let pins = BTreeMap::from([("base".to_owned(), 1)]);
        let source = ReleaseSource {
            number: 1,
            features: &texts.features,
            offers: &texts.offers,
            policy: &texts.policy,
            models_dir: self.directory.path().to_owned(),
            store: None,
            pins: &pins,
        };
        let release =
            Release::load(&source, &self.cache).unwrap_or_else(|error| panic!("{error}\n{texts:?}"));
        let found = review(&release, &source);
        let path = self.directory.path().join("customers.csv");
        std::fs::write(&path, &texts.customers).unwrap();
        let (customers, _) = CustomerTable::load(&path, release.schema()).unwrap();
        let snapshot = Snapshot { release: Arc::new(release), customers: Arc::new(customers) };
        drop(self.publisher.publish(Arc::new(snapshot)));
        found
    }

    pub(crate) async fn rank(&self, request: wire::RankRequest) -> Result<wire::RankResponse, Status> {
        self.service.rank(request, &Call::default()).await
    }

    /// The result of a call for one customer.
    pub(crate) async fn one(&self, request: wire::RankRequest) -> wire::RankResult {
        let mut response = self.rank(request).await.unwrap();
        assert_eq!(response.results.len(), 1);
        response.results.remove(0)
    }
}

/// The ids of the offers shown.
pub(crate) fn shown(result: &wire::RankResult) -> Vec<&str> {
    result.offers.iter().map(|offer| offer.offer_id.as_str()).collect()
}

/// The reason for which an offer was withheld, if it was.
pub(crate) fn reason<'a>(result: &'a wire::RankResult, offer: &str) -> Option<&'a str> {
    result
        .rejected
        .iter()
        .find(|rejected| rejected.offer_id == offer)
        .map(|rejected| rejected.reason.as_str())
}
