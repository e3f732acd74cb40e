//! Words of reports, and texts of elsewhere made safe.

use telemetry::foreign;

use crate::report::{ArmValue, GuardrailDecision, MetricResult, Role, VerdictWord};

/// What stands for a number that there is not.
pub(super) const NONE: &str = "–";

/// Escapes a text for HTML. Marks that turn the direction of what follows are shown instead of obeyed.
pub(super) fn escape(text: &str) -> String {
    report::escape(&foreign::escaped(text))
}

/// Sentences as HTML; names in backticks become `<code>`. No line begins with a per cent sign.
pub(super) fn prose(text: &str) -> String {
    report::marked(&foreign::escaped(text)).replace(" %", "\u{a0}%")
}

/// A name as HTML.
pub(super) fn code(name: &str) -> String {
    format!("<code>{}</code>", escape(name))
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Guardrail => "guardrail",
        Role::Secondary => "secondary",
    }
}

/// The role, with what it says of its results.
pub(super) fn role_labelled(of: Role) -> &'static str {
    match of {
        Role::Primary | Role::Guardrail => role(of),
        Role::Secondary => "secondary, exploratory",
    }
}

pub(super) fn better(higher: bool) -> &'static str {
    if higher { "higher is better" } else { "lower is better" }
}

pub(super) fn decision(decision: GuardrailDecision) -> &'static str {
    match decision {
        GuardrailDecision::Advance => "advance",
        GuardrailDecision::Hold => "hold",
        GuardrailDecision::RollBack => "roll back",
    }
}

pub(super) fn verdict(word: VerdictWord) -> &'static str {
    match word {
        VerdictWord::Mismatch => "no result: wrong split",
        VerdictWord::TooEarly => "too early",
        VerdictWord::Undecided => "undecided",
        VerdictWord::Better => "better",
        VerdictWord::Worse => "worse",
        VerdictWord::GuardrailBroken => "guardrail broken",
    }
}

/// What stands for a time or a name that there is not.
pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { NONE } else { text }
}

/// The arm of a variant in a metric.
pub(super) fn arm<'r>(arms: &'r [ArmValue], variant: &str) -> Option<&'r ArmValue> {
    arms.iter().find(|arm| arm.variant == variant)
}

/// Metrics of a role.
pub(super) fn of_role(metrics: &[MetricResult], role: Role) -> impl Iterator<Item = &MetricResult> {
    metrics.iter().filter(move |metric| metric.role == role)
}

/// What is not in the figures, with its number.
pub(super) fn left_out(of: &crate::report::LeftOut) -> [(u64, &'static str); 5] {
    [
        (of.unknown_decisions, "decisions of customers without an id; not in the figures"),
        (
            of.forced_decisions,
            "decisions of customers who were listed or forced into a variant; not in the figures",
        ),
        (of.crossed_customers, "customers who were seen in a second arm; they count in their first"),
        (of.late_outcomes, "outcomes that came too late to be attributed; not in the figures"),
        (of.unmatched_outcomes, "outcomes whose decision is not among those reported; not in the figures"),
    ]
}
