//! The calls of the load: a fixed mix of `Rank` and `Score` for varied customers, drawn with a seed.

use std::collections::HashMap;
use std::path::Path;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::sets::SETS;
use crate::harness::{dense, wire};

const SEED: u64 = 20_261_015;

/// The number of different questions, which then repeat.
pub(super) const QUESTIONS: usize = 2000;

/// The most customers of a `Rank`.
const MAX_CUSTOMERS: u64 = 8;

/// A time at which most offers of the sample are valid.
const AS_OF: i64 = 1_792_000_000;

const PLACEMENTS: [&str; 4] = ["app_home", "app_home", "email_monthly", "call_center"];

const PAGES: [&str; 5] = ["home", "statement", "travel", "card", "support"];

/// Customer features that a `Score` sends; the others take the schema's defaults.
const COLUMNS: [&str; 10] = [
    "balance",
    "purchases",
    "cash_advance",
    "credit_limit",
    "payments",
    "minimum_payments",
    "prc_full_payment",
    "tenure",
    "age",
    "late_payments_12m",
];

/// Offers that both models of the `Score` calls know.
const OFFERS: [&str; 12] = [
    "travel_gold",
    "travel_platinum",
    "travel_fx_free",
    "cashback_groceries",
    "cashback_everyday",
    "cashback_premium",
    "transfer_12_months",
    "transfer_18_months",
    "installments_12",
    "insurance_purchase",
    "insurance_travel",
    "payment_plan",
];

/// One call.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Rank(wire::RankRequest),
    Score(Score),
}

/// A `Score` call, and the answer of each set.
#[derive(Debug, Clone)]
pub(super) struct Score {
    pub request: wire::ScoreRequest,
    /// Values by set, recorded before the swaps begin.
    pub expected: [Vec<f32>; SETS],
}

impl Score {
    /// The model of the call.
    pub(super) fn model(&self) -> &str {
        self.request.model.as_ref().map_or("", |model| &model.name)
    }
}

/// A customer of the sample.
struct Customer {
    id: String,
    features: Vec<f32>,
}

/// All questions, in the order of the calls.
pub(super) fn questions(sample: &Path) -> Vec<Question> {
    let customers = customers(&sample.join("customers.csv"));
    let mut draw = Draw(Xoshiro256PlusPlus::seed_from_u64(SEED));
    (0..QUESTIONS)
        .map(|_| match draw.below(100) {
            0..15 => Question::Score(score(&customers, &mut draw)),
            _ => Question::Rank(rank(&customers, &mut draw)),
        })
        .collect()
}

/// Half of the calls are for one customer, the others for up to [`MAX_CUSTOMERS`].
fn rank(customers: &[Customer], draw: &mut Draw) -> wire::RankRequest {
    use wire::feature_value::Kind;
    let value = |kind| wire::FeatureValue { kind: Some(kind) };
    let count = if draw.below(2) == 0 { 1 } else { 1 + draw.below(MAX_CUSTOMERS) };
    let explain = match draw.below(10) {
        0 => wire::Explain::None,
        1 | 2 => wire::Explain::All,
        _ => wire::Explain::Winners,
    };
    wire::RankRequest {
        placement: draw.one_of(&PLACEMENTS).to_string(),
        customers: (0..count)
            .map(|_| wire::Customer { customer_id: draw.one_of(customers).id.clone(), consents: Vec::new() })
            .collect(),
        context: HashMap::from([
            ("month".to_owned(), value(Kind::Int64Value(1 + draw.below(12) as i64))),
            ("page".to_owned(), value(Kind::StringValue(draw.one_of(&PAGES).to_string()))),
        ]),
        explain: explain.into(),
        as_of: Some(prost_types::Timestamp { seconds: AS_OF, nanos: 0 }),
        ..Default::default()
    }
}

fn score(customers: &[Customer], draw: &mut Draw) -> Score {
    let rows = 1 + draw.below(MAX_CUSTOMERS) as usize;
    let values: Vec<f32> = (0..rows).flat_map(|_| draw.one_of(customers).features.clone()).collect();
    let first = draw.below(OFFERS.len() as u64) as usize;
    let offers = OFFERS.iter().cycle().skip(first).take(1 + draw.below(6) as usize);
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: draw.one_of(&["propensity", "network"]).to_string(), version: 0 }),
        features: Some(dense(&COLUMNS, rows, &values)),
        offer_ids: offers.map(ToString::to_string).collect(),
    };
    Score { request, expected: Default::default() }
}

fn customers(file: &Path) -> Vec<Customer> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let (id, columns) = (column("customer_id"), COLUMNS.map(column));
    let customer = |record: csv::StringRecord| {
        // A missing value is NaN on the wire.
        let feature = |column| record[column].parse().unwrap_or(f32::NAN);
        Customer { id: record[id].to_owned(), features: columns.map(feature).to_vec() }
    };
    reader.records().map(|record| customer(record.unwrap())).collect()
}

/// The random generator.
struct Draw(Xoshiro256PlusPlus);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::harness::sample_workspace;

    #[test]
    fn the_mix_has_every_placement_every_explanation_and_both_models() {
        let questions = questions(&sample_workspace());
        let mut kinds = HashSet::new();
        let mut customers = HashSet::new();
        for question in &questions {
            match question {
                Question::Rank(request) => {
                    kinds.insert((request.placement.as_str(), request.explain, request.customers.len()));
                    customers.extend(request.customers.iter().map(|customer| &customer.customer_id));
                }
                Question::Score(score) => _ = kinds.insert((score.model(), 0, 0)),
            }
        }
        assert!(kinds.contains(&("propensity", 0, 0)) && kinds.contains(&("network", 0, 0)));
        for placement in PLACEMENTS {
            for explain in [wire::Explain::None, wire::Explain::Winners, wire::Explain::All] {
                for count in [1, MAX_CUSTOMERS as usize] {
                    let kind = (placement, i32::from(explain), count);
                    assert!(kinds.contains(&kind), "{kind:?}");
                }
            }
        }
        assert!(customers.len() > 1500, "{}", customers.len());
    }
}
