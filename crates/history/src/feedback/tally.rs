//! Outcomes by type and verdict, for the metrics.

use offer::Catalog;
use telemetry::Metrics;

use super::check::{ReportedOutcome, find_type};
use super::verdict::{AcceptedOutcome, Verdict};

/// The label of outcomes whose type is not declared.
const OTHER: &str = "other";

/// The types of the outcomes of a call: their places among those of the policy.
pub(super) struct Tally(Vec<Option<usize>>);

impl Tally {
    pub(super) fn new(reported: &[ReportedOutcome], catalog: &Catalog) -> Self {
        Self(reported.iter().map(|one| find_type(catalog, &one.outcome_type)).collect())
    }

    /// Counts the verdicts of the call.
    pub(super) fn count(&self, verdicts: &[Verdict], catalog: &Catalog, metrics: &Metrics) {
        // One more for types that are not declared.
        let types = &catalog.policy.outcomes;
        let mut counts = vec![[0_u64; WORDS.len()]; types.len() + 1];
        let (mut late, mut unattributed) = (0, 0);
        for (of, verdict) in self.0.iter().zip(verdicts) {
            counts[of.unwrap_or(types.len())][word(verdict)] += 1;
            if let Verdict::Accepted(AcceptedOutcome { attributed, late: is_late, .. }) = verdict {
                late += u64::from(*is_late);
                unattributed += u64::from(!attributed);
            }
        }
        let labels = types.iter().map(|known| known.id.as_str()).chain([OTHER]);
        for (label, counts) in labels.zip(counts) {
            for (verdict, count) in WORDS.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
                metrics.outcomes(label, verdict).inc_by(count);
            }
        }
        metrics.outcomes.late.inc_by(late);
        metrics.outcomes.unattributed.inc_by(unattributed);
    }
}

/// The verdicts as labels, by [`word`].
const WORDS: [&str; 3] = ["accepted", "duplicate", "refused"];

fn word(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Accepted(_) => 0,
        Verdict::Duplicate => 1,
        Verdict::Refused(_) => 2,
    }
}
