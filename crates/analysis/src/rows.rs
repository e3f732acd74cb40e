//! Where rows of decisions and outcomes come from.

use std::ops::ControlFlow;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use event::rows::{DecisionRow, OutcomeRow};
use event::{EventReader, Kind, Query};

use crate::AnalysisError;

/// Visits a decision.
pub type VisitDecision<'v> = dyn FnMut(&DecisionRow<'_>) -> Result<(), AnalysisError> + 'v;

/// Visits an outcome.
pub type VisitOutcome<'v> = dyn FnMut(&OutcomeRow<'_>) -> Result<(), AnalysisError> + 'v;

/// Rows of decisions and outcomes by day: of decisions that on which they were decided, of outcomes that on which they
/// were received, both in UTC.
pub trait Rows {
    /// The days that have decisions, ascending, from a day on.
    ///
    /// # Errors
    /// When rows cannot be read. The same holds for what follows.
    fn decision_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError>;

    /// The days that have outcomes, ascending, from a day on.
    fn outcome_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError>;

    /// Passes the decisions of a day to `visit`, in any order, until it fails.
    fn decisions(&self, day: NaiveDate, visit: &mut VisitDecision<'_>) -> Result<(), AnalysisError>;

    /// Passes the outcomes of a day to `visit`, in any order, until it fails.
    fn outcomes(&self, day: NaiveDate, visit: &mut VisitOutcome<'_>) -> Result<(), AnalysisError>;
}

impl Rows for EventReader {
    fn decision_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(self.recorded_days(Kind::Decision, &since(from))?)
    }

    fn outcome_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(self.recorded_days(Kind::Outcome, &since(from))?)
    }

    fn decisions(&self, day: NaiveDate, visit: &mut VisitDecision<'_>) -> Result<(), AnalysisError> {
        let mut visited = Ok(());
        self.scan_decision_rows(&of_day(day), &mut |row| until_failure(&mut visited, visit(row)))?;
        visited
    }

    fn outcomes(&self, day: NaiveDate, visit: &mut VisitOutcome<'_>) -> Result<(), AnalysisError> {
        let mut visited = Ok(());
        self.scan_outcome_rows(&of_day(day), &mut |row| until_failure(&mut visited, visit(row)))?;
        visited
    }
}

fn until_failure(
    kept: &mut Result<(), AnalysisError>,
    visited: Result<(), AnalysisError>,
) -> ControlFlow<()> {
    *kept = visited;
    if kept.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn since(day: Option<NaiveDate>) -> Query {
    Query { from: day.map(start), ..Query::default() }
}

fn of_day(day: NaiveDate) -> Query {
    Query { from: Some(start(day)), to: day.succ_opt().map(start), ..Query::default() }
}

/// When a day begins, in microseconds since 1970.
pub(crate) fn start(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
}

/// A time in microseconds since 1970, for reports.
pub(crate) fn time(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}
