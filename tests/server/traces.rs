//! The spans that a real OpenTelemetry collector receives. `make test` builds it from `tests/collector`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::binary::{Process, command, init};
use super::harness::{exchange, frame, rank_request, sample_workspace, scores, wire};
use wire::decision_service_client::DecisionServiceClient;

/// A collector that writes the spans to a file; it stops on drop.
struct Collector {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Collector {
    /// A collector for the caller alone, or `None` and a message.
    fn start() -> Option<Self> {
        let found =
            std::env::var_os("PROFFER_TEST_COLLECTOR").map(PathBuf::from).filter(|path| path.is_file());
        let Some(binary) = found else {
            eprintln!(
                "skipped: PROFFER_TEST_COLLECTOR is not set (`make test` sets it where Go is installed)"
            );
            return None;
        };
        // Another process may take the port before the collector does.
        Some((0..5).find_map(|_| Self::try_start(&binary)).expect("the collector does not answer"))
    }

    fn try_start(binary: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let settings = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
             exporters: {{file: {{path: '{}', flush_interval: 50ms}}}}\n\
             service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}}}\n",
            directory.path().join("spans.json").display(),
        );
        let file = directory.path().join("collector.yaml");
        std::fs::write(&file, settings).unwrap();
        let mut start = Command::new(binary);
        start.arg("--config").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let mut collector = Self { child: start.spawn().unwrap(), port, directory };
        for _ in 0..1000 {
            if collector.child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(collector);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// The spans received so far, once there are as many calls as expected.
    fn spans_of(&self, calls: usize) -> Vec<Span> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(self.directory.path().join("spans.json")).unwrap();
            let batches = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let spans: Vec<Span> = batches.flat_map(|batch| spans_in(&batch)).collect();
            if spans.iter().filter(|span| span.kind == SERVER).count() >= calls {
                return spans;
            }
            assert!(Instant::now() < until, "only {spans:#?} were received");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Constants of the protocol: two span kinds and a status.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const ERROR: u64 = 2;

#[derive(Debug)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    /// Nanoseconds since 1970.
    began: u64,
    ended: u64,
    attributes: BTreeMap<String, String>,
    status: u64,
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value.as_object().and_then(|value| value.values().next()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let pairs = list(of, "attributes").iter();
    pairs.map(|one| (one["key"].as_str().unwrap().to_owned(), text(&one["value"]))).collect()
}

fn spans_in(batch: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in list(batch, "resourceSpans") {
        let service = attributes(&resource["resource"]).remove("service.name").unwrap();
        for span in list(resource, "scopeSpans").iter().flat_map(|scope| list(scope, "spans")) {
            let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            spans.push(Span {
                service: service.clone(),
                trace: text("traceId"),
                id: text("spanId"),
                parent: text("parentSpanId"),
                name: text("name"),
                kind: span["kind"].as_u64().unwrap(),
                began: text("startTimeUnixNano").parse().unwrap(),
                ended: text("endTimeUnixNano").parse().unwrap(),
                attributes: attributes(span),
                status: span["status"]["code"].as_u64().unwrap_or(0),
            });
        }
    }
    spans
}

const CALLER: &str = "00f067aa0ba902b7";

/// The trace id of the call with this number.
fn trace(number: u8) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}")
}

/// A call with this number, whose caller samples its trace or not.
fn traced<T>(message: T, number: u8, sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", traceparent(number, sampled).parse().unwrap());
    request
}

/// The `traceparent` header of such a call.
fn traceparent(number: u8, sampled: bool) -> String {
    format!("00-{}-{CALLER}-0{}", trace(number), u8::from(sampled))
}

async fn channel(server: &Process) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

/// A server with a sample ratio of 0, which exports only calls that their callers sample.
fn serve(collector: &Collector, store: &Path) -> Process {
    assert_eq!(init(store, &sample_workspace()).code, Some(0));
    let mut serve = command();
    serve.env("PROFFER_TRACES_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", collector.port));
    serve.env("PROFFER_TRACES_SERVICE_NAME", "offers").env("PROFFER_TRACES_SAMPLE_RATIO", "0");
    Process::start(serve, store)
}

fn of_call(spans: &[Span], number: u8) -> &Span {
    let mut found = spans.iter().filter(|span| span.trace == trace(number) && span.kind == SERVER);
    let span = found.next().unwrap_or_else(|| panic!("no span of call {number} in {spans:#?}"));
    assert!(found.next().is_none(), "two spans of call {number}");
    assert_eq!((span.parent.as_str(), span.service.as_str()), (CALLER, "offers"));
    span
}

/// The names of the child spans of a span, which must lie within it.
fn steps(spans: &[Span], parent: &Span) -> BTreeSet<String> {
    let steps = spans.iter().filter(|span| span.trace == parent.trace && span.parent == parent.id);
    let within = |step: &Span| {
        assert_eq!(step.kind, INTERNAL);
        // Steps that alternate are summed on another clock.
        let slack = 1_000_000;
        assert!(step.began + slack >= parent.began && step.began <= step.ended, "{step:?} of {parent:?}");
        assert!(step.ended <= parent.ended + slack, "{step:?} of {parent:?}");
        step.name.clone()
    };
    steps.map(within).collect()
}

