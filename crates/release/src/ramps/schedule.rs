//! Schedules: when an experiment covers more customers by itself.
//!
//! A step is due once the coverage before it has lasted its time, from the promotion that began it, by the clock of the
//! server that takes the step. All that decides is in the store, so a restart changes nothing. A schedule goes on only
//! from a coverage that a person began, by a start or by a release of their own, or that the schedule itself began. It
//! halts where a person has changed what it had begun; `proffer experiment start` lets it go on.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use experiment::{Outline, State};

use super::history::{MOST_LOOKED_AT, Told};
use super::view::Standing;
use super::{Ramps, Step, lock};
use crate::records::{Current, Schedule, StepAction};
use crate::{RegistryError, StoreError};
use work::Call;

/// Who takes the steps of a schedule.
const AUTHOR: &str = "schedule";

/// The longest wait before a step that failed is tried again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a schedule halts whose past is damaged.
const UNREADABLE: &str =
    "a promotion before it, or its release, cannot be read; the log names the file to repair";

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

    /// Notes why steps failed; empty: none did.
    fn note(&mut self, trouble: String) {
        if trouble.is_empty() {
            *self = Self::default();
            return;
        }
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
        Ok(Schedule { coverage, at, halted })
    }

    /// Whether the experiment has a schedule that takes no step.
    pub(super) fn is_halted(&self, standing: &Standing) -> Result<bool, RegistryError> {
        Ok(self.schedule(standing)?.is_some_and(|schedule| !schedule.halted.is_empty()))
    }

    /// The promotion since which the experiment is what it is.
    fn began(&self, Standing { outline, sequence, .. }: &Standing) -> Result<Began, RegistryError> {
        let mut since: Option<Since> = None;
        let mut halted = None;
        let is_whole = self.look_back(|promotion| {
            // A promotion that came after this view belongs to the next one.
            if promotion.sequence > *sequence {
                return Ok(false);
            }
            // When a start is made, its number is above all others. After a higher one it is promoted again, and says
            // nothing by itself.
            if since.as_ref().is_some_and(|since| since.is_start() && promotion.release < since.release) {
                halted = Some(String::new());
                return Ok(true);
            }
            let told = self.told(promotion.release)?;
            let now = told.experiments.get(&outline.id);
            if now.is_some_and(|(_, definition)| *definition == outline.definition) {
                since = Some(Since::of(promotion, &told, &outline.id));
                return Ok(false);
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
        let halted = match halted {
            Some(halted) => halted,
            // Nothing came before it: the store was made with it.
            None if is_whole => since.halted(0, None),
            None => {
                format!("what began it is not among the last {MOST_LOOKED_AT} promotions")
            }
        };
        Ok(Began { time: since.time, halted })
    }

    /// Takes the steps that are due, if it is the turn of this server.
    pub(super) fn advance(&self, now: DateTime<Utc>) {
        let mut advancing = lock(&self.shared.advancing);
        if advancing.may_try() {
            let trouble = self.take_due_steps(now).unwrap_or_else(|error| error.to_string());
            advancing.note(trouble);
        }
    }

    /// Returns why steps failed; empty: none did.
    fn take_due_steps(&self, now: DateTime<Utc>) -> Result<String, RegistryError> {
        let parts = self.parts();
        // A server follows `CURRENT` anyway.
        let followed = parts.deployer.state().borrow().current.clone();
        let current = followed.map_or_else(|| parts.store.current().map(|read| read.current), Ok)?;
        let mut is_any_due = false;
        for standing in &self.view_of(current)?.standings {
            is_any_due |= self.due_at(standing, now)?.is_some();
        }
        if !is_any_due {
            return Ok(String::new());
        }
        let Some(_turn) = parts.store.take_turn(&parts.server, now)? else {
            tracing::debug!("a step of a schedule is due, and it is the turn of another server");
            return Ok(String::new());
        };
        // Another server may have had the turn just before.
        let view = self.read_view()?;
        let steps = view.standings.iter();
        Ok(take_all(steps.map(|standing| (standing.outline.id.as_str(), self.take_due_step(standing, now)))))
    }

    /// Takes the step of one experiment, if it is due.
    fn take_due_step(&self, standing: &Standing, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let Some(due) = self.due_at(standing, now)? else { return Ok(()) };
        let Outline { id, definition, .. } = &standing.outline;
        let reason = format!("its schedule: due at {due}");
        self.step(id, (AUTHOR, &reason), &Call::default(), |present| {
            let is_same = present.outline.definition == *definition && self.due_at(present, now)?.is_some();
            Ok(present.outline.next_step().filter(|_| is_same).map(|next| Step {
                action: StepAction::Ramp,
                state: State::Running,
                coverage: next.coverage,
                scheduled: true,
            }))
        })?;
        Ok(())
    }

    /// When the next step of its schedule was due; `None` if it is not due yet.
    fn due_at<'s>(
        &self,
        standing: &'s Standing,
        now: DateTime<Utc>,
    ) -> Result<Option<&'s str>, RegistryError> {
        let schedule = self.schedule(standing)?.filter(|schedule| schedule.halted.is_empty());
        let at = schedule.map(|schedule| schedule.at.as_str());
        Ok(at.filter(|at| DateTime::parse_from_rfc3339(at).is_ok_and(|at| now >= at.to_utc())))
    }
}

