//! How many allocations a decision takes, from the decoded `RankRequest` to the `RankResponse` before encoding.
//!
//! The release is the one of the published figure: 100 offers, 40 of them with a rule of three terms. Its pairwise
//! model has 500 trees over 24 features of the customer and 8 of the offer. Counts are per thread, so only the deciding
//! threads count. These are the thread that reads the request and writes the answer, and the worker if work is
//! offloaded. An allocation that grows counts again.
//!
//! `PROFFER_TEST_ALLOCATIONS=trace cargo test --test allocations -- --nocapture` also prints the source of each
//! allocation, for one request of each kind. The test's own calls to the worker are among them.
//! Start reading at [`a_decision_allocates_little`].

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod counting {
    //! The system allocator with a count per thread.
    #![expect(unsafe_code, reason = "an allocator cannot be written without unsafe code")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::backtrace::Backtrace;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Whether allocations print their backtraces.
    pub(crate) static TRACED: AtomicBool = AtomicBool::new(false);

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
        /// Prevents recursion: a backtrace allocates, too.
        static TRACING: Cell<bool> = const { Cell::new(false) };
    }

    /// Allocations of this thread since it started.
    pub(crate) fn count() -> usize {
        COUNT.get()
    }

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    fn note(bytes: usize) {
        COUNT.set(COUNT.get() + 1);
        if TRACED.load(Ordering::Relaxed) && !TRACING.replace(true) {
            let trace = Backtrace::force_capture().to_string();
            let of_project = |line: &&str| line.starts_with("./src/") || line.starts_with("./crates/");
            let ours = trace.lines().filter_map(|line| line.trim().strip_prefix("at ")).filter(of_project);
            println!("{bytes} bytes {}", ours.take(2).collect::<Vec<_>>().join(" < "));
            TRACING.set(false);
        }
    }

    // SAFETY: every call is passed unchanged to the system allocator.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            note(layout.size());
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            note(layout.size());
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            note(size);
            unsafe { System.realloc(pointer, layout, size) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}

#[path = "../benches/trees/grown.rs"]
mod grown;
#[path = "../benches/trees/onnx.rs"]
mod onnx;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use decision::Decider;
use event::{EventConfig, EventLog};
use feature::store::CustomerTable;
use model::GraphCache;
use model::onnx::{OnnxRuntime, disable_telemetry};
use proffer::app::recorder;
use proffer::grpc::proto::proffer::v1 as wire;
use proffer::grpc::{DecisionService, Limits};
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use release::{Publisher, Release, ReleaseSource, Snapshot, Workspace};
use telemetry::Metrics;
use work::{Call, Lane, Needs, Workers};

const OFFERS: usize = 100;
const RULES: usize = 40;
const CUSTOMER_FEATURES: usize = 24;
const OFFER_FEATURES: usize = 8;
const CUSTOMERS: usize = 500;

/// The most allocations of any request, including the first on a thread.
const MAX: usize = 60;

/// The limit for the median of each kind. Half of it is for the answer itself: its strings and lists.
const MAX_MEDIAN: usize = 30;

/// Requests of each kind before counting: more than the sample of recent rows records unconditionally.
const WARM_UP: usize = 1500;

/// Counted requests of each kind, all different.
const COUNTED: usize = 400;

/// Where the customer's features come from.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// All are in the store; the call brings the context.
    Stored,
    /// The call brings every customer feature.
    Sent,
    /// The call brings eight features; the others are in the store.
    PartlySent,
    /// The call brings neither a context nor a request id. Defaults apply and are reported.
    Bare,
}

