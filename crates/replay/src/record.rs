//! From the decisions of a call to their records, and from a record back to what can be decided again.

use std::mem;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use decision::{
    CallHistory, CandidateOutcome, Customer, CustomerError, Explain, Factors, RankRequest, RankedOffer,
    Reason, RecordedArms, RecordedCall, RecordedDecision, RecordedHistory, RecordedScores, RecordedValues,
    Refusal, ReplayInput, Stage,
};
use event::privacy::RecordedEntity;
use event::proto;
use experiment::{Assignment, How};
use feature::Entity;
use history::{HistoryView, Limits, ShownOffer, TotalLimit, recorded_reservations};
use offer::{Catalog, OfferIndex};
use release::{Release, Snapshot};
use uuid::Uuid;

use super::privacy::Privacy;
use super::releases::Loaded;
use super::values::{self, ValuesError};

/// The format of the records that this version writes.
pub const FORMAT: u32 = 1;

/// Why a record cannot be decided again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A format of a later version.
    #[error("the record has format {0}; this version knows {FORMAT} and earlier")]
    Format(u32),
    /// A field that makes no sense.
    #[error("{field}: {message}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Values that do not fit the release's schema.
    #[error("{entity}: {error}")]
    Values {
        /// `customer` or `context`.
        entity: &'static str,
        /// What is wrong.
        error: ValuesError,
    },
}

/// Writes the record of each decision of a call, in order.
pub fn write(call: &RecordedCall, privacy: &Privacy, mut emit: impl FnMut(proto::DecisionRecord)) {
    let snapshot = call.snapshot();
    let asked = call.asked();
    let decided_at = call.decided_at().timestamp_micros();
    let schema = snapshot.release.schema();
    let mut context = values::write(call.context().into_iter(), schema.of(Entity::Context));
    let (took, customers) =
        (call.took.as_micros().min(u128::from(u32::MAX)) as u32, call.decisions.len() as u32);
    for (index, decision) in call.decisions.iter().enumerate() {
        let customer = call.customer(index);
        let failed = decision.error.is_some();
        let name = privacy.pseudonyms.of(customer.id);
        let mut record = proto::DecisionRecord {
            format: FORMAT,
            decision_id: decision.id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned(),
            decided_at,
            release: snapshot.release.number(),
            request_id: asked.request_id.clone(),
            placement: call.placement().id.clone(),
            channel: asked.channel.clone(),
            customer_id: name.text,
            pseudonym_key: name.key,
            consents: customer.consents.to_vec(),
            count: asked.count,
            explain: explain_number(asked.explain),
            candidate_offer_ids: asked.candidate_offer_ids.clone(),
            exclude_offer_ids: asked.exclude_offer_ids.clone(),
            asked_release: asked.release,
            as_of: asked.as_of.map(timestamp),
            ignored: call.ignored().to_vec(),
            call_us: took,
            call_customers: customers,
            error: decision.error.as_ref().map(|error| error_of(error, index)),
            ..proto::DecisionRecord::default()
        };
        if !failed {
            let (open, sensitive) = values::write(customer.values.into_iter(), schema.of(Entity::Customer));
            record.customer = Some(privacy.protect(open, sensitive, decision.id, RecordedEntity::Customer));
            // Most calls are for one customer, and copies are several allocations.
            let is_last = index + 1 == call.decisions.len();
            let (open, sensitive) = if is_last { mem::take(&mut context) } else { context.clone() };
            record.context = Some(privacy.protect(open, sensitive, decision.id, RecordedEntity::Context));
            record.unknown_customer = customer.unknown;
            record.history = call.history().and_then(|CallHistory { limits, view, place }| {
                view.seen(limits, index, place, call.candidates(), call.decided_at())
            });
            let library = &snapshot.release.catalog().library;
            record.newcomers = call
                .newcomers()
                .map(|(offer, impressions)| proto::RecordedNewcomer {
                    offer_id: library.get(offer).id.to_string(),
                    impressions,
                })
                .collect();
        }
        answer(snapshot, decision, &mut record);
        emit(record);
    }
}

