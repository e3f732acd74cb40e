//! Every metric of the server, declared once: name, unit, labels, help.
//!
//! Each component has a group of metrics with a function `register`, which declares and registers them.
//! A counter used by every call is resolved in advance ([`Metrics::rpc`], [`Metrics::model`], [`Metrics::withheld`] …).
//! Its user keeps it, so that a request looks up nothing here.

mod events;
mod experiments;
mod history;
mod outcomes;
mod shadows;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use self::events::EventMetrics;
use self::experiments::ExperimentMetrics;
use self::history::HistoryMetrics;
pub use self::history::LimitUse;
use self::outcomes::OutcomeMetrics;
use self::shadows::ShadowFamilies;
pub use self::shadows::{ShadowMetrics, Unrecorded};
use super::exposition::{self, Format};
use super::labels::{
    ArmLabels, Bounded, EngineLabels, ExperimentLabels, GateLabels, ModelLabels, PlacementLabels,
    ReasonLabels, ReleaseLabels, RequestLabels, RpcLabels, RuleLabels, StepLabels, VersionLabels,
};
use super::logging::lines_lost;
use super::offers::{OfferCounts, OfferTotals};
use super::process;
use super::propensities::{Propensities, PropensityBatch};
use super::rpc::RpcMetrics;

/// An answer takes about a millisecond, and callers rarely wait for more than a second.
const REQUEST_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];

/// A batch takes a linear model a few microseconds, a large network far longer.
const SCORING_SECONDS: [f64; 12] =
    [0.000_005, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.02, 0.1, 1.0];

/// Loading a release creates and warms up sessions.
const LOAD_SECONDS: [f64; 10] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];

