//! How much one call may bring. The limits are checked before anything is built from the call.

use std::fmt::Display;
use std::time::Duration;

use tonic::Status;

use super::status::{answer_too_long, invalid};
use telemetry::memory_limit;

/// The bounds of a call. A call beyond them is refused, with the field's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, compressed or not.
    pub message_bytes: usize,
    /// Bytes of one answer of `DecisionService`.
    pub answer_bytes: usize,
    /// Customers of one `Rank`.
    pub customers: usize,
    /// Rows of one `Score` or `AssignSegments`.
    pub rows: usize,
    /// Bytes of one text value.
    pub text_bytes: usize,
    /// How long a call without a deadline of its own may take until its answer begins.
    pub time: Duration,
    /// Calls in flight at once; further ones are answered `RESOURCE_EXHAUSTED`.
    pub concurrent_calls: usize,
    /// Bytes of requests and answers that all connections hold together. `None` derives it from the memory of the
    /// process ([`Limits::memory`]).
    pub memory_bytes: Option<usize>,
    /// Bytes of requests and answers that one connection holds.
    pub connection_bytes: usize,
    /// Calls that one connection may have open at once.
    pub streams: u32,
    /// How long a message may take to arrive.
    pub body_time: Duration,
    /// How long an answer may go unread before its stream is reset.
    pub write_time: Duration,
    /// Whether requests may force variants of experiments: no caller has a role yet.
    pub forced_variants: bool,
}

/// Requests and answers may hold one part in so many of the process's memory.
const MEMORY_SHARE: u64 = 4;

/// Requests and answers may always hold this many bytes, also where the memory is unknown. One connection can then send
/// the longest message with the most entries.
const LEAST_MEMORY: usize = 192 << 20;

impl Limits {
    /// Bytes of requests and answers that all connections hold together.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory_bytes.unwrap_or_else(|| {
            let share = memory_limit().map(|limit| limit / MEMORY_SHARE);
            share.and_then(|share| usize::try_from(share).ok()).unwrap_or(0).max(LEAST_MEMORY)
        })
    }

    /// Bytes of requests and answers that one connection holds. The reserve of the server's budget is never part of it.
    #[must_use]
    pub fn connection_memory(&self) -> usize {
        let memory = self.memory();
        self.connection_bytes.min(memory - memory / 4)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            // The default limit of gRPC clients.
            answer_bytes: 4 << 20,
            customers: 1024,
            rows: 100_000,
            text_bytes: 64 << 10,
            time: Duration::from_mins(1),
            concurrent_calls: 1024,
            memory_bytes: None,
            connection_bytes: 128 << 20,
            streams: 200,
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            forced_variants: false,
        }
    }
}

/// Bytes of an identifier: customers, requests, offers, models, consents, features.
const ID_BYTES: usize = 256;

/// Characters of a request id.
const REQUEST_ID_CHARACTERS: usize = 128;

/// Refuses a request id that is not 1 to 128 visible characters of ASCII. An absent one is generated. The id appears in
/// logs, traces and statuses, and people search for it.
pub(super) fn check_request_id(field: &str, id: &str) -> Result<(), Status> {
    request_id_fault(id).map_or(Ok(()), |message| Err(invalid(field, message)))
}

/// What is wrong with a request id.
pub(super) fn request_id_fault(id: &str) -> Option<String> {
    if id.len() <= REQUEST_ID_CHARACTERS && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(format!(
        "must be 1 to {REQUEST_ID_CHARACTERS} visible characters of ASCII, without spaces, or absent"
    ))
}

/// Entries of a list of identifiers.
const LIST_ENTRIES: usize = 10_000;

/// Refuses an identifier that is too long.
pub(super) fn check_id(field: impl Display, id: &str) -> Result<(), Status> {
    id_too_long(id).map_or(Ok(()), |message| Err(invalid(field, message)))
}

/// Bytes of an author's name.
const AUTHOR_BYTES: usize = 256;

/// Bytes of a note or a reason.
const NOTE_BYTES: usize = 4096;

/// Bytes of a model's name.
const MODEL_NAME_BYTES: usize = 64;

