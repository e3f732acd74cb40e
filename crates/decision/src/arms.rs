//! The arms of a customer, and what they change of the placement for that customer alone.
//!
//! Nothing here looks at the clock or at the order of a request: [`Draws`] of crate `experiment` say who is in which arm,
//! unless a record does, as when the id that it was drawn with is not known any more.

use experiment::{Assignment, Changes, Draws, Exploration, Forced, How, Newcomer, Prior, Seed, Standing};
use smallvec::SmallVec;

use super::plan::Plan;
use super::tally::Tally;
use super::{DecisionError, RecordedArms};
use offer::{CustomerRules, OfferIndex, Rule, Strategy};
use release::{ModelIndex, Release, Replacement};

/// Where a customer stands in the experiments of a placement.
#[derive(Debug, Clone, Default)]
pub(super) struct Arms {
    /// Whether nothing but the fallback reaches them.
    pub held_out: bool,
    pub assignments: Vec<Assignment>,
}

/// How the offers of a customer are chosen: as the placement says, but for what their variants change.
#[derive(Debug)]
pub(super) struct Treatment {
    pub strategy: Strategy,
    pub count: usize,
    pub exploration: Exploration,
    /// The versions that score in the place of pinned ones.
    pub replacements: SmallVec<[Replacement; 1]>,
    category_weights: SmallVec<[(usize, f64); 2]>,
    context_weights: SmallVec<[(usize, f64); 2]>,
}

/// An offer among the candidates that is new.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedNewcomer {
    pub offer: OfferIndex,
    pub newcomer: Newcomer,
    /// How many decisions had shown it when the call was planned.
    pub impressions: u64,
}

impl PlannedNewcomer {
    /// Its prior, and how many decisions had shown it.
    pub(super) fn prior(&self) -> Option<(Prior, u64)> {
        self.newcomer.prior.map(|prior| (prior, self.impressions))
    }
}

/// What the chance of a decision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    /// Its id: a new decision is another throw, and the record of one repeats it.
    Decision,
    /// The customer and the placement, so that two releases are compared by the same throws.
    Customer,
}

impl Arms {
    /// Those of the customer at a position. `rules` are theirs. `None` where no experiment and no holdout can reach them.
    pub(super) fn of(
        plan: &Plan,
        draws: Option<&Draws<'_, Rule>>,
        index: usize,
        rules: &CustomerRules<'_>,
        tally: &mut Tally,
    ) -> Self {
        if let Some(recorded) = &plan.recorded_arms {
            return Self { held_out: recorded.held_out, assignments: recorded.assignments.clone() };
        }
        let Some(draws) = draws else { return Self::default() };
        let mut assignments = Vec::new();
        let eligible = |experiment: usize, rule: &Rule| {
            // Who may take part must not depend on a guess.
            rules.holds_for_customer(rule).unwrap_or_else(|_| {
                tally.experiment_error(experiment);
                false
            })
        };
        let standing = draws.assign(&plan.customers[index].id, eligible, &mut assignments);
        Self { held_out: standing == Standing::HeldOut, assignments }
    }
}

/// The arms of a record, found among the experiments of the release that decides.
#[derive(Debug)]
pub(super) struct FixedArms {
    held_out: bool,
    assignments: Vec<Assignment>,
}

/// What a record says of arms, for a plan of the release that decides now.
pub(super) fn of_record(
    release: &Release,
    placement: usize,
    recorded: &RecordedArms,
) -> (Option<FixedArms>, Forced) {
    let experiments = release.experiments();
    if recorded.can_be_drawn {
        let requested = recorded.assignments.iter().filter(|(_, _, how)| *how == How::Requested);
        let names =
            || requested.clone().map(|(experiment, variant, _)| (experiment.as_str(), variant.as_str()));
        // Another release may not have them any more: then nothing is forced.
        return (None, experiments.force(names()).unwrap_or_default());
    }
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut groups: Vec<Option<usize>> = Vec::new();
    for (experiment, variant, how) in &recorded.assignments {
        let found = experiments.find(experiment).filter(|(_, experiment)| experiment.is_at(placement));
        let Some((index, experiment)) = found else { continue };
        let Some((variant, _)) = experiment.find_variant(variant) else { continue };
        // What this release has put into one group excludes each other: the first one keeps the customer.
        let group = experiment.group.as_ref().map(|group| group.index);
        let is_taken = group.is_some() && groups.contains(&group);
        if experiment.state.may_force() && !is_taken {
            groups.push(group);
            assignments.push(Assignment { experiment: index, variant, how: *how });
        }
    }
    assignments.sort_unstable_by_key(|assignment| assignment.experiment);
    let held_out = recorded.held_out && experiments.holdout.is_some();
    (Some(FixedArms { held_out, assignments }), Forced::default())
}