type Counters<L> = Family<L, Counter>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
type Seconds = Gauge<f64, AtomicU64>;
type Sampler = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    samplers: Mutex<Vec<Sampler>>,
    calls: CallMetrics,
    /// Queued work, its workers and its memory.
    pub queue: QueueMetrics,
    /// Decisions and their offers.
    pub decisions: DecisionMetrics,
    models: ModelFamilies,
    /// Releases, and the store that they come from.
    pub store: StoreMetrics,
    /// Experiments: what is done to them.
    pub experiments: ExperimentMetrics,
    /// Shadows: how often they were compared, and how it went.
    pub shadows: ShadowFamilies,
    customers: CustomerMetrics,
    /// Recorded events: their queue, their log, their sealing.
    pub events: EventMetrics,
    /// Outcomes that were reported.
    pub outcomes: OutcomeMetrics,
    /// What limits look at, and how far they are used.
    pub history: HistoryMetrics,
    /// Connections of clients.
    pub connections: ConnectionMetrics,
    process: ProcessMetrics,
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
    /// Records the scoring of a batch of `rows`.
    pub fn scored(&self, rows: usize, took: Duration) {
        self.scoring_seconds.observe(took.as_secs_f64());
        self.rows.inc_by(rows as u64);
    }

    /// Records the model's propensities that a decision used.
    pub fn propensities(&self, batch: &PropensityBatch) {
        self.propensities.add(batch);
    }

    /// Counts `rows` without a usable score.
    pub fn unavailable(&self, rows: usize) {
        self.unavailable.inc_by(rows as u64);
    }

    /// Counts scores that rounding put outside 0..=1 and that were taken as 0 or 1.
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
    /// Declares and registers all metrics. A server has one instance; a test makes its own.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("proffer");
        own.register("build", "Version of the server", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        // Metrics are exposed in the order in which they are registered.
        let calls = CallMetrics::register(own);
        let queue = QueueMetrics::register(own);
        let decisions = DecisionMetrics::register(own);
        let models = ModelFamilies::register(own);
        let store = StoreMetrics::register(own);
        let experiments = ExperimentMetrics::register(own);
        let shadows = ShadowFamilies::register(own);
        let customers = CustomerMetrics::register(own);
        let events = EventMetrics::register(own);
        let outcomes = OutcomeMetrics::register(own);
        let history = HistoryMetrics::register(own);
        let connections = ConnectionMetrics::register(own);
        let process = ProcessMetrics::register(own);
        process.expose_standard(&mut registry);
        let samplers = Mutex::default();
        Self {
            registry,
            samplers,
            calls,
            queue,
            decisions,
            models,
            store,
            experiments,
            shadows,
            customers,
            events,
            outcomes,
            history,
            connections,
            process,
        }
    }

    /// The metrics of an RPC; `rpc` is its name in the contract. Resolve it once and share it.
    #[must_use]
    pub fn rpc(&self, rpc: &'static str) -> Arc<RpcMetrics> {
        let latency = self.calls.request_seconds.get_or_create_owned(&RpcLabels { rpc });
        let in_flight = self.calls.requests_in_flight.get_or_create_owned(&RpcLabels { rpc });
        let requests = self.calls.requests.clone();
        let by_code = move |code| requests.get_or_create_owned(&RequestLabels { rpc, code });
        Arc::new(RpcMetrics::new(latency, in_flight, Box::new(by_code)))
    }

    /// The decisions of a placement of the policy.
    #[must_use]
    pub fn decisions(&self, placement: &str) -> Counter {
        self.decisions.decisions.with(placement)
    }

    /// The offers withheld for a reason code.
    #[must_use]
    pub fn withheld(&self, reason: &'static str) -> Counter {
        self.decisions.offers_withheld.get_or_create_owned(&ReasonLabels { reason })
    }

    /// The failures of one rule of one offer.
    #[must_use]
    pub fn rule_errors(&self, offer: &str, rule: &str) -> Counter {
        self.decisions.rule_errors.with((offer, rule))
    }

    /// The decisions of an arm. Pass ids of the policy, never a text that a client sent.
    #[must_use]
    pub fn arm(&self, experiment: &str, variant: &str) -> Counter {
        self.decisions.arms.with((experiment, variant))
    }

    /// The failures of the rule of an experiment.
    #[must_use]
    pub fn experiment_errors(&self, experiment: &str) -> Counter {
        self.decisions.experiment_errors.with(experiment)
    }

    /// The outcomes of a type with a verdict. Pass types that a release declares, never a text that a client sent;
    /// verdicts are fixed words.
    #[must_use]
    pub fn outcomes(&self, outcome: &str, verdict: &'static str) -> Counter {
        self.outcomes.outcomes.with((outcome, verdict))
    }

    /// The outcomes that exceeded a limit of an offer. Limits are fixed words.
    #[must_use]
    pub fn overshoots(&self, offer: &str, limit: &'static str) -> Counter {
        self.history.overshoots.with((offer, limit))
    }

    /// The metrics of a version of a model.
    #[must_use]
    pub fn model(&self, model: &str, version: u64) -> ModelMetrics {
        ModelMetrics {
            scoring_seconds: self.models.scoring_seconds.with((model, version)),
            rows: self.models.rows.with((model, version)),
            propensities: self.models.propensities.with((model, version)),
            unavailable: self.models.unavailable.with(model),
            clamped: self.models.clamped.with(model),
        }
    }

    /// The Open Inference Protocol calls to a model. Pass names of known models, never a name that a client sent.
    #[must_use]
    pub fn inference_requests(&self, model: &str) -> Counter {
        self.calls.inference_requests.with(model)
    }

    /// Records that a release was loaded and warmed up.
    pub fn release_loaded(&self, took: Duration) {
        self.store.load_seconds.observe(took.as_secs_f64());
    }

    /// Counts a release that could not be loaded.
    pub fn release_refused(&self) {
        self.store.load_failures.inc();
    }

    /// Counts the result of a gate for a model version. Gates and outcomes are fixed words.
    pub fn gate(&self, gate: &str, outcome: &'static str) {
        self.store.gates.get_or_create_owned(&GateLabels { gate: gate.to_owned(), outcome }).inc();
    }

    /// Counts a step of an experiment that a person asked for, or that its schedule took. Actions are fixed words.
    pub fn experiment_step(&self, action: &'static str, scheduled: bool) {
        let by = if scheduled { "schedule" } else { "person" };
        self.experiments.steps.get_or_create_owned(&StepLabels { action, by }).inc();
    }

    /// Records that a release with these model versions serves from now on. `engines` has model, version, engine and
    /// the reason for that engine; engine and reason are fixed words.
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
        let store = &self.store;
        let mut published = store.published.lock().unwrap_or_else(PoisonError::into_inner);
        replace_info(&store.release_info, &published.release, &now.release);
        replace_info(&store.release_models, &published.models, &now.models);
        replace_info(&store.model_engines, &published.engines, &now.engines);
        *published = now;
        store.release.set(release as i64);
        store.snapshots_published.inc();
    }

    /// Includes the offer counts of a release that serves from now on: one per placement.
    pub fn follow_offers(&self, counts: &[Arc<OfferCounts>]) {
        self.decisions.placement_offers.follow(counts);
    }

    /// Drops the series of experiments and arms that the release that serves from now on lacks. `has` is asked for each
    /// experiment, and for each of its variants.
    pub fn keep_experiments(&self, has: impl Fn(&str, Option<&str>) -> bool) {
        self.decisions.arms.retain(|labels| has(&labels.experiment, Some(labels.variant.as_str())));
        self.decisions.experiment_errors.retain(|labels| has(&labels.experiment, None));
    }

    /// Records that the embedded customer store was loaded.
    pub fn customers_loaded(&self, customers: usize, bytes: usize) {
        self.customers.customers.set(customers as i64);
        self.customers.store_bytes.set(bytes as i64);
    }

    /// Calls `sampler` whenever the metrics are read, to set gauges that are cheaper to sample than to update. It must
    /// not own anything that these metrics outlive.
    pub fn sample(&self, sampler: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.samplers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(sampler));
    }

    /// All metrics as text.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        self.process.sample();
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
}

