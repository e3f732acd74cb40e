//! Small releases with shadows, and what is offered to them.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use feature::store::CustomerTable;
use feature::{Column, ColumnValues, FeatureBatch};
use model::GraphCache;
use model::onnx::OnnxRuntime;
use release::{Publisher, Release, ReleaseSource, Snapshot};
use telemetry::Metrics;
use work::{Call, Lane, Worker, Workers};

use crate::{
    Customer, Decider, Durable, Limiter, Naming, RankRequest, RankResult, RecordedCall, Recorder,
    ShadowComparison, ShadowJob, ShadowSink, compare,
};

const FEATURES: &str = r#"
[[feature]]
name = "m0"
type = "float"
entity = "customer"
default = 0.5
[[feature]]
name = "income"
type = "float"
entity = "customer"
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

const POLICY: &str = r#"
[[category]]
id = "even"
weight = 10.0
[[category]]
id = "odd"
[[placement]]
id = "home"
channels = ["app"]
count = 3
model = "base"
max_per_category = 2
fallback = "help"
[[context_weight]]
id = "spring"
when = "customer.m0 > 0.3"
percent = 20.0
categories = ["odd"]
"#;

/// Eight offers in two categories, and a fallback. `o0` and `o1` conflict, not everybody may have `o5`, and `o6` is
/// mandatory.
fn offers(capped: &str) -> String {
    let offer = |index: usize| {
        let category = if index.is_multiple_of(2) { "even" } else { "odd" };
        let more = match index {
            0 => "conflicts_with = [\"o1\"]",
            3 => capped,
            5 => "eligibility = \"customer.m0 < 0.8\"",
            6 => "mandatory = true",
            _ => "",
        };
        let (value, cost) = (20 + index * 7 % 11, index * 5 % 7);
        format!(
            "[[offer]]\nid = \"o{index}\"\nname = \"\"\ncategory = \"{category}\"\nplacements = [\"home\"]\n\
             value = {value}.0\ncost = {cost}.0\nfeatures = {{ m2 = 0.{index} }}\n{more}\n"
        )
    };
    let help = "[[offer]]\nid = \"help\"\nname = \"\"\ncategory = \"odd\"\nplacements = []\nvalue = 0.0\n";
    (0..8).map(offer).chain([help.to_owned()]).collect()
}

/// Models from which releases are loaded: `base` 1 is pinned, 2 ranks the other way round, 3 says NaN where m0 is
/// beyond 10,000, 4 needs an income, and there is no 9.
pub(super) struct Bank {
    directory: tempfile::TempDir,
    cache: GraphCache,
}

impl Bank {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
        let write = |version: &str, graph: &str, inputs: &str, calibration: &str| {
            let version: &Path = &directory.path().join("base").join(version);
            fs::create_dir_all(version).unwrap();
            fs::copy(fixtures.join(format!("{graph}.onnx")), version.join("model.onnx")).unwrap();
            let manifest =
                format!("kind = 'propensity'\nlayout = 'pairwise'\ninputs = [{inputs}]\n{calibration}");
            fs::write(version.join("model.toml"), manifest).unwrap();
        };
        let platt = |a: &str| format!("[calibration]\nmethod = 'platt'\na = {a}\nb = 0.0\n");
        write("1", "pair_logit", "'m0', 'm1', 'm2'", &platt("1.0"));
        write("2", "pair_logit", "'m0', 'm1', 'm2'", &platt("-1.5"));
        write("3", "pushed_nan_on_some_rows", "'m0', 'm2'", "");
        write("4", "pair_logit", "'m0', 'income', 'm2'", &platt("1.0"));
        Self { directory, cache: GraphCache::new(OnnxRuntime::load().unwrap(), 1) }
    }

    /// A release with these lines at the end of its policy, and with no customers in its store.
    pub(super) fn with(&self, lines: &str) -> Arc<Snapshot> {
        self.load(&format!("{POLICY}{lines}"), "")
    }

    /// The same with an exploration of its placement.
    pub(super) fn exploring(&self, exploration: &str, lines: &str) -> Arc<Snapshot> {
        let policy =
            POLICY.replace("count = 3\n", &format!("count = 3\nexploration = {{ {exploration} }}\n"));
        self.load(&format!("{policy}{lines}"), "")
    }

    /// The same where an offer that many would be shown is limited to so many decisions.
    pub(super) fn capped(&self, limit: usize, lines: &str) -> Arc<Snapshot> {
        let cap =
            format!("weight = 900.0\ncap_total = {{ limit = {limit}, per = \"all\", count = \"decision\" }}");
        self.load(&format!("{POLICY}{lines}"), &cap)
    }

    fn load(&self, policy: &str, capped: &str) -> Arc<Snapshot> {
        let pins = BTreeMap::from([("base".to_owned(), 1)]);
        let source = ReleaseSource {
            number: 1,
            features: FEATURES,
            offers: &offers(capped),
            policy,
            models_dir: self.directory.path().to_owned(),
            store: None,
            pins: &pins,
        };
        let release =
            Release::load(&source, &self.cache).unwrap_or_else(|problems| panic!("{problems}\n{policy}"));
        let customers = Arc::new(CustomerTable::empty(release.schema()));
        Arc::new(Snapshot { release: Arc::new(release), customers })
    }
}

