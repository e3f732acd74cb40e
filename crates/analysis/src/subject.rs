//! What a report is asked about.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use experiment::{Measured, Metric};

use crate::report::StepLine;

/// An experiment as it is defined, and a phase of it.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a str,
    /// The phase.
    pub phase: u64,
    /// Whether it assigns: `draft`, `running`, `paused`, `stopped`.
    pub state: &'a str,
    /// The share of those eligible that take part, 0..=1.
    pub coverage: f64,
    /// The variants with their weights, the control first.
    pub variants: Vec<(String, f64)>,
    /// What it is judged by.
    pub measured: Measured,
    /// The metrics that `measured` means by its indices.
    pub metrics: &'a [Metric],
    /// Where it runs; empty for everywhere.
    pub placements: &'a [String],
    /// What was done to it, the latest first.
    pub steps: Vec<StepLine>,
    /// The names of segments. One without a name is called by its number.
    pub segments: &'a BTreeMap<i64, String>,
    /// Decisions before are not looked at, which is faster; `None`: all are.
    pub since: Option<DateTime<Utc>>,
}

/// How much a report may be made of: more is an error.
///
/// A customer takes about 60 bytes and 8 for each sum of a metric, a decision 60, an outcome 20, a pair 50 and 8 for
/// each sum. A metric has one sum or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Customers.
    pub customers: usize,
    /// Decisions.
    pub decisions: usize,
    /// Outcomes that belong to them, or to what their customers did before.
    pub outcomes: usize,
    /// Pairs of a customer and a placement, an offer, a segment or a day. If a metric counts different offers, as many
    /// customers or pairs with an offer.
    pub pairs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { customers: 5_000_000, decisions: 10_000_000, outcomes: 10_000_000, pairs: 10_000_000 }
    }
}