#[test]
fn a_decision_allocates_little() {
    disable_telemetry().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::seed_from_u64(11);
    write_workspace(directory.path(), &mut random);
    let (service, workers) = serve(directory.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let traced = std::env::var_os("PROFFER_TEST_ALLOCATIONS").is_some();
    // Bulk work is always handed to the worker, not by what decisions have cost: all counts are of the same way.
    let call = Call::default().in_lane(Lane::Bulk);
    let kinds = [Kind::Stored, Kind::Sent, Kind::PartlySent, Kind::Bare];
    runtime.block_on(async {
        for kind in kinds.iter().cycle().take(kinds.len() * WARM_UP) {
            allocations(&service, &workers, &call, request(*kind, &mut random)).await;
        }
        let (mut median_of_all, mut most_of_all) = (0, 0);
        for kind in kinds {
            let mut counts = Vec::new();
            for _ in 0..COUNTED {
                let request = request(kind, &mut random);
                counts.push(allocations(&service, &workers, &call, request).await);
            }
            counts.sort_unstable();
            let (least, median, most) = (counts[0], counts[COUNTED / 2], counts[COUNTED - 1]);
            println!("{kind:?}: {median} allocations in the median, {least} to {most}");
            (median_of_all, most_of_all) = (median_of_all.max(median), most_of_all.max(most));
            if traced {
                println!("{kind:?}, one by one:");
                let request = request(kind, &mut random);
                counting::TRACED.store(true, Ordering::Relaxed);
                allocations(&service, &workers, &call, request).await;
                counting::TRACED.store(false, Ordering::Relaxed);
            }
        }
        assert!(
            median_of_all <= MAX_MEDIAN,
            "decisions of a kind allocate {median_of_all} times in the median, more than {MAX_MEDIAN}"
        );
        assert!(most_of_all <= MAX, "a decision allocated {most_of_all} times, more than {MAX}");
    });
}

/// What recording adds on the threads that decide. Encoding is the business of the writer's thread.
#[test]
fn a_record_allocates_little() {
    disable_telemetry().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::seed_from_u64(12);
    write_workspace(directory.path(), &mut random);
    let config = EventConfig { directory: directory.path().join("data"), ..EventConfig::reference() };
    let (log, _) = EventLog::start(&config, "test", &Arc::new(Metrics::new())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Bulk work is always handed to the worker, not by what decisions have cost: both sides take the same way.
    let call = || Call::default().in_lane(Lane::Bulk);
    let (decider, workers) = decider(directory.path());
    let recording = decider.clone().with_recorder(recorder(log.recorder(), replay::Privacy::default()));
    let services = [decider, recording].map(service);
    let mut counts: [Vec<usize>; 2] = Default::default();
    for _ in 0..WARM_UP + COUNTED {
        for (service, counts) in services.iter().zip(&mut counts) {
            let request = request(Kind::Stored, &mut random);
            counts.push(runtime.block_on(allocations(service, &workers, &call(), request)));
        }
    }
    assert_eq!(log.close(Duration::from_mins(1)).lost, 0);
    let [without, with] = counts.map(|counts| counts[WARM_UP..].iter().copied().min().unwrap());
    println!("{without} allocations without a record, {with} with one");
    assert!(with <= without + RECORD, "a record takes {} allocations, more than {RECORD}", with - without);
}

/// The most allocations that a record adds: the outcomes of the candidates, the offers shown, the place in the queue,
/// and what `degraded` says.
const RECORD: usize = 4;

/// The allocations of one request, on the answering thread and on the worker.
async fn allocations(
    service: &DecisionService,
    workers: &Workers,
    call: &Call,
    request: wire::RankRequest,
) -> usize {
    // Without a session and of unknown cost: it runs on the thread that decides the calls of that lane.
    let of_worker = || workers.run(call, Needs::default(), |_| counting::count());
    let worker_before = of_worker().await.unwrap();
    let before = counting::count();
    let response = service.rank(request, call).await;
    let here = counting::count() - before;
    let on_worker = of_worker().await.unwrap() - worker_before;
    let response = response.unwrap();
    assert_eq!(response.results.len(), 1);
    let result = &response.results[0];
    assert_eq!(result.offers.len(), 5);
    assert!(result.offers.iter().all(|offer| offer.factors.is_some()));
    here + on_worker
}

fn request(kind: Kind, random: &mut SplitMix64) -> wire::RankRequest {
    use wire::feature_value::Kind as Value;
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let customer = format!("c{:05}", below(random, CUSTOMERS));
    let context = HashMap::from([
        ("month".to_owned(), value(Value::Int64Value(1 + below(random, 12) as i64))),
        (
            "page".to_owned(),
            value(Value::StringValue(["home", "travel", "card"][below(random, 3)].to_owned())),
        ),
    ]);
    let mut sent = |features: std::ops::Range<usize>| wire::FeatureBatch {
        rows: 1,
        dense: Some(wire::DenseFeatures {
            names: features.clone().map(|at| format!("c{at}")).collect(),
            values: features.map(|_| unit(random) as f32).collect(),
        }),
        columns: Vec::new(),
    };
    let (context, features, request_id) = match kind {
        Kind::Stored => (context, None, "a-request"),
        Kind::Sent => (context, Some(sent(0..CUSTOMER_FEATURES)), "a-request"),
        Kind::PartlySent => (context, Some(sent(4..12)), "a-request"),
        Kind::Bare => (HashMap::new(), None, ""),
    };
    wire::RankRequest {
        placement: "home".to_owned(),
        channel: "app".to_owned(),
        customers: vec![wire::Customer { customer_id: customer, consents: Vec::new() }],
        features,
        context,
        count: 5,
        explain: wire::Explain::Winners.into(),
        request_id: request_id.to_owned(),
        ..wire::RankRequest::default()
    }
}

/// A service over the workspace, and its only worker.
fn serve(workspace: &Path) -> (DecisionService, Workers) {
    let (decider, workers) = decider(workspace);
    (service(decider), workers)
}

fn service(decider: Decider) -> DecisionService {
    DecisionService::new(decider, Arc::new(Limits::default()))
}

/// What answers over the workspace, and its only worker.
fn decider(workspace: &Path) -> (Decider, Workers) {
    let workspace = Workspace::open(workspace).unwrap();
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    let release = Arc::new(Release::load(&ReleaseSource::of_workspace(&workspace), &cache).unwrap());
    assert!(release.pairing(release::ModelIndex::new(0)).is_some(), "trees score the pairs");
    let customers = workspace.customers.as_deref().unwrap();
    let (customers, _) = CustomerTable::load(customers, release.schema()).unwrap();
    let publisher = Publisher::default();
    assert!(publisher.publish(Arc::new(Snapshot { release, customers: Arc::new(customers) })).is_none());
    let workers = Workers::start(1, 8).unwrap();
    let metrics = Arc::new(Metrics::new());
    let decider = Decider::new(publisher.pointer(), workers.clone(), metrics, Arc::default());
    (decider, workers)
}

fn write_workspace(directory: &Path, random: &mut SplitMix64) {
    let customer: Vec<String> = (0..CUSTOMER_FEATURES).map(|at| format!("c{at}")).collect();
    let offer: Vec<String> = (0..OFFER_FEATURES).map(|at| format!("o{at}")).collect();
    let mut features = String::new();
    for (names, entity) in [(&customer, "customer"), (&offer, "offer")] {
        for name in names {
            writeln!(
                features,
                "[[feature]]\nname = \"{name}\"\ntype = \"float\"\nentity = \"{entity}\"\nrange = [0.0, 1.0]"
            )
            .unwrap();
        }
    }
    features.push_str("[[feature]]\nname = \"month\"\ntype = \"int\"\nentity = \"context\"\ndefault = 6\n");
    features.push_str(
        "[[feature]]\nname = \"page\"\ntype = \"string\"\nentity = \"context\"\ndefault = \"home\"\n",
    );

    let mut offers = String::new();
    for at in 0..OFFERS {
        let values: Vec<String> = offer.iter().map(|name| format!("{name} = {:.3}", unit(random))).collect();
        writeln!(
            offers,
            "[[offer]]\nid = \"offer_{at:03}\"\nname = \"Offer {at}\"\ncategory = \"k{}\"\nplacements = [\"home\"]\nvalue = {}.0\n\
             features = {{ {} }}",
            at % 4,
            20 + below(random, 100),
            values.join(", "),
        )
        .unwrap();
        if at < RULES {
            let (one, other) = (below(random, CUSTOMER_FEATURES), below(random, CUSTOMER_FEATURES));
            let (low, high) = (0.2 * unit(random), 1.0 - 0.2 * unit(random));
            let month = 1 + below(random, 12);
            writeln!(
                offers,
                "eligibility = \"customer.c{one} > {low:.3} && customer.c{other} < {high:.3} && context.month != {month}\""
            )
            .unwrap();
        }
    }
    let categories = (0..4).map(|at| format!("[[category]]\nid = \"k{at}\"\n")).collect::<Vec<_>>().concat();
    let placement = "[[placement]]\nid = \"home\"\nchannels = [\"web\", \"app\"]\ncount = 3\nmodel = \"trees\"\nmax_per_category = 2\n";

    let mut customers = format!("customer_id,{}\n", customer.join(","));
    for at in 0..CUSTOMERS {
        let values: Vec<String> = customer.iter().map(|_| format!("{:.4}", unit(random))).collect();
        writeln!(customers, "c{at:05},{}", values.join(",")).unwrap();
    }
    let inputs: Vec<String> = customer.iter().chain(&offer).map(|name| format!("\"{name}\"")).collect();
    let manifest = format!(
        "kind = \"propensity\"\nlayout = \"pairwise\"\ninputs = [{}]\n[output]\nname = \"probabilities\"\nclass = 1\n",
        inputs.join(", ")
    );
    let model = directory.join("trees/1");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("model.toml"), manifest).unwrap();
    std::fs::write(model.join("model.onnx"), grown::model(500, 31, inputs.len(), 7)).unwrap();
    std::fs::write(directory.join("features.toml"), features).unwrap();
    std::fs::write(directory.join("offers.toml"), offers).unwrap();
    std::fs::write(directory.join("policy.toml"), categories + placement).unwrap();
    std::fs::write(directory.join("customers.csv"), customers).unwrap();
}

fn below(random: &mut SplitMix64, limit: usize) -> usize {
    (random.next_u64() % limit as u64) as usize
}

fn unit(random: &mut SplitMix64) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}