/// Calls: how many, how long, how they ended.
struct CallMetrics {
    requests: Counters<RequestLabels>,
    request_seconds: Histograms<RpcLabels>,
    requests_in_flight: Family<RpcLabels, Gauge>,
    inference_requests: Bounded<ModelLabels, Counter>,
}

impl CallMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
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
                "Calls in flight, by RPC",
                Family::default(),
            ),
            inference_requests: Bounded::new(plain(
                own,
                "inference_requests",
                "Open Inference Protocol calls to a known model, by model",
                Family::default(),
            )),
        }
    }
}

/// Queued work, its workers and its memory.
pub struct QueueMetrics {
    /// Pieces of work waiting for a worker; set by a sampler.
    pub depth: Gauge,
    /// Workers replaced because their graph did not stop when cancelled.
    pub workers_replaced: Counter,
    /// Bytes of requests and answers in memory; set by a sampler.
    pub held: Gauge,
}

impl QueueMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
            depth: plain(own, "queue_depth", "Pieces of work waiting for a worker", Gauge::default()),
            workers_replaced: plain(
                own,
                "workers_replaced",
                "Workers replaced because their graph did not stop when cancelled",
                Counter::default(),
            ),
            held: in_unit(
                own,
                "held",
                Unit::Bytes,
                "Memory of requests not yet answered and of answers not yet written",
                Gauge::default(),
            ),
        }
    }
}

/// Decisions and their offers.
pub struct DecisionMetrics {
    decisions: Bounded<PlacementLabels, Counter>,
    /// Offers in answers.
    pub offers_returned: Counter,
    offers_withheld: Counters<ReasonLabels>,
    placement_offers: OfferTotals,
    rule_errors: Bounded<RuleLabels, Counter>,
    arms: Bounded<ArmLabels, Counter>,
    experiment_errors: Bounded<ExperimentLabels, Counter>,
    /// Customers in the holdout.
    pub held_out: Counter,
    /// Missing feature values that the schema's default replaced.
    pub features_defaulted: Counter,
}

