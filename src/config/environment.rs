//! Environment variables with our prefix that no setting reads: a misspelt setting must not be silently ignored.

use super::{REFERENCE, REFERENCE_NAME};
use document::settings::{keys_of, variable_of};
use document::{Problems, suggestion};

/// The prefix of our variables.
const PREFIX: &str = "PROFFER_";

/// Variables that are not keys of the configuration. Developers' shells set those of the tests.
const OTHERS: [&str; 3] = ["PROFFER_SERVER", "PROFFER_FAULT", "PROFFER_DATA"];

/// The prefix of the variables that the tests read.
const TESTS: &str = "PROFFER_TEST_";

/// A problem for each variable of `environment`, by name and value, that begins with `PROFFER_` and that no setting
/// reads.
pub fn unknown_variables(environment: impl IntoIterator<Item = (String, String)>) -> Problems {
    let known: Vec<String> = keys_of(REFERENCE_NAME, REFERENCE)
        .iter()
        .map(|key| variable_of(key))
        .chain([OTHERS[0].to_owned()])
        .collect();
    let mut unknown: Vec<String> = environment
        .into_iter()
        .filter(|(name, value)| {
            name.starts_with(PREFIX)
                && !known.contains(name)
                && !OTHERS.contains(&name.as_str())
                && !name.starts_with(TESTS)
                && !is_service_link(name, value)
        })
        .map(|(name, _)| name)
        .collect();
    unknown.sort_unstable();
    let mut problems = Problems::new();
    for name in unknown {
        let hint = match suggestion(&name, known.iter().map(String::as_str)) {
            hint if hint.is_empty() => ".".to_owned(),
            hint => hint,
        };
        let message = format!(
            "no key of the configuration has this environment variable{hint} Unset it, or name it otherwise than PROFFER_*"
        );
        problems.push(name, None, message);
    }
    problems
}

/// Whether Kubernetes set the variable, for a Service whose name begins with `proffer`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>): `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_<NAME>`, `…_PORT`, `…_PORT_<N>_TCP`, and the last with `_ADDR`, `_PORT`, `_PROTO`
/// behind it. The user of a pod did not write those.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_link =
        |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_number(value);
    }
    if name.ends_with("_PORT") && is_link(value) {
        return true;
    }
    name.rsplit_once("_PORT_").into_iter().chain(name.split_once("_PORT_")).any(|(_, behind)| {
        let mut parts = behind.split('_');
        parts.next().is_some_and(is_number)
            && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
            && matches!(parts.next(), None | Some("ADDR" | "PORT" | "PROTO"))
            && parts.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unknown(variables: &[(&str, &str)]) -> String {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        unknown_variables(pairs).to_string()
    }

    #[test]
    fn a_variable_that_is_no_key_is_refused_with_the_likely_one() {
        let told = unknown(&[("PROFFER_SERVER_WORKER", "8"), ("PROFFER_LOG_FORMAT", "json"), ("HOME", "/")]);
        assert!(told.starts_with("PROFFER_SERVER_WORKER: "), "{told}");
        assert!(told.contains("did you mean `PROFFER_SERVER_WORKERS`?"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(unknown(&[("PROFFER_SEVER", "x")]).contains("did you mean `PROFFER_SERVER`?"));
        assert!(unknown(&[("PROFFER_WORKERS", "8")]).contains("PROFFER_WORKERS"));
        assert!(unknown(&[("PROFFER_SERVER_PORT", "50051")]).contains("PROFFER_SERVER_PORT"));
    }

    #[test]
    fn what_others_than_the_configuration_read_is_left_alone() {
        for name in
            ["PROFFER_SERVER", "PROFFER_FAULT", "PROFFER_DATA", "PROFFER_TEST_S3", "PROFFERS", "X_PROFFER_Y"]
        {
            assert_eq!(unknown(&[(name, "x")]), "", "{name}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_this_name_is_left_alone() {
        let set = [
            ("PROFFER_SERVICE_HOST", "10.0.0.11"),
            ("PROFFER_SERVICE_PORT", "50051"),
            ("PROFFER_SERVICE_PORT_GRPC", "50051"),
            ("PROFFER_PORT", "tcp://10.0.0.11:50051"),
            ("PROFFER_PORT_50051_TCP", "tcp://10.0.0.11:50051"),
            ("PROFFER_PORT_50051_TCP_PROTO", "tcp"),
            ("PROFFER_PORT_50051_TCP_PORT", "50051"),
            ("PROFFER_PORT_50051_TCP_ADDR", "10.0.0.11"),
            ("PROFFER_SERVER_PORT", "tcp://10.0.0.12:50051"),
            ("PROFFER_SERVER_SERVICE_HOST", "fd00::1"),
            ("PROFFER_SERVER_PORT_9464_TCP_ADDR", "10.0.0.12"),
        ];
        assert_eq!(unknown(&set), "");
    }

    proptest! {
        #[test]
        fn every_key_is_known_and_one_letter_more_is_not(key in any::<prop::sample::Index>(), letter in "[A-Z]") {
            let keys = keys_of(REFERENCE_NAME, REFERENCE);
            let variable = variable_of(key.get::<String>(&keys));
            prop_assert_eq!(unknown(&[(&variable, "x")]), "");
            let longer = format!("{variable}{letter}");
            prop_assert!(unknown(&[(&longer, "x")]).contains(&variable));
        }
    }
}
