//! The texts that show experiments to a person.

use std::fmt::Write as _;

use crate::cli::table::new_table;
use release::{
    ChangedExperiment, ConcludedExperiment, ExperimentDetail, ExperimentList, ExperimentSummary, PendingStop,
    Schedule, StepRecord,
};
use telemetry::foreign;

/// A list of experiments.
pub(super) fn list(list: &ExperimentList) -> String {
    let mut text = if list.experiments.is_empty() {
        format!("release {}, which is current, has no experiments", list.release)
    } else {
        let mut table =
            new_table(&["experiment", "state", "coverage", "placements", "variants", "next"], 2..3);
        for experiment in &list.experiments {
            let ExperimentSummary { id, state, coverage, placements, variants, schedule, .. } = experiment;
            let variants: Vec<&str> = variants.iter().map(|variant| variant.id.as_str()).collect();
            table.add_row([
                id.as_str(),
                state.name(),
                &percent(*coverage),
                &all_of(placements),
                &variants.join(", "),
                &schedule.as_ref().map(next).unwrap_or_default(),
            ]);
        }
        table.to_string()
    };
    for experiment in &list.experiments {
        if let Some(stop) = &experiment.pending_stop {
            let _ = write!(text, "\n\n{}", pending(&experiment.id, stop));
        }
    }
    add_store_error(&mut text, &list.store_error);
    text
}

/// One experiment.
pub(super) fn detail(detail: &ExperimentDetail) -> String {
    let ExperimentSummary { id, state, coverage, placements, when, group, variants, schedule, pending_stop } =
        &detail.experiment;
    let id = foreign::shown(id);
    let mut text = format!(
        "experiment {id} of release {}: {}, coverage {}, at {}",
        detail.release,
        state.name(),
        percent(*coverage),
        foreign::shown(&all_of(placements))
    );
    if !when.is_empty() {
        let _ = write!(text, "\nfor customers with {}", foreign::shown(when));
    }
    if !group.is_empty() {
        let _ = write!(text, "\nin group {}", foreign::shown(group));
    }
    if let Some(schedule) = schedule {
        let _ = write!(text, "\nnext: {}", foreign::shown(&next(schedule)));
    }
    let mut table = new_table(&["variant", "weight", "changes"], 1..2);
    for variant in variants {
        let changes = variant.changes.join(", ");
        let changes = if changes.is_empty() { "nothing".to_owned() } else { changes };
        table.add_row([variant.id.clone(), percent(variant.weight), changes]);
    }
    let _ = write!(text, "\n\n{table}");
    if !detail.steps.is_empty() {
        let header = ["done", "coverage", "release", "made from", "when", "by", "reason"];
        let mut table = new_table(&header, 1..4);
        for StepRecord { action, coverage, release, base, author, reason, time, .. } in &detail.steps {
            let (release, base) = (release.to_string(), base.to_string());
            table.add_row([action.word(), &percent(*coverage), &release, &base, time, author, reason]);
        }
        let _ = write!(text, "\n\n{table}");
    }
    if let Some(stop) = pending_stop {
        let _ = write!(text, "\n\n{}", pending(&id, stop));
    }
    add_store_error(&mut text, &detail.store_error);
    text
}

/// What a change did.
pub(super) fn changed(changed: &ChangedExperiment) -> String {
    let ChangedExperiment { id, state, coverage, current, .. } = changed;
    let (id, state, coverage) = (foreign::shown(id), state.name(), percent(*coverage));
    if !changed.changed {
        return format!(
            "experiment {id} is {state} with coverage {coverage} already, in release {}",
            current.release
        );
    }
    let mut text = format!(
        "experiment {id} is {state} with coverage {coverage}: release {} is current, promotion {}",
        current.release, current.sequence
    );
    if current.previous != 0 {
        let _ = write!(text, "; a rollback goes to release {}", current.previous);
    }
    text
}

/// A release that holds what a winner changes.
pub(super) fn concluded(concluded: &ConcludedExperiment) -> String {
    let number = concluded.record.number;
    let mut text = if concluded.created {
        format!("release {number} is made; it does not serve yet: proffer release promote {number}")
    } else {
        format!("release {number} was made for this before; promote it: proffer release promote {number}")
    };
    // Over another release it would undo what was promoted meanwhile.
    if let Some(step) = &concluded.record.step {
        let _ = write!(text, " --expect {}", step.base);
    }
    for warning in &concluded.warnings {
        let _ = write!(text, "\nwarning: {}", foreign::shown(warning));
    }
    text
}

