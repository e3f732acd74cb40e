//! What was done to experiments, from the promotions of a store.
//!
//! Promotions and releases never change, so what they said is kept in memory: a second question reads the new ones
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use experiment::{State, outline};

use super::{Ramps, lock};
use crate::records::{Current, ExperimentStep, StepRecord};
use crate::{RegistryError, StoreError};

/// The most promotions that one question looks back, and that are kept in memory.
pub(super) const MOST_LOOKED_AT: usize = 512;

/// How many promotions are read first; each further time four times as many.
const READ_FIRST: usize = 16;

/// The most steps of one answer.
const MOST_STEPS: usize = 100;

/// What promotions and releases say, as far as they were read: at most [`MOST_LOOKED_AT`] of each.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The latest promotions, by sequence.
    promotions: BTreeMap<u64, Current>,
    /// What the releases among the promotions that were looked at last do to experiments.
    steps: BTreeMap<u64, Option<ExperimentStep>>,
    /// What releases say, by number.
    told: BTreeMap<u64, Arc<Told>>,
}

/// What a release says about experiments.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) author: String,
    pub(super) step: Option<ExperimentStep>,
    /// The state and the digest of each experiment.
    pub(super) experiments: BTreeMap<String, (State, u64)>,
}

impl Ramps {
    /// What was done to an experiment, the latest first; at most [`MOST_STEPS`] of the last [`MOST_LOOKED_AT`]
    /// promotions.
    pub(super) fn steps_of(&self, id: &str) -> Result<Vec<StepRecord>, RegistryError> {
        let promotions = self.promotions_before(u64::MAX, MOST_LOOKED_AT)?;
        let steps = self.steps_among(&promotions)?;
        let told = promotions.into_iter().rev().filter_map(|promotion| {
            let step = steps.get(&promotion.release).filter(|step| step.experiment == id)?;
            let ExperimentStep { action, base, coverage, scheduled, .. } = *step;
            let Current { release, author, reason, time, .. } = promotion;
            let evidence = step.evidence.clone();
            Some(StepRecord { action, coverage, release, base, scheduled, author, reason, time, evidence })
        });
        Ok(told.take(MOST_STEPS).collect())
    }

    /// The last `count` promotions with a sequence below `before`, ascending. Reads those that are not in memory.
    fn promotions_before(&self, before: u64, count: usize) -> Result<Vec<Current>, StoreError> {
        let store = &self.parts().store;
        store.promotions_through(before, count, |sequences| {
            let known = |sequence: &u64| lock(&self.shared.history).promotions.get(sequence).cloned();
            let mut copies: Vec<Current> = sequences.iter().filter_map(known).collect();
            let found: BTreeSet<u64> = copies.iter().map(|copy| copy.sequence).collect();
            let unread: Vec<u64> =
                sequences.iter().copied().filter(|sequence| !found.contains(sequence)).collect();
            let read = store.copies(&unread)?;
            let mut history = lock(&self.shared.history);
            history.promotions.extend(read.iter().map(|copy| (copy.sequence, copy.clone())));
            while history.promotions.len() > MOST_LOOKED_AT {
                history.promotions.pop_first();
            }
            copies.extend(read);
            Ok(copies)
        })
    }

    /// What the releases of these promotions do to experiments, by release. Reads the records that are not in memory.
    fn steps_among(&self, promotions: &[Current]) -> Result<BTreeMap<u64, ExperimentStep>, StoreError> {
        let numbers: BTreeSet<u64> = promotions.iter().map(|promotion| promotion.release).collect();
        let unread: Vec<u64> = {
            let history = lock(&self.shared.history);
            numbers.iter().copied().filter(|number| !history.steps.contains_key(number)).collect()
        };
        let read = self.parts().store.release_records(&unread)?;
        let mut history = lock(&self.shared.history);
        history.steps.extend(read.into_iter().map(|record| (record.number, record.step)));
        history.steps.retain(|number, _| numbers.contains(number));
        let steps = history.steps.iter().filter_map(|(number, step)| Some((*number, step.clone()?)));
        Ok(steps.collect())
    }

    /// Looks at promotions with a sequence below `before`, from the latest back, until `look` has seen enough; at most
    /// at [`MOST_LOOKED_AT`]. Whether it has seen enough, or there were no more.
    pub(super) fn look_back(
        &self,
        before: u64,
        mut look: impl FnMut(&Current) -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        let (mut before, mut count, mut seen) = (before, READ_FIRST, 0);
        while seen < MOST_LOOKED_AT {
            let page = self.promotions_before(before, count)?;
            for promotion in page.iter().rev() {
                if look(promotion)? {
                    return Ok(true);
                }
            }
            let Some(first) = page.first().filter(|_| page.len() == count) else { return Ok(true) };
            (before, seen) = (first.sequence, seen + page.len());
            count = (4 * count).min(MOST_LOOKED_AT - seen);
        }
        Ok(self.promotions_before(before, 1)?.is_empty())
    }

    /// What a release says.
    pub(super) fn told(&self, release: u64) -> Result<Arc<Told>, RegistryError> {
        if let Some(known) = lock(&self.shared.history).told.get(&release) {
            return Ok(Arc::clone(known));
        }
        let files = self.parts().store.release(release).map_err(|error| {
            use StoreError::{Changed, Damaged, NoSuchRelease};
            // The release is of the past, and what it said is not known any more.
            if matches!(error, NoSuchRelease(_) | Changed { .. } | Damaged { .. }) {
                return RegistryError::Damaged(error.to_string());
            }
            error.into()
        })?;
        let experiments = outline(&files.policy)?
            .into_iter()
            .map(|outline| (outline.id, (outline.state, outline.definition)))
            .collect();
        let told = Arc::new(Told { author: files.record.author, step: files.record.step, experiments });
        let mut history = lock(&self.shared.history);
        history.told.insert(release, Arc::clone(&told));
        while history.told.len() > MOST_LOOKED_AT {
            history.told.pop_first();
        }
        Ok(told)
    }
}
