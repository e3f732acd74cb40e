//! Why a whole call has no answer.

use crate::feature::BatchError;
use crate::model::{Refusal, Stop};

/// Why a call has no answer. What the caller reads is the message; how it travels is decided at the edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// The request is wrong, whatever the release.
    #[error("{field}: {message}")]
    Invalid {
        /// The path of the field.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// The request names something that does not exist.
    #[error("{field}: there is no {what} `{name}`{hint}")]
    NotFound {
        /// The path of the field.
        field: String,
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// The request names something that exists but does not serve.
    #[error("{field}: {message}")]
    NotLoaded {
        /// The path of the field.
        field: String,
        /// What is loaded instead.
        message: String,
    },
    /// Nothing serves yet.
    #[error("no release is loaded yet")]
    NotReady,
    /// The work was not begun or not finished.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Our fault; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}

impl DecisionError {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    pub(super) fn in_features(error: BatchError) -> Self {
        Self::invalid(format!("features.{}", error.field), error.message)
    }
}

impl From<Stop> for DecisionError {
    fn from(stop: Stop) -> Self {
        Self::Refused(Refusal::Stopped(stop))
    }
}
