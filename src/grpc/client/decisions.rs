//! `Rank` and `Score` for the command line: domain types in, printable answers out.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Client, ClientError, wire};
use crate::grpc::time;
use decision::ContextValue;
use feature::{ColumnValues, FeatureBatch};
use replay::{ViewedFactors, ViewedWithheld, why};

/// A question for `Rank`.
#[derive(Debug, Clone, Default)]
pub struct RankQuestion {
    /// The placement.
    pub placement: String,
    /// Empty: the placement's first.
    pub channel: String,
    /// Their ids.
    pub customers: Vec<String>,
    /// Consents that hold for each of them.
    pub consents: Vec<String>,
    /// Features, row i = customer i.
    pub features: Option<FeatureBatch>,
    /// Context values by name.
    pub context: Vec<(String, ContextValue)>,
    /// Variants to force, as pairs of experiment and variant.
    pub forced: Vec<(String, String)>,
    /// Candidates; empty: all offers.
    pub candidates: Vec<String>,
    /// Offers to leave out.
    pub excluded: Vec<String>,
    /// 0: the placement's default.
    pub count: u32,
    /// Ask for factors and for withheld offers.
    pub explain: bool,
    /// Have the decisions recorded, as those of real calls; otherwise it is a preview.
    pub record: bool,
    /// When the offers would be shown.
    pub as_of: Option<chrono::DateTime<chrono::Utc>>,
}

/// What `Rank` answered. The names are those of `proffer.v1.RankResponse`.
#[derive(Debug, Clone, Serialize)]
pub struct RankAnswer {
    /// The server's or the caller's.
    pub request_id: String,
    /// The release that answered.
    pub release: u64,
    /// One per customer.
    pub results: Vec<RankedCustomer>,
}

/// One customer of a [`RankAnswer`].
#[derive(Debug, Clone, Serialize)]
pub struct RankedCustomer {
    /// Their id.
    pub customer_id: String,
    /// `UUIDv7`.
    pub decision_id: String,
    /// Best first.
    pub offers: Vec<ShownOffer>,
    /// Where the release has a segmentation.
    pub segment: Option<ShownSegment>,
    /// The customer's variants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<ShownAssignment>,
    /// Whether the customer is in the holdout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_out: bool,
    /// Offers that were withheld.
    pub rejected: Vec<ViewedWithheld>,
    /// What the decision did without.
    pub degraded: Vec<String>,
    /// Why there is no decision for this customer: code and message.
    pub error: Option<String>,
}

/// A customer's variant of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct ShownAssignment {
    /// The experiment.
    pub experiment: String,
    /// The variant.
    pub variant: String,
    /// `drawn`, `listed` or `requested`.
    pub how: String,
}

/// A customer's segment.
#[derive(Debug, Clone, Serialize)]
pub struct ShownSegment {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The distance to its centroid.
    pub distance: f64,
    /// The margin, within 0..=1.
    pub margin: f64,
}

/// An offer that was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct ShownOffer {
    /// Its id.
    pub offer_id: String,
    /// 1 is the best.
    pub rank: u32,
    /// The priority by which it was ranked.
    pub priority: f64,
    /// The factors of the priority.
    pub factors: Option<ViewedFactors>,
    /// The probability with which it was chosen at its rank.
    pub selection_probability: f64,
    /// Whether that holds given that an offer chosen before could not be shown.
    pub conditional: bool,
    /// Whether it is shown first because it is mandatory.
    pub mandatory: bool,
    /// Whether it is shown because no other offer remained.
    pub fallback: bool,
    /// The attributes of offers.toml.
    pub attributes: BTreeMap<String, serde_json::Value>,
}

/// What `Score` answered.
#[derive(Debug, Clone, Serialize)]
pub struct Scored {
    /// The model that scored.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// Its release.
    pub release: u64,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// Row by row; `None` where there is no score.
    pub rows: Vec<Vec<Option<f32>>>,
    /// Whether the values are propensities.
    pub calibrated: bool,
    /// Rows without a score, and why.
    pub errors: Vec<(u32, String)>,
    /// What the answer did without.
    pub degraded: Vec<String>,
}

