//! Guardrails hold schedules and end experiments, and do nothing that they must not. `tests/server/ramps.rs` tests the
//! rest of ramps with servers.

#![allow(clippy::float_cmp, reason = "a coverage is what was written, digit by digit")]

mod ending;
mod holding;

use std::collections::{BTreeMap, VecDeque};
use std::fs;

use chrono::{TimeDelta, Utc};

use super::*;
use crate::records::{Current, GuardrailEvidence, Schedule, StepRecord};
use crate::{DeployerParts, Judges, NewRelease, Publisher, RegistryParts};
use feature::RecentRows;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use telemetry::{Format, Readiness};
use work::Background;

const FEATURES: &str = "[[feature]]\nname = 'balance'\ntype = 'float'\nentity = 'customer'\ndefault = 100.0\n\
                        [[feature]]\nname = 'annual_fee'\ntype = 'float'\nentity = 'offer'\ndefault = 1.0\n";

const OFFERS: &str =
    "[[offer]]\nid = 'gold'\nname = 'Gold'\ncategory = 'c'\nplacements = ['home']\nvalue = 9.0\n";

const MANIFEST: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

const STEPS: &str = "[[experiment.step]]\ncoverage = 0.25\nafter = \"30m\"\n\
                     [[experiment.step]]\ncoverage = 0.5\nafter = \"2h\"\n";

const GUARDED: &str = "[experiment.metric]\nprimary = \"conversion\"\n\
                       guardrails = [{ metric = \"opt_out_rate\", tolerate = 0.002 }]\n";

/// A policy with one experiment in this state, with a schedule; `lines` go into it.
fn policy(state: &str, lines: &str, steps: &str) -> String {
    format!(
        "[[category]]\nid = 'c'\n[[placement]]\nid = 'home'\nchannels = ['app']\ncount = 1\nmodel = 'm'\n\
         [[experiment]]\nid = \"margins\"\nstate = \"{state}\"\ncoverage = 0.05\n{lines}{steps}\
         [[experiment.variant]]\nid = \"as_is\"\nweight = 0.5\n\
         [[experiment.variant]]\nid = \"by_margin\"\nweight = 0.5\nstrategy = \"margin\"\n"
    )
}

type Hook = Box<dyn FnOnce() + Send>;

/// Guardrails that say what they were told to.
struct Scripted {
    says: Mutex<Judgement>,
    /// What else happens when they are asked, one by one.
    meanwhile: Mutex<VecDeque<Option<Hook>>>,
}

impl Scripted {
    fn new(says: Judgement) -> Arc<Self> {
        Arc::new(Self { says: Mutex::new(says), meanwhile: Mutex::default() })
    }

    fn say(&self, judgement: Judgement) {
        *lock(&self.says) = judgement;
    }

    /// When they are asked for the `time`th time, from 1, this happens before they answer.
    fn when_asked(&self, time: usize, hook: impl FnOnce() + Send + 'static) {
        let mut meanwhile = lock(&self.meanwhile);
        meanwhile.resize_with(time - 1, || None);
        meanwhile.push_back(Some(Box::new(hook)));
    }
}

impl Guardrails for Scripted {
    fn judge(&self, experiment: &str) -> Judgement {
        assert_eq!(experiment, "margins");
        let meanwhile = lock(&self.meanwhile).pop_front().flatten();
        if let Some(hook) = meanwhile {
            hook();
        }
        lock(&self.says).clone()
    }
}

fn hold() -> Judgement {
    Judgement::Hold { why: "`opt_out_rate` may be worse by more than 0.002".to_owned() }
}

fn evidence() -> GuardrailEvidence {
    GuardrailEvidence {
        metric: "opt_out_rate".to_owned(),
        variant: "by_margin".to_owned(),
        delta: -0.0123,
        low: -0.02,
        high: -0.0041,
        tolerate: 0.002,
        customers: 12_000,
    }
}

fn roll_back() -> Judgement {
    Judgement::RollBack { evidence: evidence() }
}

/// A store in a directory, of which several processes have ramps.
#[derive(Clone)]
struct Setting {
    directory: Arc<tempfile::TempDir>,
}

