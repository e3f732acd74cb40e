//! Whom each offer can reach: the gates of [`Decider::rank`](super::Decider::rank), for every customer of the store and without a
//! request. Nothing is scored.

use std::ops::Range;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::customer::Known;
use super::gates::Visit;
use super::plan::Plan;
use super::{Customer, DecisionError, RankRequest, Reason, Stage};
use crate::feature::store::RowIndex;
use crate::offer::RuleMemo;
use crate::release::Snapshot;

/// How many customers an offer passes the gates of at a placement, by its default channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those to whom it may be shown with the consents that the store knows.
    pub reached: usize,
    /// Those whose missing consent, which a call may bring, is the only thing that withholds it.
    pub but_for_consent: usize,
    /// Those from whom each stage before scores withholds it first, consents aside; in the order of [`STAGES`].
    pub withheld: [usize; STAGES.len()],
    /// Those whose rule cannot be evaluated, among the withheld: it wants a value that nobody knows without a call.
    pub rule_errors: usize,
}

/// What [`Reach::withheld`] counts.
pub const STAGES: [Stage; 6] = [
    Stage::Validity,
    Stage::Channel,
    Stage::Exclusion,
    Stage::Eligibility,
    Stage::Applicability,
    Stage::Suitability,
];

impl Reach {
    /// Adds what was found of other customers.
    pub fn add(&mut self, other: &Self) {
        self.reached += other.reached;
        self.but_for_consent += other.but_for_consent;
        self.rule_errors += other.rule_errors;
        for (sum, more) in self.withheld.iter_mut().zip(other.withheld) {
            *sum += more;
        }
    }
}

/// Sends these customers through the gates of the candidates of a placement, at `now` and without a context. One for each candidate,
/// in their order.
///
/// # Errors
/// Where there is no such placement.
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
        let known = Known::resolve(plan, index, &context);
        let visit = Visit { catalog, known: &known, channel: plan.channel(), channels, as_of: plan.as_of };
        let rules = catalog.rules_for(known.row(&context), &mut memo);
        for (candidate, reach) in plan.candidates().iter().zip(&mut found) {
            let consent = visit.withholds(candidate.offer, &rules).map(|one| one.stage);
            match visit.withholds_whatever_the_consents(candidate.offer, &rules) {
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
