//! The check that the native engine agrees with ONNX Runtime.

use crate::NativeModel;
use crate::scratch::Scratch;

/// The least number of probe rows before a model is served natively.
pub const PROBES: usize = 1024;

/// The largest difference from ONNX Runtime's score, times the reference where that is greater than 1. Exponentials
/// differ in their last bits between libraries; different leaves are rarely so close.
pub const TOLERANCE: f32 = 1e-5;

/// Why the native engine is not used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// ONNX Runtime failed.
    #[error("ONNX Runtime failed: {0}")]
    NoReference(String),
    /// ONNX Runtime returned another number of scores.
    #[error("{found} scores came back for {rows} rows, not {wanted}")]
    Count {
        /// The number returned.
        found: usize,
        /// The number of rows.
        rows: usize,
        /// The number expected.
        wanted: usize,
    },
    /// A score that differs.
    #[error("row {row}, score {column}: {found} instead of {reference}")]
    Score {
        /// The position of the row.
        row: usize,
        /// The position of the score in the row.
        column: usize,
        /// The native engine's score.
        found: f32,
        /// ONNX Runtime's score.
        reference: f32,
    },
}

impl NativeModel {
    /// Compares the scores of `rows` ([`NativeModel::probe_rows`]) with those of `reference`. That receives the same
    /// rows and returns rows × [`NativeModel::width`] scores. Each row is scored twice: with others and alone.
    ///
    /// # Errors
    /// The first score that differs by more than [`TOLERANCE`], or why there is no reference.
    pub fn verify<E: std::fmt::Display>(
        &self,
        rows: &[f64],
        reference: impl FnOnce(&[f64]) -> Result<Vec<f32>, E>,
    ) -> Result<(), Disagreement> {
        let count = rows.len().checked_div(self.row_width()).unwrap_or(0);
        let wanted = count * self.width();
        let expected = reference(rows).map_err(|error| Disagreement::NoReference(error.to_string()))?;
        if expected.len() != wanted {
            return Err(Disagreement::Count { found: expected.len(), rows: count, wanted });
        }
        let (mut scratch, mut found) = (Scratch::default(), vec![f32::NAN; wanted]);
        self.score(rows, &mut scratch, &mut found);
        self.compare(&found, &expected)?;
        let each = rows.chunks_exact(self.row_width().max(1)).zip(found.chunks_exact_mut(self.width()));
        each.for_each(|(row, found)| self.score(row, &mut scratch, found));
        self.compare(&found, &expected)
    }

    fn compare(&self, found: &[f32], expected: &[f32]) -> Result<(), Disagreement> {
        match found.iter().zip(expected).position(|(found, reference)| !agree(*found, *reference)) {
            None => Ok(()),
            Some(at) => Err(Disagreement::Score {
                row: at / self.width(),
                column: at % self.width(),
                found: found[at],
                reference: expected[at],
            }),
        }
    }
}

/// Whether a score is close enough to the reference. Equal infinities agree, and so do two NaNs.
fn agree(found: f32, reference: f32) -> bool {
    if !found.is_finite() || !reference.is_finite() {
        return found.to_bits() == reference.to_bits() || (found.is_nan() && reference.is_nan());
    }
    (found - reference).abs() <= TOLERANCE * reference.abs().max(1.0)
}
