//! Pairs of an MLP: the units of the first layer are added by side; deeper layers see the pair.

use super::{CustomerVectors, OfferVectors, Side, Wanted};
use crate::columns::Number;
use crate::evaluate::{Evaluate, EvaluatePairs};
use crate::mlp::Mlp;
use crate::scratch::Scratch;

impl EvaluatePairs for Mlp {
    fn has_pair_columns(&self) -> bool {
        self.has_columns(Side::Pair)
    }

    fn offers<T: Number>(&self, rows: &[T], row_width: usize, vectors: &mut OfferVectors) {
        self.part(Side::Offer, rows, row_width, &mut vectors.mlp);
        vectors.mlp.forget_values();
    }

    fn customer<T: Number>(&self, row: &[T], vectors: &mut CustomerVectors) {
        self.part(Side::Customer, row, row.len(), &mut vectors.mlp);
    }

    fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        self.combine(&customer.mlp, &offers.mlp, wanted, scratch, out)
    }

    fn memory_bytes(&self) -> usize {
        Evaluate::memory_bytes(self)
    }
}
