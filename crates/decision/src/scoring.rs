//! From the customer × offer pairs that passed the gates to raw scores and propensities. Each model runs once per
//! block.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arms::replaced;
use super::plan::Plan;
use super::replay::RecordedScores;
use super::tally::Tally;
use feature::{Row, ValueRef};
use model::{Layout, Matrix, Model, ModelError, Pairing};
use offer::{Offer, OfferIndex};
use release::{ModelIndex, Replacement, Scorer};
use telemetry::PropensityBatch;
use work::{Call, Cancellation, Worker};

/// One pair to score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// The customer's position in the block.
    pub customer: usize,
    /// The offer's position in the library.
    pub offer: OfferIndex,
}

/// The pairs of a block and their features.
pub(super) struct Pairs<'a, 'o> {
    /// Grouped by customer.
    pub all: &'a [Pair],
    /// The row of the customer at a position in the block, without an offer.
    pub customer: &'a dyn Fn(usize) -> Row<'a>,
    /// The versions that score for that customer in the place of pinned ones.
    pub replacements: &'a dyn Fn(usize) -> &'a [Replacement],
    pub offers: &'a OfferRows<'o>,
    /// The models that may score them, the first of those of the release.
    pub models: &'a [Arc<Model>],
}

impl<'a> Pairs<'a, '_> {
    /// What scores each pair, in order; `None` where nothing does.
    pub(super) fn scorers(&self, plan: &Plan) -> impl Iterator<Item = Option<Scorer>> {
        let (release, placement) = (&plan.snapshot.release, plan.placement);
        let mut last: (usize, &[Replacement]) = (usize::MAX, &[]);
        self.all.iter().map(move |pair| {
            if pair.customer != last.0 {
                last = (pair.customer, (self.replacements)(pair.customer));
            }
            let scorer = release.scorer(placement, pair.offer)?;
            match replaced(last.1, scorer.model) {
                None => Some(scorer),
                Some(by) => release.scorer_by(by, pair.offer),
            }
        })
    }

    /// The row of the pair at an index.
    pub(crate) fn row(&self, index: usize) -> Row<'a> {
        let Pair { customer, offer } = self.all[index];
        Row { offer: self.offers.row(offer), ..(self.customer)(customer) }
    }
}

/// The features of the offers as models read them. Built on first use: natively served pairwise models do not need
/// them.
pub(super) struct OfferRows<'a> {
    offers: &'a [Offer],
    /// offers × features, row-major.
    values: OnceCell<Vec<ValueRef<'a>>>,
}

impl<'a> OfferRows<'a> {
    /// The rows of a library's offers.
    pub(crate) fn new(offers: &'a [Offer]) -> Self {
        Self { offers, values: OnceCell::new() }
    }

