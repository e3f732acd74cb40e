//! The gate that feeds generated rows to a version and requires a usable answer to each.

use std::fmt::Write as _;

use super::Finding;
use super::bench::{Bench, answer};
use super::rows::ROWS;
use crate::load::{Loaded, Segmenter};
use feature::{Entity, FeatureSchema, FeatureType, Row, ValueRef};
use model::{Model, ModelError, ModelKind};

/// The square of a larger distance may exceed the range of floats.
const MAX_DISTANCE: f64 = 1e150;

/// Every output is finite, every propensity within 0..=1.
pub(super) fn check(bench: &Bench<'_>, loaded: &Loaded) -> Finding {
    let failures = match loaded {
        Loaded::Model(model) => of_model(bench, model),
        Loaded::Segmentation(segmenter) => of_segmentation(bench, segmenter),
    };
    let mut measured = format!("{} of {ROWS} generated rows failed", failures.count);
    if failures.clamped > 0 {
        // Writing to a string cannot fail.
        let _ = write!(
            measured,
            "; in {} a score outside 0..=1 by rounding alone counts as 0 or 1",
            failures.clamped
        );
    }
    match failures.first {
        None => Finding::passed(measured, "0 rows"),
        Some(first) => Finding::failed(measured, "0 rows", first),
    }
}

/// Rows without a usable answer.
#[derive(Default)]
struct Failures {
    count: usize,
    /// What is wrong with the first.
    first: Option<String>,
    /// Rows with a score that counts as 0 or 1, because it lies outside by rounding alone.
    clamped: usize,
}

impl Failures {
    fn add(&mut self, describe: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(describe);
    }
}

fn of_model(bench: &Bench<'_>, model: &Model) -> Failures {
    let mut failures = Failures::default();
    let schema = bench.candidate.schema;
    let shown = |row: &Row<'_>| describe(row, schema, model.features());
    let mut matrix = model.matrix();
    let mut rows = Vec::with_capacity(ROWS);
    for generated in bench.rows() {
        match generated.push(&mut matrix) {
            Ok(row) => rows.push(row),
            Err(error) => failures.add(|| format!("{error}; the row: {}", shown(&generated.whole()))),
        }
    }
    let scores = model.score(bench.worker(), &matrix);
    let mut judge = |row: &Row<'_>, scores: Result<&[f32], &ModelError>| {
        let wrong = match scores {
            Ok(scores) => {
                let clamped = model.manifest().kind == ModelKind::Propensity
                    && scores.iter().any(|raw| model.is_clamped(*raw));
                failures.clamped += usize::from(clamped);
                let at = scores.iter().position(|raw| answer(model, *raw).is_none());
                at.map(|at| refusal(model, at, scores[at]))
            }
            Err(error) => Some(format!("{error}{}", remedy(schema, model))),
        };
        if let Some(wrong) = wrong {
            failures.add(|| format!("{wrong}; the first such row: {}", shown(row)));
        }
    };
    match scores {
        Ok(scores) => {
            let values = scores.values.chunks_exact(scores.columns.max(1));
            rows.iter().zip(values).for_each(|(row, values)| judge(row, Ok(values)));
        }
        // Row by row, to count the failures.
        Err(_) => {
            for row in &rows {
                matrix.clear();
                // The row was accepted before.
                let _ = matrix.push(row);
                let scores = model.score(bench.worker(), &matrix);
                judge(row, scores.as_ref().map(|scores| scores.values.as_slice()));
            }
        }
    }
    failures
}

/// Advice for a graph that fails on a row, where texts may be the cause. By default, scikit-learn's encoders fail on
/// texts that they were not trained with.
fn remedy(schema: &FeatureSchema, model: &Model) -> String {
    let open = |name: &&str| {
        let feature = schema.get(name);
        feature
            .is_some_and(|feature| feature.feature_type == FeatureType::String && feature.values.is_empty())
    };
    let texts: Vec<String> = model.features().filter(open).map(|name| format!("`{name}`")).collect();
    if texts.is_empty() {
        return String::new();
    }
    format!(
        "; an encoder that fails on texts it does not know needs handle_unknown=\"ignore\" when it is trained, or `values` with the texts \
         that it knows in features.toml, for {}",
        texts.join(", ")
    )
}

/// What is wrong with a raw score.
fn refusal(model: &Model, column: usize, raw: f32) -> String {
    let name = &model.columns()[column];
    if !raw.is_finite() {
        return format!("`{name}` is {raw}");
    }
    let rounding = model.rounding();
    format!(
        "`{name}` is {raw}, which is no propensity: it must lie in 0..=1, or be calibrated (rounding excuses {rounding:.1e})"
    )
}

fn of_segmentation(bench: &Bench<'_>, segmenter: &Segmenter) -> Failures {
    let mut failures = Failures::default();
    for generated in bench.rows() {
        let row = generated.gapped();
        let assigned = segmenter.assign(|index| row.customer[index]);
        if !(assigned.distance < MAX_DISTANCE && assigned.margin.is_finite()) {
            let features = || describe(&row, bench.candidate.schema, segmenter.features());
            failures.add(|| {
                format!("the distance to `{}` overflows; the first such row: {}", assigned.name, features())
            });
        }
    }
    failures
}

/// The values of `features` for a message: `balance = 12.5, age = missing`.
fn describe<'f>(row: &Row<'_>, schema: &FeatureSchema, features: impl Iterator<Item = &'f str>) -> String {
    let mut text = String::new();
    for name in features {
        let values = |entity| match entity {
            Entity::Customer => row.customer,
            Entity::Context => row.context,
            Entity::Offer => row.offer,
        };
        let value = match schema.find(name) {
            Some((entity, index)) => values(entity).get(index).copied().unwrap_or(ValueRef::Missing),
            None => row.segment.map_or(ValueRef::Missing, |segment| ValueRef::Int(segment.id)),
        };
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = match value {
            ValueRef::Missing => write!(text, "{separator}{name} = missing"),
            ValueRef::Float(value) => write!(text, "{separator}{name} = {value}"),
            ValueRef::Int(value) => write!(text, "{separator}{name} = {value}"),
            ValueRef::Bool(value) => write!(text, "{separator}{name} = {value}"),
            ValueRef::String(value) => write!(text, "{separator}{name} = {value:?}"),
        };
    }
    text
}
