//! The experiment of a set: that of the sample, with a seed and names of the set's own. So the arm of a customer tells
//! which release answered.

use experiment::{Scheme, Split};
use toml::Table;

use super::sets::{number, tables};
use crate::harness::wire;

/// Who is in which arm of a set, and what the arms sort by.
#[derive(Debug, Clone)]
pub(super) struct Experiment {
    id: String,
    placement: String,
    split: Split,
    /// Its variants, the control first.
    variants: Vec<Variant>,
    /// What each placement sorts by, and its id.
    placements: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Variant {
    id: String,
    /// What it sorts by, if it changes that.
    strategy: Option<String>,
}

impl Experiment {
    /// Gives the experiment of the sample's policy the seed and the names of a set. Everyone may take part, so that the
    /// arm is a function of the id.
    pub(super) fn of(policy: &mut Table, set: usize) -> Self {
        let text = |table: &Table, key: &str| table[key].as_str().unwrap().to_owned();
        let placements = tables(policy, "placement");
        let placements =
            placements.map(|placement| (text(placement, "id"), text(placement, "strategy"))).collect();
        let experiment = tables(policy, "experiment").next().unwrap();
        let seed = format!("set {set}");
        experiment.insert("seed".to_owned(), seed.clone().into());
        experiment.remove("when");
        let (mut weights, mut variants) = (Vec::new(), Vec::new());
        for variant in tables(experiment, "variant") {
            let id = format!("{}-{set}", text(variant, "id"));
            variant.insert("id".to_owned(), id.clone().into());
            weights.push(number(variant.get("weight")));
            variants.push(Variant {
                id,
                strategy: variant.contains_key("strategy").then(|| text(variant, "strategy")),
            });
        }
        let coverage = number(experiment.get("coverage"));
        Self {
            id: text(experiment, "id"),
            placement: experiment["placements"][0].as_str().unwrap().to_owned(),
            split: Split::new(Scheme::GrowthBook, &seed, coverage, &weights).unwrap(),
            variants,
            placements,
        }
    }

    /// The arm that a customer must be in at a placement.
    fn arm(&self, placement: &str, customer: &str) -> Option<usize> {
        self.split.variant(customer).filter(|_| placement == self.placement)
    }

    /// What an answer must say of it.
    pub(super) fn assignments(&self, placement: &str, customer: &str) -> Vec<wire::Assignment> {
        let named = |arm: usize| wire::Assignment {
            experiment: self.id.clone(),
            variant: self.variants[arm].id.clone(),
            how: wire::AssignmentHow::Drawn.into(),
        };
        self.arm(placement, customer).map(named).into_iter().collect()
    }

    /// Checks the arm of an answer, and that its offers are in the order of that arm.
    ///
    /// # Errors
    /// What belongs to another set.
    pub(super) fn check(
        &self,
        placement: &str,
        customer: &str,
        result: &wire::RankResult,
    ) -> Result<(), String> {
        let expected = self.assignments(placement, customer);
        if result.assignments != expected {
            return Err(format!("in the variants {:?}, not {expected:?}", result.assignments));
        }
        let variant = self.arm(placement, customer).map(|arm| &self.variants[arm]);
        let of_placement = self.placements.iter().find(|(id, _)| id == placement);
        let strategy = variant
            .and_then(|variant| variant.strategy.as_ref())
            .or(of_placement.map(|(_, strategy)| strategy))
            .ok_or("no such placement")?;
        let key = |offer: &wire::RankedOffer| match (&offer.factors, strategy.as_str()) {
            (Some(factors), "margin") => Some(factors.margin),
            (Some(_), _) => Some(offer.priority),
            (None, _) => None,
        };
        let keys: Vec<f64> = result.offers.iter().filter_map(key).collect();
        if keys.is_sorted_by(|first, second| first >= second) {
            return Ok(());
        }
        Err(format!("offers are not sorted by {strategy}: {keys:?}"))
    }

    /// The place of the arm of a result among the variants; `None` if it is in none.
    pub(super) fn place(&self, result: &wire::RankResult) -> Option<usize> {
        let variant = &result.assignments.first()?.variant;
        self.variants.iter().position(|known| known.id == *variant)
    }
}
