//! Ramps: experiments that start, cover more customers, pause, stop and are concluded, each by a release.
//!
//! A step is a release made from `CURRENT` that differs in one experiment alone. It is promoted only over the release
//! that it was made from. If somebody promoted something else meanwhile, it is made again from that. So nothing that a
//! person promoted is ever undone. A step checks that its text loads; models do not change, so no gate runs.
//!
//! Start reading at [`Ramps::change`]. `ramps/schedule.rs` says when a schedule takes its next step,
//! `ramps/guardrails.rs` what may hold it or end the experiment, `ramps/advance.rs` who takes the steps that nobody asks
//! for, and `ramps/stops.rs` what happens to a stop while the store is away.

mod advance;
mod guardrails;
mod history;
mod kept;
mod patience;
mod schedule;
mod step;
mod stops;
#[cfg(test)]
mod tests;
mod unpromoted;
mod view;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use experiment::State;
use experiment::edit::{self, Concluded, EditError};

use self::advance::Advancing;
pub use self::guardrails::{Guardrails, Judgement};
use self::history::History;
use self::kept::Kept;
use self::step::{Step, told};
use self::stops::Stops;
use self::unpromoted::Unpromoted;
use self::view::{Standing, View};
use super::deployer::Turn;
use super::records::{
    Change, ChangedExperiment, ConcludedExperiment, ExperimentDetail, ExperimentList, ExperimentStep, Order,
    StepAction,
};
use super::{Deployer, PromotionRequest, Registry, RegistryError, ReleaseDraft, Store};
use telemetry::Metrics;
use work::Call;

/// How often a step is made again because something else was promoted meanwhile.
const ATTEMPTS: usize = 16;

/// How many of the newest releases are searched for the one that an earlier call concluded.
const CONCLUDED_AMONG: usize = 100;

/// What ramps need.
pub struct RampsParts {
    /// The store.
    pub store: Store,
    /// Makes the releases of winners.
    pub registry: Registry,
    /// Promotes steps.
    pub deployer: Deployer,
    /// Counts steps and pending stops.
    pub metrics: Arc<Metrics>,
    /// What the lease of a turn calls this server, for people who look into a bucket.
    pub server: String,
    /// The file in which pending stops outlive the process, in a directory that this process alone writes to. `None`:
    /// they are forgotten when it ends.
    pub pending_stops: Option<PathBuf>,
    /// What guardrails say of experiments; `None`: nobody looks here, and a schedule with guardrails takes no step.
    pub guardrails: Option<Arc<dyn Guardrails>>,
}

/// Changes experiments; clones are handles to the same one.
#[derive(Clone)]
pub struct Ramps {
    shared: Arc<Shared>,
}

struct Shared {
    parts: RampsParts,
    /// What the store had when it was last read.
    view: Mutex<Option<Arc<View>>>,
    history: Mutex<History>,
    stops: Mutex<Stops>,
    /// Releases that were made for steps and could not be promoted.
    unpromoted: Mutex<Unpromoted>,
    advancing: Mutex<Advancing>,
    /// Whether the server is about to end.
    is_leaving: AtomicBool,
}

impl fmt::Debug for Ramps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ramps").field(&self.shared.parts.store.location()).finish()
    }
}

impl Ramps {
    /// Ramps over a store, with the stops that an earlier process left pending.
    #[must_use]
    pub fn new(mut parts: RampsParts) -> Self {
        let kept = parts.pending_stops.take().map(|path| Kept::new(path, parts.store.location()));
        let ramps = Self {
            shared: Arc::new(Shared {
                parts,
                view: Mutex::default(),
                history: Mutex::default(),
                stops: Mutex::new(Stops::left_in(kept)),
                unpromoted: Mutex::default(),
                advancing: Mutex::default(),
                is_leaving: AtomicBool::new(false),
            }),
        };
        ramps.count(&ramps.stops());
        ramps
    }

    /// The experiments of the current release, or of the last one that was read while the store is away.
    ///
    /// # Errors
    /// When the store cannot be read and never was.
    pub fn list(&self) -> Result<ExperimentList, RegistryError> {
        let (view, store_error) = self.last_view()?;
        let experiments = view.standings.iter().map(|standing| self.summary(standing)).collect();
        Ok(ExperimentList { release: view.current.release, experiments, store_error })
    }

