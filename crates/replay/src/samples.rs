//! Small releases and records of their decisions, for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use decision::{
    ContextValue, Customer, Decider, Durable, Limiter, RankRequest, RankResult, RecordedCall, Recorder,
};
use event::proto::DecisionRecord;
use feature::store::CustomerTable;
use feature::{Column, ColumnValues, FeatureBatch};
use history::{History, Outcome, Spend};
use model::GraphCache;
use model::onnx::{OnnxRuntime, disable_telemetry};
use prost::Message;
use release::{Publisher, Release, ReleaseSource, Snapshot};
use telemetry::Metrics;
use work::{Call, Lane, Workers};

use crate::CustomerNames;
use crate::comparison::Named;

const FEATURES: &str = r#"
[[feature]]
name = "m0"
type = "float"
entity = "customer"
default = 0.5
[[feature]]
name = "age"
type = "int"
entity = "customer"
[[feature]]
name = "band"
type = "string"
entity = "customer"
default = "middle"
[[feature]]
name = "consent_letters"
type = "bool"
entity = "customer"
[[feature]]
name = "m1"
type = "float"
entity = "context"
default = 0.0
[[feature]]
name = "page"
type = "string"
entity = "context"
[[feature]]
name = "m2"
type = "float"
entity = "offer"
default = 0.0
"#;

const OFFERS: &str = r#"
[[offer]]
id = "gold"
name = "Gold card"
category = "cards"
placements = ["home", "letter"]
value = 80.0
cost = 0.4
eligibility = "has(customer.age) && customer.age >= 30"
features = { m2 = 0.2 }
[[offer]]
id = "green"
name = "Green card"
category = "cards"
placements = ["home"]
value = 60.0
exclusion = 'customer.band == "low"'
features = { m2 = 0.3 }
[[offer]]
id = "loan"
name = "Loan"
category = "loans"
placements = ["home", "letter"]
value = 40.0
weight = 20.0
suitability = "segment.id == 0"
[[offer]]
id = "points"
name = "Points"
category = "points"
placements = ["home"]
value = 25.0
cost = 0.1
consents = ["letters"]
features = { m2 = 0.5 }
[[offer]]
id = "travel"
name = "Travel cover"
category = "loans"
placements = ["home"]
value = 30.0
applicability = 'has(context.page) && context.page == "travel"'
[[offer]]
id = "tips"
name = "Tips"
category = "points"
placements = []
value = 0.0
"#;

const POLICY: &str = r#"
segmentation = "segments"
[[category]]
id = "cards"
weight = 10.0
[[category]]
id = "loans"
[[category]]
id = "points"
[[placement]]
id = "home"
channels = ["app", "web"]
count = 2
model = "base"
max_per_category = 1
[[placement]]
id = "letter"
channels = ["mail"]
count = 1
model = "base"
strategy = "margin"
fallback = "tips"
"#;

const LIMITS: &str = r#"
[[contact_limit]]
id = "letters"
channels = ["mail"]
limit = 1
per = "3d"
count = "decision"
[[contact_limit]]
id = "cards_seen"
categories = ["cards"]
limit = 3
per = "2d"
count = "impression"
[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 2, within = "5d" }
pause = "30d"
scope = "offer"
"#;

const HOLDOUT: &str = r#"
[holdout]
share = 0.1
redraw = "monthly"
"#;

const EXPERIMENTS: &str = r#"
[[experiment]]
id = "base_v2"
coverage = 0.8
when = "!has(customer.age) || customer.age >= 25"
[[experiment.variant]]
id = "champion"
weight = 0.5
[[experiment.variant]]
id = "challenger"
weight = 0.5
models = { base = 2 }
listed = ["c00003", "c00004"]

[[experiment]]
id = "weights"
placements = ["home"]
coverage = 1.0
group = "layout"
group_range = [0.0, 0.6]
[[experiment.variant]]
id = "as_is"
weight = 0.5
[[experiment.variant]]
id = "cards_first"
weight = 0.25
category_weights = { cards = 60.0 }
[[experiment.variant]]
id = "by_margin"
weight = 0.25
strategy = "margin"
count = 3
exploration = { method = "epsilon", epsilon = 0.4 }

