//! `Rank`: from the wire and back.

use std::collections::HashMap;

use tonic::{Code, Status};

use super::features::{read_batch, read_value};
use crate::grpc::limits::{Limits, check_count, check_id, check_ids, cut_id, id_too_long, ids_too_long};
use crate::grpc::proto::proffer::v1 as wire;
use crate::grpc::status::{code_name, invalid, no_forced_variants};
use crate::grpc::time;
use decision::{
    Customer, CustomerError, Explain, Factors, RankRequest, RankResult, RankedOffer, Reason, RowProblem,
    RowProblems, Stage, WithheldOffer,
};
use experiment::{Assignment, How};
use feature::FeatureBatch;
use offer::Attribute;
use release::{AssignedSegment, Snapshot};

/// Entries of the context.
const CONTEXT_ENTRIES: usize = 1000;

/// Variants that a request forces: a policy has no more experiments.
const FORCED_VARIANTS: usize = 100;

/// Reads a request; names are checked against the release later.
pub(super) fn read(
    request: wire::RankRequest,
    request_id: &str,
    limits: &Limits,
) -> Result<RankRequest, Status> {
    check_id("placement", &request.placement)?;
    if request.placement.is_empty() {
        return Err(invalid("placement", "is missing; name a placement of policy.toml"));
    }
    check_id("channel", &request.channel)?;
    check_count("customers", "customers", request.customers.len(), limits.customers)?;
    let mut unreadable = RowProblems::new();
    let customers = request
        .customers
        .into_iter()
        .enumerate()
        .map(|(index, customer)| read_customer(index, customer, &mut unreadable))
        .collect();
    let features = match request.features {
        None => FeatureBatch::default(),
        Some(batch) => read_batch(batch, limits.customers, limits, &mut unreadable)?,
    };
    check_count("context", "entries", request.context.len(), CONTEXT_ENTRIES)?;
    let context = request
        .context
        .into_iter()
        .map(|(name, value)| {
            check_id("context", &name)?;
            let value = read_value(format_args!("context[{name}]"), value, limits)?;
            Ok((name, value))
        })
        .collect::<Result<Vec<_>, Status>>()?;
    check_ids("candidate_offer_ids", &request.candidate_offer_ids)?;
    check_ids("exclude_offer_ids", &request.exclude_offer_ids)?;
    let forced = read_forced(request.force_variants, limits)?;
    let explain = match wire::Explain::try_from(request.explain) {
        Ok(wire::Explain::Unspecified | wire::Explain::None) => Explain::None,
        Ok(wire::Explain::Winners) => Explain::Winners,
        Ok(wire::Explain::All) => Explain::All,
        Err(_) => {
            return Err(invalid("explain", format_args!("{} is not a value of Explain", request.explain)));
        }
    };
    Ok(RankRequest {
        request_id: request_id.to_owned(),
        placement: request.placement,
        channel: request.channel,
        customers,
        features,
        context,
        candidate_offer_ids: request.candidate_offer_ids,
        exclude_offer_ids: request.exclude_offer_ids,
        count: request.count as usize,
        explain,
        as_of: request.as_of.map(|as_of| time::read("as_of", as_of)).transpose()?,
        release: request.release,
        dry_run: request.dry_run,
        forced,
        unreadable,
    })
}

/// Reads the variants that a request forces, by experiment.
fn read_forced(given: HashMap<String, String>, limits: &Limits) -> Result<Vec<(String, String)>, Status> {
    if !given.is_empty() && !limits.forced_variants {
        return Err(no_forced_variants());
    }
    check_count("force_variants", "entries", given.len(), FORCED_VARIANTS)?;
    let mut forced: Vec<(String, String)> = given.into_iter().collect();
    for (experiment, variant) in &forced {
        check_id("force_variants", experiment)?;
        check_id("force_variants", variant)?;
    }
    // A map has no order, and an error names the first.
    forced.sort_unstable();
    Ok(forced)
}

/// Reads a customer. One whose id or consents are too long is `unreadable`; the others are still decided.
fn read_customer(index: usize, customer: wire::Customer, unreadable: &mut RowProblems) -> Customer {
    let wire::Customer { customer_id, consents } = customer;
    let problem = match id_too_long(&customer_id) {
        Some(message) => Some((format!("customers[{index}].customer_id"), message)),
        None => ids_too_long(&consents).map(|(which, message)| {
            let which = which.map(|which| format!("[{which}]")).unwrap_or_default();
            (format!("customers[{index}].consents{which}"), message)
        }),
    };
    let Some((field, message)) = problem else { return Customer { id: customer_id, consents } };
    unreadable.insert(index, RowProblem { field, message });
    Customer { id: cut_id(&customer_id).to_owned(), consents: Vec::new() }
}

