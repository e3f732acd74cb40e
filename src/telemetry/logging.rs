//! Logs to standard error, as text or JSON, and traces to a collector.
//!
//! Start reading at [`init`]. Whoever holds the [`Guard`] keeps the exporter alive; dropping it sends what is left.

use std::fmt;
use std::io::IsTerminal;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::otlp::Exporter;
use super::trace;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, with the fields of the span that it belongs to.
    Json,
}

/// What is logged, how, and where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggingConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Levels by target (`info`, `warn,proffer=debug`). Messages of ONNX Runtime have the target `ort`
    /// and are shown from `warn` on unless it is named.
    pub filter: String,
    /// Where traces go; nowhere by default.
    pub otlp: Option<OtlpConfig>,
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
    /// What this server is called in the traces.
    pub service_name: String,
    /// The share of traces that are exported, 0 to 1, where the caller has not decided it already.
    pub sample_ratio: f64,
}

/// Why logging could not be set up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not understood.
    #[error("the log filter {filter:?} is not understood: {reason}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The collector's address is of no use, or no thread could be had.
    #[error("traces cannot be exported to {endpoint:?}: {reason}")]
    Otlp {
        /// As it was given.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// The share of traces is none.
    #[error("the sample ratio is {ratio}; give a number from 0 to 1")]
    SampleRatio {
        /// As it was given.
        ratio: f64,
    },
    /// This process logs already.
    #[error("logging was set up before")]
    AlreadySetUp,
}

/// Keeps the export of traces alive. Dropping it sends what is left, for three seconds at most.
#[must_use = "traces are exported while the guard lives"]
pub struct Guard {
    exporter: Option<Exporter>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("exports", &self.exporter.is_some()).finish()
    }
}

/// Sets up logging for the whole process, once. Does not wait for the collector.
///
/// # Errors
/// A filter, an address or a ratio that is wrong; a second call.
pub fn init(config: &LoggingConfig) -> Result<Guard, LoggingError> {
    let exporter = config.otlp.as_ref().map(Exporter::start).transpose()?;
    let tracer = exporter.as_ref().map(Exporter::tracer);
    let subscriber = subscriber(config, tracer.clone(), std::io::stderr)?;
    subscriber.try_init().map_err(|_| LoggingError::AlreadySetUp)?;
    if let Some(tracer) = tracer {
        trace::export_with(tracer);
    }
    Ok(Guard { exporter })
}

fn subscriber<W>(
    config: &LoggingConfig,
    tracer: Option<SdkTracer>,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
            json.with_writer(writer).with_filter(filter(&config.filter)?).boxed()
        }
        LogFormat::Text => {
            let text = tracing_subscriber::fmt::layer().with_ansi(wants_colour());
            text.with_writer(writer).with_filter(filter(&config.filter)?).boxed()
        }
    };
    // What is traced does not depend on what is logged. Spans below `info` are those of the network libraries, and
    // exporting the spans of the export would never end.
    let spans = tracer.map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        // Where in the sources and on which thread a span was made says nothing of the call.
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_level(false);
        layer.with_tracked_inactivity(false).with_filter(LevelFilter::INFO)
    });
    Ok(tracing_subscriber::registry().with(lines).with(spans))
}

/// Levels by target. `ort`, the binding to ONNX Runtime, tells at `info` what it creates and drops.
///
/// `tracing_subscriber`'s `EnvFilter` would know fields of spans, too, and costs every call that enters its span for it.
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
        let writer = written.clone();
        with_default(subscriber(config, None, move || writer.clone()).unwrap(), work);
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
    fn a_filter_that_is_not_understood_is_refused() {
        let refused = filter("proffer=loud").unwrap_err();
        assert!(refused.to_string().starts_with("the log filter \"proffer=loud\""), "{refused}");
        assert!(filter("info[span{field=1}]").is_err(), "spans have no levels of their own");
    }

    #[test]
    fn levels_by_target_may_have_spaces_and_nothing_between() {
        let talk = || {
            tracing::debug!(target: "proffer::app", "said");
            tracing::info!(target: "h2", "hidden");
        };
        let text = log(&config(LogFormat::Text, " warn, proffer=debug,,"), talk);
        assert!(text.contains("said") && !text.contains("hidden"), "{text}");
        assert_eq!(log(&config(LogFormat::Text, "off"), talk), "");
    }

    fn otlp(endpoint: String) -> OtlpConfig {
        OtlpConfig { endpoint, service_name: "proffer-under-test".to_owned(), sample_ratio: 1.0 }
    }

    fn trace_to(endpoint: String) {
        let exporter = Exporter::start(&otlp(endpoint)).unwrap();
        let tracer = Some(exporter.tracer());
        let subscriber = subscriber(&config(LogFormat::Text, "off"), tracer, std::io::sink).unwrap();
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
    async fn a_collector_that_is_not_there_stops_nothing() {
        // Port 1 refuses and the listener never answers; both exporters are dropped on a runtime's thread.
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