impl DecisionMetrics {
    fn register(own: &mut Registry) -> Self {
        let placement_offers = OfferTotals::default();
        own.register_collector(Box::new(placement_offers.clone()));
        Self {
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
                "Offers withheld, by reason code",
                Family::default(),
            ),
            placement_offers,
            rule_errors: Bounded::new(plain(
                own,
                "rule_errors",
                "Rules that failed or gave neither true nor false, by offer and rule",
                Family::default(),
            )),
            arms: Bounded::new(plain(
                own,
                "experiment_decisions",
                "Customers decided, by experiment and variant",
                Family::default(),
            )),
            experiment_errors: Bounded::new(plain(
                own,
                "experiment_rule_errors",
                "Rules of experiments that failed for a customer, who was then not eligible, by experiment",
                Family::default(),
            )),
            held_out: plain(
                own,
                "decisions_held_out",
                "Customers decided who are in the holdout",
                Counter::default(),
            ),
            features_defaulted: plain(
                own,
                "features_defaulted",
                "Missing feature values replaced by the default of the schema",
                Counter::default(),
            ),
        }
    }
}

/// Scoring, by model or version; [`ModelMetrics`] are the resolved ones of a version.
struct ModelFamilies {
    scoring_seconds: Bounded<VersionLabels, Histogram>,
    rows: Bounded<VersionLabels, Counter>,
    propensities: Bounded<VersionLabels, Propensities>,
    unavailable: Bounded<ModelLabels, Counter>,
    clamped: Bounded<ModelLabels, Counter>,
}

impl ModelFamilies {
    fn register(own: &mut Registry) -> Self {
        Self {
            scoring_seconds: Bounded::new(in_unit(
                own,
                "model_scoring",
                Unit::Seconds,
                "Time to score one batch, by model and version",
                Family::new_with_constructor(|| Histogram::new(SCORING_SECONDS)),
            )),
            rows: Bounded::new(plain(
                own,
                "model_rows",
                "Rows scored, by model and version",
                Family::default(),
            )),
            propensities: Bounded::new(plain(
                own,
                "model_propensity",
                "Propensities used in decisions, by model and version",
                Family::default(),
            )),
            unavailable: Bounded::new(plain(
                own,
                "model_unavailable",
                "Rows for which a model gave no usable score, by model",
                Family::default(),
            )),
            clamped: Bounded::new(plain(
                own,
                "propensities_clamped",
                "Scores that 32-bit rounding put outside 0..=1 and that were clamped to 0 or 1, by model",
                Family::default(),
            )),
        }
    }
}

/// Releases, and the store that they come from.
pub struct StoreMetrics {
    release: Gauge,
    release_info: Family<ReleaseLabels, Gauge>,
    release_models: Family<VersionLabels, Gauge>,
    model_engines: Family<EngineLabels, Gauge>,
    published: Mutex<Published>,
    snapshots_published: Counter,
    load_seconds: Histogram,
    load_failures: Counter,
    /// The release that is current in the store.
    pub release_wanted: Gauge,
    /// Warm releases: kept in memory after they served.
    pub releases_warm: Gauge,
    /// 1 while the store can be read and followed.
    pub reachable: Gauge,
    gates: Family<GateLabels, Counter>,
}

