//! The check that an engine says what ONNX Runtime says.

use super::TreeModel;
use super::scratch::Scratch;

/// Rows that a model is tried with at least before anybody relies on it.
pub const PROBES: usize = 1024;

/// How far a score may be from ONNX Runtime's: this, times the reference where that is greater than 1. Exponentials differ
/// in their last bits between libraries; leaves that differ are seldom so close.
pub const TOLERANCE: f32 = 1e-5;

/// Why an engine is not relied on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// ONNX Runtime could not say.
    #[error("ONNX Runtime failed: {0}")]
    NoReference(String),
    /// ONNX Runtime gave another number of scores.
    #[error("{found} scores came back for {rows} rows, not {wanted}")]
    Count {
        /// What came back.
        found: usize,
        /// The rows that were asked about.
        rows: usize,
        /// What the engine gives.
        wanted: usize,
    },
    /// A score that differs.
    #[error("row {row}, score {column}: {found} instead of {reference}")]
    Score {
        /// The position of the row.
        row: usize,
        /// The position of the score in the row.
        column: usize,
        /// What the engine says.
        found: f32,
        /// What ONNX Runtime says.
        reference: f32,
    },
}

impl TreeModel {
    /// Compares the scores of `rows` ([`TreeModel::probe_rows`]) with those of `reference`, which gets the same rows and gives
    /// rows × [`TreeModel::width`] scores. Each row is scored twice: among others and by itself.
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

/// Whether a score is close enough to the reference, or both are the same infinity or none at all.
fn agree(found: f32, reference: f32) -> bool {
    if !found.is_finite() || !reference.is_finite() {
        return found == reference || (found.is_nan() && reference.is_nan());
    }
    (found - reference).abs() <= TOLERANCE * reference.abs().max(1.0)
}
