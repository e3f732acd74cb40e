//! The pass over decisions: who is in which arm of a phase, and since when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use event::rows::{Arm, DecisionRow};

use crate::id::Names;
use crate::ledger::Ledger;
use crate::report::OtherPhase;
use crate::rows::{Rows, time};
use crate::sources::Newest;
use crate::{AnalysisError, Subject};

/// Drawn by the hash of the customer's id: the number of `ASSIGNMENT_HOW_DRAWN` in the contract.
pub(crate) const DRAWN: u32 = 1;

/// The most other phases that are kept.
const PHASES: usize = 1_000;

/// What decisions say of a phase.
#[derive(Debug)]
pub(crate) struct Collected<'a> {
    pub subject: &'a Subject<'a>,
    pub ledger: Ledger<'a>,
    /// Its days with the number of decisions up to their end, ascending.
    pub days: Vec<(NaiveDate, usize)>,
    /// Its first and its last decision.
    pub span: Option<Span>,
    pub others: BTreeMap<u64, Span>,
    pub placements: Names,
    pub newest: Newest,
    pub forced: u64,
    pub unknown: u64,
    /// Decisions with a variant that the experiment does not have.
    pub strange: u64,
    /// The keys that made pseudonyms of customers.
    pub keys: BTreeSet<String>,
    /// As `unknown`, on the day that is read.
    unknown_today: u64,
}

/// Decisions from a first to a last one, in microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub from: i64,
    pub to: i64,
    pub decisions: u64,
}

impl Span {
    pub(crate) fn of(at: i64) -> Self {
        Self { from: at, to: at, decisions: 1 }
    }

    pub(crate) fn add(&mut self, at: i64) {
        self.from = at.min(self.from);
        self.to = at.max(self.to);
        self.decisions += 1;
    }
}

impl<'a> Collected<'a> {
    /// Reads the decisions of a phase.
    pub(crate) fn read(
        rows: &dyn Rows,
        subject: &'a Subject<'a>,
        ledger: Ledger<'a>,
    ) -> Result<Self, AnalysisError> {
        let mut collected = Self {
            subject,
            ledger,
            days: Vec::new(),
            span: None,
            others: BTreeMap::new(),
            placements: Names::default(),
            newest: Newest::default(),
            forced: 0,
            unknown: 0,
            strange: 0,
            keys: BTreeSet::new(),
            unknown_today: 0,
        };
        let since = subject.since.map_or(i64::MIN, |since| since.timestamp_micros());
        for day in rows.decision_days(subject.since.map(|since| since.date_naive()))? {
            rows.decisions(day, &mut |row| {
                if row.decided_at < since { Ok(()) } else { collected.decision(row) }
            })?;
            if collected.span.is_some() {
                collected.unknown += collected.unknown_today;
                collected.days.push((day, collected.ledger.decisions.len()));
            }
            collected.unknown_today = 0;
        }
        collected.ledger.settle();
        Ok(collected)
    }

    fn decision(&mut self, row: &DecisionRow<'_>) -> Result<(), AnalysisError> {
        self.newest.note(row.server, row.decided_at);
        if row.customer_id.is_empty() {
            let placements = self.subject.placements;
            let is_here = placements.is_empty() || placements.iter().any(|here| here == row.placement);
            self.unknown_today += u64::from(is_here);
            return Ok(());
        }
        for arm in row.arms.iter().filter(|arm| arm.experiment == self.subject.id) {
            self.in_arm(row, arm)?;
        }
        Ok(())
    }

    fn in_arm(&mut self, row: &DecisionRow<'_>, arm: &Arm<'_>) -> Result<(), AnalysisError> {
        let at = row.decided_at;
        if arm.phase != self.subject.phase {
            if let Some(span) = self.others.get_mut(&arm.phase) {
                span.add(at);
            } else if self.others.len() < PHASES {
                self.others.insert(arm.phase, Span::of(at));
            }
            return Ok(());
        }
        match &mut self.span {
            Some(span) => span.add(at),
            None => self.span = Some(Span::of(at)),
        }
        if arm.how != DRAWN {
            self.forced += 1;
            return Ok(());
        }
        let Some(number) = self.subject.variants.iter().position(|(variant, _)| variant == arm.variant)
        else {
            self.strange += 1;
            return Ok(());
        };
        if !self.keys.contains(row.pseudonym_key) {
            self.keys.insert(row.pseudonym_key.to_owned());
        }
        let placement = self.placements.number(row.placement);
        self.ledger.record(row, number as u16, &[placement])
    }

    /// The other phases, the latest first.
    pub(crate) fn other_phases(&self) -> Vec<OtherPhase> {
        let mut others: Vec<(&u64, &Span)> = self.others.iter().collect();
        others.sort_by_key(|(phase, span)| (std::cmp::Reverse(span.to), **phase));
        let other = |(phase, span): (&u64, &Span)| OtherPhase {
            phase: format!("{phase:016x}"),
            from: time(span.from),
            to: time(span.to),
            decisions: span.decisions,
        };
        others.into_iter().map(other).collect()
    }
}
