//! The one place where errors become statuses.

mod details;

use std::borrow::Cow;
use std::time::Duration;

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::inference::InferenceError;
use super::record::unreadable;
use decision::DecisionError;
use details::{LATER, MUCH_LATER, SOON, retry};
pub(super) use details::{of_request, retry_delay};
use document::Problems;
use event::NotRecorded;
use experiment::ForceError;
use history::feedback::FeedbackError;
use model::RepositoryError;
use release::RegistryError;
use telemetry::ids::new_id;
use work::{Cancellation, Rejection};

/// The status of a decision that has no answer. Details of the server's faults go to the log, under the request's id.
pub(super) fn from_decision(error: &DecisionError, request_id: &str) -> Status {
    let status = match error {
        DecisionError::Invalid { field, message } => invalid(field, message),
        DecisionError::NotFound { .. } => Status::not_found(error.to_string()),
        DecisionError::CannotForce(why) => match why {
            ForceError::UnknownExperiment { .. } | ForceError::UnknownVariant { .. } => {
                Status::not_found(error.to_string())
            }
            ForceError::Inactive { .. } => Status::failed_precondition(error.to_string()),
            ForceError::Exclusive { .. } => invalid("force_variants", why),
        },
        DecisionError::NotLoaded { .. } | DecisionError::NoSegmentation { .. } => {
            Status::failed_precondition(error.to_string())
        }
        DecisionError::NotReady => retry(Code::Unavailable, &error.to_string(), LATER),
        DecisionError::NotRecorded => retry(Code::ResourceExhausted, &error.to_string(), LATER),
        DecisionError::Rejected(refusal) => from_rejection(*refusal, request_id),
        DecisionError::Internal(details) => internal(details, request_id),
    };
    of_request(status, request_id)
}

/// The status of outcomes that have no verdicts. They can be sent again.
pub(super) fn from_feedback(error: FeedbackError, request_id: &str) -> Status {
    let status = match error {
        FeedbackError::NoRoom => retry(Code::ResourceExhausted, &error.to_string(), LATER),
        FeedbackError::NotRecorded(NotRecorded::Stalled | NotRecorded::Closed) => {
            retry(Code::Unavailable, &error.to_string(), LATER)
        }
        FeedbackError::NotRecorded(NotRecorded::Failed) => internal(&error.to_string(), request_id),
        FeedbackError::Unreadable(error) => from_registry(&unreadable(error), request_id, Audience::Caller),
        FeedbackError::Internal(details) => internal(&details, request_id),
    };
    of_request(status, request_id)
}

/// The status of an inference that has no answer.
pub(super) fn from_inference(error: &InferenceError, request_id: &str) -> Status {
    let status = match error {
        InferenceError::InvalidArgument { field, message } => invalid(field, message),
        InferenceError::Repository(error) => match error {
            RepositoryError::ModelNotFound { .. } | RepositoryError::VersionNotFound { .. } => {
                Status::not_found(error.to_string())
            }
            RepositoryError::NotLoaded { .. }
            | RepositoryError::CannotLoad { .. }
            | RepositoryError::NotInService { .. } => Status::failed_precondition(error.to_string()),
        },
        InferenceError::AnswerTooLarge { .. } => Status::out_of_range(error.to_string()),
        InferenceError::Rejected(refusal) => from_rejection(*refusal, request_id),
        InferenceError::Model(error) => internal(&error.to_string(), request_id),
    };
    of_request(status, request_id)
}

/// The reader of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Operates the server, and may know its paths and endpoints.
    Operator,
    /// Any other caller.
    Caller,
}

