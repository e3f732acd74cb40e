//! Ranking: one customer scored with many offers. The offers' part is stored with the release, and the customer's part
//! is computed once per customer.
//!
//! For trees, a pair costs one AND, one count and one look-up per tree. For a linear model it costs one addition, and
//! for an MLP one per unit of the first layer.
//!
//! The scores equal those of [`NativeModel::score`] bit for bit, for any split of the features. Start reading at
//! [`Factorised::score_pairs`].

mod ensemble;
mod linear;
mod mlp;
mod own;

use std::sync::Arc;

use crate::columns::Number;
use crate::evaluate::{EvaluatePairs, with_evaluator};
use crate::linear::Linear;
use crate::mlp::{LayerUnits, Mlp};
use crate::scratch::Scratch;
use crate::{Evaluator, NativeModel};
use ensemble::{Customer, Offers, SplitEnsemble};

/// The side that a value of the row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The customer or the context: one value for all offers of a request.
    Customer,
    /// The offer: one value for all requests.
    Offer,
    /// This customer with this offer.
    Pair,
}

/// A model whose features are split by side. Immutable; shared by all threads.
#[derive(Debug, Clone)]
pub struct Factorised {
    model: Arc<NativeModel>,
    evaluator: PairEvaluator,
}

#[derive(Debug, Clone)]
enum PairEvaluator {
    Float(SplitEnsemble<f32>),
    Double(SplitEnsemble<f64>),
    Linear(Linear),
    Mlp(Mlp),
}

impl PairEvaluator {
    fn has_pair_columns(&self) -> bool {
        with_evaluator!(self, |evaluator| evaluator.has_pair_columns())
    }

    fn offers<T: Number>(&self, rows: &[T], row_width: usize, vectors: &mut OfferVectors) {
        with_evaluator!(self, |evaluator| evaluator.offers(rows, row_width, vectors));
    }

    fn customer<T: Number>(&self, row: &[T], vectors: &mut CustomerVectors) {
        with_evaluator!(self, |evaluator| evaluator.customer(row, vectors));
    }

    fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        with_evaluator!(self, |evaluator| evaluator.score_pairs(customer, offers, wanted, scratch, out))
    }

    fn memory_bytes(&self) -> usize {
        with_evaluator!(self, |evaluator| EvaluatePairs::memory_bytes(evaluator))
    }
}

/// The offers to score a customer with, by position, and the rows of the pairs. Only the pair's values of the rows are
/// read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a, T> {
    pub(super) offers: &'a [usize],
    pub(super) pairs: &'a [T],
    pub(super) row_width: usize,
}

/// The precomputed part of some offers: for trees, the leaves that their values leave. Made once per release.
#[derive(Debug, Clone, Default)]
pub struct OfferVectors {
    trees: Offers,
    /// For a linear model: offers × targets.
    sums: Vec<f64>,
    /// For an MLP: the units of all offers.
    mlp: LayerUnits,
    count: usize,
}

/// The precomputed part of a customer. Its memory is reused for the next.
#[derive(Debug, Clone, Default)]
pub struct CustomerVectors {
    trees: Customer,
    /// For a linear model: by target.
    sums: Vec<f64>,
    /// For an MLP.
    mlp: LayerUnits,
}

impl NativeModel {
    /// Splits the values of a row by side; `sides` has one entry per value.
    ///
    /// Returns `None` if the numbers of sides and values differ.
    #[must_use]
    pub fn split(self: &Arc<Self>, sides: &[Side]) -> Option<Factorised> {
        if sides.len() != self.row_width() {
            return None;
        }
        let evaluator = match &self.evaluator {
            Evaluator::Float(trees) => PairEvaluator::Float(SplitEnsemble::new(trees, sides)),
            Evaluator::Double(trees) => PairEvaluator::Double(SplitEnsemble::new(trees, sides)),
            Evaluator::Linear(linear) => PairEvaluator::Linear(linear.clone().grouped(sides)),
            Evaluator::Mlp(mlp) => PairEvaluator::Mlp(mlp.clone().grouped(sides)),
        };
        Some(Factorised { model: Arc::clone(self), evaluator })
    }
}

impl Factorised {
    /// The model that was split.
    #[must_use]
    pub fn model(&self) -> &NativeModel {
        &self.model
    }

    /// Whether any value of a row belongs to the pair, so that [`Factorised::score_pairs`] needs rows.
    #[must_use]
    pub fn has_pair_values(&self) -> bool {
        self.evaluator.has_pair_columns()
    }

    /// `rows` holds one row per offer, each of [`NativeModel::row_width`] values. Only the offer's values are read.
    #[must_use]
    pub fn offers<T: Number>(&self, rows: &[T]) -> OfferVectors {
        let width = self.model.row_width();
        let count = rows.len().checked_div(width).unwrap_or(0);
        let mut vectors = OfferVectors { count, ..OfferVectors::default() };
        self.evaluator.offers(rows, width, &mut vectors);
        vectors
    }

    /// `row` has [`NativeModel::row_width`] values. Only the customer's values are read.
    pub fn customer<T: Number>(&self, row: &[T], customer: &mut CustomerVectors) {
        self.evaluator.customer(row, customer);
    }

    /// Scores a customer with the offers at the positions `wanted` into `out`: `wanted` × [`NativeModel::width`].
    /// Ascending positions are fastest. `pairs` holds one row per wanted offer, of which only the pair's values are
    /// read. It may be empty if there are none. Allocates nothing once `scratch` is warm.
    ///
    /// # Errors
    /// The mismatch: an offer that does not exist, missing rows, or a wrong length of `out`.
    pub fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: &[usize],
        pairs: &[T],
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), Misfit> {
        let row_width = self.model.row_width();
        if let Some(offer) = wanted.iter().find(|offer| **offer >= offers.count) {
            return Err(Misfit::NoOffer { offer: *offer, offers: offers.count });
        }
        if self.has_pair_values() && pairs.len() != wanted.len() * row_width {
            return Err(Misfit::Rows { found: pairs.len(), wanted: wanted.len() * row_width });
        }
        if out.len() != wanted.len() * self.model.width() {
            return Err(Misfit::Scores { found: out.len(), wanted: wanted.len() * self.model.width() });
        }
        let wanted = Wanted { offers: wanted, pairs, row_width };
        let done = self.evaluator.score_pairs(customer, offers, wanted, scratch, out);
        if done { Ok(()) } else { Err(Misfit::OtherModel) }
    }

    /// Bytes on the heap, without those of the model.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.evaluator.memory_bytes()
    }
}

impl OfferVectors {
    /// The number of offers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.trees.memory_bytes() + size_of_val(self.sums.as_slice()) + self.mlp.memory_bytes()
    }
}

/// Why pairs cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// An offer position beyond the offers of the vectors.
    #[error("there is no offer {offer} among {offers}")]
    NoOffer {
        /// Its position.
        offer: usize,
        /// The number of offers.
        offers: usize,
    },
    /// The wrong number of pair values.
    #[error("{found} values of pairs, not {wanted}")]
    Rows {
        /// The number given.
        found: usize,
        /// The number needed.
        wanted: usize,
    },
    /// The wrong length of the output.
    #[error("space for {found} scores, not {wanted}")]
    Scores {
        /// The length given.
        found: usize,
        /// The length needed.
        wanted: usize,
    },
    /// Vectors that were made with another model.
    #[error("the vectors belong to another model")]
    OtherModel,
}
