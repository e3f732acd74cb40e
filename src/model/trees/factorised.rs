//! Ranking: what offers take away from the trees is kept with the release, what a customer does is found once per customer,
//! and a pair of both is one AND, one count and one look-up per tree; of a linear model, it is one addition, and of a network
//! it is one for each sum of the first layer.
//!
//! The scores are those of [`TreeModel::score`], bit for bit, however the features are split. Start reading at
//! [`Factorised::score_pairs`].

mod own;
mod parts;

use std::sync::Arc;

use super::columns::Number;
use super::linear::Linear;
use super::network::{Network, Sums};
use super::scratch::Scratch;
use super::{Evaluator, TreeModel};
use parts::{Customer, Offers, Split};

/// Whose feature a value of the row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The customer's or the context's: one value for all offers of a request.
    Customer,
    /// The offer's: one value for all requests.
    Offer,
    /// Of this customer and this offer.
    Pair,
}

/// A model whose features are split by whose they are. Immutable; shared by all threads.
#[derive(Debug, Clone)]
pub struct Factorised {
    model: Arc<TreeModel>,
    parts: Parts,
}

#[derive(Debug, Clone)]
enum Parts {
    Float(Split),
    Double(Split),
    Linear(Linear),
    Network(Network),
}

/// What the values of some offers take away from the trees of a model: made once per release.
#[derive(Debug, Clone)]
pub struct OfferVectors {
    trees: Offers,
    /// Offers × targets of a linear model.
    sums: Vec<f64>,
    /// Of all offers, where it is a network.
    network: Sums,
    count: usize,
}

/// What the values of a customer take away from the trees of a model; kept and filled again for the next.
#[derive(Debug, Clone, Default)]
pub struct CustomerVectors {
    trees: Customer,
    /// By target of a linear model.
    sums: Vec<f64>,
    /// Where it is a network.
    network: Sums,
}

impl TreeModel {
    /// Splits the values of a row; `sides` has one entry for each.
    ///
    /// Returns `None` where there are not as many sides as values.
    #[must_use]
    pub fn split(self: &Arc<Self>, sides: &[Side]) -> Option<Factorised> {
        if sides.len() != self.row_width() {
            return None;
        }
        let parts = match &self.evaluator {
            Evaluator::Float(engine) => Parts::Float(Split::new(engine, sides)),
            Evaluator::Double(engine) => Parts::Double(Split::new(engine, sides)),
            Evaluator::Linear(linear) => Parts::Linear(linear.clone().grouped(sides)),
            Evaluator::Network(network) => Parts::Network(network.clone().grouped(sides)),
        };
        Some(Factorised { model: Arc::clone(self), parts })
    }
}

impl Factorised {
    /// The model that was split.
    #[must_use]
    pub fn model(&self) -> &TreeModel {
        &self.model
    }

    /// Whether any value of a row belongs to the pair, so that [`Factorised::score_pairs`] needs rows.
    #[must_use]
    pub fn has_pair_values(&self) -> bool {
        match &self.parts {
            Parts::Float(split) | Parts::Double(split) => split.has_pair_columns(),
            Parts::Linear(linear) => linear.has_pair_columns(),
            Parts::Network(network) => network.has_pair_columns(),
        }
    }

