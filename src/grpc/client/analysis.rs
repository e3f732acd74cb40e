//! Reports on what is recorded, for the command line: the message read back.

use super::{Client, ClientError, Unreadable, wire};
use crate::grpc::MetricsAsk;
use crate::grpc::time;
use analysis::By;
use analysis::report::{
    ArmCount, ArmValue, Breakdown, Comparison, Effect, ExperimentReport, ExposureDay, GuardrailDecision,
    GuardrailResult, Kind, LeftOut, Limits, MetricHead, MetricResult, MetricsReport, MetricsRow,
    MismatchResult, OtherPhase, Role, SequencePoint, Source, StepLine, Verdict, VerdictWord,
};

impl Client {
    /// What a phase of an experiment has come to; without one, that of the current release.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn experiment_report(
        &self,
        experiment: &str,
        phase: Option<u64>,
    ) -> Result<ExperimentReport, ClientError> {
        let phase = phase.map(|phase| format!("{phase:016x}")).unwrap_or_default();
        let request = wire::GetExperimentReportRequest { experiment: experiment.to_owned(), phase };
        let answer = self.analyses().get_experiment_report(request).await?.into_inner();
        Ok(present("report", answer.report)?.try_into()?)
    }

    /// Metrics of what was decided.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn metrics(&self, ask: &MetricsAsk) -> Result<MetricsReport, ClientError> {
        let by = match ask.by {
            By::Offer => wire::MetricsBy::Offer,
            By::Segment => wire::MetricsBy::Segment,
            By::Day => wire::MetricsBy::Day,
        };
        let request = wire::GetMetricsRequest {
            placement: ask.placement.clone(),
            by: by.into(),
            from: ask.from.map(time::write),
            to: ask.to.map(time::write),
            metrics: ask.metrics.clone(),
        };
        let answer = self.analyses().get_metrics(request).await?.into_inner();
        Ok(present("report", answer.report)?.try_into()?)
    }
}

/// A value that every answer must have.
fn present<T>(what: &str, value: Option<T>) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("`{what}` is missing")))
}

