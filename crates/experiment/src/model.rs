//! What the files say: experiments, their variants, and what a variant changes.

use std::time::Duration;

use crate::assign::{Four, Listed};
use crate::split::Part;
use crate::{Exploration, Holdout, Maturity, Measured, Metric, Prior, Scheme, Shadow, Split};

/// The experiments, the metrics, the shadows, the holdout and the exploration of a release. `R` is a compiled rule.
///
/// Placements, categories, context weights and offers are indices into the lists of [`crate::Names`].
#[derive(Debug, Clone)]
pub struct Experiments<R> {
    /// The universal holdout.
    pub holdout: Option<Holdout>,
    /// The experiments, sorted by id.
    pub all: Vec<Experiment<R>>,
    /// The metrics, built in and declared, sorted by id.
    pub metrics: Vec<Metric>,
    /// The shadows, sorted by id.
    pub shadows: Vec<Shadow>,
    /// The exploration of each placement that has one.
    pub exploration: Vec<(usize, Exploration)>,
    /// What helps and limits new offers, for each offer that has it.
    pub newcomers: Vec<(usize, Newcomer)>,
    /// For each placement, the experiments that may assign there.
    pub(crate) at_placement: Vec<Vec<Four>>,
    /// The customers that the file puts into a variant.
    pub(crate) listed: Listed,
}

/// An experiment: customers split among variants.
#[derive(Debug, Clone)]
pub struct Experiment<R> {
    /// Unique among the experiments.
    pub id: String,
    /// Whether it assigns.
    pub state: State,
    /// Where it holds, sorted; empty for everywhere.
    pub placements: Vec<usize>,
    /// The share of those eligible that take part, 0..=1.
    pub coverage: f64,
    /// How arms are drawn.
    pub scheme: Scheme,
    /// What arms are drawn with; the id unless the file says otherwise.
    pub seed: String,
    /// Who may take part; `None` for everyone.
    pub when: Option<When<R>>,
    /// The group whose experiments exclude each other.
    pub group: Option<Group>,
    /// At least two. The first is the control, which changes nothing.
    pub variants: Vec<Variant>,
    /// The coverages that follow, ascending, each above `coverage` or already reached.
    pub steps: Vec<Step>,
    /// What it is judged by; `None` without `[experiment.metric]`. It is no part of the phase.
    pub measured: Option<Measured>,
    /// The line where it begins, for problems with it.
    pub line: usize,
    pub(crate) split: Split,
}

/// Whether an experiment assigns customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Not begun: only forced variants are assigned.
    Draft,
    /// Variants are drawn.
    #[default]
    Running,
    /// Nobody is in an arm. It keeps its part of the group, and everyone is in the same arm once it runs again.
    Paused,
    /// Over: nobody is in an arm, and its part of the group is free.
    Stopped,
}

/// A rule for who may take part.
#[derive(Debug, Clone)]
pub struct When<R> {
    /// As written.
    pub source: String,
    /// As compiled.
    pub rule: R,
}

/// An experiment's part of a group. Parts of one group do not overlap.
#[derive(Debug, Clone)]
pub struct Group {
    /// The index of the group, the same for all of its experiments.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// From and up to which share of all customers, within 0..=1.
    pub range: [f64; 2],
    pub(crate) part: Part,
}

/// An arm of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Unique in its experiment.
    pub id: String,
    /// Its share of those that take part, 0..=1. The weights of an experiment sum to 1.
    pub weight: f64,
    /// What it changes.
    pub changes: Changes,
    /// The customers that are always in it, such as testers.
    pub listed: Vec<String>,
}

/// What a variant changes at the placements of its experiment, or a shadow at its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Versions of models, by name.
    pub models: Vec<ModelVersion>,
    /// What offers are sorted by.
    pub strategy: Option<Strategy>,
    /// The default number of offers, 1..=100.
    pub count: Option<usize>,
    /// Weights of categories in percent, more than −100, by index.
    pub category_weights: Vec<(usize, f64)>,
    /// Context weights in percent, more than −100, by index.
    pub context_weights: Vec<(usize, f64)>,
    /// How the placement explores.
    pub exploration: Option<Exploration>,
}

/// Another version of a model; this crate does not know whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// The name of the model.
    pub name: String,
    /// The version, at least 1.
    pub version: u64,
    /// The line that names it, for problems with the model.
    pub line: usize,
}

/// What the offers of a placement are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Propensity × context weight × value × lever.
    Priority,
    /// Propensity × value − cost.
    Margin,
}

/// A coverage that follows after a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The share of those eligible, 0..=1.
    pub coverage: f64,
    /// How long after the coverage before it.
    pub after: Duration,
}

/// What helps and limits an offer while it is new.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Newcomer {
    /// Its starting propensity.
    pub prior: Option<Prior>,
    /// How much of it may be shown until it is known.
    pub maturity: Option<Maturity>,
}

impl<R> Experiments<R> {
    /// The experiment called `id` and its index.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<(usize, &Experiment<R>)> {
        let index = self.all.binary_search_by(|experiment| experiment.id.as_str().cmp(id)).ok()?;
        Some((index, &self.all[index]))
    }

    /// The metric called `id` and its index.
    #[must_use]
    pub fn find_metric(&self, id: &str) -> Option<(usize, &Metric)> {
        let index = crate::metric::find(&self.metrics, id)?;
        Some((index, &self.metrics[index]))
    }

    /// The exploration of a placement without an experiment.
    #[must_use]
    pub fn exploration_of(&self, placement: usize) -> Exploration {
        let found = self.exploration.binary_search_by_key(&placement, |(placement, _)| *placement);
        found.map_or(Exploration::default(), |index| self.exploration[index].1)
    }

    /// Every compiled rule, for a caller that compiles them further.
    pub fn rules_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.all.iter_mut().filter_map(|experiment| experiment.when.as_mut()).map(|when| &mut when.rule)
    }
}

impl<R> Experiment<R> {
    /// Whether it holds at a placement.
    #[must_use]
    pub fn is_at(&self, placement: usize) -> bool {
        self.placements.is_empty() || self.placements.binary_search(&placement).is_ok()
    }

    /// Whether it puts customers into arms that no request forces.
    #[must_use]
    pub fn assigns(&self) -> bool {
        let draws = self.state == State::Running && self.coverage > 0.0;
        let lists = || self.variants.iter().any(|variant| !variant.listed.is_empty());
        self.state.may_force() && (draws || lists())
    }

    /// The next step of its schedule. It is due once the present coverage has lasted [`Step::after`].
    #[must_use]
    pub fn next_step(&self) -> Option<Step> {
        self.steps.iter().find(|step| step.coverage > self.coverage).copied()
    }

    /// The variant called `id` and its index.
    #[must_use]
    pub fn find_variant(&self, id: &str) -> Option<(usize, &Variant)> {
        self.variants.iter().enumerate().find(|(_, variant)| variant.id == id)
    }
}

impl State {
    /// Every state by its name in `policy.toml`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("draft", Self::Draft),
        ("running", Self::Running),
        ("paused", Self::Paused),
        ("stopped", Self::Stopped),
    ];

    /// The name in `policy.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, state)| *state)
    }

    /// Whether forced variants are assigned.
    #[must_use]
    pub fn may_force(self) -> bool {
        match self {
            Self::Draft | Self::Running => true,
            Self::Paused | Self::Stopped => false,
        }
    }
}
