//! Every metric of the server, declared once: name, unit, labels, help.
//!
//! What is counted per call is resolved beforehand ([`Metrics::rpc`], [`Metrics::model`], [`Metrics::withheld`] …) and
//! held by whoever counts, so that the path of a request looks nothing up here.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::exposition::{self, Format};
use super::labels::{
    Bounded, EngineLabels, GateLabels, ModelLabels, PlacementLabels, ReasonLabels, ReleaseLabels,
    RequestLabels, RpcLabels, RuleLabels, VersionLabels,
};
use super::offers::{OfferCounts, OfferTotals};
use super::process;
use super::propensities::{Propensities, PropensityBatch};
use super::rpc::RpcMetrics;

/// From 50 µs to 5 s: an answer takes about a millisecond, a caller rarely waits for more than a second.
const REQUEST_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// Scoring a batch: from the 5 µs of a linear model to a network that takes too long.
const SCORING_SECONDS: [f64; 12] =
    [0.000_005, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1, 1.0];

/// Loading a release: sessions are created and warmed up.
const LOAD_SECONDS: [f64; 10] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

type Counters<L> = Family<L, Counter>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;
type Sampler = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    samplers: Mutex<Vec<Sampler>>,
    started: Instant,

    requests: Counters<RequestLabels>,
    request_seconds: Histograms<RpcLabels>,
    requests_in_flight: Family<RpcLabels, Gauge>,
    inference_requests: Bounded<ModelLabels, Counter>,
    /// Pieces of work that wait for a worker; set by a sampler.
    pub queue_depth: Gauge,

    decisions: Bounded<PlacementLabels, Counter>,
    /// Offers in answers.
    pub offers_returned: Counter,
    offers_withheld: Counters<ReasonLabels>,
    placement_offers: OfferTotals,
    rule_errors: Bounded<RuleLabels, Counter>,
    /// Values that were taken from the defaults of the schema.
    pub features_defaulted: Counter,

    model_scoring_seconds: Bounded<VersionLabels, Histogram>,
    model_rows: Bounded<VersionLabels, Counter>,
    model_propensities: Bounded<VersionLabels, Propensities>,
    model_unavailable: Bounded<ModelLabels, Counter>,
    propensities_clamped: Bounded<ModelLabels, Counter>,

    release: Gauge,
    release_info: Family<ReleaseLabels, Gauge>,
    release_models: Family<VersionLabels, Gauge>,
    model_engines: Family<EngineLabels, Gauge>,
    published: Mutex<Published>,
    snapshots_published: Counter,
    release_load_seconds: Histogram,
    release_load_failures: Counter,
    /// The release that the store says is current.
    pub release_wanted: Gauge,
    /// Releases in memory that served before.
    pub releases_warm: Gauge,
    /// 1 while the store can be read and followed.
    pub store_reachable: Gauge,
    gates: Family<GateLabels, Counter>,

    customers: Gauge,
    customer_store_bytes: Gauge,

    uptime: Seconds,
    resident_memory: Gauge,
}

/// The metrics of one version of a model.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    scoring_seconds: Histogram,
    rows: Counter,
    propensities: Propensities,
    unavailable: Counter,
    clamped: Counter,
}

impl ModelMetrics {
    /// A batch of `rows` was scored.
    pub fn scored(&self, rows: usize, took: Duration) {
        self.scoring_seconds.observe(took.as_secs_f64());
        self.rows.inc_by(rows as u64);
    }

    /// A decision took these propensities from the model.
    pub fn propensities(&self, batch: &PropensityBatch) {
        self.propensities.add(batch);
    }

    /// The model gave no usable score for `rows` rows.
    pub fn unavailable(&self, rows: usize) {
        self.unavailable.inc_by(rows as u64);
    }

