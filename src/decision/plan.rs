//! A request held against the snapshot that will answer it: every name resolved, every type checked, before any customer
//! is decided.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Asked, ContextValue, Customer, DecisionError, Explain, RankRequest};
use crate::document::suggestion;
use crate::feature::{BoundBatch, Entity, Feature, FeatureBatch, ValueRef};
use crate::offer::{Candidate, Placement};
use crate::release::Snapshot;

/// Everything that deciding a batch needs; shared by the workers that share the batch.
pub(super) struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub placement: usize,
    /// The position of the channel among those of the placement.
    channel: usize,
    /// The candidates, where the request names some or excludes some.
    narrowed: Option<Vec<Candidate>>,
    pub customers: Vec<Customer>,
    /// The placement's fallback, unless the request excludes it.
    pub fallback: Option<usize>,
    /// `None` where the request brought no rows.
    pub features: Option<BoundBatch>,
    /// As it was sent; names and types fit the schema.
    context: Vec<(String, Option<ContextValue>)>,
    pub count: usize,
    pub explain: Explain,
    pub as_of: DateTime<Utc>,
}

/// The context of a call, resolved.
pub(super) struct Context<'a> {
    /// One value per context feature of the schema.
    pub values: Vec<ValueRef<'a>>,
    /// What every decision of the call has to do without.
    pub degraded: Vec<Degraded<'a>>,
}

