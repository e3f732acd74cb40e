//! The verdict: one sentence for who reads nothing else.

use crate::compare::Level;
use crate::days::Days;
use crate::report::{Comparison, Effect, GuardrailDecision, Kind, MetricResult, Role, Verdict, VerdictWord};
use crate::words::percent;

/// The verdict of metrics that are shown; the first is primary.
pub(crate) fn verdict(days: &Days<'_>, metrics: &[MetricResult], alpha: f64, level: Level) -> Verdict {
    let of = |word, sentence| Verdict { word, sentence };
    if days.mismatch.as_ref().is_some_and(|mismatch| mismatch.is_mismatch) {
        let sentence = "The arms are not as large as their weights say: something is wrong with the assignment or the \
                        records, and no other number of this experiment can be trusted.";
        return of(VerdictWord::Mismatch, sentence.to_owned());
    }
    if let Some(sentence) = broken(metrics) {
        return of(VerdictWord::GuardrailBroken, sentence);
    }
    let Some(primary) = metrics.first() else {
        return of(VerdictWord::TooEarly, "There is nothing to compare yet.".to_owned());
    };
    let shown: Vec<(&Comparison, &Effect)> = primary
        .comparisons
        .iter()
        .filter_map(|comparison| Some((comparison, comparison.effect.as_ref()?)))
        .collect();
    if shown.is_empty() {
        let why = primary.comparisons.first().map_or("there is no challenger", |of| of.hidden.as_str());
        return of(VerdictWord::TooEarly, format!("It is too early for a result: {why}."));
    }
    // p is the least so far: what was shown once, stays.
    let is_shown = |effect: &Effect| effect.sequence_p < level.alpha;
    let is_better = |effect: &Effect| is_shown(effect) && (effect.delta > 0.0) == primary.higher_is_better;
    let best = shown.iter().filter(|(_, effect)| is_better(effect)).max_by(|(_, one), (_, other)| {
        let gains = [one, other].map(|effect| effect.delta.abs());
        gains[0].total_cmp(&gains[1])
    });
    if let Some((comparison, effect)) = best {
        let sentence =
            format!("`{}` is better than the control: {}.", comparison.variant, difference(primary, effect));
        return of(VerdictWord::Better, sentence);
    }
    if shown.iter().all(|(_, effect)| is_shown(effect)) {
        let (comparison, effect) = shown[0];
        let found = difference(primary, effect);
        let sentence = if shown.len() == 1 {
            format!("`{}` is worse than the control: {found}.", comparison.variant)
        } else {
            format!("Every challenger is worse than the control; with `{}`, {found}.", comparison.variant)
        };
        return of(VerdictWord::Worse, sentence);
    }
    let sentence = format!(
        "No difference in `{}` is shown yet, at {} % of false alarms over all comparisons.",
        primary.metric,
        percent(alpha)
    );
    of(VerdictWord::Undecided, sentence)
}

fn broken(metrics: &[MetricResult]) -> Option<String> {
    let guardrails = metrics.iter().filter(|metric| metric.role == Role::Guardrail);
    for metric in guardrails {
        for comparison in &metric.comparisons {
            let is_broken =
                comparison.guardrail.as_ref().is_some_and(|of| of.decision == GuardrailDecision::RollBack);
            if let (true, Some(effect)) = (is_broken, &comparison.effect) {
                let tolerate = comparison.guardrail.as_ref().map_or(0.0, |guardrail| guardrail.tolerate);
                return Some(format!(
                    "`{}` breaks a guardrail: {}, and a loss of {} is tolerated.",
                    comparison.variant,
                    difference(metric, effect),
                    amount(tolerate, metric.kind)
                ));
            }
        }
    }
    None
}

/// A difference with the limits of its sequence.
fn difference(metric: &MetricResult, effect: &Effect) -> String {
    let [delta, low, high] = [effect.delta, effect.sequence.low, effect.sequence.high];
    let direction = if delta < 0.0 { "lower" } else { "higher" };
    let size = amount(delta.abs(), metric.kind);
    let limits = [low, high].map(|limit| amount(limit, metric.kind));
    format!("`{}` is {direction} by {size} (from {} to {})", metric.metric, limits[0], limits[1])
}

fn amount(value: f64, kind: Kind) -> String {
    match kind {
        Kind::Share => format!("{:.2} percentage points", 100.0 * value),
        Kind::Money => format!("{value:.2}"),
        Kind::Number => format!("{value:.4}"),
    }
}
