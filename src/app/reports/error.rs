//! Why there is no report.

use analysis::AnalysisError;
use document::Problems;
use event::SealedError;
use release::{RegistryError, StoreError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no such experiment, phase or metric.
    #[error("{0}")]
    NotFound(String),
    /// The policy does not say what the experiment is judged by.
    #[error(
        "experiment `{experiment}` is judged by nothing: say what decides in `[experiment.metric]` of policy.toml"
    )]
    NoMetric {
        /// The experiment.
        experiment: String,
    },
    /// What is recorded cannot be read.
    #[error(transparent)]
    Events(#[from] SealedError),
    /// There is more than a report is made of.
    #[error("{0}")]
    TooLarge(String),
    /// The files of a release are refused.
    #[error("the release cannot be read:\n{0}")]
    Definitions(Problems),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] RegistryError),
    /// A fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<AnalysisError> for ReportError {
    fn from(error: AnalysisError) -> Self {
        match error {
            AnalysisError::Events(error) => Self::Events(error),
            AnalysisError::NoBase { .. } => Self::NotFound(error.to_string()),
            AnalysisError::TooMany { .. } => Self::TooLarge(error.to_string()),
            AnalysisError::NoMetric { .. } => Self::Internal(error.to_string()),
        }
    }
}
