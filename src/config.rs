//! The configuration: defaults < file < environment < flags, checked whole, every problem reported at once.
//!
//! The defaults are `deploy/proffer.toml` itself, compiled in, so that what it documents is what holds. Every layer arrives as text
//! by key, so that there is one place that knows what a key means: [`Config::set`].

mod environment;

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::document::{Document, FromToml, Problems, suggestion};
use crate::grpc::Limits;
use crate::telemetry::logging::{LogFormat, LoggingConfig, OtlpConfig};
pub use environment::unknown_variables;

/// The reference configuration, which is also the defaults.
pub const REFERENCE: &str = include_str!("../deploy/proffer.toml");

/// How long a server that nobody watches goes on answering after it has said that it is not ready: as long as a load balancer or a
/// Kubernetes Service takes to hear of it.
const DRAIN_DELAY: Duration = Duration::from_secs(5);

/// One validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store: a directory, or `s3://bucket/prefix`.
    pub store: String,
    /// Where versions of a store on S3 are kept at hand.
    pub mirror: PathBuf,
    /// Where gRPC listens.
    pub listen: SocketAddr,
    /// Where metrics and probes are.
    pub admin: SocketAddr,
    /// Whether peers that are not on loopback may push, release, promote and roll back.
    pub allow_remote_admin: bool,
    /// Threads that serve connections, at least 1.
    pub connection_threads: usize,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Pieces of work that may wait.
    pub queue: usize,
    /// How long going away may take, the delay before the draining included.
    pub drain: Duration,
    /// How long the server still answers after it has said that it is not ready; `None`: by whether somebody watches
    /// ([`Config::settle_drain_delay`]).
    pub drain_delay: Option<Duration>,
    /// How often the store is looked at.
    pub poll: Duration,
    /// How many releases stay in memory after they served.
    pub warm_releases: usize,
    /// How many rows of recent requests are kept, by which distributions are compared.
    pub recent_rows: usize,
    /// The most bytes of one upload of a model version.
    pub upload_bytes: u64,
    /// What is refused.
    pub limits: Limits,
    /// Logs and traces.
    pub logging: LoggingConfig,
    /// Each key with the text that holds and where it came from, in the order of the keys.
    settings: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    key: String,
    text: String,
    origin: String,
}

