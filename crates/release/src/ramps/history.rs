//! What was done to experiments, from the promotions of a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use experiment::{State, outline};

use super::{Ramps, lock};
use crate::records::{Current, ExperimentStep, StepRecord};
use crate::{RegistryError, StoreError};

/// The most promotions that one question looks back.
pub(super) const MOST_LOOKED_AT: usize = 512;

/// How many promotions are read first; each further time four times as many.
const READ_FIRST: usize = 16;

/// The most steps of one answer.
const MOST_STEPS: usize = 100;

/// What releases say, as far as they were read: they never change.
#[derive(Debug, Default)]
pub(super) struct History {
    known: BTreeMap<u64, Arc<Told>>,
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
        let promotions = self.parts().store.promotions_before(u64::MAX, MOST_LOOKED_AT)?;
        let mut numbers: Vec<u64> = promotions.iter().map(|promotion| promotion.release).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let records = self.parts().store.release_records(&numbers)?;
        let steps: BTreeMap<u64, ExperimentStep> = records
            .into_iter()
            .filter_map(|record| Some((record.number, record.step.filter(|step| step.experiment == id)?)))
            .collect();
        let told = promotions.into_iter().rev().filter_map(|promotion| {
            let ExperimentStep { action, base, coverage, scheduled, .. } = *steps.get(&promotion.release)?;
            let Current { release, author, reason, time, .. } = promotion;
            Some(StepRecord { action, coverage, release, base, scheduled, author, reason, time })
        });
        Ok(told.take(MOST_STEPS).collect())
    }

    /// Looks at promotions, from the latest back, until `look` has seen enough; at most at [`MOST_LOOKED_AT`]. Whether
    /// it has seen enough, or there were no more.
    pub(super) fn look_back(
        &self,
        mut look: impl FnMut(&Current) -> Result<bool, RegistryError>,
    ) -> Result<bool, RegistryError> {
        let store = &self.parts().store;
        let (mut before, mut count, mut seen) = (u64::MAX, READ_FIRST, 0);
        while seen < MOST_LOOKED_AT {
            let page = store.promotions_before(before, count)?;
            for promotion in page.iter().rev() {
                if look(promotion)? {
                    return Ok(true);
                }
            }
            let Some(first) = page.first().filter(|_| page.len() == count) else { return Ok(true) };
            (before, seen) = (first.sequence, seen + page.len());
            count = (4 * count).min(MOST_LOOKED_AT - seen);
        }
        Ok(store.promotions_before(before, 1)?.is_empty())
    }

    /// What a release says.
    pub(super) fn told(&self, release: u64) -> Result<Arc<Told>, RegistryError> {
        if let Some(known) = lock(&self.shared.history).known.get(&release) {
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
        history.known.insert(release, Arc::clone(&told));
        while history.known.len() > MOST_LOOKED_AT {
            history.known.pop_first();
        }
        Ok(told)
    }
}
