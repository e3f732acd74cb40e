//! What a caller is told of an outcome.

use crate::Overshoot;

/// What became of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is recorded and counted.
    Accepted(AcceptedOutcome),
    /// It was recorded before.
    Duplicate,
    /// It is not recorded.
    Refused(RefusedOutcome),
}

/// What is told of an outcome that is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptedOutcome {
    /// Whether its decision is known.
    pub attributed: bool,
    /// Whether it happened after the attribution window of its type.
    pub late: bool,
    /// The limits that it exceeded, since its reservation had lapsed.
    pub overshoot: Overshoot,
}

/// Why an outcome is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedOutcome {
    /// The kind of problem.
    pub problem: OutcomeProblem,
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it, without its name.
    pub message: String,
}

/// Kinds of problems of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeProblem {
    /// A field is missing, too long, or not what it should be.
    Invalid,
    /// It happened longer ago than duplicates are recognised.
    TooOld,
    /// It happened ahead of the server's clock.
    FromTheFuture,
    /// The decision is not known, and customer and offer are not both given.
    UnknownDecision,
    /// The decision did not show the offer, or was for another customer.
    Mismatch,
    /// The type is not declared.
    UnknownType,
}

impl RefusedOutcome {
    pub(super) fn new(problem: OutcomeProblem, field: &'static str, message: impl Into<String>) -> Self {
        Self { problem, field, message: message.into() }
    }

    pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::new(OutcomeProblem::Invalid, field, message)
    }
}
