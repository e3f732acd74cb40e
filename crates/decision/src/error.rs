//! Why a whole call fails.

use std::fmt;

use experiment::ForceError;
use feature::BatchError;
use work::{Cancellation, Rejection};

/// Why a call fails. The caller reads the message; the edge maps the variant to a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// The request is invalid for any release.
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
    /// The request names something that is not loaded. Only the store knows whether it exists.
    #[error("{field}: {asked} is not loaded; {serving}")]
    NotLoaded {
        /// The path of the field.
        field: String,
        /// What was asked for.
        asked: Asked,
        /// What is loaded instead.
        serving: String,
    },
    /// The release assigns no segments.
    #[error("features: release {release} has no segmentation")]
    NoSegmentation {
        /// The release that serves.
        release: u64,
    },
    /// A variant that the request forces cannot be forced.
    #[error("force_variants: {0}")]
    CannotForce(ForceError),
    /// No release is loaded yet.
    #[error("no release is loaded yet")]
    NotReady,
    /// There is no room to record the decision, and decisions that are not recorded are refused.
    #[error(
        "the decision cannot be recorded now, and decisions that are not recorded are refused (`records.when_full`)"
    )]
    NotRecorded,
    /// The work was refused or stopped.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A fault of the server; the text is for the log.
    #[error("internal: {0}")]
    Internal(String),
}

/// Something that a store may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A release by its number.
    Release(u64),
    /// A version of a model.
    Version {
        /// The model, one of the release's own.
        model: String,
        /// The number.
        version: u64,
    },
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(number) => write!(f, "release {number}"),
            Self::Version { model, version } => write!(f, "version {version} of `{model}`"),
        }
    }
}

impl DecisionError {
    /// Turns `NotLoaded` into `NotFound`, once the store was asked.
    #[must_use]
    pub fn nonexistent(self) -> Self {
        let Self::NotLoaded { field, asked, .. } = self else { return self };
        let (what, name) = match asked {
            Asked::Release(number) => ("release", number.to_string()),
            Asked::Version { version, .. } => ("version", version.to_string()),
        };
        Self::NotFound { field, what, name, hint: String::new() }
    }

    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    pub(super) fn in_features(error: BatchError) -> Self {
        Self::invalid(format!("features.{}", error.field), error.message)
    }
}

impl From<Cancellation> for DecisionError {
    fn from(stop: Cancellation) -> Self {
        Self::Rejected(Rejection::Cancelled(stop))
    }
}
