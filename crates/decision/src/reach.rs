//! How many customers each offer can reach. Runs the gates of [`Decider::rank`](super::Decider::rank) for every
//! customer of the store, without a request. Nothing is scored.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::customer::ResolvedCustomer;
use super::gates::GateInput;
use super::plan::Plan;
use super::{Customer, DecisionError, RankRequest, Reason, Stage};
use feature::store::RowIndex;
use offer::RuleMemo;
use release::Snapshot;

/// How many customers pass an offer's gates at a placement, on its default channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Customers who pass with the consents in the store.
    pub reached: usize,
    /// Customers who pass every other gate and lack a consent, which a call may bring.
    pub but_for_consent: usize,
    /// Customers by the stage before scoring that withholds the offer first, ignoring consent. In the order of
    /// [`STAGES`].
    pub withheld: [usize; STAGES.len()],
    /// Withheld customers for whom the rule cannot be evaluated: it needs a value that only a call brings.
    pub rule_errors: usize,
}

/// The stages that [`Reach::withheld`] counts.
pub const STAGES: [Stage; 6] = [
    Stage::Validity,
    Stage::Channel,
    Stage::Exclusion,
    Stage::Eligibility,
    Stage::Applicability,
    Stage::Suitability,
];

impl Reach {
    /// Adds the counts of other customers.
    pub fn add(&mut self, other: &Self) {
        self.reached += other.reached;
        self.but_for_consent += other.but_for_consent;
        self.rule_errors += other.rule_errors;
        for (sum, more) in self.withheld.iter_mut().zip(other.withheld) {
            *sum += more;
        }
    }
}

/// Runs the gates of a placement's candidates for these customers, at `now` and without a context. Returns one count
/// per candidate, in their order.
///
/// # Errors
/// When the placement does not exist.
pub fn reach(
    snapshot: &Arc<Snapshot>,
    placement: &str,
    customers: &[RowIndex],
    now: DateTime<Utc>,
) -> Result<Vec<Reach>, DecisionError> {
    let customer = |row: &RowIndex| Customer {
        id: snapshot.customers.id(*row).unwrap_or_default().to_owned(),
        ..Customer::default()
    };
    let request = RankRequest {
        placement: placement.to_owned(),
        customers: customers.iter().map(customer).collect(),
        ..RankRequest::default()
    };
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let plan = Plan::new(Arc::clone(snapshot), request, now)?;
    Ok(of_plan(&plan, 0..customers.len()))
}

fn of_plan(plan: &Plan, customers: Range<usize>) -> Vec<Reach> {
    let (context, catalog) = (plan.context(), plan.snapshot.release.catalog());
    let channels = &plan.placement().channels;
    let mut found = vec![Reach::default(); plan.candidates().len()];
    let mut memo = RuleMemo::default();
    for index in customers {
        let customer = ResolvedCustomer::resolve(plan, index, &context);
        let gates = GateInput {
            catalog,
            customer: &customer,
            channel: plan.channel(),
            channels,
            as_of: plan.as_of,
            now: plan.now,
            limits: None,
        };
        let rules = catalog.rules_for(customer.row(&context), &mut memo);
        for (candidate, reach) in plan.candidates().iter().zip(&mut found) {
            let consent = gates.withholds(candidate.offer, &rules).map(|one| one.stage);
            match gates.withholds_despite_consent(candidate.offer, &rules) {
                None if consent == Some(Stage::Consent) => reach.but_for_consent += 1,
                None => reach.reached += 1,
                Some(one) => {
                    let stage = STAGES.iter().position(|stage| *stage == one.stage);
                    if let Some(count) = stage.and_then(|stage| reach.withheld.get_mut(stage)) {
                        *count += 1;
                    }
                    reach.rule_errors += usize::from(one.reason == Reason::RuleError);
                }
            }
        }
    }
    found
}
