//! A request resolved against the snapshot that answers it. Every name is resolved and every type checked before any
//! customer is decided.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::degraded::{self, Degraded};
use super::{Asked, ContextValue, Customer, DecisionError, Explain, RankRequest, RowProblem, RowProblems};
use document::{plural, suggestion};
use feature::{BoundBatch, Entity, FeatureBatch, FeatureType, Misplaced, ValueRef};
use offer::{Candidate, Catalog, OfferIndex, Placement, PlacementIndex};
use release::{Snapshot, WantedSet};

/// Everything that deciding a batch needs. The workers of a batch share it.
pub(super) struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub placement: PlacementIndex,
    /// The position among the placement's channels; `None` where the placement does not have the channel.
    channel: Option<usize>,
    /// The candidates and the features they need, where the request includes or excludes offers.
    narrowed: Option<(Vec<Candidate>, WantedSet)>,
    pub customers: Vec<Customer>,
    /// The customers that cannot be decided.
    unreadable: RowProblems,
    /// The placement's fallback, unless the request excludes it.
    pub fallback: Option<OfferIndex>,
    /// `None` where the request has no rows.
    pub features: Option<BoundBatch>,
    /// The context as sent. Values of features in the schema have the right type.
    context: Vec<(String, Option<ContextValue>)>,
    /// What of the call could not be used, as degraded entries.
    unused: Vec<String>,
    pub count: usize,
    pub explain: Explain,
    pub as_of: DateTime<Utc>,
}

/// The context of a call, resolved.
pub(super) struct Context<'a> {
    /// One value per context feature of the schema.
    pub values: Vec<ValueRef<'a>>,
    /// What every decision of the call does without.
    pub degraded: Vec<Degraded<'a>>,
}

impl Plan {
    /// Resolves `request` against `snapshot`. `now` replaces an absent `as_of`.
    ///
    /// # Errors
    /// The first error in the request, with its field.
    pub(crate) fn new(
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
        let channel = resolve_channel(policy.placement(placement), &request.channel, &mut unused);
        let (narrowed, fallback) = resolve_candidates(&snapshot, placement, &request, &mut unused);
        if request.customers.is_empty() {
            return Err(DecisionError::invalid("customers", "send at least one customer"));
        }
        let features = match request.features.rows {
            0 if request.features == FeatureBatch::default() => None,
            rows if rows == request.customers.len() => Some(
                request
                    .features
                    .bind(release.schema(), &[Entity::Customer], Misplaced::Ignored)
                    .map_err(DecisionError::in_features)?,
            ),
            rows => {
                let message = format!(
                    "{} for {}; row i describes customer i",
                    plural(rows, "row"),
                    plural(request.customers.len(), "customer")
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
            0 => policy.placement(placement).count,
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

    pub(crate) fn placement(&self) -> &Placement {
        self.snapshot.release.catalog().policy.placement(self.placement)
    }

    /// The channel; `None` where the placement is not shown on it.
    pub(crate) fn channel(&self) -> Option<&str> {
        self.channel.map(|channel| self.placement().channels[channel].as_str())
    }

    /// The candidates by position in the library, ascending, which is the order of the ids.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        self.narrowed.as_ref().map_or(&self.placement().candidates, |(candidates, _)| candidates)
    }

    /// The features and consents that deciding between the candidates needs.
    pub(crate) fn wanted(&self) -> &WantedSet {
        let at_placement = || self.snapshot.release.wants().at(self.placement);
        self.narrowed.as_ref().map_or_else(at_placement, |(_, wanted)| wanted)
    }

    /// Why the customer at this position cannot be decided, if the data sent for them is invalid.
    pub(crate) fn problem(&self, index: usize) -> Option<RowProblem> {
        RowProblem::of_row(index, &self.unreadable, self.features.as_ref())
    }

    /// The context: the values sent, over the schema's defaults.
    pub(crate) fn context(&self) -> Context<'_> {
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

/// The position of the channel. `None` where the placement does not have it, or no longer has it: no offer may be
/// shown. The channel is then added to `unused`.
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

/// The candidates, where the request narrows them, and the fallback. Offers that the release does not have are skipped
/// and added to `unused`.
fn resolve_candidates(
    snapshot: &Snapshot,
    placement: PlacementIndex,
    request: &RankRequest,
    unused: &mut Vec<String>,
) -> (Option<(Vec<Candidate>, WantedSet)>, Option<OfferIndex>) {
    let (release, catalog) = (&snapshot.release, snapshot.release.catalog());
    let RankRequest { candidate_offer_ids, exclude_offer_ids, .. } = request;
    let wanted = positions(catalog, candidate_offer_ids);
    let unwanted = positions(catalog, exclude_offer_ids);
    if wanted.len() < candidate_offer_ids.len() || unwanted.len() < exclude_offer_ids.len() {
        let named = candidate_offer_ids.iter().chain(exclude_offer_ids).map(String::as_str);
        let unknown = named.filter(|id| catalog.library.find(id).is_none());
        degraded::list("unknown_offer", unknown, unused);
    }
    let of_placement = catalog.policy.placement(placement);
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

/// The sorted positions of the ids that the release has.
fn positions(catalog: &Catalog, ids: &[String]) -> Vec<OfferIndex> {
    let mut found: Vec<OfferIndex> = ids.iter().filter_map(|id| catalog.library.find(id)).collect();
    found.sort_unstable();
    found
}

/// Checks the types of the context against the schema. Keys outside the schema are skipped.
fn check_context(snapshot: &Snapshot, given: &[(String, Option<ContextValue>)]) -> Result<(), DecisionError> {
    let schema = snapshot.release.schema();
    for (name, value) in given {
        let Some((Entity::Context, index)) = schema.find(name) else { continue };
        let feature_type = schema.of(Entity::Context)[index].feature_type;
        if value.as_ref().is_some_and(|value| value.typed(feature_type).is_none()) {
            let message = match feature_type {
                FeatureType::Float => format!("feature `{name}` takes a finite number"),
                FeatureType::Int => format!("feature `{name}` takes a whole number"),
                FeatureType::Bool => format!("feature `{name}` takes true or false"),
                FeatureType::String => format!("feature `{name}` takes a text"),
            };
            return Err(DecisionError::invalid(format!("context[{name}]"), message));
        }
    }
    Ok(())
}
