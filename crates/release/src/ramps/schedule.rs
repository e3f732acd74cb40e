//! Schedules: when an experiment covers more customers by itself.
//!
//! A step is due once the coverage before it has lasted its time, from the promotion that began it, by the clock of the
//! server that takes the step. All that decides is in the store, so a restart changes nothing. A schedule goes on only
//! from a coverage that a person began, by a start or by a release of their own, or that the schedule itself began. It
//! halts where a person has changed what it had begun; `proffer experiment start` lets it go on. `advance.rs` takes the
//! steps that are due.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use experiment::State;

use super::Ramps;
use super::history::{MOST_LOOKED_AT, Told};
use super::patience::is_away;
use super::view::Standing;
use crate::RegistryError;
use crate::records::{Current, Schedule, StepAction};

/// Why a schedule halts whose past is damaged.
const UNREADABLE: &str =
    "a promotion before it, or its release, cannot be read; the log names the file to repair";

/// What began the present coverage of an experiment.
#[derive(Debug, PartialEq)]
struct Began {
    time: String,
    /// Why the schedule does not go on from there; empty: it does.
    halted: String,
}

impl Ramps {
    /// What the schedule of an experiment of the current release does next. It halts where the promotions before cannot
    /// be understood.
    ///
    /// # Errors
    /// When the store is away.
    pub(super) fn schedule<'s>(&self, standing: &'s Standing) -> Result<Option<&'s Schedule>, RegistryError> {
        if let Some(known) = standing.schedule.get() {
            return Ok(known.as_ref());
        }
        let next = standing.outline.next_step().filter(|_| standing.outline.state == State::Running);
        let schedule = next.map(|next| self.planned(standing, next.coverage, next.after)).transpose()?;
        Ok(standing.schedule.get_or_init(|| schedule).as_ref())
    }

    /// The step to `coverage`, which comes `after` the beginning of the present one.
    fn planned(
        &self,
        standing: &Standing,
        coverage: f64,
        after: Duration,
    ) -> Result<Schedule, RegistryError> {
        let began = match self.began(standing) {
            Err(error) if !is_away(&error) => {
                // Remote callers do not read the paths of the store.
                tracing::error!(experiment = standing.outline.id, %error, "a schedule halts: its past is damaged");
                Began { time: String::new(), halted: UNREADABLE.to_owned() }
            }
            began => began?,
        };
        let (at, halted) = match (due(&began.time, after), began.halted) {
            (Some(at), halted) if halted.is_empty() => (at, halted),
            (None, halted) if halted.is_empty() => {
                (String::new(), format!("the time {:?} of a promotion cannot be read", began.time))
            }
            (_, halted) => (String::new(), halted),
        };
        Ok(Schedule { coverage, at, halted, held: String::new() })
    }

    /// Whether the experiment has a schedule that takes no step.
    pub(super) fn is_halted(&self, standing: &Standing) -> Result<bool, RegistryError> {
        Ok(self.schedule(standing)?.is_some_and(|schedule| !schedule.halted.is_empty()))
    }

    /// The promotion since which the experiment is what it is.
    fn began(&self, Standing { outline, sequence, .. }: &Standing) -> Result<Began, RegistryError> {
        let mut since: Option<Since> = None;
        let mut before: Option<(Current, Option<State>)> = None;
        // A promotion that came after this view belongs to the next one.
        let is_whole = self.look_back(sequence.saturating_add(1), |promotion| {
            let told = self.told(promotion.release)?;
            let now = told.experiments.get(&outline.id);
            if now.is_some_and(|(_, definition)| *definition == outline.definition) {
                let found = Since::of(promotion, &told, &outline.id);
                // A start begins it anew, over whatever was there.
                let is_start = found.is_own() && matches!(found.step, Some((StepAction::Start, _)));
                since = Some(found);
                return Ok(is_start);
            }
            before = Some((promotion.clone(), now.map(|(state, _)| *state)));
            Ok(true)
        })?;
        let Some(since) = since else {
            return Err(RegistryError::Damaged(
                "the promotion of the current release is not there".to_owned(),
            ));
        };
        let halted = match before {
            Some((before, state)) => {
                let is_again = since.step.is_none() && self.was_promoted_before(&since, &before)?;
                since.halted(is_again, state)
            }
            // Nothing came before it: the store was made with it.
            None if is_whole => since.halted(false, None),
            None => {
                format!("what began it is not among the last {MOST_LOOKED_AT} promotions")
            }
        };
        Ok(Began { time: since.time, halted })
    }

    /// Whether a release of a person had been promoted already when it came after `before`. After one of a lower number
    /// it counts as new: the experiment begins anew with it. So mostly nothing has to be read.
    fn was_promoted_before(&self, since: &Since, before: &Current) -> Result<bool, RegistryError> {
        if since.release > before.release {
            return Ok(false);
        }
        let mut is_again = false;
        let is_whole = self.look_back(before.sequence, |promotion| {
            is_again = promotion.release == since.release;
            Ok(is_again)
        })?;
        // What cannot be known halts a schedule.
        Ok(is_again || !is_whole)
    }

    /// When the next step of its schedule was due; `None` if it is not due yet.
    pub(super) fn due_at<'s>(
        &self,
        standing: &'s Standing,
        now: DateTime<Utc>,
    ) -> Result<Option<&'s str>, RegistryError> {
        let schedule = self.schedule(standing)?.filter(|schedule| schedule.halted.is_empty());
        let at = schedule.map(|schedule| schedule.at.as_str());
        Ok(at.filter(|at| DateTime::parse_from_rfc3339(at).is_ok_and(|at| now >= at.to_utc())))
    }
}

