//! What can go wrong.

use event::SealedError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// Nothing is recorded that could be planned from.
    #[error(
        "no decision of a customer with an id is recorded at the placements of the experiment, so `{metric}` has no \
         base to plan from"
    )]
    NoBase {
        /// The metric.
        metric: String,
    },
    /// Events cannot be read.
    #[error(transparent)]
    Events(#[from] SealedError),
    /// There is more than fits into memory.
    #[error("there are more than {limit} {what}, which is the most that a report is made of")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// What an experiment is judged by names a metric that there is not.
    #[error("the experiment is judged by metric {index}, and there are {metrics}")]
    NoMetric {
        /// Its index.
        index: usize,
        /// How many there are.
        metrics: usize,
    },
}
