//! Pairs of a linear model: the sums of the customer, the offer and the pair are added.

use super::{CustomerVectors, OfferVectors, Side, Wanted};
use crate::columns::Number;
use crate::evaluate::{Evaluate, EvaluatePairs};
use crate::linear::Linear;
use crate::scratch::Scratch;

impl EvaluatePairs for Linear {
    fn has_pair_columns(&self) -> bool {
        self.has_columns(Side::Pair)
    }

    fn offers<T: Number>(&self, rows: &[T], row_width: usize, vectors: &mut OfferVectors) {
        vectors.sums.resize(vectors.count * self.targets(), 0.0);
        let sums = vectors.sums.chunks_exact_mut(self.targets());
        rows.chunks_exact(row_width.max(1))
            .zip(sums)
            .for_each(|(row, sums)| self.part(Side::Offer, row, sums));
    }

    fn customer<T: Number>(&self, row: &[T], vectors: &mut CustomerVectors) {
        vectors.sums.resize(self.targets(), 0.0);
        self.part(Side::Customer, row, &mut vectors.sums);
    }

    fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool {
        let (targets, width) = (self.targets(), Evaluate::width(self));
        let Wanted { offers: wanted, pairs, row_width } = wanted;
        let (customer, offers) = (&customer.sums, &offers.sums);
        if customer.len() != targets || wanted.iter().any(|offer| offers.len() < (offer + 1) * targets) {
            return false;
        }
        let mut pair = std::mem::take(&mut scratch.parts);
        pair.clear();
        pair.resize(targets, 0.0);
        for (at, (offer, out)) in wanted.iter().zip(out.chunks_exact_mut(width)).enumerate() {
            if self.has_columns(Side::Pair) {
                self.part(Side::Pair, &pairs[at * row_width..][..row_width], &mut pair);
            }
            self.finish([customer, &offers[offer * targets..][..targets], &pair], scratch, out);
        }
        scratch.parts = pair;
        true
    }

    fn memory_bytes(&self) -> usize {
        Evaluate::memory_bytes(self)
    }
}
