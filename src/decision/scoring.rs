//! From surviving customer × offer pairs to raw scores and propensities: each model is asked once per block.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::tally::Tally;
use crate::feature::Row;
use crate::model::{Call, Layout, Matrix, Model, ModelError, Pairing, Stop, Worker};

/// One pair to score.
pub(super) struct Pair<'a> {
    /// The customer's place in the block.
    pub customer: usize,
    /// The offer's position in the library.
    pub offer: usize,
    /// What the model sees.
    pub row: Row<'a>,
}

/// The model's position in the release, its raw score and the propensity; or why there is none.
pub(super) type RawScore = Result<(usize, f32, f64), Arc<str>>;

/// Scores every pair, in order. A model that fails on the block is asked again customer by customer, so that only the
/// customer whose values it cannot take goes without.
///
/// # Errors
/// When the call is over before all models were asked.
pub(super) fn score_pairs(
    plan: &Plan,
    pairs: &[Pair<'_>],
    worker: &Worker,
    call: &Call,
    tally: &mut Tally,
) -> Result<Vec<RawScore>, Stop> {
    let release = &plan.snapshot.release;
    let no_model: Arc<str> = "no model of the placement scores this offer".into();
    let mut scores: Vec<RawScore> = vec![Err(Arc::clone(&no_model)); pairs.len()];
    for (position, model) in release.models().iter().enumerate() {
        // The pairs of this model, with the column that answers each.
        let wanted: Vec<(usize, usize)> = pairs
            .iter()
            .enumerate()
            .filter_map(|(index, pair)| {
                let scorer = release.scorer(plan.placement, pair.offer)?;
                (scorer.model == position).then_some((index, scorer.column))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        call.check()?;
        let mut keep = |answers: Vec<RawAnswer>| {
            for (index, score) in answers {
                scores[index] = score.and_then(|raw| propensity(model, raw).map(|p| (position, raw, p)));
            }
        };
        let mut ask = |wanted: &[(usize, usize)]| {
            let mut scored = |rows, took| tally.scored(position, rows, took);
            match release.pairing(position) {
                Some(pairing) => ask_native(model, pairing, pairs, wanted, &mut scored),
                None => ask_model(model, pairs, wanted, worker, &mut scored),
            }
        };
        if let Ok(answers) = ask(&wanted) {
            keep(answers);
            continue;
        }
        for customer in wanted.chunk_by(|one, other| pairs[one.0].customer == pairs[other.0].customer) {
            call.check()?;
            keep(ask(customer).unwrap_or_else(|error| {
                tracing::warn!(model = model.name(), version = model.version(), %error, "model failed");
                let why: Arc<str> = format!("{} failed on these values", model.name()).into();
                customer.iter().map(|(index, _)| (*index, Err(Arc::clone(&why)))).collect()
            }));
        }
    }
    Ok(scores)
}

fn propensity(model: &Model, raw: f32) -> Result<f64, Arc<str>> {
    model.propensity(raw).ok_or_else(|| {
        let name = model.name();
        if raw.is_finite() {
            format!("{name} answered {raw}, which is no propensity").into()
        } else {
            format!("{name} answered {raw}").into()
        }
    })
}

/// The index of a pair and its raw score, or why there is none.
type RawAnswer = (usize, Result<f32, Arc<str>>);

/// The same of a model that takes pairs and is served natively: the customer's part is done once for all offers.
fn ask_native(
    model: &Model,
    pairing: &Pairing,
    pairs: &[Pair<'_>],
    wanted: &[(usize, usize)],
    scored: &mut dyn FnMut(usize, Duration),
) -> Result<Vec<RawAnswer>, ModelError> {
    let mut answers = Vec::with_capacity(wanted.len());
    let mut offers = Vec::with_capacity(wanted.len());
    let began = Instant::now();
    for customer in wanted.chunk_by(|one, other| pairs[one.0].customer == pairs[other.0].customer) {
        offers.clear();
        offers.extend(customer.iter().map(|(index, _)| pairs[*index].offer));
        let mut indices = customer.iter().map(|(index, _)| *index);
        model.score_pairs(pairing, &pairs[customer[0].0].row, &offers, |answer| {
            let answer = answer.map_err(|error| format!("{}: {error}", model.name()).into());
            answers.extend(indices.next().map(|index| (index, answer)));
        })?;
    }
    scored(wanted.len(), began.elapsed());
    Ok(answers)
}

/// Raw scores by pair index for the `(pair, column)`s wanted; a pair whose row lacks an input has the reason instead.
fn ask_model(
    model: &Model,
    pairs: &[Pair<'_>],
    wanted: &[(usize, usize)],
    worker: &Worker,
    scored: &mut dyn FnMut(usize, Duration),
) -> Result<Vec<RawAnswer>, ModelError> {
    let mut answers = Vec::with_capacity(wanted.len());
    let mut matrix: Matrix = model.matrix();
    // Which row of the matrix answers a wanted pair: pairwise models have a row per pair, others one per customer.
    let mut rows: Vec<(usize, usize, usize)> = Vec::with_capacity(wanted.len());
    let mut last: Option<(usize, Result<usize, Arc<str>>)> = None;
    for (index, column) in wanted.iter().copied() {
        let pair = &pairs[index];
        let row = match &last {
            Some((customer, row))
                if *customer == pair.customer && model.manifest().layout != Some(Layout::Pairwise) =>
            {
                row.clone()
            }
            _ => push(model, &mut matrix, &pair.row),
        };
        match &row {
            Ok(row) => rows.push((index, *row, column)),
            Err(why) => answers.push((index, Err(Arc::clone(why)))),
        }
        last = Some((pair.customer, row));
    }
    let mut columns: Vec<usize> = rows.iter().map(|(_, _, column)| *column).collect();
    columns.sort_unstable();
    columns.dedup();
    let began = Instant::now();
    let scores = model.score_columns(worker, &matrix, &columns)?;
    scored(matrix.rows(), began.elapsed());
    answers.extend(rows.into_iter().map(|(index, row, column)| {
        let column = columns.partition_point(|known| *known < column);
        (index, Ok(scores.values[row * columns.len() + column]))
    }));
    Ok(answers)
}

fn push(model: &Model, matrix: &mut Matrix, row: &Row<'_>) -> Result<usize, Arc<str>> {
    let next = matrix.rows();
    match matrix.push(row) {
        Ok(()) => Ok(next),
        Err(error) => Err(format!("{}: {error}", model.name()).into()),
    }
}
