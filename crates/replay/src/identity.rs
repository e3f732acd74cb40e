//! Decides again from records with the releases they name, and compares with what was answered.
//!
//! Raw scores, ids, what limits looked at and what they refused when a slate was reserved are taken from the record.
//! All else is worked out and compared byte for byte.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use decision::decide_again;
use event::proto::DecisionRecord;
use serde::Serialize;
use work::Worker;

use super::parallel::in_parallel;
use super::record;
use super::releases::Releases;
use super::rescore::Rescored;
use super::{Difference, differences};

/// How many records that differ or fail are kept with their details.
const KEPT: usize = 100;

/// What became of the records of a replay.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Replayed {
    /// Records that were decided again with the same bytes.
    pub identical: u64,
    /// Of these, results with an error: there was nothing to decide.
    pub without_decision: u64,
    /// Records that were decided again with another answer.
    pub differing: u64,
    /// Records that could not be decided again.
    pub failed: u64,
    /// The first of those that differ, by the time of their decision.
    pub differences: Vec<Differing>,
    /// The first of those that could not be decided again.
    pub failures: Vec<Failed>,
    /// By release: how many records named it.
    pub releases: BTreeMap<u64, u64>,
    /// What the models answer today, if they were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescored: Option<Rescored>,
}

/// A record that was decided again with another answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// The decision.
    pub decision_id: String,
    /// The release that decided.
    pub release: u64,
    /// Where the answers differ.
    pub fields: Vec<Difference>,
}

/// A record that could not be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The decision.
    pub decision_id: String,
    /// Why.
    pub reason: String,
}

/// What a replay does beside deciding again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether the models score again.
    pub rescore: bool,
    /// How many threads decide; 0: one per core.
    pub threads: usize,
}

/// Decides again for each record that `source` passes on. `progress` gets the number of records so far, now and then.
///
/// # Errors
/// That of the source.
pub fn replay<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    releases: &Releases,
    options: Options,
    progress: impl FnMut(u64),
) -> Result<Replayed, E> {
    let begin = || Replayed { rescored: options.rescore.then(Rescored::default), ..Replayed::default() };
    let add = |found: &mut Replayed, records: Vec<DecisionRecord>| {
        let worker = Worker::only();
        for record in records {
            found.add(&record, releases, &worker);
        }
    };
    let parts = in_parallel(source, options.threads, begin, add, progress)?;
    Ok(parts.into_iter().reduce(Replayed::merged).unwrap_or_else(begin).sorted())
}

impl Replayed {
    /// How many records there were.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.identical + self.differing + self.failed
    }

    /// Whether every record was decided again with the same bytes, and scored within the bounds.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.differing == 0
            && self.failed == 0
            && self.rescored.as_ref().is_none_or(|rescored| rescored.beyond() == 0)
    }

    fn add(&mut self, recorded: &DecisionRecord, releases: &Releases, worker: &Worker) {
        *self.releases.entry(recorded.release).or_default() += 1;
        if recorded.error.is_some() {
            self.identical += 1;
            self.without_decision += 1;
            return;
        }
        match self.compare(recorded, releases, worker) {
            Ok(fields) if fields.is_empty() => self.identical += 1,
            Ok(fields) => {
                self.differing += 1;
                if self.differences.len() < KEPT {
                    let (decision_id, release) = (recorded.decision_id.clone(), recorded.release);
                    self.differences.push(Differing { decision_id, release, fields });
                }
            }
            Err(reason) => {
                self.failed += 1;
                if self.failures.len() < KEPT {
                    self.failures.push(Failed { decision_id: recorded.decision_id.clone(), reason });
                }
            }
        }
    }

    fn compare(
        &mut self,
        recorded: &DecisionRecord,
        releases: &Releases,
        worker: &Worker,
    ) -> Result<Vec<Difference>, String> {
        let loaded = releases.loaded(recorded.release)?;
        let snapshot = &loaded.snapshot;
        let input = record::read(recorded, &loaded).map_err(|error| error.to_string())?;
        if let Some(rescored) = &mut self.rescored {
            let mut input = input.clone();
            input.values.scores = None;
            let scored = decide_again(snapshot, input, worker).map_err(|error| error.to_string())?;
            rescored.add(snapshot, &scored, recorded);
        }
        let decided = decide_again(snapshot, input, worker).map_err(|error| error.to_string())?;
        Ok(differences(recorded, &record::answered_again(snapshot, &decided.decision, recorded)))
    }

    fn merged(mut self, other: Self) -> Self {
        self.identical += other.identical;
        self.without_decision += other.without_decision;
        self.differing += other.differing;
        self.failed += other.failed;
        self.differences.extend(other.differences);
        self.failures.extend(other.failures);
        for (release, records) in other.releases {
            *self.releases.entry(release).or_default() += records;
        }
        if let (Some(rescored), Some(other)) = (&mut self.rescored, other.rescored) {
            rescored.merge(other);
        }
        self
    }

    /// Ids sort by time, so that the result does not depend on the threads.
    fn sorted(mut self) -> Self {
        self.differences.sort_by(|one, other| one.decision_id.cmp(&other.decision_id));
        self.differences.truncate(KEPT);
        self.failures.sort_by(|one, other| one.decision_id.cmp(&other.decision_id));
        self.failures.truncate(KEPT);
        self
    }
}

#[cfg(test)]
mod tests;
