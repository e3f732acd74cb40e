//! Reports as calls ask for them.

use chrono::Utc;

use super::{ReportError, Reports};
use crate::grpc::{AnalysisReports, MetricsAsk, unreadable};
use analysis::report::{ExperimentReport, MetricsReport};
use release::RegistryError;

impl AnalysisReports for Reports {
    fn experiment(&self, id: &str, phase: Option<u64>) -> Result<ExperimentReport, RegistryError> {
        Ok(Self::experiment(self, id, phase, Utc::now())?)
    }

    fn metrics(&self, ask: &MetricsAsk) -> Result<MetricsReport, RegistryError> {
        Ok(Self::metrics(self, ask, Utc::now())?)
    }
}

impl From<ReportError> for RegistryError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NotFound(message) => Self::NotFound(message),
            ReportError::NoMetric { .. } => Self::Precondition(error.to_string()),
            ReportError::TooLarge(message) => Self::Precondition(format!(
                "{message} by a server; make it from the store with the command line (`--store`), or ask for less"
            )),
            ReportError::Events(error) => unreadable(error),
            ReportError::Definitions(problems) => Self::Unsound(problems),
            ReportError::Store(error) => error,
            ReportError::Internal(details) => Self::Internal(details),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_too_much_is_told_to_the_caller() {
        let told = |error: ReportError| RegistryError::from(error);
        assert!(matches!(told(ReportError::NotFound("e".to_owned())), RegistryError::NotFound(_)));
        let none = told(ReportError::NoMetric { experiment: "margins".to_owned() });
        assert!(matches!(&none, RegistryError::Precondition(text) if text.contains("`margins`")), "{none}");
        let too_large = told(analysis::AnalysisError::TooMany { what: "customers", limit: 7 }.into());
        let text = too_large.to_string();
        assert!(text.contains("7 customers") && text.contains("`--store`"), "{text}");
    }
}
