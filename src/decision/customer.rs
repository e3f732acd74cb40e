//! What is known about one customer: request columns over the feature store over the schema's defaults, and the segment.

use std::collections::HashSet;

use super::Segment;
use super::plan::Plan;
use crate::feature::{Entity, Feature, Row, SegmentRef, ValueRef};

/// One customer of a plan, resolved.
pub(super) struct Known<'a> {
    /// One value per customer feature of the schema.
    pub values: Vec<ValueRef<'a>>,
    pub segment: Option<Segment>,
    /// Names of the consents that were given, in the request or as a feature `consent_<name>` that is true.
    pub consents: HashSet<&'a str>,
    /// Names of the consents that were refused: `consent_<name>` is known and false.
    pub refusals: HashSet<&'a str>,
    /// What the decision has to do without.
    pub degraded: Vec<String>,
}

/// A bool feature of the customer called so grants the consent that its name ends with.
const CONSENT_PREFIX: &str = "consent_";

impl<'a> Known<'a> {
    /// Resolves customer `index` of the plan.
    pub fn resolve(plan: &'a Plan, index: usize) -> Self {
        let release = &plan.snapshot.release;
        let customer = &plan.customers[index];
        let features = release.schema().of(Entity::Customer);
        let mut known = Self {
            values: Vec::with_capacity(features.len()),
            segment: None,
            consents: customer.consents.iter().map(String::as_str).collect(),
            refusals: HashSet::new(),
            degraded: plan.context_degraded.clone(),
        };
        let stored = plan.snapshot.customers.find(&customer.id);
        if stored.is_none() && !customer.id.is_empty() && !plan.snapshot.customers.is_empty() {
            known.degraded.push("unknown_customer".to_owned());
        }
        let find = |position: usize| {
            let sent = plan
                .features
                .as_ref()
                .map_or(ValueRef::Missing, |batch| batch.value(Entity::Customer, position, index));
            match (sent, stored) {
                (ValueRef::Missing, Some(row)) => plan.snapshot.customers.value(row, position),
                (sent, _) => sent,
            }
        };
        known.segment = release.segmentation().map(|segmentation| segmentation.assign(find).into());
        for (position, feature) in features.iter().enumerate() {
            known.push(feature, find(position));
        }
        known
    }

    /// The segment as rules and models see it.
    pub fn segment_ref(&self) -> Option<SegmentRef<'_>> {
        self.segment.as_ref().map(|segment| SegmentRef { id: segment.id, name: &segment.name })
    }

    /// What rules and models see of the customer in this context, without an offer.
    pub fn row<'r>(&'r self, context: &'r [ValueRef<'r>]) -> Row<'r> {
        Row { customer: &self.values, context, offer: &[], segment: self.segment_ref() }
    }

    fn push(&mut self, feature: &'a Feature, value: ValueRef<'a>) {
        if let (Some(consent), ValueRef::Bool(given)) = (feature.name.strip_prefix(CONSENT_PREFIX), value) {
            let set = if given { &mut self.consents } else { &mut self.refusals };
            set.insert(consent);
        }
        if !value.is_missing() {
            if feature.is_out_of_range(value) {
                self.degraded.push(format!("out_of_range:{}", feature.name));
            }
            self.values.push(value);
            return;
        }
        let kind = if feature.default.is_some() { "default" } else { "missing" };
        self.degraded.push(format!("{kind}:{}", feature.name));
        self.values.push(feature.default_ref());
    }
}
