//! Schedules: when an experiment covers more customers by itself.
//!
//! A step is due once the coverage before it has lasted its time, from the promotion that began it, by the clock of the
//! server that takes the step. All that decides is in the store, so a restart changes nothing. A schedule goes on only
//! from a coverage that a person began, by a start or by a release of their own, or that the schedule itself began. It
//! halts where a person has changed what it had begun; `proffer experiment start` lets it go on.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use experiment::{Outline, State};

use super::history::Told;
use super::view::Standing;
use super::{Ramps, Step, lock};
use crate::RegistryError;
use crate::records::{Current, Schedule, StepAction};
use work::Call;

/// Who takes the steps of a schedule.
const AUTHOR: &str = "schedule";

/// The longest wait before a step that failed is tried again.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the last attempt of this server at a step ended.
#[derive(Debug, Default)]
pub(super) struct Advancing {
    /// Why it failed; told once.
    trouble: String,
    failed: Option<(Instant, Duration)>,
}

impl Advancing {
    fn may_try(&self) -> bool {
        self.failed.is_none_or(|(at, patience)| at.elapsed() >= patience)
    }

    fn note(&mut self, result: Result<(), RegistryError>) {
        let Err(error) = result else {
            *self = Self::default();
            return;
        };
        let trouble = error.to_string();
        if trouble != self.trouble {
            tracing::error!(error = trouble, "a schedule could not take its step; it is tried again");
        }
        let last = self.failed.map_or(Duration::from_millis(500), |(_, patience)| patience);
        (self.trouble, self.failed) = (trouble, Some((Instant::now(), PATIENCE.min(2 * last))));
    }
}

/// What began the present coverage of an experiment.
#[derive(Debug, PartialEq)]
struct Began {
    time: String,
    /// Why the schedule does not go on from there; empty: it does.
    halted: String,
}

impl Ramps {
    /// What the schedule of an experiment of the current release does next.
    pub(super) fn schedule(
        &self,
        outline: &Outline,
        current: &Current,
    ) -> Result<Option<Schedule>, RegistryError> {
        let Some(next) = outline.next_step().filter(|_| outline.state == State::Running) else {
            return Ok(None);
        };
        let began = match self.began(outline, current) {
            Err(RegistryError::Damaged(message)) => Began { time: String::new(), halted: message },
            began => began?,
        };
        let (at, halted) = match (due(&began.time, next.after), began.halted) {
            (Some(at), halted) if halted.is_empty() => (at, halted),
            (None, halted) if halted.is_empty() => {
                (String::new(), format!("the time {:?} of a promotion cannot be read", began.time))
            }
            (_, halted) => (String::new(), halted),
        };
        Ok(Some(Schedule { coverage: next.coverage, at, halted }))
    }

    /// The promotion since which the experiment is what it is.
    fn began(&self, outline: &Outline, current: &Current) -> Result<Began, RegistryError> {
        let mut since: Option<Since> = None;
        let mut halted = None;
        self.look_back(|promotion, told| {
            let now = told.experiments.get(&outline.id);
            // A promotion that came after this view belongs to the next one.
            if promotion.sequence > current.sequence {
                return Ok(false);
            }
            if now.is_some_and(|(_, definition)| *definition == outline.definition) {
                let started = is_start(told, &outline.id);
                since = Some(Since::of(promotion, told, &outline.id));
                if started {
                    halted = Some(String::new());
                }
                return Ok(started);
            }
            let state = now.map(|(state, _)| *state);
            halted = since.as_ref().map(|since| since.halted(promotion.release, state));
            Ok(true)
        })?;
        let Some(since) = since else {
            return Err(RegistryError::Damaged(
                "the promotion of the current release is not there".to_owned(),
            ));
        };
        // Nothing came before it: the store was made with it.
        let halted = halted.unwrap_or_else(|| since.halted(0, None));
        Ok(Began { time: since.time, halted })
    }

