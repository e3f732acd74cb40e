//! Reports as messages. Each is read back by the client (`client/analysis.rs`).

use super::wire;
use analysis::report::{
    ArmCount, ArmValue, Breakdown, Comparison, Effect, ExperimentReport, ExposureDay, GuardrailDecision,
    GuardrailResult, Kind, LeftOut, Limits, MetricHead, MetricResult, MetricsReport, MetricsRow,
    MismatchResult, OtherPhase, Role, SequencePoint, Source, StepLine, Verdict, VerdictWord,
};

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

impl From<ExperimentReport> for wire::ExperimentReport {
    fn from(report: ExperimentReport) -> Self {
        Self {
            experiment: report.experiment,
            phase: report.phase,
            state: report.state,
            coverage: report.coverage,
            other_phases: each(report.other_phases),
            from: report.from,
            to: report.to,
            sources: each(report.sources),
            alpha: report.alpha,
            alpha_each: report.alpha_each,
            comparisons: report.comparisons as u64,
            planned: report.planned,
            arms: each(report.arms),
            exposure: each(report.exposure),
            mismatch: report.mismatch.map(Into::into),
            left_out: Some(report.left_out.into()),
            metrics: each(report.metrics),
            by_placement: each(report.by_placement),
            by_segment: each(report.by_segment),
            verdict: Some(report.verdict.into()),
            steps: each(report.steps),
            warnings: report.warnings,
            method: report.method,
        }
    }
}

impl From<OtherPhase> for wire::OtherPhase {
    fn from(OtherPhase { phase, from, to, decisions }: OtherPhase) -> Self {
        Self { phase, from, to, decisions }
    }
}

impl From<Source> for wire::EventSource {
    fn from(Source { server, newest, age_seconds }: Source) -> Self {
        Self { server, newest, age_seconds }
    }
}

impl From<ArmCount> for wire::ArmCount {
    fn from(ArmCount { variant, weight, customers, decisions, outcomes }: ArmCount) -> Self {
        Self { variant, weight, customers, decisions, outcomes }
    }
}

impl From<ExposureDay> for wire::ExposureDay {
    fn from(ExposureDay { day, new, all }: ExposureDay) -> Self {
        Self { day, new, all }
    }
}

impl From<MismatchResult> for wire::MismatchResult {
    fn from(found: MismatchResult) -> Self {
        let MismatchResult { chi_squared, degrees, p, sequential_p, is_mismatch } = found;
        Self { chi_squared, degrees, p, sequential_p, is_mismatch }
    }
}

impl From<LeftOut> for wire::LeftOut {
    fn from(left_out: LeftOut) -> Self {
        Self {
            unknown_decisions: left_out.unknown_decisions,
            forced_decisions: left_out.forced_decisions,
            crossed_customers: left_out.crossed_customers,
            late_outcomes: left_out.late_outcomes,
            unmatched_outcomes: left_out.unmatched_outcomes,
        }
    }
}

impl From<Role> for wire::MetricRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Primary => Self::Primary,
            Role::Guardrail => Self::Guardrail,
            Role::Secondary => Self::Secondary,
        }
    }
}

impl From<Kind> for wire::MetricKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Share => Self::Share,
            Kind::Number => Self::Number,
            Kind::Money => Self::Money,
        }
    }
}

impl From<MetricResult> for wire::MetricResult {
    fn from(result: MetricResult) -> Self {
        let MetricResult { metric, says, role, kind, higher_is_better, arms, comparisons } = result;
        Self {
            metric,
            says,
            role: wire::MetricRole::from(role).into(),
            kind: wire::MetricKind::from(kind).into(),
            higher_is_better,
            arms: each(arms),
            comparisons: each(comparisons),
        }
    }
}

impl From<ArmValue> for wire::ArmValue {
    fn from(ArmValue { variant, n, numerator, denominator, value, interval }: ArmValue) -> Self {
        Self { variant, n, numerator, denominator, value, interval: interval.map(Into::into) }
    }
}

