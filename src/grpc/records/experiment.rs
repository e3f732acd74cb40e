//! Experiments as messages and back.

use super::{Unreadable, all, each, present, wire};
use experiment::State;
use release::{
    ChangedExperiment, ConcludedExperiment, ExperimentDetail, ExperimentList, ExperimentStep,
    ExperimentSummary, GuardrailEvidence, PendingStop, Schedule, StepAction, StepRecord, VariantSummary,
};

fn to_state(state: State) -> i32 {
    let state = match state {
        State::Draft => wire::ExperimentState::Draft,
        State::Running => wire::ExperimentState::Running,
        State::Paused => wire::ExperimentState::Paused,
        State::Stopped => wire::ExperimentState::Stopped,
    };
    state.into()
}

fn from_state(state: i32) -> Result<State, Unreadable> {
    match wire::ExperimentState::try_from(state) {
        Ok(wire::ExperimentState::Draft) => Ok(State::Draft),
        Ok(wire::ExperimentState::Running) => Ok(State::Running),
        Ok(wire::ExperimentState::Paused) => Ok(State::Paused),
        Ok(wire::ExperimentState::Stopped) => Ok(State::Stopped),
        Ok(wire::ExperimentState::Unspecified) | Err(_) => {
            Err(Unreadable(format!("an experiment has the state {state}")))
        }
    }
}

fn to_action(action: StepAction) -> i32 {
    let action = match action {
        StepAction::Start => wire::ExperimentAction::Start,
        StepAction::Ramp => wire::ExperimentAction::Ramp,
        StepAction::Pause => wire::ExperimentAction::Pause,
        StepAction::Stop => wire::ExperimentAction::Stop,
        StepAction::Conclude => wire::ExperimentAction::Conclude,
        StepAction::RollBack => wire::ExperimentAction::RollBack,
    };
    action.into()
}

fn from_action(action: i32) -> Result<StepAction, Unreadable> {
    match wire::ExperimentAction::try_from(action) {
        Ok(wire::ExperimentAction::Start) => Ok(StepAction::Start),
        Ok(wire::ExperimentAction::Ramp) => Ok(StepAction::Ramp),
        Ok(wire::ExperimentAction::Pause) => Ok(StepAction::Pause),
        Ok(wire::ExperimentAction::Stop) => Ok(StepAction::Stop),
        Ok(wire::ExperimentAction::Conclude) => Ok(StepAction::Conclude),
        Ok(wire::ExperimentAction::RollBack) => Ok(StepAction::RollBack),
        Ok(wire::ExperimentAction::Unspecified) | Err(_) => {
            Err(Unreadable(format!("a step of an experiment has the action {action}")))
        }
    }
}

impl From<GuardrailEvidence> for wire::GuardrailEvidence {
    fn from(evidence: GuardrailEvidence) -> Self {
        let GuardrailEvidence { metric, variant, delta, low, high, tolerate, customers } = evidence;
        Self { metric, variant, delta, low, high, tolerate, customers }
    }
}

impl From<wire::GuardrailEvidence> for GuardrailEvidence {
    fn from(evidence: wire::GuardrailEvidence) -> Self {
        let wire::GuardrailEvidence { metric, variant, delta, low, high, tolerate, customers } = evidence;
        Self { metric, variant, delta, low, high, tolerate, customers }
    }
}

impl From<ExperimentStep> for wire::ExperimentStep {
    fn from(step: ExperimentStep) -> Self {
        let ExperimentStep { experiment, action, base, over, coverage, scheduled, winner, evidence } = step;
        let (action, evidence) = (to_action(action), evidence.map(Into::into));
        Self { experiment, action, base, over, coverage, scheduled, winner, evidence }
    }
}

impl TryFrom<wire::ExperimentStep> for ExperimentStep {
    type Error = Unreadable;

    fn try_from(step: wire::ExperimentStep) -> Result<Self, Unreadable> {
        let wire::ExperimentStep { experiment, action, base, over, coverage, scheduled, winner, evidence } =
            step;
        let (action, evidence) = (from_action(action)?, evidence.map(Into::into));
        Ok(Self { experiment, action, base, over, coverage, scheduled, winner, evidence })
    }
}

impl From<VariantSummary> for wire::ExperimentVariant {
    fn from(variant: VariantSummary) -> Self {
        let VariantSummary { id, weight, changes } = variant;
        Self { id, weight, changes }
    }
}

