//! Why a whole call has no answer.

use std::fmt;

use crate::feature::BatchError;
use crate::model::{Refusal, Stop};
use crate::release::Store;

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
    /// The request names something that does not serve; whether it exists is for the store to say.
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

impl Asked {
    /// Whether the store holds it. May wait for the store.
    #[must_use]
    pub fn exists(&self, store: &Store) -> bool {
        match self {
            Self::Release(number) => store.has_release(*number),
            Self::Version { model, version } => store.has_version(model, *version),
        }
    }
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
    /// What is not loaded because it does not exist.
    pub(super) fn nonexistent(self) -> Self {
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

impl From<Stop> for DecisionError {
    fn from(stop: Stop) -> Self {
        Self::Refused(Refusal::Stopped(stop))
    }
}