/// Writes what a decision came to: everything of a record that is worked out and not given.
pub(crate) fn answer(snapshot: &Snapshot, decision: &RecordedDecision, record: &mut proto::DecisionRecord) {
    let release = &snapshot.release;
    let decided_at = DateTime::from_timestamp_micros(record.decided_at).unwrap_or_default();
    record.default_channel = default_channel(release.catalog(), record);
    record.segment = decision.segment.as_ref().map(|segment| proto::RecordedSegment {
        id: segment.id,
        distance: segment.distance,
        margin: segment.margin,
    });
    record.assignments =
        decision.assignments.iter().filter_map(|assignment| assignment_of(release, assignment)).collect();
    record.held_out = decision.held_out;
    record.candidates = decision.error.is_none().then(|| candidates(decision));
    let offers = decision.offers.iter().map(|offer| {
        let shown = decision.shown.iter().find(|shown| shown.offer == offer.offer_id);
        offer_of(release, offer, shown, decided_at)
    });
    record.offers = offers.collect();
    record.degraded = decision.degraded.lines().map(str::to_owned).collect();
    let refusals = decision.refusals.iter().map(|refusal| refusal_of(release.catalog(), refusal, decided_at));
    record.refusals = refusals.collect();
}

/// The record with the answer of a decision that was made again. What a version that recorded less has left out stays
/// so.
pub(crate) fn answered_again(
    snapshot: &Snapshot,
    decision: &RecordedDecision,
    recorded: &proto::DecisionRecord,
) -> proto::DecisionRecord {
    let mut again = recorded.clone();
    answer(snapshot, decision, &mut again);
    if recorded.default_channel.is_empty() {
        again.default_channel.clear();
    }
    for (again, recorded) in again.offers.iter_mut().zip(&recorded.offers) {
        again.terms = again.terms.filter(|_| recorded.terms.is_some());
    }
    again
}

/// The first channel of the placement, where a call named none.
fn default_channel(catalog: &Catalog, record: &proto::DecisionRecord) -> String {
    let placement = catalog.policy.find_placement(&record.placement).filter(|_| record.channel.is_empty());
    let first = placement.and_then(|placement| catalog.policy.placement(placement).channels.first());
    first.cloned().unwrap_or_default()
}

fn candidates(decision: &RecordedDecision) -> proto::Candidates {
    let outcomes = &decision.candidates;
    let number = |outcome: &CandidateOutcome, of: fn((Stage, Reason)) -> u8| outcome.withheld.map_or(0, of);
    let mut raw_scores = Vec::with_capacity(outcomes.len());
    raw_scores.extend(outcomes.iter().filter(|one| one.reached_models()).map(|one| one.raw));
    proto::Candidates {
        stages: outcomes.iter().map(|one| number(one, |(stage, _)| stage as u8 + 1)).collect(),
        reasons: outcomes.iter().map(|one| number(one, |(_, reason)| reason as u8 + 1)).collect(),
        raw_scores,
        unscored: decision.unscored.iter().map(ToString::to_string).collect(),
    }
}

/// `shown`: what was reserved with the offer, where there is a history.
fn offer_of(
    release: &Release,
    offer: &RankedOffer,
    shown: Option<&ShownOffer>,
    decided_at: DateTime<Utc>,
) -> proto::RecordedOffer {
    let terms = || {
        let terms = release.catalog().library.get(offer.offer);
        proto::RecordedTerms { cost: terms.cost, value: terms.value }
    };
    let [cap_total, budget] = shown.map(|shown| recorded_reservations(shown, decided_at)).unwrap_or_default();
    proto::RecordedOffer {
        offer_id: str::to_owned(&offer.offer_id),
        priority: offer.priority,
        fallback: offer.fallback,
        selection_probability: offer.selection_probability,
        factors: offer.factors.as_ref().map(|factors| factors_of(release, factors)),
        terms: offer.factors.is_none().then(terms),
        cap_total,
        budget,
        conditional: offer.conditional,
        mandatory: offer.mandatory,
    }
}

/// A variant by its names; `None` if the release does not have it.
fn assignment_of(release: &Release, assignment: &Assignment) -> Option<proto::RecordedAssignment> {
    let Assignment { experiment, variant, how } = *assignment;
    let phase = release.catalog().phases.get(experiment)?.0;
    let experiment = release.experiments().all.get(experiment)?;
    let variant = experiment.variants.get(variant)?.id.clone();
    Some(proto::RecordedAssignment {
        experiment: experiment.id.clone(),
        variant,
        how: how_number(how),
        phase,
    })
}

/// The numbers of `AssignmentHow`.
fn how_number(how: How) -> u32 {
    match how {
        How::Drawn => 1,
        How::Listed => 2,
        How::Requested => 3,
    }
}