impl StoreMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
            release: plain(
                own,
                "release",
                "Number of the release that serves, 0 before the first",
                Gauge::default(),
            ),
            release_info: plain(own, "release_info", "1 for the release that serves", Family::default()),
            release_models: plain(
                own,
                "release_model_info",
                "1 for each model version of the release that serves",
                Family::default(),
            ),
            model_engines: plain(
                own,
                "model_engine_info",
                "1 for each engine that runs a model of the release that serves, with the reason if it is ONNX Runtime",
                Family::default(),
            ),
            published: Mutex::default(),
            snapshots_published: plain(
                own,
                "snapshots_published",
                "Times that a loaded release started to serve",
                Counter::default(),
            ),
            load_seconds: in_unit(
                own,
                "release_load",
                Unit::Seconds,
                "Time to load and warm up a release",
                Histogram::new(LOAD_SECONDS),
            ),
            load_failures: plain(
                own,
                "release_load_failures",
                "Releases that could not be loaded; the previous release kept serving",
                Counter::default(),
            ),
            release_wanted: plain(
                own,
                "release_wanted",
                "Number of the release that is current in the store; differs from proffer_release while it is \
                 loading or after it was refused",
                Gauge::default(),
            ),
            releases_warm: plain(
                own,
                "releases_warm",
                "Earlier releases kept in memory, so that a rollback to them loads nothing",
                Gauge::default(),
            ),
            reachable: plain(
                own,
                "store_reachable",
                "1 while the store can be read and followed",
                Gauge::default(),
            ),
            gates: plain(
                own,
                "gates",
                "Gate results of pushed model versions, by gate and outcome",
                Family::default(),
            ),
        }
    }
}

/// The embedded customer store.
struct CustomerMetrics {
    customers: Gauge,
    store_bytes: Gauge,
}

impl CustomerMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
            customers: plain(own, "customers", "Customers in the embedded store", Gauge::default()),
            store_bytes: in_unit(
                own,
                "customer_store",
                Unit::Bytes,
                "Memory of the embedded store",
                Gauge::default(),
            ),
        }
    }
}

/// Connections of clients.
pub struct ConnectionMetrics {
    /// Open connections that were not told to close.
    pub open: Gauge,
    /// Connections closed because they were idle or to make room for others, or refused.
    pub dropped: Counter,
}

impl ConnectionMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
            open: plain(own, "connections", "Open connections", Gauge::default()),
            dropped: plain(
                own,
                "connections_dropped",
                "Connections closed because they were idle or to make room for others, or refused",
                Counter::default(),
            ),
        }
    }
}

/// The process and its log.
struct ProcessMetrics {
    started: Instant,
    uptime: Seconds,
    log_lines_lost: Counter,
    resident_memory: Gauge,
}

impl ProcessMetrics {
    fn register(own: &mut Registry) -> Self {
        Self {
            started: Instant::now(),
            uptime: in_unit(own, "uptime", Unit::Seconds, "Time since the start", Seconds::default()),
            log_lines_lost: plain(
                own,
                "log_lines_lost",
                "Log lines lost because standard error was read too slowly",
                Counter::default(),
            ),
            resident_memory: Gauge::default(),
        }
    }

    /// Registers the metrics that every Prometheus client exposes under the same name.
    fn expose_standard(&self, root: &mut Registry) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started: Seconds = in_unit(
            root,
            "process_start_time",
            Unit::Seconds,
            "Start time of the process since 1970",
            Seconds::default(),
        );
        started.set(since.as_secs_f64());
        if process::resident_bytes().is_some() {
            let (memory, help) = (self.resident_memory.clone(), "Resident memory of the process");
            in_unit(root, "process_resident_memory", Unit::Bytes, help, memory);
        }
    }

    fn sample(&self) {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.resident_memory.set(process::resident_bytes().unwrap_or_default() as i64);
        self.log_lines_lost.inner().store(lines_lost(), Ordering::Relaxed);
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

/// The labels of the release that serves.
#[derive(Debug, Default)]
struct Published {
    release: Vec<ReleaseLabels>,
    models: Vec<VersionLabels>,
    engines: Vec<EngineLabels>,
}

/// Sets the current labels to 1, then removes former ones. In this order a reader always finds at least one.
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