    /// One experiment, with what was done to it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; as [`Ramps::list`].
    pub fn get(&self, id: &str) -> Result<ExperimentDetail, RegistryError> {
        let (view, mut store_error) = self.last_view()?;
        let experiment = self.summary(view.standing(id)?);
        let steps = self.steps_of(id).unwrap_or_else(|error| {
            store_error = error.to_string();
            Vec::new()
        });
        Ok(ExperimentDetail { release: view.current.release, experiment, steps, store_error })
    }

    /// Changes an experiment for everyone: makes a release from the current one and promotes it. Writes nothing if the
    /// experiment is so already.
    ///
    /// A stop that cannot be written because the store is away is remembered, and [`Ramps::retry_stops`] tries it
    /// again.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Precondition`] where the state of the experiment does not allow
    /// it; [`RegistryError::Unsound`] where the reader refuses the coverage; [`RegistryError::Overtaken`] where other
    /// promotions came first [`ATTEMPTS`] times; [`RegistryError::StopPending`].
    pub fn change(&self, change: &Change, call: &Call) -> Result<ChangedExperiment, RegistryError> {
        let done = self.change_once(change, call);
        match (change.order, done) {
            (Order::Stop, Err(error)) => Err(self.pend(change, error)),
            (Order::Stop, Ok(done)) => {
                self.settle(&change.experiment);
                Ok(done)
            }
            (Order::Start | Order::Ramp { .. } | Order::Pause, done) => done,
        }
    }

    /// As [`Ramps::change`], for a process that does not stay: a stop is not remembered.
    ///
    /// # Errors
    /// As [`Ramps::change`], without [`RegistryError::StopPending`].
    pub fn change_once(&self, change: &Change, call: &Call) -> Result<ChangedExperiment, RegistryError> {
        let Change { experiment, order, author, reason } = change;
        self.step(experiment, (author, reason), call, |standing| {
            let step = standing.ordered(*order)?;
            // One that runs already starts again only where its schedule is halted.
            let again = matches!(order, Order::Start) && standing.outline.state == State::Running;
            Ok(if again && !self.is_halted(standing)? { None } else { step })
        })
    }

