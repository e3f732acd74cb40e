//! What can go wrong.

use event::SealedError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
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
