//! Ranking: what offers take away from the trees is kept with the release, what a customer does is found once per customer,
//! and a pair of both is one AND, one count and one look-up per tree.
//!
//! The scores are those of [`TreeModel::score`], bit for bit, however the features are split. Start reading at
//! [`Factorised::score_pairs`].

mod parts;

use std::sync::Arc;

use super::columns::Number;
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
}

/// What the values of some offers take away from the trees of a model: made once per release.
#[derive(Debug, Clone)]
pub struct OfferVectors(Offers);

/// What the values of a customer take away from the trees of a model; kept and filled again for the next.
#[derive(Debug, Clone, Default)]
pub struct CustomerVectors(Customer);

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
        }
    }

    /// `rows`: one per offer, each of [`TreeModel::row_width`] values, of which only those of the offer are read.
    #[must_use]
    pub fn offers<T: Number>(&self, rows: &[T]) -> OfferVectors {
        let width = self.model.row_width();
        OfferVectors(match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => split.offers(engine, rows, width),
            (Evaluator::Double(engine), Parts::Double(split)) => split.offers(engine, rows, width),
            _ => Offers::default(),
        })
    }

    /// `row`: of [`TreeModel::row_width`] values, of which only those of the customer are read.
    pub fn customer<T: Number>(&self, row: &[T], customer: &mut CustomerVectors) {
        match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => split.customer(engine, row, &mut customer.0),
            (Evaluator::Double(engine), Parts::Double(split)) => split.customer(engine, row, &mut customer.0),
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
        if let Some(offer) = wanted.iter().find(|offer| **offer >= offers.0.count()) {
            return Err(Misfit::NoOffer { offer: *offer, offers: offers.0.count() });
        }
        if self.has_pair_values() && pairs.len() != wanted.len() * row_width {
            return Err(Misfit::Rows { found: pairs.len(), wanted: wanted.len() * row_width });
        }
        if out.len() != wanted.len() * self.model.width() {
            return Err(Misfit::Room { found: out.len(), wanted: wanted.len() * self.model.width() });
        }
        let (customer, offers) = (&customer.0, &offers.0);
        let done = match (&self.model.evaluator, &self.parts) {
            (Evaluator::Float(engine), Parts::Float(split)) => {
                split.score(engine, customer, offers, (wanted, pairs, row_width), scratch, out)
            }
            (Evaluator::Double(engine), Parts::Double(split)) => {
                split.score(engine, customer, offers, (wanted, pairs, row_width), scratch, out)
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
        }
    }
}

impl OfferVectors {
    /// Offers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
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