[[experiment]]
id = "letters"
placements = ["letter"]
coverage = 1.0
group = "layout"
group_range = [0.6, 1.0]
[[experiment.variant]]
id = "usual"
weight = 0.5
[[experiment.variant]]
id = "loans_first"
weight = 0.5
category_weights = { loans = 30.0 }
"#;

const SEGMENTS: &str = r#"{
    "format_version": 1,
    "features": [
        { "name": "m0", "impute": 0.5, "log1p": false, "mean": 0.0, "deviation": 1.0, "range": [0, 1] }
    ],
    "segments": [
        { "id": 0, "name": "Quiet", "size": 2, "centroid": [0.2] },
        { "id": 1, "name": "Busy", "size": 1, "centroid": [0.8] }
    ],
    "inertia": 0.0,
    "training": { "rows": 3, "k": 2, "seed": 42, "n_init": 10 }
}"#;

/// A directory of models from which releases are loaded.
pub(crate) struct Models {
    directory: tempfile::TempDir,
    cache: GraphCache,
}

/// The files of a release.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub features: String,
    pub offers: String,
    pub policy: String,
    pub customers: String,
}

impl Texts {
    /// Files of a release with five offers, a fallback and two placements, and `customers` customers.
    pub(crate) fn sample(customers: usize) -> Self {
        let mut table = String::from("customer_id,m0,age,band,consent_letters\n");
        for number in 0..customers {
            // Numbers that look random; some values are missing.
            let hash = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
            let m0 = if hash.is_multiple_of(11) {
                String::new()
            } else {
                format!("{:.3}", (hash % 1000) as f64 / 1000.0)
            };
            let age = if hash.is_multiple_of(7) { String::new() } else { (18 + hash % 60).to_string() };
            let band = ["low", "middle", "high", ""][(hash / 7 % 4) as usize];
            let consent = ["true", "false", ""][(hash / 5 % 3) as usize];
            writeln!(table, "c{number:05},{m0},{age},{band},{consent}").unwrap();
        }
        Self {
            features: FEATURES.to_owned(),
            offers: OFFERS.to_owned(),
            policy: POLICY.to_owned(),
            customers: table,
        }
    }

    /// The same files with limits of all kinds.
    pub(crate) fn limited(customers: usize) -> Self {
        let mut texts = Self::sample(customers);
        let keys = [
            ("gold", "cap_total = { limit = 40, per = \"all\", count = \"accept\", reserve = \"2h\" }"),
            ("green", "cap_customer = { limit = 2, per = \"7d\", count = \"decision\" }"),
            (
                "loan",
                "budget = { amount = 1800.0, per = \"20d\", count = \"accept\", spends = \"value\", \
                 reserve = \"3d\" }",
            ),
            ("points", "cap_total = { limit = 12, per = \"10d\", count = \"decision\" }"),
        ];
        for (offer, keys) in keys {
            texts = texts.with_offers(&format!("id = \"{offer}\"\n"), &format!("id = \"{offer}\"\n{keys}\n"));
        }
        texts.policy.push_str(LIMITS);
        texts
    }

    /// The same files with a holdout, experiments of all kinds, exploration, and new offers.
    pub(crate) fn experimented(customers: usize) -> Self {
        let mut texts = Self::limited(customers);
        texts.policy = format!("{}{HOLDOUT}{EXPERIMENTS}", texts.policy);
        let explored =
            "count = 2\nexploration = { method = \"softmax\", temperature = 4.0 }\nmodel = \"base\"";
        let texts = texts.with_offers("limit = 40, per = \"all\"", "limit = 8, per = \"all\"");
        let texts = texts.with(|texts| &mut texts.policy, "count = 2\nmodel = \"base\"", explored);
        let new = "id = \"green\"\nprior = { propensity = 0.05, evidence = 40.0 }\n\
                   maturity = { max_share = 0.6, impressions = 60 }\n";
        texts
            .with_offers("id = \"green\"\n", new)
            .with_offers("id = \"travel\"\n", "id = \"travel\"\nmandatory = true\n")
    }

