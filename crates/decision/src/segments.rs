//! `AssignSegments`: assigns rows of customer features to segments of the release.

use std::ops::Range;
use std::sync::Arc;

use super::{DecisionError, RowProblem, RowProblems, degraded};
use feature::{BoundBatch, Entity, FeatureBatch, Misplaced};
use release::{AssignedSegment, Snapshot};
use work::priority::yield_if_due;
use work::{Call, Cancellation};

/// How many rows are assigned between two checks of the deadline.
const ROWS_PER_BLOCK: usize = 4096;

/// An `AssignSegments` call resolved against the snapshot that answers it.
pub(super) struct SegmentPlan {
    pub snapshot: Arc<Snapshot>,
    features: BoundBatch,
    /// Rows that cannot be assigned, in addition to those with a fault.
    unreadable: RowProblems,
}

/// The segments of a range of rows.
#[derive(Default)]
pub(super) struct SegmentPart {
    /// One per row; [`AssignedSegment::none`] where a row cannot be assigned.
    pub segments: Vec<AssignedSegment>,
    /// Rows that cannot be assigned, and why.
    pub errors: Vec<(usize, String)>,
}

impl SegmentPlan {
    /// Resolves the rows against `snapshot`.
    ///
    /// # Errors
    /// When the release has no segmentation, or the batch does not fit its schema.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        features: FeatureBatch,
        unreadable: RowProblems,
    ) -> Result<Self, DecisionError> {
        if snapshot.release.segmentation().is_none() {
            return Err(DecisionError::NoSegmentation { release: snapshot.release.number() });
        }
        if features.rows == 0 {
            return Err(DecisionError::invalid("features.rows", "send at least one row"));
        }
        let features = features
            .bind(snapshot.release.schema(), &[Entity::Customer], Misplaced::Refused)
            .map_err(DecisionError::in_features)?;
        Ok(Self { snapshot, features, unreadable })
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.features.rows()
    }

    /// What of the call could not be used.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let mut degraded = Vec::new();
        degraded::list("unknown_feature", self.features.unknown().iter().map(String::as_str), &mut degraded);
        degraded
    }

    /// The segments of the rows of `range`, in order.
    ///
    /// # Errors
    /// When the call ends before the last row is assigned.
    pub(crate) fn assign(&self, range: Range<usize>, call: &Call) -> Result<SegmentPart, Cancellation> {
        let Some(segmentation) = self.snapshot.release.segmentation() else {
            return Ok(SegmentPart::default());
        };
        let mut part = SegmentPart { segments: Vec::with_capacity(range.len()), errors: Vec::new() };
        for row in range {
            if part.segments.len().is_multiple_of(ROWS_PER_BLOCK) {
                call.check()?;
            }
            yield_if_due();
            if let Some(problem) = RowProblem::of_row(row, &self.unreadable, Some(&self.features)) {
                part.segments.push(AssignedSegment::none());
                part.errors.push((row, problem.to_string()));
                continue;
            }
            let sent = |index| self.features.value(Entity::Customer, index, row);
            part.segments.push(segmentation.assign(sent));
        }
        Ok(part)
    }
}
