//! Sums over the customers of an arm, for a metric.

use event::rows::OutcomeRow;
use statistics::{Sums, Unit};

use crate::ledger::{Ledger, Seen};
use crate::{AnalysisError, report};

/// Sums over customers, and how many of them have something to count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counted {
    pub sums: Sums,
    /// Customers with a numerator that is not 0.
    pub conversions: u64,
}

impl Counted {
    pub(crate) fn add(&mut self, unit: Unit) {
        if self.sums.add(unit) {
            self.conversions += u64::from(converts(unit));
        }
    }

    /// Takes a customer out again that was added with these numbers.
    pub(crate) fn remove(&mut self, unit: Unit) {
        if unit.part.is_finite() && unit.size.is_finite() && unit.before.is_finite() {
            self.sums.remove(unit);
            self.conversions = self.conversions.saturating_sub(u64::from(converts(unit)));
        }
    }
}

fn converts(unit: Unit) -> bool {
    unit.part.abs() > 0.0
}

/// Notes an outcome that is about a customer and belongs to no decision of theirs that is kept.
pub(crate) fn note_unmatched(
    ledger: &Ledger<'_>,
    row: &OutcomeRow<'_>,
    seen: &mut Seen,
    left_out: &mut report::LeftOut,
) -> Result<(), AnalysisError> {
    let Some(customer) = ledger.customer_called(row.customer_id) else { return Ok(()) };
    if row.received_at >= ledger.customers[customer].first_at && seen.is_new(row)? {
        left_out.unmatched_outcomes += 1;
    }
    Ok(())
}
