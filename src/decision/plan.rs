//! A request held against the snapshot that will answer it: every name resolved, every type checked, before any customer
//! is decided.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::degraded::{self, Degraded};
use super::{Asked, ContextValue, Customer, DecisionError, Explain, RankRequest, RowProblem, RowProblems};
use crate::document::suggestion;
use crate::feature::{BoundBatch, Entity, FeatureBatch, UnknownNames, ValueRef};
use crate::offer::{Candidate, Catalog, Placement};
use crate::release::{Snapshot, WantedSet};

/// Everything that deciding a batch needs; shared by the workers that share the batch.
pub(super) struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub placement: usize,
    /// The position of the channel among those of the placement; `None` for one that it does not have.
    channel: Option<usize>,
    /// The candidates, where the request names some or excludes some, and what deciding between them looks at.
    narrowed: Option<(Vec<Candidate>, WantedSet)>,
    pub customers: Vec<Customer>,
    /// Those of them that cannot be decided.
    unreadable: RowProblems,
    /// The placement's fallback, unless the request excludes it.
    pub fallback: Option<usize>,
    /// `None` where the request brought no rows.
    pub features: Option<BoundBatch>,
    /// As it was sent; the types of those that the schema has fit.
    context: Vec<(String, Option<ContextValue>)>,
    /// What of the call could not be used, as it is answered.
    unused: Vec<String>,
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
        let mut unused = Vec::new();
        let channel = resolve_channel(&policy.placements[placement], &request.channel, &mut unused);
        let (narrowed, fallback) = resolve_candidates(&snapshot, placement, &request, &mut unused);
        if request.customers.is_empty() {
            return Err(DecisionError::invalid("customers", "there are none; send at least one customer"));
        }
        let features = match request.features.rows {
            0 if request.features == FeatureBatch::default() => None,
            rows if rows == request.customers.len() => Some(
                request
                    .features
                    .bind(release.schema(), &[Entity::Customer], UnknownNames::Ignored)
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
        let schema = release.schema();
        let unknown_keys = request.context.iter().map(|(name, _)| name.as_str());
        let unknown_keys =
            unknown_keys.filter(|name| !matches!(schema.find(name), Some((Entity::Context, _))));
        let unknown_columns = features.iter().flat_map(BoundBatch::unknown).map(String::as_str);
        degraded::list("unknown_feature", unknown_columns.chain(unknown_keys), &mut unused);
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
            unreadable: request.unreadable,
            features,
            context: request.context,
            unused,
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

    /// The channel; `None` for one over which the placement is not shown.
    pub fn channel(&self) -> Option<&str> {
        self.channel.map(|channel| self.placement().channels[channel].as_str())
    }

    /// What may be shown, by position in the library, ascending, which is the order of the ids.
    pub fn candidates(&self) -> &[Candidate] {
        self.narrowed.as_ref().map_or(&self.placement().candidates, |(candidates, _)| candidates)
    }

    /// What deciding between the candidates looks at.
    pub fn wanted(&self) -> &WantedSet {
        let at_placement = || self.snapshot.release.wants().at(self.placement);
        self.narrowed.as_ref().map_or_else(at_placement, |(_, wanted)| wanted)
    }

    /// Why the customer at this place of the request cannot be decided, if what was sent of them is wrong.
    pub fn problem(&self, index: usize) -> Option<RowProblem> {
        RowProblem::of_row(index, &self.unreadable, self.features.as_ref())
    }

    /// What is known of the context: what was sent over the schema's defaults.
    pub fn context(&self) -> Context<'_> {
        let schema = self.snapshot.release.schema();
        let features = schema.of(Entity::Context);
        let degraded = self.unused.iter().map(|text| Degraded::OfCall(text)).collect();
        let mut context = Context { values: vec![ValueRef::Missing; features.len()], degraded };
        for (name, value) in &self.context {
            if let (Some((Entity::Context, index)), Some(value)) = (schema.find(name), value) {
                let feature_type = features[index].feature_type;
                context.values[index] = value.typed(feature_type).unwrap_or(ValueRef::Missing);
            }
        }
        let wanted = self.wanted();
        for (index, (value, feature)) in context.values.iter_mut().zip(features).enumerate() {
            if wanted.has_context(index) {
                context.degraded.extend(Degraded::of(feature, *value));
            }
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

/// The position of the channel; `None`, and a word about it, where the placement is not shown over it (any more): nothing may be.
fn resolve_channel(placement: &Placement, channel: &str, unused: &mut Vec<String>) -> Option<usize> {
    if channel.is_empty() {
        return Some(0);
    }
    let known = placement.channels.iter().position(|known| known == channel);
    if known.is_none() {
        degraded::list("unknown_channel", [channel], unused);
    }
    known
}

/// The candidates, where the request narrows them, and the fallback behind them. What the release does not have (any more)
/// cannot be shown and need not be excluded: it is passed over and named.
fn resolve_candidates(
    snapshot: &Snapshot,
    placement: usize,
    request: &RankRequest,
    unused: &mut Vec<String>,
) -> (Option<(Vec<Candidate>, WantedSet)>, Option<usize>) {
    let (release, catalog) = (&snapshot.release, snapshot.release.catalog());
    let RankRequest { candidate_offer_ids, exclude_offer_ids, .. } = request;
    let wanted = positions(catalog, candidate_offer_ids);
    let unwanted = positions(catalog, exclude_offer_ids);
    if wanted.len() < candidate_offer_ids.len() || unwanted.len() < exclude_offer_ids.len() {
        let named = candidate_offer_ids.iter().chain(exclude_offer_ids).map(String::as_str);
        let unknown = named.filter(|id| catalog.library.find(id).is_none());
        degraded::list("unknown_offer", unknown, unused);
    }
    let of_placement = &catalog.policy.placements[placement];
    let fallback = of_placement.fallback.filter(|offer| unwanted.binary_search(offer).is_err());
    if candidate_offer_ids.is_empty() && unwanted.is_empty() {
        return (None, fallback);
    }
    let remains = |Candidate { offer, .. }: &Candidate| {
        (candidate_offer_ids.is_empty() || wanted.binary_search(offer).is_ok())
            && unwanted.binary_search(offer).is_err()
    };
    let candidates: Vec<Candidate> = of_placement.candidates.iter().copied().filter(remains).collect();
    let scored = candidates.iter().map(|one| (one.offer, release.scorer(placement, one.offer)));
    let looked_at = release.wants().of(scored, fallback);
    (Some((candidates, looked_at)), fallback)
}

/// The positions of the offers that the release has, sorted.
fn positions(catalog: &Catalog, ids: &[String]) -> Vec<usize> {
    let mut found: Vec<usize> = ids.iter().filter_map(|id| catalog.library.find(id)).collect();
    found.sort_unstable();
    found
}

/// Holds the types of the context against the schema. What the schema does not have is passed over.
fn check_context(snapshot: &Snapshot, given: &[(String, Option<ContextValue>)]) -> Result<(), DecisionError> {
    let schema = snapshot.release.schema();
    for (name, value) in given {
        let Some((Entity::Context, index)) = schema.find(name) else { continue };
        let feature_type = schema.of(Entity::Context)[index].feature_type;
        if value.as_ref().is_some_and(|value| value.typed(feature_type).is_none()) {
            let message = format!("feature `{name}` takes a finite {feature_type}");
            return Err(DecisionError::invalid(format!("context[{name}]"), message));
        }
    }
    Ok(())
}