/// Writes the results of one call.
pub(super) fn write(
    request_id: String,
    snapshot: &Snapshot,
    results: Vec<RankResult>,
    explain: Explain,
) -> wire::RankResponse {
    wire::RankResponse {
        request_id,
        release: snapshot.release.number(),
        results: results
            .into_iter()
            .enumerate()
            .map(|(index, result)| write_result(snapshot, index, result, explain))
            .collect(),
    }
}

pub(in crate::grpc) fn write_result(
    snapshot: &Snapshot,
    index: usize,
    result: RankResult,
    explain: Explain,
) -> wire::RankResult {
    wire::RankResult {
        customer_id: result.customer_id,
        decision_id: result.decision_id.to_string(),
        offers: result
            .offers
            .into_iter()
            .zip(1..)
            .map(|(offer, rank)| write_offer(snapshot, offer, rank, explain))
            .collect(),
        segment: result.segment.as_ref().map(write_segment),
        rejected: result.withheld.into_iter().map(write_withheld).collect(),
        assignments: write_assignments(snapshot, &result.assignments),
        held_out: result.held_out,
        degraded: result.degraded,
        error: result.error.as_ref().map(|error| write_error(index, error)),
    }
}

/// The names of a customer's variants.
fn write_assignments(snapshot: &Snapshot, assignments: &[Assignment]) -> Vec<wire::Assignment> {
    let experiments = &snapshot.release.experiments().all;
    let named = |assignment: &Assignment| {
        let experiment = experiments.get(assignment.experiment)?;
        let variant = experiment.variants.get(assignment.variant)?;
        let how = match assignment.how {
            How::Drawn => wire::AssignmentHow::Drawn,
            How::Listed => wire::AssignmentHow::Listed,
            How::Requested => wire::AssignmentHow::Requested,
        };
        let (experiment, variant) = (experiment.id.clone(), variant.id.clone());
        Some(wire::Assignment { experiment, variant, how: how.into() })
    };
    assignments.iter().filter_map(named).collect()
}

fn write_offer(snapshot: &Snapshot, offer: RankedOffer, rank: u32, explain: Explain) -> wire::RankedOffer {
    let terms = snapshot.release.catalog().library.get(offer.offer);
    let factors = offer.factors.filter(|_| explain >= Explain::Winners);
    wire::RankedOffer {
        offer_id: offer.offer_id.to_string(),
        rank,
        priority: offer.priority,
        factors: factors.map(|factors| write_factors(snapshot, &factors)),
        selection_probability: offer.selection_probability,
        conditional: offer.conditional,
        mandatory: offer.mandatory,
        fallback: offer.fallback,
        attributes: terms
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), write_attribute(value)))
            .collect(),
    }
}

fn write_factors(snapshot: &Snapshot, factors: &Factors) -> wire::Factors {
    let model = factors.model.map(|model| snapshot.release.model(model));
    wire::Factors {
        score: factors.score,
        propensity: factors.propensity,
        context_weight: factors.context_weight,
        value: factors.value,
        lever: factors.lever,
        cost: factors.cost,
        margin: factors.margin,
        model: model.map(|model| model.name().to_owned()).unwrap_or_default(),
        model_version: model.map_or(0, |model| model.version()),
    }
}

fn write_attribute(attribute: &Attribute) -> wire::FeatureValue {
    use wire::feature_value::Kind;
    let kind = match attribute {
        Attribute::String(text) => Kind::StringValue(text.clone()),
        Attribute::Int(number) => Kind::Int64Value(*number),
        Attribute::Float(number) => Kind::FloatValue(*number),
        Attribute::Bool(truth) => Kind::BoolValue(*truth),
    };
    wire::FeatureValue { kind: Some(kind) }
}

#[expect(deprecated, reason = "clients of this version of the contract may still read the words")]
fn write_withheld(withheld: WithheldOffer) -> wire::RejectedOffer {
    wire::RejectedOffer {
        offer_id: withheld.offer_id.to_string(),
        stage: withheld.stage.as_str().to_owned(),
        reason: withheld.reason.as_str().to_owned(),
        rule: withheld.rule.map(|rule| rule.to_string()).unwrap_or_default(),
        detail: withheld.detail,
        withheld_stage: write_stage(withheld.stage).into(),
        withheld_reason: write_reason(withheld.reason).into(),
    }
}