    /// The same files with a replacement, which must replace something.
    pub(crate) fn with(&self, change: impl Fn(&mut Self) -> &mut String, from: &str, to: &str) -> Self {
        let mut changed = self.clone();
        let text = change(&mut changed);
        assert!(text.contains(from), "{from}");
        *text = text.replace(from, to);
        changed
    }

    pub(crate) fn with_offers(&self, from: &str, to: &str) -> Self {
        self.with(|texts| &mut texts.offers, from, to)
    }
}

impl Models {
    pub(crate) fn new() -> Self {
        disable_telemetry().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let write = |version: &str, files: [(&str, &[u8]); 2]| {
            let version = directory.path().join(version);
            std::fs::create_dir_all(&version).unwrap();
            for (name, bytes) in files {
                std::fs::write(version.join(name), bytes).unwrap();
            }
        };
        // Scores m0 + 2 · m1 + 4 · m2.
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx/pair_logit.onnx");
        let graph = std::fs::read(graph).unwrap();
        for (version, a) in [("base/1", "1.0"), ("base/2", "-1.5")] {
            let manifest = format!(
                "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['m0', 'm1', 'm2']\n[calibration]\n\
                 method = 'platt'\na = {a}\nb = 0.0\n"
            );
            write(version, [("model.onnx", &graph), ("model.toml", manifest.as_bytes())]);
        }
        let segments: [(&str, &[u8]); 2] =
            [("segments.json", SEGMENTS.as_bytes()), ("model.toml", b"kind = 'segmentation'\n")];
        write("segments/1", segments);
        Self { directory, cache: GraphCache::new(OnnxRuntime::load().unwrap(), 1) }
    }

    /// A release with version 1 of each model.
    pub(crate) fn load(&self, number: u64, texts: &Texts) -> Arc<Snapshot> {
        self.load_with(number, texts, 1)
    }

    /// A release with this version of the model `base`.
    pub(crate) fn load_with(&self, number: u64, texts: &Texts, version: u64) -> Arc<Snapshot> {
        let pins = BTreeMap::from([("base".to_owned(), version), ("segments".to_owned(), 1)]);
        let source = ReleaseSource {
            number,
            features: &texts.features,
            offers: &texts.offers,
            policy: &texts.policy,
            models_dir: self.directory.path().to_owned(),
            store: None,
            pins: &pins,
        };
        let release = Release::load(&source, &self.cache).unwrap_or_else(|error| panic!("{error}"));
        let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::fs::write(file.path(), &texts.customers).unwrap();
        let (customers, _) = CustomerTable::load(file.path(), release.schema()).unwrap();
        Arc::new(Snapshot { release: Arc::new(release), customers: Arc::new(customers) })
    }
}

/// Keeps the records of decisions.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<DecisionRecord>>);

impl Recorder for Kept {
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

    fn dropped(&self, _decisions: usize) {}

    fn is_stalled(&self) -> bool {
        false
    }

    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable> {
        let mut records = self.0.lock().unwrap();
        let mut encoded = 0;
        crate::write(&call, &crate::Privacy::default(), |record| {
            encoded += record.encoded_len();
            records.push(record);
        });
        assert!(encoded <= bytes, "{encoded} bytes, and {bytes} were reserved");
        None
    }
}

/// What the snapshot answers to these requests, as `Rank` does, and the records.
pub(crate) fn rank(
    snapshot: &Arc<Snapshot>,
    requests: impl IntoIterator<Item = RankRequest>,
) -> (Vec<RankResult>, Vec<DecisionRecord>) {
    let limiter = Limiter::new(Arc::default(), Arc::new(CustomerNames::default()));
    rank_with(&limiter, snapshot, requests)
}

