//! From surviving customer × offer pairs to raw scores and propensities: each model is asked once per block.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::tally::Tally;
use crate::feature::{Row, ValueRef};
use crate::model::{Call, Layout, Matrix, Model, ModelError, Pairing, Stop, Worker};
use crate::offer::Offer;
use crate::telemetry::PropensityBatch;

/// One pair to score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// The customer's place in the block.
    pub customer: usize,
    /// The offer's position in the library.
    pub offer: usize,
}

/// The pairs of a block, and what models see of them.
pub(super) struct Pairs<'a, 'o> {
    /// Customer by customer.
    pub all: &'a [Pair],
    /// What is known of the customer at a place in the block, without an offer.
    pub customer: &'a dyn Fn(usize) -> Row<'a>,
    pub offers: &'a OfferRows<'o>,
}

impl<'a> Pairs<'a, '_> {
    /// What a model sees of the pair at an index.
    pub fn row(&self, index: usize) -> Row<'a> {
        let Pair { customer, offer } = self.all[index];
        Row { offer: self.offers.row(offer), ..(self.customer)(customer) }
    }
}

/// The features of the offers as models see them; made ready when the first is asked for, since models of pairs that are served natively have them already.
pub(super) struct OfferRows<'a> {
    offers: &'a [Offer],
    /// offers × features, row-major.
    values: OnceCell<Vec<ValueRef<'a>>>,
}

impl<'a> OfferRows<'a> {
    /// Those of a library.
    pub fn new(offers: &'a [Offer]) -> Self {
        Self { offers, values: OnceCell::new() }
    }

    fn row(&self, offer: usize) -> &[ValueRef<'a>] {
        let width = self.offers[offer].features.len();
        let values = self.values.get_or_init(|| {
            let mut values = Vec::with_capacity(self.offers.len() * width);
            for offer in self.offers {
                values.extend(offer.features.iter().map(ValueRef::from));
            }
            values
        });
        &values[offer * width..(offer + 1) * width]
    }
}

/// The model's position in the release, its raw score and the propensity; or why there is none.
pub(super) type RawScore = Result<(usize, f32, f64), Unscored>;

/// Why a pair has no score.
#[derive(Debug, Clone)]
pub(super) enum Unscored {
    NoModel,
    Because(Arc<str>),
}

impl Unscored {
    fn because(why: String) -> Self {
        Self::Because(why.into())
    }
}

impl fmt::Display for Unscored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoModel => "no model of the placement scores this offer",
            Self::Because(why) => why,
        })
    }
}

/// The scores of a block, and the room that finding them needs; made once, used for block after block.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// One for each pair, in order.
    pub raw: Vec<RawScore>,
    wanted: Vec<Wanted>,
    offers: Vec<usize>,
}

/// The index of a pair, and the model's column that answers it.
type Wanted = (usize, usize);

/// Scores every pair, in order. A model that fails on the block is asked again customer by customer, so that only the
/// customer whose values it cannot take goes without.
///
/// # Errors
/// When the call is over before all models were asked.
pub(super) fn score_pairs(
    plan: &Plan,
    pairs: &Pairs<'_, '_>,
    worker: &Worker,
    call: &Call,
    tally: &mut Tally,
    scores: &mut Scores,
) -> Result<(), Stop> {
    let release = &plan.snapshot.release;
    let Scores { raw, wanted, offers } = scores;
    raw.clear();
    raw.resize(pairs.all.len(), Err(Unscored::NoModel));
    for (position, model) in release.models().iter().enumerate() {
        wanted.clear();
        wanted.reserve(pairs.all.len());
        wanted.extend(pairs.all.iter().enumerate().filter_map(|(index, pair)| {
            let scorer = release.scorer(plan.placement, pair.offer)?;
            (scorer.model == position).then_some((index, scorer.column))
        }));
        if wanted.is_empty() {
            continue;
        }
        call.check()?;
        let mut ask = |wanted: &[Wanted], raw: &mut [RawScore]| {
            let mut propensities = PropensityBatch::default();
            let mut clamped = 0;
            let mut keep = |index: usize, answer: RawAnswer| {
                clamped += usize::from(answer.as_ref().is_ok_and(|raw| model.is_clamped(*raw)));
                raw[index] = answer.and_then(|raw| propensity(model, raw).map(|p| (position, raw, p)));
                if let Ok((_, _, propensity)) = raw[index] {
                    propensities.add(propensity);
                }
            };
            let (rows, took) = match release.pairing(position) {
                Some(pairing) => ask_native(model, pairing, pairs, wanted, offers, &mut keep)?,
                None => ask_model(model, pairs, wanted, worker, &mut keep)?,
            };
            tally.scored(position, rows, took, propensities);
            tally.clamped(position, clamped);
            Ok::<(), ModelError>(())
        };
        if ask(wanted, raw).is_ok() {
            continue;
        }
        for customer in wanted.chunk_by(|one, other| pairs.all[one.0].customer == pairs.all[other.0].customer)
        {
            call.check()?;
            if let Err(error) = ask(customer, raw) {
                tracing::warn!(model = model.name(), version = model.version(), %error, "model failed");
                let why = Unscored::because(format!("{} failed on these values", model.name()));
                for (index, _) in customer {
                    raw[*index] = Err(why.clone());
                }
            }
        }
    }
    Ok(())
}