impl Client {
    /// Asks for a ranking.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn rank(&mut self, question: RankQuestion) -> Result<RankAnswer, ClientError> {
        let explain = if question.explain { wire::Explain::All } else { wire::Explain::Winners };
        let consents = question.consents;
        let customer = |customer_id: String| wire::Customer { customer_id, consents: consents.clone() };
        let request = wire::RankRequest {
            request_id: String::new(),
            placement: question.placement,
            channel: question.channel,
            customers: question.customers.into_iter().map(customer).collect(),
            features: question.features.map(write_batch),
            context: question.context.into_iter().map(|(name, value)| (name, write_value(value))).collect(),
            candidate_offer_ids: question.candidates,
            exclude_offer_ids: question.excluded,
            count: question.count,
            explain: explain.into(),
            dry_run: !question.record,
            as_of: question.as_of.map(time::write),
            release: 0,
            force_variants: question.forced.into_iter().collect(),
        };
        let response = self.decisions().rank(request).await?.into_inner();
        Ok(RankAnswer {
            request_id: response.request_id,
            release: response.release,
            results: response.results.into_iter().map(read_result).collect(),
        })
    }

    /// Asks for scores.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn score(
        &mut self,
        model: &str,
        version: u64,
        features: FeatureBatch,
        offer_ids: Vec<String>,
    ) -> Result<Scored, ClientError> {
        let model = Some(wire::ModelRef { name: model.to_owned(), version });
        let request = wire::ScoreRequest { model, features: Some(write_batch(features)), offer_ids };
        let answer = self.decisions().score(request).await?.into_inner();
        let width = answer.columns.len().max(1);
        let finite = |value: &f32| Some(*value).filter(|value| value.is_finite());
        Ok(Scored {
            model: answer.model,
            version: answer.version,
            release: answer.release,
            rows: answer.values.chunks(width).map(|row| row.iter().map(finite).collect()).collect(),
            columns: answer.columns,
            calibrated: answer.calibrated,
            errors: answer.errors.into_iter().map(|error| (error.row, error.message)).collect(),
            degraded: answer.degraded,
        })
    }
}

fn write_batch(batch: FeatureBatch) -> wire::FeatureBatch {
    use wire::feature_column::Values;
    let columns = batch.columns.into_iter().map(|column| wire::FeatureColumn {
        name: column.name,
        values: Some(match column.values {
            ColumnValues::Floats(values) => Values::Floats(wire::FloatValues { values }),
            ColumnValues::Ints(values) => Values::Int64s(wire::Int64Values { values }),
            ColumnValues::Strings(values) => Values::Strings(wire::StringValues { values }),
            ColumnValues::Bools(values) => Values::Bools(wire::BoolValues { values }),
        }),
        null_rows: column.null_rows,
    });
    wire::FeatureBatch {
        rows: batch.rows as u32,
        dense: Some(wire::DenseFeatures { names: batch.dense_names, values: batch.dense_values }),
        columns: columns.collect(),
    }
}

fn write_value(value: ContextValue) -> wire::FeatureValue {
    use wire::feature_value::Kind;
    let kind = match value {
        ContextValue::Float(number) => Kind::FloatValue(number),
        ContextValue::Int(number) => Kind::Int64Value(number),
        ContextValue::String(text) => Kind::StringValue(text),
        ContextValue::Bool(truth) => Kind::BoolValue(truth),
    };
    wire::FeatureValue { kind: Some(kind) }
}

fn read_result(result: wire::RankResult) -> RankedCustomer {
    RankedCustomer {
        customer_id: result.customer_id,
        decision_id: result.decision_id,
        offers: result.offers.into_iter().map(read_offer).collect(),
        segment: result.segment.map(|segment| ShownSegment {
            id: segment.id,
            name: segment.name,
            distance: segment.distance,
            margin: segment.margin,
        }),
        assignments: result
            .assignments
            .into_iter()
            .map(|one| ShownAssignment {
                how: word(one.how().as_str_name(), "ASSIGNMENT_HOW_").to_lowercase(),
                experiment: one.experiment,
                variant: one.variant,
            })
            .collect(),
        held_out: result.held_out,
        rejected: result.rejected.into_iter().map(withheld).collect(),
        degraded: result.degraded,
        error: result.error.map(|error| {
            let code = word(error.error_code().as_str_name(), "RANK_ERROR_CODE_");
            format!("{code}: {}", why(&error.field, &error.message))
        }),
    }
}

/// An offer that was withheld, in the words of the contract.
pub(super) fn withheld(one: wire::RejectedOffer) -> ViewedWithheld {
    ViewedWithheld {
        stage: word(one.withheld_stage().as_str_name(), "WITHHELD_STAGE_").to_lowercase(),
        reason: word(one.withheld_reason().as_str_name(), "WITHHELD_REASON_").to_owned(),
        offer_id: one.offer_id,
        rule: one.rule,
        detail: one.detail,
    }
}

/// The name of an enum's value without that of the enum.
fn word<'n>(name: &'n str, prefix: &str) -> &'n str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn read_offer(offer: wire::RankedOffer) -> ShownOffer {
    ShownOffer {
        offer_id: offer.offer_id,
        rank: offer.rank,
        priority: offer.priority,
        factors: offer.factors.map(|factors| ViewedFactors {
            score: factors.score,
            propensity: factors.propensity,
            context_weight: factors.context_weight,
            value: factors.value,
            lever: factors.lever,
            cost: factors.cost,
            margin: factors.margin,
            model: factors.model,
            model_version: factors.model_version,
        }),
        selection_probability: offer.selection_probability,
        conditional: offer.conditional,
        mandatory: offer.mandatory,
        fallback: offer.fallback,
        attributes: offer.attributes.into_iter().map(|(name, value)| (name, read_value(value))).collect(),
    }
}

fn read_value(value: wire::FeatureValue) -> serde_json::Value {
    use wire::feature_value::Kind;
    match value.kind {
        None => serde_json::Value::Null,
        Some(Kind::FloatValue(number)) => number.into(),
        Some(Kind::Int64Value(number)) => number.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::BoolValue(truth)) => truth.into(),
    }
}
