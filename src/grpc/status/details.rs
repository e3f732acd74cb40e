//! What a status carries beside its message, for programs: the messages of `google.rpc` in `grpc-status-details-bin`
//! (<https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto>).
//!
//! | detail | where |
//! |---|---|
//! | `BadRequest` | one violation with the field that the message begins with |
//! | `RetryInfo` | every `RESOURCE_EXHAUSTED` and `UNAVAILABLE` |
//! | `RequestInfo` | every status: the caller's request id, or the one that the log has |
//! | `ErrorInfo` | the end of a stream by a drain: how many messages were answered |
//!
//! Message and details travel in headers, of which clients accept 8 KiB in all. The message comes first. Details
//! that do not fit beside it are shortened, then left out.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{bounded, cut, header_bytes, identified};

/// Delay before a retry when a queue or a limit is full: work takes milliseconds.
pub(super) const SOON: Duration = Duration::from_millis(100);

/// Delay before a retry when a store does not answer or a release is loading.
pub(super) const LATER: Duration = Duration::from_secs(1);

/// Delay before a retry when a disk is full: a person has to make room.
pub(super) const MUCH_LATER: Duration = Duration::from_mins(1);

/// The most bytes that message and details take together, as they are sent.
const HEADER_BYTES: usize = 7 << 10;

/// Bytes of a shortened text in the details.
const SHORT: usize = 256;

/// A status with these details.
pub(super) fn with(code: Code, message: &str, details: &ErrorDetails) -> Status {
    let message = bounded(message);
    let sent = |details: &[u8]| header_bytes(&message) + details.len().div_ceil(3) * 4;
    let status = Status::with_error_details(code, message.clone(), details.clone());
    if sent(status.details()) <= HEADER_BYTES {
        return status;
    }
    // The details repeat the message, and the violation repeats most of it.
    let shortened = Status::with_error_details(code, cut(&message, SHORT), short(details));
    if sent(shortened.details()) <= HEADER_BYTES {
        return Status::with_details(code, message, shortened.details().to_vec().into());
    }
    Status::new(code, message)
}

fn short(details: &ErrorDetails) -> ErrorDetails {
    let mut short = details.clone();
    if let Some(request) = details.bad_request() {
        let mut violations = request.field_violations.clone();
        for violation in &mut violations {
            violation.field = cut(&violation.field, SHORT);
            violation.description = cut(&violation.description, SHORT);
        }
        short.set_bad_request(violations);
    }
    short
}

/// A status that says when to try again.
pub(super) fn retry(code: Code, message: &str, after: Duration) -> Status {
    with(code, message, &ErrorDetails::with_retry_info(Some(after)))
}

/// The status with the id of the request, or a new id if that is empty; an id that it has stays.
pub(in crate::grpc) fn of_request(status: Status, id: &str) -> Status {
    let mut details = status.get_error_details();
    if details.request_info().is_some() {
        return status;
    }
    details.set_request_info(&*identified(id), "");
    let passes = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable);
    if passes && details.retry_info().is_none() {
        details.set_retry_info(Some(LATER));
    }
    let mut complete = with(status.code(), status.message(), &details);
    // Such as the compressions that the server accepts.
    *complete.metadata_mut() = status.metadata().clone();
    complete
}

/// Whether the status names its request.
pub(super) fn names_request(status: &Status) -> bool {
    status.get_details_request_info().is_some()
}

/// The delay after which a call may be tried again.
pub(in crate::grpc) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_keeps_what_it_has_and_gets_the_request() {
        let status = of_request(crate::grpc::status::invalid("count", "101 are more than 100"), "r7");
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((violations[0].field.as_str(), violations.len()), ("count", 1));
        assert_eq!(violations[0].description, "101 are more than 100");
        assert_eq!(status.get_details_request_info().unwrap().request_id, "r7");
        assert_eq!(status.message(), "count: 101 are more than 100");
        let again = of_request(status, "r8");
        assert_eq!(again.get_details_request_info().unwrap().request_id, "r7");
        let foreign = of_request(Status::unavailable("x"), "r9");
        assert_eq!(retry_delay(&foreign), Some(LATER));
        let retried = of_request(retry(Code::ResourceExhausted, "x", SOON), "r9");
        assert_eq!(retry_delay(&retried), Some(SOON));
    }

    #[test]
    fn a_status_keeps_its_metadata() {
        let mut status = Status::unimplemented("x");
        status.metadata_mut().insert("grpc-accept-encoding", "gzip".parse().unwrap());
        assert!(of_request(status, "r1").metadata().contains_key("grpc-accept-encoding"));
    }

    proptest! {
        #[test]
        fn whatever_is_told_fits_into_the_headers_and_says_the_field(
            field in "[a-z.\\[\\]0-9]{1,300}", text in "(\\PC|[ -~]){0,300}", times in 0_usize..60, id in "\\PC{1,64}",
        ) {
            let status = of_request(crate::grpc::status::invalid(&field, text.repeat(times)), &id);
            let sent = header_bytes(status.message()) + status.details().len().div_ceil(3) * 4;
            prop_assert!(sent <= HEADER_BYTES, "{sent}");
            let whole = format!("{field}: {}", text.repeat(times));
            prop_assert!(whole.starts_with(status.message().trim_end_matches('…')));
            if header_bytes(status.message()) < 4 << 10 {
                let details = status.get_error_details();
                prop_assert_eq!(&details.request_info().unwrap().request_id, &id);
                let told = &details.bad_request().unwrap().field_violations[0].field;
                prop_assert!(field.starts_with(told.trim_end_matches('…')));
            }
        }
    }
}