/// Refuses an author whose name is too long.
pub(super) fn check_author(author: &str) -> Result<(), Status> {
    check_count("author", "bytes", author.len(), AUTHOR_BYTES)
}

/// Refuses a note or a reason that is too long.
pub(super) fn check_note(field: &str, note: &str) -> Result<(), Status> {
    check_count(field, "bytes", note.len(), NOTE_BYTES)
}

/// Refuses what cannot name a model, and so a directory.
pub(super) fn check_model_name(field: impl Display, name: &str) -> Result<(), Status> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=MODEL_NAME_BYTES).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(invalid(
        field,
        format_args!(
            "must be 1 to {MODEL_NAME_BYTES} letters, digits, `_`, `-` and `.`, and not begin with a dot"
        ),
    ))
}

/// Refuses a list of identifiers that is too long, or contains one that is.
pub(super) fn check_ids(field: impl Display + Copy, ids: &[String]) -> Result<(), Status> {
    match ids_too_long(ids) {
        None => Ok(()),
        Some((None, message)) => Err(invalid(field, message)),
        Some((Some(index), message)) => Err(invalid(format_args!("{field}[{index}]"), message)),
    }
}

/// Refuses a count above its limit.
pub(super) fn check_count(field: impl Display, what: &str, count: usize, most: usize) -> Result<(), Status> {
    excess(what, count, most).map_or(Ok(()), |message| Err(invalid(field, message)))
}

/// Refuses an answer that is too long, before it is encoded; `less` says what to ask for instead.
pub(super) fn check_answer(bytes: usize, limits: &Limits, less: &str) -> Result<(), Status> {
    if bytes <= limits.answer_bytes {
        return Ok(());
    }
    Err(answer_too_long(bytes, limits.answer_bytes, less))
}

/// Refuses a text value that is too long.
pub(super) fn check_text(field: impl Display, text: &str, limits: &Limits) -> Result<(), Status> {
    too_long(text, limits).map_or(Ok(()), |message| Err(invalid(field, message)))
}

/// What is wrong with a text value that is too long.
pub(super) fn too_long(text: &str, limits: &Limits) -> Option<String> {
    excess("bytes", text.len(), limits.text_bytes)
}

/// What is wrong with an identifier that is too long.
pub(super) fn id_too_long(id: &str) -> Option<String> {
    (id.len() > ID_BYTES).then(|| format!("{} bytes are more than {ID_BYTES}", id.len()))
}

/// The beginning of an identifier, cut to the allowed length.
pub(super) fn cut_id(id: &str) -> &str {
    &id[..id.floor_char_boundary(ID_BYTES)]
}

/// What is wrong with a list of identifiers, and the index of the one at fault, if it is a single one.
pub(super) fn ids_too_long(ids: &[String]) -> Option<(Option<usize>, String)> {
    if let Some(message) = excess("entries", ids.len(), LIST_ENTRIES) {
        return Some((None, message));
    }
    ids.iter().enumerate().find_map(|(index, id)| Some((Some(index), id_too_long(id)?)))
}

fn excess(what: &str, count: usize, most: usize) -> Option<String> {
    (count > most).then(|| format!("{count} {what} are more than {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_what_can_be_searched_for() {
        for id in ["", "mine", "01a2014a-7eb3-7745-8c20-b1942258e9c4", "a:b/c#d", &"x".repeat(128)] {
            assert!(check_request_id("request_id", id).is_ok(), "{id}");
        }
        for id in ["a b", "ä", "a\nb", "\u{1b}[31m", "\u{202e}a", "\0", &"x".repeat(129)] {
            let refused = check_request_id("request_id", id).unwrap_err();
            assert!(refused.message().starts_with("request_id: must be 1 to 128"), "{}", refused.message());
        }
    }

    #[test]
    fn the_name_of_a_model_is_the_name_of_a_directory_and_nothing_else() {
        for name in ["propensity", "A-b_c.1", &"x".repeat(64)] {
            assert!(check_model_name("name", name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\0", &"x".repeat(65)] {
            let refused = check_model_name("name", name).unwrap_err();
            assert!(refused.message().starts_with("name: must be 1 to 64"), "{name}");
        }
    }
}