/// The status of a refused push, release, promotion or query. Only operators read where the store is and what it said.
/// Other callers get the request's id, and the log gets the rest.
pub(super) fn from_registry(error: &RegistryError, request_id: &str, audience: Audience) -> Status {
    let request_id = &*identified(request_id);
    let message = || bounded(&error.to_string());
    let of_store = |instead: &str| match audience {
        Audience::Operator => message(),
        Audience::Caller => {
            tracing::warn!(request_id, details = %error, "a call was refused for what the store said");
            format!("{instead}; the log of the server has the details under request id {request_id}")
        }
    };
    let status = match error {
        RegistryError::Invalid { field, message } => invalid(field, message),
        RegistryError::NotFound(_) => Status::not_found(message()),
        RegistryError::Exists(_) => Status::already_exists(of_store(
            "the number is taken by another version, which never changes: push under another number (0 takes the next)",
        )),
        RegistryError::Precondition(_) => Status::failed_precondition(message()),
        RegistryError::Damaged(_) => {
            Status::failed_precondition(of_store("a file of the store was changed after it was written"))
        }
        RegistryError::Unsound(problems) => Status::failed_precondition(listed(problems)),
        RegistryError::Overtaken { .. } => Status::aborted(message()),
        RegistryError::NoSpace(_) => retry(
            Code::ResourceExhausted,
            &of_store("the disk of the server is full; make room and repeat the call"),
            MUCH_LATER,
        ),
        RegistryError::Cancelled(stop) => from_rejection(Rejection::Cancelled(*stop), request_id),
        RegistryError::Store(_) => {
            retry(Code::Unavailable, &of_store("the store cannot be used at the moment"), LATER)
        }
        RegistryError::StopPending { outcome, until, .. } => retry(
            Code::Unavailable,
            &of_store(&format!(
                "{outcome}, since its stop could not be written; this server tries again until {until}"
            )),
            LATER,
        ),
        RegistryError::Internal(details) => internal(details, request_id),
    };
    of_request(status, request_id)
}

/// The most bytes of a message as it is sent. It travels in a header, and clients begin to refuse headers at 8 KiB
/// (grpc-core's `GRPC_ARG_MAX_METADATA_SIZE`).
const MESSAGE_BYTES: usize = 6 << 10;

/// Bytes of a text in a header: all but plain ASCII is written as `%XX` per byte.
fn header_bytes(text: &str) -> usize {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !br##""#<>`?{}%"##.contains(byte);
    text.bytes().map(|byte| if plain(&byte) { 1 } else { 3 }).sum()
}

/// As many problems as a message can hold, and the number of further ones.
fn listed(problems: &Problems) -> String {
    let mut text = String::new();
    let mut left = MESSAGE_BYTES - header_bytes("\n… and 18446744073709551615 more");
    for (index, problem) in problems.iter().enumerate() {
        let line = if index == 0 { problem.to_string() } else { format!("\n{problem}") };
        let Some(rest) = left.checked_sub(header_bytes(&line)) else {
            if index == 0 {
                text.push_str(&cut(&line, left));
            }
            let more = problems.len() - index.max(1);
            return if more == 0 { text } else { format!("{text}\n… and {more} more") };
        };
        left = rest;
        text.push_str(&line);
    }
    match problems.len() - problems.iter().count() {
        0 => text,
        more => format!("{text}\n… and {more} more"),
    }
}

fn bounded(message: &str) -> String {
    cut(message, MESSAGE_BYTES)
}

/// The beginning of a text that takes at most `most` bytes in a header.
fn cut(text: &str, most: usize) -> String {
    if header_bytes(text) <= most {
        return text.to_owned();
    }
    let mut left = most - header_bytes("…");
    let end = text.char_indices().find(|(_, letter)| {
        match left.checked_sub(header_bytes(letter.encode_utf8(&mut [0; 4]))) {
            Some(rest) => left = rest,
            None => return true,
        }
        false
    });
    format!("{}…", &text[..end.map_or(text.len(), |(at, _)| at)])
}

/// The status of work that the workers refused or did not finish.
pub(super) fn from_rejection(refusal: Rejection, request_id: &str) -> Status {
    match refusal {
        Rejection::Overloaded => exhausted("too much work is queued; try again later"),
        Rejection::TooLate { .. } => Status::deadline_exceeded(refusal.to_string()),
        Rejection::Cancelled(Cancellation::DeadlineExceeded) => deadline_exceeded(),
        Rejection::Cancelled(Cancellation::Abandoned) => Status::cancelled("the caller has gone"),
        Rejection::Panicked => internal("the work panicked", request_id),
    }
}