fn assert_ended(span: &Span, method: &str, code: Code, name: &str, is_error: bool) {
    let expected = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", method),
        ("rpc.response.status_code", name),
        ("rpc.system", "grpc"),
        ("rpc.grpc.status_code", &i32::from(code).to_string()),
    ];
    for (key, value) in expected {
        assert_eq!(span.attributes.get(key).map(String::as_str), Some(value), "{key} of {span:#?}");
    }
    assert_eq!(span.status == ERROR, is_error, "{span:#?}");
    assert_eq!(span.attributes.contains_key("error.type"), is_error, "{span:#?}");
    assert!(span.status == ERROR || span.status == 0, "a successful span has no status: {span:#?}");
}

const RANK: &str = "proffer.v1.DecisionService/Rank";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_receives_the_steps_of_calls_that_callers_sample() {
    let Some(collector) = Collector::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let server = serve(&collector, &directory.path().join("store"));
    let mut client = DecisionServiceClient::new(channel(&server).await);
    let rank = |placement: &str| rank_request(placement, &["C000001", "C000002"]);

    // Call 1 is sampled; call 2 and the one after it are not.
    let request = wire::RankRequest { request_id: "my-own-id".to_owned(), ..rank("app_home") };
    client.rank(traced(request, 1, true)).await.unwrap();
    client.rank(traced(rank("app_home"), 2, false)).await.unwrap();
    client.rank(rank("app_home")).await.unwrap();
    // Call 3 is the caller's fault, call 4 is too late, and call 5 is of an unknown method.
    assert_eq!(client.rank(traced(rank("nowhere"), 3, true)).await.unwrap_err().code(), Code::NotFound);
    // `tonic`'s client would time out first, and send nothing.
    let parent = traceparent(4, true);
    let late = [("grpc-timeout", "1n"), ("traceparent", parent.as_str())];
    let (answer, _) = exchange(server.address, &late, frame(&rank("app_home"))).await;
    assert_eq!(Status::from_header_map(&answer.headers).unwrap().code(), Code::DeadlineExceeded);
    let mut other = tonic::client::Grpc::new(channel(&server).await);
    other.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<wire::RankRequest, wire::RankResponse>::default();
    let unknown = traced(rank("app_home"), 5, true);
    let unknown = other.unary(unknown, "/proffer.v1.DecisionService/Guess".parse().unwrap(), codec).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    // Call 6 is a stream of two messages, call 7 another RPC.
    let message = |placement| wire::RankStreamRequest { request: Some(rank(placement)) };
    let messages = tokio_stream::iter([message("app_home"), message("call_center")]);
    let mut answers = client.rank_stream(traced(messages, 6, true)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    client.score(traced(scores("propensity", 3, &["travel_gold"]), 7, true)).await.unwrap();

    assert!(server.terminate().success(), "the remaining spans are exported at the end");
    let spans = collector.spans_of(6);
    assert!(!spans.iter().any(|span| span.trace == trace(2)), "its caller does not sample it");
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces.len(), 6, "{traces:?}");

    let first = of_call(&spans, 1);
    assert_eq!(first.name, RANK);
    assert_eq!(first.attributes["rpc.service"], "proffer.v1.DecisionService");
    assert_eq!(first.attributes["request_id"], "my-own-id");
    assert_ended(first, RANK, Code::Ok, "OK", false);
    // The first call is handed to a worker, as the cost of such work is not known yet.
    let expected = ["decide", "decode", "encode", "plan", "queue"].map(str::to_owned);
    assert_eq!(steps(&spans, first), BTreeSet::from(expected));
    let decide = spans.iter().find(|span| span.parent == first.id && span.name == "decide").unwrap();
    let expected = ["arbitration", "features", "gates", "scoring"].map(str::to_owned);
    assert_eq!(steps(&spans, decide), BTreeSet::from(expected));

    assert_ended(of_call(&spans, 3), RANK, Code::NotFound, "NOT_FOUND", false);
    assert_ended(of_call(&spans, 4), RANK, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", true);
    let unknown = of_call(&spans, 5);
    assert_eq!(unknown.name, "grpc", "text from a client is not used as a span name");
    assert_ended(unknown, "_OTHER", Code::Unimplemented, "UNIMPLEMENTED", true);
    assert_eq!(unknown.attributes["rpc.method_original"], "/proffer.v1.DecisionService/Guess");
    let stream = of_call(&spans, 6);
    assert_eq!(stream.name, "proffer.v1.DecisionService/RankStream");
    assert_ended(stream, &stream.name, Code::Ok, "OK", false);
    let decided = spans.iter().filter(|span| span.parent == stream.id && span.name == "decide");
    assert_eq!(decided.count(), 2, "one span per message");
    let score = of_call(&spans, 7);
    assert_ended(score, "proffer.v1.DecisionService/Score", Code::Ok, "OK", false);
    assert!(steps(&spans, score).contains("scoring"));
}