impl From<Limits> for wire::MetricLimits {
    fn from(Limits { low, high }: Limits) -> Self {
        Self { low, high }
    }
}

impl From<Comparison> for wire::MetricComparison {
    fn from(Comparison { variant, hidden, effect, guardrail }: Comparison) -> Self {
        Self { variant, hidden, effect: effect.map(Into::into), guardrail: guardrail.map(Into::into) }
    }
}

impl From<Effect> for wire::MetricEffect {
    fn from(effect: Effect) -> Self {
        Self {
            delta: effect.delta,
            sequence: Some(effect.sequence.into()),
            sequence_p: effect.sequence_p,
            fixed: Some(effect.fixed.into()),
            fixed_p: effect.fixed_p,
            relative: effect.relative,
            relative_sequence: effect.relative_sequence.map(Into::into),
            theta: effect.theta,
            variance_reduced: effect.variance_reduced,
            over_time: each(effect.over_time),
        }
    }
}

impl From<SequencePoint> for wire::SequencePoint {
    fn from(SequencePoint { day, n, delta, low, high, p }: SequencePoint) -> Self {
        Self { day, n, delta, low, high, p }
    }
}

impl From<GuardrailResult> for wire::GuardrailResult {
    fn from(GuardrailResult { tolerate, oriented, decision }: GuardrailResult) -> Self {
        let decision = wire::GuardrailDecision::from(decision).into();
        Self { tolerate, oriented: oriented.map(Into::into), decision }
    }
}

impl From<GuardrailDecision> for wire::GuardrailDecision {
    fn from(decision: GuardrailDecision) -> Self {
        match decision {
            GuardrailDecision::Advance => Self::Advance,
            GuardrailDecision::Hold => Self::Hold,
            GuardrailDecision::RollBack => Self::RollBack,
        }
    }
}

impl From<Breakdown> for wire::MetricBreakdown {
    fn from(Breakdown { part, arms, comparisons }: Breakdown) -> Self {
        Self { part, arms: each(arms), comparisons: each(comparisons) }
    }
}

impl From<Verdict> for wire::ReportVerdict {
    fn from(Verdict { word, sentence }: Verdict) -> Self {
        Self { word: wire::VerdictWord::from(word).into(), sentence }
    }
}

impl From<VerdictWord> for wire::VerdictWord {
    fn from(word: VerdictWord) -> Self {
        match word {
            VerdictWord::Mismatch => Self::Mismatch,
            VerdictWord::TooEarly => Self::TooEarly,
            VerdictWord::Undecided => Self::Undecided,
            VerdictWord::Better => Self::Better,
            VerdictWord::Worse => Self::Worse,
            VerdictWord::GuardrailBroken => Self::GuardrailBroken,
        }
    }
}

impl From<StepLine> for wire::ReportedStep {
    fn from(StepLine { time, action, coverage, release, author, reason }: StepLine) -> Self {
        Self { time, action, coverage, release, author, reason }
    }
}

impl From<MetricsReport> for wire::MetricsReport {
    fn from(report: MetricsReport) -> Self {
        Self {
            placement: report.placement,
            by: report.by,
            from: report.from,
            to: report.to,
            sources: each(report.sources),
            metrics: each(report.metrics),
            rows: each(report.rows),
            left_out: Some(report.left_out.into()),
            warnings: report.warnings,
            method: report.method,
        }
    }
}

impl From<MetricHead> for wire::MetricHead {
    fn from(MetricHead { metric, says, kind, higher_is_better }: MetricHead) -> Self {
        Self { metric, says, kind: wire::MetricKind::from(kind).into(), higher_is_better }
    }
}

impl From<MetricsRow> for wire::MetricsRow {
    fn from(MetricsRow { part, customers, decisions, values }: MetricsRow) -> Self {
        Self { part, customers, decisions, values: each(values) }
    }
}
