//! Releases that were made for steps and could not be promoted: an attempt at the same step makes no other.

use std::collections::VecDeque;

use super::{Ramps, lock};
use crate::records::{Current, ExperimentStep, StepAction};
use crate::store::NewRelease;
use crate::{RegistryError, ReleaseFiles, StoreError};

/// The most releases that are remembered: more steps than this do not fail over one promotion.
const MOST: usize = 64;

/// The releases that were made for steps over the current promotion, the latest last. After another promotion they are
/// of no use.
#[derive(Debug, Default)]
pub(super) struct Unpromoted(VecDeque<Made>);

#[derive(Debug)]
struct Made {
    step: ExperimentStep,
    author: String,
    note: String,
    release: u64,
    /// Whether `CURRENT` may have moved to it without an answer.
    may_be_current: bool,
}

impl Unpromoted {
    /// The release that was made for this step, this person and with this note. Of a guardrail, any that ends the
    /// experiment: what it finds changes with each day, and is no reason for another release.
    fn find(&self, step: &ExperimentStep, author: &str, note: &str) -> Option<u64> {
        let is_it = |made: &&Made| {
            let is_same = if step.action == StepAction::RollBack {
                ExperimentStep { evidence: step.evidence.clone(), ..made.step.clone() } == *step
            } else {
                made.step == *step && made.note == note
            };
            is_same && made.author == author
        };
        self.0.iter().find(is_it).map(|made| made.release)
    }

    fn remember(&mut self, made: Made) {
        self.0.push_back(made);
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Forgets what was made over other promotions than that of this sequence.
    fn keep_over(&mut self, sequence: u64) {
        self.0.retain(|made| made.step.over == sequence);
    }

    fn forget(&mut self, release: u64) {
        self.0.retain(|made| made.release != release);
    }

    fn note_may_be_current(&mut self, release: u64, may_be: bool) {
        if let Some(made) = self.0.iter_mut().find(|made| made.release == release) {
            made.may_be_current = may_be;
        }
    }

    fn may_be_stopped(&self, id: &str) -> bool {
        let ends = |action| matches!(action, StepAction::Stop | StepAction::RollBack);
        let stops = |made: &&Made| made.step.experiment == id && ends(made.step.action);
        self.0.iter().filter(stops).any(|made| made.may_be_current)
    }
}

impl Ramps {
    /// The release of a step: the one that an earlier attempt made for the same person and with the same note, or a
    /// new one.
    pub(super) fn release_of(
        &self,
        step: ExperimentStep,
        (author, note): (&str, String),
        base: &ReleaseFiles,
        policy: &str,
    ) -> Result<u64, RegistryError> {
        let known = lock(&self.shared.unpromoted).find(&step, author, &note);
        if let Some(release) = known {
            return Ok(release);
        }
        let record = self.parts().store.add_release(&NewRelease {
            author,
            note: &note,
            models: &base.record.models,
            features: &base.features,
            offers: &base.offers,
            policy,
            step: Some(&step),
        })?;
        let (author, release) = (author.to_owned(), record.number);
        lock(&self.shared.unpromoted).remember(Made { step, author, note, release, may_be_current: false });
        Ok(release)
    }

    /// Forgets the releases that were made over other promotions than the current one.
    pub(super) fn keep_unpromoted(&self, current: &Current) {
        lock(&self.shared.unpromoted).keep_over(current.sequence);
    }

    /// Notes why the release of a step was not promoted over `over`, and whether it may be current all the same.
    pub(super) fn not_promoted(&self, release: u64, over: &Current, error: &RegistryError) {
        if matches!(error, RegistryError::NotFound(_)) {
            lock(&self.shared.unpromoted).forget(release);
        }
        if !matches!(error, RegistryError::Store(_) | RegistryError::NoSpace(_)) {
            return;
        }
        let store = &self.parts().store;
        let is_answered = !matches!(error, RegistryError::Store(StoreError::Unreachable { .. }));
        let may_be = !is_answered || !store.current().is_ok_and(|read| read.current == *over);
        // A bucket may carry out later what it did not answer before.
        if may_be || store.local_root().is_some() {
            lock(&self.shared.unpromoted).note_may_be_current(release, may_be);
        }
    }