impl Config {
    /// Layers `file` (its name and text), the environment and `flags` (key, text) over the defaults.
    ///
    /// # Errors
    /// Every problem of every layer.
    pub fn load(
        file: Option<(&str, &str)>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&str, String)],
    ) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let (mut settings, wrong) = read_file("deploy/proffer.toml", REFERENCE, None);
        problems.extend(wrong);
        for setting in &mut settings {
            "default".clone_into(&mut setting.origin);
        }
        if let Some((name, text)) = file {
            let known: Vec<String> = settings.iter().map(|setting| setting.key.clone()).collect();
            let (found, wrong) = read_file(name, text, Some(&known));
            problems.extend(wrong);
            for found in found {
                override_setting(&mut settings, &found.key, found.text, &found.origin);
            }
        }
        for setting in &mut settings {
            let variable = variable_of(&setting.key);
            if let Some(text) = environment(&variable) {
                setting.text = text;
                setting.origin = variable;
            }
        }
        for (key, text) in flags {
            override_setting(&mut settings, key, text.clone(), "flag");
        }
        let mut config = Self {
            store: String::new(),
            mirror: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_remote_admin: false,
            connection_threads: 1,
            workers: 1,
            queue: 1,
            drain: Duration::ZERO,
            drain_delay: None,
            poll: Duration::ZERO,
            warm_releases: 0,
            recent_rows: 0,
            upload_bytes: 0,
            limits: Limits::default(),
            logging: LoggingConfig { format: LogFormat::Text, filter: String::new(), otlp: None },
            settings: Vec::new(),
        };
        let mut otlp = OtlpConfig { endpoint: String::new(), service_name: String::new(), sample_ratio: 1.0 };
        for setting in &settings {
            if let Err(message) = config.set(&mut otlp, &setting.key, &setting.text) {
                let (file, line) = place_of(&setting.origin);
                problems.push(file, line, format!("`{}` = {:?}: {message}", setting.key, setting.text));
            }
        }
        problems.extend(config.too_long_a_delay(&settings));
        config.logging.otlp = Some(otlp).filter(|otlp| !otlp.endpoint.is_empty());
        config.settings = settings;
        problems.into_result(config)
    }

    /// A delay that leaves nothing of the time for draining.
    fn too_long_a_delay(&self, settings: &[Setting]) -> Problems {
        let mut problems = Problems::new();
        let delay = self.drain_delay.filter(|delay| !delay.is_zero() && *delay >= self.drain);
        let setting = settings.iter().find(|setting| setting.key == "server.drain_delay");
        if let (Some(_), Some(Setting { key, text, origin })) = (delay, setting) {
            let (file, line) = place_of(origin);
            let drain = self.drain;
            let message = format!(
                "`{key}` = {text:?}: must be less than `server.drain`, {drain:?}, which bounds delay and draining together"
            );
            problems.push(file, line, message);
        }
        problems
    }

    /// Decides `server.drain_delay = "auto"`: none where somebody watches on a terminal and waits for the end, else 5 s, or half of
    /// `server.drain` where that is less.
    pub fn settle_drain_delay(&mut self, on_a_terminal: bool) {
        let of_itself = if on_a_terminal { Duration::ZERO } else { DRAIN_DELAY.min(self.drain / 2) };
        self.drain_delay.get_or_insert(of_itself);
    }

    /// What `key` means: the one place that knows.
    fn set(&mut self, otlp: &mut OtlpConfig, key: &str, text: &str) -> Result<(), String> {
        match key {
            "server.store" => text.clone_into(&mut self.store),
            "server.mirror" => self.mirror = PathBuf::from(text),
            "server.listen" => self.listen = address(text)?,
            "server.admin" => self.admin = address(text)?,
            "server.allow_remote_admin" => self.allow_remote_admin = truth(text)?,
            "server.connection_threads" => {
                self.connection_threads = match whole(text, 0..=1024)? {
                    0 => cores().div_ceil(2),
                    count => count,
                };
            }
            "server.workers" => {
                self.workers = match whole(text, 0..=1024)? {
                    0 => cores(),
                    count => count,
                };
            }
            "server.queue" => self.queue = whole(text, 1..=1_000_000)?,
            "server.drain" => self.drain = duration(text)?,
            "server.drain_delay" => {
                self.drain_delay = if text == "auto" {
                    None
                } else {
                    Some(duration(text).map_err(|message| format!("{message}, or auto"))?)
                };
            }
            "server.poll" => {
                self.poll = Some(duration(text)?)
                    .filter(|poll| !poll.is_zero())
                    .ok_or_else(|| "must be more than 0".to_owned())?;
            }
            "server.warm_releases" => self.warm_releases = whole(text, 0..=100)?,
            "server.recent_rows" => self.recent_rows = whole(text, 0..=1_000_000)?,
            "limits.upload" => self.upload_bytes = size(text)? as u64,
            "limits.message" => self.limits.message_bytes = size(text)?,
            "limits.answer" => self.limits.answer_bytes = size(text)?,
            "limits.customers" => self.limits.customers = whole(text, 1..=1024)?,
            "limits.rows" => self.limits.rows = whole(text, 1..=10_000_000)?,
            "limits.text" => self.limits.text_bytes = size(text)?,
            "limits.time" => {
                self.limits.time = Some(duration(text)?)
                    .filter(|time| !time.is_zero())
                    .ok_or_else(|| "must be more than 0".to_owned())?;
            }
            "limits.concurrent_calls" => self.limits.concurrent_calls = whole(text, 1..=1_000_000)?,
            "log.format" => {
                self.logging.format = match text {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err("must be text or json".to_owned()),
                }
            }
            "log.filter" => text.clone_into(&mut self.logging.filter),
            "traces.otlp_endpoint" => text.clone_into(&mut otlp.endpoint),
            "traces.service_name" => text.clone_into(&mut otlp.service_name),
            "traces.sample_ratio" => {
                otlp.sample_ratio = text
                    .parse()
                    .ok()
                    .filter(|ratio| (0.0..=1.0).contains(ratio))
                    .ok_or_else(|| "must be a number within 0..=1".to_owned())?;
            }
            _ => return Err("is in the reference but means nothing".to_owned()),
        }
        Ok(())
    }
}

/// Prints the configuration as TOML, each value with where it came from; what could be a secret is left out.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for Setting { key, text, origin } in &self.settings {
            let (this, name) = key.split_once('.').unwrap_or(("", key));
            if this != section {
                writeln!(f, "{}[{this}]", if section.is_empty() { "" } else { "\n" })?;
                section = this;
            }
            let value = if is_bare(text) { text.clone() } else { format!("{:?}", redact(text)) };
            writeln!(f, "{:<40} # {origin}", format!("{name} = {value}"))?;
        }
        Ok(())
    }
}

/// Whether a text means the same in TOML without quotes. `inf`, `nan`, `007` and `+1` are numbers to Rust, but words, or
/// other texts, when they are read again.
fn is_bare(text: &str) -> bool {
    let whole = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let fraction = text.contains('.') && text.parse::<f64>().is_ok_and(|number| number.to_string() == text);
    whole || fraction || text.parse::<bool>().is_ok()
}

/// The environment variable of a key: `server.listen` → `PROFFER_SERVER_LISTEN`.
fn variable_of(key: &str) -> String {
    format!("PROFFER_{}", key.replace('.', "_").to_uppercase())
}

