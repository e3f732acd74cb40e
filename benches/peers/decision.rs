//! Whole decisions in this process, on the calling thread: from the decoded request to the answer before encoding.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use decision::Decider;
use feature::store::CustomerTable;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use proffer::grpc::proto::proffer::v1 as wire;
use proffer::grpc::{DecisionService, Limits};
use release::{Publisher, Release, ReleaseSource, Snapshot, Workspace};
use serde_json::Value;
use telemetry::Metrics;
use tokio::runtime::Runtime;
use work::{Call, Workers};

use crate::in_process::{CHECKED, CUSTOMERS, take_turns};
use crate::{answers, requests};

/// Prints the offers for the first customers, for the check; then takes its turns. It runs in a process of its own,
/// because a process can have only one environment of ONNX Runtime.
pub(crate) fn run(folder: &Path) {
    let decisions = Decisions::load(&folder.join("workspace"));
    let request = |customer: usize| requests::rank(customer..customer + 1, wire::Explain::Winners);
    let decided = (0..CHECKED).map(|customer| decisions.rank(request(customer)));
    println!("{}", Value::Array(decided.map(|answer| answers::ranked(&answer)[0].take()).collect()));
    take_turns(|_, _, call| {
        let request = request(call % CUSTOMERS);
        let asked = Instant::now();
        let answer = std::hint::black_box(decisions.rank(request));
        let took = asked.elapsed();
        drop(answer);
        took
    });
}

/// The published workspace.
struct Decisions {
    service: DecisionService,
    runtime: Runtime,
}

impl Decisions {
    fn load(workspace: &Path) -> Self {
        let workspace = Workspace::open(workspace).unwrap();
        let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
        let release = Arc::new(Release::load(&ReleaseSource::of_workspace(&workspace), &cache).unwrap());
        // Decisions that need no session and are short, as measured by the warm-up, are made on the calling thread.
        release.warm_up(1, &[]).unwrap();
        assert!(!release.models().iter().any(|model| model.needs_session()), "ONNX Runtime serves a model");
        let customers = workspace.customers.as_deref().unwrap();
        let (customers, _) = CustomerTable::load(customers, release.schema()).unwrap();
        let publisher = Publisher::default();
        assert!(publisher.publish(Arc::new(Snapshot { release, customers: Arc::new(customers) })).is_none());
        let workers = Workers::start(1, 8).unwrap();
        let decider = Decider::new(publisher.pointer(), workers, Arc::new(Metrics::new()), Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { service: DecisionService::new(decider, Arc::new(Limits::default())), runtime }
    }

    fn rank(&self, request: wire::RankRequest) -> wire::RankResponse {
        self.runtime.block_on(self.service.rank(request, &Call::default())).unwrap()
    }
}