    /// So many scores lay outside 0..=1 by rounding alone, and count as 0 or 1.
    pub fn clamped(&self, scores: usize) {
        self.clamped.inc_by(scores as u64);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Declares everything. A server needs one; a test makes its own.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a list of metrics is read best in one piece")]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("proffer");
        own.register("build", "Version of the server", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let placement_offers = OfferTotals::default();
        own.register_collector(Box::new(placement_offers.clone()));
        let metrics = Self {
            samplers: Mutex::default(),
            started: Instant::now(),
            requests: plain(
                own,
                "requests",
                "Calls that ended, by RPC and gRPC status code",
                Family::default(),
            ),
            request_seconds: in_unit(
                own,
                "request",
                Unit::Seconds,
                "Time from the arrival of a call to its answer, by RPC",
                Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            ),
            requests_in_flight: plain(
                own,
                "requests_in_flight",
                "Calls that have not ended, by RPC",
                Family::default(),
            ),
            inference_requests: Bounded::new(plain(
                own,
                "inference_requests",
                "Open Inference Protocol calls to a known model, by model",
                Family::default(),
            )),
            queue_depth: plain(own, "queue_depth", "Pieces of work that wait for a worker", Gauge::default()),
            decisions: Bounded::new(plain(
                own,
                "decisions",
                "Customers decided, by placement",
                Family::default(),
            )),
            offers_returned: plain(own, "offers_returned", "Offers in answers", Counter::default()),
            offers_withheld: plain(
                own,
                "offers_withheld",
                "Offers not shown, by reason code",
                Family::default(),
            ),
            placement_offers,
            rule_errors: Bounded::new(plain(
                own,
                "rule_errors",
                "Rules that failed or gave no truth value, by offer and rule",
                Family::default(),
            )),
            features_defaulted: plain(
                own,
                "features_defaulted",
                "Values taken from the defaults of the schema",
                Counter::default(),
            ),
            model_scoring_seconds: Bounded::new(in_unit(
                own,
                "model_scoring",
                Unit::Seconds,
                "Time to score one batch, by model and version",
                Family::new_with_constructor(|| Histogram::new(SCORING_SECONDS)),
            )),
            model_rows: Bounded::new(plain(
                own,
                "model_rows",
                "Rows scored, by model and version",
                Family::default(),
            )),
            model_propensities: Bounded::new(plain(
                own,
                "model_propensity",
                "Propensities that decisions took from a model, by model and version",
                Family::default(),
            )),
            model_unavailable: Bounded::new(plain(
                own,
                "model_unavailable",
                "Rows for which a model gave no usable score, by model",
                Family::default(),
            )),
            propensities_clamped: Bounded::new(plain(
                own,
                "propensities_clamped",
                "Scores outside 0..=1 by no more than the rounding of 32-bit sums, taken as 0 or 1, by model",
                Family::default(),
            )),
            release: plain(
                own,
                "release",
                "Number of the release that answers, 0 before the first",
                Gauge::default(),
            ),
            release_info: plain(own, "release_info", "1 for the release that answers", Family::default()),
            release_models: plain(
                own,
                "release_model_info",
                "1 for each model version of the release that answers",
                Family::default(),
            ),
            model_engines: plain(
                own,
                "model_engine_info",
                "1 for what computes the graphs of each model of the release that answers: the native engine, or ONNX Runtime with the reason",
                Family::default(),
            ),
            published: Mutex::default(),
            snapshots_published: plain(
                own,
                "snapshots_published",
                "Times that a loaded release began to answer",
                Counter::default(),
            ),
            release_load_seconds: in_unit(
                own,
                "release_load",
                Unit::Seconds,
                "Time to load and warm up a release",
                Histogram::new(LOAD_SECONDS),
            ),
            release_load_failures: plain(
                own,
                "release_load_failures",
                "Releases that could not be loaded; what served before served on",
                Counter::default(),
            ),
            release_wanted: plain(
                own,
                "release_wanted",
                "Number of the release that the store says is current; differs from proffer_release while it is loading or refused",
                Gauge::default(),
            ),
            releases_warm: plain(
                own,
                "releases_warm",
                "Releases in memory that served before, so that going back to them loads nothing",
                Gauge::default(),
            ),
            store_reachable: plain(
                own,
                "store_reachable",
                "1 while the store can be read and followed",
                Gauge::default(),
            ),
            gates: plain(
                own,
                "gates",
                "Gates that pushed model versions ran into, by gate and outcome",
                Family::default(),
            ),
            customers: plain(own, "customers", "Customers in the embedded store", Gauge::default()),
            customer_store_bytes: in_unit(
                own,
                "customer_store",
                Unit::Bytes,
                "Memory of the embedded store",
                Gauge::default(),
            ),
            uptime: in_unit(own, "uptime", Unit::Seconds, "Time since the start", Seconds::default()),
            resident_memory: Gauge::default(),
            registry,
        };
        metrics.with_process_metrics()
    }

    /// The metrics of an RPC; `rpc` is its name in the contract. Resolve it once and share it.
    #[must_use]
    pub fn rpc(&self, rpc: &'static str) -> Arc<RpcMetrics> {
        let latency = self.request_seconds.get_or_create_owned(&RpcLabels { rpc });
        let in_flight = self.requests_in_flight.get_or_create_owned(&RpcLabels { rpc });
        let requests = self.requests.clone();
        let by_code = move |code| requests.get_or_create_owned(&RequestLabels { rpc, code });
        Arc::new(RpcMetrics::new(latency, in_flight, Box::new(by_code)))
    }

    /// The decisions of a placement of the policy.
    #[must_use]
    pub fn decisions(&self, placement: &str) -> Counter {
        self.decisions.with(placement)
    }

    /// The offers withheld for a reason code.
    #[must_use]
    pub fn withheld(&self, reason: &'static str) -> Counter {
        self.offers_withheld.get_or_create_owned(&ReasonLabels { reason })
    }

    /// The failures of one rule of one offer.
    #[must_use]
    pub fn rule_errors(&self, offer: &str, rule: &str) -> Counter {
        self.rule_errors.with((offer, rule))
    }

    /// The metrics of a version of a model.
    #[must_use]
    pub fn model(&self, model: &str, version: u64) -> ModelMetrics {
        ModelMetrics {
            scoring_seconds: self.model_scoring_seconds.with((model, version)),
            rows: self.model_rows.with((model, version)),
            propensities: self.model_propensities.with((model, version)),
            unavailable: self.model_unavailable.with(model),
            clamped: self.propensities_clamped.with(model),
        }
    }

    /// The Open Inference Protocol calls to a model. Ask for models that exist, not for names that a client sent.
    #[must_use]
    pub fn inference_requests(&self, model: &str) -> Counter {
        self.inference_requests.with(model)
    }

    /// A release was loaded and warmed up.
    pub fn release_loaded(&self, took: Duration) {
        self.release_load_seconds.observe(took.as_secs_f64());
    }

    /// A release could not be loaded.
    pub fn release_refused(&self) {
        self.release_load_failures.inc();
    }

    /// A gate judged a model version. Gates and outcomes are fixed words.
    pub fn gate(&self, gate: &str, outcome: &'static str) {
        self.gates.get_or_create_owned(&GateLabels { gate: gate.to_owned(), outcome }).inc();
    }

    /// A release with these model versions answers from now on. `engines`: model, version, and what computes some of its graphs with the
    /// reason for it, which are fixed words.
    pub fn release_published<'a>(
        &self,
        release: u64,
        models: impl IntoIterator<Item = (&'a str, u64)>,
        engines: impl IntoIterator<Item = (&'a str, u64, &'static str, &'static str)>,
    ) {
        let models =
            models.into_iter().map(|(model, version)| VersionLabels { model: model.to_owned(), version });
        let engines = engines.into_iter().map(|(model, version, engine, reason)| EngineLabels {
            model: model.to_owned(),
            version,
            engine,
            reason,
        });
        let now = Published {
            release: vec![ReleaseLabels { release }],
            models: models.collect(),
            engines: engines.collect(),
        };
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        replace_info(&self.release_info, &published.release, &now.release);
        replace_info(&self.release_models, &published.models, &now.models);
        replace_info(&self.model_engines, &published.engines, &now.engines);
        *published = now;
        self.release.set(release as i64);
        self.snapshots_published.inc();
    }

    /// A release that answers from now on counts its offers here; one for each of its placements.
    pub fn follow_offers(&self, counts: &[Arc<OfferCounts>]) {
        self.placement_offers.follow(counts);
    }

    /// The embedded store was loaded.
    pub fn customers_loaded(&self, customers: usize, bytes: usize) {
        self.customers.set(customers as i64);
        self.customer_store_bytes.set(bytes as i64);
    }

    /// Has `sampler` set a gauge whenever the metrics are read, for what is cheaper to ask than to follow. It must not hold
    /// what the metrics outlive.
    pub fn sample(&self, sampler: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// All metrics as text.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.resident_memory.set(process::resident_bytes().unwrap_or_default() as i64);
        for sampler in self.samplers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sampler(self);
        }
        let mut text = String::new();
        if text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("the metrics could not be written");
        }
        match format {
            Format::Text => exposition::to_text(&text),
            Format::OpenMetrics => text,
        }
    }

