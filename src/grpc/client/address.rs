//! The address of a server as a person writes it.

use std::net::Ipv6Addr;

/// The address that a server has by default.
pub(super) const EXAMPLE: &str = "127.0.0.1:50051";

/// The port that a server has by default.
const PORT: &str = "50051";

/// The URL that `address` means: `HOST:PORT`, with or without `http://` before it and a slash behind.
///
/// # Errors
/// What is wrong, and what to write instead.
pub(super) fn url(address: &str) -> Result<String, (String, String)> {
    let example = || format!("http://{EXAMPLE}");
    let refuse = |wrong: &str, instead: String| Err((wrong.to_owned(), instead));
    let address = address.trim();
    let rest = match address.split_once("://") {
        None => address,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, rest)) => {
            let wrong = if scheme.eq_ignore_ascii_case("https") {
                "there is no TLS yet".to_owned()
            } else {
                format!("the scheme `{scheme}` is not known")
            };
            let instead = if url(rest).is_ok() { format!("http://{rest}") } else { example() };
            return Err((wrong, instead));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return refuse("it names no host", example());
    }
    if rest.contains(|letter: char| letter.is_whitespace() || letter.is_control() || "/?#@".contains(letter))
    {
        return refuse("it has more than a host and a port", example());
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => {
            let Some((host, behind)) = inside.split_once(']') else {
                return refuse("the bracket is not closed", format!("http://[::1]:{PORT}"));
            };
            if host.parse::<Ipv6Addr>().is_err() {
                return refuse("there is no IPv6 address in the brackets", format!("http://[::1]:{PORT}"));
            }
            (&rest[..host.len() + 2], behind)
        }
        None if rest.parse::<Ipv6Addr>().is_ok() => {
            let wrong = "an IPv6 address stands in brackets, and the port behind them";
            return refuse(wrong, format!("http://[{rest}]:{PORT}"));
        }
        None => match rest.find(':') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        },
    };
    if !host.starts_with('[') && host.contains(['[', ']']) {
        return refuse("a bracket is out of place", example());
    }
    if host.is_empty() {
        return refuse(
            "it names no host",
            format!("http://127.0.0.1{}", if is_port(port) { port } else { ":50051" }),
        );
    }
    match port {
        "" | ":" => refuse("the port is missing", format!("http://{host}:{PORT}")),
        port if is_port(port) => Ok(format!("http://{host}{port}")),
        port => {
            let port = port.strip_prefix(':').unwrap_or(port);
            Err((format!("`{port}` is not a port, a number of 1 to 65535"), format!("http://{host}:{PORT}")))
        }
    }
}

/// Whether this is a colon and the number of a port.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse().is_ok_and(|port: u16| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_and_a_port_are_an_address() {
        for (address, expected) in [
            ("127.0.0.1:50051", "http://127.0.0.1:50051"),
            ("http://localhost:9/", "http://localhost:9"),
            (" proffer.default.svc:50051\n", "http://proffer.default.svc:50051"),
            ("HTTP://[::1]:50051", "http://[::1]:50051"),
            ("[fe80::1]:1", "http://[fe80::1]:1"),
        ] {
            assert_eq!(url(address).as_deref(), Ok(expected), "{address}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_form_to_write() {
        for (address, wrong, instead) in [
            ("localhost", "the port is missing", "http://localhost:50051"),
            ("http://localhost", "the port is missing", "http://localhost:50051"),
            ("localhost:", "the port is missing", "http://localhost:50051"),
            ("[::1]", "the port is missing", "http://[::1]:50051"),
            ("http://", "names no host", "http://127.0.0.1:50051"),
            ("", "names no host", "http://127.0.0.1:50051"),
            (":50052", "names no host", "http://127.0.0.1:50052"),
            ("localhost:grpc", "`grpc` is not a port", "http://localhost:50051"),
            ("localhost:0", "`0` is not a port", "http://localhost:50051"),
            ("localhost:65536", "`65536` is not a port", "http://localhost:50051"),
            ("localhost:+1", "`+1` is not a port", "http://localhost:50051"),
            ("::1", "stands in brackets", "http://[::1]:50051"),
            ("[::1:50051", "bracket", "http://[::1]:50051"),
            ("[localhost]:1", "no IPv6 address", "http://[::1]:50051"),
            ("https://host:1", "no TLS", "http://host:1"),
            ("dns:///host:1", "`dns` is not known", "http://127.0.0.1:50051"),
            ("http://host:1/path", "more than a host and a port", "http://127.0.0.1:50051"),
            ("me@host:1", "more than a host and a port", "http://127.0.0.1:50051"),
            ("local host:1", "more than a host and a port", "http://127.0.0.1:50051"),
        ] {
            let (said, form) = url(address).unwrap_err();
            assert!(said.contains(wrong), "{address}: {said}");
            assert_eq!(form, instead, "{address}");
        }
    }

    proptest! {
        #[test]
        fn what_is_proposed_is_an_address(address in "(https?://)?[a-z:.\\[\\]0-9/@]{0,12}") {
            match url(&address) {
                Ok(found) => prop_assert_eq!(url(&found), Ok(found.clone())),
                Err((_, instead)) => prop_assert!(url(&instead).is_ok(), "{} -> {}", address, instead),
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(address in "\\PC{0,24}") {
            let _ = url(&address);
        }
    }
}
