//! What is known about one customer: request columns over the feature store over the schema's defaults, and the segment.

use super::Segment;
use super::degraded::{self, Degraded};
use super::plan::{Context, Plan};
use crate::feature::{Entity, Row, SegmentRef, ValueRef};

/// One customer of a plan, resolved.
pub(super) struct Known<'a> {
    /// One value per customer feature of the schema.
    pub values: Vec<ValueRef<'a>>,
    pub segment: Option<Segment>,
    pub consents: Consents<'a>,
    /// What the decision has to do without.
    pub degraded: Vec<Degraded<'a>>,
}

/// Consents that were given, in the request or as a feature `consent_<name>` that is true, and those that were refused: the feature is
/// known and false, in the store or in the request. Who refuses has not given, whoever says so.
#[derive(Default)]
pub(super) struct Consents<'a>(Vec<(&'a str, bool)>);

impl<'a> Known<'a> {
    /// Resolves customer `index` of the plan in `context`.
    pub fn resolve(plan: &'a Plan, index: usize, context: &Context<'a>) -> Self {
        let release = &plan.snapshot.release;
        let customer = &plan.customers[index];
        let features = release.schema().of(Entity::Customer);
        let mut known = Self {
            values: Vec::with_capacity(features.len()),
            segment: None,
            consents: Consents(customer.consents.iter().map(|consent| (consent.as_str(), true)).collect()),
            degraded: context.degraded.clone(),
        };
        let (wants, wanted) = (release.wants(), plan.wanted());
        let consents = wants.consent_features();
        let customers = &plan.snapshot.customers;
        let stored = customers.find(&customer.id);
        if stored.is_none() && !customer.id.is_empty() {
            known.degraded.push(Degraded::UnknownCustomer);
        }
        let find = |position: usize| {
            let sent = plan
                .features
                .as_ref()
                .map_or(ValueRef::Missing, |batch| batch.value(Entity::Customer, position, index));
            match (sent, stored) {
                (ValueRef::Missing, Some(row)) => customers.value(row, position),
                // An opt-out that is stored is one, whatever the call says.
                (ValueRef::Bool(true), Some(row))
                    if consents.iter().any(|consent| consent.position == position)
                        && customers.value(row, position) == ValueRef::Bool(false) =>
                {
                    ValueRef::Bool(false)
                }
                (sent, _) => sent,
            }
        };
        known.segment = release.segmentation().map(|segmentation| segmentation.assign(find).into());
        for (position, feature) in features.iter().enumerate() {
            let value = find(position);
            if wanted.has_customer(position) {
                known.degraded.extend(Degraded::of(feature, value));
            }
            known.values.push(value.or(feature.default_ref()));
        }
        for feature in consents {
            let ValueRef::Bool(given) = find(feature.position) else { continue };
            let consent = &*feature.consent;
            known.consents.0.push((consent, given));
            let matters =
                || wanted.has_consent(feature) || customer.consents.iter().any(|one| one == consent);
            if !given && matters() {
                known.degraded.push(Degraded::OptedOut(consent));
            }
        }
        degraded::unknown_consents(&customer.consents, |name| wants.asks_consent(name), &mut known.degraded);
        known.consents.0.sort_unstable();
        known
    }

    /// The segment as rules and models see it.
    pub fn segment_ref(&self) -> Option<SegmentRef<'_>> {
        self.segment.as_ref().map(|segment| SegmentRef { id: segment.id, name: &segment.name })
    }

    /// What rules and models see of the customer in this context, without an offer.
    pub fn row<'r>(&'r self, context: &'r Context<'_>) -> Row<'r> {
        Row { customer: &self.values, context: &context.values, offer: &[], segment: self.segment_ref() }
    }
}

impl Consents<'_> {
    /// Whether the consent of this name was given, and not refused.
    pub fn are_given(&self, name: &str) -> bool {
        self.0.binary_search(&(name, true)).is_ok() && !self.are_refused(name)
    }

    /// Whether it was refused.
    pub fn are_refused(&self, name: &str) -> bool {
        self.0.binary_search(&(name, false)).is_ok()
    }
}