    /// `rows`: one per offer, each of [`TreeModel::row_width`] values, of which only those of the offer are read.
    #[must_use]
    pub fn offers<T: Number>(&self, rows: &[T]) -> OfferVectors {
        let width = self.model.row_width();
        let count = rows.len().checked_div(width).unwrap_or(0);
        let (mut trees, mut sums, mut network) = (Offers::default(), Vec::new(), Sums::default());
        match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => trees = split.offers(engine, rows, width),
            (Evaluator::Double(engine), Parts::Double(split)) => trees = split.offers(engine, rows, width),
            (_, Parts::Linear(linear)) => {
                sums.resize(count * linear.targets(), 0.0);
                let parts = sums.chunks_exact_mut(linear.targets());
                rows.chunks_exact(width.max(1))
                    .zip(parts)
                    .for_each(|(row, part)| linear.part(Side::Offer, row, part));
            }
            (_, Parts::Network(own)) => {
                own.part(Side::Offer, rows, width, &mut network);
                network.forget_values();
            }
            _ => {}
        }
        OfferVectors { trees, sums, network, count }
    }

    /// `row`: of [`TreeModel::row_width`] values, of which only those of the customer are read.
    pub fn customer<T: Number>(&self, row: &[T], customer: &mut CustomerVectors) {
        match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => {
                split.customer(engine, row, &mut customer.trees);
            }
            (Evaluator::Double(engine), Parts::Double(split)) => {
                split.customer(engine, row, &mut customer.trees);
            }
            (_, Parts::Linear(linear)) => {
                customer.sums.resize(linear.targets(), 0.0);
                linear.part(Side::Customer, row, &mut customer.sums);
            }
            (_, Parts::Network(network)) => {
                network.part(Side::Customer, row, row.len(), &mut customer.network);
            }
            _ => {}
        }
    }

    /// Scores a customer with the offers at the positions `wanted`, best in ascending order, into `out`: `wanted` ×
    /// [`TreeModel::width`]. `pairs`: one row for each of `wanted`, of which only the values of the pair are read; may be
    /// empty where there are none. Allocates nothing once `scratch` is warm.
    ///
    /// # Errors
    /// The number of what does not fit: an offer that does not exist, rows or room for scores that are missing.
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
            return Err(Misfit::Room { found: out.len(), wanted: wanted.len() * self.model.width() });
        }
        let (mine, theirs) = (&customer.trees, &offers.trees);
        let done = match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => {
                split.score(engine, mine, theirs, (wanted, pairs, row_width), scratch, out)
            }
            (Evaluator::Double(engine), Parts::Double(split)) => {
                split.score(engine, mine, theirs, (wanted, pairs, row_width), scratch, out)
            }
            (_, Parts::Linear(linear)) => {
                let sums = (customer.sums.as_slice(), offers.sums.as_slice());
                meet(linear, sums, (wanted, pairs, row_width), scratch, out)
            }
            (_, Parts::Network(network)) => {
                let (mine, theirs) = (&customer.network, &offers.network);
                network.meet(mine, theirs, (wanted, pairs, row_width), scratch, out)
            }
            _ => false,
        };
        if done { Ok(()) } else { Err(Misfit::Strange) }
    }

    /// Bytes on the heap beside those of the model.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.parts {
            Parts::Float(split) | Parts::Double(split) => split.memory_bytes(),
            Parts::Linear(linear) => linear.memory_bytes(),
            Parts::Network(network) => network.memory_bytes(),
        }
    }
}

/// Scores pairs of a linear model. Whether the sums were this model's.
fn meet<T: Number>(
    linear: &Linear,
    (customer, offers): (&[f64], &[f64]),
    (wanted, pairs, row_width): (&[usize], &[T], usize),
    scratch: &mut Scratch,
    out: &mut [f32],
) -> bool {
    let (targets, width) = (linear.targets(), linear.width());
    if customer.len() != targets || wanted.iter().any(|offer| offers.len() < (offer + 1) * targets) {
        return false;
    }
    let mut pair = std::mem::take(&mut scratch.parts);
    pair.clear();
    pair.resize(targets, 0.0);
    for (at, (offer, out)) in wanted.iter().zip(out.chunks_exact_mut(width)).enumerate() {
        if linear.has_pair_columns() {
            linear.part(Side::Pair, &pairs[at * row_width..][..row_width], &mut pair);
        }
        linear.finish([customer, &offers[offer * targets..][..targets], &pair], scratch, out);
    }
    scratch.parts = pair;
    true
}

impl OfferVectors {
    /// Offers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.trees.memory_bytes() + size_of_val(self.sums.as_slice()) + self.network.memory_bytes()
    }
}

/// Why pairs cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// An offer beyond those that vectors were made of.
    #[error("there is no offer {offer} among {offers}")]
    NoOffer {
        /// Its position.
        offer: usize,
        /// How many there are.
        offers: usize,
    },
    /// Too few or too many values of pairs.
    #[error("{found} values of pairs, not {wanted}")]
    Rows {
        /// Those that are there.
        found: usize,
        /// Those that are needed.
        wanted: usize,
    },
    /// Too little or too much room for scores.
    #[error("room for {found} scores, not {wanted}")]
    Room {
        /// What is there.
        found: usize,
        /// What is needed.
        wanted: usize,
    },
    /// Vectors that were made with another model.
    #[error("the vectors belong to another model")]
    Strange,
}
