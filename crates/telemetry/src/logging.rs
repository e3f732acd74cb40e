//! Logs to standard error, as text or JSON, and traces to a collector.
//!
//! Start reading at [`init`]. The [`Guard`] keeps the exporter alive; dropping it sends what is pending. A slow
//! reader of the log never blocks a call (`logging/queue.rs`). Text that a client chose is never logged raw: the
//! formatter escapes fields, and the queue escapes JSON lines.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

pub use self::queue::lines_lost;

use self::queue::Queue;
use super::foreign::Escaping;
use super::otlp::Exporter;
use super::trace;
use document::settings::Settings;

/// The most bytes of the fields of one event or span in the text format.
const FIELDS_BYTES: usize = 16 << 10;

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, with the fields of its span.
    Json,
}

/// What is logged, how, and where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggingConfig {
    /// The format of log lines.
    pub format: LogFormat,
    /// Levels by target (`info`, `warn,proffer=debug`). Messages of ONNX Runtime have the target `ort`, and are shown
    /// from `warn` on unless it is named.
    pub filter: String,
    /// The collector of traces; none by default.
    pub otlp: Option<OtlpConfig>,
}

impl LoggingConfig {
    /// The sections `[log]` and `[traces]`.
    pub fn read(settings: &mut Settings) -> Self {
        let format = settings.parsed_or("log.format", LogFormat::Text, |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
        let otlp = OtlpConfig {
            endpoint: settings.text("traces.otlp_endpoint"),
            service_name: settings.text("traces.service_name"),
            sample_ratio: settings.parsed("traces.sample_ratio", |text| {
                text.parse()
                    .ok()
                    .filter(|ratio| (0.0..=1.0).contains(ratio))
                    .ok_or_else(|| "must be a number within 0..=1".to_owned())
            }),
        };
        let otlp = Some(otlp).filter(|otlp| !otlp.endpoint.is_empty());
        Self { format, filter: settings.text("log.filter"), otlp }
    }
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned(), otlp: None }
    }
}

/// A collector of traces.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpConfig {
    /// Its gRPC address, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The name of this server in the traces.
    pub service_name: String,
    /// The share of traces to export, 0 to 1, unless the caller has decided.
    pub sample_ratio: f64,
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be parsed.
    #[error("the log filter {filter:?} is not understood: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The collector's address is invalid, or no thread could be started.
    #[error("traces cannot be exported to {endpoint:?}: {reason}")]
    Otlp {
        /// The address as given.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// The share of traces is out of range.
    #[error("the sample ratio is {ratio}; give a number from 0 to 1")]
    SampleRatio {
        /// The ratio as given.
        ratio: f64,
    },
    /// The thread that writes the log could not be started.
    #[error("the log cannot be written: {reason}")]
    Thread {
        /// What is wrong.
        reason: String,
    },
    /// Logging is already set up in this process.
    #[error("logging is already set up")]
    AlreadySetUp,
}

/// Keeps logs and traces going. Dropping it sends the pending traces and writes the pending lines, both with a time
/// limit.
#[must_use = "traces are exported while the guard lives"]
pub struct Guard {
    exporter: Option<Exporter>,
    queue: Queue,
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.exporter.take());
        self.queue.flush();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("exports", &self.exporter.is_some()).finish_non_exhaustive()
    }
}

/// Sets up logging for the whole process, once. Does not wait for the collector.
///
/// # Errors
/// An invalid filter, address or ratio, or a second call.
pub fn init(config: &LoggingConfig) -> Result<Guard, LoggingError> {
    let exporter = config.otlp.as_ref().map(Exporter::start).transpose()?;
    let tracer = exporter.as_ref().map(Exporter::tracer);
    let queue = Queue::start(config.format, std::io::stderr())
        .map_err(|error| LoggingError::Thread { reason: error.to_string() })?;
    let subscriber = subscriber(config, tracer.clone(), queue.clone())?;
    subscriber.try_init().map_err(|_| LoggingError::AlreadySetUp)?;
    // The default hook writes to standard error directly, and blocks while its reader is slow.
    std::panic::set_hook(Box::new(log_panic));
    if let Some(tracer) = tracer {
        trace::export_with(tracer);
    }
    Ok(Guard { exporter, queue })
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let current = std::thread::current();
    let thread = current.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, place, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(thread, place, "panicked: {message}");
    }
}