/// A stop that is given up.
pub(super) fn withdrawn(id: &str, stop: &PendingStop) -> String {
    let id = foreign::shown(id);
    let outcome = if stop.may_be_stopped {
        format!(
            "it is not known whether the experiment is stopped all the same, since the store has not answered; see \
             `proffer experiment show {id}` once it does"
        )
    } else {
        "the experiment goes on".to_owned()
    };
    format!(
        "the stop of experiment {id} that {} asked for at {} is withdrawn: {outcome}",
        foreign::shown(who(&stop.author)),
        stop.since
    )
}

/// An author as part of a sentence: a call may name none.
fn who(author: &str) -> &str {
    if author.is_empty() { "somebody" } else { author }
}

fn pending(id: &str, stop: &PendingStop) -> String {
    let known = if stop.may_be_stopped { "it is not known whether it is" } else { "still goes on" };
    let mut text = format!(
        "experiment {} is to be STOPPED, and {known}: {} asked for it at {}",
        foreign::shown(id),
        foreign::shown(who(&stop.author)),
        stop.since
    );
    if !stop.reason.is_empty() {
        let _ = write!(text, " ({})", foreign::shown(&stop.reason));
    }
    let tried = match stop.attempts {
        0 => "not tried yet".to_owned(),
        attempts => format!("{} failed", document::plural(attempts, "attempt")),
    };
    let _ = write!(text, "; {tried}");
    if !stop.error.is_empty() {
        let _ = write!(text, ": {}", foreign::shown(&stop.error));
    }
    text
}

fn next(schedule: &Schedule) -> String {
    let coverage = percent(schedule.coverage);
    let Schedule { at, halted, held, .. } = schedule;
    if !halted.is_empty() {
        return format!("{coverage}, halted: {halted}; start it to let its schedule go on");
    }
    if held.is_empty() { format!("{coverage} at {at}") } else { format!("{coverage} at {at}, held: {held}") }
}

fn add_store_error(text: &mut String, error: &str) {
    if !error.is_empty() {
        let _ = write!(
            text,
            "\n\nthe store cannot be read, and this is what it had before: {}",
            foreign::shown(error)
        );
    }
}

fn all_of(placements: &[String]) -> String {
    if placements.is_empty() { "all placements".to_owned() } else { placements.join(", ") }
}

