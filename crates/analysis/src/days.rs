//! The pass over days: decisions and outcomes of each, and the sequences at its end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use event::rows::OutcomeRow;
use event::sealed::date_of;
use experiment::Metric;
use statistics::{Mismatch, Unit, mismatch};

use crate::collect::Collected;
use crate::compare::{Both, Level};
use crate::counted::{Counted, note_unmatched};
use crate::ledger::Seen;
use crate::plan::Covariate;
use crate::report::{ExposureDay, LeftOut, MismatchResult, SequencePoint};
use crate::rows::Rows;
use crate::{AnalysisError, Limits, MISMATCH, MISMATCH_AT_ONCE};

/// The least that is expected of each arm before χ² is looked at: it does not hold for fewer. Source: Cochran, "Some
/// methods for strengthening the common χ² tests" (1954).
const EXPECTED: f64 = 5.0;

/// What a phase has come to, day by day.
#[derive(Debug)]
pub(crate) struct Days<'a> {
    pub collected: Collected<'a>,
    level: Level,
    covariate: Option<Covariate>,
    /// What each customer did before, by `covariate`.
    before: Vec<f64>,
    seen: Seen,
    /// By metric and arm.
    pub counted: Vec<Vec<Counted>>,
    /// By metric and challenger.
    pub sequences: Vec<Vec<Vec<SequencePoint>>>,
    pub arms: Vec<Arm>,
    pub exposure: Vec<ExposureDay>,
    pub mismatch: Option<MismatchResult>,
    pub left_out: LeftOut,
    /// The units of a customer before a change, by metric.
    units: Vec<Unit>,
}

/// What an arm has had so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arm {
    pub customers: u64,
    pub decisions: u64,
    pub outcomes: u64,
    /// Customers that came today.
    new: u64,
}

impl<'a> Days<'a> {
    /// Goes through all days of what was collected. `primary` is the first metric of the ledger.
    pub(crate) fn read(
        rows: &dyn Rows,
        collected: Collected<'a>,
        primary: &Metric,
        level: Level,
        limits: &Limits,
    ) -> Result<Self, AnalysisError> {
        let (metrics, arms) = (collected.ledger.whole.metrics(), collected.subject.variants.len());
        let covariate = Covariate::of(primary, collected.subject.measured.covariate);
        let customers = collected.ledger.customers.len();
        let is_crossed = |customer: &&crate::ledger::Customer| customer.is_crossed;
        let left_out = LeftOut {
            unknown_decisions: collected.unknown,
            forced_decisions: collected.forced,
            crossed_customers: collected.ledger.customers.iter().filter(is_crossed).count() as u64,
            ..LeftOut::default()
        };
        let mut days = Self {
            level,
            before: vec![0.0; if covariate.is_some() { customers } else { 0 }],
            covariate,
            seen: Seen::new(limits),
            counted: vec![vec![Counted::default(); arms]; metrics],
            sequences: vec![vec![Vec::new(); arms.saturating_sub(1)]; metrics],
            arms: vec![Arm::default(); arms],
            exposure: Vec::new(),
            mismatch: None,
            left_out,
            units: Vec::new(),
            collected,
        };
        days.go(rows)?;
        Ok(days)
    }

    fn go(&mut self, rows: &dyn Rows) -> Result<(), AnalysisError> {
        let Some(span) = self.collected.span else { return Ok(()) };
        let first = date_of(span.from);
        let within = self.covariate.as_ref().map_or(0, |covariate| covariate.within);
        let with_outcomes: BTreeSet<NaiveDate> =
            rows.outcome_days(Some(date_of(span.from.saturating_sub(within))))?.into_iter().collect();
        let decided: BTreeMap<NaiveDate, usize> = self.collected.days.iter().copied().collect();
        let all: BTreeSet<NaiveDate> = with_outcomes.iter().chain(decided.keys()).copied().collect();
        let (last, mut done) = (all.last().copied(), 0);
        for day in all {
            let end = decided.get(&day).copied().unwrap_or(done);
            (done..end).for_each(|decision| self.decision(decision));
            done = end;
            if with_outcomes.contains(&day) {
                rows.outcomes(day, &mut |row| self.outcome(row))?;
            }
            if Some(day) == last {
                self.count_anew();
            }
            if day >= first {
                self.end_of_day(day);
            }
        }
        Ok(())
    }

    fn decision(&mut self, at: usize) {
        let customer = self.collected.ledger.decisions[at].customer as usize;
        let arm = &mut self.arms[usize::from(self.collected.ledger.customers[customer].arm)];
        arm.decisions += 1;
        let is_new = !self.collected.ledger.customers[customer].is_counted;
        arm.new += u64::from(is_new);
        self.note_units(customer);
        self.collected.ledger.add_decision(at);
        self.collected.ledger.customers[customer].is_counted = true;
        self.count_units(customer, is_new);
    }