/// The file, and the line in it, that an origin names.
fn place_of(origin: &str) -> (String, Option<usize>) {
    match origin.rsplit_once(':') {
        Some((file, line)) => (file.to_owned(), line.parse().ok()),
        None => (origin.to_owned(), None),
    }
}

/// An address may carry a user and a password.
fn redact(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let mut shown = text[..scheme + 3].to_owned();
            let _ = write!(shown, "***{}", &text[at..]);
            shown
        }
        _ => text.to_owned(),
    }
}

/// Any scalar, as the text that a person would write on a command line.
struct Scalar(String);

impl FromToml for Scalar {
    const EXPECTED: &'static str = "a string, a number, true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        String::from_toml(value)
            .or_else(|| i64::from_toml(value).map(|number| number.to_string()))
            .or_else(|| f64::from_toml(value).map(|number| number.to_string()))
            .or_else(|| bool::from_toml(value).map(|truth| truth.to_string()))
            .map(Self)
    }
}

/// The settings of a file, section by section in the order of their names, and what is wrong with it; `known` keys only,
/// where they are given.
fn read_file(name: &str, text: &str, known: Option<&[String]>) -> (Vec<Setting>, Problems) {
    let mut settings = Vec::new();
    let document = match Document::parse(name, text) {
        Ok(document) => document,
        Err(problems) => return (settings, problems),
    };
    let root = document.root();
    for section in root.keys() {
        let Some(table) = root.table(&section) else { continue };
        for key in table.keys() {
            let line = table.line(&key);
            let path = format!("{section}.{key}");
            if known.is_some_and(|known| !known.contains(&path)) {
                let known = known.unwrap_or_default().iter().map(String::as_str);
                table.problem_at(&key, format!("unknown key `{key}`{}", suggestion(&path, known)));
            } else if let Some(Scalar(text)) = table.optional(&key) {
                settings.push(Setting { key: path, text, origin: format!("{name}:{line}") });
            }
        }
    }
    drop(root);
    let problems = document.finish(()).err().unwrap_or_default();
    (settings, problems)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn override_setting(settings: &mut [Setting], key: &str, text: String, origin: &str) {
    if let Some(setting) = settings.iter_mut().find(|setting| setting.key == key) {
        setting.text = text;
        origin.clone_into(&mut setting.origin);
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:50051 or [::1]:50051".to_owned())
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "must be true or false".to_owned())
}

fn whole(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a whole number within {}..={}", range.start(), range.end()))
}

fn amount<'a>(text: &str, units: &[(&'a str, u64)]) -> Option<(u64, &'a str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let (unit, factor) = units.iter().find(|(unit, _)| *unit == text[digits..].trim())?;
    Some((number.checked_mul(*factor)?, unit))
}

fn duration(text: &str) -> Result<Duration, String> {
    amount(text, &[("ms", 1), ("s", 1000), ("m", 60_000)])
        .map(|(millis, _)| Duration::from_millis(millis))
        .ok_or_else(|| "must be a duration with its unit, such as 500ms, 30s or 2m".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    amount(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
        .and_then(|(bytes, _)| usize::try_from(bytes).ok())
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "must be a size with its unit, such as 64KiB or 16MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reference_is_the_defaults() {
        let config = Config::load(None, |_| None, &[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.drain, Duration::from_secs(30));
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
        assert_eq!((config.queue, config.workers, config.listen.port()), (9, 4, 1));
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
            config.settle_drain_delay(terminal);
            config.drain_delay.unwrap()
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
    fn remote_administration_is_off_unless_somebody_says_so() {
        assert!(!Config::load(None, |_| None, &[]).unwrap().allow_remote_admin);
        let flags = [("server.allow_remote_admin", "true".to_owned())];
        let config = Config::load(None, |_| None, &flags).unwrap();
        assert!(config.allow_remote_admin && config.to_string().contains("allow_remote_admin = true "));
        let wrong = [("server.allow_remote_admin", "yes".to_owned())];
        assert!(
            Config::load(None, |_| None, &wrong).unwrap_err().to_string().contains("must be true or false")
        );
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
                    (&again.store, again.listen, again.admin, again.connection_threads, again.workers, again.queue, again.drain, again.poll),
                    (&config.store, config.listen, config.admin, config.connection_threads, config.workers, config.queue, config.drain, config.poll)
                );
                prop_assert_eq!(again.allow_remote_admin, config.allow_remote_admin);
                prop_assert_eq!(again.limits, config.limits);
            }
        }

        #[test]
        fn no_text_of_a_setting_makes_the_reader_panic(key in any::<usize>(), text in "\\PC{0,12}") {
            let keys = read_file("deploy/proffer.toml", REFERENCE, None).0;
            let flags = [(keys[key % keys.len()].key.as_str(), text)];
            let _ = Config::load(None, |_| None, &flags);
        }
    }
}