    /// Whether a release that stops the experiment was to be promoted, and it is not known whether it was.
    pub(super) fn may_be_stopped(&self, id: &str) -> bool {
        lock(&self.shared.unpromoted).may_be_stopped(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GuardrailEvidence;

    fn made(experiment: &str, action: StepAction, over: u64, release: u64) -> Made {
        let step = ExperimentStep {
            experiment: experiment.to_owned(),
            action,
            base: 1,
            over,
            coverage: 0.5,
            scheduled: false,
            winner: String::new(),
            evidence: None,
        };
        let [author, note] = ["anna", "why"].map(str::to_owned);
        Made { step, author, note, release, may_be_current: false }
    }

    #[test]
    fn each_step_finds_its_own_release_while_its_promotion_is_the_current_one() {
        let mut known = Unpromoted::default();
        known.remember(made("a", StepAction::Stop, 4, 2));
        known.remember(made("a", StepAction::Pause, 4, 3));
        known.remember(made("b", StepAction::Stop, 4, 5));
        let find = |known: &Unpromoted, made: &Made| known.find(&made.step, &made.author, &made.note);
        for release in [2, 3, 5] {
            let made = known.0.iter().find(|made| made.release == release).unwrap();
            assert_eq!(find(&known, made), Some(release));
        }
        let stop = made("a", StepAction::Stop, 4, 0);
        assert_eq!(known.find(&stop.step, "bert", "why"), None);
        assert_eq!(known.find(&stop.step, "anna", "another reason"), None);
        // The same release may be current again, by a later promotion.
        assert_eq!(find(&known, &made("a", StepAction::Stop, 6, 0)), None);
        known.forget(3);
        assert_eq!(find(&known, &made("a", StepAction::Pause, 4, 0)), None);
        known.keep_over(4);
        assert_eq!(known.0.len(), 2);
        known.keep_over(5);
        assert!(known.0.is_empty());
    }

    #[test]
    fn a_guardrail_that_finds_more_makes_no_other_release() {
        let found = |high| GuardrailEvidence {
            metric: "opt_out_rate".to_owned(),
            variant: "b".to_owned(),
            delta: -0.02,
            low: -0.03,
            high,
            tolerate: 0.002,
            customers: 1_000,
        };
        let end = |high| {
            let made = made("a", StepAction::RollBack, 4, 2);
            Made { step: ExperimentStep { evidence: Some(found(high)), ..made.step }, ..made }
        };
        let mut known = Unpromoted::default();
        known.remember(end(-0.01));
        assert_eq!(known.find(&end(-0.005).step, "anna", "found on another day"), Some(2));
        assert_eq!(known.find(&end(-0.01).step, "otto", "why"), None);
        assert_eq!(known.find(&made("a", StepAction::Stop, 4, 2).step, "anna", "why"), None);
        known.note_may_be_current(2, true);
        assert!(known.may_be_stopped("a"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Unpromoted::default();
        for release in 0..1_000 {
            known.remember(made("a", StepAction::Stop, 4, release));
        }
        assert_eq!((known.0.len(), known.0[0].release), (MOST, 1_000 - MOST as u64));
    }

    #[test]
    fn a_stop_is_unknown_only_where_its_release_may_be_current() {
        let mut known = Unpromoted::default();
        known.remember(made("a", StepAction::Stop, 4, 2));
        known.remember(made("a", StepAction::Pause, 4, 3));
        known.note_may_be_current(3, true);
        assert!(!known.may_be_stopped("a"));
        known.note_may_be_current(2, true);
        assert!(known.may_be_stopped("a") && !known.may_be_stopped("b"));
        known.note_may_be_current(2, false);
        assert!(!known.may_be_stopped("a"));
    }
}