impl Setting {
    fn new(policy: &str) -> Self {
        let setting = Self { directory: Arc::new(tempfile::tempdir().unwrap()) };
        let store = Store::create(setting.directory.path().to_str().unwrap(), None).unwrap();
        let staged = store.stage().unwrap();
        let graphs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
        fs::copy(graphs.join("pushed_good.onnx"), staged.path().join("model.onnx")).unwrap();
        fs::write(staged.path().join("model.toml"), MANIFEST).unwrap();
        store.add_version("m", Some(1), staged).unwrap();
        let release = add_release(&store, policy);
        let [author, reason] = ["a test", "made by init"].map(str::to_owned);
        let first = Current { release, previous: 0, sequence: 1, author, reason, time: crate::now() };
        store.replace_current(None, &first).unwrap();
        setting
    }

    fn store(&self) -> Store {
        Store::open(self.directory.path().to_str().unwrap(), None).unwrap()
    }

    /// As another process would have it: it knows nothing but what the store has, and serves nothing yet.
    fn process(&self, guardrails: Option<&Arc<Scripted>>) -> (Deployer, Ramps) {
        let store = self.store();
        let cache = Arc::new(GraphCache::new(OnnxRuntime::load().unwrap(), 1));
        let (publisher, metrics) = (Publisher::default(), Arc::new(Metrics::new()));
        let background = Background::default();
        let registry = Registry::new(RegistryParts {
            store: store.clone(),
            cache: Arc::clone(&cache),
            publisher: publisher.clone(),
            recent: Arc::new(RecentRows::new(0)),
            metrics: Arc::clone(&metrics),
            upload_bytes: 0,
            judges: Judges::default(),
            judge: background.judge.clone(),
        });
        let deployer = Deployer::new(DeployerParts {
            store: store.clone(),
            cache,
            repository: None,
            publisher,
            readiness: Readiness::default(),
            metrics: Arc::clone(&metrics),
            keep_warm: 0,
            background,
        });
        let ramps = Ramps::new(RampsParts {
            store,
            registry,
            deployer: deployer.clone(),
            metrics,
            server: "a test".to_owned(),
            pending_stops: None,
            guardrails: guardrails.map(|scripted| Arc::clone(scripted) as Arc<dyn Guardrails>),
        });
        (deployer, ramps)
    }

    fn ramps(&self, guardrails: &Arc<Scripted>) -> Ramps {
        self.process(Some(guardrails)).1
    }

    /// What a process with these guardrails does so many minutes from now; returns the state and the coverage then.
    fn poll_in(&self, minutes: i64, guardrails: Option<&Arc<Scripted>>) -> (State, f64) {
        self.process(guardrails).1.advance(Utc::now() + TimeDelta::minutes(minutes));
        self.standing()
    }

    fn standing(&self) -> (State, f64) {
        let experiment = self.process(None).1.get("margins").unwrap().experiment;
        (experiment.state, experiment.coverage)
    }

    fn schedule(&self, guardrails: Option<&Arc<Scripted>>) -> Option<Schedule> {
        self.process(guardrails).1.get("margins").unwrap().experiment.schedule
    }

    fn held(&self, guardrails: &Arc<Scripted>) -> String {
        self.schedule(Some(guardrails)).unwrap().held
    }

    fn steps(&self) -> Vec<StepRecord> {
        self.process(None).1.get("margins").unwrap().steps
    }

    fn order(&self, order: Order) -> Result<ChangedExperiment, RegistryError> {
        let [experiment, author, reason] = ["margins", "a person", "a test"].map(str::to_owned);
        self.process(None).1.change(&Change { experiment, order, author, reason }, &Call::default())
    }

    /// A person promotes a release of their own, with another text in the policy.
    fn person_replaces(&self, from: &str, to: &str) {
        let store = self.store();
        let before = store.release(store.current().unwrap().current.release).unwrap().policy;
        assert!(before.contains(from), "no {from:?} in {before}");
        let release = add_release(&store, &before.replacen(from, to, 1));
        let author = "a person".to_owned();
        let request = PromotionRequest { release, author, ..PromotionRequest::default() };
        self.process(None).0.promote(&request, &Call::default()).unwrap();
    }
}

fn add_release(store: &Store, policy: &str) -> u64 {
    let models = BTreeMap::from([("m".to_owned(), 1)]);
    let (author, note, features, offers) = ("a person", "", FEATURES, OFFERS);
    let new = NewRelease { author, note, models: &models, features, offers, policy, step: None };
    store.add_release(&new).unwrap().number
}

/// A setting with guardrails, and what they say at first.
fn guarded(says: Judgement) -> (Setting, Arc<Scripted>) {
    (Setting::new(&policy("running", GUARDED, STEPS)), Scripted::new(says))
}