    /// Metrics that every Prometheus client has under the same name.
    fn with_process_metrics(mut self) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started: Seconds = in_unit(
            &mut self.registry,
            "process_start_time",
            Unit::Seconds,
            "Start of the process since 1970",
            Seconds::default(),
        );
        started.set(since.as_secs_f64());
        if process::resident_bytes().is_some() {
            let (memory, help) = (self.resident_memory.clone(), "Memory that the process holds");
            in_unit(&mut self.registry, "process_resident_memory", Unit::Bytes, help, memory);
        }
        self
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("registry", &self.registry).finish_non_exhaustive()
    }
}

fn plain<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn in_unit<M: Metric + Clone>(registry: &mut Registry, name: &str, unit: Unit, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

/// Sets what is true now to 1 and removes what no longer is, in this order: a reader never finds nothing.
/// The labels of what answers now.
#[derive(Debug, Default)]
struct Published {
    release: Vec<ReleaseLabels>,
    models: Vec<VersionLabels>,
    engines: Vec<EngineLabels>,
}

fn replace_info<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Gauge>, before: &[L], now: &[L]) {
    for labels in now {
        family.get_or_create_owned(labels).set(1);
    }
    for labels in before.iter().filter(|labels| !now.contains(labels)) {
        family.remove(labels);
    }
}

#[cfg(test)]
mod tests;
