//! The variables: `customer`, `context`, `offer` and `segment` with their fields.

use cel::IdedExpr;
use cel::common::ast::{Expr, SelectExpr};

use super::{Checker, Typed};
use crate::rule::scope::{Slot, Source};
use document::{closest, suggestion};
use feature::{Entity, FeatureType, OFFER_FIELDS};

const SCOPES: [&str; 4] = ["customer", "context", "offer", "segment"];

/// A variable with its full name and its type.
pub(super) struct Variable {
    source: Source,
    kind: FeatureType,
    name: String,
}

impl Checker<'_> {
    /// The value of a variable.
    pub(super) fn variable(&mut self, id: u64, select: SelectExpr) -> Option<Typed> {
        let Variable { source, kind, name } = self.resolve(id, select)?;
        let label = Some(format!("`{name}`"));
        let node = self.slot(id, Slot::Value { source, kind, name });
        Some(Typed { kind, node, label, quotient: None })
    }

    /// Whether a variable has a value.
    pub(super) fn presence(&mut self, id: u64, select: SelectExpr) -> Option<Typed> {
        let Variable { source, name, .. } = self.resolve(id, select)?;
        let node = self.slot(id, Slot::Presence { source, name });
        Some(Typed { kind: FeatureType::Bool, node, label: None, quotient: None })
    }

    /// A bare name is never a value.
    pub(super) fn bare_name(&mut self, id: u64, name: &str) -> Option<Typed> {
        let message = if SCOPES.contains(&name) {
            format!("`{name}` is not a value; name one of its fields, as in `{}`", example(name))
        } else if let Some(feature) = self.schema.get(name) {
            format!("unknown variable `{name}`; did you mean `{}.{name}`?", feature.entity)
        } else {
            let hint = suggestion(name, SCOPES);
            let hint = if hint.is_empty() { "; text needs quotes".to_owned() } else { hint };
            format!("unknown variable `{name}`; rules know {}{hint}", SCOPES.join(", "))
        };
        self.refuse(id, &message)
    }

    /// A new variable of the checked expression for `slot`.
    pub(super) fn slot(&mut self, id: u64, slot: Slot) -> IdedExpr {
        self.slots.push(slot);
        IdedExpr { id, expr: Expr::Ident((self.slots.len() - 1).to_string()) }
    }

    fn resolve(&mut self, id: u64, select: SelectExpr) -> Option<Variable> {
        let field = select.field;
        let Expr::Ident(scope) = select.operand.expr else {
            self.check(*select.operand)?;
            self.report(id, format!("a value has no field `{field}`; variables are `scope.name`"));
            return None;
        };
        let found = match scope.as_str() {
            "customer" => self.feature(Entity::Customer, &field),
            "context" => self.feature(Entity::Context, &field),
            "offer" => offer_field(&field).or_else(|| self.feature(Entity::Offer, &field)),
            "segment" => segment_field(&field),
            _ => {
                self.bare_name(id, &scope);
                return None;
            }
        };
        if found.is_none() {
            let message = self.unknown_field(&scope, &field);
            self.report(id, message);
        }
        let (source, kind) = found?;
        Some(Variable { source, kind, name: format!("{scope}.{field}") })
    }

    fn feature(&self, entity: Entity, field: &str) -> Option<(Source, FeatureType)> {
        let (found, index) = self.schema.find(field)?;
        let source = match entity {
            Entity::Customer => Source::Customer(index as u32),
            Entity::Context => Source::Context(index as u32),
            Entity::Offer => Source::Offer(index as u32),
        };
        (found == entity).then(|| (source, self.schema.of(entity)[index].feature_type))
    }

    fn unknown_field(&self, scope: &str, field: &str) -> String {
        if let Some(feature) = self.schema.get(field) {
            let entity = feature.entity;
            return format!("`{field}` is a feature of the {entity}; write `{entity}.{field}`");
        }
        if OFFER_FIELDS.contains(&field) {
            return format!("`{field}` is a field of the offer; write `offer.{field}`");
        }
        let own: Vec<&str> = match scope {
            "customer" => self.feature_names(Entity::Customer).collect(),
            "context" => self.feature_names(Entity::Context).collect(),
            "offer" => self.feature_names(Entity::Offer).chain(OFFER_FIELDS).collect(),
            _ => vec!["id", "name"],
        };
        let mut hint = suggestion(field, own);
        if hint.is_empty()
            && let Some(feature) = self.schema.closest(field).and_then(|name| self.schema.get(name))
        {
            hint = format!("; did you mean `{}.{}`?", feature.entity, feature.name);
        }
        if scope == "segment" {
            return format!("unknown field `segment.{field}`, a segment has `id` and `name`{hint}");
        }
        format!("unknown feature `{scope}.{field}`, not in the feature schema{hint}")
    }

    fn feature_names(&self, entity: Entity) -> impl Iterator<Item = &str> {
        self.schema.of(entity).iter().map(|feature| feature.name.as_str())
    }
}

/// The message about an unknown function, with a suggestion.
pub(super) fn unknown_function(name: &str) -> String {
    const KNOWN: [&str; 6] = ["has", "size", "startsWith", "endsWith", "contains", "matches"];
    const UNSUPPORTED: [(&str, &str); 14] = [
        ("all", "; join the cases with `&&`"),
        ("exists", "; use `in`, or join the cases with `||`"),
        ("exists_one", ""),
        ("existsOne", ""),
        ("map", ""),
        ("filter", ""),
        ("int", "; numbers mix without it"),
        ("uint", "; numbers mix without it"),
        ("double", "; numbers mix without it"),
        ("string", ""),
        ("bool", ""),
        ("bytes", ""),
        ("type", ""),
        ("timestamp", "; put dates into valid_from and valid_until"),
    ];
    if let Some((name, hint)) = UNSUPPORTED.iter().find(|(unsupported, _)| *unsupported == name) {
        return format!("`{name}` is not supported in rules{hint}");
    }
    match closest(name, KNOWN) {
        Some(known) => format!("unknown function `{name}`; did you mean `{known}`?"),
        None => format!("`{name}` is not supported in rules; they know {}", KNOWN.join(", ")),
    }
}

fn example(scope: &str) -> &'static str {
    match scope {
        "offer" => "offer.category",
        "segment" => "segment.id",
        "context" => "context.month",
        _ => "customer.balance",
    }
}

fn offer_field(field: &str) -> Option<(Source, FeatureType)> {
    Some(match field {
        "id" => (Source::OfferId, FeatureType::String),
        "category" => (Source::OfferCategory, FeatureType::String),
        "value" => (Source::OfferValue, FeatureType::Float),
        "cost" => (Source::OfferCost, FeatureType::Float),
        "weight" => (Source::OfferWeight, FeatureType::Float),
        _ => return None,
    })
}

fn segment_field(field: &str) -> Option<(Source, FeatureType)> {
    Some(match field {
        "id" => (Source::SegmentId, FeatureType::Int),
        "name" => (Source::SegmentName, FeatureType::String),
        _ => return None,
    })
}