fn how(number: u32) -> Result<How, RecordError> {
    let all = [How::Drawn, How::Listed, How::Requested];
    let found = all.into_iter().find(|how| how_number(*how) == number);
    found.ok_or_else(|| field("assignments", &format!("{number} is not a value of AssignmentHow")))
}

fn refusal_of(catalog: &Catalog, refusal: &Refusal, decided_at: DateTime<Utc>) -> proto::RecordedRefusal {
    let Refusal { round, offer, reason, limit, frees_at } = refusal;
    let frees_in = frees_at.map(|moment| moment.timestamp_millis() - decided_at.timestamp_millis());
    proto::RecordedRefusal {
        round: round.unwrap_or(0),
        fallback: round.is_none(),
        offer_id: catalog.library.get(*offer).id.to_string(),
        reason: *reason as u32 + 1,
        limit: if reason.limit_key().is_some() { String::new() } else { limit.clone() },
        frees_in: frees_in.unwrap_or(0),
    }
}

fn factors_of(release: &Release, factors: &Factors) -> proto::RecordedFactors {
    let model = factors.model.and_then(|model| release.models().get(model.get()));
    proto::RecordedFactors {
        score: factors.score,
        propensity: factors.propensity,
        context_weight: factors.context_weight,
        value: factors.value,
        lever: factors.lever,
        cost: factors.cost,
        margin: factors.margin,
        model: model.map(|model| model.name().to_owned()).unwrap_or_default(),
        model_version: model.map(|model| model.version()).unwrap_or_default(),
    }
}

/// The codes are the numbers of the gRPC status codes, as in `RankErrorCode`.
fn error_of(error: &CustomerError, index: usize) -> proto::RecordedError {
    let code = match error {
        CustomerError::Anonymous | CustomerError::Invalid(_) => 3,
        CustomerError::Internal => 13,
    };
    proto::RecordedError { code, message: error.message().to_owned(), field: error.field(index) }
}

/// What a record says that can be decided again by the release that decided. With recorded scores: the models are not
/// asked.
///
/// # Errors
/// When the record does not fit the release or lacks something.
pub fn read(record: &proto::DecisionRecord, of: &Loaded) -> Result<ReplayInput, RecordError> {
    if record.format == 0 || record.format > FORMAT {
        return Err(RecordError::Format(record.format));
    }
    let Loaded { snapshot, limits } = of;
    let release = &snapshot.release;
    let request = request(record)?;
    let schema = release.schema();
    let entity = |name, entity, values: &Option<proto::FeatureValues>| {
        let values = values.as_ref().ok_or_else(|| field(name, "is missing"))?;
        values::read(values, schema.of(entity)).map_err(|error| RecordError::Values { entity: name, error })
    };
    let candidates = record.candidates.as_ref().ok_or_else(|| field("candidates", "are missing"))?;
    let unscored = candidates.unscored.iter().map(|why| Arc::from(why.as_str())).collect();
    let now = moment(record.decided_at)?;
    let refusals = record.refusals.iter().map(|refusal| refused(refusal, release.catalog(), now));
    let view = view(record, limits, now, |_, _| true)?;
    let is_unavailable = |reason: &u8| *reason == Reason::HistoryUnavailable as u8 + 1;
    let undurable = candidates.reasons.iter().any(is_unavailable);
    Ok(ReplayInput {
        request,
        now,
        values: RecordedValues {
            decision_id: Some(decision_id(record)?),
            customer: entity("customer", Entity::Customer, &record.customer)?,
            context: entity("context", Entity::Context, &record.context)?,
            unknown_customer: record.unknown_customer,
            scores: Some(RecordedScores { raw: candidates.raw_scores.clone(), unscored }),
            history: Some(RecordedHistory {
                limits: Arc::clone(limits),
                view: Arc::new(view),
                refusals: refusals.collect::<Result<_, _>>()?,
                undurable,
            }),
            arms: Some(arms(record)?),
            impressions: impressions(record, release.catalog()),
        },
        ignored: Some(record.ignored.clone()),
    })
}

/// The arms of a record, by the names that it has.
fn arms(record: &proto::DecisionRecord) -> Result<RecordedArms, RecordError> {
    let named = |assignment: &proto::RecordedAssignment| {
        let proto::RecordedAssignment { experiment, variant, how: number, .. } = assignment;
        Ok((experiment.clone(), variant.clone(), how(*number)?))
    };
    Ok(RecordedArms {
        assignments: record.assignments.iter().map(named).collect::<Result<_, RecordError>>()?,
        held_out: record.held_out,
        // An arm is drawn with the id, and a pseudonym is another one.
        can_be_drawn: record.pseudonym_key.is_empty(),
    })
}

