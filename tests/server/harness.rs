//! Starts the whole server, as `proffer serve` does, on its own ports and over its own store.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use event::log::open_read_only;
use event::{EventReader, EventStore};
use proffer::app::{App, AppError, Listeners};
use proffer::config::Config;
use proffer::grpc::proto::inference::ModelMetadataRequest;
use proffer::grpc::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
pub(crate) use proffer::grpc::proto::proffer::v1 as wire;
use release::{Judges, RegistryError, Store, Workspace, init};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use wire::decision_service_client::DecisionServiceClient;

use super::binary::binary;
use super::unlimited::remove_limits;

/// A server in this process; it stops on drop.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub store: PathBuf,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<(), AppError>>>,
    /// The directory of the store, if the server created it: removed after the server has ended.
    directory: Option<tempfile::TempDir>,
    /// Its data directory, unless the test has one.
    _data: tempfile::TempDir,
}

impl Server {
    /// Serves a new store created from `workspace`, with `settings` over the default configuration.
    pub(crate) fn start(workspace: &Path, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        make_store(&store, workspace).unwrap();
        let mut server = Self::over(&store, settings);
        server.directory = Some(directory);
        server
    }

    /// Serves an existing store.
    pub(crate) fn over(store: &Path, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut flags = vec![
            ("server.store", store.display().to_string()),
            ("data.directory", data.path().join("data").display().to_string()),
            ("server.poll", "20ms".to_owned()),
            // A test that drops its server may hold connections that are no longer read: the drain is short.
            ("server.drain", "1s".to_owned()),
            // The clients of the tests take answers of any size.
            ("limits.answer", "64MiB".to_owned()),
        ];
        flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let mut config = Config::load(None, |_| None, &flags).unwrap();
        config.release.judges.program = judges().program;
        let listeners = Listeners {
            grpc: TcpListener::bind("127.0.0.1:0").unwrap(),
            admin: TcpListener::bind("127.0.0.1:0").unwrap(),
        };
        let address = listeners.grpc.local_addr().unwrap();
        let admin = listeners.admin.local_addr().unwrap();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                App::build(config)
                    .await?
                    .run(listeners, shutdown.cancelled_owned(), std::future::pending())
                    .await
            })
        });
        let store = store.to_owned();
        let server = Self { address, admin, store, stop, thread: Some(thread), directory: None, _data: data };
        server.wait_until_ready();
        server
    }

    /// The sample workspace, served once for all tests that only read.
    pub(crate) fn sample() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(&sample_workspace(), &[]))
    }

    /// A client on a new connection.
    pub(crate) async fn client(&self) -> DecisionServiceClient<Channel> {
        DecisionServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// The answer of the admin listener: status line, headers and body.
    pub(crate) fn admin_get(&self, path: &str) -> std::io::Result<String> {
        admin_get(self.admin, path)
    }

    /// Waits until models that no release pins are judged: loaded for the Open Inference Protocol, or rejected.
    pub(crate) fn wait_until_judged(&self, models: &[String]) {
        let asks = async {
            let mut client = GrpcInferenceServiceClient::new(self.channel().await);
            for model in models {
                let asked = || ModelMetadataRequest { name: model.clone(), version: String::new() };
                while let Err(status) = client.model_metadata(asked()).await
                    && ["is being judged", "is not loaded"]
                        .iter()
                        .any(|words| status.message().contains(words))
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        // The caller may be in a runtime already.
        std::thread::scope(|scope| {
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            scope.spawn(move || runtime().block_on(asks)).join().unwrap();
        });
    }

    /// Begins the shutdown, as SIGTERM does.
    pub(crate) fn shut_down(&self) {
        self.stop.cancel();
    }

    /// Shuts down and waits until the server has ended.
    pub(crate) fn join_quietly(self) {
        self.shut_down();
        self.join().unwrap();
    }

    /// Waits until the server has ended.
    pub(crate) fn join(mut self) -> Result<(), AppError> {
        self.thread.take().unwrap().join().unwrap()
    }

    fn wait_until_ready(&self) {
        for _ in 0..2000 {
            if self.admin_get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return;
            }
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not become ready");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer of an admin listener: status line, headers and body.
pub(crate) fn admin_get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(admin)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Creates a store from a workspace, as `proffer init` does.
pub(crate) fn make_store(store: &Path, workspace: &Path) -> Result<(), RegistryError> {
    let workspace = Workspace::open(workspace)?;
    let store = Store::create(store.to_str().unwrap(), None)?;
    init(&store, &workspace, "a test", &judges()).map(|_| ())
}

/// Judges that run the binary that Cargo built: the test binary has no command `judge`.
pub(crate) fn judges() -> Judges {
    Judges { program: Some(binary()), ..Judges::default() }
}

/// The sample workspace of the checkout, with its limits.
pub(crate) fn limited_workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// The sample workspace without its limits: most tests ask for the same customers again and again.
pub(crate) fn sample_workspace() -> PathBuf {
    static COPY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        copy_directory(&limited_workspace(), directory.path());
        remove_limits(directory.path());
        directory
    });
    copy.path().to_owned()
}

/// A copy of the sample workspace without limits that a test may change.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_directory(&sample_workspace(), directory.path());
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces the first `from`, which must exist, in a file.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        self
    }

    pub(crate) fn append(&self, file: &str, text: &str) -> &Self {
        let path = self.path().join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, before + text).unwrap();
        self
    }
}

