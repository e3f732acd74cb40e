use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::grpc::Limits;
use document::settings::keys_of;

#[test]
fn the_reference_is_the_defaults() {
    let config = Config::load(None, |_| None, &[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.grpc.limits, Limits::default());
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert!(config.logging.otlp.is_none());
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file() {
    let file = "[server]\nqueue = 7\nworkers = 3\nlisten = '127.0.0.1:1'";
    let environment = |name: &str| match name {
        "PROFFER_SERVER_QUEUE" => Some("8".to_owned()),
        "PROFFER_SERVER_WORKERS" => Some("4".to_owned()),
        _ => None,
    };
    let config =
        Config::load(Some(("x.toml", file)), environment, &[("server.queue", "9".to_owned())]).unwrap();
    assert_eq!((config.server.queue, config.server.workers, config.server.listen.port()), (9, 4, 1));
    let shown = config.to_string();
    assert!(shown.contains("queue = 9") && shown.contains("# flag"), "{shown}");
    assert!(shown.contains("# PROFFER_SERVER_WORKERS") && shown.contains("# x.toml:4"), "{shown}");
}

#[test]
fn every_problem_is_reported() {
    let file = "[server]\nqueue = 0\nlisen = 'x'\n[limits]\nmessage = '16'\n";
    let environment = |name: &str| (name == "PROFFER_LOG_FORMAT").then(|| "xml".to_owned());
    let problems = Config::load(Some(("x.toml", file)), environment, &[]).unwrap_err().to_string();
    assert!(problems.contains("x.toml:3: [server]: unknown key `lisen`; did you mean"), "{problems}");
    assert!(problems.contains("PROFFER_LOG_FORMAT: `log.format` = \"xml\": must be text or json"));
    assert!(problems.contains("x.toml:2: `server.queue` = \"0\": must be a whole number"), "{problems}");
    assert!(problems.contains("x.toml:5: `limits.message` = \"16\": must be a size"), "{problems}");
}

#[test]
fn the_delay_of_a_drain_depends_on_who_watches_unless_somebody_says_it() {
    let load = |flags: &[(&str, &str)]| {
        let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Config::load(None, |_| None, &flags).map_err(|problems| problems.to_string())
    };
    let delay = |flags: &[(&str, &str)], terminal| {
        let mut config = load(flags).unwrap();
        config.server.settle_drain_delay(terminal);
        config.server.drain_delay.unwrap()
    };
    let seconds = Duration::from_secs;
    assert_eq!((delay(&[], true), delay(&[], false)), (Duration::ZERO, seconds(5)));
    assert_eq!(delay(&[("server.drain", "4s")], false), seconds(2));
    assert_eq!(delay(&[("server.drain_delay", "9s")], true), seconds(9));
    assert_eq!(delay(&[("server.drain_delay", "0s"), ("server.drain", "0s")], false), Duration::ZERO);
    let wrong = load(&[("server.drain_delay", "30s")]).unwrap_err();
    assert!(
        wrong.contains("flag: `server.drain_delay` = \"30s\": must be less than `server.drain`"),
        "{wrong}"
    );
    assert!(load(&[("server.drain_delay", "soon")]).unwrap_err().contains("or auto"));
}

#[test]
fn the_longest_message_finds_room_in_the_memory() {
    let load = |flags: &[(&str, &str)]| {
        let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Config::load(None, |_| None, &flags).map_err(|problems| problems.to_string())
    };
    let config = load(&[("limits.memory", "64MiB"), ("limits.connection_memory", "32MiB")]).unwrap();
    assert_eq!((config.grpc.limits.memory(), config.grpc.limits.connection_memory()), (64 << 20, 32 << 20));
    let config = load(&[("limits.memory", "64MiB")]).unwrap();
    assert_eq!(config.grpc.limits.connection_memory(), 48 << 20);
    assert!(load(&[("limits.memory", "auto")]).unwrap().grpc.limits.memory() >= 192 << 20);
    for wrong in [
        [("limits.memory", "20MiB"), ("limits.message", "16MiB")],
        [("limits.connection_memory", "20MiB"), ("limits.answer", "16MiB")],
        [("limits.connection_memory", "128MiB"), ("limits.message", "128MiB")],
    ] {
        let problems = load(&wrong).unwrap_err();
        assert!(problems.contains("so that the longest message"), "{problems}");
    }
    assert!(load(&[("limits.memory", "much")]).unwrap_err().contains("or auto"));
    assert!(load(&[("limits.streams", "0")]).is_err() && load(&[("limits.body_time", "0s")]).is_err());
}

#[test]
fn remote_administration_is_off_unless_somebody_says_so() {
    assert!(!Config::load(None, |_| None, &[]).unwrap().grpc.allow_remote_admin);
    let flags = [("server.allow_remote_admin", "true".to_owned())];
    let config = Config::load(None, |_| None, &flags).unwrap();
    assert!(config.grpc.allow_remote_admin && config.to_string().contains("allow_remote_admin = true "));
    let wrong = [("server.allow_remote_admin", "yes".to_owned())];
    assert!(Config::load(None, |_| None, &wrong).unwrap_err().to_string().contains("must be true or false"));
}

#[test]
fn a_password_in_an_address_is_not_printed() {
    let flags = [("traces.otlp_endpoint", "http://me:secret@collector:4317".to_owned())];
    let shown = Config::load(None, |_| None, &flags).unwrap().to_string();
    assert!(shown.contains("http://***@collector:4317") && !shown.contains("secret"), "{shown}");
}

#[test]
fn words_that_rust_takes_for_numbers_are_printed_as_words() {
    for word in ["inf", "NaN", "-infinity", "007", "+1", "1e30", "9223372036854775808"] {
        let flags = [("log.filter", word.to_owned())];
        let printed = Config::load(None, |_| None, &flags).unwrap().to_string();
        let again = Config::load(Some(("x.toml", &printed)), |_| None, &[]).unwrap();
        assert_eq!(again.logging.filter, word, "{printed}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = Config::load(Some(("x.toml", &String::from_utf8_lossy(&bytes))), |_| None, &[]);
    }

    #[test]
    fn a_damaged_file_is_refused_or_means_what_it_prints(
        at in any::<prop::sample::Index>(), put in "[0-9a-zA-Z=\"'\\[\\].: \n-]{0,4}", gone in 0_usize..12,
    ) {
        let at = at.index(REFERENCE.len());
        let end = (at + gone).min(REFERENCE.len());
        let text = format!("{}{put}{}", &REFERENCE[..at], &REFERENCE[end..]);
        if let Ok(config) = Config::load(Some(("x.toml", &text)), |_| None, &[]) {
            let printed = config.to_string();
            let again = Config::load(Some(("x.toml", &printed)), |_| None, &[]);
            let again = again.map_err(|problems| TestCaseError::fail(format!("{problems}\n{printed}")))?;
            prop_assert_eq!(
                (&again.release.store, again.server.listen, again.server.admin, again.grpc.connection_threads, again.server.workers, again.server.queue, again.server.drain, again.release.poll),
                (&config.release.store, config.server.listen, config.server.admin, config.grpc.connection_threads, config.server.workers, config.server.queue, config.server.drain, config.release.poll)
            );
            prop_assert_eq!(again.grpc.allow_remote_admin, config.grpc.allow_remote_admin);
            prop_assert_eq!(again.grpc.limits, config.grpc.limits);
        }
    }

    #[test]
    fn no_text_of_a_setting_makes_the_reader_panic(key in any::<usize>(), text in "\\PC{0,12}") {
        let keys = keys_of(REFERENCE_NAME, REFERENCE);
        let flags = [(keys[key % keys.len()].as_str(), text)];
        let _ = Config::load(None, |_| None, &flags);
    }
}

#[test]
fn what_tests_record_with_is_the_reference() {
    let config = Config::load(None, |_| None, &[]).unwrap();
    assert_eq!(config.events, event::EventConfig::reference());
}
