//! Decides for many customers of the store at once.
//!
//! Stands in for `decision::decide_together` until crate `decision` has it.

use chrono::{DateTime, Utc};
use decision::{
    DecisionError, RankRequest, RecordedDecision, RecordedValues, ReplayInput, ValueSource, decide_again,
};
use feature::{Entity, Value};
use offer::OfferIndex;
use release::Snapshot;
use std::sync::Arc;
use work::Worker;

/// Decisions of many customers.
#[derive(Debug)]
pub(crate) struct Decided {
    /// One per customer, in order.
    pub decisions: Vec<RecordedDecision>,
    /// The candidates, in the order of their ids.
    pub candidates: Vec<OfferIndex>,
}

/// Decides for all customers of `request` on this thread, as `Rank` would at `now`.
///
/// # Errors
/// When the request does not fit the release.
pub(crate) fn decide_together(
    snapshot: &Arc<Snapshot>,
    request: RankRequest,
    now: DateTime<Utc>,
    worker: &Worker,
) -> Result<Decided, DecisionError> {
    let schema = snapshot.release.schema();
    let missing = |entity| vec![(ValueSource::Missing, None); schema.of(entity).len()];
    let mut all = Decided { decisions: Vec::with_capacity(request.customers.len()), candidates: Vec::new() };
    for customer in &request.customers {
        let stored = snapshot.customers.find(&customer.id);
        let value =
            |position: usize| -> Option<Value> { snapshot.customers.value(stored?, position).to_value() };
        let sourced = |position: usize| match value(position) {
            Some(value) => (ValueSource::Store, Some(value)),
            None => (ValueSource::Missing, None),
        };
        let values = RecordedValues {
            customer: (0..schema.of(Entity::Customer).len()).map(sourced).collect(),
            context: missing(Entity::Context),
            unknown_customer: stored.is_none(),
            ..RecordedValues::default()
        };
        let request = RankRequest {
            placement: request.placement.clone(),
            customers: vec![customer.clone()],
            ..RankRequest::default()
        };
        let input = ReplayInput { request, now, values, ignored: None };
        let decided = decide_again(snapshot, input, worker)?;
        all.decisions.push(decided.decision);
        all.candidates = decided.candidates;
    }
    Ok(all)
}