/// The first promotion that made an experiment what it is, as far as it is known.
struct Since {
    release: u64,
    sequence: u64,
    time: String,
    author: String,
    /// What the release does to the experiment, and whether its schedule made it.
    step: Option<(StepAction, bool)>,
    /// The sequence of the promotion over which the step was made.
    over: u64,
}

impl Since {
    fn of(promotion: &Current, told: &Told, id: &str) -> Self {
        let step = told.step.as_ref().filter(|step| step.experiment == id);
        Self {
            release: promotion.release,
            sequence: promotion.sequence,
            time: promotion.time.clone(),
            author: if step.is_some() { promotion.author.clone() } else { told.author.clone() },
            step: step.map(|step| (step.action, step.scheduled)),
            over: step.map_or(0, |step| step.over),
        }
    }

    /// Whether the step itself promoted the release, over the promotion that it was made over. Later, a person has
    /// promoted it again.
    fn is_own(&self) -> bool {
        self.step.is_some() && self.over.checked_add(1) == Some(self.sequence)
    }

    /// Why the schedule does not go on from here, where the experiment was in this `state` before; `is_again`: a person
    /// has promoted a release of a person again.
    fn halted(&self, is_again: bool, state: Option<State>) -> String {
        let Self { release, author, step, .. } = self;
        let is_again = if step.is_some() { !self.is_own() } else { is_again };
        if is_again {
            return format!("release {release} was promoted again");
        }
        match step {
            Some((StepAction::Start, _) | (StepAction::Ramp, true)) => String::new(),
            Some((action, _)) => format!("{author} did this: {}, in release {release}", action.word()),
            None if state == Some(State::Running) => format!("{author} has changed it in release {release}"),
            None => String::new(),
        }
    }
}

/// The end of a time that began at `began`, both RFC 3339.
fn due(began: &str, after: Duration) -> Option<String> {
    let began = DateTime::parse_from_rfc3339(began).ok()?.to_utc();
    let at = began.checked_add_signed(TimeDelta::from_std(after).ok()?)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_due_after_its_time_to_the_second() {
        let at = due("2026-05-01T23:59:30Z", Duration::from_mins(1));
        assert_eq!(at.as_deref(), Some("2026-05-02T00:00:30Z"));
        assert_eq!(due("yesterday", Duration::from_mins(1)), None);
    }

    #[test]
    fn a_schedule_goes_on_only_from_what_was_meant_to() {
        let since = |step, over| Since {
            release: 7,
            sequence: 9,
            time: String::new(),
            author: "anna".to_owned(),
            step,
            over,
        };
        let running = Some(State::Running);
        // What began it at sequence 9, what that was made over, whether a person promoted it again, the state before,
        // and why it halts.
        let cases = [
            (Some((StepAction::Start, false)), 8, false, Some(State::Draft), ""),
            (Some((StepAction::Ramp, true)), 8, false, running, ""),
            (Some((StepAction::Ramp, false)), 8, false, running, "anna did this: ramp, in release 7"),
            (None, 0, false, running, "anna has changed it in release 7"),
            (None, 0, false, Some(State::Draft), ""),
            (None, 0, false, Some(State::Paused), ""),
            (None, 0, false, None, ""),
            (None, 0, true, Some(State::Draft), "release 7 was promoted again"),
            (Some((StepAction::Ramp, true)), 6, false, running, "release 7 was promoted again"),
            (Some((StepAction::Start, false)), 6, false, running, "release 7 was promoted again"),
            // Of a version that did not note it.
            (Some((StepAction::Start, false)), 0, false, Some(State::Draft), "release 7 was promoted again"),
        ];
        for (step, over, is_again, state, expected) in cases {
            assert_eq!(
                since(step, over).halted(is_again, state),
                expected,
                "{step:?} over {over} with {state:?}"
            );
        }
    }
}