/// Reads what is recorded in the store at a path, and in the log of a data directory.
pub(crate) fn recorded_events(store: &Path, data: &Path) -> EventReader {
    let store = EventStore::open(store.to_str().unwrap(), None, Vec::new()).unwrap();
    EventReader::new(store).with_opened(open_read_only(data).unwrap())
}

/// Copies a directory recursively.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_directory(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// The folder of real data, or `None` and a message.
pub(crate) fn data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PROFFER_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no {} (set PROFFER_DATA)", path.display());
    None
}

/// The Python of the test environment that `make test` installs, or `None` and a message.
pub(crate) fn python() -> Option<PathBuf> {
    let found = std::env::var_os("PROFFER_TEST_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: PROFFER_TEST_PYTHON is not set (`make test` sets it)");
    }
    found
}

/// Whether a test may mount a small file system; prints a message if not.
pub(crate) fn may_mount() -> bool {
    let can = std::process::Command::new("unshare").args(["-Urm", "true"]).status();
    let can = can.is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: this machine does not allow mount namespaces (unshare -Urm)");
    }
    can
}

/// Sends the raw bytes of a `Rank`, frame included, to the server at `address`; returns the head and the body of the
/// answer. It does without `tonic`'s client, which would reject some of them itself.
pub(crate) async fn exchange(
    address: SocketAddr,
    headers: &[(&str, &str)],
    frame: Vec<u8>,
) -> (http::response::Parts, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let head = http::Request::post("http://server/proffer.v1.DecisionService/Rank")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value)).body(()).unwrap();
    let (answer, mut body) = client.ready().await.unwrap().send_request(head, false).unwrap();
    body.send_data(frame.into(), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(some) = body.data().await {
        let some = some.unwrap();
        body.flow_control().release_capacity(some.len()).unwrap();
        bytes.extend_from_slice(&some);
    }
    connection.abort();
    (head, bytes)
}

/// A message as sent over the wire, not compressed.
pub(crate) fn frame(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
}

/// A request for customers of the sample.
pub(crate) fn rank_request(placement: &str, customers: &[&str]) -> wire::RankRequest {
    wire::RankRequest {
        placement: placement.to_owned(),
        customers: customers
            .iter()
            .map(|id| wire::Customer { customer_id: (*id).to_owned(), consents: Vec::new() })
            .collect(),
        explain: wire::Explain::All.into(),
        // A fixed time, so that tests do not depend on the validity windows of offers.
        as_of: Some(prost_types::Timestamp { seconds: 1_792_000_000, nanos: 0 }),
        ..Default::default()
    }
}

/// A batch with dense features only.
pub(crate) fn dense(names: &[&str], rows: usize, values: &[f32]) -> wire::FeatureBatch {
    wire::FeatureBatch {
        rows: rows as u32,
        dense: Some(wire::DenseFeatures { names: names.iter().collect(), values: values.to_vec() }),
        columns: Vec::new(),
    }
}

/// A request to score rows of balances with a model of the sample, for these offers or, if empty, all of the model's.
pub(crate) fn scores(model: &str, rows: usize, offers: &[&str]) -> wire::ScoreRequest {
    let balances: Vec<f32> = (0..rows).map(|row| (row * 37 % 9001) as f32).collect();
    wire::ScoreRequest {
        model: Some(wire::ModelRef { name: model.to_owned(), version: 0 }),
        features: Some(dense(&["balance"], rows, &balances)),
        offer_ids: offers.iter().map(|offer| (*offer).to_owned()).collect(),
    }
}