/// The same with the history of `limiter`.
pub(crate) fn rank_with(
    limiter: &Limiter,
    snapshot: &Arc<Snapshot>,
    requests: impl IntoIterator<Item = RankRequest>,
) -> (Vec<RankResult>, Vec<DecisionRecord>) {
    let publisher = Publisher::default();
    assert!(publisher.publish(Arc::clone(snapshot)).is_none());
    let workers = Workers::start(1, 64).unwrap();
    let kept = Arc::new(Kept::default());
    let decider = Decider::new(publisher.pointer(), workers, Arc::new(Metrics::new()), Arc::default());
    let decider = decider.with_recorder(Arc::clone(&kept) as Arc<dyn Recorder>).with_limiter(limiter.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut results = Vec::new();
    for request in requests {
        let (_, answered) = runtime.block_on(decider.rank(request, &Call::default())).unwrap();
        results.extend(answered);
    }
    let records = std::mem::take(&mut *kept.0.lock().unwrap());
    (results, records)
}

/// Requests of many shapes: with and without context, features, consents, counts, and narrowed candidates.
pub(crate) fn requests(customers: usize) -> Vec<RankRequest> {
    let request = |number: usize| {
        let mut request = RankRequest {
            request_id: format!("r{number}"),
            placement: if number.is_multiple_of(3) { "letter" } else { "home" }.to_owned(),
            // Every ninth customer is not in the store.
            customers: vec![Customer { id: format!("c{:05}", number * 9 / 8), ..Customer::default() }],
            count: number % 4,
            ..RankRequest::default()
        };
        if number.is_multiple_of(2) {
            request.context.push(("m1".to_owned(), Some(ContextValue::Float((number % 5) as f64 / 5.0))));
        }
        if number.is_multiple_of(5) {
            request.context.push(("page".to_owned(), Some(ContextValue::String("travel".to_owned()))));
            request.customers[0].consents.push("letters".to_owned());
        }
        if number.is_multiple_of(7) {
            let values = ColumnValues::Floats(vec![(number % 10) as f32 / 10.0]);
            let column = Column { name: "m0".to_owned(), values, null_rows: Vec::new() };
            request.features = FeatureBatch { rows: 1, columns: vec![column], ..FeatureBatch::default() };
        }
        match number % 11 {
            1 => request.candidate_offer_ids = vec!["loan".to_owned(), "green".to_owned(), "gone".to_owned()],
            2 => request.exclude_offer_ids = vec!["gold".to_owned()],
            _ => {}
        }
        request
    };
    (0..customers).map(request).collect()
}

/// A source that passes on these records.
pub(crate) fn source(
    records: &[DecisionRecord],
) -> impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), String> {
    move |emit| {
        for record in records {
            if emit(record.clone()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn named(snapshot: &Arc<Snapshot>) -> Named {
    Named { snapshot: Arc::clone(snapshot), name: format!("release {}", snapshot.release.number()) }
}

/// A history in which customers reacted to what they were shown, in all ways and at all times.
pub(crate) fn react(history: &History, results: &[RankResult], round: usize) {
    let now = Utc::now();
    let shown = results.iter().flat_map(|result| result.offers.iter().map(move |offer| (result, offer)));
    for (number, (result, offer)) in shown.enumerate() {
        let outcome = ["impression", "dismiss", "accept", "click", "dismiss", "impression", "opt_out"]
            [(number * 7 + round) % if number % 9 == 8 { 7 } else { 6 }];
        history.record_outcome(&Outcome {
            event_id: "",
            decision: Some(result.decision_id),
            customer: &result.customer_id,
            offer: &offer.offer_id,
            placement: if number % 5 == 0 { "" } else { "home" },
            channel: "app",
            outcome,
            spend: Spend::default(),
            occurred_at: now - TimeDelta::hours(((number * 13 + round) % 80) as i64),
            recorded_at: now,
        });
    }
}

/// Customers of calls with limits: many in a call, and some of them twice.
pub(crate) fn crowded(calls: usize) -> Vec<RankRequest> {
    let customer = |number: usize| Customer { id: format!("c{:05}", number % 60), ..Customer::default() };
    let call = |call: usize| RankRequest {
        placement: ["home", "letter", "home"][call % 3].to_owned(),
        channel: if call % 5 == 3 { "web" } else { "" }.to_owned(),
        customers: (0..=call % 8).chain([0]).map(|at| customer(call * 5 + at * 4)).collect(),
        count: call % 3,
        ..RankRequest::default()
    };
    (0..calls).map(call).collect()
}

/// A moment for simulations.
pub(crate) fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}