    fn row(&self, offer: OfferIndex) -> &[ValueRef<'a>] {
        let offer = offer.get();
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

/// The score of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    pub model: ModelIndex,
    /// The model's output.
    pub raw: f32,
    pub propensity: f64,
}

/// The score of a pair, or why there is none.
pub(super) type RawScore = Result<Score, Unscored>;

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

impl Unscored {
    /// The reason as it is recorded.
    pub(crate) fn text(&self) -> Arc<str> {
        match self {
            Self::NoModel => self.to_string().into(),
            Self::Because(why) => Arc::clone(why),
        }
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

/// The scores of a block and the scratch memory to compute them, reused from block to block.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// One per pair, in order.
    pub raw: Vec<RawScore>,
    wanted: Vec<Wanted>,
    offers: Vec<usize>,
}

impl Scores {
    /// Takes the raw scores of one customer from a record, in place of the models' answers.
    pub(crate) fn take_recorded(&mut self, plan: &Plan, pairs: &Pairs<'_, '_>, recorded: &RecordedScores) {
        let release = &plan.snapshot.release;
        let (mut raw, mut unscored) = (recorded.raw.iter(), recorded.unscored.iter());
        let mut score = |scorer: Option<Scorer>| {
            let raw = *raw.next().ok_or_else(|| Unscored::Because("the record has no score of it".into()))?;
            if raw.is_nan() {
                let why = unscored.next().map_or_else(|| "no reason is recorded".into(), Arc::clone);
                return Err(if scorer.is_some() { Unscored::Because(why) } else { Unscored::NoModel });
            }
            let scorer = scorer.ok_or(Unscored::NoModel)?;
            let model = release.models().get(scorer.model.get()).ok_or(Unscored::NoModel)?;
            Ok(Score { model: scorer.model, raw, propensity: propensity(model, raw)? })
        };
        self.raw.clear();
        self.raw.extend(pairs.scorers(plan).map(&mut score));
    }
}

/// A pair that a model is to score.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// The index of the pair.
    pair: usize,
    /// The column of the model that scores its offer.
    column: usize,
}

/// Scores every pair, in order. If a model fails on the block, it runs again customer by customer. Then only customers
/// whose values it cannot take have no score.
///
/// # Errors
/// When the call ends before all models ran.
pub(super) fn score_pairs(
    plan: &Plan,
    pairs: &Pairs<'_, '_>,
    worker: &Worker,
    call: &Call,
    tally: &mut Tally,
    scores: &mut Scores,
) -> Result<(), Cancellation> {
    let release = &plan.snapshot.release;
    let Scores { raw, wanted, offers } = scores;
    raw.clear();
    raw.resize(pairs.all.len(), Err(Unscored::NoModel));
    for (index, model) in pairs.models.iter().enumerate() {
        let index = ModelIndex::new(index);
        wanted.clear();
        wanted.reserve(pairs.all.len());
        wanted.extend(pairs.scorers(plan).enumerate().filter_map(|(at, scorer)| {
            let scorer = scorer?;
            (scorer.model == index).then_some(Wanted { pair: at, column: scorer.column })
        }));
        if wanted.is_empty() {
            continue;
        }
        call.check()?;
        let mut ask = |wanted: &[Wanted], raw: &mut [RawScore]| {
            let mut propensities = PropensityBatch::default();
            let mut clamped = 0;
            let mut keep = |pair: usize, answer: RawAnswer| {
                clamped += usize::from(answer.as_ref().is_ok_and(|raw| model.is_clamped(*raw)));
                raw[pair] = answer.and_then(|raw| {
                    let propensity = propensity(model, raw)?;
                    Ok(Score { model: index, raw, propensity })
                });
                if let Ok(score) = raw[pair] {
                    propensities.add(score.propensity);
                }
            };
            let Batch { rows, took } = match release.pairing(index) {
                Some(pairing) => ask_native(model, pairing, pairs, wanted, offers, &mut keep)?,
                None => ask_model(model, pairs, wanted, worker, &mut keep)?,
            };
            tally.scored(index, rows, took, propensities);
            tally.clamped(index, clamped);
            Ok::<(), ModelError>(())
        };
        if ask(wanted, raw).is_ok() {
            continue;
        }
        for customer in
            wanted.chunk_by(|one, other| pairs.all[one.pair].customer == pairs.all[other.pair].customer)
        {
            call.check()?;
            if let Err(error) = ask(customer, raw) {
                // What a shadow's model fails on is part of its comparison, and must not fill the log.
                if index.get() < release.deciding_models().len() {
                    tracing::warn!(model = model.name(), version = model.version(), %error, "model failed");
                }
                let why = Unscored::because(format!("{} failed on these values", model.name()));
                for Wanted { pair, .. } in customer {
                    raw[*pair] = Err(why.clone());
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

/// A batch of rows that a model scored.
struct Batch {
    rows: usize,
    took: Duration,
}

/// Does what [`ask_model`] does, for a natively served pairwise model. The customer's part is computed once for all
/// offers.
fn ask_native(
    model: &Model,
    pairing: &Pairing,
    pairs: &Pairs<'_, '_>,
    wanted: &[Wanted],
    offers: &mut Vec<usize>,
    keep: &mut dyn FnMut(usize, RawAnswer),
) -> Result<Batch, ModelError> {
    let began = Instant::now();
    for pairs_of_one in
        wanted.chunk_by(|one, other| pairs.all[one.pair].customer == pairs.all[other.pair].customer)
    {
        let customer = (pairs.customer)(pairs.all[pairs_of_one[0].pair].customer);
        offers.clear();
        offers.extend(pairs_of_one.iter().map(|wanted| pairs.all[wanted.pair].offer.get()));
        let mut positions = pairs_of_one.iter().map(|wanted| wanted.pair);
        model.score_pairs(pairing, &customer, offers, |answer| {
            let answer = answer.map_err(|error| Unscored::because(format!("{}: {error}", model.name())));
            if let Some(pair) = positions.next() {
                keep(pair, answer);
            }
        })?;
    }
    Ok(Batch { rows: wanted.len(), took: began.elapsed() })
}

/// Passes the raw score of each wanted pair to `keep`, by the pair's index. Where a row lacks an input, passes the
/// reason.
fn ask_model(
    model: &Model,
    pairs: &Pairs<'_, '_>,
    wanted: &[Wanted],
    worker: &Worker,
    keep: &mut dyn FnMut(usize, RawAnswer),
) -> Result<Batch, ModelError> {
    let mut matrix: Matrix = model.matrix();
    let pairwise = model.manifest().layout == Some(Layout::Pairwise);
    let mut placed: Vec<Placed> = Vec::with_capacity(wanted.len());
    let mut last: Option<(usize, Result<usize, Unscored>)> = None;
    for Wanted { pair, column } in wanted.iter().copied() {
        let customer = pairs.all[pair].customer;
        let row = match &last {
            // Only a pairwise model has a row per pair; others have one per customer.
            Some((of, row)) if *of == customer && !pairwise => row.clone(),
            _ => push(model, &mut matrix, &pairs.row(pair)),
        };
        match &row {
            Ok(row) => placed.push(Placed { pair, row: *row, column }),
            Err(why) => keep(pair, Err(why.clone())),
        }
        last = Some((customer, row));
    }
    let mut columns: Vec<usize> = placed.iter().map(|placed| placed.column).collect();
    columns.sort_unstable();
    columns.dedup();
    let began = Instant::now();
    let scores = model.score_columns(worker, &matrix, &columns)?;
    let took = began.elapsed();
    for Placed { pair, row, column } in placed {
        let column = columns.partition_point(|known| *known < column);
        keep(pair, Ok(scores.values[row * columns.len() + column]));
    }
    Ok(Batch { rows: matrix.rows(), took })
}

/// The row and column of a model's scores that hold a pair's score.
struct Placed {
    pair: usize,
    row: usize,
    column: usize,
}

fn push(model: &Model, matrix: &mut Matrix, row: &Row<'_>) -> Result<usize, Unscored> {
    let next = matrix.rows();
    match matrix.push(row) {
        Ok(()) => Ok(next),
        Err(error) => Err(Unscored::because(format!("{}: {error}", model.name()))),
    }
}
