//! The interface that trees, linear models and MLPs share once they are ready to score.

use super::columns::Number;
use super::factorised::{CustomerVectors, OfferVectors, Wanted};
use super::scratch::Scratch;

/// Computes the scores of rows.
pub(super) trait Evaluate {
    /// Scores per row.
    fn width(&self) -> usize;

    /// Keeps one score of each row and drops the others.
    fn keep_only(&mut self, score: usize);

    /// The number of layers; 0 for trees.
    fn layers(&self) -> usize;

    /// Scores `rows` of `row_width` values into `out`, rows × [`Evaluate::width`].
    fn score<T: Number>(&self, rows: &[T], row_width: usize, scratch: &mut Scratch, out: &mut [f32]);

    /// Bytes on the heap.
    fn memory_bytes(&self) -> usize;
}

/// Scores a customer with offers, from parts that depend on only one of the two.
pub(super) trait EvaluatePairs {
    /// Whether any column belongs to the pair.
    fn has_pair_columns(&self) -> bool;

    /// Computes the parts of offers: `rows`, one per offer, of `row_width` values.
    fn offers<T: Number>(&self, rows: &[T], row_width: usize, vectors: &mut OfferVectors);

    /// Computes the parts of a customer.
    fn customer<T: Number>(&self, row: &[T], vectors: &mut CustomerVectors);

    /// Scores a customer with the wanted offers. Returns whether the vectors belong to this model.
    fn score_pairs<T: Number>(
        &self,
        customer: &CustomerVectors,
        offers: &OfferVectors,
        wanted: Wanted<'_, T>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> bool;

    /// Bytes on the heap.
    fn memory_bytes(&self) -> usize;
}

/// Does the same with each evaluator of an enum.
macro_rules! with_evaluator {
    ($of:expr, |$evaluator:ident| $work:expr) => {
        match $of {
            Self::Float($evaluator) => $work,
            Self::Double($evaluator) => $work,
            Self::Linear($evaluator) => $work,
            Self::Mlp($evaluator) => $work,
        }
    };
}
pub(super) use with_evaluator;
