//! A request resolved against the snapshot that answers it. Every name is resolved and every type checked before any
//! customer is decided.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::arms::{self, Chance, FixedArms, PlannedNewcomer};
use super::degraded::{self, Degraded};
use super::limits::CallLimits;
use super::replay::RecordedValues;
use super::request::AskedRank;
use super::{Asked, ContextValue, Customer, DecisionError, Explain, RankRequest, RowProblem, RowProblems};
use document::{plural, suggestion};
use experiment::{Exploration, Forced};
use feature::{BoundBatch, Entity, FeatureBatch, FeatureType, Misplaced, ValueRef};
use offer::{Candidate, Catalog, OfferIndex, Placement, PlacementIndex};
use release::{Snapshot, UsedFeatures};

/// Everything that deciding a batch needs. The workers of a batch share it.
pub(super) struct Plan {
    pub snapshot: Arc<Snapshot>,
    pub placement: PlacementIndex,
    /// The position among the placement's channels; `None` where the placement does not have the channel.
    channel: Option<usize>,
    /// The candidates and the features they need, where the request includes or excludes offers.
    narrowed: Option<(Vec<Candidate>, UsedFeatures)>,
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
    ignored: Vec<String>,
    pub count: usize,
    pub explain: Explain,
    pub as_of: DateTime<Utc>,
    /// The clock when the call was planned.
    pub now: DateTime<Utc>,
    /// What the call asked for, as far as it is not among the other fields.
    pub asked: AskedRank,
    /// Whether decisions are kept for a recorder.
    pub records: bool,
    /// Replaces the values of request and store, when a recorded decision is made again.
    pub recorded: Option<RecordedValues>,
    /// How the placement explores.
    pub exploration: Exploration,
    /// The variants that the call forces.
    pub forced: Forced,
    /// The arms of a recorded decision, where they cannot be drawn again.
    pub recorded_arms: Option<FixedArms>,
    /// The new offers among the candidates, by offer.
    pub newcomers: Vec<PlannedNewcomer>,
    /// What exploration and the throttle of new offers draw with.
    pub chance: Chance,
    /// What limits look at; `None` where there is no history.
    pub limits: Option<CallLimits>,
    /// The customers as records name them, where that is not by their ids.
    pub pseudonyms: Vec<String>,
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
        let mut ignored = Vec::new();
        let channel = resolve_channel(policy.placement(placement), &request.channel, &mut ignored);
        let (narrowed, fallback) = resolve_candidates(&snapshot, placement, &request, &mut ignored);
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
        degraded::list("unknown_feature", unknown_columns.chain(unknown_keys), &mut ignored);
        let count = match request.count {
            0 => policy.placement(placement).count,
            count if count <= 100 => count,
            count => {
                return Err(DecisionError::invalid("count", format!("{count} is more than 100")));
            }
        };
        let forced = arms::force(release, &request.forced)?;
        let experiments = release.experiments();
        let is_candidate = |offer: OfferIndex| {
            let all = narrowed.as_ref().map_or(&policy.placement(placement).candidates, |(all, _)| all);
            all.binary_search_by_key(&offer, |candidate| candidate.offer).is_ok()
        };
        let newcomers = experiments.newcomers.iter().map(|(offer, newcomer)| PlannedNewcomer {
            offer: OfferIndex::new(*offer),
            newcomer: *newcomer,
            impressions: 0,
        });
        let newcomers = newcomers.filter(|newcomer| is_candidate(newcomer.offer)).collect();
        Ok(Self {
            exploration: experiments.exploration_of(placement.get()),
            forced,
            recorded_arms: None,
            newcomers,
            chance: Chance::Decision,
            placement,
            channel,
            narrowed,
            fallback,
            customers: request.customers,
            unreadable: request.unreadable,
            features,
            context: request.context,
            ignored,
            count,
            explain: request.explain,
            as_of: request.as_of.unwrap_or(now),
            now,
            asked: AskedRank {
                request_id: request.request_id,
                channel: request.channel,
                candidate_offer_ids: request.candidate_offer_ids,
                exclude_offer_ids: request.exclude_offer_ids,
                count: request.count as u32,
                explain: request.explain,
                as_of: request.as_of,
                release: request.release,
            },
            records: false,
            recorded: None,
            limits: None,
            pseudonyms: Vec::new(),
            snapshot,
        })
    }

    /// Resolves a recorded decision against `snapshot`, which need not be the one that decided.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub(crate) fn of_record(
        snapshot: Arc<Snapshot>,
        request: RankRequest,
        now: DateTime<Utc>,
        recorded: RecordedValues,
        ignored: Option<Vec<String>>,
    ) -> Result<Self, DecisionError> {
        let mut plan = Self::new(snapshot, request, now)?;
        plan.records = true;
        if let Some(recorded) = &recorded.arms {
            let placement = plan.placement.get();
            (plan.recorded_arms, plan.forced) = arms::of_record(&plan.snapshot.release, placement, recorded);
        }
        for newcomer in &mut plan.newcomers {
            let known = recorded.impressions.iter().find(|(offer, _)| *offer == newcomer.offer);
            newcomer.impressions = known.map_or(0, |(_, impressions)| *impressions);
        }
        plan.recorded = Some(recorded);
        if let Some(ignored) = ignored {
            plan.ignored = ignored;
        }
        Ok(plan)
    }

    /// The customer at a position as records and the history name them.
    pub(crate) fn history_id(&self, index: usize) -> &str {
        self.pseudonyms.get(index).unwrap_or(&self.customers[index].id)
    }

    /// Whether the customer at a position opted out of all marketing.
    pub(crate) fn has_opted_out(&self, index: usize) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.view.has_opted_out(index))
    }

    /// Whether a customer comes more than once. Their rows are then decided in order.
    pub(crate) fn has_repeated_customers(&self) -> bool {
        let mut ids = HashSet::with_capacity(self.customers.len());
        let known = self.customers.iter().map(|customer| customer.id.as_str()).filter(|id| !id.is_empty());
        known.into_iter().any(|id| !ids.insert(id))
    }

    /// Lines of `degraded` that are about the whole call.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
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
    pub(crate) fn wanted(&self) -> &UsedFeatures {
        let at_placement = || self.snapshot.release.feature_usage().at(self.placement);
        self.narrowed.as_ref().map_or_else(at_placement, |(_, wanted)| wanted)
    }

    /// Why the customer at this position cannot be decided, if the data sent for them is invalid.
    pub(crate) fn problem(&self, index: usize) -> Option<RowProblem> {
        RowProblem::of_row(index, &self.unreadable, self.features.as_ref())
    }

    /// The values of the context that are known, one per context feature of the schema.
    pub(crate) fn context_values(&self) -> Vec<ValueRef<'_>> {
        if let Some(recorded) = &self.recorded {
            return recorded.context.iter().map(|(source, value)| source.known(value.as_ref())).collect();
        }
        let schema = self.snapshot.release.schema();
        let features = schema.of(Entity::Context);
        let mut values = vec![ValueRef::Missing; features.len()];
        for (name, value) in &self.context {
            if let (Some((Entity::Context, index)), Some(value)) = (schema.find(name), value) {
                values[index] = value.typed(features[index].feature_type).unwrap_or(ValueRef::Missing);
            }
        }
        values
    }

    /// The context: the known values, over the schema's defaults.
    pub(crate) fn context(&self) -> Context<'_> {
        let features = self.snapshot.release.schema().of(Entity::Context);
        let degraded = self.ignored.iter().map(|text| Degraded::OfCall(text)).collect();
        let mut context = Context { values: self.context_values(), degraded };
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
/// shown. The channel is then added to `ignored`.
fn resolve_channel(placement: &Placement, channel: &str, ignored: &mut Vec<String>) -> Option<usize> {
    if channel.is_empty() {
        return Some(0);
    }
    let known = placement.channels.iter().position(|known| known == channel);
    if known.is_none() {
        degraded::list("unknown_channel", [channel], ignored);
    }
    known
}

/// The candidates, where the request narrows them, and the fallback. Offers that the release does not have are skipped
/// and added to `ignored`.
fn resolve_candidates(
    snapshot: &Snapshot,
    placement: PlacementIndex,
    request: &RankRequest,
    ignored: &mut Vec<String>,
) -> (Option<(Vec<Candidate>, UsedFeatures)>, Option<OfferIndex>) {
    let (release, catalog) = (&snapshot.release, snapshot.release.catalog());
    let RankRequest { candidate_offer_ids, exclude_offer_ids, .. } = request;
    let wanted = positions(catalog, candidate_offer_ids);
    let unwanted = positions(catalog, exclude_offer_ids);
    if wanted.len() < candidate_offer_ids.len() || unwanted.len() < exclude_offer_ids.len() {
        let named = candidate_offer_ids.iter().chain(exclude_offer_ids).map(String::as_str);
        let unknown = named.filter(|id| catalog.library.find(id).is_none());
        degraded::list("unknown_offer", unknown, ignored);
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
    let looked_at = release.feature_usage().of(placement, scored, fallback);
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