impl Treatment {
    /// That of a customer with these arms.
    pub(super) fn of(plan: &Plan, assignments: &[Assignment]) -> Self {
        let mut treatment = Self {
            strategy: plan.placement().strategy,
            count: plan.count,
            exploration: plan.exploration,
            replacements: SmallVec::new(),
            category_weights: SmallVec::new(),
            context_weights: SmallVec::new(),
        };
        let release = &plan.snapshot.release;
        for Assignment { experiment, variant, .. } in assignments {
            let Some(of_experiment) = release.experiments().all.get(*experiment) else { continue };
            let Some(of_variant) = of_experiment.variants.get(*variant) else { continue };
            let replacements = release.replacements(*experiment, *variant);
            treatment.change(&of_variant.changes, replacements, plan.asked.count == 0);
        }
        treatment
    }

    /// Two variants never change the same: the policy would have been refused.
    fn change(&mut self, changes: &Changes, replacements: &[Replacement], counts: bool) {
        let Changes { models: _, strategy, count, category_weights, context_weights, exploration } = changes;
        self.replacements.extend_from_slice(replacements);
        self.strategy = strategy.map_or(self.strategy, strategy_of);
        // What the caller asks for wins: they have that much room.
        if let Some(count) = count.filter(|_| counts) {
            self.count = count;
        }
        self.category_weights.extend_from_slice(category_weights);
        self.context_weights.extend_from_slice(context_weights);
        self.exploration = exploration.unwrap_or(self.exploration);
    }

    /// Puts what a shadow changes over what the variants of the customer do. Of what both change, the shadow's counts:
    /// each list is looked through from its front. A shadow has no count.
    pub(super) fn overlay(&mut self, changes: &Changes, replacements: &[Replacement]) {
        let Changes { models: _, strategy, count: _, category_weights, context_weights, exploration } =
            changes;
        self.replacements.insert_from_slice(0, replacements);
        self.strategy = strategy.map_or(self.strategy, strategy_of);
        self.category_weights.insert_from_slice(0, category_weights);
        self.context_weights.insert_from_slice(0, context_weights);
        self.exploration = exploration.unwrap_or(self.exploration);
    }

    /// The weight of a category in percent, where the policy says `weight`.
    pub(super) fn category_weight(&self, category: usize, weight: f64) -> f64 {
        changed(&self.category_weights, category).unwrap_or(weight)
    }

    /// The percent of a context weight, where the policy says `percent`.
    pub(super) fn context_weight(&self, index: usize, percent: f64) -> f64 {
        changed(&self.context_weights, index).unwrap_or(percent)
    }
}

fn strategy_of(strategy: experiment::Strategy) -> Strategy {
    match strategy {
        experiment::Strategy::Priority => Strategy::Priority,
        experiment::Strategy::Margin => Strategy::Margin,
    }
}

fn changed(list: &[(usize, f64)], index: usize) -> Option<f64> {
    list.iter().find(|(changed, _)| *changed == index).map(|(_, percent)| *percent)
}

/// The version that scores in the place of a model, if a variant of the customer has one.
pub(super) fn replaced(replacements: &[Replacement], model: ModelIndex) -> Option<ModelIndex> {
    replacements.iter().find(|replacement| replacement.pinned == model).map(|replacement| replacement.by)
}

impl Plan {
    /// The draws of this plan; `None` where no customer can be in an arm or held out. The months of `as_of` and of the
    /// clock both hold out: otherwise a caller could leave the holdout by asking about another month.
    pub(super) fn draws(&self) -> Option<Draws<'_, Rule>> {
        let experiments = self.snapshot.release.experiments();
        let nothing = experiments.all.is_empty() && experiments.holdout.is_none();
        (!nothing && self.recorded_arms.is_none())
            .then(|| experiments.at(self.placement.get(), self.as_of, &self.forced).held_out_at(self.now))
    }

    /// The offer among the new ones.
    pub(super) fn newcomer(&self, offer: OfferIndex) -> Option<&PlannedNewcomer> {
        if self.newcomers.is_empty() {
            return None;
        }
        let found = self.newcomers.binary_search_by_key(&offer, |newcomer| newcomer.offer).ok()?;
        self.newcomers.get(found)
    }

    /// The chance of a decision for the customer at a position.
    pub(super) fn seed(&self, decision: uuid::Uuid, index: usize) -> Seed {
        match self.chance {
            Chance::Decision => Seed::of_decision(decision.as_u128()),
            Chance::Customer => {
                let id = &self.customers[index].id;
                Seed::of_bytes(format!("{}\u{0}{id}", self.placement().id).as_bytes())
            }
        }
    }
}

/// The variants that a request forces.
///
/// # Errors
/// A name is unknown, an experiment assigns nobody, or two of them exclude each other.
pub(super) fn force(release: &Release, wanted: &[(String, String)]) -> Result<Forced, DecisionError> {
    if wanted.is_empty() {
        return Ok(Forced::default());
    }
    let names = wanted.iter().map(|(experiment, variant)| (experiment.as_str(), variant.as_str()));
    release.experiments().force(names).map_err(DecisionError::CannotForce)
}