    /// Makes and promotes the step that `decide` derives from the present, until no other promotion comes between.
    /// `None`: nothing is to be done.
    fn step<'e>(
        &self,
        id: &str,
        (author, reason): (&str, &str),
        call: &Call,
        decide: impl Fn(&Standing) -> Result<Option<Step<'e>>, RegistryError>,
    ) -> Result<ChangedExperiment, RegistryError> {
        let RampsParts { store, deployer, metrics, .. } = &self.shared.parts;
        let mut current = 0;
        for _ in 0..ATTEMPTS {
            let view = self.read_view()?;
            self.keep_unpromoted(&view.current);
            let standing = view.standing(id)?;
            current = view.current.release;
            let Some(step) = decide(standing)? else { return Ok(unchanged(&view, standing)) };
            let covers_more = matches!(step.action, StepAction::Start | StepAction::Ramp);
            if covers_more && self.stops().pending(id).is_some() {
                if step.scheduled {
                    return Ok(unchanged(&view, standing));
                }
                let message =
                    format!("a stop of experiment `{id}` is pending on this server; withdraw it first");
                return Err(RegistryError::Precondition(message));
            }
            let base = store.release(current)?;
            let policy = standing.edited(&base.policy, step)?;
            // What cannot be promoted is not written. Its promotion loads it again, but not its models, which are kept
            // until then. A pause or a stop of what serves here is not checked: no coverage of theirs can be wrong.
            let must_check = covers_more || !deployer.has_in_memory(current);
            let checked = must_check.then(|| deployer.check_policy(&base, &policy)).transpose()?;
            call.check()?;
            if store.current()?.current != view.current {
                continue;
            }
            let made = ExperimentStep {
                experiment: id.to_owned(),
                action: step.action,
                base: current,
                over: view.current.sequence,
                coverage: step.coverage,
                scheduled: step.scheduled,
                winner: String::new(),
                evidence: step.evidence.cloned(),
            };
            let note = told(id, step, reason);
            let release = self.release_of(made, (author, note), &base, &policy)?;
            let (author, reason) = (author.to_owned(), reason.to_owned());
            let request = PromotionRequest { release, author, reason, ..PromotionRequest::default() };
            // What ends arms waits for no other load.
            let turn = if covers_more { Turn::InLine } else { Turn::AtOnce };
            let promoted = deployer.promote_step(&request, &view.current, turn, call);
            drop(checked);
            match promoted {
                Ok(promotion) => {
                    metrics.experiment_step(step.action.word(), step.scheduled);
                    tracing::info!(
                        experiment = id,
                        action = step.action.word(),
                        coverage = step.coverage,
                        release,
                        scheduled = step.scheduled,
                        by = request.author,
                        "the experiment has changed"
                    );
                    return Ok(ChangedExperiment {
                        id: id.to_owned(),
                        state: step.state,
                        coverage: step.coverage,
                        changed: true,
                        current: promotion.current,
                        overtaken_by: promotion.overtaken_by,
                    });
                }
                Err(RegistryError::Overtaken { current: other, .. }) => {
                    tracing::debug!(experiment = id, release = other, "another promotion came first");
                    current = other;
                }
                Err(error) => {
                    self.not_promoted(release, &view.current, &error);
                    return Err(error);
                }
            }
        }
        let message = format!("other promotions came first {ATTEMPTS} times; call again");
        Err(RegistryError::Overtaken { current, message })
    }

    /// Stops an experiment in a release in which what its `winner` changes holds for everyone. A person may promote it.
    /// Repeated while the same release is current, it returns the same release.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Precondition`] where the experiment never ran, or what the winner
    /// changes cannot be written; as [`Registry::create_release`].
    pub fn conclude(
        &self,
        (id, winner): (&str, &str),
        author: &str,
        note: &str,
        call: &Call,
    ) -> Result<ConcludedExperiment, RegistryError> {
        let RampsParts { store, registry, .. } = &self.shared.parts;
        let view = self.read_view()?;
        let standing = view.standing(id)?;
        if standing.outline.state == State::Draft {
            let message = format!("experiment `{id}` is a draft: nobody was in an arm, so none has won");
            return Err(RegistryError::Precondition(message));
        }
        let base = store.release(view.current.release)?;
        let Concluded { policy, models } = edit::conclude(&base.policy, id, winner)?;
        let step = ExperimentStep {
            experiment: id.to_owned(),
            action: StepAction::Conclude,
            base: base.record.number,
            over: 0,
            coverage: standing.outline.coverage,
            scheduled: false,
            winner: winner.to_owned(),
            evidence: None,
        };
        let later: Vec<u64> = store
            .releases()?
            .into_iter()
            .rev()
            .take_while(|number| *number > step.base)
            .take(CONCLUDED_AMONG)
            .collect();
        let earlier =
            store.release_records(&later)?.into_iter().find(|record| record.step.as_ref() == Some(&step));
        if let Some(record) = earlier {
            return Ok(ConcludedExperiment { record, created: false, warnings: Vec::new() });
        }
        let note =
            if note.is_empty() { format!("experiment {id}: {winner} has won") } else { note.to_owned() };
        let draft = ReleaseDraft {
            base: step.base,
            models,
            policy: Some(policy),
            author: author.to_owned(),
            note,
            step: Some(step),
            ..ReleaseDraft::default()
        };
        let made = registry.create_release(&draft, call)?;
        Ok(ConcludedExperiment { record: made.record, created: true, warnings: made.warnings })
    }

    fn parts(&self) -> &RampsParts {
        &self.shared.parts
    }
}

fn unchanged(view: &View, standing: &Standing) -> ChangedExperiment {
    ChangedExperiment {
        id: standing.outline.id.clone(),
        state: standing.outline.state,
        coverage: standing.outline.coverage,
        changed: false,
        current: view.current.clone(),
        overtaken_by: 0,
    }
}

impl From<EditError> for RegistryError {
    fn from(error: EditError) -> Self {
        let text = error.to_string();
        match error {
            EditError::NoExperiment { .. } | EditError::NoVariant { .. } => Self::NotFound(text),
            EditError::Elsewhere { .. } | EditError::Layout { .. } => Self::Precondition(text),
            EditError::Unreadable(_) => Self::Damaged(text),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