/// The id of a request, or a new one if it has none: the id that a caller quotes must be in the log.
fn identified(request_id: &str) -> Cow<'_, str> {
    if request_id.is_empty() { Cow::Owned(new_id().to_string()) } else { Cow::Borrowed(request_id) }
}

/// A fault of the server: the caller gets the request's id, the log gets the details.
pub(super) fn internal(details: &str, request_id: &str) -> Status {
    let request_id = &*identified(request_id);
    tracing::error!(request_id, details, "internal error");
    of_request(Status::internal(format!("{INTERNAL_PREFIX} {request_id}")), request_id)
}

/// A limit is reached for now.
pub(super) fn exhausted(message: &str) -> Status {
    retry(Code::ResourceExhausted, message, SOON)
}

/// No release serves yet.
pub(super) fn starting() -> Status {
    retry(Code::Unavailable, "no release is loaded yet; call again soon", LATER)
}

/// The server drains.
pub(super) fn draining() -> Status {
    retry(Code::Unavailable, "the server is shutting down; call another replica", SOON)
}

/// The end of a stream after `answered` answered messages. If the server drains, it says how to go on.
pub(super) fn after_messages(ended: Status, answered: u64) -> Status {
    if ended.code() != Code::Unavailable {
        return ended;
    }
    let message = format!(
        "the server is shutting down; {answered} messages of this stream are answered: send the next, from message {}, on to \
         another replica",
        answered.saturating_add(1)
    );
    let mut details = ended.get_error_details();
    details.set_error_info("DRAINING", "proffer", [("answered".to_owned(), answered.to_string())]);
    details::with(Code::Unavailable, &message, &details)
}

/// The answer is longer than the limit of answers; `less` says what to ask for instead.
pub(super) fn answer_too_long(bytes: usize, limit: usize, less: &str) -> Status {
    Status::out_of_range(format!(
        "the answer has {bytes} bytes, and limits.answer allows {limit}, as most clients take no more: {less}; or raise limits.answer of \
         the server and the largest message that the client receives"
    ))
}

/// How [`internal`] begins: any other `INTERNAL` is `tonic`'s code for bytes that it could not read.
const INTERNAL_PREFIX: &str = "internal error; quote request id";

/// `tonic` answers `INTERNAL` to a damaged frame or compression, and `RESOURCE_EXHAUSTED` to an oversized message. The
/// contract calls the first the caller's mistake and the second out of range.
pub(super) fn corrected(status: Status) -> Status {
    let message = status.message();
    if status.code() == Code::Internal && !message.starts_with(INTERNAL_PREFIX) {
        return Status::invalid_argument(message);
    }
    if status.code() == Code::ResourceExhausted && message.contains("decompressing") {
        return Status::out_of_range(message);
    }
    status
}

/// [`corrected`] for an answer that has no body. It names its request from here on, by `request_id` where it did not
/// yet.
pub(super) fn of_caller(response: Response<Body>, request_id: impl FnOnce() -> String) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => complete(corrected(status), request_id).into_http(),
        _ => response,
    }
}

/// The status with a request in it; `request_id` generates one if the status names none.
pub(super) fn complete(status: Status, request_id: impl FnOnce() -> String) -> Status {
    if details::names_request(&status) { status } else { of_request(status, &request_id()) }
}

/// The caller's deadline has passed; the work was dropped.
pub(super) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline passed before the answer was ready; the work was dropped")
}

/// A message did not arrive in time.
pub(super) fn message_missing(time: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "the message did not arrive within {time:?} (limits.body_time), which holds for every deadline"
    ))
}

/// A message arrived in part, and the memory to read on was not free in time.
pub(super) fn message_without_room(time: Duration) -> Status {
    exhausted(&format!("there was no room for the message within {time:?}"))
}

/// The next message of a stream did not begin in time.
pub(super) fn message_late(time: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "no message came for {time:?}; open the stream again when there is one"
    ))
}

/// A call with one request, whether unary or answered by a stream, was sent a second message.
pub(super) fn one_message_only() -> Status {
    Status::unimplemented("the call takes exactly one message, but a second one arrived")
}

