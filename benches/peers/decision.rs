//! Whole decisions of the server in this process, on the thread that asks: from the decoded request to the answer to encode.

use std::path::Path;
use std::sync::Arc;

use proffer::decision::Decider;
use proffer::feature::store::CustomerTable;
use proffer::grpc::proto::proffer::v1 as wire;
use proffer::grpc::{DecisionService, Limits};
use proffer::model::onnx::{OnnxCache, OnnxRuntime};
use proffer::model::{Call, Workers};
use proffer::release::{Publisher, Release, ReleaseSource, Snapshot, Workspace};
use proffer::telemetry::Metrics;
use tokio::runtime::Runtime;

/// The workspace, published.
pub struct Decisions {
    service: DecisionService,
    runtime: Runtime,
}

impl Decisions {
    pub fn load(workspace: &Path) -> Self {
        let workspace = Workspace::open(workspace).unwrap();
        let cache = OnnxCache::new(OnnxRuntime::load().unwrap(), 1);
        let release = Arc::new(Release::load(&ReleaseSource::of_workspace(&workspace), &cache).unwrap());
        // What needs no session and takes little time, as the warm-up measures it, is decided on the thread that asks.
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

    pub fn rank(&self, request: wire::RankRequest) -> wire::RankResponse {
        self.runtime.block_on(self.service.rank(request, &Call::default())).unwrap()
    }
}
