//! `AssignSegments`: rows of customer features to segments of the release.

use std::ops::Range;
use std::sync::Arc;

use super::{DecisionError, RowProblem, RowProblems, Segment};
use crate::feature::{BoundBatch, Entity, FeatureBatch, UnknownNames};
use crate::model::{Call, Stop};
use crate::priority::pause;
use crate::release::Snapshot;

/// How many rows are assigned between two looks at the deadline.
const ROWS_PER_BLOCK: usize = 4096;

/// An `AssignSegments` call held against the snapshot that answers it.
pub(super) struct SegmentPlan {
    pub snapshot: Arc<Snapshot>,
    features: BoundBatch,
    /// Rows that cannot be assigned, beside those with a fault.
    unreadable: RowProblems,
}

/// The segments of a run of rows.
#[derive(Default)]
pub(super) struct SegmentPart {
    /// One per row; [`Segment::none`] for one that cannot be assigned.
    pub segments: Vec<Segment>,
    /// Those rows, and why.
    pub errors: Vec<(usize, String)>,
}

impl SegmentPlan {
    /// Resolves the rows against `snapshot`.
    ///
    /// # Errors
    /// When the release has no segmentation, or the batch does not fit its schema.
    pub fn new(
        snapshot: Arc<Snapshot>,
        features: FeatureBatch,
        unreadable: RowProblems,
    ) -> Result<Self, DecisionError> {
        if snapshot.release.segmentation().is_none() {
            return Err(DecisionError::NoSegmentation { release: snapshot.release.number() });
        }
        if features.rows == 0 {
            return Err(DecisionError::invalid("features.rows", "there are none; send at least one row"));
        }
        let features = features
            .bind(snapshot.release.schema(), &[Entity::Customer], UnknownNames::Refused)
            .map_err(DecisionError::in_features)?;
        Ok(Self { snapshot, features, unreadable })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.features.rows()
    }

    /// The segments of the rows of `range`, in order.
    ///
    /// # Errors
    /// When the call is over before the last row is assigned.
    pub fn assign(&self, range: Range<usize>, call: &Call) -> Result<SegmentPart, Stop> {
        let Some(segmentation) = self.snapshot.release.segmentation() else {
            return Ok(SegmentPart::default());
        };
        let mut part = SegmentPart { segments: Vec::with_capacity(range.len()), errors: Vec::new() };
        for row in range {
            if part.segments.len().is_multiple_of(ROWS_PER_BLOCK) {
                call.check()?;
            }
            pause();
            if let Some(problem) = RowProblem::of_row(row, &self.unreadable, Some(&self.features)) {
                part.segments.push(Segment::none());
                part.errors.push((row, problem.to_string()));
                continue;
            }
            let sent = |index| self.features.value(Entity::Customer, index, row);
            part.segments.push(segmentation.assign(sent).into());
        }
        Ok(part)
    }
}
