//! Why an inference call has no answer.

use crate::model::{ModelError, Refusal, RepositoryError};

/// Why a call of the Open Inference Protocol failed.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The request is wrong in one field.
    #[error("{field}: {message}")]
    InvalidArgument {
        /// The path of the field (`inputs[0].shape`).
        field: String,
        /// What is wrong, and what the model wants.
        message: String,
    },
    /// There is no such model, or it is not loaded.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The answer would not fit into a message.
    #[error(
        "the outputs need {bytes} bytes, but a message holds at most {limit}; ask for fewer outputs or rows"
    )]
    AnswerTooLarge {
        /// The size of the answer, at least.
        bytes: usize,
        /// The limit of a message.
        limit: usize,
    },
    /// The queue, the deadline or the caller ended the call.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The model failed for a reason that is not the request.
    #[error(transparent)]
    Model(ModelError),
}

/// The longest piece of a client's own text, or of ONNX Runtime's, that a message repeats; in characters.
const LONGEST_QUOTE: usize = 300;

impl InferenceError {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), message: message.into() }
    }
}

/// `text` cut to a length that belongs in a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