/// Something that a decision has to do without; features by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Degraded<'a> {
    /// The default stands in.
    Default(&'a str),
    /// Nothing does.
    Missing(&'a str),
    OutOfRange(&'a str),
    UnknownCustomer,
}

impl<'a> Degraded<'a> {
    /// What is wrong with `value`, which is known of `feature`, if anything.
    pub fn of(feature: &'a Feature, value: ValueRef<'_>) -> Option<Self> {
        let name = &feature.name;
        match (value, &feature.default) {
            (ValueRef::Missing, Some(_)) => Some(Self::Default(name)),
            (ValueRef::Missing, None) => Some(Self::Missing(name)),
            _ => feature.is_out_of_range(value).then_some(Self::OutOfRange(name)),
        }
    }

    /// As it is answered.
    pub fn text(self) -> String {
        match self {
            Self::Default(name) => ["default:", name].concat(),
            Self::Missing(name) => ["missing:", name].concat(),
            Self::OutOfRange(name) => ["out_of_range:", name].concat(),
            Self::UnknownCustomer => "unknown_customer".to_owned(),
        }
    }
}

impl Plan {
    /// Resolves `request` against `snapshot`; `now` stands in for an absent `as_of`.
    ///
    /// # Errors
    /// The first thing that the request gets wrong, with its field.
    pub fn new(
        snapshot: Arc<Snapshot>,
        request: RankRequest,
        now: DateTime<Utc>,
    ) -> Result<Self, DecisionError> {
        let release = &snapshot.release;
        if request.release != 0 && request.release != release.number() {
            return Err(DecisionError::NotLoaded {
                field: "release".to_owned(),
                asked: Asked::Release(request.release),
                serving: format!("release {} serves", release.number()),
            });
        }
        let policy = &release.catalog().policy;
        let Some(placement) = policy.find_placement(&request.placement) else {
            let names = policy.placements.iter().map(|known| known.id.as_str());
            return Err(not_found("placement", "placement", &request.placement, names));
        };
        let channel = resolve_channel(&policy.placements[placement], &request.channel)?;
        let (narrowed, fallback) = resolve_candidates(&snapshot, placement, &request)?;
        if request.customers.is_empty() {
            return Err(DecisionError::invalid("customers", "there are none; send at least one customer"));
        }
        let features = match request.features.rows {
            0 if request.features == FeatureBatch::default() => None,
            rows if rows == request.customers.len() => Some(
                request
                    .features
                    .bind(release.schema(), &[Entity::Customer])
                    .map_err(DecisionError::in_features)?,
            ),
            rows => {
                let message = format!(
                    "{rows} rows for {} customers; row i describes customer i",
                    request.customers.len()
                );
                return Err(DecisionError::invalid("features.rows", message));
            }
        };
        check_context(&snapshot, &request.context)?;
        let count = match request.count {
            0 => policy.placements[placement].count,
            count if count <= 100 => count,
            count => {
                return Err(DecisionError::invalid("count", format!("{count} is more than 100")));
            }
        };
        Ok(Self {
            placement,
            channel,
            narrowed,
            fallback,
            customers: request.customers,
            features,
            context: request.context,
            count,
            explain: request.explain,
            as_of: request.as_of.unwrap_or(now),
            snapshot,
        })
    }

    /// The placement.
    pub fn placement(&self) -> &Placement {
        &self.snapshot.release.catalog().policy.placements[self.placement]
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.placement().channels[self.channel]
    }

    /// What may be shown, by position in the library, ascending, which is the order of the ids.
    pub fn candidates(&self) -> &[Candidate] {
        self.narrowed.as_deref().unwrap_or(&self.placement().candidates)
    }

    /// What is known of the context: what was sent over the schema's defaults.
    pub fn context(&self) -> Context<'_> {
        let schema = self.snapshot.release.schema();
        let features = schema.of(Entity::Context);
        let mut context = Context { values: vec![ValueRef::Missing; features.len()], degraded: Vec::new() };
        for (name, value) in &self.context {
            let known = schema.find(name).map(|(_, index)| (index, features[index].feature_type));
            if let (Some((index, feature_type)), Some(value)) = (known, value) {
                context.values[index] = value.typed(feature_type).unwrap_or(ValueRef::Missing);
            }
        }
        for (value, feature) in context.values.iter_mut().zip(features) {
            context.degraded.extend(Degraded::of(feature, *value));
            *value = value.or(feature.default_ref());
        }
        context
    }
}

fn not_found<'a>(
    field: impl Into<String>,
    what: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> DecisionError {
    DecisionError::NotFound {
        field: field.into(),
        what,
        name: name.to_owned(),
        hint: suggestion(name, known),
    }
}

fn resolve_channel(placement: &Placement, channel: &str) -> Result<usize, DecisionError> {
    if channel.is_empty() {
        return Ok(0);
    }
    if let Some(known) = placement.channels.iter().position(|known| known == channel) {
        return Ok(known);
    }
    let message = format!(
        "placement `{}` is not shown over `{channel}`; it has {}",
        placement.id,
        placement.channels.join(", ")
    );
    Err(DecisionError::invalid("channel", message))
}

/// The candidates, where the request narrows them, and the fallback behind them.
fn resolve_candidates(
    snapshot: &Snapshot,
    placement: usize,
    request: &RankRequest,
) -> Result<(Option<Vec<Candidate>>, Option<usize>), DecisionError> {
    let catalog = snapshot.release.catalog();
    let positions = |field: &str, ids: &[String]| -> Result<Vec<usize>, DecisionError> {
        let find = |(index, id): (usize, &String)| {
            catalog.library.find(id).ok_or_else(|| {
                let known = catalog.library.offers().iter().map(|offer| &*offer.id);
                not_found(format!("{field}[{index}]"), "offer", id, known)
            })
        };
        ids.iter().enumerate().map(find).collect()
    };
    let wanted = positions("candidate_offer_ids", &request.candidate_offer_ids)?;
    let unwanted = positions("exclude_offer_ids", &request.exclude_offer_ids)?;
    let placement = &catalog.policy.placements[placement];
    let fallback = placement.fallback.filter(|offer| !unwanted.contains(offer));
    if wanted.is_empty() && unwanted.is_empty() {
        return Ok((None, fallback));
    }
    let remains = |Candidate { offer, .. }: &Candidate| {
        (wanted.is_empty() || wanted.contains(offer)) && !unwanted.contains(offer)
    };
    Ok((Some(placement.candidates.iter().copied().filter(remains).collect()), fallback))
}

/// Holds the names and types of the context against the schema.
fn check_context(snapshot: &Snapshot, given: &[(String, Option<ContextValue>)]) -> Result<(), DecisionError> {
    let schema = snapshot.release.schema();
    let features = schema.of(Entity::Context);
    let refuse = |name: &str, message: String| DecisionError::invalid(format!("context[{name}]"), message);
    for (name, value) in given {
        let Some((Entity::Context, index)) = schema.find(name) else {
            let message = match schema.find(name) {
                Some((entity, _)) => format!("`{name}` is a feature of the {entity}, not of the context"),
                None => {
                    let known = features.iter().map(|feature| feature.name.as_str());
                    format!("the release has no context feature `{name}`{}", suggestion(name, known))
                }
            };
            return Err(refuse(name, message));
        };
        let feature_type = features[index].feature_type;
        if value.as_ref().is_some_and(|value| value.typed(feature_type).is_none()) {
            return Err(refuse(name, format!("feature `{name}` takes a finite {feature_type}")));
        }
    }
    Ok(())
}
