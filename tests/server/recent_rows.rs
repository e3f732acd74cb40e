//! The scored pairs that `Rank` keeps as recent rows, and how the distribution gate uses them.

use std::path::Path;
use std::sync::Arc;

use decision::{Customer, Decider, RankRequest};
use feature::store::CustomerTable;
use feature::{Entity, RecentRows};
use model::GraphCache;
use model::onnx::OnnxRuntime;
use model::{Checksums, Manifest};
use release::{
    Candidate, Champion, GateOutcome, GateReport, Publisher, Release, ReleaseSource, Sample, Snapshot,
    Workspace, judge,
};
use telemetry::Metrics;
use work::{Call, Workers};

use super::harness::{Copy, sample_workspace};

/// The sample workspace in this process, ready to decide.
struct Engine {
    snapshot: Arc<Snapshot>,
    decider: Decider,
    recent: Arc<RecentRows>,
}

impl Engine {
    fn new() -> Self {
        let workspace = Workspace::open(sample_workspace()).unwrap();
        let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 2);
        let release = Arc::new(Release::load(&ReleaseSource::of_workspace(&workspace), &cache).unwrap());
        let customers = workspace.customers.as_deref().unwrap();
        let (customers, _) = CustomerTable::load(customers, release.schema()).unwrap();
        let publisher = Publisher::default();
        assert!(publisher.publish(Arc::new(Snapshot { release, customers: Arc::new(customers) })).is_none());
        let recent = Arc::new(RecentRows::default());
        let workers = Workers::start(2, 64).unwrap();
        let metrics = Arc::new(Metrics::new());
        let decider = Decider::new(publisher.pointer(), workers, metrics, Arc::clone(&recent));
        Self { snapshot: decider.snapshot().unwrap(), decider, recent }
    }

    async fn rank(&self, request: RankRequest) {
        self.decider.rank(request, &Call::default()).await.unwrap();
    }
}

fn request(placement: &str, customers: std::ops::RangeInclusive<usize>) -> RankRequest {
    let customer = |number| Customer { id: format!("C{number:06}"), consents: Vec::new() };
    RankRequest {
        placement: placement.to_owned(),
        customers: customers.map(customer).collect(),
        ..RankRequest::default()
    }
}

#[tokio::test]
async fn a_call_records_one_of_its_scored_pairs() {
    let engine = Engine::new();
    engine.rank(request("app_home", 7..=7)).await;
    let rows = engine.recent.snapshot();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let (release, customers) = (&engine.snapshot.release, &engine.snapshot.customers);
    let reread = row.under(release.schema());
    let stored = customers.find("C000007").unwrap();
    for (index, feature) in release.schema().of(Entity::Customer).iter().enumerate() {
        let known = customers.value(stored, index).or(feature.default_ref());
        assert_eq!(reread.row().customer[index], known, "{}", feature.name);
    }
    let library = &release.catalog().library;
    let offer = library.get(library.find(row.offer_id()).unwrap());
    for (found, expected) in reread.row().offer.iter().zip(&offer.features) {
        assert_eq!(*found, expected.into());
    }
    assert!(reread.row().segment.is_some());
}

#[tokio::test]
async fn a_dry_run_records_nothing_and_a_large_call_one_pair() {
    let engine = Engine::new();
    engine.rank(RankRequest { dry_run: true, ..request("app_home", 1..=40) }).await;
    assert_eq!(engine.recent.snapshot().len(), 0);
    engine.rank(request("app_home", 1..=1000)).await;
    assert_eq!(engine.recent.snapshot().len(), 1);
}

/// Judges a version of `propensity` against the sample's, on the recent rows of `engine`.
fn distribution(engine: &Engine, directory: &Path) -> GateReport {
    let schema = engine.snapshot.release.schema();
    let champion = sample_workspace().join("propensity/1");
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    let reports = judge(&Candidate {
        directory,
        name: "propensity",
        version: 2,
        schema,
        segments: None,
        champion: Some(Champion { directory: &champion, version: 1, schema }),
        sample: &Sample { rows: engine.recent.snapshot(), source: "recent rows".to_owned() },
        cache: &cache,
    });
    reports.into_iter().find(|report| report.gate == "distribution").unwrap()
}

#[tokio::test]
async fn shifted_scores_are_detected_on_recent_rows() {
    let engine = Engine::new();
    let copy = Copy::new();
    let directory = copy.path().join("propensity/1");
    // Without recent rows, the golden rows of the serving version are used.
    let before = distribution(&engine, &directory);
    assert_eq!(before.outcome, GateOutcome::Passed, "{before:?}");
    assert!(before.measured.contains("golden rows of version 1"), "{before:?}");
    for number in 1..=1100 {
        engine.rank(request("app_home", number..=number)).await;
    }
    let same = distribution(&engine, &directory);
    assert_eq!(same.outcome, GateOutcome::Passed, "{same:?}");
    assert!(same.measured.starts_with("PSI 0.0000") && same.measured.contains("over 1"), "{same:?}");
    // The other class, so that scores are inverted. Golden rows would detect this, too, so they are removed.
    copy.replace("propensity/1/model.toml", "class = 1", "class = 0");
    std::fs::remove_file(directory.join("golden.csv")).unwrap();
    copy.replace("propensity/1/model.toml", "golden = \"required\"", "golden = \"optional\"");
    let manifest = std::fs::read_to_string(directory.join("model.toml")).unwrap();
    let listed = Manifest::parse("model.toml", &manifest).unwrap().checksums.render();
    let found = Checksums::compute(&directory).unwrap().render();
    copy.replace("propensity/1/model.toml", &listed, &found);
    let moved = distribution(&engine, &directory);
    assert_eq!(moved.outcome, GateOutcome::Failed, "{moved:?}");
    assert!(moved.why.contains("against version 1, the mean score went from 0.0"), "{moved:?}");
}