/// Takes one step after the other: one that fails does not keep the others from theirs, unless the store is away.
/// Returns why steps failed.
fn take_all<'s>(steps: impl Iterator<Item = (&'s str, Result<(), RegistryError>)>) -> String {
    let mut troubles = Vec::new();
    for (id, done) in steps {
        match done {
            Ok(()) => {}
            Err(RegistryError::NotFound(message)) => {
                tracing::debug!(experiment = id, message, "a step is not due any more");
            }
            Err(error) => {
                troubles.push(format!("experiment `{id}`: {error}"));
                if is_away(&error) {
                    break;
                }
            }
        }
    }
    troubles.join("; ")
}

/// Whether the store could not be reached or read, so that to try again may help.
fn is_away(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Store(error) if !matches!(error, StoreError::Damaged { .. }))
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

    fn is_start(&self) -> bool {
        matches!(self.step, Some((StepAction::Start, _)))
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
            (Some((StepAction::Start, false)), 8, running, "release 7 was promoted again"),
        ];
        for (step, before, state, expected) in cases {
            assert_eq!(since(step).halted(before, state), expected, "{step:?} after {before} with {state:?}");
        }
    }

    #[test]
    fn a_step_that_fails_does_not_keep_the_others_from_theirs() {
        let mut taken = Vec::new();
        let mut take = |results: Vec<Result<(), RegistryError>>| {
            taken.clear();
            let steps = ["a", "b", "c"].into_iter().zip(results).inspect(|(id, _)| taken.push(*id));
            (take_all(steps), taken.len())
        };
        let refused = || Err(RegistryError::Precondition("no".to_owned()));
        let gone = Err(RegistryError::NotFound("gone".to_owned()));
        let expected = "experiment `a`: no; experiment `c`: no".to_owned();
        assert_eq!(take(vec![refused(), Ok(()), refused()]), (expected, 3));
        assert_eq!(take(vec![gone, Ok(()), Ok(())]), (String::new(), 3));
        // Each of the others would wait for the store as long.
        let away = StoreError::Unreachable { store: "s".to_owned(), message: "m".to_owned() };
        assert_eq!(take(vec![Err(RegistryError::Store(away)), Ok(()), Ok(())]).1, 1);
        let damaged = StoreError::Damaged { path: "p".to_owned(), message: "m".to_owned() };
        assert_eq!(take(vec![Err(RegistryError::Store(damaged)), Ok(()), Ok(())]).1, 3);
    }
}