fn propensity(model: &Model, raw: f32) -> Result<f64, Unscored> {
    model.propensity(raw).ok_or_else(|| {
        let name = model.name();
        Unscored::because(if raw.is_finite() {
            format!("{name} answered {raw}, which is no propensity")
        } else {
            format!("{name} answered {raw}")
        })
    })
}

/// The raw score of a pair, or why there is none.
type RawAnswer = Result<f32, Unscored>;

/// What was scored at once, and how long it took.
type Batch = (usize, Duration);

/// The same as [`ask_model`] of a model that takes pairs and is served natively: the customer's part is done once for all offers.
fn ask_native(
    model: &Model,
    pairing: &Pairing,
    pairs: &Pairs<'_, '_>,
    wanted: &[Wanted],
    offers: &mut Vec<usize>,
    keep: &mut dyn FnMut(usize, RawAnswer),
) -> Result<Batch, ModelError> {
    let began = Instant::now();
    for pairs_of_one in wanted.chunk_by(|one, other| pairs.all[one.0].customer == pairs.all[other.0].customer)
    {
        let customer = (pairs.customer)(pairs.all[pairs_of_one[0].0].customer);
        offers.clear();
        offers.extend(pairs_of_one.iter().map(|(index, _)| pairs.all[*index].offer));
        let mut indices = pairs_of_one.iter().map(|(index, _)| *index);
        model.score_pairs(pairing, &customer, offers, |answer| {
            let answer = answer.map_err(|error| Unscored::because(format!("{}: {error}", model.name())));
            if let Some(index) = indices.next() {
                keep(index, answer);
            }
        })?;
    }
    Ok((wanted.len(), began.elapsed()))
}

/// Tells `keep` the raw score of each pair that is wanted, by its index; of one whose row lacks an input, the reason instead.
fn ask_model(
    model: &Model,
    pairs: &Pairs<'_, '_>,
    wanted: &[Wanted],
    worker: &Worker,
    keep: &mut dyn FnMut(usize, RawAnswer),
) -> Result<Batch, ModelError> {
    let mut matrix: Matrix = model.matrix();
    // Which row of the matrix answers a wanted pair: pairwise models have a row per pair, others one per customer.
    let mut rows: Vec<(usize, usize, usize)> = Vec::with_capacity(wanted.len());
    let mut last: Option<(usize, Result<usize, Unscored>)> = None;
    for (index, column) in wanted.iter().copied() {
        let pair = pairs.all[index];
        let row = match &last {
            Some((customer, row))
                if *customer == pair.customer && model.manifest().layout != Some(Layout::Pairwise) =>
            {
                row.clone()
            }
            _ => push(model, &mut matrix, &pairs.row(index)),
        };
        match &row {
            Ok(row) => rows.push((index, *row, column)),
            Err(why) => keep(index, Err(why.clone())),
        }
        last = Some((pair.customer, row));
    }
    let mut columns: Vec<usize> = rows.iter().map(|(_, _, column)| *column).collect();
    columns.sort_unstable();
    columns.dedup();
    let began = Instant::now();
    let scores = model.score_columns(worker, &matrix, &columns)?;
    let took = began.elapsed();
    for (index, row, column) in rows {
        let column = columns.partition_point(|known| *known < column);
        keep(index, Ok(scores.values[row * columns.len() + column]));
    }
    Ok((matrix.rows(), took))
}

fn push(model: &Model, matrix: &mut Matrix, row: &Row<'_>) -> Result<usize, Unscored> {
    let next = matrix.rows();
    match matrix.push(row) {
        Ok(()) => Ok(next),
        Err(error) => Err(Unscored::because(format!("{}: {error}", model.name()))),
    }
}
