//! A request held against the snapshot that will answer it: every name resolved, every type checked, before any customer
//! is decided.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Asked, Customer, DecisionError, Explain, RankRequest};
use crate::document::suggestion;
use crate::feature::{BoundBatch, Entity, Value, ValueRef};
use crate::offer::Placement;
use crate::release::Snapshot;

/// Everything that deciding a batch needs; shared by the workers that share the batch.
pub(super) struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub placement: usize,
    pub channel: String,
    /// Positions in the library, ascending, which is the order of the ids.
    pub candidates: Vec<usize>,
    pub customers: Vec<Customer>,
    /// The placement's fallback, unless the request excludes it.
    pub fallback: Option<usize>,
    /// `None` where the request brought no rows.
    pub features: Option<BoundBatch>,
    context: Vec<Option<Value>>,
    pub context_degraded: Vec<String>,
    pub count: usize,
    pub explain: Explain,
    pub as_of: DateTime<Utc>,
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
        let (candidates, fallback) = resolve_candidates(&snapshot, placement, &request)?;
        if request.customers.is_empty() {
            return Err(DecisionError::invalid("customers", "there are none; send at least one customer"));
        }
        let features = match request.features.rows {
            0 if request.features == crate::feature::FeatureBatch::default() => None,
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
        let (context, context_degraded) = resolve_context(&snapshot, &request.context)?;
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
            candidates,
            fallback,
            customers: request.customers,
            features,
            context,
            context_degraded,
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

    /// The values of the context features, in the order of the schema.
    pub fn context(&self) -> Vec<ValueRef<'_>> {
        self.context.iter().map(ValueRef::from).collect()
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

fn resolve_channel(placement: &Placement, channel: &str) -> Result<String, DecisionError> {
    if channel.is_empty() {
        return Ok(placement.channels[0].clone());
    }
    if let Some(known) = placement.channels.iter().find(|known| *known == channel) {
        return Ok(known.clone());
    }
    let message = format!(
        "placement `{}` is not shown over `{channel}`; it has {}",
        placement.id,
        placement.channels.join(", ")
    );
    Err(DecisionError::invalid("channel", message))
}

/// The candidates of the request, and the fallback behind them.
fn resolve_candidates(
    snapshot: &Snapshot,
    placement: usize,
    request: &RankRequest,
) -> Result<(Vec<usize>, Option<usize>), DecisionError> {
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
    let narrowed = |offer: &usize| (wanted.is_empty() || wanted.contains(offer)) && !unwanted.contains(offer);
    let placement = &catalog.policy.placements[placement];
    let candidates = placement.candidates.iter().map(|candidate| candidate.offer).filter(narrowed);
    let fallback = placement.fallback.filter(|offer| !unwanted.contains(offer));
    Ok((candidates.collect(), fallback))
}

fn resolve_context(
    snapshot: &Snapshot,
    given: &[(String, Option<super::ContextValue>)],
) -> Result<(Vec<Option<Value>>, Vec<String>), DecisionError> {
    let schema = snapshot.release.schema();
    let features = schema.of(Entity::Context);
    let mut values: Vec<Option<Value>> = vec![None; features.len()];
    for (name, value) in given {
        let field = format!("context[{name}]");
        let Some((Entity::Context, index)) = schema.find(name) else {
            let message = match schema.find(name) {
                Some((entity, _)) => format!("`{name}` is a feature of the {entity}, not of the context"),
                None => {
                    let known = features.iter().map(|feature| feature.name.as_str());
                    format!("the release has no context feature `{name}`{}", suggestion(name, known))
                }
            };
            return Err(DecisionError::invalid(field, message));
        };
        let Some(value) = value else { continue };
        let feature_type = features[index].feature_type;
        let Some(typed) = value.typed(feature_type) else {
            let message = format!("feature `{name}` takes a finite {feature_type}");
            return Err(DecisionError::invalid(field, message));
        };
        values[index] = Some(typed);
    }
    let mut degraded = Vec::new();
    for (value, feature) in values.iter_mut().zip(features) {
        match value {
            Some(known) if feature.is_out_of_range(known.as_ref()) => {
                degraded.push(format!("out_of_range:{}", feature.name));
            }
            Some(_) => {}
            None => {
                let kind = if feature.default.is_some() { "default" } else { "missing" };
                degraded.push(format!("{kind}:{}", feature.name));
                value.clone_from(&feature.default);
            }
        }
    }
    Ok((values, degraded))
}