    fn outcome(&mut self, row: &OutcomeRow<'_>) -> Result<(), AnalysisError> {
        self.collected.newest.note(row.server, row.received_at);
        let Some(at) = self.collected.ledger.decision(row.decision_id) else {
            return self.outcome_of_no_decision(row);
        };
        if !self.seen.is_new(row)? {
            return Ok(());
        }
        let customer = self.collected.ledger.decisions[at].customer as usize;
        if row.late {
            self.left_out.late_outcomes += 1;
        } else {
            self.arms[usize::from(self.collected.ledger.customers[customer].arm)].outcomes += 1;
        }
        self.note_units(customer);
        self.collected.ledger.add_outcome(at, row, |_| true);
        self.count_units(customer, false);
        Ok(())
    }

    /// An outcome from before its customer took part, or of a decision elsewhere.
    fn outcome_of_no_decision(&mut self, row: &OutcomeRow<'_>) -> Result<(), AnalysisError> {
        let Some(customer) = self.collected.ledger.customer_called(row.customer_id) else { return Ok(()) };
        let first_at = self.collected.ledger.customers[customer].first_at;
        if row.received_at >= first_at {
            return note_unmatched(&self.collected.ledger, row, &mut self.seen, &mut self.left_out);
        }
        let is_within = |covariate: &Covariate| row.received_at >= first_at.saturating_sub(covariate.within);
        if !self.covariate.as_ref().is_some_and(is_within) || !self.seen.is_new(row)? {
            return Ok(());
        }
        self.note_units(customer);
        if let Some(covariate) = &self.covariate {
            covariate.add(&mut self.before[customer], row);
        }
        self.count_units(customer, false);
        Ok(())
    }

    /// Notes what a customer adds to the sums, before something changes.
    fn note_units(&mut self, customer: usize) {
        self.units.clear();
        for metric in 0..self.counted.len() {
            self.units.push(self.unit(metric, customer));
        }
    }

    /// Has a customer add what it is now, in place of what was noted, to the sums. One who did not take part so far
    /// was not among them.
    fn count_units(&mut self, customer: usize, is_new: bool) {
        let (is_counted, arm) = {
            let customer = &self.collected.ledger.customers[customer];
            (customer.is_counted, usize::from(customer.arm))
        };
        if !is_counted {
            return;
        }
        for metric in 0..self.counted.len() {
            let (old, new) = (self.units[metric], self.unit(metric, customer));
            let counted = &mut self.counted[metric][arm];
            if is_new {
                counted.add(new);
            } else if old != new {
                counted.remove(old);
                counted.add(new);
            }
        }
    }

    /// What a customer adds to a metric.
    fn unit(&self, metric: usize, customer: usize) -> Unit {
        let unit = self.collected.ledger.whole.unit(metric, self.collected.ledger.values(customer));
        let before = if metric == 0 { self.before.get(customer).copied().unwrap_or(0.0) } else { 0.0 };
        Unit { before, ..unit }
    }

    /// Adds all customers up from the beginning: taking out and putting in has left some rounding.
    fn count_anew(&mut self) {
        for metric in 0..self.counted.len() {
            self.counted[metric].fill(Counted::default());
            for customer in 0..self.collected.ledger.customers.len() {
                let arm = usize::from(self.collected.ledger.customers[customer].arm);
                let unit = self.unit(metric, customer);
                self.counted[metric][arm].add(unit);
            }
        }
    }

    fn end_of_day(&mut self, day: NaiveDate) {
        for arm in &mut self.arms {
            arm.customers += arm.new;
        }
        let day = day.to_string();
        self.exposure.push(ExposureDay {
            day: day.clone(),
            new: self.arms.iter().map(|arm| arm.new).collect(),
            all: self.arms.iter().map(|arm| arm.customers).collect(),
        });
        self.arms.iter_mut().for_each(|arm| arm.new = 0);
        self.look_at_split();
        let variants = &self.collected.subject.variants;
        for (metric, sequences) in self.sequences.iter_mut().enumerate() {
            let (counted, measure) = (&self.counted[metric], self.collected.ledger.whole.measure(metric));
            for (challenger, points) in (1_usize..).zip(sequences) {
                let arms = [&counted[0], &counted[challenger]];
                let names = [variants[0].0.as_str(), variants[challenger].0.as_str()];
                if let Ok(found) = (Both { arms, names, measure }).compare() {
                    let least_p = points.last().map_or(1.0, |point| point.p);
                    points.push(found.point(day.clone(), self.level, least_p));
                }
            }
        }
    }

    fn look_at_split(&mut self) {
        let counts: Vec<u64> = self.arms.iter().map(|arm| arm.customers).collect();
        let weights: Vec<f64> = self.collected.subject.variants.iter().map(|(_, weight)| *weight).collect();
        let Some(Mismatch { chi_squared, degrees, p, sequential_p }) = mismatch(&counts, &weights) else {
            return;
        };
        let least = self.mismatch.as_ref().map_or(1.0, |before| before.sequential_p);
        let sequential_p = sequential_p.min(least);
        let (all, weight) = (counts.iter().sum::<u64>() as f64, weights.iter().sum::<f64>());
        let has_enough = |of: &f64| *of <= 0.0 || all * of / weight >= EXPECTED;
        let is_mismatch = sequential_p < MISMATCH || (p < MISMATCH_AT_ONCE && weights.iter().all(has_enough));
        self.mismatch = Some(MismatchResult { chi_squared, degrees, p, sequential_p, is_mismatch });
    }
}