/// No service has this path.
pub(super) fn no_such_call() -> Status {
    Status::unimplemented("there is no such call; reflection lists those that exist")
}

/// Only peers on loopback may change anything.
pub(super) fn only_local_writes() -> Status {
    Status::permission_denied(
        "only peers on loopback may change anything; `proffer serve --allow-remote-admin` lets everyone who reaches the \
         port",
    )
}

/// No caller has a role yet, so a switch says whether requests may force variants.
pub(super) fn no_forced_variants() -> Status {
    Status::permission_denied(
        "force_variants: this server takes no forced variants; `experiments.forced_variants = true` in its \
         configuration lets every caller force them",
    )
}

/// The caller's field is wrong.
pub(super) fn invalid(field: impl std::fmt::Display, message: impl std::fmt::Display) -> Status {
    let (field, message) = (field.to_string(), message.to_string());
    let told = format!("{field}: {message}");
    details::with(Code::InvalidArgument, &told, &ErrorDetails::with_bad_request_violation(field, message))
}

/// The name of a code as gRPC writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use model::ModelError;
    use release::StoreError;

    #[test]
    fn each_reason_has_its_status() {
        let named = |name: &str| name.to_owned();
        let cases = [
            (
                InferenceError::InvalidArgument { field: named("inputs[0].shape"), message: named("is [1]") },
                Code::InvalidArgument,
            ),
            (RepositoryError::ModelNotFound { name: named("m"), hint: String::new() }.into(), Code::NotFound),
            (
                RepositoryError::VersionNotFound { name: named("m"), version: 2, versions: vec![1] }.into(),
                Code::NotFound,
            ),
            (
                RepositoryError::NotLoaded { name: named("m"), version: 1, serving: Some(2) }.into(),
                Code::FailedPrecondition,
            ),
            (
                RepositoryError::CannotLoad { name: named("m"), version: 1, reason: named("damaged") }.into(),
                Code::FailedPrecondition,
            ),
            (InferenceError::AnswerTooLarge { bytes: 2, limit: 1 }, Code::OutOfRange),
            (Rejection::Overloaded.into(), Code::ResourceExhausted),
            (Rejection::Cancelled(Cancellation::DeadlineExceeded).into(), Code::DeadlineExceeded),
            (
                Rejection::TooLate { needs: Duration::from_secs(2), left: Duration::from_secs(1) }.into(),
                Code::DeadlineExceeded,
            ),
            (Rejection::Cancelled(Cancellation::Abandoned).into(), Code::Cancelled),
            (Rejection::Panicked.into(), Code::Internal),
        ];
        for (error, code) in cases {
            assert_eq!(from_inference(&error, "7").code(), code, "{error}");
        }
    }

    #[test]
    fn each_refusal_of_the_registry_has_its_status() {
        let text = || "x".to_owned();
        let unsound = RegistryError::Unsound(Problems::one("offers.toml", Some(7), "what is wrong"));
        let from_registry = |error: &RegistryError, id| from_registry(error, id, Audience::Operator);
        assert_eq!(from_registry(&unsound, "7").message(), "offers.toml:7: what is wrong");
        let overtaken = RegistryError::Overtaken { current: 9, message: text() };
        assert!(from_registry(&overtaken, "7").message().contains("release 9 is current"));
        let cases = [
            (RegistryError::Invalid { field: text(), message: text() }, Code::InvalidArgument),
            (RegistryError::NotFound(text()), Code::NotFound),
            (RegistryError::Exists(text()), Code::AlreadyExists),
            (RegistryError::Precondition(text()), Code::FailedPrecondition),
            (RegistryError::Damaged(text()), Code::FailedPrecondition),
            (unsound, Code::FailedPrecondition),
            (overtaken, Code::Aborted),
            (RegistryError::NoSpace(text()), Code::ResourceExhausted),
            (RegistryError::Cancelled(Cancellation::DeadlineExceeded), Code::DeadlineExceeded),
            (RegistryError::Cancelled(Cancellation::Abandoned), Code::Cancelled),
            (RegistryError::Store(StoreError::NoSuchRelease(3)), Code::Unavailable),
            (RegistryError::StopPending { outcome: text(), cause: text(), until: "x" }, Code::Unavailable),
            (RegistryError::Internal("a secret".to_owned()), Code::Internal),
        ];
        for (error, code) in cases {
            let status = from_registry(&error, "7");
            assert_eq!(status.code(), code, "{error}");
            assert!(!status.message().contains("secret"));
        }
    }

    #[test]
    fn paths_and_endpoints_are_for_operators() {
        let place = || "/srv/store/models/m/1 at http://minio.internal:9000".to_owned();
        let unreachable = StoreError::Unreachable { store: place(), message: place() };
        let damaged = StoreError::Changed { path: place(), expected: "a".into(), found: "b".into() };
        let occupied = StoreError::Occupied { path: place() };
        let errors = [
            RegistryError::Store(unreachable),
            RegistryError::from(damaged),
            RegistryError::from(occupied),
            RegistryError::NoSpace(place()),
            RegistryError::StopPending { outcome: "nothing has moved".into(), cause: place(), until: "done" },
        ];
        for error in errors {
            let operator = from_registry(&error, "r7", Audience::Operator);
            assert!(operator.message().contains("/srv/store/models/m/1"), "{operator}");
            let caller = from_registry(&error, "r7", Audience::Caller);
            assert_eq!(caller.code(), operator.code());
            assert_eq!(retry_delay(&caller), retry_delay(&operator));
            assert!(!caller.message().contains('/') && !caller.message().contains("minio"), "{caller}");
            assert!(caller.message().contains("request id r7"), "{caller}");
        }
    }

    #[test]
    fn every_fault_of_ours_has_a_request_id_to_quote() {
        let nameless = [
            internal("x", ""),
            from_rejection(Rejection::Panicked, ""),
            from_registry(&RegistryError::Internal("x".to_owned()), "", Audience::Caller),
            from_inference(&InferenceError::Rejected(Rejection::Panicked), ""),
            from_decision(&DecisionError::Internal("x".to_owned()), ""),
        ];
        for status in nameless {
            let quoted = status.message().rsplit(' ').next().unwrap();
            assert!(uuid::Uuid::parse_str(quoted).is_ok(), "{status}");
            assert_eq!(status.get_details_request_info().unwrap().request_id, quoted);
        }
        let named = of_request(Status::unavailable("x"), "").get_details_request_info().unwrap();
        assert!(uuid::Uuid::parse_str(&named.request_id).is_ok());
    }

    #[test]
    fn many_problems_are_told_up_to_what_a_header_holds() {
        let mut problems = Problems::new();
        for line in 1..=1000 {
            problems.push("offers.toml", Some(line), "the value is – as so often – wrong");
        }
        let from_registry = |error: &RegistryError, id| from_registry(error, id, Audience::Operator);
        let message = from_registry(&RegistryError::Unsound(problems), "7").message().to_owned();
        assert!(header_bytes(&message) <= MESSAGE_BYTES, "{}", header_bytes(&message));
        let told = message.lines().count() - 1;
        assert!(told > 50, "{told}");
        assert!(message.ends_with(&format!("… and {} more", 1000 - told)), "{message}");
        let one = RegistryError::Unsound(Problems::one("x", None, "ä".repeat(10_000)));
        let message = from_registry(&one, "7").message().to_owned();
        assert!(message.starts_with("x: ä") && message.ends_with('…'), "{message}");
    }

    proptest! {
        #[test]
        fn no_message_outgrows_its_header(letters in "(\\PC|[ -~]){0,300}", times in 0_usize..100) {
            let text = letters.repeat(times);
            let told = bounded(&text);
            prop_assert!(header_bytes(&told) <= MESSAGE_BYTES);
            prop_assert!(told == text || text.starts_with(told.strip_suffix('…').unwrap()));
        }
    }

    #[test]
    fn our_own_faults_are_told_by_request_id_only() {
        let error = InferenceError::Model(ModelError::NoSession { worker: 3, sessions: 2 });
        let message = from_inference(&error, "request 7").message().to_owned();
        assert!(message.contains("request 7") && !message.contains("session"), "{message}");
    }
}