/// A share in percent, with at most as many digits as it has.
fn percent(share: f64) -> String {
    let percent = (share * 1e8).round() / 1e6;
    format!("{percent} %")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use experiment::State;
    use release::{Current, ExperimentStep, ReleaseRecord, StepAction, VariantSummary};

    fn summary() -> ExperimentSummary {
        let variant = |id: &str, changes: &[&str]| VariantSummary {
            id: id.to_owned(),
            weight: 0.5,
            changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        };
        ExperimentSummary {
            id: "propensity_v7".to_owned(),
            state: State::Running,
            coverage: 0.07,
            placements: vec!["app_home".to_owned()],
            when: "customer.tenure >= 6".to_owned(),
            group: "ranking".to_owned(),
            variants: vec![variant("champion", &[]), variant("challenger", &["models = { propensity = 7 }"])],
            schedule: Some(Schedule {
                coverage: 0.25,
                at: "2026-05-01T00:00:00Z".to_owned(),
                halted: String::new(),
                held: String::new(),
            }),
            pending_stop: Some(PendingStop {
                author: "anna".to_owned(),
                reason: "complaints".to_owned(),
                since: "2026-04-30T00:00:00Z".to_owned(),
                attempts: 3,
                error: "gone".to_owned(),
                may_be_stopped: false,
            }),
        }
    }

    #[test]
    fn a_list_says_what_comes_next_and_what_is_pending() {
        let mut told =
            ExperimentList { release: 4, experiments: vec![summary()], store_error: "gone".to_owned() };
        let text = list(&told);
        for part in [
            "propensity_v7",
            "running",
            "7 %",
            "app_home",
            "champion, challenger",
            "25 % at 2026-05-01T00:00:00Z",
            "experiment propensity_v7 is to be STOPPED, and still goes on: anna asked for it at 2026-04-30T00:00:00Z \
             (complaints); 3 attempts failed: gone",
            "the store cannot be read, and this is what it had before: gone",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        told.experiments.clear();
        told.store_error.clear();
        assert_eq!(list(&told), "release 4, which is current, has no experiments");
    }

    #[test]
    fn a_schedule_says_when_it_goes_on_and_what_keeps_it() {
        let told = |halted: &str, held: &str| {
            let (at, [halted, held]) = ("noon".to_owned(), [halted, held].map(str::to_owned));
            next(&Schedule { coverage: 0.25, at, halted, held })
        };
        assert_eq!(told("", ""), "25 % at noon");
        assert_eq!(told("", "too few customers"), "25 % at noon, held: too few customers");
        let halted = "25 %, halted: anna did this; start it to let its schedule go on";
        assert_eq!(told("anna did this", ""), halted);
    }

    #[test]
    fn a_stop_that_nobody_signed_is_told_in_whole_sentences() {
        let stop = summary().pending_stop.map(|stop| PendingStop { author: String::new(), ..stop }).unwrap();
        let told = pending("e", &stop);
        assert!(told.contains("still goes on: somebody asked for it at 2026-04-30T00:00:00Z"), "{told}");
        let told = withdrawn("e", &stop);
        assert!(told.contains("that somebody asked for at"), "{told}");
        assert!(told.ends_with("is withdrawn: the experiment goes on"), "{told}");
    }

    #[test]
    fn what_is_not_known_of_a_stop_is_not_told() {
        let told = |attempts, error: &str, may_be_stopped| {
            let error = error.to_owned();
            summary()
                .pending_stop
                .map(|stop| PendingStop { attempts, error, may_be_stopped, ..stop })
                .unwrap()
        };
        let text = pending("e", &told(0, "", false));
        assert!(text.contains("still goes on: ") && text.ends_with("(complaints); not tried yet"), "{text}");
        let text = pending("e", &told(1, "gone", true));
        assert!(text.contains("STOPPED, and it is not known whether it is: anna"), "{text}");
        assert!(text.ends_with("; 1 attempt failed: gone"), "{text}");
        let text = withdrawn("e", &told(1, "gone", true));
        assert!(text.contains("is withdrawn: it is not known whether the experiment is stopped"), "{text}");
        assert!(text.ends_with("see `proffer experiment show e` once it does"), "{text}");
    }

    #[test]
    fn what_is_concluded_is_to_be_promoted_over_its_base_alone() {
        let step = ExperimentStep {
            experiment: "e".to_owned(),
            action: StepAction::Conclude,
            base: 6,
            over: 0,
            coverage: 0.25,
            scheduled: false,
            winner: "a".to_owned(),
            evidence: None,
        };
        let record = ReleaseRecord {
            number: 7,
            author: String::new(),
            note: String::new(),
            created: String::new(),
            models: BTreeMap::new(),
            hashes: BTreeMap::new(),
            step: Some(step),
        };
        let mut told =
            ConcludedExperiment { record, created: true, warnings: vec!["an expired offer".to_owned()] };
        assert_eq!(
            concluded(&told),
            "release 7 is made; it does not serve yet: proffer release promote 7 --expect 6\n\
             warning: an expired offer"
        );
        told.created = false;
        assert!(concluded(&told).contains("proffer release promote 7 --expect 6\n"));
    }

    #[test]
    fn a_detail_says_what_was_done() {
        let step = StepRecord {
            action: StepAction::Ramp,
            coverage: 0.07,
            release: 4,
            base: 3,
            scheduled: true,
            author: "schedule".to_owned(),
            reason: "its schedule".to_owned(),
            time: "2026-04-29T00:00:00Z".to_owned(),
            evidence: None,
        };
        let told = ExperimentDetail {
            release: 4,
            experiment: summary(),
            steps: vec![step],
            store_error: String::new(),
        };
        let text = detail(&told);
        for part in [
            "experiment propensity_v7 of release 4: running, coverage 7 %, at app_home",
            "for customers with customer.tenure >= 6",
            "in group ranking",
            "next: 25 % at",
            "nothing",
            "models = { propensity = 7 }",
            "its schedule",
            "is to be STOPPED",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn a_change_says_what_it_did_and_where_a_rollback_would_go() {
        let (time, author, reason) = (String::new(), String::new(), String::new());
        let current = Current { release: 5, previous: 2, sequence: 9, author, reason, time };
        let (id, state) = ("e".to_owned(), State::Running);
        let mut told =
            ChangedExperiment { id, state, coverage: 0.25, changed: true, current, overtaken_by: 0 };
        assert_eq!(
            changed(&told),
            "experiment e is running with coverage 25 %: release 5 is current, promotion 9; \
             a rollback goes to release 2"
        );
        told.changed = false;
        assert_eq!(changed(&told), "experiment e is running with coverage 25 % already, in release 5");
    }

    #[test]
    fn a_share_has_the_digits_that_it_needs() {
        let shares = [1.0, 0.05, 0.07, 0.333, 0.000_1, 0.123_456].map(percent);
        assert_eq!(shares, ["100 %", "5 %", "7 %", "33.3 %", "0.01 %", "12.3456 %"]);
    }
}
