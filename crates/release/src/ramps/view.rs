//! The experiments of a store at one moment.

use std::sync::{Arc, OnceLock};

use experiment::{Outline, outline};

use super::stops::Stops;
use super::{Ramps, lock};
use crate::records::{Current, ExperimentSummary, Schedule, VariantSummary};
use crate::{RegistryError, Stamped};
use document::suggestion;

/// What is current, and its experiments by id.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) current: Current,
    pub(super) standings: Vec<Standing>,
}

/// An experiment of the current release.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) outline: Outline,
    /// The sequence of the promotion of that release.
    pub(super) sequence: u64,
    /// What its schedule does next, once somebody has asked [`Ramps::schedule`]. It depends on older promotions, and a
    /// stop must not.
    pub(super) schedule: OnceLock<Option<Schedule>>,
}

impl View {
    /// The experiment called `id`.
    pub(super) fn standing(&self, id: &str) -> Result<&Standing, RegistryError> {
        self.standings.iter().find(|standing| standing.outline.id == id).ok_or_else(|| {
            let hint = suggestion(id, self.standings.iter().map(|standing| standing.outline.id.as_str()));
            let release = self.current.release;
            RegistryError::NotFound(format!(
                "release {release}, which is current, has no experiment `{id}`{hint}"
            ))
        })
    }
}

impl Standing {
    fn summary(&self, stops: &Stops) -> ExperimentSummary {
        let Outline { id, state, coverage, placements, when, group, variants, .. } = self.outline.clone();
        let pending_stop = stops.pending(&id);
        let variants = variants
            .into_iter()
            .map(|variant| VariantSummary {
                id: variant.id,
                weight: variant.weight,
                changes: variant.changes,
            })
            .collect();
        let schedule = self.schedule.get().cloned().flatten();
        ExperimentSummary { id, state, coverage, placements, when, group, variants, schedule, pending_stop }
    }
}

impl Ramps {
    /// An experiment as answers have it: with its pending stop, and with what its guardrails say of its schedule.
    pub(super) fn summary(&self, standing: &Standing) -> ExperimentSummary {
        let mut summary = standing.summary(&self.stops());
        if let Some(schedule) = summary.schedule.as_mut().filter(|schedule| schedule.halted.is_empty()) {
            schedule.held = self.held(standing);
        }
        summary
    }

    /// What the store has now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read_view(&self) -> Result<Arc<View>, RegistryError> {
        let Stamped { current, .. } = self.parts().store.current()?;
        self.view_of(current)
    }

    /// The experiments of what is current, which this server has read already.
    pub(super) fn view_of(&self, current: Current) -> Result<Arc<View>, RegistryError> {
        if let Some(known) = self.known_view().filter(|known| known.current == current) {
            return Ok(known);
        }
        let policy = self.parts().store.release(current.release)?.policy;
        let sequence = current.sequence;
        let standings = outline(&policy)?
            .into_iter()
            .map(|outline| Standing { outline, sequence, schedule: OnceLock::new() })
            .collect();
        let view = Arc::new(View { current, standings });
        *lock(&self.shared.view) = Some(Arc::clone(&view));
        Ok(view)
    }

    /// What the store has, or had when it was last read, with the schedules; and why it cannot be read now.
    pub(super) fn last_view(&self) -> Result<(Arc<View>, String), RegistryError> {
        let (view, mut store_error) = match (self.read_view(), self.known_view()) {
            (Ok(view), _) => (view, String::new()),
            (Err(error @ RegistryError::Store(_)), Some(known)) => (known, error.to_string()),
            (Err(error), _) => return Err(error),
        };
        if store_error.is_empty()
            && let Err(error) =
                view.standings.iter().try_for_each(|standing| self.schedule(standing).map(drop))
        {
            store_error = error.to_string();
        }
        Ok((view, store_error))
    }

    pub(super) fn known_view(&self) -> Option<Arc<View>> {
        lock(&self.shared.view).clone()
    }
}