/// Formats the fields of a text line, escaped so that foreign text stays within the line.
struct EscapedFields(DefaultFields);

impl<'w> FormatFields<'w> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut escaping = Escaping::new(&mut writer, FIELDS_BYTES);
        self.0.format_fields(Writer::new(&mut escaping), fields)
    }
}

fn subscriber(
    config: &LoggingConfig,
    tracer: Option<SdkTracer>,
    writer: Queue,
) -> Result<impl Subscriber + Send + Sync + use<>, LoggingError> {
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
            json.with_writer(writer).with_filter(filter(&config.filter)?).boxed()
        }
        LogFormat::Text => {
            let fields = EscapedFields(DefaultFields::new());
            let text = tracing_subscriber::fmt::layer().with_ansi(wants_colour()).fmt_fields(fields);
            text.with_writer(writer).with_filter(filter(&config.filter)?).boxed()
        }
    };
    // Tracing is independent of the log filter. Spans below `info` belong to the network libraries, and exporting the
    // spans of the export itself would never end.
    let spans = tracer.map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        // Source location and thread of a span say nothing about the call.
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_level(false);
        layer.with_tracked_inactivity(false).with_filter(LevelFilter::INFO)
    });
    Ok(tracing_subscriber::registry().with(lines).with(spans))
}

/// Levels by target. `ort`, the binding to ONNX Runtime, logs at `info` what it creates and drops.
///
/// `tracing_subscriber`'s `EnvFilter` also knows fields of spans, but slows down every call that enters its span.
fn filter(text: &str) -> Result<Targets, LoggingError> {
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    let names_ort = directives.iter().any(|directive| {
        let target = directive.split('=').next();
        target.is_some_and(|target| target == "ort" || target.starts_with("ort::"))
    });
    let mut whole = directives.join(",");
    if !names_ort {
        whole += if whole.is_empty() { "ort=warn" } else { ",ort=warn" };
    }
    whole.parse().map_err(|error: ParseError| LoggingError::Filter {
        filter: text.to_owned(),
        reason: error.to_string(),
    })
}

fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use tracing::subscriber::with_default;

    use proptest::prelude::*;

    use crate::foreign::is_shown;
    use crate::foreign::tests::hostile;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log(config: &LoggingConfig, work: impl FnOnce()) -> String {
        let written = Written::default();
        let queue = Queue::start(config.format, written.clone()).unwrap();
        with_default(subscriber(config, None, queue.clone()).unwrap(), work);
        queue.flush();
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn config(format: LogFormat, filter: &str) -> LoggingConfig {
        LoggingConfig { format, filter: filter.to_owned(), otlp: None }
    }

    #[test]
    fn json_lines_carry_the_fields_of_their_span() {
        let text = log(&config(LogFormat::Json, "info"), || {
            let span = tracing::info_span!("rank", request_id = "r1");
            span.in_scope(|| tracing::info!(offers = 3, "ranked"));
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "ranked");
        assert_eq!(line["offers"], 3);
        assert_eq!(line["span"]["request_id"], "r1");
    }

    #[test]
    fn onnx_runtime_is_quiet_unless_it_is_named() {
        let talk = || {
            tracing::info!(target: "ort", "graph optimised");
            tracing::warn!(target: "ort::logging", "something odd");
            tracing::info!(target: "proffer::app", "listening");
        };
        let quiet = log(&config(LogFormat::Text, "info"), talk);
        assert!(!quiet.contains("graph optimised"), "{quiet}");
        assert!(quiet.contains("something odd") && quiet.contains("listening"), "{quiet}");
        let loud = log(&config(LogFormat::Text, "warn,ort=info"), talk);
        assert!(loud.contains("graph optimised") && !loud.contains("listening"), "{loud}");
    }

    #[test]
    fn a_filter_that_cannot_be_parsed_is_refused() {
        let refused = filter("proffer=loud").unwrap_err();
        assert!(refused.to_string().starts_with("the log filter \"proffer=loud\""), "{refused}");
        assert!(filter("info[span{field=1}]").is_err(), "spans have no levels of their own");
    }

    #[test]
    fn levels_by_target_may_have_spaces_and_empty_items() {
        let talk = || {
            tracing::debug!(target: "proffer::app", "said");
            tracing::info!(target: "h2", "hidden");
        };
        let text = log(&config(LogFormat::Text, " warn, proffer=debug,,"), talk);
        assert!(text.contains("said") && !text.contains("hidden"), "{text}");
        assert_eq!(log(&config(LogFormat::Text, "off"), talk), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_that_a_client_chose_gets_into_the_log_raw(foreign in hostile()) {
            for format in [LogFormat::Text, LogFormat::Json] {
                let text = log(&config(format, "debug"), || {
                    let span = tracing::info_span!("rpc", path = %foreign, request_id = tracing::field::Empty);
                    span.record("request_id", tracing::field::display(&foreign));
                    span.in_scope(|| {
                        tracing::info!(author = foreign, note = ?foreign, "said {foreign}");
                        tracing::debug!("{foreign}");
                    });
                });
                prop_assert_eq!(text.lines().count(), 2, "{}", text);
                prop_assert!(text.chars().all(|letter| is_shown(letter) || letter == '\n'), "{text:?}");
                if format == LogFormat::Json {
                    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
                    prop_assert_eq!(line["author"].as_str(), Some(&*foreign));
                }
            }
        }
    }

    fn otlp(endpoint: String) -> OtlpConfig {
        OtlpConfig { endpoint, service_name: "proffer-under-test".to_owned(), sample_ratio: 1.0 }
    }

    fn trace_to(endpoint: String) {
        let exporter = Exporter::start(&otlp(endpoint)).unwrap();
        let tracer = Some(exporter.tracer());
        let queue = Queue::start(LogFormat::Text, std::io::sink()).unwrap();
        let subscriber = subscriber(&config(LogFormat::Text, "off"), tracer, queue).unwrap();
        with_default(subscriber, || tracing::info_span!("a_span_of_the_test").in_scope(|| ()));
    }

    #[test]
    fn spans_reach_the_collector_before_the_process_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let collector = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
            let has = |received: &[u8], word: &[u8]| received.windows(word.len()).any(|found| found == word);
            while !has(&received, b"a_span_of_the_test") || !has(&received, b"proffer-under-test") {
                let length = connection.read(&mut buffer).unwrap();
                assert!(length > 0, "the connection was closed before the span came");
                received.extend_from_slice(&buffer[..length]);
            }
        });
        trace_to(format!("http://{address}"));
        collector.join().unwrap();
    }

    #[tokio::test]
    async fn an_unreachable_collector_stops_nothing() {
        // Port 1 refuses, and the listener never answers. Both exporters are dropped on a thread of the runtime.
        trace_to("http://127.0.0.1:1".to_owned());
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        trace_to(format!("http://{}", silent.local_addr().unwrap()));
        assert_eq!(tokio::spawn(async { "still running" }).await.unwrap(), "still running");
    }

    #[test]
    fn a_wrong_address_or_ratio_is_refused() {
        let refused = Exporter::start(&otlp("not an address".to_owned())).unwrap_err();
        assert!(matches!(refused, LoggingError::Otlp { .. }), "{refused}");
        let ratio = OtlpConfig { sample_ratio: 1.5, ..otlp("http://127.0.0.1:1".to_owned()) };
        assert_eq!(Exporter::start(&ratio).unwrap_err(), LoggingError::SampleRatio { ratio: 1.5 });
    }
}