impl From<wire::ExperimentVariant> for VariantSummary {
    fn from(variant: wire::ExperimentVariant) -> Self {
        let wire::ExperimentVariant { id, weight, changes } = variant;
        Self { id, weight, changes }
    }
}

impl From<Schedule> for wire::ExperimentSchedule {
    fn from(schedule: Schedule) -> Self {
        let Schedule { coverage, at, halted, held } = schedule;
        Self { coverage, at, halted, held }
    }
}

impl From<wire::ExperimentSchedule> for Schedule {
    fn from(schedule: wire::ExperimentSchedule) -> Self {
        let wire::ExperimentSchedule { coverage, at, halted, held } = schedule;
        Self { coverage, at, halted, held }
    }
}

impl From<PendingStop> for wire::PendingStop {
    fn from(stop: PendingStop) -> Self {
        let PendingStop { author, reason, since, attempts, error, may_be_stopped } = stop;
        Self { author, reason, since, attempts, error, may_be_stopped }
    }
}

impl From<wire::PendingStop> for PendingStop {
    fn from(stop: wire::PendingStop) -> Self {
        let wire::PendingStop { author, reason, since, attempts, error, may_be_stopped } = stop;
        Self { author, reason, since, attempts, error, may_be_stopped }
    }
}

impl From<ExperimentSummary> for wire::Experiment {
    fn from(summary: ExperimentSummary) -> Self {
        let ExperimentSummary {
            id,
            state,
            coverage,
            placements,
            when,
            group,
            variants,
            schedule,
            pending_stop,
        } = summary;
        Self {
            id,
            state: to_state(state),
            coverage,
            placements,
            when,
            group,
            variants: each(variants),
            schedule: schedule.map(Into::into),
            pending_stop: pending_stop.map(Into::into),
        }
    }
}

impl TryFrom<wire::Experiment> for ExperimentSummary {
    type Error = Unreadable;

    fn try_from(experiment: wire::Experiment) -> Result<Self, Unreadable> {
        let wire::Experiment {
            id,
            state,
            coverage,
            placements,
            when,
            group,
            variants,
            schedule,
            pending_stop,
        } = experiment;
        Ok(Self {
            id,
            state: from_state(state)?,
            coverage,
            placements,
            when,
            group,
            variants: each(variants),
            schedule: schedule.map(Into::into),
            pending_stop: pending_stop.map(Into::into),
        })
    }
}

impl From<StepRecord> for wire::ExperimentStepRecord {
    fn from(record: StepRecord) -> Self {
        let StepRecord { action, coverage, release, base, scheduled, author, reason, time, evidence } =
            record;
        let (action, evidence) = (to_action(action), evidence.map(Into::into));
        Self { action, coverage, release, base, scheduled, author, reason, time, evidence }
    }
}

impl TryFrom<wire::ExperimentStepRecord> for StepRecord {
    type Error = Unreadable;

    fn try_from(record: wire::ExperimentStepRecord) -> Result<Self, Unreadable> {
        let wire::ExperimentStepRecord {
            action,
            coverage,
            release,
            base,
            scheduled,
            author,
            reason,
            time,
            evidence,
        } = record;
        let (action, evidence) = (from_action(action)?, evidence.map(Into::into));
        Ok(Self { action, coverage, release, base, scheduled, author, reason, time, evidence })
    }
}

impl From<ExperimentList> for wire::ListExperimentsResponse {
    fn from(list: ExperimentList) -> Self {
        let ExperimentList { release, experiments, store_error } = list;
        Self { release, experiments: each(experiments), store_error }
    }
}

impl TryFrom<wire::ListExperimentsResponse> for ExperimentList {
    type Error = Unreadable;

    fn try_from(answer: wire::ListExperimentsResponse) -> Result<Self, Unreadable> {
        let wire::ListExperimentsResponse { release, experiments, store_error } = answer;
        Ok(Self { release, experiments: all(experiments)?, store_error })
    }
}

impl From<ExperimentDetail> for wire::GetExperimentResponse {
    fn from(detail: ExperimentDetail) -> Self {
        let ExperimentDetail { release, experiment, steps, store_error } = detail;
        Self { release, experiment: Some(experiment.into()), steps: each(steps), store_error }
    }
}

impl TryFrom<wire::GetExperimentResponse> for ExperimentDetail {
    type Error = Unreadable;

    fn try_from(answer: wire::GetExperimentResponse) -> Result<Self, Unreadable> {
        let wire::GetExperimentResponse { release, experiment, steps, store_error } = answer;
        let experiment = present("experiment", experiment)?.try_into()?;
        Ok(Self { release, experiment, steps: all(steps)?, store_error })
    }
}

