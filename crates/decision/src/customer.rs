//! What is known of one customer: request columns over the feature store over the schema's defaults, and the segment.

use super::degraded::{self, Degraded};
use super::plan::{Context, Plan};
use super::recorder::{SourcedValue, ValueSource};
use feature::store::RowIndex;
use feature::{Entity, Row, SegmentRef, ValueRef};
use release::AssignedSegment;

/// One customer of a plan with all known values.
pub(super) struct ResolvedCustomer<'a> {
    /// One value per customer feature of the schema.
    pub values: Vec<ValueRef<'a>>,
    pub segment: Option<AssignedSegment>,
    pub consents: Consents<'a>,
    /// What the decision did without.
    pub degraded: Vec<Degraded<'a>>,
}

/// Consents that were given or refused.
/// A consent is given by the request, or by a feature `consent_<name>` that is true. It is refused where the feature is
/// false, in the store or in the request. A refusal always wins.
#[derive(Default)]
pub(super) struct Consents<'a> {
    named: Vec<(&'a str, bool)>,
    /// Whether the customer opted out of all marketing: every consent is refused.
    are_all_refused: bool,
}

/// The values that are known of a customer, before defaults: those of the request over those of the store.
pub(super) struct KnownValues<'a> {
    plan: &'a Plan,
    index: usize,
    stored: Option<RowIndex>,
}

impl<'a> KnownValues<'a> {
    /// Those of customer `index` of the plan.
    pub(crate) fn of(plan: &'a Plan, index: usize) -> Self {
        let stored = match plan.recorded {
            Some(_) => None,
            None => plan.snapshot.customers.find(&plan.customers[index].id),
        };
        Self { plan, index, stored }
    }

    /// Whether the customer has an id that the store does not have.
    pub(crate) fn is_unknown(&self) -> bool {
        match &self.plan.recorded {
            Some(recorded) => recorded.unknown_customer,
            None => self.stored.is_none() && !self.plan.customers[self.index].id.is_empty(),
        }
    }

    /// The value of the customer feature at a position.
    #[inline]
    pub(crate) fn value(&self, position: usize) -> SourcedValue<'a> {
        let Self { plan, index, stored } = *self;
        if let Some(recorded) = &plan.recorded {
            let known = recorded.customer.get(position);
            return known.map_or(MISSING, |(source, value)| (*source, source.known(value.as_ref())));
        }
        let sent = match &plan.features {
            Some(batch) => batch.value(Entity::Customer, position, index),
            None => ValueRef::Missing,
        };
        let Some(row) = stored else { return (source_if(ValueSource::Request, sent), sent) };
        let customers = &plan.snapshot.customers;
        if sent.is_missing() {
            let value = customers.value(row, position);
            return (source_if(ValueSource::Store, value), value);
        }
        // A stored opt-out wins over the call.
        let refused = sent == ValueRef::Bool(true)
            && plan.snapshot.release.feature_usage().is_consent(position)
            && customers.value(row, position) == ValueRef::Bool(false);
        if refused { (ValueSource::Store, ValueRef::Bool(false)) } else { (ValueSource::Request, sent) }
    }
}

const MISSING: SourcedValue<'static> = (ValueSource::Missing, ValueRef::Missing);

fn source_if(source: ValueSource, value: ValueRef<'_>) -> ValueSource {
    if value.is_missing() { ValueSource::Missing } else { source }
}

impl<'a> ResolvedCustomer<'a> {
    /// Resolves customer `index` of the plan in `context`.
    pub(crate) fn resolve(plan: &'a Plan, index: usize, context: &Context<'a>) -> Self {
        let release = &plan.snapshot.release;
        let customer = &plan.customers[index];
        let features = release.schema().of(Entity::Customer);
        let mut resolved = Self {
            values: Vec::with_capacity(features.len()),
            segment: None,
            consents: Consents {
                named: customer.consents.iter().map(|consent| (consent.as_str(), true)).collect(),
                are_all_refused: plan.has_opted_out(index),
            },
            degraded: context.degraded.clone(),
        };
        let (usage, wanted) = (release.feature_usage(), plan.wanted());
        let consents = usage.consent_features();
        let known = KnownValues::of(plan, index);
        if known.is_unknown() {
            resolved.degraded.push(Degraded::UnknownCustomer);
        }
        if resolved.consents.are_all_refused {
            resolved.degraded.push(Degraded::OptedOutOfAll);
        }
        let find = |position: usize| known.value(position).1;
        resolved.segment = release.segmentation().map(|segmentation| segmentation.assign(find));
        for (position, feature) in features.iter().enumerate() {
            let value = find(position);
            if wanted.has_customer(position) {
                resolved.degraded.extend(Degraded::of(feature, value));
            }
            resolved.values.push(value.or(feature.default_ref()));
        }
        for feature in consents {
            let ValueRef::Bool(given) = find(feature.position) else { continue };
            let consent = &*feature.consent;
            resolved.consents.named.push((consent, given));
            let matters =
                || wanted.has_consent(feature) || customer.consents.iter().any(|one| one == consent);
            if !given && matters() {
                resolved.degraded.push(Degraded::OptedOut(consent));
            }
        }
        degraded::unknown_consents(
            &customer.consents,
            |name| usage.asks_consent(name),
            &mut resolved.degraded,
        );
        resolved.consents.named.sort_unstable();
        resolved
    }

    /// The segment as rules and models read it.
    pub(crate) fn segment_ref(&self) -> Option<SegmentRef<'_>> {
        self.segment.as_ref().map(|segment| SegmentRef { id: segment.id, name: &segment.name })
    }

    /// The customer's values in this context, as rules and models read them, without an offer.
    pub(crate) fn row<'r>(&'r self, context: &'r Context<'_>) -> Row<'r> {
        Row { customer: &self.values, context: &context.values, offer: &[], segment: self.segment_ref() }
    }
}

impl Consents<'_> {
    /// Whether the consent was given and not refused.
    pub(crate) fn are_given(&self, name: &str) -> bool {
        self.named.binary_search(&(name, true)).is_ok() && !self.are_refused(name)
    }

    /// Whether the consent was refused.
    pub(crate) fn are_refused(&self, name: &str) -> bool {
        self.are_all_refused || self.named.binary_search(&(name, false)).is_ok()
    }
}