fn write_stage(stage: Stage) -> wire::WithheldStage {
    match stage {
        Stage::Consent => wire::WithheldStage::Consent,
        Stage::Validity => wire::WithheldStage::Validity,
        Stage::Channel => wire::WithheldStage::Channel,
        Stage::Exclusion => wire::WithheldStage::Exclusion,
        Stage::Eligibility => wire::WithheldStage::Eligibility,
        Stage::Applicability => wire::WithheldStage::Applicability,
        Stage::Suitability => wire::WithheldStage::Suitability,
        Stage::Score => wire::WithheldStage::Score,
        Stage::Slate => wire::WithheldStage::Slate,
        Stage::Arbitration => wire::WithheldStage::Arbitration,
        Stage::Limits => wire::WithheldStage::Limits,
        Stage::Reservation => wire::WithheldStage::Reservation,
        Stage::Holdout => wire::WithheldStage::Holdout,
        Stage::Maturity => wire::WithheldStage::Maturity,
    }
}

fn write_reason(reason: Reason) -> wire::WithheldReason {
    match reason {
        Reason::ConsentMissing => wire::WithheldReason::ConsentMissing,
        Reason::OptedOut => wire::WithheldReason::OptedOut,
        Reason::NotYetValid => wire::WithheldReason::NotYetValid,
        Reason::Expired => wire::WithheldReason::Expired,
        Reason::ChannelNotAllowed => wire::WithheldReason::ChannelNotAllowed,
        Reason::Excluded => wire::WithheldReason::Excluded,
        Reason::Ineligible => wire::WithheldReason::Ineligible,
        Reason::NotApplicable => wire::WithheldReason::NotApplicable,
        Reason::Unsuitable => wire::WithheldReason::Unsuitable,
        Reason::ConflictsWith => wire::WithheldReason::ConflictsWith,
        Reason::CategoryLimit => wire::WithheldReason::CategoryLimit,
        Reason::ModelUnavailable => wire::WithheldReason::ModelUnavailable,
        Reason::RuleError => wire::WithheldReason::RuleError,
        Reason::Outranked => wire::WithheldReason::Outranked,
        Reason::Suppressed => wire::WithheldReason::Suppressed,
        Reason::ContactLimit => wire::WithheldReason::ContactLimit,
        Reason::CapCustomer => wire::WithheldReason::CapCustomer,
        Reason::CapTotal => wire::WithheldReason::CapTotal,
        Reason::Budget => wire::WithheldReason::Budget,
        Reason::HistoryUnavailable => wire::WithheldReason::HistoryUnavailable,
        Reason::Holdout => wire::WithheldReason::Holdout,
        Reason::Maturity => wire::WithheldReason::Maturity,
    }
}

/// Writes a customer's segment.
pub(super) fn write_segment(segment: &AssignedSegment) -> wire::Segment {
    wire::Segment {
        id: segment.id,
        name: segment.name.to_string(),
        distance: segment.distance,
        margin: segment.margin,
    }
}

#[expect(deprecated, reason = "clients of this version of the contract may still read the word")]
fn write_error(index: usize, error: &CustomerError) -> wire::RankError {
    let code = match error {
        CustomerError::Anonymous | CustomerError::Invalid(_) => wire::RankErrorCode::InvalidArgument,
        CustomerError::Internal => wire::RankErrorCode::Internal,
    };
    let word = code_name(Code::from_i32(code.into())).to_owned();
    let (message, field) = (error.message().to_owned(), error.field(index));
    wire::RankError { code: word, message, field, error_code: code.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_on_the_wire_is_the_name_of_its_number() {
        for stage in Stage::ALL {
            let name = write_stage(*stage).as_str_name();
            assert_eq!(name.strip_prefix("WITHHELD_STAGE_"), Some(&*stage.as_str().to_uppercase()));
        }
        for reason in Reason::ALL {
            let name = write_reason(*reason).as_str_name();
            assert_eq!(name.strip_prefix("WITHHELD_REASON_"), Some(reason.as_str()));
        }
        for error in [CustomerError::Anonymous, CustomerError::Internal] {
            let error = write_error(0, &error);
            #[expect(deprecated, reason = "what is compared")]
            let word = format!("RANK_ERROR_CODE_{}", error.code);
            assert_eq!(error.error_code().as_str_name(), word);
        }
    }
}
