//! What guardrails allow.

use crate::report::{ExperimentReport, GuardrailDecision, Limits, Role};

/// What follows for the ramp of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// No guardrail forbids the next step.
    Advance,
    /// It is not known yet whether the next step is safe.
    Hold {
        /// Why, in a sentence.
        why: String,
    },
    /// A challenger is worse than a guardrail tolerates.
    RollBack {
        /// What shows it.
        evidence: Evidence,
    },
}

/// What shows that a challenger is worse than a guardrail tolerates. Numbers are in the unit of the metric, as they are
/// in the report: challenger − control, whichever is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The guardrail.
    pub metric: String,
    /// The challenger.
    pub variant: String,
    /// The difference.
    pub delta: f64,
    /// The lower limit of its sequence.
    pub low: f64,
    /// The upper limit.
    pub high: f64,
    /// The loss that is tolerated.
    pub tolerate: f64,
    /// The customers of both arms.
    pub customers: u64,
}

/// What the guardrails of an experiment allow. Each challenger must be allowed by each of them; one that is worse is
/// enough to go back. Where the split of customers is wrong, nothing is allowed.
#[must_use]
pub fn judge(report: &ExperimentReport) -> Judgement {
    if report.mismatch.as_ref().is_some_and(|mismatch| mismatch.is_mismatch) {
        let why = "the arms are not as large as their weights say, so there is no result".to_owned();
        return Judgement::Hold { why };
    }
    let mut hold = None;
    for metric in report.metrics.iter().filter(|metric| metric.role == Role::Guardrail) {
        for comparison in &metric.comparisons {
            let Some(guardrail) = &comparison.guardrail else { continue };
            let (id, variant) = (&metric.metric, &comparison.variant);
            match (guardrail.decision, &comparison.effect) {
                (GuardrailDecision::Advance, _) => {}
                (GuardrailDecision::RollBack, Some(effect)) => {
                    let Limits { low, high } = effect.sequence;
                    let is_in_it = |arm: &&crate::report::ArmValue| {
                        arm.variant == *variant
                            || metric.arms.first().is_some_and(|of| of.variant == arm.variant)
                    };
                    let evidence = Evidence {
                        metric: id.clone(),
                        variant: variant.clone(),
                        delta: effect.delta,
                        low,
                        high,
                        tolerate: guardrail.tolerate,
                        customers: metric.arms.iter().filter(is_in_it).map(|arm| arm.n).sum(),
                    };
                    return Judgement::RollBack { evidence };
                }
                (GuardrailDecision::Hold | GuardrailDecision::RollBack, _) => {
                    hold.get_or_insert_with(|| {
                        if comparison.hidden.is_empty() {
                            let loss = guardrail.tolerate;
                            format!("`{id}` of `{variant}` is not known to lose less than {loss} yet")
                        } else {
                            format!("`{id}` of `{variant}` cannot be compared yet: {}", comparison.hidden)
                        }
                    });
                }
            }
        }
    }
    hold.map_or(Judgement::Advance, |why| Judgement::Hold { why })
}