impl From<ChangedExperiment> for wire::ExperimentChange {
    fn from(changed: ChangedExperiment) -> Self {
        let ChangedExperiment { id, state, coverage, changed, current, overtaken_by } = changed;
        Self { id, state: to_state(state), coverage, changed, current: Some(current.into()), overtaken_by }
    }
}

impl TryFrom<wire::ExperimentChange> for ChangedExperiment {
    type Error = Unreadable;

    fn try_from(change: wire::ExperimentChange) -> Result<Self, Unreadable> {
        let wire::ExperimentChange { id, state, coverage, changed, current, overtaken_by } = change;
        let current = present("current", current)?.into();
        Ok(Self { id, state: from_state(state)?, coverage, changed, current, overtaken_by })
    }
}

impl From<ConcludedExperiment> for wire::ConcludeExperimentResponse {
    fn from(concluded: ConcludedExperiment) -> Self {
        let ConcludedExperiment { record, created, warnings } = concluded;
        Self { release: Some(record.into()), created, warnings }
    }
}

impl TryFrom<wire::ConcludeExperimentResponse> for ConcludedExperiment {
    type Error = Unreadable;

    fn try_from(answer: wire::ConcludeExperimentResponse) -> Result<Self, Unreadable> {
        let wire::ConcludeExperimentResponse { release, created, warnings } = answer;
        Ok(Self { record: present("release", release)?.try_into()?, created, warnings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::super::tests::{action, current, evidence, record, text};
    use super::*;

    prop_compose! {
        fn stop()(
            author in text(), reason in text(), since in text(), attempts: u32, error in text(), may_be_stopped: bool,
        ) -> PendingStop {
            PendingStop { author, reason, since, attempts, error, may_be_stopped }
        }
    }

    prop_compose! {
        fn variant()(id in text(), weight in 0.0..=1.0, changes in vec(text(), 0..3)) -> VariantSummary {
            VariantSummary { id, weight, changes }
        }
    }

    prop_compose! {
        fn schedule()(coverage in 0.0..=1.0, at in text(), halted in text(), held in text()) -> Schedule {
            Schedule { coverage, at, halted, held }
        }
    }

    fn state() -> impl Strategy<Value = State> {
        prop::sample::select(State::ALL.map(|(_, state)| state).to_vec())
    }

    prop_compose! {
        fn summary()(
            id in text(), state in state(), coverage in 0.0..=1.0, placements in vec(text(), 0..3), when in text(),
            group in text(), variants in vec(variant(), 0..3), schedule in option::of(schedule()),
            pending_stop in option::of(stop()),
        ) -> ExperimentSummary {
            ExperimentSummary { id, state, coverage, placements, when, group, variants, schedule, pending_stop }
        }
    }

    prop_compose! {
        fn done()(
            action in action(), coverage in 0.0..=1.0, release: u64, base: u64, scheduled: bool, author in text(),
            reason in text(), time in text(), evidence in option::of(evidence()),
        ) -> StepRecord {
            StepRecord { action, coverage, release, base, scheduled, author, reason, time, evidence }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn experiments_are_read_as_they_were_written(
            release: u64, experiments in vec(summary(), 0..3), experiment in summary(), steps in vec(done(), 0..3),
            store_error in text(), id in text(), state in state(), coverage in 0.0..=1.0, changed: bool,
            current in current(), overtaken_by: u64, record in record(), created: bool, warnings in vec(text(), 0..3),
        ) {
            let list = ExperimentList { release, experiments, store_error: store_error.clone() };
            prop_assert_eq!(ExperimentList::try_from(wire::ListExperimentsResponse::from(list.clone())), Ok(list));
            let detail = ExperimentDetail { release, experiment, steps, store_error };
            prop_assert_eq!(ExperimentDetail::try_from(wire::GetExperimentResponse::from(detail.clone())), Ok(detail));
            let change = ChangedExperiment { id, state, coverage, changed, current, overtaken_by };
            prop_assert_eq!(ChangedExperiment::try_from(wire::ExperimentChange::from(change.clone())), Ok(change));
            let concluded = ConcludedExperiment { record, created, warnings };
            let written = wire::ConcludeExperimentResponse::from(concluded.clone());
            prop_assert_eq!(ConcludedExperiment::try_from(written), Ok(concluded));
        }
    }
}