/// A word that this version does not know, or that is missing.
fn unknown(what: &str, number: i32) -> Unreadable {
    Unreadable(format!("`{what}` is {number}"))
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

fn all<A, B: TryFrom<A>>(list: Vec<A>) -> Result<Vec<B>, B::Error> {
    list.into_iter().map(TryInto::try_into).collect()
}

fn maybe<A, B: TryFrom<A>>(value: Option<A>) -> Result<Option<B>, B::Error> {
    value.map(TryInto::try_into).transpose()
}

impl TryFrom<wire::ExperimentReport> for ExperimentReport {
    type Error = Unreadable;

    fn try_from(report: wire::ExperimentReport) -> Result<Self, Unreadable> {
        let comparisons = usize::try_from(report.comparisons);
        Ok(Self {
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
            comparisons: comparisons.map_err(|error| Unreadable(format!("`comparisons`: {error}")))?,
            planned: report.planned,
            arms: each(report.arms),
            exposure: each(report.exposure),
            mismatch: report.mismatch.map(Into::into),
            left_out: present("left_out", report.left_out)?.into(),
            metrics: all(report.metrics)?,
            by_placement: all(report.by_placement)?,
            by_segment: all(report.by_segment)?,
            verdict: present("verdict", report.verdict)?.try_into()?,
            steps: each(report.steps),
            warnings: report.warnings,
            method: report.method,
        })
    }
}

impl From<wire::OtherPhase> for OtherPhase {
    fn from(wire::OtherPhase { phase, from, to, decisions }: wire::OtherPhase) -> Self {
        Self { phase, from, to, decisions }
    }
}

impl From<wire::EventSource> for Source {
    fn from(wire::EventSource { server, newest, age_seconds }: wire::EventSource) -> Self {
        Self { server, newest, age_seconds }
    }
}

impl From<wire::ArmCount> for ArmCount {
    fn from(arm: wire::ArmCount) -> Self {
        let wire::ArmCount { variant, weight, customers, decisions, outcomes } = arm;
        Self { variant, weight, customers, decisions, outcomes }
    }
}

impl From<wire::ExposureDay> for ExposureDay {
    fn from(wire::ExposureDay { day, new, all }: wire::ExposureDay) -> Self {
        Self { day, new, all }
    }
}

impl From<wire::MismatchResult> for MismatchResult {
    fn from(found: wire::MismatchResult) -> Self {
        let wire::MismatchResult { chi_squared, degrees, p, sequential_p, is_mismatch } = found;
        Self { chi_squared, degrees, p, sequential_p, is_mismatch }
    }
}

impl From<wire::LeftOut> for LeftOut {
    fn from(left_out: wire::LeftOut) -> Self {
        Self {
            unknown_decisions: left_out.unknown_decisions,
            forced_decisions: left_out.forced_decisions,
            crossed_customers: left_out.crossed_customers,
            late_outcomes: left_out.late_outcomes,
            unmatched_outcomes: left_out.unmatched_outcomes,
        }
    }
}

fn role(number: i32) -> Result<Role, Unreadable> {
    match wire::MetricRole::try_from(number) {
        Ok(wire::MetricRole::Primary) => Ok(Role::Primary),
        Ok(wire::MetricRole::Guardrail) => Ok(Role::Guardrail),
        Ok(wire::MetricRole::Secondary) => Ok(Role::Secondary),
        Ok(wire::MetricRole::Unspecified) | Err(_) => Err(unknown("role", number)),
    }
}

fn kind(number: i32) -> Result<Kind, Unreadable> {
    match wire::MetricKind::try_from(number) {
        Ok(wire::MetricKind::Share) => Ok(Kind::Share),
        Ok(wire::MetricKind::Number) => Ok(Kind::Number),
        Ok(wire::MetricKind::Money) => Ok(Kind::Money),
        Ok(wire::MetricKind::Unspecified) | Err(_) => Err(unknown("kind", number)),
    }
}

fn decision(number: i32) -> Result<GuardrailDecision, Unreadable> {
    match wire::GuardrailDecision::try_from(number) {
        Ok(wire::GuardrailDecision::Advance) => Ok(GuardrailDecision::Advance),
        Ok(wire::GuardrailDecision::Hold) => Ok(GuardrailDecision::Hold),
        Ok(wire::GuardrailDecision::RollBack) => Ok(GuardrailDecision::RollBack),
        Ok(wire::GuardrailDecision::Unspecified) | Err(_) => Err(unknown("decision", number)),
    }
}

fn word(number: i32) -> Result<VerdictWord, Unreadable> {
    match wire::VerdictWord::try_from(number) {
        Ok(wire::VerdictWord::Mismatch) => Ok(VerdictWord::Mismatch),
        Ok(wire::VerdictWord::TooEarly) => Ok(VerdictWord::TooEarly),
        Ok(wire::VerdictWord::Undecided) => Ok(VerdictWord::Undecided),
        Ok(wire::VerdictWord::Better) => Ok(VerdictWord::Better),
        Ok(wire::VerdictWord::Worse) => Ok(VerdictWord::Worse),
        Ok(wire::VerdictWord::GuardrailBroken) => Ok(VerdictWord::GuardrailBroken),
        Ok(wire::VerdictWord::Unspecified) | Err(_) => Err(unknown("word", number)),
    }
}

impl TryFrom<wire::MetricResult> for MetricResult {
    type Error = Unreadable;

    fn try_from(result: wire::MetricResult) -> Result<Self, Unreadable> {
        Ok(Self {
            role: role(result.role)?,
            kind: kind(result.kind)?,
            metric: result.metric,
            says: result.says,
            higher_is_better: result.higher_is_better,
            arms: each(result.arms),
            comparisons: all(result.comparisons)?,
        })
    }
}

impl From<wire::ArmValue> for ArmValue {
    fn from(arm: wire::ArmValue) -> Self {
        let wire::ArmValue { variant, n, numerator, denominator, value, interval } = arm;
        Self { variant, n, numerator, denominator, value, interval: interval.map(Into::into) }
    }
}

impl From<wire::MetricLimits> for Limits {
    fn from(wire::MetricLimits { low, high }: wire::MetricLimits) -> Self {
        Self { low, high }
    }
}

impl TryFrom<wire::MetricComparison> for Comparison {
    type Error = Unreadable;

    fn try_from(comparison: wire::MetricComparison) -> Result<Self, Unreadable> {
        let wire::MetricComparison { variant, hidden, effect, guardrail } = comparison;
        Ok(Self { variant, hidden, effect: maybe(effect)?, guardrail: maybe(guardrail)? })
    }
}

impl TryFrom<wire::MetricEffect> for Effect {
    type Error = Unreadable;

    fn try_from(effect: wire::MetricEffect) -> Result<Self, Unreadable> {
        Ok(Self {
            delta: effect.delta,
            sequence: present("sequence", effect.sequence)?.into(),
            sequence_p: effect.sequence_p,
            fixed: present("fixed", effect.fixed)?.into(),
            fixed_p: effect.fixed_p,
            relative: effect.relative,
            relative_sequence: effect.relative_sequence.map(Into::into),
            theta: effect.theta,
            variance_reduced: effect.variance_reduced,
            over_time: each(effect.over_time),
        })
    }
}

impl From<wire::SequencePoint> for SequencePoint {
    fn from(wire::SequencePoint { day, n, delta, low, high, p }: wire::SequencePoint) -> Self {
        Self { day, n, delta, low, high, p }
    }
}

impl TryFrom<wire::GuardrailResult> for GuardrailResult {
    type Error = Unreadable;

    fn try_from(result: wire::GuardrailResult) -> Result<Self, Unreadable> {
        let wire::GuardrailResult { tolerate, oriented, decision: number } = result;
        Ok(Self { tolerate, oriented: oriented.map(Into::into), decision: decision(number)? })
    }
}

impl TryFrom<wire::MetricBreakdown> for Breakdown {
    type Error = Unreadable;

    fn try_from(breakdown: wire::MetricBreakdown) -> Result<Self, Unreadable> {
        let wire::MetricBreakdown { part, arms, comparisons } = breakdown;
        Ok(Self { part, arms: each(arms), comparisons: all(comparisons)? })
    }
}

impl TryFrom<wire::ReportVerdict> for Verdict {
    type Error = Unreadable;

    fn try_from(verdict: wire::ReportVerdict) -> Result<Self, Unreadable> {
        let wire::ReportVerdict { word: number, sentence } = verdict;
        Ok(Self { word: word(number)?, sentence })
    }
}

impl From<wire::ReportedStep> for StepLine {
    fn from(step: wire::ReportedStep) -> Self {
        let wire::ReportedStep { time, action, coverage, release, author, reason } = step;
        Self { time, action, coverage, release, author, reason }
    }
}

impl TryFrom<wire::MetricsReport> for MetricsReport {
    type Error = Unreadable;

    fn try_from(report: wire::MetricsReport) -> Result<Self, Unreadable> {
        Ok(Self {
            placement: report.placement,
            by: report.by,
            from: report.from,
            to: report.to,
            sources: each(report.sources),
            metrics: all(report.metrics)?,
            rows: each(report.rows),
            left_out: present("left_out", report.left_out)?.into(),
            warnings: report.warnings,
            method: report.method,
        })
    }
}

impl TryFrom<wire::MetricHead> for MetricHead {
    type Error = Unreadable;

    fn try_from(head: wire::MetricHead) -> Result<Self, Unreadable> {
        let wire::MetricHead { metric, says, kind: number, higher_is_better } = head;
        Ok(Self { metric, says, kind: kind(number)?, higher_is_better })
    }
}

impl From<wire::MetricsRow> for MetricsRow {
    fn from(wire::MetricsRow { part, customers, decisions, values }: wire::MetricsRow) -> Self {
        Self { part, customers, decisions, values: each(values) }
    }
}

#[cfg(test)]
mod tests;
