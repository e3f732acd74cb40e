//! Decisions in this process: a call without protocol and network.

use std::path::Path;
use std::sync::Arc;

use decision::{Decider, Explain, RankResult};
use feature::store::CustomerSource;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use release::{Publisher, Release, ReleaseSource, Snapshot, Store};
use telemetry::Metrics;
use work::{Call, Workers};

use crate::PLACEMENTS;
use crate::measure::{closed_loop, counted, in_turn, print_columns};
use crate::sample::{self, Visit};
use crate::server::Process;

/// Rows of a bulk `Score`.
pub(crate) const SCORE_ROWS: usize = 10_000;

/// Customers of a bulk `Rank`, which is the most per call.
pub(crate) const RANK_CUSTOMERS: usize = 1024;

/// The store in memory, with workers as in the server.
pub(crate) struct Engine {
    pub snapshot: Arc<Snapshot>,
    pub decider: Decider,
    pub workers: Workers,
}

impl Engine {
    /// Loads the current release of `store`.
    pub(crate) fn load(store: &Path) -> Self {
        let store = Store::open(store.to_str().unwrap(), None).unwrap();
        let number = store.current().unwrap().current.release;
        let files = store.release(number).unwrap();
        let source = ReleaseSource::of_store(&store, &files);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let cache = GraphCache::new(OnnxRuntime::load().unwrap(), threads);
        let release = Arc::new(Release::load(&source, &cache).unwrap());
        release.warm_up(threads, &[]).unwrap();
        let (customers, _) = CustomerSource::new(store.customers_dir()).load(release.schema()).unwrap();
        let publisher = Publisher::default();
        assert!(publisher.publish(Arc::new(Snapshot { release, customers: Arc::new(customers) })).is_none());
        // The default of `server.queue`.
        let workers = Workers::start(threads, 1024).unwrap();
        let decider =
            Decider::new(publisher.pointer(), workers.clone(), Arc::new(Metrics::new()), Arc::default());
        Self { snapshot: decider.snapshot().unwrap(), decider, workers }
    }

    /// The number of candidates of a placement.
    pub(crate) fn candidates(&self, placement: &str) -> usize {
        let policy = &self.snapshot.release.catalog().policy;
        policy.placement(policy.find_placement(placement).unwrap()).candidates.len()
    }
}

/// Measures `Rank` and the bulk calls; returns the median latency of one customer at the first placement, in µs.
pub(crate) async fn run(engine: &Engine, visits: &[Visit]) -> f64 {
    print_columns("In process", "calls/s");
    let mut first = None;
    let plan = [(0, 1), (0, engine.workers.count()), (1, 1), (2, 1)];
    for ((placement, model), callers) in plan.map(|(index, callers)| (PLACEMENTS[index], callers)) {
        let requests = sample::for_each(visits, |visit| visit.request(placement, Explain::Winners));
        let callers = (0..callers).map(|caller| {
            let decider = engine.decider.clone();
            // Each starts at a different request.
            let first = caller * requests.len() / callers;
            in_turn(Arc::clone(&requests), first, move |request| {
                let decider = decider.clone();
                async move {
                    let (_, results) = decider.rank(request, &Call::default()).await.unwrap();
                    results.iter().for_each(check);
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        let name = format!(
            "Rank {placement}: {} candidates, {model}, {}",
            engine.candidates(placement),
            counted(callers.len(), "caller"),
        );
        let measured = closed_loop(callers, Process::this()).await;
        measured.print(&name, 1);
        first.get_or_insert(measured.quantile(0.5).median);
    }
    bulk(engine, visits).await;
    first.unwrap()
}

async fn bulk(engine: &Engine, visits: &[Visit]) {
    print_columns("In process, bulk, 1 caller", "rows or customers/s");
    let (rows, width) = sample::rows(&engine.snapshot, visits, "propensity", SCORE_ROWS);
    let decider = engine.decider.clone();
    let caller = in_turn(Arc::from([rows]), 0, move |request| {
        let decider = decider.clone();
        async move {
            let answer = decider.score(request, &Call::default()).await.unwrap();
            assert!(answer.errors.is_empty() && answer.values.len() == SCORE_ROWS);
        }
    });
    let measured = closed_loop(vec![caller], Process::this()).await;
    measured.print(&format!("Score {SCORE_ROWS} rows × {width}, dense, propensity"), SCORE_ROWS);

    let (batch, _) = sample::batch(&visits[..RANK_CUSTOMERS], PLACEMENTS[0].0);
    let decider = engine.decider.clone();
    let caller = in_turn(Arc::from([batch]), 0, move |request| {
        let decider = decider.clone();
        async move {
            let (_, results) = decider.rank(request, &Call::default()).await.unwrap();
            results.iter().for_each(check);
        }
    });
    let measured = closed_loop(vec![caller], Process::this()).await;
    measured.print(&format!("Rank {RANK_CUSTOMERS} customers, {}", PLACEMENTS[0].0), RANK_CUSTOMERS);
}

fn check(result: &RankResult) {
    assert!(result.error.is_none() && !result.offers.is_empty(), "no decision for {}", result.customer_id);
}
