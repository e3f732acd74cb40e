//! Why an inference call has no answer.

use model::{ModelError, RepositoryError};
use work::Rejection;

/// Why a call of the Open Inference Protocol failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InferenceError {
    /// The request is wrong in one field.
    #[error("{field}: {message}")]
    InvalidArgument {
        /// The path of the field (`inputs[0].shape`).
        field: String,
        /// What is wrong, and what the model expects.
        message: String,
    },
    /// There is no such model, or it is not loaded.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The answer does not fit in a message.
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
    Rejected(#[from] Rejection),
    /// The model failed for a reason other than the request.
    #[error(transparent)]
    Model(ModelError),
}

/// The longest quote of a client's text, or of ONNX Runtime's, in a message; in characters.
const LONGEST_QUOTE: usize = 300;

impl InferenceError {
    pub(super) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidArgument { field: field.into(), message: message.into() }
    }
}

/// `text`, cut to the length of a quote.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