/// A shadow that samples every decision.
pub(super) fn shadow(changes: &str) -> String {
    format!("[[shadow]]\nid = \"s\"\nsample = 1.0\n{changes}\n")
}

/// An experiment that has everybody in the variant with these changes.
pub(super) fn everybody(changes: &str) -> String {
    format!(
        "[[experiment]]\nid = \"e\"\ncoverage = 1.0\n[[experiment.variant]]\nid = \"a\"\nweight = 0.0\n\
         [[experiment.variant]]\nid = \"b\"\nweight = 1.0\n{changes}\n"
    )
}

/// Values of m0 for so many customers.
pub(super) fn usual(customers: usize) -> Vec<f32> {
    (0..customers).map(|number| (number * 37 % 100) as f32 / 100.0).collect()
}

/// Asks for customers with these values of m0.
pub(super) fn request(m0: &[f32]) -> RankRequest {
    let customer = |number: usize| Customer { id: format!("c{number}"), ..Customer::default() };
    let values = ColumnValues::Floats(m0.to_vec());
    let column = Column { name: "m0".to_owned(), values, null_rows: Vec::new() };
    RankRequest {
        placement: "home".to_owned(),
        customers: (0..m0.len()).map(customer).collect(),
        features: FeatureBatch { rows: m0.len(), columns: vec![column], ..FeatureBatch::default() },
        ..RankRequest::default()
    }
}

/// Takes every job.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<ShadowJob>>);

impl ShadowSink for Kept {
    fn offer(&self, job: ShadowJob) -> bool {
        self.0.lock().unwrap().push(job);
        true
    }
}

/// Records nothing, and never lacks room.
#[derive(Debug)]
struct NoRecords;

impl Recorder for NoRecords {
    fn try_reserve(&self, _lane: Lane, bytes: usize) -> Option<usize> {
        Some(bytes)
    }

    fn reserve(&self, bytes: usize) -> Pin<Box<dyn Future<Output = Option<usize>> + Send + '_>> {
        Box::pin(std::future::ready(Some(bytes)))
    }

    fn try_extend(&self, _lane: Lane, _bytes: usize, needed: usize) -> Option<usize> {
        Some(needed)
    }

    fn release(&self, _bytes: usize) {}

    fn refuses(&self) -> bool {
        false
    }

    fn is_stalled(&self) -> bool {
        false
    }

    fn record(&self, _bytes: usize, _call: RecordedCall) -> Option<Durable> {
        None
    }

    fn dropped(&self, _decisions: usize) {}
}

/// Customers go by their ids.
struct Ids;

impl Naming for Ids {
    fn pseudonyms(&self, _id: &str, _names: &mut Vec<String>) {}
}

/// What decides with a release.
pub(super) fn decider(snapshot: &Arc<Snapshot>) -> Decider {
    let publisher = Publisher::default();
    assert!(publisher.publish(Arc::clone(snapshot)).is_none());
    let workers = Workers::start(1, 64).unwrap();
    Decider::new(publisher.pointer(), workers, Arc::new(Metrics::new()), Arc::default())
}

/// The same with a history, which what is shown is added to as if it were recorded.
pub(super) fn limited(snapshot: &Arc<Snapshot>) -> Decider {
    let limiter = Limiter::new(Arc::default(), Arc::new(Ids));
    decider(snapshot).with_limiter(limiter).with_recorder(Arc::new(NoRecords))
}

/// The answer of a decider.
pub(super) fn rank(decider: &Decider, request: RankRequest) -> Vec<RankResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(decider.rank(request, &Call::default())).unwrap().1
}

/// The answer, and what was offered to shadows.
pub(super) fn offered(decider: Decider, request: RankRequest) -> (Vec<RankResult>, Vec<ShadowJob>) {
    let kept = Arc::new(Kept::default());
    let results = rank(&decider.with_shadow(Arc::clone(&kept) as Arc<dyn ShadowSink>), request);
    let jobs = std::mem::take(&mut *kept.0.lock().unwrap());
    (results, jobs)
}

pub(super) fn comparisons(job: &ShadowJob) -> Vec<ShadowComparison> {
    let mut found = Vec::new();
    compare(job, &Worker::only(), &Call::default(), |one| found.push(one)).unwrap();
    found
}

/// The answer, and how it compares.
pub(super) fn compared(
    snapshot: &Arc<Snapshot>,
    request: RankRequest,
) -> (Vec<RankResult>, Vec<ShadowComparison>) {
    let (results, jobs) = offered(decider(snapshot), request);
    let found = jobs.iter().flat_map(comparisons).collect();
    (results, found)
}