/// How often the new offers of a record had been shown, for the release with this catalog.
pub(crate) fn impressions(record: &proto::DecisionRecord, catalog: &Catalog) -> Vec<(OfferIndex, u64)> {
    let newcomers = record.newcomers.iter();
    newcomers.filter_map(|one| Some((catalog.library.find(&one.offer_id)?, one.impressions))).collect()
}

/// What these limits can look at of what a record says. `is_known`: as in [`HistoryView::of_record`].
pub(crate) fn view(
    record: &proto::DecisionRecord,
    limits: &Limits,
    now: DateTime<Utc>,
    is_known: impl Fn(OfferIndex, TotalLimit) -> bool,
) -> Result<HistoryView, RecordError> {
    let view = HistoryView::of_record(record.history.as_ref(), limits, now, is_known);
    view.map_err(|error| field("history", &error.to_string()))
}

/// What was refused, of a decision by the release with this catalog.
fn refused(
    refusal: &proto::RecordedRefusal,
    catalog: &Catalog,
    decided_at: DateTime<Utc>,
) -> Result<Refusal, RecordError> {
    let proto::RecordedRefusal { round, fallback, offer_id, reason, limit, frees_in } = refusal;
    let offer = catalog.library.find(offer_id);
    let offer = offer.ok_or_else(|| field("refusals", &format!("the release has no offer `{offer_id}`")))?;
    let known = usize::try_from(*reason).ok().and_then(|number| number.checked_sub(1));
    let reason = known
        .and_then(|number| Reason::ALL.get(number).copied())
        .ok_or_else(|| field("refusals", &format!("reason {reason} is not known to this version")))?;
    let frees_at = decided_at.timestamp_millis().saturating_add(*frees_in);
    Ok(Refusal {
        round: (!fallback).then_some(*round),
        offer,
        reason,
        limit: reason.limit_key().map_or_else(|| limit.clone(), str::to_owned),
        frees_at: DateTime::from_timestamp_millis(frees_at).filter(|_| *frees_in != 0),
    })
}

/// The request of a record, without features.
pub(crate) fn request(record: &proto::DecisionRecord) -> Result<RankRequest, RecordError> {
    let as_of = record.as_of.as_ref().map(|stamp| {
        u32::try_from(stamp.nanos)
            .ok()
            .and_then(|nanos| DateTime::from_timestamp(stamp.seconds, nanos))
            .ok_or_else(|| field("as_of", "is not a moment that a calendar knows"))
    });
    Ok(RankRequest {
        request_id: record.request_id.clone(),
        placement: record.placement.clone(),
        channel: record.channel.clone(),
        customers: vec![Customer { id: record.customer_id.clone(), consents: record.consents.clone() }],
        candidate_offer_ids: record.candidate_offer_ids.clone(),
        exclude_offer_ids: record.exclude_offer_ids.clone(),
        count: record.count as usize,
        explain: explain(record.explain)?,
        as_of: as_of.transpose()?,
        dry_run: true,
        ..RankRequest::default()
    })
}

/// The id of a record's decision.
pub(crate) fn decision_id(record: &proto::DecisionRecord) -> Result<Uuid, RecordError> {
    Uuid::parse_str(&record.decision_id).map_err(|error| field("decision_id", &error.to_string()))
}

fn moment(micros: i64) -> Result<DateTime<Utc>, RecordError> {
    DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| field("decided_at", "is no moment that a calendar knows"))
}

fn timestamp(moment: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: moment.timestamp(), nanos: moment.timestamp_subsec_nanos() as i32 }
}

fn explain_number(explain: Explain) -> u32 {
    match explain {
        Explain::None => 1,
        Explain::Winners => 2,
        Explain::All => 3,
    }
}

fn explain(number: u32) -> Result<Explain, RecordError> {
    match number {
        1 => Ok(Explain::None),
        2 => Ok(Explain::Winners),
        3 => Ok(Explain::All),
        other => Err(field("explain", &format!("{other} is not a value of Explain"))),
    }
}

fn field(field: &'static str, message: &str) -> RecordError {
    RecordError::Field { field, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
