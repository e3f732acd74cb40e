//! Checks the head of a request before anything is made of it: that it is gRPC, and how long its caller waits.
//!
//! A browser sends forms, plain text and `GET` to any address that a page names, without asking that address first.
//! None of these is a call: gRPC requires `POST` and its media type, which a page cannot send to another site unasked.

use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tonic::Status;
use tonic::body::Body;

use super::status;

/// The media type of gRPC. Its encoding may follow after `+`, and parameters after `;`.
const GRPC: &str = "application/grpc";

/// Refuses a request that is not gRPC with a status of plain HTTP: 405 for another method than `POST`, 415 for another
/// media type (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
pub(super) fn refuse_other_http(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let refused = |status| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    if method != Method::POST {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_grpc(one.as_bytes()) => None,
        _ => Some(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
    }
}

/// Whether a media type is that of gRPC; `application/grpc-web` is another protocol.
fn is_grpc(media_type: &[u8]) -> bool {
    match media_type.split_at_checked(GRPC.len()) {
        Some((grpc, rest)) => {
            grpc.eq_ignore_ascii_case(GRPC.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';'))
        }
        None => false,
    }
}

/// The caller's `grpc-timeout`: one to eight digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
///
/// # Errors
/// `INVALID_ARGUMENT` for anything else.
pub(super) fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    match read_timeout(value.as_bytes()) {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(status::invalid("grpc-timeout", "must be up to eight digits and a unit of HMSmun")),
    }
}

fn read_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0, |amount: u64, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    fn parse(text: &[u8]) -> Result<Option<Duration>, Code> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_bytes(text).unwrap());
        timeout_of(&headers).map_err(|status| status.code())
    }

    #[test]
    fn timeouts_are_read_in_every_unit_and_refused_in_none() {
        assert_eq!(parse(b"5S"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(parse(b"20m"), Ok(Some(Duration::from_millis(20))));
        assert_eq!(parse(b"7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(parse(b"1H"), Ok(Some(Duration::from_hours(1))));
        assert_eq!(parse(b"99999999H"), Ok(Some(Duration::from_hours(99_999_999))));
        let wrong: [&[u8]; 12] = [
            b"",
            b"S",
            b"5",
            b"5x",
            b"-5S",
            b"+5S",
            b"123456789S",
            b"5 S",
            b" 5S",
            b"0x5S",
            b"5.0S",
            b"5\xc2\xb5",
        ];
        for wrong in wrong {
            assert_eq!(parse(wrong), Err(Code::InvalidArgument), "{wrong:?}");
        }
        assert_eq!(timeout_of(&HeaderMap::new()).unwrap(), None);
    }

    fn refused(method: &Method, types: &[&str]) -> Option<(u16, Option<String>)> {
        let mut headers = HeaderMap::new();
        for media_type in types {
            headers.append(CONTENT_TYPE, media_type.parse().unwrap());
        }
        let response = refuse_other_http(method, &headers)?;
        let allow = response.headers().get(ALLOW).map(|value| value.to_str().unwrap().to_owned());
        Some((response.status().as_u16(), allow))
    }

    #[test]
    fn a_call_is_a_post_of_grpc() {
        for taken in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/gRPC",
        ] {
            assert_eq!(refused(&Method::POST, &[taken]), None, "{taken}");
        }
        for other in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/json",
            "application/grpc-web",
            "application/grpcx",
            "application/grp",
            "",
        ] {
            assert_eq!(refused(&Method::POST, &[other]), Some((415, None)), "{other}");
        }
        assert_eq!(refused(&Method::POST, &[]), Some((415, None)));
        assert_eq!(refused(&Method::POST, &["application/grpc", "text/plain"]), Some((415, None)));
        for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::HEAD, Method::DELETE] {
            assert_eq!(refused(&method, &["application/grpc"]), Some((405, Some("POST".to_owned()))));
        }
    }

    proptest! {
        #[test]
        fn a_timeout_is_digits_and_a_unit_and_nothing_else(text in "[ -~]{0,11}") {
            let digits = text.len().saturating_sub(1);
            let form = (1..=8).contains(&digits)
                && text[..digits].bytes().all(|byte| byte.is_ascii_digit())
                && text[digits..].contains(['H', 'M', 'S', 'm', 'u', 'n']);
            prop_assert_eq!(parse(text.as_bytes()).is_ok(), form);
        }
    }
}