    /// Takes the steps that are due, if it is the turn of this server.
    pub(super) fn advance(&self, now: DateTime<Utc>) {
        let mut advancing = lock(&self.shared.advancing);
        if advancing.may_try() {
            let result = self.take_due_steps(now);
            advancing.note(result);
        }
    }

    fn take_due_steps(&self, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let parts = self.parts();
        // A server follows `CURRENT` anyway.
        let followed = parts.deployer.state().borrow().current.clone();
        let current = followed.map_or_else(|| parts.store.current().map(|read| read.current), Ok)?;
        if !self.view_of(current)?.standings.iter().any(|standing| standing.is_due(now)) {
            return Ok(());
        }
        let Some(_turn) = parts.store.take_turn(&parts.server, now)? else {
            tracing::debug!("a step of a schedule is due, and it is the turn of another server");
            return Ok(());
        };
        // Another server may have had the turn just before.
        let view = self.read_view()?;
        for standing in view.standings.iter().filter(|standing| standing.is_due(now)) {
            let Outline { id, definition, .. } = &standing.outline;
            let due = standing.schedule.as_ref().map_or("", |schedule| schedule.at.as_str());
            let reason = format!("its schedule: due at {due}");
            self.step(id, (AUTHOR, &reason), &Call::default(), |present| {
                let is_same = present.outline.definition == *definition && present.is_due(now);
                Ok(present.outline.next_step().filter(|_| is_same).map(|next| Step {
                    action: StepAction::Ramp,
                    state: State::Running,
                    coverage: next.coverage,
                    scheduled: true,
                }))
            })?;
        }
        Ok(())
    }
}

impl Standing {
    /// Whether the next step of its schedule is due.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        let at = self.schedule.as_ref().filter(|schedule| schedule.halted.is_empty());
        let at = at.and_then(|schedule| DateTime::parse_from_rfc3339(&schedule.at).ok());
        at.is_some_and(|at| now >= at.to_utc())
    }
}

/// The first promotion that made an experiment what it is, as far as it is known.
struct Since {
    release: u64,
    time: String,
    author: String,
    /// Whether the release is a step of the experiment, and whether its schedule made it.
    step: Option<(StepAction, bool)>,
}

impl Since {
    fn of(promotion: &Current, told: &Told, id: &str) -> Self {
        let step = told.step.as_ref().filter(|step| step.experiment == id);
        Self {
            release: promotion.release,
            time: promotion.time.clone(),
            author: if step.is_some() { promotion.author.clone() } else { told.author.clone() },
            step: step.map(|step| (step.action, step.scheduled)),
        }
    }

    /// Why the schedule does not go on from here, where release `before` was current before, with the experiment in
    /// this `state`.
    fn halted(&self, before: u64, state: Option<State>) -> String {
        let Self { release, author, step, .. } = self;
        if *release < before {
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

fn is_start(told: &Told, id: &str) -> bool {
    told.step.as_ref().is_some_and(|step| step.experiment == id && step.action == StepAction::Start)
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
        let since = |step| Since { release: 7, time: String::new(), author: "anna".to_owned(), step };
        let running = Some(State::Running);
        // What began it, the release before and the state there, and why it halts.
        let cases = [
            (Some((StepAction::Start, false)), 6, Some(State::Draft), ""),
            (Some((StepAction::Ramp, true)), 6, running, ""),
            (Some((StepAction::Ramp, false)), 6, running, "anna did this: ramp, in release 7"),
            (None, 6, running, "anna has changed it in release 7"),
            (None, 6, Some(State::Draft), ""),
            (None, 6, Some(State::Paused), ""),
            (None, 6, None, ""),
            (None, 8, Some(State::Draft), "release 7 was promoted again"),
            (Some((StepAction::Ramp, true)), 8, running, "release 7 was promoted again"),
        ];
        for (step, before, state, expected) in cases {
            assert_eq!(since(step).halted(before, state), expected, "{step:?} after {before} with {state:?}");
        }
    }
}
