//! Warns of what experiments are judged by where it is sound and most likely a mistake: guardrails that nothing passes,
//! that nothing breaks, or that are missing where a schedule needs them.

use super::lines::{Kind, Lines};
use crate::Release;
use document::Problems;
use experiment::{Guardrail, Measured, Metric, MetricKind, State};

/// Warns about the experiments of the release that are not over.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let experiments = release.experiments();
    for experiment in experiments.all.iter().filter(|experiment| experiment.state != State::Stopped) {
        let Some(measured) = &experiment.measured else { continue };
        let mut found = Vec::new();
        for guardrail in &measured.guardrails {
            found.extend(odd(*guardrail, measured, &experiments.metrics[guardrail.metric]));
        }
        if measured.guardrails.is_empty() && !experiment.steps.is_empty() {
            found.push(
                "its steps come by time alone, since it has no `guardrails`: nothing holds them or takes them back"
                    .to_owned(),
            );
        }
        for message in found {
            lines.push(warnings, (Kind::Experiment, &experiment.id), "metric", message);
        }
    }
}

/// What is odd about a guardrail.
fn odd(guardrail: Guardrail, measured: &Measured, metric: &Metric) -> Vec<String> {
    let Guardrail { metric: index, tolerate } = guardrail;
    let id = &metric.id;
    let mut found = Vec::new();
    if index == measured.primary {
        found.push(format!(
            "guardrail `{id}` is the primary metric, too, so its limits count twice among the comparisons; remove the \
             guardrail, unless no step may come before this is known not to get worse"
        ));
    }
    if tolerate == 0.0 {
        found.push(format!(
            "guardrail `{id}` tolerates nothing, so a step comes only once the challenger is known to be better there; \
             give it the loss that you can bear"
        ));
    }
    if metric.kind == MetricKind::Share && tolerate >= 1.0 {
        found.push(format!(
            "guardrail `{id}` tolerates {tolerate}, and is a share of 0 to 1, so nothing breaks it; 0.002 are two in a \
             thousand"
        ));
    }
    found
}
